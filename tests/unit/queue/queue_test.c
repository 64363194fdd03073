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
#include "support/queue_node.h"
#include "support/unit.h"

static void body_is(struct queue_node *f, uint64_t place, const char *body)
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
    struct queue_node f;
    struct queue_taker t;
    struct core_view v;
    queue_node_begin(&f);
    queue_node_up(&f);
    assert_int_equal(queue_node_declare(&f, "mail"), 0);
    queue_taker_open(&f, &t, 1);
    struct queue_message m = queue_node_message(1, "hello");
    assert_int_equal(queue_node_send(&f, &m), 0);
    queue_taker_wait(&f, &t, 1);
    assert_int_equal(t.got[0].kind, EFFECT_GRANT);
    assert_int_equal(t.got[0].attempt, 1);
    body_is(&f, t.got[0].place, "hello");
    assert_int_equal(queue_node_look(&f, 1, &v), 0);
    assert_int_equal(v.state, REC_EXECUTING);
    assert_int_equal(queue_node_settle(&f, 1, t.got[0].token + 1, SETTLE_ACK), ERR_FENCED);
    assert_int_equal(queue_node_settle(&f, 1, t.got[0].token, SETTLE_ACK), 0);
    assert_int_equal(queue_node_look(&f, 1, &v), ERR_NOT_FOUND);
    queue_taker_close(&f, &t);
    queue_node_end(&f);
}

TEST(what_waits_and_what_is_leased_is_there_after_a_restart)
{
    struct queue_node f;
    struct queue_taker t;
    struct core_view v;
    queue_node_begin(&f);
    queue_node_up(&f);
    assert_int_equal(queue_node_declare(&f, "mail"), 0);
    queue_taker_open(&f, &t, 1);
    for (uint32_t n = 1; n <= 3; n++) {
        struct queue_message m = queue_node_message(n, "hello");
        assert_int_equal(queue_node_send(&f, &m), 0);
    }
    queue_taker_wait(&f, &t, 1);
    uint64_t token = t.got[0].token;
    queue_taker_close(&f, &t);
    queue_node_restart(&f);
    assert_int_equal(queue_node_look(&f, 1, &v), 0);
    assert_int_equal(v.state, REC_EXECUTING);
    assert_int_equal(v.token, token);
    assert_int_equal(queue_node_look(&f, 3, &v), 0);
    assert_int_equal(v.state, REC_AVAILABLE);
    body_is(&f, v.place, "hello");
    assert_int_equal(queue_node_settle(&f, 1, token, SETTLE_ACK), 0);
    assert_int_equal(queue_node_look(&f, 2, &v), 0);
    assert_int_equal(v.state, REC_AVAILABLE);
    queue_node_end(&f);
}

/* Its consumer still has credit when the node is opened again, and a message becomes due in the
 * very entry that retires it. */
TEST(what_comes_after_a_crash_goes_to_who_lives_with_its_first_try) /* Q3 */
{
    struct queue_node f;
    struct queue_taker t, second;
    struct core_view v;
    queue_node_begin(&f);
    queue_node_up(&f);
    assert_int_equal(queue_node_declare(&f, "mail"), 0);
    queue_taker_open(&f, &t, 5);
    struct queue_message m = queue_node_message(1, "soon");
    struct world *w = loop_world(f.node.loop);
    m.send.run_at = w->wall_ms(w) + 200;
    assert_int_equal(queue_node_send(&f, &m), 0);
    queue_taker_close(&f, &t);
    queue_node_down(&f);
    usleep(300 * 1000);
    queue_node_up(&f);
    m = queue_node_message(2, "now");
    assert_int_equal(queue_node_send(&f, &m), 0);
    for (uint32_t n = 1; n <= 2; n++) {
        assert_int_equal(queue_node_look(&f, n, &v), 0);
        assert_int_equal(v.state, REC_AVAILABLE);
        assert_int_equal(v.attempts, 0);
    }
    queue_taker_open(&f, &second, 2);
    queue_taker_wait(&f, &second, 2);
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(second.got[i].attempt, 1);
    queue_taker_close(&f, &second);
    queue_node_end(&f);
}

