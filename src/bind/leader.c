/* Who holds a lease, or once that is another: what elections are watched with. The coroutine wakes
 * a few times a second to see whether its run has been ended meanwhile. */
#include <string.h>

#include "base/mem.h"
#include "bind/claim.h"

enum { LEADER_SLICE_MS = 100 };

struct leader {
    struct coord_watch watch; /* first */
    struct world_timer timer;
    struct bind_thread *thread;
    struct vm_run *run;
    uint64_t unlike, until_ns;
    bool over;
    const char *tenant;
    char name[COORD_KEY_BYTES + 1];
    struct err err;
};

static void leader_free(void *p)
{
    struct leader *l = p;
    l->thread->world->timer_stop(l->thread->world, &l->timer);
    mem_free(l);
}

static bool leader_is_other(const struct leader *l)
{
    uint64_t token = 0;
    return coord_holder(l->thread->reader, l->tenant, l->name, &token, NULL) != 0 ||
           token != l->unlike;
}

static int leader_watch(struct leader *l, struct err *e);

static void leader_told(struct coord_watch *w)
{
    struct leader *l = (struct leader *)w;
    if (w->code == 0 && !l->over && !leader_is_other(l) && leader_watch(l, &l->err) == 0)
        return;
    l->thread->world->timer_stop(l->thread->world, &l->timer);
    vm_resume(l->run); /* l may be gone after this line */
}

static int leader_watch(struct leader *l, struct err *e)
{
    coord_watch_init(&l->watch, l->thread->runner, leader_told);
    int rc = coord_watch(l->thread->bind->coord, &l->watch, l->tenant, l->name, e);
    if (rc == 0 && leader_is_other(l))
        coord_unwatch(&l->watch);
    return rc;
}

static void leader_look(struct world_timer *t)
{
    struct leader *l = LIST_OF(t, struct leader, timer);
    struct world *w = l->thread->world;
    l->over = l->run->killed || bind_claims_lost((struct bind_run *)l->run) ||
              w->mono_ns(w) >= l->until_ns;
    if (l->over)
        coord_unwatch(&l->watch);
    else
        w->timer_start(w, &l->timer, LEADER_SLICE_MS);
}

/* Nothing when nobody holds it. */
static int leader_push(lua_State *L, const struct leader *l)
{
    struct err e = ERR_INIT;
    json_t *o = NULL;
    if (l->err.code != 0)
        return vm_raise(L, &l->err);
    struct vm_guard *g = vm_guard_push(L, bind_json_free);
    int rc = coord_claims_get(l->thread->reader, l->tenant, l->name, &o, &e);
    g->p = o;
    if (rc != 0 && rc != ERR_NOT_FOUND)
        return vm_raise(L, &e);
    const json_t *first = json_array_get(json_object_get(o, "holders"), 0);
    if (first == NULL)
        return 0;
    vm_push_json(L, first, VM_PLAIN);
    return 1;
}

static int leader_k(lua_State *L, int status, lua_KContext ctx)
{
    (void)status;
    bind_claims_check(L);
    return leader_push(L, (const struct leader *)ctx);
}

/* host.leader(name, unlike, wait_ms) -> the first holder, or nothing; waits while that has the
 * token `unlike` */
static int host_leader(lua_State *L)
{
    struct err e = ERR_INIT;
    size_t n = 0;
    struct bind_thread *t = bind_set_of(L)->thread;
    const char *name = luaL_checklstring(L, 1, &n);
    lua_Integer unlike = luaL_checkinteger(L, 2), wait_ms = luaL_checkinteger(L, 3);
    if (wait_ms > 0)
        vm_may_await(L, "leader");
    struct vm_guard *g = vm_guard_push(L, leader_free);
    struct leader *l = mem_new(sizeof *l);
    l->thread = t;
    g->p = l;
    if (vm_run_of(L) == NULL)
        err_set(&e, ERR_INVALID, "leader: not while the script loads; call it in a handler");
    else if (n < 1 || n > COORD_KEY_BYTES || strlen(name) != n)
        err_field(&e, ERR_INVALID, "name", "name: a text of 1 to %d bytes", COORD_KEY_BYTES);
    else if (t->bind->coord == NULL)
        err_set(&e, ERR_UNSUPPORTED, "coordination is not running here");
    if (e.code != 0)
        return vm_raise(L, &e);
    memcpy(l->name, name, n + 1);
    l->run = vm_run_of(L);
    l->tenant = bind_tenant(L);
    l->unlike = (uint64_t)unlike;
    l->until_ns = t->world->mono_ns(t->world) + (uint64_t)(wait_ms > 0 ? wait_ms : 0) * 1000000;
    l->timer.fire = leader_look;
    if (wait_ms <= 0 || leader_is_other(l))
        return leader_push(L, l);
    if (leader_watch(l, &e) != 0)
        return vm_raise(L, &e);
    t->world->timer_start(t->world, &l->timer, LEADER_SLICE_MS);
    return vm_await(L, (intptr_t)l, leader_k);
}

void bind_open_leader(lua_State *L)
{
    static const luaL_Reg fns[] = {{"leader", host_leader}, {NULL, NULL}};
    luaL_setfuncs(L, fns, 0);
}
