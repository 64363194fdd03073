/* What who works a run stores of it, as an operation of a unit: a step with its result, a sleep, a
 * wait for a message, a fan-out, that a step was undone. Used by its own routes (jobs_steps.c) and
 * in POST /api/tx (tx_stored.c).
 *
 *   {"id": "..", "token": 7, "name": "charge", "result": {..}, "undo": true}      a step
 *   {"id": "..", "token": 7, "name": "nap", "delay": "2h"}                        a sleep
 *   {"id": "..", "token": 7, "name": "paid", "topic": "payment.*", "key": "o-1"}  a wait
 *   {"id": "..", "token": 7, "name": "pages", "on_done": "stitch", "runs": [..]}  a fan-out
 *   {"id": "..", "token": 7, "name": "charge"}                                    undone
 *
 * The token is that of the delivery: only who holds the run comes through. A sleep and a wait give
 * it back in the same unit. */
#include <string.h>

#include "api/jobs_priv.h"
#include "base/json.h"
#include "base/mem.h"
#include "bus/bus.h"
#include "job/job.h"

enum { STORED_KEYS = 4 };
#define STORED_WAIT_MS (INT64_C(30) * 86400 * 1000)

void job_stored_fini(struct job_stored *s)
{
    for (size_t i = 0; i < s->children_count; i++)
        job_draft_fini(&s->children[i]);
    mem_free(s->children);
    json_decref(s->errors);
    json_decref(s->said);
    buf_fini(&s->result);
    buf_fini(&s->args);
}

/* ---- what is asked ---- */

static int stored_keys(const struct job_stored *s, const json_t *o, struct err *e)
{
    static const char *const more[][STORED_KEYS] = {
        [STORED_STEP] = {"result", "undo"},
        [STORED_SLEEP] = {"delay", "until"},
        [STORED_WAIT] = {"topic", "key", "timeout"},
        [STORED_FAN] = {"on_done", "args", "runs"},
        [STORED_UNDONE] = {NULL},
    };
    const char *names[4 + STORED_KEYS] = {"op", "id", "token", "name"};
    size_t n = 4;
    for (size_t i = 0; i < STORED_KEYS && more[s->kind][i] != NULL; i++)
        names[n++] = more[s->kind][i];
    return json_only_keys(o, "it", names, n, e);
}

static int stored_whose(struct job_stored *s, const json_t *o, struct err *e)
{
    const json_t *token = json_object_get(o, "token");
    int64_t n = 0;
    int rc = queue_id(json_object_get(o, "id"), &s->run, e);
    if (rc == 0 && token == NULL)
        rc = err_field(e, ERR_INVALID, "token", "token is missing: the one of the lease");
    if (rc == 0)
        rc = queue_number(token, "token", 1, INT64_MAX, &n, e);
    s->token = (uint64_t)n;
    s->name = json_string_value(json_object_get(o, "name"));
    size_t len = s->name != NULL ? strlen(s->name) : 0;
    if (rc == 0 && (len == 0 || len > JOB_STEP_NAME_BYTES))
        rc = err_field(e, ERR_INVALID, "name", "the name of a step is text of 1 to %d bytes",
                       JOB_STEP_NAME_BYTES);
    return rc;
}

static int stored_step(struct job_stored *s, const json_t *o, struct err *e)
{
    const json_t *result = json_object_get(o, "result"), *undo = json_object_get(o, "undo");
    int rc = undo != NULL ? queue_flag(undo, "undo", &s->undo, e) : 0;
    if (rc != 0)
        return rc;
    if (result == NULL)
        buf_adds(&s->result, "null");
    else if (json_print(result, &s->result, e) != 0 || buf_failed(&s->result))
        return err_field(e, ERR_TOO_LARGE, "result",
                         "a result has at most %d KiB; keep it elsewhere and give its key",
                         JOB_RESULT_BYTES >> 10);
    return 0;
}

static int stored_sleep(struct job_stored *s, const json_t *o, int64_t now, struct err *e)
{
    int rc = queue_until(o, now, &s->until, e);
    buf_addf(&s->result, "{\"until\":%lld}", (long long)s->until);
    return rc;
}

