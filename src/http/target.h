/* Target - where a request goes: an absolute URL taken apart, and what a redirect makes of it.
 * Pure.
 *
 * Strict where a mistake would send a request elsewhere than it reads: only http and https, no user
 * or password, a host of plain characters, every byte of the path visible ASCII. */
#ifndef KOAN_HTTP_TARGET_H
#define KOAN_HTTP_TARGET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct err;

enum { TARGET_URL_MAX = 8 << 10, TARGET_HOST_MAX = 253 };

struct target {
    bool https;
    uint16_t port;
    char host[TARGET_HOST_MAX + 1]; /* lower case, an IPv6 address without brackets */
    char authority[TARGET_HOST_MAX + 1 +
                   9];             /* for the Host header: the port where it is not usual */
    char path[TARGET_URL_MAX + 1]; /* with the query, begins with '/' */
};

/* ERR_INVALID says what is wrong with the URL. A fragment is dropped. */
int target_parse(const char *url, size_t n, struct target *out, struct err *e);
/* Where `location` leads from `at`: a whole URL, or a part of one. Blanks and bytes beyond ASCII in
 * it are escaped, as browsers do. */
int target_redirect(const struct target *at, const char *location, struct target *out,
                    struct err *e);
/* The whole URL again; `cap` of TARGET_URL_MAX + 300 is always enough. */
void target_format(const struct target *t, char *out, size_t cap);
/* Credentials that were meant for one may go to the other. */
bool target_same_origin(const struct target *a, const struct target *b);

#endif
