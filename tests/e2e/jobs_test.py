"""Runs of jobs over HTTP, worked from outside: submitted, leased, settled, cancelled, run again; workers and servers that die."""
import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
import unittest
import uuid

from e2e.node import App, Case, run

J = "/api/jobs"
STAT_HISTOGRAMS_SHOWN = 8


class Runs(App):
    APP = """
        entity "Order" { fields = { text = text {}, n = int {} } }
        job "declared" { args = { day = date { required = true }, n = int { max = 5, default = 3 }, word = text {} } }
    """
    names = iter(range(10 ** 9))

    def job(self):
        return f"j{next(self.names)}"

    def submit(self, job, args=None, status=202, **options):
        return self.ok("POST", J, {"job": job, "args": args, "options": {"create": True, **options}}, status).json

    def lease(self, *jobs, max=1, wait=0, **more):
        return self.ok("POST", J + "/lease", {"jobs": list(jobs), "max": max, "wait": wait, **more}).json["runs"]

    def settle(self, r, outcome="ack", status=200, **more):
        return self.ok("POST", J + "/settle", {"id": r["id"], "token": r["token"], "outcome": outcome, **more}, status).json

    def show(self, id, query=""):
        return self.ok("GET", f"{J}/{id}{query}").json

    def state(self, id):
        return self.show(id)["state"]

    def runs(self, job, state=None):
        return self.ok("GET", f"{J}?job={job}" + (f"&state={state}" if state else "")).json["runs"]

    def until(self, what, seconds=10):
        end = time.monotonic() + seconds
        while not what():
            self.assertLess(time.monotonic(), end, "it does not come true")
            time.sleep(0.02)


class Submitting(Runs):
    def test_a_run_is_submitted_worked_and_looked_at(self):
        j = self.job()
        a = self.ok("POST", J, {"job": j, "args": {"key": "a.png"}, "options": {"create": True, "priority": 9}}, 202)
        id = a.json["id"]
        self.assertEqual((a.headers["Location"], a.json["duplicate"]), (f"{J}/{id}", False))
        self.assertEqual({k: self.show(id)[k] for k in ("job", "state", "args", "priority", "attempts")},
                         {"job": j, "state": "available", "args": {"key": "a.png"}, "priority": 9, "attempts": 5})
        r = self.lease(j)[0]
        self.assertEqual((r["id"], r["job"], r["args"], r["attempt"]), (id, j, {"key": "a.png"}, 1))
        told = self.ok("POST", f"{J}/{id}/progress", {"token": r["token"], "fraction": 0.5, "text": "half",
                                                      "log": ["one", "two"]}).json
        self.assertEqual(told, {"id": id, "cancel_asked": False})
        self.refused("POST", f"{J}/{id}/progress", {"token": 1, "fraction": 0.6}, 409, "fenced")
        self.settle(r, result={"bytes": 7})
        s = self.show(id)
        self.assertEqual((s["state"], s["result"], s["progress"]["fraction"], s["progress"]["text"], s["log"]),
                         ("completed", {"bytes": 7}, 0.5, "half", "one\ntwo\n"))

    def test_the_end_of_a_run_is_waited_for(self):
        j = self.job()
        id = self.submit(j)["id"]
        start = time.monotonic()
        self.assertEqual(self.show(id, "?wait=200ms")["state"], "available")
        self.assertGreater(time.monotonic() - start, 0.15)
        got = []
        c = self.server.client()
        t = threading.Thread(target=lambda: got.append(c("GET", f"{J}/{id}?wait=20s").json))
        t.start()
        self.settle(self.lease(j)[0], result=7)
        t.join(10)
        self.assertEqual((got[0]["state"], got[0]["result"]), ("completed", 7))
        self.assertEqual(self.show(id, "?wait=20s")["result"], 7)

    def test_a_job_that_nobody_declares_is_made_only_on_purpose(self):
        j = self.job()
        self.refused("POST", J, {"job": j}, 404, "not_found", j)
        self.submit(j)
        self.refused("POST", J, {"job": j}, 404, "not_found", j)
        self.assertEqual(len(self.runs(j)), 1)

    def test_what_is_wrong_is_named(self):  # R3
        for body, words in (({}, "job"), ({"job": "a b"}, "a b"), ({"job": "x", "arg": 1}, "did you mean 'args'"),
                            ({"job": "x", "options": {"dely": "1s"}}, "did you mean 'delay'"),
                            ({"job": "x", "options": {"chain": "y"}}, "chain"),
                            ({"job": "x", "options": {"on_failure": "continue"}}, "chain"),
                            ({"job": "x", "options": {"attempts": 0}}, "attempts")):
            self.refused("POST", J, body, words=words)
        self.refused("GET", J + "/x1", words="UUID")
        self.refused("GET", J + "?state=dead", words="scheduled")
        self.refused("GET", f"{J}/{uuid.uuid4()}", status=404, code="not_found")
        self.refused("POST", J + "/lease", {"jobs": []}, words="jobs")
        self.refused("POST", J + "/lease", {"jobs": ["not-there"], "wait": 0}, 404, "not_found", "not-there")
        self.refused("POST", J + "/settle", [], words="1 to 1000")

    def test_args_that_are_not_as_declared_are_told_one_by_one(self):  # R3
        p = self.refused("POST", J, {"job": "declared", "args": {"n": 7, "word": 8, "zz": 1}}, words="args")
        self.assertEqual(sorted(f["field"] for f in p["errors"]), ["day", "n", "word", "zz"])
        p = self.refused("POST", J, {"job": "declared"}, words="args")
        self.assertEqual([f["field"] for f in p["errors"]], ["day"])
        self.refused("POST", J, {"job": "declared", "args": [1]}, words="args")
        self.assertEqual(self.runs("declared"), [])
        id = self.ok("POST", J, {"job": "declared", "args": {"day": "2026-05-01"}}, 202).json["id"]
        self.assertEqual(self.show(id)["args"], {"day": "2026-05-01", "n": 3})
        self.settle(self.lease("declared")[0])

    def test_runs_are_listed_newest_first_in_pages(self):
        j = self.job()
        ids = [self.submit(j, i)["id"] for i in range(5)]
        first = self.ok("GET", f"{J}?job={j}&limit=2").json
        second = self.ok("GET", f"{J}?job={j}&limit=3&before={first['next']}").json
        self.assertEqual([r["id"] for r in first["runs"] + second["runs"]], ids[::-1])
        self.assertIsNone(second["next"])
        self.settle(self.lease(j)[0])
        self.assertEqual([r["id"] for r in self.runs(j, "completed")], ids[:1])
        self.assertIn(ids[-1], [r["id"] for r in self.ok("GET", J).json["runs"]])

    def test_the_same_submitted_twice_is_one_run(self):
        j = self.job()
        a, b = self.submit(j, 1, unique="u"), self.submit(j, 2, unique="u")
        self.assertEqual((b["id"], b["merged"]), (a["id"], True))
        a, b = self.submit(j, 1, dedup="d"), self.submit(j, 2, dedup="d")
        self.assertEqual((b["id"], b["duplicate"]), (a["id"], True))
        key = str(uuid.uuid4())
        body = {"job": j, "options": {"create": True}}
        a, b = (self.ok("POST", J, body, 202, Idempotency_Key=key) for _ in range(2))
        self.assertEqual((a.json, b.headers["Idempotency-Replayed"]), (b.json, "true"))


