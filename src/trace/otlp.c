/* Spans as OTLP/HTTP with JSON: the body of a request to ".../v1/traces", and the texts of the
 * OTEL_ variables. Pure. The names are those of the OpenTelemetry protocol 1 and its semantic
 * conventions. */
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/str.h"
#include "trace/trace_priv.h"

enum { OTLP_INTERNAL = 1, OTLP_SERVER = 2, OTLP_CLIENT = 3, OTLP_ERROR = 2, OTLP_PAIR_MAX = 1024 };

bool otlp_wanted(const struct trace_event *e)
{
    return e->span != NULL && (e->span->sampled || e->failed);
}

static void otlp_text(struct buf *out, const char *name, const char *value, const char *comma)
{
    if (*value == '\0')
        return;
    buf_addf(out, "%s{\"key\":", comma);
    json_print_string(out, name, strlen(name));
    buf_adds(out, ",\"value\":{\"stringValue\":");
    json_print_string(out, value, strlen(value));
    buf_adds(out, "}}");
}

/* 64-bit numbers are texts in this mapping. */
static void otlp_number(struct buf *out, const char *name, uint64_t value)
{
    if (value != 0)
        buf_addf(out, ",{\"key\":\"%s\",\"value\":{\"intValue\":\"%llu\"}}", name,
                 (unsigned long long)value);
}

static void otlp_hex(struct buf *out, const char *name, const uint8_t *p, size_t n)
{
    buf_addf(out, "\"%s\":\"", name);
    for (size_t i = 0; i < n; i++)
        buf_addf(out, "%02x", p[i]);
    buf_adds(out, "\",");
}

static int otlp_kind(enum trace_kind k)
{
    return k == TRACE_REQUEST ? OTLP_SERVER : k == TRACE_CALL ? OTLP_CLIENT : OTLP_INTERNAL;
}

static void otlp_attributes(struct buf *out, const struct trace_event *e)
{
    bool http = e->kind == TRACE_REQUEST || e->kind == TRACE_CALL;
    buf_adds(out, ",\"attributes\":[");
    otlp_text(out, "koan.kind", trace_kind_name(e->kind), "");
    otlp_text(out, "koan.correlation", e->correlation, ",");
    otlp_text(out, "koan.causation", e->causation, ",");
    otlp_text(out, "enduser.id", e->principal, ",");
    otlp_text(out, e->kind == TRACE_REQUEST ? "url.path" : "koan.subject", e->subject, ",");
    otlp_text(out, "koan.detail", e->detail, ",");
    otlp_number(out, http ? "http.response.status_code" : "koan.status", (uint64_t)e->status);
    otlp_number(out, "koan.seq", e->seq);
    otlp_number(out, "koan.version", e->version);
    if (http) {
        char verb[16];
        str_copy(verb, sizeof verb, e->name);
        verb[strcspn(verb, " ")] = '\0';
        otlp_text(out, "http.request.method", verb, ",");
    }
    buf_addc(out, ']');
}

static void otlp_span(struct buf *out, const struct event *ev)
{
    const struct trace_event *e = &ev->e;
    buf_addc(out, '{');
    otlp_hex(out, "traceId", e->span->trace.b, sizeof e->span->trace.b);
    buf_addf(out, "\"spanId\":\"%016llx\",", (unsigned long long)e->span->id);
    if (e->span->parent != 0)
        buf_addf(out, "\"parentSpanId\":\"%016llx\",", (unsigned long long)e->span->parent);
    buf_adds(out, "\"name\":");
    json_print_string(out, e->name, strlen(e->name));
    uint64_t began = (uint64_t)e->at_us * 1000;
    buf_addf(out, ",\"kind\":%d,\"startTimeUnixNano\":\"%llu\",\"endTimeUnixNano\":\"%llu\"",
             otlp_kind(e->kind), (unsigned long long)began,
             (unsigned long long)(began + e->took_ns));
    otlp_attributes(out, e);
    if (e->failed) {
        buf_addf(out, ",\"status\":{\"code\":%d,\"message\":", OTLP_ERROR);
        json_print_string(out, e->detail, strlen(e->detail));
        buf_addc(out, '}');
    }
    buf_addc(out, '}');
}

static bool otlp_unescape(const char *from, size_t n, char *out, size_t cap)
{
    size_t at = 0;
    for (size_t i = 0; i < n; i++) {
        char c = from[i];
        if (c == '%') {
            if (n - i < 3)
                return false;
            int high = str_hex_digit(from[i + 1]), low = str_hex_digit(from[i + 2]);
            if (high < 0 || low < 0)
                return false;
            c = (char)(high << 4 | low);
            i += 2;
        }
        if (at + 1 >= cap || (unsigned char)c < ' ')
            return false;
        out[at++] = c;
    }
    out[at] = '\0';
    return str_is_utf8(out, at);
}

/* Without blanks around it. */
static struct str otlp_trim(const char *p, size_t n)
{
    while (n > 0 && *p == ' ') {
        p++;
        n--;
    }
    while (n > 0 && p[n - 1] == ' ')
        n--;
    return (struct str){p, n};
}

bool trace_pairs(const char *text, void (*each)(void *arg, const char *name, const char *value),
                 void *arg)
{
    while (*text != '\0') {
        char name[OTLP_PAIR_MAX], value[OTLP_PAIR_MAX];
        size_t n = strcspn(text, ",");
        struct str pair = otlp_trim(text, n);
        const char *eq = pair.n > 0 ? memchr(pair.p, '=', pair.n) : NULL;
        text += n + (text[n] == ',');
        if (pair.n == 0)
            continue;
        if (eq == NULL || eq == pair.p)
            return false;
        struct str left = otlp_trim(pair.p, (size_t)(eq - pair.p));
        struct str right = otlp_trim(eq + 1, (size_t)(pair.p + pair.n - eq - 1));
        if (!otlp_unescape(left.p, left.n, name, sizeof name) ||
            !otlp_unescape(right.p, right.n, value, sizeof value))
            return false;
        each(arg, name, value);
    }
    return true;
}

static void otlp_resource_pair(void *arg, const char *name, const char *value)
{
    if (strcmp(name, "service.name") != 0) /* that has a setting of its own */
        otlp_text(arg, name, value, ",");
}

void otlp_print(const uint8_t *spans, size_t n, const struct trace_options *o, struct buf *out)
{
    struct event ev;
    size_t length;
    bool first = true;
    buf_adds(out, "{\"resourceSpans\":[{\"resource\":{\"attributes\":[");
    otlp_text(out, "service.name", o->service, "");
    otlp_text(out, "service.version", o->version, ",");
    otlp_text(out, "service.instance.id", o->node_id, ",");
    trace_pairs(o->resource, otlp_resource_pair, out);
    buf_adds(out, "]},\"scopeSpans\":[{\"scope\":{\"name\":\"koan\",\"version\":");
    json_print_string(out, o->version, strlen(o->version));
    buf_adds(out, "},\"spans\":[");
    for (size_t at = 0; (length = event_length(spans + at, n - at)) > 0; at += length) {
        if (!event_decode(spans + at, length, &ev))
            continue;
        buf_adds(out, first ? "" : ",");
        otlp_span(out, &ev);
        first = false;
    }
    buf_adds(out, "]}]}]}");
}
