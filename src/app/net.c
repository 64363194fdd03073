/* The threads that serve connections: same port, same routes, nothing shared. */
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "api/api.h"
#include "app/activation.h"
#include "app/node_priv.h"
#include "base/log.h"
#include "base/mem.h"
#include "bind/bind.h"
#include "http/server.h"

static void net_closed_task(struct task *t)
{
    struct node *n = LIST_OF(t, struct net, closed)->node;
    if (--n->nets_serving == 0)
        node_nets_closed(n);
}

/* On the net's own loop. */
static void net_closed(void *arg)
{
    struct net *net = arg;
    net->server = NULL;
    runner_post(loop_runner(net->node->control), &net->closed);
}

static void net_close_task(struct task *t)
{
    struct net *net = LIST_OF(t, struct net, close);
    api_thread_drain(net->thread);
    if (net->server != NULL)
        http_server_close(net->server, net_closed, net);
}

static void net_abort_task(struct task *t)
{
    struct net *net = LIST_OF(t, struct net, abort);
    if (net->server != NULL)
        http_server_abort(net->server);
}

/* Open files that connections may not take: the log, the database on every thread, what scripts
 * fetch. Without them a crowd of clients would keep the ledger from opening its next segment. */
enum { NET_FILES_RESERVED = 256, NET_CONNECTIONS_MIN = 16 };

static size_t net_connections(struct node *n)
{
    size_t wanted = (size_t)config_number(n->config, SET_HTTP_CONNECTIONS);
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) != 0)
        return wanted;
    files.rlim_cur = files.rlim_max; /* the lower one is for programs that use select() */
    if (setrlimit(RLIMIT_NOFILE, &files) != 0)
        getrlimit(RLIMIT_NOFILE, &files);
    if (files.rlim_cur == RLIM_INFINITY || wanted + NET_FILES_RESERVED <= files.rlim_cur)
        return wanted;
    size_t room = files.rlim_cur > NET_FILES_RESERVED + NET_CONNECTIONS_MIN
                      ? (size_t)files.rlim_cur - NET_FILES_RESERVED
                      : NET_CONNECTIONS_MIN;
    node_report(n, "http",
                "at most %zu connections instead of %zu: %llu open files are allowed (ulimit -n)",
                room, wanted, (unsigned long long)files.rlim_cur);
    return room;
}

/* 256 a core, whatever the threads; never less than a connection may have under way. */
static size_t net_inflight(const struct node *n)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    size_t each = HTTP_INFLIGHT_MAX * (size_t)(cores > 0 ? cores : 1) / (size_t)n->nets_count;
    return each > HTTP_PIPELINE_MAX ? each : HTTP_PIPELINE_MAX;
}

static int net_open(struct node *n, struct net *net, const char *host, int fd, struct err *e)
{
    net->node = n;
    net->close.run = net_close_task;
    net->abort.run = net_abort_task;
    net->closed.run = net_closed_task;
    char name[16];
    snprintf(name, sizeof name, "net %d", (int)(net - n->nets) + 1);
    if (loop_new(name, &net->loop, e) != 0)
        return e->code;
    if (api_thread_new(n->api, net->loop, &net->thread, e) != 0)
        return e->code;
    struct http_options options = {
        .address = host,
        .port = n->port,
        .shared = net != n->nets,
        .fd = fd,
        .tls = n->tls,
        .connections_max = n->connections_max / (size_t)n->nets_count + 1,
        .inflight_max = net_inflight(n),
        .context = net->thread,
        .before = api_before,
        .after = n->trace != NULL ? api_after : NULL,
        .cors = n->cors,
        .more = bind_http_more(n->bind),
    };
    if (http_server_open(net->loop, &options, n->router, &net->server, e) != 0)
        return err_context(e, "http.listen");
    n->port = http_server_port(net->server);
    return 0;
}

int node_nets_open(struct node *n, struct err *e)
{
    char host[256];
    int count = n->nets_count;
    setting_address(config_text(n->config, SET_HTTP_LISTEN), host, sizeof host, &n->port);
    if (strcmp(host, "localhost") == 0)
        memcpy(host, "127.0.0.1", sizeof "127.0.0.1");
    char address[ACTIVATION_ADDRESS_MAX];
    int fd = activation_socket(environ, address, e);
    if (fd < 0)
        return fd;
    n->connections_max = net_connections(n);
    for (int i = 0; i < count; i++)
        if (net_open(n, &n->nets[i], host, fd, e) != 0)
            return e->code;
    node_report_module(n, "http", "%s://%s:%u, %d thread%s%s", n->tls != NULL ? "https" : "http",
                       host, (unsigned)n->port, count, count == 1 ? "" : "s",
                       fd > 0 ? ", on systemd's socket" : "");
    return 0;
}

int node_nets_start(struct node *n, struct err *e)
{
    for (int i = 0; i < n->nets_count; i++) {
        if (loop_start(n->nets[i].loop, e) != 0)
            return e->code;
        n->nets[i].started = true;
        n->nets_serving++;
    }
    return 0;
}

void node_nets_close(struct node *n)
{
    for (int i = 0; i < n->nets_count; i++)
        if (n->nets[i].started)
            runner_post(loop_runner(n->nets[i].loop), &n->nets[i].close);
    if (n->nets_serving == 0)
        node_nets_closed(n);
}

void node_nets_abort(struct node *n)
{
    for (int i = 0; i < n->nets_count; i++)
        if (n->nets[i].started)
            runner_post(loop_runner(n->nets[i].loop), &n->nets[i].abort);
}

/* A server that never ran is closed by turning its loop by hand. */
static void net_close_idle(struct net *net)
{
    net->node->nets_serving++;
    http_server_close(net->server, net_closed, net);
    while (net->server != NULL)
        loop_poll(net->loop);
}

void node_nets_free(struct node *n)
{
    for (int i = 0; i < n->nets_count; i++) {
        struct net *net = &n->nets[i];
        if (net->loop == NULL)
            continue;
        if (net->started) {
            loop_stop(net->loop);
            loop_join(net->loop);
        } else if (net->server != NULL) {
            net_close_idle(net);
        }
        api_thread_free(net->thread);
        loop_free(net->loop);
        net->loop = NULL;
    }
}
