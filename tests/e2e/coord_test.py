"""Leases, values, counters and limits over HTTP, in units with records, through kill -9."""
import json
import threading
import time
import unittest
import urllib.parse

from e2e.node import App, Case, run

APP = 'entity "Job" { fields = { n = int {} } }'


class Coord(App):
    APP = APP
    serial = iter(range(10 ** 9))

    def name(self, kind="x"):
        return f"{kind}-{next(self.serial)}"

    def lease(self, name, verb="", body=None, status=200, **headers):
        a = self.ok("POST", f"/api/leases/{urllib.parse.quote(name, safe='')}/{verb}", body, status, **headers)
        return a.json if a.body else None

    def acquire(self, name, **body):
        return self.lease(name, "acquire", body)


class Leases(Coord):
    def test_one_holds_it_and_the_others_are_told_who(self):  # K1 R1
        name = "entity/Job/" + self.name()
        one = self.acquire(name, ttl="30s", owner="ana", meta={"pid": 7})
        path = "/api/leases/" + urllib.parse.quote(name, safe="")
        p = self.refused("POST", path + "/acquire", {"owner": "ben"}, 423, "locked", "is held by 'ana' since")
        self.assertEqual((p["holder"]["token"], p["holder"]["meta"], p["retry"]), (one["token"], {"pid": 7}, "after"))
        seen = self.ok("GET", path).json
        self.assertEqual((seen["form"], seen["held"], seen["holders"][0]["owner"], seen["waiters"]), ("lease", 1, "ana", []))
        renewed = self.lease(name, "renew", {"token": one["token"], "ttl": 60})
        self.assertGreater(renewed["expires"], one["expires"])
        self.lease(name, "release", {"token": one["token"]}, 204)
        two = self.acquire(name, owner="ben")
        self.assertGreater(two["token"], one["token"])
        for verb in ("renew", "release"):
            self.refused("POST", f"{path}/{verb}", {"token": one["token"]}, 409, "fenced", "'ben' has it under")

    def test_waiters_get_it_in_their_order_and_who_waits_too_long_is_told(self):
        name, got = self.name(), []
        held = self.acquire(name, owner="first")

        def wait(owner, seconds):
            c = self.server.client()
            a = c("POST", f"/api/leases/{name}/acquire", {"owner": owner, "wait": seconds})
            got.append((owner, a.status, a.json))
            if a.status == 200:
                c("POST", f"/api/leases/{name}/release", {"token": a.json["token"]})

        threads = []
        for i, seconds in enumerate((20, 0.5, 20, 20)):
            threads.append(threading.Thread(target=wait, args=(f"w{i}", seconds)))
            threads[-1].start()
            self.until(lambda: self.ok("GET", f"/api/leases/{name}").json["waiting"] == i + 1)
        self.until(lambda: got)
        self.assertEqual(got[0][:2], ("w1", 423))
        self.assertIn("is held by 'first'", got[0][2]["detail"])
        self.lease(name, "release", {"token": held["token"]}, 204)
        for t in threads:
            t.join(20)
        self.assertEqual([g[0] for g in got[1:]], ["w0", "w2", "w3"])
        tokens = [g[2]["token"] for g in got[1:]]
        self.assertEqual(tokens, sorted(set(tokens)))
        self.ok("GET", f"/api/leases/{name}", status=404)

    def until(self, true, seconds=10):
        end = time.monotonic() + seconds
        while not true():
            self.assertLess(time.monotonic(), end)
            time.sleep(0.02)

    def test_who_hangs_up_leaves_the_queue(self):
        name = self.name()
        held = self.acquire(name)
        c = self.server.client()
        t = threading.Thread(target=lambda: self.hang_up(c, name))
        t.start()
        t.join(10)
        self.until(lambda: self.ok("GET", f"/api/leases/{name}").json["waiting"] == 0)
        self.lease(name, "release", {"token": held["token"]}, 204)
        self.ok("GET", f"/api/leases/{name}", status=404)

    def hang_up(self, c, name):
        import socket
        body = b'{"wait": 50}'
        s = socket.create_connection(("127.0.0.1", self.server.port))
        s.sendall(b"POST /api/leases/%s/acquire HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (name.encode(), len(body)) + body)
        watcher = self.server.client()
        self.until(lambda: watcher("GET", f"/api/leases/{name}").json["waiting"] == 1)
        s.close()

    def test_many_wait_and_others_are_answered(self):
        name = self.name()
        held = self.acquire(name)
        import socket
        socks = []
        for _ in range(600):  # more than are at work at a time
            s = socket.create_connection(("127.0.0.1", self.server.port))
            s.sendall(b"POST /api/leases/%s/acquire HTTP/1.1\r\nHost: x\r\nContent-Length: 12\r\n\r\n" % name.encode() + b'{"wait": 50}')
            socks.append(s)
        self.until(lambda: self.ok("GET", f"/api/leases/{name}").json["waiting"] == 600, 30)
        self.ok("POST", "/api/job", {"n": 1}, 201)
        for s in socks:
            s.close()
        self.until(lambda: self.ok("GET", f"/api/leases/{name}").json["waiting"] == 0, 30)
        self.lease(name, "release", {"token": held["token"]}, 204)

    def test_semaphores_and_read_write_locks(self):
        name = self.name()
        a, b = self.acquire(name, n=2), self.acquire(name, n=2)
        self.lease(name, "acquire", {"n": 2}, 423)
        self.refused("POST", f"/api/leases/{name}/acquire", {"n": 3}, 409, "conflict", "a semaphore of 2")
        self.lease(name, "release", {"token": a["token"], "id": a["id"]}, 204)
        self.acquire(name, n=2)
        self.lease(name, "release", {"token": b["token"], "id": b["id"]}, 204)
        rw = self.name()
        one, _ = self.acquire(rw, mode="read"), self.acquire(rw, mode="read")
        self.lease(rw, "acquire", {"mode": "write"}, 423)
        self.assertEqual(self.ok("GET", f"/api/leases/{rw}").json["held"], 2)
        self.assertEqual(self.ok("GET", f"/api/leases/{rw}").json["holders"][0]["mode"], "read")
        self.refused("POST", f"/api/leases/{rw}/acquire", {"mode": "write", "n": 2}, words="say one")
        self.assertIsNotNone(one)

    def test_break_wants_the_name_and_shows_who_would_lose_it(self):
        name = self.name()
        held = self.acquire(name, owner="stuck")
        self.refused("POST", f"/api/leases/{name}/break", words="confirm=" + name)
        dry = self.ok("POST", f"/api/leases/{name}/break?dry_run=true").json
        self.assertEqual(dry["holders"][0]["owner"], "stuck")
        self.ok("POST", f"/api/leases/{name}/break?confirm={name}", status=204)
        self.refused("POST", f"/api/leases/{name}/renew", {"token": held["token"]}, 409, "fenced", "is not held")
        self.refused("POST", f"/api/leases/{name}/break?confirm={name}", None, 404, "not_found", "nobody holds")

    def test_the_command_line_lists_and_breaks(self):
        name = self.name("cli/a b")
        self.acquire(name, owner="someone")
        flags = ("--url", self.server.url)
        code, out, err = run("lease", "ls", *flags)
        self.assertEqual(code, 0, err)
        self.assertRegex(out, r"NAME +FORM +STATE +OWNER")
        self.assertIn(name, out)
        code, out, _ = run("lease", "ls", "--json", "--prefix", "cli/", *flags)
        self.assertEqual([x["name"] for x in json.loads(out)["items"]], [name])
        code, out, _ = run("lease", "ls", name, "--json", *flags)
        self.assertEqual(json.loads(out)["holders"][0]["owner"], "someone")
        code, _, err = run("lease", "break", name, *flags)
        self.assertEqual((code, "--confirm" in err), (2, True))
        code, out, err = run("lease", "break", name, "--confirm", name, "--json", *flags)
        self.assertEqual((code, json.loads(out)), (0, {"broken": name}), err)
        self.assertEqual(run("lease", "break", name, "--confirm", name, *flags)[0], 1)

    def test_an_acquire_sent_again_with_its_key_gets_the_first_grant(self):  # R2
        name = self.name()
        one, two = (self.lease(name, "acquire", {"ttl": "10s"}, Idempotency_Key=name) for _ in range(2))
        self.assertEqual(one, two)
        self.lease(name, "release", {"token": one["token"]}, 204)
        self.assertEqual(self.lease(name, "acquire", {"ttl": "10s"}, Idempotency_Key=name), one)
        self.ok("GET", f"/api/leases/{name}", status=404)

    def test_a_unit_of_a_holder_that_is_one_no_more_changes_nothing(self):  # L4
        name = self.name()
        held = self.acquire(name)
        ops = [{"op": "lease.check", "name": name, "token": held["token"]},
               {"op": "entity.save", "entity": "job", "id": name, "value": {"n": 1}},
               {"op": "kv.put", "key": name, "value": {"at": 1}}]
        done = self.ok("POST", "/api/tx", {"ops": ops}).json["results"]
        self.assertEqual((done[0], done[1]["outcome"], done[2]["key"]), ({"op": "lease.check"}, "created", name))
        self.assertEqual(self.ok("GET", "/api/kv/" + name).headers["ETag"], '"%d"' % done[2]["version"])
        self.lease(name, "release", {"token": held["token"]}, 204)
        self.acquire(name)
        ops[1]["value"]["n"] = 2
        p = self.refused("POST", "/api/tx", {"ops": ops}, 409, "fenced", "is not held under token")
        self.assertEqual(p["failed_op"], 0)
        self.assertEqual(self.ok("GET", "/api/job/" + name).json["n"], 1)

    def test_what_is_not_understood_is_refused(self):  # R1 R3
        for path, body, words in (
                ("acquire", {"ttl": "1ms"}, "1s to 24h"), ("acquire", {"wait": "61s"}, "at most 60s"), ("acquire", {"tll": 1}, "ttl"),
                ("acquire", {"ttl": []}, "a duration"), ("acquire", {"n": 0}, "1 to 10000"), ("acquire", {"mode": "x"}, "read or write"),
                ("renew", {}, "the number that the grant gave"), ("release", {"token": "x"}, "token"), ("acquire?x=1", {}, "x"),
                ("break?confirm=z&x=1", None, "x")):
            with self.subTest(path=path, body=body):
                self.refused("POST", "/api/leases/z/" + path, body, words=words)
        self.refused("POST", f"/api/leases/{'n' * 513}/acquire", {}, words="1 to 512 bytes")
        self.refused("POST", "/api/leases/z/acquire", {"meta": "m" * 5000}, 413, "too_large", "4 KiB")
        self.refused("GET", "/api/leases?limit=0", words="1 to 1000")


class Values(Coord):
    def put(self, key, value, status=200, query="", **headers):
        return self.ok("PUT", f"/api/kv/{key}{query}", json.dumps(value), status, **headers)

    def test_versions_guard_a_write(self):
        key = self.name("a/b c").replace(" ", "%20")
        one = self.put(key, {"x": 1}).json["version"]
        self.assertEqual(self.ok("GET", "/api/kv/" + key).json, {"x": 1})
        two = self.put(key, 2, If_Match=f'"{one}"').json["version"]
        self.put(key, 3, 412, If_Match=f'"{one}"')
        self.put(key, 3, 412, If_None_Match="*")
        self.put(key + "x", 3, 412, If_Match="*")
        self.assertEqual(self.ok("GET", "/api/kv/" + key, status=304, If_None_Match=f'"{two}"').body, b"")
        self.ok("DELETE", "/api/kv/" + key, status=412, If_Match=f'"{one}"')
        self.ok("DELETE", "/api/kv/" + key, status=204, If_Match=f'"{two}"')
        self.ok("GET", "/api/kv/" + key, status=404)
        self.ok("DELETE", "/api/kv/" + key, status=404)
        self.assertGreater(self.put(key, 4, If_None_Match="*").json["version"], two)

    def test_a_value_goes_after_its_time(self):
        key = self.name()
        self.put(key, 1, query="?ttl=400ms")
        self.assertRegex(self.ok("GET", "/api/kv/" + key).headers["X-Koan-Expires"], r"^20\d\d-")
        time.sleep(0.5)
        self.ok("GET", "/api/kv/" + key, status=404)
        self.refused("PUT", f"/api/kv/{key}?ttl=0", "1", words="more than nothing")
        self.refused("PUT", "/api/kv/" + key, json.dumps("x" * 300000), 413, "too_large", "256 KiB")

    def test_keys_are_listed_by_prefix(self):
        prefix = self.name("list") + "/"
        for i in range(7):
            self.put(f"{prefix}{i}", i)
        page = self.ok("GET", f"/api/kv?prefix={prefix}&limit=5").json
        self.assertEqual(([x["key"] for x in page["items"]], page["next"]), ([f"{prefix}{i}" for i in range(5)], f"{prefix}4"))
        page = self.ok("GET", f"/api/kv?prefix={prefix}&limit=5&after={page['next']}").json
        self.assertEqual((len(page["items"]), "next" in page), (2, False))

    def test_repeats_have_one_effect(self):  # R2
        key = self.name()
        one, two = (self.put(key, 1, Idempotency_Key=key) for _ in range(2))
        self.assertEqual((one.body, two.headers["Idempotency-Replayed"]), (two.body, "true"))
        one, two = (self.ok("POST", "/api/counters/" + key, {"add": 5}, Idempotency_Key=key + "c").json for _ in range(2))
        self.assertEqual((one["value"], two["value"]), (5, 5))
        one, two = (self.ok("POST", "/api/tx", {"ops": [{"op": "kv.put", "key": key, "value": 2}]}, Idempotency_Key=key + "t").body
                    for _ in range(2))
        self.assertEqual(one, two)

    def test_values_in_a_unit_fail_it_with_their_index(self):
        key = self.name()
        self.put(key, 1)
        ops = [{"op": "entity.save", "entity": "job", "id": key, "value": {"n": 1}},
               {"op": "kv.put", "key": key, "value": 2, "if_absent": True}]
        p = self.refused("POST", "/api/tx", {"ops": ops}, 412, "version_mismatch", "is there already")
        self.assertEqual(p["failed_op"], 1)
        self.ok("GET", "/api/job/" + key, status=404)
        for op, words in (({"op": "kv.put", "value": 1}, '"key" is missing'), ({"op": "kv.put", "key": "k"}, "no \"value\""),
                          ({"op": "lease.check", "name": "k"}, "the number that the grant gave"), ({"op": "kv.put", "kee": 1}, "key")):
            self.assertEqual(self.refused("POST", "/api/tx", {"ops": [op]}, words=words)["failed_op"], 0)


class Counts(Coord):
    def test_counters_are_exact_however_many_count(self):
        name, numbers = self.name(), []

        def count():
            c = self.server.client()
            for _ in range(50):
                b = c("POST", "/api/counters/" + name, {"block": 3}).json
                numbers.extend(range(b["first"], b["last"] + 1))

        threads = [threading.Thread(target=count) for _ in range(4)]
        for t in threads:
            t.start()
        for t in threads:
            t.join(60)
        self.assertEqual(sorted(numbers), list(range(1, 601)))
        self.assertEqual(self.ok("GET", "/api/counters/" + name).json["value"], 600)
        self.refused("POST", "/api/counters/" + name, {"add": 2 ** 63 - 1}, 409, "conflict", "would overflow")
        self.refused("DELETE", "/api/counters/" + name, None, words="confirm=" + name)
        self.ok("DELETE", f"/api/counters/{name}?confirm={name}", status=204)
        self.ok("GET", "/api/counters/" + name, status=404)
        self.refused("POST", "/api/counters/" + name, {"block": 0}, words="at least 1")

    def test_a_limit_holds_over_all_who_ask(self):
        name, taken = self.name(), []

        def take():
            c = self.server.client()
            for _ in range(20):
                taken.append(c("POST", f"/api/limits/{name}/take", {"rate": 30, "per": "1h"}).status)

        threads = [threading.Thread(target=take) for _ in range(4)]
        for t in threads:
            t.start()
        for t in threads:
            t.join(60)
        self.assertEqual((taken.count(200), taken.count(429)), (30, 50))
        p = self.refused("POST", f"/api/limits/{name}/take", {"rate": 30, "per": "1h"}, 429, "rate_limited", "the next turn is in")
        self.assertTrue(100000 < p["wait_ms"] <= 120000, p)
        self.refused("POST", f"/api/limits/{name}/take", {"per": "1s"}, words="rate: 1 to")
        self.refused("POST", f"/api/limits/{name}/take", {"rate": 1, "n": 2}, words="1 to the burst")
        other = self.name()
        waits = [self.ok("POST", f"/api/limits/{other}/take", {"rate": 1, "wait": "30s"}).json["wait_ms"] for _ in range(3)]
        self.assertEqual(waits[0], 0)
        self.assertTrue(900 < waits[1] <= 1000 and 1800 < waits[2] <= 2000, waits)


class Killed(Case):
    def test_a_holder_survives_kill_9_between_grant_and_release(self):  # K1 K2 L2
        node = self.node()
        c = node.client()
        held = c("POST", "/api/leases/x/acquire", {"ttl": "2s", "owner": "ana"}).json
        self.assertEqual(c("PUT", "/api/kv/k", "7").status, 200)
        node.kill()
        time.sleep(2.5)  # its time is over, and nobody could renew it
        node = self.node()
        c = node.client()
        p = c("POST", "/api/leases/x/acquire", {"owner": "ben"})
        self.assertEqual((p.status, p.json["holder"]["owner"]), (423, "ana"))
        self.assertEqual(c("POST", "/api/leases/x/renew", {"token": held["token"]}).status, 200)
        self.assertEqual(c("GET", "/api/kv/k").json, 7)
        began = time.monotonic()  # and now it falls silent
        a = c("POST", "/api/leases/x/acquire", {"owner": "ben", "wait": "20s"})
        self.assertEqual(a.status, 200, a.body)
        self.assertGreater(a.json["token"], held["token"])
        self.assertGreater(time.monotonic() - began, 1.5)
        ops = [{"op": "lease.check", "name": "x", "token": held["token"]}, {"op": "kv.put", "key": "k", "value": 8}]
        p = c("POST", "/api/tx", {"ops": ops})
        self.assertEqual((p.status, p.json["code"]), (409, "fenced"))
        self.assertEqual(c("POST", "/api/leases/x/release", {"token": a.json["token"]}).status, 204)
        self.assertEqual(c("GET", "/api/kv/k").json, 7)

    def test_who_waits_is_answered_when_the_node_leaves(self):
        node = self.node()
        node.client()("POST", "/api/leases/x/acquire", {})
        got = []
        t = threading.Thread(target=lambda: got.append(node.client()("POST", "/api/leases/x/acquire", {"wait": 60})))
        t.start()
        c = node.client()
        end = time.monotonic() + 10
        while c("GET", "/api/leases/x").json["waiting"] == 0 and time.monotonic() < end:
            time.sleep(0.02)
        began = time.monotonic()
        self.assertEqual(node.stop(), 0)
        t.join(10)
        self.assertLess(time.monotonic() - began, 10)
        self.assertEqual((got[0].status, got[0].json["code"]), (503, "draining"))


if __name__ == "__main__":
    unittest.main()
