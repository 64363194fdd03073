/* PROPOSE: the unit of work of an arrival, and the same change in the working set. */
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "canon/engine_priv.h"
#include "canon/parked_priv.h"
#include "canon/pipeline_priv.h"
#include "canon/state_priv.h"
#include "canon/whole_priv.h"
#include "entity/entity.h"
#include "ledger/once.h"

enum text {
    TEXT_EVIDENCE,
    TEXT_WORK,
    TEXT_TAGS,
    TEXT_CHANGES,
    TEXT_FIELDS,
    TEXT_EVER,
    TEXT_KEYS,
    TEXT_NEW_KEYS,
    TEXT_LOSE_KEYS,
    TEXT_VIEWS,
    TEXTS
};

/* JSON that the unit takes over while it is composed: in one buffer, each with a NUL behind it. */
struct texts {
    struct buf b;
    size_t at[TEXTS]; /* SIZE_MAX: none */
};

enum { TEXTS_USUAL = 2048, TEXTS_MAX = 16 * CANON_BODY_MAX, UNIT_USUAL = 3072 };

static int text_add(struct texts *x, enum text which, const json_t *v, struct err *e)
{
    x->at[which] = SIZE_MAX;
    if (v == NULL)
        return 0;
    x->at[which] = x->b.len;
    int rc = json_print(v, &x->b, e);
    buf_addc(&x->b, '\0');
    return rc;
}

static const char *text_of(const struct texts *x, enum text which)
{
    return x->at[which] == SIZE_MAX ? NULL : x->b.data + x->at[which];
}

static bool stores_golden(const struct canon_job *j)
{
    return j->outcome == STORED_CANONIZED || j->outcome == STORED_NOOP ||
           j->outcome == STORED_WITHDRAWN;
}

static bool has_plan(const struct canon_job *j)
{
    return stores_golden(j) && j->plan.keys != NULL;
}

static int compose_conditions(struct canon_job *j, struct txn *t, struct err *e)
{
    const struct job_plan *p = &j->plan;
    const char *model = j->working->model->name;
    job_compose_preconditions(j, t);
    if (!whole_changed(j, p->source->touched))
        canon_op_if_source(t, model, j->arrival->origin, job_source_id(j), p->source->row.rev);
    if (j->resumes[0] != '\0')
        canon_op_if_parked(t, j->resumes);
    if (p->id[0] == '\0')
        return 0;
    if (p->winner == NULL || !whole_changed(j, p->winner->touched))
        canon_op_if_golden(t, model, p->id, p->winner ? p->winner->rev : 0);
    for (size_t i = 0; i < p->losers_count; i++)
        if (!whole_changed(j, p->losers[i]->touched))
            canon_op_if_golden(t, model, p->losers[i]->id, p->losers[i]->rev);
    for (size_t i = 0; i < json_array_size(p->new_keys); i++) {
        const char *key = json_string_value(json_array_get(p->new_keys, i));
        const struct work_key *k;
        int rc = working_key(j->working, key, &k, e);
        if (rc != 0)
            return rc;
        if (!whole_changed(j, k->touched))
            canon_op_if_key(t, model, key, k->owner[0] ? k->owner : NULL);
    }
    return 0;
}

static int fill_texts(const struct canon_job *j, struct texts *x, struct err *e)
{
    const struct job_plan *p = &j->plan;
    bool parked = j->outcome == STORED_PARKED || j->outcome == STORED_FAILED;
    bool changes = j->outcome == STORED_CANONIZED || j->outcome == STORED_WITHDRAWN;
    /* Both grow key by key, so as many are the same ones; then one text serves twice. So it does
     * for what a source says that is a new golden record by itself. */
    size_t keys = json_array_size(p->new_keys);
    bool same_keys = p->fields != NULL && keys > 0 && keys == json_array_size(p->keys);
    bool same_fields = changes && p->fields != NULL && p->changes == p->fields;
    const json_t *const all[TEXTS] = {
        [TEXT_EVIDENCE] = parked ? j->call.evidence : NULL,
        [TEXT_WORK] = parked && j->phase != PHASE_INTAKE ? j->data : NULL,
        [TEXT_TAGS] = j->call.tags,
        [TEXT_CHANGES] = changes && !same_fields ? p->changes : NULL,
        [TEXT_FIELDS] = p->fields,
        [TEXT_EVER] = p->ever,
        [TEXT_KEYS] = p->fields ? p->keys : NULL,
        [TEXT_NEW_KEYS] = !same_keys && json_array_size(p->new_keys) > 0 ? p->new_keys : NULL,
        [TEXT_LOSE_KEYS] = json_array_size(p->lose_keys) > 0 ? p->lose_keys : NULL,
        [TEXT_VIEWS] = j->call.views,
    };
    buf_init(&x->b, TEXTS_MAX);
    buf_reserve(&x->b, TEXTS_USUAL); /* instead of growing there in small steps */
    int rc = 0;
    for (size_t i = 0; i < TEXTS && rc == 0; i++)
        rc = text_add(x, (enum text)i, all[i], e);
    if (same_keys)
        x->at[TEXT_NEW_KEYS] = x->at[TEXT_KEYS];
    if (same_fields)
        x->at[TEXT_CHANGES] = x->at[TEXT_FIELDS];
    return rc;
}

