/* Loading a set: every file once, in the order of names, `require` in between. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "vm/vm_priv.h"

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct vm_source *)a)->name, ((const struct vm_source *)b)->name);
}

static const struct vm_source *find_file(const struct vm *vm, const char *name)
{
    struct vm_source key = {.name = name};
    if (vm->files_count == 0)
        return NULL;
    return bsearch(&key, vm->files, vm->files_count, sizeof key, by_name);
}

/* "a.b" is the file a/b.lua; or b.lua, when the set is the folder a itself. */
static const struct vm_source *find_module(const struct vm *vm, const char *module)
{
    char name[VM_NAME_MAX + 8];
    size_t n = strlen(module);
    if (n > VM_NAME_MAX)
        return NULL;
    for (size_t i = 0; i <= n; i++)
        name[i] = module[i] == '.' ? '/' : module[i];
    memcpy(name + n, ".lua", sizeof ".lua");
    const struct vm_source *s = find_file(vm, name);
    const char *inside = strchr(name, '/');
    if (s == NULL && inside != NULL)
        s = find_file(vm, inside + 1);
    return s;
}

void vm_push_source(lua_State *L, const struct vm_source *s)
{
    char chunk[VM_NAME_MAX + 8];
    snprintf(chunk, sizeof chunk, "@%s", s->name);
    const char *text = s->text;
    size_t n = s->len;
    if (n >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0) {
        text += 3;
        n -= 3;
    }
    if (n > 0 && text[0] == LUA_SIGNATURE[0])
        luaL_error(L, "%s: this is bytecode; only source text is loaded", s->name);
    if (n > VM_SOURCE_MAX)
        luaL_error(L, "%s: over %d KiB", s->name, VM_SOURCE_MAX / 1024);
    if (luaL_loadbufferx(L, text, n, chunk, "t") == LUA_OK)
        return;
    if (lua_type(L, -1) == LUA_TSTRING) {
        char words[ERR_TEXT_MAX];
        vm_error_column(s, lua_tostring(L, -1), words, sizeof words);
        lua_pushstring(L, words);
    }
    lua_error(L);
}

/* Runs the file unless it has been; leaves its value on the stack. */
static void push_module(lua_State *L, const struct vm_source *s)
{
    struct vm *vm = vm_of(L);
    luaL_checkstack(L, 8, "too many files require each other");
    lua_rawgeti(L, LUA_REGISTRYINDEX, vm->modules);
    int modules = lua_gettop(L);
    lua_getfield(L, modules, s->name);
    if (lua_type(L, -1) == LUA_TLIGHTUSERDATA)
        luaL_error(L, "require: '%s' is still being loaded: files require each other in a circle",
                   s->name);
    if (!lua_isnil(L, -1)) {
        lua_remove(L, modules);
        return;
    }
    lua_pop(L, 1);
    lua_pushlightuserdata(L, vm);
    lua_setfield(L, modules, s->name);
    vm_push_source(L, s);
    lua_call(L, 0, 1);
    if (lua_isnil(L, -1)) {
        lua_pop(L, 1);
        lua_pushboolean(L, 1);
    }
    lua_pushvalue(L, -1);
    lua_setfield(L, modules, s->name);
    lua_remove(L, modules);
}

static int no_such_module(lua_State *L, const struct vm *vm, const char *module)
{
    const char *near = NULL;
    int best = 4;
    for (size_t i = 0; i < vm->files_count && strlen(module) < 60; i++) {
        char name[64];
        if (strlen(vm->files[i].name) >= sizeof name)
            continue;
        snprintf(name, sizeof name, "%s", vm->files[i].name);
        name[strlen(name) - 4] = '\0';
        int d = str_distance(module, name);
        if (d < best) {
            best = d;
            near = lua_pushstring(L, name);
        }
    }
    if (near != NULL)
        return luaL_error(L, "require: there is no '%s' in this set of scripts; did you mean '%s'?",
                          module, near);
    return luaL_error(L, "require: there is no '%s' in this set of scripts (%d files)", module,
                      (int)vm->files_count);
}

