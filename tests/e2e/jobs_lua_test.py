"""Jobs in Lua: steps, sleeps and waits outlive what happens to their node; ends, chains and fan-outs happen once."""
import json
import random
import time

from e2e.handlers_test import ENTITIES, HandlersCase
from e2e.node import run

SUBMIT = """
route "POST /run/{job}" { run = function(req)
  return { id = job(req.params.job):submit(req.json, { delay = req.query.delay, unique = req.query.unique }) }
end }
"""


class JobsCase(HandlersCase):
    def serve(self, text, *args):
        return super().serve(SUBMIT + text, *args)

    def submit(self, job, args=None, **options):
        query = "&".join(f"{k}={v}" for k, v in options.items())
        a = self.ask("POST", f"/run/{job}?{query}", json.dumps(args or {}))
        self.assertEqual(a.status, 200, a.body)
        return a.json["id"]

    def counts(self, job):
        a = self.ask("GET", f"/api/queues/%2F/job.{job}")
        self.assertEqual(a.status, 200, a.body)
        return a.json

    def until_counts(self, job, seconds=20, **want):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            got = {k: self.counts(job)[k] for k in want}
            if got == want:
                return
            time.sleep(0.05)
        self.assertEqual(got, want, self.server.text[-3000:])


class Runs(JobsCase):
    def test_a_run_is_given_its_args_and_says_how_it_ends(self):
        self.serve("""
            job "work" { args = { n = int { required = true }, word = text { default = "hi" } }, attempts = 2, backoff = { "50ms" },
              run = function(args, ctx)
                if args.n == 0 then ctx:reject("nothing to do") end
                if args.n == 1 and ctx.attempt == 1 then error("no luck") end
                note(json.encode({ args.n, args.word, ctx.job, ctx.attempt, ctx.scheduled_at == nil, ctx.cancelled }))
                ctx:progress(1, "done")
                ctx:log("a line")
                return { n = args.n }
              end }
        """)
        first = self.submit("work", {"n": 1})
        self.submit("work", {"n": 2, "word": "ho"})
        self.submit("work", {"n": 0})
        self.until(['[1,"hi","work",2,true,false]', '[2,"ho","work",1,true,false]'])
        self.until_counts("work", completed=2, discarded=1)
        seen = self.ask("GET", f"/api/jobs/{first}").json
        self.assertEqual((seen["state"], seen["result"], seen["log"]), ("completed", {"n": 1}, "a line\n"))
        self.assertEqual((seen["progress"]["fraction"], seen["progress"]["text"]), (1, "done"))
        self.assertIn('koan_work_run_seconds_count{kind="job"} 4', self.ask("GET", "/metrics").body.decode())
        a = self.ask("POST", "/run/work", json.dumps({"m": 1}))
        self.assertEqual(a.status, 400, a.body)
        self.assertIn("args", a.json["detail"])
        a = self.ask("POST", "/run/nowhere", "{}")
        self.assertEqual(a.status, 500, a.body)
        self.assertIn("these scripts do not declare it", self.server.wait_log(a.headers["X-Correlation-ID"]))

    def test_progress_is_stored_every_two_seconds_and_with_the_end(self):
        self.serve("""
            job "work" { run = function(args, ctx)
              for i = 1, 45 do
                ctx:progress(i / 50)
                ctx:log("line " .. i)
                local till = time.now() + 100
                while time.now() < till do end
              end
              ctx:progress(1)
            end }
        """)
        began, end = time.monotonic(), time.monotonic() + 30
        run_id, seen = self.submit("work"), []
        while time.monotonic() < end:
            r = self.ask("GET", f"/api/jobs/{run_id}").json
            seen.append((r.get("progress", {}).get("fraction"), r.get("log", "").count("\n")))
            if r["state"] == "completed":
                break
            time.sleep(0.02)
        told = sorted({s for s in seen if s[0] is not None})
        self.assertEqual(told[-1], (1, 45))
        self.assertTrue(2 <= len(told) <= (time.monotonic() - began) // 2 + 1, told)
        for fraction, lines in told[:-1]:
            self.assertIn(lines, (round(fraction * 50), round(fraction * 50) - 1))
        self.assertLess(told[0][0], 0.5)

    def test_args_are_not_merged_with_those_of_a_run_that_waits(self):
        self.serve("""
            job "work" { run = function(args) end }
            route "POST /go/{mode}" { run = function(req)
              job("work"):submit({ n = 1 }, { delay = "1h", unique = { key = "u", mode = req.params.mode } })
            end }
        """)
        for _ in range(2):
            self.assertEqual(self.ask("POST", "/go/replace").status, 204)
        a = self.ask("POST", "/go/merge")
        self.assertEqual(a.status, 500, a.body)
        o = {"job": "work", "args": {"n": 2}, "options": {"unique": "u", "unique_mode": "merge"}}
        b = self.ask("POST", "/api/jobs", o)
        self.assertEqual(b.status, 400, b.body)
        for said in (self.server.wait_log(a.headers["X-Correlation-ID"]), b.json["detail"]):
            self.assertIn("of a run it is skip or replace: args are checked as a whole, not merged", said)
        self.assertEqual(self.counts("work")["scheduled"], 1)

    def test_a_submit_in_a_unit_that_fails_leaves_nothing(self):
        self.serve("""
            job "work" { run = function(args) note("ran " .. args.n) end }
            route "POST /both/{fails}" { run = function(req)
              job("work"):submit { n = req.params.fails }
              if req.params.fails == "yes" then reject("no", "not this time") end
            end }
        """)
        self.assertEqual(self.ask("POST", "/both/yes").status, 422)
        self.assertEqual(self.ask("POST", "/both/no").status, 204)
        self.until(["ran no"])
        self.assertEqual(self.counts("work")["completed"], 1)

    def test_what_a_failed_run_wrote_outside_of_finished_steps_never_happened(self):  # U3
        self.serve("""
            job "work" { attempts = 2, backoff = { "50ms" }, run = function(args, ctx)
              note("never")
              step("kept", function() note("step") return 1 end)
              tx(function() note("tx " .. ctx.attempt) end)
              pcall(step, "broken", function() note("never") tx(function() note("never") end) error("half way") end)
              job("other"):submit {}
              error("no luck")
            end }
            job "other" { run = function() note("never") end }
        """)
        self.submit("work")
        self.until_counts("work", discarded=1)
        self.until(["step", "tx 1", "tx 2"])

    def test_new_work_is_begun_while_long_runs_are_under_way(self):  # Q7
        url = self.outside()
        self.serve(f"""
            job "long" {{ run = function(args) step("wait", function() http.get("{url}/slow/" .. args.n) end) end }}
            job "short" {{ run = function(args) note("short " .. args.n) end }}
            route "POST /many" {{ run = function() for i = 1, 50 do job("long"):submit {{ n = i }} end end }}
        """, "--script.threads", "1", "--work.concurrency", "60")
        self.ask("POST", "/many")
        self.until_calls(50)
        self.submit("short", {"n": 1})
        self.until(["short 1"])
        self.go.set()
        self.until_counts("long", completed=50)

    def test_one_that_kills_the_process_is_discarded_after_its_attempts(self):  # Q3
        url = self.outside()
        self.serve(f"""
            job "bomb" {{ attempts = 2, backoff = {{ "100ms" }}, run = function() http.get("{url}/kill") note("never") end }}
        """, "--work.lease", "1s")
        self.submit("bomb")
        for _ in range(2):
            self.server.process.wait(30)
            self.server.kill()
            self.again("--work.lease", "1s")
        self.until_counts("bomb", 40, discarded=1, messages=0)
        self.assertEqual(self.calls, ["/kill", "/kill"])
        self.assertEqual(self.titles(), [])


    def test_no_more_runs_than_it_may_have_are_under_way_though_the_node_dies(self):  # J4
        self.serve("""
            job "narrow" { concurrency = 2, attempts = 50, backoff = { "10ms" }, run = function(args)
              local till = time.now() + 100
              while time.now() < till do end
            end }
        """)
        for i in range(40):
            self.submit("narrow", {"n": i})
        most, end = 0, time.monotonic() + 30
        for kill in (True, True, False):
            stop = time.monotonic() + 0.6
            while time.monotonic() < (stop if kill else end):
                now = self.counts("narrow")
                most = max(most, now["messages_unacknowledged"])
                if now["messages"] == 0:
                    break
            if kill:
                self.server.kill()
                self.again()
        self.assertEqual(most, 2)
        self.until_counts("narrow", messages=0, completed=40, discarded=0)


class Steps(JobsCase):
    def test_a_finished_step_never_runs_again_and_an_unfinished_one_leaves_nothing(self):  # J2
        url = self.outside()
        self.serve(f"""
            job "work" {{ attempts = 10, backoff = {{ "100ms" }}, run = function(args, ctx)
              local a = step("a", function() note("a") http.get("{url}/seen/a") return {{ list = {{ 1, 2 }}, key = ctx.step_key }} end)
              step("b", function() note("b") job("other"):submit {{}} http.get("{url}/kill") end)
              local c = step("c", function() note("c") end)
              note("end " .. a.list[2] .. " " .. tostring(c) .. " " .. tostring(a.key == ctx.id .. "/a"))
            end }}
            job "other" {{ run = function() note("other") end }}
        """, "--work.lease", "1s")
        self.submit("work")
        self.server.process.wait(30)
        self.server.kill()
        self.armed = False
        self.again("--work.lease", "1s")
        self.until(["a", "b", "c", "end 2 nil true", "other"], 40)
        self.until_counts("work", completed=1)
        self.assertEqual(self.calls, ["/seen/a", "/kill", "/kill"])

    def test_names_are_taken_once_and_steps_stand_alone(self):
        self.serve("""
            job "work" { attempts = 1, run = function(args, ctx)
              step("a", function() return 1 end)
              local function says(fn) local _, e = pcall(fn) note(tostring(e):match("[^:]*$")) end
              says(function() step("a", function() end) end)
              says(function() step("b", function() step("c", function() end) end) end)
              says(function() tx(function() step("d", function() end) end) end)
              says(function() step("e", function() return print end) end)
              says(function() step("f", function() return string.rep("x", 300000) end) end)
              says(function() sleep("", "1s") end)
            end }
        """)
        self.submit("work")
        self.until_counts("work", completed=1)
        words = "\n".join(self.titles())
        for part in ("takes a number", "not inside a step", "not inside tx", "256 KiB", "1 to 128 bytes"):
            self.assertIn(part, words)

    def test_what_was_logged_before_a_conflict_is_kept(self):
        at = self.outside()
        self.serve("""
            local tries = 0
            job "work" { attempts = 1, run = function(args, ctx)
              ctx:log("before")
              step("add", function()
                local s = Sum.get("s")
                tries = tries + 1
                ctx:log("try " .. tries)
                if tries == 1 then http.get(args.at .. "/slow") end
                s.n = s.n + 1
                s:save()
              end)
            end }
        """)
        self.assertEqual(self.ask("PUT", "/api/sum/s", json.dumps({"n": 1})).status, 201)
        id = self.submit("work", {"at": at})
        self.until_calls(1)
        self.assertEqual(self.ask("PATCH", "/api/sum/s", json.dumps({"n": 5})).status, 200)
        self.go.set()
        self.until_counts("work", completed=1)
        self.assertEqual(self.ask("GET", "/api/sum/s").json["n"], 6)
        self.assertEqual(self.ask("GET", f"/api/jobs/{id}").json["log"], "before\ntry 1\ntry 2\n")

    def test_a_list_with_holes_is_refused_by_submit_all(self):
        self.serve("""
            job "fan" { attempts = 1, run = function(args, ctx)
              local list = { { job = "child" }, { job = "child" }, { job = "child" } }
              list[2] = nil
              local _, e = pcall(ctx.submit_all, ctx, list, { on_done = "joined" })
              note(tostring(e):match("without holes: item %d"))
            end }
            job "child" { run = function() end }
            job "joined" { run = function() end }
        """)
        self.submit("fan")
        self.until(["without holes: item 2"])
        self.until_counts("fan", completed=1)

    def test_a_sleep_outlives_a_restart_holds_no_slot_and_uses_no_try(self):
        self.serve("""
            job "work" { concurrency = 1, attempts = 1, run = function(args, ctx)
              step("a", function() note("a" .. args.n) end)
              sleep("nap", args.nap)
              note("awake " .. args.n .. " try " .. ctx.attempt)
            end }
        """)
        began = time.monotonic()
        self.submit("work", {"n": 1, "nap": "3s"})
        self.submit("work", {"n": 2, "nap": "10ms"})
        self.until(["a1", "a2", "awake 2 try 1"])
        self.server.kill()
        self.again()
        self.until(["a1", "a2", "awake 1 try 1", "awake 2 try 1"])
        self.assertGreater(time.monotonic() - began, 2.9)

    def test_steps_of_a_discarded_run_are_undone_the_last_first(self):
        self.serve("""
            local Log = entity "Log" { fields = { text = text } }
            local function say(text) Log.new { text = text }:save() end
            job "work" { attempts = 2, backoff = { "50ms" }, run = function(args, ctx)
              local a = step("a", function() return "x" end, { undo = function(r) say("undo a " .. r .. " " .. ctx.step_key:match("/.*")) end })
              step("b", function() say("b") end)
              note("never")
              local c = step("c", function() return 3 end, { undo = function(r)
                say("undo c " .. r)
                if ctx.attempt == 1 then error("not yet") end
              end })
              error("no luck")
            end }
        """)
        self.submit("work")
        end = time.monotonic() + 20
        while time.monotonic() < end:
            a = self.ask("GET", "/api/log?sort=created_at,id")
            texts = [x["text"] for x in a.json]
            if len(texts) == 3:
                break
            time.sleep(0.05)
        self.assertEqual(texts, ["b", "undo c 3", "undo a x /a/undo"], self.server.text[-3000:])
        self.assertEqual(self.titles(), [])


class Waits(JobsCase):
    WAITER = """
        job "order" { concurrency = 1, attempts = 1, run = function(args, ctx)
          step("begin", function() note("begin " .. args.id) end)
          local body, m = wait_for("paid", "payment.*", { key = args.id, timeout = args.timeout })
          step("end", function() note("end " .. args.id .. " " .. (body and body.sum .. " " .. m.topic .. " " .. m.key or "late")) end)
          note("try " .. ctx.attempt)
        end }
    """

    def pay(self, order):
        a = self.ask("POST", f"/api/topics/payment.settled?key={order}", json.dumps({"sum": 7}))
        self.assertEqual(a.status, 202, a.body)

    def test_a_run_waits_for_its_message_over_a_restart_and_holds_no_slot(self):
        self.serve(self.WAITER)
        for name in ("a", "b", "c"):
            self.submit("order", {"id": name, "timeout": "1h"})
        self.until(["begin a", "begin b", "begin c"])
        self.until_counts("order", scheduled=3)
        self.pay("b")
        self.until(["begin a", "begin b", "begin c", "end b 7 payment.settled b", "try 1"])
        self.server.kill()
        self.again()
        self.pay("a")
        self.pay("nobody")
        self.until(["begin a", "begin b", "begin c", "end a 7 payment.settled a", "end b 7 payment.settled b", "try 1", "try 1"])
        self.until_counts("order", scheduled=1, completed=2)

    def test_one_that_is_retried_waits_on_and_one_that_was_over_waits_anew(self):
        self.serve(self.WAITER)
        alive, dead = self.submit("order", {"id": "a", "timeout": "1h"}), self.submit("order", {"id": "b", "timeout": "1h"})
        self.until_counts("order", scheduled=2)
        self.assertEqual(self.ask("POST", f"/api/jobs/{alive}/retry").status, 200)
        self.assertEqual(self.ask("POST", f"/api/jobs/{dead}/cancel").status, 200)
        self.until_counts("order", scheduled=1, cancelled=1)
        time.sleep(4)
        self.pay("b")  # nobody waits for it
        self.assertEqual(self.ask("POST", f"/api/jobs/{dead}/retry").status, 200)
        self.until_counts("order", scheduled=2, cancelled=0)
        self.assertEqual(self.ask("GET", f"/api/jobs/{alive}").json["deliveries"], 2)
        self.pay("a")
        self.pay("b")
        self.until(["begin a", "begin b", "end a 7 payment.settled a", "end b 7 payment.settled b", "try 1", "try 1"])

    def test_one_whose_message_does_not_come_in_time_goes_on_without(self):
        self.serve(self.WAITER)
        self.submit("order", {"id": "a", "timeout": "1s"})
        self.until(["begin a", "end a late", "try 1"])


class Ends(JobsCase):
    def test_a_chain_and_a_fan_out_are_neither_cut_nor_doubled_by_kills(self):  # J3
        self.serve("""
            local function once(id) if Note.get(id) then note("twice " .. id) end Note.new { id = id, title = "x" }:save() end
            job "first" { attempts = 100, backoff = { "10ms" }, chain = { "second", "third" }, run = function(args) once("first" .. args.n) end }
            job "second" { attempts = 100, backoff = { "10ms" }, run = function(args) once("second" .. args.n) end }
            job "third" { attempts = 100, backoff = { "10ms" }, run = function(args) once("third" .. args.n) end }
            job "fan" { attempts = 100, backoff = { "10ms" }, run = function(args, ctx)
              local list = {}
              for i = 1, 5 do list[i] = { job = "child", args = { n = args.n .. "-" .. i } } end
              ctx:submit_all(list, { on_done = "joined", args = { n = args.n } })
            end }
            job "child" { attempts = 100, backoff = { "10ms" }, run = function(args) once("child" .. args.n) end }
            job "joined" { attempts = 100, backoff = { "10ms" }, run = function(args)
              once("joined" .. args.n)
              if args.counts.completed ~= 5 then note("counts " .. json.encode(args.counts)) end
            end }
            route "POST /many/{from}" { run = function(req)
              local from = math.tointeger(tonumber(req.params.from))
              for i = from, from + 19 do job("first"):submit { n = i } job("fan"):submit { n = i } end
            end }
        """, "--work.lease", "1s")
        dice, sent = random.Random(11), 0
        for _ in range(3):
            self.assertEqual(self.ask("POST", f"/many/{sent}").status, 204)
            sent += 20
            time.sleep(dice.uniform(0.02, 0.25))
            self.server.kill()
            self.again("--work.lease", "1s")
        want = sent * (3 + 5 + 1)
        end = time.monotonic() + 90
        while time.monotonic() < end:
            a = self.ask("GET", "/api/note?count=exact&pageSize=1")
            if a.headers.get("X-Total-Count") == str(want):
                break
            time.sleep(0.1)
        self.assertEqual(a.headers.get("X-Total-Count"), str(want), self.server.text[-3000:])
        time.sleep(1)
        a = self.ask("GET", "/api/note?count=exact&pageSize=1")
        self.assertEqual(a.headers.get("X-Total-Count"), str(want))
        self.assertEqual({t for t in self.titles()}, {"x"})

    def test_an_end_waits_for_the_closed_queue_of_what_follows_and_nothing_runs_twice(self):  # J3
        self.serve("""
            local runs = 0
            job "reads" { attempts = 1, chain = "next", run = function() runs = runs + 1 return runs end }
            local wrote = 0
            job "writes" { attempts = 1, chain = "next", run = function(args)
              wrote = wrote + 1
              note("wrote " .. wrote)
            end }
            job "next" { run = function() note("next") end }
        """)
        self.ask("PUT", "/api/queues/%2F/job.next", json.dumps({}))
        closed = self.ask("POST", "/api/queues/%2F/job.next/close")
        self.assertEqual(closed.status, 200, closed.body)
        reads, writes = self.submit("reads"), self.submit("writes")
        time.sleep(3)
        self.until_counts("reads", messages_unacknowledged=1)
        self.until_counts("writes", messages_unacknowledged=1)
        self.assertEqual(self.ask("POST", "/api/queues/%2F/job.next/open").status, 200)
        self.until(["next", "next", "wrote 1"])
        self.until_counts("reads", completed=1)
        self.until_counts("writes", completed=1)
        self.assertEqual(self.ask("GET", f"/api/jobs/{reads}").json["result"], 1)
        self.assertEqual([self.ask("GET", f"/api/jobs/{i}").json["attempt"] for i in (reads, writes)], [1, 1])

    def test_a_submit_says_its_own_chain(self):  # J3
        self.serve("""
            job "a" { chain = "never", attempts = 1, run = function(args) note("a") if args.fail then error("no luck") end end }
            job "b" { run = function(args) note("b" .. args.n) end }
            job "c" { run = function(args) note("c" .. args.n) end }
            job "never" { run = function() note("never") end }
            route "POST /go" { run = function(req)
              job("a"):submit({ n = 1 }, { chain = { "b", "c" } })
              job("a"):submit({ n = 2 }, { chain = {} })
              job("a"):submit({ n = 3, fail = true }, { chain = "b" })
              job("a"):submit({ n = 4, fail = true }, { chain = "b", on_failure = "continue" })
            end }
            route "POST /wrong" { run = function(req) job("a"):submit({}, req.json) end }
        """)
        self.assertEqual(self.ask("POST", "/go", "{}").status, 204)
        self.until_counts("c", completed=1)
        self.until_counts("b", completed=2)
        self.until(["a", "a", "b1", "b4", "c1"])
        for options, words in (('{"chain": "nowhere"}', "nowhere"), ('{"chain": 7}', "list"), ('{"on_failure": "continue"}', "chain"),
                               ('{"chain": "b", "on_failure": "go"}', "abort")):
            a = self.ask("POST", "/wrong", options)
            self.assertEqual(a.status, 500, a.body)
            self.assertIn(words, self.server.wait_log(a.headers["X-Correlation-ID"]))

    def test_a_failure_ends_a_chain_unless_it_goes_on(self):
        self.serve("""
            job "a" { attempts = 1, chain = "next", run = function() error("no luck") end }
            job "b" { attempts = 1, chain = "next", on_failure = "continue", run = function() error("no luck") end }
            job "next" { run = function(args) note("after " .. args.of) end }
        """)
        self.submit("a", {"of": "a"})
        self.submit("b", {"of": "b"})
        self.until_counts("a", discarded=1)
        self.until(["after b"])


class Schedules(JobsCase):
    def test_a_job_runs_every_second_with_its_window(self):
        self.serve("""
            job "tick" { every = "1s", run = function(args, ctx)
              note(tostring(ctx.window.from < ctx.window.to) .. tostring(ctx.window.to == ctx.scheduled_at))
            end }
        """)
        end = time.monotonic() + 20
        while time.monotonic() < end and len(self.titles()) < 3:
            time.sleep(0.1)
        self.assertGreaterEqual(len(self.titles()), 3, self.server.text[-3000:])
        self.assertEqual(set(self.titles()), {"truetrue"})

    def test_runs_of_a_schedule_have_the_args_that_it_gives_and_defaults(self):
        self.serve("""
            job "tick" { every = "1s", args = { kind = text { required = true }, n = int { default = 7 } }, scheduled_args = { kind = "daily" },
              run = function(args) note(args.kind .. args.n) end }
            job "begin" { on_start = "node", args = { n = int { required = true, default = 3 } }, run = function(args) note("start" .. args.n) end }
        """)
        end = time.monotonic() + 15
        while not {"daily7", "start3"} <= set(self.titles()) and time.monotonic() < end:
            time.sleep(0.1)
        self.assertEqual(set(self.titles()), {"daily7", "start3"})

    def test_an_expression_or_zone_that_is_none_fails_the_load_and_names_the_line(self):
        for text, words in (('cron = "0 25 * * *"', "cron"), ('cron = "0 2 * * *", tz = "Europe/Lisbonn"', "tz"), ('every = "10ms"', "every"),
                            ('chain = "nowhere"', "these scripts do not declare"), ("crn = 1", "cron"), ("args = { id = text }", "args"),
                            ('every = "1h", args = { day = date { required = true } }', "scheduled_args = { .. }, or give the fields defaults"),
                            ('on_start = "node", args = { n = int { required = true } }', "runs that a start makes"),
                            ('every = "1h", args = { n = int {} }, scheduled_args = { n = "many" }', "have no valid args"),
                            ('scheduled_args = { n = 1 }', "of a job with cron")):
            self.write("app/main.lua", '-- one\njob "x" { run = print, %s }\n' % text)
            code, out, err = run("check", self.path("app"), cwd=self.dir)
            self.assertEqual(code, 1, text)
            self.assertIn("main.lua:2", out)
            self.assertIn(words, out)


class Cancels(JobsCase):
    def until_calls_at_least(self, count):
        end = time.monotonic() + 20
        while len(self.calls) < count:
            self.assertLess(time.monotonic(), end)
            time.sleep(0.02)

    def cancel(self, job, run_id):
        a = self.ask("DELETE", f"/api/queues/%2F/job.{job}/messages/{run_id}")
        self.assertIn(a.status, (200, 202, 204), a.body)

    def test_a_run_that_waits_never_executes_and_one_under_way_is_told(self):  # J5
        url = self.outside()
        self.serve(f"""
            job "work" {{ chain = "next", run = function(args, ctx)
              local ok, e = pcall(function() http.get("{url}/slow") note("never") end)
              note("never")
              http.get("{url}/seen/" .. tostring(ctx.cancelled) .. "/" .. tostring(e.code))
              error(e)
            end }}
            job "later" {{ run = function() note("never") end }}
            job "next" {{ run = function() note("never") end }}
        """)
        waiting = self.submit("later", delay="2s")
        self.cancel("later", waiting)
        under_way = self.submit("work")
        self.until_calls(1)
        self.cancel("work", under_way)
        time.sleep(0.2)
        self.go.set()
        self.until_counts("work", cancelled=1)
        self.assertEqual(self.calls, ["/slow", "/seen/true/cancelled"])
        time.sleep(2.2)
        self.assertEqual(self.titles(), [])
        self.assertEqual(self.counts("later")["cancelled"], 1)

    def ask_to_stop(self, run_id):
        a = self.ask("POST", f"/api/jobs/{run_id}/cancel")
        self.assertEqual((a.status, a.json["outcome"]), (202, "asked"), a.body)

    def test_one_that_returns_all_the_same_is_completed_and_its_chain_goes_no_further(self):  # J5
        url = self.outside()
        self.serve(f"""
            job "work" {{ chain = "next", run = function(args, ctx)
              local ok, e = pcall(function() http.get("{url}/slow") end)
              note("put in order " .. e.code)
              return {{ tidy = ctx.cancelled }}
            end }}
            job "next" {{ run = function() note("never") end }}
        """)
        run_id = self.submit("work")
        self.until_calls(1)
        self.ask_to_stop(run_id)
        self.go.set()
        self.until_counts("work", completed=1)
        self.assertEqual(self.ask("GET", f"/api/jobs/{run_id}").json["result"], {"tidy": True})
        time.sleep(0.5)
        self.assertEqual(self.titles(), ["put in order cancelled"])
        self.assertEqual(self.counts("next")["messages"], 0)

    def test_one_that_does_not_heed_it_is_stopped_after_thirty_seconds(self):  # J5
        url = self.outside()
        self.serve(f"""
            job "deaf" {{ chain = "next", run = function() while true do pcall(http.get, "{url}/nap") end end }}
            job "next" {{ run = function() note("never") end }}
        """)
        run_id = self.submit("deaf")
        self.until_calls_at_least(1)
        self.ask_to_stop(run_id)
        began = time.monotonic()
        self.until_counts("deaf", 60, cancelled=1)
        took = time.monotonic() - began
        self.assertTrue(29 < took < 40, took)
        self.assertGreater(len(self.calls), 50)
        self.server.wait_log("deaf.*cancelled message=" + run_id)
        time.sleep(0.5)
        count = len(self.calls)
        time.sleep(0.5)
        self.assertEqual(len(self.calls), count)
        self.assertEqual((self.counts("next")["messages"], self.counts("deaf")["messages"]), (0, 0))

    def test_what_a_cancelled_run_had_done_is_undone(self):  # J5
        url = self.outside()
        self.serve(f"""
            job "work" {{ run = function(args, ctx)
              step("a", function() return args.n end, {{ undo = function(r) note("undo a " .. r) end }})
              step("b", function() note("b " .. args.n) end)
              if args.n == 1 then http.get("{url}/slow") end
              sleep("nap", "1h")
              step("c", function() note("never") end, {{ undo = function() note("never") end }})
            end }}
        """)
        asleep, awake = self.submit("work", {"n": 2}), self.submit("work", {"n": 1})
        self.until_calls(1)
        self.until_counts("work", scheduled=1)
        self.assertEqual(self.ask("POST", f"/api/jobs/{asleep}/cancel").json["outcome"], "cancelled")
        self.until(["b 1", "b 2", "undo a 2"])
        self.ask_to_stop(awake)
        self.go.set()
        self.until(["b 1", "b 2", "undo a 1", "undo a 2"])
        self.until_counts("work", cancelled=2, completed=2, scheduled=0)
        for run_id in (asleep, awake):
            a = self.ask("POST", f"/api/jobs/{run_id}/retry")
            self.assertEqual((a.status, a.json["code"]), (409, "conflict"), a.body)

    def test_a_script_cancels_and_retries_runs_and_says_why(self):  # J5 L1
        self.serve("""
            job "work" { run = function() note("worked") end }
            job "other" {}
            route "POST /cancel/{id}" { run = function(req)
              tx(function()
                job("work"):cancel(req.params.id, { reason = req.query.why })
                note("cancelled")
                if req.query.fail then reject("no", "not so") end
              end)
            end }
            route "POST /retry/{id}" { run = function(req) job("work"):retry(req.params.id, { reason = "as asked" }) end }
            route "POST /other/{id}" { run = function(req) job("other"):cancel(req.params.id) end }
        """)
        run_id = self.submit("work", delay="1h")
        self.assertEqual(self.ask("POST", f"/other/{run_id}").status, 404)
        self.assertEqual(self.ask("POST", f"/cancel/{run_id}?why=x&fail=1").status, 422)
        self.assertEqual(self.ask("GET", f"/api/jobs/{run_id}").json["state"], "scheduled")
        self.assertEqual(self.ask("POST", f"/cancel/{run_id}?why=too%20late").status, 204)
        self.assertEqual(self.ask("GET", f"/api/jobs/{run_id}").json["state"], "cancelled")
        self.assertEqual(self.ask("POST", f"/retry/{run_id}").status, 204)
        self.until_counts("work", completed=1)
        said = self.ask("GET", f"/api/jobs/{run_id}").json["history"]
        self.assertEqual([(h["what"], h["reason"]) for h in said], [("cancel", "too late"), ("retry", "as asked")])
        self.assertEqual(self.ask("POST", f"/cancel/{run_id}?why=again").status, 409)

    def test_a_cancel_or_a_timeout_that_the_run_raises_by_itself_is_a_failure(self):
        self.serve("""
            job "work" { attempts = 1, run = function(args) reject(args.code, "by myself") end }
        """)
        for code in ("cancelled", "timeout", "fenced"):
            self.submit("work", {"code": code})
        self.until_counts("work", discarded=3)


class Checks(JobsCase):
    def test_a_test_runs_a_job_over_steps_sleeps_and_undo(self):
        self.write("app/main.lua", ENTITIES + """
            job "work" { args = { n = int { required = true } }, run = function(args, ctx)
              local a = step("a", function() note("a") return { at = time.now() } end, { undo = function(r) note("undone") end })
              sleep("nap", "2d")
              if args.n == 0 then error("no luck") end
              if args.n == 1 and ctx.attempt < 3 then error("once more") end
              step("b", function() note("b") return ctx.window and ctx.window.from end)
              ctx:progress(0.5, "half")
              ctx:log("slept for " .. time.diff(time.now(), a.at, "days"))
              job("other"):submit {}
            end }
            job "other" { run = function() end }
        """)
        self.write("app/main_test.lua", """
            test("ends", function(t)
              local began = t.clock()
              local run = t.run("work", { n = 2 }, { window = { from = "2026-01-01T00:00:00Z", to = "2026-01-02T00:00:00Z" } })
              t.equal(run.outcome, "completed")
              t.equal(t.clock() - began, 2 * 86400000)
              t.equal(#run.steps, 3)
              t.equal(run.steps[3], { name = "b", result = "2026-01-01T00:00:00Z" })
              t.equal(run.progress, 0.5)
              t.equal(run.log, { "slept for 2" })
              t.equal(entity("Note").count(), 2)
              t.equal(t.run("work", { n = 1 }, { attempts = 3 }).attempt, 3)
              t.equal(entity("Note").count(), 4)
              t.fails(function() t.run("work", { n = 0 }) end, "no luck")
              t.equal(entity("Note").count(), 6)
              t.fails(function() t.run("work", { m = 0 }) end, "invalid")
              t.fails(function() t.run("nowhere") end, "no job of these scripts")
            end)
        """)
        code, out, err = run("check", self.path("app"), cwd=self.dir)
        self.assertEqual(code, 0, out + err)

    def test_a_run_has_a_thousand_steps_and_no_more(self):
        self.write("app/main.lua", """
            job "work" { attempts = 1, run = function(args)
              for i = 1, args.n do step("s" .. i, function() end) end
            end }
        """)
        self.write("app/main_test.lua", """
            test("bound", function(t)
              t.equal(#t.run("work", { n = 1000 }).steps, 1000)
              t.fails(function() t.run("work", { n = 1001 }) end, "step 's1001': a run has at most 1000 steps")
            end)
        """)
        code, out, err = run("check", self.path("app"), cwd=self.dir)
        self.assertEqual(code, 0, out + err)

    def test_a_test_publishes_what_a_run_waits_for_or_lets_its_time_pass(self):
        self.write("app/main.lua", ENTITIES + Waits.WAITER)
        self.write("app/main_test.lua", """
            test("waits", function(t)
              local a, b = t.run("order", { id = "a", timeout = "3d" }), t.run("order", { id = "b", timeout = "3d" })
              t.equal(a.outcome, "waiting")
              t.equal(a.waits_for, "payment.*")
              t.publish("payment.settled", { sum = 3 }, { key = "b" })
              t.equal(a.outcome, "waiting")
              t.equal(b.outcome, "completed")
              t.equal(b.steps[2].result.body, { sum = 3 })
              t.advance("2d")
              t.equal(a.outcome, "waiting")
              t.advance("1d")
              t.equal(a.outcome, "completed")
              t.equal(a.waits_for, nil)
              t.equal(entity("Note").count(), 6)
            end)
        """)
        code, out, err = run("check", self.path("app"), cwd=self.dir)
        self.assertEqual(code, 0, out + err)

    def test_a_job_that_is_named_and_not_declared_is_told(self):
        self.write("app/main.lua", ENTITIES + """
            job "settle" { run = function() end }
            route "POST /go" { run = function() job("setle"):submit {} job("settle"):submit {} job(tostring(1)):submit {} end }
        """)
        code, out, err = run("check", self.path("app"), cwd=self.dir)
        self.assertIn("main.lua:13:", out)
        self.assertIn("these scripts declare no job 'setle'; did you mean 'settle'?", out)
        self.assertEqual(out.count("declare no job"), 1, out)
