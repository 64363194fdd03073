/* Reading records: one by id, the defaults of a new one, lists and questions.
 *
 * A record and a page in order of id are read where the request is; a page with a filter or an
 * order of its own may visit many rows and goes to the pool. */
#include <string.h>

#include "api/api_priv.h"
#include "api/with_priv.h"
#include "base/arena.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "db/db.h"
#include "entity/filter.h"
#include "entity/read.h"

/* ---- one ---- */

static void records_get_now(struct http_request *req)
{
    AUTO(entity_def_unrefp) struct entity_def *d = api_entity(req);
    if (d == NULL)
        return;
    const char *id = http_param(req, "id");
    AUTO(buf_fini) struct buf out = BUF_INIT(API_RECORD_MAX);
    uint64_t version;
    struct err e = ERR_INIT;
    int rc =
        entity_get(api_point_reader(api_thread_of(req)), d, api_scope(req), id, &out, &version, &e);
    if (rc == ERR_NOT_FOUND && api_redirect_merged(req, d, id))
        return;
    if (rc != 0) {
        http_problem(req, &e);
        return;
    }
    api_etag(req, version);
    if (!api_fresh(req, version))
        return;
    if (d->view)
        api_view_answer_one(req, d, &out);
    else
        http_respond_buf(req, 200, API_JSON, &out);
}

static void records_get(struct http_request *req)
{
    if (API_QUERY_ONLY(req, "with", "partition"))
        api_read(req, http_query(req, "with") != NULL ? api_with_get : records_get_now);
}

static void records_new(struct http_request *req)
{
    AUTO(entity_def_unrefp) struct entity_def *d = api_entity(req);
    if (d != NULL && API_QUERY_NONE(req))
        api_answer_json(req, 200, entity_doc_defaults(d));
}

/* ---- many ---- */

struct records_list {
    struct api_job job;
    struct entity_def *def;
    struct entity_query query;
    struct filter *filter;
    const char *scope;
    const char *with;  /* NULL: nothing */
    struct api_with w; /* without expand where nothing is asked for */
    json_t *names;     /* fields, where one of them is computed */
    json_t *rows;      /* of the page, for views */
    struct buf cursor;
    struct entity_page page;
};

static bool records_list_is_viewed(const struct records_list *l)
{
    return api_view_is_wanted(l->def, l->query.fields, l->names, l->w.expand);
}

static void records_list_view(struct records_list *l)
{
    struct api_viewed v = {.rows = TAKE(l->rows),
                           .names = TAKE(l->names),
                           .beside = TAKE(l->w.expand),
                           .declared_only = l->query.fields != NULL,
                           .shape = l->w.shape};
    api_view_answer(l->job.req, l->def, &v);
}

static void records_list_answer(struct records_list *l)
{
    struct http_request *req = l->job.req;
    if (l->job.err.code != 0) {
        http_problem(req, &l->job.err);
    } else {
        const char *type = l->query.stream ? API_NDJSON : API_JSON;
        api_page_headers(req, l->def, &l->page);
        if (l->rows != NULL)
            records_list_view(l);
        else
            http_respond_buf(req, 200, type, &l->page.rows);
    }
}

static void records_list_fini(struct records_list *l)
{
    entity_page_fini(&l->page);
    entity_expand_free(l->w.expand);
    json_decref(l->names);
    json_decref(l->rows);
    buf_fini(&l->cursor);
    filter_free(l->filter);
    entity_def_unref(l->def);
}

static void records_list_run(struct api_job *j, struct db *db)
{
    struct records_list *l = (struct records_list *)j;
    if (l->w.expand == NULL) {
        if (entity_query(db, l->def, l->scope, &l->query, &l->page, &j->err) == 0 &&
            records_list_is_viewed(l))
            l->rows = api_rows_read(&l->page.rows, l->w.shape, &j->err);
        return;
    }
    if (db_snapshot_begin(db, &j->err) != 0)
        return;
    if (entity_query(db, l->def, l->scope, &l->query, &l->page, &j->err) == 0)
        api_with_apply(&l->w, db, l->scope, &l->page.rows, &l->rows, &j->err);
    db_snapshot_end(db);
}

static void records_list_done(struct api_job *j)
{
    struct records_list *l = (struct records_list *)j;
    /* The struct lies in the request's arena: what hangs on it goes first. */
    struct records_list copy = *l;
    records_list_answer(&copy);
    records_list_fini(&copy);
}

static int records_set_count(struct entity_query *q, const char *text, struct err *e)
{
    if (text == NULL)
        return 0;
    if (strcmp(text, "exact") == 0)
        q->count = ENTITY_COUNT_EXACT;
    else if (strcmp(text, "none") == 0)
        q->count = ENTITY_COUNT_NONE;
    else
        return err_field(e, ERR_INVALID, "count", "count: '%.40s' is neither exact nor none", text);
    return 0;
}

