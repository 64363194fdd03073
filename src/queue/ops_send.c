/* Queue: sends, written and read back, and what a send gave. */
#include <string.h>

#include "base/buf.h"
#include "ledger/txn.h"
#include "queue/ops_priv.h"

/* Its text, made of its bytes again, would be the same. */
static bool text_is_uuid(const char *text, struct uuid *out)
{
    char again[UUID_TEXT];
    if (!uuid_parse(text, strlen(text), out))
        return false;
    uuid_format(out, again);
    return strcmp(again, text) == 0;
}

static uint32_t correlation_flag(const char *text)
{
    struct uuid id;
    if (text == NULL)
        return 0;
    return text_is_uuid(text, &id) ? SEND_CORRELATION_ID : SEND_CORRELATION;
}

static uint32_t send_flags(const struct queue_message *m)
{
    const struct core_send *s = &m->send;
    uint32_t f = 0;
    f |= s->run_at != 0 ? SEND_RUN_AT : 0u;
    f |= s->ttl_ms != 0 ? SEND_TTL : 0u;
    f |= s->deadline_ms != 0 ? SEND_DEADLINE : 0u;
    f |= s->timeout_ms != 0 ? SEND_TIMEOUT : 0u;
    f |= s->priority != CORE_PRIORITY_UNSAID ? SEND_PRIORITY : 0u;
    f |= s->attempts != 0 ? SEND_ATTEMPTS : 0u;
    f |= s->backoff != NULL ? SEND_BACKOFF : 0u;
    f |= s->lane != NULL ? SEND_LANE : 0u;
    f |= s->key != NULL ? SEND_KEY : 0u;
    f |= s->unique != NULL ? SEND_UNIQUE : 0u;
    f |= s->dedup != NULL ? SEND_DEDUP : 0u;
    f |= s->gates_count > 0 || s->no_gates ? SEND_GATES : 0u;
    f |= s->needs_count > 0 || s->no_needs ? SEND_NEEDS : 0u;
    f |= s->create ? SEND_CREATE : 0u;
    f |= m->type != NULL ? SEND_TYPE : 0u;
    f |= m->headers != NULL ? SEND_HEADERS : 0u;
    f |= correlation_flag(m->correlation);
    f |= m->traceparent != NULL ? SEND_TRACE : 0u;
    f |= s->dedup_ms != 0 ? SEND_DEDUP_MS : 0u;
    f |= s->large ? SEND_LARGE : 0u;
    f |= m->script != 0 ? SEND_SCRIPT : 0u;
    return f;
}

int op_text_fits(const char *text, size_t max, const char *field, struct err *e)
{
    if (text != NULL && strlen(text) > max)
        return err_field(e, ERR_INVALID, field, "at most %zu bytes", max);
    return 0;
}

static int message_check(const struct queue_message *m, struct err *e)
{
    const struct core_send *s = &m->send;
    int rc = op_body_check(m->body_len, e);
    const struct {
        const char *text, *field;
        size_t max;
    } texts[] = {{s->queue, "queue", CORE_TEXT_MAX},
                 {s->lane, "lane", CORE_TEXT_MAX},
                 {s->key, "key", CORE_TEXT_MAX},
                 {s->unique, "unique", CORE_TEXT_MAX},
                 {s->dedup, "dedup", CORE_TEXT_MAX},
                 {m->type, "type", QUEUE_TYPE_BYTES},
                 {m->headers, "headers", QUEUE_HEADERS_BYTES},
                 {m->correlation, "correlation", CORE_TEXT_MAX},
                 {m->traceparent, "traceparent", CORE_TEXT_MAX}};
    for (size_t i = 0; rc == 0 && i < sizeof texts / sizeof texts[0]; i++)
        rc = op_text_fits(texts[i].text, texts[i].max, texts[i].field, e);
    if (rc == 0 && (s->gates_count > CORE_GATES_MAX || s->needs_count > CORE_LABELS_MAX))
        rc = err_field(e, ERR_INVALID, s->gates_count > CORE_GATES_MAX ? "gate" : "needs",
                       "at most %d gates and %d labels", CORE_GATES_MAX, CORE_LABELS_MAX);
    for (uint8_t i = 0; rc == 0 && i < s->gates_count; i++)
        rc = op_text_fits(s->gates[i], CORE_TEXT_MAX, "gate", e);
    for (uint8_t i = 0; rc == 0 && i < s->needs_count; i++) {
        rc = op_text_fits(s->needs[i].name, CORE_TEXT_MAX, "needs", e);
        if (rc == 0)
            rc = op_text_fits(s->needs[i].text, CORE_TEXT_MAX, "needs", e);
    }
    return rc;
}

