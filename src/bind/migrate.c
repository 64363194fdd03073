/* The records of one entity through `migrate` of the set that is being deployed: read, made by the
 * script, proposed, until none is left. On script thread 0.
 *
 *   BEGIN --> MAKE -- none left --> done
 *             ^  |
 *             +--+-- some fail --> HALT --> done, with the first failure            */
#include "bind/migrate.h"

#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "entity/migrate.h"

enum {
    MIGRATE_AGAIN_MAX = 3, /* rounds over changed records before writes are held */
    MIGRATE_ITEMS_MAX = 6 << 20,
    MIGRATE_ITEMS_FULL = 3 << 20, /* then the operation closes */
    MIGRATE_FAILURES_MAX = 50,
    MIGRATE_SECONDS = 30, /* of processor time, for a batch */
    MIGRATE_TELL_MS = 2000,
    MIGRATE_WAIT_MS = 100, /* between two tries to begin */
};

static void migrate_next(struct bind_migrate *m);
static void migrate_begin(struct bind_migrate *m);
static void migrate_halt(struct bind_migrate *m, json_t *list, const struct err *e);

/* For whoever asks how far it is; `name` "" when it is over. */
static void migrate_show(struct bind_migrate *m, const char *name)
{
    struct bind *b = m->thread->bind;
    pthread_mutex_lock(&b->status_lock);
    snprintf(b->migrating, sizeof b->migrating, "%s", name);
    b->migrating_percent = m->batch.percent;
    pthread_mutex_unlock(&b->status_lock);
}

json_t *bind_migrating(struct bind *b)
{
    json_t *o = NULL;
    pthread_mutex_lock(&b->status_lock);
    if (b->migrating[0] != '\0')
        o = json_pack("{s:s,s:i}", "entity", b->migrating, "percent", b->migrating_percent);
    pthread_mutex_unlock(&b->status_lock);
    return o;
}

static void migrate_end(struct bind_migrate *m)
{
    migrate_show(m, "");
    json_decref(TAKE(m->batch.rows));
    json_decref(TAKE(m->made));
    entity_def_unref(m->to);
    m->to = NULL;
    m->done(m);
}

static void migrate_fail(struct bind_migrate *m, const struct err *e)
{
    m->err = *e;
    migrate_end(m);
}

static bool migrate_is_closing(struct bind_migrate *m)
{
    struct err e = ERR_INIT;
    if (!atomic_load(&m->thread->bind->closing))
        return false;
    err_set(&e, ERR_DRAINING, "this node is stopping; deploy again, it goes on where it was");
    migrate_fail(m, &e);
    return true;
}

static void migrate_waited(struct world_timer *t)
{
    struct bind_migrate *m =
        (struct bind_migrate *)((char *)t - offsetof(struct bind_migrate, wait));
    if (!migrate_is_closing(m))
        migrate_begin(m);
}

/* Indexes are being built, or the last migration is being announced: both end by themselves. */
static void migrate_wait(struct bind_migrate *m, const struct err *why)
{
    if (!m->waiting)
        log_info("script", "migrate %s waits: %s", m->to->name, why->text);
    m->waiting = true;
    m->wait.fire = migrate_waited;
    m->thread->world->timer_start(m->thread->world, &m->wait, MIGRATE_WAIT_MS);
}

static void migrate_committed(struct unit *u)
{
    struct bind_migrate *m = (struct bind_migrate *)u;
    struct err e = u->err;
    unit_fini(u);
    if (m->state == MIGRATE_HALT)
        migrate_end(m);
    else if (e.code == 0)
        migrate_next(m);
    else if (m->state == MIGRATE_BEGIN && e.code == ERR_UNAVAILABLE)
        migrate_wait(m, &e);
    else if (m->state == MIGRATE_MAKE &&
             (e.code == ERR_CONFLICT || e.code == ERR_INVALID || e.code == ERR_TOO_LARGE))
        migrate_halt(m, NULL, &e);
    else
        migrate_fail(m, &e);
}

