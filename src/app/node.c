#include "app/node.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "api/api.h"
#include "app/deploys.h"
#include "app/node_priv.h"
#include "app/script_calls.h"
#include "app/setting_calls.h"
#include "base/health.h"
#include "base/log.h"
#include "base/mem.h"
#include "bind/script_store.h"
#include "canon/canon.h"
#include "bus/bus.h"
#include "coord/coord.h"
#include "entity/entity.h"
#include "entity/build.h"
#include "entity/sweep.h"
#include "http/cors.h"
#include "http/server.h"
#include "io/file.h"
#include "io/tls.h"
#include "job/job.h"
#include "ledger/domain.h"
#include "ledger/ledger.h"
#include "queue/queue.h"
#include "setting/setting.h"
#include "trace/trace.h"

enum { NODE_JSON_MAX = 64 << 10 };

static uint64_t node_mono_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static uint64_t node_mono_ms(void *arg)
{
    (void)arg;
    return node_mono_ns() / 1000000;
}

double node_age_ms(const struct node *n)
{
    return (double)(node_mono_ns() - n->started_ns) / 1e6;
}

static int node_random(void *p, size_t n, struct err *e)
{
    if (getrandom(p, n, 0) == (ssize_t)n)
        return 0;
    return err_errno(e, errno, "no randomness");
}

/* ---- the data directory ---- */

