/* Deploying a set: all or nothing.
 *
 *   LOAD    every script thread loads the set beside the live one
 *   MIGRATE the records of entities that take less than before go through `migrate`
 *   ASK     what the queues are like now
 *   DEFINE  one unit with the definitions that have changed
 *   SWITCH  every thread takes the new set; the old one goes when its last run has ended
 *   DROP    after a failure, or a check: every thread forgets the new set
 *
 * The op lives on script thread 0; the steps of other threads are tasks that come back to it. */
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "bind/bind_priv.h"
#include "bind/bus_lib.h"
#include "bind/job_deploy.h"
#include "bind/job_lib.h"
#include "bind/migrate.h"
#include "bind/queue_deploy.h"
#include "bind/queue_lib.h"
#include "bind/script_store.h"
#include "entity/kept.h"

enum { DEPLOY_TRIES = 20 };

enum deploy_state {
    DEPLOY_LOAD,
    DEPLOY_MIGRATE,
    DEPLOY_ASK,
    DEPLOY_DEFINE,
    DEPLOY_SWITCH,
    DEPLOY_DROP
};

struct part {
    struct task task;
    struct deploy *op;
    struct bind_thread *thread;
    struct bind_set *set;
    struct err err;
};

struct deploy {
    struct unit unit; /* first */
    struct bind *bind;
    struct bind_deploy *d;
    enum deploy_state state;
    int left; /* parts that have not come back */
    struct bind_queues_change queues;
    struct bind_migrate migrate;
    size_t migrating;                /* the entity of the set that it is at */
    int tries;                       /* adopting what was migrated */
    int64_t gens[BIND_ENTITIES_MAX]; /* of the entities that were migrated; 0: not */
    struct part parts[];
};

/* Belongs to thread 0. */
struct bind_deploys {
    struct deploy *now;
    struct task *first, *last; /* of bind_deploys that wait; linked by task.next */
};

static void deploy_step(struct deploy *op);

/* ---- parts ---- */

static void part_back(struct task *task)
{
    struct part *p = (struct part *)task;
    if (--p->op->left == 0)
        deploy_step(p->op);
}

static void part_return(struct part *p)
{
    p->task.run = part_back;
    runner_post(p->op->bind->threads[0].runner, &p->task);
}

static void part_load(struct task *task)
{
    struct part *p = (struct part *)task;
    bind_set_new(p->thread, p->op->d->files, p->op->d->count, &p->set, &p->err);
    p->thread->next = p->set;
    part_return(p);
}

static void part_switch(struct task *task)
{
    struct part *p = (struct part *)task;
    struct bind_set *old = p->thread->set;
    p->thread->set = TAKE(p->set);
    p->thread->next = NULL;
    bind_set_drop(old);
    if (p->thread->engine != NULL)
        canon_engine_start(p->thread->engine);
    part_return(p);
}

static void part_drop(struct task *task)
{
    struct part *p = (struct part *)task;
    p->thread->next = NULL;
    bind_set_drop(TAKE(p->set));
    part_return(p);
}

static void deploy_everywhere(struct deploy *op, enum deploy_state state,
                              void (*run)(struct task *))
{
    op->state = state;
    op->left = op->bind->threads_count;
    for (int i = 0; i < op->bind->threads_count; i++) {
        op->parts[i].task.run = run;
        runner_post(op->parts[i].thread->runner, &op->parts[i].task);
    }
}

/* ---- the definitions ---- */

static bool sets_agree(const struct bind_set *a, const struct bind_set *b, const char **what)
{
    *what = "a declaration";
    if (a->entities_count != b->entities_count || a->canons_count != b->canons_count)
        return false;
    for (size_t i = 0; i < a->entities_count; i++) {
        *what = a->entities[i].def->name;
        if (strcmp(a->entities[i].def->json, b->entities[i].def->json) != 0)
            return false;
    }
    for (size_t i = 0; i < a->canons_count; i++) {
        *what = a->canons[i].name;
        if (strcmp(a->canons[i].text, b->canons[i].text) != 0)
            return false;
    }
    return true;
}

