/* What the run of a job adds to its units, and what it reads of itself. An operation is a userdata
 * that host.write() takes beside records and messages. */
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/str.h"
#include "bind/job_lib.h"
#include "bind/queue_lib.h"
#include "bus/bus.h"
#include "db/db.h"
#include "job/args.h"

enum op_kind {
    OP_STEP,
    OP_SNOOZE,
    OP_PROGRESS,
    OP_UNDONE,
    OP_WAIT,
    OP_WAIT_OPEN,
    OP_WAIT_END,
    OP_FAN,
    OP_CANCEL, /* of any run, by whoever runs */
    OP_RETRY
};

struct bind_job_op {
    enum op_kind kind;
    struct uuid id; /* of the run that is undone, cancelled, run again; of the fan-out */
    uint32_t ordinal;
    enum job_step_kind step;
    bool undo;
    int64_t at;
    double fraction;
    size_t count;
    char *name, *text, *key; /* may be NULL */
    size_t text_len;
    json_t *args;
};

static void op_free(void *p)
{
    struct bind_job_op *op = p;
    mem_free(op->name);
    mem_free(op->text);
    mem_free(op->key);
    json_decref(op->args);
    mem_free(op);
}

const struct bind_job_op *bind_check_job_op(lua_State *L, int at)
{
    struct vm_guard *g = lua_touserdata(L, at);
    if (g == NULL || g->free != op_free)
        luaL_error(L, "not an operation of a job");
    return g->p;
}

static struct bind_job_op *op_push(lua_State *L, enum op_kind kind)
{
    struct vm_guard *g = vm_guard_push(L, op_free);
    struct bind_job_op *op = mem_new(sizeof *op);
    g->p = op;
    op->kind = kind;
    return op;
}

static char *text_of(lua_State *L, int at, size_t *n)
{
    if (lua_isnil(L, at))
        return NULL;
    size_t len;
    const char *s = luaL_checklstring(L, at, &len);
    char *copy = mem_try(len + 1);
    if (copy == NULL)
        luaL_error(L, "out of memory");
    memcpy(copy, s, len + 1);
    if (n != NULL)
        *n = len;
    return copy;
}

static struct uuid id_of(lua_State *L, int at)
{
    size_t n;
    struct uuid id = {{0}};
    const char *text = luaL_checklstring(L, at, &n);
    if (!uuid_parse(text, n, &id))
        luaL_error(L, "not an id");
    return id;
}

/* host.job_step(ordinal, name, result, "done" | "undo" | "sleep") */
static int op_step(lua_State *L)
{
    size_t n;
    lua_settop(L, 4);
    luaL_checklstring(L, 3, &n);
    if (n > JOB_RESULT_BYTES) {
        struct err e;
        err_field(&e, ERR_TOO_LARGE, "result",
                  "step '%s': a result has at most %d KiB; keep it in a record and return its id",
                  lua_tostring(L, 2), JOB_RESULT_BYTES >> 10);
        return vm_raise(L, &e);
    }
    struct bind_job_op *op = op_push(L, OP_STEP);
    op->ordinal = (uint32_t)luaL_checkinteger(L, 1);
    op->name = text_of(L, 2, NULL);
    op->text = text_of(L, 3, &op->text_len);
    op->step = strcmp(luaL_checkstring(L, 4), "sleep") == 0 ? JOB_STEP_SLEEP : JOB_STEP_DONE;
    op->undo = strcmp(lua_tostring(L, 4), "undo") == 0;
    vm_charge(L, op->text_len / 16);
    return 1;
}

/* host.job_snooze(until) */
static int op_snooze(lua_State *L)
{
    op_push(L, OP_SNOOZE)->at = luaL_checkinteger(L, 1);
    return 1;
}

/* host.job_progress(fraction or -1, text or nil, lines) */
static int op_progress(lua_State *L)
{
    lua_settop(L, 3);
    struct bind_job_op *op = op_push(L, OP_PROGRESS);
    op->fraction = luaL_checknumber(L, 1);
    op->name = text_of(L, 2, NULL);
    op->text = text_of(L, 3, &op->text_len);
    return 1;
}

