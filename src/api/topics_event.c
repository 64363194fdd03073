/* What comes to POST /api/topics/{topic}: a plain body of any type, or CloudEvents in one of their
 * three modes. An event is kept as in the binary mode: its data is the body, its attributes are
 * headers "ce-..". Events of one source and id are one event, as their standard says. */
#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "api/topics_priv.h"
#include "base/arena.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "codec/cloudevents.h"
#include "crypt/crypt.h"

#define MESSAGE_HEADER "X-Message-"

enum { EVENTS_ARENA = 16 << 20, HEADERS_LOOKED = 256 };

void topic_draft_fini(struct topic_draft *d)
{
    queue_draft_fini(&d->read);
    buf_fini(&d->dedup);
}

void topic_drafts_free(struct topic_draft *list, size_t count)
{
    for (size_t i = 0; list != NULL && i < count; i++)
        topic_draft_fini(&list[i]);
    mem_free(list);
}

/* ---- headers of a message ---- */

static void header_begin(struct topic_draft *d)
{
    if (d->read.headers.max == 0)
        buf_init(&d->read.headers, QUEUE_HEADERS_BYTES);
    buf_addc(&d->read.headers, d->read.headers.len == 0 ? '{' : ',');
}

static int header_add(struct topic_draft *d, const char *prefix, const char *name,
                      const char *value, struct err *e)
{
    char lower[HTTP_LINE_MAX];
    size_t n = 0;
    if (value == NULL)
        return 0;
    if (!str_is_utf8(value, strlen(value)))
        return err_field(e, ERR_INVALID, "headers", "header '%.64s' is not UTF-8", name);
    for (const char *p = prefix; *p != '\0'; p++)
        lower[n++] = *p;
    for (const char *p = name; *p != '\0' && n + 1 < sizeof lower; p++)
        lower[n++] = (char)tolower((unsigned char)*p);
    header_begin(d);
    json_print_string(&d->read.headers, lower, n);
    buf_addc(&d->read.headers, ':');
    json_print_string(&d->read.headers, value, strlen(value));
    return 0;
}

static int headers_end(struct topic_draft *d, struct err *e)
{
    if (d->read.headers.len == 0)
        return 0;
    buf_addc(&d->read.headers, '}');
    if (buf_failed(&d->read.headers))
        return err_field(e, ERR_TOO_LARGE, "headers", "headers have at most %d bytes together",
                         QUEUE_HEADERS_BYTES);
    d->m.headers = buf_str(&d->read.headers);
    return 0;
}

static int headers_of_request(struct http_request *req, struct topic_draft *d, struct err *e)
{
    const char *name, *value;
    int rc = 0;
    for (size_t i = 0; rc == 0 && http_header_at(req, i, &name, &value); i++)
        if (strncasecmp(name, MESSAGE_HEADER, sizeof MESSAGE_HEADER - 1) == 0)
            rc = header_add(d, "", name + sizeof MESSAGE_HEADER - 1, value, e);
    return rc;
}

/* ---- events ---- */

static bool is_json_type(const char *type)
{
    size_t n = type != NULL ? strcspn(type, "; ") : 0;
    return n == strlen(API_JSON) && strncasecmp(type, API_JSON, n) == 0;
}

static int event_body(const struct cloudevent *ev, struct topic_draft *d, struct err *e)
{
    int rc = queue_body_fits(ev->data_n, "publish", e);
    d->m.body = ev->has_data ? ev->data : "null";
    d->m.body_len = ev->has_data ? ev->data_n : 4;
    if (rc != 0 || !ev->has_data || is_json_type(ev->datacontenttype))
        return rc;
    d->m.type = ev->datacontenttype != NULL ? ev->datacontenttype : "application/octet-stream";
    return 0;
}

static int event_headers(const struct cloudevent *ev, struct topic_draft *d, struct err *e)
{
    const struct {
        const char *name, *value;
    } attributes[] = {{"specversion", "1.0"},        {"id", ev->id},
                      {"source", ev->source},        {"type", ev->type},
                      {"subject", ev->subject},      {"time", ev->time},
                      {"dataschema", ev->dataschema}};
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < ARRAY_LEN(attributes); i++)
        rc = header_add(d, "ce-", attributes[i].name, attributes[i].value, e);
    for (size_t i = 0; rc == 0 && i < ev->extension_count; i++) {
        rc = header_add(d, "ce-", ev->extensions[i].name, ev->extensions[i].value, e);
        if (d->m.key == NULL && strcmp(ev->extensions[i].name, "partitionkey") == 0)
            d->m.key = ev->extensions[i].value;
    }
    return rc;
}

