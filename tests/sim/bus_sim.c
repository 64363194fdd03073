/* Topics on a disk that forgets, while deploys change who listens.
 *
 * Publishers route a message, propose it, and route it again when a deploy came between; one client
 * deploys sets of groups, among them one that is fed with retained messages and comes and goes.
 * The node freezes at some I/O, is killed or loses power, and opens again.
 *
 * Guarantees: B1 B2.
 *   B1. a message that was acknowledged has one record in each group that matched where it stands
 *       in the log, and none in any other; one that was not has them all or none;
 *   B2. without a group it is in `unrouted`, discarded as no_subscriber; a group that is fed gets
 *       each retained message once, however often it was cut off; a record that waits for a topic
 *       is woken by a message that stands behind its wait in the log. */
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/topic.h"
#include "bus/bus_priv.h"
#include "crypt/crypt.h"
#include "db/db.h"
#include "queue/queue.h"
#include "sim/scenario.h"
#include "support/sim_ledger.h"
#include "support/simdisk.h"
#include "support/simworld.h"

enum {
    LIVES = 4,
    PUBLISHERS = 4,
    GROUPS = 4,
    TOPICS = 3, /* the last is retained */
    MESSAGES_MAX = 1500,
    DEPLOYS_MAX = 400,
    WAITERS_MAX = 300,
    TURN_MS = 4,
    SETTLE_TURNS = 2400,
};

static const int64_t far = INT64_C(10000000000000);

static const char *const topics[TOPICS] = {"a.x", "a.y", "kept.z"};
static const char *const groups[GROUPS] = {"g0", "g1", "g2", "late"};
/* What group `late` listens to is fed; the others may have any of these. */
static const char *const patterns[] = {"a.*", "a.x", "#", "a.y"};

/* What records wait for: the fewer have the same, the more often one is new. */
static const char *const awaited[] = {"a.x", "a.y", "kept.z", "*.x", "*.y", "kept.*",
                                      "a.*", "#",   "a.#",    "*.*", "*.z", "kept.#"};

/* Who listens, behind one deploy: a bit for each topic. */
struct deploy {
    uint64_t seq; /* 0: not acknowledged */
    uint8_t hears[GROUPS];
    bool over;
};
struct message {
    struct uuid id;
    int topic;
    uint64_t seq; /* 0: not acknowledged */
    bool over;    /* nothing of it is under way */
};

struct waiter {
    struct uuid record;
    const char *pattern;
    uint64_t seq; /* 0: not acknowledged */
    bool ended;   /* or may be */
};

struct node;
struct publisher {
    struct node *node;
    struct message *message; /* under way */
    struct bus_route *route;
    bool sent; /* else it has only looked who listens */
    struct unit unit;
};
struct node {
    struct sim *sim;
    struct simdisk *disk;
    struct ledger_options options;
    struct queues *queues;
    struct bus *bus;
    struct ledger *ledger;
    struct db *db;
    struct publisher publishers[PUBLISHERS];
    struct message *messages;
    struct deploy *deploys; /* the first: nobody listens */
    size_t messages_count, deploys_count;
    bool deploying, waiting;
    struct unit deploy, wait;
    struct waiter *waiters, *ending; /* `ending`: that one, under way */
    size_t waiters_count;
};

static bool node_counts(const struct node *n)
{
    return !sim_is_frozen(n->sim);
}

/* ---- the node ---- */

static int node_opened(void *self, struct db *db, struct err *e)
{
    (void)e;
    ((struct node *)self)->db = db;
    return 0;
}

static void node_open(struct node *n)
{
    struct err e = ERR_INIT;
    n->queues = queues_new();
    n->bus = bus_new();
    struct domain domains[] = {*queues_domain(n->queues),
                               *bus_domain(n->bus),
                               {.name = "tap", .self = n, .opened = node_opened}};
    sim_note(n->sim, "open");
    if (ledger_open(&n->options, sim_world(n->sim), domains, ARRAY_LEN(domains), &n->ledger, &e) !=
        0)
        sim_fail("does not open: %s", e.text);
    queues_start(n->queues, n->ledger, sim_world(n->sim), "sim");
    bus_start(n->bus, n->ledger, sim_world(n->sim));
}

static bool node_is_idle(void *arg)
{
    struct node *n = arg;
    for (int i = 0; i < PUBLISHERS; i++)
        if (n->publishers[i].message != NULL)
            return false;
    return !n->deploying && !n->waiting;
}

static void publisher_send(struct publisher *p);

/* What is under way comes to its end. */
static void node_settle(struct node *n)
{
    for (int i = 0; i < SETTLE_TURNS && !node_is_idle(n); i++) {
        for (int k = 0; k < PUBLISHERS; k++)
            if (n->publishers[k].message != NULL && !n->publishers[k].sent)
                publisher_send(&n->publishers[k]);
        sim_run(n->sim, 50);
    }
    if (!node_is_idle(n))
        sim_fail("somebody has no answer after two minutes");
}

