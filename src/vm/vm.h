/* Vm - Lua behind a door: a sandbox, budgets, coroutines and values. It knows no domain.
 *
 * A `struct vm` is one Lua state that has loaded one set of scripts. It belongs to one thread and
 * runs any number of functions side by side, each in a coroutine of its own (`struct vm_run`).
 * There is no way to change the set of a living VM: a new set gets a new VM, the runs of the old
 * one finish there, and it is freed when the last has ended. So a set that does not load never
 * replaces one that did.
 *
 * Sandbox. Scripts see an allow list and nothing else: no files, no processes, no debug library, no
 * loading of text or bytecode, no coroutines of their own, no finalizers. `require` finds only
 * modules of the set (and of the library handed in). Clock and randomness come from the host.
 *
 * Budgets. One allocator with a cap serves the whole VM. A count hook looks at the clock: it ends a
 * run that has used up its instructions or its time, and lets others go on after VM_SLICE_NS. C
 * functions that may work long (patterns, table moves, repetitions) are our own or bounded and
 * charge the same budget. Once a budget is spent the run is dead: pcall hands the error on, and
 * every further instruction, in a __close handler too, raises it again.
 *
 * State. While the set loads, globals and module tables are made; after that they are read-only at
 * every depth, and an assignment is an error that names file and line. Locals of a file are not
 * guarded (Lua gives no way to), so they are not a place to keep anything either.
 *
 * Waiting. A binding that starts an operation returns vm_await(): the coroutine is suspended, and
 * vm_resume() from the operation's done continues it in the given continuation, which pushes
 * results or raises. Everything that can raise runs inside the coroutine, so no longjmp ever
 * crosses our frames.
 *
 *            vm_start                 vm_await                  vm_resume
 *   [idle] ------------> [running] ------------> [waiting] ------------> [running] ...
 *                         |  ^  \_______________________________________> [done]
 *              slice over |  | vm_turn             returned, raised or out of budget
 *                         v  |
 *                        [ready]
 *
 * All functions are for the VM's own thread. Errors a script raises carry file and line. */
#ifndef KOAN_VM_VM_H
#define KOAN_VM_VM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/json.h"
#include "base/list.h"

struct lua_State;
struct vm;
struct vm_meter;
struct vm_run;

enum {
    VM_MEMORY_MAX = 64 << 20, /* a VM, everything included */
    VM_STRING_MAX = 11 << 20, /* one string, and one block of any kind but tables */
    VM_SLICE_NS = 10 * 1000 * 1000,
    VM_DEPTH_MAX = 64,         /* of a value that crosses the boundary */
    VM_SOURCE_MAX = 1 << 20,   /* one file */
    VM_SOURCES_MAX = 1000,     /* files in a set */
    VM_SET_MAX = 16 << 20,     /* all files of a set */
    VM_LOAD_STEPS = 100000000, /* instructions at top level */
    VM_LOAD_MS = 5000,
    VM_HOOK_STEPS = 5000000, /* budget of a hook */
    VM_HOOK_MS = 100,
};

/* What the VM needs from outside; part of the host's struct. */
struct vm_host {
    uint64_t (*mono_ns)(struct vm_host *h);
    /* Processor time of this thread. NULL: as mono_ns. */
    uint64_t (*cpu_ns)(struct vm_host *h);
    int64_t (*wall_ms)(struct vm_host *h);
    void (*random)(struct vm_host *h, void *p, size_t n);
    /* Runs are ready: call vm_turn() soon, from the loop. Called once until then. */
    void (*wake)(struct vm_host *h);
    /* print() of a script; `where` is "file:line". May be NULL. */
    void (*print)(struct vm_host *h, const char *where, const char *text);
    /* The VM is gone: after vm_free(), when the last run had ended, or when vm_new() failed. May be
       NULL. */
    void (*freed)(struct vm_host *h);
};

/* A file of a set. The name ends in ".lua" and is what messages show; folders are separated by '/'.
 */
struct vm_source {
    const char *name;
    const char *text;
    size_t len;
};

