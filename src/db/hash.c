#include "db/db_priv.h"

#include <math.h>
#include <string.h>

#include "base/err.h"
#include "base/hash.h"
#include "base/mem.h"

enum { DB_TABLES_MAX = 4096 };

static const char DB_LOCAL[] = "local_";

static bool db_hash_counts(const char *table)
{
    return strncmp(table, DB_LOCAL, sizeof(DB_LOCAL) - 1) != 0 && strncmp(table, "sqlite_", 7) != 0;
}

/* "x.5" counts as "x": a table may take the place of another without a change of the state. */
static uint64_t db_hash_table(const char *table)
{
    return hash64(0, table, strcspn(table, "."));
}

/* A REAL column gives 5.0 as an integer to one reader and as a float to another (SQLite stores it
 * as an integer), so whole numbers count the same in both forms. */
static uint64_t db_hash_number(uint64_t h, sqlite3_value *v)
{
    uint8_t type = SQLITE_INTEGER;
    int64_t whole = sqlite3_value_int64(v);
    if (sqlite3_value_type(v) == SQLITE_FLOAT) {
        double d = sqlite3_value_double(v);
        if (d == floor(d) && fabs(d) <= 9007199254740992.0) {
            whole = (int64_t)d;
        } else {
            type = SQLITE_FLOAT;
            memcpy(&whole, &d, sizeof(whole));
        }
    }
    return hash64_cell(h, type, (uint64_t)whole);
}

static uint64_t db_hash_value(uint64_t h, sqlite3_value *v)
{
    int type = sqlite3_value_type(v);
    if (type == SQLITE_INTEGER || type == SQLITE_FLOAT)
        return db_hash_number(h, v);
    if (type == SQLITE_NULL)
        return hash64_cell(h, (uint8_t)type, 0);
    /* The pointer first: asking for it may convert, and the length is that of what it gives. Text
     * is asked for as bytes, which it is already: as text SQLite would copy it for a NUL. */
    const void *p = sqlite3_value_blob(v);
    uint64_t n = (uint64_t)sqlite3_value_bytes(v);
    h = hash64_cell(h, (uint8_t)type, n);
    return n == 0 ? h : hash64(h, p, n);
}

typedef int db_hash_get(sqlite3 *, int, sqlite3_value **);

static uint64_t db_hash_changed_row(struct db *db, const char *table, db_hash_get *get)
{
    uint64_t h = db_hash_table(table);
    int columns = sqlite3_preupdate_count(db->sql);
    for (int i = 0; i < columns; i++) {
        sqlite3_value *v = NULL;
        int code = get(db->sql, i, &v);
        if (code != SQLITE_OK || v == NULL) {
            db->hash_code = code == SQLITE_OK ? SQLITE_NOMEM : code;
            return 0;
        }
        h = db_hash_value(h, v);
    }
    return h;
}

/* The next row of db_insert(): its cells are at hand and need not be taken out of the record. */
static uint64_t db_hash_given_row(struct db *db, const char *table, int64_t rowid)
{
    uint64_t h = db_hash_table(table);
    const struct db_rows *r = &db->rows;
    ASSERT(db->rows_done < r->count);
    const struct db_cell *cell = r->cells + db->rows_done++ * r->columns;
    if (r->keyed)
        h = hash64_cell(h, SQLITE_INTEGER, (uint64_t)rowid);
    for (const struct db_cell *end = cell + r->columns; cell < end; cell++) {
        uint64_t number = (uint64_t)cell->number;
        if (cell->type == DB_CELL_TEXT)
            h = hash64_cell(h, SQLITE_TEXT, number);
        if (cell->type == DB_CELL_TEXT && number > 0)
            h = hash64(h, cell->text, number);
        if (cell->type == DB_CELL_INT)
            h = hash64_cell(h, SQLITE_INTEGER, number);
        if (cell->type == DB_CELL_NULL)
            h = hash64_cell(h, SQLITE_NULL, 0);
    }
    return h;
}

static void db_hash_hook(void *arg, sqlite3 *sql, int op, char const *schema, char const *table,
                         sqlite3_int64 before, sqlite3_int64 after)
{
    (void)sql, (void)before;
    struct db *db = arg;
    if (strcmp(schema, "main") != 0 || !db_hash_counts(table))
        return;
    if (db->rows.count > 0) {
        db->hash += db_hash_given_row(db, table, after);
        return;
    }
    if (op != SQLITE_INSERT)
        db->hash -= db_hash_changed_row(db, table, sqlite3_preupdate_old);
    if (op != SQLITE_DELETE)
        db->hash += db_hash_changed_row(db, table, sqlite3_preupdate_new);
}

void db_hash_start(struct db *db)
{
    sqlite3_preupdate_hook(db->sql, db_hash_hook, db);
}

uint64_t db_hash(const struct db *db)
{
    return db->hash;
}

void db_hash_set(struct db *db, uint64_t h)
{
    db->hash = h;
}

static int db_hash_scan_table(struct db *db, const char *table, uint64_t *sum, struct err *e)
{
    AUTO(mem_freep) char *sql = mem_printf("SELECT * FROM \"%s\"", table);
    AUTO(db_stmt_donep) struct db_stmt *s = db_stmt_get(db, sql, e);
    if (s == NULL)
        return e->code;
    int rc;
    while ((rc = db_step(s, e)) > 0) {
        uint64_t h = db_hash_table(table);
        int columns = sqlite3_column_count(s->sql);
        for (int i = 0; i < columns; i++)
            h = db_hash_value(h, sqlite3_column_value(s->sql, i));
        *sum += h;
    }
    return rc;
}

static int db_hash_scan_all(struct db *db, uint64_t *out, struct err *e)
{
    /* The names first: a statement over the schema must not be open while others are prepared for
     * tables that it lists, or a change of schema in between would show half. */
    char *names[DB_TABLES_MAX];
    size_t count = 0;
    struct db_stmt *s = db_stmt_get(db,
                                    "SELECT name FROM pragma_table_list WHERE schema = 'main' "
                                    "AND type IN ('table', 'shadow')",
                                    e);
    if (s == NULL)
        return e->code;
    int rc;
    while ((rc = db_step(s, e)) > 0 && count < DB_TABLES_MAX)
        if (db_hash_counts(db_col_text(s, 0, NULL)))
            names[count++] = mem_strdup(db_col_text(s, 0, NULL));
    db_stmt_done(s);
    if (rc > 0)
        rc = err_set(e, ERR_INTERNAL, "state hash: more than %d tables", DB_TABLES_MAX);
    uint64_t sum = 0;
    for (size_t i = 0; i < count; i++) {
        if (rc == 0)
            rc = db_hash_scan_table(db, names[i], &sum, e);
        mem_free(names[i]);
    }
    if (rc == 0)
        *out = sum;
    return rc;
}

int db_hash_scan(struct db *db, uint64_t *out, struct err *e)
{
    struct err words = ERR_INIT; /* the code is needed even where the caller wants no words */
    int rc = db_hash_scan_all(db, out, &words);
    return rc == 0 ? 0 : err_set(e, rc, "state hash: %s", words.text);
}
