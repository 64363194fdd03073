#include "codec/records.h"

#include <string.h>
#include <strings.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/json.h"
#include "base/mem.h"
#include "codec/csv.h"
#include "codec/records_priv.h"

/* A line may be longer than its record by a BOM and its line end. */
enum { RECORDS_AROUND = 8 };

const char *const records_names[RECORDS_FORMATS] = {"ndjson", "json", "csv"};

static bool records_has_ending(const char *name, const char *ending)
{
    size_t n = name != NULL ? strlen(name) : 0, m = strlen(ending);
    return n > m && strcasecmp(name + n - m, ending) == 0;
}

enum records_format records_guess(const char *name, const char *head, size_t n)
{
    if (records_has_ending(name, ".csv") || records_has_ending(name, ".tsv"))
        return RECORDS_CSV;
    if (records_has_ending(name, ".ndjson") || records_has_ending(name, ".jsonl"))
        return RECORDS_NDJSON;
    size_t at = n >= 3 && memcmp(head, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;
    while (at < n && records_is_space(head[at]))
        at++;
    if (at < n && head[at] == '[')
        return RECORDS_JSON;
    return at < n && head[at] == '{' ? RECORDS_NDJSON : RECORDS_CSV;
}

bool records_format_parse(const char *s, enum records_format *out)
{
    for (size_t i = 0; i < RECORDS_FORMATS; i++)
        if (strcmp(s, records_names[i]) == 0) {
            *out = (enum records_format)i;
            return true;
        }
    return false;
}

struct records *records_make(enum records_format format)
{
    struct records *r = mem_new(sizeof(*r));
    r->format = format;
    r->p = ""; /* until the first piece */
    r->place = r->saved = (struct json_place){1, 1, 0};
    /* A row repeats the names of its columns, so it may grow past what was read. */
    buf_init(&r->text,
             format == RECORDS_CSV ? 4 * RECORDS_RECORD_MAX : RECORDS_RECORD_MAX + RECORDS_AROUND);
    return r;
}

struct records *records_new(enum records_format format, char delimiter)
{
    struct records *r = records_make(format);
    r->delimiter = delimiter != 0 ? delimiter : ',';
    if (format == RECORDS_CSV)
        r->csv = csv_new(&(struct csv_options){.delimiter = r->delimiter, .header = true});
    return r;
}

void records_free(struct records *r)
{
    if (r == NULL)
        return;
    csv_free(r->csv);
    json_decref(r->value);
    buf_fini(&r->text);
    mem_free(r);
}

uint64_t records_offset(const struct records *r)
{
    return r->saved.offset;
}

void records_feed(struct records *r, const char *p, size_t n)
{
    ASSERT(r->broken || r->at == r->n);
    r->p = p;
    r->n = n;
    r->at = 0;
    if (r->csv != NULL && !r->broken) {
        csv_feed(r->csv, p, n);
        r->at = n;
    }
}

void records_finish(struct records *r)
{
    r->finished = true;
    if (r->csv != NULL)
        csv_finish(r->csv);
}

bool records_is_broken(const struct records *r)
{
    return r->broken;
}

/* ---- what all formats share ---- */

void records_take(struct records *r, size_t n)
{
    const char *from = r->p + r->at, *newline;
    size_t rest = n;
    while (rest > 0 && (newline = memchr(from, '\n', rest)) != NULL) {
        r->place.line++;
        r->place.column = 1;
        rest -= (size_t)(newline + 1 - from);
        from = newline + 1;
    }
    r->place.column += rest;
    r->place.offset += n;
    r->at += n;
}

int records_broken_at(struct records *r, struct record *rec, struct err *e, const char *what)
{
    r->broken = true;
    rec->line = r->place.line;
    rec->offset = rec->end = r->place.offset;
    return err_set(e, ERR_INVALID, "line %llu, column %llu, offset %llu: %s",
                   (unsigned long long)r->place.line, (unsigned long long)r->place.column,
                   (unsigned long long)r->place.offset, what);
}

int records_deliver(struct records *r, const char *text, size_t n, struct record *rec,
                    struct err *e)
{
    *rec = (struct record){.json = text,
                           .n = n,
                           .number = ++r->number,
                           .line = r->begin.line,
                           .offset = r->begin.offset,
                           .end = r->place.offset};
    r->saved = r->place;
    if (buf_failed(&r->text) || n > RECORDS_RECORD_MAX)
        return err_set(e, ERR_TOO_LARGE, "line %llu: the record is larger than %d bytes",
                       (unsigned long long)rec->line, RECORDS_RECORD_MAX);
    AUTO(json_unref) json_t *v = json_read_at(text, n, &r->begin, e);
    if (v == NULL && r->format == RECORDS_NDJSON && rec->number == 1 && e != NULL)
        err_set(e, ERR_INVALID, "%s (NDJSON has one whole object per line)", e->text);
    if (v == NULL)
        return ERR_INVALID;
    if (json_is_object(v)) {
        rec->value = r->value = TAKE(v);
        return 1;
    }
    return err_set(e, ERR_INVALID, "line %llu, column %llu: a record must be an object, not %s",
                   (unsigned long long)r->begin.line, (unsigned long long)r->begin.column,
                   json_type_name(v));
}

/* ---- NDJSON ---- */

static bool records_is_blank(const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!records_is_space(s[i]))
            return false;
    return true;
}

