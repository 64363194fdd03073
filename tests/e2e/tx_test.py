"""POST /api/tx: operations on records of several entities are one unit, with an index for what did not hold."""
import concurrent.futures
import http.client
import itertools
import json
import random
import threading
import time
import unittest

from e2e.node import App, Case

APP = """
entity "Account" { fields = { owner = text { required = true, unique = true }, balance = int { min = 0 } } }
entity "Entry"   { fields = { account = ref { "Account" }, sum = int {} } }
entity "Strict"  { fields = { n = int {} }, require_version = true }
entity "Hooked"  { fields = { n = int {} }, before_save = function(e, prior, ctx)
  if e.n == 13 then ctx:reject("unlucky", "not this one") end
  e.n = (e.n or 0) + 1
end }
entity "Golden"  { fields = { k = text {} } }
canon "Golden" { sources = { erp = {} }, keys = { "k" } }
"""


class Tx(App):
    APP = APP

    def tx(self, *ops, status=200, **headers):
        return self.ok("POST", "/api/tx", {"ops": list(ops)}, status, **headers)

    def save(self, id, entity="account", **value):
        return {"op": "entity.save", "entity": entity, "id": id, "value": value}

    def test_operations_of_several_entities_are_one_unit(self):
        a = self.tx(self.save("a1", owner="a1", balance=10), self.save("a2", owner="a2", balance=0),
                    {"op": "entity.save", "entity": "Entry", "value": {"account": "a1", "sum": 10}})
        self.assertEqual([(r["op"], r["outcome"], r["version"]) for r in a.json["results"]], [("entity.save", "created", 1)] * 3)
        entry = a.json["results"][2]["id"]
        a = self.tx({"op": "entity.patch", "entity": "account", "id": "a1", "if_version": 1, "patch": {"balance": 7}},
                    {"op": "entity.patch", "entity": "account", "id": "a2", "patch": [{"op": "replace", "path": "/balance", "value": 3}]},
                    {"op": "entity.remove", "entity": "entry", "id": entry})
        self.assertEqual([r["outcome"] for r in a.json["results"]], ["updated", "updated", "removed"])
        self.assertGreater(int(a.headers["X-Koan-Seq"]), 0)
        self.assertEqual([self.ok("GET", f"/api/account/a{i}").json["balance"] for i in (1, 2)], [7, 3])
        self.ok("GET", "/api/entry/" + entry, status=404)

    def test_a_later_operation_sees_the_earlier_ones(self):
        """The record that it refers to, patches and removes is one of the same unit."""
        a = self.tx(self.save("l1", owner="l1", balance=1), self.save("le", "entry", account="l1", sum=1),
                    {"op": "entity.patch", "entity": "account", "id": "l1", "patch": {"balance": 2}, "if_version": 1},
                    {"op": "entity.patch", "entity": "account", "id": "l1", "patch": {"balance": 3}, "if_version": 2},
                    {"op": "entity.remove", "entity": "entry", "id": "le"})
        self.assertEqual([r["version"] for r in a.json["results"][:4]], [1, 1, 2, 3])
        self.assertEqual(self.ok("GET", "/api/account/l1").json["balance"], 3)
        # The name is free again once its owner is gone, in the same unit.
        self.tx({"op": "entity.remove", "entity": "account", "id": "l1"}, self.save("l2", owner="l1"))

    def test_the_first_that_does_not_hold_undoes_all_and_is_named(self):  # R1 H2 E2
        self.tx(self.save("f1", owner="f1", balance=1), self.save("g", "strict", n=1))
        before = self.ok("GET", "/api/account?count=exact").headers["X-Total-Count"]
        good = self.save("fx", owner="fx")
        cases = [
            (409, "conflict", "owner", self.save("fy", owner="f1")),
            (412, "version_mismatch", "version 1", {"op": "entity.patch", "entity": "account", "id": "f1", "if_version": 9, "patch": {"balance": 2}}),
            (412, "version_mismatch", "exists", dict(self.save("f1", owner="f1"), if_absent=True)),
            (412, "version_mismatch", "none", dict(self.save("none", owner="none"), if_exists=True)),
            (404, "not_found", "none", {"op": "entity.remove", "entity": "account", "id": "none"}),
            (409, "conflict", "account", self.save("e", "entry", account="none")),
            (409, "conflict", "test", {"op": "entity.patch", "entity": "account", "id": "f1", "patch": [{"op": "test", "path": "/balance", "value": 5}]}),
            (400, "invalid", "balance", self.save("fz", owner="fz", balance=-1)),
            (400, "invalid", "if_version", self.save("g", "strict", n=2)),
            (422, "rejected", "not this one", self.save("h", "hooked", n=13)),
        ]
        for status, code, words, op in cases:
            with self.subTest(op=op):
                p = self.tx(good, op, self.save("last", owner="last"), status=status).json
                self.assertEqual((p["code"], p["failed_op"], p["status"]), (code, 1, status))
                self.assertIn(words, p["detail"] + str(p.get("errors")))
                self.assertIn("operation 1", p["detail"])
        self.assertEqual(self.ok("GET", "/api/account?count=exact").headers["X-Total-Count"], before)

    def test_what_is_checked_holds_for_the_whole_unit(self):
        self.tx(self.save("c1", owner="c1", balance=5))
        check = {"op": "entity.check", "entity": "account", "id": "c1"}
        a = self.tx(dict(check, version=1), self.save("c2", owner="c2"), dict(check, id="c3", exists=False), dict(check, exists=True))
        self.assertEqual([r.get("outcome") for r in a.json["results"]], [None, "created", None, None])
        for i, wrong in enumerate((dict(check, version=2), dict(check, exists=False), dict(check, id="c9", exists=True))):
            p = self.tx(self.save("c4", owner="c4"), dict(check, version=1), wrong, status=412).json
            self.assertEqual((p["code"], p["failed_op"]), ("version_mismatch", 2), wrong)
        self.ok("GET", "/api/account/c4", status=404)
        # It is looked at before what the unit does.
        self.tx(dict(self.save("c1", owner="c1", balance=6)), dict(check, version=1))
        # A unit may only look.
        self.tx(dict(check, version=2))

    def test_a_transfer_under_contention_loses_nothing(self):  # E2
        self.tx(self.save("t1", owner="t1", balance=100), self.save("t2", owner="t2", balance=0))

        def worker(_):
            c, done = self.server.client(), 0
            while done < 5:
                one, two = (c("GET", f"/api/account/{i}").json for i in ("t1", "t2"))
                ops = [{"op": "entity.patch", "entity": "account", "id": r["id"], "if_version": r["version"],
                        "patch": {"balance": r["balance"] + d}} for r, d in ((one, -1), (two, 1))]
                done += c("POST", "/api/tx", {"ops": ops}).status == 200

        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            list(pool.map(worker, range(4)))
        self.assertEqual([self.ok("GET", f"/api/account/{i}").json["balance"] for i in ("t1", "t2")], [80, 20])

    def test_a_partition_is_named_by_the_operation(self):
        self.tx(dict(self.save("p1", owner="p1"), partition="draft"), self.save("p2", owner="p1"))
        self.ok("GET", "/api/account/p1?partition=draft")
        self.ok("GET", "/api/account/p1", status=404)
        self.tx({"op": "entity.check", "entity": "account", "id": "p1", "partition": "draft", "version": 1})
        self.refused("POST", "/api/tx", {"ops": [dict(self.save("p1", owner="x"), partition="a/b")]}, words="partition")

    def test_a_repeat_with_its_key_has_one_effect(self):  # R2
        self.tx(self.save("k1", owner="k1", balance=1))
        ops = [{"op": "entity.check", "entity": "account", "id": "k1", "exists": True}, self.save(None, "entry", account="k1", sum=1),
               {"op": "entity.patch", "entity": "account", "id": "k1", "if_version": 1, "patch": {"balance": 2}}]
        del ops[1]["id"]
        first, again = (self.tx(*ops, Idempotency_Key="tx-1") for _ in range(2))
        self.assertEqual((again.headers["Idempotency-Replayed"], again.body), ("true", first.body))
        self.assertEqual(len(self.ok("GET", '/api/entry?filter={"account":"k1"}').json), 1)
        self.refused("POST", "/api/tx", {"ops": ops[1:]}, 422, "rejected", "Idempotency-Key", Idempotency_Key="tx-1")

    def test_what_is_not_understood_is_refused(self):  # R1 R3
        ok = self.save("u", owner="u")
        cases = [
            (400, "invalid", "ops", {}), (400, "invalid", "ops", {"ops": {}}), (400, "invalid", "empty", {"ops": []}),
            (400, "invalid", "zzz", {"ops": [ok], "zzz": 1}), (400, "invalid", "zzz", {"ops": [dict(ok, zzz=1)]}),
            (400, "invalid", "object", {"ops": [1]}), (400, "invalid", "\"op\" is missing", {"ops": [{}]}),
            (400, "invalid", "entity.save", {"ops": [dict(ok, op="entity.sav")]}),
            (400, "invalid", "value", {"ops": [{"op": "entity.save", "entity": "account", "id": "u"}]}),
            (400, "invalid", "id", {"ops": [{"op": "entity.remove", "entity": "account"}]}),
            (400, "invalid", "id", {"ops": [dict(ok, id="a/b")]}),
            (400, "invalid", "'zz'", {"ops": [self.save("u", owner="u", zz=1)]}),
            (400, "invalid", "counts from 1", {"ops": [dict(ok, if_version=0)]}),
            (400, "invalid", "contradicts", {"ops": [dict(ok, if_version=1, if_absent=True)]}),
            (400, "invalid", "one of them", {"ops": [{"op": "entity.check", "entity": "account", "id": "u"}]}),
            (404, "not_found", "'account'", {"ops": [dict(ok, entity="acount")]}),
            (413, "too_large", "1000", {"ops": [ok] * 1001}),
            (422, "unsupported", "canon", {"ops": [self.save("u", "golden", k="1")]}),
            (400, "invalid", "data", {"ops": [{"op": "canon.arrive", "model": "Golden"}]}),
        ] + [(422, "unsupported", "not in this version", {"ops": [ok, {"op": op}]})
             for op in ("blob.link",)]
        for status, code, words, body in cases:
            with self.subTest(body=str(body)[:120]):
                p = self.refused("POST", "/api/tx", body, status, code, words)
                self.assertEqual("failed_op" in p, isinstance(body.get("ops"), list) and 0 < len(body["ops"]) <= 1000 and "zzz" not in body)
        self.refused("POST", "/api/tx?zzz=1", {"ops": [ok]}, words="zzz")
        self.ok("GET", "/api/account/u", status=404)


