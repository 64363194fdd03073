/* All records of a question as lines, out of one snapshot.
 *
 *   [READ] --batch--> [WRITE] --client keeps up--> [READ] ...        READ is on the pool, the rest
 * on the loop |  `--client is slow----> [WAIT] --drained--> [READ]
 *                        `--no more, or time is up--> done
 *
 * A stream has a connection of its own, because a snapshot lives on one; it holds one batch, and
 * what the server keeps for the client, in memory. The snapshot also holds back the log of the
 * database, so it ends after stream_ms (or when the node drains): the last line is then {"$cursor":
 * ".."}, with which the caller goes on. What goes wrong once rows have been sent cuts the
 * connection, so that nobody takes a part for the whole. */
#include <string.h>

#include "api/api_priv.h"
#include "base/log.h"
#include "base/mem.h"
#include "db/db.h"
#include "entity/filter.h"
#include "entity/read.h"
#include "io/world.h"

struct api_stream {
    struct loop_work work;
    struct world_timer timer;
    struct api *api;
    struct api_thread *thread;
    struct http_request *req;
    struct entity_def *def;
    struct filter *filter;
    struct entity_query query;
    char *sort, *fields, *q; /* what the query points to */
    char *scope;
    struct buf cursor;
    struct db *db;
    struct entity_scan *scan;
    struct buf batch;
    struct api_view view;
    struct err err;
    bool begun, more, waiting, late, gone;
};

static void stream_free(struct api_stream *s)
{
    struct world *w = loop_world(s->thread->loop);
    w->timer_stop(w, &s->timer);
    entity_scan_close(s->scan);
    db_close(s->db);
    filter_free(s->filter);
    entity_def_unref(s->def);
    buf_fini(&s->cursor);
    buf_fini(&s->batch);
    mem_free(s->sort);
    mem_free(s->scope);
    mem_free(s->fields);
    mem_free(s->q);
    atomic_fetch_sub(&s->api->streams, 1);
    mem_free(s);
}

/* ---- on the pool ---- */

static int stream_open(struct api_stream *s)
{
    int rc = api_reader_open(s->api, &s->db, &s->err);
    if (rc < 0)
        return rc;
    db_set_clock(s->db, loop_world(s->thread->loop));
    return entity_scan_open(s->db, s->def, s->scope, &s->query, &s->scan, &s->err);
}

static void stream_work(struct loop_work *w)
{
    struct api_stream *s = (struct api_stream *)((char *)w - offsetof(struct api_stream, work));
    if (s->scan == NULL && stream_open(s) < 0)
        return;
    int rc = entity_scan_next(s->scan, API_STREAM_BATCH, &s->batch, &s->err);
    s->more = rc > 0;
}

/* ---- on the loop ---- */

static void stream_end(struct api_stream *s)
{
    struct http_request *req = s->req;
    bool broken = s->err.code != 0;
    stream_free(s);
    if (broken)
        http_stream_abort(req);
    else
        http_stream_end(req);
}

/* Time is up: where to go on. */
static void stream_leave(struct api_stream *s)
{
    const struct buf *raw = entity_scan_cursor(s->scan);
    if (raw == NULL) {
        err_set(&s->err, ERR_TOO_LARGE, "a sort value is too long for a cursor");
    } else {
        AUTO(buf_fini) struct buf line = BUF_INIT(3 * ENTITY_CURSOR_MAX);
        buf_adds(&line, "{\"$cursor\":\"");
        api_cursor_text(s->api, s->def, raw, &line);
        buf_adds(&line, "\"}\n");
        http_stream_write(s->req, line.data, line.len);
    }
    stream_end(s);
}

static void stream_read(struct api_stream *s)
{
    buf_reset(&s->batch);
    if (loop_queue(s->thread->loop, &s->work, &s->err) != 0)
        stream_end(s);
}

static bool stream_is_over(const struct api_stream *s)
{
    return s->late || atomic_load(&s->api->draining);
}

static void stream_drained(struct http_request *req, void *arg)
{
    (void)req;
    struct api_stream *s = arg;
    if (!s->waiting)
        return;
    s->waiting = false;
    if (stream_is_over(s))
        stream_leave(s);
    else
        stream_read(s);
}

