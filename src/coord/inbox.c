/* Operations on inbox keys, applied.
 *
 *               begin                     processed
 *    (nothing) ------> begun, with lease -----------> processed
 *        ^  ^            |  lease over: begun by      |  kept long enough
 *        |  +--unbegin---+  whoever comes next        |
 *        +--------------------------------------------+ */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "coord/coord_priv.h"
#include "db/db.h"

struct inbox {
    bool row, processed, over;
    char lease[COORD_ID_BYTES + 1];
    int64_t expires;
};

static int inbox_load(const struct apply *a, struct text key, struct inbox *out, struct err *e)
{
    *out = (struct inbox){.row = false};
    AUTO(db_stmt_donep)
    struct db_stmt *s = store_at(
        a->db, "SELECT processed, lease, expires FROM coord_inbox WHERE tenant = ?1 AND key = ?2",
        a->env->tenant, key, e);
    int rc = s == NULL ? e->code : db_step(s, e);
    if (rc <= 0)
        return rc;
    out->row = true;
    out->processed = db_col_int(s, 0) != 0;
    snprintf(out->lease, sizeof out->lease, "%s", db_col_text(s, 1, NULL));
    out->expires = db_col_int(s, 2);
    out->over = out->expires <= a->at;
    return 0;
}

struct inbox_row {
    struct text key, lease, owner;
    bool processed;
    int64_t expires;
};

static int inbox_store(struct coord *self, const struct apply *a, const struct inbox *before,
                       const struct inbox_row *r, struct err *e)
{
    int rc = store_use_add(a->db, a->env->tenant, COORD_USE_INBOX, !before->row, e);
    if (rc < 0)
        return rc;
    struct db_stmt *s = store_at(a->db,
                                 "INSERT OR REPLACE INTO coord_inbox(tenant, key, processed, "
                                 "lease, owner, at, expires) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                                 a->env->tenant, r->key, e);
    if (s == NULL)
        return e->code;
    db_bind_int(s, 3, r->processed);
    db_bind_text(s, 4, r->lease.n > 0 ? r->lease.p : "", r->lease.n);
    db_bind_text(s, 5, r->owner.n > 0 ? r->owner.p : "", r->owner.n);
    db_bind_int(s, 6, a->at);
    db_bind_int(s, 7, r->expires);
    coord_spare(self, r->expires);
    return db_run(s, e);
}

/* With the lease, for a request that is repeated: its first answer gives the one that counts. */
static void begin_result(struct buf *result, enum coord_inbox what, int64_t expires,
                         struct text lease)
{
    buf_add_u8(result, (uint8_t)what);
    buf_add_u64(result, (uint64_t)expires);
    buf_add_bytes(result, lease.p, lease.n);
}

int coord_apply_begin(void *self, const struct apply *a, uint8_t version, struct cursor *c,
                      struct buf *result, struct err *e)
{
    (void)version;
    struct inbox now;
    struct inbox_row r = {.processed = false};
    r.key = coord_text(c, 1, COORD_KEY_BYTES);
    r.owner = coord_text(c, 0, COORD_OWNER_BYTES);
    r.lease = coord_text(c, 1, COORD_ID_BYTES);
    int64_t ms = (int64_t)cursor_u64(c);
    if (ms < COORD_TTL_MIN_MS || ms > COORD_TTL_MAX_MS)
        c->bad = true;
    int rc = cursor_whole(c, "inbox.begin", e);
    if (rc == 0)
        rc = inbox_load(a, r.key, &now, e);
    if (rc != 0)
        return rc;
    if (now.row && !now.over) {
        begin_result(result, now.processed ? COORD_PROCESSED : COORD_BUSY, now.expires,
                     (struct text){"", 0});
        return 0;
    }
    r.expires = a->at + ms;
    rc = inbox_store(self, a, &now, &r, e);
    if (rc == 0)
        begin_result(result, COORD_ACQUIRED, r.expires, r.lease);
    return rc;
}

static bool inbox_lease_is(const struct inbox *now, struct text lease)
{
    return now->row && strlen(now->lease) == lease.n && memcmp(now->lease, lease.p, lease.n) == 0;
}

static int inbox_fenced(struct text key, struct text lease, struct err *e)
{
    return err_field(e, ERR_FENCED, "leaseId",
                     "'%.*s' was not begun under lease '%.*s', or by somebody else since",
                     (int)key.n, key.p, (int)lease.n, lease.p);
}

/* A lease that is over and that nobody took is still good for this. */
int coord_apply_processed(void *self, const struct apply *a, uint8_t version, struct cursor *c,
                          struct buf *result, struct err *e)
{
    (void)version, (void)result;
    struct inbox now;
    struct inbox_row r = {.processed = true};
    r.key = coord_text(c, 1, COORD_KEY_BYTES);
    r.lease = coord_text(c, 0, COORD_ID_BYTES);
    int64_t keep = (int64_t)cursor_u64(c);
    if (keep < COORD_TTL_MIN_MS || keep > COORD_INBOX_KEEP_MAX_MS)
        c->bad = true;
    int rc = cursor_whole(c, "inbox.processed", e);
    if (rc == 0)
        rc = inbox_load(a, r.key, &now, e);
    if (rc != 0)
        return rc;
    if (r.lease.n > 0 && !inbox_lease_is(&now, r.lease))
        return inbox_fenced(r.key, r.lease, e);
    if (now.row && now.processed && !now.over)
        return 0;
    r.expires = a->at + keep;
    return inbox_store(self, a, &now, &r, e);
}

int coord_apply_unbegin(void *self, const struct apply *a, uint8_t version, struct cursor *c,
                        struct buf *result, struct err *e)
{
    (void)self, (void)version, (void)result;
    struct inbox now;
    struct text key = coord_text(c, 1, COORD_KEY_BYTES), lease = coord_text(c, 1, COORD_ID_BYTES);
    int rc = cursor_whole(c, "inbox.release", e);
    if (rc == 0)
        rc = inbox_load(a, key, &now, e);
    if (rc != 0)
        return rc;
    if (!inbox_lease_is(&now, lease))
        return inbox_fenced(key, lease, e);
    if (now.processed)
        return err_set(e, ERR_CONFLICT, "'%.*s' is processed; there is nothing to release",
                       (int)key.n, key.p);
    rc = store_run_at(a->db, "DELETE FROM coord_inbox WHERE tenant = ?1 AND key = ?2",
                      a->env->tenant, key, e);
    return rc < 0 ? rc : store_use_add(a->db, a->env->tenant, COORD_USE_INBOX, -1, e);
}
