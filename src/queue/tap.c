/* Looking on: what happens to the records of a queue, copied to whoever watches it. */
#include <string.h>

#include "base/mem.h"
#include "queue/queue_priv.h"

static void tap_run(struct task *t)
{
    struct queue_tap *tap = (struct queue_tap *)t;
    if (tap->leaving)
        tap->gone(tap);
    else
        tap->arrived(tap);
}

static void tap_push(struct queue_tap *t, const struct core_effect *f, int64_t at)
{
    if (t->count == t->cap) {
        size_t cap = t->cap == 0 ? 64 : t->cap * 2;
        struct queue_tapped *more =
            cap <= QUEUE_TAP_MAX ? mem_try_resize(t->waiting, cap * sizeof *more) : NULL;
        if (more == NULL) {
            t->missed++;
            return;
        }
        t->waiting = more;
        t->cap = cap;
    }
    t->waiting[t->count++] = (struct queue_tapped){.kind = f->kind,
                                                   .state = f->state,
                                                   .reason = f->reason,
                                                   .place = f->place,
                                                   .at = at,
                                                   .attempt = f->attempt};
    if (t->posted)
        return;
    t->posted = true;
    runner_post(t->home, &t->task);
}

void queue_taps_tell(struct queues *q, const struct core_effect *f, size_t count, int64_t at)
{
    LIST_EACH(it, &q->taps)
    {
        struct queue_tap *t = LIST_OF(it, struct queue_tap, node);
        for (size_t i = 0; i < count; i++)
            if (strcmp(f[i].queue, t->queue) == 0 && strcmp(f[i].tenant, t->tenant) == 0)
                tap_push(t, &f[i], at);
    }
}

void queues_tap(struct queues *q, struct queue_tap *t)
{
    t->task.run = tap_run;
    t->waiting = NULL;
    t->count = t->cap = 0;
    t->missed = 0;
    t->posted = t->leaving = false;
    pthread_mutex_lock(&q->lock);
    list_push(&q->taps, &t->node);
    pthread_mutex_unlock(&q->lock);
}

struct queue_tapped *queues_tapped(struct queues *q, struct queue_tap *t, size_t *count,
                                   uint64_t *missed)
{
    pthread_mutex_lock(&q->lock);
    struct queue_tapped *out = t->waiting;
    *count = t->count;
    *missed = t->missed;
    t->waiting = NULL;
    t->count = t->cap = 0;
    t->missed = 0;
    t->posted = false;
    pthread_mutex_unlock(&q->lock);
    return out;
}

void queues_untap(struct queues *q, struct queue_tap *t)
{
    pthread_mutex_lock(&q->lock);
    list_remove(&t->node);
    mem_free(TAKE(t->waiting));
    t->leaving = true;
    bool posted = t->posted;
    t->posted = true;
    pthread_mutex_unlock(&q->lock);
    if (!posted) /* else the task under way says it */
        runner_post(t->home, &t->task);
}
