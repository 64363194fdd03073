"""What a script author relies on: the whole library, units of work in each face, and what is not there refused by name."""
import json
import threading
import unittest

from e2e.node import App, Case, run

# The names that the language of Koan has, as the guide lists them.
LIBRARY = """entity tx send publish request on queue job step sleep wait_for canon recipe media blob secret lease counter limit kv cache
cluster auth config flag log http json time uuid crypto base64 csv reject""".split()
MISSING = {"recipe": "media", "media": "media", "blob": "blob storage", "secret": "the vault",
           "cluster": "the cluster", "auth": "users and roles"}
WORKING = {
    "entity": 'entity("Note").new { text = "e" }:save().version',
    "tx": 'tx(function() return entity("Note").new { text = "t" }:save().text end)',
    "canon": 'canon("Gold"):arrive({ name = "a" }, { origin = "a", source_id = "1" }).outcome',
    "config": 'config.get("rate", 1)',
    "flag": 'flag("new-price", { key = "k" })',
    "log": 'log.info("words", { fact = 1 })',
    "http": 'http.get(args[1] .. "/livez").status',
    "json": 'json.decode(json.encode { a = 1 }).a',
    "time": 'time.format(0, "%Y")',
    "uuid": '#uuid()',
    "crypto": 'crypto.sha256("abc", "hex"):sub(1, 8)',
    "base64": 'base64.decode(base64.encode("abc"))',
    "csv": 'csv.parse("a,b\\n1,2\\n", { header = true })[1].b',
    "reject": 'select(2, pcall(reject, "NO", "words")).code',
    "queue": 'select(2, pcall(queue("late"), {})).code',
    "on": 'select(2, pcall(on("queue/late"), { run = print })).code',
    "send": 'select(2, pcall(send, "nowhere", 1)).code',
    "limit": 'limit("author", { rate = 3 }):take()',
    "counter": 'counter.add("author", 7)',
    "kv": 'kv.get("nothing") == nil',
    "cache": 'cache("author", nil, function() return 9 end)',
    "lease": 'lease("author", function(held) return held.token > 0 end)',
    "publish": 'select(2, publish("author.x", 1))',
    "request": 'select(2, pcall(request, "nobody", 1)).code',
    "job": 'select(2, pcall(job("nowhere").submit, job("nowhere"))).code',
    "step": 'select(2, pcall(step, "a", print)).code',
    "sleep": 'select(2, pcall(sleep, "a", "1s")).code',
    "wait_for": 'select(2, pcall(wait_for, "a", "b")).code',
}
GIVES = {"entity": 1, "tx": "t", "canon": "canonized", "config": 2, "flag": True, "http": 200, "json": 1, "time": "1970", "uuid": 36, "crypto": "ba7816bf",
         "base64": "abc", "csv": "2", "reject": "NO", "queue": "invalid", "on": "invalid", "send": "not_found", "counter": 7, "limit": 2, "kv": True,
         "cache": 9, "lease": True, "publish": 0, "request": "not_found", "job": "not_found", "step": "invalid", "sleep": "invalid",
         "wait_for": "invalid"}


class Library(Case):
    def test_every_name_works_or_says_what_is_missing(self):
        self.assertEqual(set(LIBRARY), set(MISSING) | set(WORKING))
        self.write("koan.lua", 'return { app = { rate = 2 }, flags = { ["new-price"] = true }, http = { allow = "127.0.0.0/8" } }')
        self.write("scripts/app.lua", 'entity "Note" { fields = { text = text } }\nentity "Gold" { fields = { name = text } }\n'
                   'canon "Gold" { sources = { a = { rank = 1 } }, keys = { "name" } }')
        node = self.node("--scripts", self.path("scripts"), "--config", self.path("koan.lua"))
        c = node.client()
        for name, text in WORKING.items():
            with self.subTest(name):
                a = c("POST", "/api/cluster/run", {"text": f"local args = {{ ... }} return {text}", "args": [node.url]}).json
                self.assertTrue(a["ok"], a)
                self.assertEqual(a.get("result"), GIVES.get(name))
        for name, needs in MISSING.items():
            for text in (f"route 'GET /x' {{ run = function() local v = {name} return v end }}", f"local f = function() {name} 'x' end f = f"):
                with self.subTest(text):
                    a = c("POST", "/api/cluster/scripts", {"files": {"app.lua": text}})
                    self.assertEqual((a.status, a.json["code"]), (422, "rejected"), a.body)
                    self.assertRegex(a.json["detail"], rf"app\.lua:1:\d+: {name}: needs {needs}, which this version of Koan does not have")
            a = c("POST", "/api/cluster/run", {"text": f"return {name} {{ }}", "args": []}).json
            self.assertIn("does not have", json.dumps(a), name)
        self.assertEqual(c("GET", "/api/note").status, 200)  # what was refused changed nothing

    def test_a_start_and_a_check_refuse_them_too(self):
        self.write("scripts/app.lua", 'entity "Note" { fields = { text = text },\n  before_save = function(e) blob("mail", e) end }')
        code, words = self.fails("--scripts", self.path("scripts"))
        self.assertEqual(code, 1)
        self.assertRegex(words, r"app\.lua:2:29: blob: needs blob storage")
        code, out, _ = run("check", self.path("scripts"), "--json", cwd=self.dir)
        self.assertEqual(code, 1)
        self.assertEqual([(p["line"], p["column"]) for p in json.loads(out)["problems"]], [(2, 29)])


