#include "ledger/hot_priv.h"

#include <string.h>

#include "base/hash.h"
#include "ledger/ledger_priv.h"

int hot_entry(struct ledger *l, const struct apply *a, struct err *e)
{
    int rc = 0;
    for (size_t i = 0; i < l->domains_count && rc == 0; i++) {
        const struct domain *d = &l->domains[i];
        if (d->hot != NULL && (rc = d->hot->entry(d->self, a, e)) < 0)
            err_context(e, "log entry %llu, %s", (unsigned long long)a->seq, d->name);
    }
    return rc;
}

uint64_t hot_hash(const struct ledger *l)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < l->domains_count; i++) {
        const struct domain *d = &l->domains[i];
        uint64_t h = d->hot == NULL ? 0 : d->hot->hash(d->self);
        if (h != 0) /* nodes that do not have the domain yet agree until it is used */
            sum += hash64_cell(hash64(0, d->name, strlen(d->name)), 0, h);
    }
    return sum;
}
