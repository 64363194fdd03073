/* The body of POST /api/tx, read into struct tx: which operations there are, and what each of them
 * may say. What an operation is about beside records is read by its own file (tx_priv.h). */
#include <string.h>

#include "api/tx_unit_priv.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"

static const char *const tx_names[] = {
    [TX_SAVE] = "entity.save",    [TX_PATCH] = "entity.patch", [TX_REMOVE] = "entity.remove",
    [TX_CHECK] = "entity.check",  [TX_HELD] = "lease.check",   [TX_PUT] = "kv.put",
    [TX_SEND] = "send",           [TX_SETTLE] = "settle",      [TX_PUBLISH] = "publish",
    [TX_ARRIVE] = "canon.arrive", [TX_SUBMIT] = "job.submit",
};
const char *tx_name(enum tx_kind kind)
{
    return kind < TX_STORED ? tx_names[kind] : tx_stored_names[kind - TX_STORED];
}

/* Of parts that are not there. */
static const char *const tx_later[] = {"blob.link"};

static int tx_kind_of(const char *name, enum tx_kind *out, struct err *e)
{
    const char *names[TX_KINDS];
    for (size_t i = 0; i < TX_KINDS; i++) {
        names[i] = tx_name((enum tx_kind)i);
        if (strcmp(name, names[i]) == 0) {
            *out = (enum tx_kind)i;
            return 0;
        }
    }
    for (size_t i = 0; i < ARRAY_LEN(tx_later); i++)
        if (strcmp(name, tx_later[i]) == 0)
            return err_field(e, ERR_UNSUPPORTED, "op",
                             "'%s': this part of Koan is not in this version", name);
    const char *nearest = str_nearest(name, names, TX_KINDS);
    return err_field(e, ERR_INVALID, "op",
                     "there is no operation '%.64s'%s%s%s; there are entity.save, entity.patch, "
                     "entity.remove, entity.check, lease.check, kv.put, send, settle, publish, "
                     "canon.arrive, job.submit, job.step, job.sleep, job.wait, job.fan, job.undone",
                     name, nearest != NULL ? "; did you mean '" : "",
                     nearest != NULL ? nearest : "", nearest != NULL ? "'?" : "");
}

static int tx_keys(enum tx_kind kind, const json_t *op, struct err *e)
{
    static const char *const save[] = {"op",    "entity",     "id",        "partition",
                                       "value", "if_version", "if_absent", "if_exists"},
                             *const patch[] = {"op",    "entity",     "id",       "partition",
                                               "patch", "if_version", "if_exists"},
                             *const remove[] = {"op", "entity", "id", "partition", "if_version"},
                             *const check[] = {"op",        "entity",  "id",
                                               "partition", "version", "exists"};
    switch (kind) {
    case TX_SAVE:
        return json_only_keys(op, "entity.save", save, ARRAY_LEN(save), e);
    case TX_PATCH:
        return json_only_keys(op, "entity.patch", patch, ARRAY_LEN(patch), e);
    case TX_REMOVE:
        return json_only_keys(op, "entity.remove", remove, ARRAY_LEN(remove), e);
    case TX_CHECK:
        return json_only_keys(op, "entity.check", check, ARRAY_LEN(check), e);
    case TX_HELD:
    case TX_PUT:
    case TX_SEND:
    case TX_SETTLE:
    case TX_PUBLISH:
    case TX_ARRIVE:
    case TX_SUBMIT:
    case TX_STORED:
    case TX_KINDS:
        break; /* tx_stored.c, tx_coord.c, tx_queue.c, tx_topic.c, tx_canon.c, tx_job.c */
    }
    return 0;
}

/* By its name in URLs or in scripts. Golden records are what their sources say. */
static int tx_entity(struct api *a, const json_t *op, struct tx_op *out, struct err *e)
{
    const char *name;
    int rc = json_get_string(op, "entity", &name, e);
    if (rc != 0)
        return rc == ERR_NOT_FOUND ? err_field(e, ERR_INVALID, "entity", "names no entity") : rc;
    out->def = entities_find_path(a->o.entities, name);
    if (out->def == NULL)
        out->def = entities_find(a->o.entities, name);
    if (out->def == NULL)
        return entities_unknown(a->o.entities, name, e);
    AUTO(api_model_unrefp) struct canon_model *m = api_model_of(a, out->def);
    if (m != NULL && out->kind != TX_CHECK)
        return err_field(e, ERR_UNSUPPORTED, "entity",
                         "'%s' is made by canon: state what changes as an arrival, canon.arrive",
                         out->def->name);
    return 0;
}

