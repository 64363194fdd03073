/* `submit`: a run of a job, checked where it is submitted. It is proposed with the unit of whatever
 * runs, as messages are. */
#include <string.h>

#include "bind/job_lib.h"
#include "bind/queue_lib.h"
#include "bind/send_priv.h"
#include "job/args.h"

const struct bind_job *bind_check_job(lua_State *L, const char *name)
{
    const struct bind_job *j = bind_set_job(bind_set_of(L), name);
    if (j == NULL) {
        struct err e;
        err_set(&e, ERR_NOT_FOUND, "job '%.80s': these scripts do not declare it", name);
        vm_raise_fault(L, &e);
    }
    return j;
}

static void run_fill(struct bind_message *s, const struct bind_job *j, const char *fan)
{
    s->job = j;
    s->is_fanned = fan != NULL && uuid_parse(fan, strlen(fan), &s->fan);
}

/* A name, or a list of them, that these scripts declare. */
static int chain_read(lua_State *L, struct bind_message *s, const json_t *v, struct err *e)
{
    size_t n = json_is_string(v) ? 1 : json_array_size(v);
    bool empty = json_is_object(v) && json_object_size(v) == 0;
    if (v == NULL)
        return 0;
    if ((!json_is_string(v) && !json_is_array(v) && !empty) || n > JOB_CHAIN_MAX)
        return err_field(e, ERR_INVALID, "chain",
                         "chain is a name, or a list of at most %d of them", JOB_CHAIN_MAX);
    s->chain = json_array();
    for (size_t i = 0; i < n; i++) {
        json_t *one = json_is_string(v) ? (json_t *)(uintptr_t)v : json_array_get(v, i);
        const char *name = json_is_string(one) ? json_string_value(one) : "";
        if (bind_set_job(bind_set_of(L), name) == NULL)
            return err_field(e, ERR_INVALID, "chain",
                             "chain names '%.64s', which these scripts do not declare", name);
        json_array_append(s->chain, one);
    }
    return 0;
}

static int on_failure_read(struct bind_message *s, const json_t *v, struct err *e)
{
    const char *text = json_string_value(v);
    s->goes_on = text != NULL && strcmp(text, "continue") == 0;
    if (v == NULL || (s->chain != NULL && (s->goes_on || (text != NULL && !strcmp(text, "abort")))))
        return 0;
    return err_field(e, ERR_INVALID, "on_failure",
                     "on_failure is \"abort\" or \"continue\", and goes with chain");
}

/* What a run has and a message has not, taken out of the options. */
static int follow_read(lua_State *L, struct bind_message *s, json_t *options, struct err *e)
{
    int rc = chain_read(L, s, json_object_get(options, "chain"), e);
    if (rc == 0)
        rc = on_failure_read(s, json_object_get(options, "on_failure"), e);
    json_object_del(options, "chain");
    json_object_del(options, "on_failure");
    return rc;
}

static int run_check(const struct bind_message *s, struct err *e)
{
    if (s->body.len > QUEUE_BODY_MAX)
        return err_field(e, ERR_TOO_LARGE, "args",
                         "args have at most %d KiB; keep it elsewhere and give its key",
                         QUEUE_BODY_MAX >> 10);
    return s->m.send.unique_mode == UNIQUE_SWAP
               ? err_field(e, ERR_INVALID, "unique", "%s", JOB_NO_MERGE)
               : 0;
}

/* host.job_submit(job, args, options, fan or nil) -> message, id, bytes */
static int host_job_submit(lua_State *L)
{
    const char *name = luaL_checkstring(L, 1);
    struct err e = ERR_INIT;
    lua_settop(L, 4);
    vm_may_await(L, "submit");
    if (lua_isnil(L, 2)) {
        lua_newtable(L);
        lua_replace(L, 2);
    }
    const struct bind_job *j = bind_check_job(L, name);
    const json_t *args = bind_check_json(L, 2, "submit: args");
    json_t *options = bind_check_json(L, 3, "submit: options");
    struct vm_guard *checked = vm_guard_push(L, bind_json_free);
    struct bind_message *s = bind_message_new(L);
    checked->p = job_args_check(j->args, args, NULL, &e);
    job_def_message(&j->def, &s->m); /* what the options do not say */
    if (e.code == 0 && follow_read(L, s, options, &e) == 0 &&
        bind_message_make(L, s, j->def.queue, checked->p, options, NULL, &e) == 0 &&
        run_check(s, &e) == 0)
        run_fill(s, j, lua_tostring(L, 4));
    if (e.code != 0) {
        err_context(&e, "job '%.80s'", name);
        return checked->p == NULL ? vm_raise(L, &e) : bind_message_refuse(L, &e);
    }
    return bind_message_push_id(L, s);
}

/* host.job_args(job, args): as a run of it is given them */
static int host_job_args(lua_State *L)
{
    struct err e = ERR_INIT;
    lua_settop(L, 2);
    if (lua_isnil(L, 2))
        lua_newtable(L);
    else
        lua_pushvalue(L, 2);
    const struct bind_job *j = bind_check_job(L, luaL_checkstring(L, 1));
    const json_t *args = bind_check_json(L, 3, "args");
    struct vm_guard *checked = vm_guard_push(L, bind_json_free);
    checked->p = job_args_check(j->args, args, NULL, &e);
    if (checked->p == NULL) {
        err_context(&e, "job '%.80s'", j->def.name);
        return vm_raise(L, &e);
    }
    vm_push_json(L, checked->p, VM_PLAIN);
    return 1;
}

void bind_open_job_submit(lua_State *L)
{
    static const luaL_Reg fns[] = {
        {"job_submit", host_job_submit}, {"job_args", host_job_args}, {NULL, NULL}};
    luaL_setfuncs(L, fns, 0);
}
