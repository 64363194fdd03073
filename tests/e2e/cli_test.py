"""The command line: help, mistakes, records, scripts, exit codes."""
import json
import os
import re
import unittest

from e2e.node import APPS, Case, run

TODO = os.path.join(APPS, "todo")


class Words(Case):
    def test_alone_it_prints_help(self):
        code, out, _ = run()
        self.assertEqual(code, 0)
        for word in ("serve", "dev", "import FILE", "entity get", "canon why", "config show", "version"):
            self.assertIn(word, out)

    def test_every_command_has_help(self):
        _, out, _ = run()
        names = [line.split()[1] for line in out.splitlines() if line.startswith("  koan ")]
        self.assertGreater(len(names), 10)
        for line in out.splitlines():
            if not line.startswith("  koan "):
                continue
            words = line.split()[1:3]
            command = words if words[0] in ("entity", "canon", "config", "jobs", "lease", "queue", "sched") else words[:1]
            code, text, err = run(*command, "--help")
            self.assertEqual(code, 0, err)
            self.assertIn("--json", text)

    def test_help_says_what_each_setting_is_for(self):
        flags = re.findall(r"` `--([\w.-]+)` \|", run("config", "reference")[1])
        self.assertGreater(len(flags), 40)
        for args in (["serve", "--help"], ["dev", "--help"], ["check", "--help", "all"], ["doctor", "--help", "all"],
                     ["repl", "--help", "all"]):
            code, text, err = run(*args)
            self.assertEqual((code, err), (0, ""), args)
            lines = [line for line in text.splitlines() if line.startswith("  --")]
            for flag in flags:
                self.assertRegex(text, rf"(?m)^  --{re.escape(flag)} [^ ]+  +[a-zA-Z]", args)
            self.assertEqual(len({re.match(r"  --.*?  +", line).end() for line in lines}), 1, text)
            self.assertLessEqual(max(len(line) for line in lines if line.split()[0][2:] in flags), 100, text)

    def test_help_begins_with_what_matters(self):
        text = run("check", "--help")[1]
        places = [text.index(word) for word in ("--no-tests", "--recent", "--json", "--url", "--config", "--scripts", "--help all")]
        self.assertEqual(places, sorted(places))
        self.assertLess(len(text.splitlines()), 25)
        self.assertNotIn("--ledger", text)

    def test_commands_are_listed_for_who_is_new(self):
        names = [" ".join(line.split()[1:3]) for line in run()[1].splitlines() if line.startswith("  koan ")]
        groups = [name.split()[0] for name in names]
        firsts = list(dict.fromkeys(groups))
        self.assertEqual([g for n, g in enumerate(groups) if n == 0 or groups[n - 1] != g], firsts)  # each in one place
        self.assertEqual(firsts[:4], ["serve", "dev", "new", "check"])
        self.assertEqual(firsts[-2:], ["completion", "man"])
        order = [firsts.index(word) for word in ("deploy", "queue", "jobs", "sched", "entity", "health", "config")]
        self.assertEqual(order, sorted(order))

    def test_mistakes_are_answered_with_the_nearest_right_name(self):
        for args, words in ((["serv"], "serve"), (["entity", "lst"], "entity ls"), (["import", "x", "--cannon", "A"], "--canon"),
                            (["serve", "--lisen", "x"], "--listen"), (["entity", "get", "x"], "NAME ID"),
                            (["version", "more"], "what is 'more'"), (["version", "--json=1"], "no value"),
                            (["serve", "-p", "1"], "two dashes"), (["import", "x"], "--entity NAME or --canon MODEL")):
            code, out, err = run(*args)
            self.assertEqual(code, 2, (args, out, err))
            self.assertIn(words, out + err)

    def test_version(self):
        code, out, _ = run("version", "--json")
        self.assertEqual(code, 0)
        self.assertRegex(json.loads(out)["version"], r"^\d+\.\d+\.\d+$")
        self.assertEqual(run("--version")[1].split()[0], "koan")

    def test_without_a_server_it_says_so(self):
        code, _, err = run("entity", "ls", "todo", "--url", "http://127.0.0.1:1")
        self.assertEqual(code, 1)
        self.assertIn("127.0.0.1 port 1", err)
        code, _, err = run("entity", "ls", "todo", "--url", "http://127.0.0.1:1", "--json")
        self.assertEqual(json.loads(err)["error"]["code"], "unavailable")

    def test_a_pipe_gets_no_colours(self):
        for args in ([], ["config", "show"], ["serve", "--help"]):
            self.assertNotIn("\033", run(*args)[1])


