#include "support/simdisk.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

#include "base/err.h"
#include "base/mem.h"
#include "support/simworld.h"

static struct disk *disk_of(struct sim *s)
{
    return sim_world(s)->disk;
}

static struct disk_file *open_file(struct sim *s, const char *path)
{
    struct disk_file *f = NULL;
    int flags = DISK_READ | DISK_WRITE | DISK_CREATE;
    assert_int_equal(disk_of(s)->open(disk_of(s), path, flags, &f, NULL), 0);
    return f;
}

static void put(struct sim *s, struct disk_file *f, char c, size_t n, uint64_t at)
{
    char *p = mem_try(n);
    memset(p, c, n);
    assert_int_equal(disk_of(s)->write(f, p, n, at, NULL), 0);
    mem_free(p);
}

static void make_synced(struct sim *s, const char *path, char c, size_t n)
{
    struct disk *d = disk_of(s);
    struct disk_file *f = open_file(s, path);
    put(s, f, c, n, 0);
    assert_int_equal(d->sync(f, NULL), 0);
    d->close(f);
    assert_int_equal(d->sync_dir(d, "data", NULL), 0);
}

static void what_was_synced_survives_every_power_cut(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 50; seed++) {
        struct sim *s = sim_new(seed, NULL);
        make_synced(s, "data/a", 'x', 2000);
        sim_freeze(s, "test");
        sim_crash(s, SIM_POWER_CUT);
        assert_int_equal(simdisk_size(sim_disk(s), "data/a"), 2000);
        for (uint64_t i = 0; i < 2000; i++)
            assert_int_equal(simdisk_peek(sim_disk(s), "data/a", i), 'x');
        sim_free(s);
    }
}

static void unsynced_sectors_are_old_or_new_and_each_outcome_happens(void **state)
{
    (void)state;
    unsigned all_old = 0, all_new = 0, gap = 0;
    for (uint64_t seed = 0; seed < 300; seed++) {
        struct sim *s = sim_new(seed, NULL);
        make_synced(s, "data/a", 'o', 4096);
        struct disk_file *f = open_file(s, "data/a");
        put(s, f, 'n', 4096, 0);
        disk_of(s)->close(f);
        sim_freeze(s, "test");
        sim_crash(s, SIM_POWER_CUT);
        unsigned fresh = 0;
        bool after_old = false, is_gap = false;
        for (uint64_t sector = 0; sector < 8; sector++) {
            uint8_t first = simdisk_peek(sim_disk(s), "data/a", sector * 512);
            assert_true(first == 'o' || first == 'n');
            for (uint64_t i = 0; i < 512; i++)
                assert_int_equal(simdisk_peek(sim_disk(s), "data/a", sector * 512 + i), first);
            fresh += first == 'n';
            is_gap = is_gap || (first == 'n' && after_old);
            after_old = after_old || first == 'o';
        }
        all_old += fresh == 0;
        all_new += fresh == 8;
        gap += is_gap;
        sim_free(s);
    }
    assert_true(all_old > 30 && all_new > 30 && gap > 30);
}

static void a_later_write_to_a_sector_never_survives_without_the_earlier(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 200; seed++) {
        struct sim *s = sim_new(seed, NULL);
        make_synced(s, "data/a", 'o', 512);
        struct disk_file *f = open_file(s, "data/a");
        put(s, f, '1', 100, 0);
        put(s, f, '2', 100, 100);
        disk_of(s)->close(f);
        sim_freeze(s, "test");
        sim_crash(s, SIM_POWER_CUT);
        if (simdisk_peek(sim_disk(s), "data/a", 150) == '2')
            assert_int_equal(simdisk_peek(sim_disk(s), "data/a", 50), '1');
        sim_free(s);
    }
}

static void a_kill_keeps_what_came_before_the_freeze_and_nothing_after(void **state)
{
    (void)state;
    struct sim *s = sim_new(1, NULL);
    struct disk_file *f = open_file(s, "data/a");
    put(s, f, 'b', 100, 0);
    sim_freeze(s, "test");
    put(s, f, 'a', 200, 0);
    assert_int_equal(disk_of(s)->sync(f, NULL), 0);
    char back[200];
    assert_int_equal(disk_of(s)->read(f, back, 200, 0, NULL), 200);
    disk_of(s)->close(f);
    struct disk_file *late = open_file(s, "data/late");
    disk_of(s)->close(late);
    sim_crash(s, SIM_KILL);
    assert_int_equal(simdisk_size(sim_disk(s), "data/a"), 100);
    assert_int_equal(simdisk_peek(sim_disk(s), "data/a", 0), 'b');
    assert_int_equal(simdisk_size(sim_disk(s), "data/late"), -1);
    /* Still unsynced: a power cut afterwards may take it. */
    bool lost = false;
    for (int i = 0; i < 20 && !lost; i++) {
        sim_crash(s, SIM_POWER_CUT);
        lost = simdisk_size(sim_disk(s), "data/a") != 100;
    }
    sim_free(s);
}

