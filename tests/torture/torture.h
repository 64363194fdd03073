/* torture - a scenario, and every single thing that can go wrong in it.
 *
 * A scenario is the life of a node on the simulated machine: it opens, works, restarts, works and
 * closes. It is run again and again; each time the nth allocation (ours, SQLite's, raft's), read,
 * write or sync fails, the disk is full from the nth KiB on until somebody clears up, or the power
 * goes before the nth change of the disk. Then the machine starts again without faults. What must
 * hold:
 *   - what was acknowledged is there, what was refused is not, what is unknown is whole or not at
 *     all;
 *   - where space came back the node went on by itself, without a restart;
 *   - the node works: more is taken.
 *
 * main.c runs the cases, each in a process of its own, under the sanitizers; machine.c is the node
 * and its faults; heaps.c fails allocations of libraries; *_life.c are the scenarios. */
#ifndef KOAN_TORTURE_TORTURE_H
#define KOAN_TORTURE_TORTURE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "ledger/domain.h"
#include "ledger/ledger.h"
#include "support/simworld.h"

enum { MACHINE_WAIT_MS = 120000, MACHINE_DOMAINS_MAX = 4, MACHINE_TRIES = 4 };

enum fault {
    NO_MEMORY,
    NO_SQLITE_MEMORY,
    NO_RAFT_MEMORY,
    NO_READ,
    NO_WRITE,
    NO_SYNC,
    DISK_FULL,
    POWER_CUT,
    FAULTS
};
extern const char *const fault_names[FAULTS];

struct machine;

/* What a life adds to the ledger of a machine. */
struct machine_parts {
    size_t (*domains)(void *self, struct domain out[]); /* made anew for each opening */
    void (*open)(void *self);                           /* the ledger is; may be NULL */
    void (*closing)(void *self); /* before it closes, also of a dying machine; may be NULL */
    void (*closed)(void *self);  /* what domains() made goes */
};

struct machine {
    struct sim *sim;
    struct ledger_options options;
    struct ledger *ledger; /* NULL: not open */
    struct db *db;
    const struct machine_parts *parts;
    void *self;
    enum fault fault;
    unsigned long nth;
    bool closed, answered, was_full;
    bool kept; /* it died with what a client had asked, which nobody can free any more */
};

/* `born`: the disk of another, which this one begins with; NULL: an empty one. */
void machine_init(struct machine *m, enum fault fault, unsigned long nth, struct sim *born);
void machine_fini(struct machine *m);
int machine_open(struct machine *m, struct err *e);
/* However it stands: open, dying, or not open at all. */
void machine_end(struct machine *m);
void machine_arm(struct machine *m);
bool machine_disarm(struct machine *m); /* whether the fault happened; from now on there is none */
/* Proposes and waits; 0, what refused it, or ERR_TIMEOUT where nobody knows. */
int machine_run(struct machine *m, struct unit *u, struct err *e);
/* Until done(arg), or the machine is no more: false then. Two minutes without either: it fails. */
bool machine_wait(struct machine *m, bool (*done)(void *arg), void *arg, const char *what);
/* Somebody clears up the disk. */
void machine_clear_up(struct machine *m);
/* A refusal may be tried again: what failed fails once, and space comes back. */
bool machine_again(struct machine *m, int rc);
/* What becomes of `step`, which is done again where that may help. */
#define MACHINE_TRY(m, step)                                                                       \
    ({                                                                                             \
        int rc_ = (step);                                                                          \
        for (int i_ = 0; i_ < MACHINE_TRIES && machine_again(m, rc_); i_++)                        \
            rc_ = (step);                                                                          \
        rc_;                                                                                       \
    })
/* True: it was done; false: nobody knows, and the life is over. Refused for ever, it fails. */
bool machine_did(int rc, const char *what);

void unit_answered(struct unit *u); /* for unit_init() */

/* Ends the case: what must hold does not. */
_Noreturn void fail(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* A scenario. make() gets a machine that is not open yet. */
struct life {
    const char *name;
    bool first_start; /* it begins with an empty disk; else with that of a node that closed well */
    unsigned sqlite_step; /* of SQLite's allocations each so many-th fails; 0: each */
    void *(*make)(struct machine *m);
    bool (*live)(void *self); /* false: it came to an untimely end */
    void (*reopened)(
        void *self);           /* without faults, the machine is open: what it tells and stored */
    void (*works)(void *self); /* it takes more */
    void (*free)(void *self);
};
extern const struct life first_life, entity_life, canon_life, hot_life;

/* The nth allocation of the library fails; 0: none does. */
void heaps_install(void);
void heap_sqlite_fail(unsigned long nth);
void heap_raft_fail(unsigned long nth);
bool heap_has_failed(void);

#endif
