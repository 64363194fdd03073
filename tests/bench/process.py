"""The program itself: its size, start and rest."""
import os, subprocess, tempfile, time

from kit import KOAN, NOTE, Server, report, rss_mib, wrk


def bench_start():
    times = []
    for _ in range(7):
        with Server(NOTE) as s:
            times.append(s.ready_ms)
            time.sleep(0.5)
            rss = rss_mib(s.process.pid)
    ms = sorted(times)[3]
    report("empty start to ready", f"{ms:.0f}", "ms", "100 ms", ms < 100, f"of 7: {min(times):.0f}..{max(times):.0f}")
    report("idle memory (RSS)", f"{rss:.1f}", "MiB", "20 MiB", rss < 20)


def running_ns(pid):
    return sum(int(open(f"/proc/{pid}/task/{t}/schedstat").read().split()[0]) for t in os.listdir(f"/proc/{pid}/task"))


def bench_idle():
    """Threads that look about before they sleep must stop doing so when the load ends."""
    with Server(NOTE) as s:
        wrk(s.url + "/livez", 1, seconds=1)
        time.sleep(0.5)
        before = running_ns(s.process.pid)
        time.sleep(5)
        used = (running_ns(s.process.pid) - before) / 5e7
        report("idle processor time", f"{used:.2f}", "% of a core", "0.5 %", used < 0.5)


def bench_binary():
    mib = os.path.getsize(KOAN) / (1 << 20)
    report("binary", f"{mib:.1f}", "MiB", "8 MiB", mib < 8)


def folder_bytes(dir):
    return sum(os.path.getsize(os.path.join(d, f)) for d, _, files in os.walk(dir) for f in files)


def bench_full_start():
    """A gibibyte of state and log, the process killed in the middle of writing, then started again."""
    with tempfile.NamedTemporaryFile("w", suffix=".ndjson") as f:
        for i in range(1000000):
            f.write(f'{{"title":"note number {i}","body":"{"x" * 300}","n":{i}}}\n')
        f.flush()
        with Server(NOTE) as s:
            load = [KOAN, "import", "--url", s.url, "--entity", "Note", f.name]
            while folder_bytes(s.data) < 1 << 30:
                subprocess.run(load, check=True, stdout=subprocess.DEVNULL)
            last = subprocess.Popen(load, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            time.sleep(2)
            s.process.kill()
            s.process.wait()
            last.kill()
            last.wait()
            size = folder_bytes(s.data) / (1 << 30)
            s.start()
            report("start after kill -9 with 1 GiB", f"{s.ready_ms / 1000:.2f}", "s", "3 s", s.ready_ms < 3000,
                   f"{size:.2f} GiB of state and log; RSS {rss_mib(s.process.pid):.0f} MiB")


BENCHES = {"binary": bench_binary, "start": bench_start, "idle": bench_idle, "full-start": bench_full_start}
