"""The change feed: server-sent events, resumable, filtered; neither gap nor duplicate (E4), whatever is killed."""
import http.client
import json
import socket
import threading
import time
import unittest
import urllib.parse

from e2e.entity_refs_test import Store
from e2e.node import Case

APP = """
entity "Note" { fields = { text = text, n = int }, soft_remove = true }
entity "Line" { fields = { note = ref { "Note", on_remove = "cascade" } } }
entity "Quiet" { fields = { text = text }, feed = false }
entity "Counter" { fields = { n = int, pad = text { max = 40000 } } }
"""


class Feed:
    """Reads one stream; `events` are (id, event, data)."""

    def __init__(self, port, entity, since=None, last=None, filter=None, partition=None):
        query = {}
        if partition is not None:
            query["partition"] = partition
        if since is not None:
            query["since"] = since
        if filter is not None:
            query["filter"] = json.dumps(filter)
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        self.connection.request("GET", f"/api/{entity}/changes?" + urllib.parse.urlencode(query),
                                headers={"Last-Event-ID": last} if last is not None else {})
        self.socket = self.connection.sock  # http.client forgets it
        self.answer = self.connection.getresponse()
        self.status = self.answer.status
        self.events, self.last, self.over, self.comments = [], None, False, 0
        if self.status == 200:
            self.thread = threading.Thread(target=self._read, daemon=True)
            self.thread.start()
        else:
            self.problem = json.loads(self.answer.read())
            self.connection.close()

    def _read(self):
        event = data = ident = None
        try:
            while True:
                line = self.answer.readline()
                if not line:
                    break
                line = line.decode().rstrip("\n")
                if line.startswith("event: "):
                    event = line[7:]
                elif line.startswith("id: "):
                    ident = line[4:]
                elif line.startswith("data: "):
                    data = json.loads(line[6:])
                elif line.startswith(":"):
                    self.comments += 1
                elif line == "":
                    if ident is not None:
                        self.last = ident
                    if data is not None:
                        self.events.append((ident, event, data))
                    event = data = ident = None
        except (OSError, http.client.HTTPException, AttributeError, ValueError):
            pass  # cut off: what was whole is in `events`
        self.over = True

    def wait(self, count, seconds=10):
        end = time.monotonic() + seconds
        while len(self.events) < count and time.monotonic() < end and not (self.over and not self.thread.is_alive()):
            time.sleep(0.005)
        assert len(self.events) >= count, f"{len(self.events)} of {count} events: {self.events[-5:]}"
        return self.events

    def names(self):
        return [(e, d["id"], d["version"]) for _, e, d in self.events]

    def close(self):
        try:
            self.socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # closed by the other side
        self.thread.join(10)
        self.answer.close()
        self.connection.close()


