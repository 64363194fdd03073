#include "canon/working_priv.h"

#include <string.h>

#include "base/buf.h"
#include "base/hash.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/str.h"
#include "canon/ops_priv.h"
#include "entity/def.h"
#include "entity/read.h"

enum { SOURCE_KEY_MAX = 2048, WORKING_KEYS_MAX = 16 * CANON_WORKING_MAX };

static void source_free(void *p)
{
    struct work_source *s = p;
    store_source_fini(&s->row);
    mem_free(s);
}

static void golden_free(void *p)
{
    struct work_golden *g = p;
    json_decref(g->values);
    mem_free(g);
}

struct working *working_new(const char *tenant, struct canon_model *model, struct entity_def *def,
                            struct db *reader)
{
    struct working *w = mem_new(sizeof *w);
    w->tenant = mem_strdup(tenant);
    w->reader = reader;
    working_define(w, model, def);
    w->sources = map_new();
    w->goldens = map_new();
    w->keys = map_new();
    return w;
}

void working_define(struct working *w, struct canon_model *model, struct entity_def *def)
{
    canon_model_unref(w->model);
    entity_def_unref(w->def);
    w->model = model;
    w->def = def;
    w->seed = hash64(model->hash, def->json, strlen(def->json));
    canon_units_fini(&w->units);
    canon_units_of(model, def, &w->units);
}

void working_free(struct working *w)
{
    if (w == NULL)
        return;
    map_free(w->sources, source_free);
    map_free(w->goldens, golden_free);
    map_free(w->keys, mem_free);
    canon_units_fini(&w->units);
    canon_model_unref(w->model);
    entity_def_unref(w->def);
    mem_free(w->tenant);
    mem_free(w);
}

void working_clear(struct working *w)
{
    ASSERT(working_flight(w) == 0);
    map_clear(w->sources, source_free);
    map_clear(w->goldens, golden_free);
    map_clear(w->keys, mem_free);
    w->stale = false;
    w->generation++;
}

size_t working_flight(const struct working *w)
{
    return (size_t)(w->proposed - w->completed);
}

static bool is_settled(const struct working *w, uint64_t touched)
{
    return touched <= w->completed;
}

void working_sweep(struct working *w)
{
    w->generation++;
    for (struct map_iter it = {0}; map_next(w->sources, &it);) {
        struct work_source *s = it.value;
        if (s->golden != NULL ? is_settled(w, s->golden->touched) : is_settled(w, s->touched))
            source_free(map_remove(w->sources, it.key, it.key_len));
    }
    for (struct map_iter it = {0}; map_next(w->goldens, &it);) {
        struct work_golden *g = it.value;
        if (is_settled(w, g->touched))
            golden_free(map_remove(w->goldens, it.key, it.key_len));
    }
    for (struct map_iter it = {0}; map_next(w->keys, &it);) {
        struct work_key *k = it.value;
        if (is_settled(w, k->touched))
            mem_free(map_remove(w->keys, it.key, it.key_len));
    }
}

bool working_is_full(const struct working *w)
{
    return map_count(w->goldens) >= CANON_WORKING_MAX ||
           map_count(w->sources) >= 2 * CANON_WORKING_MAX || map_count(w->keys) >= WORKING_KEYS_MAX;
}

static void source_key(struct buf *b, const char *origin, const char *source_id)
{
    buf_adds(b, origin);
    buf_addc(b, '\x1f');
    buf_adds(b, source_id);
}

struct work_golden *working_add_golden(struct working *w, const char *id)
{
    struct work_golden *g = mem_new(sizeof *g);
    ASSERT(strlen(id) < sizeof g->id);
    str_copy(g->id, sizeof g->id, id);
    list_init(&g->sources);
    struct work_golden *old = map_puts(w->goldens, id, g);
    ASSERT(old == NULL);
    return g;
}

/* Takes over the row. The set has no record of this name yet. */
static struct work_source *source_add(struct working *w, const char *key, size_t n,
                                      struct store_source *row)
{
    struct work_source *s = mem_new(sizeof *s);
    s->row = *row;
    *row = (struct store_source){0};
    list_init(&s->node);
    map_put(w->sources, key, n, s);
    return s;
}

struct load {
    struct working *w;
    struct work_golden *g;
};

/* The database says one thing of a source record, the set another: the set is outdated. */
static int working_outdated(struct working *w, const char *origin, const char *source_id,
                            struct err *e)
{
    w->stale = true;
    return err_set(e, ERR_VERSION_MISMATCH, "source record %s/%s has moved", origin, source_id);
}

static int load_source(void *arg, struct store_source *row, struct err *e)
{
    struct load *l = arg;
    AUTO(buf_fini) struct buf key = BUF_INIT(SOURCE_KEY_MAX);
    source_key(&key, row->origin, row->source_id);
    int rc = buf_check(&key, "origin and source id", e);
    if (rc != 0) {
        store_source_fini(row);
        return rc;
    }
    struct work_source *s = map_get(l->w->sources, key.data, key.len);
    bool known = s != NULL;
    bool same = !known || (s->golden == NULL && s->row.rev == row->rev);
    if (!known)
        s = source_add(l->w, key.data, key.len, row);
    else
        store_source_fini(row);
    if (!same)
        return working_outdated(l->w, s->row.origin, s->row.source_id, e);
    working_attach(l->w, s, l->g);
    return 0;
}

