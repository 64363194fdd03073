/* Writing records: one atomic entity_write for whatever a script saves at once, the coroutine
 * waits until it is committed.
 *
 * The write lives in a userdata that the waiting coroutine holds on its stack, so it is there
 * until done() has come, and gone when the coroutine goes on. */
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "bind/bind_priv.h"
#include "bind/coord_lib.h"
#include "bind/grants.h"
#include "bind/claim.h"
#include "bind/job_lib.h"
#include "bind/queue_lib.h"
#include "bus/bus.h"
#include "entity/expand.h"

struct condition {
    struct entity_def *def;
    char id[ENTITY_NAME_MAX + ENTITY_ID_MAX + 2]; /* with the partition in front */
    uint64_t version;                             /* 0: absent */
};

struct write {
    struct entity_write w; /* first */
    struct vm_run *run;
    struct entity_item *items;
    struct condition *conditions;
    size_t conditions_count;
    struct entity_def **defs; /* of the items */
    size_t sends;             /* messages in the list at SENDS */
    const struct bind_message **messages;
    size_t coord_conditions_count, coord_count; /* in the lists at 5 and 6 */
    const struct coord_op **coord_conditions, **coord;
    size_t jobs_count; /* in the list at 7 */
    const struct bind_job_op **jobs;
    struct job_end end;                  /* of the run, where the unit settles one */
    struct bind_grants held;             /* the deliveries that are worked */
    const struct bind_outcome *outcomes; /* how the unit settles them; NULL: it does not */
    uint32_t claims;                     /* conditions of leases, behind those */
    bool finished;
};

static void write_free(void *p)
{
    struct write *op = p;
    entity_write_fini(&op->w);
    for (size_t i = 0; i < op->w.count; i++) {
        entity_item_fini(&op->items[i]);
        entity_def_unref(op->defs[i]);
    }
    for (size_t i = 0; i < op->conditions_count; i++)
        entity_def_unref(op->conditions[i].def);
    mem_free(op->items);
    mem_free(op->defs);
    mem_free(op->conditions);
    mem_free(op->messages);
    mem_free(op->coord_conditions);
    mem_free(op->coord);
    mem_free(op->jobs);
    mem_free(op);
}

static int write_compose_jobs(struct write *op, bool first, struct txn *t, struct err *e)
{
    for (size_t i = 0; i < op->jobs_count; i++)
        if (bind_job_compose(op->jobs[i], (struct bind_run *)op->run, first, t, e) != 0)
            return e->code;
    return 0;
}

static int write_compose_rest(struct write *op, struct txn *t, struct err *e)
{
    if (write_compose_jobs(op, true, t, e) != 0)
        return e->code;
    for (size_t i = 0; i < op->sends; i++)
        if (bind_message_compose(op->messages[i], t, e) != 0)
            return e->code;
    for (size_t i = 0; i < op->coord_count; i++)
        if (bind_coord_compose(op->coord[i], t, e) != 0)
            return e->code;
    if (write_compose_jobs(op, false, t, e) != 0)
        return e->code;
    if (op->outcomes == NULL)
        return 0;
    struct bind_run *run = (struct bind_run *)op->run;
    return run->job != NULL
               ? bind_job_settle(&op->end, run->set->thread, op->held.list, op->outcomes, t, e)
               : bind_grants_compose(op->held, op->outcomes, t, e);
}

/* Of all that is published one condition for each revision of the routes; how many. */
static uint32_t compose_routes(const struct write *op, struct txn *t)
{
    const struct bus_route *last = NULL;
    uint32_t count = 0;
    for (size_t i = 0; i < op->sends; i++) {
        const struct bus_route *r = bind_message_route(op->messages[i]);
        if (r == NULL || (last != NULL && bus_route_revision(r) == bus_route_revision(last)))
            continue;
        if (t != NULL)
            bus_txn_routes(t, r);
        last = r;
        count++;
    }
    return count;
}

static int write_compose(struct entity_write *w, struct txn *t, bool before, struct err *e)
{
    struct write *op = (struct write *)w;
    if (before) {
        bind_grants_conditions(op->held, t);
        op->claims = bind_claims_count((struct bind_run *)op->run);
        if (bind_claims_compose((struct bind_run *)op->run, t, e) != 0)
            return e->code;
        compose_routes(op, t);
    }
    for (size_t i = 0; before && i < op->conditions_count; i++) {
        struct condition *c = &op->conditions[i];
        if (c->version != 0)
            entity_txn_if_version(t, c->def, c->id, c->version);
        else
            entity_txn_if_absent(t, c->def, c->id);
    }
    for (size_t i = 0; before && i < op->coord_conditions_count; i++)
        if (bind_coord_compose(op->coord_conditions[i], t, e) != 0)
            return e->code;
    return before ? 0 : write_compose_rest(op, t, e);
}

