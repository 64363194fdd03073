/* Many small units of one request: each record is sent, settled or moved by itself, and has a
 * result of its own. With an Idempotency-Key each unit carries it with a part of its own, so that
 * a repeat does what the first had not come to. */
#include <string.h>

#include "api/queue_priv.h"
#include "base/json.h"
#include "base/mem.h"

struct queue_units *queue_units_new(struct http_request *req, size_t count, bool urgent)
{
    struct queue_item *items = mem_try((count + 1) * sizeof *items);
    if (items == NULL) {
        http_refuse(req, ERR_OVERLOADED, "no memory for %zu records", count);
        return NULL;
    }
    memset(items, 0, (count + 1) * sizeof *items);
    struct queue_units *u = mem_new(sizeof *u);
    *u = (struct queue_units){.req = req, .items = items, .count = count};
    for (size_t i = 0; i < count; i++) {
        items[i].of = u;
        items[i].unit.txn.urgent = urgent;
    }
    return u;
}

/* From what an earlier request with this key has left. */
static bool item_recall(struct queue_item *it)
{
    struct queue_units *u = it->of;
    const struct api_kept *k = api_kept(u->req, (uint32_t)(it - u->items));
    struct cursor results;
    if (k == NULL)
        return false;
    cursor_init(&results, k->results.data, k->results.len);
    ledger_kept_next(&results, &it->result);
    err_clear(&it->err);
    it->seq = k->seq;
    it->kept = u->recalled = true;
    return true;
}

static bool item_propose(struct queue_units *u, size_t i);

/* Built again after what it was built from had changed. True: it is under way. */
static bool item_again(struct queue_item *it)
{
    struct queue_units *u = it->of;
    size_t i = (size_t)(it - u->items);
    if (u->again == NULL || it->tries++ >= QUEUE_UNIT_TRIES || !u->again(u, i))
        return false;
    bool urgent = it->unit.txn.urgent;
    unit_fini(&it->unit);
    it->open = false;
    it->unit.txn.urgent = urgent;
    struct txn *t = queue_units_txn(u, i);
    if (t == NULL)
        return false;
    err_clear(&it->err);
    if (u->add(u, i, t, &it->err) != 0)
        return false;
    return item_propose(u, i);
}

static void item_done(struct unit *unit)
{
    struct queue_item *it = (struct queue_item *)unit;
    struct queue_units *u = it->of;
    if (unit->err.code != 0) {
        it->err = unit->err;
        if (item_again(it))
            return;
    } else {
        it->seq = unit->seq;
        unit_result(unit, api_once_key(u->req) != NULL ? 1 : 0, &it->result);
    }
    if (--u->left > 0)
        return;
    bool failed = false;
    for (size_t i = 0; i < u->count; i++)
        failed |= u->items[i].err.code == ERR_CONFLICT;
    if (failed && api_once_key(u->req) != NULL && api_once_again(u->req))
        for (size_t i = 0; i < u->count; i++)
            if (u->items[i].err.code != 0)
                item_recall(&u->items[i]);
    u->done(u);
}

struct txn *queue_units_txn(struct queue_units *u, size_t i)
{
    struct queue_item *it = &u->items[i];
    const struct ledger_once *once = api_once_key(u->req);
    struct envelope env;
    if (once != NULL && item_recall(it))
        return NULL;
    bool urgent = it->unit.txn.urgent;
    api_envelope(u->req, &env);
    env.reason = u->reason != NULL ? u->reason : env.reason;
    unit_init(&it->unit, loop_runner(api_thread_of(u->req)->loop), item_done);
    it->open = true;
    it->unit.txn.urgent = urgent;
    it->unit.txn.grows = !urgent;
    txn_envelope(&it->unit.txn, &env);
    if (once != NULL)
        ledger_txn_once(&it->unit.txn, once, (uint32_t)i);
    return &it->unit.txn;
}

static bool item_propose(struct queue_units *u, size_t i)
{
    struct queue_item *it = &u->items[i];
    const struct ledger_once *once = api_once_key(u->req);
    if (it->err.code != 0 || it->kept)
        return false;
    if (once != NULL && ledger_txn_keep(&it->unit.txn, once, (uint32_t)i, NULL, 0, &it->err) != 0)
        return false;
    return ledger_propose(api_thread_of(u->req)->api->o.ledger, &it->unit, &it->err) == 0;
}

void queue_units_start(struct queue_units *u, void (*done)(struct queue_units *u))
{
    u->done = done;
    u->left = 1; /* itself */
    for (size_t i = 0; i < u->count; i++)
        u->left += item_propose(u, i);
    if (--u->left == 0)
        done(u);
}

void queue_units_free(struct queue_units *u)
{
    for (size_t i = 0; i < u->count; i++)
        if (u->items[i].open)
            unit_fini(&u->items[i].unit);
    mem_free(u->items);
    mem_free(u);
}

void queue_units_headers(struct queue_units *u)
{
    for (size_t i = 0; i < u->count; i++)
        u->seq = u->items[i].seq > u->seq ? u->items[i].seq : u->seq;
    if (u->seq > 0)
        http_header_uint(u->req, "X-Koan-Seq", u->seq);
    if (u->recalled)
        api_replayed(u->req);
}

void queue_print_failed(struct buf *out, const char *id, const struct err *e)
{
    buf_addc(out, '{');
    if (id != NULL) {
        buf_adds(out, "\"id\":");
        json_print_string(out, id, strlen(id));
        buf_addc(out, ',');
    }
    buf_adds(out, "\"error\":");
    api_print_problem(out, e, NULL);
    buf_addc(out, '}');
}
