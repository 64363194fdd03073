/* Segments: appended to, found in, dropped whole. Not synced: what the kernel has is good enough
 * for a ring. Under the lock of their trace. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "trace/trace_priv.h"

enum { RING_FOUND_MAX = 4096, RING_PLACES_MAX = TRACE_SEGMENT_BYTES / 16 };

static const char ring_head[RING_HEAD] = {'K', 'O', 'A', 'N', 'R', 'I', 'N', 'G', 1};

char *ring_path(const struct ring *r, uint64_t number, const char *ending)
{
    return mem_printf("%s/%016llx.%s", r->dir, (unsigned long long)number, ending);
}

static struct ring_segment *ring_last(struct ring *r)
{
    return r->count > 0 ? &r->segments[r->count - 1] : NULL;
}

/* ---- the places of the last segment ---- */

static bool ring_place_add(struct ring *r, uint32_t key, uint32_t at)
{
    if (r->places_count == r->places_cap) {
        size_t cap = r->places_cap > 0 ? 2 * r->places_cap : 4096;
        struct ring_place *more =
            cap <= 2 * RING_PLACES_MAX ? mem_try_resize(r->places, cap * sizeof *more) : NULL;
        if (more == NULL)
            return false;
        r->places = more;
        r->places_cap = cap;
    }
    r->places[r->places_count++] = (struct ring_place){key, at};
    return true;
}

/* Records that begin at `at`; returns the bytes that are whole. */
static size_t ring_note(struct ring *r, struct ring_segment *s, const uint8_t *p, size_t n,
                        uint64_t at)
{
    size_t done = 0, length;
    while ((length = event_length(p + done, n - done)) > 0) {
        uint32_t keys[2];
        int64_t when = event_at(p + done);
        event_keys(p + done, keys);
        for (size_t i = 0; i < 2; i++)
            if (keys[i] != 0)
                ring_place_add(r, keys[i], (uint32_t)(at + done));
        if (when > s->last_at)
            s->last_at = when;
        done += length;
    }
    return done;
}

/* ---- opening ---- */

static int ring_by_number(const void *a, const void *b)
{
    const struct ring_segment *x = a, *y = b;
    return x->number < y->number ? -1 : x->number > y->number;
}

static int ring_listed(void *arg, const char *name)
{
    struct ring *r = arg;
    char *end;
    if (strlen(name) != 21 || !str_ends(name, ".ring") || r->count == TRACE_SEGMENTS_MAX)
        return 0;
    unsigned long long number = strtoull(name, &end, 16);
    if (end == name + 16)
        r->segments[r->count++].number = number;
    return 0;
}

/* Its places, read off the segment itself; what is not whole at its end is cut off. */
static int ring_scan(struct ring *r, struct ring_segment *s, struct disk_file *f, struct err *e)
{
    int64_t size = r->disk->size(f, e);
    r->places_count = 0;
    s->last_at = 0;
    if (size < 0)
        return (int)size;
    size_t n = size > 2 * TRACE_SEGMENT_BYTES ? 2 * TRACE_SEGMENT_BYTES : (size_t)size;
    AUTO(mem_freep) uint8_t *all = mem_try(n + 1);
    if (all == NULL)
        return err_set(e, ERR_NOMEM, "%zu bytes of a segment", n);
    int64_t got = r->disk->read(f, all, n, 0, e);
    if (got < 0)
        return (int)got;
    s->bytes = RING_HEAD;
    if (got < RING_HEAD || memcmp(all, ring_head, RING_HEAD) != 0)
        return r->disk->write(f, ring_head, RING_HEAD, 0, e);
    s->bytes += ring_note(r, s, all + RING_HEAD, (size_t)got - RING_HEAD, RING_HEAD);
    return s->bytes < (uint64_t)size ? r->disk->truncate(f, s->bytes, e) : 0;
}

static int ring_open_file(struct ring *r, const struct ring_segment *s, int flags,
                          struct disk_file **f, struct err *e)
{
    AUTO(mem_freep) char *path = ring_path(r, s->number, "ring");
    return r->disk->open(r->disk, path, flags, f, e);
}

/* One that is full: its index says all; made again where it is missing. */
static int ring_load(struct ring *r, struct ring_segment *s, struct err *e)
{
    struct disk_file *f = NULL;
    int rc = ring_open_file(r, s, DISK_READ | DISK_WRITE, &f, e);
    if (rc != 0)
        return rc;
    int64_t size = r->disk->size(f, e);
    s->bytes = size > 0 ? (uint64_t)size : 0;
    if (index_last_at(r, s->number, &s->last_at, NULL) != 0) {
        rc = ring_scan(r, s, f, e);
        if (rc == 0)
            rc = index_write(r, s, e);
    }
    r->disk->close(f);
    return rc;
}

int ring_open(struct ring *r, struct err *e)
{
    r->segments = mem_new_array(TRACE_SEGMENTS_MAX, sizeof r->segments[0]);
    int rc = r->disk->mkdir(r->disk, r->dir, e);
    if (rc == 0)
        rc = r->disk->list(r->disk, r->dir, ring_listed, r, e);
    qsort(r->segments, r->count, sizeof r->segments[0], ring_by_number);
    for (size_t i = 0; rc == 0 && i + 1 < r->count; i++)
        rc = ring_load(r, &r->segments[i], e);
    struct ring_segment *last = ring_last(r);
    if (rc == 0 && last != NULL)
        rc = ring_open_file(r, last, DISK_READ | DISK_WRITE, &r->file, e);
    if (rc == 0 && last != NULL)
        rc = ring_scan(r, last, r->file, e);
    for (size_t i = 0; i < r->count; i++)
        r->bytes += r->segments[i].bytes;
    return rc;
}

