/* The queue alone, on a real ledger, without HTTP and scripts:
 *
 *   queue_bench [DIR [SECONDS [MILLIONS]]]     SECONDS 0: the million alone, in fresh memory
 *
 * publish     closed-loop publishers, each message a durable unit of its own
 * batch       units of 100 messages, 8 under way
 * consume     what was published, by one consumer with credit 100 that acks in units of 100
 * through     publishers and that consumer together
 * a million   messages of 200 bytes that wait: memory, disk, restart */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "io/loop.h"
#include "queue/queue.h"
#include "support/ledger_kit.h"

enum { UNITS_MAX = 1024, BODY = 200, CREDIT = 100, LATENCY_MAX = 2000000 };

struct bench {
    struct kit_node node;
    struct queues *queues;
    struct domain domain;
    struct loop *clients;
    struct unit units[UNITS_MAX];
    uint64_t began[UNITS_MAX];
    uint32_t serial, batch, active;
    uint64_t sent, failed, end_ns, left;
    uint64_t *latency;
    size_t latency_count;

    struct queue_consumer consumer;
    struct unit settle;
    struct core_effect *grants; /* not settled yet */
    size_t grants_count, grants_cap;
    bool settling;
    uint64_t acked, goal;
};

static struct bench bench;

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void fail(const char *what, const struct err *e)
{
    fprintf(stderr, "queue_bench: %s: %s\n", what, e->text);
    exit(1);
}

static void clear(struct unit *u)
{
    buf_reset(&u->txn.body);
    u->txn.ops = 0;
}

static void propose(struct unit *u)
{
    struct err e = ERR_INIT;
    if (ledger_propose(bench.node.ledger, u, &e) < 0)
        fail("propose", &e);
}

/* ---- publishing ---- */

static struct uuid id_of(uint32_t n)
{
    struct uuid id = {.b = {1}};
    memcpy(id.b + 4, &n, sizeof n);
    return id;
}

static void publish(struct unit *u)
{
    static const char body[BODY];
    struct err e = ERR_INIT;
    clear(u);
    for (uint32_t i = 0; i < bench.batch; i++) {
        struct queue_message m = {
            .send = {.queue = "q", .id = id_of(++bench.serial), .priority = CORE_PRIORITY},
            .body = body,
            .body_len = BODY};
        if (queue_txn_send(&u->txn, &m, &e) < 0)
            fail("send", &e);
    }
    bench.began[u - bench.units] = now_ns();
    propose(u);
}

static void published(struct unit *u)
{
    uint64_t now = now_ns();
    if (u->err.code != 0)
        fail("a publisher", &u->err);
    bench.sent += bench.batch;
    if (bench.latency_count < LATENCY_MAX)
        bench.latency[bench.latency_count++] = now - bench.began[u - bench.units];
    bool more = bench.left > 0 ? (bench.sent + bench.batch * (bench.active - 1) < bench.left)
                               : now < bench.end_ns;
    if (more)
        publish(u);
    else if (--bench.active == 0)
        loop_stop(bench.clients);
}

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static void publish_run(const char *name, uint32_t publishers, uint32_t batch, double seconds,
                        uint64_t count)
{
    bench.active = publishers;
    bench.batch = batch;
    bench.sent = bench.latency_count = 0;
    bench.left = count;
    uint64_t began = now_ns();
    bench.end_ns = began + (uint64_t)(seconds * 1e9);
    for (uint32_t i = 0; i < publishers; i++)
        publish(&bench.units[i]);
    loop_run(bench.clients);
    double took = (double)(now_ns() - began) / 1e9;
    size_t n = bench.latency_count;
    qsort(bench.latency, n, sizeof *bench.latency, by_value);
    printf("%-28s %9.0f messages/s   p50 %6.0f us  p99 %6.0f us\n", name, (double)bench.sent / took,
           (double)bench.latency[n / 2] / 1e3, (double)bench.latency[n * 99 / 100] / 1e3);
    fflush(stdout);
}

/* ---- consuming: a fingerprint says which of our ids it is ---- */

static uint32_t *serials; /* by fingerprint: open addressing */
static uint32_t serials_mask;

static void serials_make(uint32_t count)
{
    uint32_t size = 16;
    while (size < count * 2)
        size *= 2;
    mem_free(serials);
    serials = mem_new_array(size, sizeof *serials);
    serials_mask = size - 1;
    for (uint32_t n = 1; n <= count; n++) {
        struct uuid id = id_of(n);
        uint32_t at = (uint32_t)core_fingerprint(&id) & serials_mask;
        while (serials[at] != 0)
            at = (at + 1) & serials_mask;
        serials[at] = n;
    }
}

static struct uuid id_by(uint64_t fingerprint)
{
    for (uint32_t at = (uint32_t)fingerprint & serials_mask;; at = (at + 1) & serials_mask) {
        struct uuid id = id_of(serials[at]);
        if (core_fingerprint(&id) == fingerprint)
            return id;
    }
}

static void settle_more(void)
{
    struct err e = ERR_INIT;
    if (bench.settling || bench.grants_count == 0)
        return;
    clear(&bench.settle);
    for (size_t i = 0; i < bench.grants_count; i++) {
        struct core_settle s = {
            .id = id_by(bench.grants[i].id), .token = bench.grants[i].token, .outcome = SETTLE_ACK};
        if (queue_txn_settle(&bench.settle.txn, &s, NULL, 0, &e) < 0)
            fail("settle", &e);
    }
    bench.acked += bench.grants_count;
    bench.grants_count = 0;
    bench.settling = true;
    propose(&bench.settle);
}

static void settled(struct unit *u)
{
    if (u->err.code != 0)
        fail("a settle", &u->err);
    bench.settling = false;
    if (bench.acked >= bench.goal)
        loop_stop(bench.clients);
    else
        settle_more();
}

