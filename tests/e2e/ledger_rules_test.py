"""The rules of the ledger that show from outside: bounds, waiting, what is kept of the log, reads and positions."""
import glob
import json
import os
import random
import subprocess
import threading
import time
import unittest

from e2e.entity_feed_test import Feed
from e2e.node import Case
from e2e.slow_sync import SlowSync, possible

APP = """
entity "Doc" { fields = { body = json {}, n = int {} } }
"""
MIB = 1 << 20


class Bounds(Case):
    def setUp(self):
        super().setUp()
        self.write("scripts/a.lua", APP)

    def serve(self, **kw):
        self.server = self.node("--scripts", self.path("scripts"), **kw)
        return self.server.client()

    def test_a_unit_over_8_mib_is_refused_before_it_is_proposed(self):  # H2 R1
        c = self.serve()
        before = c("GET", "/api/cluster/status").json["ledger"]["applied"]
        big = [{"id": f"b{i}", "body": "x" * 1000000} for i in range(9)]
        a = c("POST", "/api/doc/bulk", big)
        self.assertEqual((a.status, a.json["code"]), (413, "too_large"), a.body[:300])
        self.assertIn("8", a.json["detail"])
        self.assertEqual(c("GET", "/api/cluster/status").json["ledger"]["applied"], before)
        self.assertEqual(c("POST", "/api/doc/bulk?atomic=false", big).json["counts"]["created"], 9)
        a = c("PUT", "/api/doc/over", {"body": "x" * (MIB + 1)})
        self.assertEqual((a.status, a.json["code"]), (413, "too_large"))
        self.assertEqual(self.server.stop(), 0)

    def test_the_log_behind_a_checkpoint_is_kept_as_long_as_it_is_said_and_a_start_needs_no_more(self):  # L2
        c = self.serve(env={"KOAN_LEDGER_SEGMENT_BYTES": "1MiB", "KOAN_LEDGER_SNAPSHOT_BYTES": "2MiB", "KOAN_LEDGER_KEEP_BYTES": "4MiB"})
        for i in range(60):
            self.assertIn(c("PUT", f"/api/doc/k{i % 7}", {"n": i, "body": "x" * 500000}).status, (200, 201))
        size = lambda: sum(os.path.getsize(f) for f in glob.glob(self.path("data/log/*.log")))
        end = time.monotonic() + 10
        while size() > 12 * MIB and time.monotonic() < end:
            time.sleep(0.1)
        self.assertLess(size(), 12 * MIB)  # of 30: what is kept, what is in use, and what waits to be used again
        self.server.kill()
        c = self.serve()
        self.assertEqual(sorted(r["n"] for r in c("GET", "/api/doc?fields=n").json), list(range(53, 60)))
        self.assertEqual(self.server.stop(), 0)

    def test_a_feed_cannot_go_on_from_what_is_no_longer_kept(self):  # E4 R1
        """Changes are kept 7 days, at most 256 MiB of them."""
        c = self.serve()
        first = int(c("PUT", "/api/doc/f", {"n": 0}).headers["X-Koan-Seq"])
        c("PUT", "/api/doc/f", {"n": 1})
        feed = Feed(self.server.port, "doc", since=str(first))
        feed.wait(1)
        feed.close()
        self.assertEqual([d["n"] for _, _, d in feed.events], [1])
        for i in range(22):  # a change has what was and what is
            rows = [{"id": f"w{k}", "n": i, "body": chr(97 + i) * 990000} for k in range(7)]
            self.assertEqual(c("POST", "/api/doc/bulk", rows).status, 200)
        end = time.monotonic() + 10
        while (p := Feed(self.server.port, "doc", since=str(first)).problem) is None and time.monotonic() < end:
            time.sleep(0.2)
        self.assertEqual((p["code"], p["status"], p["retry"]), ("gone", 410, "never"))
        self.assertIn("read the records", p["detail"])
        live = Feed(self.server.port, "doc")
        c("PUT", "/api/doc/f", {"n": 2})
        live.wait(1)
        live.close()
        self.assertEqual([d["n"] for _, _, d in live.events], [2])
        self.assertEqual(self.server.stop(), 0)


