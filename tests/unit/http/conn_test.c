/* Deadlines and the order of requests, on a connection that is fed by hand under a clock of ours.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "base/err.h"
#include "base/mem.h"
#include "http/http_priv.h"

struct fixture {
    struct world world; /* the loop's, with another clock */
    struct loop *loop;
    struct http_router *router;
    struct http_server *server;
    struct http_conn *conn;
    struct http_request *later[HTTP_PIPELINE_MAX + 1];
    size_t later_count, cancels, ends;
    bool closed;
};

static uint64_t clock_ms = 1000000;

static uint64_t fake_mono_ns(struct world *w)
{
    (void)w;
    return clock_ms * 1000000;
}

static void hello(struct http_request *req)
{
    http_respond(req, 200, "text/plain", "hello", 5);
}

static void later(struct http_request *req)
{
    struct fixture *f = http_context(req);
    f->later[f->later_count++] = req;
}

static void gone(struct http_request *req, void *arg)
{
    (void)req;
    ((struct fixture *)arg)->cancels++;
}

static void part(struct http_request *req, void *arg, const char *p, size_t n)
{
    (void)p;
    struct fixture *f = arg;
    if (n > 0)
        return;
    f->ends++;
    hello(req);
}

static void import(struct http_request *req)
{
    http_on_cancel(req, gone, http_context(req));
    http_body_stream(req, part, http_context(req));
    later(req);
}

static const struct http_route routes[] = {
    {HTTP_VERB_GET, "/hello", hello, 0, 0},
    {HTTP_VERB_GET, "/later", later, 0, 0},
    {HTTP_VERB_POST, "/later", later, 0, 0},
    {HTTP_VERB_POST, "/import", import, HTTP_STREAM_BODY, 20},
};

static int start(void **state)
{
    struct fixture *f = mem_new(sizeof *f);
    struct http_options o = {.context = f};
    struct err e = ERR_INIT;
    *state = f;
    f->router = http_router_new();
    if (loop_new("test", &f->loop, &e) != 0 ||
        http_router_add(f->router, routes, ARRAY_LEN(routes), &e) != 0)
        return -1;
    f->server = http_server_new(f->loop, &o, f->router);
    f->world = *loop_world(f->loop);
    f->world.mono_ns = fake_mono_ns;
    f->server->world = &f->world;
    f->server->now_ms = clock_ms;
    f->conn = http_conn_new(f->server, NULL);
    return 0;
}

static void on_closed(void *arg)
{
    ((struct fixture *)arg)->closed = true;
}

static int stop(void **state)
{
    struct fixture *f = *state;
    f->server->world = loop_world(f->loop);
    http_server_close(f->server, on_closed, f);
    http_server_abort(f->server);
    for (int i = 0; i < 10 && !f->closed; i++)
        loop_poll(f->loop);
    assert_true(f->closed);
    loop_free(f->loop);
    http_router_free(f->router);
    mem_free(f);
    return 0;
}

static void feed(struct fixture *f, const char *text)
{
    http_conn_feed(f->conn, text, strlen(text));
    f->conn->rate_bytes += strlen(text);
    http_conn_check(f->conn);
}

/* Whether the connection is still wanted after so long. */
static bool lives_after(struct fixture *f, uint64_t ms)
{
    clock_ms += ms;
    f->server->now_ms = clock_ms;
    http_conn_sweep(f->conn);
    return !f->conn->doomed;
}

static void a_client_that_says_nothing_is_closed(void **state)
{
    struct fixture *f = *state;
    assert_true(lives_after(f, HTTP_HEADER_WAIT_MS));
    assert_false(lives_after(f, 1));
}

static void headers_that_trickle_are_cut_off(void **state)
{
    struct fixture *f = *state;
    feed(f, "GET /hello HTTP/1.1\r\nHo");
    for (int i = 0; i < 10; i++) {
        assert_true(lives_after(f, HTTP_HEADER_WAIT_MS / 10));
        feed(f, "s");
    }
    assert_false(lives_after(f, 1));
}

