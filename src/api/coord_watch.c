/* GET /api/leases/{name}: who holds it; with ?unlike=TOKEN once that is somebody else, or nobody,
 * or when `wait` is over: so that an election tells its watchers.
 *
 *     watch -> look: another? --yes--> answer
 *       ^            | no
 *       +--- told ---+--- late, gone, the node leaves ---> answer as it stands */
#include <string.h>

#include "api/coord_priv.h"
#include "base/arena.h"
#include "base/mem.h"
#include "base/time.h"

enum { WATCH_WAIT_MS = 20 * 1000 };

struct lease_watch {
    struct coord_watch watch; /* first */
    struct world_timer timer;
    struct http_request *req;
    const char *name;
    uint64_t unlike;
    bool over; /* answer, whatever there is */
};

static struct world *world_of(const struct lease_watch *w)
{
    return loop_world(api_thread_of(w->req)->loop);
}

static void lease_show(struct http_request *req, const char *name)
{
    struct err e = ERR_INIT;
    json_t *o = NULL;
    if (coord_claims_get(api_thread_of(req)->db, API_TENANT, name, &o, &e) != 0)
        http_problem(req, &e);
    else
        api_answer_json(req, 200, o);
}

static void watch_on(struct lease_watch *w);

static void watch_done(struct coord_watch *c)
{
    struct lease_watch *w = (struct lease_watch *)c;
    uint64_t token = 0;
    bool other = coord_holder(api_thread_of(w->req)->db, API_TENANT, w->name, &token, NULL) != 0 ||
                 token != w->unlike;
    if (!other && !w->over && c->code == 0) {
        watch_on(w);
        return;
    }
    world_of(w)->timer_stop(world_of(w), &w->timer);
    lease_show(w->req, w->name);
}

static void watch_on(struct lease_watch *w)
{
    struct err e = ERR_INIT;
    uint64_t token = 0;
    coord_watch_init(&w->watch, loop_runner(api_thread_of(w->req)->loop), watch_done);
    if (coord_watch(api_thread_of(w->req)->api->o.coord, &w->watch, API_TENANT, w->name, &e) != 0) {
        world_of(w)->timer_stop(world_of(w), &w->timer);
        http_problem(w->req, &e);
        return;
    }
    if (coord_holder(api_thread_of(w->req)->db, API_TENANT, w->name, &token, NULL) != 0 ||
        token != w->unlike)
        coord_unwatch(&w->watch);
}

static void watch_late(struct world_timer *t)
{
    struct lease_watch *w = LIST_OF(t, struct lease_watch, timer);
    w->over = true;
    coord_unwatch(&w->watch);
}

static void watch_gone(struct http_request *req, void *arg)
{
    struct lease_watch *w = arg;
    (void)req;
    w->over = true;
    coord_unwatch(&w->watch);
}

static bool watch_read(struct http_request *req, int64_t *unlike, int64_t *wait_ms)
{
    struct err e = ERR_INIT;
    const char *wait = http_query(req, "wait");
    *wait_ms = WATCH_WAIT_MS;
    if (!api_query_int(req, "unlike", 0, INT64_MAX, 0, unlike))
        return false;
    if (wait == NULL)
        return true;
    if (http_query(req, "unlike") == NULL)
        err_field(&e, ERR_INVALID, "wait", "wait: with unlike=TOKEN, until somebody else holds it");
    else if (duration_parse(wait, wait_ms, &e) != 0 || *wait_ms < 0 || *wait_ms > COORD_WAIT_MAX_MS)
        err_field(&e, ERR_INVALID, "wait", "wait: a duration like \"20s\", at most %ds",
                  COORD_WAIT_MAX_MS / 1000);
    if (e.code != 0)
        http_problem(req, &e);
    return e.code == 0;
}

static void lease_get_now(struct http_request *req)
{
    int64_t unlike, wait_ms;
    const char *name = API_QUERY_ONLY(req, "unlike", "wait") ? call_key(req, "name") : NULL;
    if (name == NULL || !watch_read(req, &unlike, &wait_ms))
        return;
    if (http_query(req, "unlike") == NULL || wait_ms == 0) {
        lease_show(req, name);
        return;
    }
    struct lease_watch *w = arena_new(http_arena(req), sizeof *w);
    w->req = req;
    w->name = name;
    w->unlike = (uint64_t)unlike;
    w->timer.fire = watch_late;
    http_uncounted(req);
    http_on_cancel(req, watch_gone, w);
    world_of(w)->timer_start(world_of(w), &w->timer, (uint64_t)wait_ms);
    watch_on(w);
}

void api_lease_get(struct http_request *req)
{
    api_read(req, lease_get_now);
}
