"""Workers outside that do all that the function of a job does: steps with results, undo, sleeps, waits, fan-outs, each alone and
in one commit with what the worker wrote and the end of the run; a worker that kills itself after each step."""
import signal
import subprocess
import sys
import textwrap
import threading
import time
import unittest
import urllib.parse

from e2e.jobs_test import J, Runs
from e2e.node import Case

APP = """
entity "Order" { fields = { text = text {}, n = int {} } }
job "film" {}
job "page" { args = { n = int { required = true } } }
job "stitch" {}
"""


class Outside(Runs):
    APP = APP

    def begin(self, job=None, args=None, **options):
        job = job or self.job()
        self.submit(job, args, **options)
        return self.lease(job, lease="30s")[0]

    def at(self, r, *path):
        return "/".join([J, r["id"], *(urllib.parse.quote(p, safe="") for p in path)])

    def store(self, r, *path, status=200, **body):
        return self.ok("POST", self.at(r, *path), {"token": r["token"], **body}, status).json

    def refuse(self, r, *path, status=400, code="invalid", words="", **body):
        return self.refused("POST", self.at(r, *path), {"token": r["token"], **body}, status, code, words)

    def steps(self, r):
        return self.ok("GET", self.at(r, "steps")).json["steps"]

    def tx(self, *ops, status=200, **headers):
        return self.ok("POST", "/api/tx", {"ops": list(ops)}, status, **headers).json


