/* torture - the cases: see torture.h. Guarantees: L1 L2 H2 C1 C5.
 *
 * Where there is no memory the process may end instead, as it does wherever it cannot go on: what
 * then is on the disk is the matter of the power cuts. */
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "torture/torture.h"

enum {
    JOBS = 2,
    CHUNK = 64, /* cases of one process */
    NOT_REACHED = 77,
    ENDED = 78,
    KEPT = 79, /* passed; but no look for leaks, please */
    CASE_SECONDS = 60,
    FAILURES_SHOWN = 10,
    NEVER = 1 << 30
};

const char *const fault_names[FAULTS] = {[NO_MEMORY] = "no memory at allocation",
                                         [NO_SQLITE_MEMORY] = "no memory for SQLite at allocation",
                                         [NO_RAFT_MEMORY] = "no memory for raft at allocation",
                                         [NO_READ] = "failed read",
                                         [NO_WRITE] = "failed write",
                                         [NO_SYNC] = "failed sync",
                                         [DISK_FULL] = "disk full after KiB",
                                         [POWER_CUT] = "power cut at"};

static const struct life *const lives[] = {&first_life, &entity_life, &canon_life, &hot_life};

/* The case of this process, for its last words. */
static struct {
    const struct life *life;
    enum fault fault;
    unsigned long nth;
} current;

static struct sim *born; /* the disk that a life begins with; NULL: an empty one */

static void say(const char *what)
{
    fprintf(stderr, "FAIL %s: %s %lu: %s\n", current.life->name, fault_names[current.fault],
            current.nth, what);
}

void fail(const char *fmt, ...)
{
    char text[4096];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    say(text);
    _exit(1);
}

static int run_case(const struct life *life, enum fault fault, unsigned long nth)
{
    struct err e = ERR_INIT;
    struct machine m;
    machine_init(&m, fault, nth, born);
    void *self = life->make(&m);
    machine_arm(&m);
    bool whole = life->live(self);
    m.was_full |= !whole;
    bool happened = machine_disarm(&m);
    if (!whole && !happened)
        fail("it failed without a fault");
    if (fault == DISK_FULL && sim_is_frozen(m.sim))
        fail("a full disk ended the process: %s", sim_died_of(m.sim));
    machine_end(&m);
    sim_crash(m.sim, SIM_POWER_CUT);
    if (machine_open(&m, &e) != 0)
        fail("it does not start again: %s", e.text);
    life->reopened(self);
    life->works(self);
    machine_end(&m);
    life->free(self);
    machine_fini(&m);
    return m.kept ? KEPT : happened ? 0 : NOT_REACHED;
}

/* The first start of a node makes every table, and is half of a short life: one life is about it,
 * with all that can go wrong in it, and the others begin behind it. */
static void give_birth(const struct life *life)
{
    struct err e = ERR_INIT;
    struct machine m;
    born = NULL;
    if (life->first_start)
        return;
    machine_init(&m, POWER_CUT, NEVER, NULL);
    void *self = life->make(&m);
    if (machine_open(&m, &e) != 0)
        fail("it does not start: %s", e.text);
    machine_end(&m);
    life->free(self);
    sim_crash(m.sim, SIM_KILL);
    born = TAKE(m.sim);
    machine_fini(&m);
}

/* ---- all cases ---- */

static void aborted(int signum)
{
    signal(signum, SIG_DFL);
    if (signum == SIGABRT && (mem_has_failed() || heap_has_failed()))
        _exit(ENDED);
    say(signum == SIGALRM ? "it hangs" : "it aborts");
    raise(signum == SIGALRM ? SIGKILL : signum);
}

/* A process that works cases one after the other, until one ends it; seen by its parent too. */
struct worker {
    pid_t pid;
    unsigned long nth, end; /* the case at work, and where to stop */
    unsigned long passed;
    bool over; /* a case was not reached: neither are those behind it */
};

struct tally {
    unsigned long passed, failed, ended, next;
    unsigned running;
    bool over;
};

