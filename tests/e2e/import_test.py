"""koan import: formats, targets, refusals, and going on where it stopped."""
import csv
import http.server
import json
import os
import pty
import signal
import subprocess
import threading
import time
import unittest

from e2e.node import BIN, Case, environment, run

PLACES = '''
entity "Place" {
  fields = { name = text { required = true }, code = text, height = int },
}
canon "Place" {
  sources = { one = { rank = 1 }, two = { rank = 2 } },
  keys = { "code" },
}
entity "Item" {
  fields = { name = text { required = true }, code = text, height = int },
}
entity "Odd" { fields = { code = text {} } }
canon "Odd" {
  sources = { one = { rank = 1 } },
  keys = { "code" },
  stages = { validate = function(a, ctx) ctx:reject("R" .. a.code, "not this one") end },
}
'''


class Import(Case):
    def setUp(self):
        super().setUp()
        self.write("scripts/place.lua", PLACES)
        self.server = self.node("--scripts", self.path("scripts"))
        self.client = self.server.client()

    def load(self, path, *args, code=0):
        got, out, err = run("import", path, "--url", self.server.url, "--json", *args, home=self.dir)
        self.assertEqual(got, code, out + err)
        return json.loads(out) if out else None

    def total(self, entity="place"):
        return int(self.client("GET", f"/api/{entity}?pageSize=1&count=exact").headers["X-Total-Count"])

    def ndjson(self, n, name="places.ndjson", first=0):
        return self.write(name, "".join(json.dumps({"name": f"Place {i}", "code": f"C{i}"}) + "\n" for i in range(first, first + n)))

    def test_every_format_goes_into_an_entity(self):
        rows = [{"name": f"n{i}", "code": f"c{i}"} for i in range(25)]
        with open(self.path("rows.csv"), "w", newline="") as f:
            w = csv.DictWriter(f, ["name", "code"])
            w.writeheader()
            w.writerows(rows)
        paths = [self.path("rows.csv"), self.write("rows.json", json.dumps(rows, indent=1)),
                 self.write("rows.jsonl", "\n".join(map(json.dumps, rows)))]
        for i, path in enumerate(paths, 1):
            summary = self.load(path, "--entity", "Item", "--batch", "10")
            self.assertEqual((summary["records"], summary["rejected"], summary["complete"]), (25, 0, True))
            self.assertEqual(self.total("item"), 25 * i)

    def test_arrivals_join_and_repeat_without_effect(self):
        path = self.ndjson(2500)
        args = ("--canon", "Place", "--origin", "one", "--source-id", "code", "--observed-at", "2020-01-01T00:00:00Z")
        self.assertEqual(self.load(path, *args)["outcomes"], {"canonized": 2500})
        self.assertEqual(self.load(path, *args)["outcomes"], {"noop": 2500})
        self.assertEqual(self.load(path, "--canon", "Place", "--origin", "two", "--source-id", "code")["records"], 2500)
        self.assertEqual(self.total(), 2500)
        code, out, err = run("canon", "summary", "Place", "--url", self.server.url)
        self.assertEqual(code, 0, err)
        self.assertRegex(out, r"one +2500 +2500")
        self.assertIn("2500 golden records", out)
        self.assertEqual(run("canon", "models", "--url", self.server.url)[:2], (0, "Odd\nPlace\n"))
        one = self.client("GET", "/api/place?pageSize=1").json[0]
        for command in (["why"], ["lineage"]):
            code, out, err = run("canon", *command, "Place", one["id"], "--url", self.server.url)
            self.assertEqual(code, 0, err)
            self.assertRegex(out, r"\b(one|two)\b")

    def test_refused_records_are_kept_with_line_and_reason(self):
        path = self.write("bad.ndjson", '{"name": "a", "code": "A"}\n\n{"name": "b", "height": "tall", "code": "B"}\n'
                                        '{"name": \n{"nam": "c"}\n{"name": "d", "code": "D"}\n')
        rejects = self.path("rejects.ndjson")
        summary = self.load(path, "--entity", "item", "--rejects", rejects)
        self.assertEqual((summary["records"], summary["rejected"]), (5, 3))
        with open(rejects) as f:
            kept = {r["line"]: r for r in map(json.loads, f)}
        self.assertEqual(sorted(kept), [3, 4, 5])
        self.assertEqual(kept[3]["data"]["height"], "tall")
        self.assertIn("height", kept[3]["detail"])
        self.assertNotIn("data", kept[4])
        self.assertIn("name", kept[5]["detail"])
        self.assertEqual(self.total("item"), 2)

    def test_a_record_without_its_source_id_is_refused_and_the_rest_goes_on(self):
        path = self.write("some.ndjson", '{"name": "a", "code": "A"}\n{"name": "b"}\n{"name": "c", "code": "C"}\n')
        rejects = self.path("rejects.ndjson")
        summary = self.load(path, "--canon", "Place", "--origin", "one", "--source-id", "code", "--rejects", rejects)
        self.assertEqual(summary["outcomes"], {"canonized": 2, "failed": 1})
        with open(rejects) as f:
            self.assertEqual([(r["line"], "code" in r["detail"]) for r in map(json.loads, f)], [(2, True)])

    def test_of_many_different_reasons_the_rest_is_counted_together(self):
        path = self.write("odd.ndjson", "".join(f'{{"code": "{i}"}}\n' for i in range(100)))
        summary = self.load(path, "--canon", "Odd", "--origin", "one", "--source-id", "code")
        self.assertEqual(summary["outcomes"], {"failed": 100})
        self.assertEqual(sum(summary["reasons"].values()), 100)
        self.assertGreater(summary["reasons"]["other"], 1)

    def test_an_unknown_target_or_origin_is_named(self):
        path = self.ndjson(3)
        for args, words in ((("--entity", "Plaice"), "plaice"), (("--canon", "Plaice"), "Plaice"),
                            (("--canon", "Place", "--origin", "three"), "three")):
            got, out, err = run("import", path, "--url", self.server.url, *args, home=self.dir)
            self.assertIn(words, out + err, args)

    def test_a_file_that_is_no_csv_is_refused(self):
        path = self.write("x.csv", 'name,name\n1,2\n')
        got, _, err = run("import", path, "--url", self.server.url, "--entity", "item", home=self.dir)
        self.assertEqual(got, 1)
        self.assertIn("x.csv", err)

    def test_it_goes_on_where_the_server_stopped(self):
        path = self.ndjson(20000)
        args = ("--canon", "Place", "--origin", "one", "--source-id", "code", "--batch", "100")
        p = subprocess.Popen([BIN, "import", path, "--url", self.server.url, *args, "--json"], stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE, text=True, env=environment(home=self.dir), cwd=self.dir)
        time.sleep(0.7)
        p.send_signal(signal.SIGINT)
        out, err = p.communicate(timeout=60)
        stopped = json.loads(out)
        if stopped["complete"]:
            self.skipTest("the machine was too fast to stop it on its way")
        self.assertEqual(p.returncode, 1, err)
        self.assertGreater(stopped["records"], 0)
        self.assertIn("--resume", err)
        rest = self.load(path, *args, "--resume")
        self.assertEqual((rest["records"], rest["complete"], rest["rejected"]), (20000, True, 0))
        self.assertEqual(self.total(), 20000)
        got, _, err = run("import", path, "--url", self.server.url, *args, "--resume", home=self.dir)
        self.assertEqual(got, 1)
        self.assertIn("leave out --resume", err)

    def test_a_file_that_has_changed_is_not_taken_up_again(self):
        path = self.ndjson(20000)
        args = ("--canon", "Place", "--origin", "one", "--source-id", "code", "--batch", "100")
        p = subprocess.Popen([BIN, "import", path, "--url", self.server.url, *args, "--json"], stdout=subprocess.DEVNULL,
                             stderr=subprocess.DEVNULL, env=environment(home=self.dir), cwd=self.dir)
        time.sleep(0.7)
        p.send_signal(signal.SIGINT)
        if p.wait(60) == 0:
            self.skipTest("the machine was too fast to stop it on its way")
        self.ndjson(19999)
        got, _, err = run("import", path, "--url", self.server.url, *args, "--resume", home=self.dir)
        self.assertEqual(got, 1)
        self.assertIn("was changed", err)

    def test_a_terminal_sees_progress_and_a_pipe_does_not(self):
        path = self.ndjson(3000)
        args = [BIN, "import", path, "--url", self.server.url, "--canon", "Place", "--origin", "one", "--batch", "100"]
        ours, theirs = pty.openpty()
        self.addCleanup(os.close, ours)
        p = subprocess.Popen(args, stdout=subprocess.DEVNULL, stderr=theirs, env=environment(home=self.dir), cwd=self.dir)
        os.close(theirs)
        seen = b""
        while True:
            try:
                piece = os.read(ours, 4096)
            except OSError:  # the other side has closed
                break
            if not piece:
                break
            seen += piece
        self.assertEqual(p.wait(60), 0)
        self.assertRegex(seen.decode(), r"places.ndjson \[=*>? *\] +\d+%  [\d,]+  [\d,]+/s")
        quiet = subprocess.run(args, capture_output=True, text=True, env=environment(home=self.dir), cwd=self.dir)
        self.assertEqual((quiet.returncode, quiet.stderr), (0, ""))

    def test_it_outlives_a_restart_of_the_server(self):
        path = self.ndjson(20000)
        p = subprocess.Popen([BIN, "import", path, "--url", self.server.url, "--canon", "Place", "--origin", "one",
                              "--source-id", "code", "--batch", "100", "--json"], stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE, text=True, env=environment(home=self.dir), cwd=self.dir)
        time.sleep(0.5)
        self.server.kill()
        again = self.node("--scripts", self.path("scripts"), port=self.server.port)
        self.client = again.client()
        out, err = p.communicate(timeout=120)
        self.assertEqual(p.returncode, 0, out + err)
        self.assertEqual(json.loads(out)["records"], 20000)
        self.assertEqual(self.total(), 20000)

    def test_standard_input_is_a_file_too(self):
        code, out, err = run("import", "-", "--url", self.server.url, "--entity", "item", "--json", home=self.dir,
                             stdin='{"name": "x"}\n{"name": "y"}\n')
        self.assertEqual((code, json.loads(out)["records"]), (0, 2), err)