static int node_make_id(struct node *n, const char *path, struct err *e)
{
    uint8_t random[8];
    struct uuid_gen gen = {0};
    struct uuid id;
    struct timespec now;
    if (node_random(random, sizeof random, e) != 0)
        return e->code;
    clock_gettime(CLOCK_REALTIME, &now);
    uuid_v7(&gen, (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000, random, &id);
    uuid_format(&id, n->id);
    AUTO(mem_freep) char *text = mem_printf("{\"id\":\"%s\"}\n", n->id);
    return file_write(path, text, strlen(text), 0644, e);
}

static int node_read_id(struct node *n, struct err *e)
{
    AUTO(mem_freep) char *path = mem_printf("%s/node.json", n->data);
    AUTO(mem_freep) char *text = NULL;
    size_t size = 0;
    int rc = file_read(path, NODE_JSON_MAX, &text, &size, e);
    if (rc == ERR_NOT_FOUND) {
        err_clear(e);
        return node_make_id(n, path, e);
    }
    if (rc != 0)
        return rc;
    AUTO(json_unref) json_t *o = json_read(text, size, e);
    if (o == NULL)
        return err_context(e, "%s", path);
    struct uuid id;
    const char *s = json_string_value(json_object_get(o, "id"));
    if (s == NULL || !uuid_parse(s, strlen(s), &id))
        return err_set(e, ERR_CORRUPT,
                       "%s: has no id; restore the file, it names this node for ever", path);
    uuid_format(&id, n->id);
    return 0;
}

/* Signs cursors that are handed out: they stay good over a restart. */
static int node_cursor_key(struct node *n, uint8_t key[API_KEY_BYTES], struct err *e)
{
    AUTO(mem_freep) char *path = mem_printf("%s/cursor.key", n->data);
    AUTO(mem_freep) char *text = NULL;
    size_t size = 0;
    int rc = file_read(path, API_KEY_BYTES, &text, &size, e);
    if (rc == 0 && size == API_KEY_BYTES) {
        memcpy(key, text, API_KEY_BYTES);
        return 0;
    }
    if (rc != 0 && rc != ERR_NOT_FOUND && rc != ERR_TOO_LARGE)
        return rc;
    err_clear(e);
    if (node_random(key, API_KEY_BYTES, e) != 0)
        return e->code;
    return file_write(path, key, API_KEY_BYTES, 0600, e);
}

static int node_open_data(struct node *n, struct err *e)
{
    n->data = mem_strdup(config_text(n->config, SET_DATA));
    if (file_mkdirs(n->data, e) != 0)
        return err_context(e, "data");
    AUTO(mem_freep) char *path = mem_printf("%s/LOCK", n->data);
    n->lock = file_lock(path, e);
    if (n->lock < 0)
        return err_context(e, "data");
    if (node_read_id(n, e) != 0)
        return e->code;
    node_report_module(n, "data", "%s, node %s", n->data, n->id);
    return 0;
}

/* ---- modules ---- */

static void node_start_jobs(struct node *n)
{
    struct jobs_options o = {.ledger = n->ledger,
                             .queues = n->queues,
                             .world = loop_world(n->ledger_loop),
                             .health = n->health,
                             .still = n->work != NULL};
    jobs_start(n->jobs, &o);
}

static int node_open_ledger(struct node *n, struct err *e)
{
    if (loop_new("ledger", &n->ledger_loop, e) != 0)
        return e->code;
    if (n->clock != NULL)
        loop_world(n->ledger_loop)->wall_ms = n->clock->wall_ms;
    n->entities = entities_new();
    n->settings = settings_new();
    n->queues = queues_new();
    n->coord = coord_new();
    n->jobs = jobs_new();
    n->bus = bus_new();
    n->lanes = n->work == NULL ? node_lanes_new(n) : NULL;
    entities_set_trace(n->entities, n->trace);
    n->leases = (struct entity_leases){n->coord, coord_lease_check};
    entities_set_leases(n->entities, &n->leases);
    if (canon_new(n->entities, &n->canon, e) != 0)
        return e->code;
    struct ledger_options o = {
        .dir = n->data,
        .segment_bytes = (uint64_t)config_number(n->config, SET_LEDGER_SEGMENT_BYTES),
        .snapshot_bytes = (uint64_t)config_number(n->config, SET_LEDGER_SNAPSHOT_BYTES),
        .keep_ms = config_number(n->config, SET_LEDGER_KEEP),
        .keep_bytes = (uint64_t)config_number(n->config, SET_LEDGER_KEEP_BYTES),
        .timeout_ms = (int)config_number(n->config, SET_LEDGER_TIMEOUT),
    };
    struct domain domains[] = {
        *entities_domain(n->entities), *canon_domain(n->canon),   *script_domain(),
        *settings_domain(n->settings), *queues_domain(n->queues), *coord_domain(n->coord),
        *jobs_domain(n->jobs),         *bus_domain(n->bus)};
    if (ledger_open(&o, loop_world(n->ledger_loop), domains, ARRAY_LEN(domains), &n->ledger, e) !=
        0)
        return e->code;
    node_settings_watch(n);
    canon_sweep_start(n->canon, n->ledger, loop_world(n->ledger_loop));
    node_start_jobs(n); /* it hears what ends in the queue */
    queues_start(n->queues, n->ledger, loop_world(n->ledger_loop), n->id);
    canon_parked_start(n->canon, n->queues, n->ledger, loop_world(n->ledger_loop));
    coord_start(n->coord, n->ledger, loop_world(n->ledger_loop));
    bus_start(n->bus, n->ledger, loop_world(n->ledger_loop));
    bus_watch(n->bus, n->queues);
    n->sweeper = entity_sweeper_start(n->entities, n->ledger, loop_world(n->ledger_loop));
    n->builder = entity_builder_start(n->entities, n->ledger, loop_world(n->ledger_loop));
    struct ledger_status s;
    ledger_status(n->ledger, &s);
    node_report_module(n, "ledger", "position %llu, one voter, %.1f GiB free",
                       (unsigned long long)s.applied, (double)s.disk_free / (1 << 30));
    return 0;
}

/* As many as there are cores, but more than two do not help: the ledger and the load have a need
 * too. */
static int node_threads(struct node *n, enum setting_id id)
{
    int wanted = (int)config_number(n->config, id);
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    if (wanted != 0)
        return wanted;
    wanted = cores > 1 ? 2 : 1;
    node_report_decision(n, settings_table[id].name, wanted == 1 ? "1" : "2", "1 2",
                         "%ld core%s, nothing was set", cores, cores == 1 ? "" : "s");
    return wanted;
}

static int node_open_scripts(struct node *n, struct err *e)
{
    struct bind_options o = {.ledger = n->ledger,
                             .queues = n->queues,
                             .bus = n->bus,
                             .coord = n->coord,
                             .works = n->work == NULL,
                             .work_lease_ms = (uint32_t)config_number(n->config, SET_WORK_LEASE),
                             .entities = n->entities,
                             .canon = n->canon,
                             .threads = node_threads(n, SET_SCRIPT_THREADS),
                             .clock = n->clock,
                             .envelope = api_envelope,
                             .trace = n->trace,
                             .memory_max = (size_t)config_number(n->config, SET_SCRIPT_MEMORY),
                             .snapshot_ms =
                                 (uint64_t)config_number(n->config, SET_HTTP_STREAM_TIME)};
    if (bind_open(&o, &n->bind, e) != 0)
        return err_context(e, "scripts");
    node_tell_scripts(n);
    node_report_module(n, "scripts", "%d thread%s, %s", o.threads, o.threads == 1 ? "" : "s",
                       *config_text(n->config, SET_SCRIPTS) != '\0'
                           ? config_text(n->config, SET_SCRIPTS)
                           : "no folder");
    return 0;
}

static struct canon_engine *node_engine(void *arg, const char *model)
{
    return bind_engine(arg, model);
}

static json_t *node_scripts_status(void *arg)
{
    return bind_status(arg);
}

static int node_open_api(struct node *n, struct err *e)
{
    struct api_options o = {.ledger = n->ledger,
                            .queues = n->queues,
                            .entities = n->entities,
                            .coord = n->coord,
                            .bus = n->bus,
                            .canon = n->canon,
                            .hooks = bind_entity_hooks(n->bind),
                            .engine = node_engine,
                            .scripts = node_scripts_status,
                            .scripts_arg = n->bind,
                            .script_call = script_call,
                            .script_call_arg = n,
                            .node_call = setting_call,
                            .node_call_arg = n,
                            .token_required = n->access.token != NULL,
                            .env = config_text(n->config, SET_ENV),
                            .node_id = n->id,
                            .data_dir = n->data,
                            .health = n->health,
                            .trace = n->trace,
                            .stream_ms = (uint64_t)config_number(n->config, SET_HTTP_STREAM_TIME)};
    if (n->access.token != NULL)
        api_token_hash(n->access.token, o.token_hash);
    if (node_cursor_key(n, o.cursor_key, e) != 0 || api_new(&o, &n->api, e) != 0)
        return e->code;
    node_tell_api(n);
    n->router = http_router_new();
    if (api_routes(n->api, n->router, e) != 0)
        return e->code;
    api_watch_loop(n->api, "control", n->control);
    api_watch_loop(n->api, "ledger", n->ledger_loop);
    return 0;
}

static int node_open_http(struct node *n, struct err *e)
{
    const char *cert = config_text(n->config, SET_HTTP_TLS_CERT);
    if (*cert != '\0' &&
        tls_server_new(cert, config_text(n->config, SET_HTTP_TLS_KEY), &n->tls, e) != 0)
        return err_context(e, "http.tls_cert");
    if (cors_new(config_text(n->config, SET_HTTP_ORIGINS), &n->cors, e) != 0)
        return err_context(e, "http.origins");
    if (access_open(n->config, n->data, &n->access, e) != 0)
        return e->code;
    node_hide_secrets(n);
    node_report_decision(n, "access", n->access.token != NULL ? "token" : "open", "token open",
                         "%s%s", n->access.why,
                         n->access.token == NULL && config_number(n->config, SET_ALLOW_MAGIC) != 0
                             ? ", allow_magic_in_production"
                             : "");
    n->nets_count = node_threads(n, SET_HTTP_THREADS);
    if (node_open_api(n, e) != 0)
        return e->code;
    return node_nets_open(n, e);
}

static int node_open_all(struct node *n, struct err *e)
{
    node_hide_secrets(n);
    if (loop_new("koan", &n->control, e) != 0 || node_open_data(n, e) != 0 ||
        (n->work == NULL && node_open_trace(n, e) != 0) || node_open_ledger(n, e) != 0 ||
        node_remote_open(n, e) != 0 || node_settings_open(n, e) != 0 ||
        node_open_scripts(n, e) != 0)
        return e->code;
    if (n->work == NULL && node_open_http(n, e) != 0)
        return e->code;
    node_report_settings(n);
    if (loop_start(n->ledger_loop, e) != 0)
        return e->code;
    n->ledger_started = true;
    return 0;
}

int node_open(const struct node_options *o, struct node **out, struct err *e)
{
    struct err own = ERR_INIT;
    e = e != NULL ? e : &own;
    umask(S_IRWXG | S_IRWXO); /* the data is nobody else's, whatever file it lies in */
    struct node *n = mem_new(sizeof *n);
    n->deploys = deploys_new();
    n->config = o->config;
    n->sources = o->sources;
    n->dev = o->dev;
    n->clock = o->clock;
    n->work = o->work;
    n->arg = o->arg;
    n->lock = -1;
    n->started_ns = node_mono_ns();
    n->health = health_board_new(node_mono_ms, NULL);
    node_report_init(n);
    int rc = node_open_all(n, e);
    if (rc == 0)
        rc = node_serve_begin(n, e);
    if (rc != 0) {
        node_close(n);
        return rc;
    }
    *out = n;
    return 0;
}

static void node_ledger_closed(void *arg)
{
    struct node *n = arg;
    n->ledger = NULL;
    if (n->ledger_started)
        loop_stop(n->ledger_loop);
}

/* First those that propose by themselves. On the ledger's thread, or before it runs. */
static void node_end_ledger(struct node *n)
{
    canon_sweep_stop(n->canon);
    canon_parked_stop(n->canon);
    jobs_stop(n->jobs);
    queues_stop(n->queues);
    coord_stop(n->coord);
    bus_stop(n->bus);
    entity_sweeper_stop(n->sweeper);
    entity_builder_stop(n->builder);
    ledger_close(n->ledger, node_ledger_closed, n);
}

static void node_ledger_close_task(struct task *t)
{
    node_end_ledger(LIST_OF(t, struct node, ledger_close));
}

static void node_close_ledger(struct node *n)
{
    if (n->ledger != NULL && n->ledger_started) {
        n->ledger_close.run = node_ledger_close_task;
        runner_post(loop_runner(n->ledger_loop), &n->ledger_close);
        loop_join(n->ledger_loop);
    } else if (n->ledger != NULL) {
        node_end_ledger(n);
        while (n->ledger != NULL)
            loop_poll(n->ledger_loop);
    }
    /* What the ledger answered last, to those that live on its own thread, waits for its turn. */
    if (n->ledger_loop != NULL)
        loop_poll(n->ledger_loop);
    entity_sweeper_free(n->sweeper);
    entity_builder_free(n->builder);
    canon_free(n->canon);
    entities_free(n->entities);
    settings_free(n->settings);
    queues_free(n->queues);
    coord_free(n->coord);
    jobs_free(n->jobs);
    bus_free(n->bus);
    if (n->ledger_loop != NULL)
        loop_free(n->ledger_loop);
}

void node_close(struct node *n)
{
    if (n == NULL)
        return;
    node_serve_end(n);
    node_remote_close(n);
    /* Scripts may still owe an answer to a net thread and wait for the ledger: they go first. The
     * ledger needs its thread for that; where it never ran nobody waits. */
    bind_close(n->bind);
    node_nets_free(n);
    api_free(n->api);
    http_router_free(n->router);
    tls_server_free(n->tls);
    cors_free(n->cors);
    node_close_ledger(n);
    if (n->control != NULL) {
        loop_signals_close(n->control);
        while (loop_poll(n->control))
            continue;
        loop_free(n->control);
    }
    if (n->lock >= 0)
        file_unlock(n->lock);
    trace_close(n->trace);
    node_lanes_free(n->lanes);
    access_fini(&n->access);
    health_board_free(n->health);
    config_free(n->config);
    json_decref(n->settings_rows);
    mem_free(n->settings_faults);
    buf_fini(&n->report);
    json_decref(n->boot);
    mem_free(n->data);
    deploys_free(n->deploys);
    mem_free(n);
}

struct bind *node_bind(struct node *n)
{
    return n->bind;
}

struct loop *node_control(struct node *n)
{
    return n->control;
}
