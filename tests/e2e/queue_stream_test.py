"""Messages as lines both ways, on connections that last: senders, consumers, and what ends them."""
import json
import select
import socket
import subprocess
import threading
import time
import unittest

from e2e.node import BIN, App, environment

Q = "/api/queues/%2F/"


class Lines:
    """A request whose body and answer go on side by side."""

    def __init__(self, port, path, verb="POST", kind="application/x-ndjson", headers=""):
        self.s = socket.create_connection(("127.0.0.1", port), timeout=20)
        self.s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.file = self.s.makefile("rb")
        head = f"{verb} {path} HTTP/1.1\r\nHost: x\r\n"
        if verb == "POST":
            head += f"Content-Type: {kind}\r\nTransfer-Encoding: chunked\r\n"
        head += headers
        self.s.sendall((head + "\r\n").encode())
        self.head = None
        self.left = b""

    def send(self, *lines):
        self.raw("".join((x if isinstance(x, str) else json.dumps(x)) + "\n" for x in lines).encode())

    def raw(self, text):
        self.s.sendall(b"%x\r\n%s\r\n" % (len(text), text))

    def end(self):
        self.s.sendall(b"0\r\n\r\n")

    def status(self):
        if self.head is None:
            lines = []
            while (line := self.file.readline()) not in (b"\r\n", b""):
                lines.append(line.decode().rstrip())
            self.head = lines
        return int(self.head[0].split()[1])

    def chunk(self):
        self.status()
        size = int(self.file.readline() or b"0", 16)
        data = self.file.read(size)
        self.file.readline()
        return data

    def text(self):
        """The next line of the answer, None at its end."""
        while b"\n" not in self.left:
            more = self.chunk()
            if not more:
                return None
            self.left += more
        line, self.left = self.left.split(b"\n", 1)
        return line.decode()

    def line(self):
        while (text := self.text()) == "":
            pass
        return None if text is None else json.loads(text)

    def event(self):
        """The next event and its data; comments are passed over."""
        name = data = None
        while (text := self.text()) is not None:
            if text.startswith("event: "):
                name = text[7:]
            elif text.startswith("data: "):
                data = json.loads(text[6:])
            elif text == "" and name:
                return name, data
        return None, None

    def refusal(self):
        self.status()
        length = next(int(h.split()[1]) for h in self.head if h.lower().startswith("content-length"))
        return json.loads(self.file.read(length))

    def close(self):
        self.file.close()
        self.s.close()


class Streams(App):
    names = iter(range(10 ** 9))

    def queue(self, **options):
        name = f"s{next(self.names)}"
        self.ok("PUT", Q + name, options, 201)
        return name

    def open(self, path, **more):
        s = Lines(self.server.port, path, **more)
        self.addCleanup(s.close)
        return s

    def counts(self, name):
        return self.ok("GET", Q + name).json

    def wait_counts(self, name, **wanted):
        end = time.monotonic() + 10
        while time.monotonic() < end:
            now = self.counts(name)
            if all(now[k] == v for k, v in wanted.items()):
                return
            time.sleep(0.02)
        self.fail(f"{wanted} did not come: {now}")


