/* A VM for tests: load a text, call its global `main`, look at what came out. */
#ifndef KOAN_VM_FIXTURE_H
#define KOAN_VM_FIXTURE_H

#include <lauxlib.h>
#include <lua.h>
#include <stdio.h>
#include <time.h>

#include "base/json.h"
#include "support/unit.h"
#include "vm/vm.h"

struct host {
    struct vm_host host;
    int woken;
    uint64_t clock_step; /* not 0: a clock that grows by so much at each look */
    uint64_t clock;
    uint64_t cpu, cpu_step; /* the same for processor time, with host_cpu */
    char printed[256];
};

static uint64_t host_mono(struct vm_host *h)
{
    struct host *host = (struct host *)h;
    if (host->clock_step != 0)
        return host->clock += host->clock_step;
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static inline uint64_t host_cpu(struct vm_host *h)
{
    struct host *host = (struct host *)h;
    return host->cpu += host->cpu_step;
}

static int64_t host_wall(struct vm_host *h)
{
    (void)h;
    return 1795305600000; /* 2026-11-22 */
}

static void host_random(struct vm_host *h, void *p, size_t n)
{
    (void)h;
    memset(p, 7, n);
}

static void host_wake(struct vm_host *h)
{
    ((struct host *)h)->woken++;
}

static void host_print(struct vm_host *h, const char *where, const char *text)
{
    struct host *host = (struct host *)h;
    snprintf(host->printed, sizeof host->printed, "%s%s", where, text);
}

static inline struct host host_new(void)
{
    return (struct host){.host = {.mono_ns = host_mono,
                                  .wall_ms = host_wall,
                                  .random = host_random,
                                  .wake = host_wake,
                                  .print = host_print}};
}

static inline struct vm *vm_with(struct host *h, void (*open)(struct lua_State *, int, void *),
                                 size_t memory)
{
    struct vm *vm = NULL;
    struct err e = ERR_INIT;
    struct vm_options o = {.host = &h->host, .open = open, .memory_max = memory};
    if (vm_new(&o, &vm, &e) != 0)
        fail_msg("%s", e.text);
    return vm;
}

static inline int load_text(struct vm *vm, const char *text, struct err *e)
{
    struct vm_source s = {.name = "t.lua", .text = text, .len = strlen(text)};
    return vm_load(vm, &s, 1, e);
}

static inline struct vm *vm_loaded(struct host *h, const char *text)
{
    struct vm *vm = vm_with(h, NULL, 0);
    struct err e = ERR_INIT;
    if (load_text(vm, text, &e) != 0)
        fail_msg("%s", e.text);
    return vm;
}

struct call {
    struct vm_run run;
    const char *function;
    json_t *arg, *result;
    const char *printed; /* instead of arg: pushed as the text it is */
    bool done;
    bool same, nulls; /* what came back is what went in: vm_json_is() */
};

static int call_push(struct lua_State *L, struct vm_run *run)
{
    struct call *c = (struct call *)run;
    lua_getglobal(L, c->function != NULL ? c->function : "main");
    if (c->printed != NULL)
        vm_push_printed(L, c->printed, strlen(c->printed));
    else if (c->arg != NULL)
        vm_push_json(L, c->arg, VM_PLAIN);
    return c->printed != NULL || c->arg != NULL;
}

static void call_take(struct lua_State *L, struct vm_run *run, int first, int count)
{
    struct call *c = (struct call *)run;
    struct err e = ERR_INIT;
    if (count > 0 && vm_to_json(L, first, &c->result, &e) != 0)
        vm_raise(L, &e);
    bool nulls;
    if (c->result != NULL)
        assert_true(vm_json_is(L, first, c->result, &nulls));
    c->same = count > 0 && c->arg != NULL && vm_json_is(L, first, c->arg, &c->nulls);
}

static void call_done(struct vm_run *run)
{
    ((struct call *)run)->done = true;
}

static inline bool call_start(struct vm *vm, struct call *c)
{
    c->run.push = call_push;
    c->run.take = call_take;
    c->run.done = call_done;
    c->done = vm_start(vm, &c->run);
    return c->done;
}

static inline void call_fini(struct call *c)
{
    json_decref(c->result);
    json_decref(c->arg);
}

/* Runs main() of `text` to its end under the budget of a hook (its time tenfold, for the
 * sanitizers); the result is its error, if any. */
static inline void run_text(const char *text, struct call *c)
{
    struct host h = host_new();
    struct vm *vm = vm_loaded(&h, text);
    *c = (struct call){.run.limits = {VM_HOOK_STEPS, 10u * VM_HOOK_MS * 1000000}};
    call_start(vm, c);
    while (!c->done)
        vm_turn(vm);
    vm_free(vm);
}

static inline void assert_true_result(const char *text)
{
    struct call c;
    run_text(text, &c);
    if (c.run.err.code != 0)
        fail_msg("%s", c.run.err.text);
    if (!json_is_true(c.result)) {
        char *s = json_dumps(c.result, JSON_ENCODE_ANY);
        print_error("%s\n", s);
        free(s);
        fail();
    }
    call_fini(&c);
}

static inline void assert_fails(const char *text, int code, const char *words)
{
    struct call c;
    run_text(text, &c);
    struct err e = c.run.err;
    call_fini(&c);
    assert_refused(c.run.err.code, code, words);
}

#endif
