/* ?with=customer,lines: records with what they refer to. It may visit many rows, so it is read on
 * the pool. */
#include "api/with_priv.h"

#include "base/arena.h"
#include "base/json.h"
#include "base/mem.h"
#include "db/db.h"
#include "entity/read.h"

static bool with_is_public(const struct entity_def *d)
{
    return d->access[ACCESS_READ] == ACCESS_PUBLIC;
}

int api_with_new(struct http_request *req, const struct entity_def *d, const char *with,
                 const char *fields, struct entity_expand **out, struct err *e)
{
    bool anybody = http_user(req) != NULL;
    return entity_expand_new(api_thread_of(req)->api->o.entities, d, with, fields,
                             anybody ? with_is_public : NULL, out, e);
}

int api_with_apply(const struct api_with *w, struct db *db, const char *scope, struct buf *text,
                   json_t **rows, struct err *e)
{
    AUTO(json_unref) json_t *v = api_rows_read(text, w->shape, e);
    if (v == NULL)
        return ERR_CORRUPT;
    int rc = entity_expand(w->expand, db, scope, v, e);
    buf_reset(text);
    if (rc < 0 || (rc = api_rows_print(v, w->shape, text, e)) < 0 || !w->viewed)
        return rc;
    if (text->len > API_VIEW_MAX)
        return err_field(e, ERR_TOO_LARGE, "with",
                         "the answer has over %d MiB, which is too much for the views of its "
                         "records; ask for fewer at a time",
                         API_VIEW_MAX >> 20);
    *rows = TAKE(v);
    return 0;
}

/* ---- one record ---- */

struct with_get {
    struct api_job job; /* first */
    struct entity_def *def;
    const char *id, *scope;
    struct api_with with;
    struct buf out;
    json_t *rows; /* where a view has something to add */
};

static void with_get_run(struct api_job *j, struct db *db)
{
    struct with_get *g = (struct with_get *)j;
    if (db_snapshot_begin(db, &j->err) != 0)
        return;
    if (entity_get(db, g->def, g->scope, g->id, &g->out, NULL, &j->err) == 0)
        api_with_apply(&g->with, db, g->scope, &g->out, &g->rows, &j->err);
    db_snapshot_end(db);
}

static void with_get_done(struct api_job *j)
{
    struct with_get g = *(struct with_get *)j; /* it goes with the request */
    AUTO(entity_def_unrefp) struct entity_def *d = g.def;
    bool elsewhere = g.job.err.code == ERR_NOT_FOUND && api_redirect_merged(g.job.req, d, g.id);
    if (!elsewhere && g.job.err.code != 0) {
        http_problem(g.job.req, &g.job.err);
    } else if (!elsewhere && g.rows != NULL) {
        struct api_viewed w = {.rows = TAKE(g.rows), .beside = TAKE(g.with.expand)};
        api_view_answer(g.job.req, d, &w);
    } else if (!elsewhere) {
        http_respond_buf(g.job.req, 200, API_JSON, &g.out);
    }
    buf_fini(&g.out);
    json_decref(g.rows);
    entity_expand_free(g.with.expand);
}

/* Without an ETag: the version speaks of the record alone. */
void api_with_get(struct http_request *req)
{
    struct entity_def *d = api_entity(req);
    if (d == NULL)
        return;
    struct with_get *g = arena_new(http_arena(req), sizeof *g);
    g->job.run = with_get_run;
    g->job.done = with_get_done;
    g->job.req = req;
    g->def = d;
    g->id = http_param(req, "id");
    g->scope = api_scope(req);
    buf_init(&g->out, API_ANSWER_MAX);
    if (api_with_new(req, d, http_query(req, "with"), NULL, &g->with.expand, &g->job.err) != 0) {
        with_get_done(&g->job);
        return;
    }
    g->with.viewed = api_view_is_wanted(d, NULL, NULL, g->with.expand);
    api_job_start(&g->job, req);
}
