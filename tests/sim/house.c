#include "sim/house.h"

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "db/db.h"
#include "support/sim_ledger.h"

enum {
    HOUSE_ROW = 0xff40,       /* text */
    HOUSE_ROW_FAILS = 0xff41, /* text */
    HOUSE_ANSWER_MS = 120 * 1000,
};
#define HOUSE_VFS "sim"

void house_init(struct house *h, uint64_t seed, FILE *trace, const struct house_files *f)
{
    struct err e = ERR_INIT;
    *h = (struct house){.sim = sim_new(seed, trace)};
    h->disk = sim_disk(h->sim);
    list_init(&h->units);
    h->options = (struct ledger_options){
        .dir = "data",
        .vfs = f->vfs != NULL ? f->vfs : HOUSE_VFS,
        .exclusive = true,
        .segment_bytes = f->segment_bytes,
        .snapshot_bytes = f->snapshot_bytes + sim_rand(h->sim, f->snapshot_more),
        .snapshot_entries = 5 + sim_rand(h->sim, f->snapshot_entries),
        .keep_ms = 1,
        .keep_bytes = 1 + sim_rand(h->sim, f->keep_bytes),
    };
    if (db_vfs_register(h->options.vfs, sim_world(h->sim)->disk, &e) != 0)
        sim_fail("%s", e.text);
}

uint64_t house_fini(struct house *h)
{
    uint64_t hash = sim_trace_hash(h->sim);
    db_vfs_unregister(h->options.vfs);
    sim_free(h->sim);
    return hash;
}

bool house_counts(const struct house *h)
{
    return !sim_is_frozen(h->sim);
}

/* ---- lives ---- */

void house_open(struct house *h, const struct domain *domains, size_t count)
{
    struct err e = ERR_INIT;
    sim_note(h->sim, "open");
    if (ledger_open(&h->options, sim_world(h->sim), domains, count, &h->ledger, &e) != 0)
        sim_fail("does not open: %s", e.text);
}

void house_close(struct house *h)
{
    if (!sim_ledger_close(h->sim, h->ledger))
        sim_fail("the ledger does not close");
    sim_run(h->sim, 10); /* answers are on their way */
    h->db = NULL;
}

void house_power_cut(struct house *h)
{
    sim_freeze(h->sim, "gone");
    sim_crash(h->sim, SIM_POWER_CUT);
}

void house_may_freeze(struct sim *s, uint64_t soon, uint64_t late)
{
    if (sim_chance(s, 80))
        simdisk_freeze_after(sim_disk(s), 1 + sim_rand(s, sim_chance(s, 20) ? soon : late));
}

void house_dies(struct sim *s)
{
    if (sim_died_of(s) != NULL)
        sim_fail("the node died on a healthy disk: %s", sim_died_of(s));
    sim_freeze(s, "gone");
    sim_crash(s, sim_chance(s, 30) ? SIM_KILL : SIM_POWER_CUT);
}

void house_life(struct house *h, const struct house_life *l)
{
    house_may_freeze(h->sim, l->soon, l->late);
    l->open(h);
    l->live(h);
    if (sim_chance(h->sim, 70))
        sim_freeze(h->sim, "end of life");
    l->close(h);
    house_dies(h->sim);
    simdisk_freeze_after(h->disk, 0);
}

void house_pass(struct house *h, uint64_t ms, uint64_t events)
{
    if (sim_chance(h->sim, 40))
        sim_run(h->sim, sim_rand(h->sim, ms));
    else
        for (uint64_t n = sim_rand(h->sim, events); n > 0; n--)
            sim_step(h->sim);
}

/* ---- units ---- */

void house_unit_init(struct house *h, struct house_unit *u, void (*done)(struct unit *u))
{
    unit_init(&u->unit, sim_client(h->sim), done);
    list_push(&h->units, &u->node);
}

void house_unit_again(struct house *h, struct house_unit *u, void (*done)(struct unit *u))
{
    unit_fini(&u->unit);
    unit_init(&u->unit, sim_client(h->sim), done);
}

void house_unit_fini(struct house_unit *u)
{
    list_remove(&u->node);
    unit_fini(&u->unit);
}

static bool units_are_answered(void *arg)
{
    return list_is_empty(&((struct house *)arg)->units);
}

void house_settle(struct house *h)
{
    if (!sim_run_until(h->sim, units_are_answered, h, HOUSE_ANSWER_MS))
        sim_fail("a unit has no answer after two minutes");
}

/* ---- rows ---- */

static int row_add(const struct apply *a, struct cursor *c, struct err *e)
{
    size_t n;
    const char *name = cursor_bytes(c, &n);
    AUTO(db_stmt_donep)
    struct db_stmt *s = db_stmt_get(
        a->db, "INSERT INTO sim_rows VALUES(?1, 1) ON CONFLICT DO UPDATE SET times = times + 1", e);
    if (s == NULL)
        return e->code;
    db_bind_text(s, 1, name, n);
    int rc = db_step(s, e);
    return rc < 0 ? rc : 0;
}

static int row_apply(void *self, const struct apply *a, uint8_t version, struct cursor *c,
                     struct buf *result, struct err *e)
{
    (void)self, (void)version, (void)result;
    return row_add(a, c, e);
}

static int row_apply_fails(void *self, const struct apply *a, uint8_t version, struct cursor *c,
                           struct buf *result, struct err *e)
{
    (void)self, (void)version, (void)result;
    int rc = row_add(a, c, e);
    return rc < 0 ? rc : err_set(e, ERR_REJECTED, "as ordered");
}

static int rows_opened(void *self, struct db *db, struct err *e)
{
    ((struct house *)self)->db = db;
    return db_exec(db, "CREATE TABLE IF NOT EXISTS sim_rows(name TEXT PRIMARY KEY, times NOT NULL)",
                   e);
}

struct domain house_rows(struct house *h)
{
    static const struct domain_op ops[] = {
        {.type = HOUSE_ROW,
         .version_max = 1,
         .safety = DOMAIN_SURE,
         .name = "sim.row",
         .apply = row_apply},
        {.type = HOUSE_ROW_FAILS,
         .version_max = 1,
         .safety = DOMAIN_PARTIAL,
         .name = "sim.row_fails",
         .apply = row_apply_fails},
    };
    return (struct domain){
        .name = "sim", .self = h, .ops = ops, .ops_count = ARRAY_LEN(ops), .opened = rows_opened};
}

void house_row(struct txn *t, const char *name)
{
    buf_add_text(txn_begin(t, HOUSE_ROW, 1), name);
    txn_end(t);
}

void house_row_fails(struct txn *t, const char *name)
{
    buf_add_text(txn_begin(t, HOUSE_ROW_FAILS, 1), name);
    txn_end(t);
}

int64_t house_number(struct house *h, const char *sql, const char *text)
{
    struct err e = ERR_INIT;
    struct db_stmt *s = db_stmt_get(h->db, sql, &e);
    if (s == NULL)
        sim_fail("%s", e.text);
    if (text != NULL)
        db_bind_str(s, 1, text);
    int rc = db_step(s, &e);
    int64_t n = rc > 0 ? db_col_int(s, 0) : 0;
    db_stmt_done(s);
    if (rc < 0)
        sim_fail("%s", e.text);
    return n;
}

int64_t house_times(struct house *h, const char *name)
{
    return house_number(h, "SELECT times FROM sim_rows WHERE name = ?1", name);
}
