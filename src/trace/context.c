/* Trace ids, and how they travel: traceparent of W3C trace context. */
#include <stdio.h>
#include <string.h>

#include "base/hash.h"
#include "base/str.h"
#include "trace/trace_priv.h"

enum { CONTEXT_SEED_HIGH = 0x6b6f, CONTEXT_SEED_LOW = 0x616e, CONTEXT_SEED_SAMPLE = 0x7472 };

/* ---- the text: "00-" 32 hex "-" 16 hex "-" 2 hex ---- */

/* Lower case only, as the standard wants it. */
static bool context_hex(const char *s, size_t digits, uint8_t *out)
{
    for (size_t i = 0; i < digits; i++) {
        bool lower = (s[i] >= '0' && s[i] <= '9') || (s[i] >= 'a' && s[i] <= 'f');
        if (!lower)
            return false;
        out[i / 2] = (uint8_t)(out[i / 2] << 4 | str_hex_digit(s[i]));
    }
    return true;
}

bool trace_parse(const char *s, struct trace_span *out)
{
    uint8_t version[1] = {0}, id[16] = {0}, span[8] = {0}, flags[1] = {0};
    static const uint8_t none[16];
    size_t n = s != NULL ? strnlen(s, TRACE_TEXT_MAX) : 0;
    if (n < TRACE_PARENT_TEXT - 1 || !context_hex(s, 2, version) || version[0] == 0xff ||
        s[2] != '-' || !context_hex(s + 3, 32, id) || s[35] != '-' ||
        !context_hex(s + 36, 16, span) || s[52] != '-' || !context_hex(s + 53, 2, flags))
        return false;
    /* A version to come may have more behind a '-'. */
    bool ends =
        version[0] == 0 ? n == TRACE_PARENT_TEXT - 1 : n == TRACE_PARENT_TEXT - 1 || s[55] == '-';
    if (!ends || memcmp(id, none, sizeof id) == 0 || memcmp(span, none, sizeof span) == 0)
        return false;
    memcpy(out->trace.b, id, sizeof id);
    out->id = out->parent = 0;
    for (size_t i = 0; i < sizeof span; i++)
        out->parent = out->parent << 8 | span[i];
    out->sampled = (flags[0] & 1) != 0;
    return true;
}

void trace_format(const struct trace_span *s, char out[TRACE_PARENT_TEXT])
{
    static const char digits[] = "0123456789abcdef";
    char *p = out;
    memcpy(p, "00-", 3);
    p += 3;
    for (size_t i = 0; i < sizeof s->trace.b; i++) {
        *p++ = digits[s->trace.b[i] >> 4];
        *p++ = digits[s->trace.b[i] & 15];
    }
    *p++ = '-';
    for (int shift = 60; shift >= 0; shift -= 4)
        *p++ = digits[s->id >> shift & 15];
    memcpy(p, s->sampled ? "-01" : "-00", 4);
}

/* ---- ids ---- */

/* Different for every n, and without a pattern: splitmix64. */
static uint64_t context_mix(uint64_t n)
{
    n += UINT64_C(0x9e3779b97f4a7c15);
    n = (n ^ n >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    n = (n ^ n >> 27) * UINT64_C(0x94d049bb133111eb);
    return n ^ n >> 31;
}

static uint64_t context_span(struct trace *t)
{
    uint64_t id = 0;
    while (t != NULL && id == 0)
        id = context_mix(t->span_seed + atomic_fetch_add(&t->spans, 1));
    return id != 0 ? id : 1;
}

/* A correlation id that is a UUID is the trace id; any other gives one. */
static void context_of(const char *correlation, struct uuid *out)
{
    size_t n = correlation != NULL ? strlen(correlation) : 0;
    static const struct uuid none;
    if (uuid_parse(correlation, n, out) && memcmp(out, &none, sizeof none) != 0)
        return;
    uint64_t high = hash64(CONTEXT_SEED_HIGH, correlation, n) | 1,
             low = hash64(CONTEXT_SEED_LOW, correlation, n);
    memcpy(out->b, &high, 8);
    memcpy(out->b + 8, &low, 8);
}

void trace_begin(struct trace *t, const char *traceparent, const char *correlation,
                 struct trace_span *out)
{
    if (!trace_parse(traceparent, out)) {
        context_of(correlation != NULL ? correlation : "", &out->trace);
        out->parent = 0;
        out->sampled = t != NULL && hash64(CONTEXT_SEED_SAMPLE, out->trace.b, sizeof out->trace.b) <
                                        t->sample_below;
    }
    out->id = context_span(t);
}

void trace_child(struct trace *t, const struct trace_span *parent, struct trace_span *out)
{
    *out = *parent;
    out->parent = parent->id;
    out->id = context_span(t);
}
