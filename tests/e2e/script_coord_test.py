"""kv and counter in scripts: exact among many, one unit with records, conditions where they are read."""
import json
import threading
import time
import unittest

from e2e.node import App, Case, run

APP = """
entity "Invoice" { fields = { number = int {}, title = text } }
entity "Peek" { fields = { n = int {} }, before_save = function(e) e.n = counter.get("peeked") + (kv.get("peek") or 0) end }
entity "Poke" { fields = { n = int {} }, before_save = function(e) kv.put("poked", 1) end }
local Invoice = entity "Invoice"
route "POST /invoice" { run = function(req)
  local number = counter.add(req.json.counter, 1)
  Invoice.new { number = number, title = req.json.title }:save()
  if req.json.fail then reject("NO", "not this one") end
  return { number = number }
end }
route "POST /sum/{key}" { run = function(req)
  kv.put(req.params.key, (kv.get(req.params.key) or 0) + 1)
  return { kv.get(req.params.key) }
end }
route "POST /limited/{name}" { timeout = "2s", run = function(req)
  return { left = limit(req.params.name, { rate = 1, per = "1m" }):take() }
end }
on "queue/count" { run = function(m)
  counter.add(m.counter, m.n)
  kv.put("last-" .. m.counter, m)
end }
"""


class Coord(App):
    APP = APP
    serial = iter(range(10 ** 9))

    def name(self):
        return f"x{next(self.serial)}"

    def script(self, text, *args):
        """On a connection of its own: tests run several at once."""
        a = self.post("/api/cluster/run", {"text": "local args = { ... }\n" + text, "args": list(args)})
        self.assertEqual((a.status, a.json.get("ok")), (200, True), a.body)
        return a.json.get("result")

    def post(self, path, body):
        return self.server.client()("POST", path, json.dumps(body))

    def together(self, n, work):
        failed = []

        def one(i):
            try:
                work(i)
            except BaseException as e:  # told below, on the thread of the test
                failed.append(e)
        threads = [threading.Thread(target=one, args=(i,)) for i in range(n)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        if failed:
            raise failed[0]


class Counters(Coord):
    def test_scripts_that_count_at_once_lose_nothing(self):
        name, seen = self.name(), []
        self.together(4, lambda i: seen.extend(self.script("""
          local got = {}
          for i = 1, 50 do got[i] = counter.add(args[1]) end
          return got""", name)))
        self.assertEqual(sorted(seen), list(range(1, 201)))
        self.assertEqual(self.script("return counter.get(args[1])", name), 200)

    def test_units_that_count_at_once_get_each_number_once_and_leave_no_gap(self):
        name, numbers = self.name(), []

        def work(i):
            for k in range(10):
                while True:
                    a = self.post("/invoice", {"counter": name, "title": f"{name}-{i}-{k}"})
                    if a.status == 200:
                        break
                    self.assertEqual(a.json["code"], "conflict", a.body)
                numbers.append(a.json["number"])
        self.together(3, work)
        self.assertEqual(sorted(numbers), list(range(1, 31)))
        kept = self.script("""
          local n = {}
          for e in entity("Invoice").each {} do if e.title:find(args[1] .. "-", 1, true) then n[#n + 1] = e.number end end
          return n""", name)
        self.assertEqual(sorted(kept), list(range(1, 31)))

    def test_a_unit_that_fails_has_not_counted(self):
        name = self.name()
        self.assertEqual(self.post("/invoice", {"counter": name, "title": "a", "fail": True}).status, 422)
        self.assertEqual(self.post("/invoice", {"counter": name, "title": "b"}).json, {"number": 1})
        self.assertEqual(self.script("""
          local ok = pcall(tx, function() counter.add(args[1], 5) error("no") end)
          return { ok, counter.get(args[1]) }""", name), [False, 1])

    def test_a_unit_sees_its_own_count_and_blocks_are_reserved_at_once(self):
        name = self.name()
        self.assertEqual(self.script("""
          local out = {}
          tx(function()
            out[1], out[2], out[3] = counter.add(args[1], 5), counter.add(args[1], -2), counter.get(args[1])
          end)
          out[4], out[5] = counter.add(args[1], { block = 10 })
          pcall(tx, function() out[6], out[7] = counter.add(args[1], { block = 2 }) error("no") end)
          out[8] = counter.get(args[1])
          return out""", name), [5, 3, 3, 4, 13, 14, 15, 15])

    def test_what_is_no_count_is_refused(self):
        self.assertEqual(self.script("""
          local function why(fn, ...) local ok, e = pcall(fn, ...) return tostring(e.detail or e) end
          local name, out = args[1], {}
          counter.add(name, math.maxinteger)
          out[1] = why(counter.add, name, 1):find("overflow 64 bits", 1, true) ~= nil
          out[2] = why(tx, function() counter.add(name, 1) end):find("overflow 64 bits", 1, true) ~= nil
          out[3] = why(counter.add, name, 1.5)
          out[4] = why(counter.add, name, { blok = 1 })
          out[5] = why(counter.add, "", 1)
          return out""", self.name())[:3], [True, True, "counter.add wants a whole number, or { block = 100 }"])


class Values(Coord):
    def test_values_of_every_kind_come_back(self):
        key = self.name()
        self.assertEqual(self.script("""
          local out, key = {}, args[1]
          for i, v in ipairs { 1, 1.5, "text", true, false, { a = { 1, 2, { b = "c" } } } } do
            kv.put(key, v)
            local back, version = kv.get(key)
            out[i] = { back, version > 0 }
          end
          out[7] = { kv.remove(key), kv.remove(key), kv.get(key) == nil }
          return out""", key), [[1, True], [1.5, True], ["text", True], [True, True], [False, True],
                                [{"a": [1, 2, {"b": "c"}]}, True], [True, False, True]])

    def test_compare_and_set_among_many_loses_nothing(self):
        key = self.name()
        self.together(4, lambda i: self.script("""
          local done = 0
          while done < 25 do
            local v, version = kv.get(args[1])
            local ok, e = pcall(kv.put, args[1], (v or 0) + 1, version and { if_version = version } or { nx = true })
            if ok then done = done + 1 elseif e.code ~= "version_mismatch" then error(e, 0) end
          end""", key))
        self.assertEqual(self.script("return kv.get(args[1])", key), 100)

    def test_what_a_unit_read_is_a_condition_of_it(self):
        key = self.name()
        self.assertEqual(self.script("""
          local runs = 0
          kv.put(args[1], 1)
          tx(function()
            runs = runs + 1
            local v = kv.get(args[1])
            kv.put(args[1] .. "b", v)
          end)
          return { runs, (kv.get(args[1] .. "b")) }""", key), [1, 1])

        def work(i):
            for _ in range(10):
                while True:
                    a = self.post(f"/sum/{key}-s", {})
                    if a.status == 200:
                        break
                    self.assertEqual(a.json["code"], "conflict", a.body)
        self.together(3, work)
        self.assertEqual(self.script("return kv.get(args[1] .. '-s')", key), 30)

    def test_a_unit_sees_what_it_put_and_nobody_else_before_it_is_committed(self):
        key = self.name()
        self.assertEqual(self.script("""
          local out, k = {}, args[1]
          kv.put(k, "old")
          pcall(tx, function() kv.put(k, "new") kv.remove(k) error("no") end)
          out[1] = kv.get(k)
          tx(function()
            local t = { 1 }
            kv.put(k, t)
            t[1] = 2
            out[2], out[3] = kv.get(k)[1], #kv.list(k)
            out[4], out[5], out[6] = kv.remove(k), kv.remove(k), kv.get(k) == nil
            kv.put(k, "last")
          end)
          out[7] = kv.get(k)
          return out""", key), ["old", 1, 1, True, False, True, "last"])

    def test_options_hold_and_others_are_refused_with_the_nearest(self):
        key = self.name()
        self.assertEqual(self.script("""
          local k, out = args[1], {}
          local function why(fn, ...) local ok, e = pcall(fn, ...) return not ok and e.code or "done" end
          out[1] = why(kv.put, k, 1, { xx = true })
          out[2] = why(kv.put, k, 1, { nx = true })
          out[3] = why(kv.put, k, 1, { nx = true })
          out[4] = why(kv.put, k, 1, { nx = true, xx = true })
          out[5] = why(kv.put, k, 1, { ttl = 0 })
          out[6] = why(kv.put, k, string.rep("x", 256 * 1024))
          out[7] = why(kv.put, k, nil)
          out[8] = why(kv.put, string.rep("k", 513), 1)
          out[9] = why(kv.remove, k, { if_version = 1000000 })
          out[10] = why(tx, function() kv.put(k, 2, { nx = true }) end)
          out[11] = tostring(select(2, pcall(kv.put, k, 1, { tll = "1s" }))):find("ttl", 1, true) ~= nil
          return out""", key), ["version_mismatch", "done", "version_mismatch", "invalid", "invalid", "too_large", "invalid",
                                "invalid", "version_mismatch", "version_mismatch", True])

    def test_a_value_with_a_time_to_live_goes(self):
        key = self.name()
        self.script('kv.put(args[1], 1, { ttl = "200ms" })', key)
        time.sleep(0.4)
        self.assertIsNone(self.script("return (kv.get(args[1]))", key))

    def test_lists_are_pages_by_prefix(self):
        key = self.name()
        self.assertEqual(self.script("""
          local out = {}
          for i = 1, 5 do kv.put(args[1] .. "/" .. i, i) end
          local after
          repeat
            local page, more = kv.list(args[1] .. "/", { limit = 2, after = after })
            out[#out + 1] = #page
            after = page[#page].key
          until not more
          out[#out + 1] = after:sub(-1)
          return out""", key), [2, 2, 1, "5"])

    def test_hooks_read_and_do_not_write(self):
        self.script('kv.put("peek", 40) if counter.get("peeked") == 0 then counter.add("peeked", 2) end')
        self.assertEqual(self.script('return entity("Peek").new {}:save().n'), 42)
        self.assertIn("writing", self.script(
            'local ok, e = pcall(function() entity("Poke").new {}:save() end) return tostring(e.detail or e)'))

    def test_a_handler_changes_them_with_the_end_of_its_message(self):
        name = self.name()
        self.script("for i = 1, 5 do send('count', { counter = args[1], n = i }, { key = 'one' }) end", name)
        end = time.monotonic() + 20
        while self.script("return counter.get(args[1])", name) != 15 and time.monotonic() < end:
            time.sleep(0.05)
        self.assertEqual(self.script("return { counter.get(args[1]), kv.get('last-' .. args[1]).n }", name), [15, 5])


class Limits(Coord):
    def test_what_is_taken_at_once_never_exceeds_the_burst_and_others_wait_their_turn(self):
        name = self.name()
        began = time.monotonic()
        self.together(3, lambda i: self.script("""
          local l = limit(args[1], { rate = 10, per = "1s", burst = 2 })
          for i = 1, 4 do l:take() end""", name))
        self.assertGreater(time.monotonic() - began, 0.95)  # 12, of which 2 at once, the others 100 ms apart

    def test_try_does_not_wait_and_tells_when(self):
        self.assertEqual(self.script("""
          local l, out = limit(args[1], { rate = 1, per = "1h", burst = 3 }), {}
          out[1], out[2] = l:try(2), l:try()
          local ok, wait = l:try()
          out[3], out[4] = ok, wait > 3000000
          return out""", self.name()), [True, True, False, True])

    def test_a_turn_beyond_the_time_of_a_request_is_refused_at_once(self):
        name = self.name()
        began = time.monotonic()
        a = [self.post(f"/limited/{name}", {}) for _ in range(2)]
        self.assertEqual([x.status for x in a], [200, 429], a[1].body)
        self.assertEqual(a[1].json["code"], "rate_limited")
        self.assertLess(time.monotonic() - began, 1.5)

    def test_what_is_no_limit_is_refused(self):
        self.assertEqual(self.script("""
          local function why(fn, ...) local ok, e = pcall(fn, ...) return not ok and e.code or "done" end
          local l = limit(args[1], { rate = 5 })
          return { why(limit, "x", { rate = 0 }), why(limit, "x", { rate = 1, per = "25h" }), why(limit, "x"),
            why(limit, "x", { rate = 1, brust = 2 }), why(l.take, l, 6), why(l.take, {}), why(tx, function() l:take() end) }""",
                                     self.name()), ["invalid"] * 7)


class Check(Case):
    def test_tests_of_scripts_have_an_empty_ledger(self):
        self.write("app/app.lua", 'function take() return tx(function() return counter.add("n", 2) end) end')
        self.write("app/app_test.lua", """
          test("one", function(t) t.equal(take(), 2) t.equal(kv.get("a"), nil) kv.put("a", { b = 1 }) t.equal(kv.get("a").b, 1) end)
          test("two", function(t) t.equal(take(), 2) t.equal(kv.get("a"), nil) end)""")
        code, out, words = run("check", self.path("app"))
        self.assertEqual(code, 0, out + words)


if __name__ == "__main__":
    unittest.main()
