/* Scenarios of the simulator: each is one life after the other of a node, decided by a seed. A
 * scenario returns the hash of its trace; what is wrong ends the process through sim_fail(). */
#ifndef KOAN_TESTS_SCENARIO_H
#define KOAN_TESTS_SCENARIO_H

#include <stdint.h>
#include <stdio.h>

struct scenario {
    const char *name;
    uint64_t (*run)(uint64_t seed, FILE *trace);
    unsigned every; /* when all scenarios are run: for every nth seed only, because it is slow */
};

uint64_t ledger_sim(uint64_t seed, FILE *trace);
uint64_t ledger_flip_sim(uint64_t seed, FILE *trace);
uint64_t canon_sim(uint64_t seed, FILE *trace);
uint64_t coord_sim(uint64_t seed, FILE *trace);
uint64_t bus_sim(uint64_t seed, FILE *trace);
uint64_t queue_sim(uint64_t seed, FILE *trace);
uint64_t job_sim(uint64_t seed, FILE *trace);
uint64_t sched_sim(uint64_t seed, FILE *trace);

/* Says seed and scenario, how to see it again, and exits. */
_Noreturn void sim_fail(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif
