/* Simworld - a world without a machine: virtual clock, seeded chance, a disk that forgets.
 *
 * One `struct sim` is one node on one virtual clock. Everything that happens is an event in one
 * queue: tasks posted to a runner, timers, work handed to the log thread. Events run one at a time
 * on the calling thread, each after a small random delay, so that a seed is a schedule. Whatever
 * happens is written into the trace, of which a hash is kept: the same seed gives the same hash, or
 * something in the program depends on the real machine.
 *
 * A crash has two halves, so that nothing leaks: sim_freeze() (or a planned one, see simdisk.h, or
 * world.die) is the moment of death: from then on the disk accepts everything and keeps none of
 * it, and no answer counts. The test then closes what it had open, or calls sim_halt() and drops
 * it, and calls sim_crash(), after which the disk holds what a machine would find at its next
 * start. */
#ifndef KOAN_TESTS_SIMWORLD_H
#define KOAN_TESTS_SIMWORLD_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "io/world.h"

struct sim;
struct simdisk;

/* `trace` may be NULL. */
struct sim *sim_new(uint64_t seed, FILE *trace);
void sim_free(struct sim *s);

struct world *sim_world(struct sim *s);
struct simdisk *sim_disk(struct sim *s);
/* A thread beside the world's own, for those who propose. */
struct runner *sim_client(struct sim *s);

/* 0..below-1 from the seed. */
uint64_t sim_rand(struct sim *s, uint64_t below);
bool sim_chance(struct sim *s, unsigned percent);
uint64_t sim_now_ns(const struct sim *s);
/* The wall clock moves, the other does not. */
void sim_clock_jump(struct sim *s, int64_t ms);
/* Virtual time passes inside an operation: a slow disk. */
void sim_spend(struct sim *s, uint64_t ns);

/* One event; false when there is none. */
bool sim_step(struct sim *s);
/* Events until the clock has moved by `ms`, or there is none left. */
void sim_run(struct sim *s, uint64_t ms);
/* Until done(arg), at most `ms`; whether it came true. */
bool sim_run_until(struct sim *s, bool (*done)(void *arg), void *arg, uint64_t ms);

enum sim_crash { SIM_KILL, SIM_POWER_CUT };
void sim_freeze(struct sim *s, const char *why);
bool sim_is_frozen(const struct sim *s);
/* Why world.die was called; NULL when it was not. Forgotten by sim_crash. */
const char *sim_died_of(const struct sim *s);
/* Freezes and drops all events: nothing that was under way goes on. */
void sim_halt(struct sim *s);
/* Drops all events. The node is alive again afterwards. */
void sim_crash(struct sim *s, enum sim_crash how);

void sim_note(struct sim *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* The cheap form for what happens often: formatted only where somebody reads. */
void sim_event(struct sim *s, const char *what, const char *name, uint64_t a, uint64_t b);
uint64_t sim_trace_hash(const struct sim *s);

#endif
