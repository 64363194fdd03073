/* `on "pattern"` and `topic "pattern"`: checked while the scripts load, so that a message names the
 * line; what needs all of them, names said twice among it, when they have loaded. */
#include "bind/bus_lib.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "base/topic.h"
#include "bind/queue_lib.h"
#include "bind/send_priv.h"
#include "bind/webhook_lib.h"
#include "bus/webhook.h"

/* ---- what a group keeps of it, in the form that publishers read ---- */

static void put_ms(json_t *to, const char *key, int64_t ms)
{
    if (ms > 0)
        json_object_set_new(to, key, json_integer(ms));
}

static void put_backoff(json_t *to, const struct core_backoff *b)
{
    if (b == NULL)
        return;
    if (b->list_count == 0) {
        json_object_set_new(
            to, "backoff",
            json_pack("{s:I, s:I}", "first", (json_int_t)b->first, "cap", (json_int_t)b->cap));
        return;
    }
    json_t *list = json_array();
    for (uint8_t i = 0; i < b->list_count; i++)
        json_array_append_new(list, json_integer(b->list[i]));
    json_object_set_new(to, "backoff", list);
}

static void put_sending(json_t *to, const struct core_send *s)
{
    put_ms(to, "attempts", s->attempts);
    put_ms(to, "timeout", s->timeout_ms);
    put_ms(to, "ttl", s->ttl_ms);
    put_ms(to, "deadline", s->deadline_ms);
    put_backoff(to, s->backoff);
    if (s->priority != CORE_PRIORITY_UNSAID)
        json_object_set_new(to, "priority", json_integer(s->priority));
    if (s->lane != NULL)
        json_object_set_new(to, "lane", json_string(s->lane));
    if (s->gates_count == 0)
        return;
    json_t *gates = json_array();
    for (uint8_t i = 0; i < s->gates_count; i++)
        json_array_append_new(gates, json_string(s->gates[i]));
    json_object_set_new(to, "gate", gates);
}

/* ---- on ---- */

static void listener_free(struct bind_listener *l)
{
    vm_meter_free(l->meter);
    json_decref(l->options);
    json_decref(l->said);
    json_decref(l->webhook);
    mem_free(l->pattern);
    mem_free(l->group);
    mem_free(l->file);
    mem_free(l);
}

/* The line; of "shop/audit.lua:12" the name goes to `file`. */
static int place_of(lua_State *L, char *file, size_t cap)
{
    vm_where(L, file, cap);
    char *colon = strrchr(file, ':');
    if (colon == NULL)
        return 0;
    *colon = '\0';
    int64_t line = 0;
    str_to_i64(colon + 1, strlen(colon + 1), &line);
    return (int)line;
}

static int batch_read(const json_t *o, struct bind_listener *l, const struct core_send *sending,
                      struct err *e)
{
    int64_t batch = 0, wait = BIND_BATCH_WAIT_MS;
    bool has = json_object_get(o, "batch") != NULL;
    if (!has && json_object_get(o, "wait") != NULL)
        return err_field(e, ERR_INVALID, "wait", "wait is how long a batch is gathered; say batch");
    if (json_get_int(o, "batch", &batch, e) == ERR_INVALID ||
        bind_duration_read(o, "wait", &wait, e) != 0)
        return e->code;
    if (!has)
        return 0;
    if (batch < 1 || batch > BIND_BATCH_MAX)
        return err_field(e, ERR_INVALID, "batch", "batch is a number from 1 to %d", BIND_BATCH_MAX);
    if (json_object_get(o, "concurrency") != NULL)
        return err_field(e, ERR_INVALID, "concurrency",
                         "concurrency counts messages, and a batch has many: leave it out");
    uint32_t timeout = sending->timeout_ms != 0 ? sending->timeout_ms : 60 * 1000;
    if (wait < 1 || wait > BIND_BATCH_WAIT_MAX_MS || wait > timeout / 2)
        return err_field(e, ERR_INVALID, "wait",
                         "wait is from 1 ms to %d s, and at most half of timeout, which begins "
                         "with it",
                         BIND_BATCH_WAIT_MAX_MS / 1000);
    l->kind = LISTENS_BATCH;
    l->batch = (uint32_t)batch;
    l->wait_ms = (uint32_t)wait;
    return 0;
}

