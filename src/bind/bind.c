#include "bind/bind.h"

#include <stdio.h>
#include <string.h>

#include "base/hash.h"
#include "base/mem.h"
#include "base/stat.h"
#include "bind/bind_priv.h"
#include "crypt/crypt.h"
#include "db/db.h"

enum { BIND_STOP_MS = 2, BIND_STOP_WAIT_MS = 5000 };

static void ids_make(struct entity_ids *ids, struct uuid *out)
{
    struct bind_ids *i = (struct bind_ids *)ids;
    uint8_t random[8];
    i->world->random(i->world, random, sizeof random);
    uuid_v7(&i->gen, (uint64_t)i->world->wall_ms(i->world), random, out);
}

static bool thread_owns(void *arg, const char *model)
{
    struct bind_thread *t = arg;
    return bind_engine(t->bind, model) == t->engine;
}

/* All other script threads: each has the same functions. */
static size_t thread_hands(const struct bind_thread *t, struct canon_hand *out)
{
    size_t n = 0;
    for (int i = 0; i < t->bind->threads_total; i++) {
        struct bind_thread *other = &t->bind->threads[i];
        if (other != t && n < CANON_HANDS_MAX)
            out[n++] = (struct canon_hand){other->runner, &other->stages.hooks};
    }
    return n;
}

static int thread_engine(struct bind_thread *t, struct err *e)
{
    struct canon_hand hands[CANON_HANDS_MAX];
    if (t->bind->canon == NULL)
        return 0;
    struct canon_engine_options o = {.canon = t->bind->canon,
                                     .ledger = t->bind->ledger,
                                     .world = t->world,
                                     .reader = t->reader,
                                     .hooks = &t->stages.hooks,
                                     .hands = hands,
                                     .hands_count = thread_hands(t, hands),
                                     .owns = thread_owns,
                                     .owns_arg = t,
                                     .trace = t->bind->trace};
    return canon_engine_new(&o, &t->engine, e);
}

/* What the live set uses; an older one whose last runs have not ended is not in it. */
static void thread_turn_over(struct loop_hook *h)
{
    struct bind_thread *t = LIST_OF(h, struct bind_thread, turn);
    stat_set(t->memory, t->set != NULL ? (int64_t)vm_memory(t->set->vm) : 0);
}

static void thread_gauge(struct bind_thread *t)
{
    char label[32];
    snprintf(label, sizeof label, "thread=\"%d\"", t->index + 1);
    t->memory =
        stat_gauge("koan_script_memory_bytes", label,
                   "Memory of a script thread's VM, of at most koan_script_memory_max_bytes");
    t->turn.run = thread_turn_over;
    loop_hook_add(t->loop, &t->turn);
}

static int thread_open(struct bind *b, int index, struct err *e)
{
    struct bind_thread *t = &b->threads[index];
    char name[24];
    snprintf(name, sizeof name, "script-%d", index + 1);
    t->bind = b;
    t->index = index;
    list_init(&t->texts);
    list_init(&t->calls);
    list_init(&t->deliveries);
    list_init(&t->batches);
    list_init(&t->reads);
    int rc = loop_new(name, &t->loop, e);
    if (rc != 0)
        return rc;
    thread_gauge(t);
    t->world = loop_world(t->loop);
    fetcher_init(&t->fetcher, t->loop, b->fetch_shared);
    if (b->clock != NULL)
        t->world->wall_ms = b->clock->wall_ms;
    t->runner = loop_runner(t->loop);
    t->ids.ids.make = ids_make;
    t->ids.world = t->world;
    bind_stages_init(t);
    struct db_options o = {.path = ledger_db_path(b->ledger), .mode = DB_READER};
    rc = db_open(&o, &t->reader, e);
    if (rc == 0)
        rc = db_open(&o, &t->pool_reader, e);
    if (rc == 0) {
        db_set_clock(t->reader, t->world);
        db_set_clock(t->pool_reader, t->world);
    }
    return rc != 0 ? err_context(e, "script thread %d", index + 1) : 0;
}

/* Once all are open: each works for the others. */
static int thread_start(struct bind *b, int index, struct err *e)
{
    int rc = thread_engine(&b->threads[index], e);
    if (rc == 0)
        rc = loop_start(b->threads[index].loop, e);
    if (rc == 0)
        b->threads_count++;
    return rc != 0 ? err_context(e, "script thread %d", index + 1) : 0;
}

/* One that never ran, or has been joined. */
static void thread_free(struct bind_thread *t)
{
    db_close(t->reader);
    db_close(t->pool_reader);
    for (unsigned i = 0; i < t->snapshots_idle; i++)
        db_close(t->snapshot_dbs[i]);
    bind_settings_drop(t);
    if (t->loop == NULL)
        return;
    loop_hook_remove(t->loop, &t->turn);
    loop_free(t->loop);
}

static void thread_stop(struct task *task);

static void thread_stop_again(struct world_timer *timer)
{
    struct bind_thread *t =
        (struct bind_thread *)((char *)timer - offsetof(struct bind_thread, stop_timer));
    thread_stop(&t->stop);
}

static void thread_stop_later(struct bind_thread *t)
{
    t->stop_timer.fire = thread_stop_again;
    t->world->timer_start(t->world, &t->stop_timer, BIND_STOP_MS);
}

/* Requests have ended by now. What else waits for others, a stage of an arrival that went on by
 * itself, is given a moment. */
