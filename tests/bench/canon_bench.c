/* Canon without scripts and HTTP: the engine on one thread, the ledger on another, as in the
 * program. Six sources, one after the other, state the same things with overlapping keys. usage:
 * canon_bench [records per source] */
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/mem.h"
#include "canon/canon.h"
#include "db/db.h"
#include "entity/entity.h"
#include "io/loop.h"
#include "ledger/ledger.h"
#include "queue/queue.h"
#include "support/ledger_kit.h"

enum { SOURCES = 6, BATCH = 1000, AT_ONCE = 4 };

static const char entity_text[] =
    "{\"name\":\"Place\",\"fields\":{\"name\":{\"kind\":\"text\"},\"code\":{\"kind\":\"text\"},"
    "\"ident\":{\"kind\":\"text\"},\"city\":{\"kind\":\"text\"},\"country\":{\"kind\":\"text\"},"
    "\"lat\":{\"kind\":\"number\"},\"lon\":{\"kind\":\"number\"},\"elevation\":{\"kind\":\"int\"}}"
    "}";
static const char model_text[] =
    "{\"name\":\"Place\",\"sources\":{\"s0\":{\"rank\":1},\"s1\":{\"rank\":2},\"s2\":{\"rank\":3},"
    "\"s3\":{\"rank\":4},\"s4\":{\"rank\":5},\"s5\":{\"rank\":6}},\"keys\":["
    "{\"name\":\"code\",\"parts\":[{\"field\":\"code\",\"norm\":\"upper\"},{\"field\":\"country\"}]"
    "},"
    "{\"name\":\"ident\",\"parts\":[{\"field\":\"ident\",\"norm\":\"upper\"}]}],"
    "\"policy\":{\"name\":{\"is\":\"longest\"},\"elevation\":{\"is\":\"majority\"}},"
    "\"group\":{\"position\":[\"lat\",\"lon\"]}}";

struct bench {
    struct loop *ledger_loop, *engine_loop;
    struct ledger *ledger;
    struct canon_engine *engine;
    struct envelope env;
    size_t records, next, under_way, failed;
    atomic_bool over;
};

struct batch {
    struct bench *b;
    struct canon_request r;
    struct canon_arrival arrivals[BATCH];
    char ids[BATCH][24], origin[24];
};

static struct canon_arrival arrival(struct batch *q, size_t i, size_t at, size_t source)
{
    size_t n = at % q->b->records;
    snprintf(q->ids[i], sizeof q->ids[i], "%zu", n);
    json_t *o = json_pack("{s:o,s:o,s:o,s:s,s:s,s:f,s:f,s:i}", "name",
                          json_sprintf("Place number %zu of source %zu", n, source), "code",
                          json_sprintf("c%zu", n), "ident", json_sprintf("i-%zu", n), "city",
                          "Some City", "country", "PT", "lat", (double)n / 1000, "lon",
                          (double)n / 900, "elevation", (int)(n % 3000));
    return (struct canon_arrival){
        .origin = q->origin, .source_id = q->ids[i], .observed_at = (int64_t)source, .data = o};
}

static bool batch_send(struct batch *q);

static void batch_done(struct canon_request *r)
{
    struct batch *q = (struct batch *)((char *)r - offsetof(struct batch, r));
    struct bench *b = q->b;
    for (size_t i = 0; i < r->count; i++)
        b->failed +=
            r->arrivals[i].outcome == CANON_FAILED || r->arrivals[i].outcome == CANON_PARKED;
    canon_request_fini(r);
    b->under_way--;
    if (!batch_send(q)) {
        mem_free(q);
        if (b->under_way == 0)
            atomic_store(&b->over, true);
    }
}

static bool batch_send(struct batch *q)
{
    struct bench *b = q->b;
    struct err e = ERR_INIT;
    size_t source = b->next / b->records, count = 0;
    if (source >= SOURCES)
        return false;
    snprintf(q->origin, sizeof q->origin, "s%zu", source);
    while (count < BATCH && b->next / b->records == source) {
        q->arrivals[count] = arrival(q, count, b->next, source);
        count++;
        b->next++;
    }
    q->r = (struct canon_request){.home = loop_runner(b->engine_loop),
                                  .env = &b->env,
                                  .arrivals = q->arrivals,
                                  .count = count,
                                  .done = batch_done};
    ASSERT(canon_arrive(b->engine, "Place", &q->r, &e) == 0);
    b->under_way++;
    return true;
}

struct start {
    struct task task;
    struct bench *b;
};

static void bench_start(struct task *t)
{
    struct bench *b = ((struct start *)t)->b;
    for (int i = 0; i < AT_ONCE; i++) {
        struct batch *q = mem_new(sizeof *q);
        q->b = b;
        if (!batch_send(q))
            mem_free(q);
    }
}

static void bench_define(struct bench *b, struct canon *c)
{
    struct err e = ERR_INIT;
    struct entity_def *d;
    struct kit_node n = {.loop = b->ledger_loop, .ledger = b->ledger};
    struct unit u;
    ASSERT(entity_def_parse_text(entity_text, sizeof entity_text - 1, &d, &e) == 0);
    kit_unit(&n, &u);
    entity_txn_define(&u.txn, d);
    json_t *m = json_read(model_text, sizeof model_text - 1, &e);
    if (canon_txn_define(c, &u.txn, m, d, &e) != 0 || kit_do(&n, &u) != 0)
        PANIC("%s %s", e.text, u.err.text);
    unit_fini(&u);
    json_decref(m);
    entity_def_unref(d);
}

int main(int argc, char **argv)
{
    char dir[256];
    struct err e = ERR_INIT;
    struct bench b = {.records = argc > 1 ? (size_t)atol(argv[1]) : 10000};
    struct entities *entities = entities_new();
    struct canon *canon;
    struct db *reader;
    kit_dir(dir);
    ASSERT(loop_new("ledger", &b.ledger_loop, &e) == 0 &&
           loop_new("engine", &b.engine_loop, &e) == 0);
    ASSERT(canon_new(entities, &canon, &e) == 0);
    struct queues *queues = queues_new();
    struct domain domains[] = {*entities_domain(entities), *canon_domain(canon),
                               *queues_domain(queues)};
    struct ledger_options lo = {.dir = dir};
    ASSERT(ledger_open(&lo, loop_world(b.ledger_loop), domains, 3, &b.ledger, &e) == 0);
    bench_define(&b, canon);
    struct db_options ro = {.path = ledger_db_path(b.ledger), .mode = DB_READER};
    ASSERT(db_open(&ro, &reader, &e) == 0);
    struct world *w = loop_world(b.engine_loop);
    struct canon_engine_options eo = {
        .canon = canon, .ledger = b.ledger, .world = w, .reader = reader};
    ASSERT(canon_engine_new(&eo, &b.engine, &e) == 0);
    ASSERT(loop_start(b.ledger_loop, &e) == 0 && loop_start(b.engine_loop, &e) == 0);
    uint64_t began = w->mono_ns(w);
    struct start s = {.task.run = bench_start, .b = &b};
    runner_post(loop_runner(b.engine_loop), &s.task);
    while (!atomic_load(&b.over))
        usleep(1000);
    double took = (double)(w->mono_ns(w) - began) / 1e9;
    printf("canon engine: %zu arrivals of %d sources in %.2f s: %.0f/s, %zu not canonized\n",
           b.next, SOURCES, took, (double)b.next / took, b.failed);
    fflush(stdout);
    kit_dir_remove(dir);
    _exit(b.failed != 0);
}
