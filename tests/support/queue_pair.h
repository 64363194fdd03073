/* Queue pair - the core and the model of it side by side: each step is run on both, and what they
 * answer, tell and show is compared. */
#ifndef KOAN_TESTS_SUPPORT_QUEUE_PAIR_H
#define KOAN_TESTS_SUPPORT_QUEUE_PAIR_H

#include <stdbool.h>
#include <stdint.h>

#include "support/queue_steps.h"

struct core;
struct queue_model;

struct queue_pair {
    struct core *core;
    struct queue_model *model;
    uint64_t seq;
    int64_t now;
    uint32_t numbers;               /* of steps: their records may be there */
    uint64_t unit_hash, entry_hash; /* of the core, to come back to */
    bool thorough;                  /* all is compared after each step */
    char wrong[1024];               /* "" while they agree */
};

/* Both empty, with the tenants and lanes of the steps named, in an entry. */
void queue_pair_init(struct queue_pair *p);
void queue_pair_fini(struct queue_pair *p);
/* False: they differ, `wrong` says in what. */
bool queue_pair_step(struct queue_pair *p, const struct queue_step *s);
/* All views, counters, lists and times. */
bool queue_pair_same(struct queue_pair *p);

#endif