class Steps(Outside):
    def test_a_step_is_stored_once_and_read_by_a_later_execution(self):  # J2
        j = self.job()
        r = self.begin(j, {"n": 1}, backoff="50ms")
        self.assertEqual(self.steps(r), [])
        told = self.store(r, "steps", "export", result={"file": "a.csv"})
        self.assertEqual(told, {"id": r["id"], "name": "export", "outcome": "stored"})
        self.refuse(r, "steps", "export", status=409, code="conflict", words="has a step 'export' already", result=7)
        self.settle(r, "nack", error="no luck")
        again = self.lease(j, wait="5s")[0]
        self.refuse(r, "steps", "late", status=409, code="fenced", result=1)  # of the first execution
        self.store(again, "steps", "a/b c", result=[1, None])
        self.assertEqual([(s["name"], s["result"]) for s in self.steps(again)], [("export", {"file": "a.csv"}), ("a/b c", [1, None])])
        self.assertEqual(self.ok("GET", self.at(again, "steps", "export")).json["result"], {"file": "a.csv"})
        self.refused("GET", self.at(again, "steps", "none"), None, 404, "not_found", "no step 'none'")
        self.settle(again, result="ok")
        self.assertEqual([s["name"] for s in self.show(r["id"])["steps"]], ["export", "a/b c"])
        self.refuse(again, "steps", "more", status=409, code="fenced")

    def test_what_is_wrong_is_named(self):  # R3
        r = self.begin()
        self.refuse(r, "steps", "x" * 129, words="1 to 128 bytes")
        self.refuse(r, "steps", "x", status=413, code="too_large", words="at most 256 KiB", result="x" * (256 << 10))
        self.refuse(r, "steps", "x", words="did you mean 'result'", results=1)
        self.refuse(r, "steps", "x", words="unknown key 'id'", id=r["id"])
        self.refuse(r, "sleeps", "x", words="until")
        self.refuse(r, "waits", "x", words="topic is missing")
        self.refuse(r, "fans", "x", words="on_done")
        self.refuse(r, "fans", "x", status=404, code="not_found", words="nobody", on_done="nobody", runs=[{"job": "page"}])
        p = self.refuse(r, "fans", "x", on_done="stitch", runs=[{"job": "page", "args": {"n": 1}}, {"job": "page", "args": {}}], words="runs[1]")
        self.assertIn("n", str(p["errors"]))
        self.refused("POST", self.at(r, "steps", "x"), {}, words="token is missing")
        self.refused("POST", self.at({"id": "0" * 8}, "steps", "x"), {"token": 1}, words="UUID")
        gone = {"id": "01900000-0000-7000-8000-000000000000", "token": 1}
        self.refuse(gone, "steps", "x", status=404, code="not_found", words="no such record")
        self.refused("GET", self.at(gone, "steps"), None, 404, "not_found")
        self.refuse(r, "steps", "x", "undone", status=409, code="conflict", words="not being undone")
        self.refused("POST", "/api/tx", {"ops": [{"op": "job.step", "id": r["id"], "token": r["token"], "name": "a"},
                                                 {"op": "job.step", "id": r["id"], "token": 1, "name": "b"}]}, 409, "fenced", "operation 1")
        self.assertEqual(self.steps(r), [])

    def test_effects_a_step_and_the_end_are_one_commit(self):  # J2 J3 L1
        r = self.begin(None, {"n": 1}, chain=["film"])
        step = {"op": "job.step", "id": r["id"], "token": r["token"], "name": "save", "result": {"order": "o-1"}}
        end = {"op": "settle", "id": r["id"], "token": r["token"], "outcome": "ack", "result": "done"}
        save = {"op": "entity.save", "entity": "order", "id": "o-1", "value": {"n": 1}, "if_absent": True}
        p = self.refused("POST", "/api/tx", {"ops": [save, step, dict(end, token=r["token"] + 1)]}, 409, "fenced")
        self.assertEqual(p["failed_op"], 2)
        self.assertEqual((self.steps(r), self.state(r["id"])), ([], "executing"))
        self.refused("GET", "/api/order/o-1", None, 404, "not_found")
        done = self.tx(save, dict(step, name="first"), step, end, Idempotency_Key="one")
        self.assertEqual([o.get("outcome") for o in done["results"]], ["created", "stored", "stored", "ack"])
        self.assertEqual(self.tx(save, dict(step, name="first"), step, end, Idempotency_Key="one"), done)  # R2
        s = self.show(r["id"])
        self.assertEqual((s["state"], s["result"], [x["name"] for x in s["steps"]]), ("completed", "done", ["first", "save"]))
        self.assertEqual(self.ok("GET", "/api/order/o-1").json["n"], 1)
        self.assertEqual(len([x for x in self.runs("film") if x["args"] == {"n": 1}]), 1)

    def test_steps_are_undone_the_last_first(self):
        for at_once in (False, True):  # the last step with the reject, or before it
            j = self.job()
            r = self.begin(j, {"sum": 7})
            self.store(r, "steps", "reserve", result="r-1", undo=True)
            self.store(r, "steps", "look")
            charge = {"op": "job.step", "id": r["id"], "token": r["token"], "name": "charge", "result": "c-1", "undo": True}
            end = {"op": "settle", "id": r["id"], "token": r["token"], "outcome": "reject", "error": "no stock"}
            if at_once:
                self.tx(charge, end)
            else:
                self.tx(charge)
                self.tx(end)
            undo = self.lease(j, wait="5s", lease="30s")[0]
            self.assertEqual((undo["headers"]["undo-of"], undo["args"]), (r["id"], {"sum": 7}))
            self.assertEqual(self.show(r["id"])["undo"], undo["id"])
            left = [s["name"] for s in self.steps(r) if s.get("undo") == "declared"]
            self.assertEqual(left, ["reserve", "charge"])
            of = {"id": r["id"], "token": undo["token"]}
            self.assertEqual(self.store(of, "steps", "charge", "undone")["outcome"], "undone")
            self.refuse(of, "steps", "charge", "undone", status=409, code="conflict", words="is undone")
            self.refuse(of, "steps", "look", "undone", status=409, code="conflict", words="nothing to undo")
            self.refuse(of, "steps", "none", "undone", status=404, code="not_found", words="no step 'none'")
            self.tx({"op": "job.undone", "id": r["id"], "token": undo["token"], "name": "reserve"},
                    {"op": "settle", "id": undo["id"], "token": undo["token"], "outcome": "ack"})
            self.assertEqual([s.get("undo") for s in self.steps(r)], ["done", None, "done"])
            self.assertEqual(self.state(undo["id"]), "completed")

    def test_the_only_step_of_a_run_is_undone_though_it_comes_with_the_end(self):
        j = self.job()
        r = self.begin(j, {"n": 1})
        self.tx({"op": "job.step", "id": r["id"], "token": r["token"], "name": "charge", "undo": True},
                {"op": "settle", "id": r["id"], "token": r["token"], "outcome": "reject"})
        undo = self.lease(j, wait="5s")[0]
        self.assertEqual((undo["headers"]["undo-of"], undo["args"]), (r["id"], {"n": 1}))


