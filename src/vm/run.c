/* Runs: coroutines, slices and budgets.
 *
 * The body of a run is called through lua_pcallk, so that an error unwinds inside the coroutine
 * with the hook switched on: left to lua_resume, an error raised by the hook would leave hooks off
 * for the __close handlers that follow. */
#include <stdio.h>

#include "vm/vm_priv.h"

static struct vm_run **vm_run_slot(lua_State *L)
{
    return (struct vm_run **)lua_getextraspace(L);
}

struct vm_run *vm_run_of(lua_State *L)
{
    return *vm_run_slot(L);
}

void vm_look_soon(struct vm *vm)
{
    struct vm_run *run = vm->current;
    if (run != NULL && run->interval > 1) {
        run->interval = 1;
        lua_sethook(run->co, vm_hook, LUA_MASKCOUNT, 1);
    }
}

/* From now on every instruction of the run raises. */
void vm_kill(lua_State *L, struct vm_run *run, int code, const char *what)
{
    if (!run->killed) {
        run->killed = true;
        lua_Debug ar;
        err_set(&run->err, code, "%s", what);
        for (int level = 0; lua_getstack(L, level, &ar); level++) {
            lua_getinfo(L, "Sl", &ar);
            if (ar.currentline > 0) {
                err_context(&run->err, "%s:%d", ar.short_src, ar.currentline);
                break;
            }
        }
    }
    run->interval = 1;
    lua_sethook(L, vm_hook, LUA_MASKCOUNT, 1);
    lua_pushnil(L); /* the words are in run->err; a string might not fit into memory any more */
    lua_error(L);
}

uint64_t vm_cpu_ns(struct vm *vm)
{
    return vm->host->cpu_ns != NULL ? vm->host->cpu_ns(vm->host) : vm->host->mono_ns(vm->host);
}

/* A machine that stands still for a while must not end a run that did nothing wrong, so what counts
 * is processor time. Asking for it costs a system call: it is measured only from a quarter of the
 * budget on. */
static bool vm_is_late(struct vm *vm, struct vm_run *run, uint64_t now)
{
    uint64_t max = run->limits.ns, wall = run->ns + (now - run->entered_ns);
    if (max == 0 || wall <= max / 4)
        return false;
    if (!run->watched) {
        run->watched = true;
        run->cpu_entered_ns = vm_cpu_ns(vm);
        return false;
    }
    return wall > max && run->cpu_ns + (vm_cpu_ns(vm) - run->cpu_entered_ns) > max - max / 4;
}

static void vm_check_budget(lua_State *L, struct vm *vm, struct vm_run *run, uint64_t now)
{
    run->steps += vm->charged;
    vm->charged = 0;
    if (run->killed)
        vm_kill(L, run, 0, "");
    char what[96];
    if (run->limits.steps != 0 && run->steps > run->limits.steps) {
        snprintf(what, sizeof what, "over its budget of %llu instructions",
                 (unsigned long long)run->limits.steps);
        vm_kill(L, run, ERR_TIMEOUT, what);
    }
    if (vm_is_late(vm, run, now)) {
        snprintf(what, sizeof what, "over its budget of %llu ms",
                 (unsigned long long)(run->limits.ns / 1000000));
        vm_kill(L, run, ERR_TIMEOUT, what);
    }
}

/* Instructions differ in cost by orders of magnitude: look again sooner where they are slow.
 * Setting the interval costs time for every level of the call stack, so it changes seldom. */
static int vm_next_interval(const struct vm_run *run, uint64_t now)
{
    uint64_t passed = now - run->looked_ns;
    if (run->interval > 1 && passed > VM_LOOK_NS)
        return run->interval > 10 ? run->interval / 10 : 2;
    if (passed < VM_LOOK_NS / 20)
        return VM_INTERVAL;
    return run->interval > 1 ? run->interval : VM_INTERVAL;
}

