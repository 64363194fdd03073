/* Queue core: keys of two kinds. The line of a key, in which one record runs at a time; the slot of
 * a unique text, which one waiting record has. */
#include <string.h>

#include "base/hash.h"
#include "queue/core_priv.h"

uint64_t core_hash_text(const void *owner, const char *text)
{
    return hash64((uint64_t)(uintptr_t)owner, text, strlen(text));
}

/* ---- lines of keys ---- */

struct keyline *keyline_get(struct core *c, struct queue *q, const char *key)
{
    uint64_t hash = core_hash_text(q, key);
    for (struct table_node *n = table_find(&c->keys, hash); n != NULL; n = table_again(n)) {
        struct keyline *k = (struct keyline *)n;
        if (k->queue == q && strcmp(k->text, key) == 0)
            return k;
    }
    size_t len = strlen(key) + 1;
    struct keyline *k = undo_alloc(&c->undo, sizeof *k + len);
    k->queue = q;
    memcpy(k->text, key, len);
    table_add(&c->keys, &c->undo, &k->node, hash);
    return k;
}

bool keyline_blocks(const struct core *c, uint32_t n)
{
    const struct extra *x = core_extra(c, core_rec(c, n));
    return x != NULL && x->keyline != NULL && (x->keyline->first != n || x->keyline->halted > 0);
}

static struct extra *key_extra(struct core *c, uint32_t n)
{
    struct extra *x = core_extra(c, core_rec(c, n));
    undo_note(&c->undo, x, sizeof *x);
    return x;
}

void keyline_join(struct core *c, uint32_t n, bool front)
{
    struct extra *x = key_extra(c, n);
    struct keyline *k = x->keyline;
    undo_note(&c->undo, k, sizeof *k);
    if (k->first == NONE) {
        k->first = k->last = n;
        return;
    }
    uint32_t neighbour = front ? k->first : k->last;
    struct extra *other = key_extra(c, neighbour);
    if (front) {
        x->key_next = neighbour;
        other->key_prev = n;
        k->first = n;
    } else {
        x->key_prev = neighbour;
        other->key_next = n;
        k->last = n;
    }
}

bool keyline_has(const struct extra *x)
{
    return x->keyline->first == x->rec || x->key_prev != NONE;
}

void keyline_leave(struct core *c, uint32_t n)
{
    struct extra *x = core_extra(c, core_rec(c, n));
    if (x == NULL || x->keyline == NULL || !keyline_has(x))
        return;
    struct keyline *k = x->keyline;
    bool was_first = k->first == n;
    x = key_extra(c, n);
    undo_note(&c->undo, k, sizeof *k);
    if (x->key_next != NONE)
        key_extra(c, x->key_next)->key_prev = x->key_prev;
    else
        k->last = x->key_prev;
    if (x->key_prev != NONE)
        key_extra(c, x->key_prev)->key_next = x->key_next;
    else
        k->first = x->key_next;
    x->key_next = x->key_prev = NONE;
    uint32_t next = k->first;
    if (was_first && next != NONE && k->halted == 0 && core_rec(c, next)->where == WHERE_KEY)
        rec_stand(c, next);
}

/* Nobody is in it, and no record that waits to be due names it. Those keep it alive. */
void keyline_drop_if_idle(struct core *c, struct keyline *k)
{
    if (k->first != NONE || k->refs > 0)
        return;
    table_remove(&c->keys, &c->undo, &k->node);
    undo_free(&c->undo, k);
}

/* ---- unique ---- */

struct unique *unique_find(const struct core *c, const struct queue *q, const char *text)
{
    uint64_t hash = core_hash_text(q, text);
    for (struct table_node *n = table_find(&c->uniques, hash); n != NULL; n = table_again(n)) {
        struct unique *u = (struct unique *)n;
        if (u->queue == q && strcmp(u->text, text) == 0)
            return u;
    }
    return NULL;
}

void unique_join(struct core *c, uint32_t n, const char *text, const struct uuid *id)
{
    struct queue *q = core_kind(c, core_rec(c, n))->queue;
    struct unique *u = unique_find(c, q, text);
    if (u == NULL) {
        size_t len = strlen(text) + 1;
        u = undo_alloc(&c->undo, sizeof *u + len);
        u->queue = q;
        memcpy(u->text, text, len);
        table_add(&c->uniques, &c->undo, &u->node, core_hash_text(q, text));
    }
    struct extra *x = rec_extra(c, n);
    undo_note(&c->undo, x, sizeof *x);
    undo_note(&c->undo, u, sizeof *u);
    x->unique = u;
    x->unique_id = *id;
    x->unique_next = u->first;
    u->first = n;
}

uint32_t unique_waiting(const struct core *c, const struct unique *u)
{
    uint32_t newest = NONE;
    for (uint32_t n = u->first; n != NONE; n = core_extra(c, core_rec(c, n))->unique_next) {
        if (core_rec(c, n)->state != REC_EXECUTING &&
            (newest == NONE || core_rec(c, n)->place > core_rec(c, newest)->place))
            newest = n;
    }
    return newest;
}

void unique_leave(struct core *c, uint32_t n)
{
    struct extra *x = core_extra(c, core_rec(c, n));
    if (x == NULL || x->unique == NULL)
        return;
    struct unique *u = x->unique;
    uint32_t *at = &u->first;
    while (*at != n)
        at = &core_extra(c, core_rec(c, *at))->unique_next;
    undo_note(&c->undo, at, sizeof *at);
    undo_note(&c->undo, x, sizeof *x);
    *at = x->unique_next;
    x->unique = NULL;
    x->unique_next = NONE;
    if (u->first != NONE)
        return;
    table_remove(&c->uniques, &c->undo, &u->node);
    undo_free(&c->undo, u);
}
