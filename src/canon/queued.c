/* Arrivals as messages: the names of their queues, and what the body of one says. */
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/time.h"
#include "canon/canon.h"

#define QUEUE_PREFIX "canon."
#define QUEUE_STAGED ".staged"
#define QUEUE_PARKED ".parked"

enum { QUEUED_TAGS_MAX = 64 << 10 /* bytes of all tags */ };

/* ---- names ---- */

void canon_queue_name(const char *model, bool staged, char out[CANON_QUEUE_NAME_MAX])
{
    snprintf(out, CANON_QUEUE_NAME_MAX, QUEUE_PREFIX "%s%s", model, staged ? QUEUE_STAGED : "");
}

void canon_parked_name(const char *model, char out[CANON_QUEUE_NAME_MAX])
{
    snprintf(out, CANON_QUEUE_NAME_MAX, QUEUE_PREFIX "%s" QUEUE_PARKED, model);
}

bool canon_parked_model(const char *queue, char out[CANON_QUEUE_NAME_MAX])
{
    if (!canon_queue_is_ours(queue) || !str_ends(queue, QUEUE_PARKED) ||
        strlen(queue) < strlen(QUEUE_PREFIX QUEUE_PARKED))
        return false;
    str_copy(out, CANON_QUEUE_NAME_MAX, queue + strlen(QUEUE_PREFIX));
    out[strlen(queue) - strlen(QUEUE_PREFIX QUEUE_PARKED)] = '\0';
    return str_check_name(out, "model", NULL) == 0;
}

bool canon_queue_is_ours(const char *queue)
{
    return str_starts(queue, QUEUE_PREFIX);
}

bool canon_queue_model(const char *queue, char out[CANON_QUEUE_NAME_MAX])
{
    if (!canon_queue_is_ours(queue))
        return false;
    const char *model = queue + strlen(QUEUE_PREFIX);
    str_copy(out, CANON_QUEUE_NAME_MAX, model);
    return str_check_name(model, "model", NULL) == 0;
}

const char *canon_queue_key(const struct canon_arrival *a, char out[CANON_QUEUE_KEY_MAX])
{
    if (a->source_id == NULL || *a->source_id == '\0' || a->origin == NULL)
        return NULL;
    snprintf(out, CANON_QUEUE_KEY_MAX, "%s/%s", a->origin, a->source_id);
    return out;
}

/* ---- writing ---- */

static void print_text(struct buf *out, const char *name, const char *text)
{
    if (text == NULL || *text == '\0')
        return;
    buf_addf(out, "\"%s\":", name);
    json_print_string(out, text, strlen(text));
    buf_addc(out, ',');
}

static void print_time(struct buf *out, const char *name, int64_t ms)
{
    char text[TIME_TEXT];
    time_format(ms, text);
    buf_addf(out, "\"%s\":\"%s\",", name, text);
}

static int print_part(const json_t *v, size_t max, const char *name, struct buf *out, struct err *e)
{
    size_t from = out->len;
    int rc = json_print(v, out, e);
    if (rc == 0 && out->len - from > max)
        rc = err_field(e, ERR_TOO_LARGE, name, "%s: at most %zu bytes", name, max);
    return rc;
}

static int print_data(const struct canon_arrival *a, struct buf *out, struct err *e)
{
    if (a->text == NULL)
        return print_part(a->data, CANON_BODY_MAX, "data", out, e);
    if (a->text_len > CANON_BODY_MAX)
        return err_field(e, ERR_TOO_LARGE, "data", "data: at most %d bytes", CANON_BODY_MAX);
    buf_add(out, a->text, a->text_len);
    return 0;
}

int canon_queued_print(const struct canon_arrival *a, int64_t now, bool skip_distribution,
                       struct buf *out, struct err *e)
{
    int rc = 0;
    buf_addc(out, '{');
    print_text(out, "origin", a->origin);
    print_text(out, "source_id", a->source_id);
    if (a->observed_at != INT64_MIN)
        print_time(out, "observed_at", a->observed_at);
    print_time(out, "arrived_at", now);
    if (a->tags != NULL) {
        buf_adds(out, "\"tags\":");
        rc = print_part(a->tags, QUEUED_TAGS_MAX, "tags", out, e);
        buf_addc(out, ',');
    }
    if (skip_distribution)
        buf_adds(out, "\"skip_distribution\":true,");
    buf_adds(out, "\"data\":");
    if (rc == 0)
        rc = print_data(a, out, e);
    buf_addc(out, '}');
    return rc == 0 ? buf_check(out, "an arrival", e) : rc;
}

