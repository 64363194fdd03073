"""A fan-out of two hundred runs, worked from outside while the server is killed: what comes then is submitted once."""
import signal
import threading
import time
import unittest

from e2e.node import Case

J = "/api/jobs"
APP = """
job "parent" { run = function(args, ctx)
  step("all", function()
    local list = {}
    for i = 1, 200 do list[i] = { job = "child", args = { n = i } } end
    ctx:submit_all(list, { on_done = "stitch", args = { film = 7 } })
  end)
end }
job "child" { attempts = 1000, backoff = { "100ms" } }
job "stitch" {}
"""
CHILDREN = 200


class FanOut(Case):
    def work(self, client, stop):
        """A worker outside; it ends with the server."""
        try:
            while not stop.is_set():
                runs = client("POST", J + "/lease", {"jobs": ["child"], "max": 8, "wait": "500ms", "lease": "1s"}).json["runs"]
                client("POST", J + "/settle", [{"id": r["id"], "token": r["token"], "outcome": "ack", "result": r["args"]["n"]}
                                               for r in runs]) if runs else None
        except Exception:
            pass

    def completed(self, client, job):
        return client("GET", f"/api/queues/%2F/job.{job}").json["completed"]

    def working(self, node):
        stop = threading.Event()
        threads = [threading.Thread(target=self.work, args=(node.client(), stop)) for _ in range(4)]
        for t in threads:
            t.start()
        return stop, threads

    def test_two_hundred_children_have_one_that_comes_then(self):  # J3 L2
        self.write("scripts/app.lua", APP)
        node = self.node("--scripts", self.path("scripts"))
        a = node.client()("POST", J, {"job": "parent"})
        self.assertEqual(a.status, 202, a.body)
        for kill in range(5):
            stop, threads = self.working(node)
            time.sleep(0.1 + 0.05 * kill)
            node.process.send_signal(signal.SIGKILL)
            for t in threads:
                t.join()
            node.kill()
            node = self.node("--scripts", self.path("scripts"))
        c, end = node.client(), time.monotonic() + 60
        stop, threads = self.working(node)
        while self.completed(c, "child") < CHILDREN:
            self.assertLess(time.monotonic(), end)
            time.sleep(0.1)
        stop.set()
        for t in threads:
            t.join()
        runs = c("GET", J + "?job=stitch").json["runs"]
        counts = {"total": CHILDREN, "completed": CHILDREN, "discarded": 0, "cancelled": 0}
        self.assertEqual([r["args"] for r in runs], [{"film": 7, "parent": a.json["id"], "counts": counts}])
        fans = c("GET", f"{J}/{a.json['id']}").json["fan_outs"]
        self.assertEqual([(f["completed"], f["id"]) for f in fans], [(CHILDREN, runs[0]["id"])])
        self.assertEqual(node.stop(), 0)


if __name__ == "__main__":
    unittest.main()
