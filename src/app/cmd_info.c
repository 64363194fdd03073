/* koan version, koan config: what this program is and what it is told. */
#include <string.h>

#include "app/cli.h"
#include "app/remote.h"
#include "base/err.h"
#include "base/mem.h"
#include "db/db.h"
#include "http/client.h"

enum { CMD_SHOWN_MAX = 1 << 20 };

static int cmd_version(struct cli *c)
{
    if (!c->json) {
        puts("koan " KOAN_VERSION);
        return CLI_OK;
    }
    AUTO(json_unref)
    json_t *v = json_pack("{s:s, s:i}", "version", KOAN_VERSION, "schema", db_schema_level());
    cli_print_json(c, v);
    return CLI_OK;
}

static int cmd_config_show(struct cli *c)
{
    AUTO(config_freep) struct config *config = NULL;
    int rc = cli_config(c, false, &config);
    if (rc != CLI_OK)
        return rc;
    if (c->json) {
        AUTO(json_unref) json_t *all = config_json(config);
        cli_print_json(c, all);
        return CLI_OK;
    }
    bool origin = cli_flag(c, "origin") != NULL;
    const char *key;
    json_t *v;
    struct cli_table t;
    cli_table_init(&t, origin ? 3 : 2);
    cli_table_cell(&t, "SETTING");
    cli_table_cell(&t, "VALUE");
    if (origin)
        cli_table_cell(&t, "ORIGIN");
    for (int i = 0; i < SET_COUNT; i++) {
        const char *shown = config_shown(config, (enum setting_id)i);
        cli_table_cell(&t, "%s", settings_table[i].name);
        cli_table_cell(&t, "%s", *shown == '\0' ? "-" : shown);
        if (origin)
            cli_table_cell(&t, "%s", config->values[i].origin);
    }
    json_object_foreach(config->origins, key, v)
    {
        AUTO(buf_fini) struct buf shown = BUF_INIT(CMD_SHOWN_MAX);
        config_row_shown_in(config, key, &shown);
        cli_table_cell(&t, "%s", key);
        cli_table_cell(&t, "%s", buf_str(&shown));
        if (origin)
            cli_table_cell(&t, "%s", json_string_value(v));
    }
    cli_table_print(c, &t, 0);
    return CLI_OK;
}

static int cmd_config_reference(struct cli *c)
{
    (void)c;
    AUTO(buf_fini) struct buf b = BUF_INIT(1 << 20);
    settings_markdown(&b);
    fputs(buf_str(&b), stdout);
    return CLI_OK;
}

/* 503 is an answer here, not a failure to get one. */
static int cmd_health_ask(struct cli *c, json_t **out, struct err *e)
{
    AUTO(remote_closep) struct http_client *h = NULL;
    AUTO(http_client_answer_fini) struct http_client_answer a = {0};
    struct http_client_request q = {.method = "GET", .path = "/health"};
    if (remote_open(c, &h, e) != 0 || http_client_do(h, &q, &a, e) != 0)
        return e->code;
    *out = json_read(a.body.data, a.body.len, e);
    if (*out != NULL && json_object_get(*out, "status") != NULL &&
        json_is_string(json_object_get(*out, "status")))
        return 0;
    return a.status == 200 ? err_set(e, ERR_INVALID, "%s is no koan server", remote_url(c))
                           : http_client_problem(&a, e);
}

static void cmd_health_print(struct cli *c, const json_t *o)
{
    static const char *const heads[] = {"PART", "STATE", "DETAIL"};
    struct cli_table t;
    size_t i;
    json_t *v;
    cli_table_head(&t, heads, ARRAY_LEN(heads));
    json_array_foreach(json_object_get(o, "checks"), i, v)
    {
        cli_table_json(&t, json_object_get(v, "name"));
        cli_table_cell(&t, "%s", json_is_true(json_object_get(v, "ok")) ? "ok" : "NO");
        cli_table_json(&t, json_object_get(v, "detail"));
    }
    json_array_foreach(json_object_get(o, "components"), i, v)
    {
        cli_table_json(&t, json_object_get(v, "name"));
        cli_table_json(&t, json_object_get(v, "state"));
        cli_table_json(&t, json_object_get(v, "message"));
    }
    cli_table_print(c, &t, 0);
}

static int cmd_health(struct cli *c)
{
    struct err e = ERR_INIT;
    AUTO(json_unref) json_t *o = NULL;
    if (cmd_health_ask(c, &o, &e) != 0)
        return cli_fail(c, &e);
    const char *status = json_string_value(json_object_get(o, "status"));
    if (c->json) {
        cli_print_json(c, o);
    } else {
        printf("%s, version %s\n", status, json_string_value(json_object_get(o, "version")));
        cmd_health_print(c, o);
    }
    return strcmp(status, "healthy") == 0 ? CLI_OK : CLI_DEGRADED;
}

static const struct cli_flag cmd_config_flags[] = {
    {"origin", NULL, "where each value came from"},
};

const struct cli_command cli_config_show_commands[] = {
    {.name = "config show",
     .args = "",
     .summary = "every setting as it would be in force",
     .settings = CLI_SETTINGS_TAKES,
     .flags = cmd_config_flags,
     .flags_count = ARRAY_LEN(cmd_config_flags),
     .run = cmd_config_show},
    {.name = "config reference",
     .args = "",
     .summary = "all settings as a Markdown table",
     .run = cmd_config_reference},
    {0},
};

const struct cli_command cli_info_commands[] = {
    {.name = "health",
     .args = "",
     .summary = "how a running server is; exit code 3 when it is not healthy",
     .remote = true,
     .run = cmd_health},
    {0},
};

const struct cli_command cli_version_commands[] = {
    {.name = "version", .args = "", .summary = "the version of this program", .run = cmd_version},
    {0},
};
