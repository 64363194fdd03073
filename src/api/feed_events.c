/* What a change is to whoever follows: an event, under a name that the filter decides. */
#include <string.h>

#include "api/feed_priv.h"
#include "base/json.h"
#include "base/mem.h"
#include "entity/filter.h"
#include "entity/kept.h"

enum { FEED_RECORD_MAX = 4 << 20 };

void feed_head(struct buf *out, const char *name, uint64_t seq, uint32_t n)
{
    buf_addf(out, "event: %s\nid: %llu-%u\ndata: ", name, (unsigned long long)seq, n);
}

void feed_record(const struct feed_stream *s, uint64_t seq, const struct entity_change *c,
                 struct buf *out)
{
    const struct entity_state *state = c->verb == ENTITY_CHANGE_REMOVED ? &c->before : &c->after;
    if (!entity_def_hides(s->def, seq)) {
        entity_change_record(c, state, out);
        return;
    }
    AUTO(buf_fini) struct buf text = BUF_INIT(FEED_RECORD_MAX);
    entity_change_record(c, state, &text);
    if (entity_declared(s->def, &text, out, NULL) != 0)
        buf_adds(out, "{}");
}

static bool feed_matches(const struct feed_stream *s, const struct entity_change *c,
                         const struct entity_state *state)
{
    if (state->body == NULL)
        return false;
    if (s->filter == NULL)
        return true;
    AUTO(buf_fini) struct buf text = BUF_INIT(FEED_RECORD_MAX);
    entity_change_record(c, state, &text);
    AUTO(json_unref) json_t *record = json_read(buf_str(&text), text.len, NULL);
    return record != NULL && filter_match(s->filter, record);
}

/* What a change is to whoever looks through the filter; NULL: nothing. */
static const char *feed_name(const struct feed_stream *s, const struct entity_change *c)
{
    bool was = feed_matches(s, c, &c->before), is = feed_matches(s, c, &c->after);
    switch (c->verb) {
    case ENTITY_CHANGE_CREATED:
        return is ? "created" : NULL;
    case ENTITY_CHANGE_REMOVED:
        return was ? "removed" : NULL;
    case ENTITY_CHANGE_UPDATED:
        break;
    }
    return was && is ? "updated" : is ? "entered" : was ? "left" : NULL;
}

static bool feed_is(const char *text, size_t n, const char *wanted)
{
    return n == strlen(wanted) && memcmp(text, wanted, n) == 0;
}

static bool feed_is_of(const struct entity_change *c, const struct feed_stream *s)
{
    return feed_is(c->entity, c->entity_len, s->def->name) &&
           feed_is(c->part, c->part_len, s->part) && feed_is(c->tenant, c->tenant_len, API_TENANT);
}

const char *feed_next(const struct feed_stream *s, uint64_t seq, struct cursor *c, uint32_t *at,
                      struct entity_change *change)
{
    const char *name = NULL;
    while (name == NULL && entity_change_next(c, change)) {
        ++*at;
        if (feed_is_of(change, s) && (seq != s->skip_seq || *at > s->skip))
            name = feed_name(s, change);
    }
    return name;
}

bool feed_render(const struct feed_stream *s, uint64_t seq, const void *p, size_t n, size_t most,
                 struct buf *out, uint32_t *done)
{
    struct cursor c;
    struct entity_change change;
    const char *name = NULL;
    uint32_t at = 0;
    cursor_init(&c, p, n);
    while (out->len <= most && (name = feed_next(s, seq, &c, &at, &change)) != NULL) {
        feed_head(out, name, seq, at);
        feed_record(s, seq, &change, out);
        buf_adds(out, "\n\n");
    }
    *done = at;
    return name == NULL || cursor_left(&c) == 0;
}