void vm_hook(lua_State *L, lua_Debug *ar)
{
    (void)ar;
    struct vm *vm = vm_of(L);
    struct vm_run *run = vm_run_of(L);
    vm->looks++;
    if (run == NULL)
        return;
    uint64_t now = vm->host->mono_ns(vm->host);
    run->steps += (uint64_t)run->interval;
    vm_check_budget(L, vm, run, now);
    if (run->interrupt != NULL) {
        const char *code = run->interrupt;
        run->interrupt = NULL;
        vm_raise_code(L, code, run->interrupt_why);
    }
    lua_Debug level;
    if (lua_getstack(L, VM_LEVELS_MAX, &level))
        luaL_error(L, "stack overflow: calls nested deeper than %d", VM_LEVELS_MAX);
    /* Each call that hands so many on costs as much as a loop over them, in one instruction. */
    if (lua_getstack(L, 0, &level) && lua_getlocal(L, &level, -VM_VALUES_MAX - 1) != NULL)
        luaL_error(L, "a call with over %d arguments", VM_VALUES_MAX);
    int interval = vm_next_interval(run, now);
    run->looked_ns = now;
    if (interval != run->interval) {
        run->interval = interval;
        lua_sethook(L, vm_hook, LUA_MASKCOUNT, interval);
    }
    if (now - vm->slice_ns >= VM_SLICE_NS && lua_isyieldable(L) && !vm->loading && !run->whole) {
        run->state = VM_READY;
        lua_yield(L, 0);
    }
}

void vm_charge(lua_State *L, uint64_t units)
{
    struct vm *vm = vm_of(L);
    struct vm_run *run = vm_run_of(L);
    vm->charged += units;
    if (run == NULL || vm->charged < VM_INTERVAL)
        return;
    vm->looks++;
    vm_check_budget(L, vm, run, vm->host->mono_ns(vm->host));
    vm_look_soon(vm);
}

/* ---- Inside the coroutine ---- */

#define VM_STUCK_WORDS "over its budget: a call goes through __call of tables again and again"

static bool vm_was_stuck(struct vm_run *run)
{
    bool was = run->vm->stuck;
    run->vm->stuck = false;
    return was;
}

void vm_kill_starved(lua_State *L, struct vm_run *run)
{
    if (vm_was_stuck(run))
        vm_kill(L, run, ERR_TIMEOUT, VM_STUCK_WORDS);
    run->starved = true;
    vm_kill(L, run, ERR_TOO_LARGE, "out of memory: the scripts of this thread are at their cap");
}

static void vm_run_fail(lua_State *L, struct vm_run *run, int status)
{
    if (run->killed)
        return;
    run->starved |= status == LUA_ERRMEM && !run->vm->stuck;
    if (status == LUA_ERRMEM && vm_was_stuck(run)) {
        err_set(&run->err, ERR_TIMEOUT, VM_STUCK_WORDS);
    } else if (status == LUA_ERRMEM) {
        err_set(&run->err, ERR_TOO_LARGE,
                "out of memory: the scripts of this thread use %zu of %zu KiB, one text is at most "
                "%d KiB",
                run->vm->memory / 1024, run->vm->memory_max / 1024, VM_STRING_MAX / 1024);
    } else {
        run->fault = vm_error_is_fault(L, -1);
        vm_error_get(L, -1, &run->err, run->err_code);
    }
    if (run->err.code == 0)
        run->err.code = ERR_INTERNAL;
}

static int vm_entry_k(lua_State *L, int status, lua_KContext base)
{
    struct vm_run *run = vm_run_of(L);
    if (status != LUA_OK && status != LUA_YIELD) {
        vm_run_fail(L, run, status);
    } else if (run->take != NULL && !run->killed) {
        int first = (int)base + 1;
        run->take(L, run, first, lua_gettop(L) - (int)base);
    }
    lua_settop(L, 0);
    return 0;
}

static int vm_entry(lua_State *L)
{
    struct vm_run *run = vm_run_of(L);
    int args = run->push(L, run);
    int base = lua_gettop(L) - args - 1;
    int status = lua_pcallk(L, args, LUA_MULTRET, 0, base, vm_entry_k);
    return vm_entry_k(L, status, base);
}

/* ---- Outside of it ---- */

