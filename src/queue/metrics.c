/* Queue: what is known of the queues, for the metrics page. */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/stat.h"
#include "queue/queue_priv.h"

enum {
    METRICS_LINE = 64,       /* bytes of a series besides the names of its queue, about */
    METRICS_HEADS = 4 << 10, /* bytes of all that does not grow with the queues */
};

enum metric_fold { FOLD_SUM, FOLD_FIRST }; /* what the rest is together */

struct metric {
    const char *family, *help, *state; /* state: NULL, or the label of that name */
    int64_t (*of)(const struct survey_row *r, int64_t now);
    enum metric_fold fold;
    bool rare; /* a series only where it is not 0 */
};

#define FIELD(field)                                                                               \
    static int64_t of_##field(const struct survey_row *r, int64_t now)                             \
    {                                                                                              \
        (void)now;                                                                                 \
        return (int64_t)r->field;                                                                  \
    }
FIELD(scheduled)
FIELD(available)
FIELD(executing)
FIELD(retryable)
FIELD(completed)
FIELD(discarded)
FIELD(cancelled)
FIELD(bytes)
FIELD(sent)
FIELD(granted)
FIELD(acked)
FIELD(nacked)
FIELD(dropped)
FIELD(unfit)
FIELD(dedups)
FIELD(dedups_forgotten)
FIELD(overdue)

static int64_t of_age(const struct survey_row *r, int64_t now)
{
    return r->oldest_at < now ? (now - r->oldest_at) / 1000 : 0;
}

#define MESSAGES "koan_queue_messages", "Messages of a queue in this state"
/* Those of one family stand together. */
static const struct metric metrics[] = {
    {"koan_queue_acked_total", "Messages that were acknowledged", NULL, of_acked, FOLD_SUM, false},
    {"koan_queue_bytes", "Bytes of the bodies that wait or execute", NULL, of_bytes, FOLD_SUM,
     false},
    {"koan_queue_dedup_forgotten_total",
     "Dedup texts that were forgotten before their time, for want of room", NULL,
     of_dedups_forgotten, FOLD_SUM, true},
    {"koan_queue_dedup_texts", "Dedup texts that are known, so that none is sent again", NULL,
     of_dedups, FOLD_SUM, true},
    {"koan_queue_discarded_total", "Messages that were discarded, for whatever reason", NULL,
     of_dropped, FOLD_SUM, false},
    {"koan_queue_granted_total", "Deliveries to consumers and handlers", NULL, of_granted, FOLD_SUM,
     false},
    {MESSAGES, "available", of_available, FOLD_SUM, false},
    {MESSAGES, "executing", of_executing, FOLD_SUM, false},
    {MESSAGES, "scheduled", of_scheduled, FOLD_SUM, false},
    {MESSAGES, "retryable", of_retryable, FOLD_SUM, false},
    {MESSAGES, "discarded", of_discarded, FOLD_SUM, false},
    {MESSAGES, "completed", of_completed, FOLD_SUM, true},
    {MESSAGES, "cancelled", of_cancelled, FOLD_SUM, true},
    {"koan_queue_nacked_total", "Deliveries that failed or were rejected", NULL, of_nacked,
     FOLD_SUM, false},
    {"koan_queue_oldest_seconds", "Age of the oldest message that could run", NULL, of_age,
     FOLD_FIRST, false},
    {"koan_queue_overdue", "Messages that people are late with", NULL, of_overdue, FOLD_SUM, true},
    {"koan_queue_sent_total", "Messages that were sent", NULL, of_sent, FOLD_SUM, false},
    {"koan_queue_waiting_for_label", "Messages that nobody takes for the labels that they need",
     NULL, of_unfit, FOLD_SUM, true},
};

const char *const queue_metric_names[] = {"koan_queue_acked_total",
                                          "koan_queue_bytes",
                                          "koan_queue_dedup_forgotten_total",
                                          "koan_queue_dedup_texts",
                                          "koan_queue_discarded_total",
                                          "koan_queue_granted_total",
                                          "koan_queue_messages",
                                          "koan_queue_nacked_total",
                                          "koan_queue_oldest_seconds",
                                          "koan_queue_overdue",
                                          "koan_queue_sent_total",
                                          "koan_queue_waiting_for_label",
                                          "koan_queues",
                                          "koan_queues_unhandled",
                                          NULL};

/* ---- the busiest ---- */

struct busy {
    uint64_t weight;
    uint32_t row;
};

/* Some of the rows; the others are folded into one. */
struct chosen {
    const struct survey *survey;
    int64_t now;
    bool all;
    struct busy list[QUEUE_SHOWN]; /* the busiest first */
    size_t count;
    bool *shown;                      /* of each row; NULL: all are */
    int64_t rest[ARRAY_LEN(metrics)]; /* of those that are not */
};

static void chosen_offer(struct chosen *c, uint64_t weight, uint32_t row)
{
    size_t at = c->count;
    if (c->count == QUEUE_SHOWN && weight <= c->list[QUEUE_SHOWN - 1].weight)
        return;
    at = c->count < QUEUE_SHOWN ? c->count++ : QUEUE_SHOWN - 1;
    for (; at > 0 && c->list[at - 1].weight < weight; at--)
        c->list[at] = c->list[at - 1];
    c->list[at] = (struct busy){weight, row};
}

static size_t row_bytes(const struct survey *v, const struct survey_row *r)
{
    size_t names = strlen(v->texts.data + r->tenant) + strlen(v->texts.data + r->name), series = 0;
    for (size_t i = 0; i < ARRAY_LEN(metrics); i++)
        series += !metrics[i].rare || metrics[i].of(r, INT64_MIN) != 0;
    return series * (METRICS_LINE + names);
}

