/* Args - what the runs of a job take: fields, checked as those of an entity are, wherever a run is
 * submitted. They are declared like an entity's, so they have its kinds and options, and its
 * refusals: a name that every record has, like `id`, is taken. What concerns stored records alone
 * (unique, index, whether the target of a reference is there) has no meaning here and is not looked
 * at. */
#ifndef KOAN_JOB_ARGS_H
#define KOAN_JOB_ARGS_H

#include "base/json.h"

struct buf;
struct entity_def;
struct err;
struct job_def;

/* The fields as a definition, the caller's to entity_def_unref(); *out NULL: the job takes
 * anything. ERR_INVALID names the field. */
int job_args_read(const struct job_def *d, struct entity_def **out, struct err *e);
/* The args in their normal form, with defaults: a new reference. `def` NULL: as they are. NULL with
 * `e` set (ERR_INVALID) and in *errors, where that is not NULL, the list of faults as problem+json
 * shows it: a new reference. */
json_t *job_args_check(const struct entity_def *def, const json_t *args, json_t **errors,
                       struct err *e);

/* The args of a run that a schedule or a start makes, with defaults, as text; `out` takes
 * QUEUE_BODY_MAX. ERR_INVALID: they are not as declared, and what the declaration gives is in `out`
 * as it is: declarations are refused for that, but for those of before. */
int job_args_scheduled(const struct job_def *d, struct buf *out, struct err *e);

#endif
