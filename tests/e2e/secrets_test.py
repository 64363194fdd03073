"""What is secret stays so: in the log, the boot report, the metrics, the settings, the timeline and in refusals."""
import http.server
import json
import re
import threading
import time
import unittest

from e2e.node import Case, run

APP = """
entity "Note" { fields = { text = text { required = true, max = 100 }, url = url } }
entity "Call" { fields = { to = text }, before_save = function(e, _, ctx)
  log.info("calling " .. e.to, { password = "SECRET-field-1", nested = { api_key = "SECRET-field-2" }, url = e.to })
  http.get(e.to)
end }
route "POST /fetch" { run = function(req) return http.get(req.json.url, { bearer = config.mail_password }).body end }
entity "Odd" { fields = { text = text }, before_save = function(e) error("no " .. config.mail_password .. " for " .. e.text) end }
route "POST /broken" { run = function(req) error("could not open " .. req.json.url .. " with " .. config.mail_password) end }
route "GET /told" { run = function(req)
  log.warn("Authorization: Bearer SECRET-bearer-1")
  log.warn("cookie: sid=SECRET-cookie-1")
  print("signed https://x.example/a?X-Amz-Signature=SECRET-signature-1&other=2")
  log.info("from a file: " .. config.from_file .. ", otherwise: " .. config.db_url)
  log.info(json.encode { secret = "SECRET-json-1", inner = json.encode { password = "SECRET-json-2" } })
  return { ok = true }
end }
"""
CONFIG = """
return {
  app = { mail_password = "SECRET-app-1", db_url = "amqp://shop:SECRET-url-1@db.example/x", token_of_crm = "SECRET-app-2" },
  otel = { headers = "authorization=Bearer%20SECRET-otel-1,x-api-key=SECRET-otel-2" },
}
"""


