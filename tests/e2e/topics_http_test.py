"""Topics over HTTP: plain messages and CloudEvents, one or many, kept where nobody listens, published again."""
import json
import unittest

from e2e.node import App

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
        self.assertEqual(self.ok("POST", "/api/tx", ops, **{"Idempotency-Key": "tx-1"}).json["results"], a)
        self.assertEqual([m["id"] for m in self.of_topic("tx.done")], [a[0]["id"]])
        p = self.refused("POST", "/api/tx", {"ops": [{"op": "kv.put", "key": "tx", "value": 2},
                                                     {"op": "publish", "topic": "tx.no", "body": 1, "mandatory": True}]},
                         status=404, code="not_found", words="nobody listens")
        self.assertEqual(p["failed_op"], 1)
        self.assertEqual(self.ok("GET", "/api/kv/tx").json, 1)

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


if __name__ == "__main__":
    unittest.main()
