/* What each() reads out of: all its pages are of one snapshot.
 *
 *   host.snapshot() -> [NONE] --first page--> [READING] --more--> [HELD] --next page--> [READING]
 *                         ^                       | no more, or an error
 *                         `-- given back ---------+---- its time is over, the loop was left
 *
 * A snapshot lives on a connection of its own, of which a thread has few, and it holds back the log
 * of the database: so after snapshot_ms it is given back though its loop goes
 * on, and the next page is of a new one, behind the last row. A loop whose first page is all there
 * is gives it back at once. With the snapshot goes the definition that it was begun with: a later
 * one may speak of columns that it does not have.
 *
 * All of it on the script thread, but for bind_snapshot_db(), which runs where the page is read. */
#include "bind/bind_priv.h"

#include "base/mem.h"
#include "db/db.h"

struct bind_snapshot {
    struct world_timer timer;
    struct bind_thread *thread;
    struct entity_def *def;
    struct db *db;
    unsigned refs; /* of the script's value, and of a page under way */
    bool held, begun, reading, late;
};

static void snapshot_give_back(struct bind_snapshot *s)
{
    struct bind_thread *t = s->thread;
    if (!s->held)
        return;
    t->world->timer_stop(t->world, &s->timer);
    if (s->begun)
        db_snapshot_end(s->db);
    if (s->db != NULL && t->snapshots_idle < BIND_SNAPSHOTS_IDLE)
        t->snapshot_dbs[t->snapshots_idle++] = TAKE(s->db);
    db_close(TAKE(s->db));
    entity_def_unref(TAKE(s->def));
    t->snapshots--;
    s->held = s->begun = s->late = false;
}

static void snapshot_unref(struct bind_snapshot *s)
{
    if (--s->refs > 0)
        return;
    snapshot_give_back(s);
    mem_free(s);
}

static void snapshot_is_late(struct world_timer *timer)
{
    struct bind_snapshot *s = (struct bind_snapshot *)timer; /* its first member */
    s->late = true;
    if (!s->reading)
        snapshot_give_back(s);
}

int bind_snapshot_enter(struct bind_snapshot *s, struct entity_def *d, struct err *e)
{
    struct bind_thread *t = s->thread;
    if (!s->held && t->snapshots == BIND_SNAPSHOTS_MAX)
        return err_set(e, ERR_OVERLOADED,
                       "each: %d loops over records are under way on this thread; read less at a "
                       "time, or use query with a cursor",
                       BIND_SNAPSHOTS_MAX);
    if (!s->held) {
        s->held = true;
        s->def = entity_def_ref(d);
        t->snapshots++;
        if (t->snapshots_idle > 0)
            s->db = t->snapshot_dbs[--t->snapshots_idle];
        s->timer.fire = snapshot_is_late;
        t->world->timer_start(t->world, &s->timer, t->bind->snapshot_ms);
    }
    ASSERT(!s->reading);
    s->reading = true;
    s->refs++;
    return 0;
}

struct db *bind_snapshot_db(struct bind_snapshot *s, struct err *e)
{
    const struct bind *b = s->thread->bind;
    struct db_options o = {.path = ledger_db_path(b->ledger), .mode = DB_READER};
    if (s->db == NULL && db_open(&o, &s->db, e) != 0)
        return NULL;
    db_set_clock(s->db, s->thread->world);
    if (!s->begun && db_snapshot_begin(s->db, e) != 0)
        return NULL;
    s->begun = true;
    return s->db;
}

void bind_snapshot_leave(struct bind_snapshot *s, bool more)
{
    ASSERT(s->reading);
    s->reading = false;
    if (!more || s->late)
        snapshot_give_back(s);
    snapshot_unref(s);
}

struct entity_def *bind_snapshot_def(const struct bind_snapshot *s)
{
    return s->def;
}

/* ---- for scripts ---- */

static void snapshot_drop(void *p)
{
    snapshot_unref(p);
}

struct bind_snapshot *bind_check_snapshot(lua_State *L, int at)
{
    struct vm_guard *g = lua_touserdata(L, at);
    return g != NULL && g->free == snapshot_drop ? g->p : NULL;
}

/* host.snapshot() -> what host.query takes as its third argument */
static int host_snapshot(lua_State *L)
{
    struct vm_guard *g = vm_guard_push(L, snapshot_drop);
    struct bind_snapshot *s = mem_new(sizeof *s);
    s->thread = bind_set_of(L)->thread;
    s->refs = 1;
    g->p = s;
    return 1;
}

/* host.snapshot_end(snapshot): its loop was left */
static int host_snapshot_end(lua_State *L)
{
    struct bind_snapshot *s = bind_check_snapshot(L, 1);
    if (s != NULL && !s->reading)
        snapshot_give_back(s);
    return 0;
}

void bind_open_snapshot(lua_State *L)
{
    static const luaL_Reg fns[] = {
        {"snapshot", host_snapshot}, {"snapshot_end", host_snapshot_end}, {NULL, NULL}};
    luaL_setfuncs(L, fns, 0);
}
