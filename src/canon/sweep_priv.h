/* What removes failed arrivals when they are old: sweep.c. */
#ifndef KOAN_CANON_SWEEP_H
#define KOAN_CANON_SWEEP_H

struct canon;
struct ledger;
struct world;
struct sweeper;

/* On the ledger's thread. Takes its first look after CANON_SWEEP_MS. */
struct sweeper *sweeper_new(struct canon *c, struct ledger *l, struct world *w);
void sweeper_stop(struct sweeper *s);
/* Stopped, and nothing runs on its thread any more. Takes NULL. */
void sweeper_free(struct sweeper *s);

#endif
