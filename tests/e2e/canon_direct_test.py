"""Golden records changed directly over HTTP: patches, conditions, the answers of other records."""
import json
import threading
import unittest

from e2e.node import App

PEOPLE = """
entity "Person" {
  fields = {
    name  = text { max = 40 }, email = email {}, phone = text {}, city = text {}, job = text {},
    tags  = list {}, home = map {}, n = int {}, m = int {},
  },
}
canon "Person" {
  sources = { erp = { rank = 1 }, crm = { rank = 2 } },
  keys    = { "email:email" },
  policy  = { city = source_of_truth { "erp", fallback = "latest" } },
}
"""
MERGE, PATCH = "application/merge-patch+json", "application/json-patch+json"


class Direct(App):
    APP = PEOPLE

    def person(self, tag, **data):
        """A golden record that one source made: its path."""
        # Said long ago: of two statements in one millisecond the one of the better ranked source wins.
        a = self.ok("POST", f"/api/canon/person?source_id={tag}&origin=crm&observed_at=2026-01-01T00:00:00Z",
                    {"email": tag + "@example.org", **data})
        return "/api/person/" + a.json["id"]

    def stated(self, path):
        sources = self.ok("GET", path.replace("/api/person", "/api/canon/person") + "/why").json["sources"]
        return next((s["fields"] for s in sources if s["origin"] == "direct"), None)


class Patches(Direct):
    def test_patches_of_different_fields_at_the_same_time_all_survive(self):
        path = self.person("conc")

        def work(field):
            c = self.server.client()
            for i in range(1, 31):
                a = c("PATCH", path, {field: i})
                self.assertIn(a.status, (200, 409), a.body)
                while a.status == 409:
                    a = c("PATCH", path, {field: i})

        workers = [threading.Thread(target=work, args=(f,)) for f in ("n", "m")]
        for w in workers:
            w.start()
        for w in workers:
            w.join()
        now = self.ok("GET", path).json
        self.assertEqual((now["n"], now["m"]), (30, 30))
        self.assertEqual(self.stated(path), {"n": 30, "m": 30})

    def test_a_bulk_of_patches_in_one_pipeline_keeps_every_field(self):
        path = self.person("pipe")
        fields = ["name", "phone", "job"]
        threads = [threading.Thread(target=lambda f=f: self.server.client()("PATCH", path, {f: f})) for f in fields]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        now = self.ok("GET", path).json
        self.assertEqual([now[f] for f in fields], fields)

    def test_a_merge_patch_states_what_it_names(self):
        path = self.person("mp", name="Ann", phone="1", home={"street": "A", "zip": "1"})
        a = self.ok("PATCH", path, {"home": {"zip": "2"}, "job": "smith"}, Content_Type=MERGE)
        self.assertEqual((a.json["home"], a.json["job"], a.json["name"]), ({"street": "A", "zip": "2"}, "smith", "Ann"))
        self.assertEqual((a.headers["X-Koan-Outcome"], a.headers["ETag"]), ("updated", '"2"'))
        self.assertEqual(self.stated(path), {"home": {"street": "A", "zip": "2"}, "job": "smith"})
        a = self.ok("PATCH", path, {"job": None})
        self.assertNotIn("job", a.json)
        self.assertEqual(self.ok("PATCH", path, {"job": None}).headers["X-Koan-Outcome"], "unchanged")

    def test_a_json_patch_works_on_the_record_as_it_is_seen(self):
        path = self.person("jp", name="Ann", phone="1", tags=["a", "b"])
        a = self.ok("PATCH", path, [
            {"op": "test", "path": "/name", "value": "Ann"},
            {"op": "replace", "path": "/name", "value": "Bea"},
            {"op": "add", "path": "/tags/-", "value": "c"},
            {"op": "copy", "from": "/phone", "path": "/job"},
            {"op": "test", "path": "/city", "value": None},
        ], Content_Type=PATCH)
        self.assertEqual((a.json["name"], a.json["tags"], a.json["job"]), ("Bea", ["a", "b", "c"], "1"))
        self.assertEqual(self.stated(path), {"name": "Bea", "tags": ["a", "b", "c"], "job": "1"})
        a = self.ok("PATCH", path, [{"op": "move", "from": "/job", "path": "/phone"},
                                    {"op": "remove", "path": "/name"}], Content_Type=PATCH)
        self.assertEqual((a.json["name"], a.json["phone"], a.json.get("job")), ("Ann", "1", None))
        self.assertEqual(self.stated(path), {"tags": ["a", "b", "c"], "phone": "1"})

    def test_a_json_patch_that_does_not_hold_changes_nothing(self):
        path = self.person("jq", name="Ann")
        self.refused("PATCH", path, [{"op": "replace", "path": "/job", "value": "x"},
                                     {"op": "test", "path": "/name", "value": "Bea"}],
                     status=409, code="conflict", Content_Type=PATCH)
        self.refused("PATCH", path, [{"op": "replace", "path": "/tags/7", "value": "x"}],
                     status=409, code="conflict", Content_Type=PATCH)
        self.refused("PATCH", path, [{"op": "change", "path": "/name"}], Content_Type=PATCH)
        self.refused("PATCH", path, {"name": "x"}, Content_Type=PATCH)
        self.refused("PATCH", path, [{"op": "replace", "path": "/version", "value": 9}], Content_Type=PATCH)
        self.refused("PATCH", path, {"version": 9}, words="version")
        self.refused("PATCH", path, [{"op": "add", "path": "/nmae", "value": "x"}], words="nmae", Content_Type=PATCH)
        self.refused("PATCH", path, {"n": "many"}, words="n")
        self.refused("PATCH", path, {"name": "x"}, status=415, code="media_type", Content_Type="text/plain")
        self.assertIsNone(self.stated(path))
        self.assertEqual(self.ok("GET", path).json["version"], 1)

    def test_policies_stand_above_what_is_stated_directly(self):
        path = self.person("po")
        self.ok("POST", "/api/canon/person?source_id=po2&origin=erp", {"email": "po@example.org", "city": "Oslo"})
        a = self.ok("PATCH", path, {"city": "Rome"})
        self.assertEqual((a.json["city"], a.headers["X-Koan-Outcome"]), ("Oslo", "unchanged"))
        self.assertEqual(self.stated(path), {"city": "Rome"})


