/* entity.build, and what a definition leaves for it to do. */
#include "entity/build.h"

#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "db/db.h"
#include "entity/build_priv.h"
#include "ledger/txn.h"

enum { BUILD_SQL_MAX = 4096 };

/* ---- small statements ---- */

int build_row(struct db *db, const char *sql, const char *name, const int64_t *numbers, int count,
              struct err *e)
{
    struct db_stmt *s = db_stmt_get(db, sql, e);
    if (s == NULL)
        return e->code;
    for (int i = 0; i < count; i++)
        db_bind_int(s, i + 1, numbers[i]);
    if (name != NULL)
        db_bind_str(s, count + 1, name);
    return db_run(s, e);
}

/* The first column of the first row; `none` without one. */
static int read_number(struct db *db, const char *sql, int64_t a, int64_t none, int64_t *out,
                       struct err *e)
{
    AUTO(db_stmt_donep) struct db_stmt *s = db_stmt_get(db, sql, e);
    if (s == NULL)
        return e->code;
    db_bind_int(s, 1, a);
    int rc = db_step(s, e);
    *out = rc > 0 && !db_col_is_null(s, 0) ? db_col_int(s, 0) : none;
    return rc < 0 ? rc : 0;
}

int build_next_gen(struct db *db, int64_t *out, struct err *e)
{
    int rc = db_exec(db,
                     "INSERT INTO entity_gens VALUES(1, 1)"
                     " ON CONFLICT(id) DO UPDATE SET last = last + 1",
                     e);
    return rc < 0 ? rc
                  : read_number(db, "SELECT last FROM entity_gens WHERE id = ?1", 1, 0, out, e);
}

/* ---- a definition takes effect ---- */

static bool has_index(const struct entity_def *d, const char *name)
{
    for (size_t i = 0; i < d->indexes_count; i++) {
        if (strcmp(d->indexes[i].name, name) == 0)
            return true;
    }
    return false;
}

static bool same_indexes(const struct entity_def *a, const struct entity_def *b)
{
    bool same = a->indexes_count == b->indexes_count;
    for (size_t i = 0; same && i < a->indexes_count; i++)
        same = has_index(b, a->indexes[i].name);
    return same;
}

static size_t count_unwanted(const struct entity_def *to, const json_t *names)
{
    const char *key;
    json_t *full;
    size_t n = 0;
    json_object_foreach((json_t *)names, key, full) n += !has_index(to, key);
    return n;
}

static int drop_unwanted(struct db *db, const struct entity_def *to, json_t *names, struct err *e)
{
    const char *key;
    json_t *full;
    void *next;
    json_object_foreach_safe(names, next, key, full)
    {
        if (has_index(to, key))
            continue;
        int rc = store_drop_index(db, json_string_value(full), e);
        if (rc < 0)
            return rc;
        json_object_del(names, key);
    }
    return 0;
}

static size_t count_missing(const struct entity_def *d, const json_t *names)
{
    size_t n = 0;
    for (size_t i = 0; i < d->indexes_count; i++)
        n += json_object_get(names, d->indexes[i].name) == NULL;
    return n;
}

int build_give_up(struct db *db, const struct entity_def *from, struct err *e)
{
    if (from == NULL || from->copy == NULL)
        return 0;
    if (from->copy->to != NULL)
        return migrate_give_up(db, from, e);
    int rc = from->copy->gen > 0 ? build_leave_behind(db, from->name, from->copy->gen, e) : 0;
    return rc < 0 ? rc
                  : build_row(db, "DELETE FROM entity_builds WHERE entity = ?1", from->name, NULL,
                              0, e);
}

