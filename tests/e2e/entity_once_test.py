"""E3: each committed change comes out exactly once for each reader of the feed, in order per record; what was refused or
rolled back never does, whoever refused it and whatever was killed meanwhile."""
import http.client
import json
import random
import threading
import time
import unittest

from e2e.entity_feed_test import Feed
from e2e.node import Case

APP = """
entity "Box" {
  fields = { n = int { max = 1000000 }, tag = text { unique = true }, in_ = ref { "Box", on_remove = "restrict" }, by = text },
  before_save = function(e) if e.by == "REFUSED by a hook" then reject("NO", "a hook says no") end end,
  before_remove = function(e) if e.by == "kept" then reject("NO", "kept") end end,
}
"""


class Reader:
    """A group of its own: it follows, breaks off, and resumes where it was."""

    def __init__(self, port, impatience):
        self.port, self.impatience, self.seen, self.last, self.problems = port, impatience, [], "0", []
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        while not self.stop.is_set():
            try:
                f = Feed(self.port[0], "box", last=self.last)
            except (OSError, http.client.HTTPException):
                time.sleep(0.02)
                continue
            if f.status != 200:
                self.problems.append(f.problem)
                return
            while not f.over and not self.stop.is_set() and len(f.events) < self.impatience:
                time.sleep(0.005)
            f.close()
            self.seen.extend(f.events)
            self.last = f.last or self.last


class Writer:
    """Changes some records, among them such as are refused; knows what was acknowledged."""

    def __init__(self, port, k):
        self.port, self.k, self.rnd, self.acked, self.c = port, k, random.Random(k), [], None
        self.stop, self.refused = threading.Event(), 0
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def ask(self, method, path, body=None, **headers):
        if self.c is None:
            self.c = http.client.HTTPConnection("127.0.0.1", self.port[0], timeout=10)
        self.c.request(method, path, json.dumps(body) if body is not None else None,
                       {"Content-Type": "application/json", **{h.replace("_", "-"): v for h, v in headers.items()}})
        a = self.c.getresponse()
        text = a.read()
        return a, json.loads(text) if text else None

    def run(self):
        i = 0
        while not self.stop.is_set():
            i += 1
            try:
                self.turn(i)
            except (OSError, http.client.HTTPException):
                self.c = None
                time.sleep(0.02)

    def turn(self, i):
        r, mine = self.rnd, f"w{self.k}-{self.rnd.randrange(5)}"
        do = r.randrange(9)
        no = {"by": "REFUSED"}
        if do < 3:
            a, v = self.ask("PUT", "/api/box/" + mine, {"n": i, "by": "put"})
            if a.status in (200, 201):
                self.acked.append((mine, v["version"], i))
        elif do == 3:
            a, _ = self.ask("DELETE", "/api/box/" + mine)
        elif do == 4:  # a condition
            a, _ = self.ask("PUT", "/api/box/" + mine, no, If_Match='"999999"')
            self.must_refuse(a, 412, 404)
        elif do == 5:  # a hook, behind one that is fine by itself
            a, _ = self.ask("POST", "/api/box/bulk", [{"id": mine, **no}, {"id": mine + "h", "by": "REFUSED by a hook"}])
            self.must_refuse(a, 422)
        elif do == 6:  # a constraint, at the end of a unit
            a, _ = self.ask("POST", "/api/box/bulk", [{"id": mine, **no}, {"id": mine + "x", **no, "in_": "nobody"}])
            self.must_refuse(a, 409)
        elif do == 7:  # a unique value that somebody has
            a, _ = self.ask("POST", "/api/box/bulk", [{"id": mine, **no}, {"id": mine + "u", **no, "tag": "taken"}])
            self.must_refuse(a, 409)
        else:  # removed with others of which one is kept
            a, _ = self.ask("DELETE", "/api/box/bulk", {"ids": ["anchored", "anchor"]})
            self.must_refuse(a, 422, 409)

    def must_refuse(self, a, *statuses):
        if a.status < 500:
            assert a.status in statuses, a.status
            self.refused += 1


class Once(Case):
    def follow(self, events):
        """The state that one gets who does what the events say; fails where they are not in order."""
        state = {}
        for at, name, d in events:
            before = state.get(d["id"])
            if name == "created":
                self.assertIsNone(before, (at, d))
                self.assertEqual(d["version"], 1)
                state[d["id"]] = d
            else:
                self.assertIsNotNone(before, (at, name, d))
                self.assertEqual(d["version"], before["version"] + (name == "updated"), (at, name, d))
                state[d["id"]] = d
                if name == "removed":
                    self.assertEqual(d, before)
                    del state[d["id"]]
        return state

    def test_committed_changes_come_once_in_order_and_refused_ones_never(self):  # E3
        self.write("scripts/app.lua", APP)
        node = self.node("--scripts", self.path("scripts"))
        c = node.client()
        for box in ({"id": "anchor", "tag": "taken", "by": "kept"}, {"id": "anchored", "in_": "anchor", "by": "kept"}):
            self.assertEqual(c("POST", "/api/box", box).status, 201)
        port = [node.port]
        readers = [Reader(port, most) for most in (40, 500, 10 ** 9)]
        writers = [Writer(port, k) for k in range(3)]
        for _ in range(3):
            time.sleep(0.8)
            node.kill()
            node = self.node("--scripts", self.path("scripts"))
            port[0] = node.port
        time.sleep(0.8)
        for w in writers:
            w.stop.set()
        for w in writers:
            w.thread.join(30)
        last = Feed(node.port, "box", since=0)
        rows = {r["id"]: r for r in node.client()("GET", "/api/box?pageSize=200").json}
        end = time.monotonic() + 20
        while time.monotonic() < end and self.final(last) != rows:
            time.sleep(0.05)
        last.close()
        whole = last.events
        time.sleep(0.5)
        for r in readers:
            r.stop.set()
            r.thread.join(30)
        self.assertEqual(self.follow(whole), rows)
        self.assertNotIn("REFUSED", json.dumps(whole) + json.dumps(rows))
        made = {(d["id"], d["n"]) for _, _, d in whole if "n" in d}
        for w in writers:
            self.assertGreater(w.refused, 20)
            self.assertGreater(len(w.acked), 20)
            self.assertLessEqual({(i, n) for i, _, n in w.acked}, made)
        # Every reader has had the same, each change once, however often it broke off.
        for r in readers:
            self.assertEqual(r.problems, [])
            self.assertGreater(len(r.seen), 50)
            self.assertEqual(r.seen, whole[:len(r.seen)])
        self.assertEqual(node.stop(), 0)

    def final(self, feed):
        state = {}
        for _, name, d in list(feed.events):
            state[d["id"]] = d
            if name == "removed":
                del state[d["id"]]
        return state


if __name__ == "__main__":
    unittest.main()