static void backoff_add(struct buf *b, const struct core_backoff *o)
{
    buf_add_u32(b, o->first);
    buf_add_u32(b, o->cap);
    buf_add_u8(b, o->list_count);
    for (uint8_t i = 0; i < o->list_count && i < CORE_BACKOFF_LIST_MAX; i++)
        buf_add_u32(b, o->list[i]);
}

/* In the order of the bits. */
static void send_add_options(struct buf *b, const struct queue_message *m, uint32_t f)
{
    const struct core_send *s = &m->send;
    if (f & SEND_RUN_AT)
        buf_add_u64(b, (uint64_t)s->run_at);
    if (f & SEND_TTL)
        buf_add_u64(b, (uint64_t)s->ttl_ms);
    if (f & SEND_DEADLINE)
        buf_add_u64(b, (uint64_t)s->deadline_ms);
    if (f & SEND_TIMEOUT)
        buf_add_u32(b, s->timeout_ms);
    if (f & SEND_PRIORITY)
        buf_add_u8(b, s->priority);
    if (f & SEND_ATTEMPTS)
        buf_add_u16(b, s->attempts);
    if (f & SEND_BACKOFF)
        backoff_add(b, s->backoff);
    if (f & SEND_LANE)
        short_add(b, s->lane);
    if (f & SEND_KEY)
        short_add(b, s->key);
    if (f & SEND_UNIQUE) {
        short_add(b, s->unique);
        buf_add_u8(b, (uint8_t)s->unique_mode);
        buf_add_u64(b, s->unique_expect);
    }
    if (f & SEND_DEDUP)
        short_add(b, s->dedup);
}

static void send_add_rest(struct buf *b, const struct queue_message *m, uint32_t f)
{
    const struct core_send *s = &m->send;
    if (f & SEND_GATES) {
        buf_add_u8(b, s->gates_count);
        for (uint8_t i = 0; i < s->gates_count; i++)
            short_add(b, s->gates[i]);
    }
    if (f & SEND_NEEDS)
        op_labels_add(b, s->needs, s->needs_count);
    if (f & SEND_TYPE)
        short_add(b, m->type);
    if (f & SEND_HEADERS)
        short_add(b, m->headers);
    if (f & SEND_CORRELATION)
        short_add(b, m->correlation);
    if (f & SEND_TRACE)
        short_add(b, m->traceparent);
    struct uuid id;
    if (f & SEND_CORRELATION_ID && text_is_uuid(m->correlation, &id))
        buf_add(b, id.b, sizeof id.b);
    if (f & SEND_DEDUP_MS)
        buf_add_u64(b, (uint64_t)s->dedup_ms);
    if (f & SEND_SCRIPT)
        buf_add_u64(b, m->script);
}

static void send_add(struct buf *b, const struct queue_message *m)
{
    uint32_t f = send_flags(m);
    buf_add_u32(b, f);
    buf_add(b, m->send.id.b, sizeof m->send.id.b);
    short_add(b, m->send.queue);
    send_add_options(b, m, f);
    send_add_rest(b, m, f);
    buf_add_bytes(b, m->body, m->body_len);
}

/* The last version only where it is needed, so that a program before this one can read the others.
 */
static struct buf *send_begin(struct txn *t, enum queue_op type, const struct queue_message *m)
{
    uint8_t version = m->script != 0 ? SEND_VERSION : SEND_PLAIN_VERSION;
    return txn_begin(t, (uint16_t)type, version);
}

int queue_txn_send(struct txn *t, const struct queue_message *m, struct err *e)
{
    int rc = message_check(m, e);
    if (rc < 0)
        return rc;
    send_add(send_begin(t, QUEUE_OP_SEND, m), m);
    txn_end(t);
    return 0;
}

int queue_txn_send_discarded(struct txn *t, const struct queue_message *m, int64_t keep_ms,
                             struct err *e)
{
    int rc = message_check(m, e);
    if (rc < 0)
        return rc;
    struct buf *b = send_begin(t, QUEUE_OP_SEND_DISCARDED, m);
    send_add(b, m);
    buf_add_u8(b, (uint8_t)m->send.discard);
    buf_add_u64(b, (uint64_t)keep_ms);
    txn_end(t);
    return 0;
}

