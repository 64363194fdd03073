#include "bind/claim.h"

#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/time.h"
#include "bind/queue_lib.h"

enum {
    CLAIM_SLICE_MS = 100,  /* while it waits: is the run still wanted? */
    CLAIM_AGAIN_MS = 1000, /* after a renewal that failed for now, or a tenth of its time */
    CLAIMS_MAX = 64,       /* of one run */
    CLAIM_SPARE_MS = 50,   /* a wait ends so much before the run does */
};

enum claim_state { CLAIM_ASKING, CLAIM_HELD, CLAIM_OVER };

struct run_claim {
    struct list node; /* of the run's, while held */
    enum claim_state state;
    int refs; /* Lua's, the run's, one of each unit under way */
    struct bind_thread *thread;
    struct bind_run *run;
    struct coord_wait wait; /* the acquire */
    struct unit renewal, release;
    struct world_timer timer;
    bool renewing, lost;
    bool quiet; /* of the library's own: no condition, and nobody is told when it is lost */
    uint64_t sent_ns, until_ns; /* of the renewal under way; it is ours for certain */
    int64_t ttl_ms;
    uint64_t token;
    char name[COORD_KEY_BYTES + 1], id[COORD_ID_BYTES + 1];
    char tenant[TXN_ENVELOPE_TEXT_MAX + 1], owner[COORD_OWNER_BYTES + 1];
    struct err err;
};

static struct coord *coord_of(const struct run_claim *h)
{
    return h->thread->bind->coord;
}

static void claim_unref(struct run_claim *h)
{
    if (--h->refs == 0)
        mem_free(h);
}

static void claim_free(void *p)
{
    struct run_claim *h = p;
    ASSERT(h->state != CLAIM_ASKING);
    claim_unref(h);
}

struct coord_claim bind_claim_of(const struct run_claim *h)
{
    return (struct coord_claim){.name = h->name, .token = h->token, .id = h->id};
}

static uint64_t now_ns(const struct run_claim *h)
{
    return h->thread->world->mono_ns(h->thread->world);
}

/* ---- what a run has ---- */

uint32_t bind_claims_count(const struct bind_run *r)
{
    uint32_t n = 0;
    if (!r->has_claims)
        return 0;
    LIST_EACH(node, &r->claims)
    {
        n += !LIST_OF(node, struct run_claim, node)->quiet;
    }
    return n;
}

int bind_claims_compose(const struct bind_run *r, struct txn *t, struct err *e)
{
    if (!r->has_claims)
        return 0;
    LIST_EACH(node, &r->claims)
    {
        const struct run_claim *h = LIST_OF(node, struct run_claim, node);
        struct coord_claim c = bind_claim_of(h);
        if (!h->quiet && coord_txn_if_held(t, &c, e) != 0)
            return e->code;
    }
    return 0;
}

static void claim_lose(struct run_claim *h, const char *why)
{
    if (h->state != CLAIM_HELD || h->lost)
        return;
    h->lost = true;
    h->run->lost |= !h->quiet;
    h->thread->world->timer_stop(h->thread->world, &h->timer);
    log_warn("script", "lease '%s' under token %llu is lost: %s", h->name,
             (unsigned long long)h->token, why);
}

void bind_claims_fenced(struct bind_run *r, uint32_t nth)
{
    if (!r->has_claims)
        return;
    LIST_EACH(node, &r->claims)
    {
        struct run_claim *h = LIST_OF(node, struct run_claim, node);
        if (!h->quiet && nth-- == 0) {
            claim_lose(h, "a unit was fenced");
            return;
        }
    }
}

static const struct run_claim *first_lost(const struct bind_run *r)
{
    LIST_EACH(node, &r->claims)
    {
        const struct run_claim *h = LIST_OF(node, struct run_claim, node);
        if (h->lost && !h->quiet)
            return h;
    }
    return NULL;
}

bool bind_claims_lost(const struct bind_run *r)
{
    return r->lost && first_lost(r) != NULL;
}

static int raise_lost(lua_State *L, const struct run_claim *h)
{
    char words[COORD_KEY_BYTES + 120];
    snprintf(words, sizeof words, "'%s' is not held under token %llu any more", h->name,
             (unsigned long long)h->token);
    return vm_raise_code(L, BIND_LEASE_LOST, words);
}

void bind_claims_check(lua_State *L)
{
    const struct bind_run *r = bind_run_of(L);
    const struct run_claim *h = r != NULL && r->lost ? first_lost(r) : NULL;
    if (h != NULL)
        raise_lost(L, h);
}

