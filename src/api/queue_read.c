/* What lies in the log of records: headers, bodies. Read on the pool, each entry once, however many
 * of the records came with it. */
#include <stdlib.h>
#include <string.h>

#include "api/queue_priv.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/time.h"
#include "codec/base64.h"
#include "job/run.h"
#include "trace/trace.h"

/* One entry of the log, the last that was read; or one operation, of those that were moved out of
 * the log, which is at place 0 of its bytes. */
struct read_entry {
    struct db *db;
    uint64_t index;
    struct buf bytes;
    struct err err;
    struct ledger_units *units; /* of those bytes, once `begun` */
    bool begun;
};

/* *at: where in en->bytes the operation of `place` is found. */
static int entry_at(struct queue_reading *r, struct read_entry *en, uint64_t place, uint64_t *at,
                    struct err *e)
{
    struct ledger *ledger = r->job.api->o.ledger;
    uint64_t index = place >> 24;
    if (en->index != index) {
        err_clear(&en->err);
        en->index = index;
        en->begun = false;
        ledger_read(ledger, index, &en->bytes, &en->err);
    }
    *at = place;
    if (en->err.code == ERR_GONE) {
        en->index = UINT64_MAX;
        *at = 0;
        buf_reset(&en->bytes);
        return queue_place_read(ledger, en->db, place, &en->bytes, e);
    }
    if (en->err.code != 0)
        *e = en->err;
    return en->err.code;
}

static void text_add(struct buf *out, const char *name, const char *text)
{
    if (text == NULL)
        return;
    buf_addf(out, ",\"%s\":", name);
    json_print_string(out, text, strlen(text));
}

/* Of the send that was read last, which is still in `en`. */
static int sender_add(struct read_entry *en, uint64_t place, struct buf *out, struct err *e)
{
    struct queue_sender moved;
    struct envelope of_moved;
    const struct envelope *env = &of_moved;
    int rc = 0;
    if (en->index == UINT64_MAX) {
        rc = queue_sender_read(en->db, place, &moved, e);
        of_moved =
            (struct envelope){.principal = *moved.principal != '\0' ? moved.principal : NULL,
                              .causation = *moved.causation != '\0' ? moved.causation : NULL};
    } else {
        if (!en->begun)
            rc = ledger_units_begin(en->units, en->bytes.data, en->bytes.len, e);
        en->begun = rc == 0;
        if (rc == 0)
            rc = ledger_units_at(en->units, (size_t)(place & 0xffffff), &env, e);
    }
    if (rc != 0)
        return rc;
    text_add(out, "sender", env->principal);
    text_add(out, "causation", env->causation);
    return 0;
}

static void body_add(struct buf *out, const struct queue_stored *s, const void *body, size_t n,
                     bool args)
{
    if (s->type == NULL && n > 0) {
        buf_adds(out, args ? ",\"args\":" : ",\"body\":");
        buf_add(out, body, n);
        return;
    }
    buf_adds(out, ",\"body_base64\":\"");
    base64_encode(BASE64_STD, body, n, out);
    buf_addc(out, '"');
}

static int shown_body(struct queue_reading *r, struct read_entry *en, struct queue_shown *s,
                      struct queue_stored *stored, struct buf *out)
{
    const void *body = stored->body;
    size_t n = stored->body_len;
    if (s->body != 0 && s->body != s->place) {
        struct queue_stored *other = mem_new(sizeof *other);
        AUTO(mem_freep) void *held = other;
        uint64_t at;
        int rc = entry_at(r, en, s->body, &at, &s->err);
        if (rc == 0 && s->edited)
            rc = queue_body_read(en->bytes.data, en->bytes.len, at, QUEUE_PLACE_EDIT, &body, &n,
                                 &s->err);
        else if (rc == 0)
            rc = queue_message_read(en->bytes.data, en->bytes.len, at, other, &s->err);
        if (rc != 0)
            return rc;
        if (!s->edited) { /* of the message that replaced it */
            body = other->body;
            n = other->body_len;
        }
    }
    body_add(out, stored, body, n, r->runs);
    return 0;
}

/* What was told with a settlement: the result, which is JSON, or the words of the last error. */
static int shown_told(struct queue_reading *r, struct read_entry *en, uint64_t place,
                      const char *name, struct err *e, struct buf *out)
{
    const void *text;
    size_t n;
    uint64_t at;
    if (place == 0)
        return 0;
    if (entry_at(r, en, place, &at, e) != 0 ||
        queue_body_read(en->bytes.data, en->bytes.len, at, QUEUE_PLACE_SETTLE, &text, &n, e) != 0)
        return e->code;
    if (n == 0)
        return 0;
    buf_addf(out, ",\"%s\":", name);
    if (*name == 'r')
        buf_add(out, text, n);
    else
        json_print_string(out, text, n);
    return 0;
}

