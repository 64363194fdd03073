/* Canon - many sources in, one trusted golden record out.
 *
 * A model `canon "X"` stands on `entity "X"`. A source sends an *arrival*: its name (origin), its
 * own id for the thing, when it observed it, and what it says. What each (origin, source id) says
 * last, with what it ever said, is a *source record*. Source records that share an identity key
 * belong together; what they say together is one *golden record*, an ordinary row of the entity,
 * with a stable id. The golden set is a pure function of source records and model, so any order of
 * the same arrivals ends in the same groups and values.
 *
 *   intake ----> validate ----> aggregate ----> policy ----> project ----> one unit of work
 *   source id,   entity's       keys -> owners   each field   views,       arrival, source record,
 * keys, repeat?      schema,        none: new        by its       your hook    golden record,
 * footprint, tombstones your hook    your hook      one: joins it    policy |            | several:
 * merge
 *     +-- noop, drop, park, fail +-- park (COLLISION ...)
 *
 * The unit holds on condition that every owner of a key, every source record and every golden
 * record that was read is still the same (conditions canon.key, canon.source, canon.golden).
 * Otherwise nothing happened, and the phases run again, up to CANON_TRIES times.
 *
 * One engine serves one model in a process, on one thread (a script thread, so that stage functions
 * are plain calls). It keeps a working set: key owners, source records and golden records with the
 * changes of units still under way laid over what the database says. So a thousand arrivals of one
 * request go through the phases one after the other, each seeing the one before it, while their
 * units commit in a few entries. The working set is only a cache: if it is wrong a condition fails,
 * the touched part is dropped and the arrival runs again.
 *
 * Files: model.c (declaration), keys.c (normalisers, key values), survive.c (survivorship, pure),
 * pipeline.c (the tick of one arrival), prepare.c (its first phases on other threads), parts.c (a
 * withdrawal), direct.c (a golden record changed directly), memo.c (what was had from outside),
 * working.c (the working set), engine.c (requests, proposals, retries), outbox.c (proposals
 * together), resume.c, whole.c (requests that are one unit), kept.c (keys of requests), queued.c
 * (arrivals as messages), parked.c and mend.c (records of what is parked), wait.c and
 * wake.c (parked until a key comes), apply.c and conditions.c (operations), store*.c (all SQL),
 * read.c (why, lineage, summary, tombstones). */
#ifndef KOAN_CANON_CANON_H
#define KOAN_CANON_CANON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/json.h"
#include "io/world.h"

struct canon;
struct canon_engine;
struct canon_model;
struct db;
struct domain;
struct entities;
struct envelope;
struct ledger;
struct queues;
struct trace;
struct ledger_once;
struct unit;

enum {
    CANON_BULK_MAX = 1000,        /* arrivals in one request */
    CANON_TRIES = 5,              /* runs of the phases before an arrival answers `conflict` */
    CANON_OWNERS_MAX = 5,         /* more owners than this are not merged but parked as COLLISION */
    CANON_KEYS_MAX = 32,          /* key values of one source record */
    CANON_KEY_BYTES = 512,        /* a key value, after normalising */
    CANON_BEAT_MAX = 10,          /* losing values kept in a footprint */
    CANON_BODY_MAX = 1 << 20,     /* an arrival's document */
    CANON_MEMO_MAX = 64,          /* results that stage functions keep with an arrival */
    CANON_MEMO_BYTES = 256 << 10, /* of them all */
    CANON_WORKING_MAX = 4096,     /* golden records in a working set */
    CANON_PARTS_MAX = 500,        /* golden records that one withdrawal may leave of one */
    CANON_SWEEP_MS = 60 * 1000,   /* between looks for failed arrivals that are old */
    CANON_SWEEP_MAX = 500,        /* of them removed in one unit */
    CANON_WAIT_TRIES = 3, /* a parked arrival is taken up so often while its key has an owner */
};

/* Failed arrivals are kept so long; all others for ever. */
#define CANON_FAILED_KEEP_MS ((int64_t)30 * 24 * 3600 * 1000)

/* ---- the model ----
 *
 * Made from JSON, which bind/ makes from the Lua declaration:
 *
 *   {"name": "Airport",
 *    "sources": {"ourairports": {"rank": 1}, ...},
 *    "keys": [{"name": "iata", "parts": [{"field": "iata", "norm": "upper"}]},
 *             {"name": "name+birth", "parts": [{"field": "name", "norm": "fn:3"}, {"field":
 * "birth_date"}]}], "on_collision": "merge" | "park", "policy": {"name": {"is": "most_complete"},
 *               "elevation": {"is": "source_of_truth", "ranks": ["a", "b"], "fallback": "latest"}},
 *    "group": {"position": ["lat", "lon"]},
 *    "stages": ["intake", "validate", "project"]}
 *
 * Normalisers: trim lower upper digits email phone name ascii, or "fn:N": a function of the script,
 * called through the hooks. A field without policy has "latest". The policy of a group stands under
 * the group's name. `match` and other parts that this version does not do are refused by name. The
 * hash of the model (sorted JSON) is stored with every arrival. */