static void node_close(struct node *n)
{
    sim_note(n->sim, "close");
    node_settle(n);
    bus_stop(n->bus);
    queues_stop(n->queues);
    if (!sim_ledger_close(n->sim, n->ledger))
        sim_fail("the ledger does not close");
    sim_run(n->sim, 5);
    bus_free(n->bus);
    queues_free(n->queues);
    n->db = NULL;
}

/* ---- deploys ---- */

static bool hears(const char *pattern, int topic)
{
    return topic_matches(pattern, strlen(pattern), topics[topic], strlen(topics[topic]));
}

static void deployed(struct unit *u)
{
    struct node *n = (struct node *)((char *)u - offsetof(struct node, deploy));
    struct deploy *d = &n->deploys[n->deploys_count - 1];
    if (node_counts(n) && u->err.code == 0)
        d->seq = u->seq;
    else if (node_counts(n) && u->err.code != ERR_TIMEOUT)
        sim_fail("a deploy: %s", u->err.text);
    d->over = true;
    n->deploying = false;
    sim_event(n->sim, "deployed", "", u->seq, (uint64_t)-u->err.code);
    unit_fini(u);
}

static void node_deploy(struct node *n)
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
            late ? "kept.#" : patterns[sim_rand(n->sim, ARRAY_LEN(patterns) - 1 + (g == 0))];
        if (late ? sim_chance(n->sim, 30) : sim_chance(n->sim, 40))
            continue;
        list[count++] = (struct group_declared){.pattern = pattern,
                                                .group = groups[g],
                                                .file = "a.lua",
                                                .options = late ? start : NULL};
        for (int t = 0; t < TOPICS; t++)
            d->hears[g] |= (uint8_t)(hears(pattern, t) << t);
    }
    struct bus_topic kept = {
        .pattern = "kept.*", .retain_ms = INT64_C(86400) * 1000 * 365, .file = "a.lua"};
    unit_init(&n->deploy, sim_client(n->sim), deployed);
    if (groups_build(list, count, &set, &e) != 0 ||
        bus_txn_groups(&n->deploy.txn, BUS_SOURCE_SCRIPTS, set, &e) != 0 ||
        bus_txn_topics(&n->deploy.txn, BUS_SOURCE_SCRIPTS, &kept, 1, &e) != 0)
        sim_fail("a deploy: %s", e.text);
    groups_free(set);
    n->deploying = true;
    if (ledger_propose(n->ledger, &n->deploy, &e) != 0)
        sim_fail("propose: %s", e.text);
}

/* ---- publishers ---- */

static void publisher_route(struct publisher *p);

static void publisher_done(struct unit *u)
{
    struct publisher *p = (struct publisher *)((char *)u - offsetof(struct publisher, unit));
    struct node *n = p->node;
    struct message *m = p->message;
    int code = u->err.code;
    bool stale = code == ERR_CONFLICT && bus_is_stale(n->bus, p->route);
    if (node_counts(n) && code == 0)
        m->seq = u->seq;
    else if (node_counts(n) && code != ERR_TIMEOUT && !stale)
        sim_fail("a publish: %s", u->err.text);
    sim_event(n->sim, "published", topics[m->topic], u->seq, (uint64_t)-code);
    unit_fini(u);
    bus_route_unref(p->route);
    p->route = NULL;
    p->sent = false;
    if (stale && node_counts(n)) {
        publisher_route(p);
        if (sim_chance(n->sim, 70))
            publisher_send(p);
        return;
    }
    m->over = true;
    p->message = NULL;
}

static void publisher_route(struct publisher *p)
{
    struct err e = ERR_INIT;
    if (bus_route(p->node->bus, "default", topics[p->message->topic], &p->route, &e) != 0)
        sim_fail("a route: %s", e.text);
}

static void publisher_send(struct publisher *p)
{
    struct node *n = p->node;
    struct err e = ERR_INIT;
    struct bus_message m = {.id = p->message->id, .body = "1", .body_len = 1};
    p->sent = true;
    unit_init(&p->unit, sim_client(n->sim), publisher_done);
    bus_txn_routes(&p->unit.txn, p->route);
    if (bus_txn_publish(&p->unit.txn, p->route, &m, &e) != 0 ||
        ledger_propose(n->ledger, &p->unit, &e) != 0)
        sim_fail("a publish: %s", e.text);
}