class Refusing(Case):
    """A server that refuses some records of a batch for a passing reason, at first."""

    def serve(self, code, times):
        """Every third record is refused with `code`, the first `times` times it comes. Returns (url, bodies)."""
        bodies, seen = [], {}

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                text = self.rfile.read(int(self.headers["Content-Length"])).decode()
                records = json.loads(text) if text.startswith("[") else [json.loads(x)["data"] for x in text.splitlines()]
                bodies.append([r["n"] for r in records])
                results = []
                for n in bodies[-1]:
                    seen[n] = seen.get(n, 0) + 1
                    refused = n % 3 == 0 and seen[n] <= times
                    results.append({"outcome": "failed", "error": {"code": code, "detail": "not now"}} if refused
                                   else {"outcome": "canonized"})
                answer = json.dumps({"results": results}).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_):
                pass
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        return f"http://127.0.0.1:{server.server_port}", bodies

    def load(self, url, *target):
        path = self.write("x.ndjson", "".join(json.dumps({"n": n}) + "\n" for n in range(9)))
        code, out, err = run("import", path, "--url", url, "--json", *target, home=self.dir)
        return code, json.loads(out), err

    def test_only_the_records_that_were_refused_for_now_are_sent_again(self):
        for target in (("--canon", "Place"), ("--entity", "Place")):
            url, bodies = self.serve("overloaded", 2)
            code, told, err = self.load(url, *target)
            self.assertEqual((code, told["outcomes"], told["rejected"]), (0, {"canonized": 9}, 0), err)
            self.assertEqual(bodies, [list(range(9)), [0, 3, 6], [0, 3, 6]])

    def test_an_unknown_outcome_is_tried_again_only_where_twice_is_the_same(self):
        url, bodies = self.serve("timeout", 1)
        code, told, err = self.load(url, "--canon", "Place")
        self.assertEqual((code, told["outcomes"], len(bodies)), (0, {"canonized": 9}, 2), err)
        url, bodies = self.serve("timeout", 1)
        code, told, err = self.load(url, "--entity", "Place")
        self.assertEqual((told["outcomes"], len(bodies)), ({"failed": 3, "canonized": 6}, 1), err)

    def test_what_stays_refused_is_counted_in_the_end(self):
        url, bodies = self.serve("overloaded", 100)
        code, told, err = self.load(url, "--canon", "Place")
        self.assertEqual((told["outcomes"], told["reasons"]), ({"failed": 3, "canonized": 6}, {"failed overloaded": 3}), err)
        self.assertEqual(len(bodies), 8)


if __name__ == "__main__":
    unittest.main()
