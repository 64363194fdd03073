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
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "coord/coord.h"
#include "db/db.h"
#include "ledger/domain.h"
#include "ledger/ledger.h"
#include "sim/scenario.h"
#include "support/sim_ledger.h"
#include "support/simdisk.h"
#include "support/simworld.h"

enum {
    LIVES = 5,
    CLIENTS = 7,
    NAMES = 2,
    KEYS = 12,
    NOTES_MAX = 4000,
    TURN_MS = 150,
    MARGIN_MS = 400, /* of what a unit takes, and of a turn */
    AWAY_MAX_S = 40,
};

enum doing { IDLE, ASKING, HOLDING, BEGUN };
enum sent { SENT_NOTHING, SENT_RENEW, SENT_WORK, SENT_RELEASE, SENT_BEGIN, SENT_PROCESSED };

struct node;

struct client {
    struct node *node;
    int number;
    enum doing doing;
    enum sent sent; /* under way */
    bool silent;    /* holds, and does nothing more */
    int name, key;
    uint32_t serial;
    char id[32];
    uint64_t token;
    int64_t ttl;
    uint64_t acked_ns, sent_ns; /* when what was last granted or renewed was asked for */
    struct coord_wait wait;
    bool waits;
    struct unit unit;
};

/* What was acknowledged. */
struct note {
    uint64_t seq, token;
    int name;
};
struct begun {
    uint64_t seq;
    int64_t at, expires;
    int key;
};

struct node {
    struct sim *sim;
    struct simdisk *disk;
    struct ledger_options options;
    struct coord *coord;
    struct ledger *ledger;
    struct db *db;
    uint64_t opened_ns;
    struct client clients[CLIENTS];
    struct note *grants, *works;
    size_t grants_count, works_count;
    struct begun *begins;
    size_t begins_count;
    uint64_t processed_seq[KEYS]; /* 0: not, as far as anybody was told */
};

/* ---- the node ---- */

static int node_opened(void *self, struct db *db, struct err *e)
{
    (void)e;
    ((struct node *)self)->db = db;
    return 0;
}

static bool clients_are_idle(void *arg)
{
    struct node *n = arg;
    for (int i = 0; i < CLIENTS; i++)
        if (n->clients[i].sent != SENT_NOTHING || n->clients[i].waits)
            return false;
    return true;
}

static void node_open(struct node *n)
{
    struct err e = ERR_INIT;
    n->coord = coord_new();
    struct domain domains[] = {*coord_domain(n->coord),
                               {.name = "tap", .self = n, .opened = node_opened}};
    sim_note(n->sim, "open");
    if (ledger_open(&n->options, sim_world(n->sim), domains, ARRAY_LEN(domains), &n->ledger, &e) !=
        0)
        sim_fail("does not open: %s", e.text);
    coord_start(n->coord, n->ledger, sim_world(n->sim));
    n->opened_ns = sim_now_ns(n->sim);
}

static void node_close(struct node *n)
{
    sim_note(n->sim, "close");
    coord_drain(n->coord);
    if (!sim_run_until(n->sim, clients_are_idle, n, 120000))
        sim_fail("a client has no answer after two minutes");
    coord_stop(n->coord);
    if (!sim_ledger_close(n->sim, n->ledger))
        sim_fail("the ledger does not close");
    sim_run(n->sim, 5);
    coord_free(n->coord);
    n->db = NULL;
}

/* ---- what was said ---- */

static bool node_counts(const struct node *n)
{
    return !sim_is_frozen(n->sim);
}

static void note(struct note *list, size_t *count, struct note one)
{
    if (*count < NOTES_MAX)
        list[(*count)++] = one;
}

static uint64_t since_ms(const struct node *n, uint64_t ns)
{
    return (sim_now_ns(n->sim) - ns) / 1000000;
}

/* Asked in time: so it may not be lost. */
static bool client_is_in_time(const struct client *c)
{
    const struct node *n = c->node;
    uint64_t asked = c->sent_ns;
    bool fresh = asked >= c->acked_ns &&
                 (asked - c->acked_ns) / 1000000 + MARGIN_MS <= (uint64_t)c->ttl &&
                 since_ms(n, asked) < MARGIN_MS;
    bool grace =
        n->opened_ns > c->acked_ns && since_ms(n, n->opened_ns) + MARGIN_MS < COORD_GRACE_MS;
    return !c->silent && (fresh || grace);
}

