/* `queue` and `on "queue/NAME"`: what scripts declare of queues, checked while they load, so that a
 * message names the line. */
#include "bind/queue_lib.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "base/time.h"
#include "bind/job_lib.h"
#include "bind/send_priv.h"

enum { QUEUE_ARENA_MAX = 64 << 10, QUEUE_NAME_MAX = 128 };

/* ---- options that are the same everywhere ---- */

int bind_duration_read(const json_t *o, const char *key, int64_t *ms, struct err *e)
{
    const json_t *v = json_object_get(o, key);
    if (v == NULL || json_is_null(v))
        return 0;
    if (json_is_string(v))
        return duration_parse(json_string_value(v), ms, e) != 0 ? err_context(e, "%s", key) : 0;
    double seconds = json_is_number(v) ? json_number_value(v) : -1;
    if (!(seconds >= 0 && seconds <= 3e9))
        return err_field(e, ERR_INVALID, key, "%s wants a duration like \"10s\"", key);
    *ms = (int64_t)llround(seconds * 1000);
    return 0;
}

static int number_read(const json_t *o, const char *key, int64_t max, int64_t *out, struct err *e)
{
    int64_t v = *out;
    if (json_get_int(o, key, &v, e) == ERR_INVALID)
        return e->code;
    if (v < 0 || v > max)
        return err_field(e, ERR_INVALID, key, "%s is a number up to %lld", key, (long long)max);
    *out = v;
    return 0;
}

static int text_read(const json_t *o, const char *key, struct arena *a, const char **out,
                     struct err *e)
{
    const char *text = NULL;
    if (json_get_string(o, key, &text, e) == ERR_INVALID)
        return e->code;
    if (text == NULL)
        return 0;
    size_t n = strlen(text);
    if (n < 1 || n > CORE_TEXT_MAX || n != json_string_length(json_object_get(o, key)))
        return err_field(e, ERR_INVALID, key, "%s is a text of 1 to %d bytes", key, CORE_TEXT_MAX);
    *out = arena_strndup(a, text, n);
    return *out == NULL ? err_field(e, ERR_TOO_LARGE, key, "%s: too many options", key) : 0;
}

static int wait_read(const json_t *v, uint32_t *out, struct err *e)
{
    AUTO(json_unref) json_t *o = json_object();
    int64_t ms = -1;
    json_object_set(o, "backoff", (json_t *)v);
    int rc = bind_duration_read(o, "backoff", &ms, e);
    if (rc == 0 && (ms < 0 || ms > UINT32_MAX))
        return err_field(e, ERR_INVALID, "backoff", "backoff: a wait is at most 49 days");
    *out = (uint32_t)ms;
    return rc;
}

/* "1s,10s" is { "1s", "10s" }. */
static json_t *waits_of_text(const json_t *v)
{
    const char *text = json_string_value(v);
    if (text == NULL || strchr(text, ',') == NULL)
        return json_incref((json_t *)(uintptr_t)v);
    json_t *list = json_array();
    for (const char *p = text;; p++) {
        size_t n = strcspn(p, ",");
        json_array_append_new(list, json_stringn(p, n));
        p += n;
        if (*p == '\0')
            return list;
    }
}

/* "5s": doubling from there; { "1s", "10s" } or "1s,10s": those waits, the last again and again. */
static int backoff_read(const json_t *o, struct arena *a, const struct core_backoff **out,
                        struct err *e)
{
    if (json_object_get(o, "backoff") == NULL)
        return 0;
    AUTO(json_unref) json_t *v = waits_of_text(json_object_get(o, "backoff"));
    struct core_backoff *b = arena_new(a, sizeof *b);
    *out = b;
    if (!json_is_array(v)) {
        int rc = wait_read(v, &b->first, e);
        b->cap = b->first > 5 * 60 * 1000 ? b->first : 5 * 60 * 1000;
        if (rc == 0 && b->first == 0)
            b->list_count = 1; /* at once, each time */
        return rc;
    }
    size_t n = json_array_size(v);
    if (n < 1 || n > CORE_BACKOFF_LIST_MAX)
        return err_field(e, ERR_INVALID, "backoff", "backoff: 1 to %d waits",
                         CORE_BACKOFF_LIST_MAX);
    b->list_count = (uint8_t)n;
    for (size_t i = 0; i < n; i++)
        if (wait_read(json_array_get(v, i), &b->list[i], e) != 0)
            return e->code;
    return 0;
}

