/* What operators do with records of a queue: as one request says it (queue_operate.c), and as args
 * of a run of OPERATE_JOB, which does it with more of them than one answer holds (queue_work.c). */
#include <string.h>

#include "api/queue_priv.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "canon/canon.h"
#include "job/run.h"

enum {
    SPEC_ATTEMPTS = 100,              /* of the run: each turn that a crash cut off uses one */
    SPEC_TIMEOUT_MS = 10 * 60 * 1000, /* of one turn */
    SPEC_KEPT = 1000,
};
#define SPEC_ALL "all"
static const int64_t spec_keep_ms = INT64_C(7) * 86400 * 1000;
static const int64_t spec_deadline_ms = INT64_C(365) * 86400 * 1000;

const char *const operate_names[] = {"retry", "cancel", "move",  "purge",
                                     "edit",  "reject", "resume"};
const char *const operate_done[] = {"retried", "cancelled", "moved",  "purged",
                                    "edited",  "rejected",  "resumed"};

int queue_find_check(const json_t *find, struct err *e)
{
    const char *path;
    json_t *value;
    size_t n = json_is_object(find) ? json_object_size(find) : 0;
    if (n == 0 || n > QUEUE_FIND_PATHS)
        return err_field(e, ERR_INVALID, "find",
                         "find is an object of 1 to %d paths and their values", QUEUE_FIND_PATHS);
    json_object_foreach((json_t *)(uintptr_t)find, path, value)
    {
        if (!str_starts(path, "body") && !str_starts(path, "headers.") &&
            strcmp(path, "key") != 0 && strcmp(path, "correlation") != 0 &&
            strcmp(path, "type") != 0)
            return err_field(e, ERR_INVALID, "find",
                             "'%.64s' is not searched: paths are body, body.NAME.., headers.NAME, "
                             "key, correlation and type",
                             path);
    }
    return 0;
}

int operate_state_read(const json_t *v, struct operate_spec *s, struct err *e)
{
    const char *name = json_string_value(v);
    bool purge = s->verb == OPERATE_PURGE;
    s->state = name != NULL ? queue_state_named(name) : REC_ANY;
    s->all = name != NULL && purge && strcmp(name, SPEC_ALL) == 0;
    if (operate_by_state(s))
        return 0;
    return err_field(e, ERR_INVALID, "state",
                     "state is scheduled, available, executing, retryable, completed, discarded "
                     "or cancelled%s",
                     purge ? "; or all of these, but what executes: " SPEC_ALL : "");
}

/* ---- as args ---- */

static int spec_verb(const json_t *args, enum operate_verb *out, struct err *e)
{
    const char *name = json_string_value(json_object_get(args, "verb"));
    for (int v = OPERATE_RETRY; name != NULL && v <= OPERATE_RESUME; v++) {
        if (v == OPERATE_EDIT || strcmp(operate_names[v], name) != 0)
            continue;
        *out = (enum operate_verb)v;
        return 0;
    }
    return err_field(e, ERR_INVALID, "verb",
                     "verb is retry, cancel, move, purge, reject or resume");
}

static int spec_queue(const char *name, const char *field, struct err *e)
{
    if (name == NULL)
        return err_field(e, ERR_INVALID, field, "%s is the name of a queue", field);
    return queue_name_check(name, field, e);
}

/* What waits for people is an arrival of a model. */
static int spec_parked(const struct operate_spec *s, struct err *e)
{
    char model[CANON_QUEUE_NAME_MAX];
    if (s->verb != OPERATE_REJECT && s->verb != OPERATE_RESUME)
        return 0;
    if (!canon_parked_model(s->queue, model))
        return err_field(e, ERR_INVALID, "queue", "'%.64s' has no parked arrivals", s->queue);
    if (s->patch != NULL && !json_is_object(s->patch))
        return err_field(e, ERR_INVALID, "patch", "patch is an object");
    if (s->verb == OPERATE_REJECT && s->reason == NULL)
        return err_field(e, ERR_INVALID, "reason", "a rejection has a reason");
    return 0;
}

int operate_spec_read(const json_t *args, struct operate_spec *s, struct err *e)
{
    static const char *const names[] = {"verb",   "queue",   "state", "find",  "to",
                                        "reason", "dry_run", "by",    "total", "patch"};
    *s = (struct operate_spec){.find = json_object_get(args, "find"),
                               .queue = json_string_value(json_object_get(args, "queue")),
                               .to = json_string_value(json_object_get(args, "to")),
                               .reason = json_string_value(json_object_get(args, "reason")),
                               .by = json_string_value(json_object_get(args, "by")),
                               .patch = json_object_get(args, "patch"),
                               .dry_run = json_is_true(json_object_get(args, "dry_run"))};
    if (!json_is_object(args))
        return err_set(e, ERR_INVALID, "args are an object with verb, queue and state");
    int rc = json_only_keys(args, "args", names, ARRAY_LEN(names), e);
    if (rc == 0)
        rc = spec_verb(args, &s->verb, e);
    if (rc == 0)
        rc = spec_queue(s->queue, "queue", e);
    if (rc == 0 && s->verb == OPERATE_MOVE)
        rc = spec_queue(s->to, "to", e);
    if (rc == 0)
        rc = operate_state_read(json_object_get(args, "state"), s, e);
    if (rc == 0)
        rc = spec_parked(s, e);
    return rc == 0 && s->find != NULL ? queue_find_check(s->find, e) : rc;
}

