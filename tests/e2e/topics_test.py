"""Topics in scripts: a message for each group that listens, in one unit with what was published beside it; requests that
are answered; what becomes of what nobody listens to."""
import http.client
import json
import random
import threading
import time

from e2e.handlers_test import ENTITIES, HandlersCase
from e2e.node import run

PUBLISH = """
route "POST /publish/{topic}" { run = function(req)
  local q = req.query
  local id, groups = publish(req.params.topic, req.json, { key = q.key, delay = q.delay, mandatory = q.mandatory == "yes", headers = { a = "b" } })
  return { id = id, groups = groups }
end }
"""


class TopicsCase(HandlersCase):
    def serve(self, text, *args):
        return super().serve(PUBLISH + text, *args)

    def deploy(self, text):
        self.write("app/main.lua", ENTITIES + PUBLISH + text)
        code, out, err = run("deploy", self.path("app"), "--url", self.server.url, cwd=self.dir)
        self.assertEqual(code, 0, out + err)

    def publish(self, topic, body, status=200, **options):
        query = "&".join(f"{k}={v}" for k, v in options.items())
        a = self.ask("POST", f"/publish/{topic}?{query}", json.dumps(body))
        self.assertEqual(a.status, status, a.body)
        return a.json

    def queue(self, name):
        a = self.ask("GET", "/api/queues/%2F/" + name)
        self.assertEqual(a.status, 200, a.body)
        return a.json


class Groups(TopicsCase):
    def test_each_group_that_matches_has_one_message_whatever_number_of_its_patterns_does(self):  # B1
        self.write("app/audit.lua", """
            local function note(title) entity "Note".new { title = title }:save() end
            on "order.#" { run = function(e, ctx) note("audit " .. ctx.topic .. " " .. e.id .. " " .. ctx.headers.a) end }
        """)
        self.serve("""
            on "order.*" { group = "crm", run = function(e, ctx) note("crm * " .. e.id .. " " .. tostring(ctx.message_id == e.want)) end }
            on "order.placed" { group = "crm", run = function(e, ctx) note("crm placed " .. e.id .. " " .. ctx.queue) end }
            on "#" { group = "all", run = function(e, ctx) note("all " .. ctx.topic) end }
            on "invoice.*" { group = "other", run = function() note("never") end }
        """)
        self.assertEqual(self.publish("order.placed", {"id": "1"})["groups"], 3)
        self.assertEqual(self.publish("order.gone", {"id": "2"})["groups"], 3)
        self.assertEqual(self.publish("order.gone.eu", {"id": "3"})["groups"], 2)
        self.until(["audit order.placed 1 b", "crm placed 1 group.crm", "all order.placed",
                    "audit order.gone 2 b", "crm * 2 false", "all order.gone", "audit order.gone.eu 3 b", "all order.gone.eu"])

    def test_a_body_that_is_no_json_is_a_text(self):
        self.serve("""
            on "t" { group = "a", run = function(e, ctx) note(type(e) .. " " .. (e.a or e) .. " " .. tostring(ctx.type)) end }
            on "t" { group = "b", batch = 2, wait = "10ms", run = function(list) for _, e in ipairs(list) do note(type(e)) end end }
        """)
        for kind, body in (("text/plain; charset=utf-8", "words"), ("application/vnd.x+json", '{"a": 1}')):
            a = self.ask("POST", "/api/topics/t", body, {"Content-Type": kind})
            self.assertEqual(a.status, 202, a.body)
        self.until(["string words text/plain; charset=utf-8", "table 1 application/vnd.x+json", "string", "table"])

    def test_all_groups_see_the_id_that_was_given_to_the_publisher(self):
        self.serve("""
            on "t" { group = "a", run = function(e, ctx) note("a " .. ctx.message_id) end }
            on "t" { group = "b", run = function(e, ctx) note("b " .. ctx.message_id) end }
        """)
        id = self.publish("t", 1)["id"]
        self.until(["a " + id, "b " + id])

    def test_a_retry_is_of_the_group_whose_handler_failed(self):  # Q6
        self.serve("""
            on "t" { group = "good", run = function(e, ctx) note("good " .. ctx.deliveries) end }
            on "t" { group = "bad", attempts = 3, backoff = { "20ms" }, run = function(e, ctx)
              if ctx.attempt < 3 then error("no luck") end
              note("bad " .. ctx.attempt)
            end }
        """)
        self.publish("t", 1)
        self.until(["good 1", "bad 3"])
        time.sleep(0.2)
        self.until(["good 1", "bad 3"])

    def test_a_key_keeps_its_order_in_each_group(self):
        self.serve("""
            on "t" { group = "a", attempts = 5, backoff = { "20ms" }, run = function(e, ctx)
              if e % 5 == 0 and ctx.attempt == 1 then error("once more") end
              local s = Sum.get("a" .. ctx.key) or Sum.new { id = "a" .. ctx.key }
              if s.n ~= e - 1 then note("after " .. s.n .. " came " .. e) end
              s.n = e
              s:save()
            end }
            on "t" { group = "b", run = function(e, ctx)
              local s = Sum.get("b" .. ctx.key) or Sum.new { id = "b" .. ctx.key }
              if s.n ~= e - 1 then note("after " .. s.n .. " came " .. e) end
              s.n = e
              s:save()
            end }
            route "POST /many" { run = function() for i = 1, 20 do for _, k in ipairs { "x", "y" } do publish("t", i, { key = k }) end end end }
        """)
        self.assertEqual(self.ask("POST", "/many").status, 204)
        end = time.monotonic() + 30
        while time.monotonic() < end and not all(self.ask("GET", "/api/sum/" + k).body.count(b'"n":20') for k in ("ax", "ay", "bx", "by")):
            time.sleep(0.05)
        self.assertEqual(self.titles(), [])
        self.assertEqual([self.ask("GET", "/api/sum/" + k).json["n"] for k in ("ax", "ay", "bx", "by")], [20] * 4)


