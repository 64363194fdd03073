/* Toy - a domain small enough to be modelled: numbered keys with versions, counters, and an audit
 * row per unit that tells which units were applied, where, and how often. Its units hold operations
 * of a hot domain too (support/ember.h), whose memory must follow them; some hold nothing else, and
 * their audit is in memory as well.
 *
 * A plan is a unit as the test knows it. The same plan becomes a transaction for the ledger
 * (plan_fill) and is worked by the model (toy_model_apply); both must come to the same. */
#ifndef KOAN_TESTS_TOY_H
#define KOAN_TESTS_TOY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/uuid.h"
#include "support/ember.h"

struct db;
struct domain;
struct err;
struct sim;
struct txn;
struct unit;

enum { TOY_KEYS = 12, TOY_COUNTERS = 3, TOY_OPS_MAX = 8, TOY_COUNTER_MAX = 60 };

enum toy_kind {
    TOY_IF_VERSION = 0xff01, /* condition: key has version arg (0: absent) */
    TOY_PUT = 0xff02,        /* key := arg, with `pad` bytes; gives the new version */
    TOY_ADD = 0xff03,        /* counter += arg, kept in memory too; gives the total */
    TOY_ADD_MAX = 0xff04,    /* the same, but a conflict, found after writing, over the maximum */
    TOY_REMOVE = 0xff05,
    TOY_FAIL = 0xff06, /* writes, then refuses */
    TOY_AUDIT = 0xff07,
    TOY_EMBER_ADD = EMBER_ADD,
    TOY_EMBER_ADD_MAX = EMBER_ADD_MAX,
    TOY_EMBER_HOLD = EMBER_HOLD, /* `pad` bytes, made of arg */
    TOY_EMBER_DROP = EMBER_DROP,
    TOY_EMBER_IS = EMBER_IS,
    TOY_EMBER_AUDIT = EMBER_AUDIT,
};

struct toy_op {
    enum toy_kind kind;
    uint32_t key, pad;
    int64_t arg;
};

struct plan {
    uint32_t serial;
    uint64_t born_ns;
    struct uuid id;
    bool has_id, urgent, shrinks;
    size_t count;
    struct toy_op ops[TOY_OPS_MAX]; /* conditions first; the last is an audit */

    /* What the ledger said. */
    bool acked;   /* yes, while the node was alive */
    bool unknown; /* some attempt ended without an answer */
    bool refused; /* some attempt was refused */
    bool applied; /* the audit has it */
    uint64_t seq; /* 0 while only a repeat has been answered */
    uint32_t unit;
    int64_t results[TOY_OPS_MAX];
};

struct toy_model {
    struct {
        uint64_t version;
        int64_t value;
    } keys[TOY_KEYS];
    int64_t counters[TOY_COUNTERS];
    int64_t numbers[EMBER_KEYS];
    struct {
        bool is_there;
        uint32_t n;
        int64_t arg;
    } held[EMBER_KEYS];
};

/* The domain's own state. */
struct toy {
    struct db *db; /* the writer, for looking in between events */
    int64_t counters[TOY_COUNTERS];
    bool cached;
    uint64_t committed; /* last seq announced */
};

struct domain toy_domain(struct toy *t);
void plan_make(struct plan *p, struct sim *s, uint32_t serial);
void plan_fill(const struct plan *p, struct txn *t);
/* The results of an applied unit, one number per operation. */
void plan_results(const struct plan *p, const struct unit *u, int64_t results[TOY_OPS_MAX]);
/* 0 and results, or the code and which operation refused; then the model is as before. */
int toy_model_apply(struct toy_model *m, const struct plan *p, int64_t results[TOY_OPS_MAX],
                    int *failed_op);
/* Fails the simulation when the tables, or the memory of the hot domain, differ from the model. */
void toy_compare(struct db *db, const struct toy_model *m);
/* damaged: bits of the log were flipped; bytes that it still holds may then not be readable. */
void toy_compare_hot(struct ember *hot, const struct toy_model *m, bool damaged);

#endif
