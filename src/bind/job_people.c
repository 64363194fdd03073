/* job("name"):cancel(id, { reason = .. }) and :retry: is it a run of this job, and then an
 * operation of the unit. */
#include <string.h>

#include "base/mem.h"
#include "bind/job_lib.h"
#include "bind/queue_lib.h"

struct known {
    struct queue_ask ask; /* first */
    struct vm_run *run;
    struct uuid id;
    const char *tenant, *queue;
    bool is;
};

static void known_ask(struct queue_ask *a, const struct core *c)
{
    struct known *k = (struct known *)a;
    struct core_view v;
    k->is = core_look(c, &k->id, &v, NULL) == 0 && strcmp(v.tenant, k->tenant) == 0 &&
            strcmp(v.queue, k->queue) == 0;
}

static void known_asked(struct queue_ask *a)
{
    vm_resume(((struct known *)a)->run);
}

static int known_k(lua_State *L, int status, lua_KContext ctx)
{
    const struct known *k = (const struct known *)ctx;
    struct err e;
    (void)status;
    if (k->is)
        return 0;
    err_field(&e, ERR_NOT_FOUND, "id", "job '%s' has no run '%s'",
              k->queue + strlen(BIND_JOB_PREFIX), lua_tostring(L, 2));
    return vm_raise(L, &e);
}

/* host.job_known(job, id): raises when that is no run of it */
static int job_known(lua_State *L)
{
    size_t n;
    struct err e = ERR_INIT;
    lua_settop(L, 2);
    vm_may_await(L, "job");
    const struct bind_job *j = bind_check_job(L, luaL_checkstring(L, 1));
    const char *id = luaL_checklstring(L, 2, &n);
    struct bind_thread *t = bind_set_of(L)->thread;
    struct vm_guard *g = vm_guard_push(L, mem_free);
    struct known *k = mem_new(sizeof *k);
    g->p = k;
    if (!uuid_parse(id, n, &k->id))
        err_field(&e, ERR_INVALID, "id", "'%.64s' is no id of a run", id);
    else if (t->bind->queues == NULL)
        err_set(&e, ERR_UNSUPPORTED, "the queue is not running here");
    if (e.code != 0)
        return vm_raise(L, &e);
    k->run = vm_run_of(L);
    k->queue = j->def.queue;
    k->tenant = bind_env(L)->tenant != NULL ? bind_env(L)->tenant : "default";
    k->ask = (struct queue_ask){.home = t->runner, .ask = known_ask, .done = known_asked};
    queues_ask(t->bind->queues, &k->ask);
    return vm_await(L, (intptr_t)k, known_k);
}

void bind_open_job_people(lua_State *L)
{
    static const luaL_Reg fns[] = {{"job_known", job_known}, {NULL, NULL}};
    luaL_setfuncs(L, fns, 0);
}
