#include "app/script_calls.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "api/api.h"
#include "app/deploys.h"
#include "app/node_priv.h"
#include "app/script_diff.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/stat.h"
#include "base/str.h"
#include "bind/script_store.h"
#include "db/db.h"
#include "entity/def.h"
#include "ledger/ledger.h"

struct scall {
    struct loop_work work; /* first: the part that reads the disk */
    struct node *node;
    struct api_script_call *call;
    struct bind_deploy deploy;
    struct bind_text text;
    struct buf output;
    struct scripts set;
    char name[SCRIPT_NAME_MAX + 1];
    char id[DEPLOY_ID_MAX]; /* of a deploy that nobody waits for; then `call` is NULL */
    char principal[ENTITY_NAME_MAX + 1];
};

/* ---- reading what is there ---- */

static int scall_reader(struct node *n, struct db **out, struct err *e)
{
    struct db_options o = {.path = ledger_db_path(n->ledger), .mode = DB_READER};
    return db_open(&o, out, e);
}

static void scall_closep(struct db **db)
{
    db_close(*db);
}

/* As scripts_read() gives them. */
static void scall_files(const json_t *files, struct scripts *out)
{
    const char *name;
    json_t *text;
    *out = (struct scripts){0};
    out->files = mem_new_array(json_object_size(files) + 1, sizeof *out->files);
    json_object_foreach((json_t *)files, name, text)
    {
        out->files[out->count++] = (struct vm_source){
            mem_strdup(name), mem_strdup(json_string_value(text)), json_string_length(text)};
    }
}

bool script_deployed(struct node *n, struct scripts *out, char name[65], struct err *e)
{
    AUTO(scall_closep) struct db *db = NULL;
    struct script_live live = {.files = NULL};
    int rc = scall_reader(n, &db, e);
    if (rc == 0)
        rc = script_live(db, &live, e);
    if (rc != 0) {
        if (rc == ERR_NOT_FOUND)
            err_clear(e);
        return false;
    }
    memcpy(name, live.name, sizeof live.name);
    scall_files(live.files, out);
    json_decref(live.files);
    return true;
}

/* The files that differ, or NULL where nothing does, or there is no folder to compare. */
static json_t *scall_drift(struct node *n, const struct scripts *deployed)
{
    const char *path = config_text(n->config, SET_SCRIPTS);
    AUTO(scripts_fini) struct scripts folder = {0};
    char here[17], there[17];
    if (*path == '\0' || scripts_read(path, &folder, NULL) != 0)
        return NULL;
    bind_set_hash(folder.files, folder.count, here);
    bind_set_hash(deployed->files, deployed->count, there);
    if (strcmp(here, there) == 0)
        return NULL;
    json_t *all = script_diff(deployed, &folder, false, NULL), *files = json_array(), *one;
    size_t i;
    json_array_foreach(all, i, one)
    {
        if (!str_ends(json_string_value(json_object_get(one, "file")), "_test.lua"))
            json_array_append(files, one);
    }
    json_decref(all);
    return files;
}

void script_drift(struct node *n, const struct scripts *deployed, const char *name)
{
    AUTO(json_unref) json_t *files = scall_drift(n, deployed);
    stat_set(stat_gauge("koan_script_drift", "",
                        "1 where the script folder differs from what is deployed"),
             files != NULL);
    if (files == NULL)
        return;
    AUTO(json_unref) json_t *fields = json_pack("{s:s, s:O}", "deployed", name, "files", files);
    log_fields(LOG_WARN, "scripts", fields,
               "drift: the folder differs from the deployed set, which is in force; `koan deploy` "
               "brings the folder's");
}

json_t *script_drift_now(struct node *n)
{
    AUTO(scripts_fini) struct scripts set = {0};
    char name[SCRIPT_NAME_MAX + 1];
    struct err e = ERR_INIT;
    return script_deployed(n, &set, name, &e) ? scall_drift(n, &set) : NULL;
}

/* ---- answering ---- */

static void scall_end(struct scall *s)
{
    struct api_script_call *c = s->call;
    scripts_fini(&s->set);
    buf_fini(&s->output);
    bind_deploy_fini(&s->deploy);
    mem_free(s);
    if (c != NULL)
        c->done(c);
}

static void scall_fail(struct scall *s, int code, const char *words)
{
    err_set(&s->call->err, code, "%s", words);
    scall_end(s);
}

static void scall_queue(struct scall *s, void (*work)(struct loop_work *),
                        void (*done)(struct loop_work *))
{
    s->work.work = work;
    s->work.done = done;
    if (loop_queue(s->call->loop, &s->work, &s->call->err) != 0)
        scall_end(s);
}

