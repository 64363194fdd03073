"""What entities keep and let go: soft remove and restore, expiry, history; over HTTP, from scripts, over restarts."""
import datetime
import json
import re
import threading
import time
import unittest
import urllib.parse

from e2e.entity_refs_test import Store
from e2e.node import Case, run

APP = """
entity "Note" {
  fields = { text = text { search = true }, code = text { unique = true } },
  soft_remove = true,
  history = { versions = 5 },
}
entity "Ticket" { fields = { text = text }, ttl = true }
entity "Strict" { fields = { a = int }, require_version = true }
entity "Badge" { fields = { ticket = ref { "Ticket", on_remove = "cascade" } } }
"""


def in_ms(ms):
    at = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(milliseconds=ms)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Kept(Store):
    APP = APP

    def test_a_removed_record_is_hidden_and_restored(self):
        self.ok("PUT", "/api/note/s1", {"text": "cormorant", "code": "s1"}, 201)
        self.ok("DELETE", "/api/note/s1", status=204)
        self.ok("GET", "/api/note/s1", status=404)
        self.assertEqual(self.ok("GET", "/api/note?q=cormorant").json, [])
        self.assertNotIn("s1", [r["id"] for r in self.ok("GET", "/api/note").json])
        a = self.ok("POST", "/api/note/s1/restore")
        self.assertEqual((a.headers["X-Koan-Outcome"], a.headers["ETag"], a.json["version"]), ("restored", '"2"', 2))
        self.assertEqual([r["id"] for r in self.ok("GET", "/api/note?q=cormorant").json], ["s1"])
        self.refused("POST", "/api/note/s1/restore", None, 404, "not_found", "s1")
        self.ok("DELETE", "/api/note/s1", status=204)
        self.ok("PUT", "/api/note/s2", {"code": "s1"}, 201)
        self.refused("POST", "/api/note/s1/restore", None, 409, "conflict", "code")
        self.refused("POST", "/api/ticket/s1/restore", None, 422, "unsupported", "soft_remove")
        self.refused("GET", "/api/note/s1/restore", None, 405, "method")

    def test_what_was_removed_can_be_listed(self):
        def ask(query="", **headers):
            return self.ok("GET", "/api/note?removed=only" + query, **headers)

        for i in range(5):
            self.ok("PUT", f"/api/note/w{i}", {"text": f"list {i}"}, 201)
        for i in (3, 1, 4):
            self.ok("DELETE", f"/api/note/w{i}", status=204)
            time.sleep(0.005)  # removed_at has milliseconds
        mine = urllib.parse.quote('{"text":"list*"}')
        got = ask("&filter=" + mine)
        self.assertEqual([(r["id"], r["text"], r["version"]) for r in got.json], [(f"w{i}", f"list {i}", 1) for i in (1, 3, 4)])
        self.assertEqual(got.headers["X-Total-Count"], "3")
        self.assertEqual(got.json[0]["removed_at"], got.json[0]["updated_at"])
        self.assertEqual(got.json[0]["updated_by"], "local")
        last = ask(f"&filter={mine}&sort=-updated_at&fields=updated_at").json
        at = [r["updated_at"] for r in last]
        self.assertEqual((at, sorted(r["id"] for r in last)), (sorted(at, reverse=True), ["w1", "w3", "w4"]))
        if len(set(at)) == 3:  # where the clock was set back, ledger time stands still for a while
            self.assertEqual([r["id"] for r in last], ["w4", "w1", "w3"])
        page = ask(f"&filter={mine}&pageSize=2")
        rest = self.ok("GET", re.search(r"<([^>]*)>; rel=\"next\"", page.headers["Link"])[1])
        self.assertEqual([r["id"] for r in page.json + rest.json], ["w1", "w3", "w4"])
        lines = ask(f"&filter={mine}", Accept="application/x-ndjson").body.decode().splitlines()
        self.assertEqual([json.loads(line)["id"] for line in lines], ["w1", "w3", "w4"])
        # Of one id the last, and not what came back.
        self.ok("PUT", "/api/note/w1", {"text": "list again"}, 201)
        self.ok("DELETE", "/api/note/w1", status=204)
        self.ok("POST", "/api/note/w3/restore")
        asked = {"filter": {"text": "list*"}, "removed": "only", "count": "exact"}
        self.assertEqual([r["text"] for r in self.ok("POST", "/api/note/query", asked).json], ["list again", "list 4"])
        self.assertEqual(sorted(r["id"] for r in self.ok("GET", "/api/note?filter=" + mine).json), ["w0", "w2", "w3"])
        self.assertEqual(self.script("""
          local Note, o = entity("Note"), { filter = { text = "list*" }, removed = "only" }
          return { Note.count(o), Note.query(o)[1].text }"""), [2, "list again"])
        # A cursor belongs to its question.
        cursor = re.search(r"cursor=([^&>]*)", page.headers["Link"])[1]
        self.refused("GET", f"/api/note?filter={mine}&pageSize=2&cursor={cursor}", None, 400, "invalid", "cursor")
        self.refused("GET", "/api/note?removed=yes", None, 400, "invalid", "only")
        self.refused("GET", "/api/note?removed=only&q=list", None, 400, "invalid", "not searched")
        self.refused("GET", "/api/ticket?removed=only", None, 422, "unsupported", "soft_remove")
        code, out, err = run("entity", "ls", "Note", "--removed", "--filter", '{"text":"list*"}', "--json", "--url", self.server.url)
        self.assertEqual(code, 0, err)
        self.assertEqual([r["id"] for r in json.loads(out)], ["w1", "w4"])

    def test_what_was_removed_can_be_purged(self):
        for text in ("one", "two"):
            self.ok("PUT", "/api/note/g", {"text": text}, 201)
            self.ok("DELETE", "/api/note/g", status=204)
        self.refused("POST", "/api/note/g/purge", None, 400, "invalid", "confirm=g")
        self.refused("POST", "/api/note/g/purge?confirm=h", None, 400, "invalid", "confirm")
        self.refused("POST", "/api/note/g/purge?confirm=g&now=1", None, 400, "invalid", "now")
        shown = self.ok("POST", "/api/note/g/purge?dry_run=true")
        self.assertEqual((shown.json["text"], shown.json["id"]), ("two", "g"))
        self.assertEqual(len(self.ok("GET", "/api/note/g/history").json), 2)
        a = self.ok("POST", "/api/note/g/purge?confirm=g", status=204)
        self.assertEqual(a.headers["X-Koan-Outcome"], "purged")
        self.refused("POST", "/api/note/g/restore", None, 404, "not_found")
        self.refused("POST", "/api/note/g/purge?confirm=g", None, 404, "not_found")
        self.refused("POST", "/api/note/g/purge?dry_run=true", None, 404, "not_found")
        self.refused("GET", "/api/note/g/history", None, 404, "not_found")
        self.assertEqual(self.ok("POST", "/api/note/query", {"removed": "only", "filter": {"id": "g"}}).json, [])
        # A record that is there is not touched, nor its history.
        self.ok("PUT", "/api/note/k", {"text": "old"}, 201)
        self.refused("POST", "/api/note/k/purge?confirm=k", None, 404, "not_found", "no removed")
        self.ok("DELETE", "/api/note/k", status=204)
        self.ok("PUT", "/api/note/k", {"text": "new"}, 201)
        self.assertFalse(self.script("""
          local Note = entity("Note")
          local ok = pcall(Note.purge, "k")
          Note.purge("k", { confirm = "k" })
          return ok"""))
        self.assertEqual(self.ok("GET", "/api/note/k").json["text"], "new")
        self.assertEqual(len(self.ok("GET", "/api/note/k/history").json), 1)
        self.refused("POST", "/api/note/k/purge?confirm=k", None, 404, "not_found")
        self.refused("POST", "/api/ticket/k/purge?confirm=k", None, 422, "unsupported", "soft_remove")

    def test_everything_is_removed_only_when_meant(self):
        self.ok("POST", "/api/ticket/bulk?partition=all", [{"id": f"t{i}", "text": str(i)} for i in range(5)])
        path = "/api/ticket/bulk?partition=all"
        for bad in ({"filter": {}}, {"filter": {}, "confirm": "ticket"}, {"filter": {}, "confirm": True}):
            self.refused("DELETE", path, bad, 400, "invalid", '"Ticket"')
        for bad in ({"ids": ["t1"], "dry_run": True}, {"confirm": "Ticket"}, {"filter": {"text": "1"}, "dry_run": 1},
                    {"filter": {"text": "1"}, "dryrun": True}):
            self.refused("DELETE", path, bad, 400, "invalid")
        self.assertEqual(self.ok("DELETE", path, {"filter": {"text": "1"}, "dry_run": True}).json,
                         {"dry_run": True, "matched": 1, "ids": ["t1"]})
        self.assertEqual(self.ok("DELETE", path, {"filter": {}, "dry_run": True}).json["matched"], 5)
        self.assertEqual(len(self.ok("GET", "/api/ticket?partition=all").json), 5)
        done = self.ok("DELETE", path, {"filter": {}, "confirm": "Ticket"}).json
        self.assertEqual(done["counts"]["removed"], 5)
        self.assertEqual(self.ok("GET", "/api/ticket?partition=all").json, [])

    def test_items_of_a_bulk_hold_at_their_version(self):  # E2
        path, items = "/api/strict/bulk", [{"id": f"b{i}", "a": i} for i in range(3)]
        self.ok("POST", path, items)
        self.refused("POST", path, items, 400, "invalid", "wants a version")
        self.refused("POST", path, [{**i, "a": 9, "if_version": 2} for i in items], 412, "version_mismatch", "item 0")
        for bad in (0, "1", True, 1.5):
            self.refused("POST", path, [{"id": "b0", "a": 9, "if_version": bad}], 400, "invalid", "if_version")
        got = self.ok("POST", path, [{**i, "a": 9, "if_version": 1} for i in items]).json
        self.assertEqual([(r["outcome"], r["version"]) for r in got["results"]], [("updated", 2)] * 3)
        self.refused("DELETE", path, ["b0"], 400, "invalid", "wants a version")
        self.refused("DELETE", path, {"ids": [{"id": "b0", "if_version": 1}]}, 412, "version_mismatch")
        for bad in ({"id": "b0"}, {"id": "b0", "if_version": 0}, {"id": "b0", "version": 2}, {"if_version": 2}, 5):
            self.refused("DELETE", path, {"ids": [bad]}, 400, "invalid", "item 0")
        self.assertEqual(self.ok("DELETE", path, [{"id": f"b{i}", "if_version": 2} for i in range(3)]).json["counts"]["removed"], 3)
        self.refused("POST", "/api/note/bulk", [{"id": "bn", "if_version": 3}], 412, "version_mismatch")

    def test_what_a_filter_finds_is_removed_as_it_was_found(self):  # E2
        self.ok("POST", "/api/strict/bulk", [{"id": f"f{i}", "a": i} for i in range(20)])
        self.assertEqual(self.ok("DELETE", "/api/strict/bulk", {"filter": {"a": {"$lt": 5}}}).json["counts"]["removed"], 5)
        r = self.ok("DELETE", "/api/strict/bulk?atomic=false", {"filter": {"a": {"$lt": 10}}}).json
        self.assertEqual((r["counts"]["removed"], r["counts"]["failed"]), (5, 0))
        self.assertEqual(len(self.ok("GET", "/api/strict").json), 10)

    def test_a_record_that_stops_matching_is_not_removed(self):  # E2
        """While removals by filter run, others take records out of what matches; none of those may go."""
        self.ok("POST", "/api/ticket/bulk?partition=race", [{"id": f"r{i:03}", "text": "due"} for i in range(400)])
        stop, saved = threading.Event(), []

        def save():
            c = self.server.client()
            for i in range(400):
                if stop.is_set():
                    return
                a = c("PATCH", f"/api/ticket/r{i:03}?partition=race", {"text": "kept"})
                if a.status == 200:
                    saved.append(a.json["id"])

        worker = threading.Thread(target=save)
        worker.start()
        while len(saved) < 20:
            time.sleep(0.001)
        outcomes = set()
        while True:
            a = self.c("DELETE", "/api/ticket/bulk?partition=race", {"filter": {"text": "due"}})
            outcomes.add(a.status)
            self.assertIn(a.status, (200, 409), a.body)
            if a.status == 200:
                break
        stop.set()
        worker.join()
        self.assertEqual(self.ok("GET", '/api/ticket?partition=race&filter={"text":"due"}').json, [])
        left = [json.loads(x)["id"] for x in self.ok("GET", "/api/ticket?partition=race", Accept="application/x-ndjson").body.splitlines()]
        self.assertEqual(left, sorted(saved))

    def test_history_tells_who_how_why_and_which(self):
        self.ok("PUT", "/api/note/h1", {"text": "1"}, 201)
        self.ok("PATCH", "/api/note/h1", {"text": "2"}, X_Koan_Reason="a typo")
        self.ok("DELETE", "/api/note/h1", status=204)
        history = self.ok("GET", "/api/note/h1/history").json
        self.assertEqual([(h["version"], h["how"], h["fields"], h.get("why")) for h in history],
                         [(2, "remove", ["text"], None), (1, "patch", ["text"], "a typo")])
        self.assertEqual(history[0]["replaced_by"], "local")
        self.assertEqual(self.ok("GET", "/api/note/h1/history/1").json["text"], "1")
        self.refused("GET", "/api/note/h1/history/3", None, 404, "not_found")
        self.refused("GET", "/api/note/h1/history/x", None, 400, "invalid")
        self.refused("GET", "/api/ticket/h1/history", None, 422, "unsupported", "history = true")
        for i in range(8):
            self.ok("PUT", "/api/note/h2", {"text": str(i)}, 201 if i == 0 else 200)
        self.assertEqual([h["version"] for h in self.ok("GET", "/api/note/h2/history").json], [7, 6, 5, 4, 3])
        self.refused("GET", "/api/note/h2/history/2", None, 410, "gone", "no longer kept")

    def test_an_expired_record_goes_by_itself(self):
        self.ok("PUT", "/api/ticket/e1", {"text": "x", "expires_at": in_ms(400)}, 201)
        self.ok("PUT", "/api/badge/e1", {"ticket": "e1"}, 201)
        self.ok("PUT", "/api/ticket/e2", {"text": "stays"}, 201)
        self.assertEqual(self.ok("GET", "/api/ticket/e1").status, 200)
        end = time.monotonic() + 10
        while self.c("GET", "/api/badge/e1").status == 200:  # the cascade is the removal, not the hiding
            self.assertLess(time.monotonic(), end)
            time.sleep(0.05)
        self.ok("GET", "/api/ticket/e1", status=404)
        self.ok("GET", "/api/ticket/e2")
        self.assertEqual([r["id"] for r in self.ok("GET", "/api/ticket?filter=%7B%22expires_at%22:null%7D").json], ["e2"])

    def test_what_is_already_over_is_never_seen(self):
        self.ok("PUT", "/api/ticket/o1", {"expires_at": "2020-01-01T00:00:00Z"}, 201)
        self.ok("GET", "/api/ticket/o1", status=404)

    def test_scripts_restore_and_look_back(self):
        self.ok("PUT", "/api/note/l1", {"text": "a"}, 201)
        self.ok("PUT", "/api/note/l1", {"text": "b"})
        self.ok("DELETE", "/api/note/l1", status=204)
        self.assertEqual(self.script('local n = entity("Note").restore("l1") return { n.text, n.version }'), ["b", 3])
        self.assertEqual(self.script("""
          local Note = entity("Note")
          local list = Note.history("l1")
          return { list[1].how, #list, Note.history("l1", 1).text, Note.history("l1", 99) == nil }"""),
            ["remove", 2, "a", True])


