/* Log: making segments, pre-writing, and the state file. */
#include "ledger/log_priv.h"

#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/hash.h"
#include "base/list.h"
#include "base/log.h"
#include "base/mem.h"

enum { STATE_SLOT = 4096, STATE_BYTES = 48 };
#define STATE_MAGIC "KOANVOTE"

const char *log_path(struct log *l, const char *name)
{
    mem_free(l->path);
    l->path = mem_printf("%s/%s", l->dir, name);
    return l->path;
}

void log_segment_name(uint64_t seq, char out[32])
{
    snprintf(out, 32, "%020llu.log", (unsigned long long)seq);
}

/* ---- segments ---- */

/* Zeros over [from, to). */
static int log_zero(struct disk *d, struct disk_file *f, uint64_t from, uint64_t to, struct err *e)
{
    static const uint8_t zeros[64 << 10];
    while (from < to) {
        size_t n = to - from < sizeof zeros ? (size_t)(to - from) : sizeof zeros;
        int rc = d->write(f, zeros, n, from, e);
        if (rc < 0)
            return rc;
        from += n;
    }
    return 0;
}

/* A file under `path` with its first chunk written, for when no spare is ready. */
static int log_make_file(struct log *l, const char *path, uint64_t size, struct disk_file **out,
                         struct err *e)
{
    struct disk *d = l->world->disk;
    struct disk_file *f;
    int rc = d->open(d, path, DISK_READ | DISK_WRITE | DISK_CREATE, &f, e);
    if (rc < 0)
        return rc;
    rc = d->truncate(f, 0, e);
    if (rc == 0)
        rc = log_zero(d, f, 0, size, e);
    if (rc < 0) {
        d->close(f);
        d->unlink(d, path, NULL);
        return rc;
    }
    *out = f;
    return 0;
}

/* The pre-written file that becomes the next segment, open; `path` is its present one. */
static int log_take_spare(struct log *l, uint64_t size, char **path, struct disk_file **out,
                          struct err *e)
{
    struct disk *d = l->world->disk;
    if (l->spares_count == 0) {
        uint64_t chunk = size < LOG_CHUNK ? size : LOG_CHUNK;
        *path = mem_printf("%s/first.tmp", l->dir);
        return log_make_file(l, *path, chunk, out, e);
    }
    *path =
        mem_printf("%s/spare-%llu.log", l->dir, (unsigned long long)l->spares[l->spares_count - 1]);
    int rc = d->open(d, *path, DISK_READ | DISK_WRITE, out, e);
    if (rc == 0)
        l->spares_count--;
    return rc;
}

/* The header onto the disk first, the name after it. */
static int log_begin_segment(struct log *l, struct disk_file *f, const char *path,
                             const struct segment_header *h, struct err *e)
{
    struct disk *d = l->world->disk;
    char name[32];
    log_segment_name(h->seq, name);
    AUTO(mem_freep) char *to = mem_printf("%s/%s", l->dir, name);
    AUTO(mem_freep) uint8_t *page = mem_new(SEGMENT_PAGE);
    segment_header_encode(h, page);
    int rc = d->write(f, page, SEGMENT_PAGE, 0, e);
    if (rc == 0 && (rc = d->sync(f, e)) < 0)
        return err_set(e, ERR_IO, "syncing the new log segment %s failed", to);
    if (rc == 0)
        rc = d->rename(d, path, to, e);
    if (rc == 0)
        rc = d->sync_dir(d, l->dir, e);
    return rc;
}

static void log_push_segment(struct log *l, const struct log_segment *s)
{
    if (l->segments_count == l->segments_cap) {
        size_t cap = l->segments_cap == 0 ? 16 : l->segments_cap * 2;
        struct log_segment *grown = mem_new_array(cap, sizeof *grown);
        if (l->segments_count > 0)
            memcpy(grown, l->segments, l->segments_count * sizeof *grown);
        mem_free(l->segments);
        l->segments = grown;
        l->segments_cap = cap;
    }
    l->segments[l->segments_count++] = *s;
    log_kept_push(&l->kept, &s->head);
    log_kept_marked(&l->kept, s->head.seq);
}

