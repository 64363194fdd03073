/* koan jobs: runs, and what people do about them. */
#include <string.h>
#include <unistd.h>

#include "app/cli.h"
#include "app/cli_show.h"
#include "app/operate.h"
#include "app/remote.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "codec/url.h"

enum {
    CMD_JOBS_PATH_MAX = 64 << 10,
    CMD_JOBS_FILE_MAX = 2 << 20,
    CMD_JOBS_WAIT_S = 20, /* of one request, for the end of a run */
    CMD_JOBS_TAIL_S = 2,
};

/* ---- runs ---- */

static int cmd_jobs_ls(struct cli *c)
{
    static const char *const keys[] = {"job", "state", "limit", "before"};
    static const char *const heads[] = {"ID", "JOB", "STATE", "ATTEMPT", "AT", "WAITS FOR", "ARGS"};
    AUTO(buf_fini) struct buf path = BUF_INIT(CMD_JOBS_PATH_MAX);
    AUTO(json_unref) json_t *answer = NULL;
    buf_adds(&path, "/api/jobs");
    remote_query(c, &path, keys, keys, ARRAY_LEN(keys));
    int rc = remote_show(c, buf_str(&path), &answer);
    if (answer == NULL)
        return rc;
    struct cli_table t;
    size_t i;
    json_t *r;
    cli_table_head(&t, heads, ARRAY_LEN(heads));
    json_array_foreach(json_object_get(answer, "runs"), i, r)
    {
        const json_t *ended = json_object_get(r, "ended_at");
        cli_table_json(&t, json_object_get(r, "id"));
        cli_table_cell(&t, "%s%s", json_string_value(json_object_get(r, "job")),
                       json_object_get(r, "undo_of") != NULL ? " (undo)" : "");
        cli_table_json(&t, json_object_get(r, "state"));
        cli_table_cell(&t, "%lld", (long long)json_integer_value(json_object_get(r, "attempt")));
        cli_table_json(&t, ended != NULL ? ended : json_object_get(r, "run_at"));
        cli_table_waits(&t, r);
        cli_table_json(&t, json_object_get(r, "args"));
    }
    cli_table_print(c, &t, 1 << 3);
    const char *next = json_string_value(json_object_get(answer, "next"));
    if (next != NULL)
        fprintf(stderr, "koan: there are more: --before %s\n", next);
    return CLI_OK;
}

static void run_path(const char *id, struct buf *out)
{
    buf_adds(out, "/api/jobs/");
    url_encode(id, strlen(id), out);
}

static int cmd_jobs_show(struct cli *c)
{
    AUTO(buf_fini) struct buf path = BUF_INIT(CMD_JOBS_PATH_MAX);
    AUTO(json_unref) json_t *answer = NULL;
    run_path(c->places[0], &path);
    int rc = remote_show(c, buf_str(&path), &answer);
    if (answer != NULL)
        cli_show_record(answer);
    return rc;
}

/* ---- submit, and wait ---- */

static bool is_ended(const json_t *run)
{
    const char *state = json_string_value(json_object_get(run, "state"));
    return state == NULL || strcmp(state, "completed") == 0 || strcmp(state, "discarded") == 0 ||
           strcmp(state, "cancelled") == 0;
}

/* Until it has ended; how it did is the exit code. */
static int run_wait(struct cli *c, const char *id)
{
    for (;;) {
        AUTO(buf_fini) struct buf path = BUF_INIT(CMD_JOBS_PATH_MAX);
        AUTO(json_unref) json_t *run = NULL;
        run_path(id, &path);
        buf_addf(&path, "?wait=%ds", CMD_JOBS_WAIT_S);
        int rc = remote_once(c, "GET", buf_str(&path), NULL, NULL, &run);
        if (rc != CLI_OK)
            return rc;
        if (!is_ended(run))
            continue;
        const char *state = json_string_value(json_object_get(run, "state"));
        if (c->json)
            cli_print_json(c, run);
        else
            cli_show_record(run);
        return state != NULL && strcmp(state, "completed") == 0 ? CLI_OK : CLI_ERROR;
    }
}

