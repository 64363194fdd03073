"""Leases, mutexes, semaphores and read-write locks in scripts: alone, renewed, given back whatever happens, fenced once they are lost."""
import json
import threading
import time
import unittest

from e2e.node import App, Case, run

APP = """
entity "Note" { fields = { text = text } }
entity "Hooked" { fields = { n = int {} }, before_save = function(e) lease("hook", function() end) end }

-- Waits without being busy.
function pause(ms) leader(uuid(), { unlike = 0, wait = ms / 1000 }) end

route "POST /hold/{name}" { timeout = "1s", run = function(req)
  return lease(req.params.name, { ttl = "1h", wait = "30s" }, function()
    for i = 1, 100 do pause(100) end
  end)
end }
route "POST /sum/{name}" { run = function(req)
  return mutex(req.params.name, function()
    local key = "sum-" .. req.params.name
    kv.put(key, (kv.get(key) or 0) + 1)
    if req.json and req.json.fail then reject("NO", "not this one") end
    return { sum = kv.get(key) }
  end)
end }
route "POST /lost/{name}" { run = function(req)
  lease(req.params.name, { ttl = "1s" }, function() for i = 1, 100 do pause(100) end end)
end }
on "queue/sum" { attempts = 2, backoff = "100ms", run = function(m)
  mutex(m.name, function()
    local key = "sum-" .. m.name
    kv.put(key, (kv.get(key) or 0) + 1)
    if m.fail then error("not this one") end
  end)
end }
on "queue/lost" { attempts = 3, backoff = "100ms", run = function(m, ctx)
  if ctx.attempt > 1 then kv.put("lost-" .. m.name, ctx.attempt) return end
  lease(m.name, { ttl = "1h" }, function(held)
    tx(function() kv.put("on-" .. m.name, held.token) end)
    while not host_kv(m.name) do pause(50) end
    kv.put("never-" .. m.name, 1)
  end)
end }
on "held.batch" { group = "late", batch = 5, wait = "50ms", timeout = "1s", run = function(list)
  lease("batch-" .. list[1].name, { ttl = "1h" }, function() for i = 1, 100 do pause(100) end end)
end }
on "lost.batch" { group = "lost", batch = 5, wait = "50ms", run = function(list)
  local name = list[1].name
  if kv.get("on-" .. name) then kv.put("again-" .. name, #list) return end
  lease(name, { ttl = "1h" }, function(held)
    tx(function() kv.put("on-" .. name, held.token) end)
    while not host_kv(name) do pause(50) end
    kv.put("never-" .. name, 1)
  end)
end }
function host_kv(name) return tx(function() return (kv.get("go-" .. name)) end) end
"""


class Scripts(App):
    APP = APP
    serial = iter(range(10 ** 9))

    def name(self):
        return f"l{next(self.serial)}"

    def script(self, text, *args):
        """On a connection of its own: tests run several at once."""
        a = self.server.client()("POST", "/api/cluster/run", {"text": "local args = { ... }\n" + text, "args": list(args)})
        self.assertEqual((a.status, a.json.get("ok")), (200, True), a.body)
        return a.json.get("result")

    def together(self, *work):
        failed = []

        def one(fn):
            try:
                fn()
            except BaseException as e:  # told below, on the thread of the test
                failed.append(e)
        threads = [threading.Thread(target=one, args=(fn,)) for fn in work]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        if failed:
            raise failed[0]

    def until(self, true, seconds=15):
        end = time.monotonic() + seconds
        while not true():
            self.assertLess(time.monotonic(), end)
            time.sleep(0.02)

    def acquire(self, name, status=200, **body):
        a = self.server.client()("POST", f"/api/leases/{name}/acquire", body)
        self.assertEqual(a.status, status, a.body)
        return a.json

    def release(self, name, held):
        self.ok("POST", f"/api/leases/{name}/release", {"token": held["token"], "id": held["id"]}, 204)

    def free(self, name):
        self.ok("GET", f"/api/leases/{name}", status=404)

    def value(self, key):
        a = self.c("GET", f"/api/kv/{key}")
        return a.json if a.status == 200 else None


