/* /api/leases: who holds what. An acquire that waits is not counted among the requests at work. */
#include <string.h>

#include "api/coord_priv.h"
#include "base/arena.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/uuid.h"
#include "crypt/crypt.h"

enum { LEASES_JSON_MAX = 64 << 10 };

/* ---- reading ---- */

static void leases_list_now(struct http_request *req)
{
    struct coord_page p;
    struct err e = ERR_INIT;
    json_t *list = NULL;
    bool more = false;
    if (!call_page(req, &p))
        return;
    if (coord_claims_list(api_thread_of(req)->db, API_TENANT, &p, &list, &more, &e) != 0)
        http_problem(req, &e);
    else
        call_page_answer(req, list, more, "name");
}

static void leases_list(struct http_request *req)
{
    api_read(req, leases_list_now);
}

/* 423 with who holds it now. */
static void leases_locked(struct http_request *req, const char *name, const struct err *e)
{
    struct err shown = *e;
    AUTO(json_unref) json_t *holder = NULL;
    AUTO(buf_fini) struct buf more = BUF_INIT(LEASES_JSON_MAX);
    coord_say_holder(api_thread_of(req)->db, API_TENANT, name, &holder, &shown);
    if (holder == NULL) {
        http_problem(req, &shown);
        return;
    }
    buf_adds(&more, "\"holder\":");
    json_print(holder, &more, NULL);
    http_problem_more(req, &shown, buf_failed(&more) ? NULL : buf_str(&more));
}

/* ---- acquire ---- */

struct acquire {
    struct coord_wait wait; /* first */
    struct http_request *req;
    const char *name;
    char id[COORD_ID_BYTES + 1];
};

static void acquire_answer(struct http_request *req, const char *name, const char *id,
                           const struct coord_grant *g, uint64_t seq)
{
    json_t *o = json_object();
    json_object_set_new(o, "name", json_string(name));
    json_object_set_new(o, "id", json_string(id));
    json_object_set_new(o, "token", json_integer((json_int_t)g->token));
    json_object_set_new(o, "expires", call_time(g->expires));
    http_header_uint(req, "X-Koan-Seq", seq);
    api_answer_json(req, 200, o);
}

static void acquire_done(struct coord_wait *w)
{
    struct acquire *a = (struct acquire *)w;
    struct http_request *req = a->req;
    struct coord_grant g = w->grant;
    struct err e = w->err;
    uint64_t seq = w->seq;
    coord_wait_fini(w);
    if (e.code != 0) {
        leases_locked(req, a->name, &e);
        return;
    }
    if (http_is_cancelled(req))
        coord_give_back(api_thread_of(req)->api->o.coord, a->name, a->id);
    acquire_answer(req, a->name, a->id, &g, seq);
}

static void acquire_gone(struct http_request *req, void *arg)
{
    (void)req;
    coord_give_up(&((struct acquire *)arg)->wait);
}

static bool acquire_form(struct http_request *req, const json_t *body, struct coord_ask *k)
{
    int64_t n;
    const char *mode;
    struct err e = ERR_INIT;
    if (!call_int(req, body, "n", 0, &n) || !call_text(req, body, "mode", "", &mode))
        return false;
    k->form = *mode != '\0'                        ? COORD_RW
              : json_object_get(body, "n") != NULL ? COORD_SEMAPHORE
                                                   : COORD_LEASE;
    k->exclusive = strcmp(mode, "write") == 0;
    if (n < 0 || n > COORD_HOLDERS_MAX)
        err_field(&e, ERR_INVALID, "n", "n: a semaphore has 1 to %d holders", COORD_HOLDERS_MAX);
    else if (k->form == COORD_RW && json_object_get(body, "n") != NULL)
        err_field(&e, ERR_INVALID, "n", "n is of a semaphore, mode of a read-write lock; say one");
    else if (*mode != '\0' && !k->exclusive && strcmp(mode, "read") != 0)
        err_field(&e, ERR_INVALID, "mode", "mode: read or write, not '%.20s'", mode);
    k->n = (uint32_t)n;
    if (e.code != 0)
        http_problem(req, &e);
    return e.code == 0;
}

