"""Arrivals that are worked later: stored as messages, worked once whatever crashes, held for a person with mode=stage."""
import json
import random
import time
import unittest

from e2e.node import App, Case, run

PEOPLE = """
entity "Person" {
  fields = { name = text { max = 40 }, email = email {}, phone = text {}, city = text {}, seen = list { text } },
}
entity "Note" { fields = { text = text {} } }
canon "Person" {
  sources = { erp = { rank = 1 }, crm = { rank = 2 }, web = { rank = 3 } },
  keys    = { "email:email", "phone:digits" },
  policy  = { name = "latest", city = "latest", seen = "union" },
  stages  = {
    validate = function(a, ctx)
      if a.city == "Nowhere" then ctx:park("NO_CITY", { hint = "which?" }) end
      if a.city == "Hell" then ctx:reject("no_such_city", "nobody lives there") end
    end,
  },
}
route "POST /arrive" { run = function(req)
  local q = req.json
  local r = canon("Person"):arrive(q.data, { origin = q.origin, source_id = q.source_id, mode = q.mode, tags = q.tags })
  if q.fails then error("after the arrival") end
  entity "Note".new { text = r.record }:save()
  return r
end }
"""
MODEL = "/api/canon/person"
QUEUE = "/api/queues/%2F/canon.Person"
FINAL = ("completed", "discarded", "cancelled")