static void arrived(struct queue_consumer *c)
{
    size_t count;
    struct core_effect *got = queues_take(bench.queues, c, &count);
    if (bench.grants_count + count > bench.grants_cap) {
        bench.grants_cap = 2 * (bench.grants_count + count);
        bench.grants = mem_try_resize(bench.grants, bench.grants_cap * sizeof *bench.grants);
    }
    for (size_t i = 0; i < count; i++) {
        if (got[i].kind == EFFECT_GRANT)
            bench.grants[bench.grants_count++] = got[i];
    }
    mem_free(got);
    settle_more();
}

static void waited(struct unit *u)
{
    if (u->err.code != 0)
        fail("a unit", &u->err);
    loop_stop(bench.clients);
}

static void unit_wait(struct unit *u)
{
    void (*done)(struct unit *) = u->done;
    u->done = waited;
    propose(u);
    loop_run(bench.clients);
    u->done = done;
    clear(u);
}

static void consume_run(const char *name, uint64_t count)
{
    static const char *const queues[] = {"q"};
    static bool listening;
    bench.consumer.id = id_of(0);
    bench.consumer.home = loop_runner(bench.clients);
    bench.consumer.arrived = arrived;
    bench.acked = 0;
    bench.goal = count;
    serials_make(bench.serial);
    if (!listening)
        queues_listen(bench.queues, &bench.consumer);
    listening = true;
    clear(&bench.units[0]);
    queue_txn_open(&bench.units[0].txn, &(struct core_consumer){.id = bench.consumer.id,
                                                                .node = "bench",
                                                                .queues = queues,
                                                                .queues_count = 1,
                                                                .lease_ms = 3600000,
                                                                .credit = CREDIT});
    uint64_t began = now_ns();
    unit_wait(&bench.units[0]);
    settle_more();
    if (bench.acked < bench.goal || bench.settling)
        loop_run(bench.clients);
    double took = (double)(now_ns() - began) / 1e9;
    queue_txn_leave(&bench.units[0].txn, &bench.consumer.id);
    unit_wait(&bench.units[0]);
    printf("%-28s %9.0f messages/s\n", name, (double)count / took);
    fflush(stdout);
}

/* ---- a million ---- */

static long rss_kib(void)
{
    char line[256];
    long kib = 0;
    FILE *f = fopen("/proc/self/status", "r");
    while (f != NULL && fgets(line, sizeof line, f) != NULL) {
        if (sscanf(line, "VmRSS: %ld", &kib) == 1)
            break;
    }
    if (f != NULL)
        fclose(f);
    return kib;
}

static void closed(void *arg)
{
    loop_stop(arg);
}

static void up(const char *dir)
{
    struct err e = ERR_INIT;
    kit_node_init(&bench.node, dir);
    bench.queues = queues_new();
    bench.domain = *queues_domain(bench.queues);
    bench.node.also = &bench.domain;
    if (kit_node_open(&bench.node, &e) < 0)
        fail("open", &e);
    queues_start(bench.queues, bench.node.ledger, loop_world(bench.node.loop), "n");
    loop_start(bench.node.loop, &e);
}

static void stop_task(struct task *t)
{
    (void)t;
    queues_stop(bench.queues);
    ledger_close(bench.node.ledger, closed, bench.node.loop);
}

static void down(void)
{
    static struct task task = {.run = stop_task};
    runner_post(loop_runner(bench.node.loop), &task);
    loop_join(bench.node.loop);
    queues_free(bench.queues);
    loop_free(bench.node.loop);
}

static void million(const char *dir, uint64_t count)
{
    long before = rss_kib();
    publish_run("fill, 100 a unit", 8, 100, 0, count);
    printf("%-28s %9.1f bytes of memory each\n", "they wait",
           (double)(rss_kib() - before) * 1024 / (double)count);
    down();
    uint64_t began = now_ns();
    up(dir);
    printf("%-28s %9.0f ms\n", "restart to ready", (double)(now_ns() - began) / 1e6);
}

static void runs(double seconds)
{
    publish_run("publish, 1", 1, 1, seconds, 0);
    publish_run("publish, 64", 64, 1, seconds, 0);
    publish_run("publish, 1000 under way", 1000, 1, seconds, 0);
    publish_run("publish, 100 a unit", 8, 100, seconds, 0);
    consume_run("consume and ack", bench.serial);
}

int main(int argc, char **argv)
{
    char dir[256];
    struct err e = ERR_INIT;
    if (argc > 1)
        snprintf(dir, sizeof dir, "%s", argv[1]);
    else
        kit_dir(dir);
    double seconds = argc > 2 ? atof(argv[2]) : 3;
    uint64_t count = (uint64_t)((argc > 3 ? atof(argv[3]) : 1) * 1e6);
    bench.latency = mem_try(LATENCY_MAX * sizeof *bench.latency);
    if (loop_new("clients", &bench.clients, &e) < 0)
        fail("loop", &e);
    up(dir);
    for (int i = 0; i < UNITS_MAX; i++)
        unit_init(&bench.units[i], loop_runner(bench.clients), published);
    unit_init(&bench.settle, loop_runner(bench.clients), settled);
    struct core_queue q = {.name = "q"};
    core_queue_defaults(&q);
    queue_txn_declare(&bench.units[0].txn, &q);
    unit_wait(&bench.units[0]);
    if (seconds > 0)
        runs(seconds);
    if (count > 0)
        million(dir, count);
    down();
    for (int i = 0; i < UNITS_MAX; i++)
        unit_fini(&bench.units[i]);
    unit_fini(&bench.settle);
    loop_free(bench.clients);
    if (argc <= 1)
        kit_dir_remove(dir);
    return 0;
}
