/* The words of a Lua text, for lint.c. */
#ifndef KOAN_VM_LINT_LEX_H
#define KOAN_VM_LINT_LEX_H

#include <stdbool.h>
#include <stddef.h>

enum lex_kind { LEX_END, LEX_NAME, LEX_WORD, LEX_NUMBER, LEX_STRING, LEX_OP };

struct lex_token {
    enum lex_kind kind; /* LEX_WORD: one of Lua's own */
    const char *p;
    size_t n;
    int line, column;
};

struct lex {
    const char *p, *end, *line_start;
    int line;
    struct lex_token now, next;
};

void lex_init(struct lex *l, const char *text, size_t n);
void lex_step(struct lex *l); /* now = next */
bool lex_is(const struct lex_token *t, const char *what);

#endif
