/* Map - open addressing hash map from bytes to pointers. Keys are copied, values belong to the
 * caller. Iteration order is the order of insertion as long as nothing was removed; nothing durable
 * may depend on it. */
#ifndef KOAN_BASE_MAP_H
#define KOAN_BASE_MAP_H

#include <stdbool.h>
#include <stddef.h>

struct map;

struct map *map_new(void);
/* Frees the map; `free_value` may be NULL. Takes a NULL map. */
void map_free(struct map *m, void (*free_value)(void *));
size_t map_count(const struct map *m);
void *map_get(const struct map *m, const void *key, size_t n); /* NULL when absent */
/* Insert or replace; returns the value that was there, or NULL. `value` is never NULL. */
void *map_put(struct map *m, const void *key, size_t n, void *value);
void *map_remove(struct map *m, const void *key, size_t n); /* the value, or NULL */
void *map_gets(const struct map *m, const char *key);
void *map_puts(struct map *m, const char *key, void *value);
void *map_removes(struct map *m, const char *key);
void map_clear(struct map *m, void (*free_value)(void *));

struct map_iter {
    size_t at;
    const void *key;
    size_t key_len;
    void *value;
};
/* for (struct map_iter it = {0}; map_next(m, &it);) ... Removing the current entry is allowed. */
bool map_next(const struct map *m, struct map_iter *it);

#endif
