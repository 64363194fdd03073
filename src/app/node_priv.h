/* What the files of a node share.
 *
 *   node.c    open, close        serve.c    run: deploy, serve, reload, drain
 *   net.c     net threads        report.c   the boot report
 *   reload.c  settings change    node_settings.c  those in the ledger
 *   node_health.c  what the node says about itself from time to time
 *   node_remote.c  the remote layer of the configuration
 *   node_lanes.c  lanes of the queue as the configuration wants them */
#ifndef KOAN_APP_NODE_PRIV_H
#define KOAN_APP_NODE_PRIV_H

#include <stdatomic.h>

#include "app/access.h"
#include "app/node.h"
#include "app/scripts.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/log.h"
#include "base/uuid.h"
#include "bind/bind.h"
#include "entity/entity.h"
#include "io/loop.h"
#include "io/world.h"

struct api;
struct api_thread;
struct canon;
struct bus;
struct coord;
struct entities;
struct http_router;
struct http_server;
struct health_board;
struct jobs;
struct ledger;
struct node_lanes;
struct queues;
struct remote_config;
struct setting_layer;
struct settings;
struct tls_server;
struct trace;

enum {
    NODE_NETS_MAX = 64,
    NODE_RELIEF_MS = 500, /* units past their time are looked for so often; see ledger_relieve */
    NODE_WATCH_MS = 250,  /* `koan dev` looks at the script folder so often */
    NODE_READER_CACHE = 2 << 20,
    NODE_REPORT_LINES = 40,
    NODE_REPORT_ATTEMPTS = 20, /* the last ones are kept */
    NODE_REPORT_MAX = 64 << 10,
};

/* A thread that serves connections. */
struct net {
    struct node *node;
    struct loop *loop;
    struct api_thread *thread;
    struct http_server *server; /* NULL once it has closed */
    struct task close, abort;   /* run on its loop */
    struct task closed;         /* on the control loop */
    bool started;
};

struct node {
    struct config *config;
    const struct config_sources *sources;
    bool dev;
    const struct bind_clock *clock;
    void (*work)(struct node *n, void *arg); /* instead of serving */
    void *arg;
    char *data;
    int lock; /* -1: not held */
    char id[UUID_TEXT];
    struct access access;
    uint64_t started_ns;
    struct health_board *health; /* every part may report to it */
    struct trace *trace;

    struct loop *control, *ledger_loop;
    bool ledger_started;
    struct entities *entities;
    struct canon *canon;
    struct settings *settings;
    struct queues *queues;
    struct coord *coord;
    struct entity_leases leases;
    struct jobs *jobs;
    struct bus *bus;
    struct node_lanes *lanes; /* NULL: it only works, and leaves them as they are */
    struct ledger *ledger;
    struct entity_sweeper *sweeper;
    struct entity_builder *builder;
    struct bind *bind;
    struct api *api;
    struct tls_server *tls;
    struct cors *cors;
    struct http_router *router;
    struct net nets[NODE_NETS_MAX];
    int nets_count, nets_serving;
    size_t connections_max; /* all nets together */
    uint16_t port;

    /* node_settings.c; the control loop's */
    json_t *settings_rows; /* the replicated layer, for config_with(); NULL until it was read */
    uint64_t settings_revision;
    char *settings_faults; /* told already */
    struct task settings_task;
    atomic_bool settings_told;                   /* the task is posted */
    bool settings_busy;                          /* setting_calls.c: a change is under way */
    struct task *settings_first, *settings_last; /* calls that wait for their turn */

    /* node_remote.c */
    struct remote_config *remote; /* NULL: embedded */
    bool remote_started, waiting; /* for a source of which nothing is known */
    int remote_told;

    /* serve.c */
    struct task begin, ledger_close;
    struct scripts scripts; /* being deployed */
    struct scripts live;    /* in `koan dev`: the last that loaded */
    struct bind_deploy deploy;
    struct deploys *deploys; /* by request */
    struct bind_text look;   /* serve_look.c */
    bool looking;
    bool deploying, deploy_again, deploy_failed, listening, serving, draining, aborted;
    uint64_t signature, config_signature;
    struct world_timer watch, drain, watchdog, health_timer, relief;
    struct bus_lag *lag; /* node_health_shared.c: when it was last looked at */
    int exit_code;

