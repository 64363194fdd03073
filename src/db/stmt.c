#include "db/db_priv.h"

#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/hash.h"
#include "base/mem.h"

void db_cache_init(struct db *db)
{
    list_init(&db->lru);
}

static struct db_stmt **db_cache_slot(struct db *db, uint64_t key)
{
    return &db->buckets[key % DB_CACHE_BUCKETS];
}

static void db_cache_unlink(struct db_stmt *s)
{
    struct db_stmt **at = db_cache_slot(s->db, s->key);
    while (*at != s)
        at = &(*at)->bucket_next;
    *at = s->bucket_next;
    list_remove(&s->lru);
    s->db->idle--;
}

static void db_stmt_free(struct db_stmt *s)
{
    sqlite3_finalize(s->sql);
    mem_free(s);
}

static void db_cache_evict(struct db *db)
{
    struct db_stmt *s = LIST_OF(db->lru.next, struct db_stmt, lru);
    db_cache_unlink(s);
    db_stmt_free(s);
}

void db_cache_fini(struct db *db)
{
    while (db->idle > 0)
        db_cache_evict(db);
}

static struct db_stmt *db_cache_find(struct db *db, uint64_t key, const char *sql)
{
    for (struct db_stmt *s = *db_cache_slot(db, key); s != NULL; s = s->bucket_next)
        if (s->key == key && strcmp(sqlite3_sql(s->sql), sql) == 0)
            return s;
    return NULL;
}

static int db_stmt_prepare(struct db *db, const char *sql, sqlite3_stmt **out, struct err *e)
{
    const char *tail = NULL;
    int code = sqlite3_prepare_v3(db->sql, sql, -1, SQLITE_PREPARE_PERSISTENT, out, &tail);
    if (code != SQLITE_OK)
        return db_fail(db, code, "database: prepare", e);
    /* One statement, nothing behind it: text behind it would never be in the cache's key. */
    if (*out == NULL || tail[strspn(tail, " \t\r\n;")] != '\0') {
        sqlite3_finalize(*out);
        return err_set(e, ERR_INTERNAL, "database: not exactly one statement: %.200s", sql);
    }
    return 0;
}

struct db_stmt *db_stmt_get(struct db *db, const char *sql, struct err *e)
{
    uint64_t key = hash64(0, sql, strlen(sql));
    struct db_stmt *s = db_cache_find(db, key, sql);
    if (s != NULL) {
        db_cache_unlink(s);
    } else {
        sqlite3_stmt *prepared;
        if (db_stmt_prepare(db, sql, &prepared, e) != 0)
            return NULL;
        s = mem_new(sizeof(*s));
        *s = (struct db_stmt){.db = db, .sql = prepared, .key = key};
    }
    s->bind_code = SQLITE_OK;
    s->running = false;
    db->in_use++;
    return s;
}

struct db_stmt *db_stmt_get_buf(struct db *db, const struct buf *sql, struct err *e)
{
    return buf_check(sql, "a statement", e) != 0 ? NULL : db_stmt_get(db, buf_str(sql), e);
}

void db_stmt_done(struct db_stmt *s)
{
    if (s == NULL)
        return;
    struct db *db = s->db;
    /* Outside a transaction a write commits at its last step; reset would do it and tell nobody
     * of a failure. */
    ASSERT(!s->running || sqlite3_stmt_readonly(s->sql) || !sqlite3_get_autocommit(db->sql));
    sqlite3_reset(s->sql);
    /* Bound text is not ours and may be gone by the next use. */
    sqlite3_clear_bindings(s->sql);
    db->in_use--;
    struct db_stmt **slot = db_cache_slot(db, s->key);
    s->bucket_next = *slot;
    *slot = s;
    list_push(&db->lru, &s->lru);
    if (++db->idle > DB_CACHE_STATEMENTS)
        db_cache_evict(db);
}

void db_stmt_donep(struct db_stmt **s)
{
    db_stmt_done(*s);
}

static void db_bound(struct db_stmt *s, int code)
{
    ASSERT(code != SQLITE_RANGE && code != SQLITE_MISUSE);
    if (code != SQLITE_OK && s->bind_code == SQLITE_OK)
        s->bind_code = code;
}

void db_bind_int(struct db_stmt *s, int at, int64_t v)
{
    db_bound(s, sqlite3_bind_int64(s->sql, at, v));
}

void db_bind_double(struct db_stmt *s, int at, double v)
{
    db_bound(s, sqlite3_bind_double(s->sql, at, v));
}

void db_bind_text(struct db_stmt *s, int at, const char *p, size_t n)
{
    db_bound(s, sqlite3_bind_text64(s->sql, at, p, n, SQLITE_STATIC, SQLITE_UTF8));
}

void db_bind_str(struct db_stmt *s, int at, const char *p)
{
    db_bind_text(s, at, p, p == NULL ? 0 : strlen(p));
}

void db_bind_blob(struct db_stmt *s, int at, const void *p, size_t n)
{
    db_bound(s, sqlite3_bind_blob64(s->sql, at, p, n, SQLITE_STATIC));
}

void db_bind_null(struct db_stmt *s, int at)
{
    db_bound(s, sqlite3_bind_null(s->sql, at));
}

static int db_step_fail(struct db_stmt *s, int code, struct err *e)
{
    struct db *db = s->db;
    code = db_fail(db, code, "database", e);
    s->running = false;
    /* A read has added nothing, and writes of others may lie between its steps. */
    db_hash_undo(db, sqlite3_stmt_readonly(s->sql) ? db->hash : s->hash_before);
    return code;
}

int db_step(struct db_stmt *s, struct err *e)
{
    if (s->bind_code != SQLITE_OK)
        return db_fail(NULL, s->bind_code, "database: bind", e);
    if (!s->running) {
        s->running = true;
        s->hash_before = s->db->hash;
    }
    int code = sqlite3_step(s->sql);
    if (code == SQLITE_ROW)
        return 1;
    if (code != SQLITE_DONE)
        return db_step_fail(s, code, e);
    s->running = false;
    if (s->db->hash_code != SQLITE_OK)
        return db_fail(NULL, s->db->hash_code, "database: state hash", e);
    return 0;
}

int db_run(struct db_stmt *s, struct err *e)
{
    int rc = db_step(s, e);
    ASSERT(rc <= 0);
    db_stmt_done(s);
    return rc;
}

int64_t db_col_int(struct db_stmt *s, int at)
{
    return sqlite3_column_int64(s->sql, at);
}

double db_col_double(struct db_stmt *s, int at)
{
    return sqlite3_column_double(s->sql, at);
}

const char *db_col_text(struct db_stmt *s, int at, size_t *n)
{
    const char *p = (const char *)sqlite3_column_text(s->sql, at);
    if (n != NULL)
        *n = p == NULL ? 0 : (size_t)sqlite3_column_bytes(s->sql, at);
    return p;
}

const void *db_col_blob(struct db_stmt *s, int at, size_t *n)
{
    const void *p = sqlite3_column_blob(s->sql, at);
    if (n != NULL)
        *n = (size_t)sqlite3_column_bytes(s->sql, at);
    return p;
}

bool db_col_is_null(struct db_stmt *s, int at)
{
    return sqlite3_column_type(s->sql, at) == SQLITE_NULL;
}

int db_col_type(struct db_stmt *s, int at)
{
    return sqlite3_column_type(s->sql, at);
}
