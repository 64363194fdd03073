#include "support/canon_lab.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/mem.h"
#include "db/db.h"
#include "entity/entity.h"
#include "entity/read.h"
#include "io/loop.h"
#include "queue/queue.h"
#include "support/ledger_kit.h"

enum { LAB_PATIENCE = 100000, LAB_QUIET = 200 }; /* turns */

void lab_step(struct canon_lab *lab)
{
    loop_poll(lab->loop);
    usleep(50);
}

static void lab_start(struct canon_lab *lab)
{
    struct err e = ERR_INIT;
    lab->entities = entities_new();
    ASSERT(canon_new(lab->entities, &lab->canon, &e) == 0);
    lab->queues = queues_new();
    struct domain domains[] = {*entities_domain(lab->entities), *canon_domain(lab->canon),
                               *queues_domain(lab->queues)};
    struct ledger_options o = {.dir = lab->dir};
    struct world *w = loop_world(lab->loop);
    if (ledger_open(&o, w, domains, ARRAY_LEN(domains), &lab->ledger, &e) != 0)
        PANIC("%s", e.text);
    struct db_options ro = {.path = ledger_db_path(lab->ledger), .mode = DB_READER};
    ASSERT(db_open(&ro, &lab->reader, &e) == 0);
    for (size_t i = 0; i < LAB_ENGINES; i++) {
        struct canon_engine_options eo = {.canon = lab->canon,
                                          .ledger = lab->ledger,
                                          .world = w,
                                          .reader = lab->reader,
                                          .hooks = lab->hooks,
                                          .hands = lab->hands,
                                          .hands_count = lab->hands_count};
        ASSERT(canon_engine_new(&eo, &lab->engines[i], &e) == 0);
        if (!lab->asleep)
            canon_engine_start(lab->engines[i]);
    }
}

static void lab_closed(void *arg)
{
    ((struct canon_lab *)arg)->ledger = NULL;
}

static void lab_stop(struct canon_lab *lab)
{
    for (size_t i = 0; i < LAB_ENGINES; i++) {
        canon_engine_stop(lab->engines[i]);
        while (!canon_engine_is_idle(lab->engines[i]))
            lab_step(lab);
        canon_engine_free(lab->engines[i]);
    }
    db_close(lab->reader);
    ledger_close(lab->ledger, lab_closed, lab);
    while (lab->ledger != NULL)
        lab_step(lab);
    canon_free(lab->canon);
    queues_free(lab->queues);
    entities_free(lab->entities);
}

static void lab_unit_done(struct unit *u)
{
    u->deadline_ns = 0;
}

void lab_define(struct canon_lab *lab, const char *entity, const char *model)
{
    struct err e = ERR_INIT;
    struct entity_def *d = NULL;
    struct unit u;
    if (entity_def_parse_text(entity, strlen(entity), &d, &e) != 0)
        PANIC("%s", e.text);
    unit_init(&u, loop_runner(lab->loop), lab_unit_done);
    entity_txn_define(&u.txn, d);
    AUTO(json_unref) json_t *m = json_read(model, strlen(model), &e);
    if (m == NULL || canon_txn_define(lab->canon, &u.txn, m, d, &e) != 0)
        PANIC("%s", e.text);
    ASSERT(ledger_propose(lab->ledger, &u, &e) == 0);
    while (u.deadline_ns != 0)
        lab_step(lab);
    if (u.err.code != 0)
        PANIC("%s", u.err.text);
    unit_fini(&u);
    entity_def_unref(d);
}

void lab_open(struct canon_lab *lab, const char *entity, const char *model)
{
    lab_open_hooks(lab, entity, model, NULL);
}

void lab_open_hooks(struct canon_lab *lab, const char *entity, const char *model,
                    struct canon_hooks *hooks)
{
    *lab = (struct canon_lab){.env = {.tenant = "default", .principal = "lab"}, .hooks = hooks};
    kit_dir(lab->dir);
    ASSERT(loop_new("lab", &lab->loop, NULL) == 0);
    lab_start(lab);
    lab_define(lab, entity, model);
}

void lab_close(struct canon_lab *lab)
{
    lab_stop(lab);
    while (loop_poll(lab->loop))
        usleep(50);
    loop_free(lab->loop);
    kit_dir_remove(lab->dir);
}

void lab_reopen(struct canon_lab *lab)
{
    lab_stop(lab);
    lab_start(lab);
}

static void lab_done(struct canon_request *r)
{
    ((struct lab_request *)((char *)r - offsetof(struct lab_request, r)))->over = true;
}

void lab_send(struct canon_lab *lab, int engine, const char *model, struct lab_request *q,
              const struct lab_arrival *list, size_t count)
{
    struct err e = ERR_INIT;
    *q = (struct lab_request){.arrivals = mem_new_array(count, sizeof *q->arrivals)};
    for (size_t i = 0; i < count; i++) {
        q->arrivals[i].origin = list[i].origin;
        q->arrivals[i].source_id = list[i].source_id;
        q->arrivals[i].observed_at = list[i].observed_at;
        q->arrivals[i].data = json_read(list[i].data, strlen(list[i].data), &e);
    }
    q->r = (struct canon_request){.home = loop_runner(lab->loop),
                                  .env = &lab->env,
                                  .arrivals = q->arrivals,
                                  .count = count,
                                  .done = lab_done};
    if (canon_arrive(lab->engines[engine], model, &q->r, &e) != 0)
        PANIC("%s", e.text);
}

