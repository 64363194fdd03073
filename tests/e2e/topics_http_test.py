"""Topics over HTTP: plain messages and CloudEvents, one or many, kept where nobody listens, published again."""
import json
import socket
import time
import unittest

from e2e.node import App
from e2e.topics_test import TopicsCase

Q = "/api/queues/%2F/"
EVENT = {"specversion": "1.0", "id": "e-1", "source": "/shop", "type": "com.shop.order", "data": {"id": 7}}


class Unheard(App):
    """Nobody listens to anything."""

    def setUp(self):
        super().setUp()
        self.ok("POST", "/api/topics/first", {}, 202)  # makes the queue

    def unrouted(self):
        return self.ok("GET", Q + "unrouted/messages?state=discarded&limit=100").json["items"]

    def of_topic(self, topic):
        return [m for m in self.unrouted() if m["headers"]["topic"] == topic]

    def test_what_nobody_listens_to_is_found_with_its_reason(self):  # B2
        p = self.ok("POST", "/api/topics/order.placed?key=c-1", {"id": 1}, 202, **{"X-Message-Shop": "7"}).json
        self.assertEqual(p["groups"], 0)
        m = self.of_topic("order.placed")[0]
        self.assertEqual((m["id"], m["state"], m["reason"], m["body"], m["key"]),
                         (p["id"], "discarded", "no_subscriber", {"id": 1}, "c-1"))
        self.assertEqual(m["headers"], {"topic": "order.placed", "message-id": p["id"], "shop": "7"})
        self.assertEqual(self.ok("GET", Q + "unrouted").json["options"]["keep_discarded"], "7d")

    def test_what_nobody_listens_to_is_counted_once_and_when_it_is_committed(self):
        def kept():
            page = self.ok("GET", "/metrics").body.decode()
            return int(page.split('koan_bus_unrouted_total{what="kept"} ')[1].split()[0])
        before = kept()
        self.ok("POST", "/api/tx", {"ops": [{"op": "publish", "topic": "once.only", "body": 1}]})
        self.assertEqual(kept(), before + 1)
        self.refused("POST", "/api/tx", {"ops": [{"op": "publish", "topic": "once.only", "body": 1},
                                                 {"op": "publish", "topic": "nobody", "mandatory": True, "body": 1}]},
                     status=404, code="not_found")
        self.assertEqual(kept(), before + 1)

    def test_a_mandatory_message_is_refused(self):  # R1
        self.refused("POST", "/api/topics/nobody?mandatory=true", {}, status=404, code="not_found", words="nobody listens")
        self.assertEqual(self.of_topic("nobody"), [])

    def test_bodies_of_any_type_come_as_they_are(self):
        self.ok("POST", "/api/topics/image", b"\x00\x01", 202, **{"Content-Type": "image/png"})
        m = self.of_topic("image")[0]
        self.assertEqual((m["type"], m["body_base64"]), ("image/png", "AAE="))
        self.refused("POST", "/api/topics/image", b"{", words="body")
        self.refused("POST", "/api/topics/image", b"", words="empty")

    def test_an_event_comes_in_each_of_the_three_modes(self):
        binary = {"ce-specversion": "1.0", "ce-id": "b-1", "ce-source": "/shop", "ce-type": "t", "ce-partitionkey": "k"}
        self.ok("POST", "/api/topics/ev.binary", {"id": 7}, 202, **binary)
        m = self.of_topic("ev.binary")[0]
        self.assertEqual((m["body"], m["key"], m["headers"]["ce-source"]), ({"id": 7}, "k", "/shop"))
        kind = {"Content-Type": "application/cloudevents+json"}
        self.ok("POST", "/api/topics/ev.structured", EVENT, 202, **kind)
        m = self.of_topic("ev.structured")[0]
        self.assertEqual((m["body"], m["headers"]["ce-type"], m["headers"]["ce-id"]), ({"id": 7}, "com.shop.order", "e-1"))
        kind = {"Content-Type": "application/cloudevents-batch+json"}
        a = self.ok("POST", "/api/topics/ev.batch", [{**EVENT, "id": f"x-{i}", "data": i} for i in range(3)], 202, **kind).json
        self.assertEqual(len(a["results"]), 3)
        self.assertEqual([m["body"] for m in self.of_topic("ev.batch")], [0, 1, 2])

    def test_a_batch_is_one_unit(self):  # L1
        kind = {"Content-Type": "application/cloudevents-batch+json"}
        bad = [EVENT, {**EVENT, "id": "e-2", "source": ""}]
        self.refused("POST", "/api/topics/ev.bad", bad, words=r"source", **kind)
        self.assertEqual(self.of_topic("ev.bad"), [])

    def test_a_repeat_with_its_key_is_published_once(self):  # R2
        first = self.ok("POST", "/api/topics/once", {"n": 1}, 202, **{"Idempotency-Key": "k1"})
        again = self.ok("POST", "/api/topics/once", {"n": 1}, 202, **{"Idempotency-Key": "k1"})
        self.assertEqual(first.json, again.json)
        self.assertEqual(again.headers["Idempotency-Replayed"], "true")
        self.assertEqual(len(self.of_topic("once")), 1)

    def test_publish_is_an_operation_of_a_unit(self):  # L1
        ops = {"ops": [{"op": "publish", "topic": "tx.done", "body": {"n": 1}, "key": "k"},
                       {"op": "kv.put", "key": "tx", "value": 1}]}
        a = self.ok("POST", "/api/tx", ops, **{"Idempotency-Key": "tx-1"}).json["results"]
        self.assertEqual((a[0]["op"], a[0]["groups"], a[0]["outcome"]), ("publish", 0, "published"))
        self.assertEqual((a[0]["depth"], a[0]["oldest_age_seconds"]), (0, 0))  # it does not wait
        self.assertEqual(self.ok("POST", "/api/tx", ops, **{"Idempotency-Key": "tx-1"}).json["results"], a)
        self.assertEqual([m["id"] for m in self.of_topic("tx.done")], [a[0]["id"]])
        p = self.refused("POST", "/api/tx", {"ops": [{"op": "kv.put", "key": "tx", "value": 2},
                                                     {"op": "publish", "topic": "tx.no", "body": 1, "mandatory": True}]},
                         status=404, code="not_found", words="nobody listens")
        self.assertEqual(p["failed_op"], 1)
        self.assertEqual(self.ok("GET", "/api/kv/tx").json, 1)

    def test_a_duplicate_is_told_also_where_nobody_listens(self):
        first = self.ok("POST", "/api/topics/twice?dedup=d1", {}, 202).json
        again = self.ok("POST", "/api/topics/twice?dedup=d1", {}, 202).json
        self.assertEqual((again["id"], again.get("duplicate"), "duplicate" in first), (first["id"], True, False))
        self.assertEqual(len(self.of_topic("twice")), 1)

    def test_a_redrive_leaves_what_still_nobody_listens_to(self):
        self.ok("POST", "/api/topics/left.alone", {}, 202)
        a = self.ok("POST", "/api/topics/left.%23/redrive", {}).json
        self.assertEqual(a["published"], 0)
        self.assertEqual(len(self.of_topic("left.alone")), 1)

    def test_what_cannot_be_is_refused_with_its_name(self):  # R1
        self.refused("POST", "/api/topics/a%20b", {}, words="0x20")
        self.refused("POST", "/api/topics/a.*", {}, words="wildcards are for patterns")
        self.refused("POST", "/api/topics/a?priorty=1", {}, words="priority")
        self.refused("POST", "/api/topics/a?priority=99", {}, words="31")
        self.refused("POST", "/api/topics/a", {}, words="message-id", **{"X-Message-Message-Id": "1"})
        self.refused("POST", "/api/tx", {"ops": [{"op": "publish", "body": 1}]}, words="topic")
        self.refused("POST", "/api/tx", {"ops": [{"op": "publish", "topic": "a", "body": 1, "queue": "b"}]}, words="queue")
        self.refused("POST", "/api/topics/groups/none/rewind", {"to": "first"}, status=404, code="not_found", words="none")
        self.refused("POST", "/api/topics/groups/none/rewind", {"to": "last"}, words="first")
        self.refused("POST", "/api/topics/%23x/redrive", {}, words="pattern")

    def test_who_listens_is_shown(self):
        a = self.ok("GET", "/api/topics").json
        self.assertEqual((a["groups"], a["topics"]), ([], []))


