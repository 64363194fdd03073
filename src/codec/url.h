/* URL - percent coding (RFC 3986). What is decoded comes in requests: http/request.c. */
#ifndef KOAN_CODEC_URL_H
#define KOAN_CODEC_URL_H

#include <stddef.h>

struct buf;

/* Everything but letters, digits and "-._~" is escaped. */
void url_encode(const char *s, size_t n, struct buf *out);

#endif
