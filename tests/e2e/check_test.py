"""koan new, check and dev: the script author's day."""
import json
import os
import time
import unittest

from e2e.node import APPS, Case, run

ORDER = """entity "Order" {
  fields = { n = int, at = time },
  before_save = function(e)
    e.at = time.format()
    if e.n == 13 then reject("UNLUCKY", "no") end
  end,
}
"""


class New(Case):
    def test_a_new_project_checks_and_runs(self):
        code, out, err = run("new", "shop", cwd=self.dir)
        self.assertEqual(code, 0, err)
        self.assertIn("cd shop && koan dev", out)
        code, out, err = run("check", "shop", "--json", cwd=self.dir)
        self.assertEqual(code, 0, out + err)
        told = json.loads(out)
        self.assertEqual((told["errors"], told["warnings"], told["failed"]), (0, 0, 0))
        self.assertGreaterEqual(told["passed"], 2)
        node = self.node(verb="dev", cwd=self.path("shop"))
        c = node.client()
        task = c("POST", "/api/task", {"title": "milk"}).json
        self.assertEqual(task["state"], "open")
        self.assertIn(task["note"], ("hello", "HELLO"))
        headers = {"X-Canon-Origin": "crm"}
        self.assertEqual(c("POST", "/api/canon/person?source_id=1", {"name": "Jane", "email": "j@example.org"}, headers).status, 200)
        self.assertEqual([p["name"] for p in c("GET", "/api/person").json], ["Jane"])
        self.assertTrue(os.path.exists(self.path("shop", ".koan/meta/koan.lua")))
        with open(self.path("shop", ".luarc.json")) as f:
            self.assertEqual(json.load(f)["workspace.library"], [".koan/meta"])

    def test_nothing_is_overwritten(self):
        self.write("shop/x", "mine")
        code, _, err = run("new", "shop", cwd=self.dir)
        self.assertEqual(code, 1)
        self.assertIn("there already", err)
        self.assertEqual(os.listdir(self.path("shop")), ["x"])
        self.assertEqual(run("new", "1 bad", cwd=self.dir)[0], 2)

    def test_dev_takes_a_project_by_its_folder(self):
        run("new", "shop", cwd=self.dir)
        node = self.node(self.path("shop"), verb="dev")
        self.assertEqual(node.client()("GET", "/api/task").status, 200)


