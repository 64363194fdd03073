/* Values, counters, limits and inbox keys. */
#include <stdio.h>

#include "coord/coord_priv.h"
#include "db/db.h"
#include "support/coord_lab.h"
#include "support/unit.h"

static int put(struct coord_lab *l, const struct coord_put *p, uint64_t *version, struct err *e)
{
    struct txn t;
    txn_init(&t);
    int rc = coord_txn_put(&t, p, e);
    if (rc == 0)
        rc = coord_lab_do(l, &t, e);
    if (rc == 0) {
        struct cursor c = coord_lab_result(l, 0);
        rc = coord_number_read(&c, version, e);
    }
    txn_fini(&t);
    return rc;
}

static int drop(struct coord_lab *l, const char *key, uint64_t version, struct err *e)
{
    struct txn t;
    txn_init(&t);
    int rc = coord_txn_remove(&t, key, version, e);
    if (rc == 0)
        rc = coord_lab_do(l, &t, e);
    txn_fini(&t);
    return rc;
}

static int64_t used(struct coord_lab *l, enum coord_use what)
{
    int64_t n = 0;
    assert_int_equal(store_use(l->db, "default", what, &n, NULL), 0);
    return n;
}

TEST(versions_only_grow_and_guard_a_write)
{
    struct err e = ERR_INIT;
    struct coord_lab l;
    uint64_t one, two, three;
    coord_lab_open(&l);
    struct coord_put p = {.key = "a", .value = "1", .n = 1, .nx = true};
    assert_int_equal(put(&l, &p, &one, &e), 0);
    assert_refused(put(&l, &p, &two, &e), ERR_VERSION_MISMATCH, "is there already");
    p = (struct coord_put){.key = "a", .value = "22", .n = 2, .if_version = one};
    assert_int_equal(put(&l, &p, &two, &e), 0);
    assert_true(two > one);
    assert_refused(put(&l, &p, &three, &e), ERR_VERSION_MISMATCH, "read it again");
    assert_refused(drop(&l, "a", one, &e), ERR_VERSION_MISMATCH, "has version");
    assert_int_equal(drop(&l, "a", two, &e), 0);
    assert_refused(drop(&l, "a", 0, &e), ERR_NOT_FOUND, "is not there");
    p = (struct coord_put){.key = "a", .value = "3", .n = 1, .xx = true};
    assert_refused(put(&l, &p, &three, &e), ERR_VERSION_MISMATCH, "is not there");
    p.xx = false;
    assert_int_equal(put(&l, &p, &three, &e), 0);
    assert_true(three > two); /* not the version of the one that was removed */
    assert_int_equal(used(&l, COORD_USE_BYTES), 2);
    assert_int_equal(used(&l, COORD_USE_KEYS), 1);
    coord_lab_check(&l);
    coord_lab_close(&l);
}

TEST(a_value_past_its_time_is_not_there_and_is_swept)
{
    struct err e = ERR_INIT;
    struct coord_lab l;
    uint64_t version;
    struct coord_value v;
    struct buf out = BUF_INIT(100);
    struct txn t;
    coord_lab_open(&l);
    txn_init(&t);
    struct coord_put p = {.key = "a", .value = "1", .n = 1, .ttl_ms = 500};
    assert_int_equal(put(&l, &p, &version, &e), 0);
    assert_int_equal(coord_value_get(l.db, "default", "a", l.at + 499, &v, &out, &e), 0);
    assert_string_equal(buf_str(&out), "1");
    assert_int_equal(coord_value_get(l.db, "default", "a", l.at + 500, &v, &out, &e),
                     ERR_NOT_FOUND);
    l.at += 500;
    p.nx = true;
    assert_int_equal(put(&l, &p, &version, &e), 0);
    assert_int_equal(used(&l, COORD_USE_KEYS), 1);
    l.at += 500;
    buf_add_u32(txn_begin(&t, COORD_OP_SWEEP, 1), 10);
    txn_end(&t);
    assert_int_equal(coord_lab_do(&l, &t, &e), 0);
    struct cursor c = coord_lab_result(&l, 0);
    assert_int_equal(cursor_u32(&c), 1);
    assert_int_equal(used(&l, COORD_USE_KEYS), 0);
    assert_int_equal(used(&l, COORD_USE_BYTES), 0);
    coord_lab_check(&l);
    txn_fini(&t);
    buf_fini(&out);
    coord_lab_close(&l);
}

