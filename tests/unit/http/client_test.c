#include "http/client.h"

#include <arpa/inet.h>
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

#include "base/err.h"
#include "base/mem.h"
#include "http/server.h"
#include "io/loop.h"
#include "io/tls.h"
#include "io/world.h"
#include "support/cert.h"

/* ---- a server on a thread of its own, plain or TLS ---- */

struct fixture {
    struct loop *loop;
    struct http_router *router;
    struct http_server *server;
    struct tls_server *tls;
    struct task close_task;
    size_t received, connections;
    char url[64];
    struct cert_files files;
};

static void echo(struct http_request *req)
{
    struct str body = http_body(req);
    const char *token = http_header_in(req, "Authorization");
    http_header(req, "X-Token", token != NULL ? token : "none");
    http_header(req, "X-Secure", http_is_tls(req) ? "yes" : "no");
    const struct fixture *f = http_context(req);
    http_headerf(req, "X-Connections", "%zu", http_server_connections(f->server));
    http_respond(req, 200, "text/plain", body.p, body.n);
}

static void part(struct http_request *req, void *arg, const char *p, size_t n)
{
    (void)p;
    struct fixture *f = arg;
    f->received += n;
    if (n > 0)
        return;
    char text[32];
    http_respond(req, 200, "text/plain", text,
                 (size_t)snprintf(text, sizeof text, "%zu", f->received));
}

static void import(struct http_request *req)
{
    http_body_stream(req, part, http_context(req));
}

static void lines(struct http_request *req)
{
    http_stream_begin(req, 200, "application/x-ndjson");
    for (int i = 0; i < 5000; i++) {
        char text[32];
        http_stream_write(req, text,
                          (size_t)snprintf(text, sizeof text, i < 4999 ? "line %d\n" : "last", i));
    }
    http_stream_end(req);
}

static void refuse(struct http_request *req)
{
    http_refuse(req, ERR_VERSION_MISMATCH, "it is version 3");
}

static void cut(struct http_request *req)
{
    http_stream_begin(req, 200, "text/plain");
    http_stream_write(req, "half", 4);
    http_stream_abort(req);
}

static const struct http_route routes[] = {
    {HTTP_VERB_POST, "/v/echo", echo, 0, 0},
    {HTTP_VERB_GET, "/v/echo", echo, 0, 0},
    {HTTP_VERB_POST, "/v/import", import, HTTP_STREAM_BODY, 0},
    {HTTP_VERB_GET, "/v/lines", lines, 0, 0},
    {HTTP_VERB_GET, "/v/refuse", refuse, 0, 0},
    {HTTP_VERB_GET, "/v/cut", cut, 0, 0},
};

static int start_server(void **state, bool secure)
{
    struct fixture *f = mem_new(sizeof *f);
    struct err e = ERR_INIT;
    *state = f;
    if (secure && (cert_make(&f->files, &e) != 0 ||
                   tls_server_new(f->files.cert, f->files.key, &f->tls, &e) != 0)) {
        print_error("%s\n", e.text);
        return -1;
    }
    struct http_options o = {.address = "127.0.0.1", .context = f, .tls = f->tls};
    f->router = http_router_new();
    if (loop_new("net", &f->loop, &e) != 0 ||
        http_router_add(f->router, routes, ARRAY_LEN(routes), &e) != 0 ||
        http_server_open(f->loop, &o, f->router, &f->server, &e) != 0 ||
        loop_start(f->loop, &e) != 0) {
        print_error("%s\n", e.text);
        return -1;
    }
    snprintf(f->url, sizeof f->url, "%s://localhost:%u/v/", secure ? "https" : "http",
             http_server_port(f->server));
    return 0;
}

static int start(void **state)
{
    return start_server(state, false);
}

static int start_tls(void **state)
{
    return start_server(state, true);
}

static void on_closed(void *arg)
{
    loop_stop(((struct fixture *)arg)->loop);
}

static void close_it(struct task *t)
{
    struct fixture *f = (struct fixture *)((char *)t - offsetof(struct fixture, close_task));
    http_server_close(f->server, on_closed, f);
    http_server_abort(f->server);
}

static int stop(void **state)
{
    struct fixture *f = *state;
    f->close_task.run = close_it;
    runner_post(loop_runner(f->loop), &f->close_task);
    loop_join(f->loop);
    while (loop_poll(f->loop))
        ;
    loop_free(f->loop);
    http_router_free(f->router);
    tls_server_free(f->tls);
    cert_remove(&f->files);
    mem_free(f);
    return 0;
}

static struct http_client *client(struct fixture *f, bool insecure)
{
    struct http_client *c;
    struct err e = ERR_INIT;
    struct http_client_options o = {.url = f->url,
                                    .ca_path = f->tls != NULL ? f->files.cert : NULL,
                                    .insecure = insecure,
                                    .token = "secret",
                                    .timeout_ms = 5000};
    if (http_client_new(&o, &c, &e) != 0)
        fail_msg("%s", e.text);
    return c;
}

