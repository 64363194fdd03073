/* What the options of a message mean. The same names in a query, where every value is text, and in
 * JSON. */
#include <math.h>
#include <string.h>

#include "api/queue_priv.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/time.h"
#include "codec/base64.h"

/* ---- values ---- */

int queue_duration(const json_t *v, const char *field, int64_t *ms, struct err *e)
{
    struct err why = ERR_INIT;
    if (json_is_string(v) && duration_parse(json_string_value(v), ms, &why) == 0)
        return 0;
    double s = json_is_number(v) ? json_number_value(v) : -1;
    if (s >= 0 && s <= 100.0 * 366 * 86400) {
        *ms = llround(s * 1000);
        return 0;
    }
    return err_field(e, ERR_INVALID, field,
                     "%s is a time like \"30s\", \"1h30m\" or a number of seconds", field);
}

int queue_number(const json_t *v, const char *field, int64_t least, int64_t most, int64_t *out,
                 struct err *e)
{
    bool is = json_is_integer(v);
    if (is)
        *out = json_integer_value(v);
    else if (json_is_string(v))
        is = str_to_i64(json_string_value(v), json_string_length(v), out);
    if (is && *out >= least && *out <= most)
        return 0;
    return err_field(e, ERR_INVALID, field, "%s is a number of %lld to %lld", field,
                     (long long)least, (long long)most);
}

static int value_text(const json_t *v, const char *field, const char **out, struct err *e)
{
    size_t n = json_string_length(v);
    *out = json_string_value(v);
    if (n > 0 && n <= CORE_TEXT_MAX && memchr(*out, '\0', n) == NULL)
        return 0;
    return err_field(e, ERR_INVALID, field, "%s is text of 1 to %d bytes", field, CORE_TEXT_MAX);
}

int queue_flag(const json_t *v, const char *field, bool *out, struct err *e)
{
    const char *text = json_string_value(v);
    *out = json_is_true(v) || (text != NULL && strcmp(text, "true") == 0);
    if (*out || json_is_false(v) || (text != NULL && strcmp(text, "false") == 0))
        return 0;
    return err_field(e, ERR_INVALID, field, "%s is true or false", field);
}

static int value_time(const json_t *v, const char *field, int64_t *ms, struct err *e)
{
    if (json_is_string(v) && time_parse(json_string_value(v), json_string_length(v), ms) &&
        *ms >= 0)
        return 0;
    return err_field(e, ERR_INVALID, field, "%s is a time like \"2027-01-31T08:00:00Z\"", field);
}

int queue_id(const json_t *v, struct uuid *out, struct err *e)
{
    if (json_is_string(v) && uuid_parse(json_string_value(v), json_string_length(v), out))
        return 0;
    return err_field(e, ERR_INVALID, "id", "an id is a UUID of 36 characters");
}

static int label_read(const char *name, const json_t *v, const char *field, struct core_label *out,
                      struct err *e)
{
    int64_t n = 0;
    *out = (struct core_label){.name = name};
    if (json_is_true(v))
        return 0;
    if (json_is_string(v))
        return value_text(v, field, &out->text, e);
    int rc = queue_number(v, field, 1, UINT32_MAX, &n, e);
    out->number = (uint32_t)n;
    return rc;
}

int queue_labels(const json_t *v, const char *field, struct core_label *out, uint8_t *count,
                 json_t **held, struct err *e)
{
    if (json_is_string(v) && *held == NULL) { /* of a query */
        v = *held = json_read(json_string_value(v), json_string_length(v), e);
        if (v == NULL)
            return err_field(e, ERR_INVALID, field, "%s is a JSON object: {\"gpu\": 1}", field);
    }
    if (!json_is_object(v) || json_object_size(v) > CORE_LABELS_MAX)
        return err_field(e, ERR_INVALID, field, "%s is an object of at most %d labels", field,
                         CORE_LABELS_MAX);
    const char *name;
    json_t *of;
    json_object_foreach((json_t *)v, name, of)
    {
        if (strlen(name) < 1 || strlen(name) > CORE_TEXT_MAX)
            return err_field(e, ERR_INVALID, field, "a label has 1 to %d bytes", CORE_TEXT_MAX);
        int rc = label_read(name, of, field, &out[(*count)++], e);
        if (rc != 0)
            return rc;
    }
    return 0;
}

/* ---- options of a message ---- */

typedef int option_read(struct queue_draft *d, const json_t *v, int64_t now, struct err *e);

static int option_key(struct queue_draft *d, const json_t *v, int64_t now, struct err *e)
{
    (void)now;
    return value_text(v, "key", &d->m.send.key, e);
}

static int option_dedup(struct queue_draft *d, const json_t *v, int64_t now, struct err *e)
{
    (void)now;
    return value_text(v, "dedup", &d->m.send.dedup, e);
}

