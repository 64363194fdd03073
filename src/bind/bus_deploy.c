/* Bringing what a set declares of topics to the routes that are there: nothing is written where
 * nothing changes. The queues of groups come with all others (queue_deploy.c), in the same unit;
 * the queue of a group that is declared no more stays with what is in it, and is told that nobody
 * works it: of one whose group was worked by a consumer of its own, batches and webhooks, the
 * declaration of the queue does not say so. */
#include "base/mem.h"
#include "bind/bus_lib.h"
#include "queue/queue.h"

static void group_gone(void *t, const char *queue)
{
    queue_txn_abandon(t, queue);
}

int bind_bus_add(struct bus *bus, const struct bind_set *s, struct txn *t, struct err *e)
{
    static const char tenant[] = "default";
    const struct groups *groups = s->bus != NULL ? s->bus->groups : NULL;
    size_t count = s->bus != NULL ? s->bus->topics_count : 0;
    if (bus == NULL)
        return 0;
    AUTO(mem_freep) struct bus_topic *topics = mem_new_array(count + 1, sizeof *topics);
    for (size_t i = 0; i < count; i++)
        topics[i] = s->bus->topics[i].t;
    if (!bus_groups_are(bus, tenant, BUS_SOURCE_SCRIPTS, groups)) {
        if (bus_txn_groups(t, BUS_SOURCE_SCRIPTS, groups, e) != 0)
            return e->code;
        bus_groups_gone(bus, tenant, BUS_SOURCE_SCRIPTS, groups, group_gone, t);
    }
    if (!bus_topics_are(bus, tenant, BUS_SOURCE_SCRIPTS, topics, count) &&
        bus_txn_topics(t, BUS_SOURCE_SCRIPTS, topics, count, e) != 0)
        return e->code;
    return 0;
}
