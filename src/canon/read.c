/* Reading: survivors, why, lineage, parked arrivals. A footprint is not stored: a golden record is
 * a pure function of its source records and the version of the model it was made with, both of
 * which are, so it is made again when somebody asks. */
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/time.h"
#include "canon/canon_priv.h"
#include "canon/ops_priv.h"
#include "canon/read_priv.h"
#include "canon/store_priv.h"
#include "db/db.h"

static const char *const stored_names[] = {"canonized", "noop",    "parked",  "failed",
                                           "withdrawn", "resumed", "rejected"};
static const char *const phase_names[] = {"intake", "validate", "aggregate", "project"};
static const char *const lifecycle_names[] = {"active", "superseded", "withdrawn"};
static const char *const readiness_names[] = {"complete", "requires_manual_review"};

static const char *name_of(const char *const *names, size_t count, int64_t at)
{
    return at >= 0 && (size_t)at < count ? names[at] : "unknown";
}
#define NAME_OF(names, at) name_of(names, ARRAY_LEN(names), at)

const char *canon_phase_name(int phase)
{
    return NAME_OF(phase_names, phase);
}

const char *canon_stored_name(int stored)
{
    return NAME_OF(stored_names, stored);
}

int canon_survivor(struct db *db, const char *model, const char *tenant, const char *id,
                   char out[257], struct err *e)
{
    struct store_golden g;
    int rc = store_golden_get(db, tenant, model, id, &g, e);
    if (rc == ERR_NOT_FOUND)
        return err_set(e, ERR_NOT_FOUND, "no golden record '%s' of '%s'", id, model);
    if (rc != 0)
        return rc;
    const char *live = g.lifecycle == LIFE_SUPERSEDED ? g.merged_into : id;
    memcpy(out, live, strlen(live) + 1);
    return 0;
}

/* ---- the source records of a golden record ---- */

struct said_set {
    struct store_source *rows;
    size_t count, cap;
};

static int said_take(void *arg, struct store_source *row, struct err *e)
{
    struct said_set *set = arg;
    if (set->count == set->cap) {
        size_t cap = set->cap ? 2 * set->cap : 16;
        struct store_source *grown = mem_try_resize(set->rows, cap * sizeof *grown);
        if (grown == NULL) {
            store_source_fini(row);
            return err_set(e, ERR_NOMEM, "a golden record of %zu source records", cap);
        }
        set->rows = grown;
        set->cap = cap;
    }
    set->rows[set->count++] = *row;
    return 0;
}

static void said_fini(struct said_set *set)
{
    for (size_t i = 0; i < set->count; i++)
        store_source_fini(&set->rows[i]);
    mem_free(set->rows);
    *set = (struct said_set){0};
}

static int said_survive(const struct canon_model *m, const struct said_set *set,
                        struct canon_survived *out, struct err *e)
{
    AUTO(mem_freep) struct canon_said *said = mem_try((set->count + 1) * sizeof *said);
    if (said == NULL)
        return err_set(e, ERR_NOMEM, "a golden record of %zu source records", set->count);
    for (size_t i = 0; i < set->count; i++) {
        const struct store_source *r = &set->rows[i];
        said[i] = (struct canon_said){.origin = r->origin,
                                      .source_id = r->source_id,
                                      .arrival = r->arrival,
                                      .rank = canon_model_rank(m, r->origin),
                                      .observed_at = r->observed_at,
                                      .fields = r->fields,
                                      .ever = r->ever};
    }
    return canon_survive(m, NULL, said, set->count, true, out, e);
}

/* The model as it was when the record was made; a new reference. */
static int model_of(struct db *db, const struct canon_model *now, uint64_t def,
                    struct canon_model **out, struct err *e)
{
    if (def == now->hash) {
        *out = canon_model_ref((struct canon_model *)now);
        return 0;
    }
    AUTO(mem_freep) char *text = NULL;
    int rc = store_model_get(db, now->name, def, &text, e);
    if (rc == ERR_NOT_FOUND)
        return err_set(e, ERR_CORRUPT, "model '%s' has no version %016llx", now->name,
                       (unsigned long long)def);
    if (rc != 0)
        return rc;
    AUTO(json_unref) json_t *o = json_read(text, strlen(text), e);
    return o == NULL ? ERR_CORRUPT : canon_model_parse(o, out, e);
}

/* ---- why ---- */

static json_t *time_text(int64_t ms)
{
    char text[TIME_TEXT];
    time_format(ms, text);
    return json_string(text);
}

