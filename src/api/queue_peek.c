/* Records without leasing them: GET .../messages, GET, PATCH and DELETE .../messages/{id}.
 *
 *   which (ledger's thread) -> their ids (pool) -> how they stand (ledger's thread) -> bodies
 * (pool)
 *
 * A record may change between the two looks; what is shown of it is the second. One that has left
 * the queue by then is left out. */
#include <string.h>

#include "api/queue_priv.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"

struct queue_peek {
    struct queue_looking look; /* first: its ask serves both looks */
    struct queue_reading reading;
    struct http_request *req;
    enum rec_state state;
    uint64_t after;
    size_t max, limit; /* looked at; shown */
    json_t *find;      /* NULL: all */
    bool more;
    struct err err;
};

static void peek_free(struct queue_peek *p)
{
    queue_shown_free(p->look.shown, p->look.count);
    json_decref(p->find);
    mem_free(p);
}

static void peek_refuse(struct queue_peek *p)
{
    struct http_request *req = p->req;
    struct err e = p->err;
    peek_free(p);
    http_problem(req, &e);
}

static struct queue_peek *peek_new(struct http_request *req, size_t max)
{
    const char *tenant, *name;
    if (!queue_of_route(req, &tenant, &name))
        return NULL;
    struct queue_peek *p = mem_new(sizeof *p);
    p->req = req;
    p->look.tenant = tenant;
    p->look.queue = name;
    p->look.shown = mem_new_array(max, sizeof *p->look.shown);
    p->max = max;
    return p;
}

/* ---- a page ---- */

static struct queue_peek *peek_of(struct queue_reading *r)
{
    return (struct queue_peek *)((char *)r - offsetof(struct queue_peek, reading));
}

static void peek_answer(struct queue_reading *r)
{
    struct queue_peek *p = peek_of(r);
    struct queue_looking *l = &p->look;
    struct http_request *req = p->req;
    struct buf out = BUF_INIT(API_ANSWER_MAX);
    p->err = r->job.err;
    buf_adds(&out, "{\"items\":[");
    for (size_t i = 0; i < r->read && p->err.code == 0; i++) {
        const struct queue_shown *s = &l->shown[i];
        if (!s->has_view || s->unwanted)
            continue;
        if (out.data[out.len - 1] != '[')
            buf_addc(&out, ',');
        p->err = s->err;
        queue_shown_print(s, &out);
    }
    if (p->err.code != 0) {
        buf_fini(&out);
        peek_refuse(p);
        return;
    }
    buf_adds(&out, "],\"next\":");
    if ((p->more || r->read < r->count) && r->read > 0)
        buf_addf(&out, "\"%llu\"}", (unsigned long long)l->shown[r->read - 1].listed);
    else
        buf_adds(&out, "null}");
    peek_free(p);
    http_respond_buf(req, 200, API_JSON, &out);
}

static void peek_looked(struct queue_looking *l)
{
    struct queue_peek *p = (struct queue_peek *)l;
    p->reading = (struct queue_reading){.shown = l->shown,
                                        .count = l->count,
                                        .find = p->find,
                                        .find_max = p->limit,
                                        .done = peek_answer};
    queue_read_start(&p->reading, p->req);
}

static void peek_read(struct queue_reading *r)
{
    struct queue_peek *p = peek_of(r);
    p->err = r->job.err;
    for (size_t i = 0; i < p->look.count && p->err.code == 0; i++)
        p->err = p->look.shown[i].err;
    if (p->err.code != 0) {
        peek_refuse(p);
        return;
    }
    p->look.done = peek_looked;
    queue_look_start(&p->look, p->req);
}

static void peek_ask(struct queue_ask *a, const struct core *c)
{
    struct queue_peek *p = (struct queue_peek *)a;
    struct core_counts n;
    if (core_counts(c, p->look.tenant, p->look.queue, &n, &p->err) != 0)
        return;
    uint64_t places[QUEUE_FIND_MAX + 1];
    size_t count =
        core_list(c, p->look.tenant, p->look.queue, p->state, p->after, places, p->max + 1);
    p->more = count > p->max;
    p->look.count = p->more ? p->max : count;
    for (size_t i = 0; i < p->look.count; i++)
        p->look.shown[i].place = p->look.shown[i].listed = places[i];
}

static void peek_asked(struct queue_ask *a)
{
    struct queue_peek *p = (struct queue_peek *)a;
    if (p->err.code != 0) {
        peek_refuse(p);
        return;
    }
    p->reading = (struct queue_reading){
        .shown = p->look.shown, .count = p->look.count, .ids_only = true, .done = peek_read};
    queue_read_start(&p->reading, p->req);
}