static int is_small(struct db *db, const struct entity_def *from, bool *out, struct err *e)
{
    *out = true;
    if (from == NULL)
        return 0;
    AUTO(buf_fini) struct buf sql = BUF_INIT(BUILD_SQL_MAX);
    buf_addf(&sql, "SELECT count(*) FROM (SELECT 1 FROM %s LIMIT ?1)", from->sql->table);
    int64_t n = 0;
    int rc = buf_check(&sql, "a statement", e);
    if (rc == 0)
        rc = read_number(db, buf_str(&sql), ENTITY_BUILD_AT_ONCE + 1, 0, &n, e);
    *out = n <= ENTITY_BUILD_AT_ONCE;
    return rc;
}

/* What can be made now. `missing` becomes what cannot: an index over records that share a value. */
static int make_at_once(struct db *db, const struct entity_def *to, const json_t *names,
                        size_t *missing, struct err *e)
{
    *missing = 0;
    for (size_t i = 0; i < to->indexes_count; i++) {
        struct err refused = ERR_INIT;
        if (json_object_get(names, to->indexes[i].name) != NULL)
            continue;
        int rc = store_create_index(db, to, &to->indexes[i], 0, &refused);
        if (rc < 0 && rc != ERR_CONFLICT) {
            *e = refused;
            return rc;
        }
        *missing += rc < 0;
    }
    return 0;
}

int build_make_copy(struct db *db, const struct entity_def *to, int64_t *gen, struct err *e)
{
    int rc = build_next_gen(db, gen, e);
    if (rc < 0)
        return rc;
    AUTO(mem_freep) char *name = mem_printf("\"entity_%s.%lld\"", to->name, (long long)*gen);
    rc = store_create_table(db, name, e);
    for (size_t i = 0; rc == 0 && i < to->indexes_count; i++)
        rc = store_create_index(db, to, &to->indexes[i], *gen, e);
    return rc;
}

static int begin(struct db *db, const struct entity_def *to, bool table, bool search, struct err *e)
{
    int64_t gen = 0;
    int rc = table ? build_make_copy(db, to, &gen, e) : 0;
    if (rc < 0)
        return rc;
    return build_row(db,
                     "INSERT INTO entity_builds(gen, search, entity, rid, scanned, retry)"
                     " VALUES(?1, ?2, ?3, 0, 0, 0)",
                     to->name, (int64_t[]){gen, search}, 2, e);
}

int build_search_again(struct db *db, const struct entity_def *from, const struct entity_def *to,
                       struct err *e)
{
    bool fresh, small;
    int rc = search_define(db, from, to, true, &fresh, e);
    if (rc < 0 || !fresh || (rc = is_small(db, to, &small, e)) < 0)
        return rc;
    return small ? search_fill(db, to, 0, INT64_MAX, e) : begin(db, to, false, true, e);
}

int build_define(const struct apply *a, const struct entity_def *from, const struct entity_def *to,
                 bool words, struct err *e)
{
    struct err own = ERR_INIT;
    e = e != NULL ? e : &own;
    AUTO(json_unref)
    json_t *names = from != NULL ? copy_index_names(a->db, from, e) : json_object();
    if (names == NULL)
        return e->code;
    bool fresh = false, small;
    int rc = is_small(a->db, from, &small, e);
    if (rc == 0 && small)
        rc = drop_unwanted(a->db, to, names, e);
    if (rc < 0 || (rc = search_define(a->db, from, to, false, &fresh, e)) < 0)
        return rc;
    fresh = fresh || (words && to->has_search);
    const struct entity_copy *was = from != NULL ? from->copy : NULL;
    was = was != NULL && was->to == NULL ? was : NULL;
    size_t missing = count_missing(to, names) + count_unwanted(to, names);
    bool search = fresh || (was != NULL && was->search && to->has_search);
    if (was != NULL && !fresh && was->search == search && (was->gen > 0) == (missing > 0) &&
        (missing == 0 || same_indexes(from, to)) && (missing > 0 || search))
        return 0; /* it goes on */
    if ((rc = build_give_up(a->db, from, e)) < 0 || (missing == 0 && !search))
        return rc;
    if (small) {
        rc = make_at_once(a->db, to, names, &missing, e);
        if (rc == 0 && search)
            rc = search_fill(a->db, to, 0, INT64_MAX, e);
        search = false;
    }
    return rc < 0 || (missing == 0 && !search) ? rc : begin(a->db, to, missing > 0, search, e);
}

