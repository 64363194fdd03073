/* Operations in their earlier versions. */
#include "queue/ops_priv.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"

/* The payload of a queue.open with these flags, decoded as that of `version`. */
static int opened(uint8_t version, uint8_t flags, struct core_consumer *out)
{
    AUTO(buf_fini) struct buf b = BUF_INIT(1024);
    AUTO(mem_freep) struct consumer_view *v = mem_new(sizeof *v);
    struct uuid id = {{1, 2, 3}};
    struct err e = ERR_INIT;
    struct cursor c;
    buf_add(&b, id.b, sizeof id.b);
    short_add(&b, "n");
    buf_add_u8(&b, flags);
    buf_add_u32(&b, 7);    /* credit */
    buf_add_u32(&b, 5000); /* lease */
    buf_add_u8(&b, 1);
    short_add(&b, "gpu");
    short_add(&b, NULL);
    buf_add_u32(&b, 2);
    buf_add_u8(&b, 0);  /* only */
    buf_add_u16(&b, 0); /* queues */
    cursor_init(&c, b.data, b.len);
    int rc = consumer_decode(&c, version, v, &e);
    *out = v->consumer;
    if (rc == 0) {
        assert_memory_equal(out->id.b, id.b, sizeof id.b);
        assert_string_equal(out->node, "n");
        assert_int_equal(out->credit, 7);
        assert_int_equal(out->labels_count, 1);
        assert_int_equal(out->labels[0].number, 2);
    }
    return rc;
}

static void a_consumer_of_version_1_has_labels_of_its_own(void **state)
{
    (void)state;
    struct core_consumer o;
    assert_int_equal(opened(1, 1, &o), 0);
    assert_true(o.worker && !o.of_node);
    assert_int_equal(opened(1, 0, &o), 0);
    assert_true(!o.worker && !o.of_node);
}

static void a_consumer_of_version_2_may_share_those_of_its_node(void **state)
{
    (void)state;
    struct core_consumer o;
    assert_int_equal(opened(2, 3, &o), 0);
    assert_true(o.worker && o.of_node);
    assert_int_equal(opened(2, 2, &o), 0);
    assert_true(!o.worker && o.of_node);
    assert_int_equal(opened(2, 4, &o), ERR_CORRUPT);
}

/* ---- how a record is sent ---- */

/* A send of these bits and nothing behind its queue's name but a body. */
static void sent(uint8_t version, uint32_t bits, uint8_t count, struct send_view *v)
{
    AUTO(buf_fini) struct buf b = BUF_INIT(1024);
    struct uuid id = {{1, 2, 3}};
    struct err e = ERR_INIT;
    struct cursor c;
    buf_add_u32(&b, bits);
    buf_add(&b, id.b, sizeof id.b);
    short_add(&b, "q");
    if (bits & SEND_GATES)
        buf_add_u8(&b, count);
    if (bits & SEND_NEEDS)
        buf_add_u8(&b, count);
    buf_add_bytes(&b, "7", 1);
    cursor_init(&c, b.data, b.len);
    assert_int_equal(send_decode(&c, version, v, &e), 0);
}

static void a_send_before_version_3_says_all_itself(void **state)
{
    (void)state;
    AUTO(mem_freep) struct send_view *v = mem_new(sizeof *v);
    for (uint8_t version = 1; version <= 2; version++) {
        sent(version, 0, 0, v);
        const struct core_send *s = &v->send;
        assert_int_equal(s->attempts, CORE_ATTEMPTS);
        assert_int_equal(s->priority, CORE_PRIORITY);
        assert_int_equal(s->timeout_ms, CORE_TIMEOUT_MS);
        assert_true(s->deadline_ms == CORE_DEADLINE_MS && s->ttl_ms == -1);
        assert_string_equal(s->lane, "default");
        assert_int_equal(s->backoff->first + s->backoff->list_count, 0);
        assert_true(s->no_gates && s->no_needs && s->large);
    }
}

