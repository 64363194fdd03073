#include "app/remote.h"

#include <stdlib.h>
#include <string.h>

#include "app/cli.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "codec/url.h"
#include "http/client.h"
#include "io/file.h"

enum { REMOTE_TOKEN_MAX = 4096, REMOTE_TIMEOUT_MS = 60 * 1000, REMOTE_BODY_MAX = 16 << 20 };

const char *remote_url(const struct cli *c)
{
    const char *url = cli_flag(c, "url");
    if (url == NULL)
        url = getenv("KOAN_URL");
    return url != NULL ? url : "http://127.0.0.1:8090";
}

int remote_open(const struct cli *c, struct http_client **out, struct err *e)
{
    const char *token = cli_flag(c, "token");
    if (token == NULL)
        token = getenv("KOAN_TOKEN");
    AUTO(mem_freep) char *text = NULL;
    const char *path = getenv("KOAN_TOKEN_FILE");
    if (token == NULL && path != NULL) {
        if (file_read(path, REMOTE_TOKEN_MAX, &text, NULL, e) != 0)
            return err_context(e, "KOAN_TOKEN_FILE");
        text[strcspn(text, "\r\n")] = '\0';
        token = text;
    }
    struct http_client_options o = {.url = remote_url(c),
                                    .ca_path = cli_flag(c, "ca"),
                                    .insecure = cli_flag(c, "insecure") != NULL,
                                    .token = token,
                                    .timeout_ms = REMOTE_TIMEOUT_MS};
    return http_client_new(&o, out, e);
}

void remote_closep(struct http_client **h)
{
    http_client_free(*h);
}

int remote_call(struct http_client *h, const struct http_client_request *q, json_t **out,
                struct err *e)
{
    AUTO(http_client_answer_fini) struct http_client_answer a = {0};
    if (out != NULL)
        *out = NULL;
    int rc = http_client_do(h, q, &a, e);
    if (rc != 0)
        return rc;
    if (a.status < 200 || a.status > 299)
        return http_client_problem(&a, e);
    if (out == NULL || a.body.len == 0)
        return 0;
    *out = json_read(a.body.data, a.body.len, e);
    return *out != NULL ? 0 : err_context(e, "the answer of %s", q->path);
}

int remote_once(struct cli *c, const char *method, const char *path, const json_t *body,
                const char *headers, json_t **out)
{
    struct err e = ERR_INIT;
    AUTO(remote_closep) struct http_client *h = NULL;
    AUTO(buf_fini) struct buf text = BUF_INIT(REMOTE_BODY_MAX);
    if (body != NULL && json_print(body, &text, &e) != 0)
        return cli_fail(c, &e);
    struct http_client_request q = {.method = method,
                                    .path = path,
                                    .type = body != NULL ? "application/json" : NULL,
                                    .headers = headers,
                                    .body = body != NULL ? text.data : NULL,
                                    .body_n = text.len};
    if (remote_open(c, &h, &e) != 0 || remote_call(h, &q, out, &e) != 0)
        return cli_fail(c, &e);
    return CLI_OK;
}

int remote_show(struct cli *c, const char *path, json_t **out)
{
    AUTO(json_unref) json_t *answer = NULL;
    int rc = remote_once(c, "GET", path, NULL, NULL, &answer);
    if (rc != CLI_OK)
        return rc;
    if (c->json)
        cli_print_json(c, answer);
    else
        *out = TAKE(answer);
    return CLI_OK;
}

static bool is_switch(const struct cli *c, const char *flag)
{
    const struct cli_command *cmd = c->command;
    for (size_t i = 0; i < cmd->flags_count; i++)
        if (strcmp(cmd->flags[i].name, flag) == 0)
            return cmd->flags[i].what == NULL;
    return false;
}

void remote_query(const struct cli *c, struct buf *path, const char *const *flags,
                  const char *const *names, size_t count)
{
    char before = strchr(buf_str(path), '?') != NULL ? '&' : '?';
    for (size_t i = 0; i < count; i++) {
        const char *value = cli_flag(c, flags[i]);
        if (value == NULL)
            continue;
        if (is_switch(c, flags[i]))
            value = "true";
        buf_addf(path, "%c%s=", before, names[i]);
        url_encode(value, strlen(value), path);
        before = '&';
    }
}
