/* What an engine is made of, for engine.c and whole.c. */
#ifndef KOAN_CANON_STATE_H
#define KOAN_CANON_STATE_H

#include "base/uuid.h"
#include "canon/outbox_priv.h"
#include "canon/pipeline_priv.h"

struct map;
struct prep;
struct waker;
struct whole;

struct engine_request {
    uint32_t magic;
    struct list node;
    struct canon_engine *engine;
    struct canon_request *r;
    char *model;
    enum job_kind kind;
    bool erase;
    struct working *working;
    size_t next, open;
    char *origin, *source_id; /* of a resumed arrival */
    struct whole *whole;      /* all its arrivals are one unit; or NULL */
};

struct canon_engine {
    struct canon *canon;
    struct ledger *ledger;
    struct world *world;
    struct db *reader;
    struct canon_hooks *hooks;
    struct map *workings; /* "tenant/model" */
    struct list requests; /* not all arrivals started */
    struct outbox outbox;
    struct list again; /* jobs to run again once nothing of their working set is under way */
    size_t flight, open_requests;
    struct engine_request *alone; /* the whole request that is worked, one at a time */
    struct task work;
    bool posted;
    struct uuid_gen ids;
    uint8_t random[512]; /* had from the world and not used yet: the first random_left */
    size_t random_left;
    struct waker *waker;
    struct prep *prep;
    struct trace *trace; /* may be NULL */
};

/* request.c. All its arrivals are at their end; it may be gone afterwards. */
void request_finish(struct engine_request *er);
/* Past arrivals that were done before. */
void request_skip(struct engine_request *er);
/* job.c. The next arrival of the request begins. */
struct canon_job *job_new(struct engine_request *er, struct canon_arrival *a);
/* An arrival wants some four times eight bytes, and each asking is a system call. */
void engine_random(struct canon_engine *en, void *p, size_t n);
void engine_wake(struct canon_engine *en);
/* resume.c: fetches the parked arrival and sets the job to the phase that parked it. */
int resume_load(struct canon_job *j, struct err *e);
/* What was committed, in the words of the answer: the job is at its end. */
void job_result(struct canon_job *j);
enum canon_outcome job_shown_outcome(const struct canon_job *j);

#endif
