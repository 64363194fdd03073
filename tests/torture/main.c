/* torture - one scenario, and every single thing that can go wrong in it.
 *
 * A life of a node on the simulated machine (definitions, saves, a unit of three, a refused unit,
 * patches, removals, a clean restart, checkpoints on the way) is run again and again; each time the
 * nth allocation, read, write or sync fails, the disk is full from the nth KiB on until somebody
 * clears up, or the power goes before the nth change of the disk. Then the machine starts again
 * without faults. What must hold:
 *   - what was acknowledged is there, what was refused is not, what is unknown is whole or not at
 * all;
 *   - where space came back the node went on by itself, without a restart;
 *   - the node works: another unit is taken.
 * Guarantees: L1 L2 H2. Each case is a process of its own, under the sanitizers, and must leave
 * nothing behind. Where there is no memory the process may end instead, as it does wherever it
 * cannot go on: what then is on the disk is the matter of the power cuts. */
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/stat.h"
#include "db/db.h"
#include "entity/entity.h"
#include "entity/read.h"
#include "ledger/domain.h"
#include "ledger/ledger.h"
#include "support/simdisk.h"
#include "support/simworld.h"

enum {
    IDS = 8,
    BIG = 9000,
    WAIT_MS = 120000,
    JOBS = 2,
    NOT_REACHED = 77,
    ENDED = 78,
    CASE_SECONDS = 60
};

enum fault { NO_MEMORY, NO_READ, NO_WRITE, NO_SYNC, DISK_FULL, POWER_CUT, FAULTS };
static const struct {
    const char *name;
    unsigned stride; /* one case of so many */
} faults[FAULTS] = {[NO_MEMORY] = {"no memory at allocation", 1},
                    [NO_READ] = {"failed read", 1},
                    [NO_WRITE] = {"failed write", 1},
                    [NO_SYNC] = {"failed sync", 1},
                    [DISK_FULL] = {"disk full after KiB", 2},
                    [POWER_CUT] = {"power cut at", 1}};

struct node {
    struct sim *sim;
    struct ledger_options options;
    struct entities *entities;
    struct entity_def *def;
    struct ledger *ledger;
    struct db *db;
    bool closed, answered;
    /* What each record's n must be, 0 where there is none; and what it may be as well since the
     * last unit, whose outcome is not known. */
    int now[IDS], other[IDS];
    bool unknown, was_full;
};

static enum fault current;
static unsigned long current_nth;

static _Noreturn __attribute__((format(printf, 1, 2))) void fail(const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    fprintf(stderr, "FAIL %s %lu: ", faults[current].name, current_nth);
    vfprintf(stderr, fmt, args);
    fprintf(stderr, "\n");
    va_end(args);
    _exit(1);
}

/* ---- the node ---- */

static int node_opened(void *self, struct db *db, struct err *e)
{
    (void)e;
    ((struct node *)self)->db = db;
    return 0;
}

static int node_open(struct node *n, struct err *e)
{
    n->entities = entities_new();
    struct domain domains[] = {*entities_domain(n->entities),
                               {.name = "tap", .self = n, .opened = node_opened}};
    int rc =
        ledger_open(&n->options, sim_world(n->sim), domains, ARRAY_LEN(domains), &n->ledger, e);
    if (rc != 0) {
        entities_free(n->entities);
        n->entities = NULL;
    }
    return rc;
}

static void node_closed(void *arg)
{
    ((struct node *)arg)->closed = true;
}

static bool node_is_closed(void *arg)
{
    return ((struct node *)arg)->closed || sim_is_frozen(((struct node *)arg)->sim);
}

/* However it stands: closed, dying, or not open. The machine may start again then. */
static void node_end(struct node *n)
{
    if (n->ledger == NULL)
        return;
    n->closed = false;
    if (!sim_is_frozen(n->sim)) {
        ledger_close(n->ledger, node_closed, n);
        if (!sim_run_until(n->sim, node_is_closed, n, WAIT_MS))
            fail("it does not close");
    }
    if (!n->closed) {
        sim_halt(n->sim);
        ledger_drop(n->ledger);
    }
    n->ledger = NULL;
    entities_free(n->entities);
    n->entities = NULL;
    n->db = NULL;
}

/* ---- units ---- */

static struct node *node; /* of this process */

static void unit_done(struct unit *u)
{
    (void)u;
    node->answered = true;
}

static bool unit_is_over(void *arg)
{
    return ((struct node *)arg)->answered || sim_is_frozen(((struct node *)arg)->sim);
}