class Leases(Scripts):
    def test_what_many_do_under_one_mutex_is_done_one_after_another(self):  # K1
        name = self.name()
        work = lambda: self.script("""
          for i = 1, 10 do
            mutex(args[1], function()
              local n = kv.get(args[1]) or 0
              pause(5)
              kv.put(args[1], n + 1)
            end)
          end""", name)
        self.together(work, work, work)
        self.assertEqual(self.value(name), 30)
        self.free(name)

    def test_one_that_is_held_is_refused_naming_its_holder_or_waited_for(self):
        name = self.name()
        held = self.acquire(name, owner="ana")
        for wait in ("0s", "300ms"):
            code, detail = self.script("""
              local ok, e = pcall(lease, args[1], { wait = args[2] }, function() end)
              return { e.code, e.detail }""", name, wait)
            self.assertEqual(code, "locked")
            self.assertRegex(detail, "is held by 'ana' since 20.*Z, until 20.*Z unless renewed")
        got = []
        t = threading.Thread(target=lambda: got.append(self.script(
            'return lease(args[1], { wait = "20s", owner = "ben", meta = { n = 1 } }, function(held) return held.token end)', name)))
        t.start()
        self.until(lambda: self.ok("GET", f"/api/leases/{name}").json["waiting"] == 1)
        self.release(name, held)
        t.join(20)
        self.assertGreater(got[0], held["token"])

    def test_results_and_errors_come_through_and_it_is_given_back_before_that(self):
        name = self.name()
        self.assertEqual(self.script("""
          local out = { lease(args[1], function(held) return held.name, nil, 3 end) }
          out[2] = 2
          local ok, e = pcall(lease, args[1], function() reject("MINE", "words") end)
          out[4], out[5] = e.code, e.detail
          ok, e = pcall(lease, args[1], function() error("text", 0) end)
          out[6] = e
          out[7] = lease(args[1], function() return lease(args[1] .. "b", function() return "both" end) end)
          return out""", name), [name, 2, 3, "MINE", "words", "text", "both"])
        self.free(name)

    def test_it_is_renewed_while_its_function_runs(self):  # K2
        name = self.name()
        running = threading.Thread(target=self.script, args=(
            'lease(args[1], { ttl = "1s" }, function() for i = 1, 30 do pause(100) end end)', name))
        running.start()
        self.until(lambda: self.c("GET", f"/api/leases/{name}").status == 200)
        end = time.monotonic() + 2.2
        while time.monotonic() < end:
            self.acquire(name, 423)
            time.sleep(0.1)
        running.join(20)
        self.release(name, self.acquire(name))

    def test_who_has_lost_it_is_told_and_changes_nothing_more(self):  # L4 K1
        name, out = self.name(), []
        t = threading.Thread(target=lambda: out.append(self.script("""
          local name, out = args[1], {}
          local Note = entity("Note")
          local function why(fn, ...) local ok, e = pcall(fn, ...) return ok and "done" or e.code or e end
          local ok, e = pcall(lease, name, { ttl = "1h" }, function(held)
            kv.put("on-" .. name, held.token)
            while not kv.get("go-" .. name) do pause(20) end
            out[1] = why(function() Note.new { id = name, text = "late" }:save() end)
            out[2] = why(kv.put, "late-" .. name, 1)
            out[3] = why(pause, 10)
            out[4] = why(Note.count, {})
            error("through", 0)
          end)
          out[5] = e
          out[6] = why(kv.put, "after-" .. name, 1)
          return out""", name)))
        t.start()
        self.until(lambda: self.value("on-" + name))
        token = self.value("on-" + name)
        self.ok("POST", f"/api/leases/{name}/break?confirm={name}", status=204)
        mine = self.acquire(name)
        self.assertGreater(mine["token"], token)
        self.ok("PUT", f"/api/kv/go-{name}", "1")
        t.join(20)
        self.assertEqual(out[0], ["fenced", "lease_lost", "lease_lost", "lease_lost", "through", "done"])
        self.ok("GET", f"/api/note/{name}", status=404)
        self.assertIsNone(self.value("late-" + name))
        self.release(name, mine)

    def test_a_renewal_that_is_refused_ends_what_waits(self):
        name = self.name()
        answers = []
        t = threading.Thread(target=lambda: answers.append(self.server.client()("POST", f"/lost/{name}")))
        began = time.monotonic()
        t.start()
        self.until(lambda: self.c("GET", f"/api/leases/{name}").status == 200)
        self.ok("POST", f"/api/leases/{name}/break?confirm={name}", status=204)
        t.join(20)
        self.assertLess(time.monotonic() - began, 4)
        self.assertEqual((answers[0].status, answers[0].json["code"]), (409, "fenced"), answers[0].body)
        self.assertIn("is not held under token", answers[0].json["detail"])

    def test_a_function_that_was_through_is_told_when_it_was_not_alone(self):
        name = self.name()
        out = []
        t = threading.Thread(target=lambda: out.append(self.script("""
          local name = args[1]
          local ok, e = pcall(lease, name, function()
            kv.put("on-" .. name, 1)
            while not kv.get("go-" .. name) do end
          end)
          return e.code""", name)))
        t.start()
        self.until(lambda: self.value("on-" + name))
        self.ok("POST", f"/api/leases/{name}/break?confirm={name}", status=204)
        self.ok("PUT", f"/api/kv/go-{name}", "1")
        t.join(20)
        self.assertEqual(out, ["lease_lost"])

    def test_a_request_out_of_time_gives_it_back(self):
        name = self.name()
        a = self.server.client()("POST", f"/hold/{name}")
        self.assertEqual(a.status, 504, a.body)
        self.until(lambda: self.c("GET", f"/api/leases/{name}").status == 404, 3)

    def test_a_request_out_of_time_waits_no_longer(self):
        name = self.name()
        held = self.acquire(name)
        began = time.monotonic()
        a = self.server.client()("POST", f"/hold/{name}")
        self.assertEqual((a.status, a.json["code"]), (423, "locked"), a.body)
        self.assertLess(time.monotonic() - began, 3)
        self.assertEqual(self.ok("GET", f"/api/leases/{name}").json["waiting"], 0)
        self.release(name, held)

    def test_what_a_request_notes_inside_is_there_for_whoever_is_next(self):
        name = self.name()

        def work():
            c = self.server.client()
            for i in range(10):
                a = c("POST", f"/sum/{name}", {"fail": i % 3 == 2})
                self.assertEqual(a.status, 422 if i % 3 == 2 else 200, a.body)
        self.together(work, work, work)
        self.assertEqual(self.value("sum-" + name), 21)
        self.free(name)

    def test_what_a_handler_notes_inside_commits_with_its_message_and_the_release(self):
        name = self.name()
        self.script("for i = 1, 20 do send('sum', { name = args[1], fail = i % 5 == 0 }) end", name)
        self.until(lambda: self.value("sum-" + name) == 16, 30)
        self.until(lambda: self.c("GET", f"/api/leases/{name}").status == 404)
        self.assertEqual(self.value("sum-" + name), 16)

    def test_a_handler_that_has_lost_it_has_one_try_less_and_no_effect(self):  # L4
        name = self.name()
        self.script("send('lost', { name = args[1] })", name)
        self.until(lambda: self.value("on-" + name))
        self.ok("POST", f"/api/leases/{name}/break?confirm={name}", status=204)
        self.ok("PUT", f"/api/kv/go-{name}", "1")
        self.until(lambda: self.value("lost-" + name) == 2)
        self.assertIsNone(self.value("never-" + name))

    def test_a_batch_out_of_time_gives_it_back(self):
        name = self.name()
        self.script("publish('held.batch', { name = args[1] }) publish('held.batch', { name = args[1] })", name)
        self.until(lambda: self.c("GET", f"/api/leases/batch-{name}").status == 200)
        self.until(lambda: self.c("GET", f"/api/leases/batch-{name}").status == 404, 5)

    def test_a_batch_that_has_lost_it_is_tried_again_and_has_no_effect(self):  # L4
        name = self.name()
        self.script("publish('lost.batch', { name = args[1] })", name)
        self.until(lambda: self.value("on-" + name))
        self.ok("POST", f"/api/leases/{name}/break?confirm={name}", status=204)
        self.ok("PUT", f"/api/kv/go-{name}", "1")
        self.until(lambda: self.value("again-" + name) == 1)
        self.assertIsNone(self.value("never-" + name))

    def test_a_semaphore_lets_so_many_in(self):
        name = self.name()
        held = [self.acquire(name, n=3), self.acquire(name, n=3)]
        self.assertEqual(self.script("""
          local out = {}
          out[1] = semaphore(args[1], 3, function(held)
            local ok, e = pcall(semaphore, args[1], 3, { wait = 0 }, function() end)
            return e.code
          end)
          local ok, e = pcall(semaphore, args[1], 2, function() end)
          out[2] = e.code
          return out""", name), ["locked", "conflict"])
        for h in held:
            self.release(name, h)

    def test_readers_are_together_and_a_writer_alone(self):
        name = self.name()
        reader = self.acquire(name, mode="read")
        self.assertEqual(self.script("""
          local lock, out = rwlock(args[1]), {}
          out[1] = lock:read(function() return "read" end)
          local ok, e = pcall(lock.write, lock, { wait = "200ms" }, function() end)
          out[2] = e.code
          return out""", name), ["read", "locked"])
        self.release(name, reader)
        self.assertEqual(self.script("""
          local lock = rwlock(args[1])
          return lock:write(function() local ok, e = pcall(lock.read, lock, { wait = 0 }, function() end) return e.code end)""",
                                     name), "locked")
        self.free(name)

    def test_what_is_no_lease_is_refused(self):
        self.assertEqual(self.script("""
          local function why(fn, ...) local ok, e = pcall(fn, ...) return ok and "done" or e.code end
          local f = function() end
          return { why(lease, 1, f), why(lease, "x"), why(lease, "x", { tll = 1 }, f), why(lease, "x", { ttl = "100ms" }, f),
            why(lease, "x", { wait = "61s" }, f), why(lease, string.rep("x", 513), f), why(lease, "x\\n", f), why(tx, function() lease("x", f) end),
            why(semaphore, "x", 0, f), why(semaphore, "x", 10001, f), why(rwlock, 1), why(rwlock("x").read, {}, f),
            why(lease, "x", { meta = string.rep("m", 4096) }, f), why(function() entity("Hooked").new {}:save() end) }"""),
                         ["invalid"] * 12 + ["too_large", "unsupported"])


