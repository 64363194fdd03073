/* Queue core: reading. */
#include <string.h>

#include "base/str.h"
#include "queue/core_priv.h"

const char *rec_state_name(enum rec_state s)
{
    static const char *const names[] = {"none",      "scheduled", "available", "executing",
                                        "retryable", "completed", "discarded", "cancelled"};
    return (unsigned)s < sizeof names / sizeof names[0] ? names[s] : names[0];
}

const char *rec_reason_name(enum rec_reason r)
{
    static const char *const names[REASON_COUNT] = {
        "",       "attempts",     "rejected",    "expired",  "deferred_too_long", "timeout",
        "lapsed", "unregistered", "undecodable", "overflow", "no_subscriber",     "tenant_gone"};
    return (unsigned)r < REASON_COUNT ? names[r] : "";
}

/* ---- why it does not run ---- */

static enum core_waits waits_say(struct core_view *v, enum core_waits w, const char *name)
{
    str_copy(v->waits_for, sizeof v->waits_for, name);
    return w;
}

static bool consumer_takes(const struct consumer *s, const struct queue *q)
{
    bool takes = s->worker && q->o.handled;
    for (uint32_t i = 0; i < s->subs_count && !takes; i++)
        takes = s->subs[i].queue == q;
    return takes;
}

/* Who takes from its queue decides: nobody, nobody with its labels or with enough of them just now,
 * or they are busy. *name: the label. */
static enum core_waits line_waits(const struct core *c, const struct line *l, const char **name)
{
    const struct needs *needs = l->needs;
    uint32_t had = 0; /* a bit for each label that somebody has */
    uint32_t lacks = needs->count;
    bool taken = false, could = false;
    for (const struct consumer *s = c->consumers; s != NULL; s = s->next) {
        if (!consumer_takes(s, l->queue))
            continue;
        taken = true;
        if (consumer_could(s, needs)) {
            uint32_t first = s->held < s->credit ? consumer_lacks(s, needs) : needs->count;
            lacks = first < lacks ? first : lacks;
            could = true;
        }
        for (uint32_t i = 0; i < needs->count; i++)
            had |= consumer_has(s, &needs->labels[i]) ? UINT32_C(1) << i : 0;
    }
    *name = "";
    if (!taken || (could && lacks == needs->count))
        return taken ? WAITS_CONSUMER : WAITS_HANDLER;
    for (uint32_t i = 0; i < needs->count && !could && lacks == needs->count; i++)
        lacks = (had >> i & 1) == 0 ? i : lacks;
    if (lacks < needs->count)
        *name = needs->labels[lacks].name;
    return WAITS_LABEL;
}

uint64_t queue_unfit(const struct core *c, const struct queue *q)
{
    uint64_t unfit = 0;
    const char *name;
    if (q->o.manual || !queue_is_runnable(q))
        return 0;
    for (const struct line *l = q->lines; l != NULL; l = l->next)
        if (l->count > 0 && (l->needs->count > 0 || c->onlies > 0) &&
            line_waits(c, l, &name) == WAITS_LABEL)
            unfit += l->count;
    return unfit;
}

static enum core_waits waits_of(const struct core *c, uint32_t n, struct core_view *v)
{
    const struct rec *r = core_rec(c, n);
    const struct extra *x = core_extra(c, r);
    const struct kind *k = core_kind(c, r);
    const struct queue *q = k->queue;
    const struct lane *lane = k->line->lane;
    if (r->state != REC_AVAILABLE || r->where == WHERE_AGAIN)
        return WAITS_NOTHING;
    if (q->o.manual)
        return WAITS_PEOPLE;
    if (q->paused)
        return WAITS_PAUSE;
    if (keyline_blocks(c, n))
        return waits_say(v, x->keyline->halted > 0 ? WAITS_DECISION : WAITS_KEY, x->keyline->text);
    const struct gate *g = gate_blocking(c, x);
    if (g != NULL)
        return waits_say(v, WAITS_GATE, g->name);
    if (!queue_is_runnable(q))
        return WAITS_CONCURRENCY;
    if (lane->executing >= lane->cap)
        return waits_say(v, WAITS_LANE, lane->name);
    const char *name;
    enum core_waits w = line_waits(c, k->line, &name);
    return waits_say(v, w, name);
}

