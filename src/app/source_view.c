#include "app/source_view.h"

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/str.h"
#include "vm/vm.h"

enum { SOURCE_LINE_MAX = 160 };

bool source_place(const char *text, struct source_place *out)
{
    const char *lua = strstr(text, ".lua:");
    char *end;
    if (lua == NULL || (size_t)(lua + 4 - text) >= sizeof out->file)
        return false;
    size_t n = (size_t)(lua + 4 - text);
    memcpy(out->file, text, n);
    out->file[n] = '\0';
    if (strpbrk(out->file, " \n") != NULL)
        return false;
    out->line = (int)strtol(lua + 5, &end, 10);
    if (end == lua + 5 || *end != ':' || out->line <= 0)
        return false;
    const char *rest = end + 1;
    long column = strtol(rest, &end, 10);
    out->column = 0;
    if (end > rest && *end == ':' && column > 0) {
        out->column = (int)column;
        rest = end + 1;
    }
    out->words = rest + strspn(rest, " ");
    return true;
}

static struct str source_line(const struct vm_source *s, int number)
{
    const char *p = s->text, *end = s->text + s->len;
    for (; number > 1 && p < end; number--) {
        const char *nl = memchr(p, '\n', (size_t)(end - p));
        if (nl == NULL)
            return (struct str){end, 0};
        p = nl + 1;
    }
    size_t n = strcspn(p, "\r\n");
    return (struct str){p, n < (size_t)(end - p) ? n : (size_t)(end - p)};
}

/* Where in the line the words point, from 0, and how many bytes. */
static size_t source_point(struct str line, const struct source_place *p, size_t *wide)
{
    size_t at = p->column > 0 ? (size_t)p->column - 1 : SIZE_MAX;
    /* "'then' expected near '='" is about the second. */
    const char *near = strstr(p->words, "near '");
    const char *quote = near != NULL ? near + strlen("near ") : strchr(p->words, '\'');
    const char *end = quote != NULL ? strchr(quote + 1, '\'') : NULL;
    *wide = 1;
    if (end != NULL && end > quote + 1) {
        size_t n = (size_t)(end - quote - 1);
        const char *hit = memmem(line.p, line.n, quote + 1, n);
        if (at == SIZE_MAX && hit != NULL)
            at = (size_t)(hit - line.p);
        if (at != SIZE_MAX && at + n <= line.n && memcmp(line.p + at, quote + 1, n) == 0)
            *wide = n;
    }
    if (at == SIZE_MAX)
        for (at = 0; at < line.n && (line.p[at] == ' ' || line.p[at] == '\t'); at++)
            continue;
    return at <= line.n ? at : line.n;
}

static void source_show(struct str line, const struct source_place *p, bool color, struct buf *out)
{
    size_t wide, at = source_point(line, p, &wide);
    size_t from = at + 20 > SOURCE_LINE_MAX ? at + 20 - SOURCE_LINE_MAX : 0;
    size_t n = line.n - from < SOURCE_LINE_MAX ? line.n - from : SOURCE_LINE_MAX;
    buf_addf(out, "%6d | ", p->line);
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)line.p[from + i];
        buf_addc(out, c < ' ' || c == 127 ? ' ' : (char)c);
    }
    buf_adds(out, "\n       | ");
    /* Bytes that continue a character take no room on the screen. */
    for (size_t i = from; i < at; i++)
        if (((unsigned char)line.p[i] & 0xc0) != 0x80)
            buf_addc(out, ' ');
    buf_adds(out, color ? "\033[31m^" : "^");
    for (size_t i = 1; i < wide && at + i < from + n; i++)
        if (((unsigned char)line.p[at + i] & 0xc0) != 0x80)
            buf_addc(out, '~');
    buf_adds(out, color ? "\033[0m\n" : "\n");
}

void source_view(const struct vm_source *files, size_t count, const struct source_place *p,
                 bool color, struct buf *out)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(files[i].name, p->file) != 0)
            continue;
        struct str line = source_line(&files[i], p->line);
        if (line.n > 0)
            source_show(line, p, color, out);
        return;
    }
}
