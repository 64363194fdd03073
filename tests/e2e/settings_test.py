"""Settings that are set while a node runs: koan config set, feature flags, koan apply, over HTTP and the command line."""
import json
import os
import threading
import time
import unittest

from e2e.node import Case, run

APP = """entity "Price" {
  fields = { n = int, rate = number, fresh = bool },
  before_save = function(e) e.rate = config.get("rate", 1); e.fresh = flag("fresh", e.id) end,
}
"""
SETTINGS = "/api/cluster/settings"
MERGE = {"Content-Type": "application/merge-patch+json"}


class Settings(Case):
    def setUp(self):
        super().setUp()
        self.scripts = self.write("app/app.lua", APP)
        self.start()

    def start(self, *args, **kw):
        self.server = self.node(self.path("app"), *args, **kw)
        self.c = self.server.client()

    def koan(self, *args, code=0):
        got, out, err = run(*args, "--url", self.server.url, "--json", cwd=self.dir)
        self.assertEqual(got, code, out + err)
        return json.loads(out if code == 0 else err)

    def price(self):
        r = self.c("POST", "/api/price", {"n": 1}).json
        return r["rate"], r["fresh"]

    def shown(self):
        return {s["name"]: s for s in self.c("GET", SETTINGS).json["settings"]}

    def live(self, want):
        end = time.monotonic() + 1
        while self.price() != want:
            self.assertLess(time.monotonic(), end, "not live within a second")

    def test_a_setting_is_live_at_once_and_traced(self):  # F1
        self.assertEqual(self.price(), (1, False))
        got = self.koan("config", "set", "flags.fresh", "on", "--reason", "launch")
        self.assertEqual((got["revision"], got["changes"][0]["state"]), (1, "in force"))
        self.live((1, True))
        self.koan("config", "set", "app.rate", "2.5")
        self.live((2.5, True))
        self.koan("config", "set", "flags.fresh", "0%")
        self.live((2.5, False))
        s = self.shown()
        self.assertEqual((s["app.rate"]["value"], s["app.rate"]["origin"]), ("2.5", "replicated, revision 2"))
        self.assertEqual(self.c("GET", SETTINGS).headers["ETag"], '"3"')
        self.koan("config", "unset", "app.rate")
        self.live((1, False))
        history = self.koan("config", "history")["history"]
        self.assertEqual([(h["revision"], h["name"]) for h in history],
                         [(4, "app.rate"), (3, "flags.fresh"), (2, "app.rate"), (1, "flags.fresh")])
        self.assertEqual((history[3]["by"], history[3]["reason"], history[3]["value"]), ("local", "launch", True))
        self.assertNotIn("value", history[0])

    def test_what_was_acknowledged_survives_kill_9(self):  # L2
        for n in range(5):
            self.koan("config", "set", "app.rate", str(n))
            self.koan("config", "set", "log.level", "debug" if n % 2 else "info")
            self.server.kill()
            self.start()
            self.assertEqual(self.price()[0], n)
            self.assertEqual(self.shown()["log.level"]["value"], "debug" if n % 2 else "info")

    def test_kill_9_in_the_middle_of_changes(self):  # L2
        acked = []

        def change():
            client = self.server.client()
            try:
                for n in range(100000):
                    r = client("PATCH", SETTINGS, {"app": {"a": n, "b": n}}, MERGE)
                    if r.status == 200:
                        acked.append(n)
            except OSError:
                pass
            except Exception:  # the answer was cut off
                pass
        t = threading.Thread(target=change)
        t.start()
        time.sleep(0.5)
        self.server.process.kill()
        t.join()
        self.server.kill()
        self.start()
        s = self.shown()
        self.assertEqual(s["app.a"]["value"], s["app.b"]["value"])
        self.assertIn(int(s["app.a"]["value"]), (acked[-1], acked[-1] + 1))

    def test_what_needs_a_restart_is_pending_until_then(self):
        got = self.koan("config", "set", "http.threads", "3")
        self.assertEqual(got["changes"][0]["state"], "after a restart")
        s = self.shown()["http.threads"]
        self.assertEqual((s["value"], s["origin"]), ("0", "default"))
        self.assertEqual(s["pending"], {"value": "3", "origin": "replicated, revision 1"})
        self.assertIn("3 after a restart", run("config", "ls", "--url", self.server.url)[1])
        self.server.stop()
        self.start()
        s = self.shown()["http.threads"]
        self.assertEqual((s["value"], s["origin"]), ("3", "replicated, revision 1"))
        self.assertNotIn("pending", s)
        self.assertRegex(self.server.text, r"https?://\S+, 3 threads")

    def test_the_environment_and_flags_go_before(self):
        self.server.stop()
        self.start("--drain.timeout", "7s", env={"KOAN_APP_RATE": "9"})
        got = self.koan("config", "set", "app.rate", "2")
        self.assertEqual(got["changes"][0]["state"], "hidden by environment KOAN_APP_RATE")
        self.koan("config", "set", "drain.timeout", "8s")
        s = self.shown()
        self.assertEqual((s["app.rate"]["value"], s["drain.timeout"]["value"]), ("9", "7s"))
        self.assertEqual(s["drain.timeout"]["hides"],
                         [{"layer": "replicated", "value": "8s", "origin": "replicated, revision 2"}])
        self.assertEqual(self.price()[0], 9)

    def test_what_is_wrong_is_refused_and_nothing_is_half_done(self):  # F1 R1 F3
        self.koan("config", "set", "app.rate", "2")
        for args, words in ((("log.levl", "debug"), "did you mean 'log.level'?"), (("log.level", "loud"), "is none of"),
                            (("data", "/tmp"), "data: is needed before"), (("http.listen", ":1"), "http.listen: is needed"),
                            (("token", "abcdefghijklmnopqrst"), "token: is needed"), (("flags.x", "maybe"), "flags.x"),
                            (("app.no good", "1"), "app"), (("flag.x", "on"), "did you mean 'flags.x'?"),
                            (("http.allow", "{{secret:a#b}}"), "no vault")):
            told = self.koan("config", "set", *args, code=1)["error"]
            self.assertEqual(told["code"], "invalid")
            self.assertIn(words, told["detail"])
        r = self.c("PATCH", SETTINGS, {"app": {"rate": 5}, "log": {"levl": "x"}, "http": {"threads": "many"}}, MERGE)
        self.assertEqual((r.status, [e["field"] for e in r.json["errors"]]), (400, ["log.levl", "http.threads"]))
        for method, path, body, status in (("PATCH", SETTINGS, [], 400), ("PUT", SETTINGS + "/app.rate", {"valu": 1}, 400),
                                           ("PUT", SETTINGS + "/app.rate", {"value": None}, 400),
                                           ("PATCH", SETTINGS + "?x=1", {}, 400), ("POST", SETTINGS, {}, 405),
                                           ("POST", "/api/cluster/apply", {"documnt": {}}, 400)):
            self.assertEqual(self.c(method, path, body).status, status, (method, path))
        self.assertEqual((self.price()[0], self.c("GET", SETTINGS).headers["ETag"]), (2, '"1"'))

    def test_of_two_changes_with_one_revision_one_succeeds(self):  # E2
        self.koan("config", "set", "app.rate", "2")
        self.assertEqual(self.c("PATCH", SETTINGS, {"app": {"rate": 3}}, {**MERGE, "If-Match": '"1"'}).status, 200)
        r = self.c("PATCH", SETTINGS, {"app": {"rate": 4}}, {**MERGE, "If-Match": '"1"'})
        self.assertEqual((r.status, r.json["code"]), (412, "version_mismatch"))
        self.assertEqual(self.koan("config", "set", "app.rate", "5", "--revision", "1", code=1)["error"]["code"], "version_mismatch")
        self.assertEqual(self.price()[0], 3)

    def test_changes_at_once_all_count(self):
        def change(n):
            c = self.server.client()
            for i in range(10):
                self.assertEqual(c("PATCH", SETTINGS, {"app": {f"k{n}": i}}, MERGE).status, 200)
        threads = [threading.Thread(target=change, args=(n,)) for n in range(4)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        s = self.shown()
        self.assertEqual([s[f"app.k{n}"]["value"] for n in range(4)], ["9"] * 4)
        self.assertEqual(self.c("GET", SETTINGS).json["revision"], 40)

    def test_secrets_are_not_shown(self):
        told = json.dumps([self.koan("config", "set", "app.api_key", "hunter2"),
                           self.koan("config", "set", "app.api_key", "hunter3"),
                           self.c("GET", SETTINGS).json, self.koan("config", "history")])
        self.assertNotIn("hunter", told)
        self.assertIn('"***"', told)
        self.assertNotIn("hunter", self.server.text)

    def test_apply_brings_what_a_file_declares(self):
        lua = self.write("live.lua", 'return { log = { level = "warn" }, app = { rate = 2 }, flags = { fresh = { percent = 100 } } }')
        dry = self.koan("apply", lua, "--dry-run")
        self.assertEqual((sorted(c["name"] for c in dry["changes"]), dry["revision"]), (["app.rate", "flags.fresh", "log.level"], 0))
        self.assertEqual(self.price(), (1, False))
        self.assertEqual(self.koan("apply", lua)["revision"], 1)
        self.assertEqual(self.price(), (2, True))
        again = self.koan("apply", lua)
        self.assertEqual((again["revision"], again["changes"]), (1, []))
        js = self.write("live.json", '{"app": {"rate": 3}}')
        self.koan("apply", js)
        self.assertEqual(self.price(), (3, True))
        out = run("apply", js, "--prune", "--dry-run", "--url", self.server.url)[1]
        self.assertIn("- log.level = warn", out)
        self.assertEqual(self.koan("apply", js, "--prune")["revision"], 3)
        self.assertEqual(self.price(), (3, False))
        self.assertEqual(self.shown()["log.level"]["value"], "info")
        self.assertEqual(len(self.koan("config", "history")["history"]), 6)

    def test_apply_refuses_what_it_cannot_bring_whole(self):
        for text, words in (('{"app": {"rate": 5}, "roles": {"render": {}}}', "no roles that could be declared"),
                            ('{"app": {"rate": 5}, "http": {"listen": ":1"}}', "http.listen: is needed before"),
                            ('{"app": {"rate": 5}, "lgo": {"level": "warn"}}', "there is no setting 'lgo'"),
                            ('{"app": {"rate": 5}, "flags": {"x": 7}}', "flags.x")):
            told = self.koan("apply", self.write("bad.json", text), code=1)["error"]
            self.assertIn(words, told["detail"])
        self.koan("apply", self.path("nowhere.json"), code=1)
        self.assertEqual((self.price()[0], self.c("GET", SETTINGS).json["revision"]), (1, 0))

    def test_sighup_keeps_what_was_set(self):
        self.server.stop()
        config = self.write("koan.lua", "return { app = { rate = 2, by = 'file' } }")
        self.start("--config", config)
        self.koan("config", "set", "app.rate", "7")
        self.write("koan.lua", "return { app = { rate = 3, by = 'again' } }")
        self.server.process.send_signal(1)
        self.server.wait_log("app and flags are taken over", start=len(self.server.logs) - 1)
        self.assertEqual(self.price()[0], 7)
        end = time.monotonic() + 2
        while self.shown()["app.by"]["value"] != "again":
            self.assertLess(time.monotonic(), end)
        self.koan("config", "unset", "app.rate")
        self.live((3, False))

    def test_a_token_is_wanted(self):
        self.server.stop()
        self.start(env={"KOAN_TOKEN": "t" * 20})
        for method, path in (("GET", SETTINGS), ("PATCH", SETTINGS), ("PUT", SETTINGS + "/app.x"), ("POST", "/api/cluster/apply")):
            self.assertEqual(self.c(method, path, None if method == "GET" else {}).status, 401)


if __name__ == "__main__":
    unittest.main()
