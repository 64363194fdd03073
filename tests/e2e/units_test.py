"""Units of work from scripts: what a function that failed had written never happened, however it ended (U3); reads by id
are conditions, and a unit that lost is repeated."""
import concurrent.futures
import threading
import time
import unittest

from e2e.node import App, Case

APP = """
entity "Note" { fields = { text = text { required = true, unique = true }, by = text {} } }
entity "Account" { fields = { balance = int { min = 0 } } }
entity "Hooked" {
  fields = { how = text {} },
  before_save = function(e, prior, ctx)
    if e.how == "writes" then entity "Note".new { text = "of a hook" }:save() end
    if e.how == "rejects" then ctx:reject("no", "not this") end
    if e.how == "fails" then error("broken") end
    if e.how == "spins" then while true do end end
  end,
}
entity "Golden" { fields = { k = text {}, how = text {} } }
canon "Golden" {
  sources = { a = {} }, keys = { "k" },
  stages = { validate = function(a, ctx)
    if a.how == "writes" then entity "Note".new { text = "of a stage" }:save() end
    if a.how == "rejects" then ctx:reject("NO", "not this") end
    if a.how == "fails" then error("broken") end
    if a.how == "spins" then while true do end end
  end },
}
local Note, Hooked = entity "Note", entity "Hooked"
local function ends(how)
  if how == "error" then error("broken") end
  if how == "reject" then reject("no", "not this") end
  if how == "nil" then local t = nil; return t.x end
  if how == "spin" then while true do end end
  if how == "unique" then Note.new { text = "taken" }:save() end
  if how == "hook" then Hooked.new { how = "rejects" }:save() end
  if how == "outside" then http.get("http://127.0.0.1:1/") end
end
local function write_and_end(how)
  for i = 1, 3 do Note.new { text = how .. i, by = how }:save() end
  local n = Note.get("kept")
  n.by = how
  n:save()
  Note.remove("gone")
  ends(how)
end
route "POST /handler/{how}" { timeout = "500ms", run = function(req) write_and_end(req.params.how) end }
route "POST /tx/{how}" { timeout = "500ms", run = function(req)
  tx(function() write_and_end(req.params.how) end)
end }
route "POST /nested/{how}" { timeout = "500ms", run = function(req)
  tx(function() tx(function() Note.new { text = "inside" }:save() end) write_and_end(req.params.how) end)
end }
route "POST /after/{how}" { timeout = "500ms", run = function(req)
  tx(function() Note.new { text = "finished " .. req.params.how }:save() end)
  write_and_end(req.params.how)
end }
route "POST /hangs" { timeout = "30s", run = function(req)
  for i = 1, 3 do Note.new { text = "handler" .. i }:save() end
  tx(function() Note.new { text = "mark" }:save() end)
  tx(function()
    for i = 1, 3 do Note.new { text = "tx" .. i }:save() end
    while true do end
  end)
end }
"""
FAILURES = {"error": 500, "nil": 500, "reject": 422, "unique": 409, "hook": 422, "spin": 504}
WRITES = """
local how = ...
tx(function()
  local Note = entity "Note"
  for i = 1, 3 do Note.new { text = how .. i }:save() end
  Note.remove("gone")
  if how == "error" then error("broken") end
  if how == "reject" then reject("no", "not this") end
  if how == "outside" then http.get("http://127.0.0.1:1/") end
  if how == "caught" then pcall(function() Note.new { text = "caught" }:save() error("x") end) error("later") end
end)
"""


class Failed(App):
    APP = APP

    def setUp(self):
        super().setUp()
        for name in ("kept", "gone", "taken"):
            self.ok("PUT", "/api/note/" + name, {"text": name}, status=self.c("GET", "/api/note/" + name).status == 404 and 201 or 200)
        self.before = self.all()

    def all(self):
        return self.ok("GET", "/api/note?sort=text&pageSize=200").json

    def test_what_a_failed_handler_wrote_never_happened(self):  # U3
        for face in ("handler", "tx", "nested"):
            for how, status in FAILURES.items():
                with self.subTest(face=face, how=how):
                    a = self.c("POST", f"/{face}/{how}")
                    self.assertGreaterEqual(a.status, 400, a.body)
                    if how != "spin":
                        self.assertEqual(a.status, status, a.body)
                    self.assertEqual(self.all(), self.before)

    def test_a_call_outside_is_an_error_in_a_tx(self):  # U3
        self.assertEqual(self.c("POST", "/tx/outside").status, 500)
        self.assertEqual(self.all(), self.before)

    def test_inner_units_that_were_finished_stay(self):  # U3
        for how in ("error", "reject", "spin"):
            self.assertGreaterEqual(self.c("POST", "/after/" + how).status, 400)
            now = {n["text"] for n in self.all()}
            self.assertEqual(now - {n["text"] for n in self.before}, {"finished " + how})
            self.before = self.all()

    def test_what_a_failed_run_wrote_never_happened(self):  # U3
        for how in ("error", "reject", "outside", "caught"):
            with self.subTest(how):
                a = self.ok("POST", "/api/cluster/run", {"text": WRITES, "args": [how]})
                self.assertFalse(a.json["ok"])
                self.assertEqual(self.all(), self.before)
        self.assertTrue(self.ok("POST", "/api/cluster/run", {"text": WRITES, "args": ["well"]}).json["ok"])
        self.assertEqual(len(self.all()), len(self.before) + 3 - 1)
        for i in range(1, 4):
            note = next(n for n in self.all() if n["text"] == f"well{i}")
            self.ok("DELETE", "/api/note/" + note["id"], status=204)

    def test_a_hook_that_failed_leaves_nothing(self):  # U3
        for how in ("writes", "rejects", "fails", "spins"):
            with self.subTest(how):
                code = "unsupported" if how == "writes" else "rejected"
                self.refused("PUT", "/api/hooked/h-" + how, {"how": how}, status=422, code=code)
                self.refused("GET", "/api/hooked/h-" + how, status=404, code="not_found")
                self.refused("POST", "/api/hooked/bulk", [{"how": "well", "id": "b1"}, {"how": how, "id": "b2"}],
                             status=422, code=code)
                self.refused("GET", "/api/hooked/b1", status=404, code="not_found")
                self.assertEqual(self.all(), self.before)

    def test_a_stage_that_failed_leaves_no_golden_record(self):  # U3
        for how in ("writes", "rejects", "fails", "spins"):
            with self.subTest(how):
                a = self.c("POST", "/api/canon/golden?origin=a&source_id=" + how, {"k": how, "how": how})
                self.assertEqual((a.status, a.json["outcome"]), (422, "failed"), a.body)
                self.assertEqual(self.ok("GET", "/api/golden").json, [])
                self.assertEqual(self.all(), self.before)

    def test_what_is_not_saved_is_not_saved(self):
        text = 'local n = entity "Note".get("kept") n.by = "nobody" tx(function() local m = entity "Note".get("kept") m.by = "x" end)'
        self.assertTrue(self.ok("POST", "/api/cluster/run", {"text": text}).json["ok"])
        self.assertEqual(self.all(), self.before)


