/* POST /api/queues/{vhost}/{name}/messages: one message, or many, each a unit of its own.
 *
 * One is the body as it is, of any content type, with its options in the query and its headers as
 * X-Message-NAME. Many are lines (application/x-ndjson), or with ?batch=true an array, of
 * {"body": .., "headers": {..}, options}. */
#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "api/queue_priv.h"
#include "base/arena.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"

#define SEND_HEADER "X-Message-"

static bool uuid_is_zero(const struct uuid *id)
{
    static const struct uuid zero;
    return memcmp(id, &zero, sizeof zero) == 0;
}

void queue_draft_address(struct queue_draft *d, struct http_request *req, const char *queue)
{
    struct api_thread *t = api_thread_of(req);
    struct envelope env;
    api_envelope(req, &env);
    d->m.send.queue = queue;
    d->m.correlation = env.correlation;
    d->m.traceparent = env.traceparent;
    if (uuid_is_zero(&d->m.send.id))
        t->ids.make(&t->ids, &d->m.send.id);
}

/* The rest of the message, and the operation; or it is among those that are merged first, which
 * then have the draft. */
static int send_add(struct queue_units *u, size_t i, const char *queue, struct queue_draft *d,
                    struct queue_merges *merges, struct err *e)
{
    queue_draft_address(d, u->req, queue);
    if (d->merge) {
        queue_merges_add(merges, i, d);
        return 0;
    }
    struct txn *txn = queue_units_txn(u, i);
    return txn == NULL ? 0 : queue_txn_send(txn, &d->m, e);
}

void queue_print_depth(struct buf *out, uint64_t depth, int64_t oldest_age_ms)
{
    buf_addf(out, "\"depth\":%llu,\"oldest_age_seconds\":%.3f", (unsigned long long)depth,
             (double)oldest_age_ms / 1000);
}

void queue_print_sent(struct buf *out, struct cursor result)
{
    struct core_sent sent;
    char id[UUID_TEXT];
    queue_sent_read(&result, &sent);
    uuid_format(&sent.id, id);
    buf_addf(out, "\"id\":\"%s\",\"duplicate\":%s,\"merged\":%s,", id,
             sent.duplicate ? "true" : "false", sent.merged ? "true" : "false");
    queue_print_depth(out, sent.depth, sent.oldest_age_ms);
    buf_addc(out, '}');
}

/* ---- one ---- */

static void send_one_done(struct queue_units *u)
{
    struct http_request *req = u->req;
    struct queue_item *it = &u->items[0];
    struct core_sent sent;
    if (it->err.code != 0) {
        http_problem(req, &it->err);
        queue_units_free(u);
        return;
    }
    struct cursor c = it->result;
    char id[UUID_TEXT];
    queue_sent_read(&c, &sent);
    uuid_format(&sent.id, id);
    struct buf out = BUF_INIT(1024);
    buf_addc(&out, '{');
    queue_print_sent(&out, it->result);
    queue_units_headers(u);
    http_headerf(req, "Location", "%s/%s", http_path(req), id);
    queue_units_free(u);
    http_respond_buf(req, sent.duplicate || sent.merged ? 200 : 201, API_JSON, &out);
}

/* Options of the query, as an object. */
static json_t *send_query(struct http_request *req)
{
    const char *names[32];
    size_t n = 0, pairs;
    for (; n < queue_option_count; n++)
        names[n] = queue_option_names[n];
    names[n++] = "batch";
    if (!api_query_only(req, names, n))
        return NULL;
    json_t *o = json_object();
    const struct http_pair *all = http_query_all(req, &pairs);
    for (size_t i = 0; i < pairs; i++)
        if (strcmp(all[i].name, "batch") != 0)
            json_object_set_new(o, all[i].name, json_string(all[i].value));
    /* "a,b" of a query is a list. */
    const char *gate = json_string_value(json_object_get(o, "gate"));
    if (gate == NULL || strchr(gate, ',') == NULL)
        return o;
    json_t *gates = json_array();
    for (const char *p = gate;; p++) {
        size_t len = strcspn(p, ",");
        json_array_append_new(gates, json_stringn(p, len));
        p += len;
        if (*p == '\0')
            break;
    }
    json_object_set_new(o, "gate", gates);
    return o;
}

/* X-Message-Shop: 7 is the header "shop". */
static int send_headers(struct http_request *req, struct queue_draft *d, struct err *e)
{
    const char *name, *value;
    size_t count = 0;
    buf_init(&d->headers, QUEUE_HEADERS_BYTES);
    for (size_t i = 0; http_header_at(req, i, &name, &value); i++) {
        if (strncasecmp(name, SEND_HEADER, sizeof SEND_HEADER - 1) != 0)
            continue;
        char lower[HTTP_LINE_MAX];
        size_t n = 0;
        for (const char *p = name + sizeof SEND_HEADER - 1; *p != '\0' && n + 1 < sizeof lower; p++)
            lower[n++] = (char)tolower((unsigned char)*p);
        if (!str_is_utf8(value, strlen(value)))
            return err_field(e, ERR_INVALID, "headers", "header '%.64s' is not UTF-8", name);
        buf_addc(&d->headers, count++ == 0 ? '{' : ',');
        json_print_string(&d->headers, lower, n);
        buf_addc(&d->headers, ':');
        json_print_string(&d->headers, value, strlen(value));
    }
    if (count == 0)
        return 0;
    buf_addc(&d->headers, '}');
    if (count > QUEUE_HEADERS_MAX || buf_failed(&d->headers))
        return err_field(e, ERR_TOO_LARGE, "headers", "at most %d headers of %d bytes together",
                         QUEUE_HEADERS_MAX, QUEUE_HEADERS_BYTES);
    d->m.headers = buf_str(&d->headers);
    return 0;
}