struct change {
    int id, n; /* n 0: remove */
};

static int unit_build(struct node *n, struct unit *u, const struct change *c, size_t count,
                      struct err *e)
{
    char id[8], text[BIG + 64];
    unit_init(u, sim_client(n->sim), unit_done);
    for (size_t i = 0; i < count; i++) {
        snprintf(id, sizeof id, "r%d", c[i].id);
        if (c[i].n == 0) {
            entity_txn_remove(&u->txn, n->def, id, 0);
            continue;
        }
        snprintf(text, sizeof text, "{\"n\":%d,\"key\":\"%d-%d\",\"text\":\"%0*d\"}", c[i].n,
                 c[i].id, c[i].n, BIG, c[i].n);
        AUTO(json_unref) json_t *doc = json_read(text, strlen(text), e);
        AUTO(entity_doc_fini) struct entity_doc made;
        entity_doc_init(&made);
        if (doc == NULL || entity_doc_make(n->def, doc, 0, &made, NULL, e) != 0)
            return e->code;
        entity_txn_save(&u->txn, n->def, id, n->now[c[i].id] == 0 ? ENTITY_CREATE : ENTITY_UPSERT,
                        0, &made);
    }
    return txn_check(&u->txn, e);
}

/* Proposes and waits; 0, what refused it, or ERR_TIMEOUT where nobody knows. */
static int unit_run(struct node *n, struct unit *u, struct err *e)
{
    n->answered = false;
    int rc = ledger_propose(n->ledger, u, e);
    if (rc != 0)
        return rc;
    if (!sim_run_until(n->sim, unit_is_over, n, WAIT_MS))
        fail("a unit has no answer after two minutes");
    if (!n->answered) {
        sim_halt(n->sim); /* nothing touches the unit any more */
        return err_set(e, ERR_TIMEOUT, "the node died");
    }
    *e = u->err;
    return u->err.code == ERR_INTERNAL ? ERR_TIMEOUT : u->err.code;
}

/* ---- what is stored ---- */

static int stored(struct node *n, int id)
{
    struct err e = ERR_INIT;
    char name[8];
    json_t *record = NULL;
    snprintf(name, sizeof name, "r%d", id);
    int rc = entity_get_json(n->db, n->def, "default", name, &record, NULL, &e);
    if (rc == ERR_NOT_FOUND)
        return 0;
    if (rc != 0)
        fail("r%d cannot be read: %s", id, e.text);
    int found = (int)json_integer_value(json_object_get(record, "n"));
    json_decref(record);
    return found;
}

/* The disk was full until the client waited no more. Somebody clears up, and the node goes on by
 * itself: did it take the unit? */
static int settle(struct node *n, const int after[IDS])
{
    n->was_full = true;
    simdisk_capacity(sim_disk(n->sim), (uint64_t)1 << 40);
    sim_run(n->sim, 30000);
    bool is_now = true, is_after = true;
    for (int i = 0; i < IDS; i++) {
        int found = stored(n, i);
        is_now &= found == n->now[i];
        is_after &= found == after[i];
    }
    if (!is_now && !is_after)
        fail("a unit is half there after the disk was full");
    return is_after ? 0 : ERR_DISK_FULL;
}

/* ---- units with an outcome ---- */

/* The unit of these changes. Its outcome is noted. */
static int act(struct node *n, const struct change *c, size_t count)
{
    struct err e = ERR_INIT;
    struct unit u;
    int after[IDS];
    memcpy(after, n->now, sizeof after);
    for (size_t i = 0; i < count; i++)
        after[c[i].id] = c[i].n;
    int rc = unit_build(n, &u, c, count, &e);
    if (rc == 0)
        rc = unit_run(n, &u, &e);
    if (rc == ERR_TIMEOUT && current == DISK_FULL && !sim_is_frozen(n->sim))
        rc = settle(n, after);
    if (rc == 0) {
        memcpy(n->now, after, sizeof after);
    } else if (rc == ERR_TIMEOUT) {
        memcpy(n->other, after, sizeof after);
        n->unknown = true;
        sim_halt(n->sim);
    }
    unit_fini(&u);
    return rc;
}

static int define(struct node *n)
{
    struct err e = ERR_INIT;
    struct unit u;
    unit_init(&u, sim_client(n->sim), unit_done);
    entity_txn_define(&u.txn, n->def);
    int rc = txn_check(&u.txn, &e);
    if (rc == 0)
        rc = unit_run(n, &u, &e);
    unit_fini(&u);
    return rc;
}

