/* koan queue: what waits in queues, and what people do about it. */
#include <string.h>

#include "app/cli.h"
#include "app/cli_show.h"
#include "app/remote.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "codec/url.h"

enum { CMD_QUEUE_PATH_MAX = 64 << 10, CMD_QUEUE_FILE_MAX = 2 << 20 };

static void queue_path(const struct cli *c, struct buf *out, const char *rest)
{
    buf_adds(out, "/api/queues/%2F/");
    url_encode(c->places[0], strlen(c->places[0]), out);
    buf_adds(out, rest);
}

static void queue_number(struct cli_table *t, const json_t *o, const char *name)
{
    cli_table_cell(t, "%lld", (long long)json_integer_value(json_object_get(o, name)));
}

/* ---- what there is ---- */

static int cmd_queue_ls(struct cli *c)
{
    static const char *const heads[] = {"QUEUE",     "STATE",     "READY",
                                        "UNACKED",   "SCHEDULED", "RETRYABLE",
                                        "DISCARDED", "CONSUMERS", "OLDEST"};
    static const char *const numbers[] = {"messages_ready", "messages_unacknowledged",
                                          "scheduled",      "retryable",
                                          "discarded",      "consumers"};
    AUTO(json_unref) json_t *answer = NULL;
    int rc = remote_show(c, "/api/queues", &answer);
    if (answer == NULL)
        return rc;
    struct cli_table t;
    size_t i;
    json_t *q;
    cli_table_head(&t, heads, ARRAY_LEN(heads));
    json_array_foreach(answer, i, q)
    {
        bool closed = json_is_true(json_object_get(q, "closed"));
        cli_table_json(&t, json_object_get(q, "name"));
        cli_table_cell(&t, "%s%s", json_string_value(json_object_get(q, "state")),
                       closed ? ", closed" : "");
        for (size_t k = 0; k < ARRAY_LEN(numbers); k++)
            queue_number(&t, q, numbers[k]);
        cli_table_cell(&t, "%.1f s", json_number_value(json_object_get(q, "oldest_age_seconds")));
    }
    cli_table_print(c, &t, 0x1fc);
    return CLI_OK;
}

static int cmd_queue_show(struct cli *c)
{
    /* Of RabbitMQ's shape, and always the same or said elsewhere. */
    static const char *const rabbit[] = {
        "vhost",     "type",   "durable",  "auto_delete",
        "exclusive", "paused", "messages", "message_stats.deliver_get"};
    AUTO(buf_fini) struct buf path = BUF_INIT(CMD_QUEUE_PATH_MAX);
    queue_path(c, &path, "");
    if (c->places_count > 1) {
        buf_adds(&path, "/messages/");
        url_encode(c->places[1], strlen(c->places[1]), &path);
    }
    AUTO(json_unref) json_t *answer = NULL;
    int rc = remote_show(c, buf_str(&path), &answer);
    if (answer != NULL && c->places_count > 1)
        cli_show_record(answer);
    else if (answer != NULL)
        cli_show_members(answer, rabbit, ARRAY_LEN(rabbit));
    return rc;
}

/* What a page of one state hides: how many there are in the others. */
static void peek_others(struct cli *c)
{
    static const struct {
        const char *counter, *state;
    } all[] = {{"scheduled", "scheduled"}, {"messages_unacknowledged", "executing"},
               {"retryable", "retryable"}, {"completed", "completed"},
               {"discarded", "discarded"}, {"cancelled", "cancelled"}};
    AUTO(buf_fini) struct buf path = BUF_INIT(CMD_QUEUE_PATH_MAX);
    AUTO(json_unref) json_t *queue = NULL;
    const char *first = NULL;
    queue_path(c, &path, "");
    if (remote_show(c, buf_str(&path), &queue) != CLI_OK || queue == NULL)
        return;
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        long long n = (long long)json_integer_value(json_object_get(queue, all[i].counter));
        if (n == 0)
            continue;
        fprintf(stderr, "%s%lld %s", first == NULL ? "koan: these are available; besides: " : ", ",
                n, all[i].state);
        first = first == NULL ? all[i].state : first;
    }
    if (first != NULL)
        fprintf(stderr, "; --state %s\n", first);
}

