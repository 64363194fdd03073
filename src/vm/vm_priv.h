/* What the files of vm/ share. */
#ifndef KOAN_VM_PRIV_H
#define KOAN_VM_PRIV_H

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>

#include "base/str.h"
#include "vm/pattern.h"
#include "vm/pool.h"
#include "vm/vm.h"

enum {
    VM_MAGIC = 0x4b4f564d,
    VM_IDLE_MAX = 64,      /* finished coroutines kept for the next run */
    VM_INTERVAL = 1000,    /* instructions between two looks at the clock, at most */
    VM_LOOK_NS = 1000000,  /* and the time that should pass between them, at most */
    VM_CHARGE_BYTES = 256, /* allocated or copied for the price of one instruction */
    VM_CHARGE_LOOK = 16000,
    VM_LEVELS_MAX = 16000, /* calls inside calls, exact to an interval: Lua's own bound would take
                              a good part of the memory that all runs share */
    VM_NAME_MAX = 128,     /* of a file */
    VM_VALUES_MAX = 8000,  /* that a call may have as arguments or results, exact to an interval */
    VM_STACK_LOOK = 16 << 10, /* bytes from which on the growth of Lua's stack is watched */
    VM_STACK_EXTRA = 5 * 16,  /* bytes that it has beside what it doubles */
    VM_STACK_NS = 10000000,   /* processor time between two growths of it without one instruction */
    VM_SHAPE_KEYS = 48,       /* of an object, that are kept for the next one */
};

/* The keys of the last object of a kind, in their order: text.c. */
struct vm_shape {
    struct str key[VM_SHAPE_KEYS]; /* bytes of strings that the table keeps; NULL: none */
    size_t count;                  /* of the last object */
    int ref;                       /* of the table; 0: none yet */
};

/* Of struct vm_run.state. */
enum vm_run_state { VM_IDLE, VM_RUNNING, VM_READY, VM_WAITING, VM_ENDED };

struct vm {
    uint32_t magic;
    struct vm_host *host;
    lua_State *L;
    struct pool pool;
    size_t memory, memory_max;
    uint64_t allocated; /* ever */
    struct list ready;
    struct vm_run *current;
    size_t runs;
    bool loading, closing, woken;
    uint64_t charged; /* since the last look at the budget */
    uint64_t slice_ns;
    uint64_t looks;                     /* of the hook, and of vm_charge() */
    uint64_t stack_looks, stack_cpu_ns; /* when the stack grew last */
    bool stuck;                         /* it grows in a chain of __call: no memory for it */
    struct vm_pattern_cache patterns;
    struct vm_shape shape_text, shape_json; /* of vm_push_printed(), of vm_push_json() */
    struct {
        lua_State *co;
        int ref;
    } idle[VM_IDLE_MAX];
    int idle_count;
    const struct vm_source *files; /* while loading, sorted by name */
    size_t files_count;
    int modules; /* registry: name -> value, or false while it is being loaded */
    int globals; /* registry: the real globals, behind the empty table that scripts have as _ENV */
    int env;
};

/* run.c */
void vm_hook(lua_State *L, lua_Debug *ar);
void vm_kill(lua_State *L, struct vm_run *run, int code, const char *what);
/* Look at the budget at the next instruction. */
void vm_look_soon(struct vm *vm);
uint64_t vm_cpu_ns(struct vm *vm);
/* Raised as LUA_ERRMEM: says why, and ends the run for good. */
void vm_kill_starved(lua_State *L, struct vm_run *run);

/* The libraries; each leaves a table on the stack or fills the globals at `globals`. */
void vm_open_base(lua_State *L, int globals);
void vm_open_string(lua_State *L);
int vm_tidy(lua_State *L); /* tidy.c */
/* fixed.c: `v` as printf's "%.Nf" has it, with up to 9 decimals; the length, or 0: it is too large
 * for this way, or no number. */
enum { VM_FIXED_ROOM = 40 };
size_t vm_fixed(double v, int decimals, char text[VM_FIXED_ROOM]);
/* The function on top of the stack, which gives back a value for each place of a text from its
 * second argument to its third, becomes one that refuses to give back too many. */
void vm_limit_values(lua_State *L);
void vm_open_table(lua_State *L);
void vm_open_os(lua_State *L);

/* meter.c */
void vm_meter_count(struct vm_meter *m, const struct vm_run *run);

/* freeze.c */
/* At `at`, a table: has its content been moved away? */
bool vm_is_frozen(lua_State *L, int at);
/* From now on tables with this metatable are frozen ones, whose content is the table at `content`.
 */
void vm_mark_frozen(lua_State *L, int metatable, int content);
int vm_frozen_pairs(lua_State *L);
/* Pushes what holds the content of a frozen table, or the table itself. */
void vm_push_content(lua_State *L, int at);

/* text.c */
/* Pushes the table of the shape; its index. */
int vm_shape_push(lua_State *L, struct vm_shape *s);
/* Pushes `key`, the i-th of an object, from 0. */
void vm_shape_key(lua_State *L, struct vm_shape *s, int table, size_t i, struct str key);

/* load.c */
int vm_require(lua_State *L);
/* "todo.lua:3: x near 'y'" gets its column if the line names y once. */
void vm_error_column(const struct vm_source *s, const char *message, char *out, size_t cap);

#endif
