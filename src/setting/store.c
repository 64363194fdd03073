/* All SQL of the settings. `e` is never NULL here. */
#include <string.h>

#include "base/err.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/time.h"
#include "db/db.h"
#include "setting/setting_priv.h"

int store_revision(struct db *db, uint64_t *out, struct err *e)
{
    AUTO(db_stmt_donep)
    struct db_stmt *s =
        db_stmt_get(db, "SELECT revision FROM setting_changes ORDER BY seq DESC LIMIT 1", e);
    int rc = s != NULL ? db_step(s, e) : e->code;
    if (rc < 0)
        return rc;
    *out = rc > 0 ? (uint64_t)db_col_int(s, 0) : 0;
    return 0;
}

int store_check(struct db *db, struct err *e)
{
    AUTO(db_stmt_donep)
    struct db_stmt *s = db_stmt_get(db,
                                    "SELECT count(*), coalesce(sum(length(CAST(name AS BLOB)) + "
                                    "length(CAST(value AS BLOB))), 0) FROM settings",
                                    e);
    int rc = s != NULL ? db_step(s, e) : e->code;
    if (rc < 0)
        return rc;
    if (db_col_int(s, 0) > SETTING_NAMES_MAX)
        return err_set(e, ERR_TOO_LARGE, "over %d replicated settings", SETTING_NAMES_MAX);
    if (db_col_int(s, 1) > SETTING_BYTES_MAX)
        return err_set(e, ERR_TOO_LARGE, "the replicated settings are over %d KiB together",
                       SETTING_BYTES_MAX >> 10);
    return 0;
}

/* 1: the layer says this already. */
static int store_has(struct db *db, const struct setting_item *it, struct err *e)
{
    AUTO(db_stmt_donep)
    struct db_stmt *s = db_stmt_get(db, "SELECT value FROM settings WHERE name = ?1", e);
    if (s == NULL)
        return e->code;
    db_bind_text(s, 1, it->name, it->name_n);
    int rc = db_step(s, e);
    if (rc < 0)
        return rc;
    if (rc == 0)
        return it->value == NULL;
    size_t n;
    const char *now = db_col_text(s, 0, &n);
    return it->value != NULL && n == it->value_n && memcmp(now, it->value, n) == 0;
}

static int store_write(struct db *db, const struct setting_item *it, const struct setting_who *who,
                       struct err *e)
{
    struct db_stmt *s = it->value == NULL
                            ? db_stmt_get(db, "DELETE FROM settings WHERE name = ?1", e)
                            : db_stmt_get(db,
                                          "INSERT OR REPLACE INTO settings(name, value, revision, "
                                          "principal, reason, at) VALUES(?1, ?2, ?3, ?4, ?5, ?6)",
                                          e);
    if (s == NULL)
        return e->code;
    db_bind_text(s, 1, it->name, it->name_n);
    if (it->value != NULL) {
        db_bind_text(s, 2, it->value, it->value_n);
        db_bind_int(s, 3, (int64_t)who->revision);
        db_bind_str(s, 4, who->principal);
        db_bind_str(s, 5, who->reason);
        db_bind_int(s, 6, who->at);
    }
    return db_run(s, e);
}

static int store_remember(struct db *db, const struct setting_item *it,
                          const struct setting_who *who, struct err *e)
{
    struct db_stmt *s = db_stmt_get(
        db,
        "INSERT INTO setting_changes(seq, revision, name, value, principal, reason, at) "
        "VALUES((SELECT coalesce(max(seq), 0) + 1 FROM setting_changes), ?1, ?2, ?3, "
        "?4, ?5, ?6)",
        e);
    if (s == NULL)
        return e->code;
    db_bind_int(s, 1, (int64_t)who->revision);
    db_bind_text(s, 2, it->name, it->name_n);
    db_bind_text(s, 3, it->value, it->value_n);
    db_bind_str(s, 4, who->principal);
    db_bind_str(s, 5, who->reason);
    db_bind_int(s, 6, who->at);
    return db_run(s, e);
}

int store_put(struct db *db, const struct setting_item *it, const struct setting_who *who,
              bool *changed, struct err *e)
{
    int rc = store_has(db, it, e);
    *changed = rc == 0;
    if (rc != 0)
        return rc < 0 ? rc : 0;
    rc = store_write(db, it, who, e);
    return rc == 0 ? store_remember(db, it, who, e) : rc;
}

int store_trim(struct db *db, struct err *e)
{
    struct db_stmt *s = db_stmt_get(
        db, "DELETE FROM setting_changes WHERE seq <= (SELECT max(seq) FROM setting_changes) - ?1",
        e);
    if (s == NULL)
        return e->code;
    db_bind_int(s, 1, SETTING_HISTORY_KEPT);
    return db_run(s, e);
}

/* ---- reading ---- */

/* Columns from `at` on: value, revision, principal, reason, at. */
static json_t *store_row(struct db_stmt *s, int at)
{
    size_t n;
    char when[TIME_TEXT];
    const char *value = db_col_text(s, at, &n);
    json_t *row = json_object();
    time_format(db_col_int(s, at + 4), when);
    if (value != NULL)
        json_object_set_new(row, "value", json_read(value, n, NULL));
    json_object_set_new(row, "revision", json_integer(db_col_int(s, at + 1)));
    json_object_set_new(row, "by", json_string(db_col_text(s, at + 2, NULL)));
    json_object_set_new(row, "at", json_string(when));
    if (*db_col_text(s, at + 3, NULL) != '\0')
        json_object_set_new(row, "reason", json_string(db_col_text(s, at + 3, NULL)));
    return row;
}

static int store_rows(struct db *db, json_t *rows, struct err *e)
{
    AUTO(db_stmt_donep)
    struct db_stmt *s = db_stmt_get(
        db, "SELECT name, value, revision, principal, reason, at FROM settings ORDER BY name", e);
    int rc = s != NULL ? 1 : e->code;
    while (rc > 0 && (rc = db_step(s, e)) > 0)
        json_object_set_new(rows, db_col_text(s, 0, NULL), store_row(s, 1));
    return rc;
}

int setting_read(struct db *db, struct setting_layer *out, struct err *e)
{
    struct err own = ERR_INIT;
    e = e != NULL ? e : &own;
    AUTO(json_unref) json_t *rows = json_object();
    uint64_t revision = 0;
    int rc = db_snapshot_begin(db, e);
    if (rc != 0)
        return rc;
    if ((rc = store_revision(db, &revision, e)) == 0)
        rc = store_rows(db, rows, e);
    db_snapshot_end(db);
    if (rc != 0)
        return rc;
    *out = (struct setting_layer){revision, TAKE(rows)};
    return 0;
}

int setting_history(struct db *db, json_t **out, struct err *e)
{
    struct err own = ERR_INIT;
    e = e != NULL ? e : &own;
    AUTO(db_stmt_donep)
    struct db_stmt *s = db_stmt_get(db,
                                    "SELECT name, value, revision, principal, reason, at FROM "
                                    "setting_changes ORDER BY seq DESC",
                                    e);
    AUTO(json_unref) json_t *list = json_array();
    int rc = s != NULL ? 1 : e->code;
    while (rc > 0 && (rc = db_step(s, e)) > 0) {
        json_t *row = store_row(s, 1);
        json_object_set_new(row, "name", json_string(db_col_text(s, 0, NULL)));
        json_array_append_new(list, row);
    }
    if (rc == 0)
        *out = TAKE(list);
    return rc;
}
