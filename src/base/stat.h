/* Stat - counters, gauges and histograms for /metrics. The second place with process-wide state: a
 * registry filled at start, updated with relaxed atomics from any thread, read by the metrics page.
 * Names follow Prometheus: koan_<what>_total, _seconds, _bytes. Labels are given as ready text,
 * `method="GET",code="200"`, from bounded sets only; a name holds at most STAT_LABELS_MAX series,
 * further ones count into `other="true"`. */
#ifndef KOAN_BASE_STAT_H
#define KOAN_BASE_STAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf;
struct stat_counter;
struct stat_gauge;
struct stat_histogram;

enum {
    STAT_LABELS_MAX = 2048,
    STAT_SHOWN_MAX = 50,           /* series of a name on the page: the busiest, the rest as one */
    STAT_HISTOGRAMS_SHOWN_MAX = 8, /* the same of histograms: each is 19 lines */
};

/* Registering the same name and labels again returns the same object. Never fails, never freed
 * before stat_reset_all. `labels` may be "". Counters count integer units; a _seconds_total counter
 * is given in nanoseconds and printed in seconds. */
struct stat_counter *stat_counter(const char *name, const char *labels, const char *help);
struct stat_gauge *stat_gauge(const char *name, const char *labels, const char *help);
/* Durations, recorded in nanoseconds, printed in seconds with buckets 100us..10s (1-2.5-5 steps).
 */
struct stat_histogram *stat_histogram(const char *name, const char *labels, const char *help);
/* The same with buckets 10ms..1000s, for what may take minutes. */
struct stat_histogram *stat_histogram_long(const char *name, const char *labels, const char *help);
void stat_add(struct stat_counter *c, uint64_t n);
uint64_t stat_read(const struct stat_counter *c);
void stat_set(struct stat_gauge *g, int64_t v);
void stat_change(struct stat_gauge *g, int64_t delta);
void stat_record(struct stat_histogram *h, uint64_t ns);
/* Prometheus text format 0.0.4, or OpenMetrics 1.0 with its # EOF. Sorted by name. */
void stat_print(struct buf *b, int openmetrics);
/* A page under way: what is registered here, then families of others, whose series are too many or
 * come and go. Each begins with stat_page_family(); then its series, all of it together.
 *
 *     struct stat_page p = {.out = &b, .openmetrics = true};
 *     stat_page_own(&p);
 *     if (stat_page_family(&p, "koan_queue_sent_total", "Messages sent"))
 *         stat_page_series(&p, "queue=\"mail\"", 7);
 *     stat_page_end(&p);
 */
struct stat_page {
    struct buf *out;
    bool openmetrics;
    bool detailed;              /* all series, not just the busiest */
    const char *family, *value; /* of `detailed`: only these, as above; NULL: any */
    size_t count;               /* series on it */
    const char *open, *help;    /* the family under way, whose head is not printed yet */
    const char *name;
};
void stat_page_own(struct stat_page *p);
/* False: it is not asked for. A counter if its name says so, else a gauge. The texts outlive the
 * next call. */
bool stat_page_family(struct stat_page *p, const char *name, const char *help);
void stat_page_series(struct stat_page *p, const char *labels, int64_t v);
void stat_page_end(struct stat_page *p);
/* Calls `each` for the names of all families. */
void stat_each_family(void (*each)(void *arg, const char *name), void *arg);
void stat_reset_all(void); /* tests and exit only */

#endif
