/* Pool - small blocks of one VM, without a lock and without headers.
 *
 * A script makes and drops thousands of small objects for every record it looks at, and Lua tells
 * the size of a block when it frees it. So blocks of up to POOL_BLOCK_MAX bytes come from free
 * lists, one for each multiple of 16, over a region that is reserved once and touched as it is
 * used. When the region is used up the caller turns to the general allocator: pool_owns() tells
 * whose a block is. Nothing goes back to the system before pool_fini(). */
#ifndef KOAN_VM_POOL_H
#define KOAN_VM_POOL_H

#include <stdbool.h>
#include <stddef.h>

enum { POOL_REGION = 16 << 20, POOL_BLOCK_MAX = 512, POOL_GRAIN = 16 };

struct pool {
    char *region, *next, *end;
    void *free[POOL_BLOCK_MAX / POOL_GRAIN + 1];
};

/* Without memory for a region the pool is empty: every pool_alloc() answers NULL. */
void pool_init(struct pool *p);
void pool_fini(struct pool *p);
/* NULL when n is 0, too large, or the region is used up. */
void *pool_alloc(struct pool *p, size_t n);
void pool_free(struct pool *p, void *block, size_t n);

static inline bool pool_owns(const struct pool *p, const void *block)
{
    return (const char *)block >= p->region && (const char *)block < p->end;
}

/* Both sizes are served by the same kind of block. */
static inline bool pool_fits(size_t a, size_t b)
{
    return (a + POOL_GRAIN - 1) / POOL_GRAIN == (b + POOL_GRAIN - 1) / POOL_GRAIN;
}

#endif
