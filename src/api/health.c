/* Is this node alive, is it ready, how is it: /livez, /readyz, /health, /api/cluster/health and
 * /api/cluster/status.
 *
 * Alive: every loop has turned within API_LIVE_LAG_S; a node that is not is to be restarted.
 * Ready: it can commit; a node that is not gets no traffic. The checks stand in one table, in the
 * order in which they are named to whoever asks. */
#include <string.h>

#include "api/api_priv.h"
#include "base/arena.h"
#include "base/health.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/time.h"
#include "canon/canon.h"
#include "db/db.h"

enum {
    HEALTH_COMMIT_MS = 10 * 1000,
    HEALTH_STALL_S =
        5, /* the ledger's loop in one sync for so long: a probe would wait there too */
    HEALTH_LAG_MS = 5000
};

/* ---- alive ---- */

/* Is a loop stuck, or the log, which is the ledger's own loop or a thread beside it? Why, then. */
static bool health_stuck(const struct api *a, struct err *e)
{
    unsigned n = atomic_load(&a->loops_count);
    for (unsigned i = 0; i < n; i++) {
        double lag = loop_lag_s(a->loops[i].loop);
        if (lag > API_LIVE_LAG_S) {
            err_set(e, ERR_UNAVAILABLE, "loop '%s' has not turned for %.0f s", a->loops[i].name,
                    lag);
            return true;
        }
    }
    double lag = ledger_write_lag_s(a->o.ledger);
    if (lag > API_LIVE_LAG_S)
        err_set(e, ERR_UNAVAILABLE, "the log has waited for its disk for %.0f s", lag);
    return lag > API_LIVE_LAG_S;
}

static void health_livez(struct http_request *req)
{
    struct err e = ERR_INIT;
    if (!API_QUERY_ONLY(req, "verbose"))
        return;
    if (!health_stuck(api_thread_of(req)->api, &e))
        http_respond(req, 200, API_JSON, "{\"status\":\"alive\"}", 18);
    else
        http_refuse(req, e.code, "%s", e.text);
}

/* ---- ready ---- */

struct health_facts {
    struct api *api;
    struct api_thread *thread;
    struct ledger_status ledger;
    uint64_t behind;  /* milliseconds that something committed has waited to be applied */
    double stall;     /* seconds since the ledger's loop has turned, or its write has begun */
    struct err probe; /* of a commit just now; code 0: fine */
};

/* 0, or why not. */
typedef int health_check(const struct health_facts *f, struct err *e);

static int health_draining(const struct health_facts *f, struct err *e)
{
    return !atomic_load(&f->api->draining)
               ? 0
               : err_set(e, ERR_DRAINING, "this node is leaving; ask another");
}

static int health_leader(const struct health_facts *f, struct err *e)
{
    return f->ledger.leader ? 0 : err_set(e, ERR_NO_LEADER, "no leader is known");
}

static int health_commit(const struct health_facts *f, struct err *e)
{
    if (f->stall > HEALTH_STALL_S)
        return err_set(e, ERR_UNAVAILABLE,
                       "nothing can be committed: the log has waited for its disk for %.0f s",
                       f->stall);
    return f->probe.code == 0
               ? 0
               : err_set(e, ERR_UNAVAILABLE, "nothing can be committed: %s", f->probe.text);
}

static int health_applied(const struct health_facts *f, struct err *e)
{
    return f->behind <= HEALTH_LAG_MS
               ? 0
               : err_set(e, ERR_UNAVAILABLE,
                         "what was in the log %.0f s ago is not applied yet: %llu entries wait",
                         (double)f->behind / 1000,
                         (unsigned long long)(f->ledger.last - f->ledger.applied));
}

static int health_disk(const struct health_facts *f, struct err *e)
{
    char free_text[32];
    size_format(f->ledger.disk_free, free_text, sizeof free_text);
    return !f->ledger.disk_full
               ? 0
               : err_set(e, ERR_UNAVAILABLE, "the disk of the data directory is full: %s left",
                         free_text);
}

static int health_configuration(const struct health_facts *f, struct err *e)
{
    return api_waits(f->api, e);
}