static void must(struct http_client *c, const struct http_client_request *r,
                 struct http_client_answer *a)
{
    struct err e = ERR_INIT;
    if (http_client_do(c, r, a, &e) != 0)
        fail_msg("%s %s: %s", r->method, r->path, e.text);
}

static void exchange(struct fixture *f, bool insecure)
{
    struct http_client *c = client(f, insecure);
    for (int i = 0; i < 3; i++) {
        struct http_client_answer a;
        struct http_client_request r = {
            .method = "POST", .path = "/echo", .type = "text/plain", .body = "hi", .body_n = 2};
        must(c, &r, &a);
        assert_int_equal(a.status, 200);
        assert_string_equal(buf_str(&a.body), "hi");
        assert_string_equal(http_client_header(&a, "x-token"), "Bearer secret");
        assert_string_equal(http_client_header(&a, "x-secure"), f->tls != NULL ? "yes" : "no");
        assert_string_equal(http_client_header(&a, "x-connections"), "1");
        http_client_answer_fini(&a);
    }
    http_client_free(c);
}

static void a_request_is_sent_and_its_answer_read_over_one_connection(void **state)
{
    exchange(*state, false);
}

static void the_same_over_tls_with_the_certificate_verified(void **state)
{
    exchange(*state, false);
}

static void the_same_over_tls_believing_anybody(void **state)
{
    exchange(*state, true);
}

static void large_bodies_pass_both_ways(struct fixture *f)
{
    enum { N = 5 * 1024 * 1024 };
    struct http_client *c = client(f, false);
    char *body = mem_try(N);
    for (size_t i = 0; i < N; i++)
        body[i] = (char)('a' + i % 23);
    struct http_client_answer a;
    struct http_client_request r = {
        .method = "POST", .path = "/echo", .type = "text/plain", .body = body, .body_n = N};
    must(c, &r, &a);
    assert_int_equal(a.body.len, N);
    assert_memory_equal(a.body.data, body, N);
    http_client_answer_fini(&a);
    http_client_free(c);
    mem_free(body);
}

static void large_bodies_pass_plain(void **state)
{
    large_bodies_pass_both_ways(*state);
}

static void large_bodies_pass_over_tls(void **state)
{
    large_bodies_pass_both_ways(*state);
}

static ssize_t give(void *arg, void *p, size_t n, struct err *e)
{
    (void)e;
    size_t *left = arg;
    n = n < *left ? n : *left;
    memset(p, 'x', n);
    *left -= n;
    return (ssize_t)n;
}

static void a_body_is_streamed_from_a_callback(void **state)
{
    struct http_client *c = client(*state, false);
    size_t left = 1000003;
    struct http_client_answer a;
    struct http_client_request r = {
        .method = "POST", .path = "/import", .read = give, .read_arg = &left};
    must(c, &r, &a);
    assert_string_equal(buf_str(&a.body), "1000003");
    http_client_answer_fini(&a);
    http_client_free(c);
}

struct seen {
    int count;
    char last[32];
};

static int line(void *arg, const char *p, size_t n)
{
    struct seen *s = arg;
    s->count++;
    snprintf(s->last, sizeof s->last, "%.*s", (int)n, p);
    return 0;
}

static int stop_at_line(void *arg, const char *p, size_t n)
{
    line(arg, p, n);
    return ERR_CANCELED;
}

static void an_answer_comes_line_by_line_and_may_be_given_up(void **state)
{
    struct http_client *c = client(*state, false);
    struct seen s = {0, ""};
    struct err e = ERR_INIT;
    struct http_client_answer a;
    struct http_client_request r = {
        .method = "GET", .path = "/lines", .line = line, .line_arg = &s};
    must(c, &r, &a);
    assert_int_equal(s.count, 5000);
    assert_string_equal(s.last, "last");
    http_client_answer_fini(&a);
    r.line = stop_at_line;
    s.count = 0;
    assert_int_equal(http_client_do(c, &r, &a, &e), ERR_CANCELED);
    assert_int_equal(s.count, 1);
    http_client_answer_fini(&a);
    http_client_free(c);
}

static void a_problem_becomes_an_error_again(void **state)
{
    struct http_client *c = client(*state, false);
    struct err e = ERR_INIT;
    struct http_client_answer a;
    struct http_client_request r = {.method = "GET", .path = "/refuse"};
    must(c, &r, &a);
    assert_int_equal(a.status, 412);
    assert_int_equal(http_client_problem(&a, &e), ERR_VERSION_MISMATCH);
    assert_string_equal(e.text, "it is version 3");
    http_client_answer_fini(&a);
    http_client_free(c);
}

