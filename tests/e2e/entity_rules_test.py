"""The rules of entities in figures: what is counted, kept, limited, hidden and refused, each at its bound and past it."""
import datetime
import json
import threading
import time
import unittest
import urllib.parse

from e2e.entity_feed_test import Feed
from e2e.node import App

APP = """
entity "Row" {
  fields = { a = int {}, s = text { unique = true }, l = list { of = int {} }, m = map {}, d = date {} },
  history = true,
}
entity "Short" { fields = { text = text {} }, ttl = "1s" }
entity "Counted" {
  fields = { n = int {}, fixed = text {}, note = text {} },
  before_save = function(e, prior, ctx)
    ctx:protect("fixed")
    e.n = (prior and prior.n or 0) + 1
    if e.note == "no" then ctx:reject("not_so", "say something else") end
  end,
}
entity "Parent" { fields = { name = text {} } }
entity "Child" { fields = { parent = ref { "Parent", on_remove = "cascade" }, other = ref { "Parent", on_remove = "null" } } }
"""


def asked(**query):
    return urllib.parse.urlencode({k: v if isinstance(v, str) else json.dumps(v) for k, v in query.items()})


class Rules(App):
    APP = APP

    def rows(self, partition, *rows):
        self.ok("POST", f"/api/row/bulk?partition={partition}", list(rows))

    def ids(self, partition, **query):
        return "".join(r["id"] for r in self.ok("GET", f"/api/row?partition={partition}&" + asked(**query)).json)


class Filters(Rules):
    def test_each_limit_holds_and_is_named(self):  # R1
        in_list = lambda n: {"a": {"$in": list(range(n))}}
        nested = lambda n: {"$not": nested(n - 1)} if n > 0 else {"a": 1}
        conditions = lambda n: {"$or": [{"a": i} for i in range(n)]}
        long = lambda n: {"s": "x" * (n - len('{"s":""}'))}
        for make, most, words in ((in_list, 1000, "1000|1 000|1,000"), (nested, 8, "8"), (conditions, 100, "100"), (long, 16384, "16384")):
            with self.subTest(limit=most):
                for method, send in (("query", lambda f: self.c("POST", "/api/row/query", {"filter": f})),
                                     ("bulk", lambda f: self.c("DELETE", "/api/row/bulk?partition=none", {"filter": f}))):
                    self.assertEqual(send(make(most)).status, 200, (method, most))
                    a = send(make(most + 1))
                    self.assertIn((a.status, a.json["code"]), ((400, "invalid"), (413, "too_large")))
                    self.assertRegex(a.json["detail"], words)

    def test_absent_is_null_and_null_matches_as_the_rules_say(self):  # E1
        self.rows("nulls", {"id": "a", "a": None}, {"id": "b"}, {"id": "c", "a": 1}, {"id": "d", "a": 2})
        for filter, want in (({"a": None}, "ab"), ({"a": {"$exists": False}}, "ab"), ({"a": {"$ne": 1}}, "abd"), ({"a": {"$nin": [1]}}, "abd"),
                             ({"a": {"$in": [1, 2]}}, "cd"), ({"a": {"$lt": 5}}, "cd"), ({"a": {"$gte": -9}}, "cd"), ({"a": {"$not": {"$gt": 1}}}, "abc")):
            with self.subTest(filter=filter):
                self.assertEqual(self.ids("nulls", filter=filter), want)

    def test_lists_and_texts_match_as_the_rules_say(self):  # E1
        self.rows("lists", {"id": "a", "l": [1, 2], "s": "one two"}, {"id": "b", "l": [3], "s": "*one"}, {"id": "c", "l": [], "s": "ONE"}, {"id": "d"})
        for filter, want in (({"l": 2}, "a"), ({"l": {"$in": [2, 3]}}, "ab"), ({"l": {"$all": [1, 2]}}, "a"), ({"l": {"$nin": [3]}}, "acd"),
                             ({"l": [1, 2]}, "a"), ({"l": {"$size": 0}}, "c"), ({"s": "one*"}, "a"), ({"s": "*two"}, "a"), ({"s": "\\*one"}, "b"),
                             ({"s": {"$eq": "*one"}}, "b"), ({"s": "one", "$options": {"ignoreCase": True}}, "c"), ({"s": "*ne*"}, "ab")):
            with self.subTest(filter=filter):
                self.assertEqual(self.ids("lists", filter=filter), want)
        for wrong in ({"s": "o*e"}, {"l": {"$gt": "x"}}, {"l.x": 1}, {"a": {"$regex": "x"}}, {"a": "1"}, {"$xor": []}):
            self.assertIn(self.c("GET", "/api/row?" + asked(filter=wrong)).status, (200, 400) if wrong == {"s": "o*e"} else (400,), wrong)

    def test_null_is_least_the_id_breaks_ties_and_a_list_counts_by_its_end(self):
        self.rows("sorts", {"id": "a", "a": 2, "l": [5, 1]}, {"id": "b", "l": [3]}, {"id": "c", "a": 1, "l": [9, 0]}, {"id": "d", "a": 2})
        for sort, want in (("a", "bcad"), ("-a", "dacb"), ("l", "dcab"), ("-l", "cabd"), ("-a,-id", "dacb")):
            with self.subTest(sort=sort):
                self.assertEqual(self.ids("sorts", sort=sort), want)