static int stored_wait(struct job_stored *s, const json_t *o, int64_t now, struct err *e)
{
    const json_t *timeout = json_object_get(o, "timeout"), *key = json_object_get(o, "key");
    int64_t ms = STORED_WAIT_MS;
    s->topic = json_string_value(json_object_get(o, "topic"));
    s->key = json_string_value(key);
    if (s->topic == NULL || *s->topic == '\0')
        return err_field(e, ERR_INVALID, "topic",
                         "topic is missing: of the message that is waited for");
    if (key != NULL && (s->key == NULL || *s->key == '\0'))
        return err_field(e, ERR_INVALID, "key", "key is a text");
    int rc = timeout != NULL ? queue_duration(timeout, "timeout", &ms, e) : 0;
    s->until = now + ms;
    return rc;
}

static int stored_child(struct job_stored *s, const json_t *o, const struct job_storing *by,
                        size_t at, struct err *e)
{
    static const struct uuid none;
    struct job_draft *d = &s->children[at];
    s->children_count = at + 1;
    int rc = json_is_object(o) ? job_draft_read(by->thread->db, o, by->now, d, e)
                               : err_set(e, ERR_INVALID, "a run is an object");
    s->errors = json_incref(d->errors);
    if (rc != 0) {
        err_context(e, "runs[%zu]", at);
        return rc;
    }
    struct queue_message *m = &d->message;
    m->send.create = false; /* its queue is made by POST /api/jobs, with the options of a job */
    if (memcmp(&m->send.id, &none, sizeof none) == 0)
        job_make_id(by->thread, &m->send.id);
    m->correlation = by->env.correlation;
    m->traceparent = by->env.traceparent;
    return 0;
}

static int stored_children(struct job_stored *s, const json_t *runs, const struct job_storing *by,
                           struct err *e)
{
    size_t n = json_array_size(runs);
    char id[UUID_TEXT];
    if (!json_is_array(runs) || n == 0 || n > STORED_CHILDREN_MAX)
        return err_field(e, n == 0 ? ERR_INVALID : ERR_TOO_LARGE, "runs",
                         "runs are a list of 1 to %d, each {\"job\", \"args\", \"options\"}",
                         STORED_CHILDREN_MAX);
    s->children = mem_new_array(n, sizeof *s->children);
    uuid_format(&s->fan, id);
    buf_addf(&s->result, "{\"fan\":\"%s\",\"runs\":[", id);
    for (size_t i = 0; i < n; i++) {
        int rc = stored_child(s, json_array_get(runs, i), by, i, e);
        if (rc != 0)
            return rc;
        uuid_format(&s->children[i].message.send.id, id);
        buf_addf(&s->result, "%s\"%s\"", i > 0 ? "," : "", id);
    }
    buf_adds(&s->result, "]}");
    return 0;
}

static int stored_fan(struct job_stored *s, const json_t *o, const struct job_storing *by,
                      struct err *e)
{
    struct job_def def;
    s->on_done = json_string_value(json_object_get(o, "on_done"));
    s->fan_args = json_object_get(o, "args");
    if (s->on_done == NULL || job_name_check(s->on_done, NULL) != 0)
        return err_field(e, ERR_INVALID, "on_done",
                         "on_done is the name of the job that runs when all have ended");
    int rc = job_def_get(by->thread->db, s->on_done, &def, e);
    if (rc != 0) {
        err_context(e, "on_done");
        return rc;
    }
    job_def_fini(&def);
    job_make_id(by->thread, &s->fan);
    return stored_children(s, json_object_get(o, "runs"), by, e);
}

int job_stored_read(struct job_stored *s, const json_t *o, const struct job_storing *by,
                    struct err *e)
{
    buf_init(&s->result, JOB_RESULT_BYTES + 1);
    buf_init(&s->args, CORE_BODY_MAX + 1);
    int rc = stored_keys(s, o, e);
    if (rc == 0)
        rc = stored_whose(s, o, e);
    if (rc != 0)
        return rc;
    switch (s->kind) {
    case STORED_STEP:
        return stored_step(s, o, e);
    case STORED_SLEEP:
        return stored_sleep(s, o, by->now, e);
    case STORED_WAIT:
        return stored_wait(s, o, by->now, e);
    case STORED_FAN:
        return stored_fan(s, o, by, e);
    case STORED_UNDONE:
        return 0;
    }
    return 0;
}

/* ---- whose run it is: its job, its args ---- */

