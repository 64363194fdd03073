"""Clients that mean harm, against the real binary over raw sockets: each gets the answer the guide names, costs its
own connection only, and the memory that the server holds for it is bounded. Guarantees: H1, H3, R1, R3."""
import json
import resource
import socket
import struct
import threading
import time
import unittest

from e2e.http_test import MIB, Face, Raw, get, post
from e2e.node import SANITIZED, Case

CHUNKED = "POST /api/note HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
HEADER_WAIT_S, RATE_WINDOW_S = 10, 10
IDLE = 1000 if SANITIZED else 10000
# What may stay behind after an attack: pools, the allocator's own pages, a page cache of SQLite.
LEFT_BEHIND = 24 * MIB


class Hostile(Face):
    """Face, and what every test ends with: the server lives, and answers somebody else."""

    def tearDown(self):
        self.assertEqual(self.one(get("/livez")).status, 200)
        super().tearDown()

    def rss(self):
        return int(self.server.status("VmRSS").split()[0]) * 1024

    def refused(self, request, status, code, more=b""):
        """Answered so, and closed: nothing that comes behind is read as a request."""
        r = self.raw()
        try:
            r.send(request)
            r.send(more)
        except OSError:
            pass
        a = r.answer()
        self.assertIsNotNone(a)
        self.assertEqual((a.status, a.headers["content-type"]), (status, "application/problem+json"), a.body)
        self.assertEqual((a.json["code"], a.json["retry"]), (code, "never"))
        self.assertEqual(a.headers["connection"], "close")
        self.assertIsNone(r.answer())
        return a


