/* Webhooks: each message of the group is one request to its receiver, signed, as a CloudEvent. The
 * queue keeps the order of a key and what is left of the tries; here is how a request is made and
 * what its answer means (bus/webhook.h).
 *
 * While a receiver is left alone (bus/breaker.h) its messages are held, up to the room of this
 * consumer, and go as soon as it may be asked again: no try is used, nothing is written. */
#include <string.h>

#include "base/buf.h"
#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/stat.h"
#include "base/str.h"
#include "base/time.h"
#include "bind/webhook_lib.h"
#include "bind/work.h"
#include "bus/breaker.h"
#include "codec/cloudevents.h"

enum {
    HOOK_ANSWER_MAX = 1 << 20, /* of which only the status is read */
    HOOK_HEADERS_MAX = 32 << 10,
    HOOK_HOLD_LOOK_MS = 1000, /* at most between two looks at what is held */
    HOOK_BREAKERS_MAX = 1000, /* receivers of one group, whose scripts change */
};

struct hook_call {
    struct delivery *d;
    struct fetch *fetch;
    uint32_t ticket;
    char *url;
    struct buf headers, body;
};

static int64_t mono_ms(const struct bind_work *w)
{
    return (int64_t)(w->thread->world->mono_ns(w->thread->world) / 1000000);
}

static struct target_breaker *breaker_of(struct bind_work *w, const char *url)
{
    if (w->breakers == NULL)
        w->breakers = map_new();
    struct target_breaker *b = map_gets(w->breakers, url);
    if (b != NULL)
        return b;
    if (map_count(w->breakers) >= HOOK_BREAKERS_MAX) {
        map_free(w->breakers, mem_free);
        w->breakers = map_new();
    }
    b = mem_new(sizeof *b);
    map_puts(w->breakers, url, b);
    return b;
}

void hook_breakers_free(struct bind_work *w)
{
    if (w->breakers != NULL)
        map_free(w->breakers, mem_free);
}

static void call_free(struct hook_call *c)
{
    fetch_free(c->fetch);
    buf_fini(&c->headers);
    buf_fini(&c->body);
    mem_free(c->url);
    mem_free(c);
}

static void count(const char *outcome)
{
    stat_add(stat_counter("koan_webhook_calls_total", outcome,
                          "Requests to receivers of webhooks, by what came of them"),
             1);
}

static void call_note(const struct hook_call *c, int status, bool failed, const char *why)
{
    const struct bind_run *r = &c->d->run;
    const struct bind_thread *t = c->d->work->thread;
    trace_note(t->bind->trace, &(struct trace_event){.kind = TRACE_CALL,
                                                     .failed = failed,
                                                     .began_ns = r->began_ns,
                                                     .status = status,
                                                     .span = &r->span,
                                                     .correlation = r->env->correlation,
                                                     .causation = r->env->causation,
                                                     .name = c->d->label,
                                                     .subject = c->d->id,
                                                     .detail = why});
}

/* ---- what came of it ---- */

static void outcome_retry(struct delivery *d, const struct webhook_verdict *v, int status,
                          const char *why)
{
    struct world *w = d->work->thread->world;
    uint64_t chance;
    w->random(w, &chance, sizeof chance);
    int64_t wait = webhook_wait(d->grant.attempt, chance);
    d->how.settle.outcome = SETTLE_NACK;
    d->how.settle.delay_ms = wait < v->asked_ms ? v->asked_ms : wait;
    d->how.settle.code = (uint16_t)status;
    d->how.text = mem_strdup(why);
    d->how.text_len = strlen(why);
    log_warn("script", "%s: %s attempt=%u message=%s correlation=%s", d->label, why,
             d->grant.attempt, d->id, d->correlation);
}

/* The receiver wants no more: its messages wait until somebody decides. */
static void outcome_disable(struct delivery *d)
{
    d->how.settle.outcome = SETTLE_RELEASE;
    d->pauses = true;
    log_error("script",
              "%s: the receiver answered 410, it wants no more: queue %s is paused; when that is "
              "settled, `koan queue resume %s` goes on",
              d->label, d->grant.queue, d->grant.queue);
}

