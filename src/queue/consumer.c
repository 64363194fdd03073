/* Queue core: consumers. A worker takes from every handled queue; another from those that it names.
 * Whoever has room stands in line by `turn`: workers in one list, others at each of their queues.
 */
#include <string.h>

#include "base/hash.h"
#include "queue/core_priv.h"

enum { LEASE_MS = 30000, LEASE_MIN_MS = 1000, LEASE_MAX_MS = 12 * 3600 * 1000 };

static uint64_t consumer_hash(const struct uuid *id)
{
    return hash64(0, id->b, sizeof id->b);
}

struct consumer *consumer_find(const struct core *c, const struct uuid *id)
{
    struct table_node *n = table_find(&c->consumers_table, consumer_hash(id));
    for (; n != NULL; n = table_again(n)) {
        struct consumer *s = (struct consumer *)n;
        if (memcmp(s->id.b, id->b, sizeof id->b) == 0)
            return s;
    }
    return NULL;
}

/* ---- who has room ---- */

struct consumer *consumer_for(const struct core *c, const struct queue *q,
                              const struct needs *needs)
{
    struct consumer *worker = q->o.handled ? c->free_first : NULL;
    while (worker != NULL && !consumer_fits(worker, needs))
        worker = worker->free_next;
    struct sub *sub = q->free_first;
    while (sub != NULL && !consumer_fits(sub->consumer, needs))
        sub = sub->next;
    if (worker == NULL || sub == NULL)
        return worker != NULL ? worker : sub != NULL ? sub->consumer : NULL;
    return worker->turn < sub->consumer->turn ? worker : sub->consumer;
}

static void worker_stand(struct core *c, struct consumer *s)
{
    undo_note(&c->undo, s, sizeof *s);
    SAVE(c, c->free_first);
    SAVE(c, c->free_last);
    s->free_next = NULL;
    s->free_prev = c->free_last;
    if (c->free_last != NULL) {
        undo_note(&c->undo, &c->free_last->free_next, sizeof c->free_last->free_next);
        c->free_last->free_next = s;
    } else {
        c->free_first = s;
    }
    c->free_last = s;
}

static void worker_leave(struct core *c, struct consumer *s)
{
    struct consumer **before = s->free_prev != NULL ? &s->free_prev->free_next : &c->free_first;
    struct consumer **behind = s->free_next != NULL ? &s->free_next->free_prev : &c->free_last;
    undo_note(&c->undo, before, sizeof *before);
    undo_note(&c->undo, behind, sizeof *behind);
    *before = s->free_next;
    *behind = s->free_prev;
}

static void sub_stand(struct core *c, struct sub *b)
{
    struct queue *q = b->queue;
    undo_note(&c->undo, b, sizeof *b);
    SAVE(c, q->free_first);
    SAVE(c, q->free_last);
    b->next = NULL;
    b->prev = q->free_last;
    if (q->free_last != NULL) {
        undo_note(&c->undo, &q->free_last->next, sizeof q->free_last->next);
        q->free_last->next = b;
    } else {
        q->free_first = b;
    }
    q->free_last = b;
    queue_review(c, q);
}

static void sub_leave(struct core *c, struct sub *b)
{
    struct queue *q = b->queue;
    struct sub **before = b->prev != NULL ? &b->prev->next : &q->free_first;
    struct sub **behind = b->next != NULL ? &b->next->prev : &q->free_last;
    undo_note(&c->undo, before, sizeof *before);
    undo_note(&c->undo, behind, sizeof *behind);
    *before = b->next;
    *behind = b->prev;
    queue_review(c, q);
}

static void consumer_stand(struct core *c, struct consumer *s)
{
    if (s->worker)
        worker_stand(c, s);
    for (uint32_t i = 0; i < s->subs_count; i++)
        sub_stand(c, &s->subs[i]);
}

static void consumer_step_back(struct core *c, struct consumer *s)
{
    if (s->worker)
        worker_leave(c, s);
    for (uint32_t i = 0; i < s->subs_count; i++)
        sub_leave(c, &s->subs[i]);
}

/* Has it room? `turn`: it was granted something, and goes to the end of the line. */
void consumer_review(struct core *c, struct consumer *s, bool turn)
{
    bool room = s->held < s->credit;
    if (s->has_room && (turn || !room))
        consumer_step_back(c, s);
    if (room && (turn || !s->has_room)) {
        SAVE(c, s->turn);
        SAVE(c, c->turns);
        s->turn = ++c->turns;
        consumer_stand(c, s);
    }
    SAVE(c, s->has_room);
    s->has_room = room;
}

