"""Queues over HTTP: declared, sent to, leased from, settled; what comes back and what does not."""
import base64
import calendar
import http.client
import json
import threading
import time
import unittest
import urllib.parse

from e2e.node import App, Case, run

Q = "/api/queues/%2F/"


class Queues(App):
    names = iter(range(10 ** 9))

    def queue(self, **options):
        name = f"q{next(self.names)}"
        self.ok("PUT", Q + name, options, 201)
        return name

    def send(self, name, body, status=201, query="", **headers):
        return self.ok("POST", f"{Q}{name}/messages{query}", body, status, **headers).json

    def many(self, name, *items):
        return self.ok("POST", f"{Q}{name}/messages?batch=true", list(items)).json["results"]

    def lease(self, name, max=1, wait=0, **more):
        return self.ok("POST", f"{Q}{name}/lease", {"max": max, "wait": wait, **more}).json["messages"]

    def settle(self, name, message, outcome="ack", status=200, **more):
        return self.ok("POST", f"{Q}{name}/settle",
                       {"id": message["id"], "token": message["token"], "outcome": outcome, **more}, status).json

    def peek(self, name, state="available", query=""):
        return self.ok("GET", f"{Q}{name}/messages?state={state}{query}").json["items"]

    def counts(self, name):
        return self.ok("GET", Q + name).json


class Finding(Queues):
    def find(self, name, what, query=""):
        return self.ok("GET", f"{Q}{name}/messages?find={urllib.parse.quote(json.dumps(what))}{query}").json

    def test_messages_are_found_by_values_in_their_bodies_and_headers(self):
        q = self.queue()
        for i in range(30):
            self.send(q, {"order": {"id": i, "shop": i % 3}, "list": [{"n": i}]}, query=f"?key=k{i % 5}", X_Message_Shop=f"s{i % 2}")
        def ids(what):
            return [m["body"]["order"]["id"] for m in self.find(q, what)["items"]]
        self.assertEqual(ids({"body.order.id": 7}), [7])
        self.assertEqual(ids({"body.order.id": 7.0}), [7])
        self.assertEqual(ids({"body.order.shop": 2, "headers.shop": "s1", "key": "k0"}), [5])
        self.assertEqual(ids({"body.order.id": "7"}), [])
        self.assertEqual(ids({"body.nothing": None}), [])

    def test_a_search_goes_on_where_it_ended(self):
        q = self.queue()
        self.many(q, *[{"body": {"n": i, "odd": i % 2 == 1}} for i in range(1000)])
        self.many(q, *[{"body": {"n": i, "odd": i % 2 == 1}} for i in range(1000, 1500)])
        got, after, questions = [], 0, 0
        while after is not None:
            page = self.find(q, {"body.odd": True}, f"&limit=100&after={after}")
            got += [m["body"]["n"] for m in page["items"]]
            after, questions = page["next"], questions + 1
        self.assertEqual(got, list(range(1, 1500, 2)))
        self.assertLess(questions, 12)
        rare, after, questions = [], 0, 0
        while after is not None:
            page = self.find(q, {"body.n": 1400}, f"&after={after}")
            rare += page["items"]
            after, questions = page["next"], questions + 1
        self.assertEqual((len(rare), questions), (1, 2))

    def test_what_cannot_be_searched_is_told(self):  # R3
        q = self.queue()
        for what, word in (([], "object"), ({}, "object"), ({"state": "x"}, "state"), ({f"body.{i}": 1 for i in range(9)}, "8")):
            self.refused("GET", f"{Q}{q}/messages?find={urllib.parse.quote(json.dumps(what))}", words=word)
        self.refused("GET", f"{Q}{q}/messages?find=x", words="find")


class Declaring(Queues):
    def test_a_queue_is_declared_shown_changed_and_dropped(self):
        q = self.ok("PUT", Q + "shop", {"concurrency": 3, "max": 10, "max_bytes": "1MiB", "overflow": "drop_oldest",
                                        "on_dead": "halt", "keep_discarded": "7d", "dedup_window": "1h"}, 201).json
        self.assertEqual((q["name"], q["vhost"], q["messages"], q["state"]), ("shop", "default", 0, "running"))
        self.assertEqual({k: q["options"][k] for k in ("concurrency", "max", "max_bytes", "overflow", "on_dead",
                                                       "keep_discarded", "dedup_window")},
                         {"concurrency": 3, "max": 10, "max_bytes": 1 << 20, "overflow": "drop_oldest",
                          "on_dead": "halt", "keep_discarded": "7d", "dedup_window": "1h"})
        self.assertEqual(self.ok("PUT", "/api/queues/default/shop", {}).json["options"]["max"], 0)
        self.assertEqual(self.ok("GET", Q + "shop").json["name"], "shop")
        self.assertIn("shop", [x["name"] for x in self.ok("GET", "/api/queues").json])
        self.ok("DELETE", Q + "shop", status=204)
        self.refused("GET", Q + "shop", status=404, code="not_found")

    def test_an_option_that_is_not_known_is_refused_with_the_nearest(self):  # R3
        self.refused("PUT", Q + "x", {"concurency": 3}, words="concurrency")
        self.refused("PUT", Q + "x", {"overflow": "drop"}, words="drop_oldest")
        self.refused("PUT", Q + "x", {"max": -1}, words="max")
        self.refused("PUT", Q + "x", {"dead_to": "x"}, words="itself")
        self.refused("PUT", Q + "a%20b", {}, words="name of a queue")
        self.refused("GET", "/api/queues/other/x", status=404, code="not_found", words="vhost")

    def test_many_queues_come_in_pages(self):
        for i in range(7):
            self.ok("PUT", f"{Q}page-{i}", {}, 201)
        all_of = [q["name"] for q in self.ok("GET", "/api/queues/%2F").json]
        first = self.ok("GET", "/api/queues?page=1&page_size=4").json
        self.assertEqual((first["page"], first["item_count"], first["total_count"]), (1, 4, len(all_of)))
        got = []
        for page in range(1, first["page_count"] + 1):
            got += [q["name"] for q in self.ok("GET", f"/api/queues?page={page}&page_size=4").json["items"]]
        self.assertEqual(got, all_of)

    def test_a_queue_that_holds_records_is_dropped_only_by_force(self):  # R3
        q = self.queue()
        self.send(q, {"n": 1})
        self.refused("DELETE", Q + q, status=409, code="conflict", words="force")
        for more in ("", "&confirm=other", "&dry_run=false"):
            self.refused("DELETE", f"{Q}{q}?force=true{more}", words=f"confirm={q}")
        self.refused("DELETE", Q + q + "?dry_run=true", words="force=true")
        self.assertEqual(self.ok("DELETE", Q + q + "?force=true&dry_run=true").json["messages"], 1)
        self.assertEqual(self.counts(q)["messages"], 1)
        self.ok("DELETE", f"{Q}{q}?force=true&confirm={q}", status=204)
        self.refused("POST", f"{Q}{q}/messages", {"n": 1}, status=404, code="not_found", words="create")

    def test_paused_it_grants_nothing_and_closed_it_takes_nothing(self):
        q = self.queue()
        self.assertEqual(self.ok("POST", f"{Q}{q}/pause").json["state"], "paused")
        self.send(q, {"n": 1})
        self.assertEqual(self.lease(q), [])
        self.assertEqual(self.peek(q)[0]["waiting_for"], {"what": "pause"})
        self.ok("POST", f"{Q}{q}/resume")
        self.assertEqual(len(self.lease(q)), 1)
        self.assertTrue(self.ok("POST", f"{Q}{q}/close").json["closed"])
        self.refused("POST", f"{Q}{q}/messages", {"n": 1}, status=409, code="conflict", words="closed")
        self.ok("POST", f"{Q}{q}/open")
        self.send(q, {"n": 1})


