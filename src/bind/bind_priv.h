/* What the files of bind/ share. */
#ifndef KOAN_BIND_PRIV_H
#define KOAN_BIND_PRIV_H

#include <lauxlib.h>
#include <lua.h>
#include <pthread.h>
#include <stdatomic.h>

#include "base/list.h"
#include "base/uuid.h"
#include "bind/bind.h"
#include "bind/grants.h"
#include "canon/canon.h"
#include "entity/write.h"
#include "http/fetch.h"
#include "http/server.h"
#include "io/loop.h"
#include "ledger/ledger.h"
#include "trace/trace.h"
#include "vm/vm.h"

enum {
    BIND_ENTITIES_MAX = 200, /* declared by one set */
    BIND_CANONS_MAX = 100,
    BIND_NORMS_MAX = 64,      /* functions among the keys of one model */
    BIND_ROUTES_AHEAD = 64,   /* calls that a thread may have more than the least busy one */
    BIND_ROUTE_NAME_MAX = 64, /* of a parameter */
    BIND_SNAPSHOTS_MAX = 16,  /* loops of each() that are between two pages, on a thread */
    BIND_SNAPSHOTS_IDLE = 2,  /* connections kept for the next ones */
    BIND_SNAPSHOT_MS = 5 * 60 * 1000, /* how long such a loop has its snapshot, unless said */
    BIND_SET_MAGIC = 0x4b4f4253,
};
#define BIND_LEASE_LOST "lease_lost" /* the code of an error */

struct bind_bus;
struct bind_job_run;
struct bind_jobs;
struct bind_queues;
struct bind_routes;
struct bind_thread;
struct bind_work;

struct bind_entity {
    struct entity_def *def;
    int before_save, before_remove, view,
        migrate; /* references of functions, LUA_NOREF when absent */
    struct vm_meter *meter_save, *meter_remove, *meter_view;
};

struct bind_canon {
    char *name;
    char where[160]; /* "file:line" of the declaration */
    json_t *model;
    char *text;   /* sorted JSON of the model */
    int stage[3]; /* by enum canon_stage */
    struct vm_meter *meter[3], *meter_norm;
    int norm[BIND_NORMS_MAX];
    int norms;
};

/* A loaded set on one script thread. */
struct bind_set {
    struct vm_host host; /* first: the VM's host is the set */
    uint32_t magic;
    struct bind_thread *thread;
    struct vm *vm;
    struct task wake;
    bool waking, gone; /* its wake-up is posted; its VM is no more */
    struct bind_entity entities[BIND_ENTITIES_MAX];
    size_t entities_count;
    struct bind_canon canons[BIND_CANONS_MAX];
    size_t canons_count;
    struct bind_routes *routes;     /* NULL: none declared */
    int route_run[BIND_ROUTES_MAX]; /* references of functions */
    struct vm_meter *route_meter[BIND_ROUTES_MAX];
    struct bind_queues *queues; /* NULL: none declared */
    struct bind_bus *bus;       /* NULL: nothing of topics declared */
    struct bind_jobs *jobs;     /* NULL: none declared */
    int library;                /* the table that the Lua library handed in */
    int save_hook, remove_hook, view_hook, stage, serve, finish, test_file, hooked, dry_saves,
        migrate_rows, handle, handle_batch; /* its functions: references */
    int stage_ctx; /* the metatable of what a stage is given beside its data */
    char hash[17];
    size_t files;
};

struct bind_ids {
    struct entity_ids ids;
    struct uuid_gen gen;
    struct world *world;
};

struct bind_stages {
    struct canon_hooks hooks;
    struct bind_thread *thread;
    /* The table that the last intake left, for the validate that follows: stages.c. */
    struct bind_set *kept_set;
    uint64_t kept, kept_count;
};