/* ---- run ---- */

static void scall_print(struct bind_text *t, const char *line)
{
    struct scall *s = LIST_OF(t, struct scall, text);
    buf_adds(&s->output, line);
    buf_addc(&s->output, '\n');
}

/* What the script did wrong is an answer, not a failure to run it. */
json_t *script_answer(struct bind_text *t, const struct buf *output)
{
    json_t *answer = json_pack("{s:b, s:s}", "ok", t->err.code == 0, "output", buf_str(output));
    if (t->err.code != 0)
        json_object_set_new(
            answer, "error",
            json_pack("{s:s, s:s}", "code", err_info(t->err.code)->name, "detail", t->err.text));
    else if (t->result != NULL)
        json_object_set(answer, "result", t->result);
    json_decref(TAKE(t->result));
    return answer;
}

static void scall_ran(struct bind_text *t)
{
    struct scall *s = LIST_OF(t, struct scall, text);
    s->call->answer = script_answer(t, &s->output);
    scall_end(s);
}

static void scall_run(struct scall *s)
{
    const json_t *body = s->call->body;
    static const char *const names[] = {"text", "name", "args"};
    const json_t *text = json_object_get(body, "text"), *name = json_object_get(body, "name");
    if (json_only_keys(body, "run", names, ARRAY_LEN(names), &s->call->err) != 0) {
        scall_end(s);
    } else if (!json_is_string(text) || (name != NULL && !json_is_string(name))) {
        scall_fail(s, ERR_INVALID, "text: the source to run, a text");
    } else {
        json_t *args = json_object_get(body, "args");
        buf_init(&s->output, SCRIPT_OUTPUT_MAX);
        s->text = (struct bind_text){.name = name != NULL ? json_string_value(name) : "run.lua",
                                     .text = json_string_value(text),
                                     .len = json_string_length(text),
                                     .principal = s->call->principal,
                                     .correlation = s->call->correlation,
                                     .traceparent = s->call->traceparent,
                                     .args = json_is_array(args) ? json_incref(args) : NULL,
                                     .limit_ms = SCRIPT_RUN_MS,
                                     .print = scall_print,
                                     .home = loop_runner(s->call->loop),
                                     .done = scall_ran};
        bind_run_text(s->node->bind, &s->text);
    }
}

/* ---- deploy, rollback ---- */

static void scall_deployed(struct bind_deploy *d)
{
    struct scall *s = LIST_OF(d, struct scall, deploy);
    struct err e = d->err;
    json_t *answer = NULL;
    if (e.code == ERR_INVALID)
        e.code = ERR_REJECTED; /* the request is right, the scripts are not */
    if (e.code == 0) {
        log_info("scripts", "deployed name=%s hash=%s by=%s", s->name, d->hash, s->principal);
        answer = json_pack("{s:s, s:s, s:O, s:O}", "hash", d->hash, "name", s->name, "entities",
                           d->entities, "canons", d->canons);
        stat_set(stat_gauge("koan_script_drift", "",
                            "1 where the script folder differs from what is deployed"),
                 0);
        node_look_webhooks(s->node);
    }
    if (s->call != NULL) {
        s->call->answer = answer;
        s->call->err = e;
    } else {
        deploys_end(s->node->deploys, s->id, answer, &e);
    }
    scall_end(s);
}

/* {"deploy", "entity"?, "percent"?} */
static json_t *scall_progress(struct node *n, const char *id)
{
    json_t *o = bind_migrating(n->bind);
    o = o != NULL ? o : json_object();
    json_object_set_new(o, "deploy", json_string(id));
    return o;
}

/* The asker has his answer, and the deploy goes on. */
static void scall_let_go(struct scall *s)
{
    struct api_script_call *c = TAKE(s->call);
    deploys_begin(s->node->deploys, s->id);
    c->answer = json_pack("{s:s}", "deploy", s->id);
    c->going_on = true;
    c->done(c);
}

static void scall_follow(struct scall *s)
{
    struct api_script_call *c = s->call;
    if (deploys_ask(s->node->deploys, c->id, &c->answer, &c->err) > 0) {
        c->answer = scall_progress(s->node, c->id);
        c->going_on = true;
    }
    scall_end(s);
}

static void scall_go(struct scall *s, bool rollback)
{
    struct runner *home = loop_runner(s->call->loop);
    str_copy(s->principal, sizeof s->principal, s->call->principal);
    if (json_is_false(json_object_get(s->call->body, "wait")))
        scall_let_go(s);
    s->deploy = (struct bind_deploy){.files = s->set.files,
                                     .count = s->set.count,
                                     .record = s->name,
                                     .rollback = rollback,
                                     .whole = true,
                                     .principal = s->principal,
                                     .home = home,
                                     .done = scall_deployed};
    bind_deploy(s->node->bind, &s->deploy);
}