class Records(Case):
    def setUp(self):
        super().setUp()
        self.server = self.node(TODO)

    def entity(self, *args, code=0, **kw):
        got, out, err = run("entity", *args, "--url", self.server.url, "--json", **kw)
        self.assertEqual(got, code, out + err)
        return json.loads(out) if out else json.loads(err) if err else None

    def test_a_record_lives(self):
        made = self.entity("put", "Todo", '{"title": "milk"}')
        self.assertEqual((made["title"], made["done"], made["version"]), ("milk", False, 1))
        self.assertEqual(self.entity("get", "todo", made["id"]), made)
        patched = self.entity("patch", "todo", made["id"], '{"done": true}', "--if-version", "1")
        self.assertEqual((patched["done"], patched["version"]), (True, 2))
        self.assertEqual(self.entity("patch", "todo", made["id"], '{"done": false}', "--if-version", "1", code=1)["error"]["code"],
                         "version_mismatch")
        put = self.entity("put", "todo", made["id"], "-", stdin='{"title": "bread"}')
        self.assertEqual((put["title"], put["version"]), ("bread", 3))
        self.entity("rm", "todo", made["id"])
        self.assertEqual(self.entity("get", "todo", made["id"], code=1)["error"]["code"], "not_found")

    def test_lists_are_filtered_and_sorted(self):
        for i in range(5):
            self.entity("put", "todo", f"t{i}", json.dumps({"title": f"title {i}", "done": i % 2 == 0}))
        rows = self.entity("ls", "todo", "--filter", '{"done": true}', "--sort", "-title", "--fields", "title")
        self.assertEqual([r["title"] for r in rows], ["title 4", "title 2", "title 0"])
        self.assertEqual(len(self.entity("ls", "todo", "--page-size", "2")), 2)
        code, _, err = run("entity", "ls", "todo", "--q", "title", "--url", self.server.url)
        self.assertEqual(code, 1)
        self.assertIn("no field of Todo is searched", err)
        code, out, err = run("entity", "ls", "todo", "--url", self.server.url)
        self.assertEqual(code, 0, err)
        self.assertEqual(len(out.splitlines()), 6)

    def test_field_faults_are_told(self):
        code, _, err = run("entity", "put", "todo", '{"titel": "x"}', "--url", self.server.url)
        self.assertEqual(code, 1)
        self.assertIn("title", err)
        code, _, err = run("entity", "put", "todo", '{"title": ', "--url", self.server.url)
        self.assertEqual(code, 1)
        self.assertIn("JSON", err)

    def test_health(self):
        code, out, err = run("health", "--url", self.server.url, "--json")
        self.assertEqual((code, json.loads(out)["status"]), (0, "healthy"), err)


class Scripts(Case):
    def run_script(self, text, *args, **kw):
        return run("run", self.write("s.lua", text), *args, "--data", self.path("data"), "--scripts", TODO, **kw)

    def test_a_script_writes_and_answers(self):
        code, out, err = self.run_script('local Todo = entity "Todo"\nlocal t = Todo.new { title = ... }\nt:save()\n'
                                         "print(t.title)\nreturn { n = Todo.count() }", "milk", "--json")
        self.assertEqual(code, 0, err)
        lines = out.splitlines()
        self.assertEqual(lines[0], "milk")
        self.assertEqual(json.loads(lines[1]), {"n": 1})
        c = self.node(TODO).client()
        self.assertEqual([t["title"] for t in c("GET", "/api/todo").json], ["milk"])

    def test_an_error_has_file_and_line(self):
        code, _, err = self.run_script("local a = 1\nerror('broken')")
        self.assertEqual(code, 1)
        self.assertIn("s.lua:2", err)
        code, _, err = self.run_script("local a = = 1")
        self.assertEqual(code, 1)
        self.assertIn("s.lua:1", err)

    def test_beside_a_server_it_is_refused(self):
        server = self.node(TODO)
        code, _, err = self.run_script("return 1")
        self.assertEqual(code, 1)
        self.assertIn(str(server.process.pid), err)


if __name__ == "__main__":
    unittest.main()