class Kept(Rules):
    def test_of_a_record_100_replaced_versions_are_kept(self):
        for i in range(105):
            self.ok("PUT", "/api/row/h", {"a": i}, 201 if i == 0 else 200)
        found = self.ok("GET", "/api/row/h/history").json
        self.assertEqual([h["version"] for h in found], list(range(104, 4, -1)))
        self.assertEqual(self.ok("GET", "/api/row/h/history/5").json["a"], 4)
        self.refused("GET", "/api/row/h/history/4", None, 410, "gone", "no longer kept")
        self.refused("GET", "/api/row/h/history/999", None, 404, "not_found")

    def test_a_save_that_changes_nothing_leaves_no_version_no_event_and_no_history(self):
        first = self.ok("PUT", "/api/row/same", {"a": 1, "m": {"x": 1, "y": 2}}, 201)
        feed = Feed(self.server.port, "row", since=first.headers["X-Koan-Seq"])
        for method, body in (("PUT", {"a": 1, "m": {"y": 2, "x": 1}, "s": None}), ("PATCH", {"a": 1}), ("PATCH", {}), ("PATCH", {"m": {"x": 1}})):
            a = self.ok(method, "/api/row/same", body)
            self.assertEqual((a.headers["X-Koan-Outcome"], a.headers["ETag"]), ("unchanged", '"1"'))
        self.assertEqual(self.ok("POST", "/api/row/bulk", [{"id": "same", "a": 1, "m": {"x": 1, "y": 2}}]).json["counts"]["unchanged"], 1)
        self.assertEqual(self.ok("POST", "/api/tx", {"ops": [{"op": "entity.patch", "entity": "row", "id": "same", "patch": {"a": 1}}]})
                         .json["results"][0]["outcome"], "unchanged")
        self.ok("PATCH", "/api/row/same", {"a": 2})
        feed.wait(1)
        time.sleep(0.2)
        feed.close()
        self.assertEqual([(e, d["version"]) for _, e, d in feed.events if d["id"] == "same"], [("updated", 2)])
        self.assertEqual([h["version"] for h in self.ok("GET", "/api/row/same/history").json], [1])

    def test_what_expires_is_hidden_at_its_time_and_removed_within_10_s_with_an_event(self):
        at = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=1.5)
        a = self.ok("PUT", "/api/short/t", {"text": "x", "expires_at": at.isoformat(timespec="milliseconds").replace("+00:00", "Z")}, 201)
        feed = Feed(self.server.port, "short", since=a.headers["X-Koan-Seq"])
        self.ok("GET", "/api/short/t")
        self.ok("PUT", "/api/short/by-default", {"text": "y"}, 201)
        time.sleep(max(0, (at - datetime.datetime.now(datetime.timezone.utc)).total_seconds()) + 0.05)
        self.ok("GET", "/api/short/t", status=404)
        self.ok("PATCH", "/api/short/t", {"text": "late"}, 404)
        feed.wait(3, 11)
        feed.close()
        self.assertEqual(sorted((e, d["id"]) for _, e, d in feed.events), [("created", "by-default"), ("removed", "by-default"), ("removed", "t")])


class References(Rules):
    def test_a_cascade_takes_10000_records_and_no_more(self):  # H2
        self.ok("PUT", "/api/parent/p", {"name": "p"}, 201)
        for at in range(0, 10001, 1000):
            self.ok("POST", "/api/child/bulk", [{"id": f"c{i:05}", "parent": "p"} for i in range(at, min(at + 1000, 10001))])
        self.refused("DELETE", "/api/parent/p", None, 413, "too_large", "10000")
        self.assertEqual(self.ok("GET", "/api/child?count=exact&pageSize=1").headers["X-Total-Count"], "10001")
        self.ok("GET", "/api/parent/p")
        self.ok("DELETE", "/api/child/c00000", status=204)
        self.ok("DELETE", "/api/parent/p", status=204)
        self.assertEqual(self.ok("GET", "/api/child?count=exact").headers["X-Total-Count"], "0")

    def test_a_unique_value_that_is_taken_names_index_and_field(self):  # R1 E2
        self.ok("PUT", "/api/row/u1", {"s": "taken"}, 201)
        p = self.refused("PUT", "/api/row/u2", {"s": "taken"}, 409, "conflict", "s")
        self.assertEqual(p["errors"][0]["field"], "s")
        self.assertRegex(p["detail"], "unique.*u1|'s'")