static int spec_print(const struct operate_spec *s, const char *by, uint64_t total, struct buf *out,
                      struct err *e)
{
    AUTO(json_unref)
    json_t *o = json_pack("{s:s, s:s, s:s, s:I}", "verb", operate_names[s->verb], "queue", s->queue,
                          "state", s->all ? SPEC_ALL : rec_state_name(s->state), "total",
                          (json_int_t)total);
    if (s->find != NULL)
        json_object_set(o, "find", (json_t *)(uintptr_t)s->find);
    if (s->patch != NULL)
        json_object_set(o, "patch", (json_t *)(uintptr_t)s->patch);
    if (s->to != NULL)
        json_object_set_new(o, "to", json_string(s->to));
    if (s->reason != NULL)
        json_object_set_new(o, "reason", json_string(s->reason));
    if (by != NULL)
        json_object_set_new(o, "by", json_string(by));
    if (s->dry_run)
        json_object_set_new(o, "dry_run", json_true());
    return json_print(o, out, e);
}

/* ---- done with one record ---- */

static int add_run(const struct operate_spec *s, struct txn *t, const struct queue_shown *r,
                   struct err *e)
{
    struct job_why why = {.job = r->queue + sizeof QUEUE_OF_JOBS - 1, .reason = s->reason};
    return s->verb == OPERATE_RETRY ? job_txn_retry(t, &r->id, &why, e)
                                    : job_txn_cancel(t, &r->id, &why, e);
}

int operate_spec_add(const struct operate_spec *s, struct txn *t, const struct queue_shown *r,
                     struct err *e)
{
    bool run = str_starts(r->queue, QUEUE_OF_JOBS);
    char id[UUID_TEXT];
    switch (s->verb) {
    case OPERATE_RETRY:
    case OPERATE_CANCEL:
        if (run)
            return add_run(s, t, r, e);
        if (s->verb == OPERATE_RETRY)
            queue_txn_retry(t, &r->id);
        else
            queue_txn_cancel(t, &r->id);
        return 0;
    case OPERATE_MOVE:
        queue_txn_move(t, &r->id, s->to);
        return 0;
    case OPERATE_PURGE:
        queue_txn_purge(t, &r->id);
        return 0;
    case OPERATE_REJECT:
        uuid_format(&r->id, id);
        return canon_txn_reject(t, id, s->reason, s->by, e);
    case OPERATE_EDIT:
    case OPERATE_RESUME:
        break;
    }
    PANIC("'%s' is no operation", operate_names[s->verb]);
}

/* ---- handed over to a run ---- */

static void handed_over(struct queue_units *u)
{
    struct http_request *req = u->req;
    struct queue_item *it = &u->items[0];
    struct err e = it->err;
    struct core_sent sent;
    char id[UUID_TEXT];
    if (e.code != 0) {
        queue_units_free(u);
        http_problem(req, &e);
        return;
    }
    queue_sent_read(&it->result, &sent);
    uuid_format(&sent.id, id);
    queue_units_headers(u);
    queue_units_free(u);
    queue_work_wake(api_thread_of(req)->api);
    struct buf out = BUF_INIT(1024);
    buf_addf(&out, "{\"id\":\"%s\",\"job\":\"" OPERATE_JOB "\"}", id);
    http_headerf(req, "Location", "/api/jobs/%s", id);
    http_respond_buf(req, 202, API_JSON, &out);
}

static void spec_queue_declare(struct txn *t)
{
    struct core_queue q = {.tenant = API_TENANT, .name = OPERATE_QUEUE};
    core_queue_defaults(&q);
    q.keep_completed_ms = spec_keep_ms;
    q.keep_count = SPEC_KEPT;
    queue_txn_declare(t, &q);
}

static int spec_send(struct http_request *req, const struct operate_spec *s, uint64_t total,
                     struct txn *t, struct err *e)
{
    struct api_thread *thread = api_thread_of(req);
    AUTO(buf_fini) struct buf body = BUF_INIT(QUEUE_BODY_MAX + 1);
    struct envelope env;
    api_envelope(req, &env);
    int rc = spec_print(s, env.principal, total, &body, e);
    if (rc != 0)
        return rc;
    struct queue_message m = {.send = {.queue = OPERATE_QUEUE,
                                       .create = true,
                                       .priority = CORE_PRIORITY,
                                       .attempts = SPEC_ATTEMPTS,
                                       .timeout_ms = SPEC_TIMEOUT_MS,
                                       .deadline_ms = spec_deadline_ms},
                              .correlation = env.correlation,
                              .traceparent = env.traceparent,
                              .body = body.data,
                              .body_len = body.len};
    thread->ids.make(&thread->ids, &m.send.id);
    rc = queue_txn_send(t, &m, e);
    if (rc == 0)
        spec_queue_declare(t);
    return rc;
}

void operate_hand_over(struct http_request *req, const struct operate_spec *s, uint64_t total)
{
    struct queue_units *u = queue_units_new(req, 1, false);
    if (u == NULL)
        return;
    struct txn *t = queue_units_txn(u, 0);
    if (t != NULL)
        spec_send(req, s, total, t, &u->items[0].err);
    queue_units_start(u, handed_over);
}