static int shown_end(struct queue_reading *r, struct read_entry *en, struct queue_shown *s,
                     struct buf *out)
{
    if (!s->has_view)
        return 0;
    int rc = shown_told(r, en, s->view.result, "result", &s->err, out);
    return rc == 0 ? shown_told(r, en, s->view.error, "error", &s->err, out) : rc;
}

/* The trace of the execution; where its settle told none, that of the message. */
static void past_trace(const struct core_error *x, const struct queue_stored *s, struct buf *out)
{
    static const uint8_t none[CORE_TRACE_BYTES];
    struct trace_span span;
    const uint8_t *id = x->trace;
    if (memcmp(id, none, sizeof none) == 0) {
        if (s->traceparent == NULL && s->correlation == NULL)
            return;
        trace_begin(NULL, s->traceparent, s->correlation, &span);
        id = span.trace.b;
    }
    buf_adds(out, ",\"trace\":\"");
    hex_encode(id, CORE_TRACE_BYTES, out);
    buf_addc(out, '"');
}

/* That its attempts were used up is why a record was discarded; why a try failed is the error. */
static const char *past_reason(enum rec_reason r)
{
    return r == REASON_ATTEMPTS ? "error" : rec_reason_name(r);
}

static void past_errors(struct queue_reading *r, struct read_entry *en,
                        const struct core_history *h, const struct queue_stored *s, struct buf *out)
{
    char at[TIME_TEXT];
    buf_adds(out, ",\"errors\":[");
    for (uint32_t i = 0; i < h->errors_count; i++) {
        const struct core_error *x = &h->errors[i];
        time_format(x->at, at);
        buf_addf(out, "%s{\"at\":\"%s\",\"attempt\":%u,\"reason\":\"%s\"", i > 0 ? "," : "", at,
                 x->attempt, past_reason(x->reason));
        text_add(out, "node", x->node);
        if (x->code != 0)
            buf_addf(out, ",\"code\":%u", x->code);
        shown_told(r, en, x->place, "error", &(struct err)ERR_INIT, out); /* if it is still there */
        past_trace(x, s, out);
        buf_addc(out, '}');
    }
    buf_addf(out, "],\"errors_ever\":%u", h->errors_ever);
}

/* `name`: a run's `history` has the reasons that its row keeps. */
static void past_moves(const struct core_history *h, const char *name, struct buf *out)
{
    char at[TIME_TEXT];
    buf_addf(out, ",\"%s\":[", name);
    for (uint32_t i = 0; i < h->moves_count; i++) {
        const struct core_moved *m = &h->moves[i];
        time_format(m->at, at);
        buf_addf(out, "%s{\"at\":\"%s\",\"what\":\"%s\"", i > 0 ? "," : "", at,
                 core_verb_name(m->verb));
        text_add(out, "by", m->who);
        text_add(out, "from", m->from);
        text_add(out, "to", m->to);
        text_add(out, "reason", m->verb == VERB_DEAD_LETTER ? rec_reason_name(m->reason) : m->why);
        buf_addc(out, '}');
    }
    buf_addf(out, "],\"%s_ever\":%u", name, h->moves_ever);
}

static void past_add(struct queue_reading *r, struct read_entry *en, const struct queue_past *past,
                     const struct queue_stored *s, struct buf *out)
{
    const struct core_history *h = &past->h;
    past_errors(r, en, h, s, out);
    past_moves(h, r->runs ? "moves" : "history", out);
    buf_adds(out, ",\"died_in\":[");
    for (uint32_t i = 0; i < h->died_count; i++) {
        buf_adds(out, i > 0 ? "," : "");
        json_print_string(out, h->died[i], strlen(h->died[i]));
    }
    buf_addc(out, ']');
}

/* Of a run that undoes another. */
static void undo_add(struct buf *out, const char *headers)
{
    AUTO(json_unref) json_t *o = json_read(headers, strlen(headers), NULL);
    text_add(out, "undo_of", json_string_value(json_object_get(o, JOB_UNDO_HEADER)));
}