static int vm_make_co(lua_State *L)
{
    struct vm_run *run = lua_touserdata(L, 1);
    run->co = lua_newthread(L);
    lua_sethook(run->co, vm_hook, LUA_MASKCOUNT, VM_INTERVAL);
    run->co_ref = luaL_ref(L, LUA_REGISTRYINDEX);
    return 0;
}

static bool vm_take_co(struct vm *vm, struct vm_run *run)
{
    if (vm->idle_count > 0) {
        vm->idle_count--;
        run->co = vm->idle[vm->idle_count].co;
        run->co_ref = vm->idle[vm->idle_count].ref;
        return true;
    }
    run->co = NULL;
    lua_pushcfunction(vm->L, vm_make_co);
    lua_pushlightuserdata(vm->L, run);
    if (lua_pcall(vm->L, 1, 0, 0) == LUA_OK)
        return true;
    lua_pop(vm->L, 1);
    return false;
}

static void vm_drop_co(struct vm *vm, struct vm_run *run, bool reusable)
{
    if (run->co == NULL)
        return;
    *vm_run_slot(run->co) = NULL;
    if (reusable && vm->idle_count < VM_IDLE_MAX && !vm->closing) {
        if (run->interval != VM_INTERVAL)
            lua_sethook(run->co, vm_hook, LUA_MASKCOUNT, VM_INTERVAL);
        vm->idle[vm->idle_count].co = run->co;
        vm->idle[vm->idle_count].ref = run->co_ref;
        vm->idle_count++;
    } else {
        luaL_unref(vm->L, LUA_REGISTRYINDEX, run->co_ref);
    }
    run->co = NULL;
}

static void vm_end(struct vm *vm, struct vm_run *run, int status)
{
    if (status != LUA_OK) { /* raised by push() or take() */
        vm_run_fail(run->co, run, status);
        lua_settop(run->co, 0);
    }
    vm_drop_co(vm, run, status == LUA_OK && !run->killed && !run->interrupted);
    run->state = VM_ENDED;
    run->steps += vm->charged;
    vm->charged = 0;
    vm->runs--;
}

/* One slice. Returns whether the run has ended. */
static bool vm_continue(struct vm *vm, struct vm_run *run)
{
    struct vm_run *outer = vm->current;
    vm->stuck = false;
    vm->looks++; /* what was before it is another's */
    uint64_t outer_slice = vm->slice_ns, start = vm->host->mono_ns(vm->host);
    vm->current = run;
    vm->slice_ns = start;
    run->entered_ns = run->looked_ns = start;
    run->state = VM_RUNNING;
    bool watched = run->watched || (outer != NULL && outer->watched);
    uint64_t cpu = watched ? vm_cpu_ns(vm) : 0;
    run->cpu_entered_ns = cpu;
    uint64_t allocated = vm->allocated;
    int results = 0;
    int status = lua_resume(run->co, outer != NULL ? outer->co : vm->L, 0, &results);
    uint64_t spent = vm->host->mono_ns(vm->host) - start;
    run->ns += spent;
    run->bytes += vm->allocated - allocated;
    vm->current = outer;
    vm->slice_ns = outer_slice;
    if (outer != NULL) { /* its clock stood still meanwhile */
        outer->entered_ns += spent;
        outer->bytes -= vm->allocated - allocated; /* which its own slice will add */
    }
    if (outer != NULL && outer->watched)
        outer->cpu_entered_ns += vm_cpu_ns(vm) - cpu;
    if (run->watched)
        run->cpu_ns += vm_cpu_ns(vm) - run->cpu_entered_ns;
    if (status == LUA_YIELD) {
        ASSERT(run->state == VM_READY || run->state == VM_WAITING);
        if (run->state == VM_READY)
            list_push(&vm->ready, &run->node);
        return false;
    }
    vm_end(vm, run, status);
    return true;
}

static void vm_wake(struct vm *vm)
{
    if (!vm->woken && !list_is_empty(&vm->ready)) {
        vm->woken = true;
        vm->host->wake(vm->host);
    }
}