static int cmd_queue_peek(struct cli *c)
{
    static const char *const keys[] = {"state", "limit", "after", "find", "history"};
    static const char *const heads[] = {"ID", "STATE", "ATTEMPT", "RUN AT", "WAITS FOR", "BODY"};
    AUTO(buf_fini) struct buf path = BUF_INIT(CMD_QUEUE_PATH_MAX);
    AUTO(json_unref) json_t *answer = NULL;
    queue_path(c, &path, "/messages");
    remote_query(c, &path, keys, keys, ARRAY_LEN(keys));
    int rc = remote_show(c, buf_str(&path), &answer);
    if (answer == NULL)
        return rc;
    struct cli_table t;
    size_t i;
    json_t *m;
    cli_table_head(&t, heads, ARRAY_LEN(heads));
    json_array_foreach(json_object_get(answer, "items"), i, m)
    {
        const json_t *body = json_object_get(m, "body");
        cli_table_json(&t, json_object_get(m, "id"));
        cli_table_json(&t, json_object_get(m, "state"));
        queue_number(&t, m, "attempt");
        cli_table_json(&t, json_object_get(m, "run_at"));
        cli_table_waits(&t, m);
        cli_table_json(&t, body != NULL ? body : json_object_get(m, "type"));
    }
    cli_table_print(c, &t, 1 << 2);
    json_array_foreach(json_object_get(answer, "items"), i, m)
    {
        if (cli_flag(c, "history") == NULL)
            continue;
        printf("\n%s\n", json_string_value(json_object_get(m, "id")));
        cli_show_history(m);
    }
    const char *next = json_string_value(json_object_get(answer, "next"));
    if (next != NULL)
        fprintf(stderr, "koan: there are more: --after %s\n", next);
    if (cli_flag(c, "state") == NULL)
        peek_others(c);
    return CLI_OK;
}

/* ---- sending ---- */

static int cmd_queue_send(struct cli *c)
{
    static const char *const flags[] = {"key",    "delay",    "run-at", "priority", "dedup",
                                        "unique", "attempts", "ttl",    "gate",     "create"};
    static const char *const names[] = {"key",    "delay",    "run_at", "priority", "dedup",
                                        "unique", "attempts", "ttl",    "gate",     "create"};
    struct err e = ERR_INIT;
    AUTO(buf_fini) struct buf path = BUF_INIT(CMD_QUEUE_PATH_MAX);
    AUTO(json_unref) json_t *answer = NULL;
    AUTO(json_unref) json_t *body = cli_json(c->places[1], CMD_QUEUE_FILE_MAX, &e);
    if (body == NULL)
        return cli_fail(c, &e);
    queue_path(c, &path, "/messages");
    remote_query(c, &path, flags, names, ARRAY_LEN(flags));
    int rc = remote_once(c, "POST", buf_str(&path), body, NULL, &answer);
    if (rc != CLI_OK)
        return rc;
    if (c->json)
        cli_print_json(c, answer);
    else
        printf("%s%s\n", json_string_value(json_object_get(answer, "id")),
               json_is_true(json_object_get(answer, "duplicate")) ? " was sent before" : "");
    return CLI_OK;
}

/* ---- what is done with a queue ---- */

static int cmd_queue_pause(struct cli *c)
{
    AUTO(buf_fini) struct buf path = BUF_INIT(CMD_QUEUE_PATH_MAX);
    AUTO(json_unref) json_t *answer = NULL;
    queue_path(c, &path, "/");
    buf_adds(&path, c->command->name + sizeof "queue " - 1);
    int rc = remote_once(c, "POST", buf_str(&path), NULL, NULL, &answer);
    if (rc != CLI_OK)
        return rc;
    if (c->json)
        cli_print_json(c, answer);
    else
        printf("%s is %s\n", c->places[0], json_string_value(json_object_get(answer, "state")));
    return CLI_OK;
}

/* "none" takes away what was said. */
static void edit_said(const struct cli *c, const char *flag, json_t *body)
{
    const char *value = cli_flag(c, flag);
    if (value != NULL)
        json_object_set_new(body, flag,
                            strcmp(value, "none") == 0 ? json_null() : json_string(value));
}

