/* Leases, semaphores and read-write locks as rows, against what they promise and against a model
 * that is a plain list. */
#include <stdio.h>

#include "coord/coord_priv.h"
#include "db/db.h"
#include "ledger/domain.h"
#include "support/coord_lab.h"
#include "support/unit.h"

static struct coord_ask lease(const char *name, const char *id)
{
    return (struct coord_ask){.name = name, .id = id, .form = COORD_LEASE, .owner = id};
}

TEST(a_lease_has_one_holder_and_says_who) /* K1 */
{
    struct err e = ERR_INIT;
    struct coord_lab l;
    struct coord_grant a, b;
    coord_lab_open(&l);
    struct coord_ask k = lease("nightly", "ana");
    assert_int_equal(coord_lab_acquire(&l, &k, &a, &e), 0);
    assert_true(a.held);
    assert_int_equal(a.token, l.seq);
    assert_int_equal(a.expires, l.at + COORD_TTL_MS);
    k = lease("nightly", "ben");
    assert_refused(coord_lab_acquire(&l, &k, &b, &e), ERR_LOCKED,
                   "'nightly' is held by 'ana' since 2023-11-14T22:13:20.000Z, until "
                   "2023-11-14T22:13:50.000Z");
    k = lease("nightly", "ana"); /* the same claim again */
    assert_int_equal(coord_lab_acquire(&l, &k, &b, &e), 0);
    assert_int_equal(b.token, a.token);
    assert_int_equal(coord_lab_release(&l, "nightly", a.token, NULL, &e), 0);
    k = lease("nightly", "ben");
    assert_int_equal(coord_lab_acquire(&l, &k, &b, &e), 0);
    assert_true(b.token > a.token);
    assert_refused(coord_lab_release(&l, "nightly", a.token, NULL, &e), ERR_FENCED,
                   "'ben' has it under");
    coord_lab_check(&l);
    coord_lab_close(&l);
}

TEST(waiters_get_it_in_their_order)
{
    struct err e = ERR_INIT;
    struct coord_lab l;
    struct coord_grant a, b, c, d;
    coord_lab_open(&l);
    struct coord_ask k = lease("x", "a");
    assert_int_equal(coord_lab_acquire(&l, &k, &a, &e), 0);
    k = lease("x", "b");
    k.wait_ms = 10000;
    assert_int_equal(coord_lab_acquire(&l, &k, &b, &e), 0);
    assert_false(b.held);
    assert_int_equal(b.expires, l.at + 10000);
    k = lease("x", "c");
    k.wait_ms = 60000;
    assert_int_equal(coord_lab_acquire(&l, &k, &c, &e), 0);
    l.at += 10000; /* b's wait is over */
    assert_int_equal(coord_lab_release(&l, "x", a.token, NULL, &e), 0);
    assert_int_equal(coord_claim_find(l.db, "default", "x", "b", &d, &e), ERR_NOT_FOUND);
    assert_int_equal(coord_claim_find(l.db, "default", "x", "c", &d, &e), 0);
    assert_true(d.held);
    assert_int_equal(d.token, l.seq);
    assert_int_equal(d.expires, l.at + COORD_TTL_MS);
    coord_lab_check(&l);
    coord_lab_close(&l);
}

TEST(a_lapse_that_comes_after_a_renewal_changes_nothing) /* K2 */
{
    struct err e = ERR_INIT;
    struct coord_lab l;
    struct coord_grant a;
    coord_lab_open(&l);
    struct coord_ask k = lease("x", "a");
    assert_int_equal(coord_lab_acquire(&l, &k, &a, &e), 0);
    assert_false(coord_lab_lapse(&l, "a", a.token));
    l.at += COORD_TTL_MS; /* its time is over, and nobody said so yet */
    assert_int_equal(coord_lab_renew(&l, "x", a.token, NULL, &e), 0);
    assert_false(coord_lab_lapse(&l, "a", a.token));
    l.at += COORD_TTL_MS - 1;
    assert_false(coord_lab_lapse(&l, "a", a.token));
    l.at += 1;
    assert_false(coord_lab_lapse(&l, "a", a.token + 1));
    assert_true(coord_lab_lapse(&l, "a", a.token));
    assert_refused(coord_lab_renew(&l, "x", a.token, NULL, &e), ERR_FENCED,
                   "is not held under token");
    coord_lab_close(&l);
}

