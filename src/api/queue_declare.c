/* What the options of a queue mean, and how they are shown. */
#include <string.h>

#include "api/queue_priv.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/time.h"

static const char *const declare_names[] = {
    "concurrency", "max",          "max_bytes", "overflow",       "dead_to",
    "on_dead",     "manual",       "handled",   "keep_completed", "keep_discarded",
    "keep_count",  "dedup_window", "due",       "body_max",
};

static int declare_names_check(const json_t *o, struct err *e)
{
    const char *names[ARRAY_LEN(declare_names) + QUEUE_SENDING_NAMES];
    size_t n = 0;
    for (size_t i = 0; i < ARRAY_LEN(declare_names); i++)
        names[n++] = declare_names[i];
    for (size_t i = 0; i < QUEUE_SENDING_NAMES; i++)
        names[n++] = queue_sending_names[i];
    return json_only_keys(o, "a queue", names, n, e);
}

/* A time, or "forever". */
static int declare_keep(const json_t *o, const char *field, int64_t *out, struct err *e)
{
    const json_t *v = json_object_get(o, field);
    if (v == NULL || json_is_null(v))
        return 0;
    if (json_is_string(v) && strcmp(json_string_value(v), "forever") == 0) {
        *out = -1;
        return 0;
    }
    return queue_duration(v, field, out, e);
}

static int declare_number(const json_t *o, const char *field, int64_t most, int64_t *out,
                          struct err *e)
{
    const json_t *v = json_object_get(o, field);
    return v == NULL || json_is_null(v) ? 0 : queue_number(v, field, 0, most, out, e);
}

static int declare_body_max(const json_t *o, uint32_t *out, struct err *e)
{
    const json_t *v = json_object_get(o, "body_max");
    uint64_t bytes = 0;
    if (v == NULL || json_is_null(v))
        return 0;
    if (json_is_string(v))
        bytes = size_parse(json_string_value(v), &bytes, NULL) == 0 ? bytes : 0;
    else if (json_is_integer(v) && json_integer_value(v) > 0)
        bytes = (uint64_t)json_integer_value(v);
    if (bytes < 1 || bytes > CORE_BODY_MAX)
        return err_field(e, ERR_INVALID, "body_max",
                         "body_max is a size like \"256KiB\", at most %d MiB", CORE_BODY_MAX >> 20);
    *out = (uint32_t)bytes;
    return 0;
}

static int declare_numbers(const json_t *o, struct core_queue *q, struct err *e)
{
    int64_t concurrency = q->concurrency, max = (int64_t)q->max, bytes = (int64_t)q->max_bytes,
            count = q->keep_count;
    const json_t *size = json_object_get(o, "max_bytes");
    int rc = declare_number(o, "concurrency", UINT32_MAX, &concurrency, e);
    if (rc == 0)
        rc = declare_number(o, "max", INT64_MAX, &max, e);
    if (rc == 0 && json_is_string(size))
        rc = size_parse(json_string_value(size), (uint64_t *)&bytes, e) == 0
                 ? 0
                 : err_field(e, ERR_INVALID, "max_bytes", "max_bytes is a size like \"64MiB\"");
    else if (rc == 0)
        rc = declare_number(o, "max_bytes", INT64_MAX, &bytes, e);
    if (rc == 0)
        rc = declare_number(o, "keep_count", UINT32_MAX, &count, e);
    if (rc == 0)
        rc = declare_body_max(o, &q->body_max, e);
    q->concurrency = (uint32_t)concurrency;
    q->max = (uint64_t)max;
    q->max_bytes = (uint64_t)bytes;
    q->keep_count = (uint32_t)count;
    return rc;
}

/* One of two words. */
static int declare_word(const json_t *o, const char *field, const char *no, const char *yes,
                        bool *out, struct err *e)
{
    const json_t *v = json_object_get(o, field);
    if (v == NULL || json_is_null(v))
        return 0;
    const char *text = json_string_value(v);
    *out = text != NULL && strcmp(text, yes) == 0;
    if (*out || (text != NULL && strcmp(text, no) == 0))
        return 0;
    return err_field(e, ERR_INVALID, field, "%s is \"%s\" or \"%s\"", field, no, yes);
}

static int declare_flag(const json_t *o, const char *field, bool *out, struct err *e)
{
    const json_t *v = json_object_get(o, field);
    return v == NULL || json_is_null(v) ? 0 : queue_flag(v, field, out, e);
}

static int declare_times(const json_t *o, struct core_queue *q, struct err *e)
{
    const json_t *window = json_object_get(o, "dedup_window");
    int rc = declare_keep(o, "keep_completed", &q->keep_completed_ms, e);
    if (rc == 0)
        rc = declare_keep(o, "keep_discarded", &q->keep_discarded_ms, e);
    if (rc == 0 && window != NULL && !json_is_null(window))
        rc = queue_duration(window, "dedup_window", &q->dedup_window_ms, e);
    const json_t *due = json_object_get(o, "due");
    if (rc == 0 && due != NULL && !json_is_null(due))
        rc = queue_duration(due, "due", &q->due_ms, e);
    if (rc == 0 && q->due_ms > 0 && !q->manual)
        rc = err_field(e, ERR_INVALID, "due",
                       "due is when people are to be done with a message: the queue has to be "
                       "manual");
    return rc;
}

