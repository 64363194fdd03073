/* Operate - what became of an operators' verb, as the command line tells it. Of many a run does the
 * work (web/docs/queues.md): that is waited for, with its progress on a terminal, unless the
 * command was given --background. */
#ifndef KOAN_APP_OPERATE_H
#define KOAN_APP_OPERATE_H

#include "base/json.h"

struct cli;

/* `answer` is the server's. Prints it, or how the run ended; an exit code: CLI_ERROR when something
 * of it failed. */
int operate_told(struct cli *c, const json_t *answer);

#endif