TEST(a_unit_of_a_holder_that_is_one_no_more_changes_nothing) /* L4 */
{
    struct err e = ERR_INIT;
    struct coord_lab l;
    struct coord_grant a, b;
    struct txn t;
    int64_t n;
    bool found;
    coord_lab_open(&l);
    txn_init(&t);
    struct coord_ask k = lease("x", "a");
    assert_int_equal(coord_lab_acquire(&l, &k, &a, &e), 0);
    assert_int_equal(coord_txn_if_held(&t, &(struct coord_claim){"x", a.token, NULL}, &e), 0);
    assert_int_equal(coord_txn_add(&t, "n", 1, &e), 0);
    assert_int_equal(coord_lab_do(&l, &t, &e), 0);
    l.at += COORD_TTL_MS;
    assert_true(coord_lab_lapse(&l, "a", a.token));
    for (int i = 0; i < 2; i++) { /* held by nobody; by somebody else */
        assert_int_equal(coord_txn_add(&t, "n", 1, &e), 0);
        assert_int_equal(coord_txn_if_held(&t, &(struct coord_claim){"x", a.token, NULL}, &e), 0);
        assert_int_equal(coord_lab_do(&l, &t, &e), ERR_FENCED);
        k = lease("x", "b");
        assert_int_equal(coord_lab_acquire(&l, &k, &b, &e), 0);
    }
    assert_int_equal(coord_counter_get(l.db, "default", "n", &n, &found, &e), 0);
    assert_int_equal(n, 1);
    txn_fini(&t);
    coord_lab_close(&l);
}

TEST(a_grant_cannot_end_in_its_own_entry)
{
    struct err e = ERR_INIT;
    struct coord_lab l;
    struct coord_grant a;
    struct txn t;
    coord_lab_open(&l);
    txn_init(&t);
    struct coord_ask k = lease("x", "a");
    assert_int_equal(coord_lab_acquire(&l, &k, &a, &e), 0);
    l.same_entry = true;
    assert_int_equal(coord_txn_break(&t, "x", &e), 0);
    assert_refused(coord_lab_do(&l, &t, &e), ERR_CONFLICT, "at this very moment");
    l.same_entry = true;
    assert_int_equal(coord_txn_leave(&t, "x", "a", &e), 0);
    assert_int_equal(coord_lab_do(&l, &t, &e), 0);
    struct cursor c = coord_lab_result(&l, 0);
    assert_int_equal(cursor_u8(&c), 0);
    assert_int_equal(coord_txn_break(&t, "x", &e), 0);
    assert_int_equal(coord_lab_do(&l, &t, &e), 0);
    assert_int_equal(coord_txn_break(&t, "x", &e), 0);
    assert_refused(coord_lab_do(&l, &t, &e), ERR_NOT_FOUND, "nobody holds 'x'");
    txn_fini(&t);
    coord_lab_close(&l);
}

TEST(holders_of_a_semaphore_are_told_apart_by_their_ids)
{
    struct err e = ERR_INIT;
    struct coord_lab l;
    struct coord_grant a, b;
    coord_lab_open(&l);
    struct coord_ask k = {.name = "s", .id = "a", .form = COORD_SEMAPHORE, .n = 2};
    assert_int_equal(coord_lab_acquire(&l, &k, &a, &e), 0);
    k.id = "b";
    l.same_entry = true;
    assert_int_equal(coord_lab_acquire(&l, &k, &b, &e), 0);
    assert_int_equal(a.token, b.token);
    assert_refused(coord_lab_release(&l, "s", a.token, NULL, &e), ERR_INVALID, "by its id");
    k.id = "c";
    k.n = 3;
    assert_refused(coord_lab_acquire(&l, &k, &b, &e), ERR_CONFLICT, "a semaphore of 2, not of 3");
    k = lease("s", "c");
    assert_refused(coord_lab_acquire(&l, &k, &b, &e), ERR_CONFLICT, "is a semaphore");
    assert_int_equal(coord_lab_release(&l, "s", a.token, "a", &e), 0);
    assert_int_equal(coord_lab_release(&l, "s", a.token, NULL, &e), 0);
    k = lease("s", "c"); /* nobody has it: it may become something else */
    assert_int_equal(coord_lab_acquire(&l, &k, &b, &e), 0);
    coord_lab_close(&l);
}

