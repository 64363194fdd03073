"""Other queues on this machine in the same run: servers from Debian, clients from npm, each told to be durable."""
import json, os, shutil, socket, subprocess, sys, tempfile, time

from kit import ROOT, SECONDS, free_port
from peers import Postgres

sys.path.insert(0, os.path.join(ROOT, "tests"))
CLIENTS = ("amqplib@2.3.1", "nats@2.29.3", "ioredis@6.0.0", "bullmq@6.7.0", "graphile-worker@0.18.0")
START_S = 60


class Client:
    """What queue_clients.mjs does with the server `name` on `port`."""

    def load(self, verb, ways, flight, count):
        """What it did, {"count": .., "rate": ..}: COUNT, or as many as it could in SECONDS."""
        out = subprocess.run(["node", os.path.join(ROOT, "tests/bench/queue_clients.mjs"), self.name, verb, *map(str, (ways, flight, count)),
                              str(SECONDS), str(self.port)], env={**os.environ, "BENCH_NPM": clients()}, capture_output=True, text=True, timeout=300)
        if out.returncode:
            sys.exit(f"{self.name}: {out.stderr}")
        return json.loads(out.stdout)

    def rate(self, *what):
        return self.load(*what)["rate"]


class Peer(Client):
    """A server in a folder of its own. Without its program the with-block gives None."""

    def __init__(self, name, program, args, config=None, env=None):
        self.name, self.program = name, shutil.which(program, path=f"{tools()}:/usr/lib/rabbitmq/bin:/usr/sbin:{os.environ['PATH']}")
        self.args, self.config, self.env = args, config, env

    def __enter__(self):
        if self.program is None:
            return None
        self.dir, self.port = tempfile.mkdtemp(prefix=f"koan-{self.name}-"), free_port()
        fill = {"dir": self.dir, "port": self.port, "port2": free_port()}
        if self.config:
            open(os.path.join(self.dir, "config.conf"), "w").write(self.config.format(**fill))
        env = {**os.environ, **{k: v.format(**fill) for k, v in (self.env or {}).items()}}
        self.process = subprocess.Popen([self.program, *(a.format(**fill) for a in self.args)], env=env, cwd=self.dir,
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
        self.wait()
        return self

    def wait(self):
        end = time.monotonic() + START_S
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                if time.monotonic() > end or self.process.poll() is not None:
                    sys.exit(f"{self.name} did not start")
                time.sleep(0.05)

    def __exit__(self, *_):
        if self.program is None:
            return
        os.killpg(self.process.pid, 9)
        self.process.wait(30)
        shutil.rmtree(self.dir, ignore_errors=True)


class Graphile(Client):
    """graphile-worker on PostgreSQL."""
    name = "graphile-worker"

    def __enter__(self):
        self.server = Postgres()
        started = self.server.__enter__()
        if started:
            self.port = started.port
        return started and self

    def __exit__(self, *_):
        self.server.__exit__()


def tools():
    """Where packaging/setup keeps what it has unpacked."""
    return subprocess.run([os.path.join(ROOT, "packaging/setup"), "path"], capture_output=True, text=True, check=True).stdout.strip()


def clients():
    from e2e import npm
    return npm.programs("queue-clients-2", *CLIENTS)


def rabbitmq():
    return Peer("rabbitmq", "rabbitmq-server", [], "listeners.tcp.default = {port}\nloopback_users.guest = false\nvm_memory_high_watermark.absolute = 8GB\n",
                {"RABBITMQ_CONFIG_FILE": "{dir}/config", "RABBITMQ_MNESIA_BASE": "{dir}/db", "RABBITMQ_LOG_BASE": "{dir}/log",
                 "RABBITMQ_PID_FILE": "{dir}/pid", "RABBITMQ_NODENAME": "bench@localhost", "RABBITMQ_DIST_PORT": "{port2}",
                 "RABBITMQ_ENABLED_PLUGINS_FILE": "{dir}/plugins", "HOME": "{dir}", "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
                 "RABBITMQ_NODE_PORT": "{port}"})


def redis(policy=()):
    return Peer("redis", "redis-server", ["--port", "{port}", "--dir", "{dir}", "--appendonly", "yes", "--appendfsync", "always", "--save", "", *policy])


def bullmq():
    peer = redis(("--maxmemory-policy", "noeviction"))
    peer.name = "bullmq"
    return peer


def nats():
    return Peer("nats", "nats-server", ["-c", "{dir}/config.conf"],
                'listen: "127.0.0.1:{port}"\njetstream {{ store_dir: "{dir}", sync_interval: always }}\n')


def beanstalkd():
    return Peer("beanstalkd", "beanstalkd", ["-l", "127.0.0.1", "-p", "{port}", "-b", "{dir}", "-f", "0"])