static void call_judge(struct hook_call *c)
{
    struct delivery *d = c->d;
    struct bind_work *w = d->work;
    struct world *world = w->thread->world;
    const struct err *e = fetch_error(c->fetch);
    int status = e->code == 0 || e->code == ERR_TOO_LARGE ? fetch_status(c->fetch) : 0;
    const char *after = status != 0 ? map_gets(fetch_headers(c->fetch), "retry-after") : NULL;
    struct webhook_verdict v = webhook_judge(status, after, world->wall_ms(world));
    char why[ERR_TEXT_MAX + 40];
    if (status != 0)
        snprintf(why, sizeof why, "the receiver answered %d", status);
    else
        snprintf(why, sizeof why, "%s", e->text);
    target_breaker_note(breaker_of(w, c->url), c->ticket, !v.failed, mono_ms(w));
    call_note(c, status, v.failed, v.outcome == WEBHOOK_DONE ? NULL : why);
    switch (v.outcome) {
    case WEBHOOK_DONE:
        count("outcome=\"done\"");
        break;
    case WEBHOOK_RETRY:
        count("outcome=\"retry\"");
        outcome_retry(d, &v, status, why);
        break;
    case WEBHOOK_DISABLE:
        count("outcome=\"disabled\"");
        outcome_disable(d);
        break;
    }
}

static void call_done(struct fetch *f, void *arg)
{
    struct hook_call *c = arg;
    struct delivery *d = c->d;
    (void)f;
    bool cut = bind_is_cut(d->work->thread, NULL);
    if (!cut && !d->lost)
        call_judge(c);
    d->call = NULL;
    call_free(c);
    if (cut || d->lost)
        delivery_drop(d); /* whoever has it next says it again, to the same id */
    else
        delivery_settle(d);
}

/* ---- the request ---- */

static const char *header_of(const json_t *headers, const char *name)
{
    return json_string_value(json_object_get(headers, name));
}

/* When it was published is in its id. */
static const char *event_time(const char *id, char out[TIME_TEXT])
{
    struct uuid u;
    if (!uuid_parse(id, strlen(id), &u))
        return NULL;
    int64_t ms = 0;
    for (int i = 0; i < 6; i++)
        ms = ms << 8 | u.b[i];
    time_format(ms, out);
    return out;
}

/* Those that have no name in struct cloudevent. */
static size_t event_extensions(const json_t *headers, struct cloudevent_extension *out)
{
    static const char known[] =
        " id source type subject time dataschema datacontenttype specversion ";
    const char *name;
    char word[CLOUDEVENT_NAME_MAX + 3];
    json_t *v;
    size_t n = 0;
    json_object_foreach((json_t *)headers, name, v)
    {
        snprintf(word, sizeof word, " %.*s ", CLOUDEVENT_NAME_MAX, name + strnlen(name, 3));
        if (str_starts(name, "ce-") && strstr(known, word) == NULL && n < CLOUDEVENT_EXTENSIONS_MAX)
            out[n++] =
                (struct cloudevent_extension){name + 3, json_string_value(v), CLOUDEVENT_TEXT};
    }
    return n;
}

/* What came as a CloudEvent leaves as the same one; else its type is the topic. */
static int event_write(struct hook_call *c, const json_t *hook, const json_t *headers,
                       struct err *e)
{
    struct cloudevent_extension extensions[CLOUDEVENT_EXTENSIONS_MAX];
    struct delivery *d = c->d;
    char time[TIME_TEXT];
    const char *type = header_of(headers, "ce-type"), *source = header_of(headers, "ce-source"),
               *subject = header_of(headers, "ce-subject"), *id = header_of(headers, "ce-id");
    struct cloudevent ev = {.id = id != NULL              ? id
                                  : d->message_id != NULL ? d->message_id
                                                          : d->id,
                            .source = source != NULL ? source : bind_webhook_source(hook),
                            .type = type != NULL ? type : d->topic,
                            .subject = subject != NULL ? subject : d->key,
                            .time = header_of(headers, "ce-time"),
                            .dataschema = header_of(headers, "ce-dataschema"),
                            .datacontenttype = d->type != NULL ? d->type : "application/json",
                            .extensions = extensions,
                            .extension_count = event_extensions(headers, extensions),
                            .data = d->body,
                            .data_n = d->body_len,
                            .has_data = true};
    if (ev.time == NULL)
        ev.time = event_time(ev.id, time);
    if (cloudevent_check(&ev, NULL) != 0) /* a key may be what no subject is */
        ev.subject = NULL;
    if (bind_webhook_is_structured(hook)) {
        buf_adds(&c->headers, "Content-Type: " CLOUDEVENT_TYPE "\r\n");
        return cloudevent_write(&ev, &c->body, e);
    }
    buf_add(&c->body, d->body, d->body_len);
    return cloudevent_write_headers(&ev, &c->headers, e);
}

