/* Idempotency-Key: a write that came before is answered as it was then (ledger/once.h).
 *
 *   api_once()  key and digest of the request; 409 while the same key is under way on this node
 *      |
 *   kept?  --yes--> other digest: 422; else the route answers from what is kept, "replayed"
 *      | no
 *   the write, with the key in its units
 *      |
 *   refused? --> kept by now? (the first was slower than its client) --yes--> as above
 *
 * Routes whose write is one unit have part 0 alone. One that is a unit for each item has a part for
 * each, and a repeat does what the first had not come to. */
#include <string.h>
#include <strings.h>

#include "api/once_priv.h"
#include "base/arena.h"
#include "base/mem.h"
#include "base/str.h"
#include "crypt/crypt.h"

#define ONCE_HEADER "Idempotency-Key"

/* ---- under way ---- */

static bool once_enter(struct api_once *o)
{
    struct api *a = o->api;
    bool taken = false;
    pthread_mutex_lock(&a->lock);
    LIST_EACH(it, &a->once)
    {
        const struct api_once *other = LIST_OF(it, struct api_once, node);
        taken |= strcmp(other->key.key, o->key.key) == 0 &&
                 strcmp(other->env.principal, o->env.principal) == 0;
    }
    if (!taken)
        list_push(&a->once, &o->node);
    pthread_mutex_unlock(&a->lock);
    return !taken;
}

static void once_forget(struct api_once *o)
{
    for (size_t i = 0; i < o->count; i++) {
        buf_fini(&o->kept[i].context);
        buf_fini(&o->kept[i].results);
    }
    mem_free(o->kept);
    o->kept = NULL;
    o->count = 0;
}

static void once_over(void *local)
{
    struct api_once *o = local;
    pthread_mutex_lock(&o->api->lock);
    list_remove(&o->node);
    pthread_mutex_unlock(&o->api->lock);
    once_forget(o);
}

/* ---- the request ---- */

/* 1 with the key, 0 without, negative for one that is wrong. */
static int once_key(const struct http_request *req, const char **out, struct err *e)
{
    const char *name, *value;
    int found = 0;
    for (size_t i = 0; http_header_at(req, i, &name, &value); i++) {
        if (strcasecmp(name, ONCE_HEADER) != 0)
            continue;
        size_t n = strlen(value);
        if (found++ > 0)
            return err_set(e, ERR_INVALID, ONCE_HEADER " stands there twice");
        if (n == 0 || n > API_ONCE_KEY_MAX || !str_is_utf8(value, n))
            return err_set(e, ERR_INVALID,
                           ONCE_HEADER " is text of 1 to %d bytes, this one has %zu",
                           API_ONCE_KEY_MAX, n);
        *out = value;
    }
    return found;
}

static void digest_add(struct buf *b, const char *s)
{
    buf_adds(b, s != NULL ? s : "");
    buf_addc(b, '\0');
}

/* Headers that say what is asked, besides body and address. */
static void digest_headers(const struct http_request *req, struct buf *b)
{
    const char *name, *value;
    digest_add(b, http_header_in(req, "Content-Type"));
    digest_add(b, http_header_in(req, "If-Match"));
    digest_add(b, http_header_in(req, "If-None-Match"));
    for (size_t i = 0; http_header_at(req, i, &name, &value); i++) {
        if (strncasecmp(name, "X-Canon-", 8) != 0)
            continue;
        digest_add(b, name);
        digest_add(b, value);
    }
}

static void once_digest(const struct http_request *req, uint8_t out[LEDGER_ONCE_DIGEST])
{
    _Static_assert((int)LEDGER_ONCE_DIGEST == (int)CRYPT_SHA256, "size of the digest");
    AUTO(buf_fini) struct buf b = BUF_INIT(HTTP_LINE_MAX + HTTP_HEADERS_BYTES_MAX + 1024);
    struct str body = http_body(req);
    uint8_t of_body[CRYPT_SHA256];
    crypt_sha256(body.p, body.n, of_body);
    digest_add(&b, http_verb_name(http_verb(req)));
    digest_add(&b, http_path(req));
    digest_add(&b, http_query_raw(req));
    digest_headers(req, &b);
    buf_add(&b, of_body, sizeof of_body);
    crypt_sha256(b.data, b.len, out);
}

