/* The definitions of one ledger: live ones for the ledger's thread, published ones for all others.
 */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/err.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/str.h"
#include "db/db.h"
#include "entity/build_priv.h"

struct entities {
    struct domain domain;
    /* The ledger's thread only. */
    struct db *db;
    struct map *live; /* name -> definition, as of the operation being applied */
    bool is_stale;    /* a rolled-back unit may have changed it: read it again before use */
    bool is_ahead;    /* it has something that is not published */
    const struct entity_def **all; /* `live` in order of name; NULL: not gathered */
    size_t all_count;
    int64_t due;      /* when the next sweep has something to do; INT64_MAX: never */
    bool due_is_late; /* the current entry has put it off */
    enum entities_work work;
    struct changes changes;
    struct notes notes;
    const struct entity_leases *leases; /* or NULL */
    /* Every thread. The lock is held for a look-up or an exchange, never across a call elsewhere.
     */
    pthread_mutex_t lock;
    struct map *published;
};

static void drop(void *def)
{
    entity_def_unref(def);
}

/* ---- the ledger's thread ---- */

static void forget_all(struct entities *s)
{
    mem_free(s->all);
    s->all = NULL;
}

static int load_row(struct entities *s, struct db *db, struct db_stmt *row, struct err *e)
{
    size_t n;
    const char *text = db_col_text(row, 1, &n);
    struct entity_def *d;
    int rc = entity_def_parse_text(text, n, &d, e);
    if (rc < 0) {
        err_context(e, "definition in the database");
        return ERR_CORRUPT;
    }
    d->version = (uint32_t)db_col_int(row, 0);
    map_puts(s->live, d->name, d);
    return copy_attach(db, d, e);
}

int entities_load(struct entities *s, struct db *db, struct err *e)
{
    forget_all(s);
    map_clear(s->live, drop);
    AUTO(db_stmt_donep)
    struct db_stmt *rows =
        db_stmt_get(db, "SELECT version, json FROM entity_defs ORDER BY name", e);
    if (rows == NULL)
        return e->code;
    int rc;
    while ((rc = db_step(rows, e)) > 0) {
        if ((rc = load_row(s, db, rows, e)) < 0)
            return rc;
    }
    s->is_stale = rc < 0;
    return rc;
}

const struct entity_def *entities_live(struct entities *s, const struct apply *a, const char *name,
                                       size_t n, struct err *e)
{
    if (s->is_stale && entities_load(s, a->db, e) < 0)
        return NULL;
    const struct entity_def *d = map_get(s->live, name, n);
    if (d == NULL)
        err_set(e, ERR_NOT_FOUND, "there is no entity '%.*s'", (int)n, name);
    return d;
}

int entities_check_free(struct entities *s, const struct entity_def *d, struct err *e)
{
    for (struct map_iter it = {0}; map_next(s->live, &it);) {
        const struct entity_def *other = it.value;
        if (strcmp(other->name, d->name) == 0)
            continue;
        /* Tables of SQLite do not tell case apart. */
        if (strcasecmp(other->name, d->name) == 0)
            return err_set(e, ERR_CONFLICT, "entity '%s': '%s' differs only in case", d->name,
                           other->name);
        if (strcmp(other->path, d->path) == 0)
            return err_field(e, ERR_CONFLICT, "path",
                             "entity '%s': '%s' is at /api/%s already; give one another \"path\"",
                             d->name, other->name, d->path);
    }
    return 0;
}

void entities_set_live(struct entities *s, struct entity_def *d)
{
    forget_all(s);
    entity_def_unref(map_puts(s->live, d->name, d));
    s->is_ahead = true;
}

void entities_drop_live(struct entities *s, const char *name)
{
    forget_all(s);
    entity_def_unref(map_removes(s->live, name));
    s->is_ahead = true;
}

static int by_name(const void *a, const void *b)
{
    const struct entity_def *const *x = a, *const *y = b;
    return strcmp((*x)->name, (*y)->name);
}

const struct entity_def *const *entities_all(struct entities *s, const struct apply *a,
                                             size_t *count, struct err *e)
{
    if (s->is_stale && entities_load(s, a->db, e) < 0)
        return NULL;
    if (s->all == NULL) {
        s->all = mem_new_array(map_count(s->live) + 1, sizeof(*s->all));
        s->all_count = 0;
        for (struct map_iter it = {0}; map_next(s->live, &it);)
            s->all[s->all_count++] = it.value;
        qsort(s->all, s->all_count, sizeof(*s->all), by_name);
    }
    *count = s->all_count;
    return s->all;
}

int64_t entities_due(const struct entities *s)
{
    return s->due;
}

void entities_due_at(struct entities *s, int64_t at)
{
    if (at < s->due)
        s->due = at;
}

void entities_set_due(struct entities *s, int64_t at)
{
    s->due = at;
    s->due_is_late = true;
}

void entities_work(struct entities *s, enum entities_work w)
{
    s->work = w > s->work ? w : s->work;
}

enum entities_work entities_take_work(struct entities *s)
{
    enum entities_work w = s->work;
    s->work = ENTITIES_WORK_NONE;
    return w;
}

size_t entities_live_count(const struct entities *s)
{
    return map_count(s->live);
}

static void publish(struct entities *s)
{
    struct map *fresh = map_new();
    for (struct map_iter it = {0}; map_next(s->live, &it);)
        map_put(fresh, it.key, it.key_len, entity_def_ref(it.value));
    pthread_mutex_lock(&s->lock);
    struct map *old = s->published;
    s->published = fresh;
    pthread_mutex_unlock(&s->lock);
    map_free(old, drop);
    s->is_ahead = false;
}