int canon_model_parse(const json_t *definition, struct canon_model **out, struct err *e);
const char *canon_model_name(const struct canon_model *m);
uint64_t canon_model_hash(const struct canon_model *m);
/* Whether a script is the first to look at what arrives: nobody else needs the values. */
bool canon_model_has_intake(const struct canon_model *m);
struct canon_model *canon_model_ref(struct canon_model *m);
void canon_model_unref(struct canon_model *m);

/* ---- one per ledger ---- */
int canon_new(struct entities *entities, struct canon **out, struct err *e);
void canon_free(struct canon *c);
/* For ledger_open. The struct belongs to `c`. */
const struct domain *canon_domain(struct canon *c);
struct entities *canon_entities(struct canon *c);
/* From now on failed arrivals are removed CANON_FAILED_KEEP_MS, in ledger time, after they came.
 * After ledger_open, on the ledger's thread or before that runs; once. Stop on that thread, before
 * ledger_close. */
void canon_sweep_start(struct canon *c, struct ledger *l, struct world *w);
void canon_sweep_stop(struct canon *c);
/* Adds `canon.define` to a unit; nothing is added when the current model is the same. `d` is the
 * entity's definition that will be in force with it: a key, policy or group over a field that it
 * lacks is refused. */
struct entity_def;
struct txn;
int canon_txn_define(struct canon *c, struct txn *t, const json_t *definition,
                     const struct entity_def *d, struct err *e);
/* The same check alone. */
int canon_model_check(const struct canon_model *m, const struct entity_def *d, struct err *e);
/* The current model of this name, or of the entity with this URL path; NULL when there is none.
 * Unref it. Any thread. */
struct canon_model *canon_find(struct canon *c, const char *name);
/* Names of all models, sorted, as a JSON array. */
json_t *canon_names(struct canon *c);
/* ERR_NOT_FOUND, naming the nearest model. */
int canon_unknown(struct canon *c, const char *name, struct err *e);

/* ---- stage functions ---- */

/* Implemented by bind/, called on the engine's thread. */
enum canon_stage { CANON_INTAKE, CANON_VALIDATE, CANON_PROJECT };
enum canon_verdict { CANON_GO_ON, CANON_PARK, CANON_REJECT, CANON_DROP };

struct canon_stage_call {
    const char *model, *origin, *source_id, *tenant;
    const struct envelope *env; /* of the request */
    enum canon_stage stage;
    json_t *data;     /* the arrival (intake, validate), replaced by what the function left; or the
                         golden record (project), only looked at. Owned by the call */
    const char *text; /* intake, where `data` is NULL: the arrival as json_print() writes it, with a
                         NUL behind; lives as long as the call */
    size_t text_len;
    const char *id; /* project: of the golden record, a member beside those of `data` */
    json_t *tags;   /* object, may be added to; NULL until first */
    json_t *views;  /* object name -> object, from ctx:view; NULL until first */
    uint64_t kept;  /* of the hooks: what intake left is still at hand; 0: it is not, or `data` was
                       changed since */
    json_t *memo;   /* object name -> {"value"}, from ctx:memo: of all runs; NULL until first */
    /* The answer. */
    enum canon_verdict verdict;
    bool left;        /* `data` is the very one that was given */
    char reason[64];  /* of a park, reject or drop: its code */
    json_t *evidence; /* of a park; owned by the call, may be NULL */
    struct err err;   /* the function itself failed: file, line, words. The arrival then fails */
    void (*done)(struct canon_stage_call *call);
    void *arg;
};
/* The normalisers that the keys of one document need: which comes next may depend on what those
 * before it answered. */
struct canon_norms {
    /* Which function, on which value; false: no more. */
    bool (*next)(struct canon_norms *w, int *function, const json_t **value);
    /* Its answer; not called when it answered "no key". */
    void (*took)(struct canon_norms *w, const char *text, size_t n);
};
struct canon_hooks {
    /* Called for the stages that the model declares; ERR_UNAVAILABLE in the call when its function
     * is not loaded: the arrival is then not taken. 1: finished, the answer is there and done() is
     * not called. 0: done() is called later on this thread. */
    int (*run)(struct canon_hooks *h, struct canon_stage_call *call);
    /* Runs the script's normalisers that the walk names, one after the other. May not yield. Stops
     * at the first that fails. */
    int (*normalise)(struct canon_hooks *h, const char *model, struct canon_norms *walk,
                     struct err *e);
};

