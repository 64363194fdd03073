/* From a key to the places in one segment: schema/trace-ring.md has the table. */
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/mem.h"
#include "trace/trace_priv.h"

enum { INDEX_VERSION = 1, INDEX_BUCKETS = 256, INDEX_BUCKET_MAX = 1 << 16 };

struct index_head {
    char magic[8];
    uint32_t version, count;
    int64_t last_at;
    uint32_t buckets[INDEX_BUCKETS + 1]; /* by the highest byte of the key: first place */
    uint32_t crc;                        /* of all before */
};

static const char index_magic[8] = {'K', 'O', 'A', 'N', 'R', 'I', 'D', 'X'};

static int index_by_key(const void *a, const void *b)
{
    const struct ring_place *x = a, *y = b;
    return x->key != y->key ? (x->key < y->key ? -1 : 1) : x->at < y->at ? -1 : x->at > y->at;
}

static void index_head_make(const struct ring *r, const struct ring_segment *s,
                            struct index_head *h)
{
    memset(h, 0, sizeof *h);
    memcpy(h->magic, index_magic, sizeof h->magic);
    h->version = INDEX_VERSION;
    h->count = (uint32_t)r->places_count;
    h->last_at = s->last_at;
    for (size_t i = 0; i < r->places_count; i++)
        h->buckets[(r->places[i].key >> 24) + 1]++;
    for (size_t i = 0; i < INDEX_BUCKETS; i++)
        h->buckets[i + 1] += h->buckets[i];
    h->crc = hash_crc32c(0, h, offsetof(struct index_head, crc));
}

/* Of the ring's places. It is not synced: without it, or with one that is not whole, it is made
 * again from its segment. */
int index_write(struct ring *r, const struct ring_segment *s, struct err *e)
{
    struct index_head h;
    struct disk_file *f = NULL;
    AUTO(mem_freep) char *path = ring_path(r, s->number, "idx");
    qsort(r->places, r->places_count, sizeof r->places[0], index_by_key);
    index_head_make(r, s, &h);
    r->disk->unlink(r->disk, path, NULL);
    int rc = r->disk->open(r->disk, path, DISK_READ | DISK_WRITE | DISK_CREATE, &f, e);
    if (rc != 0)
        return rc;
    if (r->places_count > 0)
        rc = r->disk->write(f, r->places, r->places_count * sizeof r->places[0], sizeof h, e);
    if (rc == 0)
        rc = r->disk->write(f, &h, sizeof h, 0, e);
    r->disk->close(f);
    return rc;
}

static int index_open(struct ring *r, uint64_t number, struct index_head *h, struct disk_file **f,
                      struct err *e)
{
    AUTO(mem_freep) char *path = ring_path(r, number, "idx");
    int rc = r->disk->open(r->disk, path, DISK_READ, f, e);
    if (rc != 0)
        return rc;
    int64_t got = r->disk->read(*f, h, sizeof *h, 0, e);
    bool whole = got == (int64_t)sizeof *h && memcmp(h->magic, index_magic, sizeof h->magic) == 0 &&
                 h->version == INDEX_VERSION &&
                 h->crc == hash_crc32c(0, h, offsetof(struct index_head, crc));
    if (whole)
        return 0;
    r->disk->close(*f);
    return err_set(e, ERR_CORRUPT, "%s is not whole", path);
}

int index_last_at(struct ring *r, uint64_t number, int64_t *out, struct err *e)
{
    struct index_head h;
    struct disk_file *f = NULL;
    int rc = index_open(r, number, &h, &f, e);
    if (rc != 0)
        return rc;
    *out = h.last_at;
    r->disk->close(f);
    return 0;
}

int index_find(struct ring *r, const struct ring_segment *s, uint32_t key, uint32_t *out,
               size_t max, size_t *count, struct err *e)
{
    struct index_head h;
    struct disk_file *f = NULL;
    *count = 0;
    int rc = index_open(r, s->number, &h, &f, e);
    if (rc != 0)
        return rc;
    uint32_t from = h.buckets[key >> 24], to = h.buckets[(key >> 24) + 1];
    size_t n = to > from && to - from <= INDEX_BUCKET_MAX ? to - from : 0;
    AUTO(mem_freep) struct ring_place *places = n > 0 ? mem_try(n * sizeof *places) : NULL;
    int64_t got = 0;
    if (places != NULL)
        got = r->disk->read(f, places, n * sizeof *places, sizeof h + from * sizeof *places, e);
    r->disk->close(f);
    if (n > 0 && places == NULL)
        return err_set(e, ERR_NOMEM, "no memory for %zu places", n);
    for (size_t i = 0; got > 0 && i < (size_t)got / sizeof *places && *count < max; i++)
        if (places[i].key == key)
            out[(*count)++] = places[i].at;
    return got < 0 ? (int)got : 0;
}
