/* Queue core: manual queues. Who sees to a record and by when; what is over; and queues whose
 * records another part of Koan ends. */
#include <string.h>

#include "base/hash.h"
#include "queue/core_priv.h"

/* Ended ones of an owned queue, the newest. */
enum { OWNED_KEEP_COUNT = 10000 };
static const int64_t owned_keep_ms = INT64_C(30) * 86400 * 1000;

int owned_check(const struct queue *q, struct err *e)
{
    if (!q->o.owned)
        return 0;
    return err_field(e, ERR_CONFLICT, "queue",
                     "what waits in queue '%s' is an arrival that canon keeps, and ends with it: "
                     "resume or reject it there (koan canon resume, koan canon reject --parked)",
                     q->name);
}

static bool rec_waits(const struct rec *r)
{
    return r->state == REC_SCHEDULED || r->state == REC_AVAILABLE || r->state == REC_RETRYABLE;
}

/* ---- owner, due ---- */

void tended_set(struct core *c, uint32_t n, const char *owner, int64_t due_at)
{
    struct extra *x = rec_extra(c, n);
    struct tended *t = NULL;
    overdue_leave(c, n);
    if (owner[0] != '\0' || due_at != 0) {
        t = undo_alloc(&c->undo, sizeof *t + strlen(owner) + 1);
        t->due_at = due_at;
        memcpy(t->owner, owner, strlen(owner) + 1);
    }
    undo_free(&c->undo, x->tended);
    SAVE(c, x->tended);
    x->tended = t;
}

void tended_begin(struct core *c, uint32_t n)
{
    struct rec *r = core_rec(c, n);
    const struct queue *q = core_kind(c, r)->queue;
    const struct extra *x = core_extra(c, r);
    const struct tended *t = x == NULL ? NULL : x->tended;
    if (!q->o.manual) {
        if (t != NULL)
            tended_set(c, n, "", 0);
        return;
    }
    if (q->o.due_ms == 0 || (t != NULL && t->due_at != 0))
        return;
    int64_t from = rec_due(r) > c->at ? rec_due(r) : c->at;
    int64_t at = q->o.due_ms < TIME_MAX - from ? from + q->o.due_ms : TIME_MAX;
    tended_set(c, n, t == NULL ? "" : t->owner, at);
}

void overdue_mark(struct core *c, uint32_t n)
{
    struct extra *x = core_extra(c, core_rec(c, n));
    struct queue *q = core_kind(c, core_rec(c, n))->queue;
    SAVE(c, x->overdue);
    SAVE(c, q->overdue);
    x->overdue = true;
    q->overdue++;
    alarm_review(c, n);
}

void overdue_leave(struct core *c, uint32_t n)
{
    struct rec *r = core_rec(c, n);
    struct extra *x = core_extra(c, r);
    struct queue *q = core_kind(c, r)->queue;
    if (x == NULL || !x->overdue)
        return;
    SAVE(c, x->overdue);
    SAVE(c, q->overdue);
    x->overdue = false;
    q->overdue--;
}

static int tend_check(const struct core_tend *t, struct err *e)
{
    size_t owner = t->has_owner && t->owner != NULL ? strlen(t->owner) : 1;
    if (owner < 1 || owner > CORE_OWNER_MAX)
        return err_field(e, ERR_INVALID, "owner", "an owner has 1 to %d bytes", CORE_OWNER_MAX);
    if (t->due_at < 0 || t->due_at > TIME_MAX)
        return err_field(e, ERR_INVALID, "due", "a time before the year 2500");
    if (t->until < 0 || t->until > TIME_MAX)
        return err_field(e, ERR_INVALID, "snooze", "a time before the year 2500");
    return 0;
}

static int tend_find(const struct core *c, const struct uuid *id, uint32_t *n, struct err *e)
{
    *n = rec_find(c, core_fingerprint(id));
    if (*n == NONE)
        return err_field(e, ERR_NOT_FOUND, "id", "there is no such record");
    const struct rec *r = core_rec(c, *n);
    const struct queue *q = core_kind(c, r)->queue;
    if (!q->o.manual)
        return err_set(e, ERR_CONFLICT,
                       "queue '%s' is not manual: its records have no owner, due time or snooze; "
                       "declare it with manual, or move the record to one that is",
                       q->name);
    if (!rec_waits(r))
        return err_set(e, ERR_CONFLICT, "the record does not wait: it is %s",
                       rec_state_name((enum rec_state)r->state));
    return 0;
}

static void tend_snooze(struct core *c, uint32_t n, int64_t until)
{
    if (until <= c->at && core_rec(c, n)->state == REC_AVAILABLE)
        return;
    rec_extra(c, n); /* which remembers when it was to be worked first */
    rec_unstand(c, n);
    rec_later(c, n, until, REC_SCHEDULED);
}

