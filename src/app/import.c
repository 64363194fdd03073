#include "app/import.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "app/import_priv.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "io/file.h"

/* ---- opening ---- */

static int import_open_file(struct import *im, struct err *e)
{
    struct stat st;
    bool standard = strcmp(im->o.path, "-") == 0;
    im->fd = standard ? dup(STDIN_FILENO) : open(im->o.path, O_RDONLY | O_CLOEXEC);
    if (im->fd < 0 || fstat(im->fd, &st) != 0)
        return file_error(e, errno, "open", im->o.path);
    if (S_ISDIR(st.st_mode))
        return err_set(e, ERR_INVALID, "%s: is a folder, a file was expected", im->o.path);
    if (S_ISREG(st.st_mode) && !standard) {
        im->size = (uint64_t)st.st_size;
        im->mtime_ns = (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec;
        return import_state_open(im, e);
    }
    if (im->o.resume)
        return err_set(e, ERR_UNSUPPORTED, "%s: only a file can be taken up again", im->o.path);
    return 0;
}

static ssize_t import_read(struct import *im, struct err *e)
{
    ssize_t n;
    while ((n = read(im->fd, im->chunk, IMPORT_READ)) < 0 && errno == EINTR)
        continue;
    if (n < 0)
        file_error(e, errno, "read", im->o.path);
    return n;
}

static int import_begin(struct import *im, struct err *e)
{
    enum records_format format;
    ssize_t n = import_read(im, e);
    if (n < 0)
        return e->code;
    if (im->o.format == NULL)
        format = records_guess(im->o.path, im->chunk, (size_t)n);
    else if (!records_format_parse(im->o.format, &format))
        return err_set(e, ERR_INVALID, "--format: '%s' is none of ndjson, json, csv", im->o.format);
    bool tabs = str_ends(im->o.path, ".tsv");
    im->records = records_new(format, tabs ? '\t' : 0);
    records_feed(im->records, im->chunk, (size_t)n);
    if (n == 0) {
        records_finish(im->records);
        im->eof = true;
    }
    return 0;
}

int import_open(const struct import_options *o, struct import *im, struct err *e)
{
    *im = (struct import){.o = *o, .fd = -1};
    list_init(&im->open);
    buf_init(&im->acked_state, RECORDS_STATE_MAX);
    im->outcomes = json_object();
    im->reasons = json_object();
    im->chunk = mem_try(IMPORT_READ);
    if (im->chunk == NULL)
        return err_set(e, ERR_NOMEM, "no memory for a read buffer");
    if (import_open_file(im, e) != 0)
        return e->code;
    if (o->rejects != NULL && (im->rejects = fopen(o->rejects, o->resume ? "ae" : "we")) == NULL)
        return file_error(e, errno, "open", o->rejects);
    return o->resume ? import_state_resume(im, e) : import_begin(im, e);
}

static void import_batch_free(struct import_batch *b)
{
    list_remove(&b->link);
    buf_fini(&b->body);
    buf_fini(&b->texts);
    buf_fini(&b->state);
    mem_free(b->items);
    mem_free(b);
}

void import_close(struct import *im)
{
    while (!list_is_empty(&im->open))
        import_batch_free(LIST_OF(im->open.next, struct import_batch, link));
    records_free(im->records);
    buf_fini(&im->acked_state);
    json_decref(im->outcomes);
    json_decref(im->reasons);
    mem_free(im->chunk);
    mem_free(im->state_path);
    if (im->rejects != NULL)
        fclose(im->rejects);
    if (im->fd >= 0)
        close(im->fd);
}

/* ---- what becomes of records ---- */

static void import_count(json_t *counts, const char *name)
{
    const json_t *had = json_object_get(counts, name);
    if (had == NULL && json_object_size(counts) >= IMPORT_REASONS_MAX)
        had = json_object_get(counts, name = "other");
    json_object_set_new(counts, name, json_integer(json_integer_value(had) + 1));
}

/* `text` is JSON, or NULL when the record could not be read. */
static int import_reject(struct import *im, const struct import_item *at, const char *reason,
                         const char *detail, const char *text, struct err *e)
{
    im->rejected++;
    if (im->first.code == 0)
        err_set(&im->first, ERR_INVALID, "line %llu: %s%s%s", (unsigned long long)at->line, reason,
                *detail != '\0' ? ": " : "", detail);
    if (im->rejects == NULL)
        return 0;
    AUTO(buf_fini) struct buf b = BUF_INIT(2 * RECORDS_RECORD_MAX + ERR_TEXT_MAX);
    buf_addf(&b, "{\"line\":%llu,\"record\":%llu,\"reason\":", (unsigned long long)at->line,
             (unsigned long long)at->number);
    json_print_string(&b, reason, strlen(reason));
    buf_adds(&b, ",\"detail\":");
    json_print_string(&b, detail, strlen(detail));
    if (text != NULL) {
        buf_adds(&b, ",\"data\":");
        buf_add(&b, text, at->n);
    }
    buf_adds(&b, "}\n");
    if (fwrite(buf_str(&b), 1, b.len, im->rejects) != b.len || fflush(im->rejects) != 0)
        return file_error(e, errno, "write", im->o.rejects);
    return 0;
}

/* A field as text: strings as they are, numbers in their JSON form. NULL: absent. */
static int import_field(const json_t *o, const char *name, struct buf *out, struct err *e)
{
    const json_t *v = json_object_get(o, name);
    if (v == NULL || json_is_null(v))
        return err_set(e, ERR_INVALID, "the field '%s' is missing", name);
    if (json_is_string(v))
        buf_adds(out, json_string_value(v));
    else if (json_is_number(v))
        json_print(v, out, NULL);
    else
        return err_set(e, ERR_INVALID, "the field '%s' is %s, a text or number was expected", name,
                       json_type_name(v));
    return 0;
}

static int import_named(struct buf *body, const json_t *o, const char *member, const char *field,
                        struct err *e)
{
    AUTO(buf_fini) struct buf text = BUF_INIT(RECORDS_RECORD_MAX);
    if (field == NULL)
        return 0;
    if (import_field(o, field, &text, e) != 0)
        return e->code;
    buf_addf(body, "\"%s\":", member);
    json_print_string(body, buf_str(&text), text.len);
    buf_addc(body, ',');
    return 0;
}

/* {"source_id":"17","observed_at":"...","data":{...}} */
static int import_arrival(const struct import *im, const struct record *rec, struct buf *body,
                          struct err *e)
{
    const struct import_options *o = &im->o;
    AUTO(json_unref) json_t *own = NULL;
    const json_t *v = rec->value;
    if (v == NULL && (o->source_id != NULL || o->observed_field != NULL)) {
        v = own = json_read(rec->json, rec->n, e);
        if (v == NULL)
            return e->code;
    }
    buf_addc(body, '{');
    if (import_named(body, v, "source_id", o->source_id, e) != 0 ||
        import_named(body, v, "observed_at", o->observed_field, e) != 0)
        return e->code;
    if (o->observed_field == NULL && o->observed_at != NULL)
        buf_addf(body, "\"observed_at\":\"%s\",", o->observed_at);
    buf_adds(body, "\"data\":");
    buf_add(body, rec->json, rec->n);
    buf_adds(body, "}\n");
    return 0;
}

static int import_add(struct import *im, struct import_batch *b, const struct record *rec,
                      struct err *e)
{
    struct err why = ERR_INIT;
    struct import_item *item = &b->items[b->count];
    *item = (struct import_item){
        .number = rec->number, .line = rec->line, .at = b->texts.len, .n = rec->n};
    size_t before = b->body.len;
    if (im->o.canon == NULL) {
        buf_adds(&b->body, b->count == 0 ? "[" : ",");
        before = b->body.len;
        buf_add(&b->body, rec->json, rec->n);
    } else if (import_arrival(im, rec, &b->body, &why) != 0) {
        b->body.len = before;
        import_count(im->outcomes, "failed");
        im->answered++;
        return import_reject(im, item, err_info(why.code)->name, why.text, rec->json, e);
    }
    item->body_at = before;
    item->body_n = b->body.len - before;
    buf_add(&b->texts, rec->json, rec->n);
    b->count++;
    return 0;
}

/* ---- batches ---- */

static int import_bad(struct import *im, const struct record *rec, const struct err *why,
                      struct err *e)
{
    struct import_item at = {.number = rec->number, .line = rec->line};
    import_count(im->outcomes, "failed");
    im->answered++;
    if (!records_is_broken(im->records))
        return import_reject(im, &at, err_info(why->code)->name, why->text, NULL, e);
    return err_set(e, why->code, "%s: %s", im->o.path, why->text);
}

/* Fills `b` as far as it goes. 1: full; 0: the file is at its end. */
static int import_fill(struct import *im, struct import_batch *b, struct err *e)
{
    struct record rec;
    while (b->count < (size_t)im->o.batch && b->body.len < IMPORT_BATCH_BYTES) {
        struct err why = ERR_INIT;
        int rc = records_next(im->records, &rec, &why);
        if (rc == 1)
            rc = import_add(im, b, &rec, e);
        else if (rc < 0)
            rc = import_bad(im, &rec, &why, e);
        else if (im->eof)
            return 0;
        else {
            ssize_t n = import_read(im, e);
            if (n < 0)
                return e->code;
            im->eof = n == 0;
            if (im->eof)
                records_finish(im->records);
            else
                records_feed(im->records, im->chunk, (size_t)n);
        }
        if (rc < 0)
            return rc;
    }
    return 1;
}

static struct import_batch *import_batch_new(const struct import *im)
{
    struct import_batch *b = mem_new(sizeof *b);
    size_t max = IMPORT_BATCH_BYTES + 2 * RECORDS_RECORD_MAX;
    buf_init(&b->body, max);
    buf_init(&b->texts, max);
    buf_init(&b->state, RECORDS_STATE_MAX);
    b->items = mem_new_array((size_t)im->o.batch, sizeof *b->items);
    list_init(&b->link);
    return b;
}

int import_next(struct import *im, struct import_batch **out, struct err *e)
{
    *out = NULL;
    if (records_is_broken(im->records))
        return 0;
    struct import_batch *b = import_batch_new(im);
    int rc = import_fill(im, b, e);
    if (rc >= 0)
        rc = records_save(im->records, &b->state, e);
    if (rc == 0 && im->o.canon == NULL && b->count > 0)
        buf_addc(&b->body, ']');
    if (rc == 0)
        rc = buf_check(&b->body, "batch", e);
    if (rc != 0 || b->count == 0) {
        import_batch_free(b);
        return rc < 0 ? rc : 0;
    }
    b->end = records_offset(im->records);
    list_push(&im->open, &b->link);
    *out = b;
    return 0;
}

/* Take the answered ones off the front. */
static void import_advance(struct import *im)
{
    while (!list_is_empty(&im->open)) {
        struct import_batch *b = LIST_OF(im->open.next, struct import_batch, link);
        if (!b->answered)
            return;
        im->acked = b->end;
        buf_reset(&im->acked_state);
        buf_add(&im->acked_state, b->state.data, b->state.len);
        import_batch_free(b);
    }
}

static int import_result(struct import *im, const struct import_batch *b, size_t i, json_t *r,
                         struct err *e)
{
    const char *outcome = json_string_value(json_object_get(r, "outcome"));
    const char *reason = json_string_value(json_object_get(r, "reason"));
    const json_t *error = json_object_get(r, "error");
    const char *detail = json_is_string(error)
                             ? json_string_value(error)
                             : json_string_value(json_object_get(error, "detail"));
    const char *code = json_string_value(json_object_get(error, "code"));
    if (outcome == NULL)
        outcome = error != NULL && !json_is_null(error) ? "failed" : "done";
    import_count(im->outcomes, outcome);
    im->answered++;
    if (reason == NULL)
        reason = code;
    if (reason != NULL && strcmp(outcome, "noop") != 0) {
        AUTO(mem_freep) char *both = mem_printf("%s %s", outcome, reason);
        import_count(im->reasons, both);
    }
    if (strcmp(outcome, "failed") != 0)
        return 0;
    return import_reject(im, &b->items[i], reason != NULL ? reason : "failed",
                         detail != NULL ? detail : "", b->texts.data + b->items[i].at, e);
}

int import_answered(struct import *im, struct import_batch *b, const json_t *answer, struct err *e)
{
    const json_t *results = json_object_get(answer, "results");
    if (json_array_size(results) != b->count)
        return err_set(e, ERR_INTERNAL, "the server answered %zu results for %zu records",
                       json_array_size(results), b->count);
    for (size_t i = 0; i < b->count; i++)
        if (import_result(im, b, i, json_array_get(results, i), e) != 0)
            return e->code;
    b->answered = true;
    import_advance(im);
    return import_save(im, im->o.canon == NULL, e);
}