static void compose_arrive(struct canon_job *j, struct txn *t, const struct texts *x)
{
    const struct job_plan *p = &j->plan;
    struct canon_op_arrive op = {
        .model = j->working->model->name,
        .arrival = j->arrival->arrival_id,
        .origin = j->arrival->origin,
        .source_id = job_source_id(j),
        .observed_at = j->observed_at,
        .def = j->working->model->hash,
        .rev = j->rev,
        .outcome = (uint8_t)j->outcome,
        .phase = (uint8_t)j->phase,
        .reason = j->arrival->reason[0] ? j->arrival->reason : NULL,
        .evidence = text_of(x, TEXT_EVIDENCE),
        .golden = p->id[0] ? p->id : NULL,
        .body = j->body,
        .work = text_of(x, TEXT_WORK),
        .tags = text_of(x, TEXT_TAGS),
        .changes = text_of(x, TEXT_CHANGES),
        .resumes = j->resumes[0] ? j->resumes : NULL,
        .has_source = true,
        .last_hash = j->body_hash,
        .said_at = p->fields ? p->said_at : j->observed_at,
        .said_arrival = p->fields ? p->said_arrival : NULL,
        .fields = text_of(x, TEXT_FIELDS),
        .ever = text_of(x, TEXT_EVER),
        .keys = text_of(x, TEXT_KEYS),
        .withdraw = j->kind == KIND_WITHDRAW,
        .new_keys = text_of(x, TEXT_NEW_KEYS),
        .lose_keys = text_of(x, TEXT_LOSE_KEYS),
        .has_golden = p->id[0] != '\0',
        .same_golden = p->same,
        .said = p->said,
        .lifecycle = p->empty ? LIFE_WITHDRAWN : LIFE_ACTIVE,
        .readiness = p->needs_review ? READY_REVIEW : READY_COMPLETE,
        .views = text_of(x, TEXT_VIEWS),
    };
    for (size_t i = 0; i < p->losers_count; i++)
        op.losers[op.losers_count++] = p->losers[i]->id;
    canon_op_arrive(t, &op);
    if (j->erase)
        canon_op_erase(t, op.model, op.origin, op.source_id);
}

/* First of all operations: it is the only one that may refuse, and then nothing needs to be undone.
 */
static int compose_save(struct canon_job *j, struct txn *t, const struct texts *x, struct err *e)
{
    const struct job_plan *p = &j->plan;
    if (p->id[0] == '\0' || p->empty || (!p->creates && json_object_size(p->changes) == 0))
        return 0;
    struct entity_doc doc;
    entity_doc_init(&doc);
    const char *text = p->changes == p->values ? text_of(x, TEXT_CHANGES) : NULL;
    int rc = text != NULL ? entity_doc_printed(j->working->def, p->values, text, &doc, e)
                          : entity_doc_print(j->working->def, p->values, &doc, e);
    j->save_at = t->ops;
    /* Of an id that was made here there is no record, and nobody needs to look. */
    bool made = p->creates && strcmp(j->arrival->origin, CANON_DIRECT) != 0;
    enum entity_mode mode = made ? ENTITY_CREATE : ENTITY_UPSERT;
    if (rc == 0)
        entity_txn_save(t, j->working->def, p->id, mode, 0, &doc);
    entity_doc_fini(&doc);
    return rc;
}

/* The field that its error speaks of: the first, where several are wrong. */
static const char *ending_field(const struct canon_job *j)
{
    const json_t *first = json_array_get(j->call.evidence, 0);
    const char *field = json_string_value(json_object_get(first, "field"));
    if (j->arrival->err.field[0] != '\0' || field == NULL || j->outcome != STORED_FAILED)
        return j->arrival->err.field;
    return field;
}

struct canon_ending job_ending(const struct canon_job *j)
{
    return (struct canon_ending){.outcome = job_shown_outcome(j),
                                 .reason = j->arrival->reason,
                                 .arrival_id = j->arrival->arrival_id,
                                 .golden_id = j->plan.id,
                                 .detail = j->arrival->err.text,
                                 .field = ending_field(j),
                                 .merged = (uint32_t)j->plan.losers_count};
}

/* With what people see of it when it parks. */
static int compose_parked(struct canon_job *j, struct txn *t, const struct texts *x, struct err *e)
{
    struct parked_said said = {.arrival = j->arrival->arrival_id,
                               .origin = j->arrival->origin,
                               .source_id = job_source_id(j),
                               .observed_at = j->observed_at,
                               .phase = (int)j->phase,
                               .reason = j->arrival->reason,
                               .detail = j->arrival->err.text,
                               .evidence = text_of(x, TEXT_EVIDENCE),
                               .tags = text_of(x, TEXT_TAGS),
                               .data = j->phase == PHASE_INTAKE ? j->body : text_of(x, TEXT_WORK)};
    return job_compose_parked(j, t, &said, e);
}

