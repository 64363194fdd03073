#include "base/buf.h"
#include "base/time.h"
#include "canon/canon.h"
#include "support/unit.h"

static const int64_t now = INT64_C(1795438800000);

/* What came is what is read, whether as values or as text. */
static void comes_back(const char *data, bool as_text, bool spare)
{
    struct err e = ERR_INIT;
    struct buf body = BUF_INIT(CANON_QUEUE_BODY_MAX);
    struct canon_arrival a = {.origin = "crm", .source_id = "C/17", .observed_at = now - 5};
    json_t *v = json_read(data, strlen(data), &e), *tags = json_pack("{s:s}", "batch", "7");
    assert_non_null(v);
    a.data = as_text ? NULL : v;
    a.text = as_text ? data : NULL;
    a.text_len = as_text ? strlen(data) : 0;
    a.tags = tags;
    assert_int_equal(canon_queued_print(&a, now, true, &body, &e), 0);
    struct canon_queued q;
    assert_int_equal(canon_queued_read(body.data, body.len, spare, &q, &e), 0);
    assert_string_equal(q.arrival.origin, "crm");
    assert_string_equal(q.arrival.source_id, "C/17");
    assert_true(q.arrival.observed_at == now - 5 && q.arrival.arrived_at == now);
    assert_true(q.skip_distribution);
    assert_true(json_equal(q.arrival.tags, tags));
    if (spare) {
        assert_null(q.arrival.data);
        assert_int_equal(q.arrival.text_len, strlen(data));
        assert_memory_equal(q.arrival.text, data, strlen(data));
    } else {
        assert_true(json_equal(q.arrival.data, v));
    }
    canon_queued_fini(&q);
    json_decref(v);
    json_decref(tags);
    buf_fini(&body);
}

TEST(an_arrival_comes_back_from_its_message_as_it_was)
{
    static const char data[] = "{\"name\":\"Ana\",\"n\":[1,2.5,null],\"o\":{}}";
    comes_back(data, false, false);
    comes_back(data, true, false);
    comes_back(data, true, true);
    comes_back(data, false, true);
}

TEST(what_is_not_said_is_not_there)
{
    struct err e = ERR_INIT;
    struct canon_queued q;
    static const char text[] = "{\"data\": {}}";
    assert_int_equal(canon_queued_read(text, strlen(text), false, &q, &e), 0);
    assert_null(q.arrival.origin);
    assert_null(q.arrival.source_id);
    assert_null(q.arrival.tags);
    assert_true(q.arrival.observed_at == INT64_MIN && q.arrival.arrived_at == 0);
    assert_int_equal(json_object_size(q.arrival.data), 0);
    canon_queued_fini(&q);
}

static void refuses(const char *text, const char *words)
{
    struct err e = ERR_INIT;
    struct canon_queued q;
    int rc = canon_queued_read(text, strlen(text), false, &q, &e);
    assert_int_equal(rc, ERR_INVALID);
    assert_non_null(strstr(e.text, words));
    canon_queued_fini(&q);
}

TEST(what_is_no_arrival_is_refused_by_name) /* R3 */
{
    refuses("", "");
    refuses("[]", "object");
    refuses("{\"data\":{},\"orgin\":\"a\"}", "origin");
    refuses("{\"origin\":7,\"data\":{}}", "origin");
    refuses("{\"origin\":\"a\"}", "data");
    refuses("{\"origin\":\"a\",\"data\":[]}", "data");
    refuses("{\"origin\":\"a\",\"data\":null}", "data");
    refuses("{\"origin\":\"a\",\"data\":{},\"tags\":[]}", "tags");
    refuses("{\"origin\":\"a\",\"data\":{},\"observed_at\":\"now\"}", "observed_at");
    refuses("{\"origin\":\"a\",\"data\":{},\"arrived_at\":7}", "arrived_at");
    refuses("{\"origin\":\"a\",\"data\":{},\"skip_distribution\":1}", "skip_distribution");
}

