/* Cli - what every command of the command line shares: flags, output, exit codes.
 *
 * A command is a row of a table: name, words, flags, function. `cli_parse` sorts its arguments into
 * flags and places; flags every command takes are --json and --help, and all that talk to a server
 * take --url and --token. Results go to standard output, everything else to standard error, so that
 * a pipe gets data only. Colours and progress need a terminal; NO_COLOR is honoured.
 *
 * Main thread only. */
#ifndef KOAN_APP_CLI_H
#define KOAN_APP_CLI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "app/settings.h"
#include "base/json.h"

struct err;

enum cli_exit {
    CLI_OK = 0,
    CLI_ERROR = 1,
    CLI_USAGE = 2,
    CLI_DEGRADED = 3,
    CLI_NO_LEADER = 4,
    CLI_TIMEOUT = 5
};

enum { CLI_ARGS_MAX = 256 };

struct cli_flag {
    const char *name; /* "source-id" */
    const char *what; /* its value in the help, "FIELD"; NULL: a switch */
    const char *help;
};

struct cli;

/* What a command makes of settings. */
enum cli_settings {
    CLI_SETTINGS_NONE,
    CLI_SETTINGS_TAKES, /* each is a flag; its help shows a few, with `--help all` all of them */
    CLI_SETTINGS_SHOWS  /* each is a flag, and its help shows all */
};

struct cli_command {
    const char *name; /* "canon why" */
    const char *args; /* "MODEL ID" */
    const char *summary;
    int min, max; /* places; max -1: any number */
    enum cli_settings settings;
    bool remote; /* takes --url and --token */
    const struct cli_flag *flags;
    size_t flags_count;
    int (*run)(struct cli *c); /* an exit code */
};

struct cli {
    const struct cli_command *command;
    const char *places[CLI_ARGS_MAX];
    int places_count;
    struct config_flag given[CLI_ARGS_MAX]; /* flags of the command */
    size_t given_count;
    struct config_flag settings[CLI_ARGS_MAX];
    size_t settings_count;
    const char *config_file;    /* --config */
    bool json, color, terminal; /* color and terminal: of standard output */
};

int cli_main(int argc, char **argv);

/* In the flags of a command that only looks: --watch runs it again each second, until it is
 * interrupted. On a terminal each run takes the place of the one before; with --json each is a
 * line. A server that cannot be reached is asked again. */
#define CLI_WATCH_FLAG                                                                             \
    {                                                                                              \
        "watch", NULL, "again each second, until interrupted"                                      \
    }
extern const struct cli_flag cli_watch_flags[1]; /* for commands without other flags */
int cli_watch(struct cli *c);                    /* for cli.c */

/* The value of a flag (the last one given), "" for a switch, or NULL. */
const char *cli_flag(const struct cli *c, const char *name);
/* A flag's value as a number within bounds; 0, or a usage error that has been printed. */
int cli_flag_int(const struct cli *c, const char *name, int64_t fallback, int64_t min, int64_t max,
                 int64_t *out);

/* Prints "koan: words" (or {"error": ...} with --json) on standard error; returns the exit code. */
int cli_fail(const struct cli *c, const struct err *e);
int cli_usage(const struct cli *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
int cli_exit_code(int err_code);

/* The settings for commands that have them. On faults they are printed, and the answer is
 * CLI_USAGE. */
int cli_config(const struct cli *c, bool dev, struct config **out);

/* A place that is JSON itself, "@FILE", or "-" for standard input; a file has at most `max` bytes.
 * A new reference, or NULL. */
json_t *cli_json(const char *place, size_t max, struct err *e);
/* JSON to standard output: compact with --json, indented else. */
void cli_print_json(const struct cli *c, const json_t *v);

/* A table with aligned columns. Cells are copied. */
struct cli_table {
    struct buf cells; /* texts, NUL behind each */
    size_t columns, count;
};
void cli_table_init(struct cli_table *t, size_t columns);
/* The same, with its heading. */
void cli_table_head(struct cli_table *t, const char *const *heads, size_t columns);
void cli_table_cell(struct cli_table *t, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
void cli_table_json(struct cli_table *t, const json_t *v); /* a value, shortened */
/* What a message or a run waits for, "gate smtp", or "-". */
void cli_table_waits(struct cli_table *t, const json_t *row);
/* One row: these members of `row`. */
void cli_table_members(struct cli_table *t, const json_t *row, const char *const *names, size_t n);
/* The first row is the heading. Frees it. `right`: bit n set aligns column n to the right. */
void cli_table_print(const struct cli *c, struct cli_table *t, unsigned right);

/* ---- the tables, for what is made of them ---- */

/* The command after `last` (NULL: the first), or NULL; `group` belongs to the walk. */
const struct cli_command *cli_next(const struct cli_command *last, size_t *group);
/* The title that stands over a command met on the walk, or NULL. */
const char *cli_title(const struct cli_command *c, size_t group);

enum cli_flags {
    CLI_FLAGS_OWN = 1,
    CLI_FLAGS_SETTINGS = 2,
    CLI_FLAGS_REMOTE = 4,
    CLI_FLAGS_COMMON = 8,
    CLI_FLAGS_FILE = 16, /* --config, where there are settings */
    CLI_FLAGS_ALL = 31
};

typedef void cli_flag_cb(void *arg, const struct cli_flag *f);
/* Those of the asked for kinds that the command takes. */
void cli_each_flag(const struct cli_command *c, unsigned kinds, cli_flag_cb *each, void *arg);

/* ---- help, for cli.c ---- */

/* `all`: with every setting. */
void cli_help_command(const struct cli_command *c, bool all);
/* All commands, or those of a group. */
void cli_help(const char *only);

/* ---- commands, each file has its own ---- */
extern const struct cli_command cli_serve_commands[];
extern const struct cli_command cli_run_commands[];
extern const struct cli_command cli_new_commands[];
extern const struct cli_command cli_check_commands[];
extern const struct cli_command cli_deploy_commands[];
extern const struct cli_command cli_doctor_commands[];
extern const struct cli_command cli_repl_commands[];
extern const struct cli_command cli_import_commands[];
extern const struct cli_command cli_entity_commands[];
extern const struct cli_command cli_canon_commands[];
extern const struct cli_command cli_queue_commands[];
extern const struct cli_command cli_jobs_commands[];
extern const struct cli_command cli_queue_operate_commands[];
extern const struct cli_command cli_queue_tail_commands[];
extern const struct cli_command cli_config_show_commands[];
extern const struct cli_command cli_config_commands[];
extern const struct cli_command cli_export_commands[];
extern const struct cli_command cli_lease_commands[];
extern const struct cli_command cli_sched_commands[];
extern const struct cli_command cli_timeline_commands[];
extern const struct cli_command cli_info_commands[];
extern const struct cli_command cli_version_commands[];
extern const struct cli_command cli_completion_commands[];
extern const struct cli_command cli_man_commands[];

#endif
