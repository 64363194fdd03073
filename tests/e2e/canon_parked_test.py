"""Parked arrivals are records of a queue that people work: one id, one end, an owner, a due time, a snooze."""
import json
import random
import threading
import time
import unittest

from e2e.node import App, Case, run

PEOPLE = """
entity "Person" { fields = { name = text { max = 40 }, email = email {}, phone = text {}, city = text {} } }
canon "Person" {
  sources = { erp = { rank = 1 }, crm = { rank = 2 } },
  keys    = { "email:email", "phone:digits" },
  stages  = {
    validate = function(a, ctx)
      if a.city == "Nowhere" then ctx:park("NO_CITY", { hint = "which?" }) end
    end,
  },
}
entity "Ship" { fields = { name = text {} } }
canon "Ship" {
  sources = { port = {} }, keys = { "name:name" },
  stages  = { validate = function(a, ctx) if a.name == "?" then ctx:park("NO_NAME") end end },
}
queue "desk" { manual = true, due = "2d" }
"""
MODEL = "/api/canon/person"
QUEUE = "/api/queues/%2F/canon.Person.parked"


class Many(App):
    APP = """
entity "Person" { fields = { name = text { max = 40 }, phone = text {}, city = text {} } }
canon "Person" {
  sources = { crm = {} }, keys = { "phone:digits" },
  stages  = {
    validate = function(a, ctx)
      if a.city == nil then ctx:park("NO_CITY") end
      if a.city == "Nowhere" then ctx:park("STILL_NOWHERE") end
      if a.city == "Hell" then ctx:reject("no_such_city") end
    end,
  },
}
entity "Quiet" { fields = { name = text {} } }
canon "Quiet" { sources = { crm = {} }, keys = { "name" } }
"""
    serial = 0

    def park(self, count, **data):
        """Ids of arrivals that wait, in their order."""
        items = []
        for _ in range(count):
            Many.serial += 1
            items.append({"source_id": str(Many.serial), "data": {"phone": str(10000 + Many.serial), **data}})
        a = self.ok("POST", MODEL + "/bulk", items, X_Canon_Origin="crm").json
        self.assertEqual(a["counts"]["parked"], count, a)
        return [r["arrival"] for r in a["results"]]

    def many(self, verb, status=200, headers={}, **body):
        return self.ok("POST", f"{MODEL}/parked/{verb}", body, status, **headers).json

    def run_of(self, id):
        end = time.monotonic() + 60
        while (r := self.ok("GET", f"/api/jobs/{id}?wait=1s").json)["state"] not in ("completed", "discarded", "cancelled"):
            self.assertLess(time.monotonic(), end, r)
        return r

    def outcome(self, id):
        return self.ok("GET", f"{MODEL}/arrivals/{id}").json["outcome"]

    def test_those_that_are_named_go_on_with_one_patch(self):
        ids = self.park(3, name="Named")
        a = self.many("resume", ids=ids + ["0190c2a4-0000-7000-8000-000000000000"], patch={"city": "Porto"}, reason="they moved")
        self.assertEqual(a["counts"], {"resumed": 3, "parked": 0, "failed": 1})
        for id, r in zip(ids, a["results"]):
            self.assertEqual((r["id"], r["outcome"]), (id, "canonized"))
            p = self.ok("GET", "/api/person/" + r["golden"]).json
            self.assertEqual((p["name"], p["city"]), ("Named", "Porto"))
            m = self.ok("GET", f"{QUEUE}/messages/{id}").json
            self.assertEqual((m["state"], m["result"]["arrival"]), ("completed", r["arrival"]))
        self.assertEqual(a["results"][3]["error"]["code"], "not_found")
        again = self.many("resume", ids=ids)
        self.assertEqual(again["counts"], {"resumed": 0, "parked": 0, "failed": 3})

    def test_a_filter_finds_them_and_a_dry_run_changes_nothing(self):
        mine, other = self.park(4, name="Filter"), self.park(2, name="Other")
        find = {"body.data.name": "Filter", "body.reason": "NO_CITY"}
        dry = self.many("resume", state="available", find=find, dry_run=True)
        self.assertEqual((sorted(dry["ids"]), dry["matched"]), (sorted(mine), 4))
        self.assertEqual([self.outcome(id) for id in mine], ["parked"] * 4)
        a = self.many("resume", state="available", find=find, patch={"city": "Hell"})
        self.assertEqual((a["counts"], {r["outcome"] for r in a["results"]}), ({"resumed": 4, "parked": 0, "failed": 0}, {"failed"}))
        self.assertEqual([self.outcome(id) for id in mine + other], ["resumed"] * 4 + ["parked"] * 2)
        a = self.many("reject", state="available", find={"body.data.name": "Other"}, reason="nobody knows them")
        self.assertEqual(a["counts"], {"rejected": 2, "failed": 0})
        for id in other:
            r = self.ok("GET", f"{MODEL}/arrivals/{id}").json
            self.assertEqual((r["outcome"], r["rejected"]["reason"]), ("rejected", "nobody knows them"))
            self.assertEqual(self.ok("GET", f"{QUEUE}/messages/{id}").json["state"], "cancelled")

    def test_what_parks_again_is_counted(self):
        ids = self.park(2, name="Again")
        a = self.many("resume", ids=ids, patch={"city": "Nowhere"})
        self.assertEqual(a["counts"], {"resumed": 0, "parked": 2, "failed": 0})
        new = [r["arrival"] for r in a["results"]]
        self.assertEqual([r["reason"] for r in a["results"]], ["STILL_NOWHERE"] * 2)
        self.assertEqual(self.many("reject", ids=new, reason="enough")["counts"], {"rejected": 2, "failed": 0})

    def test_with_a_key_it_is_done_once(self):  # R2
        for verb, more in (("resume", {"patch": {"city": "Faro"}}), ("reject", {"reason": "once"})):
            ids = self.park(3, name="Key")
            one, two = (self.ok("POST", f"{MODEL}/parked/{verb}", {"ids": ids, **more}, Idempotency_Key="many-" + verb) for _ in range(2))
            self.assertEqual((two.json, two.headers["Idempotency-Replayed"]), (one.json, "true"))
            self.assertEqual(one.json["counts"]["failed"], 0)
            self.assertEqual(one.headers["X-Koan-Seq"], two.headers["X-Koan-Seq"])
        ids = self.park(3, name="Key filter")
        body = {"state": "available", "find": {"body.data.name": "Key filter"}, "patch": {"city": "Beja"}}
        one, two = (self.ok("POST", MODEL + "/parked/resume", body, 202, Idempotency_Key="many-filter").json for _ in range(2))
        self.assertEqual(one, two)
        r = self.run_of(one["id"])
        self.assertEqual((r["state"], r["result"]["resumed"], r["result"]["failed"]), ("completed", 3, 0))
        self.assertEqual([self.outcome(id) for id in ids], ["resumed"] * 3)

    def test_of_more_than_a_thousand_a_run_does_it(self):  # Q2
        """Each once: those that park again are new records, which the run leaves to a person."""
        mine, stays = self.park(1000, name="Run") + self.park(200, name="Run"), self.park(5, name="Stays")
        a = self.ok("POST", MODEL + "/parked/resume",
                    {"state": "available", "find": {"body.data.name": "Run"}, "patch": {"city": "Nowhere"}}, 202)
        self.assertEqual((a.json["job"], a.headers["Location"]), ("koan-operate", "/api/jobs/" + a.json["id"]))
        r = self.run_of(a.json["id"])
        self.assertEqual((r["state"], r["result"]["resumed"], r["result"]["parked"], r["result"]["failed"]), ("completed", 0, 1200, 0), r["result"])
        self.assertEqual({self.outcome(id) for id in mine[::50]}, {"resumed"})
        a = self.many("resume", 202, state="available", find={"body.data.name": "Run"}, patch={"city": "Evora"})
        r = self.run_of(a["id"])
        self.assertEqual((r["result"]["resumed"], r["result"]["failed"]), (1200, 0), r["result"])
        self.assertEqual([self.outcome(id) for id in stays], ["parked"] * 5)
        self.assertEqual(self.many("reject", ids=stays, reason="over")["counts"], {"rejected": 5, "failed": 0})

    def test_what_it_is_told_must_be_right(self):  # R1 R3
        id = self.park(1, name="Right")[0]
        for verb, body, words in (("resume", {}, "ids"), ("reject", {"ids": [id]}, "reason"), ("reject", {"ids": [id], "reason": ""}, "reason"),
                                  ("reject", {"ids": [id], "reason": "x" * 1001}, "1000"), ("reject", {"ids": [id], "reason": "x", "patch": {}}, "patch"),
                                  ("resume", {"ids": [id], "patch": 7}, "patch"), ("resume", {"state": "completed"}, "available"),
                                  ("resume", {"ids": [id], "find": {"body.reason": "x"}}, "find"), ("resume", {"ids": [id], "to": "q"}, "to"),
                                  ("resume", {"ids": [id], "zz": 1}, "zz"), ("resume", {"state": "available", "find": {"zz": 1}}, "zz")):
            self.refused("POST", f"{MODEL}/parked/{verb}", body, words=words)
        self.refused("POST", "/api/canon/persn/parked/resume", {"ids": [id]}, status=404, code="not_found", words="Person")
        self.assertEqual(self.outcome(id), "parked")
        quiet = self.ok("POST", "/api/canon/quiet/parked/resume", {"state": "available"}).json
        self.assertEqual(quiet["counts"], {"resumed": 0, "parked": 0, "failed": 0})
        self.many("reject", ids=[id], reason="over")

    def test_on_the_command_line(self):
        def told(*args):
            code, out, err = run("canon", *args, "--json", "--url", self.server.url)
            self.assertEqual(code, 0, err)
            return json.loads(out)
        ids, find = self.park(3, name="Line"), json.dumps({"body.data.name": "Line"})
        which = ("--state", "available", "--find", find)
        self.assertEqual(sorted(told("resume", "Person", *which, "--dry-run")["ids"]), sorted(ids))
        self.assertEqual(told("resume", "Person", *which, "--patch", '{"city": "Olhao"}')["counts"]["resumed"], 3)
        self.park(2, name="Line")
        self.assertEqual(told("reject", "Person", "--parked", *which, "--reason", "no")["counts"]["rejected"], 2)
        for args, words in ((["resume", "Person"], "--state"), (["resume", "Person", ids[0], "--state", "available"], "--state"),
                            (["resume", "Person", "--state", "available", "--patch", "{"], "patch"), (["reject", "Person", "--state", "available"], "--parked"),
                            (["reject", "Person", "--parked", "--state", "available"], "--reason")):
            code, _, err = run("canon", *args, "--url", self.server.url)
            self.assertNotEqual(code, 0, args)
            self.assertIn(words, err)


