/* The free sections of the configuration: `app`, which scripts read as config.NAME, `flags` and
 * `lanes`. */
#ifndef KOAN_APP_CONFIG_APP_H
#define KOAN_APP_CONFIG_APP_H

#include <stdbool.h>

#include "base/json.h"

struct config;
struct config_load;
struct err;

enum { CONFIG_APP_NAMES_MAX = 1000 };

/* Is it "app.NAME", "flags.NAME" or "lanes.NAME", whatever the name? */
bool config_app_is(const char *key);
/* Where what is in force of such a key stands, and its name there. */
json_t *config_app_section(const struct config *c, const char *key, const char **name);
/* Is it the name of such a section? */
bool config_app_is_section(const char *name);
/* May it have this value? */
int config_app_check(const char *key, const json_t *value, struct err *e);
/* Into the layer that is filled. */
int config_app_put(struct config_load *l, const char *key, const json_t *value, const char *origin,
                   struct err *e);
/* KOAN_APP_<NAME>: a JSON number, true and false are taken as such, all else as text. `variable` is
 * the whole name, for the origin. */
int config_app_env(struct config_load *l, const char *variable, const char *name, const char *text,
                   struct err *e);

#endif