static int webhook_read(const json_t *o, struct bind_listener *l, struct core_send *sending,
                        struct err *e)
{
    static const char *const fixed[] = {"attempts", "backoff", "timeout", "batch"};
    int64_t timeout = 0;
    const json_t *hook = json_object_get(o, "webhook");
    if (hook == NULL)
        return 0;
    for (size_t i = 0; i < ARRAY_LEN(fixed); i++)
        if (json_object_get(o, fixed[i]) != NULL)
            return err_field(e, ERR_INVALID, fixed[i],
                             "%s: not of a webhook, which has %d tries in about a day; the timeout "
                             "of a request is webhook.timeout",
                             fixed[i], WEBHOOK_TRIES);
    l->kind = LISTENS_WEBHOOK;
    l->webhook = json_incref((json_t *)hook);
    if (bind_webhook_check(hook, e) != 0 || bind_webhook_timeout(hook, &timeout, e) != 0)
        return e->code;
    sending->attempts = WEBHOOK_TRIES;
    sending->timeout_ms = (uint32_t)timeout + WEBHOOK_HOLD_MS;
    return 0;
}

/* What the bus understands, as it is written. */
static int start_read(const json_t *o, json_t *to, struct err *e)
{
    struct bus_start start;
    json_t *v = json_object_get(o, "start");
    int rc = v != NULL ? bus_start_read(v, &start, e) : 0;
    if (rc == 0 && v != NULL)
        json_object_set(to, "start", v);
    return rc;
}

/* Of the group's messages; the bus understands them as they are written. */
static int needs_read(const json_t *o, json_t *to, struct arena *a, struct err *e)
{
    struct core_label needs[CORE_LABELS_MAX];
    uint8_t count = 0;
    json_t *v = json_object_get(o, "needs");
    int rc = bind_needs_read(v, a, needs, &count, e);
    if (rc == 0 && count > 0)
        json_object_set(to, "needs", v);
    return rc;
}

static int listener_read(const json_t *o, struct bind_listener *l, struct err *e)
{
    static const char *const names[] = {
        "group", "attempts", "backoff",     "timeout", "ttl",  "deadline", "priority", "lane",
        "gate",  "needs",    "concurrency", "batch",   "wait", "start",    "webhook",  "run"};
    struct core_send sending = {.priority = CORE_PRIORITY_UNSAID};
    const char *group = NULL;
    struct arena a;
    arena_init(&a, BIND_LISTENER_ARENA);
    int rc = json_only_keys(o, "a handler", names, ARRAY_LEN(names), e);
    if (rc == 0 && json_get_string(o, "group", &group, e) == ERR_INVALID)
        rc = e->code;
    if (rc == 0 && group != NULL)
        rc = group_check_name(group, e);
    if (rc == 0 && bind_sending_read(o, &a, &sending, e) == 0 &&
        batch_read(o, l, &sending, e) == 0 && webhook_read(o, l, &sending, e) == 0) {
        l->named = group != NULL;
        l->group = group != NULL ? mem_strdup(group) : NULL;
        l->attempts = sending.attempts != 0 ? sending.attempts : CORE_ATTEMPTS;
        l->options = json_object();
        put_sending(l->options, &sending);
        l->said = json_object();
        json_object_set(l->said, "concurrency", json_object_get(o, "concurrency"));
        rc = needs_read(o, l->options, &a, e);
        if (rc == 0)
            rc = start_read(o, l->options, e);
    } else if (rc == 0) {
        rc = e->code;
    }
    arena_fini(&a);
    return rc;
}

static struct bind_bus *bus_of(struct bind_set *s)
{
    if (s->bus == NULL)
        s->bus = mem_new(sizeof *s->bus);
    return s->bus;
}

static void check_loading(lua_State *L, struct err *e)
{
    if (!vm_is_loading(vm_of(L)))
        err_set(e, ERR_INVALID, "declarations stand at the top of a script, not in a function");
}

/* Those without one have the name of their file. */
static void listener_name(struct bind_listener *l)
{
    const char *slash = strrchr(l->file, '/');
    const char *name = slash != NULL ? slash + 1 : l->file;
    size_t n = strlen(name);
    if (l->group == NULL)
        l->group = mem_printf("%.*s", (int)(str_ends(name, ".lua") ? n - 4 : n), name);
    snprintf(l->label, sizeof l->label, "%s (%s)", l->pattern, l->group);
    if (l->kind != LISTENS_WEBHOOK)
        l->meter = vm_meter_new(l->label);
}

static struct bind_listener *listener_new(lua_State *L, const char *pattern, struct err *e)
{
    check_loading(L, e);
    if (e->code != 0 || topic_check_pattern(pattern, strlen(pattern), e) != 0)
        return NULL;
    struct bind_bus *b = bus_of(bind_set_of(L));
    if (b->count == BIND_LISTENERS_MAX) {
        err_set(e, ERR_TOO_LARGE, "over %d handlers of topics in a set of scripts",
                BIND_LISTENERS_MAX);
        return NULL;
    }
    struct bind_listener *l = b->list[b->count++] = mem_new(sizeof *l);
    l->run = LUA_NOREF;
    l->pattern = mem_strdup(pattern);
    char file[160];
    l->line = place_of(L, file, sizeof file);
    l->file = mem_strdup(file);
    return l;
}

