/* koan completion: scripts for shells, made from the tables of commands and flags, so that they
 * cannot fall behind. */
#include <string.h>

#include "app/cli.h"

/* ---- the commands as words ---- */

/* Length of the first word: "canon" of "canon why". */
static int completion_first(const struct cli_command *c)
{
    return (int)strcspn(c->name, " ");
}

static bool completion_is_group(const struct cli_command *c)
{
    return c->name[completion_first(c)] == ' ';
}

static bool completion_same_first(const struct cli_command *a, const struct cli_command *b)
{
    int n = completion_first(a);
    return n == completion_first(b) && memcmp(a->name, b->name, (size_t)n) == 0;
}

/* No command before it begins with the same word. */
static bool completion_is_new(const struct cli_command *c)
{
    size_t group = 0;
    for (const struct cli_command *b = NULL; (b = cli_next(b, &group)) != c;)
        if (completion_same_first(b, c))
            return false;
    return true;
}

/* Every command of the group that `c` begins. */
static void completion_each_member(const struct cli_command *c,
                                   void (*each)(const struct cli_command *))
{
    size_t group = 0;
    for (const struct cli_command *b = NULL; (b = cli_next(b, &group)) != NULL;)
        if (completion_same_first(b, c))
            each(b);
}

static const char *completion_second(const struct cli_command *c)
{
    return c->name + completion_first(c) + 1;
}

/* Inside single quotes; `stop` is a character that the shell gives a meaning, or NUL. */
static void completion_put(const char *text, char stop)
{
    for (; *text != '\0'; text++) {
        if (*text == '\'')
            fputs("'\\'", stdout);
        else if (*text == stop && stop != '\0')
            putchar('\\');
        putchar(*text);
    }
}

/* ---- bash ---- */

static void completion_bash_second(const struct cli_command *c)
{
    printf("%s ", completion_second(c));
}

static void completion_bash_flag(void *arg, const struct cli_flag *f)
{
    (void)arg;
    printf("--%s ", f->name);
}

static void completion_bash(void)
{
    size_t group = 0;
    fputs(
        "# bash: commands and flags of koan, made by `koan completion bash`\n"
        "_koan() {\n"
        "    local word=${COMP_WORDS[COMP_CWORD]} first=${COMP_WORDS[1]-} second=${COMP_WORDS[2]-} "
        "words=\n"
        "    COMPREPLY=()\n"
        "    if [ \"$COMP_CWORD\" -eq 1 ]; then\n"
        "        words='",
        stdout);
    for (const struct cli_command *c = NULL; (c = cli_next(c, &group)) != NULL;)
        if (completion_is_new(c))
            printf("%.*s ", completion_first(c), c->name);
    fputs("'\n"
          "    elif [ \"$COMP_CWORD\" -eq 2 ] && [[ $word != -* ]]; then\n"
          "        case $first in\n",
          stdout);
    group = 0;
    for (const struct cli_command *c = NULL; (c = cli_next(c, &group)) != NULL;) {
        if (!completion_is_group(c) || !completion_is_new(c))
            continue;
        printf("        %.*s) words='", completion_first(c), c->name);
        completion_each_member(c, completion_bash_second);
        fputs("' ;;\n", stdout);
    }
    fputs("        esac\n"
          "    elif [[ $word == -* ]]; then\n"
          "        case \"$first $second\" in\n",
          stdout);
    group = 0;
    for (const struct cli_command *c = NULL; (c = cli_next(c, &group)) != NULL;) {
        printf(completion_is_group(c) ? "        '%s') words='" : "        '%s '*) words='",
               c->name);
        cli_each_flag(c, CLI_FLAGS_ALL, completion_bash_flag, NULL);
        fputs("' ;;\n", stdout);
    }
    fputs("        esac\n"
          "    fi\n"
          "    # Nothing of ours: readline offers files.\n"
          "    [ -z \"$words\" ] || COMPREPLY=($(compgen -W \"$words\" -- \"$word\"))\n"
          "}\n"
          "complete -o default -F _koan koan\n",
          stdout);
}

/* ---- zsh ---- */

static void completion_zsh_word(const char *word, int n, const char *help)
{
    printf("'%.*s:", n, word);
    completion_put(help, ':');
    fputs("' ", stdout);
}

static void completion_zsh_second(const struct cli_command *c)
{
    const char *word = completion_second(c);
    completion_zsh_word(word, (int)strlen(word), c->summary);
}

static void completion_zsh_flag(void *arg, const struct cli_flag *f)
{
    (void)arg;
    printf("'--%s:", f->name);
    completion_put(f->help, ':');
    fputs("' ", stdout);
}

