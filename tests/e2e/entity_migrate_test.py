"""migrate: records brought in line with a narrower definition, while others write and the node is killed."""
import json
import random
import threading
import time
import unittest

from e2e.node import Case, run

RECORDS, ROUND = 100000, 1000
OLD = 'entity "Item" { fields = { n = int, note = text } }\n'
NEW = """entity "Item" {
  fields = { price = decimal { required = true, unique = true }, note = text { max = 20, index = true } },
  migrate = function(old)
    if old.note == "bad" then reject("no_price", "nobody knows what it costs") end
    return { price = string.format("%d.50", old.n), note = old.note and old.note:sub(1, 20) }
  end,
}
"""


class Migrates(Case):
    def fill(self, c, count):
        for first in range(0, count, ROUND):
            rows = [{"id": f"i{k:06}", "n": k, "note": f"note {k}"} for k in range(first, first + ROUND)]
            self.assertEqual(c("POST", "/api/item/bulk", rows).status, 200)

    def deploy(self, server, code=0):
        got, out, err = run("deploy", "app", "--name", "new", "--no-check", "--json", "--url", server.url, cwd=self.dir)
        if code is not None:
            self.assertEqual(got, code, out + err)
        return out + err

    def wait_under_way(self, server):
        c, end = server.client(), time.monotonic() + 20
        while time.monotonic() < end:
            if c("GET", "/api/cluster/entities/Item").json.get("migration", {}).get("percent"):
                return
            time.sleep(0.02)
        self.fail("no migration began")

    def begin(self, count):
        self.write("app/item.lua", OLD)
        server = self.node("--scripts", self.path("app"))
        self.fill(server.client(), count)
        self.write("app/item.lua", NEW)
        return server

    def test_every_record_is_migrated_as_it_was_last_written_over_kills(self):
        server = self.begin(RECORDS)
        seen, lock = {}, threading.Lock()  # k -> values of n that it may have

        def writer(client, worker, stop):
            mine = random.Random(worker)
            while not stop.is_set():
                k, v = mine.randrange(RECORDS // 2) * 2 + worker, 0
                with lock:
                    self.next += 1
                    v = self.next
                    seen.setdefault(k, {k}).add(v)
                try:
                    answer = client("PUT", f"/api/item/i{k:06}", {"n": v})
                except Exception:
                    return
                if answer.status == 200:
                    with lock:
                        seen[k] = {v}
                    self.acked += 1
                elif answer.status == 400:  # the new definition is in force
                    with lock:
                        seen[k].discard(v)
                    return
                else:
                    self.assertEqual((answer.status, answer.json["code"]), (503, "unavailable"))
                    with lock:
                        seen[k].discard(v)

        self.next, self.acked, resumed = RECORDS, 0, []
        for round_ in range(4):
            stop = threading.Event()
            writers = [threading.Thread(target=writer, args=(server.client(), w, stop)) for w in range(2)]
            deploying = threading.Thread(target=lambda: self.deploy(server, None if round_ < 3 else 0))
            for t in writers + [deploying]:
                t.start()
            if round_ < 3:
                self.wait_under_way(server)
                time.sleep(round_ * 0.1)
                server.process.kill()
                server.process.wait()
            deploying.join()
            stop.set()
            for t in writers:
                t.join()
            if round_ < 3:
                server = self.node()
                state = server.client()("GET", "/api/cluster/entities/Item").json
                resumed.append(state.get("migration", {}).get("percent"))
        self.assertGreater(self.acked, 50)
        self.assertTrue([p for p in resumed if p is not None and 0 < p < 100], resumed)
        c = server.client()
        state = c("GET", "/api/cluster/entities/Item").json
        self.assertEqual(list(state["definition"]["fields"]), ["price", "note"])
        self.assertNotIn("migration", state)
        answer, count = c("GET", "/api/item?sort=id", headers={"Accept": "application/x-ndjson"}), 0
        for line in answer.body.splitlines():
            row = json.loads(line)
            k = int(row["id"][1:])
            self.assertIn(row["price"], {f"{n}.5" for n in seen.get(k, {k})}, row)
            count += 1
        self.assertEqual(count, RECORDS)
        taken = json.loads(answer.body.splitlines()[9])["price"]
        self.assertEqual(c("POST", "/api/item", {"price": taken}).status, 409)
        self.assertEqual(c("POST", "/api/item", {"n": 1}).status, 400)
        self.assertEqual(server.stop(), 0)

    def test_a_record_that_cannot_be_migrated_stops_it_and_is_named(self):
        server = self.begin(2000)
        c = server.client()
        c("PATCH", "/api/item/i001500", {"note": "bad"})
        c("PATCH", "/api/item/i001501", {"n": None})
        told = self.deploy(server, 1)
        self.assertIn("i001500", told)
        self.assertIn("nobody knows what it costs", told)
        state = c("GET", "/api/cluster/entities/Item").json
        self.assertEqual([f["id"] for f in state["halted"]], ["i001500", "i001501"])
        self.assertEqual(list(state["definition"]["fields"]), ["n", "note"])
        code, out, err = run("entity", "indexes", "Item", "--url", server.url)
        self.assertEqual((code, "i001501" in out), (3, True), out + err)
        self.assertEqual(c("PUT", "/api/item/i001500", {"n": 1500}).status, 200)
        self.assertEqual(c("DELETE", "/api/item/i001501").status, 204)
        self.deploy(server)
        self.assertEqual(c("GET", "/api/item/i001500").json["price"], "1500.5")
        self.assertNotIn("halted", c("GET", "/api/cluster/entities/Item").json)
        self.assertEqual(server.stop(), 0)

    def test_without_it_the_narrowing_is_refused(self):
        server = self.begin(1000)
        self.write("app/item.lua", NEW.replace("migrate", "-- migrate", 1).split("  --")[0] + "}\n")
        self.assertIn("migrate = function(old)", self.deploy(server, 1))


if __name__ == "__main__":
    unittest.main()
