/* Jobs: one arrival each, from its start until its unit is answered. The phases between are
 * pipeline.c. */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "canon/engine_priv.h"
#include "canon/pipeline_priv.h"
#include "canon/prepare_priv.h"
#include "canon/state_priv.h"
#include "canon/whole_priv.h"
#include "entity/entity.h"
#include "trace/trace.h"

enum { JOB_MAGIC = 0x636a6f62 };

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

struct canon_job *job_new(struct engine_request *er, struct canon_arrival *a)
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
    j->observed_at = a->observed_at != INT64_MIN ? a->observed_at
                     : a->arrived_at != 0        ? a->arrived_at
                                                 : en->world->wall_ms(en->world);
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
    const char *what = outcomes[a->outcome];
    snprintf(name, sizeof name, "canon %s", j->working->model->name);
    if (*a->reason != '\0' || failed || parked) {
        snprintf(detail, sizeof detail, "%s%s%s%s%.128s", outcomes[a->outcome],
                 *a->reason != '\0' ? " " : "", a->reason, failed || parked ? ": " : "",
                 failed || parked ? a->err.text : "");
        what = detail;
    }
    trace_begin(en->trace, env->traceparent, env->correlation, &span);
    const char *resumed = j->resumes[0] != '\0' ? j->resumes : NULL;
    trace_note(en->trace, &(struct trace_event){.kind = TRACE_ARRIVAL,
                                                .failed = failed,
                                                .follows = resumed != NULL,
                                                .began_ns = j->began_ns,
                                                .seq = a->seq,
                                                .version = a->version,
                                                .span = &span,
                                                .correlation = env->correlation,
                                                .causation = env->causation,
                                                .principal = env->principal,
                                                .name = name,
                                                .subject = *a->golden_id != '\0' ? a->golden_id
                                                                                 : a->arrival_id,
                                                .detail = what,
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

/* It was refused at what the caller of the request has added. */
static bool failed_also(const struct canon_job *j)
{
    int at = j->unit.failed_op;
    bool is = false;
    for (int i = 0; i < 2; i++)
        is |= at >= (int)j->also_from[i] && at < (int)j->also_to[i];
    return is;
}

static bool lost_a_race(const struct canon_job *j)
{
    return j->unit.err.code == ERR_VERSION_MISMATCH && !failed_also(j) &&
           !job_failed_precondition(j, j->unit.failed_op);
}

static void job_tell(struct canon_job *j)
{
    struct canon_request *r = j->request->r;
    if (r->answered != NULL)
        r->answered(r, &j->unit);
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
        job_tell(j);
    } else {
        j->working->stale = true;
        if (lost_a_race(j) && engine_job_again(en, j)) {
            unit_fini(u);
            return;
        }
        job_failed(j);
        job_tell(j);
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