class Smuggling(Hostile):
    """Where two parsers could see different boundaries, there is no request."""

    HIDDEN = post("/api/note", '{"text": "smuggled"}')

    def all_refused(self, cases):
        before = self.notes()
        for name, request in cases.items():
            with self.subTest(name):
                self.refused(request, 400, "invalid", self.HIDDEN.encode())
        self.assertEqual(self.notes(), before)

    def test_lengths_that_contradict_each_other_are_refused(self):  # R3
        head = "POST /api/note HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        self.all_refused({
            "length, then chunks": head + "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "chunks, then length": head + "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n",
            "the same length twice": head + "Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}",
            "two lengths": head + "Content-Length: 2\r\nContent-Length: 0\r\n\r\n{}",
            "a list of lengths": head + "Content-Length: 2, 2\r\n\r\n{}",
            "hexadecimal": head + "Content-Length: 0x2\r\n\r\n{}",
            "a sign": head + "Content-Length: +2\r\n\r\n{}",
            "a space inside": head + "Content-Length: 2 2\r\n\r\n{}",
            "over 64 bits": head + "Content-Length: 18446744073709551618\r\n\r\n{}",
            "no digits": head + "Content-Length: \r\n\r\n{}",
            "a length in a trailing space of the name": head + "Content-Length : 2\r\n\r\n{}",
            "chunked twice": head + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "chunked in a list": head + "Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
            "identity behind chunked": head + "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
            "a coding in quotes": head + 'Transfer-Encoding: "chunked"\r\n\r\n0\r\n\r\n',
            "a tab before the coding's name": head + "Transfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n",
            "HTTP/1.0 with chunks": head.replace("1.1", "1.0") + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        })

    def test_line_ends_and_blanks_in_odd_places_are_refused(self):  # R3
        self.all_refused({
            "bare LF behind the request line": "GET /livez HTTP/1.1\nHost: x\r\n\r\n",
            "bare LF behind a header": "GET /livez HTTP/1.1\r\nHost: x\nX-A: b\r\n\r\n",
            "bare LF at the end of the head": "GET /livez HTTP/1.1\r\nHost: x\r\n\n",
            "bare CR in a value": "GET /livez HTTP/1.1\r\nHost: x\r\nX-A: b\rX-B: c\r\n\r\n",
            "a folded header": "GET /livez HTTP/1.1\r\nHost: x\r\nX-A: b\r\n\tc\r\n\r\n",
            "a folded first header": "GET /livez HTTP/1.1\r\n X-A: b\r\nHost: x\r\n\r\n",
            "a folded length": "POST /api/note HTTP/1.1\r\nHost: x\r\nContent-Length:\r\n 2\r\n\r\n{}",
            "a blank behind the version": "GET /livez HTTP/1.1 \r\nHost: x\r\n\r\n",
            "a tab in the request line": "GET\t/livez HTTP/1.1\r\nHost: x\r\n\r\n",
            "a blank in the target": "GET /live z HTTP/1.1\r\nHost: x\r\n\r\n",
            "a blank before the method": " GET /livez HTTP/1.1\r\nHost: x\r\n\r\n",
            "a header without a name": "GET /livez HTTP/1.1\r\nHost: x\r\n: b\r\n\r\n",
            "a header without a colon": "GET /livez HTTP/1.1\r\nHost: x\r\nnonsense\r\n\r\n",
            "a lower case version": "GET /livez http/1.1\r\nHost: x\r\n\r\n",
            "no blank before the version": "GET /livezHTTP/1.1\r\nHost: x\r\n\r\n",
        })

    def test_chunks_are_read_strictly(self):  # R3
        body = '{"text": "smuggled"}'
        good = f"{len(body):x}\r\n{body}\r\n"
        self.all_refused({
            "a sign": CHUNKED + "+" + good + "0\r\n\r\n",
            "a prefix": CHUNKED + "0x" + good + "0\r\n\r\n",
            "a blank before the size": CHUNKED + " " + good + "0\r\n\r\n",
            "no size": CHUNKED + "\r\n" + body + "\r\n0\r\n\r\n",
            "over 64 bits": CHUNKED + "1" + "0" * 16 + "\r\n" + body,
            "bare LF behind the size": CHUNKED + good.replace("\r\n", "\n", 1) + "0\r\n\r\n",
            "bare LF behind the data": CHUNKED + f"{len(body):x}\r\n{body}\n0\r\n\r\n",
            "more data than said": CHUNKED + f"2\r\n{body}\r\n0\r\n\r\n",
            "bare LF in an extension": CHUNKED + good.replace("\r\n", ";a=b\n", 1) + "0\r\n\r\n",
        })

    def test_sizes_with_zeros_in_front_are_the_same_size(self):
        a = self.one(CHUNKED + '0000000f\r\n{"text": "abc"}\r\n000\r\n\r\n')
        self.assertEqual((a.status, a.json["text"]), (201, "abc"))

    def test_an_extension_without_end_is_refused(self):  # H3
        self.refused(CHUNKED + "1;" + "a" * (256 * 1024), 400, "invalid")
        self.refused(CHUNKED + "1;a=b\r\n \r\n" * 10 + "1;a" + "=" * (256 * 1024), 400, "invalid")

    def test_chunks_of_one_byte_are_a_body(self):
        body = json.dumps({"text": "x" * 500})
        r = self.raw().send(CHUNKED + "".join(f"1\r\n{c}\r\n" for c in body) + "0\r\n\r\n")
        self.assertEqual(r.answer().status, 201)

    def test_a_trailer_cannot_set_what_was_decided(self):
        a = self.one(CHUNKED + '11\r\n{"text": "trail"}\r\n0\r\nContent-Type: text/plain\r\nX-Correlation-ID: late\r\n\r\n')
        self.assertEqual((a.status, a.json["text"]), (201, "trail"))
        self.assertNotEqual(a.headers["x-correlation-id"], "late")

    def test_trailers_count_as_headers(self):  # H3
        self.refused(CHUNKED + "2\r\n{}\r\n0\r\n" + "".join(f"X-{i}: {'y' * 1000}\r\n" for i in range(40)) + "\r\n",
                     431, "too_large")