static int tx_text(const json_t *op, const char *key, size_t max, const char **out, struct err *e)
{
    *out = "";
    int rc = json_get_string(op, key, out, e);
    if (rc == ERR_NOT_FOUND) {
        err_clear(e);
        return 0;
    }
    if (rc == 0 && strlen(*out) > max)
        rc = err_field(e, ERR_INVALID, key, "%s has at most %zu bytes", key, max);
    return rc;
}

static int tx_version(const json_t *op, const char *key, uint64_t *out, struct err *e)
{
    int64_t version = 0;
    int rc = json_get_int(op, key, &version, e);
    if (rc == ERR_NOT_FOUND) {
        err_clear(e);
        return 0;
    }
    *out = (uint64_t)version;
    return rc == 0 && version < 1
               ? err_field(e, ERR_INVALID, key, "%s is a version, which counts from 1", key)
               : rc;
}

static int tx_flag(const json_t *op, const char *key, bool *out, struct err *e)
{
    int rc = json_get_bool(op, key, out, e);
    if (rc == ERR_NOT_FOUND) {
        err_clear(e);
        return 0;
    }
    return rc;
}

static int tx_check(const json_t *op, const char *partition, const char *id, struct tx_op *out,
                    struct err *e)
{
    bool says = json_object_get(op, "exists") != NULL;
    int rc = str_check_id(id, strlen(id), e);
    if (rc == 0 && *partition != '\0')
        rc = str_check_name(partition, "partition", e);
    if (rc == 0 && says == (json_object_get(op, "version") != NULL))
        rc = err_field(e, ERR_INVALID, "version",
                       "entity.check wants \"version\" or \"exists\", one of them");
    snprintf(out->id, sizeof out->id, "%s%s%s", partition, *partition != '\0' ? "/" : "", id);
    if (rc == 0)
        rc = tx_version(op, "version", &out->version, e);
    return rc == 0 ? tx_flag(op, "exists", &out->exists, e) : rc;
}

/* Who makes it and who replaces it say so in the same words as the headers. */
static int tx_item(const json_t *op, enum tx_kind kind, struct entity_item *it, struct err *e)
{
    const char *key = kind == TX_SAVE ? "value" : "patch";
    json_t *value = json_object_get(op, key);
    int rc = tx_version(op, "if_version", &it->if_version, e);
    if (rc == 0)
        rc = tx_flag(op, "if_absent", &it->if_absent, e);
    if (rc == 0)
        rc = tx_flag(op, "if_exists", &it->if_exists, e);
    if (rc != 0)
        return rc;
    if (it->if_absent && (it->if_exists || it->if_version > 0))
        return err_field(e, ERR_INVALID, "if_absent",
                         "if_absent contradicts if_version and if_exists");
    it->verb = kind == TX_SAVE ? ENTITY_SAVE : kind == TX_PATCH ? ENTITY_PATCH : ENTITY_REMOVE;
    if (kind != TX_SAVE && it->id[0] == '\0')
        return err_field(e, ERR_INVALID, "id", "%s names no id", tx_names[kind]);
    if (kind == TX_REMOVE)
        return 0;
    if (value == NULL)
        return err_field(e, ERR_INVALID, key, "%s has no \"%s\"", tx_names[kind], key);
    if (kind == TX_PATCH && json_is_array(value))
        it->patch_kind = ENTITY_PATCH_JSON;
    it->doc = json_incref(value);
    return 0;
}

/* An arrival that is worked at once, with the other operations. */
static int tx_read_direct(struct http_request *req, struct tx *x, struct tx_op *out, struct err *e)
{
    out->direct = true;
    if (x->direct == NULL)
        x->direct = tx_direct_new(x->max, req);
    return tx_direct_add(x->direct, out->text, (size_t)(out - x->ops), out->queue.model,
                         &out->direct_at, e);
}

