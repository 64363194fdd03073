/* GET /api/{entity}/changes: what happens to records, as server-sent events.
 *
 * A stream has a position: everything up to it was sent. While it is behind (it resumed at an old
 * position) it reads the kept changes for itself, at the pace of its client. Once it is at the end
 * it is live: whenever entries were applied, the thread reads what they did once for all its live
 * streams (feed_live.c). Both read entity/changes.h and nothing else, so there is neither gap nor
 * duplicate where the one goes over into the other. A stream of an entity with a view is never live
 * (feed_view.c): at the end it waits until something changes, and then reads on for itself.
 *
 * Invariants, on the loop's thread:
 *   1. a live stream's position is at least `seq` of the thread; one behind is in nobody's way.
 *   2. `live` counts the streams that are not behind; with none of them `seq` means nothing. */
#include <string.h>

#include "api/feed_priv.h"
#include "base/mem.h"
#include "base/str.h"
#include "entity/filter.h"

enum {
    FEED_BEAT_MS = 15000,
    FEED_STREAMS_MAX = 10000,
};

/* ---- the life of a stream ---- */

static void feed_step(struct task *t);

void feed_post(struct feed_stream *s)
{
    if (s->stepping)
        return;
    s->stepping = true;
    s->step.run = feed_step;
    struct runner *r = loop_runner(s->feed->thread->loop);
    r->post(r, &s->step);
}

/* The client sees an answer that broke off, and comes back with the last id that it got. Freed by a
 * task: a loop over the streams may be under way. */
void feed_cut(struct feed_stream *s)
{
    struct api_feed *f = s->feed;
    if (s->over)
        return;
    s->over = true;
    if (!s->behind)
        f->live--;
    if (s->viewed != NULL)
        f->viewed--;
    f->count--;
    atomic_store(&f->watch.idle, f->count == 0);
    list_remove(&s->link);
    http_stream_abort(s->req);
    s->req = NULL;
    feed_post(s);
}

void feed_cut_all(struct api_feed *f, bool live_only)
{
    LIST_EACH_SAFE(it, &f->streams)
    {
        struct feed_stream *s = LIST_OF(it, struct feed_stream, link);
        if (!live_only || !s->behind)
            feed_cut(s);
    }
}

static void feed_free(struct feed_stream *s)
{
    feed_view_free(s);
    filter_free(s->filter);
    entity_def_unref(s->def);
    mem_free(s);
}

static void feed_gone(struct http_request *req, void *arg)
{
    (void)req;
    feed_cut(arg);
}

static void feed_drained(struct http_request *req, void *arg)
{
    (void)req;
    struct feed_stream *s = arg;
    if (s->behind && !s->over)
        feed_post(s);
}

/* False: wait for the client. */
bool feed_send(struct feed_stream *s, const struct buf *text)
{
    if (text->len == 0)
        return true;
    if (buf_failed(text)) {
        feed_cut(s);
        return false;
    }
    return http_stream_write(s->req, text->data, text->len);
}

/* ---- behind ---- */

/* A large entry goes out in parts: nothing is taken from it before the client has what was. */
static int feed_step_row(void *arg, uint64_t seq, const void *p, size_t n)
{
    struct feed_stream *s = arg;
    uint32_t done = 0;
    AUTO(buf_fini) struct buf text = BUF_INIT(FEED_EVENTS_MAX);
    bool whole = s->viewed != NULL ? feed_view_render(s, seq, p, n, HTTP_STREAM_HIGH, &done)
                                   : feed_render(s, seq, p, n, HTTP_STREAM_HIGH, &text, &done);
    if (whole) {
        s->seq = seq;
    } else {
        s->skip_seq = seq;
        s->skip = done;
    }
    s->feed->turn_bytes += n;
    bool go_on = feed_send(s, &text);
    return s->over || !whole || !go_on || s->feed->turn_bytes > FEED_TURN_BYTES ? 1 : 0;
}

static void feed_is_live(struct feed_stream *s, uint64_t applied)
{
    struct api_feed *f = s->feed;
    s->behind = false;
    if (s->seq < applied)
        s->seq = applied;
    if (f->live++ == 0)
        f->seq = applied;
}

/* Read on, or let the view of what was read run first; `rc` as of entity_changes_each(). */
static void feed_step_viewed(struct feed_stream *s, int rc, uint64_t applied)
{
    if (rc == 0 && s->seq < applied)
        s->seq = applied;
    if (!feed_view_is_empty(s))
        feed_view_start(s);
    else if (rc > 0)
        feed_post(s);
}

