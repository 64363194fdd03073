#include "canon/store_priv.h"

#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "canon/ops_priv.h"
#include "db/db.h"
#include "ledger/domain.h"
#include "ledger/txn.h"

#define SOURCE_COLUMNS                                                                             \
    "origin, source_id, rev, golden, observed_at, arrival, fields, ever, keys, last_hash, "        \
    "last_def"

struct db_stmt *store_query(struct db *db, const char *sql, const char *const *texts, size_t count,
                            struct err *e)
{
    struct db_stmt *s = db_stmt_get(db, sql, e);
    for (size_t i = 0; s != NULL && i < count; i++)
        db_bind_str(s, (int)i + 1, texts[i]);
    return s;
}

/* Steps to the one row: 0, or ERR_NOT_FOUND without words. */
static int store_one(struct db_stmt *s, struct err *e)
{
    int rc = db_step(s, e);
    return rc > 0 ? 0 : rc == 0 ? ERR_NOT_FOUND : rc;
}

static json_t *col_json(struct db_stmt *s, int at)
{
    size_t n;
    const char *p = db_col_text(s, at, &n);
    return p ? json_read(p, n, NULL) : NULL;
}

void store_source_fini(struct store_source *s)
{
    mem_free(s->origin);
    mem_free(s->source_id);
    json_decref(s->fields);
    json_decref(s->ever);
    json_decref(s->keys);
    *s = (struct store_source){0};
}

static int source_fill(struct db_stmt *s, struct store_source *out, struct err *e)
{
    *out = (struct store_source){.rev = (uint64_t)db_col_int(s, 2),
                                 .observed_at = db_col_int(s, 4),
                                 .last_hash = (uint64_t)db_col_int(s, 9),
                                 .last_def = (uint64_t)db_col_int(s, 10)};
    out->origin = mem_strdup(db_col_text(s, 0, NULL));
    out->source_id = mem_strdup(db_col_text(s, 1, NULL));
    str_copy(out->golden, sizeof out->golden, db_col_text(s, 3, NULL));
    str_copy(out->arrival, sizeof out->arrival, db_col_text(s, 5, NULL));
    out->fields = col_json(s, 6);
    out->ever = col_json(s, 7);
    out->keys = col_json(s, 8);
    if (out->fields != NULL && out->keys != NULL)
        return 0;
    err_set(e, ERR_CORRUPT, "source record %s/%s is not readable", out->origin, out->source_id);
    store_source_fini(out);
    return ERR_CORRUPT;
}

int store_source_get(struct db *db, const char *tenant, const char *model, const char *origin,
                     const char *source_id, struct store_source *out, struct err *e)
{
    AUTO(db_stmt_donep)
    struct db_stmt *s =
        STORE_QUERY(db,
                    "SELECT " SOURCE_COLUMNS " FROM canon_source "
                    "WHERE tenant = ?1 AND model = ?2 AND origin = ?3 AND source_id = ?4",
                    e, tenant, model, origin, source_id);
    if (s == NULL)
        return e->code;
    int rc = store_one(s, e);
    return rc != 0 ? rc : source_fill(s, out, e);
}

int store_source_rev(struct db *db, const char *tenant, const char *model, const char *origin,
                     const char *source_id, uint64_t *out, struct err *e)
{
    AUTO(db_stmt_donep)
    struct db_stmt *s =
        STORE_QUERY(db,
                    "SELECT rev FROM canon_source "
                    "WHERE tenant = ?1 AND model = ?2 AND origin = ?3 AND source_id = ?4",
                    e, tenant, model, origin, source_id);
    if (s == NULL)
        return e->code;
    int rc = db_step(s, e);
    *out = rc > 0 ? (uint64_t)db_col_int(s, 0) : 0;
    return rc < 0 ? rc : 0;
}

