/* Topics on a real ledger: who gets a message, when groups change, when nobody listens. */
#include "bus/bus.h"

#include "base/buf.h"
#include "support/bus_node.h"
#include "support/unit.h"

static void up(struct bus_node *f)
{
    bus_node_begin(f);
    bus_node_up(f);
}

TEST(each_group_that_matches_has_one_record_of_its_own) /* B1 */
{
    struct bus_node f;
    up(&f);
    assert_int_equal(
        BUS_NODE_GROUPS(&f, "audit #", "billing order.*", "billing order.placed", "crm customer.*"),
        0);
    assert_int_equal(bus_node_publish(&f, "order.placed", 1, "1"), 0);
    assert_int_equal(bus_node_publish(&f, "customer.saved", 2, "2"), 0);
    assert_int_equal(bus_node_publish(&f, "other", 3, "3"), 0);
    assert_string_equal(bus_node_bodies(&f, "group.audit", REC_AVAILABLE), "1 2 3");
    assert_string_equal(bus_node_bodies(&f, "group.billing", REC_AVAILABLE), "1");
    assert_string_equal(bus_node_bodies(&f, "group.crm", REC_AVAILABLE), "2");
    bus_node_restart(&f);
    assert_int_equal(bus_node_publish(&f, "order.paid", 4, "4"), 0);
    assert_string_equal(bus_node_bodies(&f, "group.billing", REC_AVAILABLE), "1 4");
    bus_node_end(&f);
}

TEST(a_message_routed_before_a_deploy_is_refused_behind_it_and_changes_nothing) /* B1 */
{
    struct bus_node f;
    struct bus_message m = bus_node_message(1, "1");
    up(&f);
    assert_int_equal(BUS_NODE_GROUPS(&f, "a order.*"), 0);
    struct bus_route *old = bus_node_route(&f, "order.placed");
    assert_false(bus_is_stale(f.bus, old));
    assert_int_equal(BUS_NODE_GROUPS(&f, "a order.*", "b order.*"), 0);
    assert_true(bus_is_stale(f.bus, old));
    assert_int_equal(bus_node_publish_by(&f, old, &m), ERR_CONFLICT);
    assert_int_equal(bus_node_count(&f, "group.a", REC_AVAILABLE), 0);
    bus_route_free(old);
    struct bus_route *r = bus_node_route(&f, "order.placed");
    assert_int_equal(bus_route_count(r), 2);
    assert_int_equal(bus_node_publish_by(&f, r, &m), 0);
    bus_route_free(r);
    assert_string_equal(bus_node_bodies(&f, "group.a", REC_AVAILABLE), "1");
    assert_string_equal(bus_node_bodies(&f, "group.b", REC_AVAILABLE), "1");
    bus_node_end(&f);
}

TEST(what_is_declared_again_as_it_was_changes_no_routes)
{
    struct bus_node f;
    up(&f);
    assert_int_equal(BUS_NODE_GROUPS(&f, "a order.*", "b #"), 0);
    uint64_t revision = bus_revision(f.bus);
    assert_int_equal(BUS_NODE_GROUPS(&f, "b #", "a order.*"), 0); /* other lines of the file */
    assert_int_equal(bus_revision(f.bus), revision);
    assert_int_equal(BUS_NODE_GROUPS(&f, "a order.*", "b # {\"attempts\":2}"), 0);
    assert_int_equal(bus_revision(f.bus), revision + 1);
    bus_node_restart(&f);
    assert_int_equal(bus_revision(f.bus), revision + 1);
    bus_node_end(&f);
}

