#include "canon/outbox_priv.h"

#include "canon/pipeline_priv.h"
#include "canon/prepare_priv.h"
#include "canon/state_priv.h"
#include "io/world.h"
#include "ledger/ledger.h"

void outbox_init(struct outbox *o)
{
    *o = (struct outbox){0};
    list_init(&o->jobs);
}

void outbox_add(struct outbox *o, struct canon_job *j)
{
    list_push(&o->jobs, &j->node);
    o->count++;
    o->urgent |= j->request->r->count < PREP_WORTH;
}

/* Whether the engine's work is certain to run again soon, and to bring more: it is posted, or
 * something is with the hands while the ledger, whose answers post it, has not yet all. */
static bool more_comes(const struct canon_engine *en)
{
    return en->posted || (prep_is_busy(en->prep) && en->flight > en->outbox.count);
}

static bool outbox_waits(struct canon_engine *en)
{
    struct outbox *o = &en->outbox;
    if (o->count == 0)
        return true;
    /* Whoever waits until nothing is under way must not wait for these. */
    if (o->urgent || o->count >= OUTBOX_MAX || en->alone != NULL || !list_is_empty(&en->again))
        return false;
    uint64_t now = en->world->mono_ns(en->world);
    if (o->since == 0)
        o->since = now;
    return now - o->since < OUTBOX_HOLD_NS && more_comes(en);
}

void outbox_settle(struct canon_engine *en)
{
    if (outbox_waits(en))
        return;
    struct list jobs, *it;
    list_init(&jobs);
    while ((it = list_pop(&en->outbox.jobs)) != NULL)
        list_push(&jobs, it);
    outbox_init(&en->outbox);
    while ((it = list_pop(&jobs)) != NULL) {
        struct canon_job *j = LIST_OF(it, struct canon_job, node);
        if (ledger_propose(en->ledger, &j->unit, &j->unit.err) != 0)
            j->unit.done(&j->unit); /* which may add to the outbox */
    }
}