TEST(keys_are_listed_by_prefix_in_pages)
{
    struct err e = ERR_INIT;
    struct coord_lab l;
    uint64_t version;
    bool more;
    json_t *list = NULL;
    coord_lab_open(&l);
    for (int i = 0; i < 25; i++) {
        char key[20];
        snprintf(key, sizeof key, "%s/%02d", i < 20 ? "fx" : "g", i);
        struct coord_put p = {.key = key, .value = "1", .n = 1};
        assert_int_equal(put(&l, &p, &version, &e), 0);
    }
    struct coord_page p = {.prefix = "fx/", .limit = 15};
    assert_int_equal(coord_values_list(l.db, "default", &p, l.at, &list, &more, &e), 0);
    assert_true(more);
    assert_int_equal(json_array_size(list), 15);
    json_decref(list);
    p.after = "fx/14";
    assert_int_equal(coord_values_list(l.db, "default", &p, l.at, &list, &more, &e), 0);
    assert_false(more);
    assert_int_equal(json_array_size(list), 5);
    assert_string_equal(json_string_value(json_object_get(json_array_get(list, 4), "key")),
                        "fx/19");
    json_decref(list);
    assert_int_equal(coord_values_list(l.db, "other", &p, l.at, &list, &more, &e), 0);
    assert_int_equal(json_array_size(list), 0);
    json_decref(list);
    coord_lab_close(&l);
}

TEST(what_a_tenant_may_use_is_bounded)
{
    struct err e = ERR_INIT;
    struct coord_lab l;
    uint64_t version;
    static char value[COORD_VALUE_BYTES + 1];
    coord_lab_open(&l);
    struct coord_put p = {.key = "a", .value = value, .n = sizeof value};
    struct txn t;
    txn_init(&t);
    assert_refused(coord_txn_put(&t, &p, &e), ERR_TOO_LARGE, "256 KiB");
    txn_fini(&t);
    assert_int_equal(store_use_add(l.db, "default", COORD_USE_BYTES, COORD_VALUES_BYTES - 10, &e),
                     0);
    p.n = 10;
    assert_refused(put(&l, &p, &version, &e), ERR_QUOTA,
                   "at most 1073741824 bytes of keys and values; this would be 1073741825");
    p.n = 9;
    assert_int_equal(put(&l, &p, &version, &e), 0);
    coord_lab_close(&l);
}

static int add(struct coord_lab *l, int64_t n, int64_t *before, int64_t *after, struct err *e)
{
    struct txn t;
    txn_init(&t);
    int rc = coord_txn_add(&t, "n", n, e);
    if (rc == 0)
        rc = coord_lab_do(l, &t, e);
    if (rc == 0) {
        struct cursor c = coord_lab_result(l, 0);
        rc = coord_added_read(&c, before, after, e);
    }
    txn_fini(&t);
    return rc;
}

TEST(a_unit_may_hold_only_while_a_counter_is_what_it_was)
{
    struct err e = ERR_INIT;
    struct coord_lab l;
    struct txn t;
    int64_t before, after;
    coord_lab_open(&l);
    txn_init(&t);
    assert_int_equal(coord_txn_if_count(&t, "n", 0, &e), 0);
    assert_int_equal(coord_txn_add(&t, "n", -7, &e), 0);
    assert_int_equal(coord_lab_do(&l, &t, &e), 0);
    assert_int_equal(add(&l, 1, &before, &after, &e), 0);
    assert_int_equal(coord_txn_add(&t, "n", 1, &e), 0);
    assert_int_equal(coord_txn_if_count(&t, "n", -7, &e), 0);
    assert_refused(coord_lab_do(&l, &t, &e), ERR_VERSION_MISMATCH,
                   "counter 'n' is -6, no longer -7");
    assert_int_equal(add(&l, 1, &before, &after, &e), 0);
    assert_int_equal(before, -6);
    txn_fini(&t);
    coord_lab_close(&l);
}

