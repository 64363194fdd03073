/* Setting calls - what is asked of a node's settings over HTTP. Everything runs on the node's
 * control loop, so a change is worked out from what is in force, committed, and in force before it
 * is answered. */
#ifndef KOAN_APP_SETTING_CALLS_H
#define KOAN_APP_SETTING_CALLS_H

struct api_node_call;

enum {
    SETTING_CALL_TRIES =
        5, /* of a change that says no revision, when one of another node was faster */
    SETTING_FAULTS_MAX = 50, /* told of one request */
};

/* For api_options.node_call; any thread. `node` is a struct node. */
void setting_call(void *node, struct api_node_call *c);

#endif