/* Only what the entity declares: the system fields of the row are not part of what sources say. */
int working_values(struct working *w, struct work_golden *g, const json_t **out, struct err *e)
{
    AUTO(json_unref) json_t *row = NULL;
    *out = g->values;
    if (g->values != NULL)
        return 0;
    int rc = entity_get_json(w->reader, w->def, w->tenant, g->id, &row, NULL, e);
    if (rc != 0 && rc != ERR_NOT_FOUND)
        return rc;
    err_clear(e);
    *out = g->values = json_object();
    for (size_t i = 0; i < w->def->fields_count; i++) {
        json_t *v = json_object_get(row, w->def->fields[i].name);
        if (v != NULL && !json_is_null(v))
            json_object_set_nocheck(g->values, w->def->fields[i].name, v);
    }
    return 0;
}

uint64_t working_said(const struct working *w, const json_t *golden)
{
    uint64_t sum = w->seed;
    const char *name;
    json_t *v;
    json_object_foreach((json_t *)golden, name, v)
    {
        sum += json_hash(hash64(w->seed, name, strlen(name)), v);
    }
    return sum | 1;
}

int working_golden(struct working *w, const char *id, struct work_golden **out, struct err *e)
{
    *out = map_gets(w->goldens, id);
    if (*out != NULL)
        return 0;
    struct store_golden row;
    int rc = store_golden_get(w->reader, w->tenant, w->model->name, id, &row, e);
    if (rc != 0)
        return rc;
    if (row.lifecycle == LIFE_SUPERSEDED)
        return working_golden(w, row.merged_into, out, e);
    struct work_golden *g = working_add_golden(w, id);
    g->rev = row.rev;
    g->lifecycle = row.lifecycle;
    g->readiness = row.readiness;
    g->said = row.said;
    struct load l = {w, g};
    rc = store_sources_of(w->reader, w->tenant, w->model->name, id, load_source, &l, e);
    if (rc != 0)
        g->rev = 0; /* half loaded: no unit that builds on it may hold */
    *out = g;
    return rc;
}

int working_source(struct working *w, const char *origin, const char *source_id,
                   struct work_source **out, struct err *e)
{
    AUTO(buf_fini) struct buf key = BUF_INIT(SOURCE_KEY_MAX);
    source_key(&key, origin, source_id);
    int rc = buf_check(&key, "origin and source id", e);
    if (rc != 0)
        return rc;
    *out = map_get(w->sources, key.data, key.len);
    if (*out != NULL)
        return 0;
    struct store_source row = {0};
    rc = store_source_get(w->reader, w->tenant, w->model->name, origin, source_id, &row, e);
    if (rc != 0 && rc != ERR_NOT_FOUND)
        return rc;
    if (rc == ERR_NOT_FOUND) {
        row = (struct store_source){.origin = mem_strdup(origin),
                                    .source_id = mem_strdup(source_id),
                                    .fields = json_object(),
                                    .keys = json_array()};
        *out = source_add(w, key.data, key.len, &row);
        return 0;
    }
    if (row.golden[0] == '\0') {
        *out = source_add(w, key.data, key.len, &row);
        return 0;
    }
    /* Loading its golden record brings all of that record's sources, this one among them. Only when
     * the set has that record from before another engine gave it this source, it does not: then
     * the revision of the record is an old one, and the unit's condition on it will say so. */
    struct work_golden *g;
    rc = working_golden(w, row.golden, &g, e);
    *out = rc == 0 ? map_get(w->sources, key.data, key.len) : NULL;
    if (rc == 0 && *out == NULL) {
        *out = source_add(w, key.data, key.len, &row);
        working_attach(w, *out, g);
        w->stale = true;
    }
    store_source_fini(&row);
    return rc == ERR_NOT_FOUND ? err_set(e, ERR_CORRUPT, "source record %s/%s has no golden record",
                                         origin, source_id)
                               : rc;
}

int working_key(struct working *w, const char *key, const struct work_key **out, struct err *e)
{
    struct work_key *k = map_gets(w->keys, key);
    if (k == NULL) {
        char id[STORE_ID] = "";
        int rc = store_key_owner(w->reader, w->tenant, w->model->name, key, id, e);
        if (rc != 0 && rc != ERR_NOT_FOUND)
            return rc;
        k = working_note_owner(w, key, id);
    }
    *out = k;
    return 0;
}

int working_owner(struct working *w, const char *key, const char **owner, struct err *e)
{
    const struct work_key *k;
    int rc = working_key(w, key, &k, e);
    if (rc == 0)
        *owner = k->owner;
    return rc;
}

static struct work_key *key_put(struct working *w, const char *key, const char *owner)
{
    struct work_key *k = map_gets(w->keys, key);
    if (k == NULL) {
        k = mem_new(sizeof *k);
        map_puts(w->keys, key, k);
    }
    ASSERT(strlen(owner) < sizeof k->owner);
    str_copy(k->owner, sizeof k->owner, owner);
    return k;
}

void working_set_owner(struct working *w, const char *key, const char *owner)
{
    key_put(w, key, owner)->touched = w->proposed + 1;
}

struct work_key *working_note_owner(struct working *w, const char *key, const char *owner)
{
    struct work_key *k = key_put(w, key, owner);
    k->touched = 0;
    return k;
}

void working_attach(struct working *w, struct work_source *s, struct work_golden *g)
{
    if (s->golden != NULL)
        list_remove(&s->node);
    s->golden = g;
    if (g != NULL)
        list_push(&g->sources, &s->node);
    w->generation++;
}

void working_merge(struct working *w, struct work_golden *loser, struct work_golden *winner)
{
    while (!list_is_empty(&loser->sources)) {
        struct work_source *s = LIST_OF(loser->sources.next, struct work_source, node);
        for (size_t i = 0; i < json_array_size(s->row.keys); i++)
            working_set_owner(w, json_string_value(json_array_get(s->row.keys, i)), winner->id);
        working_attach(w, s, winner);
    }
    map_removes(w->goldens, loser->id);
    golden_free(loser);
}
