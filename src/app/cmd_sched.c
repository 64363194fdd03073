/* koan sched: when jobs are due, what was decided, and what people do about it. */
#include <string.h>

#include "app/cli.h"
#include "app/remote.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "codec/url.h"

enum { CMD_SCHED_PATH_MAX = 4096, CMD_SCHED_NEXT_MAX = 100, CMD_SCHED_TICKS_MAX = 1000 };

static void sched_path(const struct cli *c, struct buf *out, const char *rest)
{
    buf_adds(out, "/api/schedules/");
    url_encode(c->places[0], strlen(c->places[0]), out);
    buf_adds(out, rest);
}

static void sched_number(struct cli_table *t, const json_t *o, const char *name)
{
    cli_table_cell(t, "%lld", (long long)json_integer_value(json_object_get(o, name)));
}

/* ---- what there is ---- */

static int cmd_sched_ls(struct cli *c)
{
    static const char *const heads[] = {"SCHEDULE", "WHEN",    "STATE", "NEXT",
                                        "RUNNING",  "WAITING", "LAST",  "DUE"};
    AUTO(json_unref) json_t *answer = NULL;
    int rc = remote_show(c, "/api/schedules", &answer);
    if (answer == NULL)
        return rc;
    struct cli_table t;
    size_t i;
    json_t *s;
    cli_table_head(&t, heads, ARRAY_LEN(heads));
    json_array_foreach(json_object_get(answer, "items"), i, s)
    {
        cli_table_json(&t, json_object_get(s, "name"));
        cli_table_json(&t, json_object_get(s, "schedule"));
        cli_table_json(&t, json_object_get(s, "state"));
        cli_table_json(&t, json_object_get(s, "next"));
        sched_number(&t, s, "running");
        sched_number(&t, s, "waiting");
        cli_table_json(&t, json_path(s, "last.decision"));
        cli_table_json(&t, json_path(s, "last.due"));
    }
    cli_table_print(c, &t, 1 << 4 | 1 << 5);
    if (json_object_get(answer, "next") != NULL)
        fputs("koan: there are more than are shown\n", stderr);
    return CLI_OK;
}

static void sched_facts(const json_t *s)
{
    static const char *const keys[] = {"schedule", "state", "overlap", "next", "covered"};
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        const char *text = json_string_value(json_object_get(s, keys[i]));
        if (text != NULL)
            printf("%-9s %s\n", keys[i], text);
    }
    const char *by = json_string_value(json_path(s, "pause.by"));
    const char *why = json_string_value(json_path(s, "pause.reason"));
    if (json_object_get(s, "pause") != NULL)
        printf("paused    %s%s%s\n", by != NULL ? by : "by itself",
               why != NULL && *why != '\0' ? ": " : "", why != NULL ? why : "");
    printf("runs      %lld under way, %lld waiting, %lld failed in a row\n",
           (long long)json_integer_value(json_object_get(s, "running")),
           (long long)json_integer_value(json_object_get(s, "waiting")),
           (long long)json_integer_value(json_object_get(s, "failures")));
}

static int cmd_sched_show(struct cli *c)
{
    static const char *const heads[] = {"DUE", "KIND", "DECISION", "REASON", "TICKS", "RUN"};
    static const char *const keys[] = {"due", "kind", "decision", "reason", "ticks", "run"};
    AUTO(buf_fini) struct buf path = BUF_INIT(CMD_SCHED_PATH_MAX);
    AUTO(json_unref) json_t *s = NULL;
    int64_t ticks;
    if (cli_flag_int(c, "ticks", 20, 0, CMD_SCHED_TICKS_MAX, &ticks) != 0)
        return CLI_USAGE;
    sched_path(c, &path, "?next=5");
    buf_addf(&path, "&ticks=%lld", (long long)ticks);
    int rc = remote_show(c, buf_str(&path), &s);
    if (s == NULL)
        return rc;
    sched_facts(s);
    struct cli_table t;
    size_t i;
    json_t *tick;
    cli_table_head(&t, heads, ARRAY_LEN(heads));
    json_array_foreach(json_object_get(s, "ticks"), i, tick)
    {
        cli_table_members(&t, tick, keys, ARRAY_LEN(keys));
    }
    if (json_array_size(json_object_get(s, "ticks")) > 0)
        putchar('\n');
    cli_table_print(c, &t, 1 << 4);
    return CLI_OK;
}

static int cmd_sched_next(struct cli *c)
{
    static const char *const heads[] = {"DUE", "LOCAL TIME", "HOURS", "RUNS AT"};
    AUTO(buf_fini) struct buf path = BUF_INIT(CMD_SCHED_PATH_MAX);
    AUTO(json_unref) json_t *s = NULL;
    int64_t count;
    if (cli_flag_int(c, "count", 10, 1, CMD_SCHED_NEXT_MAX, &count) != 0)
        return CLI_USAGE;
    sched_path(c, &path, "");
    buf_addf(&path, "?ticks=0&next=%lld", (long long)count);
    int rc = remote_show(c, buf_str(&path), &s);
    if (s == NULL)
        return rc;
    struct cli_table t;
    size_t i;
    json_t *due;
    cli_table_head(&t, heads, ARRAY_LEN(heads));
    json_array_foreach(json_object_get(s, "coming"), i, due)
    {
        const char *hours = json_string_value(json_object_get(due, "hours"));
        const json_t *opening = json_object_get(due, "opening");
        bool open = hours != NULL && strcmp(hours, "open") == 0;
        cli_table_json(&t, json_object_get(due, "due"));
        cli_table_json(&t, json_object_get(due, "local"));
        cli_table_json(&t, json_object_get(due, "hours"));
        if (open || opening != NULL)
            cli_table_json(&t, open ? json_object_get(due, "at") : opening);
        else
            cli_table_cell(&t, "skipped");
    }
    cli_table_print(c, &t, 0);
    if (json_array_size(json_object_get(s, "coming")) == 0)
        fputs("koan: its next time depends on the end of the run under way\n", stderr);
    return CLI_OK;
}

