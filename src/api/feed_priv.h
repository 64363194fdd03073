/* What a net thread holds for its change feeds: feed.c. */
#ifndef KOAN_API_FEED_PRIV_H
#define KOAN_API_FEED_PRIV_H

#include "api/api_priv.h"

void api_feed_new(struct api_thread *t);
/* On the loop's thread, or when it runs no more: ends all streams, takes no new ones. */
void api_feed_close(struct api_thread *t);
/* When the loop runs no more. */
void api_feed_free(struct api_thread *t);

#endif
