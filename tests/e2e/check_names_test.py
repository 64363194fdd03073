"""What koan check, koan dev and health say of scripts that load and are not meant: names, webhooks."""
import json
import os
import re
import unittest

from e2e.node import Case, run


class Names(Case):
    def problems(self, text, *args):
        self.write("app/main.lua", text)
        code, out, err = run("check", self.path("app"), "--json", *args, cwd=self.dir)
        self.assertEqual(code, 0, out + err)
        told = json.loads(out)
        self.assertEqual(told["errors"], 0)
        return sorted((p["line"], p["column"], p["text"]) for p in told["problems"])

    def test_entities_and_queues_that_nobody_declares_are_told_with_the_nearest(self):
        self.assertEqual(self.problems("""entity "Customer" { fields = { name = text } }
queue "mail" { dead_to = "mail.dad" }
queue "mail.dead" { manual = true }
on "queue/work" { run = function() end }
route "GET /x" { run = function(req)
  entity "Custmer".get("x")
  entity("Nope").get("x")
  entity("Customer/draft").get("x")
  entity(req.params.x).get("x")
  send("male", {})
  send("somewhere", {})
  send("job.settle", {})
  send("work", {}) send("mail", {}) send('mail.dead', {}) send(req.query.to, {})
end }
"""), [(2, 16, "these scripts declare no queue 'mail.dad'; did you mean 'mail.dead'?"),
       (6, 3, "these scripts declare no entity 'Custmer'; did you mean 'Customer'?"),
       (7, 3, "these scripts declare no entity 'Nope'"),
       (10, 3, "these scripts declare no queue 'male'; did you mean 'mail'?"),
       (11, 3, "these scripts declare no queue 'somewhere': queue \"somewhere\" {}")])

    def test_jobs_are_told_in_both_ways_of_writing(self):
        found = self.problems('job "settle" { run = function() end }\n'
                              'route "GET /x" { run = function() job "setle":submit {} job("settle"):submit {} end }\n')
        self.assertEqual(found, [(2, 35, "these scripts declare no job 'setle'; did you mean 'settle'?")])

    def test_a_listener_that_has_the_name_of_a_queue_is_told(self):
        found = self.problems('queue "mail" {}\non "mail" { run = function() end }\n')
        self.assertEqual(found, [(2, 1, "this listens to a topic named 'mail', and nobody works the queue of that name: on \"queue/mail\" does")])
        self.assertEqual(self.problems('queue "mail" {}\non "queue/mail" { run = function() end }\non "mail" { run = function() end }\n'), [])
        self.assertEqual(self.problems('on "mail" { run = function() end }\n'), [])

    def test_webhooks_that_lack_a_secret_or_leave_are_told_before_the_first_message(self):
        self.maxDiff = None
        hooks = """
on "order.*" { group = "crm", webhook = { url = "http://127.0.0.1:1/x", secret = "partner_secret" } }
on "paid" { group = "bank", webhook = { url = "https://bank.example/x", secret = { "bank.old", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw" } } }
"""
        lacks = ["webhook of order.* (crm): the configuration has no text app.partner_secret; `koan config set app.partner_secret whsec_..` sets it",
                 "webhook of order.* (crm): '127.0.0.1' is a private address; `koan config set http.allow 127.0.0.1` lets scripts call it",
                 "webhook of paid (bank): the configuration has no text app.bank.old; `koan config set app.bank.old whsec_..` sets it"]
        self.assertEqual([(line, text) for line, _, text in self.problems(hooks)], sorted(zip((2, 2, 3), lacks)))
        # Some are there, or allowed.
        self.write("koan.lua", 'return { app = { partner_secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", bank = { old = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw" } } }')
        config = ("--config", self.path("koan.lua"))
        self.assertEqual([text for _, _, text in self.problems(hooks, *config)], lacks[1:2])
        self.assertEqual(self.problems(hooks, *config, "--http.allow", "10.0.0.0/8 127.0.0.1"), [])
        self.assertIn("`koan config set http.allow \"10.0.0.0/8 127.0.0.1\"`", self.problems(hooks, *config, "--http.allow", "10.0.0.0/8")[0][2])
        # A node tells the same at once, in the log and in its health, until it is mended.
        os.remove(self.path("koan.lua"))
        node = self.node(self.path("app"), "--log-format", "text")
        for words in lacks:
            node.wait_log(re.escape(words))
        c = node.client()
        said = next(x for x in c("GET", "/health").json["components"] if x["name"] == "webhooks")
        self.assertEqual(said["state"], "degraded")
        self.assertEqual([x["text"] for x in said["facts"]["lacking"]], lacks)


class Dev(Case):
    def test_what_check_refuses_is_shown_with_line_and_caret(self):
        self.write("app/crm.lua", 'queue "mail" {}\non "contact.*" { run = function(e) push_all(e) send("male", {}) end }\n')
        node = self.node(self.path("app"), verb="dev")
        line = json.loads(node.wait_log('"level":"error"'))
        self.assertEqual(line["message"] if "message" in line else line["msg"], "crm.lua:2:36: global 'push_all' is not defined anywhere")
        self.assertEqual(line["fields"]["line"], 2)
        self.assertRegex(line["fields"]["source"], r"push_all\(e\).*\n +\| +\^")
        node.wait_log("crm.lua:2:48: these scripts declare no queue 'male'; did you mean 'mail'")
        node.wait_log("`koan check` would refuse them")
        at = len(node.logs)
        self.write("app/crm.lua", 'queue "mail" {}\non "contact.*" { run = function(e) send("mail", e) end }\n')
        node.wait_log('"changed"', start=at)
        node.client()("GET", "/livez")
        self.assertEqual(node.stop(), 0)
        self.assertNotIn("push_all(e)", "".join(l for l in node.logs[at:] if '"level":"error"' in l))

    def test_people_see_the_line(self):
        self.write("app/crm.lua", 'on "contact.*" { run = function(e) push_all(e) end }\n')
        node = self.node(os.path.dirname(self.path("app/crm.lua")), "--log-format", "text", verb="dev")
        node.wait_log(r"crm.lua:1:36: global 'push_all' is not defined anywhere")
        node.wait_log(r"^ +1 \| on \"contact")
        node.wait_log(r"^ +\| +\^")


if __name__ == "__main__":
    unittest.main()
