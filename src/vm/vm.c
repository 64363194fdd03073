#include "vm/vm.h"

#include <string.h>

#include "base/mem.h"
#include "vm/vm_priv.h"

struct vm *vm_of(lua_State *L)
{
    void *ud;
    lua_getallocf(L, &ud);
    struct vm *vm = ud;
    ASSERT(vm != NULL && vm->magic == VM_MAGIC);
    return vm;
}

struct vm_host *vm_host_of(lua_State *L)
{
    return vm_of(L)->host;
}

static void block_free(struct vm *vm, void *p, size_t n)
{
    if (p != NULL && pool_owns(&vm->pool, p))
        pool_free(&vm->pool, p, n);
    else
        mem_free(p);
}

static void *block_new(struct vm *vm, size_t n)
{
    void *p = pool_alloc(&vm->pool, n);
    return p != NULL ? p : mem_try(n);
}

/* As realloc; `had` is the size of the old block, which Lua knows. */
static void *block_resize(struct vm *vm, void *p, size_t had, size_t n)
{
    bool pooled = pool_owns(&vm->pool, p);
    if (pooled && pool_fits(had, n))
        return p;
    if (!pooled && n > POOL_BLOCK_MAX)
        return mem_try_resize(p, n);
    void *q = block_new(vm, n);
    if (q == NULL)
        return n <= had ? p : NULL; /* shrinking may not fail */
    memcpy(q, p, n < had ? n : had);
    block_free(vm, p, had);
    return q;
}

/* A table whose __call is a table whose __call .. is resolved in C, where no hook looks: each step
 * moves all arguments up by one, so a chain without end, which a script can make after
 * setmetatable() has looked, would hold the thread for minutes until the stack has its largest
 * size. What gives it away is that the stack grows, and much time has passed since it did so
 * before, and not an instruction was run. A stack is known by how it grows: to twice its slots,
 * and the few that it always has more. (One that deep calls have made large before is only noticed
 * when it grows beyond that.) */
static bool stack_is_stuck(struct vm *vm, size_t had, size_t n)
{
    if (had < VM_STACK_LOOK || n != 2 * had - VM_STACK_EXTRA)
        return false;
    uint64_t cpu = vm_cpu_ns(vm);
    if (vm->stack_looks == vm->looks && cpu - vm->stack_cpu_ns > VM_STACK_NS)
        vm->stuck = true;
    vm->stack_looks = vm->looks;
    vm->stack_cpu_ns = cpu;
    return vm->stuck;
}

/* Lua tells the kind of a new block in `osize`; a table may be as large as the cap allows, anything
 * else is bounded so that one instruction cannot copy or compare for milliseconds. */
static bool may_grow(struct vm *vm, const void *p, size_t kind, size_t had, size_t n)
{
    if (n - had > vm->memory_max - vm->memory)
        return false;
    if (p == NULL && (kind == LUA_TSTRING || kind == LUA_TUSERDATA) && n > VM_STRING_MAX)
        return false;
    if (p != NULL && (vm->stuck || stack_is_stuck(vm, had, n)))
        return false;
    vm->allocated += n - had;
    vm->charged += n / VM_CHARGE_BYTES;
    if (vm->charged > VM_CHARGE_LOOK)
        vm_look_soon(vm);
    return true;
}

static void *vm_alloc(void *ud, void *p, size_t osize, size_t n)
{
    struct vm *vm = ud;
    size_t had = p != NULL ? osize : 0;
    if (n == 0) {
        vm->memory -= had;
        block_free(vm, p, had);
        return NULL;
    }
    if (n > had && !may_grow(vm, p, osize, had, n))
        return NULL;
    void *q = p != NULL ? block_resize(vm, p, had, n) : block_new(vm, n);
    if (q != NULL)
        vm->memory = vm->memory - had + n;
    return q;
}

static int vm_panic(lua_State *L)
{
    const char *s = lua_tostring(L, -1);
    PANIC("unprotected error in Lua: %s", s != NULL ? s : "?");
    return 0;
}

/* Writes to globals: at load they land in the table of globals, afterwards they are an error. */
static int vm_env_newindex(lua_State *L)
{
    struct vm *vm = vm_of(L);
    if (!vm->loading) {
        const char *name = lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : "?";
        return luaL_error(L,
                          "global '%s' is read-only once the script is loaded; use `local %s`, or "
                          "an entity for what shall last",
                          name, name);
    }
    lua_rawgeti(L, LUA_REGISTRYINDEX, vm->globals);
    lua_replace(L, 1);
    lua_rawset(L, 1);
    return 0;
}

