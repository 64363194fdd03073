/* `kv` and `counter`, and leases that are given back with a unit: read on the script thread, from
 * its connection; changes are operations that host.write() puts into the unit of whatever runs.
 * lua/lib/coord.lua makes it pleasant. limit_lib.c and cache_lib.c have the others. */
#include "bind/coord_lib.h"

#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "base/time.h"
#include "bind/claim.h"
#include "bind/coord_priv.h"
#include "bind/queue_lib.h"

static void op_free(void *p)
{
    struct coord_op *op = p;
    buf_fini(&op->value);
    json_decref(op->kept);
    mem_free(op);
}

const struct coord_op *bind_check_coord(lua_State *L, int at)
{
    struct vm_guard *g = lua_touserdata(L, at);
    if (g == NULL || g->free != op_free)
        luaL_error(L, "not a change of kv or a counter");
    return g->p;
}

int bind_coord_compose(const struct coord_op *op, struct txn *t, struct err *e)
{
    switch (op->kind) {
    case OP_PUT:
        return coord_txn_put(t, &op->put, e);
    case OP_REMOVE:
        return coord_txn_remove(t, op->name, op->version, e);
    case OP_VALUE_IS:
        return coord_txn_if_value(t, op->name, op->version, e);
    case OP_ADD:
        return coord_txn_add(t, op->name, op->number, e);
    case OP_COUNT_IS:
        return coord_txn_if_count(t, op->name, op->number, e);
    case OP_TAKE:
        return coord_txn_take(t, &op->take, e);
    case OP_RELEASE:
        return coord_txn_release(t, &op->claim, e);
    case OP_CACHE:
        return coord_txn_cache(t, &op->cached, e);
    case OP_FLUSH:
        return coord_txn_flush(t, op->name, e);
    }
    return 0;
}

int bind_coord_result(lua_State *L, const struct coord_op *op, const struct unit *u, uint32_t place)
{
    struct cursor c;
    uint64_t version = 0;
    int64_t before = 0, after = 0;
    struct coord_taken taken = {.taken = false};
    bool there = u != NULL && unit_result(u, place, &c);
    if (there && op->kind == OP_PUT && coord_number_read(&c, &version, NULL) == 0)
        lua_pushinteger(L, (lua_Integer)version);
    else if (there && op->kind == OP_ADD && coord_added_read(&c, &before, &after, NULL) == 0)
        lua_pushinteger(L, after);
    else if (there && op->kind == OP_TAKE && coord_taken_read(&c, &taken, NULL) == 0)
        bind_push_taken(L, &taken);
    else
        lua_pushnil(L);
    return 1;
}

/* ---- arguments ---- */

const char *bind_coord_name(lua_State *L, int at, const char *what)
{
    struct err e;
    size_t n = 0;
    const char *s = lua_type(L, at) == LUA_TSTRING ? lua_tolstring(L, at, &n) : NULL;
    if (s != NULL && n >= 1 && n <= COORD_KEY_BYTES && strlen(s) == n)
        return s;
    err_field(&e, ERR_INVALID, what, "%s: a text of 1 to %d bytes", what, COORD_KEY_BYTES);
    vm_raise(L, &e);
    return NULL;
}

struct coord_op *bind_coord_push(lua_State *L, enum coord_kind kind, const char *what)
{
    const char *name = bind_coord_name(L, 1, what);
    struct vm_guard *g = vm_guard_push(L, op_free);
    struct coord_op *op = mem_new(sizeof *op);
    op->kind = kind;
    str_copy(op->name, sizeof op->name, name);
    buf_init(&op->value, COORD_VALUE_BYTES + 1);
    g->p = op;
    return op;
}

int bind_coord_checked(lua_State *L, const struct coord_op *op, const char *what)
{
    struct err e = ERR_INIT;
    struct txn t;
    txn_init(&t);
    int rc = bind_coord_compose(op, &t, &e);
    txn_fini(&t);
    if (rc == 0)
        return 1;
    err_context(&e, "%s '%.80s'", what, op->name);
    return vm_raise(L, &e);
}

/* ---- values ---- */

