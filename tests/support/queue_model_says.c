/* How records are sent: a record's own word first, then its queue's, then what is usual. */
#include "support/queue_model_priv.h"

#include <string.h>

#include "base/err.h"

enum { TIMEOUT_MS = 60 * 1000, PRIORITY = 4, ATTEMPTS = 5 };

static void read_lists(struct model_says *out, const struct core_send *s)
{
    ASSERT(s->needs_count <= MODEL_LABELS);
    out->at.said = s->no_gates || s->gates_count > 0;
    out->asks.said = s->no_needs || s->needs_count > 0;
    out->at.count = s->gates_count;
    out->asks.count = s->needs_count;
    for (uint8_t i = 0; i < s->gates_count; i++)
        model_text(out->at.gates[i], s->gates[i]);
    for (uint8_t i = 0; i < s->needs_count; i++) {
        model_text(out->asks.needs[i].name, s->needs[i].name);
        model_text(out->asks.needs[i].text, s->needs[i].text);
        out->asks.needs[i].number = s->needs[i].number;
    }
}

void model_says_read(struct model_says *out, const struct core_send *s)
{
    memset(out, 0, sizeof *out); /* of which parts are compared as bytes */
    out->ttl_ms = out->deadline_ms = out->timeout_ms = -1;
    out->priority = out->attempts = -1;
    if (s == NULL)
        return;
    if (s->ttl_ms != 0)
        out->ttl_ms = s->ttl_ms > 0 ? s->ttl_ms : 0;
    if (s->deadline_ms != 0)
        out->deadline_ms = s->deadline_ms;
    if (s->timeout_ms != 0)
        out->timeout_ms = s->timeout_ms;
    if (s->priority != CORE_PRIORITY_UNSAID)
        out->priority = s->priority;
    if (s->attempts != 0)
        out->attempts = s->attempts;
    out->waits.said = s->backoff != NULL;
    if (s->backoff != NULL)
        out->waits.backoff = *s->backoff;
    model_text(out->lane, s->lane);
    read_lists(out, s);
}

uint32_t model_body_max(const struct model_queue *q)
{
    return q->settings.body_max != 0 ? q->settings.body_max : 1024 * 1024;
}

static int64_t first_said(int64_t own, int64_t queue, int64_t usual)
{
    return own >= 0 ? own : queue >= 0 ? queue : usual;
}

void model_says_take(struct model_record *r, const struct model_queue *q)
{
    static const struct core_backoff usual = {.first = 3000, .cap = 300000};
    const struct model_says *own = &r->own, *of = &q->says;
    const struct model_says *gates = own->at.said ? own : of, *needs = own->asks.said ? own : of;
    const char *lane = own->lane[0] != '\0' ? own->lane : of->lane;
    r->priority = (uint8_t)first_said(own->priority, of->priority, PRIORITY);
    r->timeout_ms = (uint32_t)first_said(own->timeout_ms, of->timeout_ms, TIMEOUT_MS);
    r->attempts_max = (uint32_t)first_said(own->attempts, of->attempts, ATTEMPTS);
    r->backoff = own->waits.said ? own->waits.backoff : of->waits.said ? of->waits.backoff : usual;
    model_text(r->lane, lane[0] != '\0' ? lane : "default");
    r->gates_count = gates->at.count;
    memcpy(r->gates, gates->at.gates, sizeof r->gates);
    r->needs_count = needs->asks.count;
    memcpy(r->needs, needs->asks.needs, sizeof r->needs);
}
