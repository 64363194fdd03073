/* One row changes, and everything that goes with it. */
#include "base/err.h"
#include "entity/entity_priv.h"

int rows_insert(const struct row_change *c, const struct new_body *b, struct err *e)
{
    int rc = c->def->has_refs ? refs_check(c, b, NULL, e) : 0;
    return rc < 0 ? rc : store_insert(c->a, c->def, &c->key, b, e);
}

int rows_update(const struct row_change *c, const struct stored_row *old, const struct new_body *b,
                struct err *e)
{
    int rc = c->def->has_refs ? refs_check(c, b, old, e) : 0;
    return rc < 0 ? rc : store_update(c->a, c->def, &c->key, old, b, e);
}

int rows_remove(const struct row_change *c, const struct stored_row *old, struct err *e)
{
    return store_remove(c->a->db, c->def, old->rid, e);
}
