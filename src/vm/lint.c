#include "vm/lint.h"

#include <stdio.h>
#include <string.h>

#include "base/map.h"
#include "base/mem.h"
#include "base/str.h"
#include "vm/lint_lex.h"
#include "vm/vm.h"

enum { LINT_NAMES_MAX = 2000 };

struct lint_local {
    struct lex_token name;
    bool used, quiet; /* quiet: nobody minds when it is not read */
};

struct lint {
    struct lex l;
    const struct vm_source *source;
    struct map *collect;       /* this reading only gathers globals */
    const struct map *globals; /* or checks names against these */
    const struct map *names;   /* or looks for these */
    vm_lint_cb *note;
    void *arg;
    struct lint_local *locals;
    int count, functions, depth;
    bool broken; /* this is no Lua, or too deep: say no more */
};

static void lint_block(struct lint *x);
static void lint_exp(struct lint *x);
static void lint_suffixed(struct lint *x);

/* ---- notes ---- */

static void lint_say(struct lint *x, const struct lex_token *t, bool fatal, const char *before,
                     const char *behind)
{
    if (x->collect != NULL || x->names != NULL || x->broken)
        return;
    struct vm_lint_note n = {
        .file = x->source->name, .line = t->line, .column = t->column, .fatal = fatal};
    snprintf(n.text, sizeof n.text, "%s '%.*s'%s", before, (int)(t->n < 64 ? t->n : 64), t->p,
             behind);
    x->note(x->arg, &n);
}

static bool lint_nearest(const struct lint *x, const struct lex_token *t, char best[64])
{
    AUTO(mem_freep) char *name = mem_strndup(t->p, t->n);
    int least = 3, seen = 0;
    if (t->n >= 64)
        return false;
    for (struct map_iter it = {0}; map_next(x->globals, &it) && seen < LINT_NAMES_MAX; seen++) {
        if (it.key_len >= 64 || it.key_len == 0)
            continue;
        char copy[64];
        memcpy(copy, it.key, it.key_len);
        copy[it.key_len] = '\0';
        int d = str_distance(name, copy);
        if (d < least && (size_t)d < it.key_len && (size_t)d < t->n) {
            least = d;
            memcpy(best, copy, it.key_len + 1);
        }
    }
    return least < 3;
}

/* ---- names ---- */

static bool lint_expect(struct lint *x, const char *what)
{
    if (!lex_is(&x->l.now, what)) {
        x->broken = true;
        return false;
    }
    lex_step(&x->l);
    return true;
}

static bool lint_take(struct lint *x, const char *what)
{
    if (!lex_is(&x->l.now, what))
        return false;
    lex_step(&x->l);
    return true;
}

static void lint_declare(struct lint *x, const struct lex_token *t, bool quiet)
{
    if (x->count == VM_LINT_LOCALS_MAX) {
        x->broken = true;
        return;
    }
    x->locals[x->count++] = (struct lint_local){*t, false, quiet || (t->n > 0 && *t->p == '_')};
}

static void lint_leave(struct lint *x, int count)
{
    while (x->count > count) {
        const struct lint_local *v = &x->locals[--x->count];
        if (!v->used && !v->quiet)
            lint_say(x, &v->name, false, "local",
                     " is never read; remove it, or begin its name with _ if that is meant");
    }
}

static struct lint_local *lint_find(struct lint *x, const struct lex_token *t)
{
    for (int i = x->count - 1; i >= 0; i--)
        if (x->locals[i].name.n == t->n && memcmp(x->locals[i].name.p, t->p, t->n) == 0)
            return &x->locals[i];
    return NULL;
}

static void lint_seen(struct lint *x, const struct lex_token *t)
{
    if (x->broken || map_get(x->names, t->p, t->n) == NULL)
        return;
    struct vm_lint_note n = {
        .file = x->source->name, .line = t->line, .column = t->column, .fatal = true};
    snprintf(n.text, sizeof n.text, "%.*s", (int)t->n, t->p);
    x->note(x->arg, &n);
}

static void lint_read(struct lint *x, const struct lex_token *t)
{
    struct lint_local *v = lint_find(x, t);
    if (v != NULL) {
        v->used = true;
        return;
    }
    if (x->names != NULL)
        lint_seen(x, t);
    if (x->globals == NULL || map_get(x->globals, t->p, t->n) != NULL)
        return;
    char near[64], behind[120] = " is not defined anywhere";
    if (lint_nearest(x, t, near))
        snprintf(behind, sizeof behind, " is not defined; did you mean '%s'?", near);
    lint_say(x, t, true, "global", behind);
}

static void lint_write(struct lint *x, const struct lex_token *t)
{
    if (lint_find(x, t) != NULL)
        return;
    if (x->functions > 0)
        lint_say(x, t, true, "global",
                 " is assigned where globals are read-only; write local in front");
    else if (x->collect != NULL)
        map_put(x->collect, t->p, t->n, x->collect);
}

/* ---- expressions ---- */

static bool lint_enter(struct lint *x)
{
    if (++x->depth > VM_LINT_DEPTH_MAX)
        x->broken = true;
    return !x->broken;
}

