#include "trace/trace.h"

#include <math.h>
#include <string.h>

#include "base/health.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/stat.h"
#include "trace/trace_priv.h"

#define TRACE_KEEP_MS (UINT64_C(30) * 86400 * 1000)
#define TRACE_BYTES (UINT64_C(1) << 30)

enum { TRACE_WAKE_BYTES = TRACE_BUFFER_BYTES / 4, TRACE_HEALTH_MS = 60 * 1000 };
enum { TRACE_CLOCK_READS = 4, TRACE_CLOCK_GRAIN_US = 1000 };

static int64_t trace_wall_us(const struct trace *t, uint64_t mono_ns)
{
    return (int64_t)(mono_ns / 1000) + atomic_load(&t->wall_offset_us);
}

int64_t trace_now_us(const struct trace *t)
{
    return trace_wall_us(t, t->world->mono_ns(t->world));
}

/* The wall clock is stepped and slewed; spans want one that is fine and follows it. What is read
 * here is never too large: the wall clock shows whole milliseconds and is read first. So the
 * largest is nearest, and what began before a unit was committed is shown before it. */
static void trace_set_clock(struct trace *t)
{
    int64_t set = atomic_load(&t->wall_offset_us), best = INT64_MIN;
    for (int i = 0; i < TRACE_CLOCK_READS; i++) {
        int64_t wall_us = t->world->wall_ms(t->world) * 1000;
        int64_t offset = wall_us - (int64_t)(t->world->mono_ns(t->world) / 1000);
        best = offset > best ? offset : best;
    }
    if (best > set || best < set - TRACE_CLOCK_GRAIN_US)
        atomic_store(&t->wall_offset_us, best);
}

/* ---- noting ---- */

static size_t trace_count(const uint8_t *p, size_t n)
{
    size_t count = 0, length;
    for (size_t at = 0; (length = event_length(p + at, n - at)) > 0; at += length)
        count++;
    return count;
}

static void trace_add(struct trace *t, const void *records, size_t n, size_t count)
{
    pthread_mutex_lock(&t->note_lock);
    buf_add(&t->buffer, records, n);
    bool lost = buf_failed(&t->buffer);
    t->buffer.failed = false;
    size_t waiting = t->buffer.len;
    pthread_mutex_unlock(&t->note_lock);
    stat_add(lost ? t->lost_buffer : t->noted, count);
    if (waiting > TRACE_WAKE_BYTES && t->started && !atomic_exchange(&t->woken, true))
        runner_post(loop_runner(t->loop), &t->wake);
}

/* The words of an error may hold an address with a credential, or a secret of the settings. */
static void trace_redact(struct trace_event *e, struct buf *room)
{
    if (e->detail == NULL || (!e->failed && strpbrk(e->detail, ":=") == NULL))
        return;
    log_redact(e->detail, room);
    e->detail = buf_str(room);
}

void trace_note(struct trace *t, const struct trace_event *given)
{
    uint8_t record[EVENT_BYTES_MAX];
    AUTO(buf_fini) struct buf room = BUF_INIT(EVENT_BYTES_MAX);
    if (t == NULL)
        return;
    struct trace_event own = *given, *e = &own;
    trace_redact(e, &room);
    if (e->began_ns != 0) {
        e->at_us = trace_wall_us(t, e->began_ns);
        e->took_ns = t->world->mono_ns(t->world) - e->began_ns;
    }
    size_t n = event_encode(e, e->at_us != 0 ? e->at_us : trace_now_us(t), record);
    trace_add(t, record, n, 1);
}

void trace_record(const struct trace_event *e, struct buf *out)
{
    uint8_t record[EVENT_BYTES_MAX];
    size_t n = event_encode(e, e->at_us, record);
    buf_add(out, record, n);
}

void trace_note_records(struct trace *t, const struct buf *records)
{
    const uint8_t *p = (const uint8_t *)records->data;
    if (t != NULL && records->len > 0)
        trace_add(t, p, records->len, trace_count(p, records->len));
}

/* ---- from the buffer to the ring ---- */

static void trace_queue(struct trace *t, const uint8_t *p, size_t n)
{
    struct event ev;
    size_t length;
    if (*t->o.endpoint == '\0')
        return;
    for (size_t at = 0; (length = event_length(p + at, n - at)) > 0; at += length) {
        if (!event_decode(p + at, length, &ev) || !otlp_wanted(&ev.e))
            continue;
        buf_add(&t->queue, p + at, length);
        if (buf_failed(&t->queue)) {
            t->queue.failed = false;
            stat_add(t->lost_queue, 1);
        } else {
            t->queue_spans++;
        }
    }
}

