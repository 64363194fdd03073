#include "api/api.h"

#include <stdio.h>
#include <string.h>

#include "api/api_priv.h"
#include "api/feed_priv.h"
#include "base/mem.h"
#include "base/stat.h"
#include "base/str.h"
#include "crypt/crypt.h"
#include "db/db.h"
#include "http/cors.h"
#include "http/rate.h"
#include "io/world.h"

void api_token_hash(const char *token, uint8_t out[API_TOKEN_HASH])
{
    _Static_assert((int)API_TOKEN_HASH == (int)CRYPT_SHA256, "size of the digest");
    crypt_sha256(token, strlen(token), out);
}

/* ---- the shared part ---- */

static char *api_copy(const char *s)
{
    return mem_strdup(s != NULL ? s : "");
}

int api_new(const struct api_options *o, struct api **out, struct err *e)
{
    ASSERT(o->ledger != NULL && o->entities != NULL);
    ASSERT((o->canon == NULL) == (o->engine == NULL));
    int rc = crypt_start(e);
    if (rc != 0)
        return rc;
    struct api *a = mem_new(sizeof *a);
    a->o = *o;
    a->o.env = api_copy(o->env);
    a->o.node_id = api_copy(o->node_id);
    a->o.data_dir = api_copy(o->data_dir);
    if (a->o.stream_ms == 0)
        a->o.stream_ms = API_STREAM_MS;
    a->scripts_ready = o->scripts == NULL;
    if (!a->scripts_ready)
        str_copy(a->trouble, sizeof a->trouble, "not deployed yet");
    uint64_t seed = 0;
    memcpy(&seed, o->cursor_key, sizeof seed); /* nobody outside can make addresses collide */
    api_rate_open(a, seed);
    list_init(&a->once);
    pthread_mutex_init(&a->lock, NULL);
    pthread_cond_init(&a->reader_free, NULL);
    stat_set(stat_gauge("koan_build_info", "version=\"" KOAN_VERSION "\"", "Always 1"), 1);
    *out = a;
    return 0;
}

void api_free(struct api *a)
{
    if (a == NULL)
        return;
    ASSERT(atomic_load(&a->streams) == 0);
    api_pool_close(a);
    rate_free(a->rate);
    pthread_cond_destroy(&a->reader_free);
    pthread_mutex_destroy(&a->lock);
    crypt_wipe(a->o.cursor_key, sizeof a->o.cursor_key);
    mem_free((char *)a->o.env);
    mem_free((char *)a->o.node_id);
    mem_free((char *)a->o.data_dir);
    mem_free(a);
}