class Live(Store):
    APP = APP

    def feed(self, entity="note", **kw):
        f = Feed(self.server.port, entity, **kw)
        if f.status == 200:
            self.addCleanup(f.close)
        return f

    def test_changes_come_as_events_with_the_record(self):
        f = self.feed(filter={"id": {"$in": ["l1", "l2"]}})
        a = self.ok("PUT", "/api/note/l1", {"text": "é\n", "n": 1}, 201)
        self.ok("PATCH", "/api/note/l1", {"n": 2})
        self.ok("PATCH", "/api/note/l1", {"n": 2})  # changes nothing
        self.ok("PUT", "/api/note/l3", {"n": 1}, 201)
        self.ok("DELETE", "/api/note/l1", status=204)
        self.ok("POST", "/api/note/l1/restore")
        f.wait(4)
        self.assertEqual(f.names(), [("created", "l1", 1), ("updated", "l1", 2), ("removed", "l1", 2), ("created", "l1", 3)])
        self.assertEqual(f.events[0][0], a.headers["X-Koan-Seq"] + "-1")
        self.assertEqual(f.events[0][2], a.json)
        self.assertEqual(f.answer.headers["Content-Type"], "text/event-stream")

    def test_a_filter_tells_what_enters_and_what_leaves(self):
        f = self.feed(filter={"n": {"$gte": 10}, "text": "filter"})
        for n, status in ((1, 201), (10, 200), (11, 200), (5, 200), (4, 200), (12, 200)):
            self.ok("PUT", "/api/note/f1", {"n": n, "text": "filter"}, status)
        self.ok("DELETE", "/api/note/f1", status=204)
        self.ok("PUT", "/api/note/f2", {"n": 20, "text": "filter"}, 201)
        f.wait(6)
        self.assertEqual(f.names(), [("entered", "f1", 2), ("updated", "f1", 3), ("left", "f1", 4), ("entered", "f1", 6),
                                     ("removed", "f1", 6), ("created", "f2", 1)])

    def test_one_unit_is_resumed_in_its_middle(self):  # E4
        a = self.ok("POST", "/api/counter/bulk", [{"id": f"m{i}", "n": i} for i in range(5)])
        seq = int(a.headers["X-Koan-Seq"])
        whole = self.feed("counter", since=seq - 1)
        whole.wait(5)
        self.assertEqual([e[0] for e in whole.events[:5]], [f"{seq}-{i}" for i in range(1, 6)])
        for i in range(1, 6):
            part = self.feed("counter", last=f"{seq}-{i}")
            self.ok("PUT", f"/api/counter/after{i}", {"n": 1}, 201)
            part.wait(5 - i + 1)
            self.assertEqual([d["id"] for _, _, d in part.events][:5 - i], [f"m{k}" for k in range(i, 5)])
        self.assertEqual(len(self.feed("counter", since=seq).wait(5)), 5)

    def test_a_cascade_is_seen_in_every_feed_it_touches(self):
        self.ok("PUT", "/api/note/c1", {}, 201)
        f = self.feed("line")
        for i in range(3):
            self.ok("PUT", f"/api/line/c{i}", {"note": "c1"}, 201)
        self.ok("DELETE", "/api/note/c1", status=204)
        self.assertEqual(sorted(f.wait(6)[3:], key=lambda e: e[2]["id"])[0][1], "removed")

    def test_what_was_refused_was_never_there(self):
        f = self.feed("line")
        self.c("POST", "/api/line/bulk", [{"id": "x1"}, {"id": "x2", "note": "nobody"}])
        self.ok("PUT", "/api/line/x3", {}, 201)
        self.assertEqual(f.wait(1)[0][2]["id"], "x3")

    def test_a_large_entry_goes_out_in_parts(self):
        f = self.feed("counter", filter={"id": "large*"})
        g = self.feed("counter")
        self.ok("POST", "/api/counter/bulk", [{"id": f"large{i:03}", "pad": "x" * 30000} for i in range(250)])
        self.ok("PUT", "/api/counter/large-after", {}, 201)
        wanted = [f"large{i:03}" for i in range(250)] + ["large-after"]
        for feed in (f, g):
            feed.wait(251, 30)
            self.assertEqual([d["id"] for _, _, d in feed.events if d["id"].startswith("large")], wanted)

    def test_a_position_where_no_record_changed_is_one(self):  # E4
        self.ok("PUT", "/api/queues/%2F/beside", {}, 201)
        old = self.feed()
        for i in range(20):
            seq = self.ok("POST", "/api/queues/%2F/beside/messages", {"n": i}, 201).headers["X-Koan-Seq"]
            new = self.feed(since=seq)
            self.assertEqual(new.status, 200)
            self.ok("PUT", f"/api/note/beside{i}", {}, 201)
            self.ok("POST", "/api/queues/%2F/beside/messages", {"n": i}, 201)
            old.wait(i + 1)
            self.assertEqual(new.wait(1)[0][2]["id"], f"beside{i}")
        self.assertEqual([d["id"] for _, _, d in old.events], [f"beside{i}" for i in range(20)])

    def test_positions_that_cannot_be_are_refused(self):
        self.assertEqual(self.feed(since="soon").problem["code"], "invalid")
        self.assertEqual(self.feed(since="99999999").problem["code"], "invalid")
        self.assertEqual(self.feed(since="1", filter={"nope": 1}).problem["code"], "invalid")
        self.refused("GET", "/api/quiet/changes", None, 422, "unsupported", "feed = false")
        self.refused("GET", "/api/note/changes?sinec=1", None, 400, "invalid", "since")
        self.refused("GET", "/api/nothing/changes", None, 404, "not_found")

    def test_a_reader_far_behind_is_cut_off_and_resumes(self):
        s = socket.create_connection(("127.0.0.1", self.server.port))
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 256 << 10)
        s.sendall(b"GET /api/counter/changes HTTP/1.1\r\nHost: x\r\n\r\n")
        self.assertIn(b"200 OK", s.recv(100))
        ids = [f"slow{i}" for i in range(400)]
        first = None
        for i in range(0, 400, 5):
            a = self.ok("POST", "/api/counter/bulk", [{"id": k, "n": 1, "pad": "x" * 30000} for k in ids[i:i + 5]])
            first = first or int(a.headers["X-Koan-Seq"])
        s.settimeout(5)
        got = b""
        try:
            while True:
                piece = s.recv(1 << 20)
                if not piece:
                    break
                got += piece
        except ConnectionResetError:
            pass
        s.close()
        whole = got[:got.rfind(b"\n\n")].count(b"event: created")
        self.assertLess(whole, 400)
        last = [line for line in got[:got.rfind(b"\n\n")].split(b"\n") if line.startswith(b"id: ")][-1][4:].decode()
        rest = self.feed("counter", last=last)
        rest.wait(400 - whole)
        self.assertEqual([d["id"] for _, _, d in rest.events if d["id"].startswith("slow")], ids[whole:])


