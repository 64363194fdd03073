/* AGGREGATE and policy: which golden record an arrival belongs to, and what that record is
 * afterwards. */
#include <inttypes.h>
#include <string.h>

#include "base/buf.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/str.h"
#include "canon/engine_priv.h"
#include "canon/pipeline_priv.h"
#include "entity/doc.h"

void job_plan_fini(struct job_plan *p)
{
    json_decref(p->keys);
    json_decref(p->new_keys);
    json_decref(p->lose_keys);
    json_decref(p->fields);
    json_decref(p->ever);
    json_decref(p->values);
    json_decref(p->changes);
    job_parts_fini(p);
    *p = (struct job_plan){0};
}

static bool has_text(const json_t *list, const char *text)
{
    for (size_t i = 0; i < json_array_size(list); i++)
        if (strcmp(json_string_value(json_array_get(list, i)), text) == 0)
            return true;
    return false;
}

/* Without a source id of its own an arrival is known by its keys. */
static int source_id_of_keys(struct canon_job *j, const json_t *keys, struct err *e)
{
    AUTO(buf_fini) struct buf text = BUF_INIT(CANON_KEYS_MAX * (CANON_KEY_BYTES + 8));
    int rc = json_print(keys, &text, e);
    if (rc == 0)
        j->source_id = mem_printf("%016" PRIx64, hash64(0, text.data, text.len));
    return rc;
}

/* ---- owners ---- */

struct owners {
    struct work_golden *list[CANON_OWNERS_MAX];
    size_t count;
    bool too_many;
};

static void owners_add(struct owners *o, struct work_golden *g)
{
    for (size_t i = 0; i < o->count; i++)
        if (o->list[i] == g)
            return;
    if (o->count == CANON_OWNERS_MAX)
        o->too_many = true;
    else
        o->list[o->count++] = g;
}

static int owners_of_key(struct canon_job *j, const char *key, struct owners *o, struct err *e)
{
    const char *owner;
    int rc = working_owner(j->working, key, &owner, e);
    if (rc != 0)
        return rc;
    json_array_append_new(j->plan.new_keys, json_string(key));
    if (owner[0] == '\0')
        return 0;
    struct work_golden *g;
    rc = working_golden(j->working, owner, &g, e);
    if (rc == 0)
        owners_add(o, g);
    return rc == ERR_NOT_FOUND
               ? err_set(e, ERR_CORRUPT, "key '%s' belongs to no golden record", key)
               : rc;
}

/* A direct save names the golden record that it means. */
static int owners_of_direct(struct canon_job *j, struct owners *o, struct err *e)
{
    if (strcmp(j->arrival->origin, CANON_DIRECT) != 0)
        return 0;
    struct work_golden *g;
    int rc = working_golden(j->working, j->source_id, &g, e);
    if (rc == 0)
        owners_add(o, g);
    return rc == ERR_NOT_FOUND ? 0 : rc;
}

static int owners_find(struct canon_job *j, const json_t *keys, struct owners *o, struct err *e)
{
    struct job_plan *p = &j->plan;
    if (p->source->golden != NULL)
        owners_add(o, p->source->golden);
    p->keys = json_copy(p->source->row.keys);
    p->new_keys = json_array();
    int rc = owners_of_direct(j, o, e);
    for (size_t i = 0; i < json_array_size(keys) && rc == 0; i++) {
        const char *key = json_string_value(json_array_get(keys, i));
        if (has_text(p->source->row.keys, key))
            continue;
        json_array_append(p->keys, json_array_get(keys, i));
        rc = owners_of_key(j, key, o, e);
    }
    return rc;
}

static json_t *collision_evidence(const json_t *keys, const struct owners *o)
{
    json_t *ids = json_array();
    for (size_t i = 0; i < o->count; i++)
        json_array_append_new(ids, json_string(o->list[i]->id));
    return json_pack("{s:O,s:o}", "keys", keys, "owners", ids);
}

