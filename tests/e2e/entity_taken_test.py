"""Fields and entities that a deploy takes away: hidden, kept for a while, back when declared again; kills in between."""
import http.client
import json
import re
import signal
import subprocess
import threading
import time
import unittest

from e2e.node import BIN, Case, environment, run

RECORDS, ROUND = 30000, 1000
WHOLE = """
entity "Item" { fields = { n = int, note = text { search = true }, price = decimal { index = true } }, history = true }
entity "Tag" { fields = { name = text { unique = true } } }
"""
LESS = 'entity "Item" { fields = { n = int }, history = true }\n'


class Deploys(Case):
    def deploy(self, server, text, code=0):
        self.write("app/app.lua", text)
        got, out, err = run("deploy", "app", "--no-check", "--url", server.url, cwd=self.dir)
        if code is not None:
            self.assertEqual(got, code, out + err)
        return out + err

    def begin(self, *more):
        self.write("app/app.lua", WHOLE)
        return self.node("--scripts", self.path("app"), *more)

    def fill(self, c, count):
        for first in range(0, count, ROUND):
            rows = [{"id": f"i{k:06}", "n": k, "note": f"note {k}", "price": f"{k}.25"}
                    for k in range(first, min(first + ROUND, count))]
            self.assertEqual(c("POST", "/api/item/bulk", rows).status, 200)

    def wait(self, what, seconds=60, pause=0.05):
        end = time.monotonic() + seconds
        while not what():
            self.assertLess(time.monotonic(), end)
            time.sleep(pause)


class Taken(Deploys):
    def test_a_field_is_hidden_and_back_over_kills(self):
        server = self.begin()
        c = server.client()
        self.fill(c, RECORDS)
        for text in (LESS, WHOLE):
            for kill_after in (0.2, 0.5, None):
                deploying = threading.Thread(target=lambda: self.deploy(server, text, None if kill_after else 0))
                deploying.start()
                if kill_after:
                    time.sleep(kill_after)
                    server.process.kill()
                    server.process.wait()
                deploying.join()
                if kill_after:
                    server = self.node()
            c = server.client()
            state = c("GET", "/api/cluster/entities/Item").json
            if text == LESS:
                self.assertEqual([k["field"] for k in state["kept"]], ["note", "price"])
                row = c("GET", "/api/item/i000077").json
                self.assertEqual((row.get("note"), row.get("price"), row["n"]), (None, None, 77))
                self.assertEqual(c("GET", '/api/item?filter={"note":"n5"}').status, 400)
                self.assertEqual(c("PATCH", "/api/item/i000007", {"n": -7}).status, 200)
                self.assertEqual(c("DELETE", "/api/item/i000008").status, 204)
                self.wait(lambda: c("GET", "/api/item/i029999/history").json)
        rows = [json.loads(line) for line in c("GET", "/api/item?sort=id", headers={"Accept": "application/x-ndjson"}).body.splitlines()]
        self.assertEqual(len(rows), RECORDS - 1)
        for row in rows:
            k = int(row["id"][1:])
            self.assertEqual((row.get("note"), row.get("price")), (f"note {k}", f"{k}.25"), row)
        self.assertEqual(c("GET", "/api/item/i000007").json["n"], -7)
        self.wait(lambda: c("GET", "/api/item?q=77").status == 200)
        self.assertEqual([r["id"] for r in c("GET", '/api/item?filter={"price":"77.25"}').json], ["i000077"])
        self.wait(lambda: len(c("GET", "/api/item/i029999/history").json) == 2)
        history = c("GET", "/api/item/i000007/history").json
        self.assertEqual([(h["version"], h["how"], h["fields"]) for h in history],
                         [(3, "migrate", ["note", "price"]), (2, "patch", ["n"]), (1, "migrate", ["note", "price"])])
        self.assertEqual(server.stop(), 0)

    def test_history_and_feed_show_only_what_is_declared(self):
        server = self.begin()
        c = server.client()
        start = c("POST", "/api/item", {"id": "a", "n": 1, "note": "secret"}).headers["X-Koan-Seq"]
        self.assertEqual(c("PUT", "/api/item/a", {"n": 2, "note": "secret too"}).status, 200)
        self.deploy(server, LESS)
        self.wait(lambda: len(c("GET", "/api/item/a/history").json) == 2)
        history = c("GET", "/api/item/a/history").json
        self.assertEqual([(h["version"], h["how"]) for h in history], [(2, "migrate"), (1, "save")])
        self.assertEqual(history[0]["replaced_by"], "local")
        for version in (1, 2, 3):
            row = c("GET", f"/api/item/a/history/{version}").json
            self.assertNotIn("note", row)
            self.assertEqual(row["version"], version)
        answer = self.feed(server, int(start) - 1, 3)
        self.assertEqual([(name, r["version"]) for name, r in answer], [("created", 1), ("updated", 2), ("updated", 3)])
        self.assertNotIn("secret", json.dumps(answer))
        self.assertEqual(server.stop(), 0)

    def feed(self, server, since, count):
        host, port = server.url.split("//")[1].split(":")
        conn = http.client.HTTPConnection(host, int(port), timeout=20)
        conn.request("GET", f"/api/item/changes?since={since}")
        answer, found, name = conn.getresponse(), [], None
        self.assertEqual(answer.status, 200)
        while len(found) < count:
            line = answer.readline().decode()
            if line.startswith("event: "):
                name = line[7:].strip()
            elif line.startswith("data: ") and name in ("created", "updated", "removed"):
                found.append((name, json.loads(line[6:])))
        conn.close()
        return found

    def test_an_entity_is_out_of_sight_and_back(self):
        server = self.begin()
        c = server.client()
        self.assertEqual(c("POST", "/api/tag", {"id": "t", "name": "red"}).status, 201)
        self.deploy(server, LESS)
        self.assertEqual(c("GET", "/api/tag/t").status, 404)
        self.assertNotIn("/api/tag", c("GET", "/openapi.json").body.decode())
        code, out, err = run("entity", "kept", "--url", server.url)
        self.assertEqual(code, 0, err)
        self.assertRegex(out, r"Tag +\(all of it\)")
        self.assertRegex(out, r"Item +note +text")
        kept = c("GET", "/api/cluster/kept").json
        self.assertEqual([(k["entity"], k.get("field")) for k in kept], [("Item", "note"), ("Item", "price"), ("Tag", None)])
        self.assertRegex(kept[2]["until"], r"^\d{4}-")
        told = self.deploy(server, LESS + 'entity "tag" { fields = { name = text } }\n', 1)
        self.assertIn("case", told)
        server.process.kill()
        server.process.wait()
        server = self.node()
        c = server.client()
        self.assertEqual(c("GET", "/api/tag/t").status, 404)
        self.deploy(server, WHOLE)
        self.assertEqual(c("GET", "/api/tag/t").json["name"], "red")
        self.assertEqual(c("POST", "/api/tag", {"name": "red"}).status, 409)
        self.assertEqual(c("GET", "/api/cluster/kept").json, [])
        told = self.deploy(server, WHOLE.replace('entity "Tag"', 'entity "X" { fields = { t = ref { "Tag" } } } --'), 1)
        self.assertIn("Tag", told)
        self.assertEqual(server.stop(), 0)

    def test_after_its_time_it_is_gone(self):
        server = self.begin("--entity.keep_removed", "2s")
        c = server.client()
        self.fill(c, 2500)
        c("POST", "/api/tag", {"id": "t", "name": "red"})
        self.deploy(server, LESS)
        self.assertEqual(len(c("GET", "/api/cluster/kept").json), 3)
        server.process.kill()
        server.process.wait()
        server = self.node("--entity.keep_removed", "2s")
        c = server.client()
        purged = re.compile(r"(?m)^koan_entity_kept_purged_total 3$")
        self.wait(lambda: purged.search(c("GET", "/metrics").body.decode()), 30)
        version = c("GET", "/api/item/i000005").json["version"]
        self.deploy(server, WHOLE)
        self.assertEqual(c("GET", "/api/tag").json, [])
        row = c("GET", "/api/item/i000005").json
        self.assertEqual((row.get("note"), row["n"], row["version"]), (None, 5, version))
        self.assertNotIn("note", c("GET", "/api/item/i000005/history/1").json)
        self.assertEqual(server.stop(), 0)


