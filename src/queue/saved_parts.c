/* Queue core, saved: everything but the queues and the records. */
#include <string.h>

#include "base/mem.h"
#include "queue/saved_priv.h"

struct tenant *saved_tenant(const struct core *c, uint32_t number)
{
    struct tenant *t = c->tenants;
    while (t != NULL && t->number != number)
        t = t->next;
    return t;
}

/* They stand in order of number. */
struct queue *saved_queue(const struct core *c, uint32_t number)
{
    uint32_t from = 0, to = c->by_number == NULL ? 0 : c->queues_count;
    while (from < to) {
        uint32_t middle = from + (to - from) / 2;
        struct queue *q = c->by_number[middle];
        if (q->number == number)
            return q;
        if (q->number < number)
            from = middle + 1;
        else
            to = middle;
    }
    return NULL;
}

struct gate *saved_gate(const struct core *c, uint32_t number)
{
    struct gate *g = c->gates;
    while (g != NULL && g->number != number)
        g = g->next;
    return g;
}

struct needs *saved_needs(const struct core *c, uint32_t number)
{
    struct needs *n = c->needs;
    while (n != NULL && n->number != number)
        n = n->next;
    return n;
}

struct consumer *saved_consumer(const struct core *c, uint64_t number)
{
    struct consumer *s = c->consumers;
    while (s != NULL && s->number != number)
        s = s->next;
    return s;
}

void pass_must(struct pass *p, const char *text)
{
    if (p->loading && p->rc == 0 && text == NULL)
        pass_fail(p, ERR_CORRUPT, "a name is missing");
}

struct tenant *pass_tenant(struct core *c, struct pass *p, struct tenant *t)
{
    uint32_t number = t == NULL ? 0 : t->number;
    pass_number(p, &number, c->tenants_count, "a tenant that is not there");
    return p->rc < 0 ? NULL : p->loading ? saved_tenant(c, number) : t;
}

void pass_tenants(struct core *c, struct pass *p)
{
    char room[CORE_TEXT_MAX + 1];
    uint32_t count = c->tenants_count;
    pass_u32(p, &count);
    struct tenant *t = c->tenants;
    for (uint32_t i = 0; i < count && p->rc == 0; i++, t = t->next) {
        const char *name = pass_text(p, p->loading ? NULL : t->name, room);
        uint32_t weight = p->loading ? 0 : t->weight;
        pass_u32(p, &weight);
        pass_must(p, name);
        if (p->rc < 0)
            return;
        if (p->loading)
            t = tenant_get(c, name);
        t->weight = weight;
    }
}

static void pass_shares(struct core *c, struct pass *p, struct lane *l)
{
    uint32_t count = 0;
    for (struct share *s = l->shares; s != NULL && !p->loading; s = s->next)
        count++;
    pass_u32(p, &count);
    struct share *s = p->loading ? NULL : l->shares;
    for (uint32_t i = 0; i < count && p->rc == 0; i++) {
        struct tenant *t = pass_tenant(c, p, s == NULL ? NULL : s->tenant);
        uint64_t vt = s == NULL ? 0 : s->vt;
        pass_u64(p, &vt);
        if (p->rc < 0)
            return;
        if (p->loading)
            share_get(c, l, t)->vt = vt;
        else
            s = s->next;
    }
}

void pass_lanes(struct core *c, struct pass *p)
{
    char room[CORE_TEXT_MAX + 1];
    uint32_t count = c->lanes_count;
    pass_number(p, &count, CORE_LANES_MAX + 1, "too many lanes");
    for (uint32_t i = 0; i < count && p->rc == 0; i++) {
        const char *name = pass_text(p, p->loading ? NULL : c->lanes[i]->name, room);
        pass_must(p, name);
        if (p->rc < 0)
            return;
        struct lane *l = p->loading ? lane_get(c, name) : c->lanes[i];
        pass_u32(p, &l->weight);
        pass_u32(p, &l->cap);
        pass_u64(p, &l->vt);
        pass_u64(p, &l->v);
        pass_shares(c, p, l);
        if (l->weight == 0)
            pass_fail(p, ERR_CORRUPT, "a lane without weight");
    }
}

