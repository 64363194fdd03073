"""lease_required: every way to change a record asks for its lease; with_lease and X-Koan-Lease bring it."""
import json
import threading
import unittest
import urllib.parse

from e2e.node import App, Case, run

APP = """
entity "Account" { fields = { n = int {}, owner = ref { "Person", on_remove = "cascade" } }, lease_required = true, soft_remove = "1d" }
entity "Person" { fields = { name = text } }
entity "Team" { fields = { lead = ref { "Person", on_remove = "null" }, name = text }, lease_required = true }
entity "Brief" { fields = { name = text }, lease_required = true, ttl = true }
entity "Free" { fields = { n = int {} } }
entity "Hooked" { fields = { n = int {} }, lease_required = true, before_save = function(e) e.n = (e.n or 0) * 2 end }
entity "Old" { fields = { n = int {} } }
route "PUT /count/{id}" { run = function(req)
  return entity("Account").with_lease(req.params.id, function(a, held)
    a:patch { n = a.n + 1 }
    return { n = a.n, token = held.token }
  end)
end }
route "PUT /bare/{id}" { run = function(req)
  local a = entity("Account").get(req.params.id)
  a:patch { n = 99 }
  return {}
end }
"""


class Leased(App):
    APP = APP
    serial = iter(range(10 ** 9))

    def new(self, entity="account", **doc):
        id = f"{entity[0]}{next(self.serial)}"
        self.ok("PUT", f"/api/{entity}/{id}", doc or {"n": 1}, 201)
        return id

    def hold(self, name, **body):
        return self.ok("POST", f"/api/leases/{urllib.parse.quote(name, safe='')}/acquire", body).json["token"]

    def token(self, id, entity="Account"):
        return self.hold(f"entity/{entity}/{id}")

    def release(self, id, token, entity="Account"):
        name = urllib.parse.quote(f"entity/{entity}/{id}", safe="")
        self.ok("POST", f"/api/leases/{name}/release", {"token": token}, 204)

    def n(self, id, path="account"):
        return self.ok("GET", f"/api/{path}/{id}").json["n"]


