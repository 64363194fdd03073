/* Reading a declaration. */
#include "job/def.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/time.h"
#include "queue/queue.h"

static const char *const def_keys[] = {
    "attempts", "backoff",    "timeout", "ttl",         "deadline",      "priority",
    "lane",     "gate",       "needs",   "concurrency", "on_start",      "critical",
    "chain",    "on_failure", "args",    "keep",        "scheduled_args"};

enum { DEF_BACKOFF_CAP_MS = 5 * 60 * 1000 };

/* ---- values ---- */

static int def_number(const json_t *o, const char *key, int64_t least, int64_t most, int64_t *out,
                      struct err *e)
{
    int64_t v = 0;
    int rc = json_get_int(o, key, &v, e);
    if (rc != 0)
        return rc == ERR_NOT_FOUND ? 0 : rc;
    if (v < least || v > most)
        return err_field(e, ERR_INVALID, key, "%s: a number of %lld to %lld", key, (long long)least,
                         (long long)most);
    *out = v;
    return 0;
}

static int def_wait(const json_t *v, const char *key, int64_t *ms, struct err *e)
{
    struct err why = ERR_INIT;
    if (json_is_string(v) && duration_parse(json_string_value(v), ms, &why) == 0)
        return 0;
    double s = json_is_number(v) ? json_number_value(v) : -1;
    if (s >= 0 && s <= 100.0 * 366 * 86400) {
        *ms = llround(s * 1000);
        return 0;
    }
    return err_field(e, ERR_INVALID, key, "%s: wants a duration like \"10m\", or seconds", key);
}

static int def_duration(const json_t *o, const char *key, int64_t least, int64_t most, int64_t *ms,
                        struct err *e)
{
    const json_t *v = json_object_get(o, key);
    char low[32], high[32];
    if (v == NULL || json_is_null(v))
        return 0;
    int rc = def_wait(v, key, ms, e);
    if (rc != 0 || (*ms >= least && *ms <= most))
        return rc;
    duration_format(least, low, sizeof low);
    duration_format(most, high, sizeof high);
    return err_field(e, ERR_INVALID, key, "%s: %s to %s", key, low, high);
}

static int def_text_of(const json_t *v, const char *key, const char **out, struct err *e)
{
    size_t n = json_string_length(v);
    *out = json_string_value(v);
    if (n > 0 && n <= CORE_TEXT_MAX && memchr(*out, '\0', n) == NULL)
        return 0;
    return err_field(e, ERR_INVALID, key, "%s: a text of 1 to %d bytes", key, CORE_TEXT_MAX);
}

/* One of two words. */
static int def_choice(const json_t *o, const char *key, const char *no, const char *yes, int *out,
                      struct err *e)
{
    const char *text = NULL;
    int rc = json_get_string(o, key, &text, e);
    if (rc != 0)
        return rc == ERR_NOT_FOUND ? 0 : rc;
    *out = strcmp(text, no) == 0 ? 1 : strcmp(text, yes) == 0 ? 2 : 0;
    if (*out == 0)
        return err_field(e, ERR_INVALID, key, "%s: '%s' or '%s', not '%.40s'", key, no, yes, text);
    return 0;
}

/* ---- how a run is sent ---- */

static int def_backoff(struct job_def *d, struct err *e)
{
    const json_t *v = json_object_get(d->json, "backoff");
    int64_t ms;
    if (v == NULL || json_is_null(v))
        return 0;
    d->has_backoff = true;
    size_t n = json_is_array(v) ? json_array_size(v) : 1;
    if (n < 1 || n > CORE_BACKOFF_LIST_MAX)
        return err_field(e, ERR_INVALID, "backoff", "backoff: 1 to %d waits",
                         CORE_BACKOFF_LIST_MAX);
    for (size_t i = 0; i < n; i++) {
        int rc = def_wait(json_is_array(v) ? json_array_get(v, i) : v, "backoff", &ms, e);
        if (rc != 0)
            return rc;
        if (ms > UINT32_MAX)
            return err_field(e, ERR_INVALID, "backoff", "backoff: a wait is at most 49 days");
        d->backoff.list[i] = (uint32_t)ms;
    }
    d->backoff.list_count = (uint8_t)n;
    if (json_is_array(v) || ms == 0)
        return 0;
    d->backoff = (struct core_backoff){
        .first = (uint32_t)ms, .cap = ms > DEF_BACKOFF_CAP_MS ? (uint32_t)ms : DEF_BACKOFF_CAP_MS};
    return 0;
}