static int option_unique(struct queue_draft *d, const json_t *v, int64_t now, struct err *e)
{
    (void)now;
    return value_text(v, "unique", &d->m.send.unique, e);
}

static int option_unique_mode(struct queue_draft *d, const json_t *v, int64_t now, struct err *e)
{
    const char *text = json_string_value(v);
    (void)now;
    bool replace = text != NULL && strcmp(text, "replace") == 0;
    d->merge = text != NULL && strcmp(text, "merge") == 0;
    d->m.send.unique_mode = d->merge ? UNIQUE_SWAP : replace ? UNIQUE_REPLACE : UNIQUE_SKIP;
    if (replace || d->merge || (text != NULL && strcmp(text, "skip") == 0))
        return 0;
    return err_field(e, ERR_INVALID, "unique_mode",
                     "unique_mode is skip (the new one is dropped), replace (its body is taken) or "
                     "merge (its body is merged with the one that waits)");
}

static int option_priority(struct queue_draft *d, const json_t *v, int64_t now, struct err *e)
{
    int64_t n = 0;
    (void)now;
    int rc = queue_number(v, "priority", 0, CORE_PRIORITY_MAX, &n, e);
    d->m.send.priority = (uint8_t)n;
    return rc;
}

static int option_run_at(struct queue_draft *d, const json_t *v, int64_t now, struct err *e)
{
    (void)now;
    return value_time(v, "run_at", &d->m.send.run_at, e);
}

static int option_delay(struct queue_draft *d, const json_t *v, int64_t now, struct err *e)
{
    int64_t ms = 0;
    if (d->m.send.run_at != 0)
        return err_field(e, ERR_INVALID, "delay", "delay and run_at contradict each other");
    int rc = queue_duration(v, "delay", &ms, e);
    d->m.send.run_at = ms > 0 ? now + ms : 0;
    return rc;
}

static int option_ttl(struct queue_draft *d, const json_t *v, int64_t now, struct err *e)
{
    int64_t ms = 0;
    (void)now;
    int rc = queue_duration(v, "ttl", &ms, e);
    d->m.send.ttl_ms = ms > 0 ? ms : -1;
    return rc;
}

static int option_deadline(struct queue_draft *d, const json_t *v, int64_t now, struct err *e)
{
    (void)now;
    return queue_duration(v, "deadline", &d->m.send.deadline_ms, e);
}

static int option_timeout(struct queue_draft *d, const json_t *v, int64_t now, struct err *e)
{
    int64_t ms = 0;
    (void)now;
    int rc = queue_duration(v, "timeout", &ms, e);
    if (rc == 0 && (ms < 1 || ms > UINT32_MAX))
        rc = err_field(e, ERR_INVALID, "timeout", "a timeout lasts from 1 ms to 49 days");
    d->m.send.timeout_ms = (uint32_t)ms;
    return rc;
}

static int option_attempts(struct queue_draft *d, const json_t *v, int64_t now, struct err *e)
{
    int64_t n = 0;
    (void)now;
    int rc = queue_number(v, "attempts", 1, CORE_ATTEMPTS_MAX, &n, e);
    d->m.send.attempts = (uint16_t)n;
    return rc;
}

static int backoff_wait(const json_t *v, uint32_t *out, struct err *e)
{
    int64_t ms = 0;
    int rc = queue_duration(v, "backoff", &ms, e);
    if (rc == 0 && ms > UINT32_MAX)
        rc = err_field(e, ERR_INVALID, "backoff", "a wait is at most 49 days");
    *out = (uint32_t)ms;
    return rc;
}

static int backoff_add(struct core_backoff *b, const json_t *v, struct err *e)
{
    if (b->list_count == CORE_BACKOFF_LIST_MAX)
        return err_field(e, ERR_INVALID, "backoff", "at most %d waits", CORE_BACKOFF_LIST_MAX);
    return backoff_wait(v, &b->list[b->list_count++], e);
}

/* {"first": "3s", "cap": "5m"} */
static int backoff_doubling(struct core_backoff *b, const json_t *v, struct err *e)
{
    static const char *const names[] = {"first", "cap"};
    int rc = json_only_keys(v, "backoff", names, ARRAY_LEN(names), e);
    if (rc == 0)
        rc = backoff_wait(json_object_get(v, "first"), &b->first, e);
    b->cap = 5 * 60 * 1000;
    if (rc == 0 && json_object_get(v, "cap") != NULL)
        rc = backoff_wait(json_object_get(v, "cap"), &b->cap, e);
    if (rc == 0 && (b->first == 0 || b->cap < b->first))
        rc = err_field(e, ERR_INVALID, "backoff", "first is over 0, and cap not below it");
    return rc;
}