/* ---- what is kept ---- */

static int once_take(void *arg, const struct ledger_kept *k, struct err *e)
{
    struct api_once *o = arg;
    if (memcmp(k->digest, o->key.digest, sizeof o->key.digest) != 0)
        return err_set(e, ERR_REJECTED,
                       ONCE_HEADER " '%.64s' was used for another request within the last 24 "
                                   "hours; a new request wants a new key",
                       o->key.key);
    struct api_kept *all = mem_try_resize(o->kept, (o->count + 1) * sizeof *all);
    if (all == NULL)
        return err_set(e, ERR_OVERLOADED, "no memory for what is kept of " ONCE_HEADER);
    o->kept = all;
    struct api_kept *kept = &all[o->count++];
    *kept = (struct api_kept){.part = k->part, .seq = k->seq};
    buf_init(&kept->context, LEDGER_ONCE_CONTEXT_MAX + 1);
    buf_init(&kept->results, SIZE_MAX / 2);
    buf_add(&kept->context, k->context.p, cursor_left(&k->context));
    buf_add(&kept->results, k->results.p, cursor_left(&k->results));
    return buf_failed(&kept->context) || buf_failed(&kept->results)
               ? err_set(e, ERR_OVERLOADED, "no memory for what is kept of " ONCE_HEADER)
               : 0;
}

static int once_look(struct api_once *o, struct err *e)
{
    struct api_thread *t = api_thread_of(o->req);
    once_forget(o);
    return ledger_once_find(t->db, o->env.tenant, o->env.principal, o->key.key, api_now_ms(t),
                            once_take, o, e);
}

/* ---- the door ---- */

bool api_once(struct http_request *req)
{
    struct err e = ERR_INIT;
    const char *key = NULL;
    int rc = once_key(req, &key, &e);
    if (rc == 0)
        return true;
    if (rc < 0) {
        http_problem(req, &e);
        return false;
    }
    struct api_once *o = arena_new(http_arena(req), sizeof *o);
    o->req = req;
    o->api = api_thread_of(req)->api;
    o->key.key = key;
    list_init(&o->node);
    api_envelope(req, &o->env);
    once_digest(req, o->key.digest);
    if (!once_enter(o)) {
        http_retry_after(req, 1);
        http_refuse(req, ERR_CONFLICT,
                    "a request with " ONCE_HEADER " '%.64s' is under way; repeat it in a second to "
                    "get its answer",
                    key);
        return false;
    }
    http_set_local(req, o, once_over);
    if (once_look(o, &e) == 0)
        return true;
    http_problem(req, &e);
    return false;
}

json_t *api_once_body(struct http_request *req)
{
    return API_QUERY_NONE(req) && api_once(req) ? api_body_object(req) : NULL;
}

bool api_once_none(struct http_request *req)
{
    if (http_header_in(req, ONCE_HEADER) == NULL)
        return true;
    http_refuse(req, ERR_UNSUPPORTED,
                ONCE_HEADER " is not taken here: scripts and settings say what is to be, so look "
                            "how they stand (GET) before you send it again");
    return false;
}

const struct ledger_once *api_once_key(const struct http_request *req)
{
    const struct api_once *o = http_local(req);
    return o != NULL ? &o->key : NULL;
}

const struct api_kept *api_kept(const struct http_request *req, uint32_t part)
{
    const struct api_once *o = http_local(req);
    for (size_t i = 0; o != NULL && i < o->count; i++)
        if (o->kept[i].part == part)
            return &o->kept[i];
    return NULL;
}

bool api_once_again(struct http_request *req)
{
    struct api_once *o = http_local(req);
    struct err e = ERR_INIT;
    return o != NULL && once_look(o, &e) == 0 && o->count > 0;
}

void api_replayed(struct http_request *req)
{
    http_header(req, "Idempotency-Replayed", "true");
}
