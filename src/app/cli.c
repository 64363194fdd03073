#include "app/cli.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"

enum { CLI_COMMANDS_MAX = 96, CLI_FAULTS_MAX = 64 << 10 };

/* In the order of `koan --help`, of the manual page and of completion; a title is over all up to
 * the next one. */
static const struct {
    const char *title;
    const struct cli_command *commands;
} cli_groups[] = {
    {"Scripts, and serving them", cli_serve_commands},
    {NULL, cli_new_commands},
    {NULL, cli_check_commands},
    {NULL, cli_deploy_commands},
    {NULL, cli_repl_commands},
    {NULL, cli_run_commands},
    {"Work that is done later", cli_queue_commands},
    {NULL, cli_queue_operate_commands},
    {NULL, cli_queue_tail_commands},
    {NULL, cli_jobs_commands},
    {NULL, cli_sched_commands},
    {NULL, cli_lease_commands},
    {"Records", cli_entity_commands},
    {NULL, cli_canon_commands},
    {NULL, cli_import_commands},
    {"Looking after a server", cli_info_commands},
    {NULL, cli_doctor_commands},
    {NULL, cli_timeline_commands},
    {NULL, cli_config_show_commands},
    {NULL, cli_export_commands},
    {NULL, cli_config_commands},
    {"This program", cli_version_commands},
    {NULL, cli_completion_commands},
    {NULL, cli_man_commands},
};

static const struct cli_flag cli_common[] = {
    {"json", NULL, "machine-readable output"},
    {"help", NULL, "this help"},
};
static const struct cli_flag cli_remote[] = {
    {"url", "URL", "the server (KOAN_URL, else http://127.0.0.1:8090)"},
    {"token", "TOKEN", "its bearer token (else KOAN_TOKEN or KOAN_TOKEN_FILE)"},
    {"ca", "FILE", "certificates to trust with https (else the system's)"},
    {"insecure", NULL, "believe any certificate"},
};
static const struct cli_flag cli_file[] = {
    {"config", "FILE", "configuration file (else KOAN_CONFIG, koan.lua or koan.json)"},
};

/* ---- finding things ---- */

const struct cli_command *cli_next(const struct cli_command *last, size_t *group)
{
    if (last != NULL)
        last++;
    else
        last = cli_groups[ *group = 0].commands;
    while (last->name == NULL) {
        if (++*group == ARRAY_LEN(cli_groups))
            return NULL;
        last = cli_groups[*group].commands;
    }
    return last;
}

const char *cli_title(const struct cli_command *c, size_t group)
{
    return c == cli_groups[group].commands ? cli_groups[group].title : NULL;
}

/* The command that the first words name; `used` says how many words that took. */
static const struct cli_command *cli_find(int argc, char **argv, int *used)
{
    size_t group = 0;
    for (const struct cli_command *c = NULL; (c = cli_next(c, &group)) != NULL;) {
        const char *blank = strchr(c->name, ' ');
        size_t n = blank == NULL ? strlen(c->name) : (size_t)(blank - c->name);
        if (strlen(argv[0]) != n || strncmp(argv[0], c->name, n) != 0)
            continue;
        *used = blank == NULL ? 1 : 2;
        if (blank == NULL || (argc > 1 && strcmp(argv[1], blank + 1) == 0))
            return c;
    }
    return NULL;
}

static bool cli_is_group(const char *word)
{
    size_t group = 0, n = strlen(word);
    for (const struct cli_command *c = NULL; (c = cli_next(c, &group)) != NULL;)
        if (strncmp(c->name, word, n) == 0 && c->name[n] == ' ')
            return true;
    return false;
}

static const struct cli_flag *cli_flag_in(const struct cli_flag *flags, size_t count,
                                          const char *name)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(flags[i].name, name) == 0)
            return &flags[i];
    return NULL;
}

static const struct cli_flag *cli_flag_of(const struct cli_command *c, const char *name)
{
    const struct cli_flag *f = cli_flag_in(cli_common, ARRAY_LEN(cli_common), name);
    if (f == NULL)
        f = cli_flag_in(c->flags, c->flags_count, name);
    if (f == NULL && c->remote)
        f = cli_flag_in(cli_remote, ARRAY_LEN(cli_remote), name);
    if (f == NULL && c->settings)
        f = cli_flag_in(cli_file, ARRAY_LEN(cli_file), name);
    return f;
}

static void cli_each_in(const struct cli_flag *flags, size_t count, cli_flag_cb *each, void *arg)
{
    for (size_t i = 0; i < count; i++)
        each(arg, &flags[i]);
}

