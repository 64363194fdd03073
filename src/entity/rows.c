/* One row changes, and everything that goes with it. */
#include "base/err.h"
#include "entity/entity_priv.h"

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

int rows_insert(const struct row_change *c, const struct new_body *b, struct err *e)
{
    int rc = check_refs(c, b, NULL, e);
    if (rc < 0 || (rc = store_insert(c->a, c->def, &c->key, b, e)) < 0)
        return rc;
    note_expiry(c, b);
    return 0;
}

int rows_update(const struct row_change *c, const struct stored_row *old, const struct new_body *b,
                struct err *e)
{
    int rc = check_refs(c, b, old, e);
    if (rc < 0 || (rc = store_update(c->a, c->def, &c->key, old, b, e)) < 0 ||
        (rc = history_keep(c, old, b, e)) < 0)
        return rc;
    note_expiry(c, b);
    return 0;
}

int rows_revive(const struct row_change *c, const struct stored_row *old, const struct new_body *b,
                struct err *e)
{
    struct row_change expired = *c;
    expired.how = HOW_EXPIRE;
    int rc = check_refs(c, b, NULL, e);
    if (rc < 0 || (rc = store_revive(c->a, c->def, &c->key, old, b, e)) < 0 ||
        (rc = history_keep(&expired, old, NULL, e)) < 0)
        return rc;
    note_expiry(c, b);
    return 0;
}

int rows_restore(const struct row_change *c, const struct stored_row *kept,
                 const struct new_body *b, struct err *e)
{
    int rc = check_refs(c, b, NULL, e);
    if (rc < 0 || (rc = store_restore(c->a, c->def, &c->key, kept, b, e)) < 0)
        return rc;
    note_expiry(c, b);
    return 0;
}

int rows_remove(const struct row_change *c, const struct stored_row *old, struct err *e)
{
    int rc = store_remove(c->a->db, c->def, old->rid, e);
    if (rc == 0)
        rc = removed_keep(c, old, e);
    return rc == 0 ? history_keep(c, old, NULL, e) : rc;
}
