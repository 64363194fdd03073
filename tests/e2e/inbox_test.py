"""/v1/inbox: whether a message was worked already, for workers in any language."""
import threading
import time
import unittest

from e2e.node import App, Case


class Inbox(App):
    APP = 'entity "Job" { fields = { n = int {} } }'
    serial = iter(range(10 ** 9))

    def post(self, verb, status=200, **body):
        return self.ok("POST", "/v1/inbox/" + verb, body, status).json

    def key(self):
        return f"orders/{next(self.serial)}"

    def test_a_message_is_begun_processed_and_remembered(self):  # K3
        key = self.key()
        self.ok("GET", "/v1/inbox/" + key, status=404)
        a = self.post("try-begin", key=key, owner="w1", leaseSeconds=60)
        self.assertEqual((a["status"], sorted(a)), ("Acquired", ["expiresAt", "leaseId", "status"]))
        self.assertEqual(self.post("try-begin", key=key, owner="w2"), {"status": "Busy"})
        self.ok("GET", "/v1/inbox/" + key, status=404)
        p = self.refused("POST", "/v1/inbox/mark-processed", {"key": key, "leaseId": "other"}, 409, "fenced", "was not begun under lease 'other'")
        self.assertEqual(p["retry"], "never")
        for _ in range(2):
            self.assertEqual(self.post("mark-processed", key=key, leaseId=a["leaseId"]), {"status": "Processed"})
        self.assertEqual(self.ok("GET", "/v1/inbox/" + key).body, b'{"status":"Processed"}')
        self.assertEqual(self.post("try-begin", key=key, owner="w2"), {"status": "Processed"})
        self.refused("POST", "/v1/inbox/release", {"key": key, "leaseId": a["leaseId"]}, 409, "conflict", "is processed")

    def test_what_is_released_or_left_is_begun_by_the_next(self):
        key = self.key()
        a = self.post("try-begin", key=key)
        self.assertEqual(self.post("release", key=key, leaseId=a["leaseId"]), {"status": "Released"})
        self.refused("POST", "/v1/inbox/release", {"key": key, "leaseId": a["leaseId"]}, 409, "fenced")
        b = self.post("try-begin", key=key, leaseSeconds=1)
        self.assertEqual(b["status"], "Acquired")
        time.sleep(1.1)
        c = self.post("try-begin", key=key)
        self.assertEqual(c["status"], "Acquired")
        self.refused("POST", "/v1/inbox/mark-processed", {"key": key, "leaseId": b["leaseId"]}, 409, "fenced", "by somebody else since")

    def test_simple_clients_need_no_lease(self):
        key = self.key()
        self.assertEqual(self.post("mark-processed", key=key), {"status": "Processed"})
        self.assertEqual(self.post("try-begin", key=key)["status"], "Processed")
        key = self.key()
        self.post("mark-processed", key=key, keepSeconds=1)
        time.sleep(1.1)
        self.ok("GET", "/v1/inbox/" + key, status=404)
        self.assertEqual(self.post("try-begin", key=key)["status"], "Acquired")

    def test_of_many_one_gets_it(self):  # K3
        for _ in range(10):
            key, got = self.key(), []
            start = threading.Barrier(8)

            def begin():
                c = self.server.client()
                start.wait()
                got.append(c("POST", "/v1/inbox/try-begin", {"key": key, "owner": "w"}).json["status"])

            threads = [threading.Thread(target=begin) for _ in range(8)]
            for t in threads:
                t.start()
            for t in threads:
                t.join(20)
            self.assertEqual(sorted(got), ["Acquired"] + ["Busy"] * 7)

    def test_a_repeat_gets_the_first_answer(self):  # R2
        key = self.key()
        one, two = (self.ok("POST", "/v1/inbox/try-begin", {"key": key}, Idempotency_Key=key) for _ in range(2))
        self.assertEqual((one.body, two.headers["Idempotency-Replayed"]), (two.body, "true"))

    def test_what_is_not_understood_is_refused(self):  # R1 R3
        for path in ("/v1/inbox/", "/v1/inbox/%20%20"):
            self.refused("GET", path, words="not blank")
        for verb in ("try-begin", "mark-processed", "release"):
            for body, words in (({}, "not blank"), ({"key": " "}, "not blank"), ({"key": 1}, "key"), ({"key": "k", "lease": 1}, "lease"),
                                ({"key": "k" * 513, "leaseId": "x"} if verb != "try-begin" else {"key": "k" * 513}, "1 to 512 bytes")):
                self.refused("POST", "/v1/inbox/" + verb, body, words=words)
        self.refused("POST", "/v1/inbox/release", {"key": "k"}, words="leaseId")
        self.refused("POST", "/v1/inbox/try-begin", {"key": "k", "leaseSeconds": "x"}, words="a number of seconds")
        self.refused("POST", "/v1/inbox/mark-processed", {"key": "k", "keepSeconds": 31 * 86400}, words="30 days")
        self.refused("GET", "/v1/inbox/k?x=1", words="x")


class Killed(Case):
    def test_processed_survives_kill_9_and_begun_runs_out(self):  # K3 L2
        node = self.node()
        c = node.client()
        a = c("POST", "/v1/inbox/try-begin", {"key": "a"}).json
        self.assertEqual(c("POST", "/v1/inbox/mark-processed", {"key": "a", "leaseId": a["leaseId"]}).status, 200)
        b = c("POST", "/v1/inbox/try-begin", {"key": "b", "leaseSeconds": 2}).json
        node.kill()
        node = self.node()
        c = node.client()
        self.assertEqual(c("POST", "/v1/inbox/try-begin", {"key": "a"}).json["status"], "Processed")
        self.assertEqual(c("POST", "/v1/inbox/try-begin", {"key": "b"}).json["status"], "Busy")
        time.sleep(2.1)
        self.assertEqual(c("POST", "/v1/inbox/try-begin", {"key": "b"}).json["status"], "Acquired")
        self.assertEqual(c("POST", "/v1/inbox/mark-processed", {"key": "b", "leaseId": b["leaseId"]}).status, 409)


if __name__ == "__main__":
    unittest.main()
