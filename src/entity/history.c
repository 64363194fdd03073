/* Versions that were replaced: kept by the change that replaces them, read by whoever asks. */
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/time.h"
#include "db/db.h"
#include "entity/entity_priv.h"
#include "entity/kept.h"
#include "entity/read_priv.h"
#include "ledger/txn.h"

static const char *const how_names[] = {"save",    "patch",  "remove", "expire",
                                        "cascade", "detach", "migrate"};

/* ---- keeping ---- */

int history_forget(const struct row_change *c, struct err *e)
{
    return row_key_run(c,
                       "DELETE FROM entity_history WHERE entity = ?1 AND tenant = ?2"
                       " AND part = ?3 AND id = ?4",
                       e);
}

/* Of both definitions: what only the one of before had comes first. */
static void add_differing(json_t *names, const json_t *before, const json_t *after)
{
    const char *key;
    json_t *v;
    json_object_foreach((json_t *)before, key, v)
    {
        if (!json_equal(v, json_object_get(after, key)))
            json_array_append_new(names, json_string(key));
    }
    json_object_foreach((json_t *)after, key, v)
    {
        if (json_object_get(before, key) == NULL)
            json_array_append_new(names, json_string(key));
    }
}

/* Names of the declared fields that differ, as a JSON list; all that there were without `b`. */
static int differing(const struct row_change *c, const struct stored_row *old,
                     const struct new_body *b, struct buf *out, struct err *e)
{
    AUTO(json_unref) json_t *before = json_read(old->body, old->body_len, e);
    AUTO(json_unref) json_t *after = b != NULL ? json_read(b->body, b->body_len, e) : json_object();
    if (before == NULL || after == NULL)
        return ERR_CORRUPT;
    AUTO(json_unref) json_t *names = json_array();
    if (c->how == HOW_MIGRATE) {
        add_differing(names, before, after);
        return json_print(names, out, e);
    }
    for (size_t i = 0; i < c->def->fields_count; i++) {
        const char *name = c->def->fields[i].name;
        const json_t *x = json_object_get(before, name), *y = json_object_get(after, name);
        if ((x != NULL || y != NULL) && !json_equal(x, y))
            json_array_append_new(names, json_string(name));
    }
    return json_print(names, out, e);
}

static int insert(const struct row_change *c, const struct stored_row *old, const char *fields,
                  struct err *e)
{
    const struct envelope *env = c->a->env;
    struct db_stmt *s =
        db_stmt_get(c->a->db,
                    "INSERT INTO entity_history(entity, tenant, part, id, version, created_at,"
                    " created_by, updated_at, updated_by, replaced_at, replaced_by, how, why,"
                    " correlation, fields, purge_at, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8,"
                    " ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17)",
                    e);
    if (s == NULL)
        return e->code;
    row_key_bind(s, c->def->name, &c->key);
    db_bind_int(s, 5, (int64_t)old->version);
    db_bind_int(s, 6, old->created_at);
    db_bind_str(s, 7, old->created_by);
    db_bind_int(s, 8, old->updated_at);
    db_bind_str(s, 9, old->updated_by);
    db_bind_int(s, 10, c->a->at);
    db_bind_str(s, 11, env->principal);
    db_bind_int(s, 12, c->how);
    db_bind_str(s, 13, env->reason);
    db_bind_str(s, 14, env->correlation);
    db_bind_str(s, 15, fields);
    db_bind_int(s, 16, c->a->at + c->def->history_ms);
    db_bind_text(s, 17, old->body, old->body_len);
    return db_run(s, e);
}

/* Versions grow by one, so the greatest one to go is known. */
static int trim(const struct row_change *c, uint64_t version, struct err *e)
{
    int64_t last = (int64_t)version - c->def->history_versions;
    if (last < 1)
        return 0;
    struct db_stmt *s = db_stmt_get(c->a->db,
                                    "DELETE FROM entity_history WHERE entity = ?1 AND tenant = ?2"
                                    " AND part = ?3 AND id = ?4 AND version <= ?5",
                                    e);
    if (s == NULL)
        return e->code;
    row_key_bind(s, c->def->name, &c->key);
    db_bind_int(s, 5, last);
    return db_run(s, e);
}

int history_keep(const struct row_change *c, const struct stored_row *old, const struct new_body *b,
                 struct err *e)
{
    if (c->def->history_ms == 0)
        return 0;
    AUTO(buf_fini) struct buf fields = BUF_INIT(ENTITY_DEF_BYTES_MAX);
    int rc = differing(c, old, b, &fields, e);
    if (rc == 0)
        rc = insert(c, old, buf_str(&fields), e);
    if (rc == 0)
        rc = trim(c, old->version, e);
    if (rc == 0)
        entities_due_at(c->s, c->a->at + c->def->history_ms);
    return rc;
}

/* ---- reading ---- */

static void add_member(struct buf *out, const char *name, struct db_stmt *s, int column)
{
    size_t n;
    const char *text = db_col_text(s, column, &n);
    if (text == NULL)
        return;
    buf_addf(out, ",\"%s\":", name);
    json_print_string(out, text, n);
}

