/* What a set declares of queues against what there is: compared on the ledger's thread, so that a
 * start that changes nothing writes nothing. What scripts say is theirs, the rest is left as it is.
 * A queue that they declare no more keeps its records and its options; it only is not worked any
 * more. */
#include "bind/queue_deploy.h"

#include <string.h>

#include "base/mem.h"
#include "bind/queue_lib.h"

static bool is_same_text(const char *a, const char *b)
{
    return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

/* What the script says is there already. */
static bool is_same(const struct core_queue *mine, const struct core_queue *is)
{
    return is_same_text(mine->script, is->script) && mine->scripted == is->scripted &&
           (core_queue_differs(mine, is) & mine->scripted) == 0;
}

/* Names that scripts cannot give are of Koan's own parts, which work them themselves. */
static bool is_of_scripts(const struct core_queue *q)
{
    return strcmp(q->tenant, "default") == 0 && strpbrk(q->name, "/:*# ") == NULL &&
           !canon_queue_is_ours(q->name);
}

/* ---- queues of canon: what an operator has made of them stays ---- */

static void canon_want(struct bind_queues_change *c, const struct core *core, const char *model,
                       bool staged)
{
    char name[CANON_QUEUE_NAME_MAX];
    struct core_queue q = {.name = NULL};
    struct core_counts n;
    canon_queue_name(model, staged, name);
    bool is_new = core_find(core, "default", name, &q, &n, NULL) != 0;
    if (!is_new && (staged ? q.manual : q.handled))
        return;
    struct core_queue *mine = &c->canon[c->canon_count++];
    core_queue_defaults(mine);
    mine->name = mem_strdup(name);
    mine->manual = staged;
    mine->handled = !staged;
    mine->keep_completed_ms = staged ? CANON_STAGED_KEEP_MS : CANON_QUEUE_KEEP_MS;
    mine->keep_count = CANON_QUEUE_KEEP_COUNT;
}

static void canon_ask(struct bind_queues_change *c, const struct core *core)
{
    for (size_t i = 0; i < c->canons; i++) {
        canon_want(c, core, c->set->canons[i].name, false);
        canon_want(c, core, c->set->canons[i].name, true);
    }
}

static void leave(struct bind_queues_change *c, const struct core_queue *q)
{
    if (c->left_count == BIND_QUEUES_MAX)
        return;
    struct core_queue *mine = &c->left[c->left_count++];
    core_queue_defaults(mine);
    mine->name = mem_strdup(q->name);
    mine->script = "";
}

static void ask_cb(struct queue_ask *a, const struct core *core)
{
    struct bind_queues_change *c = (struct bind_queues_change *)a;
    const struct bind_queues *s = c->set->queues;
    size_t count = s != NULL ? s->count : 0;
    AUTO(mem_freep) bool *same = mem_new(count + 1);
    struct core_queue q;
    struct core_counts n;
    for (uint32_t i = 0; core_queue_at(core, &i, &q, &n);) {
        const struct bind_queue *mine = bind_set_queue(c->set, q.name);
        if (!is_of_scripts(&q))
            continue;
        if (mine != NULL)
            same[mine - s->list] = is_same(&mine->q, &q);
        else if (q.handled || q.script != NULL)
            leave(c, &q);
    }
    for (size_t i = 0; i < count; i++)
        if (!same[i])
            c->wanted[c->wanted_count++] = &s->list[i];
    canon_ask(c, core);
}

static void done_cb(struct queue_ask *a)
{
    struct bind_queues_change *c = (struct bind_queues_change *)a;
    c->done(c);
}

bool bind_queues_ask(struct bind_queues_change *c, struct bind *b, const struct bind_set *set)
{
    if (b->queues == NULL)
        return false;
    size_t count = set->queues != NULL ? set->queues->count : 0;
    bind_queues_change_fini(c); /* a deploy that begins anew asks again */
    c->set = set;
    c->wanted = mem_new_array(count + 1, sizeof *c->wanted);
    c->left = mem_new_array(BIND_QUEUES_MAX, sizeof *c->left);
    c->canons = b->canon != NULL ? set->canons_count : 0;
    c->canon = mem_new_array(2 * c->canons + 1, sizeof *c->canon);
    c->ask.ask = ask_cb;
    c->ask.done = done_cb;
    c->ask.home = b->threads[0].runner;
    queues_ask(b->queues, &c->ask);
    return true;
}

void bind_queues_add(const struct bind_queues_change *c, struct txn *t)
{
    for (size_t i = 0; i < c->wanted_count; i++)
        queue_txn_declare(t, &c->wanted[i]->q);
    for (size_t i = 0; i < c->left_count; i++)
        queue_txn_declare(t, &c->left[i]);
    for (size_t i = 0; i < c->canon_count; i++)
        queue_txn_declare(t, &c->canon[i]);
}

void bind_queues_change_fini(struct bind_queues_change *c)
{
    for (size_t i = 0; i < c->canon_count; i++)
        mem_free((char *)(uintptr_t)c->canon[i].name);
    mem_free(c->canon);
    c->canon = NULL;
    c->canon_count = 0;
    for (size_t i = 0; i < c->left_count; i++)
        mem_free((char *)(uintptr_t)c->left[i].name);
    mem_free(c->left);
    mem_free(c->wanted);
    c->left = NULL;
    c->wanted = NULL;
    c->left_count = c->wanted_count = 0;
}