class Secrets(Case):
    def setUp(self):
        super().setUp()
        self.write("scripts/app.lua", APP)
        self.write("koan.lua", CONFIG)
        self.answers = []

    def start(self, *args, **kw):
        env = {"KOAN_APP_FROM_FILE_FILE": self.write("value", "SECRET-file-1\n"), "KOAN_TOKEN_FILE": self.write("token", "SECRET-token-0123456789\n")}
        node = self.node("--scripts", self.path("scripts"), "--config", self.path("koan.lua"), "--log-level", "debug",
                         "--http.allow", "*", *args, env=env, **kw)
        self.c = node.client(token="SECRET-token-0123456789")
        return node

    def ask(self, client, method, path, body=None, headers=None):
        a = client(method, path, body, headers)
        self.answers.append((f"answer to {method} {path}", a.body.decode(errors="replace") + str(a.headers)))
        return a

    def hidden(self, node, more=()):
        """Nothing that was ever said holds one of the secrets."""
        c = self.c
        for path in (f"/api/cluster/nodes/{c('GET', '/api/cluster/status').json['node']}/boot", "/metrics", "/metrics/detailed", "/health",
                     "/api/cluster/health", "/api/cluster/status", "/api/cluster/settings", "/api/cluster/settings/history", "/api/cluster/scripts",
                     "/openapi.json", "/"):
            self.assertEqual(self.ask(c, "GET", path).status, 200, path)
        for i in range(len(self.answers)):
            found = re.search(r"'?[Xx]-[Cc]orrelation-[Ii][Dd]'?: ([^\r\n]+)", self.answers[i][1])
            if found:
                self.ask(c, "GET", "/api/timeline/" + found.group(1))
        texts = [*self.answers, ("the log", node.text), *more]
        for name, text in texts:
            self.assertNotIn("SECRET-", text, name)
        return texts

    def test_settings_scripts_and_calls(self):
        node = self.start("--otel.endpoint", "http://collector:SECRET-otel-3@127.0.0.1:9/")
        self.assertEqual(self.ask(self.c, "GET", "/told").status, 200)
        gone = "http://user:SECRET-url-2@127.0.0.1:9/p?token=SECRET-query-1&X-Amz-Signature=SECRET-query-2"
        self.assertGreaterEqual(self.ask(self.c, "POST", "/fetch", {"url": gone}).status, 400)
        self.assertEqual(self.ask(self.c, "POST", "/broken", {"url": gone}).status, 500)
        self.assertGreaterEqual(self.ask(self.c, "POST", "/api/call", {"to": gone}).status, 400)
        self.assertEqual(self.ask(self.c, "POST", "/api/odd", {"text": gone}).status, 422)
        time.sleep(0.5)  # the timeline is written behind
        self.hidden(node)
        self.assertIn("could not open", node.text)  # hidden is what is secret, not the line
        self.assertIn("user:***@", node.text)

    def test_a_host_that_echoes_what_it_got(self):
        class Echo(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(301)
                self.send_header("Location", "ftp://user:SECRET-url-3@x.example/?sig=SECRET-query-3")
                self.end_headers()

            def log_message(self, *_):
                pass
        server = http.server.HTTPServer(("127.0.0.1", 0), Echo)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        node = self.start()
        self.assertGreaterEqual(self.ask(self.c, "POST", "/fetch", {"url": f"http://127.0.0.1:{server.server_port}/"}).status, 400)
        self.hidden(node)

    def test_requests(self):
        node = self.start()
        stranger = node.client(token="SECRET-wrong-1")
        self.assertEqual(self.ask(stranger, "GET", "/api/note").status, 401)
        self.assertEqual(self.ask(node.client(), "GET", "/api/note", headers={"Authorization": "Basic SECRET-basic-1", "Cookie": "sid=SECRET-cookie-2"}).status, 401)
        self.assertEqual(self.ask(self.c, "GET", "/api/note?token=SECRET-query-4").status, 400)
        self.assertEqual(self.ask(self.c, "GET", "/nowhere?X-Amz-Signature=SECRET-query-5").status, 404)
        self.assertEqual(self.ask(self.c, "PUT", "/api/note?password=SECRET-query-6").status, 405)
        self.assertEqual(self.ask(self.c, "POST", "/api/note", {"text": "x", "password": "SECRET-body-1"}).status, 400)
        self.assertEqual(self.ask(self.c, "POST", "/api/note", {"text": "x", "url": "ftp//u:SECRET-body-2@h"}).status, 400)
        self.assertEqual(self.ask(self.c, "POST", "/api/note", '{"text": "x", "password": "SECRET-body-3" oops}').status, 400)
        self.hidden(node)

    def test_changing_settings(self):
        node = self.start()
        settings = "/api/cluster/settings"
        self.assertEqual(self.ask(self.c, "PUT", settings + "/token", {"value": "SECRET-set-1"}).status, 400)
        self.assertEqual(self.ask(self.c, "PUT", settings + "/app.password", {"value": "SECRET-set-2"}).status, 200)
        self.assertEqual(self.ask(self.c, "PATCH", settings, {"app": {"db_password": "SECRET-set-3"}, "http": {"treads": 1}}).status, 400)
        self.assertEqual(self.ask(self.c, "PATCH", settings, {"app": {"dsn": "postgres://u:SECRET-set-4@h/db"}}).status, 200)
        self.assertEqual(self.ask(self.c, "POST", "/api/cluster/apply", {"document": {"otel": {"headers": "SECRET-set-5"}}}).status, 400)
        self.write("koan.lua", CONFIG.replace("SECRET-app-1", "SECRET-app-3").replace("return {", "return { htp = 1,"))
        node.process.send_signal(1)
        node.wait_log("reload refused")
        self.write("koan.lua", CONFIG.replace("SECRET-app-1", "SECRET-app-4").replace("SECRET-url-1", "SECRET-url-4"))
        node.process.send_signal(1)
        node.wait_log("app and flags are taken over")
        self.assertEqual(self.ask(self.c, "GET", "/told").status, 200)
        code, out, err = run("config", "ls", "--url", node.url, "--token", "SECRET-token-0123456789")
        shown = run("config", "show", "--origin", "--config", self.path("koan.lua"), cwd=self.dir, env={"KOAN_TOKEN": "SECRET-token-another-one"})
        self.assertEqual((code, shown[0]), (0, 0), err + shown[2])
        self.hidden(node, [("koan config ls", out + err), ("koan config show", shown[1] + shown[2])])

    def test_a_start_that_is_refused(self):
        self.write("koan.lua", CONFIG.replace("otel = {", "otel = { sampel = 1,"))
        code, words = self.fails("--config", self.path("koan.lua"), "--token", "SECRET-short", "--otel.headers", "no pairs SECRET-otel-4")
        self.assertEqual(code, 2)
        self.assertIn("sampel", words)
        self.assertNotIn("SECRET", words)


if __name__ == "__main__":
    unittest.main()