class Oversized(Hostile):
    def test_a_request_line_without_end_is_refused(self):  # H3
        self.refused("GET /" + "a" * 20000, 431, "too_large")
        self.refused("GET /livez?" + "a" * 9000 + " HTTP/1.1\r\nHost: x\r\n\r\n", 431, "too_large")

    def test_a_method_without_end_is_refused(self):
        self.refused("A" * 20000, 400, "invalid")

    def test_headers_without_end_are_refused(self):  # H3
        top = "GET /livez HTTP/1.1\r\nHost: x\r\n"
        self.refused(top + "X-A: " + "y" * 40000, 431, "too_large")
        self.refused(top + "X" * 40000, 431, "too_large")
        self.refused(top + "X-A: \r\n" * 101 + "\r\n", 431, "too_large")
        self.refused(top + "X-A:" + " " * 100000, 431, "too_large")

    def test_a_length_over_the_limit_is_refused_before_the_body(self):  # H2 H3
        for length in (10 * MIB + 1, 1 << 40, (1 << 64) - 1):
            self.refused(f"POST /api/note HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                         f"Content-Length: {length}\r\n\r\n", 413, "too_large")

    def test_chunks_over_the_limit_are_answered_and_closed(self):  # H2 H3
        before, notes = self.rss(), self.notes()
        for _ in range(3):
            r = self.raw(timeout=40).send(CHUNKED)
            piece = b"10000\r\n" + b" " * 65536 + b"\r\n"
            stop = threading.Event()

            def push():
                try:
                    while not stop.is_set():
                        r.send(piece)
                except OSError:
                    pass

            pusher = threading.Thread(target=push)
            pusher.start()
            a = r.answer()
            stop.set()
            self.assert_problem(a, 413, "too_large")
            r.close()
            pusher.join()
        self.assertEqual(self.notes(), notes)
        self.assertLess(self.rss() - before, LEFT_BEHIND)

    def test_bodies_of_many_connections_are_bounded_together(self):  # H3
        # Each is under its limit; all together would be 400 MiB.
        before = self.rss()
        part = b" " * (8 * MIB)
        head = post("/api/note", "").replace("Content-Length: 0", f"Content-Length: {10 * MIB}").encode()
        refused, kept = 0, []
        for _ in range(50):
            r = self.raw(timeout=20)
            kept.append(r)
            try:
                r.send(head + part)
            except OSError:
                pass
        grown = self.rss() - before
        for r in kept:
            r.s.settimeout(0.05)
            try:
                a = r.answer()
                refused += a is not None and a.status == 503
            except OSError:
                pass
        self.assertLess(grown, 2 * 128 * MIB + 64 * MIB)  # two threads' allowance
        self.assertGreater(refused, 0)

    def test_json_that_nests_or_repeats_without_end_is_refused(self):
        for body in ("[" * 100000, '{"a":' * 100000, '{"text": ' + "[" * 1000 + "]" * 1000 + "}",
                     '{"text": "a", "text": "b"}', '{"text": 1e999999}', '"' + "\\u0000" * 1000 + '"'):
            self.assert_problem(self.one(post("/api/note", body)), 400, "invalid")


class Paths(Hostile):
    def test_tricks_with_dots_and_escapes_find_nothing(self):  # R3
        tricks = ("/docs/../koan.db", "/docs/%2e%2e/koan.db", "/docs/%2E%2E%2Fkoan.db", "/docs/..%2fkoan.db",
                  "/docs/%252e%252e/koan.db", "/docs/..%5ckoan.db", "/docs/....//koan.db", "/docs/./http.md",
                  "/docs/%2e/http.md", "/../../../../etc/passwd", "/docs//etc/passwd", "//etc/passwd",
                  "/docs/http.md%00.html", "/docs/http.md%00", "/api/note/%00", "/docs/%c0%ae%c0%ae/koan.db",
                  "/docs/%e0%80%ae%e0%80%ae/x", "/docs/%f8%80%80%80%ae/x", "/api/note/%ed%a0%80", "/api/note/%ff",
                  "/api/note/%f4%90%80%80", "/docs/%", "/docs/%2", "/docs/%u002e%u002e/x", "/docs/;/x", "/docs/http.md/",
                  "/docs/http.md/..", "/api/note/a%2fb", "/api/note/..%2fnote", "/%2e%2e/livez", "/livez/..;/metrics",
                  "/api/note/%0d%0aSet-Cookie:x", "/docs/%0a", "/api//note", "/api/note//", "/" + "a/" * 33)
        for path in tricks:
            with self.subTest(path):
                a = self.one(get(path))
                self.assertIn(a.status, (400, 404), path)
                self.assertIn(a.json["code"], ("invalid", "not_found"))
                self.assertNotIn(b"root:", a.body)
                self.assertNotIn("set-cookie", a.headers)

    def test_what_is_escaped_twice_is_decoded_once(self):
        self.assertEqual(self.one(post("/api/note", '{"id": "a%2fb", "text": "x"}')).status, 201)
        self.assertEqual(self.one(get("/api/note/a%252fb")).json["id"], "a%2fb")
        self.assertEqual(self.one(get("/api/note/a%2fb")).status, 404)

    def test_a_target_of_another_form_is_not_a_path(self):
        self.assert_problem(self.one("GET livez HTTP/1.1\r\nHost: x\r\n\r\n"), 400, "invalid")
        self.assert_problem(self.one("GET * HTTP/1.1\r\nHost: x\r\n\r\n"), 400, "invalid")
        self.assertIn(self.one("CONNECT x:443 HTTP/1.1\r\nHost: x\r\n\r\n").status, (400, 404, 405))
        self.assertIn(self.one("GET ftp://x/livez HTTP/1.1\r\nHost: x\r\n\r\n").status, (400, 404))
        self.assertEqual(self.one("GET http://x/livez HTTP/1.1\r\nHost: x\r\n\r\n").status, 200)


class Protocols(Hostile):
    def test_methods_that_nobody_knows_are_refused(self):  # R1
        for method in ("BREW", "get", "GETT", "TRACE", "PROPFIND", "G", "M-SEARCH", "PRI"):
            with self.subTest(method):
                a = self.one(f"{method} /api/note HTTP/1.1\r\nHost: x\r\n\r\n")
                self.assertIn((a.status, a.json["code"]), ((400, "invalid"), (405, "method")), method)
        self.assertEqual(self.one("TRACE /livez HTTP/1.1\r\nHost: x\r\nCookie: secret\r\n\r\n").body.count(b"secret"), 0)

    def test_a_method_override_has_no_effect(self):  # R3
        self.one(post("/api/note", '{"id": "kept", "text": "x"}'))
        self.one(get("/api/note/kept", "X-HTTP-Method-Override: DELETE\r\nX-HTTP-Method: DELETE\r\n"))
        self.assertEqual(self.one(get("/api/note/kept")).status, 200)

    def test_other_versions_of_http_are_refused(self):
        for head in ("GET /livez\r\n\r\n", "GET /livez HTTP/0.9\r\nHost: x\r\n\r\n", "GET /livez HTTP/2.0\r\nHost: x\r\n\r\n",
                     "GET /livez HTTP/1.2\r\nHost: x\r\n\r\n", "GET /livez HTTP/11\r\nHost: x\r\n\r\n",
                     "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "GET /livez ICE/1.0\r\nHost: x\r\n\r\n",
                     "HTTP/1.1 200 OK\r\n\r\n"):
            with self.subTest(head):
                self.refused(head, 400, "invalid")

    def test_an_upgrade_is_not_taken(self):
        for more in ("Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n",
                     "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: eA==\r\n"):
            r = self.raw().send(get("/livez", more) + get("/livez", "X-Correlation-ID: second\r\n"))
            self.assertEqual(r.answer().status, 200)
            self.assertEqual(r.answer().headers["x-correlation-id"], "second")

    def test_noise_is_refused(self):
        for noise in (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200), bytes(1000), b"\xff" * 1000,
                      b"SSH-2.0-x\r\n", b"\x00\x00\x00\x12\x04\x00\x00", b"*1\r\n$4\r\nPING\r\n", b"AMQP\x00\x00\x09\x01",
                      b"\x05\x01\x00", b"USER x\r\n"):
            with self.subTest(noise[:12]):
                self.refused(noise, 400, "invalid")