static void claim_may_wait(lua_State *L, struct vm_run *run)
{
    (void)run;
    bind_claims_check(L);
}

/* ---- renewing ---- */

static void claim_arm(struct run_claim *h, uint64_t ms)
{
    h->thread->world->timer_start(h->thread->world, &h->timer, ms);
}

static void unit_begin(struct run_claim *h, struct unit *u, void (*done)(struct unit *u))
{
    unit_init(u, h->thread->runner, done);
    txn_envelope(&u->txn, &(struct envelope){.tenant = h->tenant, .principal = h->owner});
    u->txn.grows = false;
}

/* The thread does not end while its answer is to come. */
static int unit_send(struct run_claim *h, struct unit *u, struct err *e)
{
    int rc = ledger_propose(h->thread->bind->ledger, u, e);
    if (rc != 0) {
        unit_fini(u);
        return rc;
    }
    h->refs++;
    atomic_fetch_add(&h->thread->runs, 1);
    return 0;
}

static void unit_end(struct run_claim *h, struct unit *u)
{
    unit_fini(u);
    atomic_fetch_sub(&h->thread->runs, 1);
    claim_unref(h);
}

static void renew_again(struct run_claim *h, const struct err *e)
{
    uint64_t again = (uint64_t)h->ttl_ms / 10;
    if (now_ns(h) >= h->until_ns)
        claim_lose(h, e->text);
    else if (h->state == CLAIM_HELD)
        claim_arm(h, again < CLAIM_AGAIN_MS ? again : CLAIM_AGAIN_MS);
}

static void renew_done(struct unit *u)
{
    struct run_claim *h = LIST_OF(u, struct run_claim, renewal);
    h->renewing = false;
    if (h->state == CLAIM_HELD && u->err.code == 0) {
        h->until_ns = h->sent_ns + (uint64_t)h->ttl_ms * 1000000;
        claim_arm(h, (uint64_t)h->ttl_ms / 3);
    } else if (h->state == CLAIM_HELD && u->err.code == ERR_FENCED) {
        claim_lose(h, u->err.text);
    } else if (h->state == CLAIM_HELD) {
        renew_again(h, &u->err);
    }
    unit_end(h, u);
}

static void renew(struct run_claim *h)
{
    struct err e = ERR_INIT;
    struct coord_claim c = bind_claim_of(h);
    ASSERT(!h->renewing);
    unit_begin(h, &h->renewal, renew_done);
    h->sent_ns = now_ns(h);
    if (coord_txn_renew(&h->renewal.txn, &c, 0, &e) != 0)
        unit_fini(&h->renewal);
    else if (unit_send(h, &h->renewal, &e) == 0)
        h->renewing = true;
    if (!h->renewing)
        renew_again(h, &e);
}

/* ---- asking ---- */

static void claim_fire(struct world_timer *t)
{
    struct run_claim *h = LIST_OF(t, struct run_claim, timer);
    if (h->state == CLAIM_HELD) {
        renew(h);
        return;
    }
    if (h->run->run.killed)
        coord_give_up(&h->wait);
    claim_arm(h, CLAIM_SLICE_MS);
}

static void claim_granted(struct run_claim *h)
{
    struct bind_run *r = h->run;
    h->state = CLAIM_HELD;
    h->token = h->wait.grant.token;
    h->until_ns = now_ns(h) + (uint64_t)h->ttl_ms * 1000000;
    h->refs++;
    if (!r->has_claims)
        list_init(&r->claims);
    r->has_claims = true;
    r->run.may_wait = claim_may_wait;
    list_push(&r->claims, &h->node);
    claim_arm(h, (uint64_t)h->ttl_ms / 3);
}

static void claim_answered(struct coord_wait *w)
{
    struct run_claim *h = LIST_OF(w, struct run_claim, wait);
    h->thread->world->timer_stop(h->thread->world, &h->timer);
    h->state = CLAIM_OVER;
    h->err = w->err;
    if (w->err.code == 0)
        claim_granted(h);
    coord_wait_fini(w);
    vm_resume(&h->run->run);
}

static int claim_k(lua_State *L, int status, lua_KContext ctx)
{
    (void)status;
    struct run_claim *h = (struct run_claim *)ctx;
    if (h->err.code != 0) {
        coord_say_holder(h->thread->reader, h->tenant, h->name, NULL, &h->err);
        return vm_raise(L, &h->err);
    }
    lua_pushinteger(L, (lua_Integer)h->token);
    return 2; /* the guard stands below it */
}

struct asked {
    struct coord_ask ask;
    json_t *options;
    struct buf *meta;
};

