#include "vm/pool.h"

#include "base/mem.h"

void pool_init(struct pool *p)
{
    *p = (struct pool){.region = mem_try(POOL_REGION)};
    p->next = p->region;
    p->end = p->region != NULL ? p->region + POOL_REGION : NULL;
}

void pool_fini(struct pool *p)
{
    mem_free(p->region);
    *p = (struct pool){0};
}

void *pool_alloc(struct pool *p, size_t n)
{
    if (n == 0 || n > POOL_BLOCK_MAX)
        return NULL;
    size_t kind = (n + POOL_GRAIN - 1) / POOL_GRAIN;
    void **block = p->free[kind];
    if (block != NULL) {
        p->free[kind] = *block;
        return block;
    }
    if ((size_t)(p->end - p->next) < kind * POOL_GRAIN)
        return NULL;
    block = (void **)p->next;
    p->next += kind * POOL_GRAIN;
    return block;
}

void pool_free(struct pool *p, void *block, size_t n)
{
    size_t kind = (n + POOL_GRAIN - 1) / POOL_GRAIN;
    *(void **)block = p->free[kind];
    p->free[kind] = block;
}
