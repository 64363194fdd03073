/* Buf - a growable byte buffer with a bound.
 *
 * A failed append (over the bound, or out of memory) changes nothing and marks the buffer:
 * buf_failed() then says so, and every later append is ignored. So a writer may append a hundred
 * times and check once. The content is always followed by a NUL that does not count. */
#ifndef KOAN_BASE_BUF_H
#define KOAN_BASE_BUF_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct err;

struct buf {
    char *data; /* NULL while nothing was appended */
    size_t len, cap, max;
    bool failed;
    bool starved; /* it failed for want of memory, not at its bound */
};

#define BUF_INIT(bytes_max)                                                                        \
    {                                                                                              \
        .max = (bytes_max)                                                                         \
    }

void buf_init(struct buf *b, size_t bytes_max);
void buf_fini(struct buf *b);  /* also for AUTO */
void buf_reset(struct buf *b); /* empty, not failed, memory kept */
bool buf_failed(const struct buf *b);
/* 0, ERR_TOO_LARGE with the bound in the message, or ERR_NOMEM: what many nodes must decide alike
 * may depend on the first, never on the second. */
int buf_check(const struct buf *b, const char *what, struct err *e);
/* `b` is made from `of`: it fails as that did. */
void buf_fail_with(struct buf *b, const struct buf *of);
void buf_add(struct buf *b, const void *p, size_t n);
void buf_adds(struct buf *b, const char *s);
void buf_addc(struct buf *b, char c);
void buf_addf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void buf_vaddf(struct buf *b, const char *fmt, va_list args);
/* Room for n more bytes: a pointer to write to, then buf_commit(n). NULL when the bound forbids it.
 */
char *buf_reserve(struct buf *b, size_t n);
void buf_commit(struct buf *b, size_t n);
/* Drop the first n bytes. */
void buf_consume(struct buf *b, size_t n);
/* "" instead of NULL. */
const char *buf_str(const struct buf *b);
/* Hand over the memory, NUL-terminated; the buffer is empty afterwards. "" is allocated too. */
char *buf_take(struct buf *b);

/* Little-endian integers and length-prefixed bytes, for our binary formats. */
void buf_add_u8(struct buf *b, uint8_t v);
void buf_add_u16(struct buf *b, uint16_t v);
void buf_add_u32(struct buf *b, uint32_t v);
void buf_add_u64(struct buf *b, uint64_t v);
void buf_add_bytes(struct buf *b, const void *p, size_t n); /* u32 length, then the bytes */
void buf_add_text(struct buf *b,
                  const char *s); /* the same; NULL is written as length 0xffffffff */
void buf_put_u32(struct buf *b, size_t at, uint32_t v); /* overwrite 4 bytes inside */

/* Reading them back: a cursor that never passes the end. After a bad read `bad` is set, everything
 * reads as zero/empty. */
struct cursor {
    const uint8_t *p, *end;
    bool bad;
};
void cursor_init(struct cursor *c, const void *p, size_t n);
uint8_t cursor_u8(struct cursor *c);
uint16_t cursor_u16(struct cursor *c);
uint32_t cursor_u32(struct cursor *c);
uint64_t cursor_u64(struct cursor *c);
/* Points into the input; *n is the length. NULL when bad, or where NULL was written. */
const void *cursor_bytes(struct cursor *c, size_t *n);
const void *cursor_raw(struct cursor *c, size_t n);
size_t cursor_left(const struct cursor *c);

#endif
