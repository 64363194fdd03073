/* URL - percent coding (RFC 3986) and query strings (application/x-www-form-urlencoded).
 *
 * Strict: a '%' without two hex digits, a NUL, or text that is not UTF-8 is an error and is never
 * passed on half decoded. */
#ifndef KOAN_CODEC_URL_H
#define KOAN_CODEC_URL_H

#include <stdbool.h>
#include <stddef.h>

struct arena;
struct buf;
struct err;

enum { URL_PARAMS_MAX = 256 };

/* Everything but letters, digits and "-._~" is escaped. */
void url_encode(const char *s, size_t n, struct buf *out);
/* The text of a path segment, in the arena and NUL-terminated. ERR_TOO_LARGE past its limit. */
int url_decode(const char *s, size_t n, struct arena *a, char **out, struct err *e);

struct url_param {
    const char *name, *value; /* value is "" where there is no '=' */
};

struct url_query {
    struct url_param *params; /* in order, repeated names included */
    size_t count;
};

/* `s` is what follows the '?'. At most URL_PARAMS_MAX parameters. */
int url_query_parse(const char *s, size_t n, struct arena *a, struct url_query *out, struct err *e);
/* The first value of that name, or NULL. */
const char *url_query_get(const struct url_query *q, const char *name);
void url_query_add(struct buf *out, const char *name,
                   const char *value); /* "name=value", with '&' if needed */

#endif