static void add_entry(struct buf *out, struct db_stmt *s)
{
    char at[TIME_TEXT];
    int64_t how = db_col_int(s, 3);
    time_format(db_col_int(s, 1), at);
    buf_addf(out, "{\"version\":%lld,\"replaced_at\":\"%s\"", (long long)db_col_int(s, 0), at);
    add_member(out, "replaced_by", s, 2);
    buf_addf(out, ",\"how\":\"%s\"", how_names[how < 0 || how >= HOW_COUNT ? 0 : how]);
    add_member(out, "why", s, 4);
    add_member(out, "correlation", s, 5);
    buf_addf(out, ",\"fields\":%s}", db_col_text(s, 6, NULL));
}

static int no_history(const struct entity_def *d, struct err *e)
{
    return err_set(e, ERR_UNSUPPORTED,
                   "%s keeps no history; declare it with history = true, and what is replaced "
                   "from then on is kept",
                   d->name);
}

int entity_history(struct db *db, const struct entity_def *d, const char *tenant, const char *id,
                   struct buf *out, struct err *e)
{
    struct err own = ERR_INIT;
    e = e != NULL ? e : &own;
    if (d->history_ms == 0)
        return no_history(d, e);
    AUTO(db_stmt_donep)
    struct db_stmt *s =
        db_stmt_get(db,
                    "SELECT version, replaced_at, replaced_by, how, why, correlation, fields"
                    " FROM entity_history WHERE entity = ?1 AND tenant = ?2 AND part = ?3"
                    " AND id = ?4 ORDER BY rid DESC LIMIT ?5",
                    e);
    if (s == NULL)
        return e->code;
    db_bind_str(s, 1, d->name);
    entity_scope_bind(s, 2, 3, tenant);
    db_bind_str(s, 4, id);
    db_bind_int(s, 5, ENTITY_HISTORY_VERSIONS_MAX);
    size_t count = 0;
    int rc;
    buf_adds(out, "[");
    while ((rc = db_step(s, e)) > 0) {
        buf_adds(out, count++ > 0 ? "," : "");
        add_entry(out, s);
    }
    buf_adds(out, "]");
    if (rc == 0 && count == 0) {
        /* Nothing replaced is no fault; nothing there is. */
        AUTO(buf_fini) struct buf record = BUF_INIT(READ_RECORD_MAX);
        rc = entity_get(db, d, tenant, id, &record, NULL, e);
    }
    return rc < 0 ? rc : buf_check(out, "a history", e);
}

static int read_kept(struct db *db, const struct entity_def *d, const char *tenant, const char *id,
                     uint64_t version, struct buf *out, struct err *e)
{
    AUTO(db_stmt_donep)
    struct db_stmt *s =
        db_stmt_get(db,
                    "SELECT id, body, version, created_at, updated_at, created_by, updated_by"
                    " FROM entity_history WHERE entity = ?1 AND tenant = ?2 AND part = ?3"
                    " AND id = ?4 AND version = ?5 ORDER BY rid DESC LIMIT 1",
                    e);
    if (s == NULL)
        return e->code;
    db_bind_str(s, 1, d->name);
    entity_scope_bind(s, 2, 3, tenant);
    db_bind_str(s, 4, id);
    db_bind_int(s, 5, (int64_t)version);
    int rc = db_step(s, e);
    if (rc <= 0)
        return rc;
    AUTO(buf_fini) struct buf text = BUF_INIT(READ_RECORD_MAX);
    read_record(&text, s);
    rc = entity_declared(d, &text, out, e);
    return rc < 0 ? rc : 1;
}

int entity_history_get(struct db *db, const struct entity_def *d, const char *tenant,
                       const char *id, uint64_t version, struct buf *out, struct err *e)
{
    struct err own = ERR_INIT;
    e = e != NULL ? e : &own;
    if (d->history_ms == 0)
        return no_history(d, e);
    uint64_t now = 0;
    int rc = db_snapshot_begin(db, e);
    if (rc < 0)
        return rc;
    struct err gone = ERR_INIT;
    AUTO(buf_fini) struct buf record = BUF_INIT(READ_RECORD_MAX);
    rc = entity_get(db, d, tenant, id, &record, &now, &gone);
    if (rc == 0 && now == version)
        buf_add(out, record.data, record.len);
    else if (rc == 0 || rc == ERR_NOT_FOUND)
        rc = read_kept(db, d, tenant, id, version, out, e);
    else
        *e = gone;
    db_snapshot_end(db);
    if (rc < 0 || rc > 0 || now == version)
        return rc < 0 ? rc : buf_check(out, "a record", e);
    if (now > version && version > 0)
        return err_set(e, ERR_GONE, "version %llu of %s '%.256s' is no longer kept",
                       (unsigned long long)version, d->name, id);
    return err_set(e, ERR_NOT_FOUND, "there is no version %llu of %s '%.256s'",
                   (unsigned long long)version, d->name, id);
}
