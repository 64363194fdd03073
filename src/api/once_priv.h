/* Writes with an Idempotency-Key: once.c. */
#ifndef KOAN_API_ONCE_PRIV_H
#define KOAN_API_ONCE_PRIV_H

#include "api/api_priv.h"
#include "base/list.h"
#include "ledger/once.h"
#include "ledger/txn.h"

enum {
    API_ONCE_KEY_MAX = 255,
    API_ONCE_BODY_MAX = 64 << 10, /* a larger record is answered again as it is by then */
};

/* What is kept of one unit. */
struct api_kept {
    uint32_t part;
    uint64_t seq;
    struct buf context, results;
};

/* A request with a key, from its first look until it is answered. In the request's arena. */
struct api_once {
    struct list node; /* in api.once */
    struct api *api;
    struct http_request *req;
    struct ledger_once key;
    struct envelope env;
    struct api_kept *kept; /* in order of parts */
    size_t count;
};

/* Every write begins with it. False: answered (a bad key, one that is under way or was used for
 * another request). Without the header nothing happens. */
bool api_once(struct http_request *req);
/* The same of a write without a query whose body is one object, a new reference; NULL: answered. */
json_t *api_once_body(struct http_request *req);
/* For writes that take no key: 422 with one. */
bool api_once_none(struct http_request *req);
/* For the units of the write; NULL without the header. */
const struct ledger_once *api_once_key(const struct http_request *req);
/* What was done before; NULL when it was not. Lives as long as the request, or until
 * api_once_again(). */
const struct api_kept *api_kept(const struct http_request *req, uint32_t part);
/* The write was refused: perhaps because it was done meanwhile. True: something is kept now. */
bool api_once_again(struct http_request *req);
/* The answer that follows is a repeated one. */
void api_replayed(struct http_request *req);

#endif
