/* The events of a story in one list. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "trace/trace_priv.h"

/* What is looked for: events of these correlations, and those that follow under these links. */
struct story_name {
    char text[TRACE_TEXT_MAX + 1];
    bool whole; /* all of that correlation, not only what follows */
};

struct story {
    struct event *events[TRACE_EVENTS_MAX];
    size_t count;
    bool cut;
    struct story_name names[TRACE_LINKS_MAX];
    size_t names_count, at; /* at: the one that is asked for */
};

static void story_add_name(struct story *s, const char *text, bool whole)
{
    if (*text == '\0')
        return;
    for (size_t i = 0; i < s->names_count; i++) {
        if (strcmp(s->names[i].text, text) == 0)
            return;
    }
    if (s->names_count == TRACE_LINKS_MAX) {
        s->cut = true;
        return;
    }
    struct story_name *n = &s->names[s->names_count++];
    str_copy(n->text, sizeof n->text, text);
    n->whole = whole;
}

static bool story_belongs(const struct story *s, const struct trace_event *e)
{
    const struct story_name *n = &s->names[s->at];
    if (strcmp(e->correlation, n->text) == 0)
        return true;
    return strcmp(e->link, n->text) == 0 && (e->follows || n->whole);
}

/* The same place, found under another name; or the same change, noted again when its entry was
 * replayed. */
static bool story_same(const struct trace_event *a, const struct trace_event *b)
{
    bool change = a->kind == TRACE_CHANGE || a->kind == TRACE_CHANGES;
    uint64_t span_a = a->span != NULL ? a->span->id : 0, span_b = b->span != NULL ? b->span->id : 0;
    return a->kind == b->kind && a->seq == b->seq && a->version == b->version &&
           (change || (a->at_us == b->at_us && span_a == span_b)) &&
           strcmp(a->subject, b->subject) == 0 && strcmp(a->name, b->name) == 0 &&
           strcmp(a->detail, b->detail) == 0;
}

static bool story_has(const struct story *s, const struct event *ev)
{
    for (size_t i = 0; i < s->count; i++)
        if (story_same(&s->events[i]->e, &ev->e))
            return true;
    return false;
}

static bool story_take(void *arg, const uint8_t *p, size_t n)
{
    struct story *s = arg;
    struct event *ev = mem_try(sizeof *ev);
    if (ev == NULL || s->count == TRACE_EVENTS_MAX) {
        s->cut = true;
        mem_free(ev);
        return false;
    }
    if (!event_decode(p, n, ev) || !story_belongs(s, &ev->e) || story_has(s, ev)) {
        mem_free(ev);
        return true;
    }
    s->events[s->count++] = ev;
    /* What comes later of this one: under its link. And where that is what was asked for, the
     * story that it began in. What comes of a message has its correlation. */
    if (ev->e.kind != TRACE_MESSAGE)
        story_add_name(s, ev->e.link, false);
    if (s->names[s->at].whole && !ev->e.follows)
        story_add_name(s, ev->e.correlation, true);
    return true;
}

static int story_by_time(const void *a, const void *b)
{
    const struct event *x = *(struct event *const *)a, *y = *(struct event *const *)b;
    int64_t x_ms = x->e.at_us / 1000, y_ms = y->e.at_us / 1000;
    if (x_ms != y_ms) /* ledger time is not finer */
        return x_ms < y_ms ? -1 : 1;
    if (x->e.kind != y->e.kind)
        return x->e.kind < y->e.kind ? -1 : 1;
    if (x->e.seq != y->e.seq)
        return x->e.seq < y->e.seq ? -1 : 1;
    return (x->e.at_us > y->e.at_us) - (x->e.at_us < y->e.at_us);
}

static void story_print(struct story *s, const char *node, struct buf *out)
{
    qsort(s->events, s->count, sizeof s->events[0], story_by_time);
    buf_addc(out, '[');
    for (size_t i = 0; i < s->count; i++) {
        if (i > 0)
            buf_addc(out, ',');
        event_print(s->events[i], node, out);
    }
    buf_addc(out, ']');
}

static void story_freep(struct story **s)
{
    for (size_t i = 0; *s != NULL && i < (*s)->count; i++)
        mem_free((*s)->events[i]);
    mem_free(*s);
}

int trace_timeline(struct trace *t, const char *correlation, struct buf *out, bool *cut,
                   struct err *e)
{
    AUTO(story_freep) struct story *s = mem_new(sizeof *s);
    int rc = 0;
    story_add_name(s, correlation, true);
    pthread_mutex_lock(&t->ring_lock);
    trace_drain(t);
    for (; rc == 0 && t->ring_open && s->at < s->names_count; s->at++)
        rc = ring_find(&t->ring, event_key(s->names[s->at].text), story_take, s, e);
    pthread_mutex_unlock(&t->ring_lock);
    if (rc != 0)
        return err_context(e, "timeline");
    if (s->count == 0)
        return err_set(e, ERR_NOT_FOUND,
                       "nothing is known under '%.128s': it is older than the ring, only read, or "
                       "happened on another node; of a message ask with its correlation, which "
                       "koan queue show QUEUE ID has",
                       correlation);
    story_print(s, t->o.node_id, out);
    *cut = s->cut;
    return buf_check(out, "the timeline", e);
}
