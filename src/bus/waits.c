/* Records that wait for a message, applied. The publisher knows from its route which patterns are
 * waited for and match its topic, and says so; here only rows are looked up. */
#include <string.h>

#include "base/mem.h"
#include "base/topic.h"
#include "bus/bus_priv.h"
#include "db/db.h"
#include "queue/queue.h"

/* ---- written ---- */

/* A '#' elsewhere makes a set of patterns dear, and scripts write these while they run. */
static int wait_check_pattern(const char *pattern, struct err *e)
{
    size_t n = strlen(pattern);
    const char *hash = strchr(pattern, '#');
    int rc = topic_check_pattern(pattern, n, e);
    if (rc == 0 && hash != NULL && hash[1] != '\0')
        rc = err_field(e, ERR_INVALID, "pattern",
                       "of a pattern that is waited for '#' is the last word");
    return rc;
}

int bus_txn_wait(struct txn *t, const struct bus_wait *w, struct err *e)
{
    size_t name = strlen(w->name), key = w->key != NULL ? strlen(w->key) : 0;
    int rc = wait_check_pattern(w->pattern, e);
    if (rc == 0 && (name < 1 || name > BUS_WAIT_NAME_BYTES))
        rc = err_field(e, ERR_INVALID, "name", "a wait's name has 1 to %d bytes",
                       BUS_WAIT_NAME_BYTES);
    if (rc == 0 && w->key != NULL && (key < 1 || key > CORE_TEXT_MAX))
        rc = err_field(e, ERR_INVALID, "key", "a key has 1 to %d bytes", CORE_TEXT_MAX);
    if (rc != 0)
        return rc;
    struct buf *b = txn_begin(t, BUS_OP_WAIT, 1);
    buf_add(b, w->record.b, sizeof w->record.b);
    buf_add_text(b, w->name);
    buf_add_text(b, w->pattern);
    buf_add_text(b, w->key != NULL ? w->key : "");
    buf_add_u64(b, (uint64_t)w->until);
    txn_end(t);
    return 0;
}

void bus_txn_wait_end(struct txn *t, const struct uuid *record, const char *name)
{
    struct buf *b = txn_begin(t, BUS_OP_WAIT_END, 1);
    buf_add(b, record->b, sizeof record->b);
    buf_add_text(b, name);
    txn_end(t);
}

void bus_txn_if_waits(struct txn *t, const struct uuid *record, const char *name)
{
    struct buf *b = txn_begin(t, BUS_IF_WAITS, 1);
    buf_add(b, record->b, sizeof record->b);
    buf_add_text(b, name);
    txn_end(t);
}

void bus_txn_event(struct txn *t, const struct bus_route *r, const struct bus_message *m)
{
    struct buf *b = txn_begin(t, BUS_OP_EVENT, 1);
    buf_add_text(b, r->name);
    buf_add(b, m->id.b, sizeof m->id.b);
    buf_add_text(b, m->key);
    buf_add_text(b, m->type);
    buf_add_text(b, m->headers);
    buf_add_bytes(b, m->body, m->body_len);
    buf_add_u16(b, (uint16_t)r->waited_count);
    for (size_t i = 0; i < r->waited_count; i++)
        buf_add_text(b, r->waited[i]);
    txn_end(t);
}

/* ---- a wait begins ---- */

struct wait {
    struct uuid record;
    char name[BUS_WAIT_NAME_BYTES + 1], pattern[TOPIC_MAX + 1], key[CORE_TEXT_MAX + 1];
    int64_t until;
};

static struct db_stmt *of_record(const struct apply *a, const char *sql, const struct uuid *record,
                                 const char *name, struct err *e)
{
    struct db_stmt *s = db_stmt_get(a->db, sql, e);
    if (s == NULL)
        return NULL;
    db_bind_str(s, 1, a->env->tenant);
    db_bind_blob(s, 2, record->b, sizeof record->b);
    db_bind_str(s, 3, name);
    return s;
}

static int wait_insert(const struct apply *a, const struct wait *w, struct err *e)
{
    struct db_stmt *s = of_record(a,
                                  "INSERT INTO bus_waits(tenant, record, name, pattern, key, "
                                  "until, met) VALUES(?1, ?2, ?3, ?4, ?5, ?6, 0)",
                                  &w->record, w->name, e);
    if (s == NULL)
        return e->code;
    db_bind_str(s, 4, w->pattern);
    db_bind_str(s, 5, w->key);
    db_bind_int(s, 6, w->until);
    return db_run(s, e);
}

