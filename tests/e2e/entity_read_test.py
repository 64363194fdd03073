"""Reading many records: counts, the end of page numbers, cursors, refusals of what would take too long."""
import json
import re
import socket
import time
import unittest
import urllib.parse

from e2e.node import SANITIZED, Case

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

    def lines(self, status=200, path="/api/row", **q):
        a = self.c("GET", path + "?" + urllib.parse.urlencode(q), None, {"Accept": "application/x-ndjson"})
        self.assertEqual(a.status, status, a.body[:300])
        return a

    def test_a_stream_gives_all_pages_as_lines(self):
        a = self.lines()
        self.assertEqual(a.headers["Content-Type"], "application/x-ndjson")
        self.assertEqual(a.headers["Transfer-Encoding"], "chunked")
        rows = [json.loads(line) for line in a.body.decode().splitlines()]
        self.assertEqual([r["id"] for r in rows], [f"r{i:05}" for i in range(ROWS)])
        rows = [json.loads(line) for line in self.lines(sort="-n,name", fields="n,name", filter='{"n": {"$lt": 50}}')
                .body.decode().splitlines()]
        self.assertEqual(len(rows), 50 * 100 + 50)
        self.assertEqual(rows, sorted(rows, key=lambda r: (-r["n"], r["name"])))
        self.assertEqual(set(rows[0]), {"id", "n", "name"})
        self.assertEqual(self.lines(filter='{"n": -5}').body, b"")
        a = self.c("POST", "/api/row/query", {"filter": {"n": 7}}, {"Accept": "application/x-ndjson"})
        self.assertEqual(len(a.body.splitlines()), 101)
        # With a size it is one page.
        self.assertEqual(len(self.lines(pageSize=7).body.splitlines()), 7)
        for wrong in ({"count": "exact"}, {"sort": "nmae"}, {"filter": "{"}, {"cursor": "x"}, {"q": "x"}):
            self.lines(400, **wrong)


class Access(Case):
    """What an entity lets anybody do where the node wants a token."""

    def test_public_verbs_need_no_token_and_others_do(self):
        self.write("scripts/note.lua", """
            entity "Note" { fields = { text = text { search = true } }, access = { read = "public", write = "signed-in" } }
            entity "Letter" { fields = { text = text }, access = { write = "signed-in | public" } }
            entity "Diary" { fields = { text = text } }
        """)
        node = self.node(self.path("scripts"), env={"KOAN_TOKEN": "a-token-of-the-test-1"})
        anybody, owner = node.client(), node.client(token="a-token-of-the-test-1")
        wrong = node.client(token="another-token-altogether")
        self.assertEqual(owner("PUT", "/api/note/1", {"text": "hello"}).status, 201)
        for path in ("/api/note", "/api/note/1", "/api/note?q=hello", "/api/note/new"):
            self.assertEqual(anybody("GET", path).status, 200, path)
            self.assertEqual(wrong("GET", path).status, 401, path)
        self.assertEqual(anybody("POST", "/api/note/query", {"q": "hel"}).json[0]["id"], "1")
        for method, path, body in (("PUT", "/api/note/2", {}), ("POST", "/api/note", {}), ("PATCH", "/api/note/1", {}),
                                   ("POST", "/api/note/bulk", []), ("DELETE", "/api/note/1", None),
                                   ("DELETE", "/api/note/bulk", {"ids": ["1"]}), ("GET", "/api/letter", None),
                                   ("DELETE", "/api/letter/1", None), ("GET", "/api/diary", None),
                                   ("GET", "/api/nothing", None), ("GET", "/api/cluster/status", None),
                                   ("GET", "/metrics", None)):
            a = anybody(method, path, body)
            self.assertEqual((a.status, a.json["code"]), (401, "unauthorized"), (method, path))
        made = anybody("POST", "/api/letter", {"text": "from nobody"})
        self.assertEqual((made.status, set(made.json)), (201, {"id", "version"}))  # it may write, not read
        self.assertEqual(owner("GET", "/api/letter/" + made.json["id"]).json["created_by"], "public")
        self.assertEqual(owner("POST", "/api/letter", {}).json["created_by"], "token")

    def test_what_cannot_be_decided_is_refused_when_it_loads(self):
        path = self.write("a/x.lua", 'entity "X" { fields = { a = text }, access = { write = "role:sales | owner" } }')
        code, said = self.fails(path)
        self.assertEqual(code, 1)
        self.assertIn("access.write: 'role:sales' needs users and roles", said)