class Sending(Queues):
    def test_a_message_has_id_depth_and_the_body_as_it_was(self):
        q = self.queue()
        a = self.ok("POST", f"{Q}{q}/messages", '{"to": "a@b.c",  "n":1.50}', 201, X_Message_Shop="7")
        self.assertEqual((a.json["duplicate"], a.json["depth"], a.json["oldest_age_seconds"]), (False, 1, 0))
        self.assertTrue(a.headers["Location"].endswith(a.json["id"]))
        m = self.ok("GET", a.headers["Location"])
        self.assertIn(b'"body":{"to": "a@b.c",  "n":1.50}', m.body)
        self.assertEqual((m.json["headers"], m.json["state"], m.json["type"]),
                         ({"shop": "7"}, "available", "application/json"))
        self.assertEqual(self.counts(q)["messages_ready"], 1)

    def test_bytes_of_any_type_come_back_as_they_were(self):
        q = self.queue()
        raw = bytes(range(256))
        self.ok("POST", f"{Q}{q}/messages", raw, 201, Content_Type="image/png")
        m = self.lease(q)[0]
        self.assertEqual((m["type"], base64.b64decode(m["body_base64"])), ("image/png", raw))

    def test_a_batch_has_a_result_for_each(self):
        q = self.queue()
        r = self.many(q, {"body": {"n": 1}, "priority": 3}, {"body": None}, {"nobody": 1},
                      {"body_base64": "AAE=", "type": "a/b", "headers": {"x": "y"}}, {"body": 1, "priority": 99})
        self.assertEqual(["error" in x for x in r], [False, False, True, False, True])
        self.assertIn("body", r[2]["error"]["detail"])
        self.assertEqual(self.counts(q)["messages"], 3)
        lines = "\n".join(json.dumps({"body": i}) for i in range(500))
        a = self.ok("POST", f"{Q}{q}/messages", lines, 200, Content_Type="application/x-ndjson").json
        self.assertEqual(a["counts"], {"sent": 500, "failed": 0})
        self.assertEqual(len({x["id"] for x in a["results"]}), 500)

    def test_what_is_not_right_is_refused_and_named(self):  # R1 R3
        q = self.queue()
        for query, words in (("?prioritty=1", "priority"), ("?priority=32", "priority"), ("?delay=soon", "delay"),
                             ("?attempts=0", "attempts"), ("?backoff=x", "backoff"), ("?gate=a,b,c,d,e", "gate"),
                             ("?run_at=2030-01-01T00:00:00Z&delay=1s", "delay"), ("?unique_mode=skip", "unique"),
                             ("?id=7", "UUID"), ("?needs=7", "needs")):
            self.refused("POST", f"{Q}{q}/messages{query}", {}, words=words)
        self.refused("POST", f"{Q}{q}/messages", '{"a":', words="body")
        self.refused("POST", f"{Q}{q}/messages?batch=true&priority=1", [{"body": 1}], words="beside its body")
        self.refused("POST", f"{Q}{q}/messages", json.dumps("x" * (1 << 20)), 413, "too_large", "body")
        self.refused("POST", f"{Q}{q}/messages?batch=true", [{"body": 1}] * 1001, 413, "too_large")
        self.assertEqual(self.counts(q)["messages"], 0)

    def test_what_is_said_with_a_message_is_what_it_has(self):
        q = self.queue()
        self.ok("POST", f"{Q}{q}/pause")
        at = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(time.time() + 3)) + ".250Z"
        later = self.send(q, 1, query=f"?run_at={at}&lane=bulk&priority=9&attempts=7")["id"]
        m = self.ok("GET", f"{Q}{q}/messages/{later}").json
        self.assertEqual((m["state"], m["run_at"], m["lane"], m["priority"], m["attempts"]), ("scheduled", at, "bulk", 9, 7))
        short = self.send(q, 2, query="?ttl=300ms")["id"]
        long = self.send(q, 3, query="?ttl=1h")["id"]
        self.ok("POST", "/api/gates/shut-for-long/close", {"delay": "1h"}, 204)
        held = self.send(q, 4, query="?gate=shut-for-long&deadline=400ms")["id"]
        patient = self.send(q, 5, query="?gate=shut-for-long&deadline=1h")["id"]
        end = time.monotonic() + 10
        while len(dead := self.peek(q, "discarded")) < 2 and time.monotonic() < end:
            time.sleep(0.05)
        self.assertEqual({m["id"]: m["reason"] for m in dead}, {short: "expired", held: "deferred_too_long"})
        self.assertEqual({m["id"] for m in self.peek(q)} - {later}, {long, patient})
        self.ok("POST", f"{Q}{q}/resume")
        self.assertEqual(self.lease(q)[0]["id"], long)
        self.assertEqual(self.lease(q, wait="10s")[0]["id"], later)
        self.assertGreaterEqual(time.time(), calendar.timegm(time.strptime(at[:19], "%Y-%m-%dT%H:%M:%S")) + 0.25)

    def test_headers_and_bodies_have_bounds(self):  # R3
        q = self.queue()
        def of(count, bytes):
            """So many headers, which are so many bytes of JSON."""
            headers = {f"h{i:02}": "" for i in range(count)}
            headers["h00"] = "x" * (bytes - len(json.dumps(headers, separators=(",", ":"))))
            return headers
        most = of(64, 16 << 10)
        one, many, big = self.many(q, *({"body": 1, "headers": h} for h in (most, of(65, 1000), of(64, (16 << 10) + 1))))
        self.assertEqual(self.ok("GET", f"{Q}{q}/messages/{one['id']}").json["headers"], most)
        self.assertEqual(self.lease(q)[0]["headers"], most)
        self.assertIn("at most 64 headers", many["error"]["detail"])
        self.assertEqual((big["error"]["code"], big["error"]["status"]), ("too_large", 413))
        self.assertIn("at most 16384 bytes", big["error"]["detail"])
        self.assertEqual(self.counts(q)["messages"], 1)
        self.send(q, 2, **{f"X-Message-H{i}": str(i) for i in range(64)})
        self.assertEqual(self.lease(q)[0]["headers"], {f"h{i}": str(i) for i in range(64)})
        self.refused("POST", f"{Q}{q}/messages", 2, 413, "too_large", "at most 64 headers", **{f"X-Message-H{i}": "" for i in range(65)})
        body = "x" * ((1 << 20) - 2)  # and two quotes
        one, big = self.many(q, {"body": body}, {"body": body + "x"})
        self.assertIn("id", one)
        self.assertEqual(self.lease(q)[0]["id"], one["id"])
        self.assertEqual((big["error"]["code"], big["error"]["errors"][0]["field"]), ("too_large", "body"))
        self.refused("POST", f"{Q}{q}/messages", json.dumps(body + "x"), 413, "too_large", "at most 1048576")
        big = {f"X-Message-H{i}": "x" * 6000 for i in range(3)}
        self.refused("POST", f"{Q}{q}/messages", 2, 413, "too_large", "16384 bytes", **big)

    def test_a_queue_that_is_not_declared_is_made_when_asked(self):
        self.refused("POST", f"{Q}fresh/messages", {}, status=404, code="not_found")
        self.send("fresh", {}, query="?create=true")
        self.assertEqual(self.counts("fresh")["messages"], 1)

    def test_a_second_send_with_the_same_dedup_is_the_first(self):
        q = self.queue()
        a = self.send(q, {"n": 1}, query="?dedup=once")
        b = self.send(q, {"n": 2}, 200, query="?dedup=once")
        self.assertEqual((b["id"], b["duplicate"]), (a["id"], True))
        self.assertEqual(self.counts(q)["messages"], 1)

    def test_of_unique_ones_one_waits_with_the_body_that_its_mode_says(self):
        q = self.queue()
        a = self.send(q, {"n": 1}, query="?unique=u")
        self.assertEqual(self.send(q, {"n": 2}, 200, query="?unique=u")["id"], a["id"])
        self.assertEqual(self.peek(q)[0]["body"], {"n": 1})
        self.send(q, {"n": 3}, 200, query="?unique=u&unique_mode=replace")
        self.assertEqual(self.lease(q)[0]["body"], {"n": 3})

    def merged(self, q):
        return [m["body"] for m in self.peek(q)]

    def test_a_unique_one_may_be_merged_with_the_one_that_waits(self):
        q, mode = self.queue(), "?unique=u&unique_mode=merge"
        first = self.send(q, {"a": 1, "b": {"x": 1}, "c": [1]}, query=mode)
        self.assertEqual((first["merged"], first["depth"]), (False, 1))
        second = self.send(q, {"b": {"y": 2}, "c": [2], "a": None}, 200, query=mode)
        self.assertEqual((second["merged"], second["id"]), (True, first["id"]))
        self.assertEqual(self.merged(q), [{"b": {"x": 1, "y": 2}, "c": [2]}])
        self.ok("PATCH", f"{Q}{q}/messages/{first['id']}", {"body": {"edited": True}})
        self.send(q, {"more": 1}, 200, query=mode)
        self.assertEqual(self.merged(q), [{"edited": True, "more": 1}])
        m = self.lease(q)[0]
        self.send(q, {"n": 1}, query=mode)  # one more may wait while one executes
        self.settle(q, m)
        self.assertEqual(self.merged(q), [{"n": 1}])
        many = self.many(q, *({"body": {f"k{i}": i}, "unique": "u", "unique_mode": "merge"} for i in range(30)),
                         {"body": {"alone": 1}}, {"body": {"z": 1}, "unique": "z", "unique_mode": "merge"})
        self.assertEqual([r["merged"] for r in many], [True] * 30 + [False, False])
        self.assertEqual(self.merged(q), [{"n": 1, **{f"k{i}": i for i in range(30)}}, {"alone": 1}, {"z": 1}])

    def test_a_merge_that_is_not_right_is_refused(self):  # R1 R3
        q, mode = self.queue(), "?unique=u&unique_mode=merge"
        plain = {"Content-Type": "text/plain"}
        self.refused("POST", f"{Q}{q}/messages{mode}", "x", words="only JSON", **plain)
        self.send(q, "x", query="?unique=u", **plain)
        self.refused("POST", f"{Q}{q}/messages{mode}", {"a": 1}, words="text/plain")
        self.refused("POST", f"{Q}{q}/messages?unique_mode=merge", {"a": 1}, words="unique")
        self.refused("POST", f"{Q}{q}/messages?unique=u&unique_mode=swap", {"a": 1}, words="merge")
        self.assertEqual(self.counts(q)["messages"], 1)
        self.send(q, {"fill": "x" * 700000}, query="?unique=big")
        self.refused("POST", f"{Q}{q}/messages?unique=big&unique_mode=merge", {"more": "y" * 700000}, 413, "too_large", "merged")

    def test_merges_at_the_same_time_lose_nothing(self):
        q, threads, failed = self.queue(), [], []

        def merge(worker):
            c = self.server.client()
            for i in range(15):
                body = {f"w{worker}-{i}": i}
                while True:
                    if worker % 2:
                        a = c("POST", f"{Q}{q}/messages?unique=u&unique_mode=merge", body)
                    else:
                        a = c("POST", "/api/tx", {"ops": [
                            {"op": "send", "queue": q, "body": body, "unique": "u", "unique_mode": "merge"},
                            {"op": "send", "queue": q, "body": [worker, i]}]})
                    if a.status < 300:
                        break
                    if a.status != 409:
                        failed.append((a.status, a.body))
                        return
            c.close()
        for w in range(6):
            threads.append(threading.Thread(target=merge, args=(w,)))
            threads[-1].start()
        for t in threads:
            t.join(60)
        self.assertEqual(failed, [])
        items = self.ok("GET", f"{Q}{q}/messages?limit=100").json["items"]
        bodies = [m["body"] for m in items]
        want = {f"w{w}-{i}": i for w in range(6) for i in range(15)}
        self.assertEqual([b for b in bodies if isinstance(b, dict)], [want])
        self.assertEqual(sorted(b for b in bodies if isinstance(b, list)), [[w, i] for w in (0, 2, 4) for i in range(15)])

    def test_a_repeat_of_a_merge_with_its_key_merges_once(self):  # R2
        q, mode = self.queue(), "?unique=u&unique_mode=merge"
        self.send(q, {"a": 1}, query=mode)
        key = {"Idempotency-Key": "merge-" + q}
        first = self.send(q, {"b": 1}, 200, query=mode, **key)
        self.send(q, {"b": 2}, 200, query=mode)
        again = self.ok("POST", f"{Q}{q}/messages{mode}", {"b": 1}, 200, **key)
        self.assertEqual((again.json, again.headers.get("Idempotency-Replayed")), (first, "true"))
        self.assertEqual(self.merged(q), [{"a": 1, "b": 2}])

    def test_in_one_unit_a_text_is_merged_once(self):  # R1
        q = self.queue()
        send = {"op": "send", "queue": q, "body": {"a": 1}, "unique": "u", "unique_mode": "merge"}
        a = self.refused("POST", "/api/tx", {"ops": [send, send]}, words="twice")
        self.assertEqual(a["failed_op"], 1)
        r = self.ok("POST", "/api/tx", {"ops": [send]}).json["results"][0]
        self.assertEqual(r["outcome"], "sent")
        r = self.ok("POST", "/api/tx", {"ops": [{**send, "body": {"b": 1}}]}).json["results"][0]
        self.assertEqual(r["outcome"], "merged")
        self.assertEqual(self.merged(q), [{"a": 1, "b": 1}])

    def test_a_full_queue_refuses_or_drops_the_oldest(self):
        q = self.queue(max=2)
        self.send(q, 1), self.send(q, 2)
        self.refused("POST", f"{Q}{q}/messages", 3, status=429, code="queue_full")
        d = self.queue(max=2, overflow="drop_oldest")
        for n in range(4):
            self.send(d, n)
        self.assertEqual([m["body"] for m in self.lease(d, 9)], [2, 3])
        self.assertEqual({m["reason"] for m in self.peek(d, "discarded")}, {"overflow"})

    def test_a_repeat_with_its_key_sends_once(self):  # R2
        q = self.queue()
        first = self.ok("POST", f"{Q}{q}/messages", {"n": 1}, 201, Idempotency_Key="k1")
        again = self.ok("POST", f"{Q}{q}/messages", {"n": 1}, 201, Idempotency_Key="k1")
        self.assertEqual(again.body, first.body)
        self.assertEqual(again.headers["Idempotency-Replayed"], "true")
        items = [{"body": i} for i in range(5)]
        first = self.ok("POST", f"{Q}{q}/messages?batch=true", items, 200, Idempotency_Key="k2")
        again = self.ok("POST", f"{Q}{q}/messages?batch=true", items, 200, Idempotency_Key="k2")
        self.assertEqual(again.body, first.body)
        self.assertEqual(self.counts(q)["messages"], 6)

    def test_a_page_of_records_goes_on_where_the_last_ended(self):
        q = self.queue()
        self.many(q, *({"body": i} for i in range(25)))
        got, after = [], "0"
        while after:
            a = self.ok("GET", f"{Q}{q}/messages?limit=10&after={after}").json
            got += [m["body"] for m in a["items"]]
            after = a["next"]
        self.assertEqual(got, list(range(25)))
        self.refused("GET", f"{Q}{q}/messages?state=lost", words="available")


