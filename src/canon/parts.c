/* A withdrawal may part what the withdrawn source record alone connected.
 *
 * The golden set is a function of the source records: those that share a key, now or through
 * others, are one golden record. So when one of them goes, the rest is looked at anew:
 *
 *      tax:1 -- erp/1 -- (crm/7) -- web/3 -- mail:x          erp/1            web/3
 *                        withdrawn                    --->   keeps the id     a new id
 *
 * A key connects whoever ever gave it. A direct statement names its golden record by id and stays
 * with whoever keeps it. The part of the oldest source record, the one that was known first, keeps
 * the id; rows, keys and source records of the others move in the same unit. */
#include <string.h>

#include "base/buf.h"
#include "base/map.h"
#include "base/mem.h"
#include "canon/engine_priv.h"
#include "canon/pipeline_priv.h"
#include "entity/doc.h"
#include "entity/entity.h"
#include "ledger/txn.h"

void job_parts_fini(struct job_plan *p)
{
    for (size_t i = 0; i < p->parts_count; i++) {
        struct job_part *part = &p->parts[i];
        json_decref(part->keys);
        json_decref(part->values);
        json_decref(part->views);
    }
    mem_free(p->parts);
    mem_free(p->members);
    p->parts = NULL;
    p->members = NULL;
    p->parts_count = 0;
}

/* ---- who belongs together ---- */

/* Union-find over the source records that remain. */
struct field {
    struct work_source **sources;
    size_t *parent;
    size_t count;
};

static size_t field_root(struct field *f, size_t i)
{
    while (f->parent[i] != i)
        i = f->parent[i] = f->parent[f->parent[i]];
    return i;
}

static void field_join(struct field *f, size_t a, size_t b)
{
    f->parent[field_root(f, a)] = field_root(f, b);
}

static void field_fini(struct field *f)
{
    mem_free(f->sources);
    mem_free(f->parent);
}

static int field_fill(struct field *f, const struct work_golden *g,
                      const struct work_source *without, struct err *e)
{
    size_t count = 0;
    LIST_EACH(it, &g->sources)
    {
        count++;
    }
    f->sources = mem_try((count + 1) * sizeof(*f->sources));
    f->parent = mem_try((count + 1) * sizeof(*f->parent));
    if (f->sources == NULL || f->parent == NULL)
        return err_set(e, ERR_NOMEM, "a golden record of %zu source records", count);
    LIST_EACH(it, &g->sources)
    {
        struct work_source *s = LIST_OF(it, struct work_source, node);
        if (s == without)
            continue;
        f->parent[f->count] = f->count;
        f->sources[f->count++] = s;
    }
    return 0;
}

static void field_join_keys(struct field *f)
{
    struct map *first = map_new(); /* key -> &sources[i] that was seen with it first */
    for (size_t i = 0; i < f->count; i++) {
        const json_t *keys = f->sources[i]->row.keys;
        for (size_t k = 0; k < json_array_size(keys); k++) {
            const char *key = json_string_value(json_array_get(keys, k));
            struct work_source **seen = map_gets(first, key);
            if (seen != NULL)
                field_join(f, i, (size_t)(seen - f->sources));
            else
                map_puts(first, key, &f->sources[i]);
        }
    }
    map_free(first, NULL);
}

static size_t field_parts(struct field *f)
{
    size_t parts = 0;
    for (size_t i = 0; i < f->count; i++)
        parts += field_root(f, i) == i;
    return parts;
}

/* The one that was known first. What the database does not have yet is younger than what it has. */
static int field_oldest(struct field *f, struct canon_job *j, size_t *out, struct err *e)
{
    int64_t best = INT64_MAX;
    *out = 0;
    for (size_t i = 0; i < f->count; i++) {
        const struct store_source *row = &f->sources[i]->row;
        int64_t since = INT64_MAX;
        int rc = store_source_since(j->working->reader, j->working->tenant, j->working->model->name,
                                    row->origin, row->source_id, &since, e);
        if (rc != 0)
            return rc;
        if (since < best) {
            best = since;
            *out = i;
        }
    }
    return 0;
}

/* ---- the parts ---- */

