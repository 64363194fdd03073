#include "app/settings.h"

#include <ctype.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "entity/def.h"

enum { SETTING_HOUR_MS = 3600 * 1000 };

/* clang-format off: a table is read by its columns */
const struct setting settings_table[SET_COUNT] = {
    [SET_DATA] =
        {"data", SETTING_PATH, "koan-data", .flag = "data", .local = true,
         .brief = "folder of everything that is kept",
         .help = "Folder of everything that is kept: log, database, node id. Made when missing."},
    [SET_SCRIPTS] = {"scripts", SETTING_PATH, "", .flag = "scripts", .local = true,
                     .brief = "folder of Lua scripts",
                     .help = "Folder of Lua scripts (or one file) that declare entities and canon "
                             "models. Empty: none."},
    [SET_ENV] = {"env", SETTING_TEXT, "production", .flag = "env", .local = true,
                 .brief = "name of the environment",
                 .help = "Name of the environment. `koan dev` calls it development."},
    [SET_ALLOW_MAGIC] = {"allow_magic_in_production", SETTING_BOOL, "false", .local = true,
                         .brief = "open access in production, too",
                         .help = "Lets conveniences that are meant for development be used in "
                                 "production too: `http.access` `open` on an address that is not "
                                 "loopback."},
    [SET_TOKEN] = {"token", SETTING_SECRET, "", .local = true,
                   .brief = "bearer token that requests must carry",
                   .help = "Bearer token that every request must carry. Empty: none on a loopback "
                           "address; elsewhere one is made "
                           "on first start and kept in the data folder."},
    [SET_HTTP_LISTEN] = {"http.listen", SETTING_ADDRESS, "127.0.0.1:8090", .flag = "listen",
                         .local = true, .brief = "address and port of the API",
                         .help = "Address and port of the API. Anything but a loopback address "
                                 "needs a token. `PORT` changes the port."},
    [SET_HTTP_ACCESS] = {"http.access", SETTING_CHOICE, "auto", .choices = "auto token open",
                         .flag = "access", .local = true, .brief = "whether the token is asked for",
                         .help =
                             "`auto`: a token is needed where one is set or the address is not "
                             "loopback; `token`: always; `open`: "
                             "never, refused in production on an address that is not loopback."},
    [SET_HTTP_TLS_CERT] = {"http.tls_cert", SETTING_PATH, "", .local = true,
                           .brief = "certificate chain (PEM), for https",
                           .help = "PEM file with the certificate chain. With `http.tls_key` the "
                                   "port speaks TLS 1.2 and 1.3 only."},
    [SET_HTTP_TLS_KEY] = {"http.tls_key", SETTING_PATH, "", .local = true,
                          .brief = "its private key (PEM)",
                          .help = "PEM file with the private key."},
    [SET_HTTP_THREADS] = {"http.threads", SETTING_INT, "0", 0, 64,
                          .brief = "threads that serve connections; 0: by the cores",
                          .help =
                              "Threads that serve connections. 0: two, or one on a single core."},
    [SET_HTTP_CONNECTIONS] = {"http.connections", SETTING_INT, "10000", 16, 1000000,
                              .brief = "connections at a time",
                              .help = "Connections at a time, over all threads."},
    [SET_HTTP_STREAM_TIME] = {"http.stream_time", SETTING_DURATION, "5m", 100, SETTING_HOUR_MS,
                              .brief = "how long a stream may hold its snapshot",
                              .help = "How long a stream of records, or a loop of `each` "
                                      "in a script, may hold its snapshot; then the last line of "
                                      "the stream is a cursor to go on with, and the loop goes on "
                                      "with a newer one."},
    [SET_HTTP_RATE] = {"http.rate", SETTING_INT, "0", 0, 1000000, .live = true,
                       .brief = "requests of a caller per http.rate_per; 0: no limit",
                       .help = "Requests that a caller may make in `http.rate_per`; more are "
                               "answered 429. Probes do not count. 0: no limit."},
    [SET_HTTP_RATE_PER] = {"http.rate_per", SETTING_DURATION, "1s", 1000, 24 * SETTING_HOUR_MS,
                           .live = true, .brief = "the time of http.rate",
                           .help = "The time of `http.rate`."},
    [SET_HTTP_RATE_BURST] = {"http.rate_burst", SETTING_INT, "0", 0, 100000, .live = true,
                             .brief = "how many of them at once; 0: as http.rate",
                             .help = "How many of them at once. 0: as many as `http.rate`."},
    [SET_HTTP_RATE_BY] = {"http.rate_by", SETTING_CHOICE, "address", .choices = "address all",
                          .live = true, .brief = "who a caller is",
                          .help = "Who a caller is: an `address` (of IPv6 its network of 64 bits; "
                                  "behind a proxy that is the proxy), or `all` together."},
    [SET_LEDGER_TIMEOUT] =
        {"ledger.timeout", SETTING_DURATION, "10s", 100, SETTING_HOUR_MS, .local = true,
         .brief = "how long a write may wait for its commit",
         .help = "How long a write may wait for its commit; then 504 and its outcome is unknown."},
    [SET_LEDGER_KEEP] = {"ledger.keep", SETTING_DURATION, "7d", 1000, INT64_MAX, .local = true,
                         .brief = "how long log that was applied is kept",
                         .help = "How long log that is already in the database is kept."},
    [SET_LEDGER_KEEP_BYTES] = {"ledger.keep_bytes", SETTING_SIZE, "10GiB", 1 << 20, INT64_MAX,
                               .local = true, .brief = "how much of it at most",
                               .help = "How much of it at most."},
    [SET_LEDGER_SEGMENT_BYTES] = {"ledger.segment_bytes", SETTING_SIZE, "64MiB", 1 << 20, 1 << 30,
                                  .local = true, .brief = "size of one file of the log",
                                  .help = "Size of one file of the log."},
    [SET_LEDGER_SNAPSHOT_BYTES] = {"ledger.snapshot_bytes", SETTING_SIZE, "256MiB", 1 << 20,
                                   INT64_MAX, .local = true,
                                   .brief = "log between two checkpoints, at most",
                                   .help = "Log between two checkpoints of the database, at most."},
    [SET_SCRIPT_THREADS] =
        {"script.threads", SETTING_INT, "0", 0, 64,
         .brief = "threads that run Lua; 0: by the cores",
         .help =
             "Threads that run Lua, each with a VM of its own. 0: two, or one on a single core."},
    [SET_SCRIPT_MEMORY] = {"script.memory", SETTING_SIZE, "64MiB", 4 << 20, INT64_C(4) << 30,
                           .brief = "memory of one Lua VM", .help = "Memory one VM may use."},
    [SET_HTTP_ORIGINS] = {"http.origins", SETTING_TEXT, "",
                          .brief = "origins whose pages may use the API (CORS)",
                          .help = "Origins whose pages may use the API from a browser (CORS), "
                                  "separated by blanks, like `https://app.example.org`. `*`: all. "
                                  "Empty: none but the API's own."},
    [SET_WORK_CONCURRENCY] =
        {"work.concurrency", SETTING_INT, "0", 0, 256, .live = true,
         .brief = "messages and runs at a time; 0: 16 a core",
         .help = "Messages of queues that this node works at once. 0: 16 a core, at most 256."},
    [SET_WORK_LEASE] = {"work.lease", SETTING_DURATION, "30s", 1000, 12 * SETTING_HOUR_MS,
                        .brief = "how long one is this node's without renewal",
                        .help = "How long a message that this node works is its own without "
                                "renewal. What a node had that died is worked again after it."},
    [SET_NODE_LABELS] = {"node.labels", SETTING_LABELS, "", .live = true, .local = true,
                         .brief = "what this node has, for work that needs it",
                         .help = "What this node has, for work that `needs` it: `gpu=2 zone=a "
                                 "ssd`, in a file a table. A number is used up while its work "
                                 "executes. The label `node` is its id."},
    [SET_NODE_ONLY] = {"node.only", SETTING_NAMES, "", .live = true, .local = true,
                       .brief = "work only what needs one of these labels",
                       .help = "Labels of it, separated by blanks, in a file a list: the node "
                               "works only what needs one of them. Empty: all that it can."},
    [SET_HTTP_ALLOW] = {"http.allow", SETTING_TEXT, "", .live = true,
                        .brief = "private addresses that scripts may call",
                        .help = "Private addresses that scripts may call with `http`: host names, "
                                "addresses and networks, separated by blanks, like `db.internal "
                                "10.1.0.0/16`. `*`: all."},
    [SET_ENTITY_KEEP_REMOVED] =
        {"entity.keep_removed", SETTING_DURATION, "30d", 1000, ENTITY_KEEP_MS_MAX, .live = true,
         .brief = "how long what a deploy takes away can come back",
         .help =
             "How long the data of fields and entities that a deploy takes away is kept, out of "
             "sight; declared again within it they have it back."},
    [SET_TRACE_KEEP] = {"trace.keep", SETTING_DURATION, "30d", 60 * 1000, INT64_MAX, .local = true,
                        .brief = "how long timelines are kept",
                        .help = "How long the timeline of a correlation id is kept on this node."},
    [SET_TRACE_BYTES] = {"trace.keep_bytes", SETTING_SIZE, "1GiB", 32 << 20, INT64_C(1) << 35,
                         .local = true, .brief = "how much of them at most",
                         .help = "How much of it at most."},
    [SET_OTEL_ENDPOINT] = {"otel.endpoint", SETTING_TEXT, "", .local = true,
                           .brief = "where spans are sent, OTLP over HTTP",
                           .help = "Where spans go, OTLP over HTTP as JSON: like "
                                   "`http://collector:4318`. Empty: nowhere, unless "
                                   "`OTEL_EXPORTER_OTLP_ENDPOINT` says so."},
    [SET_OTEL_HEADERS] = {"otel.headers", SETTING_SECRET, "", .local = true,
                          .brief = "headers for it: name=value,name=value",
                          .help = "Headers for the collector: `name=value,name=value`, "
                                  "percent-encoded. Else `OTEL_EXPORTER_OTLP_HEADERS`."},
    [SET_OTEL_SERVICE] = {"otel.service", SETTING_TEXT, "", .local = true,
                          .brief = "name of this service there",
                          .help = "Name of this service there. Else `OTEL_SERVICE_NAME`, else "
                                  "koan."},
    [SET_OTEL_SAMPLE] = {"otel.sample", SETTING_INT, "10", 0, 100, .local = true,
                         .brief = "per cent of the traces that are sent",
                         .help = "Per cent of the traces that are sent; what fails always is. "
                                 "Else `OTEL_TRACES_SAMPLER`."},
    [SET_CONFIG_REMOTE] = {"config.remote", SETTING_CHOICE, "auto", .choices = "auto embedded http",
                           .local = true, .brief = "who serves further settings",
                           .help =
                               "Who serves the remote layer of the configuration. `auto`: `http` "
                               "where `config.remote_url` says an address, else none; a name "
                               "pins it."},
    [SET_CONFIG_REMOTE_URL] = {"config.remote_url", SETTING_URL, "", .local = true,
                               .brief = "a JSON document of settings",
                               .help =
                                   "A JSON document with the sections of koan.json, `https`, or "
                                   "`http` on a loopback address."},
    [SET_CONFIG_REMOTE_TOKEN] = {"config.remote_token", SETTING_SECRET, "", .local = true,
                                 .brief = "bearer token for it", .help = "Bearer token for it."},
    [SET_CONFIG_REMOTE_INTERVAL] = {"config.remote_interval", SETTING_DURATION, "30s", 1000,
                                    24 * SETTING_HOUR_MS, .local = true,
                                    .brief = "how often it is asked for",
                                    .help = "How often it is asked for, with its ETag."},
    [SET_LOG_LEVEL] = {"log.level", SETTING_CHOICE, "info", .choices = "debug info warn error",
                       .live = true, .flag = "log-level",
                       .brief = "least severe lines that are written",
                       .help = "The least severe lines that are written to standard error."},
    [SET_LOG_FORMAT] = {"log.format", SETTING_CHOICE, "auto", .choices = "auto json text",
                        .flag = "log-format", .local = true,
                        .brief = "auto: text on a terminal, JSON lines elsewhere",
                        .help = "`auto`: text on a terminal, JSON lines elsewhere."},
    [SET_DRAIN_TIMEOUT] =
        {"drain.timeout", SETTING_DURATION, "25s", 0, SETTING_HOUR_MS, .live = true,
         .brief = "after SIGTERM: how long requests may still take",
         .help = "After SIGTERM: how long requests under way may take before they are cut off."},
};
/* clang-format on */