void consumer_seat(struct core *c, struct consumer *s, bool stand)
{
    bool room = stand && s->held < s->credit;
    if (s->has_room && !room)
        consumer_step_back(c, s);
    if (room && !s->has_room)
        consumer_stand(c, s);
    SAVE(c, s->has_room);
    s->has_room = room;
}

/* ---- what it holds ---- */

static struct extra *held_extra(struct core *c, uint32_t n)
{
    struct extra *x = core_extra(c, core_rec(c, n));
    undo_note(&c->undo, x, sizeof *x);
    return x;
}

void consumer_hold(struct core *c, struct consumer *s, uint32_t n)
{
    struct extra *x = held_extra(c, n);
    x->consumer = s;
    x->held_prev = NONE;
    x->held_next = s->held_first;
    if (s->held_first != NONE)
        held_extra(c, s->held_first)->held_prev = n;
    SAVE(c, s->held_first);
    SAVE(c, s->held);
    s->held_first = n;
    s->held++;
    consumer_use_labels(c, s, core_kind(c, core_rec(c, n))->line->needs, true);
}

void consumer_unhold(struct core *c, struct consumer *s, uint32_t n)
{
    struct extra *x = held_extra(c, n);
    if (x->held_next != NONE)
        held_extra(c, x->held_next)->held_prev = x->held_prev;
    SAVE(c, s->held_first);
    SAVE(c, s->held);
    if (x->held_prev != NONE)
        held_extra(c, x->held_prev)->held_next = x->held_next;
    else
        s->held_first = x->held_next;
    s->held--;
    x->held_next = x->held_prev = NONE;
    x->consumer = NULL;
    consumer_use_labels(c, s, core_kind(c, core_rec(c, n))->line->needs, false);
}

/* ---- opening ---- */

static int consumer_check(const struct core_consumer *s, struct err *e)
{
    if (s->credit > CORE_CREDIT_MAX)
        return err_field(e, ERR_INVALID, "credit", "at most %d at once", CORE_CREDIT_MAX);
    if (s->lease_ms != 0 && (s->lease_ms < LEASE_MIN_MS || s->lease_ms > LEASE_MAX_MS))
        return err_field(e, ERR_INVALID, "lease", "a lease lasts from 1 s to 12 h");
    if (s->queues_count > CORE_SUBSCRIBED_MAX)
        return err_field(e, ERR_INVALID, "queues", "at most %d queues of one consumer",
                         CORE_SUBSCRIBED_MAX);
    if (s->labels_count > CORE_LABELS_MAX || s->only_count > CORE_LABELS_MAX)
        return err_field(e, ERR_INVALID, "labels", "at most %d labels", CORE_LABELS_MAX);
    return 0;
}

static int consumer_queues_exist(struct core *c, const struct core_consumer *s, struct err *e)
{
    for (uint32_t i = 0; !s->worker && i < s->queues_count; i++) {
        if (queue_find(c, s->tenant, s->queues[i]) == NULL)
            return err_field(e, ERR_NOT_FOUND, "queue", "there is no queue '%s'", s->queues[i]);
    }
    return 0;
}

static bool consumer_names(const struct consumer *s, const struct queue *q)
{
    for (uint32_t i = 0; i < s->subs_count; i++)
        if (s->subs[i].queue == q)
            return true;
    return false;
}

/* One that named it already and opens again is nobody new; nor is one that is loaded. */
static void queue_named(struct core *c, struct queue *q, bool is_new)
{
    SAVE(c, q->consumers);
    q->consumers++;
    if (!is_new || c->loading)
        return;
    SAVE(c, q->unhandled_at);
    q->unhandled_at = 0;
}

static void queue_left(struct core *c, struct queue *q)
{
    SAVE(c, q->consumers);
    if (--q->consumers > 0 || q->unhandled_at == 0)
        return;
    SAVE(c, q->unhandled_at);
    q->unhandled_at = c->at;
}

static void consumer_set_queues(struct core *c, struct consumer *s, const struct core_consumer *o)
{
    uint32_t count = o->worker ? 0 : o->queues_count;
    struct sub *subs = count == 0 ? NULL : undo_alloc(&c->undo, count * sizeof *subs);
    for (uint32_t i = 0; i < count; i++) {
        subs[i].consumer = s;
        subs[i].queue = queue_find(c, o->tenant, o->queues[i]);
        queue_named(c, subs[i].queue, !consumer_names(s, subs[i].queue));
    }
    for (uint32_t i = 0; i < s->subs_count; i++)
        queue_left(c, s->subs[i].queue);
    undo_free(&c->undo, s->subs);
    s->subs = subs;
    s->subs_count = count;
}

