/* The scenario of coord: clients, and what they are told. */
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "sim/coord_sim.h"

/* ---- what was said ---- */

static void note(struct note *list, size_t *count, struct note one)
{
    if (*count < NOTES_MAX)
        list[(*count)++] = one;
}

static uint64_t since_ms(const struct node *n, uint64_t ns)
{
    return (sim_now_ns(n->h.sim) - ns) / 1000000;
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
    c->silent = sim_chance(n->h.sim, 25);
    c->acked_ns = sim_now_ns(n->h.sim);
    sim_event(n->h.sim, "holds", c->id, token, c->silent);
}

static void client_waited(struct coord_wait *w)
{
    struct client *c = (struct client *)((char *)w - offsetof(struct client, wait));
    c->waits = false;
    c->doing = IDLE;
    if (house_counts(&c->node->h) && w->err.code == 0)
        client_holds(c, w->grant.token, w->seq);
    else if (house_counts(&c->node->h) && w->err.code != ERR_LOCKED &&
             w->err.code != ERR_DRAINING && w->err.code != ERR_CANCELED)
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
    c->silent = sim_chance(n->h.sim, 30);
}

static void client_answered(struct unit *u)
{
    struct client *c = (struct client *)((char *)u - offsetof(struct client, unit));
    struct node *n = c->node;
    enum sent sent = c->sent;
    c->sent = SENT_NOTHING;
    int code = u->err.code;
    if (house_counts(&n->h) && code != 0 && code != ERR_FENCED && code != ERR_TIMEOUT)
        sim_fail("client %d, %d: %s", c->number, sent, u->err.text);
    bool ok = house_counts(&n->h) && code == 0, fenced = house_counts(&n->h) && code == ERR_FENCED;
    sim_event(n->h.sim, "answer", c->id, sent, (uint64_t)-code);
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
    c->sent_ns = sim_now_ns(c->node->h.sim);
    if (ledger_propose(c->node->h.ledger, &c->unit, &e) != 0)
        sim_fail("propose: %s", e.text);
}

static void client_ask(struct client *c)
{
    struct err e = ERR_INIT;
    char name[24];
    struct sim *s = c->node->h.sim;
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
    unit_init(&c->unit, sim_client(c->node->h.sim), client_answered);
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
    unit_init(&c->unit, sim_client(c->node->h.sim), client_answered);
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
    struct sim *s = c->node->h.sim;
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
    unit_init(&c->unit, sim_client(c->node->h.sim), client_answered);
    if (coord_txn_processed(&c->unit.txn, key, c->id, COORD_INBOX_KEEP_MAX_MS, &e) != 0 ||
        coord_txn_add(&c->unit.txn, key, 1, &e) != 0)
        sim_fail("process: %s", e.text);
    client_send(c, SENT_PROCESSED);
}

void coord_sim_client_turn(struct client *c)
{
    struct sim *s = c->node->h.sim;
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
