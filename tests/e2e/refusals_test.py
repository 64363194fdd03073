"""Every refusal has a code of the one table, its status, its advice and words that name the way out (R1); nothing unknown
in a request is ignored, on any route that the node describes (R3); what is refused was not done (H2)."""
import json
import re
import unittest

from e2e.node import App, Case

APP = """
entity "Note" { fields = { text = text { required = true, max = 100 }, n = int {} } }
entity "Strict" { fields = { name = text { unique = true } }, require_version = true,
  before_save = function(e, prior, ctx)
    if e.name == "no" then ctx:reject("no_names", "not this one") end
  end }
entity "Past" { fields = { n = int {} }, history = { versions = 1 } }
entity "Golden" { fields = { k = text {} } }
canon "Golden" { sources = { erp = {} }, keys = { "k" } }
route "GET /broken" { run = function() error("of the script") end }
route "GET /slow" { timeout = "100ms", run = function() while true do end end }
"""
# As semantics have it: code -> (status, retry).
TABLE = {
    "invalid": (400, "never"), "unauthorized": (401, "never"), "forbidden": (403, "never"), "not_found": (404, "never"),
    "method": (405, "never"), "conflict": (409, "reread"), "gone": (410, "never"), "version_mismatch": (412, "reread"),
    "too_large": (413, "never"), "media_type": (415, "never"), "rejected": (422, "never"), "unsupported": (422, "never"),
    "internal": (500, "same"), "overloaded": (503, "after"), "unavailable": (503, "after"), "draining": (503, "same"),
    "timeout": (504, "same"),
}


class Codes(App):
    APP = APP

    def test_every_code_that_can_be_had_has_its_status_advice_and_words(self):  # R1
        self.ok("PUT", "/api/note/a", {"text": "a"}, 201)
        self.ok("PUT", "/api/strict/s", {"name": "taken"}, 201)
        for n in range(4):
            self.ok("PUT", "/api/past/p", {"n": n}, 200 if n else 201)
        cases = [
            ("invalid", "POST", "/api/note", "{", {}, "offset|line"),
            ("invalid", "POST", "/api/note", {}, {}, "text"),
            ("invalid", "POST", "/api/note", {"text": "x", "txt": 1}, {}, "txt.*did you mean 'text'"),
            ("invalid", "GET", "/api/note?filter={\"nn\":1}", None, {}, "nn"),
            ("invalid", "GET", "/api/note?pageSize=201", None, {}, "200"),
            ("invalid", "GET", "/api/note?cursor=abc", None, {}, "cursor"),
            ("invalid", "PUT", "/api/note/a", {"id": "b", "text": "x"}, {}, "'a'"),
            ("invalid", "PUT", "/api/note/a", {"text": "x"}, {"If-Match": "7"}, "If-Match"),
            ("invalid", "PUT", "/api/strict/s", {"name": "x"}, {}, "If-Match"),
            ("invalid", "GET", "/api/note/a", None, {"X-Koan-Consistency": "strong"}, "linear"),
            ("invalid", "GET", "/api/note/a", None, {"X-Koan-Tenant": "other"}, "default"),
            ("invalid", "DELETE", "/api/note/bulk", {"filter": {}}, {}, "empty filter"),
            ("invalid", "POST", "/api/note", {"text": "x"}, {"Idempotency-Key": "k" * 256}, "255"),
            ("not_found", "GET", "/api/nots/1", None, {}, "note"),
            ("not_found", "GET", "/api/note/none", None, {}, "none"),
            ("not_found", "GET", "/nowhere", None, {}, "nowhere"),
            ("not_found", "PATCH", "/api/note/none", {"n": 1}, {}, "none"),
            ("method", "DELETE", "/api/note", None, {}, "Allow"),
            ("conflict", "POST", "/api/strict", {"name": "taken"}, {}, "name"),
            ("version_mismatch", "PUT", "/api/note/a", {"text": "x"}, {"If-Match": '"9"'}, "version 1"),
            ("version_mismatch", "PUT", "/api/note/a", {"text": "x"}, {"If-None-Match": "*"}, "exists"),
            ("too_large", "POST", "/api/note/bulk", [{"text": "x"}] * 1001, {}, "1000"),
            ("too_large", "POST", "/api/note", "x" * (10 * 1024 * 1024 + 1), {}, "10485760"),
            ("gone", "GET", "/api/past/p/history/1", None, {}, "no longer kept"),
            ("forbidden", "POST", "/api/note", {"text": "x"}, {"Origin": "http://evil.example"}, "http.origins"),
            ("unsupported", "POST", "/api/tx", {"ops": [{"op": "blob.link", "key": "a"}]}, {}, "blob.link"),
            ("media_type", "POST", "/api/note", "a=b", {"Content-Type": "text/csv"}, "application/json"),
            ("media_type", "PATCH", "/api/note/a", "a=b", {"Content-Type": "text/csv"}, "merge-patch"),
            ("rejected", "POST", "/api/strict", {"name": "no"}, {}, "no_names"),
            ("rejected", "POST", "/api/canon/golden", {"k": "1", "zz": 2}, {"X-Canon-Origin": "erp"}, "zz"),
            ("unsupported", "POST", "/api/note/a/restore", None, {}, "soft_remove"),
            ("unsupported", "POST", "/api/cluster/scripts", {}, {"Idempotency-Key": "k"}, "GET"),
            ("internal", "GET", "/broken", None, {}, "correlation"),
            ("timeout", "GET", "/api/note/a", None, {"X-Koan-Seq": "99999999"}, "99999999"),
        ]
        for code, method, path, body, headers, words in cases:
            with self.subTest(code=code, request=f"{method} {path}", headers=headers):
                c = self.server.client()
                try:
                    a = c(method, path, body, headers)
                finally:
                    c.close()
                p = a.json
                self.assertEqual((p["code"], a.status, p["status"], p["retry"]), (code, TABLE[code][0], TABLE[code][0], TABLE[code][1]), p)
                self.assertEqual(p["type"], "urn:koan:error:" + code)
                self.assertTrue(p["title"])
                self.assertRegex(json.dumps([p["detail"], p.get("errors")]), words)
                self.assertEqual(a.headers["Retry-After"] is not None, TABLE[code][1] == "after")
        self.assertEqual(self.ok("GET", "/api/note/a").json["version"], 1)  # H2: nothing of it was done

    def test_a_wrong_verb_is_told_the_right_ones(self):  # R1
        for method, path, allow in (("GET", "/api/tx", "POST, OPTIONS"), ("GET", "/api/note/bulk", "POST, DELETE, OPTIONS"),
                                    ("PUT", "/api/note/query", "POST, OPTIONS"), ("POST", "/api/note/new", "GET, HEAD, OPTIONS"),
                                    ("DELETE", "/api/note/changes", "GET, HEAD, OPTIONS"), ("GET", "/api/note/copy", "POST, OPTIONS"),
                                    ("PUT", "/api/cluster/status", "GET, HEAD, OPTIONS"), ("PATCH", "/api/note", "GET, HEAD, POST, OPTIONS"),
                                    ("POST", "/api/note/x", "GET, HEAD, PUT, PATCH, DELETE, OPTIONS")):
            with self.subTest(f"{method} {path}"):
                a = self.ok(method, path, {} if method != "GET" else None, 405)
                self.assertEqual((a.json["code"], a.headers["Allow"]), ("method", allow))

    def test_headers_over_their_bound_are_431(self):  # R1
        p = self.refused("GET", "/api/note", status=431, code="too_large", **{"X_Long": "x" * 33000})
        self.assertIn("32", p["detail"])

    def test_a_token_that_is_missing_or_wrong(self):  # R1
        case = Case()
        case.setUp()
        self.addCleanup(case.doCleanups)
        node = case.node("--scripts", self.house.path("scripts"), env={"KOAN_TOKEN": "t" * 20})
        for token in (None, "wrong" * 5):
            c = node.client(token=token)
            a = c("GET", "/api/note")
            self.assertEqual((a.status, a.json["code"], a.json["retry"]), (401, "unauthorized", "never"))
            self.assertIn("Authorization: Bearer", a.json["detail"])