TEST(a_document_that_is_too_large_is_refused_where_it_is_stored)
{
    struct err e = ERR_INIT;
    AUTO(buf_fini) struct buf body = BUF_INIT(4 << 20), big = BUF_INIT(4 << 20);
    buf_adds(&big, "{\"a\":\"");
    for (int i = 0; i < CANON_BODY_MAX; i++)
        buf_addc(&big, 'x');
    buf_adds(&big, "\"}");
    struct canon_arrival a = {.origin = "crm", .observed_at = INT64_MIN};
    a.text = buf_str(&big);
    a.text_len = big.len;
    assert_int_equal(canon_queued_print(&a, now, false, &body, &e), ERR_TOO_LARGE);
    assert_string_equal(e.field, "data");
    a.text = NULL;
    AUTO(json_unref) json_t *v = json_read(big.data, big.len, &e);
    a.data = v;
    buf_reset(&body);
    assert_int_equal(canon_queued_print(&a, now, false, &body, &e), ERR_TOO_LARGE);
}

TEST(queues_are_named_after_their_model_and_keys_after_the_source)
{
    char name[CANON_QUEUE_NAME_MAX], key[CANON_QUEUE_KEY_MAX];
    canon_queue_name("Airport", false, name);
    assert_string_equal(name, "canon.Airport");
    assert_true(canon_queue_model(name, key));
    assert_string_equal(key, "Airport");
    canon_queue_name("Airport", true, name);
    assert_string_equal(name, "canon.Airport.staged");
    assert_true(canon_queue_is_ours(name) && !canon_queue_model(name, key));
    assert_false(canon_queue_is_ours("canonical"));
    assert_false(canon_parked_model(name, key));
    canon_parked_name("Airport", name);
    assert_true(canon_parked_model(name, key));
    assert_string_equal(key, "Airport");
    assert_false(canon_parked_model("canon.parked", key));
    assert_false(canon_parked_model("canon..parked", key));
    assert_false(canon_parked_model("mail.parked", key));
    struct canon_arrival a = {.origin = "crm", .source_id = "C/17"};
    assert_string_equal(canon_queue_key(&a, key), "crm/C/17");
    a.source_id = NULL;
    assert_null(canon_queue_key(&a, key));
}

TEST(what_came_of_it_is_told_as_far_as_there_is_something_to_say)
{
    AUTO(buf_fini) struct buf out = BUF_INIT(4096);
    struct canon_ending end = {.outcome = CANON_CANONIZED,
                               .reason = "",
                               .arrival_id = "a1",
                               .golden_id = "g\"1",
                               .detail = "not told",
                               .field = "",
                               .merged = 2};
    canon_ending_print(&end, &out);
    assert_string_equal(
        buf_str(&out),
        "{\"id\":\"g\\\"1\",\"arrival\":\"a1\",\"merged\":2,\"outcome\":\"canonized\"}");
    buf_reset(&out);
    end = (struct canon_ending){.outcome = CANON_PARKED,
                                .reason = "NO_KEYS",
                                .arrival_id = "",
                                .golden_id = "",
                                .detail = "why",
                                .field = ""};
    canon_ending_print(&end, &out);
    assert_string_equal(buf_str(&out),
                        "{\"reason\":\"NO_KEYS\",\"detail\":\"why\",\"outcome\":\"parked\"}");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HEAP_TEST(an_arrival_comes_back_from_its_message_as_it_was),
        HEAP_TEST(what_is_not_said_is_not_there),
        HEAP_TEST(what_is_no_arrival_is_refused_by_name),
        HEAP_TEST(a_document_that_is_too_large_is_refused_where_it_is_stored),
        HEAP_TEST(queues_are_named_after_their_model_and_keys_after_the_source),
        HEAP_TEST(what_came_of_it_is_told_as_far_as_there_is_something_to_say),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
