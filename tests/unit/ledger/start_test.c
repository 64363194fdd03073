/* What a start makes of a folder that is not as it was left. */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/stat.h"
#include "db/db.h"
#include "support/ledger_kit.h"
#include "support/unit.h"

enum { SEGMENT = 16 << 10 };

static void path_of(const struct kit_node *n, const char *name, char out[512])
{
    snprintf(out, 512, "%s/%s", n->dir, name);
}

static void segment_of(int seq, char out[64])
{
    snprintf(out, 64, "log/%020d.log", seq);
}

static void fill(struct kit_node *n, uint64_t first, uint64_t count)
{
    static const char text[900];
    for (uint64_t i = first; i < first + count; i++) {
        struct unit u;
        kit_unit(n, &u);
        kit_put(&u, i, text, sizeof text);
        assert_int_equal(kit_do(n, &u), 0);
        unit_fini(&u);
    }
}

/* A node that has written some segments, closed. */
static void node_made(struct kit_node *n, uint64_t units)
{
    kit_node_fresh(n);
    n->options.segment_bytes = SEGMENT;
    assert_int_equal(kit_node_open(n, NULL), 0);
    fill(n, 0, units);
    kit_node_close(n);
}

static void flip(const struct kit_node *n, const char *name, off_t at)
{
    char path[512];
    uint8_t c;
    path_of(n, name, path);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(pread(fd, &c, 1, at), 1);
    c ^= 0x20;
    assert_int_equal(pwrite(fd, &c, 1, at), 1);
    close(fd);
}

static void drop(const struct kit_node *n, const char *name)
{
    char path[512];
    path_of(n, name, path);
    assert_int_equal(unlink(path), 0);
}

static bool is_there(const struct kit_node *n, const char *name)
{
    char path[512];
    struct stat st;
    path_of(n, name, path);
    return stat(path, &st) == 0;
}

static int count_files(const struct kit_node *n, const char *prefix)
{
    char path[512];
    path_of(n, "log", path);
    DIR *d = opendir(path);
    int count = 0;
    for (struct dirent *f; (f = readdir(d)) != NULL;)
        count += strncmp(f->d_name, prefix, strlen(prefix)) == 0;
    closedir(d);
    return count;
}

/* Nothing but the log is left: everything will be applied again. */
static void forget_database(struct kit_node *n)
{
    drop(n, "koan.db");
    if (is_there(n, "koan.db-wal"))
        drop(n, "koan.db-wal");
    if (is_there(n, "koan.db-shm"))
        drop(n, "koan.db-shm");
    drop(n, "log/manifest");
}

static void refused(struct kit_node *n, int code, const char *a, const char *b)
{
    struct err e = ERR_INIT;
    assert_refused(kit_node_open(n, &e), code, a);
    if (strstr(e.text, b) == NULL)
        fail_msg("no \"%s\" in \"%s\"", b, e.text);
}

static uint64_t scanned_hash(struct kit_node *n)
{
    uint64_t h = 0;
    struct db *db = kit_reader(n);
    assert_int_equal(db_hash_scan(db, &h, NULL), 0);
    db_close(db);
    return h;
}

TEST(a_lost_database_is_made_again_from_the_whole_log)
{
    struct kit_node n;
    node_made(&n, 60);
    assert_int_equal(kit_node_open(&n, NULL), 0);
    uint64_t before = scanned_hash(&n), applied = ledger_applied(n.ledger);
    kit_node_close(&n);
    forget_database(&n);
    assert_int_equal(kit_node_open(&n, NULL), 0);
    assert_int_equal(ledger_applied(n.ledger), applied);
    assert_true(scanned_hash(&n) == before);
    kit_node_close(&n);
    kit_node_gone(&n);
}

TEST(a_database_older_than_the_checkpoint_is_refused)
{
    struct kit_node n;
    node_made(&n, 5);
    drop(&n, "koan.db");
    refused(&n, ERR_CORRUPT, "koan.db ends at entry 0", "restore");
    kit_node_gone(&n);
}

TEST(damage_in_a_finished_segment_is_refused_with_its_place)
{
    struct kit_node n;
    char name[64];
    node_made(&n, 60);
    forget_database(&n);
    segment_of(2, name);
    assert_true(is_there(&n, name));
    flip(&n, name, 4096 + 100);
    refused(&n, ERR_CORRUPT, name, "offset 4096");
    kit_node_gone(&n);
}

