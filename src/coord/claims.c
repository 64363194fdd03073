/* Operations on claims, applied. The rule who gets it is lock.c's; here it meets rows and time.
 *
 * A grant's token is the log index of its entry. For it to grow with each grant of a lease, a claim
 * that was granted in an entry cannot end in the same one: nobody can know its token yet, so only
 * an operator's break could want that, and is told to come again. */
#include <string.h>

#include "base/mem.h"
#include "base/time.h"
#include "coord/coord_priv.h"

struct ask {
    struct text name, id, owner, meta;
    enum coord_form form;
    uint32_t n;
    bool exclusive;
    int64_t ttl, wait;
};

static int ask_decode(struct cursor *c, struct ask *k, struct err *e)
{
    k->name = coord_text(c, 1, COORD_KEY_BYTES);
    k->id = coord_text(c, 1, COORD_ID_BYTES);
    uint8_t form = cursor_u8(c);
    k->form = (enum coord_form)form;
    k->n = cursor_u32(c);
    uint8_t exclusive = cursor_u8(c);
    k->exclusive = exclusive == 1;
    k->ttl = (int64_t)cursor_u64(c);
    k->wait = (int64_t)cursor_u64(c);
    k->owner = coord_text(c, 0, COORD_OWNER_BYTES);
    k->meta = coord_text(c, 0, COORD_META_BYTES);
    if (form < COORD_LEASE || form > COORD_RW || exclusive > 1 || k->n == 0 ||
        k->n > COORD_HOLDERS_MAX || (form == COORD_LEASE && k->n != 1) ||
        (exclusive && form != COORD_RW) || k->ttl < COORD_TTL_MIN_MS || k->ttl > COORD_TTL_MAX_MS ||
        k->wait < 0 || k->wait > COORD_WAIT_MAX_MS)
        c->bad = true;
    return cursor_whole(c, "lease.acquire", e);
}

static void grant_result(struct buf *result, bool held, uint64_t token, int64_t expires)
{
    buf_add_u8(result, held);
    buf_add_u64(result, token);
    buf_add_u64(result, (uint64_t)expires);
}

static int claim_tell(struct coord *self, const struct claim *c, enum coord_event_kind kind,
                      struct err *e)
{
    struct coord_event ev = {.kind = kind, .token = c->token, .expires = c->expires};
    memcpy(ev.id, c->id, sizeof ev.id);
    coord_due(self, c->expires);
    return coord_event(self, &ev, e);
}

/* ---- the queue ---- */

static int queue_grant(struct coord *self, const struct apply *a, struct lock *l, struct claim *c,
                       struct err *e)
{
    lock_grant(l, c->exclusive);
    l->waiting--;
    c->token = a->seq;
    c->since = a->at;
    c->expires = a->at + c->ttl;
    coord_changed(self, c->tenant, c->name, strlen(c->name));
    int rc = claim_update(a->db, c, e);
    return rc < 0 ? rc : claim_tell(self, c, COORD_EVENT_GRANTED, e);
}

static int queue_drop(struct coord *self, const struct apply *a, struct lock *l,
                      const struct claim *c, enum coord_event_kind kind, struct err *e)
{
    l->waiting--;
    int rc = claim_delete(a->db, c, e);
    return rc < 0 ? rc : claim_tell(self, c, kind, e);
}

/* Whoever is first and fits has it; those whose wait is over go. */
static int queue_advance(struct coord *self, const struct apply *a, struct text name,
                         struct lock *l, struct err *e)
{
    struct claim c;
    int rc = 0;
    while (rc == 0 && l->waiting > 0) {
        rc = claim_first(a->db, a->env->tenant, name, true, &c, e);
        if (rc <= 0)
            return rc < 0 ? rc : err_set(e, ERR_CORRUPT, "coord_locks counts waiters that are not");
        if (c.expires <= a->at)
            rc = queue_drop(self, a, l, &c, COORD_EVENT_OVER, e);
        else if (lock_fits(l, c.exclusive))
            rc = queue_grant(self, a, l, &c, e);
        else
            return 0;
    }
    return rc;
}

