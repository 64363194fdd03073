"""The rules that all requests have in common: ids, names, JSON, sizes of requests, how long to wait, what is exact."""
import json
import unittest
import urllib.parse

from e2e.node import App, Case, run

APP = """
entity "Note" { fields = { text = text {}, n = int {}, x = number {}, any = json {}, d = decimal {}, at = time {} }, soft_remove = true }
"""
ROUTE_WORDS = ("new", "bulk", "query", "changes", "copy", "move", "mirror")


class Ids(App):
    APP = APP

    def quoted(self, id):
        return "/api/note/" + urllib.parse.quote(id, safe="")

    def test_a_brought_id_has_1_to_256_bytes_of_text(self):  # R1
        for id in ("x", "x" * 256, "é" * 128, "a b", "a:b", "..a", "...", "NEW", "news", "日本", "\U0001f600" * 64):
            self.ok("PUT", self.quoted(id), {"text": id}, 201)
            self.assertEqual(self.ok("GET", self.quoted(id)).json["id"], id)
            self.assertEqual(self.ok("POST", "/api/note/bulk", [{"id": id, "n": 1}]).json["results"][0]["version"], 2)
            self.ok("DELETE", self.quoted(id), status=204)
        for id, words in (("x" * 257, "256"), ("é" * 129, "256"), ("a\nb", "control"), ("a\x7fb", "control"), ("a/b", "/"),
                          (".", "word"), ("..", "word"), ("", ""), *((w, w) for w in ROUTE_WORDS)):
            with self.subTest(id=id):
                self.refused("POST", "/api/note", {"id": id}, words=words)
                self.refused("POST", "/api/note/bulk", [{"id": "fine"}, {"id": id}], words="item 1")
                self.refused("POST", "/api/tx", {"ops": [{"op": "entity.remove", "entity": "note", "id": id}]})
        for id, status in (("x" * 257, 400), ("a\nb", 400), *((w, 405) for w in ROUTE_WORDS)):
            self.assertEqual(self.c("PUT", self.quoted(id), {}).status, status, id)
        self.refused("PUT", "/api/note/a%FFb", {})
        self.assertEqual(self.ok("GET", "/api/note").json, [])

    def test_ids_that_are_made_are_of_version_7_lower_case_and_in_order(self):
        ids = [self.ok("POST", "/api/note", {}, 201).json["id"] for _ in range(50)]
        for id in ids:
            self.assertRegex(id, r"^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$")
        self.assertEqual(ids, sorted(set(ids)))
        self.ok("DELETE", "/api/note/bulk", {"ids": ids})


class Names(Case):
    def refuses(self, script, words):
        self.write("scripts/a.lua", script)
        code, err = self.fails("--scripts", self.path("scripts"))
        self.assertEqual(code, 1, err)
        self.assertRegex(err, words)

    def test_a_name_or_path_that_cannot_be_is_refused_at_load(self):  # R1
        good = " { fields = { a = text {} } }"
        for name in ("1st", "a b", "_a", "a.b", "x" * 65, ""):
            self.refuses(f'entity "{name}"' + good, "a.lua:1.*name" if name else "a.lua:1")
        for path in ("tx", "queues", "jobs", "canon", "blobs", "cluster"):
            self.refuses(f'entity "{path.capitalize()}"' + good, path)
            self.refuses(f'entity "Fine" {{ path = "{path}", fields = {{ a = text {{}} }} }}', path)
        self.refuses('entity "OrderLine"' + good + ' entity "Order_line"' + good, "order-line")
        self.refuses('entity "A" { fields = { a = txt {} } }', "txt")
        self.refuses('entity "A" { fields = { a = text {} }, histroy = true }', "histroy.*history")

    def test_a_name_of_64_and_kebab_case_paths(self):
        name = "A" + "b" * 63
        self.write("scripts/a.lua", f'entity "{name}" {{ fields = {{ a = text {{}} }} }} entity "HTTPServer2" {{ fields = {{ a = text {{}} }} }} entity "OrderLine" {{ fields = {{ a = text {{}} }} }}')
        c = self.node("--scripts", self.path("scripts")).client()
        for path in ("a" + "b" * 63, "http-server2", "order-line"):
            self.assertEqual(c("GET", "/api/" + path).status, 200, path)
        self.assertIn("/api/order-line", c("GET", "/api/OrderLine").json["detail"])


