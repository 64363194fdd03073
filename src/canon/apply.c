/* The operations of canon as the ledger replays them, and the models that are current. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/list.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/str.h"
#include "canon/apply_priv.h"
#include "canon/canon_priv.h"
#include "canon/gather_priv.h"
#include "canon/ops_priv.h"
#include "canon/parked_priv.h"
#include "canon/store_priv.h"
#include "canon/sweep_priv.h"
#include "db/db.h"
#include "entity/entity.h"
#include "ledger/domain.h"
#include "ledger/ledger.h"

struct canon {
    struct entities *entities;
    struct domain domain;
    pthread_mutex_t lock; /* around `models` alone */
    struct map *models;   /* name -> struct canon_model, current and committed */
    struct db *db;        /* the writer; ledger's thread alone */
    bool stale;           /* an entry defines a model: what is current is read again at its end */
    struct map *fresh;    /* what was read, until the entry is committed; else NULL */
    bool due;             /* an entry has given a key that parked arrivals wait for */
    struct gather gather; /* ledger's thread alone */
    bool waits;           /* there may be parked arrivals that wait for keys */
    struct list watches;  /* struct canon_watch, under `lock` */
    struct sweeper *sweeper; /* NULL until it is started */
    struct mender *mender;   /* likewise */
};

static void model_unref(void *m)
{
    canon_model_unref(m);
}

/* What was read is what counts from now on. Needs no memory, so that it cannot fail. */
static void canon_publish(struct canon *c)
{
    struct map *old = c->models;
    pthread_mutex_lock(&c->lock);
    c->models = c->fresh;
    pthread_mutex_unlock(&c->lock);
    c->fresh = NULL;
    map_free(old, model_unref);
}

static void canon_forget_fresh(struct canon *c)
{
    if (c->fresh != NULL)
        map_free(c->fresh, model_unref);
    c->fresh = NULL;
}

static int model_load(const char *text, struct canon_model **out, struct err *e)
{
    AUTO(json_unref) json_t *o = json_read(text, strlen(text), e);
    if (o == NULL)
        return e->code == ERR_NOMEM ? ERR_NOMEM : ERR_CORRUPT;
    return canon_model_parse(o, out, e);
}

/* ---- operations ---- */

static char *copy_text(struct cursor *c)
{
    size_t n;
    const char *p = cursor_bytes(c, &n);
    return p ? mem_strndup(p, n) : NULL;
}

static int malformed(const char *what, struct err *e)
{
    return err_set(e, ERR_CORRUPT, "%s: the payload is not one", what);
}

static int apply_define(void *self, const struct apply *a, uint8_t version, struct cursor *c,
                        struct buf *result, struct err *e)
{
    (void)version;
    (void)result;
    AUTO(mem_freep) char *name = copy_text(c);
    uint64_t def = cursor_u64(c);
    AUTO(mem_freep) char *text = copy_text(c);
    if (c->bad || name == NULL || text == NULL)
        return malformed("canon.define", e);
    struct canon *canon = self;
    struct canon_model *m;
    int rc = model_load(text, &m, e);
    if (rc != 0)
        return rc;
    canon_model_unref(m);
    canon->stale = true;
    return store_model_put(a->db, name, def, a->seq, text, e);
}

/* Before the source record changes hands: its own keys are found through the loser it comes from.
 */
static int arrive_merge(const struct apply *a, const struct canon_op_arrive *op, struct err *e)
{
    int rc = 0;
    for (size_t i = 0; i < op->losers_count && rc == 0; i++)
        rc = store_merge(a->db, a, op, op->losers[i], e);
    return rc;
}

static int arrive_golden(const struct apply *a, const struct canon_op_arrive *op, struct err *e)
{
    int rc = 0;
    const char *tenant = a->env->tenant;
    if (op->lose_keys != NULL)
        rc = store_keys_remove(a->db, tenant, op->model, op->lose_keys, op->golden, e);
    if (rc == 0 && op->new_keys != NULL)
        rc = store_keys_put(a->db, tenant, op->model, op->new_keys, op->golden, e);
    if (rc == 0)
        rc = store_golden_put(a->db, a, op, e);
    return rc;
}

/* Parked arrivals that go on, and those that wait for a key which now has an owner. */
static int arrive_waits(struct canon *c, const struct apply *a, const struct canon_op_arrive *op,
                        struct err *e)
{
    int64_t marked = 0;
    int rc = op->resumes != NULL ? store_wait_drop(a->db, op->resumes, e) : 0;
    if (rc == 0 && op->new_keys != NULL && c->waits)
        rc = store_wait_given(a->db, a->env->tenant, op->model, op->new_keys, &marked, e);
    c->due |= marked > 0;
    return rc;
}

