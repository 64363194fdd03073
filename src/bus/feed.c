/* The feed: retained messages of groups that are behind, a part of one group's in each unit. */
#include <string.h>

#include "base/mem.h"
#include "base/topic.h"
#include "bus/bus_priv.h"
#include "db/db.h"
#include "io/world.h"
#include "ledger/txn.h"
#include "queue/queue.h"

struct feed {
    struct bus *b;
    const struct bus_tenant *tenant;
    const struct bus_declared *declared; /* of the group */
    size_t declared_count;
    uint64_t next;
    size_t looked, rows, bytes;
};

/* The group that is furthest behind; one that was refused comes after the others. */
static int feed_pick(struct bus *b, struct feed *f, struct err *e)
{
    struct bus_doing *d = &b->doing;
    AUTO(db_stmt_donep)
    struct db_stmt *s = db_stmt_get(b->db,
                                    "SELECT tenant, grp, next FROM bus_places WHERE state = 1 "
                                    "ORDER BY tenant = ?1 AND grp = ?2, next, tenant, grp LIMIT 1",
                                    e);
    if (s == NULL)
        return e->code;
    db_bind_str(s, 1, b->stuck_tenant);
    db_bind_str(s, 2, b->stuck_group);
    int rc = db_step(s, e);
    if (rc <= 0)
        return rc;
    snprintf(d->tenant, sizeof d->tenant, "%s", db_col_text(s, 0, NULL));
    snprintf(d->group, sizeof d->group, "%s", db_col_text(s, 1, NULL));
    f->next = (uint64_t)db_col_int(s, 2);
    return 1;
}

/* Its declarations lie side by side. */
static void feed_gather(struct feed *f)
{
    const struct bus_tenant *t = f->tenant;
    const char *group = f->b->doing.group;
    size_t from = 0;
    while (from < t->groups_count && strcmp(t->groups[from].group, group) != 0)
        from++;
    f->declared = &t->groups[from];
    while (from + f->declared_count < t->groups_count &&
           strcmp(f->declared[f->declared_count].group, group) == 0)
        f->declared_count++;
}

/* The declaration by which the group gets it, as groups_pick() has it: the last that matches. */
static const struct bus_declared *feed_match(const struct feed *f, const char *topic)
{
    size_t n = strlen(topic);
    for (size_t i = f->declared_count; i-- > 0;) {
        const struct bus_declared *d = &f->declared[i];
        if (topic_matches(d->pattern, strlen(d->pattern), topic, n))
            return d;
    }
    return NULL;
}

static void feed_id(struct bus *b, struct uuid *out)
{
    uint8_t random[8];
    b->world->random(b->world, random, sizeof random);
    uuid_v7(&b->gen, (uint64_t)b->world->wall_ms(b->world), random, out);
}

/* Columns: position, tenant, topic, bytes, id, key, type, headers, correlation, traceparent, body.
 */
static int feed_row(struct feed *f, struct db_stmt *s, struct txn *t, struct err *e)
{
    const char *topic = db_col_text(s, 2, NULL);
    const struct bus_declared *d =
        strcmp(db_col_text(s, 1, NULL), f->tenant->name) == 0 ? feed_match(f, topic) : NULL;
    struct bus_message m = {.key = db_col_text(s, 5, NULL),
                            .type = db_col_text(s, 6, NULL),
                            .headers = db_col_text(s, 7, NULL),
                            .correlation = db_col_text(s, 8, NULL),
                            .traceparent = db_col_text(s, 9, NULL)};
    struct uuid record;
    size_t n;
    if (d == NULL)
        return 0;
    const void *id = db_col_blob(s, 4, &n);
    if (id == NULL || n != sizeof m.id.b)
        return err_set(e, ERR_CORRUPT, "retained message %lld has no id",
                       (long long)db_col_int(s, 0));
    memcpy(m.id.b, id, n);
    m.body = db_col_blob(s, 10, &m.body_len);
    AUTO(buf_fini) struct buf headers = BUF_INIT(QUEUE_HEADERS_BYTES + 1);
    int rc = bus_headers(topic, &m, &headers, e);
    feed_id(f->b, &record);
    f->rows++;
    f->bytes += (size_t)db_col_int(s, 3);
    return rc == 0 ? bus_txn_record(t, d, &record, &m, true, headers.data, e) : rc;
}

/* 1: there may be more behind f->next. */
static int feed_rows(struct feed *f, struct txn *t, struct err *e)
{
    AUTO(db_stmt_donep)
    struct db_stmt *s = db_stmt_get(f->b->db,
                                    "SELECT position, tenant, topic, bytes, id, key, type, "
                                    "headers, correlation, traceparent, body FROM bus_retained "
                                    "WHERE position >= ?1 ORDER BY position",
                                    e);
    if (s == NULL)
        return e->code;
    db_bind_int(s, 1, (int64_t)f->next);
    int rc = 0;
    while (f->looked < BUS_FEED_LOOKED && f->rows < BUS_FEED_ROWS && f->bytes < BUS_FEED_BYTES) {
        rc = db_step(s, e);
        if (rc <= 0)
            return rc;
        f->next = (uint64_t)db_col_int(s, 0) + 1;
        f->looked++;
        rc = feed_row(f, s, t, e);
        if (rc < 0)
            return rc;
    }
    return 1;
}

/* Refused where the place or the routes have changed: again. Else the queue does not take it: after
 * a while, and the others before it. */
bool bus_fed(struct bus *b, const struct unit *u)
{
    bool again = u->err.code == 0 || b->routes->revision != b->doing.revision;
    b->stuck_tenant[0] = b->stuck_group[0] = '\0';
    if (again)
        return true;
    snprintf(b->stuck_tenant, sizeof b->stuck_tenant, "%s", b->doing.tenant);
    snprintf(b->stuck_group, sizeof b->stuck_group, "%s", b->doing.group);
    return false;
}

int bus_feed(struct bus *b, struct txn *t, struct err *e)
{
    struct feed f = {.b = b};
    uint64_t last = 0;
    int rc = feed_pick(b, &f, e);
    if (rc <= 0)
        return rc;
    uint64_t from = f.next;
    f.tenant = bus_routes_tenant(b->routes, b->doing.tenant);
    if (f.tenant == NULL)
        return err_set(e, ERR_INTERNAL, "no routes of group '%s'", b->doing.group);
    feed_gather(&f);
    txn_envelope(t, &(struct envelope){.tenant = b->doing.tenant, .reason = "retained messages"});
    buf_add_u64(txn_begin(t, BUS_IF_ROUTES, 1), b->routes->revision);
    txn_end(t);
    rc = bus_number(b->db, BUS_POSITION, &last, e);
    if (rc == 0)
        rc = feed_rows(&f, t, e);
    if (rc < 0)
        return rc;
    if (rc == 0 && f.next < last + 1)
        f.next = last + 1;
    bus_txn_place(t, b->doing.group, from, f.next, rc == 0);
    b->doing.what = BUS_FEEDS;
    b->doing.revision = b->routes->revision;
    return 0;
}
