"""What others do on this machine in the same run."""
import os, re, shutil, subprocess, sys, tempfile, time

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


QUIET = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": "/"}
INSERT = "INSERT INTO note (title, body, n) VALUES ('a note of some length, to be found again', repeat('x', 120), 17);"


class Postgres:
    """Debian's PostgreSQL with its own defaults, commits synced. Where it is not installed the with-block gives None."""

    def __enter__(self):
        bin = postgres_bin()
        if not bin:
            self.process = None
            return None
        self.dir, self.port = tempfile.mkdtemp(prefix="koan-pg-"), free_port()
        user = []
        if os.getuid() == 0:  # it will not run as root
            shutil.chown(self.dir, "postgres", "postgres")
            user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
        data = os.path.join(self.dir, "data")
        subprocess.run(user + [os.path.join(bin, "initdb"), "-D", data, "-A", "trust", "-U", "postgres"], check=True, **QUIET)
        self.process = subprocess.Popen(user + [os.path.join(bin, "postgres"), "-D", data, "-p", str(self.port), "-k", self.dir, "-c",
                                                "listen_addresses=127.0.0.1", "-c", "max_connections=200"], **QUIET)
        for _ in range(100):
            if self.sql("SELECT 1") == 0:
                return self
            time.sleep(0.1)
        sys.exit("PostgreSQL did not start")

    def sql(self, text):
        return subprocess.run(["psql", "-h", "127.0.0.1", "-p", str(self.port), "-U", "postgres", "-qc", text], **QUIET).returncode

    def __exit__(self, *_):
        if self.process is None:
            return
        self.process.terminate()
        self.process.wait(30)
        shutil.rmtree(self.dir, ignore_errors=True)


def postgres_rate():
    """Durable single-row inserts through its own protocol, 64 connections, prepared; None where it is not installed."""
    with Postgres() as server:
        if server is None or not shutil.which("pgbench"):
            return None
        server.sql("CREATE TABLE note (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), title text, body text, n bigint, "
                   "at timestamptz DEFAULT now())")
        with tempfile.NamedTemporaryFile("w", suffix=".sql") as script:
            script.write(INSERT)
            script.flush()
            out = subprocess.run(["pgbench", "-h", "127.0.0.1", "-p", str(server.port), "-U", "postgres", "-n", "-M", "prepared", "-c", "64",
                                  "-j", "1", "-T", str(SECONDS), "-f", script.name, "postgres"], capture_output=True, text=True, check=True)
        return float(re.search(r"tps = ([\d.]+)", out.stdout)[1])
