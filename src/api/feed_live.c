/* The live streams of a thread (feed.c): what entries did is read once for all of them, as soon as
 * they were applied; of many entries in a short time a turn takes all that are there. */
#include <string.h>

#include "api/feed_priv.h"
#include "base/mem.h"

enum {
    FEED_BEHIND_MAX = 1 << 20,     /* bytes that wait for a reader; then it is cut off */
    FEED_LIVE_ROW_MAX = 256 << 10, /* a larger entry is not sent to all at once */
    FEED_GATHER_STREAMS = 50,      /* live ones of a thread; with more, entries are gathered */
    FEED_GATHER_MS = 20            /* for so long */
};

/* Text of the entries at hand for all streams in step. */
struct feed_shared {
    struct feed_shared *next;
    const struct feed_stream *of; /* the first of them */
    struct buf text;
};

/* In step is who has exactly what the thread has read, without a filter: such streams of an entity
 * get the same text. */
static void feed_shared_of(struct api_feed *f, struct feed_stream *s)
{
    struct feed_shared *x = f->shared;
    s->shared = NULL;
    if (s->behind || s->filter != NULL || s->seq != f->seq || s->skip_seq > s->seq)
        return;
    while (x != NULL &&
           (strcmp(x->of->def->name, s->def->name) != 0 || strcmp(x->of->part, s->part) != 0))
        x = x->next;
    if (x == NULL) {
        x = mem_new(sizeof *x);
        x->next = f->shared;
        x->of = s;
        buf_init(&x->text, FEED_EVENTS_MAX);
        f->shared = x;
    }
    s->shared = x;
}

static void feed_shared_free(struct api_feed *f)
{
    while (f->shared != NULL) {
        struct feed_shared *x = f->shared;
        f->shared = x->next;
        buf_fini(&x->text);
        mem_free(x);
    }
}

/* What waits for a reader is what it did not take in earlier turns. */
static void feed_live_send(struct feed_stream *s, const struct buf *text)
{
    if (text->len > 0 && http_stream_waiting(s->req) > FEED_BEHIND_MAX)
        feed_cut(s);
    else
        feed_send(s, text);
}

static void feed_fall_behind(struct feed_stream *s)
{
    s->behind = true;
    s->feed->live--;
    feed_post(s);
}

static void feed_live_row_of(struct feed_stream *s, uint64_t seq, const void *p, size_t n)
{
    uint32_t done;
    AUTO(buf_fini) struct buf text = BUF_INIT(FEED_EVENTS_MAX);
    feed_render(s, seq, p, n, SIZE_MAX, &text, &done);
    s->seq = seq;
    feed_live_send(s, &text);
}

static void feed_flush(struct api_feed *f)
{
    LIST_EACH_SAFE(it, &f->streams)
    {
        struct feed_stream *s = LIST_OF(it, struct feed_stream, link);
        if (s->shared == NULL)
            continue;
        struct buf *text = &s->shared->text;
        s->shared = NULL;
        s->seq = f->seq;
        feed_live_send(s, text);
    }
    feed_shared_free(f);
}

static int feed_live_row(void *arg, uint64_t seq, const void *p, size_t n)
{
    struct api_feed *f = arg;
    bool large = n > FEED_LIVE_ROW_MAX; /* everybody reads it for himself, at his own pace */
    if (large)
        feed_flush(f);
    LIST_EACH_SAFE(it, &f->streams)
    {
        struct feed_stream *s = LIST_OF(it, struct feed_stream, link);
        if (s->behind || s->shared != NULL || s->seq >= seq)
            continue;
        if (large)
            feed_fall_behind(s);
        else
            feed_live_row_of(s, seq, p, n);
    }
    uint32_t done;
    for (struct feed_shared *x = f->shared; x != NULL; x = x->next)
        feed_render(x->of, seq, p, n, SIZE_MAX, &x->text, &done);
    f->seq = seq;
    f->turn_bytes += n;
    return f->turn_bytes > FEED_TURN_BYTES || f->live == 0 ? 1 : 0;
}

static void feed_wake_viewed(struct api_feed *f)
{
    LIST_EACH(it, &f->streams)
    {
        struct feed_stream *s = LIST_OF(it, struct feed_stream, link);
        if (s->viewed != NULL && !s->over)
            feed_post(s);
    }
}

static void feed_turn(struct api_feed *f)
{
    uint64_t applied;
    if (f->viewed > 0)
        feed_wake_viewed(f);
    if (f->live == 0)
        return;
    f->turn_bytes = 0;
    LIST_EACH(it, &f->streams)
    {
        feed_shared_of(f, LIST_OF(it, struct feed_stream, link));
    }
    int rc = entity_changes_each(f->thread->db, f->seq, feed_live_row, f, &applied, NULL);
    feed_flush(f);
    if (rc < 0) {
        feed_cut_all(f, true);
    } else if (rc == 0) {
        f->seq = f->seq < applied ? applied : f->seq;
        LIST_EACH(it, &f->streams)
        {
            struct feed_stream *s = LIST_OF(it, struct feed_stream, link);
            if (!s->behind && s->seq < applied)
                s->seq = applied;
        }
    } else if (!f->again_posted) {
        struct runner *r = loop_runner(f->thread->loop);
        f->again_posted = true;
        r->post(r, &f->again);
    }
}

static void feed_again(struct task *t)
{
    struct api_feed *f = LIST_OF(t, struct api_feed, again);
    f->again_posted = false;
    feed_turn(f);
}

static uint64_t feed_now_ms(const struct api_feed *f)
{
    struct world *w = loop_world(f->thread->loop);
    return w->mono_ns(w) / 1000000;
}

static void feed_gathered(struct world_timer *t)
{
    struct api_feed *f = LIST_OF(t, struct api_feed, gather);
    f->gathering = false;
    f->turned_ms = feed_now_ms(f);
    feed_turn(f);
}

/* A system call for each stream is what a feed costs: with many of them the entries of a moment go
 * out together. */
static void feed_changed(struct entity_watch *watch)
{
    struct api_feed *f = (struct api_feed *)watch;
    if (f->gathering || f->closed)
        return;
    uint64_t now = feed_now_ms(f), since = now - f->turned_ms;
    if (f->live + f->viewed <= FEED_GATHER_STREAMS || since >= FEED_GATHER_MS) {
        f->turned_ms = now;
        feed_turn(f);
        return;
    }
    struct world *w = loop_world(f->thread->loop);
    f->gathering = true;
    w->timer_start(w, &f->gather, FEED_GATHER_MS - since);
}

void feed_live_init(struct api_feed *f)
{
    f->watch.changed = feed_changed;
    f->gather.fire = feed_gathered;
    f->again.run = feed_again;
}
