"""Reading many records: counts, the end of page numbers, cursors, refusals of what would take too long."""
import json
import re
import unittest
import urllib.parse

from e2e.node import Case

SCRIPT = """
entity "Book" {
  fields = { title = text { search = true }, by = text { search = true, max = 100 }, n = int },
}
entity "Row" {
  fields = { n = int {}, name = text {}, tags = list { of = int {} } },
  index = { { "n" } },
}
"""
ROWS = 10050


class Many(Case):
    """One server for the whole class, with more rows than page numbers reach."""

    @classmethod
    def setUpClass(cls):
        cls.house = Case()
        cls.house.setUp()
        cls.addClassCleanup(cls.house.doCleanups)
        cls.house.write("scripts/row.lua", SCRIPT)
        cls.server = cls.house.node(cls.house.path("scripts"))
        c = cls.server.client()
        rows = [{"id": f"r{i:05}", "n": i % 100, "name": f"name {i}"} for i in range(ROWS)]
        for at in range(0, ROWS, 1000):
            assert c("POST", "/api/row/bulk", rows[at:at + 1000]).status == 200

    def setUp(self):
        self.c = self.server.client()
        self.addCleanup(self.c.close)

    def ask(self, status=200, headers=None, **q):
        a = self.c("GET", "/api/row?" + urllib.parse.urlencode(q), None, headers)
        self.assertEqual(a.status, status, a.body[:500])
        return a

    def test_past_ten_thousand_there_is_no_total_unless_asked_for(self):
        h = self.ask().headers
        self.assertEqual(h["X-Total-At-Least"], "10000")
        self.assertNotIn("X-Total-Count", h)
        self.assertNotIn("X-Total-Pages", h)
        h = self.ask(count="exact").headers
        self.assertEqual((h["X-Total-Count"], h["X-Total-Pages"]), (str(ROWS), "201"))
        self.assertNotIn("X-Total-At-Least", h)
        h = self.ask(count="none").headers
        self.assertFalse({"X-Total-Count", "X-Total-At-Least", "X-Total-Pages"} & set(h.keys()))
        self.assertEqual(self.ask(filter='{"n": 7}').headers["X-Total-Count"], "101")

    def test_page_numbers_end_at_row_ten_thousand_and_cursors_go_on(self):
        last = self.ask(page=50, pageSize=200)
        self.assertEqual(last.json[-1]["id"], "r09999")
        p = self.ask(page=51, pageSize=200, status=413).json
        self.assertEqual((p["code"], p["retry"]), ("too_large", "never"))
        self.assertIn("cursor", p["detail"])
        found = re.search(r'<([^>]+)>; rel="next"', last.headers["Link"])
        a = self.c("GET", found.group(1))
        self.assertEqual([r["id"] for r in a.json], [f"r{i:05}" for i in range(10000, ROWS)])
        self.assertNotIn('rel="next"', a.headers.get("Link", ""))

    def test_a_question_that_would_visit_too_much_is_refused_with_the_index_it_lacks(self):
        # What a record holds counts too: few rows, but 20 million elements to look at.
        for i in range(4):
            self.assertEqual(self.c("PUT", f"/api/row/z{i}", {"n": -1, "tags": [1] * 200000}).status, 201)
        dear = {"n": {"$lt": 0}, "$or": [{"tags": 1000 + i} for i in range(90)]}
        a = self.ask(413, filter=json.dumps(dear), sort="-name")
        p = a.json
        self.assertEqual(p["code"], "too_large")
        self.assertIn('it lacks index = {{"-name"}}', p["detail"])
        for i in range(4):
            self.assertEqual(self.c("DELETE", f"/api/row/z{i}").status, 204)

    def books(self, status=200, **q):
        a = self.c("GET", "/api/book?" + urllib.parse.urlencode(q))
        self.assertEqual(a.status, status, a.body)
        return a

    def test_words_are_searched_in_the_fields_that_say_so(self):
        for i, (title, by) in enumerate([("The Quick Brown Fox", "Ana"), ("Brown bears", "Bo"), ("Café noir", "Cem")]):
            self.c("PUT", f"/api/book/b{i}", {"title": title, "by": by, "n": i})
        self.assertEqual([r["id"] for r in self.books(q="brown").json], ["b0", "b1"])
        self.assertEqual([r["id"] for r in self.books(q="brown", sort="-n").json], ["b1", "b0"])
        a = self.books(q="brown", filter='{"n": {"$gt": 0}}')
        self.assertEqual(([r["id"] for r in a.json], a.headers["X-Total-Count"]), (["b1"], "1"))
        self.assertEqual([r["id"] for r in self.books(q="cafe").json], ["b2"])
        a = self.c("POST", "/api/book/query", {"q": "bea", "fields": ["title"]})
        self.assertEqual(a.json, [{"id": "b1", "title": "Brown bears"}])
        self.c("PATCH", "/api/book/b1", {"title": "White bears"})
        self.assertEqual([r["id"] for r in self.books(q="brown").json], ["b0"])
        self.assertIn("no word", self.books(400, q="").json["detail"])
        p = self.ask(400, q="name").json
        self.assertIn("no field of Row is searched", p["detail"])
        self.assertEqual(p["errors"][0]["field"], "q")


if __name__ == "__main__":
    unittest.main()
