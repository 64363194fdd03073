#include "canon/engine_priv.h"

#include <stdio.h>
#include <string.h>

#include "base/map.h"
#include "base/mem.h"
#include "base/uuid.h"
#include "canon/pipeline_priv.h"
#include "canon/prepare_priv.h"
#include "canon/state_priv.h"
#include "canon/wake_priv.h"
#include "canon/whole_priv.h"
#include "db/db.h"
#include "entity/entity.h"

enum {
    ENGINE_FLIGHT_MAX =
        2048, /* units under way; the ledger has room for more, others want it too */
    ENGINE_SLICE_NS = 8 * 1000 * 1000, /* then other work of the thread gets its turn */
};

static void engine_work(struct task *t);
static void engine_came(void *arg);

int canon_engine_new(const struct canon_engine_options *o, struct canon_engine **out, struct err *e)
{
    (void)e;
    struct canon_engine *en = mem_new(sizeof *en);
    en->canon = o->canon;
    en->ledger = o->ledger;
    en->world = o->world;
    en->reader = o->reader;
    en->hooks = o->hooks;
    en->trace = o->trace;
    en->workings = map_new();
    list_init(&en->requests);
    outbox_init(&en->outbox);
    list_init(&en->again);
    en->work.run = engine_work;
    en->waker = waker_new(en, o);
    en->prep = prep_new(o, engine_came, en);
    *out = en;
    return 0;
}

static void working_free_value(void *w)
{
    working_free(w);
}

bool canon_engine_is_idle(const struct canon_engine *en)
{
    return en->open_requests == 0 && en->flight == 0 && !en->posted && waker_is_idle(en->waker);
}

void canon_engine_start(struct canon_engine *en)
{
    waker_start(en->waker);
}

void canon_engine_stop(struct canon_engine *en)
{
    waker_stop(en->waker);
}

void canon_engine_free(struct canon_engine *en)
{
    if (en == NULL)
        return;
    canon_engine_stop(en);
    ASSERT(canon_engine_is_idle(en));
    waker_free(en->waker);
    prep_free(en->prep);
    map_free(en->workings, working_free_value);
    mem_free(en);
}

struct canon *engine_canon(struct canon_engine *en)
{
    return en->canon;
}

void engine_random(struct canon_engine *en, void *p, size_t n)
{
    ASSERT(n <= sizeof en->random);
    if (en->random_left < n) {
        en->world->random(en->world, en->random, sizeof en->random);
        en->random_left = sizeof en->random;
    }
    en->random_left -= n;
    memcpy(p, en->random + en->random_left, n);
}

void engine_make_id(struct canon_engine *en, char out[STORE_ID])
{
    uint8_t random[8];
    struct uuid u;
    char text[UUID_TEXT];
    engine_random(en, random, sizeof random);
    uuid_v7(&en->ids, (uint64_t)en->world->wall_ms(en->world), random, &u);
    uuid_format(&u, text);
    memcpy(out, text, sizeof text);
}

void engine_wake(struct canon_engine *en)
{
    if (en->posted)
        return;
    en->posted = true;
    runner_post(en->world->runner, &en->work);
}

static void engine_came(void *arg)
{
    engine_wake(arg);
}

bool engine_give(struct canon_engine *en, struct canon_job *j)
{
    if (j->whole != NULL || !prep_helps(en->prep, j->request->r->count))
        return false;
    prep_give(en->prep, j);
    return true;
}

/* ---- the work of the thread ---- */

static void job_start(struct engine_request *er)
{
    struct canon_job *j = job_new(er, &er->r->arrivals[er->next]);
    er->next++;
    request_skip(er);
    if (er->next == er->r->count)
        list_remove(&er->node);
    struct err e = ERR_INIT;
    if (j->kind == KIND_RESUME && resume_load(j, &e) != 0) {
        j->arrival->err = e;
        j->arrival->outcome = CANON_FAILED;
        j->arrival->arrival_id[0] = '\0';
        snprintf(j->arrival->reason, sizeof j->arrival->reason, "%s", err_info(e.code)->name);
        j->state = JOB_DONE;
    }
    job_tick(j);
}

