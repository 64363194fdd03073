"""The http client of scripts against real servers: Python's, raw sockets, openssl s_server."""
import http.server
import json
import os
import shutil
import socket
import ssl
import subprocess
import threading
import time
import unittest

from e2e.node import Case, run

MIB = 1 << 20


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, status, body=b"", headers=()):
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def go(self):
        n = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(n)
        self.server.seen.append((self.command, self.path))
        part = self.path.split("?")[0].strip("/").split("/")
        if part[0] == "echo":
            told = {"method": self.command, "path": self.path, "body": body.decode("latin-1"), "headers": dict(self.headers)}
            self.answer(200, json.dumps(told).encode(), [("Content-Type", "application/json"), ("X-Two", "a"), ("X-Two", "b")])
        elif part[0] == "status":
            self.answer(int(part[1]), b"said so")
        elif part[0] == "hop":
            left = int(part[1])
            self.answer(302, b"", [("Location", f"/hop/{left - 1}" if left else "/echo")])
        elif part[0] == "to":
            self.answer(int(part[1]), b"", [("Location", self.server.elsewhere)])
        elif part[0] == "big":
            self.answer(200, b"x" * int(part[1]))
        elif part[0] == "chunks":
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for _ in range(12):
                self.wfile.write(b"100000\r\n" + b"y" * MIB + b"\r\n")
            self.wfile.write(b"0\r\n\r\n")
        elif part[0] == "slow":
            time.sleep(float(part[1]))
            self.answer(200, b"at last")

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = go

    def log_message(self, *_):
        pass


class Quiet(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_):
        pass


def serve(case, context=None):
    server = Quiet(("127.0.0.1", 0), Handler)
    server.seen, server.elsewhere = [], "/echo"
    if context:
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    case.addCleanup(server.server_close)
    case.addCleanup(server.shutdown)
    return server


def raw(case, talk):
    """A server that calls talk(connection) for each connection."""
    s = socket.create_server(("127.0.0.1", 0))
    case.addCleanup(s.close)

    def loop():
        while True:
            try:
                c, _ = s.accept()
            except OSError:
                return
            threading.Thread(target=talk, args=(c,), daemon=True).start()
    threading.Thread(target=loop, daemon=True).start()
    return s.getsockname()[1]


class HttpCase(Case):
    def lua(self, text, *args, allow="127.0.0.0/8", env=None, fails=False):
        settings = ["--http.allow", allow] if allow else []
        began = time.monotonic()
        code, out, err = run("run", self.write("s.lua", text), *args, "--data", self.path("data"), "--json", *settings, env=env)
        self.took = time.monotonic() - began
        if fails:
            self.assertIn(code, (1, 5), out)
            return json.loads(err)["error"]
        self.assertEqual(code, 0, err)
        return json.loads(out) if out else None


