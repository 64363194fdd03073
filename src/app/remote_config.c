#include "app/remote_config.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "app/settings.h"
#include "base/err.h"
#include "base/list.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/stat.h"
#include "base/str.h"
#include "base/time.h"
#include "http/fetch.h"
#include "io/file.h"
#include "io/loop.h"
#include "io/world.h"

enum { REMOTE_COPY_MAX = 4 * REMOTE_DOCUMENT_MAX, REMOTE_ETAG_MAX = 1000 };

struct remote_config {
    struct loop *loop;
    struct fetch_shared *shared;
    struct fetcher fetcher;
    struct fetch *fetch; /* under way */
    struct world_timer timer;
    struct remote_options o;
    char *url, *token, *copy, *etag, *origin;
    uint64_t asked_ns;
    enum remote_state state;
    char words[ERR_TEXT_MAX];
    json_t *rows;
};

/* ---- the document ---- */

int remote_config_read(const char *text, size_t n, const char *origin, json_t **out, struct err *e)
{
    struct err own = ERR_INIT;
    const char *key;
    json_t *value;
    e = e != NULL ? e : &own;
    AUTO(json_unref) json_t *document = json_read(text, n, e);
    AUTO(json_unref) json_t *flat = json_object();
    AUTO(json_unref) json_t *rows = json_object();
    if (document == NULL)
        return e->code;
    if (!json_is_object(document))
        return err_set(e, ERR_INVALID, "an object was expected, not %s", json_type_name(document));
    if (config_flatten(document, flat, e) != 0)
        return e->code;
    json_object_foreach(flat, key, value)
    {
        json_t *right = NULL;
        if (config_check(key, value, &right, e) != 0)
            return e->code;
        json_object_set_new(rows, key, json_pack("{s:o, s:s}", "value", right, "origin", origin));
    }
    *out = TAKE(rows);
    return 0;
}

/* ---- the last copy ---- */

static void remote_save(const struct remote_config *r, const struct buf *document)
{
    char at[TIME_TEXT];
    struct world *w = loop_world(r->loop);
    struct err e = ERR_INIT;
    AUTO(buf_fini) struct buf text = BUF_INIT(REMOTE_COPY_MAX);
    time_format(w->wall_ms(w), at);
    AUTO(json_unref)
    json_t *copy =
        json_pack("{s:s, s:s, s:s, s:s%}", "source", r->url, "etag", r->etag != NULL ? r->etag : "",
                  "at", at, "document", document->data, document->len);
    if (copy != NULL && json_print(copy, &text, &e) == 0 && !buf_failed(&text))
        file_write(r->copy, text.data, text.len, 0600, &e);
    if (copy == NULL || e.code != 0)
        stat_add(stat_counter("koan_config_remote_copy_failures_total", "",
                              "Copies of the remote configuration that could not be kept"),
                 1);
}

static void remote_load(struct remote_config *r)
{
    AUTO(mem_freep) char *text = NULL;
    size_t n = 0;
    if (file_read(r->copy, REMOTE_COPY_MAX, &text, &n, NULL) != 0)
        return;
    AUTO(json_unref) json_t *copy = json_read(text, n, NULL);
    const char *source = json_string_value(json_object_get(copy, "source")),
               *etag = json_string_value(json_object_get(copy, "etag")),
               *at = json_string_value(json_object_get(copy, "at"));
    const json_t *document = json_object_get(copy, "document");
    json_t *rows = NULL;
    if (source == NULL || strcmp(source, r->url) != 0 || !json_is_string(document) ||
        remote_config_read(json_string_value(document), json_string_length(document), r->origin,
                           &rows, NULL) != 0)
        return;
    json_decref(r->rows);
    r->rows = rows;
    r->etag = etag != NULL && *etag != '\0' ? mem_strdup(etag) : NULL;
    r->state = REMOTE_COPY;
    snprintf(r->words, sizeof r->words, "not asked yet; the copy of %.40s is in force",
             at != NULL ? at : "an earlier start");
}

/* ---- asking ---- */

static void remote_count(const char *result)
{
    AUTO(mem_freep) char *labels = mem_printf("result=\"%s\"", result);
    stat_add(stat_counter("koan_config_remote_fetches_total", labels,
                          "Times that the remote configuration was asked for"),
             1);
}

static void remote_failed(struct remote_config *r, enum remote_state state, const char *why)
{
    r->state = r->state == REMOTE_NEVER || (r->state == REMOTE_COPY && state == REMOTE_STALE)
                   ? r->state
                   : state;
    static const char *const outcomes[] = {
        [REMOTE_NEVER] = "nothing of it was ever fetched",
        [REMOTE_COPY] = "the copy of an earlier start is in force",
        [REMOTE_FRESH] = "",
        [REMOTE_STALE] = "what was fetched before stays in force",
        [REMOTE_REFUSED] = "nothing of it was taken over, what was fetched before stays in force"};
    snprintf(r->words, sizeof r->words, "%.200s: %.200s; %s", r->origin, why, outcomes[r->state]);
    remote_count(state == REMOTE_REFUSED ? "refused" : "failed");
}

static void remote_fresh(struct remote_config *r, const char *result)
{
    r->state = REMOTE_FRESH;
    snprintf(r->words, sizeof r->words, "%.400s is in force", r->origin);
    remote_count(result);
}