static void client_holds(struct client *c, uint64_t token, uint64_t seq)
{
    struct node *n = c->node;
    if (token != seq && token > seq)
        sim_fail("K1: token %llu is of the future", (unsigned long long)token);
    for (size_t i = 0; i < n->grants_count; i++)
        if (n->grants[i].name == c->name && n->grants[i].token == token)
            sim_fail("K1: token %llu was granted twice", (unsigned long long)token);
    note(n->grants, &n->grants_count, (struct note){seq, token, c->name});
    c->doing = HOLDING;
    c->token = token;
    c->silent = sim_chance(n->sim, 25);
    c->acked_ns = sim_now_ns(n->sim);
    sim_event(n->sim, "holds", c->id, token, c->silent);
}

static void client_waited(struct coord_wait *w)
{
    struct client *c = (struct client *)((char *)w - offsetof(struct client, wait));
    c->waits = false;
    c->doing = IDLE;
    if (node_counts(c->node) && w->err.code == 0)
        client_holds(c, w->grant.token, w->seq);
    else if (node_counts(c->node) && w->err.code != ERR_LOCKED && w->err.code != ERR_DRAINING &&
             w->err.code != ERR_CANCELED)
        sim_fail("acquire: %s", w->err.text);
    coord_wait_fini(w);
}

static void client_fenced(struct client *c, const char *what)
{
    if (client_is_in_time(c))
        sim_fail("K2: client %d renewed in time, and %s is refused: %s", c->number, what,
                 c->unit.err.text);
    c->doing = IDLE;
}

static void client_begun(struct client *c)
{
    struct node *n = c->node;
    struct err e = ERR_INIT;
    struct cursor r;
    struct coord_begun b;
    if (!unit_result(&c->unit, 0, &r) || coord_begun_read(&r, &b, &e) != 0)
        sim_fail("begin: %s", e.text);
    c->doing = IDLE;
    if (b.what != COORD_ACQUIRED) {
        if (b.what == COORD_BUSY && n->processed_seq[c->key] != 0)
            sim_fail("K3: key %d was processed and is busy", c->key);
        return;
    }
    if (n->processed_seq[c->key] != 0)
        sim_fail("K3: key %d was processed at %llu, and begun at %llu", c->key,
                 (unsigned long long)n->processed_seq[c->key], (unsigned long long)c->unit.seq);
    for (size_t i = 0; i < n->begins_count; i++) {
        const struct begun *o = &n->begins[i];
        if (o->key == c->key && o->seq < c->unit.seq && o->expires > c->unit.at)
            sim_fail("K3: key %d is begun by two", c->key);
    }
    if (n->begins_count < NOTES_MAX)
        n->begins[n->begins_count++] = (struct begun){c->unit.seq, c->unit.at, b.expires, c->key};
    c->doing = BEGUN;
    c->silent = sim_chance(n->sim, 30);
}

static void client_answered(struct unit *u)
{
    struct client *c = (struct client *)((char *)u - offsetof(struct client, unit));
    struct node *n = c->node;
    enum sent sent = c->sent;
    c->sent = SENT_NOTHING;
    int code = u->err.code;
    if (node_counts(n) && code != 0 && code != ERR_FENCED && code != ERR_TIMEOUT)
        sim_fail("client %d, %d: %s", c->number, sent, u->err.text);
    bool ok = node_counts(n) && code == 0, fenced = node_counts(n) && code == ERR_FENCED;
    sim_event(n->sim, "answer", c->id, sent, (uint64_t)-code);
    if (sent == SENT_RENEW && ok)
        c->acked_ns = c->sent_ns;
    else if (sent == SENT_WORK && ok)
        note(n->works, &n->works_count, (struct note){u->seq, c->token, c->name});
    else if (sent == SENT_BEGIN && ok)
        client_begun(c);
    else if (sent == SENT_PROCESSED && ok)
        n->processed_seq[c->key] = u->seq;
    if (fenced && (sent == SENT_RENEW || sent == SENT_WORK))
        client_fenced(c, sent == SENT_RENEW ? "a renewal" : "its work");
    if (sent == SENT_RELEASE || sent == SENT_PROCESSED || (sent == SENT_BEGIN && !ok))
        c->doing = IDLE; /* if it did not come through, the lease runs out */
    unit_fini(u);
}

/* ---- what clients do ---- */

static void name_of(const struct client *c, char out[24])
{
    snprintf(out, 24, "lease-%d", c->name);
}

static void client_send(struct client *c, enum sent sent)
{
    struct err e = ERR_INIT;
    c->sent = sent;
    c->sent_ns = sim_now_ns(c->node->sim);
    if (ledger_propose(c->node->ledger, &c->unit, &e) != 0)
        sim_fail("propose: %s", e.text);
}

