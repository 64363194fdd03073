/* Queue core: sending. Everything is checked before anything is written. */
#include <string.h>

#include "queue/core_priv.h"

static int send_check(const struct core_send *s, struct err *e)
{
    if (s->discard != REASON_NONE && (s->unique != NULL || s->run_at != 0))
        return err_field(e, ERR_INVALID, "discard", "what is discarded waits for nothing");
    if (s->bytes > CORE_BODY_MAX)
        return err_field(e, ERR_TOO_LARGE, "body", "at most %d bytes", CORE_BODY_MAX);
    if (s->run_at < 0 || s->run_at > TIME_MAX)
        return err_field(e, ERR_INVALID, "run_at", "before the year 2500");
    if (s->dedup_ms < 0 || s->dedup_ms > CORE_DEDUP_MAX_MS)
        return err_field(e, ERR_INVALID, "dedup", "it is known for at most 30 days");
    int rc = sending_check(s, e);
    if (rc == 0)
        rc = core_text_check(s->key, "key", e);
    if (rc == 0)
        rc = core_text_check(s->unique, "unique", e);
    if (rc == 0)
        rc = core_text_check(s->dedup, "dedup", e);
    return rc;
}

/* ---- one that waits already ---- */

static void sent_fill(const struct core *c, const struct queue *q, struct core_sent *out)
{
    int64_t oldest = queue_oldest(c, q);
    out->depth = queue_waiting(q);
    out->oldest_age_ms = oldest < c->at ? c->at - oldest : 0;
}

void rec_replace_body(struct core *c, uint32_t n, uint64_t place, uint32_t bytes, bool edited)
{
    struct rec *r = core_rec(c, n);
    struct queue *q = core_kind(c, r)->queue;
    struct extra *x = rec_extra(c, n);
    place_forget(c, x->body);
    SAVE(c, x->body);
    SAVE(c, x->edited);
    x->body = place;
    x->edited = edited;
    if (r->state >= REC_SCHEDULED && r->state <= REC_RETRYABLE) {
        SAVE(c, q->bytes);
        q->bytes = q->bytes - r->bytes + bytes;
    }
    rec_save(c, r);
    r->bytes = bytes & 0x7fffffu;
    core_decide(c, 0x20, r, place);
}

static struct core_waiting waiting_body(const struct core *c, uint32_t n)
{
    const struct extra *x = core_extra(c, core_rec(c, n));
    return (struct core_waiting){.body = x->body != 0 ? x->body : core_rec(c, n)->place,
                                 .edited = x->edited};
}

int core_waiting(const struct core *c, const char *tenant, const char *queue, const char *unique,
                 struct core_waiting *out)
{
    const struct queue *q = queue_find(c, tenant, queue);
    const struct unique *u = q == NULL ? NULL : unique_find(c, q, unique);
    uint32_t n = u == NULL ? NONE : unique_waiting(c, u);
    *out = (struct core_waiting){.body = 0};
    if (n == NONE)
        return ERR_NOT_FOUND;
    *out = waiting_body(c, n);
    return 0;
}

/* 1: it is answered by the one that waits. */
static int send_unique(struct core *c, const struct core_send *s, struct queue *q,
                       struct core_sent *out, struct err *e)
{
    struct unique *u = s->unique == NULL ? NULL : unique_find(c, q, s->unique);
    uint32_t n = u == NULL ? NONE : unique_waiting(c, u);
    if (s->unique != NULL && s->unique_mode == UNIQUE_SWAP) {
        uint64_t body = n == NONE ? 0 : waiting_body(c, n).body;
        if (body != s->unique_expect)
            return err_field(e, ERR_CONFLICT, "unique",
                             "another body came meanwhile; merge with that");
    }
    if (n == NONE)
        return 0;
    out->id = core_extra(c, core_rec(c, n))->unique_id;
    out->merged = true;
    if (s->unique_mode != UNIQUE_SKIP)
        rec_replace_body(c, n, s->place, s->bytes, false);
    sent_fill(c, q, out);
    return 1;
}

static int send_dedup(const struct core *c, const struct core_send *s, struct queue *q,
                      struct core_sent *out)
{
    const struct dedup *d = s->dedup == NULL ? NULL : dedup_find(c, q, s->dedup);
    if (d == NULL)
        return 0;
    out->id = d->id;
    out->duplicate = true;
    sent_fill(c, q, out);
    return 1;
}

/* ---- bounds ---- */

static bool queue_is_over(const struct queue *q, uint32_t bytes)
{
    return (q->o.max > 0 && queue_waiting(q) >= q->o.max) ||
           (q->o.max_bytes > 0 && q->bytes - q->executing_bytes + bytes > q->o.max_bytes);
}

static int send_fits(const struct queue *q, const struct core_send *s, struct err *e)
{
    bool too_big = q->o.max_bytes > 0 && s->bytes > q->o.max_bytes;
    if (too_big || (q->o.overflow == OVERFLOW_REFUSE && queue_is_over(q, s->bytes)))
        return err_field(e, ERR_QUEUE_FULL, "queue",
                         "queue '%s' is full: %llu records wait, %llu bytes", q->name,
                         (unsigned long long)queue_waiting(q),
                         (unsigned long long)(q->bytes - q->executing_bytes));
    return 0;
}