void pass_label(struct pass *p, struct core_label *l, struct label_room *room)
{
    l->name = pass_text(p, l->name, room->name);
    l->text = pass_text(p, l->text, room->text);
    pass_u32(p, &l->number);
    pass_must(p, l->name);
}

void pass_needs(struct core *c, struct pass *p)
{
    uint32_t count = c->needs_count;
    pass_u32(p, &count);
    struct label_room *rooms = mem_new(CORE_LABELS_MAX * sizeof *rooms);
    struct needs *n = c->needs;
    for (uint32_t i = 0; i < count && p->rc == 0; i++) {
        struct core_label labels[CORE_LABELS_MAX] = {{0}};
        uint32_t size = p->loading ? 0 : n->count;
        pass_number(p, &size, CORE_LABELS_MAX + 1, "too many labels");
        for (uint32_t k = 0; k < size; k++) {
            if (!p->loading)
                labels[k] = n->labels[k];
            pass_label(p, &labels[k], &rooms[k]);
        }
        if (p->rc == 0 && p->loading)
            p->rc = needs_get(c, labels, size, &n, p->e);
        else if (p->rc == 0)
            n = n->next;
    }
    mem_free(rooms);
}

void pass_gates(struct core *c, struct pass *p)
{
    char room[CORE_TEXT_MAX + 1];
    uint32_t count = c->gates_count;
    pass_u32(p, &count);
    struct gate *g = c->gates;
    for (uint32_t i = 0; i < count && p->rc == 0; i++) {
        struct tenant *t = pass_tenant(c, p, p->loading ? NULL : g->tenant);
        const char *name = pass_text(p, p->loading ? NULL : g->name, room);
        pass_must(p, name);
        if (p->rc < 0)
            return;
        if (p->loading)
            g = gate_get(c, t, name);
        pass_u32(p, &g->capacity);
        pass_u32(p, &g->rate);
        pass_i64(p, &g->per_ms);
        pass_i64(p, &g->closed_until);
        pass_us(p, &g->tat_us);
        if (g->per_ms > CORE_GATE_PER_MAX_MS || (g->rate > 0 && g->per_ms <= 0))
            pass_fail(p, ERR_CORRUPT, "a gate's rate without a time");
        if (!p->loading)
            g = g->next;
    }
}

/* ---- kinds, by number: records name them so ---- */

void pass_backoff(struct pass *p, struct core_backoff *b)
{
    pass_u32(p, &b->first);
    pass_u32(p, &b->cap);
    pass_u8(p, &b->list_count);
    if (b->list_count > CORE_BACKOFF_LIST_MAX) {
        pass_fail(p, ERR_CORRUPT, "too many waits");
        b->list_count = 0;
    }
    for (uint8_t i = 0; i < b->list_count; i++)
        pass_u32(p, &b->list[i]);
}

static void pass_kind_fields(struct pass *p, struct kind *k)
{
    pass_i64(p, &k->deadline_ms);
    pass_u32(p, &k->timeout_ms);
    pass_u16(p, &k->attempts);
    pass_u8(p, &k->priority);
    pass_backoff(p, &k->backoff);
    if (k->priority > CORE_PRIORITY_MAX)
        pass_fail(p, ERR_CORRUPT, "a kind of record out of bounds");
    if (p->form < 6)
        k->said = SAID_ALL;
    else
        pass_u8(p, &k->said);
}

static void pass_kind(struct core *c, struct pass *p, struct kind *k, uint32_t number)
{
    struct kind like = {.deadline_ms = 0};
    uint32_t queue = k == NULL ? 0 : k->queue->number;
    uint32_t lane = k == NULL ? 0 : k->line->lane->number;
    uint32_t needs = k == NULL ? 0 : k->line->needs->number;
    pass_u32(p, &queue);
    pass_number(p, &lane, c->lanes_count, "a lane that is not there");
    pass_number(p, &needs, c->needs_count, "labels that are not there");
    if (k != NULL)
        like = *k;
    pass_kind_fields(p, &like);
    if (p->rc < 0 || !p->loading)
        return;
    like.queue = saved_queue(c, queue);
    if (like.queue == NULL) {
        pass_fail(p, ERR_CORRUPT, "a queue that is not there");
        return;
    }
    if (kind_get(c, &like, c->lanes[lane], saved_needs(c, needs))->number != number)
        pass_fail(p, ERR_CORRUPT, "the same kind of record twice");
}