static void shown_read(struct queue_reading *r, struct read_entry *en, struct queue_shown *s,
                       struct queue_stored *stored, bool id_only)
{
    uint64_t at;
    if (entry_at(r, en, s->place, &at, &s->err) != 0 ||
        queue_message_read(en->bytes.data, en->bytes.len, at, stored, &s->err) != 0)
        return;
    s->id = stored->id;
    if (id_only)
        return;
    struct buf out = BUF_INIT(8 << 20);
    if (!r->runs)
        text_add(&out, "type", stored->type != NULL ? stored->type : API_JSON);
    if (stored->headers != NULL)
        buf_addf(&out, ",\"headers\":%s", stored->headers);
    if (r->runs && stored->headers != NULL)
        undo_add(&out, stored->headers);
    text_add(&out, "key", stored->key);
    text_add(&out, "correlation", stored->correlation);
    text_add(&out, "traceparent", stored->traceparent);
    if (stored->script != 0)
        buf_addf(&out, ",\"script\":\"%016llx\"", (unsigned long long)stored->script);
    int rc = sender_add(en, s->place, &out, &s->err);
    if (rc == 0)
        rc = shown_body(r, en, s, stored, &out);
    if (rc == 0)
        rc = shown_end(r, en, s, &out);
    if (rc == 0 && buf_check(&out, "a message", &s->err) == 0) {
        s->texts_len = out.len;
        s->texts = buf_take(&out);
        r->bytes += s->texts_len;
    }
    buf_fini(&out);
}

/* Of the record that was read last, behind what is known of it. */
static void shown_past(struct queue_reading *r, struct read_entry *en, struct queue_shown *s,
                       const struct queue_stored *stored)
{
    if (s->past == NULL || s->texts == NULL)
        return;
    struct buf out = BUF_INIT(8 << 20);
    buf_add(&out, s->texts, s->texts_len);
    past_add(r, en, s->past, stored, &out);
    if (buf_check(&out, "a message", &s->err) == 0) {
        r->bytes += out.len - s->texts_len;
        mem_free(s->texts);
        s->texts_len = out.len;
        s->texts = buf_take(&out);
    }
    buf_fini(&out);
}

static bool is_same(const json_t *a, const json_t *b)
{
    if (json_is_number(a) && json_is_number(b))
        return json_number_value(a) == json_number_value(b);
    return a != NULL && json_equal(a, b);
}

static bool is_found(const struct queue_shown *s, const json_t *find)
{
    const char *path;
    json_t *value;
    if (s->texts == NULL)
        return false;
    AUTO(buf_fini) struct buf text = BUF_INIT(8 << 20);
    buf_addc(&text, '{');
    buf_add(&text, s->texts + 1, s->texts_len - 1); /* its first byte is a comma */
    buf_addc(&text, '}');
    AUTO(json_unref) json_t *o = json_read(buf_str(&text), text.len, NULL);
    json_object_foreach((json_t *)find, path, value)
    {
        if (!is_same(json_path(o, path), value))
            return false;
    }
    return o != NULL;
}

/* True: as many as were wanted. */
static bool read_find(struct queue_reading *r, struct queue_shown *s, size_t *found)
{
    if (s->err.code != 0 || is_found(s, r->find))
        return ++*found == r->find_max;
    s->unwanted = true;
    r->bytes -= s->texts_len;
    mem_free(TAKE(s->texts));
    s->texts_len = 0;
    return false;
}

static void read_run(struct api_job *j, struct db *db)
{
    struct queue_reading *r = (struct queue_reading *)j;
    struct read_entry en = {.db = db, .index = UINT64_MAX, .units = ledger_units_new()};
    struct queue_stored *stored = mem_new(sizeof *stored);
    size_t found = 0;
    buf_init(&en.bytes, LEDGER_READ_MAX);
    for (size_t i = 0; i < r->count; i++) {
        bool full = r->bytes < (r->bytes_max > 0 ? r->bytes_max : QUEUE_READ_BYTES);
        if (r->shown[i].err.code == 0)
            shown_read(r, &en, &r->shown[i], stored, r->ids_only || !full);
        r->read = full ? i + 1 : r->read;
        bool last = r->find != NULL && full && read_find(r, &r->shown[i], &found);
        shown_past(r, &en, &r->shown[i], stored);
        if (last)
            break;
    }
    buf_fini(&en.bytes);
    ledger_units_free(en.units);
    mem_free(stored);
}

static void read_done(struct api_job *j)
{
    struct queue_reading *r = (struct queue_reading *)j;
    r->done(r);
}

void queue_read_start(struct queue_reading *r, struct http_request *req)
{
    r->job.req = req;
    queue_read_begin(r, api_thread_of(req));
}

void queue_read_begin(struct queue_reading *r, struct api_thread *t)
{
    r->job.run = read_run;
    r->job.done = read_done;
    api_job_begin(&r->job, t);
}

void queue_shown_free(struct queue_shown *shown, size_t count)
{
    for (size_t i = 0; shown != NULL && i < count; i++) {
        mem_free(shown[i].texts);
        mem_free(shown[i].past);
    }
    mem_free(shown);
}
