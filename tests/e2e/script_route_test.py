"""Routes of scripts over real sockets: what comes, what is answered, what is written, who may ask, deploys."""
import concurrent.futures
import json
import re
import threading
import time
import unittest

from e2e.node import Case, run

TOKEN = "a-token-of-the-test-1"
NOTES = """
entity "Note" {
  fields = { title = text { required = true, unique = true }, n = int { default = 0 } },
  before_save = function(e) e.n = e.n + 1 end,
}
local Note = entity "Note"
"""


class RouteCase(Case):
    def serve(self, text, **kw):
        self.write("app/main.lua", text)
        self.server = self.node(self.path("app"), **kw)
        self.ask = self.server.client()

    def problem(self, a, status, code):
        self.assertEqual((a.status, a.headers["Content-Type"]), (status, "application/problem+json"), a.body)
        self.assertEqual((a.json["status"], a.json["code"]), (status, code))
        return a.json["detail"]


class Answers(RouteCase):
    def test_a_text_a_table_nothing_and_a_whole_answer(self):
        self.serve("""
            local answers = {
              text = function() return "hällo" end, none = function() end, table = function() return { a = { 1, 2 }, b = json.list {} } end,
              record = function() return { status = "open", n = 1 } end, data = function() return { status = 3, name = "x" } end,
              whole = function() return { status = 201, headers = { Location = "/x", ["Set-Cookie"] = { "a=1", "b=2" } }, json = { ok = true } } end,
              body = function() return { body = "\\xff\\0\\1", headers = { ["Content-Type"] = "image/png" } } end,
              only = function() return { status = 202 } end, gone = function() return { status = 204, body = "not sent" } end,
              page = function() return { headers = { ["content-type"] = "text/html" }, body = "<p>" } end,
              null = function() return { json = json.null } end,
            }
            route "GET /a/{kind}" { run = function(req) return answers[req.params.kind]() end }
        """)
        def get(kind):
            a = self.ask("GET", "/a/" + kind)
            return a.status, a.headers["Content-Type"], a.body
        self.assertEqual(get("text"), (200, "text/plain; charset=utf-8", "hällo".encode()))
        self.assertEqual(get("none"), (204, None, b""))
        self.assertEqual(json.loads(get("table")[2]), {"a": [1, 2], "b": []})
        self.assertEqual(json.loads(get("record")[2]), {"status": "open", "n": 1})
        self.assertEqual(json.loads(get("data")[2]), {"status": 3, "name": "x"})
        self.assertEqual(get("whole"), (201, "application/json", b'{"ok":true}'))
        a = self.ask("GET", "/a/whole")
        self.assertEqual((a.headers["Location"], a.headers.get_all("Set-Cookie")), ("/x", ["a=1", "b=2"]))
        self.assertEqual(get("body"), (200, "image/png", b"\xff\0\1"))
        self.assertEqual(get("only"), (202, None, b""))
        self.assertEqual(get("gone"), (204, None, b""))
        self.assertEqual(get("null"), (200, "application/json", b"null"))
        a = self.ask("GET", "/a/page")
        self.assertIn("default-src 'self'", a.headers["Content-Security-Policy"])
        self.assertEqual(a.headers["X-Content-Type-Options"], "nosniff")

    def test_an_answer_that_is_none_is_an_error_of_the_script(self):
        self.serve("""
            local answers = {
              number = function() return 7 end, status = function() return { status = 99 } end, both = function() return { json = 1, body = "" } end,
              split = function() return { body = "", headers = { X = "a\\r\\nSet-Cookie: b=1" } } end, length = function() return { body = "", headers = { ["Content-Length"] = "7" } } end,
              func = function() return { f = print } end, big = function() local s = string.rep("x", 1 << 20) return s .. s .. s .. s .. s .. s .. s .. s .. s end,
              loop = function() local t = {} t.t = t return t end, headers = function() return { body = "", headers = { X = string.rep("x", 9000) } } end,
            }
            route "GET /a/{kind}" { run = function(req) return answers[req.params.kind]() end }
        """)
        for kind, words in (("number", "not a number"), ("status", "200 to 599"), ("both", "not both"), ("split", "control character"),
                            ("length", "written by the server"), ("func", "function cannot be stored"), ("big", "the answer"), ("loop", "contains itself"),
                            ("headers", "the answer")):
            at = len(self.server.logs)
            a = self.ask("GET", "/a/" + kind)
            if kind == "split":
                self.problem(a, 400, "invalid")
                self.assertIsNone(a.headers["Set-Cookie"])
                continue
            self.problem(a, 500, "internal")
            self.assertIn(words, self.server.wait_log(a.headers["X-Correlation-ID"], start=at))

    def test_errors_are_problems_and_the_log_names_the_line(self):
        self.serve("""
            route "GET /bug" { run = function()
              local x = nil
              return x.y
            end }
            route "GET /own" { run = function(req, ctx) ctx:reject("too_cheap", "pay more") end }
            route "GET /known" { run = function(req, ctx) ctx:reject("not_found", "no such house") end }
            route "GET /spin" { timeout = "200ms", run = function() while true do end end }
            route "GET /eat" { run = function() local t = {} while true do t[#t + 1] = string.rep("x", 1 << 20) .. #t end end }
        """)
        a = self.ask("GET", "/bug", headers={"X-Correlation-ID": "find-me"})
        self.assertIn("find-me", self.problem(a, 500, "internal"))
        self.assertRegex(self.server.wait_log("find-me"), r"GET /bug failed: main\.lua:4: ")
        a = self.ask("GET", "/own")
        self.assertEqual(self.problem(a, 422, "rejected"), "too_cheap: pay more")
        self.assertEqual(a.json["errors"][0]["code"], "too_cheap")
        self.assertEqual(self.problem(self.ask("GET", "/known"), 404, "not_found"), "no such house")
        began = time.monotonic()
        self.problem(self.ask("GET", "/spin"), 504, "timeout")
        self.assertLess(time.monotonic() - began, 5)
        self.problem(self.ask("GET", "/eat"), 500, "internal")
        self.server.wait_log("GET /eat failed: .*out of memory")
        self.problem(self.ask("GET", "/known"), 404, "not_found")

    def test_what_the_script_does_wrong_is_told_to_the_log_alone(self):
        self.serve("""
            entity "Note" { fields = { text = text { required = true, max = 5 } } }
            local function bug(name, run) route("GET /bug/" .. name) { access = "public", run = run } end
            bug("entity", function() return entity "Nope".get("x") end)
            bug("in-tx", function() tx(function() entity "Nope".new { a = 1 }:save() end) end)
            bug("queue", function() send("nosuchq", {}) end)
            bug("job", function() job("nosuchjob"):submit {} end)
            bug("canon", function() return canon "Nosuch":arrive({ a = 1 }) end)
            bug("call", function() send(nil, {}) end)
            bug("option", function() entity "Note".new { text = "a" }:save { if_versoin = 1 } end)
            bug("config", function() return config.nosuchsetting end)
            bug("declares", function() queue "late" {} end)
            bug("nil", function(req) return req.json.a.b end)
            route "POST /notes" { access = "public", run = function(req) return entity "Note".new { text = req.json.text }:save() end }
            route "GET /missing" { access = "public", run = function() entity("Note").remove("x") end }
            route "GET /caught" { access = "public", run = function(req, ctx)
              local ok, e = pcall(function() return entity "Nope".get("x") end)
              ctx:reject("not_found", "no: " .. e.code)
            end }
        """)
        bugs = {"entity": "there is no entity 'Nope'", "in-tx": "there is no entity 'Nope'",
                "queue": "there is no queue 'nosuchq'", "job": "job 'nosuchjob': these scripts do not declare it",
                "canon": "Nosuch", "call": "send wants the name of a queue", "option": "there is no option 'if_versoin'",
                "config": "there is no setting 'nosuchsetting'", "declares": "declarations stand at the top", "nil": "attempt to index a nil value"}
        for name, words in bugs.items():
            at = len(self.server.logs)
            a = self.ask("GET", "/bug/" + name)
            with self.subTest(name):
                detail = self.problem(a, 500, "internal")
                self.assertNotRegex(a.body.decode(), "(?i)nosuch|nope")
                self.assertIn(a.headers["X-Correlation-ID"], detail)
                self.assertIn(words, self.server.wait_log(a.headers["X-Correlation-ID"], start=at))
        # What is refused for what was sent, or by intent, is said to whoever asks.
        self.assertEqual(self.problem(self.ask("GET", "/caught"), 404, "not_found"), "no: not_found")
        self.problem(self.ask("POST", "/notes", {"text": "too long"}), 400, "invalid")
        self.problem(self.ask("POST", "/notes", b"{", headers={"Content-Type": "application/json"}), 400, "invalid")
        self.problem(self.ask("GET", "/missing"), 404, "not_found")

    def test_wrong_verbs_unknown_paths_and_head(self):
        self.serve("""
            route "GET /x" { run = function(req) return { json = { method = req.method } } end }
            route "PUT /x" { body_max = 10, run = function(req) return req.body end }
            route "GET /files/{rest...}" { run = function(req) return req.params.rest end }
        """)
        a = self.ask("POST", "/x")
        self.problem(a, 405, "method")
        self.assertEqual(a.headers["Allow"], "GET, HEAD, PUT, OPTIONS")
        self.assertEqual(self.ask("OPTIONS", "/x").status, 204)
        a = self.ask("HEAD", "/x")
        self.assertEqual((a.status, a.body, a.headers["Content-Length"]), (200, b"", str(len('{"method":"HEAD"}'))))
        self.problem(self.ask("GET", "/y"), 404, "not_found")
        self.problem(self.ask("GET", "/x/"), 404, "not_found")
        self.problem(self.ask("PUT", "/x", "x" * 11), 413, "too_large")
        self.assertEqual(self.ask("PUT", "/x", "x" * 10).body, b"x" * 10)
        self.assertEqual(self.ask("GET", "/files/a/b%20c/d").body, b"a/b c/d")
        self.problem(self.ask("GET", "/files/%2e%2e/x"), 400, "invalid")
        # The API is not in the way, and not taken.
        self.assertEqual(self.ask("GET", "/livez").status, 200)
        self.problem(self.ask("GET", "/api/x"), 404, "not_found")

    def test_a_request_is_all_there(self):
        self.serve("""
            route "POST /echo/{a}/{b}" { run = function(req, ctx)
              return { method = req.method, path = req.path, params = req.params, query = req.query, headers = req.headers, body = req.body,
                       json = req.json, ctx = { ctx.tenant, ctx.principal, ctx.correlation } }
            end }
        """)
        a = self.ask("POST", "/echo/x%2Fy/z?k=1&k=2&e=&sp=a+b%26", {"n": [1, None]}, {"X-One": "1", "X-Correlation-ID": "c-1"}).json
        self.assertEqual((a["method"], a["path"], a["params"]), ("POST", "/echo/x%2Fy/z", {"a": "x/y", "b": "z"}))
        self.assertEqual(a["query"], {"k": "1", "e": "", "sp": "a b&"})
        self.assertEqual((a["headers"]["x-one"], a["headers"]["content-type"]), ("1", "application/json"))
        self.assertEqual((json.loads(a["body"]), a["json"], a["ctx"]), ({"n": [1, None]}, {"n": [1, None]}, ["default", "local", "c-1"]))
        a = self.ask("POST", "/echo/1/2")
        self.assertNotIn("json", a.json)
        self.problem(self.ask("POST", "/echo/1/2", "{}", {"Content-Type": "text/plain"}), 415, "media_type")
        self.assertIn("offset 1", self.problem(self.ask("POST", "/echo/1/2", "{]"), 400, "invalid"))


