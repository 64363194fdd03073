"""koan deploy, rollback, drift; koan repl on a live node."""
import json
import os
import pty
import re
import select
import signal
import subprocess
import time
import unittest

from e2e.node import BIN, Case, environment, run

ITEM = """entity "Item" { fields = { n = int, by = text }, before_save = function(e) e.by = "%s" end }
"""


class Deploy(Case):
    def setUp(self):
        super().setUp()
        self.write("app/item.lua", ITEM % "one")
        self.write("app/item_test.lua", 'test("by", function(t) t.ok(entity("Item").new { n = 1 }:save().by) end)')
        self.server = self.node(self.path("app"))

    def deploy(self, *args, code=0):
        got, out, err = run("deploy", *args, "--url", self.server.url, "--json", cwd=self.dir)
        self.assertEqual(got, code, out + err)
        return json.loads(out) if got == 0 else json.loads(out or err)

    def by(self):
        return self.server.client()("POST", "/api/item", {"n": 1}).json["by"]

    def test_a_set_is_deployed_kept_and_brought_back(self):
        self.assertEqual(self.by(), "one")
        first = self.deploy("app", "--name", "first")
        self.assertEqual((first["name"], first["entities"]), ("first", ["Item"]))
        self.write("app/item.lua", ITEM % "two")
        second = self.deploy("app", "--name", "second")
        self.assertNotEqual(first["hash"], second["hash"])
        self.assertEqual(self.by(), "two")
        self.assertEqual(self.deploy("--rollback", "previous")["name"], "first")
        self.assertEqual(self.by(), "one")
        self.assertEqual(self.deploy("--rollback", second["hash"][:6])["hash"], second["hash"])
        self.assertEqual(self.by(), "two")
        history = self.deploy("--list")["history"]
        self.assertEqual([(h["name"], h["kind"]) for h in history],
                         [("second", "rollback"), ("first", "rollback"), ("second", "deploy"), ("first", "deploy"),
                          ("folder", "deploy")])
        self.assertEqual(self.deploy("--rollback", "third", code=1)["error"]["code"], "not_found")

    def test_what_was_deployed_survives_and_the_folder_is_drift(self):
        self.write("app/item.lua", ITEM % "two")
        self.deploy("app", "--name", "two")
        self.server.stop()
        self.write("app/item.lua", ITEM % "three")
        self.server = self.node(self.path("app"))
        self.assertIn("item.lua", self.server.wait_log("drift"))
        self.assertEqual(self.by(), "two")
        self.assertEqual([d["file"] for d in self.deploy("--list")["drift"]], ["item.lua"])
        self.assertRegex(self.server.client()("GET", "/metrics").body.decode(), r"(?m)^koan_script_drift 1$")
        self.deploy("app", "--name", "three")
        self.assertIsNone(self.deploy("--list")["drift"])
        self.assertRegex(self.server.client()("GET", "/metrics").body.decode(), r"(?m)^koan_script_drift 0$")
        self.server.stop()
        self.server = self.node()  # the ledger has it: no folder is needed
        self.assertEqual(self.by(), "three")
        self.server.kill()
        self.server = self.node()
        self.assertEqual(self.by(), "three")

    def test_a_set_that_does_not_load_changes_nothing(self):  # U2
        self.deploy("app", "--name", "good")
        self.write("app/item.lua", 'entity "Item" { fields = { n = intt } }')
        told = self.deploy("app", "--name", "bad", code=1)
        self.assertEqual(told["problems"][0]["line"], 1)
        told = self.deploy("app", "--name", "bad", "--no-check", code=1)
        self.assertEqual(told["error"]["code"], "rejected")
        self.assertIn("item.lua:1", told["error"]["detail"])
        self.assertEqual(self.by(), "one")
        self.assertEqual([h["name"] for h in self.deploy("--list")["history"]], ["good", "folder"])

    def test_a_failing_test_holds_it_up(self):
        self.write("app/item_test.lua", 'test("no", function(t) t.ok(false) end)')
        self.assertEqual(self.deploy("app", code=1)["failed"], 1)
        self.assertEqual([h["name"] for h in self.deploy("--list")["history"]], ["folder"])

    def test_bad_requests(self):
        c = self.server.client()
        for path, body, words in (("scripts", {"files": []}, "files"), ("scripts", {"files": {"a.lua": 1}}, "files"),
                                  ("scripts", {"file": {}}, "files"), ("scripts", {"files": {"a.txt": ""}}, ".lua"),
                                  ("scripts", {"files": {}, "name": "no good"}, "name"), ("scripts/rollback", {"too": "x"}, "to"),
                                  ("run", {"txt": "x"}, "text"), ("run", {"text": 5}, "text")):
            r = c("POST", "/api/cluster/" + path, body)
            self.assertIn(r.status, (400, 404, 422), (body, r.body))
            self.assertIn(words, r.json["detail"])
        big = {"files": {f"f{i}.lua": "-- " + "x" * 1000000 for i in range(5)}}
        self.assertEqual(c("POST", "/api/cluster/scripts", big).status, 413)
        self.assertEqual(self.by(), "one")

    def test_the_folder_of_the_first_start_is_the_first_set(self):
        history = self.deploy("--list")["history"]
        self.assertEqual([(h["name"], h["kind"], h["by"]) for h in history], [("folder", "deploy", "system")])
        self.write("app/item.lua", ITEM % "two")
        self.server.stop()
        self.server = self.node(self.path("app"))
        self.assertIn("item.lua", self.server.wait_log("drift"))
        self.assertEqual(self.by(), "one")
        self.server.process.send_signal(signal.SIGHUP)
        self.server.wait_log("drift", start=len(self.server.logs) - 1)
        self.assertEqual(self.by(), "one")
        self.assertEqual(len(self.deploy("--list")["history"]), 1)
        self.deploy("app")
        self.assertEqual(self.by(), "two")

    def test_kill_9_while_the_first_set_is_deployed(self):  # L1 U2
        self.server.stop()
        for i in range(12):
            data = f"killed{i}"
            node = self.node(self.path("app"), data=data, wait=False)
            time.sleep(0.02 + 0.01 * i)
            node.kill()
            node = self.node(self.path("app"), data=data)
            self.assertEqual(node.client()("POST", "/api/item", {"n": 1}).json["by"], "one")
            code, out, err = run("deploy", "--list", "--url", node.url, "--json")
            self.assertEqual([h["name"] for h in json.loads(out)["history"]], ["folder"], err)
            node.kill()

    def test_dev_records_no_set_and_a_folder_that_does_not_load_is_none(self):  # U2
        dev = self.node(self.path("app"), data="other", verb="dev")
        self.assertEqual(json.loads(run("deploy", "--list", "--url", dev.url, "--json")[1])["history"], [])
        dev.stop()
        self.write("app/item.lua", "entity(")
        code, err = self.fails(self.path("app"), data="other")
        self.assertEqual(code, 1)
        self.assertIn("item.lua:1", err)
        self.write("app/item.lua", ITEM % "three")
        node = self.node(self.path("app"), data="other")
        self.assertEqual(node.client()("POST", "/api/item", {"n": 1}).json["by"], "three")

    def test_dev_follows_its_folder(self):
        dev = self.node(self.path("app"), data="other", verb="dev")
        r = dev.client()("POST", "/api/cluster/scripts", {"files": {}})
        self.assertEqual(r.status, 409)
        self.assertIn("koan serve", r.json["detail"])

    def test_a_token_is_needed_where_one_is_set(self):
        node = self.node(self.path("app"), data="closed", env={"KOAN_TOKEN": "t" * 20})
        for method, path in (("GET", "scripts"), ("POST", "scripts"), ("POST", "scripts/rollback"), ("POST", "run")):
            self.assertEqual(node.client()(method, "/api/cluster/" + path, None if method == "GET" else {}).status, 401)
        r = node.client(token="t" * 20)("POST", "/api/cluster/run", {"text": "return 1 + 1"})
        self.assertEqual(r.json, {"ok": True, "output": "", "result": 2})


