/* Failed arrivals are removed when they are old: on a virtual clock. */
#include "support/unit.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "canon/canon.h"
#include "db/db.h"
#include "entity/entity.h"
#include "ledger/domain.h"
#include "ledger/ledger.h"
#include "queue/queue.h"
#include "support/simworld.h"

enum { MINUTE = 60 * 1000 };
#define DAY ((int64_t)24 * 60 * MINUTE)

static const char entity_text[] =
    "{\"name\":\"P\",\"fields\":{\"k\":{\"kind\":\"text\"},\"age\":{\"kind\":\"int\"}}}";
static const char model_text[] = "{\"name\":\"P\",\"sources\":{\"a\":{}},\"keys\":[{\"name\":\"k\","
                                 "\"parts\":[{\"field\":\"k\"}]}]}";

struct node {
    struct sim *sim;
    struct entities *entities;
    struct canon *canon;
    struct queues *queues;
    struct ledger *ledger;
    struct canon_engine *engine;
    struct db *db;
    bool flag;
};

static int node_tap(void *self, struct db *db, struct err *e)
{
    (void)e;
    ((struct node *)self)->db = db;
    return 0;
}

static void node_flag(void *arg)
{
    ((struct node *)arg)->flag = true;
}

static bool node_flagged(void *arg)
{
    return ((struct node *)arg)->flag;
}

static void node_wait(struct node *n)
{
    assert_true(sim_run_until(n->sim, node_flagged, n, 10 * MINUTE));
    n->flag = false;
}

struct defining {
    struct unit unit; /* first */
    struct node *node;
};

static void node_defined(struct unit *u)
{
    ((struct defining *)u)->node->flag = true;
}

static void node_define(struct node *n)
{
    struct err e = ERR_INIT;
    struct entity_def *d = NULL;
    json_t *m = json_read(model_text, strlen(model_text), &e);
    assert_int_equal(entity_def_parse_text(entity_text, strlen(entity_text), &d, &e), 0);
    struct defining u = {.node = n};
    unit_init(&u.unit, sim_client(n->sim), node_defined);
    entity_txn_define(&u.unit.txn, d);
    assert_int_equal(canon_txn_define(n->canon, &u.unit.txn, m, d, &e), 0);
    assert_int_equal(ledger_propose(n->ledger, &u.unit, &e), 0);
    node_wait(n);
    assert_int_equal(u.unit.err.code, 0);
    unit_fini(&u.unit);
    entity_def_unref(d);
    json_decref(m);
}

static void node_open(struct node *n)
{
    struct err e = ERR_INIT;
    *n = (struct node){.sim = sim_new(7, NULL)};
    struct world *w = sim_world(n->sim);
    assert_int_equal(db_vfs_register("sweep", w->disk, &e), 0);
    n->entities = entities_new();
    assert_int_equal(canon_new(n->entities, &n->canon, &e), 0);
    n->queues = queues_new();
    struct domain domains[] = {*entities_domain(n->entities),
                               *canon_domain(n->canon),
                               *queues_domain(n->queues),
                               {.name = "tap", .self = n, .opened = node_tap}};
    struct ledger_options o = {.dir = "data", .vfs = "sweep", .exclusive = true};
    if (ledger_open(&o, w, domains, ARRAY_LEN(domains), &n->ledger, &e) != 0)
        fail_msg("%s", e.text);
    struct canon_engine_options eo = {
        .canon = n->canon, .ledger = n->ledger, .world = w, .reader = n->db};
    assert_int_equal(canon_engine_new(&eo, &n->engine, &e), 0);
    canon_sweep_start(n->canon, n->ledger, w);
    node_define(n);
}

static void node_close(struct node *n)
{
    sim_run(n->sim, MINUTE);
    canon_engine_free(n->engine);
    canon_sweep_stop(n->canon);
    ledger_close(n->ledger, node_flag, n);
    node_wait(n);
    canon_free(n->canon);
    queues_free(n->queues);
    entities_free(n->entities);
    db_vfs_unregister("sweep");
    sim_free(n->sim);
}

struct sending {
    struct canon_request r; /* first */
    struct canon_arrival *list;
    struct node *node;
    struct envelope env;
};

static void node_sent(struct canon_request *r)
{
    ((struct sending *)r)->node->flag = true;
}

/* `count` arrivals of source ids from `first` on; the outcome of the last. */
static enum canon_outcome node_send(struct node *n, int first, int count, const char *says)
{
    struct err e = ERR_INIT;
    struct sending s = {.list = mem_new_array((size_t)count, sizeof *s.list), .node = n};
    char(*ids)[16] = mem_new_array((size_t)count, sizeof *ids);
    for (int i = 0; i < count; i++) {
        snprintf(ids[i], sizeof ids[i], "s%d", first + i);
        s.list[i] = (struct canon_arrival){.origin = "a",
                                           .source_id = ids[i],
                                           .observed_at = 1,
                                           .data = json_read(says, strlen(says), &e)};
    }
    s.r = (struct canon_request){.home = sim_client(n->sim),
                                 .env = &s.env,
                                 .arrivals = s.list,
                                 .count = (size_t)count,
                                 .done = node_sent};
    assert_int_equal(canon_arrive(n->engine, "P", &s.r, &e), 0);
    node_wait(n);
    enum canon_outcome last = s.list[count - 1].outcome;
    canon_request_fini(&s.r);
    mem_free(s.list);
    mem_free(ids);
    return last;
}