static int def_gates(struct job_def *d, struct err *e)
{
    const json_t *v = json_object_get(d->json, "gate");
    if (v == NULL || json_is_null(v))
        return 0;
    size_t n = json_is_array(v) ? json_array_size(v) : 1;
    if (n > CORE_GATES_MAX)
        return err_field(e, ERR_INVALID, "gate", "gate: at most %d of them", CORE_GATES_MAX);
    for (size_t i = 0; i < n; i++) {
        const json_t *one = json_is_array(v) ? json_array_get(v, i) : v;
        int rc = def_text_of(one, "gate", &d->gates[i], e);
        if (rc != 0)
            return rc;
        for (size_t k = 0; k < i; k++)
            if (strcmp(d->gates[i], d->gates[k]) == 0)
                return err_field(e, ERR_INVALID, "gate", "gate: '%s' is named twice", d->gates[i]);
    }
    d->gates_count = (uint8_t)n;
    return 0;
}

static int def_label(const char *name, const json_t *v, struct core_label *out, struct err *e)
{
    *out = (struct core_label){.name = name};
    if (json_is_true(v))
        return 0;
    if (json_is_string(v))
        return def_text_of(v, "needs", &out->text, e);
    json_int_t n = json_integer_value(v);
    if (n < 1 || n > UINT32_MAX)
        return err_field(e, ERR_INVALID, "needs",
                         "needs: %s is true, a text, or a number from 1 on", name);
    out->number = (uint32_t)n;
    return 0;
}

static int def_needs(struct job_def *d, struct err *e)
{
    json_t *v = json_object_get(d->json, "needs");
    if (v == NULL || json_is_null(v))
        return 0;
    if (!json_is_object(v) || json_object_size(v) > CORE_LABELS_MAX)
        return err_field(e, ERR_INVALID, "needs", "needs: an object of at most %d labels",
                         CORE_LABELS_MAX);
    const char *name;
    json_t *of;
    json_object_foreach(v, name, of)
    {
        if (strlen(name) < 1 || strlen(name) > CORE_TEXT_MAX)
            return err_field(e, ERR_INVALID, "needs", "needs: a label has 1 to %d bytes",
                             CORE_TEXT_MAX);
        int rc = def_label(name, of, &d->needs[d->needs_count++], e);
        if (rc != 0)
            return rc;
    }
    return 0;
}

static int def_sending(struct job_def *d, struct err *e)
{
    int64_t attempts = CORE_ATTEMPTS, priority = CORE_PRIORITY, timeout = JOB_TIMEOUT_MS;
    const json_t *lane = json_object_get(d->json, "lane");
    d->deadline_ms = JOB_DEADLINE_MS;
    int rc = def_number(d->json, "attempts", 1, CORE_ATTEMPTS_MAX, &attempts, e);
    if (rc == 0)
        rc = def_number(d->json, "priority", 0, CORE_PRIORITY_MAX, &priority, e);
    if (rc == 0)
        rc = def_duration(d->json, "timeout", 1, UINT32_MAX, &timeout, e);
    if (rc == 0)
        rc = def_duration(d->json, "ttl", 1, JOB_DEADLINE_MS, &d->ttl_ms, e);
    if (rc == 0)
        rc = def_duration(d->json, "deadline", 1, JOB_DEADLINE_MS, &d->deadline_ms, e);
    if (rc == 0 && lane != NULL && !json_is_null(lane))
        rc = def_text_of(lane, "lane", &d->lane, e);
    if (rc == 0)
        rc = def_backoff(d, e);
    if (rc == 0)
        rc = def_gates(d, e);
    if (rc == 0)
        rc = def_needs(d, e);
    d->attempts = (uint16_t)attempts;
    d->priority = (uint8_t)priority;
    d->timeout_ms = (uint32_t)timeout;
    return rc;
}

