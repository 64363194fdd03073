/* Patterns as a tree of segments. Each node has literal children (few, so a list), at most one
 * parameter child and one tail. */
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "http/http_priv.h"

struct http_node {
    char *literal; /* NULL for a parameter */
    struct http_node *next, *children, *param;
    const struct http_route *routes[HTTP_VERB_COUNT], *tails[HTTP_VERB_COUNT];
};

struct http_router {
    struct http_node root;
};

struct http_router *http_router_new(void)
{
    return mem_new(sizeof(struct http_router));
}

static void http_node_fini(struct http_node *n)
{
    while (n->children != NULL) {
        struct http_node *child = n->children;
        n->children = child->next;
        http_node_fini(child);
        mem_free(child);
    }
    if (n->param != NULL) {
        http_node_fini(n->param);
        mem_free(n->param);
    }
    mem_free(n->literal);
}

void http_router_free(struct http_router *r)
{
    if (r == NULL)
        return;
    http_node_fini(&r->root);
    mem_free(r);
}

/* Depth of a pattern is bounded by its text, which is ours. */
static struct http_node *http_node_child(struct http_node *n, const char *segment, size_t len)
{
    if (len > 0 && segment[0] == ':') {
        if (n->param == NULL)
            n->param = mem_new(sizeof *n->param);
        return n->param;
    }
    for (struct http_node *c = n->children; c != NULL; c = c->next)
        if (strlen(c->literal) == len && memcmp(c->literal, segment, len) == 0)
            return c;
    struct http_node *c = mem_new(sizeof *c);
    c->literal = mem_strndup(segment, len);
    c->next = n->children;
    n->children = c;
    return c;
}

static int http_router_put(struct http_router *r, const struct http_route *route, struct err *e)
{
    ASSERT(route->pattern[0] == '/' && route->verb < HTTP_VERB_OTHER && route->handler != NULL);
    struct http_node *n = &r->root;
    size_t params = 0, segments = 0;
    const struct http_route **slot = NULL;
    for (const char *s = route->pattern; slot == NULL; segments++) {
        const char *segment = s + 1, *end = strchrnul(segment, '/');
        params += *segment == ':' || *segment == '*';
        if (*segment == '*') {
            ASSERT(*end == '\0');
            slot = &n->tails[route->verb];
        } else {
            n = http_node_child(n, segment, (size_t)(end - segment));
            if (*end == '\0')
                slot = &n->routes[route->verb];
        }
        s = end;
    }
    ASSERT(params <= HTTP_PARAMS_MAX && segments <= HTTP_SEGMENTS_MAX);
    if (*slot != NULL)
        return err_set(e, ERR_CONFLICT, "%s %s: routed twice", http_verb_name(route->verb),
                       route->pattern);
    *slot = route;
    return 0;
}

int http_router_add(struct http_router *r, const struct http_route *routes, size_t count,
                    struct err *e)
{
    for (size_t i = 0; i < count; i++) {
        int rc = http_router_put(r, &routes[i], e);
        if (rc != 0)
            return rc;
    }
    return 0;
}

/* ---- finding ---- */

struct http_search {
    enum http_verb verb;
    const char *const *segments;
    size_t count;
    unsigned allowed;
};

static const struct http_route *http_search_here(struct http_search *s,
                                                 const struct http_route *const *routes)
{
    for (unsigned v = 0; v < HTTP_VERB_COUNT; v++)
        if (routes[v] != NULL)
            s->allowed |= 1u << v;
    if (s->verb == HTTP_VERB_HEAD && routes[HTTP_VERB_HEAD] == NULL)
        return routes[HTTP_VERB_GET];
    return routes[s->verb];
}

/* Depth is bounded by the depth of the patterns; each level tries at most three ways. */
static const struct http_route *http_search_node(struct http_search *s, const struct http_node *n,
                                                 size_t at)
{
    const struct http_route *found;
    if (at == s->count)
        return http_search_here(s, n->routes);
    for (const struct http_node *c = n->children; c != NULL; c = c->next) {
        if (strcmp(c->literal, s->segments[at]) != 0)
            continue;
        found = http_search_node(s, c, at + 1);
        if (found != NULL || s->allowed != 0) /* the pattern with the word decides */
            return found;
        break;
    }
    if (n->param != NULL && s->segments[at][0] != '\0') {
        found = http_search_node(s, n->param, at + 1);
        if (found != NULL)
            return found;
    }
    return http_search_here(s, n->tails);
}

static char *http_join(const char *const *segments, size_t count, struct arena *arena)
{
    size_t n = 1;
    for (size_t i = 0; i < count; i++)
        n += strlen(segments[i]) + 1;
    char *text = arena_try(arena, n), *p = text;
    if (text == NULL)
        return NULL;
    for (size_t i = 0; i < count; i++) {
        if (i > 0)
            *p++ = '/';
        p = stpcpy(p, segments[i]);
    }
    *p = '\0';
    return text;
}

/* Second pass over the pattern that won: names and values of its parameters. */
static void http_match_params(struct http_match *m, const char *const *segments, size_t count,
                              struct arena *arena)
{
    size_t at = 0;
    for (const char *s = m->route->pattern; *s == '/'; at++) {
        const char *segment = s + 1;
        s = strchrnul(segment, '/');
        if (*segment != ':' && *segment != '*')
            continue;
        m->names[m->params] = segment + 1; /* ends at '/' or NUL: see http_param() */
        m->values[m->params] =
            *segment == ':' ? segments[at] : http_join(segments + at, count - at, arena);
        m->params++;
    }
}

void http_router_find(const struct http_router *r, enum http_verb verb, const char *const *segments,
                      size_t count, struct arena *arena, struct http_match *out)
{
    struct http_search s = {verb, segments, count, 0};
    memset(out, 0, sizeof *out);
    out->route = http_search_node(&s, &r->root, 0);
    if (s.allowed & (1u << HTTP_VERB_GET))
        s.allowed |= 1u << HTTP_VERB_HEAD;
    if (s.allowed != 0)
        s.allowed |= 1u << HTTP_VERB_OPTIONS;
    out->allowed = s.allowed;
    if (out->route != NULL)
        http_match_params(out, segments, count, arena);
}