class Queued(App):
    APP = PEOPLE

    def arrive(self, origin, source_id, mode="queue", status=202, **data):
        path = f"{MODEL}?mode={mode}" + (f"&source_id={source_id}" if source_id else "")
        return self.ok("POST", path, data, status, X_Canon_Origin=origin).json

    def record(self, id, queue=QUEUE):
        return self.ok("GET", f"{queue}/messages/{id}").json

    def ended(self, id, queue=QUEUE, seconds=20):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            r = self.record(id, queue)
            if r["state"] in FINAL:
                return r
            time.sleep(0.01)
        raise AssertionError(f"it has not ended: {r}")

    def person(self, email):
        found = self.ok("GET", "/api/person?filter=" + json.dumps({"email": email}).replace(" ", "")).json
        self.assertEqual(len(found), 1, found)
        return found[0]

    def test_an_arrival_is_stored_and_then_worked(self):
        a = self.ok("POST", MODEL + "?mode=queue&source_id=a1", {"name": "Ann", "email": "ann@example.org"}, 202,
                    X_Canon_Origin="crm", X_Correlation_ID="corr-a1")
        self.assertEqual((a.json["outcome"], a.json["queue"]), ("queued", "canon.Person"))
        self.assertEqual(a.headers["Location"], f"{QUEUE}/messages/{a.json['record']}")
        r = self.ended(a.json["record"])
        self.assertEqual((r["state"], r["lane"], r["key"], r["correlation"]), ("completed", "canon", "crm/a1", "corr-a1"))
        g = self.person("ann@example.org")
        self.assertEqual((r["result"]["outcome"], r["result"]["id"]), ("canonized", g["id"]))
        self.assertEqual((g["name"], g["version"]), ("Ann", 1))
        stored = self.ok("GET", f"{MODEL}/arrivals/{r['result']['arrival']}").json
        self.assertEqual((stored["origin"], stored["source_id"]), ("crm", "a1"))

    def test_a_repeat_is_a_noop_directly_and_queued(self):  # C5
        data = {"name": "Cy", "email": "cy@example.org"}
        one, two = (self.arrive("crm", "c1", **data)["record"] for _ in range(2))
        self.assertEqual(self.ended(one)["result"]["outcome"], "canonized")
        r = self.ended(two)
        self.assertEqual((r["state"], r["result"]["outcome"], r["result"]["reason"]), ("completed", "noop", "REPEAT"))
        direct = self.ok("POST", MODEL + "?source_id=c1", data, X_Canon_Origin="crm").json
        self.assertEqual((direct["outcome"], direct["reason"]), ("noop", "REPEAT"))
        text = b'{"name": "Cy",\n "email": "cy\\u0040example.org"}'  # the same, written otherwise
        again = self.ok("POST", MODEL + "?mode=queue&source_id=c1", text, 202, X_Canon_Origin="crm").json
        self.assertEqual(self.ended(again["record"])["result"]["reason"], "REPEAT")

    def test_a_parked_one_acks_and_goes_on_as_any_other(self):
        r = self.ended(self.arrive("crm", "p1", email="p1@example.org", city="Nowhere")["record"])
        self.assertEqual((r["state"], r["result"]["outcome"], r["result"]["reason"]), ("completed", "parked", "NO_CITY"))
        resumed = self.ok("POST", f"{MODEL}/parked/{r['result']['arrival']}/resume", {"city": "Rome"}).json
        self.assertEqual(resumed["outcome"], "canonized")

    def test_a_failed_one_is_a_dead_letter_that_can_be_corrected(self):
        id = self.arrive("crm", "f1", name="Fay", email="no address")["record"]
        r = self.ended(id)
        self.assertEqual((r["state"], r["reason"], r["attempt"]), ("discarded", "rejected", 1))
        self.assertIn("email", r["error"])
        body = r["body"]
        body["data"]["email"] = "fay@example.org"
        self.ok("PATCH", f"{QUEUE}/messages/{id}", {"body": body})
        self.ok("POST", f"{QUEUE}/retry", {"ids": [id]})
        self.assertEqual(self.ended(id)["result"]["outcome"], "canonized")
        self.assertEqual(self.person("fay@example.org")["name"], "Fay")

    def test_a_dead_letter_that_is_only_retried_fails_again(self):
        id = self.arrive("crm", "f2", email="f2@example.org", city="Hell")["record"]
        self.assertIn("no_such_city", self.ended(id)["error"])
        self.ok("POST", f"{QUEUE}/retry", {"ids": [id]})
        end = time.monotonic() + 20
        while (r := self.record(id))["state"] != "discarded" or r["deliveries"] < 2:
            self.assertLess(time.monotonic(), end, r)
            time.sleep(0.01)

    def test_what_a_source_says_is_worked_in_its_order(self):  # Q5
        records = [self.arrive("web", "o1", email="o1@example.org", name=f"version {i}")["record"] for i in range(30)]
        for id in records:
            self.assertEqual(self.ended(id)["result"]["outcome"], "canonized")
        self.assertEqual(self.person("o1@example.org")["version"], 30)
        self.assertEqual(self.person("o1@example.org")["name"], "version 29")

    def test_the_time_of_arrival_is_when_it_came_not_when_it_was_worked(self):
        self.ok("POST", QUEUE + "/pause")
        try:
            early = self.arrive("crm", "t1", email="t@example.org", city="early")["record"]
            time.sleep(0.05)
            self.ok("POST", MODEL + "?source_id=t2", {"email": "t@example.org", "city": "late"}, X_Canon_Origin="erp")
        finally:
            self.ok("POST", QUEUE + "/resume")
        self.ended(early)
        self.assertEqual(self.person("t@example.org")["city"], "late")

    def test_many_are_stored_in_units_of_a_hundred(self):
        rows = [{"source_id": i, "data": {"name": f"N{i}", "phone": f"77000{i}"}} for i in range(250)]
        lines = "\n".join(map(json.dumps, rows))
        a = self.ok("POST", MODEL + "/bulk?mode=queue", lines, 202, Content_Type="application/x-ndjson", X_Canon_Origin="erp")
        self.assertEqual(a.json["counts"], {"queued": 250, "failed": 0})
        self.assertEqual(len({r["record"] for r in a.json["results"]}), 250)
        for r in a.json["results"]:
            self.assertEqual(self.ended(r["record"])["result"]["outcome"], "canonized")
        found = self.ok("GET", "/api/person?filter=" + json.dumps({"phone": {"$contains": "77000"}}).replace(" ", ""), Accept="application/x-ndjson")
        self.assertEqual(len(found.body.splitlines()), 250)

    def test_a_key_makes_many_have_one_effect(self):  # R2
        rows = [{"source_id": f"k{i}", "data": {"phone": f"88000{i}"}} for i in range(150)]
        first, again = (self.ok("POST", MODEL + "/bulk?mode=queue", rows, 202, X_Canon_Origin="erp", Idempotency_Key="q-bulk")
                        for _ in range(2))
        self.assertEqual(again.headers["Idempotency-Replayed"], "true")
        self.assertEqual(first.json, again.json)
        one, two = (self.ok("POST", MODEL + "?mode=queue&source_id=k", {"phone": "99"}, 202, X_Canon_Origin="erp",
                            Idempotency_Key="q-one") for _ in range(2))
        self.assertEqual((one.json, two.headers["Idempotency-Replayed"]), (two.json, "true"))

    def test_what_cannot_be_an_arrival_is_refused_at_once(self):  # R1 R3
        self.refused("POST", MODEL + "?mode=queu", {"name": "x"}, words="did you mean 'queue'", X_Canon_Origin="crm")
        self.refused("POST", MODEL + "?mode=queue", {"name": "x"}, words="did you mean 'crm'", X_Canon_Origin="crn")
        self.refused("POST", MODEL + "?mode=queue", [1], words="object", X_Canon_Origin="crm")
        a = self.ok("POST", MODEL + "/bulk?mode=queue", [{"data": {"phone": "5"}}, {"origin": "zz", "data": {}}], 202, X_Canon_Origin="crm")
        self.assertEqual(a.json["counts"], {"queued": 1, "failed": 1})
        self.assertIn("'zz'", a.json["results"][1]["error"]["detail"])
        self.assertEqual(self.ended(a.json["results"][0]["record"])["result"]["outcome"], "canonized")
        a = self.ok("POST", MODEL + "/bulk?mode=queue", [{"origin": "zz", "data": {}}])
        self.assertEqual(a.json["counts"], {"queued": 0, "failed": 1})
        self.refused("POST", MODEL + "/bulk?mode=stage", [{"data": {"phone": "1"}, "zz": 1}], words="zz", X_Canon_Origin="crm")

    def test_a_message_that_is_no_arrival_is_a_dead_letter(self):
        for body, reason, words in (({"origin": "crm"}, "undecodable", "data"), ({"origin": "zz", "data": {}}, "rejected", "zz"),
                                    ([1], "undecodable", "object"),
                                    ({"origin": "crm", "data": {"phone": "4"}, "zz": 1}, "undecodable", "zz")):
            id = self.ok("POST", QUEUE + "/messages", body, 201).json["id"]
            r = self.ended(id)
            self.assertEqual((r["state"], r["reason"]), ("discarded", reason), r)
            self.assertIn(words, r["error"])

    def test_an_arrival_in_a_unit_with_others(self):
        ops = [{"op": "entity.save", "entity": "note", "id": "tx1", "value": {"text": "with it"}},
               {"op": "canon.arrive", "model": "Person", "mode": "queue", "origin": "crm", "source_id": "tx1",
                "data": {"email": "tx1@example.org"}}]
        a = self.ok("POST", "/api/tx", {"ops": ops}, Idempotency_Key="q-tx")
        again = self.ok("POST", "/api/tx", {"ops": ops}, Idempotency_Key="q-tx")
        r = a.json["results"][1]
        self.assertEqual((r["op"], r["outcome"]), ("canon.arrive", "queued"))
        self.assertEqual(again.json, a.json)
        self.assertEqual(self.ended(r["record"])["result"]["outcome"], "canonized")
        ops[0]["if_absent"] = True
        ops[1]["data"]["email"] = "tx2@example.org"
        self.ok("POST", "/api/tx", {"ops": ops}, 412)
        self.refused("POST", "/api/tx", {"ops": [dict(ops[1], origin="zz")]}, words="operation 0")
        self.refused("POST", "/api/tx", {"ops": [dict(ops[1], model="Persn")]}, 404, "not_found", "Person")
        self.refused("POST", "/api/tx", {"ops": [dict(ops[1], mode="later")]}, words="mode")
        time.sleep(0.2)
        self.assertEqual(self.ok("GET", "/api/person?filter=" + json.dumps({"email": "tx2@example.org"}).replace(" ", "")).json, [])

    def test_an_arrival_of_a_script_is_of_its_unit(self):
        ask = {"origin": "crm", "source_id": "l1", "mode": "queue", "data": {"email": "l1@example.org"}, "tags": {"a": "1"}}
        self.ok("POST", "/arrive", dict(ask, fails=True, data={"email": "l2@example.org"}), 500)
        r = self.ok("POST", "/arrive", ask).json
        self.assertEqual((r["outcome"], r["queue"]), ("queued", "canon.Person"))
        done = self.ended(r["record"])
        self.assertEqual(done["result"]["outcome"], "canonized")
        self.assertEqual(self.ok("GET", f"{MODEL}/arrivals/{done['result']['arrival']}").json["tags"], {"a": "1"})
        self.assertEqual(self.ok("GET", "/api/person?filter=" + json.dumps({"email": "l2@example.org"}).replace(" ", "")).json, [])
        self.ok("POST", "/arrive", dict(ask, mode="later"), 500)
        self.ok("POST", "/arrive", dict(ask, origin="zz"), 400)

    def test_scripts_leave_these_queues_to_canon(self):
        for text in ('queue "canon.Person" {}', 'on "queue/canon.Person" { run = function() end }'):
            a = self.c("POST", "/api/cluster/scripts", {"files": {"a.lua": text}})
            self.assertEqual(a.status, 422, a.body)
            self.assertIn("canon's", a.json["detail"])

    def test_a_file_is_imported_to_be_worked_later(self):
        path = self.house.write("people.ndjson", "".join(json.dumps({"name": f"i{i}", "phone": f"66000{i}"}) + "\n" for i in range(120)))
        how = ["import", path, "--canon", "Person", "--origin", "erp", "--source-id", "name", "--url", self.server.url]
        code, out, err = run(*how, "--mode", "queue", "--json")
        self.assertEqual((code, json.loads(out)["outcomes"]), (0, {"queued": 120}), err)
        end = time.monotonic() + 20
        while (n := len(self.ok("GET", "/api/person?filter=" + json.dumps({"phone": {"$contains": "66000"}}).replace(" ", ""),
                                Accept="application/x-ndjson").body.splitlines())) < 120:
            self.assertLess(time.monotonic(), end, n)
            time.sleep(0.05)
        code, out, err = run(*how, "--mode", "later")
        self.assertEqual(code, 2, out)
        self.assertIn("--mode", err)

    # --- for a person ---

    def test_a_staged_one_waits_is_corrected_and_let_in(self):
        staged = QUEUE + ".staged"
        id = self.arrive("crm", "s1", mode="stage", name="Sue", email="sue@exmple.org")["record"]
        listed = self.ok("GET", staged + "/messages").json["items"]
        mine = next(r for r in listed if r["id"] == id)
        self.assertEqual((mine["state"], mine["waiting_for"]["what"]), ("available", "people"))
        body = mine["body"]
        body["data"]["email"] = "sue@example.org"
        self.ok("PATCH", f"{staged}/messages/{id}", {"body": body})
        a = self.ok("POST", f"{MODEL}/staged/{id}/approve", status=202)
        self.assertEqual(a.json, {"outcome": "queued", "record": id, "queue": "canon.Person"})
        self.assertEqual(self.ended(id)["result"]["outcome"], "canonized")
        self.assertEqual(self.person("sue@example.org")["name"], "Sue")
        self.refused("POST", f"{MODEL}/staged/{id}/approve", status=404, code="not_found")

    def test_a_staged_one_is_rejected_with_a_reason(self):
        id = self.arrive("crm", "s2", mode="stage", email="s2@example.org")["record"]
        self.refused("POST", f"{MODEL}/staged/{id}/reject", {}, words="reason")
        self.refused("POST", f"{MODEL}/staged/{id}/reject", {"reason": "x", "zz": 1}, words="zz")
        one, two = (self.ok("POST", f"{MODEL}/staged/{id}/reject", {"reason": "a test"}, Idempotency_Key="rej") for _ in range(2))
        self.assertEqual((one.json["outcome"], two.json), ("rejected", one.json))
        r = self.record(id, QUEUE + ".staged")
        self.assertEqual((r["state"], r["body"]["rejected"]["reason"]), ("cancelled", "a test"))
        self.refused("POST", f"{MODEL}/staged/{id}/approve", status=409, code="conflict")
        self.refused("POST", f"{MODEL}/staged/{id}/reject", {"reason": "again"}, status=409, code="conflict")
        other = self.arrive("crm", "s3", email="s3@example.org")["record"]
        self.refused("POST", f"{MODEL}/staged/{other}/reject", {"reason": "x"}, status=404, code="not_found")
        self.refused("POST", f"{MODEL}/staged/x/approve", words="UUID")

    def test_people_decide_on_the_command_line(self):
        ids = [self.arrive("crm", f"cli{i}", mode="stage", email=f"cli{i}@example.org")["record"] for i in range(2)]
        code, out, err = run("canon", "staged", "Person", "--url", self.server.url)
        self.assertEqual(code, 0, err)
        self.assertIn(ids[0], out)
        self.assertIn("cli1@example.org", out)
        code, out, err = run("canon", "approve", "Person", ids[0], "--url", self.server.url)
        self.assertEqual((code, out), (0, f"{ids[0]} queued\n"), err)
        code, out, err = run("canon", "reject", "Person", ids[1], "not ours", "--url", self.server.url)
        self.assertEqual((code, out), (0, f"{ids[1]} rejected\n"), err)
        self.assertEqual(self.ended(ids[0])["result"]["outcome"], "canonized")
        self.assertEqual(self.record(ids[1], QUEUE + ".staged")["body"]["rejected"]["reason"], "not ours")
        self.assertEqual(run("canon", "approve", "Person", ids[1], "--url", self.server.url)[0], 1)


