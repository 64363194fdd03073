"""What a queue says of its messages holds for each that says nothing itself, whoever sends it."""
import json
import time

from e2e.handlers_test import HandlersCase
from e2e.node import run
from e2e.queue_stream_test import Lines

Q = "/api/queues/%2F/"

MAIL = """
queue "mail" { attempts = 8, lane = "bulk", priority = 7, timeout = "30s", backoff = "1s,10s", gate = "smtp", needs = { zone = "eu" } }
queue "free" { attempts = 3 }
on "order.*" { group = "audit", batch = 10, run = function() end }
"""


class SaysCase(HandlersCase):
    def answer(self, verb, path, body=None, status=200, **headers):
        headers = {k.replace("_", "-"): v for k, v in headers.items()}
        a = self.ask(verb, path, None if body is None else body if isinstance(body, str) else json.dumps(body), headers)
        self.assertEqual(a.status, status, a.body)
        return a.json if a.body else None

    def message(self, queue, id):
        return self.answer("GET", f"{Q}{queue}/messages/{id}")

    def koan(self, *args):
        code, out, err = run(*args, "--url", self.server.url, cwd=self.dir)
        self.assertEqual(code, 0, out + err)
        return out

    def looks(self, id, queue="mail", **want):
        m = self.message(queue, id)
        self.assertEqual({k: m.get(k) for k in want}, want)

    def ended(self, queue, id):
        for _ in range(400):
            if self.message(queue, id)["state"] == "discarded":
                return
            time.sleep(0.02)
        self.fail("it has not ended")


class Says(SaysCase):
    def test_a_message_has_what_its_queue_says_whichever_way_it_was_sent(self):
        self.serve(MAIL)
        says = {"attempts": 8, "lane": "bulk", "priority": 7}
        ids = [self.answer("POST", Q + "mail/messages", 1, 201)["id"]]
        ids += [r["id"] for r in self.answer("POST", Q + "mail/messages?batch=true", [{"body": 2}, {"body": 3}])["results"]]
        ids += [json.loads(self.koan("queue", "send", "mail", "4", "--json"))["id"]]
        ids += [self.answer("POST", "/api/tx", {"ops": [{"op": "send", "queue": "mail", "body": 5}]})["results"][0]["id"]]
        ids += [self.answer("POST", "/send/mail", {"n": 6})["id"]]
        stream = Lines(self.server.port, Q + "mail/stream")
        stream.send({"body": 7})
        ids += [json.loads(stream.text())["id"]]
        stream.end()
        ids += [self.answer("POST", Q + "mail/messages?unique=u&unique_mode=merge", {"a": 1}, 201)["id"]]
        for id in ids:
            self.looks(id, **says)
        self.looks(self.answer("POST", Q + "mail/messages?attempts=2&lane=default&priority=4", 1, 201)["id"],
                   attempts=2, lane="default", priority=4)

    def test_the_gate_of_a_queue_holds_what_comes_over_http(self):
        self.serve("""
            queue "mail" { gate = "smtp" }
            on "queue/mail" { run = function(m) note("sent " .. m.n) end }
        """)
        self.answer("POST", "/api/gates/smtp/close", {"delay": "10m"}, 204)
        id = self.answer("POST", Q + "mail/messages", {"n": 1}, 201)["id"]
        free = self.answer("POST", Q + "mail/messages?batch=true", [{"body": {"n": 2}, "gate": []}])["results"][0]["id"]
        self.until(["sent 2"])
        self.assertEqual(self.message("mail", id)["waiting_for"], {"what": "gate", "name": "smtp"})
        self.answer("POST", "/api/gates/smtp/open", None, 204)
        self.until(["sent 2", "sent 1"])
        self.assertNotEqual(id, free)

    def test_labels_tries_and_waits_are_the_queue_s(self):
        self.serve("""
            queue "work" { attempts = 2, backoff = "50ms" }
            on "queue/work" { run = function(m, ctx) tx(function() note("try " .. ctx.attempt) end); error("no") end }
            queue "far" { needs = { zone = "moon" } }
            on "queue/far" { run = function() end }
        """)
        id = self.answer("POST", Q + "work/messages", 1, 201)["id"]
        self.until(["try 1", "try 2"])
        self.ended("work", id)
        far = self.answer("POST", Q + "far/messages", 1, 201)["id"]
        self.assertEqual(self.message("far", far)["waiting_for"]["what"], "label")

    def test_a_moved_message_is_as_its_new_queue_says(self):
        self.serve(MAIL)
        id = self.answer("POST", Q + "mail/messages", 1, 201)["id"]
        own = self.answer("POST", Q + "mail/messages?attempts=5", 1, 201)["id"]
        self.koan("queue", "move", "mail", "free", id, own)
        self.looks(id, "free", attempts=3, lane="default", priority=4)
        self.looks(own, "free", attempts=5, lane="default")
        self.koan("queue", "move", "free", "mail", id)
        self.looks(id, attempts=8, lane="bulk", priority=7)

    def test_a_queue_declared_over_http_says_it_too_and_shows_it_and_it_outlives_the_node(self):
        self.serve("")
        says = {"attempts": 9, "lane": "bulk", "priority": 3, "timeout": "2m", "deadline": "1h", "ttl": "30s",
                "backoff": ["1s", "1m"], "gate": ["a", "b"], "needs": {"gpu": 2, "ssd": True, "zone": "x"}}
        self.answer("PUT", Q + "own", says, 201)
        self.answer("PUT", Q + "usual", {}, 201)
        usual = {"attempts": 5, "lane": "default", "priority": 4, "timeout": "1m", "deadline": "1d",
                 "backoff": {"first": "3s", "cap": "5m"}}
        for _ in range(2):
            options = self.answer("GET", Q + "own")["options"]
            self.assertEqual({k: options[k] for k in says}, says)
            options = self.answer("GET", Q + "usual")["options"]
            self.assertEqual({k: options[k] for k in usual}, usual)
            self.assertFalse({"ttl", "gate", "needs"} & set(options))
            self.looks(self.answer("POST", Q + "own/messages", 1, 201)["id"], "own", attempts=9, lane="bulk", priority=3)
            self.assertRegex(self.koan("queue", "show", "own"), r"attempts +9\n")
            self.answer("PUT", Q + "own", self.answer("GET", Q + "own")["options"])
            self.server.stop()
            self.again()
        self.answer("PUT", Q + "own", {"attempts": 0}, 400)
        self.answer("PUT", Q + "own", {"gate": ["a", "b", "c", "d", "e"]}, 400)

    def test_a_group_s_queue_speaks_for_what_is_published(self):
        self.serve(MAIL)
        self.answer("PUT", Q + "group.audit", {"attempts": 4, "lane": "bulk"})
        self.answer("POST", Q + "group.audit/pause")
        self.answer("POST", "/api/topics/order.placed", 1, 202)
        message = self.answer("GET", Q + "group.audit/messages?state=available")["items"][0]
        self.assertEqual((message["attempts"], message["lane"]), (4, "bulk"))

    def test_a_deploy_changes_what_the_queue_says(self):
        self.serve('queue "mail" { attempts = 8 }')
        self.looks(self.answer("POST", Q + "mail/messages", 1, 201)["id"], attempts=8)
        self.write("app/main.lua", 'queue "mail" { lane = "bulk" }')
        self.koan("deploy", self.path("app"))
        self.looks(self.answer("POST", Q + "mail/messages", 1, 201)["id"], attempts=5, lane="bulk")


