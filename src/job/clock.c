/* The leader's clock: what comes due, and runs that have ended.
 *
 *   committed, or timer --> which schedules are due? --> a unit each --> applied, or refused --+
 *        ^                          | none                                                     |
 *        +--------------------------+<---------------------------------------------------------+
 *
 * A unit has one schedule, so that one which is refused keeps back no other. What is refused since
 * the row is another is decided again at once; where the queue refuses the run (it is full, or
 * closed) the tick is skipped after some tries, with that reason. */
#include "job/clock_priv.h"

#include <string.h>

#include "base/list.h"
#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include "db/db.h"

int64_t job_clock_now(const struct jobs *j)
{
    int64_t wall = j->world->wall_ms(j->world);
    return wall > j->clock->last ? wall : j->clock->last;
}

void job_clock_id(void *jobs, struct uuid *out)
{
    struct jobs *j = jobs;
    uint8_t random[8];
    j->world->random(j->world, random, sizeof random);
    uuid_v7(&j->clock->ids, (uint64_t)job_clock_now(j), random, out);
}

/* ---- what is known ---- */

static int has_ended(struct db *db, const char *name, bool *out, struct err *e)
{
    AUTO(db_stmt_donep)
    struct db_stmt *s = db_stmt_get(
        db, "SELECT 1 FROM job_schedule_runs WHERE name = ?1 AND outcome <> 0 LIMIT 1", e);
    if (s == NULL)
        return e->code;
    db_bind_str(s, 1, name);
    int rc = db_step(s, e);
    *out = rc > 0;
    return rc < 0 ? rc : 0;
}

static void item_know(struct job_item *it, const struct job_schedule *s)
{
    it->known = true;
    it->at = INT64_MAX;
    if (schedule_next(&s->def.schedule, &s->state, &it->next))
        it->at = it->next.at;
    if (it->ended)
        it->at = 0;
}

/* A deploy has taken the schedule away: runs of it that end are accounted for all the same, and
 * those that wait start one after the other. */
static int item_look_left(struct job_item *it, struct err *e)
{
    AUTO(db_stmt_donep)
    struct db_stmt *s = db_stmt_get(it->jobs->db,
                                    "SELECT coalesce(sum(outcome <> 0), 0), coalesce(sum(outcome = "
                                    "0 AND waiting = 0), 0), coalesce(sum(outcome = 0 AND waiting "
                                    "= 1), 0) FROM job_schedule_runs WHERE name = ?1",
                                    e);
    if (s == NULL)
        return e->code;
    db_bind_str(s, 1, it->name);
    int rc = db_step(s, e);
    if (rc < 0)
        return rc;
    int64_t ended = db_col_int(s, 0), running = db_col_int(s, 1), waiting = db_col_int(s, 2);
    it->left = it->known = ended > 0 || (running == 0 && waiting > 0);
    it->at = it->left ? 0 : INT64_MAX;
    return 0;
}

static void item_look(struct job_item *it)
{
    struct err e = ERR_INIT;
    struct job_schedule s;
    int rc = job_schedule_get(it->jobs->db, it->name, &s, &e);
    it->known = it->left = false;
    it->at = INT64_MAX;
    if (rc == 0) {
        if ((rc = has_ended(it->jobs->db, it->name, &it->ended, &e)) == 0)
            item_know(it, &s);
        job_schedule_fini(&s);
    } else if (rc == ERR_NOT_FOUND) {
        rc = item_look_left(it, &e);
    }
    if (rc != 0)
        log_warn("job", "schedule '%s' stands still: %s", it->name, e.text);
}

static void clock_look(struct jobs *j, const char *name, size_t n)
{
    struct job_item *it = map_get(j->clock->items, name, n);
    if (it == NULL) {
        it = mem_new(sizeof *it);
        it->jobs = j;
        memcpy(it->name, name, n);
        map_put(j->clock->items, name, n, it);
    }
    item_look(it);
    if (it->known || it->flying)
        return;
    map_remove(j->clock->items, name, n);
    mem_free(it);
}

