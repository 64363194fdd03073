/* Node - one running appliance: its data directory, threads and their order of birth and death.
 *
 *   birth   folder and LOCK, node.json, ledger (replays), scripts' threads, API, sockets listen;
 *           then the loops turn: scripts are deployed, connections are served, READY=1
 *   death   STOPPING=1, /readyz says no, sockets stop listening, requests under way are answered
 *           (at most drain.timeout), scripts end, the ledger takes a checkpoint, LOCK goes
 *
 * Sockets listen before anything is served, so a client that comes early waits in the kernel's
 * queue and a port that is taken is found before scripts run. Connections are accepted only when
 * the scripts are live: no change ever passes by a hook that was still to come. `koan dev` serves
 * even when they do not load, because there somebody is about to mend them.
 *
 * The main thread owns the node and runs its control loop: signals, reload, drain. A node is opened
 * and closed there, and both block. */
#ifndef KOAN_APP_NODE_H
#define KOAN_APP_NODE_H

#include <stdbool.h>

#include "app/settings.h"

struct bind;
struct bind_clock;
struct err;
struct node;

struct node_options {
    struct config *config;                /* ownership passes, whatever comes of it */
    const struct config_sources *sources; /* to read it again on SIGHUP; outlives the node */
    bool dev;
    const struct bind_clock *clock; /* NULL: the machine's */
    /* No sockets: called on the control loop when the scripts are live; ends with node_stop().
     * NULL: serve. */
    void (*work)(struct node *n, void *arg);
    void *arg;
};

int node_open(const struct node_options *o, struct node **out, struct err *e);
/* Serve until a signal, or until node_stop(). Returns an exit code; what went wrong has been
 * logged. */
int node_run(struct node *n);
/* On the control loop: leave node_run after draining. */
void node_stop(struct node *n, int exit_code);
void node_close(struct node *n); /* takes NULL */

struct bind *node_bind(struct node *n);
struct loop *node_control(struct node *n);

#endif
