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
                         [("error", 1, "no", other), ("lapsed", 2, None, TRACE)])
        self.assertTrue(errors[0]["node"])
        self.assertEqual(errors[0]["node"], errors[1]["node"])
        plain = self.send(q, 2)["id"]  # its trace follows from its correlation
        self.settle(q, next(m for m in self.lease(q, 9) if m["id"] == plain), "nack", error="no")
        self.assertRegex(self.message(q, plain)["errors"][0]["trace"], r"^[0-9a-f]{32}$")

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
        self.assertRegex(text, r"attempt 1: error: no  \(node \S+, trace \w+\)")
        self.assertEqual(json.loads(koan(self, "queue", "show", end, id, "--json"))["history"], m["history"])
        self.refused("POST", f"{Q}{end}/cancel", {"ids": [id], "reason": "x" * 257}, words="256")
        self.refused("PATCH", f"{Q}{end}/messages/{id}", {"body": 1, "reason": 7}, words="reason")


class Sender(Queues):
    APP = """queue "next" {}
on "queue/first" { run = function(m) send("next", m) end }"""

    def test_a_message_says_who_sent_it_and_what_it_was_sent_by(self):
        self.ok("POST", Q + "next/pause")
        first = self.send("first", {"n": 1})
        end = time.monotonic() + 20
        while not (found := [m for m in self.peek("next") if m["body"] == {"n": 1}]) and time.monotonic() < end:
            time.sleep(0.05)
        self.assertEqual((found[0]["sender"], found[0]["causation"]), ("system", first["id"]))
        live = self.ok("GET", "/api/cluster/scripts").json["live"]["hash"]
        self.assertEqual(found[0]["script"], live)
        self.assertEqual(json.loads(koan(self, "queue", "show", "next", found[0]["id"], "--json"))["script"], live)
        q = self.queue()
        batch = [m["id"] for m in self.many(q, *({"body": i} for i in range(40)))]
        by_line = self.peek(q, query="&limit=100")
        self.assertEqual([(m["id"], m["sender"]) for m in by_line], [(i, "local") for i in batch])
        self.assertNotIn("causation", by_line[0])
        self.assertNotIn("script", by_line[0])
        self.assertEqual(self.ok("GET", f"{Q}{q}/messages/{batch[7]}").json["sender"], "local")


class Bounds(Queues):
    def test_what_the_log_cannot_hold_is_refused_before_it(self):  # R1
        q, long = self.queue(), "x" * 600
        id = self.send(q, 1)["id"]
        self.refused("POST", f"{Q}{long}/pause", None, words="name")
        self.refused("POST", f"{Q}{q}/move", {"ids": [id], "to": long}, words="to")
        self.refused("PUT", "/api/gates/" + long, {}, words="name")
        self.refused("POST", f"/api/gates/{long}/close", {"delay": 1}, words="name")
        self.refused("PUT", "/api/lanes/" + long, {})
        self.refused("PUT", Q + q, {"dead_to": long}, words="dead_to")
        self.refused("POST", f"{Q}{q}/lease", {"labels": {long: 1}, "wait": 0}, words="label")
        self.refused("POST", f"{Q}{q}/lease", {"labels": {"gpu": long}, "wait": 0}, words="labels")
        for option in ("key", "unique", "dedup", "lane", "gate"):
            self.refused("POST", f"{Q}{q}/messages?{option}={long}", 1, words=option)
        self.refused("POST", "/api/tx", {"ops": [{"op": "send", "queue": long, "body": 1}]}, words="queue")
        settle = {"op": "settle", "id": id, "token": 1, "outcome": "ack"}
        self.refused("POST", "/api/tx", {"ops": [{**settle, "queue": long}]}, words="queue")
        self.refused("POST", "/api/tx", {"ops": [{**settle, "outcome": "backoff", "delay": 1, "gate": long}]}, words="gate")
        self.ok("PATCH", f"{Q}{q}/messages/{id}", {"body_base64": ""})
        self.assertEqual(self.ok("GET", f"{Q}{q}/messages/{id}", X_Koan_Reason="r" * 600).json["bytes"], 0)
        self.ok("POST", f"{Q}{q}/retry", {"ids": [id]}, X_Koan_Reason="r" * 900)
        self.assertEqual(self.ok("GET", "/livez").status, 200)


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