static int opened(void *self, struct db *db, struct err *e)
{
    struct entities *s = self;
    s->db = db;
    int rc = entities_load(s, db, e);
    if (rc < 0)
        return rc;
    publish(s);
    if ((rc = build_is_due(db, e)) < 0)
        return rc;
    s->work = rc > 0 ? ENTITIES_WORK_NOW : ENTITIES_WORK_RETRY;
    size_t count;
    const struct entity_def *const *all = entities_all(s, &(struct apply){.db = db}, &count, e);
    return all != NULL ? sweep_next(all, count, db, &s->due, e) : e->code;
}

static void unit(void *self, const struct apply *a)
{
    (void)a;
    changes_unit(&((struct entities *)self)->changes);
    notes_unit(&((struct entities *)self)->notes);
}

static int close_entry(void *self, const struct apply *a, struct err *e)
{
    return changes_close(&((struct entities *)self)->changes, a, e);
}

struct changes *entities_changes(struct entities *s)
{
    return &s->changes;
}

struct notes *entities_notes(struct entities *s)
{
    return &s->notes;
}

void entities_set_leases(struct entities *s, const struct entity_leases *l)
{
    s->leases = l;
}

const struct entity_leases *entities_leases(const struct entities *s)
{
    return s->leases;
}

void entities_set_trace(struct entities *s, struct trace *t)
{
    s->notes.trace = t;
}

static void undo(void *self, bool entry_too)
{
    struct entities *s = self;
    changes_undo(&s->changes, entry_too);
    notes_undo(&s->notes, entry_too);
    if (s->is_ahead)
        s->is_stale = true;
    if (s->due_is_late)
        s->due = 0; /* what it was is not known any more: look */
}

static void committed(void *self, uint64_t seq, int64_t at)
{
    (void)seq;
    (void)at;
    struct entities *s = self;
    struct err e = ERR_INIT;
    s->due_is_late = false;
    changes_committed(&s->changes);
    notes_committed(&s->notes);
    if (!s->is_ahead || (s->is_stale && entities_load(s, s->db, &e) < 0))
        return;
    publish(s);
}

/* ---- every thread ---- */

void entities_watch(struct entities *s, struct entity_watch *w)
{
    changes_watch(&s->changes, w);
}

void entities_unwatch(struct entities *s, struct entity_watch *w)
{
    changes_unwatch(&s->changes, w);
}

struct entity_def *entities_find(struct entities *s, const char *name)
{
    pthread_mutex_lock(&s->lock);
    struct entity_def *d = map_gets(s->published, name);
    if (d != NULL)
        entity_def_ref(d);
    pthread_mutex_unlock(&s->lock);
    return d;
}

struct entity_def *entities_find_path(struct entities *s, const char *path)
{
    struct entity_def *found = NULL;
    pthread_mutex_lock(&s->lock);
    for (struct map_iter it = {0}; found == NULL && map_next(s->published, &it);) {
        if (strcmp(((struct entity_def *)it.value)->path, path) == 0)
            found = entity_def_ref(it.value);
    }
    pthread_mutex_unlock(&s->lock);
    return found;
}

struct entity_def **entities_list(struct entities *s, size_t *count)
{
    pthread_mutex_lock(&s->lock);
    size_t n = 0;
    struct entity_def **list = mem_new_array(map_count(s->published) + 1, sizeof(*list));
    for (struct map_iter it = {0}; map_next(s->published, &it);)
        list[n++] = entity_def_ref(it.value);
    pthread_mutex_unlock(&s->lock);
    qsort(list, n, sizeof(struct entity_def *), by_name);
    *count = n;
    return list;
}

void entities_builds(struct entities *s, int *building, int *violated)
{
    *building = *violated = 0;
    pthread_mutex_lock(&s->lock);
    for (struct map_iter it = {0}; map_next(s->published, &it);) {
        const struct entity_def *d = it.value;
        *building += d->copy != NULL;
        *violated += d->copy != NULL && d->copy->violated;
    }
    pthread_mutex_unlock(&s->lock);
}

int entities_unknown(struct entities *s, const char *name, struct err *e)
{
    size_t n;
    struct entity_def **list = entities_list(s, &n);
    const char **names = mem_new_array(2 * n + 1, sizeof(char *));
    for (size_t i = 0; i < n; i++) {
        names[2 * i] = list[i]->name;
        names[2 * i + 1] = list[i]->path;
    }
    const char *near = str_nearest(name, names, 2 * n);
    err_set(e, ERR_NOT_FOUND, "there is no entity '%.64s'%s%s%s", name,
            near != NULL ? "; did you mean '" : "", near != NULL ? near : "",
            near != NULL ? "'?" : "");
    for (size_t i = 0; i < n; i++)
        entity_def_unref(list[i]);
    mem_free(list);
    mem_free(names);
    return ERR_NOT_FOUND;
}

/* ---- life ---- */

struct entities *entities_new(void)
{
    struct entities *s = mem_new(sizeof(*s));
    s->live = map_new();
    s->published = map_new();
    pthread_mutex_init(&s->lock, NULL);
    changes_init(&s->changes);
    notes_init(&s->notes);
    s->domain = (struct domain){.name = "entity",
                                .self = s,
                                .ops = entity_ops,
                                .ops_count = entity_ops_count,
                                .opened = opened,
                                .unit = unit,
                                .close = close_entry,
                                .undo = undo,
                                .committed = committed};
    return s;
}

void entities_free(struct entities *s)
{
    if (s == NULL)
        return;
    mem_free(s->all);
    map_free(s->live, drop);
    map_free(s->published, drop);
    pthread_mutex_destroy(&s->lock);
    changes_fini(&s->changes);
    notes_fini(&s->notes);
    mem_free(s);
}

const struct domain *entities_domain(struct entities *s)
{
    return &s->domain;
}
