/* What concerns the machine: its clock, its disk, its limits. */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/timex.h>
#include <time.h>
#include <unistd.h>

#include "app/doctor.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/time.h"
#include "db/db.h"
#include "io/file.h"
#include "io/world.h"

enum { DOCTOR_DAY_S = 86400, DOCTOR_BLOCK = 4096 };
#define DOCTOR_EPOCH INT64_C(1735689600) /* 2025-01-01: this program is younger */

/* ---- clock ---- */

/* The time of the last entry that was applied, or 0. */
static int64_t doctor_ledger_ms(const struct doctor *d)
{
    AUTO(mem_freep) char *path = mem_printf("%s/koan.db", d->data);
    struct db_options o = {.path = path, .mode = DB_READER};
    struct db *db = NULL;
    int64_t ms = 0;
    if (!file_exists(path) || db_open(&o, &db, NULL) != 0)
        return 0;
    struct db_stmt *s = db_stmt_get(db, "SELECT at FROM local_meta", NULL);
    if (s != NULL && db_step(s, NULL) > 0)
        ms = db_col_int(s, 0);
    if (s != NULL)
        db_stmt_done(s);
    db_close(db);
    return ms;
}

void doctor_clock(struct doctor *d, struct doctor_finding *f)
{
    struct timespec now;
    struct timex t = {.modes = 0};
    char text[TIME_TEXT];
    clock_gettime(CLOCK_REALTIME, &now);
    int64_t ms = (int64_t)now.tv_sec * 1000;
    time_format(ms, text);
    int state = adjtimex(&t);
    if (now.tv_sec < DOCTOR_EPOCH) {
        doctor_say(f, DOCTOR_FAIL, "the clock says %s", text);
        doctor_way(
            f, "set it (timedatectl, or the virtual machine's host); ids and times come from it");
    } else if (doctor_ledger_ms(d) > ms + 1000) {
        doctor_say(f, DOCTOR_FAIL, "the clock says %s, and the ledger has seen a later time", text);
        doctor_way(f,
                   "it was set back: records keep the ledger's time until the clock has caught up");
    } else if (state == TIME_ERROR || (t.status & STA_UNSYNC)) {
        doctor_say(f, DOCTOR_WARN, "%s, kept by nobody", text);
        doctor_way(f, "run an NTP client (systemd-timesyncd, chrony); in a container it is the "
                      "host's affair");
    } else {
        doctor_say(f, DOCTOR_OK, "%s, synchronised", text);
    }
}

/* ---- sync ---- */