class Faults(Case):
    def test_what_is_at_fault_is_named(self):  # R1
        self.write("scripts/app.lua", 'entity "OrderLine" { fields = { n = int { required = true, min = 1 }, m = map { int }, t = text { max = 2 } } }')
        node = self.node("--scripts", self.path("scripts"))
        c = node.client()
        for path, field in (("?pageSize=201", "pageSize"), ("?pagesize=5", "pagesize"), ("?sort=m", "sort"), ("?sort=x", "sort"),
                            ("?fields=n,x", "fields"), ("?count=all", "count"), ("?page=1&cursor=x", "cursor"), ("?q=x", "q"),
                            ("?with=x", "with"), ("?removed=all", "removed"), ("?page=1&page=2", "page"), ("?cursor=x", "cursor"),
                            ("/new?partition=a", "partition"), ("/changes?since=x", "since")):
            a = c("GET", "/api/order-line" + path)
            self.assertEqual((a.status, a.json["code"], a.json["retry"]), (400, "invalid", "never"), path)
            self.assertEqual([e["field"] for e in a.json["errors"]], [field], path)
        a = c("POST", "/api/order-line", {"n": 0, "t": "long", "x": 1, "m": {"k": "v"}})
        self.assertEqual(a.status, 400)
        self.assertEqual(sorted(e["field"] for e in a.json["errors"]), ["m", "n", "t", "x"])
        a = c("GET", "/api/OrderLine")
        self.assertEqual((a.status, a.json["detail"]), (404, "entity 'OrderLine' is at /api/order-line"))
        self.assertEqual(node.stop(), 0)


class View(Case):
    """Fields that a script computes where records are read."""

    def test_what_a_view_computes_stands_behind_the_fields(self):
        self.write("scripts/a.lua", """
            entity "Person" {
              fields = { first = text { required = true }, last = text, tags = list { text }, born = json },
              view = function(e, ctx)
                if e.first == "odd" then return nil end
                return { full = e.first .. " " .. (e.last or "?"), count = #(e.tags or {}), seen_by = ctx.principal,
                  parts = { e.first, e.last }, none = json.list {} }
              end,
            }
        """)
        node = self.node(self.path("scripts"))
        c = node.client()
        made = c("PUT", "/api/person/1", {"first": "Ana", "last": "Li", "tags": [], "born": {"a": [], "b": {}}}).json
        self.assertNotIn("full", made)
        a = c("GET", "/api/person/1")
        self.assertEqual(a.headers["ETag"], '"1"')
        self.assertEqual(a.json, {**made, "full": "Ana Li", "count": 0, "seen_by": "local", "parts": ["Ana", "Li"], "none": []})
        self.assertEqual(list(a.json)[:4], ["id", "first", "last", "tags"])
        self.assertEqual(c("GET", "/api/person/1", None, {"If-None-Match": '"1"'}).status, 304)
        c("POST", "/api/person/bulk", [{"id": f"p{i}", "first": "odd" if i % 2 else f"n{i}"} for i in range(300)])
        a = c("GET", "/api/person?pageSize=3&sort=-id")
        self.assertEqual([r.get("full") for r in a.json], [None, "n98 ?", None])
        self.assertEqual(a.headers["X-Total-Count"], "301")
        self.assertEqual(c("GET", "/api/person?fields=first&pageSize=1").json, [{"id": "1", "first": "Ana"}])
        a = c("POST", "/api/person/query", {"filter": {"last": "Li"}})
        self.assertEqual(a.json[0]["full"], "Ana Li")
        for path in ("/api/person", "/api/person?pageSize=200"):
            a = c("GET", path, None, {"Accept": "application/x-ndjson"})
            rows = [json.loads(line) for line in a.body.decode().splitlines()]
            self.assertEqual(len(rows), 200 if "Size" in path else 301)
            self.assertEqual(rows[0]["full"], "Ana Li")
            self.assertEqual([("full" in r) for r in rows[1:]], [r["first"] != "odd" for r in rows[1:]])
        self.assertEqual(c("GET", "/api/person?filter=%7B%22first%22%3A%22nobody%22%7D").json, [])
        # What is computed is neither kept nor asked for.
        self.assertEqual(c("GET", "/api/person?sort=full").status, 400)
        self.assertEqual(c("PUT", "/api/person/2", {"first": "x", "full": "y"}).status, 400)

    def test_a_view_sees_what_is_put_beside_the_record(self):
        self.write("scripts/a.lua", """
            entity "Person" { fields = { first = text } }
            entity "Task" { fields = { who = ref { "Person" } }, view = function(e)
              return { first = e._with and e._with.who.first }
            end }
        """)
        c = self.node(self.path("scripts")).client()
        c("PUT", "/api/person/1", {"first": "Ana"})
        c("PUT", "/api/task/1", {"who": "1"})
        self.assertNotIn("first", c("GET", "/api/task/1").json)
        for answer in (c("GET", "/api/task/1?with=who").json, c("GET", "/api/task?with=who").json[0]):
            self.assertEqual((answer["first"], answer["_with"]["who"]["first"]), ("Ana", "Ana"))

    def test_a_view_that_fails_is_a_refusal_with_the_place(self):
        self.write("scripts/a.lua", """
            entity "Thing" { fields = { name = text }, view = function(e)
              if e.name == "loop" then while true do end end
              if e.name == "taken" then return { name = "other" } end
              if e.name == "text" then return "no table" end
              if e.name == "refused" then error({}) end
              return { size = #e.name }
            end }
        """)
        c = self.node(self.path("scripts")).client()
        for name, words in (("loop", "view of Thing failed"), ("taken", "has already"), ("text", "not a string"),
                            (None, "a.lua:7")):
            c("PUT", "/api/thing/x", {"name": name} if name else {})
            for path in ("/api/thing/x", "/api/thing"):
                for accept in ("*/*", "application/x-ndjson"):
                    a = c("GET", path, None, {"Accept": accept})
                    self.assertEqual((a.status, a.json["code"]), (422, "rejected"), a.body)
                    self.assertIn(words, a.json["detail"])
        c("PUT", "/api/thing/x", {"name": "fine"})
        self.assertEqual(c("GET", "/api/thing/x").json["size"], 4)
        code, said = self.fails(self.write("b/b.lua", 'entity "X" { fields = { a = text }, view = 5 }'), data="other")
        self.assertEqual(code, 1)
        self.assertIn("view", said)


