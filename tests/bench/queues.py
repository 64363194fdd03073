"""The queue over HTTP, and what others do on this machine in the same run."""
import json, os, subprocess, sys, time, urllib.request

import queue_peers
from entities import raw_sync
from kit import ROOT, SECONDS, Server, report, rss_mib, wrk

LOAD = os.path.join(ROOT, "build/rel/tests/bench/queue_load")
Q = "/api/queues/%2F/"
WORKER = 'queue "work" {}\non "queue/work" { run = function() end }\n'
BATCH = """
local line = '{"body":"' .. string.rep("x", 198) .. '"}\\n'
wrk.method, wrk.body = "POST", string.rep(line, 100)
wrk.headers["Content-Type"] = "application/x-ndjson"
"""
ONE = 'wrk.method, wrk.body = "POST", \'"\' .. string.rep("x", 198) .. \'"\'\nwrk.headers["Content-Type"] = "application/json"\n'


def ask(server, method, path, body=None):
    data = None if body is None else body.encode() if isinstance(body, str) else json.dumps(body).encode()
    kind = "application/x-ndjson" if isinstance(body, str) else "application/json"
    with urllib.request.urlopen(urllib.request.Request(server.url + path, data, {"Content-Type": kind}, method=method), timeout=60) as r:
        return json.loads(r.read() or b"null")


def declare(server, name, **options):
    ask(server, "PUT", Q + name, options)
    return name


def load(server, queue, verb, n, count):
    out = subprocess.run([LOAD, str(server.port), queue, verb, str(n), str(count)], capture_output=True, text=True)
    if out.returncode:
        sys.exit(out.stderr)
    return json.loads(out.stdout)


def with_peers(makes, measure):
    """What of each peer that is here, by name."""
    got = {}
    for make in makes:
        with make() as peer:
            if peer:
                got[peer.name] = measure(peer)
    return got


def beside(rates):
    return ", ".join(f"{name} {rate:,.0f}" for name, rate in rates.items()) or "no peers here"


def times(ours, rates, name):
    return f"{ours / rates[name]:.1f} times {name}; " if name in rates else ""


