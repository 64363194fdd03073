/* Leases and inbox keys on a disk that forgets, with clocks that are set and holders that die.
 *
 * Clients outlive the node: they ask for leases, wait for them, renew, do work under them, fall
 * silent, begin messages and process them. The node freezes at some I/O, is killed or loses power,
 * stays away for a while, and opens again; its clock is set ahead and back.
 *
 * Guarantees: K1 K2 K3 L4.
 *   K1. at every look a lease has at most one holder; no two grants have one token, and a token is
 *       the log index of its grant, so tokens grow;
 *   K2. a client that renews in time is never fenced: not by a restart, not by a clock;
 *   K3. a key is begun by one at a time and, once processed, by nobody; the work is done once;
 *   L4. in the order of the log, units under a lease have tokens that never go back: one whose
 *       holder was replaced changed nothing. */
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "db/db.h"
#include "sim/coord_sim.h"

enum { LIVES = 5, TURN_MS = 150, AWAY_MAX_S = 40, ANSWER_MS = 120 * 1000 };

/* ---- the node ---- */

static bool clients_are_idle(void *arg)
{
    struct node *n = arg;
    for (int i = 0; i < CLIENTS; i++)
        if (n->clients[i].sent != SENT_NOTHING || n->clients[i].waits)
            return false;
    return true;
}

static void node_settle(struct node *n)
{
    if (!sim_run_until(n->h.sim, clients_are_idle, n, ANSWER_MS))
        sim_fail("a client has no answer after two minutes");
}

static void node_open(struct house *h)
{
    struct node *n = (struct node *)h;
    n->coord = coord_new();
    struct domain domains[] = {*coord_domain(n->coord), house_rows(h)};
    house_open(h, domains, ARRAY_LEN(domains));
    coord_start(n->coord, h->ledger, sim_world(h->sim));
    n->opened_ns = sim_now_ns(h->sim);
}

static void node_close(struct house *h)
{
    struct node *n = (struct node *)h;
    sim_note(h->sim, "close");
    coord_drain(n->coord);
    node_settle(n);
    coord_stop(n->coord);
    house_close(h);
    coord_free(n->coord);
}

/* ---- checks ---- */

static void node_check(struct node *n)
{
    static const struct {
        const char *sql, *what;
    } rules[] = {
        {"SELECT count(*) FROM (SELECT 1 FROM coord_claims WHERE token > 0 GROUP BY tenant, name "
         "HAVING count(*) > 1)",
         "K1: a lease has two holders"},
        {"SELECT count(*) FROM coord_locks AS l WHERE held <> (SELECT count(*) FROM coord_claims "
         "AS c WHERE c.tenant = l.tenant AND c.name = l.name AND token > 0) OR waiting <> (SELECT "
         "count(*) FROM coord_claims AS c WHERE c.tenant = l.tenant AND c.name = l.name AND token "
         "= 0) OR (held = 0 AND waiting = 0)",
         "a lock does not count its claims"},
        {"SELECT count(*) FROM coord_claims AS c WHERE NOT EXISTS (SELECT 1 FROM coord_locks AS l "
         "WHERE c.tenant = l.tenant AND c.name = l.name)",
         "a claim has no lock"},
        {"SELECT count(*) FROM coord_locks WHERE held = 0", "nobody has what somebody waits for"},
        {"SELECT count(*) FROM coord_counters WHERE name LIKE 'm%' AND value > 1",
         "K3: a message was worked twice"},
        {"SELECT count(*) FROM coord_use AS u WHERE what = 1 AND used <> (SELECT count(*) FROM "
         "coord_claims AS c WHERE c.tenant = u.tenant)",
         "claims are counted wrongly"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rules); i++)
        if (house_number(&n->h, rules[i].sql, NULL) != 0)
            sim_fail("%s", rules[i].what);
    uint64_t scan = 0;
    struct err e = ERR_INIT;
    if (db_hash_scan(n->h.db, &scan, &e) != 0 || scan != db_hash(n->h.db))
        sim_fail("the running state hash is not that of the rows %s", e.text);
    sim_event(n->h.sim, "checked", "", scan, 0);
}

