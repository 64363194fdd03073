/* Spans to a collector, OTLP/HTTP: one batch under way at a time, the rest waits in a bounded
 * queue.
 *
 *   queue -> batch -> POST -> 2xx: gone
 *              ^        +---> 429, 502, 503, 504, no answer: again later, TRACE_EXPORT_TRIES times
 *              +--------+---> else, or after the last: dropped, counted
 *
 * Runs on the trace's own loop. Whatever the collector does, the worst that happens is that spans
 * are dropped. */
#include <string.h>

#include "base/health.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/stat.h"
#include "base/str.h"
#include "trace/trace_priv.h"

enum {
    EXPORT_TIMEOUT_MS = 10 * 1000,
    EXPORT_AGAIN_MS = 1000, /* twice as long each time */
    EXPORT_ANSWER_MAX = 64 << 10,
    EXPORT_HEALTH_MS = 5 * 60 * 1000,
    EXPORT_LAST_MS = 1000, /* what a last delivery may take when the node ends */
};

static uint64_t export_now_ms(const struct trace *t)
{
    return t->world->mono_ns(t->world) / 1000000;
}

static void export_report(struct trace *t, bool failing, const char *why)
{
    struct exporter *x = &t->exporter;
    if (failing && !x->failing)
        log_warn("trace", "the collector does not take spans, they are dropped: %s", why);
    else if (!failing && x->failing)
        log_info("trace", "the collector takes spans again");
    x->failing = failing;
    health_report(t->o.health, "telemetry", failing ? HEALTH_DEGRADED : HEALTH_HEALTHY,
                  EXPORT_HEALTH_MS, why,
                  json_pack("{s:I, s:I}", "exported", (json_int_t)stat_read(t->exported), "lost",
                            (json_int_t)(stat_read(t->lost_export) + stat_read(t->lost_queue))));
}

static void export_over(struct trace *t, uint64_t lost)
{
    struct exporter *x = &t->exporter;
    stat_add(t->lost_export, lost);
    stat_add(t->exported, x->batch_spans - lost);
    buf_reset(&x->batch);
    x->batch_spans = 0;
    x->tries = 0;
    x->wait_until_ms = 0;
}

/* What a collector that took the batch has refused of it. */
static uint64_t export_refused(const struct trace *t, const struct fetch *f)
{
    const struct buf *body = fetch_body(f);
    AUTO(json_unref) json_t *o = json_read(buf_str(body), body->len, NULL);
    json_t *v = json_path(o, "partialSuccess.rejectedSpans"); /* a number, or one as a text */
    int64_t n = json_is_string(v) ? 0 : json_integer_value(v);
    if (json_is_string(v))
        str_to_i64(json_string_value(v), json_string_length(v), &n);
    size_t all = t->exporter.batch_spans;
    return n < 0 ? 0 : (uint64_t)n > all ? all : (uint64_t)n;
}

static bool export_may_repeat(const struct fetch *f)
{
    int status = fetch_status(f);
    return fetch_error(f)->code != 0 || status == 429 || status == 502 || status == 503 ||
           status == 504;
}

static void export_done(struct fetch *f, void *arg)
{
    struct trace *t = arg;
    struct exporter *x = &t->exporter;
    int status = fetch_status(f), code = fetch_error(f)->code;
    char why[ERR_TEXT_MAX];
    if (code == 0 && status / 100 == 2) {
        export_over(t, export_refused(t, f));
        export_report(t, false, "");
    } else {
        if (code != 0)
            snprintf(why, sizeof why, "%s", fetch_error(f)->text);
        else
            snprintf(why, sizeof why, "it answers with status %d", status);
        if (!export_may_repeat(f) || ++x->tries >= TRACE_EXPORT_TRIES)
            export_over(t, x->batch_spans);
        else
            x->wait_until_ms = export_now_ms(t) + ((uint64_t)EXPORT_AGAIN_MS << x->tries);
        export_report(t, true, why);
    }
    fetch_free(f);
    x->fetch = NULL;
    if (atomic_load(&t->stopping))
        runner_post(loop_runner(t->loop), &t->stop);
}

/* The next spans of the queue. */
static void export_take(struct trace *t)
{
    struct exporter *x = &t->exporter;
    size_t at = 0, length;
    pthread_mutex_lock(&t->ring_lock);
    const uint8_t *p = (const uint8_t *)t->queue.data;
    while (x->batch_spans < TRACE_BATCH_SPANS &&
           (length = event_length(p + at, t->queue.len - at)) > 0) {
        at += length;
        x->batch_spans++;
    }
    buf_add(&x->batch, p, at);
    buf_consume(&t->queue, at);
    t->queue_spans -= x->batch_spans;
    pthread_mutex_unlock(&t->ring_lock);
}

static void export_send(struct trace *t)
{
    struct exporter *x = &t->exporter;
    struct err e = ERR_INIT;
    AUTO(buf_fini) struct buf body = BUF_INIT(FETCH_SEND_MAX);
    bool last = atomic_load(&t->stopping);
    AUTO(mem_freep)
    char *headers =
        mem_printf("Content-Type: application/json\r\nUser-Agent: koan/%s\r\n", t->o.version);
    otlp_print((const uint8_t *)x->batch.data, x->batch.len, &t->o, &body);
    uint32_t wait = t->o.timeout_ms > 0 ? t->o.timeout_ms : EXPORT_TIMEOUT_MS;
    if (last && wait > EXPORT_LAST_MS)
        wait = EXPORT_LAST_MS;
    struct fetch_request r = {.method = "POST",
                              .url = t->o.endpoint,
                              .headers = headers,
                              .secret_headers = t->o.headers,
                              .body = buf_str(&body),
                              .body_n = body.len,
                              .timeout_ms = wait,
                              .connect_ms = wait < FETCH_CONNECT_MS ? wait : FETCH_CONNECT_MS,
                              .body_max = EXPORT_ANSWER_MAX,
                              .allow = "*"};
    if (buf_failed(&body) || fetch_start(&x->fetcher, &r, export_done, t, &x->fetch, &e) != 0) {
        x->fetch = NULL;
        if (e.code == ERR_UNAVAILABLE || e.code == ERR_OVERLOADED) { /* it has failed so often */
            x->wait_until_ms = export_now_ms(t) + EXPORT_AGAIN_MS;
            if (++x->tries < TRACE_EXPORT_TRIES)
                return;
        }
        export_over(t, x->batch_spans);
        export_report(t, true, e.code != 0 ? e.text : "no memory for a batch");
    }
}

void export_turn(struct trace *t)
{
    struct exporter *x = &t->exporter;
    bool last = atomic_load(&t->stopping);
    if (*t->o.endpoint == '\0' || x->fetch != NULL ||
        (x->wait_until_ms > export_now_ms(t) && !last))
        return;
    if (x->batch_spans == 0)
        export_take(t);
    if (x->batch_spans > 0)
        export_send(t);
}

void export_open(struct trace *t)
{
    struct exporter *x = &t->exporter;
    buf_init(&x->batch, TRACE_QUEUE_BYTES);
    x->shared = fetch_shared_new();
    fetcher_init(&x->fetcher, t->loop, x->shared);
    if (*t->o.endpoint != '\0')
        export_report(t, false, "");
}

void export_close(struct trace *t)
{
    buf_fini(&t->exporter.batch);
    fetch_shared_free(t->exporter.shared);
}
