/* Log: what a start finds on the disk, and what it makes of it. */
#include "ledger/log_priv.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"

struct listing {
    struct log *log;
    uint64_t *seqs;
    size_t count, cap;
    char (*gone)[32]; /* left-overs to remove */
    size_t gone_count;
    struct err *e;
};

enum { LISTING_GONE_MAX = 16 };

static void listing_fini(struct listing *ls)
{
    mem_free(ls->seqs);
    mem_free(ls->gone);
}

static int listing_each(void *arg, const char *name)
{
    struct listing *ls = arg;
    struct log *l = ls->log;
    size_t n = strlen(name);
    uint64_t number;
    if (n == 24 && str_ends(name, ".log") && str_to_u64(name, 20, &number)) {
        if (ls->count == ls->cap) {
            size_t cap = ls->cap == 0 ? 64 : ls->cap * 2;
            uint64_t *seqs = mem_try_resize(ls->seqs, cap * sizeof *seqs);
            if (seqs == NULL)
                return err_set(ls->e, ERR_NOMEM, "%s: too many segments", l->dir);
            ls->seqs = seqs;
            ls->cap = cap;
        }
        ls->seqs[ls->count++] = number;
        return 0;
    }
    bool is_spare = str_starts(name, "spare-") && str_ends(name, ".log") &&
                    str_to_u64(name + 6, n - 10, &number);
    if (is_spare && number >= l->spare_next)
        l->spare_next = number + 1;
    if (is_spare && l->spares_count < LOG_SPARES_MAX)
        l->spares[l->spares_count++] = number;
    else if ((is_spare || str_ends(name, ".tmp")) && n < 32 && ls->gone_count < LISTING_GONE_MAX)
        memcpy(ls->gone[ls->gone_count++], name, n + 1);
    return 0;
}

