/* A decision about a schedule as operations of a unit: job.schedule in front, then what the queue
 * is to do for it. */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "job/args.h"
#include "job/job_priv.h"
#include "job/run.h"
#include "ledger/txn.h"
#include "queue/queue.h"

static struct text text_of(const char *s)
{
    return (struct text){s, strlen(s)};
}

static void fill(const struct job_decide *x, struct job_change *ch)
{
    const struct job_schedule *s = x->s;
    ch->name = text_of(s->def.name);
    ch->revision = s->revision;
    ch->spec = text_of(s->spec);
    ch->state = s->state;
    ch->pause_by = text_of(s->pause_by);
    ch->pause_reason = text_of(s->pause_reason);
    ch->paused_at = s->paused_at;
}

void job_pause_is(struct job_schedule *s, const char *by, const char *reason, int64_t at)
{
    mem_free(s->pause_by);
    mem_free(s->pause_reason);
    s->pause_by = mem_strdup(by);
    s->pause_reason = mem_strdup(reason);
    s->paused_at = at;
}

/* ---- runs under way ---- */

#define DECIDE_INSTEAD "another run of the schedule takes its place"

static int stop_one(const struct job_decide *x, const struct job_waited *w, enum schedule_stop stop,
                    struct err *e)
{
    if (stop != SCHEDULE_STOP_NOW || w->waits) {
        return job_txn_cancel(x->txn, &w->run, &(struct job_why){x->s->def.name, DECIDE_INSTEAD},
                              e);
    }
    queue_txn_cancel(x->txn, &w->run);
    struct job_end end = {.run = w->run,
                          .outcome = JOB_CANCELLED,
                          .terminate = true,
                          .make_id = x->make_id,
                          .arg = x->arg};
    int rc = job_txn_end(x->txn, x->db, &end, e);
    return rc == ERR_GONE ? 0 : rc;
}

static bool goes(const struct job_waited *w, const struct schedule_decision *d)
{
    return w->waits ? d->drop_waiting : d->stop == SCHEDULE_STOP_NOW;
}

static int stop_all(const struct job_decide *x, const struct schedule_decision *d,
                    const struct job_waited *list, int count, struct err *e)
{
    int rc = 0;
    for (int i = 0; i < count && rc == 0; i++) {
        bool asked = !list[i].waits && d->stop == SCHEDULE_STOP_ASK;
        if (list[i].outcome == 0 && (asked || goes(&list[i], d)))
            rc = stop_one(x, &list[i], d->stop, e);
    }
    return rc;
}

/* The runs that are waited for: their count, or an error; and room for so many ids. The caller
 * frees both, after an error too. */
static int waited_read(const struct job_decide *x, size_t ids_max, struct job_waited **list,
                       struct uuid **ids, struct err *e)
{
    *list = mem_try(JOB_WAITED_MAX * sizeof **list);
    *ids = mem_try(ids_max * sizeof **ids);
    if (*list == NULL || *ids == NULL)
        return err_set(e, ERR_NOMEM, "no memory to decide about schedule '%s'", x->s->def.name);
    return job_waited_list(x->db, x->s->def.name, *list, JOB_WAITED_MAX, e);
}

/* ---- the run ---- */

int job_run_add(const struct job_decide *x, const struct job_made *m, struct err *e)
{
    AUTO(buf_fini) struct buf args = BUF_INIT(QUEUE_BODY_MAX + 1);
    struct queue_message msg;
    int rc = job_args_scheduled(&x->s->def, &args, e);
    if (rc != 0 && rc != ERR_INVALID)
        return rc;
    job_def_message(&x->s->def, &msg);
    msg.send.id = m->id;
    msg.send.run_at = m->waits ? JOB_WAITS_UNTIL : 0;
    msg.send.key = m->key;
    msg.body = args.data;
    msg.body_len = args.len;
    struct job_submit sub = {.def = &x->s->def,
                             .message = &msg,
                             .kind = m->kind,
                             .schedule = x->s->def.name,
                             .has_window = true,
                             .from = m->from,
                             .to = m->to,
                             .scheduled_at = m->due,
                             .row = true};
    return job_txn_submit(x->txn, &sub, e);
}