static void an_idle_connection_lives_a_minute_from_its_last_answer(void **state)
{
    struct fixture *f = *state;
    feed(f, "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n");
    http_server_turn(f->server);
    assert_true(lives_after(f, HTTP_IDLE_MS));
    feed(f, "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n");
    http_server_turn(f->server);
    assert_true(lives_after(f, HTTP_IDLE_MS));
    assert_false(lives_after(f, 1));
}

static void a_request_at_work_has_no_deadline_here(void **state)
{
    struct fixture *f = *state;
    feed(f, "GET /later HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_true(lives_after(f, 10 * HTTP_IDLE_MS));
    hello(f->later[0]);
    http_server_turn(f->server);
    assert_true(lives_after(f, HTTP_IDLE_MS)); /* idle counts from the answer */
}

static void a_body_must_bring_a_kilobyte_a_second(void **state)
{
    struct fixture *f = *state;
    char block[HTTP_RATE_BYTES * 10 + 1];
    memset(block, 'x', sizeof block - 1);
    block[sizeof block - 1] = '\0';
    feed(f, "POST /later HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n");
    feed(f, block);
    assert_true(lives_after(f, HTTP_RATE_WINDOW_MS));
    feed(f, block);
    assert_true(lives_after(f, HTTP_RATE_WINDOW_MS));
    feed(f, "too little");
    assert_true(lives_after(f, HTTP_RATE_WINDOW_MS - 1));
    assert_false(lives_after(f, 1));
}

static void a_body_that_waits_for_us_is_not_slow(void **state)
{
    struct fixture *f = *state;
    feed(f, "POST /import HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc");
    http_body_pause(f->later[0]);
    for (int i = 0; i < 5; i++)
        assert_true(lives_after(f, HTTP_RATE_WINDOW_MS));
    http_body_resume(f->later[0]);
    http_server_turn(f->server);
    assert_true(lives_after(f, HTTP_RATE_WINDOW_MS - 1));
    assert_false(lives_after(f, 1));
    http_server_turn(f->server);
    f->conn = NULL;
    assert_int_equal(f->cancels, 1);
    hello(f->later[0]);
}

/* What the client gets so far, and that nothing of the connection is left to be read. */
static void expect_refusal(struct fixture *f, const char *status)
{
    char *text = mem_strndup(f->conn->out.head->data, f->conn->out.bytes);
    assert_int_equal(strncmp(text, status, strlen(status)), 0);
    assert_non_null(strstr(text, "Connection: close"));
    mem_free(text);
    assert_false(f->conn->doomed);
    assert_true(f->conn->last && f->conn->input_over);
    assert_false(http_conn_may_parse(f->conn));
}

static void a_stream_past_its_bound_is_refused_and_its_handler_told(void **state)
{
    struct fixture *f = *state;
    feed(f, "POST /import HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
            "15\r\n012345678901234567890\r\n0\r\n\r\n");
    expect_refusal(f, "HTTP/1.1 413 ");
    assert_int_equal(f->cancels, 1);
    assert_int_equal(f->ends, 0);
    assert_int_equal(f->server->inflight, 1); /* the handler is at work still */
    assert_true(http_is_cancelled(f->later[0]));
    size_t bytes = f->conn->out.bytes;
    hello(f->later[0]);
    assert_int_equal(f->conn->out.bytes, bytes);
    assert_int_equal(f->server->inflight, 0);
}

static void a_malformed_chunk_of_a_stream_is_refused_and_its_handler_told(void **state)
{
    struct fixture *f = *state;
    feed(f, "POST /import HTTP/1.1\r\nHost: x\r\nX-Correlation-ID: mine\r\n"
            "Transfer-Encoding: chunked\r\n\r\n1\r\na\r\nnonsense\r\n\r\n");
    expect_refusal(f, "HTTP/1.1 400 ");
    assert_non_null(strstr(f->conn->out.head->data, "X-Correlation-ID: mine\r\n"));
    assert_int_equal(f->cancels, 1);
    hello(f->later[0]);
}

static void an_answer_begun_is_cut_when_its_request_turns_out_bad(void **state)
{
    struct fixture *f = *state;
    feed(f, "POST /import HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n");
    http_stream_begin(f->later[0], 200, "text/plain");
    feed(f, "nonsense\r\n\r\n");
    assert_true(f->conn->doomed);
    http_server_turn(f->server);
    f->conn = NULL;
    assert_int_equal(f->cancels, 1);
    http_stream_end(f->later[0]);
}

static void an_answer_that_nobody_reads_is_given_up(void **state)
{
    struct fixture *f = *state;
    feed(f, "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_true(f->conn->out.bytes > 0);
    assert_true(lives_after(f, HTTP_WRITE_STALL_MS + 1)); /* not written yet: that waits for us */
    f->conn->wrote_ms = clock_ms; /* as if the kernel had taken a part now, and no more */
    f->conn->stalled = true;
    assert_true(lives_after(f, HTTP_WRITE_STALL_MS));
    assert_false(lives_after(f, 1));
}

static void early(struct http_request *req, void *arg, const char *p, size_t n)
{
    (void)arg;
    (void)p;
    (void)n;
    hello(req);
}

static void nothing_follows_the_last_answer(void **state)
{
    struct fixture *f = *state;
    feed(f, "POST /import HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
    http_body_stream(f->later[0], early, NULL);
    feed(f, "1\r\na\r\nnonsense\r\n\r\n");
    size_t bytes = f->conn->out.bytes;
    char *text = mem_strndup(f->conn->out.head->data, bytes);
    assert_non_null(strstr(text, "Connection: close"));
    assert_null(strstr(text, "HTTP/1.1 400"));
    mem_free(text);
}

static void a_pipeline_is_bounded_and_goes_on_when_answered(void **state)
{
    struct fixture *f = *state;
    for (int i = 0; i < HTTP_PIPELINE_MAX; i++)
        feed(f, "GET /later HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_int_equal(f->later_count, HTTP_PIPELINE_MAX);
    assert_false(http_conn_may_parse(f->conn));
    hello(f->later[1]); /* not the first: its place stays taken */
    assert_false(http_conn_may_parse(f->conn));
    hello(f->later[0]);
    assert_true(http_conn_may_parse(f->conn));
    feed(f, "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n");
    for (int i = 2; i < HTTP_PIPELINE_MAX; i++)
        hello(f->later[i]);
    http_conn_check(f->conn);
    assert_int_equal(f->conn->request_count, 0);
}

static void counts_of_work_return_to_nothing(void **state)
{
    struct fixture *f = *state;
    feed(f, "GET /later HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_int_equal(f->server->inflight, 1);
    hello(f->later[0]);
    feed(f, "POST /later HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nabcde");
    assert_int_equal(f->server->body_bytes, 5);
    hello(f->later[1]);
    assert_int_equal(f->server->inflight, 0);
    assert_int_equal(f->server->body_bytes, 0);
}

#define T(name) cmocka_unit_test_setup_teardown(name, start, stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(a_client_that_says_nothing_is_closed),
        T(headers_that_trickle_are_cut_off),
        T(an_idle_connection_lives_a_minute_from_its_last_answer),
        T(a_request_at_work_has_no_deadline_here),
        T(a_body_must_bring_a_kilobyte_a_second),
        T(a_body_that_waits_for_us_is_not_slow),
        T(a_stream_past_its_bound_is_refused_and_its_handler_told),
        T(a_malformed_chunk_of_a_stream_is_refused_and_its_handler_told),
        T(an_answer_begun_is_cut_when_its_request_turns_out_bad),
        T(an_answer_that_nobody_reads_is_given_up),
        T(nothing_follows_the_last_answer),
        T(a_pipeline_is_bounded_and_goes_on_when_answered),
        T(counts_of_work_return_to_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