/* Of send, settle, publish and arrive. */
static int tx_read_queue(struct http_request *req, struct tx *x, const json_t *op,
                         struct tx_op *out, struct err *e)
{
    struct api_thread *t = api_thread_of(req);
    struct envelope env;
    if (t->api->o.queues == NULL || t->api->o.bus == NULL)
        return err_field(e, ERR_UNSUPPORTED, "op", "there are no queues here");
    api_envelope(req, &env);
    out->text = json_incref((json_t *)op);
    out->queue = (struct tx_queue){.settle = out->kind == TX_SETTLE,
                                   .thread = t,
                                   .now = api_now_ms(t),
                                   .correlation = env.correlation,
                                   .traceparent = env.traceparent};
    t->ids.make(&t->ids, &out->queue.id);
    if (tx_is_stored(out))
        return tx_stored_new(op, &out->queue, (int)(out->kind - TX_STORED), &out->stored,
                             &out->errors, e);
    if (out->kind == TX_PUBLISH)
        return tx_topic_new(op, &out->queue, t->api->o.bus, &out->topic, e);
    if (out->kind == TX_ARRIVE &&
        tx_arrive_check(op, t->api->o.canon, t->api->o.entities, &out->queue, e) != 0)
        return e->code;
    if (out->kind == TX_ARRIVE && tx_direct_is(op))
        return tx_read_direct(req, x, out, e);
    if (out->kind == TX_SUBMIT && tx_job_read(op, &out->queue, &out->errors, e) != 0)
        return e->code;
    return tx_queue_check(op, &out->queue, e);
}

static int tx_read_op(struct http_request *req, struct tx *x, const json_t *op, struct tx_op *out,
                      struct err *e)
{
    struct api *a = api_thread_of(req)->api;
    const char *name, *id, *partition;
    if (!json_is_object(op))
        return err_set(e, ERR_INVALID, "an operation is an object, not %s", json_type_name(op));
    int rc = json_get_string(op, "op", &name, e);
    if (rc == ERR_NOT_FOUND)
        return err_field(e, ERR_INVALID, "op", "\"op\" is missing");
    if (rc != 0 || (rc = tx_kind_of(name, &out->kind, e)) != 0 ||
        (rc = tx_keys(out->kind, op, e)) != 0)
        return rc;
    if (out->kind == TX_HELD || out->kind == TX_PUT) {
        out->text = json_incref((json_t *)op);
        return tx_coord_check(op, out->kind == TX_HELD, e);
    }
    if (tx_is_queue(out) || tx_is_stored(out) || out->kind == TX_PUBLISH)
        return tx_read_queue(req, x, op, out, e);
    if ((rc = tx_entity(a, op, out, e)) != 0 ||
        (rc = tx_text(op, "id", ENTITY_ID_MAX, &id, e)) != 0 ||
        (rc = tx_text(op, "partition", ENTITY_NAME_MAX, &partition, e)) != 0)
        return rc;
    if (out->kind == TX_CHECK)
        return tx_check(op, partition, id, out, e);
    struct entity_item *it = &x->items[x->items_count];
    out->item = x->items_count++;
    it->def = out->def;
    str_copy(it->id, sizeof it->id, id);
    str_copy(it->partition, sizeof it->partition, partition);
    return tx_item(op, out->kind, it, e);
}

struct tx *tx_read(struct http_request *req, const json_t *body)
{
    static const char *const names[] = {"ops"};
    const json_t *ops = json_object_get(body, "ops");
    size_t n = json_array_size(ops);
    struct err e = ERR_INIT;
    if (json_only_keys(body, "the body", names, ARRAY_LEN(names), &e) != 0 ||
        (!json_is_array(ops) &&
         err_field(&e, ERR_INVALID, "ops", "the body is {\"ops\": [..]}") != 0) ||
        (n == 0 && err_field(&e, ERR_INVALID, "ops", "ops is empty: a unit does something") != 0) ||
        (n > ENTITY_BULK_MAX &&
         err_field(&e, ERR_TOO_LARGE, "ops", "%zu operations; a request has at most %d", n,
                   ENTITY_BULK_MAX) != 0)) {
        http_problem(req, &e);
        return NULL;
    }
    struct tx *x = mem_new(sizeof *x);
    x->max = n;
    x->ops = mem_new_array(n, sizeof *x->ops);
    x->items = mem_new_array(n, sizeof *x->items);
    for (size_t i = 0; i < n; i++) {
        x->count = i + 1;
        if (tx_read_op(req, x, json_array_get(ops, i), &x->ops[i], &e) == 0)
            continue;
        char more[40];
        snprintf(more, sizeof more, "\"failed_op\":%zu", i);
        err_context(&e, "operation %zu", i);
        api_problem(req, &e, x->ops[i].errors, more);
        tx_free(x);
        return NULL;
    }
    return x;
}
