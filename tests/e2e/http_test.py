"""The HTTP face as a protocol: raw sockets, pipelines, limits, smuggling, slow clients, admission, tokens, metrics."""
import json
import os
import re
import shutil
import socket
import subprocess
import threading
import time
import unittest

from e2e.node import App, ROOT, Case, run

NOTE = 'entity "Note" { fields = { text = text { required = true, max = 1000 } } }\n'
MIB = 1 << 20
HEADER_WAIT_S = 10
# Status and retry of the public table of errors.
CODES = {
    "invalid": (400, "never"), "unauthorized": (401, "never"), "forbidden": (403, "never"), "quota": (403, "never"),
    "not_found": (404, "never"), "method": (405, "never"), "conflict": (409, "reread"), "fenced": (409, "never"),
    "gone": (410, "never"), "version_mismatch": (412, "reread"), "too_large": (413, "never"),
    "media_type": (415, "never"), "range": (416, "never"),
    "rejected": (422, "never"), "unsupported": (422, "never"), "locked": (423, "after"),
    "rate_limited": (429, "after"), "queue_full": (429, "after"), "internal": (500, "same"),
    "overloaded": (503, "after"), "sealed": (503, "after"), "unavailable": (503, "after"),
    "no_leader": (503, "same"), "draining": (503, "same"), "timeout": (504, "same"), "disk_full": (507, "after"),
}


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    @property
    def json(self):
        return json.loads(self.body)


class Raw:
    """A socket that says what it is told and reads answers one by one."""

    def __init__(self, port, timeout=15):
        self.s = socket.create_connection(("127.0.0.1", port), timeout)
        self.s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.left = b""

    def send(self, data):
        self.s.sendall(data if isinstance(data, bytes) else data.encode("latin-1"))
        return self

    def _more(self):
        got = self.s.recv(65536)
        self.left += got
        return bool(got)

    def answer(self, head=False):
        """The next answer, or None where the server closed instead."""
        while b"\r\n\r\n" not in self.left:
            try:
                if not self._more():
                    return None
            except ConnectionError:
                return None
        top, self.left = self.left.split(b"\r\n\r\n", 1)
        lines = top.decode("latin-1").split("\r\n")
        headers = {k.strip().lower(): v.strip() for k, v in (line.split(":", 1) for line in lines[1:])}
        status = int(lines[0].split(" ")[1])
        if status == 100:
            return Answer(status, headers, b"")
        size = 0 if head or status in (204, 304) else int(headers.get("content-length", "0"))
        while len(self.left) < size:
            if not self._more():
                return None
        body, self.left = self.left[:size], self.left[size:]
        return Answer(status, headers, body)

    def closed(self):
        """Waits until the server closes."""
        try:
            while self.s.recv(65536):
                pass
        except ConnectionError:
            pass
        return True

    def close(self):
        self.s.close()


def get(path, more="", version="1.1"):
    return f"GET {path} HTTP/{version}\r\nHost: x\r\n{more}\r\n"


def post(path, body, more=""):
    return f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n{more}\r\n{body}"


class Face(App):
    APP = NOTE

    def raw(self, **kw):
        r = Raw(self.server.port, **kw)
        self.addCleanup(r.close)
        return r

    def notes(self):
        c = self.server.client()
        try:
            return int(c("GET", "/api/note?pageSize=1&count=exact").headers["X-Total-Count"])
        finally:
            c.close()

    def one(self, request, head=False):
        return self.raw().send(request).answer(head)

    def assert_problem(self, a, status, code):
        self.assertIsNotNone(a)
        self.assertEqual((a.status, a.json["code"]), (status, code), a.body)
        self.assertEqual(CODES[code], (status, a.json["retry"]))
        self.assertEqual(a.headers["content-type"], "application/problem+json")
        self.assertTrue(a.json["title"] and a.json["detail"])
        if a.json["retry"] == "after":
            self.assertGreater(int(a.headers["retry-after"]), 0)


