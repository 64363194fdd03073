"""Entities over HTTP: every verb, conditions, patches, pages, bulk, errors, races."""
import concurrent.futures
import json
import re
import unittest
import urllib.parse

from e2e.node import App

SHOP = """
entity "Customer" {
  fields = {
    name  = text { required = true, max = 20 },
    email = email { unique = true },
    tier  = choice { "free", "pro", default = "free" },
    total = int { min = 0 },
    tags  = list { of = text { max = 10 } },
    born  = date {},
  },
  index = { { "total" } },
}
entity "OrderLine" {
  fields = { sku = text { required = true }, count = int {} },
  require_version = true,
}
entity "Guarded" {
  fields = { name = text { required = true }, state = text {} },
  before_save = function(e, prior, ctx)
    if e.name == "bad" then ctx:reject("bad_name", "no bad names here") end
    if e.name == "upper" then e.state = (prior and "again" or "new") end
  end,
  before_remove = function(e, ctx)
    if e.name == "kept" then ctx:reject("kept", "this one stays") end
  end,
}
"""
WITHOUT_SYSTEM = ("version", "created_at", "updated_at", "created_by", "updated_by")


class Shop(App):
    APP = SHOP

    def put(self, name, **fields):
        return self.ok("PUT", "/api/customer/" + urllib.parse.quote(name), {"name": name, **fields}, status=201)


class OneRecord(Shop):
    def test_a_new_record_is_created_with_id_version_and_defaults(self):
        a = self.ok("POST", "/api/customer", {"name": "Ann"}, status=201)
        r = a.json
        self.assertRegex(r["id"], r"^[0-9a-f]{8}-[0-9a-f]{4}-7")
        self.assertEqual((r["version"], r["tier"], r["created_by"]), (1, "free", "local"))
        self.assertEqual(a.headers["ETag"], '"1"')
        self.assertEqual(a.headers["X-Koan-Outcome"], "created")
        self.assertEqual(a.headers["Location"], "/api/customer/" + r["id"])
        self.assertGreater(int(a.headers["X-Koan-Seq"]), 0)
        self.assertEqual(self.ok("GET", "/api/customer/" + r["id"]).json, r)

    def test_ids_are_in_order_of_time(self):
        ids = [self.ok("POST", "/api/customer", {"name": "o"}, status=201).json["id"] for _ in range(20)]
        self.assertEqual(ids, sorted(ids))

    def test_put_creates_replaces_and_sees_when_nothing_changes(self):
        self.assertEqual(self.put("put1", total=1).headers["X-Koan-Outcome"], "created")
        a = self.ok("PUT", "/api/customer/put1", {"name": "put1", "total": 2})
        self.assertEqual((a.headers["X-Koan-Outcome"], a.json["version"]), ("updated", 2))
        a = self.ok("PUT", "/api/customer/put1", {"name": "put1", "total": 2})
        self.assertEqual((a.headers["X-Koan-Outcome"], a.json["version"]), ("unchanged", 2))

    def test_what_was_read_can_be_put_back(self):
        r = self.put("round", total=3).json
        r["total"] = 4
        self.assertEqual(self.ok("PUT", "/api/customer/round", r).json["total"], 4)

    def test_the_body_may_not_name_another_id_than_the_url(self):
        self.refused("PUT", "/api/customer/a1", {"id": "a2", "name": "x"}, words="id")

    def test_an_id_can_be_brought_but_not_any(self):
        self.put("émile")
        a = self.ok("POST", "/api/customer", {"id": "é 1", "name": "x"}, status=201)
        self.assertEqual(self.ok("GET", a.headers["Location"]).json["id"], "é 1")
        self.assertEqual(self.ok("GET", "/api/customer/" + urllib.parse.quote("émile")).json["id"], "émile")
        self.refused("PUT", "/api/customer/" + "x" * 257, {"name": "x"})
        self.refused("PUT", "/api/customer/a%01b", {"name": "x"})
        self.refused("PUT", "/api/customer/changes", {"name": "x"}, 405, "method", "changes")
        self.refused("POST", "/api/customer", {"id": "", "name": "x"})
        self.refused("POST", "/api/customer", {"id": 7, "name": "x"})

    def test_all_faults_of_a_record_are_listed_by_field(self):
        p = self.refused("POST", "/api/customer", {"total": -1, "tier": "gold", "nmae": "x"})
        fields = {f["field"]: f for f in p["errors"]}
        self.assertEqual(set(fields), {"name", "total", "tier", "nmae"})
        self.assertIn("name", fields["nmae"]["detail"])
        for f in fields.values():
            self.assertTrue(f["code"] and f["detail"], f)

    def test_removal_is_final(self):
        self.put("gone1")
        a = self.ok("DELETE", "/api/customer/gone1", status=204)
        self.assertEqual((a.headers["X-Koan-Outcome"], a.body), ("removed", b""))
        self.refused("GET", "/api/customer/gone1", status=404, code="not_found")
        self.refused("DELETE", "/api/customer/gone1", status=404, code="not_found")

    def test_new_shows_the_defaults(self):
        self.assertEqual(self.ok("GET", "/api/customer/new").json, {"tier": "free"})

    def test_head_is_get_without_a_body(self):
        self.put("head1")
        a = self.ok("HEAD", "/api/customer/head1")
        self.assertEqual((a.body, a.headers["ETag"]), (b"", '"1"'))

    def test_the_nearest_name_is_told(self):
        self.refused("GET", "/api/custommer/1", status=404, code="not_found", words="customer")
        self.refused("GET", "/api/customer?filtr={}", words="filter")
        self.refused("GET", "/api/order-line?pagesize=1", words="pageSize")
        self.ok("GET", "/api/order-line")

    def test_content_types_are_minded(self):
        self.refused("POST", "/api/customer", "name=x", status=415, code="media_type",
                     Content_Type="application/x-www-form-urlencoded")
        self.refused("PATCH", "/api/customer/x", "{}", status=415, code="media_type", Content_Type="text/plain")
        self.refused("POST", "/api/customer", '{"name": "x",}', words="line 1", Content_Type="application/json")
        self.refused("POST", "/api/customer", '{"name": 1, "name": 2}', Content_Type="application/json")
        self.refused("POST", "/api/customer", b'{"name": "\xff"}', Content_Type="application/json; charset=utf-8")
        self.refused("POST", "/api/customer", "[" * 100 + "]" * 100)
        self.refused("POST", "/api/customer", "[]", words="object")
        self.refused("POST", "/api/customer", "", words="empty")

    def test_unknown_routes_and_verbs(self):  # R1
        self.refused("GET", "/nowhere", status=404, code="not_found")
        a = self.c("PATCH", "/api/customer", {"x": 1})
        self.assertEqual((a.status, a.json["code"]), (405, "method"))
        self.assertIn("POST", a.headers["Allow"])

    def test_a_record_has_a_largest_size(self):
        self.refused("POST", "/api/customer", {"name": "x", "tags": ["t" * 10] * 100000}, status=413, code="too_large")


