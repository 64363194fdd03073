/* Sending: what is there already, what is too much, and a new record. */
#include "support/queue_model_priv.h"

#include <string.h>

#include "base/err.h"

enum { DEADLINE_MS = 24 * 60 * 60 * 1000 };

static int send_check(const struct core_send *s)
{
    if ((s->priority > CORE_PRIORITY_MAX && s->priority != CORE_PRIORITY_UNSAID) ||
        s->attempts > CORE_ATTEMPTS_MAX || s->gates_count > CORE_GATES_MAX ||
        s->needs_count > CORE_LABELS_MAX || s->ttl_ms < -1 || s->deadline_ms < 0)
        return ERR_INVALID;
    return s->bytes > CORE_BODY_MAX ? ERR_TOO_LARGE : 0;
}

static bool is_of(const struct model_record *r, const struct model_queue *q)
{
    return r->state != 0 && model_is(r->queue, q->name) && model_is(r->tenant, q->tenant);
}

static uint64_t waiting_of(const struct queue_model *m, const struct model_queue *q,
                           uint64_t *bytes)
{
    uint64_t n = 0;
    *bytes = 0;
    for (size_t i = 0; i < m->s.records; i++) {
        const struct model_record *r = &m->s.record[i];
        if (is_of(r, q) && model_is_waiting(r)) {
            n++;
            *bytes += r->bytes;
        }
    }
    return n;
}

static void answer(const struct queue_model *m, const struct model_queue *q, const struct uuid *id,
                   struct core_sent *out)
{
    uint64_t bytes;
    out->id = *id;
    out->depth = waiting_of(m, q, &bytes);
}

static struct model_dedup *dedup_find(struct queue_model *m, const struct core_send *s)
{
    for (size_t i = 0; i < m->s.dedups; i++) {
        struct model_dedup *d = &m->s.dedup[i];
        if (model_is(d->tenant, s->tenant) && model_is(d->queue, s->queue) &&
            model_is(d->text, s->dedup) && d->until > m->s.now)
            return d;
    }
    return NULL;
}

static void dedup_note(struct queue_model *m, const struct model_queue *q,
                       const struct core_send *s, const struct uuid *id)
{
    int64_t window = q->settings.dedup_window_ms;
    window = s->dedup_ms > window ? s->dedup_ms : window;
    if (s->dedup == NULL || window == 0)
        return;
    ASSERT(m->s.dedups < MODEL_DEDUPS);
    struct model_dedup *d = &m->s.dedup[m->s.dedups++];
    *d = (struct model_dedup){.id = *id, .until = m->s.now + window};
    model_text(d->tenant, s->tenant);
    model_text(d->queue, s->queue);
    model_text(d->text, s->dedup);
}

/* The newest that waits with this value. */
static struct model_record *unique_find(struct queue_model *m, const struct model_queue *q,
                                        const char *unique)
{
    for (size_t i = m->s.records; i-- > 0;) {
        struct model_record *r = &m->s.record[i];
        if (is_of(r, q) && model_is_waiting(r) && model_is(r->unique, unique))
            return r;
    }
    return NULL;
}

/* 1: merged with `*found`; 0: a new record; or a code. */
static int unique_meet(struct queue_model *m, const struct model_queue *q,
                       const struct core_send *s, struct model_record **found)
{
    struct model_record *r = s->unique != NULL ? unique_find(m, q, s->unique) : NULL;
    *found = r;
    if (s->unique != NULL && s->unique_mode == UNIQUE_SWAP &&
        s->unique_expect != (r != NULL ? r->body : 0))
        return ERR_CONFLICT;
    if (r == NULL)
        return 0;
    if (s->unique_mode != UNIQUE_SKIP) {
        r->body = s->place;
        r->edited = false;
        r->bytes = s->bytes;
    }
    return 1;
}

static int make_room(struct queue_model *m, const struct model_queue *q, const struct core_send *s)
{
    uint64_t bytes, max = q->settings.max, max_bytes = q->settings.max_bytes;
    if (max_bytes > 0 && s->bytes > max_bytes)
        return ERR_QUEUE_FULL;
    for (;;) {
        uint64_t n = waiting_of(m, q, &bytes);
        if ((max == 0 || n < max) && (max_bytes == 0 || bytes + s->bytes <= max_bytes))
            return 0;
        if (q->settings.overflow == OVERFLOW_REFUSE)
            return ERR_QUEUE_FULL;
        for (size_t i = 0; i < m->s.records; i++)
            if (is_of(&m->s.record[i], q) && model_is_waiting(&m->s.record[i])) {
                model_discard(m, &m->s.record[i], REASON_OVERFLOW);
                break;
            }
    }
}

static void add(struct queue_model *m, const struct model_queue *q, const struct core_send *s)
{
    int64_t run_at = s->run_at > m->s.now ? s->run_at : m->s.now;
    ASSERT(m->s.records < MODEL_RECORDS);
    struct model_record *r = &m->s.record[m->s.records++];
    *r = (struct model_record){.id = s->id, .place = s->place, .body = s->place};
    r->bytes = s->bytes;
    model_says_read(&r->own, s);
    model_says_take(r, q);
    int64_t ttl = r->own.ttl_ms >= 0 ? r->own.ttl_ms : q->says.ttl_ms;
    int64_t deadline = r->own.deadline_ms >= 0 ? r->own.deadline_ms : q->says.deadline_ms;
    r->expires_at = ttl > 0 ? run_at + ttl : INT64_MAX;
    r->deadline_ms = deadline >= 0 ? deadline : DEADLINE_MS;
    r->deadline_at = run_at + r->deadline_ms;
    model_text(r->tenant, s->tenant);
    model_text(r->queue, s->queue);
    model_text(r->key, s->key);
    model_text(r->unique, s->unique);
    if (run_at > m->s.now) {
        r->state = REC_SCHEDULED;
        r->run_at = r->due = run_at;
    } else {
        model_available(m, r, run_at);
    }
}

static int send_new(struct queue_model *m, struct model_queue *q, const struct core_send *s,
                    struct core_sent *out)
{
    if (model_find(m, &s->id) != NULL)
        return ERR_CONFLICT;
    int rc = make_room(m, q, s);
    if (rc != 0)
        return rc;
    add(m, q, s);
    dedup_note(m, q, s, &s->id);
    q->sent++;
    answer(m, q, &s->id, out);
    model_finish(m);
    return 0;
}

int model_send(struct queue_model *m, const struct core_send *s, struct core_sent *out)
{
    *out = (struct core_sent){0};
    int rc = send_check(s);
    if (rc != 0)
        return rc;
    struct model_queue *q = model_find_queue(m, s->tenant, s->queue);
    if (q == NULL) {
        if (!s->create)
            return ERR_NOT_FOUND;
        struct core_queue usual = {.tenant = s->tenant, .name = s->queue};
        core_queue_defaults(&usual);
        q = model_declare_only(m, &usual);
    }
    if (!s->large && s->bytes > model_body_max(q))
        return ERR_TOO_LARGE;
    if (q->closed)
        return ERR_CONFLICT;
    struct model_dedup *d = s->dedup != NULL ? dedup_find(m, s) : NULL;
    if (d != NULL) {
        out->duplicate = true;
        answer(m, q, &d->id, out);
        return 0;
    }
    struct model_record *found;
    rc = unique_meet(m, q, s, &found);
    if (rc < 0)
        return rc;
    if (rc == 0)
        return send_new(m, q, s, out);
    out->merged = true;
    answer(m, q, &found->id, out);
    return 0;
}
