/* Questions of scripts about many records: host.query() and host.count(). */
#include <string.h>

#include "base/mem.h"
#include "bind/rows_priv.h"
#include "codec/base64.h"
#include "db/db.h"

static const char *option_text(lua_State *L, const json_t *options, const char *key)
{
    const char *text = NULL;
    struct err e = ERR_INIT;
    if (json_get_string(options, key, &text, &e) == ERR_INVALID)
        vm_raise(L, &e);
    return text;
}

static int option_int(lua_State *L, const json_t *options, const char *key)
{
    int64_t v = 0;
    struct err e = ERR_INIT;
    if (json_get_int(options, key, &v, &e) == ERR_INVALID)
        vm_raise(L, &e);
    return v > INT32_MAX || v < 0 ? INT32_MAX : (int)v;
}

static void check_options(lua_State *L, const json_t *options)
{
    static const char *const names[] = {"filter",    "q",      "sort",  "fields", "page",
                                        "page_size", "cursor", "count", "with",   "removed"};
    struct err e = ERR_INIT;
    if (options != NULL && !json_is_object(options))
        err_set(&e, ERR_INVALID, "query wants a table like { filter = { .. }, sort = \"name\" }");
    else if (options != NULL)
        json_only_keys(options, "query", names, ARRAY_LEN(names), &e);
    if (e.code != 0)
        vm_raise(L, &e);
}

static void parse_filter(lua_State *L, struct bind_rows *r, const struct entity_def *d,
                         const json_t *options)
{
    struct err e = ERR_INIT;
    if (filter_parse(d, json_object_get(options, "filter"), &r->filter, &e) != 0) {
        err_context(&e, "filter");
        vm_raise(L, &e);
    }
}

static bool option_removed(lua_State *L, const json_t *options)
{
    const char *text = option_text(L, options, "removed");
    if (text == NULL || strcmp(text, "only") == 0)
        return text != NULL;
    struct err e;
    err_field(&e, ERR_INVALID, "removed", "removed is 'only', not '%s'", text);
    vm_raise(L, &e);
    return false;
}

static enum entity_count_mode count_mode(lua_State *L, const json_t *options)
{
    const char *text = option_text(L, options, "count");
    if (text == NULL || strcmp(text, "none") == 0)
        return ENTITY_COUNT_NONE;
    if (strcmp(text, "some") == 0)
        return ENTITY_COUNT_SOME;
    if (strcmp(text, "exact") == 0)
        return ENTITY_COUNT_EXACT;
    struct err e;
    err_field(&e, ERR_INVALID, "count", "count is 'none', 'some' or 'exact', not '%s'", text);
    vm_raise(L, &e);
    return ENTITY_COUNT_NONE;
}

static void push_page_info(lua_State *L, struct bind_rows *r)
{
    lua_createtable(L, 0, 4);
    if (r->page.total >= 0) {
        lua_pushinteger(L, r->page.total);
        lua_setfield(L, -2, "total");
        lua_pushboolean(L, r->page.at_least);
        lua_setfield(L, -2, "at_least");
    }
    lua_pushboolean(L, r->page.more);
    lua_setfield(L, -2, "more");
    if (r->page.cursor.len == 0)
        return;
    buf_reset(&r->text);
    base64_encode(BASE64_URL, r->page.cursor.data, r->page.cursor.len, &r->text);
    lua_pushlstring(L, buf_str(&r->text), r->text.len);
    lua_setfield(L, -2, "cursor");
}

static int query_rows(struct bind_rows *r, struct db *db, struct err *e)
{
    int rc = entity_query(db, r->def, r->tenant, &r->query, &r->page, e);
    if (rc != 0)
        return rc;
    r->rows = json_read(buf_str(&r->page.rows), r->page.rows.len, e);
    return r->rows != NULL ? 0 : e->code;
}

static int query_read(struct bind_rows *r, struct db *db, struct err *e)
{
    if (r->expand == NULL)
        return query_rows(r, db, e);
    int rc = db_snapshot_begin(db, e);
    if (rc != 0)
        return rc;
    if ((rc = query_rows(r, db, e)) == 0)
        rc = entity_expand(r->expand, db, r->tenant, r->rows, e);
    db_snapshot_end(db);
    return rc;
}

