/* What the files of the queues' routes share: queue.c (queues: declared, shown, dropped, paused),
 * queue_options.c and queue_declare.c (what options mean), queue_send.c, queue_settle.c and
 * queue_operate.c (many records, each a unit of its own: queue_units.c; what is done with which:
 * queue_operate_spec.c; with more than an answer holds: queue_work*.c), queue_lease.c (long
 * polling), queue_stream.c and queue_consume.c (lines both ways), queue_tail.c (looking on),
 * queue_peek.c and queue_look.c (records as they are), queue_read.c (what lies in the log),
 * queue_gates.c (gates and lanes: declared), queue_room.c (and shown). */
#ifndef KOAN_API_QUEUE_PRIV_H
#define KOAN_API_QUEUE_PRIV_H

#include "api/once_priv.h"
#include "job/def.h"
#include "queue/queue.h"

enum {
    QUEUE_ITEMS_MAX = 1000, /* of one request */
    QUEUE_UNIT_TRIES = 50,  /* of a unit that is built again */
    QUEUE_PEEK = 20,        /* records of a page, unless said otherwise */
    QUEUE_PEEK_MAX = 100,   /* and at most */
    QUEUE_FIND_MAX = 1000,  /* looked at by one question that searches */
    QUEUE_FIND_PATHS = 8,
    QUEUE_READ_BYTES = 24 << 20,   /* of bodies in one answer */
    QUEUE_WAIT_MS = 20 * 1000,     /* of a long poll, unless said otherwise */
    QUEUE_WAIT_MAX_MS = 60 * 1000, /* and at most */
    QUEUE_LEASE_MS = 30 * 1000,    /* unless said otherwise */
    QUEUE_LEASE_MIN_MS = 1000,     /* the core's bounds */
    QUEUE_LEASE_MAX_MS = 43200000,
};

/* ---- queue.c ---- */

/* The tenant of {vhost} and the queue of {name}; false: answered. */
bool queue_of_route(struct http_request *req, const char **tenant, const char **name);
int queue_name_check(const char *name, const char *field, struct err *e);

/* ---- queue_options.c ---- */

/* Each reads a value of JSON, or the same as text (of a query key). */
int queue_duration(const json_t *v, const char *field, int64_t *ms, struct err *e);
int queue_number(const json_t *v, const char *field, int64_t least, int64_t most, int64_t *out,
                 struct err *e);
int queue_flag(const json_t *v, const char *field, bool *out, struct err *e);
/* Into `out`, CORE_LABELS_MAX of them; the texts are those of the value, or in `*held`, which is
 * the caller's to give up. */
int queue_labels(const json_t *v, const char *field, struct core_label *out, uint8_t *count,
                 json_t **held, struct err *e);
int queue_id(const json_t *v, struct uuid *out, struct err *e);

/* A message while it is read. */
struct queue_draft {
    struct queue_message m;
    struct core_backoff backoff;
    struct core_label needs[CORE_LABELS_MAX];
    bool merge;               /* of UNIQUE_SWAP: queue_merge.c says with what */
    struct buf body, headers; /* printed, or decoded */
    json_t *held;
};
void queue_draft_fini(struct queue_draft *d);
/* To another place; `from` is empty then. */
void queue_draft_move(struct queue_draft *to, struct queue_draft *from);
/* Options by their names; other members of `o` are the caller's. The texts are those of `o`.
 * `now`: of a delay. */
int queue_draft_options(struct queue_draft *d, const json_t *o, int64_t now, struct err *e);
/* Those that a queue says too, for messages that do not. */
enum { QUEUE_SENDING_NAMES = 9 };
extern const char *const queue_sending_names[QUEUE_SENDING_NAMES];
int queue_draft_sending(struct queue_draft *d, const json_t *o, struct err *e);
/* "body" or "body_base64" with "type", and "headers". */
int queue_draft_content(struct queue_draft *d, const json_t *o, struct err *e);
/* Of a draft that is complete: can it be merged, if it is to be? */
int queue_draft_merges(const struct queue_draft *d, struct err *e);
/* An item of a batch: all of the above, and nothing else but what is in `also` (NULL: nothing). */
int queue_draft_item(struct queue_draft *d, const json_t *o, int64_t now, const char *also,
                     struct err *e);
/* The names of options, for query keys. */
extern const char *const queue_option_names[];
extern const size_t queue_option_count;

/* ---- queue_merge.c ---- */

enum { QUEUE_MERGE_TRIES = 8 }; /* others send with the same text meanwhile */

/* One message that is merged with the one that waits. */
struct queue_merged {
    const char *queue, *unique;
    const void *patch; /* its own body, JSON */
    size_t patch_len;
    struct core_waiting waits; /* body 0: none does */
    struct buf body;           /* what is to be sent, where one waits */
    struct err err;
};
/* Looks for them on the ledger's thread, reads and merges on the pool; `done` on the loop. */
struct queue_merging {
    struct queue_ask ask; /* first */
    struct api_job job;
    struct http_request *req;
    struct queue_merged *list;
    size_t count;
    void (*done)(struct queue_merging *m);
};
void queue_merge_start(struct queue_merging *m, struct http_request *req);
/* `d`: complete, and not moved meanwhile. */
void queue_merged_init(struct queue_merged *x, const struct queue_draft *d);
void queue_merged_use(const struct queue_merged *x, struct queue_message *m);
/* Another body came meanwhile. */
bool queue_merge_is_lost(const struct err *e);

