"""What systemd hands over: a socket that is open before the server and after it, and credentials."""
import os
import signal
import socket
import ssl
import subprocess
import sys
import unittest

from e2e.node import APPS, BIN, Case, Client, environment, run

# Starts a command as systemd would: the descriptors from 3 on, and its own process named in LISTEN_PID.
ACTIVATE = """
import os, sys
count = int(sys.argv[1])
for i in range(count):
    os.dup2(int(sys.argv[2 + i]), 100 + i)
for i in range(count):
    os.dup2(100 + i, 3 + i)
os.environ.update(LISTEN_FDS=str(count), LISTEN_PID=os.environ.get("TEST_PID", str(os.getpid())))
os.execv(sys.argv[2 + count], sys.argv[2 + count:])
"""


def activated(sockets):
    """For Node(): prefix and descriptors."""
    numbers = [str(s.fileno()) for s in sockets]
    return {"prefix": (sys.executable, "-c", ACTIVATE, str(len(numbers)), *numbers),
            "pass_fds": [s.fileno() for s in sockets]}


class Activation(Case):
    def listener(self, address="127.0.0.1", family=socket.AF_INET, kind=socket.SOCK_STREAM):
        s = socket.socket(family, kind)
        self.addCleanup(s.close)
        s.bind(address if family == socket.AF_UNIX else (address, 0))
        if kind == socket.SOCK_STREAM:
            s.listen(128)
        return s

    def refused(self, *sockets):
        how = activated(sockets)
        done = subprocess.run([*how["prefix"], BIN, "serve", "--data", self.path("data")], env=environment(),
                              pass_fds=how["pass_fds"], cwd=self.dir, capture_output=True, text=True, timeout=30)
        self.assertEqual(done.returncode, 2, done.stderr)
        return done.stderr

    def test_a_socket_from_systemd_is_served_whatever_else_names_an_address(self):
        s = self.listener()
        node = self.node(os.path.join(APPS, "todo"), "--listen", "127.0.0.1:1", **activated([s]))
        self.assertEqual(node.port, s.getsockname()[1])
        self.assertIn("on systemd's socket", node.text)
        for _ in range(20):  # more connections than threads: each of them serves
            self.assertEqual(node.client()("GET", "/api/todo").status, 200)
        self.assertEqual(node.stop(), 0)

    def test_who_comes_during_a_restart_waits_and_is_answered(self):
        s = self.listener()
        todo = os.path.join(APPS, "todo")
        node = self.node(todo, **activated([s]))
        made = node.client()("POST", "/api/todo", {"title": "buy milk"}).json
        self.assertEqual(node.stop(), 0)
        early = socket.create_connection(s.getsockname(), timeout=30)
        self.addCleanup(early.close)
        early.sendall(f"GET /api/todo/{made['id']} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        again = self.node(todo, **activated([s]))
        answer = b"".join(iter(lambda: early.recv(4096), b""))
        self.assertIn(b"200 OK", answer)
        self.assertIn(b"buy milk", answer)
        self.assertEqual(again.stop(), 0)

    def test_the_address_of_the_socket_decides_whether_a_token_is_needed(self):
        s = self.listener("0.0.0.0")
        node = self.node(os.path.join(APPS, "todo"), "--listen", "127.0.0.1:1", **activated([s]))
        self.assertEqual(node.client()("GET", "/api/todo").status, 401)
        with open(self.path("data", "token")) as f:
            self.assertEqual(node.client(token=f.read().strip())("GET", "/api/todo").status, 200)

    def test_a_reload_changes_nothing_about_it(self):
        script = self.write("x.lua", 'entity "Note" { fields = { line = text {} } }')
        s = self.listener("::1", socket.AF_INET6)
        config = self.write("koan.json", '{"app": {"rate": 1}}')
        node = self.node(script, "--config", config, **activated([s]))
        self.write("koan.json", '{"app": {"rate": 2}}')
        node.process.send_signal(signal.SIGHUP)
        node.wait_log("app and flags are taken over")
        with socket.create_connection(s.getsockname()[:2], timeout=30) as c:
            c.sendall(b"GET /api/note HTTP/1.1\r\nHost: x\r\n\r\n")
            self.assertIn(b"200 OK", c.recv(4096))
        self.assertEqual(node.stop(), 0)
        self.assertNotIn('"level":"warn"', node.text)

    def test_a_socket_meant_for_another_process_is_left_alone(self):
        s = self.listener()
        node = self.node(env={"TEST_PID": "1"}, **activated([s]))
        self.assertNotEqual(node.port, s.getsockname()[1])
        self.assertEqual(node.stop(), 0)

    def test_what_http_cannot_be_served_on_is_refused(self):
        self.assertIn("keep a single ListenStream=", self.refused(self.listener(), self.listener()))
        self.assertIn("does not listen for streams", self.refused(self.listener(kind=socket.SOCK_DGRAM)))
        self.assertIn("no TCP socket", self.refused(self.listener(self.path("s"), socket.AF_UNIX)))


class Credentials(Case):
    def credential(self, name, text):
        self.write("credentials/" + name, text)
        return {"CREDENTIALS_DIRECTORY": self.path("credentials")}

    def show(self, env):
        code, out, err = run("config", "show", "--origin", env=env, cwd=self.dir)
        self.assertEqual(code, 0, err)
        return {line.split()[0]: line for line in out.splitlines() if line.strip()}

    def test_the_token_is_taken_from_one(self):
        env = self.credential("koan.token", "abcdefghijklmnopqrstuvwxyz\n")
        node = self.node(os.path.join(APPS, "todo"), env=env)
        self.assertEqual(node.client()("GET", "/api/todo").status, 401)
        self.assertEqual(node.client(token="abcdefghijklmnopqrstuvwxyz")("GET", "/api/todo").status, 200)
        self.assertIn("token from credential koan.token", node.text)

    def test_a_path_means_the_credential_itself(self):
        key, cert = self.path("credentials/koan.http.tls_key"), self.path("credentials/koan.http.tls_cert")
        os.mkdir(self.path("credentials"))
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
                        "-keyout", key, "-out", cert], check=True, capture_output=True)
        node = self.node(os.path.join(APPS, "todo"), env={"CREDENTIALS_DIRECTORY": self.path("credentials")})
        trust = ssl.create_default_context()
        trust.check_hostname, trust.verify_mode = False, ssl.CERT_NONE
        client = Client(node.port, tls=trust)
        self.addCleanup(client.close)
        self.assertEqual(client("GET", "/api/todo").status, 200)

    def test_it_stands_above_the_file_and_below_the_environment(self):
        self.write("koan.json", '{"log": {"level": "warn"}, "ledger": {"keep": "2d"}}')
        self.credential("koan.ledger.keep", "3d")
        shown = self.show({**self.credential("koan.log.level", "error"), "KOAN_LEDGER_KEEP": "4d"})
        self.assertRegex(shown["log.level"], "error.*credential koan.log.level")
        self.assertRegex(shown["ledger.keep"], "4d.*environment KOAN_LEDGER_KEEP")

    def test_a_wrong_one_is_named_with_the_nearest_right_one(self):
        env = self.credential("koan.tokn", "x")
        self.credential("koan.http.threads", "many")
        self.credential("something.else", "of another program")
        code, _, err = run("config", "show", env=env, cwd=self.dir)
        self.assertEqual(code, 2)
        self.assertIn("credential koan.tokn: there is no setting 'tokn'; did you mean 'token'?", err)
        self.assertIn("credential koan.http.threads: http.threads: 'many'", err)
        self.assertNotIn("something.else", err)


if __name__ == "__main__":
    unittest.main()
