/* A script: whatever text comes, it loads or is refused with words, and its main() ends within a
 * small budget; the VM serves another run afterwards. Where no text is Lua the parser is the
 * target, where it is, the sandbox. */
#include <lua.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "vm/vm.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { FUZZ_MEMORY = 8 << 20, FUZZ_STEPS = 20000, FUZZ_SOURCE_MAX = 4096 };

struct fuzz {
    struct vm_host host;
    struct vm_run run;
    uint64_t clock;
};

/* A clock that only looks move: a case takes the same way each time. */
static uint64_t fuzz_mono(struct vm_host *h)
{
    return ((struct fuzz *)h)->clock += 1000;
}

static int64_t fuzz_wall(struct vm_host *h)
{
    (void)h;
    return 1795305600000;
}

static void fuzz_random(struct vm_host *h, void *p, size_t n)
{
    (void)h;
    memset(p, 7, n);
}

static void fuzz_wake(struct vm_host *h)
{
    (void)h;
}

static int fuzz_push(struct lua_State *L, struct vm_run *run)
{
    (void)run;
    lua_getglobal(L, "main");
    return 0;
}

static void fuzz_done(struct vm_run *run)
{
    (void)run;
}

static void fuzz_run(struct fuzz *f, struct vm *vm)
{
    f->run = (struct vm_run){.limits = {.steps = FUZZ_STEPS}, .push = fuzz_push, .done = fuzz_done};
    if (!vm_start(vm, &f->run))
        while (vm_turn(vm))
            continue;
    ASSERT(f->run.err.code <= 0 && (f->run.err.code == 0 || f->run.err.text[0] != '\0'));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > FUZZ_SOURCE_MAX)
        return 0;
    struct fuzz f = {
        .host = {
            .mono_ns = fuzz_mono, .wall_ms = fuzz_wall, .random = fuzz_random, .wake = fuzz_wake}};
    struct vm_options o = {.host = &f.host, .memory_max = FUZZ_MEMORY};
    struct vm *vm = NULL;
    struct err e = ERR_INIT;
    ASSERT(vm_new(&o, &vm, &e) == 0);
    /* What runs at top level has a hundred million steps: a function of the same text has few. */
    AUTO(mem_freep) char *text = mem_try(size + 64);
    size_t n = 0;
    static const char head[] = "function main() ", tail[] = "\nend";
    memcpy(text, head, sizeof head - 1);
    n += sizeof head - 1;
    memcpy(text + n, data, size);
    n += size;
    memcpy(text + n, tail, sizeof tail - 1);
    n += sizeof tail - 1;
    struct vm_source s = {.name = "f.lua", .text = text, .len = n};
    int rc = vm_load(vm, &s, 1, &e);
    if (rc < 0)
        ASSERT(rc == e.code && strncmp(e.text, "f.lua", 5) == 0);
    else
        for (int i = 0; i < 2; i++)
            fuzz_run(&f, vm);
    ASSERT(vm_memory(vm) <= FUZZ_MEMORY);
    vm_free(vm);
    return 0;
}
