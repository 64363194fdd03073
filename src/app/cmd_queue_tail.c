/* koan queue tail: what happens in a queue, as it happens. */
#include <string.h>

#include "app/cli.h"
#include "app/remote.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "codec/url.h"
#include "http/client.h"

enum { TAIL_PATH_MAX = 4096 };

static const char *tail_text(const json_t *o, const char *name)
{
    const char *text = json_string_value(json_object_get(o, name));
    return text != NULL ? text : "-";
}

static const char *tail_color(const struct cli *c, const char *what)
{
    if (!c->color)
        return "";
    return strcmp(what, "discarded") == 0 || strcmp(what, "lost") == 0 ? "\033[31m"
           : strcmp(what, "completed") == 0                            ? "\033[32m"
                                                                       : "";
}

static void tail_print(const struct cli *c, const json_t *o)
{
    const char *what = tail_text(o, "what"), *color = tail_color(c, what);
    const json_t *count = json_object_get(o, "count");
    if (count != NULL) {
        printf("%-24s  %lld events were too fast to be shown\n", "-",
               (long long)json_integer_value(count));
        return;
    }
    printf("%-24s  %-36s  %s%-10s%s  attempt %lld", tail_text(o, "at"), tail_text(o, "id"), color,
           what, *color != '\0' ? "\033[0m" : "",
           (long long)json_integer_value(json_object_get(o, "attempt")));
    if (json_object_get(o, "reason") != NULL)
        printf("  %s", tail_text(o, "reason"));
    putchar('\n');
}

/* A line of the event stream; what is known of an event is in its data. */
static int tail_line(void *arg, const char *line, size_t n)
{
    const struct cli *c = arg;
    if (n < 6 || memcmp(line, "data: ", 6) != 0)
        return 0;
    AUTO(json_unref) json_t *o = json_read(line + 6, n - 6, NULL);
    if (c->json)
        printf("%.*s\n", (int)(n - 6), line + 6);
    else if (o != NULL)
        tail_print(c, o);
    return fflush(stdout) == 0 ? 0 : ERR_CANCELED;
}

static int cmd_queue_tail(struct cli *c)
{
    struct err e = ERR_INIT;
    AUTO(remote_closep) struct http_client *h = NULL;
    AUTO(buf_fini) struct buf path = BUF_INIT(TAIL_PATH_MAX);
    if (remote_open(c, &h, &e) != 0)
        return cli_fail(c, &e);
    buf_adds(&path, "/api/queues/%2F/");
    url_encode(c->places[0], strlen(c->places[0]), &path);
    buf_adds(&path, "/tail");
    struct http_client_request q = {
        .method = "GET", .path = buf_str(&path), .line = tail_line, .line_arg = c};
    AUTO(http_client_answer_fini) struct http_client_answer a = {.status = 0};
    int rc = http_client_do(h, &q, &a, &e);
    if (rc == 0 && a.status != 200)
        rc = http_client_problem(&a, &e);
    return rc == 0 ? CLI_OK : cli_fail(c, &e);
}

const struct cli_command cli_queue_tail_commands[] = {
    {.name = "queue tail",
     .args = "QUEUE",
     .summary = "what happens in a queue, as it happens",
     .min = 1,
     .max = 1,
     .remote = true,
     .run = cmd_queue_tail},
    {.name = NULL},
};
