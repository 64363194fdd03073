/* The bus's scenario: what must hold. */
#include <string.h>

#include "base/err.h"
#include "base/topic.h"
#include "db/db.h"
#include "sim/bus_sim.h"

struct check {
    struct queue_ask ask;
    struct node *node;
    uint64_t fed;
    bool done;
};

/* Which groups have it, a bit for each; bit GROUPS: it is in `unrouted`. */
static unsigned who_has(const struct core *c, const struct message *m)
{
    struct core_view v;
    unsigned has = 0;
    if (core_look(c, &m->id, &v, NULL) == 0) {
        if (strcmp(v.queue, UNROUTED_QUEUE) == 0) {
            if (v.state != REC_DISCARDED || v.reason != REASON_NO_SUBSCRIBER)
                sim_fail("B2: a message is in 'unrouted' for another reason");
            has |= 1u << GROUPS;
        }
        for (unsigned g = 0; g < GROUPS; g++)
            if (strcmp(v.queue, BUS_QUEUE_PREFIX) > 0 &&
                strcmp(v.queue + strlen(BUS_QUEUE_PREFIX), bus_sim_groups[g]) == 0)
                has |= 1u << g;
    }
    for (unsigned g = 0; g < GROUPS; g++) {
        struct uuid id;
        bus_record_id(&m->id, bus_sim_groups[g], &id);
        if (core_look(c, &id, &v, NULL) != 0)
            continue;
        if ((has & (1u << g)) != 0)
            sim_fail("B1: group %s has a message twice", bus_sim_groups[g]);
        has |= 1u << g;
    }
    return has;
}

/* Of a deploy: who should have it. What `late` gets is fed or not; its count is checked. Before the
 * first deploy nothing is retained. */
static bool is_right(const struct node *n, size_t at, const struct message *m, unsigned has)
{
    const struct deploy *d = &n->deploys[at];
    unsigned want = 0, late = 1u << (GROUPS - 1);
    bool kept = at > 0 && m->topic == TOPICS - 1;
    for (unsigned g = 0; g < GROUPS; g++)
        if ((d->hears[g] >> m->topic & 1) != 0)
            want |= 1u << g;
    if (want == 0 && !kept)
        want = 1u << GROUPS;
    return (want & ~late) == (has & ~late) && (kept || (want & late) == (has & late));
}

/* Deploys that may be the last before it. */
static bool may_be_of(const struct node *n, size_t d, const struct message *m)
{
    if (n->deploys[d].seq > m->seq && m->seq != 0)
        return false;
    for (size_t later = d + 1; later < n->deploys_count; later++)
        if (n->deploys[later].seq != 0 && n->deploys[later].seq < m->seq)
            return false;
    return true;
}

static void check_message(const struct node *n, const struct core *c, const struct message *m)
{
    unsigned has = who_has(c, m);
    if (m->seq == 0 && has == 0)
        return;
    for (size_t d = 0; d < n->deploys_count; d++)
        if (may_be_of(n, d, m) && is_right(n, d, m, has))
            return;
    sim_fail("B1: message %lld of %s, entry %llu: groups %x have it, which no deploy says",
             (long long)(m - n->messages) + 1, bus_sim_topics[m->topic], (unsigned long long)m->seq,
             has);
}

static void check_ask(struct queue_ask *a, const struct core *c)
{
    struct check *k = (struct check *)a;
    struct core_counts counts;
    for (size_t i = 0; i < k->node->messages_count; i++)
        if (k->node->messages[i].over)
            check_message(k->node, c, &k->node->messages[i]);
    if (core_counts(c, "default", "group.late", &counts, NULL) == 0)
        k->fed = counts.available;
}

static void check_done(struct queue_ask *a)
{
    ((struct check *)a)->done = true;
}

static bool check_is_done(void *arg)
{
    return ((struct check *)arg)->done;
}

