/* The rules without rows: lock, bucket, leaps. */
#include "coord/coord_priv.h"
#include "support/unit.h"

/* ---- lock ---- */

TEST(a_semaphore_has_n_holders_and_a_writer_is_alone)
{
    struct lock s = {.form = COORD_SEMAPHORE, .n = 2};
    assert_true(lock_admits(&s, false));
    lock_grant(&s, false);
    assert_true(lock_admits(&s, false));
    lock_grant(&s, false);
    assert_false(lock_fits(&s, false));
    lock_end(&s);
    assert_true(lock_fits(&s, false));

    struct lock rw = {.form = COORD_RW, .n = COORD_HOLDERS_MAX};
    lock_grant(&rw, false);
    assert_true(lock_fits(&rw, false));
    assert_false(lock_fits(&rw, true));
    lock_end(&rw);
    lock_grant(&rw, true);
    assert_false(lock_fits(&rw, false));
    assert_false(lock_fits(&rw, true));
    lock_end(&rw);
    assert_true(lock_fits(&rw, false));
}

TEST(a_writer_who_waits_stops_new_readers)
{
    struct lock rw = {.form = COORD_RW, .n = COORD_HOLDERS_MAX};
    lock_grant(&rw, false);
    assert_true(lock_admits(&rw, false));
    rw.waiting = 1;
    assert_false(lock_admits(&rw, false));
    assert_true(lock_fits(&rw, false));
}

/* ---- bucket ---- */

static struct coord_take take(int64_t rate, int64_t per, int64_t burst, int64_t n)
{
    return (struct coord_take){.rate = rate, .per_ms = per, .burst = burst, .n = n};
}

static struct bucket full(const struct coord_take *k)
{
    return (struct bucket){k->rate, k->per_ms, k->burst, k->burst * k->per_ms, 0};
}

TEST(a_bucket_gives_its_burst_and_then_its_rate)
{
    struct coord_take k = take(10, 1000, 3, 1);
    struct coord_taken t;
    struct bucket b = full(&k);
    for (int i = 0; i < 3; i++) {
        bucket_take(&b, &k, &t);
        assert_true(t.taken);
        assert_int_equal(t.left, 2 - i);
    }
    bucket_take(&b, &k, &t);
    assert_false(t.taken);
    assert_int_equal(t.wait_ms, 100);
    bucket_fill(&b, 99);
    bucket_take(&b, &k, &t);
    assert_false(t.taken);
    assert_int_equal(t.wait_ms, 1);
    bucket_fill(&b, 100);
    bucket_take(&b, &k, &t);
    assert_true(t.taken);
    assert_int_equal(bucket_full(&b), 400);
    bucket_fill(&b, 1000000);
    assert_int_equal(b.level, 3000);
}

TEST(a_turn_can_be_reserved_within_a_time)
{
    struct coord_take k = take(1, 1000, 1, 1);
    struct coord_taken t;
    struct bucket b = full(&k);
    bucket_take(&b, &k, &t);
    k.wait_ms = 1999;
    bucket_take(&b, &k, &t);
    assert_true(t.taken);
    assert_int_equal(t.wait_ms, 1000);
    bucket_take(&b, &k, &t);
    assert_false(t.taken);
    assert_int_equal(t.wait_ms, 2000);
    assert_int_equal(t.left, 0);
}

TEST(a_bucket_that_is_changed_keeps_what_is_in_it)
{
    struct coord_take k = take(10, 1000, 100, 40);
    struct coord_taken t;
    struct bucket b = full(&k);
    bucket_take(&b, &k, &t);
    struct coord_take minute = take(600, 60000, 100, 1);
    bucket_change(&b, &minute);
    bucket_take(&b, &minute, &t);
    assert_int_equal(t.left, 59);
    struct coord_take small = take(600, 60000, 10, 1);
    bucket_change(&b, &small);
    bucket_take(&b, &small, &t);
    assert_int_equal(t.left, 9);
}

