"""What those who run a node rely on: protocols, streams that stay open, metrics that stay small, probes, settings that are live."""
import http.client
import re
import shutil
import socket
import subprocess
import threading
import time
import unittest

from e2e.node import SANITIZED, Case, run
from e2e.slow_sync import SlowSync, possible

MANY = 250  # routes, and as many entities as a set may have
METRICS_BYTES = 100 * 1024


class Protocols(Case):
    @unittest.skipUnless(shutil.which("openssl"), "no openssl")
    def test_tls_1_2_and_1_3_and_nothing_older(self):
        cert, key = self.path("cert.pem"), self.path("key.pem")
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "90", "-subj", "/CN=localhost",
                        "-keyout", key, "-out", cert], check=True, capture_output=True)
        node = self.node("--http.tls_cert", cert, "--http.tls_key", key)

        def spoken(flag):
            done = subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{node.port}", flag, "-cipher", "ALL:@SECLEVEL=0"], input=b"",
                                  capture_output=True, timeout=30)
            found = re.search(rb"New, (TLSv[0-9.]+|SSLv3), Cipher is (?!\(NONE)", done.stdout)
            return found is not None
        self.assertEqual([spoken(f) for f in ("-tls1", "-tls1_1", "-tls1_2", "-tls1_3")], [False, False, True, True])
        # Who says hello and nothing more, or nothing at all, is let go like everybody.
        with socket.create_connection(("127.0.0.1", node.port)) as s:
            s.settimeout(120)
            began = time.monotonic()
            self.assertEqual(s.recv(100), b"")
            self.assertLess(time.monotonic() - began, 45)  # and not after the minute that is for those who have asked

    def test_a_quiet_stream_says_every_fifteen_seconds_that_it_is_there(self):
        self.write("scripts/app.lua", 'entity "Note" { fields = { text = text } }')
        node = self.node("--scripts", self.path("scripts"))
        c = http.client.HTTPConnection("127.0.0.1", node.port, timeout=60)
        self.addCleanup(c.close)
        c.request("GET", "/api/note/changes")
        answer, times = c.getresponse(), []
        self.assertEqual(answer.headers["Content-Type"].split(";")[0], "text/event-stream")
        began = time.monotonic()
        while len(times) < 2 and time.monotonic() - began < 45:
            line = answer.fp.readline()  # chunks and all
            if line.startswith(b":"):
                times.append(time.monotonic())
        self.assertEqual(len(times), 2)
        self.assertTrue(10 < times[1] - times[0] < 25 or 10 < times[1] - began < 40, times)


class Metrics(Case):
    def test_they_stay_small_and_quick_whatever_there_is(self):
        text = "".join(f'entity "E{i}" {{ fields = {{ a = text }}, before_save = function() end }}\n' for i in range(200))
        text += "".join(f'route "GET /r{i}" {{ run = function() return "" end }}\n' for i in range(MANY))
        self.write("scripts/app.lua", text)
        node = self.node("--scripts", self.path("scripts"))
        c = node.client()
        for i in range(MANY):
            self.assertEqual(c("GET", f"/r{i}").status, 200)
        for i in range(200):
            self.assertEqual(c("POST", f"/api/e{i}", {"a": "x"}).status, 201)
        for _ in range(30):
            self.assertEqual(c("GET", "/r7").status, 200)
        took = []
        for _ in range(40):
            began = time.monotonic()
            page = c("GET", "/metrics").body
            took.append(time.monotonic() - began)
        self.assertLess(len(page), METRICS_BYTES)
        if not SANITIZED:  # the quickest of many: the machine is not alone
            self.assertLess(min(took), 0.010, sorted(took)[:5])
        shown = re.findall(rb'^koan_script_runs_total\{function="([^"]+)"', page, re.M)
        self.assertLessEqual(len(shown), 51)
        self.assertIn(b"GET /r7", shown)  # the busiest are named
        self.assertRegex(page, rb'koan_script_runs_total\{.*other="true"')
        detail = c("GET", "/metrics/detailed?family=koan_script_runs_total").body
        self.assertGreaterEqual(detail.count(b"function="), MANY + 200)


class Live(Case):
    def test_flags_and_settings_are_live_within_a_second_on_every_thread(self):
        self.write("scripts/app.lua", 'route "GET /on" { run = function() return { on = flag("new"), rate = config.get("rate", 0) } end }')
        node = self.node("--scripts", self.path("scripts"), "--script.threads", "2", "--http.threads", "2")
        clients = [node.client() for _ in range(8)]
        for value, on in (("on", True), ("off", False), ("100%", True)):
            self.assertEqual(run("config", "set", "flags.new", value, "--url", node.url)[0], 0)
            self.assertEqual(run("config", "set", "app.rate", str(len(value)), "--url", node.url)[0], 0)
            began = time.monotonic()
            while {(c("GET", "/on").json["on"], c("GET", "/on").json["rate"]) for c in clients} != {(on, len(value))}:
                self.assertLess(time.monotonic() - began, 1)

    def test_a_flag_that_nobody_defined_is_off_and_told_once(self):
        self.write("scripts/app.lua", 'route "GET /on" { run = function() return { on = flag("nobody-knows") } end }')
        node = self.node("--scripts", self.path("scripts"), "--script.threads", "1")
        c = node.client()
        self.assertEqual([c("GET", "/on").json["on"] for _ in range(5)], [False] * 5)
        self.assertEqual(len([line for line in node.logs if "nobody-knows" in line]), 1)
        self.assertRegex(c("GET", "/metrics").body, rb"koan_flag_unknown_total(\{[^}]*\})? 5")


@unittest.skipUnless(possible(), "the filter is written for Linux on x86-64")
class Stuck(Case):
    def test_a_log_that_waits_for_its_disk_for_ten_seconds_is_not_alive(self):  # O1
        self.assert_stuck("x" * 100_000)  # a thread beside the loop writes it

    def test_a_loop_that_does_not_turn_for_ten_seconds_is_named(self):  # O1
        self.assert_stuck("x")

    def assert_stuck(self, text):
        self.write("scripts/app.lua", 'entity "Note" { fields = { text = text { max = 200000 } } }\n')
        disk = SlowSync(self.path("supervisor"))
        self.addCleanup(disk.close)
        node = self.node("--scripts", self.path("scripts"), prefix=disk.prefix)
        c = node.client()
        disk.gate.clear()
        writer = threading.Thread(target=lambda: node.client()("PUT", "/api/note/n", {"text": text}))
        writer.start()
        self.addCleanup(writer.join)
        self.addCleanup(disk.gate.set)
        began = time.monotonic()
        while (a := c("GET", "/livez")).status == 200 and time.monotonic() - began < 30:
            time.sleep(0.2)
        self.assertTrue(9 < time.monotonic() - began < 30)
        # A disk that was slow before is written by the thread beside the loop, whatever the size.
        self.assertRegex(a.json["detail"], "loop 'ledger' has not turned for|the log has waited for its disk for" if text == "x"
                         else "the log has waited for its disk for")
        self.assertEqual(c("GET", "/health").status, 503)
        disk.gate.set()
        end = time.monotonic() + 10
        while (a := c("GET", "/livez")).status != 200 and time.monotonic() < end:
            time.sleep(0.1)
        self.assertEqual(a.status, 200)


if __name__ == "__main__":
    unittest.main()
