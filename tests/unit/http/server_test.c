#include "http/server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "io/loop.h"

/* ---- a server with a few routes, and a client in the same thread ---- */

enum { ANSWER_MAX = 32 * 1024 * 1024, PATIENCE = 20000 };

struct fixture {
    struct loop *loop;
    struct http_router *router;
    struct http_server *server;
    struct http_request *later[HTTP_INFLIGHT_MAX];
    size_t later_count;
    size_t parts, part_bytes, ends, cancels, drains;
    bool closed;
    int before_calls;
};

static struct fixture *fix(struct http_request *req)
{
    return http_context(req);
}

static void hello(struct http_request *req)
{
    http_respond(req, 200, "text/plain", "hello", 5);
}

static void page(struct http_request *req)
{
    http_respond(req, 200, "text/html; charset=utf-8", "<p>", 3);
}

static void echo(struct http_request *req)
{
    struct str body = http_body(req);
    http_respond(req, 200, "application/octet-stream", body.p, body.n);
}

static void show(struct http_request *req)
{
    const char *id = http_param(req, "id"), *q = http_query(req, "q");
    const char *h = http_header_in(req, "x-thing");
    char text[512];
    int n = snprintf(text, sizeof text, "%s|%s|%s|%s|%s", http_param(req, "entity"),
                     id != NULL ? id : "-", q != NULL ? q : "-", h != NULL ? h : "-",
                     http_query_raw(req));
    http_respond(req, 200, "text/plain", text, (size_t)n);
}

static void tail(struct http_request *req)
{
    const char *path = http_param(req, "path");
    http_respond(req, 200, "text/plain", path, strlen(path));
}

static void later(struct http_request *req)
{
    struct fixture *f = fix(req);
    f->later[f->later_count++] = req;
}

static void cancelled(struct http_request *req, void *arg)
{
    (void)req;
    ((struct fixture *)arg)->cancels++;
}

static void part(struct http_request *req, void *arg, const char *p, size_t n)
{
    (void)p;
    struct fixture *f = arg;
    f->parts++;
    f->part_bytes += n;
    if (n > 0)
        return;
    f->ends++;
    char text[32];
    int len = snprintf(text, sizeof text, "%zu", f->part_bytes);
    http_respond(req, 200, "text/plain", text, (size_t)len);
}

static void import(struct http_request *req)
{
    http_on_cancel(req, cancelled, fix(req));
    http_body_stream(req, part, fix(req));
    if (http_query(req, "pause") != NULL) {
        http_body_pause(req);
        later(req);
    }
}

static void deny(struct http_request *req)
{
    http_refuse(req, ERR_FORBIDDEN, "not for you");
}

static void big(struct http_request *req)
{
    struct buf b = BUF_INIT(16 * 1024 * 1024);
    size_t n = (size_t)atoi(http_query(req, "n"));
    memset(buf_reserve(&b, n), 'x', n);
    buf_commit(&b, n);
    http_respond_buf(req, 200, "text/plain", &b);
}

static void chunks(struct http_request *req)
{
    http_stream_begin(req, 200, "text/plain");
    http_stream_write(req, "one ", 4);
    http_stream_write(req, "", 0);
    http_stream_write(req, "two", 3);
    http_stream_end(req);
}

static void drained(struct http_request *req, void *arg)
{
    ((struct fixture *)arg)->drains++;
    http_stream_write(req, "end", 3);
    http_stream_end(req);
}

static void flood(struct http_request *req)
{
    static const char block[4096] = {0};
    http_stream_begin(req, 200, "application/octet-stream");
    http_stream_on_drain(req, drained, fix(req));
    for (int i = 0; i < 1500 && http_stream_write(req, block, sizeof block); i++)
        ;
}

static void events(struct http_request *req)
{
    http_on_cancel(req, cancelled, fix(req));
    http_stream_begin(req, 200, "text/event-stream");
    http_stream_write(req, "data: 1\n\n", 9);
    later(req);
}

static void broken(struct http_request *req)
{
    http_refuse(req, ERR_IO, "disk on fire at /secret/place");
}

static void field(struct http_request *req)
{
    struct err e = ERR_INIT;
    err_field(&e, ERR_INVALID, "age", "not a \"number\"");
    http_problem_more(req, &e, "\"failed_op\":3");
}

static void busy(struct http_request *req)
{
    http_retry_after(req, 100);
    http_refuse(req, ERR_UNAVAILABLE, "come back");
}

static void inject(struct http_request *req)
{
    http_header(req, "X-Evil", "a\r\nX-More: b");
    hello(req);
}