void cli_each_flag(const struct cli_command *c, unsigned kinds, cli_flag_cb *each, void *arg)
{
    bool settings = c->settings && (kinds & CLI_FLAGS_SETTINGS) != 0;
    if ((kinds & CLI_FLAGS_OWN) != 0)
        cli_each_in(c->flags, c->flags_count, each, arg);
    if (c->settings && (kinds & CLI_FLAGS_FILE) != 0)
        cli_each_in(cli_file, ARRAY_LEN(cli_file), each, arg);
    for (int i = 0; settings && i < SET_COUNT; i++) {
        const struct setting *s = &settings_table[i];
        each(arg, &(struct cli_flag){s->flag != NULL ? s->flag : s->name, "VALUE", s->brief});
    }
    if (c->remote && (kinds & CLI_FLAGS_REMOTE) != 0)
        cli_each_in(cli_remote, ARRAY_LEN(cli_remote), each, arg);
    if ((kinds & CLI_FLAGS_COMMON) != 0)
        cli_each_in(cli_common, ARRAY_LEN(cli_common), each, arg);
}

/* ---- parsing ---- */

static const char *cli_nearest_flag(const struct cli_command *c, const char *name)
{
    const char *names[CLI_ARGS_MAX];
    size_t n = 0;
    for (size_t i = 0; i < ARRAY_LEN(cli_common); i++)
        names[n++] = cli_common[i].name;
    for (size_t i = 0; i < c->flags_count; i++)
        names[n++] = c->flags[i].name;
    for (size_t i = 0; c->remote && i < ARRAY_LEN(cli_remote); i++)
        names[n++] = cli_remote[i].name;
    for (int i = 0; c->settings && i < SET_COUNT; i++) {
        names[n++] = settings_table[i].name;
        if (settings_table[i].flag != NULL)
            names[n++] = settings_table[i].flag;
    }
    return str_nearest(name, names, n);
}

static int cli_unknown_flag(const struct cli *c, const char *name)
{
    const char *near = cli_nearest_flag(c->command, name);
    if (near != NULL)
        return cli_usage(c, "there is no flag --%s; did you mean --%s?", name, near);
    return cli_usage(c, "there is no flag --%s; `koan %s --help` lists them", name,
                     c->command->name);
}

/* `arg` is "--name" or "--name=value"; the value may be `next`. Names are kept: they point into
 * argv, cut at the '='. */
static int cli_parse_flag(struct cli *c, char *arg, const char *next, bool *took_next)
{
    char *name = arg + 2;
    char *equals = strchr(name, '=');
    const char *value = equals != NULL ? equals + 1 : NULL;
    if (equals != NULL)
        *equals = '\0';
    const struct cli_flag *f = cli_flag_of(c->command, name);
    bool setting = f == NULL && c->command->settings && setting_find(name) >= 0;
    if (f == NULL && !setting)
        return cli_unknown_flag(c, name);
    bool wants = setting || f->what != NULL;
    if (!wants && value != NULL)
        return cli_usage(c, "--%s takes no value", name);
    if (wants && value == NULL) {
        if (next == NULL)
            return cli_usage(c, "--%s needs a value", name);
        value = next;
        *took_next = true;
    }
    if (setting)
        c->settings[c->settings_count++] = (struct config_flag){name, value};
    else
        c->given[c->given_count++] = (struct config_flag){name, wants ? value : ""};
    return CLI_OK;
}

static int cli_parse(struct cli *c, int argc, char **argv)
{
    bool only_places = false;
    if (argc > CLI_ARGS_MAX)
        return cli_usage(c, "more than %d arguments", CLI_ARGS_MAX);
    for (int i = 0; i < argc; i++) {
        bool took = false;
        if (!only_places && strcmp(argv[i], "--") == 0) {
            only_places = true;
        } else if (!only_places && strcmp(argv[i], "-h") == 0) {
            c->given[c->given_count++] = (struct config_flag){"help", ""};
        } else if (!only_places && strncmp(argv[i], "--", 2) == 0) {
            int rc = cli_parse_flag(c, argv[i], i + 1 < argc ? argv[i + 1] : NULL, &took);
            if (rc != CLI_OK)
                return rc;
        } else if (!only_places && argv[i][0] == '-' && argv[i][1] != '\0') {
            return cli_usage(c, "flags have two dashes: --%s?", argv[i] + 1);
        } else {
            c->places[c->places_count++] = argv[i];
        }
        i += took;
    }
    return CLI_OK;
}

static int cli_run(struct cli *c, int argc, char **argv)
{
    int rc = cli_parse(c, argc, argv);
    c->json = cli_flag(c, "json") != NULL;
    c->config_file = cli_flag(c, "config");
    if (rc != CLI_OK)
        return rc;
    if (cli_flag(c, "help") != NULL) {
        cli_help_command(c->command,
                         c->places_count > 0 && strcmp(c->places[c->places_count - 1], "all") == 0);
        return CLI_OK;
    }
    const struct cli_command *cmd = c->command;
    if (c->places_count < cmd->min)
        return cli_usage(c, "needs %s; `koan %s --help` says more", cmd->args, cmd->name);
    if (cmd->max >= 0 && c->places_count > cmd->max)
        return cli_usage(c, "what is '%s'? `koan %s --help` says more", c->places[cmd->max],
                         cmd->name);
    rc = cli_flag(c, "watch") != NULL ? cli_watch(c) : cmd->run(c);
    if (fflush(stdout) != 0 && rc == CLI_OK)
        rc = CLI_ERROR;
    return rc;
}

