/* What is declared, as the snapshot has it. */
#include <string.h>

#include "base/mem.h"
#include "bus/bus_priv.h"
#include "db/db.h"

static bool is_same(const struct buf *a, const struct buf *b)
{
    return !buf_failed(a) && !buf_failed(b) && a->len == b->len &&
           memcmp(buf_str(a), buf_str(b), a->len) == 0;
}

bool bus_groups_are(struct bus *b, const char *tenant, const char *source, const struct groups *g)
{
    AUTO(buf_fini) struct buf want = BUF_INIT(GROUPS_BYTES_MAX);
    AUTO(buf_fini) struct buf have = BUF_INIT(GROUPS_BYTES_MAX);
    struct bus_routes *r = bus_routes_now(b);
    const struct bus_tenant *t = bus_routes_tenant(r, tenant);
    bus_print_groups(&want, g, true);
    buf_addc(&have, '[');
    for (size_t i = 0; t != NULL && i < t->groups_count; i++) {
        const struct bus_declared *d = &t->groups[i];
        struct group as = {.name = d->group,
                           .pattern = d->pattern,
                           .file = d->file,
                           .line = d->line,
                           .options = d->text};
        if (strcmp(d->source, source) == 0)
            bus_print_group(&have, &as, true);
    }
    buf_addc(&have, ']');
    bus_routes_unref(r);
    return is_same(&want, &have);
}

static bool is_declared(const struct groups *g, const char *name)
{
    for (size_t i = 0; g != NULL && i < groups_count(g); i++)
        if (strcmp(groups_at(g, i)->name, name) == 0)
            return true;
    return false;
}

void bus_groups_gone(struct bus *b, const char *tenant, const char *source, const struct groups *g,
                     bus_gone_cb *each, void *arg)
{
    struct bus_routes *r = bus_routes_now(b);
    const struct bus_tenant *t = bus_routes_tenant(r, tenant);
    for (size_t i = 0; t != NULL && i < t->groups_count; i++) {
        const struct bus_declared *d = &t->groups[i];
        if (strcmp(d->source, source) == 0 && !is_declared(g, d->group))
            each(arg, d->queue);
    }
    bus_routes_unref(r);
}

bool bus_topics_are(struct bus *b, const char *tenant, const char *source,
                    const struct bus_topic *list, size_t count)
{
    AUTO(buf_fini) struct buf want = BUF_INIT(GROUPS_BYTES_MAX);
    AUTO(buf_fini) struct buf have = BUF_INIT(GROUPS_BYTES_MAX);
    struct bus_routes *r = bus_routes_now(b);
    const struct bus_tenant *t = bus_routes_tenant(r, tenant);
    bus_print_topics(&want, list, count, true);
    buf_addc(&have, '[');
    for (size_t i = 0; t != NULL && i < t->topics_count; i++)
        if (strcmp(t->topic_sources[i], source) == 0)
            bus_print_topic(&have, &t->topics[i], true);
    buf_addc(&have, ']');
    bus_routes_unref(r);
    return is_same(&want, &have);
}

int bus_lag(struct db *db, struct bus_lag *out, struct err *e)
{
    uint64_t last = 0;
    *out = (struct bus_lag){.groups = 0};
    AUTO(db_stmt_donep)
    struct db_stmt *s =
        db_stmt_get(db, "SELECT count(*), min(next), grp FROM bus_places WHERE state = 1", e);
    int rc = s == NULL ? e->code : db_step(s, e);
    if (rc <= 0 || db_col_int(s, 0) == 0)
        return rc < 0 ? rc : 0;
    out->groups = (uint32_t)db_col_int(s, 0);
    out->next = (uint64_t)db_col_int(s, 1);
    snprintf(out->group, sizeof out->group, "%s", db_col_text(s, 2, NULL));
    rc = bus_number(db, BUS_POSITION, &last, e);
    out->messages = rc == 0 && last >= out->next ? last + 1 - out->next : 0;
    return rc;
}

static json_t *show_group(const struct bus_declared *d)
{
    json_t *o = json_object();
    json_object_set_new(o, "group", json_string(d->group));
    json_object_set_new(o, "pattern", json_string(d->pattern));
    json_object_set_new(o, "queue", json_string(d->queue));
    json_object_set_new(o, "options", json_deep_copy(d->held));
    json_object_set_new(o, "file", json_string(d->file));
    json_object_set_new(o, "line", json_integer(d->line));
    json_object_set_new(o, "behind", json_boolean(d->feeding));
    return o;
}

static json_t *show_topic(const struct bus_topic *t)
{
    json_t *o = json_object();
    json_object_set_new(o, "pattern", json_string(t->pattern));
    json_object_set_new(o, "retain_ms", json_integer(t->retain_ms));
    json_object_set_new(o, "unrouted", json_string(t->unrouted == UNROUTED_DROP ? "drop" : "keep"));
    json_object_set_new(o, "file", json_string(t->file));
    json_object_set_new(o, "line", json_integer(t->line));
    return o;
}

json_t *bus_show(struct bus *b, const char *tenant)
{
    struct bus_routes *r = bus_routes_now(b);
    const struct bus_tenant *t = bus_routes_tenant(r, tenant);
    json_t *o = json_object(), *groups = json_array(), *topics = json_array();
    for (size_t i = 0; t != NULL && i < t->groups_count; i++)
        json_array_append_new(groups, show_group(&t->groups[i]));
    for (size_t i = 0; t != NULL && i < t->topics_count; i++)
        json_array_append_new(topics, show_topic(&t->topics[i]));
    json_object_set_new(o, "revision", json_integer((json_int_t)r->revision));
    json_object_set_new(o, "groups", groups);
    json_object_set_new(o, "topics", topics);
    bus_routes_unref(r);
    return o;
}
