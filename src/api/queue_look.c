/* Records as the core has them: looked at by their ids, shown as JSON. */
#include <string.h>

#include "api/queue_priv.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/time.h"

/* Each text of a history, wherever it stands. */
static void past_texts(struct core_history *h, void (*each)(void *arg, const char **text),
                       void *arg)
{
    for (uint32_t i = 0; i < h->errors_count; i++)
        each(arg, &h->errors[i].node);
    for (uint32_t i = 0; i < h->moves_count; i++) {
        struct core_moved *m = &h->moves[i];
        const char **texts[] = {&m->who, &m->why, &m->from, &m->to};
        for (size_t k = 0; k < ARRAY_LEN(texts); k++)
            each(arg, texts[k]);
    }
    for (uint32_t i = 0; i < h->died_count; i++)
        each(arg, &h->died[i]);
}

static void text_size(void *arg, const char **text)
{
    *(size_t *)arg += *text != NULL ? strlen(*text) + 1 : 0;
}

static void text_move(void *arg, const char **text)
{
    char **at = arg;
    size_t n = *text != NULL ? strlen(*text) + 1 : 0;
    if (n == 0)
        return;
    memcpy(*at, *text, n);
    *text = *at;
    *at += n;
}

static void look_past(const struct core *c, struct queue_shown *s)
{
    struct core_history h;
    size_t size = 0;
    core_past(c, &s->id, &h, NULL);
    past_texts(&h, text_size, &size);
    s->past = mem_new(sizeof *s->past + size);
    s->past->h = h;
    past_texts(&s->past->h, text_move, &(char *){s->past->texts});
}

static void look_one(const struct queue_looking *l, const struct core *c, struct queue_shown *s)
{
    struct core_view *v = &s->view;
    if (s->err.code != 0)
        return;
    if (core_look(c, &s->id, v, &s->err) != 0)
        return;
    bool is = strcmp(v->tenant, l->tenant) == 0;
    if (is)
        is = l->queue != NULL ? strcmp(v->queue, l->queue) == 0
                              : str_starts(v->queue, QUEUE_OF_JOBS);
    if (!is && l->queue != NULL)
        err_field(&s->err, ERR_NOT_FOUND, "id", "there is no such record in queue '%s'", l->queue);
    else if (!is)
        err_field(&s->err, ERR_NOT_FOUND, "id", "there is no such run of a job");
    if (!is)
        return;
    s->has_view = true;
    s->place = v->place;
    s->body = v->body;
    s->edited = v->edited;
    str_copy(s->queue, sizeof s->queue, v->queue);
    str_copy(s->lane, sizeof s->lane, v->lane);
    v->tenant = v->queue = v->lane = NULL; /* the core's */
    if (l->past)
        look_past(c, s);
}

static void look_ask(struct queue_ask *a, const struct core *c)
{
    struct queue_looking *l = (struct queue_looking *)a;
    for (size_t i = 0; i < l->count; i++)
        look_one(l, c, &l->shown[i]);
}

static void look_done(struct queue_ask *a)
{
    struct queue_looking *l = (struct queue_looking *)a;
    l->done(l);
}

void queue_look_start(struct queue_looking *l, struct http_request *req)
{
    queue_look_begin(l, api_thread_of(req));
}

void queue_look_begin(struct queue_looking *l, struct api_thread *t)
{
    l->ask = (struct queue_ask){.home = loop_runner(t->loop), .ask = look_ask, .done = look_done};
    queues_ask(t->api->o.queues, &l->ask);
}

enum rec_state queue_state_named(const char *name)
{
    for (int s = REC_SCHEDULED; s <= REC_CANCELLED; s++)
        if (strcmp(rec_state_name((enum rec_state)s), name) == 0)
            return (enum rec_state)s;
    return (enum rec_state)0;
}

/* ---- as JSON ---- */

static const char *const waits_names[] = {
    [WAITS_NOTHING] = NULL,
    [WAITS_CONSUMER] = "consumer",
    [WAITS_KEY] = "key",
    [WAITS_GATE] = "gate",
    [WAITS_LABEL] = "label",
    [WAITS_PAUSE] = "pause",
    [WAITS_CONCURRENCY] = "concurrency",
    [WAITS_LANE] = "lane",
    [WAITS_HANDLER] = "handler",
    [WAITS_PEOPLE] = "people",
    [WAITS_DECISION] = "decision",
};

static void print_time(struct buf *out, const char *name, int64_t ms)
{
    char text[TIME_TEXT];
    time_format(ms, text);
    buf_addf(out, ",\"%s\":\"%s\"", name, text);
}

static void print_view(const struct queue_shown *s, struct buf *out)
{
    const struct core_view *v = &s->view;
    buf_addf(out, ",\"state\":\"%s\",\"priority\":%u,\"lane\":\"%s\"", rec_state_name(v->state),
             v->priority, s->lane);
    buf_addf(out, ",\"attempt\":%u,\"attempts\":%u,\"deliveries\":%u,\"bytes\":%u", v->attempts,
             v->attempts_max, v->deliveries, v->bytes);
    print_time(out, v->state >= REC_COMPLETED ? "ended_at" : "run_at", v->run_at);
    if (v->state == REC_DISCARDED)
        buf_addf(out, ",\"reason\":\"%s\"", rec_reason_name(v->reason));
    if (v->state == REC_CANCELLED && v->why[0] != '\0') {
        buf_adds(out, ",\"reason\":");
        json_print_string(out, v->why, strlen(v->why));
    }
    if (v->state == REC_EXECUTING) {
        char consumer[UUID_TEXT];
        uuid_format(&v->consumer, consumer);
        buf_addf(out, ",\"token\":%llu,\"consumer\":\"%s\"", (unsigned long long)v->token,
                 consumer);
        print_time(out, "lease_until", v->lease_until);
        if (v->cancel_asked)
            buf_adds(out, ",\"cancel_asked\":true");
    }
    queue_tend_print(v, out);
    if (waits_names[v->waits] == NULL)
        return;
    buf_addf(out, ",\"waiting_for\":{\"what\":\"%s\"", waits_names[v->waits]);
    if (v->waits_for[0] != '\0') {
        buf_adds(out, ",\"name\":");
        json_print_string(out, v->waits_for, strlen(v->waits_for));
    }
    buf_addc(out, '}');
}

static void print_shown(const struct queue_shown *s, const char *job, struct buf *out)
{
    char id[UUID_TEXT];
    uuid_format(&s->id, id);
    buf_addf(out, "{\"id\":\"%s\"", id);
    if (job != NULL)
        buf_addf(out, ",\"job\":\"%s\"", job);
    if (s->has_view)
        print_view(s, out);
    if (s->texts != NULL)
        buf_add(out, s->texts, s->texts_len);
    buf_addc(out, '}');
}

void queue_shown_print(const struct queue_shown *s, struct buf *out)
{
    print_shown(s, NULL, out);
}

void queue_run_print(const struct queue_shown *s, struct buf *out)
{
    print_shown(s, s->queue + sizeof QUEUE_OF_JOBS - 1, out);
}