/* ---- arrivals ---- */
/* What `data` of an arrival is: what the source says, or a patch of the golden record that the
 * source id names, of origin "direct": of its values as they are when the arrival is committed. */
enum canon_change { CANON_SAYS, CANON_MERGE_PATCH, CANON_JSON_PATCH };

enum canon_outcome { CANON_CANONIZED, CANON_NOOP, CANON_PARKED, CANON_FAILED };

struct canon_arrival {
    const char *origin;    /* declared in `sources`, or "direct" */
    const char *source_id; /* NULL: a hash of its keys */
    int64_t observed_at;   /* ms; INT64_MIN: the time of arrival */
    int64_t arrived_at;    /* ms; 0: now */
    json_t *data;          /* object, or JSON-patch; ownership passes to the request */
    const char *text;      /* what json_print() makes of the object, which then need not be printed,
                              nor be there (`data` NULL); NULL: not at hand. Lives as long as the
                              request */
    size_t text_len;
    json_t *tags; /* object or NULL; ownership passes */
    enum canon_change change;
    /* Of the golden record that the source id names; else ERR_VERSION_MISMATCH, and nothing is
     * stored. */
    uint64_t if_version; /* 0: whatever it is */
    bool if_exists, if_absent;
    bool again;    /* the last that its source said may be this very one, of which nothing came: it
                      is no repeat */
    uint32_t part; /* with `once`: of its unit; those of one request differ */
    bool done;     /* by an earlier request with the same key: the result is set, it is left */

    /* The result. */
    enum canon_outcome outcome;
    struct err err;  /* failed: why; parked: reason in words */
    char reason[64]; /* parked: NO_KEYS COLLISION ... ; failed: INVALID or the code; noop: REPEAT,
                        UNCHANGED, DROPPED */
    char arrival_id[37]; /* "" for an exact repeat, which is not stored */
    char golden_id[257]; /* "" when there is none */
    uint64_t version;    /* of the golden record */
    uint32_t merged;     /* golden records that ended in this one */
    json_t *changes;     /* canonized, of a request of one: field -> new value; the request's */
    char *record;        /* with `once`, of a request of one: the golden record as it is then, if it
                            is not over 64 KiB; the request's */
    uint64_t seq;        /* log position */
};

/* How an arrival that is stored ends, as far as is known before its unit is committed. */
struct canon_ending {
    enum canon_outcome outcome;
    const char *reason, *arrival_id, *golden_id; /* "" when there is none */
    const char *detail, *field;                  /* parked, failed: in words; of what, or "" */
    uint32_t merged;
};

/* Up to CANON_BULK_MAX arrivals, worked in order, one unit each (but see `whole`). Part of the
 * caller's struct. done() runs once on `home`; the arrays belong to the caller and are freed by
 * canon_request_fini() after that. */
struct canon_request {
    struct task task;
    struct runner *home;
    const struct envelope *env; /* lives until done */
    struct canon_arrival *arrivals;
    size_t count;
    bool skip_distribution;
    /* All arrivals are one unit, or none: one that parks or fails refuses all, and has the error;
     * the others say ERR_CANCELED. With `any_outcome` what parks or fails is stored with the rest,
     * and only what cannot be worked refuses them. */
    bool whole, any_outcome;
    /* NULL, or the key of a request that is done once (ledger/once.h): each unit has it.
     * ERR_CONFLICT and reason REPEAT then also mean that it was done before. */
    const struct ledger_once *once;
    /* NULL, or what the caller adds to the unit of each arrival that is stored, whatever came of
     * it. On the engine's thread, each time that the unit is made: first its conditions (`end`
     * NULL), then its operations. Not called of what is not stored: its arrival_id is "". With
     * `whole` it is about the one unit: `end` are the endings of all arrivals, in their order. */
    int (*also)(struct canon_request *r, const struct canon_ending *end, struct txn *t,
                struct err *e);
    /* With `also`, may be NULL: on the engine's thread, the unit of an arrival has its last answer.
     * It is committed, or was refused; an arrival is not tried again whose unit was refused at what
     * also() has added, as failed_op tells. Not called of what is not stored. */
    void (*answered)(struct canon_request *r, const struct unit *u);
    void (*done)(struct canon_request *r);
    struct err err; /* set when the request as a whole was refused: no such model, draining */
    void *impl;
};
void canon_request_fini(struct canon_request *r);
/* What was kept of a unit with a key: of how many arrivals, and their results. False: it is not of
 * that form. */
