/* What the files of the routes of topics share: topics.c (published, shown), topics_event.c (what
 * came as a message), topics_reply.c (answered), topics_again.c (unrouted ones published again,
 * groups rewound), tx_topic.c (publish in POST /api/tx). */
#ifndef KOAN_API_TOPICS_PRIV_H
#define KOAN_API_TOPICS_PRIV_H

#include "api/queue_priv.h"
#include "bus/bus.h"

/* A message while it is read, and what was published of it. */
struct topic_draft {
    struct bus_message m;
    struct queue_draft read; /* options, headers, body */
    struct buf dedup;
    struct uuid id; /* of the message, or of the one it repeats */
    bool duplicate, mandatory;
    uint32_t groups, results; /* that got it; of operations with a result */
    uint64_t depth;           /* of the queue of these groups with the most, with it */
    int64_t oldest_age_ms;    /* and of the one that is furthest behind */
};
void topic_draft_fini(struct topic_draft *d);
/* Options by their names, "topic" and such not among them; what is not of a publish is refused. The
 * texts are those of `o`. `also`: other members that are the caller's, ended by NULL. */
int topic_draft_options(struct topic_draft *d, const json_t *o, int64_t now,
                        const char *const *also, struct err *e);
/* The names of options, for query keys. */
extern const char *const topic_option_names[];
extern const size_t topic_option_count;

/* topics_event.c: the messages of a request, by its headers and body, each with the options of the
 * query. The caller's to free, with topic_drafts_free(). NULL: answered. */
struct topic_draft *topic_drafts_read(struct http_request *req, const json_t *options,
                                      size_t *count, bool *batch);
void topic_drafts_free(struct topic_draft *list, size_t count);
/* It is this event: one of the same source and id that comes within BUS_EVENT_MS is a duplicate,
 * unless the message has a dedup text of its own. */
void topic_draft_event(struct topic_draft *d, const char *source, const char *id);

/* topics_reply.c: answered by who works it. `options`: of the query, with `reply`. */
void topic_reply(struct http_request *req, json_t *options);

/* The operations of one message; its counts are set. */
int topic_draft_add(struct topic_draft *d, const struct bus_route *r, struct txn *t, struct err *e);
/* From the result of its operation number `i`; and from all of them, which are taken from `results`
 * in their order. */
void topic_draft_sent(struct topic_draft *d, uint32_t i, struct cursor *result);
void topic_draft_result(struct topic_draft *d, struct cursor *results);
/* {"id","groups","depth","oldest_age_seconds"[,"duplicate"]} */
void topic_draft_print(const struct topic_draft *d, struct buf *out);

#endif
