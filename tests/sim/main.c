/* sim - runs scenarios over many seeds, each seed in a process of its own, so that a failed
 * assertion of the program under test is one failed seed. */
#include <getopt.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "sim/scenario.h"

enum { SIM_JOBS_MAX = 16, SIM_TWICE_EVERY = 16, SIM_FAILURES_SHOWN = 10, SIM_SECONDS_MAX = 60 };

static const struct scenario scenarios[] = {
    {"ledger", ledger_sim, 1}, {"flip", ledger_flip_sim, 1}, {"canon", canon_sim, 16},
    {"coord", coord_sim, 4},   {"queue", queue_sim, 4},      {"bus", bus_sim, 4},
    {"job", job_sim, 8},       {"sched", sched_sim, 4},
};

struct options {
    const struct scenario *only;
    uint64_t first, seeds;
    bool trace, single;
    unsigned jobs;
};

/* For the message of a failure only. */
static const struct scenario *current;
static uint64_t current_seed;
static const char *program;

static void sim_where(void)
{
    fprintf(stderr, "seed %llu, scenario %s; again: %s --scenario %s --seed %llu --trace\n",
            (unsigned long long)current_seed, current->name, program, current->name,
            (unsigned long long)current_seed);
}

void sim_fail(const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    fprintf(stderr, "FAIL ");
    vfprintf(stderr, fmt, args);
    va_end(args);
    fprintf(stderr, "\n     ");
    sim_where();
    fflush(NULL);
    _exit(1);
}

static void sim_aborted(int signum)
{
    signal(signum, SIG_DFL);
    fprintf(stderr, signum == SIGALRM ? "FAIL it hangs\n     " : "FAIL aborted\n     ");
    sim_where();
    raise(signum == SIGALRM ? SIGKILL : signum);
}

static void sim_one(const struct options *o, const struct scenario *s, uint64_t seed)
{
    current = s;
    current_seed = seed;
    alarm(o->trace ? 0 : SIM_SECONDS_MAX);
    uint64_t hash = s->run(seed, o->trace ? stdout : NULL);
    if (seed % SIM_TWICE_EVERY == 0 && s->run(seed, NULL) != hash)
        sim_fail("the same seed gave another trace");
    if (o->trace)
        printf("trace %016llx\n", (unsigned long long)hash);
}

static void sim_seed(const struct options *o, uint64_t seed)
{
    if (o->only != NULL)
        sim_one(o, o->only, seed);
    else
        for (size_t i = 0; i < ARRAY_LEN(scenarios); i++)
            if (seed % scenarios[i].every == 0)
                sim_one(o, &scenarios[i], seed);
}

static bool sim_reap(void)
{
    int status = 0;
    return waitpid(-1, &status, 0) > 0 && status == 0;
}

static uint64_t sim_all(const struct options *o)
{
    uint64_t failed = 0;
    unsigned running = 0;
    for (uint64_t i = 0; i < o->seeds && failed < SIM_FAILURES_SHOWN; i++) {
        if (running == o->jobs) {
            failed += !sim_reap();
            running--;
        }
        fflush(NULL);
        pid_t pid = fork();
        if (pid == 0) {
            sim_seed(o, o->first + i);
            exit(0);
        }
        running++;
    }
    for (; running > 0; running--)
        failed += !sim_reap();
    return failed;
}

static int sim_usage(void)
{
    fprintf(stderr, "usage: sim [--scenario NAME] [--first N] [--seeds COUNT] [--jobs N]\n"
                    "       sim [--scenario NAME] --seed N [--trace]\nscenarios:");
    for (size_t i = 0; i < ARRAY_LEN(scenarios); i++)
        fprintf(stderr, " %s", scenarios[i].name);
    fprintf(stderr, "\n");
    return 2;
}

static bool sim_scenario(struct options *o, const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(scenarios); i++)
        if (strcmp(scenarios[i].name, name) == 0)
            o->only = &scenarios[i];
    return o->only != NULL;
}

static bool sim_option(struct options *o, int c)
{
    switch (c) {
    case 'n':
        o->single = true;
        o->first = strtoull(optarg, NULL, 10);
        return true;
    case 'f':
        o->first = strtoull(optarg, NULL, 10);
        return true;
    case 'c':
        o->seeds = strtoull(optarg, NULL, 10);
        return true;
    case 'j':
        o->jobs = (unsigned)strtoul(optarg, NULL, 10);
        return o->jobs > 0 && o->jobs <= SIM_JOBS_MAX;
    case 's':
        return sim_scenario(o, optarg);
    case 't':
        o->trace = true;
        return true;
    default:
        return false;
    }
}

int main(int argc, char **argv)
{
    static const struct option names[] = {
        {"seed", required_argument, NULL, 'n'},
        {"first", required_argument, NULL, 'f'},
        {"seeds", required_argument, NULL, 'c'},
        {"scenario", required_argument, NULL, 's'},
        {"jobs", required_argument, NULL, 'j'},
        {"trace", no_argument, NULL, 't'},
        {NULL, 0, NULL, 0},
    };
    struct options o = {.first = 1, .seeds = 100, .jobs = 2};
    program = argv[0];
    for (int c; (c = getopt_long(argc, argv, "", names, NULL)) != -1;)
        if (!sim_option(&o, c))
            return sim_usage();
    /* Nodes die here all the time, and say so. */
    log_setup(LOG_ERROR, false, STDERR_FILENO);
    if (!o.trace)
        log_set_level(LOG_ERROR + 1);
    signal(SIGABRT, sim_aborted);
    signal(SIGALRM, sim_aborted);
    if (o.single) {
        sim_seed(&o, o.first);
        printf("1 passed, 0 failed\n");
        return 0;
    }
    uint64_t failed = sim_all(&o);
    printf("%llu passed, %llu failed\n", (unsigned long long)(o.seeds - failed),
           (unsigned long long)failed);
    return failed != 0;
}
