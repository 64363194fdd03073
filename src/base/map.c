#include "base/map.h"

#include <stdint.h>
#include <string.h>

#include "base/err.h"
#include "base/hash.h"
#include "base/mem.h"

/* Entries lie in an array in order of insertion; `slots` holds 1 + index of an entry, or 0, and is
 * probed linearly. A removed entry leaves value NULL in the array until the next rebuild; its slot
 * is freed at once by shifting the followers back. A remove never rebuilds, which is what lets an
 * iteration remove its current entry.
 *
 * Invariants: 1. slots is a power of two and at most 3/4 of it is used. 2. count <= used <= cap. */
struct map_entry {
    uint64_t hash;
    char *key;
    size_t n;
    void *value;
};

struct map {
    struct map_entry *entries;
    uint32_t *slots;
    uint64_t seed;
    size_t count, used, cap, mask;
};

enum { MAP_FIRST = 8 };

struct map *map_new(void)
{
    struct map *m = mem_new(sizeof(*m));
    /* The address differs from run to run, which makes collisions hard to prepare; order and
     * content never depend on it. */
    m->seed = (uint64_t)(uintptr_t)m * 0x9e3779b97f4a7c15;
    return m;
}

void map_clear(struct map *m, void (*free_value)(void *))
{
    for (size_t i = 0; i < m->used; i++) {
        struct map_entry *en = &m->entries[i];
        if (en->value != NULL && free_value != NULL)
            free_value(en->value);
        mem_free(en->key);
    }
    mem_free(m->entries);
    mem_free(m->slots);
    m->entries = NULL;
    m->slots = NULL;
    m->count = m->used = m->cap = m->mask = 0;
}

void map_free(struct map *m, void (*free_value)(void *))
{
    if (m == NULL)
        return;
    map_clear(m, free_value);
    mem_free(m);
}

size_t map_count(const struct map *m)
{
    return m->count;
}

/* The slot of the key, or the empty slot where it would go. */
static size_t map_slot(const struct map *m, uint64_t hash, const void *key, size_t n)
{
    for (size_t at = hash & m->mask;; at = (at + 1) & m->mask) {
        if (m->slots[at] == 0)
            return at;
        const struct map_entry *en = &m->entries[m->slots[at] - 1];
        if (en->hash == hash && en->n == n && (n == 0 || memcmp(en->key, key, n) == 0))
            return at;
    }
}

static void map_rebuild(struct map *m)
{
    size_t slots = MAP_FIRST * 2;
    while (slots / 2 < m->count + 1)
        slots *= 2;
    ASSERT(slots < UINT32_MAX);
    size_t cap = slots / 4 * 3;
    struct map_entry *entries = mem_new_array(cap, sizeof(*entries));
    mem_free(m->slots);
    m->slots = mem_new_array(slots, sizeof(*m->slots));
    m->mask = slots - 1;
    size_t used = 0;
    for (size_t i = 0; i < m->used; i++) {
        if (m->entries[i].value == NULL)
            continue;
        entries[used] = m->entries[i];
        size_t at = entries[used].hash & m->mask;
        while (m->slots[at] != 0)
            at = (at + 1) & m->mask;
        m->slots[at] = (uint32_t)++used;
    }
    mem_free(m->entries);
    m->entries = entries;
    m->used = used;
    m->cap = cap;
    ASSERT(m->used == m->count);
}

void *map_get(const struct map *m, const void *key, size_t n)
{
    if (m->count == 0)
        return NULL;
    size_t at = map_slot(m, hash64(m->seed, key, n), key, n);
    return m->slots[at] != 0 ? m->entries[m->slots[at] - 1].value : NULL;
}

void *map_put(struct map *m, const void *key, size_t n, void *value)
{
    ASSERT(value != NULL);
    uint64_t hash = hash64(m->seed, key, n);
    if (m->count > 0) {
        size_t at = map_slot(m, hash, key, n);
        if (m->slots[at] != 0) {
            struct map_entry *en = &m->entries[m->slots[at] - 1];
            void *old = en->value;
            en->value = value;
            return old;
        }
    }
    if (m->used == m->cap)
        map_rebuild(m);
    size_t at = map_slot(m, hash, key, n);
    m->entries[m->used] =
        (struct map_entry){.hash = hash, .key = mem_dup(key, n), .n = n, .value = value};
    m->slots[at] = (uint32_t)++m->used;
    m->count++;
    return NULL;
}

/* Close the hole at `at`: move back every follower whose home does not lie behind the hole. */
static void map_close_hole(struct map *m, size_t at)
{
    for (size_t next = (at + 1) & m->mask; m->slots[next] != 0; next = (next + 1) & m->mask) {
        size_t home = m->entries[m->slots[next] - 1].hash & m->mask;
        if (((next - home) & m->mask) < ((next - at) & m->mask))
            continue;
        m->slots[at] = m->slots[next];
        at = next;
    }
    m->slots[at] = 0;
}

void *map_remove(struct map *m, const void *key, size_t n)
{
    if (m->count == 0)
        return NULL;
    size_t at = map_slot(m, hash64(m->seed, key, n), key, n);
    if (m->slots[at] == 0)
        return NULL;
    struct map_entry *en = &m->entries[m->slots[at] - 1];
    map_close_hole(m, at);
    void *old = en->value;
    mem_free(en->key);
    *en = (struct map_entry){.hash = 0};
    m->count--;
    return old;
}

void *map_gets(const struct map *m, const char *key)
{
    return map_get(m, key, strlen(key));
}

void *map_puts(struct map *m, const char *key, void *value)
{
    return map_put(m, key, strlen(key), value);
}

void *map_removes(struct map *m, const char *key)
{
    return map_remove(m, key, strlen(key));
}

bool map_next(const struct map *m, struct map_iter *it)
{
    while (it->at < m->used) {
        const struct map_entry *en = &m->entries[it->at++];
        if (en->value == NULL)
            continue;
        it->key = en->key;
        it->key_len = en->n;
        it->value = en->value;
        return true;
    }
    return false;
}