/* A holder, or one who waits, is no more; whoever is next comes up. */
static int claim_end(struct coord *self, const struct apply *a, const struct claim *c,
                     enum coord_event_kind kind, struct err *e)
{
    struct lock l;
    struct text name = {c->name, strlen(c->name)};
    int rc = lock_load(a->db, c->tenant, name, &l, e);
    if (rc < 0)
        return rc;
    if (c->token == 0) {
        rc = queue_drop(self, a, &l, c, kind, e);
    } else {
        lock_end(&l);
        coord_changed(self, c->tenant, c->name, strlen(c->name));
        rc = claim_delete(a->db, c, e);
        if (rc == 0)
            rc = claim_tell(self, c, kind, e);
    }
    if (rc == 0)
        rc = queue_advance(self, a, name, &l, e);
    return rc < 0 ? rc : lock_save(a->db, c->tenant, name, &l, e);
}

/* ---- acquire ---- */

static int ask_locked(const struct apply *a, const struct ask *k, const struct lock *l,
                      struct err *e)
{
    char since[TIME_TEXT], until[TIME_TEXT];
    struct claim c;
    int rc = claim_first(a->db, a->env->tenant, k->name, false, &c, e);
    if (rc < 0)
        return rc;
    if (rc == 0)
        return err_set(e, ERR_LOCKED, "'%.*s' is waited for", (int)k->name.n, k->name.p);
    time_format(c.since, since);
    time_format(c.expires, until);
    return err_set(e, ERR_LOCKED, "'%.*s' is held by '%s' since %s, until %s unless renewed%s",
                   (int)k->name.n, k->name.p, c.owner, since, until,
                   l->held > 1 ? ", and by others" : "");
}

static int ask_form(const struct ask *k, const struct lock *l, struct err *e)
{
    static const char *const names[] = {"", "a lease", "a semaphore", "a read-write lock"};
    if (l->form == 0 || (l->form == k->form && l->n == k->n))
        return 0;
    if (l->form == k->form)
        return err_field(e, ERR_CONFLICT, "n", "'%.*s' is a semaphore of %u, not of %u",
                         (int)k->name.n, k->name.p, l->n, k->n);
    return err_field(e, ERR_CONFLICT, "form", "'%.*s' is %s, and is held or waited for as such",
                     (int)k->name.n, k->name.p, names[l->form]);
}

static int ask_enter(struct coord *self, const struct apply *a, const struct ask *k, struct lock *l,
                     struct buf *result, struct err *e)
{
    bool held = lock_admits(l, k->exclusive);
    if (!held && k->wait == 0)
        return ask_locked(a, k, l, e);
    if (!held && l->waiting >= COORD_WAITERS_MAX)
        return err_set(e, ERR_QUEUE_FULL, "%d wait for '%.*s' already", COORD_WAITERS_MAX,
                       (int)k->name.n, k->name.p);
    int rc = store_use_add(a->db, a->env->tenant, COORD_USE_CLAIMS, 1, e);
    if (rc != 0)
        return rc;
    struct claim_row r = {.name = k->name,
                          .id = k->id,
                          .owner = k->owner,
                          .meta = k->meta,
                          .exclusive = k->exclusive,
                          .ttl = k->ttl,
                          .since = a->at,
                          .expires = a->at + (held ? k->ttl : k->wait),
                          .token = held ? a->seq : 0};
    if (held) {
        lock_grant(l, k->exclusive);
        coord_changed(self, a->env->tenant, k->name.p, k->name.n);
    } else {
        l->waiting++;
    }
    coord_due(self, r.expires);
    rc = claim_insert(a->db, a->env->tenant, &r, e);
    if (rc == 0)
        rc = lock_save(a->db, a->env->tenant, k->name, l, e);
    if (rc == 0)
        grant_result(result, held, r.token, r.expires);
    return rc;
}

/* Asked again with the same id: as it stands. */
static int ask_again(const struct ask *k, const struct claim *c, struct buf *result, struct err *e)
{
    if (strlen(c->name) != k->name.n || memcmp(c->name, k->name.p, k->name.n) != 0)
        return err_field(e, ERR_CONFLICT, "id", "the id '%s' is one of a claim of another name",
                         c->id);
    grant_result(result, c->token > 0, c->token, c->expires);
    return 0;
}