class Sending(Streams):
    def test_each_line_is_answered_in_its_order_while_the_body_goes_on(self):
        q = self.queue()
        s = self.open(f"{Q}{q}/stream")
        for i in range(3):
            s.send({"body": {"n": i}, "key": "k"})
            answer = s.line()
            self.assertEqual((answer["line"], answer["depth"], answer["duplicate"]), (i + 1, i + 1, False))
        s.send(*[{"body": i} for i in range(500)])
        self.assertEqual([s.line()["line"] for _ in range(500)], list(range(4, 504)))
        self.assertEqual(self.counts(q)["messages_ready"], 503)
        s.end()
        self.assertIsNone(s.line())

    def test_a_line_that_is_refused_refuses_no_other(self):
        q = self.queue()
        s = self.open(f"{Q}{q}/stream")
        s.send({"body": 1}, {"body": 2, "prio": 1}, "{", {"body": 3})
        a, b, c, d = (s.line() for _ in range(4))
        self.assertIn("id", a)
        self.assertIn("prio", b["error"]["detail"])
        self.assertEqual(c["error"]["code"], "invalid")
        self.assertEqual((d["line"], d["depth"]), (4, 2))

    def test_lines_may_come_in_pieces_and_the_last_needs_no_end(self):
        q = self.queue()
        s = self.open(f"{Q}{q}/stream")
        text = b'{"body": "one"}\n\n{"body": "two"}'
        for i in range(0, len(text), 5):
            s.raw(text[i:i + 5])
        s.end()
        self.assertEqual([s.line()["line"], s.line()["line"], s.line()], [1, 2, None])

    def test_a_line_without_end_is_too_long(self):
        q = self.queue()
        s = self.open(f"{Q}{q}/stream")
        s.send({"body": 1})
        self.assertEqual(s.line()["line"], 1)
        try:
            for _ in range(80):
                s.raw(b"x" * 65536)
        except OSError:
            pass
        self.assertIn("longer", s.line()["error"]["detail"])
        self.assertEqual(self.counts(q)["messages_ready"], 1)

    def test_who_reads_no_answers_is_not_read_from(self):  # H3
        q = self.queue()
        s = self.open(f"{Q}{q}/stream")
        s.s.settimeout(2)
        line = (json.dumps({"body": "x" * 1000}) + "\n").encode() * 60
        sent = 0
        try:
            for sent in range(1000):
                s.raw(line)
        except TimeoutError:
            pass
        self.assertLess(sent, 999)
        self.assertLess(self.counts(q)["messages_ready"], 59940)

    def test_a_queue_that_is_not_there_is_each_lines_error_unless_it_is_to_be_made(self):
        s = self.open(f"{Q}nowhere/stream")
        s.send({"body": 1})
        self.assertEqual(s.line()["error"]["code"], "not_found")
        s = self.open(f"{Q}made-here/stream?create=true")
        s.send({"body": 1})
        self.assertEqual(s.line()["depth"], 1)

    def test_what_cannot_be_a_stream_is_refused(self):
        q = self.queue()
        s = self.open(f"{Q}{q}/stream", kind="application/json")
        self.assertEqual((s.status(), s.refusal()["code"]), (415, "media_type"))
        self.refused("POST", f"{Q}{q}/stream?x=1", "", status=400, words="x", **{"Content-Type": "application/x-ndjson"})
        self.refused("POST", f"{Q}{q}/consume", "", 422, "unsupported", "Idempotency-Key",
                     **{"Content-Type": "application/x-ndjson", "Idempotency-Key": "a"})