/* ( names ) block end */
static void lint_body(struct lint *x, bool method)
{
    int count = x->count;
    x->functions++;
    if (method)
        lint_declare(x, &(struct lex_token){.kind = LEX_NAME, .p = "self", .n = 4}, true);
    lint_expect(x, "(");
    while (!x->broken && !lex_is(&x->l.now, ")")) {
        if (x->l.now.kind == LEX_NAME)
            lint_declare(x, &x->l.now, true);
        else if (!lex_is(&x->l.now, "..."))
            x->broken = true;
        lex_step(&x->l);
        if (!lint_take(x, ","))
            break;
    }
    lint_expect(x, ")");
    lint_block(x);
    lint_expect(x, "end");
    lint_leave(x, count);
    x->functions--;
}

static void lint_table(struct lint *x)
{
    lint_expect(x, "{");
    while (!x->broken && !lex_is(&x->l.now, "}")) {
        if (lint_take(x, "[")) {
            lint_exp(x);
            lint_expect(x, "]");
            lint_expect(x, "=");
        } else if (x->l.now.kind == LEX_NAME && lex_is(&x->l.next, "=")) {
            lex_step(&x->l);
            lex_step(&x->l);
        }
        lint_exp(x);
        if (!lint_take(x, ",") && !lint_take(x, ";"))
            break;
    }
    lint_expect(x, "}");
}

static void lint_exps(struct lint *x)
{
    do
        lint_exp(x);
    while (!x->broken && lint_take(x, ","));
}

static void lint_args(struct lint *x)
{
    if (x->l.now.kind == LEX_STRING) {
        lex_step(&x->l);
    } else if (lex_is(&x->l.now, "{")) {
        lint_table(x);
    } else if (lint_expect(x, "(") && !lint_take(x, ")")) {
        lint_exps(x);
        lint_expect(x, ")");
    }
}

static void lint_suffixes(struct lint *x)
{
    while (!x->broken) {
        if (lint_take(x, ".")) {
            lex_step(&x->l);
        } else if (lint_take(x, "[")) {
            lint_exp(x);
            lint_expect(x, "]");
        } else if (lint_take(x, ":")) {
            lex_step(&x->l);
            lint_args(x);
        } else if (x->l.now.kind == LEX_STRING || lex_is(&x->l.now, "{") ||
                   lex_is(&x->l.now, "(")) {
            lint_args(x);
        } else {
            return;
        }
    }
}

static void lint_suffixed(struct lint *x)
{
    if (x->l.now.kind == LEX_NAME) {
        lint_read(x, &x->l.now);
        lex_step(&x->l);
    } else if (lint_expect(x, "(")) {
        lint_exp(x);
        lint_expect(x, ")");
    }
    lint_suffixes(x);
}

static bool lint_is_any(const struct lex_token *t, const char *const *words, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (lex_is(t, words[i]))
            return true;
    return false;
}

static void lint_simple(struct lint *x)
{
    static const char *const values[] = {"nil", "true", "false", "..."};
    if (x->l.now.kind == LEX_NUMBER || x->l.now.kind == LEX_STRING ||
        lint_is_any(&x->l.now, values, ARRAY_LEN(values)))
        lex_step(&x->l);
    else if (lex_is(&x->l.now, "{"))
        lint_table(x);
    else if (lint_take(x, "function"))
        lint_body(x, false);
    else
        lint_suffixed(x);
}

/* Order of operators does not matter here. */
static void lint_exp(struct lint *x)
{
    static const char *const unary[] = {"not", "-", "#", "~"};
    static const char *const binary[] = {
        "+",  "-",  "*",  "/",  "//", "%",  "^", "&", "~",   "|", "<<",
        ">>", "..", "==", "~=", "<=", ">=", "<", ">", "and", "or"};
    if (!lint_enter(x))
        return;
    for (;;) {
        while (lint_is_any(&x->l.now, unary, ARRAY_LEN(unary)))
            lex_step(&x->l);
        lint_simple(x);
        if (x->broken || !lint_is_any(&x->l.now, binary, ARRAY_LEN(binary)))
            break;
        lex_step(&x->l);
    }
    x->depth--;
}

/* ---- statements ---- */

static void lint_scope(struct lint *x)
{
    int count = x->count;
    lint_block(x);
    lint_leave(x, count);
}

static void lint_for(struct lint *x)
{
    int count = x->count;
    struct lex_token names[16];
    size_t n = 0;
    do {
        if (n < ARRAY_LEN(names))
            names[n++] = x->l.now;
        lex_step(&x->l);
    } while (lint_take(x, ","));
    if (!lint_take(x, "="))
        lint_expect(x, "in");
    lint_exps(x);
    for (size_t i = 0; i < n; i++)
        lint_declare(x, &names[i], true);
    lint_expect(x, "do");
    lint_block(x);
    lint_expect(x, "end");
    lint_leave(x, count);
}