static int clock_look_all(struct jobs *j, struct err *e)
{
    AUTO(db_stmt_donep)
    struct db_stmt *s = db_stmt_get(j->db,
                                    "SELECT name FROM job_defs WHERE definition <> '' UNION SELECT "
                                    "name FROM job_schedule_runs",
                                    e);
    int rc = s != NULL ? 1 : e->code;
    while (rc > 0 && (rc = db_step(s, e)) > 0) {
        size_t n;
        const char *name = db_col_text(s, 0, &n);
        clock_look(j, name, n);
    }
    return rc;
}

/* ---- when ---- */

static int64_t item_at(const struct job_item *it)
{
    return it->at > it->not_before ? it->at : it->not_before;
}

static int64_t clock_next(const struct jobs *j)
{
    int64_t at = INT64_MAX;
    for (struct map_iter i = {0}; map_next(j->clock->items, &i);) {
        const struct job_item *it = i.value;
        if (it->known && !it->flying && it->at != INT64_MAX && item_at(it) < at)
            at = item_at(it);
    }
    return at;
}

static void clock_arm(struct jobs *j, int64_t at)
{
    int64_t now = job_clock_now(j), wait = at <= now ? 0 : at - now;
    if (wait > CLOCK_LOOK_MS)
        wait = CLOCK_LOOK_MS;
    j->clock->armed = now + wait;
    j->world->timer_start(j->world, &j->clock->timer, (uint64_t)wait);
}

void job_clock_soon(struct jobs *j)
{
    if (!j->clock->stopped)
        clock_arm(j, 0);
}

/* ---- deciding ---- */

static int item_tick(struct job_item *it, struct job_decide *x, struct err *e)
{
    struct schedule_decision d;
    struct schedule_state before = x->s->state;
    char why[JOB_REASON_BYTES];
    if (!schedule_tick(&x->s->def.schedule, &x->s->state, it->next.due, x->now, &d))
        return 0;
    if (it->tries >= CLOCK_TRIES && d.start != SCHEDULE_START_NONE) {
        snprintf(why, sizeof why, "its queue refused the run: %s", it->refused.text);
        schedule_tick_refused(&before, &x->s->state, why, &d);
    }
    it->decides = true;
    it->due_at = it->next.at; /* `next` is the one after it as soon as this is committed */
    int rc = job_decide_add(x, &d, &it->decided, e);
    it->decided.reason = NULL; /* may have been ours */
    return rc;
}

/* Nothing in the unit: there is nothing to decide any more. */
static int item_decide(struct job_item *it, struct err *e)
{
    struct jobs *j = it->jobs;
    struct job_schedule s;
    int rc = it->left ? job_schedule_left(j->db, it->name, &s, e)
                      : job_schedule_get(j->db, it->name, &s, e);
    if (rc != 0)
        return rc;
    struct job_decide x = {.txn = &it->unit.txn,
                           .db = j->db,
                           .s = &s,
                           .now = job_clock_now(j),
                           .kind = JOB_TICK_DUE,
                           .author = "",
                           .make_id = job_clock_id,
                           .arg = j};
    if (it->left)
        rc = job_left_add(&x, e);
    else if (it->ended)
        rc = job_ends_add(&x, e);
    if (rc == 0 && x.txn->ops == 0 && !it->left)
        rc = item_tick(it, &x, e);
    job_schedule_fini(&s);
    return rc;
}

bool job_clock_is_machine(int code)
{
    return code == ERR_NO_LEADER || code == ERR_DRAINING || code == ERR_OVERLOADED ||
           code == ERR_DISK_FULL || code == ERR_TIMEOUT || code == ERR_INTERNAL ||
           code == ERR_NOMEM || code == ERR_IO || code == ERR_CANCELED;
}

/* Refused, or it could not even be proposed. */
static void item_refused(struct job_item *it, const struct err *why, int failed_op)
{
    struct jobs *j = it->jobs;
    bool machine = job_clock_is_machine(why->code),
         stale = why->code == ERR_CONFLICT && failed_op == 0;
    if (!machine && !stale) {
        it->tries++;
        it->refused = *why;
    }
    if (!stale || it->tries > 0)
        it->not_before = job_clock_now(j) + (it->tries == 1 && !machine ? 0 : CLOCK_LOOK_MS);
    if (why->code != ERR_NO_LEADER && why->code != ERR_DRAINING && !stale)
        log_warn("job", "schedule '%s': %s", it->name, why->text);
}

