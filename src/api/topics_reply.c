/* POST /api/topics/{topic}?reply=5s: what the first handler that ends well has returned is the
 * answer. */
#include <string.h>

#include "api/topics_priv.h"
#include "base/json.h"
#include "base/mem.h"
#include "bus/request.h"

struct replying {
    struct bus_request r; /* first */
    struct list link;     /* of its thread */
    struct http_request *req;
    json_t *options;
    struct topic_draft *draft;
    size_t count;
};

static void replying_free(struct replying *p)
{
    buf_fini(&p->r.answer);
    topic_drafts_free(p->draft, p->count);
    json_decref(p->options);
    mem_free(p);
}

static void reply_make_id(struct bus_request *r, struct uuid *out)
{
    struct api_thread *t = api_thread_of(((struct replying *)r)->req);
    t->ids.make(&t->ids, out);
}

static void reply_done(struct bus_request *r)
{
    struct replying *p = (struct replying *)r;
    struct http_request *req = p->req;
    list_remove(&p->link);
    api_thread_of(req)->waits_count--;
    if (r->err.code != 0)
        http_problem(req, &r->err);
    else if (r->answer.len == 0)
        http_respond(req, 204, NULL, NULL, 0);
    else
        http_respond_buf(req, 200, API_JSON, &r->answer);
    replying_free(p);
}

static void reply_gone(struct http_request *req, void *arg)
{
    struct err e = ERR_INIT;
    (void)req;
    err_set(&e, ERR_TIMEOUT, "nobody waits for the answer any more");
    bus_request_cancel(arg, &e);
}

/* The message stays what it is: whoever publishes it again has it twice. */
void api_replies_drain(struct api_thread *t)
{
    struct err e = ERR_INIT;
    err_set(&e, ERR_TIMEOUT,
            "this node is leaving and waits for no answers; the message is published, or was "
            "about to be");
    LIST_EACH_SAFE(it, &t->replies)
    bus_request_cancel(&LIST_OF(it, struct replying, link)->r, &e);
}

static bool reply_may(struct http_request *req)
{
    if (!api_thread_of(req)->queue_drained)
        return api_may_wait(req);
    http_refuse(req, ERR_DRAINING, "this node is leaving; ask another one");
    return false;
}

static int reply_options(const json_t *options, const struct topic_draft *d, int64_t *ms,
                         struct err *e)
{
    int rc = queue_duration(json_object_get(options, "reply"), "reply", ms, e);
    if (rc == 0 && (*ms < 1 || *ms > BUS_REQUEST_MAX_MS))
        rc = err_field(e, ERR_INVALID, "reply", "an answer is waited for from 1 ms to %d min",
                       BUS_REQUEST_MAX_MS / 60000);
    if (rc == 0 && d->m.run_at != 0)
        rc = err_field(e, ERR_INVALID, "run_at", "what is answered is not for later");
    if (rc == 0 && json_object_get(options, "id") != NULL)
        rc = err_field(e, ERR_INVALID, "id", "a message that is answered gets an id of its own");
    if (rc == 0 && json_object_get(options, "dedup") != NULL)
        rc = err_field(e, ERR_INVALID, "dedup",
                       "a duplicate has no answer of its own; leave dedup or reply out");
    return rc;
}

void topic_reply(struct http_request *req, json_t *options)
{
    struct api_thread *t = api_thread_of(req);
    struct err e = ERR_INIT;
    size_t count = 0;
    bool batch = false;
    int64_t ms = 0;
    if (!reply_may(req))
        return;
    struct topic_draft *draft = topic_drafts_read(req, options, &count, &batch);
    if (draft == NULL)
        return;
    int rc = batch ? err_set(&e, ERR_INVALID, "a batch has no answer; publish one event") : 0;
    if (rc == 0)
        rc = reply_options(options, draft, &ms, &e);
    struct replying *p = mem_new(sizeof *p);
    *p = (struct replying){
        .req = req, .options = json_incref(options), .draft = draft, .count = count};
    p->r.bus = t->api->o.bus;
    p->r.queues = t->api->o.queues;
    p->r.ledger = t->api->o.ledger;
    p->r.loop = t->loop;
    p->r.topic = http_param(req, "topic");
    api_envelope(req, &p->r.env);
    p->r.message = draft->m;
    p->r.message.dedup = NULL;
    p->r.timeout_ms = (uint32_t)ms;
    p->r.make_id = reply_make_id;
    p->r.done = reply_done;
    if (rc == 0)
        rc = bus_request_start(&p->r, &e);
    if (rc != 0) {
        replying_free(p);
        http_problem(req, &e);
        return;
    }
    list_push(&t->replies, &p->link);
    t->waits_count++;
    http_uncounted(req);
    http_on_cancel(req, reply_gone, &p->r);
}
