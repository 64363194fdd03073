/* What happens to messages, told in the timeline of what they came of: a try that failed, a
 * discard, a dead letter, and what people did with them. That one was sent, or ended well, is not
 * told: that is what most of them do, and the request that sent it is there.
 *
 *   queue_noter --arrived--> READ what was sent, and the words of the error (pool) -> events
 *                   ^                                                                   |
 *                   +------------------------- STORY_TURN_MS later ---------------------+
 *
 * The queue knows of a message just where it lies in the log. So that a flood of failures costs no
 * more than a part of one thread, a turn reads STORY_BYTES of the log at most; what it does not
 * come to is lost for the timeline, and counted. */
#include <string.h>

#include "api/queue_priv.h"
#include "base/mem.h"
#include "base/stat.h"
#include "base/str.h"
#include "trace/trace.h"

enum { STORY_TURN_MS = 200, STORY_BYTES = 8 << 20 };

/* An entry of the log, the last that was read; or one operation that was moved out of it. */
struct story_entry {
    uint64_t index; /* 0: none */
    struct buf bytes;
};

struct queue_story {
    struct queue_noter noter; /* first */
    struct api_thread *thread;
    struct api_job job;
    struct world_timer timer;
    struct queue_noted *list;
    size_t count;
    struct story_entry sent, told;
    struct queue_stored *stored;
    size_t bytes;
    struct stat_counter *lost;
    bool busy, resting, more, gone;
};

static struct world *story_world(const struct queue_story *s)
{
    return loop_world(s->thread->loop);
}

/* ---- on the pool ---- */

static int story_read(struct queue_story *s, struct db *db, struct story_entry *en, uint64_t place,
                      uint64_t *at, struct err *e)
{
    struct ledger *ledger = s->job.api->o.ledger;
    *at = place;
    if (en->index == place >> 24)
        return 0;
    en->index = 0;
    buf_reset(&en->bytes);
    int rc = ledger_read(ledger, place >> 24, &en->bytes, e);
    if (rc == 0)
        en->index = place >> 24;
    if (rc == ERR_GONE) {
        *at = 0;
        buf_reset(&en->bytes);
        rc = queue_place_read(ledger, db, place, &en->bytes, e);
    }
    s->bytes += en->bytes.len;
    return rc;
}

/* The words of the try's error, if it has some. */
static void story_words(struct queue_story *s, struct db *db, const struct queue_noted *n,
                        struct buf *out)
{
    const void *text;
    size_t len;
    uint64_t at;
    struct err e = ERR_INIT;
    if (n->reason != REASON_ATTEMPTS)
        buf_addf(out, ": %s", rec_reason_name(n->reason));
    if (n->told == 0 || story_read(s, db, &s->told, n->told, &at, &e) != 0 ||
        queue_body_read(s->told.bytes.data, s->told.bytes.len, at, QUEUE_PLACE_SETTLE, &text, &len,
                        &e) != 0 ||
        len == 0)
        return;
    buf_adds(out, ": ");
    buf_add(out, text, len < TRACE_TEXT_MAX ? len : TRACE_TEXT_MAX);
}

static void story_verb(const struct queue_noted *n, struct buf *out)
{
    bool dead = n->verb == VERB_DEAD_LETTER;
    buf_adds(out, core_verb_name(n->verb));
    if (n->to[0] != '\0')
        buf_addf(out, " to %s", n->to);
    if (n->who[0] != '\0')
        buf_addf(out, " by %s", n->who);
    if (dead || n->why[0] != '\0')
        buf_addf(out, ": %s", dead ? rec_reason_name(n->reason) : n->why);
}

static void story_detail(struct queue_story *s, struct db *db, const struct queue_noted *n,
                         struct buf *out)
{
    switch (n->kind) {
    case NOTED_TRY:
        buf_addf(out, "attempt %u failed", n->attempt);
        story_words(s, db, n, out);
        return;
    case NOTED_DISCARDED:
        buf_addf(out, "discarded: %s", rec_reason_name(n->reason));
        return;
    case NOTED_VERB:
        story_verb(n, out);
        return;
    }
}