class Parked(App):
    APP = PEOPLE

    def park(self, source_id, **data):
        data.setdefault("city", "Nowhere")
        data.setdefault("phone", source_id)
        a = self.ok("POST", f"{MODEL}?source_id={source_id}", data, 202, X_Canon_Origin="crm").json
        self.assertEqual(a["outcome"], "parked")
        return a["arrival"]

    def record(self, id, queue=QUEUE):
        return self.ok("GET", f"{queue}/messages/{id}").json

    def parked_ids(self):
        return {p["id"] for p in self.ok("GET", MODEL + "/parked?limit=500").json}

    def test_one_that_parks_is_a_record_with_the_same_id(self):
        id = self.park("1", name="Ann")
        r = self.record(id)
        self.assertEqual((r["state"], r["waiting_for"]["what"], r["overdue"]), ("available", "people", False))
        b = r["body"]
        self.assertEqual((b["arrival"], b["origin"], b["source_id"], b["reason"], b["phase"]),
                         (id, "crm", "1", "NO_CITY", "validate"))
        self.assertEqual((b["evidence"], b["data"]["name"]), ({"hint": "which?"}, "Ann"))
        self.assertIn(id, self.parked_ids())
        q = self.ok("GET", QUEUE).json
        self.assertTrue(q["options"]["manual"])
        self.assertEqual(q["options"]["due"], "14d")
        self.assertIn("canon.Person.parked", [x["name"] for x in self.ok("GET", "/api/queues").json])
        found = self.ok("GET", QUEUE + "/messages?find=" + json.dumps({"body.data.name": "Ann"}).replace(" ", "")).json["items"]
        self.assertEqual([x["id"] for x in found], [id])

    def test_a_resume_ends_the_record_with_what_came_of_it(self):
        id = self.park("2", email="two@example.org")
        a = self.ok("POST", f"{MODEL}/parked/{id}/resume", {"city": "Porto"}, 200).json
        self.assertEqual(a["outcome"], "canonized")
        r = self.record(id)
        self.assertEqual(r["state"], "completed")
        self.assertEqual((r["result"]["outcome"], r["result"]["id"], r["result"]["arrival"]), ("canonized", a["id"], a["arrival"]))
        self.assertNotIn(id, self.parked_ids())
        self.refused("POST", f"{MODEL}/parked/{id}/resume", status=404, code="not_found")

    def test_one_that_parks_again_keeps_owner_and_due_time(self):
        id = self.park("3")
        self.ok("PATCH", f"{QUEUE}/messages/{id}", {"owner": "ana", "due": "2031-01-01T00:00:00Z"})
        a = self.ok("POST", f"{MODEL}/parked/{id}/resume", {"name": "Bo"}, 202).json
        self.assertEqual(a["outcome"], "parked")
        self.assertNotEqual(a["arrival"], id)
        old, new = self.record(id), self.record(a["arrival"])
        self.assertEqual((old["state"], old["result"]["outcome"], old["result"]["arrival"]), ("completed", "parked", a["arrival"]))
        self.assertEqual((new["state"], new["owner"], new["due"]), ("available", "ana", "2031-01-01T00:00:00.000Z"))
        self.assertEqual(new["body"]["data"]["name"], "Bo")

    def test_a_rejected_one_is_cancelled_and_kept(self):
        id = self.park("4")
        self.refused("POST", f"{MODEL}/parked/{id}/reject", {}, words="reason")
        self.refused("POST", f"{MODEL}/parked/{id}/reject", {"reason": "x", "zz": 1}, words="zz")
        one, two = (self.ok("POST", f"{MODEL}/parked/{id}/reject", {"reason": "a test"}, Idempotency_Key="rej") for _ in range(2))
        self.assertEqual((one.json, two.json), ({"outcome": "rejected", "record": id, "queue": "canon.Person.parked"},) * 2)
        r = self.record(id)
        self.assertEqual((r["state"], r["result"]["reason"]), ("cancelled", "a test"))
        a = self.ok("GET", f"{MODEL}/arrivals/{id}").json
        self.assertEqual((a["outcome"], a["reason"], a["rejected"]["reason"]), ("rejected", "NO_CITY", "a test"))
        self.assertNotIn(id, self.parked_ids())
        self.refused("POST", f"{MODEL}/parked/{id}/reject", {"reason": "again"}, status=409, code="conflict")
        self.refused("POST", f"{MODEL}/parked/{id}/resume", status=404, code="not_found")
        self.refused("POST", f"{MODEL}/parked/x/reject", {"reason": "x"}, status=404, code="not_found")

    def test_what_is_done_to_records_elsewhere_names_the_way_out(self):  # R1
        id = self.park("5")
        for verb, body in (("cancel", {}), ("move", {"to": "desk"}), ("retry", {}), ("purge", {"confirm": "canon.Person.parked"})):
            a = self.ok("POST", f"{QUEUE}/{verb}", {"ids": [id], **body}).json
            self.assertEqual(a["counts"]["failed"], 1, a)
            self.assertEqual(a["results"][0]["error"]["code"], "conflict", a)
            self.assertIn("resume or reject", a["results"][0]["error"]["detail"])
        self.refused("DELETE", f"{QUEUE}/messages/{id}", status=409, code="conflict", words="resume or reject")
        self.refused("PATCH", f"{QUEUE}/messages/{id}", {"body": {}}, status=409, code="conflict", words="resume or reject")
        self.refused("DELETE", QUEUE + "?force=true&confirm=canon.Person.parked", status=409, code="conflict", words="resume or reject")
        self.refused("PUT", QUEUE, {"manual": False}, status=409, code="conflict", words="manual")
        self.refused("POST", QUEUE + "/messages", {"a": 1}, status=409, code="conflict", words="resume or reject")
        self.refused("POST", "/api/tx", {"ops": [{"op": "send", "queue": "canon.Person.parked", "body": 1}]}, status=409, code="conflict")
        self.ok("PUT", "/api/queues/%2F/desk2", {}, 201)
        other = self.ok("POST", "/api/queues/%2F/desk2/messages", {"x": 1}, 201).json["id"]
        moved = self.ok("POST", "/api/queues/%2F/desk2/move", {"ids": [other], "to": "canon.Person.parked"}).json
        self.assertEqual(moved["counts"]["failed"], 1)
        self.assertEqual(self.record(id)["state"], "available")

    def test_what_people_say_of_a_record(self):  # R1 R3
        id = self.park("6")
        path = f"{QUEUE}/messages/{id}"
        self.ok("PATCH", path, {"owner": "ana", "due": "1d", "snooze": "3d"})
        r = self.record(id)
        self.assertEqual((r["owner"], r["state"], r["overdue"]), ("ana", "scheduled", False))
        self.assertIn(id, [x["id"] for x in self.ok("GET", QUEUE + "/messages?state=scheduled&limit=100").json["items"]])
        self.ok("PATCH", path, {"snooze": None, "owner": None})
        r = self.record(id)
        self.assertEqual((r.get("owner"), r["state"]), (None, "available"))
        self.ok("PATCH", path, {"due": None})
        self.assertNotIn("due", self.record(id))
        for body, words in (({}, "owner"), ({"owner": ""}, "owner"), ({"owner": 7}, "owner"), ({"owner": "x" * 129}, "owner"),
                            ({"due": "soon"}, "due"), ({"snooze": True}, "snooze"), ({"due": "2999-01-01T00:00:00Z"}, "due"),
                            ({"ownr": "x"}, "ownr")):
            self.refused("PATCH", path, body, words=words)
        self.ok("PUT", "/api/queues/%2F/machine", {}, 201)
        m = self.ok("POST", "/api/queues/%2F/machine/messages", {"x": 1}, 201).json["id"]
        self.refused("PATCH", f"/api/queues/%2F/machine/messages/{m}", {"owner": "ana"}, status=409, code="conflict", words="manual")
        self.refused("PUT", "/api/queues/%2F/machine", {"due": "1d"}, words="manual")

    def test_a_queue_of_scripts_has_a_due_time_too(self):
        self.assertEqual(self.ok("GET", "/api/queues/%2F/desk").json["options"]["due"], "2d")
        id = self.ok("POST", "/api/queues/%2F/desk/messages", {"x": 1}, 201).json["id"]
        self.assertFalse(self.record(id, "/api/queues/%2F/desk")["overdue"])

    def test_what_is_said_of_its_queue_stands_and_what_is_not_said_stays(self):
        queue = "/api/queues/%2F/canon.Ship.parked"
        def park(source_id):
            return self.ok("POST", f"/api/canon/ship?source_id={source_id}", {"name": "?"}, 202, X_Canon_Origin="port").json["arrival"]
        def options():
            o = self.ok("GET", queue).json["options"]
            return {name: o[name] for name in ("manual", "due", "keep_completed", "keep_count", "overflow")}
        said = {"manual": True, "due": "7d", "keep_completed": "30d", "keep_count": 10000, "overflow": "refuse"}
        self.ok("PUT", queue, {"manual": True, "due": "7d"}, 201)
        id, other = park("1"), park("2")
        self.assertEqual(options(), said)
        self.ok("POST", f"/api/canon/ship/parked/{id}/resume", {"name": "Argo"}, 200)
        self.ok("PUT", queue, {"manual": True, "due": "3d"})  # as the guide has it
        self.assertEqual(options(), {**said, "due": "3d"})
        self.assertEqual(self.record(id, queue)["state"], "completed")
        self.ok("PUT", queue, {"manual": True, "keep_completed": "60d", "keep_count": 5, "overflow": "drop_oldest"})
        self.ok("PUT", queue, {"manual": True, "due": "9d"})
        self.assertEqual(options(), {"manual": True, "due": "9d", "keep_completed": "60d", "keep_count": 5, "overflow": "drop_oldest"})
        self.assertEqual((self.record(id, queue)["state"], self.record(other, queue)["state"]), ("completed", "available"))

    def test_what_is_overdue_is_counted_and_shown(self):
        id = self.park("7")
        self.ok("PATCH", f"{QUEUE}/messages/{id}", {"due": "2020-01-01T00:00:00Z"})
        end = time.monotonic() + 20
        while not self.record(id)["overdue"]:
            self.assertLess(time.monotonic(), end)
            time.sleep(0.02)
        self.assertGreaterEqual(self.ok("GET", QUEUE).json["overdue"], 1)
        while True:
            health = self.ok("GET", "/health").json
            queues = next(c for c in health["components"] if c["name"] == "queues")
            if queues["facts"]["overdue"] > 0 and 'koan_queue_overdue{tenant="default",queue="canon.Person.parked"} ' in \
                    self.ok("GET", "/metrics").body.decode():
                break
            self.assertLess(time.monotonic(), end, queues)
            time.sleep(0.1)
        self.assertIn("canon.Person.parked", queues["message"])
        self.ok("POST", f"{MODEL}/parked/{id}/reject", {"reason": "late"})

    def test_an_erased_source_takes_its_records_along(self):
        self.ok("POST", MODEL + "?source_id=8", {"phone": "8"}, X_Canon_Origin="crm")
        ids = [self.park("8", name=n) for n in ("a", "b")]
        self.ok("DELETE", f"{MODEL}/sources/crm/8?erase=true&confirm=8")
        for id in ids:
            self.refused("GET", f"{QUEUE}/messages/{id}", status=404, code="not_found")
            self.assertEqual(self.ok("GET", f"{MODEL}/arrivals/{id}").json["outcome"], "withdrawn")
        self.assertFalse(set(ids) & self.parked_ids())

    def test_a_queued_arrival_that_parks_is_a_record_of_both_queues(self):
        q = self.ok("POST", MODEL + "?mode=queue&source_id=9", {"phone": "9", "city": "Nowhere"}, 202, X_Canon_Origin="crm").json
        end, base = time.monotonic() + 20, "/api/queues/%2F/canon.Person"
        while (r := self.record(q["record"], base))["state"] != "completed":
            self.assertLess(time.monotonic(), end, r)
            time.sleep(0.02)
        self.assertEqual(r["result"]["outcome"], "parked")
        self.assertEqual(self.record(r["result"]["arrival"])["body"]["source_id"], "9")

    def test_people_work_on_the_command_line(self):
        ids = [self.park(f"c{i}", phone=f"77{i}") for i in range(2)]

        def koan(*args):
            code, out, err = run(*args, "--url", self.server.url)
            self.assertEqual(code, 0, err)
            return out

        self.assertIn("canon.Person.parked", koan("queue", "ls"))
        self.assertIn(ids[0], koan("queue", "peek", "canon.Person.parked", "--limit", "100"))
        koan("queue", "edit", "canon.Person.parked", ids[0], "--owner", "ana", "--due", "3d", "--snooze", "1h")
        shown = json.loads(koan("queue", "show", "canon.Person.parked", ids[0], "--json"))
        self.assertEqual((shown["owner"], shown["state"]), ("ana", "scheduled"))
        koan("queue", "edit", "canon.Person.parked", ids[0], "--snooze", "none", "--owner", "none")
        self.assertEqual(self.record(ids[0])["state"], "available")
        self.assertEqual(run("queue", "edit", "canon.Person.parked", ids[0], "--url", self.server.url)[0], 2)
        self.assertEqual(koan("canon", "reject", "Person", ids[0], "not ours", "--parked"), f"{ids[0]} rejected\n")
        self.assertEqual(self.record(ids[0])["state"], "cancelled")
        koan("canon", "resume", "Person", ids[1], '{"city": "Faro"}')
        self.assertEqual(self.record(ids[1])["state"], "completed")


