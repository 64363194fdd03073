"""Queues worked by Lua: effects and ack are one unit, errors are tries, and no handler harms another."""
import http.client
import http.server
import json
import os
import random
import re
import signal
import threading
import time
import unittest

from e2e.node import Case, run
from e2e.slow_sync import SlowSync, possible

ENTITIES = """
entity "Note" { fields = { title = text, n = int { default = 0 } } }
entity "Sum" { fields = { n = int { default = 0 } } }
local Note, Sum = entity "Note", entity "Sum"
local function note(title) Note.new { title = title }:save() end
route "POST /send/{queue}" { run = function(req)
  local q = req.query
  return { id = send(req.params.queue, req.json, { key = q.key, delay = q.delay, timeout = q.timeout,
    attempts = q.attempts and math.tointeger(tonumber(q.attempts)), backoff = q.backoff }) }
end }
"""


class Hook(http.server.BaseHTTPRequestHandler):
    """What a handler calls: /slow waits until it is let go, /nap a moment, /kill ends the node, /seen/X counts."""

    def do_GET(self):
        test = self.server.test
        with test.lock:
            test.calls.append(self.path)
        if self.path.startswith("/slow"):
            test.go.wait(30)
        if self.path.startswith("/nap"):
            time.sleep(0.1)
        if self.path.startswith("/kill") and test.armed:
            test.server.process.send_signal(signal.SIGKILL)
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *args):
        pass


class Outside(http.server.ThreadingHTTPServer):
    daemon_threads, request_queue_size = True, 1024

    def handle_error(self, request, client_address):
        pass  # who asked has been killed, or waits no more


class HandlersCase(Case):
    def setUp(self):
        super().setUp()
        self.lock, self.calls, self.go, self.armed = threading.Lock(), [], threading.Event(), True
        self.addCleanup(self.go.set)

    def outside(self):
        s = Outside(("127.0.0.1", 0), Hook)
        s.test = self
        threading.Thread(target=s.serve_forever, daemon=True).start()
        self.addCleanup(s.server_close)
        self.addCleanup(s.shutdown)
        return f"http://127.0.0.1:{s.server_port}"

    def serve(self, text, *args, **kw):
        self.write("app/main.lua", ENTITIES + text)
        return self.again(*args, **kw)

    def again(self, *args, **kw):
        self.server = self.node("--scripts", self.path("app"), "--http.allow", "127.0.0.1", *args, **kw)
        self.ask = self.server.client()
        return self.server

    def send(self, queue, body, **options):
        query = "&".join(f"{k}={v}" for k, v in options.items())
        a = self.ask("POST", f"/send/{queue}?{query}", json.dumps(body))
        self.assertEqual(a.status, 200, a.body)
        return a.json["id"]

    def titles(self):
        a = self.ask("GET", "/api/note?pageSize=200&fields=title")
        self.assertEqual(a.status, 200, a.body)
        return sorted(n["title"] for n in a.json)

    def until(self, want, seconds=20):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            got = self.titles()
            if got == sorted(want):
                return
            time.sleep(0.02)
        self.assertEqual(got, sorted(want), self.server.text[-3000:])

    def until_calls(self, count, seconds=20):
        end = time.monotonic() + seconds
        while len(self.calls) < count and time.monotonic() < end:
            time.sleep(0.02)
        self.assertEqual(len(self.calls), count)