int core_look(const struct core *c, const struct uuid *id, struct core_view *out, struct err *e)
{
    uint32_t n = rec_find(c, core_fingerprint(id));
    if (n == NONE)
        return err_field(
            e, ERR_NOT_FOUND, "id",
            "there is no such record: it was never sent, or has ended and is not kept");
    const struct rec *r = core_rec(c, n);
    const struct extra *x = core_extra(c, r);
    const struct kind *k = core_kind(c, r);
    *out = (struct core_view){.state = (enum rec_state)r->state,
                              .tenant = k->queue->tenant->name,
                              .queue = k->queue->name,
                              .lane = k->line->lane->name,
                              .place = r->place,
                              .body = r->place,
                              .bytes = r->bytes,
                              .run_at = rec_due(r),
                              .attempts = (uint32_t)r->attempts,
                              .deliveries = (uint32_t)r->deliveries,
                              .attempts_max = k->attempts,
                              .priority = k->priority};
    out->waits = waits_of(c, n, out);
    if (x == NULL)
        return 0;
    out->reason = (enum rec_reason)x->reason;
    if (r->state == REC_CANCELLED)
        past_cancelled(x, out);
    out->body = x->body != 0 ? x->body : r->place;
    out->edited = x->edited;
    out->result = x->result;
    out->overdue = x->overdue;
    if (x->tended != NULL) {
        str_copy(out->owner, sizeof out->owner, x->tended->owner);
        out->due_at = x->tended->due_at;
    }
    if (x->errors != NULL && x->errors->count > 0) {
        const struct rec_error *last = &x->errors->ring[(x->errors->count - 1) % CORE_ERRORS_KEPT];
        out->error = last->place;
        out->error_code = last->code;
    }
    if (r->state != REC_EXECUTING)
        return 0;
    out->token = x->token;
    out->cancel_asked = x->asked;
    out->lease_until = x->own_lease != 0 ? x->own_lease : x->consumer->expires;
    out->consumer = x->consumer->id;
    return 0;
}

const struct core_effect *core_effects(const struct core *c, size_t *count)
{
    *count = c->effects_count;
    return c->effects;
}

const struct core_noted *core_noted(const struct core *c, size_t *count)
{
    *count = c->noted_count;
    return c->noted;
}

/* The smallest places come first: a heap of the `max` best would do for more; pages are short. */
size_t core_list(const struct core *c, const char *tenant, const char *queue, enum rec_state state,
                 uint64_t after, uint64_t *places, size_t max)
{
    const struct queue *q = queue_find(c, tenant, queue);
    size_t count = 0;
    for (uint32_t n = 1; q != NULL && max > 0 && n < c->recs_count; n++) {
        const struct rec *r = core_rec(c, n);
        bool is =
            state != REC_ANY ? r->state == state : r->state != REC_ANY && r->state != REC_EXECUTING;
        if (!is || core_kind(c, r)->queue != q || r->place <= after)
            continue;
        if (count == max && r->place >= places[max - 1])
            continue;
        size_t at = count < max ? count++ : max - 1;
        for (; at > 0 && places[at - 1] > r->place; at--)
            places[at] = places[at - 1];
        places[at] = r->place;
    }
    return count;
}

static bool filter_has(const struct core_filter *f, const struct queue *q)
{
    if (strcmp(q->tenant->name, f->tenant) != 0)
        return false;
    return f->queue != NULL ? strcmp(q->name, f->queue) == 0 : str_starts(q->name, f->prefix);
}

size_t core_list_newest(const struct core *c, const struct core_filter *f, uint64_t *places,
                        size_t max)
{
    size_t count = 0;
    for (uint32_t n = 1; max > 0 && n < c->recs_count; n++) {
        const struct rec *r = core_rec(c, n);
        if ((f->states >> r->state & 1) == 0 || r->state == 0 ||
            (f->before != 0 && r->place >= f->before) ||
            (count == max && r->place <= places[max - 1]) || !filter_has(f, core_kind(c, r)->queue))
            continue;
        size_t at = count < max ? count++ : max - 1;
        for (; at > 0 && places[at - 1] < r->place; at--)
            places[at] = places[at - 1];
        places[at] = r->place;
    }
    return count;
}