/* One line is in the piece up to r->at, its beginning perhaps in r->text. 0: it is blank. */
static int records_line(struct records *r, const char *p, size_t n, struct record *rec,
                        struct err *e)
{
    if (r->text.len > 0 || buf_failed(&r->text)) {
        buf_add(&r->text, p, n);
        p = buf_str(&r->text);
        n = r->text.len;
    }
    if (r->begin.offset == 0 && n >= 3 && memcmp(p, "\xef\xbb\xbf", 3) == 0) {
        p += 3;
        n -= 3;
        r->begin.offset += 3;
    }
    while (n > 0 && (p[n - 1] == '\n' || p[n - 1] == '\r'))
        n--;
    if (!buf_failed(&r->text) && records_is_blank(p, n)) {
        r->saved = r->place;
        return 0;
    }
    return records_deliver(r, p, n, rec, e);
}

static int records_next_line(struct records *r, struct record *rec, struct err *e)
{
    for (;;) {
        const char *from = r->p + r->at;
        size_t left = r->n - r->at;
        const char *newline = left > 0 ? memchr(from, '\n', left) : NULL;
        size_t n = newline != NULL ? (size_t)(newline + 1 - from) : left;
        /* A line that begins here, not in an earlier piece. */
        if (r->place.offset == r->saved.offset) {
            r->begin = r->place;
            buf_reset(&r->text);
        }
        bool any = n > 0 || r->text.len > 0 || buf_failed(&r->text);
        if (newline == NULL && !r->finished) {
            buf_add(&r->text, from, n);
            records_take(r, n);
            return 0;
        }
        if (!any)
            return 0;
        records_take(r, n);
        int rc = records_line(r, from, n, rec, e);
        if (rc != 0)
            return rc;
    }
}

/* ---- CSV ---- */

static int records_print_row(struct records *r, const struct csv_record *row, struct err *e)
{
    size_t count;
    const struct str *columns = csv_columns(r->csv, &count);
    buf_reset(&r->text);
    buf_addc(&r->text, '{');
    for (size_t i = 0; i < row->count; i++) {
        if (i > 0)
            buf_addc(&r->text, ',');
        json_print_string(&r->text, columns[i].p, columns[i].n);
        buf_addc(&r->text, ':');
        json_print_string(&r->text, row->fields[i].p, row->fields[i].n);
    }
    buf_addc(&r->text, '}');
    return buf_check(&r->text, "the record as JSON", e);
}

static int records_next_row(struct records *r, struct record *rec, struct err *e)
{
    struct csv_record row;
    int rc = csv_next(r->csv, &row, e);
    if (rc == 0)
        return 0;
    r->broken = csv_is_broken(r->csv);
    if (rc > 0) {
        int bad = records_print_row(r, &row, e);
        rc = bad != 0 ? bad : 1;
    }
    *rec = (struct record){.json = buf_str(&r->text),
                           .n = rc > 0 ? r->text.len : 0,
                           .number = r->number + 1,
                           .line = row.line,
                           .offset = row.offset,
                           .end = row.end};
    if (!r->broken) {
        r->number++;
        csv_place(r->csv, &r->saved.offset, &r->saved.line);
    }
    return rc;
}

int records_next(struct records *r, struct record *rec, struct err *e)
{
    json_decref(r->value);
    r->value = NULL;
    if (r->broken)
        return 0;
    switch (r->format) {
    case RECORDS_NDJSON:
        return records_next_line(r, rec, e);
    case RECORDS_JSON:
        return records_next_element(r, rec, e);
    case RECORDS_CSV:
        return records_next_row(r, rec, e);
    }
    return 0;
}
