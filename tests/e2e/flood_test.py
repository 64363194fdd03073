"""A flood of new work while the disk does not answer: what is being worked is settled all the same, with its effects."""
import http.server
import json
import threading
import time
import unittest

from e2e.node import Case
from e2e.slow_sync import SlowSync, possible

ROOM, EACH = 6144, 1000  # what is left of 8,192 units that wait, without the quarter that is kept
APP = """
entity "Note" { fields = { title = text } }
entity "Person" { fields = { name = text, email = email {} } }
queue "tasks" { attempts = 1 }
queue "flood" {}
queue "outside" { attempts = 1 }
on "queue/tasks" { run = function(m)
  http.get("%(url)s/tasks")
  entity "Note".new { title = "worked" }:save()
end }
canon "Person" {
  sources = { crm = { rank = 1 } },
  keys = { "email:email" },
  policy = { name = "latest" },
  stages = { validate = function(a, ctx)
    ctx:memo("asked", function() return http.get("%(url)s/canon").status end)
  end },
}
"""


class Slow(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.calls.append(self.path)
        self.server.go.wait(30)
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *args):
        pass


@unittest.skipUnless(possible(), "the filter is written for Linux on x86-64")
class Flood(Case):
    def setUp(self):
        super().setUp()
        self.outside = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Slow)
        self.outside.daemon_threads, self.outside.calls, self.outside.go = True, [], threading.Event()
        threading.Thread(target=self.outside.serve_forever, daemon=True).start()
        self.addCleanup(self.outside.server_close)
        self.addCleanup(self.outside.shutdown)
        self.addCleanup(self.outside.go.set)
        url = f"http://127.0.0.1:{self.outside.server_port}"
        self.write("scripts/app.lua", APP % {"url": url})
        self.disk = SlowSync(self.path("supervisor"))
        self.addCleanup(self.disk.close)
        self.server = self.node("--scripts", self.path("scripts"), "--http.allow", "127.0.0.1", prefix=self.disk.prefix)
        self.ask = self.server.client()

    def until(self, what, seconds=20):
        end = time.monotonic() + seconds
        while not (got := what()):
            self.assertLess(time.monotonic(), end, self.server.text[-2000:])
            time.sleep(0.02)
        return got

    def waiting(self):
        return self.ask("GET", "/api/cluster/status").json["ledger"]["waiting_units"]

    def beside(self, method, path, body, answers):
        """Asked on a thread of its own; its answer comes when the disk does."""
        def go():
            answers.append(self.server.client()(method, path, body))
        t = threading.Thread(target=go)
        t.start()
        self.addCleanup(t.join)
        return t

    def flood(self):
        """No sync comes back, and new work fills all the room that it has."""
        self.disk.gate.clear()
        self.addCleanup(self.disk.gate.set)
        list_ = json.dumps([{"body": i} for i in range(EACH)])
        floods = [self.beside("POST", "/api/queues/%2F/flood/messages?batch=true", list_, []) for _ in range(ROOM // EACH + 1)]
        self.until(lambda: self.waiting() >= ROOM)
        a = self.ask("PUT", "/api/note/n", {"title": "new work"})
        self.assertEqual((a.status, a.json["code"]), (503, "overloaded"), a.body)
        return floods

    def test_what_is_worked_is_settled_with_its_effects_though_new_work_is_refused(self):  # L6
        work = self.ask("POST", "/api/queues/%2F/tasks/messages", {"body": 1}).json["id"]
        arrival = self.ask("POST", "/api/canon/person?mode=queue&source_id=a", {"name": "Ann", "email": "a@example.org"},
                           {"X-Canon-Origin": "crm"}).json["record"]
        self.assertEqual(self.ask("POST", "/api/queues/%2F/outside/messages", {"body": 2}).status, 201)
        held = self.ask("POST", "/api/queues/%2F/outside/lease", {"max": 1}).json["messages"][0]
        self.until(lambda: len(self.outside.calls) == 2)
        self.assertEqual(sorted(self.outside.calls), ["/canon", "/tasks"])
        floods, units = self.flood(), []
        unit = self.beside("POST", "/api/tx", {"ops": [
            {"op": "entity.save", "entity": "note", "value": {"title": "outside"}},
            {"op": "settle", "queue": "outside", "id": held["id"], "token": held["token"], "outcome": "ack"}]}, units)
        before = self.waiting()
        self.outside.go.set()
        self.until(lambda: self.waiting() >= before + 2)  # the handler's unit and the arrival's; of the other is no trace yet
        self.disk.gate.set()
        unit.join()
        self.assertEqual(units[0].status, 200, units[0].body)
        for t in floods:
            t.join()
        notes = lambda: sorted(n["title"] for n in self.ask("GET", "/api/note").json)
        self.until(lambda: notes() == ["outside", "worked"])
        record = lambda queue, id: self.ask("GET", f"/api/queues/%2F/{queue}/messages/{id}")
        self.until(lambda: record("tasks", work).status == 404)  # what is acked is not kept, what fails its only try is
        r = self.until(lambda: (a := record("canon.Person", arrival).json)["state"] == "completed" and a)
        self.assertEqual((r["result"]["outcome"], r["attempt"]), ("canonized", 1))
        self.assertEqual([p["name"] for p in self.ask("GET", "/api/person").json], ["Ann"])
        self.assertEqual(self.server.stop(), 0)


if __name__ == "__main__":
    unittest.main()