class Protocol(Face):
    def test_answers_of_a_pipeline_come_in_order(self):
        n = 60
        r = self.raw()
        r.send("".join(get("/livez", f"X-Correlation-ID: id{i}\r\n") for i in range(n)))
        self.assertEqual([r.answer().headers["x-correlation-id"] for _ in range(n)], [f"id{i}" for i in range(n)])

    def test_reads_behind_a_write_in_a_pipeline_see_it(self):
        r = self.raw()
        r.send("".join(post("/api/note", json.dumps({"id": f"pipe{i}", "text": "x"})) + get(f"/api/note/pipe{i}")
                       for i in range(20)))
        for i in range(20):
            self.assertEqual(r.answer().status, 201)
            self.assertEqual(r.answer().json["id"], f"pipe{i}")

    def test_a_request_may_come_byte_by_byte(self):
        r = self.raw()
        for c in post("/api/note", '{"text": "slow"}'):
            r.send(c)
        self.assertEqual(r.answer().status, 201)

    def test_bodies_in_chunks(self):
        r = self.raw()
        head = "POST /api/note HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
        r.send(head + '4\r\n{"te\r\n').send('b;ext=1\r\nxt": "chun"\r\n1\r\n}\r\n0\r\nTrailer: yes\r\n\r\n')
        a = r.answer()
        self.assertEqual((a.status, a.json["text"]), (201, "chun"))
        r.send(get("/livez"))
        self.assertEqual(r.answer().status, 200)

    def test_expect_continue(self):
        r = self.raw()
        r.send("POST /api/note HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 15\r\n"
               "Expect: 100-continue\r\n\r\n")
        self.assertEqual(r.answer().status, 100)
        self.assertEqual(r.send('{"text": "abc"}').answer().status, 201)

    def test_http_1_0_closes_unless_asked(self):
        r = self.raw().send(get("/livez", version="1.0"))
        self.assertEqual(r.answer().status, 200)
        self.assertTrue(r.closed())
        r = self.raw().send(get("/livez", "Connection: keep-alive\r\n", version="1.0"))
        self.assertEqual(r.answer().status, 200)
        self.assertEqual(r.send(get("/livez", "Connection: close\r\n")).answer().headers["connection"], "close")
        self.assertTrue(r.closed())

    def test_head_options_and_wrong_verbs(self):
        a = self.one("HEAD /livez HTTP/1.1\r\nHost: x\r\n\r\n", head=True)
        self.assertEqual((a.status, a.headers["content-length"], a.body), (200, "18", b""))
        a = self.one("OPTIONS /api/note HTTP/1.1\r\nHost: x\r\n\r\n")
        self.assertIn(a.status, (200, 204))
        self.assertIn("POST", a.headers["allow"])
        a = self.one("PUT /livez HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
        self.assert_problem(a, 405, "method")
        self.assertIn("GET", a.headers["allow"])

    def test_answers_tell_browsers_to_be_careful(self):
        a = self.one(get("/livez"))
        self.assertEqual(a.headers["x-content-type-options"], "nosniff")
        self.assertTrue(a.headers["date"].endswith("GMT"))
        self.assertNotIn("access-control-allow-origin", a.headers)

    def test_escapes_in_paths(self):
        r = self.raw()
        self.assertEqual(r.send(post("/api/note", '{"id": "a b", "text": "x"}')).answer().status, 201)
        self.assertEqual(r.send(get("/api/note/a%20b")).answer().json["id"], "a b")
        for path in ("/api/note/%zz", "/api/note/%", "/api/note/%00", "/api/note/%ff%fe", "/api/note?filter=%"):
            self.assertEqual(r.send(get(path)).answer().status, 400, path)
        for path in ("/api/note/../note", "/../etc/passwd", "/docs/../../etc/passwd", "/docs/%2e%2e/%2e%2e/x"):
            self.assertIn(r.send(get(path)).answer().status, (400, 404), path)


class Limits(Face):
    def refused(self, request, status, code):
        self.assert_problem(self.one(request), status, code)
        self.assertEqual(self.one(get("/livez")).status, 200)

    def test_lines_and_headers(self):
        self.assertEqual(self.one(get("/livez?verbose=" + "a" * 7000)).status, 200)
        a = self.one(get("/livez?verbose=" + "a" * 9000))
        self.assertIn(a.status, (414, 431))
        for more in ("".join(f"X-{i}: y\r\n" for i in range(101)), "X: " + "y" * 33000 + "\r\n"):
            a = self.one(get("/livez", more))
            self.assertEqual((a.status, a.json["code"]), (431, "too_large"))
        self.assertEqual(self.one(get("/livez", "".join(f"X-{i}: y\r\n" for i in range(90)))).status, 200)

    def test_a_body_over_the_limit_is_refused_before_it_is_sent(self):
        r = self.raw().send("POST /api/note HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                            f"Content-Length: {11 * MIB}\r\n\r\n")
        self.assert_problem(r.answer(), 413, "too_large")
        self.assertTrue(r.closed())

    def test_chunks_over_the_limit_are_refused_on_the_way(self):
        r = self.raw().send("POST /api/note HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                            "Transfer-Encoding: chunked\r\n\r\n")
        piece = "10000\r\n" + " " * 65536 + "\r\n"
        try:
            for _ in range(200):
                r.send(piece)
        except OSError:
            pass
        a = r.answer()
        if a is not None:  # our last words may be lost when the client goes on talking
            self.assert_problem(a, 413, "too_large")
        self.assertTrue(r.closed())

    def test_queries_have_limits(self):
        self.refused(get("/api/note?" + "&".join(f"k{i}=1" for i in range(65))), 400, "invalid")
        self.assertIn(self.one(get("/a" * 40)).status, (400, 404))


class Smuggling(Face):
    """What two servers could read differently is refused, and the connection closed."""

    BAD = {
        "length and chunks": "POST /api/note HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "two lengths": "POST /api/note HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef",
        "length with sign": "POST /api/note HTTP/1.1\r\nHost: x\r\nContent-Length: +5\r\n\r\nabcde",
        "negative length": "POST /api/note HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
        "huge length": "POST /api/note HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\n",
        "unknown coding": "POST /api/note HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        "chunked not last": "POST /api/note HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
        "bad chunk size": "POST /api/note HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        "chunk longer than said": "POST /api/note HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n",
        "space before colon": "GET /livez HTTP/1.1\r\nHost: x\r\nX-A : b\r\n\r\n",
        "space in name": "GET /livez HTTP/1.1\r\nHost: x\r\nX A: b\r\n\r\n",
        "folded header": "GET /livez HTTP/1.1\r\nHost: x\r\nX-A: b\r\n c\r\n\r\n",
        "nul in header": "GET /livez HTTP/1.1\r\nHost: x\r\nX-A: b\0c\r\n\r\n",
        "no host": "GET /livez HTTP/1.1\r\n\r\n",
        "two hosts": "GET /livez HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
        "no version": "GET /livez\r\n\r\n",
        "odd version": "GET /livez HTTP/3.7\r\nHost: x\r\n\r\n",
        "not http": "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        "control in target": "GET /li\x01vez HTTP/1.1\r\nHost: x\r\n\r\n",
    }

    def test_each_is_refused_and_nothing_behind_it_is_read(self):  # R3
        before = self.notes()
        hidden = post("/api/note", '{"text": "smuggled"}')
        for name, request in self.BAD.items():
            with self.subTest(name):
                r = self.raw().send(request + hidden)
                try:
                    a = r.answer()
                    if a is not None:
                        self.assertIn(a.status, (400, 413, 431, 501, 505), name)
                        self.assertIsNone(r.answer(), name)
                except socket.timeout:
                    self.fail("neither answered nor closed")
        self.assertEqual(self.notes(), before)
        self.assertEqual(self.one(get("/livez")).status, 200)

    def test_a_value_cannot_start_a_header_of_an_answer(self):
        a = self.one(get("/livez", "X-Correlation-ID: a%0d%0aSet-Cookie: x\r\n"))
        self.assertNotIn("set-cookie", a.headers)


class Clients(Face):
    def test_silent_and_trickling_clients_cost_only_their_own_connection(self):
        silent, trickle = self.raw(timeout=20), self.raw(timeout=20)
        began, ended = time.monotonic(), {}

        def wait(name, r):
            r.closed()
            ended[name] = time.monotonic() - began

        def feed():
            try:
                trickle.send("GET /livez HTTP/1.1\r\nHost: x\r\n")
                for i in range(100):
                    trickle.send(f"X-{i}: y\r\n")
                    time.sleep(0.3)
            except OSError:
                pass

        threads = [threading.Thread(target=wait, args=a) for a in (("silent", silent), ("trickle", trickle))]
        threads.append(threading.Thread(target=feed))
        for t in threads:
            t.start()
        while threads[0].is_alive() and time.monotonic() - began < 5:
            self.assertEqual(self.one(get("/livez")).status, 200)
            time.sleep(0.2)
        for t in threads:
            t.join(40)
        for name in ("silent", "trickle"):
            self.assertGreater(ended[name], HEADER_WAIT_S - 2, name)
            self.assertLess(ended[name], HEADER_WAIT_S + 6, name)

    def test_a_request_that_breaks_off_does_nothing(self):
        before = self.notes()
        for cut in (10, 60, 100):
            r = self.raw()
            r.send(post("/api/note", '{"text": "cut"}', "X-Long: " + "y" * 50 + "\r\n")[:-cut])
            r.close()
        self.assertEqual(self.notes(), before)

    def test_many_idle_connections_leave_room_for_work(self):
        idle = [self.raw() for _ in range(300)]
        self.assertEqual(self.one(get("/livez")).status, 200)
        self.assertEqual(idle[150].send(get("/livez")).answer().status, 200)

    def test_health_answers_while_everything_else_is_refused(self):  # H1
        # Reads that wait for a position that never comes fill every place there is.
        waiting = [self.raw(timeout=20) for _ in range(24)]
        for r in waiting:
            r.send(get("/api/note/none", "X-Koan-Seq: 999999999\r\n") * 60)
        time.sleep(0.5)
        seen, spread = [], set()
        for _ in range(25):
            a = self.one(get("/api/note"))
            seen.append(a.status)
            if a.status == 503:
                self.assert_problem(a, 503, "overloaded")
                spread.add(int(a.headers["retry-after"]))
            self.assertEqual(self.one(get("/livez")).status, 200)
            self.assertEqual(self.one(get("/readyz")).status, 200)
        self.assertIn(503, seen)
        # 5 s, spread by 20 %, so that callers do not return together.
        self.assertTrue(spread <= {4, 5, 6} and (len(spread) > 1 or seen.count(503) < 15), spread)
        for r in waiting:
            self.assertIn(r.answer().status, (503, 504))
            r.close()
        end = time.monotonic() + 15
        while self.one(get("/api/note")).status != 200:
            self.assertLess(time.monotonic(), end)
            time.sleep(0.1)


class Errors(Face):
    def test_the_shape_and_the_table(self):
        note = post("/api/note", '{"id": "err1", "text": "x"}')
        self.assertEqual(self.one(note).status, 201)
        cases = [
            (post("/api/note", "{"), 400, "invalid"),
            (get("/api/nothing"), 404, "not_found"),
            (get("/api/note/missing"), 404, "not_found"),
            ("DELETE /api/note HTTP/1.1\r\nHost: x\r\n\r\n", 405, "method"),
            (post("/api/note", '{"id": "err1", "text": "y"}', "If-None-Match: *\r\n"), 412, "version_mismatch"),
            (post("/api/note/bulk", json.dumps([{"text": "x"}] * 1001)), 413, "too_large"),
            ("POST /api/note HTTP/1.1\r\nHost: x\r\nContent-Type: text/csv\r\nContent-Length: 1\r\n\r\nx", 415, "media_type"),
            (post("/api/note/err1/restore", ""), 422, "unsupported"),
            (get("/api/note", "X-Koan-Seq: 999999999\r\n"), 504, "timeout"),
        ]
        for request, status, code in cases:
            with self.subTest(code):
                a = self.one(request)
                self.assert_problem(a, status, code)
                self.assertEqual(a.json["type"], "urn:koan:error:" + code)

    def test_a_malformed_body_is_told_by_place(self):
        a = self.one(post("/api/note", '{\n "text": nope}'))
        self.assertRegex(a.json["detail"], r"line 2.*column")


class Pages(Face):
    def promtool(self):
        tools = subprocess.run([os.path.join(ROOT, "packaging/setup"), "path"], capture_output=True, text=True).stdout.strip()
        return shutil.which("promtool") or (os.path.join(tools, "promtool") if tools else None)

    def test_metrics_satisfy_promtool(self):
        self.one(post("/api/note", '{"text": "x"}'))
        a = self.one(get("/metrics"))
        self.assertTrue(a.headers["content-type"].startswith("text/plain; version=0.0.4"))
        text = a.body.decode()
        for name in ("koan_build_info", "koan_ledger_applied_index", "koan_ledger_units_total", "koan_disk_free_bytes"):
            self.assertRegex(text, rf"(?m)^{name}")
        self.assertTrue(all(line.startswith(("#", "koan_")) for line in text.splitlines()))
        self.assertLess(len(text), 100 * 1024)
        tool = self.promtool()
        if not tool or not os.path.exists(tool):
            self.skipTest("promtool is not here; packaging/setup test brings it")
        done = subprocess.run([tool, "check", "metrics"], input=text, capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_open_metrics_by_accept(self):
        a = self.one(get("/metrics", "Accept: application/openmetrics-text; version=1.0.0\r\n"))
        self.assertTrue(a.headers["content-type"].startswith("application/openmetrics-text"))
        self.assertTrue(a.body.endswith(b"# EOF\n"))

    def test_health(self):
        self.assertEqual(self.one(get("/livez")).json, {"status": "alive"})
        a = self.one(get("/readyz?verbose"))
        self.assertEqual(a.json["status"], "ready")
        self.assertTrue(all(c["ok"] for c in a.json["checks"]))
        self.assertEqual(self.one(get("/readyz?mode=read")).status, 200)
        self.assert_problem(self.one(get("/readyz?mode=write")), 400, "invalid")
        a = self.one(get("/health")).json
        self.assertEqual((a["status"], a["alive"]), ("healthy", True))
        disk = {c["name"]: c for c in a["components"]}["disk"]
        self.assertEqual((disk["state"], disk["critical"], disk["ttl_s"]), ("healthy", False, 30))
        self.assertGreater(disk["facts"]["total"], disk["facts"]["free"])
        a = self.one(get("/api/cluster/health")).json
        self.assertEqual((a["status"], len(a["nodes"])), ("healthy", 1))
        told = {c["name"]: c for c in a["nodes"][0]["components"]}["disk"]
        self.assertEqual(told["message"], disk["message"])

    def test_an_idle_node_proves_that_it_can_commit(self):  # O1
        seq = lambda: self.one(get("/api/cluster/status")).json["ledger"]["applied"]
        self.one(post("/api/note", '{"text": "x"}'))
        before = seq()
        self.one(get("/readyz"))
        self.assertEqual(seq(), before)
        time.sleep(10.5)
        self.assertEqual(self.one(get("/readyz")).status, 200)
        self.assertEqual(seq(), before + 1)

    def test_the_first_page_says_where_to_go(self):
        a = self.one(get("/")).json
        self.assertEqual(a["entities"], [{"name": "Note", "url": "/api/note"}])
        s = self.one(get("/api/cluster/status")).json
        self.assertEqual((s["state"], s["ledger"]["leader"]), ("active", True))
        self.assertRegex(s["node"], r"^[0-9a-f-]{36}$")

    def test_the_guide_is_inside(self):
        self.assertEqual(self.one(get("/docs")).headers["location"], "/docs/")
        a = self.one(get("/docs/"))
        self.assertEqual(a.status, 200)
        self.assertTrue(a.headers["content-type"].startswith("text/html"))
        self.assertTrue(self.one(get("/docs/http")).headers["content-type"].startswith("text/html"))
        self.assertTrue(self.one(get("/docs/http.md")).headers["content-type"].startswith("text/markdown"))
        page = self.one(get("/docs/http.md", "Accept: text/html,*/*\r\n"))
        self.assertTrue(page.headers["content-type"].startswith("text/plain"))
        self.assert_problem(self.one(get("/docs/no-such-page")), 404, "not_found")


class Tokens(Case):
    def test_with_a_token_all_but_health_asks_for_it(self):
        self.write("scripts/note.lua", NOTE)
        node = self.node("--scripts", self.path("scripts"), env={"KOAN_TOKEN": "a-token-of-enough-letters"})
        anybody, owner = node.client(), node.client(token="a-token-of-enough-letters")
        liar = node.client(token="a-token-of-enough-letterz")
        for path in ("/livez", "/readyz", "/health"):
            self.assertEqual(anybody("GET", path).status, 200)
        for path in ("/api/note", "/metrics", "/", "/api/cluster/status", "/api/nothing"):
            for c in (anybody, liar):
                a = c("GET", path)
                self.assertEqual((a.status, a.json["code"]), (401, "unauthorized"), path)
                self.assertTrue(a.headers["WWW-Authenticate"].startswith("Bearer"))
            self.assertIn(owner("GET", path).status, (200, 404), path)
        # What a component says in words may be more than everybody should know.
        told = lambda c: any("message" in part for part in c("GET", "/health").json["components"])
        self.assertEqual([told(c) for c in (anybody, liar, owner)], [False, False, True])
        self.assertEqual(anybody("GET", "/api/cluster/health").status, 401)
        self.assertEqual(anybody("POST", "/api/note", {"text": "x"}).status, 401)
        a = owner("POST", "/api/note", {"text": "x"})
        self.assertEqual((a.status, a.json["created_by"]), (201, "token"))
        for c in (anybody, owner, liar):
            c.close()


if __name__ == "__main__":
    unittest.main()