static int health_scripts(const struct health_facts *f, struct err *e)
{
    struct api *a = f->api;
    pthread_mutex_lock(&a->lock);
    int rc = a->scripts_ready ? 0 : err_set(e, ERR_UNAVAILABLE, "scripts: %s", a->trouble);
    pthread_mutex_unlock(&a->lock);
    return rc;
}

static int health_database(const struct health_facts *f, struct err *e)
{
    AUTO(db_stmt_donep) struct db_stmt *s = db_stmt_get(f->thread->db, "SELECT 1", e);
    int rc = s != NULL ? db_step(s, e) : e->code;
    return rc < 0 ? rc : 0;
}

static const struct health_item {
    const char *name;
    health_check *check;
    bool reads; /* matters for local reads too */
} health_items[] = {
    {"draining", health_draining, true}, {"leader", health_leader, false},
    {"commit", health_commit, false},    {"applied", health_applied, false},
    {"disk", health_disk, false},        {"configuration", health_configuration, true},
    {"scripts", health_scripts, false},  {"database", health_database, true},
};

static void health_print(const struct health_facts *f, bool reads_only, struct buf *out)
{
    buf_adds(out, "\"checks\":[");
    for (size_t i = 0, n = 0; i < ARRAY_LEN(health_items); i++) {
        const struct health_item *it = &health_items[i];
        struct err e = ERR_INIT;
        if (reads_only && !it->reads)
            continue;
        bool ok = it->check(f, &e) == 0;
        buf_addf(out, "%s{\"name\":\"%s\",\"ok\":%s", n++ > 0 ? "," : "", it->name,
                 ok ? "true" : "false");
        if (!ok) {
            buf_adds(out, ",\"detail\":");
            json_print_string(out, e.text, strlen(e.text));
        }
        buf_addc(out, '}');
    }
    buf_addc(out, ']');
}

/* 0, or the first check that fails, named in front. */
static int health_first(const struct health_facts *f, bool reads_only, struct err *e)
{
    for (size_t i = 0; i < ARRAY_LEN(health_items); i++)
        if ((!reads_only || health_items[i].reads) && health_items[i].check(f, e) != 0)
            return err_context(e, "%s", health_items[i].name);
    return 0;
}

static void health_answer_ready(struct http_request *req, const struct health_facts *f)
{
    bool verbose = http_query(req, "verbose") != NULL;
    bool reads_only = http_query(req, "mode") != NULL;
    struct err e = ERR_INIT;
    struct buf out = BUF_INIT(64 * 1024);
    int rc = health_first(f, reads_only, &e);
    if (rc == 0)
        buf_adds(&out, "{\"status\":\"ready\"");
    if (verbose) {
        if (rc == 0)
            buf_addc(&out, ',');
        health_print(f, reads_only, &out);
    }
    if (rc == 0) {
        buf_addc(&out, '}');
        http_respond_buf(req, 200, API_JSON, &out);
        return;
    }
    if (e.code != ERR_DRAINING && e.code != ERR_NO_LEADER)
        e.code = ERR_UNAVAILABLE;
    http_problem_more(req, &e, out.len > 0 ? buf_str(&out) : NULL);
    buf_fini(&out);
}

/* ---- a commit, if none was seen lately ---- */

struct health_probe {
    struct unit unit;
    struct http_request *req;
    void (*answer)(struct http_request *req, const struct health_facts *f);
};

static double health_ledger_lag(const struct api *a)
{
    unsigned n = atomic_load(&a->loops_count);
    double write = ledger_write_lag_s(a->o.ledger), loop = 0;
    for (unsigned i = 0; i < n; i++)
        if (strcmp(a->loops[i].name, "ledger") == 0)
            loop = loop_lag_s(a->loops[i].loop);
    return write > loop ? write : loop;
}