TEST(what_is_asked_wrongly_is_refused)
{
    struct err e = ERR_INIT;
    struct txn t;
    char name[COORD_KEY_BYTES + 2], meta[COORD_META_BYTES + 2];
    memset(name, 'x', sizeof name);
    name[sizeof name - 1] = '\0';
    memset(meta, '1', sizeof meta);
    meta[sizeof meta - 1] = '\0';
    txn_init(&t);
    struct coord_ask k = lease(name, "a");
    assert_refused(coord_txn_acquire(&t, &k, &e), ERR_INVALID, "1 to 512 bytes");
    k = lease("", "a");
    assert_refused(coord_txn_acquire(&t, &k, &e), ERR_INVALID, "name: 1 to 512");
    k = lease("a\nb", "a");
    assert_refused(coord_txn_acquire(&t, &k, &e), ERR_INVALID, "control characters");
    k = lease("a", "a");
    k.ttl_ms = 999;
    assert_refused(coord_txn_acquire(&t, &k, &e), ERR_INVALID, "1s to 24h");
    k = lease("a", "a");
    k.wait_ms = 60001;
    assert_refused(coord_txn_acquire(&t, &k, &e), ERR_INVALID, "at most 60s");
    k = lease("a", "a");
    k.meta = meta;
    assert_refused(coord_txn_acquire(&t, &k, &e), ERR_TOO_LARGE, "4 KiB");
    k = lease("a", "a");
    k.form = COORD_SEMAPHORE;
    k.n = COORD_HOLDERS_MAX + 1;
    assert_refused(coord_txn_acquire(&t, &k, &e), ERR_INVALID, "1 to 10000 holders");
    assert_refused(coord_txn_if_held(&t, &(struct coord_claim){"a", 0, NULL}, &e), ERR_INVALID,
                   "the number that the grant gave");
    assert_int_equal(t.ops, 0);
    txn_fini(&t);
}

/* ---- against a model ---- */

enum { NAMES = 3, IDS = 40, STEPS = 6000 };

struct one {
    int id; /* 0: not there */
    bool exclusive;
    uint64_t token; /* 0: waits */
    int64_t expires, ttl;
};

/* A lock is the list of those who hold or want it, in the order of asking. */
struct model {
    enum coord_form form[NAMES];
    struct one list[NAMES][IDS + 1];
    int count[NAMES];
    uint64_t last[NAMES];
};

static uint32_t dice_state;
static uint32_t dice(uint32_t n)
{
    dice_state = dice_state * 1664525 + 1013904223;
    return (dice_state >> 8) % n;
}

static const struct one *model_find(const struct model *m, int name, int id)
{
    for (int i = 0; i < m->count[name]; i++)
        if (m->list[name][i].id == id)
            return &m->list[name][i];
    return NULL;
}

static bool model_fits(const struct model *m, int name, bool exclusive, uint32_t n)
{
    uint32_t held = 0;
    bool alone = false;
    for (int i = 0; i < m->count[name]; i++) {
        held += m->list[name][i].token > 0;
        alone |= m->list[name][i].token > 0 && m->list[name][i].exclusive;
    }
    return exclusive ? held == 0 : !alone && held < n;
}

static uint32_t model_n(const struct model *m, int name)
{
    return m->form[name] == COORD_LEASE       ? 1
           : m->form[name] == COORD_SEMAPHORE ? 3
                                              : COORD_HOLDERS_MAX;
}

static void model_drop(struct model *m, int name, int id)
{
    int k = 0;
    for (int i = 0; i < m->count[name]; i++)
        if (m->list[name][i].id != id)
            m->list[name][k++] = m->list[name][i];
    m->count[name] = k;
}