/* "1s,10s,1m" */
static int backoff_text(struct core_backoff *b, const char *text, struct err *e)
{
    int rc = 0;
    for (const char *p = text; rc == 0; p++) {
        size_t n = strcspn(p, ",");
        AUTO(json_unref) json_t *one = json_stringn(p, n);
        rc = backoff_add(b, one, e);
        p += n;
        if (*p == '\0')
            break;
    }
    return rc;
}

static int option_backoff(struct queue_draft *d, const json_t *v, int64_t now, struct err *e)
{
    struct core_backoff *b = &d->backoff;
    (void)now;
    d->m.send.backoff = b;
    if (json_is_object(v))
        return backoff_doubling(b, v, e);
    if (json_is_string(v))
        return backoff_text(b, json_string_value(v), e);
    if (!json_is_array(v) || json_array_size(v) == 0)
        return backoff_add(b, v, e);
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < json_array_size(v); i++)
        rc = backoff_add(b, json_array_get(v, i), e);
    return rc;
}

static int option_lane(struct queue_draft *d, const json_t *v, int64_t now, struct err *e)
{
    (void)now;
    int rc = value_text(v, "lane", &d->m.send.lane, e);
    return rc == 0 ? str_check_name(d->m.send.lane, "lane", e) : rc;
}

static int gate_add(struct queue_draft *d, const json_t *v, struct err *e)
{
    struct core_send *s = &d->m.send;
    if (s->gates_count == CORE_GATES_MAX)
        return err_field(e, ERR_INVALID, "gate", "at most %d gates", CORE_GATES_MAX);
    int rc = value_text(v, "gate", &s->gates[s->gates_count], e);
    if (rc == 0)
        rc = queue_name_check(s->gates[s->gates_count++], "gate", e);
    return rc;
}

static int option_gate(struct queue_draft *d, const json_t *v, int64_t now, struct err *e)
{
    (void)now;
    if (!json_is_array(v))
        return gate_add(d, v, e);
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < json_array_size(v); i++)
        rc = gate_add(d, json_array_get(v, i), e);
    d->m.send.no_gates = d->m.send.gates_count == 0;
    return rc;
}

static int option_needs(struct queue_draft *d, const json_t *v, int64_t now, struct err *e)
{
    (void)now;
    d->m.send.needs = d->needs;
    int rc = queue_labels(v, "needs", d->needs, &d->m.send.needs_count, &d->held, e);
    d->m.send.no_needs = d->m.send.needs_count == 0;
    return rc;
}

static int option_id(struct queue_draft *d, const json_t *v, int64_t now, struct err *e)
{
    (void)now;
    return queue_id(v, &d->m.send.id, e);
}

static int option_create(struct queue_draft *d, const json_t *v, int64_t now, struct err *e)
{
    (void)now;
    return queue_flag(v, "create", &d->m.send.create, e);
}

/* In the order in which they are read: a delay looks at run_at. */
static option_read *const option_reads[] = {
    option_id,       option_key,      option_dedup,   option_unique, option_unique_mode,
    option_priority, option_run_at,   option_delay,   option_ttl,    option_deadline,
    option_timeout,  option_attempts, option_backoff, option_lane,   option_gate,
    option_needs,    option_create,
};
const char *const queue_option_names[] = {
    "id",      "key",   "dedup", "unique",   "unique_mode", "priority",
    "run_at",  "delay", "ttl",   "deadline", "timeout",     "attempts",
    "backoff", "lane",  "gate",  "needs",    "create",
};
const size_t queue_option_count = ARRAY_LEN(queue_option_names);
_Static_assert(ARRAY_LEN(option_reads) == ARRAY_LEN(queue_option_names), "a name for each");

void queue_draft_move(struct queue_draft *to, struct queue_draft *from)
{
    *to = *from;
    if (from->m.send.backoff != NULL)
        to->m.send.backoff = &to->backoff;
    if (from->m.send.needs != NULL)
        to->m.send.needs = to->needs;
    *from = (struct queue_draft){.held = NULL};
}

void queue_draft_fini(struct queue_draft *d)
{
    buf_fini(&d->body);
    buf_fini(&d->headers);
    json_decref(d->held);
}

int queue_draft_options(struct queue_draft *d, const json_t *o, int64_t now, struct err *e)
{
    int rc = 0;
    d->m.send.priority = CORE_PRIORITY_UNSAID;
    for (size_t i = 0; rc == 0 && i < queue_option_count; i++) {
        const json_t *v = json_object_get(o, queue_option_names[i]);
        if (v != NULL && !json_is_null(v))
            rc = option_reads[i](d, v, now, e);
    }
    if (rc == 0 && d->m.send.unique == NULL && json_object_get(o, "unique_mode") != NULL)
        rc =
            err_field(e, ERR_INVALID, "unique_mode", "unique_mode is of a message with \"unique\"");
    return rc;
}

