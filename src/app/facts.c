#include "app/facts.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/time.h"

static bool facts_variable(const char *name)
{
    const char *v = getenv(name);
    return v != NULL && *v != '\0' && strcmp(v, "false") != 0 && strcmp(v, "0") != 0;
}

/* The files that Docker and Podman leave; systemd-nspawn and others say it in the environment. */
static bool facts_container(void)
{
    return access("/.dockerenv", F_OK) == 0 || access("/run/.containerenv", F_OK) == 0 ||
           facts_variable("container") || facts_variable("KUBERNETES_SERVICE_HOST");
}

json_t *facts_env(const char *env, const char *session, int64_t started_ms)
{
    char at[TIME_TEXT];
    time_format(started_ms, at);
    return json_pack("{s:s, s:b, s:b, s:b, s:b, s:s, s:s}", "name", env, "production",
                     strcmp(env, "production") == 0, "container", facts_container(), "kubernetes",
                     facts_variable("KUBERNETES_SERVICE_HOST"), "ci", facts_variable("CI"),
                     "session", session, "started_at", at);
}