static int call_sign(struct hook_call *c, const json_t *hook, struct err *e)
{
    struct bind_thread *t = c->d->work->thread;
    struct webhook_secret secrets[WEBHOOK_SECRETS_MAX];
    size_t n = 0;
    const char *id = c->d->message_id != NULL ? c->d->message_id : c->d->id;
    const json_t *app = json_object_get(bind_settings_of(t), "app");
    int rc = bind_webhook_secrets(hook, app, secrets, &n, e);
    if (rc == 0)
        rc = webhook_sign(secrets, n, id, t->world->wall_ms(t->world), c->body.data, c->body.len,
                          &c->headers, e);
    for (size_t i = 0; i < WEBHOOK_SECRETS_MAX; i++)
        webhook_secret_wipe(&secrets[i]);
    return rc;
}

static int call_compose(struct hook_call *c, const json_t *hook, struct err *e)
{
    char parent[TRACE_PARENT_TEXT];
    AUTO(json_unref)
    json_t *headers =
        c->d->headers != NULL ? json_read(c->d->headers, strlen(c->d->headers), NULL) : NULL;
    buf_adds(&c->headers, "User-Agent: koan\r\nAccept: */*\r\n");
    if (c->d->run.span.id != 0) {
        trace_format(&c->d->run.span, parent);
        buf_addf(&c->headers, "traceparent: %s\r\n", parent);
    }
    int rc = event_write(c, hook, headers, e);
    return rc != 0 ? rc : call_sign(c, hook, e);
}

static int call_send(struct hook_call *c, const json_t *hook, struct err *e)
{
    struct bind_thread *t = c->d->work->thread;
    int64_t timeout;
    int rc = call_compose(c, hook, e);
    if (rc != 0 || bind_webhook_timeout(hook, &timeout, e) != 0)
        return e->code;
    struct fetch_request r = {
        .method = "POST",
        .url = c->url,
        .headers = buf_str(&c->headers),
        .body = c->body.data,
        .body_n = c->body.len,
        .timeout_ms = (uint32_t)timeout,
        .connect_ms = FETCH_CONNECT_MS,
        .body_max = HOOK_ANSWER_MAX,
        .allow = json_string_value(json_object_get(bind_settings_of(t), "http_allow")),
        .unguarded = true};
    return fetch_start(&t->fetcher, &r, call_done, c, &c->fetch, e);
}

/* It could not even be sent: a secret that is missing, a thread that has too many. */
static void call_failed(struct hook_call *c, const struct err *e)
{
    struct delivery *d = c->d;
    struct webhook_verdict v = {.outcome = WEBHOOK_RETRY};
    count("outcome=\"not_sent\"");
    target_breaker_note(breaker_of(d->work, c->url), c->ticket, true, mono_ms(d->work));
    call_note(c, 0, true, e->text);
    outcome_retry(d, &v, 0, e->text);
    d->call = NULL;
    call_free(c);
    delivery_settle(d);
}

static void call_start(struct bind_work *w, struct delivery *d, const json_t *hook, uint32_t ticket)
{
    struct err e = ERR_INIT;
    struct hook_call *c = d->call = mem_new(sizeof *c);
    c->d = d;
    c->ticket = ticket;
    c->url = mem_strdup(bind_webhook_url(hook));
    buf_init(&c->headers, HOOK_HEADERS_MAX);
    buf_init(&c->body, CORE_BODY_MAX * 2);
    bind_run_init(&d->run, w->thread->set, &d->env);
    bind_note_begin(&d->run, w->thread);
    if (call_send(c, hook, &e) != 0)
        call_failed(c, &e);
}

