/* Who hears of the end of a record, and who waits for it, on a real ledger and from many threads.
 */
#include "queue/queue.h"

#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#include "base/buf.h"
#include "db/db.h"
#include "io/loop.h"
#include "support/queue_node.h"
#include "support/unit.h"

/* ---- one thread ---- */

struct waiter {
    struct queue_watch watch;
    int count;
};

static void waiter_ended(struct queue_watch *w)
{
    ((struct waiter *)w)->count++;
}

static void waiter_begin(struct queue_node *f, struct waiter *w, uint32_t n, bool coming)
{
    *w = (struct waiter){.watch = {.id = queue_node_id(n),
                                   .home = loop_runner(f->node.loop),
                                   .coming = coming,
                                   .ended = waiter_ended}};
    queues_watch(f->queues, &w->watch);
}

static void turn(struct queue_node *f)
{
    for (int i = 0; i < 20; i++)
        loop_poll(f->node.loop);
}

static void waiter_end(struct queue_node *f, struct waiter *w, enum queue_watch_end end)
{
    for (int i = 0; i < 1000 && w->count == 0; i++)
        loop_poll(f->node.loop);
    assert_int_equal(w->count, 1);
    assert_int_equal(w->watch.end, end);
}

static void up(struct queue_node *f)
{
    queue_node_begin(f);
    queue_node_up(f);
    assert_int_equal(queue_node_declare(f, "mail"), 0);
}

static void send_it(struct queue_node *f, uint32_t n)
{
    struct queue_message m = queue_node_message(n, "hello");
    assert_int_equal(queue_node_send(f, &m), 0);
}

static void result_is(struct queue_node *f, uint64_t place, const char *text)
{
    AUTO(buf_fini) struct buf b = BUF_INIT(LEDGER_READ_MAX);
    struct db *db = kit_reader(&f->node);
    const void *p;
    size_t n;
    assert_int_equal(queue_place_read(f->node.ledger, db, place, &b, NULL), 0);
    assert_int_equal(queue_body_read(b.data, b.len, 0, QUEUE_PLACE_SETTLE, &p, &n, NULL), 0);
    assert_int_equal(n, strlen(text));
    assert_memory_equal(p, text, n);
    db_close(db);
}

TEST(who_waits_for_a_record_is_told_how_it_ended_and_where_its_result_lies)
{
    struct queue_node f;
    struct queue_taker t;
    struct waiter first, second;
    up(&f);
    queue_taker_open(&f, &t, 1);
    send_it(&f, 1);
    queue_taker_wait(&f, &t, 1);
    waiter_begin(&f, &first, 1, false);
    waiter_begin(&f, &second, 1, false);
    turn(&f);
    assert_int_equal(first.count, 0);
    assert_int_equal(queue_node_settle(&f, 1, t.got[0].token, SETTLE_ACK), 0);
    waiter_end(&f, &first, QUEUE_WATCH_ENDED);
    waiter_end(&f, &second, QUEUE_WATCH_ENDED);
    assert_int_equal(first.watch.state, REC_COMPLETED);
    result_is(&f, first.watch.result, "done"); /* though the record is gone */
    queue_taker_close(&f, &t);
    queue_node_end(&f);
}

TEST(who_waits_before_it_is_sent_misses_nothing)
{
    struct queue_node f;
    struct queue_taker t;
    struct waiter w;
    up(&f);
    queue_taker_open(&f, &t, 1);
    waiter_begin(&f, &w, 1, true);
    turn(&f);
    assert_int_equal(w.count, 0); /* that it is not there says nothing */
    send_it(&f, 1);
    queue_taker_wait(&f, &t, 1);
    assert_int_equal(queue_node_settle(&f, 1, t.got[0].token, SETTLE_REJECT), 0);
    waiter_end(&f, &w, QUEUE_WATCH_ENDED);
    assert_int_equal(w.watch.state, REC_DISCARDED);
    assert_int_equal(w.watch.reason, REASON_REJECTED);
    result_is(&f, w.watch.result, "done");
    queue_taker_close(&f, &t);
    queue_node_end(&f);
}

static void do_id(struct queue_node *f, uint32_t n, void (*add)(struct txn *, const struct uuid *))
{
    struct unit u;
    struct uuid id = queue_node_id(n);
    kit_unit(&f->node, &u);
    add(&u.txn, &id);
    assert_int_equal(kit_do(&f->node, &u), 0);
    unit_fini(&u);
}

