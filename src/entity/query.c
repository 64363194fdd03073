/* Questions: a page of records, and how many there are. */
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "db/db.h"
#include "entity/kept.h"
#include "entity/read_priv.h"

enum { FIELDS_TEXT_MAX = 16 << 10, SORT_COLUMNS_AT = 7 };

void entity_page_init(struct entity_page *p, size_t bytes_max)
{
    *p = (struct entity_page){.total = -1};
    buf_init(&p->rows, bytes_max);
    buf_init(&p->cursor, ENTITY_CURSOR_MAX);
}

void entity_page_fini(struct entity_page *p)
{
    buf_fini(&p->rows);
    buf_fini(&p->cursor);
}

void question_remember(struct buf *out, struct db_stmt *stmt, const struct question *k)
{
    page_cursor_begin(out, k->hash);
    for (size_t i = 0; i <= k->sort.count; i++) {
        int column = i < k->sort.count ? SORT_COLUMNS_AT + (int)i : 0;
        int type = db_col_type(stmt, column);
        struct page_value v = {.kind = type == 1   ? PAGE_INT
                                       : type == 2 ? PAGE_DOUBLE
                                       : type == 3 ? PAGE_TEXT
                                                   : PAGE_NULL};
        v.i = db_col_int(stmt, column);
        v.d = db_col_double(stmt, column);
        v.text = v.kind == PAGE_TEXT ? db_col_text(stmt, column, &v.len) : NULL;
        page_cursor_add(out, &v);
    }
}

/* Some fields only: the record is read and written again. `fields` is a JSON object of wanted
 * names. */
static int add_projected(struct buf *out, const struct buf *text, const json_t *fields,
                         struct err *e)
{
    AUTO(json_unref) json_t *record = json_read(buf_str(text), text->len, e);
    if (record == NULL)
        return ERR_CORRUPT;
    const char *key;
    json_t *v;
    void *next;
    json_object_foreach_safe(record, next, key, v)
    {
        if (json_object_get(fields, key) == NULL)
            json_object_del(record, key);
    }
    return json_print(record, out, e);
}

int question_row(const struct question *k, struct db_stmt *stmt, const json_t *fields,
                 struct buf *out, struct err *e)
{
    if (fields == NULL && !k->q->removed) {
        read_record(out, stmt);
        return 0;
    }
    AUTO(buf_fini) struct buf text = BUF_INIT(READ_RECORD_MAX);
    void (*read)(struct buf *, struct db_stmt *) = k->q->removed ? read_removed : read_record;
    read(&text, stmt);
    /* Of one that was removed the definition of before may be all that knows some fields. */
    return fields != NULL ? add_projected(out, &text, fields, e)
                          : entity_declared(k->def, &text, out, e);
}

int question_fields(const struct question *k, json_t **out, struct err *e)
{
    const char *text = k->q->fields;
    *out = NULL;
    if (text == NULL || *text == '\0')
        return 0;
    if (strlen(text) > FIELDS_TEXT_MAX)
        return err_field(e, ERR_TOO_LARGE, "fields", "fields is too long");
    AUTO(mem_freep) char *copy = mem_strdup(text);
    AUTO(json_unref) json_t *names = json_pack("{s:b}", "id", 1);
    char *rest = copy, *word;
    while ((word = strsep(&rest, ",")) != NULL) {
        struct filter_path p;
        int rc = filter_path_parse(k->def, word, &p, e);
        if (rc == 0 && strchr(word, '.') != NULL)
            rc = err_set(e, ERR_INVALID, "'%.64s': whole fields only", word);
        filter_path_fini(&p);
        if (rc < 0) {
            if (e != NULL)
                snprintf(e->field, sizeof(e->field), "fields");
            return err_context(e, "fields");
        }
        json_object_set_new(names, word, json_true());
    }
    *out = TAKE(names);
    return 0;
}

static int add_rows(const struct question *k, struct db_stmt *stmt, const json_t *fields,
                    struct entity_page *out, struct err *e)
{
    int rc;
    bool stream = k->q->stream;
    buf_adds(&out->rows, stream ? "" : "[");
    while ((rc = db_step(stmt, e)) > 0) {
        if (out->count == (size_t)k->page_size) {
            out->more = true;
            break;
        }
        buf_adds(&out->rows, out->count > 0 && !stream ? "," : "");
        if ((rc = question_row(k, stmt, fields, &out->rows, e)) < 0)
            return rc;
        buf_adds(&out->rows, stream ? "\n" : "");
        out->count++;
        if (out->count == (size_t)k->page_size)
            question_remember(&out->cursor, stmt, k);
    }
    if (!out->more)
        buf_reset(&out->cursor);
    buf_adds(&out->rows, stream ? "" : "]");
    if (rc < 0)
        return rc;
    /* A sort value too long for a cursor: there are still page numbers. */
    if (buf_failed(&out->cursor))
        buf_reset(&out->cursor);
    return buf_check(&out->rows, "a page", e);
}

static int run_page(const struct question *k, struct entity_page *out, struct err *e)
{
    AUTO(json_unref) json_t *fields = NULL;
    int rc = question_fields(k, &fields, e);
    if (rc < 0)
        return rc;
    AUTO(sql_text_fini) struct sql_text s;
    sql_text_init(&s);
    question_sql(&s, k, k->page_size + 1);
    AUTO(db_stmt_donep) struct db_stmt *stmt = question_start(k, &s, e);
    return stmt == NULL ? e->code : add_rows(k, stmt, fields, out, e);
}