class Chains(Runs):
    def test_the_next_of_a_chain_has_the_args_and_begins_with_the_settle(self):  # J3
        a, b, c = self.job(), self.job(), self.job()
        self.submit(a, {"day": 1}, chain=[b, c])
        self.settle(self.lease(a)[0])
        r = self.lease(a, b)[0]
        self.assertEqual((r["job"], r["args"]), (b, {"day": 1}))
        self.assertEqual(self.show(r["id"])["chain"], [c])
        self.settle(r, "reject", error="no")
        self.assertEqual(self.runs(c), [])
        self.assertEqual(self.show(r["id"])["errors"][0]["error"], "no")

    def test_many_that_are_settled_in_one_request_each_go_on(self):  # J3
        a, b = self.job(), self.job()
        for i in range(30):
            self.submit(a, i, chain=[b])
        runs = self.lease(a, max=30)
        done = self.ok("POST", J + "/settle", [{"id": r["id"], "token": r["token"], "outcome": "ack"} for r in runs]).json
        self.assertEqual(done["counts"], {"settled": 30, "failed": 0})
        self.assertEqual(sorted(r["args"] for r in self.lease(b, max=40)), list(range(30)))

    def test_a_settle_with_a_key_is_done_once(self):  # R2
        a, b = self.job(), self.job()
        self.submit(a, chain=[b])
        r = self.lease(a)[0]
        body, key = {"id": r["id"], "token": r["token"], "outcome": "ack"}, str(uuid.uuid4())
        for _ in range(3):
            self.ok("POST", J + "/settle", body, Idempotency_Key=key)
        self.assertEqual(len(self.runs(b)), 1)

    def test_one_that_was_cancelled_goes_no_further(self):
        a, b = self.job(), self.job()
        id = self.submit(a, chain=[b], on_failure="continue")["id"]
        r = self.lease(a)[0]
        self.assertEqual(self.ok("POST", f"{J}/{id}/cancel", status=202).json["outcome"], "asked")
        self.assertTrue(self.ok("POST", f"{J}/{id}/progress", {"token": r["token"]}).json["cancel_asked"])
        self.settle(r)
        self.assertEqual((self.state(id), self.runs(b)), ("completed", []))