TEST(who_comes_late_is_told_at_once)
{
    struct queue_node f;
    struct queue_taker t;
    struct waiter w;
    up(&f);
    queue_taker_open(&f, &t, 1);
    waiter_begin(&f, &w, 1, false);
    waiter_end(&f, &w, QUEUE_WATCH_GONE);
    send_it(&f, 1);
    queue_taker_wait(&f, &t, 1);
    assert_int_equal(queue_node_settle(&f, 1, t.got[0].token, SETTLE_REJECT), 0);
    waiter_begin(&f, &w, 1, false); /* a dead letter is kept */
    waiter_end(&f, &w, QUEUE_WATCH_ENDED);
    assert_int_equal(w.watch.reason, REASON_REJECTED);
    queue_taker_close(&f, &t);
    queue_node_end(&f);
}

TEST(a_dead_letter_that_moved_has_ended_until_it_is_retried)
{
    struct queue_node f;
    struct queue_taker t;
    struct waiter w;
    struct unit u;
    struct core_queue q = {.name = "mail", .dead_to = "graves"};
    up(&f);
    core_queue_defaults(&q);
    kit_unit(&f.node, &u);
    queue_txn_declare(&u.txn, &q);
    assert_int_equal(kit_do(&f.node, &u), 0);
    unit_fini(&u);
    queue_taker_open(&f, &t, 1);
    send_it(&f, 1);
    queue_taker_wait(&f, &t, 1);
    assert_int_equal(queue_node_settle(&f, 1, t.got[0].token, SETTLE_REJECT), 0);
    waiter_begin(&f, &w, 1, false);
    waiter_end(&f, &w, QUEUE_WATCH_ENDED);
    assert_int_equal(w.watch.state, REC_DISCARDED);
    do_id(&f, 1, queue_txn_purge);
    queue_taker_close(&f, &t);
    queue_node_end(&f);
}

TEST(who_waits_for_what_is_purged_is_told_that_it_is_gone)
{
    struct queue_node f;
    struct waiter w;
    up(&f);
    send_it(&f, 1);
    waiter_begin(&f, &w, 1, false);
    turn(&f);
    do_id(&f, 1, queue_txn_purge);
    waiter_end(&f, &w, QUEUE_WATCH_GONE);
    queue_node_end(&f);
}

TEST(who_waits_no_longer_is_told_once)
{
    struct queue_node f;
    struct waiter w;
    up(&f);
    send_it(&f, 1);
    waiter_begin(&f, &w, 1, false);
    queues_unwatch(f.queues, &w.watch); /* the question is on its way */
    queues_unwatch(f.queues, &w.watch);
    waiter_end(&f, &w, QUEUE_WATCH_LEFT);
    turn(&f);
    assert_int_equal(w.count, 1);
    waiter_begin(&f, &w, 1, true);
    queues_unwatch(f.queues, &w.watch);
    waiter_end(&f, &w, QUEUE_WATCH_LEFT);
    queue_node_end(&f);
}

struct heard {
    struct queue_ear ear;
    int ended, purged;
    uint64_t last;
    int64_t at;
};

static void heard_ended(struct queue_ear *ear, const struct core_effect *f, uint64_t seq,
                        int64_t at)
{
    struct heard *h = (struct heard *)ear;
    assert_string_equal(f->queue, "mail");
    h->ended += f->kind == EFFECT_ENDED;
    h->purged += f->kind == EFFECT_PURGED;
    h->last = seq;
    h->at = at;
}

TEST(an_ear_hears_each_end_once_and_none_again_after_a_restart)
{
    struct queue_node f;
    struct heard h = {.ear = {.ended = heard_ended}};
    struct queue_taker t;
    queue_node_begin(&f);
    f.ear = &h.ear;
    queue_node_up(&f);
    assert_int_equal(queue_node_declare(&f, "mail"), 0);
    queue_taker_open(&f, &t, 1);
    send_it(&f, 1);
    queue_taker_wait(&f, &t, 1);
    assert_int_equal(h.ended, 0);
    assert_int_equal(queue_node_settle(&f, 1, t.got[0].token, SETTLE_ACK), 0);
    assert_int_equal(h.ended, 1);
    assert_true(h.at > 0);
    assert_int_equal(h.last, ledger_applied(f.node.ledger));
    queue_taker_close(&f, &t);
    queue_node_restart(&f);
    send_it(&f, 2);
    do_id(&f, 2, queue_txn_purge);
    assert_int_equal(h.ended, 1);
    assert_int_equal(h.purged, 1);
    queue_node_end(&f);
}

/* ---- many threads ---- */

enum { THREADS = 3, MEMBERS = 8, ROUNDS = 25 };

struct crowd;

/* Sends a record for the far future; then watches it, and meanwhile it is canceled, or the watch
 * is given up. */
struct member {
    struct queue_watch watch;
    struct unit unit;
    struct crowd *crowd;
    uint32_t number;
    int round, open, told;
};

struct crowd {
    struct queue_node *node;
    struct loop *loop;
    pthread_t thread;
    struct member members[MEMBERS];
    int busy, ended, gone, left, failed;
};