static void work(struct worker *w, const struct life *life, enum fault fault)
{
    for (; w->nth < w->end && !w->over; w->nth++) {
        current.nth = w->nth;
        alarm(CASE_SECONDS);
        unsigned long step =
            fault == NO_SQLITE_MEMORY && life->sqlite_step > 0 ? life->sqlite_step : 1;
        int rc = run_case(life, fault, w->nth * step);
        if (rc == KEPT)
            _exit(KEPT);
        if (rc == NOT_REACHED)
            w->over = true;
        else
            w->passed++;
    }
    exit(0);
}

static void start(struct worker *w, struct tally *t, const struct life *life, enum fault fault)
{
    w->passed = 0;
    w->over = false;
    if (w->nth >= w->end) { /* else it goes on behind the case that ended it */
        w->nth = t->next;
        w->end = t->next += CHUNK;
    }
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0)
        work(w, life, fault);
    w->pid = pid; /* not in the child: the struct is shared */
    t->running++;
}

static struct worker *reap(struct worker *workers, struct tally *t)
{
    int status = 0;
    pid_t pid = wait(&status);
    struct worker *w = workers;
    while (w < workers + JOBS && w->pid != pid)
        w++;
    ASSERT(w < workers + JOBS);
    w->pid = 0;
    t->running--;
    t->passed += w->passed;
    t->over |= w->over;
    if (status == 0)
        return w;
    if (WIFEXITED(status) && (WEXITSTATUS(status) == ENDED || WEXITSTATUS(status) == KEPT)) {
        t->passed++;
        t->ended += WEXITSTATUS(status) == ENDED;
    } else {
        t->failed++;
    }
    w->nth++;
    return w;
}

static void torture(const struct life *life, enum fault fault, struct tally *t)
{
    struct worker *workers = mmap(NULL, JOBS * sizeof *workers, PROT_READ | PROT_WRITE,
                                  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ASSERT(workers != MAP_FAILED);
    current.life = life;
    current.fault = fault;
    for (int i = 0; i < JOBS; i++)
        start(&workers[i], t, life, fault);
    while (t->running > 0) {
        struct worker *w = reap(workers, t);
        bool rest = w->nth < w->end && !w->over;
        if (t->failed < FAILURES_SHOWN && (rest || !t->over))
            start(w, t, life, fault);
    }
    munmap(workers, JOBS * sizeof *workers);
}

static int one(char **argv)
{
    current.life = lives[strtoul(argv[1], NULL, 10) % ARRAY_LEN(lives)];
    current.fault = (enum fault)(strtoul(argv[2], NULL, 10) % FAULTS);
    current.nth = strtoul(argv[3], NULL, 10);
    give_birth(current.life);
    run_case(current.life, POWER_CUT, NEVER);
    return run_case(current.life, current.fault, current.nth);
}

static void all_of(const struct life *life, struct tally *all)
{
    current.life = life;
    give_birth(life);
    if (run_case(life, POWER_CUT, NEVER) != NOT_REACHED) /* how it is without trouble */
        fail("it does not even live in peace");
    for (enum fault f = 0; f < FAULTS; f++) {
        struct tally t = {.next = 1};
        torture(life, f, &t);
        printf("%s: %s: %lu cases, %lu failed, %lu ended the process\n", life->name, fault_names[f],
               t.passed + t.failed, t.failed, t.ended);
        fflush(stdout);
        all->passed += t.passed;
        all->failed += t.failed;
    }
    sim_free(TAKE(born));
}

int main(int argc, char **argv)
{
    log_setup(LOG_ERROR, false, STDERR_FILENO);
    heaps_install();
    signal(SIGABRT, aborted);
    signal(SIGALRM, aborted);
    if (argc == 4) /* one case again: torture LIFE FAULT NTH, the first two by number */
        return one(argv);
    log_set_level(LOG_ERROR + 1); /* nodes die here all the time, and say so */
    struct tally all = {0};
    for (size_t i = 0; i < ARRAY_LEN(lives); i++)
        if (argc != 2 || strtoul(argv[1], NULL, 10) == i) /* torture LIFE: that one alone */
            all_of(lives[i], &all);
    printf("%lu passed, %lu failed\n", all.passed, all.failed);
    return all.failed != 0;
}
