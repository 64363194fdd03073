"""What the benchmarks share: the release binary in a folder of its own, wrk, one line for each figure."""
import json, os, re, shutil, signal, socket, subprocess, sys, tempfile, time, urllib.request

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
KOAN = os.path.join(ROOT, "build/rel/koan")
FEED = os.path.join(ROOT, "build/rel/tests/bench/feed_bench")
HELLO = os.path.join(ROOT, "build/rel/tests/bench/hello")
SECONDS = int(os.environ.get("BENCH_SECONDS", "8"))
NOTE = 'entity "Note" { fields = { title = text { required = true, max = 200 }, body = text {}, n = int {} } }\n'


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def get(url):
    with urllib.request.urlopen(url, timeout=10) as r:
        return r.read()


def rss_mib(pid):
    for line in open(f"/proc/{pid}/status"):
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024


class Server:
    """koan serve in a folder of its own; ready when the with-block begins."""

    def __init__(self, script, where=None, args=()):
        self.dir = tempfile.mkdtemp(prefix="koan-bench-", dir=where)
        self.scripts = script if os.path.isdir(script) else os.path.join(self.dir, "scripts")
        if not os.path.isdir(script):
            os.makedirs(self.scripts)
            open(os.path.join(self.scripts, "app.lua"), "w").write(script)
        self.args, self.port = args, free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.data = os.path.join(self.dir, "data")

    def __enter__(self):
        self.log = open(os.path.join(self.dir, "log"), "w")
        return self.start()

    def start(self):
        began = time.monotonic()
        self.process = subprocess.Popen([KOAN, "serve", "--data", self.data, "--scripts", self.scripts,
                                         "--listen", f"127.0.0.1:{self.port}", *self.args], stderr=self.log, stdout=self.log)
        while True:
            try:
                get(self.url + "/readyz")
                break
            except OSError:
                if self.process.poll() is not None or time.monotonic() - began > 20:
                    sys.exit("koan did not start:\n" + open(self.log.name).read())
                time.sleep(0.002)
        self.ready_ms = (time.monotonic() - began) * 1000
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)
        shutil.rmtree(self.dir, ignore_errors=True)


def wrk(url, connections=64, threads=1, script=None, seconds=SECONDS):
    """Requests a second, p50 and p99 in ms, answers that were no 2xx."""
    command = ["wrk", "-t", str(threads), "-c", str(connections), "-d", f"{seconds}s", "--latency"]
    if script:
        path = tempfile.mktemp(suffix=".lua")
        open(path, "w").write(script)
        command += ["-s", path]
    out = subprocess.run(command + [url], capture_output=True, text=True, check=True).stdout
    unit = {"us": 0.001, "ms": 1, "s": 1000}
    def latency(p):
        m = re.search(rf"{p}%\s+([\d.]+)(us|ms|s)", out)
        return float(m[1]) * unit[m[2]]
    bad = re.search(r"Non-2xx or 3xx responses: (\d+)", out)
    return float(re.search(r"Requests/sec:\s+([\d.]+)", out)[1]), latency(50), latency(99), int(bad[1]) if bad else 0


def report(name, value, unit, reach, ok, more=""):
    mark = "ok  " if ok else "MISS"
    print(f"{mark}  {name:<34} {value:>12} {unit:<12} reach {reach:<26} {more}", flush=True)
