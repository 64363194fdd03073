/* The operations of canon in their binary form (schema/canon.md). Encoding is used by the engine,
 * decoding by apply. */
#ifndef KOAN_CANON_OPS_H
#define KOAN_CANON_OPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

struct err;
struct txn;

enum canon_op {
    CANON_OP_DEFINE = 0x0700,
    CANON_OP_ARRIVE = 0x0701,
    CANON_OP_ERASE = 0x0702,
    CANON_OP_WAIT = 0x0703,
    CANON_OP_SWEEP = 0x0704,
    CANON_OP_PART = 0x0705,
    CANON_OP_MEMO = 0x0706,
    CANON_OP_REJECT = 0x0707,
    CANON_OP_IF_KEY = 0x0710, /* conditions */
    CANON_OP_IF_SOURCE = 0x0711,
    CANON_OP_IF_GOLDEN = 0x0712,
    CANON_OP_IF_PARKED = 0x0713,
};

/* Of canon.erase: 1 left what was parked parked. */
enum { CANON_OP_VERSION = 1, CANON_ERASE_VERSION = 2, CANON_MERGES_MAX = 64 };

enum canon_stored { /* outcomes as stored: those of enum canon_outcome and three more */
                    STORED_CANONIZED,
                    STORED_NOOP,
                    STORED_PARKED,
                    STORED_FAILED,
                    STORED_WITHDRAWN,
                    STORED_RESUMED,
                    STORED_REJECTED,
};

enum canon_phase { PHASE_INTAKE, PHASE_VALIDATE, PHASE_AGGREGATE, PHASE_PROJECT };
enum canon_lifecycle { LIFE_ACTIVE, LIFE_SUPERSEDED, LIFE_WITHDRAWN };
enum canon_readiness { READY_COMPLETE, READY_REVIEW };

/* Texts are borrowed; NULL is kept as NULL. */
struct canon_op_arrive {
    const char *model;
    const char *arrival, *origin, *source_id;
    int64_t observed_at;
    uint64_t def;
    uint64_t rev; /* random: the revision that everything changed here has afterwards */
    uint8_t outcome, phase;
    const char *reason, *evidence, *golden, *body, *work, *tags, *changes;
    const char *resumes; /* id of the parked arrival that this one goes on with */

    bool has_source; /* the source record changes */
    uint64_t last_hash;
    int64_t said_at;
    const char *said_arrival;
    const char *fields, *ever, *keys; /* fields NULL: only last_hash changes */
    bool withdraw;                    /* the source record goes */

    const char *new_keys;  /* JSON list of key values that get `golden` as owner */
    const char *lose_keys; /* withdraw: JSON list of key values that have no owner any more */

    bool has_golden;
    bool same_golden; /* only its revision and readiness change: what it says and shows stays */
    uint8_t lifecycle, readiness;
    uint64_t said; /* hash of what its source records say together */
    const char *views;
    const char *losers[CANON_MERGES_MAX]; /* golden records that end in `golden` */
    uint16_t losers_count;
};

/* A parked arrival waits for keys of a model, each of which is enough. */
struct canon_op_wait {
    const char *arrival, *waiter, *model;
    const char *keys; /* JSON list */
    uint8_t tries;
    bool take_up; /* at once, when a key has an owner by now */
};

/* Source records leave a golden record and are one of their own. */
struct canon_op_part {
    const char *model, *from, *id;
    const char *keys;    /* JSON list: they get `id` as owner */
    const char *members; /* JSON list of [origin, source id] */
    const char *views;   /* or NULL */
    uint64_t def, rev;
    uint64_t said; /* hash of what the source records say together */
    uint8_t readiness;
};

void canon_op_define(struct txn *t, const char *name, uint64_t def, const char *definition);
void canon_op_arrive(struct txn *t, const struct canon_op_arrive *a);
void canon_op_erase(struct txn *t, const char *model, const char *origin, const char *source_id);
void canon_op_wait(struct txn *t, const struct canon_op_wait *w);
/* `rejected`: JSON, by whom and why. */
void canon_op_reject(struct txn *t, const char *arrival, const char *rejected);
void canon_op_memo(struct txn *t, const char *arrival, const char *memo);
void canon_op_part(struct txn *t, const struct canon_op_part *p);
/* Failed arrivals older than that go, at most so many. The result is their number, u32. */
void canon_op_sweep(struct txn *t, int64_t keep_ms, uint32_t max);
/* golden NULL: nobody owns it. */
void canon_op_if_key(struct txn *t, const char *model, const char *key, const char *golden);
/* rev 0: absent. */
void canon_op_if_source(struct txn *t, const char *model, const char *origin, const char *source_id,
                        uint64_t rev);
void canon_op_if_parked(struct txn *t, const char *arrival);
void canon_op_if_golden(struct txn *t, const char *model, const char *id, uint64_t rev);

/* Texts as NUL-terminated copies in `texts` (freed by the caller); false when the bytes are not
 * one. */
bool canon_op_arrive_decode(struct cursor *c, struct canon_op_arrive *out, char **texts);

/* Every other payload but that of canon.define is a few texts and then numbers. */
enum { CANON_SMALL_TEXTS = 6, CANON_SMALL_NUMBERS = 4 };
struct canon_small {
    const char *text[CANON_SMALL_TEXTS];
    uint64_t number[CANON_SMALL_NUMBERS];
    char *room; /* what the texts are copied to */
};
/* `texts` texts, of which the first `needed` must be there, and `numbers` numbers of eight bytes.
 * 0, ERR_NOMEM, or ERR_CORRUPT naming `what`. canon_small_fini() in any case; also for AUTO. */
int canon_small_decode(struct cursor *c, const char *what, size_t texts, size_t needed,
                       size_t numbers, struct canon_small *out, struct err *e);
void canon_small_fini(struct canon_small *s);

#endif
