/* Flag - is a feature on, for whom? Pure: a definition and who asks, in; yes or no, out.
 *
 *     true, false                                for everybody, for nobody
 *     { percent = 20 }                           for a fifth of the keys, always the same ones
 *     { tenants = { "acme" } }                   for these
 *     { labels = { plan = { "pro", "team" } } }  for who has all of these labels, each with one of
 * the values { on = false, percent = 20 }               off, whatever else it says
 *
 * Several in one: on for whom any of them says so. The percentage is by a stable hash of the flag's
 * name and the key, in steps of a hundredth: raising it keeps everybody who was in, and two flags
 * choose independently. */
#ifndef KOAN_BIND_FLAG_H
#define KOAN_BIND_FLAG_H

#include <stdbool.h>

#include "base/json.h"

struct err;

enum { FLAG_NAME_MAX = 128, FLAGS_MAX = 1000 };

struct flag_ask {
    const char *key; /* whom the percentage counts: a customer, a tenant */
    const char *tenant;
    const json_t *labels; /* object of texts; may be NULL */
};

/* Checks all of an object name -> definition; the message names the flag at fault. */
int flags_check(const json_t *flags, struct err *e);
/* `def` has passed the check. */
bool flag_is_on(const char *name, const json_t *def, const struct flag_ask *ask);

#endif
