/* What is asked: checked, and as SQL. */
#include <string.h>

#include "base/err.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/str.h"
#include "db/db.h"
#include "entity/read_priv.h"

static uint64_t question_hash(const struct question *k)
{
    uint64_t h =
        hash64(k->q->filter != NULL ? k->q->filter->hash : 0, k->def->name, strlen(k->def->name));
    h = hash64(h, k->tenant, strlen(k->tenant));
    h = k->q->removed ? hash64(h, "removed", 7) : h;
    h = k->q->q != NULL ? hash64(h, k->q->q, strlen(k->q->q)) : h;
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

static int check_removed(const struct question *k, struct err *e)
{
    if (k->def->soft_remove_ms == 0)
        return err_field(e, ERR_UNSUPPORTED, "removed",
                         "%s is declared without soft_remove: what is removed is gone",
                         k->def->name);
    if (k->q->q != NULL)
        return err_field(e, ERR_INVALID, "q", "q: removed records are not searched; use a filter");
    return 0;
}

int question_init(struct question *k, struct err *e)
{
    const struct entity_query *q = k->q;
    if (q->filter != NULL && strcmp(q->filter->def->name, k->def->name) != 0)
        PANIC("a filter of %s asked of %s", q->filter->def->name, k->def->name);
    k->root = q->filter != NULL && !filter_is_empty(q->filter) ? q->filter->root : NULL;
    buf_init(&k->match, 4 * ENTITY_SEARCH_BYTES_MAX);
    int rc = check_page(k, e);
    if (rc == 0 && q->removed)
        rc = check_removed(k, e);
    if (rc == 0 && q->q != NULL)
        rc = search_match(k->def, q->q, &k->match, e);
    if (rc < 0 || (rc = sort_parse(k->def, q->sort, &k->sort, e)) < 0)
        return rc;
    k->hash = question_hash(k);
    return q->cursor != NULL
               ? page_cursor_parse(q->cursor, q->cursor_len, k->hash, k->sort.count, &k->after, e)
               : 0;
}

void question_fini(struct question *k)
{
    sort_fini(&k->sort);
    buf_fini(&k->match);
}

/* ---- SQL ---- */

/* Those that can be restored, looking like rows of the table. */
static void add_removed(struct sql_text *s, const struct entity_def *d)
{
    s->unlinked = true;
    buf_addf(&s->text,
             "(SELECT rid, tenant, part, id, body, keys, version, created_at, created_by,"
             " removed_at AS updated_at, removed_by AS updated_by FROM entity_removed k"
             " WHERE entity = '%s' AND purge_at > (SELECT at FROM local_meta) AND rid ="
             " (SELECT max(rid) FROM entity_removed WHERE entity = k.entity AND tenant = k.tenant"
             " AND part = k.part AND id = k.id)) WHERE tenant = ",
             d->name);
}

void question_where(struct sql_text *s, const struct question *k)
{
    size_t n = strcspn(k->tenant, "/");
    AUTO(json_unref) json_t *tenant = json_stringn(k->tenant, n);
    AUTO(json_unref) json_t *part = json_string(k->tenant[n] == '/' ? k->tenant + n + 1 : "");
    const struct filter_node *linked = k->root != NULL ? filter_linked(k->root) : NULL;
    buf_adds(&s->text, " FROM ");
    if (k->q->removed) {
        add_removed(s, k->def);
    } else if (k->match.len > 0) {
        /* What is found comes first, and each is looked up by its key: the other way round a rare
           word would visit every record. */
        AUTO(json_unref) json_t *match = json_stringn(buf_str(&k->match), k->match.len);
        buf_addf(&s->text, "(SELECT rowid AS found FROM %s WHERE text MATCH ", k->def->sql->search);
        sql_text_bind(s, match);
        buf_addf(&s->text, ") CROSS JOIN %s ON rid = found WHERE tenant = ", k->def->sql->table);
    } else if (linked != NULL) {
        buf_adds(&s->text, "(SELECT DISTINCT rid AS found ");
        filter_sql_linked(s, linked);
        buf_addf(&s->text, ") CROSS JOIN %s ON rid = found WHERE tenant = ", k->def->sql->table);
    } else {
        buf_addf(&s->text, "%s WHERE tenant = ", k->def->sql->table);
    }
    sql_text_bind(s, tenant);
    buf_adds(&s->text, " AND part = ");
    sql_text_bind(s, part);
    buf_adds(&s->text, k->def->sql->visible);
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

void question_sql(struct sql_text *s, const struct question *k, int64_t limit)
{
    buf_adds(&s->text, "SELECT id, body, version, created_at, updated_at, created_by, updated_by");
    for (size_t i = 0; i < k->sort.count; i++) {
        buf_adds(&s->text, ", ");
        add_sort_expr(s, k, i);
    }
    question_where(s, k);
    if (k->q->cursor != NULL)
        add_after(s, k);
    add_order(s, k);
    AUTO(json_unref) json_t *most = json_integer(limit);
    AUTO(json_unref) json_t *offset = json_integer((int64_t)(k->page - 1) * k->page_size);
    buf_adds(&s->text, " LIMIT ");
    sql_text_bind(s, most);
    buf_adds(&s->text, " OFFSET ");
    sql_text_bind(s, offset);
}

struct db_stmt *question_start(const struct question *k, const struct sql_text *s, struct err *e)
{
    if (buf_failed(&s->text)) {
        err_set(e, ERR_TOO_LARGE, "the question is too large");
        return NULL;
    }
    if (k->match.len > 0 && search_ready(k->db, k->def, e) < 0)
        return NULL;
    struct db_stmt *stmt = db_stmt_get(k->db, buf_str(&s->text), e);
    if (stmt != NULL)
        sql_text_bind_all(s, stmt, 1);
    return stmt;
}