class Bodies(SaysCase):
    def refused(self, a, queue="small", limit=1000):
        self.assertEqual(a["code"], "too_large", a)
        self.assertIn(f"queue '{queue}'", a["detail"])
        self.assertIn(f"at most {limit}", a["detail"])
        self.assertIn("body_max", a["detail"])

    def test_a_queue_says_how_long_its_bodies_are_whichever_way_they_come(self):
        self.serve("""
            queue "small" { body_max = 1000 }
            queue "big" { body_max = "4MiB" }
            on "order.*" { group = "audit", run = function() end }
            queue "group.audit" { body_max = 1000 }
        """)
        long = "x" * 1001
        self.refused(self.answer("POST", Q + "small/messages", long, 413, Content_Type="text/plain"))
        many = self.answer("POST", Q + "small/messages?batch=true", [{"body": "a"}, {"body": long}])["results"]
        self.refused(many[1]["error"])
        stream = Lines(self.server.port, Q + "small/stream")
        stream.send({"body": long}, {"body": "b"})
        self.refused(json.loads(stream.text())["error"])
        self.assertIn("id", json.loads(stream.text()))
        stream.end()
        self.refused(self.answer("POST", "/api/tx", {"ops": [{"op": "send", "queue": "small", "body": long}]}, 413))
        self.refused(self.answer("POST", "/send/small", json.dumps(long), 413))
        code, out, err = run("queue", "send", "small", json.dumps(long), "--url", self.server.url, cwd=self.dir)
        self.assertEqual(code, 1)
        self.assertIn("body_max", out + err)
        self.refused(self.answer("POST", "/api/topics/order.placed", json.dumps(long), 413), "group.audit")
        half = {"a": "x" * 600}
        self.answer("POST", Q + "small/messages?unique=u&unique_mode=merge&delay=1h", half, 201)
        self.refused(self.answer("POST", Q + "small/messages?unique=u&unique_mode=merge", {"b": "x" * 600}, 413))
        id = self.answer("POST", Q + "small/messages", {"a": 1}, 201)["id"]
        self.refused(self.answer("PATCH", f"{Q}small/messages/{id}", {"body": long}, 413))
        id = self.answer("POST", Q + "big/messages", json.dumps("y" * 3000000), 201)["id"]
        moved = self.answer("POST", Q + "big/move", {"ids": [id], "to": "small"})
        self.assertNotIn("error", moved["results"][0])  # it is here already
        self.assertEqual(len(self.message("small", id)["body"]), 3000000)

    def test_a_queue_that_says_nothing_takes_a_mebibyte_and_none_more_than_four(self):
        self.serve('queue "usual" {}')
        self.answer("POST", Q + "usual/messages", "x" * (1 << 20), 201, Content_Type="text/plain")
        self.refused(self.answer("POST", Q + "usual/messages", "x" * (1 + (1 << 20)), 413, Content_Type="text/plain"), "usual", 1 << 20)
        self.answer("PUT", Q + "own", {"body_max": "4MiB"}, 201)
        self.assertEqual(self.answer("GET", Q + "own")["options"]["body_max"], 4 << 20)
        self.answer("POST", Q + "own/messages", "x" * (4 << 20), 201, Content_Type="text/plain")
        self.answer("POST", Q + "own/messages", "x" * (1 + (4 << 20)), 413, Content_Type="text/plain")
        for wrong in ("5MiB", 0, "much", True):
            self.assertEqual(self.answer("PUT", Q + "own", {"body_max": wrong}, 400)["code"], "invalid")