class Conditions(Direct):
    def test_a_change_with_the_version_it_read_wins_once(self):
        path = self.person("im")
        codes = []

        def work(i):
            codes.append(self.server.client()("PATCH", path, {"n": i}, {"If-Match": '"1"'}).status)

        workers = [threading.Thread(target=work, args=(i,)) for i in range(8)]
        for w in workers:
            w.start()
        for w in workers:
            w.join()
        self.assertEqual(sorted(codes), [200] + [412] * 7)
        self.assertEqual(self.ok("GET", path).json["version"], 2)

    def test_each_verb_takes_the_version_it_expects(self):
        path = self.person("iv", name="Ann")
        for method, body in (("PUT", {"name": "x"}), ("PATCH", {"name": "x"})):
            self.refused(method, path, body, 412, "version_mismatch", If_Match='"9"')
        self.ok("PUT", path, {"name": "Bea"}, If_Match='"1"')
        self.ok("PATCH", path, [{"op": "replace", "path": "/name", "value": "Cy"}], Content_Type=PATCH, If_Match='"2"')
        self.ok("PATCH", path, {"phone": "1"}, If_Match="*")
        self.refused("DELETE", path, None, 412, "version_mismatch", If_Match='"3"')
        self.ok("DELETE", path, status=204, If_Match='"4"')
        self.assertEqual(self.ok("GET", path).json["name"], "Ann")
        self.assertEqual(self.ok("GET", path).headers["ETag"], '"5"')

    def test_what_changes_nothing_still_needs_the_right_version(self):
        path = self.person("in")
        self.ok("PUT", path, {"name": "A"})
        self.assertEqual(self.ok("PUT", path, {"name": "A"}, If_Match='"2"').headers["X-Koan-Outcome"], "unchanged")
        self.refused("PUT", path, {"name": "A"}, 412, "version_mismatch", If_Match='"1"')

    def test_only_a_new_record_is_made_with_if_none_match(self):
        path = self.person("nm")
        self.refused("PUT", path, {"name": "x"}, 412, "version_mismatch", If_None_Match="*")
        a = self.ok("PUT", "/api/person/mine", {"name": "x", "email": "mine@example.org"}, 201, If_None_Match="*")
        self.assertEqual((a.headers["X-Koan-Outcome"], a.headers["ETag"], a.json["id"]), ("created", '"1"', "mine"))
        self.refused("PUT", "/api/person/mine", {"name": "y"}, 412, "version_mismatch", If_None_Match="*")
        self.refused("PUT", "/api/person/nobody", {"name": "y"}, 412, "version_mismatch", If_Match="*")
        self.refused("PATCH", path, {"name": "y"}, If_None_Match="*")
        self.refused("PUT", path, {"name": "y"}, words="If-Match", If_Match="7")