class Elections(Scripts):
    def watch(self, name, unlike, wait="20s"):
        began = time.monotonic()
        a = self.server.client()("GET", f"/api/leases/{name}?unlike={unlike}&wait={wait}")
        return a, time.monotonic() - began

    def test_watchers_hear_of_each_holder_at_once(self):
        name, seen = self.name(), []

        def follow():
            c, known = self.server.client(), 0
            while len(seen) < 4:
                a = c("GET", f"/api/leases/{name}?unlike={known}&wait=20s")
                known = a.json["holders"][0]["token"] if a.status == 200 else 0
                seen.append((known, a.json["holders"][0]["owner"] if known else None, time.monotonic()))
        t = threading.Thread(target=follow)
        t.start()
        time.sleep(0.3)
        self.script('election(args[1], { owner = "one" }, function() pause(300) end)', name)
        time.sleep(0.2)
        second = self.acquire(name, owner="two")
        granted = time.monotonic()
        self.release(name, second)
        t.join(20)
        self.assertEqual([s[1] for s in seen], ["one", None, "two", None])
        self.assertLess(abs(seen[2][2] - granted), 1)

    def test_scripts_wait_for_another_leader(self):
        name = self.name()
        first = self.acquire(name, owner="ana", meta={"at": "a"})
        t = threading.Timer(0.4, lambda: self.release(name, first))
        t.start()
        out = self.script("""
          local now = leader(args[1])
          local same = leader(args[1], { unlike = now.token, wait = "100ms" })
          local gone = leader(args[1], { unlike = now.token, wait = "10s" })
          return { now.owner, now.meta.at, same.token == now.token, gone == nil, leader(args[1]) == nil }""", name)
        t.join()
        self.assertEqual(out, ["ana", "a", True, True, True])

    def test_a_watch_ends_with_its_time_and_answers_as_it_stands(self):
        name = self.name()
        a, took = self.watch(name, 0, "300ms")
        self.assertEqual(a.status, 404)
        self.assertTrue(0.25 < took < 5, took)
        held = self.acquire(name)
        a, took = self.watch(name, held["token"], "300ms")
        self.assertEqual((a.status, a.json["holders"][0]["token"]), (200, held["token"]))
        self.assertTrue(0.25 < took < 5, took)
        a, took = self.watch(name, 0)
        self.assertEqual((a.status, took < 2), (200, True))
        self.release(name, held)

    def test_what_is_no_watch_is_refused(self):
        for query, word in (("unlike=x", "unlike"), ("unlike=-1", "unlike"), ("wait=1s", "unlike"), ("unlike=0&wait=61s", "wait"),
                            ("unlike=0&wait=x", "wait"), ("unlikely=1", "unlike")):
            self.refused("GET", f"/api/leases/none?{query}", words=word)
        self.assertEqual(self.script("""
          local function why(...) local ok, e = pcall(leader, ...) return ok and "done" or e.code end
          return { why("x", { wait = "1s" }), why("x", { unlike = -1 }), why("x", { unlike = 0, wait = "61s" }), why(""), why("x", { unlik = 1 }),
            (function() local ok, e = pcall(election, "x") return e.code end)() }"""), ["invalid"] * 6)