class Consuming(Streams):
    def test_messages_come_as_they_are_sent_and_are_settled_on_the_same_connection(self):  # Q1
        q = self.queue()
        c = self.open(f"{Q}{q}/consume?prefetch=2")
        for i in range(4):
            self.ok("POST", f"{Q}{q}/messages", {"n": i}, 201)
        one, two = c.line(), c.line()
        self.assertEqual((one["body"], two["body"], one["attempt"]), ({"n": 0}, {"n": 1}, 1))
        self.assertEqual(self.counts(q)["messages_unacknowledged"], 2)
        c.send({"id": one["id"], "token": one["token"], "outcome": "ack"})
        got = [c.line(), c.line()]
        self.assertIn({"line": 1, "id": one["id"], "outcome": "ack"}, got)
        self.assertEqual([m["body"] for m in got if "token" in m], [{"n": 2}])
        c.send({"id": one["id"], "token": one["token"], "outcome": "ack"})
        self.assertIn(c.line()["error"]["code"], ("fenced", "not_found"))

    def test_what_is_not_settled_goes_back_when_the_connection_ends_and_uses_no_try(self):
        q = self.queue()
        for i in range(3):
            self.ok("POST", f"{Q}{q}/messages", {"n": i}, 201)
        c = self.open(f"{Q}{q}/consume?prefetch=10")
        self.assertEqual([c.line()["body"]["n"] for _ in range(3)], [0, 1, 2])
        c.close()
        self.wait_counts(q, messages_ready=3, messages_unacknowledged=0)
        c = self.open(f"{Q}{q}/consume", verb="GET")
        first = [c.event() for _ in range(3)]
        self.assertEqual([(name, m["body"]["n"], m["attempt"], m["deliveries"]) for name, m in first],
                         [("message", n, 1, 2) for n in range(3)])
        c.close()
        self.wait_counts(q, messages_ready=3)

    def test_events_are_settled_by_the_route_for_it(self):
        q = self.queue()
        c = self.open(f"{Q}{q}/consume?prefetch=1", verb="GET")
        for i in range(2):
            self.ok("POST", f"{Q}{q}/messages", {"n": i}, 201)
        for i in range(2):
            name, m = c.event()
            self.assertEqual((name, m["body"]["n"]), ("message", i))
            self.ok("POST", f"{Q}{q}/settle", {"id": m["id"], "token": m["token"], "outcome": "ack"})
        self.assertIn("text/event-stream", " ".join(c.head))

    def test_a_held_message_is_the_holders_for_longer_than_its_lease(self):  # Q4
        q = self.queue()
        c = self.open(f"{Q}{q}/consume?lease=1s")
        self.ok("POST", f"{Q}{q}/messages", {"n": 1}, 201)
        m = c.line()
        time.sleep(3)
        c.send({"id": m["id"], "token": m["token"], "outcome": "ack"})
        self.assertEqual(c.line()["outcome"], "ack")

    def test_a_message_that_is_lost_to_its_holder_is_told(self):
        q = self.queue()
        c = self.open(f"{Q}{q}/consume")
        self.ok("POST", f"{Q}{q}/messages?timeout=1s&attempts=1", {"n": 1}, 201)
        m = c.line()
        self.assertEqual(c.line(), {"lost": {"id": m["id"], "token": m["token"]}})

    def test_of_two_messages_that_were_granted_together_only_the_lost_one_is_told(self):
        q = self.queue()
        sent = self.ok("POST", f"{Q}{q}/messages?batch=true",
                       [{"body": 1, "timeout": "1s", "attempts": 1}, {"body": 2}], 200)
        c = self.open(f"{Q}{q}/consume")
        first, second = c.line(), c.line()
        self.assertEqual(first["token"], second["token"])
        self.assertEqual(c.line(), {"lost": {"id": first["id"], "token": first["token"]}})
        c.send({"id": second["id"], "token": second["token"], "outcome": "ack"})
        self.assertEqual(c.line()["outcome"], "ack")

    def test_who_holds_what_is_cancelled_is_told(self):
        q = self.queue()
        lines, events = self.open(f"{Q}{q}/consume?prefetch=1"), None
        self.ok("POST", f"{Q}{q}/messages", {"n": 1}, 201)
        m = lines.line()
        events = self.open(f"{Q}{q}/consume?prefetch=1", verb="GET")
        self.ok("POST", f"{Q}{q}/messages", {"n": 2}, 201)
        name, other = events.event()
        self.assertEqual(name, "message")
        for held in (m, other):
            self.assertEqual(self.ok("DELETE", f"{Q}{q}/messages/{held['id']}", status=202).json["outcome"], "asked")
        self.assertEqual(lines.line(), {"cancel": {"id": m["id"], "token": m["token"]}})
        self.assertEqual(events.event(), ("cancel", {"id": other["id"], "token": other["token"]}))
        self.assertTrue(self.ok("GET", f"{Q}{q}/messages/{m['id']}").json["cancel_asked"])
        lines.send({"id": m["id"], "token": m["token"], "outcome": "nack", "delay": 0})
        self.assertEqual(lines.line()["outcome"], "nack")
        self.assertEqual(self.counts(q)["messages_ready"], 0)  # not tried again
        self.refused("GET", f"{Q}{q}/messages/{m['id']}", status=404, code="not_found")

    def test_two_consumers_share_and_each_message_goes_to_one(self):  # Q1
        q = self.queue()
        both = [self.open(f"{Q}{q}/consume?prefetch=5") for _ in range(2)]
        s = self.open(f"{Q}{q}/stream")
        s.send(*[{"body": i} for i in range(10)])
        got = [c.line()["body"] for c in both for _ in range(5)]
        self.assertEqual(sorted(got), list(range(10)))

    def test_without_a_prefetch_32_are_held_at_a_time(self):
        q = self.queue()
        s = self.open(f"{Q}{q}/stream")
        s.send(*[{"body": i} for i in range(40)])
        for _ in range(40):
            s.line()
        self.assertEqual(self.counts(q)["messages_ready"], 40)
        c = self.open(f"{Q}{q}/consume")
        held = [c.line() for _ in range(32)]
        time.sleep(0.3)
        counts = self.counts(q)
        self.assertEqual((counts["messages_unacknowledged"], counts["messages_ready"]), (32, 8))
        c.send({"id": held[0]["id"], "token": held[0]["token"], "outcome": "ack"})
        self.assertIn(32, [m["body"] for m in (c.line(), c.line()) if "token" in m])

    def test_large_bodies_come_whole_and_in_order(self):
        q = self.queue()
        for i in range(40):
            self.ok("POST", f"{Q}{q}/messages", {"n": i, "x": "y" * 900_000}, 201)
        c = self.open(f"{Q}{q}/consume?prefetch=40")
        for i in range(40):
            m = c.line()
            self.assertEqual((m["body"]["n"], len(m["body"]["x"])), (i, 900_000))

    def test_a_queue_that_is_not_there_is_404(self):
        c = self.open(f"{Q}nowhere/consume", verb="GET")
        self.assertEqual((c.status(), c.refusal()["code"]), (404, "not_found"))
        for query, word in (("prefetch=0", "prefetch"), ("prefetch=2001", "2000"), ("lease=0", "lease"), ("labels=x", "labels"), ("x=1", "x")):
            self.refused("GET", f"{Q}nowhere/consume?{query}", status=400, words=word)