static void vm_finish(struct vm *vm, struct vm_run *run)
{
    if (run->meter != NULL)
        vm_meter_count(run->meter, run);
    if (vm->closing && vm->runs == 0) {
        vm_free(vm);
        run->vm = NULL;
    }
}

bool vm_start(struct vm *vm, struct vm_run *run)
{
    ASSERT(!vm->closing);
    run->vm = vm;
    run->err.code = 0;
    run->err.field[0] = run->err.text[0] = run->err_code[0] = '\0';
    run->ns = run->steps = run->bytes = run->cpu_ns = 0;
    run->killed = run->watched = run->starved = run->fault = run->interrupted = false;
    run->interrupt = NULL;
    run->interval = VM_INTERVAL;
    list_init(&run->node);
    if (!vm_take_co(vm, run)) {
        run->state = VM_ENDED;
        err_set(&run->err, ERR_TOO_LARGE, "out of memory: no room for another coroutine");
        return true;
    }
    vm->runs++;
    *vm_run_slot(run->co) = run;
    lua_pushcfunction(run->co, vm_entry);
    if (!vm_continue(vm, run)) {
        vm_wake(vm);
        return false;
    }
    vm_finish(vm, run);
    return true;
}

static void vm_go_on(struct vm *vm, struct vm_run *run)
{
    if (!vm_continue(vm, run)) {
        vm_wake(vm);
        return;
    }
    vm_finish(vm, run);
    run->done(run); /* run, and the VM, may be gone after this line */
}

bool vm_turn(struct vm *vm)
{
    ASSERT(vm->current == NULL);
    vm->woken = true; /* ours until the end of this function */
    vm->runs++;       /* holds the VM while the last run ends */
    struct list *node = list_pop(&vm->ready);
    if (node != NULL)
        vm_go_on(vm, LIST_OF(node, struct vm_run, node));
    vm->runs--;
    vm->woken = false;
    bool more = !list_is_empty(&vm->ready);
    vm_wake(vm);
    if (vm->closing && vm->runs == 0)
        vm_free(vm);
    return more;
}

void vm_cancel(struct vm_run *run, int code, const char *why)
{
    if (run->killed)
        return;
    run->killed = true;
    err_set(&run->err, code, "%s", why);
}

void vm_interrupt(struct vm_run *run, const char *code, const char *why)
{
    if (run->killed)
        return;
    run->interrupted = true;
    run->interrupt = code;
    run->interrupt_why = why;
    run->interval = 1;
    lua_sethook(run->co, vm_hook, LUA_MASKCOUNT, 1);
}

void vm_resume(struct vm_run *run)
{
    struct vm *vm = run->vm;
    ASSERT(run->state == VM_WAITING);
    if (vm->current != NULL) { /* another run is inside Lua: this one waits for its turn */
        run->state = VM_READY;
        list_push(&vm->ready, &run->node);
        vm_wake(vm);
        return;
    }
    vm_go_on(vm, run);
}

bool vm_can_await(lua_State *L)
{
    struct vm_run *run = vm_run_of(L);
    return run != NULL && !run->whole && !vm_of(L)->loading && lua_isyieldable(L);
}

void vm_may_await(lua_State *L, const char *what)
{
    if (vm_run_of(L) == NULL || vm_of(L)->loading)
        luaL_error(L, "%s: not while the script loads; call it in a hook or handler", what);
    if (vm_run_of(L)->whole)
        luaL_error(L, "%s: not inside a normaliser, which must answer at once", what);
    if (!lua_isyieldable(L))
        luaL_error(L, "%s: not inside a callback of sort or gsub, or a metamethod", what);
    if (vm_run_of(L)->may_wait != NULL)
        vm_run_of(L)->may_wait(L, vm_run_of(L));
}

int vm_await(lua_State *L, intptr_t ctx, int (*k)(lua_State *, int, intptr_t))
{
    struct vm_run *run = vm_run_of(L);
    ASSERT(run != NULL && lua_isyieldable(L));
    run->state = VM_WAITING;
    return lua_yieldk(L, 0, ctx, k);
}
