#include "http/cors.h"

#include <string.h>
#include <strings.h>

#include "base/err.h"
#include "base/mem.h"
#include "http/http_priv.h"
#include "http/target.h"

struct cors {
    bool all;
    size_t count;
    char *origins[CORS_ORIGINS_MAX];
};

/* What scripts of a page may see besides the few headers that they always may. */
static const char CORS_EXPOSED[] =
    "ETag, Link, Location, Retry-After, X-Correlation-ID, X-Koan-Seq, X-Koan-Outcome, X-Page, "
    "X-Page-Size, X-Total-Count, X-Total-Pages, X-Total-At-Least, Idempotency-Replayed, "
    "RateLimit-Limit, RateLimit-Remaining, RateLimit-Reset, RateLimit-Policy";

static int cors_add(struct cors *c, const char *text, struct err *e)
{
    struct target t;
    size_t n = strlen(text);
    if (strcmp(text, "*") == 0) {
        c->all = true;
        return 0;
    }
    if (c->count == CORS_ORIGINS_MAX)
        return err_set(e, ERR_INVALID, "more than %d origins", CORS_ORIGINS_MAX);
    if (target_parse(text, n, &t, e) != 0)
        return err_context(e, "an origin is like https://app.example.org");
    if (strcmp(t.path, "/") != 0 || text[n - 1] == '/')
        return err_set(e, ERR_INVALID, "'%s': an origin ends with its host or port, it has no path",
                       text);
    c->origins[c->count++] = mem_printf("%s://%s", t.https ? "https" : "http", t.authority);
    return 0;
}

int cors_new(const char *origins, struct cors **out, struct err *e)
{
    struct cors *c = mem_new(sizeof *c);
    for (const char *s = origins + strspn(origins, " "); *s != '\0'; s += strspn(s, " ")) {
        size_t n = strcspn(s, " ");
        AUTO(mem_freep) char *origin = mem_strndup(s, n);
        if (cors_add(c, origin, e) != 0) {
            cors_free(c);
            return e->code;
        }
        s += n;
    }
    bool any = c->all || c->count > 0;
    if (!any)
        cors_free(c);
    *out = any ? c : NULL;
    return 0;
}

void cors_free(struct cors *c)
{
    if (c == NULL)
        return;
    for (size_t i = 0; i < c->count; i++)
        mem_free(c->origins[i]);
    mem_free(c);
}

bool cors_lists(const struct cors *c, const char *origin)
{
    if (c == NULL || c->all)
        return c != NULL;
    for (size_t i = 0; i < c->count; i++)
        if (strcmp(c->origins[i], origin) == 0)
            return true;
    return false;
}

/* The page asks ahead. What it wants to send is granted as it is: what a route takes is the
 * route's to say. */
static void cors_preflight(struct http_request *req)
{
    const char *headers = http_header_in(req, "Access-Control-Request-Headers");
    if (req->verb != HTTP_VERB_OPTIONS ||
        http_header_in(req, "Access-Control-Request-Method") == NULL)
        return;
    http_header(req, "Access-Control-Allow-Methods", "GET, HEAD, POST, PUT, PATCH, DELETE");
    if (headers != NULL)
        http_header(req, "Access-Control-Allow-Headers", headers);
    http_headerf(req, "Access-Control-Max-Age", "%d", CORS_MAX_AGE_S);
}

void cors_answer(const struct cors *c, struct http_request *req)
{
    if (c == NULL)
        return;
    const char *origin = http_header_in(req, "Origin");
    http_header(req, "Vary", "Origin");
    if (origin == NULL || !cors_lists(c, origin))
        return;
    http_header(req, "Access-Control-Allow-Origin", origin);
    http_header(req, "Access-Control-Expose-Headers", CORS_EXPOSED);
    cors_preflight(req);
}

bool http_is_foreign(const struct http_request *req)
{
    const char *origin = http_header_in(req, "Origin"), *host = http_header_in(req, "Host");
    if (origin == NULL || cors_lists(req->server->cors, origin))
        return false;
    const char *authority = strstr(origin, "://");
    return authority == NULL || host == NULL || strcasecmp(authority + 3, host) != 0;
}
