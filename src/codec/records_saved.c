/* Where a reader of records stands, as text, and a reader that goes on from there. */
#include <string.h>

#include "base/err.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "codec/csv.h"
#include "codec/records_priv.h"

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
