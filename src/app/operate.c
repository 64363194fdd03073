#include "app/operate.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "app/cli.h"
#include "app/remote.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "codec/url.h"
#include "http/client.h"

enum { OPERATE_PATH_MAX = 4096 };

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
    cli_print_json(c, run);
    const char *state = json_string_value(json_object_get(run, "state"));
    bool whole = state != NULL && strcmp(state, "completed") == 0;
    return whole && operate_number(run, "result.failed") == 0 ? CLI_OK : CLI_ERROR;
}

int operate_told(struct cli *c, const json_t *answer)
{
    bool run = json_object_get(answer, "job") != NULL;
    if (run && cli_flag(c, "background") == NULL)
        return operate_follow(c, json_string_value(json_object_get(answer, "id")));
    cli_print_json(c, answer);
    return json_integer_value(json_path(answer, "counts.failed")) > 0 ? CLI_ERROR : CLI_OK;
}