class Torn(Case):
    def test_a_torn_tail_is_cut_at_start_and_nothing_acknowledged_is_lost(self):  # L1 L2
        """What a crash left half written behind the last entry: some of it, all of it, of any length."""
        self.write("scripts/a.lua", APP)
        log, rnd, ids = self.path("data/log/00000000000000000001.log"), random.Random(7), []
        for size in (1, 8, 31, 64, 4096, 70000):
            node = self.node("--scripts", self.path("scripts"))
            c = node.client()
            self.assertEqual([r["id"] for r in c("GET", "/api/doc?pageSize=200&fields=n").json], ids)
            for i in range(5):
                ids.append(f"t{len(ids):03}")
                self.assertEqual(c("PUT", "/api/doc/" + ids[-1], {"n": i}).status, 201)
            node.kill()
            with open(log, "r+b") as f:
                data, at = f.read(), 4096
                while data[at:at + 4] == b"kRec":  # schema/log-segment.md
                    at += (40 + int.from_bytes(data[at + 8:at + 12], "little") + 7) // 8 * 8
                f.seek(at)
                f.write(rnd.randbytes(size))
        node = self.node("--scripts", self.path("scripts"))
        self.assertEqual([r["id"] for r in node.client()("GET", "/api/doc?pageSize=200&fields=n").json], ids)
        self.assertEqual(node.stop(), 0)


class Room(Case):
    """Needs a file system of its own, hence root."""

    def fill_to(self, percent):
        """So much of the disk is free, but for what the node itself writes."""
        s = os.statvfs(self.disk)
        path = os.path.join(self.disk, "filler")
        have = os.path.getsize(path) if os.path.exists(path) else 0
        size = have + s.f_bavail * s.f_frsize - s.f_blocks * s.f_frsize * percent // 100
        with open(path, "ab") as f:
            f.truncate(min(have, size))
            os.posix_fallocate(f.fileno(), 0, size)

    def until(self, what, seconds=15):
        end = time.monotonic() + seconds
        while not (got := what()):
            self.assertLess(time.monotonic(), end)
            time.sleep(0.1)
        return got

    def test_a_disk_is_degraded_under_10_percent_full_under_3_and_well_again_at_5(self):  # H2 R1
        if os.geteuid() != 0:
            self.skipTest("mounting needs root")
        self.disk = self.path("disk")
        os.makedirs(self.disk)
        if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1000m", "tmpfs", self.disk], capture_output=True).returncode:
            self.skipTest("this machine does not let us mount")
        self.addCleanup(subprocess.run, ["umount", "-l", self.disk], capture_output=True)
        self.write("scripts/a.lua", APP)
        server = self.node("--scripts", self.path("scripts"), data="disk/data")
        c = server.client()
        put = lambda id: c("PUT", "/api/doc/" + id, {"n": 1})
        health = lambda: c("GET", "/health").json["status"]
        for id in "abcd":
            self.assertEqual(put(id).status, 201)
        self.assertEqual(health(), "healthy")
        self.fill_to(8)
        self.until(lambda: health() == "degraded")
        self.assertEqual(put("a").status, 200)
        self.assertEqual(c("GET", "/readyz").status, 200)
        self.fill_to(2)
        a = self.until(lambda: (a := put("e")).status == 507 and a)
        self.assertEqual((a.json["code"], a.json["retry"], a.headers["Retry-After"] is not None), ("disk_full", "after", True))
        self.assertRegex(a.json["detail"], "space")
        for method, path, body in (("POST", "/api/doc/bulk", [{"n": 1}]), ("PATCH", "/api/doc/a", {"n": 9}),
                                   ("POST", "/api/tx", {"ops": [{"op": "entity.save", "entity": "doc", "value": {}}]})):
            self.assertEqual(c(method, path, body).status, 507, path)
        self.assertEqual(c("DELETE", "/api/doc/a").status, 204)  # what shrinks is taken
        self.assertEqual(c("DELETE", "/api/doc/bulk", {"ids": ["b"]}).status, 200)
        self.assertEqual([r["id"] for r in c("GET", "/api/doc").json][:2], ["c", "d"])
        a = c("GET", "/readyz")
        self.assertEqual((a.status, a.json["detail"][:5]), (503, "disk:"), a.body)
        self.fill_to(4)  # over the 3 %, and not yet the 5 %
        time.sleep(2.5)
        self.assertEqual(put("e").status, 507)
        self.fill_to(20)
        self.until(lambda: put("e").status in (200, 201))
        self.until(lambda: health() == "healthy")
        self.assertEqual(server.stop(), 0)