TEST(a_unit_that_is_refused_sends_nothing) /* L1 */
{
    struct queue_node f;
    struct unit u;
    struct core_view v;
    queue_node_begin(&f);
    queue_node_up(&f);
    assert_int_equal(queue_node_declare(&f, "mail"), 0);
    kit_unit(&f.node, &u);
    struct queue_message m = queue_node_message(1, "never");
    assert_int_equal(queue_txn_send(&u.txn, &m, NULL), 0);
    kit_fail(&u, 7, ERR_CONFLICT);
    assert_int_equal(kit_do(&f.node, &u), ERR_CONFLICT);
    unit_fini(&u);
    assert_int_equal(queue_node_look(&f, 1, &v), ERR_NOT_FOUND);
    queue_node_restart(&f);
    assert_int_equal(queue_node_look(&f, 1, &v), ERR_NOT_FOUND);
    queue_node_end(&f);
}

static int add_while_delivered(struct queue_node *f, uint32_t n, uint64_t token, uint64_t row)
{
    struct unit u;
    struct uuid id = queue_node_id(n);
    kit_unit(&f->node, &u);
    queue_txn_if_delivery(&u.txn, &id, token);
    kit_put(&u, row, "v", 1);
    int rc = kit_do(&f->node, &u);
    unit_fini(&u);
    return rc;
}

TEST(a_unit_of_a_delivery_that_is_over_changes_nothing_and_the_ledger_goes_on) /* L4 */
{
    struct queue_node f;
    struct queue_taker t;
    queue_node_begin(&f);
    queue_node_up(&f);
    assert_int_equal(queue_node_declare(&f, "mail"), 0);
    queue_taker_open(&f, &t, 1);
    struct queue_message m = queue_node_message(1, "hello");
    assert_int_equal(queue_node_send(&f, &m), 0);
    queue_taker_wait(&f, &t, 1);
    uint64_t token = t.got[0].token;
    assert_int_equal(add_while_delivered(&f, 1, token, 7), 0);
    assert_int_equal(add_while_delivered(&f, 1, token + 1, 8), ERR_FENCED);
    assert_int_equal(queue_node_settle(&f, 1, token, SETTLE_ACK), 0);
    assert_int_equal(add_while_delivered(&f, 1, token, 9), ERR_FENCED);
    struct db *db = kit_reader(&f.node);
    assert_int_equal(kit_rows(db), 1);
    db_close(db);
    queue_taker_close(&f, &t);
    queue_node_end(&f);
}

TEST(what_is_due_becomes_available_though_nothing_else_happens)
{
    struct queue_node f;
    struct core_view v;
    queue_node_begin(&f);
    queue_node_up(&f);
    assert_int_equal(queue_node_declare(&f, "mail"), 0);
    struct queue_message m = queue_node_message(1, "later");
    m.send.run_at = loop_world(f.node.loop)->wall_ms(loop_world(f.node.loop)) + 50;
    assert_int_equal(queue_node_send(&f, &m), 0);
    assert_int_equal(queue_node_look(&f, 1, &v), 0);
    assert_int_equal(v.state, REC_SCHEDULED);
    for (int i = 0; i < 5000 && v.state == REC_SCHEDULED; i++) {
        usleep(1000);
        queue_node_look(&f, 1, &v);
    }
    assert_int_equal(v.state, REC_AVAILABLE);
    queue_node_end(&f);
}

static int segments(const struct queue_node *f)
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
static void flood(struct queue_node *f, int units)
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

static void sender_is(struct queue_node *f, uint64_t place, const char *who, const char *why)
{
    struct queue_sender s;
    struct db *db = kit_reader(&f->node);
    assert_int_equal(queue_sender_read(db, place, &s, NULL), 0);
    assert_string_equal(s.principal, who);
    assert_string_equal(s.causation, why);
    db_close(db);
}

#define SCRIPT UINT64_C(0x0123456789abcdef)

static uint64_t script_of(struct queue_node *f, uint64_t place)
{
    AUTO(buf_fini) struct buf b = BUF_INIT(LEDGER_READ_MAX);
    AUTO(mem_freep) struct queue_stored *s = mem_new(sizeof *s);
    struct db *db = kit_reader(&f->node);
    assert_int_equal(queue_place_read(f->node.ledger, db, place, &b, NULL), 0);
    assert_int_equal(queue_message_read(b.data, b.len, 0, s, NULL), 0);
    db_close(db);
    return s->script;
}