/* The oldest id survives; ids are made in order of time. */
static void choose_winner(struct canon_job *j, const struct owners *o)
{
    struct job_plan *p = &j->plan;
    for (size_t i = 0; i < o->count; i++)
        if (p->winner == NULL || strcmp(o->list[i]->id, p->winner->id) < 0)
            p->winner = o->list[i];
    for (size_t i = 0; i < o->count; i++)
        if (o->list[i] != p->winner)
            p->losers[p->losers_count++] = o->list[i];
    if (p->winner != NULL) {
        memcpy(p->id, p->winner->id, sizeof p->id);
        return;
    }
    p->creates = true;
    if (strcmp(j->arrival->origin, CANON_DIRECT) == 0)
        str_copy(p->id, sizeof p->id, j->source_id);
    else
        engine_make_id(j->engine, p->id);
}

/* ---- the source record afterwards ---- */

static void plan_source(struct canon_job *j)
{
    struct job_plan *p = &j->plan;
    const struct store_source *row = &p->source->row;
    bool known = p->source->golden != NULL;
    if (known && j->arrival->observed_at == INT64_MIN && j->observed_at <= row->observed_at)
        j->observed_at = row->observed_at + 1;
    struct canon_said now = {.origin = row->origin,
                             .source_id = row->source_id,
                             .arrival = j->arrival->arrival_id,
                             .observed_at = j->observed_at,
                             .fields = j->data};
    if (known && !canon_replaces(row->observed_at, row->fields, j->observed_at, j->data)) {
        p->fields = json_incref(row->fields);
        p->said_at = row->observed_at;
        str_copy(p->said_arrival, sizeof p->said_arrival, row->arrival);
    } else {
        p->fields = json_incref(j->data);
        p->said_at = j->observed_at;
        str_copy(p->said_arrival, sizeof p->said_arrival, j->arrival->arrival_id);
    }
    if (!known)
        return;
    struct canon_said before = now;
    before.arrival = row->arrival;
    before.observed_at = row->observed_at;
    before.fields = row->fields;
    p->ever =
        row->ever ? json_deep_copy(row->ever) : canon_ever_add(j->working->model, NULL, &before);
    p->ever = canon_ever_add(j->working->model, p->ever, &now);
}

/* ---- survivorship ---- */

struct said_list {
    struct canon_said *said;
    size_t count, cap;
};

static int said_add(struct said_list *l, const struct canon_said *s, struct err *e)
{
    if (l->count == l->cap) {
        size_t cap = l->cap ? 2 * l->cap : 16;
        struct canon_said *grown = mem_try_resize(l->said, cap * sizeof *grown);
        if (grown == NULL)
            return err_set(e, ERR_NOMEM, "a golden record of %zu source records", cap);
        l->said = grown;
        l->cap = cap;
    }
    l->said[l->count++] = *s;
    return 0;
}

struct canon_said job_said(const struct canon_job *j, const struct work_source *s)
{
    return (struct canon_said){.origin = s->row.origin,
                               .source_id = s->row.source_id,
                               .arrival = s->row.arrival,
                               .rank = canon_model_rank(j->working->model, s->row.origin),
                               .observed_at = s->row.observed_at,
                               .fields = s->row.fields,
                               .ever = s->row.ever};
}

static int said_of_part(const struct canon_job *j, const struct job_part *part, struct said_list *l,
                        struct err *e)
{
    int rc = 0;
    for (size_t i = 0; i < part->count && rc == 0; i++) {
        struct canon_said said = job_said(j, part->members[i]);
        rc = said_add(l, &said, e);
    }
    return rc;
}

static int said_of(const struct canon_job *j, const struct work_golden *g, struct said_list *l,
                   struct err *e)
{
    int rc = 0;
    LIST_EACH(it, &g->sources)
    {
        const struct work_source *s = LIST_OF(it, struct work_source, node);
        struct canon_said said = job_said(j, s);
        if (s != j->plan.source && rc == 0)
            rc = said_add(l, &said, e);
    }
    return rc;
}