size_t canon_kept_count(struct cursor context);
bool canon_kept_read(struct cursor context, struct cursor results, uint64_t seq,
                     struct canon_arrival *arrivals, size_t count);

/* Origin and source id as the model takes them: what need not wait for the engine to be refused. */
int canon_arrival_check(const struct canon_model *m, const struct canon_arrival *a, struct err *e);

/* ---- arrivals as messages ----
 *
 * An arrival that is worked later is the body of a message, an object:
 *
 *   {"origin", "source_id", "observed_at", "arrived_at", "tags", "skip_distribution", "data"}
 *
 * The queue of a model's is canon.MODEL; those that a person lets in first wait in
 * canon.MODEL.staged. Whoever sends them names lane and key as below. */
#define CANON_LANE "canon"
#define CANON_PARKED_DUE_MS ((int64_t)14 * 24 * 3600 * 1000) /* people are to be done by then */
enum {
    CANON_QUEUE_NAME_MAX = 64 + 16,
    CANON_QUEUE_KEY_MAX = 64 + 1 + 256,
    CANON_QUEUE_BODY_MAX = 2 * CANON_BODY_MAX, /* with tags */
    CANON_QUEUE_KEEP_COUNT = 10000,            /* outcomes of a queue that are kept, the newest */
};
#define CANON_QUEUE_KEEP_MS ((int64_t)3600 * 1000)            /* so long */
#define CANON_STAGED_KEEP_MS ((int64_t)30 * 24 * 3600 * 1000) /* those that a person rejected */
void canon_queue_name(const char *model, bool staged, char out[CANON_QUEUE_NAME_MAX]);
/* canon.MODEL.parked. */
void canon_parked_name(const char *model, char out[CANON_QUEUE_NAME_MAX]);
/* And back; false: it is no such name. */
bool canon_parked_model(const char *queue, char out[CANON_QUEUE_NAME_MAX]);
/* The model whose arrivals are in a queue of this name, staged ones not; false: it is none. */
bool canon_queue_model(const char *queue, char out[CANON_QUEUE_NAME_MAX]);
/* Queues with such names are canon's own. */
bool canon_queue_is_ours(const char *queue);
/* What one source says of one thing is worked in its order. NULL when it does not name the thing.
 */
const char *canon_queue_key(const struct canon_arrival *a, char out[CANON_QUEUE_KEY_MAX]);
/* ERR_TOO_LARGE. `now`: when it came. */
int canon_queued_print(const struct canon_arrival *a, int64_t now, bool skip_distribution,
                       struct buf *out, struct err *e);
struct canon_queued {
    struct canon_arrival arrival; /* its texts in `held`, and in what was read */
    bool skip_distribution;
    json_t *held;
};
/* `spare`: of the document its text is enough. ERR_INVALID. In any case to be freed, unless the
 * arrival has gone to a request, which frees what is its. Any thread. */
int canon_queued_read(const char *text, size_t n, bool spare, struct canon_queued *out,
                      struct err *e);
void canon_queued_fini(struct canon_queued *q);
/* {"outcome", ..}: what came of it, as it is kept with the message. */
void canon_ending_print(const struct canon_ending *end, struct buf *out);

/* ---- parked ones as messages ----
 *
 * What is parked waits for people as a record of the manual queue canon.MODEL.parked: its id is
 * that of the arrival, its body says what the arrival was and why it waits. The unit that parks it
 * sends the record, and the one that takes it up again, rejects or erases it ends the record; so
 * the queue and canon never differ. The queue is owned (queue/core.h): operators give records an
 * owner, a due time, a snooze, and end them here alone. One that parks again after it was resumed
 * is another arrival and record, with owner and due time of the first. */

/* Says that it is not to be done: appended to a unit. The arrival stays, `rejected`; its record is
 * cancelled, with `{"outcome":"rejected","reason","by"}`. ERR_CONFLICT from the unit when it is not
 * parked (any more). `at`, `by`: of who says so. */
int canon_txn_reject(struct txn *t, const char *arrival, const char *reason, const char *by,
                     struct err *e);
/* Arrivals that are parked and have no record get one: those of a time before there were any, or
 * whose queue was lost. Looks once, on the ledger's thread, after queues_start(). Stop before
 * ledger_close. */
void canon_parked_start(struct canon *c, struct queues *q, struct ledger *l, struct world *w);
void canon_parked_stop(struct canon *c);

