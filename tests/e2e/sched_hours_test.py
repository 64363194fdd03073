"""Windows, blackouts, jitter and pause on failure with the real binary and its own clock: what comes, what is decided, and what ran."""
import json
import time
import unittest
from datetime import datetime, timedelta, timezone

from e2e.node import Case, run

# Spans have minutes: `OPENS` is the next one that is not too near.
APP = """
job "always" { every = "1s", windows = { "00:00-24:00" }, run = function() end }
job "shut" { every = "1s", windows = { "OPENS" }, run = function(args, ctx) send("ran", { job = "shut", at = ctx.scheduled_at, from = ctx.window.from }) end }
job "late" { every = "1s", windows = { "OPENS" }, outside = "defer", run = function(args, ctx)
  send("ran", { job = "late", at = ctx.scheduled_at, from = ctx.window.from })
end }
job "dark" { every = "1s", blackout = { "DAYS" }, run = function() send("ran", { job = "dark" }) end }
job "night" { every = "1s", blackout = { "BEFORE" }, outside = "defer", run = function(args, ctx) send("ran", { job = "night" }) end }
job "spread" { every = "2s", jitter = "1s", run = function() end }
job "shaky" { every = "1s", attempts = 1, pause_on_failure = 3, run = function()
  if not kv.get("healed") then error("not yet") end
end }
queue "ran" {}
"""
SOON_S = 8


def moment(text):
    return datetime.strptime(text[:23] + "+0000", "%Y-%m-%dT%H:%M:%S.%f%z" if "." in text else "%Y-%m-%dT%H:%M:%SZ%z")