TEST(records_have_the_options_of_their_group_and_what_the_publisher_says_before_them)
{
    struct bus_node f;
    struct queue_taker t;
    struct core_view v;
    up(&f);
    assert_int_equal(BUS_NODE_GROUPS(&f, "a t {\"attempts\":2,\"priority\":9,\"lane\":\"bulk\"}"),
                     0);
    assert_int_equal(bus_node_publish(&f, "t", 1, "1"), 0);
    assert_int_equal(queue_node_look(&f.queue, 1, &v), 0);
    assert_int_equal(v.attempts_max, 2);
    assert_int_equal(v.priority, 9);
    assert_string_equal(v.lane, "bulk");
    struct bus_route *r = bus_node_route(&f, "t");
    struct bus_message m = bus_node_message(2, "2");
    m.has_priority = true;
    m.priority = 0;
    assert_int_equal(bus_node_publish_by(&f, r, &m), 0);
    bus_route_free(r);
    assert_int_equal(queue_node_look(&f.queue, 2, &v), 0);
    assert_int_equal(v.priority, 0);
    (void)t;
    bus_node_end(&f);
}

TEST(what_nobody_listens_to_is_found_with_the_reason_unless_its_topic_drops_it) /* B2 */
{
    struct bus_node f;
    struct core_view v;
    struct err e = ERR_INIT;
    up(&f);
    assert_int_equal(bus_node_topic(&f, "noise.#", 0, UNROUTED_DROP), 0);
    assert_int_equal(bus_node_publish(&f, "order.placed", 1, "1"), 0);
    assert_int_equal(bus_node_publish(&f, "noise.a", 2, "2"), 0);
    assert_int_equal(queue_node_look(&f.queue, 1, &v), 0);
    assert_int_equal(v.state, REC_DISCARDED);
    assert_int_equal(v.reason, REASON_NO_SUBSCRIBER);
    assert_string_equal(v.queue, UNROUTED_QUEUE);
    assert_int_equal(queue_node_look(&f.queue, 2, &v), ERR_NOT_FOUND);
    assert_string_equal(bus_node_bodies(&f, UNROUTED_QUEUE, REC_DISCARDED), "1");
    bus_node_restart(&f);
    assert_string_equal(bus_node_bodies(&f, UNROUTED_QUEUE, REC_DISCARDED), "1");
    struct bus_route *r = bus_node_route(&f, "order.placed");
    assert_refused(bus_mandatory(r, &e), ERR_NOT_FOUND, "nobody listens to topic 'order.placed'");
    bus_route_free(r);
    bus_node_end(&f);
}

TEST(a_record_says_its_topic_and_its_message_and_nobody_else_may) /* R1 */
{
    struct bus_node f;
    struct err e = ERR_INIT;
    struct txn t;
    up(&f);
    assert_int_equal(BUS_NODE_GROUPS(&f, "a t", "b t"), 0);
    struct bus_route *r = bus_node_route(&f, "t");
    struct bus_message m = bus_node_message(1, "1");
    struct uuid first, second;
    bus_route_record(r, 0, &m.id, &first);
    bus_route_record(r, 1, &m.id, &second);
    assert_memory_equal(first.b, m.id.b, sizeof m.id.b);
    assert_memory_not_equal(second.b, m.id.b, sizeof m.id.b);
    txn_init(&t);
    m.headers = "{\"Message-Id\":\"7\"}";
    assert_refused(bus_txn_publish(&t, r, &m, &e), ERR_INVALID, "header 'Message-Id'");
    m.headers = "{\"shop\":7}";
    assert_refused(bus_txn_publish(&t, r, &m, &e), ERR_INVALID, "header 'shop' is");
    m.headers = "{\"shop\":\"7\"}";
    assert_int_equal(bus_txn_publish(&t, r, &m, &e), 0);
    txn_fini(&t);
    bus_route_free(r);
    assert_refused(bus_route(f.bus, "default", "a b", &r, &e), ERR_INVALID, "0x20");
    bus_node_end(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HEAP_TEST(each_group_that_matches_has_one_record_of_its_own),
        HEAP_TEST(a_message_routed_before_a_deploy_is_refused_behind_it_and_changes_nothing),
        HEAP_TEST(what_is_declared_again_as_it_was_changes_no_routes),
        HEAP_TEST(records_have_the_options_of_their_group_and_what_the_publisher_says_before_them),
        HEAP_TEST(what_nobody_listens_to_is_found_with_the_reason_unless_its_topic_drops_it),
        HEAP_TEST(a_record_says_its_topic_and_its_message_and_nobody_else_may),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