static int said_all(const struct canon_job *j, struct said_list *l, struct err *e)
{
    const struct job_plan *p = &j->plan;
    if (p->parts_count > 0)
        return said_of_part(j, &p->parts[0], l, e);
    int rc = p->winner ? said_of(j, p->winner, l, e) : 0;
    for (size_t i = 0; i < p->losers_count && rc == 0; i++)
        rc = said_of(j, p->losers[i], l, e);
    if (rc != 0 || j->kind == KIND_WITHDRAW)
        return rc;
    const struct store_source *row = &p->source->row;
    struct canon_said own = {.origin = row->origin,
                             .source_id = row->source_id,
                             .arrival = p->said_arrival,
                             .rank = canon_model_rank(j->working->model, row->origin),
                             .observed_at = p->said_at,
                             .fields = p->fields,
                             .ever = p->ever};
    return said_add(l, &own, e);
}

static json_t *differences(const struct entity_def *d, const json_t *before, const json_t *after)
{
    json_t *changes = json_object();
    for (size_t i = 0; i < d->fields_count; i++) {
        const char *name = d->fields[i].name;
        json_t *was = json_object_get(before, name), *is = json_object_get(after, name);
        if (is == NULL && was != NULL)
            json_object_set_new_nocheck(changes, name, json_null());
        else if (is != NULL && (was == NULL || json_compare(was, is) != 0))
            json_object_set_nocheck(changes, name, is);
    }
    return changes;
}

/* Nothing has to be decided and nothing to be checked: what the arrival says is the record. */
static bool says_it_all(const struct canon_job *j, const struct said_list *l)
{
    const struct working *w = j->working;
    return l->count == 1 && l->said->fields == j->data && l->said->ever == NULL &&
           j->normal == w->seed && canon_units_let_alone(&w->units, j->data) &&
           entity_doc_lacks_nothing(w->def, j->data);
}

static int values_survive(struct canon_job *j, const struct said_list *l,
                          struct canon_survived *out, struct err *e)
{
    const struct working *w = j->working;
    if (!says_it_all(j, l))
        return canon_survive(w->model, &w->units, l->said, l->count, false, out, e);
    *out = (struct canon_survived){.golden = json_incref(j->data)};
    return 0;
}

/* The record that `said` makes, and what changes with it. 1: it is not a valid record of the
 * entity, the arrival is parked. */
static int plan_values(struct canon_job *j, const json_t *said, struct err *e)
{
    struct job_plan *p = &j->plan;
    const json_t *before = NULL;
    int rc = p->winner != NULL ? working_values(j->working, p->winner, &before, e) : 0;
    if (rc != 0)
        return rc;
    AUTO(json_unref) json_t *errors = NULL;
    p->values = said == j->data ? json_incref(j->data)
                                : entity_doc_check(j->working->def, said, 0, &errors, e);
    if (p->values != NULL) {
        p->changes = before == NULL ? json_incref(p->values)
                                    : differences(j->working->def, before, p->values);
        return 0;
    }
    if (e->code != ERR_INVALID && e->code != ERR_TOO_LARGE)
        return e->code;
    json_decref(j->call.evidence);
    j->call.evidence = TAKE(errors);
    j->arrival->err = *e;
    job_end(j, STORED_PARKED, "INVALID");
    return 1;
}

/* The golden record out of its source records. 1: parked. */
static int plan_golden(struct canon_job *j, struct err *e)
{
    struct job_plan *p = &j->plan;
    struct said_list l = {0};
    struct canon_survived survived = {0};
    int rc = said_all(j, &l, e);
    p->empty = l.count == 0;
    if (rc == 0)
        rc = values_survive(j, &l, &survived, e);
    mem_free(l.said);
    if (rc != 0)
        return rc;
    p->needs_review = survived.needs_review;
    p->said = p->empty ? 0 : working_said(j->working, survived.golden);
    p->same = p->winner != NULL && p->losers_count == 0 && !p->empty &&
              p->winner->lifecycle == LIFE_ACTIVE && p->winner->said == p->said;
    if (p->same)
        p->changes = json_object();
    else if (!p->empty)
        rc = plan_values(j, survived.golden, e);
    canon_survived_fini(&survived);
    return rc;
}