void ring_close(struct ring *r)
{
    if (r->file != NULL)
        r->disk->close(r->file);
    mem_free(r->places);
    mem_free(r->segments);
    mem_free(r->dir);
}

/* ---- dropping ---- */

static void ring_drop_oldest(struct ring *r)
{
    AUTO(mem_freep) char *path = ring_path(r, r->segments[0].number, "ring");
    AUTO(mem_freep) char *index = ring_path(r, r->segments[0].number, "idx");
    r->disk->unlink(r->disk, path, NULL);
    r->disk->unlink(r->disk, index, NULL);
    r->bytes -= r->segments[0].bytes;
    r->count--;
    memmove(&r->segments[0], &r->segments[1], r->count * sizeof r->segments[0]);
}

void ring_trim(struct ring *r, int64_t now_us, uint64_t room)
{
    while (r->count > 1 && (r->bytes + room > r->bytes_max || r->count == TRACE_SEGMENTS_MAX ||
                            r->segments[0].last_at < now_us - (int64_t)r->keep_us))
        ring_drop_oldest(r);
}

/* ---- writing ---- */

static int ring_begin(struct ring *r, struct err *e)
{
    struct ring_segment *last = ring_last(r);
    struct ring_segment next = {.number = last != NULL ? last->number + 1 : 1, .bytes = RING_HEAD};
    struct err own = ERR_INIT;
    if (last != NULL && index_write(r, last, &own) != 0)
        log_warn("trace", "%s; it is made again at the next start", own.text);
    if (r->file != NULL)
        r->disk->close(r->file);
    r->file = NULL;
    ring_trim(r, INT64_MIN / 2, TRACE_SEGMENT_BYTES);
    struct disk_file *f = NULL;
    int rc = ring_open_file(r, &next, DISK_READ | DISK_WRITE | DISK_CREATE, &f, e);
    if (rc == 0 && (rc = r->disk->write(f, ring_head, RING_HEAD, 0, e)) != 0)
        r->disk->close(f);
    if (rc != 0)
        return rc;
    r->places_count = 0;
    r->file = f;
    r->segments[r->count++] = next;
    r->bytes += next.bytes;
    return 0;
}

static int ring_append(struct ring *r, const uint8_t *p, size_t n, struct err *e)
{
    struct ring_segment *s = ring_last(r);
    if (r->file == NULL || s->bytes + n > TRACE_SEGMENT_BYTES) {
        int rc = ring_begin(r, e);
        if (rc != 0)
            return rc;
        s = ring_last(r);
    }
    int rc = r->disk->write(r->file, p, n, s->bytes, e);
    if (rc != 0)
        return rc; /* the next write goes to the same place */
    ring_note(r, s, p, n, s->bytes);
    s->bytes += n;
    r->bytes += n;
    return 0;
}

int ring_write(struct ring *r, const uint8_t *p, size_t n, struct err *e)
{
    int rc = ring_append(r, p, n, e);
    /* A full disk has better uses for the space. */
    while (rc == ERR_DISK_FULL && r->count > 1) {
        ring_drop_oldest(r);
        rc = ring_append(r, p, n, e);
    }
    return rc;
}

/* ---- finding ---- */

static bool ring_show(struct ring *r, struct disk_file *f, uint32_t at,
                      bool (*each)(void *arg, const uint8_t *p, size_t n), void *arg)
{
    uint8_t record[EVENT_BYTES_MAX];
    int64_t got = r->disk->read(f, record, sizeof record, at, NULL);
    size_t n = got > 0 ? event_length(record, (size_t)got) : 0;
    return n == 0 || each(arg, record, n);
}

static size_t ring_places_of(const struct ring *r, uint32_t key, uint32_t *out, size_t max)
{
    size_t n = 0;
    for (size_t i = 0; i < r->places_count && n < max; i++)
        if (r->places[i].key == key)
            out[n++] = r->places[i].at;
    return n;
}

int ring_find(struct ring *r, uint32_t key, bool (*each)(void *arg, const uint8_t *p, size_t n),
              void *arg, struct err *e)
{
    uint32_t places[RING_FOUND_MAX];
    bool more = true;
    for (size_t i = r->count; i-- > 0 && more;) {
        struct disk_file *f = r->file;
        size_t n = 0;
        bool last = i + 1 == r->count && r->file != NULL;
        if (last)
            n = ring_places_of(r, key, places, RING_FOUND_MAX);
        else if (index_find(r, &r->segments[i], key, places, RING_FOUND_MAX, &n, e) != 0)
            return e->code;
        if (n > 0 && !last && ring_open_file(r, &r->segments[i], DISK_READ, &f, e) != 0)
            return e->code;
        for (size_t k = 0; k < n && more; k++)
            more = ring_show(r, f, places[k], each, arg);
        if (n > 0 && !last)
            r->disk->close(f);
    }
    return 0;
}
