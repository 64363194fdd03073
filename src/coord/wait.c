/* Waiting for a grant.
 *
 *     idle -> PROPOSED --the unit says held, or why not--> done
 *                 |  \--it says waiting--> WAITING --event--> done
 *                 \--event (before the unit's answer)--> TOLD --the unit's answer--> done
 *
 * The unit's answer comes to the asker's thread, events to the ledger's: what they share is under
 * the lock. Whoever takes a wait out of the map completes it. */
#include <string.h>

#include "base/map.h"
#include "base/mem.h"
#include "base/str.h"
#include "coord/coord_priv.h"

enum { WAIT_IDLE, WAIT_PROPOSED, WAIT_WAITING, WAIT_TOLD };

static struct coord_wait *wait_of(struct unit *u)
{
    return (struct coord_wait *)((char *)u - offsetof(struct coord_wait, unit));
}

static void wait_finish_task(struct task *t)
{
    struct coord_wait *w = (struct coord_wait *)((char *)t - offsetof(struct coord_wait, task));
    w->done(w);
}

/* With the lock: it is not in the map any more. */
static void wait_forget(struct coord_wait *w)
{
    void *was = map_removes(w->coord->waits, w->id);
    ASSERT(was == w);
}

static void wait_set(struct coord_wait *w, const struct coord_event *ev, uint64_t seq)
{
    w->grant = (struct coord_grant){
        .held = ev->kind == COORD_EVENT_GRANTED, .token = ev->token, .expires = ev->expires};
    w->seq = seq;
    if (!w->grant.held)
        err_set(&w->err, ERR_LOCKED, "'%s' was not free in time", w->name);
}

void coord_tell(struct coord *c, uint64_t seq)
{
    pthread_mutex_lock(&c->lock);
    for (size_t i = 0; i < c->events_count; i++) {
        struct coord_wait *w = map_gets(c->waits, c->events[i].id);
        if (w == NULL || w->state == WAIT_TOLD)
            continue;
        bool waits = w->state == WAIT_WAITING;
        wait_set(w, &c->events[i], seq);
        w->state = WAIT_TOLD;
        if (!waits)
            continue;
        wait_forget(w);
        w->home->post(w->home, &w->task);
    }
    pthread_mutex_unlock(&c->lock);
}

/* With the lock. True: done() is to run. */
static bool wait_answered(struct coord_wait *w)
{
    struct cursor result;
    bool told = w->state == WAIT_TOLD;
    if (w->unit.err.code != 0) {
        w->err = w->unit.err;
        wait_forget(w);
        return true;
    }
    w->seq = told ? w->seq : w->unit.seq;
    if (!told && (!unit_result(&w->unit, w->op, &result) ||
                  coord_grant_read(&result, &w->grant, &w->err) != 0))
        err_set(&w->err, ERR_INTERNAL, "the grant cannot be read");
    if (!told && w->err.code == 0 && !w->grant.held && w->coord->draining)
        err_set(&w->err, ERR_DRAINING, "this node is leaving; ask another");
    if (told || w->err.code != 0 || w->grant.held) {
        wait_forget(w);
        return true;
    }
    w->state = WAIT_WAITING;
    return false;
}

static void wait_unit_done(struct unit *u)
{
    struct coord_wait *w = wait_of(u);
    struct coord *c = w->coord;
    pthread_mutex_lock(&c->lock);
    bool done = wait_answered(w);
    bool leave = done && w->err.code == ERR_DRAINING && u->err.code == 0;
    pthread_mutex_unlock(&c->lock);
    if (leave)
        coord_give_back(c, w->name, w->id);
    if (done)
        w->done(w);
}

/* ---- the door ---- */

void coord_wait_init(struct coord_wait *w, struct runner *home, void (*done)(struct coord_wait *w))
{
    *w = (struct coord_wait){.home = home, .done = done, .task.run = wait_finish_task};
    unit_init(&w->unit, home, wait_unit_done);
}

void coord_wait_fini(struct coord_wait *w)
{
    unit_fini(&w->unit);
}

int coord_wait_ask(struct coord_wait *w, const struct coord_ask *ask, struct err *e)
{
    uint32_t op = w->unit.txn.ops;
    int rc = coord_txn_acquire(&w->unit.txn, ask, e);
    if (rc != 0)
        return rc;
    str_copy(w->name, sizeof w->name, ask->name);
    str_copy(w->id, sizeof w->id, ask->id);
    w->op = op;
    w->wait_ms = ask->wait_ms;
    return 0;
}