static int arrive_directly(struct gather *g, const struct apply *a,
                           const struct canon_op_arrive *op, struct err *e)
{
    int rc = gather_flush(g, a, e);
    if (rc == 0)
        rc = store_arrival_put(a->db, a, op, e);
    if (rc == 0 && op->has_golden)
        rc = arrive_merge(a, op, e);
    if (rc == 0 && op->has_source)
        rc =
            op->withdraw ? store_source_remove(a->db, a, op, e) : store_source_put(a->db, a, op, e);
    return rc == 0 && op->has_golden ? arrive_golden(a, op, e) : rc;
}

static int apply_arrive(void *self, const struct apply *a, uint8_t version, struct cursor *c,
                        struct buf *result, struct err *e)
{
    (void)version;
    (void)result;
    struct canon_op_arrive op;
    AUTO(mem_freep) char *texts = NULL;
    if (!canon_op_arrive_decode(c, &op, &texts))
        return texts == NULL ? err_set(e, ERR_NOMEM, "canon.arrive") : malformed("canon.arrive", e);
    struct gather *g = canon_gather(self);
    int rc = gather_takes(g, a, &op) ? gather_arrive(g, a, &op, &texts, e)
                                     : arrive_directly(g, a, &op, e);
    return rc == 0 ? arrive_waits(self, a, &op, e) : rc;
}

/* The key may have come between the look of the stage and this moment: whoever is second sees the
 * other here. */
static int apply_wait(void *self, const struct apply *a, uint8_t version, struct cursor *c,
                      struct buf *result, struct err *e)
{
    (void)version;
    (void)result;
    AUTO(canon_small_fini) struct canon_small p;
    int rc = canon_small_decode(c, "canon.wait", 4, 4, 2, &p, e);
    if (rc != 0)
        return rc;
    struct canon_op_wait w = {.arrival = p.text[0],
                              .waiter = p.text[1],
                              .model = p.text[2],
                              .keys = p.text[3],
                              .tries = (uint8_t)p.number[0],
                              .take_up = p.number[1] != 0};
    bool due = false;
    ((struct canon *)self)->waits = true;
    rc = gather_flush(canon_gather(self), a, e);
    if (rc == 0)
        rc = store_wait_put(a->db, a->env->tenant, &w, &due, e);
    ((struct canon *)self)->due |= due;
    return rc;
}

static const struct domain_op canon_ops[] = {
    {CANON_OP_DEFINE, CANON_OP_VERSION, false, DOMAIN_PARTIAL, "canon.define", apply_define, false},
    {CANON_OP_ARRIVE, CANON_OP_VERSION, false, DOMAIN_SURE, "canon.arrive", apply_arrive, false},
    {CANON_OP_ERASE, CANON_ERASE_VERSION, false, DOMAIN_PARTIAL, "canon.erase", canon_apply_erase,
     false},
    {CANON_OP_WAIT, CANON_OP_VERSION, false, DOMAIN_SURE, "canon.wait", apply_wait, false},
    {CANON_OP_SWEEP, CANON_OP_VERSION, false, DOMAIN_SURE, "canon.sweep", canon_apply_sweep, false},
    {CANON_OP_PART, CANON_OP_VERSION, false, DOMAIN_SURE, "canon.part", canon_apply_part, false},
    {CANON_OP_MEMO, CANON_OP_VERSION, false, DOMAIN_SURE, "canon.memo", canon_apply_memo, false},
    {CANON_OP_REJECT, CANON_OP_VERSION, false, DOMAIN_SURE, "canon.reject", canon_apply_reject,
     false},
    {CANON_OP_IF_KEY, CANON_OP_VERSION, true, DOMAIN_ATOMIC, "canon.key", canon_if_key, false},
    {CANON_OP_IF_SOURCE, CANON_OP_VERSION, true, DOMAIN_ATOMIC, "canon.source", canon_if_source,
     false},
    {CANON_OP_IF_GOLDEN, CANON_OP_VERSION, true, DOMAIN_ATOMIC, "canon.golden", canon_if_golden,
     false},
    {CANON_OP_IF_PARKED, CANON_OP_VERSION, true, DOMAIN_ATOMIC, "canon.parked", canon_if_parked,
     false},
};

/* ---- the domain ---- */

