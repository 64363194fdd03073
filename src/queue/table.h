/* Table - a hash table of nodes that are part of what they find, undone with the rest. Chained; the
 * caller compares. It grows one chain at a time (linear hashing), so no insert is ever slow. */
#ifndef KOAN_QUEUE_TABLE_H
#define KOAN_QUEUE_TABLE_H

#include <stddef.h>
#include <stdint.h>

struct undo;

struct table_node {
    struct table_node *next;
    uint64_t hash;
};

struct table {
    struct table_node **heads;
    uint32_t cap, chains, base; /* base: the power of two that chains grew from */
    uint32_t count;
};

/* The first with this hash, then the next of them: NULL when there is none (left). */
struct table_node *table_find(const struct table *t, uint64_t hash);
struct table_node *table_again(const struct table_node *n);
void table_add(struct table *t, struct undo *u, struct table_node *n, uint64_t hash);
void table_remove(struct table *t, struct undo *u, struct table_node *n);

#endif