struct bind_thread {
    struct bind *bind;
    int index;
    struct loop *loop;
    struct world *world;
    struct runner *runner;
    struct db *reader;
    struct bind_ids ids;
    struct bind_stages stages;
    struct loop_hook turn; /* tells how much memory the VM has */
    struct stat_gauge *memory;
    struct canon_engine *engine;
    struct bind_set *set, *next; /* live; loaded and waiting for its definitions to be committed */
    size_t sets;                 /* whose VM lives */
    atomic_size_t runs;          /* posted to it or under way */
    struct db *pool_reader;      /* used by one read of `reads` at a time */
    struct list reads;           /* queries that wait for the pool */
    struct task read_start;
    bool reading;
    struct db *snapshot_dbs[BIND_SNAPSHOTS_IDLE];
    unsigned snapshots_idle, snapshots; /* kept; in use */
    struct list texts;                  /* runs of bind_run_text under way: they have no budget */
    struct list deliveries, batches;    /* of queues, under way: work.h */
    struct list calls; /* requests to routes under way, whose timeouts may be long */
    struct task stop, cancel, cut_task;
    atomic_bool cancelling; /* `cancel` is posted */
    atomic_bool cutting;    /* `cut_task` is, or has run */
    bool cut;               /* cut.c: nobody is waited for any more */
    bool done;              /* its own work is over */
    uint64_t stop_ns;       /* when it was asked to end; 0: it was not */
    struct world_timer stop_timer;
    json_t *settings; /* as of settings_version */
    unsigned settings_version;
    struct map *flags_unknown; /* told already */
    struct fetcher fetcher;
};

struct bind_deploys; /* deploy.c */

struct bind_hooks {
    struct entity_hooks hooks;
    struct bind *bind;
};

struct bind_more {
    struct http_more more;
    struct bind *bind;
};

struct bind {
    struct ledger *ledger;
    struct queues *queues; /* may be NULL */
    struct bus *bus;       /* may be NULL */
    struct coord *coord;   /* may be NULL */
    struct entities *entities;
    struct canon *canon;
    struct bind_hooks hooks;
    struct bind_thread *threads;
    int threads_count, threads_total; /* that run; that were asked for */
    atomic_int working;               /* at the end: threads whose own work is not over */
    atomic_uint turn;                 /* round robin */
    atomic_size_t waiting;
    atomic_bool closing;
    struct bind_deploys *deploys;
    struct bind_work *work;     /* NULL: this process works no queues */
    struct vm_meter *run_meter; /* of texts: koan run, koan repl */
    struct bind_more more;
    _Atomic(struct runner *) homes[BIND_THREADS_MAX]; /* loops that have sent work */
    void (*envelope)(const struct http_request *req, struct envelope *out);
    pthread_mutex_t status_lock;
    struct bind_routes *routes;          /* of the live set; under status_lock */
    char migrating[ENTITY_NAME_MAX + 1]; /* the entity, "" for none; under status_lock */
    int migrating_percent;
    char *status;       /* JSON of the live set, replaced at each switch */
    char *hooks_paused; /* JSON, of status_lock */
    char *webhooks;     /* JSON, of status_lock: webhook_unset.c */
    char *settings;     /* JSON, replaced by bind_set_settings; under status_lock too */
    atomic_uint settings_version;
    struct fetch_shared *fetch_shared;
    const struct bind_clock *clock;
    struct trace *trace;
    size_t memory_max;
    uint64_t snapshot_ms;
};

/* A run of ours: the run and who it acts for. */
struct bind_run {
    struct vm_run run;
    struct bind_set *set;
    const struct envelope *env; /* outlives the run */
    struct trace_span span;
    uint64_t began_ns, until_ns;    /* until_ns 0: as long as it likes */
    struct bind_text *text;         /* of bind_run_text, else NULL */
    const char *no_outside;         /* why it may not call other hosts; NULL: it may */
    const char *no_writes;          /* why it may not change records; NULL: it may */
    const char *stage_of;           /* the model, in a stage of canon; else NULL */
    struct bind_grants held;        /* in the handler of a queue, else none */
    const struct bind_job_run *job; /* in the function of a job, else NULL */
    bool cancelled;                 /* it has been asked to stop */
    bool end_waits;                 /* its last unit was refused: job_end_waits() */
    bool asking;                    /* inside ctx:memo: it may all the same */
    bool has_claims, lost;          /* `claims` is a list; one of them was lost */
    struct list claims;             /* leases that it has: claim.h */
};

