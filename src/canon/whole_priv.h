/* Whole - a request whose arrivals are one unit of work: all of them or none.
 *
 *   alone on its set  ---> each arrival in turn: phases, gather -> propose -> all are answered
 *                     ^            | parks, fails                  | a condition failed
 *                     |            +--> refused: all are dropped   |
 *                     +--------------------------------------------+ CANON_TRIES
 *
 * Its arrivals go through the phases one after the other, each seeing what the one before it has
 * changed in the working set; what they do is gathered in one unit, which is proposed when the last
 * has come. Nothing else is begun on the same working set meanwhile, and what is under way there
 * stops before it plans, since it would build on changes that may never be. Conditions on what an
 * earlier arrival of the same unit has changed are left out: the ledger looks at all conditions
 * before it applies anything. */
#ifndef KOAN_CANON_WHOLE_H
#define KOAN_CANON_WHOLE_H

#include "canon/pipeline_priv.h"

struct whole {
    struct unit unit; /* first */
    struct canon_engine *engine;
    struct working *working;
    struct list jobs;                  /* gathered, in order */
    size_t count;                      /* of them */
    uint64_t base;                     /* working->proposed before the first */
    struct err refused;                /* code 0: not */
    uint32_t also_from[2], also_to[2]; /* what the caller has added, conditions and operations */
    bool sent;
};

struct whole *whole_new(struct canon_engine *en, struct working *w);
void whole_free(struct whole *h);
/* The job's part of the unit; a job that parked or failed refuses the request, unless any outcome
 * is right. */
int whole_gather(struct whole *h, struct canon_job *j, struct err *e);
/* All that was gathered is to be worked again. */
void whole_again(struct canon_engine *en, struct whole *h);
/* The job is at its end; if it failed, so does its request. Nothing for other jobs. */
void whole_job_ends(struct canon_job *j);

/* May the request begin its next arrival now? */
bool whole_lets(struct canon_engine *en, struct engine_request *er);
/* A request is worked whole on this set and has gathered something. */
bool whole_has_begun(const struct canon_engine *en, const struct working *w);
/* The job is of another request of the same set: it does not plan or propose until the unit is on
 * its way. */
bool whole_holds(const struct canon_engine *en, const struct canon_job *j);
/* Proposes, or refuses, when the last arrival has come. */
void whole_look(struct canon_engine *en);

/* Changed last by an arrival of the same unit. */
static inline bool whole_changed(const struct canon_job *j, uint64_t touched)
{
    return j->whole != NULL && touched > j->whole->base;
}

static inline struct unit *job_unit(struct canon_job *j)
{
    return j->whole != NULL ? &j->whole->unit : &j->unit;
}

#endif
