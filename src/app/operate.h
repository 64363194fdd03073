/* Operate - what became of an operators' verb, as the command line tells it. Of many a run does the
 * work (web/docs/queues.md): that is waited for, with its progress on a terminal, unless the
 * command was given --background. */
#ifndef KOAN_APP_OPERATE_H
#define KOAN_APP_OPERATE_H

#include "base/json.h"

struct cli;

#define OPERATE_FLAGS(state_)                                                                      \
    {"state", "STATE", state_},                                                                    \
        {"find", "JSON", "of these only messages with such values: {\"body.to\": \"ann\"}"},       \
        {"reason", "TEXT", "why; kept in the history of each"},                                    \
        {"dry-run", NULL, "only show which, or how many"},                                         \
    {                                                                                              \
        "background", NULL, "do not wait for the run that does it to more than a thousand"         \
    }
/* What these flags and the places from `first` on say, into the body of the request. CLI_OK, or
 * what main() is to answer. */
int operate_which(struct cli *c, int first, json_t *body);

/* `answer` is the server's. Prints it, or how the run ended; an exit code: CLI_ERROR when something
 * of it failed. */
int operate_told(struct cli *c, const json_t *answer);

#endif