static void completion_zsh_commands(void)
{
    size_t group = 0;
    fputs("    if (( CURRENT == 2 )); then\n"
          "        found=(",
          stdout);
    for (const struct cli_command *c = NULL; (c = cli_next(c, &group)) != NULL;)
        if (completion_is_new(c))
            completion_zsh_word(c->name, completion_first(c),
                                completion_is_group(c) ? "several commands" : c->summary);
    fputs(")\n"
          "        _describe command found\n"
          "        return\n"
          "    fi\n"
          "    if (( CURRENT == 3 )) && [[ $PREFIX != -* ]]; then\n"
          "        case $words[2] in\n",
          stdout);
    group = 0;
    for (const struct cli_command *c = NULL; (c = cli_next(c, &group)) != NULL;) {
        if (!completion_is_group(c) || !completion_is_new(c))
            continue;
        printf("        %.*s) found=(", completion_first(c), c->name);
        completion_each_member(c, completion_zsh_second);
        fputs(") ;;\n", stdout);
    }
    fputs("        esac\n"
          "        (( $#found == 0 )) || { _describe command found; return }\n"
          "    fi\n",
          stdout);
}

static void completion_zsh(void)
{
    size_t group = 0;
    fputs("#compdef koan\n"
          "# zsh: commands and flags of koan, made by `koan completion zsh`\n"
          "_koan() {\n"
          "    local -a found\n",
          stdout);
    completion_zsh_commands();
    fputs("    if [[ $PREFIX != -* ]]; then\n"
          "        _files\n"
          "        return\n"
          "    fi\n"
          "    case \"$words[2] $words[3]\" in\n",
          stdout);
    for (const struct cli_command *c = NULL; (c = cli_next(c, &group)) != NULL;) {
        printf(completion_is_group(c) ? "    '%s') found=(" : "    '%s '*) found=(", c->name);
        cli_each_flag(c, CLI_FLAGS_ALL, completion_zsh_flag, NULL);
        fputs(") ;;\n", stdout);
    }
    fputs("    esac\n"
          "    _describe -o flag found\n"
          "}\n"
          "if [ \"$funcstack[1]\" = _koan ]; then _koan \"$@\"; else compdef _koan koan; fi\n",
          stdout);
}

/* ---- fish ---- */

static void completion_fish_when(const struct cli_command *c)
{
    printf("complete -c koan -n '__fish_seen_subcommand_from %.*s", completion_first(c), c->name);
    if (completion_is_group(c))
        printf("; and __fish_seen_subcommand_from %s", completion_second(c));
    putchar('\'');
}

static void completion_fish_flag(void *arg, const struct cli_flag *f)
{
    const struct cli_command *c = arg;
    completion_fish_when(c);
    printf(" -l '%s'%s -d '", f->name, f->what != NULL ? " -r" : "");
    completion_put(f->help, '\\');
    fputs("'\n", stdout);
}

static void completion_fish_not_yet(const struct cli_command *c)
{
    printf(" %s", completion_second(c));
}

/* Offered while the group stands there without any of its commands. */
static void completion_fish_second(const struct cli_command *c)
{
    printf("complete -c koan -f -n '__fish_seen_subcommand_from %.*s; and not "
           "__fish_seen_subcommand_from",
           completion_first(c), c->name);
    completion_each_member(c, completion_fish_not_yet);
    printf("' -a %s -d '", completion_second(c));
    completion_put(c->summary, '\\');
    fputs("'\n", stdout);
}

static void completion_fish(void)
{
    size_t group = 0;
    fputs("# fish: commands and flags of koan, made by `koan completion fish`\n", stdout);
    for (const struct cli_command *c = NULL; (c = cli_next(c, &group)) != NULL;) {
        if (completion_is_new(c)) {
            printf("complete -c koan -f -n __fish_use_subcommand -a %.*s -d '", completion_first(c),
                   c->name);
            completion_put(completion_is_group(c) ? "several commands" : c->summary, '\\');
            fputs("'\n", stdout);
        }
        if (completion_is_group(c))
            completion_fish_second(c);
        cli_each_flag(c, CLI_FLAGS_ALL, completion_fish_flag, (void *)c);
    }
}

static int cmd_completion(struct cli *c)
{
    static const struct {
        const char *shell;
        void (*write)(void);
    } shells[] = {{"bash", completion_bash}, {"zsh", completion_zsh}, {"fish", completion_fish}};
    for (size_t i = 0; i < sizeof shells / sizeof shells[0]; i++)
        if (strcmp(c->places[0], shells[i].shell) == 0) {
            shells[i].write();
            return CLI_OK;
        }
    return cli_usage(c, "'%s' is none of: bash zsh fish", c->places[0]);
}

const struct cli_command cli_completion_commands[] = {
    {.name = "completion",
     .args = "SHELL",
     .summary = "a script that completes commands and flags: bash, zsh or fish",
     .min = 1,
     .max = 1,
     .run = cmd_completion},
    {0},
};
