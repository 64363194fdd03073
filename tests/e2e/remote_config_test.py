"""The remote layer of the configuration: a JSON document over HTTP(S), its copy, and a node that waits for it."""
import http.server
import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import threading
import time
import unittest

from e2e.node import Case, run

APP = """entity "Price" {
  fields = { n = int, rate = number, fresh = bool },
  before_save = function(e) e.rate = config.get("rate", 1); e.fresh = flag("fresh", e.id) end,
}
"""


class Source:
    """Serves one document with an ETag; can be stopped, and begin again on the same port."""

    def __init__(self):
        self.document, self.status, self.version, self.asked, self.tokens, self.server = {}, 200, 0, [], [], None
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            self.port = s.getsockname()[1]

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}/settings.json"

    def say(self, document, status=200):
        self.document, self.status = document, status
        self.version += 1

    def start(self, cert=None, key=None):
        source = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                etag = f'"{source.version}"'
                source.tokens.append(self.headers.get("Authorization"))
                same = self.headers.get("If-None-Match") == etag
                status = 304 if same and source.status == 200 else source.status
                source.asked.append(status)
                body = b"" if status == 304 else (
                    source.document if isinstance(source.document, bytes) else json.dumps(source.document).encode())
                self.send_response(status)
                self.send_header("ETag", etag)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args):
                pass
        http.server.HTTPServer.allow_reuse_address = True
        self.server = http.server.HTTPServer(("127.0.0.1", self.port), Handler)
        if cert is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(cert, key)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self.thread.start()

    def stop(self):
        if self.server is not None:
            self.server.shutdown()
            self.server.server_close()
            self.thread.join()
            self.server = None