class Check(Case):
    def check(self, *args, code=0, **kw):
        got, out, err = run("check", self.path("app"), "--json", *args, cwd=self.dir, **kw)
        self.assertEqual(got, code, out + err)
        return json.loads(out)

    def test_each_test_has_an_empty_ledger_and_a_clock_of_its_own(self):
        self.write("app/order.lua", ORDER)
        self.write("app/order_test.lua", """local Order = entity "Order"
            for _, name in ipairs { "first", "second" } do
              test(name, function(t)
                t.equal(Order.count(), 0)
                local o = Order.new { n = 1 }:save()
                t.equal(o.at, "2026-01-01T00:00:00.000Z")
                t.equal(o.created_at, o.at)
                t.advance("36h")
                o:patch { n = 2 }
                t.equal(o.updated_at, "2026-01-02T12:00:00.000Z")
                t.clock("2027-01-01")
                t.equal(time.format(), "2027-01-01T00:00:00.000Z")
                t.equal(t.fails(function() Order.new { n = 13 }:save() end, "UNLUCKY").code, "rejected")
                t.fails(function() t.clock("2026-01-01") end, "forward")
              end)
            end""")
        told = self.check()
        self.assertEqual([(t["name"], t["ok"]) for t in told["tests"]], [("first", True), ("second", True)])

    def test_what_fails_is_told_with_place_line_and_output(self):
        self.write("app/order.lua", ORDER)
        self.write("app/order_test.lua", 'test("sums", function(t)\n  print("so far")\n  t.equal({ a = { 1 } }, { a = { 2 } }, "sum")\nend)\n'
                                         'test("ends", function() while true do end end)\ntest("breaks", function() local x = nil; x.y = 1 end)')
        told = self.check("--timeout", "300ms", code=1)
        sums, ends, breaks = told["tests"]
        self.assertEqual(sums["error"], 'order_test.lua:3: sum: got {"a":[1]}, wanted {"a":[2]}')
        self.assertEqual(sums["output"], "so far\n")
        self.assertIn("budget", ends["error"])
        self.assertIn("order_test.lua:6", breaks["error"])
        code, out, _ = run("check", "app", "--timeout", "300ms", cwd=self.dir)
        self.assertEqual(code, 1)
        self.assertRegex(out, r"(?m)^FAIL +\d+ ms  order_test.lua +sums$")
        self.assertIn("     3 |   t.equal", out)
        self.assertIn("so far", out)
        self.assertIn("tests: 0 passed, 3 failed", out)

    def test_a_file_without_tests_is_one(self):
        self.write("app/a_test.lua", "assert(1 == 1)")
        self.write("app/b_test.lua", "assert(1 == 2, 'no')")
        self.assertEqual([(t["file"], t["ok"]) for t in self.check(code=1)["tests"]], [("a_test.lua", True), ("b_test.lua", False)])

    def test_the_texts_are_linted(self):
        self.write("app/a.lua", "local unused = 1\nlocal function f() prnt(1) count = 2 end\nentity \"A\" { fields = { n = int }, before_save = f }\n")
        told = self.check(code=1)
        found = [(p["line"], p["column"], p["severity"], p["text"]) for p in told["problems"]]
        self.assertEqual([f[:3] for f in found], [(2, 20, "error"), (2, 28, "error"), (1, 7, "warning")])
        self.assertIn("'print'", found[0][3])
        self.assertEqual(told["tests"], [])
        code, out, _ = run("check", "app", cwd=self.dir)
        self.assertIn("a.lua:2:20: error: global 'prnt' is not defined; did you mean 'print'?\n"
                      "     2 | local function f() prnt(1) count = 2 end\n       |                    ^~~~\n", out)
        self.write("app/a.lua", "local unused = 1")
        self.assertEqual(self.check()["warnings"], 1)

    def test_what_does_not_load_has_its_line(self):
        for text, place, words in (("local x = = 1", (1, 0), "unexpected symbol"), ("\nentity 'A' { fields = { n = intt } }", (2, 25), "did you mean 'int'"),
                                   ("\n\nentity 'A' { fields = { n = int { mx = 1 } } }", (3, 0), "max"), ("recipe 'x'", (1, 1), "this version of Koan does not have")):
            self.write("app/a.lua", text)
            p = self.check(code=1)["problems"][0]
            self.assertEqual((p["file"], p["line"]), ("a.lua", place[0]), p)
            self.assertIn(words, p["text"])

    def test_it_leaves_nothing_behind(self):
        self.write("app/order.lua", ORDER)
        os.mkdir(self.path("tmp"))
        self.check(env={"TMPDIR": self.path("tmp")})
        self.assertEqual(os.listdir(self.path("tmp")), [])
        self.assertFalse(os.path.exists(self.path("koan-data")))

    def test_the_sample_apps_pass(self):
        for app in ("todo", "airports", "orders"):
            code, out, err = run("check", os.path.join(APPS, app), cwd=self.dir)
            self.assertEqual(code, 0, out + err)

    def test_mistakes_of_use(self):
        self.assertEqual(run("check", cwd=self.dir)[0], 2)
        self.assertEqual(run("check", "nowhere", cwd=self.dir)[0], 1)