class Tailing(Streams):
    def test_what_happens_is_seen_in_order_and_nothing_is_taken(self):
        q, other = self.queue(), self.queue()
        t = self.open(f"{Q}{q}/tail", verb="GET")
        self.assertEqual(t.status(), 200)
        self.ok("POST", f"{Q}{other}/messages", {"n": 0}, 201)
        ids = [self.ok("POST", f"{Q}{q}/messages?attempts=1", {"n": i}, 201).json["id"] for i in range(3)]
        for outcome in ("ack", "nack", "snooze"):
            m = self.ok("POST", f"{Q}{q}/lease", {"max": 1, "wait": 5}).json["messages"][0]
            more = {"delay": "1h"} if outcome == "snooze" else {}
            self.ok("POST", f"{Q}{q}/settle", {"id": m["id"], "token": m["token"], "outcome": outcome, **more})
        self.ok("DELETE", f"{Q}{q}/messages/{ids[2]}")
        got = [t.event() for _ in range(6)]
        self.assertEqual([(name, e["id"], e["attempt"], e.get("reason")) for name, e in got],
                         [("started", ids[0], 1, None), ("completed", ids[0], 1, None), ("started", ids[1], 1, None),
                          ("discarded", ids[1], 1, "attempts"), ("started", ids[2], 1, None), ("cancelled", ids[2], 0, None)])

    def test_the_command_shows_it(self):
        q = self.queue()
        p = subprocess.Popen([BIN, "queue", "tail", q, "--url", self.server.url], env=environment(), stdout=subprocess.PIPE, text=True)
        self.addCleanup(p.stdout.close)
        self.addCleanup(p.wait)
        self.addCleanup(p.kill)
        c = self.open(f"{Q}{q}/consume")
        self.assertEqual(c.status(), 200)
        for i in range(50):  # until it looks on
            self.ok("POST", f"{Q}{q}/messages", {"n": i}, 201)
            if select.select([p.stdout], [], [], 0.1)[0]:
                break
        self.assertRegex(p.stdout.readline(), r"^20\S+Z  [0-9a-f-]{36}  started +attempt 1\n$")

    def test_a_queue_that_is_not_there_has_no_tail(self):
        t = self.open(f"{Q}nowhere/tail", verb="GET")
        self.assertEqual((t.status(), t.refusal()["code"]), (404, "not_found"))


