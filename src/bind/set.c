/* A set: a VM with the library, the declarations that its scripts made, and references to their
 * functions. */
#include <stdio.h>
#include <string.h>

#include "base/embed.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/str.h"
#include "bind/bind_priv.h"
#include "bind/bus_lib.h"
#include "bind/job_lib.h"
#include "bind/queue_lib.h"

/* The Lua part of the library, in the order in which it is loaded. */
static const char *const library[] = {
    "lua/lib/values.lua",    "lua/lib/base.lua",  "lua/lib/unit.lua",    "lua/lib/entity.lua",
    "lua/lib/partition.lua", "lua/lib/canon.lua", "lua/lib/http.lua",    "lua/lib/route.lua",
    "lua/lib/queue.lua",     "lua/lib/bus.lua",   "lua/lib/coord.lua",   "lua/lib/lease.lua",
    "lua/lib/cache.lua",     "lua/lib/job.lua",   "lua/lib/job_try.lua", "lua/lib/job_tick.lua",
    "lua/lib/test.lua"};

static uint64_t set_mono_ns(struct vm_host *h)
{
    struct world *w = ((struct bind_set *)h)->thread->world;
    return w->mono_ns(w);
}

static uint64_t set_cpu_ns(struct vm_host *h)
{
    struct world *w = ((struct bind_set *)h)->thread->world;
    return w->cpu_ns(w);
}

static int64_t set_wall_ms(struct vm_host *h)
{
    struct world *w = ((struct bind_set *)h)->thread->world;
    return w->wall_ms(w);
}

static void set_random(struct vm_host *h, void *p, size_t n)
{
    struct world *w = ((struct bind_set *)h)->thread->world;
    w->random(w, p, n);
}

static void set_free(struct bind_set *s)
{
    for (size_t i = 0; i < s->entities_count; i++) {
        entity_def_unref(s->entities[i].def);
        vm_meter_free(s->entities[i].meter_save);
        vm_meter_free(s->entities[i].meter_remove);
        vm_meter_free(s->entities[i].meter_view);
    }
    for (size_t i = 0; i < s->canons_count; i++) {
        struct bind_canon *c = &s->canons[i];
        mem_free(c->name);
        mem_free(c->text);
        json_decref(c->model);
        for (int k = 0; k < 3; k++)
            vm_meter_free(c->meter[k]);
        vm_meter_free(c->meter_norm);
    }
    for (size_t i = 0; i < BIND_ROUTES_MAX; i++)
        vm_meter_free(s->route_meter[i]);
    bind_routes_drop(s->routes);
    bind_queues_free(s->queues);
    bind_bus_free(s->bus);
    bind_jobs_free(s->jobs);
    s->magic = 0;
    mem_free(s);
}

static void set_turn(struct task *t)
{
    struct bind_set *s = (struct bind_set *)((char *)t - offsetof(struct bind_set, wake));
    s->waking = false;
    if (s->gone)
        set_free(s);
    else
        vm_turn(s->vm); /* the set may be gone after this line */
}

static void set_wake(struct vm_host *h)
{
    struct bind_set *s = (struct bind_set *)h;
    ASSERT(!s->waking);
    s->waking = true;
    s->wake.run = set_turn;
    runner_post(s->thread->runner, &s->wake);
}

static void set_vm_freed(struct vm_host *h)
{
    struct bind_set *s = (struct bind_set *)h;
    s->gone = true;
    s->vm = NULL;
    s->thread->sets--;
    if (!s->waking)
        set_free(s);
}

/* ---- opening the library ---- */

static void open_library(lua_State *L, int globals)
{
    for (size_t i = 0; i < ARRAY_LEN(library); i++) {
        const struct embed_file *f = embed_find(library[i]);
        ASSERT(f != NULL);
        char name[64];
        snprintf(name, sizeof name, VM_LIBRARY "%s", strrchr(library[i], '/') + 1);
        struct vm_source s = {name, (const char *)f->data, f->size};
        vm_run_source(L, &s, globals);
        lua_pop(L, 1);
    }
}

static int take_function(lua_State *L, int host, const char *name)
{
    lua_getfield(L, host, name);
    ASSERT(lua_isfunction(L, -1));
    return luaL_ref(L, LUA_REGISTRYINDEX);
}

