/* Bus: the domain, and the revision of its routes in memory. */
#include "bus/bus.h"

#include "base/log.h"
#include "base/mem.h"
#include "bus/bus_priv.h"

static const struct domain_op bus_ops[] = {
    {BUS_OP_GROUPS, 1, false, DOMAIN_PARTIAL, "bus.groups", bus_apply_groups, false},
    {BUS_OP_TOPICS, 1, false, DOMAIN_PARTIAL, "bus.topics", bus_apply_topics, false},
    {BUS_IF_ROUTES, 1, true, DOMAIN_ATOMIC, "bus.routes", bus_apply_routes, false},
    {BUS_OP_RETAIN, 1, false, DOMAIN_PARTIAL, "bus.retain", bus_apply_retain, false},
    {BUS_OP_PLACE, 1, false, DOMAIN_PARTIAL, "bus.place", bus_apply_place, false},
    {BUS_OP_WAIT, 1, false, DOMAIN_PARTIAL, "bus.wait", bus_apply_wait, false},
    {BUS_OP_EVENT, 1, false, DOMAIN_PARTIAL, "bus.event", bus_apply_event, false},
    {BUS_OP_WAIT_END, 1, false, DOMAIN_PARTIAL, "bus.wait_end", bus_apply_wait_end, false},
    {BUS_OP_SWEEP, 1, false, DOMAIN_PARTIAL, "bus.sweep", bus_apply_sweep, false},
    {BUS_IF_WAITED, 1, true, DOMAIN_ATOMIC, "bus.waited", bus_apply_waited, false},
    {BUS_IF_WAITS, 1, true, DOMAIN_ATOMIC, "bus.if_waits", bus_apply_if_waits, false},
};

BUS_APPLY(routes)
{
    const struct bus *b = self;
    (void)a, (void)version, (void)result;
    uint64_t want = cursor_u64(c);
    int rc = cursor_whole(c, "bus.routes", e);
    if (rc == 0 && want != b->revision)
        rc = err_set(e, ERR_CONFLICT, "who listens to the topic has changed meanwhile; try again");
    return rc;
}

int bus_next_revision(struct bus *b, const struct apply *a, struct err *e)
{
    uint64_t revision = 0;
    int rc = bus_number_next(a->db, BUS_REVISION, &revision, e);
    if (rc != 0)
        return rc;
    b->revision = revision;
    b->changed = true;
    return 0;
}

/* ---- the snapshot ---- */

static int routes_renew(struct bus *b, struct err *e)
{
    struct bus_routes *fresh = NULL;
    int rc = bus_routes_load(b->db, b->revision, &fresh, e);
    if (rc != 0)
        return rc;
    pthread_mutex_lock(&b->lock);
    struct bus_routes *old = b->routes;
    b->routes = fresh;
    pthread_mutex_unlock(&b->lock);
    bus_routes_unref(old);
    b->changed = false;
    return 0;
}

struct bus_routes *bus_routes_now(struct bus *b)
{
    pthread_mutex_lock(&b->lock);
    struct bus_routes *r = b->routes;
    atomic_fetch_add(&r->refs, 1);
    pthread_mutex_unlock(&b->lock);
    return r;
}

uint64_t bus_revision(struct bus *b)
{
    pthread_mutex_lock(&b->lock);
    uint64_t revision = b->routes->revision;
    pthread_mutex_unlock(&b->lock);
    return revision;
}

bool bus_is_stale(struct bus *b, const struct bus_route *r)
{
    return bus_revision(b) != r->routes->revision ||
           bus_patterns_number(&b->waited) != r->waited_number;
}

/* ---- the domain ---- */

static int bus_opened(void *self, struct db *db, struct err *e)
{
    struct bus *b = self;
    b->db = db;
    int rc = bus_number(db, BUS_REVISION, &b->revision, e);
    b->revision_unit = b->revision_committed = b->revision;
    if (rc == 0)
        rc = bus_patterns_load(&b->waited, db, e);
    return rc == 0 ? routes_renew(b, e) : rc;
}

static void bus_unit(void *self, const struct apply *a)
{
    struct bus *b = self;
    (void)a;
    b->revision_unit = b->revision;
    bus_patterns_unit(&b->waited);
}

static void bus_undo(void *self, bool entry_too)
{
    struct bus *b = self;
    b->revision = entry_too ? b->revision_committed : b->revision_unit;
    bus_patterns_undo(&b->waited, entry_too);
}

/* Without a snapshot of the new revision every publish is refused, so it is tried again with each
 * entry; it only fails for want of memory. */
static void bus_committed(void *self, uint64_t seq, int64_t at)
{
    struct bus *b = self;
    struct err e = ERR_INIT;
    (void)seq, (void)at;
    b->revision_committed = b->revision;
    if (b->changed && routes_renew(b, &e) != 0)
        log_warn("bus", "the routes of topics stay old: %s", e.text);
    if (bus_patterns_commit(&b->waited, b->db, &e) != 0)
        log_warn("bus", "what is waited for stays unknown: %s", e.text);
    if (b->world != NULL)
        bus_passed(b);
}

struct bus *bus_new(void)
{
    struct bus *b = mem_new(sizeof *b);
    b->domain = (struct domain){.name = "bus",
                                .self = b,
                                .ops = bus_ops,
                                .ops_count = ARRAY_LEN(bus_ops),
                                .opened = bus_opened,
                                .unit = bus_unit,
                                .undo = bus_undo,
                                .committed = bus_committed};
    b->armed_ms = UINT64_MAX;
    pthread_mutex_init(&b->lock, NULL);
    bus_patterns_init(&b->waited);
    return b;
}

void bus_free(struct bus *b)
{
    if (b == NULL)
        return;
    if (b->flying) /* the ledger closed, and nobody was left to hear of it */
        unit_fini(&b->unit);
    if (b->over.flying)
        unit_fini(&b->over.unit);
    bus_routes_unref(b->routes);
    bus_patterns_fini(&b->waited);
    pthread_mutex_destroy(&b->lock);
    mem_free(b);
}

const struct domain *bus_domain(struct bus *b)
{
    return &b->domain;
}
