/* Values and counters as readers see them. */
#include <string.h>

#include "base/mem.h"
#include "base/time.h"
#include "coord/coord_priv.h"
#include "db/db.h"

int coord_value_get(struct db *db, const char *tenant, const char *key, int64_t now,
                    struct coord_value *v, struct buf *out, struct err *e)
{
    struct err own = ERR_INIT;
    e = e != NULL ? e : &own;
    AUTO(db_stmt_donep)
    struct db_stmt *s = store_at(
        db, "SELECT value, version, at, expires FROM coord_values WHERE tenant = ?1 AND key = ?2",
        tenant, (struct text){key, strlen(key)}, e);
    int rc = s == NULL ? e->code : db_step(s, e);
    if (rc < 0)
        return rc;
    if (rc == 0 || (!db_col_is_null(s, 3) && db_col_int(s, 3) <= now))
        return err_set(e, ERR_NOT_FOUND, "there is no key '%s'", key);
    size_t n = 0;
    const void *value = db_col_blob(s, 0, &n);
    buf_add(out, value, n);
    *v = (struct coord_value){.version = (uint64_t)db_col_int(s, 1),
                              .at = db_col_int(s, 2),
                              .expires = db_col_is_null(s, 3) ? 0 : db_col_int(s, 3)};
    return buf_check(out, "the value", e);
}

static json_t *value_time(int64_t at)
{
    char text[TIME_TEXT];
    time_format(at, text);
    return json_string(text);
}

int coord_values_list(struct db *db, const char *tenant, const struct coord_page *p, int64_t now,
                      json_t **out, bool *more, struct err *e)
{
    struct err own = ERR_INIT;
    e = e != NULL ? e : &own;
    const char *prefix = p->prefix != NULL ? p->prefix : "";
    const char *after = p->after != NULL ? p->after : "";
    AUTO(json_unref) json_t *list = json_array();
    AUTO(db_stmt_donep)
    struct db_stmt *s = db_stmt_get(
        db,
        "SELECT key, version, at, expires, length(value) FROM coord_values WHERE tenant = ?1 AND "
        "key >= ?2 AND key > ?3 AND (expires IS NULL OR expires > ?4) ORDER BY key LIMIT ?5",
        e);
    int rc = s == NULL ? e->code : 1;
    if (rc > 0) {
        db_bind_str(s, 1, tenant);
        db_bind_str(s, 2, prefix);
        db_bind_str(s, 3, after);
        db_bind_int(s, 4, now);
        db_bind_int(s, 5, p->limit + 1);
    }
    *more = false;
    while (rc > 0 && (rc = db_step(s, e)) > 0) {
        const char *key = db_col_text(s, 0, NULL);
        if (strncmp(key, prefix, strlen(prefix)) != 0)
            break;
        *more = json_array_size(list) == (size_t)p->limit;
        if (*more)
            break;
        json_t *o = json_object();
        json_object_set_new(o, "key", json_string(key));
        json_object_set_new(o, "version", json_integer(db_col_int(s, 1)));
        json_object_set_new(o, "bytes", json_integer(db_col_int(s, 4)));
        json_object_set_new(o, "updated_at", value_time(db_col_int(s, 2)));
        if (!db_col_is_null(s, 3))
            json_object_set_new(o, "expires_at", value_time(db_col_int(s, 3)));
        json_array_append_new(list, o);
    }
    if (rc < 0)
        return rc;
    *out = TAKE(list);
    return 0;
}

int coord_counter_get(struct db *db, const char *tenant, const char *name, int64_t *out,
                      bool *found, struct err *e)
{
    struct err own = ERR_INIT;
    e = e != NULL ? e : &own;
    AUTO(db_stmt_donep)
    struct db_stmt *s =
        store_at(db, "SELECT value FROM coord_counters WHERE tenant = ?1 AND name = ?2", tenant,
                 (struct text){name, strlen(name)}, e);
    int rc = s == NULL ? e->code : db_step(s, e);
    *found = rc > 0;
    *out = rc > 0 ? db_col_int(s, 0) : 0;
    return rc < 0 ? rc : 0;
}
