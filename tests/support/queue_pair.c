#include "support/queue_pair.h"

#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "support/queue_model.h"

static bool differ(struct queue_pair *p, const char *what, int64_t core, int64_t model)
{
    if (p->wrong[0] == '\0')
        snprintf(p->wrong, sizeof(p->wrong), "%s: core %lld (0x%llx), model %lld (0x%llx)", what,
                 (long long)core, (long long)core, (long long)model, (long long)model);
    return false;
}

#define SAME(what, a, b)                                                                           \
    do {                                                                                           \
        if ((int64_t)(a) != (int64_t)(b))                                                          \
            return differ(p, what, (int64_t)(a), (int64_t)(b));                                    \
    } while (0)

static bool same_id(const struct uuid *a, const struct uuid *b)
{
    return memcmp(a->b, b->b, sizeof(a->b)) == 0;
}

/* ---- comparing ---- */

static bool same_effect(struct queue_pair *p, size_t i, const struct core_effect *a,
                        const struct core_effect *b)
{
    char what[64];
    snprintf(what, sizeof(what), "effect %zu", i);
    SAME(what, a->kind, b->kind);
#define FIELD(name)                                                                                \
    do {                                                                                           \
        snprintf(what, sizeof(what), "effect %zu (kind %d): " #name, i, (int)a->kind);             \
        SAME(what, a->name, b->name);                                                              \
    } while (0)
    FIELD(id);
    FIELD(place);
    FIELD(body);
    FIELD(edited);
    FIELD(token);
    FIELD(consumer.b[0]);
    FIELD(consumer.b[15]);
    FIELD(attempt);
    FIELD(deliveries);
    FIELD(lease_until);
    FIELD(timeout_at);
    FIELD(state);
    FIELD(reason);
    FIELD(result);
#undef FIELD
    return true;
}

static bool same_effects(struct queue_pair *p)
{
    size_t n;
    const struct core_effect *e = core_effects(p->core, &n);
    for (size_t i = 0; i < n && i < p->model->s.effects; i++)
        if (!same_effect(p, i, &e[i], &p->model->effect[i]))
            return false;
    SAME("number of effects", n, p->model->s.effects);
    return true;
}

static bool same_view(struct queue_pair *p, uint32_t number)
{
    struct core_view a, b;
    char what[64];
    struct err e = ERR_INIT;
    struct uuid id = queue_step_id(number);
    int rc = core_look(p->core, &id, &a, &e);
    snprintf(what, sizeof(what), "core_look #%u", number);
    SAME(what, rc, model_look(p->model, &id, &b));
    if (rc != 0)
        return true;
#define FIELD(name)                                                                                \
    do {                                                                                           \
        snprintf(what, sizeof(what), "view of #%u: " #name, number);                               \
        SAME(what, a.name, b.name);                                                                \
    } while (0)
#define TEXT(name)                                                                                 \
    do {                                                                                           \
        if (strcmp(a.name, b.name) != 0) {                                                         \
            snprintf(p->wrong, sizeof(p->wrong),                                                   \
                     "view of #%u: " #name ": core '%.99s', model "                                \
                     "'%.99s'",                                                                    \
                     number, a.name, b.name);                                                      \
            return false;                                                                          \
        }                                                                                          \
    } while (0)
    FIELD(state);
    FIELD(reason);
    TEXT(tenant);
    TEXT(queue);
    TEXT(lane);
    FIELD(waits);
    TEXT(waits_for);
    FIELD(place);
    FIELD(body);
    FIELD(edited);
    FIELD(result);
    FIELD(bytes);
    FIELD(run_at);
    FIELD(attempts);
    FIELD(deliveries);
    FIELD(attempts_max);
    FIELD(priority);
    FIELD(token);
    FIELD(lease_until);
    FIELD(consumer.b[15]);
#undef FIELD
#undef TEXT
    return true;
}

static bool same_counts(struct queue_pair *p, uint32_t queue)
{
    struct core_counts a, b;
    char what[64];
    const char *tenant = queue_step_tenant(queue), *name = queue_step_queue(queue);
    int rc = core_counts(p->core, tenant, name, &a, NULL);
    snprintf(what, sizeof(what), "core_counts %s/%s", tenant, name);
    SAME(what, rc, model_counts(p->model, tenant, name, &b));
    if (rc != 0)
        return true;
#define FIELD(field)                                                                               \
    do {                                                                                           \
        snprintf(what, sizeof(what), "counts of %s/%s: " #field, tenant, name);                    \
        SAME(what, a.field, b.field);                                                              \
    } while (0)
    FIELD(scheduled);
    FIELD(available);
    FIELD(executing);
    FIELD(retryable);
    FIELD(completed);
    FIELD(discarded);
    FIELD(cancelled);
    FIELD(bytes);
    FIELD(sent);
    FIELD(acked);
    FIELD(nacked);
    FIELD(granted);
    FIELD(dropped);
    FIELD(unhandled_at);
    FIELD(consumers);
    FIELD(paused);
    FIELD(closed);
#undef FIELD
    /* It leaves out some of those that wait for something. */
    if (a.oldest_at < b.oldest_at)
        return differ(p, "core_counts.oldest_at", a.oldest_at, b.oldest_at);
    return true;
}

static bool same_lists(struct queue_pair *p, uint32_t queue)
{
    uint64_t a[5], b[5];
    const char *tenant = queue_step_tenant(queue), *name = queue_step_queue(queue);
    for (int s = REC_SCHEDULED; s <= REC_CANCELLED; s++) {
        uint64_t after = 0;
        size_t n;
        do {
            n = core_list(p->core, tenant, name, (enum rec_state)s, after, a, 5);
            SAME("length of a core_list", n,
                 model_list(p->model, tenant, name, (enum rec_state)s, after, b, 5));
            for (size_t i = 0; i < n; i++)
                SAME("place in a core_list", a[i], b[i]);
            after = n > 0 ? a[n - 1] : 0;
        } while (n == 5);
    }
    return true;
}

static bool same_queues(struct queue_pair *p)
{
    struct core_queue q;
    struct core_counts n;
    size_t seen = 0;
    for (uint32_t i = 0; core_queue_at(p->core, &i, &q, &n); seen++) {
        SAME("number of queues", seen < p->model->s.queues, true);
        const struct model_queue *m = &p->model->s.queue[seen];
        SAME("tenant of a queue", strcmp(q.tenant, m->tenant), 0);
        SAME("name of a queue", strcmp(q.name, m->name), 0);
        SAME("dead_to of a queue", strcmp(q.dead_to != NULL ? q.dead_to : "", m->dead_to), 0);
        SAME("max of a queue", q.max, m->settings.max);
        SAME("keep of a queue", q.keep_completed_ms, m->settings.keep_completed_ms);
        SAME("sent to a queue", n.sent, m->sent);
    }
    SAME("number of queues", seen, p->model->s.queues);
    return true;
}

static bool same_expiry(struct queue_pair *p)
{
    struct core_expiry x;
    core_next_expiry(p->core, &x);
    SAME("core_next_expiry", x.at, model_next_expiry(p->model));
    return true;
}

bool queue_pair_same(struct queue_pair *p)
{
    core_check(p->core);
    for (uint32_t i = 0; i < p->numbers; i++)
        if (!same_view(p, i))
            return false;
    for (uint32_t i = 0; i < STEP_QUEUES; i++)
        if (!same_counts(p, i) || !same_lists(p, i))
            return false;
    SAME("core_lowest_place", core_lowest_place(p->core, 0), model_lowest_place(p->model));
    return same_queues(p) && same_expiry(p);
}

/* The core may wake too early, never too late. */
static bool same_due(struct queue_pair *p)
{
    int64_t due = core_next_due(p->core), change = model_next_change(p->model);
    if (due > change)
        return differ(p, "core_next_due is later than the next change", due, change);
    return true;
}

/* ---- steps ---- */

static bool begin(struct queue_pair *p, int64_t wait)
{
    p->entry_hash = core_hash(p->core);
    p->now += wait;
    p->seq++;
    SAME("core_entry", core_entry(p->core, p->seq, p->now, NULL),
         model_entry(p->model, p->seq, p->now));
    p->unit_hash = core_hash(p->core);
    if (core_next_due(p->core) <= p->now)
        return differ(p, "core_next_due after core_entry, which is now", core_next_due(p->core),
                      p->now);
    return same_effects(p) && queue_pair_same(p);
}

static bool undo_unit(struct queue_pair *p)
{
    core_undo(p->core, false);
    model_undo(p->model, false);
    SAME("core_hash after core_undo of a unit", core_hash(p->core), p->unit_hash);
    return same_effects(p) && queue_pair_same(p);
}

static bool undo_entry(struct queue_pair *p, int64_t wait)
{
    core_undo(p->core, true);
    model_undo(p->model, true);
    SAME("core_hash after core_undo of an entry", core_hash(p->core), p->entry_hash);
    if (!queue_pair_same(p))
        return false;
    p->seq = p->model->s.seq;
    p->now = p->model->s.now;
    return begin(p, wait);
}

static int put(void *arg, const void *data, size_t n, struct err *e)
{
    ASSERT(n <= 64 << 10);
    buf_add(arg, data, n);
    return buf_check(arg, "state", e);
}

static int get(void *arg, void *data, size_t n, struct err *e)
{
    struct cursor *c = arg;
    const void *p = cursor_raw(c, n);
    if (p == NULL)
        return err_set(e, ERR_CORRUPT, "the end");
    memcpy(data, p, n);
    return 0;
}

static bool reload(struct queue_pair *p, int64_t wait)
{
    AUTO(buf_fini) struct buf b = BUF_INIT(16 << 20);
    struct cursor c;
    struct core *other = core_new();
    uint64_t hash = core_hash(p->core);
    SAME("core_save", core_save(p->core, put, &b, NULL), 0);
    cursor_init(&c, b.data, b.len);
    SAME("core_load", core_load(other, get, &c, NULL), 0);
    SAME("bytes that core_load left", cursor_left(&c), 0);
    core_free(p->core);
    p->core = other;
    SAME("core_hash after core_load", core_hash(p->core), hash);
    return queue_pair_same(p) && begin(p, wait);
}

/* Of a record that this step speaks of. */
static uint64_t token_of(const struct queue_pair *p, const struct queue_step *s)
{
    struct core_view v;
    struct uuid id = queue_step_id(s->target);
    model_look(p->model, &id, &v);
    return v.token;
}

static bool step_send(struct queue_pair *p, const struct queue_step *s, int *rc)
{
    struct core_send x;
    struct queue_step_texts texts;
    struct core_sent a = {0}, b = {0};
    struct core_view v;
    struct err e = ERR_INIT;
    queue_step_send(s, p->now, p->seq, &x, &texts);
    struct uuid target = queue_step_id(s->target);
    if (s->flag && model_look(p->model, &target, &v) == 0)
        x.unique_expect = v.body;
    *rc = core_send(p->core, &x, &a, &e);
    SAME("core_send", *rc, model_send(p->model, &x, &b));
    if (*rc != 0)
        return true;
    SAME("core_sent.duplicate", a.duplicate, b.duplicate);
    SAME("core_sent.merged", a.merged, b.merged);
    SAME("core_sent.id", same_id(&a.id, &b.id), true);
    SAME("core_sent.depth", a.depth, b.depth);
    return true;
}

static bool step_lapse(struct queue_pair *p, const struct queue_step *s, int *rc)
{
    bool a = false, b = false;
    struct uuid consumer = queue_step_consumer_id(s->target), id = queue_step_id(s->target);
    if (s->kind == STEP_LAPSE) {
        *rc = core_lapse(p->core, &consumer, &a, NULL);
        SAME("core_lapse", *rc, model_lapse(p->model, &consumer, &b));
    } else {
        uint64_t token = token_of(p, s) + s->wrong_token;
        *rc = core_lapse_record(p->core, core_fingerprint(&id), token, &a, NULL);
        SAME("core_lapse_record", *rc,
             model_lapse_record(p->model, core_fingerprint(&id), token, &b));
    }
    if (*rc == 0)
        SAME("lapsed", a, b);
    return true;
}

static bool step_consumer(struct queue_pair *p, const struct queue_step *s, int *rc)
{
    struct core_consumer x;
    struct queue_step_texts texts;
    struct uuid id = queue_step_consumer_id(s->target);
    if (s->kind == STEP_OPEN) {
        queue_step_open(s, &x, &texts);
        *rc = core_open(p->core, &x, NULL);
        SAME("core_open", *rc, model_open(p->model, &x));
    } else if (s->kind == STEP_RENEW) {
        *rc = core_renew(p->core, &id, NULL);
        SAME("core_renew", *rc, model_renew(p->model, &id));
    } else if (s->kind == STEP_RETIRE) {
        uint32_t lease = queue_step_lease(s);
        *rc = core_retire(p->core, &id, lease, NULL);
        SAME("core_retire", *rc, model_retire(p->model, &id, lease));
    } else {
        *rc = core_leave(p->core, &id, NULL);
        SAME("core_leave", *rc, model_leave(p->model, &id));
    }
    return true;
}

static bool step_settle(struct queue_pair *p, const struct queue_step *s, int *rc)
{
    struct core_settle x;
    queue_step_settle(s, p->now, p->seq, token_of(p, s), &x);
    SAME("core_held", core_held(p->core, &x.id, x.token, NULL),
         model_held(p->model, &x.id, x.token));
    *rc = core_settle(p->core, &x, NULL);
    SAME("core_settle", *rc, model_settle(p->model, &x));
    return true;
}

static bool step_operator(struct queue_pair *p, const struct queue_step *s, int *rc)
{
    bool a = false, b = false;
    struct uuid id = queue_step_id(s->target);
    uint64_t place = CORE_PLACE(p->seq, s->number * 8 + 8);
    uint32_t bytes = s->choice[0];
    switch ((int)s->kind) {
    case STEP_CANCEL:
        *rc = core_cancel(p->core, &id, &a, NULL);
        SAME("core_cancel", *rc, model_cancel(p->model, &id, &b));
        if (*rc == 0)
            SAME("asked", a, b);
        return true;
    case STEP_RETRY:
        *rc = core_retry(p->core, &id, NULL);
        SAME("core_retry", *rc, model_retry(p->model, &id));
        return true;
    case STEP_WAKE:
        *rc = core_wake(p->core, &id, NULL);
        SAME("core_wake", *rc, model_wake(p->model, &id));
        return true;
    case STEP_MOVE:
        *rc = core_move(p->core, &id, queue_step_queue(s->queue), NULL);
        SAME("core_move", *rc, model_move(p->model, &id, queue_step_queue(s->queue)));
        return true;
    case STEP_EDIT:
        *rc = core_edit(p->core, &id, place, bytes, false, NULL);
        SAME("core_edit", *rc, model_edit(p->model, &id, place, bytes));
        return true;
    default:
        *rc = core_purge(p->core, &id, NULL);
        SAME("core_purge", *rc, model_purge(p->model, &id));
        return true;
    }
}

static bool step_queue(struct queue_pair *p, const struct queue_step *s, int *rc)
{
    struct core_queue q;
    struct queue_step_texts texts;
    uint32_t a = 0, b = 0;
    const char *tenant = queue_step_tenant(s->queue), *name = queue_step_queue(s->queue);
    switch ((int)s->kind) {
    case STEP_DECLARE:
        queue_step_declare(s, &q, &texts);
        *rc = core_declare(p->core, &q, NULL);
        SAME("core_declare", *rc, model_declare(p->model, &q));
        return true;
    case STEP_DROP:
        *rc = core_drop(p->core, tenant, name, s->flag, NULL);
        SAME("core_drop", *rc, model_drop(p->model, tenant, name, s->flag));
        return true;
    case STEP_UNREGISTER:
        *rc = core_unregister(p->core, tenant, name, &a, NULL);
        SAME("core_unregister", *rc, model_unregister(p->model, tenant, name, &b));
        SAME("unregistered", a, b);
        return true;
    case STEP_ABANDON:
        core_abandon(p->core, tenant, name);
        model_abandon(p->model, tenant, name);
        return true;
    case STEP_PAUSE:
        *rc = core_pause(p->core, tenant, name, s->flag, NULL);
        SAME("core_pause", *rc, model_pause(p->model, tenant, name, s->flag));
        return true;
    default:
        *rc = core_close(p->core, tenant, name, s->flag, NULL);
        SAME("core_close", *rc, model_close(p->model, tenant, name, s->flag));
        return true;
    }
}

static bool step_limits(struct queue_pair *p, const struct queue_step *s, int *rc)
{
    struct core_gate g;
    const char *tenant = queue_step_tenant(s->queue), *gate = queue_step_gate(s->gate);
    const char *lane = queue_step_lane(s->lane);
    uint32_t weight = queue_step_weight(s), cap = queue_step_cap(s);
    int64_t until = s->flag ? 0 : p->now + s->ms;
    switch ((int)s->kind) {
    case STEP_LANE:
        *rc = core_lane(p->core, lane, weight, cap, NULL);
        SAME("core_lane", *rc, model_lane(p->model, lane, weight, cap));
        return true;
    case STEP_TENANT:
        *rc = core_tenant(p->core, tenant, weight, NULL);
        SAME("core_tenant", *rc, model_tenant(p->model, tenant, weight));
        return true;
    case STEP_GATE:
        queue_step_gate_of(s, &g);
        *rc = core_gate(p->core, &g, NULL);
        SAME("core_gate", *rc, model_gate(p->model, &g));
        return true;
    case STEP_GATE_BACKOFF:
        *rc = core_gate_backoff(p->core, tenant, gate, p->now + s->ms, NULL);
        SAME("core_gate_backoff", *rc, model_gate_backoff(p->model, tenant, gate, p->now + s->ms));
        return true;
    default:
        *rc = core_gate_close(p->core, tenant, gate, until, NULL);
        SAME("core_gate_close", *rc, model_gate_close(p->model, tenant, gate, until));
        return true;
    }
}

static bool call(struct queue_pair *p, const struct queue_step *s, int *rc)
{
    switch (s->kind) {
    case STEP_ENTRY:
    case STEP_UNIT:
    case STEP_UNDO_UNIT:
    case STEP_UNDO_ENTRY:
    case STEP_RELOAD:
        return true;
    case STEP_SEND:
        return step_send(p, s, rc);
    case STEP_SETTLE:
        return step_settle(p, s, rc);
    case STEP_OPEN:
    case STEP_RENEW:
    case STEP_LEAVE:
    case STEP_RETIRE:
        return step_consumer(p, s, rc);
    case STEP_LAPSE:
    case STEP_LAPSE_RECORD:
        return step_lapse(p, s, rc);
    case STEP_CANCEL:
    case STEP_RETRY:
    case STEP_WAKE:
    case STEP_MOVE:
    case STEP_EDIT:
    case STEP_PURGE:
        return step_operator(p, s, rc);
    case STEP_DECLARE:
    case STEP_DROP:
    case STEP_UNREGISTER:
    case STEP_ABANDON:
    case STEP_PAUSE:
    case STEP_CLOSE:
        return step_queue(p, s, rc);
    case STEP_LANE:
    case STEP_TENANT:
    case STEP_GATE:
    case STEP_GATE_CLOSE:
    case STEP_GATE_BACKOFF:
        return step_limits(p, s, rc);
    }
    return true;
}

bool queue_pair_step(struct queue_pair *p, const struct queue_step *s)
{
    int rc = 0;
    if (s->number >= p->numbers)
        p->numbers = s->number + 1;
    switch ((int)s->kind) {
    case STEP_ENTRY:
        if (s->number % 4 == 0 && !same_due(p))
            return false;
        return begin(p, s->ms);
    case STEP_UNIT:
        core_unit(p->core);
        model_unit(p->model);
        p->unit_hash = core_hash(p->core);
        return true;
    case STEP_UNDO_UNIT:
        return undo_unit(p);
    case STEP_UNDO_ENTRY:
        return undo_entry(p, s->ms);
    case STEP_RELOAD:
        return reload(p, s->ms);
    default:
        break;
    }
    if (!call(p, s, &rc))
        return false;
    if (rc != 0)
        return undo_unit(p); /* as the ledger does with a unit that was refused */
    return same_effects(p) && (!p->thorough || queue_pair_same(p));
}

void queue_pair_init(struct queue_pair *p)
{
    *p = (struct queue_pair){.core = core_new(), .model = model_new(), .now = 1000000};
    core_entry(p->core, ++p->seq, p->now, NULL);
    model_entry(p->model, p->seq, p->now);
    for (uint32_t i = 0; i < STEP_QUEUES; i++) {
        core_tenant(p->core, queue_step_tenant(i), 1, NULL);
        model_tenant(p->model, queue_step_tenant(i), 1);
    }
    for (uint32_t i = 0; i < STEP_LANES; i++) {
        core_lane(p->core, queue_step_lane(i), i + 1, UINT32_MAX, NULL);
        model_lane(p->model, queue_step_lane(i), i + 1, UINT32_MAX);
    }
    for (uint32_t i = 0; i < 3; i++) {
        struct queue_step s = {.kind = STEP_DECLARE, .queue = i * 2, .choice = {[4] = 1, [8] = 1}};
        struct core_queue q;
        struct queue_step_texts texts;
        queue_step_declare(&s, &q, &texts);
        core_declare(p->core, &q, NULL);
        model_declare(p->model, &q);
    }
    begin(p, 1);
}

void queue_pair_fini(struct queue_pair *p)
{
    core_free(p->core);
    model_free(p->model);
}
