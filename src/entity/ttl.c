/* expires_at, as it stands in a stored body: the last member, a time in its one form. Pure. */
#include <string.h>

#include "base/mem.h"
#include "base/time.h"
#include "entity/entity_priv.h"

static const char member[] = "\"" ENTITY_EXPIRES "\":\"";

/* The time as text, TIME_TEXT - 1 characters inside `body`; NULL when it has none. What looks like
 * the member inside of a text has backslashes, and inside of an object another end. */
static const char *find(const char *body, size_t n)
{
    size_t name = sizeof(member) - 1, tail = name + TIME_TEXT - 1 + 2;
    if (n <= tail || memcmp(body + n - 2, "\"}", 2) != 0 ||
        memcmp(body + n - tail, member, name) != 0)
        return NULL;
    return body + n - tail + name;
}

bool ttl_read(const struct entity_def *d, const char *body, size_t n, int64_t *out)
{
    const char *text = d->ttl ? find(body, n) : NULL;
    return text != NULL && time_parse(text, TIME_TEXT - 1, out);
}

bool ttl_is_over(const struct entity_def *d, const char *body, size_t n, int64_t at)
{
    int64_t expires;
    return ttl_read(d, body, n, &expires) && expires <= at;
}

bool ttl_complete(const struct entity_def *d, int64_t created_at, struct new_body *b,
                  struct buf *room)
{
    if (d->ttl_ms == 0 || find(b->body, b->body_len) != NULL)
        return true;
    char text[TIME_TEXT];
    time_format(created_at + d->ttl_ms, text);
    buf_reset(room);
    buf_add(room, b->body, b->body_len - 1);
    buf_adds(room, b->body_len > 2 ? "," : "");
    buf_adds(room, member);
    buf_add(room, text, TIME_TEXT - 1);
    buf_adds(room, "\"}");
    b->body = buf_str(room);
    b->body_len = room->len;
    return !buf_failed(room);
}