/* Matches, but no more than `max` (0: all of them). */
static int run_count(const struct question *k, int64_t max, int64_t *out, struct err *e)
{
    AUTO(sql_text_fini) struct sql_text s;
    sql_text_init(&s);
    buf_adds(&s.text, max > 0 ? "SELECT count(*) FROM (SELECT 1" : "SELECT count(*)");
    question_where(&s, k);
    if (max > 0)
        buf_addf(&s.text, " LIMIT %lld)", (long long)max);
    AUTO(db_stmt_donep) struct db_stmt *stmt = question_start(k, &s, e);
    int rc = stmt == NULL ? e->code : db_step(stmt, e);
    if (rc > 0)
        *out = db_col_int(stmt, 0);
    return rc < 0 ? rc : 0;
}

static int count_page(const struct question *k, struct entity_page *out, struct err *e)
{
    if (k->q->count == ENTITY_COUNT_NONE)
        return 0;
    bool known = k->q->cursor == NULL && !out->more && (out->count > 0 || k->page == 1);
    if (known) {
        out->total = (int64_t)(k->page - 1) * k->page_size + (int64_t)out->count;
        return 0;
    }
    bool exact = k->q->count == ENTITY_COUNT_EXACT;
    int rc = run_count(k, exact ? 0 : ENTITY_COUNT_MAX + 1, &out->total, e);
    out->at_least = !exact && out->total > ENTITY_COUNT_MAX;
    if (out->at_least)
        out->total = ENTITY_COUNT_MAX;
    return rc;
}

int entity_query(struct db *db, const struct entity_def *d, const char *tenant,
                 const struct entity_query *q, struct entity_page *out, struct err *e)
{
    struct err own = ERR_INIT;
    e = e != NULL ? e : &own;
    AUTO(question_fini) struct question k = {.db = db, .def = d, .tenant = tenant, .q = q};
    int rc = question_init(&k, e);
    if (rc < 0 || (rc = db_snapshot_begin(db, e)) < 0)
        return rc;
    question_limit(&k);
    rc = run_page(&k, out, e);
    if (rc == 0)
        rc = count_page(&k, out, e);
    question_unlimit(&k);
    db_snapshot_end(db);
    out->page = k.page;
    out->page_size = k.page_size;
    return rc == ERR_CANCELED ? question_too_much(&k, e) : rc;
}

int entity_count(struct db *db, const struct entity_def *d, const char *tenant,
                 const struct entity_query *q, int64_t *out, struct err *e)
{
    struct err own = ERR_INIT;
    e = e != NULL ? e : &own;
    AUTO(question_fini) struct question k = {.db = db, .def = d, .tenant = tenant, .q = q};
    int rc = question_init(&k, e);
    if (rc < 0 || (rc = db_snapshot_begin(db, e)) < 0)
        return rc;
    question_limit(&k);
    rc = run_count(&k, 0, out, e);
    question_unlimit(&k);
    db_snapshot_end(db);
    return rc == ERR_CANCELED ? question_too_much(&k, e) : rc;
}

static json_t *id_row(struct db_stmt *stmt, bool versions)
{
    json_t *id = json_string(db_col_text(stmt, 0, NULL));
    return versions
               ? json_pack("{s:o, s:I}", "id", id, "if_version", (json_int_t)db_col_int(stmt, 1))
               : id;
}

static int run_ids(const struct question *k, size_t max, bool versions, json_t *out, struct err *e)
{
    AUTO(sql_text_fini) struct sql_text s;
    sql_text_init(&s);
    buf_adds(&s.text, "SELECT id, version");
    question_where(&s, k);
    buf_addf(&s.text, " ORDER BY id LIMIT %zu", max + 1);
    AUTO(db_stmt_donep) struct db_stmt *stmt = question_start(k, &s, e);
    int rc = stmt == NULL ? e->code : 0;
    while (stmt != NULL && (rc = db_step(stmt, e)) > 0) {
        if (json_array_size(out) == max)
            return err_set(e, ERR_TOO_LARGE, "over %zu records of %s match", max, k->def->name);
        json_array_append_new(out, id_row(stmt, versions));
    }
    return rc;
}

static int query_ids(struct db *db, const struct entity_def *d, const char *tenant,
                     const struct filter *f, size_t max, bool versions, json_t **out, struct err *e)
{
    struct err own = ERR_INIT;
    e = e != NULL ? e : &own;
    struct entity_query q = {.filter = f};
    AUTO(question_fini) struct question k = {.db = db, .def = d, .tenant = tenant, .q = &q};
    AUTO(json_unref) json_t *ids = json_array();
    int rc = question_init(&k, e);
    if (rc < 0)
        return rc;
    question_limit(&k);
    rc = run_ids(&k, max, versions, ids, e);
    question_unlimit(&k);
    if (rc == 0)
        *out = TAKE(ids);
    return rc == ERR_CANCELED ? question_too_much(&k, e) : rc;
}

int entity_query_ids(struct db *db, const struct entity_def *d, const char *tenant,
                     const struct filter *f, size_t max, json_t **out, struct err *e)
{
    return query_ids(db, d, tenant, f, max, false, out, e);
}

int entity_query_versions(struct db *db, const struct entity_def *d, const char *tenant,
                          const struct filter *f, size_t max, json_t **out, struct err *e)
{
    return query_ids(db, d, tenant, f, max, true, out, e);
}
