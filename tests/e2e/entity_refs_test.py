"""References over HTTP and from scripts: checked at commit, and what a removal does to those who refer."""
import unittest

from e2e.node import App, Case

APP = """
local Customer = entity "Customer" { fields = { name = text } }
entity "Order" {
  fields = {
    customer = ref { "Customer", required = true },
    seller   = ref { Customer, on_remove = "null" },
    note     = ref { "Customer", on_remove = "none", check = false },
  },
}
entity "OrderLine" {
  fields = { order = ref { to = "Order", on_remove = "cascade", inverse = "lines" }, sku = text },
}
"""


class Store(App):
    APP = APP


class References(Store):
    def test_a_missing_target_is_a_conflict_that_names_field_and_id(self):
        p = self.refused("PUT", "/api/order/m1", {"customer": "nobody"}, 409, "conflict", "nobody")
        self.assertEqual(p["errors"][0]["field"], "customer")
        self.ok("PUT", "/api/customer/m", {"name": "Ana"}, 201)
        self.ok("PUT", "/api/order/m1", {"customer": "m"}, 201)
        self.ok("PUT", "/api/order/m2", {"customer": "m", "note": "not there"}, 201)
        self.refused("PATCH", "/api/order/m2", {"seller": "nobody"}, 409, "conflict", "seller")

    def test_a_bulk_may_bring_the_target_in_front(self):
        self.ok("POST", "/api/customer/bulk", [{"id": "b1"}, {"id": "b2"}])
        answer = self.refused("POST", "/api/order/bulk", [{"id": "bo", "customer": "b1"}, {"id": "bp", "customer": "b3"}],
                              409, "conflict", "b3")
        self.assertEqual(answer["failed_op"], 1)
        self.ok("GET", "/api/order/bo", status=404)

    def test_removal_restricts_nulls_and_cascades(self):
        for c in ("r1", "r2"):
            self.ok("PUT", "/api/customer/" + c, {}, 201)
        self.ok("PUT", "/api/order/ro", {"customer": "r1", "seller": "r2", "note": "r2"}, 201)
        for i in range(3):
            self.ok("PUT", f"/api/order-line/rl{i}", {"order": "ro"}, 201)
        self.refused("DELETE", "/api/customer/r1", None, 409, "conflict", "Order 'ro'")
        self.ok("DELETE", "/api/customer/r2", status=204)
        order = self.ok("GET", "/api/order/ro").json
        self.assertNotIn("seller", order)
        self.assertEqual((order["note"], order["version"]), ("r2", 2))
        self.ok("DELETE", "/api/order/ro", status=204)
        for i in range(3):
            self.ok("GET", f"/api/order-line/rl{i}", status=404)
        self.ok("DELETE", "/api/customer/r1", status=204)

    def test_lines_are_found_by_their_reference(self):
        self.ok("PUT", "/api/customer/f", {}, 201)
        self.ok("PUT", "/api/order/f", {"customer": "f"}, 201)
        self.ok("PUT", "/api/order-line/f1", {"order": "f"}, 201)
        self.assertEqual([r["id"] for r in self.ok("GET", "/api/order-line?filter=%7B%22order%22:%22f%22%7D").json], ["f1"])