class Heard(TopicsCase):
    """Scripts listen; who publishes is outside of them."""

    def of(self, queue, state="completed"):
        return self.ask("GET", f"{Q}{queue}/messages?state={state}&limit=100").json["items"]

    def test_a_message_from_outside_is_worked_by_each_group(self):  # B1
        self.serve("""
            on "order.*" { group = "a", run = function(e, ctx) note("a " .. ctx.topic .. " " .. e.id .. " " .. (ctx.headers["ce-source"] or "")) end }
            on "#" { group = "b", run = function(e, ctx) note("b " .. ctx.topic .. " " .. (ctx.key or "")) end }
        """)
        p = self.ask("POST", "/api/topics/order.placed?key=k1", json.dumps({"id": "1"}))
        self.assertEqual((p.status, p.json["groups"]), (202, 2))
        self.assertEqual([g["group"] for g in self.ask("GET", "/api/topics").json["groups"]], ["a", "b"])
        e = self.ask("POST", "/api/topics/order.event", json.dumps({**EVENT, "data": {"id": "2"}}),
                     {"Content-Type": "application/cloudevents+json"})
        self.assertEqual((e.status, e.json["groups"]), (202, 2))
        again = self.ask("POST", "/api/topics/order.event", json.dumps({**EVENT, "data": {"id": "2"}}),
                         {"Content-Type": "application/cloudevents+json"})
        self.assertEqual((again.json["id"], again.json["duplicate"]), (e.json["id"], True))
        self.until(["a order.placed 1 ", "b order.placed k1", "a order.event 2 /shop", "b order.event "])

    def test_who_publishes_is_told_how_far_the_slowest_group_is_behind(self):
        self.serve("""
            on "news.*" { group = "slow", run = function() end }
            on "news.*" { group = "quick", run = function() end }
        """)
        self.assertEqual(self.ask("POST", Q + "group.slow/pause").status, 200)
        for depth in (1, 2):
            p = self.ask("POST", "/api/topics/news.a", json.dumps({})).json
            self.assertEqual((p["groups"], p["depth"]), (2, depth))
            time.sleep(0.05)
        ops = {"ops": [{"op": "kv.put", "key": "k", "value": 1}, {"op": "publish", "topic": "news.b", "body": 1}]}
        p = self.ask("POST", "/api/tx", json.dumps(ops)).json["results"][1]
        self.assertEqual((p["outcome"], p["groups"], p["depth"]), ("published", 2, 3))
        self.assertGreaterEqual(p["oldest_age_seconds"], 0.1)

    def test_an_event_that_comes_again_and_again_is_worked_once_by_each_group(self):  # B4
        scripts = """
            queue "group.a" { dedup_window = "1s" }
            on "shop.*" { group = "a", run = function(e, ctx) note("a " .. e.id .. " " .. ctx.topic) end }
            on "shop.#" { group = "b", run = function(e, ctx) note("b " .. e.id .. " " .. ctx.topic) end }
        """
        event = {**EVENT, "data": {"id": "1"}}
        binary = {f"ce-{k}": v for k, v in EVENT.items() if k != "data"}

        def again(duplicate=True):
            answers = [self.ask("POST", "/api/topics/shop.sold", json.dumps(event), {"Content-Type": "application/cloudevents+json"}),
                       self.ask("POST", "/api/topics/shop.sold", json.dumps(event["data"]), binary),
                       self.ask("POST", "/api/topics/shop.other", json.dumps([event, event]),
                                {"Content-Type": "application/cloudevents-batch+json"})]
            self.assertEqual([a.status for a in answers], [202] * 3)
            self.assertEqual([a.json.get("duplicate", False) for a in answers[:2]], [duplicate, True])
            self.assertEqual([r["duplicate"] for r in answers[2].json["results"]], [True] * 2)
            self.ids |= {a.json["id"] for a in answers[:2]} | {r["id"] for r in answers[2].json["results"]}

        self.ids = set()
        self.serve(scripts, "--work.lease", "1s")
        again(duplicate=False)
        self.until(["a 1 shop.sold", "b 1 shop.sold"])
        time.sleep(1.5)  # past the window of that queue
        again()
        self.server.kill()
        self.again("--work.lease", "1s")
        again()
        self.assertEqual(len(self.ids), 1)
        self.assertEqual(self.ask("POST", "/api/topics/shop.sold", json.dumps({**event, "id": "e-2", "data": {"id": "2"}}),
                                  {"Content-Type": "application/cloudevents+json"}).status, 202)
        self.until(["a 1 shop.sold", "b 1 shop.sold", "a 2 shop.sold", "b 2 shop.sold"])

    def test_an_event_that_was_unrouted_and_comes_again_is_worked_once(self):  # B4
        kind = {"Content-Type": "application/cloudevents+json"}
        event = json.dumps({**EVENT, "data": {"id": "1"}})
        self.serve("")
        first = [self.ask("POST", "/api/topics/shop.sold", event, kind).json for _ in range(2)]
        self.assertEqual((first[1]["id"], first[1]["duplicate"]), (first[0]["id"], True))
        self.deploy("""on "shop.*" { group = "late", run = function(e) note("late " .. e.id) end }""")
        redriven = self.ask("POST", "/api/topics/shop.%23/redrive", "{}").json
        self.assertEqual(redriven["published"], 1)
        for _ in range(3):
            self.assertTrue(self.ask("POST", "/api/topics/shop.sold", event, kind).json["duplicate"])
        other = json.dumps({**EVENT, "id": "e-9", "data": {"id": "9"}})
        self.ask("POST", "/api/topics/shop.sold", other, kind)
        self.until(["late 1", "late 9"])
        self.assertEqual(len(self.of("unrouted", "discarded")), 0)

    def test_a_handler_answers_who_asks_over_http(self):
        self.serve("""
            on "price.of" { group = "prices", run = function(q, ctx)
              if q.article == "none" then ctx:reject("no such article") end
              if q.article == "nothing" then return end
              return { price = 7, article = q.article }
            end }
        """)

        def price(article, wait="5s", headers=None):
            return self.ask("POST", "/api/topics/price.of?reply=" + wait, json.dumps({"article": article}), headers)
        a = price("tea")
        self.assertEqual((a.status, a.json), (200, {"article": "tea", "price": 7}))
        self.assertEqual(price("nothing").status, 204)
        self.assertEqual((price("none").status, price("none").json["code"]), (422, "rejected"))
        self.assertEqual(self.ask("POST", "/api/topics/nobody?reply=1s", "{}").status, 404)
        self.assertEqual((price("tea", "10m").status, price("tea", "0s").status), (400, 400))
        self.assertEqual(price("tea", headers={"Idempotency-Key": "k"}).status, 422)
        self.ask("POST", Q + "group.prices/pause")
        late = price("tea", "200ms")
        self.assertEqual((late.status, late.json["code"]), (504, "timeout"))
        batch = self.ask("POST", "/api/topics/price.of?reply=1s", "[]", {"Content-Type": "application/cloudevents-batch+json"})
        self.assertEqual(batch.status, 400)

    def waits_for_answers(self, count):
        self.serve('on "price.of" { group = "prices", run = function(q) end }')
        self.ask("POST", Q + "group.prices/pause")
        socks = []
        for _ in range(count):
            s = socket.create_connection(("127.0.0.1", self.server.port))
            s.sendall(b"POST /api/topics/price.of?reply=5m HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n"
                      b"Content-Type: application/json\r\n\r\n{}")
            socks.append(s)
            self.addCleanup(s.close)
        for _ in range(100):
            if len(self.of("group.prices", "available")) == count:
                return socks
            time.sleep(0.05)
        self.fail("not all were published")

    def at_work(self):
        text = self.ask("GET", "/metrics").body.decode()
        return sum(float(line.split()[-1]) for line in text.splitlines() if line.startswith("koan_http_requests_in_flight"))

    def test_who_waits_for_an_answer_is_not_counted_among_those_at_work(self):
        socks = self.waits_for_answers(20)
        self.assertLess(self.at_work(), 5)
        for s in socks:
            s.close()  # nobody waits any more, and the node has nothing left to stop for
        time.sleep(0.5)
        began = time.monotonic()
        self.assertEqual(self.server.stop(), 0)
        self.assertLess(time.monotonic() - began, 15)

    def test_who_waits_for_an_answer_hears_that_the_node_leaves(self):
        s = self.waits_for_answers(1)[0]
        s.settimeout(60)
        began = time.monotonic()
        self.assertEqual(self.server.stop(), 0)
        self.assertLess(time.monotonic() - began, 15)
        answer = b""
        while b"leaving" not in answer:
            part = s.recv(4096)
            self.assertNotEqual(part, b"", answer)
            answer += part
        self.assertIn(b" 504 ", answer.splitlines()[0])

    def test_who_listens_later_gets_what_nobody_listened_to_once(self):  # B1 B2
        self.serve("")
        for i in range(3):
            self.ask("POST", f"/api/topics/order.n{i}?key=k", json.dumps({"id": str(i)}), {"X-Message-Shop": "7"})
        self.ask("POST", "/api/topics/other", "{}")
        self.deploy("""on "order.*" { group = "late", run = function(e, ctx)
            note(ctx.topic .. " " .. e.id .. " " .. ctx.key .. " " .. ctx.headers.shop .. " " .. #ctx.message_id) end }""")
        first = self.ask("POST", "/api/topics/order.%23/redrive", json.dumps({"limit": 2}))
        self.assertEqual((first.status, first.json["published"]), (200, 2))
        rest = self.ask("POST", "/api/topics/%23/redrive", json.dumps({})).json
        self.assertEqual((rest["published"], rest["unrouted"], "next" in rest), (1, 1, False))
        self.until([f"order.n{i} {i} k 7 36" for i in range(3)])
        self.assertEqual([m["headers"]["topic"] for m in self.of("unrouted", "discarded")], ["other"])

    def test_retained_messages_feed_who_comes_late_and_who_is_rewound(self):  # B1
        self.serve("""topic "c.*" { retain = "1h" }""")
        for i in range(3):
            self.ask("POST", "/api/topics/c.saved", json.dumps({"id": str(i)}))
        self.deploy("""
            topic "c.*" { retain = "1h" }
            on "c.*" { group = "old", start = "first", run = function(e) note("old " .. e.id) end }
            on "c.*" { group = "new", run = function(e) note("new " .. e.id) end }
        """)
        self.ask("POST", "/api/topics/c.saved", json.dumps({"id": "3"}))
        self.until(["old 0", "old 1", "old 2", "old 3", "new 3"])
        a = self.ask("POST", "/api/topics/groups/new/rewind", json.dumps({"to": {"position": 3}}))
        self.assertEqual((a.status, a.json["position"]), (202, 3))
        self.until(["old 0", "old 1", "old 2", "old 3", "new 3", "new 2", "new 3"])
        topics = self.ask("GET", "/api/topics").json
        self.assertEqual([(t["pattern"], t["retain_ms"]) for t in topics["topics"]], [("c.*", 3600000)])

    def test_a_message_that_was_told_survives_a_kill_in_each_group(self):  # B1 L2
        self.serve("""
            on "k.*" { group = "a", run = function(e) note("a " .. e.id) end }
            on "k.x" { group = "b", run = function(e) note("b " .. e.id) end }
        """, "--work.lease", "1s")
        for i in range(20):
            self.assertEqual(self.ask("POST", "/api/topics/k.x", json.dumps({"id": str(i)})).status, 202)
        self.server.kill()
        self.again("--work.lease", "1s")
        self.until([f"{g} {i}" for g in "ab" for i in range(20)], 60)


if __name__ == "__main__":
    unittest.main()