int api_routes(struct api *a, struct http_router *r, struct err *e)
{
    const struct api_routes *all[] = {
        &api_feed_routes,         &api_transfer_routes,      &api_history_routes,
        &api_records_read_routes, &api_records_write_routes, &api_bulk_routes,
        &api_health_routes,       &api_docs_routes,          &api_openapi_routes,
        &api_definitions_routes,  &api_trace_routes,         &api_tx_routes,
        &api_canon_routes,        &api_canon_read_routes};
    size_t count = ARRAY_LEN(all) - (a->o.canon == NULL ? 2 : 0);
    for (size_t i = 0; i < count; i++) {
        int rc = http_router_add(r, all[i]->routes, all[i]->count, e);
        if (rc != 0)
            return rc;
    }
    const struct api_routes *coord[] = {&api_leases_routes, &api_values_routes, &api_counts_routes,
                                        &api_inbox_routes};
    for (size_t i = 0; a->o.coord != NULL && i < ARRAY_LEN(coord); i++)
        if (http_router_add(r, coord[i]->routes, coord[i]->count, e) != 0)
            return e->code;
    const struct api_routes *queues[] = {
        &api_queue_routes,         &api_queue_send_routes, &api_queue_settle_routes,
        &api_queue_lease_routes,   &api_queue_peek_routes, &api_queue_operate_routes,
        &api_queue_gates_routes,   &api_queue_room_routes, &api_queue_stream_routes,
        &api_queue_consume_routes, &api_sched_routes,      &api_queue_tail_routes};
    for (size_t i = 0; a->o.queues != NULL && i < ARRAY_LEN(queues); i++)
        if (http_router_add(r, queues[i]->routes, queues[i]->count, e) != 0)
            return e->code;
    const struct api_routes *topics[] = {&api_topics_routes, &api_topics_again_routes};
    for (size_t i = 0; a->o.bus != NULL && i < ARRAY_LEN(topics); i++)
        if (http_router_add(r, topics[i]->routes, topics[i]->count, e) != 0)
            return e->code;
    if (a->o.queues != NULL && a->o.canon != NULL &&
        (http_router_add(r, api_canon_staged_routes.routes, api_canon_staged_routes.count, e) !=
             0 ||
         http_router_add(r, api_canon_parked_routes.routes, api_canon_parked_routes.count, e) != 0))
        return e->code;
    const struct api_routes *jobs[] = {&api_jobs_routes,       &api_jobs_submit_routes,
                                       &api_jobs_work_routes,  &api_jobs_steps_routes,
                                       &api_jobs_store_routes, &api_jobs_operate_routes,
                                       &api_jobs_lease_routes};
    for (size_t i = 0; a->o.queues != NULL && i < ARRAY_LEN(jobs); i++)
        if (http_router_add(r, jobs[i]->routes, jobs[i]->count, e) != 0)
            return e->code;
    if (a->o.node_call != NULL &&
        http_router_add(r, api_node_routes.routes, api_node_routes.count, e) != 0)
        return e->code;
    if (a->o.script_call == NULL)
        return 0;
    return http_router_add(r, api_scripts_routes.routes, api_scripts_routes.count, e);
}

void api_watch_loop(struct api *a, const char *name, struct loop *loop)
{
    unsigned at = atomic_load(&a->loops_count);
    ASSERT(at < API_LOOPS_MAX);
    str_copy(a->loops[at].name, sizeof a->loops[at].name, name);
    a->loops[at].loop = loop;
    atomic_store(&a->loops_count, at + 1);
}

void api_set_draining(struct api *a, bool draining)
{
    atomic_store(&a->draining, draining);
}

void api_set_scripts(struct api *a, const char *trouble)
{
    pthread_mutex_lock(&a->lock);
    a->scripts_ready = trouble == NULL;
    str_copy(a->trouble, sizeof a->trouble, trouble != NULL ? trouble : "");
    pthread_mutex_unlock(&a->lock);
}

void api_set_waiting(struct api *a, const char *why)
{
    pthread_mutex_lock(&a->lock);
    str_copy(a->waiting_why, sizeof a->waiting_why, why != NULL ? why : "");
    pthread_mutex_unlock(&a->lock);
    atomic_store(&a->waiting, why != NULL);
}

int api_waits(struct api *a, struct err *e)
{
    if (!atomic_load(&a->waiting))
        return 0;
    pthread_mutex_lock(&a->lock);
    err_set(e, ERR_UNAVAILABLE, "waiting for the configuration: %s", a->waiting_why);
    pthread_mutex_unlock(&a->lock);
    return e->code;
}

/* ---- the part of one thread ---- */

int api_reader_open(struct api *a, struct db **out, struct err *e)
{
    struct db_options o = {.path = ledger_db_path(a->o.ledger), .mode = DB_READER};
    return db_open(&o, out, e);
}

int64_t api_now_ms(const struct api_thread *t)
{
    struct world *w = loop_world(t->loop);
    return w->wall_ms(w);
}

/* Random bytes are drawn many at once: a system call an id is what would be seen in a profile. */
static void api_make_id(struct entity_ids *ids, struct uuid *out)
{
    struct api_thread *t = (struct api_thread *)((char *)ids - offsetof(struct api_thread, ids));
    if (t->random_left < 8) {
        struct world *w = loop_world(t->loop);
        w->random(w, t->random, sizeof t->random);
        t->random_left = sizeof t->random;
    }
    t->random_left -= 8;
    uuid_v7(&t->gen, (uint64_t)api_now_ms(t), t->random + t->random_left, out);
}

