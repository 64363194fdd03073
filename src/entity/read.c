/* Single records, spliced together from what is stored. */
#include "entity/read.h"

#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/time.h"
#include "db/db.h"
#include "entity/read_priv.h"

/* Every record passes here: plain appends, no formats. `name` comes with its quotes and colon. */
static void add_time(struct buf *out, const char *name, int64_t ms)
{
    char text[TIME_TEXT];
    time_format(ms, text);
    buf_adds(out, name);
    buf_addc(out, '"');
    buf_add(out, text, TIME_TEXT - 1);
    buf_addc(out, '"');
}

static void add_text(struct buf *out, const char *name, struct db_stmt *s, int column)
{
    size_t n;
    const char *text = db_col_text(s, column, &n);
    buf_adds(out, name);
    json_print_string(out, text, n);
}

static void read_members(struct buf *out, struct db_stmt *s)
{
    size_t n;
    const char *text = db_col_text(s, 0, &n);
    buf_adds(out, "{\"id\":");
    json_print_string(out, text, n);
    text = db_col_text(s, 1, &n);
    ASSERT(n >= 2 && text[0] == '{');
    if (n > 2) {
        buf_adds(out, ",");
        buf_add(out, text + 1, n - 2);
    }
    char version[STR_U64_DIGITS];
    buf_adds(out, ",\"version\":");
    buf_add(out, version, str_from_u64((uint64_t)db_col_int(s, 2), version));
    add_time(out, ",\"created_at\":", db_col_int(s, 3));
    add_time(out, ",\"updated_at\":", db_col_int(s, 4));
    add_text(out, ",\"created_by\":", s, 5);
    add_text(out, ",\"updated_by\":", s, 6);
}

void read_record(struct buf *out, struct db_stmt *s)
{
    read_members(out, s);
    buf_adds(out, "}");
}

void read_removed(struct buf *out, struct db_stmt *s)
{
    read_members(out, s);
    add_time(out, ",\"removed_at\":", db_col_int(s, 4));
    buf_adds(out, "}");
}

/* 1: appended, 0: absent. */
static int get(struct db *db, const struct entity_def *d, const char *tenant, const char *id,
               struct buf *out, uint64_t *version, struct err *e)
{
    AUTO(db_stmt_donep) struct db_stmt *s = db_stmt_get(db, d->sql->get, e);
    if (s == NULL)
        return e->code;
    entity_scope_bind(s, 1, 2, tenant);
    db_bind_str(s, 3, id);
    int rc = db_step(s, e);
    if (rc <= 0)
        return rc;
    read_record(out, s);
    if (version != NULL)
        *version = (uint64_t)db_col_int(s, 2);
    return 1;
}

int entity_get(struct db *db, const struct entity_def *d, const char *tenant, const char *id,
               struct buf *out, uint64_t *version, struct err *e)
{
    struct err own = ERR_INIT;
    e = e != NULL ? e : &own;
    int rc = get(db, d, tenant, id, out, version, e);
    if (rc == 0)
        return err_set(e, ERR_NOT_FOUND, "there is no %s '%.256s'", d->name, id);
    return rc < 0 ? rc : buf_check(out, "a record", e);
}

int entity_get_json(struct db *db, const struct entity_def *d, const char *tenant, const char *id,
                    json_t **out, uint64_t *version, struct err *e)
{
    AUTO(buf_fini) struct buf text = BUF_INIT(READ_RECORD_MAX);
    int rc = entity_get(db, d, tenant, id, &text, version, e);
    if (rc < 0)
        return rc;
    *out = json_read(buf_str(&text), text.len, e);
    return *out != NULL ? 0 : ERR_CORRUPT;
}

int entity_get_many(struct db *db, const struct entity_def *d, const char *tenant,
                    const char *const *ids, size_t count, struct buf *out, struct err *e)
{
    struct err own = ERR_INIT;
    e = e != NULL ? e : &own;
    if (count > ENTITY_GET_MANY_MAX)
        return err_set(e, ERR_TOO_LARGE, "at most %d records at once", ENTITY_GET_MANY_MAX);
    int rc = db_snapshot_begin(db, e);
    if (rc < 0)
        return rc;
    buf_adds(out, "[");
    for (size_t i = 0; i < count && rc >= 0; i++) {
        buf_adds(out, i > 0 ? "," : "");
        rc = get(db, d, tenant, ids[i], out, NULL, e);
        if (rc == 0)
            buf_adds(out, "null");
    }
    buf_adds(out, "]");
    db_snapshot_end(db);
    return rc < 0 ? rc : buf_check(out, "the records", e);
}