static void send_by(struct queue_node *f, uint32_t n, const char *who, const char *why)
{
    struct unit u;
    struct queue_message m = queue_node_message(n, "hers");
    m.send.run_at = INT64_C(4000000000000);
    m.script = SCRIPT;
    kit_unit(&f->node, &u);
    txn_envelope(&u.txn, &(struct envelope){.principal = who, .causation = why});
    assert_int_equal(queue_txn_send(&u.txn, &m, NULL), 0);
    assert_int_equal(kit_do(&f->node, &u), 0);
    unit_fini(&u);
}

TEST(a_message_for_next_month_does_not_keep_the_log_and_its_body_stays) /* Q2 */
{
    struct queue_node f;
    struct core_view v;
    queue_node_begin(&f);
    f.node.options.segment_bytes = 1 << 20;
    f.node.options.snapshot_bytes = 1 << 20;
    f.node.options.keep_bytes = 2 << 20;
    queue_node_up(&f);
    assert_int_equal(queue_node_declare(&f, "mail"), 0);
    for (uint32_t n = 1; n <= 3; n++) {
        struct queue_message m = queue_node_message(n, "remember me");
        m.send.run_at = INT64_C(4000000000000);
        assert_int_equal(queue_node_send(&f, &m), 0);
    }
    send_by(&f, 4, "ann", "her-run");
    flood(&f, 400);
    assert_true(segments(&f) < 12); /* 24 MB were written */
    assert_int_equal(queue_node_look(&f, 2, &v), 0);
    body_is(&f, v.place, "remember me");
    sender_is(&f, v.place, TXN_PRINCIPAL, "");
    assert_int_equal(script_of(&f, v.place), 0);
    assert_int_equal(queue_node_look(&f, 4, &v), 0);
    sender_is(&f, v.place, "ann", "her-run");
    assert_int_equal(script_of(&f, v.place), SCRIPT);
    sender_is(&f, v.place + 1, "", "");
    queue_node_restart(&f);
    assert_int_equal(queue_node_look(&f, 3, &v), 0);
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
    assert_int_equal(db_col_int(s, 0), 3);
    db_stmt_done(s);
    db_close(db);
    queue_node_end(&f);
}

static int edit_it(struct queue_node *f, size_t bytes, bool large)
{
    struct unit u;
    struct uuid id = queue_node_id(1);
    char *body = mem_new(bytes);
    memset(body, '1', bytes);
    kit_unit(&f->node, &u);
    assert_int_equal(queue_txn_edit(&u.txn, &id, body, bytes, large, NULL), 0);
    int rc = kit_do(&f->node, &u);
    unit_fini(&u);
    mem_free(body);
    return rc;
}

TEST(an_edit_of_an_older_log_is_applied_again_whatever_its_queue_takes)
{
    struct queue_node f;
    queue_node_begin(&f);
    queue_node_up(&f);
    assert_int_equal(queue_node_declare(&f, "mail"), 0);
    struct queue_message m = queue_node_message(1, "hello");
    assert_int_equal(queue_node_send(&f, &m), 0);
    assert_int_equal(edit_it(&f, CORE_BODY + 1, false), ERR_TOO_LARGE);
    assert_int_equal(edit_it(&f, CORE_BODY + 1, true), 0); /* version 1, as all of them were */
    queue_node_down(&f);
    queue_node_up(&f);
    queue_node_end(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HEAP_TEST(
            a_message_is_granted_in_the_entry_that_brings_it_and_its_body_is_read_from_the_log),
        HEAP_TEST(what_waits_and_what_is_leased_is_there_after_a_restart),
        HEAP_TEST(what_comes_after_a_crash_goes_to_who_lives_with_its_first_try),
        HEAP_TEST(a_unit_that_is_refused_sends_nothing),
        HEAP_TEST(a_unit_of_a_delivery_that_is_over_changes_nothing_and_the_ledger_goes_on),
        HEAP_TEST(what_is_due_becomes_available_though_nothing_else_happens),
        HEAP_TEST(a_message_for_next_month_does_not_keep_the_log_and_its_body_stays),
        HEAP_TEST(an_edit_of_an_older_log_is_applied_again_whatever_its_queue_takes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