static uint64_t doctor_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static int doctor_by_size(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

/* The median of some syncs in the folder, in nanoseconds; 0 when it cannot be measured. */
static uint64_t doctor_measure(const char *folder)
{
    AUTO(mem_freep) char *path = mem_printf("%s/.koan-doctor-XXXXXX", folder);
    int fd = mkostemp(path, O_CLOEXEC);
    uint64_t times[DOCTOR_SYNCS] = {0};
    char block[DOCTOR_BLOCK] = {0};
    bool good = fd >= 0;
    for (size_t i = 0; good && i < DOCTOR_SYNCS; i++) {
        uint64_t began = doctor_ns();
        block[0] = (char)i;
        good = pwrite(fd, block, sizeof block, 0) == DOCTOR_BLOCK && fdatasync(fd) == 0;
        times[i] = doctor_ns() - began;
    }
    if (fd >= 0) {
        close(fd);
        unlink(path);
    }
    qsort(times, DOCTOR_SYNCS, sizeof times[0], doctor_by_size);
    return good ? times[DOCTOR_SYNCS / 2] : 0;
}

static const char *doctor_folder(const struct doctor *d)
{
    return file_is_dir(d->data) ? d->data : ".";
}

void doctor_sync(struct doctor *d, struct doctor_finding *f)
{
    struct statfs fs;
    const char *folder = doctor_folder(d);
    if (statfs(folder, &fs) == 0 && (fs.f_type == TMPFS_MAGIC || fs.f_type == RAMFS_MAGIC)) {
        doctor_say(f, DOCTOR_WARN, "%s lies in memory: a restart of the machine loses it", folder);
        doctor_way(f, "put `data` on a disk");
        return;
    }
    uint64_t ns = doctor_measure(folder);
    bool layers = statfs(folder, &fs) == 0 && fs.f_type == OVERLAYFS_SUPER_MAGIC;
    if (ns == 0) {
        doctor_say(f, DOCTOR_FAIL, "%s: cannot write and sync there: %s", folder, strerror(errno));
        doctor_way(f, "give this user the folder, or free some space");
    } else if (ns < DOCTOR_SYNC_FAST_US * 1000) {
        doctor_say(f, DOCTOR_WARN, "a sync takes %.1f us: faster than a device that writes through",
                   (double)ns / 1e3);
        doctor_way(
            f, "something answers before the data is safe (a virtual disk with cache=unsafe, "
               "eatmydata, "
               "a controller's cache without battery): a power cut may lose what was acknowledged");
    } else if (ns > DOCTOR_SYNC_SLOW_MS * UINT64_C(1000000)) {
        doctor_say(f, DOCTOR_WARN, "a sync takes %.0f ms: every write waits for one",
                   (double)ns / 1e6);
        doctor_way(f, "use a local SSD; network disks and spinning ones are that slow");
    } else if (layers) {
        doctor_say(f, DOCTOR_WARN, "a sync takes %.2f ms, on a container's own layer",
                   (double)ns / 1e6);
        doctor_way(f, "mount a volume for `data`: the layer goes with the container");
    } else {
        doctor_say(f, DOCTOR_OK, "a sync takes %.2f ms", (double)ns / 1e6);
    }
}

/* ---- limits ---- */

void doctor_limits(struct doctor *d, struct doctor_finding *f)
{
    struct rlimit r;
    int64_t wanted = config_number(d->config, SET_HTTP_CONNECTIONS) + DOCTOR_FILES_SPARE;
    if (getrlimit(RLIMIT_NOFILE, &r) != 0) {
        doctor_say(f, DOCTOR_WARN, "the limit of open files is not known: %s", strerror(errno));
    } else if (r.rlim_max != RLIM_INFINITY && (int64_t)r.rlim_max < wanted) {
        doctor_say(f, DOCTOR_WARN,
                   "at most %llu open files, http.connections and its needs are %lld",
                   (unsigned long long)r.rlim_max, (long long)wanted);
        doctor_way(f, "LimitNOFILE=%lld in the unit, or ulimit -Hn; or a lower http.connections",
                   (long long)wanted);
    } else {
        doctor_say(f, DOCTOR_OK, "open files: %llu, at most %llu", (unsigned long long)r.rlim_cur,
                   (unsigned long long)r.rlim_max);
    }
}

/* ---- disk ---- */

static int doctor_add_size(void *arg, const char *name)
{
    struct {
        const char *folder;
        int64_t bytes;
    } *sum = arg;
    AUTO(mem_freep) char *path = mem_printf("%s/%s", sum->folder, name);
    struct stat st;
    if (stat(path, &st) == 0 && S_ISREG(st.st_mode))
        sum->bytes += (int64_t)st.st_blocks * 512;
    return 0;
}

static int64_t doctor_used(const char *folder)
{
    struct {
        const char *folder;
        int64_t bytes;
    } sum = {folder, 0};
    struct disk *disk = disk_real();
    disk->list(disk, folder, doctor_add_size, &sum, NULL);
    return sum.bytes;
}

/* How much a day is kept, over the node's life so far; 0 when it is younger than an hour. What the
 * log may hold is bounded, so it is not counted. */
static double doctor_growth(const struct doctor *d)
{
    AUTO(mem_freep) char *born = mem_printf("%s/node.json", d->data);
    struct stat st;
    time_t now = time(NULL);
    if (stat(born, &st) != 0 || now - st.st_mtime < 3600)
        return 0;
    return (double)doctor_used(d->data) / (double)(now - st.st_mtime) * DOCTOR_DAY_S;
}

void doctor_disk(struct doctor *d, struct doctor_finding *f)
{
    uint64_t left = 0, total = 0;
    struct err e = ERR_INIT;
    struct disk *disk = disk_real();
    char text[32], day[32];
    if (disk->space(disk, doctor_folder(d), &left, &total, &e) != 0) {
        doctor_say(f, DOCTOR_WARN, "%s", e.text);
        return;
    }
    double growth = doctor_growth(d), days = growth > 0 ? (double)left / growth : -1;
    size_format(left, text, sizeof text);
    size_format((uint64_t)growth, day, sizeof day);
    if (left < total / 33 || left < UINT64_C(1) << 30) {
        doctor_say(f, DOCTOR_FAIL, "%s left: writes that grow are refused", text);
        doctor_way(f, "free some space, or lower ledger.keep and ledger.keep_bytes");
    } else if (days >= 0 && days < DOCTOR_DISK_DAYS) {
        doctor_say(f, DOCTOR_WARN, "%s left, and %s more are used a day: full in %.0f days", text,
                   day, days);
        doctor_way(f, "a larger disk, or remove what is not needed");
    } else if (days >= 0) {
        doctor_say(f, DOCTOR_OK, "%s left, %s more are used a day", text, day);
    } else {
        doctor_say(f, DOCTOR_OK, "%s left", text);
    }
}
