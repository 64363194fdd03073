#include "canon/prepare_priv.h"

#include "base/list.h"
#include "base/mem.h"
#include "canon/pipeline_priv.h"
#include "io/world.h"

struct batch {
    struct task task;
    struct list node;
    struct prep *prep;
    const struct canon_hand *hand;
    struct list jobs, ready; /* to do; done and in order */
    size_t count;
    bool back, looked; /* looked: their keys were asked for */
};

struct prep {
    struct runner *home;
    struct canon_hooks *hooks; /* of the engine's own thread */
    struct canon_hand hands[CANON_HANDS_MAX];
    size_t hands_count, turn;
    struct batch *open;  /* being filled */
    struct list batches; /* sent, in order */
    size_t ahead;
    void (*came)(void *arg);
    void *arg;
};

struct prep *prep_new(const struct canon_engine_options *o, void (*came)(void *arg), void *arg)
{
    struct prep *p = mem_new(sizeof *p);
    ASSERT(o->hands_count <= CANON_HANDS_MAX);
    p->home = o->world->runner;
    p->hooks = o->hooks;
    for (size_t i = 0; i < o->hands_count; i++)
        p->hands[i] = o->hands[i];
    p->hands_count = o->hands_count;
    list_init(&p->batches);
    p->came = came;
    p->arg = arg;
    return p;
}

void prep_free(struct prep *p)
{
    if (p == NULL)
        return;
    ASSERT(p->ahead == 0 && p->open == NULL && list_is_empty(&p->batches));
    mem_free(p);
}

bool prep_helps(const struct prep *p, size_t arrivals)
{
    return p->hands_count > 0 && arrivals >= PREP_WORTH;
}

bool prep_wants(const struct prep *p)
{
    return p->ahead < PREP_AHEAD_MAX;
}

bool prep_is_busy(const struct prep *p)
{
    return p->ahead > 0;
}

void prep_give(struct prep *p, struct canon_job *j)
{
    struct batch *b = p->open;
    if (b == NULL) {
        b = p->open = mem_new(sizeof *b);
        b->prep = p;
        list_init(&b->jobs);
        list_init(&b->ready);
        list_push(&p->batches, &b->node);
    }
    j->prep = p;
    j->working->preparing++;
    list_push(&b->jobs, &j->node);
    p->ahead++;
    if (++b->count == PREP_BATCH)
        prep_flush(p);
}

/* ---- with a hand ---- */

static void batch_back(struct task *t);

static void batch_work(struct task *t)
{
    struct batch *b = LIST_OF(t, struct batch, task);
    struct list *it;
    while ((it = list_pop(&b->jobs)) != NULL) {
        struct canon_job *j = LIST_OF(it, struct canon_job, node);
        j->hooks = b->hand->hooks;
        if (job_prepare(j))
            list_push(&b->ready, &j->node);
    }
    b->task.run = batch_back;
    runner_post(b->prep->home, &b->task);
}

static void job_back(struct task *t);

void prep_answered(struct canon_job *j)
{
    if (!job_prepare(j))
        return;
    j->back.run = job_back;
    runner_post(j->prep->home, &j->back);
}

/* ---- back ---- */

static void job_home(struct prep *p, struct canon_job *j)
{
    j->hooks = p->hooks;
    j->prep = NULL;
    j->working->preparing--;
}

static void job_back(struct task *t)
{
    struct canon_job *j = LIST_OF(t, struct canon_job, back);
    struct prep *p = j->prep;
    job_home(p, j);
    p->came(p->arg);
    job_tick(j);
}

static void batch_back(struct task *t)
{
    struct batch *b = LIST_OF(t, struct batch, task);
    struct prep *p = b->prep;
    size_t ready = 0;
    LIST_EACH(it, &b->ready)
    {
        job_home(p, LIST_OF(it, struct canon_job, node));
        ready++;
    }
    p->ahead -= b->count - ready; /* those that wait come by themselves */
    b->back = true;
    p->came(p->arg);
}

void prep_flush(struct prep *p)
{
    struct batch *b = p->open;
    if (b == NULL)
        return;
    p->open = NULL;
    b->hand = &p->hands[p->turn++ % p->hands_count];
    b->task.run = batch_work;
    runner_post(b->hand->runner, &b->task);
}

struct canon_job *prep_peek(struct prep *p)
{
    while (!list_is_empty(&p->batches)) {
        struct batch *b = LIST_OF(p->batches.next, struct batch, node);
        if (!b->back)
            return NULL;
        if (!b->looked)
            ahead_keys(&b->ready);
        b->looked = true;
        if (!list_is_empty(&b->ready))
            return LIST_OF(b->ready.next, struct canon_job, node);
        list_remove(&b->node);
        mem_free(b);
    }
    return NULL;
}

void prep_take(struct prep *p)
{
    struct canon_job *j = prep_peek(p);
    list_remove(&j->node);
    p->ahead--;
}
