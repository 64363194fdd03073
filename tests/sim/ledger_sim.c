/* The ledger on a disk that forgets.
 *
 * One node lives several lives on the same disk. In each, producers propose units of the toy
 * domain, some of them again under the same id; the clock jumps, the disk fills up or fails, and at
 * some I/O the node freezes. What the ledger has said while it was alive must hold in the next
 * life:
 *   1. an acknowledged unit is there, once; a refused one is not (L2);
 *   2. no unit is there in part, or twice under one id (L1);
 *   3. the tables are what the model makes of the applied units in log order, and each answer is
 *      the model's answer;
 *      units that change only memory among them, which leave the database alone;
 *   4. the running state hash is that of the rows (L3), and the memory of the hot domain is that of
 *      the model and has seen each entry once, whichever of its saves the start began with;
 *   5. every proposal of a living node is answered, once, and the ledger closes.
 *
 * Guarantees: L1 L2 L3. */
#include <string.h>

#include "base/err.h"
#include "base/list.h"
#include "base/mem.h"
#include "db/db.h"
#include "ledger/domain.h"
#include "ledger/ledger.h"
#include "sim/scenario.h"
#include "sim/toy.h"
#include "support/simdisk.h"
#include "support/simworld.h"

enum { LIVES_MAX = 6, PLANS_MAX = 6000, CLOSE_MS = 120000, JUMPS_MAX = 4, FLIPS_MAX = 3 };

static const uint64_t REPEAT_NS = 300ull * 1000 * 1000 * 1000;

struct run {
    struct sim *sim;
    struct simdisk *disk;
    struct ledger_options options;
    struct ledger *ledger;
    struct toy toy;
    struct ember hot;
    size_t ballast;
    struct plan *plans;
    uint32_t plans_count;
    struct list outstanding;
    unsigned jumps;
    bool was_killed;
    bool flipped;         /* bits of the log */
    bool closed, excused; /* a fault of the disk was ordered: dying is right */
    uint64_t full_until;

    struct toy_model model;
    int64_t model_at; /* the last unit that the model has applied */
    int64_t applied;
    uint64_t answers, lives;
};

struct proposal {
    struct unit unit; /* first: what done() gets */
    struct list list;
    struct run *run;
    struct plan *plan;
    bool again;
};

/* ---- Proposals ---- */

static void proposal_free(struct proposal *p)
{
    list_remove(&p->list);
    unit_fini(&p->unit);
    mem_free(p);
}

static void proposal_acked(struct proposal *p)
{
    struct plan *plan = p->plan;
    int64_t results[TOY_OPS_MAX] = {0};
    plan_results(plan, &p->unit, results);
    if (plan->acked && memcmp(results, plan->results, sizeof(results)) != 0)
        sim_fail("unit %u was answered differently the second time", plan->serial);
    if (plan->acked && !p->unit.repeated)
        sim_fail("unit %u was applied again in entry %llu", plan->serial,
                 (unsigned long long)p->unit.seq);
    if (!p->again && p->unit.repeated)
        sim_fail("unit %u is new but was called a repeat", plan->serial);
    memcpy(plan->results, results, sizeof(results));
    plan->acked = true;
    if (!p->unit.repeated) /* a repeat brings the first results, but its own entry */
        plan->seq = p->unit.seq;
    plan->unit = (uint32_t)results[plan->count - 1];
}

/* A refusal by the domain must name an operation that can refuse so. */
static void proposal_refused(struct proposal *p)
{
    const struct plan *plan = p->plan;
    int code = p->unit.err.code, at = p->unit.failed_op;
    if (at >= (int)plan->count)
        sim_fail("unit %u failed at operation %d of %zu", plan->serial, at, plan->count);
    enum toy_kind kind = at < 0 ? TOY_AUDIT : plan->ops[at].kind;
    bool is_condition = kind == TOY_IF_VERSION || kind == TOY_EMBER_IS;
    bool has_max = kind == TOY_ADD_MAX || kind == TOY_EMBER_ADD_MAX;
    bool right = is_condition       ? code == ERR_VERSION_MISMATCH
                 : has_max          ? code == ERR_CONFLICT
                 : kind == TOY_FAIL ? code == ERR_REJECTED
                                    : at < 0;
    if (!right)
        sim_fail("unit %u: operation %d refused with %s: %s", plan->serial, at,
                 err_info(code)->name, p->unit.err.text);
    if (at < 0 && code != ERR_DISK_FULL && code != ERR_OVERLOADED && code != ERR_DRAINING &&
        code != ERR_NO_LEADER)
        sim_fail("unit %u: refused with %s: %s", plan->serial, err_info(code)->name,
                 p->unit.err.text);
    p->plan->refused = true;
}