/* *waits: how many there were; -1: the pattern is new. */
static int pattern_get(const struct apply *a, const char *tenant, const char *pattern,
                       int64_t *waits, struct err *e)
{
    AUTO(db_stmt_donep)
    struct db_stmt *s =
        db_stmt_get(a->db, "SELECT waits FROM bus_patterns WHERE tenant = ?1 AND pattern = ?2", e);
    if (s == NULL)
        return e->code;
    db_bind_str(s, 1, tenant);
    db_bind_str(s, 2, pattern);
    int rc = db_step(s, e);
    *waits = rc > 0 ? db_col_int(s, 0) : -1;
    return rc < 0 ? rc : 0;
}

/* They would only make publishers write in vain. */
int bus_patterns_tidy(struct bus *b, const struct apply *a, struct err *e)
{
    int rc = db_exec(a->db, "DELETE FROM bus_patterns WHERE waits = 0", e);
    int64_t gone = rc == 0 ? db_changes(a->db) : 0;
    b->waited.stale += (size_t)gone;
    return gone > 0 ? bus_number_add(a->db, BUS_PATTERNS, -gone, e) : rc;
}

/* Where a new one comes, those that nobody waits for any more go. */
static int patterns_fit(struct bus *b, const struct apply *a, struct err *e)
{
    uint64_t count = 0;
    int rc = bus_patterns_tidy(b, a, e);
    if (rc == 0)
        rc = bus_number(a->db, BUS_PATTERNS, &count, e);
    if (rc == 0 && count >= BUS_PATTERNS_MAX)
        return err_set(e, ERR_QUOTA, "at most %d patterns are waited for", BUS_PATTERNS_MAX);
    return rc == 0 ? bus_number_add(a->db, BUS_PATTERNS, 1, e) : rc;
}

static int pattern_run(const struct apply *a, const char *sql, const char *tenant,
                       const char *pattern, int64_t v, struct err *e)
{
    struct db_stmt *s = db_stmt_get(a->db, sql, e);
    if (s == NULL)
        return e->code;
    db_bind_str(s, 1, tenant);
    db_bind_str(s, 2, pattern);
    db_bind_int(s, 3, v);
    return db_run(s, e);
}

static int pattern_count(const struct apply *a, const char *tenant, const char *pattern,
                         int64_t waits, struct err *e)
{
    return pattern_run(a, "UPDATE bus_patterns SET waits = ?3 WHERE tenant = ?1 AND pattern = ?2",
                       tenant, pattern, waits, e);
}

static int pattern_new(struct bus *b, const struct apply *a, const char *pattern, struct err *e)
{
    uint64_t since = 0;
    int rc = patterns_fit(b, a, e);
    if (rc == 0)
        rc = bus_patterns_next(&b->waited, a, pattern, &since, e);
    if (rc != 0)
        return rc;
    return pattern_run(
        a, "INSERT INTO bus_patterns(tenant, pattern, waits, since) VALUES(?1, ?2, 1, ?3)",
        a->env->tenant, pattern, (int64_t)since, e);
}

static int pattern_join(struct bus *b, const struct apply *a, const char *pattern, struct err *e)
{
    int64_t waits = 0;
    int rc = pattern_get(a, a->env->tenant, pattern, &waits, e);
    if (rc == 0 && waits >= BUS_WAITS_PATTERN_MAX)
        rc = err_set(e, ERR_QUOTA, "at most %d records wait for '%s'", BUS_WAITS_PATTERN_MAX,
                     pattern);
    if (rc != 0)
        return rc;
    return waits < 0 ? pattern_new(b, a, pattern, e)
                     : pattern_count(a, a->env->tenant, pattern, waits + 1, e);
}

static int wait_decode(struct cursor *c, struct wait *w, struct err *e)
{
    uuid_read(c, &w->record);
    cursor_text(c, w->name, 1, BUS_WAIT_NAME_BYTES);
    cursor_text(c, w->pattern, 1, TOPIC_MAX);
    cursor_text(c, w->key, 0, CORE_TEXT_MAX);
    w->until = (int64_t)(cursor_u64(c) & INT64_MAX);
    int rc = cursor_whole(c, "bus.wait", e);
    return rc == 0 ? wait_check_pattern(w->pattern, e) : rc;
}