const char *const queue_sending_names[QUEUE_SENDING_NAMES] = {
    "priority", "ttl", "deadline", "timeout", "attempts", "backoff", "lane", "gate", "needs",
};

int queue_draft_sending(struct queue_draft *d, const json_t *o, struct err *e)
{
    AUTO(json_unref) json_t *some = json_object();
    for (size_t i = 0; i < QUEUE_SENDING_NAMES; i++)
        json_object_set(some, queue_sending_names[i], json_object_get(o, queue_sending_names[i]));
    return queue_draft_options(d, some, 0, e);
}

/* ---- what is sent ---- */

static int content_headers(struct queue_draft *d, const json_t *v, struct err *e)
{
    const char *name;
    json_t *text;
    if (v == NULL || json_is_null(v))
        return 0;
    if (!json_is_object(v))
        return err_field(e, ERR_INVALID, "headers", "headers are an object of texts");
    if (json_object_size(v) > QUEUE_HEADERS_MAX)
        return err_field(e, ERR_INVALID, "headers", "at most %d headers", QUEUE_HEADERS_MAX);
    json_object_foreach((json_t *)v, name, text)
    {
        if (!json_is_string(text))
            return err_field(e, ERR_INVALID, "headers", "header '%.64s' is %s, not text", name,
                             json_type_name(text));
    }
    buf_init(&d->headers, QUEUE_HEADERS_BYTES);
    int rc = json_print(v, &d->headers, e);
    if (rc != 0 || buf_failed(&d->headers))
        return err_field(e, ERR_TOO_LARGE, "headers", "headers have at most %d bytes",
                         QUEUE_HEADERS_BYTES);
    d->m.headers = buf_str(&d->headers);
    return 0;
}

static int content_bytes(struct queue_draft *d, const json_t *o, const json_t *v, struct err *e)
{
    const char *type = json_string_value(json_object_get(o, "type"));
    if (type == NULL || *type == '\0' || strlen(type) > QUEUE_TYPE_BYTES ||
        !str_is_utf8(type, strlen(type)))
        return err_field(e, ERR_INVALID, "type",
                         "body_base64 comes with a type of 1 to %d bytes, like \"image/png\"",
                         QUEUE_TYPE_BYTES);
    if (!json_is_string(v))
        return err_field(e, ERR_INVALID, "body_base64", "body_base64 is text");
    d->m.type = type;
    int rc = base64_decode(BASE64_STD, json_string_value(v), json_string_length(v), &d->body, e);
    return rc == 0 ? 0 : err_field(e, rc, "body_base64", "body_base64 is not base64, or too long");
}

int queue_draft_content(struct queue_draft *d, const json_t *o, struct err *e)
{
    const json_t *body = json_object_get(o, "body"), *bytes = json_object_get(o, "body_base64");
    if ((body != NULL) == (bytes != NULL))
        return err_field(e, ERR_INVALID, "body", "a message has \"body\" or \"body_base64\"");
    if (body != NULL && json_object_get(o, "type") != NULL)
        return err_field(e, ERR_INVALID, "type",
                         "\"body\" is JSON; other types come as \"body_base64\"");
    buf_init(&d->body, CORE_BODY_MAX);
    int rc = body != NULL ? json_print(body, &d->body, e) : content_bytes(d, o, bytes, e);
    if (buf_failed(&d->body))
        rc = err_field(e, ERR_TOO_LARGE, "body",
                       "a body has at most %d bytes; keep it elsewhere and send its key",
                       CORE_BODY_MAX);
    d->m.body = buf_str(&d->body);
    d->m.body_len = d->body.len;
    return rc == 0 ? content_headers(d, json_object_get(o, "headers"), e) : rc;
}

int queue_draft_merges(const struct queue_draft *d, struct err *e)
{
    return d->merge && d->m.type != NULL
               ? err_field(e, ERR_INVALID, "unique_mode", "only JSON can be merged, not %.80s",
                           d->m.type)
               : 0;
}

int queue_draft_item(struct queue_draft *d, const json_t *o, int64_t now, const char *also,
                     struct err *e)
{
    const char *names[ARRAY_LEN(queue_option_names) + 6];
    size_t n = 0;
    for (size_t i = 0; i < queue_option_count; i++)
        names[n++] = queue_option_names[i];
    names[n++] = "body";
    names[n++] = "body_base64";
    names[n++] = "type";
    names[n++] = "headers";
    if (also != NULL) {
        names[n++] = also;
        names[n++] = "queue";
    }
    if (!json_is_object(o))
        return err_set(e, ERR_INVALID, "a message is an object, not %s", json_type_name(o));
    int rc = json_only_keys(o, "a message", names, n, e);
    if (rc == 0)
        rc = queue_draft_options(d, o, now, e);
    if (rc == 0)
        rc = queue_draft_content(d, o, e);
    return rc == 0 ? queue_draft_merges(d, e) : rc;
}