static void migrate_unit(struct bind_migrate *m)
{
    const struct envelope env = {.principal = m->principal, .reason = "migrate"};
    unit_init(&m->unit, m->thread->runner, migrate_committed);
    txn_envelope(&m->unit.txn, &env);
}

static void migrate_propose(struct bind_migrate *m)
{
    struct err e = ERR_INIT;
    if (ledger_propose(m->thread->bind->ledger, &m->unit, &e) == 0)
        return;
    unit_fini(&m->unit);
    migrate_fail(m, &e);
}

/* ---- failures ---- */

/* `list` takes the place of the one failure that `e` is. The reference is taken. */
static void migrate_halt(struct bind_migrate *m, json_t *list, const struct err *e)
{
    if (list == NULL)
        list = json_pack("[{s:s}]", "error", e->text);
    const json_t *first = json_array_get(list, 0);
    const char *id = json_string_value(json_object_get(first, "id"));
    err_set(&m->err, ERR_CONFLICT,
            "entity '%s': migrate did not make a new record of each old one: %s%s%s; the "
            "definition stays as it was (koan entity indexes %s lists what failed)",
            m->to->name, id != NULL ? id : "", id != NULL ? ": " : "",
            json_string_value(json_object_get(first, "error")), m->to->name);
    AUTO(mem_freep) char *text = bind_json_text(list);
    json_decref(list);
    m->state = MIGRATE_HALT;
    migrate_unit(m);
    entity_txn_halt(&m->unit.txn, m->to->name, m->batch.gen, text);
    migrate_propose(m);
}

static void migrate_add_failure(json_t *list, const json_t *row, const char *text)
{
    if (json_array_size(list) < MIGRATE_FAILURES_MAX)
        json_array_append_new(list, json_pack("{s:O,s:s}", "id",
                                              json_object_get(json_object_get(row, "record"), "id"),
                                              "error", text));
}

/* ---- a batch ---- */

static int64_t migrate_number(const json_t *row, const char *key)
{
    return json_integer_value(json_object_get(row, key));
}

static int migrate_add(struct bind_migrate *m, struct buf *items, const json_t *row,
                       const json_t *record, struct err *e)
{
    int64_t rid = migrate_number(row, "rid");
    uint64_t version = (uint64_t)migrate_number(row, "version");
    return m->function == LUA_NOREF
               ? entity_migrate_add_plain(items, m->to, rid, version, record, e)
               : entity_migrate_add(items, m->to, rid, version, record, e);
}

/* How many were added; the others are for the next operation. */
static uint32_t migrate_pack(struct bind_migrate *m, struct buf *items, json_t *failures)
{
    size_t i;
    json_t *row;
    json_array_foreach(m->batch.rows, i, row)
    {
        const json_t *made = m->function == LUA_NOREF ? row : json_array_get(m->made, i);
        const json_t *record = json_object_get(made, "record");
        const char *why = json_string_value(json_object_get(made, "error"));
        struct err e = ERR_INIT;
        if (items->len > MIGRATE_ITEMS_FULL)
            break;
        if (record == NULL)
            migrate_add_failure(failures, row, why != NULL ? why : "migrate gave back nothing");
        else if (migrate_add(m, items, row, record, &e) != 0)
            migrate_add_failure(failures, row, e.text);
        if (!m->batch.again)
            m->batch.upto = migrate_number(row, "rid");
    }
    return (uint32_t)i;
}

static void migrate_made(struct bind_migrate *m)
{
    if (m->run.run.err.code != 0) {
        migrate_halt(m, NULL, &m->run.run.err);
        return;
    }
    AUTO(buf_fini) struct buf items = BUF_INIT(MIGRATE_ITEMS_MAX);
    json_t *failures = json_array();
    uint32_t count = migrate_pack(m, &items, failures);
    if (json_array_size(failures) > 0) {
        migrate_halt(m, failures, NULL);
        return;
    }
    json_decref(failures);
    m->again += m->batch.again;
    bool hold = m->batch.again && m->again > MIGRATE_AGAIN_MAX &&
                json_array_size(m->batch.rows) < ENTITY_HOLD_ROWS;
    migrate_unit(m);
    entity_txn_migrated(&m->unit.txn, m->to->name, &m->batch, hold, count, &items);
    migrate_propose(m);
}

