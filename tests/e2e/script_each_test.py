"""each() in scripts: all pages of one snapshot, whatever is changed meanwhile; a loop gives it back however it ends."""
import threading
import time
import unittest

from e2e.node import App, Case

APP = """
entity "Item" { fields = { n = int {}, of = ref { "Item", check = false, on_remove = "none", inverse = "parts" } }, index = { { "n" } } }
entity "Other" { fields = { n = int {} } }
"""
ROWS = 450  # three pages


class Each(App):
    APP = APP

    def setUp(self):
        super().setUp()
        self.ok("DELETE", "/api/item/bulk", {"filter": {}, "confirm": "Item"})
        self.ok("POST", "/api/item/bulk", [{"id": f"i{i:03}", "n": i, "of": f"i{i % 7:03}"} for i in range(ROWS)])

    def test_what_is_changed_meanwhile_is_not_seen(self):
        seen = self.script("""
          local Item, seen = entity("Item"), {}
          for e in Item.each {} do
            if #seen == 0 then
              Item.remove("i400")
              Item.get("i300"):patch { n = -1 }
              Item.new { id = "i2000", n = 2000 }:save()
              Item.save_all { Item.new { id = "i4500", n = 1 }, Item.new { id = "z", n = 1 } }
            end
            seen[#seen + 1] = { e.id, e.n }
          end
          return seen""")
        self.assertEqual(seen, [[f"i{i:03}", i] for i in range(ROWS)])
        self.assertEqual(len(self.script('local n = 0 for e in entity("Item").each {} do n = n + 1 end return { n, "" }')), 2)
        self.assertEqual(self.script('local n = 0 for e in entity("Item").each {} do n = n + 1 end return n'), ROWS + 2)

    def test_a_loop_that_moves_what_it_sorts_by_meets_each_record_once(self):
        self.assertEqual(self.script("""
          local n = 0
          for e in entity("Item").each { sort = "n", filter = { n = { ["$lt"] = 100000 } } } do
            n = n + 1
            if n % 50 == 0 then e:patch { n = e.n + 100000 - 1 - n } end
          end
          return n"""), ROWS)

    def test_what_stands_beside_is_of_the_same_snapshot(self):
        self.assertEqual(self.script("""
          local Item, wrong, n = entity("Item"), 0, 0
          for e in Item.each { with = "of", fields = "n,of", sort = "-n" } do
            n = n + 1
            if n == 1 then for i = 0, 6 do Item.get("i00" .. i):patch { n = -5 } end end
            if e._with.of.n ~= tonumber(e._with.of.id:sub(2)) then wrong = wrong + 1 end
          end
          return { n, wrong }"""), [ROWS, 0])

    def test_loops_inside_loops_and_loops_that_are_left(self):
        self.assertEqual(self.script("""
          local Item, n = entity("Item"), 0
          for a in Item.each { filter = { n = { ["$lt"] = 3 } } } do
            for b in Item.each {} do
              if b.n % 50 == 0 then
                for c in Item.each { sort = "-n" } do n = n + 1 if c.n < 440 then break end end
              end
              if b.n == 205 then break end
            end
          end
          for i = 1, 100 do for e in Item.each {} do break end end
          for i = 1, 100 do pcall(function() for e in Item.each {} do error("left") end end) end
          return n"""), 3 * 5 * 11)

    def test_too_many_at_once_are_refused_and_those_that_end_make_room(self):
        self.assertEqual(self.script("""
          local Item, open, failed = entity("Item"), {}, nil
          for i = 1, 40 do
            local step, _, _, closing = Item.each {}
            local ok, e = pcall(step)
            if not ok then failed = failed or { i, e.code } end
            open[i] = { step, closing }
          end
          local first, n = open[1][1], 1
          while first() do n = n + 1 end
          local ok = pcall(Item.each {})
          return { failed, n, ok }"""), [[17, "overloaded"], ROWS, True])
        # What a run leaves behind does not bind the next ones.
        for _ in range(3):
            self.script("""
              local open = {}
              for i = 1, 16 do open[i] = entity("Item").each {} open[i]() end
              open = nil
              return 1""")

    def test_what_a_filter_finds_is_removed_as_it_was_found(self):
        """Others take records out of what matches while scripts remove by filter; none of those may go."""
        stop, saved = threading.Event(), []

        def save():
            c = self.server.client()
            for i in range(200, ROWS):
                if stop.is_set():
                    return
                if c("PATCH", f"/api/item/i{i:03}", {"n": -1}).status == 200:
                    saved.append(f"i{i:03}")

        worker = threading.Thread(target=save)
        worker.start()
        while len(saved) < 20:
            time.sleep(0.001)
        for text in ('return tx(function() return entity("Item").remove_all { filter = { n = { ["$gt"] = 399 } } } end)',
                     'return entity("Item").remove_all { filter = { n = { ["$gt"] = 9 } } }'):
            while True:
                a = self.ok("POST", "/api/cluster/run", {"text": text}).json
                if a["ok"]:
                    break
                self.assertIn(a["error"]["code"], ("version_mismatch", "conflict", "not_found"), a)
        stop.set()
        worker.join()
        left = self.script('local ids = {} for e in entity("Item").each { sort = "id" } do ids[#ids + 1] = e.id end return ids')
        self.assertEqual(left, sorted([f"i{i:03}" for i in range(10)] + saved))

    def test_a_small_loop_costs_no_place(self):
        self.assertEqual(self.script("""
          local open = {}
          for i = 1, 100 do
            open[i] = entity("Item").each { filter = { n = { ["$lt"] = 150 } } }
            open[i]()
          end
          return #open"""), 100)


class Long(Case):
    def test_a_loop_that_takes_too_long_goes_on_behind_its_last_record_with_a_newer_snapshot(self):
        self.write("scripts/app.lua", APP)
        node = self.node("--scripts", self.path("scripts"), env={"KOAN_HTTP_STREAM_TIME": "300ms"})
        c = node.client()
        c("POST", "/api/item/bulk", [{"id": f"i{i:03}", "n": i} for i in range(ROWS)])
        a = c("POST", "/api/cluster/run", {"text": """
          local Item, seen, began = entity("Item"), {}, time.now()
          for e in Item.each {} do
            if #seen == 0 then
              Item.remove("i001")
              Item.get("i300"):patch { n = -1 }
              Item.remove("i444")
            end
            seen[#seen + 1] = { e.id, e.n }
            if #seen == 150 then
              repeat Item.get(e.id):patch { of = tostring(#seen) .. time.now() } until time.now() - began > 600
            end
          end
          return seen"""}).json
        self.assertTrue(a["ok"], a)
        want = [[f"i{i:03}", -1 if i == 300 else i] for i in range(ROWS) if i != 444]
        self.assertEqual(a["result"], want)
        self.assertEqual(node.stop(), 0)


if __name__ == "__main__":
    unittest.main()
