/* Setting - what is set while Koan runs, the same for every node: a layer of the configuration that
 * lives in the ledger.
 *
 * The layer is a map of names to JSON values under one revision, which grows by one with each
 * operation that changes something. One operation sets and unsets any number of names, all or none,
 * and may say from which revision it was worked out: another one in between refuses it. A value
 * that is there already, or a name that is not, changes nothing; an operation of only those gives
 * no new revision, so that repeating one is harmless.
 *
 * What names there are and which values they take is not known here, and differs from version to
 * version: whoever proposes a change has checked it, and whoever reads the layer passes over what
 * he does not know, and says so (app/settings.h). That also keeps apply the same on every node.
 *
 * Who set what, when and why is kept for the last SETTING_HISTORY_KEPT changes. Values stand in the
 * ledger as they are: a secret does not belong here.
 *
 * Format: schema/setting-operations.md. Reading needs any connection of the database. */
#ifndef KOAN_SETTING_SETTING_H
#define KOAN_SETTING_SETTING_H

#include <stddef.h>
#include <stdint.h>

#include "base/json.h"

struct cursor;
struct db;
struct domain;
struct err;
struct settings;
struct txn;

enum {
    SETTING_NAMES_MAX = 3000,       /* in the layer, and in one operation */
    SETTING_NAME_BYTES = 200,       /* of a name */
    SETTING_VALUE_BYTES = 64 << 10, /* of a value as JSON */
    SETTING_BYTES_MAX = 1 << 20,    /* of all names and values together */
    SETTING_HISTORY_KEPT = 1000,    /* changes of one name each */
};

#define SETTING_ANY UINT64_MAX /* instead of a revision: whichever there is */

struct settings *settings_new(void);
void settings_free(struct settings *s); /* takes NULL; after the ledger */
/* For ledger_open(). Lives as long as `s`. */
const struct domain *settings_domain(struct settings *s);
/* `changed` is called on the ledger's thread when a change of the layer is committed; it must not
 * block. Before the ledger's loop runs. */
void settings_watch(struct settings *s, void (*changed)(void *arg), void *arg);

/* `changes`: {"log.level": "debug", "app.rate": null}; null unsets. ERR_TOO_LARGE, ERR_INVALID:
 * nothing was added. Applied it is refused with ERR_VERSION_MISMATCH when the layer has another
 * revision than `revision`, with ERR_TOO_LARGE over a limit. */
int setting_txn_change(struct txn *t, uint64_t revision, const json_t *changes, struct err *e);
/* What the operation gave: the revision after it, and how many names it changed. */
int setting_result(struct cursor *result, uint64_t *revision, uint32_t *changed, struct err *e);

struct setting_layer {
    uint64_t revision; /* 0: nothing was ever set */
    json_t *rows; /* name -> {"value", "revision", "by", "at", "reason"}; the caller's to drop */
};
int setting_read(struct db *db, struct setting_layer *out, struct err *e);
/* The last changes, newest first: [{"revision", "name", "value", "by", "at", "reason"}]; a value
 * that is absent was unset. A new reference. */
int setting_history(struct db *db, json_t **out, struct err *e);

#endif