class Leasing(Queues):
    def test_a_lease_gives_what_is_there_and_settles_it(self):
        q = self.queue()
        self.many(q, *({"body": i} for i in range(5)))
        got = self.lease(q, 3)
        self.assertEqual([m["body"] for m in got], [0, 1, 2])
        self.assertEqual([m["attempt"] for m in got], [1, 1, 1])
        c = self.counts(q)
        self.assertEqual((c["messages"], c["messages_ready"], c["messages_unacknowledged"]), (5, 2, 3))
        a = self.ok("POST", f"{Q}{q}/settle", [{"id": m["id"], "token": m["token"], "outcome": "ack"} for m in got]).json
        self.assertEqual(a["counts"], {"settled": 3, "failed": 0})
        self.assertEqual(self.counts(q)["message_stats"]["ack"], 3)

    def test_who_waits_gets_a_message_when_it_comes(self):
        q = self.queue()
        other, out = self.server.client(), []
        t = threading.Thread(target=lambda: out.append(
            other("POST", f"{Q}{q}/lease", {"wait": "10s"}).json["messages"]))
        t.start()
        time.sleep(0.2)
        begun = time.monotonic()
        self.send(q, {"n": 1})
        t.join(10)
        self.assertEqual([m["body"] for m in out[0]], [{"n": 1}])
        self.assertLess(time.monotonic() - begun, 2)
        other.close()

    def test_a_wait_without_messages_ends_with_none(self):
        q = self.queue()
        begun = time.monotonic()
        self.assertEqual(self.lease(q, wait="300ms"), [])
        self.assertGreaterEqual(time.monotonic() - begun, 0.25)

    def test_who_went_away_while_waiting_is_given_nothing(self):
        q = self.queue()
        gone = http.client.HTTPConnection("127.0.0.1", self.server.port)
        gone.request("POST", f"{Q}{q}/lease", '{"wait": 20}', {"Content-Type": "application/json"})
        time.sleep(0.2)
        gone.close()
        time.sleep(0.2)
        self.send(q, {"n": 1})
        m = self.lease(q, wait="2s")
        self.assertEqual([x["attempt"] for x in m], [1])

    def test_two_consumers_never_have_the_same_message(self):  # Q1
        q = self.queue()
        self.many(q, *({"body": i} for i in range(300)))
        got, lock = [], threading.Lock()

        def work():
            c = self.server.client()
            while True:
                m = c("POST", f"{Q}{q}/lease", {"max": 7, "wait": 0}).json["messages"]
                if not m:
                    return
                r = c("POST", f"{Q}{q}/settle",
                      [{"id": x["id"], "token": x["token"], "outcome": "ack"} for x in m]).json
                with lock:
                    got.extend(x["body"] for x in m)
                    assert r["counts"]["failed"] == 0, r
        threads = [threading.Thread(target=work) for _ in range(4)]
        [t.start() for t in threads]
        [t.join() for t in threads]
        self.assertEqual(sorted(got), list(range(300)))

    def test_a_settle_with_an_old_token_changes_nothing(self):  # Q1
        q = self.queue()
        self.send(q, 1)
        m = self.lease(q)[0]
        self.settle(q, m, "release")
        p = self.refused("POST", f"{Q}{q}/settle", {"id": m["id"], "token": m["token"], "outcome": "ack"},
                         status=409, code="fenced")
        self.assertEqual(p["retry"], "never")
        again = self.lease(q)[0]
        self.assertNotEqual(again["token"], m["token"])
        self.assertEqual((again["attempt"], again["deliveries"]), (1, 2))
        r = self.ok("POST", f"{Q}{q}/settle", [{"id": again["id"], "token": m["token"], "outcome": "reject"},
                                               {"id": again["id"], "token": again["token"], "outcome": "ack"}]).json
        self.assertEqual([x.get("error", {}).get("code") for x in r["results"]], ["fenced", None])

    def test_each_outcome_does_what_it_says(self):
        q = self.queue(keep_completed="1h")
        self.send(q, {"n": 1}, query="?attempts=2")
        m = self.lease(q)[0]
        self.settle(q, m, "nack", error="no route", delay="100ms")
        self.assertEqual(self.counts(q)["retryable"], 1)
        m = self.lease(q, wait="5s")[0]
        self.assertEqual(m["attempt"], 2)
        self.settle(q, m, "snooze", delay="100ms")
        self.assertEqual(self.counts(q)["scheduled"], 1)
        m = self.lease(q, wait="5s")[0]
        self.assertEqual(m["attempt"], 2)
        self.settle(q, m, "extend", lease="60s")
        self.settle(q, m, "ack", result={"ok": True})
        done = self.peek(q, "completed")
        self.assertEqual([x["id"] for x in done], [m["id"]])
        self.send(q, {"n": 2})
        self.settle(q, self.lease(q)[0], "reject", error="bad address")
        self.assertEqual(self.peek(q, "discarded")[0]["reason"], "rejected")

    def test_a_settle_that_is_not_right_is_refused(self):  # R1 R3
        q = self.queue()
        self.send(q, 1)
        m = self.lease(q)[0]
        base = {"id": m["id"], "token": m["token"]}
        for more, words in (({"outcome": "ac"}, "ack"), ({"outcome": "ack", "delay": 1}, "delay"),
                            ({"outcome": "snooze"}, "until"), ({"outcome": "backoff", "delay": 1}, "gate"),
                            ({"outcome": "extend", "lease": "1ms"}, "lease"), ({"outcome": "nack", "error": 1}, "error")):
            self.refused("POST", f"{Q}{q}/settle", {**base, **more}, words=words)
        self.refused("POST", f"{Q}{q}/settle", {"id": m["id"], "outcome": "ack"}, words="token")
        self.refused("POST", f"{Q}{q}/lease", {"max": 0}, words="max")
        self.refused("POST", f"{Q}{q}/lease", {"wait": "1h"}, words="wait")
        self.refused("POST", f"{Q}{q}/lease", {"laese": 1}, words="lease")
        self.refused("POST", f"{Q}nobody/lease", {"wait": 0}, status=404, code="not_found")
        self.settle(q, m)

    def test_a_lease_that_is_over_brings_the_message_back(self):
        q = self.queue()
        self.send(q, 1)
        m = self.lease(q, lease="1s")[0]
        self.assertEqual(self.lease(q), [])
        again = self.lease(q, wait="20s")
        self.assertEqual([(x["id"], x["attempt"], x["deliveries"]) for x in again], [(m["id"], 2, 2)])
        self.refused("POST", f"{Q}{q}/settle", {"id": m["id"], "token": m["token"], "outcome": "ack"},
                     status=409, code="fenced")

    def test_what_is_never_settled_ends_discarded_after_its_attempts(self):  # Q2 Q3
        q = self.queue()
        self.send(q, 1, query="?attempts=2&backoff=10ms")
        for n in (1, 2):
            self.assertEqual([m["attempt"] for m in self.lease(q, wait="25s", lease="1s")], [n])
        end = time.monotonic() + 20
        while not (dead := self.peek(q, "discarded")) and time.monotonic() < end:
            time.sleep(0.1)
        self.assertEqual([(m["reason"], m["attempt"]) for m in dead], [("lapsed", 2)])

    def test_of_one_key_one_at_a_time_in_the_order_of_sending(self):  # Q5
        q = self.queue()
        self.many(q, *({"body": i, "key": "k", "priority": i} for i in range(3)), {"body": "free"})
        self.assertEqual({json.dumps(m["body"]) for m in self.lease(q, 9)}, {"0", '"free"'})
        self.assertEqual(self.peek(q)[0]["waiting_for"], {"what": "key", "name": "k"})
        held = self.peek(q, "executing")
        first = next(m for m in held if m["body"] == 0)
        self.settle(q, first, "nack", delay="50ms")
        again = self.lease(q, 9, wait="5s")
        self.assertEqual([m["body"] for m in again], [0])
        self.settle(q, again[0])
        self.assertEqual([m["body"] for m in self.lease(q, 9)], [1])

    def test_a_queue_says_since_when_its_handler_is_gone(self):
        q = self.queue(handled=True)
        self.assertNotIn("handler_gone_at", self.counts(q))
        self.ok("PUT", Q + q, {"handled": False})
        self.assertRegex(self.counts(q)["handler_gone_at"], r"^\d{4}-\d\d-\d\dT")
        self.assertEqual(self.lease(q), [])  # somebody else works it
        self.assertNotIn("handler_gone_at", self.counts(q))

    def test_a_dead_letter_moves_to_where_its_queue_says(self):  # Q2
        dead = self.queue()
        q = self.queue(dead_to=dead)
        sent = self.send(q, {"n": 1})
        self.settle(q, self.lease(q)[0], "reject", error="no")
        self.assertEqual([m["id"] for m in self.lease(dead)], [sent["id"]])

    def test_a_message_tells_what_became_of_it_before(self):  # Q2
        dead, q = self.queue(), None
        q = self.queue(dead_to=dead)
        self.send(q, {"n": 1}, query="?attempts=2&backoff=0s")
        for i in range(2):
            m = self.lease(q, wait="5s")[0]
            self.ok("POST", f"{Q}{q}/settle", {"id": m["id"], "token": m["token"], "outcome": "nack", "error": f"no \"{i}\""})
        m = self.ok("GET", f"{Q}{dead}/messages/{m['id']}").json
        self.assertEqual([(e["attempt"], e["reason"], e["error"]) for e in m["errors"]],
                         [(1, "error", 'no "0"'), (2, "error", 'no "1"')])
        self.assertEqual((m["errors_ever"], m["died_in"], m["attempt"], m["state"]), (2, [q], 0, "available"))
        self.assertEqual(self.counts(q)["message_stats"]["discard"], 1)
        self.assertRegex(m["errors"][0]["at"], r"^\d{4}-\d\d-\d\dT")
        kept = self.queue(keep_completed="1h")
        self.send(kept, {"n": 2})
        m = self.lease(kept)[0]
        self.ok("POST", f"{Q}{kept}/settle", {"id": m["id"], "token": m["token"], "outcome": "ack", "result": {"ok": [1]}})
        m = self.ok("GET", f"{Q}{kept}/messages/{m['id']}").json
        self.assertEqual((m["state"], m["result"], m["errors"], m["died_in"]), ("completed", {"ok": [1]}, [], []))
        for i in range(25):
            m = self.lease(dead, wait="5s")[0]
            self.ok("POST", f"{Q}{dead}/settle", {"id": m["id"], "token": m["token"], "outcome": "nack", "error": str(i), "delay": 0})
            if i % 2 == 1:
                self.ok("POST", f"{Q}{dead}/retry", {"ids": [m["id"]]})
        m = self.ok("GET", f"{Q}{dead}/messages/{m['id']}").json
        self.assertEqual([e["error"] for e in m["errors"]], [str(i) for i in range(5, 25)])
        self.assertEqual(m["errors_ever"], 27)

    def test_a_gate_that_was_closed_holds_back_all(self):
        q = self.queue()
        self.many(q, *({"body": i, "gate": "smtp"} for i in range(2)))
        self.settle(q, self.lease(q)[0], "backoff", gate="smtp", delay="400ms")
        self.assertEqual(self.lease(q), [])
        self.assertEqual(self.peek(q)[0]["waiting_for"], {"what": "gate", "name": "smtp"})
        self.assertEqual([m["attempt"] for m in self.lease(q, 2, wait="5s")][:1], [1])

    def test_work_that_needs_a_label_goes_to_who_has_it(self):
        q = self.queue()
        self.send(q, 1, query='?needs=%7B%22gpu%22%3A1%7D')
        self.assertEqual(self.lease(q), [])
        self.assertEqual(len(self.lease(q, labels={"gpu": 2})), 1)