static void proposal_done(struct unit *u)
{
    struct proposal *p = (struct proposal *)u;
    struct run *r = p->run;
    int code = u->err.code;
    sim_event(r->sim, "answer", err_info(code)->name, p->plan->serial, u->seq);
    r->answers++;
    if (sim_is_frozen(r->sim) || code == ERR_TIMEOUT || code == ERR_INTERNAL)
        p->plan->unknown = true;
    else if (code == 0)
        proposal_acked(p);
    else
        proposal_refused(p);
    proposal_free(p);
}

static void propose(struct run *r, struct plan *plan, bool again)
{
    struct proposal *p = mem_new(sizeof(*p));
    struct err e = ERR_INIT;
    list_init(&p->list);
    p->run = r;
    p->plan = plan;
    p->again = again;
    unit_init(&p->unit, sim_client(r->sim), proposal_done);
    plan_fill(plan, &p->unit.txn);
    sim_event(r->sim, again ? "propose again" : "propose", "", plan->serial, 0);
    int rc = ledger_propose(r->ledger, &p->unit, &e);
    if (rc == 0) {
        list_push(&r->outstanding, &p->list);
        return;
    }
    if (!sim_is_frozen(r->sim) && rc != ERR_DISK_FULL && rc != ERR_OVERLOADED)
        sim_fail("unit %u was not taken: %s", plan->serial, e.text);
    plan->refused = true;
    proposal_free(p);
}

/* Ids are remembered for 15 minutes of ledger time, to which the jumps of the clock add at most 8.
 */
static bool may_repeat(const struct run *r, const struct plan *p)
{
    return p->has_id && !p->refused && sim_now_ns(r->sim) - p->born_ns < REPEAT_NS;
}

static void propose_some(struct run *r)
{
    uint64_t count = sim_chance(r->sim, 4) ? 150 : 1 + sim_rand(r->sim, 6);
    while (count-- > 0 && r->plans_count < PLANS_MAX) {
        struct plan *old = r->plans_count == 0 ? NULL : &r->plans[sim_rand(r->sim, r->plans_count)];
        bool again = old != NULL && may_repeat(r, old) && sim_chance(r->sim, 10);
        if (!again) {
            old = &r->plans[r->plans_count];
            plan_make(old, r->sim, r->plans_count++);
        }
        propose(r, old, again);
    }
}

/* ---- Checks ---- */

static void check_unit(struct run *r, uint32_t serial, int64_t at, int64_t times)
{
    if (serial >= r->plans_count)
        sim_fail("unit %u was never proposed", serial);
    struct plan *p = &r->plans[serial];
    if (times != 1 || p->applied)
        sim_fail("unit %u was applied %lld times", serial, (long long)times);
    if (p->refused && !p->unknown && !p->acked)
        sim_fail("unit %u was refused and yet applied", serial);
    int64_t results[TOY_OPS_MAX] = {0};
    int failed_op = -1;
    int rc = toy_model_apply(&r->model, p, results, &failed_op);
    if (rc != 0)
        sim_fail("unit %u was applied, the model refuses operation %d: %s", serial, failed_op,
                 err_info(rc)->name);
    results[p->count - 1] = at & 0xffff;
    if (p->acked && (memcmp(results, p->results, sizeof(results)) != 0 ||
                     (p->seq != 0 && at != (int64_t)(p->seq << 16 | p->unit))))
        sim_fail("unit %u was answered wrongly", serial);
    p->applied = true;
    r->model_at = at;
    r->applied++;
}

/* Of units that changed only memory, up to `at`. */
static void check_hot_units(struct run *r, uint32_t *next, int64_t at)
{
    for (; *next < r->hot.now.audits && r->hot.audits[*next].at < at; ++*next)
        check_unit(r, (uint32_t)r->hot.audits[*next].n, r->hot.audits[*next].at, 1);
}

