/* The bus's scenario: who deploys, publishes and waits. */
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/topic.h"
#include "sim/bus_sim.h"

enum { SETTLE_TURNS = 2400 };

static const int64_t far = INT64_C(10000000000000);

const char *const bus_sim_topics[TOPICS] = {"a.x.k.l.m.n", "a.y.k.l.m.n", "kept.z.k.l.m.n"};
const char *const bus_sim_groups[GROUPS] = {"g0", "g1", "g2", "late"};
/* What group `late` listens to is fed; the others may have any of these. */
static const char *const patterns[] = {"a.#", "a.x.#", "#", "a.y.#"};

/* ---- deploys ---- */

static bool hears(const char *pattern, int topic)
{
    return topic_matches(pattern, strlen(pattern), bus_sim_topics[topic],
                         strlen(bus_sim_topics[topic]));
}

static void deployed(struct unit *u)
{
    struct node *n = (struct node *)((char *)u - offsetof(struct node, deploy.unit));
    struct deploy *d = &n->deploys[n->deploys_count - 1];
    if (house_counts(&n->h) && u->err.code == 0)
        d->seq = u->seq;
    else if (house_counts(&n->h) && u->err.code != ERR_TIMEOUT)
        sim_fail("a deploy: %s", u->err.text);
    d->over = true;
    n->deploying = false;
    sim_event(n->h.sim, "deployed", "", u->seq, (uint64_t)-u->err.code);
    house_unit_fini(&n->deploy);
}

void bus_sim_deploy(struct node *n)
{
    struct err e = ERR_INIT;
    struct group_declared list[GROUPS];
    struct groups *set = NULL;
    size_t count = 0;
    if (n->deploying || n->deploys_count == DEPLOYS_MAX)
        return;
    struct deploy *d = &n->deploys[n->deploys_count++];
    AUTO(json_unref) json_t *start = json_pack("{s:s}", "start", "first");
    *d = (struct deploy){.seq = 0};
    for (int g = 0; g < GROUPS; g++) {
        bool late = g == GROUPS - 1;
        const char *pattern =
            late ? "kept.#" : patterns[sim_rand(n->h.sim, ARRAY_LEN(patterns) - 1 + (g == 0))];
        if (late ? sim_chance(n->h.sim, 30) : sim_chance(n->h.sim, 40))
            continue;
        list[count++] = (struct group_declared){.pattern = pattern,
                                                .group = bus_sim_groups[g],
                                                .file = "a.lua",
                                                .options = late ? start : NULL};
        for (int t = 0; t < TOPICS; t++)
            d->hears[g] |= (uint8_t)(hears(pattern, t) << t);
    }
    struct bus_topic kept = {
        .pattern = "kept.#", .retain_ms = INT64_C(86400) * 1000 * 365, .file = "a.lua"};
    house_unit_init(&n->h, &n->deploy, deployed);
    if (groups_build(list, count, &set, &e) != 0 ||
        bus_txn_groups(&n->deploy.unit.txn, BUS_SOURCE_SCRIPTS, set, &e) != 0 ||
        bus_txn_topics(&n->deploy.unit.txn, BUS_SOURCE_SCRIPTS, &kept, 1, &e) != 0)
        sim_fail("a deploy: %s", e.text);
    groups_free(set);
    n->deploying = true;
    if (ledger_propose(n->h.ledger, &n->deploy.unit, &e) != 0)
        sim_fail("propose: %s", e.text);
}

/* ---- publishers ---- */

static const char *key_of(const struct node *n, const struct message *m, char room[24])
{
    snprintf(room, 24, "%zu", (size_t)(m - n->messages));
    return room;
}

static void publisher_route(struct publisher *p);
static void publisher_send(struct publisher *p);

static void publisher_done(struct unit *u)
{
    struct publisher *p = (struct publisher *)((char *)u - offsetof(struct publisher, u.unit));
    struct node *n = p->node;
    struct message *m = p->message;
    int code = u->err.code;
    bool stale = code == ERR_CONFLICT && bus_is_stale(n->bus, p->route);
    if (house_counts(&n->h) && code == 0)
        m->seq = u->seq;
    else if (house_counts(&n->h) && code != ERR_TIMEOUT && !stale)
        sim_fail("a publish: %s", u->err.text);
    sim_event(n->h.sim, "published", bus_sim_topics[m->topic], u->seq, (uint64_t)-code);
    house_unit_fini(&p->u);
    bus_route_free(p->route);
    p->route = NULL;
    p->sent = false;
    if (stale && house_counts(&n->h)) {
        publisher_route(p);
        if (sim_chance(n->h.sim, 70))
            publisher_send(p);
        return;
    }
    m->over = true;
    p->message = NULL;
}

static void publisher_route(struct publisher *p)
{
    struct err e = ERR_INIT;
    if (bus_route(p->node->bus, "default", bus_sim_topics[p->message->topic], &p->route, &e) != 0)
        sim_fail("a route: %s", e.text);
}

static void publisher_send(struct publisher *p)
{
    struct node *n = p->node;
    struct err e = ERR_INIT;
    char key[24];
    struct bus_message m = {
        .id = p->message->id, .key = key_of(n, p->message, key), .body = "1", .body_len = 1};
    p->sent = true;
    house_unit_init(&n->h, &p->u, publisher_done);
    bus_txn_routes(&p->u.unit.txn, p->route);
    if (bus_txn_publish(&p->u.unit.txn, p->route, &m, &e) != 0 ||
        ledger_propose(n->h.ledger, &p->u.unit, &e) != 0)
        sim_fail("a publish: %s", e.text);
}

