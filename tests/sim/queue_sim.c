/* The queue on a disk that forgets, with consumers that die and clocks that are set.
 *
 * Producers send; consumers open, renew or forget to, settle with every outcome, sometimes twice,
 * late, or with a token that is none; what they did is a row in the same unit. They have labels,
 * some those of their node, and records need them. Operators pause, cancel, retry, move and purge.
 * The node freezes at some I/O, is killed or loses power, and opens again, with a saved state and
 * without; its log is small, so bodies are moved out of it. What must hold is checked with each
 * entry (queue_book.h), and at quiet points for all records.
 *
 * Guarantees: Q1 Q2 Q3 Q4 Q5 L1 L2 L3 L4. */
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "sim/queue_sim.h"

enum {
    LIVES = 4,
    LATE_MS = 1200, /* what is due is done by then: the clock looks once a second */
    DRAIN_TURNS = 400,
};

/* ---- the work ---- */

static void work_committed(void *self, uint64_t seq, int64_t at)
{
    struct node *n = self;
    if (sim_is_frozen(n->h.sim))
        return;
    bool lapses =
        !n->live || sim_now_ns(n->h.sim) - n->opened_ns >= (uint64_t)QUEUE_GRACE_MS * 1000000;
    book_entry(&n->book, n->queues->core, seq, at, lapses);
}

/* Before the queue's own: the entry before this one is over, also where entries are run again. */
static int work_entry(void *self, const struct apply *a, struct err *e)
{
    struct node *n = self;
    (void)a, (void)e;
    if (!sim_is_frozen(n->h.sim))
        book_same(&n->book, n->queues->core);
    return 0;
}

static int work_save(void *self, struct hot_out *out, struct err *e)
{
    (void)self, (void)out, (void)e;
    return 0;
}

static int work_load(void *self, struct hot_in *in, struct err *e)
{
    (void)self, (void)in, (void)e;
    return 0;
}

static uint64_t work_hash(void *self)
{
    (void)self;
    return 0;
}

/* Rows of what was worked, and a hot domain before the queue's, which hears of each entry. */
static struct domain work_domain(struct node *n)
{
    static const struct domain_hot hot = {
        .entry = work_entry, .save = work_save, .load = work_load, .hash = work_hash};
    struct domain d = house_rows(&n->h);
    d.hot = &hot;
    d.committed = work_committed;
    return d;
}

static int64_t work_times(void *arg, uint32_t number)
{
    char name[WORK_NAME];
    return house_times(arg, queue_work_name(number, name));
}

/* ---- the node ---- */

static bool consumers_are_gone(void *arg)
{
    struct node *n = arg;
    bool gone = true;
    for (uint32_t i = 0; i < BOOK_CONSUMERS; i++)
        gone &= n->consumers[i].gone;
    return gone;
}

static void node_open(struct house *h)
{
    struct node *n = (struct node *)h;
    n->queues = queues_new();
    n->live = false;
    struct domain domains[] = {work_domain(n), *queues_domain(n->queues)};
    house_open(h, domains, ARRAY_LEN(domains));
    if (house_counts(h))
        book_opened(&n->book, n->queues->core);
    n->opened_ns = sim_now_ns(h->sim);
    n->live = true;
    queues_start(n->queues, h->ledger, sim_world(h->sim), "n");
    for (uint32_t i = 0; i < BOOK_CONSUMERS; i++)
        queue_hand_begin(&n->consumers[i], n, i);
    queue_sim_declare(n);
    for (uint32_t i = 0; i < BOOK_CONSUMERS; i++)
        queue_hand_open(&n->consumers[i]);
}

static void node_close(struct house *h)
{
    struct node *n = (struct node *)h;
    sim_note(h->sim, "close");
    house_settle(h);
    for (uint32_t i = 0; i < BOOK_CONSUMERS; i++)
        queues_unlisten(n->queues, &n->consumers[i].c);
    if (!sim_run_until(h->sim, consumers_are_gone, n, 1000))
        sim_fail("a consumer does not come to an end");
    queues_stop(n->queues);
    house_close(h);
    queues_free(n->queues);
    n->queues = NULL;
}

/* ---- checks ---- */

/* The bytes of every record can be read, wherever they are by now. */
static void check_bodies(struct node *n)
{
    struct err e = ERR_INIT;
    struct queue_stored *stored = mem_new(sizeof(*stored));
    for (uint32_t i = 0; i < n->book.count; i++) {
        struct core_view v;
        char want[16];
        if (core_look(n->queues->core, &n->book.notes[i].id, &v, NULL) != 0)
            continue;
        AUTO(buf_fini) struct buf b = BUF_INIT(LEDGER_READ_MAX);
        snprintf(want, sizeof(want), "m%u", i);
        if (queue_place_read(n->h.ledger, n->h.db, v.place, &b, &e) != 0 ||
            queue_message_read(b.data, b.len, 0, stored, &e) != 0)
            sim_fail("Q2: the body of record %u cannot be read: %s", i, e.text);
        if (memcmp(stored->body, want, strlen(want) + 1) != 0)
            sim_fail("Q2: record %u has the body of another", i);
    }
    mem_free(stored);
}

