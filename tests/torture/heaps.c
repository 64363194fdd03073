/* Allocators of libraries, between them and the real ones, that fail once when told to. */
#include <raft.h>
#include <sqlite3.h>
#include <stdlib.h>

#include "base/err.h"
#include "torture/torture.h"

struct heap {
    unsigned long fail_in; /* so many allocations from now; 0: none */
    bool failed;
};
static struct heap heap_sqlite, heap_raft;
static sqlite3_mem_methods heap_default;

static bool heap_is_out(struct heap *h)
{
    bool out = h->fail_in > 0 && --h->fail_in == 0;
    h->failed |= out;
    return out;
}

static void *heap_sqlite_malloc(int n)
{
    return heap_is_out(&heap_sqlite) ? NULL : heap_default.xMalloc(n);
}

static void *heap_sqlite_realloc(void *p, int n)
{
    return heap_is_out(&heap_sqlite) ? NULL : heap_default.xRealloc(p, n);
}

static void *heap_raft_malloc(void *data, size_t n)
{
    return heap_is_out(data) ? NULL : malloc(n);
}

static void heap_raft_free(void *data, void *p)
{
    (void)data;
    free(p);
}

static void *heap_raft_calloc(void *data, size_t count, size_t n)
{
    return heap_is_out(data) ? NULL : calloc(count, n);
}

static void *heap_raft_realloc(void *data, void *p, size_t n)
{
    return heap_is_out(data) ? NULL : realloc(p, n);
}

static void *heap_raft_aligned(void *data, size_t alignment, size_t n)
{
    return heap_is_out(data) ? NULL : aligned_alloc(alignment, n);
}

static void heap_raft_aligned_free(void *data, size_t alignment, void *p)
{
    (void)data;
    (void)alignment;
    free(p);
}

void heaps_install(void)
{
    static struct raft_heap raft = {.data = &heap_raft,
                                    .malloc = heap_raft_malloc,
                                    .free = heap_raft_free,
                                    .calloc = heap_raft_calloc,
                                    .realloc = heap_raft_realloc,
                                    .aligned_alloc = heap_raft_aligned,
                                    .aligned_free = heap_raft_aligned_free};
    raft_heap_set(&raft);
    ASSERT(sqlite3_config(SQLITE_CONFIG_GETMALLOC, &heap_default) == SQLITE_OK);
    sqlite3_mem_methods ours = heap_default;
    ours.xMalloc = heap_sqlite_malloc;
    ours.xRealloc = heap_sqlite_realloc;
    ASSERT(sqlite3_config(SQLITE_CONFIG_MALLOC, &ours) == SQLITE_OK);
}

void heap_sqlite_fail(unsigned long nth)
{
    heap_sqlite = (struct heap){.fail_in = nth};
}

void heap_raft_fail(unsigned long nth)
{
    heap_raft = (struct heap){.fail_in = nth};
}

bool heap_has_failed(void)
{
    return heap_sqlite.failed || heap_raft.failed;
}