static int cmd_jobs_run(struct cli *c)
{
    static const char *const flags[] = {"key",    "delay",  "run-at",   "dedup",
                                        "unique", "create", "attempts", "priority"};
    static const char *const names[] = {"key",    "delay",  "run_at",   "dedup",
                                        "unique", "create", "attempts", "priority"};
    struct err e = ERR_INIT;
    AUTO(json_unref) json_t *answer = NULL;
    AUTO(json_unref)
    json_t *args = c->places_count > 1 ? cli_json(c->places[1], CMD_JOBS_FILE_MAX, &e) : NULL;
    if (e.code != 0)
        return cli_fail(c, &e);
    json_t *options = json_object();
    for (size_t i = 0; i < ARRAY_LEN(flags); i++) {
        const char *value = cli_flag(c, flags[i]);
        if (value != NULL)
            json_object_set_new(options, names[i],
                                *value != '\0' ? json_string(value) : json_true());
    }
    AUTO(json_unref)
    json_t *body = json_pack("{s:s, s:o}", "job", c->places[0], "options", options);
    if (args != NULL)
        json_object_set(body, "args", args);
    int rc = remote_once(c, "POST", "/api/jobs", body, NULL, &answer);
    if (rc != CLI_OK)
        return rc;
    const char *id = json_string_value(json_object_get(answer, "id"));
    if (cli_flag(c, "wait") != NULL)
        return run_wait(c, id);
    if (c->json)
        cli_print_json(c, answer);
    else
        printf("%s%s\n", id,
               json_is_true(json_object_get(answer, "duplicate")) ? " was submitted before"
               : json_is_true(json_object_get(answer, "merged"))  ? " waits already"
                                                                  : "");
    return CLI_OK;
}

/* ---- what people do ---- */

static int cmd_jobs_retry(struct cli *c)
{
    const char *state = cli_flag(c, "state"), *job = cli_flag(c, "job");
    AUTO(json_unref) json_t *answer = NULL;
    AUTO(json_unref) json_t *body = json_object();
    if ((state != NULL || job != NULL) == (c->places_count > 0))
        return cli_usage(c, "say which: ids, or --job JOB with --state STATE (discarded)");
    if (c->places_count == 0 && job == NULL)
        return cli_usage(c, "say of which job: --job JOB");
    json_t *ids = json_array();
    for (int i = 0; i < c->places_count; i++)
        json_array_append_new(ids, json_string(c->places[i]));
    if (job == NULL) {
        json_object_set(body, "ids", ids);
    } else {
        json_object_set_new(body, "job", json_string(job));
        json_object_set_new(body, "state", json_string(state != NULL ? state : "discarded"));
    }
    json_decref(ids);
    if (cli_flag(c, "dry-run") != NULL)
        json_object_set_new(body, "dry_run", json_true());
    if (cli_flag(c, "reason") != NULL)
        json_object_set_new(body, "reason", json_string(cli_flag(c, "reason")));
    int rc = remote_once(c, "POST", "/api/jobs/retry", body, NULL, &answer);
    return rc != CLI_OK ? rc : operate_told(c, answer);
}

static int cmd_jobs_cancel(struct cli *c)
{
    int worst = CLI_OK;
    const char *reason = cli_flag(c, "reason");
    AUTO(json_unref) json_t *body = reason != NULL ? json_pack("{s:s}", "reason", reason) : NULL;
    for (int i = 0; i < c->places_count; i++) {
        AUTO(buf_fini) struct buf path = BUF_INIT(CMD_JOBS_PATH_MAX);
        AUTO(json_unref) json_t *answer = NULL;
        run_path(c->places[i], &path);
        buf_adds(&path, "/cancel");
        int rc = remote_once(c, "POST", buf_str(&path), body, NULL, &answer);
        if (rc != CLI_OK)
            worst = rc;
        else if (c->json)
            cli_print_json(c, answer);
        else
            printf("%s: %s\n", c->places[i],
                   strcmp(json_string_value(json_object_get(answer, "outcome")), "asked") == 0
                       ? "executing; it is asked to stop"
                       : "cancelled");
    }
    return worst;
}

/* ---- following a log ---- */

