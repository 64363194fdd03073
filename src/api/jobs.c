/* GET /api/jobs: runs, the newest first; GET /api/jobs/{id}: one, with all that is known of it,
 * at once or when it has ended (?wait=20s).
 *
 *   list:  which (ledger's thread) -> their ids (pool) -> how they stand -> args (pool)
 *   one:   how it stands -> [WAITING until it ends, ?wait is over, or nobody asks any more
 *          -> how it stands] -> args, result, errors (pool) -> rows (pool) */
#include <string.h>

#include "api/jobs_priv.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/time.h"

enum {
    JOBS_PAGE = 20,
    JOBS_PAGE_MAX = QUEUE_PEEK_MAX,
    JOBS_STATES = 1u << REC_SCHEDULED | 1u << REC_AVAILABLE | 1u << REC_EXECUTING |
                  1u << REC_RETRYABLE | 1u << REC_COMPLETED | 1u << REC_DISCARDED |
                  1u << REC_CANCELLED,
};

/* ---- a page ---- */

struct jobs_list {
    struct queue_looking look; /* first */
    struct queue_reading reading;
    struct http_request *req;
    char queue[sizeof QUEUE_OF_JOBS + JOB_NAME_MAX];
    struct core_filter filter;
    size_t max;
    bool more;
    struct err err;
};

static void list_free(struct jobs_list *l)
{
    queue_shown_free(l->look.shown, l->look.count);
    mem_free(l);
}

static void list_refuse(struct jobs_list *l)
{
    struct http_request *req = l->req;
    struct err e = l->err;
    list_free(l);
    http_problem(req, &e);
}

static struct jobs_list *list_of(struct queue_reading *r)
{
    return (struct jobs_list *)((char *)r - offsetof(struct jobs_list, reading));
}

static void list_answer(struct queue_reading *r)
{
    struct jobs_list *l = list_of(r);
    struct http_request *req = l->req;
    struct buf out = BUF_INIT(API_ANSWER_MAX);
    l->err = r->job.err;
    buf_adds(&out, "{\"runs\":[");
    for (size_t i = 0; i < r->read && l->err.code == 0; i++) {
        const struct queue_shown *s = &l->look.shown[i];
        if (!s->has_view) /* forgotten meanwhile */
            continue;
        if (out.data[out.len - 1] != '[')
            buf_addc(&out, ',');
        l->err = s->err;
        queue_run_print(s, &out);
    }
    if (l->err.code != 0) {
        buf_fini(&out);
        list_refuse(l);
        return;
    }
    buf_adds(&out, "],\"next\":");
    if ((l->more || r->read < r->count) && r->read > 0)
        buf_addf(&out, "\"%llu\"}", (unsigned long long)l->look.shown[r->read - 1].listed);
    else
        buf_adds(&out, "null}");
    list_free(l);
    http_respond_buf(req, 200, API_JSON, &out);
}

static void list_looked(struct queue_looking *look)
{
    struct jobs_list *l = (struct jobs_list *)look;
    l->reading = (struct queue_reading){
        .shown = look->shown, .count = look->count, .runs = true, .done = list_answer};
    queue_read_start(&l->reading, l->req);
}

static void list_read(struct queue_reading *r)
{
    struct jobs_list *l = list_of(r);
    l->err = r->job.err;
    for (size_t i = 0; i < l->look.count && l->err.code == 0; i++)
        l->err = l->look.shown[i].err;
    if (l->err.code != 0) {
        list_refuse(l);
        return;
    }
    l->look.queue = NULL;
    l->look.done = list_looked;
    queue_look_start(&l->look, l->req);
}

static void list_ask(struct queue_ask *a, const struct core *c)
{
    struct jobs_list *l = (struct jobs_list *)a;
    uint64_t places[JOBS_PAGE_MAX + 1];
    size_t count = core_list_newest(c, &l->filter, places, l->max + 1);
    l->more = count > l->max;
    l->look.count = l->more ? l->max : count;
    for (size_t i = 0; i < l->look.count; i++)
        l->look.shown[i].place = l->look.shown[i].listed = places[i];
}

static void list_asked(struct queue_ask *a)
{
    struct jobs_list *l = (struct jobs_list *)a;
    l->reading = (struct queue_reading){
        .shown = l->look.shown, .count = l->look.count, .ids_only = true, .done = list_read};
    queue_read_start(&l->reading, l->req);
}

