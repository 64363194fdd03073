"""Start and stop: what is refused and how plainly, signals, tokens, TLS, supervisors, memory."""
import json
import os
import shutil
import signal
import socket
import sqlite3
import ssl
import stat
import subprocess
import threading
import time
import unittest

from e2e.node import APPS, SANITIZED, Case, run

TODO = os.path.join(APPS, "todo")
NOTE = 'entity "Note" { fields = { text = text { required = true } } }\n'


class Start(Case):
    def test_an_empty_start_is_ready_small_and_stops_with_zero(self):
        node = self.node()
        c = node.client()
        self.assertEqual(c("GET", "/livez").status, 200)
        self.assertEqual(c("GET", "/readyz").status, 200)
        self.assertEqual(c("GET", "/health").status, 200)
        time.sleep(0.5)
        if not SANITIZED:
            self.assertLess(int(node.status("VmRSS").split()[0]), 20 * 1024)
        self.assertEqual(node.stop(), 0)

    def test_the_node_keeps_its_id(self):
        node = self.node()
        with open(self.path("data/node.json")) as f:
            first = json.load(f)["id"]
        node.stop()
        self.node().stop()
        with open(self.path("data/node.json")) as f:
            self.assertEqual(json.load(f)["id"], first)

    def test_the_boot_report_names_settings_with_their_origin(self):  # F1
        node = self.node("--log-level", "info", env={"KOAN_LEDGER_KEEP": "2d"})
        self.assertIn("ledger.keep = 2d (environment KOAN_LEDGER_KEEP)", node.text)
        self.assertLessEqual(node.text.count('"area":"boot"'), 41)

    def test_every_log_line_is_json_in_a_pipe(self):
        node = self.node()
        node.stop()
        for line in node.logs:
            json.loads(line)

    def test_a_second_process_on_the_same_data_is_refused(self):
        node = self.node()
        code, err = self.fails()
        self.assertEqual(code, 1)
        self.assertIn(str(node.process.pid), err)
        self.assertIn("data", err)

    def test_a_port_in_use_is_refused(self):
        node = self.node()
        code, err = self.fails("--listen", f"127.0.0.1:{node.port}", data="other")
        self.assertEqual(code, 1)
        self.assertIn(str(node.port), err)
        self.assertIn("in use", err)

    def test_a_data_directory_that_is_a_file_is_refused(self):
        self.write("data", "x")
        code, err = self.fails()
        self.assertEqual(code, 1)
        self.assertIn(self.path("data"), err)

    def test_a_damaged_node_json_is_refused(self):
        os.makedirs(self.path("data"))
        self.write("data/node.json", '{"id": 3}')
        code, err = self.fails()
        self.assertEqual(code, 1)
        self.assertIn("node.json", err)

    def test_a_database_of_a_newer_version_is_refused(self):
        self.node().stop()
        db = sqlite3.connect(self.path("data/koan.db"))
        columns = [r[1] for r in db.execute("PRAGMA table_info(local_schema)")]
        row = list(db.execute("SELECT * FROM local_schema ORDER BY 1 DESC LIMIT 1").fetchone())
        row[0] = 9999
        db.execute(f"INSERT INTO local_schema VALUES ({','.join('?' * len(columns))})", row)
        db.commit()
        db.close()
        code, err = self.fails()
        self.assertEqual(code, 1)
        self.assertIn("9999", err)
        self.assertIn("newer", err)

    def test_a_damaged_log_is_refused_with_segment_and_offset(self):
        node = self.node(TODO)
        c = node.client()
        for i in range(50):
            self.assertEqual(c("POST", "/api/todo", {"title": "t" * 190}).status, 201)
        node.kill()
        segment = sorted(f for f in os.listdir(self.path("data/log")) if f.endswith(".log"))[0]
        with open(self.path("data/log", segment), "r+b") as f:
            f.seek(9000)
            byte = f.read(1)
            f.seek(9000)
            f.write(bytes([byte[0] ^ 0xFF]))
        code, err = self.fails(TODO)
        self.assertEqual(code, 1)
        self.assertIn(segment, err)
        self.assertRegex(err, r"\d{3,}")

    def test_scripts_that_do_not_load_stop_the_start_with_file_and_line(self):
        scripts = os.path.dirname(self.write("scripts/bad.lua", 'local x = 1\nentity "A" { fields = = }\n'))
        code, err = self.fails("--scripts", scripts)
        self.assertEqual(code, 1)
        self.assertIn("bad.lua:2", err)

    def test_an_unreadable_script_is_named(self):
        self.write("scripts/good.lua", NOTE)
        os.symlink("/nowhere/at/all", self.path("scripts/gone.lua"))
        code, err = self.fails("--scripts", self.path("scripts"))
        self.assertEqual(code, 1)
        self.assertIn("gone.lua", err)

    def test_a_script_folder_that_is_not_there_is_named(self):
        code, err = self.fails("--scripts", self.path("nope"))
        self.assertEqual(code, 1)
        self.assertIn(self.path("nope"), err)

    def test_bad_certificates_are_named(self):
        cert = self.write("cert.pem", "no certificate\n")
        code, err = self.fails("--http.tls_cert", cert, "--http.tls_key", cert)
        self.assertEqual(code, 1)
        self.assertIn("cert.pem", err)


