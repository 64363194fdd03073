/* All operations of the module, and what their payloads share. */
#include "base/mem.h"
#include "base/str.h"
#include "job/job_priv.h"
#include "job/run_priv.h"

const struct domain_op job_ops[] = {
    {JOB_OP_DECLARE, 1, false, DOMAIN_ATOMIC, "job.declare", job_apply_declare, false},
    {JOB_OP_SCHEDULE, 1, false, DOMAIN_PARTIAL, "job.schedule", job_apply_schedule, false},
    {JOB_OP_RUN, 1, false, DOMAIN_ATOMIC, "job.run", run_apply_run, false},
    {JOB_OP_END, 1, false, DOMAIN_ATOMIC, "job.end", run_apply_end, false},
    {JOB_OP_STEP, 1, false, DOMAIN_ATOMIC, "job.step", run_apply_step, false},
    {JOB_OP_FAN, 1, false, DOMAIN_ATOMIC, "job.fan", run_apply_fan, false},
    {JOB_OP_PROGRESS, 1, false, DOMAIN_ATOMIC, "job.progress", run_apply_progress, false},
    {JOB_OP_UNDONE, 1, false, DOMAIN_ATOMIC, "job.undone", run_apply_undone, false},
    {JOB_OP_SWEEP, 1, false, DOMAIN_ATOMIC, "job.sweep", run_apply_sweep, false},
    {JOB_OP_CANCEL, 2, false, DOMAIN_ATOMIC, "job.cancel", run_apply_cancel, false},
    {JOB_OP_AGAIN, 2, false, DOMAIN_ATOMIC, "job.again", run_apply_again, false},
};
const size_t job_ops_count = ARRAY_LEN(job_ops);

struct text job_text(struct cursor *c, size_t least, size_t max)
{
    size_t n = 0;
    const char *p = cursor_bytes(c, &n);
    if (p == NULL || n < least || n > max || !str_is_utf8(p, n))
        c->bad = true;
    return (struct text){p, n};
}
