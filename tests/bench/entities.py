"""Entities over HTTP: writing, reading, lists, imports, hooks; beside PostgreSQL and a bare epoll server."""
import json, os, random, resource, subprocess, tempfile, time, urllib.request

from peers import hello_rate, postgres_rate
from kit import FEED, KOAN, NOTE, SECONDS, Server, get, report, rss_mib, wrk

POST = """wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.body = '{"title": "a note of some length, to be found again", "body": "%s", "n": 17}'""" % ("x" * 120)
ITEM = 'entity "Item" { fields = { name = text {}, group = int {}, n = int {} }, index = { { "group", "-n" } } }\n'
HOOKED = NOTE.rstrip()[:-1] + ', before_save = function(c, prior, ctx) if #c.title > 100 then c.n = 0 end end }\n'


def bench_create():
    with Server(NOTE) as s:
        rate, p50, p99, bad = wrk(s.url + "/api/note", script=POST)
    peer = postgres_rate()
    ok = rate >= 20000 and not bad and (not peer or rate >= 2 * peer)
    report("entity create, 64 connections", f"{rate:,.0f}", "/s", "20,000/s and twice PostgreSQL", ok,
           f"PostgreSQL {f'{peer:,.0f}/s: {rate / peer:.1f} times' if peer else 'not here'}; p50 {p50:.1f} ms, p99 {p99:.1f} ms, {bad} refused")


def post(s, path, value):
    req = urllib.request.Request(s.url + path, data=json.dumps(value).encode(), headers={"Content-Type": "application/json"})
    return json.load(urllib.request.urlopen(req))


def bench_get():
    floor = max(hello_rate(1), hello_rate(2))
    with Server(NOTE) as s:
        id = post(s, "/api/note", {"title": "one", "body": "x" * 120, "n": 1})["id"]
        rate, p50, p99, bad = wrk(f"{s.url}/api/note/{id}")
        live = wrk(s.url + "/livez")[0]
        report("entity get by id, 64 connections", f"{rate:,.0f}", "/s", "60 % of a bare epoll hello", rate >= 0.6 * floor and not bad,
               f"hello {floor:,.0f}/s: {rate / floor:.0%}; p99 {p99:.1f} ms")
        report("hello through the server", f"{live:,.0f}", "/s", "80 % of a bare epoll hello", live >= 0.8 * floor, f"/livez: {live / floor:.0%}")


HELLO = 'route "GET /hello" { access = "public", run = function() return "hello world\\n" end }\n'


def bench_lua_hello():
    floor = max(hello_rate(1), hello_rate(2))
    with Server(HELLO) as s:
        assert get(s.url + "/hello") == b"hello world\n"
        rate, p50, p99, bad = wrk(s.url + "/hello")
    report("hello through a Lua handler", f"{rate:,.0f}", "/s", "65 % of a bare epoll hello", rate >= 0.65 * floor and not bad,
           f"hello {floor:,.0f}/s: {rate / floor:.0%}; p50 {p50:.2f} ms, p99 {p99:.1f} ms")


def rows_file(rows):
    f = tempfile.NamedTemporaryFile("w", suffix=".ndjson", delete=False)
    order = list(range(rows))
    random.Random(7).shuffle(order)
    for i in order:
        f.write(f'{{"name":"item number {i}","group":{i % 100},"n":{i}}}\n')
    f.close()
    return f.name


