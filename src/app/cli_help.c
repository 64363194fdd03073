/* koan --help and koan COMMAND --help: made from the tables of commands, flags and settings. */
#include <stdio.h>
#include <string.h>

#include "app/cli.h"
#include "base/mem.h"

enum { HELP_LEFT_MAX = 34 }; /* what is longer stands on a line of its own */

/* A help is walked twice: first for the width of its left column. */
struct help {
    bool measure;
    int width;
};

static void help_title(const struct help *h, const char *title)
{
    if (!h->measure)
        printf("\n%s:\n", title);
}

static void help_line(struct help *h, const char *left, const char *right)
{
    int n = (int)strlen(left);
    if (h->measure)
        h->width = n > h->width && n <= HELP_LEFT_MAX ? n : h->width;
    else if (n > h->width)
        printf("  %s\n  %*s  %s\n", left, h->width, "", right);
    else
        printf("  %-*s  %s\n", h->width, left, right);
}

static void help_flag(void *arg, const struct cli_flag *f)
{
    AUTO(mem_freep)
    char *left =
        mem_printf("--%s%s%s", f->name, f->what != NULL ? " " : "", f->what != NULL ? f->what : "");
    help_line(arg, left, f->help);
}

/* ---- settings ---- */

static const struct {
    const char *section, *title;
} help_sections[] = {
    {"http", "HTTP"},
    {"ledger", "The log"},
    {"script", "Lua"},
    {"work", "Handlers and jobs"},
    {"node", "Labels of the node"},
    {"entity", "Entities"},
    {"trace", "Timelines"},
    {"otel", "Traces for others"},
    {"config", "Settings from elsewhere"},
    {"drain", "Stopping"},
};

static const char *help_value(const struct setting *s, char *choices, size_t cap)
{
    static const char *const words[] = {
        [SETTING_TEXT] = "TEXT",         [SETTING_PATH] = "PATH",     [SETTING_SECRET] = "SECRET",
        [SETTING_ADDRESS] = "HOST:PORT", [SETTING_INT] = "N",         [SETTING_DURATION] = "TIME",
        [SETTING_SIZE] = "SIZE",         [SETTING_CHOICE] = "",       [SETTING_BOOL] = "BOOL",
        [SETTING_URL] = "URL",           [SETTING_LABELS] = "LABELS", [SETTING_NAMES] = "LABELS",
    };
    if (s->choices == NULL)
        return words[s->kind];
    snprintf(choices, cap, "%s", s->choices);
    for (char *c = choices; (c = strchr(c, ' ')) != NULL;)
        *c = '|';
    return choices;
}

static void help_setting(struct help *h, const struct setting *s)
{
    char choices[64];
    bool some = *s->fallback != '\0';
    AUTO(mem_freep)
    char *left = mem_printf("--%s %s", s->flag != NULL ? s->flag : s->name,
                            help_value(s, choices, sizeof choices));
    AUTO(mem_freep)
    char *right = mem_printf("%s%s%s%s", s->brief, some ? " (" : "", s->fallback, some ? ")" : "");
    help_line(h, left, right);
}

/* Those without a section, and those that are usual enough for a flag of their own. */
static bool help_is_usual(const struct setting *s)
{
    return s->flag != NULL || strchr(s->name, '.') == NULL;
}

static bool help_is_of(const struct setting *s, const char *section)
{
    size_t n = strlen(section);
    return !help_is_usual(s) && strncmp(s->name, section, n) == 0 && s->name[n] == '.';
}

static void help_section(struct help *h, const char *section, const char *title)
{
    bool any = false;
    for (int i = 0; i < SET_COUNT; i++) {
        if (!help_is_of(&settings_table[i], section))
            continue;
        if (!any)
            help_title(h, title);
        any = true;
        help_setting(h, &settings_table[i]);
    }
}

static void help_settings(struct help *h, const struct cli_command *c, bool all)
{
    help_title(h, "Settings, with their defaults");
    cli_each_flag(c, CLI_FLAGS_FILE, help_flag, h);
    for (int i = 0; i < SET_COUNT; i++)
        if (all ? help_is_usual(&settings_table[i]) : i == SET_DATA || i == SET_SCRIPTS)
            help_setting(h, &settings_table[i]);
    for (size_t i = 0; all && i < ARRAY_LEN(help_sections); i++)
        help_section(h, help_sections[i].section, help_sections[i].title);
    if (!all && !h->measure)
        printf("\nEvery setting is a flag: koan %s --help all\n", c->name);
}

/* ---- commands ---- */

static void help_flags(struct help *h, const struct cli_command *c, bool all)
{
    cli_each_flag(c, CLI_FLAGS_OWN | CLI_FLAGS_COMMON, help_flag, h);
    if (c->remote) {
        help_title(h, "The server that it talks to");
        cli_each_flag(c, CLI_FLAGS_REMOTE, help_flag, h);
    }
    if (c->settings != CLI_SETTINGS_NONE)
        help_settings(h, c, all || c->settings == CLI_SETTINGS_SHOWS);
}

void cli_help_command(const struct cli_command *c, bool all)
{
    struct help h = {.measure = true};
    printf("koan %s%s%s\n\n%s\n\n", c->name, *c->args != '\0' ? " " : "", c->args, c->summary);
    help_flags(&h, c, all);
    h.measure = false;
    help_flags(&h, c, all);
}

void cli_help(const char *only)
{
    if (only == NULL)
        printf("koan %s - entities, golden records and Lua in one binary\n", KOAN_VERSION);
    size_t group = 0, n = only == NULL ? 0 : strlen(only);
    for (const struct cli_command *c = NULL; (c = cli_next(c, &group)) != NULL;) {
        if (only != NULL && (strncmp(c->name, only, n) != 0 || c->name[n] != ' '))
            continue;
        const char *title = only == NULL ? cli_title(c, group) : NULL;
        if (title != NULL)
            printf("\n%s:\n", title);
        AUTO(mem_freep) char *left = mem_printf("%s %s", c->name, c->args);
        printf("  koan %-34s %s\n", left, c->summary);
    }
    if (only == NULL)
        printf("\nkoan COMMAND --help says more. Exit codes: 0 ok, 1 error, 2 usage, 3 degraded, "
               "4 no leader, 5 timeout.\n");
}
