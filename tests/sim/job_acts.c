/* The jobs' scenario: units and what is answered, runs that are submitted and cancelled. */
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/json.h"
#include "base/mem.h"
#include "sim/job_sim.h"

void job_work_add(struct txn *t, const char *what, long long n)
{
    char name[32];
    snprintf(name, sizeof name, "%s:%lld", what, n);
    house_row(t, name);
}

struct uuid job_sim_id(uint8_t kind, uint32_t n)
{
    struct uuid id = {{kind}};
    memcpy(id.b + 12, &n, sizeof n);
    return id;
}

static void act_done(struct unit *u);

struct act *job_act_new(struct node *n, enum act_kind kind)
{
    struct act *a = mem_new(sizeof *a);
    a->node = n;
    a->kind = kind;
    house_unit_init(&n->h, &a->u, act_done);
    return a;
}

static void act_free(struct act *a)
{
    house_unit_fini(&a->u);
    mem_free(a);
}

void job_act_start(struct act *a)
{
    struct err e = ERR_INIT;
    if (ledger_propose(a->node->h.ledger, &a->u.unit, &e) != 0)
        act_free(a);
}

void job_act_again(struct act *a, enum act_kind kind)
{
    a->kind = kind;
    house_unit_again(&a->node->h, &a->u, act_done);
}

/* ---- submitting ---- */

static struct queue_message message(const struct job_def *def, struct uuid id, const char *body)
{
    struct queue_message m;
    memset(&m, 0, sizeof m);
    job_def_message(def, &m);
    m.send.id = id;
    m.body = body;
    m.body_len = strlen(body);
    return m;
}

static void run_add(struct node *n, struct txn *t, const char *job, struct uuid id, long long num,
                    const struct uuid *fan)
{
    struct job_def def;
    struct err e = ERR_INIT;
    char body[32];
    snprintf(body, sizeof body, "{\"n\":%lld}", num);
    if (job_def_get(n->h.db, job, &def, &e) != 0)
        sim_fail("job '%s': %s", job, e.text);
    struct queue_message m = message(&def, id, body);
    if (job_txn_submit(t, &(struct job_submit){.def = &def, .message = &m, .fan = fan}, &e) != 0)
        sim_fail("submit: %s", e.text);
    job_def_fini(&def);
}

void job_sim_submit(struct node *n)
{
    static const char *const names[] = {"a", "d", "u"};
    if (n->count == NUMBERS)
        return;
    uint32_t at = n->count++;
    const char *job = names[sim_rand(n->h.sim, ARRAY_LEN(names))];
    char what[8];
    n->runs[at] = (struct submitted){.id = job_sim_id(1, at), .job = *job};
    struct act *a = job_act_new(n, ACT_SUBMIT);
    a->index = at;
    run_add(n, &a->u.unit.txn, job, n->runs[at].id, at, NULL);
    snprintf(what, sizeof what, "in:%s", job);
    job_work_add(&a->u.unit.txn, what, at);
    job_act_start(a);
}

void job_sim_fan(struct node *n)
{
    struct err e = ERR_INIT;
    uint32_t fan = n->fans++, children = (uint32_t)sim_rand(n->h.sim, 7);
    AUTO(json_unref) json_t *args = json_pack("{s:i}", "n", (int)fan);
    struct job_fan f = {.id = job_sim_id(2, fan), .count = children, .on_done = "z", .args = args};
    struct act *a = job_act_new(n, ACT_OTHER);
    if (job_txn_fan(&a->u.unit.txn, n->h.db, &f, &e) != 0)
        sim_fail("fan: %s", e.text);
    for (uint32_t i = 0; i < children; i++)
        run_add(n, &a->u.unit.txn, "f", job_sim_id(3, fan * 16 + i), fan, &f.id);
    job_work_add(&a->u.unit.txn, "fan", fan);
    job_act_start(a);
}

void job_sim_cancel_run(struct node *n, uint32_t at)
{
    char what[8];
    struct act *a = job_act_new(n, ACT_CANCEL);
    a->index = at;
    job_txn_cancel(&a->u.unit.txn, &n->runs[at].id, NULL, NULL);
    snprintf(what, sizeof what, "can:%c", n->runs[at].job);
    job_work_add(&a->u.unit.txn, what, at);
    job_act_start(a);
}

void job_sim_cancel(struct node *n)
{
    uint32_t at = (uint32_t)sim_rand(n->h.sim, n->count + 1);
    if (at < n->count && n->runs[at].job == 'a')
        job_sim_cancel_run(n, at);
}

/* ---- answers ---- */

static void submit_answered(struct act *a)
{
    if (a->u.unit.err.code == 0)
        a->node->runs[a->index].acked = true;
    else if (a->u.unit.err.code != ERR_TIMEOUT)
        sim_fail("submit: %s", a->u.unit.err.text);
}

static void cancel_answered(struct act *a)
{
    struct cursor r;
    if (a->u.unit.err.code == 0 && unit_result(&a->u.unit, 0, &r) && !queue_cancel_asked(&r))
        a->node->runs[a->index].never = true;
}

static void act_done(struct unit *u)
{
    struct act *a = (struct act *)u;
    struct node *n = a->node;
    int code = u->err.code;
    sim_event(n->h.sim, "answer", a->job, a->kind, (uint64_t)-code);
    if (house_counts(&n->h) && a->kind == ACT_SUBMIT)
        submit_answered(a);
    if (house_counts(&n->h) && a->kind == ACT_CANCEL)
        cancel_answered(a);
    if (a->kind == ACT_OPEN)
        n->open = code == 0;
    if (a->kind == ACT_RENEW && code == ERR_NOT_FOUND)
        n->open = false;
    if (n->live && a->kind == ACT_STEP && code == 0) {
        job_hand_settle(a);
        return;
    }
    if (n->live && a->kind == ACT_SETTLE && job_end_is_stale(u, &a->end)) {
        if (++a->tries > JOB_END_TRIES && house_counts(&n->h))
            sim_fail("J3: an end is refused %d times", a->tries);
        job_hand_settle(a);
        return;
    }
    act_free(a);
}
