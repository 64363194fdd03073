// Load on other queues through the clients that their users have. From tests/bench/queues.py:
//
//   node queue_clients.mjs PEER publish WAYS FLIGHT COUNT SECONDS PORT     WAYS connections or channels, FLIGHT under way on each
//   node queue_clients.mjs PEER consume 1 PREFETCH COUNT SECONDS PORT      what was published, each acknowledged
//   node queue_clients.mjs PEER jobs 1 CONCURRENCY COUNT SECONDS PORT      no-op jobs, worked
//
// Ends after COUNT or SECONDS and prints {"count": .., "rate": ..}. Bodies have 200 bytes. What is published is durable when it is
// counted, as the server was told.
import { createRequire } from "node:module";
import net from "node:net";

const require = createRequire(process.env.BENCH_NPM + "/");
const [peer, verb, ways, flight, count, seconds, port] = process.argv.slice(2).map((x, i) => (i < 2 ? x : Number(x)));
const body = Buffer.alloc(200, "x");

let done = 0, began;

function begin() {
  began = process.hrtime.bigint();
}

function passed() {
  return Number(process.hrtime.bigint() - began) / 1e9;
}

// `one` is called until COUNT have ended or the time is over, FLIGHT at a time on each of `senders`.
async function publishing(senders) {
  let begun = 0;
  begin();
  await Promise.all(senders.flatMap((one) => Array.from({ length: flight }, async () => {
    for (; begun++ < count && passed() < seconds; done++) await one();
  })));
}

// Ends when `each` was called COUNT times or the time is over.
function counted() {
  let end;
  const ended = new Promise((resolve) => { end = resolve; });
  begin();
  setTimeout(end, seconds * 1000).unref();
  return { each: () => { if (++done === count) end(); }, ended };
}

const rabbitmq = {
  async open() {
    this.connection = await require("amqplib").connect(`amqp://127.0.0.1:${port}`);
    this.channels = await Promise.all(Array.from({ length: ways }, () => this.connection.createConfirmChannel()));
    await this.channels[0].assertQueue("bench", { durable: true, arguments: { "x-queue-type": "quorum" } });
  },
  publish() {
    return publishing(this.channels.map((c) => () => new Promise((resolve, reject) => {
      c.sendToQueue("bench", body, { persistent: true }, (e) => (e ? reject(e) : resolve()));
    })));
  },
  async consume() {
    const c = this.channels[0];
    await c.prefetch(flight);
    const { each, ended } = counted();
    await c.consume("bench", (m) => { c.ack(m); each(); });
    await ended;
  },
};

const redis = {
  async open() {
    const { Redis } = require("ioredis");
    this.connections = Array.from({ length: ways }, () => new Redis(port));
    await this.connections[0].xgroup("CREATE", "bench", "g", "0", "MKSTREAM").catch(() => {});
  },
  publish() {
    return publishing(this.connections.map((c) => () => c.xadd("bench", "*", "b", body)));
  },
  async consume() {
    const c = this.connections[0];
    begin();
    while (done < count && passed() < seconds) {
      const got = await c.xreadgroup("GROUP", "g", "me", "COUNT", flight, "STREAMS", "bench", ">");
      const ids = got[0][1].map((m) => m[0]);
      await c.xack("bench", "g", ...ids);
      done += ids.length;
    }
  },
};

const nats = {
  async open() {
    const { connect, AckPolicy } = require("nats");
    this.connections = await Promise.all(Array.from({ length: ways }, () => connect({ port })));
    const manager = await this.connections[0].jetstreamManager();
    await manager.streams.add({ name: "bench", subjects: ["bench"], storage: "file" });
    await manager.consumers.add("bench", { durable_name: "g", ack_policy: AckPolicy.Explicit });
  },
  publish() {
    return publishing(this.connections.map((c) => { const js = c.jetstream(); return () => js.publish("bench", body); }));
  },
  async consume() {
    const consumer = await this.connections[0].jetstream().consumers.get("bench", "g");
    begin();
    for await (const m of await consumer.consume({ max_messages: flight })) {
      m.ack();
      if (++done === count || passed() > seconds) break;
    }
    await this.connections[0].flush();
  },
};

