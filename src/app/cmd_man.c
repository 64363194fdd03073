/* koan man: the manual page, made from the tables of commands, flags and settings. */
#include <ctype.h>
#include <string.h>

#include "app/cli.h"

/* Text as roff: `code` is bold, dashes are those one can type, and no line can be a request. */
static void man_put(const char *text)
{
    bool bold = false;
    if (*text == '.' || *text == '\'')
        fputs("\\&", stdout);
    for (; *text != '\0'; text++)
        switch (*text) {
        case '`':
            bold = !bold;
            fputs(bold ? "\\fB" : "\\fR", stdout);
            break;
        case '\\':
            fputs("\\e", stdout);
            break;
        case '-':
            fputs("\\-", stdout);
            break;
        default:
            putchar(*text);
        }
}

static void man_line(const char *text)
{
    man_put(text);
    putchar('\n');
}

/* A summary of the help as a sentence. */
static void man_sentence(const char *text)
{
    putchar(toupper((unsigned char)*text));
    man_put(text + 1);
    fputs(text[strlen(text) - 1] == '.' ? "\n" : ".\n", stdout);
}

static void man_flag(void *arg, const struct cli_flag *f)
{
    (void)arg;
    fputs(".TP\n\\fB\\-\\-", stdout);
    man_put(f->name);
    fputs("\\fR", stdout);
    if (f->what != NULL)
        printf(" \\fI%s\\fR", f->what);
    putchar('\n');
    man_line(f->help);
}

static void man_command(const struct cli_command *c)
{
    fputs(".SS \"koan ", stdout);
    man_put(c->name);
    if (*c->args != '\0') {
        putchar(' ');
        man_put(c->args);
    }
    fputs("\"\n", stdout);
    man_sentence(c->summary);
    if (c->settings)
        man_line("Every setting is a flag; see SETTINGS.");
    if (c->remote)
        man_line("Talks to a running server; see SERVER FLAGS.");
    cli_each_flag(c, CLI_FLAGS_OWN, man_flag, NULL);
}

static void man_setting(const struct setting *s)
{
    printf(".TP\n\\fB%s\\fR (\\fB\\-\\-", s->name);
    man_put(s->flag != NULL ? s->flag : s->name);
    fputs("\\fR, \\fBKOAN_", stdout);
    for (const char *c = s->name; *c != '\0'; c++)
        putchar(*c == '.' ? '_' : toupper((unsigned char)*c));
    fputs("\\fR)\n", stdout);
    man_line(s->help);
    if (*s->fallback != '\0') {
        fputs("Default: ", stdout);
        man_put(s->fallback);
        fputs(".\n", stdout);
    }
}

static void man_head(void)
{
    printf(".TH KOAN 1 \"\" \"Koan %s\" \"User Commands\"\n", KOAN_VERSION);
    fputs(
        ".SH NAME\n"
        "koan \\- entities, golden records and Lua in one binary\n"
        ".SH SYNOPSIS\n"
        "\\fBkoan\\fR \\fICOMMAND\\fR [\\fIARGUMENT\\fR ...] [\\fB\\-\\-\\fIFLAG\\fR ...]\n"
        ".SH DESCRIPTION\n"
        "Koan is a back end in one program. Entities that a Lua script declares are an HTTP API; "
        "sources\nthat contradict each other become golden records whose every field says who "
        "said it and why it won.\nWhat was acknowledged survives a crash and a power cut.\n"
        ".PP\n"
        "\\fBkoan serve\\fR runs the appliance on the folder \\fIkoan\\-data\\fR and, unless told "
        "otherwise, on\n127.0.0.1 port 8090. The guide is in it, at \\fI/docs/\\fR.\n"
        ".SH COMMANDS\n"
        "Every command takes \\fB\\-\\-json\\fR for output that programs read, and "
        "\\fB\\-\\-help\\fR.\n",
        stdout);
}

static void man_tail(void)
{
    fputs(
        ".SH EXIT STATUS\n"
        "0 done; 1 an error; 2 wrong use or configuration, nothing was done; 3 the server is not "
        "healthy;\n4 no leader, nothing was done; 5 no answer in time, whether it happened is "
        "open.\n"
        ".SH SIGNALS\n"
        "SIGTERM and SIGINT drain: what is under way is answered, then the program ends. SIGHUP "
        "reads\nconfiguration and scripts again; with a fault in them, what ran before stays.\n"
        ".SH ENVIRONMENT\n"
        "\\fBKOAN_\\fISETTING\\fR or \\fBKOAN_\\fISETTING\\fB_FILE\\fR set a setting; "
        "\\fBPORT\\fR changes the port of\n\\fBhttp.listen\\fR; \\fBKOAN_CONFIG\\fR names the "
        "configuration file; \\fBKOAN_URL\\fR the server that commands\ntalk to; "
        "\\fBSSL_CERT_FILE\\fR the authorities to trust; \\fBNO_COLOR\\fR turns colours off. From "
        "systemd:\n\\fBNOTIFY_SOCKET\\fR, \\fBWATCHDOG_USEC\\fR, \\fBLISTEN_FDS\\fR, "
        "\\fBCREDENTIALS_DIRECTORY\\fR.\n"
        ".SH FILES\n"
        ".TP\n\\fIkoan.lua\\fR, \\fIkoan.json\\fR\nThe configuration, in the working directory.\n"
        ".TP\n\\fIkoan\\-data\\fR\nThe log, the database made from it, the node's id, the token.\n"
        ".SH SEE ALSO\n"
        "\\fBsystemd.service\\fR(5)\n",
        stdout);
}

static int cmd_man(struct cli *c)
{
    size_t group = 0;
    (void)c;
    man_head();
    const struct cli_command *remote = NULL;
    for (const struct cli_command *each = NULL; (each = cli_next(each, &group)) != NULL;) {
        man_command(each);
        remote = each->remote ? each : remote;
    }
    if (remote != NULL) {
        fputs(".SH SERVER FLAGS\n", stdout);
        cli_each_flag(remote, CLI_FLAGS_REMOTE, man_flag, NULL);
    }
    fputs(".SH SETTINGS\nA name in the configuration file, a flag, and an environment variable; "
          "a later one wins.\n",
          stdout);
    for (int i = 0; i < SET_COUNT; i++)
        man_setting(&settings_table[i]);
    man_tail();
    return CLI_OK;
}

const struct cli_command cli_man_commands[] = {
    {.name = "man", .args = "", .summary = "the manual page, as roff", .run = cmd_man},
    {0},
};