static void publisher_turn(struct publisher *p)
{
    struct node *n = p->node;
    if (p->message != NULL && !p->sent && sim_chance(n->sim, 70))
        publisher_send(p);
    if (p->message != NULL || n->messages_count == MESSAGES_MAX || !sim_chance(n->sim, 80))
        return;
    p->message = &n->messages[n->messages_count++];
    *p->message = (struct message){.topic = sim_chance(n->sim, 50) ? TOPICS - 1
                                                                   : (int)sim_rand(n->sim, TOPICS)};
    memcpy(p->message->id.b, &n->messages_count, sizeof n->messages_count);
    p->message->id.b[15] = 1;
    publisher_route(p);
}

/* ---- waits ---- */

static void waited(struct unit *u)
{
    struct node *n = (struct node *)((char *)u - offsetof(struct node, wait));
    struct waiter *w = &n->waiters[n->waiters_count - 1];
    if (node_counts(n) && u->err.code != 0 && u->err.code != ERR_TIMEOUT)
        sim_fail("a wait: %s", u->err.text);
    if (n->ending == NULL && node_counts(n) && u->err.code == 0)
        w->seq = u->seq;
    sim_event(n->sim, "waits", w->pattern, u->seq, n->ending != NULL);
    n->ending = NULL;
    n->waiting = false;
    unit_fini(u);
}

/* The record and its wait are one unit. */
static int wait_begin(struct node *n, struct txn *t, struct err *e)
{
    struct waiter *w = &n->waiters[n->waiters_count++];
    *w = (struct waiter){.pattern = awaited[sim_rand(n->sim, ARRAY_LEN(awaited))]};
    memcpy(w->record.b, &n->waiters_count, sizeof n->waiters_count);
    w->record.b[15] = 2;
    struct queue_message m = {.send = {.queue = "sleep",
                                       .id = w->record,
                                       .run_at = far,
                                       .priority = CORE_PRIORITY,
                                       .create = true},
                              .body = "1",
                              .body_len = 1};
    struct bus_wait wait = {.record = w->record, .name = "w", .pattern = w->pattern, .until = far};
    int rc = queue_txn_send(t, &m, e);
    return rc == 0 ? bus_txn_wait(t, &wait, e) : rc;
}

static void node_wait(struct node *n)
{
    struct err e = ERR_INIT;
    int rc = 0;
    if (n->waiting || n->waiters_count == WAITERS_MAX)
        return;
    unit_init(&n->wait, sim_client(n->sim), waited);
    if (n->waiters_count > 0 && sim_chance(n->sim, 60)) {
        n->ending = &n->waiters[sim_rand(n->sim, n->waiters_count)];
        n->ending->ended = true;
        bus_txn_wait_end(&n->wait.txn, &n->ending->record, "w");
    } else {
        rc = wait_begin(n, &n->wait.txn, &e);
    }
    n->waiting = true;
    if (rc != 0 || ledger_propose(n->ledger, &n->wait, &e) != 0)
        sim_fail("a wait: %s", e.text);
}

/* ---- checks ---- */

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
                strcmp(v.queue + strlen(BUS_QUEUE_PREFIX), groups[g]) == 0)
                has |= 1u << g;
    }
    for (unsigned g = 0; g < GROUPS; g++) {
        struct uuid id;
        bus_record_id(&m->id, groups[g], &id);
        if (core_look(c, &id, &v, NULL) != 0)
            continue;
        if ((has & (1u << g)) != 0)
            sim_fail("B1: group %s has a message twice", groups[g]);
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
             (long long)(m - n->messages) + 1, topics[m->topic], (unsigned long long)m->seq, has);
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

static uint64_t node_check(struct node *n)
{
    struct check k = {.ask = {.home = sim_client(n->sim), .ask = check_ask, .done = check_done},
                      .node = n};
    uint64_t scan = 0;
    struct err e = ERR_INIT;
    queues_ask(n->queues, &k.ask);
    if (!sim_run_until(n->sim, check_is_done, &k, 60000))
        sim_fail("the core does not answer");
    if (node_is_idle(n) && (db_hash_scan(n->db, &scan, &e) != 0 || scan != db_hash(n->db)))
        sim_fail("the running state hash is not that of the rows %s", e.text);
    sim_event(n->sim, "checked", "", k.fed, n->messages_count);
    return k.fed;
}

static bool feed_is_over(void *arg)
{
    return !((struct node *)arg)->bus->routes->feeding;
}

/* `late` listens again, and has each retained message once. */
static void check_fed(struct node *n)
{
    struct err e = ERR_INIT;
    do {
        node_deploy(n);
        node_settle(n);
    } while (n->deploys[n->deploys_count - 1].hears[GROUPS - 1] == 0 &&
             n->deploys_count < DEPLOYS_MAX);
    if (n->deploys[n->deploys_count - 1].hears[GROUPS - 1] == 0)
        return;
    if (!sim_run_until(n->sim, feed_is_over, n, 120000))
        sim_fail("a feed does not end");
    struct db_stmt *s = db_stmt_get(n->db, "SELECT count(*) FROM bus_retained", &e);
    if (s == NULL || db_step(s, &e) != 1)
        sim_fail("%s", e.text);
    uint64_t rows = (uint64_t)db_col_int(s, 0);
    db_stmt_done(s);
    uint64_t fed = node_check(n);
    if (fed != rows)
        sim_fail("B2: of %llu retained messages group late has %llu", (unsigned long long)rows,
                 (unsigned long long)fed);
}

