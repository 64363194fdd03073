/* Bind - scripts at work: what Lua declares becomes definitions and hooks, what Lua calls becomes
 * units of work.
 *
 * Script threads 1..M each own a loop, a read-only database connection, a VM with the deployed set,
 * and a canon engine. A hook is a function of the set: it is posted to a script thread, runs there
 * as a coroutine under its budget, and its result is posted back to the thread that asked. Canon's
 * stage functions are called by the engine on the very thread that runs them, without a hop: they
 * complete at once unless they wait for something.
 *
 *     net thread                     script thread                        ledger
 *     entity_write -- hook call ---> before_save(e, prior, ctx)
 *                  <-- record ------
 *     ---------------------------------------------------- unit --------> commit
 *     bind_engine(model), arrive ->  intake, validate, ... project
 *                                    ---------------------- unit -------> commit
 *
 * A request to a route goes the same way as a hook: posted to a script thread, its answer posted
 * back. What its function writes is one unit, committed before the answer is sent, and not at all
 * if the function fails or answers with 400 and more.
 *
 * Deploying is all or nothing, in this order: load the set on every script thread; propose
 * the changed definitions as one unit; switch every thread. A failure before the switch changes
 * nothing, and names file and line. Runs that are under way finish on the old set.
 *
 * The library that scripts see is partly C (verbs.c, plain.c ..), partly Lua (lua/lib/, embedded):
 * C reads and proposes, Lua makes it pleasant. lua/meta/koan.lua documents all of it for editors; a
 * test holds the two together. Parts of Koan that this version does not have are names that refuse
 * with a message, never silently absent.
 *
 * A get by id reads on the script thread, from its connection; queries and counts, which may visit
 * many rows, go to the pool, and the coroutine waits. Writes suspend it until they are committed.
 */
#ifndef KOAN_BIND_BIND_H
#define KOAN_BIND_BIND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/json.h"
#include "io/world.h"

struct bind;
struct bus;
struct canon;
struct canon_engine;
struct coord;
struct entities;
struct entity_hooks;
struct envelope;
struct http_more;
struct http_request;
struct ledger;
struct queues;
struct trace;
struct vm_source;

enum {
    BIND_THREADS_MAX = 64,
    BIND_TX_TRIES = 5,
    BIND_TX_WRITES_MAX = 1000,
    BIND_HOOKS_WAITING = 4096, /* hook calls posted and not finished; then overloaded */
    BIND_ROUTES_MAX = 500,     /* declared by one set */
    BIND_ROUTE_PATH_MAX = 200,
    BIND_ROUTE_PARAMS_MAX = 8,
    BIND_ROUTE_MS = 30 * 1000, /* how long a handler may take, unless it says otherwise */
    BIND_ROUTE_MS_MAX = 5 * 60 * 1000,
    BIND_ANSWER_MAX = 8 << 20, /* bytes of a handler's answer */
    BIND_ANSWER_HEADERS_MAX = 8 << 10,
};

/* A clock that is not the machine's, for tests: scripts and whoever else is handed `wall_ms` see
 * it. */
struct bind_clock {
    int64_t (*wall_ms)(struct world *w);
    void (*set)(int64_t ms); /* any thread */
};

struct bind_options {
    struct ledger *ledger;
    struct queues *queues;  /* may be NULL: then nothing of it is there */
    struct bus *bus;        /* may be NULL, with queues only: the same */
    struct coord *coord;    /* may be NULL: then leases are refused */
    bool works;             /* the queues that its scripts have handlers for */
    uint32_t work_lease_ms; /* 0: WORK_LEASE_MS */
    struct entities *entities;
    struct canon *canon;            /* may be NULL: then `canon` is refused */
    int threads;                    /* 0: 1 */
    size_t memory_max;              /* of a VM; 0: VM_MEMORY_MAX */
    uint64_t snapshot_ms;           /* how long a loop of each() has one; 0: BIND_SNAPSHOT_MS */
    const struct bind_clock *clock; /* NULL: the world's, which tests cannot set */
    /* Who asks; the texts live as long as the request. Must be there if bind_http_more() is used.
     */
    void (*envelope)(const struct http_request *req, struct envelope *out);
    struct trace *trace; /* where runs and calls are noted; may be NULL */
};

/* Starts the threads, without a set. After ledger_open. */
int bind_open(const struct bind_options *o, struct bind **out, struct err *e);
/* Blocks: waits for what runs (so the ledger must still be working, and the loops that wait for
 * hook results still turning), ends the threads, frees. Takes NULL. */
void bind_close(struct bind *b);

