"""koan doctor: findings, ways out, exit codes, and what --fix mends."""
import json
import os
import socket
import subprocess
import unittest

from e2e.node import Case, run

APP = 'entity "Item" { fields = { n = int } }\n'


class Doctor(Case):
    def doctor(self, *args, **kw):
        code, out, err = run("doctor", "--data", self.path("data"), "--json", *args, cwd=self.dir, **kw)
        self.assertIn(code, (0, 1, 3), out + err)
        found = {f["check"]: f for f in json.loads(out)}
        worst = max(("ok", "warning", "failed").index(f["verdict"]) for f in found.values())
        self.assertEqual(code, (0, 3, 1)[worst])
        return found

    def test_every_check_answers_with_a_way_out(self):
        found = self.doctor("--listen", "127.0.0.1:0")
        self.assertEqual(list(found), ["clock", "sync", "limits", "disk", "port", "certificate", "modes", "scripts", "drift"])
        for f in found.values():
            self.assertTrue(f["found"], f)
            if f["verdict"] != "ok":
                self.assertTrue(f["way"], f)
        code, out, _ = run("doctor", "--data", self.path("data"), cwd=self.dir)
        self.assertRegex(out, r"(?m)^(ok|warning|failed) +disk +\S+ left")

    def test_a_port_that_is_taken_is_told(self):
        with socket.create_server(("127.0.0.1", 0)) as s:
            f = self.doctor("--listen", f"127.0.0.1:{s.getsockname()[1]}")["port"]
        self.assertEqual(f["verdict"], "failed")
        self.assertIn("another program", f["found"])
        self.assertEqual(self.doctor("--listen", "192.0.2.1:80")["port"]["verdict"], "failed")

    def certificate(self, name, days, subject="/CN=localhost"):
        cert, key = self.path(name + ".pem"), self.path(name + ".key")
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", key,
                        "-out", cert, "-days", str(days), "-subj", subject], check=True, capture_output=True)
        return cert, key

    def test_a_certificate_is_looked_at(self):
        see = lambda cert, key: self.doctor("--http.tls_cert", cert, "--http.tls_key", key)["certificate"]
        good, key = self.certificate("good", 90)
        f = see(good, key)
        self.assertEqual(f["verdict"], "ok", f)
        self.assertIn("CN=localhost", f["found"])
        soon, soon_key = self.certificate("soon", 5)
        f = see(soon, soon_key)
        self.assertEqual(f["verdict"], "warning", f)
        self.assertRegex(f["found"], "expires on .* in [45] days")
        self.assertIn("SIGHUP", f["way"])
        f = see(good, soon_key)
        self.assertEqual(f["verdict"], "failed")
        self.assertIn("does not belong", f["found"])
        old, old_key = self.path("old.pem"), self.path("old.key")
        subprocess.run(["openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", old_key,
                        "-out", self.path("old.csr"), "-subj", "/CN=old"], check=True, capture_output=True)
        subprocess.run(["openssl", "x509", "-req", "-in", self.path("old.csr"), "-signkey", old_key, "-days", "-1", "-out", old],
                       check=True, capture_output=True)
        f = see(old, old_key)
        self.assertEqual(f["verdict"], "failed", f)
        self.assertIn("expired", f["found"])
        other, _ = self.certificate("other", 90, "/CN=other")
        with open(good) as a, open(other) as b:
            chain = self.write("chain.pem", a.read() + b.read())
        f = see(chain, key)
        self.assertEqual(f["verdict"], "warning", f)
        self.assertIn("no chain", f["found"])

    def test_a_limit_below_the_connections_is_told(self):
        f = self.doctor("--http.connections", "1000000")["limits"]
        self.assertEqual(f["verdict"], "warning")
        self.assertIn("LimitNOFILE", f["way"])

    def test_fix_closes_files_that_others_could_read(self):
        self.node().stop()
        os.chmod(self.path("data"), 0o755)
        os.chmod(self.path("data", "cursor.key"), 0o644)
        f = self.doctor()["modes"]
        self.assertEqual((f["verdict"], f["fixed"]), ("warning", False))
        self.assertIn("--fix", f["way"])
        f = self.doctor("--fix")["modes"]
        self.assertEqual((f["verdict"], f["fixed"]), ("ok", True))
        self.assertEqual(os.stat(self.path("data")).st_mode & 0o777, 0o700)
        self.assertEqual(os.stat(self.path("data", "cursor.key")).st_mode & 0o777, 0o600)

    def test_scripts_are_looked_at(self):
        scripts = self.write("app/item.lua", APP)
        self.assertEqual(self.doctor("--scripts", self.path("app"))["scripts"]["verdict"], "ok")
        self.write("app/item.lua", "prnt(1)")
        f = self.doctor("--scripts", scripts)["scripts"]
        self.assertEqual(f["verdict"], "failed")
        self.assertIn("item.lua:1: global 'prnt'", f["found"])

    def test_a_running_server_is_asked_for_drift(self):
        scripts = os.path.dirname(self.write("app/item.lua", APP))
        node = self.node(scripts)
        self.assertEqual(run("deploy", scripts, "--url", node.url)[0], 0)
        listen = ["--listen", f"127.0.0.1:{node.port}", "--url", node.url]
        found = self.doctor(*listen)
        self.assertEqual((found["drift"]["verdict"], found["port"]["verdict"]), ("ok", "ok"))
        self.write("app/item.lua", APP + "-- more\n")
        f = self.doctor(*listen)["drift"]
        self.assertEqual(f["verdict"], "warning")
        self.assertIn("item.lua", f["found"])
        self.assertEqual(self.doctor("--url", "http://127.0.0.1:1")["drift"]["verdict"], "warning")

    def test_a_data_directory_in_memory_is_told(self):
        if not os.path.isdir("/dev/shm") or not os.access("/dev/shm", os.W_OK):
            self.skipTest("no /dev/shm")
        data = "/dev/shm/koan-doctor-" + str(os.getpid())
        os.mkdir(data)
        self.addCleanup(os.rmdir, data)
        f = {f["check"]: f for f in json.loads(run("doctor", "--data", data, "--json", cwd=self.dir)[1])}["sync"]
        self.assertEqual(f["verdict"], "warning")
        self.assertIn("memory", f["found"])
        self.assertEqual(os.listdir(data), [])


if __name__ == "__main__":
    unittest.main()