static int cli_unknown_command(const char *word)
{
    const char *names[CLI_COMMANDS_MAX];
    size_t n = 0, group = 0;
    for (const struct cli_command *c = NULL; (c = cli_next(c, &group)) != NULL;)
        names[n++] = c->name;
    static const char *const groups[] = {"queue",  "jobs",  "sched", "lease",
                                         "entity", "canon", "config"};
    memcpy(names + n, groups, sizeof groups);
    const char *near = str_nearest(word, names, n + ARRAY_LEN(groups));
    fprintf(stderr,
            near != NULL ? "koan: there is no command '%s'; did you mean '%s'?\n"
                         : "koan: there is no command '%s'; `koan` alone lists them\n",
            word, near);
    return CLI_USAGE;
}

int cli_main(int argc, char **argv)
{
    struct cli c = {.terminal = isatty(STDOUT_FILENO) == 1};
    const char *no_color = getenv("NO_COLOR");
    c.color = c.terminal && (no_color == NULL || *no_color == '\0');
    if (argc < 2 || strcmp(argv[1], "help") == 0 || strcmp(argv[1], "--help") == 0 ||
        strcmp(argv[1], "-h") == 0) {
        cli_help(NULL);
        return CLI_OK;
    }
    if (strcmp(argv[1], "--version") == 0)
        argv[1] = (char *)"version";
    int used = 0;
    c.command = cli_find(argc - 1, argv + 1, &used);
    if (c.command != NULL)
        return cli_run(&c, argc - 1 - used, argv + 1 + used);
    if (!cli_is_group(argv[1]))
        return cli_unknown_command(argv[1]);
    if (argc > 2 && strncmp(argv[2], "--help", 6) != 0 && strcmp(argv[2], "-h") != 0)
        fprintf(stderr, "koan: there is no command '%s %s'; these are:\n", argv[1], argv[2]);
    cli_help(argv[1]);
    return argc > 2 ? CLI_USAGE : CLI_OK;
}

/* ---- for commands ---- */

const char *cli_flag(const struct cli *c, const char *name)
{
    const char *value = NULL;
    for (size_t i = 0; i < c->given_count; i++)
        if (strcmp(c->given[i].name, name) == 0)
            value = c->given[i].value;
    return value;
}

int cli_flag_int(const struct cli *c, const char *name, int64_t fallback, int64_t min, int64_t max,
                 int64_t *out)
{
    const char *text = cli_flag(c, name);
    *out = fallback;
    if (text == NULL)
        return CLI_OK;
    if (!str_to_i64(text, strlen(text), out) || *out < min || *out > max)
        return cli_usage(c, "--%s: a whole number from %lld to %lld was expected, not '%s'", name,
                         (long long)min, (long long)max, text);
    return CLI_OK;
}

int cli_exit_code(int err_code)
{
    if (err_code == 0)
        return CLI_OK;
    if (err_code == ERR_NO_LEADER)
        return CLI_NO_LEADER;
    return err_code == ERR_TIMEOUT ? CLI_TIMEOUT : CLI_ERROR;
}

int cli_fail(const struct cli *c, const struct err *e)
{
    if (c->json) {
        AUTO(json_unref)
        json_t *o = json_pack("{s:s, s:s}", "code", err_info(e->code)->name, "detail", e->text);
        AUTO(buf_fini) struct buf b = BUF_INIT(4 * ERR_TEXT_MAX);
        json_print(o, &b, NULL);
        fprintf(stderr, "{\"error\":%s}\n", buf_str(&b));
    } else {
        fprintf(stderr, "koan: %s\n", e->text);
    }
    return cli_exit_code(e->code);
}

int cli_usage(const struct cli *c, const char *fmt, ...)
{
    struct err e = ERR_INIT;
    va_list args;
    va_start(args, fmt);
    err_vset(&e, ERR_INVALID, fmt, args);
    va_end(args);
    err_context(&e, "%s", c->command->name);
    cli_fail(c, &e);
    return CLI_USAGE;
}

int cli_config(const struct cli *c, bool dev, struct config **out)
{
    AUTO(buf_fini) struct buf faults = BUF_INIT(CLI_FAULTS_MAX);
    struct config_sources s = {
        .file = c->config_file, .flags = c->settings, .flags_count = c->settings_count, .dev = dev};
    if (config_load(&s, out, &faults) == 0)
        return CLI_OK;
    for (char *line = faults.data, *end; line != NULL && *line != '\0'; line = end + 1) {
        end = strchr(line, '\n');
        *end = '\0';
        struct err e = ERR_INIT;
        err_set(&e, ERR_INVALID, "%s", line);
        cli_fail(c, &e);
    }
    return CLI_USAGE;
}