static int check_parts(struct deploy *op, struct err *e)
{
    for (int i = 0; i < op->bind->threads_count; i++)
        if (op->parts[i].err.code != 0) {
            *e = op->parts[i].err;
            return e->code;
        }
    for (int i = 1; i < op->bind->threads_count; i++) {
        const char *what;
        if (!sets_agree(op->parts[0].set, op->parts[i].set, &what))
            return err_set(e, ERR_INVALID,
                           "'%s' comes out differently each time the scripts load: declarations "
                           "may not depend on time or chance",
                           what);
    }
    return 0;
}

/* Nothing is to be done for it. Who deploys what is in force gives up a migration away from it; a
 * start, which records no set, only finds what is there. */
static bool entity_is_defined(const struct deploy *op, const struct entity_def *d)
{
    AUTO(entity_def_unrefp) struct entity_def *had = entities_find(op->bind->entities, d->name);
    return had != NULL && strcmp(had->json, d->json) == 0 &&
           (op->d->record == NULL || !entity_def_is_migrating(had));
}

static int add_canon(struct deploy *op, const struct bind_canon *c, struct err *e)
{
    struct bind *b = op->bind;
    if (b->canon == NULL)
        return err_set(e, ERR_UNSUPPORTED, "canon '%s': canon is not running here", c->name);
    const struct bind_entity *own = bind_set_entity(op->parts[0].set, c->name);
    AUTO(entity_def_unrefp)
    struct entity_def *d =
        own != NULL ? entity_def_ref(own->def) : entities_find(b->entities, c->name);
    if (d == NULL)
        return err_set(e, ERR_INVALID, "canon '%s' stands on entity '%s': declare it too", c->name,
                       c->name);
    return canon_txn_define(b->canon, &op->unit.txn, c->model, d, e);
}

/* It is there, and these scripts are to be all there is, but they do not declare it. What a canon
 * model stands on stays, as models do. */
static bool entity_retires(struct deploy *op, const char *name)
{
    if (!op->d->whole || bind_set_entity(op->parts[0].set, name) != NULL ||
        bind_set_canon(op->parts[0].set, name) != NULL)
        return false;
    struct canon_model *m = op->bind->canon != NULL ? canon_find(op->bind->canon, name) : NULL;
    canon_model_unref(m);
    return m == NULL;
}

/* A misspelt target would only show when the first record is saved. */
static int check_refs(struct deploy *op, const struct entity_def *d, struct err *e)
{
    for (size_t i = 0; i < d->fields_count; i++) {
        const struct entity_field *f = entity_field_ref(&d->fields[i]);
        if (f == NULL || bind_set_entity(op->parts[0].set, f->to) != NULL)
            continue;
        AUTO(entity_def_unrefp)
        struct entity_def *known = entities_find(op->bind->entities, f->to);
        if (known != NULL && entity_retires(op, f->to))
            return err_set(e, ERR_INVALID,
                           "entity '%s', field '%s' refers to '%s', which these scripts do not "
                           "declare",
                           d->name, d->fields[i].name, f->to);
        if (known == NULL && entities_unknown(op->bind->entities, f->to, e) != 0)
            return err_context(e, "entity '%s', field '%s'", d->name, d->fields[i].name);
    }
    return 0;
}

static void add_retired(struct deploy *op)
{
    size_t count, n = 0;
    struct entity_def **list = entities_list(op->bind->entities, &count);
    const char *names[ENTITY_RETIRE_MAX];
    for (size_t i = 0; i < count; i++)
        if (n < ENTITY_RETIRE_MAX && entity_retires(op, list[i]->name))
            names[n++] = list[i]->name;
    if (n > 0)
        entity_txn_retire(&op->unit.txn, names, n, bind_keep_removed(&op->bind->threads[0]));
    for (size_t i = 0; i < count; i++)
        entity_def_unref(list[i]);
    mem_free(list);
}

static int add_definitions(struct deploy *op, struct err *e)
{
    const struct bind_set *s = op->parts[0].set;
    for (size_t i = 0; i < s->entities_count; i++) {
        int rc = check_refs(op, s->entities[i].def, e);
        if (rc != 0)
            return rc;
    }
    for (size_t i = 0; i < s->entities_count; i++) {
        if (op->gens[i] != 0)
            entity_txn_adopt(&op->unit.txn, s->entities[i].def->name, op->gens[i]);
        else if (!entity_is_defined(op, s->entities[i].def))
            entity_txn_define(&op->unit.txn, s->entities[i].def);
    }
    for (size_t i = 0; i < s->canons_count; i++)
        if (add_canon(op, &s->canons[i], e) != 0)
            return err_context(e, "%s", s->canons[i].where);
    add_retired(op);
    return 0;
}