class Pauses(Outside):
    def test_a_sleep_gives_the_run_back_and_is_over_once(self):
        j = self.job()
        r = self.begin(j, attempts=1)
        told = self.store(r, "sleeps", "nap", delay="700ms")
        self.assertEqual((told["outcome"], told["name"]), ("snoozed", "nap"))
        self.assertEqual(self.state(r["id"]), "scheduled")
        self.refuse(r, "steps", "x", status=409, code="fenced")
        again = self.lease(j, wait="5s", lease="30s")[0]
        self.store(again, "steps", "page", result=1)
        self.refuse(again, "sleeps", "page", status=409, code="conflict", words="no sleep", delay="1s")
        self.refuse(again, "waits", "page", status=409, code="conflict", words="no wait", topic="x.y")
        self.assertEqual((again["id"], again["attempt"]), (r["id"], 1))  # it used no try
        self.assertEqual(self.store(again, "sleeps", "nap", delay="1h")["outcome"], "over")
        self.refuse(again, "steps", "nap", status=409, code="conflict")
        self.assertEqual(self.store(again, "sleeps", "past", until="2020-01-01T00:00:00Z")["outcome"], "over")
        self.tx({"op": "entity.save", "entity": "order", "id": "s-1", "value": {"n": 1}},
                {"op": "job.sleep", "id": r["id"], "token": again["token"], "name": "night", "delay": "1h"})
        self.assertEqual(self.state(r["id"]), "scheduled")
        self.ok("POST", self.at(r, "retry"))
        early = self.lease(j, lease="30s")[0]
        self.assertEqual(self.store(early, "sleeps", "night", delay="1s")["outcome"], "snoozed")  # as it was begun
        self.assertEqual([s["name"] for s in self.steps(r)], ["nap", "page", "past", "night"])

    def test_a_run_waits_for_its_message(self):
        j = self.job()
        r = self.begin(j)
        told = self.store(r, "waits", "paid", topic="payment.*", key="o-1", timeout="1h")
        self.assertEqual(told["outcome"], "waiting")
        self.ok("POST", "/api/topics/payment.settled?key=o-2", {"sum": 1}, 202)
        self.assertEqual(self.lease(j, wait="300ms"), [])
        self.ok("POST", "/api/topics/payment.settled?key=o-1", {"sum": 7}, 202)
        again = self.lease(j, wait="5s", lease="30s")[0]
        met = self.store(again, "waits", "paid", topic="payment.*", key="o-1")
        self.assertEqual((met["outcome"], met["message"]["body"], met["message"]["key"]), ("met", {"sum": 7}, "o-1"))
        self.assertEqual(self.store(again, "waits", "paid", topic="payment.*", key="o-1"), met)  # it is a step by now
        self.refused("POST", "/api/tx", {"ops": [{"op": "job.wait", "id": r["id"], "token": again["token"], "name": "paid", "topic": "x"}]},
                     409, "conflict", "already")
        self.tx({"op": "job.wait", "id": r["id"], "token": again["token"], "name": "more", "topic": "never", "timeout": "300ms"})
        last = self.lease(j, wait="5s", lease="30s")[0]
        self.assertEqual(self.store(last, "waits", "more", topic="never")["outcome"], "late")
        self.settle(last)

    def test_one_that_is_woken_by_hand_waits_on(self):
        j = self.job()
        r = self.begin(j)
        self.store(r, "waits", "paid", topic="bill.paid")
        self.ok("POST", self.at(r, "retry"))
        again = self.lease(j, lease="30s")[0]
        self.assertEqual(self.store(again, "waits", "paid", topic="bill.paid")["outcome"], "waiting")
        self.ok("POST", self.at(r, "retry"))
        again = self.lease(j, lease="30s")[0]
        self.ok("POST", "/api/topics/bill.paid", {"n": 1}, 202)  # while it executes
        self.assertEqual(self.store(again, "waits", "paid", topic="bill.paid")["outcome"], "met")


    def test_a_message_that_comes_just_as_the_run_waits_on_is_not_slept_through(self):
        seen = set()
        for n in range(25):
            j, other = self.job(), self.server.client()
            r = self.begin(j)
            self.store(r, "waits", "paid", topic="at.once", key=str(n), timeout="1h")
            self.ok("POST", self.at(r, "retry"))
            again = self.lease(j, lease="30s")[0]
            publish = threading.Thread(target=lambda: other("POST", f"/api/topics/at.once?key={n}", {"n": n}))
            publish.start()
            time.sleep(0.0002 * (n % 8))
            outcome = self.store(again, "waits", "paid", topic="at.once", key=str(n))["outcome"]
            publish.join()
            other.close()
            if outcome == "waiting":
                again = self.lease(j, wait="5s", lease="30s")[0]
                self.assertEqual(self.store(again, "waits", "paid", topic="at.once", key=str(n))["outcome"], "met")
            seen.add(outcome)
        self.assertTrue(seen <= {"waiting", "met"}, seen)


