/* Who serves the remote layer of the configuration. */
#include <string.h>

#include "app/election.h"
#include "app/settings.h"
#include "base/str.h"

const char *config_elect_remote(const struct config *c, json_t **report, struct err *e)
{
    const struct setting_value *url = &c->values[SET_CONFIG_REMOTE_URL];
    const char *pin = config_text(c, SET_CONFIG_REMOTE);
    bool found = *url->text != '\0';
    const struct election_candidate candidates[] = {
        {.name = "embedded"},
        {.name = "http",
         .priority = 10,
         .needs_address = true,
         .found = found ? url->origin : NULL,
         .in_environment = found && str_starts(url->origin, "environment ")},
    };
    size_t winner = 0;
    if (election_hold("configuration", "config.remote", strcmp(pin, "auto") == 0 ? NULL : pin,
                      candidates, 2, &winner, report, e) != 0)
        return NULL;
    return candidates[winner].name;
}