static bool before(struct http_request *req)
{
    fix(req)->before_calls++;
    if (http_header_in(req, "X-Deny") == NULL)
        return true;
    http_refuse(req, ERR_UNAUTHORIZED, "who are you");
    return false;
}

static const struct http_route routes[] = {
    {HTTP_VERB_GET, "/hello", hello, 0, 0},
    {HTTP_VERB_GET, "/page", page, 0, 0},
    {HTTP_VERB_POST, "/echo", echo, 0, 0},
    {HTTP_VERB_POST, "/small", echo, 0, 8},
    {HTTP_VERB_GET, "/api/:entity", show, 0, 0},
    {HTTP_VERB_GET, "/api/:entity/:id", show, 0, 0},
    {HTTP_VERB_GET, "/api/queues/all", hello, 0, 0},
    {HTTP_VERB_PUT, "/api/:entity/:id", deny, 0, 0},
    {HTTP_VERB_GET, "/docs/*path", tail, 0, 0},
    {HTTP_VERB_GET, "/later", later, 0, 0},
    {HTTP_VERB_POST, "/later", later, 0, 0},
    {HTTP_VERB_GET, "/livez", hello, HTTP_URGENT, 0},
    {HTTP_VERB_POST, "/import", import, HTTP_STREAM_BODY, 0},
    {HTTP_VERB_POST, "/deny", deny, HTTP_STREAM_BODY, 0},
    {HTTP_VERB_GET, "/big", big, 0, 0},
    {HTTP_VERB_GET, "/chunks", chunks, 0, 0},
    {HTTP_VERB_GET, "/flood", flood, 0, 0},
    {HTTP_VERB_GET, "/events", events, HTTP_LONG, 0},
    {HTTP_VERB_GET, "/broken", broken, 0, 0},
    {HTTP_VERB_GET, "/field", field, 0, 0},
    {HTTP_VERB_GET, "/busy", busy, 0, 0},
    {HTTP_VERB_GET, "/inject", inject, 0, 0},
};

static int start(void **state)
{
    struct fixture *f = mem_new(sizeof *f);
    struct err e = ERR_INIT;
    struct http_options o = {.address = "127.0.0.1", .context = f, .before = before};
    f->router = http_router_new();
    *state = f;
    if (loop_new("test", &f->loop, &e) != 0 ||
        http_router_add(f->router, routes, ARRAY_LEN(routes), &e) != 0 ||
        http_server_open(f->loop, &o, f->router, &f->server, &e) != 0) {
        print_error("%s\n", e.text);
        return -1;
    }
    return 0;
}

static void on_closed(void *arg)
{
    ((struct fixture *)arg)->closed = true;
}

static int stop(void **state)
{
    struct fixture *f = *state;
    if (f->server != NULL) {
        http_server_close(f->server, on_closed, f);
        http_server_abort(f->server);
    }
    for (int i = 0; i < PATIENCE && !f->closed; i++)
        loop_poll(f->loop);
    for (int i = 0; i < 10; i++)
        loop_poll(f->loop);
    assert_true(f->closed);
    loop_free(f->loop);
    http_router_free(f->router);
    mem_free(f);
    return 0;
}

static int dial(struct fixture *f)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in a = {.sin_family = AF_INET,
                            .sin_port = htons(http_server_port(f->server)),
                            .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof a), 0);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    return fd;
}

static void turn(struct fixture *f, int times)
{
    for (int i = 0; i < times; i++)
        loop_poll(f->loop);
}

/* Send all of it while the server turns. */
static void say_n(struct fixture *f, int fd, const char *p, size_t n)
{
    for (int i = 0; i < PATIENCE && n > 0; i++) {
        ssize_t put = send(fd, p, n, MSG_NOSIGNAL);
        if (put > 0) {
            p += put;
            n -= (size_t)put;
        } else if (put < 0 && errno != EAGAIN) {
            return; /* the server closed: the answer says why */
        }
        loop_poll(f->loop);
    }
}

static void say(struct fixture *f, int fd, const char *text)
{
    say_n(f, fd, text, strlen(text));
}

/* Read until `until` was seen (NULL: until the server closes). The caller frees. */
static char *hear(struct fixture *f, int fd, const char *until)
{
    struct buf b = BUF_INIT(ANSWER_MAX);
    for (int i = 0; i < PATIENCE; i++) {
        char *p = buf_reserve(&b, 65536);
        assert_non_null(p);
        ssize_t n = recv(fd, p, 65536, 0);
        if (n == 0 || (n < 0 && errno != EAGAIN)) {
            assert_null(until);
            return buf_take(&b);
        }
        if (n > 0) {
            buf_commit(&b, (size_t)n);
            if (until != NULL && strstr(buf_str(&b), until) != NULL)
                return buf_take(&b);
        } else if (i > 500) {
            usleep(500);
        }
        loop_poll(f->loop);
    }
    fail_msg("no '%s' in: %s", until, buf_str(&b));
    return NULL;
}

