/* The door of a write: everything that can be refused without the database, and the jobs' life. */
#include "entity/write.h"

#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "entity/changes.h"
#include "entity/write_priv.h"

/* ---- checking items ---- */

/* The id of a save: given, in the document, or new. */
static int settle_id(struct entity_write *w, struct entity_item *it, bool *made, struct err *e)
{
    const json_t *in_doc = json_object_get(it->doc, "id");
    if (in_doc != NULL && !json_is_null(in_doc)) {
        const char *s = json_string_value(in_doc);
        if (s == NULL || *s == '\0' || strlen(s) > ENTITY_ID_MAX ||
            strlen(s) != json_string_length(in_doc))
            return err_field(e, ERR_INVALID, "id", "an id is text of 1 to %d bytes", ENTITY_ID_MAX);
        if (it->id[0] != '\0' && strcmp(it->id, s) != 0)
            return err_field(e, ERR_INVALID, "id",
                             "the document says id '%.64s', the address '%.64s'", s, it->id);
        snprintf(it->id, sizeof(it->id), "%s", s);
    }
    if (it->id[0] == '\0') {
        struct uuid u;
        w->ids->make(w->ids, &u);
        uuid_format(&u, it->id);
        *made = true;
    }
    return 0;
}

static int check_save(struct entity_write *w, struct entity_item *it, struct slot *s, struct err *e)
{
    if (!json_is_object(it->doc))
        return err_set(e, ERR_INVALID, "a record of %s is an object, got %s", it->def->name,
                       json_type_name(it->doc));
    int rc = settle_id(w, it, &s->made, e);
    if (rc < 0)
        return rc;
    s->checked = entity_doc_check(it->def, it->doc, ENTITY_DOC_SYSTEM, &it->errors, e);
    return s->checked == NULL ? e->code : entity_doc_print(it->def, s->checked, &s->doc, e);
}

static int check_item(struct entity_write *w, struct entity_item *it, struct slot *s, struct err *e)
{
    int rc = 0;
    if (it->verb == ENTITY_SAVE)
        rc = check_save(w, it, s, e);
    else if (it->verb == ENTITY_PATCH)
        rc = change_check_patch(it->def, it->patch_kind, it->doc, e);
    else if ((it->verb == ENTITY_RESTORE || it->verb == ENTITY_PURGE) &&
             it->def->soft_remove_ms == 0)
        rc = err_set(e, ERR_UNSUPPORTED,
                     "%s is declared without soft_remove: what is removed is gone", it->def->name);
    if (rc == 0)
        rc = str_check_id(it->id, strlen(it->id), e);
    if (rc == 0 && it->partition[0] != '\0')
        rc = str_check_name(it->partition, "partition", e);
    if (rc == 0 && slot_has_hook(it) && w->hooks == NULL)
        rc = err_set(e, ERR_UNAVAILABLE, "%s has a hook, but no script is loaded that has it",
                     it->def->name);
    return rc;
}

/* Two changes of one record with hooks would each wait for the other's version. */
static int check_twice(struct entity_write *w, struct err *e)
{
    for (size_t i = 0; i < w->count; i++) {
        if (!slot_has_hook(&w->items[i]))
            continue;
        for (size_t k = 0; k < w->count; k++) {
            if (k != i && strcmp(w->items[i].id, w->items[k].id) == 0 &&
                strcmp(w->items[i].partition, w->items[k].partition) == 0 &&
                strcmp(w->items[i].def->name, w->items[k].def->name) == 0)
                return err_set(e, ERR_INVALID,
                               "%s '%.64s' is changed twice in one unit, and has hooks",
                               w->items[i].def->name, w->items[i].id);
        }
    }
    return 0;
}

/* Negative when nothing may start. */
static int check_items(struct entity_write *w, struct entity_write_impl *m, struct err *e)
{
    int failed = 0;
    for (size_t i = 0; i < w->count; i++) {
        struct entity_item *it = &w->items[i];
        err_clear(&it->err);
        json_decref(it->errors);
        it->errors = NULL;
        if (it->done)
            continue;
        int rc = check_item(w, it, &m->slots[i], &it->err);
        if (rc < 0 && failed == 0) {
            failed = rc;
            if (e != NULL)
                *e = it->err;
        }
    }
    if (failed == 0 || !w->atomic)
        return w->atomic ? check_twice(w, e) : 0;
    for (size_t i = 0; i < w->count; i++) {
        if (w->items[i].err.code == 0)
            err_set(&w->items[i].err, ERR_CANCELED, "not done: another item of the unit is wrong");
    }
    return failed;
}

/* ---- life ---- */

static const char *keep(struct entity_write_impl *m, size_t i, const char *text)
{
    m->texts[i] = text != NULL ? mem_strdup(text) : NULL;
    return m->texts[i];
}

static void copy_envelope(struct entity_write_impl *m, const struct envelope *env)
{
    m->env = (struct envelope){.tenant = keep(m, 0, env->tenant != NULL ? env->tenant : "default"),
                               .principal = keep(m, 1, env->principal),
                               .correlation = keep(m, 2, env->correlation),
                               .causation = keep(m, 3, env->causation),
                               .traceparent = keep(m, 4, env->traceparent),
                               .reason = keep(m, 5, env->reason)};
}