/* With the lock. */
static int wait_enter(struct coord *c, struct coord_wait *w, struct err *e)
{
    if (c->draining)
        return err_set(e, ERR_DRAINING, "this node is leaving; ask another");
    if (map_count(c->waits) >= COORD_WAITS_MAX)
        return err_set(e, ERR_OVERLOADED, "%d requests wait for leases already", COORD_WAITS_MAX);
    if (map_gets(c->waits, w->id) != NULL)
        return err_field(e, ERR_CONFLICT, "id", "the claim '%s' is waited for already", w->id);
    map_puts(c->waits, w->id, w);
    w->coord = c;
    w->state = WAIT_PROPOSED;
    w->deadline_ms = UINT64_MAX;
    return 0;
}

int coord_acquire(struct coord *c, struct coord_wait *w, struct err *e)
{
    ASSERT(w->id[0] != '\0');
    pthread_mutex_lock(&c->lock);
    int rc = wait_enter(c, w, e);
    pthread_mutex_unlock(&c->lock);
    if (rc != 0)
        return rc;
    rc = ledger_propose(c->ledger, &w->unit, e);
    if (rc == 0)
        return 0;
    pthread_mutex_lock(&c->lock);
    wait_forget(w);
    w->state = WAIT_IDLE;
    pthread_mutex_unlock(&c->lock);
    return rc;
}

/* ---- giving up ---- */

static struct leaving *leaving_new(const char *name, const char *id)
{
    struct leaving *l = mem_new(sizeof *l);
    str_copy(l->name, sizeof l->name, name);
    str_copy(l->id, sizeof l->id, id);
    return l;
}

void coord_give_back(struct coord *c, const char *name, const char *id)
{
    struct leaving *l = leaving_new(name, id);
    pthread_mutex_lock(&c->lock);
    l->next = c->leaving;
    c->leaving = l;
    bool post = !c->looking && c->world != NULL;
    c->looking |= post;
    pthread_mutex_unlock(&c->lock);
    if (post)
        c->world->runner->post(c->world->runner, &c->look);
}

/* With the lock: only one that nobody else completes. */
static bool wait_cancel(struct coord_wait *w, int code, const char *words)
{
    if (w->state != WAIT_WAITING)
        return false;
    wait_forget(w);
    w->state = WAIT_TOLD;
    err_set(&w->err, code, "%s", words);
    w->home->post(w->home, &w->task);
    return true;
}

void coord_give_up(struct coord_wait *w)
{
    struct coord *c = w->coord;
    char name[COORD_KEY_BYTES + 1], id[COORD_ID_BYTES + 1];
    memcpy(name, w->name, sizeof name);
    memcpy(id, w->id, sizeof id);
    pthread_mutex_lock(&c->lock);
    bool over = wait_cancel(w, ERR_CANCELED, "nobody waits for it any more");
    pthread_mutex_unlock(&c->lock);
    if (over)
        coord_give_back(c, name, id);
}

/* The wait ends by ledger time. When that stands still, because a clock was set back, it ends by
 * the time that passes. */
void coord_waits_look(struct coord *c, uint64_t mono_ms)
{
    pthread_mutex_lock(&c->lock);
    for (struct map_iter it = {0}; map_next(c->waits, &it);) {
        struct coord_wait *w = it.value;
        if (w->state == WAIT_WAITING && w->deadline_ms == UINT64_MAX)
            w->deadline_ms = mono_ms + (uint64_t)w->wait_ms + COORD_LOOK_MS;
        if (mono_ms < w->deadline_ms)
            continue;
        struct leaving *l = leaving_new(w->name, w->id);
        if (wait_cancel(w, ERR_LOCKED, "it was not free in time")) {
            l->next = c->leaving;
            c->leaving = l;
        } else {
            mem_free(l);
        }
    }
    pthread_mutex_unlock(&c->lock);
}

void coord_drain(struct coord *c)
{
    char name[COORD_KEY_BYTES + 1], id[COORD_ID_BYTES + 1];
    bool over = true;
    while (over) {
        over = false;
        pthread_mutex_lock(&c->lock);
        c->draining = true;
        coord_drain_watches(c);
        for (struct map_iter it = {0}; !over && map_next(c->waits, &it);) {
            struct coord_wait *w = it.value;
            memcpy(name, w->name, sizeof name);
            memcpy(id, w->id, sizeof id);
            over = wait_cancel(w, ERR_DRAINING, "this node is leaving; ask another");
        }
        pthread_mutex_unlock(&c->lock);
        if (over)
            coord_give_back(c, name, id);
    }
}
