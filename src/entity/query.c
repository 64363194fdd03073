/* Questions: a page of records, and how many there are. */
#include <string.h>

#include "base/err.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/str.h"
#include "db/db.h"
#include "entity/read_priv.h"

enum { FIELDS_TEXT_MAX = 16 << 10, HINT_MAX = 200, SORT_COLUMNS_AT = 7 };

struct question {
    struct db *db;
    const struct entity_def *def;
    const char *tenant;
    const struct entity_query *q;
    const struct filter_node *root; /* NULL: all */
    struct sort sort;
    struct page_cursor after;
    uint64_t hash;
    int page, page_size;
};

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

/* ---- what is asked ---- */

static uint64_t question_hash(const struct question *k)
{
    uint64_t h =
        hash64(k->q->filter != NULL ? k->q->filter->hash : 0, k->def->name, strlen(k->def->name));
    h = hash64(h, k->tenant, strlen(k->tenant));
    return k->q->sort != NULL ? hash64(h, k->q->sort, strlen(k->q->sort)) : h;
}

static int check_page(struct question *k, struct err *e)
{
    const struct entity_query *q = k->q;
    k->page_size = q->page_size != 0 ? q->page_size : ENTITY_PAGE_SIZE;
    k->page = q->page != 0 ? q->page : 1;
    if (k->page_size < 1 || k->page_size > ENTITY_PAGE_SIZE_MAX)
        return err_field(e, ERR_INVALID, "pageSize", "pageSize is 1 to %d", ENTITY_PAGE_SIZE_MAX);
    if (k->page < 1)
        return err_field(e, ERR_INVALID, "page", "page counts from 1");
    if (q->cursor != NULL && q->page != 0)
        return err_field(e, ERR_INVALID, "cursor", "give a page or a cursor, not both");
    if ((int64_t)k->page * k->page_size > ENTITY_OFFSET_MAX)
        return err_field(e, ERR_TOO_LARGE, "page",
                         "pages reach to row %d; go on with the cursor of the page before",
                         ENTITY_OFFSET_MAX);
    return 0;
}

static int question_init(struct question *k, struct err *e)
{
    const struct entity_query *q = k->q;
    if (q->filter != NULL && strcmp(q->filter->def->name, k->def->name) != 0)
        PANIC("a filter of %s asked of %s", q->filter->def->name, k->def->name);
    k->root = q->filter != NULL && !filter_is_empty(q->filter) ? q->filter->root : NULL;
    int rc = check_page(k, e);
    if (rc < 0 || (rc = sort_parse(k->def, q->sort, &k->sort, e)) < 0)
        return rc;
    k->hash = question_hash(k);
    return q->cursor != NULL
               ? page_cursor_parse(q->cursor, q->cursor_len, k->hash, k->sort.count, &k->after, e)
               : 0;
}

static void question_fini(struct question *k)
{
    sort_fini(&k->sort);
}

/* ---- SQL ---- */

static void add_where(struct sql_text *s, const struct question *k)
{
    AUTO(json_unref) json_t *tenant = json_string(k->tenant);
    buf_addf(&s->text, " FROM %s WHERE tenant = ", k->def->sql->table);
    sql_text_bind(s, tenant);
    buf_adds(&s->text, " AND part = ''");
    if (k->root != NULL) {
        buf_adds(&s->text, " AND ");
        filter_sql(s, k->root);
    }
}

static void add_sort_expr(struct sql_text *s, const struct question *k, size_t i)
{
    if (i < k->sort.count)
        filter_sql_sort(s, &k->sort.terms[i].path, k->sort.terms[i].desc);
    else
        buf_adds(&s->text, "id");
}

static bool is_desc(const struct question *k, size_t i)
{
    return i < k->sort.count ? k->sort.terms[i].desc : k->sort.id_desc;
}

static void bind_value(struct sql_text *s, const struct page_value *v)
{
    AUTO(json_unref)
    json_t *j = v->kind == PAGE_INT      ? json_integer(v->i)
                : v->kind == PAGE_DOUBLE ? json_real(v->d)
                                         : json_stringn(v->text, v->len);
    sql_text_bind_exact(s, j);
}

/* Term `i` is strictly behind the value. Null is least. */
static void add_behind(struct sql_text *s, const struct question *k, size_t i)
{
    const struct page_value *v = &k->after.values[i];
    bool desc = is_desc(k, i);
    if (v->kind == PAGE_NULL) {
        if (desc) {
            buf_adds(&s->text, "0");
            return;
        }
        add_sort_expr(s, k, i);
        buf_adds(&s->text, " IS NOT NULL");
        return;
    }
    buf_adds(&s->text, "(");
    add_sort_expr(s, k, i);
    buf_adds(&s->text, desc ? " < " : " > ");
    bind_value(s, v);
    if (desc) {
        buf_adds(&s->text, " OR ");
        add_sort_expr(s, k, i);
        buf_adds(&s->text, " IS NULL");
    }
    buf_adds(&s->text, ")");
}