class Conditions(Shop):
    def test_if_match_lets_only_the_version_through(self):  # E2
        self.put("m1")
        self.refused("PUT", "/api/customer/m1", {"name": "x"}, status=412, code="version_mismatch", If_Match='"2"')
        a = self.ok("PUT", "/api/customer/m1", {"name": "x"}, If_Match='"1"')
        self.assertEqual(a.headers["ETag"], '"2"')
        self.refused("PATCH", "/api/customer/m1", {"total": 1}, status=412, code="version_mismatch", If_Match='"1"')
        self.refused("DELETE", "/api/customer/m1", status=412, code="version_mismatch", If_Match='"1"')
        self.refused("PUT", "/api/customer/m1", {"name": "x"}, If_Match="2", words="If-Match")
        self.ok("DELETE", "/api/customer/m1", status=204, If_Match='"2"')
        self.refused("PUT", "/api/customer/m1", {"name": "x"}, status=412, code="version_mismatch", If_Match="*")
        self.refused("PUT", "/api/customer/m1", {"name": "x"}, status=412, code="version_mismatch", If_Match='"2"')

    def test_if_none_match_star_only_creates(self):
        self.ok("PUT", "/api/customer/n1", {"name": "a"}, status=201, If_None_Match="*")
        self.refused("PUT", "/api/customer/n1", {"name": "b"}, status=412, code="version_mismatch", If_None_Match="*")
        self.refused("POST", "/api/customer", {"id": "n1", "name": "b"}, status=412, code="version_mismatch",
                     If_None_Match="*")
        self.assertEqual(self.ok("GET", "/api/customer/n1").json["name"], "a")

    def test_a_read_of_a_known_version_is_304(self):
        self.put("f1")
        for tags in ('"1"', 'W/"1"', '"7", "1"', "*"):
            a = self.ok("GET", "/api/customer/f1", status=304, If_None_Match=tags)
            self.assertEqual((a.body, a.headers["ETag"]), (b"", '"1"'))
        self.ok("GET", "/api/customer/f1", If_None_Match='"2"')
        self.refused("GET", "/api/customer/f1", status=412, code="version_mismatch", If_Match='"2"')

    def test_an_entity_that_wants_versions_gets_them(self):
        self.ok("PUT", "/api/order-line/v1", {"sku": "a"}, status=201, If_None_Match="*")
        self.refused("PUT", "/api/order-line/v1", {"sku": "b"}, words="If-Match")
        self.refused("PATCH", "/api/order-line/v1", {"sku": "b"}, words="If-Match")
        self.refused("DELETE", "/api/order-line/v1", words="If-Match")
        self.ok("PATCH", "/api/order-line/v1", {"sku": "b"}, If_Match='"1"')
        self.ok("DELETE", "/api/order-line/v1", status=204, If_Match='"2"')

    def test_of_two_saves_of_one_version_exactly_one_succeeds(self):
        for turn in range(10):
            name = f"race{turn}"
            self.put(name)

            def save(n, name=name):
                c = self.server.client()
                try:
                    return c("PUT", "/api/customer/" + name, {"name": name, "total": n}, {"If-Match": '"1"'}).status
                finally:
                    c.close()

            with concurrent.futures.ThreadPoolExecutor(4) as pool:
                got = sorted(pool.map(save, range(1, 5)))
            self.assertEqual(got, [200, 412, 412, 412])
            self.assertEqual(self.ok("GET", "/api/customer/" + name).json["version"], 2)

    def test_patches_of_different_fields_all_hold(self):
        self.put("many", tags=[])

        def patch(body):
            c = self.server.client()
            try:
                return c("PATCH", "/api/customer/many", body).status
            finally:
                c.close()

        with concurrent.futures.ThreadPoolExecutor(3) as pool:
            got = list(pool.map(patch, [{"total": 7}, {"tier": "pro"}, {"born": "2000-01-02"}]))
        self.assertEqual(got, [200, 200, 200])
        r = self.ok("GET", "/api/customer/many").json
        self.assertEqual((r["total"], r["tier"], r["born"], r["version"]), (7, "pro", "2000-01-02", 4))

    def test_a_unique_value_has_one_taker_however_many_try(self):  # E2
        def take(n):
            c = self.server.client()
            try:
                return c("POST", "/api/customer", {"name": f"u{n}", "email": "one@example.org"})
            finally:
                c.close()

        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            got = list(pool.map(take, range(16)))
        self.assertEqual(sorted(a.status for a in got), [201] + [409] * 15)
        p = next(a for a in got if a.status == 409).json
        self.assertEqual((p["code"], p["retry"]), ("conflict", "reread"))
        self.assertIn("email", json.dumps(p))


