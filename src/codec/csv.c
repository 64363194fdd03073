#include "codec/csv.h"

#include <stdarg.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"

/*            +---------- delimiter -----------+
 *            v                                |
 * [RECORD] -> [FIELD] --- text ---> [PLAIN] --+-- CR --> [CR] --> (record) -> [RECORD]
 *                |                            |-- LF ----------> (record) -> [RECORD]
 *                +-- '"' -> [QUOTED] <-- '"' --> [QUOTE]                (leaves like PLAIN)
 *
 * [BOM] stands before all of it in a file that is read from its beginning. */
enum csv_state { CSV_BOM, CSV_RECORD, CSV_FIELD, CSV_PLAIN, CSV_QUOTED, CSV_QUOTE, CSV_CR };

struct csv {
    char delimiter;
    bool header, finished, broken;
    enum csv_state state;

    const char *p; /* the piece */
    size_t n, at;
    uint64_t offset, line, line_start; /* of p[at] */
    size_t bom_seen;

    struct buf text; /* fields of the record, one behind the other */
    size_t count, ends[CSV_FIELDS_MAX];
    struct str fields[CSV_FIELDS_MAX];
    uint64_t record_offset, record_line;
    uint64_t quote_line, quote_column; /* where the last quoted field opened */
    struct err bad; /* the first thing wrong with the record; code 0 is nothing */

    char *column_text;
    struct str columns[CSV_FIELDS_MAX];
    size_t column_count;
};

static const char csv_bom[] = "\xef\xbb\xbf";

static void csv_keep_columns(struct csv *c, const struct str *names, size_t count)
{
    size_t bytes = 0;
    for (size_t i = 0; i < count; i++)
        bytes += names[i].n;
    c->column_text = mem_new(bytes + 1);
    char *to = c->column_text;
    for (size_t i = 0; i < count; i++) {
        if (names[i].n > 0)
            memcpy(to, names[i].p, names[i].n);
        c->columns[i] = (struct str){to, names[i].n};
        to += names[i].n;
    }
    c->column_count = count;
}

struct csv *csv_new(const struct csv_options *options)
{
    struct csv *c = mem_new(sizeof(*c));
    c->delimiter = options->delimiter != 0 ? options->delimiter : ',';
    c->header = options->header;
    c->offset = c->line_start = options->offset;
    c->line = options->line > 0 ? options->line : 1;
    c->state = options->offset == 0 ? CSV_BOM : CSV_RECORD;
    buf_init(&c->text, CSV_RECORD_MAX);
    ASSERT(options->column_count <= CSV_FIELDS_MAX);
    if (options->columns != NULL)
        csv_keep_columns(c, options->columns, options->column_count);
    return c;
}

void csv_free(struct csv *c)
{
    if (c == NULL)
        return;
    buf_fini(&c->text);
    mem_free(c->column_text);
    mem_free(c);
}

void csv_feed(struct csv *c, const char *p, size_t n)
{
    ASSERT(c->broken || c->at == c->n);
    c->p = p;
    c->n = n;
    c->at = 0;
}

void csv_finish(struct csv *c)
{
    c->finished = true;
}

bool csv_is_broken(const struct csv *c)
{
    return c->broken;
}

const struct str *csv_columns(const struct csv *c, size_t *count)
{
    *count = c->column_count;
    return c->column_text != NULL ? c->columns : NULL;
}

void csv_place(const struct csv *c, uint64_t *offset, uint64_t *line)
{
    *offset = c->offset;
    *line = c->line;
}

/* ---- the state machine ---- */

static uint64_t csv_column(const struct csv *c)
{
    return c->offset - c->line_start + 1;
}

__attribute__((format(printf, 5, 6))) static void csv_bad(struct csv *c, int code, uint64_t line,
                                                          uint64_t column, const char *fmt, ...)
{
    if (c->bad.code != 0)
        return;
    va_list args;
    va_start(args, fmt);
    err_vset(&c->bad, code, fmt, args);
    va_end(args);
    err_context(&c->bad, "line %llu, column %llu", (unsigned long long)line,
                (unsigned long long)column);
}

static void csv_take(struct csv *c, size_t n)
{
    c->at += n;
    c->offset += n;
}

static void csv_newline(struct csv *c)
{
    c->line++;
    c->line_start = c->offset;
}