static void part_add(struct job_part *part, struct work_source *s)
{
    part->members[part->count++] = s;
    if (part->keys == NULL)
        part->keys = json_array();
    for (size_t i = 0; i < json_array_size(s->row.keys); i++)
        json_array_append(part->keys, json_array_get(s->row.keys, i));
}

/* parts[0] is that of `oldest`. */
static int parts_make(struct canon_job *j, struct field *f, size_t oldest, size_t count,
                      struct err *e)
{
    struct job_plan *p = &j->plan;
    AUTO(mem_freep) size_t *part_of = mem_try(f->count * sizeof(*part_of));
    AUTO(mem_freep) size_t *sizes = mem_try(count * sizeof(*sizes));
    p->members = mem_try(f->count * sizeof(*p->members));
    p->parts = mem_try(count * sizeof(*p->parts));
    if (part_of == NULL || sizes == NULL || p->members == NULL || p->parts == NULL)
        return err_set(e, ERR_NOMEM, "a golden record of %zu source records", f->count);
    memset(p->parts, 0, count * sizeof(*p->parts));
    memset(sizes, 0, count * sizeof(*sizes));
    p->parts_count = count;
    size_t kept = field_root(f, oldest), next = 1;
    for (size_t i = 0; i < f->count; i++)
        if (field_root(f, i) == i)
            part_of[i] = i == kept ? 0 : next++;
    for (size_t i = 0; i < f->count; i++)
        sizes[part_of[field_root(f, i)]]++;
    struct work_source **room = p->members;
    for (size_t i = 0; i < count; i++) {
        p->parts[i].members = room;
        room += sizes[i];
    }
    for (size_t i = 0; i < f->count; i++)
        part_add(&p->parts[part_of[field_root(f, i)]], f->sources[i]);
    return 0;
}

/* The golden record that a part makes. 1: it would be none that the entity takes. */
static int part_values(struct canon_job *j, struct job_part *part, struct err *e)
{
    const struct canon_model *m = j->working->model;
    AUTO(mem_freep) struct canon_said *said = mem_try(part->count * sizeof(*said));
    if (said == NULL)
        return err_set(e, ERR_NOMEM, "a golden record of %zu source records", part->count);
    for (size_t i = 0; i < part->count; i++)
        said[i] = job_said(j, part->members[i]);
    struct canon_survived survived = {0};
    int rc = canon_survive(m, &j->working->units, said, part->count, false, &survived, e);
    if (rc != 0)
        return rc;
    AUTO(json_unref) json_t *errors = NULL;
    part->needs_review = survived.needs_review;
    part->said = working_said(j->working, survived.golden);
    part->values = entity_doc_check(j->working->def, survived.golden, 0, &errors, e);
    canon_survived_fini(&survived);
    if (part->values != NULL)
        return 0;
    if (e->code != ERR_INVALID && e->code != ERR_TOO_LARGE)
        return e->code;
    j->arrival->err = *e;
    job_end(j, STORED_FAILED, "INVALID");
    return 1;
}

static int parts_values(struct canon_job *j, struct err *e)
{
    struct job_plan *p = &j->plan;
    int rc = 0;
    for (size_t i = 1; i < p->parts_count && rc == 0; i++) {
        engine_make_id(j->engine, p->parts[i].id);
        rc = part_values(j, &p->parts[i], e);
    }
    p->parts_left = p->parts_count > 0 ? p->parts_count - 1 : 0;
    return rc;
}

int job_plan_parts(struct canon_job *j, struct err *e)
{
    struct job_plan *p = &j->plan;
    AUTO(field_fini) struct field f = {.count = 0};
    int rc = field_fill(&f, p->winner, p->source, e);
    if (rc != 0)
        return rc;
    field_join_keys(&f);
    if (field_parts(&f) < 2)
        return 0;
    size_t oldest;
    rc = field_oldest(&f, j, &oldest, e);
    if (rc != 0)
        return rc;
    for (size_t i = 0; i < f.count; i++)
        if (strcmp(f.sources[i]->row.origin, CANON_DIRECT) == 0)
            field_join(&f, i, oldest);
    size_t count = field_parts(&f);
    if (count < 2)
        return 0;
    if (count > CANON_PARTS_MAX) {
        err_set(&j->arrival->err, ERR_TOO_LARGE,
                "the golden record falls into %zu, over the limit of %d; withdraw other sources "
                "first",
                count, CANON_PARTS_MAX);
        job_end(j, STORED_FAILED, "INVALID");
        return 1;
    }
    rc = parts_make(j, &f, oldest, count, e);
    return rc == 0 ? parts_values(j, e) : rc;
}

