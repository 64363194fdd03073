/* Queue core: what operators do to records. */
#include <string.h>

#include "queue/core_priv.h"

void core_by(struct core *c, const char *who, const char *why)
{
    c->who = who;
    c->why = why;
}

static int operate_find(const struct core *c, const struct uuid *id, uint32_t *n, struct err *e)
{
    *n = rec_find(c, core_fingerprint(id));
    if (*n == NONE)
        return err_field(e, ERR_NOT_FOUND, "id", "there is no such record");
    return 0;
}

static bool is_ended(const struct rec *r)
{
    return r->state >= REC_COMPLETED;
}

static int is_executing(struct err *e)
{
    return err_set(e, ERR_CONFLICT,
                   "the record is executing; cancel it, or wait for the end of its lease");
}

/* One that may be changed: it is not executing, and operators may. */
static int operate_idle(const struct core *c, const struct uuid *id, uint32_t *n, struct err *e)
{
    int rc = operate_find(c, id, n, e);
    if (rc == 0)
        rc = owned_check(core_kind(c, core_rec(c, *n))->queue, e);
    return rc == 0 && core_rec(c, *n)->state == REC_EXECUTING ? is_executing(e) : rc;
}

int core_cancel(struct core *c, const struct uuid *id, bool *asked, struct err *e)
{
    uint32_t n;
    int rc = operate_find(c, id, &n, e);
    if (rc < 0)
        return rc;
    const struct rec *r = core_rec(c, n);
    rc = owned_check(core_kind(c, r)->queue, e);
    if (rc < 0)
        return rc;
    *asked = r->state == REC_EXECUTING;
    if (is_ended(r))
        return err_set(e, ERR_CONFLICT, "the record has ended: it is %s",
                       rec_state_name((enum rec_state)r->state));
    if (*asked) {
        struct extra *x = core_extra(c, r);
        SAVE(c, x->asked);
        x->asked = true;
        rec_note_move(c, n, VERB_CANCEL, NULL, REASON_NONE);
        core_effect(c, EFFECT_CANCEL, n);
        return 0;
    }
    rec_note_move(c, n, VERB_CANCEL, NULL, REASON_NONE);
    rec_unstand(c, n);
    rec_finish(c, n, REC_CANCELLED, REASON_NONE);
    grants_make(c);
    return 0;
}

/* Out of the list of ended ones, or from where it waits to be due. */
static void retry_take(struct core *c, uint32_t n)
{
    struct rec *r = core_rec(c, n);
    struct queue *q = core_kind(c, r)->queue;
    if (!is_ended(r)) {
        rec_unstand(c, n);
        return;
    }
    fifo_remove(c, queue_ended(q, (enum rec_state)r->state), n);
    rec_set_where(c, r, WHERE_NOWHERE);
    purge_review(c, q);
}

/* What people try first with a dead letter that moved. */
static int is_available(const struct core *c, const struct uuid *id, uint32_t n, struct err *e)
{
    const struct extra *x = core_extra(c, core_rec(c, n));
    const struct queue *from = NULL;
    char text[UUID_TEXT];
    for (uint8_t i = 0; x != NULL && i < x->died_count; i++)
        from = x->died[i] != NULL ? x->died[i] : from;
    if (from == NULL)
        return err_set(e, ERR_CONFLICT, "it is available already, and waits for a consumer");
    uuid_format(id, text);
    return err_set(e, ERR_CONFLICT,
                   "it is available already, and waits here for a consumer; to bring it back to "
                   "where it died: koan queue move %s %s %s",
                   core_kind(c, core_rec(c, n))->queue->name, from->name, text);
}

int core_retry(struct core *c, const struct uuid *id, struct err *e)
{
    uint32_t n;
    int rc = operate_idle(c, id, &n, e);
    if (rc < 0)
        return rc;
    struct rec *r = core_rec(c, n);
    if (r->state == REC_AVAILABLE)
        return is_available(c, id, n, e);
    rec_note_move(c, n, VERB_RETRY, NULL, REASON_NONE);
    retry_take(c, n);
    struct extra *x = core_extra(c, r);
    bool halts = x != NULL && x->halts;
    rec_renew(c, n);
    if (halts) {
        SAVE(c, x->halts);
        SAVE(c, x->keyline->halted);
        x->halts = false;
        x->keyline->halted--;
        keyline_join(c, n, true);
    }
    rec_available(c, n);
    grants_make(c);
    return 0;
}

int core_wake(struct core *c, const struct uuid *id, struct err *e)
{
    uint32_t n;
    int rc = operate_find(c, id, &n, e);
    if (rc < 0 || core_rec(c, n)->state != REC_SCHEDULED)
        return rc;
    rec_unstand(c, n);
    rec_extra(c, n); /* which remembers when it was to run: its deadline counts from there */
    rec_later(c, n, c->at, REC_SCHEDULED);
    grants_make(c);
    return 0;
}

int core_move(struct core *c, const struct uuid *id, const char *queue, struct err *e)
{
    uint32_t n;
    int rc = operate_idle(c, id, &n, e);
    if (rc < 0)
        return rc;
    struct rec *r = core_rec(c, n);
    struct queue *q = core_kind(c, r)->queue;
    struct queue *to = queue_get(c, q->tenant->name, queue, false, e);
    if (to == NULL)
        return ERR_NOT_FOUND;
    if (to == q)
        return err_field(e, ERR_CONFLICT, "queue", "the record is in queue '%s' already", queue);
    if (to->closed)
        return err_field(e, ERR_CONFLICT, "queue", "queue '%s' is closed", queue);
    if (to->o.owned)
        return owned_check(to, e);
    rec_note_move(c, n, VERB_MOVE, to, REASON_NONE);
    bool ended = is_ended(r);
    enum rec_state state = (enum rec_state)r->state;
    const struct extra *x = core_extra(c, r);
    bool stood = x != NULL && x->keyline != NULL && keyline_has(x);
    retry_take(c, n);
    keyline_unhalt(c, n);
    rec_move(c, n, to);
    if (stood)
        keyline_join(c, n, false);
    if (ended)
        rec_renew(c, n);
    if (ended || state == REC_AVAILABLE)
        rec_available(c, n);
    else
        rec_later(c, n, rec_due(r), state);
    grants_make(c);
    return 0;
}

int core_edit(struct core *c, const struct uuid *id, uint64_t place, uint32_t bytes, bool large,
              struct err *e)
{
    uint32_t n;
    int rc = operate_idle(c, id, &n, e);
    if (rc < 0)
        return rc;
    const struct rec *r = core_rec(c, n);
    if (r->state == REC_COMPLETED || r->state == REC_CANCELLED)
        return err_set(e, ERR_CONFLICT, "the record has ended: it is %s",
                       rec_state_name((enum rec_state)r->state));
    rc = large ? 0 : queue_body_check(core_kind(c, r)->queue, bytes, e);
    if (rc < 0)
        return rc;
    rec_note_move(c, n, VERB_EDIT, NULL, REASON_NONE);
    rec_replace_body(c, n, place, bytes, true);
    return 0;
}

void rec_purge(struct core *c, uint32_t n)
{
    if (!is_ended(core_rec(c, n))) {
        rec_unstand(c, n);
        core_effect(c, EFFECT_PURGED, n);
    }
    keyline_leave(c, n);
    rec_forget(c, n);
}

int core_purge(struct core *c, const struct uuid *id, struct err *e)
{
    uint32_t n;
    int rc = operate_idle(c, id, &n, e);
    if (rc < 0)
        return rc;
    rec_purge(c, n);
    grants_make(c);
    return 0;
}
