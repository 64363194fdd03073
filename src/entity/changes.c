/* Changes: written while entries are applied, read by feeds. */
#include "entity/changes.h"

#include <pthread.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/time.h"
#include "db/db.h"
#include "entity/entity_priv.h"
#include "ledger/txn.h"

enum { CHANGES_ROOM_KEPT = 1 << 20 };

/* ---- on the ledger's thread ---- */

static void add_state(struct buf *b, const struct entity_state *s)
{
    buf_add_bytes(b, s->body, s->body_len);
    buf_add_u64(b, s->version);
    buf_add_u64(b, (uint64_t)s->updated_at);
    buf_add_bytes(b, s->updated_by, s->updated_by_len);
}

void changes_add(struct changes *f, const struct row_change *c, enum entity_change_verb verb,
                 const struct entity_change *what)
{
    struct buf *b = &f->pending;
    if (c->def->no_feed)
        return;
    buf_add_u8(b, (uint8_t)verb);
    buf_add_text(b, c->def->name);
    buf_add_text(b, c->key.tenant);
    buf_add_text(b, c->key.part);
    buf_add_bytes(b, c->key.id, c->key.id_len);
    buf_add_u64(b, (uint64_t)what->created_at);
    buf_add_bytes(b, what->created_by, what->created_by_len);
    if (verb != ENTITY_CHANGE_CREATED)
        add_state(b, &what->before);
    if (verb != ENTITY_CHANGE_REMOVED)
        add_state(b, &what->after);
}

void changes_init(struct changes *f)
{
    buf_init(&f->pending, ENTITY_CHANGES_ENTRY_MAX);
    pthread_mutex_init(&f->lock, NULL);
}

void changes_fini(struct changes *f)
{
    buf_fini(&f->pending);
    pthread_mutex_destroy(&f->lock);
}

void changes_unit(struct changes *f)
{
    f->mark = f->pending.len;
}

void changes_undo(struct changes *f, bool entry_too)
{
    bool failed = f->pending.failed;
    f->pending.len = entry_too ? 0 : f->mark;
    f->pending.failed = failed && !entry_too;
    if (entry_too)
        f->loaded = false;
}

/* Where the kept rows begin and how many bytes they are. */
static int load(struct changes *f, struct db *db, struct err *e)
{
    AUTO(db_stmt_donep)
    struct db_stmt *s =
        db_stmt_get(db,
                    "SELECT (SELECT total FROM local_changes ORDER BY seq DESC LIMIT 1), seq, at,"
                    " total - length(data), total FROM local_changes ORDER BY seq LIMIT 1",
                    e);
    if (s == NULL)
        return e->code;
    int rc = db_step(s, e);
    if (rc < 0)
        return rc;
    f->loaded = true;
    f->total = rc > 0 ? db_col_int(s, 0) : 0;
    f->oldest_seq = rc > 0 ? db_col_int(s, 1) : 0;
    f->oldest_at = rc > 0 ? db_col_int(s, 2) : INT64_MAX;
    f->oldest_before = rc > 0 ? db_col_int(s, 3) : f->total;
    return 0;
}

static int run_int(struct db *db, const char *sql, int64_t v, struct err *e)
{
    struct db_stmt *s = db_stmt_get(db, sql, e);
    if (s == NULL)
        return e->code;
    db_bind_int(s, 1, v);
    return db_run(s, e);
}

static int forget(struct changes *f, struct db *db, int64_t up_to, struct err *e)
{
    int rc = run_int(db, "DELETE FROM local_changes WHERE seq <= ?1", up_to, e);
    if (rc == 0)
        rc = run_int(db, "UPDATE local_feed SET first = ?1", up_to, e);
    f->loaded = false;
    return rc;
}