/* Begin the next segment; its first record will be `index`, after one of `term`. */
int log_roll(struct log *l, uint64_t index, uint64_t term, size_t record, struct err *e)
{
    struct disk *d = l->world->disk;
    struct log_segment s = {0};
    uint64_t last = l->segments_count > 0 ? l->segments[l->segments_count - 1].head.seq : 0;
    s.head = (struct segment_header){.seq = last + 1,
                                     .node = l->state.node,
                                     .group = l->o.group,
                                     .first_index = index,
                                     .prev_term = term,
                                     .created_ms = l->world->wall_ms(l->world),
                                     .size = l->o.segment_bytes};
    if (s.head.size < SEGMENT_PAGE + record)
        s.head.size = SEGMENT_PAGE + record;
    l->world->random(l->world, &s.head.salt, sizeof s.head.salt);
    AUTO(mem_freep) char *path = NULL;
    struct disk_file *f = NULL;
    int rc = log_take_spare(l, s.head.size, &path, &f, e);
    if (rc < 0)
        return rc;
    int64_t size = d->size(f, e);
    rc = size < 0 ? (int)size : log_begin_segment(l, f, path, &s.head, e);
    if (rc < 0) {
        d->close(f);
        return rc;
    }
    l->prep.orphan = l->prep.kind == PREP_EXTEND;
    if (l->file != NULL)
        d->close(l->file);
    s.size = (uint64_t)size;
    log_push_segment(l, &s);
    l->file = f;
    l->at = SEGMENT_PAGE;
    l->prepared = s.size;
    l->prep_off = false;
    return 0;
}

/* ---- pre-writing ---- */

/* On the log thread: one chunk, and at the end of a spare its name. */
static void log_prep_work(struct offload *o)
{
    struct log_prep *p = LIST_OF(o, struct log_prep, off);
    struct disk *d = p->log->world->disk;
    struct err *e = &p->err;
    AUTO(mem_freep) char *path = mem_printf("%s/%s", p->log->dir, p->name);
    AUTO(mem_freep) char *ready = mem_printf("%s/%s", p->log->dir, p->ready);
    bool is_spare = p->kind == PREP_SPARE;
    int rc = 0;
    /* A handle of our own, also for the segment being written: the kernel tells each handle once
     * that a page could not be written, and the writer must hear of it itself. */
    int how = DISK_READ | DISK_WRITE | (is_spare ? DISK_CREATE : 0);
    if (p->file == NULL)
        rc = d->open(d, path, how, &p->file, e);
    if (rc == 0)
        rc = log_zero(d, p->file, p->from, p->to, e);
    if (rc == 0)
        rc = d->sync(p->file, e);
    if ((!is_spare || rc < 0 || p->to == p->log->o.segment_bytes) && p->file != NULL) {
        d->close(p->file);
        p->file = NULL;
    }
    if (is_spare && (rc < 0 || p->to == p->log->o.segment_bytes)) {
        if (rc == 0)
            rc = d->rename(d, path, ready, e);
        if (rc < 0)
            d->unlink(d, path, NULL);
    }
    p->code = rc;
}

static void log_prep_done(struct offload *o)
{
    struct log_prep *p = LIST_OF(o, struct log_prep, off);
    p->finished = true;
    if (!p->log->busy)
        log_prepared(p->log);
}

static void log_prep_start(struct log *l, enum log_prep_kind kind, uint64_t from)
{
    struct log_prep *p = &l->prep;
    p->log = l;
    p->kind = kind;
    p->finished = false;
    p->from = from;
    p->to = from + LOG_CHUNK < l->o.segment_bytes ? from + LOG_CHUNK : l->o.segment_bytes;
    p->off.work = log_prep_work;
    p->off.done = log_prep_done;
    l->world->offload(l->world, &p->off);
}

/* A spare that is not finished any more; its file goes at the next start. */
void log_prep_close(struct log *l)
{
    if (l->prep.file != NULL)
        l->world->disk->close(l->prep.file);
    l->prep.file = NULL;
}

/* What the log thread has pre-written is ours now. No write is under way. */
void log_prepared(struct log *l)
{
    struct log_prep *p = &l->prep;
    enum log_prep_kind kind = p->kind;
    p->kind = PREP_NONE;
    p->finished = false;
    /* The kernel tells of a page that it could not write once: it may have been one of a record. */
    if (kind == PREP_EXTEND && p->code < 0 && p->code != ERR_DISK_FULL) {
        l->failed(l->arg, p->err.text);
        return;
    }
    if (p->code < 0) {
        l->prep_off = true; /* until the next segment */
        log_warn("ledger", "pre-writing of the log goes on later: %s", p->err.text);
    }
    if (kind == PREP_EXTEND) {
        if (!p->orphan && p->code == 0 && l->prepared < p->to)
            l->prepared = p->to;
        if (!p->orphan && l->segments[l->segments_count - 1].size < l->prepared)
            l->segments[l->segments_count - 1].size = l->prepared;
    } else if (p->code == 0 && p->to == l->o.segment_bytes) {
        /* A segment that was let go meanwhile may have taken the place. */
        if (l->spares_count < LOG_SPARES_MAX)
            l->spares[l->spares_count++] = p->spare;
        else
            l->world->disk->unlink(l->world->disk, log_path(l, p->ready), NULL);
    } else if (p->code == 0 && !l->prep_off) {
        log_prep_start(l, PREP_SPARE, p->to);
        return;
    }
    log_prep_close(l);
    p->orphan = false;
    log_prepare(l);
}

