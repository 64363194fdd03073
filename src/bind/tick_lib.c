/* Schedules in tests. What a node's clock decides about its jobs, with their rows in the ledger, is
 * decided here by the same rules (job/schedule.h) on states that belong to one test: nothing of it
 * is proposed, so each test has its schedules as they are right after the set was deployed. Lua
 * says when (lua/lib/job_tick.lua) and carries out what is decided. */
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/time.h"
#include "bind/job_lib.h"
#include "job/args.h"
#include "job/sched.h"
#include "queue/queue.h"

struct tick_one {
    const struct job_def *def; /* of the set */
    struct schedule_state state;
};

struct ticks {
    size_t count;
    struct tick_one list[BIND_JOBS_MAX];
};

static void ticks_free(void *p)
{
    mem_free(p);
}

/* host.schedules(): of all jobs that have one, as if they had been declared just now */
static int ticks_open(lua_State *L)
{
    const struct bind_set *s = bind_set_of(L);
    struct vm_host *h = vm_host_of(L);
    struct vm_guard *g = vm_guard_push(L, ticks_free);
    struct ticks *t = g->p = mem_new(sizeof *t);
    for (size_t i = 0; s->jobs != NULL && i < s->jobs->count; i++) {
        struct tick_one *one = &t->list[t->count];
        if (!s->jobs->list[i]->def.has_schedule)
            continue;
        one->def = &s->jobs->list[i]->def;
        schedule_state_init(&one->state, h->wall_ms(h));
        t->count++;
    }
    return 1;
}

/* Only the library has one, in its place. */
static struct ticks *ticks_of(lua_State *L)
{
    struct vm_guard *g = lua_touserdata(L, 1);
    if (g == NULL || g->free != ticks_free)
        luaL_error(L, "not the schedules of a test");
    return g->p;
}

static struct tick_one *one_of(lua_State *L)
{
    struct ticks *t = ticks_of(L);
    const char *name = luaL_checkstring(L, 2);
    for (size_t i = 0; i < t->count; i++)
        if (strcmp(t->list[i].def->name, name) == 0)
            return &t->list[i];
    return NULL;
}

/* host.schedule_next(schedules) -> job, when to decide about it; nothing where nothing comes */
static int ticks_next(lua_State *L)
{
    const struct ticks *t = ticks_of(L);
    const struct tick_one *first = NULL;
    int64_t at = 0;
    for (size_t i = 0; i < t->count; i++) {
        const struct tick_one *one = &t->list[i];
        struct schedule_due next;
        if (!schedule_next(&one->def->schedule, &one->state, &next))
            continue;
        if (first != NULL && next.at >= at)
            continue;
        first = one;
        at = next.at;
    }
    vm_charge(L, t->count);
    if (first == NULL)
        return 0;
    lua_pushstring(L, first->def->name);
    lua_pushinteger(L, at);
    return 2;
}

static void set_text(lua_State *L, const char *key, const char *value)
{
    lua_pushstring(L, value);
    lua_setfield(L, -2, key);
}

static void set_time(lua_State *L, const char *key, int64_t ms)
{
    char text[TIME_TEXT];
    time_format(ms, text);
    set_text(L, key, text);
}

static void push_decision(lua_State *L, const struct schedule_decision *d, const char *job)
{
    lua_createtable(L, 0, 7);
    set_text(L, "job", job);
    set_text(L, "decision", schedule_verdict_name(d->verdict));
    set_text(L, "reason", d->reason);
    set_time(L, "due", d->due);
    lua_pushinteger(L, d->ticks);
    lua_setfield(L, -2, "ticks");
    lua_createtable(L, 0, 2);
    set_time(L, "from", d->from);
    set_time(L, "to", d->to);
    lua_setfield(L, -2, "window");
}