@unittest.skipUnless(possible(), "holds system calls of x86-64 Linux")
class Waits(Case):
    def test_a_commit_that_does_not_come_is_504_after_its_time_and_may_be_repeated(self):  # R2 H2
        self.write("scripts/a.lua", APP)
        disk = SlowSync(self.path("sync"))
        self.addCleanup(disk.close)
        server = self.node("--scripts", self.path("scripts"), prefix=disk.prefix, env={"KOAN_LEDGER_TIMEOUT": "1s"})
        c = server.client()
        disk.gate.clear()
        began = time.monotonic()
        a = c("PUT", "/api/doc/t", {"n": 1}, {"Idempotency-Key": "t"})
        self.assertEqual((a.status, a.json["code"], a.json["retry"]), (504, "timeout", "same"))
        self.assertTrue(0.9 < time.monotonic() - began < 5)
        self.assertEqual(c("GET", "/api/doc/t").status, 404)  # reads go on, of what is committed
        disk.gate.set()
        a = c("PUT", "/api/doc/t", {"n": 1}, {"Idempotency-Key": "t"})
        end = time.monotonic() + 5
        while a.status == 409 and time.monotonic() < end:  # the first is still under way
            time.sleep(0.05)
            a = c("PUT", "/api/doc/t", {"n": 1}, {"Idempotency-Key": "t"})
        self.assertEqual((a.status, a.json["version"], a.headers["X-Koan-Outcome"]), (201, 1, "created"))
        self.assertEqual(server.stop(), 0)


class Reads(Case):
    def test_reads_see_what_they_name_or_say_that_they_do_not(self):  # L5
        self.write("scripts/a.lua", APP)
        server = self.node("--scripts", self.path("scripts"))
        c, seen = server.client(), []

        def writer(k):
            mine = server.client()
            for i in range(100):
                a = mine("PUT", f"/api/doc/{k}", {"n": i})
                seen.append((k, i, a.headers["X-Koan-Seq"]))

        threads = [threading.Thread(target=writer, args=(k,)) for k in "abc"]
        for t in threads:
            t.start()
        tries = 0
        while any(t.is_alive() for t in threads):
            if seen:
                k, i, seq = seen[-1]
                for headers in ({"X-Koan-Seq": seq}, {"X-Koan-Consistency": "linear"}, {"X-Koan-Consistency": "max-age=5", "X-Koan-Seq": seq}):
                    a = c("GET", f"/api/doc/{k}", None, headers)
                    self.assertEqual(a.status, 200)
                    self.assertGreaterEqual(a.json["n"], i)
                    tries += 1
        for t in threads:
            t.join()
        self.assertGreater(tries, 10)
        applied = c("GET", "/api/cluster/status").json["ledger"]["applied"]
        began = time.monotonic()
        late = threading.Timer(0.5, lambda: [server.client()("PUT", "/api/doc/late", {"n": i}) for i in range(1, 6)])
        late.start()
        a = c("GET", "/api/doc/late", None, {"X-Koan-Seq": str(applied + 5)})
        late.join()
        self.assertEqual((a.status, a.json.get("n")), (200, 5), a.body)
        self.assertGreater(time.monotonic() - began, 0.4)
        began = time.monotonic()
        a = c("GET", "/api/doc", None, {"X-Koan-Seq": str(applied + 1000)})
        self.assertEqual((a.status, a.json["code"]), (504, "timeout"))
        self.assertTrue(4.5 < time.monotonic() - began < 8)
        for value in ("-1", "x", "1.5", ""):
            self.assertEqual(c("GET", "/api/doc", None, {"X-Koan-Seq": value}).status, 400, value)
        for value in ("strong", "max-age=", "max-age=-1", "max-age=x", "LINEAR"):
            a = c("GET", "/api/doc", None, {"X-Koan-Consistency": value})
            self.assertEqual((a.status, a.json["code"]), (400, "invalid"), value)
        self.assertEqual(server.stop(), 0)


if __name__ == "__main__":
    unittest.main()