static int listing_order(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

/* Read the header of one segment and see that it continues the one before. */
static int log_open_segment(struct log *l, uint64_t seq, struct err *e)
{
    struct disk *d = l->world->disk;
    struct disk_file *f;
    char name[32];
    uint8_t page[SEGMENT_HEADER];
    log_segment_name(seq, name);
    struct log_segment *s = &l->segments[l->segments_count];
    int rc = d->open(d, log_path(l, name), DISK_READ | DISK_WRITE, &f, e);
    if (rc < 0)
        return rc;
    int64_t size = d->size(f, e);
    int64_t got = size < 0 ? size : d->read(f, page, sizeof page, 0, e);
    d->close(f);
    if (got < 0)
        return (int)got;
    s->size = (uint64_t)size;
    rc = segment_header_decode(page, (size_t)got, &s->head, e);
    if (rc < 0)
        return err_context(e, "log/%s", name);
    if (s->head.seq != seq || s->head.group != l->o.group)
        return err_set(e, ERR_CORRUPT, "log/%s, offset 0: is segment %llu of ledger %u", name,
                       (unsigned long long)s->head.seq, s->head.group);
    if (s->head.node != l->state.node)
        return err_set(e, ERR_CORRUPT,
                       "log/%s, offset 0: belongs to another node (%llx, this one is %llx); do not "
                       "mix data directories",
                       name, (unsigned long long)s->head.node, (unsigned long long)l->state.node);
    const struct log_segment *prev = l->segments_count > 0 ? s - 1 : NULL;
    if (prev != NULL && prev->head.seq + 1 != seq)
        return err_set(e, ERR_CORRUPT, "log/%s, offset 0: segment %llu before it is missing", name,
                       (unsigned long long)(seq - 1));
    if (prev != NULL && prev->head.first_index > s->head.first_index)
        return err_set(e, ERR_CORRUPT, "log/%s, offset 0: does not continue the one before", name);
    l->segments_count++;
    log_kept_push(&l->kept, &s->head);
    return 0;
}

static int log_list(struct log *l, struct listing *ls, struct err *e)
{
    struct disk *d = l->world->disk;
    ls->gone = mem_new_array(LISTING_GONE_MAX, sizeof *ls->gone);
    int rc = d->list(d, l->dir, listing_each, ls, e);
    if (rc < 0)
        return rc;
    for (size_t i = 0; i < ls->gone_count; i++) {
        rc = d->unlink(d, log_path(l, ls->gone[i]), e);
        if (rc < 0)
            return rc;
    }
    if (ls->count > 1)
        qsort(ls->seqs, ls->count, sizeof *ls->seqs, listing_order);
    return 0;
}

static int log_open_files(struct log *l, struct err *e)
{
    struct disk *d = l->world->disk;
    bool found;
    AUTO(listing_fini) struct listing ls = {.log = l, .e = e};
    int rc = d->mkdir(d, l->o.dir, e);
    if (rc == 0)
        rc = d->mkdir(d, l->dir, e);
    if (rc == 0)
        rc = d->sync_dir(d, l->o.dir, e);
    if (rc == 0)
        rc = log_list(l, &ls, e);
    if (rc == 0)
        rc = log_state_load(l, &found, e);
    if (rc < 0)
        return rc;
    if (!found && ls.count > 0)
        return err_set(e, ERR_CORRUPT,
                       "log/state, offset 0: missing or damaged, though there are log segments; "
                       "restore the whole data directory from a backup");
    if (!found && (rc = log_state_create(l, e)) < 0)
        return rc;
    l->segments = mem_new_array(ls.count + 16, sizeof *l->segments);
    l->segments_cap = ls.count + 16;
    for (size_t i = 0; i < ls.count; i++) {
        rc = log_open_segment(l, ls.seqs[i], e);
        if (rc < 0)
            return rc;
    }
    return 0;
}

int log_open(const struct log_options *o, struct world *w, struct log **out, struct err *e)
{
    struct log *l = mem_new(sizeof *l);
    l->world = w;
    l->o = *o;
    l->o.dir = mem_strdup(o->dir);
    l->dir = mem_printf("%s/log", o->dir);
    l->spare_next = 1;
    log_kept_init(&l->kept);
    int rc = log_open_files(l, e);
    if (rc < 0) {
        log_close(l);
        return rc;
    }
    *out = l;
    return 0;
}

bool log_is_new(const struct log *l)
{
    return l->segments_count == 0;
}

/* A segment file as the source of a scan. */
struct file_source {
    struct segment_source src;
    struct disk *disk;
    struct disk_file *file;
};

static int64_t file_source_read(struct segment_source *s, void *p, size_t n, uint64_t at,
                                struct err *e)
{
    struct file_source *f = (struct file_source *)s;
    return f->disk->read(f->file, p, n, at, e);
}

struct load {
    struct log *log;
    const struct log_segment *segment;
    char name[32];
    uint64_t after;
    uint64_t last, last_term; /* of all records, also those a checkpoint covers */
};

static int log_load_record(void *arg, const struct record *r, uint64_t at, struct err *e)
{
    struct load *ld = arg;
    struct log *l = ld->log;
    bool fits = r->index == ld->last + 1 && r->term >= ld->last_term;
    bool replaces = r->index <= ld->last && r->index > ld->after && r->term > ld->last_term;
    if (r->group != l->o.group || r->index == 0 || (!fits && !replaces))
        return err_set(e, ERR_CORRUPT,
                       "log/%s, offset %llu: entry %llu of term %llu cannot follow entry %llu of "
                       "term %llu; restore from a backup, or remove this node and join it anew",
                       ld->name, (unsigned long long)at, (unsigned long long)r->index,
                       (unsigned long long)r->term, (unsigned long long)ld->last,
                       (unsigned long long)ld->last_term);
    ld->last = r->index;
    ld->last_term = r->term;
    int rc = log_kept_note(&l->kept, ld->segment->head.seq, r->index, at, e);
    if (rc < 0 || r->index <= ld->after)
        return rc;
    struct log_place p = {.term = r->term,
                          .seq = ld->segment->head.seq,
                          .at = (uint32_t)at,
                          .len = r->len,
                          .type = r->type};
    return log_places_add(l, r->index, &p, e);
}

/* The segment ended at `end`: is that where it may end? */
static int log_check_end(const struct load *ld, const struct segment_end *end,
                         const struct log_segment *next, struct err *e)
{
    const char *why = NULL;
    if (end->damage != 0)
        why = "a later record of this segment is whole";
    else if (next != NULL &&
             (next->head.first_index != ld->last + 1 || next->head.prev_term != ld->last_term))
        why = "a later segment continues beyond it";
    if (why == NULL)
        return 0;
    return err_set(e, ERR_CORRUPT,
                   "log/%s, offset %llu: damaged after entry %llu (%s); restore from a backup, or "
                   "remove this node and join it anew",
                   ld->name, (unsigned long long)end->at, (unsigned long long)ld->last, why);
}

/* Writing goes on at `end`. */
static void log_cut(struct log *l, const struct load *ld, const struct segment_end *end)
{
    l->at = end->at;
    l->prepared = ld->segment->size > end->at ? ld->segment->size : end->at;
    l->leftover = end->leftover;
    if (end->leftover != 0)
        log_warn("ledger", "an unfinished write is cut segment=%s offset=%llu entry=%llu", ld->name,
                 (unsigned long long)end->at, (unsigned long long)ld->last);
}

static int log_load_segment(struct log *l, struct load *ld, size_t i, struct err *e)
{
    struct disk *d = l->world->disk;
    bool is_tail = i + 1 == l->segments_count;
    ld->segment = &l->segments[i];
    log_segment_name(ld->segment->head.seq, ld->name);
    log_kept_marked(&l->kept, ld->segment->head.seq);
    struct file_source src = {.src = {.read = file_source_read, .size = ld->segment->size},
                              .disk = d};
    struct segment_end end;
    int rc = d->open(d, log_path(l, ld->name), DISK_READ | DISK_WRITE, &src.file, e);
    if (rc < 0)
        return rc;
    rc = segment_scan(&src.src, &ld->segment->head, log_load_record, ld, &end, e);
    if (rc == 0)
        rc = log_check_end(ld, &end, is_tail ? NULL : ld->segment + 1, e);
    if (!is_tail || rc < 0) {
        d->close(src.file);
        return rc;
    }
    l->file = src.file;
    log_cut(l, ld, &end);
    return 0;
}

int log_load(struct log *l, uint64_t after, uint64_t after_term, struct err *e)
{
    l->first = after + 1;
    l->last = after;
    l->last_term = after_term;
    l->made = log_is_new(l);
    if (l->made)
        return log_roll(l, after + 1, after_term, 0, e);
    size_t i = l->segments_count - 1;
    while (i > 0 && l->segments[i].head.first_index > after + 1)
        i--;
    const struct segment_header *h = &l->segments[i].head;
    char name[32];
    log_segment_name(h->seq, name);
    if (h->first_index > after + 1)
        return err_set(e, ERR_CORRUPT,
                       "log/%s, offset 0: begins at entry %llu, the checkpoint ends at %llu: "
                       "segments before it are missing",
                       name, (unsigned long long)h->first_index, (unsigned long long)after);
    l->kept.last = h->first_index - 1;
    struct load ld = {
        .log = l, .after = after, .last = h->first_index - 1, .last_term = h->prev_term};
    for (; i < l->segments_count; i++) {
        int rc = log_load_segment(l, &ld, i, e);
        if (rc < 0)
            return rc;
    }
    if (ld.last < after || (ld.last == after && ld.last_term != after_term))
        return err_set(e, ERR_CORRUPT,
                       "log/%s, offset %llu: the log ends at entry %llu of term %llu, the "
                       "checkpoint at %llu of term %llu: acknowledged entries are missing; restore "
                       "from a backup, or remove this node and join it anew",
                       ld.name, (unsigned long long)l->at, (unsigned long long)ld.last,
                       (unsigned long long)ld.last_term, (unsigned long long)after,
                       (unsigned long long)after_term);
    return 0;
}

/* What an unfinished write has left behind the last record must never be read. */
static int log_clear_leftover(struct log *l, struct err *e)
{
    struct disk *d = l->world->disk;
    AUTO(mem_freep) uint8_t *zeros = mem_new(SEGMENT_PAGE);
    for (uint64_t at = l->at; at < l->leftover; at += SEGMENT_PAGE) {
        size_t n = l->leftover - at < SEGMENT_PAGE ? (size_t)(l->leftover - at) : SEGMENT_PAGE;
        int rc = d->write(l->file, zeros, n, at, e);
        if (rc < 0)
            return rc;
    }
    l->leftover = 0;
    return 0;
}

int log_settle(struct log *l, struct err *e)
{
    struct disk *d = l->world->disk;
    if (l->made) /* just now, and synced */
        return 0;
    int rc = log_clear_leftover(l, e);
    if (rc == 0)
        rc = d->sync(l->file, e);
    if (rc == 0)
        rc = d->sync(l->state_file, e);
    if (rc == 0)
        rc = d->sync_dir(d, l->dir, e);
    return rc;
}

void log_ready(struct log *l)
{
    l->ready = true;
    log_prepare(l);
}

bool log_may_close(struct log *l)
{
    l->prep_off = true;
    return !l->busy && l->prep.kind == PREP_NONE;
}

void log_close(struct log *l)
{
    if (l == NULL)
        return;
    struct disk *d = l->world->disk;
    log_prep_close(l);
    if (l->file != NULL)
        d->close(l->file);
    if (l->state_file != NULL)
        d->close(l->state_file);
    mem_free((char *)l->o.dir);
    mem_free(l->dir);
    mem_free(l->path);
    mem_free(l->segments);
    mem_free(l->places);
    log_kept_fini(&l->kept);
    mem_free(l);
}
