/* Queue: hash tables. */
#include "queue/table.h"

#include "base/err.h"
#include "queue/undo.h"

enum { TABLE_CHAINS = 16 };

static uint32_t table_chain(const struct table *t, uint64_t hash)
{
    uint32_t at = (uint32_t)hash & (t->base * 2 - 1);
    return at < t->chains ? at : at & (t->base - 1);
}

static struct table_node *table_skip(struct table_node *n, uint64_t hash)
{
    while (n != NULL && n->hash != hash)
        n = n->next;
    return n;
}

struct table_node *table_find(const struct table *t, uint64_t hash)
{
    return t->chains == 0 ? NULL : table_skip(t->heads[table_chain(t, hash)], hash);
}

struct table_node *table_again(const struct table_node *n)
{
    return table_skip(n->next, n->hash);
}

static void table_push(struct table *t, struct undo *u, uint32_t chain, struct table_node *n)
{
    undo_note(u, n, sizeof *n);
    undo_note(u, &t->heads[chain], sizeof t->heads[chain]);
    n->next = t->heads[chain];
    t->heads[chain] = n;
}

/* One chain more: that which it is split from gives what is its own. */
static void table_split(struct table *t, struct undo *u)
{
    undo_note(u, t, sizeof *t);
    if (t->chains == 0) {
        undo_grow(u, (void **)&t->heads, &t->cap, sizeof *t->heads, TABLE_CHAINS);
        t->chains = t->base = TABLE_CHAINS;
        return;
    }
    undo_grow(u, (void **)&t->heads, &t->cap, sizeof *t->heads, t->chains + 1);
    if (t->chains == t->base * 2)
        t->base *= 2;
    uint32_t from = t->chains - t->base;
    struct table_node *n = t->heads[from];
    undo_note(u, &t->heads[from], sizeof t->heads[from]);
    undo_note(u, &t->heads[t->chains], sizeof t->heads[0]);
    t->heads[from] = t->heads[t->chains] = NULL;
    t->chains++;
    for (struct table_node *next; n != NULL; n = next) {
        next = n->next;
        table_push(t, u, table_chain(t, n->hash), n);
    }
}

void table_add(struct table *t, struct undo *u, struct table_node *n, uint64_t hash)
{
    if (t->count >= t->chains)
        table_split(t, u);
    undo_note(u, &t->count, sizeof t->count);
    t->count++;
    undo_note(u, n, sizeof *n);
    n->hash = hash;
    table_push(t, u, table_chain(t, hash), n);
}

void table_remove(struct table *t, struct undo *u, struct table_node *n)
{
    struct table_node **at = &t->heads[table_chain(t, n->hash)];
    while (*at != n) {
        ASSERT(*at != NULL);
        at = &(*at)->next;
    }
    undo_note(u, at, sizeof *at);
    undo_note(u, &t->count, sizeof t->count);
    *at = n->next;
    t->count--;
}
