/* Queue: the module beside its core. */
#include "queue/queue.h"

#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "queue/queue_priv.h"

enum { LOW_ENTRIES = 4096 }; /* the lowest place in use is looked for again after so many */

/* ---- the domain ---- */

static int hot_entry_cb(void *self, const struct apply *a, struct err *e)
{
    struct queues *q = self;
    return core_entry(q->core, a->seq, a->at, e);
}

static int put(void *arg, const void *p, size_t n, struct err *e)
{
    return hot_put(arg, p, n, e);
}

static int get(void *arg, void *p, size_t n, struct err *e)
{
    return hot_get(arg, p, n, e);
}

static int hot_save_cb(void *self, struct hot_out *out, struct err *e)
{
    return core_save(((struct queues *)self)->core, put, out, e);
}

static int hot_load_cb(void *self, struct hot_in *in, struct err *e)
{
    return core_load(((struct queues *)self)->core, get, in, e);
}

/* Places only rise, so what was found earlier still holds, if not all that it could. */
static uint64_t hot_keep_cb(void *self)
{
    struct queues *q = self;
    uint64_t seq = core_seq(q->core);
    if (q->low_seq == 0 || seq - q->low_seq >= LOW_ENTRIES) {
        uint64_t place = core_lowest_place(q->core, CORE_PLACE(q->spill.below, 0));
        q->low = place == UINT64_MAX ? seq + 1 : place >> 24;
        q->low_seq = seq;
    }
    return q->low;
}

static void hot_crowded_cb(void *self, uint64_t index)
{
    spill_begin(&((struct queues *)self)->spill, index);
}

static int opened_cb(void *self, struct db *db, struct err *e)
{
    struct queues *q = self;
    int rc = spill_opened(&q->spill, db, e);
    core_spilled(q->core, CORE_PLACE(q->spill.below, 0));
    return rc;
}

static int close_cb(void *self, const struct apply *a, struct err *e)
{
    struct queues *q = self;
    return spill_step(&q->spill, a->db, e);
}

static void hot_soon_cb(void *self, uint16_t type, struct cursor payload, bool again)
{
    const struct queues *q = self;
    struct uuid id;
    if (type != QUEUE_OP_SEND && type != QUEUE_OP_SETTLE && type != QUEUE_OP_END)
        return;
    if (type == QUEUE_OP_SEND)
        cursor_u32(&payload);
    uuid_read(&payload, &id);
    core_expect(q->core, core_fingerprint(&id), again);
}

static uint64_t hot_hash_cb(void *self)
{
    return core_hash(((struct queues *)self)->core);
}

static void unit_cb(void *self, const struct apply *a)
{
    (void)a;
    core_unit(((struct queues *)self)->core);
}

static void undo_cb(void *self, bool entry_too)
{
    struct queues *q = self;
    core_undo(q->core, entry_too);
    if (entry_too)
        spill_undo(&q->spill);
}

/* ---- announcing ---- */

static void consumer_run(struct task *t)
{
    struct queue_consumer *c = (struct queue_consumer *)t;
    if (c->leaving)
        c->gone(c);
    else
        c->arrived(c);
}

struct queue_consumer *queue_listener(const struct queues *q, const struct uuid *id)
{
    struct queue_consumer *c = q->consumers;
    while (c != NULL && memcmp(c->id.b, id->b, sizeof id->b) != 0)
        c = c->next;
    return c;
}

/* The core may forget its name while the announcement is read. */
static const char *name_keep(struct queues *q, const char *name)
{
    char *kept = map_gets(q->names, name);
    if (kept == NULL) {
        kept = mem_strdup(name);
        map_puts(q->names, name, kept);
    }
    return kept;
}

static void listener_push(struct queues *q, struct queue_consumer *c, const struct core_effect *f)
{
    if (c->waiting_count == c->waiting_cap) {
        size_t cap = c->waiting_cap == 0 ? 16 : c->waiting_cap * 2;
        struct core_effect *more = mem_try_resize(c->waiting, cap * sizeof *more);
        if (more == NULL)
            return; /* its lease ends, and another gets it */
        c->waiting = more;
        c->waiting_cap = cap;
    }
    c->waiting[c->waiting_count] = *f;
    c->waiting[c->waiting_count].tenant = name_keep(q, f->tenant);
    c->waiting[c->waiting_count++].queue = name_keep(q, f->queue);
    if (c->posted)
        return;
    c->posted = true;
    runner_post(c->home, &c->task);
}

static bool effect_is_end(const struct core_effect *f)
{
    return f->kind == EFFECT_ENDED || f->kind == EFFECT_PURGED;
}