/* What is to be done about it. */
static void push_action(lua_State *L, const struct schedule_decision *d, const char *args)
{
    static const char *const starts[] = {
        [SCHEDULE_START_NONE] = NULL,
        [SCHEDULE_START_NOW] = "now",
        [SCHEDULE_START_WAITING] = "waiting",
    };
    static const char *const stops[] = {
        [SCHEDULE_STOP_NONE] = NULL,
        [SCHEDULE_STOP_ASK] = "ask",
        [SCHEDULE_STOP_NOW] = "now",
    };
    lua_createtable(L, 0, 4);
    set_text(L, "start", starts[d->start]);
    set_text(L, "stop", stops[d->stop]);
    set_text(L, "args", args);
    lua_pushboolean(L, d->drop_waiting);
    lua_setfield(L, -2, "drop");
}

static void args_free(void *p)
{
    buf_fini(p);
    mem_free(p);
}

/* host.schedule_tick(schedules, job) -> the decision, { start?, stop?, drop, args } */
static int ticks_tick(lua_State *L)
{
    struct tick_one *one = one_of(L);
    struct vm_host *h = vm_host_of(L);
    struct schedule_due next;
    struct schedule_decision d;
    struct err e = ERR_INIT;
    struct vm_guard *g = vm_guard_push(L, args_free);
    struct buf *args = g->p = mem_new(sizeof *args);
    buf_init(args, QUEUE_BODY_MAX + 1);
    if (one == NULL || !schedule_next(&one->def->schedule, &one->state, &next) ||
        !schedule_tick(&one->def->schedule, &one->state, next.due, h->wall_ms(h), &d))
        return luaL_error(L, "nothing is due");
    if (job_args_scheduled(one->def, args, &e) != 0)
        return vm_raise(L, &e);
    push_decision(L, &d, one->def->name);
    push_action(L, &d, buf_str(args));
    return 2;
}

/* host.schedule_ended(schedules, job, "completed" | "discarded" | "cancelled") -> whether the run
 * that has waited longest starts now */
static int ticks_ended(lua_State *L)
{
    static const char *const names[] = {"completed", "discarded", "cancelled", NULL};
    static const enum schedule_outcome outcomes[] = {SCHEDULE_SUCCEEDED, SCHEDULE_FAILED,
                                                     SCHEDULE_CANCELLED};
    struct tick_one *one = one_of(L);
    struct vm_host *h = vm_host_of(L);
    struct schedule_change change;
    int outcome = luaL_checkoption(L, 3, NULL, names);
    if (one == NULL || one->state.running == 0)
        return luaL_error(L, "no run of it is under way");
    schedule_ended(&one->def->schedule, &one->state, h->wall_ms(h), outcomes[outcome], &change);
    lua_pushboolean(L, change.start_waiting);
    return 1;
}

/* host.schedule_coming(schedules, job, n) -> up to n due times, by definition, whether it is paused
 * or not; of `after` what is known. nil: it has no schedule */
static int ticks_coming(lua_State *L)
{
    const struct tick_one *one = one_of(L);
    struct vm_host *h = vm_host_of(L);
    lua_Integer n = luaL_checkinteger(L, 3);
    struct schedule_due next;
    char text[TIME_TEXT];
    if (one == NULL)
        return 0;
    const struct schedule *s = &one->def->schedule;
    const struct schedule_state *st = &one->state;
    int64_t now = h->wall_ms(h), due = now > st->decided ? now : st->decided;
    lua_newtable(L);
    for (lua_Integer i = 1; i <= n && i <= JOB_NEXT_MAX; i++) {
        if (s->kind != SCHEDULE_AFTER ? !schedule_due_after(s, due, &due)
                                      : i > 1 || !schedule_next(s, st, &next))
            break;
        time_format(s->kind == SCHEDULE_AFTER ? next.due : due, text);
        lua_pushstring(L, text);
        lua_rawseti(L, -2, i);
    }
    return 1;
}

void bind_open_ticks(lua_State *L)
{
    static const luaL_Reg fns[] = {
        {"schedules", ticks_open},         {"schedule_next", ticks_next},
        {"schedule_tick", ticks_tick},     {"schedule_ended", ticks_ended},
        {"schedule_coming", ticks_coming}, {NULL, NULL},
    };
    luaL_setfuncs(L, fns, 0);
}
