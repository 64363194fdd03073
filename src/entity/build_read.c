/* What is told of builds. */
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "db/db.h"
#include "entity/build_priv.h"
#include "entity/kept.h"

enum { BUILD_READ_SQL_MAX = 4096 };

static int count_violations(struct db *db, int64_t gen, int64_t *out, struct err *e)
{
    AUTO(db_stmt_donep)
    struct db_stmt *s = db_stmt_get(
        db, "SELECT count(*) FROM (SELECT 1 FROM entity_violations WHERE gen = ?1 LIMIT ?2)", e);
    if (s == NULL)
        return e->code;
    db_bind_int(s, 1, gen);
    db_bind_int(s, 2, ENTITY_VIOLATIONS_COUNTED + 1);
    int rc = db_step(s, e);
    *out = rc > 0 ? db_col_int(s, 0) : 0;
    return rc < 0 ? rc : 0;
}

int build_last_row(struct db *db, const char *entity, int64_t *out, struct err *e)
{
    AUTO(buf_fini) struct buf sql = BUF_INIT(BUILD_READ_SQL_MAX);
    buf_addf(&sql, "SELECT max(rid) FROM \"entity_%s\"", entity);
    AUTO(db_stmt_donep) struct db_stmt *s = db_stmt_get_buf(db, &sql, e);
    if (s == NULL)
        return e->code;
    int rc = db_step(s, e);
    *out = rc > 0 ? db_col_int(s, 0) : 0;
    return rc < 0 ? rc : 0;
}

/* 1: there is a build; `gen` of it. */
static int read_build(struct db *db, const char *entity, struct entity_build_state *out,
                      int64_t *gen, struct err *e)
{
    AUTO(db_stmt_donep) struct db_stmt *s = NULL;
    int rc = copy_state(db, "SELECT gen, search, rid, scanned FROM entity_builds WHERE entity = ?1",
                        entity, &s, e);
    if (rc <= 0)
        return rc;
    *gen = db_col_int(s, 0);
    out->building = true;
    out->table = *gen > 0;
    out->search = db_col_int(s, 1) != 0;
    out->scanned = db_col_int(s, 3) != 0;
    int64_t rid = db_col_int(s, 2), last = 0;
    if ((rc = build_last_row(db, entity, &last, e)) < 0 ||
        (rc = count_violations(db, *gen, &out->violations, e)) < 0)
        return rc;
    out->percent = out->scanned || rid >= last ? 100 : (int)(100 * rid / last);
    return 1;
}

int entity_build_read(struct db *db, const char *entity, struct entity_build_state *out,
                      struct err *e)
{
    struct err own = ERR_INIT;
    int64_t gen;
    *out = (struct entity_build_state){.building = false};
    int rc = read_build(db, entity, out, &gen, e != NULL ? e : &own);
    return rc < 0 ? rc : 0;
}

/* ---- for people ---- */

static json_t *terms_json(const struct entity_index *ix)
{
    json_t *fields = json_array();
    for (size_t i = 0; i < ix->terms_count; i++)
        json_array_append_new(
            fields, json_sprintf("%s%s", ix->terms[i].desc ? "-" : "", ix->terms[i].name));
    return fields;
}

static const struct entity_index *index_named(const struct entity_def *d, const char *name)
{
    for (size_t i = 0; i < d->indexes_count; i++) {
        if (strcmp(d->indexes[i].name, name) == 0)
            return &d->indexes[i];
    }
    return NULL;
}

static json_t *violation_json(const struct entity_def *d, struct db_stmt *s)
{
    const struct entity_index *ix = index_named(d, db_col_text(s, 4, NULL));
    size_t n;
    const char *text = db_col_text(s, 3, &n), *part = db_col_text(s, 2, NULL);
    AUTO(json_unref) json_t *body = json_read(text, n, NULL);
    json_t *o =
        json_pack("{s:s,s:s}", "id", db_col_text(s, 0, NULL), "tenant", db_col_text(s, 1, NULL));
    json_t *values = json_object();
    if (*part != '\0')
        json_object_set_new(o, "partition", json_string(part));
    for (size_t i = 0; ix != NULL && i < ix->terms_count; i++)
        json_object_set(values, ix->terms[i].name, json_object_get(body, ix->terms[i].name));
    json_object_set_new(o, "fields", ix != NULL ? terms_json(ix) : json_array());
    json_object_set_new(o, "values", values);
    return o;
}