class Slow(Case):
    """Readers that do not keep up."""

    def setUp(self):
        super().setUp()
        self.write("scripts/row.lua", SCRIPT)

    def serve(self, *args):
        node = self.node(self.path("scripts"), *args)
        c = node.client()
        for at in range(60):
            rows = [{"id": f"r{at * 100 + i:05}", "n": i, "name": "x" * 2000} for i in range(100)]
            self.assertEqual(c("POST", "/api/row/bulk", rows).status, 200)
        return node, c

    def open(self, node, path):
        s = socket.socket()
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        s.connect(("127.0.0.1", node.port))
        s.sendall(b"GET " + path.encode() + b" HTTP/1.1\r\nHost: x\r\nAccept: application/x-ndjson\r\n"
                  b"Connection: close\r\n\r\n")
        self.addCleanup(s.close)
        return s

    def read(self, s):
        data = b""
        while part := s.recv(1 << 16):
            data += part
        body, rest = b"", data.split(b"\r\n\r\n", 1)[1]
        while rest:
            size, rest = rest.split(b"\r\n", 1)
            n = int(size, 16)
            body, rest = body + rest[:n], rest[n + 2:]
            if n == 0:
                return [json.loads(line) for line in body.decode().splitlines()]
        self.fail("the stream was cut off")

    def test_a_stream_ends_after_its_time_with_a_cursor_to_go_on_with(self):
        node, c = self.serve("--http.stream_time", "500ms")
        slow = self.open(node, "/api/row?sort=-id")
        time.sleep(1)
        rows = self.read(slow)
        cursor = rows.pop()["$cursor"]
        self.assertTrue(0 < len(rows) < 6000)
        while cursor:
            more = self.read(self.open(node, "/api/row?sort=-id&cursor=" + cursor))
            cursor = more.pop()["$cursor"] if "$cursor" in more[-1] else None
            rows += more
        self.assertEqual([r["id"] for r in rows], [f"r{i:05}" for i in reversed(range(6000))])

    def test_a_stream_is_one_snapshot(self):
        node, c = self.serve()
        s = self.open(node, "/api/row?sort=-id")
        s.recv(1, socket.MSG_PEEK)
        self.assertEqual(c("PATCH", "/api/row/r00000", {"name": "changed meanwhile"}).status, 200)
        self.assertEqual(c("DELETE", "/api/row/r00001").status, 204)
        rows = self.read(s)
        self.assertEqual((len(rows), rows[-1]["name"]), (6000, "x" * 2000))
        self.assertEqual(len(self.read(self.open(node, "/api/row"))), 5999)

    def test_many_slow_readers_cost_a_bounded_amount_and_hold_up_nobody(self):
        node, c = self.serve()
        before = int(node.status("VmRSS").split()[0])
        slow = [self.open(node, "/api/row") for _ in range(16)]
        time.sleep(0.5)
        for _ in range(50):
            self.assertEqual(len(c("GET", "/api/row?filter=%7B%22n%22%3A5%7D").json), 50)
        p = c("GET", "/api/row", None, {"Accept": "application/x-ndjson"})
        self.assertEqual((p.status, p.json["code"]), (503, "overloaded"))
        self.assertIn("Retry-After", p.headers)
        if not SANITIZED:
            self.assertLess(int(node.status("VmRSS").split()[0]) - before, 64 * 1024)
        for s in slow[:8]:
            s.close()
        self.assertEqual([len(self.read(s)) for s in slow[8:]], [6000] * 8)
        # Places are given back, also those of the readers that went away.
        for _ in range(16):
            a = c("GET", "/api/row", None, {"Accept": "application/x-ndjson"})
            self.assertEqual((a.status, len(a.body.splitlines())), (200, 6000))
        self.open(node, "/api/row")
        self.assertEqual(node.stop(), 0)


if __name__ == "__main__":
    unittest.main()