void topic_draft_event(struct topic_draft *d, const char *source, const char *id)
{
    uint8_t hash[CRYPT_SHA256];
    if (d->m.dedup != NULL)
        return;
    buf_init(&d->dedup, CLOUDEVENT_ATTRIBUTES_BYTES + 16);
    buf_addf(&d->dedup, "ce %s %s", source, id);
    if (d->dedup.len > CORE_TEXT_MAX) {
        crypt_sha256(d->dedup.data, d->dedup.len, hash);
        buf_reset(&d->dedup);
        buf_adds(&d->dedup, "ce ");
        for (size_t i = 0; i < sizeof hash; i++)
            buf_addf(&d->dedup, "%02x", hash[i]);
    }
    d->m.dedup = buf_str(&d->dedup);
    d->m.dedup_ms = BUS_EVENT_MS;
}

static bool is_event(struct http_request *req)
{
    static const char *const needed[] = {"ce-specversion", "ce-id", "ce-source", "ce-type"};
    static const char family[] = "application/cloudevents";
    const char *type = http_header_in(req, "Content-Type");
    if (type != NULL && strncasecmp(type, family, sizeof family - 1) == 0)
        return true;
    for (size_t i = 0; i < ARRAY_LEN(needed); i++)
        if (http_header_in(req, needed[i]) != NULL)
            return true;
    return false;
}

static int events_read(struct http_request *req, struct cloudevents *out, struct err *e)
{
    struct str body = http_body(req);
    struct cloudevent_header *headers =
        arena_new(http_arena(req), HEADERS_LOOKED * sizeof *headers);
    size_t n = 0;
    for (; n < HEADERS_LOOKED && http_header_at(req, n, &headers[n].name, &headers[n].value);)
        n++;
    return cloudevents_read(headers, n, body.p, body.n, http_arena(req), out, e);
}

/* ---- all ---- */

/* The options of the query are those of each message. */
static int draft_begin(struct http_request *req, struct topic_draft *d, const json_t *options,
                       struct err *e)
{
    static const char *const also[] = {"reply", NULL};
    struct api_thread *t = api_thread_of(req);
    struct envelope env;
    static const struct uuid none;
    int rc = topic_draft_options(d, options, api_now_ms(t), also, e);
    if (memcmp(&d->m.id, &none, sizeof none) == 0)
        t->ids.make(&t->ids, &d->m.id);
    api_envelope(req, &env);
    d->m.correlation = env.correlation;
    d->m.traceparent = env.traceparent;
    return rc;
}

static int drafts_fill(struct http_request *req, struct topic_draft *list, size_t count,
                       const json_t *options, const struct cloudevents *events, struct err *e)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < count; i++) {
        struct topic_draft *d = &list[i];
        rc = draft_begin(req, d, options, e);
        if (rc == 0 && events == NULL)
            rc = queue_body_in(req, &d->m.type, &d->m.body, &d->m.body_len, e);
        if (rc == 0 && events != NULL)
            rc = event_headers(&events->events[i], d, e);
        if (rc == 0 && events != NULL)
            rc = event_body(&events->events[i], d, e);
        if (rc == 0 && events != NULL)
            topic_draft_event(d, events->events[i].source, events->events[i].id);
        if (rc == 0)
            rc = headers_of_request(req, d, e);
        if (rc == 0)
            rc = headers_end(d, e);
        if (rc != 0 && events != NULL && events->mode == CLOUDEVENT_BATCH)
            err_context(e, "event %zu", i);
    }
    return rc;
}

struct topic_draft *topic_drafts_read(struct http_request *req, const json_t *options,
                                      size_t *count, bool *batch)
{
    struct cloudevents events = {.count = 1};
    struct err e = ERR_INIT;
    bool are_events = is_event(req);
    int rc = are_events ? events_read(req, &events, &e) : 0;
    *batch = are_events && events.mode == CLOUDEVENT_BATCH;
    *count = events.count;
    if (rc == 0 && *count == 0)
        rc = err_set(&e, ERR_INVALID, "the batch is empty");
    if (rc == 0 && *batch && json_object_get(options, "id") != NULL)
        rc = err_field(&e, ERR_INVALID, "id", "of a batch each message gets an id of its own");
    struct topic_draft *list = rc == 0 ? mem_try((*count + 1) * sizeof *list) : NULL;
    if (rc == 0 && list == NULL)
        rc = err_set(&e, ERR_OVERLOADED, "no memory for %zu messages", *count);
    if (list != NULL) {
        memset(list, 0, (*count + 1) * sizeof *list);
        rc = drafts_fill(req, list, *count, options, are_events ? &events : NULL, &e);
    }
    if (rc == 0)
        return list;
    topic_drafts_free(list, list != NULL ? *count : 0);
    http_problem(req, &e);
    return NULL;
}
