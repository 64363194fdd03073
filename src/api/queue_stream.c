/* POST /api/queues/{vhost}/{name}/stream: messages as lines, for as long as the sender likes.
 *
 *   -> {"body": {"to": "ann"}, "key": "c-1"}
 *   <- {"line":1,"id":"..","duplicate":false,"merged":false,"depth":1}
 *   -> {"body": 7, "prio": 3}
 *   <- {"line":2,"error":{..}}
 *
 * Each line is a unit of its own and is answered when it is durable, in the order of the lines; the
 * sender has as many under way as it likes. One that is refused refuses no other.
 *
 * One that is to be merged with what waits (queue_merge.c) is read, merged and sent; those of one
 * text after each other, in their order. */
#include <string.h>

#include "api/flow_priv.h"
#include "api/queue_priv.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"

struct sending {
    struct flow flow;   /* first */
    struct list merges; /* struct merge_line, in the order of the lines */
    bool create;
    char queue[CORE_TEXT_MAX + 1];
};

/* ---- lines that are merged ---- */

struct merge_line {
    struct queue_merging merging; /* first */
    struct list link;
    struct flow_item *item;
    struct queue_draft draft;
    json_t *line; /* that the texts of the draft are of */
    struct queue_merged merged;
    int tries;
};

static void merge_read(struct queue_merging *m)
{
    struct merge_line *x = (struct merge_line *)m;
    struct flow_item *it = x->item;
    struct queue_message message = x->draft.m;
    it->err = x->merged.err;
    if (it->err.code == 0) {
        queue_merged_use(&x->merged, &message);
        queue_txn_send(flow_txn(it, false), &message, &it->err);
    }
    buf_fini(&x->merged.body);
    flow_item_start(it); /* x may be gone */
}

static void merge_begin(struct merge_line *x)
{
    queue_merged_init(&x->merged, &x->draft);
    x->merging.list = &x->merged;
    x->merging.count = 1;
    x->merging.done = merge_read;
    queue_merge_start(&x->merging, x->item->flow->req);
}

/* The first with this text; NULL: there is none. */
static struct merge_line *merge_first(const struct sending *s, const char *unique)
{
    LIST_EACH(it, (struct list *)&s->merges)
    {
        struct merge_line *x = LIST_OF(it, struct merge_line, link);
        if (strcmp(x->draft.m.send.unique, unique) == 0)
            return x;
    }
    return NULL;
}

static void merge_add(struct sending *s, struct flow_item *it, struct queue_draft *d, json_t *o)
{
    struct merge_line *x = it->more = mem_new(sizeof *x);
    bool first = merge_first(s, d->m.send.unique) == NULL;
    x->item = it;
    x->line = json_incref(o);
    queue_draft_move(&x->draft, d);
    list_push(&s->merges, &x->link);
    if (first)
        merge_begin(x);
}

/* Of any line: is there no more to do? */
static bool sending_over(struct flow_item *it)
{
    struct sending *s = (struct sending *)it->flow;
    struct merge_line *x = it->more;
    if (x == NULL)
        return true;
    if (queue_merge_is_lost(&it->err) && ++x->tries < QUEUE_MERGE_TRIES) {
        flow_item_again(it);
        merge_begin(x);
        return false;
    }
    it->more = NULL;
    list_remove(&x->link);
    struct merge_line *next = merge_first(s, x->draft.m.send.unique);
    queue_draft_fini(&x->draft);
    json_decref(x->line);
    mem_free(x);
    if (next != NULL)
        merge_begin(next);
    return true;
}

/* ---- lines ---- */

/* False: it is started later, merged. */
static bool sending_add(struct sending *s, struct flow_item *it, json_t *o)
{
    struct queue_draft d = {.held = NULL};
    int rc = queue_draft_item(&d, o, api_now_ms(s->flow.thread), NULL, &it->err);
    bool merges = rc == 0 && d.merge;
    if (rc == 0) {
        d.m.send.create |= s->create;
        queue_draft_address(&d, s->flow.req, s->queue);
    }
    if (merges)
        merge_add(s, it, &d, o);
    else if (rc == 0)
        queue_txn_send(flow_txn(it, false), &d.m, &it->err);
    queue_draft_fini(&d);
    return !merges;
}

static void sending_line(struct flow *f, const char *p, size_t n)
{
    struct flow_item *it = flow_item_new(f, n);
    if (it == NULL)
        return;
    AUTO(json_unref) json_t *o = json_read(p, n, &it->err);
    if (o == NULL || sending_add((struct sending *)f, it, o))
        flow_item_start(it);
}

static void sending_print(struct flow_item *it, struct buf *out)
{
    buf_addf(out, "{\"line\":%llu,", (unsigned long long)it->n);
    if (it->err.code == 0) {
        queue_print_sent(out, it->result);
        buf_addc(out, '\n');
        return;
    }
    buf_adds(out, "\"error\":");
    api_print_problem(out, &it->err, NULL);
    buf_adds(out, "}\n");
}

static void sending_finish(struct flow *f)
{
    ASSERT(list_is_empty(&((struct sending *)f)->merges));
    flow_end(f);
    mem_free(f);
}

static const struct flow_calls sending_calls = {
    .line = sending_line, .over = sending_over, .print = sending_print, .finish = sending_finish};

static void stream_post(struct http_request *req)
{
    const char *tenant, *name;
    bool create;
    struct err e = ERR_INIT;
    if (!queue_of_route(req, &tenant, &name) || !API_QUERY_ONLY(req, "create") ||
        !api_query_bool(req, "create", false, &create) || !flow_may(req))
        return;
    if (create && queue_name_check(name, "queue", &e) != 0) {
        http_problem(req, &e);
        return;
    }
    struct sending *s = mem_new(sizeof *s);
    list_init(&s->merges);
    s->create = create;
    str_copy(s->queue, sizeof s->queue, name);
    if (flow_open(&s->flow, req, &sending_calls))
        flow_begin(&s->flow);
    else
        mem_free(s);
}

static const struct http_route stream_table[] = {
    {HTTP_VERB_POST, "/api/queues/:vhost/:name/stream", stream_post, HTTP_LONG | HTTP_STREAM_BODY,
     0},
};
const struct api_routes api_queue_stream_routes = {stream_table, ARRAY_LEN(stream_table)};