static inline struct bind_set *bind_set_of(struct lua_State *L)
{
    struct bind_set *s = (struct bind_set *)vm_host_of(L);
    ASSERT(s->magic == BIND_SET_MAGIC);
    return s;
}

static inline struct bind_run *bind_run_of(struct lua_State *L)
{
    return (struct bind_run *)vm_run_of(L);
}

const struct envelope *bind_env(struct lua_State *L);
const char *bind_tenant(struct lua_State *L);
/* Of what `what` reads from; raises while the script loads. */
struct bind_thread *bind_live_thread(struct lua_State *L, const char *what);

/* ---- text that is put together: plain.c ---- */
enum { BIND_TEXT_MAX = 4 << 20 };
/* Freed by a guard that is left on the stack. */
struct buf *bind_push_buf(struct lua_State *L, size_t max);
/* Its content as a Lua text; raises when it has outgrown its bound. */
int bind_push_text(struct lua_State *L, struct buf *b);

/* ---- set.c ---- */
/* Load a set on this thread. On failure nothing is left. `thread` may be NULL in tests: then verbs
 * that reach the database must not be called. */
int bind_set_new(struct bind_thread *t, const struct vm_source *files, size_t count,
                 struct bind_set **out, struct err *e);
void bind_set_drop(struct bind_set *s); /* frees it when its last run has ended; takes NULL */
const struct bind_entity *bind_set_entity(const struct bind_set *s, const char *name);
const struct bind_canon *bind_set_canon(const struct bind_set *s, const char *name);
void bind_run_init(struct bind_run *r, struct bind_set *s, const struct envelope *env);

/* Raises where this run may not change anything; `what` waits. */
void bind_may_write(struct lua_State *L, const char *what);

/* ---- claim.c ---- */
/* The run has ended: gives back what it still holds. Before the run is freed. */
void bind_claims_over(struct bind_run *r);

/* ---- note.c ---- */
/* Whether bind_note_run() notes it: unless it `always` is of interest, only when it is sampled or
 * failed. */
bool bind_note_wants(const struct bind_run *r, bool always);
/* The run begins: its span. */
void bind_note_begin(struct bind_run *r, struct bind_thread *t);
/* It has ended. */
void bind_note_run(const struct bind_run *r, struct bind_thread *t, const char *name,
                   const char *subject, bool always);

/* ---- declare.c, verbs.c, write.c, canon_verbs.c, plain.c: functions for the table `host` ---- */
void bind_open_declare(struct lua_State *L);
/* JSON objects keep their order, Lua tables have none: the members of o[name] in the order of the
 * list of names at `order`. */
void bind_order_members(struct lua_State *L, int order, json_t *o, const char *name);
void bind_open_verbs(struct lua_State *L);
void bind_open_write(struct lua_State *L);
void bind_open_canon(struct lua_State *L);
void bind_open_plain(struct lua_State *L);
void bind_open_time(struct lua_State *L);
void bind_open_crypto(struct lua_State *L);
void bind_open_csv(struct lua_State *L);
void bind_open_config(struct lua_State *L);
void bind_open_http(struct lua_State *L);
void bind_open_routes(struct lua_State *L);
void bind_open_snapshot(struct lua_State *L);
void bind_open_queue(struct lua_State *L);
void bind_open_send(struct lua_State *L);
void bind_open_merge(struct lua_State *L);
void bind_open_bus(struct lua_State *L);
void bind_open_publish(struct lua_State *L);
void bind_open_job(struct lua_State *L);
void bind_open_job_op(struct lua_State *L);
void bind_open_job_submit(struct lua_State *L);
void bind_open_job_people(struct lua_State *L);
void bind_open_ticks(struct lua_State *L);
void bind_open_coord(struct lua_State *L);
void bind_open_pause(struct lua_State *L);
void bind_open_claim(struct lua_State *L);
void bind_open_leader(struct lua_State *L);

/* Scripts name the records of a partition "Entity/partition". What readers want for that (see
 * entity/read.h); a text left on the stack. Raises when it is no name. */
