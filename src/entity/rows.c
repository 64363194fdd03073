/* One row changes, and everything that goes with it. */
#include <string.h>

#include "base/err.h"
#include "entity/build_priv.h"
#include "entity/kept_priv.h"
#include "ledger/txn.h"

static void note_expiry(const struct row_change *c, const struct new_body *b)
{
    int64_t at;
    if (ttl_read(c->def, b->body, b->body_len, &at))
        entities_due_at(c->s, at);
}

static int check_refs(const struct row_change *c, const struct new_body *b,
                      const struct stored_row *old, struct err *e)
{
    return c->def->has_refs ? refs_check(c, b, old, e) : 0;
}

/* ---- what is announced ---- */

static struct entity_state state_now(const struct row_change *c, const struct new_body *b,
                                     uint64_t version)
{
    const char *by = c->a->env->principal;
    return (struct entity_state){.body = b->body,
                                 .body_len = b->body_len,
                                 .version = version,
                                 .updated_at = c->a->at,
                                 .updated_by = by,
                                 .updated_by_len = strlen(by)};
}

static struct entity_state state_before(const struct stored_row *old)
{
    return (struct entity_state){.body = old->body,
                                 .body_len = old->body_len,
                                 .version = old->version,
                                 .updated_at = old->updated_at,
                                 .updated_by = old->updated_by,
                                 .updated_by_len = strlen(old->updated_by)};
}

static void announce(const struct row_change *c, enum entity_change_verb verb,
                     struct entity_change *what, const char *created_by, int64_t created_at)
{
    what->created_by = created_by;
    what->created_by_len = strlen(created_by);
    what->created_at = created_at;
    changes_add(entities_changes(c->s), c, verb, what);
    notes_add(entities_notes(c->s), c, verb, what);
}

static void announce_created(const struct row_change *c, const struct new_body *b)
{
    struct entity_change what = {.after = state_now(c, b, 1)};
    announce(c, ENTITY_CHANGE_CREATED, &what, c->a->env->principal, c->a->at);
}

static void announce_removed(const struct row_change *c, const struct stored_row *old)
{
    struct entity_change what = {.before = state_before(old)};
    announce(c, ENTITY_CHANGE_REMOVED, &what, old->created_by, old->created_at);
}

/* ---- changes ---- */

/* What a migration made of it is told before what it becomes now. */
static int settle(const struct row_change *c, const struct stored_row *old, struct err *e)
{
    return settle_row(c->s, c->a, c->def, old->rid, e);
}

/* A value may have become free that a unique index waits for. */
static void note_change(const struct row_change *c)
{
    if (c->def->copy != NULL)
        entities_work(c->s, ENTITIES_WORK_RETRY);
}

int rows_insert(const struct row_change *c, const struct new_body *b, struct err *e)
{
    int rc = check_refs(c, b, NULL, e);
    if (rc < 0 || (rc = store_insert(c->a, c->def, &c->key, b, e)) < 0)
        return rc;
    announce_created(c, b);
    note_expiry(c, b);
    return 0;
}

int rows_update(const struct row_change *c, const struct stored_row *old, const struct new_body *b,
                struct err *e)
{
    int rc = check_refs(c, b, old, e);
    if (rc < 0 || (rc = settle(c, old, e)) < 0 ||
        (rc = store_update(c->a, c->def, &c->key, old, b, e)) < 0 ||
        (rc = history_keep(c, old, b, e)) < 0)
        return rc;
    note_change(c);
    struct entity_change what = {.before = state_before(old),
                                 .after = state_now(c, b, old->version + 1)};
    announce(c, ENTITY_CHANGE_UPDATED, &what, old->created_by, old->created_at);
    note_expiry(c, b);
    return 0;
}

int rows_revive(const struct row_change *c, const struct stored_row *old, const struct new_body *b,
                struct err *e)
{
    struct row_change expired = *c;
    expired.how = HOW_EXPIRE;
    int rc = check_refs(c, b, NULL, e);
    if (rc < 0 || (rc = settle(c, old, e)) < 0 ||
        (rc = kept_removed(c->a->db, c->def, old->rid, e)) < 0 ||
        (rc = store_revive(c->a, c->def, &c->key, old, b, e)) < 0 ||
        (rc = history_keep(&expired, old, NULL, e)) < 0)
        return rc;
    announce_removed(c, old);
    announce_created(c, b);
    note_change(c);
    note_expiry(c, b);
    return 0;
}

int rows_restore(const struct row_change *c, const struct stored_row *kept,
                 const struct new_body *b, struct err *e)
{
    int rc = check_refs(c, b, NULL, e);
    if (rc < 0 || (rc = store_restore(c->a, c->def, &c->key, kept, b, e)) < 0)
        return rc;
    /* To whoever saw it go it is a new one. */
    struct entity_change what = {.after = state_now(c, b, kept->version + 1)};
    announce(c, ENTITY_CHANGE_CREATED, &what, kept->created_by, kept->created_at);
    note_expiry(c, b);
    return 0;
}

int rows_remove(const struct row_change *c, const struct stored_row *old, struct err *e)
{
    int rc = settle(c, old, e);
    if (rc == 0)
        rc = kept_removed(c->a->db, c->def, old->rid, e);
    if (rc == 0)
        rc = store_remove(c->a->db, c->def, old->rid, e);
    if (rc == 0)
        rc = removed_keep(c, old, e);
    if (rc == 0)
        rc = history_keep(c, old, NULL, e);
    if (rc < 0)
        return rc;
    announce_removed(c, old);
    note_change(c);
    return migrate_removed(c, e);
}
