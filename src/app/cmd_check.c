/* koan check: what is wrong with a set of scripts, before anybody meets it. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "app/check.h"
#include "app/cli.h"
#include "app/project.h"
#include "app/source_view.h"
#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/time.h"

enum { CMD_CHECK_TEXT_MAX = 64 << 10 };

static const char *cmd_check_color(const struct cli *c, const char *code)
{
    return c->color ? code : "";
}

static void cmd_check_show(const struct check *k, const struct source_place *p)
{
    AUTO(buf_fini) struct buf b = BUF_INIT(CMD_CHECK_TEXT_MAX);
    source_view(k->scripts.files, k->scripts.count, p, k->cli->color, &b);
    fputs(buf_str(&b), stdout);
}

static void cmd_check_problem(const struct check *k, const json_t *problem)
{
    const char *file = json_string_value(json_object_get(problem, "file"));
    const char *severity = json_string_value(json_object_get(problem, "severity"));
    struct source_place p = {.line = (int)json_integer_value(json_object_get(problem, "line")),
                             .column = (int)json_integer_value(json_object_get(problem, "column")),
                             .words = json_string_value(json_object_get(problem, "text"))};
    snprintf(p.file, sizeof p.file, "%s", file);
    const char *color =
        cmd_check_color(k->cli, strcmp(severity, "error") == 0 ? "\033[31m" : "\033[33m");
    if (*file != '\0')
        printf("%s:%d:", file, p.line);
    if (*file != '\0' && p.column > 0)
        printf("%d:", p.column);
    printf("%s%s%s%s: %s\n", *file != '\0' ? " " : "", color, severity,
           cmd_check_color(k->cli, "\033[0m"), p.words);
    cmd_check_show(k, &p);
}

/* Each line of the text, moved to the right. */
static void cmd_check_indent(const char *text)
{
    while (*text != '\0') {
        size_t n = strcspn(text, "\n");
        printf("        %.*s\n", (int)n, text);
        text += n + (text[n] == '\n');
    }
}

static void cmd_check_tested(struct check *k, const json_t *test)
{
    if (k->cli->json)
        return;
    bool ok = json_is_true(json_object_get(test, "ok"));
    const char *name = json_string_value(json_object_get(test, "name"));
    const char *error = json_string_value(json_object_get(test, "error"));
    printf("%s%s%s %5lld ms  %-24s %s\n", cmd_check_color(k->cli, ok ? "\033[32m" : "\033[31m"),
           ok ? "ok  " : "FAIL", cmd_check_color(k->cli, "\033[0m"),
           (long long)json_integer_value(json_object_get(test, "ms")),
           json_string_value(json_object_get(test, "file")), name);
    if (ok)
        return;
    struct source_place p;
    cmd_check_indent(error);
    if (source_place(error, &p))
        cmd_check_show(k, &p);
    const char *output = json_string_value(json_object_get(test, "output"));
    if (output != NULL)
        cmd_check_indent(output);
}

static int cmd_check_sum(struct check *k)
{
    bool bad = k->errors > 0 || k->failed > 0;
    if (k->cli->json) {
        AUTO(json_unref)
        json_t *all =
            json_pack("{s:b, s:I, s:I, s:I, s:I, s:I, s:O, s:O}", "ok", !bad, "files",
                      (json_int_t)k->scripts.count, "errors", (json_int_t)k->errors, "warnings",
                      (json_int_t)k->warnings, "passed", (json_int_t)k->passed, "failed",
                      (json_int_t)k->failed, "problems", k->problems, "tests", k->tests);
        if (k->recent != NULL)
            json_object_set(all, "recent", k->recent);
        cli_print_json(k->cli, all);
    } else {
        printf("%zu file%s: %zu error%s, %zu warning%s; tests: %zu passed, %zu failed\n",
               k->scripts.count, k->scripts.count == 1 ? "" : "s", k->errors,
               k->errors == 1 ? "" : "s", k->warnings, k->warnings == 1 ? "" : "s", k->passed,
               k->failed);
    }
    return bad ? CLI_ERROR : CLI_OK;
}

int check_folder(struct cli *c, char **out)
{
    AUTO(config_freep) struct config *config = NULL;
    int rc = project_enter(c);
    if (rc == CLI_OK)
        rc = cli_config(c, false, &config);
    if (rc != CLI_OK)
        return rc;
    const char *path = config_text(config, SET_SCRIPTS);
    if (*path == '\0')
        return cli_usage(c, "which scripts? Name a folder, or set scripts in koan.lua");
    *out = mem_strdup(path);
    return CLI_OK;
}

static int cmd_check_timeout(struct cli *c, struct check *k)
{
    const char *timeout = cli_flag(c, "timeout");
    int64_t ms = CHECK_TEST_MS;
    struct err e = ERR_INIT;
    if (timeout != NULL && duration_parse(timeout, &ms, &e) != 0)
        return cli_usage(c, "--timeout: %s", e.text);
    k->timeout_ms = ms > CHECK_TIMEOUT_MAX_MS ? CHECK_TIMEOUT_MAX_MS : (uint32_t)ms;
    return CLI_OK;
}

static int cmd_check_all(struct check *k, bool tests)
{
    struct err e = ERR_INIT;
    size_t i;
    json_t *problem;
    if (check_lint(k, &e) != 0)
        return cli_fail(k->cli, &e);
    json_array_foreach(k->problems, i, problem)
    {
        if (!k->cli->json)
            cmd_check_problem(k, problem);
    }
    if (k->errors == 0 && tests && check_tests(k, cmd_check_tested, &e) != 0)
        return cli_fail(k->cli, &e);
    if (k->errors == 0 && cli_flag(k->cli, "recent") != NULL)
        return check_recent(k);
    return CLI_OK;
}

int check_print(struct cli *c, const char *path, bool tests, bool quiet)
{
    AUTO(check_fini) struct check k = {0};
    struct err e = ERR_INIT;
    log_setup(LOG_ERROR, isatty(STDERR_FILENO) != 1, STDERR_FILENO);
    if (check_open(&k, c, path, &e) != 0)
        return cli_fail(c, &e);
    int rc = cmd_check_timeout(c, &k);
    if (rc == CLI_OK)
        rc = cmd_check_all(&k, tests);
    if (rc != CLI_OK)
        return rc;
    bool bad = k.errors > 0 || k.failed > 0;
    return quiet && !bad ? CLI_OK : cmd_check_sum(&k);
}

static int cmd_check(struct cli *c)
{
    AUTO(mem_freep) char *path = NULL;
    int rc = check_folder(c, &path);
    return rc != CLI_OK ? rc : check_print(c, path, cli_flag(c, "no-tests") == NULL, false);
}

static const struct cli_flag cmd_check_flags[] = {
    {"no-tests", NULL, "look at the scripts only"},
    {"recent", "N", "run before_save on the last N records of a running server, saving nothing"},
    {"timeout", "TIME", "processor time of one test, default 10s"},
};

const struct cli_command cli_check_commands[] = {
    {.name = "check",
     .args = "[DIR]",
     .summary = "read, lint, load and test scripts without serving them",
     .max = 1,
     .settings = CLI_SETTINGS_TAKES,
     .remote = true,
     .flags = cmd_check_flags,
     .flags_count = ARRAY_LEN(cmd_check_flags),
     .run = cmd_check},
    {0},
};
