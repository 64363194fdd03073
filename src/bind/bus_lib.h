/* What scripts declare of topics, in C: who listens to which (`on "order.*"`), and how topics are
 * kept (`topic "customer.*"`).
 *
 * A group is a queue, "group." and its name, worked like any other. What is its own is the
 * choice of the function, since a group may listen with several patterns: groups_pick() makes it,
 * by the topic of the message, for publishers too, who take the options from there. */
#ifndef KOAN_BIND_BUS_LIB_H
#define KOAN_BIND_BUS_LIB_H

#include "bind/bind_priv.h"
#include "bus/bus.h"
#include "bus/group.h"

enum {
    BIND_LISTENERS_MAX = 500, /* `on` for topics, of one set */
    BIND_TOPICS_MAX = 500,    /* `topic`, of one set */
    BIND_BATCH_MAX = 1000,
    BIND_BATCH_BYTES = 4 << 20, /* of bodies; then a batch begins though it has room */
    BIND_BATCH_WAIT_MS = 100,
    BIND_BATCH_WAIT_MAX_MS = 60 * 1000,
    BIND_LISTENER_ARENA = 64 << 10, /* all that one `on` says */
};

enum bind_listens { LISTENS_RUN, LISTENS_BATCH, LISTENS_WEBHOOK };

struct bind_listener {
    char *pattern, *group, *file; /* group: also where it has the name of its file */
    bool named;                   /* the script has said the group's name */
    int line;
    enum bind_listens kind;
    json_t *options; /* as groups keep them: schema/bus-operations.md */
    json_t *said;    /* what of them is the queue's: concurrency */
    json_t *webhook; /* as the script wrote it */
    uint32_t batch, wait_ms;
    uint16_t attempts;
    int run; /* reference of the function */
    struct vm_meter *meter;
    char label[GROUP_NAME_MAX + 160]; /* "order.* (crm)" */
};

struct bind_topic {
    struct bus_topic t;
    char *pattern, *file;
};

struct bind_bus {
    size_t count, topics_count;
    struct bind_listener *list[BIND_LISTENERS_MAX];
    struct bind_topic topics[BIND_TOPICS_MAX];
    struct groups *groups; /* of the whole set, once it is loaded */
};

void bind_bus_free(struct bind_bus *b); /* takes NULL */
/* The scripts are loaded: what only the whole set can say. Declares the groups' queues. */
int bind_bus_finish(struct bind_set *s, struct err *e);
/* Who takes a message of this topic in this group's queue; NULL: nobody of this set. */
const struct bind_listener *bind_listener_find(const struct bind_set *s, const char *queue,
                                               const char *topic);
/* Routes as the set declares them; nothing when they are so already, or `bus` is NULL. */
int bind_bus_add(struct bus *bus, const struct bind_set *s, struct txn *t, struct err *e);

#endif