class Floods(Hostile):
    def test_a_pipeline_that_never_reads_costs_bounded_memory(self):  # H3
        before, r = self.rss(), self.raw(timeout=3)
        block = (get("/docs/http.md") * 50).encode()
        try:
            for _ in range(2000):
                r.send(block)
            self.fail("the server reads on though nobody takes its answers")
        except socket.timeout:
            pass
        self.assertLess(self.rss() - before, LEFT_BEHIND)
        self.assertEqual(self.one(get("/livez")).status, 200)

    def test_a_flood_of_requests_is_answered_in_order_and_whole(self):
        n, r = 3000, self.raw(timeout=30)
        sender = threading.Thread(target=lambda: [r.send(get("/livez", f"X-Correlation-ID: f{i}\r\n")) for i in range(n)])
        sender.start()
        for i in range(n):
            self.assertEqual(r.answer().headers["x-correlation-id"], f"f{i}")
        sender.join()

    def test_connections_that_come_and_go_leave_nothing(self):  # H3
        before = self.rss()
        for i in range(3000):
            s = socket.create_connection(("127.0.0.1", self.server.port))
            if i % 3 == 0:
                s.sendall(b"GET /livez HTTP/1.1\r\nHo")
            elif i % 3 == 1:
                s.sendall(get("/livez").encode())
                s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # a reset
            s.close()
        self.assertLess(self.rss() - before, LEFT_BEHIND)