static struct consumer *consumer_new(struct core *c, const struct core_consumer *o)
{
    struct consumer *s = undo_alloc(&c->undo, sizeof *s);
    s->id = o->id;
    s->name = undo_strdup(&c->undo, o->node);
    SAVE(c, c->consumer_next);
    s->number = c->consumer_next++;
    SAVE(c, c->consumers);
    s->next = c->consumers;
    if (s->next != NULL) {
        SAVE(c, s->next->prev);
        s->next->prev = s;
    }
    c->consumers = s;
    table_add(&c->consumers_table, &c->undo, &s->node, consumer_hash(&o->id));
    s->expires = c->at;
    heap_push(c, &c->undo, &c->expiries, &expiry_heap, (uintptr_t)s);
    return s;
}

static void consumer_renew(struct core *c, struct consumer *s)
{
    SAVE(c, s->expires);
    s->expires = c->at + s->lease_ms;
    heap_moved(c, &c->undo, &c->expiries, &expiry_heap, s->expires_pos);
}

int core_open(struct core *c, const struct core_consumer *o, struct err *e)
{
    int rc = consumer_check(o, e);
    if (rc == 0)
        rc = consumer_queues_exist(c, o, e);
    if (rc < 0)
        return rc;
    struct consumer *s = consumer_find(c, &o->id);
    if (s == NULL)
        s = consumer_new(c, o);
    else if (s->has_room)
        consumer_step_back(c, s);
    undo_note(&c->undo, s, sizeof *s);
    struct consumer old = *s;
    s->has_room = false;
    SAVE(c, c->workers);
    c->workers = c->workers - old.worker + o->worker;
    SAVE(c, c->onlies);
    c->onlies = c->onlies - (old.only_count > 0) + (o->only_count > 0);
    s->worker = o->worker;
    s->retired = false;
    s->credit = o->credit;
    s->lease_ms = o->lease_ms == 0 ? LEASE_MS : o->lease_ms;
    consumer_set_labels(c, s, o);
    consumer_free_labels(c, old.labels, old.labels_count, old.only, old.only_count);
    consumer_set_of_node(c, s, o->of_node);
    consumer_set_queues(c, s, o);
    consumer_renew(c, s);
    consumer_review(c, s, false);
    grants_make(c);
    return 0;
}

static int consumer_gone(struct err *e)
{
    return err_set(e, ERR_NOT_FOUND,
                   "there is no such consumer: it was closed, or its lease ended; open it again");
}

int core_renew(struct core *c, const struct uuid *id, struct err *e)
{
    struct consumer *s = consumer_find(c, id);
    if (s == NULL)
        return consumer_gone(e);
    consumer_renew(c, s);
    return 0;
}

static void consumer_drop(struct core *c, struct consumer *s)
{
    undo_note(&c->undo, s, sizeof *s);
    consumer_set_queues(c, s, &(struct core_consumer){.worker = true});
    consumer_set_of_node(c, s, false);
    SAVE(c, c->workers);
    c->workers -= s->worker;
    SAVE(c, c->onlies);
    c->onlies -= s->only_count > 0;
    if (s->next != NULL) {
        SAVE(c, s->next->prev);
        s->next->prev = s->prev;
    }
    struct consumer **at = s->prev != NULL ? &s->prev->next : &c->consumers;
    undo_note(&c->undo, at, sizeof *at);
    *at = s->next;
    table_remove(&c->consumers_table, &c->undo, &s->node);
    heap_remove(c, &c->undo, &c->expiries, &expiry_heap, s->expires_pos);
    consumer_free_labels(c, s->labels, s->labels_count, s->only, s->only_count);
    undo_free(&c->undo, s->name);
    undo_free(&c->undo, s);
}

enum held {
    HELD_ALL,
    HELD_LAPSED, /* what has no lease of its own, or not any more */
    HELD_NEW,    /* what was granted in this entry */
};

/* The first of these, by place. */
static uint32_t held_first(const struct core *c, const struct consumer *s, enum held which)
{
    uint32_t first = NONE;
    for (uint32_t i = s->held_first; i != NONE; i = core_extra(c, core_rec(c, i))->held_next) {
        const struct extra *x = core_extra(c, core_rec(c, i));
        if ((which == HELD_LAPSED && x->own_lease > c->at) ||
            (which == HELD_NEW && x->token != c->seq))
            continue;
        if (first == NONE || oldest_heap.before(c, i, first))
            first = i;
    }
    return first;
}