/* host.job_undone(run, ordinal) */
static int op_undone(lua_State *L)
{
    struct bind_job_op *op = op_push(L, OP_UNDONE);
    op->id = id_of(L, 1);
    op->ordinal = (uint32_t)luaL_checkinteger(L, 2);
    return 1;
}

/* host.job_wait(name, topic, key or nil, until) */
static int op_wait(lua_State *L)
{
    lua_settop(L, 4);
    struct bind_job_op *op = op_push(L, OP_WAIT);
    op->name = text_of(L, 1, NULL);
    op->text = text_of(L, 2, NULL);
    op->key = text_of(L, 3, NULL);
    op->at = luaL_checkinteger(L, 4);
    return 1;
}

/* host.job_wait_open(name) */
static int op_wait_open(lua_State *L)
{
    op_push(L, OP_WAIT_OPEN)->name = text_of(L, 1, NULL);
    return 1;
}

/* host.job_wait_end(name) */
static int op_wait_end(lua_State *L)
{
    lua_settop(L, 1);
    op_push(L, OP_WAIT_END)->name = text_of(L, 1, NULL);
    return 1;
}

/* host.job_people("cancel" | "retry", job, run, reason or nil) */
static int op_people(lua_State *L)
{
    lua_settop(L, 4);
    bool retry = strcmp(luaL_checkstring(L, 1), "retry") == 0;
    struct bind_job_op *op = op_push(L, retry ? OP_RETRY : OP_CANCEL);
    op->name = text_of(L, 2, NULL);
    op->id = id_of(L, 3);
    op->text = text_of(L, 4, NULL);
    return 1;
}

static struct bind_thread *thread_of(lua_State *L)
{
    return bind_set_of(L)->thread;
}

/* host.job_fan(on_done, args or nil, count) -> operation, its id */
static int op_fan(lua_State *L)
{
    char id[UUID_TEXT];
    struct bind_thread *t = thread_of(L);
    lua_settop(L, 3);
    bind_check_job(L, luaL_checkstring(L, 1));
    json_t *args = bind_check_json(L, 2, "submit_all: args");
    struct bind_job_op *op = op_push(L, OP_FAN);
    op->name = text_of(L, 1, NULL);
    op->args = json_incref(args);
    op->count = (size_t)luaL_checkinteger(L, 3);
    t->ids.ids.make(&t->ids.ids, &op->id);
    uuid_format(&op->id, id);
    lua_pushstring(L, id);
    return 2;
}

/* ---- into a unit ---- */

static int compose_step(const struct bind_job_op *op, const struct bind_job_run *r, struct txn *t,
                        struct err *e)
{
    struct job_step s = {.run = r->id,
                         .job = r->job,
                         .ordinal = op->ordinal,
                         .name = op->name,
                         .kind = op->step,
                         .result = op->text,
                         .result_len = op->text_len,
                         .undo = op->undo,
                         .args = r->args,
                         .args_len = r->args_len,
                         .correlation = r->correlation};
    return job_txn_step(t, &s, e);
}

static int compose_progress(const struct bind_job_op *op, const struct bind_job_run *r,
                            struct txn *t, struct err *e)
{
    struct job_progress p = {.run = r->id,
                             .job = r->job,
                             .fraction = op->fraction,
                             .text = op->name,
                             .log = op->text_len > 0 ? op->text : NULL,
                             .log_len = op->text_len};
    return job_txn_progress(t, &p, e);
}

static int compose_fan(const struct bind_job_op *op, const struct bind_run *run, struct txn *t,
                       struct err *e)
{
    struct job_fan f = {.id = op->id,
                        .parent = &run->job->id,
                        .count = op->count,
                        .on_done = op->name,
                        .args = op->args,
                        .correlation = run->job->correlation};
    return job_txn_fan(t, run->set->thread->reader, &f, e);
}