static int gates_read(const json_t *o, struct arena *a, struct core_send *out, struct err *e)
{
    const json_t *v = json_object_get(o, "gate");
    AUTO(json_unref) json_t *one = json_object();
    if (v == NULL)
        return 0;
    size_t n = json_is_array(v) ? json_array_size(v) : 1;
    if (n > CORE_GATES_MAX)
        return err_field(e, ERR_INVALID, "gate", "gate: at most %d of them", CORE_GATES_MAX);
    for (size_t i = 0; i < n; i++) {
        json_object_set(one, "gate", json_is_array(v) ? json_array_get(v, i) : (json_t *)v);
        if (text_read(one, "gate", a, &out->gates[i], e) != 0)
            return e->code;
        for (size_t k = 0; k < i; k++)
            if (strcmp(out->gates[i], out->gates[k]) == 0)
                return err_field(e, ERR_INVALID, "gate", "gate '%s' is named twice", out->gates[i]);
    }
    out->gates_count = (uint8_t)n;
    out->no_gates = n == 0;
    return 0;
}

int bind_sending_read(const json_t *o, struct arena *a, struct core_send *out, struct err *e)
{
    int64_t attempts = out->attempts, priority = out->priority, timeout = out->timeout_ms;
    if (json_object_get(o, "priority") != NULL) {
        priority = 0;
        if (number_read(o, "priority", CORE_PRIORITY_MAX, &priority, e) != 0)
            return e->code;
    }
    if (number_read(o, "attempts", CORE_ATTEMPTS_MAX, &attempts, e) != 0 ||
        bind_duration_read(o, "timeout", &timeout, e) != 0 ||
        bind_duration_read(o, "ttl", &out->ttl_ms, e) != 0 ||
        bind_duration_read(o, "deadline", &out->deadline_ms, e) != 0 ||
        backoff_read(o, a, &out->backoff, e) != 0 || text_read(o, "lane", a, &out->lane, e) != 0 ||
        gates_read(o, a, out, e) != 0)
        return e->code;
    if (json_object_get(o, "timeout") != NULL && (timeout < 1 || timeout > UINT32_MAX))
        return err_field(e, ERR_INVALID, "timeout", "timeout: from 1 ms to 49 days");
    if (json_object_get(o, "attempts") != NULL && attempts < 1)
        return err_field(e, ERR_INVALID, "attempts", "attempts count from 1");
    if (json_object_get(o, "ttl") != NULL && out->ttl_ms == 0)
        out->ttl_ms = -1;
    out->attempts = (uint16_t)attempts;
    out->priority = (uint8_t)priority;
    out->timeout_ms = (uint32_t)timeout;
    return 0;
}

/* ---- a queue ---- */

struct bind_queue *bind_set_queue(const struct bind_set *s, const char *name)
{
    for (size_t i = 0; s != NULL && s->queues != NULL && i < s->queues->count; i++)
        if (strcmp(s->queues->list[i].q.name, name) == 0)
            return &s->queues->list[i];
    return NULL;
}

void bind_queues_free(struct bind_queues *q)
{
    for (size_t i = 0; q != NULL && i < q->count; i++) {
        vm_meter_free(q->list[i].meter);
        arena_fini(q->list[i].arena);
        mem_free(q->list[i].arena);
    }
    mem_free(q);
}

static int name_check(const char *name, struct err *e)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
    size_t n = strlen(name);
    if (n < 1 || n > QUEUE_NAME_MAX || strspn(name, plain) != n)
        return err_set(e, ERR_INVALID, "a queue is named with 1 to %d letters, digits and . _ -",
                       QUEUE_NAME_MAX);
    return 0;
}

