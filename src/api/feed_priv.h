/* What the files of the change feeds share: feed.c (requests, the life of a stream), feed_events.c
 * (what a change is to a stream). */
#ifndef KOAN_API_FEED_PRIV_H
#define KOAN_API_FEED_PRIV_H

#include "api/api_priv.h"
#include "base/list.h"
#include "entity/changes.h"

struct filter;

enum { FEED_EVENTS_MAX = 128 << 20 /* text of one entry */ };

struct feed_shared;

struct feed_stream {
    struct list link;
    struct task step;
    struct api_feed *feed;
    struct http_request *req;
    struct entity_def *def;
    char part[ENTITY_NAME_MAX + 1];
    struct filter *filter; /* NULL: everything */
    uint64_t seq;          /* all up to it was sent */
    uint64_t skip_seq;     /* of this entry the first `skip` changes were sent before */
    uint32_t skip;
    bool behind;
    struct feed_shared *shared; /* what it gets of the entries at hand; NULL: its own */
    bool stepping;              /* its task is posted */
    bool over;                  /* to be freed by its task */
};

/* Appends what of the entry is news to `s`, until it is over `most` bytes: true when that was all
 * of it; else *done changes are told. */
bool feed_render(const struct feed_stream *s, uint64_t seq, const void *p, size_t n, size_t most,
                 struct buf *out, uint32_t *done);

void api_feed_new(struct api_thread *t);
/* On the loop's thread, or when it runs no more: ends all streams, takes no new ones. */
void api_feed_close(struct api_thread *t);
/* When the loop runs no more. */
void api_feed_free(struct api_thread *t);

#endif
