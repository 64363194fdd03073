/* Cli show - one thing in words, where --json was not asked for: what it has, a member a line, and
 * what became of it, by time. */
#ifndef KOAN_APP_CLI_SHOW_H
#define KOAN_APP_CLI_SHOW_H

#include <stddef.h>

#include "base/json.h"

/* The members of an object under their own names, aligned; those of an object in it as a.b. What is
 * null, empty or among `without` is left out. */
void cli_show_members(const json_t *o, const char *const *without, size_t n);
/* A message, or a run of a job: its members, its steps, what became of it, its log. */
void cli_show_record(const json_t *m);
/* The tries of it that failed and what people did with it, by time; nothing when it has no past. */
void cli_show_history(const json_t *m);

#endif
