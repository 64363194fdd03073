"""The same operations on stores of 10 thousand, 100 thousand, a million (and, with BENCH_GROWTH=10000000, ten million) records: what each
costs as the store grows, beside what the logarithm allows."""
import http.client, json, math, os, subprocess, tempfile, time

from entities import LIST, median
from kit import KOAN, Server, get, report, rss_mib, wrk

ENTITY = 'entity "Item" { fields = { name = text {}, group = int {}, n = int {} }, index = { { "group", "-n" } } }\n'
MOST = int(os.environ.get("BENCH_GROWTH", "1000000"))
SECONDS = 2
EXTRA = 50000  # rows of the import that is measured at each size

HEAD = """wrk.headers["Content-Type"] = "application/json"
math.randomseed(os.time())
local function id() return string.format("%%012d", math.random(0, %d)) end
"""
GET = HEAD + 'request = function() return wrk.format("GET", "/api/item/" .. id()) end'
PATCH = HEAD + """request = function()
  return wrk.format("PATCH", "/api/item/" .. id(), nil, '{"n":' .. math.random(0, 1000000) .. '}')
end"""
CREATE = HEAD + """request = function()
  return wrk.format("POST", "/api/item", nil, '{"name":"one more","group":' .. math.random(100, 199) .. ',"n":' .. math.random(0, 1000000) .. '}')
end"""
# One connection: a record is made in the midst of the others, then removed.
PASSING = HEAD + """local last
request = function()
  if last then
    local path = last
    last = nil
    return wrk.format("DELETE", path)
  end
  last = "/api/item/" .. id() .. "x"
  return wrk.format("PUT", last, nil, '{"name":"passing","group":7,"n":' .. math.random(0, 1000000) .. '}')
end"""


def fill(s, first, last):
    """Records first..last-1, ids in order, values not; microseconds a row, on the clock and of the server's processor time."""
    with tempfile.NamedTemporaryFile("w", suffix=".ndjson") as f:
        for i in range(first, last):
            f.write(f'{{"id":"{i:012d}","name":"item number {i}","group":{i % 100},"n":{i * 7919 % 1000003}}}\n')
        f.flush()
        began, before = time.monotonic(), cpu_s(s.process.pid)
        subprocess.run([KOAN, "import", "--url", s.url, "--entity", "Item", f.name], check=True, stdout=subprocess.DEVNULL)
        took, used = time.monotonic() - began, cpu_s(s.process.pid) - before
        return took / (last - first) * 1e6, used / (last - first) * 1e6


def feed_us(s):
    """From asking for the feed at its present end until it has begun."""
    c = http.client.HTTPConnection("127.0.0.1", s.port, timeout=10)
    c.request("POST", "/api/item", json.dumps({"name": "a", "group": 1, "n": 1}), {"Content-Type": "application/json"})
    seq = (answer := c.getresponse()).getheader("X-Koan-Seq")
    answer.read()
    times = []
    for _ in range(100):
        began = time.perf_counter()
        one = http.client.HTTPConnection("127.0.0.1", s.port, timeout=10)
        one.request("GET", f"/api/item/changes?since={seq}")
        one.getresponse().read(1)
        times.append((time.perf_counter() - began) * 1e6)
        one.close()
    return median(times)


def cpu_s(pid):
    return sum(map(int, open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()[11:13])) / os.sysconf("SC_CLK_TCK")


def load(s, row, name, path="/", connections=16, script=None):
    """Microseconds an operation: on the clock, and of the server's processor time; p99 in ms."""
    before = cpu_s(s.process.pid)
    rate, _, p99, bad = wrk(s.url + path, connections, script=script, seconds=SECONDS)
    used = (cpu_s(s.process.pid) - before) / (rate * SECONDS) * 1e6
    row[name] = (1e6 / rate, used, p99)
    if bad:
        print(f"      {name}: {bad:.0f} answers were no 2xx")


def measure(s, size):
    row = {}
    last = size - 1
    time.sleep(2)  # what the import has left to the disk
    load(s, row, "get, random id", script=GET % last)
    load(s, row, "page of 50, filtered and sorted", LIST)
    load(s, row, "create", script=CREATE % last)
    load(s, row, "patch, random id", script=PATCH % last)
    load(s, row, "save and remove, random id", connections=1, script=PASSING % last)
    row["feed from a position"] = (feed_us(s), None, None)
    s.process.terminate()
    s.process.wait(60)
    s.start()
    row["start"] = (s.ready_ms * 1000, None, None)
    row["memory"] = (rss_mib(s.process.pid), None, None)
    return row


def bench_growth():
    sizes = [n for n in (10000, 100000, 1000000, 10000000) if n <= MOST]
    rows, at = {}, 0
    with Server(ENTITY) as s:
        for size in sizes:
            if size - EXTRA > at:
                fill(s, at, size - EXTRA)
                at = size - EXTRA
            row = {"import, a row": (*fill(s, at, size), 0)}
            at = size
            rows[size] = {**row, **measure(s, size)}
            page = json.loads(get(s.url + LIST))
            assert len(page) == 50 and page == sorted(page, key=lambda r: -r["n"]), page[:2]
    for name in rows[sizes[0]]:
        print(f"      {name:<34} " + "  ".join(
            f"{n:>10,}: {v[0]:8.1f}" + (f" (cpu {v[1]:5.1f}, p99 {v[2]:5.1f} ms)" if v[1] is not None else "") for n, v in
            ((n, rows[n][name]) for n in sizes)))
    allowed = math.log(sizes[-1]) / math.log(sizes[0])
    worst, ratio = max(((name, (rows[sizes[-1]][name][1] or rows[sizes[-1]][name][0]) / (first[1] or first[0]))
                        for name, first in rows[sizes[0]].items() if name not in ("start", "memory")), key=lambda x: x[1])
    report(f"growth, {sizes[0]:,} to {sizes[-1]:,} records", f"{ratio:.2f}", "times", f"{allowed:.2f}, the logarithm's", ratio <= allowed,
           f"the worst: {worst}; processor time where it is known, else the clock")


BENCHES = {"growth": bench_growth}
