/* POST /api/tx: operations on records of any entities as one unit of work, all or nothing.
 *
 *   {"ops": [
 *     {"op": "entity.save",   "entity": "order", "id": "o-7", "if_version": 3, "value": {..}},
 *     {"op": "entity.patch",  "entity": "stock", "id": "s-1", "patch": {..} or [..]},
 *     {"op": "entity.remove", "entity": "cart",  "id": "c-9"},
 *     {"op": "entity.check",  "entity": "shop",  "id": "a", "version": 12},
 *     {"op": "lease.check",   "name": "nightly", "token": 88123},
 *     {"op": "kv.put",        "key": "last-run", "value": 7, "if_version": 3},
 *     {"op": "send",          "queue": "mail", "body": {..}, "delay": "10m"},
 *     {"op": "publish",       "topic": "order.placed", "body": {..}, "key": "c-7"},
 *     {"op": "canon.arrive",  "model": "Customer", "origin": "crm", "data": {..}},
 *     {"op": "settle", "queue": "mail", "id": "..", "token": 7, "outcome": "ack"},
 *     {"op": "job.submit", "job": "thumbs", "args": {..}, "options": {"delay": "10m"}},
 *     {"op": "job.step", "id": "..", "token": 7, "name": "charge", "result": {..}}, and job.sleep,
 *     job.wait, job.fan, job.undone]}
 *
 * A later operation sees what the earlier ones did. Conditions (the checks) are looked at before
 * all of them. The answer has a result for each operation, or the problem of the first that did not
 * hold, with its index. */
#include <string.h>

#include "api/jobs_priv.h"
#include "api/records_priv.h"
#include "api/tx_priv.h"
#include "base/json.h"
#include "base/list.h"
#include "base/mem.h"
#include "base/str.h"
#include "bus/bus.h"

enum tx_kind {
    TX_SAVE,
    TX_PATCH,
    TX_REMOVE,
    TX_CHECK,
    TX_HELD,
    TX_PUT,
    TX_SEND,
    TX_SETTLE,
    TX_PUBLISH,
    TX_ARRIVE,
    TX_SUBMIT,
    TX_STORED, /* and those behind it: in the order of enum job_stored_kind */
    TX_KINDS = TX_STORED + TX_STORED_KINDS
};

/* One operation as it came. */
struct tx_op {
    enum tx_kind kind;
    struct entity_def *def;
    size_t item;                                  /* of the write; not of a check */
    char id[ENTITY_NAME_MAX + ENTITY_ID_MAX + 2]; /* of a check: with the partition in front */
    uint64_t version;                             /* of a check; 0: see exists */
    bool exists;
    json_t *text;              /* of those that are not about records: as it came */
    uint32_t at, to;           /* of these: its operations in the unit, at <= i < to */
    uint64_t put;              /* of kv.put: the version that it gave */
    struct tx_queue queue;     /* of send, settle, publish, arrive, job.submit */
    struct tx_topic *topic;    /* of publish */
    struct job_stored *stored; /* of job.step and its like */
    uint32_t held_at;          /* of these: their condition in the unit */
    json_t *errors;            /* faults of the args of job.submit, job.fan */
    bool direct;               /* of arrive: it is worked at once */
};

/* It changes a record, and is among the items. */
static bool tx_is_item(const struct tx_op *op)
{
    return op->kind <= TX_REMOVE;
}

static bool tx_is_condition(const struct tx_op *op)
{
    return op->kind == TX_CHECK || op->kind == TX_HELD;
}

static bool tx_is_queue(const struct tx_op *op)
{
    return op->kind == TX_SEND || op->kind == TX_SETTLE || op->kind == TX_ARRIVE ||
           op->kind == TX_SUBMIT;
}

static bool tx_is_stored(const struct tx_op *op)
{
    return op->kind >= TX_STORED;
}

struct tx {
    struct bus *bus;
    struct job_finding finding; /* of the runs that something is stored of */
    struct job_stored **stored;
    size_t stored_count;