class Units(App):
    APP = """
entity "Note" { fields = { text = text, n = int { default = 0 } } }
local Note = entity "Note"
route "POST /joined" { run = function()
  local ok = pcall(tx, function()
    tx(function() Note.new { text = "inner" }:save() end)
    error("outer fails behind it")
  end)
  return { ok = ok, left = Note.count { filter = { text = "inner" } } }
end }
route "POST /own" { run = function()
  local saved = Note.new { id = "own", text = "own" }:save()
  return { got = Note.get("own").text, seen = Note.count { filter = { text = "own" } } }
end }
route "POST /handed/{id}" { run = function(req)
  local n = Note.get(req.params.id)
  n.n = n.n + 1
  n:save()
  return { n = n.n }
end }
route "POST /assign" { run = function() counter_of_mine = 1 end }
route "POST /module" { run = function() require_nothing = nil string.mine = 1 end }
"""

    def test_an_inner_tx_joins_the_outer_one(self):
        self.assertEqual(self.ok("POST", "/joined").json, {"ok": False, "left": 0})
        self.assertEqual(self.ok("GET", '/api/note?filter={"text":"inner"}').json, [])

    def test_get_sees_what_the_run_wrote_and_a_query_what_is_committed(self):
        self.assertEqual(self.ok("POST", "/own").json, {"got": "own", "seen": 0})
        self.assertEqual(self.ok("GET", "/api/note/own").json["text"], "own")

    def test_in_the_repl_each_verb_commits_by_itself(self):
        a = self.ok("POST", "/api/cluster/run", {"text": 'entity("Note").new { id = "alone", text = "x" }:save() error("later")', "args": []}).json
        self.assertFalse(a["ok"])
        self.assertEqual(self.ok("GET", "/api/note/alone").json["text"], "x")

    def test_globals_and_the_library_are_read_only_after_loading(self):  # U1
        for path in ("/assign", "/module"):
            self.refused("POST", path, status=500, code="internal")
        self.server.wait_log(r"app\.lua:\d+: .*counter_of_mine")

    def test_who_meets_another_runs_again(self):
        self.ok("PUT", "/api/note/shared", {"text": "s"}, status=201)
        clients = [self.server.client() for _ in range(4)]

        def add(c):
            for _ in range(25):
                while (a := c("POST", "/handed/shared")).status != 200:
                    self.assertEqual((a.status, a.json["code"]), (409, "conflict"), a.body)  # five times somebody else was faster
        threads = [threading.Thread(target=add, args=(c,)) for c in clients]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        self.assertEqual(self.ok("GET", "/api/note/shared").json["n"], 100)


class Run(Case):
    def test_in_koan_run_each_verb_commits_by_itself(self):
        self.write("scripts/app.lua", 'entity "Note" { fields = { text = text } }')
        script = self.write("s.lua", 'entity("Note").new { id = "alone", text = "x" }:save() error("later")')
        code, _, err = run("run", script, "--data", self.path("data"), "--scripts", self.path("scripts"))
        self.assertEqual(code, 1)
        self.assertIn("later", err)
        self.assertEqual(self.node("--scripts", self.path("scripts")).client()("GET", "/api/note/alone").json["text"], "x")


if __name__ == "__main__":
    unittest.main()