/* Give the log thread something to pre-write, if it is time. */
void log_prepare(struct log *l)
{
    struct log_prep *p = &l->prep;
    if (p->kind != PREP_NONE || !l->ready || l->prep_off || l->busy)
        return;
    uint64_t size = l->o.segment_bytes;
    if (l->prepared < size && l->prepared < 2 * l->at + LOG_CHUNK / 2) {
        p->file = NULL;
        log_segment_name(l->segments[l->segments_count - 1].head.seq, p->name);
        log_prep_start(l, PREP_EXTEND, l->prepared);
    } else if (l->spares_count == 0 && l->at > size / 2) {
        p->file = NULL;
        p->spare = l->spare_next++;
        snprintf(p->name, sizeof p->name, "spare-%llu.tmp", (unsigned long long)p->spare);
        snprintf(p->ready, sizeof p->ready, "spare-%llu.log", (unsigned long long)p->spare);
        log_prep_start(l, PREP_SPARE, 0);
    }
}

/* ---- the state file ---- */

static void log_state_encode(const struct log *l, struct buf *b)
{
    buf_adds(b, STATE_MAGIC);
    buf_add_u32(b, 1);
    buf_add_u32(b, 0);
    buf_add_u64(b, l->state_count);
    buf_add_u64(b, l->state.node);
    buf_add_u64(b, l->state.term);
    buf_add_u64(b, l->state.vote);
    buf_put_u32(b, 12, hash_crc32c(0, b->data, b->len));
}

/* 1 when the slot is whole. */
static int log_state_decode(uint8_t *p, size_t n, uint64_t *count, struct log_state *s)
{
    if (n < STATE_BYTES || memcmp(p, STATE_MAGIC, 8) != 0)
        return 0;
    struct cursor c;
    cursor_init(&c, p + 8, STATE_BYTES - 8);
    uint32_t format = cursor_u32(&c), crc = cursor_u32(&c);
    *count = cursor_u64(&c);
    s->node = cursor_u64(&c);
    s->term = cursor_u64(&c);
    s->vote = cursor_u64(&c);
    memset(p + 12, 0, 4);
    return format == 1 && hash_crc32c(0, p, STATE_BYTES) == crc;
}

int log_state_load(struct log *l, bool *found, struct err *e)
{
    struct disk *d = l->world->disk;
    *found = false;
    int rc = d->open(d, log_path(l, "state"), DISK_READ | DISK_WRITE, &l->state_file, e);
    if (rc == ERR_NOT_FOUND)
        return 0;
    for (unsigned slot = 0; rc == 0 && slot < 2; slot++) {
        uint8_t p[STATE_BYTES];
        uint64_t count;
        struct log_state s;
        int64_t n = d->read(l->state_file, p, sizeof p, slot * STATE_SLOT, e);
        if (n < 0)
            return (int)n;
        if (log_state_decode(p, (size_t)n, &count, &s) == 1 && count >= l->state_count) {
            l->state = s;
            l->state_count = count;
            *found = true;
        }
    }
    return rc;
}

int log_state_put(struct log *l, const struct log_state *s, struct err *e)
{
    struct disk *d = l->world->disk;
    l->state = *s;
    l->state_count++;
    AUTO(buf_fini) struct buf b = BUF_INIT(STATE_SLOT);
    log_state_encode(l, &b);
    if (buf_check(&b, "the state of the log", e) != 0)
        return e->code;
    ASSERT(b.len == STATE_BYTES);
    int rc = d->write(l->state_file, b.data, b.len, (l->state_count % 2) * STATE_SLOT, e);
    if (rc == 0 && (rc = d->sync(l->state_file, e)) < 0)
        return err_set(e, ERR_IO, "syncing %s/state failed", l->dir);
    return rc;
}

/* A new node: both slots are on the disk before the file is called `state`. */
int log_state_create(struct log *l, struct err *e)
{
    struct disk *d = l->world->disk;
    struct log_state s = {0};
    while (s.node == 0) {
        l->world->random(l->world, &s.node, sizeof s.node);
        s.node >>= 1;
    }
    AUTO(mem_freep) char *tmp = mem_printf("%s/state.tmp", l->dir);
    AUTO(mem_freep) char *to = mem_printf("%s/state", l->dir);
    if (l->state_file != NULL)
        d->close(l->state_file);
    l->state_file = NULL;
    int rc = log_make_file(l, tmp, 2 * STATE_SLOT, &l->state_file, e);
    if (rc == 0)
        rc = log_state_put(l, &s, e);
    if (rc == 0)
        rc = d->rename(d, tmp, to, e);
    if (rc == 0)
        rc = d->sync_dir(d, l->dir, e);
    return rc;
}
