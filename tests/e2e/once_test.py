"""Idempotency-Key: a write that is sent again has one effect and the first answer."""
import json
import random
import threading
import time
import unittest

from e2e.node import App, Case

APP = """
entity "Note" {
  fields = { text = text { required = true, max = 200000 }, n = int {} },
  soft_remove = true,
}
entity "Code" { fields = { code = text { unique = true } } }
entity "Slow" {
  fields = { text = text {} },
  before_save = function(e, prior, ctx)
    local until_ms = time.now()
    for i = 1, 200000 do until_ms = until_ms + 0 end
    if e.text == "no" then ctx:reject("no", "not this one") end
    e.text = (e.text or "") .. "!"
  end,
}
"""
CANON = """
entity "Person" { fields = { name = text { max = 40 }, email = email {}, n = int {} } }
canon "Person" {
  sources = { erp = { rank = 1 }, crm = { rank = 2 } },
  keys    = { "email:email" },
  stages  = {
    validate = function(a, ctx)
      if a.name == "bad" then ctx:reject("BAD", "no") end
      if a.name == "wait" then ctx:park("LATER", { why = "so" }) end
    end,
  },
}
"""
HEADERS = ("ETag", "X-Koan-Outcome", "X-Koan-Seq", "Location", "Content-Type")


class Once(App):
    APP = APP
    keys = iter(range(10 ** 9))

    def key(self):
        return f"key-{next(self.keys)}"

    def both(self, method, path, body=None, status=200, between=None, **headers):
        """Sent twice with one key: the second answer is the first, and says that it is repeated."""
        headers["Idempotency_Key"] = self.key()
        first = self.ok(method, path, body, status, **headers)
        self.assertIsNone(first.headers.get("Idempotency-Replayed"))
        if between:
            between(first)
        again = self.ok(method, path, body, status, **headers)
        self.assertEqual(again.headers.get("Idempotency-Replayed"), "true")
        self.assertEqual(again.body, first.body)
        for name in HEADERS:
            self.assertEqual(again.headers.get(name), first.headers.get(name), name)
        return first

    def count(self, path="/api/note"):
        return int(self.ok("GET", path + "?pageSize=1").headers["X-Total-Count"])


class OneRecord(Once):
    def test_a_repeated_create_makes_one_record(self):  # R2
        before = self.count()
        a = self.both("POST", "/api/note", {"text": "once"}, 201)
        self.assertEqual(self.count(), before + 1)
        self.assertEqual(self.ok("GET", "/api/note/" + a.json["id"]).json, a.json)

    def test_the_first_answer_comes_again_though_the_record_has_changed(self):  # R2
        self.both("POST", "/api/note", {"text": "was"}, 201,
                  between=lambda a: self.ok("PUT", "/api/note/" + a.json["id"], {"text": "is"}))
        gone = self.both("POST", "/api/note", {"text": "was"}, 201,
                         between=lambda a: self.ok("DELETE", "/api/note/" + a.json["id"], status=204))
        self.refused("GET", "/api/note/" + gone.json["id"], status=404, code="not_found")

    def test_saves_patches_removals_and_restores_are_repeated(self):  # R2
        self.both("PUT", "/api/note/v1", {"text": "a", "n": 1}, 201)
        self.both("PUT", "/api/note/v1", {"text": "b", "n": 1}, 200)
        self.both("PATCH", "/api/note/v1", {"n": 2}, 200)
        self.both("PATCH", "/api/note/v1", [{"op": "replace", "path": "/n", "value": 3}], 200,
                  Content_Type="application/json-patch+json")
        self.assertEqual(self.ok("GET", "/api/note/v1").json["version"], 4)
        self.both("DELETE", "/api/note/v1", None, 204)
        self.both("POST", "/api/note/v1/restore", None, 200)

    def test_a_repeat_meets_conditions_that_only_the_first_could(self):  # R2
        self.both("PUT", "/api/note/c1", {"text": "a"}, 201, If_None_Match="*")
        self.both("PUT", "/api/note/c1", {"text": "b"}, 200, If_Match='"1"')
        self.both("DELETE", "/api/note/c1", None, 204, If_Match='"2"')

    def test_a_save_that_changed_nothing_is_repeated_as_that(self):
        self.ok("PUT", "/api/note/u1", {"text": "same"}, 201)
        a = self.both("PUT", "/api/note/u1", {"text": "same"}, 200,
                      between=lambda a: self.ok("PUT", "/api/note/u1", {"text": "other"}))
        self.assertEqual(a.headers["X-Koan-Outcome"], "unchanged")
        self.assertEqual(self.ok("GET", "/api/note/u1").json["text"], "other")

    def test_hooks_run_for_the_first_alone(self):
        a = self.both("POST", "/api/slow", {"text": "x"}, 201)
        self.assertEqual(a.json["text"], "x!")
        self.both("PATCH", "/api/slow/" + a.json["id"], {"text": "y"}, 200)

    def test_a_key_counts_in_a_partition_too(self):
        self.both("POST", "/api/note?partition=p1", {"text": "x"}, 201)

    def test_a_large_record_is_answered_again_as_it_is(self):
        key = self.key()
        big = {"text": "x" * 100000}
        a = self.ok("PUT", "/api/note/big", big, 201, Idempotency_Key=key)
        self.ok("PATCH", "/api/note/big", {"n": 5})
        again = self.ok("PUT", "/api/note/big", big, 201, Idempotency_Key=key)
        self.assertEqual(again.headers["ETag"], a.headers["ETag"])
        self.assertEqual(again.json["n"], 5)

    def test_requests_without_a_key_are_not_remembered(self):
        a = self.ok("POST", "/api/note", {"text": "x"}, 201)
        b = self.ok("POST", "/api/note", {"text": "x"}, 201)
        self.assertNotEqual(a.json["id"], b.json["id"])
        self.assertIsNone(b.headers.get("Idempotency-Replayed"))