class With(Store):
    APP = """
entity "Region"   { fields = { name = text } }
entity "Customer" { fields = { name = text, region = ref { "Region" }, boss = ref { "Customer", inverse = "staff" } } }
entity "Order"    {
  fields = { customer = ref { "Customer", inverse = "orders" }, note = text, other = ref { "Customer", check = false } },
  view = function(e) return { title = "order " .. e.id } end,
}
entity "Line"     { fields = { order = ref { "Order", inverse = "lines" }, sku = text }, ttl = true }
entity "TwinA"    { fields = { c = ref { "Region", inverse = "twins" } } }
entity "TwinB"    { fields = { c = ref { "Region", inverse = "twins" } } }
"""

    def setUp(self):
        super().setUp()
        self.c("PUT", "/api/region/r", {"name": "north"})
        self.c("PUT", "/api/customer/b", {"name": "boss"})
        for i in range(3):
            self.c("PUT", f"/api/customer/c{i}", {"name": f"n{i}", "region": "r", "boss": "b"})
            self.c("PUT", f"/api/order/o{i}", {"customer": f"c{i}", "other": "nobody"})
            self.c("PUT", f"/api/line/l{i}", {"order": "o0", "sku": str(i)})

    def test_a_ref_an_inverse_and_what_lies_behind_them(self):
        o = self.ok("GET", "/api/order/o0?with=customer.region,lines,other,customer.boss").json
        plain = self.ok("GET", "/api/order/o0").json
        self.assertEqual({k: v for k, v in o.items() if k != "_with"}, plain)
        w = o["_with"]
        self.assertEqual(o["title"], "order o0")
        self.assertEqual(w["customer"]["name"], "n0")
        self.assertEqual(w["customer"]["_with"]["region"]["name"], "north")
        self.assertEqual(w["customer"]["_with"]["boss"]["name"], "boss")
        self.assertEqual([line["id"] for line in w["lines"]], ["l0", "l1", "l2"])
        self.assertNotIn("_with", w["lines"][0])
        self.assertIsNone(w["other"])

    def test_a_page_and_a_question(self):
        page = self.ok("GET", "/api/order?with=lines.order,customer&fields=customer").json
        self.assertEqual([r["_with"]["customer"]["name"] for r in page], ["n0", "n1", "n2"])
        self.assertEqual([len(r["_with"]["lines"]) for r in page], [3, 0, 0])
        self.assertEqual(page[0]["_with"]["lines"][1]["_with"]["order"]["id"], "o0")
        found = self.ok("POST", "/api/customer/query", {"filter": {"id": "b"}, "with": ["staff.orders.lines"]}).json
        staff = found[0]["_with"]["staff"]
        self.assertEqual([s["id"] for s in staff], ["c0", "c1", "c2"])
        self.assertEqual(len(staff[0]["_with"]["orders"][0]["_with"]["lines"]), 3)

    def test_hidden_records_are_never_seen(self):  # E5
        self.ok("PUT", "/api/order/h", {}, 201)
        self.ok("PUT", "/api/line/h1", {"order": "h", "expires_at": "2020-01-01T00:00:00Z"}, 201)
        self.ok("PUT", "/api/line/h2", {"order": "h"}, 201)
        self.assertEqual([line["id"] for line in self.ok("GET", "/api/order/h?with=lines").json["_with"]["lines"]], ["h2"])

    def test_over_two_hundred_is_refused_and_the_way_out_named(self):
        self.ok("PUT", "/api/order/many", {}, 201)
        self.ok("POST", "/api/line/bulk", [{"id": f"m{i:03}", "order": "many"} for i in range(200)])
        self.assertEqual(len(self.ok("GET", "/api/order/many?with=lines").json["_with"]["lines"]), 200)
        self.ok("PUT", "/api/line/m200", {"order": "many"}, 201)
        self.refused("GET", "/api/order/many?with=lines", None, 413, "too_large", "/api/line?filter=")

    def test_what_cannot_be_asked_is_said(self):
        self.refused("GET", "/api/order/o0?with=custmer", None, 400, "invalid", "did you mean 'customer'")
        self.refused("GET", "/api/order/o0?with=note", None, 400, "invalid", "neither a ref")
        self.refused("GET", "/api/customer/b?with=staff.staff.staff.staff", None, 400, "invalid", "3 names deep")
        self.refused("GET", "/api/region/r?with=twins", None, 400, "invalid", "TwinA.c and of TwinB.c")
        self.refused("GET", "/api/order?with=customer&fields=note", None, 400, "invalid", "among fields")
        self.refused("GET", "/api/order/nope?with=customer", None, 404, "not_found")


