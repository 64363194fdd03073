#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "http/http_priv.h"

static struct http_chunk *http_chunk_new(struct http_pool *pool, size_t least)
{
    if (least <= HTTP_CHUNK && pool->free != NULL) {
        struct http_chunk *c = pool->free;
        pool->free = c->next;
        pool->count--;
        c->next = NULL;
        c->off = c->len = 0;
        return c;
    }
    size_t cap = least <= HTTP_CHUNK ? HTTP_CHUNK : least;
    struct http_chunk *c = mem_try(sizeof *c + cap);
    if (c == NULL)
        PANIC("out of memory for %zu bytes of an answer", cap);
    *c = (struct http_chunk){.cap = cap};
    c->data = c->room;
    c->kind = cap == HTTP_CHUNK ? HTTP_CHUNK_POOLED : HTTP_CHUNK_OWNED;
    return c;
}

static void http_chunk_free(struct http_pool *pool, struct http_chunk *c)
{
    if (c->kind == HTTP_CHUNK_POOLED && pool->count < HTTP_CHUNKS_KEPT) {
        c->next = pool->free;
        pool->free = c;
        pool->count++;
        return;
    }
    if (c->kind == HTTP_CHUNK_TAKEN)
        mem_free(c->data);
    mem_free(c);
}

static void http_out_link(struct http_out *o, struct http_chunk *c)
{
    if (o->tail != NULL)
        o->tail->next = c;
    else
        o->head = c;
    o->tail = c;
}

char *http_out_reserve(struct http_pool *pool, struct http_out *o, size_t n)
{
    struct http_chunk *c = o->tail;
    if (c == NULL || c->cap - c->len < n) {
        c = http_chunk_new(pool, n);
        http_out_link(o, c);
    }
    char *p = c->data + c->len;
    c->len += n;
    o->bytes += n;
    return p;
}

void http_out_unreserve(struct http_out *o, size_t n)
{
    ASSERT(o->tail != NULL && o->tail->len - o->tail->off >= n);
    o->tail->len -= n;
    o->bytes -= n;
}

void http_out_add(struct http_pool *pool, struct http_out *o, const void *p, size_t n)
{
    const char *from = p;
    struct http_chunk *c = o->tail;
    size_t room = c != NULL ? c->cap - c->len : 0;
    if (room > 0 && n > 0) {
        size_t part = n < room ? n : room;
        memcpy(http_out_reserve(pool, o, part), from, part);
        from += part;
        n -= part;
    }
    if (n > 0)
        memcpy(http_out_reserve(pool, o, n), from, n);
}

void http_out_take(struct http_out *o, char *data, size_t n)
{
    struct http_chunk *c = mem_new(sizeof *c);
    c->data = data;
    c->len = c->cap = n;
    c->kind = HTTP_CHUNK_TAKEN;
    http_out_link(o, c);
    o->bytes += n;
}

void http_out_splice(struct http_out *to, struct http_out *from)
{
    if (from->head == NULL)
        return;
    if (to->tail != NULL)
        to->tail->next = from->head;
    else
        to->head = from->head;
    to->tail = from->tail;
    to->bytes += from->bytes;
    *from = (struct http_out){0};
}

int http_out_iov(const struct http_out *o, struct iovec *iov, int max)
{
    int n = 0;
    for (struct http_chunk *c = o->head; c != NULL && n < max; c = c->next)
        if (c->len > c->off)
            iov[n++] = (struct iovec){c->data + c->off, c->len - c->off};
    return n;
}

void http_out_consume(struct http_pool *pool, struct http_out *o, size_t n)
{
    ASSERT(n <= o->bytes);
    o->bytes -= n;
    while (o->head != NULL) {
        struct http_chunk *c = o->head;
        size_t part = c->len - c->off < n ? c->len - c->off : n;
        c->off += part;
        n -= part;
        if (c->off < c->len)
            break;
        o->head = c->next;
        if (o->head == NULL)
            o->tail = NULL;
        http_chunk_free(pool, c);
    }
}

void http_out_clear(struct http_pool *pool, struct http_out *o)
{
    http_out_consume(pool, o, o->bytes);
}

void http_pool_fini(struct http_pool *pool)
{
    while (pool->free != NULL) {
        struct http_chunk *c = pool->free;
        pool->free = c->next;
        mem_free(c);
    }
    pool->count = 0;
}