static int query_k(lua_State *L, int status, lua_KContext ctx)
{
    (void)status;
    struct bind_rows *r = (struct bind_rows *)ctx;
    if (r->snapshot != NULL)
        bind_snapshot_leave(TAKE(r->snapshot), r->err.code == 0 && r->page.more);
    if (r->err.code != 0)
        return vm_raise(L, &r->err);
    size_t beside = r->expand != NULL ? entity_expand_rows(r->expand) : 0;
    vm_charge(L, (r->page.count + beside) * BIND_STEPS_PER_ROW);
    if (r->expand != NULL)
        bind_rows_tree(L, r);
    else
        lua_pushnil(L);
    int tree = lua_gettop(L);
    vm_push_json(L, r->rows, VM_PLAIN);
    push_page_info(L, r);
    lua_pushvalue(L, tree);
    return 3;
}

static struct entity_def *query_def(lua_State *L, const struct bind_snapshot *s)
{
    struct entity_def *d = s != NULL ? bind_snapshot_def(s) : NULL;
    return d != NULL ? d : bind_check_entity(L, luaL_checkstring(L, 1));
}

/* host.query(entity, options[, snapshot]) -> rows, info, and with `with` the tree */
static int verb_query(lua_State *L)
{
    struct bind_snapshot *snapshot = bind_check_snapshot(L, 3);
    struct entity_def *d = query_def(L, snapshot);
    json_t *options = bind_check_json(L, 2, "query");
    check_options(L, options);
    struct bind_rows *r = bind_rows_push(L);
    parse_filter(L, r, d, options);
    r->def = d;
    r->read = query_read;
    r->query = (struct entity_query){.filter = r->filter,
                                     .q = option_text(L, options, "q"),
                                     .sort = option_text(L, options, "sort"),
                                     .fields = option_text(L, options, "fields"),
                                     .page = option_int(L, options, "page"),
                                     .page_size = option_int(L, options, "page_size"),
                                     .removed = option_removed(L, options),
                                     .count = count_mode(L, options)};
    bind_rows_with(L, r, d, option_text(L, options, "with"), r->query.fields);
    const char *cursor = option_text(L, options, "cursor");
    struct err e = ERR_INIT;
    if (cursor != NULL) {
        if (base64_decode(BASE64_URL, cursor, strlen(cursor), &r->text, &e) != 0)
            return err_context(&e, "cursor"), vm_raise(L, &e);
        r->query.cursor = buf_str(&r->text);
        r->query.cursor_len = r->text.len;
    }
    int rc = snapshot != NULL ? bind_snapshot_enter(snapshot, d, &e) : 0;
    if (rc == ERR_OVERLOADED) { /* runs that have ended may have left some behind */
        lua_gc(L, LUA_GCCOLLECT);
        rc = bind_snapshot_enter(snapshot, d, &e);
    }
    if (rc != 0)
        return vm_raise(L, &e);
    r->snapshot = snapshot;
    return bind_rows_read(L, r, query_k);
}

static int count_read(struct bind_rows *r, struct db *db, struct err *e)
{
    return entity_count(db, r->def, r->tenant, &r->query, &r->count, e);
}

static int count_k(lua_State *L, int status, lua_KContext ctx)
{
    (void)status;
    struct bind_rows *r = (struct bind_rows *)ctx;
    if (r->err.code != 0)
        return vm_raise(L, &r->err);
    lua_pushinteger(L, r->count);
    return 1;
}

/* host.count(entity, options) */
static int verb_count(lua_State *L)
{
    struct entity_def *d = bind_check_entity(L, luaL_checkstring(L, 1));
    json_t *options = bind_check_json(L, 2, "count");
    check_options(L, options);
    struct bind_rows *r = bind_rows_push(L);
    parse_filter(L, r, d, options);
    r->def = d;
    r->query = (struct entity_query){.filter = r->filter,
                                     .q = option_text(L, options, "q"),
                                     .removed = option_removed(L, options)};
    r->read = count_read;
    return bind_rows_read(L, r, count_k);
}

void bind_open_query(lua_State *L)
{
    static const luaL_Reg fns[] = {{"query", verb_query}, {"count", verb_count}, {NULL, NULL}};
    luaL_setfuncs(L, fns, 0);
}