/* ---- the operation ---- */

struct build {
    struct entities *s;
    const struct apply *a;
    const struct entity_def *def;
    char entity[ENTITY_NAME_MAX + 1];
    int64_t rid, retry;
    bool scanned;
};

/* 1: there is one. Those that have rows to look at come first. */
static int next_build(struct build *b, const char *behind, struct err *e)
{
    AUTO(db_stmt_donep)
    struct db_stmt *s = db_stmt_get(b->a->db,
                                    "SELECT entity, rid, scanned, retry FROM entity_builds"
                                    " WHERE ?1 = '' OR (scanned = 1 AND entity > ?1)"
                                    " ORDER BY scanned, entity LIMIT 1",
                                    e);
    if (s == NULL)
        return e->code;
    db_bind_str(s, 1, behind);
    int rc = db_step(s, e);
    if (rc <= 0)
        return rc;
    snprintf(b->entity, sizeof(b->entity), "%s", db_col_text(s, 0, NULL));
    b->rid = db_col_int(s, 1);
    b->scanned = db_col_int(s, 2) != 0;
    b->retry = db_col_int(s, 3);
    b->def = entities_live(b->s, b->a, b->entity, strlen(b->entity), e);
    if (b->def == NULL)
        return e->code;
    return b->def->copy != NULL
               ? 1
               : err_set(e, ERR_CORRUPT, "entity %s: a build without a copy", b->entity);
}

/* The definition as the database has it now. */
static int refresh(struct build *b, struct err *e)
{
    AUTO(entity_def_unrefp) struct entity_def *fresh = NULL;
    int rc = entity_def_parse_text(b->def->json, strlen(b->def->json), &fresh, e);
    if (rc < 0)
        return rc;
    fresh->version = b->def->version;
    if ((rc = copy_attach(b->a->db, fresh, e)) < 0)
        return rc;
    b->def = fresh;
    entities_set_live(b->s, entity_def_ref(fresh));
    return 0;
}

/* Every row was seen. */
static int finish(struct build *b, struct err *e)
{
    int64_t violated = 0;
    int rc = read_number(b->a->db, "SELECT 1 FROM entity_violations WHERE gen = ?1 LIMIT 1",
                         b->def->copy->gen, 0, &violated, e);
    if (rc < 0)
        return rc;
    if (violated) {
        rc = build_row(b->a->db,
                       "UPDATE entity_builds SET scanned = 1, search = 0 WHERE entity = ?1",
                       b->entity, NULL, 0, e);
        return rc < 0 || b->def->copy->violated ? rc : refresh(b, e);
    }
    rc = b->def->copy->gen > 0 ? build_take_place(b->a->db, b->def, e) : 0;
    if (rc < 0 || (rc = build_row(b->a->db, "DELETE FROM entity_builds WHERE entity = ?1",
                                  b->entity, NULL, 0, e)) < 0)
        return rc;
    entities_due_at(b->s, 0); /* what expires can be looked for now */
    return refresh(b, e);
}

static int scan(struct build *b, size_t max, size_t *done, struct err *e)
{
    const struct entity_copy *c = b->def->copy;
    struct build_rows rows = {.count = 0};
    int rc = build_next_rows(b->a->db, b->def->sql->table, b->rid, max, &rows, e);
    for (size_t i = 0; i < rows.count && rc == 0 && c->gen > 0; i++)
        rc = copy_put(b->a->db, b->def, rows.rids[i], e);
    int64_t last = rows.count > 0 ? rows.rids[rows.count - 1] : b->rid;
    if (rc == 0 && c->search && rows.count > 0)
        rc = search_fill(b->a->db, b->def, b->rid, last, e);
    if (rc == 0)
        rc = build_row(b->a->db, "UPDATE entity_builds SET rid = ?1 WHERE entity = ?2", b->entity,
                       &last, 1, e);
    *done += rows.count;
    return rc < 0 || !rows.last ? rc : finish(b, e);
}

