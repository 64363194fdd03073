"""Limits: out of the node's share in memory, or exact through the ledger; what both hear of each other, and what a restart remembers."""
import threading
import time
import unittest

from e2e.node import App, Case


def take(c, name, headers=None, **body):
    return c("POST", f"/api/limits/{name}/take", body, headers)


def seq(c):
    return int(c("PUT", "/api/kv/seq", "1").headers["X-Koan-Seq"])


class Limits(App):
    APP = "-- nothing"
    serial = iter(range(10 ** 9))

    def name(self):
        return f"m{next(self.serial)}"

    def drain(self, name, n=10 ** 6, **body):
        """How many were given until the first refusal."""
        c, got = self.server.client(), 0
        while got < n and take(c, name, **body).status == 200:
            got += 1
        return got

    def test_a_take_of_the_share_is_no_entry_of_the_log(self):
        name, c = self.name(), self.c
        before = seq(c)
        for _ in range(200):
            self.assertEqual(take(c, name, rate=1000, per="1h").status, 200)
        self.assertLess(seq(c) - before, 20)
        before = seq(c)
        for _ in range(20):
            self.assertEqual(take(c, name, rate=1000, per="1h", exact=True).status, 200)
        self.assertGreaterEqual(seq(c) - before, 21)

    def test_many_at_once_get_what_there_is_and_no_more(self):
        name, got = self.name(), []

        def work():
            got.append(self.drain(name, rate=100, per="1h"))
        threads = [threading.Thread(target=work) for _ in range(4)]
        for t in threads:
            t.start()
        out = self.script("""
          local name, n = ..., 0
          local l = limit(name, { rate = 100, per = "1h" })
          while l:try() do n = n + 1 end
          return n""", name)
        for t in threads:
            t.join()
        self.assertEqual(sum(got) + out, 100)

    def test_it_fills_at_its_rate(self):
        name = self.name()
        self.assertEqual(self.drain(name, rate=20, per="1s"), 20)
        began, got = time.monotonic(), 0
        while time.monotonic() - began < 2:
            got += self.drain(name, rate=20, per="1s")
            time.sleep(0.01)
        self.assertTrue(34 <= got <= 46, got)

    def test_exact_takes_and_those_of_the_share_hear_of_each_other(self):
        name, c = self.name(), self.c
        for _ in range(6):
            take(c, name, rate=10, per="1h")
        time.sleep(2.5)
        left = take(c, name, rate=10, per="1h", exact=True).json["left"]
        self.assertEqual(left, 3)
        take(c, name, rate=10, per="1h")
        time.sleep(2.5)
        self.assertEqual(take(c, name, rate=10, per="1h").json["left"], 1)

    def test_turns_are_reserved_and_told(self):
        name = self.name()
        waits = [take(self.c, name, rate=1, wait="30s").json["wait_ms"] for _ in range(3)]
        self.assertEqual(waits[0], 0)
        self.assertTrue(900 <= waits[1] <= 1000 and 1900 <= waits[2] <= 2000, waits)
        a = take(self.c, name, rate=1)
        self.assertEqual((a.status, a.json["code"]), (429, "rate_limited"))
        self.assertIsNotNone(a.headers["Retry-After"])

    def test_a_repeat_with_its_key_takes_once(self):  # R2
        name, h = self.name(), {"Idempotency-Key": "limit-1"}
        first = take(self.c, name, h, rate=5, per="1h")
        again = take(self.c, name, h, rate=5, per="1h")
        self.assertEqual((again.json, again.headers["Idempotency-Replayed"]), (first.json, "true"))

    def test_scripts_choose_too(self):
        name = self.name()
        before = seq(self.c)
        self.assertEqual(self.script("""
          local name = ...
          local a, b = limit(name, { rate = 100, per = "1h" }), limit(name .. "x", { rate = 100, per = "1h", exact = true })
          for i = 1, 50 do a:take() end
          for i = 1, 30 do b:take() end
          local ok, e = pcall(limit, name, { rate = 1, exact = 1 })
          return { a:take(), b:take(), e.code }""", name), [49, 69, "invalid"])
        self.assertTrue(31 <= seq(self.c) - before < 50)

    def test_what_is_no_take_is_refused(self):
        for body, word in (({"per": "1s"}, "rate: 1 to"), ({"rate": 1, "n": 2}, "1 to the burst"), ({"rate": 1, "exact": 1}, "exact"),
                           ({"rate": 1, "wait": "61s"}, "wait"), ({"rate": 1, "per": "25h"}, "per"), ({"rate": 1, "exakt": True}, "exact")):
            self.refused("POST", f"/api/limits/{self.name()}/take", body, words=word)


class Restart(Case):
    def test_a_restart_remembers_what_was_taken_and_kill_9_all_but_the_last_seconds(self):
        node = self.node()
        c = node.client()
        for _ in range(40):
            take(c, "a", rate=100, per="24h")
        time.sleep(2.5)
        for _ in range(10):
            take(c, "a", rate=100, per="24h")
        node.kill()
        node = self.node()
        c = node.client()
        left = take(c, "a", rate=100, per="24h").json["left"]
        self.assertTrue(49 <= left <= 59, left)
        for _ in range(5):
            take(c, "b", rate=100, per="24h")
        self.assertEqual(node.stop(), 0)
        c = self.node().client()
        self.assertEqual(take(c, "b", rate=100, per="24h").json["left"], 94)


if __name__ == "__main__":
    unittest.main()