class Units(Runs):
    def tx(self, *ops, status=200):
        return self.ok("POST", "/api/tx", {"ops": list(ops)}, status).json

    def test_a_submit_in_a_unit_that_fails_leaves_nothing(self):  # L1
        j = self.job()
        self.submit(j)
        op = {"op": "job.submit", "job": j, "args": {"n": 1}, "options": {"create": True, "chain": [j]}}
        p = self.tx(op, {"op": "entity.save", "entity": "order", "id": "o-1", "value": {"n": 1}, "if_version": 7}, status=412)
        self.assertEqual(p["failed_op"], 1)
        self.assertEqual(len(self.runs(j)), 1)
        a = self.tx(op, {"op": "entity.save", "entity": "order", "id": "o-1", "value": {"n": 1}})
        self.assertEqual(a["results"][0]["outcome"], "sent")
        self.assertEqual(self.show(a["results"][0]["id"])["args"], {"n": 1})
        p = self.tx({"op": "job.submit", "job": "none-such"}, status=404)
        self.assertEqual(p["failed_op"], 0)

    def test_args_that_are_not_as_declared_refuse_the_unit(self):  # L1 R3
        save = {"op": "entity.save", "entity": "order", "id": "o-2", "value": {"n": 1}}
        p = self.tx(save, {"op": "job.submit", "job": "declared", "args": {"n": 7, "zz": 1}}, status=400)
        self.assertEqual((p["code"], p["failed_op"]), ("invalid", 1))
        self.assertEqual(sorted(f["field"] for f in p["errors"]), ["day", "n", "zz"])
        self.ok("GET", "/api/order/o-2", status=404)

    def test_what_a_worker_did_and_the_next_of_the_chain_are_one_unit(self):  # J3 L1
        a, b = self.job(), self.job()
        self.submit(a, chain=[b])
        r = self.lease(a)[0]
        settle = {"op": "settle", "id": r["id"], "token": r["token"], "outcome": "ack"}
        save = {"op": "entity.save", "entity": "order", "id": r["id"], "value": {"n": 1}}
        self.tx(settle, dict(save, if_version=3), status=412)
        self.assertEqual((self.state(r["id"]), self.runs(b)), ("executing", []))
        send = {"op": "job.submit", "job": a, "options": {"create": True}}
        body, key = {"ops": [settle, save, send]}, str(uuid.uuid4())
        first = self.ok("POST", "/api/tx", body, Idempotency_Key=key).json
        again = self.ok("POST", "/api/tx", body, Idempotency_Key=key)
        self.assertEqual((again.json, again.headers["Idempotency-Replayed"]), (first, "true"))
        self.assertEqual((self.state(r["id"]), len(self.runs(b)), len(self.runs(a))), ("completed", 1, 2))
        p = self.tx(settle, save, status=409)
        self.assertEqual((p["code"], p["failed_op"]), ("fenced", 0))