static void client_ask(struct client *c)
{
    struct err e = ERR_INIT;
    char name[24];
    struct sim *s = c->node->sim;
    c->name = (int)sim_rand(s, NAMES);
    c->ttl = 1500 + (int64_t)sim_rand(s, 4000);
    snprintf(c->id, sizeof c->id, "%d-%u", c->number, ++c->serial);
    name_of(c, name);
    struct coord_ask k = {.name = name,
                          .id = c->id,
                          .form = COORD_LEASE,
                          .ttl_ms = c->ttl,
                          .wait_ms = sim_chance(s, 70) ? 1 + (int64_t)sim_rand(s, 8000) : 0,
                          .owner = c->id};
    coord_wait_init(&c->wait, sim_client(s), client_waited);
    if (coord_wait_ask(&c->wait, &k, &e) != 0 || coord_acquire(c->node->coord, &c->wait, &e) != 0)
        sim_fail("acquire: %s", e.text);
    c->doing = ASKING;
    c->waits = true;
}

/* Work is counted, and says under which token. */
static void client_work(struct client *c)
{
    struct err e = ERR_INIT;
    char name[24], token[24];
    name_of(c, name);
    int n = snprintf(token, sizeof token, "%llu", (unsigned long long)c->token);
    unit_init(&c->unit, sim_client(c->node->sim), client_answered);
    struct coord_put p = {.key = name, .value = token, .n = (size_t)n};
    struct coord_claim held = {name, c->token, NULL};
    if (coord_txn_if_held(&c->unit.txn, &held, &e) != 0 ||
        coord_txn_put(&c->unit.txn, &p, &e) != 0 || coord_txn_add(&c->unit.txn, name, 1, &e) != 0)
        sim_fail("work: %s", e.text);
    client_send(c, SENT_WORK);
}

static void client_renew(struct client *c, bool release)
{
    struct err e = ERR_INIT;
    char name[24];
    name_of(c, name);
    unit_init(&c->unit, sim_client(c->node->sim), client_answered);
    struct coord_claim held = {name, c->token, NULL};
    int rc = release ? coord_txn_release(&c->unit.txn, &held, &e)
                     : coord_txn_renew(&c->unit.txn, &held, 0, &e);
    if (rc != 0)
        sim_fail("renew: %s", e.text);
    client_send(c, release ? SENT_RELEASE : SENT_RENEW);
}

static void client_begin(struct client *c)
{
    struct err e = ERR_INIT;
    char key[24];
    struct sim *s = c->node->sim;
    c->key = (int)sim_rand(s, KEYS);
    snprintf(key, sizeof key, "m%d", c->key);
    snprintf(c->id, sizeof c->id, "%d-%u", c->number, ++c->serial);
    unit_init(&c->unit, sim_client(s), client_answered);
    if (coord_txn_begin(&c->unit.txn, key, "sim", c->id, 1000 + (int64_t)sim_rand(s, 4000), &e) !=
        0)
        sim_fail("begin: %s", e.text);
    client_send(c, SENT_BEGIN);
}

/* The effect and the mark in one unit. */
static void client_process(struct client *c)
{
    struct err e = ERR_INIT;
    char key[24];
    snprintf(key, sizeof key, "m%d", c->key);
    unit_init(&c->unit, sim_client(c->node->sim), client_answered);
    if (coord_txn_processed(&c->unit.txn, key, c->id, COORD_INBOX_KEEP_MAX_MS, &e) != 0 ||
        coord_txn_add(&c->unit.txn, key, 1, &e) != 0)
        sim_fail("process: %s", e.text);
    client_send(c, SENT_PROCESSED);
}

static void client_turn(struct client *c)
{
    struct sim *s = c->node->sim;
    if (c->sent != SENT_NOTHING || c->waits)
        return;
    switch (c->doing) {
    case IDLE:
        if (sim_chance(s, 40))
            client_ask(c);
        else if (sim_chance(s, 40))
            client_begin(c);
        return;
    case ASKING:
        return;
    case BEGUN:
        if (sim_chance(s, c->silent ? 5 : 50))
            client_process(c);
        return;
    case HOLDING:
        if (!c->silent && since_ms(c->node, c->acked_ns) * 3 >= (uint64_t)c->ttl)
            client_renew(c, false);
        else if (c->silent && sim_chance(s, 5))
            client_work(c); /* comes back from wherever it was, and believes that it holds it */
        else if (!c->silent && sim_chance(s, 20))
            client_work(c);
        else if (!c->silent && sim_chance(s, 5))
            client_renew(c, true);
        return;
    }
}

/* ---- checks ---- */