class Json(App):
    APP = APP

    def raw(self, body):
        return self.c("PUT", "/api/note/j", body)

    def test_integers_of_64_bits_come_back_exactly(self):
        for n in (0, -1, 2**53 + 1, 2**63 - 1, -2**63):
            self.assertIn(self.raw(json.dumps({"n": n, "any": {"deep": [n]}})).status, (200, 201), n)
            got = self.ok("GET", "/api/note/j").json
            self.assertEqual((got["n"], got["any"]["deep"]), (n, [n]))
            self.assertEqual(self.ok("GET", "/api/note?filter=" + urllib.parse.quote(json.dumps({"n": n}))).json[0]["id"], "j")
        for n in (2**63, -2**63 - 1, 10**30):
            self.assertEqual(self.raw('{"n": %d}' % n).status, 400, n)
        for text in ("12345678901234567890123456789012345678", "0.1000000000000000000000000000000000001"):
            self.assertIn(self.raw({"d": text}).status, (200, 201))
            self.assertEqual(self.ok("GET", "/api/note/j").json["d"], text)

    def test_what_is_no_json_is_refused_with_its_place(self):  # R1
        for body, words in (('{"n": NaN}', "offset"), ('{"n": Infinity}', "offset"), ('{"n": 1, "n": 2}', "n"), ("{\"text\": \"\xff\"}".encode("latin-1"), "UTF-8"),
                            ('{"any": {"a": 1, "a": 1}}', "a"), ("", "JSON|empty"), ("[1,]", "offset"), ('{"n": 01}', "offset"), ("{'n': 1}", "offset"),
                            ('{"n": 1} x', "offset"), ('{"any": "\\ud800"}', "offset")):
            with self.subTest(body=body):
                a = self.raw(body)
                self.assertEqual((a.status, a.json["code"]), (400, "invalid"), a.body)
                self.assertRegex(a.json["detail"], words)

    def test_it_nests_64_deep_and_no_deeper(self):
        deep = lambda n: '{"any": ' + "[" * n + "]" * n + "}"
        self.assertIn(self.raw(deep(60)).status, (200, 201))  # with what may stand around it: 64
        for levels, words in ((62, "60"), (63, "60"), (64, "64"), (5000, "64")):
            a = self.raw(deep(levels))
            self.assertEqual((a.status, a.json["code"]), (400, "invalid"))
            self.assertIn(words, a.json["detail"] + json.dumps(a.json.get("errors")))

    def test_times_are_rfc_3339_in_utc_with_milliseconds(self):
        for text, want in (("2026-11-22T10:00:00+02:00", "2026-11-22T08:00:00.000Z"), ("2026-11-22T10:00:00.1239Z", "2026-11-22T10:00:00.123Z")):
            a = self.raw({"at": text})
            self.assertIn(a.status, (200, 201), a.body)
            self.assertEqual(a.json["at"], want)
            self.assertRegex(a.json["updated_at"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")
        for bad in ("2026-11", "2026-13-01T00:00:00Z", "2026-02-30T00:00:00Z", "yesterday", 1700000000):
            self.assertEqual(self.raw({"at": bad}).status, 400, bad)


class Sizes(Case):
    def test_durations_and_sizes_are_read_everywhere_alike(self):
        self.write("koan.json", "{}")
        show = lambda **env: run("config", "show", "--json", "--config", self.path("koan.json"), env=env)
        for text in ("1s", "250ms", "1h30m", "7d", "90", "1m1s500ms"):
            code, out, err = show(KOAN_LEDGER_KEEP=text)
            self.assertTrue(code == 0 or "ledger.keep" in err and "is not a duration" not in err, err)  # or out of its bounds
        for text in ("1x", "1m1h", "-5s", "s", "1.s", "1e3s"):
            code, _, err = show(KOAN_DRAIN_TIMEOUT=text)
            self.assertEqual(code, 2, text)
            self.assertIn("is not a duration", err)
        for text in ("640MiB", "10GiB", "1073741824", "1.5 GiB"):
            code, out, err = show(KOAN_LEDGER_KEEP_BYTES=text)
            self.assertEqual(code, 0, err)
        code, _, err = show(KOAN_LEDGER_KEEP_BYTES="64 elephants")
        self.assertEqual(code, 2)
        self.assertIn("is not a size", err)


class Limits(App):
    APP = APP

    def test_a_bulk_has_at_most_a_thousand_items(self):  # R1
        many = [{"id": f"b{i:04}", "n": 4711} for i in range(1001)]
        self.refused("POST", "/api/note/bulk", many, 413, "too_large", "1000")
        self.ok("POST", "/api/note/bulk", many[:1000])
        self.ok("PUT", "/api/note/b1000", many[1000], 201)
        self.refused("DELETE", "/api/note/bulk", {"ids": [r["id"] for r in many]}, 413, "too_large", "1000")
        # An operation that would touch more becomes a job; there are none, so it is refused.
        self.refused("DELETE", "/api/note/bulk", {"filter": {"n": 4711}}, 413, "too_large", "1000")
        self.assertEqual(self.ok("DELETE", "/api/note/bulk", {"ids": [r["id"] for r in many[:1000]]}).json["counts"]["removed"], 1000)
        self.ok("DELETE", "/api/note/b1000", status=204)

    def test_what_does_not_come_back_wants_the_name(self):  # R1
        self.ok("PUT", "/api/note/p", {}, 201)
        self.ok("DELETE", "/api/note/p", status=204)
        for query in ("", "?confirm=", "?confirm=q", "?confirm=Note"):
            self.refused("POST", "/api/note/p/purge" + query, words="confirm")
        self.assertEqual(self.ok("POST", "/api/note/p/purge?dry_run=true").json["id"], "p")
        self.ok("POST", "/api/note/p/restore")
        for body in ({"filter": {}}, {"filter": {}, "confirm": "note"}):
            self.refused("DELETE", "/api/note/bulk", body, words="Note")
        self.ok("GET", "/api/note/p")
        self.assertEqual(self.script("""
          local Note = entity("Note")
          return { pcall(Note.remove_all, { filter = {} }) == false, Note.remove_all { filter = {}, dry_run = true } }"""), [True, 1])
        self.ok("DELETE", "/api/note/p", status=204)


if __name__ == "__main__":
    unittest.main()
