/* The remote layer of the configuration in a node: who serves it, and what depends on it.
 *
 * A node that was told to use a source of which it has nothing, neither an answer nor a copy of an
 * earlier one, waits: its probes answer and say why, scripts and requests wait. Serving with the
 * settings below would be something weaker in the place of what was asked for. */
#include <string.h>

#include "api/api.h"
#include "app/node_priv.h"
#include "app/remote_config.h"
#include "base/health.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"

static void remote_changed(void *arg, const json_t *rows)
{
    struct node *n = arg;
    (void)rows;
    if (n->remote_started)
        node_take_config(n, node_layers(n, n->config));
}

void node_remote_health(struct node *n)
{
    static const enum health_state states[] = {[REMOTE_NEVER] = HEALTH_UNHEALTHY,
                                               [REMOTE_COPY] = HEALTH_DEGRADED,
                                               [REMOTE_FRESH] = HEALTH_HEALTHY,
                                               [REMOTE_STALE] = HEALTH_DEGRADED,
                                               [REMOTE_REFUSED] = HEALTH_DEGRADED};
    if (n->settings_faults != NULL)
        health_report(n->health, "config",
                      *n->settings_faults != '\0' ? HEALTH_DEGRADED : HEALTH_HEALTHY, 0,
                      n->settings_faults, NULL);
    if (n->remote != NULL)
        health_report(n->health, "config.remote", states[remote_config_state(n->remote)], 0,
                      remote_config_words(n->remote), NULL);
}

static void remote_attempted(void *arg, enum remote_state state, const char *words)
{
    struct node *n = arg;
    bool other = (int)state != n->remote_told;
    if (other && state != REMOTE_FRESH)
        log_warn("config", "remote: %s", words);
    else if (other)
        log_info("config", "remote: %s", words);
    n->remote_told = (int)state;
    node_report_attempt(n, "config.remote", state == REMOTE_FRESH, words);
    node_remote_health(n);
    if (!n->waiting || !n->remote_started)
        return;
    if (state != REMOTE_FRESH) {
        api_set_waiting(n->api, words);
        return;
    }
    n->waiting = false;
    api_set_waiting(n->api, NULL);
    node_lanes_check(n);
    node_deploy(n);
}

static void remote_open(struct node *n)
{
    AUTO(mem_freep) char *copy = mem_printf("%s/remote-config.json", n->data);
    struct remote_options o = {.loop = n->control,
                               .url = config_text(n->config, SET_CONFIG_REMOTE_URL),
                               .token = config_text(n->config, SET_CONFIG_REMOTE_TOKEN),
                               .copy = copy,
                               .interval_ms =
                                   (uint64_t)config_number(n->config, SET_CONFIG_REMOTE_INTERVAL),
                               .changed = remote_changed,
                               .attempted = remote_attempted,
                               .arg = n};
    n->remote_told = -1;
    n->remote = remote_config_open(&o);
    remote_config_fetch_now(n->remote);
}

int node_remote_open(struct node *n, struct err *e)
{
    json_t *report = NULL;
    const char *winner = config_elect_remote(n->config, &report, e);
    if (winner == NULL)
        return e->code;
    node_report_election(n, report);
    if (strcmp(winner, "embedded") == 0)
        return 0;
    remote_open(n);
    n->waiting = remote_config_state(n->remote) == REMOTE_NEVER;
    if (n->waiting && n->work != NULL)
        return err_set(e, ERR_UNAVAILABLE, "config.remote: %s", remote_config_words(n->remote));
    return 0;
}

void node_remote_start(struct node *n)
{
    if (n->remote == NULL)
        return;
    n->remote_started = true;
    if (n->waiting)
        api_set_waiting(n->api, remote_config_words(n->remote));
    remote_config_start(n->remote);
}

void node_remote_close(struct node *n)
{
    remote_config_close(n->remote);
    n->remote = NULL;
}
