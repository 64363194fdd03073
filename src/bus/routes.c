/* Routes: who listens, as a snapshot that publishers read while the ledger goes on. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/topic.h"
#include "bus/bus_priv.h"
#include "db/db.h"

/* ---- life ---- */

static void declared_drop(struct bus_declared *d)
{
    mem_free((char *)(uintptr_t)d->group);
    mem_free((char *)(uintptr_t)d->pattern);
    mem_free((char *)(uintptr_t)d->queue);
    mem_free((char *)(uintptr_t)d->source);
    mem_free((char *)(uintptr_t)d->file);
    mem_free((char *)(uintptr_t)d->text);
    json_decref(d->held);
}

static void tenant_drop(struct bus_tenant *t)
{
    for (size_t i = 0; i < t->groups_count; i++)
        declared_drop(&t->groups[i]);
    for (size_t i = 0; i < t->topics_count; i++) {
        mem_free((char *)(uintptr_t)t->topics[i].pattern);
        mem_free((char *)(uintptr_t)t->topics[i].file);
        mem_free((char *)(uintptr_t)t->topic_sources[i]);
    }
    topic_set_free(t->by_group);
    topic_set_free(t->by_topic);
    mem_free(t->groups);
    mem_free(t->topics);
    mem_free(t->topic_sources);
    mem_free(t->name);
}

void bus_routes_unref(struct bus_routes *r)
{
    if (r == NULL || atomic_fetch_sub(&r->refs, 1) > 1)
        return;
    for (size_t i = 0; i < r->tenants_count; i++)
        tenant_drop(&r->tenants[i]);
    mem_free(r->tenants);
    pthread_mutex_destroy(&r->lock);
    mem_free(r);
}

/* ---- from the rows ---- */

/* Rows come in order of tenants, of each table by itself. */
static int tenant_of_row(struct bus_routes *r, const char *name, struct bus_tenant **out,
                         struct err *e)
{
    for (size_t i = r->tenants_count; i-- > 0;)
        if (strcmp(r->tenants[i].name, name) == 0) {
            *out = &r->tenants[i];
            return 0;
        }
    struct bus_tenant *list = bus_room(r->tenants, r->tenants_count, sizeof *list, e);
    if (list == NULL)
        return e->code;
    r->tenants = list;
    *out = &r->tenants[r->tenants_count++];
    **out = (struct bus_tenant){
        .name = mem_strdup(name), .by_group = topic_set_new(), .by_topic = topic_set_new()};
    return 0;
}

static int set_add(struct topic_set *s, const char *pattern, size_t id, struct err *e)
{
    int rc = topic_set_add(s, pattern, strlen(pattern), (uint32_t)id, e);
    return rc < 0 ? err_context(e, "pattern '%s'", pattern) : 0;
}

/* Columns: tenant, grp, pattern, source, options, file, line, state. */
static int load_group(struct bus_routes *r, struct db_stmt *s, struct err *e)
{
    struct bus_tenant *t = NULL;
    int rc = tenant_of_row(r, db_col_text(s, 0, NULL), &t, e);
    struct bus_declared *list =
        rc != 0 ? NULL : bus_room(t->groups, t->groups_count, sizeof *list, e);
    if (list == NULL)
        return e->code;
    t->groups = list;
    const char *name = db_col_text(s, 1, NULL);
    struct bus_declared *d = &t->groups[t->groups_count];
    *d = (struct bus_declared){.group = mem_strdup(name),
                               .pattern = mem_strdup(db_col_text(s, 2, NULL)),
                               .queue = mem_printf(BUS_QUEUE_PREFIX "%s", name),
                               .source = mem_strdup(db_col_text(s, 3, NULL)),
                               .text = mem_strdup(db_col_text(s, 4, NULL)),
                               .file = mem_strdup(db_col_text(s, 5, NULL)),
                               .line = (int)db_col_int(s, 6),
                               .feeding = db_col_int(s, 7) == BUS_PLACE_FEEDING};
    t->groups_count++;
    r->feeding |= d->feeding;
    d->held = json_read(d->text, strlen(d->text), e);
    if (d->held == NULL)
        return err_context(e, "group '%s'", d->group);
    rc = bus_options_read(d->held, &d->options, e);
    return rc == 0 ? set_add(t->by_group, d->pattern, t->groups_count - 1, e) : rc;
}

/* Columns: tenant, pattern, source, retain, unrouted, file, line. */
static int load_topic(struct bus_routes *r, struct db_stmt *s, struct err *e)
{
    struct bus_tenant *t = NULL;
    int rc = tenant_of_row(r, db_col_text(s, 0, NULL), &t, e);
    struct bus_topic *list = rc != 0 ? NULL : bus_room(t->topics, t->topics_count, sizeof *list, e);
    if (list == NULL)
        return e->code;
    t->topics = list;
    const char **sources = bus_room(t->topic_sources, t->topics_count, sizeof *sources, e);
    if (sources == NULL)
        return e->code;
    t->topic_sources = sources;
    struct bus_topic *d = &t->topics[t->topics_count];
    *d = (struct bus_topic){.pattern = mem_strdup(db_col_text(s, 1, NULL)),
                            .retain_ms = db_col_int(s, 3),
                            .unrouted = db_col_int(s, 4) != 0 ? UNROUTED_DROP : UNROUTED_KEEP,
                            .file = mem_strdup(db_col_text(s, 5, NULL)),
                            .line = (int)db_col_int(s, 6)};
    t->topic_sources[t->topics_count++] = mem_strdup(db_col_text(s, 2, NULL));
    return set_add(t->by_topic, d->pattern, t->topics_count - 1, e);
}

