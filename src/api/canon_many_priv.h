/* Parked arrivals that go on, many at once: canon_many.c. */
#ifndef KOAN_API_CANON_MANY_PRIV_H
#define KOAN_API_CANON_MANY_PRIV_H

#include "base/uuid.h"
#include "canon/canon.h"

struct api_thread;
struct http_request;
struct ledger_once;
struct operate_spec;
struct queue_shown;

/* One of many. Lies in a struct of the caller's. */
struct canon_resuming {
    struct canon_request r;         /* first */
    struct uuid id;                 /* of the parked arrival */
    const json_t *patch;            /* NULL: as it is */
    const struct envelope *env;     /* lives until done */
    const struct ledger_once *once; /* NULL: the request has no key */
    uint32_t part;                  /* of it */
    const struct uuid *run;         /* NULL, or the unit holds while this delivery is under way */
    uint64_t token;
    void (*done)(struct canon_resuming *x); /* once, on the thread's loop */

    struct canon_arrival one; /* what came of it: no JSON is left */
    struct err err;           /* code not 0: it is parked still, or is not */
    char arrival[UUID_TEXT];
};
/* `queue`: canon.MODEL.parked. 0: done() is called later. */
int canon_resume_begin(struct canon_resuming *x, struct api_thread *t, const char *queue,
                       struct err *e);

/* Those that were looked at, and the answer. */
void canon_resume_many(struct http_request *req, const struct operate_spec *s,
                       const struct queue_shown *shown, size_t count);

#endif
