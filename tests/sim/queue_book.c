#include "sim/queue_book.h"

#include <string.h>

#include "base/hash.h"
#include "base/mem.h"
#include "sim/scenario.h"
#include "support/simworld.h"

const struct book_labels book_labels[BOOK_CONSUMERS] = {{.gpu = 2, .of_node = true},
                                                        {.gpu = 2, .of_node = true, .zone = true},
                                                        {.gpu = 3},
                                                        {.gpu = 1, .only_gpu = true}};

void book_init(struct book *b, struct sim *s)
{
    *b = (struct book){.sim = s, .notes = mem_new_array(NOTES_MAX, sizeof(*b->notes))};
    for (uint32_t i = 0; i < BOOK_CONSUMERS; i++)
        b->consumers[i].id = (struct uuid){.b = {0xc0, [14] = (uint8_t)(i + 1), [15] = 2}};
}

void book_fini(struct book *b)
{
    mem_free(b->notes);
    mem_free(b->hashes);
}

struct note *book_add(struct book *b)
{
    if (b->count == NOTES_MAX)
        return NULL;
    struct note *m = &b->notes[b->count];
    memcpy(m->id.b, &b->count, sizeof(b->count));
    m->id.b[15] = 1;
    m->fingerprint = core_fingerprint(&m->id);
    b->count++;
    return m;
}

static unsigned number(const struct book *b, const struct note *m)
{
    return (unsigned)(m - b->notes);
}

static struct note *book_find(struct book *b, uint64_t fingerprint)
{
    for (uint32_t i = b->count; i-- > 0;)
        if (b->notes[i].fingerprint == fingerprint)
            return &b->notes[i];
    sim_fail("a record is told of that nobody sent");
}

void book_unsure(struct book *b, uint32_t consumer, uint64_t seq)
{
    for (uint32_t i = 0; i < b->count; i++)
        if (b->notes[i].consumer == consumer && b->notes[i].token <= seq)
            b->notes[i].held = false;
}

/* ---- what an entry told ---- */

static bool is_over(enum rec_state s)
{
    return s == REC_COMPLETED || s == REC_DISCARDED || s == REC_CANCELLED;
}

/* Q5, as of the end of the entry that granted m. */
static void check_key(struct book *b, const struct core *c, const struct note *m)
{
    struct core_view v, w;
    if (m->key == 0 || core_look(c, &m->id, &v, NULL) != 0 || v.state != REC_EXECUTING)
        return;
    for (uint32_t i = 0; i < b->count; i++) {
        const struct note *o = &b->notes[i];
        if (o == m || o->key != m->key || core_look(c, &o->id, &w, NULL) != 0 ||
            strcmp(v.queue, w.queue) != 0)
            continue;
        if (w.state == REC_EXECUTING)
            sim_fail("Q5: records %u and %u of one key run at once", number(b, m), i);
        bool plain = !m->delayed && !o->delayed && m->retried + o->retried == 0;
        if (plain && !is_over(w.state) && w.place < v.place)
            sim_fail("Q5: record %u of a key runs before %u, which was sent first", number(b, m),
                     i);
    }
}

static uint32_t consumer_number(const struct book *b, const struct uuid *id)
{
    for (uint32_t i = 0; i < BOOK_CONSUMERS; i++)
        if (memcmp(b->consumers[i].id.b, id->b, sizeof(id->b)) == 0)
            return i;
    sim_fail("a grant goes to a consumer that nobody opened");
}

/* Does what `s` executes count for the label of `m`? */
static bool draws_on(const struct book *b, const struct note *m, uint32_t s)
{
    bool shared = book_labels[s].of_node && book_labels[m->consumer].of_node;
    return (s == m->consumer || shared) && b->consumers[s].leaves == 0;
}

/* m was granted: its consumer has what it needs, and no more of it is in use than there is. */
static void check_labels(const struct book *b, const struct note *m)
{
    const struct book_labels *has = &book_labels[m->consumer];
    uint32_t used = 0;
    if ((m->zone && !has->zone) || (has->only_gpu && m->gpu == 0))
        sim_fail("labels: record %u, which needs %u gpu%s, is granted to consumer %u", number(b, m),
                 m->gpu, m->zone ? " and the zone" : "", m->consumer);
    for (uint32_t i = 0; m->gpu > 0 && i < b->count; i++) {
        const struct note *o = &b->notes[i];
        used += o->held && draws_on(b, m, o->consumer) ? o->gpu : 0;
    }
    if (used > has->gpu)
        sim_fail("labels: with record %u %u gpu are in use of the %u of consumer %u", number(b, m),
                 used, has->gpu, m->consumer);
}

