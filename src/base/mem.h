/* Memory - two kinds of allocation, one owner each.
 *
 * mem_new() is for small fixed sizes: it aborts when the machine is out of memory, which the log
 * makes safe. mem_try() is for sizes that input can influence: it returns NULL and the caller
 * answers ERR_NOMEM or ERR_TOO_LARGE. Everything is freed by mem_free(), which takes NULL.
 *
 * AUTO(destructor) frees a local when its scope ends; TAKE() hands it over instead:
 *
 *     AUTO(mem_freep) char *text = mem_try(n);
 *     ...
 *     *out = TAKE(text);
 */
#ifndef KOAN_BASE_MEM_H
#define KOAN_BASE_MEM_H

#include <stdbool.h>
#include <stddef.h>

#define AUTO(destructor) __attribute__((cleanup(destructor)))
#define TAKE(ptr)                                                                                  \
    ({                                                                                             \
        __typeof__(ptr) take_ = (ptr);                                                             \
        (ptr) = NULL;                                                                              \
        take_;                                                                                     \
    })
#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

/* Zeroed memory of a small fixed size; aborts when there is none. */
void *mem_new(size_t size);
/* Zeroed array of small bounded count; aborts on overflow or when there is none. */
void *mem_new_array(size_t count, size_t size);
/* The same, uninitialised. */
void *mem_must(size_t size);
/* Uninitialised memory, NULL when there is none. Size 0 gives a pointer that may be freed. */
void *mem_try(size_t size);
/* Grow or shrink; on NULL the old block is still the caller's. */
void *mem_try_resize(void *p, size_t size);
/* A copy of a string or of n bytes with a NUL behind them; aborts when there is no memory. For
 * short strings. */
char *mem_strdup(const char *s);
char *mem_strndup(const char *s, size_t n);
void *mem_dup(const void *p, size_t n);
char *mem_printf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void mem_free(void *p);
/* For AUTO: frees *(void **)pp. */
void mem_freep(void *pp);

/* Blocks now live, for the heap check after each test. Counted only in builds with MEM_COUNT; 0
 * otherwise. */
size_t mem_live(void);
/* For the torture tests, in the same builds: on this thread the nth mem_try() or mem_try_resize()
 * from now (1: the next) finds no memory; 0 switches off. Has it happened? */
void mem_fail(size_t nth);
bool mem_has_failed(void);

#endif