class Dying(Case):
    def test_a_run_that_resumes_goes_on_after_a_stop_and_after_a_kill(self):  # C1 Q2
        """Each arrival goes on once, and the patch reaches all of them."""
        self.write("scripts/app.lua", Many.APP)
        count = 6000

        def begin():
            node = self.node("--scripts", self.path("scripts"))
            return node, node.client()

        def resumed(c):
            return c("GET", QUEUE).json["completed"]

        node, c = begin()
        for i in range(0, count, 1000):
            items = [{"source_id": str(i + k), "data": {"phone": str(100000 + i + k), "name": "D"}} for k in range(1000)]
            a = c("POST", MODEL + "/bulk", items, {"X-Canon-Origin": "crm"}).json
            self.assertEqual(a["counts"]["parked"], 1000)
        id = c("POST", MODEL + "/parked/resume", {"state": "available", "patch": {"city": "Tomar"}}).json["id"]
        for ends in ("stop", "kill"):
            before, end = resumed(c), time.monotonic() + 60
            while resumed(c) <= before and time.monotonic() < end:
                pass
            if ends == "stop":
                self.assertEqual(node.stop(), 0)
            else:
                node.kill()
            node, c = begin()
        end = time.monotonic() + 120
        while (r := c("GET", f"/api/jobs/{id}?wait=5s").json)["state"] != "completed":
            self.assertLess(time.monotonic(), end, r)
        self.assertEqual((r["result"]["failed"], resumed(c)), (0, count), r)
        s = c("GET", MODEL + "/summary").json
        self.assertEqual((s["golden"], s["sources"]["crm"].get("parked", 0), s["sources"]["crm"]["resumed"]), (count, 0, count))
        lines = c("GET", "/api/person", None, {"Accept": "application/x-ndjson"}).body.splitlines()
        self.assertEqual({json.loads(x)["city"] for x in lines}, {"Tomar"})
        self.assertEqual(node.stop(), 0)


