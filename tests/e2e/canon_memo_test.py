"""Canon over HTTP: what a stage asks outside through ctx:memo is asked once for an arrival."""
import http.server
import threading
import unittest

from e2e.node import Case

SHOPS = """
entity "Shop" { fields = { name = text, street = text, zone = int } }
canon "Shop" {
  sources = { web = {} },
  keys    = { "name:name" },
  stages  = {
    validate = function(a, ctx)
      local zone = ctx:memo("zone", function() return tonumber(http.get("http://127.0.0.1:PORT/" .. a.name).body) end)
      a.zone = zone
      if not a.street then ctx:park("NO_STREET", { zone = zone }) end
    end,
  },
}
"""


class Outside(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.append(self.path)
        body = str(len(self.server.asked)).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 128


class Memo(Case):
    def setUp(self):
        super().setUp()
        self.outside = Server(("127.0.0.1", 0), Outside)
        self.outside.asked = []
        threading.Thread(target=self.outside.serve_forever, daemon=True).start()
        self.addCleanup(self.outside.server_close)
        self.addCleanup(self.outside.shutdown)
        self.write("scripts/shops.lua", SHOPS.replace("PORT", str(self.outside.server_port)))
        self.begin()

    def begin(self):
        self.server = self.node("--scripts", self.path("scripts"), "--http.allow", "127.0.0.1")
        self.c = self.server.client()

    def test_going_on_with_a_parked_arrival_asks_nobody_again(self):
        a = self.c("POST", "/api/canon/shop?source_id=1&origin=web", {"name": "north"})
        self.assertEqual((a.status, a.json["reason"]), (202, "NO_STREET"), a.body)
        self.assertEqual(self.outside.asked, ["/north"])
        kept = self.c("GET", "/api/canon/shop/arrivals/" + a.json["arrival"]).json
        self.assertEqual((kept["memo"], kept["evidence"]), ({"zone": 1}, {"zone": 1}))
        self.assertEqual(self.server.stop(), 0)
        self.begin()
        b = self.c("POST", f"/api/canon/shop/parked/{a.json['arrival']}/resume", {"street": "Main"})
        self.assertEqual((b.status, b.json["outcome"]), (200, "canonized"), b.body)
        self.assertEqual(self.outside.asked, ["/north"])
        self.assertEqual(self.c("GET", "/api/shop/" + b.json["id"]).json["zone"], 1)
        self.assertEqual(self.c("GET", "/api/canon/shop/arrivals/" + b.json["arrival"]).json["memo"], {"zone": 1})

    def test_outside_of_memo_a_stage_asks_nobody(self):
        bare = SHOPS.replace("PORT", str(self.outside.server_port)).replace('ctx:memo("zone", function() return', "(")
        self.deployed(self.server, "shops.lua", bare.replace(".body) end)", ".body))"))
        a = self.c("POST", "/api/canon/shop?source_id=1&origin=web", {"name": "north"})
        self.assertEqual(a.status, 422, a.body)
        self.assertIn("ctx:memo", a.json["detail"])
        self.assertEqual(self.outside.asked, [])

    def test_each_arrival_asks_for_itself(self):
        rows = [{"source_id": f"s{i}", "origin": "web", "data": {"name": f"n{i}", "street": "x"}} for i in range(24)]
        r = self.c("POST", "/api/canon/shop/bulk", rows).json
        self.assertEqual(r["counts"]["canonized"], 24)
        self.assertEqual(sorted(self.outside.asked), sorted(f"/n{i}" for i in range(24)))


if __name__ == "__main__":
    unittest.main()
