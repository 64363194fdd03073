/* Events of an entity with a view: what its function computes stands in their records, too.
 *
 * The function runs on a script thread, so such a stream goes its own way: it gathers events up to
 * a bound, has the view run for all of them, sends them, and goes on. Meanwhile nothing else of it
 * is read, so order is what it was. A view that fails must not stop a feed for good: the events
 * come without what it computes, and the log says so. */
#include <string.h>

#include "api/feed_priv.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"

enum { FEED_VIEW_RECORD_MAX = 4 << 20, FEED_HEAD_MAX = 256 };

static void feed_viewed(struct api_view *v);

void feed_view_new(struct feed_stream *s, struct api_thread *t)
{
    if (!s->def->view)
        return;
    struct feed_viewed *w = mem_new(sizeof *w);
    w->stream = s;
    w->view.thread = t;
    w->view.def = s->def;
    w->view.done = feed_viewed;
    w->view.env = (struct envelope){.tenant = API_TENANT, .principal = s->principal};
    w->view.rows = json_array();
    w->heads = json_array();
    s->viewed = w;
}

void feed_view_free(struct feed_stream *s)
{
    if (s->viewed == NULL)
        return;
    json_decref(s->viewed->view.rows);
    json_decref(s->viewed->heads);
    mem_free(s->viewed);
}

bool feed_view_is_empty(const struct feed_stream *s)
{
    return json_array_size(s->viewed->heads) == 0;
}

static void feed_view_add(struct feed_viewed *w, const struct entity_change *c, const char *name,
                          uint64_t seq, uint32_t n)
{
    AUTO(buf_fini) struct buf head = BUF_INIT(FEED_HEAD_MAX);
    AUTO(buf_fini) struct buf text = BUF_INIT(FEED_VIEW_RECORD_MAX);
    feed_head(&head, name, seq, n);
    feed_record(w->stream, seq, c, &text);
    json_t *record = json_read(buf_str(&text), text.len, NULL);
    json_array_append_new(w->heads, json_string(buf_str(&head)));
    json_array_append_new(w->view.rows, record != NULL ? record : json_object());
    w->bytes += text.len;
}

bool feed_view_render(struct feed_stream *s, uint64_t seq, const void *p, size_t n, size_t most,
                      uint32_t *done)
{
    struct cursor c;
    struct entity_change change;
    const char *name = NULL;
    uint32_t at = 0;
    cursor_init(&c, p, n);
    while (s->viewed->bytes <= most && (name = feed_next(s, seq, &c, &at, &change)) != NULL)
        feed_view_add(s->viewed, &change, name, seq, at);
    *done = at;
    return name == NULL || cursor_left(&c) == 0;
}

static void feed_viewed(struct api_view *v)
{
    struct feed_viewed *w = (struct feed_viewed *)v;
    struct buf out = BUF_INIT(FEED_EVENTS_MAX);
    struct err e = v->err;
    size_t i;
    json_t *row;
    if (e.code == ERR_REJECTED) {
        log_warn("api", "events of %s come without computed fields: %s", v->def->name, e.text);
        err_clear(&e);
    }
    json_array_foreach(v->rows, i, row)
    {
        buf_adds(&out, json_string_value(json_array_get(w->heads, i)));
        if (e.code == 0)
            json_print(row, &out, &e);
        buf_adds(&out, "\n\n");
    }
    json_array_clear(v->rows);
    json_array_clear(w->heads);
    w->bytes = 0;
    w->running = false;
    feed_view_sent(w->stream, &out, &e);
}

void feed_view_start(struct feed_stream *s)
{
    s->viewed->running = true;
    api_view_start(&s->viewed->view);
}
