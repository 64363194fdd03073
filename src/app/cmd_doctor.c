/* koan doctor. */
#include <stdio.h>
#include <unistd.h>

#include "app/cli.h"
#include "app/doctor.h"
#include "app/project.h"
#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"

struct cmd_doctor {
    struct cli *cli;
    json_t *list;
    enum doctor_verdict worst;
};

static const char *const cmd_doctor_names[] = {"ok", "warning", "failed"};

static void cmd_doctor_each(void *arg, const struct doctor_finding *f)
{
    static const char *const colors[] = {"\033[32m", "\033[33m", "\033[31m"};
    struct cmd_doctor *d = arg;
    if (f->verdict > d->worst)
        d->worst = f->verdict;
    json_array_append_new(d->list, json_pack("{s:s, s:s, s:s, s:s, s:b}", "check", f->name,
                                             "verdict", cmd_doctor_names[f->verdict], "found",
                                             f->what, "way", f->way, "fixed", f->fixed));
    if (d->cli->json)
        return;
    const char *word = f->fixed ? "fixed" : cmd_doctor_names[f->verdict];
    printf("%s%-8s%s %-8s %s\n", d->cli->color ? colors[f->verdict] : "", word,
           d->cli->color ? "\033[0m" : "", f->name, f->what);
    if (f->way[0] != '\0')
        printf("%18s%s\n", "", f->way);
}

static int cmd_doctor(struct cli *c)
{
    AUTO(config_freep) struct config *config = NULL;
    int rc = project_enter(c);
    if (rc == CLI_OK)
        rc = cli_config(c, false, &config);
    if (rc != CLI_OK)
        return rc;
    log_setup(LOG_ERROR, isatty(STDERR_FILENO) != 1, STDERR_FILENO);
    AUTO(json_unref) json_t *list = json_array();
    struct cmd_doctor all = {.cli = c, .list = list};
    struct doctor d = {.cli = c,
                       .config = config,
                       .data = config_text(config, SET_DATA),
                       .fix = cli_flag(c, "fix") != NULL};
    doctor_run(&d, cmd_doctor_each, &all);
    if (c->json)
        cli_print_json(c, list);
    return all.worst == DOCTOR_OK ? CLI_OK : all.worst == DOCTOR_WARN ? CLI_DEGRADED : CLI_ERROR;
}

static const struct cli_flag cmd_doctor_flags[] = {
    {"fix", NULL, "mend what is safe to mend: modes of files"},
};

const struct cli_command cli_doctor_commands[] = {
    {.name = "doctor",
     .args = "[DIR]",
     .summary = "what is wrong with a node here, or soon will be, and the way out",
     .max = 1,
     .settings = CLI_SETTINGS_TAKES,
     .remote = true,
     .flags = cmd_doctor_flags,
     .flags_count = ARRAY_LEN(cmd_doctor_flags),
     .run = cmd_doctor},
    {0},
};
