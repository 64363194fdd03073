/* Reading records by id, on the script thread, from its own connection: microseconds. What stands
 * beside them may be many rows, and is read as queries are (rows.c). */
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/str.h"
#include "bind/rows_priv.h"
#include "db/db.h"

const struct envelope *bind_env(lua_State *L)
{
    static const struct envelope none;
    struct bind_run *r = vm_is_loading(vm_of(L)) ? NULL : bind_run_of(L);
    return r != NULL ? r->env : &none;
}

const char *bind_tenant(lua_State *L)
{
    const char *t = bind_env(L)->tenant;
    return t != NULL ? t : "default";
}

struct bind_thread *bind_live_thread(lua_State *L, const char *what)
{
    if (vm_is_loading(vm_of(L))) {
        struct err e;
        err_set(&e, ERR_INVALID, "%s: not while the script loads; call it in a hook or handler",
                what);
        vm_raise_fault(L, &e);
    }
    return bind_set_of(L)->thread;
}

static void def_free(void *p)
{
    entity_def_unref(p);
}

const char *bind_partition(const char *name)
{
    const char *slash = strchr(name, '/');
    return slash != NULL ? slash + 1 : "";
}

const char *bind_scope(lua_State *L, const char *name)
{
    const char *part = bind_partition(name);
    struct err e = ERR_INIT;
    if (*part == '\0')
        return lua_pushstring(L, bind_tenant(L));
    if (str_check_name(part, "partition", &e) != 0)
        vm_raise(L, &e);
    return lua_pushfstring(L, "%s/%s", bind_tenant(L), part);
}

struct entity_def *bind_check_entity(lua_State *L, const char *full)
{
    char name[ENTITY_NAME_MAX + 1];
    snprintf(name, sizeof name, "%.*s", (int)strcspn(full, "/"), full);
    struct bind_thread *t = bind_live_thread(L, name);
    struct vm_guard *g = vm_guard_push(L, def_free);
    g->p = entities_find(t->bind->entities, name);
    if (g->p == NULL) {
        struct err e = ERR_INIT;
        entities_unknown(t->bind->entities, name, &e);
        vm_raise_fault(L, &e);
    }
    return g->p;
}

static const char *check_id(lua_State *L, int at)
{
    if (lua_type(L, at) == LUA_TSTRING)
        return lua_tostring(L, at);
    struct err e;
    err_field(&e, ERR_INVALID, "id", "an id is a text, not a %s", luaL_typename(L, at));
    vm_raise(L, &e);
    return NULL;
}

/* host.get(entity, id) -> record or nil */
static int verb_get(lua_State *L)
{
    const char *id = check_id(L, 2);
    struct entity_def *d = bind_check_entity(L, luaL_checkstring(L, 1));
    const char *scope = bind_scope(L, lua_tostring(L, 1));
    struct vm_guard *g = vm_guard_push(L, bind_json_free);
    struct err e = ERR_INIT;
    json_t *record = NULL;
    int rc = entity_get_json(bind_set_of(L)->thread->reader, d, scope, id, &record, NULL, &e);
    if (rc == ERR_NOT_FOUND)
        return lua_pushnil(L), 1;
    if (rc != 0)
        return vm_raise(L, &e);
    g->p = record;
    vm_push_json(L, record, VM_PLAIN);
    return 1;
}

/* host.history(entity, id[, version]) -> list, or record or nil */
static int verb_history(lua_State *L)
{
    const char *id = check_id(L, 2);
    bool one = !lua_isnoneornil(L, 3);
    lua_Integer version = one ? luaL_checkinteger(L, 3) : 0;
    struct entity_def *d = bind_check_entity(L, luaL_checkstring(L, 1));
    const char *scope = bind_scope(L, lua_tostring(L, 1));
    struct vm_guard *g = vm_guard_push(L, bind_json_free);
    struct err e = ERR_INIT;
    struct buf text = BUF_INIT(BIND_PAGE_BYTES);
    struct db *db = bind_set_of(L)->thread->reader;
    int rc = one ? entity_history_get(db, d, scope, id, (uint64_t)version, &text, &e)
                 : entity_history(db, d, scope, id, &text, &e);
    if (rc == 0)
        g->p = json_read(buf_str(&text), text.len, &e);
    buf_fini(&text);
    if (one && (rc == ERR_NOT_FOUND || rc == ERR_GONE))
        return lua_pushnil(L), 1;
    if (g->p == NULL)
        return vm_raise(L, &e);
    vm_push_json(L, g->p, VM_PLAIN);
    return 1;
}