class Whose(SaysCase):
    def test_what_a_script_says_is_not_undone_over_http_and_what_it_leaves_open_not_by_a_deploy(self):
        self.serve('queue "mail" { dead_to = "mail.dead", attempts = 8, lane = "bulk" }\non "queue/mail" { concurrency = 20, run = function() end }')
        q = self.answer("GET", Q + "mail")
        self.assertEqual(q["script"], "main.lua")
        self.assertEqual(set(q["scripted"]), {"dead_to", "attempts", "lane", "concurrency", "handled", "manual"})
        options = self.answer("PUT", Q + "mail", {"max": 100000, "timeout": "9s"})["options"]
        want = {"dead_to": "mail.dead", "attempts": 8, "lane": "bulk", "concurrency": 20, "handled": True, "max": 100000, "timeout": "9s"}
        self.assertEqual({k: options[k] for k in want}, want)
        self.answer("PUT", Q + "mail", options)
        for wrong in ({"dead_to": "other"}, {"attempts": 7}, {"concurrency": 0}, {"handled": False}, {"lane": "default", "max": 7}):
            a = self.answer("PUT", Q + "mail", wrong, 409)
            self.assertIn("declared in main.lua", a["detail"])
            self.assertIn(next(iter(wrong)), a["detail"])
        self.assertEqual({k: self.answer("GET", Q + "mail")["options"][k] for k in want}, want)
        self.server.stop()
        self.again()
        self.assertEqual({k: self.answer("GET", Q + "mail")["options"][k] for k in want}, want)
        self.write("app/main.lua", 'queue "mail" { attempts = 3 }\non "queue/mail" { run = function() end }')
        self.koan("deploy", self.path("app"))
        options = self.answer("GET", Q + "mail")["options"]
        want = {"attempts": 3, "lane": "default", "concurrency": 0, "handled": True, "max": 100000, "timeout": "9s"}
        self.assertEqual({k: options[k] for k in want}, want)
        self.assertNotIn("dead_to", options)

    def test_a_queue_that_no_script_declares_any_more_is_people_s(self):
        self.serve('queue "mail" { attempts = 8 }')
        self.answer("PUT", Q + "mail", {"attempts": 3}, 409)
        self.write("app/main.lua", 'queue "other" {}')
        self.koan("deploy", self.path("app"))
        q = self.answer("GET", Q + "mail")
        self.assertNotIn("script", q)
        self.assertEqual(q["options"]["attempts"], 8)
        self.answer("PUT", Q + "mail", {"attempts": 3})

    def test_a_queue_that_people_work_is_its_script_s_once_that_has_a_handler(self):
        self.serve('queue "other" {}')
        self.answer("PUT", Q + "desk", {"manual": True}, 201)
        id = self.answer("POST", Q + "desk/messages", 1, 201)["id"]
        self.write("app/main.lua", 'queue "desk" { keep = { completed = "1h" } }\non "queue/desk" { run = function() end }')
        self.koan("deploy", self.path("app"))
        self.assertFalse(self.answer("GET", Q + "desk")["options"]["manual"])
        end = time.monotonic() + 10
        while self.message("desk", id)["state"] != "completed":
            self.assertLess(time.monotonic(), end)
            time.sleep(0.02)
        self.assertIn("manual", self.answer("PUT", Q + "desk", {"manual": True}, 409)["detail"])

    def test_the_queue_of_a_job_and_that_of_a_group_are_their_scripts_too(self):
        self.serve('job "night" { run = function() end }\non "order.*" { group = "audit", run = function() end }')
        self.answer("PUT", Q + "job.night", {"keep_completed": "1h"}, 409)
        self.answer("PUT", Q + "group.audit", {"handled": False}, 409)
        self.assertEqual(self.answer("PUT", Q + "group.audit", {"max": 7})["options"]["max"], 7)
