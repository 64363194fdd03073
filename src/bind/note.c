/* Runs of scripts, for the timeline of what they belong to. */
#include "bind/bind_priv.h"

void bind_note_begin(struct bind_run *r, struct bind_thread *t)
{
    r->began_ns = t->world->mono_ns(t->world);
    if (r->env->correlation != NULL)
        trace_begin(t->bind->trace, r->env->traceparent, r->env->correlation, &r->span);
}

void bind_note_run(const struct bind_run *r, struct bind_thread *t, const char *name,
                   const char *subject, bool always)
{
    const struct err *e = &r->run.err;
    /* What a script refuses by itself is no failure of the script. */
    bool failed = e->code != 0 && (r->run.killed || e->code == ERR_INTERNAL);
    if (r->env->correlation == NULL || !(always || failed || r->span.sampled))
        return;
    trace_note(t->bind->trace,
               &(struct trace_event){.kind = TRACE_SCRIPT,
                                     .failed = failed,
                                     .took_ns = t->world->mono_ns(t->world) - r->began_ns,
                                     .span = &r->span,
                                     .correlation = r->env->correlation,
                                     .causation = r->env->causation,
                                     .principal = r->env->principal,
                                     .name = name,
                                     .subject = subject,
                                     .detail = e->code != 0 ? e->text : NULL});
}
