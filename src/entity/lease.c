/* lease_required: a record is changed only by who holds its lease. What expires goes all the same,
 * and a migration has nobody to ask. */
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "entity/entity_priv.h"

void entity_lease_name(const struct entity_def *d, const char *part, const char *id, size_t id_len,
                       char out[ENTITY_LEASE_NAME])
{
    snprintf(out, ENTITY_LEASE_NAME, "entity/%s%s%s/%.*s", d->name, *part != '\0' ? "/" : "", part,
             (int)id_len, id);
}

int lease_check(const struct row_change *c, bool makes, struct err *e)
{
    char name[ENTITY_LEASE_NAME];
    if (!c->def->lease_required || c->how == HOW_EXPIRE || c->how == HOW_MIGRATE)
        return 0;
    const struct entity_leases *l = entities_leases(c->s);
    if (l == NULL)
        return err_set(e, ERR_UNSUPPORTED, "%s wants leases, and there are none here",
                       c->def->name);
    entity_lease_name(c->def, c->key.part, c->key.id, c->key.id_len, name);
    if (l->check(l->self, c->a, name, makes, e) == 0)
        return 0;
    return e->code != ERR_LOCKED ? e->code
                                 : err_context(e, "%s '%.*s' is changed only under its lease",
                                               c->def->name, (int)c->key.id_len, c->key.id);
}
