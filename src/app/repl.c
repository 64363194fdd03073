/* The loop of koan repl: reads lines, has them run, shows what came. */
#include "app/repl.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/cli.h"
#include "app/line_edit.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"

struct repl {
    struct cli *cli;
    struct repl_place *place;
    json_t *last; /* `_`: what the line before gave */
    bool failed;
};

static int repl_ask(struct repl *r, const char *text, const json_t *args, json_t **out,
                    struct err *e)
{
    return r->place->ask(r->place, text, args, out, e);
}

/* ---- completion ---- */

static bool repl_is_word(char c)
{
    return isalnum((unsigned char)c) || c == '_' || c == '.' || c == ':' || c == '"' || c == '\'';
}

/* Names that begin as the word before the cursor does: "jso", "json.en", "entity "Order".q". */
static json_t *repl_complete(void *arg, const char *before, size_t *from)
{
    struct repl *r = arg;
    size_t end = strlen(before), at = end;
    while (at > 0 && repl_is_word(before[at - 1]))
        at--;
    const char *dot = NULL;
    for (const char *p = before + at; *p != '\0'; p++)
        if (*p == '.' || *p == ':')
            dot = p;
    const char *part = dot != NULL ? dot + 1 : before + at;
    AUTO(mem_freep)
    char *base = dot != NULL ? mem_strndup(before + at, (size_t)(dot - before) - at) : NULL;
    if (base != NULL && (*base == '"' || *base == '\'')) { /* entity "Order". */
        AUTO(mem_freep) char *name = base;
        base = mem_printf("(entity %s)", name);
    }
    *from = (size_t)(part - before);
    AUTO(mem_freep)
    char *text = mem_printf("local t, out, part = %s, {}, ... for k in pairs(t) do if type(k) == "
                            "'string' and k:sub(1, #part) == part then out[#out + 1] = k end end "
                            "table.sort(out) return json.list(out)",
                            base != NULL ? base : "_G");
    AUTO(json_unref) json_t *args = json_pack("[s]", part);
    AUTO(json_unref) json_t *answer = NULL;
    if (args == NULL || repl_ask(r, text, args, &answer, NULL) != 0)
        return NULL;
    return json_incref(json_object_get(answer, "result"));
}

/* ---- lines ---- */

static bool repl_is_open(const json_t *answer)
{
    const char *detail = json_string_value(json_path(answer, "error.detail"));
    return detail != NULL && strstr(detail, "near <eof>") != NULL;
}

static bool repl_is_syntax(const json_t *answer)
{
    const char *detail = json_string_value(json_path(answer, "error.detail"));
    return detail != NULL && strstr(detail, " near ") != NULL;
}

/* As an expression if it is one, else as statements. */
static int repl_try(struct repl *r, const char *line, json_t **answer, struct err *e)
{
    AUTO(json_unref) json_t *args = json_pack("[O]", r->last);
    AUTO(mem_freep) char *value = mem_printf("local _ = ... return %s", line);
    AUTO(mem_freep) char *statement = mem_printf("local _ = ... %s", line);
    int rc = repl_ask(r, value, args, answer, e);
    if (rc != 0 || !repl_is_syntax(*answer))
        return rc;
    json_decref(TAKE(*answer));
    return repl_ask(r, statement, args, answer, e);
}

static void repl_show(struct repl *r, json_t *answer)
{
    const char *output = json_string_value(json_object_get(answer, "output"));
    const char *detail = json_string_value(json_path(answer, "error.detail"));
    json_t *result = json_object_get(answer, "result");
    if (r->cli->json) {
        cli_print_json(r->cli, answer);
    } else {
        if (output != NULL)
            fputs(output, stdout);
        if (detail != NULL)
            printf("%s%s%s\n", r->cli->color ? "\033[31m" : "", detail,
                   r->cli->color ? "\033[0m" : "");
        else if (result != NULL && !json_is_null(result))
            cli_print_json(r->cli, result);
    }
    r->failed = detail != NULL;
    if (detail == NULL && result != NULL) {
        json_decref(r->last);
        r->last = json_incref(result);
    }
}

/* One command, of as many lines as it takes. Returns whether to go on. */
static bool repl_turn(struct repl *r, struct line_edit *l, struct err *e)
{
    AUTO(buf_fini) struct buf text = BUF_INIT(REPL_TEXT_MAX);
    for (;;) {
        AUTO(mem_freep) char *line = NULL;
        enum line_result got = line_edit_read(l, text.len == 0 ? "> " : ">> ", &line);
        if (got == LINE_GIVEN_UP)
            return true;
        if (got == LINE_END)
            return false;
        line_edit_remember(l, line);
        buf_addf(&text, "%s%s", text.len > 0 ? "\n" : "", line);
        if (buf_check(&text, "what was typed", e) != 0)
            return false;
        const char *blank = buf_str(&text);
        if (blank[strspn(blank, " \t\n")] == '\0')
            return true;
        if (strcmp(blank, "exit") == 0 || strcmp(blank, "quit") == 0)
            return false;
        AUTO(json_unref) json_t *answer = NULL;
        if (repl_try(r, blank, &answer, e) != 0)
            return false;
        if (repl_is_open(answer))
            continue;
        repl_show(r, answer);
        return true;
    }
}

static char *repl_history(void)
{
    const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
    if (state != NULL && *state != '\0')
        return mem_printf("%s/koan-repl-history", state);
    return home != NULL && *home != '\0' ? mem_printf("%s/.koan-repl-history", home) : NULL;
}

int repl_run(struct cli *c, struct repl_place *place)
{
    struct err e = ERR_INIT;
    AUTO(mem_freep) char *history = repl_history();
    struct repl r = {.cli = c, .place = place, .last = json_null()};
    AUTO(json_unref) json_t *hello = NULL;
    if (repl_ask(&r, "return 1", NULL, &hello, &e) == 0) {
        struct line_edit *l = line_edit_new(history, repl_complete, &r);
        if (line_edit_is_terminal(l))
            printf("%s; each line is a script of its own, `_` is what the line before gave, Tab "
                   "completes, Ctrl-D ends\n",
                   place->name);
        while (repl_turn(&r, l, &e))
            continue;
        line_edit_free(l);
    }
    json_decref(r.last);
    if (e.code != 0)
        return cli_fail(c, &e);
    return r.failed && !c->terminal ? CLI_ERROR : CLI_OK;
}
