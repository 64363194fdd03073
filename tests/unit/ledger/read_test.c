/* Threads read entries of the log while segments are let go, written again under other names, and
 * read: for the thread sanitizer, and for what only real threads do. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/stat.h"
#include "io/loop.h"
#include "support/ledger_kit.h"
#include "support/unit.h"

enum { READERS = 2, ROUNDS = 150, EACH = 4, BYTES = 900, ENTRIES_MAX = 2048 };

struct reader {
    pthread_t thread;
    struct ledger *ledger;
    atomic_bool *over;
    uint64_t seed, first; /* `first`: look at the last ones only, or at all */
    unsigned read, gone, wrong;
};

/* Of each entry what its first reader has found. */
static atomic_uint found[ENTRIES_MAX];

static void read_one(struct reader *r, uint64_t index, struct buf *b)
{
    struct err e = ERR_INIT;
    int rc = ledger_read(r->ledger, index, b, &e);
    if (rc == ERR_GONE) {
        r->gone++;
        return;
    }
    unsigned h = rc == 0 ? (unsigned)hash64(1, b->data, b->len) | 1 : 0, was = 0;
    bool same = atomic_compare_exchange_strong(&found[index], &was, h) || was == h;
    r->wrong += rc != 0 || !same;
    if (rc != 0)
        fprintf(stderr, "entry %llu: %s\n", (unsigned long long)index, e.text);
    r->read++;
}

static void *reader_run(void *arg)
{
    struct reader *r = arg;
    struct buf b = BUF_INIT(LEDGER_READ_MAX);
    while (!atomic_load(r->over)) {
        uint64_t applied = ledger_applied(r->ledger);
        r->seed = r->seed * 6364136223846793005u + 1442695040888963407u;
        uint64_t back = (r->seed >> 33) % (r->first == 0 ? 60 : applied);
        read_one(r, back >= applied ? 1 : applied - back, &b);
    }
    buf_fini(&b);
    return NULL;
}

static atomic_int answered;

static void done(struct unit *u)
{
    (void)u;
    atomic_fetch_add(&answered, 1);
}

static void propose_some(struct kit_node *n, struct loop *clients, int round)
{
    static char text[BYTES];
    struct unit u[EACH];
    atomic_store(&answered, 0);
    for (int i = 0; i < EACH; i++) {
        text[0] = (char)(round * EACH + i);
        unit_init(&u[i], loop_runner(clients), done);
        kit_put(&u[i], (uint64_t)i, text, sizeof text);
        assert_int_equal(ledger_propose(n->ledger, &u[i], NULL), 0);
        while (i % 2 == 1 && atomic_load(&answered) <= i) {
            loop_poll(clients);
            usleep(20);
        }
    }
    for (int i = 0; i < EACH; i++)
        unit_fini(&u[i]);
}

static void closed(void *arg)
{
    loop_stop(arg);
}

TEST(entries_are_read_while_their_segments_are_let_go)
{
    struct kit_node n;
    struct loop *clients;
    atomic_bool over = false;
    struct reader readers[READERS];
    kit_node_fresh(&n);
    n.options.segment_bytes = 16 << 10;
    n.options.snapshot_entries = 7;
    n.options.keep_bytes = 48 << 10;
    assert_int_equal(kit_node_open(&n, NULL), 0);
    assert_int_equal(loop_start(n.loop, NULL), 0);
    assert_int_equal(loop_new("clients", &clients, NULL), 0);
    for (uint64_t i = 0; i < READERS; i++) {
        readers[i] = (struct reader){.ledger = n.ledger, .over = &over, .seed = i, .first = i};
        assert_int_equal(pthread_create(&readers[i].thread, NULL, reader_run, &readers[i]), 0);
    }
    for (int i = 0; i < ROUNDS; i++)
        propose_some(&n, clients, i);
    atomic_store(&over, true);
    assert_true(ledger_applied(n.ledger) < ENTRIES_MAX);
    for (int i = 0; i < READERS; i++) {
        pthread_join(readers[i].thread, NULL);
        assert_int_equal(readers[i].wrong, 0);
        assert_true(readers[i].read > 0);
    }
    assert_true(readers[1].gone > 0);
    ledger_close(n.ledger, closed, n.loop);
    loop_join(n.loop);
    while (loop_poll(clients))
        usleep(100);
    loop_free(clients);
    kit_node_gone(&n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HEAP_TEST(entries_are_read_while_their_segments_are_let_go),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
