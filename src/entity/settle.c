/* What a migration made of records is announced behind it: a version kept in the history, a change
 * for feeds.
 *
 * The switch is one operation, and may not touch every record. The table of before stays until this
 * is done: entity.build announces its rows some at a time and takes them out; whoever changes a
 * record before its turn announces it first, so that versions of a record are told in order. */
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "db/db.h"
#include "entity/build_priv.h"
#include "entity/kept_priv.h"
#include "ledger/txn.h"

enum { SETTLE_SQL_MAX = 4096 };

/* Columns of a stored row from 0 on. 1: it is there. */
static int read_row(struct db *db, const char *table, int64_t rid, struct stored_row *out,
                    struct err *e)
{
    AUTO(buf_fini) struct buf sql = BUF_INIT(SETTLE_SQL_MAX);
    buf_addf(&sql,
             "SELECT rid, version, created_at, updated_at, created_by, updated_by, body, keys"
             " FROM %s WHERE rid = ?1",
             table);
    AUTO(db_stmt_donep) struct db_stmt *s = db_stmt_get_buf(db, &sql, e);
    if (s == NULL)
        return e->code;
    db_bind_int(s, 1, rid);
    int rc = db_step(s, e);
    if (rc <= 0)
        return rc;
    stored_row_read(s, out);
    return buf_failed(&out->text) ? err_set(e, ERR_NOMEM, "no memory for a record") : 1;
}

static struct entity_state state_of(const struct stored_row *r)
{
    return (struct entity_state){.body = r->body,
                                 .body_len = r->body_len,
                                 .version = r->version,
                                 .updated_at = r->updated_at,
                                 .updated_by = r->updated_by,
                                 .updated_by_len = strlen(r->updated_by)};
}

/* `c` has the key, and the time and principal of the migration. */
static int announce(struct row_change *c, const struct stored_row *was,
                    const struct stored_row *now, struct err *e)
{
    struct new_body b = {.body = now->body, .body_len = now->body_len};
    int rc = history_keep(c, was, &b, e);
    if (rc < 0)
        return rc;
    struct entity_change what = {.before = state_of(was),
                                 .after = state_of(now),
                                 .created_at = was->created_at,
                                 .created_by = was->created_by,
                                 .created_by_len = strlen(was->created_by)};
    changes_add(entities_changes(c->s), c, ENTITY_CHANGE_UPDATED, &what);
    return 0;
}

static int announce_row(struct entities *s, const struct apply *a, const struct entity_def *d,
                        const struct stored_row *was, const struct stored_row *now, struct err *e)
{
    AUTO(buf_fini) struct buf sql = BUF_INIT(SETTLE_SQL_MAX);
    buf_addf(&sql, "SELECT tenant, part, id FROM %s WHERE rid = ?1", d->sql->table);
    AUTO(db_stmt_donep) struct db_stmt *row = db_stmt_get_buf(a->db, &sql, e);
    if (row == NULL)
        return e->code;
    db_bind_int(row, 1, now->rid);
    int rc = db_step(row, e);
    if (rc <= 0)
        return rc;
    struct row_change c = {.s = s, .def = d, .how = HOW_MIGRATE};
    c.key =
        (struct row_key){.tenant = db_col_text(row, 0, NULL), .part = db_col_text(row, 1, NULL)};
    c.key.id = db_col_text(row, 2, &c.key.id_len);
    struct envelope env = {
        .tenant = c.key.tenant, .principal = now->updated_by, .reason = "migrate"};
    struct apply then = *a;
    then.at = now->updated_at;
    then.env = &env;
    c.a = &then;
    return announce(&c, was, now, e);
}

int settle_row(struct entities *s, const struct apply *a, const struct entity_def *d, int64_t rid,
               struct err *e)
{
    if (d->past == NULL || d->past->untold == 0)
        return 0;
    AUTO(mem_freep)
    char *table = mem_printf("\"entity_%s.%lld\"", d->name, (long long)d->past->untold);
    AUTO(stored_row_fini) struct stored_row was;
    AUTO(stored_row_fini) struct stored_row now;
    stored_row_init(&was);
    stored_row_init(&now);
    int rc = read_row(a->db, table, rid, &was, e);
    if (rc <= 0)
        return rc;
    rc = read_row(a->db, d->sql->table, rid, &now, e);
    if (rc > 0 && now.version != was.version)
        rc = announce_row(s, a, d, &was, &now, e);
    if (rc < 0)
        return rc;
    AUTO(buf_fini) struct buf sql = BUF_INIT(SETTLE_SQL_MAX);
    buf_addf(&sql, "DELETE FROM %s WHERE rid = ?1", table);
    rc = buf_check(&sql, "a statement", e);
    return rc < 0 ? rc : build_row(a->db, buf_str(&sql), NULL, &rid, 1, e);
}
