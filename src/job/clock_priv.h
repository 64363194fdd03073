/* The clock of schedules, inside its folder: clock.c (what comes due), clock_start.c (runs for a
 * start), clock_tell.c (health, figures). All of it on the ledger's thread. */
#ifndef KOAN_JOB_CLOCK_PRIV_H
#define KOAN_JOB_CLOCK_PRIV_H

#include "base/uuid.h"
#include "io/world.h"
#include "job/job_priv.h"

enum {
    CLOCK_LOOK_MS = 1000,  /* the longest it sleeps: clocks are set */
    CLOCK_UNITS_MAX = 64,  /* under way at once */
    CLOCK_TRIES = 3,       /* of a tick whose run the queue refuses */
    CLOCK_TELL_MS = 10000, /* health is told at least so often */
};

/* A schedule, as its row was when that was last committed. */
struct job_item {
    struct jobs *jobs;
    char name[JOB_NAME_MAX + 1];
    bool known;  /* it is declared, with a schedule, or `left` */
    bool left;   /* without one: what it has made is still to be accounted for, or waits */
    bool ended;  /* runs have ended of which it has not taken note */
    bool flying; /* a decision is under way */
    struct schedule_due next;
    int64_t at; /* when there is something to decide; INT64_MAX: nothing is known of */
    int64_t not_before;
    int tries;          /* refusals in a row */
    struct err refused; /* the last one */
    struct unit unit;
    struct job_decided decided; /* in the unit; `ticks` 0 and verdict 0: none */
    bool decides;
    int64_t due_at; /* of `decided` */
};

struct job_clock {
    struct jobs *jobs;
    struct world_timer timer;
    struct map *items; /* name -> struct job_item */
    struct uuid_gen ids;
    int64_t last; /* ledger time of the last entry */
    int64_t armed, told;
    uint32_t flying;
    bool stopped, leads;

    /* clock_start.c */
    struct task ready;
    json_t *starting; /* names whose run for this start is still to be made */
    struct unit start_unit;
    bool start_flying;
    int start_tries; /* of the first of them */
};

struct job_clock *job_clock_new(struct jobs *j);
void job_clock_free(struct job_clock *k);
void job_clock_start(struct jobs *j, const struct jobs_options *o);
void job_clock_stop(struct jobs *j);
/* An entry is committed: looks again at what was noted. */
void job_clock_committed(struct jobs *j, int64_t at);
/* The time that is decided by: what the next entry would have at least. */
int64_t job_clock_now(const struct jobs *j);
void job_clock_id(void *jobs, struct uuid *out);
/* Not a word about the schedule: later it may come through as it is. */
bool job_clock_is_machine(int code);
/* Soon, without waiting for the timer. */
void job_clock_soon(struct jobs *j);

void job_start_ready(struct task *t);
/* Proposes the next run for this start; where one is under way nothing. */
void job_start_turn(struct jobs *j);
void job_start_fini(struct job_clock *k);

void job_tell_decided(const struct job_decided *d, int64_t late_ms);
/* Health and gauges, when it is time, or `now`. */
void job_tell(struct jobs *j, bool now);

#endif
