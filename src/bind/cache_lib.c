/* `cache`: what was computed, kept for a while, fresh or stale. */
#include <string.h>

#include "base/mem.h"
#include "bind/coord_priv.h"
#include "bind/queue_lib.h"

static int tags_read(struct coord_op *op, struct err *e)
{
    const json_t *v;
    size_t i;
    json_array_foreach(op->kept, i, v)
    {
        if (i == COORD_TAGS_MAX || !json_is_string(v) ||
            strlen(json_string_value(v)) != json_string_length(v))
            return err_field(e, ERR_INVALID, "tags", "tags: a list of at most %d texts",
                             COORD_TAGS_MAX);
        op->tags[i] = json_string_value(v);
    }
    op->cached.tags = op->tags;
    op->cached.tags_count = json_array_size(op->kept);
    return 0;
}

static int cached_read(struct coord_op *op, const json_t *o, struct err *e)
{
    static const char *const names[] = {"ttl", "stale_for", "tags"};
    op->cached.ttl_ms = COORD_CACHE_TTL_MS;
    if (o == NULL)
        return 0;
    if (!json_is_object(o))
        return err_set(e, ERR_INVALID, "options are a table like { ttl = \"10m\" }");
    json_t *tags = json_object_get(o, "tags");
    if (json_only_keys(o, "cache", names, ARRAY_LEN(names), e) != 0 ||
        bind_duration_read(o, "ttl", &op->cached.ttl_ms, e) != 0 ||
        bind_duration_read(o, "stale_for", &op->cached.stale_ms, e) != 0)
        return e->code;
    if (tags != NULL && !json_is_array(tags) &&
        !(json_is_object(tags) && json_object_size(tags) == 0))
        return err_field(e, ERR_INVALID, "tags", "tags: a list of at most %d texts",
                         COORD_TAGS_MAX);
    op->kept = json_is_array(tags) ? json_incref(tags) : NULL;
    return tags_read(op, e);
}

/* host.coord_cache(name, options, value, since) -> op */
static int coord_cache(lua_State *L)
{
    struct err e = ERR_INIT;
    lua_settop(L, 4);
    int64_t since = luaL_checkinteger(L, 4);
    json_t *options = bind_check_json(L, 2, "cache: options");
    json_t *value = bind_check_json(L, 3, "cache: value");
    struct coord_op *op = bind_coord_push(L, OP_CACHE, "name");
    if (cached_read(op, options, &e) == 0)
        bind_coord_print(op, value, &e);
    if (e.code != 0) {
        err_context(&e, "cache '%.80s'", op->name);
        return vm_raise(L, &e);
    }
    op->cached.name = op->name;
    op->cached.value = op->value.data;
    op->cached.n = op->value.len;
    op->cached.since = (uint64_t)since;
    return bind_coord_checked(L, op, "cache");
}

/* host.coord_flush(tag) -> op */
static int coord_flush(lua_State *L)
{
    struct coord_op *op = bind_coord_push(L, OP_FLUSH, "tag");
    return bind_coord_checked(L, op, "cache.flush");
}

/* host.cache_get(name) -> "fresh" or "stale", value; or nothing */
static int cache_get(lua_State *L)
{
    struct bind_thread *t = bind_live_thread(L, "cache");
    const char *name = bind_coord_name(L, 1, "name");
    struct err e = ERR_INIT;
    bool fresh = false;
    struct buf *b = bind_push_buf(L, COORD_VALUE_BYTES + 1);
    struct vm_guard *g = vm_guard_push(L, bind_json_free);
    int rc = coord_cache_get(t->reader, bind_tenant(L), name, t->world->wall_ms(t->world), &fresh,
                             b, &e);
    if (rc == ERR_NOT_FOUND)
        return 0;
    if (rc == 0)
        g->p = json_read(buf_str(b), b->len, &e);
    if (g->p == NULL)
        return vm_raise(L, &e);
    vm_charge(L, b->len / 16);
    lua_pushstring(L, fresh ? "fresh" : "stale");
    vm_push_json(L, g->p, VM_PLAIN);
    return 2;
}

void bind_open_cache(lua_State *L)
{
    static const luaL_Reg fns[] = {{"coord_cache", coord_cache},
                                   {"coord_flush", coord_flush},
                                   {"cache_get", cache_get},
                                   {NULL, NULL}};
    luaL_setfuncs(L, fns, 0);
}