BUS_APPLY(wait)
{
    struct wait w;
    (void)version, (void)result;
    int rc = wait_decode(c, &w, e);
    if (rc != 0)
        return rc;
    struct db_stmt *s =
        of_record(a, "SELECT 1 FROM bus_waits WHERE tenant = ?1 AND record = ?2 AND name = ?3",
                  &w.record, w.name, e);
    rc = s == NULL ? e->code : db_step(s, e);
    db_stmt_done(s);
    if (rc != 0)
        return rc < 0 ? rc : 0;
    rc = bus_use_add(a->db, a->env->tenant, BUS_USE_WAITS, 1, e);
    if (rc == 0)
        rc = pattern_join(self, a, w.pattern, e);
    if (rc == 0)
        rc = wait_insert(a, &w, e);
    bus_spare(self,
              w.until < INT64_MAX - BUS_WAIT_KEPT_MS ? w.until + BUS_WAIT_KEPT_MS : INT64_MAX);
    return rc;
}

/* ---- a message ---- */

struct event {
    char topic[TOPIC_MAX + 1];
    struct uuid id;
    struct bus_span key, type, headers, body;
};

static int event_put(const struct apply *a, const struct event *v, uint64_t number, int64_t waits,
                     struct err *e)
{
    struct db_stmt *s = db_stmt_get(a->db,
                                    "INSERT INTO bus_met(number, tenant, topic, at, id, key, type, "
                                    "headers, body, waits) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, "
                                    "?9, ?10)",
                                    e);
    if (s == NULL)
        return e->code;
    db_bind_int(s, 1, (int64_t)number);
    db_bind_str(s, 2, a->env->tenant);
    db_bind_str(s, 3, v->topic);
    db_bind_int(s, 4, a->at);
    db_bind_blob(s, 5, v->id.b, sizeof v->id.b);
    db_bind_text(s, 6, v->key.p, v->key.n);
    db_bind_text(s, 7, v->type.p, v->type.n);
    db_bind_text(s, 8, v->headers.p, v->headers.n);
    db_bind_blob(s, 9, v->body.n > 0 ? v->body.p : "", v->body.n);
    db_bind_int(s, 10, waits);
    return db_run(s, e);
}

/* Those that wait for this pattern, and for this key or any. */
static int event_meet(const struct apply *a, const char *pattern, const struct event *v,
                      uint64_t number, int64_t *waits, struct err *e)
{
    struct db_stmt *s = db_stmt_get(a->db,
                                    "UPDATE bus_waits SET met = ?1 WHERE tenant = ?2 AND pattern = "
                                    "?3 AND key IN ('', ?4) AND met = 0 AND until > ?5",
                                    e);
    if (s == NULL)
        return e->code;
    db_bind_int(s, 1, (int64_t)number);
    db_bind_str(s, 2, a->env->tenant);
    db_bind_str(s, 3, pattern);
    db_bind_text(s, 4, v->key.p != NULL ? v->key.p : "", v->key.n);
    db_bind_int(s, 5, a->at);
    int rc = db_run(s, e);
    *waits += rc == 0 ? db_changes(a->db) : 0;
    return rc;
}

BUS_APPLY(event)
{
    struct bus *b = self;
    struct event v;
    char pattern[TOPIC_MAX + 1];
    uint64_t number = 0;
    int64_t waits = 0;
    (void)version;
    cursor_text(c, v.topic, 1, TOPIC_MAX);
    uuid_read(c, &v.id);
    v.key = bus_span(c, CORE_TEXT_MAX);
    v.type = bus_span(c, QUEUE_TYPE_BYTES);
    v.headers = bus_span(c, QUEUE_HEADERS_BYTES);
    v.body = bus_span(c, CORE_BODY_MAX);
    uint16_t patterns = cursor_u16(c);
    struct cursor rest = *c;
    for (uint16_t i = 0; i < patterns && !c->bad; i++)
        cursor_text(c, pattern, 1, TOPIC_MAX);
    int rc = cursor_whole(c, "bus.event", e);
    if (rc == 0)
        rc = bus_number(a->db, BUS_MET, &number, e);
    for (uint16_t i = 0; i < patterns && rc == 0; i++) {
        cursor_text(&rest, pattern, 1, TOPIC_MAX);
        rc = event_meet(a, pattern, &v, number + 1, &waits, e);
    }
    if (rc == 0 && waits > 0)
        rc = bus_number_next(a->db, BUS_MET, &number, e);
    if (rc == 0 && waits > 0)
        rc = event_put(a, &v, number, waits, e);
    if (rc == 0 && waits > 0)
        b->met = true;
    buf_add_u32(result, (uint32_t)waits);
    return rc;
}