// Its protocol is text: an answer a command, in order.
class Beanstalk {
  constructor() {
    this.waiting = [];
    this.text = "";
    this.socket = net.connect(port, "127.0.0.1");
    this.socket.setNoDelay(true);
    this.socket.on("data", (d) => this.read(d.toString("latin1")));
  }
  read(text) {
    this.text += text;
    for (let end; (end = this.text.indexOf("\r\n")) >= 0;) {
      const line = this.text.slice(0, end), words = line.split(" ");
      const size = words[0] === "RESERVED" ? Number(words[2]) + 2 : 0;
      if (this.text.length < end + 2 + size) return;
      this.text = this.text.slice(end + 2 + size);
      this.waiting.shift()(words);
    }
  }
  say(text) {
    this.socket.write(text, "latin1");
    return new Promise((resolve) => this.waiting.push(resolve));
  }
}

const beanstalkd = {
  async open() {
    this.connections = Array.from({ length: ways }, () => new Beanstalk());
  },
  publish() {
    const put = `put 0 0 60 ${body.length}\r\n${body}\r\n`;
    return publishing(this.connections.map((c) => () => c.say(put)));
  },
  async consume() {
    const c = this.connections[0];
    await publishing([async () => c.say(`delete ${(await c.say("reserve\r\n"))[1]}\r\n`)]);
  },
};

const bullmq = {
  async open() {
    const { Queue, Worker } = require("bullmq");
    this.Worker = Worker;
    this.options = { connection: { host: "127.0.0.1", port }, defaultJobOptions: { removeOnComplete: true } };
    this.queue = new Queue("bench", this.options);
  },
  async jobs() {
    for (let left = count; left > 0; left -= 1000)
      await this.queue.addBulk(Array.from({ length: Math.min(left, 1000) }, (_, n) => ({ name: "j", data: { n } })));
    const { each, ended } = counted();
    const worker = new this.Worker("bench", async () => {}, { ...this.options, concurrency: flight, removeOnComplete: { count: 0 } });
    worker.on("completed", each);
    await ended;
  },
};

// Jobs in tables of PostgreSQL, each added by a commit of its own. Batches as its guide on performance says.
const graphile = {
  async open() {
    this.worker = require("graphile-worker");
    const { Pool } = createRequire(require.resolve("graphile-worker"))("pg"), max = Math.min(ways * flight, 64);
    this.pool = new Pool({ host: "127.0.0.1", port, user: "postgres", database: "postgres", max });
    this.logger = new this.worker.Logger(() => () => {});
    this.utils = await this.worker.makeWorkerUtils({ pgPool: this.pool, logger: this.logger });
    await this.utils.migrate();
    await Promise.all(Array.from({ length: max }, () => this.pool.query("SELECT pg_sleep(0.1)")));
  },
  publish() {
    const one = () => this.utils.addJob("j", { body: body.toString() });
    return publishing(Array.from({ length: ways }, () => one));
  },
  async jobs() {
    for (let left = count; left > 0; left -= 1000)
      await this.utils.addJobs(Array.from({ length: Math.min(left, 1000) }, (_, n) => ({ identifier: "j", payload: { n } })));
    const { each, ended } = counted();
    const runner = await this.worker.run({
      pgPool: this.pool, taskList: { j: async () => {} }, noHandleSignals: true, logger: this.logger,
      preset: { worker: { concurrentJobs: flight, localQueue: { size: 5 * flight }, completeJobBatchDelay: 0 } },
    });
    runner.events.on("job:complete", each);
    await ended;
  },
};

const peers = { rabbitmq, redis, nats, beanstalkd, bullmq, "graphile-worker": graphile };
await peers[peer].open();
await peers[peer][verb]();
console.log(JSON.stringify({ count: done, rate: done / passed() }));
process.exit(0);
