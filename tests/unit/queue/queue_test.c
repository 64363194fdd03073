/* The queue on a real ledger: operations, consumers, restarts, bodies that outlive the log. */
#include "queue/queue.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/mem.h"
#include "db/db.h"
#include "io/loop.h"
#include "support/ledger_kit.h"
#include "support/unit.h"

struct fixture {
    struct kit_node node;
    struct queues *queues;
    struct domain domain;
};

static void queue_up(struct fixture *f)
{
    f->queues = queues_new();
    f->domain = *queues_domain(f->queues);
    f->node.also = &f->domain;
    assert_int_equal(kit_node_open(&f->node, NULL), 0);
    queues_start(f->queues, f->node.ledger, loop_world(f->node.loop));
}

static void queue_down(struct fixture *f)
{
    queues_stop(f->queues);
    kit_node_close(&f->node);
    queues_free(f->queues);
}

static void begin(struct fixture *f)
{
    *f = (struct fixture){.queues = NULL};
    kit_node_fresh(&f->node);
}

static void end(struct fixture *f)
{
    queue_down(f);
    kit_node_gone(&f->node);
}

static void restart(struct fixture *f)
{
    queue_down(f);
    queue_up(f);
}

static struct uuid id_of(uint32_t n)
{
    struct uuid id = {{0}};
    memcpy(id.b, &n, sizeof n);
    id.b[15] = 1;
    return id;
}

static int declare(struct fixture *f, const char *name)
{
    struct unit u;
    struct core_queue q = {.name = name};
    core_queue_defaults(&q);
    kit_unit(&f->node, &u);
    queue_txn_declare(&u.txn, &q);
    int rc = kit_do(&f->node, &u);
    unit_fini(&u);
    return rc;
}

static struct queue_message message(uint32_t n, const char *body)
{
    return (struct queue_message){
        .send = {.queue = "mail", .id = id_of(n), .priority = CORE_PRIORITY},
        .headers = "{\"n\":\"1\"}",
        .correlation = "c-1",
        .body = body,
        .body_len = strlen(body)};
}

static int send_it(struct fixture *f, const struct queue_message *m)
{
    struct unit u;
    kit_unit(&f->node, &u);
    assert_int_equal(queue_txn_send(&u.txn, m, NULL), 0);
    int rc = kit_do(&f->node, &u);
    unit_fini(&u);
    return rc;
}

static int settle(struct fixture *f, uint32_t n, uint64_t token, enum core_outcome outcome)
{
    struct unit u;
    struct core_settle s = {.id = id_of(n), .token = token, .outcome = outcome, .delay_ms = -1};
    kit_unit(&f->node, &u);
    assert_int_equal(queue_txn_settle(&u.txn, &s, "done", 4, NULL), 0);
    int rc = kit_do(&f->node, &u);
    unit_fini(&u);
    return rc;
}

/* ---- asking ---- */

struct look {
    struct queue_ask ask;
    struct uuid id;
    struct core_view view;
    int rc;
    bool done;
};

static void look_ask(struct queue_ask *a, const struct core *c)
{
    struct look *l = (struct look *)a;
    l->rc = core_look(c, &l->id, &l->view, NULL);
}

static void look_done(struct queue_ask *a)
{
    ((struct look *)a)->done = true;
}

static int look(struct fixture *f, uint32_t n, struct core_view *out)
{
    struct look l = {.ask = {.home = loop_runner(f->node.loop), .ask = look_ask, .done = look_done},
                     .id = id_of(n)};
    queues_ask(f->queues, &l.ask);
    while (!l.done)
        loop_poll(f->node.loop);
    *out = l.view;
    return l.rc;
}

/* ---- consumers ---- */

struct taker {
    struct queue_consumer consumer;
    struct queues *queues;
    struct core_effect *got;
    size_t count;
    bool gone;
};

static void taker_arrived(struct queue_consumer *c)
{
    struct taker *t = (struct taker *)c;
    mem_free(t->got);
    t->got = queues_take(t->queues, c, &t->count);
}

static void taker_gone(struct queue_consumer *c)
{
    ((struct taker *)c)->gone = true;
}

static void taker_open(struct fixture *f, struct taker *t, uint32_t credit)
{
    static const char *const queues[] = {"mail"};
    struct unit u;
    *t = (struct taker){.queues = f->queues};
    t->consumer.id = id_of(0x7000);
    t->consumer.home = loop_runner(f->node.loop);
    t->consumer.arrived = taker_arrived;
    t->consumer.gone = taker_gone;
    queues_listen(f->queues, &t->consumer);
    struct core_consumer o = {
        .id = t->consumer.id, .node = "n", .queues = queues, .queues_count = 1, .credit = credit};
    kit_unit(&f->node, &u);
    queue_txn_open(&u.txn, &o);
    assert_int_equal(kit_do(&f->node, &u), 0);
    unit_fini(&u);
}