struct bind_queue *bind_queue_of(struct bind_set *s, const char *name, struct err *e)
{
    struct bind_queue *q = bind_set_queue(s, name);
    if (q != NULL || name_check(name, e) != 0)
        return q;
    if (canon_queue_is_ours(name)) {
        err_set(e, ERR_INVALID, "queues named canon. are canon's, which declares and works them");
        return NULL;
    }
    if (s->queues == NULL)
        s->queues = mem_new(sizeof *s->queues);
    if (s->queues->count == BIND_QUEUES_MAX) {
        err_set(e, ERR_TOO_LARGE, "over %d queues in a set of scripts", BIND_QUEUES_MAX);
        return NULL;
    }
    q = &s->queues->list[s->queues->count++];
    *q = (struct bind_queue){.arena = mem_new(sizeof *q->arena), .run = LUA_NOREF};
    arena_init(q->arena, QUEUE_ARENA_MAX);
    q->sending.priority = CORE_PRIORITY_UNSAID;
    core_queue_defaults(&q->q);
    q->q.tenant = "default";
    q->q.name = arena_strndup(q->arena, name, strlen(name));
    snprintf(q->label, sizeof q->label, "queue/%s", name);
    return q;
}

static int choice_read(const json_t *o, const char *key, const char *no, const char *yes, bool *out,
                       struct err *e)
{
    const char *text = NULL;
    if (json_get_string(o, key, &text, e) == ERR_INVALID)
        return e->code;
    if (text == NULL)
        return 0;
    *out = strcmp(text, yes) == 0;
    if (!*out && strcmp(text, no) != 0)
        return err_field(e, ERR_INVALID, key, "%s is '%s' or '%s', not '%.60s'", key, no, yes,
                         text);
    return 0;
}

static int keep_time(const json_t *o, const char *key, int64_t *ms, struct err *e)
{
    const char *text = json_string_value(json_object_get(o, key));
    if (text != NULL && strcmp(text, "forever") == 0) {
        *ms = -1;
        return 0;
    }
    return bind_duration_read(o, key, ms, e);
}

/* "7d" is of what was discarded; { completed =, discarded =, count = } says both. */
static int keep_read(const json_t *o, struct core_queue *q, struct err *e)
{
    static const char *const names[] = {"completed", "discarded", "count"};
    const json_t *v = json_object_get(o, "keep");
    if (v == NULL || !json_is_object(v))
        return keep_time(o, "keep", &q->keep_discarded_ms, e);
    int64_t count = q->keep_count;
    if (json_only_keys(v, "keep", names, ARRAY_LEN(names), e) != 0 ||
        keep_time(v, "completed", &q->keep_completed_ms, e) != 0 ||
        keep_time(v, "discarded", &q->keep_discarded_ms, e) != 0 ||
        number_read(v, "count", UINT32_MAX, &count, e) != 0)
        return err_context(e, "keep");
    q->keep_count = (uint32_t)count;
    return 0;
}

static int body_max_read(const json_t *o, struct core_queue *q, struct err *e)
{
    const json_t *v = json_object_get(o, "body_max");
    uint64_t bytes = 0;
    if (v == NULL)
        return 0;
    if (json_is_string(v) ? size_parse(json_string_value(v), &bytes, NULL) != 0
                          : !json_is_integer(v) || json_integer_value(v) < 0)
        bytes = 0;
    else if (json_is_integer(v))
        bytes = (uint64_t)json_integer_value(v);
    if (bytes < 1 || bytes > CORE_BODY_MAX)
        return err_field(e, ERR_INVALID, "body_max",
                         "body_max is a size like \"256KiB\", at most %d MiB", CORE_BODY_MAX >> 20);
    q->body_max = (uint32_t)bytes;
    return 0;
}

static int max_bytes_read(const json_t *o, struct core_queue *q, struct err *e)
{
    const json_t *v = json_object_get(o, "max_bytes");
    if (json_is_string(v))
        return size_parse(json_string_value(v), &q->max_bytes, e) != 0 ? err_context(e, "max_bytes")
                                                                       : 0;
    int64_t bytes = 0;
    int rc = number_read(o, "max_bytes", INT64_MAX, &bytes, e);
    q->max_bytes = (uint64_t)bytes;
    return rc;
}

int bind_concurrency_read(const json_t *o, struct bind_queue *q, struct err *e)
{
    int64_t n = 0;
    if (json_object_get(o, "concurrency") == NULL)
        return 0;
    if (q->has_concurrency)
        return err_field(e, ERR_INVALID, "concurrency",
                         "concurrency is said twice, at the queue and at its handler");
    if (number_read(o, "concurrency", UINT32_MAX, &n, e) != 0)
        return e->code;
    q->has_concurrency = true;
    q->q.concurrency = (uint32_t)n;
    return 0;
}

