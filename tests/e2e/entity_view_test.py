"""Computed fields wherever records are read: pages, streams, records beside, answers to writes, feeds."""
import json
import time
import unittest
import urllib.parse

from e2e.entity_feed_test import Feed
from e2e.node import App, Case

APP = """
entity "Team"   { fields = { name = text }, view = function(t) return { title = "team " .. (t.name or "?") } end }
entity "Person" {
  fields = { first = text, last = text, team = ref { "Team", inverse = "people" }, n = int },
  view = function(p)
    if p.first == "bad" then error("no view of this one") end
    local under = p._with and p._with.team
    return { full = (p.first or "") .. " " .. (p.last or ""), of = under and under ~= json.null and under.title or nil }
  end,
}
entity "Plain"  { fields = { who = ref { "Person", check = false }, all = list { of = ref { "Person", check = false } } } }
"""


def lines(answer):
    return [json.loads(line) for line in answer.body.decode().splitlines()]


class Views(App):
    APP = APP

    def setUp(self):
        super().setUp()
        self.c("PUT", "/api/team/red", {"name": "red"})
        for i in range(3):
            self.c("PUT", f"/api/person/p{i}", {"first": f"f{i}", "last": f"l{i}", "team": "red", "n": i})

    def page(self, path, **headers):
        filter = urllib.parse.quote('{"team":"red"}')
        return self.ok("GET", f"{path}{'&' if '?' in path else '?'}filter={filter}", **headers)

    def test_fields_may_name_what_is_computed(self):
        self.assertEqual(self.page("/api/person?fields=full").json,
                         [{"id": f"p{i}", "full": f"f{i} l{i}"} for i in range(3)])
        self.assertEqual(self.page("/api/person?fields=n,full&sort=-n&pageSize=1").json, [{"id": "p2", "n": 2, "full": "f2 l2"}])
        self.assertEqual(self.page("/api/person?fields=n").json, [{"id": f"p{i}", "n": i} for i in range(3)])
        asked = {"filter": {"id": "p1"}, "fields": ["full", "nothing"]}
        self.assertEqual(self.ok("POST", "/api/person/query", asked).json, [{"id": "p1", "full": "f1 l1"}])
        self.assertEqual(lines(self.page("/api/person?fields=full", Accept="application/x-ndjson"))[1],
                         {"id": "p1", "full": "f1 l1"})
        self.refused("GET", "/api/person?fields=a%20b", None, 400, "invalid", "fields")
        self.refused("GET", "/api/plain?fields=full", None, 400, "invalid", "no field 'full'")

    def test_records_beside_have_theirs_and_are_seen_complete(self):
        p = self.ok("GET", "/api/person/p1?with=team").json
        self.assertEqual((p["_with"]["team"]["title"], p["of"], p["full"]), ("team red", "team red", "f1 l1"))
        team = self.ok("GET", "/api/team/red?with=people.team").json
        self.assertEqual([x["full"] for x in team["_with"]["people"]], ["f0 l0", "f1 l1", "f2 l2"])
        self.assertEqual({x["of"] for x in team["_with"]["people"]}, {"team red"})
        self.ok("PUT", "/api/plain/a", {"who": "p0", "all": ["p2", "gone", "p0"]}, 201)
        for path in ("/api/plain?with=who,all&fields=who,all", "/api/plain?with=who,all"):
            w = self.ok("GET", path).json[0]["_with"]
            self.assertEqual(w["who"]["full"], "f0 l0")
            self.assertEqual([x and x["full"] for x in w["all"]], ["f2 l2", None, "f0 l0"])
        got = self.page("/api/person?with=team&fields=team,of").json
        self.assertEqual({k for k in got[0]}, {"id", "team", "of", "_with"})

    def test_a_write_is_answered_with_what_is_kept(self):
        bad = self.ok("PUT", "/api/person/bad", {"first": "bad"}, 201)
        self.assertNotIn("full", bad.json)
        self.refused("GET", "/api/person/bad", None, 422, "rejected", "no view of this one")
        self.ok("DELETE", "/api/person/bad", status=204)

    def test_a_stream_has_records_beside_each_line(self):
        self.ok("PUT", "/api/team/big", {"name": "big"}, 201)
        self.ok("POST", "/api/person/bulk", [{"id": f"s{i:04}", "first": str(i), "team": "big", "n": i} for i in range(700)])
        filter = urllib.parse.quote('{"team":"big"}')
        rows = lines(self.ok("GET", f"/api/person?filter={filter}&with=team&sort=n", Accept="application/x-ndjson"))
        self.assertEqual([r["n"] for r in rows], list(range(700)))
        self.assertEqual({r["of"] for r in rows}, {"team big"})
        self.assertEqual({r["_with"]["team"]["title"] for r in rows}, {"team big"})
        few = lines(self.ok("GET", f"/api/person?filter={filter}&with=team&pageSize=2", Accept="application/x-ndjson"))
        self.assertEqual([r["_with"]["team"]["id"] for r in few], ["big", "big"])
        # Without a view, and with inverses.
        self.ok("POST", "/api/plain/bulk", [{"id": f"x{i:03}", "who": f"s{i:04}"} for i in range(120)])
        rows = lines(self.ok("GET", "/api/plain?with=who.team&sort=id", Accept="application/x-ndjson"))
        self.assertEqual([r["_with"]["who"]["_with"]["team"]["name"] for r in rows if r["id"][0] == "x"], ["big"] * 120)
        self.refused("GET", "/api/team?with=people", None, 413, "too_large", "over 200 people", Accept="application/x-ndjson")
        self.ok("POST", "/api/plain/query", {"filter": {}}, 200)
        for path in ("plain", "person"):
            self.c("DELETE", f"/api/{path}/bulk", {"filter": {"created_at": {"$gt": "2020-01-01T00:00:00Z"}}})
        self.ok("DELETE", "/api/team/big", status=204)