static void csv_add(struct csv *c, const char *p, size_t n)
{
    if (c->bad.code != 0)
        return;
    buf_add(&c->text, p, n);
    if (!buf_failed(&c->text))
        return;
    if (c->state == CSV_QUOTED)
        csv_bad(c, ERR_TOO_LARGE, c->quote_line, c->quote_column,
                "the record is larger than %d bytes; is the quote that opens here ever closed?",
                CSV_RECORD_MAX);
    else
        csv_bad(c, ERR_TOO_LARGE, c->record_line, 1, "the record is larger than %d bytes",
                CSV_RECORD_MAX);
}

static void csv_end_field(struct csv *c)
{
    if (c->count < CSV_FIELDS_MAX)
        c->ends[c->count++] = c->text.len;
    else
        csv_bad(c, ERR_TOO_LARGE, c->line, csv_column(c), "the record has more than %d fields",
                CSV_FIELDS_MAX);
}

static void csv_begin_record(struct csv *c)
{
    buf_reset(&c->text);
    err_clear(&c->bad);
    c->count = 0;
    c->record_offset = c->offset;
    c->record_line = c->line;
    c->state = CSV_FIELD;
}

/* What may follow a whole field. False when `ch` is none of it; nothing is taken then. */
static bool csv_leave_field(struct csv *c, char ch, bool *done)
{
    if (ch != c->delimiter && ch != '\n' && ch != '\r')
        return false;
    csv_end_field(c);
    csv_take(c, 1);
    if (ch == c->delimiter) {
        c->state = CSV_FIELD;
    } else if (ch == '\r') {
        c->state = CSV_CR;
    } else {
        csv_newline(c);
        *done = true;
    }
    return true;
}

/* The three bytes may come in three pieces; if they turn out to be something else they are text. */
static void csv_step_bom(struct csv *c)
{
    if (c->p[c->at] == csv_bom[c->bom_seen]) {
        csv_take(c, 1);
        if (++c->bom_seen < sizeof(csv_bom) - 1)
            return;
        c->state = CSV_RECORD;
        c->line_start = c->offset;
        return;
    }
    c->state = CSV_RECORD;
    if (c->bom_seen == 0)
        return;
    csv_begin_record(c);
    c->record_offset = 0;
    csv_add(c, csv_bom, c->bom_seen);
    c->state = CSV_PLAIN;
}

static void csv_step_plain(struct csv *c, bool *done)
{
    size_t from = c->at, to = from;
    while (to < c->n && c->p[to] != c->delimiter && c->p[to] != '\n' && c->p[to] != '\r')
        to++;
    csv_add(c, c->p + from, to - from);
    csv_take(c, to - from);
    if (to < c->n)
        csv_leave_field(c, c->p[to], done);
}

static void csv_step_quoted(struct csv *c)
{
    size_t from = c->at;
    const char *quote = memchr(c->p + from, '"', c->n - from);
    size_t to = quote != NULL ? (size_t)(quote - c->p) : c->n;
    csv_add(c, c->p + from, to - from);
    for (size_t i = from; i < to; i++) {
        csv_take(c, 1);
        if (c->p[i] == '\n')
            csv_newline(c);
    }
    if (quote != NULL) {
        csv_take(c, 1);
        c->state = CSV_QUOTE;
    }
}

static void csv_step_quote(struct csv *c, bool *done)
{
    char ch = c->p[c->at];
    if (ch == '"') {
        c->state = CSV_QUOTED;
        csv_add(c, "\"", 1);
        csv_take(c, 1);
    } else if (!csv_leave_field(c, ch, done)) {
        csv_bad(c, ERR_INVALID, c->line, csv_column(c),
                "text behind a closing quote; write a quote inside of a quoted field twice");
        c->state = CSV_PLAIN;
    }
}