class Repl(Case):
    def setUp(self):
        super().setUp()
        self.server = self.node(self.write("item.lua", ITEM % "me"))

    def lines(self, *lines, code=0):
        got, out, err = run("repl", "--url", self.server.url, stdin="\n".join(lines) + "\n", home=self.dir)
        self.assertEqual(got, code, out + err)
        return out.splitlines()

    def test_lines_are_run_where_the_scripts_are(self):
        self.assertEqual(self.lines("1 + 1", "_ * 21", 'print("hi")', 'entity "Item".new { n = 1 }:save().by', 'entity("Item").count()', "nil"),
                         ["2", "42", "hi", '"me"', "1"])
        self.assertEqual(self.lines("for i = 1, 2 do", "  print(i)", "end"), ["1", "2"])
        self.assertIn("repl.lua:1", self.lines("prnt(1)", code=1)[0])
        self.assertIn("near", self.lines("1 +* 2", code=1)[0])
        self.assertEqual(self.lines("exit", "1"), [])

    def test_a_line_that_never_ends_does_not_hold_the_server(self):
        c = self.server.client()
        began = time.monotonic()
        p = subprocess.Popen([BIN, "repl", "--url", self.server.url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                             env=environment(home=self.dir), cwd=self.dir)
        p.stdin.write("while true do end\n")
        p.stdin.close()
        time.sleep(0.5)
        for i in range(10):
            self.assertEqual(c("POST", "/api/item", {"n": i}).status, 201)
        self.assertLess(time.monotonic() - began, 5)
        p.kill()
        p.wait()
        p.stdout.close()
        self.server.process.send_signal(signal.SIGTERM)
        self.assertEqual(self.server.process.wait(40), 0)

    def test_on_the_data_of_a_stopped_server(self):
        def lines(*lines, code=0):
            got, out, err = run("repl", "--data", self.path("data"), *args, stdin="\n".join(lines) + "\n", home=self.dir)
            self.assertEqual(got, code, out + err)
            return out.splitlines() if code == 0 else err
        args = []
        said = lines("1", code=1)
        self.assertIn("already uses this data directory", said)
        self.assertIn("without --data", said)
        self.server.stop()
        args = ["--scripts", self.path("item.lua")]
        self.assertEqual(lines('entity "Item".new { n = 1 }:save().by', 'print("a") print("b")', "_ ~= nil", "for i = 1, 2 do", "print(i)", "end"),
                         ['"me"', "a", "b", "true", "1", "2"])
        self.assertIn("repl.lua:1", run("repl", "--data", self.path("data"), stdin="prnt(1)\n", home=self.dir)[1])
        args = []
        self.assertEqual(lines('entity("Item").count()'), ["1"])
        self.server = self.node(self.path("item.lua"))
        self.assertEqual(len(self.server.client()("GET", "/api/item").json), 1)
        self.assertEqual(run("repl", "--data", self.path("data"), "--url", self.server.url, home=self.dir)[0], 2)

    def test_without_a_server_it_says_so(self):
        code, _, err = run("repl", "--url", "http://127.0.0.1:1", stdin="1\n", home=self.dir)
        self.assertEqual(code, 1)
        self.assertIn("127.0.0.1 port 1", err)


class Terminal(Case):
    """The line editor, through a pseudo terminal."""

    def setUp(self):
        super().setUp()
        self.server = self.node(self.write("item.lua", ITEM % "me"))

    def open(self):
        pid, fd = pty.fork()
        if pid == 0:
            os.chdir(self.dir)
            os.execve(BIN, [BIN, "repl", "--url", self.server.url], environment({"TERM": "xterm"}, home=self.dir))
        self.addCleanup(os.close, fd)
        self.pid, self.fd, self.seen = pid, fd, ""
        self.wait("> ")

    def wait(self, words, seconds=10):
        end = time.monotonic() + seconds
        while words not in self.seen:
            if select.select([self.fd], [], [], max(0, end - time.monotonic()))[0]:
                try:
                    self.seen += os.read(self.fd, 4096).decode()
                except OSError:
                    break
            if time.monotonic() > end:
                break
        self.assertIn(words, self.seen)

    def type(self, text, wait):
        self.seen = ""
        os.write(self.fd, text.encode())
        self.wait(wait)

    def close(self):
        self.wait("> \x1b[K\r\x1b[2C")  # an empty line: between two of them the terminal takes Ctrl-D itself
        os.write(self.fd, b"\x04")
        _, status = os.waitpid(self.pid, 0)
        self.assertEqual(os.waitstatus_to_exitcode(status), 0)

    def test_keys_history_and_completion(self):
        self.open()
        self.type("1 + 41\r", "42")
        self.type("\x1b[A\r", "42")                              # up
        self.type("3\x01" + "10 * \x05" + "0\r", "300")          # home, end
        self.type("ab\x7f\x7f7 * 6\r", "42")                     # backspace
        self.type("xx\x1b[D\x1b[D\x1b[3~\x1b[3~\"\u00e9\"\r", '"\u00e9"')  # left, delete
        self.type("9 * 9 nonsense\x17\r", "81")                  # a word away
        self.type("json.enc\t", "json.encode")
        self.type('({ 5 })[1] + 1\x15' + "7\r", "7")             # line away
        self.type("base64.\t\t", "decode  encode")
        self.type("\x15" + 'entity "Item".cou\t', "count")
        self.type("\x03", "> \x1b[K\r\x1b[2C")                   # given up
        self.close()
        self.open()
        self.type("\x1b[A\x1b[A\r", "81")                        # the history was kept
        self.close()
        self.assertEqual(os.stat(self.path(".koan-repl-history")).st_mode & 0o777, 0o600)


if __name__ == "__main__":
    unittest.main()
