/* Tables of no more use: set aside under "<name>.<gen>" by whatever takes their place, announced
 * where a migration made others of their rows, emptied a bounded number of rows at a time, dropped
 * when nothing is in them. To drop a full one is to visit all its pages. */
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "db/db.h"
#include "entity/build_priv.h"
#include "entity/kept_priv.h"

enum { LEFTOVER_SQL_MAX = 4096, LEFTOVER_SEARCH_HEAD = 10 };

/* ---- setting aside ---- */

static int has(struct db *db, const char *name, struct err *e)
{
    AUTO(db_stmt_donep)
    struct db_stmt *s = db_stmt_get(db, "SELECT 1 FROM sqlite_schema WHERE name = ?1", e);
    if (s == NULL)
        return e->code;
    db_bind_str(s, 1, name);
    return db_step(s, e);
}

int build_free_name(struct db *db, const char *wanted, char **out, struct err *e)
{
    int64_t gen = 0;
    int rc = has(db, wanted, e);
    if (rc > 0)
        rc = build_next_gen(db, &gen, e);
    if (rc < 0)
        return rc;
    *out = gen == 0 ? mem_strdup(wanted) : mem_printf("%s.%lld", wanted, (long long)gen);
    return 0;
}

static int rename_table(struct db *db, const char *from, const char *to, struct err *e)
{
    AUTO(buf_fini) struct buf sql = BUF_INIT(LEFTOVER_SQL_MAX);
    buf_addf(&sql, "ALTER TABLE \"%s\" RENAME TO \"%s\"", from, to);
    return db_exec_buf(db, &sql, e);
}

/* Where there is one. */
static int set_aside(struct db *db, const char *kind, const char *entity, int64_t gen,
                     struct err *e)
{
    AUTO(mem_freep) char *from = mem_printf("%s_%s", kind, entity);
    AUTO(mem_freep) char *to = mem_printf("%s_%s.%lld", kind, entity, (long long)gen);
    int rc = has(db, from, e);
    return rc > 0 ? rename_table(db, from, to, e) : rc;
}

int build_set_aside(struct db *db, const char *entity, int64_t gen, struct err *e)
{
    int rc = set_aside(db, "entity", entity, gen, e);
    if (rc == 0)
        rc = set_aside(db, "local_links", entity, gen, e);
    return rc < 0 ? rc : set_aside(db, "local_search", entity, gen, e);
}

int build_leave_behind(struct db *db, const char *entity, int64_t gen, struct err *e)
{
    return build_row(db, "INSERT OR IGNORE INTO entity_leftovers(gen, entity) VALUES(?1, ?2)",
                     entity, &gen, 1, e);
}

int build_leave_table(struct db *db, const char *kind, const char *entity, struct err *e)
{
    int64_t gen;
    int rc = build_next_gen(db, &gen, e);
    if (rc == 0)
        rc = set_aside(db, kind, entity, gen, e);
    return rc < 0 ? rc : build_leave_behind(db, entity, gen, e);
}

static bool is_told(const struct entity_copy *c)
{
    return c->to == NULL || c->keep < 0 || (c->to->no_feed && c->to->history_ms == 0);
}

int build_take_place(struct db *db, const struct entity_def *d, struct err *e)
{
    const struct entity_copy *c = d->copy;
    int64_t old;
    int rc = build_next_gen(db, &old, e);
    if (rc == 0)
        rc = set_aside(db, "entity", d->name, old, e);
    if (rc == 0 && c->to != NULL && c->keep >= 0)
        rc = set_aside(db, "local_links", d->name, old, e);
    if (rc < 0)
        return rc;
    AUTO(mem_freep) char *table = mem_printf("entity_%s", d->name);
    AUTO(mem_freep) char *copy = mem_printf("entity_%s.%lld", d->name, (long long)c->gen);
    AUTO(mem_freep) char *links = mem_printf("local_links_%s", d->name);
    AUTO(mem_freep)
    char *links_copy = mem_printf("local_links_%s.%lld", d->name, (long long)c->gen);
    rc = rename_table(db, copy, table, e);
    if (rc == 0 && c->links != NULL)
        rc = rename_table(db, links_copy, links, e);
    if (rc == 0)
        rc = build_leave_behind(db, d->name, old, e);
    return rc < 0 || is_told(c)
               ? rc
               : build_row(db, "UPDATE entity_leftovers SET told = 0 WHERE gen = ?1", NULL, &old, 1,
                           e);
}

/* ---- rows ---- */