/* In pieces that fit a segment. */
static void trace_write(struct trace *t, const uint8_t *p, size_t n)
{
    size_t at = 0, end, length;
    while (at < n) {
        for (end = at;
             end - at < TRACE_SEGMENT_BYTES / 8 && (length = event_length(p + end, n - end)) > 0;)
            end += length;
        if (end == at)
            return;
        struct err e = ERR_INIT;
        if (!t->ring_open || ring_write(&t->ring, p + at, end - at, &e) != 0) {
            stat_add(t->lost_ring, trace_count(p + at, end - at));
            if (t->ring_open && t->ring_err.code == 0)
                log_warn("trace", "events are lost: %s", e.text);
            if (t->ring_open)
                t->ring_err = e;
        } else {
            t->ring_err.code = 0;
        }
        at = end;
    }
}

void trace_drain(struct trace *t)
{
    pthread_mutex_lock(&t->note_lock);
    struct buf full = t->buffer;
    t->buffer = t->spare;
    t->spare = full;
    pthread_mutex_unlock(&t->note_lock);
    if (full.len == 0)
        return;
    const uint8_t *p = (const uint8_t *)full.data;
    trace_write(t, p, full.len);
    trace_queue(t, p, full.len);
    buf_reset(&t->spare);
}

/* ---- its thread ---- */

static void trace_report(struct trace *t)
{
    bool bad = t->ring_err.code != 0;
    AUTO(mem_freep)
    char *text = bad ? mem_printf("events are not kept: %s", t->ring_err.text) : mem_strdup("");
    health_report(t->o.health, "ring", bad ? HEALTH_DEGRADED : HEALTH_HEALTHY, TRACE_HEALTH_MS,
                  text,
                  json_pack("{s:I, s:I, s:I}", "bytes", (json_int_t)t->ring.bytes, "segments",
                            (json_int_t)t->ring.count, "lost",
                            (json_int_t)(stat_read(t->lost_ring) + stat_read(t->lost_buffer))));
}

static void trace_turn(struct trace *t)
{
    trace_set_clock(t);
    pthread_mutex_lock(&t->ring_lock);
    trace_drain(t);
    if (t->ring_open)
        ring_trim(&t->ring, trace_now_us(t), 0);
    trace_report(t);
    pthread_mutex_unlock(&t->ring_lock);
    if (!t->last_sent)
        export_turn(t);
}

static void trace_fire(struct world_timer *timer)
{
    struct trace *t = (struct trace *)((char *)timer - offsetof(struct trace, timer));
    trace_turn(t);
    if (!atomic_load(&t->stopping))
        t->world->timer_start(t->world, timer, TRACE_TURN_MS);
}

static void trace_woken(struct task *task)
{
    struct trace *t = (struct trace *)((char *)task - offsetof(struct trace, wake));
    atomic_store(&t->woken, false);
    trace_turn(t);
    if (!t->ticking) /* the first time: from now on by itself */
        t->world->timer_start(t->world, &t->timer, TRACE_TURN_MS);
    t->ticking = true;
}

/* ---- the end ---- */

static void trace_idle(struct world_timer *timer)
{
    struct trace *t = (struct trace *)((char *)timer - offsetof(struct trace, timer));
    runner_post(loop_runner(t->loop), &t->stop);
}

/* All is written; the collector has one request's time for the rest. */
static void trace_stop(struct task *task)
{
    struct trace *t = (struct trace *)((char *)task - offsetof(struct trace, stop));
    struct exporter *x = &t->exporter;
    if (x->fetch != NULL) {     /* with the patience of a node at work */
        fetch_cancel(x->fetch); /* posts this task again */
        return;
    }
    if (!t->last_sent) {
        t->last_sent = true;
        trace_turn(t);
        export_turn(t);
        if (x->fetch != NULL)
            return;
    }
    t->world->timer_stop(t->world, &t->timer);
    if (!fetcher_is_idle(&x->fetcher)) { /* a name is still being looked up */
        t->timer.fire = trace_idle;
        t->world->timer_start(t->world, &t->timer, TRACE_TURN_MS);
        return;
    }
    loop_stop(t->loop);
}