int coord_apply_acquire(void *self, const struct apply *a, uint8_t version, struct cursor *c,
                        struct buf *result, struct err *e)
{
    (void)version;
    struct ask k;
    struct claim mine;
    struct lock l;
    int rc = ask_decode(c, &k, e);
    if (rc == 0)
        rc = claim_by_id(a->db, a->env->tenant, k.id, &mine, e);
    if (rc != 0)
        return rc < 0 ? rc : ask_again(&k, &mine, result, e);
    rc = lock_load(a->db, a->env->tenant, k.name, &l, e);
    if (rc == 0)
        rc = queue_advance(self, a, k.name, &l, e);
    if (rc == 0 && l.held == 0 && l.waiting == 0)
        l = (struct lock){.form = 0}; /* all who waited were gone */
    if (rc == 0)
        rc = ask_form(&k, &l, e);
    if (rc != 0)
        return rc;
    l.form = k.form;
    l.n = k.n;
    return ask_enter(self, a, &k, &l, result, e);
}

/* ---- holders ---- */

struct held {
    struct text name, id;
    uint64_t token;
};

static void held_decode(struct cursor *c, struct held *h)
{
    h->name = coord_text(c, 1, COORD_KEY_BYTES);
    h->token = cursor_u64(c);
    h->id = coord_text(c, 0, COORD_ID_BYTES);
    if (h->token == 0 || h->token > INT64_MAX)
        c->bad = true;
}

/* ERR_FENCED names who has it now. */
static int held_find(const struct apply *a, const struct held *h, struct claim *out, struct err *e)
{
    struct claim other;
    int rc = claim_held(a->db, a->env->tenant, h->name, h->token, h->id, out, e);
    if (rc != 0)
        return rc < 0 ? rc : 0;
    rc = claim_first(a->db, a->env->tenant, h->name, false, &other, e);
    if (rc < 0)
        return rc;
    if (rc == 0)
        return err_set(e, ERR_FENCED, "'%.*s' is not held under token %llu any more",
                       (int)h->name.n, h->name.p, (unsigned long long)h->token);
    return err_set(e, ERR_FENCED,
                   "'%.*s' is not held under token %llu any more; '%s' has it under %llu",
                   (int)h->name.n, h->name.p, (unsigned long long)h->token, other.owner,
                   (unsigned long long)other.token);
}

/* For whoever else is applied in this unit. */
static int held_prove(struct coord *c, const struct apply *a, struct text name, struct err *e)
{
    if (c->proven_seq != a->seq || c->proven_unit != a->unit)
        buf_reset(&c->proven);
    c->proven_seq = a->seq;
    c->proven_unit = a->unit;
    buf_add(&c->proven, name.p, name.n);
    buf_add_u8(&c->proven, 0);
    return buf_failed(&c->proven) ? err_set(e, ERR_NOMEM, "no memory for what a unit holds") : 0;
}

int coord_apply_held(void *self, const struct apply *a, uint8_t version, struct cursor *c,
                     struct buf *result, struct err *e)
{
    (void)version, (void)result;
    struct held h;
    struct claim found;
    held_decode(c, &h);
    int rc = cursor_whole(c, "lease.check", e);
    if (rc == 0)
        rc = held_find(a, &h, &found, e);
    return rc < 0 ? rc : held_prove(self, a, h.name, e);
}

static bool held_is_proven(const struct coord *c, const struct apply *a, const char *name)
{
    if (c->proven_seq != a->seq || c->proven_unit != a->unit)
        return false;
    const char *p = (const char *)c->proven.data;
    for (size_t at = 0, n; at < c->proven.len; at += n + 1) {
        n = strlen(p + at);
        if (strcmp(p + at, name) == 0)
            return true;
    }
    return false;
}

int coord_lease_check(void *self, const struct apply *a, const char *name, bool free_too,
                      struct err *e)
{
    struct lock l;
    struct text key = {name, strlen(name)};
    struct ask k = {.name = key};
    int rc = lock_load(a->db, a->env->tenant, key, &l, e);
    if (rc < 0)
        return rc;
    bool alone = l.held > 0 && (l.form == COORD_LEASE || l.exclusive);
    if ((alone && held_is_proven(self, a, name)) || (free_too && l.held == 0))
        return 0;
    return l.held > 0 ? ask_locked(a, &k, &l, e)
                      : err_set(e, ERR_LOCKED, "nobody holds '%s'; acquire it first", name);
}

