/* Cached values as rows: how long they are of use, what a flush makes of them, what they take. */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "coord/coord_priv.h"
#include "db/db.h"
#include "support/coord_lab.h"
#include "support/unit.h"

static int put(struct coord_lab *l, const char *name, const char *value, uint64_t since,
               const char *tag, struct err *e)
{
    struct txn t;
    struct coord_cached k = {.name = name,
                             .value = value,
                             .n = strlen(value),
                             .since = since,
                             .ttl_ms = 1000,
                             .stale_ms = 5000,
                             .tags = &tag,
                             .tags_count = tag != NULL};
    txn_init(&t);
    int rc = coord_txn_cache(&t, &k, e);
    if (rc == 0)
        rc = coord_lab_do(l, &t, e);
    txn_fini(&t);
    return rc;
}

static int flush(struct coord_lab *l, const char *tag)
{
    struct err e = ERR_INIT;
    struct txn t;
    txn_init(&t);
    int rc = coord_txn_flush(&t, tag, &e);
    if (rc == 0)
        rc = coord_lab_do(l, &t, &e);
    txn_fini(&t);
    return rc;
}

/* 'f' fresh, 's' stale, '-' not there; the value in `out`. */
static char look(struct coord_lab *l, const char *name, struct buf *out)
{
    struct err e = ERR_INIT;
    bool fresh = false;
    buf_reset(out);
    int rc = coord_cache_get(l->db, "default", name, l->at, &fresh, out, &e);
    assert_true(rc == 0 || rc == ERR_NOT_FOUND);
    return rc != 0 ? '-' : fresh ? 'f' : 's';
}

static int64_t used(struct coord_lab *l, enum coord_use what)
{
    struct err e = ERR_INIT;
    int64_t n = -1;
    assert_int_equal(store_use(l->db, "default", what, &n, &e), 0);
    return n;
}

TEST(a_value_is_fresh_then_of_use_then_gone)
{
    struct err e = ERR_INIT;
    struct coord_lab l;
    struct buf out = BUF_INIT(COORD_VALUE_BYTES + 1);
    coord_lab_open(&l);
    assert_int_equal(look(&l, "a", &out), '-');
    assert_int_equal(put(&l, "a", "17", l.seq, NULL, &e), 0);
    assert_int_equal(look(&l, "a", &out), 'f');
    assert_string_equal(buf_str(&out), "17");
    l.at += 1000;
    assert_int_equal(look(&l, "a", &out), 's');
    assert_int_equal(put(&l, "a", "1844", l.seq, NULL, &e), 0);
    assert_int_equal(look(&l, "a", &out), 'f');
    assert_string_equal(buf_str(&out), "1844");
    assert_int_equal(used(&l, COORD_USE_CACHED), 1);
    assert_int_equal(used(&l, COORD_USE_CACHED_BYTES), 5);
    l.at += 6000;
    assert_int_equal(look(&l, "a", &out), '-');
    coord_lab_check(&l);
    buf_fini(&out);
    coord_lab_close(&l);
}

TEST(a_flush_counts_for_what_was_begun_before_it)
{
    struct err e = ERR_INIT;
    struct coord_lab l;
    struct buf out = BUF_INIT(COORD_VALUE_BYTES + 1);
    coord_lab_open(&l);
    uint64_t before = l.seq;
    assert_int_equal(put(&l, "a", "1", before, "t", &e), 0);
    assert_int_equal(put(&l, "b", "1", before, "tt", &e), 0);
    assert_int_equal(flush(&l, "t"), 0);
    assert_int_equal(look(&l, "a", &out), '-');
    assert_int_equal(look(&l, "b", &out), 'f');
    uint64_t after = l.seq;
    assert_int_equal(put(&l, "a", "2", before, "t", &e), 0); /* began before, ended behind it */
    assert_int_equal(look(&l, "a", &out), '-');
    assert_int_equal(put(&l, "a", "3", after, "t", &e), 0);
    assert_int_equal(look(&l, "a", &out), 'f');
    assert_int_equal(flush(&l, "t"), 0);
    assert_int_equal(look(&l, "a", &out), '-');
    assert_int_equal(used(&l, COORD_USE_FLUSHES), 1);
    coord_lab_check(&l);
    buf_fini(&out);
    coord_lab_close(&l);
}

static uint32_t sweep(struct coord_lab *l, uint8_t version)
{
    struct err e = ERR_INIT;
    struct txn t;
    txn_init(&t);
    buf_add_u32(txn_begin(&t, COORD_OP_SWEEP, version), 100);
    txn_end(&t);
    assert_int_equal(coord_lab_do(l, &t, &e), 0);
    txn_fini(&t);
    struct cursor c = coord_lab_result(l, 0);
    return cursor_u32(&c);
}

TEST(a_sweep_takes_what_is_of_no_use_and_an_old_one_leaves_it)
{
    struct err e = ERR_INIT;
    struct coord_lab l;
    coord_lab_open(&l);
    assert_int_equal(put(&l, "a", "1", 0, "t", &e), 0);
    assert_int_equal(flush(&l, "t"), 0);
    assert_int_equal(sweep(&l, 2), 0);
    l.at += 6000;
    assert_int_equal(sweep(&l, 1), 0);
    assert_int_equal(sweep(&l, 2), 1);
    assert_int_equal(used(&l, COORD_USE_CACHED), 0);
    assert_int_equal(used(&l, COORD_USE_CACHED_BYTES), 0);
    l.at += 2 * COORD_CACHE_LIFE_MAX_MS;
    assert_int_equal(sweep(&l, 2), 1);
    assert_int_equal(used(&l, COORD_USE_FLUSHES), 0);
    coord_lab_check(&l);
    coord_lab_close(&l);
}

TEST(what_is_cached_wrongly_is_refused)
{
    struct err e = ERR_INIT;
    struct txn t;
    const char *tags[COORD_TAGS_MAX + 1];
    for (size_t i = 0; i < ARRAY_LEN(tags); i++)
        tags[i] = "t";
    struct coord_cached k = {.name = "a", .value = "1", .n = 1, .ttl_ms = 1};
    txn_init(&t);
    assert_int_equal(coord_txn_cache(&t, &k, &e), 0);
    k.tags = tags;
    k.tags_count = ARRAY_LEN(tags);
    assert_refused(coord_txn_cache(&t, &k, &e), ERR_INVALID, "at most 16");
    k.tags_count = 0;
    k.stale_ms = COORD_CACHE_LIFE_MAX_MS;
    assert_refused(coord_txn_cache(&t, &k, &e), ERR_INVALID, "30 days");
    k.stale_ms = 0;
    k.n = COORD_VALUE_BYTES + 1;
    assert_refused(coord_txn_cache(&t, &k, &e), ERR_TOO_LARGE, "256 KiB");
    assert_refused(coord_txn_flush(&t, "", &e), ERR_INVALID, "tag");
    txn_fini(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HEAP_TEST(a_value_is_fresh_then_of_use_then_gone),
        HEAP_TEST(a_flush_counts_for_what_was_begun_before_it),
        HEAP_TEST(a_sweep_takes_what_is_of_no_use_and_an_old_one_leaves_it),
        HEAP_TEST(what_is_cached_wrongly_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
