#include "ledger/hot_file_priv.h"

#include <string.h>

#include "base/err.h"
#include "base/hash.h"
#include "base/mem.h"
#include "io/world.h"
#include "ledger/domain.h"

#define HOT_MAGIC "KOANHOT\n"
enum { HOT_FORMAT = 1 };

static const char way_out[] =
    "restore the whole data directory from a backup, or remove this node and join it anew";

/* ---- writing ---- */

static void head_encode(const struct hot_head *h, struct buf *b)
{
    static const char zeros[HOT_HEADER];
    buf_adds(b, HOT_MAGIC);
    buf_add_u32(b, HOT_FORMAT);
    buf_add_u32(b, 0);
    buf_add_u64(b, h->index);
    buf_add_u64(b, (uint64_t)h->at);
    buf_add_bytes(b, h->domain, strlen(h->domain));
    if (!buf_failed(b) && b->len < HOT_HEADER)
        buf_add(b, zeros, HOT_HEADER - b->len);
    if (!buf_failed(b))
        buf_put_u32(b, 12, hash_crc32c(0, b->data, b->len));
}

static int out_write(struct hot_out *o, struct err *e)
{
    int rc = buf_check(&o->chunk, "a piece of a saved state", e);
    if (rc == 0)
        rc = o->disk->write(o->file, o->chunk.data, o->chunk.len, o->at, e);
    if (rc < 0)
        return rc;
    o->disk->sync_soon(o->file, o->at, o->chunk.len);
    o->at += o->chunk.len;
    buf_reset(&o->chunk);
    return 0;
}

static void chunk_begin(struct hot_out *o)
{
    buf_add_u32(&o->chunk, 0);
    buf_add_u32(&o->chunk, 0);
    buf_add_u64(&o->chunk, o->index);
    buf_add_u64(&o->chunk, o->total);
}

static int chunk_end(struct hot_out *o, struct err *e)
{
    struct buf *b = &o->chunk;
    if (!buf_failed(b)) {
        size_t n = b->len - HOT_CHUNK_HEADER;
        buf_put_u32(b, 4, (uint32_t)n);
        buf_put_u32(b, 0, hash_crc32c(0, b->data + 4, b->len - 4));
        o->total += n;
    }
    return out_write(o, e);
}

int hot_out_begin(struct hot_out *o, struct disk *d, struct disk_file *file,
                  const struct hot_head *head, struct err *e)
{
    *o = (struct hot_out){.disk = d, .file = file, .index = head->index};
    buf_init(&o->chunk, HOT_CHUNK_HEADER + HOT_CHUNK + 1);
    head_encode(head, &o->chunk);
    int rc = out_write(o, e);
    chunk_begin(o);
    return rc;
}

int hot_put(struct hot_out *o, const void *p, size_t n, struct err *e)
{
    const char *from = p;
    while (n > 0) {
        size_t room = HOT_CHUNK_HEADER + HOT_CHUNK - o->chunk.len;
        size_t some = n < room ? n : room;
        buf_add(&o->chunk, from, some);
        if (buf_failed(&o->chunk))
            return buf_check(&o->chunk, "a piece of a saved state", e);
        from += some;
        n -= some;
        if (some < room)
            continue;
        int rc = chunk_end(o, e);
        if (rc < 0)
            return rc;
        chunk_begin(o);
    }
    return 0;
}

int hot_out_end(struct hot_out *o, struct err *e)
{
    if (o->chunk.len > HOT_CHUNK_HEADER || buf_failed(&o->chunk)) {
        int rc = chunk_end(o, e);
        if (rc < 0)
            return rc;
        chunk_begin(o);
    }
    return chunk_end(o, e); /* without content: the end */
}

void hot_out_fini(struct hot_out *o)
{
    buf_fini(&o->chunk);
}

/* ---- reading ---- */

static int in_damaged(const struct hot_in *in, uint64_t at, const char *what, struct err *e)
{
    return err_set(e, ERR_CORRUPT, "%s, offset %llu: %s; %s", in->name, (unsigned long long)at,
                   what, way_out);
}

