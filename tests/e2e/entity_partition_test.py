"""?partition=: other sets of records with the same definition, each for itself."""
import json
import unittest

from e2e.entity_feed_test import Feed
from e2e.entity_refs_test import Store

APP = """
entity "Customer" { fields = { name = text { search = true }, email = email { unique = true } }, history = true, soft_remove = true }
entity "Order"    { fields = { customer = ref { "Customer", on_remove = "cascade", inverse = "orders" } } }
entity "Guarded"  {
  fields = { name = text, was = text },
  before_save = function(e, prior) e.was = prior and prior.name or "nothing" end,
}
"""


class Partitions(Store):
    APP = APP

    def test_each_has_its_own_ids_and_unique_values(self):
        one = {"name": "plain", "email": "a@x.org"}
        self.ok("PUT", "/api/customer/a", one, 201)
        a = self.ok("PUT", "/api/customer/a?partition=draft", {**one, "name": "drafted"}, 201)
        self.assertEqual((a.json["name"], a.json["version"]), ("drafted", 1))
        self.refused("POST", "/api/customer?partition=draft", one, 409, "conflict", "email")
        self.assertEqual(self.ok("GET", "/api/customer/a").json["name"], "plain")
        self.assertEqual(self.ok("GET", "/api/customer/a?partition=draft").json["name"], "drafted")
        self.ok("GET", "/api/customer/a?partition=other", status=404)
        for method, path, body in (("GET", "/api/customer?partition=draft", None),
                                   ("GET", "/api/customer?partition=draft&q=drafted", None),
                                   ("GET", "/api/customer?partition=draft&sort=-name&with=orders", None),
                                   ("POST", "/api/customer/query?partition=draft", {"filter": {"name": "draf*"}})):
            found = self.ok(method, path, body)
            self.assertEqual([r["name"] for r in found.json], ["drafted"], path)
            self.assertEqual(found.headers["X-Total-Count"], "1")
        lines = self.ok("GET", "/api/customer?partition=draft", Accept="application/x-ndjson").body.splitlines()
        self.assertEqual([json.loads(line)["name"] for line in lines], ["drafted"])
        self.ok("PATCH", "/api/customer/a?partition=draft", {"name": "again"}, If_Match='"1"')
        self.assertEqual(self.ok("GET", "/api/customer/a").json["version"], 1)
        self.assertEqual(self.ok("GET", "/api/customer/a/history").json, [])
        self.assertEqual([h["version"] for h in self.ok("GET", "/api/customer/a/history?partition=draft").json], [1])
        self.assertEqual(self.ok("GET", "/api/customer/a/history/1?partition=draft").json["name"], "drafted")
        self.ok("DELETE", "/api/customer/a", status=204)
        self.ok("GET", "/api/customer/a?partition=draft")
        self.ok("POST", "/api/customer/a/restore?partition=draft", status=404)
        self.ok("POST", "/api/customer/a/restore")

    def test_a_new_record_is_found_where_its_location_says(self):
        a = self.ok("POST", "/api/customer?partition=fresh", {"name": "n"}, 201)
        self.assertEqual(a.headers["Location"], f"/api/customer/{a.json['id']}?partition=fresh")
        self.ok("GET", a.headers["Location"])

    def test_references_stay_inside(self):
        self.ok("PUT", "/api/customer/r", {}, 201)
        self.refused("PUT", "/api/order/r?partition=p", {"customer": "r"}, 409, "conflict", "no Customer 'r'")
        self.ok("PUT", "/api/order/r", {"customer": "r"}, 201)
        self.ok("PUT", "/api/customer/r?partition=p", {}, 201)
        self.ok("PUT", "/api/order/r?partition=p", {"customer": "r"}, 201)
        self.assertEqual(len(self.ok("GET", "/api/customer/r?with=orders&partition=p").json["_with"]["orders"]), 1)
        self.ok("DELETE", "/api/customer/r?partition=p", status=204)
        self.ok("GET", "/api/order/r?partition=p", status=404)
        self.ok("GET", "/api/order/r")

    def test_bulk_hooks_and_feeds_know_it(self):
        self.ok("POST", "/api/guarded/bulk?partition=b", [{"id": "g1", "name": "one"}, {"id": "g2", "name": "two"}])
        plain = Feed(self.server.port, "guarded", since=1)
        self.addCleanup(plain.close)
        f = Feed(self.server.port, "guarded", since=1, partition="b")
        self.addCleanup(f.close)
        self.ok("PUT", "/api/guarded/g1", {"name": "outside"}, 201)
        self.assertEqual(self.ok("PUT", "/api/guarded/g1?partition=b", {"name": "three"}).json["was"], "one")
        self.ok("DELETE", "/api/guarded/bulk?partition=b", {"filter": {"name": "t*"}})
        f.wait(5)
        self.assertEqual([(e, d["id"], d["name"]) for _, e, d in f.events],
                         [("created", "g1", "one"), ("created", "g2", "two"), ("updated", "g1", "three"),
                          ("removed", "g1", "three"), ("removed", "g2", "two")])
        self.assertEqual([(e, d["name"]) for _, e, d in plain.wait(1)], [("created", "outside")])

    def test_a_wrong_name_is_refused(self):
        for name in ("", "a%2Fb", "1a", "a.b", "x" * 65):
            self.refused("GET", "/api/customer?partition=" + name, None, 400, "invalid", "partition")
        self.refused("GET", "/api/customer/new?partition=a", None, 400, "invalid", "query key")


