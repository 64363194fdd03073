/* One unit on its way: hooks, proposal, outcome. */
#include <string.h>

#include "base/mem.h"
#include "entity/read.h"
#include "entity/write_priv.h"
#include "ledger/once.h"

#define JOB_OF(ptr, member) ((struct job *)((char *)(ptr)-offsetof(struct job, member)))

static void job_tick(struct job *j);

bool slot_has_hook(const struct entity_item *it)
{
    if (it->verb == ENTITY_RESTORE || it->verb == ENTITY_PURGE)
        return false;
    return it->verb == ENTITY_REMOVE ? it->def->before_remove : it->def->before_save;
}

static struct entity_item *job_item(const struct job *j, size_t i)
{
    return &j->impl->w->items[i];
}

static struct slot *job_slot(const struct job *j, size_t i)
{
    return &j->impl->slots[i];
}

static bool job_has_hook(const struct job *j)
{
    for (size_t i = j->first; i < j->first + j->count; i++) {
        if (job_slot(j, i)->hooked)
            return true;
    }
    return false;
}

/* "id" or "partition/id" */
static const char *item_name(const struct entity_item *it, char room[WRITE_NAME_MAX])
{
    snprintf(room, WRITE_NAME_MAX, "%s%s%s", it->partition, it->partition[0] != '\0' ? "/" : "",
             it->id);
    return room;
}

/* ---- outcome ---- */

/* The item at fault has the error, the others only know that there was one. */
static void job_fail(struct job *j, size_t culprit, const struct err *why)
{
    struct entity_write *w = j->impl->w;
    for (size_t i = j->first; i < j->first + j->count; i++) {
        struct entity_item *it = job_item(j, i);
        if (i == culprit || culprit == SIZE_MAX)
            it->err = *why;
        else
            err_set(&it->err, ERR_CANCELED, "not done: item %zu of the unit failed",
                    culprit - j->first + 1);
    }
    if (w->atomic)
        w->err = *why;
    j->state = JOB_DONE;
}

static void job_results(struct job *j)
{
    struct entity_write *w = j->impl->w;
    for (size_t i = j->first; i < j->first + j->count; i++) {
        struct cursor c;
        struct entity_item *it = job_item(j, i);
        if (!unit_result(&j->unit, job_slot(j, i)->op_last, &c) ||
            !entity_result_parse(&c, &it->result))
            err_set(&it->err, ERR_INTERNAL, "the ledger gave no result for this item");
    }
    w->seq = j->unit.seq > w->seq ? j->unit.seq : w->seq;
    j->state = JOB_DONE;
}

/* ---- the prior record and the hook ---- */

/* Modes and conditions against the row as read; the commit checks the same again. */
static int check_prior(const struct entity_item *it, uint64_t version, struct err *e)
{
    if (version == 0 && (it->if_version > 0 || it->if_exists))
        return err_set(e, ERR_VERSION_MISMATCH, "%s '%.64s' is not there", it->def->name, it->id);
    if (version == 0 && (it->verb != ENTITY_SAVE || it->mode == ENTITY_REPLACE))
        return err_set(e, ERR_NOT_FOUND, "there is no %s '%.64s'", it->def->name, it->id);
    if (version > 0 && it->if_absent)
        return err_set(e, ERR_VERSION_MISMATCH, "%s '%.64s' exists already", it->def->name, it->id);
    if (version > 0 && it->verb == ENTITY_SAVE && it->mode == ENTITY_CREATE)
        return err_field(e, ERR_CONFLICT, "id",
                         "%s '%.64s' exists already; save it under its id to replace it",
                         it->def->name, it->id);
    if (it->if_version > 0 && it->if_version != version)
        return err_set(e, ERR_VERSION_MISMATCH,
                       "%s '%.64s' is at version %llu, not %llu: read it again", it->def->name,
                       it->id, (unsigned long long)version, (unsigned long long)it->if_version);
    if (version > 0 && it->if_version == 0 && it->def->require_version)
        return err_set(e, ERR_INVALID,
                       "%s wants a version with every change: If-Match or if_version",
                       it->def->name);
    return 0;
}

