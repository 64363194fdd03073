"""A disk that is slow, and one that does not answer: what the probes say, and what becomes of the writes."""
import threading
import time
import unittest

from e2e.node import Case
from e2e.slow_sync import SlowSync, possible

LARGE = 100_000  # more than the ledger's loop writes by itself
NOTE = 'entity "Note" { fields = { text = text { required = true, max = 200000 } } }\n'


@unittest.skipUnless(possible(), "the filter is written for Linux on x86-64")
class Disk(Case):
    def serve(self):
        self.write("scripts/app.lua", NOTE)
        self.disk = SlowSync(self.path("supervisor"))
        self.addCleanup(self.disk.close)
        self.server = self.node("--scripts", self.path("scripts"), prefix=self.disk.prefix)
        return self.server.client()

    def test_a_slow_node_stays_live_and_ready(self):  # O1
        c = self.serve()
        self.disk.seconds = 1
        for i in range(4):
            began = time.monotonic()
            self.assertEqual(c("PUT", f"/api/note/n{i}", {"text": "x"}).status, 201)
            self.assertGreater(time.monotonic() - began, 0.9)
            self.assertEqual(c("GET", "/livez").status, 200)
            self.assertEqual(c("GET", "/readyz").status, 200)
        self.disk.seconds = 0
        self.assertEqual(self.server.stop(), 0)

    def test_a_node_that_cannot_commit_is_not_ready_within_ten_seconds(self):  # O1
        self.assert_not_ready("x")

    def test_so_it_is_while_a_thread_beside_the_loop_writes_the_log(self):  # O1
        self.assert_not_ready("x" * LARGE)

    def assert_not_ready(self, text):
        c, answers = self.serve(), []
        self.disk.gate.clear()
        writer = threading.Thread(target=lambda: answers.append(self.server.client()("PUT", "/api/note/n", {"text": text})))
        writer.start()
        began = time.monotonic()
        while (a := c("GET", "/readyz")).status == 200 and time.monotonic() - began < 15:
            time.sleep(0.1)
        self.assertLess(time.monotonic() - began, 10)
        self.assertEqual((a.status, a.json["code"]), (503, "unavailable"))
        self.assertIn("disk", a.json["detail"])
        self.assertEqual(c("GET", "/readyz?mode=read").status, 200)  # what is stored can be read all the while
        self.assertEqual(c("GET", "/api/note").json, [])
        self.disk.gate.set()
        writer.join()
        self.assertEqual(answers[0].status, 201)
        end = time.monotonic() + 3
        while (a := c("GET", "/readyz")).status != 200 and time.monotonic() < end:
            time.sleep(0.05)
        self.assertEqual(a.status, 200, a.body)
        self.assertEqual(self.server.stop(), 0)


if __name__ == "__main__":
    unittest.main()
