/* What the phases ask of the engine they run in. */
#ifndef KOAN_CANON_ENGINE_H
#define KOAN_CANON_ENGINE_H

#include "canon/store_priv.h"

struct canon;
struct canon_engine;
struct canon_hooks;
struct canon_job;
struct unit;

#define CANON_DIRECT "direct" /* origin of a save that did not come from a source */

/* True: the job is prepared on another thread, and comes back at JOB_AGGREGATE or at its end. */
bool engine_give(struct canon_engine *en, struct canon_job *j);
struct canon *engine_canon(struct canon_engine *en);
void engine_make_id(struct canon_engine *en, char out[STORE_ID]);
/* 0: the job is suspended in JOB_COMMIT; the answer of its unit ticks it again. */
int engine_propose(struct canon_engine *en, struct canon_job *j, struct err *e);
/* The job is at its end. */
void engine_job_done(struct canon_engine *en, struct canon_job *j);
/* True: the job is suspended before it plans or proposes, because a whole request is worked. */
bool engine_holds(struct canon_engine *en, struct canon_job *j);
/* It wants to run again, from AGGREGATE, with a fresh working set once nothing is under way. */
bool engine_job_again(struct canon_engine *en, struct canon_job *j); /* false: tried too often */

#endif
