/* What others see of the queues while the ledger's thread is at work: totals, the page of metrics,
 * and queues whose handler is gone. */
#include "queue/queue.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/stat.h"
#include "io/loop.h"
#include "queue/core_priv.h"
#include "queue/queue_priv.h"
#include "support/queue_node.h"
#include "support/unit.h"

static void send_it(struct queue_node *f, const char *queue, uint32_t n)
{
    struct queue_message m = queue_node_message(n, "hello");
    m.send.queue = queue;
    assert_int_equal(queue_node_send(f, &m), 0);
}

static void declare(struct queue_node *f, const char *name, bool handled)
{
    struct unit u;
    struct core_queue q = {.name = name, .handled = handled};
    core_queue_defaults(&q);
    kit_unit(&f->node, &u);
    queue_txn_declare(&u.txn, &q);
    assert_int_equal(kit_do(&f->node, &u), 0);
    unit_fini(&u);
}

static double clock_ms(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static double now_ms(void)
{
    return clock_ms(CLOCK_MONOTONIC);
}

/* What this thread has worked, whoever else is at work on the machine. */
static double busy_ms(void)
{
    return clock_ms(CLOCK_THREAD_CPUTIME_ID);
}

/* Until the totals are those of now. */
static struct queue_totals totals(struct queue_node *f, uint64_t queues, uint64_t available)
{
    struct queue_totals t = {.queues = 0};
    for (double end = now_ms() + 30000; now_ms() < end;) {
        loop_poll(f->node.loop);
        queues_totals(f->queues, &t);
        if (t.queues == queues && t.counts.available == available)
            return t;
        usleep(1000);
    }
    fail_msg("%llu queues, %llu messages", (unsigned long long)t.queues,
             (unsigned long long)t.counts.available);
    return t;
}

static size_t page(struct queue_node *f, struct stat_page *p, struct buf *out)
{
    buf_init(out, 64 << 20);
    p->out = out;
    queues_metrics(f->queues, p);
    assert_false(buf_failed(out));
    return out->len;
}

static void has(const struct buf *out, const char *line)
{
    char whole[600];
    snprintf(whole, sizeof whole, "%s\n", line);
    if (strstr(buf_str((struct buf *)out), whole) == NULL)
        fail_msg("no line '%s' in\n%.4000s", line, out->data);
}

TEST(the_page_says_of_each_queue_what_waits_and_what_became_of_it)
{
    struct queue_node f;
    struct queue_taker t;
    struct stat_page p = {.openmetrics = true};
    struct buf out;
    queue_node_begin(&f);
    queue_node_up(&f);
    declare(&f, "mail", false);
    declare(&f, "other \"one\"", false);
    queue_taker_open(&f, &t, 2);
    send_it(&f, "mail", 1);
    queue_taker_wait(&f, &t, 1);
    uint64_t token = t.got[0].token;
    for (uint32_t i = 2; i <= 4; i++)
        send_it(&f, "mail", i);
    send_it(&f, "other \"one\"", 5);
    assert_int_equal(queue_node_settle(&f, 1, token, SETTLE_REJECT), 0);
    struct queue_totals all = totals(&f, 2, 2);
    assert_int_equal(all.counts.executing, 2);
    assert_int_equal(all.counts.discarded, 1);
    assert_int_equal(all.counts.sent, 5);
    assert_int_equal(all.unhandled, 0);
    page(&f, &p, &out);
    has(&out, "# TYPE koan_queue_messages gauge");
    has(&out, "# TYPE koan_queue_sent counter");
    has(&out, "koan_queue_messages{tenant=\"default\",queue=\"mail\",state=\"available\"} 1");
    has(&out, "koan_queue_messages{tenant=\"default\",queue=\"mail\",state=\"executing\"} 2");
    has(&out, "koan_queue_messages{tenant=\"default\",queue=\"mail\",state=\"discarded\"} 1");
    has(&out, "koan_queue_sent_total{tenant=\"default\",queue=\"mail\"} 4");
    has(&out, "koan_queue_granted_total{tenant=\"default\",queue=\"mail\"} 3");
    has(&out, "koan_queue_nacked_total{tenant=\"default\",queue=\"mail\"} 1");
    has(&out, "koan_queue_discarded_total{tenant=\"default\",queue=\"mail\"} 1");
    has(&out, "koan_queue_sent_total{tenant=\"default\",queue=\"other \\\"one\\\"\"} 1");
    has(&out, "koan_queues 2");
    assert_null(strstr(buf_str(&out), "other=\"true\""));
    buf_fini(&out);
    p = (struct stat_page){.detailed = true, .family = "koan_queue_messages", .value = "executing"};
    page(&f, &p, &out);
    assert_int_equal(p.count, 2);
    has(&out, "koan_queue_messages{tenant=\"default\",queue=\"mail\",state=\"executing\"} 2");
    buf_fini(&out);
    queue_taker_close(&f, &t);
    queue_node_end(&f);
}

static void send_once(struct queue_node *f, const char *text, uint32_t n)
{
    struct queue_message m = queue_node_message(n, "hello");
    m.send.queue = "mail";
    m.send.dedup = text;
    assert_int_equal(queue_node_send(f, &m), 0);
}

TEST(the_page_says_what_is_known_of_what_was_sent_and_what_was_forgotten) /* B4 */
{
    struct queue_node f;
    struct stat_page p = {.openmetrics = true};
    struct buf out;
    queue_node_begin(&f);
    queue_node_up(&f);
    declare(&f, "mail", false);
    f.queues->core->dedups_queue_max = 2;
    for (uint32_t i = 1; i <= 3; i++) {
        char text[8];
        snprintf(text, sizeof text, "t%u", i);
        send_once(&f, text, i);
    }
    struct queue_totals all = totals(&f, 1, 3);
    assert_int_equal(all.counts.dedups, 2);
    assert_int_equal(all.counts.dedups_forgotten, 1);
    assert_true(all.counts.dedups_whole_at > 0);
    assert_string_equal(all.dedups_name, "mail");
    page(&f, &p, &out);
    has(&out, "koan_queue_dedup_texts{tenant=\"default\",queue=\"mail\"} 2");
    has(&out, "koan_queue_dedup_forgotten_total{tenant=\"default\",queue=\"mail\"} 1");
    buf_fini(&out);
    queue_node_end(&f);
}

/* ---- very many ---- */

enum {
    MANY = 100000,
    AT_ONCE = 1000,
    BUSY = 30,
    PAGE_MS = 10,
    SANITIZER_SLACK = 5, /* these tests run under sanitizers */
};

static void declare_many(struct queue_node *f, const char *prefix)
{
    struct core_queue q = {.concurrency = 0};
    char name[160];
    core_queue_defaults(&q);
    for (int from = 0; from < MANY; from += AT_ONCE) {
        struct unit u;
        kit_unit(&f->node, &u);
        for (int i = from; i < from + AT_ONCE; i++) {
            snprintf(name, sizeof name, "%s%06d", prefix, i);
            q.name = name;
            queue_txn_declare(&u.txn, &q);
        }
        assert_int_equal(kit_do(&f->node, &u), 0);
        unit_fini(&u);
    }
}

TEST(of_very_many_queues_the_page_has_the_busiest_and_the_rest_as_one)
{
    struct queue_node f;
    struct stat_page p = {.openmetrics = false};
    struct buf out;
    queue_node_begin(&f);
    queue_node_up(&f);
    declare_many(&f, "q");
    for (uint32_t i = 0; i < BUSY; i++) {
        char name[16];
        snprintf(name, sizeof name, "q%06u", i * 1000 + 7);
        for (uint32_t k = 0; k <= i; k++)
            send_it(&f, name, i * 100 + k + 1);
    }
    queue_node_restart(&f); /* which walks over them at once */
    struct queue_totals t = totals(&f, MANY, BUSY * (BUSY + 1) / 2);
    assert_int_equal(t.counts.sent, BUSY * (BUSY + 1) / 2);
    double best = 1e9;
    for (int i = 0; i < 5; i++) {
        double begun = busy_ms();
        size_t bytes = page(&f, &p, &out);
        double took = busy_ms() - begun;
        best = took < best ? took : best;
        assert_true(bytes < QUEUE_METRICS_BYTES);
        if (i < 4)
            buf_fini(&out);
    }
    if (best > PAGE_MS * SANITIZER_SLACK)
        fail_msg("%.1f ms", best);
    has(&out, "koan_queue_sent_total{tenant=\"default\",queue=\"q029007\"} 30");
    has(&out, "koan_queue_sent_total{tenant=\"default\",queue=\"q000007\"} 1");
    has(&out, "koan_queue_sent_total{other=\"true\"} 0");
    has(&out, "koan_queues 100000");
    buf_fini(&out);
    p = (struct stat_page){.detailed = true, .family = NULL, .value = "q009007"};
    page(&f, &p, &out);
    has(&out, "koan_queue_sent_total{tenant=\"default\",queue=\"q009007\"} 10");
    assert_int_equal(p.count, 12);
    buf_fini(&out);
    queue_node_end(&f);
}

TEST(the_rest_is_the_sum_of_those_that_are_not_shown)
{
    struct queue_node f;
    struct stat_page p = {.openmetrics = false};
    struct buf out;
    queue_node_begin(&f);
    queue_node_up(&f);
    for (uint32_t i = 0; i < 60; i++) {
        char name[16];
        snprintf(name, sizeof name, "q%02u", i);
        declare(&f, name, false);
        for (uint32_t k = 0; k < (i < 58 ? 1 : 2); k++)
            send_it(&f, name, i * 100 + k + 1);
    }
    totals(&f, 60, 62);
    page(&f, &p, &out);
    has(&out, "koan_queue_sent_total{tenant=\"default\",queue=\"q59\"} 2");
    const char *rest = strstr(buf_str(&out), "koan_queue_sent_total{other=\"true\"} ");
    assert_non_null(rest);
    int shown = 0;
    for (const char *at = buf_str(&out); (at = strstr(at, "koan_queue_sent_total{tenant")) != NULL;
         at++)
        shown++;
    assert_in_range(shown, 20, QUEUE_SHOWN);
    assert_int_equal(atoi(strchr(rest, ' ')), 62 - shown - 2);
    buf_fini(&out);
    queue_node_end(&f);
}

TEST(long_names_make_fewer_of_them_not_a_longer_page)
{
    struct queue_node f;
    struct stat_page p = {.openmetrics = false};
    struct buf out;
    char name[160];
    queue_node_begin(&f);
    queue_node_up(&f);
    for (int i = 0; i < 60; i++) {
        snprintf(name, sizeof name, "%0120d-%d", 0, i);
        declare(&f, name, false);
    }
    totals(&f, 60, 0);
    assert_true(page(&f, &p, &out) < QUEUE_METRICS_BYTES);
    has(&out, "koan_queue_sent_total{other=\"true\"} 0");
    buf_fini(&out);
    queue_node_end(&f);
}

/* ---- handlers that are gone ---- */

static int64_t later_ms;
static int64_t (*real_ms)(struct world *w);

static int64_t wall_ms(struct world *w)
{
    return real_ms(w) + later_ms;
}

TEST(messages_whose_handler_is_gone_are_told_of_and_discarded_after_a_day) /* Q2 */
{
    struct queue_node f;
    struct core_view v;
    queue_node_begin(&f);
    struct world *w = loop_world(f.node.loop);
    real_ms = w->wall_ms;
    w->wall_ms = wall_ms;
    later_ms = 0;
    queue_node_up(&f);
    declare(&f, "gone", true);
    declare(&f, "outside", false);
    send_it(&f, "gone", 1);
    send_it(&f, "outside", 2);
    assert_int_equal(totals(&f, 2, 2).unhandled, 0);
    declare(&f, "gone", false);
    int64_t gone_at = w->wall_ms(w);
    declare(&f, "more", false);
    struct queue_totals t = totals(&f, 3, 2);
    assert_int_equal(t.unhandled, 1);
    assert_int_equal(t.unhandled_records, 1);
    assert_string_equal(t.unhandled_name, "gone");
    assert_true(t.unhandled_until > gone_at + CORE_UNHANDLED_MS - 2000);
    assert_true(t.unhandled_until <= gone_at + CORE_UNHANDLED_MS);
    later_ms = CORE_UNHANDLED_MS - 60000;
    usleep(1200 * 1000);
    totals(&f, 3, 2);
    later_ms = CORE_UNHANDLED_MS + 1000;
    t = totals(&f, 3, 1);
    assert_int_equal(t.unhandled, 0);
    assert_int_equal(queue_node_look(&f, 1, &v), 0);
    assert_int_equal(v.reason, REASON_UNREGISTERED);
    assert_int_equal(queue_node_look(&f, 2, &v), 0);
    assert_int_equal(v.state, REC_AVAILABLE);
    queue_node_end(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HEAP_TEST(the_page_says_of_each_queue_what_waits_and_what_became_of_it),
        HEAP_TEST(the_page_says_what_is_known_of_what_was_sent_and_what_was_forgotten),
        HEAP_TEST(of_very_many_queues_the_page_has_the_busiest_and_the_rest_as_one),
        HEAP_TEST(the_rest_is_the_sum_of_those_that_are_not_shown),
        HEAP_TEST(long_names_make_fewer_of_them_not_a_longer_page),
        HEAP_TEST(messages_whose_handler_is_gone_are_told_of_and_discarded_after_a_day),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
