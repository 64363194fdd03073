/* What routes.c (declaring) and serve.c, answer.c (running) share. */
#ifndef KOAN_BIND_ROUTE_PRIV_H
#define KOAN_BIND_ROUTE_PRIV_H

#include "base/buf.h"
#include "bind/bind_priv.h"
#include "http/server.h"

struct bind_route {
    struct http_route route; /* first: what the router finds */
    struct bind_routes *table;
    size_t index;
    char *name;    /* "GET /hello/{name}" */
    char *pattern; /* "/hello/:name" */
    char *summary; /* or NULL */
    uint32_t timeout_ms;
};

/* The routes of a set, for net threads: it does not change, and goes with its last holder. */
struct bind_routes {
    atomic_uint holders;
    struct bind *bind;
    struct http_router *router;
    char hash[17]; /* of the set */
    size_t count;
    struct bind_route *list[BIND_ROUTES_MAX];
};

static inline bool bind_route_is_public(const struct bind_route *r)
{
    return (r->route.flags & HTTP_PUBLIC) != 0;
}

/* ---- answer.c ---- */

struct bind_answer {
    int status;
    const char *type; /* NULL: without a body */
    char own_type[128];
    struct buf headers; /* name NUL value NUL ... */
    struct buf body;
};

void bind_answer_init(struct bind_answer *a);
void bind_answer_fini(struct bind_answer *a);
/* What the function gave back. May raise; the answer is the caller's to end. */
void bind_answer_take(struct lua_State *L, int at, struct bind_answer *a);
/* Ends it. */
void bind_answer_send(struct bind_answer *a, struct http_request *req);

#endif
