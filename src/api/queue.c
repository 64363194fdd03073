/* /api/queues: what queues there are, and what is done with one as a whole. RabbitMQ's names for
 * what it knows too, so that its dashboards and scalers read them: `messages` is ready and
 * unacknowledged; what waits for its time is `scheduled` and `retryable`. All from counters. */
#include <string.h>

#include "api/queue_priv.h"
#include "base/arena.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/time.h"

enum {
    LIST_STEP = 250, /* queues that are copied at once on the ledger's thread */
    LIST_PAGE = 100, /* unless said otherwise */
    LIST_PAGE_MAX = 500,
};

/* ---- the route ---- */

int queue_name_check(const char *name, const char *field, struct err *e)
{
    size_t n = strlen(name);
    size_t right =
        strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-");
    if (n >= 1 && n <= 128 && n == right)
        return 0;
    return err_field(e, ERR_INVALID, field,
                     "'%.64s' is no name of a %s: 1 to 128 of letters, digits, '.', '_' and '-'",
                     name, strcmp(field, "gate") == 0 ? "gate" : "queue");
}

static bool queue_vhost(struct http_request *req, const char **tenant)
{
    const char *vhost = http_param(req, "vhost");
    *tenant = API_TENANT;
    if (strcmp(vhost, "/") == 0 || strcmp(vhost, API_TENANT) == 0)
        return true;
    http_refuse(req, ERR_NOT_FOUND,
                "there is no vhost '%.64s': a vhost is a tenant, and this node has '" API_TENANT
                "', which is also %%2F",
                vhost);
    return false;
}

bool queue_of_route(struct http_request *req, const char **tenant, const char **name)
{
    struct err e = ERR_INIT;
    *name = http_param(req, "name");
    if (!queue_vhost(req, tenant))
        return false;
    if (queue_name_check(*name, "queue", &e) == 0)
        return true;
    http_problem(req, &e);
    return false;
}

/* ---- showing ---- */

/* A copy of what the core has, for another thread. */
struct queue_row {
    struct core_queue queue;
    struct core_counts counts;
    char name[CORE_TEXT_MAX + 1], dead_to[CORE_TEXT_MAX + 1], script[CORE_TEXT_MAX + 1];
};

static void row_fill(struct queue_row *r, const struct core_queue *q, const struct core_counts *n)
{
    r->queue = *q;
    r->counts = *n;
    str_copy(r->name, sizeof r->name, q->name);
    str_copy(r->dead_to, sizeof r->dead_to, q->dead_to);
    r->queue.tenant = API_TENANT;
    r->queue.name = NULL; /* the row may move: row_queue() */
    r->queue.dead_to = q->dead_to != NULL ? "" : NULL;
    r->queue.sending = core_sending_copy(q->sending);
    str_copy(r->script, sizeof r->script, q->script);
    r->queue.script = q->script != NULL ? "" : NULL;
}

static void row_fini(struct queue_row *r)
{
    mem_free((struct core_send *)(uintptr_t)r->queue.sending);
    r->queue.sending = NULL;
}

static void row_stats(const struct core_counts *n, struct buf *out)
{
    buf_addf(out,
             "\"message_stats\":{\"publish\":%llu,\"deliver\":%llu,\"deliver_get\":%llu,"
             "\"ack\":%llu,\"nack\":%llu,\"discard\":%llu}",
             (unsigned long long)n->sent, (unsigned long long)n->granted,
             (unsigned long long)n->granted, (unsigned long long)n->acked,
             (unsigned long long)n->nacked, (unsigned long long)n->dropped);
}

/* Which file declares it, and what it says. */
static void row_script(const struct queue_row *r, struct buf *out)
{
    buf_adds(out, ",\"script\":");
    json_print_string(out, r->script, strlen(r->script));
    buf_adds(out, ",\"scripted\":[");
    for (uint32_t mask = r->queue.scripted; mask != 0; mask &= mask - 1) {
        const char *name = core_option_name(mask & -mask);
        buf_addf(out, "%s\"%s\"", mask == r->queue.scripted ? "" : ",", name);
    }
    buf_addc(out, ']');
}