class Killed(Case):
    def test_a_node_that_stops_answers_who_watches(self):
        self.write("scripts/app.lua", "-- nothing")
        node = self.node("--scripts", self.path("scripts"))
        got = []
        t = threading.Thread(target=lambda: got.append(node.client()("GET", "/api/leases/x?unlike=0&wait=50s").status))
        t.start()
        time.sleep(0.5)
        began = time.monotonic()
        self.assertEqual(node.stop(), 0)
        t.join(20)
        self.assertEqual(got, [404])
        self.assertLess(time.monotonic() - began, 20)

    def test_after_kill_9_who_renews_keeps_it_and_the_others_lapse(self):  # K2
        self.write("scripts/app.lua", 'route "POST /hold" { timeout = "60s", run = function() lease("script", { ttl = "2s" }, function() '
                                      'local l = limit(uuid(), { rate = 1, per = "30s", burst = 1 }) l:take() l:take() end) end }')
        node = self.node("--scripts", self.path("scripts"))
        kept = node.client()("POST", "/api/leases/kept/acquire", {"ttl": "4s"}).json
        threading.Thread(target=self.lone, args=(node.client(), "/hold"), daemon=True).start()
        c = node.client()
        end = time.monotonic() + 10
        while c("GET", "/api/leases/script").status != 200 and time.monotonic() < end:
            time.sleep(0.02)
        was = c("GET", "/api/leases/script").json["holders"][0]["token"]
        node.kill()
        time.sleep(2.5)  # both are past their time, but the node could not be asked
        node = self.node("--scripts", self.path("scripts"))
        c = node.client()
        self.assertEqual(c("POST", "/api/leases/script/acquire", {}).status, 423)
        a = c("POST", "/api/leases/kept/renew", {"token": kept["token"], "ttl": "60s"})
        self.assertEqual(a.status, 200, a.body)
        a = c("POST", "/api/leases/script/acquire", {"wait": "25s"})
        self.assertEqual(a.status, 200, a.body)
        self.assertGreater(a.json["token"], was)
        self.assertEqual(c("POST", "/api/leases/kept/acquire", {}).status, 423)

    def lone(self, c, path):
        try:
            c("POST", path)
        except Exception:  # killed on purpose
            pass