class Units(TopicsCase):
    def test_what_is_published_is_committed_with_the_rest_or_not_at_all(self):  # B1
        self.serve("""
            on "t" { group = "g", run = function(e) note("got " .. e) end }
            queue "work" {}
            on "queue/work" { attempts = 1, run = function(m)
              publish("t", "handler " .. m)
              note("saved " .. m)
              if m == "bad" then error("no luck") end
            end }
            route "POST /fails" { run = function() publish("t", "never") error("no") end }
            route "POST /refused" { run = function() publish("t", "never") return { status = 400 } end }
            route "POST /rolled" { run = function()
              pcall(tx, function() publish("t", "never") error("no") end)
              tx(function() note("tx") publish("t", "tx") end)
            end }
        """)
        self.assertEqual(self.ask("POST", "/fails").status, 500)
        self.assertEqual(self.ask("POST", "/refused").status, 400)
        self.assertEqual(self.ask("POST", "/rolled").status, 204)
        self.send("work", "bad")
        self.send("work", "good")
        self.until(["tx", "got tx", "saved good", "got handler good"])
        self.assertEqual(self.queue("group.g")["messages"], 0)

    def test_wrong_options_are_refused_where_they_stand(self):
        self.serve("""
            route "POST /bad/{kind}" { run = function(req)
              note("never")
              local bad = {
                topic = function() publish("a b", 1) end, option = function() publish("t", 1, { kye = "x" }) end,
                big = function() publish("t", string.rep("x", 1 << 20)) end, header = function() publish("t", 1, { headers = { topic = "x" } }) end,
                inner = function() tx(function() request("t", 1) end) end, ask = function() request("t", 1) end,
              }
              bad[req.params.kind]()
            end }
        """)
        for kind, status, words in (("topic", 500, "publish 'a b'"), ("option", 500, "did you mean 'key'"), ("big", 413, "raise its body_max"),
                                    ("header", 400, "topic"), ("inner", 500, "not inside tx"), ("ask", 404, "t")):
            at = len(self.server.logs)
            a = self.ask("POST", "/bad/" + kind)
            self.assertEqual(a.status, status, (kind, a.body))
            if status == 500:  # what the script does wrong is for the log
                self.assertIn(words, self.server.wait_log(a.headers["X-Correlation-ID"], start=at))
            else:
                self.assertIn(words, a.json["detail"])
        self.assertEqual(self.titles(), [])

    def test_a_script_run_by_hand_publishes_at_once(self):
        self.serve('on "t" { group = "g", run = function(e) note("got " .. e) end }')
        a = self.ask("POST", "/api/cluster/run", {"text": 'return select(2, publish("t", "by hand"))', "args": []})
        self.assertEqual(a.json.get("result"), 1, a.body)
        self.until(["got by hand"])