static bool is_met(const struct node *n, const struct waiter *w)
{
    for (size_t i = 0; i < n->messages_count; i++) {
        const char *topic = topics[n->messages[i].topic];
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
        if (w->seq == 0 || w->ended || !is_met(k->node, w))
            continue;
        if (core_look(c, &w->record, &v, NULL) != 0 || v.state != REC_AVAILABLE)
            sim_fail("B2: record %zu waits for %s since entry %llu, and its message came", i + 1,
                     w->pattern, (unsigned long long)w->seq);
        k->fed++;
    }
}

/* Those whose message came have been woken. */
static void check_waits(struct node *n)
{
    struct check k = {.ask = {.home = sim_client(n->sim), .ask = waits_ask, .done = check_done},
                      .node = n};
    sim_run(n->sim, 5000);
    queues_ask(n->queues, &k.ask);
    if (!sim_run_until(n->sim, check_is_done, &k, 60000))
        sim_fail("the core does not answer");
    sim_event(n->sim, "woken", "", k.fed, n->waiters_count);
}

/* ---- lives ---- */

static void node_live(struct node *n)
{
    for (uint64_t turns = 20 + sim_rand(n->sim, 400); turns > 0 && node_counts(n); turns--) {
        for (int i = 0; i < PUBLISHERS; i++)
            publisher_turn(&n->publishers[i]);
        if (sim_chance(n->sim, 8))
            node_deploy(n);
        if (sim_chance(n->sim, 20))
            node_wait(n);
        sim_run(n->sim, 1 + sim_rand(n->sim, TURN_MS));
        if (sim_chance(n->sim, 4) && node_counts(n))
            node_check(n);
    }
}

static void node_life(struct node *n)
{
    if (sim_chance(n->sim, 80))
        simdisk_freeze_after(n->disk, 1 + sim_rand(n->sim, sim_chance(n->sim, 20) ? 100 : 2000));
    node_open(n);
    node_live(n);
    if (sim_chance(n->sim, 70))
        sim_freeze(n->sim, "end of life");
    node_close(n);
    if (sim_died_of(n->sim) != NULL)
        sim_fail("the node died on a healthy disk: %s", sim_died_of(n->sim));
    sim_freeze(n->sim, "gone");
    sim_crash(n->sim, sim_chance(n->sim, 30) ? SIM_KILL : SIM_POWER_CUT);
}

static void node_init(struct node *n, uint64_t seed, FILE *trace)
{
    struct err e = ERR_INIT;
    *n = (struct node){.sim = sim_new(seed, trace)};
    if (crypt_start(&e) != 0)
        sim_fail("%s", e.text);
    n->disk = sim_disk(n->sim);
    n->messages = mem_new_array(MESSAGES_MAX, sizeof *n->messages);
    n->deploys = mem_new_array(DEPLOYS_MAX, sizeof *n->deploys);
    n->deploys[0] = (struct deploy){.seq = 1, .over = true};
    n->deploys_count = 1;
    n->waiters = mem_new_array(WAITERS_MAX, sizeof *n->waiters);
    for (int i = 0; i < PUBLISHERS; i++)
        n->publishers[i].node = n;
    n->options = (struct ledger_options){
        .dir = "data",
        .vfs = "sim",
        .exclusive = true,
        .segment_bytes = 64 << 10,
        .snapshot_bytes = 50000 + sim_rand(n->sim, 400000),
        .snapshot_entries = 5 + sim_rand(n->sim, 100),
        .keep_ms = 1,
        .keep_bytes = 1,
    };
    if (db_vfs_register("sim", sim_world(n->sim)->disk, &e) != 0)
        sim_fail("%s", e.text);
}

uint64_t bus_sim(uint64_t seed, FILE *trace)
{
    struct node n;
    node_init(&n, seed, trace);
    for (uint64_t lives = 1 + sim_rand(n.sim, LIVES); lives > 0; lives--)
        node_life(&n);
    node_open(&n);
    node_live(&n);
    node_settle(&n);
    node_check(&n);
    check_fed(&n);
    check_waits(&n);
    node_close(&n);
    uint64_t hash = sim_trace_hash(n.sim);
    db_vfs_unregister("sim");
    mem_free(n.messages);
    mem_free(n.deploys);
    mem_free(n.waiters);
    sim_free(n.sim);
    return hash;
}
