/* A node at work, on its control loop: deploy, serve, reload, drain. */
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "api/api.h"
#include "app/cli.h"
#include "app/node_priv.h"
#include "app/notify.h"
#include "app/script_calls.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "bind/script_store.h"
#include "coord/coord.h"
#include "job/job.h"
#include "ledger/ledger.h"

#define SERVE_FIRST_SET "folder"

static void serve_drain(struct node *n);

static void serve_fail(struct node *n, const struct err *e)
{
    log_error("koan", "%s", e->text);
    n->exit_code = cli_exit_code(e->code);
    serve_drain(n);
}

/* ---- scripts ---- */

/* Once: from here on connections are accepted. */
static int serve_listen(struct node *n)
{
    struct err e = ERR_INIT;
    if (n->listening)
        return 0;
    n->listening = true;
    if (node_nets_start(n, &e) != 0)
        serve_fail(n, &e);
    return e.code;
}

static void serve_ready(struct node *n)
{
    if (n->serving || n->draining)
        return;
    n->serving = true;
    if (n->work != NULL) {
        n->work(n, n->arg);
        return;
    }
    jobs_ready(n->jobs);
    if (serve_listen(n) != 0)
        return;
    n->ready_ms = node_age_ms(n);
    node_report(n, "ready", "after %.0f ms", n->ready_ms);
    node_report_print(n);
    notify_send("READY=1\nSTATUS=serving");
}

static void serve_deploy_failed(struct node *n, const struct err *e)
{
    n->deploy_failed = true;
    node_tell_script_error(n, e);
    if (n->api != NULL)
        api_set_scripts(n->api, e->text);
    if (n->serving)
        log_warn("scripts", "the scripts before stay in force");
    else if (n->dev)
        serve_ready(n);
    else
        serve_fail(n, &(struct err){.code = e->code,
                                    .text = "the scripts do not load; nothing was "
                                            "changed"});
}

static void serve_deployed(struct bind_deploy *d)
{
    struct node *n = LIST_OF(d, struct node, deploy);
    n->deploying = false;
    if (d->err.code != 0) {
        serve_deploy_failed(n, &d->err);
    } else {
        if (n->api != NULL)
            api_set_scripts(n->api, NULL);
        if (n->work == NULL && (!d->unchanged || !n->serving))
            log_info("scripts", "live files=%zu entities=%zu canons=%zu hash=%s", n->scripts.count,
                     json_array_size(d->entities), json_array_size(d->canons), d->hash);
        else if (n->deploy_failed && n->work == NULL)
            log_info("scripts", "mended: they are again those in force");
        n->deploy_failed = false;
        bool news = !d->unchanged || !n->serving;
        if (d->record != NULL)
            node_report(n, "scripts", "the folder is deployed as the set '%s'", d->record);
        node_tell_script_changes(n);
        serve_ready(n);
        if (news)
            node_look(n);
    }
    bind_deploy_fini(d);
    scripts_fini(&n->scripts);
    if (n->deploy_again)
        node_deploy(n);
}

/* What was deployed into the ledger goes before the folder, but where somebody works on it: `koan
 * dev`, and `koan run` with a folder. The folder that a node begins with is deployed as the first
 * set, so that from then on all of it goes one way: *record is its name. */
static int serve_scripts(struct node *n, const char *path, const char **record, struct err *e)
{
    char name[SCRIPT_NAME_MAX + 1];
    bool folder_first = n->dev || (n->work != NULL && *path != '\0');
    if (folder_first || !script_deployed(n, &n->scripts, name, e)) {
        if (e->code != 0 || scripts_read(path, &n->scripts, e) != 0)
            return e->code;
        bool first = !folder_first && n->work == NULL && !n->serving;
        *record = first && scripts_have_code(&n->scripts) ? SERVE_FIRST_SET : NULL;
        return 0;
    }
    if (!n->serving)
        node_report(n, "scripts", "the deployed set '%s'", name);
    if (n->work == NULL)
        script_drift(n, &n->scripts, name);
    return 0;
}

void node_deploy(struct node *n)
{
    struct err e = ERR_INIT;
    n->deploy_again = n->deploying;
    if (n->deploying || n->draining || n->waiting)
        return;
    const char *path = config_text(n->config, SET_SCRIPTS);
    n->signature = scripts_signature(path);
    const char *record = NULL;
    if (serve_scripts(n, path, &record, &e) != 0) {
        serve_deploy_failed(n, &e);
        return;
    }
    n->deploying = true;
    n->deploy = (struct bind_deploy){.files = n->scripts.files,
                                     .count = n->scripts.count,
                                     .record = record,
                                     .whole = n->dev && scripts_have_code(&n->scripts),
                                     .home = loop_runner(n->control),
                                     .done = serve_deployed};
    bind_deploy(n->bind, &n->deploy);
}

/* Of the file's times and size; 0 without a file. */
static uint64_t serve_config_signature(const struct node *n)
{
    struct stat st;
    if (n->config->file == NULL || stat(n->config->file, &st) != 0)
        return 0;
    int64_t facts[] = {st.st_mtim.tv_sec, st.st_mtim.tv_nsec, st.st_size, (int64_t)st.st_ino};
    return hash64(1, facts, sizeof facts);
}