    int tries; /* because who listens had changed */
    struct tx_op *ops;
    size_t count;
    struct entity_item *items;
    size_t items_count;
    uint32_t checks_at;           /* where they stand in the unit */
    json_t *body;                 /* as it came: it may have to begin anew */
    int merge_tries;              /* because another was faster */
    struct queue_merging merging; /* of sends that are merged with what waits */
    struct queue_merged *merged;
    struct buf *patches;
    size_t merged_count;
    struct tx_direct *direct; /* NULL: no arrival is worked at once */
    size_t direct_at;         /* which */
};

static const char *const tx_names[] = {
    [TX_SAVE] = "entity.save",    [TX_PATCH] = "entity.patch", [TX_REMOVE] = "entity.remove",
    [TX_CHECK] = "entity.check",  [TX_HELD] = "lease.check",   [TX_PUT] = "kv.put",
    [TX_SEND] = "send",           [TX_SETTLE] = "settle",      [TX_PUBLISH] = "publish",
    [TX_ARRIVE] = "canon.arrive", [TX_SUBMIT] = "job.submit",
};
static const char *tx_name(enum tx_kind kind)
{
    return kind < TX_STORED ? tx_names[kind] : tx_stored_names[kind - TX_STORED];
}

/* Of parts that are not there. */
static const char *const tx_later[] = {"blob.link"};

static void tx_free(struct tx *x)
{
    if (x == NULL)
        return;
    for (size_t i = 0; i < x->items_count; i++)
        entity_item_fini(&x->items[i]);
    for (size_t i = 0; i < x->count; i++) {
        entity_def_unref(x->ops[i].def);
        json_decref(x->ops[i].text);
        tx_topic_free(x->ops[i].topic);
        json_decref(x->ops[i].errors);
        tx_job_free(&x->ops[i].queue);
        tx_stored_free(x->ops[i].stored);
    }
    for (size_t i = 0; i < x->merged_count; i++) {
        buf_fini(&x->merged[i].body);
        buf_fini(&x->patches[i]);
    }
    mem_free(x->stored);
    mem_free(x->merged);
    mem_free(x->patches);
    tx_direct_free(x->direct);
    json_decref(x->body);
    mem_free(x->items);
    mem_free(x->ops);
    mem_free(x);
}

/* ---- what is asked ---- */

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
                         "'%s' is made by canon: a change of a golden record is an arrival, which "
                         "is a unit of its own",
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

