/* Outbox - units of arrivals that are made and wait to be proposed together.
 *
 * What is proposed at once travels in few entries: each costs a sync and a transaction, and a page
 * that several arrivals touch is written once for all of them. Keys fall anywhere in their index,
 * so of a hundred arrivals nearly every key writes a page of its own, of five hundred far fewer.
 * While a bulk request goes on, its units therefore wait for more than one slice, up to OUTBOX_MAX
 * of them and OUTBOX_HOLD_NS. Those of a small request set off with the slice that made them, and
 * take what waits along. */
#ifndef KOAN_CANON_OUTBOX_H
#define KOAN_CANON_OUTBOX_H

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"

struct canon_engine;
struct canon_job;

enum { OUTBOX_MAX = 512, OUTBOX_HOLD_NS = 25 * 1000 * 1000 };

struct outbox {
    struct list jobs;
    size_t count;
    uint64_t since; /* the first of them; 0: not looked at yet */
    bool urgent;    /* one is of a small request */
};

void outbox_init(struct outbox *o);
void outbox_add(struct outbox *o, struct canon_job *j);
/* At the end of a slice: proposes what is not to wait. */
void outbox_settle(struct canon_engine *en);

#endif
