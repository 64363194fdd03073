/* All operations of the module, and what their payloads share. */
#include "base/mem.h"
#include "base/str.h"
#include "job/job_priv.h"

const struct domain_op job_ops[] = {
    {JOB_OP_DECLARE, 1, false, DOMAIN_ATOMIC, "job.declare", job_apply_declare, false},
    {JOB_OP_SCHEDULE, 1, false, DOMAIN_PARTIAL, "job.schedule", job_apply_schedule, false},
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

int job_whole(const struct cursor *c, const char *op, struct err *e)
{
    return c->bad || cursor_left(c) > 0 ? err_set(e, ERR_INVALID, "%s: malformed payload", op) : 0;
}