/* Numbers without a kind are closed up: each live one gets its rank. */
void pass_kinds(struct core *c, struct pass *p)
{
    uint32_t count = c->kinds_live, rank = 0;
    pass_u32(p, &count);
    for (uint32_t i = 0; !p->loading && i < c->kinds_count; i++) {
        if (c->kinds[i] != NULL) {
            c->kinds[i]->rank = rank++;
            pass_kind(c, p, c->kinds[i], i);
        }
    }
    for (uint32_t i = 0; p->loading && i < count && p->rc == 0; i++)
        pass_kind(c, p, NULL, i);
}

/* ---- consumers ---- */

static void pass_consumer_labels(struct pass *p, struct core_consumer *o, struct consumer *s,
                                 struct core_label *labels, struct label_room *rooms)
{
    uint32_t count = s == NULL ? 0 : s->labels_count;
    pass_number(p, &count, CORE_LABELS_MAX + 1, "too many labels");
    for (uint32_t i = 0; i < count; i++) {
        labels[i] = (struct core_label){0};
        if (s != NULL)
            labels[i] =
                (struct core_label){s->labels[i].name, s->labels[i].text, s->labels[i].number};
        pass_label(p, &labels[i], &rooms[i]);
    }
    o->labels = labels;
    o->labels_count = (uint8_t)count;
}

static void pass_consumer_only(struct pass *p, struct core_consumer *o, struct consumer *s,
                               const char **only, struct label_room *rooms)
{
    uint32_t count = s == NULL ? 0 : s->only_count;
    pass_number(p, &count, CORE_LABELS_MAX + 1, "too many labels");
    for (uint32_t i = 0; i < count; i++) {
        only[i] = pass_text(p, s == NULL ? NULL : s->only[i], rooms[i].text);
        pass_must(p, only[i]);
    }
    o->only = only;
    o->only_count = (uint8_t)count;
}

static void pass_consumer_queues(struct core *c, struct pass *p, struct core_consumer *o,
                                 struct consumer *s, const char **names)
{
    uint32_t count = s == NULL ? 0 : s->subs_count;
    pass_number(p, &count, CORE_SUBSCRIBED_MAX + 1, "too many queues of a consumer");
    for (uint32_t i = 0; i < count && p->rc == 0; i++) {
        uint32_t number = s == NULL ? 0 : s->subs[i].queue->number;
        pass_u32(p, &number);
        const struct queue *q = saved_queue(c, number);
        if (q == NULL) {
            pass_fail(p, ERR_CORRUPT, "a queue that is not there");
            return;
        }
        names[i] = q->name;
        o->tenant = q->tenant->name;
    }
    o->queues = names;
    o->queues_count = count;
}

enum { SAVED_WORKER = 1, SAVED_RETIRED = 2, SAVED_OF_NODE = 4 };

struct consumer_rooms {
    struct label_room labels[CORE_LABELS_MAX], only[CORE_LABELS_MAX];
    char node[CORE_TEXT_MAX + 1];
};

