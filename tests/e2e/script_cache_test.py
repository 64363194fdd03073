"""cache in scripts: one fills at a time, the old value serves meanwhile, tags are flushed."""
import threading
import time
import unittest

from e2e.node import App

APP = """
entity "Hooked" { fields = { n = int {}, key = text }, before_save = function(e)
  e.n = cache(e.key, { ttl = "1h" }, function() return 5 end)
end }
function pause(ms) leader(uuid(), { unlike = 0, wait = ms / 1000 }) end
route "POST /flush/{tag}" { run = function(req)
  cache.flush(req.params.tag)
  if req.query.fail then reject("NO", "not this one") end
  return {}
end }
"""


class Cache(App):
    APP = APP
    serial = iter(range(10 ** 9))

    def name(self):
        return f"c{next(self.serial)}"

    def script(self, text, *args):
        """On a connection of its own: tests run several at once."""
        a = self.server.client()("POST", "/api/cluster/run", {"text": "local args = { ... }\n" + text, "args": list(args)})
        self.assertEqual((a.status, a.json.get("ok")), (200, True), a.body)
        return a.json.get("result")

    def together(self, n, work):
        out = [None] * n

        def one(i):
            out[i] = work(i)
        threads = [threading.Thread(target=one, args=(i,)) for i in range(n)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        return out

    def test_a_value_is_found_out_once_while_it_is_fresh(self):
        self.assertEqual(self.script("""
          local name, n, out = args[1], 0, {}
          local function fill() n = n + 1 return { n = n, list = { 1, "b", { c = true } } } end
          for i = 1, 5 do out[i] = cache(name, { ttl = "1h" }, fill).n end
          out[6] = cache(name, { ttl = "1h" }, fill).list[3].c
          out[7] = cache(name .. "b", fill).n
          return out""", self.name()), [1, 1, 1, 1, 1, True, 2])

    def test_past_its_ttl_it_is_found_out_again(self):
        name = self.name()
        fill = "return cache(args[1], { ttl = '300ms' }, function() return counter.add(args[1]) end)"
        self.assertEqual(self.script(fill, name), 1)
        time.sleep(0.5)
        self.assertEqual(self.script(fill, name), 2)

    def test_of_many_that_want_it_at_once_one_fills(self):
        name = self.name()
        got = self.together(6, lambda i: self.script(
            "return cache(args[1], function() pause(500) return counter.add(args[1]) end)", name))
        self.assertEqual(got, [1] * 6)
        self.ok("GET", f"/api/leases/cache%2F{name}", status=404)

    def test_who_has_waited_too_long_fills_alone(self):
        name = self.name()
        began = time.monotonic()
        slow = threading.Thread(target=self.script, args=("cache(args[1], function() pause(8000) return 'slow' end)", name))
        slow.start()
        time.sleep(0.5)
        self.assertEqual(self.script("return cache(args[1], function() return 'alone' end)", name), "alone")
        self.assertTrue(4 < time.monotonic() - began < 8)
        slow.join(20)

    def test_the_old_value_serves_while_one_fills(self):
        name, text = self.name(), """
          return cache(args[1], { ttl = "200ms", stale_for = "1h" }, function() pause(args[2]) return counter.add(args[1]) end)"""
        self.assertEqual(self.script(text, name, 1), 1)
        time.sleep(0.4)
        first = threading.Thread(target=self.script, args=(text, name, 1500))
        first.start()
        time.sleep(0.4)
        began = time.monotonic()
        self.assertEqual(self.together(3, lambda i: self.script(text, name, 1500)), [1] * 3)
        self.assertLess(time.monotonic() - began, 1)
        first.join(20)
        self.assertEqual(self.c("POST", f"/api/counters/{name}", {}).json["value"], 3)

    def test_a_fill_that_fails_is_told_unless_an_old_value_serves(self):
        name = self.name()
        self.assertEqual(self.script("""
          local name, out = args[1], {}
          local function fails() reject("DOWN", "no answer") end
          local ok, e = pcall(cache, name, fails)
          out[1], out[2] = e.code, cache(name, { ttl = "100ms", stale_for = "1h" }, function() return "old" end)
          pause(300)
          out[3] = cache(name, { ttl = "100ms", stale_for = "1h" }, fails)
          return out""", name), ["DOWN", "old", "old"])

    def test_a_flush_makes_all_with_the_tag_worthless(self):
        self.assertEqual(self.script("""
          local name, n, out = args[1], 0, {}
          local function get(suffix, tags) n = n + 1 return cache(name .. suffix, { stale_for = "1h", tags = tags }, function() return n end) end
          out[1], out[2], out[3] = get("a", { name, "x" .. name }), get("b", { name }), get("c", { "x" .. name })
          out[4], out[5], out[6] = get("a"), get("b"), get("c")
          cache.flush(name)
          out[7], out[8], out[9] = get("a", { name }), get("b"), get("c")
          out[10] = get("a")
          return out""", self.name()), [1, 2, 3, 1, 2, 3, 7, 8, 3, 7])

    def test_what_was_begun_before_a_flush_is_not_kept(self):
        name, out = self.name(), []
        text = "return cache(args[1], { tags = { args[1] } }, function() pause(args[2]) return counter.add(args[1]) end)"
        t = threading.Thread(target=lambda: out.append(self.script(text, name, 1000)))
        t.start()
        time.sleep(0.4)
        self.ok("POST", f"/flush/{name}", {})
        t.join(20)
        self.assertEqual((out, self.script(text, name, 1), self.script(text, name, 1)), ([1], 2, 2))
        self.ok("POST", f"/flush/{name}?fail=1", {}, 422)
        self.assertEqual(self.script(text, name, 1), 2)

    def test_what_cannot_be_kept_is_given_all_the_same(self):
        self.assertEqual(self.script("""
          local name, out, n = args[1], {}, 0
          out[1] = cache(name, function() n = n + 1 end) == nil
          out[2] = cache(name, function() n = n + 1 return "now" end)
          out[3] = #cache(name .. "big", function() return string.rep("x", 300000) end)
          out[4] = n
          return out""", self.name()), [True, "now", 300000, 2])

    def test_a_hook_finds_out_for_itself(self):
        name = self.name()
        self.assertEqual(self.script("""
          local a = entity("Hooked").new { key = args[1] }:save().n
          cache(args[1], function() return 9 end)
          return { a, entity("Hooked").new { key = args[1] }:save().n }""", name), [5, 9])

    def test_what_is_no_cache_is_refused(self):
        self.assertEqual(self.script("""
          local function why(fn, ...) local ok, e = pcall(fn, ...) return ok and "done" or e.code end
          local f = function() return 1 end
          return { why(cache, 1, f), why(cache, "x"), why(cache, string.rep("x", 507), f), why(cache, "x", { tll = 1 }, f),
            why(cache, "x", { ttl = 0 }, f), why(cache, "x", { ttl = "31d" }, f), why(cache, "x", { ttl = "20d", stale_for = "11d" }, f),
            why(cache, "x", { tags = "x" }, f), why(cache, "x", { tags = { "" } }, f), why(cache.flush, ""), why(cache.flush, string.rep("t", 129)),
            why(tx, function() cache("x", f) end) }"""), ["invalid"] * 12)


if __name__ == "__main__":
    unittest.main()