class Bulk(Direct):
    def test_a_bulk_is_saved_whole_with_an_outcome_each(self):
        old = self.person("bo", name="Old").rsplit("/", 1)[1]
        rows = [{"id": f"b{i}", "email": f"b{i}@example.org", "name": f"B{i}"} for i in range(200)]
        rows += [{"id": old, "name": "New"}, {"name": "no id", "email": "b-none@example.org"}]
        a = self.ok("POST", "/api/person/bulk", rows)
        self.assertEqual(a.json["counts"], {"unchanged": 0, "created": 201, "updated": 1, "removed": 0, "withdrawn": 0, "parked": 0, "failed": 0})
        self.assertEqual(a.json["results"][7], {"id": "b7", "outcome": "created", "version": 1})
        self.assertEqual(a.json["results"][200], {"id": old, "outcome": "updated", "version": 2})
        self.assertGreater(int(a.headers["X-Koan-Seq"]), 0)
        self.assertEqual(self.ok("GET", "/api/person/b7").json["name"], "B7")
        again = self.ok("POST", "/api/person/bulk", rows[:3]).json
        self.assertEqual(again["results"][0], {"id": "b0", "outcome": "unchanged", "version": 1})

    def test_one_that_is_wrong_refuses_all(self):
        rows = [{"id": f"w{i}", "email": f"w{i}@example.org"} for i in range(20)]
        for bad, words, status in (({"id": "wx", "nmae": 1}, "nmae", 400), ({"id": "wy", "n": "many"}, "n", 400),
                                   (7, "object", 400), ({"id": "a/b"}, "id", 400)):
            p = self.refused("POST", "/api/person/bulk", rows[:11] + [bad] + rows[11:], status, words=words)
            self.assertEqual(p["failed_op"], 11)
            self.assertIn("item 11", p["detail"])
            self.ok("GET", "/api/person/w0", status=404)
        lineage = self.c("GET", "/api/canon/person/parked").json
        self.assertEqual(lineage, [])

    def test_items_of_a_bulk_see_those_before_them(self):
        rows = [{"id": "s1", "email": "s@example.org", "name": "A"}, {"id": "s2", "email": "s@example.org", "phone": "2"},
                {"id": "s1", "email": "s@example.org", "name": "B"}]
        r = self.ok("POST", "/api/person/bulk", rows).json["results"]
        self.assertEqual([(x["id"], x["version"]) for x in r], [("s1", 1), ("s1", 2), ("s1", 3)])
        now = self.ok("GET", "/api/person/s1").json
        self.assertEqual((now["name"], now["phone"], now["version"]), ("B", "2", 3))

    def test_without_atomic_each_item_stands_alone(self):
        rows = [{"id": "n1", "email": "n1@example.org"}, {"id": "n2", "n": "many"}, 7, {"id": "n3", "email": "n3@example.org"}]
        r = self.ok("POST", "/api/person/bulk?atomic=false", rows).json
        self.assertEqual([x["outcome"] for x in r["results"]], ["created", "failed", "failed", "created"])
        self.assertEqual((r["results"][1]["error"]["code"], r["results"][2]["error"]["code"]), ("invalid", "invalid"))
        self.assertEqual((r["counts"]["created"], r["counts"]["failed"]), (2, 2))

    def test_a_merged_id_is_named(self):
        a = self.person("mg1").rsplit("/", 1)[1]
        self.ok("PUT", "/api/person/mg2", {"email": "mg2@example.org"}, 201)
        self.ok("POST", "/api/canon/person?source_id=mg1&origin=crm", {"email": "mg2@example.org"})
        p = self.refused("POST", "/api/person/bulk", [{"id": "mg2", "name": "x"}], 409, "conflict", words="merged into")
        self.assertIn(a, p["detail"])
        p = self.refused("DELETE", "/api/person/bulk", ["mg2"], 409, "conflict", words="merged into")
        self.assertIn(a, p["detail"])

    def test_a_bulk_takes_back_what_was_said_directly(self):
        rows = [{"id": f"d{i}", "email": f"d{i}@example.org", "name": "said", "n": i} for i in range(8)]
        self.ok("POST", "/api/person/bulk", rows)
        self.ok("POST", "/api/canon/person?origin=erp&source_id=d0", {"email": "d0@example.org", "phone": "1"})
        a = self.ok("DELETE", "/api/person/bulk", {"ids": ["d0", "d1"]})
        self.assertEqual([(r["id"], r["outcome"]) for r in a.json["results"]], [("d0", "withdrawn"), ("d1", "withdrawn")])
        self.assertEqual(a.json["counts"]["withdrawn"], 2)
        left = self.ok("GET", "/api/person/d0").json
        self.assertEqual((left.get("name"), left["phone"]), (None, "1"))
        self.assertEqual(self.ok("DELETE", "/api/person/d2", status=204).headers["X-Koan-Outcome"], "withdrawn")
        self.assertEqual(self.c("GET", "/api/person/d1").status, self.c("GET", "/api/person/d2").status)
        back = self.ok("PUT", "/api/person/d1", rows[1], self.c("GET", "/api/person/d1").status == 404 and 201 or 200).json
        self.assertEqual((back["id"], back["name"]), ("d1", "said"))
        # All or nothing; and nothing of it is there to be taken back.
        for bad, status, code, words in (("d0", 409, "conflict", "nothing was said directly"), ("none", 404, "not_found", "none"),
                                         ({"id": "d3", "if_version": 9}, 412, "version_mismatch", "item")):
            p = self.refused("DELETE", "/api/person/bulk", {"ids": ["d4", bad]}, status, code, words=words)
            self.assertEqual((p["failed_op"], self.ok("GET", "/api/person/d4").json["name"]), (1, "said"))
        r = self.ok("DELETE", "/api/person/bulk?atomic=false", ["d4", "d0", "none", {"id": "d3", "if_version": 1}]).json
        self.assertEqual([x["outcome"] for x in r["results"]], ["withdrawn", "failed", "failed", "withdrawn"])
        self.assertEqual([x["error"]["status"] for x in r["results"][1:3]], [409, 404])
        found = {"filter": {"name": "said", "n": {"$gte": 5}, "email": "d*"}}
        self.assertEqual(self.ok("DELETE", "/api/person/bulk", dict(found, dry_run=True)).json["ids"], ["d5", "d6", "d7"])
        self.assertEqual(self.ok("DELETE", "/api/person/bulk", found).json["counts"]["withdrawn"], 3)
        first, again = (self.ok("DELETE", "/api/person/bulk", {"ids": ["dk"]}, Idempotency_Key="dk") for _ in range(2)
                        if self.ok("PUT", "/api/person/dk", {"email": "dk@example.org"}, self.c("GET", "/api/person/dk").status == 200 and 200 or 201))
        self.assertEqual((again.headers["Idempotency-Replayed"], again.body), ("true", first.body))
        self.ok("POST", "/api/person/bulk", [{"id": f"df{i}", "email": f"df{i}@example.org", "job": "filtered"} for i in range(3)])
        first = self.ok("DELETE", "/api/person/bulk", {"filter": {"job": "filtered"}}, Idempotency_Key="df")
        self.ok("PUT", "/api/person/df9", {"email": "df9@example.org", "job": "filtered"}, 201)
        again = self.ok("DELETE", "/api/person/bulk", {"filter": {"job": "filtered"}}, Idempotency_Key="df")
        self.assertEqual((again.headers["Idempotency-Replayed"], again.body), ("true", first.body))
        self.assertEqual((again.json["counts"]["withdrawn"], self.ok("GET", "/api/person/df9").json["job"]), (3, "filtered"))
        self.refused("POST", "/api/person/d1/restore", None, 422, "unsupported", "speaks of it")
        self.refused("DELETE", "/api/person/bulk", {"filter": {}}, words="confirm")

    def test_bulks_and_arrivals_at_the_same_time_lose_nothing(self):
        def work(tag):
            c = self.server.client()
            for k in range(6):
                rows = [{"id": f"{tag}{k}-{i}", "email": f"{tag}{k}-{i}@example.org"} for i in range(40)]
                self.assertEqual(c("POST", "/api/person/bulk", rows).status, 200)
                for i in range(5):
                    c("POST", f"/api/canon/person?origin=erp&source_id={tag}{k}{i}", {"email": f"{tag}{k}-{i}@example.org", "n": i})

        workers = [threading.Thread(target=work, args=(t,)) for t in ("x", "y", "z")]
        for w in workers:
            w.start()
        for w in workers:
            w.join()
        for t in "xyz":
            self.assertEqual(self.ok("GET", f"/api/person/{t}5-4").json["n"], 4)


if __name__ == "__main__":
    unittest.main()