/* One connection, one exchange, closed by the server. */
static char *ask(struct fixture *f, const char *request)
{
    int fd = dial(f);
    say(f, fd, request);
    char *answer = hear(f, fd, NULL);
    close(fd);
    return answer;
}

static void expect(struct fixture *f, const char *request, const char *first, const char *second)
{
    char *answer = ask(f, request);
    if (strstr(answer, first) == NULL || (second != NULL && strstr(answer, second) == NULL))
        fail_msg("asked %s\nexpected %s and %s\ngot %s", request, first,
                 second != NULL ? second : "-", answer);
    mem_free(answer);
}

static size_t count(const char *text, const char *word)
{
    size_t n = 0;
    for (const char *p = text; (p = strstr(p, word)) != NULL; p++)
        n++;
    return n;
}

#define END "Host: x\r\nConnection: close\r\n\r\n"

/* ---- requests and answers ---- */

static void a_request_gets_its_answer_with_length_date_and_correlation(void **state)
{
    struct fixture *f = *state;
    char *a = ask(f, "GET /hello HTTP/1.1\r\n" END);
    assert_true(strncmp(a, "HTTP/1.1 200 OK\r\n", 17) == 0);
    assert_non_null(strstr(a, "\r\nContent-Length: 5\r\n"));
    assert_non_null(strstr(a, "\r\nContent-Type: text/plain\r\n"));
    assert_non_null(strstr(a, " GMT\r\n"));
    assert_non_null(strstr(a, "X-Content-Type-Options: nosniff"));
    assert_non_null(strstr(a, "Connection: close"));
    assert_non_null(strstr(a, "X-Correlation-ID: 0"));
    assert_non_null(strstr(a, "\r\n\r\nhello"));
    mem_free(a);
}

static void a_good_correlation_id_comes_back_and_a_bad_one_is_replaced(void **state)
{
    struct fixture *f = *state;
    expect(f, "GET /hello HTTP/1.1\r\nX-Correlation-Id: a.B_9-\r\n" END,
           "X-Correlation-ID: a.B_9-\r\n", NULL);
    char *a = ask(f, "GET /hello HTTP/1.1\r\nX-Correlation-ID: no good\r\n" END);
    assert_null(strstr(a, "no good"));
    mem_free(a);
}

static void parameters_query_and_headers_reach_the_handler_decoded(void **state)
{
    struct fixture *f = *state;
    expect(f, "GET /api/caf%C3%A9/a%2Fb?q=x+%26y&z HTTP/1.1\r\nX-THING:  spaced \r\n" END,
           "\r\n\r\ncaf\xc3\xa9|a/b|x &y|spaced|q=x+%26y&z", NULL);
    expect(f, "GET /api/queues/all HTTP/1.1\r\n" END, "hello", NULL);
    expect(f, "GET /api/queues/other HTTP/1.1\r\n" END, "queues|other", NULL);
    expect(f, "GET /docs/a/b%20c.html HTTP/1.1\r\n" END, "\r\n\r\na/b c.html", NULL);
    expect(f, "GET /docs/ HTTP/1.1\r\n" END, "Content-Length: 0", NULL);
    expect(f, "GET http://x/hello HTTP/1.1\r\n" END, "200 OK", "hello");
}

static void unknown_paths_and_wrong_methods_are_told_apart(void **state)
{
    struct fixture *f = *state;
    expect(f, "GET /nothing HTTP/1.1\r\n" END, "404 Not Found", "\"code\":\"not_found\"");
    expect(f, "GET /api/ HTTP/1.1\r\n" END, "404", NULL);
    expect(f, "DELETE /hello HTTP/1.1\r\n" END, "405 Method", "Allow: GET, HEAD, OPTIONS\r\n");
    expect(f, "PROPFIND /hello HTTP/1.1\r\n" END, "405 Method", "Allow: GET, HEAD, OPTIONS\r\n");
    expect(f, "OPTIONS /api/a/b HTTP/1.1\r\n" END, "204 No Content",
           "Allow: GET, HEAD, PUT, OPTIONS\r\n");
}

