/* Settings that change while the node runs: all of a change, or nothing of it. */
#include <string.h>
#include <unistd.h>

#include "api/api.h"
#include "app/labels.h"
#include "app/node_priv.h"
#include "app/notify.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "http/rate.h"
#include "io/tls.h"

enum { RELOAD_FAULTS_MAX = 64 << 10 };

enum { WORK_A_CORE = 16, WORK_MAX = 256 };

static int reload_concurrency(const struct node *n)
{
    int64_t wanted = config_number(n->config, SET_WORK_CONCURRENCY);
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    if (wanted == 0)
        wanted = WORK_A_CORE * (cores > 1 ? cores : 1);
    return wanted < WORK_MAX ? (int)wanted : WORK_MAX;
}

void node_tell_scripts(struct node *n)
{
    AUTO(json_unref) json_t *labels = NULL;
    AUTO(json_unref) json_t *only = NULL;
    /* Both were checked when they were loaded. */
    labels_read(config_text(n->config, SET_NODE_LABELS), &labels, NULL);
    labels_read_names(config_text(n->config, SET_NODE_ONLY), &only, NULL);
    struct bind_settings s = {.labels = labels,
                              .only = only,
                              .app = n->config->app,
                              .flags = n->config->flags,
                              .http_allow = config_text(n->config, SET_HTTP_ALLOW),
                              .work_concurrency = reload_concurrency(n),
                              .keep_removed_ms = config_number(n->config, SET_ENTITY_KEEP_REMOVED)};
    bind_set_settings(n->bind, &s);
}

void node_tell_api(struct node *n)
{
    struct rate_rule rule = {.rate = (uint32_t)config_number(n->config, SET_HTTP_RATE),
                             .per_ms = (uint64_t)config_number(n->config, SET_HTTP_RATE_PER),
                             .burst = (uint32_t)config_number(n->config, SET_HTTP_RATE_BURST),
                             .together =
                                 strcmp(config_text(n->config, SET_HTTP_RATE_BY), "all") == 0};
    if (!api_set_rate(n->api, &rule))
        log_error("config", "no memory for http.rate: what was in force before stays");
}

/* True where a value has changed that is told again: one that waits is told once. */
static bool reload_tell_pending(const struct node *n, const struct config *fresh,
                                enum setting_id id)
{
    const struct setting_value *now = &fresh->pending[id], *before = &n->config->pending[id];
    if (now->text == NULL || (before->text != NULL && strcmp(before->text, now->text) == 0))
        return false;
    log_warn("config", "%s is %s from %s after a restart", settings_table[id].name,
             config_mask(id, now->text), now->origin);
    return true;
}

static void reload_tell(const struct node *n, const struct config *fresh)
{
    for (int i = 0; i < SET_COUNT; i++) {
        enum setting_id id = (enum setting_id)i;
        if (!reload_tell_pending(n, fresh, id) &&
            strcmp(n->config->values[i].text, fresh->values[i].text) != 0)
            log_info("config", "%s is now %s from %s", settings_table[i].name,
                     config_shown(fresh, id), fresh->values[i].origin);
    }
    if (!json_equal(n->config->app, fresh->app) || !json_equal(n->config->flags, fresh->flags))
        log_info("config", "app and flags are taken over: %zu settings, %zu flags",
                 json_object_size(fresh->app), json_object_size(fresh->flags));
}

void node_config_log(const struct node *n)
{
    enum log_level level = LOG_INFO;
    if (n->work == NULL && log_level_parse(config_text(n->config, SET_LOG_LEVEL), &level))
        log_set_level(level);
}

void node_take_config(struct node *n, struct config *fresh)
{
    config_follow(fresh, n->config);
    reload_tell(n, fresh);
    config_free(n->config);
    n->config = fresh;
    node_hide_secrets(n);
    if (n->bind != NULL)
        node_tell_scripts(n);
    if (n->api != NULL)
        node_tell_api(n);
    node_lanes_check(n);
    node_config_log(n);
}

/* Renewed files of the same names; new connections get what is in them. */
static int reload_certificate(struct node *n, struct buf *faults)
{
    struct err e;
    const char *cert = config_text(n->config, SET_HTTP_TLS_CERT);
    if (n->tls == NULL)
        return 0;
    int rc = tls_server_reload(n->tls, cert, config_text(n->config, SET_HTTP_TLS_KEY), &e);
    if (rc == 0)
        log_info("http", "the certificate was read again from %s", cert);
    else
        buf_addf(faults, "http.tls_cert: %s\n", e.text);
    return rc;
}

void node_reload(struct node *n)
{
    struct config *fresh = NULL;
    AUTO(buf_fini) struct buf faults = BUF_INIT(RELOAD_FAULTS_MAX);
    notify_send("RELOADING=1");
    if (config_load(n->sources, &fresh, &faults) != 0 || reload_certificate(n, &faults) != 0) {
        config_free(fresh);
        if (faults.len > 0)
            faults.data[faults.len - 1] = '\0';
        log_error("config", "reload refused, all settings stay: %s", buf_str(&faults));
    } else {
        node_take_config(n, node_layers(n, fresh));
        config_free(fresh);
    }
    node_deploy(n);
    notify_send("READY=1");
}
