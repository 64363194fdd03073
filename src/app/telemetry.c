/* The node's trace, from its settings and from the OTEL_ variables, which go before a default; and
 * what its log must not show. */
#include <stdlib.h>
#include <string.h>

#include "app/node_priv.h"
#include "app/settings.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "io/world.h"
#include "trace/trace.h"

enum { TELEMETRY_HEADERS_MAX = 16 << 10, TELEMETRY_SHOWN_MAX = 1 << 20 };

static const char *telemetry_env(const char *name)
{
    const char *v = getenv(name);
    return v != NULL ? v : "";
}

/* The setting if somebody has set it, else the first variable that is there. */
static const char *telemetry_text(const struct node *n, enum setting_id id, const char *first,
                                  const char *second)
{
    if (!config_is_default(n->config, id))
        return config_text(n->config, id);
    const char *v = telemetry_env(first);
    return *v != '\0' || second == NULL ? v : telemetry_env(second);
}

static void telemetry_header(void *arg, const char *name, const char *value)
{
    buf_addf(arg, "%s: %s\r\n", name, value);
}

/* Where spans go: a whole URL. The variables name a base, to which the path is added, or all of
 * it. */
static char *telemetry_endpoint(const struct node *n)
{
    const char *whole = telemetry_env("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT");
    bool set = !config_is_default(n->config, SET_OTEL_ENDPOINT);
    if (strcmp(telemetry_env("OTEL_SDK_DISABLED"), "true") == 0 && !set)
        return mem_strdup("");
    if (*whole != '\0' && !set)
        return mem_strdup(whole);
    const char *base = telemetry_text(n, SET_OTEL_ENDPOINT, "OTEL_EXPORTER_OTLP_ENDPOINT", NULL);
    size_t length = strlen(base);
    if (length == 0)
        return mem_strdup("");
    return mem_printf("%s%sv1/traces", base, base[length - 1] == '/' ? "" : "/");
}

/* The share of the traces, 0..1. */
static double telemetry_sample(const struct node *n)
{
    const char *sampler = telemetry_env("OTEL_TRACES_SAMPLER");
    double share = (double)config_number(n->config, SET_OTEL_SAMPLE) / 100, given;
    if (!config_is_default(n->config, SET_OTEL_SAMPLE) || *sampler == '\0')
        return share;
    const char *arg = telemetry_env("OTEL_TRACES_SAMPLER_ARG");
    if (str_ends(sampler, "always_on"))
        return 1;
    if (str_ends(sampler, "always_off"))
        return 0;
    if (str_ends(sampler, "traceidratio") && str_to_double(arg, strlen(arg), &given) &&
        given >= 0 && given <= 1)
        return given;
    log_warn("trace", "OTEL_TRACES_SAMPLER=%s is not known here, %.0f %% are sampled", sampler,
             share * 100);
    return share;
}

static void telemetry_tell(struct node *n, const struct trace_options *o)
{
    const char *protocol = telemetry_env("OTEL_EXPORTER_OTLP_PROTOCOL");
    if (*o->endpoint == '\0')
        return;
    node_report(n, "telemetry", "%.0f %% of the traces, and what fails, to %s as '%s'",
                o->sample * 100, o->endpoint, o->service);
    if (*protocol != '\0' && strcmp(protocol, "http/json") != 0)
        log_warn("trace",
                 "OTEL_EXPORTER_OTLP_PROTOCOL=%s: spans are sent as http/json, which a "
                 "collector takes on its HTTP port, 4318 as a rule",
                 protocol);
}

/* ---- what no log line may show ---- */

void node_hide_secrets(const struct node *n)
{
    const char *name;
    json_t *v;
    for (int i = 0; i < SET_COUNT; i++) {
        const struct setting_value *s = &n->config->values[i];
        if (settings_table[i].kind == SETTING_SECRET || config_is_from_file(s->origin))
            log_hide(s->text);
    }
    json_object_foreach(n->config->app, name, v)
    {
        AUTO(buf_fini) struct buf shown = BUF_INIT(TELEMETRY_SHOWN_MAX);
        AUTO(mem_freep) char *key = mem_printf("app.%s", name);
        const char *origin = json_string_value(json_object_get(n->config->origins, key));
        config_row_shown(key, v, &shown);
        if (json_is_string(v) &&
            (strcmp(buf_str(&shown), "***") == 0 || config_is_from_file(origin)))
            log_hide(json_string_value(v));
    }
    if (n->access.token != NULL)
        log_hide(n->access.token);
}

/* ---- the trace ---- */

static void telemetry_hide(void *arg, const char *name, const char *value)
{
    (void)arg;
    (void)name;
    log_hide(value);
}

int node_open_trace(struct node *n, struct err *e)
{
    AUTO(mem_freep) char *dir = mem_printf("%s/trace", n->data);
    AUTO(mem_freep) char *endpoint = telemetry_endpoint(n);
    AUTO(buf_fini) struct buf headers = BUF_INIT(TELEMETRY_HEADERS_MAX);
    const char *pairs = telemetry_text(n, SET_OTEL_HEADERS, "OTEL_EXPORTER_OTLP_TRACES_HEADERS",
                                       "OTEL_EXPORTER_OTLP_HEADERS");
    const char *timeout = telemetry_env("OTEL_EXPORTER_OTLP_TIMEOUT");
    uint64_t timeout_ms = 0;
    if (!trace_pairs(pairs, telemetry_header, &headers))
        return err_set(e, ERR_INVALID,
                       "otel.headers: not a list of name=value, separated by commas, "
                       "percent-encoded");
    if (!str_to_u64(timeout, strlen(timeout), &timeout_ms) || timeout_ms > UINT32_MAX)
        timeout_ms = 0;
    trace_pairs(pairs, telemetry_hide, NULL);
    const char *service = telemetry_text(n, SET_OTEL_SERVICE, "OTEL_SERVICE_NAME", NULL);
    struct trace_options o = {.dir = dir,
                              .disk = disk_real(),
                              .node_id = n->id,
                              .version = KOAN_VERSION,
                              .keep_ms = (uint64_t)config_number(n->config, SET_TRACE_KEEP),
                              .bytes_max = (uint64_t)config_number(n->config, SET_TRACE_BYTES),
                              .sample = telemetry_sample(n),
                              .endpoint = endpoint,
                              .headers = buf_str(&headers),
                              .service = *service != '\0' ? service : "koan",
                              .resource = telemetry_env("OTEL_RESOURCE_ATTRIBUTES"),
                              .timeout_ms = (uint32_t)timeout_ms,
                              .health = n->health};
    telemetry_tell(n, &o);
    return trace_open(&o, &n->trace, e);
}
