"""Schedules with the real binary: due times over kill -9, verbs over HTTP and on the command line, what health says."""
import json
import random
import re
import time
import unittest

from e2e.node import App, Case, run

TICKING = """
job "often" { every = "1s", catchup = "1h", run = function(args, ctx)
  send("seen", { at = ctx.scheduled_at, from = ctx.window.from, to = ctx.window.to })
end }
queue "seen" {}
"""
LIVES = 5

APP = """
job "hourly" { every = "1h", run = function() end }
job "nightly" { cron = "30 1 * * *", tz = "Europe/Lisbon", blackout = { "2020-01-01" }, run = function() end }
job "after" { after = "1h", run = function() end }
job "plain" { run = function() end }
job "warm" { on_start = "cluster", run = function() send("warmed", { ok = true }) end }
queue "warmed" {}
"""

CRITICAL = """
job "shaky" { every = "1s", attempts = 1, critical = true, pause_on_failure = 2, run = function()
  if not kv.get("healed") then error("not yet") end
end }
"""


def seconds(text):
    return int(time.mktime(time.strptime(text[:19] + "UTC", "%Y-%m-%dT%H:%M:%S%Z")) - time.timezone)


class Kills(Case):
    def test_each_due_time_has_one_decision_over_kills(self):  # J1
        self.write("scripts/app.lua", TICKING)
        rng = random.Random(7)
        for life in range(LIVES):
            node = self.node("--scripts", self.path("scripts"))
            time.sleep(0.5 + rng.random() * 3)
            if life < LIVES - 1:
                node.kill()
                time.sleep(rng.random() * 3)
        time.sleep(2)
        c = node.client()
        s = c("GET", "/api/schedules/often?ticks=1000").json
        ticks = [t for t in reversed(s["ticks"]) if t["kind"] == "due"]
        self.assertEqual(len({t["due"] for t in ticks}), len(ticks))
        since, last = seconds(s["since"]), seconds(ticks[-1]["due"])
        self.assertEqual(sum(t["ticks"] for t in ticks), last - since)  # all that were due, each once
        self.assertTrue({t["decision"] for t in ticks} <= {"ran", "skipped", "caught_up"}, ticks)
        runs = [t for t in ticks if t["runs"]]
        self.assertEqual(len({t["run"] for t in runs}), len(runs))
        for before, after in zip(runs, runs[1:]):  # windows leave nothing out
            self.assertEqual(before["window"]["to"], after["window"]["from"])
        seen = [m["body"] for m in c("GET", "/api/queues/%2F/seen/messages?limit=100").json["items"]]
        worked = [m["at"] for m in seen]
        self.assertEqual(len(worked), len(set(worked)))  # what a run did is there once
        self.assertTrue(set(worked) <= {t["due"] for t in runs})
        self.assertGreater(len(worked), 3)
        c.close()


