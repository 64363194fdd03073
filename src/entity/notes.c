/* What the records of an entry became, noted for the timeline once the entry is committed. On the
 * ledger's thread. Nothing of it goes into the state: a node without a trace applies alike. */
#include <stdio.h>
#include <string.h>

#include "entity/entity_priv.h"
#include "ledger/txn.h"
#include "trace/trace.h"

enum { NOTES_PENDING_MAX = 1 << 20, NOTES_ROOM_KEPT = 64 << 10, NOTES_LINK = TRACE_TEXT_MAX + 80 };

void notes_init(struct notes *n)
{
    buf_init(&n->pending, NOTES_PENDING_MAX);
}

void notes_fini(struct notes *n)
{
    buf_fini(&n->pending);
}

void notes_unit(struct notes *n)
{
    n->mark = n->pending.len;
    n->unit = 0;
}

void notes_undo(struct notes *n, bool entry_too)
{
    n->pending.len = entry_too ? 0 : n->mark;
    n->pending.failed = false;
}

/* Which verb, and where it was not asked for itself: why. */
static const char *notes_detail(enum entity_change_verb verb, enum row_how how)
{
    switch (verb) {
    case ENTITY_CHANGE_CREATED:
        return "created";
    case ENTITY_CHANGE_UPDATED:
        return how == HOW_DETACH ? "updated: what it referred to was removed" : "updated";
    case ENTITY_CHANGE_REMOVED:
        return how == HOW_EXPIRE    ? "removed: expired"
               : how == HOW_CASCADE ? "removed with what it referred to"
                                    : "removed";
    }
    return "";
}

static void notes_span(const struct envelope *env, struct trace_span *span,
                       struct trace_event *event)
{
    if (env->traceparent == NULL || !trace_parse(env->traceparent, span))
        return;
    span->sampled = false; /* an event of its parent: no span for the collector */
    event->span = span;
}

void notes_add(struct notes *n, const struct row_change *c, enum entity_change_verb verb,
               const struct entity_change *what)
{
    const struct envelope *env = c->a->env;
    char id[TRACE_TEXT_MAX + 1], link[NOTES_LINK];
    struct trace_span span;
    bool last = n->unit == TRACE_CHANGES_MAX;
    bool known = env->correlation != NULL || c->def->ttl;
    if (n->trace == NULL || !known || n->unit++ > TRACE_CHANGES_MAX)
        return;
    snprintf(id, sizeof id, "%s%s%.*s", c->key.part, *c->key.part != '\0' ? "/" : "",
             (int)c->key.id_len, c->key.id);
    struct trace_event event = {.kind = last ? TRACE_CHANGES : TRACE_CHANGE,
                                .at_us = c->a->at * 1000,
                                .seq = c->a->seq,
                                .correlation = env->correlation,
                                .causation = env->causation,
                                .principal = env->principal,
                                .name = c->def->name,
                                .subject = last ? NULL : id,
                                .detail = last ? "more records of the same unit"
                                               : notes_detail(verb, c->how)};
    event.version = last                            ? 0
                    : verb == ENTITY_CHANGE_REMOVED ? what->before.version
                                                    : what->after.version;
    if (c->def->ttl && !last) { /* so that its end is found by what began it */
        snprintf(link, sizeof link, "%.64s/%s", c->def->name, id);
        event.link = link;
        event.follows = c->how == HOW_EXPIRE;
    }
    notes_span(env, &span, &event);
    trace_record(&event, &n->pending);
}

void notes_committed(struct notes *n)
{
    n->pending.failed = false; /* an entry that is larger than that is noted in part */
    trace_note_records(n->trace, &n->pending);
    if (n->pending.cap > NOTES_ROOM_KEPT)
        buf_fini(&n->pending);
    buf_reset(&n->pending);
    n->mark = 0;
}
