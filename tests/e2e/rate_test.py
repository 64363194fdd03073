"""http.rate: callers who ask too often, seen by a client that keeps to what it is told."""
import shutil
import subprocess
import time
import unittest

from e2e.node import Case, run

APP = 'entity "Note" { fields = { text = text }, access = { read = "public" } }\nroute "GET /hello" { run = function() return "hello" end }\n'


class Rate(Case):
    def start(self, *args, **kw):
        self.write("scripts/app.lua", APP)
        return self.node("--scripts", self.path("scripts"), *args, **kw)

    def test_nothing_is_limited_unless_it_is_set(self):
        c = self.start().client()
        answers = [c("GET", "/api/note") for _ in range(300)]
        self.assertEqual({a.status for a in answers}, {200})
        self.assertFalse([h for h in answers[-1].headers if h.lower().startswith("ratelimit")])

    def test_answers_tell_what_is_left_and_the_refusal_when_to_come_again(self):  # R1
        node = self.start("--http.rate", "5", "--http.rate_per", "60s")
        c = node.client()
        for left in range(4, -1, -1):
            a = c("GET", "/api/note")
            self.assertEqual(a.status, 200)
            self.assertEqual((a.headers["RateLimit-Limit"], a.headers["RateLimit-Remaining"]), ("5", str(left)))
            self.assertEqual(a.headers["RateLimit-Policy"], "5;w=60")
            self.assertTrue(0 < int(a.headers["RateLimit-Reset"]) <= 60)
        seen = set()
        for _ in range(40):
            a = c("POST", "/api/note", {"text": "x"})
            self.assertEqual((a.status, a.json["code"], a.json["retry"]), (429, "rate_limited", "after"))
            self.assertIn("http.rate", a.json["detail"])
            self.assertEqual(a.headers["RateLimit-Remaining"], "0")
            # Never too early, and spread by 20 %.
            self.assertTrue(int(a.headers["RateLimit-Reset"]) <= int(a.headers["Retry-After"]) <= 19, a.headers["Retry-After"])
            seen.add(a.headers["Retry-After"])
        self.assertGreater(len(seen), 2)
        text = c("GET", "/metrics").body  # is one of them too
        self.assertIn(b"rate_limited", text)
        self.assertEqual({c("GET", p).status for p in ("/livez", "/readyz", "/health", "/api/cluster/health")}, {200})

    @unittest.skipUnless(shutil.which("curl"), "curl is not installed")
    def test_a_client_that_waits_as_told_gets_through(self):
        node = self.start("--http.rate", "2", "--http.rate_per", "2s")
        began = time.monotonic()
        for _ in range(5):
            done = subprocess.run(["curl", "-sf", "--retry", "1", "-o", "/dev/null", "-w", "%{http_code}",  # one wait is enough
                                   node.url + "/hello"], capture_output=True, text=True, timeout=60)
            self.assertEqual((done.returncode, done.stdout), (0, "200"), done)
        self.assertGreater(time.monotonic() - began, 2)

    def test_it_changes_while_it_runs_on_all_threads(self):
        node = self.start("--http.threads", "2")
        for name, value in (("http.rate_per", "10m"), ("http.rate_by", "all"), ("http.rate", "30")):
            self.assertEqual(run("config", "set", name, value, "--url", node.url)[0], 0)
        clients = [node.client() for _ in range(12)]  # of both threads
        codes = [c("GET", "/hello").status for _ in range(5) for c in clients]
        self.assertEqual((codes.count(200), codes.count(429)), (30, 30))
        self.assertRegex(node.text, r"http\.rate is now 30")

    def test_sighup_lifts_it(self):
        self.write("koan.lua", 'return { http = { rate = 1, rate_per = "1h", rate_burst = 2 } }')
        node = self.start("--config", self.path("koan.lua"))
        c = node.client()
        self.assertEqual([c("GET", "/hello").status for _ in range(4)], [200, 200, 429, 429])
        self.write("koan.lua", "return { http = { rate = 0 } }")
        node.process.send_signal(1)
        node.wait_log(r"http\.rate is now 0")
        self.assertEqual([c("GET", "/hello").status for _ in range(4)], [200] * 4)

    def test_wrong_tokens_count(self):
        node = self.start("--token", "right-and-long-enough", "--http.rate", "3", "--http.rate_per", "1h")
        c = node.client(token="wrong-but-long-enough")
        self.assertEqual([c("GET", "/hello").status for _ in range(5)], [401, 401, 401, 429, 429])

    def test_bounds_are_told(self):
        code, words = self.fails("--http.rate", "1000001", "--http.rate_per", "10ms", "--http.rate_by", "tenant")
        self.assertEqual(code, 2)
        for name in ("http.rate:", "http.rate_per:", "http.rate_by:"):
            self.assertIn(name.rstrip(":"), words)


if __name__ == "__main__":
    unittest.main()
