/* Txn - a unit of work while it is built: conditions, operations and an envelope, already in their
 * binary form.
 *
 * Domains fill it (entity_txn_save(), canon's arrival ...), the ledger appends it to its log as it
 * is. The form is versioned and length-prefixed (schema/unit-of-work.md); every operation has a
 * type, a version of its own and a payload that only its domain understands. An unknown type or
 * version halts a node; it is never skipped.
 *
 * Types are given out in blocks of 256: ledger 0x0000, entity 0x0100, queue 0x0200, coord 0x0300,
 * vault 0x0400, auth 0x0500, blob 0x0600, canon 0x0700, scripts 0x0800, settings 0x0900, bus
 * 0x0a00, job 0x0b00, tests 0xff00. Numbers are never reused. */
#ifndef KOAN_LEDGER_TXN_H
#define KOAN_LEDGER_TXN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/uuid.h"

struct err;

/* Who did it, where the envelope names nobody. */
#define TXN_PRINCIPAL "system"

enum {
    TXN_BYTES_MAX = 8 << 20,
    TXN_OPS_MAX = 10000,
    TXN_ENVELOPE_TEXT_MAX = 1024, /* each text of the envelope; longer ones are refused */
};

/* Who wants it and why. Texts may be NULL. They are copied. */
struct envelope {
    const char *tenant;    /* "default" when NULL */
    const char *principal; /* "system" when NULL */
    const char *correlation, *causation, *traceparent, *reason;
};

struct txn {
    struct buf body; /* conditions and operations, encoded */
    struct buf head; /* the envelope, encoded */
    uint32_t ops;    /* both kinds */
    struct uuid
        id; /* all zero: not remembered. Else a repeat within 15 min gives the first result */
    size_t open_at; /* where the open operation's length stands; 0 when none is open */
    /* May use the quarter of the room that is kept in a flood. An operation that settles, renews or
     * gives back sets it, whatever else is in the unit: refused, work that is done is done again.
     */
    bool urgent;
    bool grows; /* default true; false for deletes and settings: taken on a full disk */
};

void txn_init(struct txn *t);
void txn_fini(struct txn *t); /* also for AUTO */
void txn_envelope(struct txn *t, const struct envelope *env);
/* Begin an operation or condition; append its payload to the returned buffer; end it. */
struct buf *txn_begin(struct txn *t, uint16_t type, uint8_t version);
void txn_end(struct txn *t);
/* All conditions and operations of `from` behind those of `t`, which is urgent if either was. */
void txn_append(struct txn *t, const struct txn *from);
/* 0, or why it cannot be proposed: over a bound (ERR_TOO_LARGE), out of memory. */
int txn_check(const struct txn *t, struct err *e);
size_t txn_bytes(const struct txn *t);
/* The finished unit appended to `out`. */
void txn_encode(const struct txn *t, struct buf *out);

/* Reading one back. */
struct txn_view {
    struct uuid id;
    struct envelope env; /* points into `texts` */
    void *texts;
    const uint8_t *body;
    size_t body_len;
    uint32_t ops;
};
/* ERR_CORRUPT when the bytes are not a unit of work. The view points into p. */
int txn_decode(const void *p, size_t n, struct txn_view *out, struct err *e);
void txn_view_fini(struct txn_view *v);
struct txn_op {
    uint16_t type;
    uint8_t version;
    struct cursor payload;
};
/* for (struct cursor c = txn_ops(v); txn_next(&c, &op);) */
struct cursor txn_ops(const struct txn_view *v);
bool txn_next(struct cursor *c, struct txn_op *op);

#endif
