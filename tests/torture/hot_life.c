/* A domain whose state is in memory: numbers and held bytes, saves with every checkpoint, a refused
 * unit, bytes that are moved out of a log that is too large, a clean restart. */
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "support/ember.h"
#include "torture/torture.h"

enum { BIG = 9000, BALLAST = 3000 };

/* What the memory must come to. */
struct wanted {
    int64_t numbers[EMBER_KEYS];
    uint8_t held[EMBER_KEYS]; /* the byte that all held bytes are; 0: none */
};

struct node {
    struct machine *m;
    struct ember ember;
    /* As it is; and as it may be as well since the last unit, whose outcome is not known. */
    struct wanted now, other;
    bool unknown;
};

static size_t node_domains(void *self, struct domain out[])
{
    struct node *n = self;
    n->ember = (struct ember){.ballast = BALLAST};
    out[0] = ember_domain(&n->ember);
    return 1;
}

static void node_open(void *self)
{
    struct node *n = self;
    n->ember.ledger = n->m->ledger;
}

static void node_closed(void *self)
{
    (void)self;
}

static const struct machine_parts node_parts = {
    .domains = node_domains, .open = node_open, .closed = node_closed};

static void *node_make(struct machine *m)
{
    struct node *n = mem_new(sizeof *n);
    n->m = m;
    m->self = n;
    m->parts = &node_parts;
    return n;
}

static void node_free(void *self)
{
    mem_free(self);
}

/* ---- units ---- */

struct change {
    enum ember_op op;
    uint32_t key;
    uint8_t n; /* what is added, or held */
};

static void unit_build(struct node *n, struct unit *u, const struct change *c, size_t count)
{
    uint8_t bytes[BIG];
    unit_init(u, sim_client(n->m->sim), unit_answered);
    for (size_t i = 0; i < count; i++) {
        memset(bytes, c[i].n, sizeof bytes);
        if (c[i].op == EMBER_HOLD)
            ember_hold(u, c[i].key, bytes, sizeof bytes);
        else
            ember_unit(u, (uint16_t)c[i].op, c[i].key, c[i].n);
    }
}

static void wanted_change(struct wanted *w, const struct change *c)
{
    if (c->op == EMBER_ADD || c->op == EMBER_ADD_MAX)
        w->numbers[c->key] += c->n;
    else
        w->held[c->key] = c->op == EMBER_HOLD ? c->n : 0;
}

/* ---- what is there ---- */

static bool holds(struct node *n, uint32_t key, uint8_t byte)
{
    struct err e = ERR_INIT;
    AUTO(buf_fini) struct buf b = BUF_INIT(LEDGER_READ_MAX);
    if (n->ember.now.held[key].seq == 0 || byte == 0)
        return n->ember.now.held[key].seq == 0 && byte == 0;
    if (ember_read(&n->ember, key, &b, &e) != 0)
        fail("bytes that are held cannot be read: %s", e.text);
    bool same = b.len == BIG;
    for (size_t i = 0; i < b.len && same; i++)
        same = (uint8_t)b.data[i] == byte;
    return same;
}

static bool is_as(struct node *n, const struct wanted *w)
{
    bool same = memcmp(n->ember.now.numbers, w->numbers, sizeof w->numbers) == 0;
    for (uint32_t i = 0; i < EMBER_KEYS && same; i++)
        same = holds(n, i, w->held[i]);
    return same;
}

/* The disk was full until the client waited no more. Somebody clears up, and the node goes on by
 * itself: did it take the unit? */
static int settle(struct node *n, const struct wanted *after)
{
    machine_clear_up(n->m);
    if (is_as(n, after))
        return 0;
    if (!is_as(n, &n->now))
        fail("a unit is half there after the disk was full");
    return ERR_DISK_FULL;
}

/* ---- units with an outcome ---- */

