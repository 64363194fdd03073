/* All rows of a question, a batch at a time, out of one snapshot. */
#include "base/err.h"
#include "base/mem.h"
#include "db/db.h"
#include "entity/read_priv.h"

struct entity_scan {
    struct question k;
    struct entity_query q;
    struct sql_text sql;
    struct db_stmt *stmt;
    json_t *fields;
    struct buf cursor; /* behind the last row given */
};

static int scan_start(struct entity_scan *s, struct err *e)
{
    int rc = question_init(&s->k, e);
    if (rc < 0 || (rc = question_fields(&s->k, &s->fields, e)) < 0 ||
        (rc = db_snapshot_begin(s->k.db, e)) < 0)
        return rc;
    question_sql(&s->sql, &s->k, -1);
    s->stmt = question_start(&s->k, &s->sql, e);
    if (s->stmt != NULL)
        return 0;
    db_snapshot_end(s->k.db);
    return e->code;
}

int entity_scan_open(struct db *db, const struct entity_def *d, const char *tenant,
                     const struct entity_query *q, struct entity_scan **out, struct err *e)
{
    struct err own = ERR_INIT;
    e = e != NULL ? e : &own;
    struct entity_scan *s = mem_new(sizeof(*s));
    s->q = *q;
    s->k = (struct question){.db = db, .def = d, .tenant = tenant, .q = &s->q};
    sql_text_init(&s->sql);
    buf_init(&s->cursor, ENTITY_CURSOR_MAX);
    int rc = scan_start(s, e);
    if (rc == 0)
        *out = s;
    else
        entity_scan_close(s);
    return rc;
}

void entity_scan_close(struct entity_scan *s)
{
    if (s == NULL)
        return;
    if (s->stmt != NULL) {
        db_stmt_done(s->stmt);
        db_snapshot_end(s->k.db);
    }
    sql_text_fini(&s->sql);
    buf_fini(&s->cursor);
    json_decref(s->fields);
    question_fini(&s->k);
    mem_free(s);
}

static int scan_rows(struct entity_scan *s, size_t bytes, struct buf *out, struct err *e)
{
    int rc;
    while ((rc = db_step(s->stmt, e)) > 0) {
        if ((rc = question_row(&s->k, s->stmt, s->fields, out, e)) < 0)
            return rc;
        buf_addc(out, '\n');
        if (out->len >= bytes) {
            question_remember(&s->cursor, s->stmt, &s->k);
            return 1;
        }
    }
    return rc;
}

int entity_scan_next(struct entity_scan *s, size_t bytes, struct buf *out, struct err *e)
{
    struct err own = ERR_INIT;
    e = e != NULL ? e : &own;
    question_limit(&s->k);
    int rc = scan_rows(s, bytes, out, e);
    question_unlimit(&s->k);
    if (rc == ERR_CANCELED)
        return question_too_much(&s->k, e);
    int failed = buf_check(out, "a batch of records", e);
    return failed < 0 ? failed : rc;
}

const struct buf *entity_scan_cursor(const struct entity_scan *s)
{
    return buf_failed(&s->cursor) ? NULL : &s->cursor;
}
