/* Who waits, and what time ends: the domain on a whole ledger in a simulated world. */
#include <stdio.h>

#include "base/stat.h"
#include "coord/coord.h"
#include "db/db.h"
#include "ledger/domain.h"
#include "ledger/ledger.h"
#include "support/simdisk.h"
#include "support/simworld.h"
#include "support/unit.h"

enum { ASKERS = 4 };

struct node {
    struct sim *sim;
    struct coord *coord;
    struct ledger *ledger;
    struct db *db; /* the writer, for looking */
    struct ledger_options options;
    struct coord_wait waits[ASKERS];
    int done[ASKERS]; /* how often */
    bool closed;
};

static struct node *now; /* of the running test */

static void asker_done(struct coord_wait *w)
{
    now->done[w - now->waits]++;
}

static int node_opened(void *self, struct db *db, struct err *e)
{
    (void)e;
    ((struct node *)self)->db = db;
    return 0;
}

static void node_open(struct node *n)
{
    struct err e = ERR_INIT;
    n->coord = coord_new();
    struct domain domains[] = {*coord_domain(n->coord),
                               {.name = "tap", .self = n, .opened = node_opened}};
    if (ledger_open(&n->options, sim_world(n->sim), domains, 2, &n->ledger, &e) != 0)
        fail_msg("%s", e.text);
    coord_start(n->coord, n->ledger, sim_world(n->sim));
}

static void node_closed(void *arg)
{
    ((struct node *)arg)->closed = true;
}

static bool node_is_closed(void *arg)
{
    return ((struct node *)arg)->closed;
}

static void node_close(struct node *n)
{
    n->closed = false;
    coord_stop(n->coord);
    ledger_close(n->ledger, node_closed, n);
    assert_true(sim_run_until(n->sim, node_is_closed, n, 60000));
    sim_run(n->sim, 10);
    coord_free(n->coord);
}

static void node_init(struct node *n)
{
    struct err e = ERR_INIT;
    *n = (struct node){.sim = sim_new(7, NULL)};
    n->options = (struct ledger_options){.dir = "data", .vfs = "sim", .exclusive = true};
    assert_int_equal(db_vfs_register("sim", sim_world(n->sim)->disk, &e), 0);
    now = n;
    node_open(n);
}

static void node_fini(struct node *n)
{
    node_close(n);
    db_vfs_unregister("sim");
    sim_free(n->sim);
    stat_reset_all();
}

static void ask_for(struct node *n, int i, int64_t wait_ms, int64_t ttl_ms)
{
    struct err e = ERR_INIT;
    char id[8];
    snprintf(id, sizeof id, "c%d", i);
    coord_wait_init(&n->waits[i], sim_client(n->sim), asker_done);
    n->done[i] = 0;
    struct coord_ask k = {.name = "x",
                          .id = id,
                          .form = COORD_LEASE,
                          .ttl_ms = ttl_ms,
                          .wait_ms = wait_ms,
                          .owner = id};
    assert_int_equal(coord_wait_ask(&n->waits[i], &k, &e), 0);
    assert_int_equal(coord_acquire(n->coord, &n->waits[i], &e), 0);
    sim_run(n->sim, 50);
}

/* What became of it, once. */
static int got(struct node *n, int i)
{
    assert_int_equal(n->done[i], 1);
    int code = n->waits[i].err.code;
    if (code == 0)
        assert_true(n->waits[i].grant.held);
    coord_wait_fini(&n->waits[i]);
    return code;
}

struct one {
    struct unit unit;
    bool done;
};

static void one_done(struct unit *u)
{
    ((struct one *)u)->done = true;
}

static bool one_is_done(void *arg)
{
    return ((struct one *)arg)->done;
}

static int release(struct node *n, uint64_t token, bool only_renew)
{
    struct err e = ERR_INIT;
    struct one o = {.done = false};
    struct coord_claim c = {"x", token, NULL};
    unit_init(&o.unit, sim_client(n->sim), one_done);
    if (only_renew)
        assert_int_equal(coord_txn_renew(&o.unit.txn, &c, 0, &e), 0);
    else
        assert_int_equal(coord_txn_release(&o.unit.txn, &c, &e), 0);
    assert_int_equal(ledger_propose(n->ledger, &o.unit, &e), 0);
    assert_true(sim_run_until(n->sim, one_is_done, &o, 60000));
    sim_run(n->sim, 50);
    int code = o.unit.err.code;
    unit_fini(&o.unit);
    return code;
}

