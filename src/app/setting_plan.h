/* Setting plan - what a request would change in the replicated settings. Pure.
 *
 * `layer` is name -> {"value", ...} as setting_read() gives it; `changes` is name -> value, null
 * for what is unset, without what is so already. All faults of a request are collected in `faults`,
 * [{"field", "code", "detail"}]; with any of them nothing is to be done. */
#ifndef KOAN_APP_SETTING_PLAN_H
#define KOAN_APP_SETTING_PLAN_H

#include <stdbool.h>

#include "base/json.h"

struct err;

struct setting_plan {
    const json_t *layer;
    json_t *changes, *faults; /* the caller's to drop */
};

/* One name; NULL or JSON null unsets. */
void setting_plan_one(struct setting_plan *p, const char *name, const json_t *value);
/* A merge-patch of the tree that the layer is: {"log": {"level": "debug"}, "app": {"rate": null}}.
 */
void setting_plan_merge(struct setting_plan *p, const json_t *patch);
/* Bring the layer to what a document declares; with `prune` what it does not name is unset. */
void setting_plan_apply(struct setting_plan *p, const json_t *document, bool prune);
/* 0, or ERR_INVALID with the words of the faults. */
int setting_plan_check(const struct setting_plan *p, struct err *e);

#endif
