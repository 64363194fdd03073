/* Ledger kit - a domain with the smallest operations that a ledger can be tested with, and a ledger
 * on a real loop and a real folder.
 *
 * Its table is kit_rows(k, v, n). A unit is built with the kit_*() calls; kit_do() proposes it and
 * turns the loop until the answer is there. */
#ifndef KOAN_SUPPORT_LEDGER_KIT_H
#define KOAN_SUPPORT_LEDGER_KIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ledger/domain.h"
#include "ledger/ledger.h"

struct db;
struct loop;

enum kit_op {
    KIT_PUT = 0xff00, /* u64 key, bytes: insert or replace; checks first, so it is atomic */
    KIT_ADD =
        0xff01, /* u64 key, u64 n: adds to n; ERR_NOT_FOUND without the row; answers the sum */
    KIT_FAIL = 0xff02,  /* u64 key, u32 code: writes the row, then fails with -code */
    KIT_IS = 0xff03,    /* condition: u64 key, u64 n: the row's n is n, else ERR_VERSION_MISMATCH */
    KIT_SEQ = 0xff04,   /* answers u64 seq, u32 unit, u64 at, text tenant */
    KIT_FUTURE = 0xff05 /* known to a "newer program" only */
};

/* What the domain was told, beside its operations. */
struct kit {
    bool newer;                /* knows KIT_FUTURE */
    int fail_times, fail_code; /* the next KIT_PUTs fail so, whatever they hold */
    int undone_units, undone_entries;
    uint64_t committed;
};
struct domain kit_domain(struct kit *k);

void kit_put(struct unit *u, uint64_t key, const void *v, size_t n);
void kit_add(struct unit *u, uint64_t key, uint64_t n);
void kit_fail(struct unit *u, uint64_t key, int code);
void kit_is(struct unit *u, uint64_t key, uint64_t n);
void kit_seq(struct unit *u);

/* -1 when there is no such row. */
int64_t kit_n(struct db *db, uint64_t key);
int64_t kit_rows(struct db *db);

/* A ledger on a loop that the calling thread turns. */
struct kit_node {
    struct kit kit;
    const struct domain *also;  /* another one beside the kit's, or NULL */
    const struct domain *third; /* and one beside that, or NULL */
    struct loop *loop;
    struct ledger *ledger;
    char dir[256];
    struct ledger_options options;
};
void kit_node_init(struct kit_node *n, const char *dir);
int kit_node_open(struct kit_node *n, struct err *e);
void kit_node_close(struct kit_node *n); /* and waits for it */
void kit_node_fini(struct kit_node *n);
/* kit_node_init in a folder of its own; kit_node_fini, and the folder goes; closed and opened. */
void kit_node_fresh(struct kit_node *n);
void kit_node_gone(struct kit_node *n);
void kit_node_restart(struct kit_node *n);
/* Proposes and waits for the answer, which is returned and stays in u. */
int kit_do(struct kit_node *n, struct unit *u);
/* Its runner and callback are the kit's. */
void kit_unit(struct kit_node *n, struct unit *u);
/* A folder of its own below $TMPDIR, removed with all it holds by kit_dir_remove(). */
void kit_dir(char out[256]);
void kit_dir_remove(const char *dir);
/* A reader on the node's database. */
struct db *kit_reader(struct kit_node *n);

#endif