class Ends(HandlersCase):
    def test_what_a_handler_is_given_and_what_it_saves_and_sends(self):
        self.serve("""
            queue "second" { attempts = 2, backoff = "1s" }
            on "queue/first" { run = function(m, ctx)
              note(json.encode({ m, ctx.queue, ctx.key, ctx.attempt, ctx.tenant, type(ctx.deadline) }))
              send("second", { from = ctx.id, correlation = ctx.correlation }, { headers = { a = "b" } })
            end }
            on "queue/second" { run = function(m, ctx)
              note(tostring(m.correlation == ctx.correlation) .. " " .. ctx.headers.a .. " " .. #m.from)
            end }
        """)
        self.send("first", {"a": [1, None, "x"]}, key="k")
        self.until(['[{"a":[1,null,"x"]},"first","k",1,"default","number"]', "true b 36"])

    def test_what_is_said_with_a_message_is_what_it_has(self):
        self.serve("""
            queue "q" {}
            route "POST /go" { run = function(req) return { id = send("q", req.json.body, req.json.options) } end }
        """)

        def go(body, status=200, **options):
            a = self.ask("POST", "/go", {"body": body, "options": options})
            self.assertEqual(a.status, status, a.body)
            return a.json["id"] if status == 200 else a.json["detail"]

        def look(id):
            return self.ask("GET", "/api/queues/%2F/q/messages/" + id).json

        def lease(**more):
            return [m["id"] for m in self.ask("POST", "/api/queues/%2F/q/lease", {"max": 9, "wait": 0, **more}).json["messages"]]
        later = go(1, run_at="2101-02-03T04:05:06.007Z", lane="bulk", priority=9, attempts=7)
        m = look(later)
        self.assertEqual((m["state"], m["run_at"], m["lane"], m["priority"], m["attempts"]),
                         ("scheduled", "2101-02-03T04:05:06.007Z", "bulk", 9, 7))
        needs = go(2, needs={"gpu": 2, "zone": "eu"})
        self.assertEqual((lease(), lease(labels={"gpu": 1, "zone": "eu"}), lease(labels={"gpu": 2})), ([], [], []))
        self.assertEqual(lease(labels={"gpu": 2, "zone": "eu"}), [needs])
        self.assertEqual(self.ask("POST", "/api/queues/%2F/q/pause").status, 200)
        self.assertEqual(self.ask("POST", "/api/gates/shut/close", {"delay": "1h"}).status, 204)
        ids = [go(3, ttl="300ms"), go(4, ttl="1h"), go(5, gate="shut", deadline="400ms"), go(6, gate="shut", deadline="1h")]
        end = time.monotonic() + 10
        while (got := [look(i).get("reason") for i in ids]) != (want := ["expired", None, "deferred_too_long", None]):
            self.assertLess(time.monotonic(), end, (got, want))
            time.sleep(0.05)
        headers = {f"h{i:02}": "" for i in range(64)}
        headers["h00"] = "x" * ((16 << 10) - len(json.dumps(headers, separators=(",", ":"))))
        self.assertEqual(look(go(7, headers=headers))["headers"], headers)
        at = len(self.server.logs)
        go(8, 500, headers={f"h{i}": "" for i in range(65)})  # the route's fault: the log has it
        self.server.wait_log("at most 64", start=at)
        headers["h01"] = "x"
        self.assertIn("at most 16384 bytes", go(9, 413, headers=headers))

    def test_what_a_failed_handler_wrote_or_sent_never_happened(self):  # U3
        self.serve("""
            queue "dead" {}
            queue "work" { attempts = 3, backoff = { "100ms" }, dead_to = "dead" }
            queue "other" {}
            on "queue/other" { run = function(m) note("other " .. m) end }
            on "queue/work" { run = function(m, ctx)
              note("never")
              send("other", "never")
              tx(function() note("inner " .. ctx.attempt) end)
              if m == "reject" then ctx:reject("bad address") end
              error("no luck")
            end }
            on "queue/dead" { run = function(m, ctx) note("dead " .. m .. " " .. ctx.queue) end }
        """)
        self.send("work", "a")
        self.until(["inner 1", "inner 2", "inner 3", "dead a dead"])
        self.assertRegex(self.server.wait_log("attempt=3"), r"queue/work: main\.lua:\d+: no luck attempt=3 message=\S+ correlation=")
        self.send("work", "reject")
        self.until(["inner 1", "inner 1", "inner 2", "inner 3", "dead a dead", "dead reject dead"])

    def test_snooze_release_nack_and_ack_end_the_run_where_they_stand(self):
        self.serve("""
            on "queue/work" { attempts = 2, run = function(m, ctx)
              if m == "ack" then note("acked") ctx:ack() end
              if ctx.deliveries < 4 then ctx:snooze("100ms") end
              if ctx.deliveries < 6 then ctx:release() end
              if ctx.attempt == 1 then ctx:nack("50ms") end
              note("try " .. ctx.attempt .. " after " .. ctx.deliveries)
            end }
        """)
        self.send("work", "ack")
        self.send("work", "x")
        self.until(["acked", "try 2 after 7"])

    def test_backoff_closes_the_gate_for_all_and_uses_no_try(self):
        self.serve("""
            on "queue/work" { attempts = 1, gate = "smtp", run = function(m, ctx)
              if m == "busy" and ctx.deliveries == 1 then ctx:backoff("smtp", "1500ms") end
              note(m .. " try " .. ctx.attempt)
            end }
        """)
        began = time.monotonic()
        self.send("work", "busy")
        time.sleep(0.3)
        self.send("work", "behind")
        self.assertEqual(self.titles(), [])
        self.until(["busy try 1", "behind try 1"])
        self.assertGreater(time.monotonic() - began, 1.4)

    def test_what_a_handler_returns_is_its_result_and_one_that_is_none_is_a_failed_try(self):
        self.serve("""
            queue "dead" {}
            queue "work" { attempts = 1, dead_to = "dead", keep = { completed = "1h" } }
            on "queue/work" { run = function(m)
              note("done " .. m)
              if m == "big" then return string.rep("x", 256 * 1024) end
              if m == "none" then return { f = print } end
              return { of = m }
            end }
            on "queue/dead" { run = function(m) note("dead " .. m) return { again = m } end }
        """)
        for m in ("big", "none", "a"):
            self.send("work", m)
        self.until(["dead big", "dead none", "done a"])
        self.assertIn("what a handler returns is at most 256 KiB", self.server.text)

    def test_a_conflict_is_run_again_at_once_and_nothing_is_lost(self):
        self.serve("""
            on "queue/add" { concurrency = 16, attempts = 50, backoff = { "10ms" }, run = function(m)
              local s = Sum.get("s") or Sum.new { id = "s" }
              s.n = s.n + 1
              s:save()
            end }
            route "POST /many" { run = function() for i = 1, 200 do send("add", i) end end }
        """)
        self.ask("POST", "/many")
        end = time.monotonic() + 40
        while time.monotonic() < end:
            a = self.ask("GET", "/api/sum/s")
            if a.status == 200 and a.json["n"] == 200:
                break
            time.sleep(0.05)
        self.assertEqual(a.json["n"], 200, self.server.text[-2000:])


