/* koan serve, koan dev. */
#include <string.h>
#include <unistd.h>

#include "app/cli.h"
#include "app/node.h"
#include "app/project.h"
#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"

static void cmd_serve_log(const struct config *config)
{
    enum log_level level = LOG_INFO;
    log_level_parse(config_text(config, SET_LOG_LEVEL), &level);
    const char *format = config_text(config, SET_LOG_FORMAT);
    bool json =
        strcmp(format, "json") == 0 || (strcmp(format, "auto") == 0 && isatty(STDERR_FILENO) != 1);
    log_setup(level, json, STDERR_FILENO);
}

static int cmd_serve_any(struct cli *c, bool dev)
{
    struct config *config = NULL;
    int rc = project_enter(c);
    if (rc == CLI_OK)
        rc = cli_config(c, dev, &config);
    if (rc != CLI_OK)
        return rc;
    cmd_serve_log(config);
    struct config_sources sources = {
        .file = config->file, .flags = c->settings, .flags_count = c->settings_count, .dev = dev};
    struct node *node = NULL;
    struct err e = ERR_INIT;
    struct node_options options = {.config = config, .sources = &sources, .dev = dev};
    AUTO(mem_freep) char *file = config->file != NULL ? mem_strdup(config->file) : NULL;
    sources.file = file;
    if (node_open(&options, &node, &e) != 0)
        return cli_fail(c, &e);
    rc = node_run(node);
    node_close(node);
    log_info("koan", "ended");
    return rc;
}

static int cmd_serve(struct cli *c)
{
    return cmd_serve_any(c, false);
}

static int cmd_dev(struct cli *c)
{
    return cmd_serve_any(c, true);
}

const struct cli_command cli_serve_commands[] = {
    {.name = "serve",
     .args = "[SCRIPTS]",
     .summary = "run the appliance",
     .max = 1,
     .settings = CLI_SETTINGS_SHOWS,
     .run = cmd_serve},
    {.name = "dev",
     .args = "[SCRIPTS]",
     .summary = "run it, and take over every change of the scripts at once",
     .max = 1,
     .settings = CLI_SETTINGS_SHOWS,
     .run = cmd_dev},
    {0},
};
