/* view(e): fields that a script computes wherever records are read.
 *
 * The rows are read as always; then the function of their entity runs once for all of them on a
 * script thread, and what it gives for each is put behind its fields. Records that stand beside
 * them (with=) go first, the deepest first, so that a view sees what is below it complete; that is
 * one run for each name of with=. With fields=.. the views run only where a name among them is no
 * declared field, and then see the whole record. */
#include <string.h>

#include "api/api_priv.h"
#include "base/arena.h"
#include "base/mem.h"
#include "base/str.h"
#include "entity/expand.h"

static json_t *rows_read_lines(const struct buf *text, struct err *e)
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

json_t *api_rows_read(const struct buf *text, enum api_shape shape, struct err *e)
{
    if (shape == API_LINES)
        return rows_read_lines(text, e);
    json_t *v = json_read(text->len > 0 ? text->data : "", text->len, e);
    return v == NULL || shape == API_ARRAY ? v : json_pack("[o]", v);
}

int api_rows_print(const json_t *rows, enum api_shape shape, struct buf *out, struct err *e)
{
    size_t i;
    json_t *row;
    int rc = shape == API_ARRAY ? json_print(rows, out, e) : 0;
    json_array_foreach(shape == API_ARRAY ? NULL : rows, i, row)
    {
        if ((rc = json_print(row, out, e)) < 0)
            return rc;
        buf_adds(out, shape == API_LINES ? "\n" : "");
    }
    return rc < 0 ? rc : buf_check(out, "the records", e);
}

/* ---- which fields ---- */

static bool is_known(const struct entity_def *d, const char *name)
{
    return entity_is_system_field(name) || entity_def_field(d, name) != NULL;
}

int api_view_pick(const struct entity_def *d, const char *fields, json_t **out, struct err *e)
{
    *out = NULL;
    if (!d->view || fields == NULL)
        return 0;
    AUTO(json_unref) json_t *names = json_pack("{s:b, s:b}", "id", 1, ENTITY_WITH_MEMBER, 1);
    AUTO(mem_freep) char *copy = mem_strdup(fields);
    char *rest = copy, *name;
    bool computed = false;
    while ((name = strsep(&rest, ",")) != NULL) {
        if (*name == '\0' && rest == NULL && json_object_size(names) == 2)
            break; /* nothing is named: all */
        int rc = is_known(d, name) ? 0 : str_check_name(name, "fields", e);
        if (rc < 0)
            return rc;
        computed = computed || !is_known(d, name);
        json_object_set_new(names, name, json_true());
    }
    if (computed)
        *out = TAKE(names);
    return 0;
}

static void pick(json_t *rows, const json_t *names)
{
    size_t i;
    json_t *row, *v;
    const char *key;
    void *next;
    json_array_foreach(rows, i, row)
    {
        json_object_foreach_safe(row, next, key, v)
        {
            if (json_object_get(names, key) == NULL)
                json_object_del(row, key);
        }
    }
}

/* ---- one run ---- */