class Refusals(HandlersCase):
    def test_a_send_says_what_is_wrong_and_leaves_nothing(self):
        self.serve("""
            queue "small" { max = 1 }
            route "POST /bad/{kind}" { run = function(req)
              note("never")
              local bad = {
                queue = function() send("nowhere", 1) end, option = function() send("small", 1, { dely = "1s" }) end,
                big = function() send("small", string.rep("x", 1 << 20)) end, both = function() send("small", 1, { delay = 1, run_at = 1 }) end,
                full = function() send("small", 1) send("small", 2) end, hook = function() send("small", function() end) end,
                gate = function() send("small", 1, { gate = { "a", "a" } }) end,
              }
              bad[req.params.kind]()
            end }
        """)
        for kind, status, words in (("queue", 500, "there is no queue 'nowhere'; declare it"), ("option", 500, "did you mean 'delay'"),
                                    ("big", 413, "raise its body_max"), ("both", 500, "delay or run_at"), ("full", 429, "is full"),
                                    ("hook", 400, "function"), ("gate", 500, "named twice")):
            at = len(self.server.logs)
            a = self.ask("POST", "/bad/" + kind)
            self.assertEqual(a.status, status, a.body)
            if status == 500:  # what the script does wrong is for the log
                self.assertIn(words, self.server.wait_log(a.headers["X-Correlation-ID"], start=at))
            else:
                self.assertIn(words, a.json["detail"])
        self.assertEqual(self.titles(), [])

    def test_a_hook_cannot_send(self):
        self.serve("""
            queue "q" {}
            entity "Watched" { fields = { a = int }, before_save = function(e) send("q", e.a) end }
        """)
        a = self.ask("POST", "/api/watched", {"a": 1})
        self.assertEqual(a.status, 422, a.body)
        self.assertIn("a hook shapes or refuses its own record", a.json["detail"])


