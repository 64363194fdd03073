/* Events as bytes: schema/trace-ring.md has the table. */
#include <string.h>

#include "base/hash.h"
#include "base/json.h"
#include "base/str.h"
#include "base/time.h"
#include "trace/trace_priv.h"

enum { EVENT_UUID = 0xffff, EVENT_SEED = 0x6576 };

const char *trace_kind_name(enum trace_kind k)
{
    static const char *const names[TRACE_KINDS] = {"?",       "request", "script",  "call",
                                                   "arrival", "change",  "changes", "message"};
    return names[k];
}

static void put(uint8_t **p, const void *from, size_t n)
{
    memcpy(*p, from, n);
    *p += n;
}

/* The one text that a UUID is printed as, 36 characters: no other comes back as it was. Half of
 * what noting costs, so without detours. */
static bool pack_uuid(const char *s, uint8_t out[16])
{
    if (s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-')
        return false;
    /* One more than its value for each digit. */
    static const uint8_t digits[256] = {
        ['0'] = 1,  ['1'] = 2,  ['2'] = 3,  ['3'] = 4,  ['4'] = 5,  ['5'] = 6,
        ['6'] = 7,  ['7'] = 8,  ['8'] = 9,  ['9'] = 10, ['a'] = 11, ['b'] = 12,
        ['c'] = 13, ['d'] = 14, ['e'] = 15, ['f'] = 16,
    };
    static const uint8_t places[16] = {0, 2, 4, 6, 9, 11, 14, 16, 19, 21, 24, 26, 28, 30, 32, 34};
    unsigned bad = 0;
    for (size_t i = 0; i < 16; i++) {
        unsigned high = digits[(uint8_t)s[places[i]]] - 1u;
        unsigned low = digits[(uint8_t)s[places[i] + 1]] - 1u;
        bad |= high | low;
        out[i] = (uint8_t)(high << 4 | low);
    }
    return bad < 16;
}

/* Most texts are ids: a UUID takes 18 bytes instead of 38. */
static void put_text(uint8_t **p, const char *s)
{
    uint8_t id[16];
    size_t n = s != NULL ? strnlen(s, TRACE_TEXT_MAX) : 0;
    if (n == UUID_TEXT - 1 && pack_uuid(s, id)) {
        uint16_t mark = EVENT_UUID;
        put(p, &mark, sizeof mark);
        put(p, id, sizeof id);
        return;
    }
    while (n == TRACE_TEXT_MAX && n > 0 && ((unsigned char)s[n] & 0xc0) == 0x80)
        n--;
    uint16_t length = (uint16_t)n;
    put(p, &length, sizeof length);
    if (n > 0)
        put(p, s, n);
}

uint32_t event_key(const char *text)
{
    if (text == NULL || *text == '\0')
        return 0;
    uint32_t key = (uint32_t)hash64(EVENT_SEED, text, strnlen(text, TRACE_TEXT_MAX));
    return key != 0 ? key : 1;
}

/* head: u32 length of all, u32 crc of what follows the head, u32 keys of correlation and link. */
size_t event_encode(const struct trace_event *e, int64_t at_us, uint8_t out[EVENT_BYTES_MAX])
{
    uint8_t *p = out + RING_RECORD_HEAD;
    uint8_t kind = (uint8_t)e->kind;
    uint8_t flags = (uint8_t)((e->span != NULL ? EVENT_SPAN : 0) |
                              (e->span != NULL && e->span->sampled ? EVENT_SAMPLED : 0) |
                              (e->failed ? EVENT_FAILED : 0) | (e->follows ? EVENT_FOLLOWS : 0));
    uint16_t status = (uint16_t)e->status;
    put(&p, &kind, 1);
    put(&p, &flags, 1);
    put(&p, &status, 2);
    put(&p, &at_us, 8);
    put(&p, &e->took_ns, 8);
    put(&p, &e->seq, 8);
    put(&p, &e->version, 8);
    if (e->span != NULL) {
        put(&p, e->span->trace.b, 16);
        put(&p, &e->span->id, 8);
        put(&p, &e->span->parent, 8);
    }
    const char *const texts[EVENT_TEXTS] = {e->correlation, e->causation, e->principal, e->name,
                                            e->subject,     e->detail,    e->link};
    for (size_t i = 0; i < EVENT_TEXTS; i++)
        put_text(&p, texts[i]);
    uint32_t head[4] = {(uint32_t)(p - out), 0, event_key(e->correlation), event_key(e->link)};
    head[1] = hash_crc32c(0, out + RING_RECORD_HEAD, head[0] - RING_RECORD_HEAD);
    memcpy(out, head, sizeof head);
    return head[0];
}

size_t event_length(const uint8_t *p, size_t n)
{
    uint32_t head[4];
    if (n < RING_RECORD_HEAD + 12)
        return 0;
    memcpy(head, p, sizeof head);
    if (head[0] < RING_RECORD_HEAD + 12 || head[0] > EVENT_BYTES_MAX || head[0] > n ||
        hash_crc32c(0, p + RING_RECORD_HEAD, head[0] - RING_RECORD_HEAD) != head[1])
        return 0;
    return head[0];
}

void event_keys(const uint8_t *p, uint32_t keys[2])
{
    memcpy(keys, p + 8, 8);
}

int64_t event_at(const uint8_t *p)
{
    int64_t at;
    memcpy(&at, p + RING_RECORD_HEAD + 4, 8);
    return at;
}

/* The next text of the record, copied to *room with its NUL. */
static const char *take_text(struct cursor *c, char **room, const char *end)
{
    char *at = *room;
    uint16_t n = cursor_u16(c);
    struct uuid id;
    bool packed = n == EVENT_UUID;
    const void *p = cursor_raw(c, packed ? sizeof id.b : n);
    size_t length = packed ? UUID_TEXT - 1 : n;
    c->bad |= n > TRACE_TEXT_MAX && !packed;
    if (c->bad || (size_t)(end - at) < length + 1) {
        c->bad = true;
        return "";
    }
    if (packed) {
        memcpy(id.b, p, sizeof id.b);
        uuid_format(&id, at);
    } else {
        memcpy(at, p, n);
        at[n] = '\0';
        str_utf8_repair(at, n);
    }
    *room += length + 1;
    return at;
}

bool event_decode(const uint8_t *p, size_t n, struct event *out)
{
    struct cursor c;
    size_t length = event_length(p, n);
    if (length == 0)
        return false;
    cursor_init(&c, p + RING_RECORD_HEAD, length - RING_RECORD_HEAD);
    struct trace_event *e = &out->e;
    uint8_t kind = cursor_u8(&c), flags = cursor_u8(&c);
    *e = (struct trace_event){.kind = (enum trace_kind)kind,
                              .failed = (flags & EVENT_FAILED) != 0,
                              .follows = (flags & EVENT_FOLLOWS) != 0};
    e->status = cursor_u16(&c);
    e->at_us = (int64_t)cursor_u64(&c);
    e->took_ns = cursor_u64(&c);
    e->seq = cursor_u64(&c);
    e->version = cursor_u64(&c);
    if ((flags & EVENT_SPAN) != 0) {
        const void *id = cursor_raw(&c, sizeof out->span.trace.b);
        if (id != NULL)
            memcpy(out->span.trace.b, id, sizeof out->span.trace.b);
        out->span.id = cursor_u64(&c);
        out->span.parent = cursor_u64(&c);
        out->span.sampled = (flags & EVENT_SAMPLED) != 0;
        e->span = &out->span;
    }
    const char **const texts[EVENT_TEXTS] = {
        &e->correlation, &e->causation, &e->principal, &e->name, &e->subject, &e->detail, &e->link};
    char *room = out->room;
    for (size_t i = 0; i < EVENT_TEXTS; i++)
        *texts[i] = take_text(&c, &room, out->room + sizeof out->room);
    return !c.bad && cursor_left(&c) == 0 && kind > 0 && kind < TRACE_KINDS;
}

/* ---- for people ---- */

static void print_text(struct buf *out, const char *name, const char *s)
{
    if (*s == '\0')
        return;
    buf_addf(out, ",\"%s\":", name);
    json_print_string(out, s, strlen(s));
}

void event_print(const struct event *ev, const char *node, struct buf *out)
{
    const struct trace_event *e = &ev->e;
    char at[TIME_TEXT];
    time_format(e->at_us / 1000, at);
    buf_addf(out, "{\"at\":\"%s\",\"kind\":\"%s\",\"node\":\"%s\"", at, trace_kind_name(e->kind),
             node);
    print_text(out, "name", e->name);
    print_text(out, "subject", e->subject);
    print_text(out, "detail", e->detail);
    buf_addf(out, ",\"ok\":%s", e->failed ? "false" : "true");
    if (e->status != 0)
        buf_addf(out, ",\"status\":%d", e->status);
    if (e->version != 0)
        buf_addf(out, ",\"version\":%llu", (unsigned long long)e->version);
    if (e->seq != 0)
        buf_addf(out, ",\"seq\":%llu", (unsigned long long)e->seq);
    if (e->took_ns != 0)
        buf_addf(out, ",\"took_ms\":%.3f", (double)e->took_ns / 1e6);
    print_text(out, "principal", e->principal);
    print_text(out, "correlation", e->correlation);
    print_text(out, "causation", e->causation);
    if (e->span != NULL) {
        char text[TRACE_PARENT_TEXT];
        trace_format(e->span, text);
        buf_addf(out, ",\"trace\":\"%.32s\",\"span\":\"%.16s\"", text + 3, text + 36);
        if (e->span->parent != 0)
            buf_addf(out, ",\"parent\":\"%016llx\"", (unsigned long long)e->span->parent);
    }
    buf_addc(out, '}');
}
