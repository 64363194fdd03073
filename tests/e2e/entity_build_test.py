"""Indexes and search that are built behind a definition, while others write and the node is killed."""
import json
import random
import threading
import time
import unittest

from e2e.node import Case, run

RECORDS, ROUND, KILLS = 100000, 1000, 4
ITEM = 'entity "Item" { fields = { n = int%s, group = int, word = text%s }%s }\n'


class Builds(Case):
    def fill(self, c, count):
        for first in range(0, count, ROUND):
            rows = [{"id": f"i{k:06}", "n": k, "group": k % 100, "word": f"w{k}"} for k in range(first, first + ROUND)]
            answer = c("POST", "/api/item/bulk", rows)
            self.assertEqual(answer.status, 200, answer.body)

    def state(self, c):
        answer = c("GET", "/api/cluster/entities/Item")
        self.assertEqual(answer.status, 200, answer.body)
        return answer.json

    def wait(self, c, done, seconds=120):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            state = self.state(c)
            if done(state):
                return state
            time.sleep(0.05)
        self.fail(f"not within {seconds} s: {state}")

    def health(self, c, state):
        """Of the indexes, which the node looks at every 10 s."""
        for _ in range(200):
            whole = c("GET", "/health")
            found = [r for r in whole.json["components"] if r["name"] == "entity.indexes"]
            if whole.status == 200 and found and found[0]["state"] == whole.json["status"] == state:
                return found[0]
            time.sleep(0.1)
        self.fail(whole.body)

    def deploy(self, server, name):
        code, out, err = run("deploy", "app", "--name", name, "--no-check", "--url", server.url, cwd=self.dir)
        self.assertEqual(code, 0, out + err)

    def test_nothing_is_lost_and_q_is_never_short_however_often_the_node_is_killed(self):  # E1 E2
        self.write("app/item.lua", ITEM % ("", "", ""))
        server = self.node("--scripts", self.path("app"))
        self.fill(server.client(), RECORDS)
        self.write("app/item.lua", ITEM % (" { unique = true }", " { search = true }", ', index = { { "group", "-n" } }'))
        before = time.monotonic()
        self.deploy(server, "indexed")
        self.assertLess(time.monotonic() - before, 5)
        c = server.client()
        self.assertIn("building", [i["state"] for i in self.state(c)["indexes"]])
        answer = c("GET", "/api/item?q=w77")
        self.assertEqual((answer.status, answer.json["code"], answer.json["retry"]), (503, "unavailable", "after"))
        known, maybe, lock, rng = {}, {}, threading.Lock(), random.Random(3)

        def writer(client, worker, stop):
            mine = random.Random(worker)
            while not stop.is_set():
                k = mine.randrange(RECORDS // 4) * 4 + worker
                key, word = f"i{k:06}", None if mine.random() < 0.3 else f"x{mine.randrange(10**9)}"
                with lock:
                    maybe.setdefault(k, [f"w{k}"]).append(word)
                try:
                    if word is None:
                        status = client("DELETE", f"/api/item/{key}").status
                        self.assertIn(status, (204, 200, 404))
                    else:
                        row = {"n": k, "group": k % 100, "word": word}
                        status = client("PUT", f"/api/item/{key}", row).status
                        self.assertIn(status, (200, 201))
                except AssertionError:
                    raise
                except Exception:
                    return
                with lock:
                    known[k] = word
                    maybe[k] = [word]

        for round_ in range(KILLS):
            stop = threading.Event()
            threads = [threading.Thread(target=writer, args=(server.client(), w, stop)) for w in range(4)]
            for t in threads:
                t.start()
            time.sleep(0.3 + rng.random())
            server.process.kill()
            server.process.wait()
            stop.set()
            for t in threads:
                t.join()
            server = self.node("--scripts", self.path("app"))
        c = server.client()
        state = self.wait(c, lambda s: "build" not in s)
        self.assertEqual({i["state"] for i in state["indexes"]}, {"on"})
        self.assertEqual(state["search"], "on")
        rows, path = {}, "/api/item?sort=id"
        answer = c("GET", path, headers={"Accept": "application/x-ndjson"})
        for line in answer.body.splitlines():
            row = json.loads(line)
            rows[int(row["id"][1:])] = row["word"]
        for k in range(RECORDS):
            self.assertIn(rows.get(k), maybe.get(k, [f"w{k}"]), k)
        sample = rng.sample(sorted(known), min(100, len(known)))
        for k in sample + rng.sample(range(RECORDS), 100):
            one = c("GET", f"/api/item?q={rows.get(k) or f'w{k}'}").json
            self.assertEqual([r["id"] for r in one if r["word"] == rows.get(k)], [f"i{k:06}"] if k in rows else [])
        for g in (0, 7, 99):
            answer = c("GET", f'/api/item?filter={{"group":{g}}}&count=exact&pageSize=1')
            self.assertEqual(int(answer.headers["X-Total-Count"]), sum(1 for k in rows if k % 100 == g))
        taken = next(iter(rows))
        answer = c("POST", "/api/item", {"n": taken})
        self.assertEqual((answer.status, answer.json["code"]), (409, "conflict"))
        self.assertEqual(server.stop(), 0)

    def test_a_unique_index_waits_until_no_value_has_two_owners(self):  # E2
        self.write("app/item.lua", ITEM % ("", "", ""))
        server = self.node("--scripts", self.path("app"))
        c = server.client()
        self.fill(c, 3000)
        for k in (1, 2):
            c("PUT", f"/api/item/twin{k}", {"n": k})
        self.write("app/item.lua", ITEM % (" { unique = true }", "", ""))
        self.deploy(server, "unique")
        state = self.wait(c, lambda s: s["build"]["percent"] == 100 and s["build"]["violations"] == 2)
        self.assertEqual([(v["id"], v["values"]) for v in state["build"]["list"]],
                         [("twin1", {"n": 1}), ("twin2", {"n": 2})])
        health = self.health(c, "degraded")
        self.assertEqual(health["facts"], {"building": 1, "violated": 1})
        self.assertRegex(c("GET", "/metrics").body.decode(), r"(?m)^koan_entity_builds_violated 1$")
        code, out, err = run("entity", "indexes", "Item", "--url", server.url)
        self.assertEqual(code, 3, err)
        self.assertRegex(out, r"n +unique +violated")
        self.assertIn("twin2", out)
        self.assertEqual(c("POST", "/api/item", {"n": 5}).status, 409)
        self.assertEqual(c("PUT", "/api/item/twin1", {"n": 1, "word": "still"}).status, 200)
        self.assertEqual(c("DELETE", "/api/item/twin1").status, 204)
        self.assertEqual(c("PATCH", "/api/item/i000002", {"n": 9000}).status, 200)
        self.wait(c, lambda s: "build" not in s, 20)
        self.health(c, "healthy")
        self.assertEqual(c("POST", "/api/item", {"n": 2}).status, 409)
        self.assertEqual(run("entity", "indexes", "item", "--url", server.url)[0], 0)


if __name__ == "__main__":
    unittest.main()