void feed_view_sent(struct feed_stream *s, struct buf *out, const struct err *e)
{
    if (!s->over && e->code != 0)
        feed_cut(s); /* it comes back for them */
    if (!s->over)
        feed_send(s, out);
    buf_fini(out);
    feed_post(s); /* reads on, or is freed */
}

static void feed_step(struct task *t)
{
    struct feed_stream *s = LIST_OF(t, struct feed_stream, step);
    struct api_feed *f = s->feed;
    uint64_t applied;
    s->stepping = false;
    if (s->viewed != NULL && s->viewed->running)
        return; /* feed_view_sent() goes on */
    if (s->over) {
        feed_free(s);
        return;
    }
    if (!s->behind || (s->viewed != NULL && http_stream_waiting(s->req) > HTTP_STREAM_HIGH))
        return;
    f->turn_bytes = 0;
    int rc = entity_changes_each(f->thread->db, s->seq, feed_step_row, s, &applied, NULL);
    if (s->over)
        return;
    if (rc < 0)
        feed_cut(s);
    else if (s->viewed != NULL)
        feed_step_viewed(s, rc, applied);
    else if (rc == 0)
        feed_is_live(s, applied);
    else if (http_stream_waiting(s->req) <= HTTP_STREAM_HIGH)
        feed_post(s);
}

/* ---- beats: proxies keep the connection, and a quiet client keeps its place ---- */

/* Everything up to its position was sent. */
static bool feed_is_at_rest(const struct feed_stream *s)
{
    return !s->viewed->running && feed_view_is_empty(s) && s->skip_seq <= s->seq;
}

static void feed_beat(struct world_timer *t)
{
    struct api_feed *f = LIST_OF(t, struct api_feed, beat);
    struct world *w = loop_world(f->thread->loop);
    f->beating = false;
    LIST_EACH_SAFE(it, &f->streams)
    {
        struct feed_stream *s = LIST_OF(it, struct feed_stream, link);
        AUTO(buf_fini) struct buf text = BUF_INIT(128);
        buf_adds(&text, ": still here\n");
        if (!s->behind || (s->viewed != NULL && feed_is_at_rest(s)))
            buf_addf(&text, "id: %llu\n", (unsigned long long)s->seq);
        buf_adds(&text, "\n");
        http_stream_write(s->req, text.data, text.len);
    }
    if (f->count > 0) {
        f->beating = true;
        w->timer_start(w, &f->beat, FEED_BEAT_MS);
    }
}

/* ---- a request ---- */

/* "57" (all of entry 57 is known) or "57-2" (its first two changes are). */
static bool feed_parse_place(const char *text, struct feed_stream *s)
{
    const char *dash = strchr(text, '-');
    size_t n = dash != NULL ? (size_t)(dash - text) : strlen(text);
    uint64_t part = 0;
    if (!str_to_u64(text, n, &s->seq) || s->seq > INT64_MAX)
        return false;
    if (dash == NULL)
        return true;
    if (!str_to_u64(dash + 1, strlen(dash + 1), &part) || part > UINT32_MAX || s->seq == 0)
        return false;
    s->skip_seq = s->seq--;
    s->skip = (uint32_t)part;
    return true;
}

static int feed_any(void *arg, uint64_t seq, const void *p, size_t n)
{
    (void)arg;
    (void)seq;
    (void)p;
    (void)n;
    return 1;
}

/* Where it begins: what is asked for, if that is kept and was ever reached, else now. The
 * database's own position may be behind that of the ledger, by entries that changed no row. */
static int feed_place(struct feed_stream *s, struct http_request *req, struct err *e)
{
    const char *text = http_header_in(req, "Last-Event-ID");
    uint64_t applied = 0;
    if (text == NULL || *text == '\0')
        text = http_query(req, "since");
    if (text != NULL && !feed_parse_place(text, s))
        return err_field(e, ERR_INVALID, "since",
                         "'%.40s' is not a position: take the id of an event, or X-Koan-Seq of a "
                         "write",
                         text);
    int rc = entity_changes_each(s->feed->thread->db, text != NULL ? s->seq : INT64_MAX, feed_any,
                                 NULL, &applied, e);
    if (rc < 0)
        return rc;
    uint64_t last = s->skip > 0 ? s->skip_seq : s->seq;
    uint64_t reached = ledger_applied(s->feed->thread->api->o.ledger);
    if (text != NULL && last > reached)
        return err_field(e, ERR_INVALID, "since", "position %llu is not reached yet, %llu is",
                         (unsigned long long)last, (unsigned long long)reached);
    s->behind = rc > 0 || s->viewed != NULL;
    if (text == NULL)
        s->seq = applied;
    return 0;
}