struct db *api_point_reader(struct api_thread *t)
{
    /* Read first: the snapshot may be newer than it, never older. */
    uint64_t applied = ledger_applied(t->api->o.ledger);
    if (t->points_open && t->points_seq != applied) {
        db_snapshot_end(t->points);
        t->points_open = false;
    }
    if (!t->points_open)
        t->points_open = db_snapshot_begin(t->points, NULL) == 0;
    t->points_seq = applied;
    return t->points;
}

static void api_turn_over(struct loop_hook *h)
{
    struct api_thread *t = (struct api_thread *)((char *)h - offsetof(struct api_thread, turn));
    if (t->points_open)
        db_snapshot_end(t->points);
    t->points_open = false;
}

int api_thread_new(struct api *a, struct loop *loop, struct api_thread **out, struct err *e)
{
    struct api_thread *t = mem_new(sizeof *t);
    t->api = a;
    t->loop = loop;
    t->ids.make = api_make_id;
    list_init(&t->queue_waits);
    list_init(&t->job_waits);
    list_init(&t->replies);
    list_init(&t->flows);
    int rc = api_reader_open(a, &t->db, e);
    if (rc == 0)
        rc = api_reader_open(a, &t->points, e);
    if (rc != 0) {
        db_close(t->db);
        mem_free(t);
        return rc;
    }
    db_set_clock(t->db, loop_world(loop));
    t->turn.run = api_turn_over;
    loop_hook_add(loop, &t->turn);
    api_feed_new(t);
    if (a->started_ms == 0)
        a->started_ms = api_now_ms(t);
    char name[16];
    snprintf(name, sizeof name, "net %u", ++a->threads);
    api_watch_loop(a, name, loop);
    queue_work_new(t);
    queue_story_new(t);
    *out = t;
    return 0;
}

void api_thread_drain(struct api_thread *t)
{
    queue_work_drain(t);
    api_feed_close(t);
    api_queue_drain(t);
    api_flows_drain(t);
    api_jobs_drain(t);
    api_replies_drain(t);
}

void api_thread_free(struct api_thread *t)
{
    if (t == NULL)
        return;
    queue_work_drain(t); /* else what follows, turning the loop, begins it */
    queue_story_free(t);
    queue_work_free(t);
    api_feed_free(t);
    loop_hook_remove(t->loop, &t->turn);
    if (t->points_open)
        db_snapshot_end(t->points);
    db_close(t->points);
    db_close(t->db);
    mem_free(t);
}

bool api_may_wait(struct http_request *req)
{
    if (api_thread_of(req)->waits_count < API_WAITS_MAX)
        return true;
    http_refuse(req, ERR_OVERLOADED, "%d requests wait here for what others do", API_WAITS_MAX);
    return false;
}

/* ---- who asks ---- */

static bool api_token_fits(const struct api *a, const char *header)
{
    if (header == NULL || strncasecmp(header, "Bearer ", 7) != 0)
        return false;
    const char *token = header + 7;
    while (*token == ' ')
        token++;
    uint8_t hash[API_TOKEN_HASH];
    api_token_hash(token, hash);
    return crypt_equal(hash, a->o.token_hash, sizeof hash);
}

bool api_is_known(const struct http_request *req)
{
    const struct api *a = api_thread_of(req)->api;
    return !a->o.token_required || api_token_fits(a, http_header_in(req, "Authorization"));
}

/* What a request does to the records of its entity. */
static enum entity_access_verb api_access_verb(const struct http_request *req)
{
    const struct http_route *route = http_route(req);
    switch (http_verb(req)) {
    case HTTP_VERB_GET:
    case HTTP_VERB_HEAD:
        return ACCESS_READ;
    case HTTP_VERB_DELETE:
        return ACCESS_REMOVE;
    default:
        return str_ends(route->pattern, "/query")   ? ACCESS_READ
               : str_ends(route->pattern, "/purge") ? ACCESS_REMOVE
                                                    : ACCESS_WRITE;
    }
}