/* The declared fields of a complete record. */
static json_t *declared(const struct entity_def *d, const json_t *record)
{
    json_t *out = json_object();
    for (size_t i = 0; i < d->fields_count; i++) {
        json_t *v = json_object_get(record, d->fields[i].name);
        if (v != NULL)
            json_object_set_new(out, d->fields[i].name, json_deep_copy(v));
    }
    return out;
}

/* What a save or patch would make of the record, for the hook to look at and to change. */
static int draft(struct job *j, size_t i, const json_t *prior, json_t **out, struct err *e)
{
    struct entity_item *it = job_item(j, i);
    struct slot *s = job_slot(j, i);
    json_t *record;
    if (it->verb == ENTITY_SAVE) {
        record = json_deep_copy(s->checked);
    } else {
        int rc = change_patch(it->def, declared(it->def, prior), it->patch_kind, it->doc, &s->doc,
                              &it->errors, e);
        if (rc < 0)
            return rc;
        record = json_read(buf_str(&s->doc.body), s->doc.body.len, e);
    }
    if (record == NULL)
        return err_set(e, ERR_NOMEM, "no memory for a record");
    json_object_set_new(record, "id", json_string(it->id));
    *out = record;
    return 0;
}

static void call_clear(struct entity_hook_call *c)
{
    json_decref(c->record);
    json_decref(c->prior);
    json_decref(c->errors);
    *c = (struct entity_hook_call){.record = NULL};
}

/* Has the hook left the record that it was given? That one is checked and printed already. */
static bool is_as_checked(const json_t *record, const json_t *checked)
{
    const char *key;
    json_t *value;
    size_t id = json_object_get(checked, "id") == NULL; /* it was added for the hook */
    if (json_object_get(record, "id") == NULL ||
        json_object_size(record) != json_object_size(checked) + id)
        return false;
    json_object_foreach((json_t *)checked, key, value)
    {
        if (!json_equal(value, json_object_get(record, key)))
            return false;
    }
    return true;
}

/* What the hook left becomes what is proposed. */
static int take_record(struct job *j, size_t i, struct err *e)
{
    struct entity_item *it = job_item(j, i);
    struct entity_hook_call *c = &j->call;
    if (c->err.code != 0) {
        it->errors = TAKE(c->errors);
        *e = c->err;
        return e->code;
    }
    if (it->verb == ENTITY_REMOVE)
        return 0;
    const char *id = json_string_value(json_object_get(c->record, "id"));
    if (id != NULL && strcmp(id, it->id) != 0)
        return err_field(e, ERR_INVALID, "id", "before_save of %s changed the id", it->def->name);
    struct slot *s = job_slot(j, i);
    if (it->verb == ENTITY_SAVE && !s->reshaped && is_as_checked(c->record, s->checked))
        return 0;
    s->reshaped = true;
    int rc = entity_doc_make(it->def, c->record, ENTITY_DOC_NO_DEFAULTS | ENTITY_DOC_SYSTEM,
                             &s->doc, &it->errors, e);
    return rc < 0 ? err_context(e, "after before_save of %s", it->def->name) : 0;
}

static void hook_done(struct task *t)
{
    struct entity_hook_call *c =
        (struct entity_hook_call *)((char *)t - offsetof(struct entity_hook_call, task));
    struct job *j = JOB_OF(c, call);
    struct err e = ERR_INIT;
    if (take_record(j, j->at, &e) < 0)
        job_fail(j, j->at, &e);
    else
        j->at++;
    call_clear(&j->call);
    job_tick(j);
}

