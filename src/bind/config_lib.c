/* config and flag: what the configuration says to scripts. The values of a node are one JSON text
 * that any thread may replace; a script thread reads it again when its number has grown, so that a
 * reload is seen by the next question and no question sees half of one. */
#include <string.h>

#include "base/buf.h"
#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/stat.h"
#include "bind/bind_priv.h"
#include "bind/flag.h"

/* File, remote document and ledger bring at most 1 MiB each. */
enum { CONFIG_TEXT_MAX = 8 << 20, CONFIG_UNKNOWN_MAX = 256 };

void bind_set_settings(struct bind *b, const struct bind_settings *s)
{
    json_t *all =
        json_pack("{s:O?, s:O?, s:O?, s:O?, s:s, s:I, s:i}", "labels", (json_t *)s->labels, "only",
                  (json_t *)s->only, "app", (json_t *)s->app, "flags", (json_t *)s->flags,
                  "http_allow", s->http_allow != NULL ? s->http_allow : "", "keep_removed_ms",
                  (json_int_t)s->keep_removed_ms, "work_concurrency", s->work_concurrency);
    struct buf text = BUF_INIT(CONFIG_TEXT_MAX);
    json_print(all, &text, NULL);
    json_decref(all);
    if (buf_failed(&text)) {
        log_error("script", "the settings for scripts are over %d KiB; those before stay",
                  CONFIG_TEXT_MAX / 1024);
        buf_fini(&text);
        return;
    }
    pthread_mutex_lock(&b->status_lock);
    mem_free(b->settings);
    b->settings = buf_take(&text);
    atomic_fetch_add(&b->settings_version, 1);
    pthread_mutex_unlock(&b->status_lock);
}

int bind_flags_check(const json_t *flags, struct err *e)
{
    return flags_check(flags, e);
}

int64_t bind_keep_removed(struct bind_thread *t)
{
    int64_t ms = json_integer_value(json_object_get(bind_settings_of(t), "keep_removed_ms"));
    return ms > 0 ? ms : ENTITY_KEEP_MS;
}

const json_t *bind_settings_of(struct bind_thread *t)
{
    unsigned version = atomic_load(&t->bind->settings_version);
    if (t->settings != NULL && t->settings_version == version)
        return t->settings;
    pthread_mutex_lock(&t->bind->status_lock);
    t->settings_version = atomic_load(&t->bind->settings_version);
    AUTO(mem_freep)
    char *text = mem_strdup(t->bind->settings != NULL ? t->bind->settings : "{}");
    pthread_mutex_unlock(&t->bind->status_lock);
    json_decref(t->settings);
    t->settings = json_read(text, strlen(text), NULL);
    ASSERT(t->settings != NULL);
    return t->settings;
}

void bind_settings_drop(struct bind_thread *t)
{
    json_decref(t->settings);
    map_free(t->flags_unknown, NULL);
    t->settings = NULL;
    t->flags_unknown = NULL;
}

/* host.setting(path) -> value or nil */
static int config_setting(lua_State *L)
{
    const char *path = luaL_checkstring(L, 1);
    const json_t *app = json_object_get(bind_settings_of(bind_set_of(L)->thread), "app");
    json_t *v = json_is_object(app) ? json_path(app, path) : NULL;
    vm_push_json(L, json_is_null(v) ? NULL : v, VM_PLAIN);
    return 1;
}

/* host.setting_names(): for "did you mean" and for pairs */
static int config_names(lua_State *L)
{
    const json_t *app = json_object_get(bind_settings_of(bind_set_of(L)->thread), "app");
    const char *name;
    json_t *v;
    lua_Integer n = 0;
    lua_newtable(L);
    json_object_foreach((json_t *)app, name, v)
    {
        lua_pushstring(L, name);
        lua_rawseti(L, -2, ++n);
    }
    return 1;
}

/* ---- flags ---- */

static void flag_unknown(struct bind_thread *t, const char *name)
{
    stat_add(
        stat_counter("koan_flag_unknown_total", "", "Questions for flags that are not defined"), 1);
    if (t->flags_unknown == NULL)
        t->flags_unknown = map_new();
    if (map_count(t->flags_unknown) >= CONFIG_UNKNOWN_MAX ||
        map_gets(t->flags_unknown, name) != NULL)
        return;
    map_puts(t->flags_unknown, name, t);
    log_warn(
        "script",
        "flag '%.128s' is not defined, so it is off; `koan config set flags.%.128s on` defines it",
        name, name);
}

static const char *ask_text(const json_t *ctx, const char *name)
{
    return json_string_value(json_object_get(ctx, name));
}

/* host.flag(name, ctx) -> boolean. ctx: { key, tenant, labels }, as JSON; what it lacks is taken
 * from the run. */
static int config_flag(lua_State *L)
{
    const char *name = luaL_checkstring(L, 1);
    struct bind_thread *t = bind_set_of(L)->thread;
    lua_settop(L, 2);
    json_t *ctx = bind_check_json(L, 2, "flag");
    const json_t *def = json_object_get(json_object_get(bind_settings_of(t), "flags"), name);
    if (def == NULL) {
        flag_unknown(t, name);
        lua_pushboolean(L, 0);
        return 1;
    }
    struct flag_ask ask = {.key = ask_text(ctx, "key"),
                           .tenant = ask_text(ctx, "tenant"),
                           .labels = json_object_get(ctx, "labels")};
    if (ask.tenant == NULL)
        ask.tenant = bind_tenant(L);
    if (ask.key == NULL)
        ask.key = ask.tenant;
    lua_pushboolean(L, flag_is_on(name, def, &ask));
    return 1;
}

void bind_open_config(lua_State *L)
{
    static const luaL_Reg fns[] = {{"setting", config_setting},
                                   {"setting_names", config_names},
                                   {"flag", config_flag},
                                   {NULL, NULL}};
    luaL_setfuncs(L, fns, 0);
}
