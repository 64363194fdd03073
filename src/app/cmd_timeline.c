/* koan timeline: what came of a request. */
#include <string.h>

#include "app/cli.h"
#include "app/remote.h"
#include "base/err.h"
#include "base/mem.h"

static void timeline_row(struct cli_table *t, const json_t *ev)
{
    const char *at = json_string_value(json_object_get(ev, "at"));
    const json_t *status = json_object_get(ev, "status"), *took = json_object_get(ev, "took_ms"),
                 *seq = json_object_get(ev, "seq"), *version = json_object_get(ev, "version");
    const char *detail = json_string_value(json_object_get(ev, "detail"));
    cli_table_cell(t, "%s", at);
    cli_table_json(t, json_object_get(ev, "kind"));
    cli_table_json(t, json_object_get(ev, "name"));
    cli_table_json(t, json_object_get(ev, "subject"));
    if (status != NULL)
        cli_table_cell(t, "%lld%s%s", (long long)json_integer_value(status),
                       detail != NULL ? " " : "", detail != NULL ? detail : "");
    else
        cli_table_cell(t, "%s",
                       detail != NULL                             ? detail
                       : json_is_false(json_object_get(ev, "ok")) ? "failed"
                                                                  : "ok");
    if (version != NULL)
        cli_table_cell(t, "%lld", (long long)json_integer_value(version));
    else
        cli_table_cell(t, "-");
    if (seq != NULL)
        cli_table_cell(t, "%lld", (long long)json_integer_value(seq));
    else
        cli_table_cell(t, "-");
    if (took != NULL)
        cli_table_cell(t, "%.1f", json_number_value(took));
    else
        cli_table_cell(t, "-");
}

static int cmd_timeline(struct cli *c)
{
    static const char *const heads[] = {"AT",     "KIND",    "NAME", "SUBJECT",
                                        "RESULT", "VERSION", "SEQ",  "MS"};
    AUTO(json_unref) json_t *answer = NULL;
    if (strspn(c->places[0], "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") !=
        strlen(c->places[0]))
        return cli_usage(c, "'%s' is no correlation id: 1 to 128 of [A-Za-z0-9._-]", c->places[0]);
    AUTO(mem_freep) char *path = mem_printf("/api/timeline/%s", c->places[0]);
    int rc = remote_show(c, path, &answer);
    if (answer == NULL)
        return rc;
    size_t i;
    json_t *ev;
    struct cli_table t;
    cli_table_head(&t, heads, ARRAY_LEN(heads));
    json_array_foreach(json_object_get(answer, "events"), i, ev)
    {
        timeline_row(&t, ev);
    }
    cli_table_print(c, &t, 1 << 5 | 1 << 6 | 1 << 7);
    if (json_is_true(json_object_get(answer, "cut")))
        fputs("koan: there is more than is shown\n", stderr);
    return CLI_OK;
}

const struct cli_command cli_timeline_commands[] = {
    {.name = "timeline",
     .args = "CORRELATION",
     .summary = "what came of a request: changes, scripts, arrivals, calls, failed messages",
     .min = 1,
     .max = 1,
     .remote = true,
     .run = cmd_timeline},
    {0},
};