/* ---- a decision ---- */

static void told(const struct schedule_decision *d, const struct job_tick *k,
                 struct job_decided *out)
{
    *out = (struct job_decided){.verdict = d->verdict,
                                .reason = d->reason,
                                .due = d->due,
                                .from = d->from,
                                .to = d->to,
                                .ticks = d->ticks,
                                .runs = k->runs,
                                .run = k->run};
}

static void decided(const struct job_decide *x, const struct schedule_decision *d,
                    struct job_change *ch)
{
    bool run = d->start != SCHEDULE_START_NONE;
    ch->decided = true;
    ch->tick = (struct job_tick){.kind = x->kind,
                                 .verdict = d->verdict,
                                 .reason = text_of(d->reason),
                                 .due = d->due,
                                 .from = d->from,
                                 .to = d->to,
                                 .opening = d->opening,
                                 .ticks = d->ticks,
                                 .runs = run,
                                 .author = text_of(x->author)};
    ch->made = run;
    ch->waits = d->start == SCHEDULE_START_WAITING;
    if (run)
        x->make_id(x->arg, &ch->tick.run);
}

int job_decide_add(const struct job_decide *x, const struct schedule_decision *d,
                   struct job_decided *out, struct err *e)
{
    struct job_change ch = {.revision = 0};
    AUTO(mem_freep) struct job_waited *list = NULL;
    AUTO(mem_freep) struct uuid *gone = NULL;
    int count = waited_read(x, JOB_WAITED_MAX, &list, &gone, e);
    if (count < 0)
        return count;
    for (int i = 0; i < count; i++)
        if (goes(&list[i], d))
            gone[ch.gone_count++] = list[i].run;
    ch.gone = gone;
    fill(x, &ch);
    decided(x, d, &ch);
    job_change_add(x->txn, &ch);
    int rc = stop_all(x, d, list, count, e);
    if (rc == 0 && ch.made)
        rc =
            job_run_add(x,
                        &(struct job_made){.id = ch.tick.run,
                                           .kind = x->kind == JOB_TICK_DUE ? JOB_TICK : JOB_TRIGGER,
                                           .due = d->due,
                                           .from = d->from,
                                           .to = d->to,
                                           .waits = ch.waits},
                        e);
    told(d, &ch.tick, out);
    return rc;
}

/* ---- ends ---- */

static enum schedule_outcome outcome_of(const struct job_waited *w)
{
    return w->outcome == JOB_COMPLETED   ? SCHEDULE_SUCCEEDED
           : w->outcome == JOB_DISCARDED ? SCHEDULE_FAILED
                                         : SCHEDULE_CANCELLED;
}

static void account(const struct job_decide *x, const struct job_waited *w,
                    struct schedule_change *change)
{
    struct job_schedule *s = x->s;
    char why[64];
    *change = (struct schedule_change){.paused = false};
    if (w->waits) {
        schedule_waiting_gone(&s->state);
        return;
    }
    schedule_ended(&s->def.schedule, &s->state, w->ended, outcome_of(w), change);
    if (!change->paused)
        return;
    snprintf(why, sizeof why, "%u failures in a row", s->state.failures);
    job_pause_is(s, "", why, x->now);
}

/* The oldest that waits and was not started yet. */
static const struct job_waited *next_waiting(struct job_waited *list, int count)
{
    for (int i = 0; i < count; i++)
        if (list[i].waits && list[i].outcome == 0) {
            list[i].waits = false;
            return &list[i];
        }
    return NULL;
}

/* First those that were cancelled while they waited: they do not start any more. */
static void account_all(const struct job_decide *x, struct job_waited *list, int count,
                        struct job_change *ch, struct uuid *gone, struct uuid *started)
{
    struct schedule_change change;
    for (int pass = 0; pass < 2; pass++)
        for (int i = 0; i < count; i++) {
            if (list[i].outcome == 0 || list[i].waits != (pass == 0))
                continue;
            gone[ch->gone_count++] = list[i].run;
            account(x, &list[i], &change);
            const struct job_waited *w = change.start_waiting ? next_waiting(list, count) : NULL;
            if (w != NULL)
                started[ch->started_count++] = w->run;
        }
}