static void check_new_units(struct run *r)
{
    struct err e = ERR_INIT;
    uint32_t next = 0;
    while (next < r->hot.now.audits && r->hot.audits[next].at <= r->model_at)
        next++;
    struct db_stmt *s = db_stmt_get(
        r->toy.db, "SELECT serial, at, times FROM toy_audit WHERE at > ?1 ORDER BY at", &e);
    if (s == NULL)
        sim_fail("audit: %s", e.text);
    db_bind_int(s, 1, r->model_at);
    int rc;
    while ((rc = db_step(s, &e)) > 0) {
        check_hot_units(r, &next, db_col_int(s, 1));
        check_unit(r, (uint32_t)db_col_int(s, 0), db_col_int(s, 1), db_col_int(s, 2));
    }
    db_stmt_done(s);
    check_hot_units(r, &next, INT64_MAX);
    if (rc < 0)
        sim_fail("audit: %s", e.text);
}

static int64_t audited(struct run *r)
{
    struct err e = ERR_INIT;
    struct db_stmt *s =
        db_stmt_get(r->toy.db, "SELECT count(*) FROM toy_audit WHERE times = 1", &e);
    if (s == NULL || db_step(s, &e) != 1)
        sim_fail("audit: %s", e.text);
    int64_t n = db_col_int(s, 0);
    db_stmt_done(s);
    return n + r->hot.now.audits;
}

static void check_hash(struct run *r)
{
    uint64_t scan = 0;
    struct err e = ERR_INIT;
    if (db_hash_scan(r->toy.db, &scan, &e) != 0)
        sim_fail("%s", e.text);
    if (scan != db_hash(r->toy.db))
        sim_fail("the running state hash is not that of the rows");
}

static void check(struct run *r)
{
    /* Our own reading shall not meet a fault that was meant for the ledger. */
    r->excused = r->excused || simdisk_failed(r->disk);
    simdisk_fail(r->disk, SIMDISK_READ, 0);
    check_new_units(r);
    if (audited(r) != r->applied)
        sim_fail("%lld units are there, %lld should be", (long long)audited(r),
                 (long long)r->applied);
    for (uint32_t i = 0; i < r->plans_count; i++)
        if (r->plans[i].acked && !r->plans[i].applied)
            sim_fail("acknowledged unit %u (entry %llu) is lost", i,
                     (unsigned long long)r->plans[i].seq);
    toy_compare(r->toy.db, &r->model);
    toy_compare_hot(&r->hot, &r->model, r->flipped);
    if (r->hot.now.entries != ledger_applied(r->ledger))
        sim_fail("the hot domain has seen %llu entries of %llu",
                 (unsigned long long)r->hot.now.entries,
                 (unsigned long long)ledger_applied(r->ledger));
    check_hash(r);
    sim_event(r->sim, "checked", "", (uint64_t)r->applied, db_hash(r->toy.db));
}

/* ---- Lives ---- */

static void run_closed(void *arg)
{
    ((struct run *)arg)->closed = true;
}

static bool run_is_closed(void *arg)
{
    struct run *r = arg;
    return r->closed || sim_died_of(r->sim) != NULL;
}

static bool run_is_idle(void *arg)
{
    struct run *r = arg;
    return list_is_empty(&r->outstanding) || sim_is_frozen(r->sim);
}

static int run_open(struct run *r, struct err *e)
{
    r->toy = (struct toy){0};
    r->hot = (struct ember){.ballast = r->ballast};
    struct domain domains[] = {toy_domain(&r->toy), ember_domain(&r->hot)};
    sim_note(r->sim, "open");
    int rc =
        ledger_open(&r->options, sim_world(r->sim), domains, ARRAY_LEN(domains), &r->ledger, e);
    if (rc != 0)
        sim_note(r->sim, "open: %s", e->text);
    r->hot.ledger = rc == 0 ? r->ledger : NULL;
    return rc;
}

static uint32_t first_outstanding(const struct run *r)
{
    return LIST_OF(r->outstanding.next, struct proposal, list)->plan->serial;
}

/* As a crash leaves it: nobody is answered any more. */
static void run_drop(struct run *r)
{
    sim_halt(r->sim);
    ledger_drop(r->ledger);
    r->ledger = NULL;
    while (!list_is_empty(&r->outstanding)) {
        struct proposal *p = LIST_OF(r->outstanding.next, struct proposal, list);
        p->plan->unknown = true;
        proposal_free(p);
    }
}

