"""What came of a request: timelines, traces, and collectors that do not behave."""
import http.server
import json
import os
import re
import socket
import threading
import time
import unittest

from e2e.node import Case, run

APP = """
entity "Order" { fields = { text = text { max = 200 }, url = text { max = 200 } },
  before_save = function(e, prior, ctx)
    if e.text == "break" then error("this is broken: " .. nil) end
    if e.text == "refuse" then ctx:reject("no", "not today") end
    if e.url then http.get(e.url) end
  end }
entity "Line" { fields = { order = ref { "Order", on_remove = "cascade" }, text = text } }
entity "Ticket" { fields = { text = text }, ttl = true }

entity "Country" { fields = { code = text { max = 2 } } }
canon "Country" { sources = { iso = {} }, keys = { "code:upper" } }
entity "City" { fields = { name = text { required = true }, country = text } }
route "POST /orders" { run = function(req) return { status = 201, json = entity "Order".new { text = req.json.text }:save() } end }
route "GET /orders" { run = function() return { json = {} } end }
on "queue/bad" { run = function(m) error("cannot do " .. m.n) end }
canon "City" {
  sources = { web = {} },
  keys    = { "name:name" },
  stages  = { validate = function(a, ctx)
    local parent = { code = a.country }
    if a.country and not canon("Country"):find(parent) then
      ctx:park("PARENT_NOT_FOUND", { model = "Country", key = parent })
    end
  end },
}
"""
PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


class Collector(http.server.ThreadingHTTPServer):
    """Takes spans as OTLP/HTTP JSON, or does what a bad one does."""
    daemon_threads = True

    def __init__(self, mode="good"):
        super().__init__(("127.0.0.1", 0), Handler)
        self.mode, self.bodies, self.headers, self.seen = mode, [], [], []
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"

    def spans(self):
        out = []
        for body in list(self.bodies):
            for resource in body["resourceSpans"]:
                for scope in resource["scopeSpans"]:
                    out += scope["spans"]
        return out

    def handle_error(self, request, client_address):
        pass


class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.seen.append(self.path)
        mode = self.server.mode
        if mode == "hang":
            time.sleep(60)
        if mode == "slow":
            time.sleep(0.5)
        status = {"refuse": 400, "busy": 503}.get(mode, 200)
        if status == 200:
            self.server.bodies.append(json.loads(body))
            self.server.headers.append({k.lower(): v for k, v in self.headers.items()})
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(b"{}")

    def do_GET(self):
        self.server.headers.append({k.lower(): v for k, v in self.headers.items()})
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"hello")

    def log_message(self, *args):
        pass


class Seen(Case):
    def begin(self, *args, env=None, **kw):
        self.write("scripts/app.lua", APP)
        self.server = self.node("--scripts", self.path("scripts"), "--http.allow", "127.0.0.0/8", *args, env=env, **kw)
        self.c = self.server.client()
        return self.server

    def collector(self, mode="good"):
        c = Collector(mode)
        self.addCleanup(c.server_close)
        self.addCleanup(c.shutdown)
        return c

    def post(self, path, body, correlation, status=201, method="POST", **headers):
        a = self.c(method, path, body, {"X-Correlation-ID": correlation, **headers})
        self.assertEqual(a.status, status, a.body)
        return a.json if a.body else None

    def story(self, correlation):
        a = self.c("GET", f"/api/timeline/{correlation}")
        self.assertEqual(a.status, 200, a.body)
        return a.json["events"]

    def until(self, ask, seconds=20):
        end = time.monotonic() + seconds
        while not (got := ask()):
            self.assertLess(time.monotonic(), end, "it did not come")
            time.sleep(0.05)
        return got

    def metric(self, pattern):
        text = self.c("GET", "/metrics").body.decode()
        return sum(float(v) for v in re.findall(rf"^{pattern} ([0-9.e+]+)$", text, re.M))