static int note_order(const void *a, const void *b)
{
    const struct note *x = a, *y = b;
    return x->seq < y->seq ? -1 : x->seq > y->seq;
}

static void check_works(struct node *n)
{
    uint64_t last[NAMES] = {0}, count[NAMES] = {0};
    qsort(n->works, n->works_count, sizeof *n->works, note_order);
    for (size_t i = 0; i < n->works_count; i++) {
        const struct note *w = &n->works[i];
        if (w->token < last[w->name])
            sim_fail("L4: work under token %llu was done after work under %llu",
                     (unsigned long long)w->token, (unsigned long long)last[w->name]);
        last[w->name] = w->token;
        count[w->name]++;
    }
    for (int i = 0; i < NAMES; i++) {
        char name[24];
        snprintf(name, sizeof name, "lease-%d", i);
        int64_t done =
            house_number(&n->h, "SELECT value FROM coord_counters WHERE name = ?1", name);
        if (n->works_count < NOTES_MAX && (uint64_t)done < count[i])
            sim_fail("acknowledged work under %s is lost", name);
    }
    for (int i = 0; i < KEYS; i++) {
        char key[24];
        snprintf(key, sizeof key, "m%d", i);
        if (n->processed_seq[i] != 0 &&
            house_number(&n->h, "SELECT value FROM coord_counters WHERE name = ?1", key) != 1)
            sim_fail("K3: message %d was processed, and its work is not there once", i);
    }
}

/* ---- lives ---- */

static void node_live(struct house *h)
{
    struct node *n = (struct node *)h;
    if (house_counts(h))
        node_check(n);
    for (uint64_t turns = 20 + sim_rand(n->h.sim, 500); turns > 0 && house_counts(&n->h); turns--) {
        for (int i = 0; i < CLIENTS; i++)
            coord_sim_client_turn(&n->clients[i]);
        sim_run(n->h.sim, 1 + sim_rand(n->h.sim, TURN_MS));
        if (sim_chance(n->h.sim, 2))
            sim_clock_jump(n->h.sim, (int64_t)sim_rand(n->h.sim, 7200000) - 3600000);
        if (sim_chance(n->h.sim, 10) && house_counts(&n->h))
            node_check(n);
    }
}

/* It is away for a time that may be longer than any lease. */
static void node_away(struct node *n)
{
    if (sim_chance(n->h.sim, 60))
        sim_spend(n->h.sim, sim_rand(n->h.sim, AWAY_MAX_S) * 1000000000u);
    if (sim_chance(n->h.sim, 20))
        sim_clock_jump(n->h.sim, (int64_t)sim_rand(n->h.sim, 600000) - 300000);
}

static void node_init(struct node *n, uint64_t seed, FILE *trace)
{
    static const struct house_files files = {.segment_bytes = 64 << 10,
                                             .snapshot_bytes = 50000,
                                             .snapshot_more = 400000,
                                             .snapshot_entries = 100,
                                             .keep_bytes = 1};
    *n = (struct node){.opened_ns = 0};
    house_init(&n->h, seed, trace, &files);
    n->grants = mem_new_array(NOTES_MAX, sizeof *n->grants);
    n->works = mem_new_array(NOTES_MAX, sizeof *n->works);
    n->begins = mem_new_array(NOTES_MAX, sizeof *n->begins);
    for (int i = 0; i < CLIENTS; i++) {
        n->clients[i].node = n;
        n->clients[i].number = i;
    }
}

uint64_t coord_sim(uint64_t seed, FILE *trace)
{
    static const struct house_life life = {
        .soon = 100, .late = 3000, .open = node_open, .live = node_live, .close = node_close};
    struct node n;
    node_init(&n, seed, trace);
    for (uint64_t lives = 1 + sim_rand(n.h.sim, LIVES); lives > 0; lives--) {
        house_life(&n.h, &life);
        node_away(&n);
    }
    node_open(&n.h);
    node_live(&n.h);
    node_settle(&n);
    node_check(&n);
    check_works(&n);
    node_close(&n.h);
    mem_free(n.grants);
    mem_free(n.works);
    mem_free(n.begins);
    return house_fini(&n.h);
}