static void add_same(struct sql_text *s, const struct question *k, size_t i)
{
    const struct page_value *v = &k->after.values[i];
    add_sort_expr(s, k, i);
    if (v->kind == PAGE_NULL) {
        buf_adds(&s->text, " IS NULL");
        return;
    }
    buf_adds(&s->text, " = ");
    bind_value(s, v);
}

/* Rows behind the cursor: t1 > v1 OR (t1 = v1 AND t2 > v2) ... In front the bound of the first term
 * alone, which lets an index begin there. */
static void add_after(struct sql_text *s, const struct question *k)
{
    const struct page_value *first = &k->after.values[0];
    if (first->kind != PAGE_NULL && !is_desc(k, 0)) {
        buf_adds(&s->text, " AND ");
        add_sort_expr(s, k, 0);
        buf_adds(&s->text, " >= ");
        bind_value(s, first);
    }
    buf_adds(&s->text, " AND (");
    for (size_t i = 0; i < k->after.count; i++) {
        buf_adds(&s->text, i > 0 ? " OR (" : "(");
        for (size_t j = 0; j < i; j++) {
            add_same(s, k, j);
            buf_adds(&s->text, " AND ");
        }
        add_behind(s, k, i);
        buf_adds(&s->text, ")");
    }
    buf_adds(&s->text, ")");
}

static void add_order(struct sql_text *s, const struct question *k)
{
    buf_adds(&s->text, " ORDER BY ");
    for (size_t i = 0; i <= k->sort.count; i++) {
        buf_adds(&s->text, i > 0 ? ", " : "");
        add_sort_expr(s, k, i);
        buf_adds(&s->text, is_desc(k, i) ? " DESC" : "");
    }
}

static void page_sql(struct sql_text *s, const struct question *k)
{
    buf_adds(&s->text, "SELECT id, body, version, created_at, updated_at, created_by, updated_by");
    for (size_t i = 0; i < k->sort.count; i++) {
        buf_adds(&s->text, ", ");
        add_sort_expr(s, k, i);
    }
    add_where(s, k);
    if (k->q->cursor != NULL)
        add_after(s, k);
    add_order(s, k);
    AUTO(json_unref) json_t *limit = json_integer(k->page_size + 1);
    AUTO(json_unref) json_t *offset = json_integer((int64_t)(k->page - 1) * k->page_size);
    buf_adds(&s->text, " LIMIT ");
    sql_text_bind(s, limit);
    buf_adds(&s->text, " OFFSET ");
    sql_text_bind(s, offset);
}

/* ---- running it ---- */

/* Fields that an index for this question would have: what is compared for equality, then what is
 * sorted or compared otherwise. */
static void hint_node(const struct filter_node *n, bool equal, char *out, size_t cap)
{
    if (n->op == FILTER_AND) {
        for (size_t i = 0; i < n->kids_count; i++)
            hint_node(n->kids[i], equal, out, cap);
        return;
    }
    bool is_equal = n->op == FILTER_EQ || n->op == FILTER_IN;
    bool serves =
        is_equal || (n->op >= FILTER_GT && n->op <= FILTER_BETWEEN) || n->op == FILTER_STARTS;
    if (!serves || is_equal != equal || n->path.count != 1 || n->path.leaf == NULL)
        return;
    size_t used = strlen(out);
    snprintf(out + used, cap - used, "%s\"%s\"", used > 0 ? ", " : "", n->path.steps[0].key);
}

static int too_much(const struct question *k, struct err *e)
{
    char hint[HINT_MAX] = "";
    if (k->root != NULL) {
        hint_node(k->root, true, hint, sizeof(hint));
        for (size_t i = 0; i < k->sort.count; i++) {
            const struct sort_term *t = &k->sort.terms[i];
            size_t used = strlen(hint);
            if (t->path.count == 1)
                snprintf(hint + used, sizeof(hint) - used, "%s\"%s%s\"", used > 0 ? ", " : "",
                         t->desc ? "-" : "", t->path.steps[0].key);
        }
        if (k->sort.count == 0)
            hint_node(k->root, false, hint, sizeof(hint));
    }
    return err_set(e, ERR_TOO_LARGE, "this would visit over %d records of %s; %s%s%s",
                   ENTITY_VISIT_MAX, k->def->name,
                   hint[0] != '\0' ? "declare index = {{" : "ask for less, by indexed fields", hint,
                   hint[0] != '\0' ? "}}" : "");
}

static struct db_stmt *start(const struct question *k, const struct sql_text *s, struct err *e)
{
    if (buf_failed(&s->text)) {
        err_set(e, ERR_TOO_LARGE, "the question is too large");
        return NULL;
    }
    struct db_stmt *stmt = db_stmt_get(k->db, buf_str(&s->text), e);
    if (stmt != NULL)
        sql_text_bind_all(s, stmt, 1);
    return stmt;
}

