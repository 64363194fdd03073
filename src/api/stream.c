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
 * connection, so that nobody takes a part for the whole.
 *
 * With records beside (with=) a batch is given in parts: what stands beside a part is in memory
 * together, and a cursor can only point behind a whole batch. */
#include <string.h>

#include "api/api_priv.h"
#include "base/log.h"
#include "base/mem.h"
#include "db/db.h"
#include "entity/expand.h"
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
    size_t at; /* of the batch: where its next part begins */
    struct buf part;
    struct entity_expand *beside;
    struct api_view view; /* with names and rows */
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
    buf_fini(&s->part);
    entity_expand_free(s->beside);
    json_decref(s->view.names);
    json_decref(s->view.rows);
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

static bool stream_is_whole(const struct api_stream *s)
{
    return s->at >= s->batch.len;
}

/* The next line of the batch, with what stands beside it. */
static int stream_take(struct api_stream *s)
{
    const char *line = s->batch.data + s->at;
    const char *end = memchr(line, '\n', s->batch.len - s->at);
    size_t n = end != NULL ? (size_t)(end - line) : s->batch.len - s->at;
    json_t *row = json_read(line, n, &s->err);
    if (row == NULL)
        return ERR_CORRUPT;
    s->at += n + 1;
    json_array_append_new(s->view.rows, row);
    return entity_expand(s->beside, s->db, s->scope, row, &s->err);
}

static void stream_expand(struct api_stream *s)
{
    size_t beside = 0;
    entity_expand_reset(s->beside);
    s->view.rows = json_array();
    while (!stream_is_whole(s) && json_array_size(s->view.rows) < API_STREAM_ROWS &&
           beside < API_STREAM_BESIDE) {
        if (stream_take(s) < 0)
            return;
        beside += entity_expand_rows(s->beside);
    }
}

static bool stream_is_viewed(const struct api_stream *s)
{
    return api_view_is_wanted(s->def, s->query.fields, s->view.names, s->beside);
}

static void stream_work(struct loop_work *w)
{
    struct api_stream *s = (struct api_stream *)((char *)w - offsetof(struct api_stream, work));
    if (s->scan == NULL && stream_open(s) < 0)
        return;
    if (stream_is_whole(s)) {
        buf_reset(&s->batch);
        s->at = 0;
        s->more = entity_scan_next(s->scan, API_STREAM_BATCH, &s->batch, &s->err) > 0;
    }
    if (s->err.code != 0)
        return;
    if (s->beside != NULL) {
        stream_expand(s);
    } else {
        s->at = s->batch.len;
        if (stream_is_viewed(s))
            s->view.rows = api_rows_read(&s->batch, API_LINES, &s->err);
    }
    if (s->err.code == 0 && s->view.rows != NULL && !stream_is_viewed(s))
        api_rows_print(s->view.rows, API_LINES, &s->part, &s->err);
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
    if (loop_queue(s->thread->loop, &s->work, &s->err) != 0)
        stream_end(s);
}

static bool stream_is_over(const struct api_stream *s)
{
    return stream_is_whole(s) && (s->late || atomic_load(&s->api->draining));
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
    if (s->waiting && stream_is_whole(s))
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
    if (s->err.code != 0 || s->gone || (!s->more && stream_is_whole(s)))
        stream_end(s);
    else if (stream_is_over(s))
        stream_leave(s);
    else if (fast)
        stream_read(s);
    else
        s->waiting = true;
}

/* Rows in text, gathered in `part` where they do not stand in the batch itself. */
static void stream_give_part(struct api_stream *s)
{
    AUTO(buf_fini) struct buf part = s->part; /* the stream may be over after it */
    buf_init(&s->part, API_ANSWER_MAX);
    json_decref(s->view.rows);
    s->view.rows = NULL;
    stream_give(s, &part);
}

static void stream_viewed(struct api_view *v)
{
    struct api_stream *s = (struct api_stream *)((char *)v - offsetof(struct api_stream, view));
    s->err = v->err;
    if (s->err.code == 0)
        api_rows_print(v->rows, API_LINES, &s->part, &s->err);
    stream_give_part(s);
}

static void stream_done(struct loop_work *w)
{
    struct api_stream *s = (struct api_stream *)((char *)w - offsetof(struct api_stream, work));
    if (s->err.code == 0 && s->view.rows == NULL) {
        stream_give(s, &s->batch);
    } else if (s->err.code != 0 || !stream_is_viewed(s)) {
        stream_give_part(s);
    } else {
        s->view.beside = s->beside;
        s->view.declared_only = s->query.fields != NULL;
        api_view_start(&s->view);
    }
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

void api_stream_start(struct http_request *req, const struct api_streamed *what,
                      const struct entity_query *q)
{
    struct api_thread *t = api_thread_of(req);
    if (!stream_admit(t->api)) {
        filter_free(what->filter);
        entity_expand_free(what->beside);
        json_decref(what->names);
        entity_def_unref(what->def);
        http_refuse(req, ERR_OVERLOADED,
                    "%d streams of records are under way; ask for pages, or later",
                    API_STREAMS_MAX);
        return;
    }
    struct api_stream *s = mem_new(sizeof *s);
    s->api = t->api;
    s->thread = t;
    s->req = req;
    s->def = what->def;
    s->filter = what->filter;
    s->beside = what->beside;
    s->view.thread = t;
    s->view.def = what->def;
    s->view.names = what->names;
    s->view.done = stream_viewed;
    api_envelope(req, &s->view.env);
    s->query = *q;
    s->query.filter = what->filter;
    s->query.sort = s->sort = stream_copy(q->sort);
    s->scope = mem_strdup(api_scope(req));
    s->query.fields = s->fields = stream_copy(q->fields);
    s->query.q = s->q = stream_copy(q->q);
    buf_init(&s->cursor, ENTITY_CURSOR_MAX);
    buf_add(&s->cursor, q->cursor, q->cursor_len);
    s->query.cursor = q->cursor != NULL ? s->cursor.data : NULL;
    buf_init(&s->batch, API_STREAM_BATCH + API_RECORD_MAX);
    buf_init(&s->part, API_ANSWER_MAX);
    s->work.work = stream_work;
    s->work.done = stream_done;
    s->timer.fire = stream_late;
    struct world *w = loop_world(t->loop);
    w->timer_start(w, &s->timer, t->api->o.stream_ms);
    http_on_cancel(req, stream_gone, s);
    if (loop_queue(t->loop, &s->work, &s->err) != 0)
        stream_refuse(s);
}