static int keys_of_job(struct canon_job *j, json_t **out, struct err *e)
{
    if (j->keys == NULL || j->keys_model != j->working->model->hash)
        return canon_keys_of(j->working->model, j->data, j->hooks, out, e);
    *out = json_incref(j->keys);
    return 0;
}

int job_plan(struct canon_job *j, struct err *e)
{
    struct job_plan *p = &j->plan;
    job_plan_fini(p);
    p->generation = j->working->generation;
    AUTO(json_unref) json_t *keys = NULL;
    int rc = keys_of_job(j, &keys, e);
    if (rc != 0) {
        j->arrival->err = *e;
        job_end(j, STORED_FAILED, "INVALID");
        return 1;
    }
    if (j->source_id == NULL && json_array_size(keys) > 0 &&
        (rc = source_id_of_keys(j, keys, e)) != 0)
        return rc;
    if (j->source_id == NULL) {
        job_end(j, STORED_PARKED, "NO_KEYS");
        return 1;
    }
    rc = working_source(j->working, j->arrival->origin, j->source_id, &p->source, e);
    struct owners owners = {0};
    if (rc == 0)
        rc = owners_find(j, keys, &owners, e);
    if (rc != 0)
        return rc;
    if (json_array_size(p->keys) > CANON_KEYS_MAX) {
        err_set(&j->arrival->err, ERR_INVALID, "source record %s/%s has over %d keys",
                j->arrival->origin, j->source_id, CANON_KEYS_MAX);
        job_end(j, STORED_FAILED, "INVALID");
        return 1;
    }
    if (owners.too_many || (owners.count > 1 && j->working->model->park_collisions)) {
        json_decref(j->call.evidence);
        j->call.evidence = collision_evidence(keys, &owners);
        job_end(j, STORED_PARKED, "COLLISION");
        return 1;
    }
    choose_winner(j, &owners);
    plan_source(j);
    return plan_golden(j, e);
}

/* Keys that no other source record of the golden record gives lose their owner. */
static json_t *keys_of_alone(const struct work_source *s)
{
    json_t *alone = json_array();
    for (size_t i = 0; i < json_array_size(s->row.keys); i++) {
        const char *key = json_string_value(json_array_get(s->row.keys, i));
        bool shared = false;
        LIST_EACH(it, &s->golden->sources)
        {
            const struct work_source *other = LIST_OF(it, struct work_source, node);
            shared |= other != s && has_text(other->row.keys, key);
        }
        if (!shared)
            json_array_append_new(alone, json_string(key));
    }
    return alone;
}

int job_plan_withdraw(struct canon_job *j, struct err *e)
{
    struct job_plan *p = &j->plan;
    job_plan_fini(p);
    p->generation = j->working->generation;
    int rc = working_source(j->working, j->arrival->origin, j->source_id, &p->source, e);
    if (rc != 0)
        return rc;
    /* Nothing of it came through, but what it sent is kept. */
    if (p->source->golden == NULL && j->erase && p->source->row.rev != 0) {
        p->empty = true;
        return 0;
    }
    if (p->source->golden == NULL) {
        err_set(&j->arrival->err, ERR_NOT_FOUND, "no source record %s/%s", j->arrival->origin,
                j->source_id);
        job_end(j, STORED_FAILED, "NOT_FOUND");
        return 1;
    }
    p->winner = p->source->golden;
    memcpy(p->id, p->winner->id, sizeof p->id);
    p->lose_keys = keys_of_alone(p->source);
    rc = job_plan_parts(j, e);
    return rc == 0 ? plan_golden(j, e) : rc;
}