class Operating(Queues):
    def test_messages_are_retried_moved_cancelled_edited_and_purged(self):  # Q2
        q, other = self.queue(keep_completed="1h"), self.queue()
        self.many(q, *({"body": i} for i in range(4)))
        for m in self.lease(q, 2):
            self.settle(q, m, "reject", error="no")
        dead = [m["id"] for m in self.peek(q, "discarded")]
        self.assertEqual(self.ok("POST", f"{Q}{q}/retry", {"state": "discarded", "dry_run": True}).json["ids"], dead)
        r = self.ok("POST", f"{Q}{q}/retry", {"state": "discarded"}).json
        self.assertEqual(r["counts"], {"retried": 2, "failed": 0})
        self.assertEqual(self.counts(q)["messages_ready"], 4)
        r = self.ok("POST", f"{Q}{q}/move", {"ids": dead[:1], "to": other}).json
        self.assertEqual(r["results"], [{"id": dead[0], "outcome": "moved"}])
        self.assertEqual([m["id"] for m in self.peek(other)], dead[:1])
        r = self.ok("POST", f"{Q}{q}/cancel", {"ids": dead}).json
        self.assertEqual([x.get("error", {}).get("code") for x in r["results"]], ["not_found", None])
        self.ok("PATCH", f"{Q}{other}/messages/{dead[0]}", {"body": {"edited": True}})
        self.assertEqual(self.lease(other)[0]["body"], {"edited": True})
        self.refused("POST", f"{Q}{q}/purge", {"state": "available"}, words="confirm")
        self.ok("POST", f"{Q}{q}/purge", {"state": "available", "confirm": q})
        self.assertEqual(self.counts(q)["messages"], 0)

    def test_one_that_executes_is_cancelled_by_who_holds_it(self):
        q = self.queue()
        a, b = self.send(q, 1), self.send(q, 2)
        m = self.lease(q)[0]
        self.assertEqual(self.ok("DELETE", f"{Q}{q}/messages/{m['id']}", status=202).json["outcome"], "asked")
        self.assertEqual(self.ok("DELETE", f"{Q}{q}/messages/{b['id']}").json["outcome"], "cancelled")
        self.refused("DELETE", f"{Q}{q}/messages/{b['id']}", status=404, code="not_found")
        self.refused("POST", f"{Q}{q}/move", {"ids": [a["id"]]}, words="to")
        self.refused("POST", f"{Q}{q}/retry", {"ids": [a["id"]], "state": "discarded"}, words="one of them")
        self.refused("PATCH", f"{Q}{q}/messages/{a['id']}", {"bdy": 1}, words="body")