static void head_is_get_without_a_body(void **state)
{
    struct fixture *f = *state;
    char *a = ask(f, "HEAD /hello HTTP/1.1\r\n" END);
    assert_non_null(strstr(a, "Content-Length: 5\r\n"));
    assert_string_equal(strstr(a, "\r\n\r\n"), "\r\n\r\n");
    mem_free(a);
    a = ask(f, "HEAD /chunks HTTP/1.1\r\n" END);
    assert_string_equal(strstr(a, "\r\n\r\n"), "\r\n\r\n");
    mem_free(a);
}

static void pages_get_a_content_security_policy(void **state)
{
    struct fixture *f = *state;
    expect(f, "GET /page HTTP/1.1\r\n" END, "frame-ancestors 'none'", "nosniff");
}

static void a_handlers_header_cannot_start_another(void **state)
{
    struct fixture *f = *state;
    expect(f, "GET /inject HTTP/1.1\r\n" END, "X-Evil: a  X-More: b\r\n", NULL);
}

static void problems_follow_the_table(void **state)
{
    struct fixture *f = *state;
    expect(f, "GET /field HTTP/1.1\r\n" END, "application/problem+json",
           "{\"type\":\"urn:koan:error:invalid\"");
    expect(f, "GET /field HTTP/1.1\r\n" END, "\"detail\":\"not a \\\"number\\\"\"",
           "\"errors\":[{\"field\":\"age\",\"detail\":");
    expect(f, "GET /field HTTP/1.1\r\n" END, "\"retry\":\"never\"", ",\"failed_op\":3}");
    char *a = ask(f, "GET /broken HTTP/1.1\r\nX-Correlation-ID: find-me\r\n" END);
    assert_non_null(strstr(a, "500 Internal"));
    assert_null(strstr(a, "secret"));
    assert_non_null(strstr(a, "correlation id find-me"));
    mem_free(a);
    a = ask(f, "GET /busy HTTP/1.1\r\n" END);
    int s = atoi(strstr(a, "Retry-After: ") + 13);
    assert_in_range(s, 80, 120);
    mem_free(a);
}

/* ---- connections ---- */