/* What is new of it since `*seen` bytes were, counted with those that are no longer kept. */
static void tail_print(const json_t *run, long long *seen)
{
    const json_t *log = json_object_get(run, "log");
    long long cut = json_integer_value(json_object_get(run, "log_cut"));
    long long n = (long long)json_string_length(log);
    long long from = *seen > cut ? *seen - cut : 0;
    if (log != NULL && from < n)
        fwrite(json_string_value(log) + from, 1, (size_t)(n - from), stdout);
    fflush(stdout);
    *seen = cut + n > *seen ? cut + n : *seen;
}

static int cmd_jobs_tail(struct cli *c)
{
    long long seen = 0;
    for (;;) {
        AUTO(buf_fini) struct buf path = BUF_INIT(CMD_JOBS_PATH_MAX);
        AUTO(json_unref) json_t *run = NULL;
        run_path(c->places[0], &path);
        buf_addf(&path, "?wait=%ds", CMD_JOBS_TAIL_S);
        int rc = remote_once(c, "GET", buf_str(&path), NULL, NULL, &run);
        if (rc != CLI_OK)
            return rc;
        tail_print(run, &seen);
        if (!is_ended(run))
            continue;
        fprintf(stderr, "koan: %s\n", json_string_value(json_object_get(run, "state")));
        return CLI_OK;
    }
}

static const struct cli_flag ls_flags[] = {
    {"job", "JOB", "runs of this job alone"},
    {"state", "STATE",
     "available, scheduled, executing, retryable, completed, discarded, cancelled"},
    {"limit", "N", "at most so many (20)"},
    {"before", "NEXT", "go on where a page has ended"},
    CLI_WATCH_FLAG,
};
static const struct cli_flag run_flags[] = {
    {"wait", NULL, "until it has ended; exit code 0 when it has completed"},
    {"key", "KEY", "one of a key runs at a time, in order"},
    {"delay", "TIME", "not before so long: 10m"},
    {"run-at", "TIME", "not before: 2027-01-31T08:00:00Z"},
    {"priority", "N", "0 to 31, higher first (4)"},
    {"dedup", "TEXT", "a second one with it is the first"},
    {"unique", "TEXT", "one of it waits at a time"},
    {"attempts", "N", "before it is discarded (5)"},
    {"create", NULL, "of a job that no script declares, for workers outside"},
};
static const struct cli_flag retry_flags[] = {
    {"job", "JOB", "of this job, those in a state"},
    {"state", "STATE", "which state (discarded); a run does it when they are over a thousand"},
    {"background", NULL, "do not wait for that run"},
    {"dry-run", NULL, "only show which"},
    {"reason", "TEXT", "why; shown with the run"},
};
static const struct cli_flag cancel_flags[] = {
    {"reason", "TEXT", "why; shown with the run"},
};

#define JOBS(name_, args_, summary_, min_, max_, run_, flags_, count_)                             \
    {                                                                                              \
        .name = "jobs " name_, .args = args_, .summary = summary_, .min = min_, .max = max_,       \
        .remote = true, .run = run_, .flags = flags_, .flags_count = count_                        \
    }
const struct cli_command cli_jobs_commands[] = {
    JOBS("ls", "", "runs of jobs, the newest first", 0, 0, cmd_jobs_ls, ls_flags,
         ARRAY_LEN(ls_flags)),
    JOBS("show", "ID", "a run: state, steps, progress, log, errors", 1, 1, cmd_jobs_show,
         cli_watch_flags, 1),
    JOBS("run", "JOB [ARGS]", "submit a run (args: JSON, @FILE or -)", 1, 2, cmd_jobs_run,
         run_flags, ARRAY_LEN(run_flags)),
    JOBS("retry", "[ID]..", "run again, with all attempts", 0, -1, cmd_jobs_retry, retry_flags,
         ARRAY_LEN(retry_flags)),
    JOBS("cancel", "ID..", "cancel runs; those under way are asked to stop", 1, -1, cmd_jobs_cancel,
         cancel_flags, ARRAY_LEN(cancel_flags)),
    JOBS("tail", "ID", "follow the log of a run to its end", 1, 1, cmd_jobs_tail, NULL, 0),
    {0},
};