class Gates(Queues):
    def test_a_gate_lets_pass_what_it_is_declared_for(self):
        q = self.queue()
        self.ok("PUT", "/api/gates/narrow", {"capacity": 2}, 204)
        self.many(q, *({"body": i, "gate": "narrow"} for i in range(5)))
        got = self.lease(q, 9)
        self.assertEqual(len(got), 2)
        self.settle(q, got[0])
        self.assertEqual(len(self.lease(q, 9)), 1)
        self.ok("POST", "/api/gates/narrow/close", {"delay": "1h"}, 204)
        self.settle(q, got[1])
        self.assertEqual(self.lease(q, 9), [])
        self.ok("POST", "/api/gates/narrow/open", None, 204)
        self.assertEqual(len(self.lease(q, 9)), 1)
        self.refused("PUT", "/api/gates/narrow", {"capcity": 1}, words="capacity")
        self.refused("PUT", "/api/gates/narrow", {"rate": 1, "per": "2d"}, words="per")
        self.refused("POST", "/api/gates/narrow/close", {}, words="until")

    def test_a_lane_without_room_starts_nothing(self):
        q = self.queue()
        self.ok("PUT", "/api/lanes/slow", {"weight": 1, "cap": 0}, 204)
        self.many(q, {"body": 1, "lane": "slow"}, {"body": 2})
        self.assertEqual([m["body"] for m in self.lease(q, 9)], [2])
        self.assertEqual(self.peek(q)[0]["waiting_for"], {"what": "lane", "name": "slow"})
        self.ok("PUT", "/api/lanes/slow", {}, 204)
        self.assertEqual([m["body"] for m in self.lease(q, 9)], [1])
        self.refused("PUT", "/api/lanes/slow", {"weight": 0}, words="weight")

    def test_lanes_are_read_with_what_runs_and_waits_in_them(self):
        q = self.queue()
        def lane(name):
            return next(l for l in self.ok("GET", "/api/lanes").json["items"] if l["name"] == name)
        self.ok("PUT", "/api/lanes/read", {"weight": 3, "cap": 2}, 204)
        self.many(q, *({"body": i, "lane": "read"} for i in range(5)))
        self.assertEqual(lane("read"), {"name": "read", "weight": 3, "cap": 2, "executing": 0, "waiting": 5})
        self.lease(q, 9)
        self.assertEqual(lane("read"), {"name": "read", "weight": 3, "cap": 2, "executing": 2, "waiting": 3})
        self.ok("POST", f"{Q}{q}/pause")
        self.assertEqual(lane("read")["waiting"], 0)
        self.ok("PUT", "/api/lanes/read", {}, 204)
        self.assertEqual({k: lane("read").get(k) for k in ("weight", "cap")}, {"weight": 1, "cap": None})
        self.ok("PUT", "/api/lanes/system", {"cap": 3}, 204)
        self.assertEqual({k: lane("system")[k] for k in ("weight", "cap")}, {"weight": 8, "cap": 3})
        self.ok("PUT", "/api/lanes/system", {}, 204)

    def test_gates_are_read_with_what_runs_and_waits_behind_them(self):
        q = self.queue()
        def gate(name):
            return self.ok("GET", "/api/gates/" + name).json
        self.refused("GET", "/api/gates/read", status=404, code="not_found", words="read")
        self.ok("PUT", "/api/gates/read", {"capacity": 2, "rate": 50, "per": "1m"}, 204)
        self.many(q, *({"body": i, "gate": "read"} for i in range(5)))
        self.assertEqual(len(self.lease(q, 9)), 2)
        self.assertEqual(gate("read"), {"name": "read", "capacity": 2, "rate": 50, "per": "1m", "executing": 2, "waiting": 3})
        self.ok("POST", "/api/gates/read/close", {"until": "2100-01-01T00:00:00Z"}, 204)
        self.assertEqual(gate("read")["closed_until"], "2100-01-01T00:00:00.000Z")
        self.ok("POST", "/api/gates/read/open", None, 204)
        self.assertNotIn("closed_until", gate("read"))
        for i in range(7):
            self.ok("PUT", f"/api/gates/page-{i}", {"capacity": i}, 204)
        everything, got, after = self.ok("GET", "/api/gates").json, [], 0
        self.assertIsNone(everything["next"])
        while after is not None:
            page = self.ok("GET", f"/api/gates?limit=3&after={after}").json
            got, after = got + page["items"], page["next"]
        self.assertEqual(got, everything["items"])
        self.assertEqual([g["capacity"] for g in got if g["name"].startswith("page-")], list(range(7)))


