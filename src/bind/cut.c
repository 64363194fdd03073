/* The end of waiting: a node that stops has waited for what is under way as long as it may, and now
 * ends it. Whoever waits for another host is told at once, whoever works is stopped at its next
 * instructions; an arrival whose stage ends so is left undecided, and comes again. */
#include "base/err.h"
#include "bind/bind_priv.h"
#include "bind/route_priv.h"

bool bind_is_cut(const struct bind_thread *t, struct err *e)
{
    if (t->cut)
        err_set(e, ERR_UNAVAILABLE, "this node is stopping");
    return t->cut;
}

static void cut_work(struct task *task)
{
    struct bind_thread *t = LIST_OF(task, struct bind_thread, cut_task);
    struct err e = ERR_INIT;
    t->cut = true;
    bind_is_cut(t, &e);
    bind_texts_cancel(t);
    bind_calls_cut(t, &e);
    bind_deliveries_cut(t, &e);
    fetcher_cancel(&t->fetcher); /* their runs end with the same words: http_lib.c */
}

void bind_cut(struct bind *b)
{
    for (int i = 0; i < b->threads_count; i++) {
        struct bind_thread *t = &b->threads[i];
        if (atomic_exchange(&t->cutting, true))
            continue;
        t->cut_task.run = cut_work;
        runner_post(t->runner, &t->cut_task);
    }
}
