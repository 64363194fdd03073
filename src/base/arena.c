#include "base/arena.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"

enum { ARENA_ALIGN = 16 };

/* `head` is the chunk that small blocks are cut from; chunks of single large blocks stand behind
 * it. */
struct arena_chunk {
    struct arena_chunk *next;
    size_t size, at;
    _Alignas(ARENA_ALIGN) char data[];
};

void arena_init(struct arena *a, size_t bytes_max)
{
    *a = (struct arena){.limit = bytes_max};
}

void arena_fini(struct arena *a)
{
    for (struct arena_chunk *c = a->head; c != NULL;) {
        struct arena_chunk *next = c->next;
        mem_free(c);
        c = next;
    }
    a->head = NULL;
    a->used = 0;
}

void arena_reset(struct arena *a)
{
    struct arena_chunk *keep = a->head;
    if (keep == NULL)
        return;
    a->head = keep->next;
    arena_fini(a);
    if (keep->size > ARENA_CHUNK) {
        mem_free(keep);
        return;
    }
    keep->next = NULL;
    keep->at = 0;
    a->head = keep;
}

static struct arena_chunk *arena_chunk_new(size_t size)
{
    struct arena_chunk *c = mem_try(sizeof(*c) + size);
    if (c == NULL)
        return NULL;
    c->next = NULL;
    c->size = size;
    c->at = 0;
    return c;
}

/* A chunk with room for `size`, linked in. A large block goes behind the head, so that the rest of
 * the head stays in use. */
static struct arena_chunk *arena_room(struct arena *a, size_t size)
{
    struct arena_chunk *c = a->head;
    if (c != NULL && c->size - c->at >= size)
        return c;
    bool large = size > ARENA_CHUNK / 2;
    c = arena_chunk_new(large ? size : ARENA_CHUNK);
    if (c == NULL)
        return NULL;
    if (large && a->head != NULL) {
        c->next = a->head->next;
        a->head->next = c;
    } else {
        c->next = a->head;
        a->head = c;
    }
    return c;
}

void *arena_try(struct arena *a, size_t size)
{
    if (size > a->limit || a->limit - size < a->used)
        return NULL;
    size_t whole = (size + ARENA_ALIGN - 1) & ~(size_t)(ARENA_ALIGN - 1);
    if (whole == 0)
        whole = ARENA_ALIGN;
    if (whole < size || whole > SIZE_MAX / 2)
        return NULL;
    struct arena_chunk *c = arena_room(a, whole);
    if (c == NULL)
        return NULL;
    void *p = c->data + c->at;
    c->at += whole;
    a->used += size;
    return p;
}

void *arena_new(struct arena *a, size_t size)
{
    void *p = arena_try(a, size);
    if (p == NULL)
        PANIC("arena: no room for %zu bytes (used %zu of %zu)", size, a->used, a->limit);
    memset(p, 0, size);
    return p;
}

char *arena_strndup(struct arena *a, const char *s, size_t n)
{
    char *p = n < SIZE_MAX ? arena_try(a, n + 1) : NULL;
    if (p == NULL)
        return NULL;
    if (n > 0)
        memcpy(p, s, n);
    p[n] = '\0';
    return p;
}

char *arena_printf(struct arena *a, const char *fmt, ...)
{
    va_list args, again;
    va_start(args, fmt);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    ASSERT(n >= 0);
    char *p = arena_try(a, (size_t)n + 1);
    if (p != NULL)
        vsnprintf(p, (size_t)n + 1, fmt, again);
    va_end(again);
    return p;
}
