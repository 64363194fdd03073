/* Texts that stand in a call as they are: those can be judged without running anything. */
#include <ctype.h>
#include <string.h>

#include "app/check.h"
#include "base/str.h"
#include "vm/lint.h"
#include "vm/vm.h"

static const char *line_at(const struct vm_source *s, int line)
{
    const char *p = s->text, *end = s->text + s->len;
    for (; line > 1 && p != NULL; line--) {
        p = memchr(p, '\n', (size_t)(end - p));
        p = p != NULL ? p + 1 : NULL;
    }
    return p;
}

static const char *skip_blanks(const char *p, const char *end)
{
    while (p < end && isspace((unsigned char)*p))
        p++;
    return p;
}

bool check_literal(const struct vm_source *s, const struct vm_lint_note *n, struct str *out)
{
    const char *end = s->text + s->len, *p = line_at(s, n->line);
    if (p == NULL || (size_t)(end - p) < (size_t)(n->column - 1) + strlen(n->text))
        return false;
    p = skip_blanks(p + n->column - 1 + strlen(n->text), end);
    bool alone = p < end && *p != '('; /* entity "Order" */
    if (!alone && p < end)
        p = skip_blanks(p + 1, end);
    if (p == end || (*p != '"' && *p != '\''))
        return false;
    const char *close = memchr(p + 1, *p, (size_t)(end - p - 1));
    if (close == NULL)
        return false;
    *out = (struct str){p + 1, (size_t)(close - p - 1)};
    p = skip_blanks(close + 1, end);
    if (alone)
        return true;
    return p < end && (*p == ',' || *p == ')');
}