class Writing(RouteCase):
    def notes(self):
        return sorted(n["title"] for n in self.ask("GET", "/api/note").json)

    def test_what_is_written_is_there_before_the_answer(self):
        self.serve(NOTES + """
            route "POST /notes" { run = function(req)
              local n = Note.new(req.json)
              n:save()
              assert(Note.get(n.id).title == n.title)
              return { status = 201, json = n }
            end }
        """)
        a = self.ask("POST", "/notes", {"title": "a"})
        self.assertEqual((a.status, a.json["title"], a.json["n"] > 0), (201, "a", True))
        self.assertEqual(self.ask("GET", "/api/note/" + a.json["id"]).json, a.json)

    def test_a_failure_or_a_refusal_writes_nothing(self):  # H2
        self.serve(NOTES + """
            route "POST /notes/{how}" { run = function(req)
              Note.new({ title = "one" }):save()
              Note.new({ title = req.params.how == "same" and "one" or "two" }):save()
              if req.params.how == "raise" then error("no") end
              if req.params.how == "refuse" then return { status = 409, json = {} } end
              if req.params.how == "reject" then reject("mine", "no") end
              if req.params.how == "inner" then tx(function() Note.new({ title = "inner" }):save() end) error("later") end
            end }
        """)
        for how, status in (("raise", 500), ("refuse", 409), ("reject", 422), ("same", 409)):
            self.assertEqual(self.ask("POST", "/notes/" + how).status, status, how)
            self.assertEqual(self.notes(), [], how)
        self.assertEqual(self.ask("POST", "/notes/inner").status, 500)
        self.assertEqual(self.notes(), ["inner"])
        self.assertEqual(self.ask("POST", "/notes/well").status, 204)
        self.assertEqual(self.notes(), ["inner", "one", "two"])

    def test_a_conflict_repeats_the_handler(self):
        self.serve(NOTES.replace("before_save = function(e) e.n = e.n + 1 end,", "") + """
            route "POST /count/{id}" { run = function(req)
              local n = Note.get(req.params.id)
              n.n = n.n + 1
              n:save()
            end }
        """)
        id = self.ask("POST", "/api/note", {"title": "x"}).json["id"]
        def one(_):
            c, done = self.server.client(), 0
            for _ in range(10):
                done += c("POST", "/count/" + id).status == 204
            return done
        with concurrent.futures.ThreadPoolExecutor(3) as pool:
            done = sum(pool.map(one, range(3)))
        self.assertGreater(done, 20)
        self.assertEqual(self.ask("GET", "/api/note/" + id).json["n"], done)


