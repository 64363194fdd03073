/* entity.sweep: what is over at this ledger time goes, a bounded number of it. */
#include "entity/sweep.h"

#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/time.h"
#include "db/db.h"
#include "entity/build_priv.h"
#include "entity/kept_priv.h"
#include "ledger/txn.h"

enum { SWEEP_SQL_MAX = 4096 };

static const char *const purges[] = {
    "DELETE FROM entity_removed WHERE rid IN (SELECT rid FROM entity_removed WHERE purge_at <= ?1"
    " ORDER BY purge_at, rid LIMIT ?2)",
    "DELETE FROM entity_history WHERE rid IN (SELECT rid FROM entity_history WHERE purge_at <= ?1"
    " ORDER BY purge_at, rid LIMIT ?2)"};
static const char *const next_purges[] = {
    "SELECT min(purge_at) FROM entity_removed", "SELECT min(purge_at) FROM entity_history",
    "SELECT min(purge_at) FROM kept_fields", "SELECT min(purge_at) FROM kept_entities"};

/* ---- expired records ---- */

/* Without its index, looking for what has expired would visit every record. Until it is there they
 * stay, hidden. */
static bool is_swept(const struct entity_def *d)
{
    return d->ttl && (d->copy == NULL || !d->copy->pending[d->indexes_count - 1]);
}

/* Names of expired records, as a list of [tenant, part, id]: they are removed when the statement is
 * over. */
static int expired_names(const struct apply *a, const struct entity_def *d, size_t max,
                         json_t *names, struct err *e)
{
    char now[TIME_TEXT];
    AUTO(buf_fini) struct buf sql = BUF_INIT(SWEEP_SQL_MAX);
    time_format(a->at, now);
    buf_addf(&sql, "SELECT tenant, part, id FROM %s WHERE ", d->sql->table);
    entity_sql_expr(&sql, &d->fields[d->fields_count - 1], ENTITY_EXPIRES);
    buf_adds(&sql, " <= ?1 ORDER BY ");
    entity_sql_expr(&sql, &d->fields[d->fields_count - 1], ENTITY_EXPIRES);
    buf_adds(&sql, ", rid LIMIT ?2");
    AUTO(db_stmt_donep) struct db_stmt *s = db_stmt_get_buf(a->db, &sql, e);
    if (s == NULL)
        return e->code;
    db_bind_str(s, 1, now);
    db_bind_int(s, 2, (int64_t)max);
    int rc;
    while ((rc = db_step(s, e)) > 0)
        json_array_append_new(names, json_pack("[s,s,s]", db_col_text(s, 0, NULL),
                                               db_col_text(s, 1, NULL), db_col_text(s, 2, NULL)));
    return rc;
}

/* 1: not yet. */
static int expire(struct row_change *c, struct err *e)
{
    AUTO(stored_row_fini) struct stored_row old;
    stored_row_init(&old);
    int rc = store_find(c->a->db, c->def, &c->key, &old, e);
    if (rc <= 0)
        return rc; /* went with another one */
    struct err refused = ERR_INIT;
    rc = removal_run(c, &old, &refused);
    /* Nobody can be told no: it goes, and references to it are left hanging. */
    if (rc == ERR_CONFLICT || rc == ERR_TOO_LARGE)
        return rows_remove(c, &old, e);
    if (rc == ERR_UNAVAILABLE)
        return 1;
    if (rc < 0)
        *e = refused;
    return rc;
}

/* 1: some had to stay for now. */
static int expire_some(struct entities *s, const struct apply *a, const struct entity_def *d,
                       size_t max, size_t *done, struct err *e)
{
    AUTO(json_unref) json_t *names = json_array();
    int rc = expired_names(a, d, max, names, e);
    size_t i;
    json_t *name;
    json_array_foreach(names, i, name)
    {
        struct row_change c = {.s = s, .a = a, .def = d, .how = HOW_EXPIRE};
        c.key = (struct row_key){.tenant = json_string_value(json_array_get(name, 0)),
                                 .part = json_string_value(json_array_get(name, 1)),
                                 .id = json_string_value(json_array_get(name, 2)),
                                 .id_len = json_string_length(json_array_get(name, 2))};
        int one = rc >= 0 ? expire(&c, e) : 0;
        rc = one != 0 ? one : rc;
        *done += 1;
    }
    return rc;
}