static void run_check_death(struct run *r)
{
    const char *why = sim_died_of(r->sim);
    if (why != NULL && !r->excused && !simdisk_failed(r->disk))
        sim_fail("the node died on a healthy disk: %s", why);
}

static void run_close(struct run *r)
{
    sim_note(r->sim, "close");
    r->closed = false;
    ledger_close(r->ledger, run_closed, r);
    if (!sim_run_until(r->sim, run_is_closed, r, CLOSE_MS))
        sim_fail("the ledger does not close");
    if (!r->closed) {
        run_check_death(r);
        run_drop(r);
        return;
    }
    sim_run(r->sim, 10); /* answers are on their way */
    if (!list_is_empty(&r->outstanding))
        sim_fail("unit %u was never answered", first_outstanding(r));
    r->ledger = NULL;
}

static void order_fault(struct run *r)
{
    switch (sim_rand(r->sim, 12)) {
    case 0:
        simdisk_fail(r->disk, SIMDISK_WRITE, 1 + sim_rand(r->sim, 30));
        break;
    case 1:
        simdisk_fail(r->disk, SIMDISK_SYNC, 1 + sim_rand(r->sim, 30));
        break;
    case 2:
        simdisk_fail(r->disk, SIMDISK_READ, 1 + sim_rand(r->sim, 30));
        break;
    default:
        break;
    }
}

static void fill_disk(struct run *r)
{
    uint64_t left = sim_chance(r->sim, 50) ? 0 : sim_rand(r->sim, 100000);
    sim_event(r->sim, "disk full", "", left, 0);
    simdisk_capacity(r->disk, simdisk_used(r->disk) + left);
    r->full_until = sim_now_ns(r->sim) + sim_rand(r->sim, 3000) * 1000000;
}

static void empty_disk(struct run *r)
{
    simdisk_capacity(r->disk, 1ull << 40);
    r->full_until = 0;
    sim_note(r->sim, "disk has room");
}

static void weather(struct run *r)
{
    if (r->jumps < JUMPS_MAX && sim_chance(r->sim, 2)) {
        r->jumps++;
        sim_clock_jump(r->sim, (int64_t)sim_rand(r->sim, 240000) - 120000);
    }
    if (r->full_until == 0 && sim_chance(r->sim, 1))
        fill_disk(r);
    if (r->full_until != 0 && sim_now_ns(r->sim) > r->full_until)
        empty_disk(r);
}

static void run_settle(struct run *r)
{
    if (r->full_until != 0)
        empty_disk(r);
    if (!sim_run_until(r->sim, run_is_idle, r, 30000))
        sim_fail("unit %u has no answer after 30 s", first_outstanding(r));
    if (!sim_is_frozen(r->sim))
        check(r);
}

static void run_live(struct run *r)
{
    uint64_t turns = 20 + sim_rand(r->sim, 200);
    while (turns-- > 0 && !sim_is_frozen(r->sim)) {
        weather(r);
        if (sim_chance(r->sim, 60))
            propose_some(r);
        if (sim_chance(r->sim, 2))
            sim_run(r->sim, sim_rand(r->sim, 3000));
        else
            for (uint64_t steps = sim_rand(r->sim, 12); steps > 0; steps--)
                sim_step(r->sim);
        if (sim_chance(r->sim, 2) && !sim_is_frozen(r->sim))
            run_settle(r);
    }
}

static void run_crash(struct run *r)
{
    sim_freeze(r->sim, "gone");
    r->was_killed = sim_chance(r->sim, 30);
    sim_crash(r->sim, r->was_killed ? SIM_KILL : SIM_POWER_CUT);
}

