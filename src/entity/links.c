/* Lists of references, the other way round: who has a record in a list of his.
 *
 * local_links_<entity> has a row for each element of a list of refs: field, target, rid of the
 * record that has the list. It is to such a list what an index is to a ref: a removal asks it who
 * refers to what goes, an inverse who belongs to whom, a filter who has an element. Being made of
 * the records alone, it does not count for the state hash. It changes in the transaction that
 * changes the record; rows of all tenants lie in it, so whoever asks looks at the record too. */
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "db/db.h"
#include "entity/build_priv.h"

enum { LINKS_SQL_MAX = 256 << 10 };

static bool is_link(const struct entity_field *f)
{
    return f->kind == KIND_LIST && entity_field_ref(f) != NULL;
}

bool entity_def_has_links(const struct entity_def *d)
{
    for (size_t i = 0; i < d->fields_count; i++) {
        if (is_link(&d->fields[i]))
            return true;
    }
    return false;
}

/* Field and element of the lists in `body`, each with `rid`. */
static void add_elements(struct buf *sql, const struct entity_def *d, const char *rid,
                         const char *source)
{
    const char *between = "";
    for (size_t i = 0; i < d->fields_count; i++) {
        const struct entity_field *f = &d->fields[i];
        if (!is_link(f))
            continue;
        buf_addf(sql, "%s SELECT '%s', value, %s FROM %s", between, f->name, rid, source);
        buf_addf(sql, "json_each(body,'$");
        entity_sql_path(sql, f->name);
        buf_adds(sql, "') WHERE type = 'text'");
        between = " UNION ALL";
    }
}

static void add_lists(struct buf *sql, const struct entity_def *d)
{
    buf_adds(sql, "json_array(0");
    for (size_t i = 0; i < d->fields_count; i++) {
        if (!is_link(&d->fields[i]))
            continue;
        buf_adds(sql, ", ");
        entity_sql_expr(sql, &d->fields[i], NULL);
    }
    buf_adds(sql, ")");
}

static char *put_sql(const struct entity_def *d, const char *table)
{
    AUTO(buf_fini) struct buf put = BUF_INIT(LINKS_SQL_MAX);
    buf_addf(&put, "INSERT OR IGNORE INTO %s(field, target, rid)", table);
    add_elements(&put, d, "?1", "(SELECT ?2 AS body), ");
    return buf_take(&put);
}

void links_sql(struct entity_sql *s, const struct entity_def *d)
{
    if (!entity_def_has_links(d))
        return;
    AUTO(buf_fini) struct buf lists = BUF_INIT(LINKS_SQL_MAX);
    s->links = mem_printf("\"local_links_%s\"", d->name);
    s->links_put = put_sql(d, s->links);
    add_lists(&lists, d);
    s->links_differ = mem_printf("SELECT 1 FROM (SELECT %s AS t FROM (SELECT ?1 AS body)) a,"
                                 " (SELECT %s AS t FROM (SELECT ?2 AS body)) b WHERE a.t <> b.t",
                                 buf_str(&lists), buf_str(&lists));
    s->links_remove = mem_printf("DELETE FROM %s WHERE rid = ?1", s->links);
}

/* ---- while a change is applied ---- */

int links_put(struct db *db, const struct entity_def *d, int64_t rid, const struct new_body *b,
              struct err *e)
{
    if (d->sql->links == NULL)
        return 0;
    struct db_stmt *s = db_stmt_get(db, d->sql->links_put, e);
    if (s == NULL)
        return e->code;
    db_bind_int(s, 1, rid);
    db_bind_text(s, 2, b->body, b->body_len);
    return db_run(s, e);
}

int links_remove(struct db *db, const struct entity_def *d, int64_t rid, struct err *e)
{
    if (d->sql->links == NULL)
        return 0;
    struct db_stmt *s = db_stmt_get(db, d->sql->links_remove, e);
    if (s == NULL)
        return e->code;
    db_bind_int(s, 1, rid);
    return db_run(s, e);
}

/* 1: the lists are not the same. */
static int differ(struct db *db, const struct entity_def *d, const struct stored_row *old,
                  const struct new_body *b, struct err *e)
{
    AUTO(db_stmt_donep) struct db_stmt *s = db_stmt_get(db, d->sql->links_differ, e);
    if (s == NULL)
        return e->code;
    db_bind_text(s, 1, b->body, b->body_len);
    db_bind_text(s, 2, old->body, old->body_len);
    return db_step(s, e);
}

