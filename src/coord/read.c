/* Claims and inbox keys as readers see them. */
#include <string.h>

#include "base/mem.h"
#include "base/time.h"
#include "coord/coord_priv.h"
#include "db/db.h"

static json_t *read_time(int64_t at)
{
    char text[TIME_TEXT];
    time_format(at, text);
    return json_string(text);
}

/* One claim, of columns claim, owner, meta, ttl, token, since, expires, exclusive. */
static json_t *read_claim(struct db_stmt *s, bool rw)
{
    size_t n = 0;
    bool held = db_col_int(s, 4) > 0;
    json_t *o = json_object();
    json_object_set_new(o, "id", json_string(db_col_text(s, 0, NULL)));
    json_object_set_new(o, "owner", json_string(db_col_text(s, 1, NULL)));
    if (held)
        json_object_set_new(o, "token", json_integer(db_col_int(s, 4)));
    if (rw)
        json_object_set_new(o, "mode", json_string(db_col_int(s, 7) != 0 ? "write" : "read"));
    json_object_set_new(o, "since", read_time(db_col_int(s, 5)));
    json_object_set_new(o, held ? "expires" : "until", read_time(db_col_int(s, 6)));
    json_object_set_new(o, "ttl", json_real((double)db_col_int(s, 3) / 1000));
    const char *meta = db_col_text(s, 2, &n);
    json_t *v = n > 0 ? json_read(meta, n, NULL) : NULL;
    if (v != NULL)
        json_object_set_new(o, "meta", v);
    return o;
}

static int read_claims(struct db *db, const char *tenant, struct text name, bool rw, bool waiting,
                       int limit, json_t *list, struct err *e)
{
    static const char *const holders =
        "SELECT claim, owner, meta, ttl, token, since, expires, exclusive FROM coord_claims WHERE "
        "tenant = ?1 AND name = ?2 AND token > 0 ORDER BY token, place LIMIT ?3";
    static const char *const waiters =
        "SELECT claim, owner, meta, ttl, token, since, expires, exclusive FROM coord_claims WHERE "
        "tenant = ?1 AND name = ?2 AND token = 0 ORDER BY place LIMIT ?3";
    AUTO(db_stmt_donep)
    struct db_stmt *s = store_at(db, waiting ? waiters : holders, tenant, name, e);
    if (s == NULL)
        return e->code;
    db_bind_int(s, 3, limit);
    int rc;
    while ((rc = db_step(s, e)) > 0)
        json_array_append_new(list, read_claim(s, rw));
    return rc;
}

static json_t *read_lock(struct text name, const struct lock *l)
{
    static const char *const forms[] = {"", "lease", "semaphore", "rw"};
    json_t *o = json_object();
    json_object_set_new(o, "name", json_stringn(name.p, name.n));
    json_object_set_new(o, "form", json_string(forms[l->form]));
    if (l->form == COORD_SEMAPHORE)
        json_object_set_new(o, "n", json_integer(l->n));
    json_object_set_new(o, "held", json_integer(l->held));
    json_object_set_new(o, "waiting", json_integer(l->waiting));
    json_object_set_new(o, "holders", json_array());
    return o;
}

int coord_claims_get(struct db *db, const char *tenant, const char *name, json_t **out,
                     struct err *e)
{
    struct err own = ERR_INIT;
    struct text key = {name, strlen(name)};
    struct lock l = {.n = 0};
    e = e != NULL ? e : &own;
    int rc = db_snapshot_begin(db, e);
    if (rc != 0)
        return rc;
    rc = lock_load(db, tenant, key, &l, e);
    AUTO(json_unref) json_t *o = read_lock(key, &l);
    json_object_set_new(o, "waiters", json_array());
    if (rc == 0)
        rc = read_claims(db, tenant, key, l.form == COORD_RW, false, COORD_SHOWN_MAX,
                         json_object_get(o, "holders"), e);
    if (rc == 0)
        rc = read_claims(db, tenant, key, l.form == COORD_RW, true, COORD_SHOWN_MAX,
                         json_object_get(o, "waiters"), e);
    db_snapshot_end(db);
    if (rc == 0 && l.form == 0)
        rc = err_set(e, ERR_NOT_FOUND, "nobody holds '%s', or waits for it", name);
    if (rc == 0)
        *out = TAKE(o);
    return rc;
}

