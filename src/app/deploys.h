/* Deploys - those that nobody waits for with an open request: how far they are, and how they ended.
 *
 * `koan deploy` starts one and asks again and again, so it may take hours and the command may be
 * ended and come back. What is known is of this process: after a restart there is nothing to
 * follow, and deploying the same scripts again goes on where a migration was. Any thread. */
#ifndef KOAN_APP_DEPLOYS_H
#define KOAN_APP_DEPLOYS_H

#include "base/json.h"

struct deploys;
struct err;

enum { DEPLOYS_KEPT = 32, DEPLOY_ID_MAX = 32 };

struct deploys *deploys_new(void);
void deploys_free(struct deploys *d); /* takes NULL */
/* A new one; its id in `id`. */
void deploys_begin(struct deploys *d, char id[DEPLOY_ID_MAX]);
/* `answer` (a reference that is taken), or why not. */
void deploys_end(struct deploys *d, const char *id, json_t *answer, const struct err *e);
/* 1: it goes on; 0: `*answer` is a new reference; else how it failed. "last": the one that began
 * last. ERR_NOT_FOUND. */
int deploys_ask(struct deploys *d, const char *id, json_t **answer, struct err *e);

#endif