class Verbs(App):
    APP = APP

    def test_what_comes_is_shown_in_local_time(self):
        s = self.ok("GET", "/api/schedules/nightly?next=100&ticks=0").json
        self.assertEqual(s["schedule"], "cron 30 1 * * * in Europe/Lisbon")
        self.assertEqual(len(s["coming"]), 100)
        for due in s["coming"]:
            self.assertIn(due["local"][11:19], ("01:30:00", "02:00:00"))  # the second where clocks are set
            self.assertEqual(due["hours"], "open")
        self.assertEqual(s["ticks"], [])

    def test_all_are_listed_by_name_in_pages(self):
        names = [s["name"] for s in self.ok("GET", "/api/schedules").json["items"]]
        self.assertEqual(names, ["after", "hourly", "nightly"])
        first = self.ok("GET", "/api/schedules?limit=2").json
        self.assertEqual(first["next"], "hourly")
        rest = self.ok("GET", "/api/schedules?after=hourly").json
        self.assertEqual([s["name"] for s in rest["items"]], ["nightly"])

    def test_trigger_pause_and_resume(self):
        first = self.ok("POST", "/api/schedules/hourly/trigger", None, 202, Idempotency_Key="t1")
        again = self.ok("POST", "/api/schedules/hourly/trigger", None, 202, Idempotency_Key="t1")
        self.assertEqual(first.json, again.json)  # R2
        self.assertEqual(again.headers["Idempotency-Replayed"], "true")
        self.assertEqual((first.json["decision"], first.json["kind"], first.json["runs"]), ("ran", "trigger", 1))
        deadline = time.monotonic() + 10
        while self.ok("GET", "/api/schedules/hourly").json["running"] and time.monotonic() < deadline:
            time.sleep(0.05)
        self.assertEqual(self.ok("GET", "/api/jobs/" + first.json["run"]).json["state"], "completed")
        paused = self.ok("POST", "/api/schedules/hourly/pause", {"reason": "being mended"}).json
        self.assertEqual((paused["state"], paused["pause"]["reason"]), ("paused", "being mended"))
        self.assertNotIn("next", paused)
        on = self.ok("POST", "/api/schedules/hourly/resume").json
        self.assertEqual(on["state"], "active")
        self.assertNotIn("pause", on)
        self.assertEqual(self.ok("POST", "/api/schedules/hourly/resume").json["state"], "active")

    def test_backfill_makes_a_run_for_each_time(self):
        body = {"from": "2026-01-01T00:00:00Z", "to": "2026-01-01T05:00:00Z"}
        t = self.ok("POST", "/api/schedules/hourly/backfill", body, 202).json
        self.assertEqual((t["kind"], t["runs"], t["ticks"]), ("backfill", 5, 5))
        run_ = self.ok("GET", "/api/jobs/" + t["run"]).json
        self.assertEqual(run_["job"], "hourly")

    def test_what_cannot_be_done_says_why(self):  # R1
        self.refused("GET", "/api/schedules/nobody", None, 404, "not_found", "no job 'nobody'")
        self.refused("GET", "/api/schedules/nihgtly", None, 404, "not_found", "no job 'nihgtly'; did you mean 'nightly'?")
        self.refused("POST", "/api/schedules/plain/trigger", None, 404, "not_found", "has no schedule")
        span = {"from": "2026-01-01T00:00:00Z", "to": "2026-01-02T00:00:00Z"}
        self.refused("POST", "/api/schedules/after/backfill", span, words="no times that could be filled")
        self.refused("POST", "/api/schedules/hourly/backfill", dict(span, to="2999-01-01T00:00:00Z"), words="in the future")
        self.refused("POST", "/api/schedules/hourly/backfill", dict(span, **{"from": "2020-01-01T00:00:00Z"}), words="over 1000")
        self.refused("POST", "/api/schedules/hourly/backfill", {"from": "soon", "to": "later"}, words="from: a time like")
        self.refused("POST", "/api/schedules/hourly/pause", {"reason": "x" * 1025}, words="at most 1024 bytes")
        self.refused("GET", "/api/schedules/hourly?next=101", words="next")

    def test_a_job_that_asks_for_it_runs_once_for_the_start(self):
        deadline = time.monotonic() + 10
        count = 0
        while count == 0 and time.monotonic() < deadline:
            count = self.ok("GET", "/api/queues/%2F/warmed").json["messages"]
            time.sleep(0.05)
        time.sleep(1.5)
        self.assertEqual(self.ok("GET", "/api/queues/%2F/warmed").json["messages"], 1)

    def cli(self, *args):
        code, out, err = run("sched", *args, "--url", f"http://127.0.0.1:{self.server.port}")
        self.assertEqual(code, 0, err)
        return out

    def test_the_command_line_says_the_same(self):
        self.assertIn("cron 30 1 * * * in Europe/Lisbon", self.cli("ls"))
        self.assertIn("open", self.cli("next", "nightly", "--count", "3"))
        self.assertIn("is paused", self.cli("pause", "nightly", "--reason", "a holiday"))
        self.assertIn("a holiday", self.cli("show", "nightly"))
        self.assertIn("goes on", self.cli("resume", "nightly"))
        self.assertIn("nightly: ran, triggered; run ", self.cli("trigger", "nightly"))
        out = self.cli("backfill", "hourly", "2026-02-01T00:00:00Z", "2026-02-01T03:00:00Z")
        self.assertRegex(out, "hourly: ran, backfilled; first run .* of 3")
        self.assertEqual(json.loads(self.cli("show", "nightly", "--json"))["name"], "nightly")
        self.assertIn("trigger", self.cli("show", "nightly"))


