/* Summary: what came of all that was sent. It scans arrivals and source records once; call it on
 * the pool. */
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/str.h"
#include "canon/canon_priv.h"
#include "canon/ops_priv.h"
#include "canon/read_priv.h"
#include "canon/store_priv.h"
#include "db/db.h"

static json_t *member(json_t *o, const char *name)
{
    json_t *v = json_object_get(o, name);
    if (v == NULL) {
        v = json_object();
        json_object_set_new(o, name, v);
    }
    return v;
}

static void add(json_t *o, const char *name, json_int_t n)
{
    json_object_set_new(o, name, json_integer(json_integer_value(json_object_get(o, name)) + n));
}

static struct db_stmt *query(struct db *db, const char *sql, const char *tenant, const char *model,
                             struct err *e)
{
    struct db_stmt *s = db_stmt_get(db, sql, e);
    if (s != NULL) {
        db_bind_str(s, 1, tenant);
        db_bind_str(s, 2, model);
    }
    return s;
}

static int count_arrivals(struct db *db, const char *model, const char *tenant, json_t *sources,
                          struct err *e)
{
    AUTO(db_stmt_donep)
    struct db_stmt *s = query(db,
                              "SELECT origin, outcome, reason, count(*) FROM canon_arrival WHERE "
                              "tenant = ?1 AND model = ?2 GROUP BY origin, outcome, reason",
                              tenant, model, e);
    if (s == NULL)
        return e->code;
    int rc;
    while ((rc = db_step(s, e)) > 0) {
        json_t *src = member(sources, db_col_text(s, 0, NULL));
        int outcome = (int)db_col_int(s, 1);
        const char *reason = db_col_text(s, 2, NULL);
        add(src, "arrivals", db_col_int(s, 3));
        add(src, canon_stored_name(outcome), db_col_int(s, 3));
        if (reason != NULL && (outcome == STORED_PARKED || outcome == STORED_FAILED))
            add(member(src, "reasons"), reason, db_col_int(s, 3));
    }
    return rc;
}

static int count_golden(struct db *db, const char *model, const char *tenant, json_t *out,
                        struct err *e)
{
    static const char *const names[] = {"golden", "merged", "withdrawn"};
    AUTO(db_stmt_donep)
    struct db_stmt *s = query(db,
                              "SELECT lifecycle, count(*) FROM canon_golden WHERE tenant = ?1 AND "
                              "model = ?2 GROUP BY lifecycle",
                              tenant, model, e);
    if (s == NULL)
        return e->code;
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        json_object_set_new(out, names[i], json_integer(0));
    int rc;
    while ((rc = db_step(s, e)) > 0)
        if (db_col_int(s, 0) >= 0 && (size_t)db_col_int(s, 0) < ARRAY_LEN(names))
            add(out, names[db_col_int(s, 0)], db_col_int(s, 1));
    return rc;
}

struct scan {
    struct db *db;
    const struct canon_model *m;
    json_t *fields, *sizes;
    struct store_source *rows;
    size_t count, cap;
    uint64_t def;
    char golden[STORE_ID];
};

static void count_conflicts(struct scan *c, const struct canon_survived *s)
{
    const char *field;
    json_t *print;
    json_object_foreach(s->footprint, field, print)
    {
        if (json_object_get(print, "beat") == NULL)
            continue;
        json_t *f = member(c->fields, field);
        add(f, "conflicts", 1);
        add(member(f, "won"), json_string_value(json_object_get(print, "o")), 1);
    }
}

/* The source records of one golden record are together: what do they disagree about? */
static int scan_flush(struct scan *c, struct err *e)
{
    int rc = 0;
    if (c->count > 0) {
        char size[24];
        snprintf(size, sizeof size, "%zu", c->count);
        add(c->sizes, size, 1);
    }
    if (c->count > 1) {
        struct canon_survived s = {0};
        rc = canon_read_survive(c->db, c->m, c->def, c->rows, c->count, &s, e);
        if (rc == 0)
            count_conflicts(c, &s);
        canon_survived_fini(&s);
    }
    for (size_t i = 0; i < c->count; i++)
        store_source_fini(&c->rows[i]);
    c->count = 0;
    return rc;
}

static int scan_row(struct scan *c, struct db_stmt *s, struct err *e)
{
    const char *golden = db_col_text(s, 0, NULL);
    int rc = 0;
    if (strcmp(golden, c->golden) != 0) {
        rc = scan_flush(c, e);
        str_copy(c->golden, sizeof c->golden, golden);
    }
    if (rc != 0)
        return rc;
    if (c->count == c->cap) {
        size_t cap = c->cap ? 2 * c->cap : 64;
        struct store_source *grown = mem_try_resize(c->rows, cap * sizeof *grown);
        if (grown == NULL)
            return err_set(e, ERR_NOMEM, "a golden record of %zu source records", cap);
        c->rows = grown;
        c->cap = cap;
    }
    c->def = (uint64_t)db_col_int(s, 1);
    struct store_source *row = &c->rows[c->count];
    *row = (struct store_source){.origin = mem_strdup(db_col_text(s, 2, NULL)),
                                 .source_id = mem_strdup(db_col_text(s, 3, NULL)),
                                 .observed_at = db_col_int(s, 4)};
    size_t n;
    const char *p = db_col_text(s, 5, &n);
    row->fields = json_read(p, n, e);
    p = db_col_text(s, 6, &n);
    row->ever = p ? json_read(p, n, e) : NULL;
    c->count++;
    return row->fields == NULL ? ERR_CORRUPT : 0;
}

static int scan_sources(struct scan *c, const char *tenant, struct err *e)
{
    AUTO(db_stmt_donep)
    struct db_stmt *s = query(
        c->db,
        "SELECT s.golden, g.def, s.origin, s.source_id, s.observed_at, s.fields, s.ever FROM "
        "canon_source AS s JOIN canon_golden AS g ON g.tenant = s.tenant AND g.model = s.model AND "
        "g.id = s.golden WHERE s.tenant = ?1 AND s.model = ?2 AND s.golden IS NOT NULL ORDER BY "
        "s.golden",
        tenant, c->m->name, e);
    if (s == NULL)
        return e->code;
    int rc;
    while ((rc = db_step(s, e)) > 0)
        if ((rc = scan_row(c, s, e)) != 0)
            return rc;
    return rc == 0 ? scan_flush(c, e) : rc;
}

int canon_summary(struct db *db, const struct canon_model *m, const char *tenant, struct buf *out,
                  struct err *e)
{
    AUTO(json_unref) json_t *o = json_object();
    json_object_set_new(o, "model", json_string(m->name));
    struct scan c = {.db = db, .m = m};
    json_t *sources = member(o, "sources");
    c.fields = member(o, "fields");
    c.sizes = member(o, "sources_per_golden");
    int rc = db_snapshot_begin(db, e);
    if (rc != 0)
        return rc;
    rc = count_arrivals(db, m->name, tenant, sources, e);
    if (rc == 0)
        rc = count_golden(db, m->name, tenant, o, e);
    if (rc == 0)
        rc = scan_sources(&c, tenant, e);
    db_snapshot_end(db);
    for (size_t i = 0; i < c.count; i++)
        store_source_fini(&c.rows[i]);
    mem_free(c.rows);
    return rc == 0 ? json_print(o, out, e) : rc;
}