/* What scripts may know of the configuration. */
struct bind_settings {
    const json_t *app;       /* object: what config.NAME answers; NULL: nothing */
    const json_t *flags;     /* object: name -> definition, see bind_flags_check(); NULL: none */
    const char *http_allow;  /* private addresses that scripts may call; NULL: none */
    int work_concurrency;    /* messages worked at once, 1..CORE_CREDIT_MAX; 0: 16 */
    const json_t *labels;    /* of this node: name -> true, text or number; NULL: none */
    const json_t *only;      /* array of names: work that needs one of them; NULL: all work */
    int64_t keep_removed_ms; /* what a deploy takes away (entity/kept.h); 0: ENTITY_KEEP_MS */
};
/* Any thread. Copied; in force with the next question of any script. */
void bind_set_settings(struct bind *b, const struct bind_settings *s);
/* Are these definitions of flags? The message names the one at fault. */
int bind_flags_check(const json_t *flags, struct err *e);

/* A set of scripts to deploy: part of the caller's struct. Files and texts live until done(). A
 * name that ends in "_test.lua" is passed over. */
struct bind_deploy {
    const struct vm_source *files;
    size_t count;
    bool check_only; /* load and check, change nothing */
    /* Not NULL: kept in the ledger under this name, in the unit that brings the definitions. */
    const char *record;
    bool rollback; /* that is what it was */
    bool whole;    /* entities that it does not declare are declared no longer: they retire */
    const char *principal; /* who wants it; NULL: system */
    struct runner *home;
    void (*done)(struct bind_deploy *d); /* once, on `home` */

    /* The result. */
    struct err err;   /* code 0: live. Else nothing has changed; "file:line: ..." */
    json_t *entities; /* names, declared by the set; the caller's to drop */
    json_t *canons;
    char hash[17];  /* of names and texts */
    bool unchanged; /* this very set was live already */

    struct task task;
    void *impl;
};
/* Any thread. One deploy at a time: another waits its turn. */
void bind_deploy(struct bind *b, struct bind_deploy *d);
void bind_deploy_fini(struct bind_deploy *d);
/* {"entity", "percent"} of a migration under way: a new reference, or NULL. Any thread. */
json_t *bind_migrating(struct bind *b);

/* Queues of webhooks that are paused, a few seconds ago: their receivers want no more, or somebody
 * has paused them. A new reference to an array of names. Any thread. */
json_t *bind_webhooks_paused(struct bind *b);
/* What webhooks of the live set lack by the settings in force: secrets, and leave to call a private
 * address. A new reference to [{"file", "line", "text"}]; `text` names the way out. Any thread. */
json_t *bind_webhooks_unset(struct bind *b);

/* What entity_write wants. */
struct entity_hooks *bind_entity_hooks(struct bind *b);
/* The routes of the live set, for http_options.more: any number of servers, until bind_close().
 * Servers must have answered all their requests before that, or go on turning until it returns. */
struct http_more *bind_http_more(struct bind *b);
/* The one engine that works this model's arrivals: canon_arrive(bind_engine(b, m), m, ...). Any
 * thread; it lives until bind_close. NULL without canon. */
struct canon_engine *bind_engine(struct bind *b, const char *model);

enum bind_text_kind {
    BIND_TEXT_SCRIPT,
    BIND_TEXT_TEST,   /* a file of tests */
    BIND_TEXT_HOOKED, /* no text: the names of entities with before_save */
    BIND_TEXT_DRY, /* no text: args [entity, [{record, text, prior?}]]; runs before_save on each and
                      answers [{id, error?, changed?}] */
};

/* One text run as a script of its own beside the set: `koan run`. Each verb commits alone. Part of
 * the caller's struct. */
struct bind_text {
    const char *name; /* "report.lua" */
    const char *text;
    size_t len;
    const char *tenant, *principal;        /* NULL: default, system */
    const char *correlation, *traceparent; /* NULL: none */
    json_t *args;                          /* array, becomes `...`; ownership passes; may be NULL */
    uint32_t limit_ms;                     /* of processor time; 0: none */
    enum bind_text_kind kind;
    int test_index; /* of BIND_TEXT_TEST: 0 runs the file and answers the names of its tests, n runs
                       the n-th */
    void (*print)(struct bind_text *t, const char *line); /* on the script thread; may be NULL */
    struct runner *home;
    void (*done)(struct bind_text *t); /* once, on `home` */

    struct err err;
    json_t *result; /* what it returned; the caller's to drop; NULL when nothing */

    struct task task;
    void *impl;
};
void bind_run_text(struct bind *b, struct bind_text *t);
/* Any thread: texts under way end with ERR_CANCELED, soon. For a node that drains: they may have no
 * bound. */
void bind_cancel_texts(struct bind *b);
/* Any thread: all that scripts do or wait for ends now, with ERR_UNAVAILABLE. For a node that has
 * waited as long as it may: drain.timeout. */
void bind_cut(struct bind *b);

/* Of names and texts, tests left out: what bind_deploy.hash will be. */
void bind_set_hash(const struct vm_source *files, size_t count, char out[17]);

/* Any thread.
 * {"hash","files","entities","canons","functions","topics","jobs","queues":[{"name","handled",
 * "dead_to"?}],"threads":[{"runs"}]}; hash
 * "" without a set. A new reference. */
json_t *bind_status(struct bind *b);

#endif