static int asked_read(struct asked *k, int64_t most_ms, struct err *e)
{
    static const char *const names[] = {"ttl", "wait", "meta", "owner"};
    const json_t *o = k->options, *meta = json_object_get(o, "meta");
    if (o != NULL && !json_is_object(o))
        return err_set(e, ERR_INVALID, "options are a table like { ttl = \"1m\", wait = \"10s\" }");
    if (o != NULL && json_only_keys(o, k->ask.name, names, ARRAY_LEN(names), e) != 0)
        return e->code;
    if (o != NULL && (bind_duration_read(o, "ttl", &k->ask.ttl_ms, e) != 0 ||
                      bind_duration_read(o, "wait", &k->ask.wait_ms, e) != 0 ||
                      json_get_string(o, "owner", &k->ask.owner, e) == ERR_INVALID))
        return e->code;
    err_clear(e);
    if (k->ask.wait_ms < 0 || k->ask.wait_ms > COORD_WAIT_MAX_MS)
        return err_field(e, ERR_INVALID, "wait", "wait: at most %ds", COORD_WAIT_MAX_MS / 1000);
    if (json_object_get(o, "ttl") != NULL && k->ask.ttl_ms < COORD_TTL_MIN_MS)
        return err_field(e, ERR_INVALID, "ttl", "ttl: 1s to 24h");
    if (meta != NULL && json_print(meta, k->meta, e) != 0)
        return err_field(e, ERR_TOO_LARGE, "meta", "meta: at most %d KiB as JSON",
                         COORD_META_BYTES >> 10);
    if (meta != NULL)
        k->ask.meta = buf_str(k->meta);
    if (most_ms >= 0 && k->ask.wait_ms > most_ms)
        k->ask.wait_ms = most_ms;
    return 0;
}

/* Before the run is over: then nobody could hear of it. */
static int64_t wait_most(const struct bind_run *r, struct world *w)
{
    uint64_t now = w->mono_ns(w);
    if (r->until_ns == 0)
        return -1;
    int64_t left = r->until_ns > now ? (int64_t)((r->until_ns - now) / 1000000) : 0;
    return left > CLAIM_SPARE_MS ? left - CLAIM_SPARE_MS : 0;
}

static int claim_start(struct run_claim *h, const struct asked *k, const struct bind_run *r,
                       struct err *e)
{
    struct envelope env = *r->env;
    if (bind_claims_count(r) >= CLAIMS_MAX)
        return err_set(e, ERR_TOO_LARGE, "one run holds at most %d leases at once", CLAIMS_MAX);
    coord_wait_init(&h->wait, h->thread->runner, claim_answered);
    txn_envelope(&h->wait.unit.txn, &env);
    int rc = coord_wait_ask(&h->wait, &k->ask, e);
    if (rc == 0)
        rc = coord_acquire(coord_of(h), &h->wait, e);
    if (rc != 0)
        coord_wait_fini(&h->wait);
    return rc;
}

static struct run_claim *claim_new(struct bind_thread *t, struct bind_run *r, const char *name)
{
    struct run_claim *h = mem_new(sizeof *h);
    struct uuid id;
    h->state = CLAIM_OVER;
    h->refs = 1;
    h->thread = t;
    h->run = r;
    h->timer.fire = claim_fire;
    list_init(&h->node);
    t->ids.ids.make(&t->ids.ids, &id);
    uuid_format(&id, h->id);
    str_copy(h->name, sizeof h->name, name);
    str_copy(h->tenant, sizeof h->tenant, r->env->tenant != NULL ? r->env->tenant : "default");
    str_copy(h->owner, sizeof h->owner,
             r->env->principal != NULL ? r->env->principal : TXN_PRINCIPAL);
    return h;
}

/* host.hold(name, form, n, options, wait_ms, quiet) -> claim, token; form "lease" "semaphore"
 * "read" "write", wait_ms where the options say none */