int queue_declared(const json_t *o, struct core_queue *q, struct queue_draft *d, struct err *e)
{
    bool drops = q->overflow == OVERFLOW_DROP_OLDEST;
    const json_t *dead_to = json_object_get(o, "dead_to");
    int rc = declare_names_check(o, e);
    if (rc == 0)
        rc = declare_numbers(o, q, e);
    if (rc == 0)
        rc = declare_word(o, "overflow", "refuse", "drop_oldest", &drops, e);
    if (rc == 0)
        rc = declare_word(o, "on_dead", "go_on", "halt", &q->halt_on_dead, e);
    if (rc == 0)
        rc = declare_flag(o, "manual", &q->manual, e);
    if (rc == 0)
        rc = declare_flag(o, "handled", &q->handled, e);
    if (rc == 0)
        rc = declare_times(o, q, e);
    if (rc == 0 && dead_to != NULL && !json_is_null(dead_to)) {
        q->dead_to = json_string_value(dead_to);
        rc = q->dead_to != NULL ? queue_name_check(q->dead_to, "dead_to", e)
                                : err_field(e, ERR_INVALID, "dead_to", "dead_to names a queue");
    }
    if (rc == 0)
        rc = queue_draft_sending(d, o, e);
    if (core_sending_says(&d->m.send))
        q->sending = &d->m.send;
    q->overflow = drops ? OVERFLOW_DROP_OLDEST : OVERFLOW_REFUSE;
    return rc;
}

uint32_t queue_declared_options(const json_t *o)
{
    const char *name;
    json_t *v;
    uint32_t said = 0;
    json_object_foreach((json_t *)(uintptr_t)o, name, v)
    {
        if (!json_is_null(v))
            said |= core_option_named(name);
    }
    return said;
}

static void declared_time(struct buf *out, int64_t ms)
{
    char text[64];
    duration_format(ms, text, sizeof text);
    buf_addf(out, "\"%s\"", ms < 0 ? "forever" : ms == 0 ? "0s" : text);
}

static void declared_keep(struct buf *out, const char *name, int64_t ms)
{
    buf_addf(out, ",\"%s\":", name);
    declared_time(out, ms);
}

static void declared_text(struct buf *out, const char *name, const char *text)
{
    buf_addf(out, ",\"%s\":", name);
    json_print_string(out, text, strlen(text));
}

static void declared_backoff(struct buf *out, const struct core_backoff *b)
{
    if (b == NULL || (b->first == 0 && b->list_count == 0)) {
        buf_adds(out, ",\"backoff\":{\"first\":\"3s\",\"cap\":\"5m\"}");
        return;
    }
    if (b->first != 0) {
        buf_adds(out, ",\"backoff\":{\"first\":");
        declared_time(out, b->first);
        declared_keep(out, "cap", b->cap);
        buf_addc(out, '}');
        return;
    }
    for (uint8_t i = 0; i < b->list_count; i++) {
        buf_adds(out, i == 0 ? ",\"backoff\":[" : ",");
        declared_time(out, b->list[i]);
    }
    buf_addc(out, ']');
}

static void declared_lists(struct buf *out, const struct core_send *s)
{
    for (uint8_t i = 0; i < s->gates_count; i++) {
        buf_adds(out, i == 0 ? ",\"gate\":[" : ",");
        json_print_string(out, s->gates[i], strlen(s->gates[i]));
    }
    buf_adds(out, s->gates_count > 0 ? "]" : "");
    for (uint8_t i = 0; i < s->needs_count; i++) {
        const struct core_label *l = &s->needs[i];
        buf_adds(out, i == 0 ? ",\"needs\":{" : ",");
        json_print_string(out, l->name, strlen(l->name));
        buf_addc(out, ':');
        if (l->text != NULL)
            json_print_string(out, l->text, strlen(l->text));
        else if (l->number > 0)
            buf_addf(out, "%u", l->number);
        else
            buf_adds(out, "true");
    }
    buf_adds(out, s->needs_count > 0 ? "}" : "");
}

/* As a message is sent that says nothing of it. */
static void declared_sending(struct buf *out, const struct core_send *sending)
{
    struct core_send s = {.priority = CORE_PRIORITY_UNSAID};
    core_sending_fill(&s, sending);
    buf_addf(out, ",\"attempts\":%u,\"priority\":%u", s.attempts, s.priority);
    declared_keep(out, "timeout", s.timeout_ms);
    declared_keep(out, "deadline", s.deadline_ms);
    if (s.ttl_ms > 0)
        declared_keep(out, "ttl", s.ttl_ms);
    declared_backoff(out, s.backoff);
    declared_text(out, "lane", s.lane);
    declared_lists(out, &s);
}

void queue_declared_print(const struct core_queue *q, struct buf *out)
{
    buf_addf(out,
             "\"concurrency\":%u,\"max\":%llu,\"max_bytes\":%llu,\"overflow\":\"%s\","
             "\"on_dead\":\"%s\",\"manual\":%s,\"handled\":%s,\"keep_count\":%u,\"body_max\":%u",
             q->concurrency, (unsigned long long)q->max, (unsigned long long)q->max_bytes,
             q->overflow == OVERFLOW_DROP_OLDEST ? "drop_oldest" : "refuse",
             q->halt_on_dead ? "halt" : "go_on", q->manual ? "true" : "false",
             q->handled ? "true" : "false", q->keep_count,
             q->body_max != 0 ? q->body_max : CORE_BODY);
    declared_keep(out, "keep_completed", q->keep_completed_ms);
    declared_keep(out, "keep_discarded", q->keep_discarded_ms);
    declared_keep(out, "dedup_window", q->dedup_window_ms);
    if (q->due_ms > 0)
        declared_keep(out, "due", q->due_ms);
    if (q->dead_to != NULL)
        declared_text(out, "dead_to", q->dead_to);
    declared_sending(out, q->sending);
}