class Follows(Deploys):
    def test_a_deploy_goes_on_without_its_command_and_can_be_followed(self):
        server = self.begin()
        c = server.client()
        self.fill(c, RECORDS)
        self.write("app/app.lua", LESS)
        command = subprocess.Popen([BIN, "deploy", "app", "--no-check", "--url", server.url], cwd=self.dir, env=environment(),
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        under_way = lambda a: a.status == 202 and a.json.get("entity") == "Item"
        self.wait(lambda: under_way(c("GET", "/api/cluster/deploys/last")), pause=0)
        command.send_signal(signal.SIGINT)
        out, err = command.communicate(timeout=20)
        self.assertEqual((command.returncode, out), (5, ""))
        id_ = re.search(r"koan deploy --follow (\S+)`", err)[1]
        code, out, err = run("deploy", "--follow", id_, "--url", server.url)
        self.assertEqual(code, 0, err)
        self.assertRegex(out, r"^live: deploy-\S+ \([0-9a-f]{16}\), 1 entity")
        self.assertNotIn("note", c("GET", "/api/item/i000001").json)
        self.assertEqual(c("GET", "/api/cluster/deploys/last").json["entities"], ["Item"])
        self.assertEqual(c("GET", "/api/cluster/deploys/x").status, 404)
        told = self.deploy(server, LESS + "x(", 1)
        self.assertIn("app.lua:2", told)
        self.assertEqual(c("GET", "/api/cluster/deploys/last").status, 422)
        self.assertEqual(server.stop(), 0)


if __name__ == "__main__":
    unittest.main()