static int load_all(struct bus_routes *r, struct db *db, const char *sql,
                    int (*load)(struct bus_routes *, struct db_stmt *, struct err *), struct err *e)
{
    AUTO(db_stmt_donep) struct db_stmt *s = db_stmt_get(db, sql, e);
    int rc = s == NULL ? e->code : 0;
    while (rc == 0 && (rc = db_step(s, e)) > 0)
        rc = load(r, s, e);
    return rc;
}

int bus_routes_load(struct db *db, uint64_t revision, struct bus_routes **out, struct err *e)
{
    struct bus_routes *r = mem_new(sizeof *r);
    atomic_init(&r->refs, 1);
    r->revision = revision;
    pthread_mutex_init(&r->lock, NULL);
    int rc = load_all(r, db,
                      "SELECT g.tenant, g.grp, g.pattern, g.source, g.options, g.file, g.line, "
                      "p.state FROM bus_groups AS g LEFT JOIN bus_places AS p ON p.tenant = "
                      "g.tenant AND p.grp = g.grp ORDER BY g.tenant, g.grp, g.pattern",
                      load_group, e);
    if (rc == 0)
        rc = load_all(r, db,
                      "SELECT tenant, pattern, source, retain, unrouted, file, line FROM "
                      "bus_topics ORDER BY tenant, pattern",
                      load_topic, e);
    if (rc == 0)
        *out = r;
    else
        bus_routes_unref(r);
    return rc;
}

const struct bus_tenant *bus_routes_tenant(const struct bus_routes *r, const char *tenant)
{
    for (size_t i = 0; i < r->tenants_count; i++)
        if (strcmp(r->tenants[i].name, tenant) == 0)
            return &r->tenants[i];
    return NULL;
}

/* ---- one topic ---- */

/* Numbers ascend, and groups with them, so the last of a group's is the one that groups_pick()
 * gives. */
static int route_groups(struct bus_route *r, const struct bus_tenant *t, bool retained,
                        struct err *e)
{
    size_t count, n = 0;
    const uint32_t *ids = topic_set_match(t->by_group, r->name, strlen(r->name), &count);
    r->groups = mem_try((count + 1) * sizeof *r->groups);
    if (r->groups == NULL)
        return err_set(e, ERR_NOMEM, "a route to %zu groups", count);
    for (size_t i = 0; i < count; i++) {
        const struct bus_declared *d = &t->groups[ids[i]];
        if (i + 1 < count && strcmp(t->groups[ids[i + 1]].group, d->group) == 0)
            continue;
        if (retained && d->feeding)
            r->fed++;
        else
            r->groups[n++] = d;
    }
    r->groups_count = n;
    if (n <= BUS_ROUTE_GROUPS_MAX)
        return 0;
    return err_field(e, ERR_TOO_LARGE, "topic",
                     "%zu groups listen to '%s'; a message goes to at most %d", n, r->name,
                     BUS_ROUTE_GROUPS_MAX);
}

static int route_fill(struct bus_route *r, const struct bus_tenant *t, struct err *e)
{
    size_t count;
    const uint32_t *ids = topic_set_match(t->by_topic, r->name, strlen(r->name), &count);
    r->topic = count > 0 ? &t->topics[ids[count - 1]] : NULL;
    return route_groups(r, t, r->topic != NULL && r->topic->retain_ms > 0, e);
}

int bus_route(struct bus *b, const char *tenant, const char *topic, struct bus_route **out,
              struct err *e)
{
    size_t n = strlen(topic);
    struct err why = ERR_INIT;
    int rc = topic_check(topic, n, &why);
    if (rc != 0)
        return err_field(e, rc, "topic", "%s", why.text);
    struct bus_route *r = mem_new(sizeof *r + n + 1);
    memcpy(r->name, topic, n + 1);
    r->routes = bus_routes_now(b);
    const struct bus_tenant *t = bus_routes_tenant(r->routes, tenant);
    pthread_mutex_lock(&r->routes->lock);
    rc = t != NULL ? route_fill(r, t, e) : 0;
    pthread_mutex_unlock(&r->routes->lock);
    if (rc == 0)
        rc = bus_patterns_match(&b->waited, tenant, r, e);
    if (rc == 0)
        *out = r;
    else
        bus_route_free(r);
    return rc;
}

void bus_route_free(struct bus_route *r)
{
    if (r == NULL)
        return;
    bus_routes_unref(r->routes);
    for (size_t i = 0; i < r->waited_count; i++)
        mem_free(r->waited[i]);
    mem_free(r->waited);
    mem_free(r->groups);
    mem_free(r);
}

void bus_route_freep(struct bus_route **r)
{
    bus_route_free(*r);
}

uint64_t bus_route_revision(const struct bus_route *r)
{
    return r->routes->revision;
}

size_t bus_route_count(const struct bus_route *r)
{
    return r->groups_count;
}

const char *bus_route_group(const struct bus_route *r, size_t i)
{
    ASSERT(i < r->groups_count);
    return r->groups[i]->group;
}

int bus_mandatory(const struct bus_route *r, struct err *e)
{
    if (r->groups_count + r->fed > 0)
        return 0;
    return err_field(e, ERR_NOT_FOUND, "topic", "nobody listens to topic '%s'", r->name);
}
