"""Configuration: layers and origins, all faults at once, the page that documents it."""
import json
import os
import unittest

from e2e.node import ROOT, Case, run


class Config(Case):
    def show(self, *args, **kw):
        code, out, err = run("config", "show", "--json", *args, cwd=self.dir, **kw)
        self.assertEqual(code, 0, err)
        return {s["name"]: s for s in json.loads(out)}

    def refused(self, *args, **kw):
        code, out, err = run("config", "show", *args, cwd=self.dir, **kw)
        self.assertEqual(code, 2, out + err)
        return err

    def test_defaults_say_so(self):
        s = self.show()
        self.assertEqual(s["http.listen"]["value"], "127.0.0.1:8090")
        self.assertEqual({v["origin"] for v in s.values()}, {"default"})

    def test_a_later_layer_wins_and_is_named(self):  # F1
        self.write("koan.json", '{"log": {"level": "warn"}, "ledger": {"keep": "2d"}, "http": {"threads": 3}}')
        s = self.show("--http.threads", "5", env={"KOAN_LOG_LEVEL": "error", "KOAN_HTTP_THREADS": "4"})
        self.assertEqual((s["ledger.keep"]["value"], s["ledger.keep"]["origin"]), ("2d", "koan.json"))
        self.assertEqual((s["log.level"]["value"], s["log.level"]["origin"]), ("error", "environment KOAN_LOG_LEVEL"))
        self.assertEqual((s["http.threads"]["value"], s["http.threads"]["origin"]), ("5", "flag --http.threads"))

    def test_lua_and_json_give_the_same_tree(self):
        lua = self.write("a/koan.lua", 'local days = 3\nreturn { ledger = { keep = days .. "d" }, http = { threads = 1 + 1 } }')
        js = self.write("b/koan.json", '{"ledger": {"keep": "3d"}, "http": {"threads": 2}}')
        a, b = self.show("--config", lua), self.show("--config", js)
        for name in ("ledger.keep", "http.threads"):
            self.assertEqual(a[name]["value"], b[name]["value"])

    def test_all_faults_are_told_at_once(self):
        self.write("koan.lua", 'return { http = { lisen = "x", threads = "many" }, ledger = { keep = "soon" } }')
        err = self.refused("--log-level", "loud", env={"KOAN_LOG_LEVL": "info", "KOAN_TOKEN": "a b",
                                                        "KOAN_HTTP_CONNECTIONS": "3"})
        for words in ("did you mean 'http.listen'", "http.threads: 'many'", "ledger.keep: 'soon'",
                      "did you mean KOAN_LOG_LEVEL", "flag --log-level: log.level: 'loud' is none of",
                      "must be from 16 to 1000000"):
            self.assertIn(words, err)

    def test_a_lua_error_has_its_line(self):
        self.write("koan.lua", "return {\n  http = = 3,\n}\n")
        self.assertIn("koan.lua:2", self.refused())

    def test_a_lua_file_can_do_nothing(self):
        for text in ("return os.getenv('HOME')", "return io.open('x')", "while true do end", "return print"):
            self.write("koan.lua", text)
            self.assertIn("koan.lua", self.refused())

    def test_a_json_error_has_its_place(self):
        self.write("koan.json", '{"http": {"threads": 1,}}')
        self.assertRegex(self.refused(), r"koan\.json: .*(line|1:)")

    def test_both_files_at_once_are_refused(self):
        self.write("koan.json", "{}")
        self.write("koan.lua", "return {}")
        self.assertIn("keep one", self.refused())

    def test_a_missing_file_is_named(self):
        self.assertIn("nowhere.json", self.refused("--config", "nowhere.json"))

    def test_a_value_can_come_from_a_file(self):
        secret = self.write("secret", "abcdefghijklmnopqrstuvwxyz\n")
        s = self.show(env={"KOAN_TOKEN_FILE": secret})
        self.assertEqual((s["token"]["value"], s["token"]["origin"]), ("***", "environment KOAN_TOKEN_FILE"))

    def test_a_value_beside_its_file_is_refused(self):
        secret = self.write("secret", "abcdefghijklmnopqrstuvwxyz\n")
        err = self.refused(env={"KOAN_TOKEN_FILE": secret, "KOAN_TOKEN": "zyxwvutsrqponmlkjihgfedcba"})
        self.assertIn("KOAN_TOKEN and KOAN_TOKEN_FILE are both set", err)

    def test_port_changes_only_the_port(self):
        self.write("koan.json", '{"http": {"listen": "127.0.0.2:1"}}')
        s = self.show(env={"PORT": "8123"})
        self.assertEqual((s["http.listen"]["value"], s["http.listen"]["origin"]), ("127.0.0.2:8123", "environment PORT"))
        s = self.show("--listen", ":9", env={"PORT": "8123"})
        self.assertEqual(s["http.listen"]["value"], ":9")

    def test_what_kubernetes_sets_is_passed_over(self):
        self.show(env={"KOAN_PORT": "tcp://10.0.0.1:80", "KOAN_PORT_80_TCP": "x", "KOAN_SERVICE_HOST": "10.0.0.1"})

    def test_open_access_in_production_needs_loopback(self):
        self.assertIn("http.access", self.refused("--access", "open", "--listen", "0.0.0.0:1"))

    def test_tls_needs_both_files(self):
        self.assertIn("http.tls_key is missing", self.refused("--http.tls_cert", "x.pem"))

    def test_the_page_documents_every_setting(self):
        code, out, err = run("config", "reference")
        self.assertEqual(code, 0, err)
        with open(os.path.join(ROOT, "web/docs/configuration.md")) as f:
            self.assertIn(out.strip(), f.read(), "run `koan config reference` and put it into web/docs/configuration.md")


if __name__ == "__main__":
    unittest.main()