static bool list_filter(struct http_request *req, struct jobs_list *l)
{
    const char *job = http_query(req, "job"), *state = http_query(req, "state");
    enum rec_state one = state != NULL ? queue_state_named(state) : (enum rec_state)0;
    if (state != NULL && one == 0) {
        err_field(&l->err, ERR_INVALID, "state",
                  "state: '%.40s' is no state; there are scheduled, available, executing, "
                  "retryable, completed, discarded, cancelled",
                  state);
        return false;
    }
    if (job != NULL && job_name_check(job, &l->err) != 0)
        return false;
    l->filter.states = state != NULL ? 1u << one : JOBS_STATES;
    l->filter.tenant = API_TENANT;
    l->filter.prefix = QUEUE_OF_JOBS;
    if (job != NULL) {
        snprintf(l->queue, sizeof l->queue, QUEUE_OF_JOBS "%s", job);
        l->filter.queue = l->queue;
    }
    return true;
}

static void list_get(struct http_request *req)
{
    int64_t limit, before;
    if (!API_QUERY_ONLY(req, "job", "state", "before", "limit") ||
        !api_query_int(req, "limit", 1, JOBS_PAGE_MAX, JOBS_PAGE, &limit) ||
        !api_query_int(req, "before", 0, INT64_MAX, 0, &before))
        return;
    struct api_thread *t = api_thread_of(req);
    struct jobs_list *l = mem_new(sizeof *l);
    l->req = req;
    l->max = (size_t)limit;
    l->look.tenant = API_TENANT;
    l->look.shown = mem_new_array(l->max, sizeof *l->look.shown);
    if (!list_filter(req, l)) {
        list_refuse(l);
        return;
    }
    l->filter.before = (uint64_t)before;
    l->look.ask =
        (struct queue_ask){.home = loop_runner(t->loop), .ask = list_ask, .done = list_asked};
    queues_ask(t->api->o.queues, &l->look.ask);
}

/* ---- one ---- */

struct job_show {
    struct queue_looking look; /* first */
    struct queue_reading reading;
    struct api_job job;
    struct queue_watch watch;
    struct world_timer timer;
    struct list link; /* of its thread, while it waits */
    struct api_thread *thread;
    struct http_request *req;
    struct queue_shown shown;
    struct buf more; /* members of JSON */
    int64_t wait_ms;
    bool waiting, waited;
};

static void show_free(struct job_show *s)
{
    mem_free(s->shown.texts);
    mem_free(s->shown.past);
    buf_fini(&s->more);
    mem_free(s);
}

static void show_refuse(struct job_show *s, const struct err *why)
{
    struct http_request *req = s->req;
    struct err e = *why;
    show_free(s);
    http_problem(req, &e);
}

/* ---- what the rows say, on the pool ---- */

/* The members of the object, behind others. */
static int rows_print(struct job_show *s, struct db *db, struct err *e)
{
    AUTO(json_unref) json_t *rows = NULL;
    AUTO(buf_fini) struct buf text = BUF_INIT(API_ANSWER_MAX);
    int rc = job_run_show(db, &s->shown.id, &rows, e);
    if (rc != 0 || rows == NULL)
        return rc;
    json_object_del(rows, "job");
    json_object_del(rows, "cancel_asked"); /* the record says these too */
    json_object_del(rows, "ended_at");
    rc = json_print(rows, &text, e);
    if (rc == 0 && text.len > 2) {
        buf_addc(&s->more, ',');
        buf_add(&s->more, text.data + 1, text.len - 2);
    }
    return rc;
}

static void show_run(struct api_job *j, struct db *db)
{
    struct job_show *s = (struct job_show *)((char *)j - offsetof(struct job_show, job));
    if (rows_print(s, db, &j->err) == 0)
        buf_check(&s->more, "a run", &j->err);
}

static void show_done(struct api_job *j)
{
    struct job_show *s = (struct job_show *)((char *)j - offsetof(struct job_show, job));
    struct http_request *req = s->req;
    if (j->err.code != 0) {
        show_refuse(s, &j->err);
        return;
    }
    struct buf out = BUF_INIT(API_ANSWER_MAX);
    queue_run_print(&s->shown, &out);
    out.len--; /* the closing brace comes behind the rest */
    buf_add(&out, s->more.data, s->more.len);
    buf_addc(&out, '}');
    show_free(s);
    http_respond_buf(req, 200, API_JSON, &out);
}

static void show_read(struct queue_reading *r)
{
    struct job_show *s = (struct job_show *)((char *)r - offsetof(struct job_show, reading));
    const struct err *e = r->job.err.code != 0 ? &r->job.err : &s->shown.err;
    if (e->code != 0) {
        show_refuse(s, e);
        return;
    }
    s->job.run = show_run;
    s->job.done = show_done;
    api_job_start(&s->job, s->req);
}