static int act(struct node *n, const struct change *c, size_t count)
{
    struct err e = ERR_INIT;
    struct unit u;
    struct wanted after = n->now;
    for (size_t i = 0; i < count; i++)
        wanted_change(&after, &c[i]);
    unit_build(n, &u, c, count);
    int rc = txn_check(&u.txn, &e);
    if (rc == 0)
        rc = machine_run(n->m, &u, &e);
    if (rc == ERR_TIMEOUT && n->m->fault == DISK_FULL && !sim_is_frozen(n->m->sim))
        rc = settle(n, &after);
    if (rc == 0) {
        n->now = after;
    } else if (rc == ERR_TIMEOUT) {
        n->other = after;
        n->unknown = true;
        sim_halt(n->m->sim);
    }
    unit_fini(&u);
    return rc;
}

static bool must(struct node *n, const struct change *c, size_t count)
{
    return machine_did(MACHINE_TRY(n->m, act(n, c, count)), "a unit");
}

#define MUST(...)                                                                                  \
    (must(n, (struct change[]){__VA_ARGS__},                                                       \
          sizeof((struct change[]){__VA_ARGS__}) / sizeof(struct change)))

/* ---- the life ---- */

static bool begin(struct node *n)
{
    struct err e = ERR_INIT;
    return machine_open(n->m, &e) == 0;
}

static bool node_live(void *self)
{
    struct node *n = self;
    if (!begin(n) || !MUST({EMBER_ADD, 0, 1}) || !MUST({EMBER_HOLD, 0, 1}) ||
        !MUST({EMBER_ADD, 1, 2}, {EMBER_HOLD, 1, 2}, {EMBER_ADD, 0, 3}) ||
        !MUST({EMBER_ADD_MAX, 2, 50}))
        return false;
    /* Its second operation is over the maximum: the first leaves no trace. */
    int rc = act(n, (struct change[]){{EMBER_ADD, 3, 9}, {EMBER_ADD_MAX, 2, 50}}, 2);
    if (rc == 0)
        fail("a number is over its maximum");
    if (rc == ERR_TIMEOUT || sim_is_frozen(n->m->sim) || !MUST({EMBER_HOLD, 2, 3}) ||
        !MUST({EMBER_HOLD, 3, 4}) || !MUST({EMBER_DROP, 2, 0}) || !MUST({EMBER_HOLD, 0, 5}) ||
        !MUST({EMBER_ADD, 3, 1}))
        return false;
    machine_end(n->m);
    if (sim_is_frozen(n->m->sim) || !begin(n) || !MUST({EMBER_ADD, 0, 1}) ||
        !MUST({EMBER_HOLD, 2, 6}) || !MUST({EMBER_ADD, 1, 1}, {EMBER_DROP, 3, 0}) ||
        !MUST({EMBER_ADD, 1, 1}))
        return false;
    machine_end(n->m);
    return !sim_is_frozen(n->m->sim);
}

static bool node_born(void *self)
{
    struct node *n = self;
    if (!begin(n) || !MUST({EMBER_ADD, 0, 1}))
        return false;
    machine_end(n->m);
    return !sim_is_frozen(n->m->sim);
}

/* ---- what is there afterwards ---- */

static void node_reopened(void *self)
{
    struct node *n = self;
    sim_run(n->m->sim, 1000);
    if (n->unknown && is_as(n, &n->other))
        n->now = n->other;
    if (!is_as(n, &n->now))
        fail("the memory is neither what was acknowledged nor that and the last unit");
    if (n->ember.now.entries != ledger_applied(n->m->ledger))
        fail("an entry was seen twice, or not at all");
    n->unknown = false;
}

static void node_works(void *self)
{
    struct node *n = self;
    if (act(n, (struct change[]){{EMBER_ADD, 1, 1}, {EMBER_HOLD, 1, 9}}, 2) != 0)
        fail("it takes no unit afterwards");
    if (!is_as(n, &n->now))
        fail("what was taken afterwards is not there");
}

const struct life first_life = {.name = "first start",
                                .first_start = true,
                                .sqlite_step = 29, /* of ten thousand that read the schemas */
                                .make = node_make,
                                .live = node_born,
                                .reopened = node_reopened,
                                .works = node_works,
                                .free = node_free};

const struct life hot_life = {.name = "memory",
                              .make = node_make,
                              .live = node_live,
                              .reopened = node_reopened,
                              .works = node_works,
                              .free = node_free};