static void health_gather(struct http_request *req, struct health_facts *f)
{
    f->thread = api_thread_of(req);
    f->api = f->thread->api;
    f->stall = health_ledger_lag(f->api);
    ledger_status(f->api->o.ledger, &f->ledger);
    struct world *w = loop_world(f->thread->loop);
    pthread_mutex_lock(&f->api->lock);
    f->behind = lag_note(&f->api->lag, f->ledger.applied, f->ledger.last, w->mono_ns(w) / 1000000);
    pthread_mutex_unlock(&f->api->lock);
}

static void health_probed(struct unit *u)
{
    struct health_probe *p = (struct health_probe *)u;
    struct health_facts f = {.probe = u->err};
    health_gather(p->req, &f);
    unit_fini(u);
    p->answer(p->req, &f);
}

static void health_ask(struct http_request *req,
                       void (*answer)(struct http_request *, const struct health_facts *))
{
    struct health_facts f = {.probe = {.code = 0}};
    health_gather(req, &f);
    if (!f.ledger.leader || f.ledger.disk_full || f.stall > HEALTH_STALL_S ||
        api_now_ms(f.thread) - f.ledger.last_commit_at < HEALTH_COMMIT_MS) {
        answer(req, &f);
        return;
    }
    struct health_probe *p = arena_new(http_arena(req), sizeof *p);
    p->req = req;
    p->answer = answer;
    unit_init(&p->unit, loop_runner(f.thread->loop), health_probed);
    txn_envelope(&p->unit.txn, &(struct envelope){.principal = "system", .reason = "probe"});
    p->unit.txn.urgent = true;
    p->unit.txn.grows = false;
    if (ledger_propose(f.api->o.ledger, &p->unit, &f.probe) == 0)
        return;
    unit_fini(&p->unit);
    answer(req, &f);
}

static void health_readyz(struct http_request *req)
{
    const char *mode = http_query(req, "mode");
    if (!API_QUERY_ONLY(req, "verbose", "mode"))
        return;
    if (mode != NULL && strcmp(mode, "read") != 0) {
        http_refuse(req, ERR_INVALID, "query key 'mode': only 'read' is known");
        return;
    }
    struct health_facts f = {.probe = {.code = 0}};
    health_gather(req, &f);
    if (mode != NULL)
        health_answer_ready(req, &f);
    else
        health_ask(req, health_answer_ready);
}

/* ---- both, and the components, for people ---- */

/* What the checks say about the whole, and the members "alive", "checks" and "components". */
static enum health_state health_members(const struct health_facts *f, bool details, struct buf *out)
{
    struct err e = ERR_INIT;
    bool stuck = health_stuck(f->api, &e);
    err_clear(&e);
    bool bad = stuck || health_first(f, false, &e) != 0;
    enum health_state all = bad                  ? HEALTH_UNHEALTHY
                            : f->ledger.disk_low ? HEALTH_DEGRADED
                                                 : HEALTH_HEALTHY;
    buf_addf(out, "\"alive\":%s,", stuck ? "false" : "true");
    health_print(f, false, out);
    buf_adds(out, ",\"components\":");
    return health_worse(all, health_overall(f->api->o.health, details, out));
}

static void health_answer_all(struct http_request *req, const struct health_facts *f)
{
    AUTO(buf_fini) struct buf members = BUF_INIT(API_ANSWER_MAX);
    struct buf out = BUF_INIT(API_ANSWER_MAX);
    enum health_state all = health_members(f, api_is_known(req), &members);
    buf_addf(&out, "{\"status\":\"%s\",\"version\":\"" KOAN_VERSION "\",%s}",
             health_state_name(all), buf_str(&members));
    http_respond_buf(req, all == HEALTH_UNHEALTHY ? 503 : 200, API_JSON, &out);
}

static void health_all(struct http_request *req)
{
    if (API_QUERY_NONE(req))
        health_ask(req, health_answer_all);
}

/* All nodes: this one. */
static void health_answer_cluster(struct http_request *req, const struct health_facts *f)
{
    AUTO(buf_fini) struct buf members = BUF_INIT(API_ANSWER_MAX);
    struct buf out = BUF_INIT(API_ANSWER_MAX);
    enum health_state all = health_members(f, true, &members);
    const char *status = health_state_name(all);
    buf_addf(
        &out,
        "{\"status\":\"%s\",\"nodes\":[{\"id\":\"%s\",\"status\":\"%s\",\"version\":\"" KOAN_VERSION
        "\",%s}]}",
        status, f->api->o.node_id, status, buf_str(&members));
    http_respond_buf(req, 200, API_JSON, &out);
}

