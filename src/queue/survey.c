/* Queue: what of it other threads may see at any time, be the ledger's thread in the middle of a
 * sync: counts of each queue and of all. The ledger's thread walks over the queues, some hundred at
 * a time, and hands the whole over; readers hold what they read. Two of them exist, a third only
 * while somebody reads for longer than a walk takes.
 *
 * The same walk sees whose handler is gone for too long, and proposes what core_unregister() then
 * decides. */
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "queue/queue_priv.h"

enum {
    SURVEY_STEP = 500,       /* queues at a time: some 50 us */
    SURVEY_STEP_MS = 2,      /* between */
    SURVEY_MS = 1000,        /* between two walks */
    SURVEY_EACH = 10,        /* and 1 ms more for so many queues */
    SURVEY_TEXTS = 64 << 20, /* bytes of names */
    SURVEY_ROWS = 64,        /* at first */
};

/* ---- who holds one ---- */

static void survey_free(struct survey *v)
{
    if (v == NULL)
        return;
    buf_fini(&v->texts);
    mem_free(v->rows);
    mem_free(v);
}

static struct survey *survey_new(struct queues *q)
{
    pthread_mutex_lock(&q->lock);
    struct survey *v = q->spare;
    q->spare = NULL;
    pthread_mutex_unlock(&q->lock);
    if (v == NULL) {
        v = mem_new(sizeof *v);
        buf_init(&v->texts, SURVEY_TEXTS);
    }
    v->count = 0;
    buf_reset(&v->texts);
    memset(&v->totals, 0, sizeof v->totals);
    v->totals.counts.oldest_at = INT64_MAX;
    return v;
}

struct survey *queue_survey_ref(struct queues *q)
{
    pthread_mutex_lock(&q->lock);
    struct survey *v = q->surveyed;
    if (v != NULL)
        v->refs++;
    pthread_mutex_unlock(&q->lock);
    return v;
}

void queue_survey_unref(struct queues *q, struct survey *v)
{
    if (v == NULL)
        return;
    pthread_mutex_lock(&q->lock);
    bool last = --v->refs == 0;
    if (last && q->spare == NULL) {
        q->spare = v;
        last = false;
    }
    pthread_mutex_unlock(&q->lock);
    if (last)
        survey_free(v);
}

static void survey_publish(struct queues *q, struct survey *v)
{
    v->refs = 1;
    pthread_mutex_lock(&q->lock);
    struct survey *before = q->surveyed;
    q->surveyed = v;
    pthread_mutex_unlock(&q->lock);
    queue_survey_unref(q, before);
}

void queues_totals(struct queues *q, struct queue_totals *out)
{
    struct survey *v = queue_survey_ref(q);
    *out = (struct queue_totals){.counts.oldest_at = INT64_MAX};
    if (v != NULL)
        *out = v->totals;
    queue_survey_unref(q, v);
}

/* ---- the walk ---- */

static uint32_t survey_text(struct survey *v, const char *text)
{
    uint32_t at = (uint32_t)v->texts.len;
    buf_add(&v->texts, text, strlen(text) + 1);
    return at;
}

static uint32_t count_of(uint64_t n)
{
    return n < UINT32_MAX ? (uint32_t)n : UINT32_MAX;
}

/* False: there is no memory for more; those that are there serve. */
static bool survey_add(struct survey *v, const struct core_queue *q, const struct core_counts *n)
{
    if (v->count == v->cap) {
        size_t cap = v->cap == 0 ? SURVEY_ROWS : v->cap * 2;
        struct survey_row *more = mem_try_resize(v->rows, cap * sizeof *more);
        if (more == NULL)
            return false;
        v->rows = more;
        v->cap = cap;
    }
    struct survey_row r = {.tenant = survey_text(v, q->tenant),
                           .name = survey_text(v, q->name),
                           .scheduled = count_of(n->scheduled),
                           .available = count_of(n->available),
                           .executing = count_of(n->executing),
                           .retryable = count_of(n->retryable),
                           .completed = count_of(n->completed),
                           .discarded = count_of(n->discarded),
                           .cancelled = count_of(n->cancelled),
                           .bytes = n->bytes,
                           .sent = n->sent,
                           .acked = n->acked,
                           .nacked = n->nacked,
                           .granted = n->granted,
                           .dropped = n->dropped,
                           .unfit = n->unfit,
                           .dedups = n->dedups,
                           .dedups_forgotten = n->dedups_forgotten,
                           .overdue = count_of(n->overdue),
                           .oldest_at = n->oldest_at};
    if (buf_failed(&v->texts))
        return false;
    v->rows[v->count++] = r;
    return true;
}