const char *setting_kind_name(enum setting_kind k)
{
    static const char *const names[] = {
        [SETTING_TEXT] = "text",       [SETTING_PATH] = "path",     [SETTING_SECRET] = "secret",
        [SETTING_ADDRESS] = "address", [SETTING_INT] = "int",       [SETTING_DURATION] = "duration",
        [SETTING_SIZE] = "size",       [SETTING_CHOICE] = "choice", [SETTING_BOOL] = "bool",
        [SETTING_URL] = "url",         [SETTING_LABELS] = "labels", [SETTING_NAMES] = "names",
    };
    return names[k];
}

int setting_find(const char *name)
{
    for (int i = 0; i < SET_COUNT; i++) {
        const struct setting *s = &settings_table[i];
        if (strcmp(s->name, name) == 0 || (s->flag != NULL && strcmp(s->flag, name) == 0))
            return i;
    }
    return -1;
}

bool setting_address(const char *text, char *host, size_t cap, uint16_t *port)
{
    const char *colon = strrchr(text, ':');
    const char *digits = colon == NULL ? text : colon + 1;
    size_t n = colon == NULL ? 0 : (size_t)(colon - text);
    const char *from = text;
    if (n >= 2 && text[0] == '[' && text[n - 1] == ']') {
        from++;
        n -= 2;
    } else if (memchr(text, ':', n) != NULL) {
        return false; /* a bare IPv6 address hides its port */
    }
    uint64_t number = 0;
    if (!str_to_u64(digits, strlen(digits), &number) || number > UINT16_MAX || n >= cap)
        return false;
    if (n == 0) {
        from = "127.0.0.1";
        n = strlen(from);
    }
    if (n >= cap)
        return false;
    memcpy(host, from, n);
    host[n] = '\0';
    *port = (uint16_t)number;
    return true;
}