struct queue_units;
/* Those of a request: at most `max`, with `held` what their texts are of. */
struct queue_merges;
struct queue_merges *queue_merges_new(size_t max, json_t *held);
void queue_merges_free(struct queue_merges *m); /* takes NULL; only if it is not started */
/* Takes the draft over: complete, but for what it is merged with. */
void queue_merges_add(struct queue_merges *m, size_t item, struct queue_draft *d);
/* As queue_units_start(), which it does with the others first. u->more is its own until done(). */
void queue_merges_start(struct queue_merges *m, struct queue_units *u,
                        void (*done)(struct queue_units *u));

/* ---- queue_declare.c ---- */

/* What a PUT says. `q` has the defaults, or what is to be kept; its texts are those of `o`, and how
 * it is sent to is in `d`, empty before. */
int queue_declared(const json_t *o, struct core_queue *q, struct queue_draft *d, struct err *e);
/* Which options it says, OPTION_*. */
uint32_t queue_declared_options(const json_t *o);
/* The other way: members of an object, without its braces. */
void queue_declared_print(const struct core_queue *q, struct buf *out);

/* ---- queue_tend.c ---- */

/* "owner", "due", "snooze", each only if it is there: another name, a time or how long from `now`,
 * or null. Texts are those of `o`. */
int queue_tend_read(const json_t *o, int64_t now, struct core_tend *out, struct err *e);
bool queue_tend_is_said(const struct core_tend *t);
/* The same of a record, as members of an object; nothing where nothing was said. */
void queue_tend_print(const struct core_view *v, struct buf *out);

/* ---- queue_send.c ---- */

/* The body as it is, of any content type (NULL: JSON, which it was found to be); the texts are
 * those of the request. */
int queue_body_in(struct http_request *req, const char **type, const void **body, size_t *n,
                  struct err *e);
/* ERR_TOO_LARGE past CORE_BODY_MAX, of which each queue takes its own part; `verb` is what to do
 * with the key of what is kept elsewhere.
 */
int queue_body_fits(size_t n, const char *verb, struct err *e);

/* Where it goes, who sends it, and an id if it brings none. The texts are those of the request. */
void queue_draft_address(struct queue_draft *d, struct http_request *req, const char *queue);
/* "id":..,"duplicate":..} of the result of a send: the end of an object. */
void queue_print_sent(struct buf *out, struct cursor result);
/* "depth" and "oldest_age_seconds", for senders that can slow down. */
void queue_print_depth(struct buf *out, uint64_t depth, int64_t oldest_age_ms);

/* ---- queue_settle.c ---- */

/* Of {"id", "token", "outcome", ..}; `tx`: with "op". The texts are those of `o`; result or error
 * into `text`. */
int queue_settle_read(const json_t *o, int64_t now, bool tx, struct core_settle *s,
                      struct buf *text, struct err *e);
/* "until", or "delay" from now. */
int queue_until(const json_t *o, int64_t now, int64_t *out, struct err *e);
/* "ack" */
const char *queue_settle_name(enum core_outcome outcome);

/* ---- queue_units.c ---- */

struct queue_units;
struct queue_item {
    struct unit unit; /* first */
    struct queue_units *of;
    struct err err;       /* code 0: it was done; set before the start: it is not proposed */
    struct cursor result; /* of its operation, when that has one */
    uint64_t seq;
    char id[UUID_TEXT]; /* the caller's: of which record */
    int tag;            /* the caller's */
    int tries;          /* built again so often */
    bool open;          /* the unit is initialised */
    bool kept;          /* done: by an earlier request with the same Idempotency-Key, or round */
};
struct queue_units {
    struct http_request *req;
    struct queue_item *items;
    size_t count, left;
    uint64_t seq; /* the highest log index of all */
    bool recalled;
    const char *reason; /* of all; NULL: what X-Koan-Reason says */
    void (*done)(struct queue_units *u);
    /* Optional: true when unit `i`, refused, may come through if it is built again; then its
     * operations are added to queue_units_txn() anew. */
    bool (*again)(struct queue_units *u, size_t i);
    int (*add)(struct queue_units *u, size_t i, struct txn *t, struct err *e);
    void *more; /* the caller's */
};
/* NULL: answered. `urgent`: settlements and the like. */
struct queue_units *queue_units_new(struct http_request *req, size_t count, bool urgent);
/* Where the operation of item `i` goes; NULL: it needs none, it was done before. */
struct txn *queue_units_txn(struct queue_units *u, size_t i);
/* Proposes all; done() runs once, later or at once, on the loop. */
void queue_units_start(struct queue_units *u, void (*done)(struct queue_units *u));
void queue_units_free(struct queue_units *u);
/* Headers of the answer that follows: X-Koan-Seq, Idempotency-Replayed. */
void queue_units_headers(struct queue_units *u);
/* {"id","error":{..}} */
void queue_print_failed(struct buf *out, const char *id, const struct err *e);

