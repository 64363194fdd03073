/* Queue: heaps. */
#include "queue/heap.h"

#include "base/err.h"
#include "queue/undo.h"

enum { CHILDREN = 4 };

static void heap_set(struct core *c, struct undo *u, struct heap *h, const struct heap_kind *k,
                     uint32_t at, uint64_t item)
{
    undo_note(u, &h->items[at], sizeof h->items[at]);
    h->items[at] = item;
    k->stands(c, item, at);
}

/* To where it belongs, at `at` or nearer to the front. */
static uint32_t heap_up(struct core *c, struct undo *u, struct heap *h, const struct heap_kind *k,
                        uint32_t at, uint64_t item)
{
    while (at > 0) {
        uint32_t parent = (at - 1) / CHILDREN;
        if (!k->before(c, item, h->items[parent]))
            break;
        heap_set(c, u, h, k, at, h->items[parent]);
        at = parent;
    }
    heap_set(c, u, h, k, at, item);
    return at;
}

static uint32_t heap_first_child(const struct core *c, const struct heap *h,
                                 const struct heap_kind *k, uint32_t at)
{
    uint32_t from = at * CHILDREN + 1;
    uint32_t to = from + CHILDREN < h->count ? from + CHILDREN : h->count;
    uint32_t first = from;
    for (uint32_t i = from + 1; i < to; i++) {
        if (k->before(c, h->items[i], h->items[first]))
            first = i;
    }
    return first;
}

static void heap_down(struct core *c, struct undo *u, struct heap *h, const struct heap_kind *k,
                      uint32_t at, uint64_t item)
{
    while (at * CHILDREN + 1 < h->count) {
        uint32_t child = heap_first_child(c, h, k, at);
        if (!k->before(c, h->items[child], item))
            break;
        heap_set(c, u, h, k, at, h->items[child]);
        at = child;
    }
    heap_set(c, u, h, k, at, item);
}

void heap_push(struct core *c, struct undo *u, struct heap *h, const struct heap_kind *k,
               uint64_t item)
{
    undo_grow(u, (void **)&h->items, &h->cap, sizeof *h->items, h->count + 1);
    undo_note(u, &h->count, sizeof h->count);
    h->count++;
    heap_up(c, u, h, k, h->count - 1, item);
}

void heap_moved(struct core *c, struct undo *u, struct heap *h, const struct heap_kind *k,
                uint32_t at)
{
    uint64_t item = h->items[at];
    if (heap_up(c, u, h, k, at, item) == at)
        heap_down(c, u, h, k, at, item);
}

void heap_remove(struct core *c, struct undo *u, struct heap *h, const struct heap_kind *k,
                 uint32_t at)
{
    ASSERT(at < h->count);
    undo_note(u, &h->count, sizeof h->count);
    h->count--;
    if (at == h->count)
        return;
    heap_set(c, u, h, k, at, h->items[h->count]);
    heap_moved(c, u, h, k, at);
}

void heap_check(const struct core *c, const struct heap *h, const struct heap_kind *k)
{
    for (uint32_t i = 1; i < h->count; i++)
        ASSERT(!k->before(c, h->items[i], h->items[(i - 1) / CHILDREN]));
}