class Check(Case):
    def test_tests_of_scripts_have_them_all_and_their_clock_counts(self):
        self.write("app/app.lua", """
          entity "Acc" { fields = { n = int {} }, lease_required = true }
          function bump(id) return entity("Acc").with_lease(id, function(a) a:patch { n = a.n + 1 } return a.n end) end""")
        self.write("app/app_test.lua", """
          test("all", function(t)
            entity("Acc").new { id = "a", n = 1 }:save()
            t.equal(bump("a"), 2)
            t.equal(select(2, pcall(function() entity("Acc").get("a"):patch { n = 9 } end)).code, "locked")
            t.equal(mutex("m", function(held) return leader("m").token == held.token end), true)
            t.equal(leader("m"), nil)
            local function fill(n) return cache("c", { ttl = "1h" }, function() return n end) end
            local l = limit("l", { rate = 2, per = "1h" })
            t.equal(fill(1), 1)
            t.equal({ l:try(), l:try(), (l:try()) }, { true, true, false })
            t.advance("2h")
            t.equal(fill(2), 2)
            t.equal(l:try(2), true)
            t.equal(bump("a"), 3)
          end)""")
        code, out, words = run("check", self.path("app"))
        self.assertEqual(code, 0, out + words)


if __name__ == "__main__":
    unittest.main()