/* Opens, lives, dies. */
static void run_life(struct run *r)
{
    struct err e = ERR_INIT;
    r->lives++;
    r->excused = false;
    /* A short life after a kill: what the last one had written was read back, but is it synced? */
    bool is_short = sim_chance(r->sim, r->was_killed ? 60 : 30);
    if (sim_chance(r->sim, 75))
        simdisk_freeze_after(r->disk, 1 + sim_rand(r->sim, is_short ? 30 : 1500));
    simdisk_fail(r->disk, SIMDISK_READ, 0);
    order_fault(r);
    int rc = run_open(r, &e);
    if (rc != 0 && !sim_is_frozen(r->sim) && !simdisk_failed(r->disk))
        sim_fail("does not open: %s", e.text);
    if (rc == 0) {
        if (!sim_is_frozen(r->sim))
            check(r);
        run_live(r);
        if (sim_chance(r->sim, 30) && !sim_is_frozen(r->sim))
            run_settle(r);
        if (r->full_until != 0)
            empty_disk(r);
        if (sim_chance(r->sim, 70))
            sim_freeze(r->sim, "end of life");
        run_check_death(r);
        if (sim_is_frozen(r->sim) && (sim_died_of(r->sim) != NULL || sim_chance(r->sim, 80)))
            run_drop(r);
        else
            run_close(r);
    }
    run_crash(r);
}

/* A life without trouble: everything proposed before is there or can be had. */
static void run_epilogue(struct run *r)
{
    struct err e = ERR_INIT;
    simdisk_freeze_after(r->disk, 0);
    if (run_open(r, &e) != 0)
        sim_fail("does not open in peace: %s", e.text);
    check(r);
    for (uint32_t i = 0; i < r->plans_count; i++)
        if (r->plans[i].unknown && may_repeat(r, &r->plans[i]))
            propose(r, &r->plans[i], true);
    run_settle(r);
    for (int i = 0; i < 5; i++)
        propose_some(r);
    run_settle(r);
    run_close(r);
    sim_freeze(r->sim, "gone");
    sim_crash(r->sim, SIM_POWER_CUT);
    if (run_open(r, &e) != 0)
        sim_fail("does not open after a clean close: %s", e.text);
    check(r);
    run_close(r);
}

static void run_init(struct run *r, uint64_t seed, FILE *trace)
{
    static const uint64_t segments[] = {32 << 10, 64 << 10,  64 << 10,
                                        64 << 10, 256 << 10, 2500 << 10};
    *r = (struct run){.sim = sim_new(seed, trace), .model_at = -1};
    r->disk = sim_disk(r->sim);
    r->plans = mem_new_array(PLANS_MAX, sizeof(*r->plans));
    r->options = (struct ledger_options){
        .dir = "data",
        .vfs = "sim",
        .exclusive = true,
        .segment_bytes = segments[sim_rand(r->sim, ARRAY_LEN(segments))],
        .snapshot_bytes = 50000 + sim_rand(r->sim, 400000),
        .snapshot_entries = 10 + sim_rand(r->sim, 300),
        .keep_ms = 1 + (int64_t)sim_rand(r->sim, 5000),
        .keep_bytes = 1 + sim_rand(r->sim, 500000),
    };
    static const size_t ballasts[] = {0, 0, 3000, 3000, 20000, 600000};
    r->ballast = ballasts[sim_rand(r->sim, ARRAY_LEN(ballasts))];
    list_init(&r->outstanding);
    struct err e = ERR_INIT;
    if (db_vfs_register("sim", sim_world(r->sim)->disk, &e) != 0)
        sim_fail("%s", e.text);
}

static uint64_t run_fini(struct run *r)
{
    uint64_t hash = sim_trace_hash(r->sim);
    db_vfs_unregister("sim");
    mem_free(r->plans);
    sim_free(r->sim);
    return hash;
}

uint64_t ledger_sim(uint64_t seed, FILE *trace)
{
    struct run r;
    run_init(&r, seed, trace);
    uint64_t lives = 1 + sim_rand(r.sim, LIVES_MAX);
    while (lives-- > 0)
        run_life(&r);
    run_epilogue(&r);
    return run_fini(&r);
}

/* ---- Flipped bits ---- */

struct flip {
    char path[128];
    uint64_t byte;
    unsigned bit;
};

static size_t flip_some(struct run *r, struct flip flips[FLIPS_MAX])
{
    size_t files = 0, count = 1 + (size_t)sim_rand(r->sim, FLIPS_MAX);
    const char *part = sim_chance(r->sim, 20) ? "data/state/" : "data/log/";
    while (simdisk_path(r->disk, part, files) != NULL)
        files++;
    for (size_t i = 0; i < count; i++) {
        if (files == 0)
            return i;
        const char *path = simdisk_path(r->disk, part, sim_rand(r->sim, files));
        uint64_t size = (uint64_t)simdisk_size(r->disk, path);
        if (size == 0)
            return i;
        /* The front is where the headers are, and in a large file what was written at all. */
        uint64_t span = sim_chance(r->sim, 30) ? (size < 256 ? size : 256) : size;
        snprintf(flips[i].path, sizeof(flips[i].path), "%s", path);
        flips[i].byte = sim_rand(r->sim, span);
        flips[i].bit = (unsigned)sim_rand(r->sim, 8);
        simdisk_flip(r->disk, path, flips[i].byte, flips[i].bit);
    }
    return count;
}