static void pass_consumer(struct core *c, struct pass *p, struct consumer *s,
                          struct consumer_rooms *rooms)
{
    struct core_label labels[CORE_LABELS_MAX];
    const char *only[CORE_LABELS_MAX], *names[CORE_SUBSCRIBED_MAX];
    struct core_consumer o = {.lease_ms = 0};
    uint64_t number = 0, turn = 0;
    int64_t expires = 0;
    uint8_t flags = 0;
    if (s != NULL) {
        flags = (uint8_t)((s->worker ? SAVED_WORKER : 0) | (s->retired ? SAVED_RETIRED : 0) |
                          (s->peer != NULL ? SAVED_OF_NODE : 0));
        o = (struct core_consumer){.id = s->id, .credit = s->credit, .lease_ms = s->lease_ms};
        number = s->number;
        turn = s->turn;
        expires = s->expires;
    }
    pass_bytes(p, o.id.b, sizeof o.id.b);
    o.node = pass_text(p, s == NULL ? NULL : s->name, rooms->node);
    pass_must(p, o.node);
    pass_u8(p, &flags);
    o.worker = flags & SAVED_WORKER;
    o.of_node = flags & SAVED_OF_NODE;
    pass_u32(p, &o.credit);
    if (flags >= (p->form < 4 ? SAVED_OF_NODE : 2 * SAVED_OF_NODE) ||
        (flags & SAVED_RETIRED && o.credit > 0))
        pass_fail(p, ERR_CORRUPT, "a consumer that is not as one can be");
    pass_u32(p, &o.lease_ms);
    pass_u64(p, &number);
    pass_u64(p, &turn);
    pass_i64(p, &expires);
    pass_consumer_labels(p, &o, s, labels, rooms->labels);
    pass_consumer_only(p, &o, s, only, rooms->only);
    pass_consumer_queues(c, p, &o, s, names);
    if (p->rc < 0 || !p->loading)
        return;
    c->consumer_next = number;
    p->rc = core_open(c, &o, p->e);
    s = p->rc < 0 ? NULL : consumer_find(c, &o.id);
    if (s == NULL || s->number != number) {
        pass_fail(p, ERR_CORRUPT, "the same consumer twice");
        return;
    }
    consumer_seat(c, s, false);
    s->retired = flags & SAVED_RETIRED;
    s->turn = turn;
    s->expires = expires;
    heap_moved(c, &c->undo, &c->expiries, &expiry_heap, s->expires_pos);
}

/* The newest is first in the list: written from its end, so that reading gives the same list. */
void pass_consumers(struct core *c, struct pass *p)
{
    struct consumer *s = p->loading ? NULL : c->consumers;
    uint32_t count = c->consumers_table.count;
    pass_u32(p, &count);
    struct consumer_rooms *rooms = mem_new(sizeof *rooms);
    while (s != NULL && s->next != NULL)
        s = s->next;
    for (uint32_t i = 0; i < count && p->rc == 0; i++) {
        pass_consumer(c, p, s, rooms);
        s = s == NULL ? NULL : s->prev;
    }
    mem_free(rooms);
}

/* Before the seventh form the text itself, and the place of its send. */
static struct dedup_key pass_dedup_text(struct pass *p, const struct queue *q)
{
    char room[CORE_TEXT_MAX + 1];
    const char *text = pass_text(p, NULL, room);
    pass_must(p, text);
    return p->rc < 0 ? (struct dedup_key){.hash = 0} : dedup_key(q, text);
}

static void pass_dedup(struct core *c, struct pass *p, struct queue *q, const struct dedup *d)
{
    uint32_t number = q == NULL ? 0 : q->number;
    struct dedup_key key = {.hash = 0};
    struct uuid id = {{0}};
    uint64_t place = 0;
    int64_t until = 0;
    if (d != NULL) {
        id = d->id;
        until = d->until;
        key = (struct dedup_key){.hash = d->node.hash, .more = d->more};
    }
    pass_u32(p, &number);
    pass_bytes(p, id.b, sizeof id.b);
    if (p->form < 7)
        pass_u64(p, &place);
    pass_i64(p, &until);
    q = p->rc < 0 ? NULL : saved_queue(c, number);
    if (q == NULL) {
        pass_fail(p, ERR_CORRUPT, "a queue that is not there");
        return;
    }
    if (p->form < 7) {
        key = pass_dedup_text(p, q);
    } else {
        pass_u64(p, &key.hash);
        pass_u64(p, &key.more);
    }
    if (p->rc == 0 && p->loading)
        dedup_restore(c, q, key, &id, until);
}

void pass_dedups(struct core *c, struct pass *p)
{
    uint32_t count = c->dedups.count;
    pass_u32(p, &count);
    for (uint32_t i = 0; p->loading && i < count && p->rc == 0; i++)
        pass_dedup(c, p, NULL, NULL);
    for (struct queue *q = p->loading ? NULL : c->queues; q != NULL; q = q->next) {
        for (uint32_t i = 0; i < q->dedups.count && p->rc == 0; i++)
            pass_dedup(c, p, q, (struct dedup *)(uintptr_t)q->dedups.items[i]);
    }
}
