#include "ledger/segment_priv.h"

#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/hash.h"
#include "base/mem.h"

#define SEGMENT_MAGIC "KOANLOG\n"
enum { SEGMENT_FORMAT = 1, RECORD_MAGIC = 0x6365526b /* "kRec" */, SCAN_WINDOW = 1 << 20 };

static void put_u32(uint8_t *p, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        p[i] = (uint8_t)(v >> (8 * i));
}

static void put_u64(uint8_t *p, uint64_t v)
{
    for (int i = 0; i < 8; i++)
        p[i] = (uint8_t)(v >> (8 * i));
}

static uint32_t get_u32(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static uint64_t get_u64(const uint8_t *p)
{
    return (uint64_t)get_u32(p) | (uint64_t)get_u32(p + 4) << 32;
}

void segment_header_encode(const struct segment_header *h, uint8_t out[SEGMENT_PAGE])
{
    memset(out, 0, SEGMENT_PAGE);
    memcpy(out, SEGMENT_MAGIC, 8);
    put_u32(out + 8, SEGMENT_FORMAT);
    put_u32(out + 16, h->group);
    put_u64(out + 24, h->seq);
    put_u64(out + 32, h->salt);
    put_u64(out + 40, h->node);
    put_u64(out + 48, h->first_index);
    put_u64(out + 56, h->prev_term);
    put_u64(out + 64, (uint64_t)h->created_ms);
    put_u64(out + 72, h->size);
    put_u32(out + 12, hash_crc32c(0, out, SEGMENT_HEADER));
}

int segment_header_decode(const uint8_t *page, size_t n, struct segment_header *out, struct err *e)
{
    if (n < SEGMENT_HEADER || memcmp(page, SEGMENT_MAGIC, 8) != 0)
        return err_set(e, ERR_CORRUPT, "no segment header at offset 0");
    uint8_t copy[SEGMENT_HEADER];
    memcpy(copy, page, sizeof copy);
    put_u32(copy + 12, 0);
    if (hash_crc32c(0, copy, sizeof copy) != get_u32(page + 12))
        return err_set(e, ERR_CORRUPT,
                       "the segment header at offset 0 does not match its checksum");
    uint32_t format = get_u32(page + 8);
    if (format != SEGMENT_FORMAT)
        return err_set(e, ERR_UNSUPPORTED,
                       "written by a newer program (segment format %u, this one knows %d)", format,
                       SEGMENT_FORMAT);
    *out = (struct segment_header){
        .group = get_u32(page + 16),
        .seq = get_u64(page + 24),
        .salt = get_u64(page + 32),
        .node = get_u64(page + 40),
        .first_index = get_u64(page + 48),
        .prev_term = get_u64(page + 56),
        .created_ms = (int64_t)get_u64(page + 64),
        .size = get_u64(page + 72),
    };
    return 0;
}

static uint32_t record_crc(const uint8_t *p, size_t len, uint64_t salt)
{
    uint8_t seed[8];
    put_u64(seed, salt);
    return hash_crc32c(hash_crc32c(0, seed, sizeof seed), p + 8, RECORD_HEADER - 8 + len);
}

void record_seal(uint8_t *at, const struct record *r, uint64_t salt)
{
    put_u32(at, RECORD_MAGIC);
    put_u32(at + 8, r->len);
    put_u32(at + 12, r->type);
    put_u32(at + 16, r->group);
    put_u32(at + 20, r->durable);
    put_u64(at + 24, r->index);
    put_u64(at + 32, r->term);
    memset(at + RECORD_HEADER + r->len, 0, record_size(r->len) - RECORD_HEADER - r->len);
    put_u32(at + 4, record_crc(at, r->len, salt));
}

int record_open(const uint8_t *p, size_t n, uint64_t salt, struct record *out, size_t *need)
{
    if (n < RECORD_HEADER) {
        *need = RECORD_HEADER;
        return -1;
    }
    uint32_t len = get_u32(p + 8);
    if (get_u32(p) != RECORD_MAGIC || len > RECORD_BYTES_MAX || get_u32(p + 12) > 255)
        return 0;
    if (n < record_size(len)) {
        *need = record_size(len);
        return -1;
    }
    if (record_crc(p, len, salt) != get_u32(p + 4))
        return 0;
    *out = (struct record){
        .type = p[12],
        .group = get_u32(p + 16),
        .durable = get_u32(p + 20),
        .index = get_u64(p + 24),
        .term = get_u64(p + 32),
        .data = p + RECORD_HEADER,
        .len = len,
    };
    return 1;
}

bool record_peek(const uint8_t *p, uint64_t *index, uint32_t *len)
{
    *len = get_u32(p + 8);
    *index = get_u64(p + 24);
    return get_u32(p) == RECORD_MAGIC && *len <= RECORD_BYTES_MAX;
}

/* A part of the segment in memory. */
struct window {
    struct segment_source *src;
    uint8_t *data;
    size_t cap, len;
    uint64_t at;
};

/* Make [at, at + n) readable; `*got` is what there is of it. */
static int window_need(struct window *w, uint64_t at, size_t n, const uint8_t **p, size_t *got,
                       struct err *e)
{
    if (at < w->at || at + n > w->at + w->len) {
        size_t cap = n > SCAN_WINDOW ? n : SCAN_WINDOW;
        if (cap > w->cap) {
            uint8_t *data = mem_try_resize(w->data, cap);
            if (data == NULL)
                return err_set(e, ERR_NOMEM, "%zu bytes to read a segment", cap);
            w->data = data;
            w->cap = cap;
        }
        int64_t rc = w->src->read(w->src, w->data, w->cap, at, e);
        if (rc < 0)
            return (int)rc;
        w->at = at;
        w->len = (size_t)rc;
    }
    *p = w->data + (at - w->at);
    *got = w->len - (size_t)(at - w->at);
    return 0;
}

/* 1: a valid record at `at`; 0: none; negative: cannot be read. */
static int window_record(struct window *w, uint64_t at, uint64_t salt, struct record *r,
                         struct err *e)
{
    size_t need = RECORD_HEADER;
    for (;;) {
        const uint8_t *p;
        size_t got;
        if (at + need > w->src->size)
            return 0;
        int rc = window_need(w, at, need, &p, &got, e);
        if (rc < 0)
            return rc;
        if (got < need)
            return 0;
        int valid = record_open(p, got, salt, r, &need);
        if (valid >= 0)
            return valid;
    }
}

/* The next 8-byte boundary from `at` on where a record could begin, or the end. */
static int window_next_magic(struct window *w, uint64_t *at, struct err *e)
{
    uint8_t magic[4];
    put_u32(magic, RECORD_MAGIC);
    while (*at + RECORD_HEADER <= w->src->size) {
        const uint8_t *p;
        size_t got;
        int rc = window_need(w, *at, RECORD_HEADER, &p, &got, e);
        if (rc < 0)
            return rc;
        if (got < RECORD_HEADER)
            break;
        for (size_t i = 0; i + 8 <= got; i += 8, *at += 8) {
            if (memcmp(p + i, magic, 4) == 0)
                return 0;
        }
    }
    *at = w->src->size;
    return 0;
}

/* Behind the first place without a valid record: does anything say that there had been one? */
static int scan_rest(struct window *w, uint64_t salt, struct segment_end *end, struct err *e)
{
    uint64_t at = end->at + 8;
    for (;;) {
        int rc = window_next_magic(w, &at, e);
        if (rc < 0 || at >= w->src->size)
            return rc;
        struct record r;
        rc = window_record(w, at, salt, &r, e);
        if (rc < 0)
            return rc;
        if (rc == 0) {
            at += 8;
            continue;
        }
        if (r.durable > end->at) {
            end->damage = at;
            return 0;
        }
        at += record_size(r.len);
        end->leftover = at;
    }
}

int segment_scan(struct segment_source *s, const struct segment_header *h, segment_each_cb *each,
                 void *arg, struct segment_end *end, struct err *e)
{
    struct window w = {.src = s};
    *end = (struct segment_end){.at = SEGMENT_PAGE};
    int rc;
    for (;;) {
        struct record r;
        rc = window_record(&w, end->at, h->salt, &r, e);
        if (rc <= 0)
            break;
        rc = each(arg, &r, end->at, e);
        if (rc != 0)
            break;
        end->at += record_size(r.len);
    }
    if (rc == 0)
        rc = scan_rest(&w, h->salt, end, e);
    mem_free(w.data);
    return rc;
}