class Merging(Streams):
    def test_lines_are_merged_with_what_waits_in_their_order(self):
        q = self.queue()
        s = self.open(f"{Q}{q}/stream")
        s.send({"body": {"old": 1}, "unique": "u", "backoff": "7s", "needs": {"gpu": 1}})
        s.send(*[{"body": {f"k{i}": i, "last": i}, "unique": "u", "unique_mode": "merge", "backoff": "7s"} for i in range(200)],
               {"body": {"z": 1}, "unique": "z", "unique_mode": "merge", "needs": {"gpu": 1}}, {"body": 7},
               {"body": [7], "unique": "u", "unique_mode": "merge", "type": "x/y"}, {"body": {"z": 2}, "unique": "z", "unique_mode": "merge"})
        got = [s.line() for _ in range(205)]
        self.assertEqual([g["line"] for g in got], list(range(1, 206)))
        self.assertEqual([g.get("merged") for g in got], [False] + [True] * 200 + [False, False, None, True])
        self.assertEqual(got[203]["error"]["code"], "invalid")
        bodies = [m["body"] for m in self.ok("GET", f"{Q}{q}/messages").json["items"]]
        self.assertEqual(bodies[0], {"old": 1, "last": 199, **{f"k{i}": i for i in range(200)}})
        self.assertEqual(sorted(bodies[1:], key=str), [7, {"z": 2}])
        s.end()
        self.assertIsNone(s.line())

    def test_streams_that_merge_at_the_same_time_lose_nothing(self):
        q = self.queue()
        streams = [self.open(f"{Q}{q}/stream") for _ in range(4)]
        for n, s in enumerate(streams):
            s.send(*[{"body": {f"{n}.{i}": 1}, "unique": "u", "unique_mode": "merge"} for i in range(20)])
        done = {}
        for n, s in enumerate(streams):
            for i in range(20):
                line = s.line()
                if "error" in line:  # too many others were faster
                    self.assertEqual((line["error"]["code"], line["error"]["retry"]), ("conflict", "reread"))
                else:
                    done[f"{n}.{i}"] = 1
        self.assertGreater(len(done), 20)
        self.assertEqual([m["body"] for m in self.ok("GET", f"{Q}{q}/messages").json["items"]], [done])

    def test_a_sender_that_goes_while_its_lines_are_merged_harms_nobody(self):
        q = self.queue()
        for _ in range(5):
            s = self.open(f"{Q}{q}/stream")
            s.send(*[{"body": {f"k{i}": i}, "unique": "u", "unique_mode": "merge"} for i in range(50)])
            s.s.close()
        self.assertEqual(self.ok("GET", "/livez").status, 200)


class Ending(Streams):
    def again(self):
        """The server once more, over the same data."""
        type(self).server = self.house.node("--scripts", self.house.path("scripts"))
        self.setUp()

    def test_a_node_that_stops_ends_streams_and_hands_back_what_was_held(self):
        q = self.queue()
        s, c = self.open(f"{Q}{q}/stream"), self.open(f"{Q}{q}/consume")
        s.send({"body": 1})
        self.assertEqual((s.line()["line"], c.line()["body"]), (1, 1))
        stopped = threading.Thread(target=self.server.stop)
        stopped.start()
        self.assertEqual(s.line()["error"]["code"], "draining")
        self.assertEqual(c.line()["error"]["code"], "draining")
        self.assertIsNone(s.line())
        stopped.join()
        self.again()
        m = self.ok("POST", f"{Q}{q}/lease", {"wait": 5}).json["messages"]
        self.assertEqual([(x["body"], x["attempt"]) for x in m], [(1, 1)])

    def test_what_was_answered_survives_kill_9(self):  # Q2
        q = self.queue()
        s = self.open(f"{Q}{q}/stream")
        s.send(*[{"body": i} for i in range(2000)])
        answered = [s.line() for _ in range(1000)]
        self.server.kill()
        self.again()
        self.assertGreaterEqual(self.counts(q)["messages_ready"], 1000)
        self.assertEqual(len({a["id"] for a in answered}), 1000)


if __name__ == "__main__":
    unittest.main()
