"""/metrics against promtool, and the dashboard and the alert rules against /metrics."""
import json
import os
import re
import select
import shutil
import socket
import subprocess
import threading
import time
import unittest

from e2e.node import ROOT, SANITIZED, Case

APP = """
queue "mail" {}
on "queue/tasks" { run = function(m) end }
entity "Note" { fields = { text = text { max = 100 } }, before_save = function(e) if e.text == "x" then error("x" .. nil) end end }
"""
# A figure of each kind of work: a schedule that decides, a webhook that nobody takes.
MORE = """
job "tick" { every = "1s", critical = true, run = function() end }
on "news" { group = "hook", webhook = { url = "http://127.0.0.1:9/", secret = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=" } }
"""
# Not ours; and there only where a set of scripts was deployed.
OTHERS = {"up", "koan_script_drift"}


def names(text):
    """What an expression or a query asks for."""
    return set(re.findall(r"\b(?:koan_\w+|up)\b", text))


class MetricsCase(Case):
    APP = APP

    def setUp(self):
        super().setUp()
        self.write("scripts/app.lua", self.APP)
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


class Shipped(MetricsCase):
    APP = APP + MORE

    def setUp(self):
        super().setUp()
        self.c("POST", "/api/cluster/run", {"text": 'send("tasks", 1) send("tasks", 2, { needs = { tape = 1 } }) publish("news", 1)'})
        for name in ("koan_webhook_calls_total", "koan_work_run_seconds_count", "koan_schedule_decisions_total", "koan_jobs_critical_failing",
                     "koan_job_runs_total", "koan_queue_waiting_for_label"):
            self.until_there(name)

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