class Harm(HandlersCase):
    def test_one_that_loops_or_eats_memory_or_never_returns_ends_after_its_tries(self):  # Q3 U1
        url = self.outside()
        self.serve(f"""
            queue "dead" {{}}
            queue "bad" {{ attempts = 2, backoff = {{ "50ms" }}, timeout = "1s", dead_to = "dead" }}
            on "queue/bad" {{ run = function(m)
              note("never")
              while m == "loop" do end
              local t = {{}}
              while m == "eat" do t[#t + 1] = string.rep("x", 1 << 20) .. #t end
              if m == "wait" then http.get("{url}/slow", {{ timeout = "2s" }}) end
            end }}
            on "queue/dead" {{ run = function(m) note("dead " .. m) end }}
            on "queue/good" {{ run = function(m) note("good " .. m) end }}
            route "GET /alive" {{ run = function() return "yes" end }}
        """, "--script.threads", "1")
        for m in ("loop", "eat", "wait"):
            self.send("bad", m)
        slowest = 0
        for i in range(20):
            began = time.monotonic()
            self.assertEqual(self.ask("GET", "/alive").status, 200)
            slowest = max(slowest, time.monotonic() - began)
            self.send("good", str(i))
            time.sleep(0.05)
        self.assertLess(slowest, 2)
        self.until([f"good {i}" for i in range(20)] + ["dead loop", "dead eat", "dead wait"], 40)

    def test_one_that_kills_the_process_is_discarded_after_its_tries(self):  # Q3
        url = self.outside()
        text = f"""
            queue "dead" {{}}
            queue "work" {{ attempts = 2, backoff = {{ "100ms" }}, dead_to = "dead" }}
            on "queue/work" {{ run = function(m) http.get("{url}/kill") note("never") end }}
            on "queue/dead" {{ run = function(m, ctx) note("dead " .. m) end }}
        """
        self.serve(text, "--work.lease", "1s")
        self.send("work", "bomb")
        for _ in range(2):
            self.server.process.wait(30)
            self.server.kill()
            self.again("--work.lease", "1s")
        self.until(["dead bomb"], 40)
        self.assertEqual(self.calls, ["/kill", "/kill"])

    def test_new_work_is_begun_while_hundreds_wait(self):  # Q7
        url = self.outside()
        self.serve(f"""
            on "queue/slow" {{ run = function(m) http.get("{url}/slow/" .. m) note("slow") end }}
            on "queue/fast" {{ run = function(m) note("fast " .. m) end }}
            route "POST /many" {{ run = function() for i = 1, 200 do send("slow", i) end end }}
        """, "--script.threads", "1", "--work.concurrency", "210")
        self.ask("POST", "/many")
        self.until_calls(200)
        self.send("fast", "a")
        self.send("fast", "b", delay="0.2")
        self.until(["fast a", "fast b"])
        self.go.set()
        end = time.monotonic() + 20
        while time.monotonic() < end and self.ask("GET", "/api/note?count=exact&pageSize=1").headers.get("X-Total-Count") != "202":
            time.sleep(0.05)
        self.assertEqual(self.ask("GET", "/api/note?count=exact&pageSize=1").headers.get("X-Total-Count"), "202")