bool setting_is_loopback(const char *host)
{
    return strncmp(host, "127.", 4) == 0 || strcmp(host, "::1") == 0 ||
           strcmp(host, "localhost") == 0;
}

static void settings_env_name(const char *name, struct buf *out)
{
    buf_adds(out, "KOAN_");
    for (const char *c = name; *c != '\0'; c++)
        buf_addc(out, *c == '.' ? '_' : (char)toupper((unsigned char)*c));
}

void settings_markdown(struct buf *out)
{
    buf_adds(out, "| Setting | Kind | Default | Change | Environment, flag | What |\n"
                  "| --- | --- | --- | --- | --- | --- |\n");
    for (int i = 0; i < SET_COUNT; i++) {
        const struct setting *s = &settings_table[i];
        buf_addf(out, "| `%s` | %s | %s%s%s | %s | `", s->name,
                 s->choices != NULL ? s->choices : setting_kind_name(s->kind),
                 *s->fallback != '\0' ? "`" : "", s->fallback, *s->fallback != '\0' ? "`" : "",
                 s->live    ? s->local ? "live, local" : "live"
                 : s->local ? "restart, local"
                            : "restart");
        settings_env_name(s->name, out);
        buf_addf(out, "` `--%s` | %s |\n", s->flag != NULL ? s->flag : s->name, s->help);
    }
}