TEST(a_counter_is_exact_and_does_not_overflow)
{
    struct err e = ERR_INIT;
    struct coord_lab l;
    int64_t before, after;
    coord_lab_open(&l);
    assert_int_equal(add(&l, 100, &before, &after, &e), 0); /* a block: 1 to 100 */
    assert_int_equal(before, 0);
    assert_int_equal(after, 100);
    assert_int_equal(add(&l, INT64_MAX - 100, &before, &after, &e), 0);
    assert_int_equal(after, INT64_MAX);
    assert_refused(add(&l, 1, &before, &after, &e), ERR_CONFLICT, "would overflow 64 bits");
    assert_int_equal(add(&l, INT64_MIN, &before, &after, &e), 0);
    assert_int_equal(after, -1);
    assert_int_equal(add(&l, -INT64_MAX, &before, &after, &e), 0);
    assert_refused(add(&l, -1, &before, &after, &e), ERR_CONFLICT, "would overflow 64 bits");
    coord_lab_close(&l);
}

static int take(struct coord_lab *l, const struct coord_take *k, struct coord_taken *out,
                struct err *e)
{
    struct txn t;
    txn_init(&t);
    int rc = coord_txn_take(&t, k, e);
    if (rc == 0)
        rc = coord_lab_do(l, &t, e);
    if (rc == 0) {
        struct cursor c = coord_lab_result(l, 0);
        rc = coord_taken_read(&c, out, e);
    }
    txn_fini(&t);
    return rc;
}

TEST(a_limit_says_when_it_may_be_tried_again_and_goes_when_it_is_full)
{
    struct err e = ERR_INIT;
    struct coord_lab l;
    struct coord_taken k;
    struct txn t;
    coord_lab_open(&l);
    txn_init(&t);
    struct coord_take ask = {.name = "crm", .rate = 2, .per_ms = 1000, .burst = 2, .n = 2};
    assert_int_equal(take(&l, &ask, &k, &e), 0);
    assert_true(k.taken);
    ask.n = 1;
    assert_int_equal(take(&l, &ask, &k, &e), 0);
    assert_false(k.taken);
    assert_int_equal(k.wait_ms, 500);
    ask.refuse = true;
    assert_refused(take(&l, &ask, &k, &e), ERR_RATE_LIMITED, "the next turn is in 500 ms");
    l.at += 500;
    assert_int_equal(take(&l, &ask, &k, &e), 0);
    assert_true(k.taken);
    l.at += 1000;
    buf_add_u32(txn_begin(&t, COORD_OP_SWEEP, 1), 10);
    txn_end(&t);
    assert_int_equal(coord_lab_do(&l, &t, &e), 0);
    assert_int_equal(used(&l, COORD_USE_BUCKETS), 0);
    ask.n = 3;
    assert_refused(coord_txn_take(&t, &ask, &e), ERR_INVALID, "1 to the burst, which is 2");
    txn_fini(&t);
    coord_lab_close(&l);
}

/* ---- inbox ---- */

static enum coord_inbox begin(struct coord_lab *l, const char *lease)
{
    struct err e = ERR_INIT;
    struct txn t;
    struct coord_begun out;
    txn_init(&t);
    assert_int_equal(coord_txn_begin(&t, "m-1", "w", lease, 0, &e), 0);
    assert_int_equal(coord_lab_do(l, &t, &e), 0);
    struct cursor c = coord_lab_result(l, 0);
    assert_int_equal(coord_begun_read(&c, &out, &e), 0);
    txn_fini(&t);
    assert_string_equal(out.lease, out.what == COORD_ACQUIRED ? lease : "");
    return out.what;
}