/* Who may remove sees what was removed. */
static int records_set_removed(struct records_list *l, const char *text, struct err *e)
{
    if (text == NULL)
        return 0;
    if (strcmp(text, "only") != 0)
        return err_field(e, ERR_INVALID, "removed", "removed: '%.40s' is not 'only'", text);
    l->query.removed = true;
    return api_may(l->job.req, l->def, ACCESS_REMOVE)
               ? 0
               : err_field(e, ERR_FORBIDDEN, "removed",
                           "removed records of %s are for those who may remove: bring a token",
                           l->def->name);
}

static int records_set_cursor(struct http_request *req, struct records_list *l, const char *text,
                              struct err *e)
{
    if (text == NULL)
        return 0;
    if (l->query.page != 0)
        return err_field(e, ERR_INVALID, "cursor", "page and cursor exclude each other");
    int rc = api_cursor_open(api_thread_of(req)->api, l->def, text, &l->cursor, e);
    l->query.cursor = l->cursor.data;
    l->query.cursor_len = l->cursor.len;
    return rc;
}

static struct records_list *records_list_new(struct http_request *req, struct entity_def *d)
{
    struct records_list *l = arena_new(http_arena(req), sizeof *l);
    l->job.req = req;
    l->def = d;
    l->scope = api_scope(req);
    l->job.run = records_list_run;
    l->job.done = records_list_done;
    l->query.stream = api_accepts(req, API_NDJSON);
    l->w.shape = l->query.stream ? API_LINES : API_ARRAY;
    buf_init(&l->cursor, ENTITY_CURSOR_MAX);
    entity_page_init(&l->page, API_ANSWER_MAX);
    return l;
}

/* Lines are of all pages, unless one was asked for. */
static bool records_list_is_stream(const struct records_list *l)
{
    return l->query.stream && l->query.page == 0 && l->query.page_size == 0 &&
           http_verb(l->job.req) != HTTP_VERB_HEAD;
}

static void records_list_stream(struct records_list *l)
{
    struct api_streamed s = {.def = entity_def_ref(l->def),
                             .filter = TAKE(l->filter),
                             .beside = TAKE(l->w.expand),
                             .names = TAKE(l->names)};
    /* It copies what it needs: the arena's part ends here. */
    api_stream_start(l->job.req, &s, &l->query);
}

/* What goes with the records: fields to be computed, records beside. */
static int records_list_more(struct records_list *l, struct err *e)
{
    int rc = api_view_pick(l->def, l->query.fields, &l->names, e);
    if (rc == 0 && l->with != NULL)
        rc = api_with_new(l->job.req, l->def, l->with, l->query.fields, &l->w.expand, e);
    if (l->names != NULL)
        l->query.fields = NULL; /* a view sees whole records */
    l->w.viewed = rc == 0 && records_list_is_viewed(l);
    return rc;
}

static void records_list_go(struct records_list *l)
{
    l->query.filter = l->filter;
    if (l->job.err.code == 0)
        records_list_more(l, &l->job.err);
    if (l->job.err.code == 0 && records_list_is_stream(l) && l->query.count != ENTITY_COUNT_SOME)
        err_field(&l->job.err, ERR_INVALID, "count",
                  "count: a stream of all records has no totals; ask for a page with pageSize");
    if (l->job.err.code != 0) {
        records_list_done(&l->job);
    } else if (records_list_is_stream(l)) {
        struct records_list copy = *l;
        records_list_stream(&copy);
        records_list_fini(&copy);
    } else if (filter_is_empty(l->filter) && l->query.sort == NULL && !l->query.removed &&
               l->query.q == NULL && l->w.expand == NULL && l->query.count != ENTITY_COUNT_EXACT) {
        records_list_run(&l->job, api_thread_of(l->job.req)->db);
        records_list_done(&l->job);
    } else {
        api_job_start(&l->job, l->job.req);
    }
}

static void records_list_now(struct http_request *req)
{
    int64_t page, size;
    if (!api_query_int(req, "page", 1, INT32_MAX, 0, &page) ||
        !api_query_int(req, "pageSize", 1, ENTITY_PAGE_SIZE_MAX, 0, &size))
        return;
    struct entity_def *d = api_entity(req);
    if (d == NULL)
        return;
    struct records_list *l = records_list_new(req, d);
    const char *filter = http_query(req, "filter");
    struct err *e = &l->job.err;
    l->query.page = (int)page;
    l->query.page_size = (int)size;
    l->query.sort = http_query(req, "sort");
    l->query.q = http_query(req, "q");
    l->query.fields = http_query(req, "fields");
    l->with = http_query(req, "with");
    if (filter != NULL)
        filter_parse_text(d, filter, strlen(filter), &l->filter, e);
    else
        filter_parse(d, NULL, &l->filter, e);
    if (e->code == 0 && records_set_removed(l, http_query(req, "removed"), e) == 0 &&
        records_set_count(&l->query, http_query(req, "count"), e) == 0)
        records_set_cursor(req, l, http_query(req, "cursor"), e);
    records_list_go(l);
}

static void records_list(struct http_request *req)
{
    if (API_QUERY_ONLY(req, "page", "pageSize", "sort", "filter", "q", "fields", "count", "cursor",
                       "with", "removed", "partition"))
        api_read(req, records_list_now);
}

/* ---- POST /query: the same as a body ---- */