/* ---- while it is left alone ---- */

void hook_again(struct bind_work *w)
{
    struct list *node, held;
    list_init(&held);
    list_splice(&held, &w->gathered);
    while ((node = list_pop(&held)) != NULL)
        hook_start(w, LIST_OF(node, struct delivery, here));
}

static void hold_over(struct world_timer *t)
{
    hook_again(LIST_OF(t, struct bind_work, gather_timer));
}

static void hold(struct bind_work *w, struct delivery *d, int64_t wait_ms)
{
    struct world *world = w->thread->world;
    /* While a probe is out nobody knows for how long: they are looked at again soon. */
    wait_ms = wait_ms < 1 ? 1 : wait_ms > HOOK_HOLD_LOOK_MS ? HOOK_HOLD_LOOK_MS : wait_ms;
    if (bind_deliver_left(d) < WEBHOOK_HOLD_MS / 4) {
        d->how.settle.outcome = SETTLE_RELEASE;
        delivery_settle(d);
        return;
    }
    list_push(&w->gathered, &d->here);
    world->timer_stop(world, &w->gather_timer);
    w->gather_timer.fire = hold_over;
    world->timer_start(world, &w->gather_timer, (uint64_t)wait_ms);
}

void hook_start(struct bind_work *w, struct delivery *d)
{
    uint32_t ticket;
    int64_t wait_ms = 0;
    const struct bind_listener *l = bind_listener_find(w->thread->set, d->grant.queue, d->topic);
    if (d->lost) {
        delivery_drop(d);
        return;
    }
    if (l == NULL || l->kind != LISTENS_WEBHOOK) {
        delivery_nobody(d);
        return;
    }
    snprintf(d->label, sizeof d->label, "%s", l->label);
    if (target_breaker_may(breaker_of(w, bind_webhook_url(l->webhook)), mono_ms(w), &ticket,
                           &wait_ms))
        call_start(w, d, l->webhook, ticket);
    else
        hold(w, d, wait_ms);
}

/* ---- paused, by a 410 or by people ---- */

static void ask_cb(struct queue_ask *a, const struct core *core)
{
    struct bind_work *w = LIST_OF(a, struct bind_work, ask);
    struct core_queue q;
    struct core_counts n;
    w->is_paused = core_find(core, "default", w->queue, &q, &n, NULL) == 0 && n.paused;
}

static void asked_cb(struct queue_ask *a)
{
    struct bind_work *w = LIST_OF(a, struct bind_work, ask);
    struct bind *b = w->bind;
    json_t *list = json_array();
    w->asking = false;
    w->paused = w->is_paused;
    LIST_EACH(node, &b->work->others)
    {
        const struct bind_work *one = LIST_OF(node, struct bind_work, node);
        if (one->kind == LISTENS_WEBHOOK && one->wanted && one->paused)
            json_array_append_new(list, json_string(one->queue));
    }
    char *text = bind_json_text(list);
    json_decref(list);
    pthread_mutex_lock(&b->status_lock);
    mem_free(b->hooks_paused);
    b->hooks_paused = text;
    pthread_mutex_unlock(&b->status_lock);
}

void hook_look(struct bind_work *w)
{
    uint64_t now = w->thread->world->mono_ns(w->thread->world);
    if (w->kind != LISTENS_WEBHOOK || w->asking ||
        (w->asked_ns != 0 && now - w->asked_ns < WORK_HOOK_LOOK_MS * UINT64_C(1000000)))
        return;
    w->asking = true;
    w->asked_ns = now;
    w->ask.ask = ask_cb;
    w->ask.done = asked_cb;
    w->ask.home = w->thread->runner;
    queues_ask(w->bind->queues, &w->ask);
}

json_t *bind_webhooks_paused(struct bind *b)
{
    pthread_mutex_lock(&b->status_lock);
    json_t *list = b->hooks_paused != NULL
                       ? json_read(b->hooks_paused, strlen(b->hooks_paused), NULL)
                       : json_array();
    pthread_mutex_unlock(&b->status_lock);
    return list;
}