/* 1: the hook is under way, hook_done goes on. 0: this item needs none. */
static int hook_item(struct job *j, size_t i, struct err *e)
{
    struct entity_write *w = j->impl->w;
    struct entity_item *it = job_item(j, i);
    struct slot *s = job_slot(j, i);
    if (!slot_has_hook(it))
        return 0;
    AUTO(json_unref) json_t *prior = NULL;
    char scope[WRITE_NAME_MAX];
    s->hooked = true;
    s->prior_version = 0;
    snprintf(scope, sizeof(scope), "%s%s%s", j->impl->env.tenant,
             it->partition[0] != '\0' ? "/" : "", it->partition);
    int rc = s->made
                 ? 0
                 : entity_get_json(w->reader, it->def, scope, it->id, &prior, &s->prior_version, e);
    if (rc < 0 && rc != ERR_NOT_FOUND)
        return rc;
    err_clear(e);
    if ((rc = check_prior(it, s->prior_version, e)) < 0)
        return rc;
    struct entity_hook_call *c = &j->call;
    *c = (struct entity_hook_call){.task = {.run = hook_done},
                                   .home = w->home,
                                   .def = it->def,
                                   .event = it->verb == ENTITY_REMOVE ? ENTITY_BEFORE_REMOVE
                                                                      : ENTITY_BEFORE_SAVE,
                                   .env = &j->impl->env,
                                   .id = it->id};
    if (it->verb != ENTITY_REMOVE && (rc = draft(j, i, prior, &c->record, e)) < 0)
        return rc;
    c->prior = TAKE(prior);
    if ((rc = w->hooks->run(w->hooks, c, e)) == 0)
        return 1;
    call_clear(c);
    return rc;
}

/* ---- the unit ---- */

static void add_save(struct txn *t, const struct entity_item *it, const struct slot *s)
{
    char room[WRITE_NAME_MAX];
    const char *name = item_name(it, room);
    enum entity_mode mode = it->verb == ENTITY_PATCH ? ENTITY_REPLACE : it->mode;
    if (s->made && mode == ENTITY_UPSERT)
        mode = ENTITY_CREATE; /* nobody can have the id: it is not looked up */
    if (s->hooked && s->prior_version > 0)
        entity_txn_save(t, it->def, name, ENTITY_REPLACE, s->prior_version, &s->doc);
    else if (s->hooked)
        entity_txn_save(t, it->def, name, ENTITY_CREATE, 0, &s->doc);
    else
        entity_txn_save(t, it->def, name, mode, it->if_version, &s->doc);
}

static int add_item(struct job *j, size_t i, struct err *e)
{
    struct txn *t = &j->unit.txn;
    struct entity_item *it = job_item(j, i);
    struct slot *s = job_slot(j, i);
    char room[WRITE_NAME_MAX];
    const char *name = item_name(it, room);
    int rc = 0;
    s->op_first = t->ops;
    if (it->if_exists)
        entity_txn_if_exists(t, it->def, name);
    if (it->if_absent || (s->hooked && s->prior_version == 0 && !s->made))
        entity_txn_if_absent(t, it->def, name);
    s->op_last = t->ops;
    if (it->verb == ENTITY_REMOVE)
        entity_txn_remove(t, it->def, name, s->hooked ? s->prior_version : it->if_version);
    else if (it->verb == ENTITY_RESTORE)
        entity_txn_restore(t, it->def, name);
    else if (it->verb == ENTITY_PURGE)
        entity_txn_purge(t, it->def, name);
    else if (it->verb == ENTITY_PATCH && !s->hooked)
        rc = entity_txn_patch(t, it->def, name, it->if_version, it->patch_kind, it->doc, e);
    else
        add_save(t, it, s);
    return rc;
}

/* The last operations of a unit with a key. */
static int add_keep(struct job *j, struct err *e)
{
    struct entity_write *w = j->impl->w;
    struct txn *t = &j->unit.txn;
    char room[WRITE_NAME_MAX];
    AUTO(buf_fini) struct buf context = BUF_INIT(LEDGER_ONCE_CONTEXT_MAX);
    const struct entity_item *it = job_item(j, j->first);
    if (w->show_bytes > 0 && w->count == 1)
        entity_txn_show(t, it->def, item_name(it, room), w->show_bytes);
    if (w->context != NULL)
        w->context(w, j->first, j->count, &context);
    int rc = buf_check(&context, "what is kept of a request with a key", e);
    return rc < 0 ? rc
                  : ledger_txn_keep(t, w->once, (uint32_t)j->first, context.data, context.len, e);
}

