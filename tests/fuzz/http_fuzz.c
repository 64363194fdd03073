/* Request bytes, cut into pieces as the network might: whatever comes, the connection keeps its
 * invariants, every request that reaches a handler can be answered, and nothing is left over. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "http/http_priv.h"
#include "http/server.h"

enum { LATER_MAX = 512, ROUNDS_MAX = 64 };

struct fuzz {
    struct http_request *later[LATER_MAX];
    size_t count;
    bool closed;
};

static void fuzz_now(struct http_request *req)
{
    size_t n;
    const struct http_pair *all = http_query_all(req, &n);
    for (size_t i = 0; i < n; i++)
        ASSERT(str_is_utf8(all[i].name, strlen(all[i].name)) && all[i].value != NULL);
    http_header(req, "X-Path", http_path(req));
    struct str body = http_body(req);
    ASSERT(strlen(http_correlation(req)) > 0 && body.p[body.n] == '\0');
    http_respond(req, 200, "text/plain", body.p, body.n);
}

static void fuzz_later(struct http_request *req)
{
    struct fuzz *f = http_context(req);
    if (f->count < LATER_MAX)
        f->later[f->count++] = req;
    else
        fuzz_now(req);
}

/* The first byte of a part chooses: cut, answer before the end, or take it. */
static void fuzz_part(struct http_request *req, void *arg, const char *p, size_t n)
{
    bool streams = arg != NULL;
    if (n > 0 && p[0] == '!' && streams)
        http_stream_abort(req);
    else if (n > 0 && p[0] != '?' && streams)
        http_stream_write(req, p, n);
    else if (n > 0 && p[0] != '?')
        return;
    else if (streams)
        http_stream_end(req);
    else
        http_respond(req, 200, NULL, "", 0);
}

static void fuzz_gone(struct http_request *req, void *arg)
{
    ASSERT(http_is_cancelled(req));
    if (arg != NULL)
        http_stream_end(req);
    else
        http_respond(req, 200, NULL, "", 0);
}

static void fuzz_stream(struct http_request *req)
{
    void *streams = *http_query_raw(req) != '\0' ? http_context(req) : NULL;
    if (streams != NULL)
        http_stream_begin(req, 200, "text/plain");
    http_on_cancel(req, fuzz_gone, streams);
    http_body_stream(req, fuzz_part, streams);
}

static const struct http_route routes[] = {
    {HTTP_VERB_GET, "/", fuzz_now, 0, 0},
    {HTTP_VERB_POST, "/", fuzz_now, 0, 100},
    {HTTP_VERB_GET, "/l", fuzz_later, 0, 0},
    {HTTP_VERB_POST, "/l", fuzz_later, 0, 0},
    {HTTP_VERB_POST, "/s", fuzz_stream, HTTP_STREAM_BODY, 0},
    {HTTP_VERB_GET, "/a/:b/:c", fuzz_now, 0, 0},
    {HTTP_VERB_GET, "/a/b", fuzz_now, 0, 0},
    {HTTP_VERB_GET, "/t/*rest", fuzz_now, 0, 0},
};

/* The newest first, so that answers are made out of order. */
static void fuzz_answer(struct fuzz *f)
{
    while (f->count > 0)
        fuzz_now(f->later[--f->count]);
}

static void fuzz_closed(void *arg)
{
    ((struct fuzz *)arg)->closed = true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    struct fuzz f = {.count = 0};
    struct loop *loop;
    struct http_router *router = http_router_new();
    struct http_options options = {.context = &f};
    ASSERT(loop_new("fuzz", &loop, NULL) == 0);
    ASSERT(http_router_add(router, routes, ARRAY_LEN(routes), NULL) == 0);
    struct http_server *s = http_server_new(loop, &options, router);
    struct http_conn *c = http_conn_new(s, NULL);
    size_t piece = data[0] == 0 ? size : data[0];
    const char *p = (const char *)data + 1, *end = (const char *)data + size;
    for (int stuck = 0; p < end && !c->doomed && stuck < ROUNDS_MAX;) {
        stuck++;
        if (c->rest.len == 0 && http_conn_may_parse(c)) {
            size_t n = (size_t)(end - p) < piece ? (size_t)(end - p) : piece;
            http_conn_feed(c, p, n);
            p += n;
            stuck = 0;
        } else {
            fuzz_answer(&f);
            if (!c->doomed && !c->last)
                http_conn_turn(c);
        }
        http_conn_check(c);
    }
    http_server_close(s, fuzz_closed, &f);
    http_server_abort(s);
    fuzz_answer(&f);
    for (int i = 0; i < 10 && !f.closed; i++)
        loop_poll(loop);
    ASSERT(f.closed);
    loop_free(loop);
    http_router_free(router);
    return 0;
}