static void member_next(struct member *m);

static void member_step(struct member *m)
{
    struct crowd *c = m->crowd;
    if (--m->open > 0)
        return;
    c->failed += m->told != 1;
    unit_fini(&m->unit);
    if (++m->round < ROUNDS)
        member_next(m);
    else if (--c->busy == 0)
        loop_stop(c->loop);
}

static void member_ended(struct queue_watch *w)
{
    struct member *m = (struct member *)w;
    m->told++;
    m->crowd->ended += w->end == QUEUE_WATCH_ENDED;
    m->crowd->gone += w->end == QUEUE_WATCH_GONE;
    m->crowd->left += w->end == QUEUE_WATCH_LEFT;
    member_step(m);
}

static struct member *member_of(struct unit *u)
{
    return LIST_OF(u, struct member, unit);
}

static void member_canceled(struct unit *u)
{
    struct member *m = member_of(u);
    m->crowd->failed += u->err.code != 0;
    member_step(m);
}

static void member_watch(struct member *m)
{
    m->watch.ended = member_ended;
    m->watch.home = loop_runner(m->crowd->loop);
    queues_watch(m->crowd->node->queues, &m->watch);
}

static void member_sent(struct unit *u)
{
    struct member *m = member_of(u);
    struct crowd *c = m->crowd;
    c->failed += u->err.code != 0;
    unit_fini(u);
    m->open = 2;
    if (m->round % 3 != 0)
        member_watch(m);
    unit_init(u, loop_runner(c->loop), member_canceled);
    queue_txn_cancel(&u->txn, &m->watch.id);
    c->failed += ledger_propose(c->node->node.ledger, u, &u->err) != 0;
    if (m->round % 3 == 2)
        queues_unwatch(c->node->queues, &m->watch);
}

static void member_next(struct member *m)
{
    struct crowd *c = m->crowd;
    struct queue_message s = queue_node_message(m->number * 1000 + (uint32_t)m->round, "x");
    s.send.run_at = INT64_C(4000000000000);
    m->told = 0;
    m->watch = (struct queue_watch){.id = s.send.id, .coming = m->round % 3 == 0};
    if (m->watch.coming)
        member_watch(m);
    unit_init(&m->unit, loop_runner(c->loop), member_sent);
    c->failed += queue_txn_send(&m->unit.txn, &s, NULL) != 0;
    c->failed += ledger_propose(c->node->node.ledger, &m->unit, &m->unit.err) != 0;
}

static void *crowd_run(void *arg)
{
    struct crowd *c = arg;
    for (int i = 0; i < MEMBERS; i++)
        member_next(&c->members[i]);
    loop_run(c->loop);
    return NULL;
}

static void crowd_begin(struct crowd *c, struct queue_node *f, uint32_t first)
{
    *c = (struct crowd){.node = f, .busy = MEMBERS};
    assert_int_equal(loop_new("crowd", &c->loop, NULL), 0);
    for (uint32_t i = 0; i < MEMBERS; i++)
        c->members[i] = (struct member){.crowd = c, .number = first + i};
    assert_int_equal(pthread_create(&c->thread, NULL, crowd_run, c), 0);
}

static void crowd_end(struct crowd *c)
{
    pthread_join(c->thread, NULL);
    while (loop_poll(c->loop))
        usleep(100);
    loop_free(c->loop);
    assert_int_equal(c->failed, 0);
    assert_int_equal(c->ended + c->gone + c->left, MEMBERS * ROUNDS);
    assert_true(c->ended >= MEMBERS * ((ROUNDS + 2) / 3)); /* all that were watched in advance */
}

TEST(each_watch_is_told_once_whatever_races_with_it)
{
    struct queue_node f;
    struct crowd crowds[THREADS];
    up(&f);
    assert_int_equal(loop_start(f.node.loop, NULL), 0);
    for (uint32_t i = 0; i < THREADS; i++)
        crowd_begin(&crowds[i], &f, i * MEMBERS + 1);
    for (uint32_t i = 0; i < THREADS; i++)
        crowd_end(&crowds[i]);
    queue_node_end_thread(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HEAP_TEST(who_waits_for_a_record_is_told_how_it_ended_and_where_its_result_lies),
        HEAP_TEST(who_waits_before_it_is_sent_misses_nothing),
        HEAP_TEST(who_comes_late_is_told_at_once),
        HEAP_TEST(a_dead_letter_that_moved_has_ended_until_it_is_retried),
        HEAP_TEST(who_waits_for_what_is_purged_is_told_that_it_is_gone),
        HEAP_TEST(who_waits_no_longer_is_told_once),
        HEAP_TEST(an_ear_hears_each_end_once_and_none_again_after_a_restart),
        HEAP_TEST(each_watch_is_told_once_whatever_races_with_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