static int next_violations(const struct build *b, size_t max, struct build_rows *out, struct err *e)
{
    AUTO(db_stmt_donep)
    struct db_stmt *s = db_stmt_get(b->a->db,
                                    "SELECT rid FROM entity_violations WHERE gen = ?1 AND rid > ?2"
                                    " ORDER BY rid LIMIT ?3",
                                    e);
    if (s == NULL)
        return e->code;
    max = max < ENTITY_BUILD_ROWS ? max : ENTITY_BUILD_ROWS;
    db_bind_int(s, 1, b->def->copy->gen);
    db_bind_int(s, 2, b->retry);
    db_bind_int(s, 3, (int64_t)max);
    int rc;
    out->count = 0;
    while ((rc = db_step(s, e)) > 0)
        out->rids[out->count++] = db_col_int(s, 0);
    out->last = out->count < max;
    return rc;
}

/* Some violating rows are tried again; behind the last it begins anew. */
static int retry(struct build *b, size_t max, size_t *done, struct err *e)
{
    struct build_rows rows = {.count = 0};
    int rc = next_violations(b, max, &rows, e);
    for (size_t i = 0; i < rows.count && rc == 0; i++)
        rc = copy_follow(b->a->db, b->def, rows.rids[i], e);
    int64_t next = rows.last || rows.count == 0 ? 0 : rows.rids[rows.count - 1];
    if (rc == 0)
        rc = build_row(b->a->db, "UPDATE entity_builds SET retry = ?1 WHERE entity = ?2", b->entity,
                       &next, 1, e);
    *done += rows.count;
    return rc < 0 ? rc : finish(b, e);
}

int build_is_due(struct db *db, struct err *e)
{
    int64_t due = 0;
    int rc = read_number(db,
                         "SELECT 1 WHERE ?1 AND (EXISTS (SELECT 1 FROM entity_builds WHERE"
                         " scanned = 0) OR EXISTS (SELECT 1 FROM entity_leftovers))",
                         1, 0, &due, e);
    return rc < 0 ? rc : (int)due;
}

static int work(struct build *b, size_t max, size_t *done, struct err *e)
{
    char behind[ENTITY_NAME_MAX + 1] = "";
    int rc = leftover_tell(b->s, b->a, max, done, e);
    if (rc < 0)
        return rc;
    while (*done < max && (rc = next_build(b, behind, e)) != 0) {
        if (rc < 0)
            return rc;
        if (!b->scanned)
            return scan(b, max - *done, done, e);
        if ((rc = retry(b, max - *done, done, e)) < 0)
            return rc;
        snprintf(behind, sizeof(behind), "%s", b->entity);
    }
    return *done < max ? leftover_clear(b->a->db, max - *done, done, e) : 0;
}

int build_apply(void *self, const struct apply *a, uint8_t version, struct cursor *payload,
                struct buf *result, struct err *e)
{
    (void)version;
    size_t max = cursor_u32(payload), done = 0;
    if (payload->bad || cursor_left(payload) > 0)
        return err_set(e, ERR_INVALID, "entity.build: malformed payload");
    struct err own = ERR_INIT;
    e = e != NULL ? e : &own;
    struct build b = {.s = self, .a = a};
    int rc = work(&b, max, &done, e);
    int due = rc < 0 ? rc : build_is_due(a->db, e);
    if (due < 0)
        return due;
    buf_add_u32(result, (uint32_t)done);
    buf_add_u8(result, (uint8_t)due);
    return 0;
}