class Disk(Case):
    """Needs a file system of its own, hence root."""

    def mount(self, options):
        if os.geteuid() != 0:
            self.skipTest("mounting needs root")
        path = self.path("disk")
        os.makedirs(path)
        if subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", path], capture_output=True).returncode:
            self.skipTest("this machine does not let us mount")
        self.addCleanup(subprocess.run, ["umount", "-l", path], capture_output=True)
        return path

    def test_a_read_only_directory_is_refused(self):
        disk = self.mount("size=16m")
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        code, err = self.fails(data="disk/data")
        self.assertEqual(code, 1)
        self.assertIn(disk, err)
        self.assertRegex(err, "read-only")

    def test_a_full_disk_at_start_is_refused(self):
        disk = self.mount("size=256k")
        code, err = self.fails(data="disk/data")
        self.assertEqual(code, 1)
        self.assertIn(disk, err)
        self.assertRegex(err, "full|free")

    def test_a_disk_that_fills_up_refuses_growth_and_recovers(self):  # L2 H2
        disk = self.mount("size=200m")
        node = self.node(TODO, data="disk/data")
        c = node.client()
        kept = c("POST", "/api/todo", {"title": "before"}).json["id"]
        s = os.statvfs(disk)
        with open(os.path.join(disk, "filler"), "wb") as f:
            left = s.f_bavail * s.f_frsize - 2 * 1024 * 1024
            while left > 0:
                left -= f.write(b"\0" * min(left, 1 << 20))
        refused = None
        end = time.monotonic() + 15
        while time.monotonic() < end:
            answer = c("POST", "/api/todo", {"title": "x" * 200})
            if answer.status != 201:
                refused = answer
                break
            time.sleep(0.02)
        self.assertIsNotNone(refused, "a full disk was not noticed")
        self.assertEqual((refused.status, refused.json["code"]), (507, "disk_full"))
        self.assertEqual(c("GET", "/api/todo/" + kept).status, 200)
        os.unlink(os.path.join(disk, "filler"))
        end = time.monotonic() + 15
        while c("POST", "/api/todo", {"title": "after"}).status != 201:
            self.assertLess(time.monotonic(), end, "writes are still refused with space free")
            time.sleep(0.1)
        self.assertEqual(node.stop(), 0)