/* ---- what is due next ---- */

static int next_of(struct db *db, const char *sql, bool is_time, int64_t *due, struct err *e)
{
    AUTO(db_stmt_donep) struct db_stmt *s = db_stmt_get(db, sql, e);
    if (s == NULL)
        return e->code;
    int rc = db_step(s, e);
    if (rc <= 0 || db_col_is_null(s, 0))
        return rc < 0 ? rc : 0;
    int64_t at = db_col_int(s, 0);
    size_t n;
    const char *text = is_time ? db_col_text(s, 0, &n) : NULL;
    if (text != NULL && !time_parse(text, n, &at))
        return err_set(e, ERR_CORRUPT, "'%.40s' is not a time", text);
    *due = at < *due ? at : *due;
    return 0;
}

int sweep_next(const struct entity_def *const *defs, size_t count, struct db *db, int64_t *out,
               struct err *e)
{
    int rc = 0;
    *out = INT64_MAX;
    for (size_t i = 0; i < ARRAY_LEN(next_purges) && rc == 0; i++)
        rc = next_of(db, next_purges[i], false, out, e);
    for (size_t i = 0; i < count && rc == 0; i++) {
        if (!is_swept(defs[i]))
            continue;
        AUTO(buf_fini) struct buf sql = BUF_INIT(SWEEP_SQL_MAX);
        buf_adds(&sql, "SELECT min(");
        entity_sql_expr(&sql, &defs[i]->fields[defs[i]->fields_count - 1], ENTITY_EXPIRES);
        buf_addf(&sql, ") FROM %s", defs[i]->sql->table);
        rc = buf_check(&sql, "a statement", e);
        if (rc == 0)
            rc = next_of(db, buf_str(&sql), true, out, e);
    }
    return rc;
}

/* ---- the operation ---- */

static int purge_some(const struct apply *a, const char *sql, size_t max, size_t *done,
                      struct err *e)
{
    struct db_stmt *s = db_stmt_get(a->db, sql, e);
    if (s == NULL)
        return e->code;
    db_bind_int(s, 1, a->at);
    db_bind_int(s, 2, (int64_t)max);
    int rc = db_run(s, e);
    if (rc == 0)
        *done += (size_t)db_changes(a->db);
    return rc;
}

int sweep_apply(void *self, const struct apply *a, uint8_t version, struct cursor *payload,
                struct buf *result, struct err *e)
{
    (void)version;
    size_t max = cursor_u32(payload), count, done = 0;
    if (payload->bad || cursor_left(payload) > 0)
        return err_set(e, ERR_INVALID, "entity.sweep: malformed payload");
    const struct entity_def *const *all = entities_all(self, a, &count, e);
    if (all == NULL)
        return e->code;
    int rc = 0;
    bool stayed = false;
    for (size_t i = 0; i < count && rc >= 0 && done < max; i++) {
        if (is_swept(all[i]))
            rc = expire_some(self, a, all[i], max - done, &done, e);
        stayed = stayed || rc > 0;
    }
    rc = rc > 0 ? 0 : rc;
    for (size_t i = 0; i < ARRAY_LEN(purges) && rc == 0 && done < max; i++)
        rc = purge_some(a, purges[i], max - done, &done, e);
    AUTO(buf_fini) struct buf gone = BUF_INIT(ENTITY_DEF_BYTES_MAX);
    if (rc == 0)
        rc = kept_purge(a, max, &done, &gone, e);
    if (rc == 0 && done < max)
        rc = retired_purge(self, a, max, &done, &gone, e);
    int64_t due;
    if (rc == 0 && (rc = sweep_next(all, count, a->db, &due, e)) == 0)
        entities_set_due(self, stayed && due < a->at + ENTITY_SWEEP_WAIT_MS
                                   ? a->at + ENTITY_SWEEP_WAIT_MS
                                   : due);
    buf_add_u32(result, (uint32_t)done);
    buf_add_text(result, buf_str(&gone));
    return rc;
}