/* The first who waits, whoever fits, until one does not. */
static void model_advance(struct model *m, int name, const struct coord_lab *l, uint64_t seq)
{
    for (;;) {
        struct one *first = NULL;
        for (int i = 0; i < m->count[name] && first == NULL; i++)
            if (m->list[name][i].token == 0)
                first = &m->list[name][i];
        if (first == NULL)
            return;
        if (first->expires <= l->at) {
            model_drop(m, name, first->id);
            continue;
        }
        if (!model_fits(m, name, first->exclusive, model_n(m, name)))
            return;
        first->token = seq;
        first->expires = l->at + first->ttl;
        if (m->form[name] == COORD_LEASE) {
            assert_true(seq > m->last[name]);
            m->last[name] = seq;
        }
    }
}

static void model_compare(const struct model *m, struct coord_lab *l)
{
    for (int name = 0; name < NAMES; name++)
        for (int id = 1; id <= IDS; id++) {
            struct err e = ERR_INIT;
            struct coord_grant g = {.held = false};
            char name_text[16], id_text[32];
            snprintf(name_text, sizeof name_text, "n%d", name);
            snprintf(id_text, sizeof id_text, "%d-%d", name, id);
            const struct one *o = model_find(m, name, id);
            int rc = coord_claim_find(l->db, "default", name_text, id_text, &g, &e);
            assert_int_equal(rc, o != NULL ? 0 : ERR_NOT_FOUND);
            if (o == NULL)
                continue;
            assert_int_equal(g.token, o->token);
            assert_int_equal(g.expires, o->expires);
        }
}

static void model_acquire(struct model *m, struct coord_lab *l, int name, int id,
                          const char *name_text, const char *id_text)
{
    struct err e = ERR_INIT;
    struct coord_grant g;
    bool waits = dice(4) > 0;
    struct coord_ask k = {.name = name_text,
                          .id = id_text,
                          .form = m->form[name],
                          .n = 3,
                          .exclusive = dice(3) == 0,
                          .ttl_ms = 1000 + dice(5000),
                          .wait_ms = waits ? 1 + dice(4000) : 0};
    bool there = model_find(m, name, id) != NULL;
    int rc = coord_lab_acquire(l, &k, &g, &e);
    if (there) {
        assert_int_equal(rc, 0);
        return;
    }
    struct model before = *m;
    model_advance(m, name, l, l->seq);
    bool queue = false;
    for (int i = 0; i < m->count[name]; i++)
        queue |= m->list[name][i].token == 0;
    bool exclusive = k.exclusive && k.form == COORD_RW;
    bool now = !queue && model_fits(m, name, exclusive, model_n(m, name));
    if (!now && !waits) {
        assert_int_equal(rc, ERR_LOCKED);
        *m = before;
        return;
    }
    assert_int_equal(rc, 0);
    assert_int_equal(g.held, now);
    m->list[name][m->count[name]++] = (struct one){.id = id,
                                                   .exclusive = exclusive,
                                                   .token = now ? l->seq : 0,
                                                   .expires = l->at + (now ? k.ttl_ms : k.wait_ms),
                                                   .ttl = k.ttl_ms};
    if (now && k.form == COORD_LEASE) {
        assert_true(l->seq > m->last[name]);
        m->last[name] = l->seq;
    }
}

static void model_step(struct model *m, struct coord_lab *l)
{
    struct err e = ERR_INIT;
    char name_text[16], id_text[32];
    int name = (int)dice(NAMES), id = 1 + (int)dice(IDS);
    snprintf(name_text, sizeof name_text, "n%d", name);
    snprintf(id_text, sizeof id_text, "%d-%d", name, id);
    const struct one *o = model_find(m, name, id);
    uint32_t what = dice(10);
    l->at += dice(3) == 0 ? dice(400) : 0;
    if (what < 5) {
        model_acquire(m, l, name, id, name_text, id_text);
    } else if (what < 7) {
        uint64_t token = o != NULL && o->token > 0 ? o->token : 1 + dice(1000);
        bool right = o != NULL && o->token == token;
        int rc = coord_lab_release(l, name_text, token, id_text, &e);
        assert_int_equal(rc, right ? 0 : ERR_FENCED);
        if (right) {
            model_drop(m, name, id);
            model_advance(m, name, l, l->seq);
        }
    } else if (what == 7) {
        bool right = o != NULL && o->token > 0;
        int rc = coord_lab_renew(l, name_text, right ? o->token : 7, id_text, &e);
        assert_int_equal(rc, right ? 0 : ERR_FENCED);
        if (right)
            ((struct one *)o)->expires = l->at + o->ttl;
    } else {
        bool over = o != NULL && o->expires <= l->at;
        assert_int_equal(coord_lab_lapse(l, id_text, o != NULL ? o->token : 0), over);
        if (over) {
            model_drop(m, name, id);
            model_advance(m, name, l, l->seq);
        }
    }
}

