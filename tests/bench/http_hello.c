/* http_hello PORT THREADS: the HTTP server with a handler that does nothing, one loop a thread.
 * Shows what the server itself costs, against a bare epoll loop on the same machine. */
#include <stdio.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/mem.h"
#include "http/server.h"
#include "io/loop.h"

enum { THREADS_MAX = 64 };

static void hello(struct http_request *req)
{
    http_respond(req, 200, "text/plain", "hello world\n", 12);
}

static const struct http_route routes[] = {
    {HTTP_VERB_GET, "/", hello, 0, 0},
    {HTTP_VERB_GET, "/api/:entity/:id", hello, 0, 0},
};

int main(int argc, char **argv)
{
    struct err e = ERR_INIT;
    int port = argc > 1 ? atoi(argv[1]) : 8091, threads = argc > 2 ? atoi(argv[2]) : 1;
    struct http_router *router = http_router_new();
    struct loop *loops[THREADS_MAX];
    http_router_add(router, routes, ARRAY_LEN(routes), NULL);
    for (int i = 0; i < threads && i < THREADS_MAX; i++) {
        struct http_options o = {.address = "127.0.0.1", .port = (uint16_t)port, .shared = i > 0};
        struct http_server *server;
        if (loop_new("net", &loops[i], &e) != 0 ||
            http_server_open(loops[i], &o, router, &server, &e) != 0 ||
            loop_start(loops[i], &e) != 0) {
            fprintf(stderr, "%s\n", e.text);
            return 1;
        }
    }
    for (int i = 0; i < threads && i < THREADS_MAX; i++)
        loop_join(loops[i]);
    return 0;
}
