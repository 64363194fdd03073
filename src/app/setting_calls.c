#include "app/setting_calls.h"

#include <string.h>

#include "api/node_call.h"
#include "app/node_priv.h"
#include "app/setting_plan.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "db/db.h"
#include "ledger/ledger.h"
#include "queue/queue.h"
#include "setting/setting.h"

enum { SETTING_TEXT_MAX = 1 << 20 };

struct settcall {
    struct unit unit; /* first */
    struct node *node;
    struct api_node_call *call;
    struct setting_layer layer; /* what the change was worked out from */
    struct setting_plan plan;
    int tries;
};

/* ---- answering ---- */

static void settcall_home(struct task *t)
{
    struct api_node_call *c = LIST_OF(t, struct api_node_call, task);
    c->done(c);
}

static void settcall_forget(struct settcall *s)
{
    json_decref(TAKE(s->plan.changes));
    json_decref(TAKE(s->plan.faults));
    json_decref(TAKE(s->layer.rows));
}

static void settcall_begin(struct node *n, struct api_node_call *c);

static bool settcall_is_change(const struct api_node_call *c)
{
    return c->verb != API_SETTINGS_LIST && c->verb != API_SETTINGS_HISTORY &&
           c->verb != API_NODE_BOOT;
}

/* Changes of one node take turns: each is worked out from what the one before has left. */
static void settcall_next(struct node *n)
{
    struct task *t = n->settings_first;
    n->settings_busy = false;
    if (t == NULL)
        return;
    n->settings_first = t->next;
    settcall_begin(n, LIST_OF(t, struct api_node_call, task));
}

static void settcall_end(struct settcall *s)
{
    struct node *n = s->node;
    struct api_node_call *c = s->call;
    bool change = settcall_is_change(c);
    settcall_forget(s);
    mem_free(s);
    c->task.run = settcall_home;
    runner_post(c->home, &c->task);
    if (change)
        settcall_next(n);
}

/* What may be shown of a replicated value. */
static json_t *settcall_shown(const char *name, const json_t *value)
{
    AUTO(buf_fini) struct buf shown = BUF_INIT(SETTING_TEXT_MAX);
    if (value == NULL || json_is_null(value))
        return json_null();
    config_row_shown(name, value, &shown);
    return str_starts(name, "app.") && str_starts(buf_str(&shown), "***")
               ? json_string("***")
               : json_incref((json_t *)value);
}

static json_t *settcall_rows(const struct setting_layer *layer)
{
    json_t *rows = json_object(), *row;
    const char *name;
    json_object_foreach(layer->rows, name, row)
    {
        json_t *copy = json_copy(row);
        json_object_set_new(copy, "value", settcall_shown(name, json_object_get(row, "value")));
        json_object_set_new(rows, name, copy);
    }
    return rows;
}

static void settcall_list(struct settcall *s)
{
    struct node *n = s->node;
    if (node_settings_read(n, &s->layer, &s->call->err) == 0) {
        s->call->version = s->layer.revision;
        s->call->answer =
            json_pack("{s:I, s:o, s:o}", "revision", (json_int_t)s->layer.revision, "settings",
                      config_json(n->config), "replicated", settcall_rows(&s->layer));
    }
    settcall_end(s);
}

static void settcall_closep(struct db **db)
{
    db_close(*db);
}

static void settcall_history(struct settcall *s)
{
    AUTO(settcall_closep) struct db *db = NULL;
    struct err *e = &s->call->err;
    struct db_options o = {.path = ledger_db_path(s->node->ledger), .mode = DB_READER};
    json_t *list = NULL, *row;
    size_t i;
    if (db_open(&o, &db, e) == 0 && setting_history(db, &list, e) == 0) {
        json_array_foreach(list, i, row)
        {
            const char *name = json_string_value(json_object_get(row, "name"));
            if (json_object_get(row, "value") != NULL)
                json_object_set_new(row, "value",
                                    settcall_shown(name, json_object_get(row, "value")));
        }
        s->call->answer = json_pack("{s:o}", "history", list);
    }
    settcall_end(s);
}