int build_next_rows(struct db *db, const char *table, int64_t after, size_t max,
                    struct build_rows *out, struct err *e)
{
    AUTO(buf_fini) struct buf sql = BUF_INIT(LEFTOVER_SQL_MAX);
    buf_addf(&sql, "SELECT rid, octet_length(body) FROM %s WHERE rid > ?1 ORDER BY rid LIMIT ?2",
             table);
    AUTO(db_stmt_donep) struct db_stmt *s = db_stmt_get_buf(db, &sql, e);
    if (s == NULL)
        return e->code;
    max = max < ENTITY_BUILD_ROWS ? max : ENTITY_BUILD_ROWS;
    db_bind_int(s, 1, after);
    db_bind_int(s, 2, (int64_t)max);
    int64_t bytes = 0;
    int rc;
    out->count = 0;
    out->last = true;
    while ((rc = db_step(s, e)) > 0) {
        bytes += db_col_int(s, 1);
        if (out->count > 0 && bytes > ENTITY_BUILD_BYTES) {
            out->last = false;
            return 0;
        }
        out->rids[out->count++] = db_col_int(s, 0);
    }
    out->last = out->count < max;
    return rc;
}

/* 1: there is one; its gen and entity. */
static int next_leftover(struct db *db, bool told, int64_t *gen, char entity[ENTITY_NAME_MAX + 1],
                         struct err *e)
{
    AUTO(db_stmt_donep)
    struct db_stmt *s = db_stmt_get(
        db, "SELECT gen, entity FROM entity_leftovers WHERE told = ?1 ORDER BY gen LIMIT 1", e);
    if (s == NULL)
        return e->code;
    db_bind_int(s, 1, told);
    int rc = db_step(s, e);
    if (rc <= 0)
        return rc;
    *gen = db_col_int(s, 0);
    snprintf(entity, ENTITY_NAME_MAX + 1, "%s", db_col_text(s, 1, NULL));
    return 1;
}

/* ---- announcing ---- */

/* All are announced: the definition says so from here on. */
static int told_all(struct entities *s, const struct apply *a, const struct entity_def *d,
                    int64_t gen, struct err *e)
{
    int rc =
        build_row(a->db, "UPDATE entity_leftovers SET told = 1 WHERE gen = ?1", NULL, &gen, 1, e);
    if (rc < 0)
        return rc;
    AUTO(mem_freep) char *text = mem_strdup(d->json);
    struct migration m = {.s = s, .a = a};
    return migration_set_live(&m, text, d->version, false, e);
}

int leftover_tell(struct entities *s, const struct apply *a, size_t max, size_t *done,
                  struct err *e)
{
    int64_t gen;
    char entity[ENTITY_NAME_MAX + 1];
    struct build_rows rows = {.count = 0};
    int rc = next_leftover(a->db, false, &gen, entity, e);
    if (rc <= 0)
        return rc;
    const struct entity_def *d = entities_live(s, a, entity, strlen(entity), e);
    if (d == NULL)
        return e->code;
    AUTO(mem_freep) char *table = mem_printf("\"entity_%s.%lld\"", entity, (long long)gen);
    rc = build_next_rows(a->db, table, INT64_MIN, max, &rows, e);
    for (size_t i = 0; i < rows.count && rc == 0; i++)
        rc = settle_row(s, a, d, rows.rids[i], e);
    *done += rows.count;
    return rc == 0 && rows.last ? told_all(s, a, d, gen, e) : rc;
}

/* ---- emptying ---- */

static int clear_some(struct db *db, const char *sql, int64_t gen, size_t max, size_t *done,
                      struct err *e)
{
    int rc = build_row(db, sql, NULL, (int64_t[]){gen, (int64_t)max}, 2, e);
    if (rc == 0)
        *done += (size_t)db_changes(db);
    return rc;
}

static int clear_marks(struct db *db, int64_t gen, size_t max, size_t *done, struct err *e)
{
    static const char *const marks[] = {
        "DELETE FROM entity_violations WHERE gen = ?1 AND rid IN"
        " (SELECT rid FROM entity_violations WHERE gen = ?1 LIMIT ?2)",
        "DELETE FROM entity_redo WHERE gen = ?1 AND rid IN"
        " (SELECT rid FROM entity_redo WHERE gen = ?1 LIMIT ?2)"};
    int rc = 0;
    for (size_t i = 0; i < ARRAY_LEN(marks) && rc == 0 && *done < max; i++)
        rc = clear_some(db, marks[i], gen, max - *done, done, e);
    return rc;
}