static int trim(struct changes *f, const struct apply *a, struct err *e)
{
    int rc = 0;
    for (;;) {
        if (!f->loaded && (rc = load(f, a->db, e)) < 0)
            return rc;
        bool over = f->total - f->oldest_before > ENTITY_CHANGES_BYTES ||
                    f->oldest_at < a->at - ENTITY_CHANGES_MS;
        if (!over)
            return 0;
        if ((rc = forget(f, a->db, f->oldest_seq, e)) < 0)
            return rc;
    }
}

static int store(struct changes *f, const struct apply *a, struct err *e)
{
    if (!f->loaded && load(f, a->db, e) < 0)
        return e->code;
    struct db_stmt *s = db_stmt_get(
        a->db, "INSERT INTO local_changes(seq, at, total, data) VALUES (?1, ?2, ?3, ?4)", e);
    if (s == NULL)
        return e->code;
    db_bind_int(s, 1, (int64_t)a->seq);
    db_bind_int(s, 2, a->at);
    db_bind_int(s, 3, f->total + (int64_t)f->pending.len);
    db_bind_blob(s, 4, f->pending.data, f->pending.len);
    int rc = db_run(s, e);
    if (f->oldest_seq == 0)
        f->loaded = false; /* this is the first */
    f->total += (int64_t)f->pending.len;
    return rc;
}

int changes_close(struct changes *f, const struct apply *a, struct err *e)
{
    int rc = 0;
    if (buf_failed(&f->pending)) /* too much to keep: whoever follows begins anew */
        rc = forget(f, a->db, (int64_t)a->seq, e);
    else if (f->pending.len > 0)
        rc = store(f, a, e);
    else
        return 0;
    return rc == 0 ? trim(f, a, e) : rc;
}

void changes_committed(struct changes *f)
{
    if (f->pending.len == 0 && !buf_failed(&f->pending))
        return;
    if (f->pending.cap > CHANGES_ROOM_KEPT)
        buf_fini(&f->pending); /* one large entry does not cost memory for ever */
    buf_reset(&f->pending);
    f->mark = 0;
    pthread_mutex_lock(&f->lock);
    for (struct entity_watch *w = f->watches; w != NULL; w = w->next) {
        if (!atomic_load(&w->idle) && !atomic_exchange(&w->posted, true))
            w->home->post(w->home, &w->task);
    }
    pthread_mutex_unlock(&f->lock);
}

/* ---- watching ---- */

static void watch_run(struct task *t)
{
    struct entity_watch *w = (struct entity_watch *)t;
    atomic_store(&w->posted, false);
    w->changed(w);
}

void changes_watch(struct changes *f, struct entity_watch *w)
{
    w->task.run = watch_run;
    atomic_store(&w->posted, false);
    pthread_mutex_lock(&f->lock);
    w->next = f->watches;
    f->watches = w;
    pthread_mutex_unlock(&f->lock);
}

void changes_unwatch(struct changes *f, struct entity_watch *w)
{
    pthread_mutex_lock(&f->lock);
    struct entity_watch **p = &f->watches;
    while (*p != NULL && *p != w)
        p = &(*p)->next;
    if (*p != NULL)
        *p = w->next;
    pthread_mutex_unlock(&f->lock);
}

/* ---- reading ---- */

static void read_state(struct cursor *c, struct entity_state *s)
{
    s->body = cursor_bytes(c, &s->body_len);
    s->version = cursor_u64(c);
    s->updated_at = (int64_t)cursor_u64(c);
    s->updated_by = cursor_bytes(c, &s->updated_by_len);
    c->bad |= s->body == NULL || s->updated_by == NULL || s->body_len < 2;
}