/* Long names: fewer of them, so that the page stays under its bound. */
static void chosen_cut(struct chosen *c)
{
    size_t bytes = METRICS_HEADS;
    for (size_t i = 0; i < c->count; i++) {
        bytes += row_bytes(c->survey, &c->survey->rows[c->list[i].row]);
        if (bytes > QUEUE_METRICS_BYTES) {
            c->count = i;
            return;
        }
    }
}

/* In one pass over the rows, which are many. */
static void chosen_fold(struct chosen *c)
{
    const struct survey *v = c->survey;
    c->shown = mem_new(v->count);
    for (size_t i = 0; i < c->count; i++)
        c->shown[c->list[i].row] = true;
    for (size_t i = 0; i < v->count; i++) {
        for (size_t k = 0; k < ARRAY_LEN(metrics) && !c->shown[i]; k++) {
            int64_t n = metrics[k].of(&v->rows[i], c->now), *rest = &c->rest[k];
            *rest = metrics[k].fold == FOLD_SUM ? *rest + n : n > *rest ? n : *rest;
        }
    }
}

static void chosen_init(struct chosen *c, const struct survey *v, int64_t now, bool all)
{
    *c = (struct chosen){.survey = v, .now = now, .all = all};
    if (all)
        return;
    for (size_t i = 0; i < v->count; i++)
        chosen_offer(c, v->rows[i].sent + v->rows[i].granted, (uint32_t)i);
    chosen_cut(c);
    if (c->count < v->count)
        chosen_fold(c);
}

/* ---- printing ---- */

/* A name may hold anything; of a label \\ and " and a new line are written as two. */
static char *label_put(char *at, const char *text)
{
    for (; *text != '\0'; text++) {
        if (*text == '\\' || *text == '"' || *text == '\n')
            *at++ = '\\';
        *at++ = *text == '\n' ? 'n' : *text;
    }
    *at = '\0';
    return at;
}

static char *text_put(char *at, const char *text)
{
    size_t n = strlen(text);
    memcpy(at, text, n + 1);
    return at + n;
}

enum { METRIC_LABELS = 4 * CORE_TEXT_MAX + 128 };

static void metric_labels(const struct survey *v, const struct survey_row *r, const char *state,
                          char out[METRIC_LABELS])
{
    char *at = text_put(out, "tenant=\"");
    at = label_put(at, v->texts.data + r->tenant);
    at = text_put(at, "\",queue=\"");
    at = label_put(at, v->texts.data + r->name);
    at = text_put(at, state != NULL ? "\",state=\"" : "");
    at = text_put(at, state != NULL ? state : "");
    text_put(at, "\"");
}

/* Some have this as a label: looked at before all is written. */
static bool metric_may_have(const struct stat_page *p, const struct metric *m,
                            const struct survey *v, const struct survey_row *r)
{
    return p->value == NULL || strcmp(v->texts.data + r->name, p->value) == 0 ||
           strcmp(v->texts.data + r->tenant, p->value) == 0 ||
           (m->state != NULL && strcmp(m->state, p->value) == 0);
}

static void metric_rest(struct stat_page *p, const struct metric *m, int64_t rest)
{
    char labels[64];
    if (m->rare && rest == 0)
        return;
    snprintf(labels, sizeof labels, "other=\"true\"%s%s%s", m->state != NULL ? ",state=\"" : "",
             m->state != NULL ? m->state : "", m->state != NULL ? "\"" : "");
    stat_page_series(p, labels, rest);
}

static void metric_row(struct stat_page *p, const struct metric *m, const struct chosen *c,
                       const struct survey_row *r)
{
    char labels[METRIC_LABELS];
    int64_t n = m->of(r, c->now);
    if ((n == 0 && m->rare) || !metric_may_have(p, m, c->survey, r))
        return;
    metric_labels(c->survey, r, m->state, labels);
    stat_page_series(p, labels, n);
}

static void metric_print(struct stat_page *p, const struct metric *m, const struct chosen *c)
{
    const struct survey *v = c->survey;
    for (size_t i = 0; c->all && i < v->count && !buf_failed(p->out); i++)
        metric_row(p, m, c, &v->rows[i]);
    for (size_t i = 0; !c->all && i < c->count; i++)
        metric_row(p, m, c, &v->rows[c->list[i].row]);
    if (c->shown != NULL)
        metric_rest(p, m, c->rest[m - metrics]);
}

static void metrics_totals(struct stat_page *p, const struct queue_totals *t)
{
    if (stat_page_family(p, "koan_queues", "Queues"))
        stat_page_series(p, "", (int64_t)t->queues);
    if (stat_page_family(p, "koan_queues_unhandled",
                         "Queues with messages for which there is no handler any more"))
        stat_page_series(p, "", (int64_t)t->unhandled);
}

void queues_metrics(struct queues *q, struct stat_page *p)
{
    struct survey *v = queue_survey_ref(q);
    struct world *w = q->survey.world;
    struct chosen c;
    bool wanted = false;
    if (v == NULL)
        return;
    chosen_init(&c, v, w->wall_ms(w), p->detailed);
    for (size_t i = 0; i < ARRAY_LEN(metrics); i++) {
        if (i == 0 || strcmp(metrics[i].family, metrics[i - 1].family) != 0)
            wanted = stat_page_family(p, metrics[i].family, metrics[i].help);
        if (wanted)
            metric_print(p, &metrics[i], &c);
    }
    metrics_totals(p, &v->totals);
    mem_free(c.shown);
    queue_survey_unref(q, v);
}
