#include "canon/pipeline_priv.h"

#include <inttypes.h>
#include <string.h>

#include "base/buf.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/str.h"
#include "canon/engine_priv.h"
#include "entity/doc.h"

enum { SOURCE_ID_ROOM = 300 }; /* more than the longest id */

const char *job_source_id(const struct canon_job *j)
{
    return j->source_id ? j->source_id : "";
}

/* Not stored at all: nothing to remember, or nothing could be. */
static void job_leave(struct canon_job *j, enum canon_outcome outcome, const char *reason)
{
    j->arrival->outcome = outcome;
    str_copy(j->arrival->reason, sizeof j->arrival->reason, reason);
    j->arrival->arrival_id[0] = '\0';
    j->state = JOB_DONE;
}

/* Nothing changes: what it says stays. */
static void withdrawal_refused(struct canon_job *j, const char *reason)
{
    struct err *e = &j->arrival->err;
    if (e->code == 0)
        err_set(e, ERR_REJECTED, "%s", reason);
    if (e->code == ERR_INVALID ||
        e->code == ERR_TOO_LARGE) { /* what would be left, not the request */
        err_context(e, "without %s/%s", j->arrival->origin, job_source_id(j));
        e->code = ERR_CONFLICT;
    }
    job_plan_fini(&j->plan);
    job_leave(j, CANON_FAILED, reason);
}

void job_end(struct canon_job *j, enum canon_stored outcome, const char *reason)
{
    if (j->kind == KIND_WITHDRAW) {
        withdrawal_refused(j, reason);
        return;
    }
    j->outcome = outcome;
    str_copy(j->arrival->reason, sizeof j->arrival->reason, reason);
    if (outcome == STORED_PARKED && j->arrival->err.code == 0)
        err_set(&j->arrival->err, ERR_OK, "%s", reason);
    if (outcome == STORED_FAILED && j->arrival->err.code == 0)
        err_set(&j->arrival->err, ERR_REJECTED, "%s", reason);
    job_plan_fini(&j->plan);
    j->state = JOB_PROPOSE;
}

static void job_broken(struct canon_job *j, const struct err *e)
{
    j->arrival->err = *e;
    j->working->stale = true;
    job_leave(j, CANON_FAILED, err_info(e->code)->name);
}

/* The same document from the same source under the same model as the last one: it has had its
 * effect. */
static bool is_repeat(const struct canon_job *j, const struct work_source *s)
{
    return j->kind == KIND_ARRIVE && !j->arrival->again && !job_has_precondition(j) &&
           s->row.rev > 0 && s->row.last_hash == j->body_hash &&
           s->row.last_def == j->working->model->hash;
}

/* Nothing of the source came through, and by now what failed was removed with it: the set remembers
 * what the database does not. */
static bool is_forgotten(struct canon_job *j, const struct work_source *s)
{
    uint64_t rev = 0;
    if (s->golden != NULL || s->touched > j->working->completed ||
        store_source_rev(j->working->reader, j->working->tenant, j->working->model->name,
                         s->row.origin, s->row.source_id, &rev, NULL) != 0 ||
        rev != 0)
        return false;
    j->working->stale = true;
    return true;
}

static bool left_as_repeat(struct canon_job *j)
{
    struct err e = ERR_INIT;
    struct work_source *s;
    int rc = working_source(j->working, j->arrival->origin, j->source_id, &s, &e);
    if (rc == ERR_VERSION_MISMATCH) /* AGGREGATE looks again, at a fresh set */
        return false;
    if (rc != 0) {
        job_broken(j, &e);
        return true;
    }
    if (!is_repeat(j, s) || is_forgotten(j, s))
        return false;
    if (s->golden != NULL)
        memcpy(j->arrival->golden_id, s->golden->id, sizeof j->arrival->golden_id);
    job_leave(j, CANON_NOOP, "REPEAT");
    return true;
}