/* ---- the rest ---- */

static int def_keep_time(const json_t *o, const char *key, int64_t *ms, struct err *e)
{
    const char *text = json_string_value(json_object_get(o, key));
    if (text != NULL && strcmp(text, "forever") == 0) {
        *ms = -1;
        return 0;
    }
    return def_duration(o, key, 0, JOB_DEADLINE_MS, ms, e);
}

/* "7d" is of what was discarded; {"completed", "discarded", "count"} says all. */
static int def_keep(struct job_def *d, struct err *e)
{
    static const char *const names[] = {"completed", "discarded", "count"};
    const json_t *v = json_object_get(d->json, "keep");
    int64_t count = JOB_KEEP_COUNT;
    d->keep_completed_ms = JOB_KEEP_COMPLETED_MS;
    d->keep_discarded_ms = JOB_KEEP_DISCARDED_MS;
    d->keep_count = JOB_KEEP_COUNT;
    if (!json_is_object(v))
        return def_keep_time(d->json, "keep", &d->keep_discarded_ms, e);
    int rc = json_only_keys(v, "keep", names, ARRAY_LEN(names), e);
    if (rc == 0)
        rc = def_keep_time(v, "completed", &d->keep_completed_ms, e);
    if (rc == 0)
        rc = def_keep_time(v, "discarded", &d->keep_discarded_ms, e);
    if (rc == 0)
        rc = def_number(v, "count", 1, UINT32_MAX, &count, e);
    d->keep_count = (uint32_t)count;
    return rc;
}

static int def_chain(struct job_def *d, struct err *e)
{
    const json_t *v = json_object_get(d->json, "chain");
    if (v == NULL || json_is_null(v))
        return 0;
    size_t n = json_array_size(v);
    if (!json_is_array(v) || n > JOB_CHAIN_MAX)
        return err_field(e, ERR_INVALID, "chain", "chain: a list of at most %d names of jobs",
                         JOB_CHAIN_MAX);
    for (size_t i = 0; i < n; i++) {
        const char *name = json_string_value(json_array_get(v, i));
        struct err why = ERR_INIT;
        if (job_name_check(name != NULL ? name : "", &why) != 0)
            return err_field(e, ERR_INVALID, "chain", "chain: %s", why.text);
    }
    d->chain = n > 0 ? v : NULL;
    return 0;
}

/* The run for the start of a node needs that node, besides what the job needs. */
static int def_start(const struct job_def *d, struct err *e)
{
    if (d->on_start != JOB_START_NODE)
        return 0;
    for (uint8_t i = 0; i < d->needs_count; i++)
        if (strcmp(d->needs[i].name, "node") == 0)
            return err_field(e, ERR_INVALID, "needs",
                             "needs: with on_start = \"node\" each run needs the node that it is "
                             "for; leave out 'node'");
    if (d->needs_count == CORE_LABELS_MAX)
        return err_field(e, ERR_INVALID, "needs",
                         "needs: at most %d labels with on_start = \"node\", which needs one",
                         CORE_LABELS_MAX - 1);
    return 0;
}

static int def_rest(struct job_def *d, struct err *e)
{
    int64_t concurrency = 0;
    int start = 0, failure = 0;
    const json_t *args = json_object_get(d->json, "args");
    int rc = def_number(d->json, "concurrency", 1, UINT32_MAX, &concurrency, e);
    if (rc == 0)
        rc = def_choice(d->json, "on_start", "cluster", "node", &start, e);
    if (rc == 0)
        rc = def_choice(d->json, "on_failure", "abort", "continue", &failure, e);
    if (rc == 0 && json_get_bool(d->json, "critical", &d->critical, e) == ERR_INVALID)
        rc = ERR_INVALID;
    if (rc == 0 && args != NULL && !json_is_null(args) && !json_is_object(args))
        rc = err_field(e, ERR_INVALID, "args", "args: the fields of a run, as of an entity");
    d->concurrency = (uint32_t)concurrency;
    d->on_start = (enum job_on_start)start;
    d->goes_on = failure == 2;
    d->args = json_is_object(args) ? args : NULL;
    return rc != 0 ? rc : def_start(d, e);
}

