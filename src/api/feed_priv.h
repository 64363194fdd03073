/* What the files of the change feeds share: feed.c (requests, the life of a stream), feed_live.c
 * (the live ones), feed_events.c (what a change is to a stream), feed_view.c (events of an entity
 * with a view). */
#ifndef KOAN_API_FEED_PRIV_H
#define KOAN_API_FEED_PRIV_H

#include "api/api_priv.h"
#include "base/list.h"
#include "entity/changes.h"

struct filter;

enum {
    FEED_EVENTS_MAX = 128 << 20, /* text of one entry */
    FEED_TURN_BYTES = 256 << 10, /* of kept changes read before others get their turn */
};

struct feed_shared;

/* Of a thread. */
struct api_feed {
    struct entity_watch watch; /* first */
    struct api_thread *thread;
    struct list streams;
    size_t count, live, viewed;
    uint64_t seq;
    size_t turn_bytes;
    struct world_timer beat;
    bool beating, closed;
    struct world_timer gather;
    bool gathering;
    uint64_t turned_ms;
    struct task again;
    bool again_posted;
    struct feed_shared *shared; /* of the entry at hand */
};

struct feed_stream {
    struct list link;
    struct task step;
    struct api_feed *feed;
    struct http_request *req;
    struct entity_def *def;
    char part[ENTITY_NAME_MAX + 1];
    char principal[ENTITY_NAME_MAX + 1];
    struct filter *filter; /* NULL: everything */
    uint64_t seq;          /* all up to it was sent */
    uint64_t skip_seq;     /* of this entry the first `skip` changes were sent before */
    uint32_t skip;
    bool behind;
    struct feed_shared *shared; /* what it gets of the entries at hand; NULL: its own */
    bool stepping;              /* its task is posted */
    bool over;                  /* to be freed by its task */
    struct feed_viewed *viewed; /* of an entity with a view; else NULL */
};

/* Events whose records go through their view before they are sent. */
struct feed_viewed {
    struct api_view view; /* first; its rows are the records */
    struct feed_stream *stream;
    json_t *heads; /* for each the lines in front of the record, as text */
    size_t bytes;  /* of the records, about */
    bool running;
};

/* The next change of an entry that is news to `s`, from number *at + 1 on: its name ("created" ..),
 * or NULL when there are no more. */
const char *feed_next(const struct feed_stream *s, uint64_t seq, struct cursor *c, uint32_t *at,
                      struct entity_change *change);
/* The lines in front of its record. */
void feed_head(struct buf *out, const char *name, uint64_t seq, uint32_t n);
/* The record that it speaks of, without what the entity of the stream does not have any more. */
void feed_record(const struct feed_stream *s, uint64_t seq, const struct entity_change *c,
                 struct buf *out);
/* Appends what of the entry is news to `s`, until it is over `most` bytes: true when that was all
 * of it; else *done changes are told. */
bool feed_render(const struct feed_stream *s, uint64_t seq, const void *p, size_t n, size_t most,
                 struct buf *out, uint32_t *done);

/* ---- feed_view.c ---- */

/* Like feed_render(), into `s->viewed`. */
bool feed_view_render(struct feed_stream *s, uint64_t seq, const void *p, size_t n, size_t most,
                      uint32_t *done);
void feed_view_new(struct feed_stream *s, struct api_thread *t);
void feed_view_free(struct feed_stream *s);
bool feed_view_is_empty(const struct feed_stream *s);
/* `sent` runs later, on the loop: `out` has the events (the callee ends it), or `e` says why there
 * are none. A view that fails is no reason: its events then come without what it computes. */
void feed_view_start(struct feed_stream *s);

/* ---- feed_live.c ---- */

void feed_live_init(struct api_feed *f);

/* ---- feed.c ---- */

/* It takes its next step, soon. */
void feed_post(struct feed_stream *s);
void feed_cut(struct feed_stream *s);
void feed_cut_all(struct api_feed *f, bool live_only);
/* False: wait for the client. */
bool feed_send(struct feed_stream *s, const struct buf *text);
void feed_view_sent(struct feed_stream *s, struct buf *out, const struct err *e);
void api_feed_new(struct api_thread *t);
/* On the loop's thread, or when it runs no more: ends all streams, takes no new ones. */
void api_feed_close(struct api_thread *t);
/* When the loop runs no more. */
void api_feed_free(struct api_thread *t);

#endif
