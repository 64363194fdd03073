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

/* How a message is sent, where it does not say so itself. */
struct bind_sending {
    uint16_t attempts; /* 0: not said, and so for all others */
    const struct core_backoff *backoff;
    uint32_t timeout_ms;
    int64_t ttl_ms, deadline_ms;
    int priority; /* -1: not said */
    const char *lane;
    const char *gates[CORE_GATES_MAX];
    uint8_t gates_count;
};

struct bind_queue {
    struct arena *arena; /* all texts */
    struct core_queue q;
    struct bind_sending sending;
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
struct bind_queue *bind_set_queue(const struct bind_set *s, const char *name);

/* The one of this name, made if there is none. NULL with an error. */
struct bind_queue *bind_queue_of(struct bind_set *s, const char *name, struct err *e);
/* Options of a handler: concurrency. ERR_INVALID when it is said already. */
int bind_concurrency_read(const json_t *o, struct bind_queue *q, struct err *e);

/* Options that are the same at `queue`, `on` and `send`; names that are none of them are passed
 * over. Texts go into `a`. */
int bind_sending_read(const json_t *o, struct arena *a, struct bind_sending *out, struct err *e);
extern const char *const bind_sending_names[];
enum { BIND_SENDING_NAMES = 8 };
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