static void survey_sum(struct queue_totals *t, const struct core_queue *q,
                       const struct core_counts *n)
{
    struct core_counts *c = &t->counts;
    t->queues++;
    c->scheduled += n->scheduled;
    c->available += n->available;
    c->executing += n->executing;
    c->retryable += n->retryable;
    c->completed += n->completed;
    c->discarded += n->discarded;
    c->cancelled += n->cancelled;
    c->bytes += n->bytes;
    c->sent += n->sent;
    c->acked += n->acked;
    c->nacked += n->nacked;
    c->granted += n->granted;
    c->dropped += n->dropped;
    c->unfit += n->unfit;
    if (n->unfit > t->unfit_most) {
        t->unfit_most = n->unfit;
        str_copy(t->unfit, sizeof t->unfit, q->name);
    }
    c->overdue += n->overdue;
    if (n->overdue > t->overdue_most) {
        t->overdue_most = n->overdue;
        str_copy(t->overdue_name, sizeof t->overdue_name, q->name);
    }
    c->dedups += n->dedups;
    c->dedups_forgotten += n->dedups_forgotten;
    if (n->dedups_whole_at > c->dedups_whole_at) {
        c->dedups_whole_at = n->dedups_whole_at;
        str_copy(t->dedups_name, sizeof t->dedups_name, q->name);
    }
    if (n->oldest_at < c->oldest_at) {
        c->oldest_at = n->oldest_at;
        str_copy(t->oldest, sizeof t->oldest, q->name);
    }
}

/* When the first of its records is discarded, its oldest being known only about. */
static int64_t unhandled_until(const struct core_counts *n)
{
    bool none = n->oldest_at == INT64_MAX;
    int64_t from = none || n->unhandled_at > n->oldest_at ? n->unhandled_at : n->oldest_at;
    return from + CORE_UNHANDLED_MS;
}

static void survey_unhandled(struct queue_survey *s, const struct core_queue *q,
                             const struct core_counts *n)
{
    struct queue_totals *t = &s->next->totals;
    int64_t until = unhandled_until(n);
    if (n->unhandled_at == 0 || n->available == 0 || n->paused || n->consumers > 0)
        return;
    if (t->unhandled == 0 || until < t->unhandled_until) {
        t->unhandled_until = until;
        str_copy(t->unhandled_name, sizeof t->unhandled_name, q->name);
    }
    t->unhandled++;
    t->unhandled_records += n->available;
    if (until > s->world->wall_ms(s->world) || s->names_count == SURVEY_UNREGISTER ||
        (s->names_count > 0 && strcmp(s->tenant, q->tenant) != 0))
        return;
    str_copy(s->tenant, sizeof s->tenant, q->tenant);
    str_copy(s->names[s->names_count++], sizeof s->names[0], q->name);
}

static bool survey_one(void *arg, const struct core_queue *q, const struct core_counts *n)
{
    struct queue_survey *s = arg;
    survey_sum(&s->next->totals, q, n);
    survey_unhandled(s, q, n);
    survey_add(s->next, q, n);
    return true;
}

/* ---- what has waited too long ---- */

static void survey_proposed(struct unit *u)
{
    struct queue_survey *s = LIST_OF(u, struct queue_survey, unit);
    struct cursor c;
    s->flying = false;
    for (uint32_t i = 0; u->err.code == 0 && i < s->names_count; i++) {
        uint32_t count = unit_result(u, i, &c) ? cursor_u32(&c) : 0;
        if (count > 0)
            log_warn("queue", "%u messages of '%s' are discarded: they had no handler for a day",
                     count, s->names[i]);
    }
    unit_fini(u);
}

static void survey_unregister(struct queue_survey *s)
{
    struct err e = ERR_INIT;
    unit_init(&s->unit, s->world->runner, survey_proposed);
    txn_envelope(&s->unit.txn,
                 &(struct envelope){.tenant = s->tenant, .reason = "no handler for a day"});
    s->unit.txn.grows = false;
    for (uint32_t i = 0; i < s->names_count; i++)
        queue_txn_unregister(&s->unit.txn, s->names[i]);
    s->flying = true;
    if (ledger_propose(s->ledger, &s->unit, &e) == 0)
        return;
    s->flying = false;
    unit_fini(&s->unit);
}

static void survey_end(struct queue_survey *s)
{
    struct ledger_status now;
    survey_publish(s->queues, TAKE(s->next));
    ledger_status(s->ledger, &now);
    if (s->names_count > 0 && now.leader && !s->flying)
        survey_unregister(s);
}

static void survey_fire(struct world_timer *t)
{
    struct queue_survey *s = LIST_OF(t, struct queue_survey, timer);
    uint64_t wait = SURVEY_STEP_MS;
    if (s->stopped)
        return;
    if (s->next == NULL) {
        s->next = survey_new(s->queues);
        s->at = 0;
        if (!s->flying)
            s->names_count = 0;
    }
    if (!core_each(s->queues->core, &s->at, SURVEY_STEP, survey_one, s)) {
        wait = SURVEY_MS + s->next->totals.queues / SURVEY_EACH;
        survey_end(s);
    }
    s->world->timer_start(s->world, t, wait);
}

void queue_survey_start(struct queue_survey *s, struct queues *q, struct ledger *l, struct world *w)
{
    s->queues = q;
    s->ledger = l;
    s->world = w;
    s->timer.fire = survey_fire;
    survey_fire(&s->timer);
}

void queue_survey_stop(struct queue_survey *s)
{
    s->stopped = true;
    if (s->world != NULL)
        s->world->timer_stop(s->world, &s->timer);
}

void queue_survey_free(struct queue_survey *s)
{
    survey_free(s->next);
    if (s->queues == NULL)
        return;
    survey_free(s->queues->surveyed);
    survey_free(s->queues->spare);
}