static int cmd_queue_edit(struct cli *c)
{
    struct err e = ERR_INIT;
    AUTO(buf_fini) struct buf path = BUF_INIT(CMD_QUEUE_PATH_MAX);
    AUTO(json_unref) json_t *answer = NULL;
    AUTO(json_unref) json_t *body = json_object();
    if (c->places_count > 2) {
        json_t *new = cli_json(c->places[2], CMD_QUEUE_FILE_MAX, &e);
        if (new == NULL)
            return cli_fail(c, &e);
        json_object_set_new(body, "body", new);
    }
    edit_said(c, "owner", body);
    edit_said(c, "due", body);
    edit_said(c, "snooze", body);
    if (json_object_size(body) == 0)
        return cli_usage(c, "say what is to change: --owner, --due, --snooze, or a new body");
    queue_path(c, &path, "/messages/");
    url_encode(c->places[1], strlen(c->places[1]), &path);
    int rc = remote_once(c, "PATCH", buf_str(&path), body, NULL, &answer);
    if (rc == CLI_OK && c->json)
        cli_print_json(c, answer);
    else if (rc == CLI_OK)
        printf("%s edited\n", json_string_value(json_object_get(answer, "id")));
    return rc;
}

static const struct cli_flag edit_flags[] = {
    {"owner", "NAME", "who sees to it; none: nobody"},
    {"due", "TIME", "done by then, or in so long: 3d; none: at no time"},
    {"snooze", "TIME", "not before then, or so long: 2d; none: now"},
};
static const struct cli_flag peek_flags[] = {
    CLI_WATCH_FLAG,
    {"state", "STATE",
     "available (the default), scheduled, executing, retryable, completed, discarded, cancelled"},
    {"limit", "N", "at most so many (20)"},
    {"after", "NEXT", "go on where a page has ended"},
    {"find", "JSON",
     "only messages with these values: {\"body.to\": \"ann\", \"headers.shop\": \"7\"}"},
    {"history", NULL, "with their errors, and what people did with them"},
};
static const struct cli_flag send_flags[] = {
    {"key", "KEY", "one of a key runs at a time, in order"},
    {"delay", "TIME", "not before so long: 10m"},
    {"run-at", "TIME", "not before: 2027-01-31T08:00:00Z"},
    {"priority", "N", "0 to 31, higher first (4)"},
    {"dedup", "TEXT", "a second one with it is the first"},
    {"unique", "TEXT", "one of it waits at a time"},
    {"attempts", "N", "before it is discarded (5)"},
    {"ttl", "TIME", "discarded when not started by then"},
    {"gate", "GATES", "up to four, with commas"},
    {"create", NULL, "declare the queue when it is not"},
};
#define QUEUE(name_, args_, summary_, min_, max_, run_, flags_, count_)                            \
    {                                                                                              \
        .name = "queue " name_, .args = args_, .summary = summary_, .min = min_, .max = max_,      \
        .remote = true, .run = run_, .flags = flags_, .flags_count = count_                        \
    }
const struct cli_command cli_queue_commands[] = {
    QUEUE("ls", "", "queues and their counters", 0, 0, cmd_queue_ls, cli_watch_flags, 1),
    QUEUE("show", "QUEUE [ID]", "a queue, or one message of it", 1, 2, cmd_queue_show,
          cli_watch_flags, 1),
    QUEUE("peek", "QUEUE", "messages in one state (available), without leasing them", 1, 1,
          cmd_queue_peek, peek_flags, ARRAY_LEN(peek_flags)),
    QUEUE("send", "QUEUE JSON", "send a message (JSON, @FILE or -)", 2, 2, cmd_queue_send,
          send_flags, ARRAY_LEN(send_flags)),
    QUEUE("edit", "QUEUE ID [JSON]",
          "owner, due time and snooze of a message that people work, or its body", 2, 3,
          cmd_queue_edit, edit_flags, ARRAY_LEN(edit_flags)),
    QUEUE("pause", "QUEUE", "grant nothing more", 1, 1, cmd_queue_pause, NULL, 0),
    QUEUE("resume", "QUEUE", "grant again", 1, 1, cmd_queue_pause, NULL, 0),
    {0},
};
