/* Where groups stand among the retained messages.
 *
 *              declared with a start, rewound                fed to the end
 *     (none) ---------------------------------> FEEDING ------------------------> LIVE
 *                                                ^  ^  |                           |
 *                                                |  |  | declared no more          | declared no
 *                                    declared    |  +--|---------- rewound --------+ more
 *                                    with start  |     v                           v
 *                                                +--- LEFT <-----------------------+
 *
 * Whoever feeds moves a place from where it was, so two that feed at once cannot both do so. A feed
 * ends where that is behind the last message; when one more has come meanwhile, it goes on. */
#include <string.h>

#include "base/mem.h"
#include "bus/bus_priv.h"
#include "db/db.h"
#include "ledger/txn.h"

/* What a bus.place is about. */
enum { PLACE_MOVE = 1, PLACE_END = 2, PLACE_SET = 3 };

/* 1: there is a place. */
static int place_get(const struct apply *a, const char *group, enum bus_place *state,
                     uint64_t *next, struct err *e)
{
    AUTO(db_stmt_donep)
    struct db_stmt *s =
        db_stmt_get(a->db, "SELECT state, next FROM bus_places WHERE tenant = ?1 AND grp = ?2", e);
    if (s == NULL)
        return e->code;
    db_bind_str(s, 1, a->env->tenant);
    db_bind_str(s, 2, group);
    int rc = db_step(s, e);
    if (rc <= 0)
        return rc;
    int64_t v = db_col_int(s, 0);
    *state = v == 1 ? BUS_PLACE_FEEDING : v == 2 ? BUS_PLACE_LIVE : BUS_PLACE_LEFT;
    *next = (uint64_t)db_col_int(s, 1);
    return 1;
}

static int place_put(const struct apply *a, const char *group, enum bus_place state, uint64_t next,
                     struct err *e)
{
    struct db_stmt *s = db_stmt_get(a->db,
                                    "INSERT OR REPLACE INTO bus_places(tenant, grp, state, next) "
                                    "VALUES(?1, ?2, ?3, ?4)",
                                    e);
    if (s == NULL)
        return e->code;
    db_bind_str(s, 1, a->env->tenant);
    db_bind_str(s, 2, group);
    db_bind_int(s, 3, state);
    db_bind_int(s, 4, (int64_t)next);
    return db_run(s, e);
}

static int place_drop(const struct apply *a, const char *group, struct err *e)
{
    struct db_stmt *s =
        db_stmt_get(a->db, "DELETE FROM bus_places WHERE tenant = ?1 AND grp = ?2", e);
    if (s == NULL)
        return e->code;
    db_bind_str(s, 1, a->env->tenant);
    db_bind_str(s, 2, group);
    return db_run(s, e);
}

/* ---- where a start is ---- */

/* The first message at or behind `from`, and its time; 0: there is none. */
static int row_at(struct db *db, uint64_t from, uint64_t *position, int64_t *at, struct err *e)
{
    AUTO(db_stmt_donep)
    struct db_stmt *s = db_stmt_get(db,
                                    "SELECT position, at FROM bus_retained WHERE position >= ?1 "
                                    "ORDER BY position LIMIT 1",
                                    e);
    if (s == NULL)
        return e->code;
    db_bind_int(s, 1, (int64_t)from);
    int rc = db_step(s, e);
    *position = rc > 0 ? (uint64_t)db_col_int(s, 0) : 0;
    *at = rc > 0 ? db_col_int(s, 1) : 0;
    return rc;
}

/* Positions rise with the time, so halving finds it. */
static int row_of_time(struct db *db, int64_t time, uint64_t end, uint64_t *out, struct err *e)
{
    uint64_t lo = 1, hi = end, position = 0;
    int64_t at = 0;
    while (lo < hi) {
        uint64_t mid = lo + (hi - lo) / 2;
        int rc = row_at(db, mid, &position, &at, e);
        if (rc < 0)
            return rc;
        if (rc == 0 || at >= time)
            hi = mid;
        else
            lo = position + 1;
    }
    *out = lo;
    return 0;
}

/* `end`: the position that the next message gets. */
static int start_find(struct db *db, const struct bus_start *s, uint64_t *next, uint64_t *end,
                      struct err *e)
{
    int rc = bus_number(db, BUS_POSITION, end, e);
    ++*end;
    *next = s->from == BUS_FROM_FIRST ? 1 : s->from == BUS_FROM_POSITION ? s->position : *end;
    if (rc == 0 && s->from == BUS_FROM_TIME)
        rc = row_of_time(db, s->at, *end, next, e);
    *next = *next < 1 ? 1 : *next > *end ? *end : *next;
    return rc;
}

int bus_place_come(const struct apply *a, const char *group, const struct bus_start *start,
                   struct err *e)
{
    enum bus_place state = BUS_PLACE_LEFT;
    uint64_t next = 0, first = 0, end = 0;
    int rc = place_get(a, group, &state, &next, e);
    if (rc < 0)
        return rc;
    if (start->from == BUS_FROM_NEW)
        return rc > 0 ? place_drop(a, group, e) : 0;
    bool went_on = rc > 0;
    rc = start_find(a->db, start, &first, &end, e);
    if (rc != 0)
        return rc;
    next = went_on ? next : first;
    return place_put(a, group, next < end ? BUS_PLACE_FEEDING : BUS_PLACE_LIVE, next, e);
}