class Lists(Store):
    APP = """
entity "Tag"  { fields = { name = text } }
entity "Post" {
  fields = {
    title  = text,
    tags   = list { of = ref { "Tag", on_remove = "null", inverse = "posts" } },
    needs  = list { ref { "Tag" } },
    lives  = list { of = ref { "Tag", on_remove = "cascade" } },
    traces = list { of = ref { "Tag", on_remove = "none", check = false } },
  },
  before_save = function(e)
    if e.title == "count" then e.title = tostring(entity("Post").count { filter = { tags = { ["$in"] = { "d", "b" } } } }) end
  end,
}
"""

    def setUp(self):
        super().setUp()
        for t in "abcd":
            self.c("PUT", "/api/tag/" + t, {"name": t.upper()})

    def test_each_element_is_checked_and_its_target_s_removal_felt(self):
        p = self.refused("PUT", "/api/post/x", {"tags": ["a", "nobody"]}, 409, "conflict", "nobody")
        self.assertEqual(p["errors"][0]["field"], "tags")
        p = self.refused("PUT", "/api/post/x", {"tags": ["a", 5]}, 400, "invalid")
        self.assertEqual(p["errors"][0]["field"], "tags")
        for t in ("r1", "r2", "r3"):
            self.ok("PUT", "/api/tag/" + t, {}, 201)
        self.ok("PUT", "/api/post/x", {"tags": ["r1", "a", "r1"], "needs": ["r2"], "traces": ["gone", "r1"]}, 201)
        self.ok("PUT", "/api/post/y", {"lives": ["r3", "a"]}, 201)
        self.refused("DELETE", "/api/tag/r2", None, 409, "conflict", "field 'needs'")
        self.ok("DELETE", "/api/tag/r1", status=204)
        x = self.ok("GET", "/api/post/x").json
        self.assertEqual((x["tags"], x["traces"], x["version"]), (["a"], ["gone", "r1"], 2))
        self.ok("DELETE", "/api/tag/r3", status=204)
        self.ok("GET", "/api/post/y", status=404)

    def test_they_are_found_by_an_element_and_shown_beside(self):
        self.ok("PUT", "/api/post/f1", {"tags": ["b", "c"], "traces": ["nobody", "c"]}, 201)
        self.ok("PUT", "/api/post/f2", {"tags": ["c"]}, 201)
        found = self.ok("POST", "/api/post/query", {"filter": {"tags": "c"}, "with": "tags.posts,traces"}).json
        self.assertEqual([r["id"] for r in found], ["f1", "f2"])
        w = found[0]["_with"]
        self.assertEqual([t["name"] for t in w["tags"]], ["B", "C"])
        self.assertEqual([p["id"] for p in w["tags"][1]["_with"]["posts"]], ["f1", "f2"])
        self.assertEqual((w["traces"][0], w["traces"][1]["id"]), (None, "c"))
        self.assertIsNone(found[1]["_with"]["traces"])
        many = self.ok("POST", "/api/post/query", {"filter": {"tags": {"$all": ["b", "c"]}}}).json
        self.assertEqual([r["id"] for r in many], ["f1"])
        self.ok("PUT", "/api/post/f3", {"title": "count", "tags": ["a"]}, 201)
        self.assertEqual(self.ok("GET", "/api/post/f3").json["title"], "1")
        items = self.ok("GET", "/openapi.json").json["components"]["schemas"]["Post"]["properties"]["tags"]["items"]
        self.assertIn("record of Tag", items["description"])


class Public(Case):
    def test_to_anybody_only_what_is_public_is_shown(self):
        self.write("scripts/app.lua", 'entity "Customer" { fields = { name = text } }\n'
                   'entity "Tag" { fields = { name = text }, access = { read = "public" } }\n'
                   'entity "Order" { fields = { customer = ref { "Customer" }, tag = ref { "Tag" } }, history = true, '
                   'access = { read = "public" } }\n')
        node = self.node("--scripts", self.path("scripts"), env={"KOAN_TOKEN": "a-token-of-some-length"})
        mine, anybody = node.client(token="a-token-of-some-length"), node.client()
        self.assertEqual(mine("PUT", "/api/customer/c", {}).status, 201)
        self.assertEqual(mine("PUT", "/api/tag/t", {"name": "x"}).status, 201)
        self.assertEqual(mine("PUT", "/api/order/o", {"customer": "c", "tag": "t"}).status, 201)
        self.assertEqual(mine("GET", "/api/order/o?with=customer").status, 200)
        self.assertEqual(anybody("GET", "/api/order/o?with=tag").json["_with"]["tag"]["name"], "x")
        answer = anybody("GET", "/api/order/o?with=customer")
        self.assertEqual((answer.status, answer.json["code"]), (403, "forbidden"))
        self.assertEqual(anybody("GET", "/api/order/o/history").status, 401)
        self.assertEqual(mine("GET", "/api/order/o/history").status, 200)
        self.assertEqual(node.stop(), 0)


class Declarations(Case):
    def test_a_misspelt_target_refuses_the_set_and_names_the_nearest(self):
        self.write("scripts/app.lua", 'entity "Customer" { fields = { name = text } }\n'
                   'entity "Order" { fields = { customer = ref { "Custmer" } } }\n')
        node = self.node("--scripts", self.path("scripts"), wait=False)
        self.assertNotEqual(node.process.wait(30), 0)
        node.reader.join(10)
        self.assertIn("Custmer", node.text)
        self.assertIn("field 'customer'", node.text)


if __name__ == "__main__":
    unittest.main()