class Patches(Shop):
    def test_merge_patch_and_plain_json(self):
        self.put("p1", total=1, tags=["a"])
        for kind in ("application/merge-patch+json", "application/json"):
            a = self.ok("PATCH", "/api/customer/p1", {"total": None, "tier": "pro"}, Content_Type=kind)
            self.assertNotIn("total", a.json)
            self.assertEqual((a.json["tier"], a.json["tags"]), ("pro", ["a"]))

    def test_json_patch_does_all_or_nothing(self):
        self.put("p2", total=1, tags=["a"])
        kind = "application/json-patch+json"
        a = self.ok("PATCH", "/api/customer/p2", [
            {"op": "test", "path": "/total", "value": 1}, {"op": "replace", "path": "/total", "value": 2},
            {"op": "add", "path": "/tags/-", "value": "b"}, {"op": "copy", "from": "/tags/0", "path": "/tags/-"},
            {"op": "move", "from": "/tags/0", "path": "/tags/2"}, {"op": "remove", "path": "/tier"}],
                    Content_Type=kind).json
        self.assertEqual((a["total"], a["tags"]), (2, ["b", "a", "a"]))
        self.refused("PATCH", "/api/customer/p2", [
            {"op": "replace", "path": "/total", "value": 9}, {"op": "test", "path": "/total", "value": 1}],
                     status=409, code="conflict", Content_Type=kind)
        self.assertEqual(self.ok("GET", "/api/customer/p2").json["total"], 2)
        self.refused("PATCH", "/api/customer/p2", [{"op": "push", "path": "/tags"}], Content_Type=kind)

    def test_system_fields_are_not_patched(self):
        self.put("p3")
        self.refused("PATCH", "/api/customer/p3", {"version": 9}, words="version")
        self.refused("PATCH", "/api/customer/p3", [{"op": "remove", "path": "/created_at"}],
                     Content_Type="application/json-patch+json")

    def test_a_patch_needs_its_record_and_must_leave_it_right(self):
        self.refused("PATCH", "/api/customer/nobody", {"total": 1}, status=404, code="not_found")
        self.put("p4")
        self.refused("PATCH", "/api/customer/p4", {"name": None}, words="name")
        self.refused("PATCH", "/api/customer/p4", {"totl": 1}, words="total")


