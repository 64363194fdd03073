"""kill -9 under load, again and again: every write that was acknowledged is there afterwards."""
import os
import random
import re
import signal
import threading
import time
import unittest

from e2e.node import APPS, Case

TODO = os.path.join(APPS, "todo")
KILLS = 12
WRITERS = 6


class Crash(Case):
    def setUp(self):
        super().setUp()
        self.acked = {}  # id -> title
        self.removed = set()
        self.bulks = []  # ids that were written in one unit
        self.maybe = {}  # id -> titles that may have been written: no answer came
        self.lock = threading.Lock()

    def write(self, client, rng, worker, round_, stop):
        """One writer's life; it ends when the server is gone."""
        n = 0
        while not stop.is_set():
            n += 1
            key, kind = f"r{round_}-w{worker}-{n}", rng.random()
            try:
                if kind < 0.6:
                    self.put(client, key, "put " + key)
                elif kind < 0.75:
                    self.bulk(client, key)
                elif kind < 0.9:
                    self.put(client, f"shared-w{worker}", f"value {key}")
                else:
                    self.remove(client, f"r{round_}-w{worker}-{rng.randrange(n) if n > 1 else 0}")
            except AssertionError:
                raise
            except Exception:
                return

    def put(self, client, key, title):
        with self.lock:
            self.maybe.setdefault(key, set()).add(title)
        answer = client("PUT", "/api/todo/" + key, {"title": title})
        self.assertIn(answer.status, (200, 201), answer.body)
        with self.lock:
            self.acked[key] = title
            self.maybe[key] = {title}

    def bulk(self, client, key):
        ids = [f"{key}-{i}" for i in range(20)]
        with self.lock:
            self.bulks.append(ids)
        answer = client("POST", "/api/todo/bulk", [{"id": i, "title": "bulk " + i} for i in ids])
        self.assertIn(answer.status, (200, 201), answer.body)
        with self.lock:
            for i in ids:
                self.acked[i] = "bulk " + i

    def remove(self, client, key):
        with self.lock:
            known = key in self.acked
            if known:
                del self.acked[key]
                self.removed.add(key)
        if known:
            client("DELETE", "/api/todo/" + key)

    def check(self, client):
        rows = {}
        path = "/api/todo?pageSize=200&fields=title&sort=id"
        while path:
            answer = client("GET", path)
            self.assertEqual(answer.status, 200, answer.body)
            rows.update((r["id"], r["title"]) for r in answer.json)
            following = re.search(r'<([^>]*)>; *rel="next"', answer.headers.get("Link") or "")
            path = following and following.group(1)
        for key, title in self.acked.items():
            self.assertTrue(key in rows, f"{key} was acknowledged and is gone")
            self.assertIn(rows[key], self.maybe.get(key, set()) | {title})
        for ids in self.bulks:
            self.assertIn(sum(i in rows or i in self.removed for i in ids), (0, len(ids)), "half a unit is there")
        return len(rows)

    def test_every_acknowledged_write_survives(self):  # H2 L2
        rng = random.Random(20261122)
        port = 0
        for round_ in range(KILLS):
            node = self.node(TODO, port=port)
            if round_ > 0:
                self.check(node.client())
            stop = threading.Event()
            threads = [threading.Thread(target=self.write, args=(node.client(), random.Random(rng.random()), w, round_, stop))
                       for w in range(WRITERS)]
            for t in threads:
                t.start()
            time.sleep(rng.uniform(0.15, 0.6))
            node.process.send_signal(signal.SIGKILL)
            for t in threads:
                t.join()
            node.kill()
        node = self.node(TODO)
        self.assertGreater(self.check(node.client()), 100)
        self.assertEqual(node.stop(), 0)


if __name__ == "__main__":
    unittest.main()