class Torn(Case):
    """E4: neither gap nor duplicate from any position it accepts, over restarts and kill -9."""

    def test_neither_gap_nor_duplicate_over_kills(self):  # E4
        self.write("scripts/app.lua", APP)
        node = self.node("--scripts", self.path("scripts"))
        stop, seen, last = threading.Event(), [], "0"
        acked, port = [], [node.port]

        def follow():
            nonlocal last
            while not stop.is_set():
                try:
                    f = Feed(port[0], "counter", last=last)
                except (OSError, http.client.HTTPException):
                    time.sleep(0.02)
                    continue
                if f.status != 200:
                    seen.append(("refused", f.problem))
                    return
                while not f.over and not stop.is_set():
                    time.sleep(0.01)
                    if len(f.events) > 300:
                        break  # in the middle, too
                f.close()
                seen.extend(f.events)
                last = f.last or last

        def write(k):
            i, c = 0, None
            while not stop.is_set():
                try:
                    if c is None:
                        c = http.client.HTTPConnection("127.0.0.1", port[0], timeout=10)
                    body = json.dumps([{"id": f"w{k}-{i}-{j}", "n": j} for j in range(3)])
                    c.request("POST", "/api/counter/bulk", body, {"Content-Type": "application/json"})
                    a = c.getresponse()
                    a.read()
                    if a.status == 200:
                        acked.extend(f"w{k}-{i}-{j}" for j in range(3))
                except (OSError, http.client.HTTPException):
                    c = None
                    time.sleep(0.02)
                i += 1

        threads = [threading.Thread(target=follow)] + [threading.Thread(target=write, args=(k,)) for k in range(3)]
        for t in threads:
            t.start()
        for _ in range(4):
            time.sleep(0.6)
            node.kill()
            node = self.node("--scripts", self.path("scripts"))
            port[0] = node.port
        time.sleep(0.5)
        stop.set()
        for t in threads:
            t.join(30)
        everything = Feed(node.port, "counter", since=0)
        self.assertEqual(everything.status, 200)
        count = int(node.client()("GET", "/api/counter?pageSize=1&count=exact").headers["X-Total-Count"])
        everything.wait(count)
        everything.close()
        ids = [d["id"] for _, _, d in everything.events]
        self.assertEqual(len(ids), len(set(ids)))
        self.assertEqual(len(ids), count)
        self.assertLessEqual(set(acked), set(ids))
        # Piece by piece over kills and breaks: a prefix of the whole, each once.
        self.assertEqual([e for e in seen if e[0] == "refused"], [])
        self.assertGreater(len(seen), 100)
        self.assertEqual([(e[0], e[2]["id"]) for e in seen], [(e[0], e[2]["id"]) for e in everything.events[:len(seen)]])
        self.assertEqual(node.stop(), 0)

    def test_a_leaving_node_ends_its_streams_at_once(self):
        self.write("scripts/app.lua", APP)
        node = self.node("--scripts", self.path("scripts"))
        f = Feed(node.port, "note")
        began = time.monotonic()
        self.assertEqual(node.stop(), 0)
        self.assertLess(time.monotonic() - began, 5)
        f.thread.join(5)
        self.assertTrue(f.over)
        f.close()


if __name__ == "__main__":
    unittest.main()
