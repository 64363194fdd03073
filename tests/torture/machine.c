#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/stat.h"
#include "db/db.h"
#include "support/simdisk.h"
#include "torture/torture.h"

static const char VFS[] = "torture";
static const uint64_t ROOM = (uint64_t)1 << 40;

void machine_init(struct machine *m, enum fault fault, unsigned long nth, struct sim *born)
{
    struct err e = ERR_INIT;
    *m = (struct machine){.sim = sim_new(11, NULL), .fault = fault, .nth = nth};
    m->options = (struct ledger_options){.dir = "data",
                                         .vfs = VFS,
                                         .exclusive = true,
                                         .segment_bytes = 64 << 10,
                                         .snapshot_bytes = 60000,
                                         .snapshot_entries = 4,
                                         .keep_ms = 1,
                                         .keep_bytes = 1};
    if (born != NULL)
        simdisk_adopt(sim_disk(m->sim), sim_disk(born));
    if (db_vfs_register(VFS, sim_world(m->sim)->disk, &e) != 0)
        fail("%s", e.text);
}

void machine_fini(struct machine *m)
{
    db_vfs_unregister(VFS);
    sim_free(m->sim);
    stat_reset_all();
}

/* ---- open and end ---- */

static int machine_opened(void *self, struct db *db, struct err *e)
{
    (void)e;
    ((struct machine *)self)->db = db;
    return 0;
}

int machine_open(struct machine *m, struct err *e)
{
    struct domain domains[MACHINE_DOMAINS_MAX + 1];
    size_t count = m->parts->domains(m->self, domains);
    domains[count++] = (struct domain){.name = "tap", .self = m, .opened = machine_opened};
    int rc = ledger_open(&m->options, sim_world(m->sim), domains, count, &m->ledger, e);
    if (rc != 0)
        m->parts->closed(m->self);
    else if (m->parts->open != NULL)
        m->parts->open(m->self);
    return rc;
}

static void machine_closed(void *arg)
{
    ((struct machine *)arg)->closed = true;
}

static bool machine_is_closed(void *arg)
{
    return ((struct machine *)arg)->closed;
}

void machine_end(struct machine *m)
{
    if (m->ledger == NULL)
        return;
    m->closed = false;
    if (m->parts->closing != NULL)
        m->parts->closing(m->self);
    if (!sim_is_frozen(m->sim)) {
        ledger_close(m->ledger, machine_closed, m);
        machine_wait(m, machine_is_closed, m, "it does not close");
    }
    if (!m->closed) {
        sim_halt(m->sim);
        ledger_drop(m->ledger);
    }
    m->ledger = NULL;
    m->db = NULL;
    m->parts->closed(m->self);
}

/* ---- faults ---- */

void machine_arm(struct machine *m)
{
    struct simdisk *d = sim_disk(m->sim);
    switch (m->fault) {
    case NO_MEMORY:
        mem_fail(m->nth);
        break;
    case NO_SQLITE_MEMORY:
        heap_sqlite_fail(m->nth);
        break;
    case NO_RAFT_MEMORY:
        heap_raft_fail(m->nth);
        break;
    case NO_READ:
    case NO_WRITE:
    case NO_SYNC:
        simdisk_fail(d, (enum simdisk_op)(SIMDISK_READ + (int)(m->fault - NO_READ)), m->nth);
        break;
    case DISK_FULL:
        simdisk_capacity(d, simdisk_used(d) + (m->nth + 64) * 1024); /* a folder, a database */
        break;
    case POWER_CUT:
        simdisk_freeze_after(d, m->nth);
        break;
    case FAULTS:
        break;
    }
}

bool machine_disarm(struct machine *m)
{
    struct simdisk *d = sim_disk(m->sim);
    bool happened = mem_has_failed() || heap_has_failed() || simdisk_failed(d) ||
                    (m->fault == POWER_CUT && sim_is_frozen(m->sim)) ||
                    (m->fault == DISK_FULL && m->was_full);
    mem_fail(0);
    heap_sqlite_fail(0);
    heap_raft_fail(0);
    simdisk_fail(d, SIMDISK_READ, 0);
    simdisk_freeze_after(d, 0);
    simdisk_capacity(d, ROOM);
    return happened;
}

void machine_clear_up(struct machine *m)
{
    m->was_full = true;
    simdisk_capacity(sim_disk(m->sim), ROOM);
    sim_run(m->sim, 30000);
}

bool machine_again(struct machine *m, int rc)
{
    if (rc == ERR_DISK_FULL)
        machine_clear_up(m);
    return rc != 0 && rc != ERR_TIMEOUT && !sim_is_frozen(m->sim);
}

bool machine_did(int rc, const char *what)
{
    if (rc != 0 && rc != ERR_TIMEOUT)
        fail("%s is refused for ever: %s", what, err_info(rc)->name);
    return rc == 0;
}

/* ---- waiting ---- */

struct machine_wait {
    struct machine *machine;
    bool (*done)(void *arg);
    void *arg;
};

static bool machine_wait_over(void *arg)
{
    struct machine_wait *w = arg;
    return sim_is_frozen(w->machine->sim) || w->done(w->arg);
}

bool machine_wait(struct machine *m, bool (*done)(void *arg), void *arg, const char *what)
{
    struct machine_wait w = {m, done, arg};
    if (!sim_run_until(m->sim, machine_wait_over, &w, MACHINE_WAIT_MS))
        fail("%s", what);
    return !sim_is_frozen(m->sim);
}

/* ---- units ---- */

static struct machine *machine_waiting; /* of this process */

void unit_answered(struct unit *u)
{
    (void)u;
    machine_waiting->answered = true;
}

static bool machine_is_answered(void *arg)
{
    return ((struct machine *)arg)->answered;
}

int machine_run(struct machine *m, struct unit *u, struct err *e)
{
    machine_waiting = m;
    m->answered = false;
    int rc = ledger_propose(m->ledger, u, e);
    if (rc != 0)
        return rc;
    machine_wait(m, machine_is_answered, m, "a unit has no answer after two minutes");
    if (!m->answered) {
        sim_halt(m->sim); /* nothing touches the unit any more */
        return err_set(e, ERR_TIMEOUT, "the node died");
    }
    *e = u->err;
    return u->err.code == ERR_INTERNAL ? ERR_TIMEOUT : u->err.code;
}