/* host.on_topic(pattern, options, run) -> group */
static int declare_listener(lua_State *L)
{
    const char *pattern = luaL_checkstring(L, 1);
    struct err e = ERR_INIT;
    json_t *o = bind_check_json(L, 2, "on");
    struct bind_listener *l = listener_new(L, pattern, &e);
    if (l != NULL && listener_read(o, l, &e) == 0 &&
        lua_isfunction(L, 3) == (l->kind == LISTENS_WEBHOOK))
        err_field(&e, ERR_INVALID, "run",
                  l->kind == LISTENS_WEBHOOK
                      ? "run or webhook, not both"
                      : "run = function(body, ctx) .. end is missing, or webhook = { url = .. }");
    if (e.code != 0) {
        err_context(&e, "on '%.128s'", pattern);
        return vm_raise_fault(L, &e);
    }
    l->run = LUA_NOREF;
    if (l->kind != LISTENS_WEBHOOK) {
        lua_pushvalue(L, 3);
        l->run = luaL_ref(L, LUA_REGISTRYINDEX);
    }
    listener_name(l);
    lua_pushstring(L, l->group);
    return 1;
}

/* ---- topic ---- */

static int topic_read(const json_t *o, struct bus_topic *to, struct err *e)
{
    static const char *const names[] = {"retain", "unrouted"};
    const char *word = NULL;
    if (json_only_keys(o, "a topic", names, ARRAY_LEN(names), e) != 0 ||
        bind_duration_read(o, "retain", &to->retain_ms, e) != 0 ||
        json_get_string(o, "unrouted", &word, e) == ERR_INVALID)
        return e->code;
    return word != NULL ? unrouted_read(word, &to->unrouted, e) : 0;
}

static int topic_new(struct bind_bus *b, const char *pattern, const char *file, int line,
                     struct err *e)
{
    if (topic_check_pattern(pattern, strlen(pattern), e) != 0)
        return e->code;
    for (size_t i = 0; i < b->topics_count; i++) {
        const struct bus_topic *t = &b->topics[i].t;
        if (strcmp(t->pattern, pattern) == 0)
            return err_set(e, ERR_INVALID, "is declared twice, in %s:%d and in %s:%d", t->file,
                           t->line, file, line);
    }
    if (b->topics_count == BIND_TOPICS_MAX)
        return err_set(e, ERR_TOO_LARGE, "over %d topics in a set of scripts", BIND_TOPICS_MAX);
    struct bind_topic *t = &b->topics[b->topics_count++];
    t->pattern = mem_strdup(pattern);
    t->file = mem_strdup(file);
    t->t = (struct bus_topic){.pattern = t->pattern, .file = t->file, .line = line};
    return 0;
}

/* host.topic(pattern, options) */
static int declare_topic(lua_State *L)
{
    const char *pattern = luaL_checkstring(L, 1);
    struct err e = ERR_INIT;
    char file[160];
    json_t *o = bind_check_json(L, 2, "topic");
    int line = place_of(L, file, sizeof file);
    check_loading(L, &e);
    struct bind_bus *b = bus_of(bind_set_of(L));
    if (e.code == 0 && topic_new(b, pattern, file, line, &e) == 0)
        topic_read(o, &b->topics[b->topics_count - 1].t, &e);
    if (e.code == 0)
        return 0;
    err_context(&e, "topic '%.128s'", pattern);
    return vm_raise_fault(L, &e);
}

/* host.topic_matches(pattern, topic): of two that are none it is false */
static int host_topic_matches(lua_State *L)
{
    size_t n, m;
    const char *pattern = luaL_checklstring(L, 1, &n), *topic = luaL_checklstring(L, 2, &m);
    lua_pushboolean(L, topic_check_pattern(pattern, n, NULL) == 0 &&
                           topic_check(topic, m, NULL) == 0 && topic_matches(pattern, n, topic, m));
    return 1;
}

/* ---- the whole set ---- */

static const struct bind_listener *listener_of(const struct bind_bus *b, const struct group *g)
{
    for (size_t i = 0; g != NULL && i < b->count; i++)
        if (strcmp(b->list[i]->pattern, g->pattern) == 0 && strcmp(b->list[i]->group, g->name) == 0)
            return b->list[i];
    return NULL;
}

static int topic_order(const void *x, const void *y)
{
    const struct bind_topic *a = x, *b = y;
    return strcmp(a->pattern, b->pattern);
}