int job_ends_add(const struct job_decide *x, struct err *e)
{
    struct job_change ch = {.revision = 0};
    AUTO(mem_freep) struct job_waited *list = NULL;
    AUTO(mem_freep) struct uuid *gone = NULL;
    int count = waited_read(x, 2 * JOB_WAITED_MAX, &list, &gone, e);
    if (count < 0)
        return count;
    ch.gone = gone;
    ch.started = gone + JOB_WAITED_MAX;
    account_all(x, list, count, &ch, gone, gone + JOB_WAITED_MAX);
    if (ch.gone_count == 0)
        return 0;
    fill(x, &ch);
    job_change_add(x->txn, &ch);
    for (uint32_t i = 0; i < ch.started_count; i++)
        queue_txn_wake(x->txn, &ch.started[i]);
    return 0;
}

static void account_left(const struct job_decide *x, const struct job_waited *w)
{
    struct schedule_state *st = &x->s->state;
    if (w->waits) {
        schedule_waiting_gone(st);
        return;
    }
    ASSERT(st->running > 0);
    st->running--;
    st->ended = w->ended;
}

int job_left_add(const struct job_decide *x, struct err *e)
{
    struct job_change ch = {.revision = 0};
    struct schedule_state *st = &x->s->state;
    AUTO(mem_freep) struct job_waited *list = NULL;
    AUTO(mem_freep) struct uuid *gone = NULL;
    int count = waited_read(x, JOB_WAITED_MAX, &list, &gone, e);
    if (count < 0)
        return count;
    for (int i = 0; i < count; i++)
        if (list[i].outcome != 0) {
            gone[ch.gone_count++] = list[i].run;
            account_left(x, &list[i]);
        }
    const struct job_waited *w = st->running == 0 ? next_waiting(list, count) : NULL;
    if (w != NULL) {
        st->waiting--;
        st->running++;
    }
    ch.gone = gone;
    ch.started = w != NULL ? &w->run : NULL;
    ch.started_count = w != NULL;
    if (ch.gone_count + ch.started_count == 0)
        return 0;
    fill(x, &ch);
    job_change_add(x->txn, &ch);
    if (w != NULL)
        queue_txn_wake(x->txn, &w->run);
    return 0;
}

void job_log_add(const struct job_decide *x, const struct job_decided *d)
{
    struct job_change ch = {.decided = true,
                            .tick = {.kind = x->kind,
                                     .verdict = d->verdict,
                                     .reason = text_of(d->reason),
                                     .due = d->due,
                                     .from = d->from,
                                     .to = d->to,
                                     .opening = SCHEDULE_NEVER,
                                     .ticks = d->ticks,
                                     .runs = d->runs,
                                     .run = d->run,
                                     .author = text_of(x->author)}};
    fill(x, &ch);
    job_change_add(x->txn, &ch);
}

/* ---- a change without a decision about a run ---- */

int job_state_add(const struct job_decide *x, const struct schedule_decision *d, bool start_waiting,
                  struct err *e)
{
    struct job_change ch = {.revision = 0};
    AUTO(mem_freep) struct job_waited *list = mem_try(JOB_WAITED_MAX * sizeof *list);
    if (list == NULL)
        return err_set(e, ERR_NOMEM, "no memory to decide about schedule '%s'", x->s->def.name);
    int count = start_waiting ? job_waited_list(x->db, x->s->def.name, list, JOB_WAITED_MAX, e) : 0;
    if (count < 0)
        return count;
    const struct job_waited *w = start_waiting ? next_waiting(list, count) : NULL;
    if (start_waiting && w == NULL)
        return err_set(e, ERR_CONFLICT, "a run of schedule '%s' ends just now: try again",
                       x->s->def.name);
    fill(x, &ch);
    if (d != NULL)
        decided(x, d, &ch);
    if (w != NULL) {
        ch.started = &w->run;
        ch.started_count = 1;
    }
    job_change_add(x->txn, &ch);
    if (w != NULL)
        queue_txn_wake(x->txn, &w->run);
    return 0;
}
