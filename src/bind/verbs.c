/* Reading records. By id on the script thread, from its own connection: microseconds. Queries and
 * counts may visit many rows, so they go to the pool, one at a time for each script thread, and the
 * coroutine waits; where it cannot wait (in a callback of sort) they are made on the spot. */
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/str.h"
#include "bind/bind_priv.h"
#include "codec/base64.h"
#include "db/db.h"
#include "entity/expand.h"
#include "entity/filter.h"
#include "entity/read.h"

enum { BIND_PAGE_BYTES = 8 << 20, BIND_STEPS_PER_ROW = 50 };

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

static struct bind_thread *live_thread(lua_State *L, const char *what)
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
    struct bind_thread *t = live_thread(L, name);
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

struct rows {
    struct loop_work work;
    struct list node;
    struct bind_thread *thread;
    struct vm_run *run;
    int (*read)(struct rows *r, struct db *db, struct err *e);
    const struct entity_def *def;
    const char *tenant;
    struct entity_query query;

    struct err err;
    struct entity_page page;
    struct buf text;
    struct filter *filter;
    struct entity_expand *expand;   /* NULL: nothing beside them */
    struct bind_snapshot *snapshot; /* NULL: as it is now */
    json_t *rows;
    int64_t count;
    size_t ids_count;
    const char *ids[ENTITY_GET_MANY_MAX];
};

static void rows_free(void *p)
{
    struct rows *r = p;
    if (r->snapshot != NULL)
        bind_snapshot_leave(r->snapshot, false);
    entity_page_fini(&r->page);
    buf_fini(&r->text);
    filter_free(r->filter);
    entity_expand_free(r->expand);
    json_decref(r->rows);
    mem_free(r);
}

static struct rows *push_rows(lua_State *L)
{
    struct vm_guard *g = vm_guard_push(L, rows_free);
    struct rows *r = mem_new(sizeof *r);
    entity_page_init(&r->page, BIND_PAGE_BYTES);
    buf_init(&r->text, BIND_PAGE_BYTES);
    g->p = r;
    return r;
}

static void read_from(struct rows *r, struct db *db)
{
    if (r->snapshot != NULL)
        db = bind_snapshot_db(r->snapshot, &r->err);
    if (db != NULL)
        r->read(r, db, &r->err);
}

/* ---- on the pool ---- */

static void read_work(struct loop_work *w)
{
    struct rows *r = (struct rows *)w;
    read_from(r, r->thread->pool_reader);
}

static void read_done(struct loop_work *w);

static void read_next(struct bind_thread *t)
{
    struct list *node = list_pop(&t->reads);
    t->reading = node != NULL;
    if (node == NULL)
        return;
    struct rows *r = LIST_OF(node, struct rows, node);
    r->work.work = read_work;
    r->work.done = read_done;
    if (loop_queue(t->loop, &r->work, &r->err) != 0)
        read_done(&r->work);
}

/* Posted, so that nothing is resumed inside the call that started it. */
static void reads_begin(struct task *task)
{
    read_next((struct bind_thread *)((char *)task - offsetof(struct bind_thread, read_start)));
}

static void read_done(struct loop_work *w)
{
    struct rows *r = (struct rows *)w;
    struct vm_run *run = r->run;
    read_next(r->thread);
    vm_resume(run); /* r is gone after this line */
}

/* `return read_somewhere(L, r, k)`: k pushes what was read, or raises. */
static int read_somewhere(lua_State *L, struct rows *r, lua_KFunction k)
{
    r->thread = bind_set_of(L)->thread;
    r->tenant = bind_scope(L, lua_tostring(L, 1));
    if (!vm_can_await(L)) {
        read_from(r, r->thread->reader);
        return k(L, LUA_OK, (lua_KContext)r);
    }
    vm_may_await(L, "reading");
    r->run = vm_run_of(L);
    list_push(&r->thread->reads, &r->node);
    if (!r->thread->reading) {
        r->thread->reading = true;
        r->thread->read_start.run = reads_begin;
        runner_post(r->thread->runner, &r->thread->read_start);
    }
    return vm_await(L, (intptr_t)r, k);
}

static size_t take_ids(lua_State *L, struct rows *r)
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
    struct rows *r = push_rows(L);
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