class Metrics(MetricsCase):
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
        self.c("POST", "/api/cluster/run", {"text": 'send("tasks", 1)'})

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
        self.assertEqual(value('koan_queue_oldest_seconds{tenant="default",queue="tasks"}'), 0)
        self.assertEqual(value('koan_queue_bytes{tenant="default",queue="tasks"}'), 0)
        until('koan_queue_acked_total{tenant="default",queue="tasks"}', 1)
        self.assertEqual(value("koan_queues"), 2)
        self.assertEqual(value("koan_queues_unhandled"), 0)
        a = self.c("GET", "/metrics/detailed?family=koan_queue_sent_total&name=mail")
        self.assertEqual([line for line in a.body.decode().splitlines() if line[0] != "#"],
                         ['koan_queue_sent_total{tenant="default",queue="mail"} 1'])
        a = self.c("GET", "/metrics/detailed?family=koan_queue_sen_total")
        self.assertIn("koan_queue_sent_total", a.json["detail"])
        for handled in (True, False):  # not of "tasks", whose script says that it is
            self.assertEqual(self.c("PUT", "/api/queues/default/other", {"handled": handled}).status // 100, 2)
        self.assertEqual(self.c("POST", "/api/queues/default/other/messages", {"n": 2}).status, 201)
        until("koan_queues_unhandled", 1)
        end = time.monotonic() + 20
        while time.monotonic() < end:
            row = [r for r in self.c("GET", "/health").json["components"] if r["name"] == "queues"][0]
            if row["state"] == "degraded":
                break
            time.sleep(0.2)
        self.assertEqual(row["state"], "degraded")
        self.assertIn("'other'", row["message"])
        self.assertEqual((row["facts"]["without_handler"], row["facts"]["available"], row["facts"]["queues"]), (1, 2, 3))


class Gone(Case):
    """Groups that a consumer of their own works: what takes batches, and what calls somebody else."""
    SCRIPTS = """
        on "b.*" { group = "lists", batch = 10, wait = "10ms", run = function(list) end }
        on "b.*" { group = "calls", webhook = { url = "http://127.0.0.1:9/none", secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw" } }
        on "b.*" { group = "one", run = function(m) end }
    """

    def queues(self):
        row = [r for r in self.server.client()("GET", "/health").json["components"] if r["name"] == "queues"][0]
        return row["state"], row["facts"].get("without_handler")

    def until(self, want):
        end = time.monotonic() + 20
        while (got := self.queues()) != want and time.monotonic() < end:
            time.sleep(0.1)
        self.assertEqual(got, want)

    def send(self, group):
        a = self.server.client()("POST", f"/api/queues/default/group.{group}/messages", {"n": 2})
        self.assertEqual(a.status, 201, a.body)

    def unhandled(self, group):
        return "handler_gone_at" in self.server.client()("GET", f"/api/queues/default/group.{group}").json

    def test_a_group_of_batches_and_a_webhook_that_are_gone_are_told_at_once(self):  # Q2
        self.server = self.node()
        self.deployed(self.server, "app.lua", self.SCRIPTS)
        self.assertEqual([self.unhandled(g) for g in ("lists", "calls", "one")], [False] * 3)
        self.deployed(self.server, "app.lua", 'queue "other" {}')
        for group in ("lists", "calls", "one"):
            self.send(group)
        self.until(("degraded", 3))
        self.assertEqual([self.unhandled(g) for g in ("lists", "calls", "one")], [True] * 3)
        self.assertEqual(self.server.stop(), 0)
        self.server = self.node()
        self.assertEqual([self.unhandled(g) for g in ("lists", "calls", "one")], [True] * 3)
        self.deployed(self.server, "app.lua", self.SCRIPTS)
        end = time.monotonic() + 10
        while any(self.unhandled(g) for g in ("lists", "calls")) and time.monotonic() < end:
            time.sleep(0.05)  # until their consumers are there again
        self.assertEqual([self.unhandled(g) for g in ("lists", "calls", "one")], [False] * 3)
        self.assertEqual(self.server.stop(), 0)


class Shared(Case):
    """What processes agree on, and groups that are behind: how much there is."""
    SCRIPTS = """
        topic "t.*" { retain = "1h" }
        %s
    """
    GROUP = 'queue "group.slow" { max = 2 } on "t.*" { group = "slow", start = "first", run = function() end }'

    def values(self):
        page = self.c("GET", "/metrics").body.decode()
        return {m[1]: int(m[2]) for m in re.finditer(r"^(koan_(?:coord|bus)_\S+) (\d+)$", page, re.M)}

    def until(self, name, want, seconds=20):
        end = time.monotonic() + seconds
        while (got := self.values().get(name)) != want and time.monotonic() < end:
            time.sleep(0.05)
        self.assertEqual(got, want, name)

    def component(self, name, state, seconds=30):
        end = time.monotonic() + seconds
        while True:
            row = [r for r in self.c("GET", "/health").json["components"] if r["name"] == name][0]
            if row["state"] == state or time.monotonic() > end:
                self.assertEqual(row["state"], state, row)
                return row
            time.sleep(0.2)

    def test_leases_waiters_keys_and_their_bytes_are_told(self):
        self.server = self.node()
        self.c = self.server.client()
        self.assertEqual({k: v for k, v in self.values().items() if v}, {})
        held = self.c("POST", "/api/leases/a/acquire", {"ttl": "60s"}).json
        waiter = threading.Thread(target=lambda: self.server.client()("POST", "/api/leases/a/acquire", {"wait": "30s"}))
        waiter.start()
        self.addCleanup(waiter.join)
        self.until("koan_coord_waiting", 1)
        self.assertEqual(self.c("PUT", "/api/kv/key", '"01234567"').status, 200)
        got = self.values()
        self.assertEqual([got[f'koan_coord_entries{{what="{k}"}}'] for k in ("claims", "keys", "counters", "inbox")], [2, 1, 0, 0])
        self.assertEqual(got['koan_coord_bytes{what="keys"}'], len('key"01234567"'))
        self.component("coordination", "healthy")
        self.c("POST", "/api/leases/a/release", {"token": held["token"]})
        self.until("koan_coord_waiting", 0)
        end = time.monotonic() + 20
        while (facts := self.component("coordination", "healthy")["facts"])["claims"] != 1 and time.monotonic() < end:
            time.sleep(0.2)
        self.assertEqual([facts[k] for k in ("claims", "keys", "key_bytes", "waiting")], [1, 1, 13, 0])

    def test_a_group_that_is_behind_is_told_and_why_when_it_comes_no_further(self):
        self.server = self.node()
        self.c = self.server.client()
        self.deployed(self.server, "app.lua", self.SCRIPTS % "")
        for i in range(5):
            self.assertEqual(self.c("POST", "/api/topics/t.x", {"n": i}).status, 202)
        self.assertEqual(self.values()["koan_bus_groups_behind"], 0)
        self.assertEqual(self.component("topics", "healthy")["facts"], {"behind": 0, "messages": 0})
        self.c("PUT", "/api/queues/default/group.slow", {})
        self.c("POST", "/api/queues/default/group.slow/close")
        self.deployed(self.server, "app.lua", self.SCRIPTS % self.GROUP)
        self.until("koan_bus_groups_behind", 1)
        self.assertEqual(self.values()["koan_bus_behind_messages"], 5)
        row = self.component("topics", "degraded")
        self.assertIn("group 'slow'", row["message"])
        self.assertEqual(row["facts"], {"behind": 1, "messages": 5, "furthest": "slow"})
        self.c("POST", "/api/queues/default/group.slow/open")
        self.until("koan_bus_groups_behind", 0)
        self.component("topics", "healthy")


class Many(Case):
    """As many queues as there may be."""
    QUEUES = 5_000 if SANITIZED else 100_000
    CONNECTIONS, AHEAD = 64, 50  # requests under way on each
    PAGE_BYTES, PAGE_MS = 100_000, 10
    SLACK = 5  # for whoever else works on this machine, the request and the client

    def declare(self, port):
        """Each by a request of its own, many of them at once."""
        todo = {}
        for k in range(self.CONNECTIONS):
            s = socket.create_connection(("127.0.0.1", port), timeout=30)
            self.addCleanup(s.close)
            todo[s] = [b"PUT /api/queues/default/a-queue-with-a-name-that-is-long-%06d HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n"
                       b"Content-Type: application/json\r\n\r\n{}" % i for i in range(k, self.QUEUES, self.CONNECTIONS)]
        left = self.QUEUES
        for s in todo:
            self.ask(s, todo[s], self.AHEAD)
        while left > 0:
            readable = select.select(list(todo), [], [], 30)[0]
            self.assertTrue(readable, left)
            for s in readable:
                text = s.recv(1 << 20)
                made = text.count(b"HTTP/1.1 201 ")
                self.assertEqual(made, text.count(b"HTTP/1.1 "), text[:1000])
                left -= made
                self.ask(s, todo[s], made)

    @staticmethod
    def ask(s, todo, count):
        if todo and count:
            s.sendall(b"".join(todo[:count]))
            del todo[:count]

    def test_the_page_stays_small_and_quick(self):
        node = self.node()
        self.declare(node.port)
        c = node.client()
        end = time.monotonic() + 60
        while f"\nkoan_queues {self.QUEUES}\n" not in (page := c("GET", "/metrics").body.decode()) and time.monotonic() < end:
            time.sleep(0.5)
        self.assertIn(f"\nkoan_queues {self.QUEUES}\n", page)
        self.assertIn('koan_queue_sent_total{other="true"} 0', page)
        took = []
        for _ in range(20):
            began = time.monotonic()
            page = c("GET", "/metrics").body
            took.append((time.monotonic() - began) * 1000)
            self.assertLess(len(page), self.PAGE_BYTES)
        if not SANITIZED:
            self.assertLess(min(took), self.SLACK * self.PAGE_MS)


if __name__ == "__main__":
    unittest.main()