void lab_send_patch(struct canon_lab *lab, int engine, const char *model, struct lab_request *q,
                    const char *id, enum canon_change change, const char *patch)
{
    struct err e = ERR_INIT;
    *q = (struct lab_request){.arrivals = mem_new(sizeof *q->arrivals)};
    q->arrivals[0] = (struct canon_arrival){.origin = "direct",
                                            .source_id = id,
                                            .observed_at = INT64_MIN,
                                            .data = json_read(patch, strlen(patch), &e),
                                            .change = change};
    lab_request(lab, q);
    if (canon_arrive(lab->engines[engine], model, &q->r, &e) != 0)
        PANIC("%s", e.text);
}

void lab_wait(struct canon_lab *lab, struct lab_request *q)
{
    while (!q->over)
        lab_step(lab);
}

void lab_request_fini(struct lab_request *q)
{
    canon_request_fini(&q->r);
    mem_free(q->arrivals);
}

enum canon_outcome lab_arrive(struct canon_lab *lab, const char *model, const char *origin,
                              const char *source_id, int64_t observed_at, const char *data,
                              char id[257])
{
    struct lab_request q;
    const struct lab_arrival a = {origin, source_id, observed_at, data};
    lab_send(lab, 0, model, &q, &a, 1);
    lab_wait(lab, &q);
    enum canon_outcome outcome = q.arrivals[0].outcome;
    if (id != NULL)
        memcpy(id, q.arrivals[0].golden_id, 257);
    lab_request_fini(&q);
    return outcome;
}

void lab_request(struct canon_lab *lab, struct lab_request *q)
{
    q->r = (struct canon_request){.home = loop_runner(lab->loop),
                                  .env = &lab->env,
                                  .arrivals = q->arrivals,
                                  .count = 1,
                                  .done = lab_done};
}

enum canon_outcome lab_withdraw(struct canon_lab *lab, const char *model, const char *origin,
                                const char *source_id, bool erase)
{
    struct err e = ERR_INIT;
    struct lab_request q = {.arrivals = mem_new(sizeof *q.arrivals)};
    q.arrivals[0].origin = origin;
    q.arrivals[0].source_id = source_id;
    q.arrivals[0].observed_at = INT64_MIN;
    lab_request(lab, &q);
    if (canon_withdraw(lab->engines[0], model, &q.r, erase, &e) != 0)
        PANIC("%s", e.text);
    lab_wait(lab, &q);
    enum canon_outcome outcome = q.arrivals[0].outcome;
    lab_request_fini(&q);
    return outcome;
}

int64_t lab_number(struct canon_lab *lab, const char *sql)
{
    struct err e = ERR_INIT;
    AUTO(db_stmt_donep) struct db_stmt *s = db_stmt_get(lab->reader, sql, &e);
    if (s == NULL)
        PANIC("%s", e.text);
    return db_step(s, &e) == 1 ? db_col_int(s, 0) : -1;
}

void lab_until(struct canon_lab *lab, const char *sql, int64_t want)
{
    for (int i = 0; i < LAB_PATIENCE && lab_number(lab, sql) != want; i++)
        lab_step(lab);
    if (lab_number(lab, sql) != want)
        PANIC("%s: it is %lld, not %lld", sql, (long long)lab_number(lab, sql), (long long)want);
}

void lab_settle(struct canon_lab *lab)
{
    for (int quiet = 0; quiet < LAB_QUIET; quiet++) {
        lab_step(lab);
        for (size_t i = 0; i < LAB_ENGINES; i++)
            if (!canon_engine_is_idle(lab->engines[i]))
                quiet = 0;
    }
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* "origin/source ..., => {values}" of one golden record. */
static char *lab_line(struct canon_lab *lab, const struct entity_def *d, const char *id)
{
    struct err e = ERR_INIT;
    struct buf b = BUF_INIT(1 << 20);
    struct db_stmt *s = db_stmt_get(lab->reader,
                                    "SELECT origin || '/' || source_id FROM canon_source WHERE "
                                    "golden = ?1 ORDER BY 1",
                                    &e);
    db_bind_str(s, 1, id);
    while (db_step(s, &e) > 0)
        buf_addf(&b, "%s ", db_col_text(s, 0, NULL));
    db_stmt_done(s);
    AUTO(json_unref) json_t *row = NULL;
    if (entity_get_json(lab->reader, d, "default", id, &row, NULL, &e) != 0)
        PANIC("golden record %s has no row: %s", id, e.text);
    static const char *const system[] = {"id",         "version",    "created_at",
                                         "updated_at", "created_by", "updated_by"};
    for (size_t i = 0; i < ARRAY_LEN(system); i++)
        json_object_del(row, system[i]);
    buf_adds(&b, "=> ");
    json_print_sorted(row, &b, &e);
    return buf_take(&b);
}

char *lab_state(struct canon_lab *lab, const char *model)
{
    struct err e = ERR_INIT;
    struct entity_def *d = entities_find(lab->entities, model);
    char *lines[4096];
    size_t n = 0;
    struct db_stmt *s = db_stmt_get(
        lab->reader, "SELECT id FROM canon_golden WHERE model = ?1 AND lifecycle = 0", &e);
    db_bind_str(s, 1, model);
    while (db_step(s, &e) > 0 && n < ARRAY_LEN(lines))
        lines[n++] = lab_line(lab, d, db_col_text(s, 0, NULL));
    db_stmt_done(s);
    entity_def_unref(d);
    qsort(lines, n, sizeof *lines, by_text);
    struct buf b = BUF_INIT(16 << 20);
    for (size_t i = 0; i < n; i++) {
        buf_addf(&b, "%s\n", lines[i]);
        mem_free(lines[i]);
    }
    return buf_take(&b);
}