/* `order` keeps those of one moment apart, which ledger time does not. */
static bool story_tell(struct queue_story *s, struct db *db, const struct queue_noted *n,
                       size_t order)
{
    AUTO(buf_fini) struct buf detail = BUF_INIT(4096);
    char name[CORE_TEXT_MAX + 8], id[UUID_TEXT];
    struct queue_stored *sent = s->stored;
    struct err e = ERR_INIT;
    uint64_t at;
    if (story_read(s, db, &s->sent, n->place, &at, &e) != 0 ||
        queue_message_read(s->sent.bytes.data, s->sent.bytes.len, at, sent, &e) != 0)
        return false;
    story_detail(s, db, n, &detail);
    uuid_format(&sent->id, id);
    snprintf(name, sizeof name, "queue/%s", n->queue);
    trace_note(
        s->job.api->o.trace,
        &(struct trace_event){.kind = TRACE_MESSAGE,
                              .failed = n->kind != NOTED_VERB || n->verb == VERB_DEAD_LETTER,
                              .at_us = n->at * 1000 + (int64_t)(order < 999 ? order : 999),
                              .seq = n->seq,
                              .correlation = sent->correlation != NULL ? sent->correlation : id,
                              .principal = n->who[0] != '\0' ? n->who : NULL,
                              .name = name,
                              .subject = id,
                              .detail = buf_str(&detail),
                              .link = id});
    return true;
}

static void story_run(struct api_job *j, struct db *db)
{
    struct queue_story *s = LIST_OF(j, struct queue_story, job);
    uint64_t lost = 0;
    s->bytes = 0;
    s->stored = mem_new(sizeof *s->stored);
    for (size_t i = 0; i < s->count; i++)
        lost += s->bytes > STORY_BYTES || !story_tell(s, db, &s->list[i], i);
    mem_free(TAKE(s->stored));
    s->sent.index = s->told.index = 0;
    buf_fini(&s->sent.bytes);
    buf_fini(&s->told.bytes);
    stat_add(s->lost, lost);
}

/* ---- on its loop ---- */

static void story_go(struct queue_story *s);

static void story_rested(struct world_timer *t)
{
    struct queue_story *s = LIST_OF(t, struct queue_story, timer);
    s->resting = false;
    if (s->more)
        story_go(s);
}

static void story_done(struct api_job *j)
{
    struct queue_story *s = LIST_OF(j, struct queue_story, job);
    if (j->err.code != 0)
        stat_add(s->lost, s->count);
    mem_free(TAKE(s->list));
    s->busy = false;
    s->resting = true;
    story_world(s)->timer_start(story_world(s), &s->timer, STORY_TURN_MS);
}

static void story_go(struct queue_story *s)
{
    uint64_t missed = 0;
    s->more = false;
    s->list = queues_noted(s->thread->api->o.queues, &s->noter, &s->count, &missed);
    stat_add(s->lost, missed);
    if (s->list == NULL)
        return;
    s->busy = true;
    buf_init(&s->sent.bytes, LEDGER_READ_MAX);
    buf_init(&s->told.bytes, LEDGER_READ_MAX);
    s->job = (struct api_job){.run = story_run, .done = story_done};
    api_job_begin(&s->job, s->thread);
}

static void story_arrived(struct queue_noter *n)
{
    struct queue_story *s = (struct queue_story *)n;
    s->more = true;
    if (!s->busy && !s->resting)
        story_go(s);
}

static void story_gone(struct queue_noter *n)
{
    ((struct queue_story *)n)->gone = true;
}

/* ---- its life ---- */

void queue_story_new(struct api_thread *t)
{
    struct api *a = t->api;
    if (a->o.queues == NULL || a->o.trace == NULL || a->story != NULL)
        return;
    struct queue_story *s = a->story = mem_new(sizeof *s);
    s->thread = t;
    s->timer.fire = story_rested;
    s->lost = stat_counter("koan_trace_lost_total", "at=\"messages\"",
                           "Events and spans dropped, by where: they never wait");
    s->noter.home = loop_runner(t->loop);
    s->noter.arrived = story_arrived;
    s->noter.gone = story_gone;
    queues_note(a->o.queues, &s->noter);
}

void queue_story_free(struct api_thread *t)
{
    struct queue_story *s = t->api->story;
    if (s == NULL || s->thread != t)
        return;
    queues_unnote(t->api->o.queues, &s->noter);
    while (!s->gone || s->busy) /* the pool still works */
        loop_poll(t->loop);
    story_world(s)->timer_stop(story_world(s), &s->timer);
    t->api->story = NULL;
    mem_free(s);
}