int store_key_owner(struct db *db, const char *tenant, const char *model, const char *key,
                    char out[STORE_ID], struct err *e)
{
    AUTO(db_stmt_donep)
    struct db_stmt *s = STORE_QUERY(
        db, "SELECT golden FROM canon_key WHERE tenant = ?1 AND model = ?2 AND key = ?3", e, tenant,
        model, key);
    if (s == NULL)
        return e->code;
    int rc = store_one(s, e);
    if (rc != 0)
        return rc;
    str_copy(out, STORE_ID, db_col_text(s, 0, NULL));
    return 0;
}

int store_key_owners(struct db *db, const char *tenant, const char *model,
                     const struct db_rows *keys,
                     void (*found)(void *arg, size_t at, const char *owner), void *arg,
                     struct err *e)
{
    AUTO(db_stmt_donep)
    struct db_stmt *s =
        STORE_QUERY(db,
                    "SELECT r.rowid, k.golden FROM db_rows AS r CROSS JOIN canon_key AS k "
                    "WHERE k.key = r.c0 AND k.model = ?2 AND k.tenant = ?1",
                    e, tenant, model);
    if (s == NULL)
        return e->code;
    db_rows_give(db, keys);
    int rc;
    while ((rc = db_step(s, e)) > 0)
        found(arg, (size_t)db_col_int(s, 0), db_col_text(s, 1, NULL));
    db_rows_give(db, NULL);
    return rc;
}

int store_golden_get(struct db *db, const char *tenant, const char *model, const char *id,
                     struct store_golden *out, struct err *e)
{
    AUTO(db_stmt_donep)
    struct db_stmt *s =
        STORE_QUERY(db,
                    "SELECT rev, def, lifecycle, readiness, merged_into, said FROM canon_golden "
                    "WHERE tenant = ?1 AND model = ?2 AND id = ?3",
                    e, tenant, model, id);
    if (s == NULL)
        return e->code;
    int rc = store_one(s, e);
    if (rc != 0)
        return rc;
    *out = (struct store_golden){.rev = (uint64_t)db_col_int(s, 0),
                                 .def = (uint64_t)db_col_int(s, 1),
                                 .lifecycle = (int)db_col_int(s, 2),
                                 .readiness = (int)db_col_int(s, 3),
                                 .said = (uint64_t)db_col_int(s, 5)};
    str_copy(out->merged_into, sizeof out->merged_into, db_col_text(s, 4, NULL));
    return 0;
}

int store_sources_of(struct db *db, const char *tenant, const char *model, const char *golden,
                     store_source_cb *cb, void *arg, struct err *e)
{
    AUTO(db_stmt_donep)
    struct db_stmt *s = STORE_QUERY(db,
                                    "SELECT " SOURCE_COLUMNS " FROM canon_source "
                                    "WHERE golden = ?3 AND tenant = ?1 AND model = ?2",
                                    e, tenant, model, golden);
    if (s == NULL)
        return e->code;
    int rc;
    while ((rc = db_step(s, e)) > 0) {
        struct store_source row;
        rc = source_fill(s, &row, e);
        if (rc == 0)
            rc = cb(arg, &row, e);
        if (rc != 0)
            return rc;
    }
    return rc;
}

int store_model_get(struct db *db, const char *name, uint64_t def, char **definition, struct err *e)
{
    AUTO(db_stmt_donep)
    struct db_stmt *s =
        STORE_QUERY(db,
                    "SELECT definition FROM canon_model WHERE name = ?1 AND (?2 = 0 OR def = ?2) "
                    "ORDER BY seq DESC LIMIT 1",
                    e, name);
    if (s == NULL)
        return e->code;
    db_bind_int(s, 2, (int64_t)def);
    int rc = store_one(s, e);
    if (rc != 0)
        return rc;
    *definition = mem_strdup(db_col_text(s, 0, NULL));
    return 0;
}

/* ---- apply ---- */

