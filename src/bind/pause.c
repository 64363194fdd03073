/* A coroutine that waits for a time, and how long its run has left. It wakes a few times a second
 * to see whether the run has been ended meanwhile. */
#include "base/mem.h"
#include "bind/claim.h"

enum { PAUSE_SLICE_MS = 100 };

struct pause {
    struct world_timer timer;
    struct bind_thread *thread;
    struct vm_run *run;
    uint64_t until_ns;
};

static uint64_t ms_until(struct world *w, uint64_t until_ns)
{
    uint64_t now = w->mono_ns(w);
    return until_ns > now ? (until_ns - now + 999999) / 1000000 : 0;
}

static void pause_free(void *p)
{
    struct pause *s = p;
    s->thread->world->timer_stop(s->thread->world, &s->timer);
    mem_free(s);
}

static void pause_start(struct pause *s)
{
    struct world *w = s->thread->world;
    uint64_t left = ms_until(w, s->until_ns);
    w->timer_start(w, &s->timer, left < PAUSE_SLICE_MS ? left : PAUSE_SLICE_MS);
}

static void pause_over(struct world_timer *t)
{
    struct pause *s = LIST_OF(t, struct pause, timer);
    bool over = s->run->killed || bind_claims_lost((struct bind_run *)s->run);
    if (!over && ms_until(s->thread->world, s->until_ns) > 0)
        pause_start(s);
    else
        vm_resume(s->run); /* s is gone after this line */
}

static int pause_k(lua_State *L, int status, lua_KContext ctx)
{
    (void)status, (void)ctx;
    bind_claims_check(L);
    return 0;
}

/* host.pause(ms) */
static int host_pause(lua_State *L)
{
    lua_Integer ms = luaL_checkinteger(L, 1);
    vm_may_await(L, "waiting");
    struct vm_guard *g = vm_guard_push(L, pause_free);
    struct pause *s = mem_new(sizeof *s);
    s->thread = bind_set_of(L)->thread;
    s->run = vm_run_of(L);
    s->timer.fire = pause_over;
    s->until_ns =
        s->thread->world->mono_ns(s->thread->world) + (uint64_t)(ms > 0 ? ms : 0) * 1000000;
    g->p = s;
    pause_start(s);
    return vm_await(L, (intptr_t)s, pause_k);
}

/* host.time_left() -> ms that this run may go on; nothing when it has no end */
static int host_time_left(lua_State *L)
{
    const struct bind_run *r = bind_run_of(L);
    struct world *w = bind_set_of(L)->thread->world;
    if (r->until_ns == 0)
        return 0;
    lua_pushinteger(L, (lua_Integer)ms_until(w, r->until_ns));
    return 1;
}

void bind_open_pause(lua_State *L)
{
    static const luaL_Reg fns[] = {
        {"pause", host_pause}, {"time_left", host_time_left}, {NULL, NULL}};
    luaL_setfuncs(L, fns, 0);
}
