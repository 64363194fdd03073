"""What scripts are told by the configuration: config and flag, from file and environment, live."""
import json
import signal
import time
import unittest

from e2e.node import Case, run

APP = """entity "Price" {
  fields = { n = int, rate = number, fresh = bool },
  before_save = function(e) e.rate = config.get("rate", 1); e.fresh = flag("fresh", e.id) end,
}
"""
CONFIG = 'return { app = { rate = %s }, flags = { fresh = %s } }'


class Values(Case):
    def test_a_reload_reaches_scripts_whole_or_not_at_all(self):  # F3
        scripts = self.write("app/app.lua", APP)
        config = self.write("koan.lua", CONFIG % (2, "false"))
        node = self.node("--config", config, scripts)
        c = node.client()

        def price():
            return [c("POST", "/api/price", {"n": 1}).json[k] for k in ("rate", "fresh")]
        self.assertEqual(price(), [2, False])
        self.write("koan.lua", CONFIG % (3, "true"))
        node.process.send_signal(signal.SIGHUP)
        node.wait_log("app and flags are taken over")
        end = time.monotonic() + 1
        while price() != [3, True]:
            self.assertLess(time.monotonic(), end, "not live within a second")
        self.write("koan.lua", CONFIG % (4, "{ percnt = 5 }"))
        node.process.send_signal(signal.SIGHUP)
        self.assertIn("percent", node.wait_log("reload refused"))
        self.assertEqual(price(), [3, True])

    def test_the_environment_overrides_and_every_value_has_an_origin(self):
        config = self.write("koan.lua", "return { app = { rate = 2, api_token = 'x' } }")
        env = {"KOAN_APP_RATE": "2.5", "KOAN_APP_MAIL_FILE": self.write("mail", "a@example.org\n")}
        script = self.write("s.lua", "return { config.rate, config.mail, config.get('nothing', false) }")
        code, out, err = run("run", script, "--config", config, "--data", self.path("data"), "--json", env=env)
        self.assertEqual((code, json.loads(out or "0")), (0, [2.5, "a@example.org", False]), err)
        code, out, err = run("config", "show", "--config", config, "--json", env=env)
        shown = {s["name"]: (s["value"], s["origin"]) for s in json.loads(out) if s["name"].startswith("app.")}
        self.assertEqual(shown, {"app.rate": ("2.5", "environment KOAN_APP_RATE"), "app.api_token": ("***", config),
                                 "app.mail": ("***", "environment KOAN_APP_MAIL_FILE")})
        self.assertIn("app.rate", run("config", "show", "--origin", "--config", config, env=env)[1])

    def test_bad_sections_are_faults(self):
        for text, words in (("return { app = 5 }", "app:"), ("return { flags = { a = 'x' } }", "flags.a"),
                            ("return { app = { ['1 2'] = 3 } }", "app")):
            code, _, err = run("config", "show", "--config", self.write("koan.lua", text))
            self.assertEqual(code, 2)
            self.assertIn(words, err)
        code, _, err = run("config", "show", env={"KOAN_APP_X": "1", "KOAN_APP_X_FILE": "/nowhere"})
        self.assertEqual(code, 2)
        self.assertIn("keep one", err)

    def test_log_fields_are_members_of_the_line(self):
        scripts = self.write("app.lua", 'entity "Note" { fields = { n = int }, before_save = function(e)\n'
                                        'log.info("noted", { n = e.n, tags = { "a" }, url = "http://u:secret@h/" }) end }')
        node = self.node(scripts)
        node.client()("POST", "/api/note", {"n": 7})
        line = json.loads(node.wait_log('"noted"'))
        self.assertEqual((line["area"], line["fields"]["n"], line["fields"]["tags"]), ("script", 7, ["a"]))
        self.assertNotIn("secret", json.dumps(line))


if __name__ == "__main__":
    unittest.main()