static void thread_stop_patience(struct bind_thread *t)
{
    uint64_t now = t->world->mono_ns(t->world);
    if (t->stop_ns == 0)
        t->stop_ns = now;
    else if (now - t->stop_ns > BIND_STOP_WAIT_MS * UINT64_C(1000000))
        bind_cut(t->bind);
}

/* Waits, a little at a time, for what runs here. */
static void thread_stop(struct task *task)
{
    struct bind_thread *t =
        (struct bind_thread *)((char *)task - offsetof(struct bind_thread, stop));
    bind_set_drop(TAKE(t->set));
    bind_set_drop(TAKE(t->next));
    bind_texts_cancel(t);
    if (t->engine != NULL)
        canon_engine_stop(t->engine);
    bool busy = t->engine != NULL && !canon_engine_is_idle(t->engine);
    busy = busy || (t->index == 0 && !bind_work_is_over(t->bind));
    if (busy || t->sets > 0 || atomic_load(&t->runs) > 0 || !fetcher_is_idle(&t->fetcher)) {
        thread_stop_patience(t);
        thread_stop_later(t);
        return;
    }
    fetcher_hang_up(&t->fetcher);
    if (!t->done) {
        t->done = true;
        atomic_fetch_sub(&t->bind->working, 1);
    }
    if (atomic_load(&t->bind->working) > 0) { /* another's engine may still have work for us */
        thread_stop_later(t);
        return;
    }
    canon_engine_free(t->engine);
    loop_stop(t->loop);
}

static void bind_free(struct bind *b, int opened)
{
    atomic_store(&b->working, b->threads_count);
    for (int i = 0; i < b->threads_count; i++) {
        b->threads[i].stop.run = thread_stop;
        runner_post(b->threads[i].runner, &b->threads[i].stop);
    }
    for (int i = 0; i < b->threads_count; i++)
        loop_join(b->threads[i].loop);
    for (int i = 0; i < opened; i++) {
        if (i >= b->threads_count && b->threads[i].engine != NULL)
            canon_engine_free(b->threads[i].engine);
        thread_free(&b->threads[i]);
    }
    bind_deploys_free(b);
    bind_work_free(b);
    bind_routes_drop(b->routes);
    mem_free(b->status);
    mem_free(b->hooks_paused);
    mem_free(b->webhooks);
    mem_free(b->settings);
    fetch_shared_free(b->fetch_shared);
    vm_meter_free(b->run_meter);
    pthread_mutex_destroy(&b->status_lock);
    mem_free(b->threads);
    mem_free(b);
}

int bind_open(const struct bind_options *o, struct bind **out, struct err *e)
{
    int threads = o->threads > 0 ? o->threads : 1;
    if (threads > BIND_THREADS_MAX)
        return err_set(e, ERR_INVALID, "%d script threads; at most %d", threads, BIND_THREADS_MAX);
    int rc = crypt_start(e);
    if (rc != 0)
        return rc;
    struct bind *b = mem_new(sizeof *b);
    b->memory_max = o->memory_max;
    b->snapshot_ms = o->snapshot_ms != 0 ? o->snapshot_ms : BIND_SNAPSHOT_MS;
    stat_set(stat_gauge("koan_script_memory_max_bytes", "", "What a VM may use"),
             (int64_t)(o->memory_max != 0 ? o->memory_max : VM_MEMORY_MAX));
    b->run_meter = vm_meter_new("run");
    b->ledger = o->ledger;
    b->queues = o->queues;
    b->bus = o->bus;
    b->coord = o->coord;
    b->entities = o->entities;
    b->canon = o->canon;
    b->threads = mem_new_array((size_t)threads, sizeof *b->threads);
    b->threads_total = threads;
    pthread_mutex_init(&b->status_lock, NULL);
    b->clock = o->clock;
    b->trace = o->trace;
    b->fetch_shared = fetch_shared_new();
    b->envelope = o->envelope;
    bind_hooks_init(b);
    bind_routes_init(b);
    bind_deploys_init(b);
    int opened = 0;
    for (; opened < threads && rc == 0; opened++)
        rc = thread_open(b, opened, e);
    if (rc == 0 && o->works && b->queues != NULL)
        rc = bind_work_new(b, o->work_lease_ms, e);
    for (int i = 0; i < threads && rc == 0; i++)
        rc = thread_start(b, i, e);
    if (rc != 0) {
        bind_free(b, opened);
        return rc;
    }
    *out = b;
    return 0;
}

void bind_close(struct bind *b)
{
    if (b == NULL)
        return;
    atomic_store(&b->closing, true);
    bind_free(b, b->threads_count);
}

json_t *bind_status(struct bind *b)
{
    pthread_mutex_lock(&b->status_lock);
    const char *text = b->status != NULL ? b->status : "{\"hash\":\"\"}";
    json_t *status = json_read(text, strlen(text), NULL);
    pthread_mutex_unlock(&b->status_lock);
    json_t *threads = json_array();
    for (int i = 0; i < b->threads_count; i++)
        json_array_append_new(
            threads, json_pack("{s:I}", "runs", (json_int_t)atomic_load(&b->threads[i].runs)));
    json_object_set_new(status, "threads", threads);
    return status;
}

struct entity_hooks *bind_entity_hooks(struct bind *b)
{
    return &b->hooks.hooks;
}

struct canon_engine *bind_engine(struct bind *b, const char *model)
{
    uint64_t h = hash64(0, model, strlen(model));
    return b->threads[h % (uint64_t)b->threads_count].engine;
}