TEST(damage_before_the_end_of_the_last_segment_is_refused_with_its_place)
{
    struct kit_node n;
    char name[64];
    node_made(&n, 4);
    forget_database(&n);
    segment_of(1, name);
    flip(&n, name, 4096 + 30); /* the first record; valid ones follow */
    refused(&n, ERR_CORRUPT, name, "offset 4096");
    kit_node_gone(&n);
}

TEST(a_missing_segment_is_refused_by_number)
{
    struct kit_node n;
    char name[64];
    node_made(&n, 60);
    segment_of(3, name);
    drop(&n, name);
    refused(&n, ERR_CORRUPT, "segment 3 before it is missing", "log/");
    kit_node_gone(&n);
}

TEST(a_log_without_its_last_entry_is_refused_because_the_checkpoint_knows_of_it)
{
    struct kit_node n;
    char name[64];
    node_made(&n, 3);
    segment_of(1, name);
    /* 4096: members, 64 bytes or so; three records of about 1 KiB: the last begins near 4096 + 2
     * KiB */
    for (off_t at = 4096 + 1900; at < 4096 + 3000; at += 8)
        flip(&n, name, at);
    refused(&n, ERR_CORRUPT, "the log ends at entry", "acknowledged entries are missing");
    kit_node_gone(&n);
}

TEST(a_damaged_header_is_refused_even_in_the_last_segment)
{
    struct kit_node n;
    char name[64];
    node_made(&n, 3);
    segment_of(1, name);
    flip(&n, name, 50);
    refused(&n, ERR_CORRUPT, name, "offset 0");
    kit_node_gone(&n);
}

TEST(one_damaged_slot_of_the_state_is_survived_and_two_are_not)
{
    struct kit_node n;
    node_made(&n, 3);
    flip(&n, "log/state", 20);
    assert_int_equal(kit_node_open(&n, NULL), 0);
    kit_node_close(&n);
    flip(&n, "log/state", 20);
    flip(&n, "log/state", 4096 + 20);
    refused(&n, ERR_CORRUPT, "log/state", "restore");
    kit_node_gone(&n);
}

TEST(a_damaged_manifest_is_refused)
{
    struct kit_node n;
    node_made(&n, 3);
    flip(&n, "log/manifest", 17);
    refused(&n, ERR_CORRUPT, "log/manifest", "damaged");
    kit_node_gone(&n);
}

static uint64_t number_at(const struct kit_node *n, const char *name, off_t at, int size)
{
    char path[512];
    uint8_t b[8] = {0};
    uint64_t v = 0;
    path_of(n, name, path);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_int_equal(pread(fd, b, (size_t)size, at), size);
    close(fd);
    for (int i = 0; i < size; i++)
        v |= (uint64_t)b[i] << (8 * i);
    return v;
}

/* schema/log-segment.md, in little-endian numbers. */
TEST(state_and_manifest_are_laid_out_as_their_page_says)
{
    struct kit_node n;
    node_made(&n, 3);
    uint64_t magic, count[2], slot;
    memcpy(&magic, "KOANVOTE", 8);
    for (slot = 0; slot < 2; slot++)
        count[slot] = number_at(&n, "log/state", (off_t)(slot * 4096 + 16), 8);
    slot = count[1] > count[0];
    off_t at = (off_t)(slot * 4096);
    assert_true(number_at(&n, "log/state", at, 8) == magic);
    assert_int_equal(number_at(&n, "log/state", at + 8, 4), 1);
    assert_int_equal(count[slot] % 2, slot);
    uint64_t node = number_at(&n, "log/state", at + 24, 8);
    assert_true(node != 0 && node >> 63 == 0);
    assert_int_equal(number_at(&n, "log/state", at + 32, 8), 1); /* term */
    assert_true(number_at(&n, "log/state", at + 40, 8) == node); /* vote */
    memcpy(&magic, "KOANSNAP", 8);
    assert_true(number_at(&n, "log/manifest", 0, 8) == magic);
    assert_int_equal(number_at(&n, "log/manifest", 8, 4), 1);
    assert_int_equal(number_at(&n, "log/manifest", 16, 8), 4); /* members and three units */
    assert_int_equal(number_at(&n, "log/manifest", 24, 8), 1);
    assert_int_equal(number_at(&n, "log/manifest", 40, 8), 1);
    kit_node_gone(&n);
}