static void names_without_a_synced_folder_may_be_lost(void **state)
{
    (void)state;
    unsigned created = 0, renamed = 0, both = 0;
    for (uint64_t seed = 0; seed < 200; seed++) {
        struct sim *s = sim_new(seed, NULL);
        struct disk *d = disk_of(s);
        make_synced(s, "data/old", 'o', 10);
        struct disk_file *f = open_file(s, "data/new");
        put(s, f, 'n', 10, 0);
        assert_int_equal(d->sync(f, NULL), 0);
        d->close(f);
        assert_int_equal(d->rename(d, "data/old", "data/older", NULL), 0);
        sim_freeze(s, "test");
        sim_crash(s, SIM_POWER_CUT);
        created += simdisk_size(sim_disk(s), "data/new") == 10;
        bool is_old = simdisk_size(sim_disk(s), "data/old") == 10;
        bool is_older = simdisk_size(sim_disk(s), "data/older") == 10;
        renamed += is_older;
        both += is_old == is_older;
        sim_free(s);
    }
    assert_true(created > 20 && created < 180);
    assert_true(renamed > 20 && renamed < 180);
    assert_int_equal(both, 0);
}

static void a_folder_takes_its_files_with_it(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 50; seed++) {
        struct sim *s = sim_new(seed, NULL);
        struct disk *d = disk_of(s);
        assert_int_equal(d->mkdir(d, "data/log", NULL), 0);
        struct disk_file *f = open_file(s, "data/log/1");
        d->close(f);
        assert_int_equal(d->sync_dir(d, "data/log", NULL), 0);
        sim_freeze(s, "test");
        sim_crash(s, SIM_POWER_CUT);
        assert_int_equal(d->mkdir(d, "data/log", NULL), 0);
        assert_int_equal(d->sync_dir(d, "data", NULL), 0);
        f = open_file(s, "data/log/1");
        d->close(f);
        assert_int_equal(d->sync_dir(d, "data/log", NULL), 0);
        sim_freeze(s, "test");
        sim_crash(s, SIM_POWER_CUT);
        assert_int_equal(simdisk_size(sim_disk(s), "data/log/1"), 0);
        sim_free(s);
    }
}

static void faults_come_when_ordered(void **state)
{
    (void)state;
    struct sim *s = sim_new(3, NULL);
    struct disk *d = disk_of(s);
    struct disk_file *f = open_file(s, "data/a");
    simdisk_fail(sim_disk(s), SIMDISK_WRITE, 2);
    put(s, f, 'x', 10, 0);
    assert_int_equal(d->write(f, "y", 1, 0, NULL), ERR_IO);
    assert_true(simdisk_failed(sim_disk(s)));
    put(s, f, 'x', 10, 0);
    simdisk_capacity(sim_disk(s), 100);
    assert_int_equal(d->write(f, "y", 1, 100, NULL), ERR_DISK_FULL);
    put(s, f, 'y', 10, 90);
    uint64_t left = 1, total = 0;
    assert_int_equal(d->space(d, "data", &left, &total, NULL), 0);
    assert_int_equal(left, 0);
    simdisk_fail(sim_disk(s), SIMDISK_SYNC, 1);
    assert_int_equal(d->sync(f, NULL), ERR_IO);
    d->close(f);
    simdisk_flip(sim_disk(s), "data/a", 0, 0);
    assert_int_equal(simdisk_peek(sim_disk(s), "data/a", 0), 'x' ^ 1);
    sim_free(s);
}

static void the_planned_freeze_stops_at_its_change(void **state)
{
    (void)state;
    unsigned landed = 0;
    for (uint64_t seed = 0; seed < 100; seed++) {
        struct sim *s = sim_new(seed, NULL);
        make_synced(s, "data/a", 'o', 512);
        struct disk_file *f = open_file(s, "data/a");
        simdisk_freeze_after(sim_disk(s), 2);
        put(s, f, '1', 512, 0);
        assert_false(sim_is_frozen(s));
        assert_int_equal(disk_of(s)->sync(f, NULL), 0);
        assert_true(sim_is_frozen(s));
        put(s, f, '2', 512, 0);
        disk_of(s)->close(f);
        sim_crash(s, SIM_POWER_CUT);
        uint8_t got = simdisk_peek(sim_disk(s), "data/a", 0);
        assert_true(got == 'o' || got == '1');
        landed += got == '1';
        assert_false(sim_is_frozen(s));
        sim_free(s);
    }
    assert_true(landed > 40 && landed < 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_synced_survives_every_power_cut),
        cmocka_unit_test(unsynced_sectors_are_old_or_new_and_each_outcome_happens),
        cmocka_unit_test(a_later_write_to_a_sector_never_survives_without_the_earlier),
        cmocka_unit_test(a_kill_keeps_what_came_before_the_freeze_and_nothing_after),
        cmocka_unit_test(names_without_a_synced_folder_may_be_lost),
        cmocka_unit_test(a_folder_takes_its_files_with_it),
        cmocka_unit_test(faults_come_when_ordered),
        cmocka_unit_test(the_planned_freeze_stops_at_its_change),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
