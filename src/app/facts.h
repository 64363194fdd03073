/* Facts - where this process runs: what the boot report calls `env`. */
#ifndef KOAN_APP_FACTS_H
#define KOAN_APP_FACTS_H

#include "base/json.h"

/* {"name", "production", "container", "kubernetes", "ci", "session", "started_at"}, a new
 * reference; `env` is the setting, `session` differs with each start. */
json_t *facts_env(const char *env, const char *session, int64_t started_ms);

#endif
