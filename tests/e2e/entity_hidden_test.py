"""What a caller may not read is on no page, in no expansion, count, error, feed, stream or answer (E5): all routes that
show records, asked as one without a token and as one with it, over random records of which many are hidden."""
import json
import random
import re
import time
import unittest
import urllib.parse

from e2e.entity_feed_test import Feed
from e2e.node import Case

TOKEN = "a-token-of-some-length"
LINES = {"Accept": "application/x-ndjson"}
APP = """
entity "Sec" {
  fields = { text = text { search = true }, pub = ref { "Pub", inverse = "secrets", on_remove = "none", check = false },
             drop = ref { "Drop", check = false } },
  soft_remove = true, history = true,
}
entity "Pub" {
  fields = {
    text = text { search = true }, n = int,
    sec  = ref { "Sec", check = false, on_remove = "none", inverse = "pubs" },
    secs = list { ref { "Sec", check = false, on_remove = "none" } },
    peer = ref { "Pub", check = false, on_remove = "none", inverse = "peers" },
    all  = list { of = ref { "Pub", check = false, on_remove = "none", inverse = "within" } },
  },
  index = { { "n" } }, ttl = true, soft_remove = true, history = true,
  access = { read = "public", write = "public" },
  view = function(e, ctx)
    local s = ctx.principal ~= "public" and e.sec and entity("Sec").get(e.sec)
    return { shown = "n is " .. tostring(e.n), behind = s and s.text or nil }
  end,
}
entity "Drop" {
  fields = { text = text, code = text { unique = true } },
  access = { write = "public", remove = "public" },
}
"""


def quoted(**query):
    return urllib.parse.urlencode({k: v if isinstance(v, str) else json.dumps(v) for k, v in query.items()})