/* host.kv_get(key) -> value, version; or nothing */
static int kv_get(lua_State *L)
{
    struct bind_thread *t = bind_live_thread(L, "kv.get");
    const char *key = bind_coord_name(L, 1, "key");
    struct coord_value v;
    struct err e = ERR_INIT;
    struct buf *b = bind_push_buf(L, COORD_VALUE_BYTES + 1);
    struct vm_guard *g = vm_guard_push(L, bind_json_free);
    int rc =
        coord_value_get(t->reader, bind_tenant(L), key, t->world->wall_ms(t->world), &v, b, &e);
    if (rc == ERR_NOT_FOUND)
        return 0;
    if (rc == 0)
        g->p = json_read(buf_str(b), b->len, &e);
    if (g->p == NULL)
        return vm_raise(L, &e);
    vm_charge(L, b->len / 16);
    vm_push_json(L, g->p, VM_PLAIN);
    lua_pushinteger(L, (lua_Integer)v.version);
    return 2;
}

/* host.kv_list(prefix, after, limit) -> list, more */
static int kv_list(lua_State *L)
{
    struct bind_thread *t = bind_live_thread(L, "kv.list");
    struct coord_page p = {.prefix = luaL_checkstring(L, 1),
                           .after = luaL_checkstring(L, 2),
                           .limit = (int)luaL_checkinteger(L, 3)};
    struct err e = ERR_INIT;
    bool more = false;
    json_t *list = NULL;
    struct vm_guard *g = vm_guard_push(L, bind_json_free);
    if (coord_values_list(t->reader, bind_tenant(L), &p, t->world->wall_ms(t->world), &list, &more,
                          &e) != 0)
        return vm_raise(L, &e);
    g->p = list;
    vm_charge(L, json_array_size(list) * 50);
    vm_push_json(L, list, VM_PLAIN);
    lua_pushboolean(L, more);
    return 2;
}

static int version_read(const json_t *o, uint64_t *out, struct err *e)
{
    const json_t *v = json_object_get(o, "if_version");
    if (v == NULL)
        return 0;
    if (!json_is_integer(v) || json_integer_value(v) < 1)
        return err_field(e, ERR_INVALID, "if_version",
                         "if_version is a version, which counts from 1");
    *out = (uint64_t)json_integer_value(v);
    return 0;
}

static int yes_read(const json_t *o, const char *key, bool *out, struct err *e)
{
    return json_get_bool(o, key, out, e) == ERR_INVALID ? e->code : 0;
}

static int put_read(const json_t *o, struct coord_put *p, struct err *e)
{
    static const char *const names[] = {"ttl", "if_version", "nx", "xx"};
    if (o == NULL)
        return 0;
    if (!json_is_object(o))
        return err_set(e, ERR_INVALID, "options are a table like { ttl = \"10m\" }");
    if (json_only_keys(o, "kv.put", names, ARRAY_LEN(names), e) != 0 ||
        bind_duration_read(o, "ttl", &p->ttl_ms, e) != 0 ||
        version_read(o, &p->if_version, e) != 0 || yes_read(o, "nx", &p->nx, e) != 0 ||
        yes_read(o, "xx", &p->xx, e) != 0)
        return e->code;
    if (json_object_get(o, "ttl") != NULL && p->ttl_ms < 1)
        return err_field(e, ERR_INVALID, "ttl", "ttl: more than nothing, at most ten years");
    err_clear(e);
    return 0;
}

void bind_coord_print(struct coord_op *op, const json_t *value, struct err *e)
{
    if (json_print(value, &op->value, e) != 0)
        err_field(e, ERR_TOO_LARGE, "value", "value: at most %d KiB as JSON",
                  COORD_VALUE_BYTES >> 10);
}

/* host.coord_put(key, value, options) -> op, bytes */
static int coord_put(lua_State *L)
{
    struct err e = ERR_INIT;
    lua_settop(L, 3);
    json_t *value = bind_check_json(L, 2, "kv.put: value");
    json_t *options = bind_check_json(L, 3, "kv.put: options");
    struct coord_op *op = bind_coord_push(L, OP_PUT, "key");
    if (value == NULL)
        err_field(&e, ERR_INVALID, "value", "kv.put has no value; kv.remove removes");
    else if (put_read(options, &op->put, &e) == 0)
        bind_coord_print(op, value, &e);
    if (e.code != 0) {
        err_context(&e, "kv.put '%.80s'", op->name);
        return vm_raise(L, &e);
    }
    op->put.key = op->name;
    op->put.value = op->value.data;
    op->put.n = op->value.len;
    bind_coord_checked(L, op, "kv.put");
    lua_pushinteger(L, (lua_Integer)op->value.len);
    return 2;
}

