/* Segment - the form of one file of the log, and how it is read back. Knows bytes, not files.
 *
 * A segment is a header page and records behind it, one after the other, each 8-byte aligned. The
 * file is longer than its records: it was filled with zeros in advance, or is the file of an old
 * segment under a new name, so what lies behind the last record may be anything. What makes a
 * record ours is its checksum, which begins with the salt of this segment: a record of the file's
 * former life never verifies.
 *
 * Where the records end is decided by segment_scan(): at the first place that holds no valid
 * record. That place is a torn tail (a write that a crash cut short, never acknowledged) unless a
 * record that proves otherwise follows. Each record carries `durable`, the position up to which the
 * segment was known to be synced when it was written: a valid record behind the hole whose
 * `durable` is beyond the hole proves that the hole was once whole, hence damage. Offsets and
 * sizes: schema/log-segment.md. */
#ifndef KOAN_LEDGER_SEGMENT_PRIV_H
#define KOAN_LEDGER_SEGMENT_PRIV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct err;

enum {
    SEGMENT_PAGE = 4096, /* the header has a page of its own: a torn record cannot touch it */
    SEGMENT_HEADER = 88, /* bytes of the page in use */
    RECORD_HEADER = 40,  /* before the payload */
    RECORD_BYTES_MAX = 9 << 20, /* payload: the largest unit, its envelope and the entry's header */
};

struct segment_header {
    uint64_t seq;         /* the number in the file's name */
    uint64_t salt;        /* random; all checksums of the records begin with it */
    uint64_t node;        /* whose log it is */
    uint32_t group;       /* ledger */
    uint64_t first_index; /* of the first record */
    uint64_t prev_term;   /* of the record before it; 0 when there is none */
    int64_t created_ms;
    uint64_t size; /* of the file */
};

void segment_header_encode(const struct segment_header *h, uint8_t out[SEGMENT_PAGE]);
/* ERR_CORRUPT, or ERR_UNSUPPORTED when a newer program wrote it. */
int segment_header_decode(const uint8_t *page, size_t n, struct segment_header *out, struct err *e);

struct record {
    uint8_t type;
    uint32_t group;
    uint32_t durable; /* offset in this segment */
    uint64_t index, term;
    const uint8_t *data;
    uint32_t len;
};

/* Bytes of the record with its padding. */
static inline size_t record_size(size_t len)
{
    return (RECORD_HEADER + len + 7) & ~(size_t)7;
}

/* `at` begins with RECORD_HEADER bytes of room and has r->len bytes of payload behind it and room
 * for the padding; r->data is not looked at. */
void record_seal(uint8_t *at, const struct record *r, uint64_t salt);
/* The record at p, of which n bytes are in memory. 1: valid; 0: not a valid record; -1: more bytes
 * are needed, `*need` in all. */
int record_open(const uint8_t *p, size_t n, uint64_t salt, struct record *out, size_t *need);

/* What the first RECORD_HEADER bytes say of a record, unverified; false when they cannot be right.
 */
bool record_peek(const uint8_t *p, uint64_t *index, uint32_t *len);

/* Where a scan reads from. Returns bytes read, fewer only at the end. */
struct segment_source {
    int64_t (*read)(struct segment_source *s, void *p, size_t n, uint64_t at, struct err *e);
    uint64_t size;
};

struct segment_end {
    uint64_t at; /* offset where the records end */
    uint64_t
        leftover;    /* behind `at`: where the last valid, never acknowledged record ends; else 0 */
    uint64_t damage; /* offset of a valid record that proves damage at `at`; 0 when there is none */
};

/* Reads the records from SEGMENT_PAGE on and calls `each` for each; a non-zero return of it ends
 * the scan and is returned. */
typedef int segment_each_cb(void *arg, const struct record *r, uint64_t at, struct err *e);
int segment_scan(struct segment_source *s, const struct segment_header *h, segment_each_cb *each,
                 void *arg, struct segment_end *end, struct err *e);

#endif