class Slots(HandlersCase):
    def serve_slow(self, *args):
        url = self.outside()
        self.serve(f"""
            on "queue/slow" {{ run = function(m) http.get("{url}/slow/" .. m) end }}
            route "POST /many" {{ run = function(req) for i = 1, req.json do send("slow", i) end end }}
        """, *args)

    def executing(self, count):
        self.until_calls(count)
        time.sleep(0.5)
        self.assertEqual(len(self.calls), count)
        self.assertEqual(self.ask("GET", "/api/queues/default/slow").json["messages_unacknowledged"], count)

    def test_a_node_works_16_messages_a_core_and_at_most_256(self):
        slots = min(16 * os.sysconf("SC_NPROCESSORS_ONLN"), 256)
        self.serve_slow()
        self.ask("POST", "/many", slots + 20)
        self.executing(slots)
        code, said = self.fails("--work.concurrency", "257", data="other")
        self.assertEqual(code, 2)
        self.assertIn("work.concurrency: must be from 0 to 256", said)

    def test_slots_are_a_setting_and_live(self):
        self.serve_slow("--work.lease", "3s")
        self.assertEqual(self.ask("PUT", "/api/cluster/settings/work.concurrency", {"value": 3}).status, 200)
        time.sleep(1)  # the node looks at it each twelfth of its lease
        self.ask("POST", "/many", 20)
        self.executing(3)
        self.assertEqual(self.ask("PUT", "/api/cluster/settings/work.concurrency", {"value": 9}).status, 200)
        self.executing(9)


class Merging(HandlersCase):
    def bodies(self, queue):
        return [m["body"] for m in self.ask("GET", f"/api/queues/default/{queue}/messages?limit=100").json["items"]]

    def test_a_unique_message_is_merged_with_the_one_that_waits(self):
        self.serve("""
            queue "sums" {}
            queue "other" {}
            local merge = { unique = { key = "u", mode = "merge" } }
            route "POST /two" { run = function(req)
              return tx(function()
                local a = send("sums", { a = 1, gone = 1 }, merge)
                local b = send("sums", { b = 1, gone = json.null }, merge)
                send("other", "x")
                note("two")
                return { same = a == b }
              end)
            end }
            on "queue/work" { concurrency = 3, run = function(m) send("sums", { ["m" .. m] = m }, merge) note("done " .. m) end }
            route "POST /many" { run = function() for i = 1, 40 do send("work", i) end end }
        """)
        lone = """local body = ...
            local id, sent = send("sums", body, { unique = { key = "u", mode = "merge" } })
            return { id = id, merged = sent.merged, depth = sent.depth, waits = sent.oldest_age_seconds > 0 }"""
        first = self.ask("POST", "/api/cluster/run", {"text": lone, "args": [{"x": 1}]}).json
        self.assertTrue(first["ok"], first)
        self.assertEqual({k: first["result"][k] for k in ("merged", "depth", "waits")}, {"merged": False, "depth": 1, "waits": False})
        time.sleep(0.01)
        second = self.ask("POST", "/api/cluster/run", {"text": lone, "args": [{"y": [2]}]}).json
        self.assertEqual(second["result"], {"id": first["result"]["id"], "merged": True, "depth": 1, "waits": True})
        self.assertEqual(self.bodies("sums"), [{"x": 1, "y": [2]}])
        a = self.ask("POST", "/two")
        self.assertEqual((a.status, a.json), (200, {"same": True}), a.body)
        self.assertEqual(self.bodies("sums"), [{"x": 1, "y": [2], "a": 1, "b": 1}])
        self.assertEqual(self.bodies("other"), ["x"])
        self.ask("POST", "/many")
        self.until(["two"] + [f"done {i}" for i in range(1, 41)], 60)
        self.assertEqual(self.bodies("sums"), [{"x": 1, "y": [2], "a": 1, "b": 1, **{f"m{i}": i for i in range(1, 41)}}])