class Nobody(TopicsCase):
    def test_what_nobody_listens_to_is_kept_with_the_reason_or_refused_or_dropped(self):  # B2
        self.serve('topic "debug.#" { unrouted = "drop" }')
        self.assertEqual(self.publish("order.placed", {"id": 1})["groups"], 0)
        self.publish("debug.x", 1)
        a = self.ask("POST", "/publish/order.placed?mandatory=yes", "1")
        self.assertEqual(a.status, 404, a.body)
        end = time.monotonic() + 10
        while time.monotonic() < end and self.queue("unrouted").get("discarded") != 1:
            time.sleep(0.02)
        a = self.ask("GET", "/api/queues/%2F/unrouted/messages?state=discarded")
        self.assertEqual(a.status, 200, a.body)
        text = a.body.decode()
        self.assertIn("no_subscriber", text)
        self.assertIn("order.placed", text)
        self.assertNotIn("debug.x", text)
        page = self.ask("GET", "/metrics").body.decode()
        self.assertIn('\nkoan_bus_unrouted_total{what="kept"} 1\n', page)
        self.assertIn('\nkoan_bus_unrouted_total{what="dropped"} 1\n', page)


class Declared(TopicsCase):
    def refused(self, text, *words):
        self.write("app/main.lua", ENTITIES + text)
        code, out, err = run("check", self.path("app"), cwd=self.dir)
        self.assertEqual(code, 1, out + err)
        for w in words:
            self.assertIn(w, out)

    def test_the_same_pattern_twice_in_a_group_is_refused_with_both_places(self):
        self.write("app/crm.lua", 'on "order.*" { run = function() end }')
        self.refused('\non "order.*" { group = "crm", run = function() end }', "group 'crm' listens to 'order.*' twice", "crm.lua:1", "main.lua:")

    def test_what_is_wrong_is_named_with_its_line(self):
        for text, words in (('on "a b" { run = function() end }', "on 'a b'"), ('on "a" { }', "run = function(body, ctx)"),
                            ('on "a" { atempts = 1, run = function() end }', "did you mean 'attempts'"),
                            ('on "a" { batch = 0, run = function() end }', "from 1 to 1000"),
                            ('on "a" { wait = "1s", run = function() end }', "say batch"),
                            ('on "a" { batch = 5, wait = "40s", run = function() end }', "half of timeout"),
                            ('on "a" { group = "g", batch = 5, run = function() end } on "b" { group = "g", run = function() end }', "worked in another way"),
                            ('topic "a.*" { retain = "x" }', "retain"), ('topic "a" { unrouted = "keep" } topic "a" {}', "declared twice"),
                            ('topic "a" { unrouted = "no" }', '"drop"'), ('on "jobs/x" { run = function() end }', 'on "queue/NAME"'),
                            ('on "a" { webhook = { url = "ftp://x", secret = "s" } }', "url"), ('on "a" { webhook = { url = "http://x/" } }', "secret"),
                            ('on "a" { webhook = { url = "http://x/", secret = "whsec_x" } }', "whsec_"),
                            ('on "a" { group = "g", run = function() end } queue "group.g" { attempts = 3 }', "said at `on`"),
                            ('on "a" { group = "g", run = function() end } on "queue/group.g" { run = function() end }', "handler of its own"),
                            ('on "a" { start = "then", run = function() end }', "start")):
            with self.subTest(text):
                self.refused(text, words)

    def test_check_tells_of_topics_that_nobody_listens_to(self):
        self.write("app/main.lua", """
            on "order.*" { run = function() publish("mail.sent", 1) end }
            topic "debug.#" { unrouted = "drop" }
            route "POST /x" { run = function(req)
              publish("order.placed", 1) publish("debug.a", 1) publish("order." .. req.json, 1) publish(req.json, 1)
              local o = {} o.publish = print o.publish("nobody", 1)
              return request( 'price.of' , 1)
            end }
        """)
        code, out, err = run("check", self.path("app"), "--json", cwd=self.dir)
        self.assertEqual(code, 0, out + err)
        problems = json.loads(out)["problems"]
        self.assertEqual([(p["line"], p["severity"]) for p in problems], [(2, "warning"), (7, "warning")], problems)
        self.assertIn("listens to 'mail.sent'", problems[0]["text"])
        self.assertIn("listens to 'price.of'", problems[1]["text"])

    def test_tests_publish_and_deliver(self):
        self.write("app/main.lua", ENTITIES + """
            on "order.*" { group = "audit", run = function(e, ctx)
              if e.bad then ctx:reject("bad") end
              note(ctx.topic .. " " .. e.id)
            end }
            on "order.#" { group = "crm", batch = 10, run = function(list, ctx)
              for i, e in ipairs(list) do if e.id == 7 then ctx.items[i]:nack("1s") end end
              note("batch of " .. #list)
            end }
        """)
        self.write("app/main_test.lua", """
            test("both", function(t)
              local ends = t.publish("order.placed", { id = 1 })
              t.equal(ends.audit.outcome, "ack")
              t.equal(ends.crm.items, { { outcome = "ack" } })
              t.equal(entity("Note").count(), 2)
              t.equal(t.publish("order.placed", { id = 1, bad = true }).audit, { outcome = "reject", reason = "bad" })
              t.equal(t.deliver("order.x", { { id = 6 }, { id = 7 } }, { group = "crm" }).items[2], { outcome = "nack", delay = 1000 })
              t.equal(t.deliver("order.x", { id = 1 }, { group = "audit" }).outcome, "ack")
              t.fails(function() t.deliver("invoice", 1, { group = "audit" }) end, "does not listen")
              t.equal(t.publish("invoice", 1), {})
              publish("order.placed", { id = 2 })
            end)
        """)
        code, out, err = run("check", self.path("app"), cwd=self.dir)
        self.assertEqual(code, 0, out + err)


