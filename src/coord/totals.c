/* How much there is, from what is kept count of for the quotas: no row of theirs is looked at. */
#include <string.h>

#include "base/map.h"
#include "base/mem.h"
#include "coord/coord_priv.h"
#include "db/db.h"

const char *const coord_part_names[COORD_PARTS] = {
    [COORD_CLAIMS] = "claims", [COORD_KEYS] = "keys",   [COORD_COUNTERS] = "counters",
    [COORD_LIMITS] = "limits", [COORD_INBOX] = "inbox", [COORD_CACHED] = "cached"};

static int64_t *total_of(struct coord_totals *t, int64_t what)
{
    switch (what) {
    case COORD_USE_CLAIMS:
        return &t->count[COORD_CLAIMS];
    case COORD_USE_KEYS:
        return &t->count[COORD_KEYS];
    case COORD_USE_BYTES:
        return &t->key_bytes;
    case COORD_USE_COUNTERS:
        return &t->count[COORD_COUNTERS];
    case COORD_USE_BUCKETS:
        return &t->count[COORD_LIMITS];
    case COORD_USE_INBOX:
        return &t->count[COORD_INBOX];
    case COORD_USE_CACHED:
        return &t->count[COORD_CACHED];
    case COORD_USE_CACHED_BYTES:
        return &t->cached_bytes;
    default: /* a last version, and what has no bound that matters */
        return NULL;
    }
}

/* Columns: what, the sum over tenants, the greatest of them and whose it is. */
static void totals_row(struct coord_totals *t, struct db_stmt *s)
{
    const char *of;
    int64_t what = db_col_int(s, 0), *to = total_of(t, what);
    if (to == NULL)
        return;
    *to = db_col_int(s, 1);
    int full = (int)(db_col_int(s, 2) * 100 / store_use_max((enum coord_use)what, &of));
    if (full <= t->full && t->full_of != NULL)
        return;
    t->full = full;
    t->full_of = of;
    snprintf(t->full_tenant, sizeof t->full_tenant, "%s", db_col_text(s, 3, NULL));
}

int coord_totals(struct coord *c, struct db *db, struct coord_totals *out, struct err *e)
{
    *out = (struct coord_totals){.full = 0};
    pthread_mutex_lock(&c->lock);
    out->waiting = map_count(c->waits);
    pthread_mutex_unlock(&c->lock);
    AUTO(db_stmt_donep)
    struct db_stmt *s = db_stmt_get(
        db, "SELECT what, sum(used), max(used), tenant FROM coord_use GROUP BY what", e);
    int rc = s == NULL ? e->code : 1;
    while (rc > 0 && (rc = db_step(s, e)) > 0)
        totals_row(out, s);
    return rc;
}