int bus_place_go(const struct apply *a, const char *group, struct err *e)
{
    enum bus_place state = BUS_PLACE_LEFT;
    uint64_t next = 0, last = 0;
    int rc = place_get(a, group, &state, &next, e);
    if (rc <= 0 || state == BUS_PLACE_LEFT)
        return rc < 0 ? rc : 0;
    rc = bus_number(a->db, BUS_POSITION, &last, e);
    if (rc == 0)
        rc = place_put(a, group, BUS_PLACE_LEFT, state == BUS_PLACE_FEEDING ? next : last + 1, e);
    return rc;
}

/* ---- the operation ---- */

static struct buf *place_begin(struct txn *t, const char *group, uint8_t kind)
{
    struct buf *b = txn_begin(t, BUS_OP_PLACE, 1);
    buf_add_text(b, group);
    buf_add_u8(b, kind);
    return b;
}

void bus_txn_place(struct txn *t, const char *group, uint64_t expected, uint64_t next, bool end)
{
    struct buf *b = place_begin(t, group, end ? PLACE_END : PLACE_MOVE);
    buf_add_u64(b, expected);
    buf_add_u64(b, next);
    txn_end(t);
}

void bus_txn_rewind(struct txn *t, const char *group, const struct bus_start *to)
{
    struct buf *b = place_begin(t, group, PLACE_SET);
    buf_add_u8(b, (uint8_t)to->from);
    buf_add_u64(b, to->from == BUS_FROM_TIME ? (uint64_t)to->at : to->position);
    txn_end(t);
}

static int place_advance(struct bus *b, const struct apply *a, const char *group, bool end,
                         struct cursor *c, struct buf *result, struct err *e)
{
    enum bus_place state = BUS_PLACE_LEFT;
    uint64_t now = 0, last = 0;
    uint64_t expected = cursor_u64(c), next = cursor_u64(c);
    int rc = cursor_whole(c, "bus.place", e);
    if (rc == 0)
        rc = place_get(a, group, &state, &now, e);
    if (rc < 0)
        return rc;
    if (rc == 0 || state != BUS_PLACE_FEEDING || now != expected || next < now || next > INT64_MAX)
        return err_set(e, ERR_CONFLICT, "group '%s' is fed from elsewhere by now", group);
    rc = bus_number(a->db, BUS_POSITION, &last, e);
    end = end && next > last;
    if (rc == 0)
        rc = place_put(a, group, end ? BUS_PLACE_LIVE : BUS_PLACE_FEEDING, next, e);
    if (rc == 0 && end)
        rc = bus_next_revision(b, a, e);
    buf_add_u8(result, end);
    return rc;
}

static int group_is_there(const struct apply *a, const char *group, struct err *e)
{
    AUTO(db_stmt_donep)
    struct db_stmt *s =
        db_stmt_get(a->db, "SELECT 1 FROM bus_groups WHERE tenant = ?1 AND grp = ?2 LIMIT 1", e);
    if (s == NULL)
        return e->code;
    db_bind_str(s, 1, a->env->tenant);
    db_bind_str(s, 2, group);
    int rc = db_step(s, e);
    return rc == 0  ? err_field(e, ERR_NOT_FOUND, "group", "there is no group '%s'", group)
           : rc < 0 ? rc
                    : 0;
}

static int place_set(struct bus *b, const struct apply *a, const char *group, struct cursor *c,
                     struct buf *result, struct err *e)
{
    uint8_t from = cursor_u8(c);
    uint64_t v = cursor_u64(c), next = 0, end = 0;
    struct bus_start start = {.at = (int64_t)(v & INT64_MAX), .position = v};
    int rc = cursor_whole(c, "bus.place", e);
    if (rc == 0 && from > BUS_FROM_POSITION)
        rc = err_set(e, ERR_INVALID, "the payload of bus.place is damaged");
    start.from = from == 0   ? BUS_FROM_FIRST
                 : from == 1 ? BUS_FROM_NEW
                 : from == 2 ? BUS_FROM_TIME
                             : BUS_FROM_POSITION;
    if (rc == 0)
        rc = group_is_there(a, group, e);
    if (rc == 0)
        rc = start_find(a->db, &start, &next, &end, e);
    if (rc == 0)
        rc = place_put(a, group, next < end ? BUS_PLACE_FEEDING : BUS_PLACE_LIVE, next, e);
    if (rc == 0)
        rc = bus_next_revision(b, a, e);
    buf_add_u64(result, next);
    return rc;
}

BUS_APPLY(place)
{
    char group[GROUP_NAME_MAX + 1];
    (void)version;
    cursor_text(c, group, 1, GROUP_NAME_MAX);
    uint8_t kind = cursor_u8(c);
    if (!c->bad && kind == PLACE_SET)
        return place_set(self, a, group, c, result, e);
    if (c->bad || kind < PLACE_MOVE || kind > PLACE_END)
        return err_set(e, ERR_INVALID, "the payload of bus.place is damaged");
    return place_advance(self, a, group, kind == PLACE_END, c, result, e);
}