static void why_beat(json_t *out, const json_t *print)
{
    const json_t *beat = json_object_get(print, "beat");
    json_t *list = json_array();
    for (size_t i = 0; i < json_array_size(beat); i++) {
        const json_t *b = json_array_get(beat, i);
        json_array_append_new(
            list, json_pack("{s:O,s:O,s:O,s:o}", "value", json_object_get(b, "v"), "origin",
                            json_object_get(b, "o"), "source_id", json_object_get(b, "s"),
                            "observed_at", time_text(json_integer_value(json_object_get(b, "t")))));
    }
    json_object_set_new(out, "beat", list);
}

static json_t *why_field(const json_t *print, json_t *value)
{
    json_t *o = json_object();
    if (value != NULL)
        json_object_set(o, "value", value);
    else
        json_object_set_new(o, "value", json_null());
    json_object_set(o, "origin", json_object_get(print, "o"));
    json_object_set(o, "source_id", json_object_get(print, "s"));
    json_object_set(o, "arrival", json_object_get(print, "a"));
    json_object_set_new(o, "observed_at",
                        time_text(json_integer_value(json_object_get(print, "t"))));
    json_object_set(o, "policy", json_object_get(print, "p"));
    if (json_object_get(print, "g") != NULL)
        json_object_set(o, "group", json_object_get(print, "g"));
    why_beat(o, print);
    return o;
}

static json_t *why_fields(const struct canon_survived *s)
{
    json_t *fields = json_object();
    const char *name;
    json_t *print;
    json_object_foreach(s->footprint, name, print)
    {
        json_object_set_new(fields, name, why_field(print, json_object_get(s->golden, name)));
    }
    return fields;
}

static json_t *why_sources(const struct said_set *set)
{
    json_t *list = json_array();
    for (size_t i = 0; i < set->count; i++) {
        const struct store_source *r = &set->rows[i];
        json_array_append_new(list, json_pack("{s:s,s:s,s:o,s:s,s:O,s:O}", "origin", r->origin,
                                              "source_id", r->source_id, "observed_at",
                                              time_text(r->observed_at), "arrival", r->arrival,
                                              "keys", r->keys, "fields", r->fields));
    }
    return list;
}

/* Every key the source records gave, each once. */
static json_t *keys_of_set(const struct said_set *set)
{
    json_t *seen = json_object(), *list = json_array();
    for (size_t i = 0; i < set->count; i++)
        for (size_t k = 0; k < json_array_size(set->rows[i].keys); k++) {
            const char *key = json_string_value(json_array_get(set->rows[i].keys, k));
            if (json_object_get(seen, key) != NULL)
                continue;
            json_object_set_new(seen, key, json_true());
            json_array_append_new(list, json_string(key));
        }
    json_decref(seen);
    return list;
}

static int why_with(struct db *db, const struct canon_model *m, const char *tenant, const char *id,
                    const char *with, json_t *why, struct err *e)
{
    char a[257], b[257];
    int rc = canon_survivor(db, m->name, tenant, id, a, e);
    if (rc == 0)
        rc = canon_survivor(db, m->name, tenant, with, b, e);
    struct said_set other = {0};
    if (rc == 0)
        rc = store_sources_of(db, tenant, m->name, b, said_take, &other, e);
    if (rc != 0) {
        said_fini(&other);
        return rc;
    }
    AUTO(json_unref) json_t *mine = json_incref(json_object_get(why, "keys"));
    AUTO(json_unref) json_t *theirs = keys_of_set(&other);
    said_fini(&other);
    json_t *shared = json_array();
    for (size_t i = 0; i < json_array_size(mine); i++)
        for (size_t k = 0; k < json_array_size(theirs); k++)
            if (json_compare(json_array_get(mine, i), json_array_get(theirs, k)) == 0)
                json_array_append(shared, json_array_get(mine, i));
    json_object_set_new(
        why, "with",
        json_pack("{s:s,s:b,s:o}", "id", b, "same", strcmp(a, b) == 0, "shared_keys", shared));
    return 0;
}

static json_t *views_of(struct db *db, const char *tenant, const char *model, const char *id)
{
    struct err e = ERR_INIT;
    AUTO(db_stmt_donep)
    struct db_stmt *s = db_stmt_get(
        db, "SELECT views FROM canon_golden WHERE tenant = ?1 AND model = ?2 AND id = ?3", &e);
    json_t *views = NULL;
    if (s != NULL) {
        db_bind_str(s, 1, tenant);
        db_bind_str(s, 2, model);
        db_bind_str(s, 3, id);
        size_t n;
        const char *p = db_step(s, &e) > 0 ? db_col_text(s, 0, &n) : NULL;
        if (p != NULL)
            views = json_read(p, n, &e);
    }
    return views ? views : json_object();
}