static bool acquire_read(struct http_request *req, const json_t *body, struct coord_ask *k,
                         struct buf *meta)
{
    static const char *const names[] = {"ttl", "wait", "owner", "meta", "n", "mode"};
    const json_t *m = json_object_get(body, "meta");
    if (!call_only(req, body, names, ARRAY_LEN(names)) ||
        !call_ms(req, body, "ttl", COORD_TTL_MS, &k->ttl_ms) ||
        !call_ms(req, body, "wait", 0, &k->wait_ms) ||
        !call_text(req, body, "owner", "", &k->owner) || !acquire_form(req, body, k))
        return false;
    if (m != NULL && json_print(m, meta, NULL) != 0) {
        http_refuse(req, ERR_TOO_LARGE, "meta: at most %d KiB as JSON", COORD_META_BYTES >> 10);
        return false;
    }
    k->meta = m != NULL ? buf_str(meta) : NULL;
    return true;
}

/* With a key that was used: as it stands, or how it ended. */
static bool acquire_replayed(struct http_request *req, const char *name, const char *id)
{
    struct cursor result;
    struct coord_grant g;
    struct err e = ERR_INIT;
    uint64_t seq;
    if (!call_kept(req, &result, &seq))
        return false;
    api_replayed(req);
    if (coord_grant_read(&result, &g, &e) != 0) {
        http_problem(req, &e);
        return true;
    }
    if (!g.held && coord_claim_find(api_thread_of(req)->db, API_TENANT, name, id, &g, &e) != 0)
        http_refuse(req, ERR_LOCKED, "'%s' was not free in time; ask with another key", name);
    else if (!g.held)
        http_refuse(req, ERR_LOCKED, "'%s' is still waited for; repeat the request", name);
    else
        acquire_answer(req, name, id, &g, seq);
    return true;
}

/* The same for all requests with one key: so a repeat asks for the same claim. */
static void acquire_id(struct http_request *req, char out[COORD_ID_BYTES + 1])
{
    const struct ledger_once *key = api_once_key(req);
    struct api_thread *t = api_thread_of(req);
    struct uuid id;
    if (key == NULL) {
        t->ids.make(&t->ids, &id);
    } else {
        AUTO(buf_fini) struct buf b = BUF_INIT(4096);
        uint8_t hash[CRYPT_SHA256];
        struct envelope env;
        api_envelope(req, &env);
        buf_add_text(&b, env.principal);
        buf_add_text(&b, key->key);
        buf_add(&b, key->digest, sizeof key->digest);
        crypt_sha256(b.data, b.len, hash);
        memcpy(id.b, hash, sizeof id.b);
    }
    uuid_format(&id, out);
}

static void leases_acquire(struct http_request *req)
{
    struct err e = ERR_INIT;
    AUTO(buf_fini) struct buf meta = BUF_INIT(COORD_META_BYTES + 1);
    const char *name = API_QUERY_NONE(req) ? call_key(req, "name") : NULL;
    if (name == NULL || !api_once(req))
        return;
    struct acquire *a = arena_new(http_arena(req), sizeof *a);
    a->req = req;
    a->name = name;
    acquire_id(req, a->id);
    if (acquire_replayed(req, name, a->id))
        return;
    AUTO(json_unref) json_t *body = call_body(req);
    struct coord_ask k = {.name = name, .id = a->id};
    if (body == NULL || !acquire_read(req, body, &k, &meta))
        return;
    coord_wait_init(&a->wait, loop_runner(api_thread_of(req)->loop), acquire_done);
    call_unit_begin(req, &a->wait.unit.txn);
    int rc = coord_wait_ask(&a->wait, &k, &e);
    if (rc == 0)
        rc = call_unit_end(req, &a->wait.unit.txn, &e);
    if (rc == 0)
        rc = coord_acquire(api_thread_of(req)->api->o.coord, &a->wait, &e);
    if (rc != 0) {
        coord_wait_fini(&a->wait);
        http_problem(req, &e);
        return;
    }
    if (k.wait_ms > 0) {
        http_uncounted(req);
        http_on_cancel(req, acquire_gone, a);
    }
}

/* ---- renew, release, break ---- */

