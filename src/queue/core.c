/* Queue core: its life, its hash, its invariants.
 *
 * What core_check() asserts:
 *   1. Every record is where its state says: scheduled and retryable ones are due, executing ones
 *      held, ended ones in a list of their queue, available ones in a line, at a gate, behind their
 *      key, or looked at again.
 *   2. Counts of queues, lanes and kinds are what counting gives.
 *   3. A record behind its key is not the first of it, or the key is halted.
 *   4. Heaps are in order, and every item knows its position.
 *   5. No pair is left: nobody who has room could take a record that can run.
 *   6. Only what waits is overdue, and its time is over; queues count it. */
#include "queue/core.h"

#include "base/mem.h"
#include "queue/core_priv.h"

struct core *core_new(void)
{
    struct core *c = mem_new(sizeof *c);
    undo_init(&c->undo);
    c->queues_end = &c->queues;
    c->tenants_end = &c->tenants;
    c->gates_end = &c->gates;
    c->recs_count = c->extras_count = 1; /* 0 is NONE */
    c->dedups_max = CORE_DEDUPS_MAX;
    c->dedups_queue_max = CORE_DEDUPS_QUEUE_MAX;
    lane_get(c, "default");
    undo_begin(&c->undo);
    return c;
}

uint64_t core_hash(const struct core *c)
{
    return c->hash;
}

uint64_t core_seq(const struct core *c)
{
    return c->seq;
}

/* ---- freeing ---- */

static void table_free(struct table *t, void (*free_node)(struct table_node *n))
{
    for (uint32_t i = 0; i < t->chains; i++) {
        for (struct table_node *n = t->heads[i], *next; n != NULL; n = next) {
            next = n->next;
            free_node(n);
        }
    }
    mem_free(t->heads);
}

static void node_free(struct table_node *n)
{
    mem_free(n);
}

static void queue_node_free(struct table_node *n)
{
    struct queue *q = (struct queue *)n;
    for (struct line *l = q->lines, *next; l != NULL; l = next) {
        next = l->next;
        mem_free(l->heap.items);
        mem_free(l);
    }
    mem_free((char *)q->o.dead_to);
    mem_free((struct core_send *)q->o.sending);
    mem_free((char *)q->o.script);
    mem_free(q->oldest.items);
    mem_free(q->dedups.items);
    mem_free(q->name);
    mem_free(q);
}

static void tenant_node_free(struct table_node *n)
{
    mem_free(((struct tenant *)n)->name);
    mem_free(n);
}

static void gate_node_free(struct table_node *n)
{
    struct gate *g = (struct gate *)n;
    for (struct gated *d = g->gated, *next; d != NULL; d = next) {
        next = d->next;
        mem_free(d->waiting.items);
        mem_free(d);
    }
    mem_free(g->name);
    mem_free(g);
}

static void consumer_node_free(struct table_node *n)
{
    struct consumer *s = (struct consumer *)n;
    for (uint8_t i = 0; i < s->labels_count; i++) {
        mem_free(s->labels[i].name);
        mem_free(s->labels[i].text);
    }
    for (uint8_t i = 0; i < s->only_count; i++)
        mem_free(s->only[i]);
    mem_free(s->labels);
    mem_free(s->only);
    mem_free(s->subs);
    mem_free(s->name);
    mem_free(s);
}

static void lanes_free(struct core *c)
{
    for (uint32_t i = 0; i < c->lanes_count; i++) {
        for (struct share *s = c->lanes[i]->shares, *next; s != NULL; s = next) {
            next = s->next;
            for (struct front *f = s->fronts, *more; f != NULL; f = more) {
                more = f->next;
                mem_free(f->lines.items);
                mem_free(f);
            }
            mem_free(s);
        }
        mem_free(c->lanes[i]->name);
        mem_free(c->lanes[i]);
    }
}

static void records_free(struct core *c)
{
    for (uint32_t i = 0; i < c->recs_cap; i++)
        mem_free(c->recs[i]);
    mem_free(c->recs);
    for (uint32_t n = 1; n < c->extras_count; n++) {
        struct extra *x = &c->extras[n / EXTRA_CHUNK][n % EXTRA_CHUNK];
        mem_free(x->errors);
        mem_free(x->moves);
        mem_free(x->tended);
    }
    for (uint32_t i = 0; i < c->extras_cap; i++)
        mem_free(c->extras[i]);
    mem_free(c->extras);
    mem_free(c->ids);
    mem_free(c->kinds);
}

static void needs_free(struct core *c)
{
    for (struct needs *n = c->needs, *next; n != NULL; n = next) {
        next = n->next;
        for (uint32_t i = 0; i < n->count; i++) {
            mem_free((char *)n->labels[i].name);
            mem_free((char *)n->labels[i].text);
        }
        mem_free(n);
    }
}

void core_free(struct core *c)
{
    if (c == NULL)
        return;
    undo_fini(&c->undo);
    records_free(c);
    needs_free(c);
    lanes_free(c);
    table_free(&c->kinds_table, node_free);
    table_free(&c->keys, node_free);
    table_free(&c->uniques, node_free);
    table_free(&c->dedups, node_free);
    table_free(&c->words, node_free);
    table_free(&c->queues_table, queue_node_free);
    table_free(&c->tenants_table, tenant_node_free);
    table_free(&c->gates_table, gate_node_free);
    table_free(&c->consumers_table, consumer_node_free);
    struct heap *heaps[] = {&c->due,    &c->alarms,     &c->timeouts, &c->gate_alarms,
                            &c->purges, &c->dedup_ends, &c->expiries, &c->leases};
    for (size_t i = 0; i < ARRAY_LEN(heaps); i++)
        mem_free(heaps[i]->items);
    mem_free(c->effects);
    mem_free(c->noted);
    mem_free(c->forgotten);
    mem_free(c);
}