class Killed(Case):
    """kill -9 while arrivals park, are resumed, rejected and given owners: canon and the queue say the same."""

    def begin(self):
        self.server = self.node("--scripts", self.path("scripts"))
        return self.server.client()

    def agree(self, c):
        parked, waiting, after = set(), set(), ""
        while page := c("GET", f"{MODEL}/parked?limit=500&after={after}").json:
            parked |= {p["id"] for p in page}
            after = page[-1]["id"]
        for state in ("available", "scheduled"):
            after = 0
            while after is not None:
                page = c("GET", f"{QUEUE}/messages?state={state}&limit=100&after={after}").json
                waiting |= {x["id"] for x in page["items"]}
                after = page["next"]
        self.assertEqual(parked, waiting)
        q = c("GET", QUEUE).json
        summary = c("GET", MODEL + "/summary").json["sources"]["crm"]
        self.assertEqual((q["messages_ready"] + q["scheduled"], q["completed"], q["cancelled"]),
                         (summary.get("parked", 0), summary.get("resumed", 0), summary.get("rejected", 0)))
        return parked

    def test_canon_and_the_queue_agree_whatever_is_killed(self):  # C1 L1 Q2
        self.write("scripts/app.lua", PEOPLE)
        c, rng, n = self.begin(), random.Random(3), 0
        for round in range(5):
            stop = threading.Event()

            def work(seed):
                r, mine = random.Random(seed), self.server.client()
                while not stop.is_set():
                    try:
                        ids = [p["id"] for p in mine("GET", MODEL + "/parked?limit=50").json]
                        what, id = r.randrange(4), r.choice(ids) if ids else None
                        if what == 0 or id is None:
                            k = r.randrange(10 ** 6)
                            mine("POST", MODEL + "/bulk", [{"origin": "crm", "source_id": f"s{k}-{i}", "data": {"phone": f"{k}{i}", "city": "Nowhere"}} for i in range(4)])
                        elif what == 1:
                            mine("POST", f"{MODEL}/parked/{id}/resume", {"city": r.choice(["Porto", "Nowhere"]), "name": str(r.random())})
                        elif what == 2:
                            mine("POST", f"{MODEL}/parked/{id}/reject", {"reason": "no"})
                        else:
                            mine("PATCH", f"{QUEUE}/messages/{id}", {"owner": "ana", "snooze": "1h"})
                    except (OSError, ValueError, AttributeError, KeyError, TypeError):
                        return  # killed

            threads = [threading.Thread(target=work, args=(10 * round + i,)) for i in range(3)]
            for t in threads:
                t.start()
            time.sleep(rng.uniform(0.2, 0.7))
            self.server.kill()
            stop.set()
            for t in threads:
                t.join()
            c = self.begin()
            n = max(n, len(self.agree(c)))
        self.assertGreater(n, 0)
        self.assertEqual(self.server.stop(), 0)


if __name__ == "__main__":
    unittest.main()
