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
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "crypt/crypt.h"
#include "sim/bus_sim.h"

enum { LIVES = 4, TURN_MS = 4 };

static void node_open(struct house *h)
{
    struct node *n = (struct node *)h;
    n->queues = queues_new();
    n->bus = bus_new();
    struct domain domains[] = {*queues_domain(n->queues), *bus_domain(n->bus), house_rows(h)};
    house_open(h, domains, ARRAY_LEN(domains));
    queues_start(n->queues, h->ledger, sim_world(h->sim), "sim");
    bus_start(n->bus, h->ledger, sim_world(h->sim));
}

static void node_close(struct house *h)
{
    struct node *n = (struct node *)h;
    sim_note(h->sim, "close");
    bus_sim_settle(n);
    bus_stop(n->bus);
    queues_stop(n->queues);
    house_close(h);
    bus_free(n->bus);
    queues_free(n->queues);
}

static void node_live(struct house *h)
{
    struct node *n = (struct node *)h;
    for (uint64_t turns = 20 + sim_rand(n->h.sim, 400); turns > 0 && house_counts(&n->h); turns--) {
        for (int i = 0; i < PUBLISHERS; i++)
            bus_sim_publish(&n->publishers[i]);
        if (sim_chance(n->h.sim, 8))
            bus_sim_deploy(n);
        if (sim_chance(n->h.sim, 20))
            bus_sim_wait(n);
        sim_run(n->h.sim, 1 + sim_rand(n->h.sim, TURN_MS));
        if (sim_chance(n->h.sim, 4) && house_counts(&n->h))
            bus_sim_check(n);
        if (sim_chance(n->h.sim, 10) && house_counts(&n->h))
            bus_sim_look_waits(n);
    }
}

static void node_init(struct node *n, uint64_t seed, FILE *trace)
{
    static const struct house_files files = {.segment_bytes = 64 << 10,
                                             .snapshot_bytes = 50000,
                                             .snapshot_more = 400000,
                                             .snapshot_entries = 100,
                                             .keep_bytes = 1};
    struct err e = ERR_INIT;
    if (crypt_start(&e) != 0)
        sim_fail("%s", e.text);
    *n = (struct node){.deploying = false};
    house_init(&n->h, seed, trace, &files);
    n->messages = mem_new_array(MESSAGES_MAX, sizeof *n->messages);
    n->deploys = mem_new_array(DEPLOYS_MAX, sizeof *n->deploys);
    n->deploys[0] = (struct deploy){.seq = 1, .over = true};
    n->deploys_count = 1;
    n->waiters = mem_new_array(WAITERS_MAX, sizeof *n->waiters);
    for (int i = 0; i < PUBLISHERS; i++)
        n->publishers[i].node = n;
}

uint64_t bus_sim(uint64_t seed, FILE *trace)
{
    static const struct house_life life = {
        .soon = 100, .late = 2000, .open = node_open, .live = node_live, .close = node_close};
    struct node n;
    node_init(&n, seed, trace);
    for (uint64_t lives = 1 + sim_rand(n.h.sim, LIVES); lives > 0; lives--)
        house_life(&n.h, &life);
    node_open(&n.h);
    node_live(&n.h);
    bus_sim_settle(&n);
    bus_sim_check(&n);
    bus_sim_check_fed(&n);
    bus_sim_check_waits(&n);
    node_close(&n.h);
    mem_free(n.messages);
    mem_free(n.deploys);
    mem_free(n.waiters);
    return house_fini(&n.h);
}