class Remote(Case):
    def setUp(self):
        super().setUp()
        self.scripts = self.write("app/app.lua", APP)
        self.source = Source()
        self.addCleanup(self.source.stop)
        self.env = {"KOAN_CONFIG_REMOTE_URL": self.source.url, "KOAN_CONFIG_REMOTE_INTERVAL": "1s"}

    def start(self, *args, env=None, **kw):
        self.server = self.node(self.path("app"), *args, env={**self.env, **(env or {})}, **kw)
        return self.server

    def price(self):
        r = self.server.client()("POST", "/api/price", {"n": 1}).json
        return r["rate"], r["fresh"]

    def until(self, what, seconds=8):
        end = time.monotonic() + seconds
        while not what():
            self.assertLess(time.monotonic(), end, self.server.text)
            time.sleep(0.05)

    def part(self):
        parts = {p["name"]: p for p in self.server.client()("GET", "/health").json.get("components", [])}
        return parts["config.remote"]

    def shown(self):
        return {s["name"]: s for s in self.server.client()("GET", "/api/cluster/settings").json["settings"]}

    def boot(self):
        c = self.server.client()
        node = c("GET", "/api/cluster/status").json["node"]
        return c("GET", f"/api/cluster/nodes/{node}/boot").json

    def test_a_document_is_a_layer_and_changes_are_live(self):  # F1
        self.source.say({"app": {"rate": 2}, "http": {"threads": 3}, "drain": {"timeout": "9s"}})
        self.source.start()
        self.start("--drain.timeout", "4s", env={"KOAN_CONFIG_REMOTE_TOKEN": "tok-tok-tok"})
        self.assertEqual(self.price(), (2, False))
        s = self.shown()
        self.assertEqual((s["http.threads"]["value"], s["http.threads"]["origin"]), ("3", f"remote {self.source.url}"))
        self.assertEqual((s["drain.timeout"]["value"], s["drain.timeout"]["hides"][0]["layer"]), ("4s", "remote"))
        self.assertRegex(self.server.text, r"https?://\S+, 3 threads")
        self.source.say({"app": {"rate": 3}, "flags": {"fresh": True}, "http": {"threads": 2}})
        self.until(lambda: self.price() == (3, True))
        self.assertEqual(self.shown()["http.threads"]["pending"]["value"], "2")
        self.assertEqual(set(self.source.tokens), {"Bearer tok-tok-tok"})
        self.until(lambda: self.source.asked[-1] == 304)
        self.assertNotIn("tok-tok-tok", self.server.text + json.dumps(self.boot()))
        self.assertEqual(run("config", "set", "app.rate", "7", "--url", self.server.url)[0], 0)
        self.assertEqual(self.price(), (7, True))

    def test_a_document_with_a_fault_changes_nothing(self):  # F3
        self.source.say({"app": {"rate": 2}})
        self.source.start()
        self.start()
        for document, words in (({"app": {"rate": 5}, "log": {"levl": "info"}}, "did you mean 'log.level'"),
                                ({"app": {"rate": 5}, "data": "/tmp"}, "data: is needed"), (b'{"app":', "line"),
                                ([], "an object was expected"), ({"app": {"rate": 5}, "flags": {"x": 3}}, "flags.x")):
            self.source.say(document)
            self.until(lambda: words in self.part().get("message", ""))
            self.assertEqual(self.part()["state"], "degraded")
            self.assertEqual(self.price(), (2, False))
        self.source.say({"app": {"rate": 6}})
        self.until(lambda: self.part()["state"] == "healthy")
        self.assertEqual(self.price(), (6, False))

    def test_the_last_copy_serves_while_the_source_is_down(self):
        self.source.say({"app": {"rate": 2}})
        self.source.start()
        self.start()
        self.source.stop()
        self.until(lambda: self.part()["state"] == "degraded")
        self.assertEqual(self.price(), (2, False))
        self.server.kill()
        self.start()
        self.assertEqual((self.price(), self.part()["state"]), ((2, False), "degraded"))
        self.assertEqual(self.server.client()("GET", "/readyz").status, 200)
        self.assertIn("the copy of an earlier start is in force", self.part()["message"])
        self.assertFalse(self.boot()["attempts"][0]["ok"])
        self.assertEqual(os.stat(self.path("data/remote-config.json")).st_mode & 0o777, 0o600)
        self.source.say({"app": {"rate": 4}})
        self.source.start()
        self.until(lambda: self.price() == (4, False))
        self.assertEqual(self.part()["state"], "healthy")

    def test_a_pinned_source_that_was_never_reached_is_waited_for(self):  # F2
        self.start(env={"KOAN_CONFIG_REMOTE": "http", "KOAN_APP_OTHER": "1"}, wait=False)
        self.server.port = int(re.search(r"port (\d+)", self.server.wait_log("waiting for config.remote")).group(1))
        c = self.server.client()
        r = c("GET", "/readyz")
        self.assertEqual(r.status, 503)
        self.assertIn("configuration", r.json["detail"])
        self.assertIn(str(self.source.port), r.json["detail"])
        self.assertEqual(c("GET", "/livez").status, 200)
        r = c("POST", "/api/price", {"n": 1})
        self.assertEqual((r.status, r.json["code"]), (503, "unavailable"))
        election = self.boot()["elections"][0]
        self.assertEqual((election["winner"], election["reason"]), ("http", "config.remote pins it"))
        self.assertEqual([x["name"] for x in election["losers"]], ["embedded"])
        self.source.say({"app": {"rate": 2}})
        self.source.start()
        self.until(lambda: c("GET", "/readyz").status == 200)
        self.assertEqual(self.price(), (2, False))
        self.assertEqual(self.server.stop(), 0)

    def test_a_node_that_waits_can_be_stopped(self):
        self.start(wait=False)
        self.server.wait_log("waiting for config.remote")
        self.assertEqual(self.server.stop(), 0)
        code, out, err = run("run", self.write("s.lua", "return 1"), "--data", self.path("other"), env=self.env)
        self.assertEqual(code, 1)
        self.assertIn("nothing of it was ever fetched", err)

    def test_a_wrong_pin_does_not_start(self):  # F2
        for env, words in (({"KOAN_CONFIG_REMOTE": "http", "KOAN_CONFIG_REMOTE_URL": ""}, "'http' is pinned, but no address"),
                           ({"KOAN_CONFIG_REMOTE": "consul"}, "'consul' is none of: auto embedded http"),
                           ({"KOAN_CONFIG_REMOTE_URL": "http://config.example.org/"}, "must be https"),
                           ({"KOAN_CONFIG_REMOTE_URL": "https://me:hunter2@example.org/"}, "neither user nor password")):
            code, err = self.fails(env={**self.env, **env})
            self.assertEqual(code, 2, err)
            self.assertIn(words, err)
            self.assertNotIn("hunter2", err)

    def test_embedded_can_be_pinned_beside_an_address(self):  # F2
        self.start(env={"KOAN_CONFIG_REMOTE": "embedded"})
        self.assertEqual(self.price(), (1, False))
        self.assertEqual(self.boot()["elections"][0]["winner"], "embedded")
        self.assertEqual(self.source.asked, [])

    def test_over_https_the_certificate_is_checked(self):
        if shutil.which("openssl") is None:
            self.skipTest("no openssl to make a certificate with")
        cert, key = self.path("cert.pem"), self.path("key.pem")
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                        "-days", "2", "-subj", "/CN=source", "-addext", "subjectAltName=IP:127.0.0.1",
                        "-keyout", key, "-out", cert], check=True, capture_output=True)
        self.source.say({"app": {"rate": 2}})
        self.source.start(cert, key)
        self.env["KOAN_CONFIG_REMOTE_URL"] = self.source.url.replace("http:", "https:")
        self.start(env={"SSL_CERT_FILE": cert})
        self.assertEqual(self.price(), (2, False))
        self.server.stop()
        os.remove(self.path("data/remote-config.json"))
        self.start(wait=False)  # trusts the system's roots alone
        self.assertIn("certificate", self.server.wait_log("remote: ").lower())
        self.server.wait_log("waiting for config.remote")

    def test_an_address_in_the_environment_elects(self):
        self.source.start()
        self.start()
        election = self.boot()["elections"][0]
        self.assertEqual((election["winner"], election["reason"]),
                         ("http", "its address was found: environment KOAN_CONFIG_REMOTE_URL"))
        self.assertIn("no address for it in the environment", election["losers"][0]["reason"])
        self.assertIn("election", self.server.text)

    def test_a_copy_of_another_address_or_a_damaged_one_is_none(self):
        self.source.say({"app": {"rate": 2}})
        self.source.start()
        self.start()
        self.server.stop()
        self.source.stop()
        with open(self.path("data/remote-config.json")) as f:
            copy = f.read()
        for text in (copy.replace("settings.json", "other.json"), copy[:-5], "", copy.replace("rate", "ra te")):
            with open(self.path("data/remote-config.json"), "w") as f:
                f.write(text)
            self.start(wait=False)
            self.server.wait_log("waiting for config.remote")
            self.server.kill()


if __name__ == "__main__":
    unittest.main()