static void set_open(lua_State *L, int globals, void *arg)
{
    struct bind_set *s = arg;
    lua_newtable(L);
    int host = lua_gettop(L);
    bind_open_declare(L);
    bind_open_verbs(L);
    bind_open_snapshot(L);
    bind_open_write(L);
    bind_open_canon(L);
    bind_open_plain(L);
    bind_open_merge(L);
    bind_open_time(L);
    bind_open_crypto(L);
    bind_open_csv(L);
    bind_open_config(L);
    bind_open_http(L);
    bind_open_routes(L);
    bind_open_queue(L);
    bind_open_send(L);
    bind_open_bus(L);
    bind_open_publish(L);
    bind_open_job(L);
    bind_open_coord(L);
    bind_open_pause(L);
    bind_open_claim(L);
    bind_open_leader(L);
    bind_open_absent(L);
    lua_pushvalue(L, host);
    lua_setfield(L, globals, "host");
    open_library(L, globals);
    lua_pushnil(L);
    lua_setfield(L, globals, "host");
    s->save_hook = take_function(L, host, "save_hook");
    s->remove_hook = take_function(L, host, "remove_hook");
    s->view_hook = take_function(L, host, "view_hook");
    s->stage = take_function(L, host, "stage");
    lua_getfield(L, host, "ctx");
    s->stage_ctx = luaL_ref(L, LUA_REGISTRYINDEX);
    s->serve = take_function(L, host, "serve");
    s->finish = take_function(L, host, "finish");
    s->test_file = take_function(L, host, "test_file");
    s->hooked = take_function(L, host, "hooked");
    s->dry_saves = take_function(L, host, "dry_saves");
    s->migrate_rows = take_function(L, host, "migrate_rows");
    s->handle = take_function(L, host, "handle");
    s->handle_batch = take_function(L, host, "handle_batch");
    lua_settop(L, host - 1);
}

/* ---- loading ---- */

void bind_run_init(struct bind_run *r, struct bind_set *s, const struct envelope *env)
{
    static const struct envelope system;
    *r = (struct bind_run){.set = s, .env = env != NULL ? env : &system};
}

static int push_finish(lua_State *L, struct vm_run *run)
{
    lua_rawgeti(L, LUA_REGISTRYINDEX, ((struct bind_run *)run)->set->finish);
    return 0;
}

/* What the library does once the scripts are there: constructors of fields become what they mean at
 * run time. */
static int set_finish(struct bind_set *s, struct err *e)
{
    struct bind_run r;
    bind_run_init(&r, s, NULL);
    r.run.push = push_finish;
    r.run.whole = true;
    bool ended = vm_start(s->vm, &r.run);
    ASSERT(ended);
    return r.run.err.code == 0 ? 0 : err_set(e, r.run.err.code, "%s", r.run.err.text);
}

static size_t without_tests(const struct vm_source *files, size_t count, struct vm_source *out)
{
    size_t n = 0;
    for (size_t i = 0; i < count; i++)
        if (!str_ends(files[i].name, "_test.lua"))
            out[n++] = files[i];
    return n;
}

static int set_load(struct bind_set *s, const struct vm_source *files, size_t count, struct err *e)
{
    AUTO(mem_freep) struct vm_source *kept = mem_try((count + 1) * sizeof *kept);
    if (kept == NULL)
        return err_set(e, ERR_NOMEM, "%zu script files", count);
    s->files = without_tests(files, count, kept);
    int rc = bind_absent_check(kept, s->files, e);
    if (rc == 0)
        rc = vm_load(s->vm, kept, s->files, e);
    if (rc == 0)
        rc = bind_bus_finish(s, e);
    if (rc == 0)
        rc = bind_jobs_check(s, e);
    return rc != 0 ? rc : set_finish(s, e);
}

int bind_set_new(struct bind_thread *t, const struct vm_source *files, size_t count,
                 struct bind_set **out, struct err *e)
{
    struct bind_set *s = mem_new(sizeof *s);
    s->magic = BIND_SET_MAGIC;
    s->thread = t;
    s->host = (struct vm_host){.mono_ns = set_mono_ns,
                               .cpu_ns = t->world->cpu_ns != NULL ? set_cpu_ns : NULL,
                               .wall_ms = set_wall_ms,
                               .random = set_random,
                               .wake = set_wake,
                               .freed = set_vm_freed};
    struct vm_options o = {
        .host = &s->host, .memory_max = t->bind->memory_max, .open = set_open, .arg = s};
    t->sets++;
    int rc = vm_new(&o, &s->vm, e);
    if (rc != 0)
        return rc; /* freed() has freed the set, or there never was a VM */
    rc = set_load(s, files, count, e);
    if (rc != 0) {
        vm_free(s->vm);
        return rc;
    }
    bind_set_hash(files, count, s->hash);
    *out = s;
    return 0;
}

void bind_set_drop(struct bind_set *s)
{
    if (s != NULL)
        vm_free(s->vm);
}

const struct bind_entity *bind_set_entity(const struct bind_set *s, const char *name)
{
    for (size_t i = 0; s != NULL && i < s->entities_count; i++)
        if (strcmp(s->entities[i].def->name, name) == 0)
            return &s->entities[i];
    return NULL;
}

const struct bind_canon *bind_set_canon(const struct bind_set *s, const char *name)
{
    for (size_t i = 0; s != NULL && i < s->canons_count; i++)
        if (strcmp(s->canons[i].name, name) == 0)
            return &s->canons[i];
    return NULL;
}

/* Independent of the order in which the files are given, and of tests. */
void bind_set_hash(const struct vm_source *files, size_t count, char out[17])
{
    uint64_t sum = 0;
    for (size_t i = 0; i < count; i++)
        if (!str_ends(files[i].name, "_test.lua"))
            sum += hash64(hash64(1, files[i].name, strlen(files[i].name)), files[i].text,
                          files[i].len);
    snprintf(out, 17, "%016llx", (unsigned long long)sum);
}