    /* report.c */
    struct buf report; /* lines, until they were shown */
    bool reported;
    json_t *boot;
    char session[UUID_TEXT];
    int64_t started_ms;
    double ready_ms; /* 0: not yet */
};

int node_nets_open(struct node *n, struct err *e);
int node_nets_start(struct node *n, struct err *e); /* they accept from now on */
void node_nets_close(struct node *n);               /* asynchronous; see node_nets_closed */
void node_nets_abort(struct node *n);
void node_nets_free(struct node *n);
/* On the control loop, when the last one has closed. */
void node_nets_closed(struct node *n);

/* reload.c */
/* Hands scripts their part of the configuration. */
void node_tell_scripts(struct node *n);
/* And the API: http.rate. */
void node_tell_api(struct node *n);
/* SIGHUP: file, environment and flags are read again. */
void node_reload(struct node *n);
/* `fresh` is in force from now on, but for what waits for a restart, and the node's; what has
 * changed is told. */
void node_take_config(struct node *n, struct config *fresh);
/* The level that the log is to have. */
void node_config_log(const struct node *n);

/* node_settings.c */
int node_settings_open(struct node *n, struct err *e); /* after the ledger */
void node_settings_watch(struct node *n);
int node_settings_read(struct node *n, struct setting_layer *out, struct err *e);
/* Reads the layer; what has changed is in force. */
int node_settings_refresh(struct node *n, struct err *e);
/* `base` with the layers that are not file, environment and flags; a new configuration. */
struct config *node_layers(struct node *n, const struct config *base);

/* node_remote.c */
int node_remote_open(struct node *n, struct err *e); /* before node_settings_open() */
void node_remote_start(struct node *n);              /* with the control loop */
void node_remote_close(struct node *n);
void node_remote_health(struct node *n);

/* node_lanes.c; the control loop's */
struct node_lanes *node_lanes_new(struct node *n);
/* Looks for lanes that are otherwise than the configuration in force says, and mends them, sooner
 * or later; nothing while the node waits for its configuration. */
void node_lanes_check(struct node *n);
/* Nothing is begun any more; what is under way ends, and means nothing. Takes NULL. */
void node_lanes_stop(struct node_lanes *l);
void node_lanes_free(struct node_lanes *l); /* takes NULL; when no thread runs any more */

/* serve.c */
void node_deploy(struct node *n); /* the scripts, if they have changed */

/* serve_tell.c */
void node_tell_script_error(const struct node *n, const struct err *e);
/* "file:line:column: words", with the line of these files. */
void node_tell_script_problem(const struct scripts *of, enum log_level level, const char *text);
void node_tell_script_changes(struct node *n); /* `scripts` are live now; takes them */

/* serve_look.c */
void node_look(struct node *n);          /* a set is live: what of it is not meant is told */
void node_look_webhooks(struct node *n); /* of the live set, whoever has deployed it */

void node_report(struct node *n, const char *topic, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* A part that runs. */
void node_report_module(struct node *n, const char *name, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* Something that could have been otherwise; the alternatives are separated by blanks. */
void node_report_decision(struct node *n, const char *what, const char *chosen,
                          const char *alternatives, const char *fmt, ...)
    __attribute__((format(printf, 5, 6)));
void node_report_election(struct node *n, json_t *report); /* takes it */
void node_report_attempt(struct node *n, const char *to, bool ok, const char *words);
void node_report_init(struct node *n);
/* The whole, a new reference. On the control loop; reads the script folder. */
json_t *node_boot_json(struct node *n);
/* Shows it: readable on a terminal, log lines elsewhere. */
void node_report_print(struct node *n);
void node_report_settings(struct node *n);

/* telemetry.c: secrets of the configuration are hidden from the log. */
void node_hide_secrets(const struct node *n);
/* Before whatever notes something is opened. */
int node_open_trace(struct node *n, struct err *e);

/* node_health.c: on the control loop; reports at once, then from time to time until stopped. */
void node_health_start(struct node *n);
void node_health_shared(struct node *n); /* node_health_shared.c */
void node_health_webhooks(struct node *n);
void node_health_stop(struct node *n);

int node_serve_begin(struct node *n, struct err *e);
void node_serve_end(struct node *n);
double node_age_ms(const struct node *n);

#endif
