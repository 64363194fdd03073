/* Request - a message that is answered: published like any other, and what the first handler that
 * ends well gives as its result is the answer.
 *
 *   route -> PUBLISH -> WAIT -> READ -> END            only request_step() moves `phase`
 *     ^         |         |
 *     +---------+         +---> END: nobody answered in time, or all have failed
 *   the routes changed
 *
 * Each group has its record and works it whatever becomes of the others; the slower ones' answers
 * are nobody's. Without a ttl of its own the message expires with the time for an answer, so that
 * what nobody waits for any more is not begun.
 *
 * The records are watched from before they are sent, so an answer cannot be missed; it is read
 * where the handler's settlement lies in the log. */
#ifndef KOAN_BUS_REQUEST_H
#define KOAN_BUS_REQUEST_H

#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "bus/bus.h"
#include "ledger/txn.h"

struct ledger;
struct loop;
struct queues;

enum { BUS_REQUEST_MS = 5 * 1000, BUS_REQUEST_MAX_MS = 5 * 60 * 1000 };

/* Part of the caller's struct; all that is set by the caller lives until done(). */
struct bus_request {
    struct bus *bus;
    struct queues *queues;
    struct ledger *ledger;
    struct loop *loop; /* of the caller: all runs there */
    const char *topic;
    struct envelope env;
    struct bus_message message; /* its id is set here */
    uint32_t timeout_ms;        /* 1..BUS_REQUEST_MAX_MS */
    void (*make_id)(struct bus_request *r, struct uuid *out);
    /* Further conditions of the unit; may be NULL. */
    void (*conditions)(struct bus_request *r, struct txn *t);
    void (*done)(struct bus_request *r); /* once, on the loop */

    /* The result. */
    struct err err; /* code 0: answered. ERR_NOT_FOUND: nobody listens; ERR_TIMEOUT; ERR_REJECTED:
                       the handler has; ERR_UNAVAILABLE: all have failed */
    struct buf answer; /* what came, as its handler wrote it; empty: no result. The caller's */

    struct request *impl;
};

/* 0: done() comes later. Else nothing was started. */
int bus_request_start(struct bus_request *r, struct err *e);
/* It is not waited for any more: done() comes soon, with this error. */
void bus_request_cancel(struct bus_request *r, const struct err *why);

#endif
