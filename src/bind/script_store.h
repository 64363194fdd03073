/* Script store - sets of scripts in the ledger: which were deployed, by whom, and which is in
 * force.
 *
 * A deploy is one operation beside the definitions that it changes, in one unit. Every node that
 * applies it has the texts, so a node needs no folder, and going back is a deploy of a set that is
 * still there. Reads need any read-only connection. */
#ifndef KOAN_BIND_SCRIPT_STORE_H
#define KOAN_BIND_SCRIPT_STORE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/json.h"

struct db;
struct domain;
struct err;
struct txn;

enum {
    SCRIPT_SETS_KEPT = 50,
    SCRIPT_SET_BYTES_MAX = 4 << 20, /* of a set that is deployed into the ledger, as JSON */
    SCRIPT_NAME_MAX = 64,
};

enum script_deploy_kind { SCRIPT_DEPLOY = 0, SCRIPT_ROLLBACK = 1 };

/* For ledger_open(). Static. */
const struct domain *script_domain(void);
/* ERR_TOO_LARGE, ERR_INVALID: nothing was added. */
int script_txn_deploy(struct txn *t, const char *hash, const char *name,
                      enum script_deploy_kind kind, const json_t *files, struct err *e);

struct script_live {
    char hash[17], name[SCRIPT_NAME_MAX + 1];
    json_t *files; /* the caller's to drop */
};
/* What is in force. ERR_NOT_FOUND: nothing was ever deployed. */
int script_live(struct db *db, struct script_live *out, struct err *e);
/* The last deployed set of this name or hash (a prefix of at least 4 digits will do). "" is the one
 * before the one in force. ERR_NOT_FOUND, ERR_CONFLICT (several). */
int script_find(struct db *db, const char *name, struct script_live *out, struct err *e);
/* [{seq, hash, name, kind, by, at}], newest first. */
int script_history(struct db *db, json_t **out, struct err *e);

#endif