int coord_apply_renew(void *self, const struct apply *a, uint8_t version, struct cursor *c,
                      struct buf *result, struct err *e)
{
    (void)version;
    struct held h;
    struct claim found;
    held_decode(c, &h);
    int64_t ttl = (int64_t)cursor_u64(c);
    if (ttl != 0 && (ttl < COORD_TTL_MIN_MS || ttl > COORD_TTL_MAX_MS))
        c->bad = true;
    int rc = cursor_whole(c, "lease.renew", e);
    if (rc == 0)
        rc = held_find(a, &h, &found, e);
    if (rc < 0)
        return rc;
    if (ttl > 0)
        found.ttl = ttl;
    found.expires = a->at + found.ttl;
    coord_due(self, found.expires);
    rc = claim_update(a->db, &found, e);
    if (rc == 0)
        buf_add_u64(result, (uint64_t)found.expires);
    return rc;
}

static int claim_is_new(const struct apply *a, const struct claim *c, struct err *e)
{
    if (c->token != a->seq)
        return 0;
    return err_set(e, ERR_CONFLICT, "'%s' was granted to '%s' at this very moment; look again",
                   c->name, c->owner);
}

int coord_apply_release(void *self, const struct apply *a, uint8_t version, struct cursor *c,
                        struct buf *result, struct err *e)
{
    (void)version, (void)result;
    struct held h;
    struct claim found;
    held_decode(c, &h);
    int rc = cursor_whole(c, "lease.release", e);
    if (rc == 0)
        rc = held_find(a, &h, &found, e);
    if (rc == 0)
        rc = claim_is_new(a, &found, e);
    return rc < 0 ? rc : claim_end(self, a, &found, COORD_EVENT_LEFT, e);
}

/* Those who hold now; not those who come up as they go. */
int coord_apply_break(void *self, const struct apply *a, uint8_t version, struct cursor *c,
                      struct buf *result, struct err *e)
{
    (void)version, (void)result;
    struct claim found;
    struct lock l;
    struct text name = coord_text(c, 1, COORD_KEY_BYTES);
    int rc = cursor_whole(c, "lease.break", e);
    if (rc == 0)
        rc = lock_load(a->db, a->env->tenant, name, &l, e);
    if (rc == 0 && l.held == 0)
        rc = err_set(e, ERR_NOT_FOUND, "nobody holds '%.*s'", (int)name.n, name.p);
    for (uint32_t i = 0; rc == 0 && i < l.held; i++) {
        rc = claim_first(a->db, a->env->tenant, name, false, &found, e);
        if (rc > 0 && (rc = claim_is_new(a, &found, e)) == 0)
            rc = claim_end(self, a, &found, COORD_EVENT_LEFT, e);
    }
    return rc;
}

/* One that was granted in this very entry stays: the result says to come again. */
int coord_apply_leave(void *self, const struct apply *a, uint8_t version, struct cursor *c,
                      struct buf *result, struct err *e)
{
    (void)version;
    struct claim found;
    struct text name = coord_text(c, 1, COORD_KEY_BYTES), id = coord_text(c, 1, COORD_ID_BYTES);
    int rc = cursor_whole(c, "lease.leave", e);
    if (rc == 0)
        rc = claim_by_id(a->db, a->env->tenant, id, &found, e);
    if (rc < 0)
        return rc;
    bool mine = rc > 0 && strlen(found.name) == name.n && memcmp(found.name, name.p, name.n) == 0;
    bool is_new = mine && found.token == a->seq;
    buf_add_u8(result, !is_new);
    return mine && !is_new ? claim_end(self, a, &found, COORD_EVENT_LEFT, e) : 0;
}

/* Changes nothing when the claim was renewed, or granted, since it was looked at. */
int coord_apply_lapse(void *self, const struct apply *a, uint8_t version, struct cursor *c,
                      struct buf *result, struct err *e)
{
    (void)version;
    struct claim found;
    struct text id = coord_text(c, 1, COORD_ID_BYTES);
    uint64_t token = cursor_u64(c);
    int rc = cursor_whole(c, "lease.lapse", e);
    if (rc == 0)
        rc = claim_by_id(a->db, a->env->tenant, id, &found, e);
    if (rc < 0)
        return rc;
    bool over = rc > 0 && found.token == token && found.expires <= a->at;
    buf_add_u8(result, over);
    return over ? claim_end(self, a, &found, COORD_EVENT_OVER, e) : 0;
}