class Access(Case):
    def test_another_address_needs_a_token_that_is_made_once(self):
        node = self.node("--listen", "0.0.0.0:0")
        line = node.wait_log("token made on first start")
        token = line.strip().rsplit(" ", 1)[1]
        path = self.path("data/token")
        self.assertEqual(stat.S_IMODE(os.stat(path).st_mode), 0o600)
        self.assertEqual(node.client()("GET", "/api/todo").status, 401)
        self.assertEqual(node.client(token="wrong" * 8)("GET", "/api/todo").status, 401)
        self.assertEqual(node.client(token=token)("GET", "/api/todo").status, 404)
        self.assertEqual(node.client()("GET", "/livez").status, 200)
        node.stop()
        again = self.node("--listen", "0.0.0.0:0")
        self.assertEqual(again.client(token=token)("GET", "/api/todo").status, 404)
        self.assertNotIn(token, again.text)

    def test_a_token_of_the_environment_is_needed_everywhere(self):
        token = "a-token-of-the-environment"
        node = self.node(env={"KOAN_TOKEN": token})
        self.assertEqual(node.client()("GET", "/api/x").status, 401)
        self.assertEqual(node.client(token=token)("GET", "/api/x").status, 404)
        self.assertNotIn(token, node.text)
        code, _, err = run("entity", "ls", "x", "--url", node.url, env={"KOAN_TOKEN": token})
        self.assertEqual(code, 1)
        self.assertNotIn("401", err)

    def test_tls_serves_https_only(self):
        if shutil.which("openssl") is None:
            self.skipTest("no openssl to make a certificate with")
        cert, key = self.path("cert.pem"), self.path("key.pem")
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "90", "-subj", "/CN=localhost",
                        "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", cert], check=True, capture_output=True)
        node = self.node("--http.tls_cert", cert, "--http.tls_key", key)
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            context = ssl.create_default_context(cafile=cert)
            context.minimum_version = context.maximum_version = version
            self.assertEqual(node.client(tls=context)("GET", "/livez").status, 200)
        with self.assertRaises(Exception):
            node.client()("GET", "/livez")
        code, _, err = run("health", "--url", node.url.replace("http", "https"), "--ca", cert)
        self.assertEqual(code, 0, err)

    def test_a_renewed_certificate_is_taken_while_it_runs(self):
        if shutil.which("openssl") is None:
            self.skipTest("no openssl to make a certificate with")
        cert, key = self.path("cert.pem"), self.path("key.pem")

        def renew(name):
            subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                            "-days", "90", "-subj", "/CN=" + name, "-addext", "subjectAltName=IP:127.0.0.1",
                            "-keyout", key, "-out", cert], check=True, capture_output=True)
            return ssl.create_default_context(cafile=cert)

        first = renew("first")
        node = self.node("--http.tls_cert", cert, "--http.tls_key", key)
        kept = node.client(tls=first)
        self.assertEqual(kept("GET", "/livez").status, 200)
        second = renew("second")
        node.process.send_signal(signal.SIGHUP)
        node.wait_log("certificate was read again")
        self.assertTrue(self.trusts(node, second))
        self.assertEqual(kept("GET", "/livez").status, 200)  # goes on with the certificate that it began with
        self.assertFalse(self.trusts(node, first))

        self.write("key.pem", "no key")
        node.process.send_signal(signal.SIGHUP)
        self.assertIn(key, node.wait_log("reload refused"))
        self.assertTrue(self.trusts(node, second))

    def trusts(self, node, context):
        try:
            return node.client(tls=context)("GET", "/livez").status == 200
        except ssl.SSLError:
            return False