int vm_require(lua_State *L)
{
    struct vm *vm = vm_of(L);
    const char *module = luaL_checkstring(L, 1);
    if (!vm->loading)
        return luaL_error(L, "require '%s': only while the script loads; put it at the top",
                          module);
    const struct vm_source *s = find_module(vm, module);
    if (s == NULL)
        return no_such_module(L, vm, module);
    push_module(L, s);
    return 1;
}

static int load_all(lua_State *L)
{
    struct vm *vm = vm_of(L);
    for (size_t i = 0; i < vm->files_count; i++) {
        push_module(L, &vm->files[i]);
        lua_pop(L, 1);
    }
    lua_rawgeti(L, LUA_REGISTRYINDEX, vm->globals);
    lua_rawgeti(L, LUA_REGISTRYINDEX, vm->modules);
    vm_freeze(L, -1);
    lua_pop(L, 1);
    for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1))
        vm_freeze(L, -1);
    return 0;
}

static int push_load(lua_State *L, struct vm_run *run)
{
    (void)run;
    lua_pushcfunction(L, load_all);
    return 0;
}

static int check_files(const struct vm_source *files, size_t count, struct err *e)
{
    size_t total = 0;
    if (count > VM_SOURCES_MAX)
        return err_set(e, ERR_TOO_LARGE, "%zu script files; at most %d", count, VM_SOURCES_MAX);
    for (size_t i = 0; i < count; i++) {
        const struct vm_source *s = &files[i];
        if (strlen(s->name) > VM_NAME_MAX || !str_ends(s->name, ".lua"))
            return err_set(e, ERR_INVALID,
                           "script '%.160s': the name must end in .lua and have at "
                           "most %d bytes",
                           s->name, VM_NAME_MAX);
        if (s->len > VM_SOURCE_MAX)
            return err_set(e, ERR_TOO_LARGE, "%s: over %d KiB", s->name, VM_SOURCE_MAX / 1024);
        if (i > 0 && strcmp(files[i - 1].name, s->name) == 0)
            return err_set(e, ERR_INVALID, "%s is in the set twice", s->name);
        total += s->len;
    }
    if (total > VM_SET_MAX)
        return err_set(e, ERR_TOO_LARGE, "scripts of %zu KiB; at most %d KiB in a set",
                       total / 1024, VM_SET_MAX / 1024);
    return 0;
}

int vm_load(struct vm *vm, const struct vm_source *files, size_t count, struct err *e)
{
    ASSERT(vm->loading && vm->files == NULL);
    AUTO(mem_freep) struct vm_source *sorted = mem_try((count + 1) * sizeof *sorted);
    if (sorted == NULL)
        return err_set(e, ERR_NOMEM, "%zu script files", count);
    if (count > 0)
        memcpy(sorted, files, count * sizeof *sorted);
    qsort(sorted, count, sizeof *sorted, by_name);
    int rc = check_files(sorted, count, e);
    if (rc != 0)
        return rc;
    vm->files = sorted;
    vm->files_count = count;
    struct vm_run run = {.push = push_load,
                         .limits = {VM_LOAD_STEPS, (uint64_t)VM_LOAD_MS * 1000000}};
    bool ended = vm_start(vm, &run);
    ASSERT(ended); /* nothing can be awaited, and slices are off, while a set loads */
    vm->files = NULL;
    vm->files_count = 0;
    vm->loading = false;
    if (run.err.code == 0)
        return 0;
    return err_field(e, run.err.code == ERR_TOO_LARGE ? ERR_TOO_LARGE : ERR_INVALID, run.err.field,
                     "%s", run.err.text);
}

void vm_run_source(lua_State *L, const struct vm_source *s, int globals)
{
    globals = lua_absindex(L, globals);
    vm_push_source(L, s);
    lua_pushvalue(L, globals);
    lua_setupvalue(L, -2, 1);
    lua_call(L, 0, 1);
}
