/* Remote config - a layer of the configuration that somebody else serves: a JSON document over
 * HTTPS, the same tree as koan.json without local settings.
 *
 *   NEVER ----> FRESH <----> STALE      it does not answer; what was fetched stays in force
 *   (COPY) ---> FRESH <----> REFUSED    it answers, with something that is wrong somewhere
 *
 * The document is asked for every interval with the ETag of the last one, and taken over whole or
 * not at all. A copy of what was taken last is kept in the data folder, so that a node starts
 * without the source: COPY, degraded until it answers. A node that has neither is NEVER: it has
 * been told to use a source that it knows nothing of, and waits for it.
 *
 * Lives on one loop. Certificates are checked; private addresses are allowed, since whoever runs
 * the node names the address. Bounds: REMOTE_DOCUMENT_MAX, REMOTE_TIMEOUT_MS. */
#ifndef KOAN_APP_REMOTE_CONFIG_H
#define KOAN_APP_REMOTE_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/json.h"

struct err;
struct loop;
struct remote_config;

enum {
    REMOTE_DOCUMENT_MAX = 1 << 20,
    REMOTE_TIMEOUT_MS = 5000,
    REMOTE_CONNECT_MS = 3000,
    REMOTE_RETRY_MS = 2000, /* after a failure, where the interval is longer */
    REMOTE_TURN_MS = 1000,  /* how exactly the interval is kept */
};

enum remote_state { REMOTE_NEVER, REMOTE_COPY, REMOTE_FRESH, REMOTE_STALE, REMOTE_REFUSED };

struct remote_options {
    struct loop *loop;
    const char *url, *token; /* token "": none. Copied */
    const char *copy;        /* path of the last copy */
    uint64_t interval_ms;
    /* On the loop: the layer has changed; rows as config_with() wants them, good until the next
     * call. */
    void (*changed)(void *arg, const json_t *rows);
    /* On the loop: an attempt ended; 0 and the document is in force, or why not. */
    void (*attempted)(void *arg, enum remote_state state, const char *words);
    void *arg;
};

/* Reads the last copy, asks nobody. A copy that is damaged or of another address is none. */
struct remote_config *remote_config_open(const struct remote_options *o);
/* Asks once, turning the loop by hand until there is an answer or none will come. Only while the
 * loop does not run. */
void remote_config_fetch_now(struct remote_config *r);
/* From now on, every interval. */
void remote_config_start(struct remote_config *r);
/* Turns the loop by hand until nothing is under way. Takes NULL. */
void remote_config_close(struct remote_config *r);

enum remote_state remote_config_state(const struct remote_config *r);
const char *remote_config_words(const struct remote_config *r);  /* why, for people */
const json_t *remote_config_rows(const struct remote_config *r); /* an object; empty for NEVER */

/* A document -> rows with this origin, a new reference; ERR_INVALID with the first of its faults.
 */
int remote_config_read(const char *text, size_t n, const char *origin, json_t **out, struct err *e);

#endif