uint64_t bus_sim_check(struct node *n)
{
    struct check k = {.ask = {.home = sim_client(n->h.sim), .ask = check_ask, .done = check_done},
                      .node = n};
    uint64_t scan = 0;
    struct err e = ERR_INIT;
    queues_ask(n->queues, &k.ask);
    if (!sim_run_until(n->h.sim, check_is_done, &k, 60000))
        sim_fail("the core does not answer");
    if (bus_sim_is_idle(n) && (db_hash_scan(n->h.db, &scan, &e) != 0 || scan != db_hash(n->h.db)))
        sim_fail("the running state hash is not that of the rows %s", e.text);
    sim_event(n->h.sim, "checked", "", k.fed, n->messages_count);
    return k.fed;
}

static bool feed_is_over(void *arg)
{
    return !((struct node *)arg)->bus->routes->feeding;
}

/* `late` listens again, and has each retained message once. */
void bus_sim_check_fed(struct node *n)
{
    do {
        bus_sim_deploy(n);
        bus_sim_settle(n);
    } while (n->deploys[n->deploys_count - 1].hears[GROUPS - 1] == 0 &&
             n->deploys_count < DEPLOYS_MAX);
    if (n->deploys[n->deploys_count - 1].hears[GROUPS - 1] == 0)
        return;
    if (!sim_run_until(n->h.sim, feed_is_over, n, 120000))
        sim_fail("a feed does not end");
    uint64_t rows = (uint64_t)house_number(&n->h, "SELECT count(*) FROM bus_retained", NULL);
    uint64_t fed = bus_sim_check(n);
    if (fed != rows)
        sim_fail("B2: of %llu retained messages group late has %llu", (unsigned long long)rows,
                 (unsigned long long)fed);
}

bool bus_sim_is_met(const struct node *n, const struct waiter *w)
{
    if (w->only != NULL)
        return w->only->seq > w->seq;
    for (size_t i = 0; i < n->messages_count; i++) {
        const char *topic = bus_sim_topics[n->messages[i].topic];
        if (n->messages[i].seq > w->seq &&
            topic_matches(w->pattern, strlen(w->pattern), topic, strlen(topic)))
            return true;
    }
    return false;
}

static void waits_ask(struct queue_ask *a, const struct core *c)
{
    struct check *k = (struct check *)a;
    struct core_view v;
    for (size_t i = 0; i < k->node->waiters_count; i++) {
        const struct waiter *w = &k->node->waiters[i];
        if (w->seq == 0 || w->ended || !bus_sim_is_met(k->node, w))
            continue;
        if (core_look(c, &w->record, &v, NULL) != 0 || v.state != REC_AVAILABLE)
            sim_fail("B2: record %zu waits for %s since entry %llu, and its message came", i + 1,
                     w->pattern, (unsigned long long)w->seq);
        k->fed++;
    }
}

static void woken_ask(struct queue_ask *a, const struct core *c)
{
    struct check *k = (struct check *)a;
    struct core_view v;
    for (size_t i = 0; i < k->node->waiters_count; i++) {
        struct waiter *w = &k->node->waiters[i];
        w->woken =
            w->woken || (core_look(c, &w->record, &v, NULL) == 0 && v.state == REC_AVAILABLE);
    }
}

void bus_sim_look_waits(struct node *n)
{
    struct check k = {.ask = {.home = sim_client(n->h.sim), .ask = woken_ask, .done = check_done},
                      .node = n};
    queues_ask(n->queues, &k.ask);
    if (!sim_run_until(n->h.sim, check_is_done, &k, 60000))
        sim_fail("the core does not answer");
}

/* Those whose message came have been woken. */
void bus_sim_check_waits(struct node *n)
{
    struct check k = {.ask = {.home = sim_client(n->h.sim), .ask = waits_ask, .done = check_done},
                      .node = n};
    sim_run(n->h.sim, 5000);
    queues_ask(n->queues, &k.ask);
    if (!sim_run_until(n->h.sim, check_is_done, &k, 60000))
        sim_fail("the core does not answer");
    sim_event(n->h.sim, "woken", "", k.fed, n->waiters_count);
}