class Unknown(App):
    """What the node describes in /openapi.json is what is asked: a new route is tried by being described."""
    APP = APP
    PARAMETERS = {"id": "x1", "model": "golden", "arrival": "x1", "origin": "erp", "version": "1", "name": "http.cors",
                  "vhost": "%2F"}

    def operations(self):
        doc = self.ok("GET", "/openapi.json").json
        for pattern, item in doc["paths"].items():
            path = re.sub(r"\{(\w+)[^}]*\}", lambda m: self.PARAMETERS.get(m.group(1), "x1"), pattern)
            for verb in ("get", "post", "put", "patch", "delete"):
                if verb in item and pattern.startswith("/api/"):
                    yield verb.upper(), pattern, path, item[verb]

    def test_an_unknown_query_key_is_refused_on_every_route(self):  # R3
        tried = 0
        for method, pattern, path, op in self.operations():
            with self.subTest(f"{method} {pattern}"):
                body = {} if "requestBody" in op else None
                a = self.c(method, path + "?zzz=1", body)
                self.assertEqual((a.status, a.json["code"]), (400, "invalid"), a.body)
                self.assertIn("'zzz'", a.json["detail"])
                tried += 1
        self.assertGreater(tried, 30)

    def test_an_unknown_key_of_a_body_is_refused_on_every_route(self):  # R3
        tried = 0
        for method, pattern, path, op in self.operations():
            content = op.get("requestBody", {}).get("content", {})
            if "application/json" not in content:
                continue
            if not set(content["application/json"]["schema"]) - {"description"}:
                continue  # any JSON is a value, or a message
            with self.subTest(f"{method} {pattern}"):
                list_ = content["application/json"]["schema"].get("type") == "array"
                item = {"zzz": 1, "k": "v"} if "canon" not in pattern or "bulk" in pattern else {"zzz": 1}
                a = self.c(method, path, [item] if list_ else item, {"X-Canon-Origin": "erp"})
                self.assertIn(a.status, (400, 404, 422), a.body)
                # Of a thing that is not there, or that takes no such request at all.
                if a.status != 404 and a.json["code"] != "unsupported":
                    self.assertIn("zzz", a.body.decode())
                tried += 1
        self.assertGreater(tried, 12)
        self.assertEqual(self.ok("GET", "/api/note").json, [])


if __name__ == "__main__":
    unittest.main()