class Lists(Shop):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        c = cls.server.client()
        rows = [{"id": f"l{i:03}", "name": f"n{i:03}", "total": i % 10, "tags": [f"t{i % 3}"]} for i in range(120)]
        assert c("POST", "/api/customer/bulk", rows).status == 200
        c.close()

    def ask(self, **q):
        return self.ok("GET", "/api/customer?" + urllib.parse.urlencode(q))

    def test_pages_by_number(self):
        a = self.ask(page=2, pageSize=50)
        self.assertEqual([r["id"] for r in a.json], [f"l{i:03}" for i in range(50, 100)])
        h = a.headers
        self.assertEqual((h["X-Page"], h["X-Page-Size"], h["X-Total-Count"], h["X-Total-Pages"]),
                         ("2", "50", "120", "3"))
        rels = dict((rel, url) for url, rel in re.findall(r'<([^>]+)>; rel="(\w+)"', h["Link"]))
        self.assertEqual(set(rels), {"first", "prev", "next"})
        self.assertEqual(len(self.ok("GET", rels["next"]).json), 20)

    def test_a_cursor_walks_all_rows_once(self):
        for query in ({}, {"sort": "-total,name"}, {"sort": "total", "filter": '{"total": {"$gte": 3}}'}):
            url, seen = "/api/customer?" + urllib.parse.urlencode({"pageSize": 17, **query}), []
            while url:
                a = self.ok("GET", url)
                seen += a.json
                found = re.search(r'<([^>]+)>; rel="next"', a.headers.get("Link", ""))
                url = found and found.group(1)
            want = 84 if "filter" in query else 120
            self.assertEqual(len({r["id"] for r in seen}), want)
            self.assertEqual(len(seen), want)
            if query.get("sort") == "-total,name":
                self.assertEqual(seen, sorted(seen, key=lambda r: (-r["total"], r["name"])))

    def test_a_cursor_that_was_tampered_with_or_moved_is_refused(self):
        link = re.search(r"cursor=([\w-]+)", self.ask(pageSize=10).headers["Link"]).group(1)
        self.ask(pageSize=10, cursor=link)
        last = "A" if link[10] != "A" else "B"
        self.refused("GET", f"/api/customer?pageSize=10&cursor={link[:10]}{last}{link[11:]}", words="cursor")
        self.refused("GET", f"/api/order-line?pageSize=10&cursor={link}", words="cursor")
        self.refused("GET", f"/api/customer?pageSize=10&sort=-name&cursor={link}")
        self.refused("GET", f"/api/customer?page=1&cursor={link}")
        self.refused("GET", "/api/customer?cursor=%00")

    def test_filters_and_their_mistakes(self):
        self.assertEqual(len(self.ask(filter='{"total": 3, "tags": "t0"}').json), 4)
        self.assertEqual(len(self.ask(filter='{"name": "n00*"}').json), 10)
        for bad in ('{"totl": 1}', '{"total": {"$gt": "x"}}', '{"total": {"$gte1": 1}}', '{"total": ', '[1]'):
            self.refused("GET", "/api/customer?" + urllib.parse.urlencode({"filter": bad}))
        self.refused("GET", "/api/customer?" + urllib.parse.urlencode({"filter": '{"totl": 1}'}), words="total")

    def test_fields_sort_count_and_their_mistakes(self):
        r = self.ask(fields="name", pageSize=1).json[0]
        self.assertEqual(set(r), {"id", "name"})
        self.assertEqual(self.ask(count="exact").headers["X-Total-Count"], "120")
        self.assertNotIn("X-Total-Count", self.ask(count="none").headers)
        for bad in ("sort=nmae", "fields=nmae", "count=all", "pageSize=201", "pageSize=0", "page=0", "page=x",
                    "page=1&page=2"):
            self.refused("GET", "/api/customer?" + bad)
        self.refused("GET", "/api/customer?page=300&pageSize=200", status=413, code="too_large", words="cursor")

    def test_a_question_can_be_a_body(self):
        a = self.ok("POST", "/api/customer/query",
                    {"filter": {"total": {"$in": [1, 2]}}, "sort": ["-total", "name"], "pageSize": 5})
        self.assertEqual([r["total"] for r in a.json], [2] * 5)
        self.assertEqual(a.headers["X-Total-Count"], "24")
        cursor = re.search(r"cursor=([\w-]+)", a.headers["Link"]).group(1)
        b = self.ok("POST", "/api/customer/query",
                    {"filter": {"total": {"$in": [1, 2]}}, "sort": ["-total", "name"], "pageSize": 5, "cursor": cursor})
        self.assertGreater(b.json[0]["name"], a.json[-1]["name"])
        self.refused("POST", "/api/customer/query", {"filtr": {}}, words="filter")
        self.refused("POST", "/api/customer/query", [], words="object")

    def test_lines_instead_of_an_array(self):
        a = self.ok("GET", "/api/customer?pageSize=3", Accept="application/x-ndjson")
        self.assertEqual(a.headers["Content-Type"], "application/x-ndjson")
        self.assertEqual([json.loads(l)["id"] for l in a.body.decode().splitlines()], ["l000", "l001", "l002"])