int bind_job_compose(const struct bind_job_op *op, const struct bind_run *run, bool first,
                     struct txn *t, struct err *e)
{
    const struct bind_job_run *r = run->job;
    const struct job_why why = {op->name, op->text};
    bool of_any = op->kind == OP_CANCEL || op->kind == OP_RETRY;
    if ((r == NULL && !of_any) || first != (op->kind == OP_FAN))
        return 0;
    switch (op->kind) {
    case OP_CANCEL:
        return job_txn_cancel(t, &op->id, &why, e);
    case OP_RETRY:
        return job_txn_retry(t, &op->id, &why, e);
    case OP_STEP:
        return compose_step(op, r, t, e);
    case OP_PROGRESS:
        return compose_progress(op, r, t, e);
    case OP_UNDONE:
        return job_txn_undone(t, &op->id, op->ordinal, e);
    case OP_FAN:
        return compose_fan(op, run, t, e);
    case OP_WAIT:
        return bus_txn_wait(t,
                            &(struct bus_wait){.record = r->id,
                                               .name = op->name,
                                               .pattern = op->text,
                                               .key = op->key,
                                               .until = op->at},
                            e);
    case OP_WAIT_OPEN:
        bus_txn_if_waits(t, &r->id, op->name);
        return 0;
    case OP_WAIT_END:
        bus_txn_wait_end(t, &r->id, op->name);
        return 0;
    case OP_SNOOZE:
        return queue_txn_settle(t,
                                &(struct core_settle){.id = run->held.list[0].id,
                                                      .token = run->held.list[0].token,
                                                      .outcome = SETTLE_SNOOZE,
                                                      .delay_ms = -1,
                                                      .until = op->at},
                                NULL, 0, e);
    }
    return 0;
}

static void make_id(void *arg, struct uuid *out)
{
    struct bind_thread *t = arg;
    t->ids.ids.make(&t->ids.ids, out);
}

int bind_job_settle(struct job_end *x, struct bind_thread *t, const struct bind_grant *held,
                    const struct bind_outcome *how, struct txn *txn, struct err *e)
{
    struct core_settle s = how->settle;
    s.id = held->id;
    s.token = held->token;
    *x = (struct job_end){.run = held->id,
                          .settle = &s,
                          .text = how->text,
                          .text_len = how->text_len,
                          .make_id = make_id,
                          .arg = t};
    int rc = job_txn_end(txn, t->reader, x, e);
    x->settle = NULL; /* it was for this call */
    return rc;
}

/* ---- reading ---- */

struct steps {
    json_t *names;
    size_t bytes;
    const char *wanted; /* the result of this one alone */
    json_t *result;
};

static bool step_note(void *arg, const struct job_step_row *row)
{
    struct steps *s = arg;
    json_t *one = json_pack("{s:s, s:i, s:b, s:b}", "name", row->name, "ordinal", (int)row->ordinal,
                            "undo", row->undo, "undone", row->undone);
    s->bytes += row->result_len;
    if (s->bytes <= BIND_JOB_STEPS_BYTES)
        json_object_set_new(one, "result", json_stringn(row->result, row->result_len));
    json_object_set_new(s->names, row->name, one);
    return true;
}

static bool step_find(void *arg, const struct job_step_row *row)
{
    struct steps *s = arg;
    if (strcmp(row->name, s->wanted) != 0)
        return true;
    s->result = json_stringn(row->result, row->result_len);
    return false;
}

/* host.job_steps(run) -> name -> { name, ordinal, undo, undone, result? }, how many */
static int read_steps(lua_State *L)
{
    struct uuid id = id_of(L, 1);
    struct err e = ERR_INIT;
    struct vm_guard *g = vm_guard_push(L, bind_json_free);
    struct steps s = {.names = json_object()};
    g->p = s.names;
    if (job_steps_read(thread_of(L)->reader, &id, step_note, &s, &e) != 0)
        return vm_raise(L, &e);
    vm_push_json(L, s.names, VM_PLAIN);
    lua_pushinteger(L, (lua_Integer)json_object_size(s.names));
    return 2;
}