class Hidden(Case):
    def setUp(self):
        super().setUp()
        self.write("scripts/app.lua", APP)
        self.node = self.node("--scripts", self.path("scripts"), env={"KOAN_TOKEN": TOKEN})
        self.mine, self.anybody = self.node.client(token=TOKEN), self.node.client()
        self.seed = random.randrange(1 << 30)
        self.rnd = random.Random(self.seed)
        self.fill()

    def fill(self):
        r, self.seen = self.rnd, {}
        pubs, secs = [f"pub{i:03}" for i in range(120)], [f"sec{i:03}" for i in range(40)]
        self.put("sec", [{"id": s, "text": f"SECRET walrus {s}", "pub": r.choice(pubs)} for s in secs])
        rows = []
        for p in pubs:
            row = {"id": p, "n": r.randrange(6), "text": f"open walrus {p}"}
            fate = r.choice(("live", "live", "removed", "expired"))
            if fate != "live":
                row["text"] = f"HIDDEN walrus {p}"
            if fate == "expired":
                row["expires_at"] = "2020-01-01T00:00:00Z"
            for name, of in (("sec", secs), ("peer", pubs)):
                if r.random() < 0.6:
                    row[name] = r.choice(of)
            row["secs"], row["all"] = r.sample(secs, r.randrange(3)), r.sample(pubs, r.randrange(4))
            rows.append((fate, row))
        self.put("pub", [row for _, row in rows])
        gone = [row["id"] for fate, row in rows if fate == "removed"]
        self.assertEqual(self.mine("DELETE", "/api/pub/bulk", {"ids": gone}).status, 200)
        self.rows = {row["id"]: row for fate, row in rows if fate == "live"}
        self.hidden = [row["id"] for fate, row in rows if fate != "live"]
        self.gone_sec = secs[-10:]
        self.mine("DELETE", "/api/sec/bulk", {"ids": self.gone_sec})

    def put(self, path, rows):
        a = self.mine("POST", f"/api/{path}/bulk", rows)
        self.assertEqual(a.status, 200, a.body)

    def ask(self, client, method, path, body=None, headers=None, status=200):
        a = client(method, path, body, headers or {})
        said = a.body.decode() + json.dumps(dict(a.headers))
        where = f"seed {self.seed}: {method} {path} {body}: "
        self.assertIn(a.status, status if isinstance(status, tuple) else (status,), where + said[:500])
        self.assertNotIn("HIDDEN", said, where)
        if client is self.anybody:
            self.assertNotIn("SECRET", said, where)
        return a

    def questions(self):
        """Pairs of a filter and what it means."""
        r = self.rnd
        n, m, some = r.randrange(6), r.randrange(6), r.choice(sorted(self.rows) + self.hidden)
        return [({}, lambda x: True), ({"n": n}, lambda x: x["n"] == n), ({"n": {"$in": [n, m]}}, lambda x: x["n"] in (n, m)),
                ({"text": {"$contains": "HIDDEN"}}, lambda x: False),
                ({"$or": [{"id": some}, {"n": m}]}, lambda x: x["id"] == some or x["n"] == m),
                ({"all": some}, lambda x: some in x["all"]), ({"peer": {"$ne": some}}, lambda x: x.get("peer") != some)]

    def check_beside(self, row):
        """Whatever stands under _with is visible, and is what the references say."""
        w = row.get("_with", {})
        if "peer" in w:
            self.assertEqual(w["peer"] and w["peer"]["id"], row["peer"] if row.get("peer") in self.rows else None)
        if "all" in w:
            self.assertEqual([x and x["id"] for x in w["all"]], [x if x in self.rows else None for x in row["all"]])
        for name, has in (("peers", lambda x: x.get("peer") == row["id"]), ("within", lambda x: row["id"] in x["all"])):
            if name in w:
                self.assertEqual([x["id"] for x in w[name]], sorted(i for i, x in self.rows.items() if has(x)))
        for x in [w.get("peer"), *(w.get("all") or []), *w.get("peers", []), *w.get("within", [])]:
            if x:
                self.assertIn(x["id"], self.rows)
                self.check_beside(x)

    def walk(self, client):
        for filter, means in self.questions():
            wanted = sorted(i for i, row in self.rows.items() if means(row))
            for more in ({}, {"sort": "-n,text"}, {"fields": "n,shown"}, {"with": "peer.all,peers,all,within.peer"}, {"q": "walrus"}):
                query = quoted(filter=filter, pageSize="200", count="exact", **more)
                a = self.ask(client, "GET", "/api/pub?" + query)
                self.assertEqual(sorted(x["id"] for x in a.json), wanted, f"seed {self.seed}: {query}")
                self.assertEqual(a.headers["X-Total-Count"], str(len(wanted)))
                for x in a.json:
                    self.check_beside(x)
                b = self.ask(client, "GET", "/api/pub?" + quoted(filter=filter, **more), headers=LINES)
                self.assertEqual(sorted(json.loads(x)["id"] for x in b.body.decode().splitlines()), wanted)
            body = {"filter": filter, "pageSize": 200, "with": "peer"}
            self.assertEqual(sorted(x["id"] for x in self.ask(client, "POST", "/api/pub/query", body).json), wanted)
            self.assertEqual(self.pages(client, filter), wanted)
        for i in sorted(self.rows)[:10]:
            self.check_beside(self.ask(client, "GET", f"/api/pub/{i}?with=peer,all,peers,within").json)
        for i in self.hidden:
            self.ask(client, "GET", f"/api/pub/{i}", status=404)
            self.ask(client, "PATCH", f"/api/pub/{i}", {"n": 1}, status=404)
        self.ask(client, "GET", "/api/pub/new")
        self.ask(client, "GET", "/api/pub?q=hidden")

    def pages(self, client, filter):
        ids, path = [], "/api/pub?" + quoted(filter=filter, pageSize="7")
        while path:
            a = self.ask(client, "GET", path)
            ids += [x["id"] for x in a.json]
            link = re.search(r'<([^>]*)>; rel="next"', a.headers.get("Link") or "")
            path = link and link[1]
        return ids

    def test_one_with_a_token_sees_what_is_there_and_nothing_else(self):  # E5
        self.walk(self.mine)
        one = next(i for i, row in sorted(self.rows.items()) if row.get("sec") and row["sec"] not in self.gone_sec)
        self.assertIn("SECRET", self.ask(self.mine, "GET", f"/api/pub/{one}?with=sec").body.decode())

    def test_one_without_sees_of_that_what_is_public(self):  # E5
        self.walk(self.anybody)
        for path in ("sec", "sec/sec001", "sec/new", "sec/changes", "sec?q=walrus", "sec/sec001/history", "drop", "drop/x",
                     "pub/pub001/history", "pub/pub001/history/1", "sec?removed=only"):
            self.ask(self.anybody, "GET", "/api/" + path, status=401)
        self.ask(self.anybody, "POST", "/api/sec/query", {}, status=401)
        for word in ("sec", "secs", "secrets", "peer.sec", "all.secrets"):
            self.ask(self.anybody, "GET", "/api/pub?with=" + word, status=403)
            self.ask(self.anybody, "GET", "/api/pub?with=" + word, headers=LINES, status=403)
            self.ask(self.anybody, "POST", "/api/pub/query", {"with": word}, status=403)
        self.ask(self.anybody, "GET", "/api/pub?removed=only", status=403)
        self.ask(self.anybody, "POST", "/api/pub/query", {"removed": "only"}, status=403)
        self.ask(self.anybody, "GET", "/api/pub?removed=only", headers=LINES, status=403)
        # A cursor that somebody else was given opens nothing.
        link = self.mine("GET", "/api/sec?pageSize=2").headers["Link"]
        self.ask(self.anybody, "GET", re.search(r"<([^>]*)>; rel=\"next\"", link)[1], status=401)

    def test_who_may_write_only_learns_nothing_of_what_is_there(self):  # E5
        self.mine("PUT", "/api/drop/d", {"text": "SECRET letter", "code": "k"})
        self.put("sec", [{"id": "secdrop", "text": "SECRET", "drop": "d"}])
        for method, path, body, status in (("PATCH", "/api/drop/d", {"code": "k2"}, 200), ("POST", "/api/drop", {"text": "x"}, 201),
                                           ("PUT", "/api/drop/e", {"code": "e"}, 201), ("PATCH", "/api/drop/d", {}, 200)):
            a = self.ask(self.anybody, method, path, body, status=status)
            self.assertEqual(set(a.json), {"id", "version"})
        self.ask(self.anybody, "PUT", "/api/drop/f", {"code": "k2"}, status=409)
        # A JSON patch would tell what is there, or whether there is anything.
        for op in ({"op": "test", "path": "/text", "value": "SECRET letter"}, {"op": "test", "path": "/text", "value": "x"},
                   {"op": "remove", "path": "/text"}, {"op": "copy", "from": "/text", "path": "/code"}):
            a = self.ask(self.anybody, "PATCH", "/api/drop/d", [op], {"Content-Type": "application/json-patch+json"}, status=403)
            self.assertIn("merge-patch", a.json["detail"])
        self.ask(self.mine, "PATCH", "/api/drop/d", [{"op": "test", "path": "/text", "value": "SECRET letter"}],
                 {"Content-Type": "application/json-patch+json"})
        for method, path, body, status in (("DELETE", "/api/drop/d", None, 409), ("DELETE", "/api/drop/bulk", {"ids": ["d"]}, 409),
                                           ("DELETE", "/api/drop/bulk?atomic=false", {"ids": ["d"]}, 200)):
            a = self.ask(self.anybody, method, path, body, status=status)
            self.assertNotIn("sec", a.body.decode())
            self.assertIn("still referred to", a.body.decode())
        self.ask(self.anybody, "DELETE", "/api/drop/bulk", {"filter": {"text": "SECRET letter"}}, status=403)
        self.assertIn("secdrop", self.mine("DELETE", "/api/drop/d").body.decode())

    def test_a_feed_shows_one_without_a_token_public_records_only(self):  # E5
        seq = self.mine("PUT", "/api/sec/feed", {"text": "SECRET"}).headers["X-Koan-Seq"]
        feed = Feed(self.node.port, "pub", since=seq)
        self.mine("PATCH", "/api/sec/feed", {"text": "SECRET again"})
        self.mine("PUT", "/api/pub/feed", {"text": "open", "sec": "feed"})
        self.mine("DELETE", "/api/pub/feed")
        feed.wait(2)
        time.sleep(0.1)
        feed.close()
        mine = [(e, d) for _, e, d in feed.events if d["id"] == "feed"]
        self.assertEqual([(e, d["shown"]) for e, d in mine], [("created", "n is nil"), ("removed", "n is nil")])
        self.assertNotIn("SECRET", json.dumps(feed.events))

    def tearDown(self):
        self.assertEqual(self.node.stop(), 0)
        super().tearDown()


if __name__ == "__main__":
    unittest.main()