static void parse_filter(lua_State *L, struct rows *r, const struct entity_def *d,
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

static void push_page_info(lua_State *L, struct rows *r)
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

/* ---- with what stands beside them ---- */

static void parse_with(lua_State *L, struct rows *r, const struct entity_def *d, const char *with,
                       const char *fields)
{
    struct err e = ERR_INIT;
    if (with != NULL && entity_expand_new(bind_set_of(L)->thread->bind->entities, d, with, fields,
                                          NULL, &r->expand, &e) != 0)
        vm_raise(L, &e);
}

static int beside_read(struct rows *r, struct db *db, struct err *e)
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

static void push_tree(lua_State *L, struct rows *r)
{
    struct vm_guard *g = vm_guard_push(L, bind_json_free);
    g->p = entity_expand_tree(r->expand);
    vm_push_json(L, g->p, VM_PLAIN);
}

static int beside_k(lua_State *L, int status, lua_KContext ctx)
{
    (void)status;
    struct rows *r = (struct rows *)ctx;
    if (r->err.code != 0)
        return vm_raise(L, &r->err);
    vm_charge(L, (json_array_size(r->rows) + entity_expand_rows(r->expand)) * BIND_STEPS_PER_ROW);
    push_tree(L, r);
    vm_push_json(L, r->rows, VM_PLAIN);
    lua_pushvalue(L, -2);
    return 2;
}

/* host.get_with(entity, ids, with) -> list with json.null for each that is missing, tree */
static int verb_get_with(lua_State *L)
{
    luaL_checktype(L, 2, LUA_TTABLE);
    struct entity_def *d = bind_check_entity(L, luaL_checkstring(L, 1));
    struct rows *r = push_rows(L);
    take_ids(L, r);
    parse_with(L, r, d, luaL_checkstring(L, 3), NULL);
    r->def = d;
    r->read = beside_read;
    return read_somewhere(L, r, beside_k);
}

/* host.beside(entity, records, with) -> records, tree: as they are, with what is committed */
static int verb_beside(lua_State *L)
{
    struct entity_def *d = bind_check_entity(L, luaL_checkstring(L, 1));
    json_t *rows = bind_check_json(L, 2, "records");
    struct rows *r = push_rows(L);
    r->rows = json_incref(rows);
    parse_with(L, r, d, luaL_checkstring(L, 3), NULL);
    r->def = d;
    r->read = beside_read;
    return read_somewhere(L, r, beside_k);
}

/* ---- questions ---- */

static int query_rows(struct rows *r, struct db *db, struct err *e)
{
    int rc = entity_query(db, r->def, r->tenant, &r->query, &r->page, e);
    if (rc != 0)
        return rc;
    r->rows = json_read(buf_str(&r->page.rows), r->page.rows.len, e);
    return r->rows != NULL ? 0 : e->code;
}

static int query_read(struct rows *r, struct db *db, struct err *e)
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
    struct rows *r = (struct rows *)ctx;
    if (r->snapshot != NULL)
        bind_snapshot_leave(TAKE(r->snapshot), r->err.code == 0 && r->page.more);
    if (r->err.code != 0)
        return vm_raise(L, &r->err);
    size_t beside = r->expand != NULL ? entity_expand_rows(r->expand) : 0;
    vm_charge(L, (r->page.count + beside) * BIND_STEPS_PER_ROW);
    if (r->expand != NULL)
        push_tree(L, r);
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
    struct rows *r = push_rows(L);
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
    parse_with(L, r, d, option_text(L, options, "with"), r->query.fields);
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
    return read_somewhere(L, r, query_k);
}

static int count_read(struct rows *r, struct db *db, struct err *e)
{
    return entity_count(db, r->def, r->tenant, &r->query, &r->count, e);
}

static int count_k(lua_State *L, int status, lua_KContext ctx)
{
    (void)status;
    struct rows *r = (struct rows *)ctx;
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
    struct rows *r = push_rows(L);
    parse_filter(L, r, d, options);
    r->def = d;
    r->query = (struct entity_query){.filter = r->filter,
                                     .q = option_text(L, options, "q"),
                                     .removed = option_removed(L, options)};
    r->read = count_read;
    return read_somewhere(L, r, count_k);
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
                                   {"query", verb_query},     {"count", verb_count},
                                   {"who", verb_who},         {"defaults", verb_defaults},
                                   {"history", verb_history}, {"get_with", verb_get_with},
                                   {"beside", verb_beside},   {NULL, NULL}};
    luaL_setfuncs(L, fns, 0);
}
