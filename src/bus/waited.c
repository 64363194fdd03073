/* The patterns that somebody waits for, as publishers see them. New ones come with every entry, so
 * unlike the routes it is not made anew but grows; those that nobody waits for any more stay until
 * there are many, which costs a publisher a look in vain. */
#include <string.h>

#include "base/mem.h"
#include "base/topic.h"
#include "bus/bus_priv.h"
#include "db/db.h"

enum { STALE_MAX = 1000 }; /* patterns that are waited for no more, before all is made anew */

struct waited_tenant {
    char *name;
    char **patterns; /* their numbers in the set */
    size_t count;
    struct topic_set *set;
};

static void tenants_free(struct waited_tenant *list, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        for (size_t k = 0; k < list[i].count; k++)
            mem_free(list[i].patterns[k]);
        mem_free(list[i].patterns);
        mem_free(list[i].name);
        topic_set_free(list[i].set);
    }
    mem_free(list);
}

void bus_patterns_init(struct bus_patterns *w)
{
    pthread_mutex_init(&w->lock, NULL);
}

void bus_patterns_fini(struct bus_patterns *w)
{
    tenants_free(w->tenants, w->count);
    mem_free(w->fresh);
    pthread_mutex_destroy(&w->lock);
}

static struct waited_tenant *tenant_find(const struct bus_patterns *w, const char *name)
{
    for (size_t i = 0; i < w->count; i++)
        if (strcmp(w->tenants[i].name, name) == 0)
            return &w->tenants[i];
    return NULL;
}

static int waited_add(struct bus_patterns *w, const char *tenant, const char *pattern,
                      struct err *e)
{
    struct waited_tenant *t = tenant_find(w, tenant);
    if (t == NULL) {
        struct waited_tenant *list = bus_room(w->tenants, w->count, sizeof *list, e);
        if (list == NULL)
            return e->code;
        w->tenants = list;
        t = &list[w->count++];
        *t = (struct waited_tenant){.name = mem_strdup(tenant), .set = topic_set_new()};
    }
    char **list = bus_room(t->patterns, t->count, sizeof *list, e);
    if (list == NULL)
        return e->code;
    t->patterns = list;
    int rc = topic_set_add(t->set, pattern, strlen(pattern), (uint32_t)t->count, e);
    if (rc == 0)
        t->patterns[t->count++] = mem_strdup(pattern);
    return rc;
}

int bus_patterns_load(struct bus_patterns *w, struct db *db, struct err *e)
{
    struct bus_patterns fresh = {.count = 0};
    AUTO(db_stmt_donep)
    struct db_stmt *s =
        db_stmt_get(db, "SELECT tenant, pattern FROM bus_patterns ORDER BY since", e);
    int rc = s == NULL ? e->code : 0;
    while (rc == 0 && (rc = db_step(s, e)) > 0)
        rc = waited_add(&fresh, db_col_text(s, 0, NULL), db_col_text(s, 1, NULL), e);
    if (rc == 0)
        rc = bus_number(db, BUS_WAITED, &w->number, e);
    if (rc != 0) {
        tenants_free(fresh.tenants, fresh.count);
        return rc;
    }
    pthread_mutex_lock(&w->lock);
    tenants_free(w->tenants, w->count);
    w->tenants = fresh.tenants;
    w->count = fresh.count;
    w->shown = w->number;
    pthread_mutex_unlock(&w->lock);
    w->committed = w->unit = w->number;
    w->fresh_count = w->fresh_unit = w->stale = 0;
    return 0;
}

/* ---- an entry ---- */

int bus_patterns_next(struct bus_patterns *w, const struct apply *a, const char *pattern,
                      uint64_t *since, struct err *e)
{
    struct bus_fresh *list = bus_room(w->fresh, w->fresh_count, sizeof *list, e);
    if (list == NULL)
        return e->code;
    w->fresh = list;
    int rc = bus_number_next(a->db, BUS_WAITED, since, e);
    if (rc != 0)
        return rc;
    struct bus_fresh *f = &w->fresh[w->fresh_count++];
    snprintf(f->tenant, sizeof f->tenant, "%s", a->env->tenant);
    snprintf(f->pattern, sizeof f->pattern, "%s", pattern);
    w->number = *since;
    return 0;
}

void bus_patterns_unit(struct bus_patterns *w)
{
    w->unit = w->number;
    w->fresh_unit = w->fresh_count;
}

