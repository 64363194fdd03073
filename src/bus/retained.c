/* Messages of retained topics, applied: a row each, until its time is over. */
#include <string.h>

#include "base/mem.h"
#include "base/topic.h"
#include "bus/bus_priv.h"
#include "db/db.h"
#include "queue/queue.h"

enum { RETAINED_ROW_BYTES = 128 }; /* what a row takes besides its texts, about */

struct retained {
    char topic[TOPIC_MAX + 1];
    int64_t retain_ms;
    struct uuid id;
    struct bus_span key, type, headers, correlation, traceparent, body;
};

void bus_txn_retain(struct txn *t, const char *topic, int64_t retain_ms,
                    const struct bus_message *m)
{
    struct buf *b = txn_begin(t, BUS_OP_RETAIN, 1);
    buf_add_text(b, topic);
    buf_add_u64(b, (uint64_t)retain_ms);
    buf_add(b, m->id.b, sizeof m->id.b);
    buf_add_text(b, m->key);
    buf_add_text(b, m->type);
    buf_add_text(b, m->headers);
    buf_add_text(b, m->correlation);
    buf_add_text(b, m->traceparent);
    buf_add_bytes(b, m->body, m->body_len);
    txn_end(t);
}

static int retained_decode(struct cursor *c, struct retained *r, struct err *e)
{
    cursor_text(c, r->topic, 1, TOPIC_MAX);
    r->retain_ms = (int64_t)cursor_u64(c);
    uuid_read(c, &r->id);
    r->key = bus_span(c, CORE_TEXT_MAX);
    r->type = bus_span(c, QUEUE_TYPE_BYTES);
    r->headers = bus_span(c, QUEUE_HEADERS_BYTES);
    r->correlation = bus_span(c, CORE_TEXT_MAX);
    r->traceparent = bus_span(c, CORE_TEXT_MAX);
    r->body = bus_span(c, CORE_BODY_MAX);
    if (r->retain_ms < 1 || r->retain_ms > BUS_RETAIN_MAX_MS)
        c->bad = true;
    return cursor_whole(c, "bus.retain", e);
}

static int64_t retained_bytes(const struct retained *r)
{
    return (int64_t)(RETAINED_ROW_BYTES + strlen(r->topic) + r->key.n + r->type.n + r->headers.n +
                     r->correlation.n + r->traceparent.n + r->body.n);
}

static int retained_put(const struct apply *a, const struct retained *r, uint64_t position,
                        struct err *e)
{
    struct db_stmt *s = db_stmt_get(
        a->db,
        "INSERT INTO bus_retained(position, tenant, topic, at, until, bytes, id, key, type, "
        "headers, correlation, traceparent, body) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, "
        "?11, ?12, ?13)",
        e);
    if (s == NULL)
        return e->code;
    db_bind_int(s, 1, (int64_t)position);
    db_bind_str(s, 2, a->env->tenant);
    db_bind_str(s, 3, r->topic);
    db_bind_int(s, 4, a->at);
    db_bind_int(s, 5, a->at + r->retain_ms);
    db_bind_int(s, 6, retained_bytes(r));
    db_bind_blob(s, 7, r->id.b, sizeof r->id.b);
    db_bind_text(s, 8, r->key.p, r->key.n);
    db_bind_text(s, 9, r->type.p, r->type.n);
    db_bind_text(s, 10, r->headers.p, r->headers.n);
    db_bind_text(s, 11, r->correlation.p, r->correlation.n);
    db_bind_text(s, 12, r->traceparent.p, r->traceparent.n);
    db_bind_blob(s, 13, r->body.n > 0 ? r->body.p : "", r->body.n);
    return db_run(s, e);
}

BUS_APPLY(retain)
{
    struct retained r;
    uint64_t position = 0;
    (void)version;
    int rc = retained_decode(c, &r, e);
    if (rc == 0)
        rc = bus_use_add(a->db, a->env->tenant, BUS_USE_BYTES, retained_bytes(&r), e);
    if (rc == 0)
        rc = bus_number_next(a->db, BUS_POSITION, &position, e);
    if (rc == 0)
        rc = retained_put(a, &r, position, e);
    if (rc != 0)
        return rc;
    bus_spare(self, a->at + r.retain_ms);
    buf_add_u64(result, position);
    return 0;
}

/* ---- the sweep ---- */

/* The oldest of what is over; 1: there was one. */
static int retained_sweep_one(const struct apply *a, struct err *e)
{
    char tenant[TXN_ENVELOPE_TEXT_MAX + 1];
    struct db_stmt *s = db_stmt_get(a->db,
                                    "SELECT position, tenant, bytes FROM bus_retained WHERE until "
                                    "<= ?1 ORDER BY until, position LIMIT 1",
                                    e);
    if (s == NULL)
        return e->code;
    db_bind_int(s, 1, a->at);
    int rc = db_step(s, e);
    int64_t position = rc > 0 ? db_col_int(s, 0) : 0, bytes = rc > 0 ? db_col_int(s, 2) : 0;
    if (rc > 0)
        snprintf(tenant, sizeof tenant, "%s", db_col_text(s, 1, NULL));
    db_stmt_done(s);
    if (rc <= 0)
        return rc;
    s = db_stmt_get(a->db, "DELETE FROM bus_retained WHERE position = ?1", e);
    if (s == NULL)
        return e->code;
    db_bind_int(s, 1, position);
    rc = db_run(s, e);
    if (rc == 0)
        rc = bus_use_add(a->db, tenant, BUS_USE_BYTES, -bytes, e);
    return rc < 0 ? rc : 1;
}

/* Whoever left before the first message that is still there has nothing to go on with: to begin
 * with the first is the same. */
static int places_sweep(const struct apply *a, struct err *e)
{
    return db_exec(a->db,
                   "DELETE FROM bus_places WHERE state = 3 AND next <= (SELECT "
                   "coalesce((SELECT min(position) FROM bus_retained), (SELECT value + 1 FROM "
                   "bus_numbers WHERE what = 2), 1))",
                   e);
}

BUS_APPLY(sweep)
{
    (void)self, (void)version;
    uint32_t left = cursor_u32(c), gone = 0;
    int rc = cursor_whole(c, "bus.sweep", e);
    if (rc == 0 && left > BUS_SWEEP_ROWS)
        rc = err_set(e, ERR_INVALID, "a sweep of more than %d rows", BUS_SWEEP_ROWS);
    while (rc == 0 && gone < left && (rc = retained_sweep_one(a, e)) > 0) {
        gone++;
        rc = 0;
    }
    if (rc == 0)
        rc = bus_waits_sweep(a, left, &gone, e);
    if (rc == 0)
        rc = places_sweep(a, e);
    buf_add_u32(result, gone);
    return rc < 0 ? rc : 0;
}