/* "token" and "id" of the body. */
static bool leases_claim(struct http_request *req, const json_t *body, struct coord_claim *c)
{
    int64_t token;
    c->name = call_key(req, "name");
    if (c->name == NULL || !call_int(req, body, "token", 0, &token) ||
        !call_text(req, body, "id", NULL, &c->id))
        return false;
    c->token = token > 0 ? (uint64_t)token : 0;
    return true;
}

static void renew_answer(struct http_request *req, struct cursor *result, uint64_t seq)
{
    int64_t expires;
    struct err e = ERR_INIT;
    (void)seq;
    if (coord_time_read(result, &expires, &e) != 0) {
        http_problem(req, &e);
        return;
    }
    json_t *o = json_object();
    json_object_set_new(o, "name", json_string(http_param(req, "name")));
    json_object_set_new(o, "expires", call_time(expires));
    api_answer_json(req, 200, o);
}

static void leases_renew(struct http_request *req)
{
    static const char *const names[] = {"token", "id", "ttl"};
    struct err e = ERR_INIT;
    struct coord_claim claim;
    int64_t ttl;
    AUTO(json_unref) json_t *body = API_QUERY_NONE(req) ? call_body(req) : NULL;
    if (body == NULL || !call_only(req, body, names, ARRAY_LEN(names)) ||
        !leases_claim(req, body, &claim) || !call_ms(req, body, "ttl", 0, &ttl))
        return;
    struct coord_call *c = call_new(req, renew_answer);
    if (c == NULL)
        return;
    c->unit.txn.grows = false;
    int rc = coord_txn_renew(&c->unit.txn, &claim, ttl, &e);
    call_send(c, rc, &e);
}

static void done_answer(struct http_request *req, struct cursor *result, uint64_t seq)
{
    (void)result, (void)seq;
    http_respond(req, 204, NULL, NULL, 0);
}

static void leases_release(struct http_request *req)
{
    static const char *const names[] = {"token", "id"};
    struct err e = ERR_INIT;
    struct coord_claim claim;
    AUTO(json_unref) json_t *body = API_QUERY_NONE(req) ? call_body(req) : NULL;
    if (body == NULL || !call_only(req, body, names, ARRAY_LEN(names)) ||
        !leases_claim(req, body, &claim))
        return;
    struct coord_call *c = call_new(req, done_answer);
    if (c == NULL)
        return;
    c->unit.txn.grows = false;
    int rc = coord_txn_release(&c->unit.txn, &claim, &e);
    call_send(c, rc, &e);
}

static void leases_break(struct http_request *req)
{
    struct err e = ERR_INIT;
    bool dry;
    const char *name = call_key(req, "name");
    if (name == NULL || !API_QUERY_ONLY(req, "confirm", "dry_run") || !api_body_none(req) ||
        !api_query_bool(req, "dry_run", false, &dry))
        return;
    if (dry) {
        json_t *o = NULL;
        if (coord_claims_get(api_thread_of(req)->db, API_TENANT, name, &o, &e) != 0)
            http_problem(req, &e);
        else
            api_answer_json(req, 200, o);
        return;
    }
    struct coord_call *c = call_confirmed(req, name) ? call_new(req, done_answer) : NULL;
    if (c == NULL)
        return;
    c->unit.txn.grows = false;
    int rc = coord_txn_break(&c->unit.txn, name, &e);
    call_send(c, rc, &e);
}

static const struct http_route leases_table[] = {
    {HTTP_VERB_GET, "/api/leases", leases_list, 0, 0},
    {HTTP_VERB_GET, "/api/leases/:name", api_lease_get, 0, 0},
    {HTTP_VERB_POST, "/api/leases/:name/acquire", leases_acquire, 0, 0},
    {HTTP_VERB_POST, "/api/leases/:name/renew", leases_renew, HTTP_URGENT, 0},
    {HTTP_VERB_POST, "/api/leases/:name/release", leases_release, HTTP_URGENT, 0},
    {HTTP_VERB_POST, "/api/leases/:name/break", leases_break, 0, 0},
};
const struct api_routes api_leases_routes = {leases_table, ARRAY_LEN(leases_table)};
