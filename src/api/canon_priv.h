/* What the canon files of api/ share. */
#ifndef KOAN_API_CANON_PRIV_H
#define KOAN_API_CANON_PRIV_H

#include "api/once_priv.h"
#include "canon/canon.h"

struct bulk;

/* One request of a client as a request of the engine. Freed when it is answered. */
struct canon_post {
    struct canon_request r;
    struct http_request *req;
    struct canon_model *model;
    struct entity_def *def; /* of a direct change; else NULL */
    struct envelope env;
    struct canon_arrival one, *arrivals; /* `arrivals` is &one, or an array of its own */
    struct bulk *bulk;                   /* of many direct changes; else NULL */
    json_t *texts;                       /* what the arrivals' texts point into; may be NULL */
    void (*answer)(struct canon_post *p);
    bool recalled; /* some of it was done before */
};

enum canon_post_kind {
    CANON_POST_ARRIVE,
    CANON_POST_WITHDRAW,
    CANON_POST_ERASE,
    CANON_POST_RESUME
};

/* Takes the reference. `many` NULL: one arrival, canon_post.one. */
struct canon_post *canon_post_new(struct http_request *req, struct canon_model *m,
                                  struct canon_arrival *many, size_t count,
                                  void (*answer)(struct canon_post *p));
/* answer() runs later with the results, or http_problem at once; all is freed behind it. */
void canon_post_start(struct canon_post *p, enum canon_post_kind kind);
/* True: a request of one arrival was done before with the same key, and is answered as then. `def`
 * may be NULL. */
bool canon_replayed(struct http_request *req, struct canon_model *m, const struct entity_def *def,
                    void (*answer)(struct canon_post *p));
/* Arrivals that were done before get their results: all of a request that is one unit (true: there
 * is nothing left to do), or each that is one. */
bool canon_post_recall(struct canon_post *p);
/* The end without a start: the arrivals have their results, or p->r.err says why not. */
void canon_post_end(struct canon_post *p);
/* The end without a start: p->r.err says why. */
void canon_post_refuse(struct canon_post *p);
/* Without an answer. */
void canon_post_free(struct canon_post *p);
/* The model of the path, or 404 naming the nearest. A reference of the caller's. */
struct canon_model *canon_route_model(struct http_request *req);
/* An arrival that was taken answers 200 or 202; `e` is what a failed one answers. */
int canon_status(const struct canon_arrival *a, struct err *e);
const char *canon_outcome_name(enum canon_outcome o);
/* {"outcome",...} */
void canon_print(struct buf *out, const struct canon_arrival *a, bool changes);
/* What it came to, in the problem `e`. */
void canon_answer_failed(struct http_request *req, const struct canon_arrival *a,
                         const struct err *e);
/* The answer for one arrival. */
void canon_answer_one(struct http_request *req, const struct canon_arrival *a);

/* ---- canon_arrive.c ---- */
/* One of many: {"source_id", "observed_at", "origin", "data", "tags"}. Data and tags are taken out
 * of it; the texts stay. `spared`: its data is there as text alone. */
int canon_item(json_t *item, bool spared, struct canon_arrival *a, struct err *e);

/* ---- canon_queue.c: arrivals that are worked later ---- */
enum canon_mode { CANON_MODE_NOW, CANON_MODE_QUEUE, CANON_MODE_STAGE };
/* NULL: now. */
int canon_mode_read(const char *text, enum canon_mode *out, struct err *e);
const char *canon_mode_outcome(enum canon_mode mode); /* "queued", "staged" */
/* Stores what has come, and answers; takes the request. */
void canon_post_later(struct canon_post *p, enum canon_mode mode, bool bulk);
struct canon_sending {
    int64_t now;
    bool skip_distribution;
    const char *correlation, *traceparent;
};
/* The operation that stores one. */
int canon_queue_send(struct txn *t, const char *model, enum canon_mode mode,
                     const struct canon_arrival *a, const struct uuid *id,
                     const struct canon_sending *s, struct err *e);

/* ---- tx_canon.c ---- */
/* Without what is not the arrival's own; its texts are those of *held. Both are the caller's in any
 * case. */
int tx_arrive_read(const json_t *op, json_t **held, struct canon_arrival *out,
                   struct canon_sending *s, enum canon_mode *mode, struct err *e);
void tx_arrive_fini(struct canon_arrival *a);

/* canon_staged.c: {"reason"} of a rejection. */
enum { CANON_REASON_MAX = 1000 /* bytes */ };
int canon_reason(const json_t *body, struct err *e);

/* canon_bulk.c. Takes NULL. */
void canon_bulk_free(struct bulk *b);
/* canon_direct.c: the id that the URL (or NULL) or the document gives, or a new one; to be checked.
 * And a document without what Koan keeps itself. */
json_t *api_direct_id(struct api_thread *t, const char *id, const json_t *doc);
void api_direct_document(json_t *doc);
/* Why a golden record cannot be taken back that nobody stated directly. */
int api_direct_unsaid(const struct entity_def *d, const char *id, struct err *e);

#endif