class Leaving(Hostile):
    def test_half_closed_sockets_get_their_answers(self):
        r = self.raw().send(get("/livez") * 3 + post("/api/note", '{"text": "half"}'))
        r.s.shutdown(socket.SHUT_WR)
        self.assertEqual([r.answer().status for _ in range(4)], [200, 200, 200, 201])
        self.assertIsNone(r.answer())

    def test_half_closed_in_the_middle_of_a_request_is_closed_and_nothing_done(self):  # H2
        before = self.notes()
        for cut in (1, 5, 30, 60):
            r = self.raw().send(post("/api/note", '{"text": "half"}')[:-cut])
            r.s.shutdown(socket.SHUT_WR)
            self.assertIsNone(r.answer())
        self.assertEqual(self.notes(), before)

    def test_leaving_during_a_long_answer_costs_nothing(self):  # H3
        c = self.server.client()
        for i in range(4):
            self.assertEqual(c("POST", "/api/note/bulk", [{"text": "x" * 900} for _ in range(1000)]).status, 200)
        before = self.rss()
        for i in range(60):
            r = self.raw()
            r.s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            r.send(get("/api/note", "Accept: application/x-ndjson\r\n"))
            r.s.recv(1000)
            if i % 2:
                r.s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            r.close()
        time.sleep(0.5)
        self.assertLess(self.rss() - before, LEFT_BEHIND)
        end = time.monotonic() + 10
        while time.monotonic() < end and self.gauge("koan_http_connections") > 3:
            time.sleep(0.1)
        self.assertLessEqual(self.gauge("koan_http_connections"), 3)

    def gauge(self, name):
        for line in self.one(get("/metrics")).body.decode().splitlines():
            if line.startswith(name + " "):
                return float(line.split()[1])
        raise AssertionError(name)