static int processed(struct coord_lab *l, const char *lease, struct err *e)
{
    struct txn t;
    txn_init(&t);
    assert_int_equal(coord_txn_processed(&t, "m-1", lease, 0, e), 0);
    int rc = coord_lab_do(l, &t, e);
    txn_fini(&t);
    return rc;
}

static int unbegin(struct coord_lab *l, const char *lease, struct err *e)
{
    struct txn t;
    txn_init(&t);
    assert_int_equal(coord_txn_unbegin(&t, "m-1", lease, e), 0);
    int rc = coord_lab_do(l, &t, e);
    txn_fini(&t);
    return rc;
}

TEST(a_key_is_begun_by_one_and_processed_once) /* K3 */
{
    struct err e = ERR_INIT;
    struct coord_lab l;
    bool done;
    coord_lab_open(&l);
    assert_int_equal(begin(&l, "a"), COORD_ACQUIRED);
    assert_int_equal(begin(&l, "b"), COORD_BUSY);
    assert_refused(processed(&l, "b", &e), ERR_FENCED, "was not begun under lease 'b'");
    assert_int_equal(coord_inbox_get(l.db, "default", "m-1", l.at, &done, &e), 0);
    assert_false(done);
    assert_int_equal(processed(&l, "a", &e), 0);
    assert_int_equal(processed(&l, "a", &e), 0);
    assert_int_equal(begin(&l, "c"), COORD_PROCESSED);
    assert_refused(unbegin(&l, "a", &e), ERR_CONFLICT, "is processed");
    assert_int_equal(coord_inbox_get(l.db, "default", "m-1", l.at, &done, &e), 0);
    assert_true(done);
    l.at += COORD_INBOX_KEEP_MS - 1;
    assert_int_equal(begin(&l, "c"), COORD_PROCESSED);
    l.at += 1;
    assert_int_equal(begin(&l, "c"), COORD_ACQUIRED);
    coord_lab_check(&l);
    coord_lab_close(&l);
}

TEST(a_key_whose_worker_died_is_begun_by_the_next)
{
    struct err e = ERR_INIT;
    struct coord_lab l;
    coord_lab_open(&l);
    assert_int_equal(begin(&l, "a"), COORD_ACQUIRED);
    l.at += COORD_INBOX_LEASE_MS - 1;
    assert_int_equal(begin(&l, "b"), COORD_BUSY);
    l.at += 1;
    assert_int_equal(begin(&l, "b"), COORD_ACQUIRED);
    assert_refused(processed(&l, "a", &e), ERR_FENCED, "by somebody else since");
    assert_refused(unbegin(&l, "a", &e), ERR_FENCED, "by somebody else since");
    assert_int_equal(unbegin(&l, "b", &e), 0);
    assert_int_equal(begin(&l, "c"), COORD_ACQUIRED);
    assert_int_equal(processed(&l, NULL, &e), 0); /* a client that keeps no lease ids */
    assert_int_equal(begin(&l, "d"), COORD_PROCESSED);
    coord_lab_close(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HEAP_TEST(versions_only_grow_and_guard_a_write),
        HEAP_TEST(a_value_past_its_time_is_not_there_and_is_swept),
        HEAP_TEST(keys_are_listed_by_prefix_in_pages),
        HEAP_TEST(what_a_tenant_may_use_is_bounded),
        HEAP_TEST(a_counter_is_exact_and_does_not_overflow),
        HEAP_TEST(a_unit_may_hold_only_while_a_counter_is_what_it_was),
        HEAP_TEST(a_limit_says_when_it_may_be_tried_again_and_goes_when_it_is_full),
        HEAP_TEST(a_key_is_begun_by_one_and_processed_once),
        HEAP_TEST(a_key_whose_worker_died_is_begun_by_the_next),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