static void lint_if(struct lint *x)
{
    do {
        lint_exp(x);
        lint_expect(x, "then");
        lint_scope(x);
    } while (lint_take(x, "elseif"));
    if (lint_take(x, "else"))
        lint_scope(x);
    lint_expect(x, "end");
}

static void lint_repeat(struct lint *x)
{
    int count = x->count;
    lint_block(x);
    lint_expect(x, "until");
    lint_exp(x);
    lint_leave(x, count);
}

static void lint_function(struct lint *x)
{
    bool method = false;
    if (lex_is(&x->l.next, "(")) {
        lint_write(x, &x->l.now);
        lex_step(&x->l);
    } else {
        lint_read(x, &x->l.now);
        lex_step(&x->l);
        while (!method && (lex_is(&x->l.now, ".") || lex_is(&x->l.now, ":"))) {
            method = lex_is(&x->l.now, ":");
            lex_step(&x->l);
            lex_step(&x->l);
        }
    }
    lint_body(x, method);
}

static void lint_local(struct lint *x)
{
    if (lint_take(x, "function")) {
        lint_declare(x, &x->l.now, false);
        lex_step(&x->l);
        lint_body(x, false);
        return;
    }
    struct lex_token names[64];
    bool quiet[64] = {false};
    size_t n = 0;
    do {
        if (n == ARRAY_LEN(names)) {
            x->broken = true;
            return;
        }
        names[n++] = x->l.now;
        lex_step(&x->l);
        if (lint_take(x, "<")) {
            quiet[n - 1] = x->l.now.n == 5 && memcmp(x->l.now.p, "close", 5) == 0;
            lex_step(&x->l);
            lint_expect(x, ">");
        }
    } while (lint_take(x, ","));
    if (lint_take(x, "="))
        lint_exps(x);
    for (size_t i = 0; i < n; i++)
        lint_declare(x, &names[i],
                     quiet[i] || (n > 1 && i + 1 < n)); /* the last is what was wanted */
}

static void lint_call_or_assign(struct lint *x)
{
    for (;;) {
        bool bare =
            x->l.now.kind == LEX_NAME && (lex_is(&x->l.next, "=") || lex_is(&x->l.next, ","));
        if (bare) {
            lint_write(x, &x->l.now);
            lex_step(&x->l);
        } else {
            lint_suffixed(x);
        }
        if (x->broken || !lint_take(x, ","))
            break;
    }
    if (lint_take(x, "="))
        lint_exps(x);
}

static void lint_statement(struct lint *x)
{
    if (lint_take(x, ";") || lint_take(x, "break"))
        return;
    if (lint_take(x, "goto")) {
        lex_step(&x->l);
    } else if (lint_take(x, "::")) {
        lex_step(&x->l);
        lint_expect(x, "::");
    } else if (lint_take(x, "do")) {
        lint_scope(x);
        lint_expect(x, "end");
    } else if (lint_take(x, "while")) {
        lint_exp(x);
        lint_expect(x, "do");
        lint_scope(x);
        lint_expect(x, "end");
    } else if (lint_take(x, "repeat")) {
        lint_repeat(x);
    } else if (lint_take(x, "if")) {
        lint_if(x);
    } else if (lint_take(x, "for")) {
        lint_for(x);
    } else if (lint_take(x, "function")) {
        lint_function(x);
    } else if (lint_take(x, "local")) {
        lint_local(x);
    } else {
        lint_call_or_assign(x);
    }
}

static void lint_block(struct lint *x)
{
    static const char *const ends[] = {"end", "else", "elseif", "until"};
    if (!lint_enter(x))
        return;
    while (!x->broken && x->l.now.kind != LEX_END &&
           !lint_is_any(&x->l.now, ends, ARRAY_LEN(ends))) {
        if (!lint_take(x, "return")) {
            lint_statement(x);
            continue;
        }
        if (x->l.now.kind != LEX_END && !lex_is(&x->l.now, ";") &&
            !lint_is_any(&x->l.now, ends, ARRAY_LEN(ends)))
            lint_exps(x);
        lint_take(x, ";");
        break;
    }
    x->depth--;
}

static void lint_run(struct lint *x)
{
    x->locals = mem_new_array(VM_LINT_LOCALS_MAX, sizeof *x->locals);
    lex_init(&x->l, x->source->text, x->source->len);
    lint_block(x);
    if (x->l.now.kind == LEX_END)
        lint_leave(x, 0);
    mem_free(x->locals);
}

void vm_lint_collect(const struct vm_source *s, struct map *globals)
{
    struct lint x = {.source = s, .collect = globals};
    lint_run(&x);
}

void vm_lint_reads(const struct vm_source *s, const struct map *names, vm_lint_cb *note, void *arg)
{
    struct lint x = {.source = s, .names = names, .note = note, .arg = arg};
    lint_run(&x);
}

void vm_lint(const struct vm_source *s, const struct map *globals, bool late, vm_lint_cb *note,
             void *arg)
{
    struct lint x = {
        .source = s, .globals = globals, .note = note, .arg = arg, .functions = late ? 1 : 0};
    lint_run(&x);
}