static void collect_names(struct deploy *op)
{
    struct bind_deploy *d = op->d;
    const struct bind_set *s = op->parts[0].set;
    d->entities = json_array();
    d->canons = json_array();
    for (size_t i = 0; i < s->entities_count; i++)
        json_array_append_new(d->entities, json_string(s->entities[i].def->name));
    for (size_t i = 0; i < s->canons_count; i++)
        json_array_append_new(d->canons, json_string(s->canons[i].name));
}

/* ---- status of the live set, readable from any thread ---- */

static void add_function(json_t *list, const char *of, const char *name, int ref)
{
    if (ref != LUA_NOREF)
        json_array_append_new(list, json_sprintf("%s.%s", of, name));
}

static void publish_status(struct deploy *op)
{
    static const char *const stages[] = {"intake", "validate", "project"};
    const struct bind_set *s = op->bind->threads[0].set;
    json_t *functions = json_array();
    for (size_t i = 0; i < s->entities_count; i++) {
        const struct bind_entity *en = &s->entities[i];
        add_function(functions, en->def->name, "before_save", en->before_save);
        add_function(functions, en->def->name, "before_remove", en->before_remove);
        add_function(functions, en->def->name, "view", en->view);
    }
    for (size_t i = 0; i < s->canons_count; i++)
        for (int k = 0; k < 3; k++)
            add_function(functions, s->canons[i].name, stages[k], s->canons[i].stage[k]);
    for (size_t i = 0; s->queues != NULL && i < s->queues->count; i++)
        if (s->queues->list[i].run != LUA_NOREF)
            json_array_append_new(functions, json_string(s->queues->list[i].label));
    for (size_t i = 0; s->bus != NULL && i < s->bus->count; i++)
        json_array_append_new(functions, json_string(s->bus->list[i]->label));
    json_t *topics = json_array(); /* listened to, or declared */
    for (size_t i = 0; s->bus != NULL && i < s->bus->count; i++)
        json_array_append_new(topics, json_string(s->bus->list[i]->pattern));
    for (size_t i = 0; s->bus != NULL && i < s->bus->topics_count; i++)
        json_array_append_new(topics, json_string(s->bus->topics[i].pattern));
    json_t *jobs = json_array();
    for (size_t i = 0; s->jobs != NULL && i < s->jobs->count; i++)
        json_array_append_new(jobs, json_string(s->jobs->list[i]->def.name));
    bind_routes_publish(op->bind, op->bind->threads[0].set);
    bind_webhooks_publish(op->bind, s);
    bind_work_published(op->bind);
    json_t *status =
        json_pack("{s:s, s:I, s:O, s:O, s:o, s:o, s:o, s:o, s:o}", "hash", s->hash, "files",
                  (json_int_t)s->files, "entities", op->d->entities, "canons", op->d->canons,
                  "functions", functions, "topics", topics, "jobs", jobs, "queues",
                  bind_queues_json(s->queues), "routes", bind_routes_json(s->routes));
    char *text = bind_json_text(status);
    json_decref(status);
    pthread_mutex_lock(&op->bind->status_lock);
    mem_free(op->bind->status);
    op->bind->status = text;
    pthread_mutex_unlock(&op->bind->status_lock);
}

/* ---- the op ---- */

static void deploy_begin(struct bind *b, struct bind_deploy *d);
static void deploy_home(struct task *task);

static void deploy_answer(struct bind_deploy *d)
{
    d->task.run = deploy_home;
    runner_post(d->home, &d->task);
}