/* What the caller of the request wants to happen with it. */
static int compose_also(struct canon_job *j, bool conditions, struct txn *t, struct err *e)
{
    struct canon_request *r = j->request->r;
    if (r->also == NULL || j->whole != NULL)
        return 0;
    struct canon_ending end = job_ending(j);
    int which = conditions ? 0 : 1;
    j->also_from[which] = t->ops;
    int rc = r->also(r, conditions ? NULL : &end, t, e);
    j->also_to[which] = t->ops;
    return rc;
}

int job_compose(struct canon_job *j, struct err *e)
{
    struct txn *t = &job_unit(j)->txn;
    struct texts x = {0};
    int rc = 0;
    j->save_at = UINT32_MAX;
    if (!has_plan(j) && j->kind != KIND_WITHDRAW) {
        /* It ended before AGGREGATE, or there: only the arrival and the memory of its document are
         * stored. */
        job_plan_fini(&j->plan);
        rc = working_source(j->working, j->arrival->origin, job_source_id(j), &j->plan.source, e);
    }
    if (rc == 0)
        rc = fill_texts(j, &x, e);
    buf_reserve(&t->body, x.b.len + UNIT_USUAL);
    if (j->request->r->once != NULL && j->whole == NULL)
        ledger_txn_once(t, j->request->r->once, j->arrival->part);
    if (rc == 0)
        rc = compose_also(j, true, t, e);
    if (rc == 0)
        rc = compose_conditions(j, t, e);
    if (rc == 0)
        rc = compose_save(j, t, &x, e);
    if (rc == 0)
        rc = job_compose_part_saves(j, t, e);
    if (rc == 0)
        compose_arrive(j, t, &x);
    if (rc == 0)
        rc = job_compose_parts(j, t, e);
    if (rc == 0)
        rc = job_compose_wait(j, t, e);
    if (rc == 0)
        rc = job_compose_memo(j, t, e);
    if (rc == 0)
        rc = compose_parked(j, t, &x, e);
    for (size_t i = 0; i < j->plan.losers_count && rc == 0; i++)
        entity_txn_remove(t, j->working->def, j->plan.losers[i]->id, 0);
    if (rc == 0)
        rc = compose_also(j, false, t, e);
    if (rc == 0)
        rc = job_compose_keep(j, t, e);
    buf_fini(&x.b);
    return rc;
}

static void commit_source(struct canon_job *j)
{
    const struct job_plan *p = &j->plan;
    struct store_source *row = &p->source->row;
    row->rev = j->rev;
    row->last_hash = j->body_hash;
    row->last_def = j->working->model->hash;
    if (p->fields == NULL)
        return;
    json_decref(row->fields);
    json_decref(row->ever);
    json_decref(row->keys);
    row->fields = json_incref(p->fields);
    row->ever = json_incref(p->ever);
    row->keys = json_incref(p->keys);
    row->observed_at = p->said_at;
    memcpy(row->arrival, p->said_arrival, sizeof row->arrival);
}

static void commit_withdrawn(struct canon_job *j)
{
    struct store_source *row = &j->plan.source->row;
    working_attach(j->working, j->plan.source, NULL);
    job_commit_parts(j);
    row->rev = 0;
    json_decref(row->ever);
    row->ever = NULL;
    json_decref(row->fields);
    row->fields = json_object();
    json_decref(row->keys);
    row->keys = json_array();
    for (size_t i = 0; i < json_array_size(j->plan.lose_keys); i++)
        working_set_owner(j->working, json_string_value(json_array_get(j->plan.lose_keys, i)), "");
}

void job_commit_working(struct canon_job *j)
{
    struct job_plan *p = &j->plan;
    struct working *w = j->working;
    w->generation++;
    p->source->touched = w->proposed + 1;
    if (j->kind == KIND_WITHDRAW)
        commit_withdrawn(j);
    else
        commit_source(j);
    if (p->id[0] == '\0')
        return;
    struct work_golden *g = p->winner ? p->winner : working_add_golden(w, p->id);
    g->rev = j->rev;
    g->touched = w->proposed + 1;
    g->lifecycle = p->empty ? LIFE_WITHDRAWN : LIFE_ACTIVE;
    g->readiness = p->needs_review ? READY_REVIEW : READY_COMPLETE;
    g->said = p->said;
    for (size_t i = 0; i < p->losers_count; i++)
        working_merge(w, p->losers[i], g);
    for (size_t i = 0; i < json_array_size(p->new_keys); i++)
        working_set_owner(w, json_string_value(json_array_get(p->new_keys, i)), g->id);
    if (p->values != NULL) {
        json_decref(g->values);
        g->values = json_incref(p->values);
    }
    if (j->kind != KIND_WITHDRAW && p->source->golden != g)
        working_attach(w, p->source, g);
}