static int64_t node_number(struct node *n, const char *sql, const char *text)
{
    struct err e = ERR_INIT;
    struct db_stmt *s = db_stmt_get(n->db, sql, &e);
    if (s == NULL)
        sim_fail("%s", e.text);
    if (text != NULL)
        db_bind_str(s, 1, text);
    int64_t v = 0;
    if (db_step(s, &e) > 0)
        v = db_col_int(s, 0);
    db_stmt_done(s);
    return v;
}

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
        if (node_number(n, rules[i].sql, NULL) != 0)
            sim_fail("%s", rules[i].what);
    uint64_t scan = 0;
    struct err e = ERR_INIT;
    if (db_hash_scan(n->db, &scan, &e) != 0 || scan != db_hash(n->db))
        sim_fail("the running state hash is not that of the rows %s", e.text);
    sim_event(n->sim, "checked", "", scan, 0);
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
        int64_t done = node_number(n, "SELECT value FROM coord_counters WHERE name = ?1", name);
        if (n->works_count < NOTES_MAX && (uint64_t)done < count[i])
            sim_fail("acknowledged work under %s is lost", name);
    }
    for (int i = 0; i < KEYS; i++) {
        char key[24];
        snprintf(key, sizeof key, "m%d", i);
        if (n->processed_seq[i] != 0 &&
            node_number(n, "SELECT value FROM coord_counters WHERE name = ?1", key) != 1)
            sim_fail("K3: message %d was processed, and its work is not there once", i);
    }
}

/* ---- lives ---- */

static void node_live(struct node *n)
{
    for (uint64_t turns = 20 + sim_rand(n->sim, 500); turns > 0 && node_counts(n); turns--) {
        for (int i = 0; i < CLIENTS; i++)
            client_turn(&n->clients[i]);
        sim_run(n->sim, 1 + sim_rand(n->sim, TURN_MS));
        if (sim_chance(n->sim, 2))
            sim_clock_jump(n->sim, (int64_t)sim_rand(n->sim, 7200000) - 3600000);
        if (sim_chance(n->sim, 10) && node_counts(n))
            node_check(n);
    }
}

/* It is away for a time that may be longer than any lease. */
static void node_away(struct node *n)
{
    if (sim_chance(n->sim, 60))
        sim_spend(n->sim, sim_rand(n->sim, AWAY_MAX_S) * 1000000000u);
    if (sim_chance(n->sim, 20))
        sim_clock_jump(n->sim, (int64_t)sim_rand(n->sim, 600000) - 300000);
}

static void node_life(struct node *n)
{
    if (sim_chance(n->sim, 80))
        simdisk_freeze_after(n->disk, 1 + sim_rand(n->sim, sim_chance(n->sim, 20) ? 100 : 3000));
    node_open(n);
    if (node_counts(n))
        node_check(n);
    node_live(n);
    if (sim_chance(n->sim, 70))
        sim_freeze(n->sim, "end of life");
    node_close(n);
    if (sim_died_of(n->sim) != NULL)
        sim_fail("the node died on a healthy disk: %s", sim_died_of(n->sim));
    sim_freeze(n->sim, "gone");
    sim_crash(n->sim, sim_chance(n->sim, 30) ? SIM_KILL : SIM_POWER_CUT);
    node_away(n);
}

static void node_init(struct node *n, uint64_t seed, FILE *trace)
{
    struct err e = ERR_INIT;
    *n = (struct node){.sim = sim_new(seed, trace)};
    n->disk = sim_disk(n->sim);
    n->grants = mem_new_array(NOTES_MAX, sizeof *n->grants);
    n->works = mem_new_array(NOTES_MAX, sizeof *n->works);
    n->begins = mem_new_array(NOTES_MAX, sizeof *n->begins);
    for (int i = 0; i < CLIENTS; i++) {
        n->clients[i].node = n;
        n->clients[i].number = i;
    }
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

uint64_t coord_sim(uint64_t seed, FILE *trace)
{
    struct node n;
    node_init(&n, seed, trace);
    for (uint64_t lives = 1 + sim_rand(n.sim, LIVES); lives > 0; lives--)
        node_life(&n);
    node_open(&n);
    node_live(&n);
    if (!sim_run_until(n.sim, clients_are_idle, &n, 120000))
        sim_fail("a client has no answer after two minutes");
    node_check(&n);
    check_works(&n);
    node_close(&n);
    uint64_t hash = sim_trace_hash(n.sim);
    db_vfs_unregister("sim");
    mem_free(n.grants);
    mem_free(n.works);
    mem_free(n.begins);
    sim_free(n.sim);
    return hash;
}
