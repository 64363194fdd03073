/* koan config set, unset, ls, history; koan apply: settings of a running server. */
#include <string.h>

#include "app/cli.h"
#include "app/config_file.h"
#include "app/remote.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "codec/url.h"

#define CMD_SETTINGS_PATH "/api/cluster/settings"

enum { CMD_CONFIG_PATH_MAX = 4096, CMD_CONFIG_VALUE_MAX = 1 << 20 };

/* ---- what is written on a command line ---- */

/* "on", "off", "20%": what people say of flags. */
static json_t *cmd_flag_value(const char *text)
{
    double percent;
    size_t n = strlen(text);
    if (strcmp(text, "on") == 0 || strcmp(text, "off") == 0)
        return json_boolean(strcmp(text, "on") == 0);
    if (n > 1 && text[n - 1] == '%' && str_to_double(text, n - 1, &percent))
        return json_pack("{s:f}", "percent", percent);
    return NULL;
}

/* A setting is a text; app, flags and lanes take JSON, and app what is no JSON as a text. */
static json_t *cmd_config_value(const char *name, const char *text)
{
    bool flag = str_starts(name, "flags.");
    json_t *v = flag ? cmd_flag_value(text) : NULL;
    if (v == NULL && (flag || str_starts(name, "app.") || str_starts(name, "lanes.")))
        v = json_read(text, strlen(text), NULL);
    return v != NULL ? v : json_string(text);
}

static char *cmd_config_path(const char *name)
{
    struct buf path = BUF_INIT(CMD_CONFIG_PATH_MAX);
    buf_adds(&path, CMD_SETTINGS_PATH "/");
    url_encode(name, strlen(name), &path);
    return buf_take(&path);
}

/* If-Match and the reason, as header lines. */
static int cmd_config_headers(const struct cli *c, char **out)
{
    const char *revision = cli_flag(c, "revision"), *reason = cli_flag(c, "reason");
    int64_t number;
    if (cli_flag_int(c, "revision", 0, 1, INT64_MAX, &number) != CLI_OK)
        return CLI_USAGE;
    if (reason != NULL && strpbrk(reason, "\r\n") != NULL)
        return cli_usage(c, "--reason is one line");
    *out = mem_printf("%s%s%s%s%s%s", revision != NULL ? "If-Match: \"" : "",
                      revision != NULL ? revision : "", revision != NULL ? "\"\r\n" : "",
                      reason != NULL ? "X-Koan-Reason: " : "", reason != NULL ? reason : "",
                      reason != NULL ? "\r\n" : "");
    return CLI_OK;
}

/* ---- what came of it ---- */

static void cmd_config_text(const json_t *v, struct buf *out)
{
    if (json_is_string(v))
        buf_adds(out, json_string_value(v));
    else
        json_print(v, out, NULL);
}

static void cmd_config_line(const json_t *change)
{
    AUTO(buf_fini) struct buf from = BUF_INIT(CMD_CONFIG_VALUE_MAX);
    AUTO(buf_fini) struct buf to = BUF_INIT(CMD_CONFIG_VALUE_MAX);
    const json_t *a = json_object_get(change, "from"), *b = json_object_get(change, "to");
    const char *name = json_string_value(json_object_get(change, "name")),
               *state = json_string_value(json_object_get(change, "state"));
    cmd_config_text(a, &from);
    cmd_config_text(b, &to);
    if (json_is_null(a))
        printf("+ %s = %s", name, buf_str(&to));
    else if (json_is_null(b))
        printf("- %s = %s", name, buf_str(&from));
    else
        printf("~ %s = %s, was %s", name, buf_str(&to), buf_str(&from));
    if (state != NULL)
        printf("  (%s)", state);
    putchar('\n');
}

static int cmd_config_told(struct cli *c, const json_t *answer)
{
    size_t i;
    json_t *change;
    const json_t *changes = json_object_get(answer, "changes");
    if (c->json) {
        cli_print_json(c, answer);
        return CLI_OK;
    }
    json_array_foreach(changes, i, change)
    {
        cmd_config_line(change);
    }
    printf("%s, revision %lld\n", json_array_size(changes) > 0 ? "settings" : "nothing to change",
           (long long)json_integer_value(json_object_get(answer, "revision")));
    return CLI_OK;
}

static int cmd_config_send(struct cli *c, const char *method, const char *path, const json_t *body)
{
    AUTO(json_unref) json_t *answer = NULL;
    AUTO(mem_freep) char *headers = NULL;
    int rc = cmd_config_headers(c, &headers);
    if (rc == CLI_OK)
        rc = remote_once(c, method, path, body, headers, &answer);
    return rc == CLI_OK ? cmd_config_told(c, answer) : rc;
}

static int cmd_config_set(struct cli *c)
{
    AUTO(mem_freep) char *path = cmd_config_path(c->places[0]);
    AUTO(json_unref) json_t *body = json_object();
    if (json_object_set_new(body, "value", cmd_config_value(c->places[0], c->places[1])) != 0)
        return cli_usage(c, "the value is not UTF-8");
    return cmd_config_send(c, "PUT", path, body);
}