int queue_body_fits(size_t n, const char *verb, struct err *e)
{
    if (n <= CORE_BODY_MAX)
        return 0;
    return err_field(e, ERR_TOO_LARGE, "body",
                     "%zu bytes, at most %d: keep it elsewhere and %s its key", n, CORE_BODY_MAX,
                     verb);
}

int queue_body_in(struct http_request *req, const char **type, const void **body, size_t *n,
                  struct err *e)
{
    struct str in = http_body(req);
    enum api_media m = api_media(req);
    if (queue_body_fits(in.n, "send", e) != 0)
        return e->code;
    *body = in.p;
    *n = in.n;
    *type = NULL;
    if (m != API_MEDIA_JSON && m != API_MEDIA_NONE) {
        *type = http_header_in(req, "Content-Type");
        return str_is_utf8(*type, strlen(*type))
                   ? 0
                   : err_set(e, ERR_INVALID, "Content-Type is not UTF-8");
    }
    if (in.n == 0)
        return err_field(e, ERR_INVALID, "body",
                         "the body is empty; it must be JSON, or say Content-Type");
    AUTO(json_unref) json_t *v = json_read(in.p, in.n, e);
    return v != NULL ? 0 : err_context(e, "body");
}

static void send_one(struct http_request *req, const char *queue, json_t *options)
{
    struct queue_draft d = {.held = NULL};
    struct err e = ERR_INIT;
    int rc = queue_draft_options(&d, options, api_now_ms(api_thread_of(req)), &e);
    if (rc == 0)
        rc = queue_body_in(req, &d.m.type, &d.m.body, &d.m.body_len, &e);
    if (rc == 0)
        rc = queue_draft_merges(&d, &e);
    if (rc == 0)
        rc = send_headers(req, &d, &e);
    if (rc == 0 && d.m.send.create)
        rc = queue_name_check(queue, "queue", &e);
    struct queue_units *u = rc == 0 ? queue_units_new(req, 1, false) : NULL;
    struct queue_merges *merges = queue_merges_new(1, options);
    if (rc == 0 && u != NULL && (rc = send_add(u, 0, queue, &d, merges, &e)) == 0) {
        queue_merges_start(TAKE(merges), u, send_one_done);
    } else if (u != NULL) {
        queue_units_free(u);
    }
    queue_merges_free(merges);
    queue_draft_fini(&d);
    if (rc != 0)
        http_problem(req, &e);
}

/* ---- many ---- */

static void send_many_done(struct queue_units *u)
{
    struct http_request *req = u->req;
    struct buf out = BUF_INIT(API_ANSWER_MAX);
    size_t failed = 0;
    buf_adds(&out, "{\"results\":[");
    for (size_t i = 0; i < u->count; i++) {
        struct queue_item *it = &u->items[i];
        if (i > 0)
            buf_addc(&out, ',');
        failed += it->err.code != 0;
        if (it->err.code != 0) {
            queue_print_failed(&out, NULL, &it->err);
            continue;
        }
        buf_addc(&out, '{');
        queue_print_sent(&out, it->result);
    }
    buf_addf(&out, "],\"counts\":{\"sent\":%zu,\"failed\":%zu}}", u->count - failed, failed);
    queue_units_headers(u);
    queue_units_free(u);
    http_respond_buf(req, 200, API_JSON, &out);
}

static void send_item(struct queue_units *u, size_t i, const char *queue, const json_t *o,
                      const json_t *create, struct queue_merges *merges)
{
    struct queue_draft d = {.held = NULL};
    struct err *e = &u->items[i].err;
    int64_t now = api_now_ms(api_thread_of(u->req));
    if (queue_draft_item(&d, o, now, NULL, e) == 0) {
        d.m.send.create |= create != NULL;
        send_add(u, i, queue, &d, merges, e);
    }
    queue_draft_fini(&d);
}

static void send_many(struct http_request *req, const char *queue, const json_t *options)
{
    struct err e = ERR_INIT;
    const json_t *create = json_object_get(options, "create");
    if (json_object_size(options) != (create != NULL) ||
        (create != NULL && strcmp(json_string_value(create), "true") != 0)) {
        http_refuse(req, ERR_INVALID,
                    "of many messages each has its options beside its body; the query has "
                    "batch=true and create=true only");
        return;
    }
    if (create != NULL && queue_name_check(queue, "queue", &e) != 0) {
        http_problem(req, &e);
        return;
    }
    AUTO(json_unref) json_t *list = api_body_list(req, QUEUE_ITEMS_MAX);
    if (list == NULL)
        return;
    struct queue_units *u = queue_units_new(req, json_array_size(list), false);
    if (u == NULL)
        return;
    struct queue_merges *merges = queue_merges_new(u->count, list);
    for (size_t i = 0; i < u->count; i++)
        send_item(u, i, queue, json_array_get(list, i), create, merges);
    queue_merges_start(merges, u, send_many_done);
}

static void send_post(struct http_request *req)
{
    const char *tenant, *queue;
    bool batch;
    if (!queue_of_route(req, &tenant, &queue))
        return;
    AUTO(json_unref) json_t *options = send_query(req);
    if (options == NULL || !api_query_bool(req, "batch", false, &batch) || !api_once(req))
        return;
    if (batch || api_media(req) == API_MEDIA_NDJSON)
        send_many(req, queue, options);
    else
        send_one(req, queue, options);
}

static const struct http_route send_table[] = {
    {.verb = HTTP_VERB_POST, .pattern = "/api/queues/:vhost/:name/messages", .handler = send_post},
};
const struct api_routes api_queue_send_routes = {send_table, ARRAY_LEN(send_table)};