static int why_make(struct db *db, const struct canon_model *m, const char *tenant, const char *id,
                    const struct store_golden *g, json_t **out, struct err *e)
{
    struct said_set set = {0};
    struct canon_survived s = {0};
    struct canon_model *then = NULL;
    int rc = model_of(db, m, g->def, &then, e);
    if (rc == 0)
        rc = store_sources_of(db, tenant, m->name, id, said_take, &set, e);
    if (rc == 0)
        rc = said_survive(then, &set, &s, e);
    if (rc == 0)
        *out = json_pack("{s:s,s:s,s:s,s:o,s:o,s:o,s:o}", "id", id, "lifecycle",
                         NAME_OF(lifecycle_names, g->lifecycle), "readiness",
                         NAME_OF(readiness_names, g->readiness), "fields", why_fields(&s),
                         "sources", why_sources(&set), "keys", keys_of_set(&set), "views",
                         views_of(db, tenant, m->name, id));
    canon_survived_fini(&s);
    said_fini(&set);
    canon_model_unref(then);
    return rc;
}

int canon_why(struct db *db, const struct canon_model *m, const char *tenant, const char *id,
              const char *with, struct buf *out, struct err *e)
{
    char live[257];
    struct store_golden g;
    AUTO(json_unref) json_t *why = NULL;
    int rc = db_snapshot_begin(db, e);
    if (rc != 0)
        return rc;
    rc = canon_survivor(db, m->name, tenant, id, live, e);
    if (rc == 0)
        rc = store_golden_get(db, tenant, m->name, live, &g, e);
    if (rc == 0)
        rc = why_make(db, m, tenant, live, &g, &why, e);
    if (rc == 0 && with != NULL)
        rc = why_with(db, m, tenant, live, with, why, e);
    db_snapshot_end(db);
    return rc == 0 ? json_print(why, out, e) : rc;
}

/* ---- arrivals ---- */

#define ARRIVAL_COLUMNS                                                                            \
    "id, origin, source_id, at, observed_at, def, outcome, phase, reason, evidence, golden, "      \
    "changes, tags, body, CASE WHEN outcome = 6 THEN (SELECT said FROM canon_rejected WHERE "      \
    "arrival = canon_arrival.id) END"

static void set_json(json_t *o, const char *name, struct db_stmt *s, int at)
{
    size_t n;
    const char *p = db_col_text(s, at, &n);
    json_t *v = p ? json_read(p, n, NULL) : NULL;
    if (v != NULL)
        json_object_set_new(o, name, v);
}

static void set_text(json_t *o, const char *name, struct db_stmt *s, int at)
{
    const char *p = db_col_text(s, at, NULL);
    if (p != NULL)
        json_object_set_new(o, name, json_string(p));
}

static json_t *arrival_row(struct db_stmt *s, bool whole)
{
    char def[17];
    snprintf(def, sizeof def, "%016llx", (unsigned long long)db_col_int(s, 5));
    json_t *o = json_object();
    set_text(o, "id", s, 0);
    set_text(o, "origin", s, 1);
    set_text(o, "source_id", s, 2);
    json_object_set_new(o, "at", time_text(db_col_int(s, 3)));
    json_object_set_new(o, "observed_at", time_text(db_col_int(s, 4)));
    json_object_set_new(o, "outcome", json_string(NAME_OF(stored_names, db_col_int(s, 6))));
    set_text(o, "reason", s, 8);
    if (db_col_int(s, 6) == STORED_PARKED || db_col_int(s, 6) == STORED_FAILED)
        json_object_set_new(o, "phase", json_string(NAME_OF(phase_names, db_col_int(s, 7))));
    set_json(o, "evidence", s, 9);
    set_json(o, "rejected", s, 14);
    set_text(o, "golden", s, 10);
    set_json(o, "changes", s, 11);
    set_json(o, "tags", s, 12);
    if (whole) {
        json_object_set_new(o, "definition", json_string(def));
        set_json(o, "data", s, 13);
    }
    return o;
}

static int arrival_rows(struct db_stmt *s, bool whole, struct buf *out, struct err *e)
{
    int rc;
    bool first = true;
    buf_addc(out, '[');
    while ((rc = db_step(s, e)) > 0) {
        AUTO(json_unref) json_t *o = arrival_row(s, whole);
        if (!first)
            buf_addc(out, ',');
        first = false;
        rc = json_print(o, out, e);
        if (rc != 0)
            return rc;
    }
    buf_addc(out, ']');
    return rc;
}

/* Of itself, of what merged into it, and what its source records say now: those may have come here
 * when another golden record was parted. */
