#include "vm/lint_lex.h"

#include <ctype.h>
#include <string.h>

bool lex_is(const struct lex_token *t, const char *what)
{
    return (t->kind == LEX_WORD || t->kind == LEX_OP) && strlen(what) == t->n &&
           memcmp(t->p, what, t->n) == 0;
}

static bool lex_is_word(const char *p, size_t n)
{
    static const char words[] =
        " and break do else elseif end false for function goto if in local nil "
        "not or repeat return then true until while ";
    for (const char *at = words; (at = memmem(at, strlen(at), p, n)) != NULL; at++)
        if (at[-1] == ' ' && at[n] == ' ')
            return true;
    return false;
}

static int lex_at(const struct lex *l, size_t ahead)
{
    return (size_t)(l->end - l->p) > ahead ? (unsigned char)l->p[ahead] : -1;
}

static void lex_advance(struct lex *l)
{
    if (*l->p++ == '\n') {
        l->line++;
        l->line_start = l->p;
    }
}

/* The level of a long bracket that opens here, or -1. */
static int lex_long(const struct lex *l)
{
    size_t n = 1;
    if (lex_at(l, 0) != '[')
        return -1;
    while (lex_at(l, n) == '=')
        n++;
    return lex_at(l, n) == '[' ? (int)n - 1 : -1;
}

static void lex_skip_long(struct lex *l, int level)
{
    while (l->p < l->end) {
        int n = 0;
        if (*l->p == ']') {
            while (lex_at(l, (size_t)n + 1) == '=')
                n++;
            if (n == level && lex_at(l, (size_t)n + 1) == ']') {
                l->p += n + 2;
                return;
            }
        }
        lex_advance(l);
    }
}

static void lex_skip_string(struct lex *l)
{
    char quote = *l->p++;
    while (l->p < l->end && *l->p != quote) {
        if (*l->p == '\\' && l->p + 1 < l->end)
            l->p++;
        lex_advance(l);
    }
    if (l->p < l->end)
        l->p++;
}

static void lex_skip_blank(struct lex *l)
{
    for (;;) {
        while (l->p < l->end && isspace((unsigned char)*l->p))
            lex_advance(l);
        if (lex_at(l, 0) != '-' || lex_at(l, 1) != '-')
            return;
        l->p += 2;
        int level = lex_long(l);
        if (level >= 0)
            lex_skip_long(l, level);
        else
            while (l->p < l->end && *l->p != '\n')
                l->p++;
    }
}

static void lex_skip_number(struct lex *l)
{
    bool hex = lex_at(l, 0) == '0' && (lex_at(l, 1) | 32) == 'x';
    for (; l->p < l->end && (isalnum((unsigned char)*l->p) || *l->p == '.'); l->p++)
        if ((*l->p | 32) == (hex ? 'p' : 'e') && (lex_at(l, 1) == '+' || lex_at(l, 1) == '-'))
            l->p++;
}

static void lex_read(struct lex *l, struct lex_token *t)
{
    static const char *const ops[] = {"...", "..", "::", "==", "~=", "<=", ">=", "//", "<<", ">>"};
    lex_skip_blank(l);
    *t = (struct lex_token){.p = l->p, .line = l->line, .column = (int)(l->p - l->line_start) + 1};
    if (l->p >= l->end)
        return;
    int c = (unsigned char)*l->p, level;
    if (isalpha(c) || c == '_') {
        while (l->p < l->end && (isalnum((unsigned char)*l->p) || *l->p == '_'))
            l->p++;
        t->n = (size_t)(l->p - t->p);
        t->kind = lex_is_word(t->p, t->n) ? LEX_WORD : LEX_NAME;
        return;
    }
    if (isdigit(c) || (c == '.' && isdigit(lex_at(l, 1)))) {
        t->kind = LEX_NUMBER;
        lex_skip_number(l);
    } else if (c == '"' || c == '\'') {
        t->kind = LEX_STRING;
        lex_skip_string(l);
    } else if ((level = lex_long(l)) >= 0) {
        t->kind = LEX_STRING;
        l->p += level + 2;
        lex_skip_long(l, level);
    } else {
        size_t n = 1;
        for (size_t i = 0; i < sizeof ops / sizeof ops[0] && n == 1; i++)
            if ((size_t)(l->end - l->p) >= strlen(ops[i]) &&
                memcmp(l->p, ops[i], strlen(ops[i])) == 0)
                n = strlen(ops[i]);
        t->kind = LEX_OP;
        l->p += n;
    }
    t->n = (size_t)(l->p - t->p);
}

void lex_step(struct lex *l)
{
    l->now = l->next;
    lex_read(l, &l->next);
}

void lex_init(struct lex *l, const char *text, size_t n)
{
    *l = (struct lex){.p = text, .end = text + n, .line_start = text, .line = 1};
    if (n >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0)
        l->p = l->line_start = text + 3;
    if (lex_at(l, 0) == '#') /* a first line for the shell */
        while (l->p < l->end && *l->p != '\n')
            l->p++;
    lex_step(l);
    lex_step(l);
}