class Scripts(Store):
    APP = 'entity "Item" { fields = { name = text, n = int } }'

    def test_a_script_names_a_partition(self):
        both = 'local Item = entity("Item") local draft = Item.partition("draft") '
        self.assertEqual(self.script(both + """
          draft.new { id = "s1", name = "drafted" }:save()
          Item.new { id = "s1", name = "plain" }:save()
          draft.get("s1"):patch { n = 7 }
          return { draft.get("s1").name, draft.get("s1").n, Item.get("s1").name, draft.count(), #draft.query {} }"""),
            ["drafted", 7, "plain", 1, 1])
        self.assertEqual(self.script(both + """
          tx(function()
            local d = draft.get("s1")
            d:patch { n = d.n + 1 }
            Item.get("s1"):patch { n = d.n }
          end)
          return { draft.get("s1").n, Item.get("s1").n }"""), [8, 8])
        self.assertEqual(self.script(both + """
          local n = Item.copy { filter = {}, from = "draft", to = "copied" }
          return { n, Item.partition("copied").get("s1").name }"""), [1, "drafted"])
        self.assertEqual(self.script(both + """
          local n = Item.move { filter = { n = 8 }, from = "draft", to = "moved" }
          return { n, draft.count(), Item.partition("moved").count() }"""), [1, 0, 1])
        self.assertEqual(self.script(both + """
          local ok, err = pcall(function() return Item.partition("a b").get("x") end)
          local ok2, err2 = pcall(function() Item.partition(string.rep("x", 70)).remove("x") end)
          return { ok, err.code, ok2, err2.code }"""), [False, "invalid", False, "invalid"])


