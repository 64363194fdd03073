"""Everything at once: writers, patches, hooks, arrivals, long reads and clients that hang up; no answer is a 500."""
import collections
import random
import threading
import time
import unittest

from e2e.canon_http_test import PEOPLE
from e2e.entity_http_test import SHOP
from e2e.node import Case

SECONDS = 5
CLIENTS = 12


def person(r):
    return {"source_id": f"s{r.randrange(200)}", "origin": r.choice(["erp", "crm", "web"]),
            "data": {"email": f"p{r.randrange(60)}@example.org", "phone": str(r.randrange(40)),
                     "city": r.choice(["Rome", "Oslo", "Nowhere"])}}


def requests(r):
    """Random requests: (method, path, body)."""
    i, total = r.randrange(50), r.randrange(9)
    return [
        ("PUT", f"/api/customer/c{i}", {"name": f"n{i}", "total": total, "email": f"e{r.randrange(60)}@example.org"}),
        ("PATCH", f"/api/customer/c{i}", {"total": total}),
        ("DELETE", f"/api/customer/c{i}", None),
        ("POST", "/api/customer/query", {"filter": {"total": {"$gt": total}}, "sort": "-total"}),
        ("PUT", f"/api/guarded/g{i}", {"name": r.choice(["upper", "x", "bad"])}),
        ("POST", "/api/customer/bulk?atomic=false", [{"id": f"c{r.randrange(50)}", "name": "b"} for _ in range(20)]),
        ("POST", "/api/canon/person/bulk", [person(r) for _ in range(30)]),
        ("GET", "/api/canon/person/summary", None),
        ("GET", "/api/canon/person/parked", None),
        ("GET", "/readyz?verbose", None),
    ]


class Mixed(Case):
    def work(self, node, seed, end, seen):
        r, c = random.Random(seed), node.client()
        while time.monotonic() < end:
            method, path, body = r.choice(requests(r))
            seen[c(method, path, body).status] += 1
            people = c("GET", "/api/person?pageSize=10").json
            if people:
                path = "/api/person/" + r.choice(people)["id"]
                for method, body in (("PATCH", {"name": "D"}), ("DELETE", None), ("GET", None)):
                    seen[c(method, path, body).status] += 1
            if r.random() < 0.1:
                c.close()
        c.close()

    def test_no_answer_is_our_fault_and_the_end_is_clean(self):
        self.write("scripts/shop.lua", SHOP)
        self.write("scripts/people.lua", PEOPLE)
        node = self.node("--scripts", self.path("scripts"))
        end, seen = time.monotonic() + SECONDS, [collections.Counter() for _ in range(CLIENTS)]
        threads = [threading.Thread(target=self.work, args=(node, i, end, seen[i])) for i in range(CLIENTS)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        total = sum(seen, collections.Counter())
        self.assertGreater(sum(total.values()), 100)
        self.assertLessEqual(set(total), {200, 201, 204, 308, 404, 409, 422}, total)
        self.assertTrue(all(seen), "a client got no answer")
        self.assertEqual(node.stop(), 0)


if __name__ == "__main__":
    unittest.main()