/* The end of a run was worked out from rows that have changed meanwhile. */
static bool write_again(struct entity_write *w, const struct unit *u)
{
    const struct write *op = (const struct write *)w;
    return op->end.has_row && job_end_is_stale(u, &op->end);
}

static void write_published(const struct write *op)
{
    for (size_t i = 0; i < op->sends; i++)
        if (bind_message_route(op->messages[i]) != NULL)
            bus_published(bind_message_route(op->messages[i]), 1);
}

static void write_done(struct entity_write *w)
{
    struct write *op = (struct write *)w;
    uint32_t first = (uint32_t)op->held.count;
    op->finished = true;
    if (w->err.code == 0)
        write_published(op);
    if (w->unit != NULL)
        ((struct bind_run *)op->run)->end_waits = job_end_waits(w->unit, &op->end);
    if (w->err.code == ERR_FENCED && w->unit != NULL && w->unit->failed_op >= (int)first)
        bind_claims_fenced((struct bind_run *)op->run, (uint32_t)w->unit->failed_op - first);
    vm_resume(op->run); /* op is gone when the coroutine has gone on */
}

/* ---- from tables ---- */

static const char *text_of(lua_State *L, int at, const char *key)
{
    lua_getfield(L, at, key);
    const char *s = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : NULL;
    lua_pop(L, 1); /* the table keeps it */
    return s;
}

static void copy_id(lua_State *L, char out[ENTITY_ID_MAX + 1], const char *id)
{
    size_t n = id != NULL ? strlen(id) : 0;
    if (n > ENTITY_ID_MAX) {
        struct err e;
        err_field(&e, ERR_INVALID, "id", "an id has at most %d bytes", ENTITY_ID_MAX);
        vm_raise(L, &e);
    }
    memcpy(out, id != NULL ? id : "", n + 1);
}

static struct entity_def *find_def(lua_State *L, int at)
{
    const char *name = text_of(L, at, "entity");
    bind_scope(L, name != NULL ? name : "?"); /* a wrong partition is refused, not cut short */
    lua_pop(L, 1);
    struct entity_def *d = bind_check_entity(L, name != NULL ? name : "?");
    bind_take(L, -1);
    lua_pop(L, 1);
    return d;
}

/* What the system keeps, or put beside the record, is not what a script says. */
static void strip_system(json_t *doc)
{
    static const char *const system[] = {"version",    "created_at", "updated_at",
                                         "created_by", "updated_by", ENTITY_WITH_MEMBER};
    for (size_t i = 0; i < ARRAY_LEN(system); i++)
        json_object_del(doc, system[i]);
}

static void read_doc(lua_State *L, int at, struct entity_item *it)
{
    lua_getfield(L, at, "doc");
    if (lua_isnil(L, -1)) {
        lua_pop(L, 1);
        return;
    }
    bind_check_json(L, -1, it->def->name);
    it->doc = bind_take(L, -1);
    lua_pop(L, 2);
    if (it->verb == ENTITY_SAVE) {
        strip_system(it->doc);
        if (it->id[0] != '\0')
            json_object_del(it->doc, "id");
    }
    if (it->verb == ENTITY_PATCH && json_is_array(it->doc))
        it->patch_kind = ENTITY_PATCH_JSON;
}

static void read_item(lua_State *L, int at, struct entity_item *it)
{
    const char *verb = text_of(L, at, "verb");
    it->verb = strcmp(verb, "save") == 0     ? ENTITY_SAVE
               : strcmp(verb, "patch") == 0  ? ENTITY_PATCH
               : strcmp(verb, "remove") == 0 ? ENTITY_REMOVE
               : strcmp(verb, "purge") == 0  ? ENTITY_PURGE
                                             : ENTITY_RESTORE;
    copy_id(L, it->id, text_of(L, at, "id"));
    str_copy(it->partition, sizeof it->partition, bind_partition(text_of(L, at, "entity")));
    const char *mode = text_of(L, at, "mode");
    it->mode = mode != NULL && strcmp(mode, "create") == 0 ? ENTITY_CREATE : ENTITY_UPSERT;
    lua_getfield(L, at, "if_version");
    it->if_version = (uint64_t)lua_tointeger(L, -1);
    /* What the record was when it was read. */
    lua_getfield(L, at, "version");
    if (it->if_version == 0 && it->def->require_version)
        it->if_version = (uint64_t)lua_tointeger(L, -1);
    lua_pop(L, 2);
    read_doc(L, at, it);
}

