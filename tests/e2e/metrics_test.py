"""/metrics against promtool, and the dashboard and the alert rules against /metrics."""
import json
import os
import re
import shutil
import subprocess
import time
import unittest

from e2e.node import ROOT, Case

APP = """
queue "mail" {}
on "queue/work" { run = function(m) end }
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
        self.sent = time.monotonic()
        self.assertEqual(self.c("POST", "/api/queues/default/mail/messages", {"n": 1}).status, 201)
        self.until_there("koan_queue_messages")
        self.c("POST", "/api/cluster/run", {"text": f'http.get("{node.url}/livez"); flag("nobody-knows-it")'})

    def until_there(self, name, seconds=10):
        end = time.monotonic() + seconds
        while name not in self.series() and time.monotonic() < end:
            time.sleep(0.05)

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

    def test_a_queue_says_what_waits_and_the_node_when_its_handler_is_gone(self):  # Q2
        self.c("POST", "/api/cluster/run", {"text": 'send("work", 1)'})

        def value(series):
            found = re.search(rf"^{re.escape(series)} (-?\d+)$", self.page(), re.M)
            return int(found.group(1)) if found else None

        def until(series, want, seconds=10):
            end = time.monotonic() + seconds
            while value(series) != want and time.monotonic() < end:
                time.sleep(0.1)
            self.assertEqual(value(series), want, series)
        until('koan_queue_messages{tenant="default",queue="mail",state="available"}', 1)
        until('koan_queue_bytes{tenant="default",queue="mail"}', len('{"n": 1}'))
        time.sleep(max(0, self.sent + 2.1 - time.monotonic()))
        age = value('koan_queue_oldest_seconds{tenant="default",queue="mail"}')
        self.assertTrue(1 <= age <= time.monotonic() - self.sent, age)
        self.assertEqual(value('koan_queue_oldest_seconds{tenant="default",queue="work"}'), 0)
        self.assertEqual(value('koan_queue_bytes{tenant="default",queue="work"}'), 0)
        until('koan_queue_acked_total{tenant="default",queue="work"}', 1)
        self.assertEqual(value("koan_queues"), 2)
        self.assertEqual(value("koan_queues_unhandled"), 0)
        a = self.c("GET", "/metrics/detailed?family=koan_queue_sent_total&name=mail")
        self.assertEqual([line for line in a.body.decode().splitlines() if line[0] != "#"],
                         ['koan_queue_sent_total{tenant="default",queue="mail"} 1'])
        a = self.c("GET", "/metrics/detailed?family=koan_queue_sen_total")
        self.assertIn("koan_queue_sent_total", a.json["detail"])
        self.c("PUT", "/api/queues/default/work", {"handled": False})
        self.c("POST", "/api/queues/default/work/messages", {"n": 2})
        until("koan_queues_unhandled", 1)
        end = time.monotonic() + 20
        while time.monotonic() < end:
            row = [r for r in self.c("GET", "/health").json["components"] if r["name"] == "queues"][0]
            if row["state"] == "degraded":
                break
            time.sleep(0.2)
        self.assertEqual(row["state"], "degraded")
        self.assertIn("'work'", row["message"])
        self.assertEqual((row["facts"]["without_handler"], row["facts"]["available"], row["facts"]["queues"]), (1, 2, 2))


if __name__ == "__main__":
    unittest.main()