static int check_origin(const struct canon_model *m, const char *origin, struct err *e)
{
    if (origin == NULL || *origin == '\0')
        return err_field(e, ERR_INVALID, "origin",
                         "an arrival needs an origin: one of the model's sources");
    if (canon_model_has_source(m, origin) || strcmp(origin, CANON_DIRECT) == 0)
        return 0;
    const char *names[MODEL_SOURCES_MAX];
    for (size_t i = 0; i < m->sources_count; i++)
        names[i] = m->sources[i].origin;
    const char *near = str_nearest(origin, names, m->sources_count);
    return err_field(e, ERR_INVALID, "origin", "canon '%s' has no source '%s'%s%s%s", m->name,
                     origin, near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
}

/* The name that another system gave it: an id, but it may hold a '/'. */
static int check_source_id(const char *id, struct err *e)
{
    char copy[SOURCE_ID_ROOM];
    str_copy(copy, sizeof copy, id); /* a longer one stays too long */
    for (char *p = copy; (p = strchr(p, '/')) != NULL;)
        *p = '_';
    return str_check_id(copy, strlen(copy), e) == 0 ? 0 : err_context(e, "source_id");
}

int canon_arrival_check(const struct canon_model *m, const struct canon_arrival *a, struct err *e)
{
    int rc = check_origin(m, a->origin, e);
    if (rc != 0 || a->source_id == NULL || *a->source_id == '\0')
        return rc;
    return check_source_id(a->source_id, e);
}

static int take_body(struct canon_job *j, struct err *e)
{
    const struct canon_arrival *a = j->arrival;
    AUTO(buf_fini) struct buf b = BUF_INIT(CANON_BODY_MAX);
    bool printed = a->text != NULL && a->change == CANON_SAYS;
    int rc = 0;
    if (printed)
        buf_add(&b, a->text, a->text_len);
    else
        rc = json_print(a->data, &b, e);
    if (rc == 0)
        rc = buf_check(&b, "the JSON text", e);
    if (rc != 0)
        return rc;
    uint64_t seed = a->observed_at == INT64_MIN ? 0 : (uint64_t)a->observed_at;
    j->body_hash = hash64(seed, b.data, b.len);
    j->body_len = b.len;
    mem_free(j->body);
    j->body = buf_take(&b);
    return 0;
}

static int take_document(struct canon_job *j, struct err *e)
{
    int rc = check_origin(j->working->model, j->arrival->origin, e);
    if (rc != 0)
        return rc;
    bool text_alone = j->arrival->data == NULL && j->arrival->text != NULL;
    if (!text_alone && !json_is_object(j->arrival->data))
        return err_field(e, ERR_INVALID, "data", "an arrival's data must be an object");
    if (j->source_id != NULL && (rc = check_source_id(j->source_id, e)) != 0)
        return rc;
    rc = take_body(j, e);
    if (rc != 0)
        return err_context(e, "arrival");
    j->data = TAKE(j->arrival->data);
    j->normal = 0;
    if (!text_alone || (j->working->model->stages[CANON_INTAKE] && j->hooks != NULL))
        return 0;
    j->data = json_read(j->body, j->body_len, e); /* nobody makes values of it before they count */
    return j->data == NULL ? e->code : 0;
}

/* Starts a stage function, if the model has one. True: its answer is there (or it has none to
 * give). */
static bool call_stage(struct canon_job *j, enum canon_stage stage, json_t *data)
{
    struct canon_hooks *h = j->hooks;
    struct canon_stage_call *c = &j->call;
    c->verdict = CANON_GO_ON;
    c->left = false;
    if (!j->working->model->stages[stage] || h == NULL) {
        c->data = data;
        c->left = true;
        return true;
    }
    c->model = j->working->model->name;
    c->tenant = j->working->tenant;
    c->origin = j->arrival->origin;
    c->source_id = job_source_id(j);
    c->stage = stage;
    c->data = data;
    c->text = j->body;
    c->text_len = j->body_len;
    c->reason[0] = '\0';
    json_decref(c->evidence);
    c->evidence = NULL;
    err_clear(&c->err);
    return h->run(h, c) == 1;
}

/* What a stage function decided. True: go on. */
static bool stage_goes_on(struct canon_job *j)
{
    struct canon_stage_call *c = &j->call;
    if (c->err.code == ERR_UNAVAILABLE) { /* no word about the arrival: it may come again */
        j->arrival->err = c->err;
        job_leave(j, CANON_FAILED, err_info(ERR_UNAVAILABLE)->name);
        return false;
    }
    if (c->err.code == 0 && c->verdict == CANON_PARK)
        job_waits(j, &c->err);
    if (c->err.code != 0) {
        j->arrival->err = c->err;
        job_end(j, STORED_FAILED, "SCRIPT");
        return false;
    }
    switch (c->verdict) {
    case CANON_GO_ON:
        return true;
    case CANON_PARK:
        job_end(j, STORED_PARKED, c->reason);
        return false;
    case CANON_REJECT:
        job_end(j, STORED_FAILED, c->reason);
        return false;
    case CANON_DROP:
        job_end(j, STORED_NOOP, "DROPPED");
        return false;
    }
    return true;
}

/* The patch as a statement. False: it makes none, and the job is at its end, or on its way again.
 */
static bool patch_holds(struct canon_job *j)
{
    struct err e = ERR_INIT;
    int rc = j->source_id == NULL ? err_set(&e, ERR_INVALID, "a patch names its golden record")
                                  : job_direct(j, &e);
    if (rc == 0)
        return true;
    if (rc == ERR_VERSION_MISMATCH && engine_job_again(j->engine, j)) {
        j->state = JOB_COMMIT;
        return false;
    }
    if (rc == ERR_VERSION_MISMATCH)
        err_set(&e, ERR_CONFLICT, "too many concurrent changes; send the patch again");
    j->arrival->err = e;
    job_leave(j, CANON_FAILED, err_info(e.code)->name);
    return false;
}

static void patch_again(struct canon_job *j)
{
    struct err e = ERR_INIT;
    if (j->tries++ < CANON_TRIES) {
        j->state = JOB_INTAKE;
        return;
    }
    err_set(&e, ERR_CONFLICT, "too many concurrent changes; send the patch again");
    job_broken(j, &e);
}

/* ---- states ---- */

/* False: it is with a hand. */
static bool tick_intake(struct canon_job *j)
{
    struct err e = ERR_INIT;
    j->phase = PHASE_INTAKE;
    if (j->arrival->change != CANON_SAYS && !patch_holds(j))
        return true;
    if (take_document(j, &e) != 0) {
        j->arrival->err = e;
        job_leave(j, CANON_FAILED, "INVALID");
        return true;
    }
    if (j->source_id != NULL && left_as_repeat(j))
        return true;
    j->state = JOB_INTAKE_CALL;
    return !engine_give(j->engine, j);
}

static void tick_answer(struct canon_job *j, enum job_state next)
{
    j->data = TAKE(j->call.data);
    if (stage_goes_on(j))
        j->state = next;
}

static void tick_validated(struct canon_job *j)
{
    if (!j->call.left)
        j->normal = 0;
    tick_answer(j, JOB_KEYS);
}

static bool tick_validate(struct canon_job *j)
{
    j->phase = PHASE_VALIDATE;
    if (!job_schema_holds(j))
        return true;
    j->state = JOB_VALIDATE_ANSWER;
    return call_stage(j, CANON_VALIDATE, TAKE(j->data));
}

static void tick_aggregate(struct canon_job *j)
{
    struct err e = ERR_INIT;
    if (engine_holds(j->engine, j)) {
        j->state = JOB_COMMIT;
        return;
    }
    j->phase = PHASE_AGGREGATE;
    if (j->patch != NULL && job_direct_is_old(j)) { /* a stage took its time */
        patch_again(j);
        return;
    }
    err_clear(&j->arrival->err);
    if (j->kind != KIND_WITHDRAW && j->source_id == NULL && j->working->model->keys_count == 0)
        j->source_id = mem_printf("%016" PRIx64, j->body_hash);
    int rc = j->kind == KIND_WITHDRAW ? job_plan_withdraw(j, &e) : job_plan(j, &e);
    if (rc == ERR_VERSION_MISMATCH && engine_job_again(j->engine, j)) {
        j->state = JOB_COMMIT; /* suspended in the same way */
        return;
    }
    if (rc < 0) {
        if (rc == ERR_VERSION_MISMATCH)
            err_set(&e, ERR_CONFLICT, "too many concurrent changes; send the arrival again");
        job_broken(j, &e);
        return;
    }
    if (rc == 1)
        return;
    if (is_repeat(j, j->plan.source)) {
        memcpy(j->arrival->golden_id, j->plan.id, sizeof j->arrival->golden_id);
        job_leave(j, CANON_NOOP, "REPEAT");
        return;
    }
    bool changed =
        j->plan.creates || j->plan.losers_count > 0 || json_object_size(j->plan.changes) > 0;
    j->outcome = j->kind == KIND_WITHDRAW ? STORED_WITHDRAWN
                 : changed                ? STORED_CANONIZED
                                          : STORED_NOOP;
    str_copy(j->arrival->reason, sizeof j->arrival->reason, changed ? "" : "UNCHANGED");
    if (changed)
        j->arrival->reason[0] = '\0';
    j->state = JOB_PROJECT;
}

static bool tick_project(struct canon_job *j)
{
    j->phase = PHASE_PROJECT;
    json_decref(j->call.views);
    j->call.views = NULL;
    /* Its views stand: they are made of the golden record alone. */
    bool settled = j->plan.same && job_part_to_project(&j->plan) == NULL;
    if (j->plan.empty || settled || !j->working->model->stages[CANON_PROJECT]) {
        j->state = JOB_PROPOSE;
        return true;
    }
    j->state = JOB_PROJECT_ANSWER;
    const struct job_part *part = job_part_to_project(&j->plan);
    j->call.id = part != NULL ? part->id : j->plan.id;
    return call_stage(j, CANON_PROJECT, json_incref(part != NULL ? part->values : j->plan.values));
}

static void tick_project_answer(struct canon_job *j)
{
    json_decref(j->call.data);
    j->call.data = NULL;
    if (!stage_goes_on(j))
        return;
    struct job_part *part = job_part_to_project(&j->plan);
    if (part != NULL) {
        part->views = TAKE(j->call.views);
        j->plan.parts_left--;
        j->state = JOB_PROJECT;
        return;
    }
    j->state = j->plan.generation == j->working->generation ? JOB_PROPOSE : JOB_AGGREGATE;
}

static void tick_propose(struct canon_job *j)
{
    struct err e = ERR_INIT;
    if (j->source_id == NULL) { /* set aside before its keys were known: the document is its name */
        j->source_id = mem_printf("%016" PRIx64, j->body_hash);
        if (left_as_repeat(j))
            return;
    }
    j->state = JOB_COMMIT;
    if (engine_holds(j->engine, j))
        return;
    int rc = engine_propose(j->engine, j, &e);
    if (rc == ERR_VERSION_MISMATCH && engine_job_again(j->engine, j))
        return;
    if (rc != 0)
        job_broken(j, &e);
}

/* The keys of what it says, while the functions are at hand. A fault is found again, and told, when
 * they are wanted. */
static void tick_keys(struct canon_job *j)
{
    struct err e = ERR_INIT;
    j->keys_model = j->working->model->hash;
    canon_keys_of(j->working->model, j->data, j->hooks, &j->keys, &e);
    j->state = JOB_AGGREGATE;
}

bool job_prepare(struct canon_job *j)
{
    for (;;) {
        switch (j->state) {
        case JOB_INTAKE_CALL:
            j->state = JOB_INTAKE_ANSWER;
            if (!call_stage(j, CANON_INTAKE, TAKE(j->data)))
                return false;
            continue;
        case JOB_INTAKE_ANSWER:
            tick_answer(j, JOB_VALIDATE);
            continue;
        case JOB_VALIDATE:
            if (!tick_validate(j))
                return false;
            continue;
        case JOB_VALIDATE_ANSWER:
            tick_validated(j);
            continue;
        case JOB_KEYS:
            tick_keys(j);
            return true;
        default:
            return true;
        }
    }
}

void job_tick(struct canon_job *j)
{
    for (;;) {
        switch (j->state) {
        case JOB_INTAKE:
            if (!tick_intake(j))
                return;
            continue;
        case JOB_INTAKE_CALL:
        case JOB_INTAKE_ANSWER:
        case JOB_VALIDATE:
        case JOB_VALIDATE_ANSWER:
        case JOB_KEYS:
            if (!job_prepare(j))
                return;
            continue;
        case JOB_AGGREGATE:
            tick_aggregate(j);
            continue;
        case JOB_PROJECT:
            if (!tick_project(j))
                return;
            continue;
        case JOB_PROJECT_ANSWER:
            tick_project_answer(j);
            continue;
        case JOB_PROPOSE:
            tick_propose(j);
            if (j->state == JOB_COMMIT)
                return;
            continue;
        case JOB_COMMIT:
            return; /* the ledger answers */
        case JOB_DONE:
            engine_job_done(j->engine, j); /* j may be gone after this line */
            return;
        }
    }
}