class Http(Leased):
    def test_who_holds_nothing_is_refused_whatever_the_verb(self):  # R1
        id = self.new()
        locked = {"status": 423, "code": "locked", "words": f"nobody holds 'entity/Account/{id}'"}
        self.refused("PUT", f"/api/account/{id}", {"n": 2}, **locked)
        self.refused("PUT", f"/api/account/{id}", {"n": 1}, **locked)
        self.refused("PATCH", f"/api/account/{id}", {"n": 2}, **locked)
        self.refused("DELETE", f"/api/account/{id}", **locked)
        self.refused("POST", "/api/account", {"id": id, "n": 2}, **locked)
        self.refused("POST", "/api/account/bulk", [{"id": id, "n": 2}], **locked)
        a = self.ok("POST", "/api/account/bulk?atomic=false", [{"id": id, "n": 2}, {"n": 3}]).json
        self.assertEqual([(r["outcome"], r.get("error", {}).get("status")) for r in a["results"]], [("failed", 423), ("created", None)])
        self.refused("DELETE", "/api/account/bulk", {"ids": [id]}, **locked)
        self.refused("POST", "/api/account/copy", {"filter": {"id": id}, "to": "other", "x": 1}, 400)
        self.refused("POST", "/api/account/move", {"filter": {"id": id}, "to": "other"}, **locked)
        self.refused("POST", "/api/tx", {"ops": [{"op": "entity.patch", "entity": "account", "id": id, "patch": {"n": 2}}]}, **locked)
        self.assertEqual(self.n(id), 1)
        self.assertEqual(self.ok("GET", f"/api/account/{id}").json["version"], 1)

    def test_while_another_holds_it_its_holder_is_named(self):
        id = self.new()
        self.hold(f"entity/Account/{id}", owner="ana")
        self.refused("PATCH", f"/api/account/{id}", {"n": 2}, 423, "locked", "is held by 'ana' since")

    def test_the_holder_changes_it_with_the_token(self):
        id = self.new()
        h = {"X_Koan_Lease": str(self.token(id))}
        self.ok("PUT", f"/api/account/{id}", {"n": 2}, **h)
        self.assertEqual(self.ok("PATCH", f"/api/account/{id}", {"n": 3}, **h).json["n"], 3)
        self.ok("PATCH", f"/api/account/{id}", {"n": 4}, If_Match='"3"', **h)
        self.ok("DELETE", f"/api/account/{id}", status=204, **h)
        self.refused("POST", f"/api/account/{id}/restore", None, 423, "locked")
        self.ok("POST", f"/api/account/{id}/restore", **h)
        self.ok("DELETE", f"/api/account/{id}", status=204, **h)
        self.refused("POST", f"/api/account/{id}/purge?confirm={id}", None, 423, "locked")
        self.ok("POST", f"/api/account/{id}/purge?confirm={id}", status=204, **h)

    def test_a_token_that_is_over_changes_nothing(self):  # L4
        id = self.new()
        old = self.token(id)
        self.release(id, old)
        new = self.token(id)
        for verb, path, body in (("PUT", "", {"n": 2}), ("PATCH", "", {"n": 2}), ("DELETE", "", None)):
            self.refused(verb, f"/api/account/{id}{path}", body, 409, "fenced", "is not held under token", X_Koan_Lease=str(old))
        unit = {"ops": [{"op": "lease.check", "name": f"entity/Account/{id}", "token": old},
                        {"op": "entity.save", "entity": "free", "id": "f" + id, "value": {"n": 1}},
                        {"op": "entity.patch", "entity": "account", "id": id, "patch": {"n": 2}}]}
        self.refused("POST", "/api/tx", unit, 409, "fenced", "is not held under token")
        self.ok("GET", f"/api/free/f{id}", status=404)
        self.assertEqual(self.n(id), 1)
        self.release(id, new)

    def test_a_unit_brings_as_many_leases_as_it_needs(self):
        a, b = self.new(), self.new()
        checks = [{"op": "lease.check", "name": f"entity/Account/{i}", "token": self.token(i)} for i in (a, b)]
        patch = [{"op": "entity.patch", "entity": "account", "id": i, "patch": {"n": 7}} for i in (a, b)]
        self.refused("POST", "/api/tx", {"ops": checks[:1] + patch}, 423, "locked")
        self.assertEqual((self.n(a), self.n(b)), (1, 1))
        self.ok("POST", "/api/tx", {"ops": checks + patch})
        self.assertEqual((self.n(a), self.n(b)), (7, 7))

    def test_another_lease_or_half_of_one_is_none(self):
        id = self.new()
        name = f"entity/Account/{id}"
        other = self.hold("other-" + id)
        patch = {"op": "entity.patch", "entity": "account", "id": id, "patch": {"n": 2}}
        self.refused("POST", "/api/tx", {"ops": [{"op": "lease.check", "name": "other-" + id, "token": other}, patch]}, 423, "locked")
        half = self.hold(name, n=2)
        self.refused("POST", "/api/tx", {"ops": [{"op": "lease.check", "name": name, "token": half}, patch]}, 423, "locked")

    def test_a_new_record_is_free_unless_its_lease_is_held(self):
        id = f"later{next(self.serial)}"
        token = self.token(id)
        self.refused("PUT", f"/api/account/{id}", {"n": 1}, 423, "locked", "is held by")
        self.ok("PUT", f"/api/account/{id}", {"n": 1}, 201, X_Koan_Lease=str(token))

    def test_the_header_is_a_token_of_one_record(self):
        id = self.new()
        for bad in ("x", "0", "-1", "1.5", ""):
            self.refused("PATCH", f"/api/account/{id}", {"n": 2}, 400, "invalid", "X-Koan-Lease", X_Koan_Lease=bad)
        for path, body in (("/api/account", {"n": 1}), ("/api/account/bulk", [{"n": 1}])):
            self.refused("POST", path, body, 400, "invalid", "lease.check", X_Koan_Lease="7")
        free = self.new("free")
        self.refused("PATCH", f"/api/free/{free}", {"n": 2}, 409, "fenced", X_Koan_Lease="7")
        token = self.token(free, "Free")
        self.ok("PATCH", f"/api/free/{free}", {"n": 2}, X_Koan_Lease=str(token))
        self.ok("PATCH", f"/api/free/{free}", {"n": 3})

    def test_a_repeat_with_its_key_gets_the_first_answer(self):  # R2
        id = self.new()
        token = self.token(id)
        h = {"X_Koan_Lease": str(token), "Idempotency_Key": "k-" + id}
        first = self.ok("PATCH", f"/api/account/{id}", {"n": 5}, **h)
        self.release(id, token)
        again = self.ok("PATCH", f"/api/account/{id}", {"n": 5}, **h)
        self.assertEqual((again.json, again.headers["Idempotency-Replayed"]), (first.json, "true"))

    def test_partitions_have_leases_of_their_own(self):
        id = self.new()
        self.ok("PUT", f"/api/account/{id}?partition=draft", {"n": 1}, 201)
        token = self.token(id)
        self.refused("PATCH", f"/api/account/{id}?partition=draft", {"n": 2}, 409, "fenced", X_Koan_Lease=str(token))
        draft = self.hold(f"entity/Account/draft/{id}")
        self.ok("PATCH", f"/api/account/{id}?partition=draft", {"n": 2}, X_Koan_Lease=str(draft))

    def test_a_hook_runs_under_it(self):
        id = self.new("hooked", n=1)
        self.refused("PUT", f"/api/hooked/{id}", {"n": 4}, 423, "locked")
        self.assertEqual(self.ok("PUT", f"/api/hooked/{id}", {"n": 4}, X_Koan_Lease=str(self.token(id, "Hooked"))).json["n"], 8)

    def test_what_a_removal_takes_along_or_changes_needs_its_lease_too(self):
        person = self.new("person", name="Ana")
        account, team = self.new("account", n=1, owner=person), self.new("team", name="t", lead=person)
        self.refused("DELETE", f"/api/person/{person}", None, 423, "locked", f"Account '{account}'")
        a, t = self.token(account), self.token(team, "Team")
        remove = {"op": "entity.remove", "entity": "person", "id": person}
        one = {"op": "lease.check", "name": f"entity/Account/{account}", "token": a}
        self.refused("POST", "/api/tx", {"ops": [one, remove]}, 423, "locked", f"Team '{team}'")
        self.ok("POST", "/api/tx", {"ops": [one, {"op": "lease.check", "name": f"entity/Team/{team}", "token": t}, remove]})
        self.ok("GET", f"/api/account/{account}", status=404)
        self.assertNotIn("lead", self.ok("GET", f"/api/team/{team}").json)

    def test_what_expires_goes_without_one(self):
        import time
        id = f"b{next(self.serial)}"
        at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 2))
        self.ok("PUT", f"/api/brief/{id}", {"name": "x", "expires_at": at}, 201)
        end = time.monotonic() + 10
        while self.c("GET", f"/api/brief/{id}").status == 200 and time.monotonic() < end:
            time.sleep(0.1)
        self.ok("GET", f"/api/brief/{id}", status=404)
        self.ok("PUT", f"/api/brief/{id}", {"name": "again"}, 201)

    def test_an_import_is_refused_record_by_record(self):
        id = self.new()
        path = self.house.write("a.ndjson", json.dumps({"id": id, "n": 2}) + "\n" + json.dumps({"id": id + "new", "n": 3}) + "\n")
        code, out, err = run("import", path, "--entity", "Account", "--url", self.server.url, home=self.house.dir)
        self.assertEqual(code, 0, err)
        self.assertIn("1 failed locked", out + err)
        self.assertIn("is changed only under its lease", out + err)
        self.assertEqual((self.n(id), self.n(id + "new")), (1, 3))