void bus_sim_publish(struct publisher *p)
{
    struct node *n = p->node;
    if (p->message != NULL && !p->sent && sim_chance(n->h.sim, 70))
        publisher_send(p);
    if (p->message != NULL || n->messages_count == MESSAGES_MAX || !sim_chance(n->h.sim, 80))
        return;
    p->message = &n->messages[n->messages_count++];
    *p->message = (struct message){
        .topic = sim_chance(n->h.sim, 50) ? TOPICS - 1 : (int)sim_rand(n->h.sim, TOPICS)};
    memcpy(p->message->id.b, &n->messages_count, sizeof n->messages_count);
    p->message->id.b[15] = 1;
    publisher_route(p);
}

/* ---- waits ---- */

static void waited(struct unit *u)
{
    struct node *n = (struct node *)((char *)u - offsetof(struct node, wait.unit));
    struct waiter *w = &n->waiters[n->waiters_count - 1];
    if (house_counts(&n->h) && u->err.code != 0 && u->err.code != ERR_TIMEOUT)
        sim_fail("a wait: %s", u->err.text);
    if (n->ending == NULL && house_counts(&n->h) && u->err.code == 0)
        w->seq = u->seq;
    sim_event(n->h.sim, "waits", w->pattern, u->seq, n->ending != NULL);
    n->ending = NULL;
    n->waiting = false;
    house_unit_fini(&n->wait);
}

/* One that is routed and not sent: a wait that comes between is what its condition is for. That no
 * other meets it shows whether it is missed. */
static const struct message *message_between(const struct node *n)
{
    for (int i = 0; i < PUBLISHERS; i++)
        if (n->publishers[i].message != NULL && !n->publishers[i].sent)
            return n->publishers[i].message;
    return NULL;
}

/* What was waited for once is known to who publishes; so there are many that match a topic, each
 * with other words left open. */
static void pattern_of(struct node *n, const struct message *m, struct waiter *w)
{
    size_t topic = m != NULL ? (size_t)m->topic : sim_rand(n->h.sim, TOPICS), len = 0;
    const char *word = bus_sim_topics[topic];
    while (*word != '\0') {
        size_t size = strcspn(word, ".");
        bool open = sim_chance(n->h.sim, 50);
        len += (size_t)snprintf(w->pattern + len, sizeof w->pattern - len, "%s%.*s",
                                len > 0 ? "." : "", open ? 1 : (int)size, open ? "*" : word);
        word += size + (word[size] == '.');
    }
}

/* The record and its wait are one unit. */
static int wait_begin(struct node *n, struct txn *t, struct err *e)
{
    char key[24];
    struct waiter *w = &n->waiters[n->waiters_count++];
    const struct message *only = sim_chance(n->h.sim, 70) ? message_between(n) : NULL;
    *w = (struct waiter){.only = only};
    pattern_of(n, only, w);
    memcpy(w->record.b, &n->waiters_count, sizeof n->waiters_count);
    w->record.b[15] = 2;
    struct queue_message m = {.send = {.queue = "sleep",
                                       .id = w->record,
                                       .run_at = far,
                                       .priority = CORE_PRIORITY,
                                       .create = true},
                              .body = "1",
                              .body_len = 1};
    struct bus_wait wait = {.record = w->record,
                            .name = "w",
                            .pattern = w->pattern,
                            .key = only != NULL ? key_of(n, only, key) : NULL,
                            .until = far};
    int rc = queue_txn_send(t, &m, e);
    return rc == 0 ? bus_txn_wait(t, &wait, e) : rc;
}

/* Not of one that is still to be woken: that is what is checked in the end. So few patterns are
 * waited for at a time, and the next is often new. */
static struct waiter *wait_to_end(struct node *n)
{
    for (size_t i = 0; i < n->waiters_count; i++) {
        struct waiter *w = &n->waiters[i];
        if (!w->ended && (w->woken || !bus_sim_is_met(n, w)))
            return w;
    }
    return NULL;
}

void bus_sim_wait(struct node *n)
{
    struct err e = ERR_INIT;
    int rc = 0;
    if (n->waiting || n->waiters_count == WAITERS_MAX)
        return;
    house_unit_init(&n->h, &n->wait, waited);
    struct waiter *over = sim_chance(n->h.sim, 50) ? wait_to_end(n) : NULL;
    if (over != NULL) {
        n->ending = over;
        n->ending->ended = true;
        bus_txn_wait_end(&n->wait.unit.txn, &n->ending->record, "w");
    } else {
        rc = wait_begin(n, &n->wait.unit.txn, &e);
    }
    n->waiting = true;
    if (rc != 0 || ledger_propose(n->h.ledger, &n->wait.unit, &e) != 0)
        sim_fail("a wait: %s", e.text);
}

/* ---- the end of what is under way ---- */

bool bus_sim_is_idle(const struct node *n)
{
    for (int i = 0; i < PUBLISHERS; i++)
        if (n->publishers[i].message != NULL)
            return false;
    return !n->deploying && !n->waiting;
}

void bus_sim_settle(struct node *n)
{
    for (int i = 0; i < SETTLE_TURNS && !bus_sim_is_idle(n); i++) {
        for (int k = 0; k < PUBLISHERS; k++)
            if (n->publishers[k].message != NULL && !n->publishers[k].sent)
                publisher_send(&n->publishers[k]);
        sim_run(n->h.sim, 50);
    }
    if (!bus_sim_is_idle(n))
        sim_fail("somebody has no answer after two minutes");
}