class Dev(Case):
    def test_changes_are_told_and_errors_have_line_and_caret(self):
        scripts = self.write("app/order.lua", ORDER)
        node = self.node(os.path.dirname(scripts), verb="dev")
        self.write("app/order.lua", ORDER.replace("n = int,", "n = int, m = int,"))
        line = json.loads(node.wait_log('"changed"'))
        self.assertEqual(line["fields"]["files"], [{"file": "order.lua", "change": "changed", "added": 1, "removed": 1}])
        self.write("app/order.lua", ORDER.replace("time.format()", "tme.format( = )"))
        line = json.loads(node.wait_log('"level":"error"'))
        self.assertEqual((line["fields"]["file"], line["fields"]["line"]), ("order.lua", 4))
        self.assertIn("tme.format( = )\n", line["fields"]["source"])
        self.assertIn("^", line["fields"]["source"])
        self.assertEqual(node.client()("POST", "/api/order", {"n": 1, "m": 2}).status, 201)

    def test_what_is_saved_is_live_within_a_second(self):
        def text(word):
            return ORDER + f'route "GET /word" {{ run = function() return "{word}" end }}\n'
        node = self.node(os.path.dirname(self.write("app/order.lua", text("w0"))), verb="dev")
        ask, took = node.client(), []
        for n in range(1, 6):
            began = time.monotonic()
            self.write("app/order.lua", text(f"w{n}"))
            while ask("GET", "/word").body != b"w%d" % n:
                self.assertLess(time.monotonic() - began, 20)
                time.sleep(0.01)
            took.append(time.monotonic() - began)
        self.assertLess(sorted(took)[2], 1, took)

    def test_the_configuration_is_watched_too(self):
        self.write("p/app/a.lua", 'entity "A" { fields = { n = int, w = text }, before_save = function(e) e.w = config.word end }')
        self.write("p/koan.lua", 'return { scripts = "app", app = { word = "one" } }')
        node = self.node(self.path("p"), verb="dev")
        c = node.client()
        self.assertEqual(c("POST", "/api/a", {"n": 1}).json["w"], "one")
        self.write("p/koan.lua", 'return { scripts = "app", app = { word = "another" } }')
        node.wait_log("app and flags are taken over", 3)
        self.assertEqual(c("POST", "/api/a", {"n": 1}).json["w"], "another")
        self.write("p/koan.lua", 'return { scripts = "app", app = { word = "' + '" }')
        node.wait_log("reload refused", 3)
        self.assertEqual(c("POST", "/api/a", {"n": 1}).json["w"], "another")

    def test_people_read_it_as_text(self):
        scripts = self.write("app/order.lua", ORDER)
        node = self.node(os.path.dirname(scripts), "--log-format", "text", verb="dev")
        self.write("app/order.lua", ORDER.replace("n == 13", "n == 14"))
        node.wait_log(r"changed order.lua  \+1 -1")
        node.wait_log(r"^     5 - +if e.n == 13")
        node.wait_log(r"^     5 \+ +if e.n == 14")
        self.write("app/order.lua", ORDER.replace("n == 13", "n = = 13"))
        node.wait_log(r"^ +5 \| +if e.n = = 13")
        node.wait_log(r"^ +\| +\^")
        self.write("app/order.lua", ORDER.replace("n == 13", "n == 14"))
        node.wait_log("mended")


class Recent(Case):
    def test_hooks_are_tried_on_the_last_records_and_nothing_is_saved(self):
        self.write("app/order.lua", ORDER)
        node = self.node(self.path("app"))
        c = node.client()
        for n in range(30):
            c("PUT", f"/api/order/o{n}", {"n": n if n != 13 else 130})
        c("PUT", "/api/order/o3", {"n": 33})
        before = c("GET", "/api/order?sort=id").body
        self.write("app/order.lua", ORDER.replace("e.at = time.format()", "if e.n % 2 == 1 then e.n = e.n + 1 end\n"
                                                  'if e.n > 25 then reject("BIG", "too much") end\n'
                                                  'if prior and prior.n ~= 3 and prior.n ~= 33 then error("odd") end')
                   .replace("function(e)", "function(e, prior)"))
        args = ["check", self.path("app"), "--recent", "20", "--url", node.url]
        code, out, err = run(*args, "--json", cwd=self.dir)
        self.assertEqual(code, 1, err)
        told = {r["id"]: r for r in json.loads(out)["recent"]}
        self.assertEqual(len(told), 20)
        self.assertIn("BIG", told["o28"]["error"])
        self.assertIn("BIG", told["o3"]["error"])
        self.assertEqual(told["o21"]["changed"], ["n"])
        self.assertEqual(told["o20"]["changed"], [])
        self.assertEqual(c("GET", "/api/order?sort=id").body, before)
        code, out, _ = run(*args, cwd=self.dir)
        self.assertRegex(out, r"REFUSED  Order o28: .*order.lua:\d+.*too much")
        self.assertRegex(out, r"changed  Order o21: n\n")
        self.assertRegex(out, r"Order: the last 20 records: \d+ refused, \d+ changed")

    def test_an_entity_that_the_server_lacks_is_passed_over(self):
        self.write("app/order.lua", ORDER)
        node = self.node(self.path("app"))
        self.write("app/other.lua", ORDER.replace('"Order"', '"Other"'))
        code, out, err = run("check", self.path("app"), "--recent", "5", "--url", node.url, cwd=self.dir)
        self.assertEqual(code, 0, out + err)
        code, _, err = run("check", self.path("app"), "--recent", "5", "--url", "http://127.0.0.1:1", cwd=self.dir)
        self.assertEqual(code, 1)
        self.assertIn("port 1", err)
        self.assertEqual(run("check", self.path("app"), "--recent", "0", cwd=self.dir)[0], 2)


if __name__ == "__main__":
    unittest.main()
