/* Runs of scripts, for the timeline of what they belong to. */
#include "bind/bind_priv.h"

void bind_note_begin(struct bind_run *r, struct bind_thread *t)
{
    r->began_ns = t->world->mono_ns(t->world);
    if (r->env->correlation != NULL)
        trace_begin(t->bind->trace, r->env->traceparent, r->env->correlation, &r->span);
}

static bool note_failed(const struct bind_run *r)
{
    const struct err *e = &r->run.err;
    /* What a script refuses by itself is no failure of the script. */
    return e->code != 0 && (r->run.killed || e->code == ERR_INTERNAL);
}

bool bind_note_wants(const struct bind_run *r, bool always)
{
    return r->env->correlation != NULL && (always || r->span.sampled || note_failed(r));
}

void bind_note_run(const struct bind_run *r, struct bind_thread *t, const char *name,
                   const char *subject, bool always)
{
    const struct err *e = &r->run.err;
    if (!bind_note_wants(r, always))
        return;
    trace_note(t->bind->trace, &(struct trace_event){.kind = TRACE_SCRIPT,
                                                     .failed = note_failed(r),
                                                     .began_ns = r->began_ns,
                                                     .span = &r->span,
                                                     .correlation = r->env->correlation,
                                                     .causation = r->env->causation,
                                                     .principal = r->env->principal,
                                                     .name = name,
                                                     .subject = subject,
                                                     .detail = e->code != 0 ? e->text : NULL});
}