static struct bind_migrate *migrate_of(struct vm_run *run)
{
    return (struct bind_migrate *)((char *)run - offsetof(struct bind_migrate, run));
}

static int migrate_push(lua_State *L, struct vm_run *run)
{
    struct bind_migrate *m = migrate_of(run);
    lua_rawgeti(L, LUA_REGISTRYINDEX, m->run.set->migrate_rows);
    lua_rawgeti(L, LUA_REGISTRYINDEX, m->function);
    vm_push_json(L, m->batch.rows, VM_PLAIN);
    return 2;
}

static void migrate_take(lua_State *L, struct vm_run *run, int first, int count)
{
    struct bind_migrate *m = migrate_of(run);
    struct err e = ERR_INIT;
    if (count > 0 && vm_to_json(L, first, &m->made, &e) != 0) {
        err_context(&e, "what migrate gave back");
        vm_raise(L, &e);
    }
}

static void migrate_ran(struct vm_run *run)
{
    migrate_made(migrate_of(run));
}

static void migrate_run(struct bind_migrate *m)
{
    if (m->function == LUA_NOREF) {
        migrate_made(m);
        return;
    }
    bind_run_init(&m->run, m->run.set, NULL);
    m->run.no_outside = "migrate makes a record of a record, with nothing from outside";
    m->run.run.limits.ns = MIGRATE_SECONDS * 1000000000ULL;
    m->run.run.push = migrate_push;
    m->run.run.take = migrate_take;
    m->run.run.done = migrate_ran;
    if (vm_start(m->run.set->vm, &m->run.run))
        migrate_made(m);
}

static void migrate_tell(struct bind_migrate *m)
{
    struct world *w = m->thread->world;
    uint64_t now = w->mono_ns(w) / 1000000;
    if (m->told_ms != 0 && now - m->told_ms < MIGRATE_TELL_MS)
        return;
    m->told_ms = now;
    log_info("script", "migrate %s: %d %% of the records", m->to->name, m->batch.percent);
}

static void migrate_next(struct bind_migrate *m)
{
    struct err e = ERR_INIT;
    m->state = MIGRATE_MAKE;
    json_decref(TAKE(m->batch.rows));
    json_decref(TAKE(m->made));
    if (migrate_is_closing(m))
        return;
    if (entity_migrate_next(m->thread->reader, m->to, &m->batch, &e) != 0) {
        migrate_fail(m, &e);
        return;
    }
    migrate_tell(m);
    migrate_show(m, m->to->name);
    if (json_array_size(m->batch.rows) == 0)
        migrate_end(m);
    else
        migrate_run(m);
}

static void migrate_begin(struct bind_migrate *m)
{
    migrate_show(m, m->to->name);
    migrate_unit(m);
    entity_txn_migrate(&m->unit.txn, m->to,
                       m->function == LUA_NOREF ? ENTITY_MADE_PLAIN : m->run.set->hash,
                       bind_keep_removed(m->thread));
    migrate_propose(m);
}

void bind_migrate_start(struct bind_migrate *m, struct bind_set *s, const struct bind_entity *en,
                        bool plain, bool resume)
{
    m->thread = s->thread;
    m->run.set = s;
    m->function = plain ? LUA_NOREF : en->migrate;
    m->run.run.err = (struct err)ERR_INIT;
    m->waiting = false;
    m->to = entity_def_ref(en->def);
    m->batch = (struct entity_batch){.rows = NULL};
    m->made = NULL;
    m->told_ms = 0;
    m->again = resume ? MIGRATE_AGAIN_MAX : 0;
    m->err = (struct err)ERR_INIT;
    m->state = MIGRATE_BEGIN;
    if (resume)
        migrate_next(m);
    else
        migrate_begin(m);
}