class Starts(Case):
    APP = """
job "cold" { on_start = "cluster", run = function() send("begun", "cold") end }
job "mine" { on_start = "node", run = function() send("begun", "mine") end }
job "theirs" { on_start = "node", needs = { tape = true }, run = function() send("begun", "theirs") end }
queue "begun" {}
"""

    def begun(self, node):
        return sorted(m["body"] for m in node.client()("GET", "/api/queues/%2F/begun/messages?limit=100").json["items"])

    def until_begun(self, node, want):
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline and self.begun(node) != sorted(want):
            time.sleep(0.05)
        time.sleep(0.5)
        self.assertEqual(self.begun(node), sorted(want))

    def test_each_start_of_a_node_gives_a_run_that_needs_this_node(self):
        self.write("scripts/app.lua", self.APP)
        for start in range(1, 4):
            node = self.node("--scripts", self.path("scripts"))
            self.until_begun(node, ["cold", "mine"] * start)
            waits = [r for r in node.client()("GET", "/api/jobs?job=theirs").json["runs"] if r["state"] == "available"]
            self.assertEqual(len(waits), 1)  # one that waits for this node is enough
            run_ = node.client()("GET", "/api/jobs/" + waits[0]["id"]).json
            self.assertEqual(run_["waiting_for"], {"what": "label", "name": "tape"})
            node.stop() if start % 2 else node.kill()
        # The folder under another node's id: nobody here is the node that the run waits for.
        with open(self.path("data", "node.json"), "w") as f:
            json.dump({"id": "019b0000-0000-7000-8000-000000000001"}, f)
        node = self.node("--scripts", self.path("scripts"), "--node.labels", "tape")
        self.until_begun(node, ["cold", "mine"] * 4 + ["theirs"])
        waits = [r for r in node.client()("GET", "/api/jobs?job=theirs").json["runs"] if r["state"] == "available"]
        self.assertEqual(node.client()("GET", "/api/jobs/" + waits[0]["id"]).json["waiting_for"],
                         {"what": "label", "name": "node"})


class Authors(Case):
    TOKEN = "a-token-of-more-than-24-bytes"

    def test_who_pauses_and_who_triggers_is_kept(self):
        self.write("scripts/app.lua", APP)
        node = self.node("--scripts", self.path("scripts"), env={"KOAN_TOKEN": self.TOKEN})
        c = node.client(token=self.TOKEN)
        self.assertEqual(node.client()("POST", "/api/schedules/hourly/pause").status, 401)
        a = c("POST", "/api/schedules/hourly/pause", {"reason": "a holiday"})
        self.assertEqual(a.status, 200, a.body)
        me = "token"
        self.assertEqual(c("POST", "/api/schedules/hourly/trigger").status, 202)
        s = c("GET", "/api/schedules/hourly").json
        self.assertEqual((s["pause"]["reason"], s["pause"]["by"]), ("a holiday", me))
        self.assertEqual([(t["kind"], t["by"]) for t in s["ticks"]], [("trigger", me)])
        code, out, err = run("sched", "show", "hourly", "--url", node.url, env={"KOAN_TOKEN": self.TOKEN})
        self.assertEqual(code, 0, err)
        self.assertIn(me, out)


class Critical(App):
    APP = CRITICAL

    def jobs_health(self):
        parts = self.c("GET", "/health").json["components"]
        return next(p for p in parts if p["name"] == "jobs")

    def test_a_critical_job_that_fails_degrades_health_until_it_succeeds(self):
        deadline = time.monotonic() + 15
        while time.monotonic() < deadline and self.ok("GET", "/api/schedules/shaky").json["state"] != "paused":
            time.sleep(0.1)
        s = self.ok("GET", "/api/schedules/shaky").json
        self.assertEqual((s["state"], s["pause"]["reason"], s["failures"]), ("paused", "2 failures in a row", 2))
        self.assertNotIn("by", s["pause"])
        self.assertEqual(self.jobs_health()["state"], "degraded")
        self.assertIn("critical job 'shaky'", self.jobs_health()["message"])
        self.assertIn("\nkoan_jobs_critical_failing 1\n", self.ok("GET", "/metrics").body.decode())
        self.ok("PUT", "/api/kv/healed", '"yes"', 200)
        self.ok("POST", "/api/schedules/shaky/resume")
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline and self.jobs_health()["state"] != "healthy":
            time.sleep(0.1)
        self.assertEqual(self.jobs_health()["state"], "healthy")
        text = self.ok("GET", "/metrics").body.decode()
        self.assertIn('koan_schedule_decisions_total{decision="ran"}', text)
        self.assertIn("koan_schedules 1", text)
        self.assertIn("\nkoan_jobs_critical_failing 0\n", text)
        decided = sum(int(n) for n in re.findall(r"^koan_schedule_decisions_total\S* (\d+)$", text, re.M))
        delay = {k: float(v) for k, v in re.findall(r"^koan_schedule_delay_seconds_(count|sum) (\S+)$", text, re.M)}
        self.assertEqual(delay["count"], decided)
        self.assertTrue(0 < delay["sum"] < 5 * decided, delay)


if __name__ == "__main__":
    unittest.main()