static void found_take(struct job_stored *s, const struct queue_shown *shown)
{
    AUTO(buf_fini) struct buf text = BUF_INIT(8 << 20);
    s->err = shown->err;
    if (s->err.code != 0)
        return;
    str_copy(s->job, sizeof s->job, shown->queue + sizeof QUEUE_OF_JOBS - 1);
    if (shown->texts_len > 1) { /* members, each behind a comma */
        buf_addc(&text, '{');
        buf_add(&text, shown->texts + 1, shown->texts_len - 1);
        buf_addc(&text, '}');
        s->said = json_read(buf_str(&text), text.len, NULL);
    }
    const json_t *args = json_object_get(s->said, "args");
    if (s->said == NULL)
        err_set(&s->err, ERR_TOO_LARGE, "the args of these runs are too much for one request");
    else if (args != NULL)
        json_print(args, &s->args, &s->err);
}

static void finding_read(struct queue_reading *r)
{
    struct job_finding *f =
        (struct job_finding *)((char *)r - offsetof(struct job_finding, reading));
    size_t at = 0;
    for (size_t i = 0; i < f->count; i++) {
        struct job_stored *s = f->list[i];
        if (s->kind == STORED_UNDONE)
            continue;
        s->err = r->job.err;
        if (s->err.code == 0)
            found_take(s, &f->look.shown[at]);
        at++;
    }
    queue_shown_free(f->look.shown, f->look.count);
    f->done(f);
}

static void finding_looked(struct queue_looking *l)
{
    struct job_finding *f = (struct job_finding *)l;
    f->reading = (struct queue_reading){
        .shown = l->shown, .count = l->count, .runs = true, .done = finding_read};
    queue_read_start(&f->reading, f->req);
}

void job_find_start(struct job_finding *f, struct http_request *req)
{
    f->req = req;
    f->look = (struct queue_looking){.tenant = API_TENANT, .done = finding_looked};
    f->look.shown = mem_new_array(f->count, sizeof *f->look.shown);
    for (size_t i = 0; i < f->count; i++)
        if (f->list[i]->kind != STORED_UNDONE)
            f->look.shown[f->look.count++].id = f->list[i]->run;
    queue_look_start(&f->look, req);
}

void job_stored_order(struct job_stored *const *list, size_t count)
{
    for (size_t i = 0; i < count; i++)
        for (size_t k = 0; k < i; k++)
            list[i]->before += list[k]->kind != STORED_WAIT && list[k]->kind != STORED_UNDONE &&
                               memcmp(&list[k]->run, &list[i]->run, sizeof list[i]->run) == 0;
}

bool job_stored_ahead(struct job_stored *const *list, size_t count, const struct uuid *run,
                      struct job_ahead *out)
{
    bool any = false;
    memset(out, 0, sizeof *out);
    for (size_t i = 0; i < count; i++) {
        const struct job_stored *s = list[i];
        if (s->kind == STORED_WAIT || s->kind == STORED_UNDONE ||
            memcmp(&s->run, run, sizeof *run) != 0)
            continue;
        any = true;
        out->undo += s->undo;
        out->job = s->job;
        out->correlation = json_string_value(json_object_get(s->said, "correlation"));
        if (s->undo && s->args.len > 0) {
            out->args = s->args.data;
            out->args_len = s->args.len;
        }
    }
    return any;
}

/* ---- into a unit ---- */

static int undo_run(const struct job_stored *s, struct db *db, struct uuid *out, struct err *e)
{
    struct job_run run;
    int rc = job_run_find(db, &s->run, &run, e);
    *out = run.undo;
    if (rc == 0 || (rc > 0 && !run.has_undo))
        return err_set(e, ERR_CONFLICT, "the steps of this run are not being undone");
    return rc < 0 ? rc : 0;
}

int job_stored_if(const struct job_stored *s, struct db *db, struct txn *t, struct err *e)
{
    struct uuid held = s->run;
    int rc = s->kind == STORED_UNDONE ? undo_run(s, db, &held, e) : 0;
    if (rc == 0)
        queue_txn_if_delivery(t, &held, s->token);
    return rc;
}