int store_model_put(struct db *db, const char *name, uint64_t def, uint64_t seq,
                    const char *definition, struct err *e)
{
    struct db_stmt *s =
        STORE_QUERY(db,
                    "INSERT INTO canon_model (name, def, seq, definition) VALUES (?1, ?2, ?3, ?4) "
                    "ON CONFLICT (name, def) DO UPDATE SET seq = ?3",
                    e, name);
    if (s == NULL)
        return e->code;
    db_bind_int(s, 2, (int64_t)def);
    db_bind_int(s, 3, (int64_t)seq);
    db_bind_str(s, 4, definition);
    return db_run(s, e);
}

/* A parked arrival that was taken up again keeps its row and evidence, but is parked no more. */
static int arrival_resumed(struct db *db, const char *id, struct err *e)
{
    struct db_stmt *s = STORE_QUERY(
        db, "UPDATE canon_arrival SET outcome = ?2 WHERE id = ?1 AND outcome = ?3", e, id);
    if (s == NULL)
        return e->code;
    db_bind_int(s, 2, STORED_RESUMED);
    db_bind_int(s, 3, STORED_PARKED);
    return db_run(s, e);
}

int store_arrival_is_parked(struct db *db, const char *id, struct err *e)
{
    AUTO(db_stmt_donep)
    struct db_stmt *s =
        STORE_QUERY(db, "SELECT 1 FROM canon_arrival WHERE id = ?1 AND outcome = ?2", e, id);
    if (s == NULL)
        return e->code;
    db_bind_int(s, 2, STORED_PARKED);
    return db_step(s, e);
}

int store_arrival_put(struct db *db, const struct apply *a, const struct canon_op_arrive *op,
                      struct err *e)
{
    int rc = op->resumes != NULL ? arrival_resumed(db, op->resumes, e) : 0;
    if (rc != 0)
        return rc;
    struct db_stmt *s = db_stmt_get(
        db,
        "INSERT INTO canon_arrival (id, tenant, model, origin, source_id, at, observed_at, def, "
        "outcome, phase, reason, evidence, golden, body, work, tags, changes) VALUES "
        "(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17)",
        e);
    if (s == NULL)
        return e->code;
    const char *const texts[] = {op->arrival, a->env->tenant, op->model, op->origin, op->source_id};
    for (int i = 0; i < 5; i++)
        db_bind_str(s, i + 1, texts[i]);
    db_bind_int(s, 6, a->at);
    db_bind_int(s, 7, op->observed_at);
    db_bind_int(s, 8, (int64_t)op->def);
    db_bind_int(s, 9, op->outcome);
    db_bind_int(s, 10, op->phase);
    const char *const more[] = {op->reason, op->evidence, op->golden, op->body,
                                op->work,   op->tags,     op->changes};
    for (int i = 0; i < 7; i++)
        db_bind_str(s, i + 11, more[i]);
    return db_run(s, e);
}

int store_source_put(struct db *db, const struct apply *a, const struct canon_op_arrive *op,
                     struct err *e)
{
    /* Without fields only the memory of the last document changes: the arrival was parked or
     * failed. */
    struct db_stmt *s = STORE_QUERY(
        db,
        op->fields == NULL
            ? "INSERT INTO canon_source (tenant, model, origin, source_id, rev, observed_at, "
              "arrival, fields, keys, last_hash, last_def) "
              "VALUES (?1, ?2, ?3, ?4, ?13, ?5, ?6, '{}', '[]', ?7, ?8) "
              "ON CONFLICT (source_id, origin, model, tenant) DO UPDATE SET rev = ?13, "
              "last_hash = ?7, last_def = ?8"
            : "INSERT INTO canon_source (tenant, model, origin, source_id, rev, observed_at, "
              "arrival, last_hash, last_def, golden, fields, ever, keys) "
              "VALUES (?1, ?2, ?3, ?4, ?13, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12) "
              "ON CONFLICT (source_id, origin, model, tenant) DO UPDATE SET rev = ?13, "
              "observed_at = ?5, arrival = ?6, last_hash = ?7, last_def = ?8, golden = ?9, "
              "fields = ?10, ever = ?11, keys = ?12",
        e, a->env->tenant, op->model, op->origin, op->source_id);
    if (s == NULL)
        return e->code;
    db_bind_int(s, 5, op->said_at);
    db_bind_str(s, 6, op->said_arrival ? op->said_arrival : op->arrival);
    db_bind_int(s, 7, (int64_t)op->last_hash);
    db_bind_int(s, 8, (int64_t)op->def);
    db_bind_int(s, 13, (int64_t)op->rev);
    if (op->fields != NULL) {
        db_bind_str(s, 9, op->golden);
        db_bind_str(s, 10, op->fields);
        db_bind_str(s, 11, op->ever);
        db_bind_str(s, 12, op->keys);
    }
    return db_run(s, e);
}