static int impl_new(struct entity_write *w, struct err *e)
{
    struct entity_write_impl *m = mem_new(sizeof(*m));
    m->w = w;
    m->jobs_count = w->atomic ? 1 : w->count;
    m->slots = mem_try(w->count * sizeof(struct slot) + 1);
    m->jobs = mem_try(m->jobs_count * sizeof(struct job) + 1);
    w->impl = m;
    copy_envelope(m, &w->env);
    if (m->slots == NULL || m->jobs == NULL) {
        m->jobs_count = 0;
        return err_set(e, ERR_NOMEM, "no memory for %zu items", w->count);
    }
    memset(m->jobs, 0, m->jobs_count * sizeof(struct job));
    for (size_t i = 0; i < w->count; i++) {
        m->slots[i] = (struct slot){.def = entity_def_ref(w->items[i].def)};
        entity_doc_init(&m->slots[i].doc);
    }
    for (size_t i = 0; i < m->jobs_count; i++)
        m->jobs[i] =
            (struct job){.impl = m, .first = w->atomic ? 0 : i, .count = w->atomic ? w->count : 1};
    return 0;
}

static void finish(struct task *t)
{
    struct entity_write_impl *m =
        (struct entity_write_impl *)((char *)t - offsetof(struct entity_write_impl, finish));
    struct entity_write *w = m->w;
    for (size_t i = 0; i < w->count; i++)
        w->failed += w->items[i].err.code != 0;
    w->unit = w->atomic && m->jobs[0].has_unit ? &m->jobs[0].unit : NULL;
    w->done(w); /* w may be gone after this line */
}

static void start_jobs(struct entity_write_impl *m)
{
    while (m->jobs_started < m->jobs_count && m->jobs_running < WRITE_JOBS_MAX) {
        struct job *j = &m->jobs[m->jobs_started++];
        const struct entity_item *it = &m->w->items[j->first];
        if (!m->w->atomic && (it->err.code != 0 || it->done))
            continue; /* refused already, or nothing to do */
        m->jobs_running++;
        job_start(j);
    }
}

void write_job_over(struct entity_write_impl *m)
{
    m->jobs_running--;
    if (m->in_start)
        return; /* start_jobs() or entity_write_start() goes on */
    m->in_start = true;
    start_jobs(m);
    m->in_start = false;
    if (m->jobs_running == 0)
        finish(&m->finish);
}

int entity_write_start(struct entity_write *w, struct err *e)
{
    struct err own = ERR_INIT;
    e = e != NULL ? e : &own;
    w->impl = NULL;
    w->failed = 0;
    w->seq = 0;
    w->unit = NULL;
    err_clear(&w->err);
    if (w->count > ENTITY_BULK_MAX)
        return err_set(e, ERR_TOO_LARGE, "at most %d items at once", ENTITY_BULK_MAX);
    int rc = impl_new(w, e);
    if (rc < 0 || (rc = check_items(w, w->impl, e)) < 0)
        return rc;
    struct entity_write_impl *m = w->impl;
    m->in_start = true;
    start_jobs(m);
    m->in_start = false;
    if (m->jobs_running > 0)
        return 0;
    if (w->atomic && w->err.code != 0) {
        if (e != &w->err)
            *e = w->err;
        return w->err.code;
    }
    m->finish.run = finish;
    w->home->post(w->home, &m->finish);
    return 0;
}

void entity_write_fini(struct entity_write *w)
{
    struct entity_write_impl *m = w->impl;
    if (m == NULL)
        return;
    for (size_t i = 0; i < m->jobs_count; i++)
        job_fini(&m->jobs[i]);
    for (size_t i = 0; m->jobs_count > 0 && i < w->count; i++) {
        entity_def_unref(m->slots[i].def);
        json_decref(m->slots[i].checked);
        entity_doc_fini(&m->slots[i].doc);
    }
    for (size_t i = 0; i < ARRAY_LEN(m->texts); i++)
        mem_free(m->texts[i]);
    mem_free(m->slots);
    mem_free(m->jobs);
    mem_free(m);
    w->impl = NULL;
    w->unit = NULL;
}

bool entity_written_record(const struct entity_write *w, size_t i, struct buf *out)
{
    const struct entity_item *it = &w->items[i];
    const struct slot *s = &w->impl->slots[i];
    bool repeated = w->unit == NULL || w->unit->repeated;
    if (it->result.outcome != ENTITY_CREATED || it->verb != ENTITY_SAVE || s->def->ttl || repeated)
        return false;
    const char *who = w->impl->env.principal != NULL ? w->impl->env.principal : TXN_PRINCIPAL;
    struct entity_change c = {.id = it->id,
                              .id_len = strlen(it->id),
                              .created_at = it->result.created_at,
                              .created_by = who,
                              .created_by_len = strlen(who)};
    struct entity_state state = {.body = buf_str(&s->doc.body),
                                 .body_len = s->doc.body.len,
                                 .version = it->result.version,
                                 .updated_at = it->result.updated_at,
                                 .updated_by = who,
                                 .updated_by_len = strlen(who)};
    entity_change_record(&c, &state, out);
    return true;
}

void entity_item_fini(struct entity_item *it)
{
    json_decref(it->doc);
    json_decref(it->errors);
    it->doc = it->errors = NULL;
}