TEST(a_grant_reaches_who_waits_and_a_wait_ends_in_time)
{
    struct node n;
    node_init(&n);
    ask_for(&n, 0, 0, 0);
    assert_int_equal(got(&n, 0), 0);
    uint64_t token = n.waits[0].grant.token;
    ask_for(&n, 1, 0, 0);
    assert_int_equal(got(&n, 1), ERR_LOCKED);
    ask_for(&n, 1, 1000, 0);
    ask_for(&n, 2, 20000, 0);
    assert_int_equal(n.done[1], 0);
    sim_run(n.sim, 1500);
    assert_int_equal(got(&n, 1), ERR_LOCKED);
    assert_int_equal(n.done[2], 0);
    assert_int_equal(release(&n, token, false), 0);
    assert_int_equal(got(&n, 2), 0);
    assert_true(n.waits[2].grant.token > token);
    node_fini(&n);
}

TEST(a_holder_who_is_silent_loses_it_and_one_who_renews_does_not) /* K2 */
{
    struct node n;
    node_init(&n);
    sim_run(n.sim, COORD_GRACE_MS);
    ask_for(&n, 0, 0, 1000);
    assert_int_equal(got(&n, 0), 0);
    uint64_t token = n.waits[0].grant.token;
    ask_for(&n, 1, 60000, 1000);
    for (int i = 0; i < 20; i++) {
        assert_int_equal(release(&n, token, true), 0);
        sim_run(n.sim, 300);
    }
    assert_int_equal(n.done[1], 0);
    sim_run(n.sim, 3000);
    assert_int_equal(got(&n, 1), 0);
    assert_int_equal(release(&n, token, true), ERR_FENCED);
    node_fini(&n);
}

TEST(a_new_start_waits_for_renewals) /* K2 */
{
    struct node n;
    node_init(&n);
    ask_for(&n, 0, 0, 1000);
    assert_int_equal(got(&n, 0), 0);
    uint64_t token = n.waits[0].grant.token;
    node_close(&n);
    sim_run(n.sim, 30000);
    node_open(&n);
    ask_for(&n, 1, 60000, 0);
    sim_run(n.sim, COORD_GRACE_MS - 1000);
    assert_int_equal(n.done[1], 0);
    assert_int_equal(release(&n, token, true), 0);
    sim_run(n.sim, 800);
    assert_int_equal(release(&n, token, true), 0);
    assert_int_equal(n.done[1], 0);
    sim_run(n.sim, 5000);
    assert_int_equal(got(&n, 1), 0);
    node_fini(&n);
}

TEST(a_clock_that_is_set_ahead_costs_nobody_a_lease) /* K2 */
{
    struct node n;
    node_init(&n);
    sim_run(n.sim, COORD_GRACE_MS);
    ask_for(&n, 0, 0, 10000);
    assert_int_equal(got(&n, 0), 0);
    uint64_t token = n.waits[0].grant.token;
    ask_for(&n, 1, 0, 0);
    assert_int_equal(got(&n, 1), ERR_LOCKED);
    sim_clock_jump(n.sim, 3600 * 1000);
    sim_run(n.sim, 9000);
    assert_int_equal(release(&n, token, true), 0);
    sim_run(n.sim, 15000);
    assert_int_equal(release(&n, token, true), ERR_FENCED);
    node_fini(&n);
}

