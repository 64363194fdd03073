/* What people tell a schedule. */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "job/job_priv.h"
#include "job/run.h"

static struct job_decide decide_of(struct txn *t, struct db *db, const struct job_verb *v,
                                   struct job_schedule *s)
{
    return (struct job_decide){.txn = t,
                               .db = db,
                               .s = s,
                               .now = v->now,
                               .kind = JOB_TICK_TRIGGERED,
                               .author = v->by,
                               .make_id = v->make_id,
                               .arg = v->arg};
}

static int verb_check(const struct job_verb *v, struct err *e)
{
    if (v->reason == NULL || strlen(v->reason) <= JOB_REASON_BYTES)
        return 0;
    return err_field(e, ERR_INVALID, "reason", "reason: at most %d bytes", JOB_REASON_BYTES);
}

int job_txn_trigger(struct txn *t, struct db *db, const struct job_verb *v, struct job_decided *out,
                    struct err *e)
{
    struct job_schedule s;
    struct schedule_decision d;
    int rc = job_schedule_get(db, v->name, &s, e);
    if (rc != 0)
        return rc;
    struct job_decide x = decide_of(t, db, v, &s);
    schedule_trigger(&s.def.schedule, &s.state, v->now, &d);
    rc = job_decide_add(&x, &d, out, e);
    job_schedule_fini(&s);
    return rc;
}

int job_txn_pause(struct txn *t, struct db *db, const struct job_verb *v, struct err *e)
{
    struct job_schedule s;
    int rc = verb_check(v, e);
    if (rc == 0)
        rc = job_schedule_get(db, v->name, &s, e);
    if (rc != 0)
        return rc;
    struct job_decide x = decide_of(t, db, v, &s);
    schedule_pause(&s.state);
    job_pause_is(&s, v->by, v->reason != NULL ? v->reason : "", v->now);
    rc = job_state_add(&x, NULL, false, e);
    job_schedule_fini(&s);
    return rc;
}

static int resume_add(struct job_decide *x, struct job_decided *out, struct err *e)
{
    struct schedule_decision d;
    struct schedule_change change;
    struct job_schedule *s = x->s;
    bool found = schedule_resume(&s->def.schedule, &s->state, x->now, &d, &change);
    x->kind = JOB_TICK_DUE;
    if (found)
        *out = (struct job_decided){.verdict = d.verdict,
                                    .reason = d.reason,
                                    .due = d.due,
                                    .from = d.from,
                                    .to = d.to,
                                    .ticks = d.ticks};
    job_pause_is(s, "", "", 0);
    return job_state_add(x, found ? &d : NULL, change.start_waiting, e);
}

int job_txn_resume(struct txn *t, struct db *db, const struct job_verb *v, bool *resumed,
                   struct job_decided *out, struct err *e)
{
    struct job_schedule s;
    int rc = job_schedule_get(db, v->name, &s, e);
    if (rc != 0)
        return rc;
    struct job_decide x = decide_of(t, db, v, &s);
    *out = (struct job_decided){.ticks = 0};
    *resumed = s.state.paused;
    if (s.state.paused)
        rc = resume_add(&x, out, e);
    job_schedule_fini(&s);
    return rc;
}

/* ---- backfill ---- */

static int span_check(const struct job_schedule *s, const struct job_verb *v,
                      const struct job_span *span, uint32_t *count, struct err *e)
{
    int64_t due = span->from;
    if (s->def.schedule.kind == SCHEDULE_AFTER)
        return err_set(e, ERR_INVALID,
                       "schedule '%s' is due after the end of its last run: it has no times that "
                       "could be filled",
                       s->def.name);
    if (span->from >= span->to)
        return err_field(e, ERR_INVALID, "to", "to: is not behind `from`");
    if (span->to > v->now)
        return err_field(e, ERR_INVALID, "to",
                         "to: is in the future; what is due by itself needs "
                         "no backfill");
    *count = 0;
    while (schedule_due_after(&s->def.schedule, due, &due) && due <= span->to)
        if (++*count > JOB_BACKFILL_MAX)
            return err_field(e, ERR_INVALID, "from",
                             "over %d times between `from` and `to`: take a shorter span, several "
                             "times",
                             JOB_BACKFILL_MAX);
    if (*count == 0)
        return err_field(e, ERR_INVALID, "from", "nothing was due between `from` and `to`");
    return 0;
}

/* The key keeps the runs in line, one at a time. */
static int backfill_runs(const struct job_decide *x, const struct job_span *span,
                         const struct uuid *first, struct err *e)
{
    const struct schedule *s = &x->s->def.schedule;
    struct job_made m = {.id = *first, .kind = JOB_BACKFILL, .due = span->from, .from = span->from};
    char key[sizeof "backfill/" + JOB_NAME_MAX];
    snprintf(key, sizeof key, "backfill/%s", x->s->def.name);
    m.key = s->overlap == SCHEDULE_ALLOW ? NULL : key;
    int rc = 0;
    while (rc == 0 && schedule_due_after(s, m.due, &m.due) && m.due <= span->to) {
        m.to = m.due;
        rc = job_run_add(x, &m, e);
        m.from = m.due;
        x->make_id(x->arg, &m.id);
    }
    return rc;
}

int job_txn_backfill(struct txn *t, struct db *db, const struct job_verb *v,
                     const struct job_span *span, struct job_decided *out, struct err *e)
{
    struct job_schedule s;
    uint32_t count = 0;
    int rc = job_schedule_get(db, v->name, &s, e);
    if (rc != 0)
        return rc;
    struct job_decide x = decide_of(t, db, v, &s);
    if ((rc = span_check(&s, v, span, &count, e)) == 0) {
        *out = (struct job_decided){.verdict = SCHEDULE_RAN,
                                    .reason = "backfilled",
                                    .due = span->to,
                                    .from = span->from,
                                    .to = span->to,
                                    .ticks = count,
                                    .runs = count};
        v->make_id(v->arg, &out->run);
        x.kind = JOB_TICK_BACKFILLED;
        job_log_add(&x, out);
        rc = backfill_runs(&x, span, &out->run, e);
    }
    job_schedule_fini(&s);
    return rc;
}
