/* The boot report: what runs, what was set and by whom, what was decided and why. Its first lines
 * are shown at start; the whole is kept and asked for over HTTP. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "app/facts.h"
#include "app/node_priv.h"
#include "app/script_calls.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/time.h"
#include "base/uuid.h"

static int64_t report_now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

void node_report_init(struct node *n)
{
    uint8_t random[8] = {0};
    struct uuid_gen gen = {0};
    struct uuid session;
    int64_t now = report_now_ms();
    if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random)
        log_warn("boot", "no randomness for the name of the session");
    uuid_v7(&gen, (uint64_t)now, random, &session);
    uuid_format(&session, n->session);
    n->started_ms = now;
    buf_init(&n->report, NODE_REPORT_MAX);
    n->boot =
        json_pack("{s:{}, s:[], s:[], s:[]}", "modules", "decisions", "elections", "attempts");
}

static void report_line(struct node *n, const char *topic, const char *text)
{
    if (!n->reported)
        buf_addf(&n->report, "%-9s %s\n", topic, text);
}

static char *report_text(const char *fmt, va_list args)
{
    struct buf b = BUF_INIT(NODE_REPORT_MAX);
    buf_vaddf(&b, fmt, args);
    return buf_take(&b);
}

void node_report(struct node *n, const char *topic, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    AUTO(mem_freep) char *text = report_text(fmt, args);
    va_end(args);
    report_line(n, topic, text);
}

void node_report_module(struct node *n, const char *name, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    AUTO(mem_freep) char *text = report_text(fmt, args);
    va_end(args);
    report_line(n, name, text);
    json_object_set_new(json_object_get(n->boot, "modules"), name, json_string(text));
}

void node_report_decision(struct node *n, const char *what, const char *chosen,
                          const char *alternatives, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    AUTO(mem_freep) char *why = report_text(fmt, args);
    va_end(args);
    AUTO(mem_freep) char *line = mem_printf("%s: %s; %s", what, chosen, why);
    json_t *others = json_array();
    for (const char *c = alternatives; *c != '\0';) {
        size_t len = strcspn(c, " ");
        if (strlen(chosen) != len || strncmp(c, chosen, len) != 0)
            json_array_append_new(others, json_stringn(c, len));
        c += len;
        c += strspn(c, " ");
    }
    report_line(n, "decision", line);
    json_array_append_new(json_object_get(n->boot, "decisions"),
                          json_pack("{s:s, s:s, s:s, s:o}", "what", what, "chosen", chosen, "why",
                                    why, "alternatives", others));
}

void node_report_election(struct node *n, json_t *report)
{
    size_t i;
    json_t *loser;
    struct buf line = BUF_INIT(NODE_REPORT_MAX);
    buf_addf(&line, "%s: %s, %s", json_string_value(json_object_get(report, "seam")),
             json_string_value(json_object_get(report, "winner")),
             json_string_value(json_object_get(report, "reason")));
    json_array_foreach(json_object_get(report, "losers"), i, loser)
    {
        buf_addf(&line, "; not %s, %s", json_string_value(json_object_get(loser, "name")),
                 json_string_value(json_object_get(loser, "reason")));
    }
    report_line(n, "election", buf_str(&line));
    buf_fini(&line);
    json_array_append_new(json_object_get(n->boot, "elections"), report);
}

void node_report_attempt(struct node *n, const char *to, bool ok, const char *words)
{
    char at[TIME_TEXT];
    json_t *list = json_object_get(n->boot, "attempts");
    AUTO(mem_freep) char *line = mem_printf("%s: %s", to, words);
    const char *last = json_string_value(
        json_object_get(json_array_get(list, json_array_size(list) - 1), "detail"));
    if (last == NULL || strcmp(last, words) != 0) /* one line for many alike */
        report_line(n, ok ? "reached" : "attempt", line);
    if (json_array_size(list) == NODE_REPORT_ATTEMPTS)
        json_array_remove(list, 0);
    time_format(report_now_ms(), at);
    json_array_append_new(
        list, json_pack("{s:s, s:b, s:s, s:s}", "to", to, "ok", ok, "at", at, "detail", words));
}

void node_report_settings(struct node *n)
{
    const char *key;
    json_t *origin;
    if (n->config->file != NULL)
        node_report(n, "config", "%s", n->config->file);
    for (int i = 0; i < SET_COUNT; i++)
        if (!config_is_default(n->config, (enum setting_id)i))
            node_report(n, "setting", "%s = %s (%s)", settings_table[i].name,
                        config_shown(n->config, (enum setting_id)i), n->config->values[i].origin);
    json_object_foreach(n->config->origins, key, origin)
    {
        AUTO(buf_fini) struct buf shown = BUF_INIT(NODE_REPORT_MAX);
        config_row_shown_in(n->config, key, &shown);
        node_report(n, "setting", "%s = %.200s (%s)", key, buf_str(&shown),
                    json_string_value(origin));
    }
}

static void report_show(bool people, const char *line, size_t n)
{
    if (people)
        fprintf(stderr, "  %.*s\n", (int)n, line);
    else
        log_info("boot", "%.*s", (int)n, line);
}

/* All lines, or as many as may be shown: the first ones, where the rest is, and the last one, which
 * says that the node is ready. */
void node_report_print(struct node *n)
{
    const char *format = config_text(n->config, SET_LOG_FORMAT);
    bool people =
        strcmp(format, "text") == 0 || (strcmp(format, "auto") == 0 && isatty(STDERR_FILENO) == 1);
    AUTO(mem_freep) char *more = mem_printf("more      at /api/cluster/nodes/%s/boot", n->id);
    int total = 1, at = 1;
    n->reported = true;
    if (people)
        fprintf(stderr, "koan %s\n", KOAN_VERSION);
    else
        log_info("boot", "koan version=%s pid=%d", KOAN_VERSION, (int)getpid());
    for (const char *c = buf_str(&n->report); *c != '\0'; c++)
        total += *c == '\n';
    for (const char *c = buf_str(&n->report); *c != '\0'; at++) {
        size_t len = strcspn(c, "\n");
        if (total <= NODE_REPORT_LINES || at < NODE_REPORT_LINES - 2 || at == total - 1)
            report_show(people, c, len);
        else if (at == NODE_REPORT_LINES - 2)
            report_show(people, more, strlen(more));
        c += len + (c[len] == '\n');
    }
}

json_t *node_boot_json(struct node *n)
{
    json_t *v = json_deep_copy(n->boot);
    json_object_set_new(v, "node", json_string(n->id));
    json_object_set_new(v, "version", json_string(KOAN_VERSION));
    json_object_set_new(v, "pid", json_integer(getpid()));
    json_object_set_new(v, "env",
                        facts_env(config_text(n->config, SET_ENV), n->session, n->started_ms));
    json_object_set_new(v, "ready_ms", n->ready_ms > 0 ? json_real(n->ready_ms) : json_null());
    json_object_set_new(v, "file",
                        n->config->file != NULL ? json_string(n->config->file) : json_null());
    json_object_set_new(v, "settings", config_json(n->config));
    json_t *drift = script_drift_now(n);
    json_object_set_new(v, "drift", drift != NULL ? drift : json_array());
    return v;
}