/* Against exact arithmetic in wide integers, at the limits of every number. */
TEST(no_bucket_overflows_or_gives_more_than_its_rate)
{
    static const int64_t rates[] = {1, 7, 1000, COORD_LIMIT_MAX};
    static const int64_t pers[] = {1, 999, COORD_LIMIT_PER_MAX_MS};
    uint32_t dice = 1;
    for (size_t r = 0; r < 4; r++)
        for (size_t p = 0; p < 3; p++) {
            struct coord_take k = take(rates[r], pers[p], COORD_LIMIT_MAX, COORD_LIMIT_MAX);
            k.wait_ms = COORD_WAIT_MAX_MS;
            struct coord_taken t;
            struct bucket b = full(&k);
            __extension__ __int128 given = 0, at = 0;
            for (int i = 0; i < 200; i++) {
                dice = dice * 1664525 + 1013904223;
                k.n = 1 + dice % COORD_LIMIT_MAX;
                at += dice % 7 == 0 ? (int64_t)1 << 40 : dice % 1000;
                bucket_fill(&b, (int64_t)at);
                bucket_take(&b, &k, &t);
                if (t.taken)
                    given += k.n;
                assert_true(b.level <= k.burst * k.per_ms);
                assert_true(bucket_full(&b) >= b.at);
                /* with the reserved minute on top */
                assert_true((given - k.burst) * k.per_ms <= (at + COORD_WAIT_MAX_MS) * k.rate);
            }
            for (size_t q = 0; q < 3; q++) {
                struct coord_take other = take(rates[r], pers[q], COORD_LIMIT_MAX, 1);
                struct bucket changed = b;
                bucket_change(&changed, &other);
                assert_true(changed.level <= other.burst * other.per_ms);
                int64_t before = b.level / b.per, after = changed.level / changed.per;
                assert_true(after - before <= 1 && before - after <= 1);
            }
        }
}

/* ---- leaps ---- */

TEST(ledger_time_that_goes_with_the_clock_is_no_leap)
{
    struct leaps l = {.begun = false};
    for (int i = 0; i < 1000; i++)
        leaps_see(&l, 1000000 + i * 777, (uint64_t)i * 777 + 5);
    leaps_see(&l, 1000000 + 3600000 + 1000 * 777, 1000 * 777 + 3600000); /* idle for an hour */
    assert_int_equal(l.count, 0);
    assert_int_equal(leaps_since(&l, 0), 0);
}

TEST(a_claim_renewed_before_a_leap_gets_it_on_top) /* K2 */
{
    struct leaps l = {.begun = false};
    leaps_see(&l, 1000, 0);
    leaps_see(&l, 3601000, 0); /* the clock was set ahead by an hour */
    assert_int_equal(leaps_since(&l, 1000), 3600000);
    assert_int_equal(leaps_since(&l, 3601000), 0);
    leaps_see(&l, 3602000, 1000);
    assert_int_equal(l.count, 1);
}

TEST(time_that_stood_still_and_catches_up_is_a_leap)
{
    struct leaps l = {.begun = false};
    leaps_see(&l, 1000000, 0);
    for (uint64_t mono = 0; mono <= 600000; mono += 100)
        leaps_see(&l, 1000000, mono); /* the clock was set back, and is right again */
    leaps_see(&l, 1600000, 600000);
    assert_int_equal(leaps_since(&l, 1000000), 600000);
}

TEST(many_leaps_are_never_too_little_for_anybody)
{
    struct leaps l = {.begun = false};
    int64_t at = 0, sum = 0;
    leaps_see(&l, at, 0);
    for (int i = 1; i <= 20; i++) {
        at += i * 10000;
        sum += i * 10000;
        leaps_see(&l, at, 0);
        assert_true(l.count <= LEAPS_MAX);
        assert_true(leaps_since(&l, -1) >= sum);
    }
    assert_int_equal(leaps_since(&l, at - 1), 200000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HEAP_TEST(a_semaphore_has_n_holders_and_a_writer_is_alone),
        HEAP_TEST(a_writer_who_waits_stops_new_readers),
        HEAP_TEST(a_bucket_gives_its_burst_and_then_its_rate),
        HEAP_TEST(a_turn_can_be_reserved_within_a_time),
        HEAP_TEST(a_bucket_that_is_changed_keeps_what_is_in_it),
        HEAP_TEST(no_bucket_overflows_or_gives_more_than_its_rate),
        HEAP_TEST(ledger_time_that_goes_with_the_clock_is_no_leap),
        HEAP_TEST(a_claim_renewed_before_a_leap_gets_it_on_top),
        HEAP_TEST(time_that_stood_still_and_catches_up_is_a_leap),
        HEAP_TEST(many_leaps_are_never_too_little_for_anybody),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
