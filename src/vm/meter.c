#include <stdio.h>

#include "base/mem.h"
#include "base/stat.h"
#include "vm/vm_priv.h"

struct vm_meter {
    struct stat_counter *runs, *errors, *over, *ns, *steps, *bytes;
};

struct vm_meter *vm_meter_new(const char *function)
{
    char label[160];
    snprintf(label, sizeof label, "function=\"%s\"", function);
    struct vm_meter *m = mem_new(sizeof *m);
    m->runs = stat_counter("koan_script_runs_total", label, "Script functions run");
    m->errors = stat_counter("koan_script_errors_total", label, "Script functions that failed");
    m->over = stat_counter("koan_script_over_budget_total", label,
                           "Script functions that ended because time or instructions were used up");
    m->ns = stat_counter("koan_script_seconds_total", label, "Time spent inside script functions");
    m->steps = stat_counter("koan_script_steps_total", label, "Instructions of script functions");
    m->bytes = stat_counter("koan_script_allocated_bytes_total", label,
                            "Memory that script functions allocated, freed or not");
    return m;
}

void vm_meter_free(struct vm_meter *m)
{
    mem_free(m);
}

void vm_meter_count(struct vm_meter *m, const struct vm_run *run)
{
    stat_add(m->runs, 1);
    if (run->err.code != 0)
        stat_add(m->errors, 1);
    if (run->killed && run->err.code == ERR_TIMEOUT)
        stat_add(m->over, 1);
    stat_add(m->ns, run->ns);
    stat_add(m->steps, run->steps);
    stat_add(m->bytes, run->bytes);
}
