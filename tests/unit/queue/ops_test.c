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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_consumer_of_version_1_has_labels_of_its_own),
        cmocka_unit_test(a_consumer_of_version_2_may_share_those_of_its_node),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
