/* Queue: what did not go well with records, and what people did with them, copied for whoever tells
 * of it. It is little, as long as things go well; in a flood most of it is missed, and counted. */
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "queue/queue_priv.h"

enum { NOTED_FIRST = 16 };

static void noter_run(struct task *t)
{
    struct queue_noter *n = LIST_OF(t, struct queue_noter, task);
    pthread_mutex_lock(&n->queues->lock);
    bool leaving = n->leaving;
    n->posted = leaving;
    pthread_mutex_unlock(&n->queues->lock);
    if (leaving)
        n->gone(n);
    else
        n->arrived(n);
}

static bool noter_room(struct queue_noter *n)
{
    if (n->count < n->cap)
        return true;
    size_t cap = n->cap == 0 ? NOTED_FIRST : n->cap * 2;
    cap = cap < QUEUE_NOTED_MAX ? cap : QUEUE_NOTED_MAX;
    struct queue_noted *more = cap > n->cap ? mem_try_resize(n->waiting, cap * sizeof *more) : NULL;
    if (more == NULL)
        return false;
    n->waiting = more;
    n->cap = cap;
    return true;
}

static void text_copy(char *out, size_t cap, const char *text)
{
    str_copy(out, cap, text != NULL ? text : "");
}

static void noter_push(struct queue_noter *n, const struct core_noted *what, uint64_t seq,
                       int64_t at)
{
    if (!noter_room(n)) {
        n->missed++;
        return;
    }
    struct queue_noted *to = &n->waiting[n->count++];
    to->kind = what->kind;
    to->reason = what->reason;
    to->verb = (enum core_verb)what->verb;
    to->attempt = what->attempt;
    to->place = what->place;
    to->told = what->told;
    to->seq = seq;
    to->at = at;
    text_copy(to->queue, sizeof to->queue, what->queue);
    text_copy(to->to, sizeof to->to, what->to);
    text_copy(to->who, sizeof to->who, what->who);
    text_copy(to->why, sizeof to->why, what->why);
}

void queue_noter_tell(struct queues *q, uint64_t seq, int64_t at)
{
    size_t count;
    const struct core_noted *what = core_noted(q->core, &count);
    if (count == 0 || !q->started)
        return;
    pthread_mutex_lock(&q->lock);
    struct queue_noter *n = q->noter;
    for (size_t i = 0; n != NULL && i < count; i++)
        noter_push(n, &what[i], seq, at);
    if (n != NULL && !n->posted) {
        n->posted = true;
        runner_post(n->home, &n->task);
    }
    pthread_mutex_unlock(&q->lock);
}

void queues_note(struct queues *q, struct queue_noter *n)
{
    n->task.run = noter_run;
    n->queues = q;
    n->waiting = NULL;
    n->count = n->cap = 0;
    n->missed = 0;
    n->posted = n->leaving = false;
    pthread_mutex_lock(&q->lock);
    ASSERT(q->noter == NULL);
    q->noter = n;
    pthread_mutex_unlock(&q->lock);
}

struct queue_noted *queues_noted(struct queues *q, struct queue_noter *n, size_t *count,
                                 uint64_t *missed)
{
    pthread_mutex_lock(&q->lock);
    struct queue_noted *out = n->waiting;
    *count = n->count;
    *missed = n->missed;
    n->waiting = NULL;
    n->count = n->cap = 0;
    n->missed = 0;
    pthread_mutex_unlock(&q->lock);
    return out;
}

void queues_unnote(struct queues *q, struct queue_noter *n)
{
    pthread_mutex_lock(&q->lock);
    ASSERT(q->noter == n);
    q->noter = NULL;
    mem_free(TAKE(n->waiting));
    n->leaving = true;
    bool posted = n->posted;
    n->posted = true;
    pthread_mutex_unlock(&q->lock);
    if (!posted) /* else the task under way says it */
        runner_post(n->home, &n->task);
}