class Access(RouteCase):
    def test_public_is_for_everybody_and_the_rest_wants_the_token(self):
        self.serve("""
            route "GET /open" { access = "public", run = function(_, ctx) return ctx.principal end }
            route "GET /shut" { run = function(_, ctx) return ctx.principal end }
        """, env={"KOAN_TOKEN": TOKEN})
        nobody, wrong, mine = self.server.client(), self.server.client(token="wrong-token-of-test"), self.server.client(token=TOKEN)
        self.assertEqual((nobody("GET", "/open").body, mine("GET", "/open").body, mine("GET", "/shut").body), (b"public", b"token", b"token"))
        self.problem(nobody("GET", "/shut"), 401, "unauthorized")
        self.problem(wrong("GET", "/open"), 401, "unauthorized")
        doc = mine("GET", "/openapi.json").json
        self.assertEqual(doc["paths"]["/open"]["get"]["security"], [{}, {"token": []}])
        self.assertNotIn("security", doc["paths"]["/shut"]["get"])


class Deploying(RouteCase):
    def deploy(self, text, code=0):
        self.write("next/main.lua", text)
        got, out, err = run("deploy", self.path("next"), "--url", self.server.url, "--json", cwd=self.dir)
        self.assertEqual(got, code, out + err)
        return out + err

    def test_a_set_switches_its_routes_at_once(self):  # U2
        one = 'route "GET /%s" { access = "public", run = function() return "%s" end }\n'
        self.serve(one % ("v", "one") + one % ("old", "old"))
        self.assertEqual(self.ask("GET", "/v").body, b"one")
        self.deploy(one % ("v", "two") + one % ("new", "new"))
        self.assertEqual([self.ask("GET", p).status for p in ("/v", "/old", "/new")], [200, 404, 200])
        self.assertEqual(self.ask("GET", "/v").body, b"two")
        self.assertIn("GET /api/x", self.deploy(one % ("v", "three") + one % ("api/x", "x"), code=1))
        self.assertEqual(self.ask("GET", "/v").body, b"two")

    def test_requests_and_deploys_side_by_side(self):  # U2
        text = 'route "GET /v/{n}" { access = "public", run = function(req) return "%d " .. req.params.n end }\n'
        self.serve(text % 0)
        stop, seen, wrong = threading.Event(), set(), []
        def work():
            c = self.server.client()
            while not stop.is_set():
                a = c("GET", "/v/x")
                (seen.add(a.body) if a.status == 200 else wrong.append((a.status, a.body)))
        workers = [threading.Thread(target=work) for _ in range(4)]
        for w in workers:
            w.start()
        for n in range(1, 6):
            self.deploy(text % n)
        stop.set()
        for w in workers:
            w.join()
        self.assertEqual(wrong, [])
        self.assertLessEqual(seen, {b"%d x" % n for n in range(6)})
        self.assertEqual(self.ask("GET", "/v/x").body, b"5 x")

    def test_one_that_spins_leaves_the_thread_to_others(self):  # U1
        self.serve('''
            route "GET /spin" { timeout = "3s", run = function() while true do end end }
            route "GET /quick" { run = function() return "quick" end }
        ''', env={"KOAN_SCRIPT_THREADS": "1"})
        spins = [threading.Thread(target=self.server.client(), args=("GET", "/spin")) for _ in range(2)]
        for s in spins:
            s.start()
        time.sleep(0.3)
        took = []
        for _ in range(21):
            began = time.monotonic()
            self.assertEqual(self.ask("GET", "/quick").body, b"quick")
            took.append(time.monotonic() - began)
        self.assertTrue(all(s.is_alive() for s in spins))
        # At most a slice of each of the two is before it.
        self.assertLess(sorted(took)[10], 0.06, took)
        for s in spins:
            s.join()

    def test_routes_are_counted(self):
        self.serve('''
            route "GET /m/{id}" { run = function(req) if req.params.id == "2" then error("x") end return "y" end }
            route "GET /spin" { timeout = "50ms", run = function() while true do end end }
        ''')
        self.ask("GET", "/spin")
        self.ask("POST", "/api/cluster/run", {"text": "return 1"})
        for id in "123":
            self.ask("GET", "/m/" + id)
        text = self.ask("GET", "/metrics").body.decode()
        for name, value in (("runs", "3"), ("errors", "1")):
            self.assertRegex(text, r'(?m)^koan_script_%s_total\{function="GET /m/\{id\}"\} %s$' % (name, value))
        self.assertRegex(text, r'(?m)^koan_script_over_budget_total\{function="GET /spin"\} 1$')
        self.assertRegex(text, r'(?m)^koan_script_runs_total\{function="run"\} 1$')
        used = re.search(r'(?m)^koan_script_memory_bytes\{thread="1"\} (\d+)$', text)
        self.assertTrue(100000 < int(used.group(1)) < 64 << 20, used)
        self.assertRegex(text, r"(?m)^koan_script_memory_max_bytes %d$" % (64 << 20))
        for name in ("seconds", "steps", "allocated_bytes"):
            self.assertRegex(text, r'(?m)^koan_script_%s_total\{function="GET /m/\{id\}"\} (?!0$)' % name)


if __name__ == "__main__":
    unittest.main()
