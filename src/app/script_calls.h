/* Script calls - what the HTTP API asks of a node's scripts (api.h says how), and which set it
 * begins with.
 *
 * A set that was deployed into the ledger is in force wherever the ledger is; the folder then is
 * only somebody's copy, and what differs in it is drift: reported, not followed. */
#ifndef KOAN_APP_SCRIPT_CALLS_H
#define KOAN_APP_SCRIPT_CALLS_H

#include <stdbool.h>

#include "base/json.h"

struct api_script_call;
struct bind_text;
struct buf;
struct err;
struct node;
struct scripts;

enum { SCRIPT_RUN_MS = 10 * 1000, SCRIPT_OUTPUT_MAX = 256 << 10 };

void script_call(void *node, struct api_script_call *c);
/* {"ok", "output", "result" or "error"} of a text that has ended; drops its result. */
json_t *script_answer(struct bind_text *t, const struct buf *output);

/* The set of the ledger, if one was ever deployed: then true. Blocks. */
bool script_deployed(struct node *n, struct scripts *out, char name[65], struct err *e);
/* Does the folder differ from what is deployed? Says so in the log and in koan_script_drift.
 * Blocks. */
void script_drift(struct node *n, const struct scripts *deployed, const char *name);

/* The files that differ between the deployed set and the folder, [{file, change, added, removed}],
 * or NULL. Reads both; blocks. */
json_t *script_drift_now(struct node *n);

#endif