static void remote_take(struct remote_config *r, const struct fetch *f)
{
    struct err e = ERR_INIT;
    json_t *rows = NULL;
    const struct buf *body = fetch_body(f);
    const char *etag = map_gets(fetch_headers(f), "etag");
    if (remote_config_read(body->data != NULL ? body->data : "", body->len, r->origin, &rows, &e) !=
        0) {
        remote_failed(r, REMOTE_REFUSED, e.text);
        return;
    }
    bool same = json_equal(rows, r->rows) && r->state != REMOTE_NEVER;
    json_decref(r->rows);
    r->rows = rows;
    mem_free(r->etag);
    r->etag = etag != NULL && strlen(etag) < REMOTE_ETAG_MAX ? mem_strdup(etag) : NULL;
    remote_fresh(r, same ? "same" : "changed");
    remote_save(r, body);
    if (!same && r->o.changed != NULL)
        r->o.changed(r->o.arg, r->rows);
}

static void remote_done(struct fetch *f, void *arg)
{
    struct remote_config *r = arg;
    const struct err *e = fetch_error(f);
    char words[64];
    if (e->code != 0) {
        remote_failed(r, REMOTE_STALE, e->text);
    } else if (fetch_status(f) == 304 && r->state != REMOTE_NEVER) {
        remote_fresh(r, "same");
    } else if (fetch_status(f) == 200) {
        remote_take(r, f);
    } else {
        snprintf(words, sizeof words, "it answered %d", fetch_status(f));
        remote_failed(r, REMOTE_STALE, words);
    }
    r->fetch = NULL;
    fetch_free(f);
    if (r->o.attempted != NULL)
        r->o.attempted(r->o.arg, r->state, r->words);
}

static uint64_t remote_now_ns(const struct remote_config *r)
{
    struct world *w = loop_world(r->loop);
    return w->mono_ns(w);
}

static void remote_ask(struct remote_config *r)
{
    struct err e = ERR_INIT;
    AUTO(mem_freep)
    char *headers =
        mem_printf("Accept: application/json\r\n%s%s%s", r->etag != NULL ? "If-None-Match: " : "",
                   r->etag != NULL ? r->etag : "", r->etag != NULL ? "\r\n" : "");
    AUTO(mem_freep)
    char *secret = *r->token != '\0' ? mem_printf("Authorization: Bearer %s\r\n", r->token) : NULL;
    struct fetch_request q = {.method = "GET",
                              .url = r->url,
                              .headers = headers,
                              .secret_headers = secret,
                              .timeout_ms = REMOTE_TIMEOUT_MS,
                              .connect_ms = REMOTE_CONNECT_MS,
                              .body_max = REMOTE_DOCUMENT_MAX,
                              .allow = "*"};
    r->asked_ns = remote_now_ns(r);
    if (fetch_start(&r->fetcher, &q, remote_done, r, &r->fetch, &e) == 0)
        return;
    r->fetch = NULL;
    remote_failed(r, REMOTE_STALE, e.text);
    if (r->o.attempted != NULL)
        r->o.attempted(r->o.arg, r->state, r->words);
}

static void remote_turn(struct world_timer *t)
{
    struct remote_config *r = LIST_OF(t, struct remote_config, timer);
    struct world *w = loop_world(r->loop);
    uint64_t wait = r->o.interval_ms;
    if (r->state != REMOTE_FRESH && wait > REMOTE_RETRY_MS)
        wait = REMOTE_RETRY_MS;
    if (r->fetch == NULL && (remote_now_ns(r) - r->asked_ns) / 1000000 >= wait)
        remote_ask(r);
    w->timer_start(w, t, wait < REMOTE_TURN_MS ? wait : REMOTE_TURN_MS);
}

/* ---- the whole ---- */

struct remote_config *remote_config_open(const struct remote_options *o)
{
    struct remote_config *r = mem_new(sizeof *r);
    r->o = *o;
    r->loop = o->loop;
    r->url = mem_strdup(o->url);
    r->token = mem_strdup(o->token);
    r->copy = mem_strdup(o->copy);
    r->origin = mem_printf("remote %.*s", (int)strcspn(o->url, "?"), o->url);
    r->rows = json_object();
    r->shared = fetch_shared_new();
    fetcher_init(&r->fetcher, r->loop, r->shared);
    snprintf(r->words, sizeof r->words, "%.400s was never fetched", r->origin);
    remote_load(r);
    return r;
}

static void remote_wait(struct remote_config *r)
{
    while (r->fetch != NULL || !fetcher_is_idle(&r->fetcher)) {
        loop_poll(r->loop);
        poll(NULL, 0, 1);
    }
}

void remote_config_fetch_now(struct remote_config *r)
{
    remote_ask(r);
    remote_wait(r);
}

void remote_config_start(struct remote_config *r)
{
    struct world *w = loop_world(r->loop);
    r->timer.fire = remote_turn;
    w->timer_start(w, &r->timer, REMOTE_TURN_MS);
}

void remote_config_close(struct remote_config *r)
{
    if (r == NULL)
        return;
    struct world *w = loop_world(r->loop);
    w->timer_stop(w, &r->timer);
    r->o.changed = NULL;
    r->o.attempted = NULL;
    if (r->fetch != NULL)
        fetch_cancel(r->fetch);
    remote_wait(r);
    fetch_shared_free(r->shared);
    json_decref(r->rows);
    mem_free(r->url);
    mem_free(r->token);
    mem_free(r->copy);
    mem_free(r->etag);
    mem_free(r->origin);
    mem_free(r);
}

enum remote_state remote_config_state(const struct remote_config *r)
{
    return r->state;
}

const char *remote_config_words(const struct remote_config *r)
{
    return r->words;
}

const json_t *remote_config_rows(const struct remote_config *r)
{
    return r->rows;
}
