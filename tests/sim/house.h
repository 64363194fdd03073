/* House - what those scenarios share in which a node lives several lives on one disk: the machine,
 * a ledger whose files are so small that they are cut, saved and given up all the time, units that
 * are under way, rows that say which of them were applied, and how a life ends:
 *
 *   house_init
 *     house_life:  freeze at some I/O? -> open -> live -> freeze? -> close -> killed, or no power
 *     ...
 *     the scenario's own end: it opens a last time, and looks at what is left
 *   house_fini
 *
 * A scenario has it as the first member of its node, and casts. What is wrong ends the process
 * (sim_fail). */
#ifndef KOAN_TESTS_SIM_HOUSE_H
#define KOAN_TESTS_SIM_HOUSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/list.h"
#include "ledger/domain.h"
#include "ledger/ledger.h"
#include "sim/scenario.h"
#include "support/simdisk.h"
#include "support/simworld.h"

struct house {
    struct sim *sim;
    struct simdisk *disk;
    struct ledger_options options;
    struct ledger *ledger;
    struct db *db;     /* the writer, for looking between events; NULL while it is closed */
    struct list units; /* under way */
};

struct house_files { /* bounds of what the seed decides */
    uint64_t segment_bytes;
    uint64_t snapshot_bytes, snapshot_more; /* between two saved states: so many, and up to more */
    uint64_t snapshot_entries;
    uint64_t keep_bytes; /* of log that is not needed */
    const char *vfs;     /* of a second house beside another: its name; NULL: "sim" */
};
void house_init(struct house *h, uint64_t seed, FILE *trace, const struct house_files *f);
uint64_t house_fini(struct house *h); /* the hash of the trace */

/* The node is not frozen: what it answers, somebody hears. */
bool house_counts(const struct house *h);

struct house_life {
    uint64_t soon, late; /* it freezes within so many I/Os, seldom or mostly */
    void (*open)(struct house *h);
    void (*live)(struct house *h);
    void (*close)(struct house *h);
};
void house_life(struct house *h, const struct house_life *l);
/* The parts of that for scenarios which are no house: before it opens, and when it is closed. */
void house_may_freeze(struct sim *s, uint64_t soon, uint64_t late);
void house_dies(struct sim *s);
/* It was closed, and the power goes. */
void house_power_cut(struct house *h);
/* For `open` and `close`: what is left to do for all. */
void house_open(struct house *h, const struct domain *domains, size_t count);
void house_close(struct house *h);
/* Time passes: up to `ms`, or only a few events. */
void house_pass(struct house *h, uint64_t ms, uint64_t events);

/* ---- units under way ---- */

struct house_unit {
    struct unit unit; /* first */
    struct list node;
};
void house_unit_init(struct house *h, struct house_unit *u, void (*done)(struct unit *u));
/* It was answered, and another is proposed in its place. */
void house_unit_again(struct house *h, struct house_unit *u, void (*done)(struct unit *u));
void house_unit_fini(struct house_unit *u);
/* All of them are answered. */
void house_settle(struct house *h);

/* ---- rows ---- */

/* A domain that counts, by name, how often a unit with such a row was applied. `self` is the house;
 * its hooks but `opened` are free. */
struct domain house_rows(struct house *h);
void house_row(struct txn *t, const char *name);
void house_row_fails(struct txn *t, const char *name); /* it is written, then its unit refused */
int64_t house_times(struct house *h, const char *name);
/* The first column of the first row, 0 when there is none. `text`: ?1, or NULL. */
int64_t house_number(struct house *h, const char *sql, const char *text);

#endif
