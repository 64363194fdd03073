/* Many threads look at the queues while the ledger's thread works and walks over them. */
#include "queue/queue.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/stat.h"
#include "io/loop.h"
#include "support/queue_node.h"
#include "support/unit.h"

enum { QUEUES = 120, LOOKERS = 3, SENDS = 300 };

struct looker {
    struct queues *queues;
    pthread_t thread;
    atomic_bool *stop;
    int looks, wrong;
};

/* What is seen is whole: the sums of the page are the totals, or those of the next walk. */
static void *look(void *arg)
{
    struct looker *l = arg;
    uint64_t sent = 0;
    while (!atomic_load(l->stop)) {
        struct buf out = BUF_INIT(4 << 20);
        struct stat_page p = {.out = &out, .detailed = l->looks % 2 == 0};
        struct queue_totals t;
        queues_totals(l->queues, &t);
        queues_metrics(l->queues, &p);
        l->wrong += t.counts.sent < sent || t.counts.sent < t.counts.available;
        l->wrong += t.queues == QUEUES && p.count < QUEUES;
        sent = t.counts.sent;
        l->looks++;
        buf_fini(&out);
        usleep(500);
    }
    return NULL;
}

struct sender {
    struct unit unit;
    struct queue_node *node;
    atomic_int left;
};

static void sender_next(struct sender *s);

static void sent(struct unit *u)
{
    struct sender *s = LIST_OF(u, struct sender, unit);
    assert_int_equal(u->err.code, 0);
    unit_fini(u);
    if (atomic_fetch_sub(&s->left, 1) > 1)
        sender_next(s);
}

static void sender_next(struct sender *s)
{
    uint32_t n = (uint32_t)atomic_load(&s->left);
    char name[16];
    snprintf(name, sizeof name, "q%03u", n % QUEUES);
    struct queue_message m = queue_node_message(n, "x");
    m.send.queue = name;
    unit_init(&s->unit, loop_runner(s->node->node.loop), sent);
    assert_int_equal(queue_txn_send(&s->unit.txn, &m, NULL), 0);
    assert_int_equal(ledger_propose(s->node->node.ledger, &s->unit, NULL), 0);
}

TEST(whoever_looks_at_any_time_sees_what_was_whole)
{
    struct queue_node f;
    struct looker lookers[LOOKERS];
    atomic_bool stop = false;
    char name[16];
    queue_node_begin(&f);
    queue_node_up(&f);
    for (int i = 0; i < QUEUES; i++) {
        snprintf(name, sizeof name, "q%03d", i);
        assert_int_equal(queue_node_declare(&f, name), 0);
    }
    struct sender s = {.node = &f, .left = SENDS};
    sender_next(&s);
    assert_int_equal(loop_start(f.node.loop, NULL), 0);
    for (int i = 0; i < LOOKERS; i++) {
        lookers[i] = (struct looker){.queues = f.queues, .stop = &stop};
        assert_int_equal(pthread_create(&lookers[i].thread, NULL, look, &lookers[i]), 0);
    }
    struct queue_totals t = {.queues = 0};
    for (int i = 0; i < 20000 && t.counts.available < SENDS; i++) {
        usleep(1000);
        queues_totals(f.queues, &t);
    }
    atomic_store(&stop, true);
    for (int i = 0; i < LOOKERS; i++) {
        pthread_join(lookers[i].thread, NULL);
        assert_int_equal(lookers[i].wrong, 0);
        assert_true(lookers[i].looks > 0);
    }
    assert_int_equal(t.counts.available, SENDS);
    assert_int_equal(t.queues, QUEUES);
    queue_node_end_thread(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HEAP_TEST(whoever_looks_at_any_time_sees_what_was_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
