/* Shared inside src/db/: the connection, a statement, and how SQLite's codes become ours. */
#ifndef KOAN_DB_DB_PRIV_H
#define KOAN_DB_DB_PRIV_H

/* The pre-update calls are in the library, but its header shows them only on request. */
#define SQLITE_ENABLE_PREUPDATE_HOOK 1
#include <sqlite3.h>

#include "base/list.h"
#include "db/db.h"

enum {
    DB_CACHE_STATEMENTS = 128, /* idle statements kept per connection */
    DB_CACHE_BUCKETS = 256,
    DB_SAVEPOINTS_MAX = 8,
    /* Rows of 500 bytes with two random keys, 100 a transaction: 54-59 thousand rows/s and 8 KiB of
     * WAL a row; pages of 8 KiB gave 46-49 and 12, of 16 KiB 31-40 and 18. */
    DB_PAGE_BYTES = 4096,
    DB_STEP_GRAIN = 1000,
    DB_BUSY_MS = 5000, /* a reader that opens while another one recovers the WAL waits this long */
};

/* Statements are in the cache only while idle; one that is in use belongs to who asked for it. */
struct db_stmt {
    struct list lru;
    struct db_stmt *bucket_next;
    struct db *db;
    sqlite3_stmt *sql;
    uint64_t key;
    uint64_t hash_before; /* state hash when this run began: a failed run is undone whole */
    bool running;
    int bind_code; /* the first binding that SQLite refused */
};

struct db {
    sqlite3 *sql;
    enum db_mode mode;
    struct db_stmt *buckets[DB_CACHE_BUCKETS];
    struct list lru; /* idle, oldest first */
    size_t idle, in_use;

    uint64_t hash;
    uint64_t hash_at_begin;
    uint64_t hash_at_savepoint[DB_SAVEPOINTS_MAX];
    int savepoints;
    bool in_transaction;
    unsigned snapshots; /* begun and not ended */
    int hash_code;      /* the hook could not read a row: the transaction may not commit */

    uint64_t steps_left;  /* in grains */
    uint64_t deadline_ns; /* 0: none */
    struct world *clock;
    uint64_t wal_bytes;
    struct db_rows rows; /* of the db_insert() that runs, or given */
    size_t rows_done;
};

/* The code of base/err.h for one of SQLite's (extended) codes. */
int db_code(int sqlite_code);
/* The same with SQLite's words behind `what`. */
int db_fail(struct db *db, int sqlite_code, const char *what, struct err *e);
/* A write failed: take back what the hook added for it. */
void db_hash_undo(struct db *db, uint64_t before);

void db_hash_start(struct db *db);
int db_rows_start(struct db *db, struct err *e);
/* The writer's VFS, over the system's; NULL: the system's itself will do. */
const char *db_wal_vfs(void);
/* What is held back goes into the WAL now, if it can; else later. */
void db_wal_hand_on(struct db *db);
void db_cache_init(struct db *db);
void db_cache_fini(struct db *db);

#endif