static size_t check_count(lua_State *L, int at, const char *what)
{
    size_t n = lua_istable(L, at) ? lua_rawlen(L, at) : 0;
    if (n > BIND_TX_WRITES_MAX) {
        struct err e;
        err_set(&e, ERR_TOO_LARGE, "%zu %s in one unit; at most %d", n, what, BIND_TX_WRITES_MAX);
        vm_raise(L, &e);
    }
    return n;
}

static void read_items(lua_State *L, struct write *op, size_t n)
{
    op->items = mem_new_array(n + 1, sizeof *op->items);
    op->defs = mem_new_array(n + 1, sizeof(struct entity_def *));
    op->w.items = op->items;
    for (size_t i = 0; i < n; i++) {
        lua_rawgeti(L, 1, (lua_Integer)i + 1);
        int at = lua_gettop(L);
        op->w.count = i + 1;
        op->defs[i] = find_def(L, at);
        op->items[i].def = op->defs[i];
        read_item(L, at, &op->items[i]);
        lua_settop(L, at - 1);
    }
}

static void read_conditions(lua_State *L, struct write *op, size_t n)
{
    op->conditions = mem_new_array(n + 1, sizeof *op->conditions);
    for (size_t i = 0; i < n; i++) {
        lua_rawgeti(L, 2, (lua_Integer)i + 1);
        int at = lua_gettop(L);
        struct condition *c = &op->conditions[i];
        op->conditions_count = i + 1;
        c->def = find_def(L, at);
        const char *part = bind_partition(text_of(L, at, "entity"));
        size_t front = *part != '\0' ? (size_t)snprintf(c->id, ENTITY_NAME_MAX + 2, "%.*s/",
                                                        ENTITY_NAME_MAX, part)
                                     : 0;
        copy_id(L, c->id + front, text_of(L, at, "id"));
        lua_getfield(L, at, "version");
        c->version = (uint64_t)lua_tointeger(L, -1);
        lua_settop(L, at - 1);
    }
}

/* The messages themselves belong to the list, which stays on the stack. */
static void read_sends(lua_State *L, struct write *op, size_t n)
{
    op->messages = mem_new_array(n + 1, sizeof(struct bind_message *));
    for (size_t i = 0; i < n; i++) {
        lua_rawgeti(L, 3, (lua_Integer)i + 1);
        op->messages[i] = bind_check_message(L, -1);
        op->sends = i + 1;
        lua_pop(L, 1);
    }
}

/* As read_sends. */
static const struct coord_op **read_coord(lua_State *L, int at, size_t n)
{
    const struct coord_op **ops = mem_new_array(n + 1, sizeof(struct coord_op *));
    for (size_t i = 0; i < n; i++) {
        lua_rawgeti(L, at, (lua_Integer)i + 1);
        ops[i] = bind_check_coord(L, -1);
        lua_pop(L, 1);
    }
    return ops;
}

/* ---- the result ---- */

/* The item at fault says more than the unit. */
static const struct err *write_error(const struct write *op)
{
    for (size_t i = 0; i < op->w.count; i++)
        if (op->items[i].err.code != 0 && op->items[i].err.code != ERR_CANCELED)
            return &op->items[i].err;
    return op->w.err.code != 0 ? &op->w.err : NULL;
}

static void push_result(lua_State *L, const struct entity_item *it)
{
    lua_createtable(L, 0, 3);
    lua_pushstring(L, it->id);
    lua_setfield(L, -2, "id");
    lua_pushstring(L, entity_outcome_name(it->result.outcome));
    lua_setfield(L, -2, "outcome");
    lua_pushinteger(L, (lua_Integer)it->result.version);
    lua_setfield(L, -2, "version");
}

static uint32_t conditions_of(const struct write *op)
{
    return (uint32_t)(op->conditions_count + op->coord_conditions_count + op->held.count) +
           compose_routes(op, NULL) + op->claims;
}

/* What became of the first message: of a lone one it is the answer to its send. */
static void push_sent(lua_State *L, const struct write *op)
{
    struct cursor c;
    struct core_sent sent;
    char id[UUID_TEXT];
    if (op->w.unit == NULL || op->w.count > 0 || bind_message_route(op->messages[0]) != NULL ||
        !unit_result(op->w.unit, conditions_of(op), &c)) {
        lua_pushnil(L);
        return;
    }
    queue_sent_read(&c, &sent);
    uuid_format(&sent.id, id);
    lua_createtable(L, 0, 5);
    lua_pushstring(L, id);
    lua_setfield(L, -2, "id");
    lua_pushboolean(L, sent.duplicate);
    lua_setfield(L, -2, "duplicate");
    lua_pushboolean(L, sent.merged);
    lua_setfield(L, -2, "merged");
    lua_pushinteger(L, (lua_Integer)sent.depth);
    lua_setfield(L, -2, "depth");
    lua_pushnumber(L, (lua_Number)sent.oldest_age_ms / 1000);
    lua_setfield(L, -2, "oldest_age_seconds");
}

