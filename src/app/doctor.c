#include "app/doctor.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "io/file.h"

void doctor_say(struct doctor_finding *f, enum doctor_verdict v, const char *fmt, ...)
{
    va_list args;
    f->verdict = v;
    va_start(args, fmt);
    vsnprintf(f->what, sizeof f->what, fmt, args);
    va_end(args);
}

void doctor_way(struct doctor_finding *f, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    vsnprintf(f->way, sizeof f->way, fmt, args);
    va_end(args);
}

static const struct {
    const char *name;
    doctor_check *check;
} doctor_checks[] = {
    {"clock", doctor_clock}, {"sync", doctor_sync},       {"limits", doctor_limits},
    {"disk", doctor_disk},   {"port", doctor_port},       {"certificate", doctor_certificate},
    {"modes", doctor_modes}, {"scripts", doctor_scripts}, {"drift", doctor_drift},
};

static bool doctor_is_held(const char *data)
{
    AUTO(mem_freep) char *path = mem_printf("%s/LOCK", data);
    if (!file_exists(path))
        return false;
    int lock = file_lock(path, NULL);
    if (lock >= 0)
        file_unlock(lock);
    return lock < 0;
}

void doctor_run(struct doctor *d, doctor_cb *each, void *arg)
{
    d->held = doctor_is_held(d->data);
    for (size_t i = 0; i < ARRAY_LEN(doctor_checks); i++) {
        struct doctor_finding f = {.name = doctor_checks[i].name};
        doctor_checks[i].check(d, &f);
        each(arg, &f);
    }
}