static int build_unit(struct job *j, struct err *e)
{
    struct entity_write *w = j->impl->w;
    struct txn *t = &j->unit.txn;
    txn_envelope(t, &j->impl->env);
    t->grows = false;
    if (w->atomic) {
        /* A repeat by the caller makes the same tries under the same names, and finds the first
           answers. */
        static const struct uuid none;
        t->id = w->unit_id;
        if (memcmp(&w->unit_id, &none, sizeof(none)) != 0)
            t->id.b[15] = (uint8_t)(t->id.b[15] ^ (j->tries + j->composed));
    }
    if (w->once != NULL)
        ledger_txn_once(t, w->once, (uint32_t)j->first);
    int rc = w->atomic && w->compose != NULL ? w->compose(w, t, true, e) : 0;
    for (size_t i = j->first; rc == 0 && i < j->first + j->count; i++) {
        t->grows = t->grows || job_item(j, i)->verb != ENTITY_REMOVE;
        rc = add_item(j, i, e);
    }
    if (rc == 0 && w->atomic && w->compose != NULL) {
        t->grows = true;
        rc = w->compose(w, t, false, e);
    }
    if (rc == 0 && w->once != NULL)
        rc = add_keep(j, e);
    return rc;
}

/* The item that an operation of the unit belongs to; SIZE_MAX: none of them. */
static size_t item_of(const struct job *j, int op)
{
    for (size_t i = j->first; op >= 0 && i < j->first + j->count; i++) {
        const struct slot *s = job_slot(j, i);
        if ((uint32_t)op >= s->op_first && (uint32_t)op <= s->op_last)
            return i;
    }
    return SIZE_MAX;
}

static void unit_done(struct unit *u)
{
    struct job *j = JOB_OF(u, unit);
    if (u->err.code == 0) {
        job_results(j);
    } else if (u->err.code == ERR_CONFLICT && j->impl->w->atomic && j->impl->w->again != NULL &&
               j->impl->w->again(j->impl->w, u)) {
        j->composed++;
        j->state = JOB_PROPOSE;
    } else if (u->err.code == ERR_VERSION_MISMATCH && job_has_hook(j) &&
               item_of(j, u->failed_op) != SIZE_MAX) {
        /* The row changed under the hook: look at it again. What the caller added is not ours. */
        struct err e = ERR_INIT;
        j->at = j->first;
        j->state = JOB_ITEM;
        if (++j->tries >= ENTITY_HOOK_TRIES) {
            err_set(&e, ERR_CONFLICT,
                    "the record changed %d times while its hook ran; try again later", j->tries);
            job_fail(j, item_of(j, u->failed_op), &e);
        }
    } else {
        job_fail(j, item_of(j, u->failed_op), &u->err);
    }
    job_tick(j);
}

static int propose(struct job *j, struct err *e)
{
    struct entity_write *w = j->impl->w;
    if (j->has_unit)
        unit_fini(&j->unit);
    unit_init(&j->unit, w->home, unit_done);
    j->has_unit = true;
    int rc = build_unit(j, e);
    if (rc < 0)
        return rc;
    return w->atomic && w->propose != NULL ? w->propose(w, &j->unit, e)
                                           : ledger_propose(w->ledger, &j->unit, e);
}

static void job_tick(struct job *j)
{
    struct err e = ERR_INIT;
    int rc;
    for (;;) {
        switch (j->state) {
        case JOB_ITEM:
            if (j->at == j->first + j->count) {
                j->state = JOB_PROPOSE;
                continue;
            }
            rc = hook_item(j, j->at, &e);
            if (rc > 0)
                return; /* suspended: hook_done ticks again */
            if (rc < 0)
                job_fail(j, j->at, &e);
            else
                j->at++;
            continue;
        case JOB_PROPOSE:
            rc = propose(j, &e);
            if (rc == 0)
                return; /* suspended: unit_done ticks again */
            job_fail(j, SIZE_MAX, &e);
            continue;
        case JOB_DONE:
            write_job_over(j->impl); /* j may be gone after this line */
            return;
        }
    }
}

void job_start(struct job *j)
{
    j->at = j->first;
    job_tick(j);
}

void job_fini(struct job *j)
{
    if (j->has_unit)
        unit_fini(&j->unit);
}
