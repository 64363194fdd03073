/* A message as operations: one send for each group of its route. */
#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "base/stat.h"
#include "bus/bus_priv.h"
#include "crypt/crypt.h"
#include "ledger/txn.h"
#include "queue/queue.h"

/* The time of the message's id stays in front, so records lie in the order of sending. */
void bus_record_id(const struct uuid *message, const char *group, struct uuid *out)
{
    uint8_t text[sizeof message->b + GROUP_NAME_MAX], hash[CRYPT_SHA256];
    size_t n = strlen(group);
    ASSERT(n <= GROUP_NAME_MAX);
    memcpy(text, message->b, sizeof message->b);
    memcpy(text + sizeof message->b, group, n);
    crypt_sha256(text, sizeof message->b + n, hash);
    *out = *message;
    memcpy(out->b + 6, hash, 10);
    out->b[6] = (uint8_t)(0x70 | (out->b[6] & 0x0f));
    out->b[8] = (uint8_t)(0x80 | (out->b[8] & 0x3f));
}

void bus_route_record(const struct bus_route *r, size_t i, const struct uuid *message,
                      struct uuid *out)
{
    ASSERT(i < r->groups_count);
    if (i == 0)
        *out = *message;
    else
        bus_record_id(message, r->groups[i]->group, out);
}

/* ---- headers ---- */

static int headers_check(const char *headers, struct err *e)
{
    const char *name;
    json_t *value;
    AUTO(json_unref) json_t *o = json_read(headers, strlen(headers), e);
    if (!json_is_object(o))
        return err_field(e, ERR_INVALID, "headers", "headers are an object of texts");
    if (json_object_size(o) > QUEUE_HEADERS_MAX - 2)
        return err_field(e, ERR_TOO_LARGE, "headers", "at most %d headers", QUEUE_HEADERS_MAX - 2);
    json_object_foreach(o, name, value)
    {
        if (strcasecmp(name, BUS_HEADER_TOPIC) == 0 || strcasecmp(name, BUS_HEADER_ID) == 0)
            return err_field(e, ERR_INVALID, "headers",
                             "header '%s' says where a message is from; give yours another name",
                             name);
        if (!json_is_string(value))
            return err_field(e, ERR_INVALID, "headers", "header '%.64s' is %s, not text", name,
                             json_type_name(value));
    }
    return 0;
}

int bus_headers(const char *topic, const struct bus_message *m, struct buf *out, struct err *e)
{
    char id[UUID_TEXT];
    uuid_format(&m->id, id);
    buf_addf(out, "{\"" BUS_HEADER_TOPIC "\":\"%s\",\"" BUS_HEADER_ID "\":\"%s\"", topic, id);
    if (m->headers != NULL) {
        const char *rest = strchr(m->headers, '{') + 1;
        rest += strspn(rest, " \t\r\n");
        if (*rest != '}')
            buf_addc(out, ',');
        buf_adds(out, rest);
    } else {
        buf_addc(out, '}');
    }
    if (buf_failed(out))
        return err_field(e, ERR_TOO_LARGE, "headers",
                         "headers have at most %d bytes together, those of the topic among them",
                         QUEUE_HEADERS_BYTES);
    return 0;
}

/* ---- records ---- */

static struct queue_message record_of(const struct bus_message *m, const char *headers)
{
    return (struct queue_message){
        .send = {.id = m->id,
                 .key = m->key,
                 .dedup = m->dedup,
                 .dedup_ms = m->dedup_ms,
                 .run_at = m->run_at,
                 .ttl_ms = m->ttl_ms,
                 .priority = m->has_priority ? m->priority : CORE_PRIORITY_UNSAID,
                 .create = true},
        .type = m->type,
        .headers = headers,
        .correlation = m->correlation,
        .traceparent = m->traceparent,
        .script = m->script,
        .body = m->body,
        .body_len = m->body_len};
}

