/* Ember - a hot domain small enough to be modelled: numbers in memory that only operations change,
 * a count of the entries it has seen, and places of bytes in the log. */
#ifndef KOAN_SUPPORT_EMBER_H
#define KOAN_SUPPORT_EMBER_H

#include <stddef.h>
#include <stdint.h>

#include "ledger/domain.h"

struct unit;

enum { EMBER_KEYS = 4, EMBER_MAX = 60 };

enum ember_op {
    EMBER_ADD = 0xff20,     /* u32 key, u64 n: adds to the number; answers the sum */
    EMBER_ADD_MAX = 0xff21, /* the same, but a conflict, found after adding, over the maximum */
    EMBER_HOLD = 0xff22,    /* u32 key, bytes: remembers where they are instead of others */
    EMBER_DROP = 0xff23,    /* u32 key: forgets that */
    EMBER_IS = 0xff24,      /* condition: u32 key, u64 n: the number is n */
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
};

struct ember {
    struct ember_state now, before_entry, before_unit;
};

struct domain ember_domain(struct ember *m);
void ember_add(struct unit *u, uint16_t type, uint32_t key, int64_t n); /* also EMBER_IS */
void ember_hold(struct unit *u, uint32_t key, const void *p, size_t n);
void ember_drop(struct unit *u, uint32_t key);

#endif
