/* Log: entries read by index long after, from any thread.
 *
 * A place for each entry of a log of 10 GiB would be a gigabyte. So of what is kept only a mark
 * about every LOG_MARK_BYTES is remembered, and the way from there goes from record to record. The
 * segments of this life are marked as they are read and written, older ones by who first asks for
 * an entry in them.
 *
 * A mark holds for all entries from its own up to that of the next mark. Where an entry has
 * replaced others there is one, so nobody is led to what was replaced.
 *
 * Who reads has a descriptor of its own, and no lock: a segment may meanwhile be let go and written
 * again under another name. Its records then do not verify any more, and it is not among those
 * kept: gone. */
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "ledger/log_priv.h"

enum { KEPT_SCAN_AGAIN = 2 };

void log_kept_init(struct log_kept *k)
{
    pthread_mutex_init(&k->lock, NULL);
}

void log_kept_fini(struct log_kept *k)
{
    for (size_t i = 0; i < k->count; i++)
        mem_free(k->segments[i].marks);
    mem_free(k->segments);
    pthread_mutex_destroy(&k->lock);
}

/* ---- which segments ---- */

static struct log_kept_segment *kept_segment(const struct log_kept *k, uint64_t seq)
{
    for (size_t i = k->count; i-- > 0;) {
        if (k->segments[i].head.seq == seq)
            return &k->segments[i];
    }
    return NULL;
}

void log_kept_push(struct log_kept *k, const struct segment_header *h)
{
    pthread_mutex_lock(&k->lock);
    if (k->count == k->cap) {
        size_t cap = k->cap == 0 ? 16 : k->cap * 2;
        struct log_kept_segment *grown = mem_new_array(cap, sizeof *grown);
        if (k->count > 0)
            memcpy(grown, k->segments, k->count * sizeof *grown);
        mem_free(k->segments);
        k->segments = grown;
        k->cap = cap;
    }
    k->segments[k->count++] = (struct log_kept_segment){.head = *h, .from = h->first_index};
    pthread_mutex_unlock(&k->lock);
}

void log_kept_drop(struct log_kept *k, uint64_t seq)
{
    pthread_mutex_lock(&k->lock);
    struct log_kept_segment *s = kept_segment(k, seq);
    if (s != NULL) {
        mem_free(s->marks);
        size_t behind = k->count - (size_t)(s - k->segments) - 1;
        memmove(s, s + 1, behind * sizeof *s);
        k->count--;
    }
    pthread_mutex_unlock(&k->lock);
}

static bool kept_is_kept(struct log_kept *k, uint64_t seq)
{
    pthread_mutex_lock(&k->lock);
    bool kept = kept_segment(k, seq) != NULL;
    pthread_mutex_unlock(&k->lock);
    return kept;
}

/* ---- marks ---- */

static bool mark_is_due(uint64_t mark_at, uint64_t last, uint64_t index, uint64_t at)
{
    return at - mark_at >= LOG_MARK_BYTES || index <= last;
}

static int marks_add(struct log_kept_segment *s, uint64_t index, uint64_t at, struct err *e)
{
    while (s->count > 0 && s->marks[s->count - 1].index >= index)
        s->count--;
    if (index < s->from)
        s->from = index;
    if (s->count == s->cap) {
        size_t cap = s->cap == 0 ? 64 : s->cap * 2;
        struct log_mark *marks = mem_try_resize(s->marks, cap * sizeof *marks);
        if (marks == NULL)
            return err_set(e, ERR_NOMEM, "the marks of a log segment");
        s->marks = marks;
        s->cap = cap;
    }
    s->marks[s->count++] = (struct log_mark){.index = index, .at = (uint32_t)at};
    return 0;
}

void log_kept_marked(struct log_kept *k, uint64_t seq)
{
    pthread_mutex_lock(&k->lock);
    kept_segment(k, seq)->marked = true;
    pthread_mutex_unlock(&k->lock);
    k->mark_seq = seq;
    k->mark_at = SEGMENT_PAGE;
}