struct vm_options {
    struct vm_host *host;
    size_t memory_max; /* 0: VM_MEMORY_MAX */
    /* Called once, protected, before any script: registers bindings in the table at `globals`, and
     * may run parts of the library with vm_run_source(). May raise. May be NULL. */
    void (*open)(struct lua_State *L, int globals, void *arg);
    void *arg;
};

/* The three steps of a set. vm_load() loads all files in the order of their names, each once, a
 * file that requires another after it. ERR_INVALID has "file:line:column: what, near what" as far
 * as they are known. Bytecode is refused. After a failure the VM can only be freed. */
int vm_new(const struct vm_options *o, struct vm **out, struct err *e);
int vm_load(struct vm *vm, const struct vm_source *files, size_t count, struct err *e);
/* Frees it now, or when the last run has ended. Takes NULL. */
void vm_free(struct vm *vm);

/* Continue the run that has waited longest since its slice was over, for one slice: the loop may do
 * other things before the next. Returns whether some are ready (wake() has been called then). */
bool vm_turn(struct vm *vm);
size_t vm_memory(const struct vm *vm);
bool vm_is_loading(const struct vm *vm);

struct vm_limits {
    uint64_t steps; /* instructions, exact to about a thousand; 0: no limit */
    uint64_t ns;    /* time spent inside Lua, not waiting for a busy machine; 0: no limit */
};

/* A function under way: part of the caller's struct. */
struct vm_run {
    /* Set by the caller. */
    struct vm_limits limits;
    bool whole;             /* never suspended: no slices, and waiting is refused */
    struct vm_meter *meter; /* may be NULL */
    /* Push the function and its arguments; returns the number of arguments. May raise. */
    int (*push)(struct lua_State *L, struct vm_run *run);
    /* `count` results stand from index `first`; keep what is wanted as C values. May raise. May be
     * NULL. */
    void (*take)(struct lua_State *L, struct vm_run *run, int first, int count);
    void (*done)(struct vm_run *run);
    /* It is about to wait (vm_may_await): may raise. May be NULL. */
    void (*may_wait)(struct lua_State *L, struct vm_run *run);

    /* The result. */
    struct err err;     /* code 0: it returned */
    char err_code[64];  /* a code of the script's own from error objects ("NO_COUNTRY"), or "" */
    uint64_t ns, steps; /* spent inside Lua */
    uint64_t bytes;     /* allocated there, whether or not they were freed again */
    bool starved;       /* it failed for want of memory */
    bool fault;         /* with an error of vm_raise_fault() */

    /* The VM's own. */
    struct list node;
    struct vm *vm;
    struct lua_State *co;
    int state, co_ref;
    bool killed;
    bool interrupted; /* an error came from nowhere: its coroutine is not used again */
    const char *interrupt, *interrupt_why; /* to be raised; NULL: nothing */
    int interval;
    uint64_t entered_ns, looked_ns;
    bool watched; /* its processor time is measured, from cpu_entered_ns on in this slice */
    uint64_t cpu_ns, cpu_entered_ns;
};

/* Start it. true: it has ended already, the result is there and done() will not be called. false:
 * done() comes later, exactly once, from vm_turn() or vm_resume(). */
bool vm_start(struct vm *vm, struct vm_run *run);

/* End a run that is under way as if its budget were spent: soon if it works, else when what it
 * waits for is over. done() comes as always. */
void vm_cancel(struct vm_run *run, int code, const char *why);

/* Raise an error in a run that waits, or whose slice is over, when it goes on: once, and like any
 * other, so that the script may catch it. Nothing happens to one that is being ended. */
void vm_interrupt(struct vm_run *run, const char *code, const char *why); /* texts that last */

/* ---- For bindings (they include lua.h) ------------------------------------------------------- */

/* The run whose coroutine this is; NULL while a set loads. */
struct vm_run *vm_run_of(struct lua_State *L);
struct vm *vm_of(struct lua_State *L);
struct vm_host *vm_host_of(struct lua_State *L);

/* `return vm_await(L, ctx, k)`: suspend until vm_resume(), then continue in k(L, status, ctx) with
 * the stack as it is now. Raises where waiting is impossible: while loading, or inside a callback
 * of a C function (table.sort, gsub). Check with vm_may_await() before starting the operation. */
