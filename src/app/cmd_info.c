/* koan version, koan config: what this program is and what it is told. */
#include <string.h>

#include "app/cli.h"
#include "base/err.h"
#include "base/mem.h"
#include "db/db.h"

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

static json_t *cmd_config_json(const struct config *config)
{
    json_t *all = json_array();
    for (int i = 0; i < SET_COUNT; i++) {
        enum setting_id id = (enum setting_id)i;
        json_array_append_new(
            all, json_pack("{s:s, s:s, s:s, s:s, s:s, s:b, s:s}", "name", settings_table[i].name,
                           "value", config_shown(config, id), "origin", config->values[i].origin,
                           "default", settings_table[i].fallback, "kind",
                           setting_kind_name(settings_table[i].kind), "live",
                           settings_table[i].live, "help", settings_table[i].help));
    }
    return all;
}

static int cmd_config_show(struct cli *c)
{
    AUTO(config_freep) struct config *config = NULL;
    int rc = cli_config(c, false, &config);
    if (rc != CLI_OK)
        return rc;
    if (c->json) {
        AUTO(json_unref) json_t *all = cmd_config_json(config);
        cli_print_json(c, all);
        return CLI_OK;
    }
    bool origin = cli_flag(c, "origin") != NULL;
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

static const struct cli_flag cmd_config_flags[] = {
    {"origin", NULL, "where each value came from"},
};

const struct cli_command cli_info_commands[] = {
    {.name = "config show",
     .args = "",
     .summary = "every setting as it would be in force",
     .settings = true,
     .flags = cmd_config_flags,
     .flags_count = ARRAY_LEN(cmd_config_flags),
     .run = cmd_config_show},
    {.name = "config reference",
     .args = "",
     .summary = "all settings as a Markdown table",
     .run = cmd_config_reference},
    {.name = "version", .args = "", .summary = "the version of this program", .run = cmd_version},
    {0},
};
