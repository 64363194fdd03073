/* Declarations: `entity` and `canon` of a script become definitions, checked at once so that the
 * message names the line. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "bind/bind_priv.h"

/* host functions raise errors whose place is the script's line, not the library's. */
static int refuse(lua_State *L, struct err *e)
{
    return vm_raise_fault(L, e);
}

static struct bind_set *loading_set(lua_State *L, const char *what)
{
    if (!vm_is_loading(vm_of(L))) {
        struct err e;
        err_set(&e, ERR_INVALID, "%s: declarations stand at the top of a script, not in a function",
                what);
        refuse(L, &e);
    }
    return bind_set_of(L);
}

static int optional_function(lua_State *L, int at, const char *what)
{
    if (lua_isnoneornil(L, at))
        return LUA_NOREF;
    if (!lua_isfunction(L, at)) {
        struct err e;
        err_field(&e, ERR_INVALID, what, "%s must be a function, not a %s", what,
                  luaL_typename(L, at));
        refuse(L, &e);
    }
    lua_pushvalue(L, at);
    return luaL_ref(L, LUA_REGISTRYINDEX);
}

void bind_order_members(lua_State *L, int order, json_t *o, const char *name)
{
    json_t *members = json_object_get(o, name);
    if (!json_is_object(members))
        return;
    json_t *sorted = json_object();
    size_t n = lua_rawlen(L, order);
    for (size_t i = 1; i <= n; i++) {
        lua_rawgeti(L, order, (lua_Integer)i);
        const char *key = lua_tostring(L, -1);
        json_object_set(sorted, key, json_object_get(members, key));
        lua_pop(L, 1);
    }
    json_object_set_new(o, name, sorted);
}

static void add_hook_name(json_t *def, int ref, const char *name)
{
    if (ref == LUA_NOREF)
        return;
    json_t *hooks = json_object_get(def, "hooks");
    if (hooks == NULL) {
        hooks = json_array();
        json_object_set_new(def, "hooks", hooks);
    }
    json_array_append_new(hooks, json_string(name));
}

static struct vm_meter *meter(const char *name, const char *function, int ref)
{
    if (ref == LUA_NOREF)
        return NULL;
    char text[160];
    snprintf(text, sizeof text, "%s.%s", name, function);
    return vm_meter_new(text);
}

/* host.entity(name, definition, order, before_save, before_remove, view, migrate) */
static int declare_entity(lua_State *L)
{
    const char *name = luaL_checkstring(L, 1);
    struct bind_set *s = loading_set(L, "entity");
    struct err e = ERR_INIT;
    if (bind_set_entity(s, name) != NULL) {
        err_set(&e, ERR_INVALID, "entity '%s' is declared twice", name);
        return refuse(L, &e);
    }
    if (s->entities_count == BIND_ENTITIES_MAX) {
        err_set(&e, ERR_TOO_LARGE, "over %d entities in a set of scripts", BIND_ENTITIES_MAX);
        return refuse(L, &e);
    }
    json_t *def = bind_check_json(L, 2, "definition");
    bind_order_members(L, 3, def, "fields");
    int save = optional_function(L, 4, "before_save");
    int removal = optional_function(L, 5, "before_remove");
    int view = optional_function(L, 6, "view");
    int migrate = optional_function(L, 7, "migrate");
    json_object_set_new(def, "name", json_string(name));
    add_hook_name(def, save, "before_save");
    add_hook_name(def, removal, "before_remove");
    add_hook_name(def, view, "view");
    struct entity_def *parsed = NULL;
    if (entity_def_parse(def, &parsed, &e) != 0)
        return refuse(L, &e);
    s->entities[s->entities_count++] =
        (struct bind_entity){.def = parsed,
                             .before_save = save,
                             .before_remove = removal,
                             .view = view,
                             .migrate = migrate,
                             .meter_save = meter(name, "before_save", save),
                             .meter_remove = meter(name, "before_remove", removal),
                             .meter_view = meter(name, "view", view)};
    return 0;
}

static const char *const stage_names[] = {"intake", "validate", "project"};

static void read_stages(lua_State *L, int at, struct bind_canon *c)
{
    json_t *names = json_array();
    json_object_set_new(c->model, "stages", names);
    for (int i = 0; i < 3; i++)
        c->stage[i] = LUA_NOREF;
    for (int i = 0; i < 3; i++) {
        lua_getfield(L, at, stage_names[i]);
        c->stage[i] = optional_function(L, -1, stage_names[i]);
        lua_pop(L, 1);
        if (c->stage[i] == LUA_NOREF)
            continue;
        json_array_append_new(names, json_string(stage_names[i]));
        c->meter[i] = meter(c->name, stage_names[i], c->stage[i]);
    }
}

static void read_norms(lua_State *L, int at, struct bind_canon *c)
{
    size_t n = lua_rawlen(L, at);
    if (n > BIND_NORMS_MAX) {
        struct err e;
        err_set(&e, ERR_TOO_LARGE, "canon '%s': over %d functions among its keys", c->name,
                BIND_NORMS_MAX);
        refuse(L, &e);
    }
    for (size_t i = 1; i <= n; i++) {
        lua_rawgeti(L, at, (lua_Integer)i);
        c->norm[i - 1] = luaL_ref(L, LUA_REGISTRYINDEX);
        c->norms = (int)i;
    }
    c->meter_norm = meter(c->name, "keys", n > 0 ? 1 : LUA_NOREF);
}

/* host.canon(name, model, stages, normalisers) */
static int declare_canon(lua_State *L)
{
    const char *name = luaL_checkstring(L, 1);
    struct bind_set *s = loading_set(L, "canon");
    struct err e = ERR_INIT;
    if (bind_set_canon(s, name) != NULL) {
        err_set(&e, ERR_INVALID, "canon '%s' is declared twice", name);
        return refuse(L, &e);
    }
    if (s->canons_count == BIND_CANONS_MAX) {
        err_set(&e, ERR_TOO_LARGE, "over %d canon models in a set of scripts", BIND_CANONS_MAX);
        return refuse(L, &e);
    }
    json_t *model = bind_check_json(L, 2, "model");
    /* From here on the set frees what it holds, whatever is raised. */
    struct bind_canon *c = &s->canons[s->canons_count++];
    *c = (struct bind_canon){.name = mem_strdup(name), .model = json_incref(model)};
    vm_where(L, c->where, sizeof c->where);
    json_object_set_new(model, "name", json_string(name));
    read_stages(L, 3, c);
    read_norms(L, 4, c);
    c->text = bind_json_text(model);
    struct canon_model *parsed = NULL;
    if (canon_model_parse(model, &parsed, &e) != 0)
        return refuse(L, &e);
    canon_model_unref(parsed);
    return 0;
}

void bind_open_declare(lua_State *L)
{
    static const luaL_Reg fns[] = {
        {"entity", declare_entity}, {"canon", declare_canon}, {NULL, NULL}};
    luaL_setfuncs(L, fns, 0);
}