class Together(Queues):
    APP = """entity "Sent" { fields = { to = text { required = true } } }"""

    def test_what_a_worker_did_and_that_it_is_done_are_one_commit(self):  # L4 Q1
        q, audit = self.queue(), self.queue()
        self.send(q, {"to": "a"})
        m = self.lease(q)[0]
        ops = [{"op": "entity.save", "entity": "sent", "id": "s1", "value": {"to": "a"}},
               {"op": "send", "queue": audit, "body": {"sent": "s1"}, "priority": 7},
               {"op": "settle", "id": m["id"], "token": m["token"], "outcome": "ack"}]
        first = self.ok("POST", "/api/tx", {"ops": ops}, Idempotency_Key="t1")
        self.assertEqual([(r["op"], r["outcome"]) for r in first.json["results"]],
                         [("entity.save", "created"), ("send", "sent"), ("settle", "ack")])
        again = self.ok("POST", "/api/tx", {"ops": ops}, Idempotency_Key="t1")
        self.assertEqual((again.body, again.headers["Idempotency-Replayed"]), (first.body, "true"))
        self.assertEqual([x["id"] for x in self.peek(audit)], [first.json["results"][1]["id"]])
        self.assertEqual(self.counts(q)["messages"], 0)

    def test_a_send_in_a_unit_tells_what_waits_as_a_send_by_itself_does(self):
        q = self.queue()
        self.send(q, 1)
        time.sleep(0.05)
        ops = [{"op": "send", "queue": q, "body": 2}, {"op": "send", "queue": q, "body": 3, "dedup": "d"},
               {"op": "send", "queue": q, "body": 4, "dedup": "d"}]
        sent = self.ok("POST", "/api/tx", {"ops": ops}).json["results"]
        self.assertEqual([(r["outcome"], r["depth"]) for r in sent], [("sent", 2), ("sent", 3), ("duplicate", 3)])
        self.assertTrue(all(0.05 <= r["oldest_age_seconds"] < 60 for r in sent), sent)
        plain = self.ok("POST", f"{Q}{q}/messages", 5, 201).json
        self.assertEqual((plain["depth"], plain["oldest_age_seconds"] >= sent[0]["oldest_age_seconds"]), (4, True))

    def test_with_a_lease_that_is_over_nothing_of_it_happens(self):  # L4 Q1
        q, audit = self.queue(), self.queue()
        self.send(q, {"to": "b"})
        m = self.lease(q)[0]
        self.settle(q, m, "release")
        ops = [{"op": "entity.save", "entity": "sent", "id": "s2", "value": {"to": "b"}},
               {"op": "send", "queue": audit, "body": 1},
               {"op": "settle", "id": m["id"], "token": m["token"], "outcome": "ack"}]
        p = self.refused("POST", "/api/tx", {"ops": ops}, status=409, code="fenced")
        self.assertEqual(p["failed_op"], 2)
        self.ok("GET", "/api/sent/s2", status=404)
        self.assertEqual(self.peek(audit), [])
        self.assertEqual(self.counts(q)["messages_ready"], 1)

    def test_what_does_not_hold_leaves_the_message_with_its_worker(self):
        q = self.queue()
        self.send(q, 1)
        m = self.lease(q)[0]
        settle = {"op": "settle", "queue": q, "id": m["id"], "token": m["token"], "outcome": "ack"}
        self.refused("POST", "/api/tx", {"ops": [{**settle, "queue": q + "x"}]}, status=404, code="not_found",
                     words="this queue")
        self.refused("POST", f"{Q}{q}x/settle", {k: settle[k] for k in ("id", "token", "outcome")}, status=404,
                     code="not_found", words="this queue")
        self.refused("POST", "/api/tx", {"ops": [settle, {"op": "entity.save", "entity": "sent", "value": {}}]}, words="to")
        self.assertEqual(self.refused("POST", "/api/tx", {"ops": [{"op": "send", "queue": "no-such", "body": 1}, settle]},
                                      status=404, code="not_found")["failed_op"], 0)
        self.refused("POST", "/api/tx", {"ops": [{"op": "send", "queue": q, "body": 1, "prority": 1}]}, words="priority")
        self.ok("POST", "/api/tx", {"ops": [settle]})
        self.assertEqual(self.counts(q)["messages"], 0)