int job_stored_back(const struct job_stored *s, int64_t until, struct txn *t, struct err *e)
{
    return queue_txn_settle(t,
                            &(struct core_settle){.id = s->run,
                                                  .token = s->token,
                                                  .outcome = SETTLE_SNOOZE,
                                                  .delay_ms = -1,
                                                  .until = until},
                            NULL, 0, e);
}

int job_stored_keep(const struct job_stored *s, struct db *db, struct txn *t, struct err *e)
{
    struct job_run run;
    int rc = job_run_find(db, &s->run, &run, e);
    if (rc < 0)
        return rc;
    struct job_step step = {.run = s->run,
                            .job = s->job,
                            .ordinal = (rc > 0 ? run.steps : 0) + s->before + 1,
                            .name = s->name,
                            .kind = s->kind == STORED_SLEEP ? JOB_STEP_SLEEP : JOB_STEP_DONE,
                            .result = buf_str(&s->result),
                            .result_len = s->result.len,
                            .undo = s->undo,
                            .args = s->args.len > 0 ? s->args.data : NULL,
                            .args_len = s->args.len,
                            .correlation =
                                json_string_value(json_object_get(s->said, "correlation"))};
    return job_txn_step(t, &step, e);
}

static bool step_seen(void *arg, const struct job_step_row *row)
{
    *(uint32_t *)arg = row->ordinal;
    return true;
}

static int wait_add(const struct job_stored *s, struct db *db, struct txn *t, struct err *e)
{
    struct bus_met met;
    enum bus_waited how = BUS_WAIT_NONE;
    uint32_t seen;
    int rc = job_step_find(db, &s->run, s->name, step_seen, &seen, e);
    if (rc == 0) {
        memset(&met, 0, sizeof met);
        if ((rc = bus_wait_read(db, API_TENANT, &s->run, s->name, &how, &met, e)) == 0)
            bus_met_fini(&met);
    }
    if (rc < 0)
        return rc;
    if (rc > 0 || how != BUS_WAIT_NONE)
        return err_field(e, ERR_CONFLICT, "name",
                         "the run has a wait '%s' already: ask POST /api/jobs/{id}/waits/{name} "
                         "what came of it",
                         s->name);
    rc = bus_txn_wait(t,
                      &(struct bus_wait){.record = s->run,
                                         .name = s->name,
                                         .pattern = s->topic,
                                         .key = s->key,
                                         .until = s->until},
                      e);
    return rc == 0 ? job_stored_back(s, s->until, t, e) : rc;
}

static int fan_add(struct job_stored *s, struct db *db, struct txn *t, struct err *e)
{
    struct job_fan f = {.id = s->fan,
                        .parent = &s->run,
                        .count = s->children_count,
                        .on_done = s->on_done,
                        .args = s->fan_args,
                        .correlation = json_string_value(json_object_get(s->said, "correlation"))};
    int rc = job_txn_fan(t, db, &f, e);
    for (size_t i = 0; i < s->children_count && rc == 0; i++) {
        struct job_draft *d = &s->children[i];
        if (f.correlation != NULL)
            d->message.correlation = f.correlation;
        d->fan = &s->fan;
        if ((rc = job_draft_add(d, t, e)) != 0)
            err_context(e, "runs[%zu]", i);
    }
    return rc == 0 ? job_stored_keep(s, db, t, e) : rc;
}

static int undone_add(const struct job_stored *s, struct db *db, struct txn *t, struct err *e)
{
    uint32_t ordinal = 0;
    int rc = job_step_find(db, &s->run, s->name, step_seen, &ordinal, e);
    if (rc == 0)
        return err_field(e, ERR_NOT_FOUND, "name", "the run has no step '%s'", s->name);
    return rc < 0 ? rc : job_txn_undone(t, &s->run, ordinal, e);
}

int job_stored_add(struct job_stored *s, struct db *db, struct txn *t, struct err *e)
{
    int rc;
    switch (s->kind) {
    case STORED_STEP:
        return job_stored_keep(s, db, t, e);
    case STORED_SLEEP:
        rc = job_stored_keep(s, db, t, e);
        return rc == 0 ? job_stored_back(s, s->until, t, e) : rc;
    case STORED_WAIT:
        return wait_add(s, db, t, e);
    case STORED_FAN:
        return fan_add(s, db, t, e);
    case STORED_UNDONE:
        return undone_add(s, db, t, e);
    }
    return 0;
}