static json_t *violations_json(struct db *db, const struct entity_def *d, int64_t gen,
                               struct err *e)
{
    AUTO(buf_fini) struct buf sql = BUF_INIT(BUILD_READ_SQL_MAX);
    buf_addf(&sql,
             "SELECT t.id, t.tenant, t.part, t.body, v.ix FROM entity_violations v"
             " JOIN %s t ON t.rid = v.rid WHERE v.gen = ?1 ORDER BY v.rid LIMIT %d",
             d->sql->table, ENTITY_VIOLATIONS_LISTED);
    AUTO(db_stmt_donep) struct db_stmt *s = db_stmt_get_buf(db, &sql, e);
    if (s == NULL)
        return NULL;
    db_bind_int(s, 1, gen);
    AUTO(json_unref) json_t *list = json_array();
    int rc;
    while ((rc = db_step(s, e)) > 0)
        json_array_append_new(list, violation_json(d, s));
    return rc < 0 ? NULL : TAKE(list);
}

static json_t *build_json(struct db *db, const struct entity_def *d,
                          const struct entity_build_state *now, int64_t gen, struct err *e)
{
    json_t *list = violations_json(db, d, gen, e);
    if (list == NULL)
        return NULL;
    bool more = now->violations > ENTITY_VIOLATIONS_COUNTED;
    return json_pack("{s:i,s:I,s:b,s:o}", "percent", now->percent, "violations",
                     (json_int_t)(more ? ENTITY_VIOLATIONS_COUNTED : now->violations),
                     "violations_more", more, "list", list);
}

static json_t *indexes_json(const struct entity_def *d, const json_t *names, bool violated)
{
    json_t *list = json_array();
    for (size_t i = 0; i < d->indexes_count; i++) {
        const struct entity_index *ix = &d->indexes[i];
        bool on = json_object_get(names, ix->name) != NULL;
        if (ix->global)
            continue;
        json_array_append_new(list, json_pack("{s:o,s:b,s:s}", "fields", terms_json(ix), "unique",
                                              ix->unique, "state",
                                              on         ? "on"
                                              : violated ? "violated"
                                                         : "building"));
    }
    return list;
}

/* Why the last migration was given up; NULL with code 0 when none was. */
static json_t *halted_json(struct db *db, const struct entity_def *d, struct err *e)
{
    AUTO(db_stmt_donep)
    struct db_stmt *s = db_stmt_get(db, "SELECT list FROM entity_halts WHERE entity = ?1", e);
    if (s == NULL)
        return NULL;
    db_bind_str(s, 1, d->name);
    size_t n;
    if (db_step(s, e) <= 0)
        return NULL;
    const char *text = db_col_text(s, 0, &n);
    return json_read(text, n, e);
}

static int add_migration(struct db *db, const struct entity_def *d, json_t *o, struct err *e)
{
    int64_t gen, rid;
    int percent;
    int rc = migrate_read_state(db, d, &gen, &rid, &percent, e);
    if (rc > 0)
        json_object_set_new(o, "migration", json_pack("{s:i}", "percent", percent));
    json_t *halted = rc >= 0 ? halted_json(db, d, e) : NULL;
    if (halted != NULL)
        json_object_set_new(o, "halted", halted);
    return rc < 0 ? rc : e->code;
}

static json_t *state_json(struct db *db, const struct entity_def *d, struct err *e)
{
    struct entity_build_state now = {.building = false};
    int64_t gen = 0;
    AUTO(json_unref) json_t *names = copy_index_names(db, d, e);
    int rc = names != NULL ? read_build(db, d->name, &now, &gen, e) : e->code;
    if (rc < 0)
        return NULL;
    AUTO(json_unref) json_t *build = rc > 0 ? build_json(db, d, &now, gen, e) : NULL;
    AUTO(json_unref) json_t *def = json_read(d->json, strlen(d->json), e);
    if (def == NULL || (rc > 0 && build == NULL))
        return NULL;
    json_t *o = json_pack("{s:s,s:s,s:i,s:O,s:o}", "name", d->name, "path", d->path, "version",
                          (int)d->version, "definition", def, "indexes",
                          indexes_json(d, names, now.violations > 0));
    if (d->has_search)
        json_object_set_new(o, "search", json_string(now.search ? "building" : "on"));
    if (build != NULL)
        json_object_set(o, "build", build);
    json_t *kept = entity_kept_json(db, d->name, e);
    if (json_array_size(kept) > 0)
        json_object_set(o, "kept", kept);
    json_decref(kept);
    if (kept == NULL || add_migration(db, d, o, e) < 0) {
        json_decref(o);
        return NULL;
    }
    return o;
}

json_t *entity_build_json(struct db *db, const struct entity_def *d, struct err *e)
{
    struct err own = ERR_INIT;
    e = e != NULL ? e : &own;
    if (db_snapshot_begin(db, e) < 0)
        return NULL;
    json_t *o = state_json(db, d, e);
    db_snapshot_end(db);
    return o;
}