int store_source_remove(struct db *db, const struct apply *a, const struct canon_op_arrive *op,
                        struct err *e)
{
    struct db_stmt *s = STORE_QUERY(db,
                                    "DELETE FROM canon_source WHERE tenant = ?1 AND model = ?2 AND "
                                    "origin = ?3 AND source_id = ?4",
                                    e, a->env->tenant, op->model, op->origin, op->source_id);
    if (s == NULL)
        return e->code;
    return db_run(s, e);
}

static int key_run(struct db *db, const char *sql, const char *tenant, const char *model,
                   const char *key, const char *golden, struct err *e)
{
    struct db_stmt *s = STORE_QUERY(db, sql, e, tenant, model, key, golden);
    if (s == NULL)
        return e->code;
    return db_run(s, e);
}

/* Runs `sql` (tenant, model, key, golden) for each key of a JSON list. */
static int keys_each(struct db *db, const char *sql, const char *tenant, const char *model,
                     const json_t *keys, const char *golden, struct err *e)
{
    int rc = 0;
    for (size_t i = 0; i < json_array_size(keys) && rc == 0; i++)
        rc = key_run(db, sql, tenant, model, json_string_value(json_array_get(keys, i)), golden, e);
    return rc;
}

static int keys_each_text(struct db *db, const char *sql, const char *tenant, const char *model,
                          const char *keys, const char *golden, struct err *e)
{
    AUTO(json_unref) json_t *list = json_read(keys, strlen(keys), e);
    return list == NULL ? e->code : keys_each(db, sql, tenant, model, list, golden, e);
}

#define KEY_PUT                                                                                    \
    "INSERT INTO canon_key (tenant, model, key, golden) VALUES (?1, ?2, ?3, ?4) "                  \
    "ON CONFLICT (key, model, tenant) DO UPDATE SET golden = ?4"

int store_key_put(struct db *db, const char *tenant, const char *model, const char *key,
                  const char *golden, struct err *e)
{
    return key_run(db, KEY_PUT, tenant, model, key, golden, e);
}

int store_keys_put(struct db *db, const char *tenant, const char *model, const char *keys,
                   const char *golden, struct err *e)
{
    return keys_each_text(db, KEY_PUT, tenant, model, keys, golden, e);
}

int store_keys_remove(struct db *db, const char *tenant, const char *model, const char *keys,
                      const char *golden, struct err *e)
{
    return keys_each_text(
        db, "DELETE FROM canon_key WHERE tenant = ?1 AND model = ?2 AND key = ?3 AND golden = ?4",
        tenant, model, keys, golden, e);
}

static int golden_touch(struct db *db, const struct apply *a, const struct canon_op_arrive *op,
                        struct err *e)
{
    struct db_stmt *s = STORE_QUERY(db,
                                    "UPDATE canon_golden SET rev = ?4, readiness = ?5 "
                                    "WHERE tenant = ?1 AND model = ?2 AND id = ?3",
                                    e, a->env->tenant, op->model, op->golden);
    if (s == NULL)
        return e->code;
    db_bind_int(s, 4, (int64_t)op->rev);
    db_bind_int(s, 5, op->readiness);
    return db_run(s, e);
}