class Requests(TopicsCase):
    def serve(self, text, *args):
        return super().serve(text + """
            route "POST /ask/{topic}" { run = function(req)
              local answer = request(req.params.topic, req.json, { timeout = req.query.timeout })
              return { answer = answer }
            end }
        """, *args)

    def test_what_a_handler_returns_is_the_answer(self):
        self.serve("""
            on "price.of" { group = "prices", run = function(q) note("asked") return { price = q.n * 2 } end }
            on "price.of" { group = "slow", run = function(q) end }
            on "nothing" { group = "g", run = function() note("ran") end }
        """)
        for n in range(5):
            a = self.ask("POST", "/ask/price.of", {"n": n})
            self.assertEqual((a.status, a.json), (200, {"answer": {"price": 2 * n}}))
        a = self.ask("POST", "/ask/nothing", {})
        self.assertEqual((a.status, a.json), (200, {}))
        self.until(["asked"] * 5 + ["ran"])

    def test_no_answer_in_time_is_504_and_what_was_not_begun_expires(self):
        url = self.outside()
        self.serve(f"""
            on "slow" {{ group = "g", concurrency = 1, run = function(q) http.get("{url}/slow") note("ran " .. q) return 1 end }}
        """)
        began = time.monotonic()
        a = self.ask("POST", "/ask/slow?timeout=300ms", '"a"')
        self.assertEqual(a.status, 504, a.body)
        self.assertEqual(self.ask("POST", "/ask/slow?timeout=300ms", '"b"').status, 504)
        self.assertLess(time.monotonic() - began, 5)
        self.go.set()
        self.until(["ran a"])
        self.assertEqual(self.queue("group.g")["messages"], 0)

    def test_nobody_is_404_and_a_rejection_says_why(self):
        self.serve("""
            on "no" { group = "g", run = function(q, ctx) ctx:reject("not today") end }
            on "bad" { group = "g", attempts = 1, run = function(q, ctx) error("broken") end }
        """)
        self.assertEqual(self.ask("POST", "/ask/nobody", "1").status, 404)
        a = self.ask("POST", "/ask/no", "1")
        self.assertEqual(a.status, 422, a.body)
        self.assertIn("not today", a.json["detail"])
        a = self.ask("POST", "/ask/bad", "1")
        self.assertEqual(a.status, 503, a.body)
        self.assertIn("broken", a.json["detail"])

    def test_a_stop_ends_what_waits_for_an_answer_and_the_message_comes_again(self):
        url = self.outside()
        self.serve(f"""
            on "slow" {{ group = "g", attempts = 1, run = function(q, ctx)
              if ctx.deliveries == 1 then http.get("{url}/slow", {{ timeout = "60s" }}) end
              note("ran " .. ctx.deliveries)
            end }}
        """, "--drain.timeout", "1s")
        answers = []

        def ask():
            try:
                answers.append(self.server.client()("POST", "/ask/slow?timeout=60s", "1").status)
            except (OSError, http.client.HTTPException):
                answers.append(0)  # cut off, as all that is under way behind drain.timeout
        asks = [threading.Thread(target=ask) for _ in range(3)]
        for t in asks:
            t.start()
        self.until_calls(3)
        began = time.monotonic()
        self.assertEqual(self.server.stop(), 0)
        for t in asks:
            t.join()
        self.assertLess(time.monotonic() - began, 15)
        self.assertLessEqual({a // 100 for a in answers}, {0, 5})
        self.again()
        self.until(["ran 2"] * 3)

    def test_handlers_ask_handlers(self):
        self.serve("""
            on "outer" { group = "o", run = function(n) return request("inner", n + 1) * 10 end }
            on "inner" { group = "i", run = function(n) return n end }
        """)
        self.assertEqual(self.ask("POST", "/ask/outer", "1").json, {"answer": 20})


class Retained(TopicsCase):
    def test_a_group_that_starts_at_the_first_has_all_in_order_and_then_what_comes(self):
        keep = 'topic "t.#" { retain = "1h" }\n'
        group = """
            on "t.*" { group = "late", start = "first", run = function(e, ctx)
              local s = Sum.get("last") or Sum.new { id = "last" }
              if s.n ~= e - 1 then note("after " .. s.n .. " came " .. e) end
              s.n = e
              s:save()
            end }
            on "t.*" { group = "new", run = function(e) note("new " .. e) end }
        """
        self.serve(keep)
        for i in range(1, 31):
            self.publish("t.x", i, key="k")
        self.deploy(keep + group)
        for i in range(31, 36):
            self.publish("t.x", i, key="k")
        end, n = time.monotonic() + 30, 0
        while time.monotonic() < end and n != 35:
            a = self.ask("GET", "/api/sum/last")
            n = a.json["n"] if a.status == 200 else 0
            time.sleep(0.05)
        self.assertEqual(n, 35, self.server.text[-2000:])
        self.until([f"new {i}" for i in range(31, 36)])


class Races(TopicsCase):
    def test_a_deploy_of_groups_races_publishers_and_each_message_has_its_groups(self):  # B1
        """Group `b` comes and goes while messages are published: all of them are in group `a` once, and what a publisher was
        told of the number of groups is what there is."""
        base = """
            on "t" { group = "a", run = function(e) Sum.new { id = "a" .. e, n = 1 }:save() end }
        """
        more = """
            on "t" { group = "b", run = function(e) Sum.new { id = "b" .. e, n = 1 }:save() end }
        """
        self.serve(base)
        told, stop, lock = {}, threading.Event(), threading.Lock()

        def publisher(k):
            ask, n = self.server.client(), 0
            while not stop.is_set():
                a = ask("POST", "/publish/t", json.dumps(f"{k}-{n}"))
                if a.status == 200:
                    with lock:
                        told[f"{k}-{n}"] = a.json["groups"]
                n += 1
        threads = [threading.Thread(target=publisher, args=(k,)) for k in range(4)]
        for t in threads:
            t.start()
        for i in range(8):
            self.deploy(base + (more if i % 2 == 0 else ""))
        stop.set()
        for t in threads:
            t.join()
        self.deploy(base + more)
        want = {"a" + k for k in told} | {"b" + k for k, n in told.items() if n == 2}
        self.assertGreater(len(want), len(told))
        self.sums(want)

    def sums(self, want, seconds=60):
        end, got = time.monotonic() + seconds, set()
        while time.monotonic() < end:
            got, more = set(), "/api/sum?pageSize=200&fields=id"
            a = self.ask("GET", "/api/sum?fields=id", None, {"Accept": "application/x-ndjson"})
            self.assertEqual(a.status, 200, a.body)
            got = {json.loads(line)["id"] for line in a.body.splitlines() if line}
            if got >= want and not self.waiting():
                break
            time.sleep(0.1)
        return self.assertEqual(got ^ want, set(), self.server.text[-2000:])

    def waiting(self):
        return sum(q["messages"] for q in self.ask("GET", "/api/queues/%2F").json if q["name"].startswith("group."))

    def test_killed_at_any_moment_each_message_that_was_told_is_worked_once_by_each_group(self):  # B1 L1
        self.serve("""
            on "t" { group = "a", attempts = 100, backoff = { "10ms" }, run = function(e)
              if Note.get("a" .. e) then note("twice") end
              Note.new { id = "a" .. e, title = "x" }:save()
            end }
            on "#" { group = "b", attempts = 100, backoff = { "10ms" }, batch = 7, wait = "20ms", run = function(list)
              for _, e in ipairs(list) do
                if Note.get("b" .. e) then note("twice") end
                Note.new { id = "b" .. e, title = "x" }:save()
              end
            end }
            route "POST /many/{from}" { run = function(req)
              local from = math.tointeger(tonumber(req.params.from))
              for i = from, from + 49 do publish("t", i) end
            end }
        """, "--work.lease", "1s")
        dice, sent = random.Random(11), 0
        for _ in range(3):
            for _ in range(3):
                self.assertEqual(self.ask("POST", f"/many/{sent}").status, 204)
                sent += 50
            time.sleep(dice.uniform(0.0, 0.15))
            self.server.kill()
            self.again("--work.lease", "1s")

        def count():
            return self.ask("GET", "/api/note?count=exact&pageSize=1").headers.get("X-Total-Count")
        end = time.monotonic() + 60
        while time.monotonic() < end and count() != str(2 * sent):
            time.sleep(0.1)
        self.assertEqual(count(), str(2 * sent), self.server.text[-2000:])
        self.assertNotIn("twice", self.titles())
