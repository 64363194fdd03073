/* A house for tests of bind: ledger, entities and canon on a thread, script threads, and this
 * thread as everybody's home. */
#ifndef KOAN_BIND_HOUSE_H
#define KOAN_BIND_HOUSE_H

#include <poll.h>
#include <semaphore.h>
#include <stdio.h>

#include "base/json.h"
#include "base/log.h"
#include "base/stat.h"
#include "bind/bind_priv.h"
#include "bind/script_store.h"
#include "db/db.h"
#include "queue/queue.h"
#include "support/ledger_kit.h"
#include "support/unit.h"

struct house {
    char dir[256];
    struct loop *ledger_loop, *home;
    struct entities *entities;
    struct canon *canon;
    struct queues *queues;
    struct ledger *ledger;
    struct bind *bind;
    struct task close;
    bool closed;
    sem_t down;
};

static inline void house_turn(struct house *h)
{
    loop_poll(h->home);
    poll(NULL, 0, 1);
}

static inline void house_open(struct house *h, int threads)
{
    struct err e = ERR_INIT;
    memset(h, 0, sizeof *h);
    kit_dir(h->dir);
    log_set_level(LOG_ERROR);
    h->entities = entities_new();
    if (loop_new("ledger", &h->ledger_loop, &e) != 0 || loop_new("home", &h->home, &e) != 0 ||
        canon_new(h->entities, &h->canon, &e) != 0)
        fail_msg("%s", e.text);
    h->queues = queues_new();
    struct domain domains[] = {*entities_domain(h->entities), *canon_domain(h->canon),
                               *queues_domain(h->queues), *script_domain()};
    struct ledger_options o = {.dir = h->dir, .segment_bytes = 1 << 20};
    if (ledger_open(&o, loop_world(h->ledger_loop), domains, 4, &h->ledger, &e) != 0 ||
        loop_start(h->ledger_loop, &e) != 0)
        fail_msg("%s", e.text);
    struct bind_options b = {
        .ledger = h->ledger, .entities = h->entities, .canon = h->canon, .threads = threads};
    if (bind_open(&b, &h->bind, &e) != 0)
        fail_msg("%s", e.text);
}

static void house_closed(void *arg)
{
    struct house *h = arg;
    loop_stop(h->ledger_loop);
}

static void house_close_ledger(struct task *t)
{
    struct house *h = (struct house *)((char *)t - offsetof(struct house, close));
    ledger_close(h->ledger, house_closed, h);
}

static inline void house_close(struct house *h)
{
    bind_close(h->bind);
    h->close.run = house_close_ledger;
    runner_post(loop_runner(h->ledger_loop), &h->close);
    loop_join(h->ledger_loop);
    while (loop_poll(h->home)) {
    }
    loop_free(h->ledger_loop);
    loop_free(h->home);
    canon_free(h->canon);
    queues_free(h->queues);
    entities_free(h->entities);
    kit_dir_remove(h->dir);
    stat_reset_all();
}

/* ---- deploying ---- */

struct deploying {
    struct bind_deploy d;
    struct vm_source file;
    bool done;
};

static void house_deployed(struct bind_deploy *d)
{
    ((struct deploying *)d)->done = true;
}

static inline void house_deploy_start(struct house *h, struct deploying *d, const char *text)
{
    memset(d, 0, sizeof *d);
    d->file = (struct vm_source){"app.lua", text, strlen(text)};
    d->d.files = &d->file;
    d->d.count = 1;
    d->d.home = loop_runner(h->home);
    d->d.done = house_deployed;
    bind_deploy(h->bind, &d->d);
}

static inline int house_deploy(struct house *h, const char *text, struct err *e)
{
    struct deploying d;
    house_deploy_start(h, &d, text);
    while (!d.done)
        house_turn(h);
    *e = d.d.err;
    bind_deploy_fini(&d.d);
    return e->code;
}

static inline void house_deployed_well(struct house *h, const char *text)
{
    struct err e = ERR_INIT;
    if (house_deploy(h, text, &e) != 0)
        fail_msg("%s", e.text);
}

/* ---- running a text ---- */

struct running {
    struct bind_text t;
    bool done;
};

static void house_ran(struct bind_text *t)
{
    ((struct running *)t)->done = true;
}

static inline void house_run_start(struct house *h, struct running *r, const char *text)
{
    memset(r, 0, sizeof *r);
    r->t.name = "run.lua";
    r->t.text = text;
    r->t.len = strlen(text);
    r->t.principal = "tester";
    r->t.home = loop_runner(h->home);
    r->t.done = house_ran;
    bind_run_text(h->bind, &r->t);
}

static inline void house_run_wait(struct house *h, struct running *r)
{
    while (!r->done)
        house_turn(h);
}

/* The text returns true. */
static inline void house_true(struct house *h, const char *text)
{
    struct running r;
    house_run_start(h, &r, text);
    house_run_wait(h, &r);
    if (r.t.err.code != 0)
        fail_msg("%s", r.t.err.text);
    if (!json_is_true(r.t.result)) {
        char *s = json_dumps(r.t.result, JSON_ENCODE_ANY);
        fail_msg("returned %s", s != NULL ? s : "nothing");
    }
    json_decref(r.t.result);
}

static inline void house_fails(struct house *h, const char *text, int code, const char *words)
{
    struct running r;
    house_run_start(h, &r, text);
    house_run_wait(h, &r);
    struct err e = r.t.err;
    json_decref(r.t.result);
    assert_refused(e.code, code, words);
}

#define HOUSE_TEST(name) HEAP_TEST(name)

#endif