class Transfers(Store):
    APP = """
entity "Item" { fields = { name = text { required = true }, kind = text, code = text { unique = true } }, soft_remove = true }
entity "Part" { fields = { item = ref { "Item" } } }
entity "Upper" {
  fields = { name = text },
  before_save = function(e, prior, ctx)
    if e.name == "bad" then ctx:reject("bad_name") end
    e.name = string.upper(e.name)
  end,
}
"""

    def names(self, part, entity="item"):
        rows = self.ok("GET", f"/api/{entity}" + (f"?partition={part}" if part else "")).json
        return {r["id"]: r["name"] for r in rows}

    def test_copy_makes_the_target_alike(self):
        for i in range(4):
            self.ok("PUT", f"/api/item/c{i}?partition=a", {"name": f"n{i}", "kind": "even" if i % 2 == 0 else "odd"}, 201)
        self.ok("PUT", "/api/item/c0?partition=b", {"name": "older"}, 201)
        a = self.ok("POST", "/api/item/copy", {"filter": {"kind": "even"}, "from": "a", "to": "b"}).json
        self.assertEqual([(r["id"], r["outcome"]) for r in a["results"]], [("c0", "updated"), ("c2", "created")])
        self.assertEqual((a["matched"], a["changed"]), (2, 2))
        self.assertEqual(self.names("b"), {"c0": "n0", "c2": "n2"})
        self.assertEqual(len(self.names("a")), 4)
        again = self.ok("POST", "/api/item/copy", {"filter": {"kind": "even"}, "from": "a", "to": "b"}).json
        self.assertEqual([r["outcome"] for r in again["results"]], ["unchanged", "unchanged"])
        self.assertEqual(again["changed"], 0)

    def test_move_is_all_or_nothing(self):
        for i in range(3):
            self.ok("PUT", f"/api/item/m{i}?partition=m", {"name": f"n{i}", "code": f"m{i}"}, 201)
        self.ok("PUT", "/api/item/x?partition=n", {"name": "x", "code": "m2"}, 201)
        self.refused("POST", "/api/item/move", {"filter": {}, "from": "m", "to": "n"}, 409, "conflict", "m2")
        self.assertEqual(len(self.names("m")), 3)
        self.assertEqual(list(self.names("n")), ["x"])
        self.ok("DELETE", "/api/item/x?partition=n", status=204)
        a = self.ok("POST", "/api/item/move", {"filter": {}, "from": "m", "to": "n"}).json
        self.assertEqual([r["outcome"] for r in a["results"]], ["moved"] * 3)
        self.assertEqual((self.names("m"), len(self.names("n"))), ({}, 3))

    def test_move_is_a_removal_to_who_refers(self):
        self.ok("PUT", "/api/item/r?partition=q", {"name": "r"}, 201)
        self.ok("PUT", "/api/part/r?partition=q", {"item": "r"}, 201)
        self.refused("POST", "/api/item/move", {"filter": {}, "from": "q", "to": "z"}, 409, "conflict", "Part 'r'")

    def test_mirror_makes_both_alike_and_says_how(self):
        self.ok("PUT", "/api/item/both?partition=l", {"name": "left"}, 201)
        self.ok("PUT", "/api/item/only-left?partition=l", {"name": "l"}, 201)
        self.ok("PUT", "/api/item/same?partition=l", {"name": "same"}, 201)
        self.ok("PUT", "/api/item/both?partition=r", {"name": "right"}, 201)
        self.ok("PUT", "/api/item/only-right?partition=r", {"name": "r"}, 201)
        self.ok("PUT", "/api/item/same?partition=r", {"name": "same"}, 201)
        ask = {"filter": {}, "from": "l", "to": "r"}
        report = self.ok("POST", "/api/item/mirror", {**ask, "prefer": "report"}).json
        self.assertEqual({r["id"]: (r.get("difference"), r["outcome"]) for r in report["results"]},
                         {"both": ("differs", "reported"), "only-left": ("only_in_source", "reported"),
                          "same": (None, "unchanged"), "only-right": ("only_in_target", "reported")})
        self.assertEqual(self.names("l")["both"], "left")
        done = self.ok("POST", "/api/item/mirror", ask).json  # the right one is later
        self.assertEqual({r["id"]: r.get("into") for r in done["results"]},
                         {"both": "source", "only-left": "target", "same": None, "only-right": "source"})
        self.assertEqual(self.names("l"), self.names("r"))
        self.assertEqual(self.names("l")["both"], "right")
        self.ok("PUT", "/api/item/both?partition=r", {"name": "newer"})
        self.ok("POST", "/api/item/mirror", {**ask, "prefer": "source"})
        self.assertEqual(self.names("r")["both"], "right")

    def test_hooks_run_where_it_goes(self):
        self.ok("PUT", "/api/upper/h1", {"name": "one"}, 201)
        self.ok("POST", "/api/upper/copy", {"filter": {"id": "h1"}, "to": "h"})
        self.assertEqual(self.names("h", "upper"), {"h1": "ONE"})

    def test_what_cannot_be_is_refused(self):
        for body, words in (({}, "filter"), ({"filter": {}}, "same partition"), ({"filter": {}, "to": "a b"}, "to"),
                            ({"filter": {"nope": 1}, "to": "a"}, "nope"), ({"filter": {}, "to": "a", "prefer": "x"}, "prefer")):
            self.refused("POST", "/api/item/copy", body, 400, "invalid", words)
        self.refused("POST", "/api/item/mirror", {"filter": {}, "to": "a", "prefer": "best"}, 400, "invalid", "latest")
        for i in range(2):
            self.ok("POST", "/api/item/bulk?partition=big", [{"name": "x"} for _ in range(251)])
        self.refused("POST", "/api/item/copy", {"filter": {}, "from": "big", "to": "c"}, 413, "too_large", "in parts")


if __name__ == "__main__":
    unittest.main()