/* What every record has belongs to Koan, and a declared field is what was saved. */
static int view_add(const struct entity_def *d, json_t *row, json_t *more, struct err *e)
{
    const char *key;
    json_t *v;
    json_object_foreach(more, key, v)
    {
        if (is_known(d, key) || strcmp(key, ENTITY_WITH_MEMBER) == 0)
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
    if (json_array_size(v->call.record) != json_array_size(v->asked))
        return err_set(e, ERR_REJECTED, "view of %s gave no answer", v->call.def->name);
    json_array_foreach(v->asked, i, row)
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

static void view_next(struct api_view *v);

static void view_run(struct task *task)
{
    struct api_view *v = (struct api_view *)((char *)task - offsetof(struct api_view, call.task));
    v->starting = false;
    v->err = v->call.err;
    if (v->err.code == 0)
        view_merge(v, &v->err);
    json_decref(v->call.record);
    json_decref(v->call.errors);
    v->call.record = v->call.errors = NULL;
    view_next(v);
}

static void view_over(struct task *task)
{
    struct api_view *v = (struct api_view *)((char *)task - offsetof(struct api_view, call.task));
    v->done(v);
}

/* True when the answer comes later. */
static bool view_ask(struct api_view *v, const struct entity_def *d, json_t *records)
{
    struct entity_hooks *hooks = v->thread->api->o.hooks;
    if (!d->view || json_array_size(records) == 0)
        return false;
    v->asked = records;
    v->call = (struct entity_hook_call){.home = loop_runner(v->thread->loop),
                                        .def = (struct entity_def *)d,
                                        .event = ENTITY_VIEW,
                                        .env = &v->env,
                                        .id = ""};
    v->call.task.run = view_run;
    if (hooks == NULL) {
        err_set(&v->err, ERR_UNAVAILABLE, "no scripts are loaded for the view of %s", d->name);
        return false;
    }
    v->call.record = json_deep_copy(records); /* for the other thread */
    if (hooks->run(hooks, &v->call, &v->err) == 0)
        return true;
    json_decref(v->call.record);
    v->call.record = NULL;
    return false;
}

/* Those beside, then the rows themselves. */
static void view_next(struct api_view *v)
{
    const struct entity_def *d;
    json_t *records;
    while (v->err.code == 0 && v->beside != NULL &&
           entity_expand_found(v->beside, v->step, &d, &records)) {
        v->step++;
        if (view_ask(v, d, records))
            return;
    }
    v->beside = NULL;
    if (v->err.code == 0 && !v->own_done) {
        v->own_done = true;
        if (!v->declared_only && view_ask(v, v->def, v->rows))
            return;
    }
    if (v->err.code == 0 && v->names != NULL)
        pick(v->rows, v->names);
    if (!v->starting) {
        v->done(v);
        return;
    }
    v->call.home = loop_runner(v->thread->loop);
    v->call.task.run = view_over;
    runner_post(v->call.home, &v->call.task);
}

void api_view_start(struct api_view *v)
{
    v->step = 0;
    v->own_done = false;
    v->asked = NULL;
    err_clear(&v->err);
    v->starting = true;
    view_next(v);
}

bool api_view_is_wanted(const struct entity_def *d, const char *fields, const json_t *names,
                        const struct entity_expand *beside)
{
    const struct entity_def *other;
    json_t *records;
    bool wanted = d->view && (fields == NULL || names != NULL);
    for (size_t i = 0;
         !wanted && beside != NULL && entity_expand_found(beside, i, &other, &records); i++)
        wanted = other->view;
    return wanted;
}

/* ---- an answer through views ---- */

struct view_answer {
    struct api_view view; /* first */
    struct http_request *req;
    struct entity_def *def;
    struct entity_expand *beside;
    enum api_shape shape;
    const char *type;
};

static void view_answer_done(struct api_view *v)
{
    struct view_answer a = *(struct view_answer *)v; /* the struct goes with the request */
    struct buf out = BUF_INIT(API_ANSWER_MAX);
    struct err e = a.view.err;
    if (e.code == 0)
        api_rows_print(a.view.rows, a.shape, &out, &e);
    if (e.code != 0)
        http_problem(a.req, &e);
    else
        http_respond_buf(a.req, 200, a.type, &out);
    buf_fini(&out);
    json_decref(a.view.rows);
    json_decref(a.view.names);
    entity_expand_free(a.beside);
    entity_def_unref(a.def);
}

void api_view_answer(struct http_request *req, const struct entity_def *d,
                     const struct api_viewed *w)
{
    struct view_answer *a = arena_new(http_arena(req), sizeof *a);
    a->view.thread = api_thread_of(req);
    a->view.def = d;
    a->view.rows = w->rows;
    a->view.done = view_answer_done;
    api_envelope(req, &a->view.env);
    a->req = req;
    a->def = entity_def_ref(d);
    a->view.beside = a->beside = w->beside;
    a->view.names = w->names;
    a->view.declared_only = w->declared_only;
    a->shape = w->shape;
    a->type = w->shape == API_LINES ? API_NDJSON : API_JSON;
    api_view_start(&a->view);
}

void api_view_answer_one(struct http_request *req, const struct entity_def *d,
                         const struct buf *text)
{
    struct err e = ERR_INIT;
    struct api_viewed w = {.rows = api_rows_read(text, API_ONE, &e), .shape = API_ONE};
    if (w.rows != NULL)
        api_view_answer(req, d, &w);
    else
        http_problem(req, &e);
}