static size_t take_ids(lua_State *L, struct bind_rows *r)
{
    size_t n = lua_rawlen(L, 2);
    if (n > ENTITY_GET_MANY_MAX) {
        struct err e;
        err_set(&e, ERR_TOO_LARGE, "get: %zu ids; at most %d at once", n, ENTITY_GET_MANY_MAX);
        vm_raise(L, &e);
    }
    for (size_t i = 0; i < n; i++) { /* the table keeps the texts alive */
        lua_rawgeti(L, 2, (lua_Integer)i + 1);
        r->ids[i] = check_id(L, -1);
        lua_pop(L, 1);
    }
    r->ids_count = n;
    return n;
}

/* host.get_many(entity, ids) -> list with json.null for each that is missing */
static int verb_get_many(lua_State *L)
{
    luaL_checktype(L, 2, LUA_TTABLE);
    struct err e = ERR_INIT;
    struct entity_def *d = bind_check_entity(L, luaL_checkstring(L, 1));
    struct bind_rows *r = bind_rows_push(L);
    size_t n = take_ids(L, r);
    const char *scope = bind_scope(L, lua_tostring(L, 1));
    if (entity_get_many(bind_set_of(L)->thread->reader, d, scope, r->ids, n, &r->text, &e) != 0)
        return vm_raise(L, &e);
    r->rows = json_read(buf_str(&r->text), r->text.len, &e);
    if (r->rows == NULL)
        return vm_raise(L, &e);
    vm_push_json(L, r->rows, VM_PLAIN);
    return 1;
}

/* ---- with what stands beside them ---- */

static int beside_read(struct bind_rows *r, struct db *db, struct err *e)
{
    int rc = db_snapshot_begin(db, e);
    if (rc != 0)
        return rc;
    if (r->ids_count > 0 &&
        (rc = entity_get_many(db, r->def, r->tenant, r->ids, r->ids_count, &r->text, e)) == 0) {
        r->rows = json_read(buf_str(&r->text), r->text.len, e);
        rc = r->rows != NULL ? 0 : ERR_CORRUPT;
    }
    if (rc == 0)
        rc = entity_expand(r->expand, db, r->tenant, r->rows, e);
    db_snapshot_end(db);
    return rc;
}

static int beside_k(lua_State *L, int status, lua_KContext ctx)
{
    (void)status;
    struct bind_rows *r = (struct bind_rows *)ctx;
    if (r->err.code != 0)
        return vm_raise(L, &r->err);
    vm_charge(L, (json_array_size(r->rows) + entity_expand_rows(r->expand)) * BIND_STEPS_PER_ROW);
    bind_rows_tree(L, r);
    vm_push_json(L, r->rows, VM_PLAIN);
    lua_pushvalue(L, -2);
    return 2;
}

/* host.get_with(entity, ids, with) -> list with json.null for each that is missing, tree */
static int verb_get_with(lua_State *L)
{
    luaL_checktype(L, 2, LUA_TTABLE);
    struct entity_def *d = bind_check_entity(L, luaL_checkstring(L, 1));
    struct bind_rows *r = bind_rows_push(L);
    take_ids(L, r);
    bind_rows_with(L, r, d, luaL_checkstring(L, 3), NULL);
    r->def = d;
    r->read = beside_read;
    return bind_rows_read(L, r, beside_k);
}

/* host.beside(entity, records, with) -> records, tree: as they are, with what is committed */
static int verb_beside(lua_State *L)
{
    struct entity_def *d = bind_check_entity(L, luaL_checkstring(L, 1));
    json_t *rows = bind_check_json(L, 2, "records");
    struct bind_rows *r = bind_rows_push(L);
    r->rows = json_incref(rows);
    bind_rows_with(L, r, d, luaL_checkstring(L, 3), NULL);
    r->def = d;
    r->read = beside_read;
    return bind_rows_read(L, r, beside_k);
}

/* host.defaults(entity) */
static int verb_defaults(lua_State *L)
{
    struct entity_def *d = bind_check_entity(L, luaL_checkstring(L, 1));
    struct vm_guard *g = vm_guard_push(L, bind_json_free);
    g->p = entity_doc_defaults(d);
    vm_push_json(L, g->p, VM_PLAIN);
    return 1;
}

static void push_optional(lua_State *L, const char *text, const char *missing)
{
    lua_pushstring(L, text != NULL ? text : missing);
}

/* host.who() -> tenant, principal, correlation */
static int verb_who(lua_State *L)
{
    const struct envelope *env = bind_env(L);
    push_optional(L, env->tenant, "default");
    push_optional(L, env->principal, "system");
    push_optional(L, env->correlation, NULL);
    return 3;
}

void bind_open_verbs(lua_State *L)
{
    static const luaL_Reg fns[] = {{"get", verb_get},         {"get_many", verb_get_many},
                                   {"who", verb_who},         {"defaults", verb_defaults},
                                   {"history", verb_history}, {"get_with", verb_get_with},
                                   {"beside", verb_beside},   {NULL, NULL}};
    luaL_setfuncs(L, fns, 0);
    bind_open_query(L);
}
