/* Entities that are declared no longer: taken out of sight, brought back, let go. */
#include <string.h>
#include <strings.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/time.h"
#include "db/db.h"
#include "entity/build_priv.h"
#include "entity/kept_priv.h"
#include "ledger/txn.h"

enum { RETIRE_SQL_MAX = 4096 };

void entity_txn_retire(struct txn *t, const char *const *names, size_t count, int64_t keep_ms)
{
    struct buf *b = txn_begin(t, ENTITY_OP_RETIRE, 1);
    buf_add_u64(b, (uint64_t)keep_ms);
    buf_add_u32(b, (uint32_t)count);
    for (size_t i = 0; i < count; i++)
        buf_add_text(b, names[i]);
    txn_end(t);
}

/* ---- entity.retire ---- */

struct retiring {
    struct entities *s;
    const struct apply *a;
    const struct entity_def *defs[ENTITY_RETIRE_MAX];
    size_t count;
    int64_t until;
};

static bool goes(const struct retiring *r, const char *name)
{
    for (size_t i = 0; i < r->count; i++) {
        if (strcmp(r->defs[i]->name, name) == 0)
            return true;
    }
    return false;
}

static int check_refs(const struct retiring *r, const struct entity_def *d, struct err *e)
{
    for (size_t i = 0; i < d->fields_count; i++) {
        const struct entity_field *f = entity_field_ref(&d->fields[i]);
        if (f != NULL && goes(r, f->to))
            return err_field(e, ERR_CONFLICT, d->fields[i].name,
                             "entity '%s' is to go, but field '%s' of %s refers to it; take the "
                             "field out too, or declare the entity",
                             f->to, d->fields[i].name, d->name);
    }
    return 0;
}

static int check(const struct retiring *r, struct err *e)
{
    size_t count;
    const struct entity_def *const *all = entities_all(r->s, r->a, &count, e);
    if (all == NULL)
        return e->code;
    for (size_t i = 0; i < count; i++) {
        int rc = goes(r, all[i]->name) ? 0 : check_refs(r, all[i], e);
        if (rc < 0)
            return rc;
    }
    for (size_t i = 0; i < r->count; i++) {
        if (r->defs[i]->past != NULL && r->defs[i]->past->untold != 0)
            return err_set(e, ERR_UNAVAILABLE,
                           "entity '%s' was migrated a moment ago, and its records are still being "
                           "announced; deploy again when that is over",
                           r->defs[i]->name);
    }
    return 0;
}

static int retire(const struct retiring *r, const struct entity_def *d, struct err *e)
{
    struct db *db = r->a->db;
    bool words = d->copy != NULL && d->copy->search;
    int rc = build_give_up(db, d, e);
    if (rc == 0)
        rc = build_row(db, "DELETE FROM entity_halts WHERE entity = ?1", d->name, NULL, 0, e);
    if (rc == 0)
        rc = build_row(db, "DELETE FROM entity_defs WHERE name = ?1", d->name, NULL, 0, e);
    if (rc < 0)
        return rc;
    struct db_stmt *s =
        db_stmt_get(db,
                    "INSERT INTO kept_entities(entity, version, json, removed_at, purge_at,"
                    " words) VALUES(?1, ?2, ?3, ?4, ?5, ?6)",
                    e);
    if (s == NULL)
        return e->code;
    db_bind_str(s, 1, d->name);
    db_bind_int(s, 2, d->version);
    db_bind_str(s, 3, d->json);
    db_bind_int(s, 4, r->a->at);
    db_bind_int(s, 5, r->until);
    db_bind_int(s, 6, words);
    if ((rc = db_run(s, e)) == 0)
        entities_drop_live(r->s, d->name);
    return rc;
}

static int read_names(struct retiring *r, struct cursor *payload, struct err *e)
{
    int64_t keep = (int64_t)cursor_u64(payload);
    uint32_t count = cursor_u32(payload);
    if (payload->bad || keep < 0 || keep > ENTITY_KEEP_MS_MAX || count > ENTITY_RETIRE_MAX)
        return err_set(e, ERR_INVALID, "entity.retire: malformed payload");
    r->until = r->a->at + keep;
    for (uint32_t i = 0; i < count; i++) {
        size_t n = 0;
        const char *name = cursor_bytes(payload, &n);
        if (payload->bad || name == NULL)
            return err_set(e, ERR_INVALID, "entity.retire: malformed payload");
        const struct entity_def *d = entities_live(r->s, r->a, name, n, e);
        if (d == NULL)
            return e->code;
        if (!goes(r, d->name))
            r->defs[r->count++] = d;
    }
    return cursor_left(payload) > 0 ? err_set(e, ERR_INVALID, "entity.retire: malformed payload")
                                    : 0;
}

int retire_apply(void *self, const struct apply *a, uint8_t version, struct cursor *payload,
                 struct buf *result, struct err *e)
{
    (void)version;
    (void)result;
    AUTO(mem_freep) struct retiring *r = mem_new(sizeof(*r));
    r->s = self;
    r->a = a;
    int rc = read_names(r, payload, e);
    if (rc == 0)
        rc = check(r, e);
    for (size_t i = 0; i < r->count && rc == 0; i++)
        rc = retire(r, r->defs[i], e);
    entities_due_at(self, 0); /* what a migration that was given up had kept goes */
    entities_work(self, ENTITIES_WORK_NOW);
    return rc;
}

