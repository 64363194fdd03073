#include "canon/engine_priv.h"

#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/uuid.h"
#include "canon/pipeline_priv.h"
#include "canon/prepare_priv.h"
#include "canon/state_priv.h"
#include "canon/wake_priv.h"
#include "canon/whole_priv.h"
#include "db/db.h"
#include "entity/entity.h"
#include "entity/patch.h"
#include "trace/trace.h"

enum {
    ENGINE_FLIGHT_MAX =
        2048, /* units under way; the ledger has room for more, others want it too */
    ENGINE_SLICE_NS = 8 * 1000 * 1000, /* then other work of the thread gets its turn */
    REQUEST_MAGIC = 0x63717265,
    JOB_MAGIC = 0x636a6f62,
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

/* An arrival wants some four times eight bytes, and each asking is a system call. */
static void engine_random(struct canon_engine *en, void *p, size_t n)
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

/* --- requests
 * ---------------------------------------------------------------------------------------------------------
 */

static void request_answer(struct task *t)
{
    struct canon_request *r = LIST_OF(t, struct canon_request, task);
    r->done(r);
}

void request_finish(struct engine_request *er)
{
    struct canon_request *r = er->r;
    er->engine->open_requests--;
    if (er->whole != NULL) {
        whole_free(TAKE(er->whole));
        er->engine->alone = NULL;
        engine_wake(er->engine);
    }
    r->task.run = request_answer;
    runner_post(r->home, &r->task); /* r may be gone after this line */
}

void canon_request_fini(struct canon_request *r)
{
    struct engine_request *er = r->impl;
    for (size_t i = 0; i < r->count; i++) {
        json_decref(r->arrivals[i].data);
        json_decref(r->arrivals[i].tags);
        json_decref(r->arrivals[i].changes);
        mem_free(r->arrivals[i].record);
        r->arrivals[i].record = NULL;
        r->arrivals[i].data = r->arrivals[i].tags = r->arrivals[i].changes = NULL;
    }
    if (er == NULL)
        return;
    ASSERT(er->magic == REQUEST_MAGIC);
    mem_free(er->model);
    mem_free(er->origin);
    mem_free(er->source_id);
    mem_free(er);
    r->impl = NULL;
}

/* The set of this model and tenant, made anew when the model or the entity has changed and nothing
 * is under way. */
static struct working *engine_working(struct canon_engine *en, const char *model,
                                      const char *tenant, struct err *e)
{
    AUTO(mem_freep) char *name = mem_printf("%s/%s", tenant, model);
    struct canon_model *m = canon_find(en->canon, model);
    struct entity_def *d = entities_find(canon_entities(en->canon), model);
    if (m == NULL || d == NULL) {
        err_set(e, ERR_NOT_FOUND, "no canon model '%s'", model);
        canon_model_unref(m);
        entity_def_unref(d);
        return NULL;
    }
    struct working *w = map_gets(en->workings, name);
    if (w == NULL) {
        w = working_new(tenant, m, d, en->reader);
        map_puts(en->workings, name, w);
        return w;
    }
    bool same = w->model == m && w->def == d;
    w->stale |= !same;
    canon_model_unref(m);
    entity_def_unref(d);
    return w;
}

/* Those that were done before. */
static void request_skip(struct engine_request *er)
{
    while (er->next < er->r->count && er->r->arrivals[er->next].done)
        er->next++;
}

static void request_come(struct task *t)
{
    struct canon_request *r = LIST_OF(t, struct canon_request, task);
    struct engine_request *er = r->impl;
    struct canon_engine *en = er->engine;
    ASSERT(er->magic == REQUEST_MAGIC);
    en->open_requests++;
    const char *tenant = r->env->tenant ? r->env->tenant : "default";
    er->working = engine_working(en, er->model, tenant, &r->err);
    request_skip(er);
    if (er->working == NULL || er->next == r->count) {
        request_finish(er);
        return;
    }
    if (r->whole)
        er->whole = whole_new(en, er->working);
    list_push(&en->requests, &er->node);
    engine_wake(en);
}

static int engine_take(struct canon_engine *en, const char *model, struct canon_request *r,
                       enum job_kind kind, bool erase, struct err *e)
{
    if (r->count > CANON_BULK_MAX)
        return err_set(e, ERR_TOO_LARGE, "%zu arrivals in one request; at most %d", r->count,
                       CANON_BULK_MAX);
    struct engine_request *er = mem_new(sizeof *er);
    *er = (struct engine_request){.magic = REQUEST_MAGIC,
                                  .engine = en,
                                  .r = r,
                                  .model = mem_strdup(model),
                                  .kind = kind,
                                  .erase = erase};
    r->impl = er;
    r->err = (struct err){0};
    r->task.run = request_come;
    runner_post(en->world->runner, &r->task);
    return 0;
}

int canon_arrive(struct canon_engine *en, const char *model, struct canon_request *r, struct err *e)
{
    return engine_take(en, model, r, KIND_ARRIVE, false, e);
}

int canon_withdraw(struct canon_engine *en, const char *model, struct canon_request *r, bool erase,
                   struct err *e)
{
    return engine_take(en, model, r, KIND_WITHDRAW, erase, e);
}

int canon_resume(struct canon_engine *en, const char *model, struct canon_request *r, struct err *e)
{
    ASSERT(r->count == 1);
    return engine_take(en, model, r, KIND_RESUME, false, e);
}

/* --- jobs
 * --------------------------------------------------------------------------------------------------------------
 */

static void stage_done(struct canon_stage_call *call)
{
    struct canon_job *j = call->arg;
    ASSERT(j->magic == JOB_MAGIC);
    struct canon_engine *en = j->engine;
    if (j->prep != NULL) {
        prep_answered(j);
        return;
    }
    job_tick(j);
    engine_wake(en);
}

static struct canon_job *job_new(struct engine_request *er, struct canon_arrival *a)
{
    struct canon_engine *en = er->engine;
    struct canon_job *j = mem_new(sizeof *j);
    j->magic = JOB_MAGIC;
    j->engine = en;
    j->request = er;
    j->whole = er->whole;
    j->working = er->working;
    j->arrival = a;
    j->kind = er->kind;
    j->began_ns = en->world->mono_ns(en->world);
    j->erase = er->erase;
    j->state = er->kind == KIND_WITHDRAW ? JOB_AGGREGATE : JOB_INTAKE;
    j->source_id = a->source_id && a->source_id[0] ? mem_strdup(a->source_id) : NULL;
    j->observed_at = a->observed_at != INT64_MIN ? a->observed_at : en->world->wall_ms(en->world);
    j->hooks = en->hooks;
    j->call.env = er->r->env;
    j->call.done = stage_done;
    j->call.arg = j;
    j->call.tags = TAKE(a->tags);
    char id[STORE_ID];
    engine_make_id(en, id);
    memcpy(a->arrival_id, id, sizeof a->arrival_id);
    err_clear(&a->err);
    a->reason[0] = a->golden_id[0] = '\0';
    er->open++;
    return j;
}

static void job_free(struct canon_job *j)
{
    job_plan_fini(&j->plan);
    json_decref(j->data);
    json_decref(j->keys);
    json_decref(j->call.data);
    json_decref(j->call.tags);
    json_decref(j->call.views);
    json_decref(j->call.memo);
    json_decref(j->call.evidence);
    json_decref(j->waits);
    json_decref(j->patch);
    mem_free(j->body);
    mem_free(j->source_id);
    mem_free(j);
}

/* What came of it, for the timeline. An arrival that is parked is found again by its id. */
static void job_note(struct canon_engine *en, const struct canon_job *j)
{
    const struct canon_arrival *a = j->arrival;
    const struct envelope *env = j->request->r->env;
    static const char *const outcomes[] = {"canonized", "noop", "parked", "failed"};
    struct trace_span span;
    char name[ENTITY_NAME_MAX + 16], detail[TRACE_TEXT_MAX];
    if (en->trace == NULL || env == NULL || env->correlation == NULL)
        return;
    bool failed = a->outcome == CANON_FAILED, parked = a->outcome == CANON_PARKED;
    snprintf(name, sizeof name, "canon %s", j->working->model->name);
    snprintf(detail, sizeof detail, "%s%s%s%s%.128s", outcomes[a->outcome],
             *a->reason != '\0' ? " " : "", a->reason, failed || parked ? ": " : "",
             failed || parked ? a->err.text : "");
    trace_begin(en->trace, env->traceparent, env->correlation, &span);
    const char *resumed = j->resumes[0] != '\0' ? j->resumes : NULL;
    trace_note(en->trace, &(struct trace_event){
                              .kind = TRACE_ARRIVAL,
                              .failed = failed,
                              .follows = resumed != NULL,
                              .took_ns = en->world->mono_ns(en->world) - j->began_ns,
                              .seq = a->seq,
                              .version = a->version,
                              .span = &span,
                              .correlation = env->correlation,
                              .causation = env->causation,
                              .principal = env->principal,
                              .name = name,
                              .subject = *a->golden_id != '\0' ? a->golden_id : a->arrival_id,
                              .detail = detail,
                              .link = resumed != NULL ? resumed
                                      : parked        ? a->arrival_id
                                                      : NULL});
}

void engine_job_done(struct canon_engine *en, struct canon_job *j)
{
    struct engine_request *er = j->request;
    whole_job_ends(j);
    job_note(en, j);
    job_free(j);
    if (--er->open == 0 && er->next == er->r->count)
        request_finish(er);
    engine_wake(en);
}

enum canon_outcome job_shown_outcome(const struct canon_job *j)
{
    static const enum canon_outcome shown[] = {
        [STORED_CANONIZED] = CANON_CANONIZED, [STORED_NOOP] = CANON_NOOP,
        [STORED_PARKED] = CANON_PARKED,       [STORED_FAILED] = CANON_FAILED,
        [STORED_WITHDRAWN] = CANON_CANONIZED, [STORED_RESUMED] = CANON_NOOP,
    };
    return shown[j->outcome];
}

/* What was committed, in the words of the answer. */
void job_result(struct canon_job *j)
{
    struct canon_arrival *a = j->arrival;
    struct cursor c;
    struct entity_result saved;
    a->outcome = job_shown_outcome(j);
    const struct unit *u = job_unit(j);
    a->seq = u->seq;
    a->merged = (uint32_t)j->plan.losers_count;
    memcpy(a->golden_id, j->plan.id, sizeof a->golden_id);
    if (a->outcome == CANON_CANONIZED && j->request->r->count == 1)
        a->changes = json_deep_copy(j->plan.changes); /* it goes to another thread */
    if (j->save_at != UINT32_MAX && unit_result(u, j->save_at, &c) &&
        entity_result_parse(&c, &saved))
        a->version = saved.version;
    if (j->show_at != UINT32_MAX && unit_result(u, j->show_at, &c) && cursor_left(&c) > 0)
        a->record = mem_printf("%.*s", (int)cursor_left(&c), (const char *)c.p);
    j->state = JOB_DONE;
}

static bool lost_a_race(const struct canon_job *j)
{
    return j->unit.err.code == ERR_VERSION_MISMATCH &&
           !job_failed_precondition(j, j->unit.failed_op);
}

static void job_failed(struct canon_job *j)
{
    struct canon_arrival *a = j->arrival;
    a->err = j->unit.err;
    if (lost_a_race(j))
        err_set(&a->err, ERR_CONFLICT, "too many concurrent changes; send the arrival again");
    a->outcome = CANON_FAILED;
    a->arrival_id[0] = '\0';
    snprintf(a->reason, sizeof a->reason, "%s", err_info(a->err.code)->name);
    j->state = JOB_DONE;
}

static void unit_done(struct unit *u)
{
    struct canon_job *j = LIST_OF(u, struct canon_job, unit);
    struct canon_engine *en = j->engine;
    ASSERT(j->magic == JOB_MAGIC && j->state == JOB_COMMIT);
    en->flight--;
    j->working->completed++;
    if (u->err.code == 0) {
        job_result(j);
    } else {
        j->working->stale = true;
        if (lost_a_race(j) && engine_job_again(en, j)) {
            unit_fini(u);
            return;
        }
        job_failed(j);
    }
    unit_fini(u);
    job_tick(j);
}

bool engine_holds(struct canon_engine *en, struct canon_job *j)
{
    if (!whole_holds(en, j))
        return false;
    list_push(&en->again, &j->node);
    return true;
}

bool engine_job_again(struct canon_engine *en, struct canon_job *j)
{
    j->working->stale = true;
    if (++j->tries >= CANON_TRIES)
        return false;
    if (j->whole != NULL)
        whole_again(en, j->whole);
    list_push(&en->again, &j->node);
    engine_wake(en);
    return true;
}

int engine_propose(struct canon_engine *en, struct canon_job *j, struct err *e)
{
    engine_random(en, &j->rev, sizeof j->rev);
    j->rev = (j->rev & INT64_MAX) | 1;
    if (j->whole != NULL)
        return whole_gather(j->whole, j, e);
    unit_init(&j->unit, en->world->runner, unit_done);
    txn_envelope(&j->unit.txn, j->request->r->env);
    int rc = job_compose(j, e);
    if (rc != 0) {
        unit_fini(&j->unit);
        return rc;
    }
    job_commit_working(j);
    j->working->proposed++;
    en->flight++;
    outbox_add(&en->outbox, j);
    engine_wake(en);
    return 0;
}

/* --- the work of the thread
 * --------------------------------------------------------------------------------------------- */

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