int store_golden_put(struct db *db, const struct apply *a, const struct canon_op_arrive *op,
                     struct err *e)
{
    if (op->same_golden)
        return golden_touch(db, a, op, e);
    struct db_stmt *s =
        STORE_QUERY(db,
                    "INSERT INTO canon_golden (tenant, model, id, rev, def, lifecycle, readiness, "
                    "views, said) VALUES (?1, ?2, ?3, ?8, ?4, ?5, ?6, ?7, ?9) "
                    "ON CONFLICT (id, model, tenant) DO UPDATE SET rev = ?8, def = ?4, "
                    "lifecycle = ?5, readiness = ?6, views = ?7, said = ?9, merged_into = NULL",
                    e, a->env->tenant, op->model, op->golden);
    if (s == NULL)
        return e->code;
    db_bind_int(s, 4, (int64_t)op->def);
    db_bind_int(s, 5, op->lifecycle);
    db_bind_int(s, 6, op->readiness);
    db_bind_str(s, 7, op->views);
    db_bind_int(s, 8, (int64_t)op->rev);
    db_bind_int(s, 9, (int64_t)op->said);
    return db_run(s, e);
}

struct merge {
    struct db *db;
    const char *tenant, *model, *winner;
};

static int merge_keys(void *arg, struct store_source *row, struct err *e)
{
    struct merge *m = arg;
    int rc = keys_each(m->db, KEY_PUT, m->tenant, m->model, row->keys, m->winner, e);
    store_source_fini(row);
    return rc;
}

static int merge_run(const struct merge *m, const char *sql, const char *loser, struct err *e)
{
    struct db_stmt *s = STORE_QUERY(m->db, sql, e, m->tenant, m->model, loser, m->winner);
    if (s == NULL)
        return e->code;
    return db_run(s, e);
}

static int merge_tombstone(const struct merge *m, const char *loser, uint64_t rev, struct err *e)
{
    struct db_stmt *s = STORE_QUERY(
        m->db,
        "UPDATE canon_golden SET merged_into = ?4, lifecycle = 1, rev = ?5, views = NULL "
        "WHERE id = ?3 AND tenant = ?1 AND model = ?2",
        e, m->tenant, m->model, loser, m->winner);
    if (s == NULL)
        return e->code;
    db_bind_int(s, 5, (int64_t)rev);
    return db_run(s, e);
}

int store_merge(struct db *db, const struct apply *a, const struct canon_op_arrive *op,
                const char *loser, struct err *e)
{
    struct merge m = {db, a->env->tenant, op->model, op->golden};
    int rc = store_sources_of(db, m.tenant, m.model, loser, merge_keys, &m, e);
    if (rc == 0)
        rc = merge_run(&m,
                       "UPDATE canon_source SET golden = ?4 "
                       "WHERE golden = ?3 AND tenant = ?1 AND model = ?2",
                       loser, e);
    if (rc == 0)
        rc = merge_run(&m,
                       "UPDATE canon_golden SET merged_into = ?4 "
                       "WHERE merged_into = ?3 AND tenant = ?1 AND model = ?2",
                       loser, e);
    return rc == 0 ? merge_tombstone(&m, loser, op->rev, e) : rc;
}

int store_erase(struct db *db, const char *tenant, const char *model, const char *origin,
                const char *source_id, struct err *e)
{
    struct db_stmt *s =
        STORE_QUERY(db,
                    "UPDATE canon_arrival SET body = NULL, work = NULL, evidence = NULL, tags = "
                    "NULL, changes = NULL WHERE tenant = ?1 AND model = ?2 AND origin = ?3 AND "
                    "source_id = ?4",
                    e, tenant, model, origin, source_id);
    if (s == NULL)
        return e->code;
    return db_run(s, e);
}