void canon_ending_print(const struct canon_ending *end, struct buf *out)
{
    static const char *const names[] = {"canonized", "noop", "parked", "failed"};
    buf_addc(out, '{');
    print_text(out, "id", end->golden_id);
    print_text(out, "reason", end->reason);
    if (end->outcome == CANON_PARKED)
        print_text(out, "detail", end->detail);
    print_text(out, "arrival", end->arrival_id);
    if (end->merged > 0)
        buf_addf(out, "\"merged\":%u,", end->merged);
    buf_addf(out, "\"outcome\":\"%s\"}", names[end->outcome]);
}

/* ---- reading ---- */

static int read_text(const json_t *o, const char *name, const char **out, struct err *e)
{
    int rc = json_get_string(o, name, out, e);
    if (rc == ERR_NOT_FOUND) {
        err_clear(e);
        rc = 0;
    }
    return rc;
}

static int read_time(const json_t *o, const char *name, int64_t *out, struct err *e)
{
    const char *text = NULL;
    int rc = read_text(o, name, &text, e);
    if (rc == 0 && text != NULL && !time_parse(text, strlen(text), out))
        rc = err_field(e, ERR_INVALID, name, "%s: '%.40s' is not a time like 2026-11-22T13:57:14Z",
                       name, text);
    return rc;
}

/* Out of the message, so that whoever has it is its only holder. */
static json_t *take_object(json_t *o, const char *name, struct err *e)
{
    json_t *v = json_incref(json_object_get(o, name));
    json_object_del(o, name);
    if (v == NULL || json_is_object(v))
        return v;
    if (!json_is_null(v))
        err_field(e, ERR_INVALID, name, "%s must be an object, not %s", name, json_type_name(v));
    json_decref(v);
    return NULL;
}

static int queued_fill(json_t *o, const struct json_note *note, struct canon_queued *out,
                       struct err *e)
{
    static const char *const names[] = {"origin", "source_id",         "observed_at", "arrived_at",
                                        "tags",   "skip_distribution", "data",        "rejected"};
    struct canon_arrival *a = &out->arrival;
    int rc = json_only_keys(o, "an arrival", names, sizeof names / sizeof names[0], e);
    if (rc != 0 || (rc = read_text(o, "origin", &a->origin, e)) != 0 ||
        (rc = read_text(o, "source_id", &a->source_id, e)) != 0 ||
        (rc = read_time(o, "observed_at", &a->observed_at, e)) != 0 ||
        (rc = read_time(o, "arrived_at", &a->arrived_at, e)) != 0)
        return rc;
    rc = json_get_bool(o, "skip_distribution", &out->skip_distribution, e);
    if (rc != 0 && rc != ERR_NOT_FOUND)
        return rc;
    err_clear(e);
    a->tags = take_object(o, "tags", e);
    a->text = note->text;
    a->text_len = note->n;
    if (note->spared)
        json_object_del(o, "data");
    else if (e->code == 0)
        a->data = take_object(o, "data", e);
    if (e->code == 0 && !note->spared && a->data == NULL)
        return err_field(e, ERR_INVALID, "data", "data is missing: what the source says");
    return e->code;
}

int canon_queued_read(const char *text, size_t n, bool spare, struct canon_queued *out,
                      struct err *e)
{
    static const struct json_place start = {1, 1, 0};
    struct json_note note = {.member = "data", .spare = spare};
    struct err own = ERR_INIT;
    e = e != NULL ? e : &own;
    *out = (struct canon_queued){.arrival = {.observed_at = INT64_MIN}};
    out->held = json_read_noting(text, n, &start, &note, e);
    if (out->held == NULL)
        return e->code;
    if (!json_is_object(out->held))
        return err_set(e, ERR_INVALID, "an arrival is an object with origin, data ..., not %s",
                       json_type_name(out->held));
    return queued_fill(out->held, &note, out, e);
}

void canon_queued_fini(struct canon_queued *q)
{
    json_decref(q->arrival.data);
    json_decref(q->arrival.tags);
    json_decref(q->held);
    q->arrival.data = q->arrival.tags = q->held = NULL;
}
