/* Coord: the domain, and what is told when an entry is committed. */
#include "coord/coord.h"

#include "base/map.h"
#include "base/mem.h"
#include "coord/coord_priv.h"

static const struct domain_op coord_ops[] = {
    {COORD_OP_HELD, 1, true, DOMAIN_ATOMIC, "lease.check", coord_apply_held, false},
    {COORD_OP_ACQUIRE, 1, false, DOMAIN_PARTIAL, "lease.acquire", coord_apply_acquire, false},
    {COORD_OP_RENEW, 1, false, DOMAIN_PARTIAL, "lease.renew", coord_apply_renew, false},
    {COORD_OP_RELEASE, 1, false, DOMAIN_PARTIAL, "lease.release", coord_apply_release, false},
    {COORD_OP_BREAK, 1, false, DOMAIN_PARTIAL, "lease.break", coord_apply_break, false},
    {COORD_OP_LEAVE, 1, false, DOMAIN_PARTIAL, "lease.leave", coord_apply_leave, false},
    {COORD_OP_LAPSE, 1, false, DOMAIN_PARTIAL, "lease.lapse", coord_apply_lapse, false},
    {COORD_OP_VALUE_IS, 1, true, DOMAIN_ATOMIC, "kv.check", coord_apply_value_is, false},
    {COORD_OP_PUT, 1, false, DOMAIN_PARTIAL, "kv.put", coord_apply_put, false},
    {COORD_OP_REMOVE, 1, false, DOMAIN_PARTIAL, "kv.remove", coord_apply_remove, false},
    {COORD_OP_ADD, 1, false, DOMAIN_PARTIAL, "counter.add", coord_apply_add, false},
    {COORD_OP_COUNTER_REMOVE, 1, false, DOMAIN_PARTIAL, "counter.remove",
     coord_apply_counter_remove, false},
    {COORD_OP_COUNT_IS, 1, true, DOMAIN_ATOMIC, "counter.check", coord_apply_count_is, false},
    {COORD_OP_TAKE, 1, false, DOMAIN_PARTIAL, "limit.take", coord_apply_take, false},
    {COORD_OP_BEGIN, 1, false, DOMAIN_PARTIAL, "inbox.begin", coord_apply_begin, false},
    {COORD_OP_PROCESSED, 1, false, DOMAIN_PARTIAL, "inbox.processed", coord_apply_processed, false},
    {COORD_OP_UNBEGIN, 1, false, DOMAIN_PARTIAL, "inbox.release", coord_apply_unbegin, false},
    {COORD_OP_SWEEP, 2, false, DOMAIN_PARTIAL, "coord.sweep", coord_apply_sweep, false},
    {COORD_OP_CACHE, 1, false, DOMAIN_PARTIAL, "cache.put", coord_apply_cache, false},
    {COORD_OP_FLUSH, 1, false, DOMAIN_PARTIAL, "cache.flush", coord_apply_flush, false},
    {COORD_OP_USE, 1, false, DOMAIN_PARTIAL, "limit.use", coord_apply_use, false},
};

static int coord_opened(void *self, struct db *db, struct err *e)
{
    (void)e;
    ((struct coord *)self)->db = db;
    return 0;
}

static void coord_unit(void *self, const struct apply *a)
{
    (void)a;
    struct coord *c = self;
    c->events_unit = c->events_count;
}

static void coord_undo(void *self, bool entry_too)
{
    struct coord *c = self;
    c->events_count = entry_too ? 0 : c->events_unit;
    buf_reset(&c->proven);
}

static void coord_committed(void *self, uint64_t seq, int64_t at)
{
    struct coord *c = self;
    if (c->events_count > 0)
        coord_tell(c, seq);
    c->events_count = c->events_unit = 0;
    coord_tell_watches(c);
    if (c->world != NULL)
        coord_passed(c, at);
}

int coord_event(struct coord *c, const struct coord_event *ev, struct err *e)
{
    if (c->events_count == c->events_room) {
        size_t room = c->events_room > 0 ? 2 * c->events_room : 16;
        struct coord_event *events = mem_try_resize(c->events, room * sizeof *events);
        if (events == NULL)
            return err_set(e, ERR_NOMEM, "%zu grants in one entry", room);
        c->events = events;
        c->events_room = room;
    }
    c->events[c->events_count++] = *ev;
    return 0;
}

struct coord *coord_new(void)
{
    struct coord *c = mem_new(sizeof *c);
    c->domain = (struct domain){.name = "coord",
                                .self = c,
                                .ops = coord_ops,
                                .ops_count = ARRAY_LEN(coord_ops),
                                .opened = coord_opened,
                                .unit = coord_unit,
                                .undo = coord_undo,
                                .committed = coord_committed};
    buf_init(&c->proven, TXN_BYTES_MAX);
    c->waits = map_new();
    c->watched = map_new();
    c->shares = map_new();
    pthread_mutex_init(&c->share_lock, NULL);
    list_init(&c->touched);
    list_init(&c->fresh);
    c->armed_ms = UINT64_MAX;
    pthread_mutex_init(&c->lock, NULL);
    return c;
}

static void leaving_free(struct leaving *l)
{
    while (l != NULL) {
        struct leaving *next = l->next;
        mem_free(l);
        l = next;
    }
}

void coord_free(struct coord *c)
{
    if (c == NULL)
        return;
    if (c->flying) /* the ledger closed, and nobody was left to hear of it */
        unit_fini(&c->unit);
    coord_shares_free(c);
    leaving_free(c->leaving);
    leaving_free(c->left);
    map_free(c->waits, NULL);
    map_free(c->watched, NULL);
    pthread_mutex_destroy(&c->lock);
    pthread_mutex_destroy(&c->share_lock);
    buf_fini(&c->proven);
    mem_free(c->events);
    mem_free(c);
}

const struct domain *coord_domain(struct coord *c)
{
    return &c->domain;
}