/* Records have other fields. */
static bool is_unknown_queue(const struct write *op, const struct err *e)
{
    return op->sends > 0 && e->code == ERR_NOT_FOUND && strcmp(e->field, "queue") == 0;
}

static int write_k(lua_State *L, int status, lua_KContext ctx)
{
    (void)status;
    struct write *op = (struct write *)ctx;
    const struct err *failed = write_error(op);
    if (failed != NULL)
        return is_unknown_queue(op, failed) ? vm_raise_fault(L, failed) : vm_raise(L, failed);
    lua_createtable(L, (int)op->w.count, 0);
    for (size_t i = 0; i < op->w.count; i++) {
        push_result(L, &op->items[i]);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    if (op->sends > 0)
        push_sent(L, op);
    else if (op->coord_count > 0 && op->w.count == 0)
        bind_coord_result(L, op->coord[0], op->w.unit, conditions_of(op));
    else
        return 1;
    return 2;
}

/* What a hook or a stage saved would stay though what it judges is refused. */
void bind_may_write(lua_State *L, const char *what)
{
    vm_may_await(L, what);
    const char *why = bind_run_of(L)->no_writes;
    if (why == NULL)
        return;
    struct err e;
    err_set(&e, ERR_UNSUPPORTED, "%s: %s", what, why);
    vm_raise(L, &e);
}

static const struct bind_job_op **read_jobs(lua_State *L, int at, size_t n)
{
    const struct bind_job_op **ops = mem_new_array(n + 1, sizeof(struct bind_job_op *));
    for (size_t i = 0; i < n; i++) {
        lua_rawgeti(L, at, (lua_Integer)i + 1);
        ops[i] = bind_check_job_op(L, -1);
        lua_pop(L, 1);
    }
    return ops;
}

/* host.write(items, conditions, messages, outcomes, coord_conditions, coord, jobs) -> results, of a
 * lone message or change of coord what became of it; all or nothing. Outcomes: see held.h. */
static int host_write(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    bind_may_write(L, "writing");
    size_t n = check_count(L, 1, "writes"), conditions = check_count(L, 2, "reads"),
           sends = check_count(L, 3, "sends"), ifs = check_count(L, 5, "reads of kv and counters"),
           coord = check_count(L, 6, "changes of kv and counters"),
           jobs = check_count(L, 7, "operations of a run");
    lua_settop(L, 7);
    bind_run_of(L)->end_waits = false;
    struct bind_grants held = bind_run_of(L)->held;
    const struct bind_outcome *outcomes = bind_check_outcomes(L, 4, held);
    struct bind_thread *t = bind_set_of(L)->thread;
    struct vm_guard *g = vm_guard_push(L, write_free);
    struct write *op = mem_new(sizeof *op);
    g->p = op;
    op->run = vm_run_of(L);
    op->held = held;
    op->outcomes = outcomes;
    op->w = (struct entity_write){.ledger = t->bind->ledger,
                                  .reader = t->reader,
                                  .hooks = &t->bind->hooks.hooks,
                                  .ids = &t->ids.ids,
                                  .home = t->runner,
                                  .env = *bind_env(L),
                                  .atomic = true,
                                  .compose = write_compose,
                                  .again = write_again,
                                  .done = write_done};
    read_items(L, op, n);
    read_conditions(L, op, conditions);
    read_sends(L, op, sends);
    op->coord_conditions = read_coord(L, 5, ifs);
    op->coord_conditions_count = ifs;
    op->coord = read_coord(L, 6, coord);
    op->coord_count = coord;
    op->jobs = read_jobs(L, 7, jobs);
    op->jobs_count = jobs;
    struct err e = ERR_INIT;
    if (entity_write_start(&op->w, &e) != 0) {
        const struct err *item = write_error(op);
        return vm_raise(L, item != NULL ? item : &e);
    }
    return vm_await(L, (intptr_t)op, write_k);
}

void bind_open_write(lua_State *L)
{
    static const luaL_Reg fns[] = {{"write", host_write}, {NULL, NULL}};
    luaL_setfuncs(L, fns, 0);
}