int core_tend(struct core *c, const struct uuid *id, const struct core_tend *t, struct err *e)
{
    uint32_t n = NONE;
    int rc = tend_check(t, e);
    if (rc == 0)
        rc = tend_find(c, id, &n, e);
    if (rc < 0)
        return rc;
    const struct rec *r = core_rec(c, n);
    const struct extra *x = core_extra(c, r);
    const struct tended *had = x == NULL ? NULL : x->tended;
    const char *owner = had == NULL ? "" : had->owner;
    int64_t due_at = had == NULL ? 0 : had->due_at;
    if (t->has_owner)
        owner = t->owner == NULL ? "" : t->owner;
    if (t->has_due)
        due_at = t->due_at;
    core_decide(c, 0x23, r, hash64((uint64_t)due_at, owner, strlen(owner)));
    rec_note_move(c, n, VERB_EDIT, NULL, REASON_NONE);
    tended_set(c, n, owner, due_at);
    if (t->has_until)
        tend_snooze(c, n, t->until);
    alarm_review(c, n);
    grants_make(c);
    return 0;
}

/* ---- owned queues ---- */

static void queue_own(struct core *c, struct queue *q, const struct core_manual *m)
{
    if (q->o.owned && q->o.manual)
        return;
    struct core_queue o = q->o;
    o.manual = true;
    o.handled = false;
    if (m->anew || o.due_ms == 0)
        o.due_ms = m->due_ms;
    if (m->anew || o.keep_completed_ms == 0)
        o.keep_completed_ms = owned_keep_ms;
    if (m->anew || o.keep_count == 0)
        o.keep_count = OWNED_KEEP_COUNT;
    queue_set(c, q, &o);
    SAVE(c, q->o.owned);
    q->o.owned = true;
}

/* Owner and due time of one that waits in the same queue. */
static void tended_pass(struct core *c, const struct uuid *from, uint32_t to)
{
    uint32_t n = from == NULL ? NONE : rec_find(c, core_fingerprint(from));
    const struct rec *r = n == NONE ? NULL : core_rec(c, n);
    if (r == NULL || !rec_waits(r) ||
        core_kind(c, r)->queue != core_kind(c, core_rec(c, to))->queue)
        return;
    const struct extra *x = core_extra(c, r);
    const struct tended *t = x == NULL ? NULL : x->tended;
    tended_set(c, to, t == NULL ? "" : t->owner, t == NULL ? 0 : t->due_at);
    alarm_review(c, to);
}

int core_send_manual(struct core *c, const struct core_send *s, const struct core_manual *m,
                     bool *sent, struct err *e)
{
    struct core_send mine = *s;
    struct core_sent out;
    /* It ends with what it stands for, whatever its queue says of times and gates. */
    mine.always = mine.large = mine.no_gates = true;
    mine.gates_count = 0;
    mine.ttl_ms = -1;
    *sent = false;
    int rc = rec_reserve(c, e);
    struct queue *q = rc < 0 ? NULL : queue_get(c, s->tenant, s->queue, true, NULL);
    if (q == NULL || rec_find(c, core_fingerprint(&s->id)) != NONE)
        return rc;
    queue_own(c, q, m);
    rc = core_send(c, &mine, &out, e);
    if (rc < 0 && rc != ERR_NOMEM) {
        err_clear(e);
        return 0;
    }
    if (rc < 0)
        return rc;
    *sent = true;
    tended_pass(c, m->follows, rec_find(c, core_fingerprint(&s->id)));
    return 0;
}

void core_worked(struct core *c, const struct core_worked *w)
{
    uint32_t n = rec_find(c, core_fingerprint(&w->id));
    const struct rec *r = n == NONE ? NULL : core_rec(c, n);
    struct queue *q = r == NULL ? NULL : core_kind(c, r)->queue;
    if (r == NULL || !q->o.manual || !rec_waits(r))
        return;
    if (w->cancelled && !w->forget)
        rec_note_move(c, n, VERB_CANCEL, NULL, REASON_NONE);
    rec_unstand(c, n);
    if (w->has_result) {
        struct extra *x = rec_extra(c, n);
        SAVE(c, x->result);
        x->result = w->place;
        c->settled = n;
        c->settled_place = w->place;
    }
    if (!w->cancelled) {
        SAVE(c, q->acked);
        q->acked++;
    }
    rec_finish(c, n, w->cancelled ? REC_CANCELLED : REC_COMPLETED, REASON_NONE);
    c->settled = NONE;
    n = w->forget ? rec_find(c, core_fingerprint(&w->id)) : NONE;
    if (n != NONE)
        rec_forget(c, n);
    grants_make(c);
}

void core_forget(struct core *c, const struct uuid *id)
{
    uint32_t n = rec_find(c, core_fingerprint(id));
    const struct rec *r = n == NONE ? NULL : core_rec(c, n);
    if (r == NULL || !core_kind(c, r)->queue->o.owned || r->state == REC_EXECUTING)
        return;
    rec_purge(c, n);
    grants_make(c);
}