static void deploy_end(struct deploy *op)
{
    struct bind *b = op->bind;
    struct bind_deploys *ds = b->deploys;
    struct bind_deploy *d = op->d;
    unit_fini(&op->unit);
    bind_queues_change_fini(&op->queues);
    mem_free(op);
    ds->now = NULL;
    atomic_fetch_sub(&b->threads[0].runs, 1);
    deploy_answer(d); /* not ours any more */
    struct task *next = ds->first;
    if (next == NULL)
        return;
    ds->first = next->next;
    deploy_begin(b, (struct bind_deploy *)((char *)next - offsetof(struct bind_deploy, task)));
}

static void deploy_fail(struct deploy *op, const struct err *e)
{
    op->d->err = *e;
    deploy_everywhere(op, DEPLOY_DROP, part_drop);
}

static void deploy_committed(struct unit *u)
{
    deploy_step((struct deploy *)u);
}

static int add_record(struct deploy *op, struct err *e)
{
    struct bind_deploy *d = op->d;
    if (d->record == NULL)
        return 0;
    AUTO(json_unref) json_t *files = json_object();
    for (size_t i = 0; i < d->count; i++)
        if (!str_ends(d->files[i].name, "_test.lua") &&
            json_object_set_new(files, d->files[i].name,
                                json_stringn(d->files[i].text, d->files[i].len)) != 0)
            return err_set(e, ERR_INVALID, "%s: not UTF-8", d->files[i].name);
    struct envelope env = {.principal = d->principal};
    txn_envelope(&op->unit.txn, &env);
    return script_txn_deploy(&op->unit.txn, d->hash, d->record,
                             d->rollback ? SCRIPT_ROLLBACK : SCRIPT_DEPLOY, files, e);
}

/* The definitions, and the records that were made for them. */
static void deploy_propose(struct deploy *op)
{
    struct err e = ERR_INIT;
    if (add_definitions(op, &e) != 0 || add_record(op, &e) != 0 ||
        bind_bus_add(op->bind->bus, op->parts[0].set, &op->unit.txn, &e) != 0 ||
        op->d->check_only) {
        deploy_fail(op, &e);
        return;
    }
    bind_queues_add(&op->queues, &op->unit.txn);
    if (bind_jobs_add(op->bind, op->parts[0].set, &op->unit.txn, &e) != 0) {
        deploy_fail(op, &e);
        return;
    }
    op->state = DEPLOY_DEFINE;
    if (op->unit.txn.ops == 0)
        deploy_everywhere(op, DEPLOY_SWITCH, part_switch);
    else if (ledger_propose(op->bind->ledger, &op->unit, &e) != 0)
        deploy_fail(op, &e);
}

static void deploy_asked(struct bind_queues_change *c)
{
    deploy_propose((struct deploy *)((char *)c - offsetof(struct deploy, queues)));
}

static void deploy_ask(struct deploy *op)
{
    op->state = DEPLOY_ASK;
    op->queues.done = deploy_asked;
    if (op->d->check_only || !bind_queues_ask(&op->queues, op->bind, op->parts[0].set))
        deploy_propose(op);
}

static void deploy_migrate(struct deploy *op);

static void deploy_migrated(struct bind_migrate *m)
{
    struct deploy *op = (struct deploy *)((char *)m - offsetof(struct deploy, migrate));
    if (m->err.code != 0) {
        deploy_fail(op, &m->err);
        return;
    }
    op->gens[op->migrating++] = m->batch.gen;
    deploy_migrate(op);
}

/* `*plain`: without its function, which is for what takes less than before. */
static bool deploy_wants_migration(struct deploy *op, const struct bind_entity *en, bool *plain)
{
    char why[160];
    AUTO(entity_def_unrefp)
    struct entity_def *had = entities_find(op->bind->entities, en->def->name);
    if (had == NULL || strcmp(had->json, en->def->json) == 0)
        return false;
    bool made = en->migrate != LUA_NOREF && entity_def_is_narrower(had, en->def, why, sizeof why);
    *plain = !made;
    return made || entity_def_rewrite(had, en->def) == ENTITY_REWRITE_PLAIN;
}

/* The next entity, or on. */
static void deploy_migrate(struct deploy *op)
{
    struct bind_set *s = op->parts[0].set;
    bool plain = false;
    op->state = DEPLOY_MIGRATE;
    while (op->migrating < s->entities_count &&
           !deploy_wants_migration(op, &s->entities[op->migrating], &plain))
        op->migrating++;
    if (op->migrating == s->entities_count) {
        deploy_ask(op);
        return;
    }
    op->migrate.done = deploy_migrated;
    op->migrate.principal = op->d->principal;
    bind_migrate_start(&op->migrate, s, &s->entities[op->migrating], plain, op->tries > 0);
}