TEST(who_gives_up_leaves_the_queue)
{
    struct node n;
    node_init(&n);
    ask_for(&n, 0, 0, 0);
    assert_int_equal(got(&n, 0), 0);
    ask_for(&n, 1, 60000, 0);
    ask_for(&n, 2, 60000, 0);
    coord_give_up(&n.waits[1]);
    coord_give_up(&n.waits[1]);
    sim_run(n.sim, 50);
    assert_int_equal(got(&n, 1), ERR_CANCELED);
    assert_int_equal(release(&n, n.waits[0].grant.token, false), 0);
    assert_int_equal(got(&n, 2), 0);
    coord_give_back(n.coord, "x", "c2"); /* the answer did not reach anybody */
    sim_run(n.sim, 1500);
    ask_for(&n, 3, 0, 0);
    assert_int_equal(got(&n, 3), 0);
    node_fini(&n);
}

TEST(a_node_that_leaves_answers_who_waits)
{
    struct err e = ERR_INIT;
    struct node n;
    node_init(&n);
    ask_for(&n, 0, 0, 0);
    assert_int_equal(got(&n, 0), 0);
    ask_for(&n, 1, 60000, 0);
    coord_drain(n.coord);
    sim_run(n.sim, 50);
    assert_int_equal(got(&n, 1), ERR_DRAINING);
    coord_wait_init(&n.waits[2], sim_client(n.sim), asker_done);
    struct coord_ask k = {.name = "x", .id = "late", .form = COORD_LEASE};
    assert_int_equal(coord_wait_ask(&n.waits[2], &k, &e), 0);
    assert_refused(coord_acquire(n.coord, &n.waits[2], &e), ERR_DRAINING, "ask another");
    coord_wait_fini(&n.waits[2]);
    sim_run(n.sim, 1500); /* its place in the queue is given back */
    struct coord_grant g;
    assert_int_equal(coord_claim_find(n.db, "default", "x", "c1", &g, &e), ERR_NOT_FOUND);
    node_fini(&n);
}

struct watcher {
    struct coord_watch watch; /* first */
    int told;
};

static void watcher_done(struct coord_watch *w)
{
    ((struct watcher *)w)->told++;
}

static void watch(struct node *n, struct watcher *w, const char *name)
{
    struct err e = ERR_INIT;
    w->told = 0;
    coord_watch_init(&w->watch, sim_client(n->sim), watcher_done);
    assert_int_equal(coord_watch(n->coord, &w->watch, "default", name, &e), 0);
    sim_run(n->sim, 50);
}

TEST(who_watches_a_name_is_told_once_when_its_holder_comes_or_goes)
{
    struct node n;
    struct watcher a, b, other;
    node_init(&n);
    watch(&n, &a, "x");
    watch(&n, &b, "x");
    watch(&n, &other, "y");
    sim_run(n.sim, 2000);
    assert_int_equal(a.told + b.told + other.told, 0);
    ask_for(&n, 0, 0, 0);
    assert_int_equal(got(&n, 0), 0);
    assert_int_equal(a.told, 1);
    assert_int_equal(b.told, 1);
    assert_int_equal(a.watch.code, 0);
    uint64_t token = 0;
    assert_int_equal(coord_holder(n.db, "default", "x", &token, NULL), 0);
    assert_int_equal(token, n.waits[0].grant.token);
    watch(&n, &a, "x");
    ask_for(&n, 1, 60000, 0); /* who waits is nobody's business */
    assert_int_equal(release(&n, token, true), 0);
    assert_int_equal(a.told, 0);
    assert_int_equal(release(&n, token, false), 0);
    assert_int_equal(a.told, 1);
    assert_int_equal(got(&n, 1), 0);
    assert_int_equal(other.told, 0);
    coord_unwatch(&other.watch);
    sim_run(n.sim, 50);
    assert_int_equal(other.told, 1);
    node_fini(&n);
}

TEST(a_watch_ends_with_its_watcher_and_with_the_node)
{
    struct err e = ERR_INIT;
    struct node n;
    struct watcher a, b;
    node_init(&n);
    watch(&n, &a, "x");
    watch(&n, &b, "x");
    coord_unwatch(&a.watch);
    coord_unwatch(&a.watch);
    sim_run(n.sim, 50);
    assert_int_equal(a.told, 1);
    assert_int_equal(a.watch.code, ERR_CANCELED);
    coord_drain(n.coord);
    sim_run(n.sim, 50);
    assert_int_equal(b.told, 1);
    assert_int_equal(b.watch.code, ERR_DRAINING);
    assert_refused(coord_watch(n.coord, &a.watch, "default", "x", &e), ERR_DRAINING, "ask another");
    node_fini(&n);
}