static void a_send_of_version_3_leaves_to_its_queue_what_it_does_not_say(void **state)
{
    (void)state;
    AUTO(mem_freep) struct send_view *v = mem_new(sizeof *v);
    sent(3, 0, 0, v);
    const struct core_send *s = &v->send;
    assert_int_equal(s->attempts, 0);
    assert_int_equal(s->priority, CORE_PRIORITY_UNSAID);
    assert_true(s->ttl_ms == 0 && s->deadline_ms == 0 && s->timeout_ms == 0);
    assert_true(s->lane == NULL && s->backoff == NULL && !s->no_gates && !s->no_needs);
    assert_false(s->large);
    sent(3, SEND_GATES | SEND_NEEDS | SEND_LARGE, 0, v);
    assert_true(s->no_gates && s->no_needs && s->large);
}

/* A declaration of version 2, and what a program of today writes behind it. */
static int declared(uint8_t version, const struct core_send *sending, uint32_t bits,
                    struct queue_view *v)
{
    AUTO(buf_fini) struct buf b = BUF_INIT(4096);
    struct err e = ERR_INIT;
    struct cursor c;
    short_add(&b, "mail");
    short_add(&b, NULL);
    buf_add_u8(&b, 8);
    buf_add_u32(&b, 3);
    for (int i = 0; i < 4; i++)
        buf_add_u64(&b, 0);
    buf_add_u32(&b, 0);
    buf_add_u64(&b, 1000);
    buf_add_u64(&b, 0);
    if (version > 2)
        buf_add_u32(&b, 77);
    if (bits != 0)
        buf_add_u32(&b, bits);
    else if (version > 2)
        sending_add(&b, sending);
    if (version > 3) {
        short_add(&b, "mail.lua");
        buf_add_u32(&b, OPTION_MAX);
    }
    cursor_init(&c, b.data, b.len);
    return declare_decode(&c, version, v, &e);
}

static void a_declaration_says_since_version_3_how_its_queue_is_sent_to(void **state)
{
    (void)state;
    static const struct core_backoff backoff = {.first = 100, .cap = 900};
    const struct core_label needs[] = {{.name = "gpu", .number = 2}};
    const struct core_send says = {.ttl_ms = 1,
                                   .deadline_ms = 2,
                                   .timeout_ms = 3,
                                   .priority = 4,
                                   .attempts = 5,
                                   .backoff = &backoff,
                                   .lane = "bulk",
                                   .gates = {"smtp"},
                                   .gates_count = 1,
                                   .needs = needs,
                                   .needs_count = 1};
    AUTO(mem_freep) struct queue_view *v = mem_new(sizeof *v);
    assert_int_equal(declared(2, NULL, 0, v), 0);
    assert_int_equal(v->queue.concurrency, 3);
    assert_int_equal(v->queue.body_max, 0);
    assert_null(v->queue.sending);
    assert_int_equal(declared(3, NULL, 0, v), 0);
    assert_null(v->queue.sending);
    assert_int_equal(declared(3, &says, 0, v), 0);
    assert_true(core_sending_same(v->queue.sending, &says));
    assert_int_equal(v->queue.body_max, 77);
    assert_int_equal(declared(3, NULL, SEND_KEY, v), ERR_CORRUPT); /* it is no message */
}

static void a_declaration_says_since_version_4_which_script_it_is_of(void **state)
{
    (void)state;
    AUTO(mem_freep) struct queue_view *v = mem_new(sizeof *v);
    assert_int_equal(declared(3, NULL, 0, v), 0);
    assert_null(v->queue.script);
    assert_int_equal(declared(4, NULL, 0, v), 0);
    assert_string_equal(v->queue.script, "mail.lua");
    assert_int_equal(v->queue.scripted, OPTION_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_consumer_of_version_1_has_labels_of_its_own),
        cmocka_unit_test(a_consumer_of_version_2_may_share_those_of_its_node),
        cmocka_unit_test(a_send_before_version_3_says_all_itself),
        cmocka_unit_test(a_send_of_version_3_leaves_to_its_queue_what_it_does_not_say),
        cmocka_unit_test(a_declaration_says_since_version_3_how_its_queue_is_sent_to),
        cmocka_unit_test(a_declaration_says_since_version_4_which_script_it_is_of),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
