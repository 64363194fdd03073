/* Queue core, saved: the queues, what they say and what they counted. */
#include <string.h>

#include "base/mem.h"
#include "queue/saved_priv.h"

static void saved_queues_known(struct core *c, struct pass *p)
{
    uint32_t i = 0;
    c->by_number = mem_try((c->queues_count + 1) * sizeof(struct queue *));
    if (c->by_number == NULL)
        pass_fail(p, ERR_NOMEM, "its queues");
    for (struct queue *q = c->queues; c->by_number != NULL && q != NULL; q = q->next)
        c->by_number[i++] = q;
}

/* Of a manual queue: since the fifth form. */
static void pass_queue_manual(struct pass *p, struct core_queue *o)
{
    if (p->form < 5)
        return;
    pass_bool(p, &o->owned);
    pass_i64(p, &o->due_ms);
}

/* ---- how a queue is sent to: since the sixth form ---- */

struct sending_room {
    char script[CORE_TEXT_MAX + 1];
    struct core_send send;
    struct core_backoff backoff;
    struct core_label needs[CORE_LABELS_MAX];
    struct label_room labels[CORE_LABELS_MAX];
    char lane[CORE_TEXT_MAX + 1], gates[CORE_GATES_MAX][CORE_TEXT_MAX + 1];
};

static void pass_sending_numbers(struct pass *p, struct core_send *s, struct core_backoff *backoff)
{
    bool has = s->backoff != NULL;
    pass_i64(p, &s->ttl_ms);
    pass_i64(p, &s->deadline_ms);
    pass_u32(p, &s->timeout_ms);
    pass_u8(p, &s->priority);
    pass_u16(p, &s->attempts);
    pass_bool(p, &has);
    if (!has)
        return;
    if (!p->loading)
        *backoff = *s->backoff;
    pass_backoff(p, backoff);
    s->backoff = backoff;
}

static void pass_sending_lists(struct pass *p, struct core_send *s, struct sending_room *room)
{
    s->lane = pass_text(p, s->lane, room->lane);
    pass_u8(p, &s->gates_count);
    pass_u8(p, &s->needs_count);
    if (s->gates_count > CORE_GATES_MAX || s->needs_count > CORE_LABELS_MAX) {
        pass_fail(p, ERR_CORRUPT, "too many gates or labels of a queue");
        s->gates_count = s->needs_count = 0;
    }
    for (uint8_t i = 0; i < s->gates_count; i++) {
        s->gates[i] = pass_text(p, s->gates[i], room->gates[i]);
        pass_must(p, s->gates[i]);
    }
    for (uint8_t i = 0; i < s->needs_count; i++) {
        if (!p->loading)
            room->needs[i] = s->needs[i];
        pass_label(p, &room->needs[i], &room->labels[i]);
    }
    s->needs = room->needs;
}

static void pass_sending(struct pass *p, struct core_queue *o, struct sending_room *room)
{
    bool has = o->sending != NULL;
    if (p->form < 6)
        return;
    pass_u32(p, &o->body_max);
    pass_bool(p, &has);
    if (!has)
        return;
    memset(&room->send, 0, sizeof room->send);
    memset(&room->backoff, 0, sizeof room->backoff);
    if (!p->loading)
        room->send = *o->sending;
    pass_sending_numbers(p, &room->send, &room->backoff);
    pass_sending_lists(p, &room->send, room);
    if (p->loading)
        o->sending = &room->send;
}

/* Who declares it: since the eighth form. */
static void pass_script(struct pass *p, struct core_queue *o, struct sending_room *room)
{
    if (p->form < 8)
        return;
    o->script = pass_text(p, o->script, room->script);
    pass_u32(p, &o->scripted);
}

static void pass_queue_options(struct pass *p, struct core_queue *o, char room[CORE_TEXT_MAX + 1])
{
    uint8_t overflow = (uint8_t)o->overflow;
    o->dead_to = pass_text(p, p->loading ? NULL : o->dead_to, room);
    pass_u32(p, &o->concurrency);
    pass_u64(p, &o->max);
    pass_u64(p, &o->max_bytes);
    pass_u8(p, &overflow);
    pass_bool(p, &o->halt_on_dead);
    pass_bool(p, &o->manual);
    pass_bool(p, &o->handled);
    pass_i64(p, &o->keep_completed_ms);
    pass_i64(p, &o->keep_discarded_ms);
    pass_u32(p, &o->keep_count);
    pass_i64(p, &o->dedup_window_ms);
    pass_queue_manual(p, o);
    if (overflow > OVERFLOW_DROP_OLDEST)
        pass_fail(p, ERR_CORRUPT, "an unknown way to overflow");
    o->overflow = overflow == 0 ? OVERFLOW_REFUSE : OVERFLOW_DROP_OLDEST;
}

static void pass_queue_state(struct pass *p, struct queue *q)
{
    pass_bool(p, &q->paused);
    pass_bool(p, &q->closed);
    pass_u64(p, &q->sent);
    pass_u64(p, &q->acked);
    pass_u64(p, &q->nacked);
    pass_u64(p, &q->granted);
    if (p->form < 2)
        return;
    pass_u64(p, &q->dropped);
    pass_i64(p, &q->unhandled_at);
    if (p->form < 7)
        return;
    pass_u64(p, &q->dedups_forgotten);
    pass_i64(p, &q->dedups_whole_at);
}

static void pass_queue(struct core *c, struct pass *p, struct queue *q,
                       struct sending_room *sending)
{
    char name_room[CORE_TEXT_MAX + 1], room[CORE_TEXT_MAX + 1];
    uint32_t number = q == NULL ? 0 : q->number;
    pass_number(p, &number, c->queue_next > number ? UINT32_MAX : number + 1, "a queue's number");
    struct tenant *t = pass_tenant(c, p, q == NULL ? NULL : q->tenant);
    const char *name = pass_text(p, q == NULL ? NULL : q->name, name_room);
    pass_must(p, name);
    struct core_queue o = {0};
    if (q != NULL)
        o = q->o;
    pass_queue_options(p, &o, room);
    pass_sending(p, &o, sending);
    pass_script(p, &o, sending);
    if (p->rc < 0)
        return;
    if (p->loading) {
        c->queue_next = number;
        o.tenant = t->name;
        o.name = name;
        p->rc = core_declare(c, &o, p->e);
        q = p->rc < 0 ? NULL : queue_find(c, t->name, name);
        if (q == NULL || q->number != number) {
            pass_fail(p, ERR_CORRUPT, "the same queue twice");
            return;
        }
        q->o.owned = o.owned;
    }
    pass_queue_state(p, q);
}

void pass_queues(struct core *c, struct pass *p)
{
    uint32_t count = c->queues_count;
    pass_number(p, &count, CORE_QUEUES_MAX + 1, "too many queues");
    struct queue *q = p->loading ? NULL : c->queues;
    struct sending_room *sending = mem_new(sizeof *sending);
    for (uint32_t i = 0; i < count && p->rc == 0; i++) {
        pass_queue(c, p, q, sending);
        q = q == NULL ? NULL : q->next;
    }
    mem_free(sending);
    saved_queues_known(c, p);
}