static int bus_groups(struct bind_bus *b, struct err *e)
{
    AUTO(mem_freep) struct group_declared *d = mem_new_array(b->count + 1, sizeof *d);
    for (size_t i = 0; i < b->count; i++)
        d[i] = (struct group_declared){.pattern = b->list[i]->pattern,
                                       .group = b->list[i]->named ? b->list[i]->group : NULL,
                                       .file = b->list[i]->file,
                                       .line = b->list[i]->line,
                                       .options = b->list[i]->options};
    return groups_build(d, b->count, &b->groups, e);
}

/* Each group is one queue, with whatever else `queue "group.NAME"` says of it. */
static int listener_queue(struct bind_set *s, const struct bind_listener *l, struct err *e)
{
    char name[sizeof BUS_QUEUE_PREFIX + GROUP_NAME_MAX];
    snprintf(name, sizeof name, BUS_QUEUE_PREFIX "%s", l->group);
    struct bind_queue *q = bind_queue_of(s, name, e);
    if (q == NULL)
        return e->code;
    if (q->run != LUA_NOREF || q->q.manual)
        return err_field(e, ERR_INVALID, "group", "queue '%s' is this group's, and %s", name,
                         q->q.manual ? "declared as manual" : "has a handler of its own");
    if (core_sending_says(&q->sending))
        return err_field(e, ERR_INVALID, "group",
                         "queue '%s' is this group's: how its messages are sent (attempts, "
                         "backoff, ..) is said at `on`",
                         name);
    if (q->group != NULL && q->group->kind != l->kind)
        return err_field(e, ERR_INVALID, "group",
                         "group '%s' is worked in another way in %s:%d: all of a group's handlers "
                         "take batches, or none; all are webhooks, or none",
                         l->group, q->group->file, q->group->line);
    q->group = l;
    bind_queue_said(
        q, l->file,
        OPTION_MANUAL |
            (json_object_get(l->said, "concurrency") != NULL ? OPTION_CONCURRENCY : 0u));
    q->handled = l->kind == LISTENS_RUN;
    q->q.handled = q->handled;
    return bind_concurrency_read(l->said, q, e);
}

int bind_bus_finish(struct bind_set *s, struct err *e)
{
    struct bind_bus *b = s->bus;
    if (b == NULL)
        return 0;
    int rc = bus_groups(b, e);
    if (rc != 0)
        return rc;
    qsort(b->topics, b->topics_count, sizeof b->topics[0], topic_order);
    for (size_t i = 0; i < groups_count(b->groups) && rc == 0; i++) {
        const struct group *g = groups_at(b->groups, i);
        rc = listener_queue(s, listener_of(b, g), e);
        if (rc != 0)
            err_context(e, "%s:%d: on '%.128s'", g->file, g->line, g->pattern);
    }
    return rc;
}

const struct bind_listener *bind_listener_find(const struct bind_set *s, const char *queue,
                                               const char *topic)
{
    if (s == NULL || s->bus == NULL || topic == NULL || !str_starts(queue, BUS_QUEUE_PREFIX) ||
        topic_check(topic, strlen(topic), NULL) != 0)
        return NULL;
    return listener_of(s->bus,
                       groups_pick(s->bus->groups, queue + strlen(BUS_QUEUE_PREFIX), topic));
}

/* host.listening(topic) -> { group = pattern }: of these scripts */
static int host_listening(lua_State *L)
{
    const char *topic = luaL_checkstring(L, 1);
    const struct bind_set *s = bind_set_of(L);
    char queue[sizeof BUS_QUEUE_PREFIX + GROUP_NAME_MAX];
    struct err e = ERR_INIT;
    if (topic_check(topic, strlen(topic), &e) != 0)
        return vm_raise(L, &e);
    lua_newtable(L);
    for (size_t i = 0; s->bus != NULL && i < s->bus->count; i++) {
        const char *group = s->bus->list[i]->group;
        snprintf(queue, sizeof queue, BUS_QUEUE_PREFIX "%s", group);
        const struct bind_listener *l = bind_listener_find(s, queue, topic);
        if (l == NULL)
            continue;
        lua_pushstring(L, l->pattern);
        lua_setfield(L, -2, group);
    }
    return 1;
}

void bind_bus_free(struct bind_bus *b)
{
    if (b == NULL)
        return;
    for (size_t i = 0; i < b->count; i++)
        listener_free(b->list[i]);
    for (size_t i = 0; i < b->topics_count; i++) {
        mem_free(b->topics[i].pattern);
        mem_free(b->topics[i].file);
    }
    groups_free(b->groups);
    mem_free(b);
}

void bind_open_bus(lua_State *L)
{
    static const luaL_Reg fns[] = {{"on_topic", declare_listener},
                                   {"topic", declare_topic},
                                   {"topic_matches", host_topic_matches},
                                   {"listening", host_listening},
                                   {NULL, NULL}};
    luaL_setfuncs(L, fns, 0);
}
