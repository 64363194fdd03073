#include "codec/records.h"

#include <string.h>
#include <strings.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/json.h"
#include "base/mem.h"
#include "codec/csv.h"

/* The frame of an array. Only `step` functions move the state.
 *
 * [START] -- '[' --> [FIRST] -- ']' ------------------------> [END]
 *                       |                                       ^
 *                       v          whole                        |
 *                    [INSIDE] ------------------> [AFTER] ----']'
 *                       ^                            |
 *                       +--------- [NEXT] <--- ',' --+
 *
 * INSIDE knows nesting and strings, no more: whether the brackets pair up is json_read's matter. */
enum records_state {
    RECORDS_START,
    RECORDS_FIRST,
    RECORDS_NEXT,
    RECORDS_INSIDE,
    RECORDS_AFTER,
    RECORDS_END
};

/* A line may be longer than its record by a BOM and its line end. */
enum { RECORDS_AROUND = 8 };

struct records {
    enum records_format format;
    bool finished, broken;

    const char *p; /* the piece */
    size_t n, at;
    struct json_place place; /* of p[at]; the column counts bytes */

    enum records_state state;
    size_t depth;
    bool in_string, escaped, bare; /* inside of an element; bare: a number or a word */

    char delimiter;
    struct csv *csv;
    json_t *value;           /* of the record handed out last */
    struct buf text;         /* of a record that came in several pieces, or of a CSV row */
    struct json_place begin; /* of the record */
    struct json_place saved; /* behind the last record */
    uint64_t number;
};

static const char *const records_names[] = {"ndjson", "json", "csv"};

static bool records_has_ending(const char *name, const char *ending)
{
    size_t n = name != NULL ? strlen(name) : 0, m = strlen(ending);
    return n > m && strcasecmp(name + n - m, ending) == 0;
}

static bool records_is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
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
    for (size_t i = 0; i < ARRAY_LEN(records_names); i++)
        if (strcmp(s, records_names[i]) == 0) {
            *out = (enum records_format)i;
            return true;
        }
    return false;
}

static struct records *records_make(enum records_format format)
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

/* Moves over n bytes of the piece. */
static void records_take(struct records *r, size_t n)
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

static int records_broken_at(struct records *r, struct record *rec, struct err *e, const char *what)
{
    r->broken = true;
    rec->line = r->place.line;
    rec->offset = rec->end = r->place.offset;
    return err_set(e, ERR_INVALID, "line %llu, column %llu, offset %llu: %s",
                   (unsigned long long)r->place.line, (unsigned long long)r->place.column,
                   (unsigned long long)r->place.offset, what);
}

