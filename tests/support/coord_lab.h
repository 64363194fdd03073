/* Coord lab - the domain in a database of its own. A unit's operations are applied as the ledger
 * would: conditions first, all or nothing, at a log index and a time that the test says. */
#ifndef KOAN_SUPPORT_COORD_LAB_H
#define KOAN_SUPPORT_COORD_LAB_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "coord/coord.h"
#include "ledger/txn.h"

struct coord_lab {
    char dir[256], path[300];
    struct db *db;
    struct coord *coord;
    uint64_t seq;
    int64_t at;
    bool same_entry; /* the next unit is in the entry of the one before */
    struct buf results;
};

void coord_lab_open(struct coord_lab *l);
void coord_lab_close(struct coord_lab *l);
/* Applies and empties `t`; 0, or the code with which the unit failed. */
int coord_lab_do(struct coord_lab *l, struct txn *t, struct err *e);
/* The result of operation `i` of the last unit. */
struct cursor coord_lab_result(struct coord_lab *l, uint32_t i);

/* One operation each. Times in ms; `wait` 0: not. */
int coord_lab_acquire(struct coord_lab *l, const struct coord_ask *ask, struct coord_grant *out,
                      struct err *e);
int coord_lab_release(struct coord_lab *l, const char *name, uint64_t token, const char *id,
                      struct err *e);
int coord_lab_renew(struct coord_lab *l, const char *name, uint64_t token, const char *id,
                    struct err *e);
/* Whether it lapsed. */
bool coord_lab_lapse(struct coord_lab *l, const char *id, uint64_t token);
/* The running state hash is that of the rows. */
void coord_lab_check(struct coord_lab *l);

#endif