class Fans(Outside):
    def test_the_last_child_submits_what_comes_then(self):  # J3
        r = self.begin("film", {"id": 7})
        runs = [{"job": "page", "args": {"n": n}, "options": {"priority": 9}} for n in range(3)]
        fan = self.store(r, "fans", "pages", on_done="stitch", args={"film": 7}, runs=runs)
        self.assertEqual((fan["outcome"], len(fan["runs"])), ("stored", 3))
        self.refuse(r, "fans", "pages", status=409, code="conflict", words="has a step", on_done="stitch", runs=runs)
        self.assertEqual(self.ok("GET", self.at(r, "steps", "pages")).json["result"], {"fan": fan["fan"], "runs": fan["runs"]})
        self.settle(r)
        children = self.lease("page", max=5)
        self.assertEqual(sorted(c["id"] for c in children), sorted(fan["runs"]))
        for c in children[:2]:
            self.settle(c)
        self.assertEqual([x for x in self.runs("stitch") if x["id"] == fan["fan"]], [])
        self.settle(children[2], "reject")
        last = [x for x in self.runs("stitch") if x["id"] == fan["fan"]]
        self.assertEqual([x["args"] for x in last], [{"film": 7, "parent": r["id"], "counts": {"total": 3, "completed": 2, "discarded": 1, "cancelled": 0}}])
        self.assertEqual(self.show(r["id"])["fan_outs"][0]["on_done"], "stitch")

    def test_a_fan_out_a_record_and_the_end_are_one_commit(self):  # J3 L1 R2
        r = self.begin("film", {"id": 8})
        ops = [{"op": "job.fan", "id": r["id"], "token": r["token"], "name": "pages", "on_done": "stitch",
                "runs": [{"job": "page", "args": {"n": n}} for n in range(4)]},
               {"op": "send", "queue": "told", "body": {"n": 1}},
               {"op": "settle", "id": r["id"], "token": r["token"], "outcome": "ack"}]
        self.ok("PUT", "/api/queues/%2F/told", {}, 201)
        first = self.tx(*ops, Idempotency_Key="fan")
        again = self.tx(*ops, Idempotency_Key="fan")
        self.assertEqual(first, again)
        self.assertEqual(len(set(first["results"][0]["runs"])), 4)
        self.assertEqual([m["id"] for m in self.ok("GET", "/api/queues/%2F/told/messages").json["items"]], [first["results"][1]["id"]])
        self.assertEqual(self.state(r["id"]), "completed")
        got = {c["id"] for c in self.lease("page", max=10)}
        self.assertEqual(got, set(first["results"][0]["runs"]))