/* Nothing else happens: what is due was done by the node itself. */
static void check_clock(struct node *n)
{
    struct core_expiry x;
    sim_run(n->h.sim, LATE_MS);
    if (sim_is_frozen(n->h.sim))
        return;
    int64_t late = sim_world(n->h.sim)->wall_ms(sim_world(n->h.sim)) - LATE_MS;
    if (core_next_due(n->queues->core) < late)
        sim_fail("Q7: what was due at %lld is not done at %lld",
                 (long long)core_next_due(n->queues->core), (long long)late);
    core_next_expiry(n->queues->core, &x);
    uint64_t awake_ms = (sim_now_ns(n->h.sim) - n->opened_ns) / 1000000;
    if (x.at < late && awake_ms > QUEUE_GRACE_MS + LATE_MS)
        sim_fail("a lease was over at %lld and has not lapsed", (long long)x.at);
}

static void node_check(struct node *n)
{
    house_settle(&n->h);
    if (house_counts(&n->h))
        check_clock(n);
    if (!house_counts(&n->h))
        return;
    book_check(&n->book, n->queues->core, work_times, n);
    check_bodies(n);
    sim_event(n->h.sim, "checked", "", n->queues->spill.below, core_hash(n->queues->core));
}

/* ---- lives ---- */

static void node_turn(struct node *n)
{
    for (uint64_t sends = sim_rand(n->h.sim, 4); sends > 0; sends--)
        queue_sim_send(n);
    for (uint32_t i = 0; i < BOOK_CONSUMERS; i++)
        queue_hand_turn(&n->consumers[i]);
    if (sim_chance(n->h.sim, 15))
        queue_sim_operate(n);
    if (sim_chance(n->h.sim, 2))
        sim_clock_jump(n->h.sim, (int64_t)sim_rand(n->h.sim, 12000) - 4000);
    house_pass(&n->h, 1500, 40);
}

static void node_live(struct house *h)
{
    struct node *n = (struct node *)h;
    for (uint64_t turns = 5 + sim_rand(h->sim, 60); turns > 0 && house_counts(h); turns--) {
        node_turn(n);
        if (sim_chance(h->sim, 5) && house_counts(h))
            node_check(n);
    }
}

static uint64_t node_living(struct node *n)
{
    uint64_t living = 0;
    for (int i = 0; i < BOOK_QUEUES; i++) {
        struct core_counts k;
        struct err e = ERR_INIT;
        if (core_counts(n->queues->core, "default", queue_sim_names[i], &k, &e) == 0)
            living += k.scheduled + k.available + k.executing + k.retryable;
    }
    return living;
}

/* Everything comes to an end now, what kills whoever takes it too. */
static void node_drain(struct node *n)
{
    n->peace = true;
    node_open(&n->h);
    node_check(n);
    for (int turns = 0; turns < DRAIN_TURNS && node_living(n) > 0; turns++) {
        for (uint32_t i = 0; i < BOOK_CONSUMERS; i++)
            queue_hand_turn(&n->consumers[i]);
        sim_run(n->h.sim, 1000);
    }
    if (node_living(n) > 0)
        sim_fail("Q3: %llu records never come to an end", (unsigned long long)node_living(n));
    node_check(n);
    node_close(&n->h);
    house_power_cut(&n->h);
    node_open(&n->h);
    node_check(n);
    node_close(&n->h);
}

uint64_t queue_sim(uint64_t seed, FILE *trace)
{
    static const struct house_files files = {.segment_bytes = 32 << 10,
                                             .snapshot_bytes = 20000,
                                             .snapshot_more = 200000,
                                             .snapshot_entries = 200,
                                             .keep_bytes = 100000};
    static const struct house_life life = {
        .soon = 60, .late = 900, .open = node_open, .live = node_live, .close = node_close};
    struct node n = {.live = false};
    house_init(&n.h, seed, trace, &files);
    book_init(&n.book, n.h.sim);
    for (uint64_t lives = 1 + sim_rand(n.h.sim, LIVES); lives > 0; lives--)
        house_life(&n.h, &life);
    node_drain(&n);
    sim_note(n.h.sim, "%u sent, %llu granted, %llu lost, %llu ended", n.book.count,
             (unsigned long long)n.book.granted, (unsigned long long)n.book.lost,
             (unsigned long long)n.book.ended);
    book_fini(&n.book);
    return house_fini(&n.h);
}