static const char *const records_query_names[] = {
    "filter", "q", "sort", "fields", "page", "pageSize", "cursor", "count", "with", "removed"};

/* "a,b" or ["a", "b"]; in the request's arena. */
static int records_names(struct http_request *req, const json_t *body, const char *key,
                         const char **out, struct err *e)
{
    const json_t *v = json_object_get(body, key);
    if (v == NULL || json_is_null(v))
        return 0;
    AUTO(buf_fini) struct buf text = BUF_INIT(HTTP_LINE_MAX);
    if (json_is_string(v))
        buf_add(&text, json_string_value(v), json_string_length(v));
    for (size_t i = 0; i < json_array_size(v); i++) {
        const char *s = json_string_value(json_array_get(v, i));
        if (s == NULL)
            return err_field(e, ERR_INVALID, key, "%s: item %zu is not a string", key, i);
        buf_addf(&text, "%s%s", i > 0 ? "," : "", s);
    }
    if (!json_is_string(v) && !json_is_array(v))
        return err_field(e, ERR_INVALID, key, "%s: neither a string nor an array of strings", key);
    if (buf_failed(&text))
        return err_field(e, ERR_TOO_LARGE, key, "%s: over %d bytes", key, HTTP_LINE_MAX);
    *out = arena_strndup(http_arena(req), buf_str(&text), text.len);
    return *out != NULL ? 0 : err_set(e, ERR_TOO_LARGE, "%s: too long", key);
}

static int records_number(const json_t *body, const char *key, int64_t most, int *out,
                          struct err *e)
{
    int64_t v;
    int rc = json_get_int(body, key, &v, e);
    if (rc == ERR_NOT_FOUND)
        return 0;
    if (rc == 0 && (v < 1 || v > most))
        return err_field(e, ERR_INVALID, key, "%s: not a number of 1 to %lld", key,
                         (long long)most);
    *out = (int)v;
    return rc;
}

static int records_text(struct http_request *req, const json_t *body, const char *key,
                        const char **out, struct err *e)
{
    const char *s;
    int rc = json_get_string(body, key, &s, e);
    if (rc == ERR_NOT_FOUND)
        return 0;
    if (rc == 0 && (*out = arena_strndup(http_arena(req), s, strlen(s))) == NULL)
        return err_field(e, ERR_TOO_LARGE, key, "%s: too long", key);
    return rc;
}

static int records_query_read(struct records_list *l, const json_t *body, struct err *e)
{
    struct http_request *req = l->job.req;
    struct entity_query *q = &l->query;
    const char *cursor = http_query(req, "cursor"), *count = NULL, *removed = NULL;
    int rc;
    if ((rc = json_only_keys(body, "the body", records_query_names, ARRAY_LEN(records_query_names),
                             e)) != 0 ||
        (rc = records_names(req, body, "sort", &q->sort, e)) != 0 ||
        (rc = records_names(req, body, "fields", &q->fields, e)) != 0 ||
        (rc = records_names(req, body, "with", &l->with, e)) != 0 ||
        (rc = records_number(body, "page", INT32_MAX, &q->page, e)) != 0 ||
        (rc = records_number(body, "pageSize", ENTITY_PAGE_SIZE_MAX, &q->page_size, e)) != 0 ||
        (rc = records_text(req, body, "cursor", &cursor, e)) != 0 ||
        (rc = records_text(req, body, "count", &count, e)) != 0 ||
        (rc = records_text(req, body, "removed", &removed, e)) != 0 ||
        (rc = records_set_removed(l, removed, e)) != 0 ||
        (rc = records_text(req, body, "q", &q->q, e)) != 0 ||
        (rc = filter_parse(l->def, json_object_get(body, "filter"), &l->filter, e)) != 0 ||
        (rc = records_set_count(q, count, e)) != 0)
        return rc;
    return records_set_cursor(req, l, cursor, e);
}

static void records_query_now(struct http_request *req)
{
    AUTO(json_unref) json_t *body = api_body_object(req);
    if (body == NULL)
        return;
    struct entity_def *d = api_entity(req);
    if (d == NULL)
        return;
    struct records_list *l = records_list_new(req, d);
    int rc = records_query_read(l, body, &l->job.err);
    if (rc != 0 && l->job.err.code == 0)
        err_set(&l->job.err, rc, "the question could not be read");
    records_list_go(l);
}

static void records_query(struct http_request *req)
{
    if (API_QUERY_ONLY(req, "cursor", "partition"))
        api_read(req, records_query_now);
}

static const struct http_route records_read_table[] = {
    {.verb = HTTP_VERB_GET, .pattern = "/api/:entity", .handler = records_list},
    {.verb = HTTP_VERB_POST, .pattern = "/api/:entity/query", .handler = records_query},
    {.verb = HTTP_VERB_GET, .pattern = "/api/:entity/new", .handler = records_new},
    {.verb = HTTP_VERB_GET, .pattern = "/api/:entity/:id", .handler = records_get},
};
const struct api_routes api_records_read_routes = {records_read_table,
                                                   ARRAY_LEN(records_read_table)};
