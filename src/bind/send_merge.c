/* unique = { key =, mode = "merge" }: the body of a message is merged (RFC 7396) with that of the
 * one that waits, before it is sent. If another body came by then, the unit is refused with
 * `conflict`, and what sends is run again, as for a record that somebody else has changed. */
#include <string.h>

#include "base/mem.h"
#include "bind/queue_lib.h"
#include "bind/send_priv.h"
#include "db/db.h"
#include "entity/patch.h"
#include "ledger/ledger.h"

struct merge {
    struct queue_ask ask; /* first */
    struct loop_work work;
    struct bind_thread *thread;
    struct vm_run *run;
    struct bind_message *message;
    const char *tenant;
    struct core_waiting waits;
    struct buf old;
    struct err err;
};

static void merge_free(void *p)
{
    struct merge *m = p;
    buf_fini(&m->old);
    mem_free(m);
}

static void merge_ask(struct queue_ask *a, const struct core *c)
{
    struct merge *m = (struct merge *)a;
    const struct core_send *s = &m->message->m.send;
    core_waiting(c, m->tenant, s->queue, s->unique, &m->waits);
}

/* On the pool. What has outlived its part of the log is in the database: rare, so a connection is
 * opened for it. */
static void merge_read(struct loop_work *w)
{
    struct merge *m = LIST_OF(w, struct merge, work);
    struct ledger *l = m->thread->bind->ledger;
    struct db_options o = {.path = ledger_db_path(l), .mode = DB_READER};
    struct db *db = NULL;
    if (queue_waiting_read(l, NULL, &m->waits, &m->old, &m->err) != ERR_GONE)
        return;
    err_clear(&m->err);
    buf_reset(&m->old);
    if (db_open(&o, &db, &m->err) == 0)
        queue_waiting_read(l, db, &m->waits, &m->old, &m->err);
    db_close(db);
}

static void merge_done(struct loop_work *w)
{
    vm_resume(LIST_OF(w, struct merge, work)->run);
}

static void merge_asked(struct queue_ask *a)
{
    struct merge *m = (struct merge *)a;
    m->work.work = merge_read;
    m->work.done = merge_done;
    if (m->waits.body == 0 || loop_queue(m->thread->loop, &m->work, &m->err) != 0)
        vm_resume(m->run); /* m is gone after this line */
}

static int merge_bodies(const struct buf *old, const struct buf *patch, struct buf *out,
                        struct err *e)
{
    AUTO(json_unref) json_t *doc = json_read(old->data, old->len, e);
    AUTO(json_unref) json_t *with = doc == NULL ? NULL : json_read(patch->data, patch->len, e);
    if (with == NULL || patch_merge(&doc, with, e) != 0)
        return e->code;
    buf_reset(out);
    return json_print(doc, out, e) == 0
               ? 0
               : err_field(e, ERR_TOO_LARGE, "body", "merged, a body has more than %d KiB",
                           CORE_BODY_MAX >> 10);
}

static void message_has(struct bind_message *s)
{
    s->m.body = buf_str(&s->body);
    s->m.body_len = s->body.len;
    s->m.send.bytes = (uint32_t)s->body.len;
}

static void merge_into(struct bind_message *s, const struct buf *old, const struct buf *patch,
                       struct err *e)
{
    if (merge_bodies(old, patch, &s->body, e) == 0)
        message_has(s);
}

static void merge_back(struct bind_message *s)
{
    buf_reset(&s->body);
    buf_add(&s->body, s->own.data, s->own.len);
    message_has(s);
}

static int merge_k(lua_State *L, int status, lua_KContext ctx)
{
    struct merge *m = (struct merge *)ctx;
    struct core_send *s = &m->message->m.send;
    (void)status;
    s->unique_expect = m->waits.body;
    if (m->err.code == ERR_GONE) { /* worked meanwhile: the unit is refused, and run again */
        err_clear(&m->err);
        s->unique_expect = UINT64_MAX;
    } else if (m->err.code == 0 && m->waits.body != 0) {
        merge_into(m->message, &m->old, &m->message->own, &m->err);
    } else if (m->err.code == 0) {
        merge_back(m->message); /* it may have been merged before, with one that waits no more */
    }
    if (m->err.code != 0) {
        err_context(&m->err, "send '%.80s'", s->queue);
        return vm_raise(L, &m->err);
    }
    lua_pushinteger(L, (lua_Integer)m->message->body.len);
    return 1;
}

/* host.merge(message) -> bytes: with the one that waits, if one does */
static int host_merge(lua_State *L)
{
    lua_settop(L, 1);
    struct bind_message *s = bind_own_message(L, 1);
    vm_may_await(L, "send");
    struct vm_guard *g = vm_guard_push(L, merge_free);
    struct merge *m = mem_new(sizeof *m);
    g->p = m;
    buf_init(&m->old, CORE_BODY_MAX + 1);
    m->thread = bind_set_of(L)->thread;
    m->run = vm_run_of(L);
    m->message = s;
    if (s->own.len == 0)
        buf_add(&s->own, s->body.data, s->body.len);
    m->tenant = bind_env(L)->tenant != NULL ? bind_env(L)->tenant : "default";
    m->ask = (struct queue_ask){.home = m->thread->runner, .ask = merge_ask, .done = merge_asked};
    queues_ask(m->thread->bind->queues, &m->ask);
    return vm_await(L, (intptr_t)m, merge_k);
}

/* host.merge_two(first, second) -> bytes that the first has grown by: both of one unit */
static int host_merge_two(lua_State *L)
{
    struct err e = ERR_INIT;
    struct bind_message *first = bind_own_message(L, 1), *second = bind_own_message(L, 2);
    size_t before = first->body.len;
    struct buf old = first->body;
    buf_init(&first->body, CORE_BODY_MAX);
    merge_into(first, &old, &second->body, &e);
    if (e.code != 0) { /* it stays as it was: the unit may still be committed */
        buf_fini(&first->body);
        first->body = old;
    } else {
        buf_fini(&old);
    }
    if (e.code != 0) {
        err_context(&e, "send '%.80s'", first->m.send.queue);
        return vm_raise(L, &e);
    }
    lua_pushinteger(L, (lua_Integer)first->body.len - (lua_Integer)before);
    return 1;
}

void bind_open_merge(lua_State *L)
{
    static const luaL_Reg fns[] = {
        {"merge", host_merge}, {"merge_two", host_merge_two}, {NULL, NULL}};
    luaL_setfuncs(L, fns, 0);
}
