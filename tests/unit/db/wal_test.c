/* What is written to the WAL is gathered: the file is nevertheless what a commit says it is. */
#include "support/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/err.h"
#include "db/db.h"

struct place {
    char dir[96], path[128], wal[136], copy[128], copy_wal[136];
};

static struct db *fresh(struct place *at, size_t cache)
{
    struct db *db = NULL;
    const char *tmp = getenv("TMPDIR");
    snprintf(at->dir, sizeof(at->dir), "%s/walXXXXXX", tmp == NULL ? "/tmp" : tmp);
    assert_non_null(mkdtemp(at->dir));
    snprintf(at->path, sizeof(at->path), "%s/w.db", at->dir);
    snprintf(at->wal, sizeof(at->wal), "%s-wal", at->path);
    snprintf(at->copy, sizeof(at->copy), "%s/c.db", at->dir);
    snprintf(at->copy_wal, sizeof(at->copy_wal), "%s-wal", at->copy);
    struct db_options o = {.path = at->path, .cache_bytes = cache};
    assert_int_equal(db_open(&o, &db, NULL), 0);
    assert_int_equal(db_exec(db, "CREATE TABLE t(id INTEGER PRIMARY KEY, v)", NULL), 0);
    return db;
}

static void copy_file(const char *from, const char *to)
{
    static char piece[65536];
    int in = open(from, O_RDONLY | O_CLOEXEC);
    int out = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(in >= 0 && out >= 0);
    for (ssize_t n; (n = read(in, piece, sizeof(piece))) > 0;)
        assert_int_equal(write(out, piece, (size_t)n), n);
    close(in);
    close(out);
}

static int64_t number(struct db *db, const char *sql)
{
    struct err e = ERR_INIT;
    struct db_stmt *s = db_stmt_get(db, sql, &e);
    if (s == NULL || db_step(s, &e) != 1)
        fail_msg("%s: %s", sql, e.text);
    int64_t n = db_col_int(s, 0);
    db_stmt_done(s);
    return n;
}

static const char ROWS[] = "SELECT count(*) FROM t";

/* As after a crash of the process: from the two files as they are. */
static int64_t rows_in_files(const struct place *at)
{
    struct db *db = NULL;
    copy_file(at->path, at->copy);
    copy_file(at->wal, at->copy_wal);
    struct db_options o = {.path = at->copy, .mode = DB_READER};
    assert_int_equal(db_open(&o, &db, NULL), 0);
    int64_t n = number(db, ROWS);
    db_close(db);
    return n;
}

static int insert(struct db *db, int64_t rows, struct err *e)
{
    struct db_stmt *s =
        db_stmt_get(db,
                    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM "
                    "n WHERE i < ?1) INSERT INTO t(v) SELECT randomblob(900) FROM n",
                    e);
    assert_non_null(s);
    db_bind_int(s, 1, rows);
    return db_run(s, e);
}

TEST(what_is_committed_is_in_the_files_and_seen_by_readers_at_once) /* L1 */
{
    struct place at;
    struct db *db = fresh(&at, 0), *reader = NULL;
    struct db_options o = {.path = at.path, .mode = DB_READER};
    assert_int_equal(db_open(&o, &reader, NULL), 0);
    int64_t want = 0;
    /* One page, a piece and a bit, many pieces. */
    static const int64_t sizes[] = {1, 3, 90, 100, 2000, 1, 5000};
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        assert_int_equal(db_begin(db, NULL), 0);
        assert_int_equal(insert(db, sizes[i], NULL), 0);
        if (i % 2 == 1)
            db_commit_soon(db);
        assert_int_equal(number(reader, ROWS), want);
        assert_int_equal(rows_in_files(&at), want);
        assert_int_equal(db_commit(db, NULL), 0);
        want += sizes[i];
        assert_int_equal(number(reader, ROWS), want);
        assert_int_equal(rows_in_files(&at), want);
        if (i == 4)
            assert_int_equal(db_checkpoint(db, NULL), 0);
    }
    db_close(reader);
    db_close(db);
}

TEST(pages_that_do_not_fit_the_cache_come_back_from_the_wal)
{
    struct place at;
    struct db *db = fresh(&at, 64 << 10);
    for (int round = 0; round < 3; round++) {
        assert_int_equal(db_begin(db, NULL), 0);
        assert_int_equal(insert(db, 3000, NULL), 0);
        int64_t all = 3000 * (round > 0 ? 2 : 1);
        assert_int_equal(number(db, ROWS), all);
        assert_int_equal(number(db, "SELECT sum(length(v)) FROM t"), 900 * all);
        if (round == 1)
            db_rollback(db);
        else
            assert_int_equal(db_commit(db, NULL), 0);
        assert_int_equal(rows_in_files(&at), round == 2 ? 6000 : 3000);
    }
    uint64_t scan = 0;
    assert_int_equal(db_hash_scan(db, &scan, NULL), 0);
    assert_true(scan == db_hash(db));
    db_close(db);
}

TEST(a_write_that_fails_fails_the_commit_and_nobody_sees_it)
{
    struct place at;
    struct err e = ERR_INIT;
    struct db *db = fresh(&at, 0), *reader = NULL;
    struct db_options o = {.path = at.path, .mode = DB_READER};
    struct rlimit was, less;
    assert_int_equal(insert(db, 100, NULL), 0);
    assert_int_equal(db_open(&o, &reader, NULL), 0);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &was), 0);
    signal(SIGXFSZ, SIG_IGN);
    less = was;
    for (rlim_t room = 0; room < 600000; room += 150001) {
        assert_int_equal(db_begin(db, NULL), 0);
        assert_int_equal(insert(db, 1000, NULL), 0);
        less.rlim_cur = db_wal_bytes(db) + room;
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &less), 0);
        db_commit_soon(db);
        int rc = db_commit(db, &e);
        if (rc < 0)
            db_rollback(db);
        assert_int_equal(db_checkpoint(db, NULL), 0);
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &was), 0);
        assert_true(rc == ERR_DISK_FULL || rc == ERR_IO);
        assert_int_equal(number(reader, ROWS), 100);
        assert_int_equal(number(db, ROWS), 100);
        assert_int_equal(rows_in_files(&at), 100);
    }
    assert_int_equal(db_begin(db, NULL), 0);
    assert_int_equal(insert(db, 10, NULL), 0);
    assert_int_equal(db_commit(db, NULL), 0);
    assert_int_equal(number(reader, ROWS), 110);
    assert_int_equal(rows_in_files(&at), 110);
    db_close(reader);
    db_close(db);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HEAP_TEST(what_is_committed_is_in_the_files_and_seen_by_readers_at_once),
        HEAP_TEST(pages_that_do_not_fit_the_cache_come_back_from_the_wal),
        HEAP_TEST(a_write_that_fails_fails_the_commit_and_nobody_sees_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