class OverRestarts(Case):
    def test_what_expires_while_the_node_is_down_goes_when_it_is_up(self):
        self.write("scripts/app.lua", APP)
        node = self.node("--scripts", self.path("scripts"))
        c = node.client()
        self.assertEqual(c("PUT", "/api/ticket/a", {"expires_at": in_ms(600)}).status, 201)
        self.assertEqual(c("PUT", "/api/badge/a", {"ticket": "a"}).status, 201)
        self.assertEqual(c("PUT", "/api/note/n", {"text": "1"}).status, 201)
        self.assertEqual(c("DELETE", "/api/note/n").status, 204)
        node.kill()
        time.sleep(0.7)
        node = self.node("--scripts", self.path("scripts"))
        c = node.client()
        end = time.monotonic() + 10
        while c("GET", "/api/badge/a").status == 200:
            self.assertLess(time.monotonic(), end)
            time.sleep(0.05)
        self.assertEqual(c("GET", "/api/ticket/a").status, 404)
        self.assertEqual(c("POST", "/api/note/n/restore").status, 200)
        self.assertEqual([h["how"] for h in c("GET", "/api/note/n/history").json], ["remove"])
        self.assertEqual(node.stop(), 0)

    def test_a_sweep_under_way_does_not_disturb_the_end(self):
        self.write("scripts/app.lua", APP)
        for i in range(4):
            node = self.node("--scripts", self.path("scripts"), data=f"d{i}")
            c = node.client()
            for k in range(40):
                c("PUT", f"/api/ticket/{k}", {"expires_at": in_ms(20 + 3 * k)})
            time.sleep(0.02 * i)
            self.assertEqual(node.stop(), 0)


if __name__ == "__main__":
    unittest.main()