/* Another thread that can run intake, validate and normalisers for an engine. */
struct canon_hand {
    struct runner *runner;
    struct canon_hooks *hooks; /* that thread's */
};
enum { CANON_HANDS_MAX = 63 };

struct canon_engine_options {
    struct canon *canon;
    struct ledger *ledger;
    struct world *world; /* of the thread it lives on */
    struct db *reader;   /* that thread's connection */
    struct canon_hooks *hooks;
    const struct canon_hand
        *hands; /* copied; their threads outlive all that the engine has to do */
    size_t hands_count;
    /* Whose parked arrivals it takes up; NULL: of all models. */
    bool (*owns)(void *arg, const char *model);
    void *owns_arg;
    struct trace *trace; /* what came of each arrival is noted there; may be NULL */
};
int canon_engine_new(const struct canon_engine_options *o, struct canon_engine **out,
                     struct err *e);
/* On its thread, as the rest below: the stage functions are loaded. From now on it takes up what
 * was parked with PARENT_NOT_FOUND and whose key has come, also what came before. May be called
 * again. */
void canon_engine_start(struct canon_engine *en);
/* It takes up nothing more by itself: before waiting until it is idle. May be called again. */
void canon_engine_stop(struct canon_engine *en);
/* No request is under way and nothing is left to do on its thread. */
bool canon_engine_is_idle(const struct canon_engine *en);
/* Only when it is idle. */
void canon_engine_free(struct canon_engine *en);
/* Any thread. `model` is the entity's name. */
int canon_arrive(struct canon_engine *en, const char *model, struct canon_request *r,
                 struct err *e);

/* Other changes. Withdraw what (origin, source id) of each arrival says; the golden record is made
 * again from the rest, which falls into several when nothing connects it any more: the part of the
 * oldest source keeps the id. Without rest its lifecycle is `withdrawn`. `erase` also removes its
 * arrivals' documents. */
int canon_withdraw(struct canon_engine *en, const char *model, struct canon_request *r, bool erase,
                   struct err *e);
/* Of one: go on with a parked arrival at the phase that parked it (one that waits for a key needs
 * nobody); arrivals[0].source_id is the arrival id, arrivals[0].data an optional merge-patch for
 * the parked document. */
int canon_resume(struct canon_engine *en, const char *model, struct canon_request *r,
                 struct err *e);

/* ---- reading, any thread with a reader connection ---- */
/* Follows merges: 0 and the id of the live survivor (may be the same id); ERR_NOT_FOUND; ERR_GONE
 * after erasure. */
int canon_survivor(struct db *db, const char *model, const char *tenant, const char *id,
                   char out[257], struct err *e);
/* The golden record that owns a key which `says`, an object of fields, gives: 0; ERR_NOT_FOUND
 * without words when none does. ERR_INVALID when it gives no key of the model. */
int canon_find_key(struct canon *c, struct db *db, struct canon_hooks *hooks, const char *model,
                   const char *tenant, const json_t *says, char out[257], struct err *e);
/* {"id","lifecycle","readiness","fields":{f:{"value","origin","source_id","arrival","observed_at","policy","beat":[...]}},
 *  "sources":[...],"keys":[...],"views":{...}}; `with`, a second id or NULL, adds "with": the keys
 * both share, or none. */
int canon_why(struct db *db, const struct canon_model *m, const char *tenant, const char *id,
              const char *with, struct buf *out, struct err *e);
/* {"origin","source_id","id","observed_at","fields"}: what a source says now, and the golden record
 * that it is part of, or null. */
int canon_source(struct db *db, const struct canon_model *m, const char *tenant, const char *origin,
                 const char *source_id, struct buf *out, struct err *e);
/* Arrivals of a golden record, newest first, with what each changed. */
int canon_lineage(struct db *db, const struct canon_model *m, const char *tenant, const char *id,
                  size_t limit, struct buf *out, struct err *e);
/* Parked arrivals, oldest first, after the given arrival id. */
int canon_parked(struct db *db, const struct canon_model *m, const char *tenant, const char *after,
                 size_t limit, struct buf *out, struct err *e);
/* One stored arrival, whole. */
int canon_arrival_get(struct db *db, const struct canon_model *m, const char *tenant,
                      const char *arrival_id, struct buf *out, struct err *e);
/* Per source: arrivals by outcome, parked reasons; golden records, merges, sources per golden
 * record; per field: conflicts and who won. Scans: call it on the pool. */
int canon_summary(struct db *db, const struct canon_model *m, const char *tenant, struct buf *out,
                  struct err *e);

#endif