static void taker_wait(struct fixture *f, struct taker *t, size_t count)
{
    for (int i = 0; i < 1000 && t->count < count; i++)
        loop_poll(f->node.loop);
    assert_int_equal(t->count, count);
}

static void taker_close(struct fixture *f, struct taker *t)
{
    queues_unlisten(f->queues, &t->consumer);
    while (!t->gone)
        loop_poll(f->node.loop);
    mem_free(t->got);
}

static void body_is(struct fixture *f, uint64_t place, const char *body)
{
    AUTO(buf_fini) struct buf b = BUF_INIT(LEDGER_READ_MAX);
    struct queue_stored *s = mem_new(sizeof *s);
    struct db *db = kit_reader(&f->node);
    assert_int_equal(queue_place_read(f->node.ledger, db, place, &b, NULL), 0);
    assert_int_equal(queue_message_read(b.data, b.len, 0, s, NULL), 0);
    assert_int_equal(s->body_len, strlen(body));
    assert_memory_equal(s->body, body, s->body_len);
    assert_string_equal(s->headers, "{\"n\":\"1\"}");
    assert_string_equal(s->correlation, "c-1");
    db_close(db);
    mem_free(s);
}

TEST(a_message_is_granted_in_the_entry_that_brings_it_and_its_body_is_read_from_the_log)
{
    struct fixture f;
    struct taker t;
    struct core_view v;
    begin(&f);
    queue_up(&f);
    assert_int_equal(declare(&f, "mail"), 0);
    taker_open(&f, &t, 1);
    struct queue_message m = message(1, "hello");
    assert_int_equal(send_it(&f, &m), 0);
    taker_wait(&f, &t, 1);
    assert_int_equal(t.got[0].kind, EFFECT_GRANT);
    assert_int_equal(t.got[0].attempt, 1);
    body_is(&f, t.got[0].place, "hello");
    assert_int_equal(look(&f, 1, &v), 0);
    assert_int_equal(v.state, REC_EXECUTING);
    assert_int_equal(settle(&f, 1, t.got[0].token + 1, SETTLE_ACK), ERR_FENCED);
    assert_int_equal(settle(&f, 1, t.got[0].token, SETTLE_ACK), 0);
    assert_int_equal(look(&f, 1, &v), ERR_NOT_FOUND);
    taker_close(&f, &t);
    end(&f);
}

TEST(what_waits_and_what_is_leased_is_there_after_a_restart)
{
    struct fixture f;
    struct taker t;
    struct core_view v;
    begin(&f);
    queue_up(&f);
    assert_int_equal(declare(&f, "mail"), 0);
    taker_open(&f, &t, 1);
    for (uint32_t n = 1; n <= 3; n++) {
        struct queue_message m = message(n, "hello");
        assert_int_equal(send_it(&f, &m), 0);
    }
    taker_wait(&f, &t, 1);
    uint64_t token = t.got[0].token;
    taker_close(&f, &t);
    restart(&f);
    assert_int_equal(look(&f, 1, &v), 0);
    assert_int_equal(v.state, REC_EXECUTING);
    assert_int_equal(v.token, token);
    assert_int_equal(look(&f, 3, &v), 0);
    assert_int_equal(v.state, REC_AVAILABLE);
    body_is(&f, v.place, "hello");
    assert_int_equal(settle(&f, 1, token, SETTLE_ACK), 0);
    assert_int_equal(look(&f, 2, &v), 0);
    assert_int_equal(v.state, REC_EXECUTING);
    end(&f);
}

TEST(a_unit_that_is_refused_sends_nothing) /* L1 */
{
    struct fixture f;
    struct unit u;
    struct core_view v;
    begin(&f);
    queue_up(&f);
    assert_int_equal(declare(&f, "mail"), 0);
    kit_unit(&f.node, &u);
    struct queue_message m = message(1, "never");
    assert_int_equal(queue_txn_send(&u.txn, &m, NULL), 0);
    kit_fail(&u, 7, ERR_CONFLICT);
    assert_int_equal(kit_do(&f.node, &u), ERR_CONFLICT);
    unit_fini(&u);
    assert_int_equal(look(&f, 1, &v), ERR_NOT_FOUND);
    restart(&f);
    assert_int_equal(look(&f, 1, &v), ERR_NOT_FOUND);
    end(&f);
}

static int add_while_delivered(struct fixture *f, uint32_t n, uint64_t token, uint64_t row)
{
    struct unit u;
    struct uuid id = id_of(n);
    kit_unit(&f->node, &u);
    queue_txn_if_delivery(&u.txn, &id, token);
    kit_put(&u, row, "v", 1);
    int rc = kit_do(&f->node, &u);
    unit_fini(&u);
    return rc;
}

