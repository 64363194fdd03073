/* Embedded files - what the binary carries inside: the Lua library, sample apps, SQL and the guide.
 *
 * The build turns the files into one read-only table, sorted by path, so that a lookup is a binary
 * search and an iteration always sees the same order. Paths are those of the source tree
 * ("lua/lib/list.lua"). Behind the last byte of every file stands a NUL that `size` does not count,
 * so text can be used as a C string.
 *
 * Everything returned is static: never freed, never written, readable from any thread. */
#ifndef BASE_EMBED_H
#define BASE_EMBED_H

#include <stddef.h>

struct embed_file {
    const char *path;
    const unsigned char *data;
    size_t size;
};

/* The file at exactly `path`, or NULL. */
const struct embed_file *embed_find(const char *path);

/* The next file whose path starts with `prefix`, after `last` (NULL: the first one), or NULL at the
 * end.
 *
 *     for (const struct embed_file *f = NULL; (f = embed_next("schema/", f)) != NULL;) */
const struct embed_file *embed_next(const char *prefix, const struct embed_file *last);

#endif