/* ---- queue_read.c ---- */

/* What became of a record before. */
struct queue_past {
    struct core_history h; /* its texts are those here */
    char texts[];
};

/* A record and what lies in the log of it. */
struct queue_shown {
    struct core_view view;
    bool has_view;
    uint64_t listed;      /* the place that core_list() gave */
    uint64_t place, body; /* of the send; of the body where that is another, else the same */
    bool edited;
    bool unwanted; /* by `find` */
    struct uuid id;
    char queue[CORE_TEXT_MAX + 1], lane[CORE_TEXT_MAX + 1];
    struct queue_past *past; /* NULL: not asked for */
    /* Members of JSON: headers, type, correlation, body; result, errors, history, died_in. */
    char *texts;
    size_t texts_len;
    struct err err;
};
/* Reads them on the pool, each entry once. */
struct queue_reading {
    struct api_job job; /* first */
    struct queue_shown *shown;
    size_t count;
    bool ids_only;
    bool runs;        /* bodies are args */
    size_t bytes_max; /* 0: QUEUE_READ_BYTES */
    size_t bytes;     /* of all texts; past bytes_max only ids are read */
    size_t read;      /* how many came before that */
    /* NULL, or an object of paths and values, {"body.order.id": 7}: only what has them all is
     * wanted, and no more is read once `find_max` are found. */
    const json_t *find;
    size_t find_max;
    void (*done)(struct queue_reading *r);
};
void queue_read_start(struct queue_reading *r, struct http_request *req);
void queue_read_begin(struct queue_reading *r, struct api_thread *t);
void queue_shown_free(struct queue_shown *shown, size_t count);

/* ---- queue_look.c ---- */

/* Looks at many records by their ids, on the ledger's thread; `done` on the request's loop. */
struct queue_looking {
    struct queue_ask ask;       /* first */
    const char *tenant, *queue; /* queue NULL: of any job */
    struct queue_shown *shown;  /* id in; view and err out */
    size_t count;
    bool past; /* wanted too */
    void (*done)(struct queue_looking *l);
};
void queue_look_start(struct queue_looking *l, struct http_request *req);
void queue_look_begin(struct queue_looking *l, struct api_thread *t);
/* {"id",..}, all that is known of it. */
void queue_shown_print(const struct queue_shown *s, struct buf *out);
/* The same of a run: {"id","job",..}. */
void queue_run_print(const struct queue_shown *s, struct buf *out);
#define QUEUE_OF_JOBS "job."
/* The state of this name, 0 when there is none. */
enum rec_state queue_state_named(const char *name);

/* ---- queue_operate_spec.c ---- */

/* The job of which a run does what operators ask for on more records than one answer holds. */
#define OPERATE_JOB JOB_OWN_PREFIX "operate"
#define OPERATE_QUEUE QUEUE_OF_JOBS OPERATE_JOB

enum operate_verb {
    OPERATE_RETRY,
    OPERATE_CANCEL,
    OPERATE_MOVE,
    OPERATE_PURGE,
    OPERATE_EDIT,
    OPERATE_REJECT, /* of parked arrivals */
    OPERATE_RESUME, /* likewise: canon_many.c */
};
extern const char *const operate_names[], *const operate_done[]; /* "retry", "retried" */

/* What is to be done with which records of a queue. Its texts are those of what it was read from.
 */
struct operate_spec {
    enum operate_verb verb;
    const char *queue;       /* NULL: of any job, by ids */
    const char *to, *reason; /* to: of a move; reason NULL: none was given */
    enum rec_state state;    /* REC_ANY: by ids, or `all` */
    bool all;                /* of a purge: in whatever state, but those that execute */
    const json_t *find;      /* NULL: all in that state */
    const json_t *patch;     /* of a resume; NULL: as they are */
    const char *by;          /* of a rejection */
    bool dry_run;
};
/* From the args of a run; unknown members are refused. */
int operate_spec_read(const json_t *args, struct operate_spec *out, struct err *e);
int operate_state_read(const json_t *v, struct operate_spec *s, struct err *e);
/* Not by ids. */
static inline bool operate_by_state(const struct operate_spec *s)
{
    return s->all || s->state != REC_ANY;
}
/* Of `find`: an object of paths that are searched. */
int queue_find_check(const json_t *find, struct err *e);
/* The operations on one record that was looked at; not of an edit or a resume. A run of a job
 * changes its row too. */
int operate_spec_add(const struct operate_spec *s, struct txn *t, const struct queue_shown *r,
                     struct err *e);
/* Answers 202 with the id of the run that does it; `total`: how many are in that state. */
void operate_hand_over(struct http_request *req, const struct operate_spec *s, uint64_t total);

/* ---- queue_operate.c ---- */

/* POST of a verb over a queue; of a {model}: over its parked arrivals. */
void queue_operate_post(struct http_request *req);

/* ---- queue_work.c ---- */

/* There is such a run. Any thread. */
void queue_work_wake(struct api *a);

#endif