int log_kept_note(struct log_kept *k, uint64_t seq, uint64_t index, uint64_t at, struct err *e)
{
    bool replaces = index <= k->last;
    bool due = mark_is_due(k->mark_at, k->last, index, at);
    ASSERT(seq == k->mark_seq);
    k->last = index;
    if (!due)
        return 0;
    pthread_mutex_lock(&k->lock);
    int rc = marks_add(kept_segment(k, seq), index, at, replaces ? e : NULL);
    pthread_mutex_unlock(&k->lock);
    if (rc == 0)
        k->mark_at = at;
    return replaces ? rc : 0; /* one mark less makes a way longer, no more */
}

/* ---- marks of a segment that was there before this life ---- */

struct scan {
    struct segment_source src;
    struct disk *disk;
    struct disk_file *file;
    struct log_kept_segment marks;
    uint64_t mark_at, last;
};

static int64_t scan_read(struct segment_source *s, void *p, size_t n, uint64_t at, struct err *e)
{
    struct scan *sc = (struct scan *)s;
    return sc->disk->read(sc->file, p, n, at, e);
}

static int scan_record(void *arg, const struct record *r, uint64_t at, struct err *e)
{
    struct scan *sc = arg;
    int rc = 0;
    if (mark_is_due(sc->mark_at, sc->last, r->index, at)) {
        rc = marks_add(&sc->marks, r->index, at, e);
        sc->mark_at = at;
    }
    sc->last = r->index;
    return rc;
}

/* What the scan has found belongs to the segment, if it is still there and nobody was faster. */
static void scan_install(struct log_kept *k, struct scan *sc)
{
    pthread_mutex_lock(&k->lock);
    struct log_kept_segment *s = kept_segment(k, sc->marks.head.seq);
    if (s != NULL && !s->marked) {
        sc->marks.marked = true;
        struct log_kept_segment old = *s;
        *s = sc->marks;
        sc->marks = old;
    }
    pthread_mutex_unlock(&k->lock);
    mem_free(sc->marks.marks);
}

static int reader_scan(struct log_reader *r, struct err *e)
{
    struct disk *d = r->log->world->disk;
    struct segment_end end;
    struct scan sc = {.src = {.read = scan_read},
                      .disk = d,
                      .file = r->file,
                      .marks = {.head = r->head, .from = r->head.first_index},
                      .mark_at = SEGMENT_PAGE,
                      .last = r->head.first_index - 1};
    int64_t size = d->size(r->file, e);
    if (size < 0)
        return (int)size;
    sc.src.size = (uint64_t)size;
    int rc = segment_scan(&sc.src, &r->head, scan_record, &sc, &end, e);
    if (rc < 0) {
        mem_free(sc.marks.marks);
        return rc;
    }
    scan_install(&r->log->kept, &sc);
    return 0;
}

/* ---- reading ---- */

void log_reader_init(struct log_reader *r, struct log *l, size_t window)
{
    *r = (struct log_reader){.log = l, .size = window};
}

static void reader_leave(struct log_reader *r)
{
    if (r->file != NULL)
        r->log->world->disk->close(r->file);
    r->file = NULL;
    r->next = 0;
    r->len = 0;
}

void log_reader_fini(struct log_reader *r)
{
    reader_leave(r);
    mem_free(r->window);
}

static int reader_gone(uint64_t index, struct err *e)
{
    return err_set(e, ERR_GONE, "log entry %llu is no longer kept", (unsigned long long)index);
}

/* What should be there is not. */
static int reader_lost(struct log_reader *r, uint64_t index, struct err *e)
{
    char name[32];
    if (!kept_is_kept(&r->log->kept, r->head.seq))
        return reader_gone(index, e);
    log_segment_name(r->head.seq, name);
    return err_set(e, ERR_CORRUPT, "log/%s, offset %llu: log entry %llu has changed on the disk",
                   name, (unsigned long long)r->at, (unsigned long long)index);
}

/* Where to go from for an entry. */
struct spot {
    struct segment_header head;
    struct log_mark mark;
    bool marked;
};