static int check_as(struct coord_lab *l, uint64_t seq, const char *name, bool free_too,
                    struct err *e)
{
    struct envelope env = {.tenant = "default", .principal = "ana"};
    struct apply a = {.db = l->db, .seq = seq, .at = l->at, .env = &env};
    err_clear(e);
    return coord_lease_check(l->coord, &a, name, free_too, e);
}

TEST(what_a_unit_has_proven_counts_in_that_unit_alone) /* L4 */
{
    struct err e = ERR_INIT;
    struct coord_lab l;
    struct coord_grant a;
    struct txn t;
    coord_lab_open(&l);
    assert_int_equal(check_as(&l, 1, "x", true, &e), 0);
    assert_refused(check_as(&l, 1, "x", false, &e), ERR_LOCKED, "nobody holds 'x'");
    struct coord_ask k = lease("x", "a");
    assert_int_equal(coord_lab_acquire(&l, &k, &a, &e), 0);
    assert_refused(check_as(&l, l.seq + 1, "x", true, &e), ERR_LOCKED, "is held by 'a'");
    struct coord_claim c = {.name = "x", .token = a.token};
    txn_init(&t);
    assert_int_equal(coord_txn_if_held(&t, &c, &e), 0);
    assert_int_equal(coord_lab_do(&l, &t, &e), 0);
    assert_int_equal(check_as(&l, l.seq, "x", false, &e), 0);
    assert_refused(check_as(&l, l.seq, "xy", false, &e), ERR_LOCKED, "nobody");
    assert_refused(check_as(&l, l.seq + 1, "x", false, &e), ERR_LOCKED, "is held by 'a'");
    l.coord->domain.undo(l.coord, true); /* the entry was not to be, another takes its place */
    assert_refused(check_as(&l, l.seq, "x", false, &e), ERR_LOCKED, "is held by 'a'");
    txn_fini(&t);
    coord_lab_close(&l);
}

TEST(any_mixture_of_claims_does_what_a_plain_list_does) /* K1 */
{
    struct coord_lab l;
    static struct model m;
    for (uint32_t seed = 1; seed <= 3; seed++) {
        memset(&m, 0, sizeof m);
        m.form[0] = COORD_LEASE;
        m.form[1] = COORD_SEMAPHORE;
        m.form[2] = COORD_RW;
        dice_state = seed;
        coord_lab_open(&l);
        for (int i = 0; i < STEPS / 3; i++) {
            model_step(&m, &l);
            if (i % 50 == 0)
                model_compare(&m, &l);
        }
        model_compare(&m, &l);
        coord_lab_check(&l);
        coord_lab_close(&l);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HEAP_TEST(a_lease_has_one_holder_and_says_who),
        HEAP_TEST(waiters_get_it_in_their_order),
        HEAP_TEST(a_lapse_that_comes_after_a_renewal_changes_nothing),
        HEAP_TEST(a_unit_of_a_holder_that_is_one_no_more_changes_nothing),
        HEAP_TEST(a_grant_cannot_end_in_its_own_entry),
        HEAP_TEST(holders_of_a_semaphore_are_told_apart_by_their_ids),
        HEAP_TEST(what_is_asked_wrongly_is_refused),
        HEAP_TEST(what_a_unit_has_proven_counts_in_that_unit_alone),
        HEAP_TEST(any_mixture_of_claims_does_what_a_plain_list_does),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