/* ---- waiting for the end ---- */

static void show_look(struct job_show *s);

static void show_unwatch(struct job_show *s)
{
    if (s->waiting)
        queues_unwatch(s->thread->api->o.queues, &s->watch);
}

static void show_late(struct world_timer *t)
{
    show_unwatch((struct job_show *)((char *)t - offsetof(struct job_show, timer)));
}

static void show_cancelled(struct http_request *req, void *arg)
{
    (void)req;
    show_unwatch(arg);
}

static void show_ended(struct queue_watch *w)
{
    struct job_show *s = (struct job_show *)((char *)w - offsetof(struct job_show, watch));
    struct world *world = loop_world(s->thread->loop);
    world->timer_stop(world, &s->timer);
    list_remove(&s->link);
    s->thread->waits_count--;
    s->waiting = false;
    s->waited = true;
    show_look(s);
}

static void show_wait(struct job_show *s)
{
    struct world *world = loop_world(s->thread->loop);
    s->waiting = true;
    list_push(&s->thread->job_waits, &s->link);
    s->thread->waits_count++;
    http_uncounted(s->req);
    http_on_cancel(s->req, show_cancelled, s);
    s->timer.fire = show_late;
    world->timer_start(world, &s->timer, (uint64_t)s->wait_ms);
    s->watch = (struct queue_watch){
        .id = s->shown.id, .home = loop_runner(s->thread->loop), .ended = show_ended};
    queues_watch(s->thread->api->o.queues, &s->watch);
}

void api_jobs_drain(struct api_thread *t)
{
    t->queue_drained = true;
    LIST_EACH_SAFE(it, &t->job_waits)
    show_unwatch(LIST_OF(it, struct job_show, link));
}

/* ---- how it stands ---- */

static void show_looked(struct queue_looking *l)
{
    struct job_show *s = (struct job_show *)l;
    if (s->shown.err.code != 0) {
        show_refuse(s, &s->shown.err);
        return;
    }
    if (s->wait_ms > 0 && !s->waited && !s->thread->queue_drained && !http_is_cancelled(s->req) &&
        s->shown.view.state < REC_COMPLETED && s->thread->waits_count < API_WAITS_MAX) {
        show_wait(s);
        return;
    }
    s->reading =
        (struct queue_reading){.shown = &s->shown, .count = 1, .runs = true, .done = show_read};
    queue_read_start(&s->reading, s->req);
}

static void show_look(struct job_show *s)
{
    mem_free(s->shown.past); /* of the look before */
    s->shown.past = NULL;
    queue_look_start(&s->look, s->req);
}

bool job_run_id(struct http_request *req, struct uuid *out)
{
    const char *id = http_param(req, "id");
    if (uuid_parse(id, strlen(id), out))
        return true;
    http_refuse(req, ERR_INVALID, "'%.64s' is no id of a run: a UUID of 36 characters", id);
    return false;
}

static int show_wait_read(struct http_request *req, int64_t *out, struct err *e)
{
    const char *wait = http_query(req, "wait");
    *out = 0;
    if (wait == NULL)
        return 0;
    int rc = duration_parse(wait, out, NULL);
    if (rc != 0 || *out > QUEUE_WAIT_MAX_MS)
        return err_field(e, ERR_INVALID, "wait", "wait is a time like \"20s\", at most %d s",
                         QUEUE_WAIT_MAX_MS / 1000);
    return 0;
}

static void show_get(struct http_request *req)
{
    struct err e = ERR_INIT;
    struct uuid id;
    int64_t wait;
    if (!API_QUERY_ONLY(req, "wait") || !job_run_id(req, &id))
        return;
    if (show_wait_read(req, &wait, &e) != 0) {
        http_problem(req, &e);
        return;
    }
    struct job_show *s = mem_new(sizeof *s);
    s->req = req;
    s->thread = api_thread_of(req);
    s->wait_ms = wait;
    s->shown.id = id;
    buf_init(&s->more, API_ANSWER_MAX);
    s->look = (struct queue_looking){
        .tenant = API_TENANT, .shown = &s->shown, .count = 1, .past = true, .done = show_looked};
    show_look(s);
}

static const struct http_route jobs_table[] = {
    {HTTP_VERB_GET, "/api/jobs", list_get, 0, 0},
    {HTTP_VERB_GET, "/api/jobs/:id", show_get, 0, 0},
};
const struct api_routes api_jobs_routes = {jobs_table, ARRAY_LEN(jobs_table)};
