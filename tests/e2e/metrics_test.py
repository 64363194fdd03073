"""/metrics against promtool, and the dashboard and the alert rules against /metrics."""
import json
import os
import re
import shutil
import subprocess
import unittest

from e2e.node import ROOT, Case

APP = """
entity "Note" { fields = { text = text { max = 100 } }, before_save = function(e) if e.text == "x" then error("x" .. nil) end end }
"""
# Not ours; and there only where a set of scripts was deployed.
OTHERS = {"up", "koan_script_drift"}


def names(text):
    """What an expression or a query asks for."""
    return set(re.findall(r"\b(?:koan_\w+|up)\b", text))


class Metrics(Case):
    def setUp(self):
        super().setUp()
        self.write("scripts/app.lua", APP)
        node = self.node("--scripts", self.path("scripts"), "--http.allow", "127.0.0.0/8")
        self.c = node.client()
        self.c("POST", "/api/note", {"text": "y"})
        self.c("POST", "/api/note", {"text": "x"})
        self.c("POST", "/api/cluster/run", {"text": f'http.get("{node.url}/livez"); flag("nobody-knows-it")'})

    def page(self, path="/metrics", **headers):
        a = self.c("GET", path, headers=headers)
        self.assertEqual(a.status, 200, a.body)
        return a.body.decode()

    def series(self):
        return {re.sub(r"[{ ].*", "", line) for line in self.page().splitlines() if line and line[0] != "#"}

    def promtool(self, *args, stdin=None):
        tools = subprocess.run([os.path.join(ROOT, "packaging/setup"), "path"], capture_output=True, text=True).stdout.strip()
        tool = shutil.which("promtool") or (os.path.join(tools, "promtool") if tools else "")
        if not os.path.exists(tool):
            self.skipTest("promtool is not installed")
        done = subprocess.run([tool, *args], input=stdin, capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_the_dashboard_asks_for_what_there_is(self):
        with open(os.path.join(ROOT, "packaging/grafana/koan.json")) as f:
            board = json.load(f)
        there = self.series()
        ids = [p["id"] for p in board["panels"]]
        self.assertEqual(len(ids), len(set(ids)))
        for panel in board["panels"]:
            for target in panel["targets"]:
                asked = names(target["expr"])
                self.assertTrue(asked)
                self.assertLessEqual(asked, there, panel["title"])

    def test_the_alert_rules_ask_for_what_there_is_and_fire(self):
        folder = os.path.join(ROOT, "packaging/prometheus")
        with open(os.path.join(folder, "alerts.yml")) as f:
            text = f.read()
        asked = {n for block in re.findall(r"expr: (?:\|\n((?:      .*\n)+?)        for:|(.*))", text) for n in names("".join(block))}
        self.assertGreater(len(asked), 10)
        self.assertLessEqual(asked - OTHERS, self.series())
        self.promtool("check", "rules", os.path.join(folder, "alerts.yml"))
        self.promtool("test", "rules", os.path.join(folder, "alerts_test.yml"))

    def test_both_forms_satisfy_promtool(self):
        self.promtool("check", "metrics", stdin=self.page())
        self.assertTrue(self.page(Accept="application/openmetrics-text").endswith("# EOF\n"))

    def test_an_acknowledgement_is_split(self):
        text = self.page()
        for part in ("wait", "sync", "apply"):
            count = float(re.search(rf"^koan_ledger_{part}_seconds_count (\d+)", text, re.M).group(1))
            self.assertGreater(count, 0, part)
        self.assertEqual(float(re.search(r"^koan_health_state (\d+)", text, re.M).group(1)), 0)

    def test_one_family_in_detail(self):
        text = self.page("/metrics/detailed?family=koan_script_runs_total")
        self.assertEqual({re.sub(r"[{ ].*", "", line) for line in text.splitlines() if line[0] != "#"}, {"koan_script_runs_total"})
        text = self.page("/metrics/detailed?family=koan_script_runs_total&name=Note.before_save")
        self.assertEqual([line for line in text.splitlines() if line[0] != "#"],
                         ['koan_script_runs_total{function="Note.before_save"} 2'])
        self.assertEqual(self.page("/metrics/detailed?name=Note.before_save").count("# TYPE"), 6)
        self.assertGreater(len(self.page("/metrics/detailed")), len(text))
        a = self.c("GET", "/metrics/detailed?family=koan_script_run_total")
        self.assertEqual((a.status, a.json["code"]), (404, "not_found"))
        self.assertIn("koan_script_runs_total", a.json["detail"])
        self.promtool("check", "metrics", stdin=text)


if __name__ == "__main__":
    unittest.main()