struct job_part *job_part_to_project(struct job_plan *p)
{
    return p->parts_left > 0 ? &p->parts[p->parts_left] : NULL;
}

/* ---- the unit, and the working set ---- */

int job_compose_part_saves(struct canon_job *j, struct txn *t, struct err *e)
{
    const struct job_plan *p = &j->plan;
    int rc = 0;
    for (size_t i = 1; i < p->parts_count && rc == 0; i++) {
        struct entity_doc doc;
        entity_doc_init(&doc);
        rc = entity_doc_print(j->working->def, p->parts[i].values, &doc, e);
        if (rc == 0)
            entity_txn_save(t, j->working->def, p->parts[i].id, ENTITY_CREATE, 0, &doc);
        entity_doc_fini(&doc);
    }
    return rc;
}

/* [[origin, source id], ...] */
static json_t *part_names(const struct job_part *part)
{
    json_t *list = json_array();
    for (size_t i = 0; i < part->count; i++)
        json_array_append_new(list, json_pack("[s,s]", part->members[i]->row.origin,
                                              part->members[i]->row.source_id));
    return list;
}

static int compose_part(struct canon_job *j, const struct job_part *part, struct txn *t,
                        struct err *e)
{
    AUTO(buf_fini) struct buf keys = BUF_INIT(TXN_BYTES_MAX);
    AUTO(buf_fini) struct buf members = BUF_INIT(TXN_BYTES_MAX);
    AUTO(buf_fini) struct buf views = BUF_INIT(4 * CANON_BODY_MAX);
    AUTO(json_unref) json_t *names = part_names(part);
    int rc = json_print(part->keys, &keys, e);
    if (rc == 0)
        rc = json_print(names, &members, e);
    if (rc == 0 && part->views != NULL)
        rc = json_print(part->views, &views, e);
    if (rc != 0)
        return rc;
    struct canon_op_part op = {.model = j->working->model->name,
                               .from = j->plan.id,
                               .id = part->id,
                               .keys = buf_str(&keys),
                               .members = buf_str(&members),
                               .views = part->views != NULL ? buf_str(&views) : NULL,
                               .def = j->working->model->hash,
                               .rev = j->rev,
                               .said = part->said,
                               .readiness = part->needs_review ? READY_REVIEW : READY_COMPLETE};
    canon_op_part(t, &op);
    return 0;
}

int job_compose_parts(struct canon_job *j, struct txn *t, struct err *e)
{
    int rc = 0;
    for (size_t i = 1; i < j->plan.parts_count && rc == 0; i++)
        rc = compose_part(j, &j->plan.parts[i], t, e);
    return rc;
}

void job_commit_parts(struct canon_job *j)
{
    struct working *w = j->working;
    for (size_t i = 1; i < j->plan.parts_count; i++) {
        struct job_part *part = &j->plan.parts[i];
        struct work_golden *g = working_add_golden(w, part->id);
        g->rev = j->rev;
        g->touched = w->proposed + 1;
        g->lifecycle = LIFE_ACTIVE;
        g->readiness = part->needs_review ? READY_REVIEW : READY_COMPLETE;
        g->said = part->said;
        json_decref(g->values);
        g->values = json_incref(part->values);
        for (size_t k = 0; k < part->count; k++) {
            part->members[k]->row.rev = j->rev;
            part->members[k]->touched = w->proposed + 1;
            working_attach(w, part->members[k], g);
        }
        for (size_t k = 0; k < json_array_size(part->keys); k++)
            working_set_owner(w, json_string_value(json_array_get(part->keys, k)), g->id);
    }
}