/* What the publisher says comes before what the group does. */
static void record_options(struct core_send *s, const struct bus_message *m,
                           const struct bus_options *o)
{
    s->attempts = o->attempts;
    s->backoff = o->has_backoff ? &o->backoff : NULL;
    s->timeout_ms = o->timeout_ms;
    s->deadline_ms = o->deadline_ms;
    s->ttl_ms = m->ttl_ms != 0 ? m->ttl_ms : o->ttl_ms;
    s->lane = o->lane;
    s->needs = o->needs;
    s->needs_count = o->needs_count;
    s->gates_count = o->gates_count;
    for (uint8_t i = 0; i < o->gates_count; i++)
        s->gates[i] = o->gates[i];
    if (!m->has_priority && o->has_priority)
        s->priority = o->priority;
}

int bus_txn_record(struct txn *t, const struct bus_declared *d, const struct uuid *id,
                   const struct bus_message *m, bool large, const char *headers, struct err *e)
{
    struct queue_message record = record_of(m, headers);
    record.send.id = *id;
    record.send.large = large;
    record.send.queue = d->queue;
    record_options(&record.send, m, &d->options);
    int rc = queue_txn_send(t, &record, e);
    return rc < 0 ? err_context(e, "group '%s'", d->group) : 0;
}

static bool is_retained(const struct bus_route *r)
{
    return r->topic != NULL && r->topic->retain_ms > 0;
}

void bus_published(const struct bus_route *r, size_t messages)
{
    if (r->groups_count > 0 || is_retained(r))
        return;
    enum unrouted says = r->topic != NULL ? r->topic->unrouted : UNROUTED_KEEP;
    bool keep = group_route(0, false, says) == GROUP_KEEP;
    stat_add(stat_counter("koan_bus_unrouted_total", keep ? "what=\"kept\"" : "what=\"dropped\"",
                          "Messages of topics that nobody listens to"),
             messages);
}

static int publish_unrouted(struct txn *t, const struct bus_route *r, const struct bus_message *m,
                            const char *headers, struct err *e)
{
    enum unrouted says = r->topic != NULL ? r->topic->unrouted : UNROUTED_KEEP;
    if (group_route(0, false, says) != GROUP_KEEP)
        return 0;
    struct queue_message record = record_of(m, headers);
    record.send.queue = UNROUTED_QUEUE;
    record.send.run_at = record.send.ttl_ms = 0;
    record.send.discard = REASON_NO_SUBSCRIBER;
    return queue_txn_send_discarded(t, &record, UNROUTED_KEEP_MS, e);
}

static int publish_check(const struct txn *t, const struct bus_route *r,
                         const struct bus_message *m, struct err *e)
{
    if (m->body_len > CORE_BODY_MAX)
        return err_field(e, ERR_TOO_LARGE, "body",
                         "%zu bytes, at most %d: keep it elsewhere and publish its key",
                         m->body_len, CORE_BODY_MAX);
    if (txn_bytes(t) + r->groups_count * m->body_len > TXN_BYTES_MAX)
        return err_field(e, ERR_TOO_LARGE, "body",
                         "%zu bytes to each of %zu groups are more than a unit of work holds, %d "
                         "bytes: keep it elsewhere and publish its key",
                         m->body_len, r->groups_count, TXN_BYTES_MAX);
    return 0;
}

int bus_txn_publish(struct txn *t, const struct bus_route *r, const struct bus_message *m,
                    struct err *e)
{
    AUTO(buf_fini) struct buf headers = BUF_INIT(QUEUE_HEADERS_BYTES + 1);
    bool retained = is_retained(r);
    int rc = publish_check(t, r, m, e);
    if (rc == 0 && m->headers != NULL)
        rc = headers_check(m->headers, e);
    if (rc == 0)
        rc = bus_headers(r->name, m, &headers, e);
    for (size_t i = 0; rc == 0 && i < r->groups_count; i++) {
        struct uuid id;
        bus_route_record(r, i, &m->id, &id);
        rc = bus_txn_record(t, r->groups[i], &id, m, false, headers.data, e);
    }
    if (rc == 0 && r->groups_count == 0 && !retained)
        rc = publish_unrouted(t, r, m, headers.data, e);
    if (rc == 0 && retained)
        bus_txn_retain(t, r->name, r->topic->retain_ms, m);
    if (rc == 0 && r->waited_count > 0)
        bus_txn_event(t, r, m);
    if (rc == 0)
        bus_txn_waited(t, r);
    return rc;
}