static void row_print(const struct queue_row *r, int64_t now, struct buf *out)
{
    const struct core_counts *n = &r->counts;
    struct core_queue q = r->queue;
    q.name = r->name;
    q.dead_to = q.dead_to != NULL ? r->dead_to : NULL;
    int64_t age = n->oldest_at == INT64_MAX || n->oldest_at > now ? 0 : now - n->oldest_at;
    buf_adds(out, "{\"name\":");
    json_print_string(out, r->name, strlen(r->name));
    buf_addf(out,
             ",\"vhost\":\"%s\",\"type\":\"koan\",\"durable\":true,\"auto_delete\":false,"
             "\"exclusive\":false,\"state\":\"%s\",\"paused\":%s,\"closed\":%s,\"consumers\":%u,",
             q.tenant, n->paused ? "paused" : "running", n->paused ? "true" : "false",
             n->closed ? "true" : "false", n->consumers);
    buf_addf(out,
             "\"messages\":%llu,\"messages_ready\":%llu,\"messages_unacknowledged\":%llu,"
             "\"message_bytes\":%llu,",
             (unsigned long long)(n->available + n->executing), (unsigned long long)n->available,
             (unsigned long long)n->executing, (unsigned long long)n->bytes);
    buf_addf(out,
             "\"scheduled\":%llu,\"retryable\":%llu,\"completed\":%llu,\"discarded\":%llu,"
             "\"cancelled\":%llu,\"overdue\":%llu,\"oldest_age_seconds\":%.3f,",
             (unsigned long long)n->scheduled, (unsigned long long)n->retryable,
             (unsigned long long)n->completed, (unsigned long long)n->discarded,
             (unsigned long long)n->cancelled, (unsigned long long)n->overdue, (double)age / 1000);
    if (n->unhandled_at != 0) {
        char at[TIME_TEXT];
        time_format(n->unhandled_at, at);
        buf_addf(out, "\"handler_gone_at\":\"%s\",", at);
    }
    if (n->unfit > 0)
        buf_addf(out, "\"waiting_for_label\":%llu,", (unsigned long long)n->unfit);
    row_stats(n, out);
    buf_adds(out, ",\"options\":{");
    queue_declared_print(&q, out);
    buf_addc(out, '}');
    if (q.script != NULL)
        row_script(r, out);
    buf_addc(out, '}');
}

/* ---- one queue ---- */

struct queue_one {
    struct queue_ask ask; /* first */
    struct http_request *req;
    const char *tenant, *name;
    struct queue_row row;
    struct err err;
    void (*next)(struct queue_one *o);
    int status;
    bool force;
    json_t *declared; /* of a PUT */
    uint64_t seq;
};

static void one_ask(struct queue_ask *a, const struct core *c)
{
    struct queue_one *o = (struct queue_one *)a;
    struct core_queue q = {.name = NULL};
    struct core_counts n;
    err_clear(&o->err);
    if (core_find(c, o->tenant, o->name, &q, &n, &o->err) == 0)
        row_fill(&o->row, &q, &n);
}

static void one_asked(struct queue_ask *a)
{
    struct queue_one *o = (struct queue_one *)a;
    o->next(o);
}

static void one_answer(struct queue_one *o)
{
    struct http_request *req = o->req;
    if (o->err.code != 0) {
        http_problem(req, &o->err);
        return;
    }
    struct buf out = BUF_INIT(64 << 10);
    row_print(&o->row, api_now_ms(api_thread_of(req)), &out);
    row_fini(&o->row);
    if (o->seq > 0)
        http_header_uint(req, "X-Koan-Seq", o->seq);
    http_respond_buf(req, o->status, API_JSON, &out);
}

static void one_start(struct queue_one *o, void (*next)(struct queue_one *o))
{
    struct api_thread *t = api_thread_of(o->req);
    o->next = next;
    o->ask = (struct queue_ask){.home = loop_runner(t->loop), .ask = one_ask, .done = one_asked};
    queues_ask(t->api->o.queues, &o->ask);
}

static struct queue_one *one_new(struct http_request *req)
{
    const char *tenant, *name;
    if (!queue_of_route(req, &tenant, &name))
        return NULL;
    struct queue_one *o = arena_new(http_arena(req), sizeof *o);
    o->req = req;
    o->tenant = tenant;
    o->name = name;
    o->status = 200;
    return o;
}

static void queue_get(struct http_request *req)
{
    struct queue_one *o = API_QUERY_NONE(req) ? one_new(req) : NULL;
    if (o != NULL)
        one_start(o, one_answer);
}

/* ---- changing one ---- */

static void change_done(struct queue_units *u)
{
    struct queue_one *o = u->more;
    struct http_request *req = o->req;
    struct queue_item *it = &u->items[0];
    if (it->err.code != 0) {
        struct err e = it->err;
        queue_units_free(u);
        http_problem(req, &e);
        return;
    }
    o->seq = it->seq;
    if (it->kept)
        api_replayed(req);
    queue_units_free(u);
    if (http_verb(req) != HTTP_VERB_DELETE) {
        one_start(o, one_answer);
        return;
    }
    http_header_uint(req, "X-Koan-Seq", o->seq);
    http_respond(req, 204, NULL, NULL, 0);
}

static void change_start(struct queue_one *o, void (*add)(struct queue_one *o, struct txn *t))
{
    struct queue_units *u = queue_units_new(o->req, 1, true);
    if (u == NULL)
        return;
    u->more = o;
    struct txn *t = queue_units_txn(u, 0);
    if (t != NULL)
        add(o, t);
    queue_units_start(u, change_done);
}