static bool kept_find(struct log_kept *k, uint64_t index, struct spot *out)
{
    bool found = false;
    pthread_mutex_lock(&k->lock);
    size_t i = k->count;
    while (i > 0 && k->segments[i - 1].from > index)
        i--;
    if (i > 0) {
        const struct log_kept_segment *s = &k->segments[i - 1];
        *out = (struct spot){
            .head = s->head, .mark = {.index = s->from, .at = SEGMENT_PAGE}, .marked = s->marked};
        size_t low = 0, high = s->count; /* the first mark behind it */
        while (low < high) {
            size_t mid = (low + high) / 2;
            if (s->marks[mid].index <= index)
                low = mid + 1;
            else
                high = mid;
        }
        if (low > 0)
            out->mark = s->marks[low - 1];
        found = true;
    }
    pthread_mutex_unlock(&k->lock);
    return found;
}

static int reader_open(struct log_reader *r, const struct segment_header *head, uint64_t index,
                       struct err *e)
{
    char name[32];
    if (r->file != NULL && r->head.seq == head->seq)
        return 0;
    reader_leave(r);
    r->head = *head;
    log_segment_name(head->seq, name);
    struct disk *d = r->log->world->disk;
    AUTO(mem_freep) char *path = mem_printf("%s/%s", r->log->dir, name);
    int rc = d->open(d, path, DISK_READ, &r->file, e);
    return rc == ERR_NOT_FOUND ? reader_lost(r, index, e) : rc;
}

/* `n` bytes at `at` of the segment in memory; NULL in `*p` where it ends before. */
static int reader_need(struct log_reader *r, uint64_t at, size_t n, const uint8_t **p,
                       struct err *e)
{
    *p = NULL;
    if (at < r->window_at || at + n > r->window_at + r->len) {
        size_t cap = n > r->size ? n : r->size;
        if (cap > r->cap) {
            uint8_t *window = mem_try_resize(r->window, cap);
            if (window == NULL)
                return err_set(e, ERR_NOMEM, "%zu bytes to read the log", cap);
            r->window = window;
            r->cap = cap;
        }
        r->len = 0;
        int64_t got = r->log->world->disk->read(r->file, r->window, r->cap, at, e);
        if (got < 0)
            return (int)got;
        r->window_at = at;
        r->len = (size_t)got;
    }
    if (at + n <= r->window_at + r->len)
        *p = r->window + (at - r->window_at);
    return 0;
}

/* To the mark, unless we stand between it and the entry already. */
static int reader_seek(struct log_reader *r, uint64_t index, struct err *e)
{
    struct spot spot;
    if (!kept_find(&r->log->kept, index, &spot))
        return reader_gone(index, e);
    int rc = reader_open(r, &spot.head, index, e);
    if (rc == 0 && !spot.marked) {
        rc = reader_scan(r, e);
        return rc < 0 ? rc : KEPT_SCAN_AGAIN;
    }
    if (rc < 0)
        return rc;
    if (r->next == 0 || r->next > index || r->at < spot.mark.at) {
        r->at = spot.mark.at;
        r->next = spot.mark.index;
    }
    return 0;
}

static int reader_walk(struct log_reader *r, uint64_t index, struct record *out, struct err *e)
{
    for (;;) {
        const uint8_t *p;
        uint64_t at_index = 0;
        uint32_t len = 0;
        int rc = reader_need(r, r->at, RECORD_HEADER, &p, e);
        if (rc < 0)
            return rc;
        if (p == NULL || !record_peek(p, &at_index, &len) || at_index > index)
            return reader_lost(r, index, e);
        if (at_index < index) {
            r->at += record_size(len);
            r->next = at_index + 1;
            continue;
        }
        size_t need;
        rc = reader_need(r, r->at, record_size(len), &p, e);
        if (rc < 0)
            return rc;
        if (p == NULL || record_open(p, record_size(len), r->head.salt, out, &need) != 1 ||
            out->index != index)
            return reader_lost(r, index, e);
        r->at += record_size(len);
        r->next = index + 1;
        return 0;
    }
}

int log_reader_read(struct log_reader *r, uint64_t index, struct record *out, struct err *e)
{
    int rc;
    do
        rc = reader_seek(r, index, e);
    while (rc == KEPT_SCAN_AGAIN);
    if (rc == 0)
        rc = reader_walk(r, index, out, e);
    if (rc < 0)
        reader_leave(r);
    return rc;
}
