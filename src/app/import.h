/* Import - a file of records on its way to a server, batch by batch, so that it can be taken up
 * again.
 *
 *     file --records--> batch 1, 2, 3 ...      sent side by side on several connections
 *                          answered in any order; the state file names the end of the last
 *                          batch before which everything was answered
 *
 * A batch keeps for each record its place and text, so that a refused one can be reported with its
 * line. Bad records (no JSON, no CSV row) are refused here and never sent. The state holds file,
 * target, place and counts; it is written beside the cache, never in the way of a batch for longer
 * than a small file takes, and removed when all is done.
 *
 * Main thread; blocks. */
#ifndef KOAN_APP_IMPORT_H
#define KOAN_APP_IMPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/json.h"
#include "base/list.h"
#include "codec/records.h"

enum {
    IMPORT_BATCH_MAX = 1000,      /* what the server takes */
    IMPORT_BATCH_BYTES = 4 << 20, /* well below its limit for a body */
    IMPORT_PARALLEL_MAX = 16,
    IMPORT_READ = 256 << 10,
    IMPORT_STATE_MAX = 8 << 20,
    IMPORT_REASONS_MAX = 64, /* different ones that are counted */
    IMPORT_STATE_MS = 1000,
};

struct import_options {
    const char *path; /* "-": standard input, which cannot be taken up again */
    const char *url;
    const char *entity, *canon;             /* one of them: its name in URLs */
    const char *origin;                     /* canon */
    const char *source_id, *observed_field; /* names of fields, or NULL */
    const char *observed_at;                /* of all, or NULL */
    const char *format;                     /* or NULL: by name and content */
    const char *rejects;                    /* file, or NULL */
    bool resume;
    int batch;
};

struct import_item {
    uint64_t number, line;
    size_t at, n;           /* its text in the batch's `texts` */
    size_t body_at, body_n; /* what is sent of it, in `body` */
};

struct import_batch {
    struct list link;
    struct buf body;  /* as it is sent */
    struct buf texts; /* the records as they came */
    struct buf state; /* of the reader behind the batch */
    struct import_item *items;
    size_t count;
    uint64_t end; /* byte of the file behind it */
    bool answered;
    int tries; /* the sender's */
};

struct import {
    struct import_options o;
    int fd;
    uint64_t size; /* 0: not known */
    int64_t mtime_ns;
    struct records *records;
    char *chunk;
    bool fed, eof;
    struct list
        open; /* batches in order of the file; the first is not answered, or there is none */
    FILE *rejects;
    char *state_path;
    uint64_t acked;         /* byte before which everything is answered */
    struct buf acked_state; /* of the reader there */
    uint64_t saved, saved_ms;
    uint64_t skipped_to; /* byte where this run began */

    uint64_t answered, rejected; /* records; a rejected one was refused here or by the server */
    json_t *outcomes;            /* name -> count */
    json_t *reasons;             /* "parked COLLISION" -> count */
    struct err first;            /* the first refusal of this run, with its line */
};

int import_open(const struct import_options *o, struct import *im, struct err *e);
void import_close(struct import *im); /* also when open failed half way */

/* The next batch to be sent; *out NULL at the end of the file. It belongs to `im` until
 * import_answered. */
int import_next(struct import *im, struct import_batch **out, struct err *e);
/* What the server said, {"results": [...]}: one for each record. The batch is gone. */
int import_answered(struct import *im, struct import_batch *b, const json_t *answer, struct err *e);

/* Some records of an answer may be refused only for now: the server was too busy, or did not know
 * in time. `again` says of which codes that is so. */
struct import_resend {
    struct buf body; /* those records, as they are sent */
    size_t *which;   /* their places in the batch */
    size_t count;
};
typedef bool import_again_cb(const void *arg, int code);
/* Returns how many there are; `out` is to be freed in any case. */
size_t import_resend(const struct import *im, const struct import_batch *b, const json_t *answer,
                     import_again_cb *again, const void *arg, struct import_resend *out);
/* Their results of `second` take the place of those in `answer`. */
int import_resend_merge(json_t *answer, const struct import_resend *r, const json_t *second,
                        struct err *e);
void import_resend_fini(struct import_resend *r);

/* Write the state now if it is due, or `force`. */
int import_save(struct import *im, bool force, struct err *e);
/* All is done: the state is not needed any more. */
void import_finish(struct import *im);

#endif
