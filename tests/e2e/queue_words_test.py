"""What people read on the command line about messages and runs: what a page hides, what went before, the way out of a refusal."""
import json
import time
import unittest

from e2e.node import run
from e2e.queue_http_test import Q, Queues

APP = """
job "bad" { attempts = 1, run = function()
  step("charge", function() return "c-1" end, { undo = function() end })
  error("no luck")
end }
job "slow" { run = function(args, ctx) ctx:log("begun") sleep("pause", args.pause or "1h") return { ok = true } end }
"""


class Words(Queues):
    APP = APP

    def koan(self, *args, code=0):
        """What it said: standard output, standard error."""
        got = run(*args, "--url", self.server.url)
        self.assertEqual(got[0], code, got)
        return got[1:]

    def run_of(self, job, state, args=None, has="id"):
        id = self.ok("POST", "/api/jobs", {"job": job, "args": args or {}}, 202).json["id"]
        end = time.monotonic() + 20
        while (r := self.ok("GET", f"/api/jobs/{id}?wait=1s").json)["state"] != state or has not in r:
            self.assertLess(time.monotonic(), end, r)
        return r

    def test_peek_says_what_it_does_not_show(self):
        q = self.queue(keep_completed="1h")
        self.send(q, 1, query="?delay=10m")
        out, err = self.koan("queue", "peek", q)
        self.assertEqual(len(out.splitlines()), 1)
        self.assertIn("besides: 1 scheduled; --state scheduled", err)
        self.send(q, 2)
        self.settle(q, self.lease(q)[0], "reject", error="no")
        self.many(q, {"body": 3}, {"body": 4})
        self.lease(q)
        out, err = self.koan("queue", "peek", q)
        self.assertEqual(len(out.splitlines()), 2)
        self.assertIn("besides: 1 scheduled, 1 executing, 1 discarded; --state scheduled", err)
        self.assertEqual(self.koan("queue", "peek", q, "--state", "discarded")[1], "")
        self.assertEqual(self.koan("queue", "peek", q, "--json")[1], "")
        self.assertEqual(self.koan("queue", "peek", self.queue())[1], "")

    def test_a_queue_and_a_message_are_shown_in_words(self):
        q = self.queue(max=7)
        id = self.send(q, {"to": "ann", "deep": {"a": 1}}, query="?attempts=3&backoff=0s")["id"]
        self.settle(q, self.lease(q)[0], "nack", error="no route")
        out = self.koan("queue", "show", q)[0]
        self.assertRegex(out, rf"(?m)^name +{q}$")
        self.assertRegex(out, r"(?m)^options.max +7$")
        out = self.koan("queue", "show", q, id)[0]
        self.assertRegex(out, rf"(?m)^id +{id}$")
        self.assertRegex(out, r'(?m)^body +\{"to":"ann","deep":\{"a":1\}\}$')
        self.assertRegex(out, r"(?m)^  \S+Z  attempt 1: error: no route  \(node \S+, trace [0-9a-f]{32}\)$")
        self.assertEqual(json.loads(self.koan("queue", "show", q, id, "--json")[0])["errors"][0]["reason"], "error")

    def test_what_was_done_with_many_is_told_in_words(self):
        q, other = self.queue(), self.queue()
        ids = [self.send(q, i)["id"] for i in range(3)]
        self.assertEqual(self.koan("queue", "move", q, other, "--state", "available", "--dry-run")[0].splitlines(),
                         ids + ["3 would be"])
        self.assertEqual(self.koan("queue", "move", q, other, ids[0])[0], "1 moved\n")
        out = self.koan("queue", "cancel", q, ids[0], ids[1], code=1)[0]
        self.assertRegex(out, rf"(?m)^{ids[0]}: there is no such")
        self.assertIn("1 cancelled, 1 failed", out)
        self.many(q, *({"body": i} for i in range(1000)))
        self.many(q, *({"body": i} for i in range(200)))
        self.assertRegex(self.koan("queue", "move", q, other, "--state", "available")[0],
                         r"^\S+: completed, 1201 looked at, 1201 moved, 0 failed\n$")

    def test_a_retry_of_what_moved_as_a_dead_letter_names_the_way_back(self):
        dead = self.queue()
        q = self.queue(dead_to=dead)
        id = self.send(q, 1, query="?attempts=1")["id"]
        self.settle(q, self.lease(q)[0], "nack", error="no")
        out = self.koan("queue", "retry", dead, id, code=1)[0]
        self.assertIn(f"koan queue move {dead} {q} {id}", out)
        self.koan("queue", "move", dead, q, id)
        self.assertEqual([m["id"] for m in self.peek(q)], [id])
        self.assertIn("available already", self.koan("queue", "retry", q, self.send(q, 2)["id"], code=1)[0])

    def mixed(self):
        """A queue with messages in each state."""
        q = self.queue(keep_completed="1h")
        self.many(q, {"body": 1}, {"body": 2}, {"body": 3}, {"body": 4})
        one, two, three, four = self.lease(q, 4)
        self.settle(q, one, "ack")
        self.settle(q, two, "reject")
        self.settle(q, three, "nack", delay="1h")
        self.send(q, 5, query="?delay=1h")
        self.send(q, 6)
        self.ok("DELETE", f"{Q}{q}/messages/{self.send(q, 7)['id']}")
        return q, four

    def test_a_purge_of_all_leaves_what_executes(self):
        q, held = self.mixed()
        self.assertEqual(self.ok("POST", f"{Q}{q}/purge", {"state": "all", "dry_run": True}).json["matched"], 6)
        self.refused("POST", f"{Q}{q}/purge", {"state": "all"}, words="confirm")
        self.assertIn("--state all", self.koan("queue", "purge", q, code=2)[1])
        self.assertEqual(self.koan("queue", "purge", q, "--state", "all", "--confirm", q)[0], "6 purged\n")
        n = self.counts(q)
        self.assertEqual((n["messages_ready"], n["messages_unacknowledged"], n["scheduled"], n["retryable"], n["completed"],
                          n["discarded"], n["cancelled"]), (0, 1, 0, 0, 0, 0, 0))
        self.settle(q, held)
        for verb in ("retry", "cancel"):
            self.refused("POST", f"{Q}{q}/{verb}", {"state": "all"}, words="state is")
        self.refused("POST", f"{Q}{q}/purge", {"state": "al", "confirm": q}, words="all")

    def test_a_purge_of_all_of_more_than_a_thousand_is_a_run(self):
        q, held = self.mixed()
        self.many(q, *({"body": i} for i in range(1000)))
        self.many(q, *({"body": i} for i in range(200)))
        self.assertIn("1206 purged", self.koan("queue", "purge", q, "--state", "all", "--confirm", q)[0])
        n = self.counts(q)
        self.assertEqual((n["messages"], n["scheduled"], n["discarded"]), (1, 0, 0))

    def test_a_settle_that_comes_again_is_told_that_it_has_ended(self):
        q = self.queue()
        id, m = self.send(q, 1)["id"], self.lease(q)[0]
        settle = {"id": m["id"], "token": m["token"], "outcome": "ack"}
        self.ok("POST", f"{Q}{q}/settle", settle, Idempotency_Key="once-" + id)
        p = self.refused("POST", f"{Q}{q}/settle", settle, status=409, code="fenced", words="it has ended")
        self.assertIn("Idempotency-Key", p["detail"])
        self.assertEqual(self.ok("POST", f"{Q}{q}/settle", settle, Idempotency_Key="once-" + id).json["outcome"], "ack")
        self.assertIn("keep_completed", self.koan("queue", "show", q, id, code=1)[1])

    def test_a_queue_that_is_not_there_is_not_to_be_sent_to(self):
        for args in (("tail",), ("peek",), ("show",), ("pause",)):
            err = self.koan("queue", *args, "nosuch", code=1)[1]
            self.assertIn("there is no queue 'nosuch'", err)
            self.assertNotIn("create", err)
        self.refused("POST", f"{Q}nosuch/messages", 1, status=404, code="not_found", words="create")

    def test_a_run_that_undoes_another_is_marked(self):
        bad = self.run_of("bad", "discarded", has="undo")  # which follows the end
        undo = self.ok("GET", f"/api/jobs/{bad['undo']}?wait=20s").json
        self.assertEqual((undo["state"], undo["undo_of"]), ("completed", bad["id"]))
        self.assertNotIn("undo_of", bad)
        out = self.koan("jobs", "ls", "--job", "bad")[0]
        self.assertRegex(out, rf"(?m)^{undo['id']} +bad \(undo\) +completed")
        self.assertRegex(out, rf"(?m)^{bad['id']} +bad +discarded")
        out = self.koan("jobs", "show", bad["id"])[0]
        self.assertRegex(out, r'(?m)^  \S+Z  charge  undo done  "c-1"$')
        self.assertRegex(out, r"(?m)^  \S+Z  attempt 1: error 500: .*no luck")

    def test_a_sleep_is_shown_as_a_time(self):
        r = self.run_of("slow", "scheduled", {})
        step = r["steps"][0]
        self.assertEqual((step["name"], step["kind"]), ("pause", "sleep"))
        self.assertRegex(step["result"]["until"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")
        self.assertEqual(step["result"]["until"], r["run_at"])
        out = self.koan("jobs", "show", r["id"])[0]
        self.assertRegex(out, rf'sleep pause  \{{"until":"{r["run_at"]}"\}}')
        self.assertTrue(out.endswith("\nlog:\nbegun\n"), out)

    def test_a_run_that_is_waited_for_is_shown_in_words(self):
        out = self.koan("jobs", "run", "slow", '{"pause": "1ms"}', "--wait")[0]
        self.assertRegex(out, r"(?m)^state +completed$")
        self.assertRegex(out, r'(?m)^result +\{"ok":true\}$')


if __name__ == "__main__":
    unittest.main()