class Signals(Case):
    def test_a_supervisor_hears_ready_and_stopping(self):
        path = self.path("notify")
        s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(s.close)
        s.bind(path)
        s.settimeout(20)
        node = self.node(env={"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "200000"})
        self.assertIn(b"READY=1", s.recv(4096))
        self.assertIn(b"WATCHDOG=1", s.recv(4096))
        node.process.send_signal(signal.SIGTERM)
        while b"STOPPING=1" not in s.recv(4096):
            pass
        self.assertEqual(node.stop(), 0)

    def test_sighup_takes_live_settings_and_tells_of_drift(self):
        config = self.write("koan.json", '{"log": {"level": "info"}, "ledger": {"keep": "1d"}}')
        self.write("scripts/note.lua", NOTE)
        node = self.node("--scripts", self.path("scripts"), "--config", config, cwd=self.dir)
        self.assertEqual(node.client()("GET", "/api/extra").status, 404)
        self.write("koan.json", '{"log": {"level": "debug"}, "ledger": {"keep": "2d"}}')
        self.write("scripts/extra.lua", NOTE.replace("Note", "Extra"))
        node.process.send_signal(signal.SIGHUP)
        node.wait_log("log.level is now debug")
        node.wait_log("ledger.keep is 2d .* after a restart")
        self.assertIn("extra.lua", node.wait_log("drift"))
        self.assertEqual(node.client()("GET", "/api/extra").status, 404)

    def test_a_reload_with_faults_changes_nothing(self):  # F3
        config = self.write("koan.json", '{"log": {"level": "info"}}')
        node = self.node("--config", config, cwd=self.dir)
        self.write("koan.json", '{"log": {"level": "debug"}, "http": {"treads": 1}}')
        node.process.send_signal(signal.SIGHUP)
        node.wait_log("reload refused.*did you mean 'http.threads'")
        self.assertNotIn("log.level is now", node.text)

    def test_a_drain_answers_what_is_under_way(self):
        node = self.node(TODO)
        acked, lost, stop = [], [], threading.Event()

        def load(i):
            c, n = node.client(), 0
            while not stop.is_set():
                n += 1
                name = f"w{i}-{n}"
                try:
                    answer = c("PUT", "/api/todo/" + name, {"title": name})
                except OSError:
                    return
                except Exception:  # closed before an answer began: the outcome is open, and that is allowed
                    return
                (acked if answer.status in (200, 201) else lost).append((name, answer.status))
                if answer.status == 503:
                    return

        threads = [threading.Thread(target=load, args=(i,)) for i in range(8)]
        for t in threads:
            t.start()
        time.sleep(0.7)
        self.assertEqual(node.stop(), 0)
        stop.set()
        for t in threads:
            t.join()
        self.assertGreater(len(acked), 50)
        self.assertEqual([x for x in lost if x[1] != 503], [])
        again = self.node(TODO)
        c = again.client()
        for name, _ in acked:
            self.assertEqual(c("GET", "/api/todo/" + name).status, 200, name)


class Dev(Case):
    def test_dev_takes_over_changes_and_survives_mistakes(self):
        self.write("scripts/note.lua", NOTE)
        node = self.node(self.path("scripts"), verb="dev")
        c = node.client()
        self.assertEqual(c("POST", "/api/note", {"text": "a"}).status, 201)
        self.assertEqual(c("POST", "/api/note", {"text": "a", "stars": 1}).status, 400)

        began = time.monotonic()
        self.write("scripts/note.lua", NOTE.replace("text = text", "stars = int, text = text"))
        while c("POST", "/api/note", {"text": "a", "stars": 1}).status != 201:
            self.assertLess(time.monotonic() - began, 5)
            time.sleep(0.02)

        mark = len(node.logs)
        self.write("scripts/note.lua", "local a = 1\nlocal b = = 2\n")
        node.wait_log("note.lua:2", start=mark)
        self.assertEqual(c("POST", "/api/note", {"text": "still", "stars": 2}).status, 201)

        mark = len(node.logs)
        self.write("scripts/note.lua", NOTE.replace("text = text", "stars = int, text = text") + "-- mended\n")
        node.wait_log("live files=1", start=mark)

    def test_dev_starts_although_the_scripts_do_not_load(self):
        self.write("scripts/note.lua", "nonsense(")
        node = self.node(self.path("scripts"), verb="dev")
        node.wait_log("note.lua:1")
        c = node.client()
        self.assertEqual(c("GET", "/readyz").status, 503)
        self.write("scripts/note.lua", NOTE)
        node.wait_log("live files=1")
        self.assertEqual(c("GET", "/readyz").status, 200)


if __name__ == "__main__":
    unittest.main()
