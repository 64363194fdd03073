"""Handlers that take batches: one run and one unit for many messages, of which each is still one of its own."""
import json
import signal
import time

from e2e.topics_test import TopicsCase


class Batches(TopicsCase):
    def serve(self, text, *args):
        return super().serve(text + """
            route "POST /many/{count}" { run = function(req)
              for i = 1, math.tointeger(tonumber(req.params.count)) do publish("t", i, { key = req.query.key }) end
            end }
        """, *args)

    def many(self, count, key=""):
        self.assertEqual(self.ask("POST", f"/many/{count}" + (f"?key={key}" if key else "")).status, 204)

    def test_a_list_is_worked_when_it_is_full_or_has_waited(self):
        self.serve("""
            on "t" { group = "g", batch = 10, wait = "300ms", run = function(list, ctx)
              note(#list .. " " .. list[1] .. " " .. ctx.items[1].topic .. " " .. ctx.items[#list].attempt .. " " .. ctx.queue)
            end }
        """)
        began = time.monotonic()
        self.many(23)
        self.until(["10 1 t 1 group.g", "10 11 t 1 group.g", "3 21 t 1 group.g"])
        self.assertGreater(time.monotonic() - began, 0.25)

    def test_messages_of_a_key_come_one_by_one(self):
        self.serve("""
            on "t" { group = "g", batch = 10, wait = "20ms", run = function(list) note(table.concat(list, ",")) end }
        """)
        self.many(4, key="k")
        self.until(["1", "2", "3", "4"])

    def test_items_are_settled_singly_in_the_unit_of_the_run(self):
        self.serve("""
            queue "dead" {}
            queue "group.g" { dead_to = "dead" }
            on "queue/dead" { run = function(m) note("dead " .. m) end }
            on "t" { group = "g", batch = 10, wait = "100ms", attempts = 3, run = function(list, ctx)
              for i, m in ipairs(list) do
                local it = ctx.items[i]
                if m == 2 then it:reject("bad address") end
                if m == 3 and it.attempt == 1 then it:nack("50ms") end
                if m == 4 and it.deliveries == 1 then it:snooze("50ms") end
                if m == 5 and it.deliveries == 1 then it:release() end
                if m == 6 then it:reject("no") it:ack() end
              end
              note(#list .. ": " .. table.concat(list, ","))
            end }
        """)
        self.many(6)
        end = time.monotonic() + 20
        while time.monotonic() < end and not ("dead 2" in self.titles() and self.queue("group.g")["messages"] == 0 and len(self.titles()) > 3):
            time.sleep(0.05)
        titles = self.titles()
        self.assertIn("6: 1,2,3,4,5,6", titles)
        self.assertIn("dead 2", titles)
        again = sorted(m for t in titles if ": " in t and not t.startswith("6") for m in t.split(": ")[1].split(","))
        self.assertEqual(again, ["3", "4", "5"])
        self.assertEqual(self.queue("group.g")["messages"], 0)

    def test_a_run_that_fails_is_a_try_of_each_and_at_its_last_one_each_is_alone(self):  # Q3
        self.serve("""
            queue "dead" {}
            queue "group.g" { dead_to = "dead" }
            on "queue/dead" { run = function(m) note("dead " .. m) end }
            on "t" { group = "g", batch = 10, wait = "50ms", attempts = 3, backoff = { "20ms" }, run = function(list, ctx)
              for _, m in ipairs(list) do
                if m == 4 then error("cannot do 4") end
              end
              note(ctx.items[1].attempt .. ": " .. table.concat(list, ","))
            end }
        """)
        self.many(6)
        self.until(["dead 4"] + [f"3: {n}" for n in (1, 2, 3, 5, 6)])
        self.assertIn("cannot do 4", self.server.text)

    def test_a_run_may_end_for_all_and_a_conflict_begins_it_again(self):
        self.serve("""
            on "t" { group = "g", batch = 5, wait = "50ms", attempts = 50, backoff = { "10ms" }, run = function(list, ctx)
              if ctx.items[1].deliveries == 1 then ctx.items[1]:reject("first") ctx:snooze("50ms") end
              local s = Sum.get("s") or Sum.new { id = "s" }
              s.n = s.n + #list
              s:save()
            end }
            on "t" { group = "h", concurrency = 5, attempts = 50, backoff = { "10ms" }, run = function(m)
              local s = Sum.get("s") or Sum.new { id = "s" }
              s.n = s.n + 1
              s:save()
            end }
        """)
        self.many(50)
        end, n = time.monotonic() + 30, 0
        while time.monotonic() < end and n != 90:
            a = self.ask("GET", "/api/sum/s")
            n = a.json["n"] if a.status == 200 else 0
            time.sleep(0.05)
        self.assertEqual(n, 90, self.server.text[-2000:])
        self.assertEqual((self.queue("group.g")["messages"], self.queue("group.g")["discarded"]), (0, 10))

    def test_a_message_that_kills_the_node_is_discarded_after_its_tries(self):  # Q3
        url = self.outside()
        self.serve(f"""
            queue "dead" {{}}
            queue "group.g" {{ dead_to = "dead" }}
            on "queue/dead" {{ run = function(m) note("dead " .. m) end }}
            on "t" {{ group = "g", batch = 10, wait = "50ms", attempts = 2, backoff = {{ "20ms" }}, run = function(list)
              for _, m in ipairs(list) do
                if m == 2 then http.get("{url}/kill") end
              end
              note(table.concat(list, ","))
            end }}
        """, "--work.lease", "1s")
        self.many(3)
        for _ in range(2):
            self.server.process.wait(30)
            self.server.kill()
            self.again("--work.lease", "1s")
        # What was under way beside it has lost its tries with the node, and is done or a dead letter.
        end = time.monotonic() + 40
        while time.monotonic() < end and len(self.titles()) < 3:
            time.sleep(0.05)
        self.assertEqual(sorted(t.removeprefix("dead ") for t in self.titles()), ["1", "2", "3"])
        self.assertIn("dead 2", self.titles())

    def test_what_waits_behind_slow_batches_uses_no_try(self):
        url = self.outside()
        self.serve(f"""
            on "t" {{ group = "g", batch = 10, wait = "10ms", timeout = "2s", attempts = 1, run = function(list)
              if list[1] <= 2 then http.get("{url}/slow", {{ timeout = "5s" }}) end
              note(table.concat(list, ","))
            end }}
        """)
        for n in (1, 2):  # two batches that run into their timeout
            self.publish("t", n)
            self.until_calls(n)
        self.publish("t", 3)
        self.until(["3"])
        self.go.set()
        self.assertEqual(self.queue("group.g")["discarded"], 2)

    def test_a_stop_hands_back_what_is_gathered_and_uses_no_try(self):
        self.serve("""
            on "t" { group = "g", batch = 10, wait = "20s", attempts = 1, run = function(list, ctx)
              note(#list .. " at " .. ctx.items[1].attempt)
            end }
        """)
        self.many(9)
        time.sleep(0.5)
        self.assertEqual(self.server.stop(), 0)
        self.again()
        self.assertEqual(self.ask("POST", "/publish/t", "10").status, 200)
        self.until(["10 at 1"])

    def test_a_deploy_takes_a_group_from_batches_to_single_messages(self):
        self.serve('on "t" { group = "g", batch = 10, wait = "20s", run = function(list) note("batch") end }')
        self.many(3)
        time.sleep(0.3)
        self.deploy('on "t" { group = "g", run = function(m) note("one " .. m) end }')
        self.until(["one 1", "one 2", "one 3"])