/* Checks one whole text and fills *rec. 1 or a negative code. */
static int records_deliver(struct records *r, const char *text, size_t n, struct record *rec,
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

/* ---- array ---- */

static void records_begin_element(struct records *r, char c)
{
    r->state = RECORDS_INSIDE;
    r->begin = r->place;
    r->depth = 0;
    r->in_string = r->escaped = false;
    r->bare = c != '{' && c != '[' && c != '"';
    buf_reset(&r->text);
}

/* The bytes of the piece from r->at that belong to the element; *whole when it ends there. */
static size_t records_scan(struct records *r, bool *whole)
{
    size_t i = r->at;
    for (; i < r->n; i++) {
        char c = r->p[i];
        if (r->bare) {
            if (records_is_space(c) || c == ',' || c == ']' || c == '}')
                break;
            continue;
        }
        if (r->escaped) {
            r->escaped = false;
        } else if (r->in_string) {
            r->escaped = c == '\\';
            r->in_string = c != '"';
        } else if (c == '"') {
            r->in_string = true;
        } else if (c == '{' || c == '[') {
            r->depth++;
        } else if (c == '}' || c == ']') {
            r->depth--;
        }
        if (r->depth == 0 && !r->in_string) {
            *whole = true;
            return i + 1 - r->at;
        }
    }
    *whole = r->bare && i < r->n;
    return i - r->at;
}

/* 1 or negative: a record; 0: the element goes on in the next piece. */
static int records_step_inside(struct records *r, struct record *rec, struct err *e)
{
    bool whole = false;
    const char *from = r->p + r->at;
    size_t n = records_scan(r, &whole);
    records_take(r, n);
    if (!whole || r->text.len > 0 || buf_failed(&r->text)) {
        buf_add(&r->text, from, n);
        from = buf_str(&r->text);
        if (whole)
            n = r->text.len;
    }
    if (!whole)
        return 0;
    r->state = RECORDS_AFTER;
    return records_deliver(r, from, n, rec, e);
}

static int records_step_between(struct records *r, struct record *rec, struct err *e)
{
    char c = r->p[r->at];
    bool open = r->state == RECORDS_FIRST || r->state == RECORDS_NEXT;
    if (r->state == RECORDS_START && c == '[') {
        r->state = RECORDS_FIRST;
    } else if (r->state == RECORDS_START && r->place.offset < 3 &&
               c == "\xef\xbb\xbf"[r->place.offset]) {
        /* a BOM; what is only a part of one is not followed by '[' and fails there */
    } else if ((r->state == RECORDS_FIRST || r->state == RECORDS_AFTER) && c == ']') {
        r->state = RECORDS_END;
    } else if (r->state == RECORDS_AFTER && c == ',') {
        r->state = RECORDS_NEXT;
    } else if (open && c != ',' && c != ']' && c != '}') {
        records_begin_element(r, c);
        return 0;
    } else if (!records_is_space(c)) {
        return records_broken_at(r, rec, e,
                                 r->state == RECORDS_START   ? "an array must begin with '['"
                                 : r->state == RECORDS_AFTER ? "',' or ']' expected"
                                 : r->state == RECORDS_END   ? "text behind the end of the array"
                                                             : "an element is missing");
    }
    records_take(r, 1);
    return 0;
}

static int records_end_array(struct records *r, struct record *rec, struct err *e)
{
    if (r->state == RECORDS_END)
        return 0;
    *rec = (struct record){.number = r->number + 1};
    if (r->state == RECORDS_START)
        return records_broken_at(r, rec, e, "the text is empty; an array was expected");
    if (r->state == RECORDS_INSIDE)
        r->place = r->begin;
    return records_broken_at(r, rec, e,
                             r->state == RECORDS_INSIDE
                                 ? "the element that begins here is not complete"
                                 : "the array is not closed; is the file cut off?");
}

static int records_next_element(struct records *r, struct record *rec, struct err *e)
{
    *rec = (struct record){.number = r->number + 1};
    while (r->at < r->n) {
        if (r->state != RECORDS_INSIDE && records_is_space(r->p[r->at])) {
            records_take(r, 1);
            continue;
        }
        int rc = r->state == RECORDS_INSIDE ? records_step_inside(r, rec, e)
                                            : records_step_between(r, rec, e);
        if (rc != 0)
            return rc;
    }
    return r->finished ? records_end_array(r, rec, e) : 0;
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

/* ---- the state as text ---- */

int records_save(const struct records *r, struct buf *out, struct err *e)
{
    size_t count = 0;
    const struct str *columns = r->csv != NULL ? csv_columns(r->csv, &count) : NULL;
    buf_addf(
        out, "{\"format\":\"%s\",\"number\":%llu,\"line\":%llu,\"column\":%llu,\"offset\":%llu",
        records_names[r->format], (unsigned long long)r->number, (unsigned long long)r->saved.line,
        (unsigned long long)r->saved.column, (unsigned long long)r->saved.offset);
    if (r->format == RECORDS_CSV) {
        buf_adds(out, ",\"delimiter\":");
        json_print_string(out, &r->delimiter, 1);
        buf_adds(out, ",\"columns\":[");
        for (size_t i = 0; columns != NULL && i < count; i++) {
            if (!str_is_utf8(columns[i].p, columns[i].n) ||
                memchr(columns[i].p, '\0', columns[i].n))
                return err_set(e, ERR_INVALID, "column %zu of the header is not UTF-8 text", i + 1);
            if (i > 0)
                buf_addc(out, ',');
            json_print_string(out, columns[i].p, columns[i].n);
        }
        buf_addc(out, ']');
    }
    buf_addc(out, '}');
    return buf_check(out, "the state of the import", e);
}

static int records_get_count(const json_t *v, const char *key, uint64_t *out, struct err *e)
{
    int64_t n;
    int rc = json_get_int(v, key, &n, e);
    if (rc != 0 || n < 0)
        return rc == ERR_INVALID ? rc : err_field(e, ERR_INVALID, key, "'%s' must be a count", key);
    *out = (uint64_t)n;
    return 0;
}

static int records_resume_csv(struct records *r, const json_t *v, struct err *e)
{
    struct str names[CSV_FIELDS_MAX];
    const json_t *columns = json_object_get(v, "columns"), *name;
    const char *delimiter;
    size_t i, count = json_array_size(columns);
    if (json_get_string(v, "delimiter", &delimiter, NULL) != 0 || strlen(delimiter) != 1)
        return err_set(e, ERR_INVALID, "'delimiter' must be one character");
    if ((count == 0) != (r->saved.offset == 0) || count > CSV_FIELDS_MAX)
        return err_set(e, ERR_INVALID, "'columns' do not fit 'offset'");
    json_array_foreach(columns, i, name)
    {
        if (!json_is_string(name))
            return err_set(e, ERR_INVALID, "'columns' must be names");
        names[i] = (struct str){json_string_value(name), json_string_length(name)};
    }
    r->delimiter = *delimiter;
    r->csv = csv_new(&(struct csv_options){.delimiter = r->delimiter,
                                           .header = true,
                                           .columns = count > 0 ? names : NULL,
                                           .column_count = count,
                                           .offset = r->saved.offset,
                                           .line = r->saved.line});
    return 0;
}

static void records_freep(struct records **r)
{
    records_free(*r);
}

int records_resume(const char *state, size_t n, struct records **out, struct err *e)
{
    const char *name;
    enum records_format format;
    AUTO(json_unref) json_t *v = json_read(state, n, e);
    if (v == NULL)
        return err_context(e, "the state of the import");
    if (json_get_string(v, "format", &name, NULL) != 0 || !records_format_parse(name, &format))
        return err_set(e, ERR_INVALID, "the state of the import: no known 'format'");
    AUTO(records_freep) struct records *r = records_make(format);
    int rc = records_get_count(v, "number", &r->number, e);
    if (rc == 0)
        rc = records_get_count(v, "line", &r->saved.line, e);
    if (rc == 0)
        rc = records_get_count(v, "column", &r->saved.column, e);
    if (rc == 0)
        rc = records_get_count(v, "offset", &r->saved.offset, e);
    if (rc == 0 && format == RECORDS_CSV)
        rc = records_resume_csv(r, v, e);
    if (rc != 0)
        return e != NULL ? err_context(e, "the state of the import") : rc;
    r->place = r->saved;
    /* Only behind an element can an array be left; at offset 0 nothing was read. */
    r->state = r->saved.offset > 0 ? RECORDS_AFTER : RECORDS_START;
    *out = TAKE(r);
    return 0;
}
