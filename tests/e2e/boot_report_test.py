"""The boot report: its lines at start, and the whole over HTTP."""
import json
import os
import re
import unittest

from e2e.node import Case, run

NOTE = 'entity "Note" { fields = { line = text {} } }'


class BootReport(Case):
    def boot(self, node):
        c = node.client(token=self.token)
        return c("GET", f"/api/cluster/nodes/{c('GET', '/api/cluster/status').json['node']}/boot").json

    def setUp(self):
        super().setUp()
        self.token = "abcdefghijklmnopqrstuvwxyz"
        self.write("app/note.lua", NOTE)
        config = self.write("koan.lua", """return { app = { rate = 2, api_key = "hunter2", mail = "smtp://me:hunter2@example.org",
            nested = { password = "hunter2" } }, flags = { new = { percent = 5 } }, http = { threads = 1 } }""")
        self.args = (self.path("app"), "--config", config)
        self.env = {"KOAN_TOKEN": self.token, "CI": "true", "KUBERNETES_SERVICE_HOST": "10.0.0.1", "KOAN_SERVICE_HOST": "x"}

    def test_it_tells_what_was_found_and_decided(self):  # F1
        node = self.node(*self.args, env=self.env)
        b = self.boot(node)
        self.assertEqual({k: b["env"][k] for k in ("name", "production", "container", "kubernetes", "ci")},
                         {"name": "production", "production": True, "container": True, "kubernetes": True, "ci": True})
        self.assertEqual(sorted(b["modules"]), ["data", "http", "ledger", "scripts"])
        settings = {s["name"]: s for s in b["settings"]}
        self.assertEqual((settings["http.threads"]["value"], settings["http.threads"]["origin"]), ("1", self.args[2]))
        self.assertEqual(settings["token"]["value"], "***")
        self.assertTrue(all(s["origin"] for s in b["settings"]))
        decisions = {d["what"]: d for d in b["decisions"]}
        self.assertEqual((decisions["access"]["chosen"], decisions["access"]["alternatives"]), ("token", ["open"]))
        self.assertIn("KOAN_TOKEN", decisions["access"]["why"])
        self.assertIn("script.threads", decisions)
        self.assertEqual((b["elections"][0]["seam"], b["elections"][0]["winner"]), ("configuration", "embedded"))
        self.assertEqual((b["drift"], b["attempts"]), ([], []))
        self.assertGreater(b["ready_ms"], 0)

    def test_secrets_stand_nowhere(self):
        node = self.node(*self.args, env=self.env)
        told = json.dumps(self.boot(node)) + node.text + json.dumps(
            node.client(token=self.token)("GET", "/api/cluster/settings").json) + str(
            run("config", "show", "--json", *self.args[1:], env=self.env))
        self.assertNotIn("hunter2", told)
        self.assertNotIn(self.token, told)
        self.assertIn("app.rate", told)

    def test_another_session_another_name_and_drift(self):
        first = self.node(*self.args, env=self.env)
        session = self.boot(first)["env"]["session"]
        first.stop()
        self.write("app/note.lua", NOTE + " ")
        node = self.node(*self.args, env=self.env)
        b = self.boot(node)
        self.assertNotEqual(b["env"]["session"], session)
        self.assertEqual([d["file"] for d in b["drift"]], ["note.lua"])
        r = node.client(token=self.token)("GET", "/api/cluster/nodes/another/boot")
        self.assertEqual((r.status, r.json["code"]), (404, "not_found"))
        self.assertIn(b["node"], r.json["detail"])
        self.assertEqual(node.client()("GET", f"/api/cluster/nodes/{b['node']}/boot").status, 401)

    def test_forty_lines_at_most(self):
        many = ", ".join(f"k{i} = {i}" for i in range(100))
        config = self.write("many.lua", "return { app = { %s } }" % many)
        node = self.node(self.path("app"), "--config", config)
        lines = [line for line in node.logs if '"area":"boot"' in line]
        self.assertEqual(len(lines), 40)
        self.assertIn("ready", lines[-1])
        self.assertRegex(lines[-2], r"/api/cluster/nodes/[0-9a-f-]{36}/boot")

    def test_open_access_in_production_is_said_twice(self):
        args = ("--access", "open", "--listen", "0.0.0.0:0")
        code, err = self.fails(*args)
        self.assertEqual(code, 2)
        self.assertIn("allow_magic_in_production", err)
        self.token = None
        node = self.node(*args, env={"KOAN_ALLOW_MAGIC_IN_PRODUCTION": "true"})
        why = {d["what"]: d["why"] for d in self.boot(node)["decisions"]}["access"]
        self.assertIn("allow_magic_in_production", why)
        code, err = self.fails(*args, env={"KOAN_ALLOW_MAGIC_IN_PRODUCTION": "yes"})
        self.assertIn("neither true nor false", err)


if __name__ == "__main__":
    unittest.main()