static void settcall_boot(struct settcall *s)
{
    struct node *n = s->node;
    if (strcmp(s->call->name, n->id) != 0)
        err_set(&s->call->err, ERR_NOT_FOUND, "there is no node '%.60s'; this one is %s",
                s->call->name, n->id);
    else
        s->call->answer = node_boot_json(n);
    settcall_end(s);
}

/* ---- changing ---- */

/* "in force", or what stands in the way here. */
static json_t *settcall_state(struct node *n, const char *name, const json_t *value,
                              uint64_t revision)
{
    bool pending = false;
    const char *origin = config_origin(n->config, name, &pending);
    AUTO(mem_freep)
    char *ours = mem_printf("replicated, revision %llu", (unsigned long long)revision);
    if (pending)
        return json_string("after a restart");
    if (!json_is_null(value) && origin != NULL && strcmp(origin, ours) != 0)
        return json_sprintf("hidden by %s", origin);
    return json_string("in force");
}

static json_t *settcall_changes(struct settcall *s, uint64_t revision, bool done)
{
    json_t *list = json_array(), *value;
    const char *name;
    json_object_foreach(s->plan.changes, name, value)
    {
        json_t *from = json_object_get(json_object_get(s->layer.rows, name), "value");
        json_t *one = json_pack("{s:s, s:o, s:o}", "name", name, "from", settcall_shown(name, from),
                                "to", settcall_shown(name, value));
        if (done)
            json_object_set_new(one, "state", settcall_state(s->node, name, value, revision));
        json_array_append_new(list, one);
    }
    return list;
}

static void settcall_answer(struct settcall *s, uint64_t revision, bool done)
{
    s->call->version = revision;
    s->call->answer = json_pack("{s:I, s:o}", "revision", (json_int_t)revision, "changes",
                                settcall_changes(s, revision, done));
    settcall_end(s);
}

static void settcall_change(struct settcall *s);

static void settcall_committed(struct unit *u)
{
    struct settcall *s = (struct settcall *)u;
    struct node *n = s->node;
    struct err e = u->err;
    struct cursor result;
    uint64_t revision = 0;
    uint32_t changed = 0;
    if (e.code == 0 &&
        (!unit_result(u, 0, &result) || setting_result(&result, &revision, &changed, &e) != 0))
        err_set(&e, ERR_INTERNAL, "the ledger gave no revision");
    unit_fini(u);
    if (e.code == ERR_VERSION_MISMATCH && !s->call->has_revision &&
        ++s->tries < SETTING_CALL_TRIES) {
        settcall_forget(s);
        settcall_change(s);
        return;
    }
    if (e.code == 0 && node_settings_refresh(n, &e) == 0) {
        log_info("config", "settings have revision %llu by %s", (unsigned long long)revision,
                 s->call->principal);
        settcall_answer(s, revision, true);
        return;
    }
    s->call->err = e;
    settcall_end(s);
}

/* What a change says of lanes is in force with it, in the same unit, or refused with it. */
static void settcall_lanes(struct settcall *s)
{
    static const char prefix[] = "lanes.";
    struct config_lane lane;
    const char *name;
    json_t *value;
    json_object_foreach(s->plan.changes, name, value)
    {
        const char *of = name + strlen(prefix);
        if (!str_starts(name, prefix))
            continue;
        int rc = json_is_null(value) ? config_lane_below(s->node->config, of, &lane)
                                     : config_lane_read(of, value, &lane, NULL);
        if (rc == 0) /* else there is no such lane */
            queue_txn_lane(&s->unit.txn, of, lane.weight, lane.cap);
    }
}

static void settcall_propose(struct settcall *s)
{
    struct err *e = &s->call->err;
    struct envelope env = {.principal = s->call->principal,
                           .reason = s->call->reason,
                           .correlation = s->call->correlation};
    unit_init(&s->unit, loop_runner(s->node->control), settcall_committed);
    txn_envelope(&s->unit.txn, &env);
    s->unit.txn.grows = false;
    if (setting_txn_change(&s->unit.txn, s->layer.revision, s->plan.changes, e) == 0) {
        settcall_lanes(s);
        if (ledger_propose(s->node->ledger, &s->unit, e) == 0)
            return;
    }
    unit_fini(&s->unit);
    settcall_end(s);
}