class Commands(Queues):
    def koan(self, *args, code=0, **kw):
        got = run(*args, "--url", self.server.url, **kw)
        self.assertEqual(got[0], code, got)
        return got[1]

    def test_queues_on_the_command_line(self):
        q = self.queue()
        sent = json.loads(self.koan("queue", "send", q, '{"n": 1}', "--priority", "7", "--json"))
        self.assertRegex(self.koan("queue", "ls"), rf"{q} +running +1 +0")
        shown = json.loads(self.koan("queue", "show", q, sent["id"], "--json"))
        self.assertEqual((shown["priority"], shown["errors"], shown["died_in"]), (7, [], []))
        self.assertIn(sent["id"], self.koan("queue", "peek", q))
        self.assertIn("paused", self.koan("queue", "pause", q))
        self.assertIn("running", self.koan("queue", "resume", q))
        self.settle(q, self.lease(q)[0], "reject", error="no")
        self.koan("queue", "retry", q, "--state", "discarded")
        other = self.queue()
        self.koan("queue", "move", q, other, sent["id"])
        self.assertEqual(self.counts(other)["messages"], 1)
        two = self.send(other, 2)["id"]
        self.koan("queue", "cancel", other, two)
        self.assertEqual([m["id"] for m in self.peek(other)], [sent["id"]])
        self.assertIn("not_found", self.koan("queue", "cancel", other, two, "--json", code=1))
        self.koan("queue", "purge", other, "--state", "available", code=2)
        self.koan("queue", "purge", other, "--state", "available", "--confirm", other)
        self.assertEqual(self.counts(other)["messages"], 0)
        self.koan("queue", "show", "no-such", code=1)


