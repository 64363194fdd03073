"""What scripts read: records with others beside them, computed fields, both sides of a mirror."""
import unittest

from e2e.node import App

APP = """
entity "Region" { fields = { name = text }, view = function(r) return { label = "<" .. (r.name or "") .. ">" } end }
entity "Customer" {
  fields = { name = text, nick = text, region = ref { "Region" }, tags = list { ref { "Region" } } },
  view = function(c, ctx)
    return { shown = c.nick or c.name, by = ctx.principal, orders_count = entity("Order").count { filter = { customer = c.id } },
             where = c.region and entity("Region").get(c.region).label }
  end,
}
entity "Order" { fields = { customer = ref { "Customer", inverse = "orders" }, n = int } }
entity "Loop"  { fields = { next = text }, view = function(e) return { sum = 1 + (e.next and entity("Loop").get(e.next).sum or 0) } end }
entity "Broken" { fields = { a = text }, view = function(e) error("no way") end }
entity "Ver"   { fields = { a = int }, require_version = true }
entity "Item"  { fields = { name = text, n = int, tags = list { text } },
                 before_save = function(e) if e.name == "no" then reject("NO", "not this one") end end }
"""


class Reads(App):
    APP = APP

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        c = cls.server.client()
        c("PUT", "/api/region/r", {"name": "north"})
        c("PUT", "/api/region/s", {"name": "south"})
        c("PUT", "/api/customer/c", {"name": "Ana", "region": "r", "tags": ["s", "r"]})
        c("PUT", "/api/customer/d", {"name": "Bo", "nick": "B"})
        for i in range(3):
            c("PUT", f"/api/order/o{i}", {"customer": "c", "n": i})
        c.close()

    def run_text(self, text, status=200):
        a = self.ok("POST", "/api/cluster/run", {"text": text}, status)
        return a.json

    def gives(self, text):
        a = self.run_text(text)
        self.assertTrue(a["ok"], a)
        return a.get("result")

    def test_get_and_query_put_others_beside(self):
        self.assertEqual(self.gives("""
          local o = entity("Order").get("o1", { with = "customer.region,customer.tags" })
          local c = o._with.customer
          return { c.name, c._with.region.name, c._with.tags[1].name, #c._with.tags, c.shown, c._with.region.label }"""),
            ["Ana", "north", "south", 2, "Ana", "<north>"])
        self.assertEqual(self.gives("""
          local rows, page = entity("Customer").query { with = { "orders", "region" }, sort = "name" }
          return { #rows, page.more, #rows[1]._with.orders, rows[1]._with.orders[3].n, rows[2]._with.region == nil, #rows[2]._with.orders }"""),
            [2, False, 3, 2, True, 0])
        self.assertEqual(self.gives("""
          local rows = entity("Order").get({ "o2", "none", "o0" }, { with = "customer" })
          return { rows[1].id, rows[2] == nil, rows[3]._with.customer.id }"""), ["o2", True, "c"])
        self.assertEqual(self.gives("""
          local n = 0
          for o in entity("Order").each { with = "customer" } do n = n + (o._with.customer.id == "c" and 1 or 0) end
          return n"""), 3)
        self.assertEqual(self.gives('return entity("Order").get("none", { with = "customer" }) == nil'), True)
        for text, words in (('entity("Order").get("o1", { with = "custmer" })', "did you mean 'customer'"),
                            ('entity("Order").get("o1", { wiht = "customer" })', "no option 'wiht'"),
                            ('entity("Order").query { with = 5 }', "with is a text or a list"),
                            ('entity("Order").query { with = "customer", fields = "n" }', "among fields")):
            said = self.gives(f"local ok, e = pcall(function() {text} end) return {{ ok, tostring(e.detail or e) }}")
            self.assertFalse(said[0])
            self.assertIn(words, said[1])

    def test_what_is_beside_can_be_changed_and_is_not_saved_along(self):
        self.assertEqual(self.gives("""
          local o = entity("Order").get("o1", { with = "customer" })
          o._with.customer:patch { nick = "Annie" }
          o.n = 11
          o:save()
          local kept = o._with.customer.nick
          entity("Customer").get("c"):patch { nick = json.null }
          return { kept, entity("Order").get("o1").n, entity("Order").get("o1")._with == nil }"""), ["Annie", 11, True])

    def test_inside_tx_the_record_is_as_the_unit_sees_it(self):
        self.assertEqual(self.gives("""
          return tx(function()
            local o = entity("Order").get("o2")
            o:patch { n = 77 }
            local again = entity("Order").get("o2", { with = "customer" })
            o:patch { n = 2 }
            return { again.n, again._with.customer.name }
          end)"""), [77, "Ana"])

    def test_computed_fields_are_there_and_not_kept(self):
        self.assertEqual(self.gives("""
          local c, d = entity("Customer").get("c"), entity("Customer").get("d")
          local before = d.shown
          d.nick = "Bob"
          local keys = {}
          for k in pairs(c) do keys[k] = true end
          return { before, d.shown, c.where, c.orders_count, keys.shown == nil, c.none == nil, c.nick == nil }"""),
            ["B", "Bob", "<north>", 3, True, True, True])
        self.assertEqual(self.gives("""
          local d = entity("Customer").get("d")
          local shown = d.shown
          d:save()
          return { shown, d.version, entity("Customer").query({ fields = "name", sort = "name" })[1].shown == nil }"""), ["B", 1, True])

    def test_views_that_read_each_other_end(self):
        self.gives("""for i = 1, 20 do entity("Loop").new { id = "l" .. i, next = i < 20 and "l" .. (i + 1) or nil }:save() end""")
        self.assertEqual(self.gives('return entity("Loop").get("l14").sum'), 7)
        said = self.gives('local ok, e = pcall(function() return entity("Loop").get("l1").sum end) return { ok, e.detail or tostring(e) }')
        self.assertEqual(said[0], False)
        self.assertIn("over 8 views inside one another", said[1])
        # And nothing of it is left behind.
        self.assertEqual(self.gives('return entity("Loop").get("l14").sum'), 7)
        self.assertIn("no way", self.gives("""
          local b = entity("Broken").new { a = "x" }:save()
          local ok, e = pcall(function() return b.c end)
          return ok and "?" or tostring(e.detail or e)"""))

    def test_a_version_that_is_required_is_that_of_the_record(self):  # E2
        self.assertEqual(self.gives("""
          local Ver = entity("Ver")
          Ver.new { id = "v", a = 1 }:save()
          local e, old = Ver.get("v"), Ver.get("v")
          e.a = 2
          e:save()
          local said = { e.version }
          for _, change in ipairs {
            function() old:patch { a = 9 } end, function() old:save() end, function() old:remove() end, function() Ver.remove("v") end,
            function() e:patch({ a = 9 }, { if_version = 1 }) end, function() Ver.remove("v", { if_version = 1 }) end,
          } do
            local ok, err = pcall(change)
            said[#said + 1] = ok and "?" or err.code
          end
          tx(function()
            local x = Ver.get("v")
            x:patch { a = 3 }
            x:patch { a = 4 }
            x.a = 5
            x:save()
            Ver.new { id = "fresh", a = 1 }:save():patch { a = 2 }
          end)
          said[#said + 1] = Ver.get("v").version
          Ver.save_all { Ver.get("v"), Ver.get("fresh") }
          said[#said + 1] = Ver.remove_all { filter = { a = { ["$gt"] = 0 } } }
          return said"""), [2] + ["version_mismatch"] * 3 + ["invalid"] + ["version_mismatch"] * 2 + [5, 2])

    def mirror(self, prefer):
        return self.gives(f"""
          local Item = entity("Item")
          local m = Item.mirror {{ filter = {{}}, from = "a", to = "b", prefer = {prefer} }}
          table.sort(m.results, function(x, y) return x.id < y.id end)
          return m""")

    def test_mirror_makes_both_alike_and_reports(self):
        c = self.c
        c("PUT", "/api/item/left?partition=a", {"name": "l", "tags": ["x"]})
        c("PUT", "/api/item/right?partition=b", {"name": "r"})
        for p, n in (("a", 1), ("b", 2)):
            c("PUT", f"/api/item/both?partition={p}", {"name": "both", "n": n})
            c("PUT", f"/api/item/same?partition={p}", {"name": "same", "tags": ["q", "r"]})
        over_http = self.ok("POST", "/api/item/mirror", {"filter": {}, "from": "a", "to": "b", "prefer": "report"}).json
        told = self.mirror('"report"')
        self.assertEqual(told, {**over_http, "results": sorted(over_http["results"], key=lambda r: r["id"])})
        self.assertEqual([r["outcome"] for r in told["results"]], ["reported", "reported", "reported", "unchanged"])
        done = self.mirror("nil")
        self.assertEqual(done["results"], [
            {"id": "both", "difference": "differs", "into": "source", "outcome": "updated"},
            {"id": "left", "difference": "only_in_source", "into": "target", "outcome": "created"},
            {"id": "right", "difference": "only_in_target", "into": "source", "outcome": "created"},
            {"id": "same", "outcome": "unchanged"}])
        self.assertEqual((done["matched"], done["changed"]), (4, 3))
        self.assertEqual(self.mirror('"target"')["changed"], 0)
        self.assertEqual(self.ok("GET", "/api/item/both?partition=a").json["n"], 2)
        self.assertEqual(self.ok("GET", "/api/item/left?partition=b").json["tags"], ["x"])

    def test_what_a_mirror_does_not_take_is_said(self):
        for options, words in (('filter = {}, to = "b", prefer = "best"', "none of latest"), ('to = "b"', "filter"),
                               ('filter = {}, from = "b", to = "b"', "same partition"),
                               ('filter = {}, to = "b", form = "a"', "no option 'form'")):
            said = self.gives('local ok, e = pcall(entity("Item").mirror, { %s }) return { ok, tostring(e.detail or e) }' % options)
            self.assertFalse(said[0], options)
            self.assertIn(words, said[1])
        self.ok("POST", "/api/item/bulk?partition=many", [{"id": f"m{i:04}"} for i in range(501)])
        self.assertIn("over 500", self.gives("""
          local ok, e = pcall(entity("Item").mirror, { filter = {}, from = "many", to = "few" })
          return tostring(e.detail or e)"""))
        # One that is refused refuses all.
        self.ok("PUT", "/api/item/ok?partition=x", {"name": "fine"}, 201)
        self.gives("""entity("Item").partition("y").new { id = "z", name = "yes" }:save()""")
        self.assertEqual(self.gives("""
          local n = 0
          local ok = pcall(tx, function() entity("Item").mirror { filter = {}, from = "x", to = "y" } end)
          return { ok, entity("Item").partition("y").get("ok") == nil }"""), [False, True])


if __name__ == "__main__":
    unittest.main()
