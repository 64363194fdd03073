/* Pattern - Lua's text patterns with a bound on the work.
 *
 * The matcher of Lua's own library runs in C, where no hook can stop it, and a few repetitions
 * over a long text keep it busy for hours. This one understands the same patterns; it compiles them
 * into a short program and counts every step. Pure: no Lua, no allocation.
 *
 * A program is a row of nodes. A repetition tries the rest of the row for each count it can take,
 * so the recursion is never deeper than the row is long. */
#ifndef KOAN_VM_PATTERN_H
#define KOAN_VM_PATTERN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { VM_PATTERN_NODES_MAX = 128, VM_PATTERN_CAPTURES_MAX = 32, VM_PATTERN_STEPS_MAX = 4000000 };

enum vm_pattern_kind {
    VM_PATTERN_SET,      /* one byte of a set */
    VM_PATTERN_OPEN,     /* ( */
    VM_PATTERN_CLOSE,    /* ) */
    VM_PATTERN_POSITION, /* () */
    VM_PATTERN_BACK,     /* %1 */
    VM_PATTERN_BALANCE,  /* %bxy */
    VM_PATTERN_FRONTIER, /* %f[set] */
    VM_PATTERN_END,      /* $ */
};

enum vm_pattern_repeat {
    VM_PATTERN_ONCE,
    VM_PATTERN_MAYBE,
    VM_PATTERN_MANY,
    VM_PATTERN_SOME,
    VM_PATTERN_LAZY
};

struct vm_pattern_node {
    uint8_t kind, repeat, a, b; /* a: capture, or x of %bxy; b: y */
    uint8_t set[32];
};

struct vm_pattern {
    bool anchored;
    int count, captures;
    struct vm_pattern_node node[VM_PATTERN_NODES_MAX];
};

/* NULL, or what is wrong with it. */
const char *vm_pattern_compile(const char *p, size_t n, struct vm_pattern *out);

/* Small programs that were made lately: scripts have few patterns and use them again and again. */
enum {
    VM_PATTERN_CACHE_SLOTS = 32,
    VM_PATTERN_CACHE_TEXT = 32, /* bytes of a pattern, and */
    VM_PATTERN_CACHE_NODES = 6, /* nodes, that are kept */
};

struct vm_pattern_cache {
    struct {
        uint8_t n; /* of the text; 0: the slot is free */
        bool anchored;
        uint8_t count, captures;
        char text[VM_PATTERN_CACHE_TEXT];
        struct vm_pattern_node node[VM_PATTERN_CACHE_NODES];
    } slot[VM_PATTERN_CACHE_SLOTS];
};

/* As vm_pattern_compile(). `c` begins as zeros. */
const char *vm_pattern_cached(struct vm_pattern_cache *c, const char *p, size_t n,
                              struct vm_pattern *out);

struct vm_pattern_match {
    const char *text, *end;
    struct {
        const char *at;
        ptrdiff_t len; /* -1: a position */
    } capture[VM_PATTERN_CAPTURES_MAX];
    uint64_t steps; /* taken so far; add up over calls */
    uint64_t steps_max;
    bool exhausted; /* gave up */
};
/* The end of a match that begins exactly at `at`, or NULL. */
const char *vm_pattern_match(const struct vm_pattern *p, struct vm_pattern_match *m,
                             const char *at);
/* The first place from `at` on where a match may begin: most texts are skipped over here. */
const char *vm_pattern_skip(const struct vm_pattern *p, struct vm_pattern_match *m, const char *at);

#endif
