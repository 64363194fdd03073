/* What the files of the configuration share.
 *
 *   config.c        loading, layers put together      config_value.c  one value: kind, bounds,
 * words config_rows.c   trees and single settings         config_env.c    environment, credentials,
 * flags config_app.c    the free sections */
#ifndef KOAN_APP_CONFIG_PRIV_H
#define KOAN_APP_CONFIG_PRIV_H

#include "app/settings.h"
#include "base/err.h"

/* One layer of a configuration while it is filled. */
struct config_load {
    struct config *config;
    enum config_layer layer;
    struct buf *faults;
    bool faulty;
};

void config_fault(struct config_load *l, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/* Takes over `origin`. A wrong value is a fault and leaves the one before. */
void config_set(struct config_load *l, enum setting_id id, const char *text, char *origin);
void config_unknown(struct config_load *l, const char *origin, const char *name);
/* What stands in the layers so far, up to the one that is filled. */
const char *config_so_far(const struct config_load *l, enum setting_id id);

/* The value as the setting's kind wants it; the message says what is wrong with it. */
int config_parse(const struct setting *s, const char *text, int64_t *number, struct err *e);
/* Names the nearest right one, or how to list them. */
int config_no_setting(const char *name, struct err *e);

/* The file. */
void config_tree(struct config_load *l, const char *file, const json_t *tree);
/* What config_with() gets. */
void config_rows(struct config_load *l, const json_t *rows);

const char *config_environment(char *const *environment, const char *name);
/* PORT, credentials, KOAN_*: all that counts as the environment. */
void config_from_environment(struct config_load *l, char *const *environment);
/* Flags, and systemd's socket. */
void config_from_flags(struct config_load *l, const struct config_sources *s);

#endif
