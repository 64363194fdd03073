/* What the files about leases, values, counters, limits and the inbox share: coord_call.c. */
#ifndef KOAN_API_COORD_PRIV_H
#define KOAN_API_COORD_PRIV_H

#include "api/once_priv.h"
#include "coord/coord.h"

/* One operation as a unit of its own. In the request's arena. */
struct coord_call {
    struct unit unit;
    struct http_request *req;
    /* Answers. `result` is that of the operation, empty when it has none. */
    void (*answer)(struct http_request *req, struct cursor *result, uint64_t seq);
    /* Answers a refusal; NULL: as a problem. */
    void (*refused)(struct http_request *req, const struct err *e);
};

/* NULL: answered already, also when it was done before with the same key. The caller appends one
 * operation to unit.txn and calls call_send() with what that said. */
struct coord_call *call_new(struct http_request *req,
                            void (*answer)(struct http_request *req, struct cursor *result,
                                           uint64_t seq));
/* `code` 0: proposes; else answers with `e`. The call is gone afterwards. */
void call_send(struct coord_call *c, int code, const struct err *e);

/* True: the request was done before with its key; result and log index of then. */
bool call_kept(struct http_request *req, struct cursor *result, uint64_t *seq);
/* The envelope, and the key of the request, before and behind the operation. */
void call_unit_begin(struct http_request *req, struct txn *t);
int call_unit_end(struct http_request *req, struct txn *t, struct err *e);

/* What a JSON object says, or `absent`. False: answered. */
bool call_text(struct http_request *req, const json_t *o, const char *key, const char *absent,
               const char **out);
bool call_int(struct http_request *req, const json_t *o, const char *key, int64_t absent,
              int64_t *out);
/* "250ms", "30s", or a number of seconds. */
bool call_ms(struct http_request *req, const json_t *o, const char *key, int64_t absent,
             int64_t *out);
bool call_only(struct http_request *req, const json_t *o, const char *const *names, size_t count);
/* The body as an object; one that is empty is {}. NULL: answered. */
json_t *call_body(struct http_request *req);
/* ?prefix= ?after= ?limit= ; false: answered. */
bool call_page(struct http_request *req, struct coord_page *out);
/* {"items": list, "next": the `key` of the last} */
void call_page_answer(struct http_request *req, json_t *list, bool more, const char *key);
/* A parameter of the path. NULL: it is blank or no key, answered. */
const char *call_key(struct http_request *req, const char *param);
/* ?confirm= says the name; false: answered. */
bool call_confirmed(struct http_request *req, const char *name);
json_t *call_time(int64_t at);

/* GET /api/leases/{name}: coord_watch.c */
void api_lease_get(struct http_request *req);

#endif
