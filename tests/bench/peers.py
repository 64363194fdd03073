"""What others do on this machine in the same run."""
import os, re, shutil, subprocess, tempfile, time

from kit import HELLO, SECONDS, free_port, wrk


def hello_rate(threads):
    """A server that does nothing but epoll and a fixed answer."""
    port = free_port()
    p = subprocess.Popen([HELLO, str(port), str(threads)])
    time.sleep(0.2)
    rate = wrk(f"http://127.0.0.1:{port}/")[0]
    p.kill()
    p.wait()
    return rate


def postgres_bin():
    root = "/usr/lib/postgresql"
    found = sorted(os.path.join(root, v, "bin") for v in os.listdir(root)) if os.path.isdir(root) else []
    return next((b for b in reversed(found) if os.path.exists(os.path.join(b, "initdb"))), None)


INSERT = "INSERT INTO note (title, body, n) VALUES ('a note of some length, to be found again', repeat('x', 120), 17);"


def postgres_rate():
    """Durable single-row inserts through its own protocol, 64 connections, prepared; None where it is not installed."""
    bin = postgres_bin()
    if not bin or not shutil.which("pgbench"):
        return None
    dir = tempfile.mkdtemp(prefix="koan-pg-")
    port = free_port()
    user = []
    if os.getuid() == 0:  # it will not run as root
        shutil.chown(dir, "postgres", "postgres")
        user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
    data = os.path.join(dir, "data")
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": "/"}
    subprocess.run(user + [os.path.join(bin, "initdb"), "-D", data, "-A", "trust", "-U", "postgres"], check=True, **quiet)
    server = subprocess.Popen(user + [os.path.join(bin, "postgres"), "-D", data, "-p", str(port), "-k", dir,
                                      "-c", "listen_addresses=127.0.0.1"], **quiet)
    psql = ["psql", "-h", "127.0.0.1", "-p", str(port), "-U", "postgres", "-qc"]
    table = "CREATE TABLE note (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), title text, body text, n bigint, at timestamptz DEFAULT now())"
    try:
        for _ in range(100):
            if subprocess.run(psql + [table], **quiet).returncode == 0:
                break
            time.sleep(0.1)
        script = os.path.join(dir, "insert.sql")
        open(script, "w").write(INSERT)
        out = subprocess.run(["pgbench", "-h", "127.0.0.1", "-p", str(port), "-U", "postgres", "-n", "-M", "prepared", "-c", "64", "-j", "1",
                              "-T", str(SECONDS), "-f", script, "postgres"], capture_output=True, text=True, check=True).stdout
        return float(re.search(r"tps = ([\d.]+)", out)[1])
    finally:
        server.terminate()
        server.wait(30)
        shutil.rmtree(dir, ignore_errors=True)