/* Somebody works on it: what is saved is taken over, the configuration too, as by SIGHUP. */
static void serve_watch(struct world_timer *t)
{
    struct node *n = LIST_OF(t, struct node, watch);
    uint64_t config = serve_config_signature(n);
    bool reload = config != n->config_signature;
    n->config_signature = config;
    if (reload)
        node_reload(n);
    else if (n->signature != scripts_signature(config_text(n->config, SET_SCRIPTS)))
        node_deploy(n);
    struct world *w = loop_world(n->control);
    w->timer_start(w, t, NODE_WATCH_MS);
}

/* ---- the end ---- */

static void serve_cut(struct node *n)
{
    node_nets_abort(n);
    bind_cut(n->bind); /* scripts owe answers, and may take minutes for them */
}

static void serve_drain_over(struct world_timer *t)
{
    struct node *n = LIST_OF(t, struct node, drain);
    log_warn("koan", "requests are still under way after drain.timeout; cutting them off");
    serve_cut(n);
}

static void serve_drain(struct node *n)
{
    struct world *w = loop_world(n->control);
    if (n->draining) {
        log_warn("koan", "asked again: cutting off what is under way");
        serve_cut(n);
        return;
    }
    n->draining = true;
    if (n->work != NULL) {
        loop_stop(n->control);
        return;
    }
    notify_send("STOPPING=1\nSTATUS=draining");
    log_info("koan", "draining");
    api_set_draining(n->api, true);
    coord_drain(n->coord);
    bind_cancel_texts(n->bind);
    w->timer_start(w, &n->drain, (uint64_t)config_number(n->config, SET_DRAIN_TIMEOUT));
    node_nets_close(n);
}

void node_nets_closed(struct node *n)
{
    loop_stop(n->control);
}

static void serve_signal(void *arg, int signum)
{
    struct node *n = arg;
    if (signum == SIGHUP)
        node_reload(n);
    else
        serve_drain(n);
}

static void serve_alive(struct world_timer *t)
{
    struct node *n = LIST_OF(t, struct node, watchdog);
    struct world *w = loop_world(n->control);
    bool stuck = loop_lag_s(n->ledger_loop) > API_LIVE_LAG_S ||
                 ledger_write_lag_s(n->ledger) > API_LIVE_LAG_S;
    for (int i = 0; i < n->nets_count; i++)
        stuck |= n->nets[i].started && loop_lag_s(n->nets[i].loop) > API_LIVE_LAG_S;
    if (!stuck)
        notify_send("WATCHDOG=1");
    w->timer_start(w, t, notify_watchdog_ms());
}

/* Whoever waits for a disk that does not answer is told so in time. */
static void serve_relieve(struct world_timer *t)
{
    struct node *n = LIST_OF(t, struct node, relief);
    struct world *w = loop_world(n->control);
    ledger_relieve(n->ledger);
    w->timer_start(w, t, NODE_RELIEF_MS);
}

static void serve_begin_task(struct task *t)
{
    struct node *n = LIST_OF(t, struct node, begin);
    struct world *w = loop_world(n->control);
    if (n->access.made)
        fprintf(stderr, "koan: token made on first start, shown only now: %s\n", n->access.token);
    n->config_signature = serve_config_signature(n);
    node_health_start(n);
    serve_relieve(&n->relief);
    node_remote_start(n);
    if (n->waiting && serve_listen(n) == 0) {
        log_warn("config", "waiting for config.remote; until then port %u answers only probes",
                 (unsigned)n->port);
        notify_send("STATUS=waiting for config.remote");
    }
    node_lanes_check(n);
    node_deploy(n);
    if (n->dev)
        w->timer_start(w, &n->watch, NODE_WATCH_MS);
    if (notify_watchdog_ms() > 0)
        w->timer_start(w, &n->watchdog, notify_watchdog_ms());
}

int node_serve_begin(struct node *n, struct err *e)
{
    static const int signals[] = {SIGTERM, SIGINT, SIGHUP};
    n->watch.fire = serve_watch;
    n->drain.fire = serve_drain_over;
    n->watchdog.fire = serve_alive;
    n->relief.fire = serve_relieve;
    n->begin.run = serve_begin_task;
    if (n->work != NULL)
        return 0;
    for (size_t i = 0; i < ARRAY_LEN(signals); i++)
        if (loop_signal(n->control, signals[i], serve_signal, n, e) != 0)
            return e->code;
    return 0;
}

int node_run(struct node *n)
{
    runner_post(loop_runner(n->control), &n->begin);
    loop_run(n->control);
    return n->exit_code;
}

void node_stop(struct node *n, int exit_code)
{
    n->exit_code = exit_code;
    serve_drain(n);
}

void node_serve_end(struct node *n)
{
    if (n->control == NULL)
        return;
    struct world *w = loop_world(n->control);
    w->timer_stop(w, &n->watch);
    w->timer_stop(w, &n->drain);
    w->timer_stop(w, &n->watchdog);
    w->timer_stop(w, &n->relief);
    node_lanes_stop(n->lanes);
    node_health_stop(n);
    /* A deploy under way posts to the control loop, and may have just been refused with it. */
    while (n->deploying || n->looking)
        loop_poll(n->control);
    scripts_fini(&n->live);
    scripts_fini(&n->scripts);
}