class Operating(Runs):
    def test_a_waiting_run_that_is_cancelled_never_executes(self):  # J5
        j = self.job()
        id = self.submit(j)["id"]
        self.assertEqual(self.ok("POST", f"{J}/{id}/cancel").json, {"id": id, "outcome": "cancelled"})
        self.assertEqual(self.lease(j, wait="300ms"), [])
        self.assertEqual((self.state(id), self.show(id)["deliveries"]), ("cancelled", 0))
        self.refused("POST", f"{J}/{id}/cancel", status=409, code="conflict", words="cancelled")

    def test_discarded_runs_are_run_again_one_and_many(self):
        j, b = self.job(), self.job()
        ids = [self.submit(j, i, chain=[b])["id"] for i in range(4)]
        for r in self.lease(j, max=4):
            self.settle(r, "reject", error="not yet")
        self.ok("POST", f"{J}/{ids[0]}/retry")
        dry = self.ok("POST", J + "/retry", {"job": j, "state": "discarded", "dry_run": True}).json
        self.assertEqual((sorted(dry["ids"]), dry["matched"]), (sorted(ids[1:]), 3))
        self.ok("POST", J + "/retry", {"ids": ids[1:2]})
        done = self.ok("POST", J + "/retry", {"job": j, "state": "discarded"}).json
        self.assertEqual(done["counts"], {"retried": 2, "failed": 0})
        for r in self.lease(j, max=4):
            self.settle(r)
        self.assertEqual(len(self.runs(b)), 4)
        self.refused("POST", J + "/retry", {"state": "discarded"}, words="job")
        self.refused("POST", J + "/retry", {"ids": ids, "job": j}, words="job")

    def test_a_reason_is_kept_with_the_run_and_shown(self):
        j = self.job()
        id = self.submit(j)["id"]
        self.ok("POST", f"{J}/{id}/cancel", {"reason": "the order was withdrawn"})
        self.until(lambda: self.show(id).get("kind") == "submitted")
        self.assertEqual([(h["what"], h["reason"]) for h in self.show(id)["history"]], [("cancel", "the order was withdrawn")])
        self.ok("POST", J + "/retry", {"ids": [id], "reason": "it came back"})
        self.assertEqual(self.state(id), "available")
        self.settle(self.lease(j)[0])
        self.ok("POST", f"{J}/{id}/retry", None, X_Koan_Reason="once more")
        self.ok("POST", f"{J}/{id}/cancel")
        said = self.show(id)["history"]
        self.assertEqual([(h["what"], h["reason"]) for h in said], [("cancel", "the order was withdrawn"), ("retry", "it came back"), ("retry", "once more")])
        self.assertTrue(all(h["by"] and h["at"] for h in said))
        self.refused("POST", f"{J}/{id}/retry", {"reason": "x" * 1025}, words="at most 1024 bytes")
        self.refused("POST", f"{J}/{id}/retry", {"why": "x"}, words="why")
        for n in range(60):
            self.ok("POST", f"{J}/{id}/{'cancel' if n % 2 else 'retry'}", {"reason": f"turn {n}"})
        self.assertEqual([h["reason"] for h in self.show(id)["history"]], [f"turn {n}" for n in range(10, 60)])

    def test_ends_and_durations_are_counted_by_job(self):
        j, quick = self.job(), self.job()
        self.submit(j)
        r = self.lease(j)[0]
        time.sleep(0.3)
        self.settle(r)
        self.submit(j, attempts=1)
        self.settle(self.lease(j)[0], "reject")
        self.ok("POST", f"{J}/{self.submit(j)['id']}/cancel")
        self.submit(quick)
        self.settle(self.lease(quick)[0])
        text = self.ok("GET", f"/metrics/detailed?name={j}").body.decode()
        for outcome in ("completed", "discarded", "cancelled"):
            self.assertIn(f'koan_job_runs_total{{job="{j}",outcome="{outcome}"}} 1', text)
        self.assertIn(f'koan_job_run_seconds_count{{job="{j}"}} 2', text)  # one never executed
        self.assertIn(f'koan_job_run_seconds_bucket{{job="{j}",le="0.25"}} 1', text)
        self.assertIn(f'koan_job_run_seconds_bucket{{job="{j}",le="2.5"}} 2', text)
        text = self.ok("GET", "/metrics/detailed?family=koan_job_run_seconds").body.decode()
        self.assertIn(f'koan_job_run_seconds_count{{job="{quick}"}} 1', text)
        for n in range(STAT_HISTOGRAMS_SHOWN + 2):
            other = self.job()
            self.submit(other)
            self.settle(self.lease(other)[0])
        text = self.ok("GET", "/metrics").body.decode()
        self.assertEqual(text.count("koan_job_run_seconds_count{"), STAT_HISTOGRAMS_SHOWN + 1)
        self.assertIn('koan_job_run_seconds_count{other="true"}', text)

    def test_a_message_is_no_run(self):
        self.ok("PUT", "/api/queues/%2F/mail", {}, 201)
        id = self.ok("POST", "/api/queues/%2F/mail/messages", {"x": 1}, 201).json["id"]
        for verb in ("cancel", "retry"):
            self.refused("POST", f"{J}/{id}/{verb}", status=404, code="not_found", words="run of a job")
        self.refused("GET", f"{J}/{id}", status=404, code="not_found")