class Hooks(Rules):
    def test_a_hook_sees_the_row_as_it_is_at_commit_or_the_change_is_a_409(self):  # E2
        self.ok("PUT", "/api/counted/c", {}, 201)
        taken, refused = [], []

        def writer(k):
            c = self.server.client()
            for i in range(25):
                a = c("PATCH", "/api/counted/c", {"note": f"{k}-{i}"})
                (taken if a.status == 200 else refused).append((a.status, a.json.get("code")))

        threads = [threading.Thread(target=writer, args=(k,)) for k in range(6)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        self.assertLessEqual(set(refused), {(409, "conflict")})
        self.assertEqual(self.ok("GET", "/api/counted/c").json["n"], 1 + len(taken))
        self.assertEqual(self.ok("GET", "/api/counted/c").json["version"], 1 + len(taken))

    def test_a_hook_changes_protects_and_rejects(self):
        self.assertEqual(self.ok("PUT", "/api/counted/p", {"fixed": "mine"}, 201).json["n"], 1)
        got = self.ok("PATCH", "/api/counted/p", {"fixed": "yours", "note": "x"}).json
        self.assertEqual((got["fixed"], got["note"], got["n"]), ("mine", "x", 2))
        p = self.refused("PATCH", "/api/counted/p", {"note": "no"}, 422, "rejected", "say something else")
        self.assertIn("not_so", json.dumps(p))
        self.assertEqual(self.ok("GET", "/api/counted/p").json["version"], 2)


class Verbs(Rules):
    def test_all_six_operations_of_a_json_patch(self):
        self.ok("PUT", "/api/row/j", {"a": 1, "l": [1, 2, 3], "m": {"x": {"y": 1}}}, 201)
        ops = [{"op": "test", "path": "/a", "value": 1}, {"op": "add", "path": "/l/1", "value": 9}, {"op": "remove", "path": "/l/0"},
               {"op": "replace", "path": "/a", "value": 2}, {"op": "move", "from": "/m/x/y", "path": "/m/z"}, {"op": "copy", "from": "/l", "path": "/m/l"}]
        got = self.ok("PATCH", "/api/row/j", ops, Content_Type="application/json-patch+json").json
        self.assertEqual((got["a"], got["l"], got["m"]), (2, [9, 2, 3], {"x": {}, "z": 1, "l": [9, 2, 3]}))
        self.refused("PATCH", "/api/row/j", ops, 409, "conflict", "test", Content_Type="application/json-patch+json")
        for field in ("id", "version", "created_at", "updated_at", "created_by", "updated_by"):
            self.refused("PATCH", "/api/row/j", {field: "x"}, words=field)
            self.refused("PATCH", "/api/row/j", [{"op": "replace", "path": "/" + field, "value": "x"}], words=field,
                         Content_Type="application/json-patch+json")

    def test_the_list_form_of_get_keeps_order_and_duplicates_with_gaps(self):
        self.rows("list", {"id": "a", "a": 1}, {"id": "b", "a": 2})
        self.assertEqual(self.script("""
          local got, out = entity("Row").partition("list").get { "b", "none", "a", "b" }, {}
          for i = 1, 4 do out[i] = got[i] and got[i].id or "gap" end
          return out"""), ["b", "gap", "a", "b"])

    def test_of_two_whole_documents_the_last_wins_and_patches_work_on_the_row_as_it_is(self):
        self.ok("PUT", "/api/row/w", {"a": 1, "d": "2026-01-01"}, 201)
        self.ok("PATCH", "/api/row/w", {"a": 2})
        self.assertEqual(self.ok("PATCH", "/api/row/w", {"d": "2026-01-02"}).json["a"], 2)
        got = self.ok("PUT", "/api/row/w", {"a": 3}).json
        self.assertEqual((got["a"], "d" in got, got["version"]), (3, False, 4))

    def test_a_page_has_50_records_unless_said_and_at_most_200(self):
        self.rows("pages", *[{"id": f"p{i:03}"} for i in range(210)])
        for query, count in (("", 50), ("&pageSize=1", 1), ("&pageSize=200", 200)):
            self.assertEqual(len(self.ok("GET", "/api/row?partition=pages" + query).json), count)
        self.refused("GET", "/api/row?partition=pages&pageSize=201", words="200")
        self.refused("POST", "/api/row/query?partition=pages", {"pageSize": 201}, words="200")
        self.refused("GET", "/api/row?q=x", words="no field of Row is searched")


if __name__ == "__main__":
    unittest.main()