class Refusals(Once):
    def test_another_request_with_the_key_is_refused(self):  # R2
        key = self.key()
        self.ok("PUT", "/api/note/r1", {"text": "a"}, 201, Idempotency_Key=key)
        for method, path, body, more in (
                ("PUT", "/api/note/r1", {"text": "b"}, {}),
                ("PUT", "/api/note/r2", {"text": "a"}, {}),
                ("PATCH", "/api/note/r1", {"text": "a"}, {}),
                ("PUT", "/api/note/r1?partition=p", {"text": "a"}, {}),
                ("PUT", "/api/note/r1", {"text": "a"}, {"If_Match": '"1"'}),
                ("DELETE", "/api/note/r1", None, {})):
            p = self.refused(method, path, body, status=422, code="rejected", Idempotency_Key=key, **more)
            self.assertIn("used for another request", p["detail"])
        self.assertEqual(self.ok("GET", "/api/note/r1").json["version"], 1)

    def test_a_refusal_is_not_kept(self):
        key = self.key()
        self.refused("POST", "/api/note", {}, Idempotency_Key=key)
        self.refused("PATCH", "/api/note/later", {"n": 1}, status=404, code="not_found", Idempotency_Key=key)
        self.ok("PUT", "/api/note/later", {"text": "now"}, 201)
        a = self.ok("PATCH", "/api/note/later", {"n": 1}, Idempotency_Key=key)
        self.assertIsNone(a.headers.get("Idempotency-Replayed"))

    def test_a_key_that_is_none_is_refused(self):
        for key, words in (("", "1 to 255 bytes"), ("k" * 256, "1 to 255 bytes")):
            self.refused("POST", "/api/note", {"text": "x"}, words=words, Idempotency_Key=key)
        self.ok("POST", "/api/note", {"text": "x"}, 201, Idempotency_Key="k" * 255)

    def test_of_requests_at_once_one_is_done(self):  # R2
        key, answers, n = self.key(), [], 12
        barrier = threading.Barrier(n)

        def send():
            c = self.server.client()
            barrier.wait()
            answers.append(c("POST", "/api/slow", {"text": "race"}, {"Idempotency-Key": key}))

        threads = [threading.Thread(target=send) for _ in range(n)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        done = [a for a in answers if a.status == 201]
        waiting = [a for a in answers if a.status == 409]
        self.assertEqual(len(done) + len(waiting), n, [a.body for a in answers])
        self.assertEqual(len({a.body for a in done}), 1)
        self.assertEqual(sum(a.headers.get("Idempotency-Replayed") is None for a in done), 1)
        for a in waiting:
            self.assertEqual((a.json["code"], a.headers["Retry-After"]), ("conflict", "1"))
            self.assertIn("under way", a.json["detail"])
        found = self.ok("POST", "/api/slow/query", {"filter": {"text": "race!"}})
        self.assertEqual(len(found.json), 1)


    def test_scripts_and_settings_take_no_key(self):
        for method, path in (("POST", "/api/cluster/scripts"), ("POST", "/api/cluster/run"),
                             ("PATCH", "/api/cluster/settings"), ("POST", "/api/cluster/apply")):
            self.refused(method, path, {}, status=422, code="unsupported", words="Idempotency-Key", Idempotency_Key="k")


class Many(Once):
    def test_an_atomic_bulk_is_repeated_whole(self):  # R2
        before = self.count()
        a = self.both("POST", "/api/note/bulk", [{"text": "a"}, {"text": "b"}, {"id": "b3", "text": "c"}])
        self.assertEqual(self.count(), before + 3)
        ids = [r["id"] for r in a.json["results"]]
        self.assertEqual(ids[2], "b3")
        self.both("DELETE", "/api/note/bulk", {"ids": ids})
        self.assertEqual(self.count(), before)

    def test_a_removal_by_filter_removes_nothing_that_came_later(self):  # R2
        path, body = "/api/note/bulk", {"filter": {"n": 4711}}
        self.ok("PUT", "/api/note/f1", {"text": "a", "n": 4711}, 201)
        later = lambda a: self.ok("PUT", "/api/note/f2", {"text": "b", "n": 4711}, 201)
        a = self.both("DELETE", path, body, between=later)
        self.assertEqual(a.json["counts"]["removed"], 1)
        self.ok("GET", "/api/note/f2")
        self.ok("DELETE", "/api/note/f2", status=204)
        none = self.both("DELETE", path, body, between=lambda a: self.ok("PUT", "/api/note/f3",
                                                                          {"text": "c", "n": 4711}, 201))
        self.assertEqual(none.json["results"], [])
        self.ok("GET", "/api/note/f3")

    def test_items_of_their_own_are_each_done_once(self):  # R2
        key, before = self.key(), self.count("/api/code")
        self.ok("POST", "/api/code", {"id": "x1", "code": "taken"}, 201)
        items = [{"code": "n1"}, {"code": "taken"}, {"code": "n2"}]
        path = "/api/code/bulk?atomic=false"
        first = self.ok("POST", path, items, Idempotency_Key=key).json
        self.assertEqual([r["outcome"] for r in first["results"]], ["created", "failed", "created"])
        again = self.ok("POST", path, items, Idempotency_Key=key)
        self.assertEqual(again.headers.get("Idempotency-Replayed"), "true")
        self.assertEqual([(r["id"], r["outcome"]) for r in again.json["results"] if r["outcome"] == "created"],
                         [(r["id"], r["outcome"]) for r in first["results"] if r["outcome"] == "created"])
        self.assertEqual(again.json["counts"], first["counts"])
        self.assertEqual(self.count("/api/code"), before + 3)
        self.ok("DELETE", "/api/code/x1", status=204)  # what had failed is decided anew
        third = self.ok("POST", path, items, Idempotency_Key=key)
        self.assertEqual([r["outcome"] for r in third.json["results"]], ["created"] * 3)
        self.assertEqual(self.count("/api/code"), before + 3)

    def test_removals_of_their_own_are_each_done_once(self):
        for i in ("d1", "d2"):
            self.ok("PUT", "/api/code/" + i, {"code": i}, 201)
        self.both("DELETE", "/api/code/bulk?atomic=false", {"ids": ["d1", "d2"]})
        p = self.refused("DELETE", "/api/code/bulk?atomic=false", {"filter": {"code": "d1"}}, status=422,
                         code="unsupported", Idempotency_Key=self.key())
        self.assertIn("send the ids", p["detail"])

    def test_copies_moves_and_mirrors_are_repeated(self):  # R2
        for i in range(3):
            self.ok("PUT", f"/api/note/t{i}", {"text": "t", "n": 100 + i}, 201)
        body = {"filter": {"n": {"$gte": 100, "$lt": 103}}, "to": "shelf"}
        a = self.both("POST", "/api/note/copy", body)
        self.assertEqual(a.json["changed"], 3)
        self.both("POST", "/api/note/move", {**body, "to": "attic"})
        self.refused("GET", "/api/note/t0", status=404, code="not_found")
        self.ok("GET", "/api/note/t0?partition=attic")
        self.both("POST", "/api/note/mirror", {"filter": {}, "from": "attic", "to": "cellar", "prefer": "latest"})
        later = lambda a: self.ok("PUT", "/api/note/t9", {"text": "t", "n": 102}, 201)
        none = self.both("POST", "/api/note/move", {**body, "to": "attic"}, between=later)
        self.assertEqual(none.json["matched"], 0)
        self.ok("GET", "/api/note/t9")


class Arrivals(Once):
    APP = CANON

    def mail(self):
        return self.key() + "@example.org"

    def lineage(self, golden):
        return len(self.ok("GET", f"/api/canon/person/{golden}/lineage").json)

    def test_an_arrival_is_repeated(self):  # R2
        mail = self.mail()

        def change(_):
            time.sleep(0.01)  # of one millisecond the rank would decide
            self.ok("POST", "/api/canon/person?origin=erp&source_id=z" + mail, {"email": mail, "n": 9})

        a = self.both("POST", "/api/canon/person?origin=erp", {"email": mail, "n": 1}, between=change)
        self.assertEqual((a.json["outcome"], a.json["version"], a.json["changes"]["n"]), ("canonized", 1, 1))
        self.assertEqual(self.ok("GET", "/api/person/" + a.json["id"]).json["n"], 9)
        self.assertEqual(self.lineage(a.json["id"]), 2)

    def test_an_arrival_that_failed_or_was_parked_is_repeated_as_that(self):
        bad = self.both("POST", "/api/canon/person?origin=erp", {"email": self.mail(), "name": "bad"}, 422)
        self.assertEqual(bad.json["outcome"], "failed")
        parked = self.both("POST", "/api/canon/person?origin=erp", {"email": self.mail(), "name": "wait"}, 202)
        path = f"/api/canon/person/parked/{parked.json['arrival']}/resume"
        resumed = self.both("POST", path, {"name": "goes on"})
        self.assertEqual(resumed.json["outcome"], "canonized")

    def test_headers_of_an_arrival_are_part_of_it(self):
        key, mail = self.key(), self.mail()
        self.ok("POST", "/api/canon/person", {"email": mail}, X_Canon_Origin="erp", Idempotency_Key=key)
        self.refused("POST", "/api/canon/person", {"email": mail}, status=422, code="rejected",
                     X_Canon_Origin="crm", Idempotency_Key=key)

    def test_each_arrival_of_a_bulk_is_done_once(self):  # R2
        mails = [self.mail() for _ in range(4)]
        items = [{"data": {"email": m, "n": i}, "source_id": m} for i, m in enumerate(mails)]
        items.append({"data": {"email": self.mail(), "name": "bad"}})
        a = self.both("POST", "/api/canon/person/bulk", items, X_Canon_Origin="erp",
                      between=lambda a: self.ok("POST", "/api/canon/person?origin=erp&source_id=" + mails[0],
                                                {"email": mails[0], "n": 77}))
        self.assertEqual([r["outcome"] for r in a.json["results"]], ["canonized"] * 4 + ["failed"])
        self.assertEqual(self.ok("GET", "/api/person/" + a.json["results"][0]["id"]).json["n"], 77)

    def test_a_withdrawal_is_repeated(self):  # R2
        mail = self.mail()
        self.ok("POST", "/api/canon/person?origin=crm&source_id=w1", {"email": mail, "n": 1})

        def again(_):
            self.golden = self.ok("POST", "/api/canon/person?origin=crm&source_id=w1", {"email": mail}).json["id"]

        self.both("DELETE", "/api/canon/person/sources/crm/w1", between=again)
        why = self.ok("GET", f"/api/canon/person/{self.golden}/why").json
        self.assertEqual([s["source_id"] for s in why["sources"]], ["w1"])

    def test_direct_changes_of_golden_records_are_repeated(self):  # R2
        mail = self.mail()
        a = self.both("POST", "/api/person", {"email": mail, "n": 1}, 201,
                      between=lambda a: self.ok("PATCH", "/api/person/" + a.json["id"], {"n": 2}))
        path = "/api/person/" + a.json["id"]
        self.assertEqual(self.ok("GET", path).json["n"], 2)
        self.both("PATCH", path, {"n": 3}, between=lambda a: self.ok("PATCH", path, {"n": 4}))
        self.both("PUT", path, {"email": mail, "n": 5})
        self.assertEqual(self.ok("GET", path).json["n"], 5)
        self.both("DELETE", path, None, 204)

    def test_bulks_of_golden_records_are_repeated(self):  # R2
        docs = [{"email": self.mail(), "n": i} for i in range(3)]
        a = self.both("POST", "/api/person/bulk", docs)
        self.assertEqual(a.json["counts"]["created"], 3)
        for r in a.json["results"]:
            self.assertEqual(self.lineage(r["id"]), 1)
        docs = [{"email": self.mail(), "n": i} for i in range(3)]
        a = self.both("POST", "/api/person/bulk?atomic=false", docs)
        for r in a.json["results"]:
            self.assertEqual(self.lineage(r["id"]), 1)

    def test_a_refused_bulk_of_golden_records_is_not_kept(self):
        key, mail = self.key(), self.mail()
        docs = [{"email": mail, "n": 1}, {"email": self.mail(), "name": "wait"}]
        for _ in range(2):
            a = self.c("POST", "/api/person/bulk", docs, {"Idempotency-Key": key})
            self.assertEqual((a.status, a.headers.get("Idempotency-Replayed")), (422, None), a.body)


class Crash(Case):
    """kill -9 at any moment between the request and its answer."""
    ROUNDS = 6

    def start(self):
        return self.node("--scripts", self.path("scripts"))

    @staticmethod
    def request(key, n):
        """(path, body, records that it makes)"""
        one, many = {"text": key}, [{"text": key, "n": i} for i in range(3)]
        mails = [f"{key}-{i}@example.org" for i in range(3)]
        return (("/api/note", one, 1), ("/api/note/bulk", many, 3), ("/api/note/bulk?atomic=false", many, 3),
                ("/api/canon/person?origin=erp", {"email": mails[0]}, 1),
                ("/api/canon/person/bulk", [{"origin": "erp", "data": {"email": m}} for m in mails], 3),
                ("/api/person/bulk", [{"email": m} for m in mails], 3))[n % 6]

    def send_until_killed(self, node, sent, stop):
        c, n = node.client(), random.randrange(6)
        try:
            while not stop.is_set():
                n += 1
                key = f"{len(self.nodes)}-{id(c)}-{n}"
                path, body, _ = self.request(key, n)
                sent[key] = [n, None]
                sent[key][1] = c("POST", path, body, {"Idempotency-Key": key}).body
        except Exception:
            pass

    def total(self, c, path):
        return int(c("GET", path + "?pageSize=1&count=exact").headers["X-Total-Count"])

    def test_after_a_crash_each_repeat_has_one_effect_and_the_first_answer(self):  # R2
        self.write("scripts/app.lua", APP + CANON)
        sent = {}
        for _ in range(self.ROUNDS):
            node, stop = self.start(), threading.Event()
            threads = [threading.Thread(target=self.send_until_killed, args=(node, sent, stop)) for _ in range(4)]
            for t in threads:
                t.start()
            time.sleep(0.1 + random.random() * 0.2)
            node.process.kill()
            node.process.wait()
            stop.set()
            for t in threads:
                t.join()
        node = self.start()
        c, unanswered, wanted = node.client(), 0, {"/api/note": 0, "/api/person": 0}
        for key, (n, first) in sent.items():
            path, body, records = self.request(key, n)
            a = c("POST", path, body, {"Idempotency-Key": key})
            self.assertIn(a.status, (200, 201), a.body)
            wanted["/api/note" if "note" in path else "/api/person"] += records
            if first is not None:
                self.assertEqual(a.headers.get("Idempotency-Replayed"), "true")
                self.assertEqual(a.body, first)
            unanswered += first is None
        self.assertGreater(unanswered, 0)
        for path, count in wanted.items():
            self.assertEqual(self.total(c, path), count)


if __name__ == "__main__":
    unittest.main()