void bus_patterns_undo(struct bus_patterns *w, bool entry_too)
{
    w->number = entry_too ? w->committed : w->unit;
    w->fresh_count = entry_too ? 0 : w->fresh_unit;
}

int bus_patterns_commit(struct bus_patterns *w, struct db *db, struct err *e)
{
    int rc = 0;
    w->committed = w->unit = w->number;
    if (w->stale > STALE_MAX || w->behind) {
        rc = bus_patterns_load(w, db, e);
        w->behind = rc != 0;
        return rc;
    }
    if (w->fresh_count == 0)
        return 0;
    pthread_mutex_lock(&w->lock);
    for (size_t i = 0; rc == 0 && i < w->fresh_count; i++)
        rc = waited_add(w, w->fresh[i].tenant, w->fresh[i].pattern, e);
    if (rc == 0)
        w->shown = w->number;
    pthread_mutex_unlock(&w->lock);
    w->fresh_count = w->fresh_unit = 0;
    w->behind = rc != 0;
    return rc;
}

/* ---- who publishes ---- */

uint64_t bus_patterns_number(struct bus_patterns *w)
{
    pthread_mutex_lock(&w->lock);
    uint64_t number = w->shown;
    pthread_mutex_unlock(&w->lock);
    return number;
}

static int route_copy(struct bus_route *r, const struct waited_tenant *t, struct err *e)
{
    size_t count;
    const uint32_t *ids = topic_set_match(t->set, r->name, strlen(r->name), &count);
    if (count == 0)
        return 0;
    if (count > UINT16_MAX)
        return err_set(e, ERR_TOO_LARGE, "%zu patterns that are waited for match '%s'", count,
                       r->name);
    r->waited = mem_try(count * sizeof *r->waited);
    if (r->waited == NULL)
        return err_set(e, ERR_NOMEM, "a route to %zu waits", count);
    for (size_t i = 0; i < count; i++)
        r->waited[i] = mem_strdup(t->patterns[ids[i]]);
    r->waited_count = count;
    return 0;
}

int bus_patterns_match(struct bus_patterns *w, const char *tenant, struct bus_route *r,
                       struct err *e)
{
    pthread_mutex_lock(&w->lock);
    const struct waited_tenant *t = tenant_find(w, tenant);
    int rc = t != NULL ? route_copy(r, t, e) : 0;
    r->waited_number = w->shown;
    pthread_mutex_unlock(&w->lock);
    return rc;
}

/* ---- the condition ---- */

void bus_txn_waited(struct txn *t, const struct bus_route *r)
{
    struct buf *b = txn_begin(t, BUS_IF_WAITED, 1);
    buf_add_u64(b, r->waited_number);
    buf_add_text(b, r->name);
    txn_end(t);
}

/* Only patterns that are newer than the route can be missing in it. */
static int fresh_match(const struct apply *a, uint64_t number, const char *topic, struct err *e)
{
    AUTO(db_stmt_donep)
    struct db_stmt *s = db_stmt_get(a->db,
                                    "SELECT tenant, pattern FROM bus_patterns WHERE since > ?1 "
                                    "ORDER BY since LIMIT ?2",
                                    e);
    if (s == NULL)
        return e->code;
    db_bind_int(s, 1, (int64_t)number);
    db_bind_int(s, 2, BUS_FRESH_MAX);
    int rc = 0, looked = 0;
    while ((rc = db_step(s, e)) > 0) {
        const char *pattern = db_col_text(s, 1, NULL);
        bool matches = strcmp(db_col_text(s, 0, NULL), a->env->tenant) == 0 &&
                       topic_matches(pattern, strlen(pattern), topic, strlen(topic));
        if (matches || ++looked == BUS_FRESH_MAX)
            return err_set(e, ERR_CONFLICT, "somebody waits for the topic since; try again");
    }
    return rc;
}

BUS_APPLY(waited)
{
    const struct bus *b = self;
    char topic[TOPIC_MAX + 1];
    (void)version, (void)result;
    uint64_t number = cursor_u64(c) & INT64_MAX;
    cursor_text(c, topic, 1, TOPIC_MAX);
    int rc = cursor_whole(c, "bus.waited", e);
    if (rc == 0)
        rc = topic_check(topic, strlen(topic), e);
    return rc != 0 || number == b->waited.number ? rc : fresh_match(a, number, topic, e);
}
