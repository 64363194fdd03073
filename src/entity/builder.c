/* When to build: see build.h. */
#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "entity/build_priv.h"
#include "ledger/ledger.h"

struct entity_builder {
    struct ledger_watch watch; /* first */
    struct entities *entities;
    struct ledger *ledger;
    struct world *world;
    struct world_timer timer;
    enum entities_work work; /* taken from `entities`, not done yet */
    struct unit unit;
    uint64_t began_ns;
    bool armed, flying, stopped;
};

static void arm(struct entity_builder *b, uint64_t delay)
{
    b->armed = true;
    b->world->timer_start(b->world, &b->timer, delay);
}

static void take(struct entity_builder *b)
{
    enum entities_work w = entities_take_work(b->entities);
    b->work = w > b->work ? w : b->work;
}

/* As long as the last one took, so that others have half of the time at least. */
static uint64_t pause_ms(const struct entity_builder *b)
{
    uint64_t took = (b->world->mono_ns(b->world) - b->began_ns) / 1000000 + 1;
    return took < ENTITY_BUILD_PAUSE_MS ? took : ENTITY_BUILD_PAUSE_MS;
}

static void built(struct unit *u)
{
    struct entity_builder *b =
        (struct entity_builder *)((char *)u - offsetof(struct entity_builder, unit));
    struct cursor c;
    bool failed = u->err.code != 0, more = false;
    if (!failed && unit_result(u, 0, &c)) {
        (void)cursor_u32(&c);
        more = cursor_u8(&c) != 0;
    }
    if (failed && u->err.code != ERR_NO_LEADER && u->err.code != ERR_DRAINING)
        log_warn("entity", "build: %s", u->err.text);
    b->flying = false;
    unit_fini(u);
    if (b->stopped)
        return;
    if (failed || more)
        b->work = ENTITIES_WORK_NOW;
    take(b);
    if (b->work != ENTITIES_WORK_NONE)
        arm(b, failed || !more ? ENTITY_BUILD_WAIT_MS : pause_ms(b));
}

static void propose(struct entity_builder *b)
{
    struct err e = ERR_INIT;
    unit_init(&b->unit, b->world->runner, built);
    txn_envelope(&b->unit.txn, &(struct envelope){.reason = "indexes are built"});
    entity_txn_build(&b->unit.txn, ENTITY_BUILD_ROWS);
    b->work = ENTITIES_WORK_NONE;
    b->flying = true;
    b->began_ns = b->world->mono_ns(b->world);
    if (ledger_propose(b->ledger, &b->unit, &e) == 0)
        return;
    b->flying = false;
    unit_fini(&b->unit);
    b->work = ENTITIES_WORK_NOW;
    arm(b, ENTITY_BUILD_WAIT_MS);
}

static bool has_work(const struct entity_builder *b)
{
    int building, violated;
    entities_builds(b->entities, &building, &violated);
    return b->work == ENTITIES_WORK_NOW || (b->work == ENTITIES_WORK_RETRY && building > 0);
}

static void fired(struct world_timer *t)
{
    struct entity_builder *b =
        (struct entity_builder *)((char *)t - offsetof(struct entity_builder, timer));
    struct ledger_status now;
    b->armed = false;
    if (b->stopped || b->flying)
        return;
    take(b);
    if (!has_work(b)) {
        b->work = ENTITIES_WORK_NONE;
        return;
    }
    ledger_status(b->ledger, &now);
    if (now.leader)
        propose(b);
    else
        arm(b, ENTITY_BUILD_WAIT_MS);
}

static void committed(struct ledger_watch *w, uint64_t seq, int64_t at)
{
    (void)seq;
    (void)at;
    struct entity_builder *b = (struct entity_builder *)w;
    if (b->stopped || b->flying || b->armed)
        return;
    take(b);
    if (b->work != ENTITIES_WORK_NONE)
        arm(b, b->work == ENTITIES_WORK_NOW ? 0 : ENTITY_BUILD_WAIT_MS);
}

struct entity_builder *entity_builder_start(struct entities *s, struct ledger *l, struct world *w)
{
    struct entity_builder *b = mem_new(sizeof(*b));
    b->watch.committed = committed;
    b->entities = s;
    b->ledger = l;
    b->world = w;
    b->timer.fire = fired;
    ledger_watch(l, &b->watch);
    arm(b, 0);
    return b;
}

void entity_builder_stop(struct entity_builder *b)
{
    if (b == NULL)
        return;
    b->stopped = true;
    b->world->timer_stop(b->world, &b->timer);
}

void entity_builder_free(struct entity_builder *b)
{
    if (b != NULL && b->flying) /* the ledger closed, and nobody was left to hear of it */
        unit_fini(&b->unit);
    mem_free(b);
}
