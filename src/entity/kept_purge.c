/* What was kept long enough goes, in steps that entity.sweep takes a bounded number of rows at a
 * time: a field's values, then what removed records and old versions say of it. */
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "db/db.h"
#include "entity/build_priv.h"
#include "entity/kept_priv.h"

enum { PURGE_SQL_MAX = 4096 };

enum purge_step { PURGE_VALUES, PURGE_REMOVED, PURGE_HISTORY, PURGE_OVER };

struct purge {
    struct db *db;
    int64_t gen, rid, removed_at;
    int step;
    bool kept; /* for somebody: else it came back, or never went */
    char entity[ENTITY_NAME_MAX + 1], field[ENTITY_NAME_MAX + 1];
};

static int next(struct db *db, int64_t at, struct purge *out, struct err *e)
{
    AUTO(db_stmt_donep)
    struct db_stmt *s = db_stmt_get(db,
                                    "SELECT gen, entity, field, back, removed_at, step, rid FROM"
                                    " kept_fields WHERE purge_at <= ?1"
                                    " ORDER BY purge_at, gen LIMIT 1",
                                    e);
    if (s == NULL)
        return e->code;
    db_bind_int(s, 1, at);
    int rc = db_step(s, e);
    if (rc <= 0)
        return rc;
    *out = (struct purge){.db = db,
                          .gen = db_col_int(s, 0),
                          .kept = db_col_int(s, 3) == 0,
                          .removed_at = db_col_int(s, 4),
                          .step = (int)db_col_int(s, 5),
                          .rid = db_col_int(s, 6)};
    snprintf(out->entity, sizeof(out->entity), "%s", db_col_text(s, 1, NULL));
    snprintf(out->field, sizeof(out->field), "%s", db_col_text(s, 2, NULL));
    return 1;
}

/* 1: none is left. */
static int values(struct purge *p, size_t max, size_t *done, struct err *e)
{
    int rc = build_row(p->db,
                       "DELETE FROM kept_values WHERE gen = ?1 AND rid IN"
                       " (SELECT rid FROM kept_values WHERE gen = ?1 LIMIT ?2)",
                       NULL, (int64_t[]){p->gen, (int64_t)max}, 2, e);
    size_t n = rc == 0 ? (size_t)db_changes(p->db) : 0;
    *done += n;
    return rc < 0 ? rc : n < max;
}

/* The last of the next rows of all entities: an index by entity would not be in this order. 1: they
 * are the last. */
static int walk(struct purge *p, const char *sql, size_t max, int64_t *last, size_t *done,
                struct err *e)
{
    AUTO(db_stmt_donep) struct db_stmt *s = db_stmt_get(p->db, sql, e);
    if (s == NULL)
        return e->code;
    db_bind_int(s, 1, p->rid);
    db_bind_int(s, 2, (int64_t)max);
    int rc = db_step(s, e);
    if (rc <= 0)
        return rc < 0 ? rc : 1;
    size_t n = (size_t)db_col_int(s, 1);
    *last = n > 0 ? db_col_int(s, 0) : p->rid;
    *done += n;
    return n < max;
}

static int strip(const struct purge *p, const char *table, const char *set, const char *when,
                 int64_t last, struct err *e)
{
    AUTO(buf_fini) struct buf sql = BUF_INIT(PURGE_SQL_MAX);
    buf_addf(&sql,
             "UPDATE %s SET body = json_remove(body, ?1)%s WHERE rid > ?2 AND rid <= ?3 AND"
             " entity = ?4 AND %s <= ?5 AND body -> ?1 IS NOT NULL",
             table, set, when);
    char path[ENTITY_NAME_MAX + 8];
    snprintf(path, sizeof(path), "$.\"%s\"", p->field);
    struct db_stmt *s = db_stmt_get_buf(p->db, &sql, e);
    if (s == NULL)
        return e->code;
    db_bind_str(s, 1, path);
    db_bind_int(s, 2, p->rid);
    db_bind_int(s, 3, last);
    db_bind_str(s, 4, p->entity);
    db_bind_int(s, 5, p->removed_at);
    return db_run(s, e);
}

static int strip_some(struct purge *p, size_t max, size_t *done, struct err *e)
{
    bool removed = p->step == PURGE_REMOVED;
    int64_t last = p->rid;
    int end = walk(p,
                   removed ? "SELECT max(rid), count(*) FROM (SELECT rid FROM entity_removed"
                             " WHERE rid > ?1 ORDER BY rid LIMIT ?2)"
                           : "SELECT max(rid), count(*) FROM (SELECT rid FROM entity_history"
                             " WHERE rid > ?1 ORDER BY rid LIMIT ?2)",
                   max, &last, done, e);
    if (end < 0)
        return end;
    int rc = removed ? strip(p, "entity_removed", ", keys = nullif(json_remove(keys, ?1), '{}')",
                             "removed_at", last, e)
                     : strip(p, "entity_history", "", "replaced_at", last, e);
    p->rid = last;
    return rc < 0 ? rc : end;
}

/* 1: the step is done. */
static int run_step(struct purge *p, size_t max, size_t *done, struct err *e)
{
    return p->step == PURGE_VALUES ? values(p, max, done, e) : strip_some(p, max, done, e);
}

static int remember(const struct purge *p, struct buf *gone, struct err *e)
{
    if (p->step < PURGE_OVER)
        return build_row(p->db, "UPDATE kept_fields SET step = ?2, rid = ?3 WHERE gen = ?1", NULL,
                         (int64_t[]){p->gen, p->step, p->rid}, 3, e);
    if (p->kept)
        buf_addf(gone, "%s%s.%s", gone->len > 0 ? ", " : "", p->entity, p->field);
    return build_row(p->db, "DELETE FROM kept_fields WHERE gen = ?1", NULL, &p->gen, 1, e);
}

int kept_purge(const struct apply *a, size_t max, size_t *done, struct buf *gone, struct err *e)
{
    struct purge p;
    int rc = 0;
    while (*done < max && (rc = next(a->db, a->at, &p, e)) > 0) {
        if ((rc = run_step(&p, max - *done, done, e)) < 0)
            return rc;
        if (rc > 0) {
            p.step = p.kept ? p.step + 1 : PURGE_OVER;
            p.rid = 0;
            ++*done; /* of an empty one too, or a thousand of those would be one operation */
        }
        if ((rc = remember(&p, gone, e)) < 0)
            return rc;
    }
    return rc < 0 ? rc : 0;
}