/* host.job_step_result(run, name) */
static int read_step(lua_State *L)
{
    struct uuid id = id_of(L, 1);
    struct err e = ERR_INIT;
    struct steps s = {.wanted = luaL_checkstring(L, 2)};
    struct vm_guard *g = vm_guard_push(L, bind_json_free);
    int rc = job_steps_read(thread_of(L)->reader, &id, step_find, &s, &e);
    g->p = s.result;
    if (rc != 0)
        return vm_raise(L, &e);
    vm_push_json(L, s.result, VM_PLAIN);
    return 1;
}

static void set_text(lua_State *L, const char *key, const char *value)
{
    lua_pushstring(L, value);
    lua_setfield(L, -2, key);
}

static void met_free(void *p)
{
    bus_met_fini(p);
    mem_free(p);
}

/* A body that is JSON as what it says, any other as a text. */
static void push_body(lua_State *L, const struct bus_met *m)
{
    bool is_json = m->type == NULL || strstr(m->type, "json") != NULL;
    struct vm_guard *g = vm_guard_push(L, bind_json_free);
    if (is_json && (g->p = json_read(m->body, m->body_len, NULL)) != NULL)
        vm_push_json(L, g->p, VM_PLAIN);
    else
        lua_pushlstring(L, m->body, m->body_len);
    lua_remove(L, -2);
}

static void push_met(lua_State *L, const struct bus_met *m)
{
    char id[UUID_TEXT];
    uuid_format(&m->id, id);
    lua_createtable(L, 0, 4);
    set_text(L, "id", id);
    set_text(L, "topic", m->topic);
    set_text(L, "key", m->key);
    push_body(L, m);
    lua_setfield(L, -2, "body");
}

/* host.job_wait_read(run, name) -> nil, or { at = until, message? } */
static int read_wait(lua_State *L)
{
    struct uuid id = id_of(L, 1);
    const char *name = luaL_checkstring(L, 2);
    enum bus_waited how = BUS_WAIT_NONE;
    struct err e = ERR_INIT;
    struct vm_guard *g = vm_guard_push(L, met_free);
    struct bus_met *m = g->p = mem_new(sizeof *m);
    if (bus_wait_read(thread_of(L)->reader, bind_tenant(L), &id, name, &how, m, &e) != 0)
        return vm_raise(L, &e);
    if (how == BUS_WAIT_NONE)
        return lua_pushnil(L), 1;
    lua_createtable(L, 0, 2);
    lua_pushinteger(L, m->until);
    lua_setfield(L, -2, "at");
    if (how == BUS_WAIT_MET) {
        push_met(L, m);
        lua_setfield(L, -2, "message");
    }
    return 1;
}

/* host.job_now(): by the clock of this node or of the ledger, whichever is ahead: what the ledger
 * calls due is not early here. */
static int job_now(lua_State *L)
{
    struct ledger_status s;
    struct vm_host *h = vm_host_of(L);
    int64_t now = h->wall_ms(h);
    if (thread_of(L)->bind->clock == NULL) {
        ledger_status(thread_of(L)->bind->ledger, &s);
        now = s.last_commit_at > now ? s.last_commit_at : now;
    }
    lua_pushinteger(L, now);
    return 1;
}

/* host.job_cancelled() */
static int job_cancelled(lua_State *L)
{
    lua_pushboolean(L, bind_run_of(L)->cancelled);
    return 1;
}

/* host.job_end_waits(): what was committed last, and refused, comes through when a queue is open,
 * or has room, again */
static int end_waits(lua_State *L)
{
    lua_pushboolean(L, bind_run_of(L)->end_waits);
    return 1;
}

void bind_open_job_op(lua_State *L)
{
    static const luaL_Reg fns[] = {{"job_step", op_step},          {"job_snooze", op_snooze},
                                   {"job_progress", op_progress},  {"job_undone", op_undone},
                                   {"job_wait", op_wait},          {"job_wait_open", op_wait_open},
                                   {"job_wait_end", op_wait_end},  {"job_fan", op_fan},
                                   {"job_people", op_people},      {"job_steps", read_steps},
                                   {"job_step_result", read_step}, {"job_wait_read", read_wait},
                                   {"job_now", job_now},           {"job_cancelled", job_cancelled},
                                   {"job_end_waits", end_waits},   {NULL, NULL}};
    luaL_setfuncs(L, fns, 0);
}