class Crash(HandlersCase):
    def test_effects_and_ack_are_one_though_the_node_is_killed_at_any_moment(self):  # L1 L4
        text = """
            on "queue/add" { attempts = 100, backoff = { "10ms" }, run = function(m)
              if Note.get("n" .. m) then note("twice") end
              Note.new { id = "n" .. m, title = "x" }:save()
              send("next", m)
            end }
            on "queue/next" { attempts = 100, run = function(m)
              if Sum.get("s" .. m) then note("twice") end
              Sum.new { id = "s" .. m, n = 1 }:save()
            end }
            queue "next" {}
            route "POST /many/{from}" { run = function(req)
              local from = math.tointeger(tonumber(req.params.from))
              for i = from, from + 99 do send("add", i) end
            end }
        """
        self.serve(text, "--work.lease", "1s")
        dice = random.Random(7)
        sent = 0
        for _ in range(3):
            for _ in range(3):
                self.assertEqual(self.ask("POST", f"/many/{sent}").status, 204)
                sent += 100
            time.sleep(dice.uniform(0.0, 0.15))
            self.server.kill()
            self.again("--work.lease", "1s")

        def count(name, want):
            a = self.ask("GET", f"/api/{name}?count=exact&pageSize=1")
            return a.headers.get("X-Total-Count") == str(want)
        end = time.monotonic() + 60
        while time.monotonic() < end and not (count("note", sent) and count("sum", sent)):
            time.sleep(0.1)
        self.assertTrue(count("note", sent) and count("sum", sent), self.server.text[-2000:])
        self.assertNotIn("twice", self.titles())

    def test_what_a_killed_node_executed_is_tried_again_when_it_is_back(self):  # Q3
        text = """on "queue/work" { backoff = { "50ms" }, timeout = "60s",
                     run = function(m, ctx) note("try " .. ctx.attempt) tx(function() end) if ctx.attempt == 1 then while true do end end end }"""
        self.serve(text)
        self.send("work", "x")
        time.sleep(0.5)
        self.server.kill()
        began = time.monotonic()
        self.again()
        self.until(["try 2"])
        self.assertLess(time.monotonic() - began, 8)  # its lease lasts 30 s

    def test_what_comes_after_a_kill_goes_to_who_lives_at_once_and_with_its_first_try(self):
        self.serve("""
            queue "out" {}
            on "queue/work" { run = function(m, ctx) note(m .. " " .. ctx.attempt) end }
        """)
        self.send("work", "before")
        self.until(["before 1"])
        lease = "/api/queues/default/out/lease"
        pollers = [self.server.client() for _ in range(3)]

        def poll(client):
            try:
                client("POST", lease, {"max": 5, "wait": "20s"})
            except OSError:
                pass  # killed
            except http.client.HTTPException:
                pass
        threads = [threading.Thread(target=poll, args=(c,)) for c in pollers]
        for t in threads:
            t.start()
        self.send("work", "due", delay="0.5")
        self.send("out", "due", delay="0.5")
        time.sleep(0.2)
        self.server.kill()
        for t in threads:
            t.join(10)
        time.sleep(0.5)  # it becomes due while nobody is there
        self.again()
        begun = time.monotonic()
        self.send("work", "after")
        self.send("out", "after")
        self.until(["before 1", "due 1", "after 1"], 3)
        got = self.ask("POST", lease, {"max": 5, "wait": "3s"}).json["messages"]
        self.assertEqual([(m["body"], m["attempt"]) for m in got], [("due", 1), ("after", 1)])
        self.assertLess(time.monotonic() - begun, 3)