static void limit_steps(const struct question *k, bool on)
{
    db_step_limit(k->db, on ? (uint64_t)ENTITY_VISIT_MAX * READ_STEPS_PER_ROW : 0);
}

static void remember(struct buf *out, struct db_stmt *stmt, const struct question *k)
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
static int add_projected(struct buf *out, struct db_stmt *stmt, const json_t *fields, struct err *e)
{
    AUTO(buf_fini) struct buf text = BUF_INIT(READ_RECORD_MAX);
    read_record(&text, stmt);
    AUTO(json_unref) json_t *record = json_read(buf_str(&text), text.len, e);
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

static int parse_fields(const struct question *k, json_t **out, struct err *e)
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
        if (rc < 0)
            return err_context(e, "fields");
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
        if (fields == NULL)
            read_record(&out->rows, stmt);
        else if ((rc = add_projected(&out->rows, stmt, fields, e)) < 0)
            return rc;
        buf_adds(&out->rows, stream ? "\n" : "");
        out->count++;
        if (out->count == (size_t)k->page_size)
            remember(&out->cursor, stmt, k);
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
    int rc = parse_fields(k, &fields, e);
    if (rc < 0)
        return rc;
    AUTO(sql_text_fini) struct sql_text s;
    sql_text_init(&s);
    page_sql(&s, k);
    AUTO(db_stmt_donep) struct db_stmt *stmt = start(k, &s, e);
    return stmt == NULL ? e->code : add_rows(k, stmt, fields, out, e);
}

/* Matches, but no more than `max` (0: all of them). */
static int run_count(const struct question *k, int64_t max, int64_t *out, struct err *e)
{
    AUTO(sql_text_fini) struct sql_text s;
    sql_text_init(&s);
    buf_adds(&s.text, max > 0 ? "SELECT count(*) FROM (SELECT 1" : "SELECT count(*)");
    add_where(&s, k);
    if (max > 0)
        buf_addf(&s.text, " LIMIT %lld)", (long long)max);
    AUTO(db_stmt_donep) struct db_stmt *stmt = start(k, &s, e);
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
    limit_steps(&k, true);
    rc = run_page(&k, out, e);
    if (rc == 0) {
        limit_steps(&k, true);
        rc = count_page(&k, out, e);
    }
    limit_steps(&k, false);
    db_snapshot_end(db);
    out->page = k.page;
    out->page_size = k.page_size;
    return rc == ERR_CANCELED ? too_much(&k, e) : rc;
}

int entity_count(struct db *db, const struct entity_def *d, const char *tenant,
                 const struct filter *f, int64_t *out, struct err *e)
{
    struct err own = ERR_INIT;
    e = e != NULL ? e : &own;
    struct entity_query q = {.filter = f};
    AUTO(question_fini) struct question k = {.db = db, .def = d, .tenant = tenant, .q = &q};
    int rc = question_init(&k, e);
    if (rc < 0)
        return rc;
    limit_steps(&k, true);
    rc = run_count(&k, 0, out, e);
    limit_steps(&k, false);
    return rc == ERR_CANCELED ? too_much(&k, e) : rc;
}

static int run_ids(const struct question *k, size_t max, json_t *out, struct err *e)
{
    AUTO(sql_text_fini) struct sql_text s;
    sql_text_init(&s);
    buf_adds(&s.text, "SELECT id");
    add_where(&s, k);
    buf_addf(&s.text, " ORDER BY id LIMIT %zu", max + 1);
    AUTO(db_stmt_donep) struct db_stmt *stmt = start(k, &s, e);
    int rc = stmt == NULL ? e->code : 0;
    while (stmt != NULL && (rc = db_step(stmt, e)) > 0) {
        if (json_array_size(out) == max)
            return err_set(e, ERR_TOO_LARGE, "over %zu records of %s match", max, k->def->name);
        json_array_append_new(out, json_string(db_col_text(stmt, 0, NULL)));
    }
    return rc;
}

int entity_query_ids(struct db *db, const struct entity_def *d, const char *tenant,
                     const struct filter *f, size_t max, json_t **out, struct err *e)
{
    struct err own = ERR_INIT;
    e = e != NULL ? e : &own;
    struct entity_query q = {.filter = f};
    AUTO(question_fini) struct question k = {.db = db, .def = d, .tenant = tenant, .q = &q};
    AUTO(json_unref) json_t *ids = json_array();
    int rc = question_init(&k, e);
    if (rc < 0)
        return rc;
    limit_steps(&k, true);
    rc = run_ids(&k, max, ids, e);
    limit_steps(&k, false);
    if (rc == 0)
        *out = TAKE(ids);
    return rc == ERR_CANCELED ? too_much(&k, e) : rc;
}