static int64_t held_until(const struct core *c, const struct consumer *s)
{
    int64_t until = 0;
    for (uint32_t i = s->held_first; i != NONE; i = core_extra(c, core_rec(c, i))->held_next) {
        const struct extra *x = core_extra(c, core_rec(c, i));
        until = x->own_lease > until ? x->own_lease : until;
    }
    return until;
}

static void consumer_stop(struct core *c, struct consumer *s)
{
    if (s->has_room)
        consumer_step_back(c, s);
    undo_note(&c->undo, s, sizeof *s);
    s->has_room = false;
    s->credit = 0;
}

/* It takes nothing more; then each that it holds comes back, in order of place. Of one that lapsed
 * those stay that have a lease of their own, and it for their sake. */
static void consumer_end(struct core *c, struct consumer *s, bool lapsed)
{
    consumer_stop(c, s);
    for (uint32_t n; (n = held_first(c, s, lapsed ? HELD_LAPSED : HELD_ALL)) != NONE;) {
        if (lapsed)
            rec_lapse(c, n);
        else
            rec_hand_back(c, n);
    }
    if (s->held > 0) {
        SAVE(c, s->expires);
        s->expires = held_until(c, s);
        heap_moved(c, &c->undo, &c->expiries, &expiry_heap, s->expires_pos);
    } else if (!s->retired) { /* else it went with the last */
        consumer_drop(c, s);
    }
    grants_make(c);
}

void consumer_released(struct core *c, struct consumer *s)
{
    if (s->retired && s->held == 0)
        consumer_drop(c, s);
    else
        consumer_review(c, s, false);
}

/* The queue is about to go. */
void consumer_forget_queue(struct core *c, struct consumer *s, struct queue *q)
{
    for (uint32_t i = 0; i < s->subs_count; i++) {
        if (s->subs[i].queue != q)
            continue;
        if (s->has_room)
            sub_leave(c, &s->subs[i]);
        uint32_t last = s->subs_count - 1;
        bool moves = i != last;
        if (moves && s->has_room)
            sub_leave(c, &s->subs[last]);
        undo_note(&c->undo, &s->subs[i], sizeof s->subs[i]);
        SAVE(c, s->subs_count);
        s->subs[i] = s->subs[last];
        s->subs_count--;
        if (moves && s->has_room)
            sub_stand(c, &s->subs[i]);
        return;
    }
}

int core_leave(struct core *c, const struct uuid *id, struct err *e)
{
    struct consumer *s = consumer_find(c, id);
    if (s == NULL)
        return consumer_gone(e);
    consumer_end(c, s, false);
    return 0;
}

int core_lapse(struct core *c, const struct uuid *id, bool *lapsed, struct err *e)
{
    (void)e;
    struct consumer *s = consumer_find(c, id);
    *lapsed = s != NULL && s->expires <= c->at;
    if (*lapsed)
        consumer_end(c, s, true);
    return 0;
}

static void consumer_lose_new(struct core *c, struct consumer *s)
{
    for (uint32_t n; (n = held_first(c, s, HELD_NEW)) != NONE;) {
        core_effect(c, EFFECT_LOST, n);
        rec_hand_back(c, n);
    }
}

int core_retire(struct core *c, const struct uuid *id, uint32_t lease_ms, struct err *e)
{
    struct consumer *s = consumer_find(c, id);
    if (lease_ms != 0 && (lease_ms < LEASE_MIN_MS || lease_ms > LEASE_MAX_MS))
        return err_field(e, ERR_INVALID, "lease", "a lease lasts from 1 s to 12 h");
    if (s == NULL)
        return 0;
    consumer_stop(c, s);
    SAVE(c, s->retired);
    s->retired = false; /* until all that goes has gone: the last would take it along */
    if (lease_ms == 0)
        consumer_lose_new(c, s);
    for (uint32_t n; lease_ms == 0 && s->worker && (n = held_first(c, s, HELD_ALL)) != NONE;)
        rec_lapse(c, n);
    s->retired = s->held > 0;
    if (!s->retired) {
        consumer_drop(c, s);
    } else if (lease_ms != 0) {
        SAVE(c, s->lease_ms);
        s->lease_ms = lease_ms;
        consumer_renew(c, s);
    }
    grants_make(c);
    return 0;
}

void core_consumers(const struct core *c,
                    void (*each)(void *arg, const struct core_consumer *s, uint32_t held),
                    void *arg)
{
    for (const struct consumer *s = c->consumers; s != NULL; s = s->next) {
        struct core_consumer o = {.id = s->id,
                                  .node = s->name,
                                  .worker = s->worker,
                                  .credit = s->credit,
                                  .lease_ms = s->lease_ms};
        each(arg, &o, s->held);
    }
}