/* The limit as it is said this time: 10 an hour, `burst` at once. */
static struct coord_taken share_of(struct node *n, int64_t burst, int64_t tokens)
{
    struct err e = ERR_INIT;
    struct coord_taken out;
    struct coord_take k = {
        .name = "crm", .rate = 10, .per_ms = 3600 * 1000, .burst = burst, .n = tokens};
    struct world *w = sim_world(n->sim);
    assert_int_equal(coord_share_take(n->coord, n->db, "default", &k, w->wall_ms(w), &out, &e), 0);
    return out;
}

static struct coord_taken share(struct node *n, int64_t tokens)
{
    return share_of(n, 10, tokens);
}

/* Through the ledger: what is left behind it. */
static int64_t exact(struct node *n, int64_t tokens)
{
    struct err e = ERR_INIT;
    struct one o = {.done = false};
    struct coord_taken out;
    struct cursor c;
    struct coord_take k = {
        .name = "crm", .rate = 10, .per_ms = 3600 * 1000, .burst = 10, .n = tokens};
    unit_init(&o.unit, sim_client(n->sim), one_done);
    assert_int_equal(coord_txn_take(&o.unit.txn, &k, &e), 0);
    assert_int_equal(ledger_propose(n->ledger, &o.unit, &e), 0);
    assert_true(sim_run_until(n->sim, one_is_done, &o, 60000));
    assert_true(unit_result(&o.unit, 0, &c));
    assert_int_equal(coord_taken_read(&c, &out, &e), 0);
    unit_fini(&o.unit);
    return out.left;
}

TEST(what_a_node_gives_out_of_its_share_reaches_the_ledger_and_comes_back)
{
    struct node n;
    node_init(&n);
    assert_int_equal(share(&n, 3).left, 7);
    assert_int_equal(share(&n, 1).left, 6);
    sim_run(n.sim, 2500);
    assert_int_equal(exact(&n, 2), 4);
    assert_int_equal(share(&n, 1).left, 5); /* it has not heard of it yet */
    sim_run(n.sim, 2500);
    assert_int_equal(share(&n, 1).left, 2);
    assert_false(share(&n, 5).taken);
    node_close(&n); /* tells the last of it */
    node_open(&n);
    assert_int_equal(share(&n, 1).left, 1);
    sim_run(n.sim, 3 * 3600 * 1000);
    assert_int_equal(share(&n, 1).left, 9);
    node_fini(&n);
}

TEST(a_limit_that_is_said_smaller_is_told_as_before)
{
    struct node n;
    node_init(&n);
    assert_int_equal(share_of(&n, 100, 2).left, 98);
    sim_run(n.sim, 2500);
    assert_int_equal(share_of(&n, 10, 4).left, 6);
    sim_run(n.sim, 2500);
    assert_int_equal(exact(&n, 1), 5);
    assert_int_equal(share_of(&n, 10, 1).left, 5);
    sim_run(n.sim, 2500);
    assert_int_equal(exact(&n, 1), 3);
    node_fini(&n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HEAP_TEST(a_grant_reaches_who_waits_and_a_wait_ends_in_time),
        HEAP_TEST(a_holder_who_is_silent_loses_it_and_one_who_renews_does_not),
        HEAP_TEST(a_new_start_waits_for_renewals),
        HEAP_TEST(a_clock_that_is_set_ahead_costs_nobody_a_lease),
        HEAP_TEST(who_gives_up_leaves_the_queue),
        HEAP_TEST(a_node_that_leaves_answers_who_waits),
        HEAP_TEST(who_watches_a_name_is_told_once_when_its_holder_comes_or_goes),
        HEAP_TEST(a_watch_ends_with_its_watcher_and_with_the_node),
        HEAP_TEST(what_a_node_gives_out_of_its_share_reaches_the_ledger_and_comes_back),
        HEAP_TEST(a_limit_that_is_said_smaller_is_told_as_before),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