int vm_await(struct lua_State *L, intptr_t ctx, int (*k)(struct lua_State *, int, intptr_t));
void vm_may_await(struct lua_State *L, const char *what);
bool vm_can_await(struct lua_State *L);
/* The operation is over. Never from inside the binding that started it. */
void vm_resume(struct vm_run *run);

/* Names of library files begin so; `where` is the innermost place outside of them. */
#define VM_LIBRARY "koan/"
/* "file:line" of the innermost caller that is not of the library; "" when there is none. */
void vm_where(struct lua_State *L, char *out, size_t cap);

/* Raise a Lua error from `e`: a table with code, detail, field and where ("file:line"). */
int vm_raise(struct lua_State *L, const struct err *e);
/* The same where the script is at fault whatever it was given, like a name that nobody declared:
 * whoever answers others does not tell them (vm_run.fault). */
int vm_raise_fault(struct lua_State *L, const struct err *e);
/* The same with a code of the script's own. Either text may be NULL. */
int vm_raise_code(struct lua_State *L, const char *code, const char *detail);
/* What is on top of the stack as an error: `e` and, if it has one, its own code into code[64]. Does
 * not raise. */
void vm_error_get(struct lua_State *L, int at, struct err *e, char code[64]);
bool vm_error_is_fault(struct lua_State *L, int at);

/* Charge work done in C, in units of about one instruction. May raise, when the budget is spent. */
void vm_charge(struct lua_State *L, uint64_t units);

/* A userdata that calls free(p) when it is collected; fill `p` afterwards, set it to NULL to keep
 * it. */
struct vm_guard {
    void *p;
    void (*free)(void *p);
};
struct vm_guard *vm_guard_push(struct lua_State *L, void (*free)(void *p));

/* A table whose content cannot be changed by scripts from now on, at every depth; keeps its
 * identity. Tables with keys that begin with "__" go on to serve as metatables. */
void vm_freeze(struct lua_State *L, int at);
/* The set has been loaded: globals are frozen. Called by vm_load(). */

/* Compile a source text and leave it as a function; raises with file, line and column. */
void vm_push_source(struct lua_State *L, const struct vm_source *s);

/* Run a chunk of the embedded library with `globals` as its globals (index on the stack); leaves
 * its one result on the stack. Raises. For vm_options.open. */
void vm_run_source(struct lua_State *L, const struct vm_source *s, int globals);

/* ---- Values ----------------------------------------------------------------------------------
 *
 *   JSON            Lua                          back
 *   object          table                        table without items 1..n, also the empty one
 *   array           table marked as a list       marked, or with items 1..n and nothing else
 *   integer, real   integer, float               exact; NaN and infinities are refused
 *   null            in a list: json.null;        json.null
 *                   a field: absent (nil)
 *
 * With VM_NULLS fields are json.null too. */
enum vm_json { VM_PLAIN = 0, VM_NULLS = 1 };
/* Raises only for want of memory or depth. */
void vm_push_json(struct lua_State *L, const json_t *v, enum vm_json how);
/* The same of text that json_print() would write just so, with a NUL behind it; a null of a field
 * is absent. Raises also where it is no JSON at all. */
void vm_push_printed(struct lua_State *L, const char *text, size_t n);
/* A new reference. Does not raise: ERR_INVALID names the path of what cannot be a value. */
int vm_to_json(struct lua_State *L, int at, json_t **out, struct err *e);
/* Whether vm_to_json() would give `v` again for what stands at `at`; a null member of `v`
 * itself may be absent there, which makes *nulls true. Does not raise. */
bool vm_json_is(struct lua_State *L, int at, const json_t *v, bool *nulls);
void vm_push_null(struct lua_State *L);
bool vm_is_null(struct lua_State *L, int at);
/* Marks the table on top of the stack as a list. */
void vm_mark_list(struct lua_State *L);

/* ---- Meters ----
 * koan_script_{runs,errors,over_budget,seconds,steps,allocated_bytes}_total{function="..."} */
struct vm_meter *vm_meter_new(const char *function);
void vm_meter_free(struct vm_meter *m);

#endif
