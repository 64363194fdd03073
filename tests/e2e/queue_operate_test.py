"""What operators do with messages: with a reason that is kept, on one, many, or all that a filter finds."""
import json
import time
import unittest

from e2e.node import Case, run
from e2e.queue_http_test import Q, Queues

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


def koan(case, *args, code=0, **kw):
    got = run(*args, "--url", case.server.url, **kw)
    case.assertEqual(got[0], code, got)
    return got[1]


class History(Queues):
    def message(self, q, id):
        return self.ok("GET", f"{Q}{q}/messages/{id}").json

    def test_an_error_tells_where_it_came_from(self):  # Q2
        q = self.queue()
        traced = {"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"}
        sent = self.send(q, 1, query="?attempts=3&backoff=0s", **traced)
        m = self.lease(q)[0]
        other = TRACE[::-1]
        self.ok("POST", f"{Q}{q}/settle", {"id": m["id"], "token": m["token"], "outcome": "nack", "error": "no"},
                traceparent=f"00-{other}-00f067aa0ba902b7-01")
        self.lease(q, lease="1s", wait="5s")
        end = time.monotonic() + 30
        while len(errors := self.message(q, sent["id"])["errors"]) < 2 and time.monotonic() < end:
            time.sleep(0.1)
        self.assertEqual([(e["reason"], e["attempt"], e.get("error"), e["trace"]) for e in errors],
                         [("attempts", 1, "no", other), ("lapsed", 2, None, TRACE)])
        self.assertTrue(errors[0]["node"])
        self.assertEqual(errors[0]["node"], errors[1]["node"])

    def test_what_people_do_with_a_message_is_seen_with_who_and_why(self):  # Q2
        dead = self.queue()
        q, end = self.queue(dead_to=dead), self.queue(keep_completed="1h")
        id = self.send(q, {"n": 1}, query="?attempts=1")["id"]
        self.settle(q, self.lease(q)[0], "nack", error="no")
        self.ok("PATCH", f"{Q}{dead}/messages/{id}", {"body": {"n": 2}, "reason": "the number was wrong"})
        self.ok("POST", f"{Q}{dead}/move", {"ids": [id], "to": end, "reason": "mended"})
        self.ok("DELETE", f"{Q}{end}/messages/{id}", X_Koan_Reason="not wanted any more")
        m = self.message(end, id)
        self.assertEqual((m["state"], m["reason"]), ("cancelled", "not wanted any more"))
        self.ok("POST", f"{Q}{end}/retry", {"ids": [id]})
        m = self.message(end, id)
        self.assertNotIn("reason", m)
        self.assertEqual([{k: v for k, v in h.items() if k != "at"} for h in m["history"]],
                         [{"what": "dead_letter", "from": q, "to": dead, "reason": "attempts"},
                          {"what": "edit", "by": "local", "reason": "the number was wrong"},
                          {"what": "move", "by": "local", "from": dead, "to": end, "reason": "mended"},
                          {"what": "cancel", "by": "local", "reason": "not wanted any more"},
                          {"what": "retry", "by": "local"}])
        self.assertEqual(m["history_ever"], 5)
        self.assertEqual(self.peek(end)[0].get("history"), None)
        self.assertEqual(self.peek(end, query="&history=true")[0]["history"], m["history"])
        found = self.peek(end, query="&history=true&find=%7B%22body.n%22%3A2%7D")
        self.assertEqual((found[0]["history"], found[0]["errors"]), (m["history"], m["errors"]))
        text = koan(self, "queue", "peek", end, "--history")
        self.assertRegex(text, rf"move by local, {dead} -> {end}  mended")
        self.assertRegex(text, r"attempt 1: attempts on \S+  no")
        self.assertEqual(json.loads(koan(self, "queue", "show", end, id, "--json"))["history"], m["history"])
        self.refused("POST", f"{Q}{end}/cancel", {"ids": [id], "reason": "x" * 257}, words="256")
        self.refused("PATCH", f"{Q}{end}/messages/{id}", {"body": 1, "reason": 7}, words="reason")


class Restarting(Case):
    def test_the_past_of_a_message_is_there_after_a_restart(self):
        node = self.node()
        c = node.client()
        c("PUT", Q + "w", {})
        id = c("POST", Q + "w/messages", 1).json["id"]
        for i in range(3):
            self.assertEqual(c("PATCH", f"{Q}w/messages/{id}", {"body": i, "reason": f"edit {i}"}).status, 200)
        node.kill()
        c = self.node().client()
        m = c("GET", f"{Q}w/messages/{id}").json
        self.assertEqual([h["reason"] for h in m["history"]], ["edit 0", "edit 1", "edit 2"])


class Runs(Queues):
    APP = 'entity "Order" { fields = { text = text {} } }'

    def submit(self, job, **options):
        return self.ok("POST", "/api/jobs", {"job": job, "args": 1, "options": {"create": True, **options}}, 202).json["id"]

    def test_a_message_that_is_a_run_is_cancelled_with_its_row(self):  # J3
        id = self.submit("first", chain=["second"])
        r = self.ok("POST", "/api/jobs/lease", {"jobs": ["first"], "wait": 0}).json["runs"][0]
        self.ok("DELETE", f"{Q}job.first/messages/{id}", status=202, X_Koan_Reason="no more")
        self.ok("POST", "/api/jobs/settle", {"id": id, "token": r["token"], "outcome": "ack"})
        self.assertEqual(self.ok("GET", "/api/jobs?job=second").json["runs"], [])
        self.assertEqual([h["reason"] for h in self.ok("GET", f"/api/jobs/{id}").json["moves"]], ["no more"])
        waits = self.submit("first", chain=["second"])
        self.ok("POST", f"{Q}job.first/cancel", {"ids": [waits], "reason": "nor that"})
        self.assertEqual(self.ok("GET", f"/api/jobs/{waits}").json["reason"], "nor that")
        self.ok("POST", f"{Q}job.first/retry", {"ids": [waits]})  # its row is open again
        r = self.ok("POST", "/api/jobs/lease", {"jobs": ["first"], "wait": 0}).json["runs"][0]
        self.ok("POST", "/api/jobs/settle", {"id": waits, "token": r["token"], "outcome": "ack"})
        self.assertEqual(self.ok("GET", f"/api/jobs/{waits}").json["state"], "completed")


if __name__ == "__main__":
    unittest.main()