static bool scall_is_set(const json_t *files)
{
    const char *name;
    json_t *text;
    if (!json_is_object(files) || json_object_size(files) > VM_SOURCES_MAX)
        return false;
    json_object_foreach((json_t *)files, name, text)
    {
        if (!json_is_string(text))
            return false;
    }
    return true;
}

static void scall_deploy(struct scall *s)
{
    static const char *const names[] = {"files", "name", "wait"};
    const json_t *body = s->call->body, *files = json_object_get(body, "files");
    const char *name = json_string_value(json_object_get(body, "name"));
    time_t now = time(NULL);
    struct tm t;
    if (json_only_keys(body, "deploy", names, ARRAY_LEN(names), &s->call->err) != 0) {
        scall_end(s);
        return;
    }
    if (!scall_is_set(files)) {
        scall_fail(s, ERR_INVALID, "files: an object of names to source texts, at most 1000");
        return;
    }
    strftime(s->name, sizeof s->name, "deploy-%Y%m%d-%H%M%S", gmtime_r(&now, &t));
    if (name != NULL && !str_copy(s->name, sizeof s->name, name)) {
        scall_fail(s, ERR_INVALID, "name: at most 64 characters");
        return;
    }
    scall_files(files, &s->set);
    scall_go(s, false);
}

static void scall_find_work(struct loop_work *w)
{
    struct scall *s = (struct scall *)w;
    AUTO(scall_closep) struct db *db = NULL;
    struct script_live found = {.files = NULL};
    const char *to = json_string_value(json_object_get(s->call->body, "to"));
    struct err *e = &s->call->err;
    if (scall_reader(s->node, &db, e) != 0 || script_find(db, to != NULL ? to : "", &found, e) != 0)
        return;
    memcpy(s->name, found.name, sizeof found.name);
    scall_files(found.files, &s->set);
    json_decref(found.files);
}

static void scall_find_done(struct loop_work *w)
{
    struct scall *s = (struct scall *)w;
    if (s->call->err.code != 0)
        scall_end(s);
    else
        scall_go(s, true);
}

static void scall_rollback(struct scall *s)
{
    static const char *const names[] = {"to", "wait"};
    if (json_only_keys(s->call->body, "rollback", names, ARRAY_LEN(names), &s->call->err) != 0)
        scall_end(s);
    else
        scall_queue(s, scall_find_work, scall_find_done);
}

/* ---- list ---- */

static void scall_list_work(struct loop_work *w)
{
    struct scall *s = (struct scall *)w;
    AUTO(scall_closep) struct db *db = NULL;
    struct script_live live = {.files = NULL};
    struct err *e = &s->call->err;
    json_t *history = NULL;
    if (scall_reader(s->node, &db, e) != 0 || script_history(db, &history, e) != 0)
        return;
    json_t *drift = NULL;
    if (json_array_size(history) > 0 && script_live(db, &live, e) == 0) {
        AUTO(scripts_fini) struct scripts set = {0};
        scall_files(live.files, &set);
        json_decref(live.files);
        drift = scall_drift(s->node, &set);
    }
    s->call->answer = json_pack("{s:o, s:o, s:o}", "live", bind_status(s->node->bind), "drift",
                                drift != NULL ? drift : json_null(), "history", history);
}

static void scall_list_done(struct loop_work *w)
{
    scall_end((struct scall *)w);
}

void script_call(void *node, struct api_script_call *c)
{
    struct scall *s = mem_new(sizeof *s);
    s->node = node;
    s->call = c;
    bool changes = c->verb == API_SCRIPTS_DEPLOY || c->verb == API_SCRIPTS_ROLLBACK;
    if (changes && s->node->dev) {
        scall_fail(s, ERR_CONFLICT,
                   "`koan dev` follows its folder; deploy to a node that runs `koan serve`");
        return;
    }
    switch (c->verb) {
    case API_SCRIPTS_LIST:
        scall_queue(s, scall_list_work, scall_list_done);
        return;
    case API_SCRIPTS_DEPLOY:
        scall_deploy(s);
        return;
    case API_SCRIPTS_FOLLOW:
        scall_follow(s);
        return;
    case API_SCRIPTS_ROLLBACK:
        scall_rollback(s);
        return;
    case API_SCRIPTS_RUN:
        scall_run(s);
        return;
    }
}
