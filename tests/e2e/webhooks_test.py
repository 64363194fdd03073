"""Webhooks: each message of a group is a signed request to its receiver, who believes it by the public library of Standard
Webhooks; in order of a key, again when it fails, and no more once he says so."""
import base64
import http.server
import json
import re
import subprocess
import threading
import time
import unittest

from e2e import npm
from e2e.messages_test import LIBRARIES, NODE_S, RECEIVER, VERIFIER, secret
from e2e.topics_test import TopicsCase


class Receiver(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        test = self.server.test
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        with test.lock:
            test.got.append((self.path, [[k, v] for k, v in self.headers.items()], body))
            status, headers = test.answer(self.path, json.loads(body), self.headers)
        self.send_response(status)
        for k, v in headers.items():
            self.send_header(k, v)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args):
        pass


class Webhooks(TopicsCase):
    def setUp(self):
        super().setUp()
        self.got = []
        self.answer = lambda path, body, headers: (204, {})
        s = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
        s.daemon_threads, s.test = True, self
        threading.Thread(target=s.serve_forever, daemon=True).start()
        self.addCleanup(s.server_close)
        self.addCleanup(s.shutdown)
        self.url = f"http://127.0.0.1:{s.server_port}"

    def until_got(self, count, seconds=20):
        end = time.monotonic() + seconds
        while len(self.got) < count and time.monotonic() < end:
            time.sleep(0.02)
        self.assertEqual(len(self.got), count, self.server.text[-2000:])

    def counted(self, outcome, want):
        """What is counted, as soon as an answer is judged: shortly after it was given."""
        end = time.monotonic() + 10
        while time.monotonic() < end:
            found = re.search(rf'^koan_webhook_calls_total{{outcome="{outcome}"}} (\d+)$', self.ask("GET", "/metrics").body.decode(), re.M)
            if found and int(found.group(1)) == want:
                return
            time.sleep(0.05)
        self.fail(f"{outcome}: {found and found.group(1)}, not {want}")

    def bodies(self):
        return [json.loads(b) for _, _, b in self.got]

    def library(self, script, given):
        try:
            folder = npm.programs(*LIBRARIES)
        except unittest.SkipTest as e:
            self.skipTest(str(e))
        done = subprocess.run(["node", "--input-type=commonjs", "-e", script], input=json.dumps(given), text=True,
                              capture_output=True, timeout=NODE_S, cwd=folder)
        self.assertEqual(done.returncode, 0, done.stderr)
        return json.loads(done.stdout)

    def test_the_receiver_believes_it_and_reads_the_event(self):
        self.serve(f"""
            on "order.*" {{ group = "crm", webhook = {{ url = "{self.url}/b", secret = {{ "{secret(1)}", "{secret(2)}" }} }} }}
            on "order.*" {{ group = "other", webhook = {{ url = "{self.url}/s", secret = "{secret(3)}", format = "structured", source = "/shop" }} }}
        """)
        id = self.publish("order.placed", {"id": "o-1", "name": "grün"}, key="k1")["id"]
        self.until_got(2)
        by = {path: (headers, body) for path, headers, body in self.got}
        headers, body = by["/b"]
        given = {"headers": [[k.lower(), v] for k, v in headers], "body": base64.b64encode(body).decode()}
        said = self.library(VERIFIER, {"secrets": [secret(1), secret(2), secret(3)], **given})
        self.assertEqual(said[:2], ["yes", "yes"])
        self.assertNotEqual(said[2], "yes")
        self.assertEqual(dict(given["headers"])["webhook-id"], id)
        event, = self.library(RECEIVER, [given])[0]
        self.assertEqual((event["id"], event["type"], event["source"], event["subject"], event["data"]),
                         (id, "order.placed", "koan", "k1", {"id": "o-1", "name": "grün"}))
        headers, body = by["/s"]
        given = {"headers": [[k.lower(), v] for k, v in headers], "body": base64.b64encode(body).decode()}
        self.assertEqual(self.library(VERIFIER, {"secrets": [secret(3)], **given}), ["yes"])
        event, = self.library(RECEIVER, [given])[0]
        self.assertEqual((event["id"], event["source"], event["data"]["id"]), (id, "/shop", "o-1"))

    def test_an_event_that_came_from_outside_leaves_as_the_same_one(self):
        self.serve(f'on "order.*" {{ group = "g", webhook = {{ url = "{self.url}/", secret = "{secret(1)}" }} }}')
        event = {"ce-specversion": "1.0", "ce-id": "e-1", "ce-source": "/shop/1", "ce-type": "com.shop.order", "ce-subject": "o 7",
                 "ce-time": "2018-04-05T17:31:00.000Z", "ce-tone": "low", "Content-Type": "application/json"}
        event["ce-subject"] = "o%207"
        a = self.ask("POST", "/api/topics/order.placed", '{"a": 1}', event)
        self.assertEqual(a.status, 202, a.body)
        self.until_got(1)
        _, headers, body = self.got[0]
        given = {"headers": [[k.lower(), v] for k, v in headers], "body": base64.b64encode(body).decode()}
        self.assertEqual(self.library(VERIFIER, {"secrets": [secret(1)], **given}), ["yes"])
        self.assertEqual(dict(given["headers"])["webhook-id"], a.json["id"])
        got, = self.library(RECEIVER, [given])[0]
        self.assertEqual({k: got[k] for k in ("id", "source", "type", "time", "tone", "data")},
                         {"id": "e-1", "source": "/shop/1", "type": "com.shop.order", "time": "2018-04-05T17:31:00.000Z", "tone": "low",
                          "data": {"a": 1}})

    def test_a_failed_try_comes_again_with_the_same_id_and_holds_back_its_key_alone(self):  # Q5 Q6
        failed = set()

        def answer(path, body, headers):
            if body == "a1" and not failed:
                failed.add(body)
                return 500, {}
            return 200, {}
        self.answer = answer
        self.serve(f"""
            on "t" {{ group = "hook", webhook = {{ url = "{self.url}/", secret = "{secret(1)}" }} }}
            on "t" {{ group = "own", run = function(e, ctx) note(e .. " " .. ctx.attempt) end }}
        """)
        for key in "ab":
            for n in (1, 2):
                self.publish("t", f"{key}{n}", key=key)
        self.until_got(5, 30)  # the second try comes after 5 s
        bodies = self.bodies()
        self.assertEqual([b for b in bodies if b[0] == "a"], ["a1", "a1", "a2"])
        self.assertEqual([b for b in bodies if b[0] == "b"], ["b1", "b2"])
        self.assertLess(bodies.index("b2"), 4)
        ids = [dict(h)["webhook-id"] for _, h, b in self.got if json.loads(b) == "a1"]
        self.assertEqual(ids[0], ids[1])
        self.until(["a1 1", "a2 1", "b1 1", "b2 1"])

    def test_retry_after_is_heeded_and_a_redirect_is_no_success(self):
        times = {}

        def answer(path, body, headers):
            times.setdefault(body, []).append(time.monotonic())
            if len(times[body]) > 1:
                return 200, {}
            return (429, {"Retry-After": "8"}) if body == "later" else (302, {"Location": self.url + "/elsewhere"})
        self.answer = answer
        self.serve(f'on "t" {{ group = "g", webhook = {{ url = "{self.url}/", secret = "{secret(1)}" }} }}')
        self.publish("t", "later")
        self.publish("t", "moved")
        self.until_got(4, 30)
        self.assertEqual({p for p, _, _ in self.got}, {"/"})
        self.assertGreater(times["later"][1] - times["later"][0], 7.5)
        self.assertGreater(times["moved"][1] - times["moved"][0], 4)
        self.counted("retry", 2)
        self.counted("done", 2)

    def test_gone_pauses_the_group_and_its_messages_wait(self):
        self.answer = lambda path, body, headers: (410, {}) if body == 1 else (200, {})
        self.serve(f'on "t" {{ group = "g", webhook = {{ url = "{self.url}/", secret = "{secret(1)}" }} }}')
        self.publish("t", 1)
        self.server.wait_log("answered 410.*queue group.g is paused")
        self.counted("disabled", 1)
        self.publish("t", 2)
        time.sleep(0.5)
        self.assertEqual(self.bodies(), [1])
        self.assertEqual(self.queue("group.g")["messages"], 2)
        end = time.monotonic() + 40
        while time.monotonic() < end and b"group.g" not in self.ask("GET", "/api/cluster/health").body:
            time.sleep(0.5)
        self.assertIn(b"koan queue resume group.g", self.ask("GET", "/api/cluster/health").body)
        self.answer = lambda path, body, headers: (200, {})
        self.assertLess(self.ask("POST", "/api/queues/%2F/group.g/resume").status, 300)
        self.until_got(3)
        self.assertEqual(sorted(self.bodies()[1:]), [1, 2])

    def test_a_receiver_that_is_away_is_left_alone_and_its_messages_use_no_try(self):
        down = threading.Event()
        down.set()
        self.answer = lambda path, body, headers: (503, {}) if down.is_set() else (200, {})
        self.serve(f"""
            on "t" {{ group = "g", webhook = {{ url = "{self.url}/", secret = "{secret(1)}" }} }}
            route "POST /many" {{ run = function() for i = 1, 12 do publish("t", i) end end }}
        """)
        for i in range(5):
            self.publish("t", 100 + i, key="same")
        self.ask("POST", "/many")
        time.sleep(3)
        asked = len(self.got)
        self.assertLess(asked, 17)  # five in a row, and what was under way with them
        down.clear()
        self.until_got(asked + 17, 40)
        self.assertEqual(len({json.dumps(b) for b in self.bodies()}), 17)

    def test_a_secret_is_found_in_the_configuration_when_it_is_needed(self):
        self.write("koan.lua", f'return {{ app = {{ crm = {{ hook = "{secret(7)}" }} }} }}')
        self.serve(f'on "t" {{ group = "g", webhook = {{ url = "{self.url}/", secret = "crm.hook" }} }}', "--config", self.path("koan.lua"))
        self.publish("t", {"a": 1})
        self.until_got(1)
        _, headers, body = self.got[0]
        given = {"headers": [[k.lower(), v] for k, v in headers], "body": base64.b64encode(body).decode()}
        self.assertEqual(self.library(VERIFIER, {"secrets": [secret(7)], **given}), ["yes"])

    def test_without_its_secret_nothing_is_sent(self):
        self.serve(f'on "t" {{ group = "g", webhook = {{ url = "{self.url}/", secret = "crm.nowhere" }} }}')
        self.publish("t", {"a": 1})
        self.counted("not_sent", 1)
        self.server.wait_log("crm.nowhere")
        self.assertEqual(self.got, [])

    def test_private_addresses_are_only_for_those_who_allow_them(self):
        self.write("app/main.lua", f'on "t" {{ group = "g", webhook = {{ url = "{self.url}/", secret = "{secret(1)}" }} }} '
                   'route "POST /publish/{topic}" { run = function(req) return { id = publish(req.params.topic, req.json) } end }')
        self.server = self.node("--scripts", self.path("app"))
        self.ask = self.server.client()
        self.publish("t", 1)
        self.server.wait_log("http.allow")
        self.counted("retry", 1)
        self.assertEqual(self.got, [])

    def test_a_stop_hands_back_what_is_under_way_and_uses_no_try(self):
        wait, first = threading.Event(), threading.Event()
        self.addCleanup(wait.set)

        def answer(path, body, headers):
            first.set()
            self.lock.release()
            wait.wait(30)
            self.lock.acquire()
            return 200, {}
        self.answer = answer
        self.serve(f'on "t" {{ group = "g", webhook = {{ url = "{self.url}/", secret = "{secret(1)}", timeout = "60s" }} }}', "--drain.timeout", "1s")
        self.publish("t", 1)
        self.assertTrue(first.wait(20))
        began = time.monotonic()
        self.assertEqual(self.server.stop(), 0)
        self.assertLess(time.monotonic() - began, 15)
        wait.set()
        self.again()
        self.until_got(2)
        messages = self.ask("GET", "/api/queues/%2F/group.g").json
        self.assertEqual(messages["discarded"], 0)

    def test_killed_in_between_it_comes_again_with_the_same_id(self):  # B1
        wait = threading.Event()

        def answer(path, body, headers):
            if len(self.got) == 1:
                self.server.process.kill()
            return 200, {}
        self.answer = answer
        self.serve(f'on "t" {{ group = "g", webhook = {{ url = "{self.url}/", secret = "{secret(1)}" }} }}', "--work.lease", "1s")
        self.publish("t", 1)
        self.server.process.wait(30)
        self.server.kill()
        self.again("--work.lease", "1s")
        self.until_got(2, 40)
        self.assertEqual(dict(self.got[0][1])["webhook-id"], dict(self.got[1][1])["webhook-id"])
