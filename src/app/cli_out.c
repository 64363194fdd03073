#include <stdarg.h>
#include <string.h>

#include "app/cli.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "io/file.h"

enum { CLI_OUT_MAX = 256 << 20, CLI_CELL_MAX = 60, CLI_COLUMNS_MAX = 32 };

json_t *cli_json(const char *place, size_t max, struct err *e)
{
    AUTO(mem_freep) char *text = NULL;
    const char *path = strcmp(place, "-") == 0 ? "/dev/stdin" : place[0] == '@' ? place + 1 : NULL;
    size_t n = strlen(place);
    if (path != NULL && file_read(path, max, &text, &n, e) != 0)
        return NULL;
    json_t *v = json_read(path != NULL ? text : place, n, e);
    if (v == NULL)
        err_context(e, "%s", path != NULL ? path : "the JSON given");
    return v;
}

void cli_print_json(const struct cli *c, const json_t *v)
{
    char *text = json_dumps(v, JSON_ENCODE_ANY | (c->json ? JSON_COMPACT : JSON_INDENT(2)));
    if (text == NULL)
        return;
    puts(text);
    mem_free(text);
}

void cli_table_init(struct cli_table *t, size_t columns)
{
    ASSERT(columns <= CLI_COLUMNS_MAX);
    buf_init(&t->cells, CLI_OUT_MAX);
    t->columns = columns;
    t->count = 0;
}

void cli_table_cell(struct cli_table *t, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    buf_vaddf(&t->cells, fmt, args);
    va_end(args);
    buf_add_u8(&t->cells, 0);
    t->count++;
}

void cli_table_head(struct cli_table *t, const char *const *heads, size_t columns)
{
    cli_table_init(t, columns);
    for (size_t i = 0; i < columns; i++)
        cli_table_cell(t, "%s", heads[i]);
}

/* As much of `s` as fits a cell, whole characters only. */
static void cli_table_short(struct cli_table *t, const char *s)
{
    size_t n = strlen(s), cut = 0, shown = 0;
    while (cut < n && shown < CLI_CELL_MAX) {
        cut++;
        while (cut < n && ((unsigned char)s[cut] & 0xc0) == 0x80)
            cut++;
        shown++;
    }
    cli_table_cell(t, "%.*s%s", (int)cut, s, cut < n ? "…" : "");
}

void cli_table_json(struct cli_table *t, const json_t *v)
{
    if (v == NULL || json_is_null(v)) {
        cli_table_cell(t, "-");
    } else if (json_is_string(v)) {
        cli_table_short(t, json_string_value(v));
    } else {
        AUTO(buf_fini) struct buf b = BUF_INIT(CLI_OUT_MAX);
        json_print(v, &b, NULL);
        cli_table_short(t, buf_str(&b));
    }
}

void cli_table_waits(struct cli_table *t, const json_t *row)
{
    const char *what = json_string_value(json_path(row, "waiting_for.what"));
    const char *name = json_string_value(json_path(row, "waiting_for.name"));
    cli_table_cell(t, "%s%s%s", what != NULL ? what : "-", name != NULL ? " " : "",
                   name != NULL ? name : "");
}

void cli_table_members(struct cli_table *t, const json_t *row, const char *const *names, size_t n)
{
    for (size_t i = 0; i < n; i++)
        cli_table_json(t, json_object_get(row, names[i]));
}

static void cli_table_pad(size_t n)
{
    printf("%*s", (int)n, "");
}

static void cli_table_row(const struct cli *c, const char *const *row, const size_t *width,
                          size_t columns, unsigned right, bool heading)
{
    if (heading && c->color)
        fputs("\033[1m", stdout);
    for (size_t i = 0; i < columns; i++) {
        size_t n = str_utf8_len(row[i], strlen(row[i]));
        size_t pad = width[i] - n;
        if (right >> i & 1)
            cli_table_pad(pad);
        fputs(row[i], stdout);
        if (!(right >> i & 1) && i + 1 < columns)
            cli_table_pad(pad);
        if (i + 1 < columns)
            fputs("  ", stdout);
    }
    puts(heading && c->color ? "\033[0m" : "");
}

void cli_table_print(const struct cli *c, struct cli_table *t, unsigned right)
{
    size_t width[CLI_COLUMNS_MAX] = {0};
    const char *at = buf_str(&t->cells);
    for (size_t i = 0; i < t->count; i++, at += strlen(at) + 1) {
        size_t n = str_utf8_len(at, strlen(at));
        if (n > width[i % t->columns])
            width[i % t->columns] = n;
    }
    at = buf_str(&t->cells);
    for (size_t i = 0; i + t->columns <= t->count; i += t->columns) {
        const char *row[CLI_COLUMNS_MAX];
        for (size_t k = 0; k < t->columns; k++, at += strlen(at) + 1)
            row[k] = at;
        cli_table_row(c, row, width, t->columns, right, i == 0);
    }
    buf_fini(&t->cells);
}