/* Moves at least one byte or one state on. True when a record is complete. */
static bool csv_step(struct csv *c)
{
    bool done = false;
    char ch = c->p[c->at];
    switch (c->state) {
    case CSV_BOM:
        csv_step_bom(c);
        break;
    case CSV_RECORD:
        if (ch == '\n' || ch == '\r') {
            csv_take(c, 1);
            if (ch == '\n')
                csv_newline(c);
        } else {
            csv_begin_record(c);
        }
        break;
    case CSV_FIELD:
        c->state = ch == '"' ? CSV_QUOTED : CSV_PLAIN;
        if (ch == '"') {
            c->quote_line = c->line;
            c->quote_column = csv_column(c);
            csv_take(c, 1);
        }
        break;
    case CSV_PLAIN:
        csv_step_plain(c, &done);
        break;
    case CSV_QUOTED:
        csv_step_quoted(c);
        break;
    case CSV_QUOTE:
        csv_step_quote(c, &done);
        break;
    case CSV_CR:
        if (ch == '\n')
            csv_take(c, 1);
        csv_newline(c);
        done = true;
        break;
    }
    if (done)
        c->state = CSV_RECORD;
    return done;
}

/* The input ended. True when that completes a record. */
static bool csv_step_end(struct csv *c)
{
    enum csv_state state = c->state;
    if (state == CSV_BOM && c->bom_seen > 0) { /* one or two bytes of a BOM and nothing else */
        csv_begin_record(c);
        c->record_offset = 0;
        csv_bad(c, ERR_INVALID, 1, 1, "not valid UTF-8");
        c->bom_seen = 0;
        state = CSV_PLAIN;
    }
    c->state = CSV_RECORD;
    if (state == CSV_BOM || state == CSV_RECORD)
        return false;
    if (state == CSV_QUOTED)
        csv_bad(c, ERR_INVALID, c->quote_line, c->quote_column, "this quote is never closed");
    if (state != CSV_CR)
        csv_end_field(c);
    return true;
}

/* ---- whole records ---- */

static int csv_take_header(struct csv *c)
{
    for (size_t i = 0; i < c->count; i++) {
        if (c->fields[i].n == 0)
            csv_bad(c, ERR_INVALID, c->record_line, 1,
                    "column %zu of the header has no name; give it one", i + 1);
        for (size_t k = 0; k < i; k++)
            if (c->fields[i].n == c->fields[k].n &&
                memcmp(c->fields[i].p, c->fields[k].p, c->fields[i].n) == 0)
                csv_bad(c, ERR_INVALID, c->record_line, 1,
                        "columns %zu and %zu of the header are both named '%.*s'", k + 1, i + 1,
                        (int)(c->fields[i].n < 64 ? c->fields[i].n : 64), c->fields[i].p);
    }
    if (c->bad.code != 0)
        return c->bad.code;
    csv_keep_columns(c, c->fields, c->count);
    return 0;
}

static void csv_check_text(struct csv *c)
{
    if (memchr(buf_str(&c->text), '\0', c->text.len) != NULL)
        csv_bad(c, ERR_INVALID, c->record_line, 1,
                "a NUL byte; if this is UTF-16, convert it to UTF-8 first");
    if (!str_is_utf8(buf_str(&c->text), c->text.len))
        csv_bad(c, ERR_INVALID, c->record_line, 1,
                "not valid UTF-8; convert the file first, as with: iconv -f latin1 -t utf8");
}

/* 0: it was the header. */
static int csv_deliver(struct csv *c, struct csv_record *rec, struct err *e)
{
    size_t from = 0;
    for (size_t i = 0; i < c->count; i++) {
        c->fields[i] = (struct str){buf_str(&c->text) + from, c->ends[i] - from};
        from = c->ends[i];
    }
    *rec = (struct csv_record){c->fields, c->count, c->record_line, c->record_offset, c->offset};
    csv_check_text(c);
    bool is_header = c->header && c->column_text == NULL;
    if (c->bad.code == 0 && is_header && csv_take_header(c) == 0)
        return 0;
    if (c->bad.code == 0 && c->column_text != NULL && c->count != c->column_count)
        csv_bad(c, ERR_INVALID, c->record_line, 1, "%zu fields, but the header names %zu", c->count,
                c->column_count);
    if (c->bad.code == 0)
        return 1;
    c->broken = is_header;
    if (e != NULL)
        *e = c->bad;
    return c->bad.code;
}

int csv_next(struct csv *c, struct csv_record *rec, struct err *e)
{
    while (!c->broken) {
        bool whole = false;
        while (!whole && c->at < c->n)
            whole = csv_step(c);
        if (!whole && !(c->finished && csv_step_end(c)))
            return 0;
        int rc = csv_deliver(c, rec, e);
        if (rc != 0)
            return rc;
    }
    return 0;
}