/* A full set forgets what is settled; a stale one is emptied when nothing of it is under way.
 * False: that is not so yet. */
static bool working_ready(struct canon_engine *en, struct working *w)
{
    if (!w->stale && working_is_full(w))
        working_sweep(w);
    if (!w->stale && !working_is_full(w))
        return true;
    if (working_flight(w) > 0 || w->preparing > 0)
        return false;
    working_clear(w);
    struct canon_model *m = canon_find(en->canon, w->model->name);
    struct entity_def *d = entities_find(canon_entities(en->canon), w->model->name);
    if (m != NULL && d != NULL) {
        working_define(w, m, d);
        return true;
    }
    canon_model_unref(m);
    entity_def_unref(d);
    return true;
}

/* What a whole request has gathered stays in the set until its unit is there or dropped. */
static bool job_may_run(struct canon_engine *en, struct working *w)
{
    return whole_has_begun(en, w) || working_ready(en, w);
}

/* Jobs that lost a race go first, in their order. */
static bool run_again(struct canon_engine *en)
{
    LIST_EACH_SAFE(it, &en->again)
    {
        struct canon_job *j = LIST_OF(it, struct canon_job, node);
        if (whole_holds(en, j))
            continue;
        if (!job_may_run(en, j->working))
            return false;
        list_remove(it);
        bool ended_early = j->outcome == STORED_PARKED || j->outcome == STORED_FAILED ||
                           (j->outcome == STORED_NOOP && j->plan.keys == NULL);
        j->state = j->patch != NULL ? JOB_INTAKE : ended_early ? JOB_PROPOSE : JOB_AGGREGATE;
        job_tick(j);
    }
    return true;
}

static bool slice_is_over(struct canon_engine *en, uint64_t until)
{
    if (en->world->mono_ns(en->world) <= until)
        return false;
    engine_wake(en);
    return true;
}

/* The first that may begin its next arrival. */
static struct engine_request *next_request(struct canon_engine *en)
{
    LIST_EACH(it, &en->requests)
    {
        struct engine_request *er = LIST_OF(it, struct engine_request, node);
        if (whole_lets(en, er))
            return er;
    }
    return NULL;
}

/* Arrivals in order, until the slice is over, too much is under way or being prepared, or a set
 * must be emptied first. */
static void start_jobs(struct canon_engine *en, uint64_t until)
{
    struct engine_request *er;
    while (en->flight < ENGINE_FLIGHT_MAX && (er = next_request(en)) != NULL) {
        if (prep_helps(en->prep, er->r->count) && !prep_wants(en->prep))
            return; /* those that are back come first */
        if (!job_may_run(en, er->working))
            return; /* the last unit under way wakes us */
        job_start(er);
        if (slice_is_over(en, until))
            return;
    }
}

static void go_on_prepared(struct canon_engine *en, uint64_t until)
{
    struct canon_job *j;
    while (en->flight < ENGINE_FLIGHT_MAX && (j = prep_peek(en->prep)) != NULL) {
        if (!working_ready(en, j->working))
            return;
        prep_take(en->prep);
        job_tick(j);
        engine_wake(en); /* there is room for another one */
        if (slice_is_over(en, until))
            return;
    }
}

/* One snapshot for all reads of a slice. Whatever is not under way was applied, and its answer
 * taken here, before the slice began, so the snapshot has it. Without one (no memory) each read
 * takes its own. */
static void engine_work(struct task *t)
{
    struct canon_engine *en = LIST_OF(t, struct canon_engine, work);
    uint64_t until = en->world->mono_ns(en->world) + ENGINE_SLICE_NS;
    en->posted = false;
    bool snapshot = db_snapshot_begin(en->reader, NULL) == 0;
    if (run_again(en)) {
        start_jobs(en, until);
        prep_flush(en->prep);
        go_on_prepared(en, until);
    }
    if (snapshot)
        db_snapshot_end(en->reader);
    outbox_settle(en);
    whole_look(en);
}
