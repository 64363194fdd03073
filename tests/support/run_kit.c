#include "support/run_kit.h"

#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "queue/queue_priv.h"
#include "support/unit.h"

struct uuid run_kit_id_of(uint32_t n)
{
    struct uuid id = {{1}};
    memcpy(id.b + 12, &n, sizeof n);
    return id;
}

void run_kit_make_id(void *arg, struct uuid *out)
{
    struct run_kit *f = arg;
    *out = run_kit_id_of(1000 + f->made++);
}

void run_kit_must(struct run_kit *f, int rc)
{
    if (rc != 0)
        fail_msg("%s: %s", err_info(rc)->name, f->e.text);
}

void run_kit_worker_open(struct run_kit *f)
{
    struct core_consumer c = {
        .id = run_kit_id_of(9), .node = "x", .worker = true, .credit = 100, .lease_ms = 3600000};
    queue_txn_open(job_lab_txn(&f->l), &c);
    run_kit_must(f, job_lab_do(&f->l, &f->e));
}

void run_kit_open(struct run_kit *f)
{
    *f = (struct run_kit){.made = 0};
    job_lab_open(&f->l, 7);
}

void run_kit_close(struct run_kit *f)
{
    job_lab_check(&f->l);
    job_lab_close(&f->l);
}

int run_kit_submit_with(struct run_kit *f, struct txn *t, const char *job, uint32_t n,
                        struct run_how how)
{
    struct job_def def;
    struct queue_message m;
    json_t *chain = how.chain != NULL ? json_read(how.chain, strlen(how.chain), &f->e) : NULL;
    int rc = job_def_get(f->l.db, job, &def, &f->e);
    if (rc == 0) {
        memset(&m, 0, sizeof m);
        job_def_message(&def, &m);
        m.send.id = run_kit_id_of(n);
        m.send.unique = how.unique;
        m.body = how.args != NULL ? how.args : "{\"n\":1}";
        m.body_len = strlen(m.body);
        m.correlation = "c-1";
        struct job_submit s = {
            .def = &def, .message = &m, .chain = chain, .fan = how.fan, .row = how.row};
        rc = job_txn_submit(t, &s, &f->e);
        job_def_fini(&def);
    }
    json_decref(chain);
    return rc;
}

void run_kit_submit_(struct run_kit *f, const char *job, uint32_t n, struct run_how how)
{
    run_kit_must(f, run_kit_submit_with(f, job_lab_txn(&f->l), job, n, how));
    run_kit_must(f, job_lab_do(&f->l, &f->e));
}

struct core_view run_kit_look(struct run_kit *f, struct uuid id)
{
    struct core_view v = {.state = 0};
    core_look(f->l.queues->core, &id, &v, NULL);
    return v;
}

enum rec_state run_kit_state_of(struct run_kit *f, uint32_t n)
{
    return run_kit_look(f, run_kit_id_of(n)).state;
}

struct core_settle run_kit_settlement(struct run_kit *f, uint32_t n, enum core_outcome outcome)
{
    return (struct core_settle){.id = run_kit_id_of(n),
                                .token = run_kit_look(f, run_kit_id_of(n)).token,
                                .outcome = outcome,
                                .delay_ms = 0};
}

int run_kit_end_build(struct run_kit *f, const struct core_settle *s, struct job_end *x)
{
    *x = (struct job_end){.run = s->id, .settle = s, .make_id = run_kit_make_id, .arg = f};
    return job_txn_end(job_lab_txn(&f->l), f->l.db, x, &f->e);
}

int run_kit_settle(struct run_kit *f, uint32_t n, enum core_outcome outcome)
{
    struct core_settle s = run_kit_settlement(f, n, outcome);
    struct job_end x;
    int rc = run_kit_end_build(f, &s, &x);
    if (rc != 0) {
        unit_fini(&f->l.unit);
        return rc;
    }
    return job_lab_do(&f->l, &f->e);
}

struct job_run run_kit_row_of(struct run_kit *f, uint32_t n)
{
    struct job_run r;
    struct uuid id = run_kit_id_of(n);
    int rc = job_run_find(f->l.db, &id, &r, &f->e);
    assert_true(rc >= 0);
    if (rc == 0)
        memset(&r, 0, sizeof r);
    return r;
}

int64_t run_kit_count(struct run_kit *f, const char *what)
{
    char sql[256];
    snprintf(sql, sizeof sql, "SELECT count(*) FROM %s", what);
    return job_lab_number(&f->l, sql);
}

size_t run_kit_records(struct run_kit *f, const char *job, enum rec_state s)
{
    uint64_t places[16];
    char queue[80];
    snprintf(queue, sizeof queue, "job.%s", job);
    return core_list(f->l.queues->core, "default", queue, s, 0, places, 16);
}

void run_kit_fan_out(struct run_kit *f, uint32_t n, uint32_t children)
{
    struct uuid parent = run_kit_id_of(1);
    struct job_fan fan = {
        .id = run_kit_id_of(n), .parent = &parent, .count = children, .on_done = "done"};
    struct txn *t = job_lab_txn(&f->l);
    run_kit_must(f, job_txn_fan(t, f->l.db, &fan, &f->e));
    for (uint32_t i = 1; i <= children; i++)
        run_kit_must(f,
                     run_kit_submit_with(f, t, "child", n + i, (struct run_how){.fan = &fan.id}));
    run_kit_must(f, job_lab_do(&f->l, &f->e));
}