/* Refused: says where, has not touched anything, and opens once the bits are right again. */
static void flip_refused(struct run *r, const struct flip *flips, size_t count, const struct err *e)
{
    bool names_state = strstr(e->text, "state/") != NULL;
    if (strstr(e->text, ".log") == NULL && strstr(e->text, "log/") == NULL && !names_state)
        sim_fail("damage is refused without naming the file: %s", e->text);
    if ((strstr(e->text, ".log") != NULL || names_state) && strstr(e->text, "offset") == NULL)
        sim_fail("damage is refused without naming the offset: %s", e->text);
    sim_freeze(r->sim, "gone");
    sim_crash(r->sim, SIM_KILL);
    for (size_t i = 0; i < count; i++) {
        /* What is in the making, or spare, holds nothing and may go. */
        bool spare =
            strstr(flips[i].path, ".tmp") != NULL || strstr(flips[i].path, "spare") != NULL;
        bool there = simdisk_size(r->disk, flips[i].path) > (int64_t)flips[i].byte;
        if (!there && !spare)
            sim_fail("refusing to start has removed or cut %s", flips[i].path);
        if (there)
            simdisk_flip(r->disk, flips[i].path, flips[i].byte, flips[i].bit);
    }
}

/* An entry that is not there, though it was acknowledged. False: more of them than there may be. */
static bool flip_note_lost(uint64_t lost[FLIPS_MAX], size_t *count, size_t max, uint64_t seq)
{
    for (size_t i = 0; i < *count; i++)
        if (lost[i] == seq)
            return true;
    if (*count == max)
        return false;
    lost[(*count)++] = seq;
    return true;
}

/* A damaged last record cannot be told from a torn one, and without its entry in the database it is
 * cut; then the one before it is the last. Each takes a flip of its own, and nothing that lies
 * before one that is there may go. */
static void flip_forgive_tail(struct run *r, size_t flips)
{
    uint64_t lost[FLIPS_MAX], there = 0;
    size_t count = 0;
    for (uint32_t i = 0; i < r->plans_count; i++)
        r->plans[i].applied = false;
    r->model = (struct toy_model){0};
    r->model_at = -1;
    r->applied = 0;
    check_new_units(r);
    for (uint32_t i = 0; i < r->plans_count; i++)
        if (r->plans[i].applied && r->plans[i].seq > there)
            there = r->plans[i].seq;
    for (uint32_t i = 0; i < r->plans_count; i++) {
        struct plan *p = &r->plans[i];
        if (p->acked && !p->applied && p->seq > there &&
            flip_note_lost(lost, &count, flips, p->seq))
            p->acked = !(p->unknown = true);
    }
}

uint64_t ledger_flip_sim(uint64_t seed, FILE *trace)
{
    struct run r;
    struct err e = ERR_INIT;
    struct flip flips[FLIPS_MAX];
    run_init(&r, seed, trace);
    if (run_open(&r, &e) != 0)
        sim_fail("does not open: %s", e.text);
    for (uint64_t rounds = 1 + sim_rand(r.sim, 15); rounds > 0; rounds--) {
        propose_some(&r);
        run_settle(&r);
    }
    /* After a clean close the database knows what the log must hold, so a lost tail shows. */
    bool clean = sim_chance(r.sim, 50);
    if (clean)
        run_close(&r);
    else
        run_drop(&r);
    run_crash(&r);
    size_t count = flip_some(&r, flips);
    r.flipped = true;
    if (run_open(&r, &e) != 0) {
        flip_refused(&r, flips, count, &e);
        if (run_open(&r, &e) != 0)
            sim_fail("does not open after the repair: %s", e.text);
    } else if (!clean) {
        flip_forgive_tail(&r, count);
    }
    check(&r);
    propose_some(&r);
    run_settle(&r);
    run_close(&r);
    return run_fini(&r);
}