static int host_hold(lua_State *L)
{
    struct err e = ERR_INIT;
    struct bind_thread *t = bind_set_of(L)->thread;
    lua_settop(L, 6);
    bind_may_write(L, "a lease");
    const char *name = luaL_checkstring(L, 1), *form = luaL_checkstring(L, 2);
    struct bind_run *r = bind_run_of(L);
    struct asked k = {.ask = {.name = name, .n = (uint32_t)luaL_checkinteger(L, 3)}};
    k.ask.form = strcmp(form, "lease") == 0       ? COORD_LEASE
                 : strcmp(form, "semaphore") == 0 ? COORD_SEMAPHORE
                                                  : COORD_RW;
    k.ask.exclusive = strcmp(form, "write") == 0;
    k.ask.wait_ms = luaL_checkinteger(L, 5);
    k.options = bind_check_json(L, 4, "options");
    k.meta = bind_push_buf(L, COORD_META_BYTES + 1);
    struct vm_guard *g = vm_guard_push(L, claim_free);
    struct run_claim *h = claim_new(t, r, name);
    g->p = h;
    h->quiet = lua_toboolean(L, 6);
    k.ask.id = h->id;
    k.ask.owner = h->owner;
    if (coord_of(h) == NULL)
        err_set(&e, ERR_UNSUPPORTED, "coordination is not running here");
    else if (!bind_is_cut(t, &e) && asked_read(&k, wait_most(r, t->world), &e) == 0 &&
             claim_start(h, &k, r, &e) == 0) {
        h->ttl_ms = k.ask.ttl_ms > 0 ? k.ask.ttl_ms : COORD_TTL_MS;
        h->state = CLAIM_ASKING;
        claim_arm(h, CLAIM_SLICE_MS);
        return vm_await(L, (intptr_t)h, claim_k);
    }
    err_context(&e, "%s '%.80s'", form, name);
    return vm_raise(L, &e);
}

/* ---- giving back ---- */

struct run_claim *bind_check_claim(lua_State *L, int at)
{
    struct vm_guard *g = lua_touserdata(L, at);
    if (g == NULL || g->free != claim_free)
        luaL_error(L, "not a lease");
    return g->p;
}

/* The run does not have it any more; the run's reference goes. */
static void claim_over(struct run_claim *h)
{
    h->thread->world->timer_stop(h->thread->world, &h->timer);
    list_remove(&h->node);
    h->state = CLAIM_OVER;
    claim_unref(h);
}

static void release_done(struct unit *u)
{
    struct run_claim *h = LIST_OF(u, struct run_claim, release);
    struct vm_run *run = &h->run->run;
    h->err = u->err;
    if (h->err.code != 0 && h->err.code != ERR_FENCED)
        coord_give_back(coord_of(h), h->name, h->id);
    unit_end(h, u);
    vm_resume(run);
}

/* -> whether it was held to the end */
static int release_k(lua_State *L, int status, lua_KContext ctx)
{
    (void)status;
    const struct run_claim *h = (const struct run_claim *)ctx;
    lua_pushboolean(L, h->err.code != ERR_FENCED);
    return 1;
}

/* host.hold_end(claim) -> whether it was held to the end; waits until it is given back */
static int host_hold_end(lua_State *L)
{
    struct err e = ERR_INIT;
    struct run_claim *h = bind_check_claim(L, 1);
    lua_settop(L, 1);
    if (h->state != CLAIM_HELD || h->lost) {
        if (h->state == CLAIM_HELD) {
            coord_give_back(coord_of(h), h->name, h->id); /* renewals that nobody answered */
            claim_over(h);
        }
        lua_pushboolean(L, !h->lost);
        return 1;
    }
    claim_over(h); /* Lua has it still */
    struct coord_claim c = bind_claim_of(h);
    unit_begin(h, &h->release, release_done);
    if (coord_txn_release(&h->release.txn, &c, &e) != 0)
        unit_fini(&h->release);
    else if (vm_can_await(L) && unit_send(h, &h->release, &e) == 0)
        return vm_await(L, (intptr_t)h, release_k);
    coord_give_back(coord_of(h), h->name, h->id);
    lua_pushboolean(L, true);
    return 1;
}

/* host.hold_done(claim): a unit has given it back */
static int host_hold_done(lua_State *L)
{
    struct run_claim *h = bind_check_claim(L, 1);
    if (h->state == CLAIM_HELD)
        claim_over(h);
    return 0;
}

/* host.hold_lost(claim): raises as the run would be told */
static int host_hold_lost(lua_State *L)
{
    return raise_lost(L, bind_check_claim(L, 1));
}

void bind_claims_over(struct bind_run *r)
{
    while (r->has_claims && !list_is_empty(&r->claims)) {
        struct run_claim *h = LIST_OF(r->claims.next, struct run_claim, node);
        coord_give_back(coord_of(h), h->name, h->id);
        claim_over(h);
    }
}

void bind_open_claim(lua_State *L)
{
    static const luaL_Reg fns[] = {{"hold", host_hold},
                                   {"hold_end", host_hold_end},
                                   {"hold_done", host_hold_done},
                                   {"hold_lost", host_hold_lost},
                                   {NULL, NULL}};
    luaL_setfuncs(L, fns, 0);
}