/* NULL: there is none, or it was refused. */
static json_t *peek_find(struct http_request *req, struct err *e)
{
    const char *text = http_query(req, "find");
    if (text == NULL)
        return NULL;
    json_t *find = json_read(text, strlen(text), e);
    if (find == NULL) {
        err_context(e, "find");
        return NULL;
    }
    queue_find_check(find, e);
    if (e->code == 0)
        return find;
    json_decref(find);
    return NULL;
}

static void peek_get(struct http_request *req)
{
    int64_t limit, after;
    struct err e = ERR_INIT;
    const char *state = http_query(req, "state");
    bool history;
    if (!API_QUERY_ONLY(req, "state", "after", "limit", "find", "history") ||
        !api_query_bool(req, "history", false, &history) ||
        !api_query_int(req, "limit", 1, QUEUE_PEEK_MAX, QUEUE_PEEK, &limit) ||
        !api_query_int(req, "after", 0, INT64_MAX, 0, &after))
        return;
    enum rec_state wanted = queue_state_named(state != NULL ? state : "available");
    if (wanted == 0) {
        http_refuse(req, ERR_INVALID,
                    "state: '%.40s' is no state; there are scheduled, available, executing, "
                    "retryable, completed, discarded, cancelled",
                    state);
        return;
    }
    json_t *find = peek_find(req, &e);
    if (e.code != 0) {
        http_problem(req, &e);
        return;
    }
    struct queue_peek *p = peek_new(req, find != NULL ? QUEUE_FIND_MAX : QUEUE_PEEK_MAX);
    if (p == NULL) {
        json_decref(find);
        return;
    }
    p->find = find;
    p->look.past = history;
    p->limit = (size_t)limit;
    p->max = find != NULL ? QUEUE_FIND_MAX : p->limit;
    p->after = (uint64_t)after;
    p->state = wanted;
    p->look.ask = (struct queue_ask){
        .home = loop_runner(api_thread_of(req)->loop), .ask = peek_ask, .done = peek_asked};
    queues_ask(api_thread_of(req)->api->o.queues, &p->look.ask);
}

/* ---- one ---- */

static void one_read(struct queue_reading *r)
{
    struct queue_peek *p = (struct queue_peek *)((char *)r - offsetof(struct queue_peek, reading));
    struct http_request *req = p->req;
    p->err = r->job.err.code != 0 ? r->job.err : p->look.shown[0].err;
    if (p->err.code != 0) {
        peek_refuse(p);
        return;
    }
    struct buf out = BUF_INIT(API_ANSWER_MAX);
    queue_shown_print(&p->look.shown[0], &out);
    peek_free(p);
    http_respond_buf(req, 200, API_JSON, &out);
}

static void one_looked(struct queue_looking *l)
{
    struct queue_peek *p = (struct queue_peek *)l;
    p->err = l->shown[0].err;
    if (p->err.code == ERR_NOT_FOUND)
        err_field(&p->err, ERR_NOT_FOUND, "id",
                  "there is no such message in queue '%s'; one that was acked is kept only where "
                  "the queue says keep_completed",
                  l->queue);
    if (p->err.code != 0) {
        peek_refuse(p);
        return;
    }
    p->reading = (struct queue_reading){.shown = l->shown, .count = 1, .done = one_read};
    queue_read_start(&p->reading, p->req);
}

static bool one_id(struct http_request *req, struct uuid *out)
{
    const char *id = http_param(req, "id");
    if (uuid_parse(id, strlen(id), out))
        return true;
    http_refuse(req, ERR_INVALID, "'%.64s' is no id of a message: a UUID of 36 characters", id);
    return false;
}

static void one_get(struct http_request *req)
{
    struct uuid id;
    if (!API_QUERY_NONE(req) || !one_id(req, &id))
        return;
    struct queue_peek *p = peek_new(req, 1);
    if (p == NULL)
        return;
    p->look.count = 1;
    p->look.past = true;
    p->look.shown[0].id = id;
    p->look.done = one_looked;
    queue_look_start(&p->look, req);
}

static const struct http_route peek_table[] = {
    {HTTP_VERB_GET, "/api/queues/:vhost/:name/messages", peek_get, 0, 0},
    {HTTP_VERB_GET, "/api/queues/:vhost/:name/messages/:id", one_get, 0, 0},
};
const struct api_routes api_queue_peek_routes = {peek_table, ARRAY_LEN(peek_table)};