class Filters(Queues):
    def fill(self, q, count, **more):
        for i in range(0, count, 1000):
            self.many(q, *({"body": {"n": n, "odd": n % 2 == 1}, **more} for n in range(i, min(count, i + 1000))))

    def handed_over(self, q, verb, **body):
        a = self.ok("POST", f"{Q}{q}/{verb}", body, 202)
        self.assertEqual((a.json["job"], a.headers["Location"]), ("koan-operate", "/api/jobs/" + a.json["id"]))
        return a.json["id"]

    def ended(self, id, state="completed", seconds=60):
        end = time.monotonic() + seconds
        while True:
            r = self.ok("GET", f"/api/jobs/{id}?wait=5s").json
            if r["state"] in ("completed", "discarded", "cancelled"):
                self.assertEqual(r["state"], state, r)
                return r
            self.assertLess(time.monotonic(), end, r)

    def test_a_filter_chooses_by_state_and_values(self):  # Q2
        q, other = self.queue(keep_completed="1h"), self.queue()
        self.fill(q, 10)
        odd = {"state": "available", "find": {"body.odd": True}}
        dry = self.ok("POST", f"{Q}{q}/cancel", {**odd, "dry_run": True}).json
        self.assertEqual((len(dry["ids"]), dry["matched"], dry["more"]), (5, 5, False))
        self.assertEqual(self.counts(q)["messages"], 10)
        r = self.ok("POST", f"{Q}{q}/cancel", {**odd, "reason": "odd ones"}).json
        self.assertEqual((r["counts"], sorted(x["id"] for x in r["results"])), ({"cancelled": 5, "failed": 0}, sorted(dry["ids"])))
        gone = self.peek(q, "cancelled")
        self.assertEqual([(m["body"]["n"], m["reason"]) for m in gone], [(n, "odd ones") for n in range(1, 10, 2)])
        r = self.ok("POST", f"{Q}{q}/move", {"state": "available", "find": {"body.n": 4}, "to": other}).json
        self.assertEqual([m["body"]["n"] for m in self.peek(other)], [4])
        self.assertEqual(self.ok("POST", f"{Q}{q}/retry", {"state": "cancelled", "find": {"body.n": 3}}).json["counts"],
                         {"retried": 1, "failed": 0})
        r = self.ok("POST", f"{Q}{q}/purge", {"state": "available", "find": {"body.n": 99}, "confirm": q}).json
        self.assertEqual(r["results"], [])
        for body, words in (({"find": {"body.n": 1}}, "ids"), ({"ids": ["x"], "find": {"body.n": 1}}, "find"),
                            ({"state": "available", "find": {"n": 1}}, "paths are"), ({"state": "available", "find": []}, "object"),
                            ({"state": "available", "fnd": {}}, "find")):
            self.refused("POST", f"{Q}{q}/retry", body, words=words)

    def test_of_more_than_a_thousand_a_run_does_it(self):  # Q2
        q, other = self.queue(), self.queue(keep_completed="1h")
        self.fill(q, 3500)
        dry = self.ok("POST", f"{Q}{q}/move", {"state": "available", "to": other, "dry_run": True}).json
        self.assertEqual((dry["matched"], len(dry["ids"]), dry["more"]), (3500, 1000, True))
        r = self.ended(self.handed_over(q, "move", state="available", to=other, dry_run=True, find={"body.odd": False}))
        self.assertEqual((r["result"], self.counts(q)["messages"]), ({"looked_at": 3500, "matched": 1750}, 3500))
        r = self.ended(self.handed_over(q, "move", state="available", to=other, reason="elsewhere", find={"body.odd": False}))
        self.assertEqual(r["result"], {"looked_at": 3500, "matched": 1750, "moved": 1750, "failed": 0})
        self.assertEqual((r["args"]["total"], r["args"]["verb"], r["job"]), (3500, "move", "koan-operate"))
        self.assertEqual((self.counts(q)["messages"], self.counts(other)["messages"]), (1750, 1750))
        m = self.peek(other, query="&history=true&limit=1")[0]
        self.assertEqual([(h["what"], h["by"], h["from"], h["to"], h["reason"]) for h in m["history"]],
                         [("move", "local", q, other, "elsewhere")])
        r = self.ended(self.handed_over(other, "cancel", state="available", reason="no more"))
        self.assertEqual(r["result"]["cancelled"], 1750)
        self.assertEqual(self.peek(other, "cancelled")[0]["reason"], "no more")
        self.assertEqual(self.ended(self.handed_over(other, "retry", state="cancelled"))["result"]["retried"], 1750)
        self.assertEqual(self.ended(self.handed_over(q, "purge", state="available", confirm=q))["result"]["purged"], 1750)
        self.assertEqual((self.counts(q)["messages"], self.counts(other)["messages"]), (0, 1750))

    def test_what_is_sent_behind_the_request_is_not_meant(self):
        q = self.queue()
        self.fill(q, 1200)
        self.ended(self.handed_over(q, "purge", state="all", confirm=q, dry_run=True, find={"body.n": 7}))
        self.ok("POST", f"{Q}job.koan-operate/pause")
        id = self.handed_over(q, "purge", state="all", confirm=q)
        later = self.send(q, {"n": "later"})["id"]
        self.ok("POST", f"{Q}job.koan-operate/resume")
        self.assertEqual(self.ended(id)["result"]["purged"], 1200)
        self.assertEqual([m["id"] for m in self.peek(q)], [later])

    def test_what_cannot_be_done_is_counted_and_the_first_is_told(self):
        q, other = self.queue(), self.queue()
        self.fill(q, 1200)
        self.ok("POST", f"{Q}{other}/close")
        r = self.ended(self.handed_over(q, "move", state="available", to=other))
        self.assertEqual((r["result"]["moved"], r["result"]["failed"]), (0, 1200))
        self.assertIn("closed", r["result"]["first_failed"]["detail"])

    def test_such_a_run_is_cancelled_like_any_other(self):
        q, other = self.queue(), self.queue()
        self.fill(q, 60000)
        id = self.handed_over(q, "move", state="available", to=other, find={"body.odd": True})
        self.assertIn(self.c("POST", f"/api/jobs/{id}/cancel").status, (200, 202))
        r = self.ended(id, "cancelled")
        self.assertEqual(self.counts(q)["messages"] + self.counts(other)["messages"], 60000)
        self.assertGreater(self.counts(q)["messages"], 30000)
        if "result" in r:
            self.assertEqual(r["result"]["moved"], self.counts(other)["messages"])

    def test_with_a_key_it_is_done_once(self):  # R2
        q, other = self.queue(), self.queue()
        self.fill(q, 30)
        body, key = {"state": "available", "to": other}, {"Idempotency_Key": "once-" + q}
        first = self.ok("POST", f"{Q}{q}/move", body, 202, **key)
        self.ended(first.json["id"])
        self.fill(q, 5)
        again = self.ok("POST", f"{Q}{q}/move", body, 202, **key)
        self.assertEqual((again.body, again.headers["Idempotency-Replayed"]), (first.body, "true"))
        self.assertEqual((self.counts(q)["messages"], self.counts(other)["messages"]), (5, 30))

    def test_it_goes_on_though_its_queue_was_dropped(self):
        q, other = self.queue(), self.queue()
        self.fill(q, 1100)
        self.ended(self.handed_over(q, "move", state="available", to=other))
        self.ok("DELETE", Q + "job.koan-operate?force=true&confirm=job.koan-operate", status=204)
        self.ended(self.handed_over(other, "move", state="available", to=q))
        self.assertEqual(self.counts(q)["messages"], 1100)

    def test_on_the_command_line_it_is_waited_for(self):
        q, other = self.queue(), self.queue()
        self.fill(q, 2100)
        dry = json.loads(koan(self, "queue", "move", q, other, "--state", "available", "--dry-run", "--json"))
        self.assertEqual(dry["matched"], 2100)
        r = json.loads(koan(self, "queue", "move", q, other, "--state", "available", "--find", '{"body.odd": true}',
                            "--reason", "by hand", "--json"))
        self.assertEqual((r["state"], r["result"]["moved"]), ("completed", 1050))
        r = json.loads(koan(self, "queue", "cancel", other, "--state", "available", "--background", "--json"))
        self.ended(r["id"])
        koan(self, "queue", "retry", q, "--find", "{}", code=2)
        koan(self, "queue", "retry", q, "--state", "available", "--find", "{", code=1)

    def test_what_it_is_told_must_be_right(self):  # R3
        self.refused("POST", "/api/jobs", {"job": "koan-operate", "options": {"create": True}}, words="own")
        q = self.queue()
        self.fill(q, 1001)
        self.ended(self.handed_over(q, "purge", state="available", confirm=q))
        for args in ({"verb": "edit"}, {"verb": "retry", "queue": "no such"}, {"verb": "retry", "queue": q, "state": "x"}, 7):
            id = self.send("job.koan-operate", args)["id"]
            self.assertEqual(self.ended(id, "discarded")["reason"], "rejected")


class Dying(Case):
    def test_the_work_of_operators_goes_on_after_a_kill(self):  # Q2
        node = self.node()
        c = node.client()
        for q in ("from", "to"):
            c("PUT", Q + q, {})
        for i in range(80):
            c("POST", f"{Q}from/messages?batch=true", [{"body": {"n": i * 1000 + k}} for k in range(1000)])
        id = c("POST", f"{Q}from/move", {"state": "available", "to": "to"}).json["id"]
        moved, end = 0, time.monotonic() + 30
        while not 2000 < moved < 80000 and time.monotonic() < end:
            moved = c("GET", Q + "to").json["messages"]
        node.kill()
        c = self.node().client()
        self.assertGreater(moved, 2000)
        state, end = None, time.monotonic() + 90
        while state != "completed" and time.monotonic() < end:
            r = c("GET", f"/api/jobs/{id}?wait=5s").json
            state = r["state"]
        self.assertEqual(state, "completed", r)
        self.assertEqual([c("GET", Q + q).json["messages"] for q in ("from", "to")], [0, 80000])
        self.assertEqual(r["result"]["failed"], 0)


if __name__ == "__main__":
    unittest.main()
