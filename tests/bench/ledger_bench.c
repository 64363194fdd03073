/* How many small durable units a second: closed-loop proposers on one thread, the ledger on
 * another.
 *
 *   ledger_bench [DIR [PROPOSERS [BYTES [SECONDS]]]] */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/stat.h"
#include "io/loop.h"
#include "support/ledger_kit.h"

struct bench {
    struct kit_node node;
    struct loop *clients;
    struct unit *units;
    uint64_t *began;
    int proposers, active;
    size_t bytes;
    uint64_t key, applied, failed, end_ns;
    uint64_t *latency;
    size_t latency_count;
    bool random_keys;
};

enum { LATENCY_MAX = 4000000 };

static struct bench bench;

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static uint64_t next_key(void)
{
    uint64_t k = ++bench.key;
    if (!bench.random_keys)
        return k;
    k *= 0x9e3779b97f4a7c15u;
    return (k ^ k >> 29) % 1000000;
}

static void bench_propose(struct unit *u)
{
    static char value[1 << 16];
    struct err e = ERR_INIT;
    buf_reset(&u->txn.body);
    u->txn.ops = 0;
    kit_put(u, next_key(), value, bench.bytes);
    bench.began[u - bench.units] = now_ns();
    if (ledger_propose(bench.node.ledger, u, &e) < 0) {
        fprintf(stderr, "ledger_bench: %s\n", e.text);
        exit(1);
    }
}

static void bench_done(struct unit *u)
{
    uint64_t now = now_ns();
    if (u->err.code == 0)
        bench.applied++;
    else
        bench.failed++;
    if (bench.latency_count < LATENCY_MAX)
        bench.latency[bench.latency_count++] = now - bench.began[u - bench.units];
    if (now < bench.end_ns)
        bench_propose(u);
    else if (--bench.active == 0)
        loop_stop(bench.clients);
}

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static void bench_run(int proposers, double seconds, bool random_keys)
{
    bench.proposers = bench.active = proposers;
    bench.random_keys = random_keys;
    bench.applied = bench.failed = bench.latency_count = 0;
    struct ledger_status a, b;
    ledger_status(bench.node.ledger, &a);
    uint64_t began = now_ns();
    bench.end_ns = began + (uint64_t)(seconds * 1e9);
    for (int i = 0; i < proposers; i++)
        bench_propose(&bench.units[i]);
    loop_run(bench.clients);
    double took = (double)(now_ns() - began) / 1e9;
    ledger_status(bench.node.ledger, &b);
    qsort(bench.latency, bench.latency_count, sizeof *bench.latency, by_value);
    size_t n = bench.latency_count;
    printf("ledger %5d proposers %4zu bytes %s keys: %7.0f units/s  p50 %6.0f us  p99 %6.0f us  "
           "max %6.0f us  %5.1f units/entry  failed %llu\n",
           proposers, bench.bytes, random_keys ? "random    " : "sequential",
           (double)bench.applied / took, (double)bench.latency[n / 2] / 1e3,
           (double)bench.latency[n * 99 / 100] / 1e3, (double)bench.latency[n - 1] / 1e3,
           (double)bench.applied / (double)(b.applied - a.applied + 1),
           (unsigned long long)bench.failed);
    fflush(stdout);
}

static void bench_closed(void *arg)
{
    loop_stop(arg);
}

int main(int argc, char **argv)
{
    char dir[256];
    if (argc > 1)
        snprintf(dir, sizeof dir, "%s", argv[1]);
    else
        kit_dir(dir);
    int proposers = argc > 2 ? atoi(argv[2]) : 0;
    bench.bytes = argc > 3 ? (size_t)atoi(argv[3]) : 200;
    double seconds = argc > 4 ? atof(argv[4]) : 3;
    enum { UNITS_MAX = 4096 };
    bench.units = mem_new_array(UNITS_MAX, sizeof *bench.units);
    bench.began = mem_new_array(UNITS_MAX, sizeof *bench.began);
    bench.latency = mem_try(LATENCY_MAX * sizeof *bench.latency);

    struct err e = ERR_INIT;
    kit_node_init(&bench.node, dir);
    uint64_t began = now_ns();
    if (kit_node_open(&bench.node, &e) < 0 || loop_new("clients", &bench.clients, &e) < 0) {
        fprintf(stderr, "ledger_bench: %s\n", e.text);
        return 1;
    }
    printf("ledger open: %.1f ms\n", (double)(now_ns() - began) / 1e6);
    for (int i = 0; i < UNITS_MAX; i++)
        unit_init(&bench.units[i], loop_runner(bench.clients), bench_done);
    loop_start(bench.node.loop, &e);
    static const int some[] = {1, 16, 64, 1024};
    for (size_t i = 0; i < ARRAY_LEN(some); i++) {
        if (proposers == 0 || proposers == some[i])
            bench_run(some[i], seconds, false);
    }
    bench_run(64, seconds, true);
    began = now_ns();
    ledger_close(bench.node.ledger, bench_closed, bench.node.loop);
    loop_join(bench.node.loop);
    printf("ledger close: %.1f ms\n", (double)(now_ns() - began) / 1e6);
    for (int i = 0; i < UNITS_MAX; i++)
        unit_fini(&bench.units[i]);
    if (argc <= 1)
        kit_dir_remove(dir);
    return 0;
}