static void saw_grant(struct book *b, struct note *m, const struct core_effect *f, int64_t at)
{
    if (f->token <= m->token)
        sim_fail("Q1: record %u has token %llu after %llu", number(b, m),
                 (unsigned long long)f->token, (unsigned long long)m->token);
    if (m->held && b->consumers[m->consumer].leaves == 0)
        sim_fail("Q4: record %u is granted to another while it is held", number(b, m));
    if (m->ended)
        sim_fail("Q2: record %u had ended and is granted", number(b, m));
    if (m->sent == FATE_NO)
        sim_fail("B1: record %u was refused and is granted", number(b, m));
    if (f->attempt > m->attempts)
        sim_fail("Q3: record %u is tried for the %uth time, of %u", number(b, m), f->attempt,
                 m->attempts);
    m->token = f->token;
    m->held = true;
    m->granted_at = at;
    m->own_from = m->own_until = 0;
    m->consumer = consumer_number(b, &f->consumer);
    check_labels(b, m);
    b->granted++;
}

/* Q4: a holder is only dispossessed when its time is over, by what it was answered itself. */
static void saw_lost(struct book *b, struct note *m, const struct core_effect *f, int64_t at,
                     bool lapses)
{
    const struct book_consumer *s = &b->consumers[consumer_number(b, &f->consumer)];
    bool known = m->held && m->token == f->token;
    b->lost++;
    m->held = false;
    if (!known || at >= m->granted_at + (int64_t)m->timeout_ms)
        return;
    if (!lapses && at == m->granted_at)
        return; /* by the entry that retires whom it was granted to */
    if (!lapses)
        sim_fail("record %u lapsed right after a start", number(b, m));
    if (m->own_until != 0 && at < m->own_until)
        sim_fail("Q4: record %u was extended until %lld and lost at %lld", number(b, m),
                 (long long)m->own_until, (long long)at);
    if (m->own_from == 0 && at < s->lease_until)
        sim_fail("Q4: record %u was lost at %lld, its holder had renewed until %lld", number(b, m),
                 (long long)at, (long long)s->lease_until);
}

static bool may_be_discarded(const struct note *m, enum rec_reason why)
{
    switch (why) {
    case REASON_ATTEMPTS:
        return m->may_nack > 0;
    case REASON_REJECTED:
        return m->may_reject > 0;
    case REASON_EXPIRED:
        return m->limited;
    case REASON_LAPSED:
    case REASON_TIMEOUT:
        return m->token > 0;
    default:
        return why == REASON_DEFERRED_TOO_LONG;
    }
}

static void check_end(const struct book *b, const struct note *m, enum rec_state state,
                      enum rec_reason why)
{
    if (state == REC_COMPLETED ? m->may_ack == 0
        : state == REC_CANCELLED
            ? m->may_cancel == 0
            : state == REC_DISCARDED && !may_be_discarded(m, why) && m->retried == 0)
        sim_fail("Q2: record %u is %s (%s), for which nobody gave a reason", number(b, m),
                 rec_state_name(state), rec_reason_name(why));
}

static void saw_end(struct book *b, struct note *m, const struct core_effect *f)
{
    check_end(b, m, f->state, f->reason);
    if (m->ended && m->retried == 0)
        sim_fail("Q2: record %u ended twice", number(b, m));
    bool goes_on = m->queue == QUEUE_HANDS_ON && f->state == REC_DISCARDED;
    m->retried += goes_on;
    m->ended = !goes_on && m->retried == 0;
    m->held = false;
    b->ended++;
}

static bool hash_queue(void *arg, const struct core_queue *q, const struct core_counts *n)
{
    uint64_t *hash = arg;
    const uint64_t all[] = {n->scheduled,
                            n->available,
                            n->executing,
                            n->retryable,
                            n->completed,
                            n->discarded,
                            n->cancelled,
                            n->bytes,
                            n->sent,
                            n->acked,
                            n->nacked,
                            n->granted,
                            n->dropped,
                            n->dedups,
                            n->dedups_forgotten,
                            (uint64_t)n->unhandled_at,
                            (uint64_t)n->dedups_whole_at,
                            n->consumers,
                            n->paused,
                            n->closed};
    *hash = hash64(hash64(*hash, q->name, strlen(q->name)), all, sizeof(all));
    return true;
}

/* All decisions, and what queues say of themselves that is none. */
static uint64_t state_hash(const struct core *c)
{
    uint64_t hash = core_hash(c);
    uint32_t from = 0;
    while (core_each(c, &from, BOOK_QUEUES, hash_queue, &hash))
        continue;
    return hash;
}

static void book_hash(struct book *b, const struct core *c, uint64_t seq)
{
    if (seq >= b->hashes_cap) {
        size_t cap = seq * 2 + 1024;
        uint64_t *more = mem_new_array(cap, sizeof(*more));
        if (b->hashes != NULL)
            memcpy(more, b->hashes, b->hashes_cap * sizeof(*more));
        mem_free(b->hashes);
        b->hashes = more;
        b->hashes_cap = cap;
    }
    uint64_t hash = state_hash(c);
    if (b->hashes[seq] != 0 && b->hashes[seq] != hash)
        sim_fail("L3: at entry %llu the state is another than it was", (unsigned long long)seq);
    b->hashes[seq] = hash;
}

