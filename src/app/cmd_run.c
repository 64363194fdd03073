/* koan run: one script of its own on a data directory, with the set of the script folder around it.
 */
#include <string.h>
#include <unistd.h>

#include "app/cli.h"
#include "app/node.h"
#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "bind/bind.h"
#include "io/file.h"
#include "io/loop.h"
#include "vm/vm.h"

struct cmd_run {
    struct cli *cli;
    struct node *node;
    struct bind_text text;
    char *source;
};

/* On the script's thread; a line is one call of stdio, which locks. */
static void cmd_run_print(struct bind_text *t, const char *line)
{
    (void)t;
    puts(line);
}

static void cmd_run_done(struct bind_text *t)
{
    struct cmd_run *r = LIST_OF(t, struct cmd_run, text);
    int rc = CLI_OK;
    if (t->err.code != 0)
        rc = cli_fail(r->cli, &t->err);
    else if (t->result != NULL)
        cli_print_json(r->cli, t->result);
    json_decref(t->result);
    t->result = NULL;
    node_stop(r->node, rc);
}

static void cmd_run_begin(struct node *n, void *arg)
{
    struct cmd_run *r = arg;
    r->node = n;
    r->text.home = loop_runner(node_control(n));
    r->text.done = cmd_run_done;
    r->text.print = cmd_run_print;
    bind_run_text(node_bind(n), &r->text);
}

static int cmd_run_read(struct cmd_run *r, struct err *e)
{
    const char *path = r->cli->places[0];
    size_t n = 0;
    int rc =
        file_read(strcmp(path, "-") == 0 ? "/dev/stdin" : path, VM_SOURCE_MAX, &r->source, &n, e);
    if (rc != 0)
        return rc;
    r->text.name = path;
    r->text.text = r->source;
    r->text.len = n;
    r->text.args = json_array();
    for (int i = 1; i < r->cli->places_count; i++)
        json_array_append_new(r->text.args, json_string(r->cli->places[i]));
    return 0;
}

static int cmd_run_on(struct cmd_run *r, struct config *config, struct err *e)
{
    struct node *node = NULL;
    struct config_sources unused = {.file = NULL};
    struct node_options options = {
        .config = config, .sources = &unused, .work = cmd_run_begin, .arg = r};
    int rc = node_open(&options, &node, e);
    if (rc != 0)
        return rc;
    rc = node_run(node);
    node_close(node);
    return rc;
}

static int cmd_run(struct cli *c)
{
    struct config *config = NULL;
    struct cmd_run r = {.cli = c};
    struct err e = ERR_INIT;
    int rc = cli_config(c, false, &config);
    if (rc != CLI_OK)
        return rc;
    log_setup(LOG_WARN, isatty(STDERR_FILENO) != 1, STDERR_FILENO);
    if (cmd_run_read(&r, &e) != 0) {
        config_free(config);
    } else {
        rc = cmd_run_on(&r, config, &e);
    }
    if (e.code == ERR_CONFLICT)
        err_context(&e, "a script runs on the data directory itself, so the server must not");
    mem_free(r.source);
    json_decref(r.text.args); /* where the script never began */
    return e.code != 0 ? cli_fail(c, &e) : rc;
}

const struct cli_command cli_run_commands[] = {
    {.name = "run",
     .args = "FILE [ARGS...]",
     .summary = "run one script on the data directory of a stopped server",
     .min = 1,
     .max = -1,
     .settings = CLI_SETTINGS_TAKES,
     .run = cmd_run},
    {0},
};