/* `n` bytes of the file behind what the chunk has. */
static int in_read(struct hot_in *in, size_t n, struct err *e)
{
    char *to = buf_reserve(&in->chunk, n);
    if (to == NULL)
        return err_set(e, ERR_NOMEM, "%s: %zu bytes", in->name, n);
    int64_t got = in->disk->read(in->file, to, n, in->at, e);
    if (got < 0)
        return (int)got;
    if ((size_t)got < n)
        return in_damaged(in, in->at + (uint64_t)got, "it is cut off", e);
    buf_commit(&in->chunk, n);
    in->at += n;
    return 0;
}

int hot_in_begin(struct hot_in *in, struct disk *d, struct disk_file *file, const char *name,
                 const struct hot_head *head, struct err *e)
{
    *in = (struct hot_in){.disk = d, .file = file, .name = name, .index = head->index};
    buf_init(&in->chunk, HOT_CHUNK_HEADER + HOT_CHUNK + 1);
    int rc = in_read(in, HOT_HEADER, e);
    if (rc < 0)
        return rc;
    struct cursor c;
    cursor_init(&c, in->chunk.data + 8, HOT_HEADER - 8);
    uint32_t format = cursor_u32(&c), crc = cursor_u32(&c);
    uint64_t index = cursor_u64(&c);
    int64_t at = (int64_t)cursor_u64(&c);
    size_t n = 0;
    const char *domain = cursor_bytes(&c, &n);
    buf_put_u32(&in->chunk, 12, 0);
    if (memcmp(in->chunk.data, HOT_MAGIC, 8) != 0 ||
        hash_crc32c(0, in->chunk.data, HOT_HEADER) != crc)
        return in_damaged(in, 0, "damaged", e);
    if (format != HOT_FORMAT)
        return err_set(e, ERR_UNSUPPORTED,
                       "%s was written by a newer program (form %u, this one knows %d); run that "
                       "version, the data is whole",
                       name, format, HOT_FORMAT);
    if (domain == NULL || n != strlen(head->domain) || memcmp(domain, head->domain, n) != 0 ||
        index != head->index || at != head->at)
        return in_damaged(in, 0, "it is the state of another time or domain", e);
    buf_reset(&in->chunk);
    in->taken = 0;
    return 0;
}

/* The next chunk into memory, or the end. */
static int in_next(struct hot_in *in, struct err *e)
{
    uint64_t began = in->at;
    buf_reset(&in->chunk);
    int rc = in_read(in, HOT_CHUNK_HEADER, e);
    if (rc < 0)
        return rc;
    struct cursor c;
    cursor_init(&c, in->chunk.data, HOT_CHUNK_HEADER);
    uint32_t crc = cursor_u32(&c), n = cursor_u32(&c);
    uint64_t index = cursor_u64(&c), place = cursor_u64(&c);
    if (n > HOT_CHUNK)
        return in_damaged(in, began, "damaged", e);
    rc = in_read(in, n, e);
    if (rc < 0)
        return rc;
    if (hash_crc32c(0, in->chunk.data + 4, HOT_CHUNK_HEADER - 4 + n) != crc || index != in->index ||
        place != in->total)
        return in_damaged(in, began, "damaged", e);
    in->taken = HOT_CHUNK_HEADER;
    in->total += n;
    in->ended = n == 0;
    return 0;
}

int hot_get(struct hot_in *in, void *p, size_t n, struct err *e)
{
    char *to = p;
    while (n > 0) {
        if (in->taken == in->chunk.len) {
            int rc = in->ended ? 0 : in_next(in, e);
            if (rc < 0)
                return rc;
            if (in->ended)
                return in_damaged(in, in->at, "it ends before all was read", e);
        }
        size_t left = in->chunk.len - in->taken;
        size_t some = n < left ? n : left;
        memcpy(to, in->chunk.data + in->taken, some);
        in->taken += some;
        to += some;
        n -= some;
    }
    return 0;
}

int hot_in_end(struct hot_in *in, struct err *e)
{
    char more;
    if (in->taken < in->chunk.len)
        return in_damaged(in, in->at, "it holds more than was read", e);
    int rc = in->ended ? 0 : in_next(in, e);
    if (rc < 0)
        return rc;
    if (!in->ended)
        return in_damaged(in, in->at, "it holds more than was read", e);
    int64_t got = in->disk->read(in->file, &more, 1, in->at, e);
    if (got < 0)
        return (int)got;
    return got == 0 ? 0 : in_damaged(in, in->at, "it goes on behind its end", e);
}

void hot_in_fini(struct hot_in *in)
{
    buf_fini(&in->chunk);
}
