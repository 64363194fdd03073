#include "ledger/log_priv.h"

#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/list.h"
#include "base/mem.h"

static struct log_segment *log_tail(struct log *l)
{
    return &l->segments[l->segments_count - 1];
}

/* Entry `index` lies at `p`. What lay behind it, when it replaces one, is gone. */
int log_places_add(struct log *l, uint64_t index, const struct log_place *p, struct err *e)
{
    ASSERT(index >= l->first && index <= l->last + 1);
    size_t i = (size_t)(index - l->first);
    if (i == l->places_cap) {
        size_t cap = l->places_cap == 0 ? 1024 : l->places_cap * 2;
        struct log_place *places = mem_try_resize(l->places, cap * sizeof *places);
        if (places == NULL)
            return err_set(e, ERR_NOMEM, "the places of %zu log entries", cap);
        l->places = places;
        l->places_cap = cap;
    }
    l->places[i] = *p;
    l->last = index;
    l->last_term = p->term;
    return 0;
}

uint64_t log_term(const struct log *l, uint64_t index)
{
    if (index == l->last)
        return l->last_term;
    if (index < l->first || index > l->last)
        return 0;
    return l->places[index - l->first].term;
}

int log_read(struct log *l, uint64_t index, struct buf *out, struct record *r, struct err *e)
{
    ASSERT(!l->busy && index >= l->first && index <= l->last);
    const struct log_place *p = &l->places[index - l->first];
    const struct log_segment *s = NULL;
    for (size_t i = 0; i < l->segments_count; i++) {
        if (l->segments[i].head.seq == p->seq)
            s = &l->segments[i];
    }
    ASSERT(s != NULL);
    buf_reset(out);
    size_t n = record_size(p->len), need;
    char *to = buf_reserve(out, n);
    if (to == NULL)
        return err_set(e, ERR_NOMEM, "%zu bytes for log entry %llu", n, (unsigned long long)index);
    bool is_tail = s == log_tail(l);
    struct disk *d = l->world->disk;
    struct disk_file *f = l->file;
    char name[32];
    log_segment_name(p->seq, name);
    int rc = is_tail ? 0 : d->open(d, log_path(l, name), DISK_READ, &f, e);
    if (rc < 0)
        return rc;
    int64_t got = d->read(f, to, n, p->at, e);
    if (!is_tail)
        d->close(f);
    if (got < 0)
        return (int)got;
    if (record_open((uint8_t *)to, (size_t)got, s->head.salt, r, &need) != 1 || r->index != index)
        return err_set(e, ERR_CORRUPT, "log/%s, offset %u: log entry %llu has changed on the disk",
                       name, p->at, (unsigned long long)index);
    buf_commit(out, n);
    return 0;
}

/* Write one record; on the world's thread or the log thread, as the next. */
static int log_write(struct log *l, struct log_job *j, struct err *e)
{
    struct disk *d = l->world->disk;
    j->began_ns = l->world->mono_ns(l->world);
    size_t size = record_size(j->record.len);
    uint64_t room = log_tail(l)->head.size;
    if (l->at + size > room) {
        int rc = log_roll(l, l->last + 1, l->last_term, size, e);
        if (rc < 0)
            return rc;
    }
    j->record.durable = (uint32_t)l->at;
    record_seal((uint8_t *)j->bytes->data, &j->record, log_tail(l)->head.salt);
    return d->write(l->file, j->bytes->data, size, l->at, e);
}

static int log_sync(struct log *l, const struct log_job *j, struct err *e)
{
    if (l->world->disk->sync(l->file, e) < 0)
        return err_set(e, ERR_IO, "syncing log segment %llu failed",
                       (unsigned long long)log_tail(l)->head.seq);
    l->sync_ns = l->world->mono_ns(l->world) - j->began_ns;
    return 0;
}

static int log_write_here(struct log *l, struct log_job *j, struct err *e)
{
    int rc = log_write(l, j, e);
    if (rc < 0 || l->meanwhile == NULL)
        return rc < 0 ? rc : log_sync(l, j, e);
    l->world->disk->sync_soon(l->file, l->at, record_size(j->record.len));
    l->meanwhile(l->arg);
    l->waits(l->arg, true);
    rc = log_sync(l, j, e);
    l->waits(l->arg, false);
    return rc;
}

/* Back on the world's thread: the record is on disk. */
static int log_written(struct log *l, const struct log_job *j, struct err *e)
{
    struct log_place p = {.term = j->record.term,
                          .seq = log_tail(l)->head.seq,
                          .at = (uint32_t)l->at,
                          .len = j->record.len,
                          .type = j->record.type};
    l->at += record_size(j->record.len);
    l->written += record_size(j->record.len);
    if (l->prepared < l->at)
        l->prepared = l->at;
    if (log_tail(l)->size < l->at)
        log_tail(l)->size = l->at;
    int rc = log_kept_note(&l->kept, p.seq, j->record.index, p.at, e);
    return rc < 0 ? rc : log_places_add(l, j->record.index, &p, e);
}