/* What is not said: of a queue that another part of Koan owns, as it is; else the default. */
static void put_base(const struct queue_one *o, struct core_queue *q)
{
    const struct core_queue *is = &o->row.queue;
    *q = (struct core_queue){.name = NULL};
    core_queue_defaults(q);
    if (o->err.code == 0 && is->owned) {
        *q = *is;
        q->dead_to = is->dead_to != NULL ? o->row.dead_to : NULL;
        if (json_is_false(json_object_get(o->declared, "manual"))) /* the core says why not */
            q->due_ms = 0;
    } else if (o->err.code == 0) {
        q->handled = is->handled; /* as scripts have declared it */
    }
    q->tenant = o->tenant;
    q->name = o->name;
    q->script = NULL;
}

/* What scripts say, and this does not, stays; so does how one that is owned is sent to. */
static void put_keep(struct queue_one *o, struct core_queue *q, struct core_send *room)
{
    struct core_queue is = o->row.queue;
    if (o->err.code != 0)
        return;
    is.dead_to = is.dead_to != NULL ? o->row.dead_to : NULL;
    core_queue_take(q, room, &is,
                    (is.scripted | (is.owned ? OPTION_SENDING : 0u)) &
                        ~queue_declared_options(o->declared));
}

static void put_add(struct queue_one *o, struct txn *t)
{
    struct core_queue q;
    struct queue_draft sending = {.held = NULL};
    struct core_send both;
    struct err e = ERR_INIT;
    put_base(o, &q);
    queue_declared(o->declared, &q, &sending, &e);
    put_keep(o, &q, &both);
    queue_txn_declare(t, &q);
    queue_draft_fini(&sending);
}

static void put_found(struct queue_one *o)
{
    AUTO(json_unref) json_t *declared = o->declared; /* `o` goes with the answer */
    o->status = o->err.code == ERR_NOT_FOUND ? 201 : 200;
    /* Kept until its unit is made; `o` goes with the answer. */
    AUTO(mem_freep)
    struct core_send *sending = o->err.code == 0 ? (void *)(uintptr_t)o->row.queue.sending : NULL;
    change_start(o, put_add);
}

static void queue_put(struct http_request *req)
{
    struct err e = ERR_INIT;
    struct core_queue q = {.name = NULL};
    struct queue_draft sending = {.held = NULL};
    struct queue_one *o = API_QUERY_NONE(req) ? one_new(req) : NULL;
    if (o == NULL || !api_once(req))
        return;
    AUTO(json_unref) json_t *body = http_body(req).n > 0 ? api_body_object(req) : json_object();
    if (body == NULL)
        return;
    int rc = queue_declared(body, &q, &sending, &e);
    queue_draft_fini(&sending);
    if (rc != 0) {
        http_problem(req, &e);
        return;
    }
    o->declared = TAKE(body);
    one_start(o, put_found);
}

static void delete_add(struct queue_one *o, struct txn *t)
{
    queue_txn_drop(t, o->name, o->force);
}

/* What is dropped by force is named, or only looked at. */
static bool delete_may(struct http_request *req, const char *name, bool force, bool dry)
{
    const char *confirm = http_query(req, "confirm");
    struct err e = ERR_INIT;
    if (dry && !force)
        err_field(&e, ERR_INVALID, "dry_run", "dry_run=true goes with force=true");
    else if (force && !dry && (confirm == NULL || strcmp(confirm, name) != 0))
        err_field(&e, ERR_INVALID, "confirm",
                  "what is dropped with its queue is gone: say confirm=%s, or dry_run=true to see "
                  "it",
                  name);
    if (e.code != 0)
        http_problem(req, &e);
    return e.code == 0;
}

static void queue_delete(struct http_request *req)
{
    bool force, dry;
    if (!API_QUERY_ONLY(req, "force", "confirm", "dry_run") ||
        !api_query_bool(req, "force", false, &force) ||
        !api_query_bool(req, "dry_run", false, &dry))
        return;
    struct queue_one *o = one_new(req);
    if (o == NULL || !delete_may(req, o->name, force, dry))
        return;
    o->force = force;
    if (dry)
        one_start(o, one_answer);
    else if (api_once(req))
        change_start(o, delete_add);
}

static void pause_add(struct queue_one *o, struct txn *t)
{
    const char *pattern = http_route(o->req)->pattern;
    if (str_ends(pattern, "/pause") || str_ends(pattern, "/resume"))
        queue_txn_pause(t, o->name, str_ends(pattern, "/pause"));
    else
        queue_txn_close(t, o->name, str_ends(pattern, "/close"));
}

static void queue_pause(struct http_request *req)
{
    struct queue_one *o = API_QUERY_NONE(req) ? one_new(req) : NULL;
    if (o != NULL && api_body_none(req) && api_once(req))
        change_start(o, pause_add);
}