/* ---- open, close ---- */

static char *trace_copy(const char *s)
{
    return mem_strdup(s != NULL ? s : "");
}

static void trace_take_options(struct trace *t, const struct trace_options *o)
{
    t->o = *o;
    t->o.dir = trace_copy(o->dir);
    t->o.node_id = trace_copy(o->node_id);
    t->o.version = trace_copy(o->version);
    t->o.endpoint = trace_copy(o->endpoint);
    t->o.headers = trace_copy(o->headers);
    t->o.service = trace_copy(o->service != NULL && *o->service != '\0' ? o->service : "koan");
    t->o.resource = trace_copy(o->resource);
    /* The product is rounded to a power of two at 1: that must not become 0. */
    double below = ldexp(o->sample, 64);
    t->sample_below = o->sample >= 1 ? UINT64_MAX : o->sample > 0 ? (uint64_t)below : 0;
}

static void trace_stats(struct trace *t)
{
    static const char lost[] = "koan_trace_lost_total",
                      help[] = "Events and spans dropped, by where: they never wait";
    t->noted = stat_counter("koan_trace_events_total", "", "Events noted for the timeline");
    t->lost_buffer = stat_counter(lost, "at=\"buffer\"", help);
    t->lost_ring = stat_counter(lost, "at=\"ring\"", help);
    t->lost_queue = stat_counter(lost, "at=\"queue\"", help);
    t->lost_export = stat_counter(lost, "at=\"export\"", help);
    t->exported = stat_counter("koan_trace_exported_total", "", "Spans the collector has taken");
}

static void trace_free(struct trace *t)
{
    const char *texts[] = {t->o.dir,     t->o.node_id, t->o.version, t->o.endpoint,
                           t->o.headers, t->o.service, t->o.resource};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        mem_free((char *)texts[i]);
    export_close(t);
    ring_close(&t->ring);
    buf_fini(&t->buffer);
    buf_fini(&t->spare);
    buf_fini(&t->queue);
    pthread_mutex_destroy(&t->note_lock);
    pthread_mutex_destroy(&t->ring_lock);
    if (t->loop != NULL)
        loop_free(t->loop);
    mem_free(t);
}

int trace_open(const struct trace_options *o, struct trace **out, struct err *e)
{
    struct trace *t = mem_new(sizeof *t);
    trace_take_options(t, o);
    trace_stats(t);
    pthread_mutex_init(&t->note_lock, NULL);
    pthread_mutex_init(&t->ring_lock, NULL);
    buf_init(&t->buffer, TRACE_BUFFER_BYTES);
    buf_init(&t->spare, TRACE_BUFFER_BYTES);
    buf_init(&t->queue, TRACE_QUEUE_BYTES);
    int rc = loop_new("trace", &t->loop, e);
    if (rc != 0) {
        trace_free(t);
        return rc;
    }
    t->world = loop_world(t->loop);
    t->world->random(t->world, &t->span_seed, sizeof t->span_seed);
    trace_set_clock(t);
    t->ring = (struct ring){.disk = o->disk,
                            .dir = trace_copy(o->dir),
                            .keep_us = (o->keep_ms > 0 ? o->keep_ms : TRACE_KEEP_MS) * 1000,
                            .bytes_max = o->bytes_max > 0 ? o->bytes_max : TRACE_BYTES};
    t->ring_open = ring_open(&t->ring, &t->ring_err) == 0;
    if (!t->ring_open)
        log_warn("trace", "no timeline: %s", t->ring_err.text);
    export_open(t);
    t->timer.fire = trace_fire;
    t->wake.run = trace_woken;
    t->stop.run = trace_stop;
    rc = loop_start(t->loop, e);
    if (rc != 0) {
        trace_free(t);
        return rc;
    }
    t->started = true;
    runner_post(loop_runner(t->loop), &t->wake);
    *out = t;
    return 0;
}

void trace_close(struct trace *t)
{
    if (t == NULL)
        return;
    atomic_store(&t->stopping, true);
    runner_post(loop_runner(t->loop), &t->stop);
    loop_join(t->loop);
    pthread_mutex_lock(&t->ring_lock);
    trace_drain(t);
    stat_add(t->lost_export, t->queue_spans + t->exporter.batch_spans);
    pthread_mutex_unlock(&t->ring_lock);
    trace_free(t);
}
