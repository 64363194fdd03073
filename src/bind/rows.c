#include "bind/rows_priv.h"

#include "base/mem.h"
#include "db/db.h"

static void rows_free(void *p)
{
    struct bind_rows *r = p;
    if (r->snapshot != NULL)
        bind_snapshot_leave(r->snapshot, false);
    entity_page_fini(&r->page);
    buf_fini(&r->text);
    filter_free(r->filter);
    entity_expand_free(r->expand);
    json_decref(r->rows);
    mem_free(r);
}

struct bind_rows *bind_rows_push(lua_State *L)
{
    struct vm_guard *g = vm_guard_push(L, rows_free);
    struct bind_rows *r = mem_new(sizeof *r);
    entity_page_init(&r->page, BIND_PAGE_BYTES);
    buf_init(&r->text, BIND_PAGE_BYTES);
    g->p = r;
    return r;
}

static void read_from(struct bind_rows *r, struct db *db)
{
    if (r->snapshot != NULL)
        db = bind_snapshot_db(r->snapshot, &r->err);
    if (db != NULL)
        r->read(r, db, &r->err);
}

/* ---- on the pool ---- */

static void read_work(struct loop_work *w)
{
    struct bind_rows *r = (struct bind_rows *)w;
    read_from(r, r->thread->pool_reader);
}

static void read_done(struct loop_work *w);

static void read_next(struct bind_thread *t)
{
    struct list *node = list_pop(&t->reads);
    t->reading = node != NULL;
    if (node == NULL)
        return;
    struct bind_rows *r = LIST_OF(node, struct bind_rows, node);
    r->work.work = read_work;
    r->work.done = read_done;
    if (loop_queue(t->loop, &r->work, &r->err) != 0)
        read_done(&r->work);
}

/* Posted, so that nothing is resumed inside the call that started it. */
static void reads_begin(struct task *task)
{
    read_next((struct bind_thread *)((char *)task - offsetof(struct bind_thread, read_start)));
}

static void read_done(struct loop_work *w)
{
    struct bind_rows *r = (struct bind_rows *)w;
    struct vm_run *run = r->run;
    read_next(r->thread);
    vm_resume(run); /* r is gone after this line */
}

int bind_rows_read(lua_State *L, struct bind_rows *r, lua_KFunction k)
{
    r->thread = bind_set_of(L)->thread;
    r->tenant = bind_scope(L, lua_tostring(L, 1));
    if (!vm_can_await(L)) {
        read_from(r, r->thread->reader);
        return k(L, LUA_OK, (lua_KContext)r);
    }
    vm_may_await(L, "reading");
    r->run = vm_run_of(L);
    list_push(&r->thread->reads, &r->node);
    if (!r->thread->reading) {
        r->thread->reading = true;
        r->thread->read_start.run = reads_begin;
        runner_post(r->thread->runner, &r->thread->read_start);
    }
    return vm_await(L, (intptr_t)r, k);
}

void bind_rows_with(lua_State *L, struct bind_rows *r, const struct entity_def *d, const char *with,
                    const char *fields)
{
    struct err e = ERR_INIT;
    if (with != NULL && entity_expand_new(bind_set_of(L)->thread->bind->entities, d, with, fields,
                                          NULL, &r->expand, &e) != 0)
        vm_raise(L, &e);
}

void bind_rows_tree(lua_State *L, struct bind_rows *r)
{
    struct vm_guard *g = vm_guard_push(L, bind_json_free);
    g->p = entity_expand_tree(r->expand);
    vm_push_json(L, g->p, VM_PLAIN);
}