static int canon_read_models(struct canon *c, struct err *e)
{
    AUTO(db_stmt_donep)
    struct db_stmt *s =
        db_stmt_get(c->db,
                    "SELECT definition FROM canon_model AS m WHERE seq = "
                    "(SELECT max(seq) FROM canon_model WHERE name = m.name) ORDER BY name",
                    e);
    if (s == NULL)
        return e->code;
    int rc;
    canon_forget_fresh(c);
    c->fresh = map_new();
    while ((rc = db_step(s, e)) > 0) {
        struct canon_model *m;
        rc = model_load(db_col_text(s, 0, NULL), &m, e);
        if (rc != 0)
            return err_context(e, "a stored canon model");
        map_puts(c->fresh, canon_model_name(m), m);
    }
    return rc;
}

static int canon_opened(void *self, struct db *db, struct err *e)
{
    struct canon *c = self;
    c->db = db;
    int rc = canon_read_models(c, e);
    if (rc == 0)
        canon_publish(c);
    return rc == 0 ? store_waits(db, &c->waits, e) : rc;
}

static int canon_close(void *self, const struct apply *a, struct err *e)
{
    struct canon *c = self;
    int rc = gather_flush(&c->gather, a, e);
    if (rc != 0)
        return rc;
    return c->stale ? canon_read_models(c, e) : 0;
}

static void canon_undo(void *self, bool entry_too)
{
    if (!entry_too) /* nothing of a unit that is undone by itself was kept back */
        return;
    canon_forget_fresh(self);
    gather_forget(canon_gather(self));
}

static int canon_alone(void *self, const struct apply *a, struct err *e)
{
    return gather_direct(canon_gather(self), a, e);
}

static void canon_committed(void *self, uint64_t seq, int64_t at)
{
    (void)seq;
    (void)at;
    struct canon *c = self;
    if (c->fresh != NULL)
        canon_publish(c);
    c->stale = false;
    if (!c->due)
        return;
    c->due = false;
    pthread_mutex_lock(&c->lock);
    LIST_EACH(it, &c->watches)
    {
        struct canon_watch *w = LIST_OF(it, struct canon_watch, node);
        w->due(w);
    }
    pthread_mutex_unlock(&c->lock);
}

void canon_sweep_start(struct canon *c, struct ledger *l, struct world *w)
{
    ASSERT(c->sweeper == NULL);
    c->sweeper = sweeper_new(c, l, w);
}

void canon_sweep_stop(struct canon *c)
{
    if (c->sweeper != NULL)
        sweeper_stop(c->sweeper);
}

void canon_parked_start(struct canon *c, struct queues *q, struct ledger *l, struct world *w)
{
    ASSERT(c->mender == NULL);
    c->mender = mender_new(c, q, l, w);
}

void canon_parked_stop(struct canon *c)
{
    if (c->mender != NULL)
        mender_stop(c->mender);
}

struct gather *canon_gather(struct canon *c)
{
    return &c->gather;
}

struct db *canon_writer(struct canon *c)
{
    return c->db;
}

void canon_watch_add(struct canon *c, struct canon_watch *w)
{
    pthread_mutex_lock(&c->lock);
    list_push(&c->watches, &w->node);
    pthread_mutex_unlock(&c->lock);
}

void canon_watch_remove(struct canon *c, struct canon_watch *w)
{
    pthread_mutex_lock(&c->lock);
    list_remove(&w->node);
    pthread_mutex_unlock(&c->lock);
}

int canon_new(struct entities *entities, struct canon **out, struct err *e)
{
    struct canon *c = mem_new(sizeof *c);
    if (pthread_mutex_init(&c->lock, NULL) != 0) {
        mem_free(c);
        return err_set(e, ERR_NOMEM, "canon: no mutex");
    }
    c->entities = entities;
    c->models = map_new();
    list_init(&c->watches);
    gather_init(&c->gather);
    c->domain = (struct domain){.name = "canon",
                                .self = c,
                                .ops = canon_ops,
                                .ops_count = ARRAY_LEN(canon_ops),
                                .opened = canon_opened,
                                .alone = canon_alone,
                                .close = canon_close,
                                .undo = canon_undo,
                                .committed = canon_committed};
    *out = c;
    return 0;
}

void canon_free(struct canon *c)
{
    if (c == NULL)
        return;
    ASSERT(list_is_empty(&c->watches));
    sweeper_free(c->sweeper);
    mender_free(c->mender);
    gather_fini(&c->gather);
    canon_forget_fresh(c);
    map_free(c->models, model_unref);
    pthread_mutex_destroy(&c->lock);
    mem_free(c);
}

const struct domain *canon_domain(struct canon *c)
{
    return &c->domain;
}

