/* The file of a saved state: schema/hot-state.md. Knows its form, not when one is written.
 *
 * Written front to back in chunks, each with its checksum, and an end mark that says how much it
 * was. The writer is done with hot_out_end(); until the file is synced and has its name it is
 * nothing. */
#ifndef KOAN_LEDGER_HOT_FILE_PRIV_H
#define KOAN_LEDGER_HOT_FILE_PRIV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

struct disk;
struct disk_file;
struct err;

enum {
    HOT_NAME_MAX = 28,     /* bytes of a domain's name */
    HOT_CHUNK = 256 << 10, /* of the state, written at a time */
    HOT_CHUNK_HEADER = 24,
    HOT_HEADER = 64,
};

/* Of what, and as of when. */
struct hot_head {
    const char *domain;
    uint64_t index;
    int64_t at;
};

struct hot_out {
    struct disk *disk;
    struct disk_file *file;
    uint64_t index;
    struct buf chunk; /* its header, and what it holds so far */
    uint64_t total;   /* of the state, in the chunks before it */
    uint64_t at;      /* of the file */
};

/* `file` is empty, and the caller's. hot_out_fini() in any case. */
int hot_out_begin(struct hot_out *o, struct disk *d, struct disk_file *file,
                  const struct hot_head *head, struct err *e);
int hot_out_end(struct hot_out *o, struct err *e);
void hot_out_fini(struct hot_out *o);

struct hot_in {
    struct disk *disk;
    struct disk_file *file;
    const char *name; /* for messages */
    uint64_t index;
    struct buf chunk;
    size_t taken;   /* of the chunk */
    uint64_t total; /* of the state, with this chunk */
    uint64_t at;    /* of the next chunk in the file */
    bool ended;
};

/* ERR_CORRUPT where it is not the state that `head` says, ERR_UNSUPPORTED where a newer program
 * wrote it; messages name the place in it. hot_in_fini() in any case. */
int hot_in_begin(struct hot_in *in, struct disk *d, struct disk_file *file, const char *name,
                 const struct hot_head *head, struct err *e);
/* All of it was taken, and it is whole. */
int hot_in_end(struct hot_in *in, struct err *e);
void hot_in_fini(struct hot_in *in);

#endif