/* What is said at `queue` and at `on`, of which the later counts. */
static int sending_read(const json_t *o, struct bind_queue *q, struct err *e)
{
    const json_t *needs = json_object_get(o, "needs");
    if (bind_sending_read(o, q->arena, &q->sending, e) != 0)
        return e->code;
    if (needs != NULL) {
        struct core_label *labels = arena_new(q->arena, CORE_LABELS_MAX * sizeof *labels);
        q->sending.needs = labels;
        q->sending.needs_count = 0;
        if (bind_needs_read(needs, q->arena, labels, &q->sending.needs_count, e) != 0)
            return e->code;
    }
    q->q.sending = core_sending_says(&q->sending) ? &q->sending : NULL;
    return 0;
}

void bind_queue_said(struct bind_queue *q, const char *where, uint32_t options)
{
    const char *colon = strrchr(where, ':');
    size_t n = colon != NULL ? (size_t)(colon - where) : strlen(where);
    if (q->q.script == NULL)
        q->q.script = arena_strndup(q->arena, where, n < CORE_TEXT_MAX ? n : CORE_TEXT_MAX);
    q->q.scripted |= options | OPTION_HANDLED;
}

static uint32_t options_said(const json_t *o)
{
    static const char *const kept[][2] = {
        {"completed", "keep_completed"}, {"discarded", "keep_discarded"}, {"count", "keep_count"}};
    const json_t *keep = json_object_get(o, "keep");
    const char *name;
    json_t *v;
    uint32_t said = keep != NULL && !json_is_object(keep) ? OPTION_KEEP_DISCARDED : 0;
    json_object_foreach((json_t *)(uintptr_t)o, name, v) said |= core_option_named(name);
    for (size_t i = 0; i < ARRAY_LEN(kept); i++)
        if (json_object_get(keep, kept[i][0]) != NULL)
            said |= core_option_named(kept[i][1]);
    return said;
}

static void said_here(lua_State *L, struct bind_queue *q, const json_t *o)
{
    char where[CORE_TEXT_MAX];
    vm_where(L, where, sizeof where);
    bind_queue_said(q, where, options_said(o));
}

static int queue_read(const json_t *o, struct bind_queue *q, struct err *e)
{
    static const char *const names[] = {
        "attempts", "backoff", "timeout", "ttl",         "deadline",     "priority", "lane",
        "gate",     "needs",   "max",     "max_bytes",   "overflow",     "dead_to",  "on_dead",
        "manual",   "due",     "keep",    "concurrency", "dedup_window", "body_max"};
    int64_t max = 0;
    bool drops = false, halts = false;
    struct core_queue *c = &q->q;
    if (json_only_keys(o, "a queue", names, ARRAY_LEN(names), e) != 0 ||
        sending_read(o, q, e) != 0 || number_read(o, "max", INT64_MAX, &max, e) != 0 ||
        max_bytes_read(o, c, e) != 0 || body_max_read(o, c, e) != 0 ||
        choice_read(o, "overflow", "refuse", "drop_oldest", &drops, e) != 0 ||
        choice_read(o, "on_dead", "go_on", "halt", &halts, e) != 0 ||
        text_read(o, "dead_to", q->arena, &c->dead_to, e) != 0 ||
        json_get_bool(o, "manual", &c->manual, e) == ERR_INVALID || keep_read(o, c, e) != 0 ||
        bind_concurrency_read(o, q, e) != 0 ||
        bind_duration_read(o, "dedup_window", &c->dedup_window_ms, e) != 0 ||
        bind_duration_read(o, "due", &c->due_ms, e) != 0)
        return e->code;
    if (c->due_ms > 0 && !c->manual)
        return err_field(e, ERR_INVALID, "due",
                         "due: when people are to be done with a message: of a manual queue");
    c->max = (uint64_t)max;
    c->overflow = drops ? OVERFLOW_DROP_OLDEST : OVERFLOW_REFUSE;
    c->halt_on_dead = halts;
    if (c->dedup_window_ms < 1000 || c->dedup_window_ms > INT64_C(30) * 86400 * 1000)
        return err_field(e, ERR_INVALID, "dedup_window", "dedup_window: from 1 s to 30 days");
    return c->dead_to != NULL && name_check(c->dead_to, e) != 0 ? err_context(e, "dead_to") : 0;
}