static void a_connection_serves_one_request_after_the_other(void **state)
{
    struct fixture *f = *state;
    int fd = dial(f);
    for (int i = 0; i < 3; i++) {
        say(f, fd, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc");
        char *a = hear(f, fd, "\r\n\r\nabc");
        assert_null(strstr(a, "Connection:"));
        mem_free(a);
    }
    assert_int_equal(http_server_connections(f->server), 1);
    close(fd);
    turn(f, 20);
    assert_int_equal(http_server_connections(f->server), 0);
}

static void requests_may_come_byte_by_byte(void **state)
{
    struct fixture *f = *state;
    const char *text =
        "POST /echo HTTP/1.1\r\nHost: x\r\nX-Thing: y\r\nTransfer-Encoding: chunked\r\n"
        "Connection: close\r\n\r\n3\r\nabc\r\n2;ext=1\r\nde\r\n0\r\nTrailer: t\r\n\r\n";
    int fd = dial(f);
    for (const char *p = text; *p != '\0'; p++)
        say_n(f, fd, p, 1);
    char *a = hear(f, fd, NULL);
    assert_non_null(strstr(a, "\r\n\r\nabcde"));
    mem_free(a);
    close(fd);
}

static void pipelined_answers_come_in_order_even_when_made_out_of_order(void **state)
{
    struct fixture *f = *state;
    int fd = dial(f);
    say(f, fd,
        "GET /later HTTP/1.1\r\nHost: x\r\n\r\nGET /later HTTP/1.1\r\nHost: x\r\n\r\n"
        "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n");
    turn(f, 5);
    assert_int_equal(f->later_count, 2);
    http_respond(f->later[1], 200, "text/plain", "second", 6);
    turn(f, 5);
    http_respond(f->later[0], 200, "text/plain", "first", 5);
    char *a = hear(f, fd, "hello");
    assert_true(strstr(a, "first") < strstr(a, "second"));
    assert_true(strstr(a, "second") < strstr(a, "hello"));
    mem_free(a);
    close(fd);
}

static void a_write_waits_for_those_before_it_and_holds_those_behind_it(void **state)
{
    struct fixture *f = *state;
    int fd = dial(f);
    say(f, fd,
        "GET /later HTTP/1.1\r\nHost: x\r\n\r\n"
        "POST /later HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx"
        "GET /later HTTP/1.1\r\nHost: x\r\n\r\n");
    turn(f, 5);
    assert_int_equal(f->later_count, 1);
    http_respond(f->later[0], 200, NULL, "", 0);
    turn(f, 5);
    assert_int_equal(f->later_count, 2);
    assert_int_equal(http_verb(f->later[1]), HTTP_VERB_POST);
    http_respond(f->later[1], 200, NULL, "", 0);
    turn(f, 5);
    assert_int_equal(f->later_count, 3);
    http_respond(f->later[2], 200, "text/plain", "done", 4);
    char *a = hear(f, fd, "done");
    assert_int_equal(count(a, "HTTP/1.1 200"), 3);
    mem_free(a);
    close(fd);
}

static void a_long_pipeline_is_worked_off_whole(void **state)
{
    struct fixture *f = *state;
    enum { N = 3000 };
    struct buf b = BUF_INIT(1 << 20);
    for (int i = 0; i < N; i++)
        buf_adds(&b, i % 7 == 0 ? "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nok"
                                : "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n");
    buf_adds(&b, "GET /api/last HTTP/1.1\r\n" END);
    int fd = dial(f);
    say_n(f, fd, b.data, b.len);
    char *a = hear(f, fd, NULL);
    assert_int_equal(count(a, "HTTP/1.1 200"), N + 1);
    assert_non_null(strstr(a, "last|-"));
    mem_free(a);
    buf_fini(&b);
    close(fd);
}

static void http_1_0_closes_unless_asked_to_stay(void **state)
{
    struct fixture *f = *state;
    expect(f, "GET /hello HTTP/1.0\r\n\r\n", "200 OK", "Connection: close");
    char *a = ask(f, "GET /chunks HTTP/1.0\r\n\r\n");
    assert_null(strstr(a, "chunked"));
    assert_non_null(strstr(a, "\r\n\r\none two"));
    mem_free(a);
    int fd = dial(f);
    say(f, fd, "GET /hello HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    a = hear(f, fd, "hello");
    assert_non_null(strstr(a, "Connection: keep-alive"));
    mem_free(a);
    close(fd);
}

static void the_answer_still_comes_after_the_client_half_closes(void **state)
{
    struct fixture *f = *state;
    int fd = dial(f);
    say(f, fd, "GET /later HTTP/1.1\r\nHost: x\r\n\r\n");
    turn(f, 5);
    shutdown(fd, SHUT_WR);
    turn(f, 5);
    http_respond(f->later[0], 200, "text/plain", "there", 5);
    char *a = hear(f, fd, NULL);
    assert_non_null(strstr(a, "there"));
    mem_free(a);
    close(fd);
}

static void a_request_outlives_its_client_and_is_answered_to_nobody(void **state)
{
    struct fixture *f = *state;
    int fd = dial(f);
    struct linger hard = {1, 0};
    say(f, fd, "POST /later HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n");
    turn(f, 5);
    assert_int_equal(f->later_count, 1);
    http_on_cancel(f->later[0], cancelled, f);
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
    close(fd); /* a reset */
    turn(f, 20);
    assert_int_equal(f->cancels, 1);
    assert_true(http_is_cancelled(f->later[0]));
    assert_int_equal(http_server_connections(f->server), 0);
    http_respond(f->later[0], 200, "text/plain", "x", 1);
}

/* ---- bodies ---- */

static void expect_continue_is_answered_before_the_body(void **state)
{
    struct fixture *f = *state;
    int fd = dial(f);
    say(f, fd,
        "POST /echo HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n");
    mem_free(hear(f, fd, "HTTP/1.1 100 Continue\r\n\r\n"));
    say(f, fd, "hi");
    mem_free(hear(f, fd, "\r\n\r\nhi"));
    close(fd);
}

static void too_large_bodies_are_refused_before_and_while_they_come(void **state)
{
    struct fixture *f = *state;
    expect(f,
           "POST /small HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\nConnection: close\r\n\r\n"
           "123456789",
           "413 Content", "\"too_large\"");
    expect(f,
           "POST /small HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
           "9\r\n123456789\r\n0\r\n\r\n",
           "413 Content", "Connection: close");
    expect(f,
           "POST /echo HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: "
           "99999999\r\n\r\n",
           "HTTP/1.1 413", "Connection: close");
}

static void a_small_unwanted_body_is_skipped_and_the_connection_stays(void **state)
{
    struct fixture *f = *state;
    int fd = dial(f);
    say(f, fd,
        "POST /nothing HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbody"
        "POST /deny HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbody"
        "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n");
    char *a = hear(f, fd, "\r\n\r\nhello");
    assert_non_null(strstr(a, "404"));
    assert_non_null(strstr(a, "403"));
    mem_free(a);
    close(fd);
}

static void a_large_unwanted_body_does_not_destroy_the_answer(void **state)
{
    struct fixture *f = *state;
    enum { N = 4 * 1024 * 1024 };
    int fd = dial(f);
    char head[128], *body = mem_try(N);
    memset(body, 'x', N);
    snprintf(head, sizeof head, "POST /nothing HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n",
             N);
    say(f, fd, head);
    say_n(f, fd, body, N);
    char *a = hear(f, fd, NULL);
    assert_non_null(strstr(a, "404 Not Found"));
    mem_free(a);
    mem_free(body);
    close(fd);
}

static void a_streamed_body_arrives_in_parts_with_an_end(void **state)
{
    struct fixture *f = *state;
    enum { N = 3 * 1024 * 1024 };
    char head[128], *body = mem_try(N);
    memset(body, 'x', N);
    int fd = dial(f);
    snprintf(head, sizeof head, "POST /import HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n",
             N);
    say(f, fd, head);
    say_n(f, fd, body, N);
    mem_free(hear(f, fd, "\r\n\r\n3145728"));
    assert_true(f->parts > 10);
    assert_int_equal(f->ends, 1);
    mem_free(body);
    close(fd);
}

static void a_paused_body_waits_in_the_socket(void **state)
{
    struct fixture *f = *state;
    enum { N = 32 * 1024 * 1024 };
    char head[128], *body = mem_try(N);
    memset(body, 'x', N);
    int fd = dial(f);
    snprintf(head, sizeof head,
             "POST /import?pause=1 HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n", N);
    say(f, fd, head);
    ssize_t sent = 0, n;
    for (int i = 0; i < 200; i++) {
        n = send(fd, body, N - (size_t)sent, MSG_NOSIGNAL);
        sent += n > 0 ? n : 0;
        loop_poll(f->loop);
    }
    assert_true(sent < N); /* back-pressure reached the client */
    assert_true(f->part_bytes <= 32 * 1024);
    http_body_resume(f->later[0]);
    say_n(f, fd, body, N - (size_t)sent);
    mem_free(hear(f, fd, "\r\n\r\n33554432"));
    mem_free(body);
    close(fd);
}

static void a_client_that_breaks_off_its_body_cancels_the_handler(void **state)
{
    struct fixture *f = *state;
    int fd = dial(f);
    say(f, fd, "POST /import?pause=1 HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nabc");
    turn(f, 5);
    http_body_resume(f->later[0]);
    turn(f, 5);
    close(fd);
    turn(f, 10);
    assert_int_equal(f->cancels, 1);
    assert_int_equal(f->ends, 0);
    http_respond(f->later[0], 200, NULL, "", 0);
}

/* ---- streams ---- */

static void a_stream_is_chunked_and_ends(void **state)
{
    struct fixture *f = *state;
    expect(f, "GET /chunks HTTP/1.1\r\n" END, "Transfer-Encoding: chunked",
           "\r\n\r\n4\r\none \r\n3\r\ntwo\r\n0\r\n\r\n");
}

static void a_stream_feels_a_slow_reader_and_goes_on_when_it_has_read(void **state)
{
    struct fixture *f = *state;
    int fd = dial(f), small = 65536;
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    say(f, fd, "GET /flood HTTP/1.1\r\n" END);
    turn(f, 20);
    char *a = hear(f, fd, NULL);
    mem_free(a);
    assert_int_equal(f->drains, 1);
    close(fd);
}

static void large_answers_arrive_whole(void **state)
{
    struct fixture *f = *state;
    char *a = ask(f, "GET /big?n=5000000 HTTP/1.1\r\n" END);
    char *body = strstr(a, "\r\n\r\n") + 4;
    assert_int_equal(strlen(body), 5000000);
    mem_free(a);
}

static void an_event_stream_is_told_when_its_reader_leaves(void **state)
{
    struct fixture *f = *state;
    int fd = dial(f);
    say(f, fd, "GET /events HTTP/1.1\r\nHost: x\r\n\r\n");
    mem_free(hear(f, fd, "data: 1\n\n"));
    http_stream_write(f->later[0], "data: 2\n\n", 9);
    mem_free(hear(f, fd, "data: 2\n\n"));
    close(fd);
    turn(f, 10);
    assert_int_equal(f->cancels, 1);
    assert_false(http_stream_write(f->later[0], "x", 1));
    http_stream_end(f->later[0]);
}

static void an_aborted_stream_ends_without_its_last_chunk(void **state)
{
    struct fixture *f = *state;
    int fd = dial(f);
    say(f, fd, "GET /events HTTP/1.1\r\nHost: x\r\n\r\n");
    turn(f, 5);
    http_stream_abort(f->later[0]);
    char *a = hear(f, fd, NULL);
    assert_null(strstr(a, "\r\n0\r\n\r\n"));
    assert_int_equal(f->cancels, 0);
    mem_free(a);
    close(fd);
}

/* ---- bad input ---- */

static void ambiguous_and_malformed_requests_are_refused(void **state)
{
    struct fixture *f = *state;
    static const char *const bad[] = {
        "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n"
        "0\r\n\r\n",
        "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\na",
        "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: +1\r\n\r\na",
        "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\na",
        "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: "
        "chunked\r\n\r\n0\r\n\r\n",
        "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        "POST /echo HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "GET /hello HTTP/1.1\r\nHost: x\r\nX-Fold: a\r\n b\r\n\r\n",
        "GET /hello HTTP/1.1\nHost: x\n\n",
        "GET /hello HTTP/1.1\r\nHost: x\nX: y\r\n\r\n",
        "GET /hello HTTP/1.1\r\nHost : x\r\n\r\n",
        "GET /hello HTTP/1.1\r\n\r\n",
        "GET /hello HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
        "GET hello HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        "GET /api/%zz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        "GET /api/%00 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        "GET /api/%ff HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        "GET /docs/%2e%2e/x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        "GET /api/x?a=%4 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        "CONNECT x:80 HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /hello HTTP/3.7\r\nHost: x\r\n\r\n",
        "\x16\x03\x01\x02\x01hello",
        "nonsense\r\n\r\n",
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        char *a = ask(f, bad[i]);
        if (strncmp(a, "HTTP/1.1 400 Bad Request\r\n", 26) != 0 || count(a, "HTTP/1.1") != 1 ||
            strstr(a, "\"code\":\"invalid\"") == NULL)
            fail_msg("request %zu: %s\nwas answered: %s", i, bad[i], a);
        mem_free(a);
    }
}

static void what_precedes_a_malformed_request_is_still_answered(void **state)
{
    struct fixture *f = *state;
    int fd = dial(f);
    say(f, fd, "GET /later HTTP/1.1\r\nHost: x\r\n\r\nBAD\r\n\r\n");
    turn(f, 5);
    http_respond(f->later[0], 200, "text/plain", "good", 4);
    char *a = hear(f, fd, NULL);
    assert_non_null(strstr(a, "good"));
    assert_non_null(strstr(a, "HTTP/1.1 400"));
    assert_non_null(strstr(a, "at byte "));
    mem_free(a);
    close(fd);
}

static void long_lines_and_many_headers_get_431(void **state)
{
    struct fixture *f = *state;
    struct buf b = BUF_INIT(1 << 20);
    buf_adds(&b, "GET /api/");
    for (int i = 0; i < 900; i++)
        buf_adds(&b, "0123456789");
    buf_adds(&b, " HTTP/1.1\r\n" END);
    expect(f, b.data, "HTTP/1.1 431", "\"too_large\"");
    buf_reset(&b);
    buf_adds(&b, "GET /hello HTTP/1.1\r\n");
    for (int i = 0; i < 101; i++)
        buf_addf(&b, "X-%d: y\r\n", i);
    buf_adds(&b, END);
    expect(f, b.data, "HTTP/1.1 431", "100 headers");
    buf_reset(&b);
    buf_adds(&b, "GET /hello HTTP/1.1\r\nX-Long: ");
    for (int i = 0; i < 3300; i++)
        buf_adds(&b, "0123456789");
    buf_adds(&b, "\r\n" END);
    expect(f, b.data, "HTTP/1.1 431", "32 KiB");
    buf_fini(&b);
}

static void before_may_refuse_and_the_handler_never_runs(void **state)
{
    struct fixture *f = *state;
    expect(f, "GET /later HTTP/1.1\r\nX-Deny: 1\r\n" END, "401 Unauthorized", "who are you");
    assert_int_equal(f->later_count, 0);
    expect(f,
           "POST /echo HTTP/1.1\r\nX-Deny: 1\r\nExpect: 100-continue\r\nContent-Length: 5\r\n"
           "Host: x\r\n\r\n",
           "HTTP/1.1 401", "Connection: close");
    assert_int_equal(f->before_calls, 2);
}

/* ---- admission and closing ---- */

static void past_its_share_work_is_refused_but_health_answers(void **state)
{
    struct fixture *f = *state;
    enum { FDS = HTTP_INFLIGHT_MAX - HTTP_INFLIGHT_MAX / HTTP_INFLIGHT_URGENT };
    int *fds = mem_new_array(FDS, sizeof *fds);
    for (int i = 0; i < FDS; i++) {
        fds[i] = dial(f);
        say(f, fds[i], "GET /later HTTP/1.1\r\nHost: x\r\n\r\n");
        turn(f, 2);
    }
    assert_int_equal(f->later_count, FDS);
    expect(f, "GET /hello HTTP/1.1\r\n" END, "503 Service", "Retry-After: ");
    expect(f, "GET /livez HTTP/1.1\r\n" END, "200 OK", "hello");
    for (int i = 0; i < FDS; i++)
        http_respond(f->later[i], 200, NULL, "", 0);
    expect(f, "GET /hello HTTP/1.1\r\n" END, "200 OK", NULL);
    for (int i = 0; i < FDS; i++)
        close(fds[i]);
    mem_free(fds);
}

static void closing_answers_what_is_under_way_and_then_reports(void **state)
{
    struct fixture *f = *state;
    int idle = dial(f), busy_fd = dial(f);
    say(f, idle, "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n");
    mem_free(hear(f, idle, "hello"));
    say(f, busy_fd, "GET /later HTTP/1.1\r\nHost: x\r\n\r\n");
    turn(f, 5);
    http_server_close(f->server, on_closed, f);
    turn(f, 10);
    assert_false(f->closed);
    char *a = hear(f, idle, NULL);
    assert_string_equal(a, "");
    mem_free(a);
    http_respond(f->later[0], 200, "text/plain", "bye", 3);
    a = hear(f, busy_fd, NULL);
    assert_non_null(strstr(a, "Connection: close"));
    assert_non_null(strstr(a, "bye"));
    mem_free(a);
    turn(f, 10);
    assert_true(f->closed);
    f->server = NULL;
    close(idle);
    close(busy_fd);
}

static void a_port_in_use_is_named_with_the_way_out(void **state)
{
    struct fixture *f = *state;
    struct err e = ERR_INIT;
    struct http_server *second = NULL;
    struct http_options o = {.address = "127.0.0.1", .port = http_server_port(f->server)};
    assert_int_equal(http_server_open(f->loop, &o, f->router, &second, &e), ERR_CONFLICT);
    assert_non_null(strstr(e.text, "127.0.0.1 port "));
    assert_non_null(strstr(e.text, "choose another port"));
    o.address = "example";
    assert_int_equal(http_server_open(f->loop, &o, f->router, &second, &e), ERR_INVALID);
    o.address = "127.0.0.1";
    o.shared = true;
    assert_int_equal(http_server_open(f->loop, &o, f->router, &second, &e), 0);
    assert_int_equal(http_server_port(second), o.port);
    http_server_close(second, NULL, NULL);
    turn(f, 5);
}

#define T(name) cmocka_unit_test_setup_teardown(name, start, stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(a_request_gets_its_answer_with_length_date_and_correlation),
        T(a_good_correlation_id_comes_back_and_a_bad_one_is_replaced),
        T(parameters_query_and_headers_reach_the_handler_decoded),
        T(unknown_paths_and_wrong_methods_are_told_apart),
        T(head_is_get_without_a_body),
        T(pages_get_a_content_security_policy),
        T(a_handlers_header_cannot_start_another),
        T(problems_follow_the_table),
        T(a_connection_serves_one_request_after_the_other),
        T(requests_may_come_byte_by_byte),
        T(pipelined_answers_come_in_order_even_when_made_out_of_order),
        T(a_write_waits_for_those_before_it_and_holds_those_behind_it),
        T(a_long_pipeline_is_worked_off_whole),
        T(http_1_0_closes_unless_asked_to_stay),
        T(the_answer_still_comes_after_the_client_half_closes),
        T(a_request_outlives_its_client_and_is_answered_to_nobody),
        T(expect_continue_is_answered_before_the_body),
        T(too_large_bodies_are_refused_before_and_while_they_come),
        T(a_small_unwanted_body_is_skipped_and_the_connection_stays),
        T(a_large_unwanted_body_does_not_destroy_the_answer),
        T(a_streamed_body_arrives_in_parts_with_an_end),
        T(a_paused_body_waits_in_the_socket),
        T(a_client_that_breaks_off_its_body_cancels_the_handler),
        T(a_stream_is_chunked_and_ends),
        T(a_stream_feels_a_slow_reader_and_goes_on_when_it_has_read),
        T(large_answers_arrive_whole),
        T(an_event_stream_is_told_when_its_reader_leaves),
        T(an_aborted_stream_ends_without_its_last_chunk),
        T(ambiguous_and_malformed_requests_are_refused),
        T(what_precedes_a_malformed_request_is_still_answered),
        T(long_lines_and_many_headers_get_431),
        T(before_may_refuse_and_the_handler_never_runs),
        T(past_its_share_work_is_refused_but_health_answers),
        T(closing_answers_what_is_under_way_and_then_reports),
        T(a_port_in_use_is_named_with_the_way_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