class Crashing(Case):
    def test_nothing_acknowledged_is_lost_and_nothing_settled_comes_back(self):  # L2 Q1 Q5
        node = self.node()
        c = node.client()
        self.assertEqual(c("PUT", Q + "w", {}).status, 201)
        items = [{"body": i, "key": "k" if i < 3 else f"k{i}"} for i in range(10)]
        items.append({"body": "later", "delay": "1500ms"})
        sent = c("POST", f"{Q}w/messages?batch=true", items).json["results"]
        held = c("POST", f"{Q}w/lease", {"max": 4, "wait": 0, "lease": "60s"}).json["messages"]
        r = c("POST", f"{Q}w/settle", {"id": held[1]["id"], "token": held[1]["token"], "outcome": "ack"})
        self.assertEqual(r.status, 200)
        node.kill()
        node = self.node()
        c = node.client()
        q = c("GET", Q + "w").json
        self.assertEqual((q["messages_unacknowledged"], q["messages"] + q["scheduled"]), (3, len(sent) - 1))
        again = c("POST", f"{Q}w/settle", {"id": held[1]["id"], "token": held[1]["token"], "outcome": "ack"})
        self.assertEqual((again.status, again.json["code"]), (409, "fenced"))
        still = c("POST", f"{Q}w/settle", {"id": held[0]["id"], "token": held[0]["token"], "outcome": "ack"})
        self.assertEqual(still.status, 200, still.body)
        got, end = [], time.monotonic() + 20
        while len(got) < 8 and time.monotonic() < end:
            for m in c("POST", f"{Q}w/lease", {"max": 1, "wait": "3s"}).json["messages"]:
                got.append(m["body"])
                c("POST", f"{Q}w/settle", {"id": m["id"], "token": m["token"], "outcome": "ack"})
        self.assertIn("later", got)
        self.assertEqual([x for x in got if x in (1, 2)], [1, 2])
        self.assertEqual(len(got), len(set(map(str, got))))
        self.assertEqual(node.stop(), 0)


if __name__ == "__main__":
    unittest.main()
