#include "bind/grants.h"

#include <string.h>

#include "base/mem.h"
#include "bind/bind_priv.h"

void bind_outcome_init(struct bind_outcome *o)
{
    *o = (struct bind_outcome){.settle = {.outcome = SETTLE_ACK, .delay_ms = -1}};
}

void bind_outcome_fini(struct bind_outcome *o)
{
    mem_free(o->text);
    o->text = NULL;
}

/* The library has seen to it that results are not over QUEUE_RESULT_BYTES. */
static void take_text(lua_State *L, int at, struct bind_outcome *o, size_t max)
{
    size_t n = 0;
    const char *text = lua_type(L, at) == LUA_TSTRING ? lua_tolstring(L, at, &n) : NULL;
    if (text == NULL)
        return;
    n = n < max ? n : max;
    o->text = mem_new(n + 1);
    memcpy(o->text, text, n);
    o->text_len = n;
}

void bind_outcome_take(lua_State *L, int at, struct bind_outcome *o)
{
    const char *what = lua_type(L, at) == LUA_TSTRING ? lua_tostring(L, at) : "ack";
    bind_outcome_init(o);
    if (strcmp(what, "reject") == 0) {
        o->settle.outcome = SETTLE_REJECT;
        take_text(L, at + 1, o, QUEUE_ERROR_BYTES);
    } else if (strcmp(what, "release") == 0) {
        o->settle.outcome = SETTLE_RELEASE;
    } else if (strcmp(what, "nack") == 0) {
        o->settle.outcome = SETTLE_NACK;
        o->settle.delay_ms = lua_tointeger(L, at + 1);
    } else if (strcmp(what, "snooze") == 0 || strcmp(what, "backoff") == 0) {
        o->settle.outcome = SETTLE_SNOOZE;
        o->settle.until = lua_tointeger(L, at + 1);
        if (*what == 'b' && lua_type(L, at + 2) == LUA_TSTRING)
            snprintf(o->gate, sizeof o->gate, "%s", lua_tostring(L, at + 2));
    } else {
        take_text(L, at + 1, o, QUEUE_RESULT_BYTES);
    }
}

/* ---- in a unit ---- */

struct outcomes {
    size_t count;
    struct bind_outcome list[];
};

static void outcomes_free(void *p)
{
    struct outcomes *o = p;
    for (size_t i = 0; i < o->count; i++)
        bind_outcome_fini(&o->list[i]);
    mem_free(o);
}

/* { outcome, value, gate } in the place of an ack */
static void take_one(lua_State *L, int at, size_t i, struct bind_outcome *o)
{
    if (lua_rawgeti(L, at, (lua_Integer)i + 1) == LUA_TTABLE) {
        int one = lua_gettop(L);
        for (lua_Integer k = 1; k <= 3; k++)
            lua_rawgeti(L, one, k);
        bind_outcome_take(L, one + 1, o);
        lua_settop(L, one);
    }
    lua_pop(L, 1);
}

struct bind_outcome *bind_check_outcomes(lua_State *L, int at, struct bind_grants held)
{
    if (held.count == 0 || !lua_toboolean(L, at))
        return NULL;
    luaL_checkstack(L, 8, NULL);
    struct vm_guard *g = vm_guard_push(L, outcomes_free);
    struct outcomes *o = mem_new(sizeof *o + held.count * sizeof o->list[0]);
    g->p = o;
    o->count = held.count;
    for (size_t i = 0; i < held.count; i++)
        bind_outcome_init(&o->list[i]);
    if (!lua_istable(L, at))
        return o->list;
    for (size_t i = 0; i < held.count; i++)
        take_one(L, at, i, &o->list[i]);
    lua_getfield(L, at, "result");
    if (o->list[0].settle.outcome == SETTLE_ACK)
        take_text(L, lua_gettop(L), &o->list[0], QUEUE_RESULT_BYTES);
    lua_pop(L, 1);
    return o->list;
}

void bind_grants_conditions(struct bind_grants held, struct txn *t)
{
    for (size_t i = 0; i < held.count; i++)
        queue_txn_if_delivery(t, &held.list[i].id, held.list[i].token);
}

int bind_grants_compose(struct bind_grants held, const struct bind_outcome *outcomes, struct txn *t,
                        struct err *e)
{
    for (size_t i = 0; i < held.count; i++) {
        const struct bind_outcome *o = &outcomes[i];
        struct core_settle s = o->settle;
        s.id = held.list[i].id;
        s.token = held.list[i].token;
        if (queue_txn_settle(t, &s, o->text, o->text_len, e) != 0)
            return e->code;
    }
    return 0;
}
