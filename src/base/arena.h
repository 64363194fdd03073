/* Arena - memory of one request or one entry, freed in one call. Chunks of ARENA_CHUNK bytes;
 * larger blocks get a chunk of their own. A total limit is given at init; past it, arena_try()
 * returns NULL and arena_new() aborts (small fixed sizes). */
#ifndef KOAN_BASE_ARENA_H
#define KOAN_BASE_ARENA_H

#include <stddef.h>

enum { ARENA_CHUNK = 4096 };

struct arena_chunk;
struct arena {
    struct arena_chunk *head;
    size_t used, limit;
};

void arena_init(struct arena *a, size_t bytes_max);
void arena_fini(struct arena *a);
/* Forget everything but keep one chunk, for reuse by the next request. */
void arena_reset(struct arena *a);
void *arena_new(struct arena *a, size_t size);                 /* zeroed, 16-byte aligned */
void *arena_try(struct arena *a, size_t size);                 /* not zeroed; NULL past the limit */
char *arena_strndup(struct arena *a, const char *s, size_t n); /* NULL past the limit */
char *arena_printf(struct arena *a, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
