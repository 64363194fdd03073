#include "vm/pattern.h"

#include <string.h>

static size_t cache_slot(const char *p, size_t n)
{
    uint32_t h = 2166136261;
    for (size_t i = 0; i < n; i++)
        h = (h ^ (unsigned char)p[i]) * 16777619;
    return (h ^ h >> 16) % VM_PATTERN_CACHE_SLOTS;
}

const char *vm_pattern_cached(struct vm_pattern_cache *c, const char *p, size_t n,
                              struct vm_pattern *out)
{
    if (n == 0 || n > VM_PATTERN_CACHE_TEXT)
        return vm_pattern_compile(p, n, out);
    size_t at = cache_slot(p, n);
    if (c->slot[at].n == n && memcmp(c->slot[at].text, p, n) == 0) {
        out->anchored = c->slot[at].anchored;
        out->count = c->slot[at].count;
        out->captures = c->slot[at].captures;
        memcpy(out->node, c->slot[at].node, c->slot[at].count * sizeof out->node[0]);
        return NULL;
    }
    const char *wrong = vm_pattern_compile(p, n, out);
    if (wrong != NULL || out->count > VM_PATTERN_CACHE_NODES)
        return wrong;
    c->slot[at].n = (uint8_t)n;
    c->slot[at].anchored = out->anchored;
    c->slot[at].count = (uint8_t)out->count;
    c->slot[at].captures = (uint8_t)out->captures;
    memcpy(c->slot[at].text, p, n);
    memcpy(c->slot[at].node, out->node, (size_t)out->count * sizeof out->node[0]);
    return NULL;
}
