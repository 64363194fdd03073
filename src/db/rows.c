/* Many rows in one statement: a table of SQLite's that is made of memory, for INSERT ... SELECT. */
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "db/db_priv.h"

enum {
    DB_ROWS_MANY = 1000, /* what the planner is told */
    DB_ROWS_SQL = 1024,
};

struct rows_table {
    sqlite3_vtab base; /* first: SQLite hands us a pointer to it */
    struct db *db;
};

struct rows_cursor {
    sqlite3_vtab_cursor base;
    const struct db_rows *rows;
    size_t at;
};

static const struct rows_cursor *rows_of(sqlite3_vtab_cursor *c)
{
    return (const struct rows_cursor *)c;
}

static int rows_connect(sqlite3 *sql, void *db, int argc, const char *const *argv,
                        sqlite3_vtab **out, char **why)
{
    (void)argc, (void)argv, (void)why;
    _Static_assert(DB_ROWS_COLUMNS == 17, "the columns below");
    int code =
        sqlite3_declare_vtab(sql, "CREATE TABLE x(c0, c1, c2, c3, c4, c5, c6, c7, c8, c9, c10, c11,"
                                  " c12, c13, c14, c15, c16)");
    if (code != SQLITE_OK)
        return code;
    struct rows_table *t = sqlite3_malloc(sizeof *t);
    if (t == NULL)
        return SQLITE_NOMEM;
    *t = (struct rows_table){.db = db};
    *out = &t->base;
    return SQLITE_OK;
}

static int rows_disconnect(sqlite3_vtab *t)
{
    sqlite3_free(t);
    return SQLITE_OK;
}

static int rows_plan(sqlite3_vtab *t, sqlite3_index_info *plan)
{
    (void)t;
    plan->estimatedCost = DB_ROWS_MANY;
    plan->estimatedRows = DB_ROWS_MANY;
    return SQLITE_OK;
}

static int rows_open(sqlite3_vtab *t, sqlite3_vtab_cursor **out)
{
    struct rows_cursor *c = sqlite3_malloc(sizeof *c);
    if (c == NULL)
        return SQLITE_NOMEM;
    *c = (struct rows_cursor){.rows = &((struct rows_table *)t)->db->rows};
    *out = &c->base;
    return SQLITE_OK;
}

static int rows_close(sqlite3_vtab_cursor *c)
{
    sqlite3_free(c);
    return SQLITE_OK;
}

static int rows_filter(sqlite3_vtab_cursor *c, int plan, const char *how, int argc,
                       sqlite3_value **argv)
{
    (void)plan, (void)how, (void)argc, (void)argv;
    ((struct rows_cursor *)c)->at = 0;
    return SQLITE_OK;
}

static int rows_next(sqlite3_vtab_cursor *c)
{
    ((struct rows_cursor *)c)->at++;
    return SQLITE_OK;
}

static int rows_eof(sqlite3_vtab_cursor *c)
{
    return rows_of(c)->at >= rows_of(c)->rows->count;
}

static int rows_column(sqlite3_vtab_cursor *c, sqlite3_context *out, int at)
{
    const struct db_rows *r = rows_of(c)->rows;
    const struct db_cell *cell = &r->cells[rows_of(c)->at * r->columns + (size_t)at];
    if (cell->type == DB_CELL_INT)
        sqlite3_result_int64(out, cell->number);
    else if (cell->type == DB_CELL_TEXT)
        sqlite3_result_text64(out, cell->text, (uint64_t)cell->number, SQLITE_STATIC, SQLITE_UTF8);
    return SQLITE_OK; /* without a result: null */
}

static int rows_rowid(sqlite3_vtab_cursor *c, sqlite3_int64 *out)
{
    *out = (sqlite3_int64)rows_of(c)->at;
    return SQLITE_OK;
}

/* Without xCreate it is there by its name, in no schema. */
static const sqlite3_module rows_module = {
    .xConnect = rows_connect,
    .xBestIndex = rows_plan,
    .xDisconnect = rows_disconnect,
    .xOpen = rows_open,
    .xClose = rows_close,
    .xFilter = rows_filter,
    .xNext = rows_next,
    .xEof = rows_eof,
    .xColumn = rows_column,
    .xRowid = rows_rowid,
};

int db_rows_start(struct db *db, struct err *e)
{
    int code = sqlite3_create_module_v2(db->sql, "db_rows", &rows_module, db, NULL);
    return code == SQLITE_OK ? 0 : db_fail(db, code, "database: rows", e);
}

void db_rows_give(struct db *db, const struct db_rows *rows)
{
    ASSERT(rows == NULL || (db->rows.count == 0 && rows->columns <= DB_ROWS_COLUMNS));
    db->rows = rows != NULL ? *rows : (struct db_rows){.count = 0};
}

int db_insert(struct db *db, const struct db_rows *rows, struct err *e)
{
    ASSERT(db->in_transaction && rows->columns > 0 && rows->columns <= DB_ROWS_COLUMNS);
    /* OR FAIL: else SQLite copies each page that it touches, to take out the rows before the one
     * that fails. */
    AUTO(buf_fini) struct buf sql = BUF_INIT(DB_ROWS_SQL);
    buf_addf(&sql, "INSERT OR FAIL INTO %s SELECT %sc0", rows->table, rows->keyed ? "NULL, " : "");
    for (size_t i = 1; i < rows->columns; i++)
        buf_addf(&sql, ", c%zu", i);
    buf_adds(&sql, " FROM db_rows");
    struct db_stmt *s = db_stmt_get_buf(db, &sql, e);
    if (s == NULL)
        return e->code;
    db->rows = *rows;
    db->rows_done = 0;
    int rc = db_run(s, e);
    db->rows = (struct db_rows){.count = 0};
    return rc;
}