/* ---- verbs ---- */

static int sched_post(struct cli *c, const char *verb, const json_t *body, json_t **answer)
{
    AUTO(buf_fini) struct buf path = BUF_INIT(CMD_SCHED_PATH_MAX);
    sched_path(c, &path, verb);
    int rc = remote_once(c, "POST", buf_str(&path), body, NULL, answer);
    if (rc == CLI_OK && c->json)
        cli_print_json(c, *answer);
    return rc;
}

static int cmd_sched_pause(struct cli *c)
{
    const char *reason = cli_flag(c, "reason");
    AUTO(json_unref) json_t *answer = NULL;
    AUTO(json_unref) json_t *body = json_object();
    if (reason != NULL)
        json_object_set_new(body, "reason", json_string(reason));
    int rc = sched_post(c, "/pause", body, &answer);
    if (rc == CLI_OK && !c->json)
        printf("%s is paused\n", c->places[0]);
    return rc;
}

static int cmd_sched_resume(struct cli *c)
{
    AUTO(json_unref) json_t *answer = NULL;
    int rc = sched_post(c, "/resume", NULL, &answer);
    const char *next = json_string_value(json_object_get(answer, "next"));
    if (rc == CLI_OK && !c->json)
        printf("%s goes on%s%s\n", c->places[0], next != NULL ? ", next at " : "",
               next != NULL ? next : "");
    return rc;
}

static void sched_decision(const struct cli *c, const json_t *tick)
{
    const char *run = json_string_value(json_object_get(tick, "run"));
    long long runs = (long long)json_integer_value(json_object_get(tick, "runs"));
    printf("%s: %s, %s", c->places[0], json_string_value(json_object_get(tick, "decision")),
           json_string_value(json_object_get(tick, "reason")));
    if (run != NULL)
        printf("; %s %s", runs > 1 ? "first run" : "run", run);
    if (runs > 1)
        printf(" of %lld", runs);
    putchar('\n');
}

static int cmd_sched_trigger(struct cli *c)
{
    AUTO(json_unref) json_t *answer = NULL;
    int rc = sched_post(c, "/trigger", NULL, &answer);
    if (rc == CLI_OK && !c->json)
        sched_decision(c, answer);
    return rc;
}

static int cmd_sched_backfill(struct cli *c)
{
    AUTO(json_unref) json_t *answer = NULL;
    AUTO(json_unref)
    json_t *body = json_pack("{s:s, s:s}", "from", c->places[1], "to", c->places[2]);
    if (body == NULL)
        return cli_usage(c, "FROM and TO are times like 2027-01-31T08:00:00Z");
    int rc = sched_post(c, "/backfill", body, &answer);
    if (rc == CLI_OK && !c->json)
        sched_decision(c, answer);
    return rc;
}

static const struct cli_flag sched_show_flags[] = {
    {"ticks", "N", "so many decisions, the newest; 20"},
    CLI_WATCH_FLAG,
};
static const struct cli_flag sched_next_flags[] = {
    {"count", "N", "so many times; 10"},
};
static const struct cli_flag sched_pause_flags[] = {
    {"reason", "TEXT", "why; shown with the schedule"},
};

#define SCHED(name_, args_, summary_, places_, run_, flags_, count_)                               \
    {                                                                                              \
        .name = "sched " name_, .args = args_, .summary = summary_, .min = places_,                \
        .max = places_, .remote = true, .run = run_, .flags = flags_, .flags_count = count_        \
    }
const struct cli_command cli_sched_commands[] = {
    SCHED("ls", "", "schedules, when they are due next, and what was decided last", 0, cmd_sched_ls,
          cli_watch_flags, 1),
    SCHED("show", "NAME", "a schedule and its last decisions", 1, cmd_sched_show, sched_show_flags,
          ARRAY_LEN(sched_show_flags)),
    SCHED("next", "NAME", "when it is due", 1, cmd_sched_next, sched_next_flags,
          ARRAY_LEN(sched_next_flags)),
    SCHED("pause", "NAME", "decide nothing more", 1, cmd_sched_pause, sched_pause_flags,
          ARRAY_LEN(sched_pause_flags)),
    SCHED("resume", "NAME", "decide again; what was due meanwhile is skipped", 1, cmd_sched_resume,
          NULL, 0),
    SCHED("trigger", "NAME", "a run now", 1, cmd_sched_trigger, NULL, 0),
    SCHED("backfill", "NAME FROM TO", "a run for each time at which it was due", 3,
          cmd_sched_backfill, NULL, 0),
    {0},
};