static void committed_cb(void *self, uint64_t seq, int64_t at)
{
    struct queues *q = self;
    size_t count;
    const struct core_effect *f = core_effects(q->core, &count);
    if (q->spill.arrived)
        q->low_seq = 0; /* look again what is the lowest */
    spill_committed(&q->spill);
    queue_noter_tell(q, seq, at);
    if (count == 0)
        return;
    pthread_mutex_lock(&q->lock);
    struct queue_consumer *c = NULL;
    for (size_t i = 0; i < count; i++) {
        if (effect_is_end(&f[i]))
            continue;
        if (c == NULL || memcmp(c->id.b, f[i].consumer.b, sizeof c->id.b) != 0)
            c = queue_listener(q, &f[i].consumer);
        if (c != NULL && !c->leaving)
            listener_push(q, c, &f[i]);
    }
    queue_watches_tell(q, f, count);
    queue_taps_tell(q, f, count, at);
    pthread_mutex_unlock(&q->lock);
    for (size_t i = 0; q->started && i < count; i++) {
        for (struct queue_ear *ear = effect_is_end(&f[i]) ? q->ears : NULL; ear != NULL;
             ear = ear->next)
            ear->ended(ear, &f[i], seq, at);
    }
}

void queues_hear(struct queues *q, struct queue_ear *ear)
{
    ASSERT(!q->started);
    ear->next = NULL;
    *q->ears_end = ear;
    q->ears_end = &ear->next;
}

void queues_listen(struct queues *q, struct queue_consumer *c)
{
    c->task.run = consumer_run;
    c->waiting = NULL;
    c->waiting_count = c->waiting_cap = 0;
    c->posted = c->leaving = false;
    pthread_mutex_lock(&q->lock);
    c->next = q->consumers;
    q->consumers = c;
    pthread_mutex_unlock(&q->lock);
}

struct core_effect *queues_take(struct queues *q, struct queue_consumer *c, size_t *count)
{
    pthread_mutex_lock(&q->lock);
    struct core_effect *out = c->waiting;
    *count = c->waiting_count;
    c->waiting = NULL;
    c->waiting_count = c->waiting_cap = 0;
    c->posted = false;
    pthread_mutex_unlock(&q->lock);
    return out;
}

void queues_unlisten(struct queues *q, struct queue_consumer *c)
{
    pthread_mutex_lock(&q->lock);
    struct queue_consumer **at = &q->consumers;
    while (*at != c)
        at = &(*at)->next;
    *at = c->next;
    mem_free(c->waiting);
    c->waiting = NULL;
    c->waiting_count = c->waiting_cap = 0;
    c->leaving = true;
    bool posted = c->posted;
    c->posted = true;
    pthread_mutex_unlock(&q->lock);
    if (!posted) /* else the task under way says it */
        runner_post(c->home, &c->task);
}

/* ---- questions ---- */

static void ask_done(struct task *t)
{
    struct queue_ask *a = (struct queue_ask *)t;
    a->done(a);
}

static void ask_run(struct task *t)
{
    struct queue_ask *a = (struct queue_ask *)t;
    a->ask(a, a->queues->core);
    a->task.run = ask_done;
    runner_post(a->home, &a->task);
}

void queues_ask(struct queues *q, struct queue_ask *a)
{
    a->queues = q;
    a->task.run = ask_run;
    runner_post(q->home, &a->task);
}

/* ---- life ---- */

struct queues *queues_new(void)
{
    struct queues *q = mem_new(sizeof *q);
    q->core = core_new();
    q->spill.core = q->core;
    q->names = map_new();
    q->ears_end = &q->ears;
    list_init(&q->taps);
    for (size_t i = 0; i < WATCH_CHAINS; i++)
        list_init(&q->watches[i]);
    q->hot = (struct domain_hot){.entry = hot_entry_cb,
                                 .save = hot_save_cb,
                                 .load = hot_load_cb,
                                 .keep = hot_keep_cb,
                                 .crowded = hot_crowded_cb,
                                 .hash = hot_hash_cb,
                                 .soon = hot_soon_cb};
    q->domain = (struct domain){.name = "queue",
                                .self = q,
                                .hot = &q->hot,
                                .ops = queue_ops,
                                .ops_count = queue_ops_count,
                                .opened = opened_cb,
                                .unit = unit_cb,
                                .close = close_cb,
                                .undo = undo_cb,
                                .committed = committed_cb};
    pthread_mutex_init(&q->lock, NULL);
    return q;
}

void queues_free(struct queues *q)
{
    if (q == NULL)
        return;
    ASSERT(q->watches_count == 0);
    queue_survey_free(&q->survey);
    spill_fini(&q->spill);
    core_free(q->core);
    map_free(q->names, mem_free);
    pthread_mutex_destroy(&q->lock);
    mem_free(q);
}

const struct domain *queues_domain(struct queues *q)
{
    return &q->domain;
}

void queues_start(struct queues *q, struct ledger *l, struct world *w, const char *node)
{
    q->home = w->runner;
    q->spill.ledger = l;
    q->started = true;
    str_copy(q->node, sizeof q->node, node);
    queue_clock_start(&q->clock, q, l, w);
    queue_survey_start(&q->survey, q, l, w);
}

const char *queues_node(const struct queues *q)
{
    return q->node;
}

void queues_stop(struct queues *q)
{
    queue_clock_stop(&q->clock);
    queue_survey_stop(&q->survey);
}