bool api_may_be_public(const char *path)
{
    /* Not what a record was, nor who changed it and why; and nothing that reads, writes and removes
     * at once. */
    return strstr(path, "/history") == NULL && !str_ends(path, "/copy") &&
           !str_ends(path, "/move") && !str_ends(path, "/mirror");
}

/* The entity, or the route of a script, lets anybody do this. Its hooks and envelope see the
 * principal "public". */
static bool api_is_public(struct http_request *req)
{
    const struct http_route *route = http_route(req);
    /* Who brings a credential means it: a wrong one is told so. */
    if (route == NULL || http_header_in(req, "Authorization") != NULL)
        return false;
    if (route->flags & HTTP_PUBLIC) {
        http_set_user(req, (void *)"public");
        return true;
    }
    if (!str_starts(route->pattern, "/api/:entity"))
        return false;
    if (!api_may_be_public(route->pattern))
        return false;
    AUTO(entity_def_unrefp)
    struct entity_def *d =
        entities_find_path(api_thread_of(req)->api->o.entities, http_param(req, "entity"));
    if (d == NULL || d->access[api_access_verb(req)] != ACCESS_PUBLIC)
        return false;
    http_set_user(req, (void *)"public");
    return true;
}

bool api_may(const struct http_request *req, const struct entity_def *d,
             enum entity_access_verb verb)
{
    return http_user(req) == NULL || d->access[verb] == ACCESS_PUBLIC;
}

bool api_before(struct http_request *req)
{
    const struct api *a = api_thread_of(req)->api;
    const struct http_route *route = http_route(req);
    if (!api_rate_take(req))
        return false;
    if (a->o.token_required && !(route != NULL && (route->flags & HTTP_OPEN)) &&
        !api_token_fits(a, http_header_in(req, "Authorization")) && !api_is_public(req)) {
        http_header(req, "WWW-Authenticate", "Bearer realm=\"koan\"");
        http_refuse(req, ERR_UNAUTHORIZED,
                    "this node wants a token: send 'Authorization: Bearer TOKEN'; the token was "
                    "printed at the first start, or is what KOAN_TOKEN says");
        return false;
    }
    if (!a->o.token_required && http_verb(req) != HTTP_VERB_GET &&
        http_verb(req) != HTTP_VERB_HEAD && http_is_foreign(req)) {
        http_refuse(req, ERR_FORBIDDEN,
                    "a page of %s wants to change something through the browser of this machine; "
                    "list its origin in http.origins to allow that",
                    http_header_in(req, "Origin"));
        return false;
    }
    struct err e = ERR_INIT;
    bool node = route != NULL &&
                ((route->flags & HTTP_OPEN) != 0 || str_starts(route->pattern, "/api/cluster/") ||
                 strcmp(route->pattern, "/metrics") == 0);
    if (!node && api_waits(api_thread_of(req)->api, &e) != 0) {
        http_problem(req, &e);
        return false;
    }
    const char *tenant = http_header_in(req, "X-Koan-Tenant");
    if (tenant != NULL && strcmp(tenant, API_TENANT) != 0) {
        http_refuse(req, ERR_INVALID,
                    "X-Koan-Tenant: this node has the one tenant '" API_TENANT "'");
        return false;
    }
    return true;
}

void api_envelope(const struct http_request *req, struct envelope *env)
{
    const struct api *a = api_thread_of(req)->api;
    *env = (struct envelope){.tenant = API_TENANT,
                             .principal = http_user(req) != NULL ? http_user(req)
                                          : a->o.token_required  ? "token"
                                                                 : "local",
                             .correlation = http_correlation(req),
                             .traceparent = api_traceparent(req),
                             .reason = http_header_in(req, "X-Koan-Reason")};
}