static void send_make_room(struct core *c, struct queue *q, uint32_t bytes)
{
    while (q->o.overflow == OVERFLOW_DROP_OLDEST && queue_is_over(q, bytes) &&
           q->oldest.count > 0) {
        uint32_t n = (uint32_t)q->oldest.items[0];
        rec_unstand(c, n);
        rec_finish(c, n, REC_DISCARDED, REASON_OVERFLOW);
    }
}

/* ---- the new one ---- */

static void send_extras(struct core *c, const struct core_send *s, struct queue *q, uint32_t n,
                        int64_t run_at)
{
    if (s->ttl_ms <= 0 && s->key == NULL && s->unique == NULL && s->gates_count == 0)
        return;
    struct extra *x = rec_extra(c, n);
    undo_note(&c->undo, x, sizeof *x);
    x->ttl_at = s->ttl_ms <= 0 ? 0 : run_at + s->ttl_ms;
    for (uint8_t i = 0; i < s->gates_count; i++)
        x->gates[i] = gate_get(c, q->tenant, s->gates[i]);
    x->gates_count = s->gates_count;
    if (s->key != NULL) {
        x->keyline = keyline_get(c, q, s->key);
        SAVE(c, x->keyline->refs);
        x->keyline->refs++;
    }
    if (s->unique != NULL)
        unique_join(c, n, s->unique, &s->id);
}

static void send_new(struct core *c, const struct core_send *s, uint8_t said, struct queue *q,
                     struct lane *lane, struct needs *needs)
{
    struct kind like = {.queue = q,
                        .deadline_ms = s->deadline_ms,
                        .timeout_ms = s->timeout_ms,
                        .attempts = s->attempts,
                        .priority = s->priority,
                        .said = said};
    if (s->backoff != NULL)
        like.backoff = *s->backoff;
    int64_t run_at = s->run_at > c->at ? s->run_at : c->at;
    struct kind *k = kind_get(c, &like, lane, needs);
    uint32_t n = rec_new(c, core_fingerprint(&s->id));
    struct rec *r = core_rec(c, n);
    kind_ref(c, k);
    r->kind = k->number;
    r->place = s->place;
    r->bytes = s->bytes & 0x7fffffu;
    rec_set_due(c, r, run_at);
    SAVE(c, q->sent);
    q->sent++;
    core_decide(c, 0x21, r, r->id);
    send_extras(c, s, q, n, run_at);
    if (q->o.due_ms > 0)
        tended_begin(c, n);
    dedup_add(c, q, s);
    rec_later(c, n, run_at, REC_SCHEDULED);
}

static void send_discard(struct core *c, const struct core_send *s, struct queue *q)
{
    uint32_t n = rec_find(c, core_fingerprint(&s->id));
    rec_unstand(c, n);
    rec_finish(c, n, REC_DISCARDED, s->discard);
    while (q->count[REC_DISCARDED] > CORE_UNWORKED_MAX)
        rec_forget(c, queue_ended(q, REC_DISCARDED)->first);
}

static int send_to(struct core *c, const struct core_send *s, uint8_t said, struct queue *q,
                   struct core_sent *out, struct err *e)
{
    if (q->closed && !s->always)
        return err_field(e, ERR_CONFLICT, "queue", "queue '%s' is closed", q->name);
    if (q->o.owned && !s->always)
        return owned_check(q, e);
    if (send_dedup(c, s, q, out) != 0)
        return 0;
    struct lane *lane = lane_get(c, s->lane);
    struct needs *needs = NULL;
    if (lane == NULL)
        return err_field(e, ERR_TOO_LARGE, "lane", "there are %d lanes already", CORE_LANES_MAX);
    int rc = needs_get(c, s->needs, s->needs_count, &needs, e);
    if (rc == 0)
        rc = send_unique(c, s, q, out, e);
    if (rc == 0 && rec_find(c, core_fingerprint(&s->id)) != NONE)
        rc = err_field(e, ERR_CONFLICT, "id", "there is a record with this id");
    if (rc == 0 && !s->always)
        rc = send_fits(q, s, e);
    if (rc != 0)
        return rc < 0 ? rc : 0;
    if (!s->always)
        send_make_room(c, q, s->bytes);
    send_new(c, s, said, q, lane, needs);
    if (s->discard != REASON_NONE)
        send_discard(c, s, q);
    sent_fill(c, q, out);
    grants_make(c);
    return 0;
}

int core_send(struct core *c, const struct core_send *s, struct core_sent *out, struct err *e)
{
    *out = (struct core_sent){.id = s->id};
    int rc = send_check(s, e);
    if (rc == 0)
        rc = rec_reserve(c, e);
    struct queue *q = rc < 0 ? NULL : queue_get(c, s->tenant, s->queue, s->create, e);
    if (q == NULL)
        return rc < 0 ? rc : e != NULL ? e->code : ERR_NOT_FOUND;
    rc = s->large ? 0 : queue_body_check(q, s->bytes, e);
    if (rc < 0 && s->unique_mode == UNIQUE_SWAP && s->unique_expect != 0)
        err_context(e, "merged");
    if (rc < 0)
        return rc;
    struct core_send filled = *s;
    core_sending_fill(&filled, q->o.sending);
    return send_to(c, &filled, sending_said(s), q, out, e);
}