static void item_done(struct unit *u)
{
    struct job_item *it = (struct job_item *)((char *)u - offsetof(struct job_item, unit));
    struct jobs *j = it->jobs;
    struct err why = u->err;
    int failed_op = u->failed_op;
    unit_fini(u);
    it->flying = false;
    j->clock->flying--;
    if (why.code != 0) {
        item_refused(it, &why, failed_op);
    } else {
        it->tries = 0;
        it->not_before = 0;
        if (it->decides)
            job_tell_decided(&it->decided, job_clock_now(j) - it->due_at);
    }
    if (j->clock->stopped)
        return;
    clock_look(j, it->name, strlen(it->name));
    job_clock_soon(j);
}

static void item_propose(struct job_item *it)
{
    struct err e = ERR_INIT;
    struct jobs *j = it->jobs;
    unit_init(&it->unit, j->world->runner, item_done);
    txn_envelope(&it->unit.txn, &(struct envelope){.tenant = JOB_TENANT, .reason = "due"});
    it->decides = false;
    int rc = item_decide(it, &e);
    if (rc == 0 && it->unit.txn.ops > 0 && (rc = ledger_propose(j->ledger, &it->unit, &e)) == 0) {
        it->flying = true;
        j->clock->flying++;
        return;
    }
    unit_fini(&it->unit);
    if (rc != 0)
        item_refused(it, &e, -1);
    else
        item_look(it);
}

static void clock_fire(struct world_timer *t)
{
    struct jobs *j = LIST_OF(t, struct job_clock, timer)->jobs;
    struct ledger_status s;
    j->clock->armed = INT64_MAX;
    if (j->clock->stopped)
        return;
    ledger_status(j->ledger, &s);
    j->clock->leads = s.leader;
    int64_t now = job_clock_now(j);
    for (struct map_iter i = {0}; s.leader && map_next(j->clock->items, &i);) {
        struct job_item *it = i.value;
        if (j->clock->flying < CLOCK_UNITS_MAX && it->known && !it->flying && item_at(it) <= now)
            item_propose(it);
    }
    if (s.leader)
        job_start_turn(j);
    job_tell(j, false);
    int64_t next = clock_next(j);
    clock_arm(j, j->clock->flying >= CLOCK_UNITS_MAX || !s.leader ? now + CLOCK_LOOK_MS
                 : next <= now                                    ? now + 1
                                                                  : next);
}

/* ---- life ---- */

void job_clock_committed(struct jobs *j, int64_t at)
{
    struct job_clock *k = j->clock;
    k->last = at;
    if (j->world == NULL || k->stopped || map_count(j->noted) == 0)
        return;
    for (struct map_iter i = {0}; map_next(j->noted, &i);)
        clock_look(j, i.key, i.key_len);
    if (j->failing_noted)
        job_tell(j, true);
    j->failing_noted = false;
    if (clock_next(j) < k->armed)
        clock_arm(j, clock_next(j));
}

struct job_clock *job_clock_new(struct jobs *j)
{
    struct job_clock *k = mem_new(sizeof *k);
    k->jobs = j;
    k->items = map_new();
    k->armed = INT64_MAX;
    k->last = INT64_MIN;
    return k;
}

void job_clock_start(struct jobs *j, const struct jobs_options *o)
{
    struct err e = ERR_INIT;
    j->clock->timer.fire = clock_fire;
    j->clock->stopped = o->still;
    if (o->still)
        return;
    if (clock_look_all(j, &e) != 0)
        log_warn("job", "schedules: %s", e.text);
    clock_arm(j, 0);
}

void job_clock_stop(struct jobs *j)
{
    if (j->world == NULL)
        return;
    j->clock->stopped = true;
    j->world->timer_stop(j->world, &j->clock->timer);
}

static void item_free(void *p)
{
    struct job_item *it = p;
    if (it->flying) /* the ledger closed, and nobody was left to hear of it */
        unit_fini(&it->unit);
    mem_free(it);
}

void job_clock_free(struct job_clock *k)
{
    map_free(k->items, item_free);
    job_start_fini(k);
    mem_free(k);
}