static int cmd_config_unset(struct cli *c)
{
    AUTO(mem_freep) char *path = cmd_config_path(c->places[0]);
    return cmd_config_send(c, "DELETE", path, NULL);
}

static int cmd_apply(struct cli *c)
{
    struct err e = ERR_INIT;
    json_t *document = NULL;
    if (config_file_read(c->places[0], &document, &e) != 0)
        return cli_fail(c, &e);
    AUTO(json_unref)
    json_t *body =
        json_pack("{s:o, s:b, s:b}", "document", document, "prune", cli_flag(c, "prune") != NULL,
                  "dry_run", cli_flag(c, "dry-run") != NULL);
    return cmd_config_send(c, "POST", "/api/cluster/apply", body);
}

/* ---- looking ---- */

static void cmd_config_state(struct cli_table *t, const json_t *setting)
{
    const json_t *pending = json_object_get(setting, "pending");
    if (pending == NULL)
        cli_table_cell(t, "-");
    else
        cli_table_cell(t, "%s after a restart",
                       json_string_value(json_object_get(pending, "value")));
}

static int cmd_config_ls(struct cli *c)
{
    static const char *const heads[] = {"SETTING", "VALUE", "ORIGIN", "PENDING"};
    AUTO(json_unref) json_t *answer = NULL;
    int rc = remote_show(c, CMD_SETTINGS_PATH, &answer);
    if (answer == NULL)
        return rc;
    size_t i;
    json_t *s;
    struct cli_table t;
    const json_t *replicated = json_object_get(answer, "replicated");
    bool only = cli_flag(c, "replicated") != NULL;
    cli_table_head(&t, heads, ARRAY_LEN(heads));
    json_array_foreach(json_object_get(answer, "settings"), i, s)
    {
        const char *name = json_string_value(json_object_get(s, "name")),
                   *value = json_string_value(json_object_get(s, "value"));
        if (only && json_object_get(replicated, name) == NULL)
            continue;
        cli_table_cell(&t, "%s", name);
        cli_table_cell(&t, "%s", *value == '\0' ? "-" : value);
        cli_table_cell(&t, "%s", json_string_value(json_object_get(s, "origin")));
        cmd_config_state(&t, s);
    }
    cli_table_print(c, &t, 0);
    return CLI_OK;
}

static int cmd_config_history(struct cli *c)
{
    static const char *const columns[] = {"revision", "name", "value", "by", "at", "reason"};
    AUTO(json_unref) json_t *answer = NULL;
    int rc = remote_show(c, CMD_SETTINGS_PATH "/history", &answer);
    if (answer == NULL)
        return rc;
    size_t i;
    json_t *row;
    struct cli_table t;
    cli_table_head(&t, columns, ARRAY_LEN(columns));
    json_array_foreach(json_object_get(answer, "history"), i, row)
        cli_table_members(&t, row, columns, ARRAY_LEN(columns));
    cli_table_print(c, &t, 1);
    return CLI_OK;
}

#define CMD_CONFIG_CONDITIONS                                                                      \
    {"revision", "N", "only if the settings have this revision"},                                  \
    {                                                                                              \
        "reason", "TEXT", "kept with the change"                                                   \
    }

static const struct cli_flag cmd_change_flags[] = {CMD_CONFIG_CONDITIONS};
static const struct cli_flag cmd_apply_flags[] = {
    {"dry-run", NULL, "show what would change"},
    {"prune", NULL, "unset what the file does not name"},
    CMD_CONFIG_CONDITIONS,
};
static const struct cli_flag cmd_ls_flags[] = {
    {"replicated", NULL, "only those that were set while it runs"},
};

const struct cli_command cli_config_commands[] = {
    {.name = "config set",
     .args = "NAME VALUE",
     .summary = "set a setting, app.NAME, flags.NAME or lanes.NAME on all nodes, while they run",
     .min = 2,
     .max = 2,
     .remote = true,
     .flags = cmd_change_flags,
     .flags_count = ARRAY_LEN(cmd_change_flags),
     .run = cmd_config_set},
    {.name = "config unset",
     .args = "NAME",
     .summary = "take back what `koan config set` said",
     .min = 1,
     .max = 1,
     .remote = true,
     .flags = cmd_change_flags,
     .flags_count = ARRAY_LEN(cmd_change_flags),
     .run = cmd_config_unset},
    {.name = "config ls",
     .args = "",
     .summary = "the settings in force on a running server, and their origin",
     .remote = true,
     .flags = cmd_ls_flags,
     .flags_count = ARRAY_LEN(cmd_ls_flags),
     .run = cmd_config_ls},
    {.name = "config history",
     .args = "",
     .summary = "who set what, when and why",
     .remote = true,
     .run = cmd_config_history},
    {.name = "apply",
     .args = "FILE",
     .summary = "bring the replicated settings and flags to what a file declares",
     .min = 1,
     .max = 1,
     .remote = true,
     .flags = cmd_apply_flags,
     .flags_count = ARRAY_LEN(cmd_apply_flags),
     .run = cmd_apply},
    {0},
};
