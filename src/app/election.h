/* Election - which provider serves a seam, by one rule for all of them. Pure.
 *
 *   1. a pin: this one and no other. A name that nobody has, or a provider that was given no
 *      address, is wrong, and the node does not start. One that cannot be reached is waited for.
 *   2. else the one whose address was found: in the environment before anywhere else
 *   3. among several of the same: the higher priority, then the name that comes first
 *   4. else, of those that need no address, the same
 *
 * Who lost is told too, each with its reason. */
#ifndef KOAN_APP_ELECTION_H
#define KOAN_APP_ELECTION_H

#include <stdbool.h>
#include <stddef.h>

#include "base/json.h"

struct err;

enum { ELECTION_CANDIDATES_MAX = 16 };

struct election_candidate {
    const char *name;
    int priority;
    bool needs_address;
    const char *found;   /* where an address was found: "environment KOAN_X"; NULL: nowhere */
    bool in_environment; /* it was there */
};

/* `pin` is a name, or NULL. 0 and *winner; *report (may be NULL) becomes {"seam", "winner",
 * "reason", "losers": [{"name", "reason"}]}, a new reference. ERR_INVALID: the pin is wrong, in
 * words that name `setting`. */
int election_hold(const char *seam, const char *setting, const char *pin,
                  const struct election_candidate *candidates, size_t count, size_t *winner,
                  json_t **report, struct err *e);

#endif
