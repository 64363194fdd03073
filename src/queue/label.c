/* Queue core: what a consumer has, and what work asks for. A consumer whose labels are its node's
 * shares their numbers with all others of that node: they stand in a ring. */
#include <string.h>

#include "queue/core_priv.h"

static const struct label *label_find(const struct consumer *s, const char *name)
{
    for (uint8_t i = 0; i < s->labels_count; i++) {
        if (strcmp(s->labels[i].name, name) == 0)
            return &s->labels[i];
    }
    return NULL;
}

static bool label_fits(const struct label *has, const struct core_label *asked, uint64_t used)
{
    if (has == NULL)
        return false;
    if (asked->text != NULL)
        return has->text != NULL && strcmp(has->text, asked->text) == 0;
    return asked->number == 0 || (used <= has->number && has->number - used >= asked->number);
}

static bool consumer_wants(const struct consumer *s, const struct needs *needs)
{
    for (uint32_t i = 0; i < needs->count; i++) {
        for (uint8_t k = 0; k < s->only_count; k++) {
            if (strcmp(s->only[k], needs->labels[i].name) == 0)
                return true;
        }
    }
    return s->only_count == 0;
}

/* By it and, where the labels are the node's, by all of the node. */
static uint64_t label_used(const struct consumer *s, const char *name)
{
    uint64_t used = 0;
    const struct consumer *p = s;
    do {
        const struct label *l = label_find(p, name);
        used += l != NULL ? l->used : 0;
        p = p->peer;
    } while (p != NULL && p != s);
    return used;
}

uint32_t consumer_lacks(const struct consumer *s, const struct needs *needs)
{
    uint32_t i = 0;
    for (; i < needs->count; i++) {
        const struct core_label *asked = &needs->labels[i];
        uint64_t used = asked->number == 0 ? 0 : label_used(s, asked->name);
        if (!label_fits(label_find(s, asked->name), asked, used))
            break;
    }
    return i;
}

bool consumer_fits(const struct consumer *s, const struct needs *needs)
{
    return consumer_lacks(s, needs) == needs->count && consumer_wants(s, needs);
}

bool consumer_has(const struct consumer *s, const struct core_label *asked)
{
    return label_fits(label_find(s, asked->name), asked, 0);
}

bool consumer_could(const struct consumer *s, const struct needs *needs)
{
    for (uint32_t i = 0; i < needs->count; i++) {
        if (!consumer_has(s, &needs->labels[i]))
            return false;
    }
    return consumer_wants(s, needs);
}

void consumer_use_labels(struct core *c, struct consumer *s, const struct needs *needs, bool use)
{
    for (uint32_t i = 0; i < needs->count; i++) {
        struct label *l = (struct label *)label_find(s, needs->labels[i].name);
        if (l == NULL || needs->labels[i].number == 0)
            continue;
        SAVE(c, l->used);
        if (use)
            l->used += needs->labels[i].number;
        else
            l->used -= l->used < needs->labels[i].number ? l->used : needs->labels[i].number;
    }
}

/* What it executes needs so much of a label. */
static uint32_t held_needs(const struct core *c, const struct consumer *s, const char *name)
{
    uint32_t sum = 0;
    for (uint32_t n = s->held_first; n != NONE; n = core_extra(c, core_rec(c, n))->held_next) {
        const struct needs *needs = core_kind(c, core_rec(c, n))->line->needs;
        for (uint32_t i = 0; i < needs->count; i++)
            sum += strcmp(needs->labels[i].name, name) == 0 ? needs->labels[i].number : 0;
    }
    return sum;
}

/* ---- those of one node ---- */

static void peers_join(struct core *c, struct consumer *s)
{
    struct consumer *p = c->consumers;
    while (p != NULL && (p->peer == NULL || strcmp(p->name, s->name) != 0))
        p = p->next;
    SAVE(c, s->peer);
    s->peer = p == NULL ? s : p->peer;
    if (p == NULL)
        return;
    SAVE(c, p->peer);
    p->peer = s;
}

static void peers_leave(struct core *c, struct consumer *s)
{
    struct consumer *before = s;
    while (before->peer != s)
        before = before->peer;
    SAVE(c, before->peer);
    before->peer = s->peer;
    SAVE(c, s->peer);
    s->peer = NULL;
}

void consumer_set_of_node(struct core *c, struct consumer *s, bool of_node)
{
    if (of_node && s->peer == NULL)
        peers_join(c, s);
    else if (!of_node && s->peer != NULL)
        peers_leave(c, s);
}

/* ---- said by who opens it ---- */

void consumer_set_labels(struct core *c, struct consumer *s, const struct core_consumer *o)
{
    struct label *labels =
        o->labels_count == 0 ? NULL : undo_alloc(&c->undo, o->labels_count * sizeof *labels);
    for (uint8_t i = 0; i < o->labels_count; i++) {
        const char *text = o->labels[i].text;
        labels[i] = (struct label){.name = undo_strdup(&c->undo, o->labels[i].name),
                                   .text = text == NULL ? NULL : undo_strdup(&c->undo, text),
                                   .number = o->labels[i].number,
                                   .used = held_needs(c, s, o->labels[i].name)};
    }
    char **only = o->only_count == 0 ? NULL : undo_alloc(&c->undo, o->only_count * sizeof *only);
    for (uint8_t i = 0; i < o->only_count; i++)
        only[i] = undo_strdup(&c->undo, o->only[i]);
    s->labels = labels;
    s->labels_count = o->labels_count;
    s->only = only;
    s->only_count = o->only_count;
}

void consumer_free_labels(struct core *c, struct label *labels, uint8_t labels_count, char **only,
                          uint8_t only_count)
{
    for (uint8_t i = 0; i < labels_count; i++) {
        undo_free(&c->undo, labels[i].name);
        undo_free(&c->undo, labels[i].text);
    }
    for (uint8_t i = 0; i < only_count; i++)
        undo_free(&c->undo, only[i]);
    undo_free(&c->undo, labels);
    undo_free(&c->undo, only);
}
