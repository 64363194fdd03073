/* Ember - a hot domain small enough to be modelled: numbers in memory that only operations change,
 * a count of the entries it has seen, places of bytes in the log, and a list of the units that said
 * so.
 *
 * All payloads are u32 key, u64 n, bytes. */
#ifndef KOAN_SUPPORT_EMBER_H
#define KOAN_SUPPORT_EMBER_H

#include <stddef.h>
#include <stdint.h>

#include "ledger/domain.h"

struct buf;
struct ledger;
struct unit;

enum {
    EMBER_KEYS = 4,
    EMBER_MAX = 60,
    EMBER_MOVES = 2 /* with one entry, when it is crowded */,
    EMBER_AUDITS = 6000
};

enum ember_op {
    EMBER_ADD = 0xff20,     /* adds n to the number; answers the sum */
    EMBER_ADD_MAX = 0xff21, /* the same, but a conflict, found after adding, over the maximum */
    EMBER_HOLD = 0xff22,    /* remembers where the bytes are, instead of others */
    EMBER_DROP = 0xff23,    /* forgets that */
    EMBER_IS = 0xff24,      /* condition: the number is n */
    EMBER_AUDIT = 0xff25,   /* notes n and the place of the unit, which it answers */
    EMBER_OTHER = 0x10,     /* added to these: the same of the domain `other` */
    EMBER_OPS = 6,
};

/* Bytes in the log. */
struct ember_held {
    uint64_t seq; /* 0: none */
    uint32_t offset, n, crc;
};

struct ember_state {
    uint64_t entries; /* that began */
    int64_t at;       /* ledger time of the last */
    int64_t numbers[EMBER_KEYS];
    struct ember_held held[EMBER_KEYS];
    uint32_t audits;
};

struct ember_audit {
    int64_t n;
    int64_t at; /* entry << 16 | unit */
};

struct ember {
    struct domain_op ops[EMBER_OPS];
    struct ember_state now, before_entry, before_unit;
    struct ember_audit audits[EMBER_AUDITS]; /* as many as the state says */
    /* What has been moved into table local_ember, and until where that is wanted. */
    struct ember_held moved[EMBER_KEYS], moved_before[EMBER_KEYS];
    uint64_t crowded;
    struct db *db;
    struct ledger *ledger; /* given by the test; without it nothing is moved */
    size_t ballast;        /* bytes that a saved state is larger */
    int fail_times;        /* the next entries find no memory */
    /* What it was told. */
    uint64_t saves, loads, again; /* again: operations that were run without a database */
};

struct domain ember_domain(struct ember *m);
/* Another one beside it, "other". */
struct domain ember_other(struct ember *m);
void ember_unit(struct unit *u, uint16_t type, uint32_t key, int64_t n);
void ember_hold(struct unit *u, uint32_t key, const void *p, size_t n);
/* The bytes that `key` holds, wherever they are now. */
int ember_read(struct ember *m, uint32_t key, struct buf *out, struct err *e);

#endif