static int feed_open(struct feed_stream *s, struct http_request *req, struct err *e)
{
    struct api_feed *f = s->feed;
    if (f->closed)
        return err_set(e, ERR_DRAINING, "this node is leaving; ask another one");
    if (f->count >= FEED_STREAMS_MAX)
        return err_set(e, ERR_OVERLOADED, "%d feeds are open here", FEED_STREAMS_MAX);
    if (s->def->no_feed)
        return err_set(e, ERR_UNSUPPORTED, "%s is declared with feed = false", s->def->name);
    const char *filter = http_query(req, "filter");
    int rc = filter != NULL ? filter_parse_text(s->def, filter, strlen(filter), &s->filter, e) : 0;
    if (rc == 0 && s->filter != NULL && filter_is_empty(s->filter)) {
        filter_free(s->filter);
        s->filter = NULL;
    }
    return rc < 0 ? rc : feed_place(s, req, e);
}

static void feed_begin(struct feed_stream *s)
{
    struct api_feed *f = s->feed;
    struct world *w = loop_world(f->thread->loop);
    AUTO(buf_fini) struct buf hello = BUF_INIT(128);
    http_header(s->req, "Cache-Control", "no-store");
    http_header(s->req, "X-Accel-Buffering", "no");
    http_stream_begin(s->req, 200, "text/event-stream");
    buf_adds(&hello, "retry: 1000\n");
    /* So that one who breaks off before the first event resumes here. */
    if (s->skip == 0)
        buf_addf(&hello, "id: %llu\n", (unsigned long long)s->seq);
    buf_adds(&hello, "\n");
    list_push(&f->streams, &s->link);
    f->count++;
    f->viewed += s->viewed != NULL;
    if (s->behind)
        feed_post(s);
    else
        feed_is_live(s, s->seq);
    http_on_cancel(s->req, feed_gone, s);
    http_stream_on_drain(s->req, feed_drained, s);
    http_stream_write(s->req, hello.data, hello.len);
    if (!f->beating) {
        f->beating = true;
        w->timer_start(w, &f->beat, FEED_BEAT_MS);
    }
}

static void feed_get_now(struct http_request *req)
{
    struct entity_def *d = api_entity(req);
    if (d == NULL)
        return;
    struct err e = ERR_INIT;
    struct feed_stream *s = mem_new(sizeof *s);
    s->feed = api_thread_of(req)->feed;
    s->req = req;
    s->def = d;
    str_copy(s->part, sizeof s->part, api_partition(req));
    struct envelope env;
    api_envelope(req, &env);
    str_copy(s->principal, sizeof s->principal, env.principal);
    feed_view_new(s, s->feed->thread);
    atomic_store(&s->feed->watch.idle, false);
    if (feed_open(s, req, &e) == 0) {
        feed_begin(s);
        return;
    }
    atomic_store(&s->feed->watch.idle, s->feed->count == 0);
    feed_free(s);
    http_problem(req, &e);
}

static void feed_get(struct http_request *req)
{
    if (API_QUERY_ONLY(req, "since", "filter", "partition"))
        api_read(req, feed_get_now);
}

static const struct http_route feed_table[] = {
    {.verb = HTTP_VERB_GET,
     .pattern = "/api/:entity/changes",
     .handler = feed_get,
     .flags = HTTP_LONG},
};
const struct api_routes api_feed_routes = {feed_table, ARRAY_LEN(feed_table)};

/* ---- the thread's ---- */

void api_feed_new(struct api_thread *t)
{
    struct api_feed *f = mem_new(sizeof *f);
    f->thread = t;
    f->watch.home = loop_runner(t->loop);
    atomic_init(&f->watch.idle, true); /* with one writer, waking every thread for nothing shows */
    f->beat.fire = feed_beat;
    feed_live_init(f);
    list_init(&f->streams);
    t->feed = f;
    entities_watch(t->api->o.entities, &f->watch);
}

void api_feed_close(struct api_thread *t)
{
    struct api_feed *f = t->feed;
    if (f == NULL || f->closed)
        return;
    f->closed = true;
    entities_unwatch(t->api->o.entities, &f->watch);
    feed_cut_all(f, false);
    struct world *w = loop_world(t->loop);
    w->timer_stop(w, &f->beat);
    w->timer_stop(w, &f->gather);
    f->beating = true; /* none is started again */
}

void api_feed_free(struct api_thread *t)
{
    if (t->feed == NULL)
        return;
    api_feed_close(t);
    /* Tasks that were posted before: the loop does not run any more, so by hand. */
    loop_poll(t->loop);
    mem_free(t->feed);
    t->feed = NULL;
}