def import_rows(s, path):
    began = time.monotonic()
    subprocess.run([KOAN, "import", "--url", s.url, "--entity", "Item", path], check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - began


LIST = "/api/item?filter=%7B%22group%22%3A42%7D&sort=-n&pageSize=50&count=none"


def bench_list():
    rates = {}
    for rows in (10000, 100000, 1000000):
        path = rows_file(rows)
        with Server(ITEM) as s:
            import_rows(s, path)
            first = json.loads(get(s.url + LIST))
            assert first[0]["n"] == rows - 58 and len(first) == 50, first[0]
            rates[rows] = wrk(s.url + LIST)[0]
        os.unlink(path)
    rate = rates[100000]
    report("list 50 of 100,000 on an index", f"{rate:,.0f}", "/s", "8,000/s, whatever the size", rate >= 8000 and rates[1000000] >= 0.8 * rates[10000],
           f"of 10,000: {rates[10000]:,.0f}/s; of 1,000,000: {rates[1000000]:,.0f}/s")


def bench_import():
    path = rows_file(300000)
    with Server('entity "Item" { fields = { name = text {}, group = int {}, n = int {} } }\n') as s:
        took = import_rows(s, path)
        report("NDJSON import", f"{300000 / took:,.0f}", "rows/s", "100,000/s", 300000 / took >= 100000, f"RSS {rss_mib(s.process.pid):.0f} MiB")
    os.unlink(path)


def one_writer(s, seconds=2):
    """Saves one after the other on one connection: microseconds at the median."""
    return 1000 * wrk(s.url + "/api/note", 1, script=POST, seconds=seconds)[1]


def median(list):
    return sorted(list)[len(list) // 2]


def bench_hook():
    """Both servers at once, turn by turn, so that both meet the same neighbours."""
    plain, hooked = [], []
    with Server(NOTE) as a, Server(HOOKED) as b:
        for _ in range(5):
            plain.append(one_writer(a, 1))
            hooked.append(one_writer(b, 1))
    x, y = median(plain), median(hooked)
    report("before_save in Lua adds", f"{y - x:.0f}", "us", "30 us at the median", y - x < 30, f"{x:.0f} and {y:.0f} us a save")


def raw_sync(where, seconds=4, pause=0):
    """A bare write and fdatasync of 512 bytes into a file that is there, as our log has it; `pause` seconds between two."""
    path = os.path.join(where, "raw")
    fd = os.open(path, os.O_CREAT | os.O_WRONLY)
    os.write(fd, b"\0" * (8 << 20))
    os.fsync(fd)
    times, at, end = [], 0, time.monotonic() + seconds
    while time.monotonic() < end:
        began = time.perf_counter()
        os.pwrite(fd, b"x" * 512, at)
        os.fdatasync(fd)
        times.append((time.perf_counter() - began) * 1e6)
        at = (at + 512) % (8 << 20)
        time.sleep(pause)
    os.close(fd)
    os.unlink(path)
    return sorted(times)


def bench_writer():
    saves, raw = [], []
    with Server(NOTE) as s:
        for _ in range(5):
            raw.append(median(raw_sync(s.dir, 1)))
            saves.append(one_writer(s, 1))
    x, y = median(raw), median(saves)
    report("one writer, each save synced", f"{y / x:.2f}", "times", "1.5 times write + fdatasync", y <= 1.5 * x,
           f"median {y:.0f} us over HTTP; bare {x:.0f} us")


def bench_memory():
    """A million records, then readers and writers."""
    path = rows_file(1000000)
    with Server(ITEM) as s:
        import_rows(s, path)
        wrk(s.url + LIST)
        wrk(s.url + "/api/item", script=POST.replace("title", "name").replace(', "body": "' + "x" * 120 + '"', ""))
        mib = rss_mib(s.process.pid)
        report("memory at 1,000,000 records under load", f"{mib:.0f}", "MiB", "150 MiB", mib < 150)
    os.unlink(path)


def bench_feed():
    """Each change is sent to a thousand listeners, who sit on these cores too."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (4096, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    with Server(NOTE) as s:
        out = subprocess.run([FEED, str(s.port), "1000", "1000", str(SECONDS)], capture_output=True, text=True, check=True).stdout
        events, lost, p50, p99, sent = out.split()
        report("change feed, 1,000 listeners, p99", p99, "ms", "100 ms at 1,000 changes/s", float(p99) < 100 and lost == "0",
               f"p50 {p50} ms; {int(sent) / SECONDS:,.0f} changes/s, {int(events) / SECONDS:,.0f} events/s, {lost} lost")


BENCHES = {"create": bench_create, "get": bench_get, "lua-hello": bench_lua_hello, "list": bench_list, "import": bench_import, "hook": bench_hook,
           "writer": bench_writer, "memory": bench_memory, "feed": bench_feed}
