"""?partition=: other sets of records with the same definition, each for itself."""
import json
import unittest

from e2e.entity_feed_test import Feed
from e2e.entity_refs_test import Store

APP = """
entity "Customer" { fields = { name = text { search = true }, email = email { unique = true } }, history = true, soft_remove = true }
entity "Order"    { fields = { customer = ref { "Customer", on_remove = "cascade", inverse = "orders" } } }
entity "Guarded"  {
  fields = { name = text, was = text },
  before_save = function(e, prior) e.was = prior and prior.name or "nothing" end,
}
"""


class Partitions(Store):
    APP = APP

    def test_each_has_its_own_ids_and_unique_values(self):
        one = {"name": "plain", "email": "a@x.org"}
        self.ok("PUT", "/api/customer/a", one, 201)
        a = self.ok("PUT", "/api/customer/a?partition=draft", {**one, "name": "drafted"}, 201)
        self.assertEqual((a.json["name"], a.json["version"]), ("drafted", 1))
        self.refused("POST", "/api/customer?partition=draft", one, 409, "conflict", "email")
        self.assertEqual(self.ok("GET", "/api/customer/a").json["name"], "plain")
        self.assertEqual(self.ok("GET", "/api/customer/a?partition=draft").json["name"], "drafted")
        self.ok("GET", "/api/customer/a?partition=other", status=404)
        for method, path, body in (("GET", "/api/customer?partition=draft", None),
                                   ("GET", "/api/customer?partition=draft&q=drafted", None),
                                   ("GET", "/api/customer?partition=draft&sort=-name&with=orders", None),
                                   ("POST", "/api/customer/query?partition=draft", {"filter": {"name": "draf*"}})):
            found = self.ok(method, path, body)
            self.assertEqual([r["name"] for r in found.json], ["drafted"], path)
            self.assertEqual(found.headers["X-Total-Count"], "1")
        lines = self.ok("GET", "/api/customer?partition=draft", Accept="application/x-ndjson").body.splitlines()
        self.assertEqual([json.loads(line)["name"] for line in lines], ["drafted"])
        self.ok("PATCH", "/api/customer/a?partition=draft", {"name": "again"}, If_Match='"1"')
        self.assertEqual(self.ok("GET", "/api/customer/a").json["version"], 1)
        self.assertEqual(self.ok("GET", "/api/customer/a/history").json, [])
        self.assertEqual([h["version"] for h in self.ok("GET", "/api/customer/a/history?partition=draft").json], [1])
        self.assertEqual(self.ok("GET", "/api/customer/a/history/1?partition=draft").json["name"], "drafted")
        self.ok("DELETE", "/api/customer/a", status=204)
        self.ok("GET", "/api/customer/a?partition=draft")
        self.ok("POST", "/api/customer/a/restore?partition=draft", status=404)
        self.ok("POST", "/api/customer/a/restore")

    def test_a_new_record_is_found_where_its_location_says(self):
        a = self.ok("POST", "/api/customer?partition=fresh", {"name": "n"}, 201)
        self.assertEqual(a.headers["Location"], f"/api/customer/{a.json['id']}?partition=fresh")
        self.ok("GET", a.headers["Location"])

    def test_references_stay_inside(self):
        self.ok("PUT", "/api/customer/r", {}, 201)
        self.refused("PUT", "/api/order/r?partition=p", {"customer": "r"}, 409, "conflict", "no Customer 'r'")
        self.ok("PUT", "/api/order/r", {"customer": "r"}, 201)
        self.ok("PUT", "/api/customer/r?partition=p", {}, 201)
        self.ok("PUT", "/api/order/r?partition=p", {"customer": "r"}, 201)
        self.assertEqual(len(self.ok("GET", "/api/customer/r?with=orders&partition=p").json["_with"]["orders"]), 1)
        self.ok("DELETE", "/api/customer/r?partition=p", status=204)
        self.ok("GET", "/api/order/r?partition=p", status=404)
        self.ok("GET", "/api/order/r")

    def test_bulk_hooks_and_feeds_know_it(self):
        self.ok("POST", "/api/guarded/bulk?partition=b", [{"id": "g1", "name": "one"}, {"id": "g2", "name": "two"}])
        plain = Feed(self.server.port, "guarded", since=1)
        self.addCleanup(plain.close)
        f = Feed(self.server.port, "guarded", since=1, partition="b")
        self.addCleanup(f.close)
        self.ok("PUT", "/api/guarded/g1", {"name": "outside"}, 201)
        self.assertEqual(self.ok("PUT", "/api/guarded/g1?partition=b", {"name": "three"}).json["was"], "one")
        self.ok("DELETE", "/api/guarded/bulk?partition=b", {"filter": {"name": "t*"}})
        f.wait(5)
        self.assertEqual([(e, d["id"], d["name"]) for _, e, d in f.events],
                         [("created", "g1", "one"), ("created", "g2", "two"), ("updated", "g1", "three"),
                          ("removed", "g1", "three"), ("removed", "g2", "two")])
        self.assertEqual([(e, d["name"]) for _, e, d in plain.wait(1)], [("created", "outside")])

    def test_a_wrong_name_is_refused(self):
        for name in ("", "a%2Fb", "1a", "a.b", "x" * 65):
            self.refused("GET", "/api/customer?partition=" + name, None, 400, "invalid", "partition")
        self.refused("GET", "/api/customer/new?partition=a", None, 400, "invalid", "query key")


if __name__ == "__main__":
    unittest.main()
