/* When to sweep. */
#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/stat.h"
#include "entity/entity_priv.h"
#include "entity/sweep.h"
#include "ledger/ledger.h"

struct entity_sweeper {
    struct ledger_watch watch; /* first */
    struct entities *entities;
    struct ledger *ledger;
    struct world *world;
    struct world_timer timer;
    int64_t armed; /* when the timer fires, wall clock; INT64_MAX: not set */
    struct unit unit;
    bool flying, stopped;
    struct stat_counter *purged;
};

static void arm(struct entity_sweeper *s, int64_t delay)
{
    s->armed = s->world->wall_ms(s->world) + delay;
    s->world->timer_start(s->world, &s->timer, (uint64_t)delay);
}

/* Asleep until something is due, but never for long: clocks are set. */
static void rearm(struct entity_sweeper *s)
{
    int64_t wait = entities_due(s->entities) - s->world->wall_ms(s->world);
    arm(s, wait < 0 ? 0 : wait > ENTITY_SWEEP_WAIT_MS ? ENTITY_SWEEP_WAIT_MS : wait);
}

/* What was kept of removed fields and entities is an event when it goes. */
static void tell(struct entity_sweeper *s, const struct unit *u)
{
    struct cursor c;
    size_t n = 0;
    if (!unit_result(u, 0, &c))
        return;
    (void)cursor_u32(&c);
    const char *gone = cursor_bytes(&c, &n);
    if (gone == NULL || n == 0)
        return;
    uint64_t count = 1;
    for (size_t i = 0; i < n; i++)
        count += gone[i] == ',';
    stat_add(s->purged, count);
    log_info("entity", "kept long enough, and gone now: %.*s", (int)n, gone);
}

static void swept(struct unit *u)
{
    struct entity_sweeper *s =
        (struct entity_sweeper *)((char *)u - offsetof(struct entity_sweeper, unit));
    s->flying = false;
    bool failed = u->err.code != 0;
    if (failed && u->err.code != ERR_NO_LEADER && u->err.code != ERR_DRAINING)
        log_warn("entity", "sweep: %s", u->err.text);
    else if (!failed)
        tell(s, u);
    unit_fini(u);
    if (s->stopped)
        return;
    if (failed)
        arm(s, ENTITY_SWEEP_WAIT_MS);
    else
        rearm(s);
}

static void propose(struct entity_sweeper *s)
{
    struct err e = ERR_INIT;
    unit_init(&s->unit, s->world->runner, swept);
    txn_envelope(&s->unit.txn, &(struct envelope){.reason = "its time was over"});
    s->unit.txn.grows = false;
    entity_txn_sweep(&s->unit.txn, ENTITY_SWEEP_ROWS);
    s->flying = true;
    if (ledger_propose(s->ledger, &s->unit, &e) == 0)
        return;
    s->flying = false;
    unit_fini(&s->unit);
    arm(s, ENTITY_SWEEP_WAIT_MS);
}

static void fired(struct world_timer *t)
{
    struct entity_sweeper *s =
        (struct entity_sweeper *)((char *)t - offsetof(struct entity_sweeper, timer));
    struct ledger_status now;
    s->armed = INT64_MAX;
    if (s->stopped || s->flying)
        return;
    ledger_status(s->ledger, &now);
    if (now.leader && entities_due(s->entities) <= s->world->wall_ms(s->world))
        propose(s);
    else
        rearm(s);
}

/* A change may have brought the next moment nearer. */
static void committed(struct ledger_watch *w, uint64_t seq, int64_t at)
{
    (void)seq;
    (void)at;
    struct entity_sweeper *s = (struct entity_sweeper *)w;
    if (!s->stopped && !s->flying && entities_due(s->entities) < s->armed)
        rearm(s);
}

struct entity_sweeper *entity_sweeper_start(struct entities *e, struct ledger *l, struct world *w)
{
    struct entity_sweeper *s = mem_new(sizeof(*s));
    s->watch.committed = committed;
    s->purged = stat_counter("koan_entity_kept_purged_total", "",
                             "Removed fields and entities whose data was kept, and is no more");
    s->entities = e;
    s->ledger = l;
    s->world = w;
    s->timer.fire = fired;
    ledger_watch(l, &s->watch);
    rearm(s);
    return s;
}

void entity_sweeper_stop(struct entity_sweeper *s)
{
    if (s == NULL)
        return;
    s->stopped = true;
    s->world->timer_stop(s->world, &s->timer);
}

void entity_sweeper_free(struct entity_sweeper *s)
{
    if (s != NULL && s->flying) /* the ledger closed, and nobody was left to hear of it */
        unit_fini(&s->unit);
    mem_free(s);
}