class Timeline(Seen):
    def test_the_request_its_hook_its_call_and_its_change(self):  # O2
        self.begin()
        other = self.collector()
        made = self.post("/api/order", {"text": "x", "url": other.url + "/secret?key=1"}, "c-1")
        events = self.story("c-1")
        self.assertEqual([e["kind"] for e in events], ["request", "script", "call", "change"])
        request, script, call, change = events
        self.assertEqual((request["name"], request["status"]), ("POST /api/:entity", 201))
        self.assertEqual(script["name"], "Order.before_save")
        self.assertEqual((call["name"], call["status"]), ("GET " + other.url, 200))  # path and query may be secret
        self.assertEqual((change["name"], change["subject"], change["detail"], change["version"]),
                         ("Order", made["id"], "created", 1))
        self.assertGreater(change["seq"], 0)
        self.assertEqual({e["node"] for e in events}, {self.c("GET", "/api/cluster/status").json["node"]})
        # The other host can go on with the trace.
        self.assertEqual(other.headers[0]["traceparent"].split("-")[1], request["trace"])

    def test_a_cascade_has_the_correlation_of_its_cause(self):  # O2
        self.begin()
        order = self.post("/api/order", {"text": "x"}, "c-1")["id"]
        for _ in range(40):
            self.post("/api/line", {"order": order}, "c-2")
        self.post(f"/api/order/{order}", None, "c-3", 204, "DELETE")
        events = self.story("c-3")
        self.assertEqual([e["kind"] for e in events].count("change"), 32)
        self.assertEqual(events[-1]["kind"], "changes")
        self.assertIn("removed with what it referred to", [e.get("detail") for e in events])

    def test_a_request_to_a_route_of_the_scripts_is_there(self):  # O2
        self.begin("--otel.sample", "0")
        self.post("/orders", {"text": "x"}, "c-1")
        request, script, change = self.story("c-1")
        self.assertEqual((request["kind"], request["name"], request["subject"], request["status"]),
                         ("request", "POST /orders", "/orders", 201))
        self.assertEqual((script["kind"], change["name"]), ("script", "Order"))
        self.assertEqual(self.c("GET", "/orders", headers={"X-Correlation-ID": "c-2"}).status, 200)
        self.assertEqual(self.c("GET", "/api/timeline/c-2").status, 404)  # it has only read

    def told(self, correlation, count):
        """What is told of messages in this story, when it is so much."""
        def of():
            a = self.c("GET", f"/api/timeline/{correlation}")
            events = [e for e in (a.json or {}).get("events", []) if e["kind"] == "message"]
            return len(events) >= count and events
        return self.until(of)

    def test_what_becomes_of_a_message_is_in_the_story_of_its_request(self):  # O2
        q = "/api/queues/%2F/"
        self.begin("--otel.sample", "0")
        for name, options in (("in", {"dead_to": "dead"}), ("dead", {})):
            self.assertEqual(self.c("PUT", q + name, options).status, 201)
        self.post(q + "in/messages?attempts=2&backoff=0s", {"n": 1}, "sent")
        id = self.story("sent") and self.c("GET", q + "in/messages").json["items"][0]["id"]
        for words in ("no luck", "none again"):
            m = self.c("POST", q + "in/lease", {"max": 1, "wait": "5s"}).json["messages"][0]
            self.post(q + "in/settle", {"id": id, "token": m["token"], "outcome": "nack", "error": words}, "worker", 200)
        self.post(q + "dead/move", {"ids": [id], "to": "in", "reason": "mended"}, "operator", 200)
        self.post(q + "in/cancel", {"ids": [id]}, "operator", 200)
        events = self.told("sent", 5)
        self.assertEqual([(e["name"], e["detail"], e["ok"]) for e in events], [
            ("queue/in", "attempt 1 failed: no luck", False), ("queue/in", "attempt 2 failed: none again", False),
            ("queue/in", "dead_letter to dead: attempts", False), ("queue/dead", "move to in by local: mended", True),
            ("queue/in", "cancel by local", True)])
        self.assertEqual({(e["subject"], e["correlation"]) for e in events}, {(id, "sent")})
        self.assertEqual(events[3]["principal"], "local")
        self.assertEqual(self.story("sent")[0]["name"], "POST /api/queues/:vhost/:name/messages")
        self.assertEqual(self.story(id), self.story("sent"))  # the id of the message leads there, too

    def test_a_handler_that_fails_and_what_waits_for_nobody_are_told(self):  # O2
        q = "/api/queues/%2F/"
        self.begin("--otel.sample", "0")
        self.post(q + "bad/messages?attempts=1", {"n": 7}, "sent")
        tried, end = self.told("sent", 2)
        self.assertRegex(tried["detail"], r"attempt 1 failed: app.lua:\d+: cannot do 7")
        self.assertEqual((end["detail"], end["name"]), ("discarded: attempts", "queue/bad"))
        self.assertEqual(self.c("PUT", q + "idle", {}).status, 201)
        self.post(q + "idle/messages?ttl=1s", 1, "late")
        self.assertEqual([e["detail"] for e in self.told("late", 1)], ["discarded: expired"])
        code, _, err = run("timeline", "nobody", "--url", self.server.url)
        self.assertEqual(code, 1)
        self.assertIn("koan queue show QUEUE ID", err)

    def test_a_refusal_and_a_broken_hook_are_there(self):
        self.begin()
        self.post("/api/order", {"text": "refuse"}, "c-1", 422)
        self.post("/api/order", {"text": "break"}, "c-2", 422)
        request, script = self.story("c-1")
        self.assertEqual((request["detail"], script["ok"]), ("rejected", True))
        request, script = self.story("c-2")
        self.assertEqual((request["status"], script["ok"]), (422, False))
        self.assertIn("app.lua:4", script["detail"])

    def test_an_arrival_that_waited_belongs_to_the_request_that_sent_it(self):  # O2
        self.begin("--otel.sample", "0")  # a sampled one would list its stages too
        self.post("/api/canon/city?source_id=1&origin=web", {"name": "Porto", "country": "pt"}, "sent", 202)
        parked = self.story("sent")[-1]
        self.assertEqual((parked["kind"], parked["name"]), ("arrival", "canon City"))
        self.assertIn("parked PARENT_NOT_FOUND", parked["detail"])
        self.post("/api/canon/country?source_id=x&origin=iso", {"code": "PT"}, "parent", 200)
        events = self.until(lambda: len(self.story("sent")) == 4 and self.story("sent"))
        self.assertEqual([e["kind"] for e in events], ["request", "arrival", "arrival", "change"])
        self.assertIn("canonized", events[2]["detail"])
        self.assertEqual(events[3]["name"], "City")
        # And from the effect back: its correlation id is that of the arrival.
        self.assertEqual(self.story(events[3]["correlation"]), events)
        self.assertEqual({e["name"] for e in self.story("parent")}, {"POST /api/canon/:model", "canon Country", "Country"})

    def test_an_expired_record_ends_in_the_story_that_made_it(self):  # O2
        self.begin()
        soon = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 2))
        self.post("/api/ticket", {"text": "x", "expires_at": soon}, "c-1")
        events = self.until(lambda: len(self.story("c-1")) == 3 and self.story("c-1"), 90)
        self.assertEqual(events[-1]["detail"], "removed: expired")

    def test_it_outlives_a_restart_and_a_kill(self):  # O2
        self.begin()
        self.post("/api/order", {"text": "x"}, "c-1")
        before = self.story("c-1")
        self.assertEqual(self.server.stop(), 0)
        self.begin()
        self.assertEqual(self.story("c-1"), before)
        self.post("/api/order", {"text": "x"}, "c-2")
        self.post("/api/order", {"text": "x"}, "c-3")
        time.sleep(1)  # what is younger may go with the process
        self.server.kill()
        self.begin()
        self.assertEqual(self.story("c-1"), before)
        # Entries that were applied again are shown once.
        self.assertEqual([e["kind"] for e in self.story("c-2")], ["request", "script", "change"])
        self.assertEqual([e["kind"] for e in self.story("c-3")], ["request", "script", "change"])

    def test_the_command_line_shows_it(self):
        self.begin()
        self.post("/api/order", {"text": "x"}, "c-1")
        code, out, err = run("timeline", "c-1", "--url", self.server.url)
        self.assertEqual(code, 0, err)
        self.assertEqual([line.split()[1] for line in out.splitlines()], ["KIND", "request", "script", "change"])
        code, out, err = run("timeline", "c-1", "--url", self.server.url, "--json")
        self.assertEqual(json.loads(out)["events"], self.story("c-1"))
        code, out, err = run("timeline", "c-9", "--url", self.server.url)
        self.assertEqual((code, out), (1, ""))
        self.assertIn("nothing is known", err)
        self.assertEqual(run("timeline", "a/b", "--url", self.server.url)[0], 2)

    def test_without_its_folder_the_node_works_and_says_so(self):
        os.makedirs(self.path("data"))
        self.write("data/trace", "a file where the folder belongs")
        self.begin()
        self.post("/api/order", {"text": "x"}, "c-1")
        self.assertEqual(self.c("GET", "/api/timeline/c-1").status, 404)
        ring = {c["name"]: c for c in self.c("GET", "/health").json["components"]}["ring"]
        self.assertEqual(ring["state"], "degraded")
        self.assertEqual(self.server.stop(), 0)


