/* What queues that scripts declare, and what they send, look like in C. */
#ifndef KOAN_BIND_QUEUE_LIB_H
#define KOAN_BIND_QUEUE_LIB_H

#include "base/arena.h"
#include "bind/bind_priv.h"
#include "queue/queue.h"

struct bus_route;

enum {
    BIND_QUEUES_MAX = 500,         /* declared by one set */
    BIND_SENDS_MAX = 1000,         /* of one unit */
    BIND_SENDS_BYTES = 7 << 20,    /* bodies of one unit, which has room for 8 MiB */
    BIND_QUEUE_MESSAGE = 64 << 10, /* of one message, beside its body */
};

struct bind_listener;

struct bind_queue {
    struct arena *arena; /* all texts */
    struct core_queue q;
    struct core_send sending;          /* q.sending, once it says anything */
    bool declared, handled;            /* by `queue`, by `on` */
    const struct bind_listener *group; /* the queue is a group's: one of its handlers */
    bool has_concurrency;
    int run; /* reference of the function, when handled */
    struct vm_meter *meter;
    char label[CORE_TEXT_MAX]; /* "queue/mail" */
};

struct bind_queues {
    size_t count;
    struct bind_queue list[BIND_QUEUES_MAX];
};

void bind_queues_free(struct bind_queues *q); /* takes NULL */
/* [{"name", "handled", "dead_to"?}] of those that the set declares; a new reference. */
json_t *bind_queues_json(const struct bind_queues *q);
struct bind_queue *bind_set_queue(const struct bind_set *s, const char *name);

/* The one of this name, made if there is none. NULL with an error. */
struct bind_queue *bind_queue_of(struct bind_set *s, const char *name, struct err *e);
/* `file`, or with the line behind a colon, declares it and says these options (OPTION_*). */
void bind_queue_said(struct bind_queue *q, const char *where, uint32_t options);
/* Options of a handler: concurrency. ERR_INVALID when it is said already. */
int bind_concurrency_read(const json_t *o, struct bind_queue *q, struct err *e);

/* Options that are the same at `queue`, `on` and `send`, all but `needs`; names that are none of
 * them are passed over, and what is not there stays. Texts go into `a`. */
int bind_sending_read(const json_t *o, struct arena *a, struct core_send *out, struct err *e);
/* "10s", or a number of seconds; absent: `*ms` stays. */
int bind_duration_read(const json_t *o, const char *key, int64_t *ms, struct err *e);

/* What host.message() and host.publication() give: a message that goes with a unit. Raises when it
 * is none. */
struct bind_message;
const struct bind_message *bind_check_message(struct lua_State *L, int at);
/* By which it was published; NULL: it is sent to a queue. */
const struct bus_route *bind_message_route(const struct bind_message *s);
int bind_message_compose(const struct bind_message *s, struct txn *t, struct err *e);

#endif