void book_same(struct book *b, const struct core *c)
{
    uint64_t seq = core_seq(c);
    if (seq < b->hashes_cap && b->hashes[seq] != 0)
        book_hash(b, c, seq);
}

/* Entries were committed that we did not see: what they told is not known. */
static void book_gap(struct book *b, uint64_t seq)
{
    sim_event(b->sim, "not seen", "", b->seen + 1, seq);
    for (uint32_t i = 0; i < b->count; i++)
        b->notes[i].held = false;
}

void book_entry(struct book *b, const struct core *c, uint64_t seq, int64_t at, bool lapses)
{
    size_t count;
    const struct core_effect *f = core_effects(c, &count);
    if (core_seq(c) == seq) /* else only others run it again, the state is of later */
        book_hash(b, c, seq);
    if (seq <= b->seen)
        return; /* run again: it has told already */
    if (seq != b->seen + 1)
        book_gap(b, seq - 1);
    b->seen = seq;
    for (size_t i = 0; i < count; i++) {
        struct note *m = book_find(b, f[i].id);
        sim_event(b->sim, "told",
                  f[i].kind == EFFECT_GRANT   ? "grant"
                  : f[i].kind == EFFECT_LOST  ? "lost"
                  : f[i].kind == EFFECT_ENDED ? rec_state_name(f[i].state)
                                              : "cancel",
                  number(b, m), f[i].token);
        if (f[i].kind == EFFECT_GRANT)
            saw_grant(b, m, &f[i], at);
        if (f[i].kind == EFFECT_LOST)
            saw_lost(b, m, &f[i], at, lapses);
        if (f[i].kind == EFFECT_ENDED)
            saw_end(b, m, &f[i]);
    }
    for (size_t i = 0; i < count; i++)
        if (f[i].kind == EFFECT_GRANT)
            check_key(b, c, book_find(b, f[i].id));
}

void book_opened(struct book *b, const struct core *c)
{
    uint64_t seq = core_seq(c);
    if (seq < b->seen)
        sim_fail("L2: entry %llu was committed, the state is of %llu", (unsigned long long)b->seen,
                 (unsigned long long)seq);
    if (seq > 0)
        book_hash(b, c, seq);
    if (seq > b->seen)
        book_gap(b, seq);
    b->seen = seq;
    for (uint32_t i = 0; i < BOOK_CONSUMERS; i++) {
        if (b->consumers[i].leaves > 0) /* came through, or will not any more */
            book_unsure(b, i, UINT64_MAX);
        b->consumers[i].leaves = 0;
    }
    core_check(c);
}

/* ---- the records ---- */

static void check_there(const struct book *b, const struct note *m, const struct core_view *v,
                        int64_t times)
{
    unsigned n = number(b, m);
    if (m->sent == FATE_NO)
        sim_fail("B1: record %u was refused, or merged, and is there", n);
    if (m->acked && m->retried == 0 && v->state != REC_COMPLETED)
        sim_fail("Q2: record %u was acked and is %s", n, rec_state_name(v->state));
    if (is_over(v->state))
        check_end(b, m, v->state, v->reason);
    if (m->ended && !is_over(v->state))
        sim_fail("Q2: record %u had ended and is %s", n, rec_state_name(v->state));
    if ((v->state == REC_COMPLETED) != (times > 0) && m->retried == 0)
        sim_fail("L1: record %u is %s, its work is there %lld times", n, rec_state_name(v->state),
                 (long long)times);
    if (v->attempts > m->attempts)
        sim_fail("Q3: record %u was tried %u times, of %u", n, v->attempts, m->attempts);
}

static void check_gone(const struct book *b, const struct note *m, int64_t times)
{
    unsigned n = number(b, m);
    bool explained = times > 0 || m->may_cancel > 0 || m->may_purge > 0;
    if (m->sent == FATE_YES && !explained)
        sim_fail("Q2: record %u was acknowledged and is not there, nor its work", n);
    if (times > 0 && m->may_ack == 0)
        sim_fail("L4: the work of record %u is there, nobody could do it", n);
    if (times > 0 && m->queue == QUEUE_KEEPS && m->may_purge + m->retried == 0)
        sim_fail("Q2: record %u is completed and was not kept", n);
}

void book_check(struct book *b, const struct core *c, int64_t (*times)(void *arg, uint32_t n),
                void *arg)
{
    struct core_view v;
    core_check(c);
    for (uint32_t i = 0; i < b->count; i++) {
        struct note *m = &b->notes[i];
        int64_t done = times(arg, i);
        if (done > 1 + (int64_t)m->retried)
            sim_fail("L1: the work of record %u was done %lld times", i, (long long)done);
        if (m->acked && done == 0)
            sim_fail("L2: record %u was acked, its work is not there", i);
        if (core_look(c, &m->id, &v, NULL) == 0)
            check_there(b, m, &v, done);
        else
            check_gone(b, m, done);
    }
}