static void vm_make_env(lua_State *L, struct vm *vm)
{
    lua_newtable(L);
    vm->globals = luaL_ref(L, LUA_REGISTRYINDEX);
    lua_newtable(L);
    lua_createtable(L, 0, 4);
    lua_rawgeti(L, LUA_REGISTRYINDEX, vm->globals);
    vm_mark_frozen(L, -2, -1);
    lua_setfield(L, -2, "__index");
    lua_pushcfunction(L, vm_env_newindex);
    lua_setfield(L, -2, "__newindex");
    lua_pushcfunction(L, vm_frozen_pairs);
    lua_setfield(L, -2, "__pairs");
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    lua_setmetatable(L, -2);
    vm->env = luaL_ref(L, LUA_REGISTRYINDEX);
    lua_newtable(L);
    vm->modules = luaL_ref(L, LUA_REGISTRYINDEX);
}

static int vm_open(lua_State *L)
{
    const struct vm_options *o = lua_touserdata(L, 1);
    struct vm *vm = vm_of(L);
    vm_make_env(L, vm);
    lua_rawgeti(L, LUA_REGISTRYINDEX, vm->globals);
    int globals = lua_gettop(L);
    vm_open_base(L, globals);
    vm_open_string(L);
    lua_setfield(L, globals, "string");
    vm_open_table(L);
    lua_setfield(L, globals, "table");
    vm_open_os(L);
    lua_setfield(L, globals, "os");
    lua_rawgeti(L, LUA_REGISTRYINDEX, vm->env);
    lua_setfield(L, globals, "_G");
    if (o->open != NULL)
        o->open(L, globals, o->arg);
    return 0;
}

int vm_new(const struct vm_options *o, struct vm **out, struct err *e)
{
    struct vm *vm = mem_new(sizeof *vm);
    vm->magic = VM_MAGIC;
    vm->looks = 1;
    vm->host = o->host;
    vm->memory_max = o->memory_max != 0 ? o->memory_max : VM_MEMORY_MAX;
    vm->loading = true;
    list_init(&vm->ready);
    pool_init(&vm->pool);
    vm->L = lua_newstate(vm_alloc, vm);
    if (vm->L == NULL) {
        pool_fini(&vm->pool);
        mem_free(vm);
        if (o->host->freed != NULL)
            o->host->freed(o->host);
        return err_set(e, ERR_NOMEM, "no memory for a Lua state");
    }
    lua_atpanic(vm->L, vm_panic);
    *(struct vm_run **)lua_getextraspace(vm->L) = NULL;
    lua_pushcfunction(vm->L, vm_open);
    lua_pushlightuserdata(vm->L, (void *)o);
    if (lua_pcall(vm->L, 1, 0, 0) != LUA_OK) {
        char code[64];
        vm_error_get(vm->L, -1, e, code);
        vm_free(vm);
        return e != NULL ? e->code : ERR_INTERNAL;
    }
    *out = vm;
    return 0;
}

void vm_free(struct vm *vm)
{
    if (vm == NULL)
        return;
    vm->closing = true;
    if (vm->runs > 0)
        return;
    struct vm_host *host = vm->host;
    lua_close(vm->L);
    ASSERT(vm->memory == 0);
    pool_fini(&vm->pool);
    vm->magic = 0;
    mem_free(vm);
    if (host->freed != NULL)
        host->freed(host);
}

size_t vm_memory(const struct vm *vm)
{
    return vm->memory;
}

bool vm_is_loading(const struct vm *vm)
{
    return vm->loading;
}

static int vm_guard_gc(lua_State *L)
{
    struct vm_guard *g = lua_touserdata(L, 1);
    if (g->p != NULL)
        g->free(g->p);
    g->p = NULL;
    return 0;
}

struct vm_guard *vm_guard_push(lua_State *L, void (*destroy)(void *p))
{
    struct vm_guard *g = lua_newuserdatauv(L, sizeof *g, 0);
    g->p = NULL;
    g->free = destroy;
    if (luaL_newmetatable(L, "koan.guard")) {
        lua_pushcfunction(L, vm_guard_gc);
        lua_setfield(L, -2, "__gc");
        lua_pushboolean(L, 0);
        lua_setfield(L, -2, "__metatable");
    }
    lua_setmetatable(L, -2);
    return g;
}
