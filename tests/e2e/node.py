"""The real binary for tests: nodes on free ports, commands, HTTP over kept connections."""
import http.client
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import time
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BIN = os.environ.get("KOAN_BIN", os.path.join(ROOT, "build/rel/koan"))
APPS = os.path.join(ROOT, "lua/apps")
START_S = 30
# What a supervisor of the tests may have set for itself.
NOT_OURS = ("PORT", "NOTIFY_SOCKET", "LISTEN_PID", "LISTEN_FDS", "CREDENTIALS_DIRECTORY")
# The binary under test carries a sanitizer: bigger and slower, and it ends badly when it finds something.
with open(BIN, "rb") as f:
    SANITIZED = re.search(b"__[at]san_init", f.read()) is not None


def environment(more=None, home=None):
    """The caller's, without what koan would take for settings."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("KOAN_") and k not in NOT_OURS}
    if home:
        env["HOME"] = home
    env.update(more or {})
    return env


def run(*args, env=None, cwd=None, stdin=None, home=None, timeout=120):
    """One command to its end: (exit code, stdout, stderr)."""
    p = subprocess.run([BIN, *map(str, args)], env=environment(env, home), cwd=cwd or tempfile.gettempdir(),
                       input=stdin, capture_output=True, text=True, timeout=timeout)
    return p.returncode, p.stdout, p.stderr


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    @property
    def json(self):
        return json.loads(self.body)


class Client:
    """One kept connection."""

    def __init__(self, port, token=None, tls=None):
        self.port, self.token, self.tls = port, token, tls
        self.connection = None

    def __call__(self, method, path, body=None, headers=None):
        headers = dict(headers or {})
        if self.token:
            headers["Authorization"] = "Bearer " + self.token
        if body is not None and not isinstance(body, (str, bytes)):
            body = json.dumps(body)
        if body is not None:
            headers.setdefault("Content-Type", "application/json")
        if self.connection is None:
            self.connection = (http.client.HTTPSConnection("127.0.0.1", self.port, timeout=30, context=self.tls)
                               if self.tls else http.client.HTTPConnection("127.0.0.1", self.port, timeout=30))
        try:
            self.connection.request(method, path, body, headers)
            answer = self.connection.getresponse()
            return Answer(answer.status, answer.headers, answer.read())
        except Exception:
            self.close()
            raise

    def close(self):
        if self.connection is not None:
            self.connection.close()
        self.connection = None


class Node:
    """A server under test. `logs` is what it has written; parsed lines are in `events`."""

    def __init__(self, data, *args, verb="serve", env=None, cwd=None, wait=True, port=0, home=None, prefix=(),
                 binary=BIN, pass_fds=()):
        # A folder of its own: no koan.lua of somebody else is picked up.
        self.data = data
        listen = [] if any(a == "--listen" for a in args) else ["--listen", f"127.0.0.1:{port}"]
        self.started = time.monotonic()
        self.process = subprocess.Popen(
            [*prefix, binary, verb, "--data", data, *listen, *map(str, args)], env=environment(env, home),
            cwd=cwd or os.path.dirname(data), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            pass_fds=pass_fds)
        self.logs, self.port, self.ready, self.clients = [], None, threading.Event(), []
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()
        if wait:
            self.wait_ready()

    def _read(self):
        for line in self.process.stderr:
            self.logs.append(line)
            found = re.search(r"https?://\S+:(\d+), \d+ thread", line)
            if found:
                self.port = int(found.group(1))
            if re.search(r'"ready +after', line) or re.search(r"^ +ready +after", line):
                self.ready.set()
        self.ready.set()

    def wait_ready(self):
        if not self.ready.wait(START_S) or self.port is None or self.process.poll() is not None:
            self.kill()
            raise AssertionError("the server did not start:\n" + self.text)

    @property
    def text(self):
        return "".join(self.logs)

    def wait_log(self, pattern, seconds=10, start=0):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for line in self.logs[start:]:
                if re.search(pattern, line):
                    return line
            time.sleep(0.01)
        raise AssertionError(f"no log line matches {pattern!r} within {seconds} s:\n{self.text}")

    def client(self, **kw):
        self.clients.append(Client(self.port, **kw))
        return self.clients[-1]

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def status(self, name):
        with open(f"/proc/{self.process.pid}/status") as f:
            return next(line.split(":", 1)[1].strip() for line in f if line.startswith(name + ":"))

    def stop(self, sig=signal.SIGTERM, seconds=40):
        """Exit code after a clean stop."""
        if self.process.poll() is None:
            self.process.send_signal(sig)
        try:
            code = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError("the server did not stop:\n" + self.text)
        self._close()
        return code

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._close()

    def _close(self):
        for client in self.clients:
            client.close()
        self.reader.join(10)
        self.process.stdout.close()
        self.process.stderr.close()


class Case(unittest.TestCase):
    """With a folder of its own that goes away, and nodes that are stopped."""

    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix="koan-e2e-")
        self.nodes = []
        self.addCleanup(shutil.rmtree, self.dir, ignore_errors=True)
        self.addCleanup(self._kill)

    def _kill(self):
        for node in self.nodes:
            node.kill()
            # Builds with sanitizers (KOAN_BIN=build/tsan/koan) tell what they found in the log.
            self.assertNotRegex(node.text, r"Sanitizer|runtime error:|assertion failed")

    def path(self, *names):
        return os.path.join(self.dir, *names)

    def write(self, name, text):
        path = self.path(name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w") as f:
            f.write(text)
        return path

    def node(self, *args, data="data", **kw):
        node = Node(self.path(data), *args, **kw)
        self.nodes.append(node)
        return node

    def deployed(self, node, name, text):
        """A set of this one script in force on a running server."""
        a = node.client()("POST", "/api/cluster/scripts", {"files": {name: text}})
        self.assertEqual(a.status, 200, a.body)

    def fails(self, *args, data="data", **kw):
        """Start a server that must refuse: (exit code, what it said)."""
        return run("serve", "--data", self.path(data), "--listen", "127.0.0.1:0", *args, cwd=self.dir, **kw)[::2]


class App(Case):
    """One server for the whole class, with the script APP; each test takes names of its own."""
    APP = ""

    @classmethod
    def setUpClass(cls):
        cls.house = Case()
        cls.house.setUp()
        cls.addClassCleanup(cls.house.doCleanups)
        cls.house.write("scripts/app.lua", cls.APP)
        cls.server = cls.house.node("--scripts", cls.house.path("scripts"))
        cls.addClassCleanup(cls.ends_well)

    @classmethod
    def ends_well(cls):
        code = cls.server.stop()
        assert code == 0, f"exit {code}:\n{cls.server.text}"

    def setUp(self):
        self.c = self.server.client()
        self.addCleanup(self.c.close)

    def ok(self, method, path, body=None, status=200, **headers):
        """The answer, which must have this status. X_Canon_Origin="erp" is a header."""
        a = self.c(method, path, body, {k.replace("_", "-"): v for k, v in headers.items()})
        self.assertEqual(a.status, status, a.body)
        return a

    def script(self, text, *args):
        """What a script gives back that is run once, beside those in force."""
        a = self.ok("POST", "/api/cluster/run", {"text": text, "args": list(args)}).json
        self.assertTrue(a["ok"], a)
        return a.get("result")

    def refused(self, method, path, body=None, status=400, code="invalid", words="", **headers):
        """The problem, which must have this code and these words."""
        a = self.ok(method, path, body, status, **headers)
        p = a.json
        self.assertEqual(a.headers["Content-Type"], "application/problem+json")
        self.assertEqual((p["code"], p["status"]), (code, status))
        self.assertIn(p["retry"], ("never", "same", "reread", "after"))
        self.assertIn(words, p["detail"] + json.dumps(p.get("errors", "")))
        return p