/* Records were written between the last batch and the switch: those are made, and again. */
static bool deploy_adopts_again(struct deploy *op)
{
    if (op->unit.err.code != ERR_VERSION_MISMATCH || op->tries == DEPLOY_TRIES)
        return false;
    op->tries++;
    op->migrating = 0;
    unit_fini(&op->unit);
    unit_init(&op->unit, op->bind->threads[0].runner, deploy_committed);
    op->unit.txn.grows = false;
    deploy_migrate(op);
    return true;
}

static void deploy_define(struct deploy *op)
{
    struct err e = ERR_INIT;
    if (check_parts(op, &e) != 0) {
        deploy_fail(op, &e);
        return;
    }
    collect_names(op);
    if (op->d->check_only)
        deploy_propose(op);
    else
        deploy_migrate(op);
}

static void deploy_step(struct deploy *op)
{
    switch (op->state) {
    case DEPLOY_LOAD:
        deploy_define(op);
        return;
    case DEPLOY_MIGRATE:
    case DEPLOY_ASK:
        return;
    case DEPLOY_DEFINE:
        if (op->unit.err.code != 0 && deploy_adopts_again(op))
            return;
        if (op->unit.err.code != 0)
            deploy_fail(op, &op->unit.err);
        else
            deploy_everywhere(op, DEPLOY_SWITCH, part_switch);
        return;
    case DEPLOY_SWITCH:
        publish_status(op);
        deploy_end(op);
        return;
    case DEPLOY_DROP:
        deploy_end(op);
        return;
    }
}

static void deploy_begin(struct bind *b, struct bind_deploy *d)
{
    const struct bind_set *live = b->threads[0].set;
    bind_set_hash(d->files, d->count, d->hash);
    struct deploy *op = mem_new(sizeof *op + (size_t)b->threads_count * sizeof op->parts[0]);
    unit_init(&op->unit, b->threads[0].runner, deploy_committed);
    op->unit.txn.grows = false;
    op->bind = b;
    op->d = d;
    b->deploys->now = op;
    atomic_fetch_add(&b->threads[0].runs, 1);
    for (int i = 0; i < b->threads_count; i++) {
        op->parts[i].op = op;
        op->parts[i].thread = &b->threads[i];
    }
    if (live == NULL || d->check_only || d->record != NULL || strcmp(live->hash, d->hash) != 0) {
        deploy_everywhere(op, DEPLOY_LOAD, part_load);
        return;
    }
    d->unchanged = true;
    deploy_end(op);
}

static void deploy_arrived(struct task *task)
{
    struct bind_deploy *d =
        (struct bind_deploy *)((char *)task - offsetof(struct bind_deploy, task));
    struct bind *b = d->impl;
    if (b->deploys->now == NULL) {
        deploy_begin(b, d);
        return;
    }
    task->next = NULL;
    if (b->deploys->first == NULL)
        b->deploys->first = task;
    else
        b->deploys->last->next = task;
    b->deploys->last = task;
}

static void deploy_home(struct task *task)
{
    struct bind_deploy *d =
        (struct bind_deploy *)((char *)task - offsetof(struct bind_deploy, task));
    d->done(d);
}

void bind_deploy(struct bind *b, struct bind_deploy *d)
{
    d->err = (struct err)ERR_INIT;
    d->entities = d->canons = NULL;
    d->hash[0] = '\0';
    d->unchanged = false;
    d->impl = b;
    d->task.run = deploy_arrived;
    runner_post(b->threads[0].runner, &d->task);
}

void bind_deploy_fini(struct bind_deploy *d)
{
    json_decref(d->entities);
    json_decref(d->canons);
    d->entities = d->canons = NULL;
}

void bind_deploys_init(struct bind *b)
{
    b->deploys = mem_new(sizeof *b->deploys);
}

void bind_deploys_free(struct bind *b)
{
    mem_free(b->deploys);
}
