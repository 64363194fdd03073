/* Queue core: what was sent lately, by a hash of its dedup text, so that it is not sent again.
 *
 * What is known is bounded, for a queue and for all (CORE_DEDUPS_*). A queue that has no room for
 * one more forgets, of its own, what would end first: until that would have ended the same text
 * might be sent again, which is counted, and told until then (core_counts.dedups_whole_at). */
#include <string.h>

#include "base/hash.h"
#include "queue/core_priv.h"

/* Part of the saved form: never change it. */
struct dedup_key dedup_key(const struct queue *q, const char *text)
{
    size_t n = strlen(text);
    return (struct dedup_key){.hash = hash64(hash64(q->number, "a", 1), text, n),
                              .more = hash64(hash64(q->number, "b", 1), text, n)};
}

struct dedup *dedup_find(const struct core *c, const struct queue *q, const char *text)
{
    struct dedup_key key = dedup_key(q, text);
    for (struct table_node *n = table_find(&c->dedups, key.hash); n != NULL; n = table_again(n)) {
        struct dedup *d = (struct dedup *)n;
        if (d->more == key.more)
            return d;
    }
    return NULL;
}

/* Where the queue stands among those of which something ends. */
static void dedups_review(struct core *c, struct queue *q)
{
    int64_t at =
        q->dedups.count == 0 ? NO_TIME : ((struct dedup *)(uintptr_t)q->dedups.items[0])->until;
    if (at == q->dedups_at)
        return;
    bool stood = q->dedups_at != NO_TIME;
    SAVE(c, q->dedups_at);
    q->dedups_at = at;
    if (!stood)
        heap_push(c, &c->undo, &c->dedup_ends, &dedup_ends_heap, (uintptr_t)q);
    else if (at != NO_TIME)
        heap_moved(c, &c->undo, &c->dedup_ends, &dedup_ends_heap, q->dedups_pos);
    else
        heap_remove(c, &c->undo, &c->dedup_ends, &dedup_ends_heap, q->dedups_pos);
}

void dedup_restore(struct core *c, struct queue *q, struct dedup_key key, const struct uuid *id,
                   int64_t until)
{
    struct dedup *d = undo_alloc(&c->undo, sizeof *d);
    d->more = key.more;
    d->id = *id;
    d->until = until;
    table_add(&c->dedups, &c->undo, &d->node, key.hash);
    heap_push(c, &c->undo, &q->dedups, &dedup_heap, (uintptr_t)d);
    dedups_review(c, q);
}

static bool dedups_are_full(const struct core *c, const struct queue *q)
{
    return q->dedups.count >= c->dedups_queue_max ||
           (c->dedups.count >= c->dedups_max && q->dedups.count > 0);
}

static void dedup_forget(struct core *c, struct queue *q)
{
    const struct dedup *first = (struct dedup *)(uintptr_t)q->dedups.items[0];
    SAVE(c, q->dedups_forgotten);
    SAVE(c, q->dedups_whole_at);
    q->dedups_forgotten++;
    if (first->until > q->dedups_whole_at)
        q->dedups_whole_at = first->until;
    dedup_remove_first(c, q);
}

void dedup_add(struct core *c, struct queue *q, const struct core_send *s)
{
    int64_t ms = s->dedup_ms > q->o.dedup_window_ms ? s->dedup_ms : q->o.dedup_window_ms;
    if (s->dedup == NULL || ms <= 0)
        return;
    if (dedups_are_full(c, q))
        dedup_forget(c, q);
    dedup_restore(c, q, dedup_key(q, s->dedup), &s->id, c->at + ms);
}

void dedup_remove_first(struct core *c, struct queue *q)
{
    struct dedup *d = (struct dedup *)(uintptr_t)q->dedups.items[0];
    table_remove(&c->dedups, &c->undo, &d->node);
    heap_remove(c, &c->undo, &q->dedups, &dedup_heap, 0);
    undo_free(&c->undo, d);
    dedups_review(c, q);
}

void dedup_disband(struct core *c, struct queue *q)
{
    for (uint32_t i = 0; i < q->dedups.count; i++) {
        struct dedup *d = (struct dedup *)(uintptr_t)q->dedups.items[i];
        table_remove(&c->dedups, &c->undo, &d->node);
        undo_free(&c->undo, d);
    }
    SAVE(c, q->dedups.count);
    q->dedups.count = 0;
    dedups_review(c, q);
    undo_free(&c->undo, q->dedups.items);
}
