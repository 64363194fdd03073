#include "app/operate.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "app/cli.h"
#include "app/remote.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "codec/url.h"
#include "http/client.h"

enum { OPERATE_PATH_MAX = 4096, OPERATE_FIND_MAX = 64 << 10 };

/* ---- the request ---- */

/* Ids that are places from `first` on, or all in a state that have what is to be found. */
static int operate_places(struct cli *c, int first, json_t *body)
{
    struct err e = ERR_INIT;
    const char *state = cli_flag(c, "state"), *find = cli_flag(c, "find");
    if ((state != NULL) == (c->places_count > first))
        return cli_usage(c, "say which: ids, or --state STATE%s",
                         str_ends(c->command->name, " purge")
                             ? "; --state all is all that waits or has ended"
                             : "");
    if (find != NULL && state == NULL)
        return cli_usage(c, "--find goes with --state; ids say it all");
    if (find != NULL) {
        json_t *what = cli_json(find, OPERATE_FIND_MAX, &e);
        if (what == NULL)
            return cli_fail(c, &e);
        json_object_set_new(body, "find", what);
    }
    if (state != NULL) {
        json_object_set_new(body, "state", json_string(state));
        return CLI_OK;
    }
    json_t *ids = json_array();
    for (int i = first; i < c->places_count; i++)
        json_array_append_new(ids, json_string(c->places[i]));
    json_object_set_new(body, "ids", ids);
    return CLI_OK;
}

int operate_which(struct cli *c, int first, json_t *body)
{
    int rc = operate_places(c, first, body);
    if (rc == CLI_OK && cli_flag(c, "dry-run") != NULL)
        json_object_set_new(body, "dry_run", json_true());
    if (rc == CLI_OK && cli_flag(c, "reason") != NULL)
        json_object_set_new(body, "reason", json_string(cli_flag(c, "reason")));
    return rc;
}

/* ---- its answer ---- */

static long long operate_number(const json_t *run, const char *path)
{
    return (long long)json_integer_value(json_path(run, path));
}

/* "retry: 120000 of 250000 looked at, 119000 found, 3 failed" */
static void operate_progress(const struct cli *c, const json_t *run)
{
    if (c->json || isatty(STDERR_FILENO) != 1)
        return;
    long long failed = operate_number(run, "result.failed");
    long long matched = operate_number(run, "result.matched");
    fprintf(stderr, "\r%s: %lld of %lld looked at, %lld found, %lld failed\033[K",
            strchr(c->command->name, ' ') + 1, operate_number(run, "result.looked_at"),
            operate_number(run, "args.total"), matched, failed);
}

static bool operate_is_over(const json_t *run)
{
    const char *state = json_string_value(json_object_get(run, "state"));
    return state == NULL || strcmp(state, "completed") == 0 || strcmp(state, "cancelled") == 0 ||
           strcmp(state, "discarded") == 0;
}

/* "019b...: completed, 250000 looked at, 119000 retried, 3 failed", and the first that did. */
static void operate_ended(const json_t *run)
{
    static const char *const done[] = {"retried", "cancelled", "moved",
                                       "purged",  "asked",     "failed"};
    const json_t *result = json_object_get(run, "result");
    const char *why = json_string_value(json_path(result, "first_failed.detail"));
    printf("%s: %s, %lld looked at", json_string_value(json_object_get(run, "id")),
           json_string_value(json_object_get(run, "state")),
           operate_number(run, "result.looked_at"));
    if (json_is_true(json_path(run, "args.dry_run")))
        printf(", %lld found", operate_number(run, "result.matched"));
    for (size_t i = 0; i < ARRAY_LEN(done); i++) {
        const json_t *n = json_object_get(result, done[i]);
        if (n != NULL)
            printf(", %lld %s", (long long)json_integer_value(n), done[i]);
    }
    putchar('\n');
    if (why != NULL)
        printf("%s: %s\n", json_string_value(json_path(result, "first_failed.id")), why);
}

/* Until it ends; whoever stops waiting leaves it going on. */
static int operate_follow(struct cli *c, const char *id)
{
    struct err e = ERR_INIT;
    AUTO(remote_closep) struct http_client *h = NULL;
    AUTO(json_unref) json_t *run = NULL;
    AUTO(buf_fini) struct buf path = BUF_INIT(OPERATE_PATH_MAX);
    buf_adds(&path, "/api/jobs/");
    url_encode(id, strlen(id), &path);
    buf_adds(&path, "?wait=1s");
    struct http_client_request q = {.method = "GET", .path = buf_str(&path)};
    if (remote_open(c, &h, &e) != 0)
        return cli_fail(c, &e);
    do {
        json_decref(run);
        run = NULL;
        if (remote_call(h, &q, &run, &e) != 0)
            return cli_fail(c, &e);
        operate_progress(c, run);
    } while (!operate_is_over(run));
    if (!c->json && isatty(STDERR_FILENO) == 1)
        fputc('\n', stderr);
    const char *state = json_string_value(json_object_get(run, "state"));
    if (c->json)
        cli_print_json(c, run);
    else
        operate_ended(run);
    bool whole = state != NULL && strcmp(state, "completed") == 0;
    return whole && operate_number(run, "result.failed") == 0 ? CLI_OK : CLI_ERROR;
}

static void operate_dry(const json_t *answer)
{
    size_t i;
    json_t *id;
    json_array_foreach(json_object_get(answer, "ids"), i, id)
    {
        puts(json_string_value(id));
    }
    printf("%lld would be\n", operate_number(answer, "matched"));
}

/* What went otherwise, one by one; of the rest how many. */
static void operate_results(const json_t *answer)
{
    size_t i, shown = 0;
    json_t *r, *n;
    const char *what;
    json_array_foreach(json_object_get(answer, "results"), i, r)
    {
        const char *id = json_string_value(json_object_get(r, "id"));
        const char *why = json_string_value(json_path(r, "error.detail"));
        const char *outcome = json_string_value(json_object_get(r, "outcome"));
        if (why != NULL)
            printf("%s: %s\n", id != NULL ? id : "-", why);
        else if (outcome != NULL && strcmp(outcome, "asked") == 0)
            printf("%s: executing; it is asked to stop\n", id);
    }
    json_object_foreach(json_object_get(answer, "counts"), what, n)
    {
        if (shown == 0 || json_integer_value(n) > 0)
            printf("%s%lld %s", shown++ > 0 ? ", " : "", (long long)json_integer_value(n), what);
    }
    putchar('\n');
}

int operate_told(struct cli *c, const json_t *answer)
{
    bool run = json_object_get(answer, "job") != NULL;
    if (run && cli_flag(c, "background") == NULL)
        return operate_follow(c, json_string_value(json_object_get(answer, "id")));
    if (c->json)
        cli_print_json(c, answer);
    else if (run)
        printf("the run %s does it; koan jobs show says how far it is\n",
               json_string_value(json_object_get(answer, "id")));
    else if (json_object_get(answer, "dry_run") != NULL)
        operate_dry(answer);
    else
        operate_results(answer);
    return json_integer_value(json_path(answer, "counts.failed")) > 0 ? CLI_ERROR : CLI_OK;
}