# A worker as one would write it: what a step did is in the unit that stores it. It kills itself behind each of them.
WORKER = textwrap.dedent("""
    import http.client, json, os, signal, sys
    port, job = int(sys.argv[1]), sys.argv[2]
    c = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

    def call(method, path, body=None):
        c.request(method, path, None if body is None else json.dumps(body), {"Content-Type": "application/json"})
        a = c.getresponse()
        text = a.read()
        assert a.status < 300, (a.status, text)
        return json.loads(text)

    class Back(Exception):
        pass

    class Run:
        def __init__(self, run):
            self.id, self.token, self.args = run["id"], run["token"], run["args"]
            self.steps = {s["name"]: s.get("result") for s in call("GET", f"/api/jobs/{self.id}/steps")["steps"]}

        def own(self, op, **more):
            return dict(more, op=op, id=self.id, token=self.token)

        def step(self, name, fn):
            if name not in self.steps:
                result, ops = fn()
                call("POST", "/api/tx", {"ops": ops + [self.own("job.step", name=name, result=result)]})
                os.kill(os.getpid(), signal.SIGKILL)
            return self.steps[name]

        def sleep(self, name, delay):
            if call("POST", f"/api/jobs/{self.id}/sleeps/{name}", {"token": self.token, "delay": delay})["outcome"] == "snoozed":
                raise Back
        def wait_for(self, name, topic):
            got = call("POST", f"/api/jobs/{self.id}/waits/{name}", {"token": self.token, "topic": topic})
            if got["outcome"] == "waiting":
                raise Back
            return got.get("message")

    def note(text):
        return {"op": "entity.save", "entity": "order", "value": {"text": text}}

    def work(run):
        a = run.step("one", lambda: (1, [note("one")]))
        run.sleep("nap", "300ms")
        b = run.step("two", lambda: (a + 1, [note("two"), {"op": "publish", "topic": "film.go", "body": {"of": run.id}}]))
        run.step("three", lambda: (b + 1, [note("three")]))
        said = run.wait_for("cut", "film.cut")
        call("POST", "/api/tx", {"ops": [note("end " + said["body"]["by"]), run.own("settle", outcome="ack", result=run.steps["three"])]})

    while True:
        for run in call("POST", "/api/jobs/lease", {"jobs": [job], "wait": "20s", "lease": "1s"})["runs"]:
            try:
                work(Run(run))
                sys.exit(0)
            except Back:
                pass
""")


class Kills(Outside):
    def test_a_worker_that_kills_itself_behind_each_step_goes_on(self):  # J2 J3 L1
        case = Case()
        case.setUp()
        self.addCleanup(case.doCleanups)
        case.write("scripts/app.lua", APP)
        node = case.node("--scripts", case.path("scripts"))
        c = node.client()
        a = c("POST", J, {"job": "film", "args": {"id": 1}, "options": {"attempts": 20, "backoff": "50ms", "chain": ["stitch"]}})
        self.assertEqual(a.status, 202, a.body)
        deaths, end, sent = 0, time.monotonic() + 60, False
        while True:
            self.assertLess(time.monotonic(), end)
            worker = subprocess.Popen([sys.executable, "-c", WORKER, str(node.port), "film"], stderr=subprocess.PIPE, text=True)
            while worker.poll() is None:
                time.sleep(0.05)
                steps = c("GET", f"{J}/{a.json['id']}/steps").json["steps"]
                if not sent and "three" in [s["name"] for s in steps] and c("GET", f"{J}/{a.json['id']}").json["state"] == "scheduled":
                    node.kill()  # and the server, while the run waits
                    worker.kill()
                    worker.wait()
                    node = case.node("--scripts", case.path("scripts"))
                    c, sent = node.client(), True
                    self.assertEqual(c("POST", "/api/topics/film.cut", {"by": "me"}).status, 202)
            said = worker.stderr.read()
            worker.stderr.close()
            if worker.returncode == 0:
                break
            self.assertEqual(worker.returncode, -signal.SIGKILL, said)
            deaths += 1
        self.assertGreaterEqual(deaths, 4)
        run = c("GET", f"{J}/{a.json['id']}").json
        self.assertEqual((run["state"], run["result"], [s["name"] for s in run["steps"]]), ("completed", 3, ["one", "nap", "two", "three", "cut"]))
        texts = sorted(o["text"] for o in c("GET", "/api/order?fields=text").json)
        self.assertEqual(texts, ["end me", "one", "three", "two"])  # each once
        self.assertEqual([x["args"] for x in c("GET", J + "?job=stitch").json["runs"]], [{"id": 1}])
        self.assertEqual(node.stop(), 0)


if __name__ == "__main__":
    unittest.main()