class Commands(Runs):
    def koan(self, *args, code=0):
        got = run("jobs", *args, "--url", self.server.url)
        self.assertEqual(got[0], code, got)
        return got[1]

    def test_runs_on_the_command_line(self):
        j = self.job()
        id = self.koan("run", j, '{"n": 1}', "--create").strip()
        self.assertIn(id, self.koan("ls", "--job", j))
        self.assertEqual(json.loads(self.koan("show", id, "--json"))["args"], {"n": 1})
        self.assertIn("cancelled", self.koan("cancel", id, "--reason", "not today"))
        self.koan("retry", id, "--reason", "tomorrow")
        said = [h["reason"] for h in json.loads(self.koan("show", id, "--json"))["history"]]
        self.assertEqual(said, ["not today", "tomorrow"])
        r = self.lease(j)[0]
        self.ok("POST", f"{J}/{id}/progress", {"token": r["token"], "log": "a line"})
        self.settle(r)
        self.assertEqual(self.koan("tail", id), "a line\n")
        self.koan("retry", "--job", j, "--state", "completed", "--dry-run")
        self.koan("retry", code=2)

    def test_run_waits_for_the_end(self):
        j = self.job()
        self.submit(j)
        self.settle(self.lease(j)[0])
        got = []
        t = threading.Thread(target=lambda: got.append(run("jobs", "run", j, "--create", "--wait", "--json", "--url", self.server.url)))
        t.start()
        self.settle(self.lease(j, wait="10s")[0], "reject", error="no")
        t.join(20)
        self.assertEqual((got[0][0], json.loads(got[0][1])["state"]), (1, "discarded"))


WORKER = textwrap.dedent("""
    import http.client, json, sys, time
    c = http.client.HTTPConnection("127.0.0.1", int(sys.argv[1]), timeout=60)
    c.request("POST", "/api/jobs/lease", json.dumps({"jobs": [sys.argv[2]], "wait": "20s", "lease": "1s"}),
              {"Content-Type": "application/json"})
    print(json.loads(c.getresponse().read())["runs"][0]["id"], flush=True)
    time.sleep(600)
""")


class Deaths(Runs):
    def test_a_worker_that_dies_gives_its_run_back_until_its_attempts_are_used(self):  # Q3 J3
        a, b = self.job(), self.job()
        id = self.submit(a, {"n": 1}, attempts=2, backoff="100ms", chain=[b], on_failure="continue")["id"]
        for attempt in (1, 2):
            worker = subprocess.Popen([sys.executable, "-c", WORKER, str(self.server.port), a], stdout=subprocess.PIPE, text=True)
            self.assertEqual(worker.stdout.readline().strip(), id)
            worker.send_signal(signal.SIGKILL)
            worker.wait()
            worker.stdout.close()
            self.assertEqual(self.show(id)["attempt"], attempt)
            self.until(lambda: self.state(id) != "executing", 30)
        s = self.show(id, "?wait=20s")
        self.assertEqual((s["state"], s["reason"], len(s["errors"])), ("discarded", "lapsed", 2))
        self.until(lambda: len(self.runs(b)) == 1)
        self.assertEqual(self.runs(b)[0]["args"], {"n": 1})

    def test_no_chain_is_cut_or_doubled_when_the_server_is_killed(self):  # J3 L2
        case = Case()
        case.setUp()
        self.addCleanup(case.doCleanups)
        count, done, lock = 60, set(), threading.Lock()
        node = case.node()
        c = node.client()
        for i in range(count):
            a = c("POST", J, {"job": "a", "args": i, "options": {"create": True, "chain": ["b"], "attempts": 100}})
            self.assertEqual(a.status, 202, a.body)

        def work(client):
            try:
                while True:
                    runs = client("POST", J + "/lease", {"jobs": ["a"], "max": 4, "wait": "1s", "lease": "1s"}).json["runs"]
                    for r in runs:
                        if client("POST", J + "/settle", {"id": r["id"], "token": r["token"], "outcome": "ack"}).status == 200:
                            with lock:
                                done.add(r["args"])
                    if len(done) == count:
                        return
            except Exception:
                return

        for round_ in range(4):
            threads = [threading.Thread(target=work, args=(node.client(),)) for _ in range(3)]
            for t in threads:
                t.start()
            time.sleep(0.02 + 0.03 * round_)
            node.process.send_signal(signal.SIGKILL)
            for t in threads:
                t.join()
            node.kill()
            node = case.node()
        c = node.client()
        end = time.monotonic() + 60
        while c("GET", J + "?job=a&state=completed&limit=100").json["runs"].__len__() < count:
            self.assertLess(time.monotonic(), end)
            work_once = c("POST", J + "/lease", {"jobs": ["a"], "max": 60, "wait": "1s", "lease": "5s"}).json["runs"]
            for r in work_once:
                c("POST", J + "/settle", {"id": r["id"], "token": r["token"], "outcome": "ack"})
        followers = c("GET", J + "?job=b&limit=100").json["runs"]
        self.assertEqual(sorted(r["args"] for r in followers), list(range(count)))
        self.assertEqual(node.stop(), 0)


if __name__ == "__main__":
    unittest.main()