class Following(Case):
    def test_events_have_them_in_order_without_gap_or_duplicate(self):  # E4
        self.write("scripts/app.lua", APP)
        node = self.node("--scripts", self.path("scripts"))
        c = node.client()
        c("PUT", "/api/person/a", {"first": "x", "last": "0"})
        feed = Feed(node.port, "person", since=0)
        filtered = Feed(node.port, "person", since=0, filter={"n": {"$gt": 100}})
        other = Feed(node.port, "plain", since=0)
        for i in range(1, 201):
            c("PATCH", "/api/person/a", {"n": i, "last": str(i)})
        feed.wait(201)
        self.assertEqual([d["full"] for _, _, d in feed.events], [f"x {i}" for i in range(201)])
        self.assertEqual([d["version"] for _, _, d in feed.events], list(range(1, 202)))
        filtered.wait(100)
        self.assertEqual([(e, d["full"]) for _, e, d in filtered.events[:2]], [("entered", "x 101"), ("updated", "x 102")])
        # Resumed from the middle: what follows, once.
        again = Feed(node.port, "person", last=feed.events[99][0])
        again.wait(101)
        self.assertEqual([d["full"] for _, _, d in again.events], [f"x {i}" for i in range(100, 201)])
        # One whose view fails comes without, and those behind it follow.
        c("PUT", "/api/person/b", {"first": "bad"})
        feed.wait(202)
        c("DELETE", "/api/person/a")
        feed.wait(203)
        self.assertNotIn("full", feed.events[201][2])
        self.assertEqual([(e, d.get("full")) for _, e, d in feed.events[202:]], [("removed", "x 200")])
        c("POST", "/api/person/bulk", [{"id": f"m{i:03}", "first": "m", "last": "y" * 1000} for i in range(900)])
        feed.wait(1103)
        self.assertEqual([d["id"] for _, _, d in feed.events[203:]], [f"m{i:03}" for i in range(900)])
        self.assertTrue(all(d["full"].startswith("m y") for _, _, d in feed.events[203:]))
        self.assertEqual(other.events, [])
        for f in (feed, filtered, again, other):
            f.close()
        self.assertIn("come without computed fields", node.text)
        self.assertEqual(node.stop(), 0)

    def test_a_node_that_stops_while_views_run_stops_well(self):
        self.write("scripts/app.lua", APP)
        node = self.node("--scripts", self.path("scripts"))
        c = node.client()
        feeds = [Feed(node.port, "person", since=0) for _ in range(20)]
        for i in range(100):
            c("PUT", f"/api/person/q{i}", {"first": "x"})
        self.assertEqual(node.stop(), 0)
        end = time.monotonic() + 5
        while not all(f.over for f in feeds) and time.monotonic() < end:
            time.sleep(0.01)
        self.assertTrue(all(f.over for f in feeds))


if __name__ == "__main__":
    unittest.main()
