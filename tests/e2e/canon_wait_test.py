"""Canon over HTTP: arrivals that wait for a parent, over a restart and a kill."""
import threading
import time
import unittest

from e2e.node import Case

PLACES = """
entity "Country" { fields = { code = text { max = 2 }, name = text } }
canon "Country" { sources = { iso = {}, web = {} }, keys = { "code:upper" } }

entity "City" { fields = { name = text { required = true }, country = text } }
canon "City" {
  sources = { web = {} },
  keys    = { "name:name" },
  stages  = {
    validate = function(a, ctx)
      local parent = { code = a.country }
      if a.country and not canon("Country"):find(parent) then
        ctx:park("PARENT_NOT_FOUND", { model = "Country", key = parent })
      end
    end,
  },
}
"""


class Waiting(Case):
    def setUp(self):
        super().setUp()
        self.write("scripts/places.lua", PLACES)
        self.begin()

    def begin(self):
        self.server = self.node("--scripts", self.path("scripts"))
        self.c = self.server.client()

    def send(self, model, source_id, status=200, **data):
        a = self.c("POST", f"/api/canon/{model}?source_id={source_id}&origin=web", data)
        self.assertEqual(a.status, status, a.body)
        return a.json

    def waiting(self):
        return [p["data"]["name"] for p in self.c("GET", "/api/canon/city/parked?limit=500").json]

    def until_nothing_waits(self):
        end = time.monotonic() + 20
        while self.waiting():
            self.assertLess(time.monotonic(), end, "still parked: %s" % self.waiting())
            time.sleep(0.02)

    def test_a_child_goes_on_by_itself_when_its_parent_comes(self):
        parked = self.send("city", "1", 202, name="Porto", country="pt")
        self.assertEqual((parked["outcome"], parked["reason"]), ("parked", "PARENT_NOT_FOUND"))
        listed = self.c("GET", "/api/canon/city/parked").json[0]
        self.assertEqual(listed["evidence"], {"model": "Country", "key": {"code": "pt"}})
        self.send("country", "x", code="AT")
        self.assertEqual(self.waiting(), ["Porto"])
        self.send("country", "y", code="PT")
        self.until_nothing_waits()
        cities = self.c("GET", "/api/city").json
        self.assertEqual([c["name"] for c in cities], ["Porto"])
        lineage = self.c("GET", f"/api/canon/city/{cities[0]['id']}/lineage").json
        self.assertEqual([x["outcome"] for x in lineage], ["canonized"])

    def test_the_wait_outlives_a_restart_and_a_kill(self):
        self.send("city", "1", 202, name="Porto", country="PT")
        self.assertEqual(self.server.stop(), 0)
        self.begin()
        self.assertEqual(self.waiting(), ["Porto"])
        self.send("city", "2", 202, name="Wien", country="AT")
        self.server.kill()
        self.begin()
        self.c("POST", "/api/canon/country/bulk",
               [{"origin": "iso", "source_id": code, "data": {"code": code}} for code in ("PT", "AT")])
        self.until_nothing_waits()

    def test_parents_and_children_that_come_together_find_each_other(self):
        codes = ["%s%s" % (a, b) for a in "ABCDEFGH" for b in "JKLMNOPQ"]
        cities = [{"origin": "web", "source_id": c, "data": {"name": "City " + c, "country": c}} for c in codes]
        countries = [{"origin": "iso", "source_id": c, "data": {"code": c}} for c in reversed(codes)]

        def children():
            c = self.server.client()
            for i in range(0, len(cities), 8):
                self.assertEqual(c("POST", "/api/canon/city/bulk", cities[i:i + 8]).status, 200)

        t = threading.Thread(target=children)
        t.start()
        for country in countries:
            self.c("POST", "/api/canon/country/bulk", [country])
        t.join()
        self.until_nothing_waits()
        self.assertEqual(int(self.c("GET", "/api/city").headers["X-Total-Count"]), len(codes))

    def test_a_wait_for_nothing_says_what_is_wrong(self):
        self.deployed(self.server, "places.lua", PLACES.replace('model = "Country"', 'model = "Contry"'))
        a = self.c("POST", "/api/canon/city?source_id=1&origin=web", {"name": "Porto", "country": "PT"})
        self.assertEqual(a.status, 422, a.body)
        self.assertIn("Country", a.json["detail"])


class Models(Case):
    def test_models_are_listed_by_name(self):
        names = ["Zeta", "Alpha", "Mid", "beta", "Omega", "A1"]
        self.write("scripts/m.lua", "\n".join(
            f'entity "{n}" {{ fields = {{ k = text }} }}\ncanon "{n}" {{ sources = {{ a = {{}} }}, keys = {{ "k" }} }}'
            for n in names))
        c = self.node("--scripts", self.path("scripts")).client()
        self.assertEqual(c("GET", "/api/canon/models").json, sorted(names))


if __name__ == "__main__":
    unittest.main()