static int64_t node_number(struct node *n, const char *sql)
{
    struct err e = ERR_INIT;
    struct db_stmt *s = db_stmt_get(n->db, sql, &e);
    assert_int_equal(db_step(s, &e), 1);
    int64_t v = db_col_int(s, 0);
    db_stmt_done(s);
    return v;
}

static void node_days(struct node *n, int64_t ms)
{
    sim_clock_jump(n->sim, ms);
    sim_run(n->sim, 3 * MINUTE);
}

static const char FAILED[] = "SELECT count(*) FROM canon_arrival WHERE outcome = 3";
static const char ALL[] = "SELECT count(*) FROM canon_arrival";
static const char WRONG[] = "{\"k\":\"x\",\"age\":\"old\"}";

TEST(failed_arrivals_are_removed_thirty_days_after_they_came)
{
    struct node n;
    node_open(&n);
    assert_int_equal(node_send(&n, 0, 1, WRONG), CANON_FAILED);
    node_days(&n, 20 * DAY);
    assert_int_equal(node_send(&n, 1, 1, WRONG), CANON_FAILED);
    node_days(&n, 9 * DAY);
    assert_int_equal(node_number(&n, FAILED), 2);
    node_days(&n, 1 * DAY);
    assert_int_equal(node_number(&n, FAILED), 1);
    assert_int_equal(node_number(&n, "SELECT count(*) FROM canon_source"), 1);
    node_days(&n, 20 * DAY);
    assert_int_equal(node_number(&n, ALL), 0);
    node_close(&n);
}

TEST(what_did_not_fail_is_kept_for_ever)
{
    struct node n;
    node_open(&n);
    assert_int_equal(node_send(&n, 0, 1, "{\"k\":\"x\"}"), CANON_CANONIZED);
    assert_int_equal(node_send(&n, 1, 1, "{\"k\":\"x\"}"), CANON_NOOP);
    assert_int_equal(node_send(&n, 2, 1, "{\"age\":7}"), CANON_CANONIZED);
    assert_int_equal(node_send(&n, 0, 1, WRONG), CANON_FAILED);
    node_days(&n, 4000 * DAY);
    assert_int_equal(node_number(&n, FAILED), 0);
    assert_int_equal(node_number(&n, ALL), 3);
    assert_int_equal(node_number(&n, "SELECT count(*) FROM canon_source"), 3);
    assert_int_equal(node_number(&n, "SELECT count(*) FROM entity_P"), 2);
    node_close(&n);
}

/* C5, for as long as the first is remembered. */
TEST(a_failure_that_was_removed_fails_again)
{
    struct node n;
    node_open(&n);
    assert_int_equal(node_send(&n, 0, 1, WRONG), CANON_FAILED);
    assert_int_equal(node_send(&n, 0, 1, WRONG), CANON_NOOP);
    node_days(&n, 31 * DAY);
    assert_int_equal(node_send(&n, 0, 1, WRONG), CANON_FAILED);
    assert_int_equal(node_number(&n, ALL), 1);
    node_close(&n);
}

TEST(more_than_one_unit_may_remove_are_removed_one_unit_after_the_other)
{
    struct node n;
    node_open(&n);
    node_send(&n, 0, CANON_BULK_MAX, WRONG);
    node_send(&n, CANON_BULK_MAX, 200, WRONG);
    assert_int_equal(node_number(&n, FAILED), CANON_BULK_MAX + 200);
    uint64_t before = ledger_applied(n.ledger);
    node_days(&n, 31 * DAY);
    assert_int_equal(node_number(&n, ALL), 0);
    assert_true(ledger_applied(n.ledger) >= before + 3);
    node_close(&n);
}

TEST(nothing_is_proposed_while_nothing_is_old)
{
    struct node n;
    node_open(&n);
    node_send(&n, 0, 1, WRONG);
    uint64_t before = ledger_applied(n.ledger);
    sim_run(n.sim, 10 * MINUTE);
    assert_int_equal(ledger_applied(n.ledger), before);
    node_close(&n);
}

static int warm_up(void **state)
{
    struct node n;
    (void)state;
    node_open(&n);
    node_close(&n);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HEAP_TEST(failed_arrivals_are_removed_thirty_days_after_they_came),
        HEAP_TEST(what_did_not_fail_is_kept_for_ever),
        HEAP_TEST(a_failure_that_was_removed_fails_again),
        HEAP_TEST(more_than_one_unit_may_remove_are_removed_one_unit_after_the_other),
        HEAP_TEST(nothing_is_proposed_while_nothing_is_old),
    };
    return cmocka_run_group_tests(tests, warm_up, NULL);
}