static void log_job_work(struct offload *o)
{
    struct log_job *j = LIST_OF(o, struct log_job, off);
    j->code = log_write(j->log, j, &j->log->err);
    if (j->code == 0)
        j->code = log_sync(j->log, j, &j->log->err);
}

static void log_job_done(struct offload *o)
{
    struct log_job *j = LIST_OF(o, struct log_job, off);
    struct log *l = j->log;
    l->busy = false;
    int code = j->code;
    if (code == 0)
        code = log_written(l, j, &l->err);
    if (l->prep.finished)
        log_prepared(l);
    log_prepare(l);
    l->done(l->arg, code);
}

int log_append(struct log *l, struct buf *bytes, uint8_t type, uint64_t index, uint64_t term,
               bool large, struct err *e)
{
    ASSERT(!l->busy && index <= l->last + 1 && bytes->len >= RECORD_HEADER);
    size_t len = bytes->len - RECORD_HEADER;
    size_t size = record_size(len);
    if (len > RECORD_BYTES_MAX)
        return err_set(e, ERR_TOO_LARGE, "a log entry of %zu bytes", len);
    if (buf_reserve(bytes, size - bytes->len) == NULL)
        return err_set(e, ERR_NOMEM, "%zu bytes for a log entry", size);
    struct log_job *j = &l->job;
    j->log = l;
    j->bytes = bytes;
    j->record = (struct record){
        .type = type, .group = l->o.group, .index = index, .term = term, .len = (uint32_t)len};
    /* What pre-writing is about to fill with zeros is not written by anybody else: the log thread
     * takes both in turn. */
    bool extending = l->prep.kind == PREP_EXTEND && l->at + size > l->prepared;
    if (!large && !extending) {
        int rc = log_write_here(l, j, e);
        if (rc == 0)
            rc = log_written(l, j, e);
        if (rc == 0)
            log_prepare(l);
        return rc;
    }
    l->busy = true;
    j->off.work = log_job_work;
    j->off.done = log_job_done;
    l->world->offload(l->world, &j->off);
    return 1;
}

/* Bytes of log up to the writer's position, all segments. */
static uint64_t log_bytes(const struct log *l)
{
    uint64_t n = 0;
    for (size_t i = 0; i + 1 < l->segments_count; i++)
        n += l->segments[i].size;
    return n + l->at;
}

static void log_forget_places(struct log *l, uint64_t index)
{
    if (index < l->first)
        return;
    size_t gone = (size_t)(index + 1 - l->first);
    size_t left = (size_t)(l->last + 1 - l->first) - gone;
    memmove(l->places, l->places + gone, left * sizeof *l->places);
    l->first = index + 1;
}

/* The oldest segment becomes a spare, or goes. */
static int log_retire(struct log *l, struct err *e)
{
    struct disk *d = l->world->disk;
    char name[32], spare[32];
    struct log_segment *s = &l->segments[0];
    log_segment_name(s->head.seq, name);
    AUTO(mem_freep) char *from = mem_strdup(log_path(l, name));
    int rc;
    log_kept_drop(&l->kept, s->head.seq);
    /* One that the log thread may still be filling with zeros must not be used again. */
    if (l->spares_count < LOG_SPARES_MAX && s->size == l->o.segment_bytes && !l->prep.orphan) {
        snprintf(spare, sizeof spare, "spare-%llu.log", (unsigned long long)l->spare_next);
        rc = d->rename(d, from, log_path(l, spare), e);
        if (rc == 0)
            l->spares[l->spares_count++] = l->spare_next++;
    } else {
        rc = d->unlink(d, from, e);
    }
    /* In order, each on disk before the next: the numbers that are left never have a gap. */
    if (rc == 0)
        rc = d->sync_dir(d, l->dir, e);
    if (rc < 0)
        return rc;
    l->segments_count--;
    memmove(l->segments, l->segments + 1, l->segments_count * sizeof *l->segments);
    return 0;
}

uint64_t log_crowded(const struct log *l)
{
    size_t i = l->segments_count - 1;
    uint64_t n = l->at;
    while (i > 0 && n + l->segments[i - 1].size <= l->o.keep_bytes)
        n += l->segments[--i].size;
    return l->segments[i].head.first_index;
}

int log_compact(struct log *l, uint64_t index, uint64_t low, struct err *e)
{
    ASSERT(!l->busy && index <= l->last && low <= index + 1);
    log_forget_places(l, index);
    int64_t now = l->world->wall_ms(l->world);
    while (l->segments_count > 1) {
        const struct segment_header *next = &l->segments[1].head;
        bool is_old = next->created_ms < now - l->o.keep_ms;
        if (next->first_index > low || (!is_old && log_bytes(l) <= l->o.keep_bytes))
            break;
        int rc = log_retire(l, e);
        if (rc < 0)
            return rc;
    }
    return 0;
}