int queue_txn_send_manual(struct txn *t, const struct queue_message *m, int64_t due_ms,
                          const struct uuid *follows, struct err *e)
{
    static const struct uuid nobody;
    int rc = message_check(m, e);
    if (rc < 0)
        return rc;
    struct buf *b = txn_begin(t, QUEUE_OP_SEND_MANUAL, MANUAL_VERSION);
    send_add(b, m);
    buf_add_u64(b, (uint64_t)due_ms);
    buf_add(b, follows != NULL ? follows->b : nobody.b, sizeof nobody.b);
    txn_end(t);
    return 0;
}

bool queue_sent_manual(struct cursor *result)
{
    return cursor_u8(result) == 1 && !result->bad;
}

static void backoff_read(struct cursor *c, struct core_backoff *o)
{
    memset(o, 0, sizeof *o);
    o->first = cursor_u32(c);
    o->cap = cursor_u32(c);
    o->list_count = cursor_u8(c);
    c->bad = c->bad || o->list_count > CORE_BACKOFF_LIST_MAX;
    for (uint8_t i = 0; i < o->list_count && !c->bad; i++)
        o->list[i] = cursor_u32(c);
}

/* Times, numbers, lane: what a send and a queue say alike. */
static void send_read_how(struct cursor *c, struct core_send *s, struct core_backoff *backoff,
                          char **room, uint32_t f)
{
    s->ttl_ms = f & SEND_TTL ? (int64_t)cursor_u64(c) : 0;
    s->deadline_ms = f & SEND_DEADLINE ? (int64_t)cursor_u64(c) : 0;
    s->timeout_ms = f & SEND_TIMEOUT ? cursor_u32(c) : 0;
    s->priority = f & SEND_PRIORITY ? cursor_u8(c) : CORE_PRIORITY_UNSAID;
    s->attempts = f & SEND_ATTEMPTS ? cursor_u16(c) : 0;
    if (f & SEND_BACKOFF) {
        backoff_read(c, backoff);
        s->backoff = backoff;
    }
    if (f & SEND_LANE)
        s->lane = short_read(c, room, CORE_TEXT_MAX);
}

static void send_read_lists(struct cursor *c, struct core_send *s,
                            struct core_label needs[CORE_LABELS_MAX], char **room, uint32_t f)
{
    if (f & SEND_GATES)
        s->gates_count = (uint8_t)op_texts_read(c, cursor_u8(c), CORE_GATES_MAX, s->gates, room);
    if (f & SEND_NEEDS)
        s->needs_count = op_labels_read(c, needs, room);
    s->needs = needs;
    s->no_gates = f & SEND_GATES && s->gates_count == 0;
    s->no_needs = f & SEND_NEEDS && s->needs_count == 0;
}

static void send_read_options(struct cursor *c, struct send_view *v, uint32_t f)
{
    struct core_send *s = &v->send;
    s->run_at = f & SEND_RUN_AT ? (int64_t)cursor_u64(c) : 0;
    send_read_how(c, s, &v->backoff, &v->texts, f);
    if (f & SEND_KEY)
        s->key = short_read(c, &v->texts, CORE_TEXT_MAX);
    if (f & SEND_UNIQUE) {
        s->unique = short_read(c, &v->texts, CORE_TEXT_MAX);
        uint8_t mode = cursor_u8(c);
        c->bad = c->bad || mode > UNIQUE_SWAP;
        s->unique_mode = mode == 0 ? UNIQUE_SKIP : mode == 1 ? UNIQUE_REPLACE : UNIQUE_SWAP;
        s->unique_expect = cursor_u64(c);
    }
    if (f & SEND_DEDUP)
        s->dedup = short_read(c, &v->texts, CORE_TEXT_MAX);
}

static const char *uuid_text_read(struct cursor *c, char **room)
{
    struct uuid id;
    char *text = *room;
    uuid_read(c, &id);
    uuid_format(&id, text);
    *room += UUID_TEXT;
    return text;
}