TEST(a_unit_of_a_delivery_that_is_over_changes_nothing_and_the_ledger_goes_on) /* L4 */
{
    struct fixture f;
    struct taker t;
    begin(&f);
    queue_up(&f);
    assert_int_equal(declare(&f, "mail"), 0);
    taker_open(&f, &t, 1);
    struct queue_message m = message(1, "hello");
    assert_int_equal(send_it(&f, &m), 0);
    taker_wait(&f, &t, 1);
    uint64_t token = t.got[0].token;
    assert_int_equal(add_while_delivered(&f, 1, token, 7), 0);
    assert_int_equal(add_while_delivered(&f, 1, token + 1, 8), ERR_FENCED);
    assert_int_equal(settle(&f, 1, token, SETTLE_ACK), 0);
    assert_int_equal(add_while_delivered(&f, 1, token, 9), ERR_FENCED);
    struct db *db = kit_reader(&f.node);
    assert_int_equal(kit_rows(db), 1);
    db_close(db);
    taker_close(&f, &t);
    end(&f);
}

TEST(what_is_due_becomes_available_though_nothing_else_happens)
{
    struct fixture f;
    struct core_view v;
    begin(&f);
    queue_up(&f);
    assert_int_equal(declare(&f, "mail"), 0);
    struct queue_message m = message(1, "later");
    m.send.run_at = loop_world(f.node.loop)->wall_ms(loop_world(f.node.loop)) + 50;
    assert_int_equal(send_it(&f, &m), 0);
    assert_int_equal(look(&f, 1, &v), 0);
    assert_int_equal(v.state, REC_SCHEDULED);
    for (int i = 0; i < 5000 && v.state == REC_SCHEDULED; i++) {
        usleep(1000);
        look(&f, 1, &v);
    }
    assert_int_equal(v.state, REC_AVAILABLE);
    end(&f);
}

static int segments(const struct fixture *f)
{
    char path[512];
    int count = 0;
    snprintf(path, sizeof path, "%s/log", f->node.dir);
    DIR *d = opendir(path);
    for (struct dirent *e; (e = readdir(d)) != NULL;)
        count += strstr(e->d_name, ".log") != NULL;
    closedir(d);
    return count;
}

/* Much log, of which little is to be kept. */
static void flood(struct fixture *f, int units)
{
    static char bytes[60000];
    for (int i = 0; i < units; i++) {
        struct unit u;
        kit_unit(&f->node, &u);
        kit_put(&u, 1, bytes, sizeof bytes);
        assert_int_equal(kit_do(&f->node, &u), 0);
        unit_fini(&u);
    }
}

TEST(a_message_for_next_month_does_not_keep_the_log_and_its_body_stays) /* Q2 */
{
    struct fixture f;
    struct core_view v;
    begin(&f);
    f.node.options.segment_bytes = 1 << 20;
    f.node.options.snapshot_bytes = 1 << 20;
    f.node.options.keep_bytes = 2 << 20;
    queue_up(&f);
    assert_int_equal(declare(&f, "mail"), 0);
    for (uint32_t n = 1; n <= 3; n++) {
        struct queue_message m = message(n, "remember me");
        m.send.run_at = INT64_C(4000000000000);
        assert_int_equal(send_it(&f, &m), 0);
    }
    flood(&f, 400);
    assert_true(segments(&f) < 12); /* 24 MB were written */
    assert_int_equal(look(&f, 2, &v), 0);
    body_is(&f, v.place, "remember me");
    restart(&f);
    assert_int_equal(look(&f, 3, &v), 0);
    body_is(&f, v.place, "remember me");
    struct unit u;
    kit_unit(&f.node, &u);
    queue_txn_cancel(&u.txn, &(struct uuid){.b = {2, [15] = 1}});
    assert_int_equal(kit_do(&f.node, &u), 0);
    unit_fini(&u);
    flood(&f, 1);
    struct db *db = kit_reader(&f.node);
    struct db_stmt *s = db_stmt_get(db, "SELECT count(*) FROM local_queue_bodies", NULL);
    assert_int_equal(db_step(s, NULL), 1);
    assert_int_equal(db_col_int(s, 0), 2);
    db_stmt_done(s);
    db_close(db);
    end(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HEAP_TEST(
            a_message_is_granted_in_the_entry_that_brings_it_and_its_body_is_read_from_the_log),
        HEAP_TEST(what_waits_and_what_is_leased_is_there_after_a_restart),
        HEAP_TEST(a_unit_that_is_refused_sends_nothing),
        HEAP_TEST(a_unit_of_a_delivery_that_is_over_changes_nothing_and_the_ledger_goes_on),
        HEAP_TEST(what_is_due_becomes_available_though_nothing_else_happens),
        HEAP_TEST(a_message_for_next_month_does_not_keep_the_log_and_its_body_stays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