/* ---- a name is wanted ---- */

static int read_retired(const struct apply *a, const struct entity_def *to, struct db_stmt *s,
                        struct entity_def **from, bool *words, struct err *e)
{
    char until[TIME_TEXT];
    const char *name = db_col_text(s, 0, NULL);
    time_format(db_col_int(s, 3), until);
    if (db_col_int(s, 3) <= a->at)
        return err_set(e, ERR_UNAVAILABLE,
                       "entity '%s': what was removed under this name is being purged; try again "
                       "in a moment",
                       to->name);
    if (strcmp(name, to->name) != 0)
        return err_set(e, ERR_CONFLICT,
                       "entity '%s': '%s', which was removed and is kept until %s, differs only in "
                       "case",
                       to->name, name, until);
    size_t n;
    const char *text = db_col_text(s, 2, &n);
    int rc = entity_def_parse_text(text, n, from, e);
    if (rc < 0)
        return rc;
    (*from)->version = (uint32_t)db_col_int(s, 1);
    *words = db_col_int(s, 4) != 0;
    return 1;
}

int retired_find(const struct apply *a, const struct entity_def *to, struct entity_def **from,
                 bool *words, struct err *e)
{
    AUTO(db_stmt_donep)
    struct db_stmt *s = db_stmt_get(a->db,
                                    "SELECT entity, version, json, purge_at, words FROM"
                                    " kept_entities WHERE entity = ?1 COLLATE NOCASE",
                                    e);
    if (s == NULL)
        return e->code;
    db_bind_str(s, 1, to->name);
    int rc = db_step(s, e);
    return rc <= 0 ? rc : read_retired(a, to, s, from, words, e);
}

int retired_forget(struct db *db, const char *entity, struct err *e)
{
    return build_row(db, "DELETE FROM kept_entities WHERE entity = ?1", entity, NULL, 0, e);
}

int retired_count(struct db *db, size_t *out, struct err *e)
{
    AUTO(db_stmt_donep)
    struct db_stmt *s = db_stmt_get(db, "SELECT count(*) FROM kept_entities", e);
    int rc = s == NULL ? e->code : db_step(s, e);
    *out = rc > 0 ? (size_t)db_col_int(s, 0) : 0;
    return rc < 0 ? rc : 0;
}

/* ---- its time is over ---- */

static const char *const leavings[] = {
    "DELETE FROM entity_removed WHERE rid IN (SELECT rid FROM entity_removed WHERE entity = ?2"
    " LIMIT ?1)",
    "DELETE FROM entity_history WHERE rid IN (SELECT rid FROM entity_history WHERE entity = ?2"
    " LIMIT ?1)"};

/* 1: it has something that goes first. */
static int purge_leavings(struct db *db, const char *entity, size_t max, size_t *done,
                          struct err *e)
{
    for (size_t i = 0; i < ARRAY_LEN(leavings) && *done < max; i++) {
        int rc = build_row(db, leavings[i], entity, (int64_t[]){(int64_t)(max - *done)}, 1, e);
        if (rc < 0)
            return rc;
        *done += (size_t)db_changes(db);
    }
    if (*done >= max)
        return 1;
    /* Fields that it had lost before: the next operation finds them due. */
    int rc = build_row(db, "UPDATE kept_fields SET back = -1, purge_at = 0 WHERE entity = ?1",
                       entity, NULL, 0, e);
    return rc < 0 ? rc : db_changes(db) > 0;
}

static int hand_over(struct entities *s, const struct apply *a, const char *entity, struct err *e)
{
    int64_t gen;
    int rc = build_next_gen(a->db, &gen, e);
    if (rc == 0)
        rc = build_set_aside(a->db, entity, gen, e);
    if (rc == 0)
        rc = build_leave_behind(a->db, entity, gen, e);
    if (rc == 0)
        rc = build_row(a->db, "DELETE FROM kept_marks WHERE entity = ?1", entity, NULL, 0, e);
    if (rc == 0)
        rc = retired_forget(a->db, entity, e);
    entities_work(s, ENTITIES_WORK_NOW);
    return rc;
}

int retired_purge(struct entities *s, const struct apply *a, size_t max, size_t *done,
                  struct buf *gone, struct err *e)
{
    char entity[ENTITY_NAME_MAX + 1] = "";
    struct db_stmt *row = db_stmt_get(
        a->db,
        "SELECT entity FROM kept_entities WHERE purge_at <= ?1 ORDER BY purge_at, entity"
        " LIMIT 1",
        e);
    if (row == NULL)
        return e->code;
    db_bind_int(row, 1, a->at);
    int rc = db_step(row, e);
    if (rc > 0)
        snprintf(entity, sizeof(entity), "%s", db_col_text(row, 0, NULL));
    db_stmt_done(row);
    if (rc <= 0)
        return rc;
    rc = purge_leavings(a->db, entity, max, done, e);
    if (rc != 0)
        return rc < 0 ? rc : 0;
    ++*done;
    buf_addf(gone, "%s%s", gone->len > 0 ? ", " : "", entity);
    return hand_over(s, a, entity, e);
}