int coord_holder(struct db *db, const char *tenant, const char *name, uint64_t *token,
                 struct err *e)
{
    struct err own = ERR_INIT;
    struct claim c;
    int rc =
        claim_first(db, tenant, (struct text){name, strlen(name)}, false, &c, e != NULL ? e : &own);
    *token = rc > 0 ? c.token : 0;
    return rc < 0 ? rc : 0;
}

void coord_say_holder(struct db *db, const char *tenant, const char *name, json_t **holder,
                      struct err *e)
{
    AUTO(json_unref) json_t *o = NULL;
    if (holder != NULL)
        *holder = NULL;
    if (e->code != ERR_LOCKED || coord_claims_get(db, tenant, name, &o, NULL) != 0)
        return;
    json_t *first = json_array_get(json_object_get(o, "holders"), 0);
    if (first == NULL)
        return;
    if (strstr(e->text, "is held by") == NULL)
        err_set(e, ERR_LOCKED, "'%s' is held by '%s' since %s, until %s unless renewed", name,
                json_string_value(json_object_get(first, "owner")),
                json_string_value(json_object_get(first, "since")),
                json_string_value(json_object_get(first, "expires")));
    if (holder != NULL)
        *holder = json_incref(first);
}

int coord_claim_find(struct db *db, const char *tenant, const char *name, const char *id,
                     struct coord_grant *out, struct err *e)
{
    struct err own = ERR_INIT;
    struct claim c;
    e = e != NULL ? e : &own;
    int rc = claim_by_id(db, tenant, (struct text){id, strlen(id)}, &c, e);
    if (rc < 0)
        return rc;
    if (rc == 0 || strcmp(c.name, name) != 0)
        return err_set(e, ERR_NOT_FOUND, "'%s' has no claim '%s'", name, id);
    *out = (struct coord_grant){c.token > 0, c.token, c.expires};
    return 0;
}

/* The first holders of those listed. */
enum { READ_LISTED = 5 };

int coord_claims_list(struct db *db, const char *tenant, const struct coord_page *p, json_t **out,
                      bool *more, struct err *e)
{
    struct err own = ERR_INIT;
    e = e != NULL ? e : &own;
    const char *prefix = p->prefix != NULL ? p->prefix : "";
    const char *after = p->after != NULL ? p->after : "";
    AUTO(json_unref) json_t *list = json_array();
    AUTO(db_stmt_donep)
    struct db_stmt *s = db_stmt_get(db,
                                    "SELECT name, form, n, held, waiting, exclusive FROM "
                                    "coord_locks WHERE tenant = ?1 AND name >= ?2 AND name > ?3 "
                                    "ORDER BY name LIMIT ?4",
                                    e);
    int rc = s == NULL ? e->code : 1;
    if (rc > 0) {
        db_bind_str(s, 1, tenant);
        db_bind_str(s, 2, prefix);
        db_bind_str(s, 3, after);
        db_bind_int(s, 4, p->limit + 1);
    }
    *more = false;
    while (rc > 0 && (rc = db_step(s, e)) > 0) {
        struct text name;
        name.p = db_col_text(s, 0, &name.n);
        if (strncmp(name.p, prefix, strlen(prefix)) != 0)
            break;
        *more = json_array_size(list) == (size_t)p->limit;
        if (*more)
            break;
        struct lock l = {.form = (enum coord_form)db_col_int(s, 1),
                         .n = (uint32_t)db_col_int(s, 2),
                         .held = (uint32_t)db_col_int(s, 3),
                         .waiting = (uint32_t)db_col_int(s, 4)};
        json_t *o = read_lock(name, &l);
        json_array_append_new(list, o);
        if (read_claims(db, tenant, name, l.form == COORD_RW, false, READ_LISTED,
                        json_object_get(o, "holders"), e) != 0)
            rc = e->code;
    }
    if (rc < 0)
        return rc;
    *out = TAKE(list);
    return 0;
}

int coord_inbox_get(struct db *db, const char *tenant, const char *key, int64_t now, bool *out,
                    struct err *e)
{
    struct err own = ERR_INIT;
    e = e != NULL ? e : &own;
    AUTO(db_stmt_donep)
    struct db_stmt *s =
        store_at(db, "SELECT processed, expires FROM coord_inbox WHERE tenant = ?1 AND key = ?2",
                 tenant, (struct text){key, strlen(key)}, e);
    int rc = s == NULL ? e->code : db_step(s, e);
    *out = rc > 0 && db_col_int(s, 0) != 0 && db_col_int(s, 1) > now;
    return rc < 0 ? rc : 0;
}