class Traces(Seen):
    def test_a_trace_is_continued_and_its_spans_arrive(self):
        good = self.collector()
        other = self.collector()
        self.begin("--otel.endpoint", good.url, "--otel.headers", "api-key=s%20cret,x=1",
                   env={"OTEL_RESOURCE_ATTRIBUTES": "zone=a%2Cb", "OTEL_SERVICE_NAME": "shop"})
        self.post("/api/order", {"text": "x", "url": other.url}, "c-1", traceparent=PARENT)
        spans = self.until(lambda: len(good.spans()) >= 3 and good.spans())
        by = {s["name"]: s for s in spans}
        request, script, call = (by[n] for n in ("POST /api/:entity", "Order.before_save", "GET " + other.url))
        self.assertEqual({s["traceId"] for s in spans}, {TRACE})
        self.assertEqual(request["parentSpanId"], "00f067aa0ba902b7")
        self.assertEqual(script["parentSpanId"], request["spanId"])
        self.assertEqual(call["parentSpanId"], script["spanId"])
        self.assertEqual(other.headers[0]["traceparent"], f"00-{TRACE}-{call['spanId']}-01")
        self.assertEqual((request["kind"], script["kind"], call["kind"]), (2, 1, 3))
        for s in spans:
            self.assertRegex(s["spanId"], "^[0-9a-f]{16}$")
            self.assertLessEqual(int(s["startTimeUnixNano"]), int(s["endTimeUnixNano"]))
            self.assertLess(abs(int(s["endTimeUnixNano"]) / 1e9 - time.time()), 60)
        attributes = {a["key"]: a["value"] for a in good.bodies[0]["resourceSpans"][0]["resource"]["attributes"]}
        self.assertEqual(attributes["service.name"], {"stringValue": "shop"})
        self.assertEqual(attributes["zone"], {"stringValue": "a,b"})
        self.assertEqual((good.headers[0]["api-key"], good.headers[0]["x"]), ("s cret", "1"))
        self.assertEqual(good.seen[0], "/v1/traces")
        self.assertNotIn("s cret", self.server.text)

    def test_a_share_is_sampled_and_what_fails_always_is(self):
        good = self.collector()
        self.begin(env={"OTEL_EXPORTER_OTLP_ENDPOINT": good.url + "/"})
        for i in range(300):
            self.post("/api/order", {"text": "x"}, f"c-{i}")
        for i in range(20):
            self.post("/api/order", {"text": "break"}, f"b-{i}", 422)
        names = lambda: [s["name"] for s in good.spans() if s["attributes"][1]["value"]["stringValue"][0] == "c"]
        self.until(lambda: len([s for s in good.spans() if s.get("status")]) == 20)
        time.sleep(1)
        self.assertTrue(10 <= names().count("POST /api/:entity") <= 60, names().count("POST /api/:entity"))
        self.c("GET", "/api/order", headers={"traceparent": PARENT})  # reads too, when sampled
        self.until(lambda: "GET /api/:entity" in [s["name"] for s in good.spans()])
        self.c("GET", "/api/order", headers={"traceparent": PARENT[:-1] + "0"})
        self.assertEqual(self.server.stop(), 0)
        self.assertEqual([s["name"] for s in good.spans()].count("GET /api/:entity"), 1)

    def bad(self, endpoint):
        """Writes are as fast and right as without; what is lost is counted, health says why, and it ends in time."""
        self.begin("--otel.endpoint", endpoint, "--otel.sample", "100", env={"OTEL_EXPORTER_OTLP_TIMEOUT": "1000"})
        slowest = 0
        for i in range(300):
            began = time.monotonic()
            self.post("/api/order", {"text": "x"}, f"c-{i}")
            slowest = max(slowest, time.monotonic() - began)
        self.assertLess(slowest, 2)
        self.assertEqual(len(self.story("c-299")), 3)
        self.until(lambda: self.metric(r'koan_trace_lost_total\{at="export"\}') > 0, 40)
        telemetry = lambda: {c["name"]: c for c in self.c("GET", "/health").json["components"]}["telemetry"]
        self.assertEqual(telemetry()["state"], "degraded")
        self.assertTrue(telemetry()["message"])
        self.assertEqual(self.c("GET", "/readyz").status, 200)
        began = time.monotonic()
        self.assertEqual(self.server.stop(), 0)
        self.assertLess(time.monotonic() - began, 10)

    def test_a_collector_that_refuses(self):  # O3
        self.bad(self.collector("refuse").url)

    def test_a_collector_that_is_busy(self):  # O3
        self.bad(self.collector("busy").url)

    def test_a_collector_that_hangs(self):  # O3
        self.bad(self.collector("hang").url)

    def test_a_collector_that_is_down(self):  # O3
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            port = s.getsockname()[1]
        self.bad(f"http://127.0.0.1:{port}")

    def test_a_slow_collector_gets_all_in_the_end(self):
        slow = self.collector("slow")
        self.begin("--otel.endpoint", slow.url, "--otel.sample", "100")
        for i in range(200):
            self.post("/api/order", {"text": "x"}, f"c-{i}")
        self.until(lambda: len(slow.spans()) == 400)
        self.assertEqual(len({s["spanId"] for s in slow.spans()}), 400)
        self.until(lambda: self.metric("koan_trace_exported_total") == 400)
        self.assertEqual(self.metric(r"koan_trace_lost_total\{.*\}"), 0)

    def test_headers_that_are_none_refuse_the_start(self):
        code, said = self.fails("--otel.headers", "a=b%0d%0ac")
        self.assertEqual(code, 1)
        self.assertIn("otel.headers", said)


if __name__ == "__main__":
    unittest.main()
