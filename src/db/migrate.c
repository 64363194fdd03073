#include "db/db_priv.h"

#include <stdio.h>
#include <string.h>

#include "base/embed.h"
#include "base/err.h"

static const char DB_SCHEMA_DIR[] = "schema/";

/* "schema/0012_queue.sql" -> 12; 0 for files that are no migration. */
static int db_migration_level(const char *path)
{
    int level = 0, digits = 0;
    const char *p = path + sizeof(DB_SCHEMA_DIR) - 1;
    for (; *p >= '0' && *p <= '9' && digits < 4; p++, digits++)
        level = level * 10 + (*p - '0');
    size_t n = strlen(p);
    bool named = digits == 4 && *p == '_' && n > 5 && strcmp(p + n - 4, ".sql") == 0;
    return named ? level : 0;
}

int db_schema_level(void)
{
    int newest = 0;
    for (const struct embed_file *f = NULL; (f = embed_next(DB_SCHEMA_DIR, f)) != NULL;) {
        int level = db_migration_level(f->path);
        newest = level > newest ? level : newest;
    }
    return newest;
}

static int db_migration_current(struct db *db, int *level, struct err *e)
{
    int rc = db_exec(db,
                     "CREATE TABLE IF NOT EXISTS local_schema("
                     "level INTEGER PRIMARY KEY, path TEXT NOT NULL)",
                     e);
    if (rc != 0)
        return rc;
    struct db_stmt *s = db_stmt_get(db, "SELECT max(level) FROM local_schema", e);
    rc = s == NULL ? e->code : db_step(s, e);
    if (rc > 0)
        *level = (int)db_col_int(s, 0);
    db_stmt_done(s);
    return rc < 0 ? rc : 0;
}

/* Whoever keeps the state hash hears in the same transaction of rows that come with a schema. */
struct db_migration {
    db_migration_rows *rows;
    void *arg;
};

static int db_migration_body(struct db *db, const struct embed_file *f, int level,
                             const struct db_migration *m, struct err *e)
{
    uint64_t before = db_hash(db);
    int rc = db_exec(db, (const char *)f->data, e);
    if (rc == 0 && m->rows != NULL && db_hash(db) != before)
        rc = m->rows(m->arg, db, db_hash(db) - before, e);
    if (rc != 0)
        return rc;
    struct db_stmt *s = db_stmt_get(db, "INSERT INTO local_schema(level, path) VALUES(?1, ?2)", e);
    if (s == NULL)
        return e->code;
    db_bind_int(s, 1, level);
    db_bind_str(s, 2, f->path);
    return db_run(s, e);
}

static int db_migration_apply(struct db *db, const struct embed_file *f, int level,
                              const struct db_migration *m, struct err *e)
{
    int rc = db_begin(db, e);
    if (rc != 0)
        return rc;
    rc = db_migration_body(db, f, level, m, e);
    if (rc == 0)
        rc = db_commit(db, e);
    if (rc != 0) {
        db_rollback(db);
        err_context(e, "%s", f->path);
    }
    return rc;
}

static int db_migrate_all(struct db *db, const struct db_migration *m, struct err *e)
{
    int current = 0, known = db_schema_level();
    int rc = db_migration_current(db, &current, e);
    if (rc != 0)
        return rc;
    if (current > known)
        return err_set(e, ERR_UNSUPPORTED,
                       "the database has schema level %d, this program knows %d: start the newer "
                       "program that wrote it, or restore a backup",
                       current, known);
    /* embed_next goes by path, so four digits make it the order of levels. */
    for (const struct embed_file *f = NULL; (f = embed_next(DB_SCHEMA_DIR, f)) != NULL;) {
        int level = db_migration_level(f->path);
        if (level <= current)
            continue;
        rc = db_migration_apply(db, f, level, m, e);
        if (rc != 0)
            return rc;
    }
    return 0;
}

int db_migrate_rows(struct db *db, db_migration_rows *rows, void *arg, struct err *e)
{
    struct err words = ERR_INIT; /* the code is needed even where the caller wants no words */
    struct db_migration m = {.rows = rows, .arg = arg};
    int rc = db_migrate_all(db, &m, &words);
    return rc == 0 ? 0 : err_set(e, rc, "%s", words.text);
}

int db_migrate(struct db *db, struct err *e)
{
    return db_migrate_rows(db, NULL, NULL, e);
}