static int handler_read(const json_t *o, struct bind_queue *q, struct err *e)
{
    static const char *const names[] = {"attempts", "backoff",     "timeout", "ttl",
                                        "deadline", "priority",    "lane",    "gate",
                                        "needs",    "concurrency", "run"};
    if (json_only_keys(o, "a handler", names, ARRAY_LEN(names), e) != 0 ||
        sending_read(o, q, e) != 0)
        return e->code;
    return bind_concurrency_read(o, q, e);
}

json_t *bind_queues_json(const struct bind_queues *q)
{
    json_t *list = json_array();
    for (size_t i = 0; q != NULL && i < q->count; i++) {
        const struct bind_queue *one = &q->list[i];
        if (!one->declared && !one->handled)
            continue;
        json_array_append_new(list, json_pack("{s:s, s:b, s:s*}", "name", one->q.name, "handled",
                                              one->handled, "dead_to", one->q.dead_to));
    }
    return list;
}

/* ---- host functions ---- */

static struct bind_queue *declared(lua_State *L, const char *what, const char *name, struct err *e)
{
    if (!vm_is_loading(vm_of(L))) {
        err_set(e, ERR_INVALID, "declarations stand at the top of a script, not in a function");
        return NULL;
    }
    if (bind_is_job_queue(name)) {
        err_set(e, ERR_INVALID, "names that begin with \"job.\" are those of jobs: job \"%.64s\"",
                name + strlen(BIND_JOB_PREFIX));
        return NULL;
    }
    struct bind_queue *q = bind_queue_of(bind_set_of(L), name, e);
    if (q != NULL && (*what == 'q' ? q->declared : q->handled))
        err_set(e, ERR_INVALID, "is declared twice");
    return q;
}

/* host.queue(name, options) */
static int declare_queue(lua_State *L)
{
    const char *name = luaL_checkstring(L, 1);
    struct err e = ERR_INIT;
    json_t *o = bind_check_json(L, 2, "queue");
    struct bind_queue *q = declared(L, "queue", name, &e);
    if (e.code == 0 && queue_read(o, q, &e) == 0 && q->q.manual && q->handled)
        err_set(&e, ERR_INVALID, "a manual queue is worked by people, and has a handler");
    if (e.code != 0) {
        err_context(&e, "queue '%.80s'", name);
        return vm_raise_fault(L, &e);
    }
    q->declared = true;
    q->q.script = NULL; /* here it is looked for, not where its handler stands */
    said_here(L, q, o);
    return 0;
}

/* host.on_queue(name, options, run) */
static int declare_handler(lua_State *L)
{
    const char *name = luaL_checkstring(L, 1);
    struct err e = ERR_INIT;
    json_t *o = bind_check_json(L, 2, "on");
    struct bind_queue *q = declared(L, "on", name, &e);
    if (e.code == 0 && !lua_isfunction(L, 3))
        err_field(&e, ERR_INVALID, "run", "run = function(body, ctx) .. end is missing");
    if (e.code == 0 && handler_read(o, q, &e) == 0 && q->q.manual)
        err_set(&e, ERR_INVALID, "a manual queue is worked by people, and has a handler");
    if (e.code != 0) {
        err_context(&e, "on 'queue/%.80s'", name);
        return vm_raise_fault(L, &e);
    }
    q->handled = q->q.handled = true;
    said_here(L, q, o);
    q->q.scripted |= OPTION_MANUAL; /* people do not work it: else nobody did */
    lua_pushvalue(L, 3);
    q->run = luaL_ref(L, LUA_REGISTRYINDEX);
    q->meter = vm_meter_new(q->label);
    return 0;
}

void bind_open_queue(lua_State *L)
{
    static const luaL_Reg fns[] = {
        {"queue", declare_queue}, {"on_queue", declare_handler}, {NULL, NULL}};
    luaL_setfuncs(L, fns, 0);
}
