#include "base/buf.h"

#include <endian.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"

enum {
    BUF_FIRST = 64,
    BUF_SMALL = 1024, /* one below that, and outgrown, is made four times as large at once */
};

static const uint32_t BUF_NULL = 0xffffffff; /* length that stands for NULL */

void buf_init(struct buf *b, size_t bytes_max)
{
    *b = (struct buf){.max = bytes_max};
}

void buf_fini(struct buf *b)
{
    mem_free(b->data);
    b->data = NULL;
    b->len = b->cap = 0;
}

void buf_reset(struct buf *b)
{
    b->len = 0;
    b->failed = b->starved = false;
    if (b->data != NULL)
        b->data[0] = '\0';
}

bool buf_failed(const struct buf *b)
{
    return b->failed;
}

void buf_fail_with(struct buf *b, const struct buf *of)
{
    b->failed |= of->failed;
    b->starved |= of->starved;
}

int buf_check(const struct buf *b, const char *what, struct err *e)
{
    if (!b->failed)
        return 0;
    if (b->starved)
        return err_set(e, ERR_NOMEM, "no memory for %s", what);
    return err_set(e, ERR_TOO_LARGE, "%s is larger than %zu bytes", what, b->max);
}

/* `cap` counts the NUL. */
static __attribute__((noinline)) bool buf_enlarge(struct buf *b, size_t n)
{
    if (b->failed)
        return false;
    if (n > b->max || b->len > b->max - n || n >= SIZE_MAX - b->len) {
        b->failed = true;
        return false;
    }
    size_t need = b->len + n + 1;
    size_t cap = b->cap == 0 ? BUF_FIRST : b->cap < BUF_SMALL ? 4 * b->cap : b->cap;
    while (cap < need)
        cap = cap > SIZE_MAX / 2 ? need : cap * 2;
    if (cap - 1 > b->max)
        cap = b->max + 1;
    char *data = mem_try_resize(b->data, cap);
    if (data == NULL) {
        b->failed = b->starved = true;
        return false;
    }
    b->data = data;
    b->cap = cap;
    b->data[b->len] = '\0'; /* a reserve() that is never committed must not unterminate it */
    return true;
}

/* Room for n more bytes and the NUL. A buffer that failed has none: see buf_enlarge(). */
static inline bool buf_grow(struct buf *b, size_t n)
{
    return (!b->failed && b->cap > 0 && n < b->cap - b->len) || buf_enlarge(b, n);
}

char *buf_reserve(struct buf *b, size_t n)
{
    if (!buf_grow(b, n))
        return NULL;
    return b->data + b->len;
}

void buf_commit(struct buf *b, size_t n)
{
    ASSERT(n < b->cap - b->len);
    b->len += n;
    b->data[b->len] = '\0';
}

void buf_add(struct buf *b, const void *p, size_t n)
{
    if (!buf_grow(b, n))
        return;
    if (n > 0)
        memcpy(b->data + b->len, p, n);
    b->len += n;
    b->data[b->len] = '\0';
}

void buf_adds(struct buf *b, const char *s)
{
    buf_add(b, s, strlen(s));
}

void buf_addc(struct buf *b, char c)
{
    buf_add(b, &c, 1);
}

void buf_vaddf(struct buf *b, const char *fmt, va_list args)
{
    char small[256];
    va_list again;
    va_copy(again, args);
    int n = vsnprintf(small, sizeof(small), fmt, args);
    ASSERT(n >= 0);
    if ((size_t)n < sizeof(small)) {
        buf_add(b, small, (size_t)n);
    } else if (buf_grow(b, (size_t)n)) {
        vsnprintf(b->data + b->len, (size_t)n + 1, fmt, again);
        b->len += (size_t)n;
    }
    va_end(again);
}

void buf_addf(struct buf *b, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    buf_vaddf(b, fmt, args);
    va_end(args);
}

void buf_consume(struct buf *b, size_t n)
{
    ASSERT(n <= b->len);
    if (n == 0)
        return;
    memmove(b->data, b->data + n, b->len - n + 1);
    b->len -= n;
}

const char *buf_str(const struct buf *b)
{
    return b->data != NULL ? b->data : "";
}

char *buf_take(struct buf *b)
{
    char *data = b->data != NULL ? b->data : mem_strdup("");
    b->data = NULL;
    b->len = b->cap = 0;
    return data;
}

static inline void buf_add_le(struct buf *b, uint64_t v, size_t bytes)
{
    v = htole64(v);
    buf_add(b, &v, bytes);
}

void buf_add_u8(struct buf *b, uint8_t v)
{
    buf_add_le(b, v, 1);
}

void buf_add_u16(struct buf *b, uint16_t v)
{
    buf_add_le(b, v, 2);
}

void buf_add_u32(struct buf *b, uint32_t v)
{
    buf_add_le(b, v, 4);
}

void buf_add_u64(struct buf *b, uint64_t v)
{
    buf_add_le(b, v, 8);
}

void buf_add_bytes(struct buf *b, const void *p, size_t n)
{
    if (n >= BUF_NULL) {
        b->failed = true;
        return;
    }
    /* Both or nothing: a length without its bytes would misplace whatever follows. */
    if (!buf_grow(b, n + 4))
        return;
    buf_add_u32(b, (uint32_t)n);
    buf_add(b, p, n);
}

void buf_add_text(struct buf *b, const char *s)
{
    if (s == NULL)
        buf_add_u32(b, BUF_NULL);
    else
        buf_add_bytes(b, s, strlen(s));
}

void buf_put_u32(struct buf *b, size_t at, uint32_t v)
{
    if (b->failed)
        return;
    ASSERT(b->len >= 4 && at <= b->len - 4);
    for (size_t i = 0; i < 4; i++)
        b->data[at + i] = (char)(uint8_t)(v >> (8 * i));
}

void cursor_init(struct cursor *c, const void *p, size_t n)
{
    static const uint8_t nothing[1];
    *c = (struct cursor){.p = p != NULL ? p : nothing};
    c->end = c->p + (p != NULL ? n : 0);
}

size_t cursor_left(const struct cursor *c)
{
    return c->bad ? 0 : (size_t)(c->end - c->p);
}

const void *cursor_raw(struct cursor *c, size_t n)
{
    if (c->bad || n > (size_t)(c->end - c->p)) {
        c->bad = true;
        return NULL;
    }
    const void *p = c->p;
    c->p += n;
    return p;
}

/* Zero when there are not so many bytes. */
static inline uint64_t cursor_le(struct cursor *c, size_t bytes)
{
    uint64_t v = 0;
    if (c->bad || bytes > (size_t)(c->end - c->p)) {
        c->bad = true;
        return 0;
    }
    memcpy(&v, c->p, bytes);
    c->p += bytes;
    return le64toh(v);
}

uint8_t cursor_u8(struct cursor *c)
{
    return (uint8_t)cursor_le(c, 1);
}

uint16_t cursor_u16(struct cursor *c)
{
    return (uint16_t)cursor_le(c, 2);
}

uint32_t cursor_u32(struct cursor *c)
{
    return (uint32_t)cursor_le(c, 4);
}

uint64_t cursor_u64(struct cursor *c)
{
    return cursor_le(c, 8);
}

const void *cursor_bytes(struct cursor *c, size_t *n)
{
    *n = 0;
    uint32_t len = cursor_u32(c);
    if (c->bad || len == BUF_NULL)
        return NULL;
    const void *p = cursor_raw(c, len);
    if (p != NULL)
        *n = len;
    return p;
}