/* ---- the life ---- */

/* A refusal is tried again: what failed fails once, and space comes back. */
static bool again(struct node *n, int rc)
{
    if (rc == ERR_DISK_FULL) { /* somebody clears up */
        n->was_full = true;
        simdisk_capacity(sim_disk(n->sim), (uint64_t)1 << 40);
        sim_run(n->sim, 30000);
    }
    return rc != 0 && rc != ERR_TIMEOUT && !sim_is_frozen(n->sim);
}

static bool must(struct node *n, const struct change *c, size_t count)
{
    int rc = act(n, c, count);
    for (int i = 0; i < 3 && again(n, rc); i++)
        rc = act(n, c, count);
    if (rc != 0 && rc != ERR_TIMEOUT)
        fail("a unit is refused for ever: %s", err_info(rc)->name);
    return rc == 0;
}

#define MUST(...)                                                                                  \
    (must(n, (struct change[]){__VA_ARGS__},                                                       \
          sizeof((struct change[]){__VA_ARGS__}) / sizeof(struct change)))

static bool begin(struct node *n)
{
    struct err e = ERR_INIT;
    if (node_open(n, &e) != 0)
        return false;
    int rc = define(n);
    for (int i = 0; i < 3 && again(n, rc); i++)
        rc = define(n);
    return rc == 0;
}

/* False: it came to an untimely end, which is for the machine's next start to mend. */
static bool life(struct node *n)
{
    if (!begin(n) || !MUST({0, 1}) || !MUST({1, 1}) || !MUST({2, 1}, {3, 1}, {4, 1}) ||
        !MUST({0, 2}))
        return false;
    /* Its second operation removes what is not there: the first leaves no trace. */
    int rc = act(n, (struct change[]){{1, 7}, {7, 0}}, 2);
    if (rc == 0)
        fail("a record that is not there was removed");
    if (rc == ERR_TIMEOUT || sim_is_frozen(n->sim) || !MUST({1, 0}) || !MUST({5, 1}, {2, 2}))
        return false;
    node_end(n);
    if (sim_is_frozen(n->sim) || !begin(n) || !MUST({3, 0}) || !MUST({1, 3}) || !MUST({6, 1}))
        return false;
    node_end(n);
    return !sim_is_frozen(n->sim);
}

/* ---- what is there afterwards ---- */

static void verify(struct node *n)
{
    bool is_now = true, is_other = n->unknown;
    int found[IDS];
    for (int i = 0; i < IDS; i++) {
        found[i] = stored(n, i);
        is_now &= found[i] == n->now[i];
        is_other &= found[i] == n->other[i];
    }
    if (is_now || is_other)
        return;
    for (int i = 0; i < IDS; i++)
        fprintf(stderr, "r%d: %d, want %d%s%d\n", i, found[i], n->now[i],
                n->unknown ? " or " : " and not ", n->other[i]);
    fail("the state is neither what was acknowledged nor that and the last unit");
}

/* ---- faults ---- */

static void arm(struct node *n, enum fault fault, unsigned long nth)
{
    struct simdisk *d = sim_disk(n->sim);
    switch (fault) {
    case NO_MEMORY:
        mem_fail(nth);
        break;
    case NO_READ:
    case NO_WRITE:
    case NO_SYNC:
        simdisk_fail(d, (enum simdisk_op)(SIMDISK_READ + (int)(fault - NO_READ)), nth);
        break;
    case DISK_FULL:
        simdisk_capacity(d, (nth + 64) * 1024); /* a folder and a database fit in anyway */
        break;
    case POWER_CUT:
        simdisk_freeze_after(d, nth);
        break;
    case FAULTS:
        break;
    }
}

/* Whether the fault happened; from now on there is none. */
static bool disarm(struct node *n, enum fault fault)
{
    struct simdisk *d = sim_disk(n->sim);
    bool happened = fault == NO_MEMORY   ? mem_has_failed()
                    : fault == POWER_CUT ? sim_is_frozen(n->sim)
                    : fault == DISK_FULL ? n->was_full
                                         : simdisk_failed(d);
    mem_fail(0);
    simdisk_fail(d, SIMDISK_READ, 0);
    simdisk_freeze_after(d, 0);
    simdisk_capacity(d, (uint64_t)1 << 40);
    return happened;
}