class Conditions(App):
    APP = APP

    def script(self, text, *args):
        return self.ok("POST", "/api/cluster/run", {"text": text, "args": args}).json

    def test_a_read_by_id_is_a_condition_and_a_unit_that_lost_is_repeated(self):
        for name in ("a", "b"):
            self.ok("PUT", "/api/account/" + name, {"balance": 100}, 201)
        text = """
            local A, from, to = entity "Account", ...
            for i = 1, 10 do
              local done
              repeat
                done = pcall(tx, function()
                  local x, y = A.get(from), A.get(to)
                  x:patch { balance = x.balance - 1 }
                  y:patch { balance = y.balance + 1 }
                end)
              until done
            end
        """
        def move(pair):
            c = self.server.client()
            return c("POST", "/api/cluster/run", {"text": text, "args": pair}).json
        with concurrent.futures.ThreadPoolExecutor(6) as pool:
            for r in pool.map(move, [("a", "b"), ("b", "a")] * 3):
                self.assertTrue(r["ok"], r)
        balances = [self.ok("GET", "/api/account/" + n).json["balance"] for n in ("a", "b")]
        self.assertEqual(balances, [100, 100])

    def test_a_unit_that_always_loses_is_tried_five_times(self):
        self.ok("PUT", "/api/account/hot", {"balance": 0}, 201)
        r = self.script("""
            local A, tries = entity "Account", 0
            local ok, e = pcall(tx, function()
              tries = tries + 1
              local mine = A.get("hot")
              mine.balance = mine.balance + 1
              mine:save()
              error { code = "conflict", message = "as if somebody else had been faster" }
            end)
            return { tries = tries, ok = ok }
        """)
        self.assertEqual(r["result"], {"tries": 1, "ok": False})  # its own error is none of the ledger's

        stop = threading.Event()

        def disturb():
            c = self.server.client()
            while not stop.is_set():
                c("PATCH", "/api/account/hot", {"balance": int(time.monotonic() * 1e6)})

        threads = [threading.Thread(target=disturb) for _ in range(4)]
        for t in threads:
            t.start()
        r = self.script("""
            local A, tries = entity "Account", 0
            local ok, e = pcall(tx, function()
              tries = tries + 1
              A.get("hot")
              for i = 1, 20000000 do end
              A.new { balance = 1 }:save()
            end)
            return { tries = tries, ok = ok, code = e and e.code }
        """)
        stop.set()
        for t in threads:
            t.join()
        self.assertEqual(r["result"], {"tries": 5, "ok": False, "code": "conflict"}, r)
        self.assertEqual(len(self.ok("GET", '/api/account?filter={"balance":1}').json), 0)

    def test_what_was_absent_must_still_be(self):
        text = """
            local A, n = entity "Account", 0
            tx(function()
              n = n + 1
              if not A.get("once") then A.new { id = "once", balance = n }:save() end
            end)
            return n
        """
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            got = list(pool.map(lambda _: self.server.client()("POST", "/api/cluster/run", {"text": text}).json, range(8)))
        self.assertTrue(all(r["ok"] for r in got), got)
        self.assertEqual(self.ok("GET", "/api/account/once").json["version"], 1)


class Killed(Case):
    def test_what_a_killed_handler_wrote_never_happened(self):  # U3
        self.write("app/main.lua", APP)
        node = self.node(self.path("app"))

        def hang(path, body):
            try:
                node.client()("POST", path, body)
            except Exception:
                pass

        run = {"text": 'local N = entity "Note" tx(function() N.new { text = "run" }:save() while true do end end)'}
        threads = [threading.Thread(target=hang, args=a) for a in (("/hangs", None), ("/api/cluster/run", run))]
        for t in threads:
            t.start()
        c, end = node.client(), time.monotonic() + 20
        while not c("GET", "/api/note").json:
            self.assertLess(time.monotonic(), end)
        time.sleep(0.2)  # by now it has written what is not to stay
        node.process.kill()
        node.process.wait()
        for t in threads:
            t.join()
        again = self.node(self.path("app"))
        self.assertEqual([n["text"] for n in again.client()("GET", "/api/note").json], ["mark"])


if __name__ == "__main__":
    unittest.main()