struct entities *canon_entities(struct canon *c)
{
    return c->entities;
}

struct canon_model *canon_find(struct canon *c, const char *name)
{
    pthread_mutex_lock(&c->lock);
    struct canon_model *m = map_gets(c->models, name);
    if (m != NULL)
        canon_model_ref(m);
    pthread_mutex_unlock(&c->lock);
    return m;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(json_string_value(*(json_t *const *)a), json_string_value(*(json_t *const *)b));
}

json_t *canon_names(struct canon *c)
{
    json_t *list = json_array();
    pthread_mutex_lock(&c->lock);
    size_t count = map_count(c->models), n = 0;
    json_t **names = mem_new_array(count + 1, sizeof(*names)); /* models are few, and declared */
    for (struct map_iter it = {0}; map_next(c->models, &it);)
        names[n++] = json_stringn(it.key, it.key_len);
    pthread_mutex_unlock(&c->lock);
    qsort(names, n, sizeof(*names), by_name);
    for (size_t i = 0; i < n; i++)
        json_array_append_new(list, names[i]);
    mem_free(names);
    return list;
}

int canon_unknown(struct canon *c, const char *name, struct err *e)
{
    AUTO(json_unref) json_t *all = canon_names(c);
    size_t count = json_array_size(all);
    AUTO(mem_freep) const char **names = mem_new_array(count + 1, sizeof(*names));
    for (size_t i = 0; i < count; i++)
        names[i] = json_string_value(json_array_get(all, i));
    const char *near = str_nearest(name, names, count);
    return err_field(e, ERR_NOT_FOUND, "model", "there is no canon model '%.64s'%s%s%s", name,
                     near ? "; did you mean '" : "; GET /api/canon/models lists them",
                     near ? near : "", near ? "'?" : "");
}

/* Every field that the model names must be one of the entity: a misspelt one would otherwise never
 * survive. */
static int define_field(const struct canon_model *m, const struct entity_def *d, const char *field,
                        struct err *e)
{
    if (entity_def_field(d, field) != NULL)
        return 0;
    const char *names[ENTITY_FIELDS_MAX];
    for (size_t i = 0; i < d->fields_count; i++)
        names[i] = d->fields[i].name;
    const char *near = str_nearest(field, names, d->fields_count);
    return err_field(e, ERR_INVALID, field, "canon '%s': entity '%s' has no field '%s'%s%s%s",
                     m->name, d->name, field, near ? "; did you mean '" : "", near ? near : "",
                     near ? "'?" : "");
}

static bool is_group(const struct canon_model *m, const char *name)
{
    for (size_t i = 0; i < m->groups_count; i++)
        if (strcmp(m->groups[i].name, name) == 0)
            return true;
    return false;
}

int canon_model_check(const struct canon_model *m, const struct entity_def *d, struct err *e)
{
    int rc = 0;
    if (d->require_version)
        return err_field(e, ERR_INVALID, "require_version",
                         "canon '%s': entity '%s' wants a version with every change, which a "
                         "source cannot know; remove require_version",
                         m->name, d->name);
    if (d->lease_required)
        return err_field(e, ERR_INVALID, "lease_required",
                         "canon '%s': entity '%s' wants a lease with every change, which a source "
                         "does not hold; remove lease_required",
                         m->name, d->name);
    for (size_t i = 0; i < m->keys_count && rc == 0; i++)
        for (size_t k = 0; k < m->keys[i].parts_count && rc == 0; k++)
            if (strchr(m->keys[i].parts[k].field, '.') == NULL)
                rc = define_field(m, d, m->keys[i].parts[k].field, e);
    for (size_t i = 0; i < m->rules_count && rc == 0; i++)
        if (!is_group(m, m->rules[i].name))
            rc = define_field(m, d, m->rules[i].name, e);
    for (size_t i = 0; i < m->groups_count && rc == 0; i++)
        for (size_t k = 0; k < m->groups[i].fields_count && rc == 0; k++)
            rc = define_field(m, d, m->groups[i].fields[k], e);
    return rc;
}

int canon_txn_define(struct canon *c, struct txn *t, const json_t *definition,
                     const struct entity_def *d, struct err *e)
{
    struct canon_model *m;
    int rc = canon_model_parse(definition, &m, e);
    if (rc != 0)
        return rc;
    rc = canon_model_check(m, d, e);
    struct canon_model *now = canon_find(c, m->name);
    if (rc == 0 && (now == NULL || now->hash != m->hash))
        canon_op_define(t, m->name, m->hash, m->text);
    canon_model_unref(now);
    canon_model_unref(m);
    return rc;
}
