/* Base64 and hex (RFC 4648). Decoding is strict: one text for one value, so no white space, no
 * missing or needless padding, no bits left over. */
#ifndef KOAN_CODEC_BASE64_H
#define KOAN_CODEC_BASE64_H

#include <stddef.h>

struct buf;
struct err;

enum base64_kind {
    BASE64_STD, /* '+' '/', padded */
    BASE64_URL  /* '-' '_', without padding */
};

void base64_encode(enum base64_kind kind, const void *p, size_t n, struct buf *out);
/* Appends the bytes; ERR_INVALID with the offset of the first wrong character, ERR_TOO_LARGE past
 * the bound of `out`. On failure `out` may hold a part. */
int base64_decode(enum base64_kind kind, const char *s, size_t n, struct buf *out, struct err *e);

void hex_encode(const void *p, size_t n, struct buf *out);               /* lower case */
int hex_decode(const char *s, size_t n, struct buf *out, struct err *e); /* either case */

#endif