static int drop(struct db *db, const char *table, struct err *e)
{
    AUTO(buf_fini) struct buf sql = BUF_INIT(LEFTOVER_SQL_MAX);
    buf_addf(&sql, "DROP TABLE \"%s\"", table);
    return db_exec_buf(db, &sql, e);
}

/* Records may be large: bounded in bytes too. */
static int clear_records(struct db *db, const char *table, size_t max, size_t *done, struct err *e)
{
    AUTO(mem_freep) char *quoted = mem_printf("\"%s\"", table);
    AUTO(buf_fini) struct buf sql = BUF_INIT(LEFTOVER_SQL_MAX);
    struct build_rows rows = {.count = 0};
    int rc = build_next_rows(db, quoted, INT64_MIN, max, &rows, e);
    buf_addf(&sql, "DELETE FROM %s WHERE rid <= ?1", quoted);
    if (rc == 0)
        rc = buf_check(&sql, "a statement", e);
    if (rc == 0 && rows.count > 0)
        rc = build_row(db, buf_str(&sql), NULL, &rows.rids[rows.count - 1], 1, e);
    *done += rows.count;
    return rc < 0 || !rows.last ? rc : drop(db, table, e);
}

/* `sql` takes out at most ?2; when it finds fewer `table` is dropped. */
static int clear_table(struct db *db, const char *table, const struct buf *sql, size_t max,
                       size_t *done, struct err *e)
{
    size_t before = *done;
    int rc = buf_check(sql, "a statement", e);
    if (rc == 0)
        rc = clear_some(db, buf_str(sql), 0, max, done, e);
    return rc < 0 || *done - before >= max ? rc : drop(db, table, e);
}

static int clear_links(struct db *db, const char *table, size_t max, size_t *done, struct err *e)
{
    AUTO(buf_fini) struct buf sql = BUF_INIT(LEFTOVER_SQL_MAX);
    buf_addf(&sql,
             "DELETE FROM \"%s\" WHERE ?1 = 0 AND (field, target, rid) IN"
             " (SELECT field, target, rid FROM \"%s\" LIMIT ?2)",
             table, table);
    return clear_table(db, table, &sql, max, done, e);
}

/* Its pages lie as rows in a table of its own: those go, and what is left is dropped. The first
 * few are its head. */
static int clear_search(struct db *db, const char *table, size_t max, size_t *done, struct err *e)
{
    AUTO(buf_fini) struct buf sql = BUF_INIT(LEFTOVER_SQL_MAX);
    buf_addf(&sql,
             "DELETE FROM \"%s_data\" WHERE ?1 = 0 AND id IN"
             " (SELECT id FROM \"%s_data\" WHERE id > %d LIMIT ?2)",
             table, table, LEFTOVER_SEARCH_HEAD);
    return clear_table(db, table, &sql, max, done, e);
}

typedef int clear_fn(struct db *db, const char *table, size_t max, size_t *done, struct err *e);

/* 1: none of them is left. */
static int clear_tables(struct db *db, const char *entity, int64_t gen, size_t max, size_t *done,
                        struct err *e)
{
    static const struct {
        const char *kind;
        clear_fn *clear;
    } tables[] = {
        {"entity", clear_records}, {"local_links", clear_links}, {"local_search", clear_search}};
    for (size_t i = 0; i < ARRAY_LEN(tables); i++) {
        AUTO(mem_freep)
        char *name = mem_printf("%s_%s.%lld", tables[i].kind, entity, (long long)gen);
        int rc = has(db, name, e);
        if (rc > 0 && *done < max) {
            rc = tables[i].clear(db, name, max - *done, done, e);
            rc = rc < 0 ? rc : has(db, name, e);
        }
        if (rc != 0)
            return rc < 0 ? rc : 0;
    }
    return 1;
}

int leftover_clear(struct db *db, size_t max, size_t *done, struct err *e)
{
    int64_t gen;
    char entity[ENTITY_NAME_MAX + 1];
    int rc = next_leftover(db, true, &gen, entity, e);
    if (rc <= 0)
        return rc;
    if ((rc = clear_marks(db, gen, max, done, e)) < 0 || *done >= max)
        return rc;
    rc = clear_tables(db, entity, gen, max, done, e);
    return rc <= 0 ? rc
                   : build_row(db, "DELETE FROM entity_leftovers WHERE gen = ?1", NULL, &gen, 1, e);
}