TEST(a_segment_of_another_node_is_refused)
{
    struct kit_node a, b;
    node_made(&a, 3);
    node_made(&b, 3);
    char from[512], to[512];
    path_of(&a, "log/state", from);
    path_of(&b, "log/state", to);
    assert_int_equal(rename(from, to), 0);
    refused(&b, ERR_CORRUPT, "belongs to another node", "do not mix");
    kit_node_gone(&a);
    kit_node_gone(&b);
}

TEST(an_operation_of_a_newer_program_halts_and_is_never_skipped)
{
    struct kit_node n;
    struct unit u;
    kit_node_fresh(&n);
    n.kit.newer = true;
    assert_int_equal(kit_node_open(&n, NULL), 0);
    kit_unit(&n, &u);
    txn_begin(&u.txn, KIT_FUTURE, 1);
    txn_end(&u.txn);
    assert_int_equal(kit_do(&n, &u), 0);
    unit_fini(&u);
    kit_node_close(&n);
    forget_database(&n);
    n.kit.newer = false;
    refused(&n, ERR_UNSUPPORTED, "0xff05", "written by a newer one");
    n.kit.newer = true;
    assert_int_equal(kit_node_open(&n, NULL), 0);
    kit_node_close(&n);
    kit_node_gone(&n);
}

TEST(old_segments_become_new_ones_and_nothing_old_is_read_in_them)
{
    struct kit_node n;
    char name[64];
    kit_node_fresh(&n);
    n.options.segment_bytes = SEGMENT;
    n.options.snapshot_entries = 10;
    n.options.keep_bytes = 1;
    assert_int_equal(kit_node_open(&n, NULL), 0);
    fill(&n, 0, 200);
    segment_of(1, name);
    assert_false(is_there(&n, name));
    assert_true(count_files(&n, "0000") <= 4);
    assert_true(count_files(&n, "spare-") <= 3);
    kit_node_close(&n);
    assert_int_equal(kit_node_open(&n, NULL), 0);
    struct db *db = kit_reader(&n);
    assert_int_equal(kit_rows(db), 200);
    db_close(db);
    fill(&n, 200, 50);
    kit_node_close(&n);
    kit_node_gone(&n);
}

TEST(an_entry_larger_than_a_segment_gets_one_of_its_own)
{
    struct kit_node n;
    node_made(&n, 3);
    assert_int_equal(kit_node_open(&n, NULL), 0);
    struct unit u;
    AUTO(mem_freep) char *big = mem_try(2 << 20);
    memset(big, 7, 2 << 20);
    kit_unit(&n, &u);
    kit_put(&u, 1000, big, 2 << 20);
    assert_int_equal(kit_do(&n, &u), 0);
    unit_fini(&u);
    fill(&n, 2000, 20);
    kit_node_close(&n);
    forget_database(&n);
    assert_int_equal(kit_node_open(&n, NULL), 0);
    struct db *db = kit_reader(&n);
    assert_int_equal(kit_rows(db), 24);
    db_close(db);
    kit_node_close(&n);
    kit_node_gone(&n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HEAP_TEST(a_lost_database_is_made_again_from_the_whole_log),
        HEAP_TEST(a_database_older_than_the_checkpoint_is_refused),
        HEAP_TEST(damage_in_a_finished_segment_is_refused_with_its_place),
        HEAP_TEST(damage_before_the_end_of_the_last_segment_is_refused_with_its_place),
        HEAP_TEST(a_missing_segment_is_refused_by_number),
        HEAP_TEST(a_log_without_its_last_entry_is_refused_because_the_checkpoint_knows_of_it),
        HEAP_TEST(a_damaged_header_is_refused_even_in_the_last_segment),
        HEAP_TEST(one_damaged_slot_of_the_state_is_survived_and_two_are_not),
        HEAP_TEST(a_damaged_manifest_is_refused),
        HEAP_TEST(state_and_manifest_are_laid_out_as_their_page_says),
        HEAP_TEST(a_segment_of_another_node_is_refused),
        HEAP_TEST(an_operation_of_a_newer_program_halts_and_is_never_skipped),
        HEAP_TEST(old_segments_become_new_ones_and_nothing_old_is_read_in_them),
        HEAP_TEST(an_entry_larger_than_a_segment_gets_one_of_its_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
