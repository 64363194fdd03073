/* Queue core: what records of one sender have in common is kept once; so are the labels that
 * records ask for. */
#include <string.h>

#include "base/hash.h"
#include "queue/core_priv.h"

enum { NEEDS_MAX = 1024 };

static bool backoff_equal(const struct core_backoff *a, const struct core_backoff *b)
{
    return a->first == b->first && a->cap == b->cap && a->list_count == b->list_count &&
           memcmp(a->list, b->list, sizeof a->list) == 0;
}

static bool kind_equal(const struct kind *a, const struct kind *b)
{
    return a->line == b->line && a->deadline_ms == b->deadline_ms &&
           a->timeout_ms == b->timeout_ms && a->attempts == b->attempts &&
           a->priority == b->priority && a->said == b->said &&
           backoff_equal(&a->backoff, &b->backoff);
}

static uint64_t kind_hash(const struct kind *k)
{
    uint64_t words[4] = {(uint64_t)(uintptr_t)k->line, (uint64_t)k->deadline_ms,
                         (uint64_t)k->timeout_ms << 32 | (uint64_t)k->attempts << 16 |
                             (uint64_t)k->priority << 8 | k->said,
                         (uint64_t)k->backoff.first << 32 | k->backoff.cap};
    return hash64(0, words, sizeof words);
}

/* The lowest number that is free: the array stays short when kinds come and go. */
static uint32_t kind_number(struct core *c)
{
    if (c->kinds_live < c->kinds_count) {
        for (uint32_t i = 0; i < c->kinds_count; i++) {
            if (c->kinds[i] == NULL)
                return i;
        }
    }
    undo_grow(&c->undo, (void **)&c->kinds, &c->kinds_cap, sizeof *c->kinds, c->kinds_count + 1);
    SAVE(c, c->kinds_count);
    return c->kinds_count++;
}

struct kind *kind_get(struct core *c, const struct kind *like, struct lane *lane,
                      struct needs *needs)
{
    struct kind want = *like;
    want.line = line_get(c, like->queue, lane, needs);
    uint64_t hash = kind_hash(&want);
    for (struct table_node *n = table_find(&c->kinds_table, hash); n != NULL; n = table_again(n)) {
        struct kind *k = (struct kind *)n;
        if (kind_equal(k, &want))
            return k;
    }
    struct kind *k = undo_alloc(&c->undo, sizeof *k);
    *k = want;
    k->refs = 0;
    k->number = kind_number(c);
    SAVE(c, c->kinds[k->number]);
    SAVE(c, c->kinds_live);
    c->kinds[k->number] = k;
    c->kinds_live++;
    table_add(&c->kinds_table, &c->undo, &k->node, hash);
    return k;
}

void kind_ref(struct core *c, struct kind *k)
{
    SAVE(c, k->refs);
    k->refs++;
}

void kind_unref(struct core *c, struct kind *k)
{
    SAVE(c, k->refs);
    if (--k->refs > 0)
        return;
    table_remove(&c->kinds_table, &c->undo, &k->node);
    SAVE(c, c->kinds[k->number]);
    SAVE(c, c->kinds_live);
    c->kinds[k->number] = NULL;
    c->kinds_live--;
    undo_free(&c->undo, k);
}

static bool text_equal(const char *a, const char *b)
{
    return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

static bool needs_equal(const struct needs *n, const struct core_label *labels, uint32_t count)
{
    for (uint32_t i = 0; n->count == count && i < count; i++) {
        if (strcmp(n->labels[i].name, labels[i].name) != 0 ||
            !text_equal(n->labels[i].text, labels[i].text) ||
            n->labels[i].number != labels[i].number)
            return false;
    }
    return n->count == count;
}

int needs_get(struct core *c, const struct core_label *labels, uint32_t count, struct needs **out,
              struct err *e)
{
    struct needs **at = &c->needs;
    for (; *at != NULL; at = &(*at)->next) {
        if (needs_equal(*at, labels, count)) {
            *out = *at;
            return 0;
        }
    }
    if (c->needs_count >= NEEDS_MAX)
        return err_field(e, ERR_TOO_LARGE, "needs",
                         "there are %d different sets of labels already; use some of those",
                         NEEDS_MAX);
    struct needs *n = undo_alloc(&c->undo, sizeof *n + count * sizeof n->labels[0]);
    n->count = count;
    n->number = c->needs_count;
    for (uint32_t i = 0; i < count; i++) {
        n->labels[i].name = undo_strdup(&c->undo, labels[i].name);
        n->labels[i].text = labels[i].text == NULL ? NULL : undo_strdup(&c->undo, labels[i].text);
        n->labels[i].number = labels[i].number;
    }
    SAVE(c, c->needs_count);
    undo_note(&c->undo, at, sizeof *at);
    c->needs_count++;
    *at = *out = n;
    return 0;
}
