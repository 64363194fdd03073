/* job.schedule: as bytes, and applied. */
#include <string.h>

#include "base/mem.h"
#include "db/db.h"
#include "job/job_priv.h"
#include "ledger/txn.h"

enum { CHANGE_RUNS_MAX = 2 * SCHEDULE_WAITING_MAX, CHANGE_SPEC_BYTES = 4 << 10 };

static void add_text(struct buf *b, struct text s)
{
    buf_add_bytes(b, s.p, s.n);
}

static void add_state(struct buf *b, const struct schedule_state *st)
{
    const int64_t times[] = {st->since, st->decided, st->covered,
                             st->from,  st->ended,   st->deferred};
    for (size_t i = 0; i < ARRAY_LEN(times); i++)
        buf_add_u64(b, (uint64_t)times[i]);
    buf_add_u32(b, st->running);
    buf_add_u32(b, st->waiting);
    buf_add_u32(b, st->failures);
    buf_add_u8(b, st->paused);
}

static void add_tick(struct buf *b, const struct job_tick *k)
{
    const int64_t times[] = {k->due, k->from, k->to, k->opening};
    buf_add_u8(b, (uint8_t)k->kind);
    buf_add_u8(b, (uint8_t)k->verdict);
    add_text(b, k->reason);
    for (size_t i = 0; i < ARRAY_LEN(times); i++)
        buf_add_u64(b, (uint64_t)times[i]);
    buf_add_u32(b, k->ticks);
    buf_add_u32(b, k->runs);
    buf_add(b, k->run.b, sizeof k->run.b);
    add_text(b, k->author);
}

void job_change_add(struct txn *t, const struct job_change *ch)
{
    struct buf *b = txn_begin(t, JOB_OP_SCHEDULE, 1);
    add_text(b, ch->name);
    buf_add_u64(b, ch->revision);
    add_text(b, ch->spec);
    add_state(b, &ch->state);
    add_text(b, ch->pause_by);
    add_text(b, ch->pause_reason);
    buf_add_u64(b, (uint64_t)ch->paused_at);
    buf_add_u8(b, ch->decided);
    if (ch->decided)
        add_tick(b, &ch->tick);
    buf_add_u8(b, (uint8_t)(ch->made + (ch->made && ch->waits)));
    buf_add_u32(b, ch->gone_count);
    buf_add(b, ch->gone, ch->gone_count * sizeof *ch->gone);
    buf_add_u32(b, ch->started_count);
    buf_add(b, ch->started, ch->started_count * sizeof *ch->started);
    txn_end(t);
}

static void read_state(struct cursor *c, struct schedule_state *st)
{
    int64_t *const times[] = {&st->since, &st->decided, &st->covered,
                              &st->from,  &st->ended,   &st->deferred};
    for (size_t i = 0; i < ARRAY_LEN(times); i++)
        *times[i] = (int64_t)cursor_u64(c);
    st->running = cursor_u32(c);
    st->waiting = cursor_u32(c);
    st->failures = cursor_u32(c);
    st->paused = cursor_u8(c) != 0;
}

static void read_tick(struct cursor *c, struct job_tick *k)
{
    int64_t *const times[] = {&k->due, &k->from, &k->to, &k->opening};
    k->kind = (enum job_tick_kind)cursor_u8(c);
    k->verdict = (enum schedule_verdict)cursor_u8(c);
    k->reason = job_text(c, 1, JOB_REASON_BYTES);
    for (size_t i = 0; i < ARRAY_LEN(times); i++)
        *times[i] = (int64_t)cursor_u64(c);
    k->ticks = cursor_u32(c);
    k->runs = cursor_u32(c);
    uuid_read(c, &k->run);
    k->author = job_text(c, 0, TXN_ENVELOPE_TEXT_MAX);
    if (k->kind < JOB_TICK_DUE || k->kind > JOB_TICK_BACKFILLED ||
        k->verdict > SCHEDULE_CANCELLED_OTHER)
        c->bad = true;
}

static const struct uuid *read_runs(struct cursor *c, uint32_t *count)
{
    *count = cursor_u32(c);
    if (*count > CHANGE_RUNS_MAX) {
        c->bad = true;
        *count = 0;
    }
    return cursor_raw(c, *count * sizeof(struct uuid));
}

int job_change_read(struct cursor *c, struct job_change *ch, struct err *e)
{
    *ch = (struct job_change){.name = job_text(c, 1, JOB_NAME_MAX)};
    ch->revision = cursor_u64(c);
    ch->spec = job_text(c, 1, CHANGE_SPEC_BYTES);
    read_state(c, &ch->state);
    ch->pause_by = job_text(c, 0, TXN_ENVELOPE_TEXT_MAX);
    ch->pause_reason = job_text(c, 0, JOB_REASON_BYTES);
    ch->paused_at = (int64_t)cursor_u64(c);
    ch->decided = cursor_u8(c) != 0;
    if (ch->decided)
        read_tick(c, &ch->tick);
    uint8_t made = cursor_u8(c);
    ch->made = made > 0;
    ch->waits = made == 2;
    if (made > 2 || (made > 0 && !ch->decided))
        c->bad = true;
    ch->gone = read_runs(c, &ch->gone_count);
    ch->started = read_runs(c, &ch->started_count);
    return cursor_whole(c, "job.schedule", e);
}

uint64_t job_decided_read(struct cursor *result)
{
    return cursor_u64(result);
}

static int change_runs(struct db *db, const struct job_change *ch, uint64_t tick, struct err *e)
{
    int rc = ch->made ? job_made_put(db, ch, tick, e) : 0;
    for (uint32_t i = 0; i < ch->gone_count && rc == 0; i++)
        rc = job_gone(db, ch->name, &ch->gone[i], e);
    for (uint32_t i = 0; i < ch->started_count && rc == 0; i++)
        rc = job_started(db, ch->name, &ch->started[i], e);
    return rc;
}

JOB_APPLY(job_apply_schedule)
{
    struct jobs *j = self;
    struct job_change ch;
    struct job_row row;
    (void)version;
    int rc = job_change_read(c, &ch, e);
    if (rc != 0 || (rc = job_row_get(a->db, ch.name, &row, e)) < 0)
        return rc;
    uint64_t revision = row.revision, tick = row.tick;
    job_row_fini(&row);
    if (revision != ch.revision)
        return err_set(e, ERR_CONFLICT, "schedule '%.*s' has changed meanwhile: read it again",
                       (int)ch.name.n, ch.name.p);
    if (ch.decided)
        rc = job_tick_put(a->db, &ch, ++tick, a->at, e);
    else
        rc = 0;
    if (rc == 0)
        rc = change_runs(a->db, &ch, tick, e);
    if (rc == 0)
        rc = job_row_put(a->db, &ch, tick, e);
    if (rc == 0)
        rc = job_runs_match(a->db, &ch, e);
    if (ch.decided)
        buf_add_u64(result, tick);
    jobs_note(j, ch.name.p, ch.name.n);
    return rc;
}