/* ---- a wait ends ---- */

struct ended {
    int64_t place, met;
    char tenant[TXN_ENVELOPE_TEXT_MAX + 1], pattern[TOPIC_MAX + 1];
};

/* 1: there is such a wait. Columns: place, met, tenant, pattern. */
static int ended_read(struct db_stmt *s, struct ended *out, struct err *e)
{
    int rc = s == NULL ? e->code : db_step(s, e);
    if (rc > 0) {
        out->place = db_col_int(s, 0);
        out->met = db_col_int(s, 1);
        snprintf(out->tenant, sizeof out->tenant, "%s", db_col_text(s, 2, NULL));
        snprintf(out->pattern, sizeof out->pattern, "%s", db_col_text(s, 3, NULL));
    }
    db_stmt_done(s);
    return rc;
}

static int run_number(struct db *db, const char *sql, int64_t v, struct err *e)
{
    struct db_stmt *s = db_stmt_get(db, sql, e);
    if (s == NULL)
        return e->code;
    db_bind_int(s, 1, v);
    return db_run(s, e);
}

static int wait_drop(const struct apply *a, const struct ended *w, struct err *e)
{
    int64_t waits = 0;
    int rc = run_number(a->db, "DELETE FROM bus_waits WHERE place = ?1", w->place, e);
    if (rc == 0 && w->met > 0)
        rc = run_number(a->db, "UPDATE bus_met SET waits = waits - 1 WHERE number = ?1", w->met, e);
    if (rc == 0 && w->met > 0)
        rc = run_number(a->db, "DELETE FROM bus_met WHERE number = ?1 AND waits <= 0", w->met, e);
    if (rc == 0)
        rc = bus_use_add(a->db, w->tenant, BUS_USE_WAITS, -1, e);
    if (rc == 0)
        rc = pattern_get(a, w->tenant, w->pattern, &waits, e);
    if (rc == 0 && waits > 0)
        rc = pattern_count(a, w->tenant, w->pattern, waits - 1, e);
    return rc;
}

BUS_APPLY(wait_end)
{
    struct uuid record;
    struct ended w;
    char name[BUS_WAIT_NAME_BYTES + 1];
    (void)self, (void)version, (void)result;
    uuid_read(c, &record);
    cursor_text(c, name, 1, BUS_WAIT_NAME_BYTES);
    int rc = cursor_whole(c, "bus.wait_end", e);
    if (rc == 0)
        rc = ended_read(of_record(a,
                                  "SELECT place, met, tenant, pattern FROM bus_waits WHERE tenant "
                                  "= ?1 AND record = ?2 AND name = ?3",
                                  &record, name, e),
                        &w, e);
    return rc > 0 ? wait_drop(a, &w, e) : rc;
}

BUS_APPLY(if_waits)
{
    struct uuid record;
    char name[BUS_WAIT_NAME_BYTES + 1];
    (void)self, (void)version, (void)result;
    uuid_read(c, &record);
    cursor_text(c, name, 1, BUS_WAIT_NAME_BYTES);
    int rc = cursor_whole(c, "bus.if_waits", e);
    if (rc != 0)
        return rc;
    AUTO(db_stmt_donep)
    struct db_stmt *s = of_record(a,
                                  "SELECT 1 FROM bus_waits WHERE tenant = ?1 AND record = ?2 AND "
                                  "name = ?3 AND met = 0",
                                  &record, name, e);
    rc = s == NULL ? e->code : db_step(s, e);
    if (rc != 0)
        return rc < 0 ? rc : 0;
    return err_set(e, ERR_CONFLICT, "its message has come, or it does not wait any more");
}

int bus_waits_sweep(const struct apply *a, uint32_t max, uint32_t *gone, struct err *e)
{
    int rc = 0;
    while (*gone < max) {
        struct ended w;
        struct db_stmt *s = db_stmt_get(a->db,
                                        "SELECT place, met, tenant, pattern FROM bus_waits WHERE "
                                        "until <= ?1 ORDER BY until, place LIMIT 1",
                                        e);
        if (s == NULL)
            return e->code;
        db_bind_int(s, 1, a->at - BUS_WAIT_KEPT_MS);
        rc = ended_read(s, &w, e);
        if (rc > 0)
            rc = wait_drop(a, &w, e);
        else
            return rc;
        if (rc != 0)
            return rc;
        ++*gone;
    }
    return 0;
}