int canon_lineage(struct db *db, const struct canon_model *m, const char *tenant, const char *id,
                  size_t limit, struct buf *out, struct err *e)
{
    char live[257];
    int rc = canon_survivor(db, m->name, tenant, id, live, e);
    if (rc != 0)
        return rc;
    AUTO(db_stmt_donep)
    struct db_stmt *s = db_stmt_get(
        db,
        "SELECT " ARRIVAL_COLUMNS " FROM canon_arrival WHERE tenant = ?1 AND model = ?2 AND "
        "rid IN (SELECT rid FROM canon_arrival WHERE "
        "golden IN (SELECT ?3 UNION ALL SELECT id FROM canon_golden WHERE merged_into = ?3 AND "
        "tenant = ?1 AND model = ?2) UNION SELECT a.rid FROM canon_source AS s JOIN "
        "canon_arrival AS a ON a.id = s.arrival WHERE s.golden = ?3 AND s.tenant = ?1 AND "
        "s.model = ?2) ORDER BY rid DESC LIMIT ?4",
        e);
    if (s == NULL)
        return e->code;
    db_bind_str(s, 1, tenant);
    db_bind_str(s, 2, m->name);
    db_bind_str(s, 3, live);
    db_bind_int(s, 4, (int64_t)limit);
    return arrival_rows(s, false, out, e);
}

int canon_source(struct db *db, const struct canon_model *m, const char *tenant, const char *origin,
                 const char *source_id, struct buf *out, struct err *e)
{
    struct store_source s;
    char at[TIME_TEXT];
    int rc = store_source_get(db, tenant, m->name, origin, source_id, &s, e);
    if (rc == ERR_NOT_FOUND)
        return err_set(e, ERR_NOT_FOUND, "no source record %s/%s", origin, source_id);
    if (rc != 0)
        return rc;
    time_format(s.observed_at, at);
    AUTO(json_unref)
    json_t *v =
        json_pack("{s:s, s:s, s:s?, s:s, s:O}", "origin", origin, "source_id", source_id, "id",
                  s.golden[0] != '\0' ? s.golden : NULL, "observed_at", at, "fields", s.fields);
    store_source_fini(&s);
    return json_print(v, out, e);
}

int canon_parked(struct db *db, const struct canon_model *m, const char *tenant, const char *after,
                 size_t limit, struct buf *out, struct err *e)
{
    AUTO(db_stmt_donep)
    struct db_stmt *s = db_stmt_get(db,
                                    "SELECT " ARRIVAL_COLUMNS " FROM canon_arrival WHERE outcome = "
                                    "2 AND tenant = ?1 AND model = ?2 AND id > ?3 ORDER BY id "
                                    "LIMIT ?4",
                                    e);
    if (s == NULL)
        return e->code;
    db_bind_str(s, 1, tenant);
    db_bind_str(s, 2, m->name);
    db_bind_str(s, 3, after ? after : "");
    db_bind_int(s, 4, (int64_t)limit);
    return arrival_rows(s, true, out, e);
}

/* {"geo": {"value": 7}} is shown as {"geo": 7}. */
static int arrival_memo(struct db *db, const char *id, json_t *o, struct err *e)
{
    AUTO(json_unref) json_t *memo = NULL;
    int rc = store_memo_get(db, id, &memo, e);
    if (rc != 0 || memo == NULL)
        return rc;
    json_t *shown = json_object();
    const char *name;
    json_t *kept;
    json_object_foreach(memo, name, kept)
    {
        json_t *value = json_object_get(kept, "value");
        json_object_set_new(shown, name, value != NULL ? json_incref(value) : json_null());
    }
    json_object_set_new(o, "memo", shown);
    return 0;
}

int canon_arrival_get(struct db *db, const struct canon_model *m, const char *tenant,
                      const char *arrival_id, struct buf *out, struct err *e)
{
    AUTO(db_stmt_donep)
    struct db_stmt *s = db_stmt_get(db,
                                    "SELECT " ARRIVAL_COLUMNS " FROM canon_arrival WHERE id = ?1 "
                                    "AND tenant = ?2 AND model = ?3",
                                    e);
    if (s == NULL)
        return e->code;
    db_bind_str(s, 1, arrival_id);
    db_bind_str(s, 2, tenant);
    db_bind_str(s, 3, m->name);
    int rc = db_step(s, e);
    if (rc == 0)
        return err_set(e, ERR_NOT_FOUND, "no arrival '%s' of '%s'", arrival_id, m->name);
    if (rc < 0)
        return rc;
    AUTO(json_unref) json_t *o = arrival_row(s, true);
    rc = arrival_memo(db, arrival_id, o, e);
    return rc == 0 ? json_print(o, out, e) : rc;
}

/* ---- shared with summary.c ---- */

int canon_read_survive(struct db *db, const struct canon_model *m, uint64_t def,
                       const struct store_source *rows, size_t count, struct canon_survived *out,
                       struct err *e)
{
    struct canon_model *then = NULL;
    struct said_set set = {.rows = (struct store_source *)rows, .count = count};
    int rc = model_of(db, m, def, &then, e);
    if (rc == 0)
        rc = said_survive(then, &set, out, e);
    canon_model_unref(then);
    return rc;
}