class Killed(Case):
    """Transfers of several writers through kill -9: whole or not at all, and what was acknowledged is there."""

    def test_after_a_crash_each_unit_is_there_whole_or_not_at_all(self):  # L1 L2
        self.write("scripts/app.lua", APP)
        accounts, acknowledged, total = [f"x{i}" for i in range(6)], set(), 600

        def writer(node, k, number):
            rnd, c = random.Random(number * 10 + k), node.client()
            for i in itertools.count():
                one, two = rnd.sample(accounts, 2)
                id, sum = f"{number}-{k}-{i}", rnd.randrange(1, 5)
                try:
                    a, b = (c("GET", "/api/account/" + x).json for x in (one, two))
                    ops = [{"op": "entity.patch", "entity": "account", "id": r["id"], "if_version": r["version"],
                            "patch": {"balance": r["balance"] + d}} for r, d in ((a, -sum), (b, sum))]
                    ops.append({"op": "entity.save", "entity": "entry", "id": id, "if_absent": True, "value": {"account": one, "sum": sum}})
                    if c("POST", "/api/tx", {"ops": ops}).status == 200:
                        acknowledged.add(id)
                except (OSError, http.client.HTTPException, ValueError, AttributeError):
                    return  # it was killed, and its clients closed

        for number in range(4):
            node = self.node("--scripts", self.path("scripts"))
            c = node.client()
            if number == 0:
                ops = [{"op": "entity.save", "entity": "account", "id": x, "value": {"owner": x, "balance": total // len(accounts)}} for x in accounts]
                self.assertEqual(c("POST", "/api/tx", {"ops": ops}).status, 200)
            entries = [json.loads(x) for x in c("GET", "/api/entry", None, {"Accept": "application/x-ndjson"}).body.splitlines()]
            balances = [c("GET", "/api/account/" + x).json for x in accounts]
            self.assertEqual(sum(r["balance"] for r in balances), total)
            self.assertLessEqual(acknowledged, {e["id"] for e in entries})
            # Each unit has made two versions and one entry.
            self.assertEqual(sum(r["version"] - 1 for r in balances), 2 * len(entries))
            threads = [threading.Thread(target=writer, args=(node, k, number)) for k in range(4)]
            before = len(acknowledged)
            for t in threads:
                t.start()
            end = time.monotonic() + 10
            while len(acknowledged) < before + 40 and time.monotonic() < end:
                time.sleep(0.01)
            node.kill()
            for t in threads:
                t.join()
            self.assertGreaterEqual(len(acknowledged), before + 40)


if __name__ == "__main__":
    unittest.main()