int links_change(struct db *db, const struct entity_def *d, const struct stored_row *old,
                 const struct new_body *b, struct err *e)
{
    if (d->sql->links == NULL)
        return 0;
    int rc = differ(db, d, old, b, e);
    if (rc <= 0)
        return rc;
    rc = links_remove(db, d, old->rid, e);
    return rc == 0 ? links_put(db, d, old->rid, b, e) : rc;
}

/* ---- the copy of a migration ---- */

static int create(struct db *db, const char *name, const char *suffix, struct err *e)
{
    char *index;
    AUTO(mem_freep) char *wanted = mem_printf("local_linked_%s%s", name, suffix);
    int rc = build_free_name(db, wanted, &index, e);
    if (rc < 0)
        return rc;
    AUTO(mem_freep) char *free_name = index;
    AUTO(buf_fini) struct buf sql = BUF_INIT(LINKS_SQL_MAX);
    buf_addf(&sql,
             "CREATE TABLE \"local_links_%s%s\"(field TEXT NOT NULL, target TEXT NOT NULL, rid"
             " INTEGER NOT NULL, PRIMARY KEY (field, target, rid)) WITHOUT ROWID;"
             "CREATE INDEX \"%s\" ON \"local_links_%s%s\"(rid);",
             name, suffix, free_name, name, suffix);
    rc = db_exec_buf(db, &sql, e);
    return rc < 0 ? err_context(e, "entity '%s': lists of references", name) : 0;
}

int links_make_copy(struct db *db, const struct entity_def *to, int64_t gen, struct err *e)
{
    char suffix[24];
    snprintf(suffix, sizeof(suffix), ".%lld", (long long)gen);
    return to->sql->links != NULL ? create(db, to->name, suffix, e) : 0;
}

void links_copy_sql(struct entity_copy *c)
{
    if (c->to->sql->links == NULL)
        return;
    c->links = mem_printf("\"local_links_%s.%lld\"", c->to->name, (long long)c->gen);
    c->links_put = put_sql(c->to, c->links);
    c->links_drop = mem_printf("DELETE FROM %s WHERE rid = ?1", c->links);
}

int links_copy_put(struct db *db, const struct entity_copy *c, int64_t rid,
                   const struct new_body *b, struct err *e)
{
    if (c->links == NULL)
        return 0;
    struct db_stmt *s = db_stmt_get(db, c->links_put, e);
    if (s == NULL)
        return e->code;
    db_bind_int(s, 1, rid);
    db_bind_text(s, 2, b->body, b->body_len);
    return db_run(s, e);
}

int links_copy_drop(struct db *db, const struct entity_copy *c, int64_t rid, struct err *e)
{
    return c->links == NULL ? 0 : build_row(db, c->links_drop, NULL, &rid, 1, e);
}

/* ---- a definition takes effect ---- */

/* The lists of this field, which was no list of references before: a definition may do so to a
 * bounded number of records only (ENTITY_NARROW_ROWS). */
static int fill(struct db *db, const struct entity_def *to, const struct entity_field *f,
                struct err *e)
{
    AUTO(buf_fini) struct buf sql = BUF_INIT(LINKS_SQL_MAX);
    buf_addf(&sql,
             "DELETE FROM %s WHERE field = '%s';"
             "INSERT OR IGNORE INTO %s(field, target, rid) SELECT '%s', value, rid FROM %s,"
             " json_each(body,'$",
             to->sql->links, f->name, to->sql->links, f->name, to->sql->table);
    entity_sql_path(&sql, f->name);
    buf_adds(&sql, "') WHERE type = 'text';");
    int rc = db_exec_buf(db, &sql, e);
    return rc < 0 ? err_context(e, "entity '%s': lists of references", to->name) : 0;
}

/* What is there of other fields stays: nobody asks for those that are gone, and a new one has no
 * lists yet. */
int links_define(struct db *db, const struct entity_def *from, const struct entity_def *to,
                 struct err *e)
{
    bool had = from != NULL && from->sql->links != NULL, has = to->sql->links != NULL;
    int rc = 0;
    if (had && !has)
        return build_leave_table(db, "local_links", to->name, e);
    if (has && !had)
        rc = create(db, to->name, "", e);
    for (size_t i = 0; from != NULL && i < to->fields_count && rc == 0; i++) {
        const struct entity_field *was = entity_def_field(from, to->fields[i].name);
        if (is_link(&to->fields[i]) && was != NULL && !is_link(was))
            rc = fill(db, to, &to->fields[i], e);
    }
    return rc;
}