/* Behind def_schedule() and def_rest(). */
static int def_scheduled(struct job_def *d, struct err *e)
{
    const json_t *v = json_object_get(d->json, "scheduled_args");
    if (v == NULL || json_is_null(v))
        return 0;
    if (!json_is_object(v))
        return err_field(e, ERR_INVALID, "scheduled_args", "scheduled_args: the args as an object");
    if (!d->has_schedule && d->on_start == JOB_START_NONE)
        return err_field(e, ERR_INVALID, "scheduled_args",
                         "scheduled_args: of a job with cron, every, after or on_start");
    d->scheduled_args = v;
    return 0;
}

static int def_schedule(struct job_def *d, struct err *e)
{
    int rc = schedule_parse(d->name, d->json, &d->schedule, e);
    d->has_schedule = rc == 0;
    return rc == ERR_NOT_FOUND ? 0 : rc;
}

static int def_only(const json_t *declaration, struct err *e)
{
    const char *names[64];
    size_t n = 0;
    ASSERT(ARRAY_LEN(def_keys) + schedule_keys_n <= ARRAY_LEN(names));
    for (size_t i = 0; i < schedule_keys_n; i++)
        names[n++] = schedule_keys[i];
    for (size_t i = 0; i < ARRAY_LEN(def_keys); i++)
        names[n++] = def_keys[i];
    return json_only_keys(declaration, "a job", names, n, e);
}

const char *job_outcome_name(enum job_outcome o)
{
    static const char *const names[] = {[JOB_COMPLETED] = "completed",
                                        [JOB_DISCARDED] = "discarded",
                                        [JOB_CANCELLED] = "cancelled"};
    return names[o];
}

int job_name_check(const char *name, struct err *e)
{
    return str_check_name(name, "job", e);
}

int job_def_read(const char *name, const json_t *declaration, struct job_def *out, struct err *e)
{
    static int (*const readers[])(struct job_def *, struct err *) = {
        def_schedule, def_sending, def_keep, def_chain, def_rest, def_scheduled};
    struct job_def d = {.on_start = JOB_START_NONE};
    int rc = job_name_check(name, e);
    if (rc != 0)
        return rc;
    if (!json_is_object(declaration))
        return err_set(e, ERR_INVALID, "the declaration of job '%s' is an object", name);
    if ((rc = def_only(declaration, e)) != 0)
        return rc;
    str_copy(d.name, sizeof d.name, name);
    snprintf(d.queue, sizeof d.queue, "job.%s", d.name);
    d.json = json_incref((json_t *)(uintptr_t)declaration);
    for (size_t i = 0; i < ARRAY_LEN(readers); i++)
        if ((rc = readers[i](&d, e)) != 0) {
            job_def_fini(&d);
            return rc;
        }
    *out = d;
    return 0;
}

void job_def_fini(struct job_def *d)
{
    json_decref(d->json);
    *d = (struct job_def){.on_start = JOB_START_NONE};
}

void job_def_queue(const struct job_def *d, struct core_queue *out)
{
    *out = (struct core_queue){.name = NULL};
    core_queue_defaults(out);
    out->name = d->queue;
    out->concurrency = d->concurrency;
    out->handled = true;
    out->keep_completed_ms = d->keep_completed_ms;
    out->keep_discarded_ms = d->keep_discarded_ms;
    out->keep_count = d->keep_count;
}

void job_def_message(const struct job_def *d, struct queue_message *out)
{
    *out = (struct queue_message){.send = {.queue = d->queue,
                                           .ttl_ms = d->ttl_ms,
                                           .deadline_ms = d->deadline_ms,
                                           .timeout_ms = d->timeout_ms,
                                           .priority = d->priority,
                                           .attempts = d->attempts,
                                           .backoff = d->has_backoff ? &d->backoff : NULL,
                                           .lane = d->lane,
                                           .needs = d->needs_count > 0 ? d->needs : NULL,
                                           .needs_count = d->needs_count,
                                           .gates_count = d->gates_count}};
    memcpy(out->send.gates, d->gates, sizeof out->send.gates);
}
