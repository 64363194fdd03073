/* The free sections of the configuration: `app`, which scripts read as config.NAME, and `flags`. */
#ifndef KOAN_APP_CONFIG_APP_H
#define KOAN_APP_CONFIG_APP_H

#include <stdbool.h>

#include "app/settings.h"

struct err;

enum { CONFIG_APP_NAMES_MAX = 1000 };

/* A section of the file. false: it is none of ours. What is wrong with it stands in `e`. */
bool config_app_file(struct config *c, const char *file, const char *section, const json_t *v,
                     struct err *e);
/* KOAN_APP_<NAME>: a JSON number, true and false are taken as such, all else as text. `variable` is
 * the whole name, for the origin. */
int config_app_env(struct config *c, const char *variable, const char *name, const char *text,
                   struct err *e);

#endif