class Scripts(Leased):
    def test_with_lease_gives_the_record_and_what_it_writes_holds(self):
        id = self.new()
        self.assertEqual(self.script("""
          local id, out = ..., {}
          local Account = entity("Account")
          local function why(fn, ...) local ok, e = pcall(fn, ...) return ok and "done" or e.code end
          out[1] = why(function() Account.get(id):patch { n = 2 } end)
          out[2] = why(Account.remove, id)
          out[3] = why(Account.remove_all, { id })
          out[4] = Account.with_lease(id, { ttl = "30s" }, function(a, held)
            a:patch { n = a.n + 1 }
            tx(function() a:patch { n = a.n + 1 } end)
            a.n = a.n + 1
            a:save()
            return held.name
          end)
          out[5] = Account.get(id).n
          out[6] = Account.with_lease("nobody", function(a) return a == nil end)
          out[7] = Account.with_lease(Account.get(id), function(a) a:remove() return Account.get(id) == nil end)
          out[8], out[9], out[10] = why(Account.with_lease, id), why(Account.with_lease, 1, print), why(Account.restore, id)
          return out""", id), ["locked"] * 3 + [f"entity/Account/{id}", 4, True, True, "invalid", "invalid", "locked"])

    def test_requests_that_count_one_record_lose_nothing(self):
        id = self.new()
        failed = []

        def work():
            c = self.server.client()
            for _ in range(10):
                a = c("PUT", f"/count/{id}", {})
                if a.status != 200:
                    failed.append(a.body)
        threads = [threading.Thread(target=work) for _ in range(3)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        self.assertEqual(failed, [])
        self.assertEqual(self.n(id), 31)
        self.refused("PUT", f"/bare/{id}", {}, 423, "locked")

    def test_partitions_of_an_entity(self):
        id = self.new()
        self.assertEqual(self.script("""
          local id = ...
          local draft = entity("Account").partition("draft")
          draft.new { id = id, n = 1 }:save()
          return draft.with_lease(id, function(a, held) a:patch { n = 2 } return held.name end)""", id), f"entity/Account/draft/{id}")


class Declared(Case):
    def test_golden_records_cannot_want_leases(self):
        path = self.write("app/app.lua", 'entity "Gold" { fields = { name = text }, lease_required = true }\n'
                                         'canon "Gold" { sources = { a = { rank = 1 } }, keys = { "name" } }')
        code, out, err = run("check", path)
        self.assertNotEqual(code, 0)
        self.assertIn("remove lease_required", out + err)

    def test_it_is_yes_or_no_and_may_come_and_go(self):
        self.write("scripts/app.lua", 'entity "A" { fields = { n = int {} } }')
        node = self.node("--scripts", self.path("scripts"))
        c = node.client()
        self.assertEqual(c("PUT", "/api/a/1", {"n": 1}).status, 201)
        self.deployed(node, "app.lua", 'entity "A" { fields = { n = int {} }, lease_required = true }')
        self.assertEqual(c("PUT", "/api/a/1", {"n": 2}).status, 423)
        node.kill()
        node = self.node("--scripts", self.path("scripts"))
        c = node.client()
        self.assertEqual(c("PUT", "/api/a/1", {"n": 2}).status, 423)
        self.deployed(node, "app.lua", 'entity "A" { fields = { n = int {} } }')
        self.assertEqual(c("PUT", "/api/a/1", {"n": 2}).status, 200)
        a = c("POST", "/api/cluster/scripts", {"files": {"app.lua": 'entity "A" { fields = { n = int {} }, lease_required = 1 }'}})
        self.assertIn("lease_required", a.body.decode())
        self.assertNotEqual(a.status, 200)


if __name__ == "__main__":
    unittest.main()
