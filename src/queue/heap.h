/* Heap - a queue by priority whose items know where they stand, so that any can be removed or moved
 * in logarithmic time. Four children a node. Items are words: numbers of records or pointers; the
 * owner says which goes first and keeps the position. Undone with the rest. */
#ifndef KOAN_QUEUE_HEAP_H
#define KOAN_QUEUE_HEAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct core;
struct undo;

struct heap_kind {
    bool (*before)(const struct core *c, uint64_t a, uint64_t b);
    /* The item stands at `at` now: note and keep it. */
    void (*stands)(struct core *c, uint64_t item, uint32_t at);
};

struct heap {
    uint64_t *items;
    uint32_t cap, count;
};

void heap_push(struct core *c, struct undo *u, struct heap *h, const struct heap_kind *k,
               uint64_t item);
void heap_remove(struct core *c, struct undo *u, struct heap *h, const struct heap_kind *k,
                 uint32_t at);
/* The item at `at` goes earlier or later than before. */
void heap_moved(struct core *c, struct undo *u, struct heap *h, const struct heap_kind *k,
                uint32_t at);
/* Asserts the order. */
void heap_check(const struct core *c, const struct heap *h, const struct heap_kind *k);

#endif