const char *bind_scope(struct lua_State *L, const char *name);
/* The part behind the '/', "" without. */
const char *bind_partition(const char *name);
/* The definition, or an error that names the nearest one; the reference belongs to a guard that is
 * left on the stack. */
struct entity_def *bind_check_entity(struct lua_State *L, const char *name);
/* Argument `at` as JSON, owned by a guard that is left on the stack; nil gives NULL. Raises naming
 * `what`. */
json_t *bind_check_json(struct lua_State *L, int at, const char *what);
/* Hand what a guard owns over. */
void *bind_take(struct lua_State *L, int guard);
void bind_json_free(void *p);
/* Sorted compact text; the caller's to free. */
char *bind_json_text(const json_t *v);

/* ---- snapshot.c: what the pages of each() are read out of ---- */
struct bind_snapshot;
/* NULL when the argument is none. */
struct bind_snapshot *bind_check_snapshot(struct lua_State *L, int at);
/* The definition that it was begun with, or NULL. */
struct entity_def *bind_snapshot_def(const struct bind_snapshot *s);
/* A page begins; ERR_OVERLOADED when the thread has too many. 0: bind_snapshot_leave() must follow,
 * in between bind_snapshot_db() on whatever thread reads. */
int bind_snapshot_enter(struct bind_snapshot *s, struct entity_def *d, struct err *e);
struct db *bind_snapshot_db(struct bind_snapshot *s, struct err *e);
/* May free it. */
void bind_snapshot_leave(struct bind_snapshot *s, bool more);

/* ---- config_lib.c ---- */
/* {"app","flags","http_allow"} in force now; good until the next call on this thread. */
const json_t *bind_settings_of(struct bind_thread *t);
/* What a deploy takes away is kept so long, ms. */
int64_t bind_keep_removed(struct bind_thread *t);
void bind_settings_drop(struct bind_thread *t);

/* ---- routes.c, serve.c ---- */
void bind_routes_init(struct bind *b);
void bind_routes_drop(struct bind_routes *t); /* takes NULL */
/* Requests are looked up in the routes of this set from now on; NULL: in none. */
void bind_routes_publish(struct bind *b, struct bind_set *live);
json_t *bind_routes_json(const struct bind_routes *t);
/* Is this first segment of a path Koan's own? */
bool bind_route_is_reserved(const char *segment, size_t n);
/* The handler of all of them. */
void bind_serve(struct http_request *req);
/* The script thread for work that comes from this loop. */
struct bind_thread *bind_thread_for(struct bind *b, struct runner *home);

/* ---- hooks.c, stages.c, deploy.c ---- */
void bind_hooks_init(struct bind *b);
void bind_stages_init(struct bind_thread *t);
void bind_deploys_init(struct bind *b);
void bind_deploys_free(struct bind *b);
/* End what bind_run_text has under way on this thread. */
void bind_texts_cancel(struct bind_thread *t);

/* ---- work.c, deliver.c: script thread 0 unless it says otherwise ---- */
int bind_work_new(struct bind *b, uint32_t lease_ms,
                  struct err *e);         /* any thread, before they run */
void bind_work_published(struct bind *b); /* another set is live */
/* While the node closes: what runs ends, then the leases are given back. Ask again until true. */
bool bind_work_is_over(struct bind *b);
void bind_work_free(struct bind *b);
void bind_deliveries_cut(struct bind_thread *t, const struct err *e); /* on `t` */

/* ---- webhook_unset.c ---- */
/* This set is live: what it says of webhooks is what bind_webhooks_unset() looks at. */
void bind_webhooks_publish(struct bind *b, const struct bind_set *live);

/* ---- absent.c ---- */
void bind_open_absent(struct lua_State *L);
/* 0, or ERR_INVALID with the first place that names what this version does not have. */
int bind_absent_check(const struct vm_source *files, size_t count, struct err *e);

/* ---- cut.c: on the thread ---- */
bool bind_is_cut(const struct bind_thread *t, struct err *e);
void bind_calls_cut(struct bind_thread *t, const struct err *e); /* serve.c */

#endif