/* An arrival that is worked at once, with the others. */
static int tx_read_direct(struct http_request *req, struct tx *x, struct tx_op *out, struct err *e)
{
    if (x->direct != NULL)
        return err_field(e, ERR_UNSUPPORTED, "mode",
                         "a unit has one arrival that is worked at once, and operation %zu is it; "
                         "store the others to be worked later, with \"mode\": \"queue\"",
                         x->direct_at);
    out->direct = true;
    x->direct = tx_direct_new(out->text, out->queue.model, req);
    x->direct_at = (size_t)(out - x->ops);
    return 0;
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

static struct tx *tx_read(struct http_request *req, const json_t *body)
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

static void tx_refused(struct http_request *req, const struct tx *x, size_t at,
                       const struct err *why);

/* ---- sends that are merged with what waits ---- */

static int tx_merge_add(struct tx *x, struct tx_op *op, const char *unique, struct err *e)
{
    struct queue_merged m = {.queue = json_string_value(json_object_get(op->text, "queue")),
                             .unique = unique};
    for (size_t i = 0; i < x->merged_count; i++)
        if (strcmp(x->merged[i].unique, unique) == 0 && strcmp(x->merged[i].queue, m.queue) == 0)
            return err_field(e, ERR_INVALID, "unique",
                             "'%.80s' is merged twice in one unit; merge the two before", unique);
    struct buf *patch = &x->patches[x->merged_count];
    buf_init(patch, QUEUE_BODY_MAX);
    int rc = json_print(json_object_get(op->text, "body"), patch, e);
    m.patch = patch->data;
    m.patch_len = patch->len;
    op->queue.merged = &x->merged[x->merged_count];
    x->merged[x->merged_count++] = m;
    return rc;
}

/* False: answered. */
static bool tx_merges(struct http_request *req, struct tx *x)
{
    struct err e = ERR_INIT;
    for (size_t i = 0; i < x->count; i++) {
        struct tx_op *op = &x->ops[i];
        const char *unique = op->kind == TX_SEND ? tx_queue_merges(op->text) : NULL;
        if (unique == NULL)
            continue;
        if (x->merged == NULL) {
            x->merged = mem_new_array(x->count, sizeof *x->merged);
            x->patches = mem_new_array(x->count, sizeof *x->patches);
        }
        if (tx_merge_add(x, op, unique, &e) != 0) {
            tx_refused(req, x, i, &e);
            return false;
        }
    }
    return true;
}

/* ---- the unit ---- */

/* Who listens to what is published, as of now. */
static int tx_routes(struct tx *x, struct txn *t, struct err *e)
{
    const struct tx_topic *before = NULL;
    int rc = 0;
    for (size_t i = 0; i < x->count && rc == 0; i++)
        if (x->ops[i].kind == TX_PUBLISH) {
            rc = tx_topic_condition(x->ops[i].topic, before, t, e);
            before = x->ops[i].topic;
        }
    return rc;
}

static bool tx_again(struct entity_write *w, const struct unit *u)
{
    struct tx *x = ((struct records_write *)w)->more;
    for (size_t i = 0; i < x->count; i++)
        if (x->ops[i].kind == TX_PUBLISH && tx_topic_is_stale(x->ops[i].topic))
            return ++x->tries < BUS_TRIES;
    for (size_t i = 0; i < x->count; i++)
        if (x->ops[i].kind == TX_SETTLE && job_end_is_stale(u, &x->ops[i].queue.end))
            return ++x->tries < JOB_END_TRIES;
    return false;
}

static int tx_add(struct tx_op *op, struct txn *t, struct err *e)
{
    op->at = t->ops;
    int rc = tx_is_stored(op)         ? job_stored_add(op->stored, op->queue.thread->db, t, e)
             : op->kind == TX_PUBLISH ? tx_topic_add(op->topic, t, e)
             : tx_is_queue(op)        ? tx_queue_add(op->text, &op->queue, t, e)
                                      : tx_coord_add(op->text, op->kind == TX_HELD, t, e);
    op->to = t->ops;
    return rc;
}

/* Conditions behind those that were asked for. */
static int tx_held(struct tx *x, struct txn *t, struct err *e)
{
    int rc = 0;
    for (size_t i = 0; i < x->count && rc == 0; i++) {
        struct tx_op *op = &x->ops[i];
        op->held_at = t->ops;
        if (tx_is_stored(op))
            rc = job_stored_if(op->stored, op->queue.thread->db, t, e);
    }
    return rc;
}

static int tx_compose(struct entity_write *w, struct txn *t, bool before, struct err *e)
{
    struct tx *x = ((struct records_write *)w)->more;
    int rc = before ? tx_routes(x, t, e) : 0;
    if (before)
        x->checks_at = t->ops;
    /* Settles come last: what follows from the end of a run has results too, behind all others. */
    for (size_t n = 0; n < 2 * x->count && rc == 0; n++) {
        struct tx_op *op = &x->ops[n % x->count];
        if (tx_is_item(op) || op->direct || tx_is_condition(op) != before ||
            (op->kind == TX_SETTLE) != (n >= x->count))
            continue;
        if (op->kind != TX_CHECK)
            rc = tx_add(op, t, e);
        else if (op->version > 0)
            entity_txn_if_version(t, op->def, op->id, op->version);
        else if (op->exists)
            entity_txn_if_exists(t, op->def, op->id);
        else
            entity_txn_if_absent(t, op->def, op->id);
    }
    return rc == 0 && before ? tx_held(x, t, e) : rc;
}

/* ---- the answer ---- */

/* The index of the check with this number, or their count. */
static size_t tx_check_at(const struct tx *x, int number)
{
    for (size_t i = 0; i < x->count; i++)
        if (tx_is_condition(&x->ops[i]) && number-- == 0)
            return i;
    return x->count;
}

/* The index of what did not hold, or their count. */
static size_t tx_fault(const struct tx *x, const struct entity_write *w, const struct err **why)
{
    const struct err *fault = x->direct != NULL ? tx_direct_fault(x->direct) : NULL;
    if (fault != NULL) {
        *why = fault;
        return x->direct_at;
    }
    int failed = w->unit != NULL ? w->unit->failed_op - (int)x->checks_at : -1;
    size_t at = tx_check_at(x, failed);
    *why = &w->err;
    for (size_t i = 0; at == x->count && w->unit != NULL && i < x->count; i++) {
        const struct tx_op *op = &x->ops[i];
        int n = w->unit->failed_op;
        if ((op->kind >= TX_PUT && n >= (int)op->at && n < (int)op->to) ||
            (tx_is_stored(op) && n == (int)op->held_at))
            at = i;
    }
    for (size_t i = 0; at == x->count && i < x->items_count; i++) {
        const struct err *e = &x->items[i].err;
        if (e->code == 0 || e->code == ERR_CANCELED)
            continue;
        *why = e;
        for (at = 0; !tx_is_item(&x->ops[at]) || x->ops[at].item != i; at++)
            ;
    }
    return at;
}

static void tx_refused(struct http_request *req, const struct tx *x, size_t at,
                       const struct err *why)
{
    if (at == x->count) {
        http_problem(req, why);
        return;
    }
    const struct tx_op *op = &x->ops[at];
    struct err e = *why;
    char more[40];
    snprintf(more, sizeof more, "\"failed_op\":%zu", at);
    err_context(&e, "operation %zu", at);
    api_problem(req, &e, tx_is_item(op) ? x->items[op->item].errors : NULL, more);
}

static void tx_answer(struct http_request *req, const struct tx *x, uint64_t seq)
{
    struct buf out = BUF_INIT(API_ANSWER_MAX);
    buf_adds(&out, "{\"results\":[");
    for (size_t i = 0; i < x->count; i++) {
        const struct tx_op *op = &x->ops[i];
        buf_addf(&out, "%s{\"op\":\"%s\"", i > 0 ? "," : "", tx_name(op->kind));
        if (op->kind == TX_PUT) {
            const char *key = json_string_value(json_object_get(op->text, "key"));
            buf_adds(&out, ",\"key\":");
            json_print_string(&out, key, strlen(key));
            buf_addf(&out, ",\"version\":%llu", (unsigned long long)op->put);
        } else if (op->kind == TX_PUBLISH) {
            tx_topic_print(op->topic, &out);
        } else if (op->direct) {
            tx_direct_print(x->direct, &out);
        } else if (tx_is_stored(op)) {
            tx_stored_print(op->stored, op->queue.thread->db, &out);
        } else if (tx_is_queue(op)) {
            tx_queue_print(op->text, &op->queue, &out);
        } else if (tx_is_item(op)) {
            const struct entity_item *it = &x->items[op->item];
            buf_adds(&out, ",\"id\":");
            json_print_string(&out, it->id, strlen(it->id));
            buf_addf(&out, ",\"outcome\":\"%s\",\"version\":%llu",
                     entity_outcome_name(it->result.outcome),
                     (unsigned long long)it->result.version);
        }
        buf_addc(&out, '}');
    }
    buf_adds(&out, "]}");
    if (seq > 0)
        http_header_uint(req, "X-Koan-Seq", seq);
    http_respond_buf(req, 200, API_JSON, &out);
}

/* What came of an operation that is not about a record: of settle there is nothing. */
static void tx_result(struct tx_op *op, struct cursor *result)
{
    if (op->kind == TX_PUT)
        op->put = cursor_u64(result);
    if (op->kind == TX_SEND || op->kind == TX_ARRIVE || op->kind == TX_SUBMIT)
        tx_queue_result(&op->queue, result);
}

static bool tx_has_result(const struct tx_op *op)
{
    return op->kind == TX_PUT || op->kind == TX_SEND || op->kind == TX_SUBMIT ||
           (op->kind == TX_ARRIVE && !op->direct);
}

static void tx_skip(struct cursor *results, size_t count)
{
    struct cursor one;
    while (count-- > 0 && ledger_kept_next(results, &one))
        ;
}

/* Versions of values and sent messages, from the results behind those of the items. */
static void tx_puts(struct tx *x, struct cursor results)
{
    struct cursor one;
    for (size_t i = 0; i < x->items_count && ledger_kept_next(&results, &one); i++)
        ;
    for (size_t i = 0; i < x->count; i++)
        if (x->ops[i].kind == TX_PUBLISH)
            tx_topic_result(x->ops[i].topic, &results);
        else if (tx_is_stored(&x->ops[i]))
            tx_skip(&results, tx_stored_results(x->ops[i].stored));
        else if (tx_has_result(&x->ops[i]) && ledger_kept_next(&results, &one))
            tx_result(&x->ops[i], &one);
}

/* What is kept of it, beside the results. */
static void tx_context(const struct entity_write *w, size_t first, size_t count, struct buf *out)
{
    const struct tx *x = ((const struct records_write *)w)->more;
    records_context(w, first, count, out);
    for (size_t i = 0; i < x->count; i++)
        if (x->ops[i].kind == TX_PUBLISH)
            tx_topic_keep(x->ops[i].topic, out);
}

/* True: it was done before, and is answered as then. */
static bool tx_replayed(struct http_request *req, struct tx *x)
{
    const struct api_kept *k = api_kept(req, 0);
    struct cursor context, results;
    if (k == NULL || !records_kept_items(k, x->items, x->items_count, &context, NULL))
        return false;
    for (size_t i = 0; i < x->count; i++)
        if (x->ops[i].kind == TX_PUBLISH && !tx_topic_recall(x->ops[i].topic, &context))
            return false;
    if (x->direct != NULL && !tx_direct_recall(x->direct, &context))
        return false;
    cursor_init(&results, k->results.data, k->results.len);
    tx_puts(x, results);
    api_replayed(req);
    tx_answer(req, x, k->seq);
    return true;
}

static void tx_start(struct http_request *req, json_t *body, int tries);

/* Another was faster with what a send is merged with: all of it anew. `x` is gone then. */
static bool tx_merge_again(struct http_request *req, struct tx *x, size_t at, const struct err *e)
{
    if (at == x->count || x->ops[at].queue.merged == NULL || !queue_merge_is_lost(e) ||
        x->merge_tries + 1 >= QUEUE_MERGE_TRIES)
        return false;
    json_t *body = json_incref(x->body);
    int tries = x->merge_tries + 1;
    tx_free(x);
    tx_start(req, body, tries);
    json_decref(body);
    return true;
}

static void tx_done(struct entity_write *w)
{
    /* The struct lies in the request's arena, which goes with the answer. */
    struct records_write *op = (struct records_write *)w;
    struct http_request *req = op->req;
    struct tx *x = op->more;
    uint64_t seq = w->seq;
    const struct err *why;
    size_t at = tx_fault(x, w, &why);
    struct err e = *why;
    for (size_t i = 0; e.code == 0 && w->unit != NULL && i < x->count; i++) {
        struct tx_op *o = &x->ops[i];
        struct cursor one;
        if (o->kind == TX_PUBLISH)
            tx_topic_done(o->topic, w->unit, o->at);
        else if (tx_has_result(o) && unit_result(w->unit, o->at, &one))
            tx_result(o, &one);
    }
    entity_write_fini(w);
    if (e.code == 0)
        tx_answer(req, x, seq);
    else if (tx_merge_again(req, x, at, &e))
        return;
    else if (!api_once_again(req) || !tx_replayed(req, x))
        tx_refused(req, x, at, &e);
    tx_free(x);
}

/* With an arrival that is worked at once: all else is put in front of its unit. */
static int tx_ride(struct entity_write *w, struct unit *u, struct err *e)
{
    struct records_write *op = (struct records_write *)w;
    const struct tx *x = op->more;
    AUTO(buf_fini) struct buf context = BUF_INIT(LEDGER_ONCE_CONTEXT_MAX);
    if (api_once_key(op->req) != NULL)
        tx_context(w, 0, w->count, &context);
    return tx_direct_propose(x->direct, u, &context, e);
}

static void tx_write(struct http_request *req, struct tx *x)
{
    struct records_write *op = records_write_new(req, NULL, x->items, 0, tx_done);
    op->w.count = x->items_count;
    op->w.compose = tx_compose;
    op->w.again = tx_again;
    op->w.context = tx_context;
    if (x->direct != NULL) {
        op->w.propose = tx_ride;
        op->w.once = NULL; /* tx_direct.c has it */
    }
    op->more = x;
    records_write_start(op);
}

/* Of each run that something is stored of: that it is one, and its job. */
static void tx_found(struct job_finding *f)
{
    struct tx *x = LIST_OF(f, struct tx, finding);
    for (size_t i = 0; i < x->count; i++) {
        struct tx_op *op = &x->ops[i];
        if (!tx_is_stored(op) || op->stored->err.code == 0)
            continue;
        tx_refused(f->req, x, i, &op->stored->err);
        tx_free(x);
        return;
    }
    for (size_t i = 0; i < x->count; i++) {
        struct tx_queue *q = &x->ops[i].queue;
        struct uuid id;
        if (x->ops[i].kind == TX_SETTLE &&
            queue_id(json_object_get(x->ops[i].text, "id"), &id, NULL) == 0)
            q->has_ahead = job_stored_ahead(x->stored, x->stored_count, &id, &q->ahead);
    }
    tx_write(f->req, x);
}

static void tx_find(struct http_request *req, struct tx *x)
{
    x->stored = mem_new_array(x->count, sizeof(struct job_stored *));
    for (size_t i = 0; i < x->count; i++)
        if (tx_is_stored(&x->ops[i]))
            x->stored[x->stored_count++] = x->ops[i].stored;
    if (x->stored_count == 0) {
        tx_write(req, x);
        return;
    }
    job_stored_order(x->stored, x->stored_count);
    x->finding =
        (struct job_finding){.list = x->stored, .count = x->stored_count, .done = tx_found};
    job_find_start(&x->finding, req);
}

static void tx_merged(struct queue_merging *m)
{
    struct tx *x = LIST_OF(m, struct tx, merging);
    for (size_t i = 0; i < x->count; i++) {
        const struct queue_merged *of = x->ops[i].queue.merged;
        if (of == NULL || of->err.code == 0)
            continue;
        tx_refused(m->req, x, i, &of->err);
        tx_free(x);
        return;
    }
    tx_find(m->req, x);
}

static void tx_start(struct http_request *req, json_t *body, int tries)
{
    struct tx *x = tx_read(req, body);
    if (x == NULL)
        return;
    x->body = json_incref(body);
    x->merge_tries = tries;
    if (tx_replayed(req, x) || !tx_merges(req, x)) {
        tx_free(x);
    } else if (x->merged_count > 0) {
        x->merging.list = x->merged;
        x->merging.count = x->merged_count;
        x->merging.done = tx_merged;
        queue_merge_start(&x->merging, req);
    } else {
        tx_find(req, x);
    }
}

static void tx_post(struct http_request *req)
{
    if (!API_QUERY_NONE(req) || !api_once(req))
        return;
    AUTO(json_unref) json_t *body = api_body_object(req);
    if (body == NULL)
        return;
    tx_start(req, body, 0);
}

static const struct http_route tx_table[] = {
    {.verb = HTTP_VERB_POST, .pattern = "/api/tx", .handler = tx_post},
};
const struct api_routes api_tx_routes = {tx_table, ARRAY_LEN(tx_table)};