/* host.coord_remove(key, options) -> op */
static int coord_remove(lua_State *L)
{
    static const char *const names[] = {"if_version"};
    struct err e = ERR_INIT;
    lua_settop(L, 2);
    json_t *options = bind_check_json(L, 2, "kv.remove: options");
    struct coord_op *op = bind_coord_push(L, OP_REMOVE, "key");
    if (options != NULL && !json_is_object(options))
        err_set(&e, ERR_INVALID, "options are a table like { if_version = 17 }");
    else if (options != NULL && json_only_keys(options, "kv.remove", names, 1, &e) == 0)
        version_read(options, &op->version, &e);
    if (e.code != 0)
        return vm_raise(L, &e);
    return bind_coord_checked(L, op, "kv.remove");
}

/* host.coord_value_is(key, version) -> op */
static int coord_value_is(lua_State *L)
{
    uint64_t version = (uint64_t)luaL_checkinteger(L, 2);
    struct coord_op *op = bind_coord_push(L, OP_VALUE_IS, "key");
    op->version = version;
    return bind_coord_checked(L, op, "kv.get");
}

/* ---- counters ---- */

/* host.counter_get(name) -> number */
static int counter_get(lua_State *L)
{
    struct bind_thread *t = bind_live_thread(L, "counter.get");
    struct err e = ERR_INIT;
    bool found;
    int64_t n = 0;
    if (coord_counter_get(t->reader, bind_tenant(L), bind_coord_name(L, 1, "name"), &n, &found,
                          &e) != 0)
        return vm_raise(L, &e);
    lua_pushinteger(L, n);
    return 1;
}

static int count_op(lua_State *L, enum coord_kind kind)
{
    int64_t n = luaL_checkinteger(L, 2);
    struct coord_op *op = bind_coord_push(L, kind, "name");
    op->number = n;
    return bind_coord_checked(L, op, "counter");
}

/* host.coord_add(name, n) -> op */
static int coord_add(lua_State *L)
{
    return count_op(L, OP_ADD);
}

/* host.coord_count_is(name, n) -> op */
static int coord_count_is(lua_State *L)
{
    return count_op(L, OP_COUNT_IS);
}

/* ---- leases ---- */

/* host.coord_release(hold) -> op: given back with a unit */
static int coord_release(lua_State *L)
{
    struct coord_claim c = bind_claim_of(bind_check_claim(L, 1));
    lua_settop(L, 0);
    lua_pushstring(L, c.name);
    struct coord_op *op = bind_coord_push(L, OP_RELEASE, "name");
    str_copy(op->id, sizeof op->id, c.id);
    op->claim = (struct coord_claim){.name = op->name, .token = c.token, .id = op->id};
    return 1;
}

/* host.applied() -> the log index as of which it reads, or an earlier one */
static int coord_applied(lua_State *L)
{
    lua_pushinteger(L, (lua_Integer)ledger_applied(bind_set_of(L)->thread->bind->ledger));
    return 1;
}

/* host.can_write() -> whether this run may change anything here */
static int coord_can_write(lua_State *L)
{
    lua_pushboolean(L, vm_can_await(L) && bind_run_of(L)->no_writes == NULL);
    return 1;
}

void bind_open_coord(lua_State *L)
{
    static const luaL_Reg fns[] = {{"kv_get", kv_get},
                                   {"kv_list", kv_list},
                                   {"coord_put", coord_put},
                                   {"coord_remove", coord_remove},
                                   {"coord_value_is", coord_value_is},
                                   {"counter_get", counter_get},
                                   {"coord_add", coord_add},
                                   {"coord_count_is", coord_count_is},
                                   {"coord_release", coord_release},
                                   {"applied", coord_applied},
                                   {"can_write", coord_can_write},
                                   {NULL, NULL}};
    luaL_setfuncs(L, fns, 0);
    bind_open_limits(L);
    bind_open_cache(L);
}