static void an_answer_cut_short_is_an_error(void **state)
{
    struct http_client *c = client(*state, false);
    struct err e = ERR_INIT;
    struct http_client_answer a;
    struct http_client_request r = {.method = "GET", .path = "/cut"};
    assert_int_equal(http_client_do(c, &r, &a, &e), ERR_CANCELED);
    http_client_answer_fini(&a);
    http_client_free(c);
}

static void an_untrusted_certificate_is_refused_with_the_reason(void **state)
{
    struct fixture *f = *state;
    struct cert_files other = {0};
    struct err e = ERR_INIT;
    assert_int_equal(cert_make(&other, &e), 0);
    struct http_client_options o = {.url = f->url, .ca_path = other.cert};
    struct http_client *c;
    struct http_client_answer a;
    struct http_client_request r = {.method = "GET", .path = "/echo"};
    assert_int_equal(http_client_new(&o, &c, &e), 0);
    assert_int_equal(http_client_do(c, &r, &a, &e), ERR_UNAVAILABLE);
    assert_non_null(strstr(e.text, "not trusted"));
    http_client_answer_fini(&a);
    http_client_free(c);
    cert_remove(&other);
}

static void plain_http_to_a_tls_port_fails_cleanly(void **state)
{
    struct fixture *f = *state;
    struct err e = ERR_INIT;
    char url[80];
    snprintf(url, sizeof url, "http://127.0.0.1:%u", http_server_port(f->server));
    struct http_client_options o = {.url = url, .timeout_ms = 5000};
    struct http_client *c;
    struct http_client_answer a;
    struct http_client_request r = {.method = "GET", .path = "/"};
    assert_int_equal(http_client_new(&o, &c, &e), 0);
    assert_int_not_equal(http_client_do(c, &r, &a, &e), 0);
    http_client_answer_fini(&a);
    http_client_free(c);
}

static void a_dead_port_and_bad_urls_are_named(void **state)
{
    (void)state;
    struct err e = ERR_INIT;
    struct http_client *c;
    static const char *const bad[] = {"localhost",      "ftp://x",        "http://",
                                      "http://x:99999", "http://a@b/",    "http://[::1",
                                      "http://x:",      "http://[::1]x/", "https://:1"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct http_client_options o = {.url = bad[i]};
        assert_int_equal(http_client_new(&o, &c, &e), ERR_INVALID);
    }
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof at;
    assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &n), 0);
    char url[64];
    snprintf(url, sizeof url, "http://127.0.0.1:%u", ntohs(at.sin_port));
    struct http_client_options o = {.url = url};
    struct http_client_answer a;
    struct http_client_request r = {.method = "GET", .path = "/"};
    assert_int_equal(http_client_new(&o, &c, &e), 0);
    assert_int_equal(http_client_do(c, &r, &a, &e), ERR_UNAVAILABLE);
    assert_non_null(strstr(e.text, "nothing listens on 127.0.0.1 port "));
    http_client_answer_fini(&a);
    http_client_free(c);
    close(fd);
}

static void bad_certificate_files_are_named(void **state)
{
    struct fixture *f = *state;
    struct err e = ERR_INIT;
    struct tls_server *t = NULL;
    struct cert_files other = {0};
    assert_int_equal(cert_make(&other, &e), 0);
    assert_int_equal(tls_server_new("/no/such.pem", f->files.key, &t, &e), ERR_NOT_FOUND);
    assert_non_null(strstr(e.text, "/no/such.pem"));
    assert_int_equal(tls_server_new(f->files.key, f->files.key, &t, &e), ERR_INVALID);
    assert_int_equal(tls_server_new(f->files.cert, f->files.cert, &t, &e), ERR_INVALID);
    assert_int_equal(tls_server_new(f->files.cert, other.key, &t, &e), ERR_INVALID);
    assert_non_null(strstr(e.text, "does not belong"));
    assert_null(t);
    cert_remove(&other);
}

#define PLAIN(name) cmocka_unit_test_setup_teardown(name, start, stop)
#define SECURE(name) cmocka_unit_test_setup_teardown(name, start_tls, stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        PLAIN(a_request_is_sent_and_its_answer_read_over_one_connection),
        SECURE(the_same_over_tls_with_the_certificate_verified),
        SECURE(the_same_over_tls_believing_anybody),
        PLAIN(large_bodies_pass_plain),
        SECURE(large_bodies_pass_over_tls),
        PLAIN(a_body_is_streamed_from_a_callback),
        PLAIN(an_answer_comes_line_by_line_and_may_be_given_up),
        PLAIN(a_problem_becomes_an_error_again),
        PLAIN(an_answer_cut_short_is_an_error),
        SECURE(an_untrusted_certificate_is_refused_with_the_reason),
        SECURE(plain_http_to_a_tls_port_fails_cleanly),
        cmocka_unit_test(a_dead_port_and_bad_urls_are_named),
        SECURE(bad_certificate_files_are_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