class Bulk(Shop):
    def test_all_or_nothing(self):
        a = self.ok("POST", "/api/customer/bulk", [{"id": "b1", "name": "a"}, {"name": "b"}]).json
        self.assertEqual([r["outcome"] for r in a["results"]], ["created", "created"])
        self.assertEqual(a["counts"]["created"], 2)
        p = self.refused("POST", "/api/customer/bulk", [{"id": "b2", "name": "a"}, {"id": "b3"}], words="item 1")
        self.assertEqual(p["failed_op"], 1)
        self.assertEqual(p["errors"][0]["field"], "name")
        self.refused("GET", "/api/customer/b2", status=404, code="not_found")

    def test_each_for_itself(self):
        a = self.ok("POST", "/api/customer/bulk?atomic=false",
                    [{"id": "b4", "name": "a"}, {"id": "b5"}, {"id": "b6", "name": "c"}]).json
        self.assertEqual([r["outcome"] for r in a["results"]], ["created", "failed", "created"])
        self.assertEqual(a["results"][1]["error"]["code"], "invalid")
        self.assertEqual(a["counts"], {"created": 2, "updated": 0, "unchanged": 0, "removed": 0, "failed": 1})
        self.ok("GET", "/api/customer/b6")

    def test_a_conflict_inside_a_unit_undoes_all_of_it(self):
        self.put("taken", email="taken@example.org")
        p = self.refused("POST", "/api/customer/bulk",
                         [{"id": "b7", "name": "a"}, {"id": "b8", "name": "b", "email": "taken@example.org"}],
                         status=409, code="conflict")
        self.assertEqual(p["failed_op"], 1)
        self.refused("GET", "/api/customer/b7", status=404, code="not_found")

    def test_lines_and_their_places(self):
        body = "".join(json.dumps({"id": f"nd{i}", "name": "x"}) + "\n" for i in range(3))
        a = self.ok("POST", "/api/customer/bulk", body, Content_Type="application/x-ndjson").json
        self.assertEqual(a["counts"]["created"], 3)
        self.refused("POST", "/api/customer/bulk", body + "{oops\n", Content_Type="application/x-ndjson",
                     words="line 4")

    def test_bounds(self):
        many = [{"name": "x"}] * 1001
        self.refused("POST", "/api/customer/bulk", many, status=413, code="too_large", words="1000")
        self.refused("DELETE", "/api/customer/bulk", ["x"] * 1001, status=413, code="too_large")
        self.refused("POST", "/api/customer/bulk", [])
        self.refused("POST", "/api/customer/bulk", {"name": "x"}, words="array")
        self.refused("POST", "/api/customer/bulk?atomic=perhaps", [{"name": "x"}], words="atomic")
        self.assertEqual(self.ok("POST", "/api/customer/bulk", many[:1000]).json["counts"]["created"], 1000)

    def test_removal_by_ids_and_by_filter(self):
        self.ok("POST", "/api/customer/bulk", [{"id": f"r{i}", "name": "victim", "total": i} for i in range(6)])
        a = self.ok("DELETE", "/api/customer/bulk", ["r0", "r1"]).json
        self.assertEqual(a["counts"]["removed"], 2)
        self.refused("DELETE", "/api/customer/bulk", ["r2", "r0"], status=404, code="not_found")
        self.ok("GET", "/api/customer/r2")
        a = self.ok("DELETE", "/api/customer/bulk?atomic=false", {"ids": ["r2", "r0"]}).json
        self.assertEqual([r["outcome"] for r in a["results"]], ["removed", "failed"])
        a = self.ok("DELETE", "/api/customer/bulk", {"filter": {"name": "victim"}}).json
        self.assertEqual(a["counts"]["removed"], 3)
        for bad in ({"filter": {}}, {}, {"filter": None}, {"ids": "r1"}, {"filter": {"name": "x"}, "ids": []},
                    {"filtr": {"name": "x"}}, [7]):
            self.refused("DELETE", "/api/customer/bulk", bad)


