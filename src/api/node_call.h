/* Node call - something that is asked of the node itself, over HTTP: its settings, what it found
 * out while it started. Who answers is handed in as api_options.node_call. */
#ifndef KOAN_API_NODE_CALL_H
#define KOAN_API_NODE_CALL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/json.h"
#include "io/world.h"

enum api_node_verb {
    API_SETTINGS_LIST,
    API_SETTINGS_HISTORY,
    API_SETTINGS_PATCH, /* body: a merge-patch of the replicated tree */
    API_SETTINGS_PUT,   /* name; body: {"value"} */
    API_SETTINGS_UNSET, /* name */
    API_SETTINGS_APPLY, /* body: {"document", "prune", "dry_run"} */
    API_NODE_BOOT,      /* name: the id of a node */
};

/* The asker's until he asks, the answerer's until done(). */
struct api_node_call {
    enum api_node_verb verb;
    const char *name;
    json_t *body;
    const char *principal, *reason, *correlation;
    bool has_revision; /* only if the settings have this one */
    uint64_t revision;
    struct runner *home; /* where done() runs, once, later */
    void (*done)(struct api_node_call *c);

    struct err err;
    json_t *errors;   /* of err: faults by field, or NULL */
    json_t *answer;   /* of err.code 0; a new reference */
    uint64_t version; /* ETag of the answer; 0: none */
    struct task task;
    void *impl;
};

#endif
