/* Stat - counters, gauges and histograms for /metrics. The second place with process-wide state: a
 * registry filled at start, updated with relaxed atomics from any thread, read by the metrics page.
 * Names follow Prometheus: koan_<what>_total, _seconds, _bytes. Labels are given as ready text,
 * `method="GET",code="200"`, from bounded sets only; a name holds at most STAT_LABELS_MAX series,
 * further ones count into `other="true"`. */
#ifndef KOAN_BASE_STAT_H
#define KOAN_BASE_STAT_H

#include <stddef.h>
#include <stdint.h>

struct buf;
struct stat_counter;
struct stat_gauge;
struct stat_histogram;

enum {
    STAT_LABELS_MAX = 2048,
    STAT_SHOWN_MAX = 50, /* series of a name on the page: the busiest, the rest as one */
};

/* Registering the same name and labels again returns the same object. Never fails, never freed
 * before stat_reset_all. `labels` may be "". Counters count integer units; a _seconds_total counter
 * is given in nanoseconds and printed in seconds. */
struct stat_counter *stat_counter(const char *name, const char *labels, const char *help);
struct stat_gauge *stat_gauge(const char *name, const char *labels, const char *help);
/* Durations, recorded in nanoseconds, printed in seconds with buckets 100us..10s (1-2.5-5 steps).
 */
struct stat_histogram *stat_histogram(const char *name, const char *labels, const char *help);
void stat_add(struct stat_counter *c, uint64_t n);
uint64_t stat_read(const struct stat_counter *c);
void stat_set(struct stat_gauge *g, int64_t v);
void stat_change(struct stat_gauge *g, int64_t delta);
void stat_record(struct stat_histogram *h, uint64_t ns);
/* Prometheus text format 0.0.4, or OpenMetrics 1.0 with its # EOF. Sorted by name. */
void stat_print(struct buf *b, int openmetrics);
/* All series of the family (NULL: of all) that have a label of that value (NULL: any). The number
 * of series. */
size_t stat_print_detailed(struct buf *b, int openmetrics, const char *family, const char *value);
/* Calls `each` for the names of all families. */
void stat_each_family(void (*each)(void *arg, const char *name), void *arg);
void stat_reset_all(void); /* tests and exit only */

#endif