class Hooks(Shop):
    def test_a_hook_changes_and_refuses(self):
        a = self.ok("POST", "/api/guarded", {"id": "g1", "name": "upper"}, status=201)
        self.assertEqual(a.json["state"], "new")
        self.assertEqual(self.ok("PUT", "/api/guarded/g1", {"name": "upper"}).json["state"], "again")
        self.refused("POST", "/api/guarded", {"name": "bad"}, status=422, code="rejected", words="no bad names")
        self.ok("PUT", "/api/guarded/g2", {"name": "kept"}, status=201)
        self.refused("DELETE", "/api/guarded/g2", status=422, code="rejected", words="stays")

    def test_a_patch_runs_the_hook_on_the_whole_record(self):
        self.ok("PUT", "/api/guarded/g3", {"name": "x"}, status=201)
        self.assertEqual(self.ok("PATCH", "/api/guarded/g3", {"name": "upper"}).json["state"], "again")
        self.refused("PATCH", "/api/guarded/g3", {"name": "bad"}, status=422, code="rejected")


class Sequence(Shop):
    def test_a_read_waits_for_what_was_written(self):  # L5
        seq = self.put("s1").headers["X-Koan-Seq"]
        other = self.server.client()
        self.addCleanup(other.close)
        self.assertEqual(other("GET", "/api/customer/s1", headers={"X-Koan-Seq": seq}).status, 200)

    def test_a_position_that_does_not_come_is_a_timeout(self):
        self.refused("GET", "/api/customer/s2", status=504, code="timeout", X_Koan_Seq="99999999")
        self.refused("GET", "/api/customer/s2", X_Koan_Seq="soon", words="X-Koan-Seq")

    def test_consistency(self):
        self.put("s3")
        for want in ("local", "linear", "max-age=5"):
            self.ok("GET", "/api/customer/s3", X_Koan_Consistency=want)
        self.refused("GET", "/api/customer/s3", X_Koan_Consistency="strong", words="linear")

    def test_one_tenant(self):
        self.ok("GET", "/api/customer", X_Koan_Tenant="default")
        self.refused("GET", "/api/customer", X_Koan_Tenant="acme", words="default")

    def test_the_correlation_id_is_the_callers_or_a_new_one(self):
        self.assertEqual(self.ok("GET", "/livez", X_Correlation_ID="my-id.7").headers["X-Correlation-ID"], "my-id.7")
        self.assertRegex(self.ok("GET", "/livez", X_Correlation_ID="no spaces").headers["X-Correlation-ID"],
                         r"^[0-9a-f-]{36}$")


if __name__ == "__main__":
    unittest.main()
