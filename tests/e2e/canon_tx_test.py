"""canon.arrive in POST /api/tx without a mode: arrivals are worked at once, in one commit with the other operations."""
import json
import random
import threading
import time
import unittest

from e2e.node import App, Case

PEOPLE = """
entity "Person" { fields = { name = text { max = 40 }, email = email { unique = true }, phone = text {}, city = text {} } }
entity "Note"   { fields = { text = text {}, n = int {} } }
entity "Tally"  { fields = { n = int {} }, before_save = function(e, prior, ctx)
  e.n = (prior and prior.n or 0) + 1
end }
canon "Person" {
  sources = { erp = { rank = 1 }, crm = { rank = 2 } },
  keys    = { "email:email", "phone:digits" },
  stages  = {
    validate = function(a, ctx)
      if a.city == "Nowhere" then ctx:park("NO_CITY", { hint = "which?" }) end
      if a.city == "Hell" then ctx:reject("no_such_city", "nobody lives there") end
    end,
  },
}
entity "Place" { fields = { code = text {} } }
canon "Place" { sources = { erp = {} }, keys = { "code" } }
queue "tasks" { }
"""
MODEL = "/api/canon/person"


class Direct(App):
    APP = PEOPLE

    def tx(self, *ops, status=200, **headers):
        return self.ok("POST", "/api/tx", {"ops": list(ops)}, status, **headers)

    def arrive(self, source_id, origin="crm", **data):
        return {"op": "canon.arrive", "model": "Person", "origin": origin, "source_id": source_id, "data": data}

    def note(self, id, **more):
        return {"op": "entity.save", "entity": "note", "id": id, "value": {"text": id}, **more}

    def arrivals(self):
        s = self.ok("GET", MODEL + "/summary").json["sources"]
        return sum(x["arrivals"] for x in s.values())

    def test_arrival_record_message_and_settle_are_one_commit(self):
        self.ok("POST", "/api/queues/%2F/tasks/messages", {"x": 1}, 201)
        m = self.ok("POST", "/api/queues/%2F/tasks/lease", {"max": 1}).json["messages"][0]
        a = self.tx(self.note("n1", if_absent=True), self.arrive("1", name="Ann", email="ann@example.org"),
                    {"op": "send", "queue": "tasks", "body": 7, "delay": "1h"},
                    {"op": "kv.put", "key": "k1", "value": 1},
                    {"op": "settle", "queue": "tasks", "id": m["id"], "token": m["token"], "outcome": "ack"})
        r = a.json["results"]
        self.assertEqual([x["op"] for x in r], ["entity.save", "canon.arrive", "send", "kv.put", "settle"])
        self.assertEqual((r[0]["outcome"], r[0]["version"], r[1]["outcome"], r[2]["outcome"]), ("created", 1, "canonized", "sent"))
        p = self.ok("GET", "/api/person/" + r[1]["id"]).json
        self.assertEqual(p["name"], "Ann")
        n = self.ok("GET", "/api/note/n1").json
        self.assertEqual(n["created_at"], p["created_at"])  # one entry has one time
        self.assertEqual(self.ok("GET", f"{MODEL}/arrivals/{r[1]['arrival']}").json["outcome"], "canonized")
        self.ok("GET", f"/api/queues/%2F/tasks/messages/{m['id']}", status=404)
        self.assertEqual(self.ok("GET", f"/api/queues/%2F/tasks/messages/{r[2]['id']}").json["body"], 7)
        seq = int(a.headers["X-Koan-Seq"])
        self.assertGreater(seq, 0)

    def test_what_does_not_hold_undoes_the_arrival_too_and_is_named(self):  # H2 R1
        self.tx(self.note("f1"))
        before = self.arrivals()
        for ops, at, status in (
                ([self.arrive("f1", email="f1@example.org"), self.note("f1", if_absent=True)], 1, 412),
                ([self.note("f2"), self.arrive("f1", email="f1@example.org"), self.note("f3", if_version=4)], 2, 412),
                ([self.arrive("f1", email="f1@example.org"), {"op": "entity.check", "entity": "note", "id": "f1", "version": 9}], 1, 412),
                ([self.note("f2"), self.arrive("f1", email="f1@example.org"), {"op": "send", "queue": "nosuch", "body": 1}], 2, 404)):
            p = self.tx(*ops, status=status).json
            self.assertEqual((p["failed_op"], p["status"]), (at, status), p)
        self.assertEqual(self.arrivals(), before)
        for id in ("f2", "f3"):
            self.ok("GET", "/api/note/" + id, status=404)

    def test_what_refuses_the_arrival_refuses_all(self):
        self.ok("POST", MODEL + "?source_id=u1", {"email": "u1@example.org", "phone": "901"}, X_Canon_Origin="crm")
        for op, status, words in ((self.arrive("u2", origin="zz", email="a@example.org"), 400, "zz"),
                                  (dict(self.arrive("u2"), data=7), 400, "data"),
                                  (dict(self.arrive("u2"), model="Persn"), 404, "Person"),
                                  (dict(self.arrive("u2"), zz=1), 400, "zz")):
            p = self.tx(self.note("u2"), op, status=status).json
            self.assertEqual(p["failed_op"], 1, p)
            self.assertIn(words, p["detail"])
        place = {"op": "canon.arrive", "model": "Place", "origin": "erp", "source_id": "u4", "data": {"code": "u4"}}
        p = self.tx(self.arrive("u3", email="u3@example.org"), self.note("u2"), place, status=422).json
        self.assertEqual((p["code"], p["failed_op"]), ("unsupported", 2))
        for words in ("operation 0", "Person", "Place", "mode"):
            self.assertIn(words, p["detail"])
        p = self.tx(self.arrive("u3", email="u3@example.org"), dict(self.arrive("u4"), skip_distribution=True), status=422).json
        self.assertEqual((p["code"], p["failed_op"]), ("unsupported", 1))
        self.assertIn("distributed", p["detail"])
        self.ok("GET", "/api/note/u2", status=404)
        a = self.tx(self.arrive("u3", email="u3@example.org"), dict(self.arrive("u4", email="u4@example.org"), mode="queue")).json["results"]
        self.assertEqual([x["outcome"] for x in a], ["canonized", "queued"])

    def test_parked_and_failed_ones_answer_in_results(self):
        a = self.tx(self.note("p1"), self.arrive("p1", phone="801", city="Nowhere")).json["results"][1]
        self.assertEqual((a["outcome"], a["reason"]), ("parked", "NO_CITY"))
        self.assertEqual(self.ok("GET", f"/api/queues/%2F/canon.Person.parked/messages/{a['arrival']}").json["state"], "available")
        self.assertEqual(self.ok("GET", "/api/note/p1").json["text"], "p1")
        f = self.tx(self.note("p2"), self.arrive("p2", phone="802", city="Hell")).json["results"][1]
        self.assertEqual((f["outcome"], f["reason"]), ("failed", "no_such_city"))
        self.assertEqual(self.ok("GET", f"{MODEL}/arrivals/{f['arrival']}").json["outcome"], "failed")
        self.assertEqual(self.ok("GET", "/api/note/p2").json["text"], "p2")

    def test_an_exact_repeat_leaves_the_rest_to_itself(self):  # C5
        one = self.tx(self.arrive("r1", email="r1@example.org")).json["results"][0]
        two = self.tx(self.arrive("r1", email="r1@example.org"), self.note("r1")).json["results"]
        self.assertEqual((two[0]["outcome"], two[0]["reason"], two[0]["id"], two[1]["outcome"]), ("noop", "REPEAT", one["id"], "created"))
        three = self.tx(self.arrive("r1", email="r1@example.org"))
        self.assertEqual(three.json["results"][0]["outcome"], "noop")
        self.tx(self.arrive("r1", email="r1@example.org"), self.note("r1", if_absent=True), status=412)

    def test_a_key_makes_it_have_one_effect(self):  # R2
        before = self.arrivals()
        for i, (op, stored) in enumerate(((self.arrive("k1", email="k1@example.org"), 1), (self.arrive("k1", email="k1@example.org"), 0),
                                          (self.arrive("k2", phone="805", city="Nowhere"), 1), (self.arrive("k3", phone="806", city="Hell"), 1))):
            ops = [self.note(f"k{i}"), op, {"op": "publish", "topic": "done", "body": i}, {"op": "kv.put", "key": f"kk{i}", "value": 1}]
            one, two = (self.tx(*ops, Idempotency_Key=f"tx-{i}") for _ in range(2))
            self.assertEqual((two.json, two.headers["Idempotency-Replayed"]), (one.json, "true"))
            before += stored
            self.assertEqual(self.arrivals(), before)
            self.assertEqual(self.ok("GET", f"/api/note/k{i}").json["version"], 1)
        self.refused("POST", "/api/tx", {"ops": [self.note("zz")]}, 422, "rejected", Idempotency_Key="tx-0")

    def test_several_of_one_model_are_worked_in_their_order_in_one_commit(self):  # C1
        before = self.arrivals()
        a = self.tx(self.arrive("m1", email="m1@example.org"), self.note("m1"), self.arrive("m2", phone="811"),
                    self.arrive("m3", origin="erp", email="m1@example.org", phone="811", name="Mo"),
                    self.arrive("m4", phone="812", city="Nowhere"), self.arrive("m5", phone="813", city="Hell"),
                    self.arrive("m2", phone="811"))
        one, note, two, both, parked, failed, again = a.json["results"]
        self.assertEqual([x["outcome"] for x in (one, two, both, parked, failed, again)],
                         ["canonized", "canonized", "canonized", "parked", "failed", "noop"])
        self.assertNotEqual(one["id"], two["id"])
        self.assertIn(both["id"], (one["id"], two["id"]))
        self.assertEqual((again["reason"], again["id"], parked["reason"]), ("REPEAT", both["id"], "NO_CITY"))
        other = two["id"] if both["id"] == one["id"] else one["id"]
        self.assertEqual(self.c("GET", "/api/person/" + other).status, 308)
        p = self.ok("GET", "/api/person/" + both["id"]).json
        self.assertEqual((p["name"], p["phone"], p["email"]), ("Mo", "811", "m1@example.org"))
        self.assertEqual(p["created_at"], self.ok("GET", "/api/note/m1").json["created_at"])
        self.assertEqual(self.ok("GET", f"/api/queues/%2F/canon.Person.parked/messages/{parked['arrival']}").json["state"], "available")
        self.assertEqual(self.arrivals(), before + 5)

    def test_what_does_not_hold_undoes_all_arrivals(self):  # H2
        self.tx(self.note("s1"))
        before = self.arrivals()
        p = self.tx(self.arrive("s1", email="s1@example.org"), self.arrive("s2", email="s1@example.org"), self.note("s1", if_absent=True),
                    status=412).json
        self.assertEqual(p["failed_op"], 2)
        self.tx(self.arrive("s1", phone="821", city="Nowhere"), self.arrive("s2", phone="822"), self.note("s1", if_version=9), status=412)
        self.assertEqual(self.arrivals(), before)
        self.tx(self.arrive("s1", phone="821"), self.arrive("s1", phone="821"))
        all = self.tx(self.arrive("s1", phone="821"), self.arrive("s1", phone="821"), self.note("s2")).json["results"]
        self.assertEqual([x["outcome"] for x in all], ["noop", "noop", "created"])
        self.assertEqual(self.arrivals(), before + 1)

    def test_several_with_a_key_have_one_effect(self):  # R2
        before = self.arrivals()
        ops = [self.arrive("ks1", phone="831"), self.note("ks1"), self.arrive("ks2", phone="832", city="Nowhere"), self.arrive("ks1", phone="831")]
        one, two = (self.tx(*ops, Idempotency_Key="several") for _ in range(2))
        self.assertEqual((two.json, two.headers["Idempotency-Replayed"]), (one.json, "true"))
        self.assertEqual(self.arrivals(), before + 2)
        self.assertEqual(self.ok("GET", "/api/note/ks1").json["version"], 1)

    def test_units_in_each_others_way_are_prepared_again(self):  # C2
        """One person of eight sources, a tally that a hook counts: every unit has its effect once."""
        self.ok("POST", "/api/tally", {"id": "t"}, 201)
        done, lock = [], threading.Lock()

        def work(i):
            c = self.server.client()
            for k in range(15):
                ops = [self.arrive(f"w{i}-{k % 3}", phone="700", name=f"W{i}{k}"),
                       *([self.arrive(f"v{i}", phone="700", city=f"V{k}")] if i % 2 else []), {"op": "entity.patch", "entity": "tally", "id": "t", "patch": {}},
                       self.note(f"w{i}-{k}")]
                a = c("POST", "/api/tx", {"ops": ops})
                with lock:
                    done.append((a.status, a.json.get("code"), f"w{i}-{k}"))

        threads = [threading.Thread(target=work, args=(i,)) for i in range(6)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        good = [id for status, _, id in done if status == 200]
        self.assertTrue(all(code == "conflict" for status, code, _ in done if status != 200), done)
        self.assertGreater(len(good), 0)
        self.assertEqual(self.ok("GET", "/api/tally/t").json["n"], 1 + len(good))
        people = self.ok("GET", "/api/person?filter=" + json.dumps({"phone": "700"}).replace(" ", "")).json
        self.assertEqual(len(people), 1)
        notes = [id for _, _, id in done if self.c("GET", "/api/note/" + id).status == 200]
        self.assertEqual(sorted(notes), sorted(good))


class Killed(Case):
    def test_arrival_and_record_are_both_there_or_neither_whatever_is_killed(self):  # L1 C1
        self.write("scripts/app.lua", PEOPLE)
        rng, acknowledged, tried = random.Random(5), set(), 0
        node = self.node("--scripts", self.path("scripts"))
        for round in range(4):
            stop = threading.Event()

            def work(i):
                c, k = node.client(), 0
                while not stop.is_set():
                    id, k = f"r{round}-{i}-{k}", k + 1
                    ops = [{"op": "entity.save", "entity": "note", "id": id, "value": {"text": id}},
                           *({"op": "canon.arrive", "model": "Person", "origin": "crm", "source_id": id + x,
                              "data": {"phone": f"{round}{i}{k:04}{x}", "name": id + x}} for x in ("1", "2"))]
                    try:
                        if c("POST", "/api/tx", {"ops": ops}).status == 200:
                            acknowledged.add(id)
                    except (OSError, ValueError):
                        return

            threads = [threading.Thread(target=work, args=(i,)) for i in range(3)]
            for t in threads:
                t.start()
            time.sleep(rng.uniform(0.1, 0.4))
            node.kill()
            stop.set()
            for t in threads:
                t.join()
            node = self.node("--scripts", self.path("scripts"))
            c = node.client()
            lines = {"Accept": "application/x-ndjson"}
            notes = {json.loads(x)["text"] for x in c("GET", "/api/note", None, lines).body.splitlines()}
            people = {json.loads(x)["name"] for x in c("GET", "/api/person", None, lines).body.splitlines()}
            self.assertEqual({id + x for id in notes for x in "12"}, people)
            self.assertLessEqual(acknowledged, notes)
            tried += len(notes)
        self.assertGreater(tried, 0)
        self.assertEqual(node.stop(), 0)


if __name__ == "__main__":
    unittest.main()
