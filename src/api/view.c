/* view(e): fields that a script computes where records are read over HTTP.
 *
 * The rows are read as always; then their function runs once for all of them on a script thread,
 * and what it gives for each is put behind its fields. With fields=.. only declared fields are
 * wanted, so it does not run. */
#include <string.h>

#include "api/api_priv.h"
#include "base/arena.h"
#include "base/mem.h"

static json_t *view_read_lines(const struct buf *text, struct err *e)
{
    AUTO(json_unref) json_t *rows = json_array();
    for (const char *p = text->data, *end = p + text->len; p != NULL && p < end;) {
        const char *nl = memchr(p, '\n', (size_t)(end - p));
        json_t *row = json_read(p, (size_t)((nl != NULL ? nl : end) - p), e);
        if (row == NULL)
            return NULL;
        json_array_append_new(rows, row);
        p = nl != NULL ? nl + 1 : end;
    }
    return TAKE(rows);
}

static json_t *view_read(const struct buf *text, enum api_view_shape shape, struct err *e)
{
    if (shape == API_VIEW_LINES)
        return view_read_lines(text, e);
    json_t *v = json_read(text->len > 0 ? text->data : "", text->len, e);
    return v == NULL || shape == API_VIEW_ARRAY ? v : json_pack("[o]", v);
}

static int view_print(const json_t *rows, enum api_view_shape shape, struct buf *out, struct err *e)
{
    if (shape == API_VIEW_ARRAY)
        return json_print(rows, out, e);
    size_t i;
    json_t *row;
    json_array_foreach(rows, i, row)
    {
        int rc = json_print(row, out, e);
        if (rc < 0)
            return rc;
        buf_adds(out, shape == API_VIEW_LINES ? "\n" : "");
    }
    return buf_check(out, "the records", e);
}

/* What every record has belongs to Koan, and a declared field is what was saved. */
static int view_add(const struct entity_def *d, json_t *row, json_t *more, struct err *e)
{
    const char *key;
    json_t *v;
    json_object_foreach(more, key, v)
    {
        if (entity_is_system_field(key) || entity_def_field(d, key) != NULL)
            return err_set(
                e, ERR_REJECTED,
                "view of %s computes '%.64s', which the record has already; give it another "
                "name",
                d->name, key);
        json_object_set(row, key, v);
    }
    return 0;
}

static int view_merge(struct api_view *v, struct err *e)
{
    size_t i;
    json_t *row;
    if (json_array_size(v->call.record) != json_array_size(v->rows))
        return err_set(e, ERR_REJECTED, "view of %s gave no answer", v->call.def->name);
    json_array_foreach(v->rows, i, row)
    {
        json_t *more = json_array_get(v->call.record, i);
        if (json_is_array(more) && json_array_size(more) > 0)
            return err_set(e, ERR_REJECTED, "view of %s gave a list, not fields by name",
                           v->call.def->name);
        int rc = json_is_object(more) ? view_add(v->call.def, row, more, e) : 0;
        if (rc < 0)
            return rc;
    }
    return 0;
}

static void view_finish(struct api_view *v)
{
    struct buf out = BUF_INIT(API_ANSWER_MAX);
    struct err e = v->call.err;
    if (e.code == 0 && view_merge(v, &e) == 0)
        view_print(v->rows, v->shape, &out, &e);
    json_decref(v->rows);
    json_decref(v->call.record);
    json_decref(v->call.errors);
    v->done(v, &out, &e);
}

static void view_run(struct task *task)
{
    view_finish((struct api_view *)((char *)task - offsetof(struct api_view, call.task)));
}

void api_view_start(struct api_view *v, struct http_request *req, const struct entity_def *d,
                    const struct buf *text)
{
    struct api_thread *t = api_thread_of(req);
    struct entity_hooks *hooks = t->api->o.hooks;
    v->call = (struct entity_hook_call){
        .home = loop_runner(t->loop), .def = d, .event = ENTITY_VIEW, .env = &v->env, .id = ""};
    v->call.task.run = view_run;
    api_envelope(req, &v->env);
    v->rows = view_read(text, v->shape, &v->call.err);
    if (v->call.err.code == 0 && hooks == NULL)
        err_set(&v->call.err, ERR_UNAVAILABLE, "no scripts are loaded for the view of %s", d->name);
    if (v->call.err.code == 0 && json_array_size(v->rows) > 0) {
        v->call.record = json_deep_copy(v->rows); /* for the other thread */
        if (hooks->run(hooks, &v->call, &v->call.err) == 0)
            return;
    } else if (v->call.err.code == 0) {
        v->call.record = json_array();
    }
    runner_post(v->call.home, &v->call.task);
}

/* ---- an answer through a view ---- */

struct view_answer {
    struct api_view view; /* first */
    struct http_request *req;
    struct entity_def *def;
    const char *type;
};

static void view_answer_done(struct api_view *v, struct buf *out, const struct err *e)
{
    struct view_answer copy = *(struct view_answer *)v; /* the struct goes with the request */
    if (e->code != 0)
        http_problem(copy.req, e);
    else
        http_respond_buf(copy.req, 200, copy.type, out);
    buf_fini(out);
    entity_def_unref(copy.def);
}

void api_view_answer(struct http_request *req, const struct entity_def *d,
                     enum api_view_shape shape, const char *type, const struct buf *text)
{
    struct view_answer *a = arena_new(http_arena(req), sizeof *a);
    a->view.shape = shape;
    a->view.done = view_answer_done;
    a->req = req;
    a->def = entity_def_ref(d);
    a->type = type;
    api_view_start(&a->view, req, a->def, text);
}