def bench_publish():
    with Server("") as s:
        q = declare(s, "q")
        post = s.url + Q + q + "/messages"
        ours = {"1": wrk(post, 1, script=ONE), "64": wrk(post, 64, script=ONE)}
        batch = wrk(post, 8, script=BATCH)
        for how, (_, p50, p99, bad) in {**ours, "batch": batch}.items():
            if bad:
                sys.exit(f"durable publish, {how}: {bad} refused")
        rates = {how: r[0] for how, r in ours.items()}
        rates["100 in flight"] = load(s, q, "stream", 100, 100000 * SECONDS // 4)["rate"]
        more = load(s, q, "stream", 1000, 100000 * SECONDS // 4)["rate"]
    peers = (queue_peers.rabbitmq, queue_peers.redis, queue_peers.beanstalkd, queue_peers.nats, queue_peers.Graphile)
    theirs = with_peers(peers, lambda p: {"1": p.rate("publish", 1, 1, 10 ** 6), "64": p.rate("publish", 64, 1, 10 ** 6),
                                          "100 in flight": p.rate("publish", 1, 100, 10 ** 6)})
    for how, reach in (("1", 3000), ("64", 20000), ("100 in flight", 75000)):
        others = {name: r[how] for name, r in theirs.items()}
        enough = "rabbitmq" not in others or rates[how] >= 3 * others["rabbitmq"]
        more_of = f"p50 {ours[how][1]:.2f} ms, p99 {ours[how][2]:.2f} ms; " if how in ours else ""
        report(f"durable publish, {how}", f"{rates[how]:,.0f}", "/s", f"{reach:,}, 3 times RabbitMQ", rates[how] >= reach and enough,
               more_of + times(rates[how], others, "rabbitmq") + beside(others))
    report("durable publish, 1,000 in flight", f"{more:,.0f}", "/s", "-", True)
    report("batch publish, 100 a request", f"{batch[0] * 100:,.0f}", "/s", "100,000", batch[0] * 100 >= 100000,
           f"8 connections, a request p50 {batch[1]:.1f} ms, p99 {batch[2]:.1f} ms")


def bench_consume():
    count = 25000 * SECONDS
    with Server("") as s:
        q = declare(s, "q")
        load(s, q, "stream", 1000, count)
        ours = load(s, q, "consume", 100, count)["rate"]
    def theirs(peer):
        return peer.rate("consume", 1, 100, peer.load("publish", 1, 100, 25000 * SECONDS)["count"])
    rates = with_peers((queue_peers.rabbitmq, queue_peers.redis, queue_peers.beanstalkd, queue_peers.nats), theirs)
    enough = "rabbitmq" not in rates or ours >= 2 * rates["rabbitmq"]
    report("consume + ack, prefetch 100", f"{ours:,.0f}", "/s", "40,000, twice RabbitMQ", ours >= 40000 and enough,
           times(ours, rates, "rabbitmq") + beside(rates))


def worked(server, count):
    """Messages of `work` a second, from the moment that it is not paused any more."""
    ask(server, "POST", Q + "work/pause")
    load(server, "work", "stream", 1000, count)
    began = time.monotonic()
    ask(server, "POST", Q + "work/resume")
    while ask(server, "GET", Q + "work")["messages"] > 0:
        time.sleep(0.01)
    return count / (time.monotonic() - began)


def bench_jobs():
    """100 at a time, as the others are told; and as many as Koan takes by itself."""
    def rate(*args):
        with Server(WORKER, args=args) as s:
            worked(s, 5000)
            return worked(s, 15000 * SECONDS)
    ours, by_itself = rate("--work.concurrency", "100"), rate()
    rates = with_peers((queue_peers.bullmq, queue_peers.Graphile), lambda p: p.rate("jobs", 1, 100, 3000 * SECONDS))
    enough = "bullmq" not in rates or ours >= 3 * rates["bullmq"]
    report("no-op jobs by a Lua handler", f"{ours:,.0f}", "/s", "25,000, 3 times BullMQ", ours >= 25000 and enough, times(ours, rates, "bullmq") + beside(rates))
    report("the same, 16 a core at a time", f"{by_itself:,.0f}", "/s", "-", True)


def bench_latency():
    with Server("") as s:
        q = declare(s, "q")
        bare = raw_sync(s.dir, 2, 0.001)
        load(s, q, "delay", 1000, 1000)
        t = load(s, q, "delay", 1000, 2000 * SECONDS)
    report("end to end at 1,000/s, p50", t["p50_us"], "us", "1,000", t["p50_us"] < 1000, f"write + fdatasync alone {bare[len(bare) // 2]:.0f} us")
    report("end to end at 1,000/s, p99", t["p99_us"], "us", "5,000", t["p99_us"] < 5000,
           f"longest {t['max_us']} us; write + fdatasync alone {bare[len(bare) * 99 // 100]:.0f} us, longest {bare[-1]:.0f} us")


def written(path):
    """Bytes up to the last that is not zero: what lies behind was written ahead of entries to come."""
    with open(path, "rb") as f:
        for at in range((os.path.getsize(path) - 1) // 65536, -1, -1):
            f.seek(at * 65536)
            text = f.read(65536).rstrip(b"\0")
            if text:
                return at * 65536 + len(text)
    return 0


def disk_bytes(folder):
    """In use, and all that is taken: segments of the log are written ahead, and one is kept in reserve."""
    used = taken = 0
    for at, _, files in os.walk(folder):
        for name in files:
            path = os.path.join(at, name)
            blocks = os.stat(path).st_blocks * 512
            log = os.path.basename(at) == "log" and name.endswith(".log")
            taken += blocks
            used += blocks if not log else 0 if name.startswith("spare") else written(path)
    return used, taken


def bench_million():
    count = 1000000
    with Server("") as s:
        before, (empty, _) = rss_mib(s.process.pid), disk_bytes(s.data)
        load(s, declare(s, "q"), "stream", 1000, count)
        time.sleep(3)
        memory = rss_mib(s.process.pid) - before
        used, taken = disk_bytes(s.data)
        s.process.kill()
        s.process.wait()
        s.start()
        ready, kept = s.ready_ms, ask(s, "GET", Q + "q")["messages"]
        s.process.terminate()
        s.process.wait(60)
        saved, _ = disk_bytes(s.data)
        s.start()
        again = s.ready_ms
        kept = min(kept, ask(s, "GET", Q + "q")["messages"])
    disk = (max(used, saved) - empty) / count
    report("a million queued: memory", f"{memory:.0f}", "MiB", "60", memory <= 60)
    report("a million queued: disk each", f"{disk:.0f}", "B", "320", disk <= 320,
           f"{(used - empty) / count:.0f} while it runs, {(saved - empty) / count:.0f} with its state saved; {taken >> 20} MiB taken with what is written ahead")
    report("a million queued: ready after kill -9", f"{ready:.0f}", "ms", "1,000", ready <= 1000 and kept == count, f"{kept:,} there; {again:.0f} ms after a stop")


def bench_due():
    with Server("") as s:
        all_at_once = load(s, declare(s, "all"), "due", 8000, 100000)
        few = load(s, declare(s, "few"), "due", 2000, 20)
    report("100,000 due at one instant, all begun", all_at_once["all_ms"], "ms", "5,000", all_at_once["all_ms"] <= 5000)
    report("due to start otherwise, p99", few["p99_us"], "us", "50,000", few["p99_us"] <= 50000, f"p50 {few['p50_us']} us")


def bench_delayed():
    """A million that are due one after the other, 10,000 a second."""
    count = 1000000
    with Server("") as s:
        t = load(s, declare(s, "q"), "spread", 60000, count)
    report("a million delayed, due to start, p50", t["p50_us"], "us", "50,000", t["p50_us"] <= 50000, f"p99 {t['p99_us']} us, longest {t['max_us']} us")


def bench_blocked():
    """Claims behind 100,000 records whose gate is closed, and without them, in turns."""
    count, blocked, turns = 30000, 100000, []
    with Server("") as s:
        ask(s, "POST", "/api/gates/shut/close", {"delay": "1h"})
        for turn in range(6):
            q = declare(s, f"q{turn}")
            for _ in range(blocked // 1000 if turn % 2 else 0):
                ask(s, "POST", Q + q + "/messages", ('{"body":1,"gate":"shut"}\n' * 1000))
            load(s, q, "stream", 1000, count)
            turns.append(load(s, q, "consume", 100, count)["rate"])
    without, behind = sorted(turns[0::2])[1], sorted(turns[1::2])[1]
    report("claim behind 100,000 blocked", f"{behind / without:.2f}", "times none", "no slower", behind >= 0.9 * without, f"{behind:,.0f}/s, without {without:,.0f}/s")


BENCHES = {"publish": bench_publish, "consume": bench_consume, "jobs": bench_jobs, "latency": bench_latency, "million": bench_million,
           "due": bench_due, "delayed": bench_delayed, "blocked": bench_blocked}