class Killed(Case):
    """kill -9 in the middle of two thousand arrivals."""

    def test_each_queued_arrival_is_worked_once_whatever_is_killed(self):  # C1 C2 C5 L1 Q2
        self.write("scripts/app.lua", PEOPLE)
        count, groups = 2000, 500  # four sources of each person
        rows = [{"origin": "erp", "source_id": f"s{i}", "data": {"name": f"P{i % groups}", "phone": f"1{i % groups:05}", "seen": [str(i)]}}
                for i in range(count)]
        random.Random(7).shuffle(rows)
        node = self.node("--scripts", self.path("scripts"))
        c = node.client()
        records = []
        for i in range(0, count, 500):
            a = c("POST", MODEL + "/bulk?mode=queue", rows[i:i + 500])
            self.assertEqual(a.status, 202, a.body)
            records += [r["record"] for r in a.json["results"]]
        kills, seen = 0, []
        while kills < 4:
            left = self.left(c)
            seen.append(left)
            node.kill()
            kills += left > 0
            node = self.node("--scripts", self.path("scripts"))
            c = node.client()
            time.sleep(random.Random(kills).uniform(0.01, 0.1))
            if left == 0:
                break
        self.assertGreater(kills, 0, seen)
        end = time.monotonic() + 90
        while self.left(c) > 0:
            self.assertLess(time.monotonic(), end, self.left(c))
            time.sleep(0.1)
        q = c("GET", QUEUE).json
        self.assertEqual((q["completed"], q["discarded"]), (count, 0), (q, seen))
        outcomes = [c("GET", f"{QUEUE}/messages/{id}").json["result"] for id in records]
        self.assertEqual({r["outcome"] for r in outcomes}, {"canonized"})
        self.assertEqual(len({r["arrival"] for r in outcomes}), count)
        self.assertEqual(len({r["id"] for r in outcomes}), groups)
        # Each was stored once, with what the record says of it.
        summary = c("GET", MODEL + "/summary").json
        self.assertEqual((summary["sources"]["erp"]["arrivals"], summary["sources"]["erp"]["canonized"]), (count, count))
        self.assertEqual((summary["golden"], summary["merged"]), (groups, 0))
        people = [json.loads(line) for line in c("GET", "/api/person", None, {"Accept": "application/x-ndjson"}).body.splitlines()]
        self.assertEqual((len(people), {(p["version"], len(p["seen"])) for p in people}), (groups, {(4, 4)}))
        self.assertEqual(node.stop(), 0)

    def left(self, c):
        q = c("GET", QUEUE).json
        return q["messages"] + q["scheduled"] + q["retryable"]

    def test_a_stop_in_the_middle_hands_back_what_is_not_done(self):
        self.write("scripts/app.lua", PEOPLE)
        node, count, stops = self.node("--scripts", self.path("scripts")), 1000, 0
        c = node.client()
        rows = [{"origin": "erp", "source_id": f"s{i}", "data": {"phone": f"3{i:05}"}} for i in range(count)]
        self.assertEqual(c("POST", MODEL + "/bulk?mode=queue", rows).json["counts"]["queued"], count)
        end = time.monotonic() + 60
        while (left := self.left(c)) > 0:
            self.assertLess(time.monotonic(), end, left)
            if stops < 3:
                stops += 1
                self.assertEqual(node.stop(), 0)
                node = self.node("--scripts", self.path("scripts"))
                c = node.client()
            time.sleep(0.02)
        self.assertGreater(stops, 0)
        q = c("GET", QUEUE).json
        self.assertEqual((q["completed"], q["discarded"], q["message_stats"]["nack"]), (count, 0, 0))
        erp = c("GET", MODEL + "/summary").json["sources"]["erp"]
        self.assertEqual((erp["arrivals"], erp["canonized"]), (count, count))
        self.assertEqual(node.stop(), 0)

    def test_a_folder_of_before_gets_its_queues(self):
        """Queues are declared where they are not, and left as an operator has made them."""
        self.write("scripts/app.lua", PEOPLE)
        node = self.node("--scripts", self.path("scripts"))
        c = node.client()
        self.assertEqual(c("DELETE", QUEUE).status, 204)
        self.assertEqual(c("PUT", QUEUE + ".staged", {"manual": True, "max": 1}).status, 200)
        self.assertEqual(node.stop(), 0)
        node = self.node("--scripts", self.path("scripts"))
        c = node.client()
        a = c("POST", MODEL + "?mode=queue&source_id=1", {"phone": "1"}, {"X-Canon-Origin": "erp"})
        self.assertEqual(a.status, 202, a.body)
        self.assertEqual(c("GET", QUEUE + ".staged").json["options"]["max"], 1)
        end = time.monotonic() + 20
        while self.left(c) > 0:
            self.assertLess(time.monotonic(), end)
            time.sleep(0.02)
        self.assertEqual(node.stop(), 0)


if __name__ == "__main__":
    unittest.main()
