/* Messages become batches: those of one handler, in the order in which they came, wait until there
 * are as many as it takes, or BIND_BATCH_BYTES of them, or the first has waited as long as the
 * handler says. Of a group WORK_BATCHES run at a time on a node; until one has ended the next goes
 * on growing.
 *
 * A message that is at its last try goes alone, so that one which makes every batch fail takes no
 * other with it when it dies. */
#include <string.h>

#include "base/mem.h"
#include "bind/work.h"

enum { GATHER_LOOK_MS = 200 }; /* while no batch can begin */

static uint64_t now_ns(struct bind_work *w)
{
    return w->thread->world->mono_ns(w->thread->world);
}

static void gather_timer(struct world_timer *t)
{
    gather_go(LIST_OF(t, struct bind_work, gather_timer));
}

void gather_add(struct bind_work *w, struct delivery *d)
{
    const struct bind_listener *l = bind_listener_find(w->thread->set, d->grant.queue, d->topic);
    if (l == NULL || l->kind != LISTENS_BATCH) {
        delivery_nobody(d);
        return;
    }
    mem_free(d->pattern);
    d->pattern = mem_strdup(l->pattern);
    d->alone = l->attempts > 1 && d->grant.attempt >= l->attempts;
    if (d->since_ns == 0)
        d->since_ns = now_ns(w);
    list_push(&w->gathered, &d->here);
}

void gather_again(struct bind_work *w)
{
    struct list *node, before;
    list_init(&before);
    list_splice(&before, &w->gathered);
    while ((node = list_pop(&before)) != NULL)
        gather_add(w, LIST_OF(node, struct delivery, here));
    gather_go(w);
}

static void drop_lost(struct bind_work *w)
{
    LIST_EACH_SAFE(node, &w->gathered)
    {
        struct delivery *d = LIST_OF(node, struct delivery, here);
        if (!d->lost)
            continue;
        list_remove(&d->here);
        delivery_drop(d);
    }
}

/* Half of its time is over, and those before it still run: whoever has room may have it, and no try
 * is used. */
static void give_back(struct bind_work *w)
{
    LIST_EACH_SAFE(node, &w->gathered)
    {
        struct delivery *d = LIST_OF(node, struct delivery, here);
        int64_t age_ms = (int64_t)((now_ns(w) - d->since_ns) / 1000000);
        if (bind_deliver_left(d) > age_ms)
            continue;
        list_remove(&d->here);
        d->how.settle.outcome = SETTLE_RELEASE;
        delivery_settle(d);
    }
}

static bool start_alone(struct bind_work *w)
{
    LIST_EACH(node, &w->gathered)
    {
        struct delivery *d = LIST_OF(node, struct delivery, here);
        if (!d->alone)
            continue;
        struct delivery **one = mem_new(sizeof(struct delivery *));
        one[0] = d;
        batch_start(w, one, 1);
        return true;
    }
    return false;
}

/* Starts the handler's batch if it is time for it; else *wait_ms may become less. */
static bool start_of(struct bind_work *w, const struct bind_listener *l, uint64_t *wait_ms)
{
    AUTO(mem_freep) struct delivery **items = mem_new_array(l->batch, sizeof(struct delivery *));
    size_t count = 0, bytes = 0;
    LIST_EACH(node, &w->gathered)
    {
        struct delivery *d = LIST_OF(node, struct delivery, here);
        if (d->alone || strcmp(d->pattern, l->pattern) != 0)
            continue;
        if (count == l->batch || (count > 0 && bytes + d->body_len > BIND_BATCH_BYTES)) {
            bytes = BIND_BATCH_BYTES;
            break;
        }
        items[count++] = d;
        bytes += d->body_len;
    }
    if (count == 0)
        return false;
    uint64_t age_ms = (now_ns(w) - items[0]->since_ns) / 1000000;
    if (count == l->batch || bytes >= BIND_BATCH_BYTES || age_ms >= l->wait_ms) {
        batch_start(w, TAKE(items), count);
        return true;
    }
    *wait_ms = l->wait_ms - age_ms < *wait_ms ? l->wait_ms - age_ms : *wait_ms;
    return false;
}

void gather_go(struct bind_work *w)
{
    const struct bind_set *s = w->thread->set;
    struct world *world = w->thread->world;
    uint64_t wait_ms = UINT64_MAX;
    if (w->kind != LISTENS_BATCH || s == NULL || s->bus == NULL)
        return;
    drop_lost(w);
    for (bool started = true; started && w->batches < WORK_BATCHES;) {
        wait_ms = UINT64_MAX;
        started = start_alone(w);
        for (size_t i = 0; i < s->bus->count && w->batches < WORK_BATCHES; i++) {
            const struct bind_listener *l = s->bus->list[i];
            if (l->kind == LISTENS_BATCH &&
                strcmp(l->group, w->queue + strlen(BUS_QUEUE_PREFIX)) == 0)
                started = start_of(w, l, &wait_ms) || started;
        }
    }
    give_back(w);
    world->timer_stop(world, &w->gather_timer);
    w->gather_timer.fire = gather_timer;
    if (w->batches == WORK_BATCHES)
        wait_ms = list_is_empty(&w->gathered) ? UINT64_MAX : GATHER_LOOK_MS;
    if (wait_ms != UINT64_MAX)
        world->timer_start(world, &w->gather_timer, wait_ms + 1);
}