static int settcall_plan_apply(struct settcall *s, bool *dry)
{
    static const char *const names[] = {"document", "prune", "dry_run"};
    const json_t *body = s->call->body;
    struct err *e = &s->call->err;
    bool prune = false;
    if (json_only_keys(body, "apply", names, ARRAY_LEN(names), e) != 0 ||
        json_get_bool(body, "prune", &prune, e) == ERR_INVALID ||
        json_get_bool(body, "dry_run", dry, e) == ERR_INVALID)
        return e->code;
    setting_plan_apply(&s->plan, json_object_get(body, "document"), prune);
    return 0;
}

static int settcall_plan(struct settcall *s, bool *dry)
{
    static const char *const put_names[] = {"value"};
    struct api_node_call *c = s->call;
    const json_t *value = json_object_get(c->body, "value");
    switch (c->verb) {
    case API_SETTINGS_PATCH:
        setting_plan_merge(&s->plan, c->body);
        return 0;
    case API_SETTINGS_PUT:
        if (json_only_keys(c->body, "setting", put_names, 1, &c->err) != 0)
            return c->err.code;
        if (value == NULL || json_is_null(value))
            return err_field(&c->err, ERR_INVALID, "value",
                             "value: what the setting is to be; DELETE unsets it");
        setting_plan_one(&s->plan, c->name, value);
        return 0;
    case API_SETTINGS_UNSET:
        setting_plan_one(&s->plan, c->name, NULL);
        return 0;
    case API_SETTINGS_APPLY:
        return settcall_plan_apply(s, dry);
    case API_SETTINGS_LIST:
    case API_SETTINGS_HISTORY:
    case API_NODE_BOOT:
        break;
    }
    PANIC("no change");
}

static void settcall_change(struct settcall *s)
{
    struct api_node_call *c = s->call;
    bool dry = false;
    if (node_settings_read(s->node, &s->layer, &c->err) != 0) {
        settcall_end(s);
        return;
    }
    s->plan = (struct setting_plan){s->layer.rows, json_object(), json_array()};
    if (c->has_revision && c->revision != s->layer.revision)
        err_set(&c->err, ERR_VERSION_MISMATCH, "If-Match: the settings have revision %llu",
                (unsigned long long)s->layer.revision);
    else if (settcall_plan(s, &dry) == 0 && setting_plan_check(&s->plan, &c->err) != 0)
        c->errors = TAKE(s->plan.faults);
    if (c->err.code != 0)
        settcall_end(s);
    else if (dry || json_object_size(s->plan.changes) == 0)
        settcall_answer(s, s->layer.revision, false);
    else
        settcall_propose(s);
}

/* ---- on the control loop ---- */

static void settcall_begin(struct node *n, struct api_node_call *c)
{
    struct settcall *s = mem_new(sizeof *s);
    s->node = n;
    s->call = c;
    n->settings_busy |= settcall_is_change(c);
    if (c->verb == API_SETTINGS_LIST)
        settcall_list(s);
    else if (c->verb == API_SETTINGS_HISTORY)
        settcall_history(s);
    else if (c->verb == API_NODE_BOOT)
        settcall_boot(s);
    else
        settcall_change(s);
}

static void settcall_arrived(struct task *t)
{
    struct api_node_call *c = LIST_OF(t, struct api_node_call, task);
    struct node *n = c->impl;
    if (!n->settings_busy || !settcall_is_change(c)) {
        settcall_begin(n, c);
        return;
    }
    t->next = NULL;
    if (n->settings_first == NULL)
        n->settings_first = t;
    else
        n->settings_last->next = t;
    n->settings_last = t;
}

void setting_call(void *node, struct api_node_call *c)
{
    struct node *n = node;
    c->impl = n;
    c->task.run = settcall_arrived;
    runner_post(loop_runner(n->control), &c->task);
}