bool entity_change_next(struct cursor *c, struct entity_change *out)
{
    if (c->bad || cursor_left(c) == 0)
        return false;
    *out = (struct entity_change){.created_at = 0};
    uint8_t verb = cursor_u8(c);
    out->verb = (enum entity_change_verb)verb;
    out->entity = cursor_bytes(c, &out->entity_len);
    out->tenant = cursor_bytes(c, &out->tenant_len);
    out->part = cursor_bytes(c, &out->part_len);
    out->id = cursor_bytes(c, &out->id_len);
    out->created_at = (int64_t)cursor_u64(c);
    out->created_by = cursor_bytes(c, &out->created_by_len);
    if (verb != ENTITY_CHANGE_CREATED)
        read_state(c, &out->before);
    if (verb != ENTITY_CHANGE_REMOVED)
        read_state(c, &out->after);
    c->bad |= verb > ENTITY_CHANGE_REMOVED || out->entity == NULL || out->tenant == NULL ||
              out->part == NULL || out->id == NULL || out->created_by == NULL;
    return !c->bad;
}

static void add_time(struct buf *out, const char *name, int64_t ms)
{
    char text[TIME_TEXT];
    time_format(ms, text);
    buf_adds(out, name);
    buf_add(out, text, TIME_TEXT - 1);
    buf_addc(out, '"');
}

void entity_change_record(const struct entity_change *c, const struct entity_state *s,
                          struct buf *out)
{
    buf_adds(out, "{\"id\":");
    json_print_string(out, c->id, c->id_len);
    if (s->body_len > 2) {
        buf_addc(out, ',');
        buf_add(out, s->body + 1, s->body_len - 2);
    }
    char version[STR_U64_DIGITS];
    buf_adds(out, ",\"version\":");
    buf_add(out, version, str_from_u64(s->version, version));
    add_time(out, ",\"created_at\":\"", c->created_at);
    add_time(out, ",\"updated_at\":\"", s->updated_at);
    buf_adds(out, ",\"created_by\":");
    json_print_string(out, c->created_by, c->created_by_len);
    buf_adds(out, ",\"updated_by\":");
    json_print_string(out, s->updated_by, s->updated_by_len);
    buf_addc(out, '}');
}

/* The log position of the snapshot, and the last one of which changes are gone. */
static int read_place(struct db *db, uint64_t *applied, uint64_t *first, struct err *e)
{
    AUTO(db_stmt_donep)
    struct db_stmt *s = db_stmt_get(db, "SELECT seq, first FROM local_meta, local_feed", e);
    int rc = s == NULL ? e->code : db_step(s, e);
    if (rc <= 0)
        return rc < 0 ? rc : err_set(e, ERR_CORRUPT, "local_meta is empty");
    *applied = (uint64_t)db_col_int(s, 0);
    *first = (uint64_t)db_col_int(s, 1);
    return 0;
}

static int read_rows(struct db *db, uint64_t after,
                     int (*each)(void *arg, uint64_t seq, const void *p, size_t n), void *arg,
                     struct err *e)
{
    AUTO(db_stmt_donep)
    struct db_stmt *s =
        db_stmt_get(db, "SELECT seq, data FROM local_changes WHERE seq > ?1 ORDER BY seq", e);
    if (s == NULL)
        return e->code;
    db_bind_int(s, 1, (int64_t)after);
    int rc;
    while ((rc = db_step(s, e)) > 0) {
        size_t n;
        const void *p = db_col_blob(s, 1, &n);
        int stop = each(arg, (uint64_t)db_col_int(s, 0), p, n);
        if (stop != 0)
            return stop;
    }
    return rc;
}

int entity_changes_each(struct db *db, uint64_t after,
                        int (*each)(void *arg, uint64_t seq, const void *p, size_t n), void *arg,
                        uint64_t *applied, struct err *e)
{
    struct err own = ERR_INIT;
    e = e != NULL ? e : &own;
    uint64_t first = 0;
    int rc = db_snapshot_begin(db, e);
    if (rc < 0)
        return rc;
    rc = read_place(db, applied, &first, e);
    if (rc == 0 && after < first)
        rc = err_set(e, ERR_GONE,
                     "changes are kept from position %llu on, not from %llu; read the "
                     "records again and follow from there",
                     (unsigned long long)first, (unsigned long long)after);
    if (rc == 0)
        rc = read_rows(db, after, each, arg, e);
    db_snapshot_end(db);
    return rc;
}