class Requests(HttpCase):
    def setUp(self):
        super().setUp()
        self.server = serve(self)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def test_all_of_a_request_arrives(self):
        told = self.lua("""local r = http.post(... .. "/echo?a=1#f", { query = { b = { "x y", "z" } }, json = { n = 1 },
            headers = { ["X-Mine"] = "yes" }, bearer = "tok" })
            assert(r.ok and r.status == 200 and r.headers["x-two"] == "a, b")
            return r:json()""", self.url)
        self.assertEqual((told["method"], told["path"], told["body"]), ("POST", "/echo?a=1&b=x%20y&b=z", '{"n":1}'))
        headers = {k.lower(): v for k, v in told["headers"].items()}
        self.assertEqual((headers["x-mine"], headers["authorization"], headers["content-type"]),
                         ("yes", "Bearer tok", "application/json"))
        self.assertEqual(headers["host"], self.url[7:])

    def test_every_verb_and_every_status_is_an_answer(self):
        for verb in ("get", "head", "post", "put", "patch", "delete"):
            self.assertEqual(self.lua(f'return http.{verb}(...).status', self.url + "/status/418"), 418)
            self.assertEqual(self.server.seen[-1][0], verb.upper())
        self.assertEqual(self.lua('local r = http.post(..., { form = { a = "1&2", b = true } }) return r:json().body', self.url + "/echo"),
                         "a=1%262&b=true")
        self.assertEqual(self.lua('return http.head(...).body', self.url + "/big/1000"), "")

    def test_redirects_are_followed_five_times(self):
        r = self.lua('local r = http.get(... .. "/hop/4") return { r.status, r.url }', self.url)
        self.assertEqual(r, [200, self.url + "/echo"])
        self.assertEqual(len(self.server.seen), 6)
        self.assertIn("redirects", self.lua('http.get(... .. "/hop/5")', self.url, fails=True)["detail"])
        self.assertEqual(self.lua('return http.get(... .. "/hop/1", { redirects = 0 }).status', self.url), 302)

    def test_what_a_redirect_carries(self):
        other = serve(self)
        self.server.elsewhere = f"http://127.0.0.1:{other.server_port}/echo"
        ask = """local r = http.post(..., { body = "b", bearer = "secret", headers = { Cookie = "c=1", ["X-K"] = "k" } }):json()
                 local h = {} for k, v in pairs(r.headers) do h[k:lower()] = v end
                 return { r.method, r.body, h.authorization or "none", h.cookie or "none", h["x-k"] }"""
        self.assertEqual(self.lua(ask, self.url + "/to/307"), ["POST", "b", "none", "none", "k"])
        self.assertEqual(self.lua(ask, self.url + "/to/303"), ["GET", "", "none", "none", "k"])
        self.assertEqual(self.lua(ask, self.url + "/to/301")[0], "GET")
        self.server.elsewhere = "/echo"
        self.assertEqual(self.lua(ask, self.url + "/to/308"), ["POST", "b", "Bearer secret", "c=1", "k"])

    def test_private_addresses_need_leave_also_after_a_redirect(self):
        e = self.lua("http.get(...)", self.url, allow=None, fails=True)
        self.assertEqual(e["code"], "forbidden")
        self.assertIn("http.allow", e["detail"])
        for host in ("localhost", "[::1]", "127.1", "0x7f.1", "2130706433", "[::ffff:127.0.0.1]"):
            e = self.lua("http.get(...)", f"http://{host}:{self.server.server_port}/", allow=None, fails=True)
            self.assertEqual(e["code"], "forbidden", (host, e))
        self.server.elsewhere = f"http://localhost:{self.server.server_port}/echo"
        e = self.lua("http.get(...)", self.url + "/to/302", allow="127.0.0.2 ::1", fails=True)
        self.assertEqual(e["code"], "forbidden")
        port = raw(self, lambda c: None)
        self.server.elsewhere = f"http://127.0.0.3:{port}/"
        e = self.lua("http.get(...)", self.url + "/to/302", allow="127.0.0.1", fails=True)
        self.assertEqual((e["code"], "127.0.0.3" in e["detail"]), ("forbidden", True))

    def test_answers_are_bounded(self):
        self.assertEqual(self.lua("return #http.get(...).body", self.url + f"/big/{10 * MIB}"), 10 * MIB)
        for path in (f"/big/{10 * MIB + 1}", "/chunks"):
            e = self.lua("http.get(...)", self.url + path, fails=True)
            self.assertEqual(e["code"], "too_large")
        self.assertEqual(self.lua("http.get(..., { max = 10 })", self.url + "/big/11", fails=True)["code"], "too_large")
        port = raw(self, lambda c: (c.recv(9999), c.sendall(b"HTTP/1.1 200 OK\r\n" + b"".join(b"X-%d: %s\r\n" % (i, b"v" * 1000) for i in range(100)))))
        self.assertEqual(self.lua("http.get(...)", f"http://127.0.0.1:{port}/", fails=True)["code"], "too_large")

    def test_a_bare_number_is_seconds_as_everywhere(self):
        self.assertEqual(self.lua("return http.get(..., { timeout = 5 }).body", self.url + "/slow/0.2"), "at last")
        self.assertEqual(self.lua("return http.get(..., { timeout = 0.3 })", self.url + "/slow/5", fails=True)["code"], "timeout")
        self.assertIn("from 0 to 60000", self.lua("return http.get(..., { timeout = 61 })", self.url + "/slow/5", fails=True)["detail"])

    def test_a_connection_serves_several_requests(self):
        taken, said = [], []
        def talk(c, close=False, extra=b"", drop=False):
            taken.append(c)
            f = c.makefile("rb")
            while True:
                line = f.readline()
                if not line:
                    return
                length = 0
                while (h := f.readline()) not in (b"\r\n", b""):
                    if h.lower().startswith(b"content-length:"):
                        length = int(h.split(b":")[1])
                f.read(length)
                said.append(line.split()[0].decode())
                c.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n" + (b"Connection: close\r\n" if close else b"") + b"\r\n" + (b"" if said[-1] == "HEAD" else b"ok") + extra)
                if drop:  # silently, and only when the next request is there
                    f.readline()
                    c.shutdown(socket.SHUT_RDWR)
                    c.close()
                    return
        def ask(verbs, **kw):
            taken.clear()
            said.clear()
            port = raw(self, lambda c: talk(c, **kw))
            self.assertEqual(self.lua(f"local n = 0 for v in ('{verbs}'):gmatch('%S+') do if http[v]('http://127.0.0.1:{port}/').ok then n = n + 1 end end return n"),
                             len(verbs.split()))
            for c in taken:
                c.close()
            return len(taken)
        self.assertEqual(ask("get get head get"), 1)
        self.assertEqual(ask("post get post"), 2)                 # what may not be sent twice has its own
        self.assertEqual(ask("get get", close=True), 2)           # the server wants it so
        self.assertEqual(ask("get get", extra=b"more"), 2)        # what else is said is for nobody
        self.assertEqual(ask("get get get", drop=True), 3)        # closed under our hands: asked again
        self.assertEqual(said, ["GET"] * 3)

    def test_waiting_ends(self):
        e = self.lua('http.get(..., { timeout = "300ms" })', self.url + "/slow/5", fails=True)
        self.assertEqual(e["code"], "timeout")
        self.assertLess(self.took, 3)
        e = self.lua("http.get(..., { timeout = '61s' })", self.url, fails=True)
        self.assertIn("timeout", e["detail"])

    def test_a_server_that_is_none_is_told_plainly(self):
        for talk, words in ((lambda c: (c.recv(9999), c.sendall(b"SSH-2.0-x\r\n"), c.close()), "does not speak HTTP"),
                            (lambda c: (c.recv(9999), c.close()), "closed the connection"),
                            (lambda c: (c.recv(9999), c.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"), c.close()), "closed the connection"),
                            (lambda c: (c.recv(9999), c.sendall(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n")), "protocol")):
            e = self.lua("http.get(...)", f"http://127.0.0.1:{raw(self, talk)}/", fails=True)
            self.assertEqual(e["code"], "unavailable")
            self.assertIn(words, e["detail"])
        free = socket.create_server(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        self.assertIn("nothing listens", self.lua("http.get(...)", f"http://127.0.0.1:{port}/", fails=True)["detail"])
        self.assertIn("nowhere.invalid", self.lua("http.get(...)", "http://nowhere.invalid/", fails=True)["detail"])

    def test_an_early_answer_to_a_large_body_is_read(self):
        def talk(c):
            c.recv(1000)
            c.sendall(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno")
            c.shutdown(socket.SHUT_WR)
            time.sleep(0.3)
            while c.recv(1 << 16):
                pass
        r = self.lua("local r = http.post(..., { body = ('x'):rep(1000000) .. ('x'):rep(1000000) .. ('x'):rep(1000000) .. ('x'):rep(1000000) }) return { r.status, r.body }",
                     f"http://127.0.0.1:{raw(self, talk)}/")
        self.assertEqual(r, [413, "no"])

    def test_no_text_becomes_a_header_or_a_request_of_its_own(self):
        for option in ('headers = { ["X-A"] = "a\\r\\nX-B: b" }', 'headers = { ["X A"] = "a" }', 'headers = { Host = "evil" }',
                       'headers = { ["Content-Length"] = 5 }', 'bearer = "a\\nb"', 'heders = {}', 'body = 5', 'json = 1, body = "x"'):
            e = self.lua(f"http.post(..., {{ {option} }})", self.url + "/echo", fails=True)
            self.assertEqual(e["code"], "invalid", (option, e))
        self.assertEqual(self.lua('http.get(... .. "/ HTTP/1.1\\r\\nX: y")', self.url, fails=True)["code"], "invalid")
        self.assertEqual(self.server.seen, [])

    def test_a_host_that_fails_is_left_alone(self):
        r = self.lua("""local n, last = 0
            for i = 1, 8 do
              local ok, e = pcall(http.get, ... .. "/status/503")
              if ok then n = n + 1 else last = e end
            end
            return { n, last.code, last.detail }""", self.url)
        self.assertEqual(r[:2], [5, "unavailable"])
        self.assertIn("left alone", r[2])
        self.assertEqual(len(self.server.seen), 5)

    def test_not_inside_tx(self):
        e = self.lua("local url = ... tx(function() http.get(url) end)", self.url, fails=True)
        self.assertIn("tx", e["detail"])
        self.assertEqual(self.server.seen, [])


class Tls(HttpCase):
    def setUp(self):
        super().setUp()
        self.openssl = shutil.which("openssl")
        self.cert = self.make("good", "localhost", "DNS:localhost,IP:127.0.0.1")

    def make(self, name, common, names):
        cert, key = self.path(name + ".pem"), self.path(name + ".key")
        subprocess.run([self.openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={common}",
                        "-addext", f"subjectAltName={names}", "-keyout", key, "-out", cert], check=True, capture_output=True)
        return cert, key

    def secure(self, cert):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*cert)
        return serve(self, context)

    def test_a_certificate_of_a_known_root_is_believed(self):
        server = self.secure(self.cert)
        env = {"SSL_CERT_FILE": self.cert[0]}
        for host in ("localhost", "127.0.0.1"):
            r = self.lua("local r = http.post(..., { body = ('z'):rep(300000) }) return #r:json().body",
                         f"https://{host}:{server.server_port}/echo", env=env, allow="localhost 127.0.0.1 ::1")
            self.assertEqual(r, 300000)

    def test_others_are_not(self):
        server = self.secure(self.cert)
        e = self.lua("http.get(...)", f"https://127.0.0.1:{server.server_port}/echo", fails=True,
                     env={"SSL_CERT_FILE": self.make("other", "other", "DNS:other")[0]})
        self.assertEqual(e["code"], "unavailable")
        self.assertIn("not trusted", e["detail"])
        wrong = self.make("wrong", "elsewhere.example", "DNS:elsewhere.example")
        server = self.secure(wrong)
        e = self.lua("http.get(...)", f"https://127.0.0.1:{server.server_port}/echo", fails=True, env={"SSL_CERT_FILE": wrong[0]})
        self.assertIn("not trusted", e["detail"])
        self.assertEqual(server.seen, [])
        e = self.lua("http.get(...)", f"https://127.0.0.1:{serve(self).server_port}/", fails=True, env={"SSL_CERT_FILE": self.cert[0]})
        self.assertIn("tls", e["detail"].lower())
        e = self.lua("http.get(...)", f"https://127.0.0.1:{server.server_port}/", fails=True, env={"SSL_CERT_FILE": "/nowhere"})
        self.assertIn("/nowhere", e["detail"])

    def test_a_server_of_tls_1_2_with_signatures_of_its_own_choice(self):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*self.cert)
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.options |= ssl.OP_CIPHER_SERVER_PREFERENCE
        server = serve(self, context)
        env = {"SSL_CERT_FILE": self.cert[0]}
        self.assertEqual(self.lua("return http.get(...).status", f"https://127.0.0.1:{server.server_port}/echo", env=env), 200)
        code, _, err = run("health", "--url", f"https://127.0.0.1:{server.server_port}/echo", "--ca", self.cert[0])
        self.assertIn("no koan server", err)

    def test_openssl_s_server_with_each_version(self):
        for version in ("-tls1_2", "-tls1_3"):
            free = socket.create_server(("127.0.0.1", 0))
            port = free.getsockname()[1]
            free.close()
            p = subprocess.Popen([self.openssl, "s_server", "-accept", f"127.0.0.1:{port}", "-cert", self.cert[0], "-key", self.cert[1], version,
                                  "-www", "-quiet"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
            try:
                end = time.monotonic() + 10
                while time.monotonic() < end:
                    try:
                        socket.create_connection(("127.0.0.1", port), 1).close()
                        break
                    except OSError:
                        time.sleep(0.05)
                r = self.lua("return http.get(...).status", f"https://127.0.0.1:{port}/", env={"SSL_CERT_FILE": self.cert[0]})
                self.assertEqual(r, 200)
            finally:
                p.kill()
                p.wait()


class InHooks(HttpCase):
    def test_a_waiting_hook_holds_up_nobody(self):
        server = serve(self)
        scripts = self.write("app.lua", """entity "Slow" { fields = { url = text }, before_save = function(e) http.get(e.url) end }
            entity "Quick" { fields = { n = int }, before_save = function(e) e.n = e.n + 1 end }""")
        node = self.node(scripts, "--http.allow", "127.0.0.1", "--script.threads", "1", "--http.threads", "1")
        url = f"http://127.0.0.1:{server.server_port}/slow/2"
        waiting = [threading.Thread(target=lambda c=node.client(): c("POST", "/api/slow", {"url": url})) for _ in range(20)]
        began = time.monotonic()
        for w in waiting:
            w.start()
        time.sleep(0.3)
        c = node.client()
        for i in range(20):
            self.assertEqual(c("POST", "/api/quick", {"n": i}).status, 201)
        self.assertLess(time.monotonic() - began, 1.9)
        for w in waiting:
            w.join()
        self.assertLess(time.monotonic() - began, 6)
        self.assertEqual(len(c("GET", "/api/slow").json), 20)
        self.assertRegex(c("GET", "/metrics").body.decode(), r'koan_script_http_requests_total\{outcome="2xx"\} 20')

    def test_a_stop_waits_for_what_is_under_way(self):
        server = serve(self)
        scripts = self.write("app.lua", 'entity "Slow" { fields = { url = text }, before_save = function(e) http.get(e.url) end }')
        node = self.node(scripts, "--http.allow", "127.0.0.1")
        c = node.client()
        answers = []
        t = threading.Thread(target=lambda: answers.append(c("POST", "/api/slow", {"url": f"http://127.0.0.1:{server.server_port}/slow/1"}).status))
        t.start()
        time.sleep(0.3)
        self.assertEqual(node.stop(), 0)
        t.join()
        self.assertEqual(answers, [201])

    def test_in_a_stage_of_canon_it_works_inside_memo_only(self):
        server = serve(self)
        text = f"""entity "P" {{ fields = {{ name = text }} }}
            canon "P" {{ sources = {{ a = {{ rank = 1 }} }}, keys = {{ "name" }}, policy = {{ name = "latest" }},
              stages = {{ validate = function() http.get("http://127.0.0.1:{server.server_port}/echo") end }} }}"""
        scripts = self.write("app.lua", text)
        node = self.node(scripts, "--http.allow", "127.0.0.1")
        r = node.client()("POST", "/api/canon/p?source_id=1", {"name": "x"}, {"X-Canon-Origin": "a"})
        self.assertIn("ctx:memo", r.body.decode())
        self.assertEqual(server.seen, [])
        self.deployed(node, "app.lua", text.replace(
            'function() http.get(', 'function(a, ctx) ctx:memo("told", function() return http.get(').replace(
            '/echo") end', '/echo").status end) end'))
        r = node.client()("POST", "/api/canon/p?source_id=2", {"name": "y"}, {"X-Canon-Origin": "a"})
        self.assertEqual((r.status, len(server.seen)), (200, 1), r.body)


if __name__ == "__main__":
    unittest.main()
