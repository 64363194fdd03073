"""Everything at once: writes with hooks, arrivals, questions, reloads of the scripts, and a stop amid it.

Worth most with a sanitizer: what breaks is not an answer but the order of two threads."""
import http.client
import json
import os
import random
import signal
import threading
import time
import unittest
import urllib.parse

from e2e.node import Case

SCRIPTS = """
entity "Customer" {
  fields = { name = text { required = true }, email = email { unique = true }, total = int { min = 0 }, j = json {} },
  index = { { "total" } },
  before_save = function(e, prior, ctx)
    e.j = { n = (e.total or 0) * 2 }
    if e.total == 13 then ctx:reject("unlucky", "not that one") end
  end,
}
entity "Airport" { fields = { name = text {}, iata = text {} } }
canon "Airport" {
  sources = { one = { rank = 1 }, two = { rank = 2 } },
  keys = { "iata" },
  stages = { validate = function(a, ctx) a.name = (a.name or "") .. "!" end },
}
entity "Line" { fields = { t = text {} } }
"""
SECONDS, WORKERS = 8, 8
EXPECTED = {200, 201, 204, 308, 404, 409, 422}
WHILE_STOPPING = EXPECTED | {503}


class Stress(Case):
    def one(self, r):
        """(method, path, body) of some request."""
        number = r.randrange(20)
        question = urllib.parse.quote(json.dumps({"total": {"$gt": number}}))
        return r.choice([
            ("POST", "/api/customer", {"name": "n", "email": f"e{r.randrange(99)}@x.example", "total": number}),
            ("PUT", f"/api/customer/c{r.randrange(5)}", {"name": "p", "total": number}),
            ("PATCH", f"/api/customer/c{r.randrange(5)}", {"total": number}),
            ("DELETE", f"/api/customer/c{r.randrange(5)}", None),
            ("POST", "/api/canon/airport/bulk", [self.arrival(r) for _ in range(20)]),
            ("POST", f"/api/canon/airport?origin=one&source_id={number}", {"iata": str(number), "name": "x"}),
            ("POST", "/api/line/bulk", [{"t": "x"}] * 50),
            ("GET", f"/api/customer?filter={question}&sort=-total&count=exact", None),
            ("GET", "/api/customer?pageSize=20", None),
            ("GET", "/api/canon/airport/summary", None),
            ("GET", "/metrics", None),
            ("GET", "/health", None),
        ])

    @staticmethod
    def arrival(r):
        return {"origin": r.choice(["one", "two"]), "source_id": str(r.randrange(100)),
                "data": {"iata": str(r.randrange(30)), "name": str(r.randrange(9))}}

    def work(self, port, seed):
        r, connection = random.Random(seed), None
        while not self.over.is_set():
            method, path, body = self.one(r)
            connection = connection or http.client.HTTPConnection("127.0.0.1", port, timeout=30)
            try:
                connection.request(method, path, body and json.dumps(body), {"Content-Type": "application/json"} if body else {})
                answer = connection.getresponse()
                answer.read()
            except (OSError, http.client.HTTPException) as e:
                if not self.stopping.is_set():
                    self.wrong.append((path, repr(e)))
                return
            if answer.status not in (WHILE_STOPPING if self.stopping.is_set() else EXPECTED):
                self.wrong.append((method, path, answer.status))
            self.count += 1
            if answer.will_close or r.random() < 0.02:
                connection.close()
                connection = None
        if connection:
            connection.close()

    def test_the_server_keeps_its_order_under_everything_at_once(self):
        self.write("scripts/app.lua", SCRIPTS)
        node = self.node("--scripts", self.path("scripts"))
        self.over, self.stopping = threading.Event(), threading.Event()
        self.wrong, self.count = [], 0
        workers = [threading.Thread(target=self.work, args=(node.port, i), daemon=True) for i in range(WORKERS)]
        for worker in workers:
            worker.start()
        end = time.monotonic() + SECONDS
        turn = 0
        while time.monotonic() < end:
            time.sleep(1)
            turn += 1
            self.write("scripts/more.lua", f'entity "Extra{turn % 3}" {{ fields = {{ a = text {{}} }} }}\n')
            os.kill(node.process.pid, signal.SIGHUP)
        self.stopping.set()
        code = node.stop()
        self.over.set()
        for worker in workers:
            worker.join(60)
        self.assertEqual(self.wrong, [], node.text[-4000:])
        self.assertEqual(code, 0, node.text[-8000:])
        self.assertGreater(self.count, 100)


if __name__ == "__main__":
    unittest.main()
