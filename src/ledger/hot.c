#include "ledger/hot_priv.h"

#include <string.h>

#include "base/hash.h"
#include "base/mem.h"
#include "ledger/entry_priv.h"
#include "ledger/hot_file_priv.h"
#include "ledger/ledger_priv.h"

void hot_new(struct ledger *l)
{
    l->hots = mem_new_array(l->domains_count, sizeof *l->hots);
    for (size_t i = 0; i < l->domains_count; i++) {
        const struct domain *d = &l->domains[i];
        if (d->hot == NULL)
            continue;
        ASSERT(strlen(d->name) <= HOT_NAME_MAX);
        l->hots[l->hots_count++] = (struct hot){.domain = d};
    }
}

void hot_free(struct ledger *l)
{
    struct hot_save *s = &l->hot_save;
    if (s->file != NULL)
        l->world->disk->close(s->file);
    mem_free(s->dir);
    mem_free(s->tmp);
    mem_free(s->path);
    mem_free(l->hots);
}

void hot_begin(struct ledger *l)
{
    for (size_t i = 0; i < l->hots_count; i++)
        l->hots[i].entered = false;
}

bool hot_is_unaware(const struct ledger *l, const struct domain *d)
{
    for (size_t i = 0; i < l->hots_count; i++) {
        if (l->hots[i].domain == d)
            return !l->hots[i].entered;
    }
    return false;
}

int hot_entry(struct ledger *l, const struct apply *a, struct err *e)
{
    int rc = 0;
    for (size_t i = 0; i < l->hots_count && rc == 0; i++) {
        const struct domain *d = l->hots[i].domain;
        l->hots[i].entered = true;
        rc = d->hot->entry(d->self, a, e);
        if (rc < 0)
            err_context(e, "log entry %llu, %s", (unsigned long long)a->seq, d->name);
    }
    return rc;
}

/* A state of a million records is more than the processor's caches hold: what the units look at
 * comes faster when all ask for it first. */
void hot_expect(const struct ledger *l, struct cursor units, uint32_t count)
{
    enum { WORTH_IT = 8 };
    struct cursor ops;
    struct txn_op op;
    size_t n;
    for (int again = 0; count >= WORTH_IT && again < 2; again++) {
        struct cursor c = units;
        const void *p;
        for (uint32_t i = 0; i < count && (p = entry_next(&c, &n)) != NULL; i++) {
            for (bool more = txn_peek(p, n, &ops); more && txn_next(&ops, &op);) {
                struct op_ref ref = ledger_op(l, op.type);
                const struct domain_hot *hot = ref.op != NULL ? ref.domain->hot : NULL;
                if (hot != NULL && hot->soon != NULL)
                    hot->soon(ref.domain->self, op.type, op.payload, again);
            }
        }
    }
}

int hot_skip(struct ledger *l, const struct apply *a, const struct txn_view *v, struct err *e)
{
    struct txn_op op;
    if (l->hots_count == 0)
        return 0;
    for (struct cursor c = txn_ops(v); txn_next(&c, &op);) {
        struct op_ref ref = ledger_op(l, op.type);
        if (ref.op != NULL && ref.op->hot)
            return store_hot_skip(l->db, a->seq, a->unit, e);
    }
    return 0;
}

uint64_t hot_hash(const struct ledger *l)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < l->hots_count; i++) {
        const struct domain *d = l->hots[i].domain;
        uint64_t h = d->hot->hash(d->self);
        if (h != 0) /* nodes that do not have the domain yet agree until it is used */
            sum += hash64_cell(hash64(0, d->name, strlen(d->name)), 0, h);
    }
    return sum;
}

/* ---- what of the log is kept ---- */

static uint64_t hot_keep(const struct hot *h)
{
    const struct domain *d = h->domain;
    return d->hot->keep == NULL ? UINT64_MAX : d->hot->keep(d->self);
}

uint64_t hot_low(const struct ledger *l)
{
    uint64_t low = UINT64_MAX;
    for (size_t i = 0; i < l->hots_count; i++) {
        const struct hot *h = &l->hots[i];
        uint64_t keep = hot_keep(h);
        if (h->position + 1 < low)
            low = h->position + 1;
        if (keep < low)
            low = keep;
    }
    return low;
}

void hot_crowd(struct ledger *l)
{
    uint64_t index = log_crowded(l->log);
    if (index == l->log->segments[0].head.first_index)
        return;
    for (size_t i = 0; i < l->hots_count; i++) {
        const struct domain *d = l->hots[i].domain;
        if (d->hot->crowded != NULL && hot_keep(&l->hots[i]) < index)
            d->hot->crowded(d->self, index);
    }
}
