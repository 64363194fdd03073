/* Requests: arrivals that came together, from their taking until the answer. */
#include "base/map.h"
#include "base/mem.h"
#include "canon/engine_priv.h"
#include "canon/pipeline_priv.h"
#include "canon/state_priv.h"
#include "canon/whole_priv.h"
#include "entity/entity.h"

enum { REQUEST_MAGIC = 0x63717265 };

static void request_answer(struct task *t)
{
    struct canon_request *r = LIST_OF(t, struct canon_request, task);
    r->done(r);
}

void request_finish(struct engine_request *er)
{
    struct canon_request *r = er->r;
    er->engine->open_requests--;
    if (er->whole != NULL) {
        whole_free(TAKE(er->whole));
        er->engine->alone = NULL;
        engine_wake(er->engine);
    }
    r->task.run = request_answer;
    runner_post(r->home, &r->task); /* r may be gone after this line */
}

void canon_request_fini(struct canon_request *r)
{
    struct engine_request *er = r->impl;
    for (size_t i = 0; i < r->count; i++) {
        json_decref(r->arrivals[i].data);
        json_decref(r->arrivals[i].tags);
        json_decref(r->arrivals[i].changes);
        mem_free(r->arrivals[i].record);
        r->arrivals[i].record = NULL;
        r->arrivals[i].data = r->arrivals[i].tags = r->arrivals[i].changes = NULL;
    }
    if (er == NULL)
        return;
    ASSERT(er->magic == REQUEST_MAGIC);
    mem_free(er->model);
    mem_free(er->origin);
    mem_free(er->source_id);
    mem_free(er);
    r->impl = NULL;
}

/* The set of this model and tenant, made anew when the model or the entity has changed and nothing
 * is under way. */
static struct working *engine_working(struct canon_engine *en, const char *model,
                                      const char *tenant, struct err *e)
{
    AUTO(mem_freep) char *name = mem_printf("%s/%s", tenant, model);
    struct canon_model *m = canon_find(en->canon, model);
    struct entity_def *d = entities_find(canon_entities(en->canon), model);
    if (m == NULL || d == NULL) {
        err_set(e, ERR_NOT_FOUND, "no canon model '%s'", model);
        canon_model_unref(m);
        entity_def_unref(d);
        return NULL;
    }
    struct working *w = map_gets(en->workings, name);
    if (w == NULL) {
        w = working_new(tenant, m, d, en->reader);
        map_puts(en->workings, name, w);
        return w;
    }
    bool same = w->model == m && w->def == d;
    w->stale |= !same;
    canon_model_unref(m);
    entity_def_unref(d);
    return w;
}

void request_skip(struct engine_request *er)
{
    while (er->next < er->r->count && er->r->arrivals[er->next].done)
        er->next++;
}

static void request_come(struct task *t)
{
    struct canon_request *r = LIST_OF(t, struct canon_request, task);
    struct engine_request *er = r->impl;
    struct canon_engine *en = er->engine;
    ASSERT(er->magic == REQUEST_MAGIC);
    en->open_requests++;
    const char *tenant = r->env->tenant ? r->env->tenant : "default";
    er->working = engine_working(en, er->model, tenant, &r->err);
    request_skip(er);
    if (er->working == NULL || er->next == r->count) {
        request_finish(er);
        return;
    }
    if (r->whole)
        er->whole = whole_new(en, er->working);
    list_push(&en->requests, &er->node);
    engine_wake(en);
}

static int engine_take(struct canon_engine *en, const char *model, struct canon_request *r,
                       enum job_kind kind, bool erase, struct err *e)
{
    if (r->count > CANON_BULK_MAX)
        return err_set(e, ERR_TOO_LARGE, "%zu arrivals in one request; at most %d", r->count,
                       CANON_BULK_MAX);
    struct engine_request *er = mem_new(sizeof *er);
    *er = (struct engine_request){.magic = REQUEST_MAGIC,
                                  .engine = en,
                                  .r = r,
                                  .model = mem_strdup(model),
                                  .kind = kind,
                                  .erase = erase};
    r->impl = er;
    r->err = (struct err){0};
    r->task.run = request_come;
    runner_post(en->world->runner, &r->task);
    return 0;
}

int canon_arrive(struct canon_engine *en, const char *model, struct canon_request *r, struct err *e)
{
    return engine_take(en, model, r, KIND_ARRIVE, false, e);
}

int canon_withdraw(struct canon_engine *en, const char *model, struct canon_request *r, bool erase,
                   struct err *e)
{
    return engine_take(en, model, r, KIND_WITHDRAW, erase, e);
}

int canon_resume(struct canon_engine *en, const char *model, struct canon_request *r, struct err *e)
{
    ASSERT(r->count == 1);
    return engine_take(en, model, r, KIND_RESUME, false, e);
}
