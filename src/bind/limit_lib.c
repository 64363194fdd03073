/* `limit`: tokens taken in the unit of whatever runs, or out of the share that this node has. */
#include "base/mem.h"
#include "bind/coord_priv.h"
#include "bind/queue_lib.h"

void bind_push_taken(lua_State *L, const struct coord_taken *taken)
{
    lua_createtable(L, 0, 3);
    lua_pushboolean(L, taken->taken);
    lua_setfield(L, -2, "taken");
    lua_pushinteger(L, taken->wait_ms);
    lua_setfield(L, -2, "wait_ms");
    lua_pushinteger(L, taken->left);
    lua_setfield(L, -2, "left");
}

static int take_read(const json_t *o, struct coord_take *k, struct err *e)
{
    static const char *const names[] = {"rate", "per", "burst", "exact"};
    bool exact;
    if (!json_is_object(o))
        return err_set(e, ERR_INVALID, "wants a table like { rate = 100, per = \"1s\" }");
    if (json_only_keys(o, "limit", names, ARRAY_LEN(names), e) != 0 ||
        json_get_int(o, "rate", &k->rate, e) == ERR_INVALID ||
        json_get_int(o, "burst", &k->burst, e) == ERR_INVALID ||
        json_get_bool(o, "exact", &exact, e) == ERR_INVALID)
        return e->code;
    err_clear(e);
    k->per_ms = 1000;
    if (json_object_get(o, "burst") == NULL)
        k->burst = k->rate;
    return bind_duration_read(o, "per", &k->per_ms, e);
}

static struct coord_op *take_push(lua_State *L)
{
    struct err e = ERR_INIT;
    int64_t n = luaL_checkinteger(L, 3), wait_ms = luaL_checkinteger(L, 4);
    json_t *options = bind_check_json(L, 2, "limit: options");
    struct coord_op *op = bind_coord_push(L, OP_TAKE, "name");
    op->take = (struct coord_take){.name = op->name, .n = n};
    op->take.wait_ms = wait_ms < COORD_WAIT_MAX_MS ? wait_ms : COORD_WAIT_MAX_MS;
    if (take_read(options, &op->take, &e) == 0)
        return op;
    err_context(&e, "limit '%.80s'", op->name);
    vm_raise(L, &e);
    return NULL;
}

/* host.coord_take(name, options, n, wait_ms) -> op */
static int coord_take(lua_State *L)
{
    const struct coord_op *op = take_push(L);
    return bind_coord_checked(L, op, "limit");
}

/* host.share_take(name, options, n, wait_ms) -> what became of it, out of this node's share */
static int share_take(lua_State *L)
{
    struct bind_thread *t = bind_live_thread(L, "limit");
    const struct coord_op *op = take_push(L);
    struct coord_taken taken;
    struct err e = ERR_INIT;
    if (t->bind->coord == NULL)
        err_set(&e, ERR_UNSUPPORTED, "coordination is not running here");
    else
        coord_share_take(t->bind->coord, t->reader, bind_tenant(L), &op->take,
                         t->world->wall_ms(t->world), &taken, &e);
    if (e.code != 0) {
        err_context(&e, "limit '%.80s'", op->name);
        return vm_raise(L, &e);
    }
    bind_push_taken(L, &taken);
    return 1;
}

void bind_open_limits(lua_State *L)
{
    static const luaL_Reg fns[] = {
        {"coord_take", coord_take}, {"share_take", share_take}, {NULL, NULL}};
    luaL_setfuncs(L, fns, 0);
}