class Order(HandlersCase):
    def test_messages_of_a_key_are_worked_one_at_a_time_in_the_order_of_sending(self):  # Q5
        self.serve("""
            on "queue/work" { attempts = 5, backoff = { "20ms" }, run = function(m, ctx)
              if m % 7 == 0 and ctx.attempt == 1 then error("once more") end
              local s = Sum.get(ctx.key) or Sum.new { id = ctx.key }
              if s.n ~= m - 1 then note("after " .. s.n .. " came " .. m) end
              s.n = m
              s:save()
            end }
            route "POST /many" { run = function()
              for i = 1, 30 do for _, k in ipairs { "a", "b", "c" } do send("work", i, { key = k, priority = i % 3 }) end end
            end }
        """)
        self.ask("POST", "/many")
        end = time.monotonic() + 30
        while time.monotonic() < end and [self.ask("GET", "/api/sum/" + k).body.count(b'"n":30') for k in "abc"] != [1, 1, 1]:
            time.sleep(0.05)
        self.assertEqual(self.titles(), [])
        self.assertEqual([self.ask("GET", "/api/sum/" + k).json["n"] for k in "abc"], [30, 30, 30])

    def test_a_run_within_its_timeout_is_not_begun_a_second_time(self):  # Q4
        url = self.outside()
        self.serve(f"""
            on "queue/work" {{ timeout = "30s", run = function(m, ctx)
              http.get("{url}/slow", {{ timeout = "20s" }})
              note("try " .. ctx.attempt .. " of " .. ctx.deliveries)
            end }}
        """, "--work.lease", "1s")
        self.send("work", 1)
        time.sleep(4)  # four leases long
        self.go.set()
        self.until(["try 1 of 1"])
        self.assertEqual(len(self.calls), 1)

    @unittest.skipUnless(possible(), "the filter is written for Linux on x86-64")
    def test_a_run_whose_lease_cannot_be_renewed_is_stopped_before_it_is_over(self):  # Q4
        url, lease = self.outside(), 3
        disk = SlowSync(self.path("supervisor"))
        self.addCleanup(disk.close)
        self.serve(f"""
            queue "work" {{ backoff = "1s" }}
            on "queue/work" {{ timeout = "60s", run = function(m, ctx)
              for _ = 1, ctx.attempt == 1 and 1000 or 0 do http.get("{url}/nap") end
              note("try " .. ctx.attempt .. " of " .. ctx.deliveries)
            end }}
        """, "--work.lease", f"{lease}s", prefix=disk.prefix)
        self.send("work", 1)
        time.sleep(1.5 * lease)  # it is renewed, at a third
        self.assertNotIn("renewed", self.server.text)
        disk.gate.clear()
        began, calls = time.monotonic(), len(self.calls)
        self.server.wait_log("queue/work: its lease could not be renewed attempt=1", 2 * lease)
        self.assertLess(time.monotonic() - began, lease)
        self.assertGreater(len(self.calls), calls)
        calls = len(self.calls)
        time.sleep(0.5)
        self.assertEqual(len(self.calls), calls)
        disk.gate.set()
        self.until(["try 2 of 2"])

    def test_the_story_of_a_request_goes_on_in_the_handlers(self):  # O2
        self.serve("""
            on "queue/first" { run = function(m) send("second", m) end }
            on "queue/second" { run = function(m) note("end") end }
        """)
        a = self.ask("POST", "/send/first", "1", {"X-Correlation-ID": "story-1"})
        self.assertEqual(a.status, 200, a.body)
        self.until(["end"])
        end, names = time.monotonic() + 10, set()
        while time.monotonic() < end and not {"queue/first", "queue/second"} <= names:
            a = self.ask("GET", "/api/timeline/story-1")
            names = {e.get("name") for e in a.json["events"]} if a.status == 200 else set()
            time.sleep(0.05)
        self.assertLessEqual({"queue/first", "queue/second"}, names)


class Checks(HandlersCase):
    def test_a_test_runs_a_handler_and_sees_how_it_ends(self):
        self.write("app/main.lua", ENTITIES + """
            queue "other" {}
            on "queue/work" { run = function(m, ctx)
              note("never")
              if m == "reject" then ctx:reject("bad address") end
              if m == "snooze" then ctx:snooze("10m") end
              if m == "busy" then ctx:backoff("smtp", "1m") end
              if m == "nack" then ctx:nack("5s") end
              if m == "error" then error("no luck") end
              Note.new { id = "n", title = ctx.queue .. ctx.attempt .. ctx.key .. ctx.headers.a }:save()
              send("other", m)
            end }
        """)
        self.write("app/main_test.lua", """
            test("ends", function(t)
              local function ends(m, o) return t.deliver("work", m, o) end
              t.equal(ends("reject"), { outcome = "reject", reason = "bad address" })
              t.equal(ends("snooze"), { outcome = "snooze", at = t.clock() + 600000 })
              t.equal(ends("busy"), { outcome = "backoff", at = t.clock() + 60000, gate = "smtp" })
              t.equal(ends("nack"), { outcome = "nack", delay = 5000 })
              t.fails(function() ends("error") end, "no luck")
              t.fails(function() t.deliver("nowhere", 1) end, "no handler of these scripts")
              t.equal(entity("Note").count(), 0)
              t.equal(ends("x", { attempt = 2, key = 7, headers = { a = "b" } }).outcome, "ack")
              t.equal(entity("Note").get("n").title, "work27b")
              t.equal(entity("Note").count(), 2)
              send("work", 1)
            end)
        """)
        code, out, err = run("check", self.path("app"), cwd=self.dir)
        self.assertEqual(code, 0, out + err)
        self.write("app/main.lua", 'queue "x" { atempts = 1 }')
        code, out, err = run("check", self.path("app"), cwd=self.dir)
        self.assertEqual(code, 1)
        self.assertIn("did you mean 'attempts'?", out)