/* ---- many queues ---- */

struct queue_list {
    struct queue_ask ask; /* first */
    struct http_request *req;
    struct buf out;
    struct queue_row *rows;
    size_t rows_count;
    uint32_t at;      /* where the core goes on */
    int64_t from, to; /* of all, those that are shown */
    int64_t seen, page, page_size;
    bool paged, more;
};

static bool list_row(void *arg, const struct core_queue *q, const struct core_counts *n)
{
    struct queue_list *l = arg;
    if (strcmp(q->tenant, API_TENANT) != 0)
        return true;
    int64_t at = l->seen++;
    if (at >= l->from && at < l->to)
        row_fill(&l->rows[l->rows_count++], q, n);
    return true;
}

static void list_ask(struct queue_ask *a, const struct core *c)
{
    struct queue_list *l = (struct queue_list *)a;
    l->rows_count = 0;
    l->more = core_each(c, &l->at, LIST_STEP, list_row, l);
}

static void list_end(struct queue_list *l)
{
    struct http_request *req = l->req;
    int64_t shown = l->seen < l->to ? l->seen : l->to;
    buf_addc(&l->out, ']');
    if (l->paged)
        buf_addf(&l->out,
                 ",\"page\":%lld,\"page_size\":%lld,\"page_count\":%lld,\"total_count\":%lld,"
                 "\"filtered_count\":%lld,\"item_count\":%lld}",
                 (long long)l->page, (long long)l->page_size,
                 (long long)((l->seen + l->page_size - 1) / l->page_size), (long long)l->seen,
                 (long long)l->seen, (long long)(shown > l->from ? shown - l->from : 0));
    mem_free(l->rows);
    struct buf out = l->out;
    mem_free(l);
    http_respond_buf(req, 200, API_JSON, &out);
}

static void list_asked(struct queue_ask *a)
{
    struct queue_list *l = (struct queue_list *)a;
    struct api_thread *t = api_thread_of(l->req);
    for (size_t i = 0; i < l->rows_count; i++) {
        char last = l->out.data[l->out.len - 1];
        if (last != '[')
            buf_addc(&l->out, ',');
        row_print(&l->rows[i], api_now_ms(t), &l->out);
        row_fini(&l->rows[i]);
    }
    if (!l->more || buf_failed(&l->out)) {
        list_end(l);
        return;
    }
    queues_ask(t->api->o.queues, &l->ask);
}

static void queue_list(struct http_request *req)
{
    int64_t page, size;
    const char *tenant;
    if (!API_QUERY_ONLY(req, "page", "page_size") ||
        !api_query_int(req, "page", 1, INT32_MAX, 1, &page) ||
        !api_query_int(req, "page_size", 1, LIST_PAGE_MAX, LIST_PAGE, &size) ||
        (http_param(req, "vhost") != NULL && !queue_vhost(req, &tenant)))
        return;
    struct api_thread *t = api_thread_of(req);
    struct queue_list *l = mem_new(sizeof *l);
    l->req = req;
    l->rows = mem_new_array(LIST_STEP, sizeof *l->rows);
    l->paged = http_query(req, "page") != NULL || http_query(req, "page_size") != NULL;
    l->page = page;
    l->page_size = size;
    l->from = l->paged ? (page - 1) * size : 0;
    l->to = l->paged ? l->from + size : INT64_MAX;
    buf_init(&l->out, API_ANSWER_MAX);
    buf_adds(&l->out, l->paged ? "{\"items\":[" : "[");
    l->ask = (struct queue_ask){.home = loop_runner(t->loop), .ask = list_ask, .done = list_asked};
    queues_ask(t->api->o.queues, &l->ask);
}

#define QUEUE_PATH "/api/queues/:vhost/:name"
static const struct http_route queue_table[] = {
    {HTTP_VERB_GET, "/api/queues", queue_list, 0, 0},
    {HTTP_VERB_GET, "/api/queues/:vhost", queue_list, 0, 0},
    {HTTP_VERB_GET, QUEUE_PATH, queue_get, 0, 0},
    {HTTP_VERB_PUT, QUEUE_PATH, queue_put, 0, 0},
    {HTTP_VERB_DELETE, QUEUE_PATH, queue_delete, 0, 0},
    {HTTP_VERB_POST, QUEUE_PATH "/pause", queue_pause, 0, 0},
    {HTTP_VERB_POST, QUEUE_PATH "/resume", queue_pause, 0, 0},
    {HTTP_VERB_POST, QUEUE_PATH "/close", queue_pause, 0, 0},
    {HTTP_VERB_POST, QUEUE_PATH "/open", queue_pause, 0, 0},
};
const struct api_routes api_queue_routes = {queue_table, ARRAY_LEN(queue_table)};
