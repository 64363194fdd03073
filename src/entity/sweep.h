/* Sweep - what is over goes: expired records, removed records and replaced versions past their
 * time.
 *
 * The ledger's thread knows when something is due next (every change that sets a time says so). The
 * sweeper waits for that moment and proposes the operation entity.sweep, which removes at most
 * ENTITY_SWEEP_ROWS at its place in the log, by ledger time, on every node alike; when there is
 * more, it is proposed again at once. Expired records are hidden from their ledger time on already;
 * the sweep follows within a second, and with thousands of them a little later.
 *
 * A sweeper belongs to the ledger's thread. It proposes only where this node leads. */
#ifndef KOAN_ENTITY_SWEEP_H
#define KOAN_ENTITY_SWEEP_H

struct entities;
struct entity_sweeper;
struct ledger;
struct world;

enum {
    ENTITY_SWEEP_ROWS = 1000,   /* of one operation, cascades besides */
    ENTITY_SWEEP_WAIT_MS = 1000 /* the longest it sleeps, and after a refusal */
};

/* Before the ledger's loop runs, or on its thread. `world` is the ledger's. */
struct entity_sweeper *entity_sweeper_start(struct entities *s, struct ledger *l, struct world *w);
/* On the ledger's thread, before ledger_close. An operation under way may still come back. */
void entity_sweeper_stop(struct entity_sweeper *w);
/* When the ledger is closed. Takes NULL. */
void entity_sweeper_free(struct entity_sweeper *w);

#endif