static int run_case(enum fault fault, unsigned long nth)
{
    static const char text[] = "{\"name\":\"Note\",\"fields\":{\"n\":{\"kind\":\"int\",\"index\":"
                               "true},\"key\":{\"kind\":\"text\",\"unique\":true},\"text\":{"
                               "\"kind\":\"text\"}}}";
    struct err e = ERR_INIT;
    struct node n = {.sim = sim_new(11, NULL)};
    node = &n;
    n.options = (struct ledger_options){.dir = "data",
                                        .vfs = "torture",
                                        .exclusive = true,
                                        .segment_bytes = 64 << 10,
                                        .snapshot_bytes = 60000,
                                        .snapshot_entries = 4,
                                        .keep_ms = 1,
                                        .keep_bytes = 1};
    if (db_vfs_register("torture", sim_world(n.sim)->disk, &e) != 0 ||
        entity_def_parse_text(text, sizeof text - 1, &n.def, &e) != 0)
        fail("%s", e.text);
    arm(&n, fault, nth);
    bool whole = life(&n);
    n.was_full |= !whole;
    bool happened = disarm(&n, fault);
    if (!whole && !happened)
        fail("it failed without a fault");
    if (fault == DISK_FULL && sim_is_frozen(n.sim))
        fail("a full disk ended the process: %s", sim_died_of(n.sim));
    node_end(&n);
    sim_crash(n.sim, SIM_POWER_CUT);
    if (node_open(&n, &e) != 0)
        fail("it does not start again: %s", e.text);
    if (define(&n) != 0)
        fail("it takes no definition afterwards");
    sim_run(n.sim, 1000);
    verify(&n);
    n.unknown = false;
    for (int i = 0; i < IDS; i++)
        n.now[i] = stored(&n, i);
    if (act(&n, (struct change[]){{6, 9}, {7, 9}}, 2) != 0)
        fail("it takes no unit afterwards");
    verify(&n);
    node_end(&n);
    entity_def_unref(n.def);
    db_vfs_unregister("torture");
    sim_free(n.sim);
    stat_reset_all();
    return happened ? 0 : NOT_REACHED;
}

/* ---- all cases ---- */

static void aborted(int signum)
{
    signal(signum, SIG_DFL);
    if (signum == SIGABRT && mem_has_failed())
        _exit(ENDED);
    fprintf(stderr, "FAIL %s %lu: %s\n", faults[current].name, current_nth,
            signum == SIGALRM ? "it hangs" : "it aborts");
    raise(signum == SIGALRM ? SIGKILL : signum);
}

struct tally {
    unsigned long passed, failed, ended;
    unsigned running;
    bool over; /* a case was not reached: neither are those behind it */
};

static void reap(struct tally *t)
{
    int status = 0;
    if (wait(&status) <= 0)
        return;
    t->running--;
    if (WIFEXITED(status) && WEXITSTATUS(status) == NOT_REACHED)
        t->over = true;
    else if (status == 0 || (WIFEXITED(status) && WEXITSTATUS(status) == ENDED)) {
        t->passed++;
        t->ended += status != 0;
    } else
        t->failed++;
}

static void torture(enum fault fault, struct tally *t)
{
    enum { FAILURES_SHOWN = 10 };
    t->over = false;
    for (unsigned long nth = 1; !t->over && t->failed < FAILURES_SHOWN;
         nth += faults[fault].stride) {
        current = fault;
        current_nth = nth;
        fflush(NULL);
        if (fork() == 0) {
            alarm(CASE_SECONDS);
            exit(run_case(fault, nth));
        }
        if (++t->running >= JOBS)
            reap(t);
    }
    while (t->running > 0)
        reap(t);
}

int main(int argc, char **argv)
{
    log_setup(LOG_ERROR, false, STDERR_FILENO);
    signal(SIGABRT, aborted);
    signal(SIGALRM, aborted);
    if (argc == 3) { /* one case again: torture FAULT NTH, the fault by number */
        current = (enum fault)strtoul(argv[1], NULL, 10) % FAULTS;
        current_nth = strtoul(argv[2], NULL, 10);
        return run_case(current, current_nth);
    }
    log_set_level(LOG_ERROR + 1); /* nodes die here all the time, and say so */
    struct tally all = {0};
    for (enum fault f = 0; f < FAULTS; f++) {
        struct tally t = {0};
        torture(f, &t);
        printf("%s: %lu cases, %lu failed, %lu ended the process\n", faults[f].name,
               t.passed + t.failed, t.failed, t.ended);
        all.passed += t.passed;
        all.failed += t.failed;
    }
    printf("%lu passed, %lu failed\n", all.passed, all.failed);
    return all.failed != 0;
}
