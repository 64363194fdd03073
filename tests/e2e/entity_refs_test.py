"""References over HTTP and from scripts: checked at commit, and what a removal does to those who refer."""
import unittest

from e2e.node import Case

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
  before_save = function(e, prior, ctx)
    if e.sku == "first" then Customer.new { id = "made-by-" .. e.id }:save() end
  end,
}
"""


class Store(Case):
    """One server for the whole class; each test takes names of its own."""
    APP = APP

    @classmethod
    def setUpClass(cls):
        cls.house = Case()
        cls.house.setUp()
        cls.addClassCleanup(cls.house.doCleanups)
        cls.house.write("scripts/app.lua", cls.APP)
        cls.server = cls.house.node("--scripts", cls.house.path("scripts"))
        cls.addClassCleanup(cls.ends_well)

    @classmethod
    def ends_well(cls):
        code = cls.server.stop()
        assert code == 0, f"exit {code}:\n{cls.server.text}"

    def setUp(self):
        self.c = self.server.client()
        self.addCleanup(self.c.close)

    def ok(self, method, path, body=None, status=200, **headers):
        a = self.c(method, path, body, {k.replace("_", "-"): v for k, v in headers.items()})
        self.assertEqual(a.status, status, a.body)
        return a

    def refused(self, method, path, body=None, status=400, code="invalid", words="", **headers):
        p = self.ok(method, path, body, status, **headers).json
        self.assertEqual(p["code"], code, p)
        self.assertIn(words, p["detail"])
        return p


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
        self.ok("PUT", "/api/order-line/f1", {"order": "f", "sku": "first"}, 201)
        self.assertEqual([r["id"] for r in self.ok("GET", "/api/order-line?filter=%7B%22order%22:%22f%22%7D").json], ["f1"])
        self.ok("GET", "/api/customer/made-by-f1")


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