class Hours(Case):
    def setUp(self):
        super().setUp()
        now = datetime.now(timezone.utc)
        self.opens = (now + timedelta(seconds=SOON_S + 59)).replace(second=0, microsecond=0)
        spans = {"OPENS": f"{self.opens:%H:%M}-{self.opens + timedelta(minutes=30):%H:%M}",
                 "BEFORE": f"{self.opens - timedelta(minutes=30):%H:%M}-{self.opens:%H:%M}",
                 "DAYS": f"{now - timedelta(days=1):%Y-%m-%d}..{now + timedelta(days=1):%Y-%m-%d}"}
        text = APP
        for k, v in spans.items():
            text = text.replace(k, v)
        self.write("scripts/app.lua", text)
        self.serve()

    def serve(self):
        self.server = self.node("--scripts", self.path("scripts"))
        self.c = self.server.client()

    def ok(self, method, path, body=None):
        a = self.c(method, path, body)
        self.assertLess(a.status, 300, a.body)
        return a.json

    def show(self, name, query="?next=100&ticks=1000"):
        return self.ok("GET", f"/api/schedules/{name}{query}")

    def due(self, name):
        return [t for t in reversed(self.show(name)["ticks"]) if t["kind"] == "due"]

    def cli(self, *args):
        code, out, err = run("sched", *args, "--url", f"http://127.0.0.1:{self.server.port}")
        self.assertEqual(code, 0, err)
        return out

    def ran(self):
        return [m["body"] for m in self.ok("GET", "/api/queues/%2F/ran/messages?limit=100")["items"]]

    def until(self, what, seconds=20):
        end = time.monotonic() + seconds
        while not what():
            self.assertLess(time.monotonic(), end, "it does not come true")
            time.sleep(0.1)

    def before_it_opens(self):
        """Nothing that is outside of its hours has run, and it is said why and until when."""
        self.until(lambda: len(self.due("shut")) > 1 and len(self.due("late")) > 0 and len(self.due("dark")) > 1)
        self.assertLess(datetime.now(timezone.utc), self.opens)
        self.assertEqual({(t["decision"], t["reason"]) for t in self.due("shut")}, {("skipped", "outside of its windows")})
        for job, reason in (("late", "outside of its windows, waits for the next"), ("night", "in a blackout, waits for its end")):
            first = self.due(job)[0]
            self.assertEqual((first["decision"], first["reason"], moment(first["opening"])), ("deferred", reason, self.opens))
        self.assertEqual(self.ran(), [])
        coming = self.show("late")["coming"]
        self.assertEqual({(d["hours"], moment(d["opening"])) for d in coming if moment(d["at"]) < self.opens}, {("outside", self.opens)})
        self.assertEqual({d["hours"] for d in coming if moment(d["at"]) >= self.opens}, {"open"})
        self.assertIn("skipped", self.cli("next", "shut"))
        self.assertIn(f"{self.opens:%Y-%m-%dT%H:%M:%S}", self.cli("next", "late", "--count", "3"))
        self.assertIn("blackout", self.cli("next", "dark"))
        self.assertIn("in a blackout", self.cli("show", "dark"))

    def after_it_opened(self):
        """One run covers all that was deferred or skipped; then each is on time."""
        self.until(lambda: all(len([t for t in self.due(j) if t["runs"]]) > 2 for j in ("shut", "late", "night")), 80)
        for job in ("late", "night"):
            ticks = self.due(job)
            runs = [t for t in ticks if t["runs"]]
            self.assertEqual({t["decision"] for t in ticks[:ticks.index(runs[0])]}, {"deferred"})
            self.assertEqual((runs[0]["decision"], runs[0]["reason"]), ("ran", "was deferred, runs now"))
            self.assertEqual({t["reason"] for t in runs[1:]} - {"was deferred, runs now"}, {"on time"})
            self.assertGreaterEqual(moment(runs[0]["due"]), self.opens)
            self.assertEqual(runs[0]["window"]["from"], self.show(job)["since"])  # nothing is left out
        first = next(t for t in self.due("shut") if t["runs"])
        self.assertGreaterEqual(moment(first["due"]), self.opens)
        self.assertEqual(first["window"]["from"], self.show("shut")["since"])
        for body in self.ran():
            if "at" in body:
                self.assertGreaterEqual(moment(body["at"]), self.opens)
        self.assertEqual({b["job"] for b in self.ran()}, {"shut", "late", "night"})
        self.assertEqual({(t["decision"], t["reason"]) for t in self.due("dark")}, {("skipped", "in a blackout")})
        self.assertNotIn("skipped", {t["decision"] for t in self.due("always") if t["reason"] != "the run before is still under way"})

    def test_what_is_outside_of_its_hours_is_skipped_or_runs_when_they_open(self):  # J1
        self.before_it_opens()
        planned = {d["due"]: d["at"] for d in self.show("spread")["coming"]}
        self.server.kill()  # what was decided stays, and what comes is the same
        self.serve()
        self.jitter(planned)
        self.failures()
        self.after_it_opened()
        self.assertEqual(self.server.stop(), 0)

    def jitter(self, planned):
        again = {d["due"]: d["at"] for d in self.show("spread")["coming"]}
        same = planned.keys() & again.keys()
        self.assertGreater(len(same), 50)
        self.assertEqual({k: planned[k] for k in same}, {k: again[k] for k in same})
        late = {k: (moment(at) - moment(k)).total_seconds() for k, at in planned.items()}
        self.assertTrue(all(0 <= v <= 1 for v in late.values()), late)
        self.assertGreater(len(set(late.values())), 20)
        self.until(lambda: len([t for t in self.due("spread") if t["due"] in planned]) > 2)
        for t in self.due("spread"):
            if t["due"] in planned:  # decided when it was to begin, and its run not before
                self.assertGreaterEqual(moment(t["at"]), moment(planned[t["due"]]))
                opened = moment(self.ok("GET", f"/api/jobs/{t['run']}")["opened_at"])
                self.assertGreaterEqual(opened, moment(planned[t["due"]]))

    def failures(self):
        self.until(lambda: self.show("shaky")["state"] == "paused")
        s = self.show("shaky")
        self.assertEqual((s["pause"]["reason"], s["failures"]), ("3 failures in a row", 3))
        self.assertNotIn("by", s["pause"])
        before = len(self.due("shaky"))
        time.sleep(2.5)
        self.assertEqual(len(self.due("shaky")), before)  # nothing is decided meanwhile
        self.assertIn("by itself: 3 failures in a row", self.cli("show", "shaky"))
        self.ok("PUT", "/api/kv/healed", '"yes"')
        self.assertEqual(self.ok("POST", "/api/schedules/shaky/resume")["state"], "active")
        self.until(lambda: len(self.due("shaky")) > before + 2)
        ticks = self.due("shaky")
        pause = ticks[before]
        self.assertEqual((pause["decision"], pause["reason"]), ("skipped", "came due while it was paused"))
        self.assertGreaterEqual(pause["ticks"], 2)
        follows = next(t for t in ticks[before + 1:] if t["runs"])
        self.assertEqual(follows["window"]["from"], [t for t in ticks[:before] if t["runs"]][-1]["window"]["to"])
        self.until(lambda: self.show("shaky")["failures"] == 0)
        self.assertEqual(json.loads(self.cli("show", "shaky", "--json"))["state"], "active")


if __name__ == "__main__":
    unittest.main()