static void send_read_rest(struct cursor *c, struct send_view *v, uint32_t f)
{
    struct core_send *s = &v->send;
    send_read_lists(c, s, v->needs, &v->texts, f);
    s->create = f & SEND_CREATE;
    s->large = f & SEND_LARGE;
    v->type = f & SEND_TYPE ? short_read(c, &v->texts, QUEUE_TYPE_BYTES) : NULL;
    v->headers = f & SEND_HEADERS ? short_read(c, &v->texts, QUEUE_HEADERS_BYTES) : NULL;
    v->correlation = f & SEND_CORRELATION ? short_read(c, &v->texts, CORE_TEXT_MAX) : NULL;
    v->traceparent = f & SEND_TRACE ? short_read(c, &v->texts, CORE_TEXT_MAX) : NULL;
    if (f & SEND_CORRELATION_ID)
        v->correlation = uuid_text_read(c, &v->texts);
    s->dedup_ms = f & SEND_DEDUP_MS ? (int64_t)cursor_u64(c) : 0;
    v->script = f & SEND_SCRIPT ? cursor_u64(c) : 0;
    v->body = cursor_bytes(c, &v->body_len);
}

/* It was sent when queues said nothing of it, and nothing is as they say now. */
static void send_say_all(struct send_view *v)
{
    struct core_send *s = &v->send;
    core_sending_fill(s, NULL);
    if (s->backoff == NULL) {
        v->backoff = (struct core_backoff){.first = 0};
        s->backoff = &v->backoff;
    }
    s->ttl_ms = s->ttl_ms != 0 ? s->ttl_ms : -1;
    s->no_gates = s->gates_count == 0;
    s->no_needs = s->needs_count == 0;
    s->large = true;
}

int send_decode(struct cursor *c, uint8_t version, struct send_view *v, struct err *e)
{
    memset(&v->send, 0, sizeof v->send);
    v->texts = v->room;
    uint32_t f = cursor_u32(c);
    if (f & ~(uint32_t)SEND_KNOWN)
        c->bad = true;
    uuid_read(c, &v->send.id);
    v->send.queue = short_read(c, &v->texts, CORE_TEXT_MAX);
    send_read_options(c, v, f);
    send_read_rest(c, v, f);
    v->send.bytes = (uint32_t)v->body_len;
    if (version <= SEND_SAYS_ALL_VERSION)
        send_say_all(v);
    return c->bad || v->send.queue == NULL || v->body_len > CORE_BODY_MAX ? op_bad("send", e) : 0;
}

/* ---- how a queue is sent to ---- */

enum {
    SENDING_KNOWN = SEND_TTL | SEND_DEADLINE | SEND_TIMEOUT | SEND_PRIORITY | SEND_ATTEMPTS |
                    SEND_BACKOFF | SEND_LANE | SEND_GATES | SEND_NEEDS,
};

void sending_add(struct buf *b, const struct core_send *s)
{
    struct queue_message m = {.body = NULL};
    if (!core_sending_says(s)) {
        buf_add_u32(b, 0);
        return;
    }
    m.send = *s;
    uint32_t f = send_flags(&m) & SENDING_KNOWN;
    buf_add_u32(b, f);
    send_add_options(b, &m, f);
    send_add_rest(b, &m, f);
}

const struct core_send *sending_read(struct cursor *c, struct sending_view *v, char **room)
{
    uint32_t f = cursor_u32(c);
    memset(&v->send, 0, sizeof v->send);
    c->bad = c->bad || (f & ~(uint32_t)SENDING_KNOWN) != 0;
    if (c->bad || f == 0)
        return NULL;
    send_read_how(c, &v->send, &v->backoff, room, f);
    send_read_lists(c, &v->send, v->needs, room, f);
    return c->bad ? NULL : &v->send;
}

/* ---- what a send gave ---- */

enum { SENT_DUPLICATE = 1, SENT_MERGED = 2, SENT_AGE = 4 /* without: an older program gave it */ };

void sent_add(struct buf *result, const struct core_sent *s)
{
    buf_add(result, s->id.b, sizeof s->id.b);
    buf_add_u8(result, (uint8_t)(SENT_AGE | (s->duplicate ? SENT_DUPLICATE : 0) |
                                 (s->merged ? SENT_MERGED : 0)));
    buf_add_u64(result, s->depth);
    buf_add_u64(result, (uint64_t)s->oldest_age_ms);
}

void queue_sent_read(struct cursor *result, struct core_sent *out)
{
    memset(out, 0, sizeof *out);
    uuid_read(result, &out->id);
    uint8_t flags = cursor_u8(result);
    out->duplicate = flags & SENT_DUPLICATE;
    out->merged = flags & SENT_MERGED;
    out->depth = cursor_u64(result);
    out->oldest_age_ms = flags & SENT_AGE ? (int64_t)cursor_u64(result) : 0;
}
