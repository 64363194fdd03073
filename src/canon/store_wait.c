/* The SQL of parked arrivals that wait for a key. */
#include "canon/store_priv.h"

#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "canon/ops_priv.h"
#include "db/db.h"

static int wait_insert(struct db *db, const char *tenant, const struct canon_op_wait *w,
                       const char *key, bool due, struct err *e)
{
    struct db_stmt *s = STORE_QUERY(db,
                                    "INSERT INTO canon_wait (tenant, model, key, arrival, waiter, "
                                    "tries, due) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                                    e, tenant, w->model, key, w->arrival, w->waiter);
    if (s == NULL)
        return e->code;
    db_bind_int(s, 6, w->tries);
    db_bind_int(s, 7, due);
    return db_run(s, e);
}

int store_wait_put(struct db *db, const char *tenant, const struct canon_op_wait *w, bool *due,
                   struct err *e)
{
    AUTO(json_unref) json_t *keys = json_read(w->keys, strlen(w->keys), e);
    if (keys == NULL)
        return e->code;
    int rc = 0;
    for (size_t i = 0; i < json_array_size(keys) && rc == 0; i++) {
        const char *key = json_string_value(json_array_get(keys, i));
        char owner[STORE_ID];
        rc = store_key_owner(db, tenant, w->model, key, owner, e);
        if (rc != 0 && rc != ERR_NOT_FOUND)
            return rc;
        bool now = rc == 0 && w->take_up;
        *due |= now;
        rc = wait_insert(db, tenant, w, key, now, e);
    }
    return rc;
}

int store_waits(struct db *db, bool *out, struct err *e)
{
    AUTO(db_stmt_donep)
    struct db_stmt *s = db_stmt_get(db, "SELECT 1 FROM canon_wait LIMIT 1", e);
    int rc = s == NULL ? e->code : db_step(s, e);
    *out = rc > 0;
    return rc < 0 ? rc : 0;
}

/* Most of the time nobody waits: that is found with one look for all keys. */
static int wait_any(struct db *db, const char *tenant, const char *model, struct err *e)
{
    AUTO(db_stmt_donep)
    struct db_stmt *s =
        db_stmt_get(db, "SELECT 1 FROM canon_wait WHERE tenant = ?1 AND model = ?2 LIMIT 1", e);
    if (s == NULL)
        return e->code;
    db_bind_str(s, 1, tenant);
    db_bind_str(s, 2, model);
    return db_step(s, e);
}

static int wait_mark(struct db *db, const char *tenant, const char *model, const char *key,
                     int64_t *marked, struct err *e)
{
    struct db_stmt *s = db_stmt_get(db,
                                    "UPDATE canon_wait SET due = 1, tries = 0 "
                                    "WHERE tenant = ?1 AND model = ?2 AND key = ?3",
                                    e);
    if (s == NULL)
        return e->code;
    db_bind_str(s, 1, tenant);
    db_bind_str(s, 2, model);
    db_bind_str(s, 3, key);
    int rc = db_run(s, e);
    if (rc == 0)
        *marked += db_changes(db);
    return rc;
}

int store_wait_given(struct db *db, const char *tenant, const char *model, const char *keys,
                     int64_t *marked, struct err *e)
{
    int rc = wait_any(db, tenant, model, e);
    if (rc <= 0)
        return rc;
    AUTO(json_unref) json_t *list = json_read(keys, strlen(keys), e);
    if (list == NULL)
        return e->code;
    rc = 0;
    for (size_t i = 0; i < json_array_size(list) && rc == 0; i++)
        rc = wait_mark(db, tenant, model, json_string_value(json_array_get(list, i)), marked, e);
    return rc;
}

int store_wait_drop(struct db *db, const char *arrival, struct err *e)
{
    struct db_stmt *s = STORE_QUERY(db, "DELETE FROM canon_wait WHERE arrival = ?1", e, arrival);
    if (s == NULL)
        return e->code;
    return db_run(s, e);
}

int store_wait_erase(struct db *db, const char *tenant, const char *model, const char *origin,
                     const char *source_id, struct err *e)
{
    struct db_stmt *s =
        STORE_QUERY(db,
                    "DELETE FROM canon_wait WHERE arrival IN (SELECT id FROM canon_arrival WHERE "
                    "tenant = ?1 AND model = ?2 AND origin = ?3 AND source_id = ?4 AND "
                    "outcome = 2)",
                    e, tenant, model, origin, source_id);
    if (s == NULL)
        return e->code;
    return db_run(s, e);
}

int store_wait_tries(struct db *db, const char *arrival, int *out, struct err *e)
{
    AUTO(db_stmt_donep)
    struct db_stmt *s =
        STORE_QUERY(db, "SELECT max(tries) + 1 FROM canon_wait WHERE arrival = ?1", e, arrival);
    if (s == NULL)
        return e->code;
    int rc = db_step(s, e);
    *out = rc > 0 ? (int)db_col_int(s, 0) : 0;
    return rc < 0 ? rc : 0;
}

void store_due_fini(struct store_due *d)
{
    mem_free(d->tenant);
    mem_free(d->waiter);
    d->tenant = d->waiter = NULL;
}

int store_wait_due(struct db *db, int64_t after, struct store_due *out, struct err *e)
{
    AUTO(db_stmt_donep)
    struct db_stmt *s = db_stmt_get(db,
                                    "SELECT rid, arrival, tenant, waiter FROM canon_wait "
                                    "WHERE due = 1 AND rid > ?1 ORDER BY rid LIMIT 1",
                                    e);
    if (s == NULL)
        return e->code;
    db_bind_int(s, 1, after);
    int rc = db_step(s, e);
    if (rc <= 0)
        return rc;
    out->rid = db_col_int(s, 0);
    str_copy(out->arrival, sizeof out->arrival, db_col_text(s, 1, NULL));
    out->tenant = mem_strdup(db_col_text(s, 2, NULL));
    out->waiter = mem_strdup(db_col_text(s, 3, NULL));
    return 1;
}