static void health_cluster(struct http_request *req)
{
    if (API_QUERY_NONE(req))
        health_ask(req, health_answer_cluster);
}

/* ---- the status of the node ---- */

static json_t *health_ledger(const struct ledger_status *s)
{
    return json_pack("{s:b,s:I,s:I,s:I,s:I,s:I,s:I}", "leader", s->leader, "applied",
                     (json_int_t)s->applied, "last", (json_int_t)s->last, "term",
                     (json_int_t)s->term, "snapshot", (json_int_t)s->snapshot, "waiting_units",
                     (json_int_t)s->waiting_units, "waiting_bytes", (json_int_t)s->waiting_bytes);
}

static json_t *health_entities(const struct api *a)
{
    size_t n;
    struct entity_def **defs = entities_list(a->o.entities, &n);
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++) {
        AUTO(mem_freep) char *url = mem_printf("/api/%s", defs[i]->path);
        json_array_append_new(list, json_pack("{s:s,s:s}", "name", defs[i]->name, "url", url));
        entity_def_unref(defs[i]);
    }
    mem_free(defs);
    return list;
}

static void health_status(struct http_request *req)
{
    if (!API_QUERY_NONE(req))
        return;
    struct api_thread *t = api_thread_of(req);
    struct api *a = t->api;
    struct ledger_status s;
    ledger_status(a->o.ledger, &s);
    json_t *v = json_pack(
        "{s:s,s:s,s:s,s:s,s:s,s:I,s:o,s:o,s:o,s:o}", "node", a->o.node_id, "state",
        atomic_load(&a->draining) ? "draining" : "active", "version", KOAN_VERSION, "env", a->o.env,
        "data", a->o.data_dir, "uptime_s", (json_int_t)((api_now_ms(t) - a->started_ms) / 1000),
        "ledger", health_ledger(&s), "disk",
        json_pack("{s:I,s:I,s:b,s:b}", "free", (json_int_t)s.disk_free, "total",
                  (json_int_t)s.disk_total, "low", s.disk_low, "full", s.disk_full),
        "entities", health_entities(a), "canon",
        a->o.canon != NULL ? canon_names(a->o.canon) : json_array());
    json_t *scripts = a->o.scripts != NULL ? a->o.scripts(a->o.scripts_arg) : NULL;
    if (scripts != NULL)
        json_object_set_new(v, "scripts", scripts);
    api_answer_json(req, 200, v);
}

/* GET /: where to go from here. */
static void health_landing(struct http_request *req)
{
    const struct api *a = api_thread_of(req)->api;
    api_answer_json(req, 200,
                    json_pack("{s:s,s:s,s:s,s:s,s:s,s:o,s:o}", "name", "koan", "version",
                              KOAN_VERSION, "docs", "/docs/", "health", "/health", "metrics",
                              "/metrics", "entities", health_entities(a), "canon",
                              a->o.canon != NULL ? canon_names(a->o.canon) : json_array()));
}

static const struct http_route health_table[] = {
    {HTTP_VERB_GET, "/livez", health_livez, HTTP_URGENT | HTTP_OPEN, 0},
    {HTTP_VERB_GET, "/readyz", health_readyz, HTTP_URGENT | HTTP_OPEN, 0},
    {HTTP_VERB_GET, "/health", health_all, HTTP_URGENT | HTTP_OPEN, 0},
    {HTTP_VERB_GET, "/api/cluster/health", health_cluster, HTTP_URGENT, 0},
    {HTTP_VERB_GET, "/api/cluster/status", health_status, HTTP_URGENT, 0},
    {HTTP_VERB_GET, "/", health_landing, 0, 0},
};
const struct api_routes api_health_routes = {health_table, ARRAY_LEN(health_table)};
