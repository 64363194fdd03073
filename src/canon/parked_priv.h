/* Records of what is parked: what parked.c says, for propose.c and mend.c. */
#ifndef KOAN_CANON_PARKED_H
#define KOAN_CANON_PARKED_H

#include <stdint.h>

struct canon;
struct canon_job;
struct err;
struct ledger;
struct mender;
struct queues;
struct txn;
struct world;

/* JSON texts but for the first five; NULL: there is none. */
struct parked_said {
    const char *arrival, *origin, *source_id, *reason, *detail;
    const char *evidence, *tags, *data;
    int64_t observed_at;
    int phase;
};
/* The record of one. `follows`: the arrival that it goes on with, or NULL. */
int parked_txn_send(struct txn *t, const char *model, const struct parked_said *s,
                    const char *follows, struct err *e);
/* What the unit of an arrival does to records: its own when it parks, that of the one it goes on
 * with, those of documents that go. */
int job_compose_parked(struct canon_job *j, struct txn *t, const struct parked_said *s,
                       struct err *e);

/* mend.c: on the ledger's thread. */
struct mender *mender_new(struct canon *c, struct queues *q, struct ledger *l, struct world *w);
void mender_stop(struct mender *m);
void mender_free(struct mender *m); /* takes NULL */

#endif