class Deploys(HandlersCase):
    def test_runs_under_way_end_on_the_set_that_they_began_with(self):
        url = self.outside()
        script = 'on "queue/work" { run = function(m) %s note("%s " .. m) end }'
        self.serve(script % (f'if m == "slow" then http.get("{url}/slow") end', "old"))
        self.send("work", "slow")
        self.until_calls(1)
        self.deployed(self.server, "main.lua", ENTITIES + script % ("", "new"))
        self.send("work", "next")
        self.until(["new next"])
        self.go.set()
        self.until(["new next", "old slow"])

    def test_a_queue_whose_handler_is_gone_keeps_its_messages(self):
        self.serve('on "queue/work" { run = function(m) note("worked " .. m) end }')
        self.send("work", "1")
        self.until(["worked 1"])
        self.deployed(self.server, "main.lua", ENTITIES + 'queue "work" {}')
        self.send("work", "2")
        time.sleep(0.3)
        self.assertEqual(self.titles(), ["worked 1"])
        self.deployed(self.server, "main.lua", ENTITIES + 'on "queue/work" { run = function(m) note("again " .. m) end }')
        self.until(["worked 1", "again 2"])

    def test_a_stop_hands_back_what_runs_and_uses_no_try(self):
        url = self.outside()
        self.serve(f"""
            on "queue/work" {{ attempts = 1, run = function(m, ctx)
              if ctx.deliveries == 1 then http.get("{url}/slow", {{ timeout = "60s" }}) end
              note("try " .. ctx.attempt .. " of " .. ctx.deliveries)
            end }}
        """, "--drain.timeout", "1s")
        self.send("work", "x")
        self.until_calls(1)
        self.assertEqual(self.server.stop(), 0)
        self.again()
        self.until(["try 1 of 2"])

    def test_a_message_that_has_outlived_its_part_of_the_log_is_worked(self):
        self.serve("""
            queue "bulk" {}
            on "queue/work" { run = function(m) note(m) end }
            route "POST /many" { run = function() for i = 1, 20 do send("bulk", string.rep("x", 100000)) end end }
        """, "--ledger.keep", "1s", "--ledger.keep_bytes", "1MiB", "--ledger.segment_bytes", "1MiB", "--ledger.snapshot_bytes", "1MiB")
        began = time.monotonic()
        self.send("work", "from long ago", delay="6")
        while time.monotonic() - began < 5:
            self.assertEqual(self.ask("POST", "/many").status, 204)
            time.sleep(0.6)
        logs = sorted(n for n in os.listdir(self.path("data", "log")) if re.fullmatch(r"\d+\.log", n))
        self.assertGreater(int(logs[0][:-4]), 2)
        self.until(["from long ago"])

    def test_what_waits_over_a_start_is_worked_behind_it(self):
        self.serve('queue "work" {}')
        self.send("work", "1")
        self.assertEqual(self.server.stop(), 0)
        self.write("app/main.lua", ENTITIES + 'on "queue/work" { run = function(m) note("worked " .. m) end }')
        self.again()
        self.deployed(self.server, "main.lua", ENTITIES + 'on "queue/work" { run = function(m) note("worked " .. m) end }')
        self.until(["worked 1"])