class Slow(Hostile):
    """Every kind of slowness at once: each ends when its rule says, and work goes on meanwhile."""

    def test_slow_heads_bodies_and_chunks_end_by_their_rules(self):  # H1 H3
        ended, began = {}, time.monotonic()
        heads = {  # what is sent at once, what trickles in each half second, when it must end
            "head": ("GET /livez HTTP/1.1\r\n", "X-A: b\r\n", HEADER_WAIT_S),
            "request line": ("GET /", "a", HEADER_WAIT_S),
            "body": (post("/api/note", "").replace("Length: 0", "Length: 100000"), " ", RATE_WINDOW_S),
            "chunks": (CHUNKED, "1\r\n \r\n", RATE_WINDOW_S),
            "after an answer": (get("/livez") + "GET /livez HTTP/1.1\r\n", "X-A: b\r\n", HEADER_WAIT_S),
        }

        def slow(name, first, more):
            r = Raw(self.server.port, timeout=0.5)
            try:
                r.send(first)
                while time.monotonic() - began < 30:
                    r.send(more)
                    try:
                        if r.s.recv(65536) == b"":
                            break
                    except socket.timeout:
                        pass
            except OSError:
                pass
            ended[name] = time.monotonic() - began
            r.close()

        threads = [threading.Thread(target=slow, args=(n, h[0], h[1])) for n, h in heads.items()]
        for t in threads:
            t.start()
        while any(t.is_alive() for t in threads):
            self.assertEqual(self.one(get("/livez")).status, 200)
            time.sleep(0.25)
        for name, (_, _, seconds) in heads.items():
            self.assertGreater(ended[name], seconds - 2, name)
            self.assertLess(ended[name], seconds + 6, name)


class Crowd(Case):
    """As many connections as a node takes, and more."""

    def setUp(self):
        super().setUp()
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        need = IDLE + 2000
        if hard != resource.RLIM_INFINITY and hard < need:
            self.skipTest(f"{need} open files are needed, {hard} are allowed")
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))

    def crowd(self, node, n, say=b""):
        held = []
        self.addCleanup(lambda: [s.close() for s in held])
        for _ in range(n):
            s = socket.create_connection(("127.0.0.1", node.port), 20)
            if say:
                s.sendall(say)
            held.append(s)
        return held

    def rss(self, node):
        return int(node.status("VmRSS").split()[0]) * 1024

    def served(self, node, seconds=20):
        """A hundred newcomers, each on a connection of its own, are answered soon."""
        began = time.monotonic()
        for i in range(100):
            r = Raw(node.port)
            a = r.send(post("/api/note", json.dumps({"text": f"n{i}"}))).answer()
            self.assertIsNotNone(a)
            self.assertEqual(a.status, 201)
            r.close()
        self.assertLess(time.monotonic() - began, seconds)

    def start(self, *args):
        self.write("scripts/note.lua", 'entity "Note" { fields = { text = text {} } }\n')
        return self.node("--scripts", self.path("scripts"), *args)

    def test_ten_thousand_idle_connections_cost_little_and_others_are_served(self):  # H3
        node = self.start()
        before = self.rss(node)
        held = self.crowd(node, IDLE)
        self.served(node)
        grown = self.rss(node) - before
        self.assertLess(grown, 64 * MIB + (200 * MIB if SANITIZED else 0))
        if not SANITIZED:
            self.assertLess(grown / len(held), 4096)
        alive = 0
        for s in held[-1000:]:
            s.settimeout(5)
            try:
                s.sendall(get("/livez").encode())
                alive += s.recv(100).startswith(b"HTTP/1.1 200")
            except OSError:
                pass
        self.assertGreater(alive, 900)

    def test_when_the_limit_is_reached_the_idle_make_room(self):  # H3
        node = self.start("--http.connections", "64")
        for say in (b"", get("/livez").encode(), b"GET /livez HTTP/1.1\r\nHo"):
            with self.subTest(say):
                held = self.crowd(node, 300, say)
                if say.endswith(b"Ho"):
                    time.sleep(1.1)  # who began to ask has a second to finish
                self.served(node)
                for s in held:
                    s.close()

    def test_few_open_files_bound_the_connections_and_leave_some_for_the_log(self):  # H2 H3
        self.write("scripts/note.lua", 'entity "Note" { fields = { text = text {} } }\n')
        node = self.node("--scripts", self.path("scripts"), prefix=("prlimit", "--nofile=400:400"))
        self.assertRegex(node.text, r"at most 144 connections instead of 10000: 400 open files are allowed")
        self.crowd(node, 600)
        self.served(node)
        self.assertNotRegex(node.text, "cannot accept|Too many open files")


if __name__ == "__main__":
    unittest.main()
