/* `job`: what scripts declare of jobs, checked while they load. A job is also a queue of the set,
 * `job.NAME`, that its function works. */
#include "bind/job_lib.h"

#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "bind/queue_lib.h"
#include "job/args.h"

bool bind_is_job_queue(const char *name)
{
    return strncmp(name, BIND_JOB_PREFIX, strlen(BIND_JOB_PREFIX)) == 0;
}

const struct bind_job *bind_set_job(const struct bind_set *s, const char *name)
{
    for (size_t i = 0; s != NULL && s->jobs != NULL && i < s->jobs->count; i++)
        if (strcmp(s->jobs->list[i]->def.name, name) == 0)
            return s->jobs->list[i];
    return NULL;
}

static void job_free(struct bind_job *j)
{
    job_def_fini(&j->def);
    entity_def_unref(j->args);
    mem_free(j);
}

void bind_jobs_free(struct bind_jobs *j)
{
    for (size_t i = 0; j != NULL && i < j->count; i++)
        job_free(j->list[i]);
    mem_free(j);
}

static int check_loading(struct bind_set *s, const char *name, const struct vm *vm, struct err *e)
{
    if (!vm_is_loading(vm))
        return err_set(e, ERR_INVALID,
                       "declarations stand at the top of a script, not in a function; what there "
                       "is of a job is asked for as job(\"%.64s\"):submit { .. }",
                       name);
    if (bind_set_job(s, name) != NULL)
        return err_set(e, ERR_INVALID, "is declared twice");
    if (s->jobs != NULL && s->jobs->count == BIND_JOBS_MAX)
        return err_set(e, ERR_TOO_LARGE, "over %d jobs in a set of scripts", BIND_JOBS_MAX);
    return 0;
}

static int declare_queue(lua_State *L, struct bind_set *s, struct bind_job *j, struct err *e)
{
    struct bind_queue *q = bind_queue_of(s, j->def.queue, e);
    if (q == NULL)
        return e->code;
    q->declared = true;
    job_def_queue(&j->def, &q->q);
    q->q.tenant = "default";
    snprintf(q->label, sizeof q->label, "job/%s", j->def.name);
    q->handled = q->q.handled = lua_isfunction(L, 4);
    bind_queue_said(q, j->where,
                    OPTION_MANUAL | OPTION_KEEP_COMPLETED | OPTION_KEEP_DISCARDED |
                        OPTION_KEEP_COUNT | (j->def.concurrency != 0 ? OPTION_CONCURRENCY : 0u));
    if (!q->handled)
        return 0;
    lua_pushvalue(L, 4);
    q->run = luaL_ref(L, LUA_REGISTRYINDEX);
    q->meter = vm_meter_new(q->label);
    return 0;
}

/* What makes its runs by itself has to know their args. */
static int check_scheduled(const struct job_def *d, struct err *e)
{
    AUTO(buf_fini) struct buf args = BUF_INIT(QUEUE_BODY_MAX);
    struct err why = ERR_INIT;
    if (!d->has_schedule && d->on_start == JOB_START_NONE)
        return 0;
    int rc = job_args_scheduled(d, &args, &why);
    if (rc == ERR_INVALID)
        return err_field(e, ERR_INVALID, "scheduled_args",
                         "runs that %s makes have no valid args (%s): give them, like "
                         "scheduled_args = { .. }, or give the fields defaults",
                         d->has_schedule ? "the schedule" : "a start", why.text);
    return rc == 0 ? 0 : err_set(e, rc, "%s", why.text);
}

/* The set has it from here on, and frees it. */
static struct bind_job *job_add(lua_State *L, struct bind_set *s)
{
    if (s->jobs == NULL)
        s->jobs = mem_new(sizeof *s->jobs);
    struct bind_job *j = s->jobs->list[s->jobs->count++] = mem_new(sizeof *j);
    vm_where(L, j->where, sizeof j->where);
    return j;
}

/* host.job(name, options, order of args, run) */
static int declare_job(lua_State *L)
{
    const char *name = luaL_checkstring(L, 1);
    struct bind_set *s = bind_set_of(L);
    struct err e = ERR_INIT;
    json_t *o = bind_check_json(L, 2, "job");
    bind_order_members(L, 3, o, "args");
    if (!lua_isnil(L, 4) && !lua_isfunction(L, 4))
        err_field(&e, ERR_INVALID, "run", "run = function(args, ctx) .. end, not a %s",
                  luaL_typename(L, 4));
    if (e.code == 0 && str_starts(name, JOB_OWN_PREFIX))
        err_field(&e, ERR_INVALID, "name",
                  "names that begin with '" JOB_OWN_PREFIX "' are Koan's own");
    if (e.code == 0 && check_loading(s, name, vm_of(L), &e) == 0) {
        struct bind_job *j = job_add(L, s);
        if (job_def_read(name, o, &j->def, &e) == 0 && job_args_read(&j->def, &j->args, &e) == 0 &&
            check_scheduled(&j->def, &e) == 0)
            declare_queue(L, s, j, &e);
    }
    if (e.code != 0) {
        err_context(&e, "job '%.80s'", name);
        return vm_raise_fault(L, &e);
    }
    return 0;
}

int bind_jobs_check(const struct bind_set *s, struct err *e)
{
    for (size_t i = 0; s->jobs != NULL && i < s->jobs->count; i++) {
        const struct bind_job *j = s->jobs->list[i];
        for (size_t k = 0; k < json_array_size(j->def.chain); k++) {
            const char *next = json_string_value(json_array_get(j->def.chain, k));
            if (bind_set_job(s, next) == NULL)
                return err_field(e, ERR_INVALID, "chain",
                                 "%s: job '%s': chain names '%s', which these scripts do not "
                                 "declare",
                                 j->where, j->def.name, next);
        }
    }
    return 0;
}

void bind_open_job(lua_State *L)
{
    static const luaL_Reg fns[] = {{"job", declare_job}, {NULL, NULL}};
    luaL_setfuncs(L, fns, 0);
    bind_open_job_op(L);
    bind_open_job_submit(L);
    bind_open_job_people(L);
    bind_open_ticks(L);
}
