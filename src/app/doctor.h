/* Doctor - what is wrong, or soon will be, with a node on this machine: one finding for each thing
 * it looks at, with the way out. It needs no server; where one runs on the data directory it is
 * asked too.
 *
 * Every check is a row of a table in doctor.c and answers one finding. What it mends with `fix` is
 * safe at any time, with a server running too: modes of files that others could read. Blocks; main
 * thread. */
#ifndef KOAN_APP_DOCTOR_H
#define KOAN_APP_DOCTOR_H

#include <stdbool.h>
#include <stddef.h>

#include "app/settings.h"

struct cli;

enum doctor_verdict { DOCTOR_OK, DOCTOR_WARN, DOCTOR_FAIL };

enum {
    DOCTOR_TEXT_MAX = 400,
    DOCTOR_SYNCS = 21,
    DOCTOR_SYNC_FAST_US = 15, /* faster than any device that writes through */
    DOCTOR_SYNC_SLOW_MS = 50,
    DOCTOR_DISK_DAYS = 14,    /* full sooner than that: a warning */
    DOCTOR_FILES_SPARE = 256, /* descriptors beside those of connections */
};

struct doctor_finding {
    const char *name;
    enum doctor_verdict verdict;
    bool fixed;
    char what[DOCTOR_TEXT_MAX]; /* what was found */
    char way[DOCTOR_TEXT_MAX];  /* out; "" when all is well */
};

struct doctor {
    struct cli *cli;
    const struct config *config;
    const char *data;
    bool fix;
    bool held; /* a server has the data directory */
};

typedef void doctor_cb(void *arg, const struct doctor_finding *f);
void doctor_run(struct doctor *d, doctor_cb *each, void *arg);

/* ---- the checks, one file for what concerns the machine, one for the node ---- */
typedef void doctor_check(struct doctor *d, struct doctor_finding *f);
doctor_check doctor_clock, doctor_sync, doctor_limits, doctor_disk, doctor_port, doctor_modes,
    doctor_scripts, doctor_drift, doctor_certificate;
void doctor_say(struct doctor_finding *f, enum doctor_verdict v, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
void doctor_way(struct doctor_finding *f, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

#endif
