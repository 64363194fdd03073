#include "base/mem.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"

#ifdef MEM_COUNT /* the dbg mode: counting costs a shared cache line */
static size_t mem_blocks;

static void mem_count(int delta)
{
    __atomic_fetch_add(&mem_blocks, (size_t)(ptrdiff_t)delta, __ATOMIC_RELAXED);
}

size_t mem_live(void)
{
    return __atomic_load_n(&mem_blocks, __ATOMIC_RELAXED);
}

static _Thread_local size_t mem_fail_in;
static _Thread_local bool mem_failed;

void mem_fail(size_t nth)
{
    mem_fail_in = nth;
    mem_failed = false;
}

bool mem_has_failed(void)
{
    return mem_failed;
}

static bool mem_is_out(void)
{
    bool out = mem_fail_in > 0 && --mem_fail_in == 0;
    mem_failed |= out;
    return out;
}
#else
static void mem_count(int delta)
{
    (void)delta;
}

size_t mem_live(void)
{
    return 0;
}

void mem_fail(size_t nth)
{
    (void)nth;
}

bool mem_has_failed(void)
{
    return false;
}

static bool mem_is_out(void)
{
    return false;
}
#endif

void *mem_new(size_t size)
{
    void *p = calloc(1, size > 0 ? size : 1);
    if (p == NULL)
        PANIC("out of memory: %zu bytes", size);
    mem_count(1);
    return p;
}

void *mem_new_array(size_t count, size_t size)
{
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes))
        PANIC("array of %zu x %zu bytes", count, size);
    return mem_new(bytes);
}

void *mem_try(size_t size)
{
    /* Past PTRDIFF_MAX malloc fails anyway; sanitizers would rather abort than answer NULL. */
    if (size > PTRDIFF_MAX || mem_is_out())
        return NULL;
    void *p = malloc(size > 0 ? size : 1);
    if (p != NULL)
        mem_count(1);
    return p;
}

void *mem_try_resize(void *p, size_t size)
{
    if (p == NULL)
        return mem_try(size);
    if (size > PTRDIFF_MAX || mem_is_out())
        return NULL;
    return realloc(p, size > 0 ? size : 1);
}

void *mem_must(size_t size)
{
    void *p = malloc(size > 0 ? size : 1); /* not mem_try(): to fail this is to end the process */
    if (p == NULL)
        PANIC("out of memory: %zu bytes", size);
    mem_count(1);
    return p;
}

char *mem_strndup(const char *s, size_t n)
{
    char *p = mem_must(n + 1);
    if (n > 0)
        memcpy(p, s, n);
    p[n] = '\0';
    return p;
}

char *mem_strdup(const char *s)
{
    return mem_strndup(s, strlen(s));
}

void *mem_dup(const void *p, size_t n)
{
    return mem_strndup(p, n);
}

char *mem_printf(const char *fmt, ...)
{
    va_list args, again;
    va_start(args, fmt);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    ASSERT(n >= 0);
    char *p = mem_must((size_t)n + 1);
    vsnprintf(p, (size_t)n + 1, fmt, again);
    va_end(again);
    return p;
}

void mem_free(void *p)
{
    if (p == NULL)
        return;
    mem_count(-1);
    free(p);
}

void mem_freep(void *pp)
{
    void *p;
    memcpy(&p, pp, sizeof(p)); /* pp is a T **; reading it as void ** would break aliasing rules */
    mem_free(p);
}