static void stream_gone(struct http_request *req, void *arg)
{
    (void)req;
    struct api_stream *s = arg;
    s->gone = true;
    if (s->waiting)
        stream_end(s);
}

static void stream_late(struct world_timer *t)
{
    struct api_stream *s = (struct api_stream *)((char *)t - offsetof(struct api_stream, timer));
    s->late = true;
    if (s->waiting)
        stream_leave(s);
}

static void stream_refuse(struct api_stream *s)
{
    struct http_request *req = s->req;
    struct err e = s->err;
    stream_free(s);
    http_problem(req, &e);
}

static void stream_begin(struct api_stream *s)
{
    s->begun = true;
    http_stream_begin(s->req, 200, API_NDJSON);
    http_stream_on_drain(s->req, stream_drained, s);
}

static void stream_give(struct api_stream *s, const struct buf *rows)
{
    if (s->err.code != 0 && !s->begun) {
        stream_refuse(s);
        return;
    }
    if (s->err.code != 0 && !s->gone)
        log_warn("api", "a stream of %s is cut off: %s", s->def->name, s->err.text);
    if (!s->begun)
        stream_begin(s);
    bool fast = http_stream_write(s->req, rows->data, rows->len);
    if (s->err.code != 0 || s->gone || !s->more)
        stream_end(s);
    else if (stream_is_over(s))
        stream_leave(s);
    else if (fast)
        stream_read(s);
    else
        s->waiting = true;
}

static void stream_viewed(struct api_view *v, struct buf *out, const struct err *e)
{
    struct api_stream *s = (struct api_stream *)((char *)v - offsetof(struct api_stream, view));
    s->err = *e;
    stream_give(s, out);
    buf_fini(out);
}

static void stream_done(struct loop_work *w)
{
    struct api_stream *s = (struct api_stream *)((char *)w - offsetof(struct api_stream, work));
    if (s->err.code != 0 || !s->def->view || s->query.fields != NULL) {
        stream_give(s, &s->batch);
        return;
    }
    s->view = (struct api_view){.shape = API_VIEW_LINES, .done = stream_viewed};
    api_view_start(&s->view, s->req, s->def, &s->batch);
}

static char *stream_copy(const char *text)
{
    return text != NULL ? mem_strdup(text) : NULL;
}

static bool stream_admit(struct api *a)
{
    if (atomic_fetch_add(&a->streams, 1) < API_STREAMS_MAX)
        return true;
    atomic_fetch_sub(&a->streams, 1);
    return false;
}

void api_stream_start(struct http_request *req, struct entity_def *d, struct filter *filter,
                      const struct entity_query *q)
{
    struct api_thread *t = api_thread_of(req);
    if (!stream_admit(t->api)) {
        filter_free(filter);
        entity_def_unref(d);
        http_refuse(req, ERR_OVERLOADED,
                    "%d streams of records are under way; ask for pages, or later",
                    API_STREAMS_MAX);
        return;
    }
    struct api_stream *s = mem_new(sizeof *s);
    s->api = t->api;
    s->thread = t;
    s->req = req;
    s->def = d;
    s->filter = filter;
    s->query = *q;
    s->query.filter = filter;
    s->query.sort = s->sort = stream_copy(q->sort);
    s->scope = mem_strdup(api_scope(req));
    s->query.fields = s->fields = stream_copy(q->fields);
    s->query.q = s->q = stream_copy(q->q);
    buf_init(&s->cursor, ENTITY_CURSOR_MAX);
    buf_add(&s->cursor, q->cursor, q->cursor_len);
    s->query.cursor = q->cursor != NULL ? s->cursor.data : NULL;
    buf_init(&s->batch, API_STREAM_BATCH + API_RECORD_MAX);
    s->work.work = stream_work;
    s->work.done = stream_done;
    s->timer.fire = stream_late;
    struct world *w = loop_world(t->loop);
    w->timer_start(w, &s->timer, t->api->o.stream_ms);
    http_on_cancel(req, stream_gone, s);
    if (loop_queue(t->loop, &s->work, &s->err) != 0)
        stream_refuse(s);
}
