/* Queue: who waits for the end of a record.
 *
 *   queues_watch()                       ledger's thread                             home
 *   [ASKING] --what the core says-------> told? [LISTED] --committed, unwatched--> ended()
 *       \______committed, unwatched________^ the question tells it, once
 *
 * The question is a task of the watch itself, so it has to come back before the watch is told. An
 * end that is committed before the question runs, or after it, is seen by committed_cb(); one from
 * before the watch was listed, by the question. */
#include "queue/queue_priv.h"

static struct list *watch_chain(struct queues *q, uint64_t fingerprint)
{
    return &q->watches[fingerprint % WATCH_CHAINS];
}

static void watch_told(struct task *t)
{
    struct queue_watch *w = (struct queue_watch *)t;
    w->ended(w);
}

/* With the lock, w->end known. */
static void watch_tell(struct queues *q, struct queue_watch *w)
{
    if (w->asking)
        return; /* the question tells it */
    list_remove(&w->node);
    q->watches_count--;
    w->task.run = watch_told;
    runner_post(w->home, &w->task);
}

static void watch_end(struct queue_watch *w, const struct core_effect *f)
{
    w->end = f->kind == EFFECT_PURGED ? QUEUE_WATCH_GONE : QUEUE_WATCH_ENDED;
    if (w->end == QUEUE_WATCH_GONE)
        return;
    w->state = f->state;
    w->reason = f->reason;
    w->result = f->result;
}

void queue_watches_tell(struct queues *q, const struct core_effect *f, size_t count)
{
    for (size_t i = 0; q->watches_count > 0 && i < count; i++) {
        if (f[i].kind != EFFECT_ENDED && f[i].kind != EFFECT_PURGED)
            continue;
        LIST_EACH_SAFE(it, watch_chain(q, f[i].id))
        {
            struct queue_watch *w = LIST_OF(it, struct queue_watch, node);
            if (w->fingerprint != f[i].id || w->end != 0)
                continue;
            watch_end(w, &f[i]);
            watch_tell(q, w);
        }
    }
}

/* A reason that a living record has is that of its death in another queue. */
static void watch_look(struct queue_watch *w, const struct core_view *v)
{
    if (v->state < REC_COMPLETED && v->reason == REASON_NONE)
        return;
    w->end = QUEUE_WATCH_ENDED;
    w->state = v->state < REC_COMPLETED ? REC_DISCARDED : v->state;
    w->reason = v->reason;
    w->result = v->result;
}

static void watch_ask(struct task *t)
{
    struct queue_watch *w = (struct queue_watch *)t;
    struct queues *q = w->queues;
    struct core_view v;
    bool there = core_look(q->core, &w->id, &v, NULL) == 0;
    pthread_mutex_lock(&q->lock);
    w->asking = false;
    if (w->end == 0 && there)
        watch_look(w, &v);
    else if (w->end == 0)
        w->end = QUEUE_WATCH_GONE;
    if (w->end != 0)
        watch_tell(q, w);
    pthread_mutex_unlock(&q->lock);
}

void queues_watch(struct queues *q, struct queue_watch *w)
{
    w->queues = q;
    w->end = 0;
    w->state = 0;
    w->reason = REASON_NONE;
    w->result = 0;
    w->fingerprint = core_fingerprint(&w->id);
    bool ask = w->asking = !w->coming;
    w->task.run = watch_ask;
    pthread_mutex_lock(&q->lock);
    list_push(watch_chain(q, w->fingerprint), &w->node);
    q->watches_count++;
    pthread_mutex_unlock(&q->lock);
    if (ask) /* if not, it may be over by now */
        runner_post(q->home, &w->task);
}

void queues_unwatch(struct queues *q, struct queue_watch *w)
{
    pthread_mutex_lock(&q->lock);
    if (w->end == 0) {
        w->end = QUEUE_WATCH_LEFT;
        watch_tell(q, w);
    }
    pthread_mutex_unlock(&q->lock);
}
