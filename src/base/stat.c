#include "base/stat.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"

enum stat_kind { STAT_COUNTER, STAT_GAUGE, STAT_HISTOGRAM, STAT_LONG };

/* Upper bounds in nanoseconds and as they are printed; the last bucket is +Inf. Those of STAT_LONG
 * are STAT_LONG_SCALE times as long. */
static const struct {
    uint64_t ns;
    const char *text, *text_long;
} stat_bounds[] = {
    {100000, "0.0001", "0.01"},      {250000, "0.00025", "0.025"}, {500000, "0.0005", "0.05"},
    {1000000, "0.001", "0.1"},       {2500000, "0.0025", "0.25"},  {5000000, "0.005", "0.5"},
    {10000000, "0.01", "1.0"},       {25000000, "0.025", "2.5"},   {50000000, "0.05", "5.0"},
    {100000000, "0.1", "10.0"},      {250000000, "0.25", "25.0"},  {500000000, "0.5", "50.0"},
    {1000000000, "1.0", "100.0"},    {2500000000, "2.5", "250.0"}, {5000000000, "5.0", "500.0"},
    {10000000000, "10.0", "1000.0"},
};

enum { STAT_BOUNDS = sizeof(stat_bounds) / sizeof(stat_bounds[0]), STAT_LONG_SCALE = 100 };

struct stat_counter {
    uint64_t v;
};

struct stat_gauge {
    int64_t v;
};

struct stat_histogram {
    uint64_t bucket[STAT_BOUNDS + 1];
    uint64_t sum;
    bool is_long; /* set with the family */
};

struct stat_series {
    struct stat_series *next; /* sorted by labels */
    char *labels;
    union {
        struct stat_counter counter;
        struct stat_gauge gauge;
        struct stat_histogram histogram;
    };
};

struct stat_family {
    struct stat_family *next; /* sorted by name */
    char *name, *help;
    enum stat_kind kind;
    int count;
    struct stat_series *series;
};

static struct {
    pthread_mutex_t lock; /* the lists; the values are atomics */
    struct stat_family *families;
} stat_state = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void stat_check_name(const char *name, enum stat_kind kind)
{
    size_t n = strlen(name);
    bool good = n > 0 && n == strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_") &&
                !(name[0] >= '0' && name[0] <= '9') &&
                str_ends(name, "_total") == (kind == STAT_COUNTER);
    if (!good)
        PANIC("metric name '%s': lower case, digits and '_'; counters, and only they, end in "
              "_total",
              name);
}

static struct stat_family *stat_family(const char *name, const char *help, enum stat_kind kind)
{
    struct stat_family **at = &stat_state.families;
    while (*at != NULL && strcmp((*at)->name, name) < 0)
        at = &(*at)->next;
    if (*at != NULL && strcmp((*at)->name, name) == 0) {
        ASSERT((*at)->kind == kind);
        return *at;
    }
    stat_check_name(name, kind);
    struct stat_family *f = mem_new(sizeof(*f));
    f->name = mem_strdup(name);
    f->help = mem_strdup(help);
    f->kind = kind;
    f->next = *at;
    *at = f;
    return f;
}

static struct stat_series *stat_series(struct stat_family *f, const char *labels)
{
    struct stat_series **at = &f->series;
    while (*at != NULL && strcmp((*at)->labels, labels) < 0)
        at = &(*at)->next;
    if (*at != NULL && strcmp((*at)->labels, labels) == 0)
        return *at;
    if (f->count >= STAT_LABELS_MAX && strcmp(labels, "other=\"true\"") != 0)
        return stat_series(f, "other=\"true\"");
    struct stat_series *s = mem_new(sizeof(*s));
    s->labels = mem_strdup(labels);
    s->next = *at;
    *at = s;
    f->count++;
    return s;
}

static struct stat_series *stat_find(const char *name, const char *labels, const char *help,
                                     enum stat_kind kind)
{
    pthread_mutex_lock(&stat_state.lock);
    struct stat_series *s = stat_series(stat_family(name, help, kind), labels);
    pthread_mutex_unlock(&stat_state.lock);
    return s;
}

struct stat_counter *stat_counter(const char *name, const char *labels, const char *help)
{
    return &stat_find(name, labels, help, STAT_COUNTER)->counter;
}

struct stat_gauge *stat_gauge(const char *name, const char *labels, const char *help)
{
    return &stat_find(name, labels, help, STAT_GAUGE)->gauge;
}

struct stat_histogram *stat_histogram(const char *name, const char *labels, const char *help)
{
    return &stat_find(name, labels, help, STAT_HISTOGRAM)->histogram;
}

struct stat_histogram *stat_histogram_long(const char *name, const char *labels, const char *help)
{
    struct stat_histogram *h = &stat_find(name, labels, help, STAT_LONG)->histogram;
    __atomic_store_n(&h->is_long, true, __ATOMIC_RELAXED);
    return h;
}

void stat_add(struct stat_counter *c, uint64_t n)
{
    __atomic_fetch_add(&c->v, n, __ATOMIC_RELAXED);
}

uint64_t stat_read(const struct stat_counter *c)
{
    return __atomic_load_n(&c->v, __ATOMIC_RELAXED);
}

void stat_set(struct stat_gauge *g, int64_t v)
{
    __atomic_store_n(&g->v, v, __ATOMIC_RELAXED);
}

void stat_change(struct stat_gauge *g, int64_t delta)
{
    __atomic_fetch_add(&g->v, delta, __ATOMIC_RELAXED);
}

void stat_record(struct stat_histogram *h, uint64_t ns)
{
    size_t i = 0;
    uint64_t scale = __atomic_load_n(&h->is_long, __ATOMIC_RELAXED) ? STAT_LONG_SCALE : 1;
    while (i < STAT_BOUNDS && ns > stat_bounds[i].ns * scale)
        i++;
    __atomic_fetch_add(&h->bucket[i], 1, __ATOMIC_RELAXED);
    __atomic_fetch_add(&h->sum, ns, __ATOMIC_RELAXED);
}

/* ---- the page ---- */

static void stat_print_help(struct buf *b, const char *help)
{
    for (; *help != '\0'; help++) {
        if (*help == '\\')
            buf_adds(b, "\\\\");
        else if (*help == '\n')
            buf_adds(b, "\\n");
        else
            buf_addc(b, *help);
    }
}

static void stat_print_lines(struct buf *b, const char *name, const char *help, enum stat_kind kind,
                             int openmetrics)
{
    static const char *const kinds[] = {"counter", "gauge", "histogram", "histogram"};
    int n = (int)strlen(name);
    if (openmetrics && kind == STAT_COUNTER)
        n -= (int)strlen("_total"); /* OpenMetrics names the family without the suffix */
    buf_addf(b, "# HELP %.*s ", n, name);
    stat_print_help(b, help);
    buf_addf(b, "\n# TYPE %.*s %s\n", n, name, kinds[kind]);
}

static void stat_print_head(struct buf *b, const struct stat_family *f, int openmetrics)
{
    stat_print_lines(b, f->name, f->help, f->kind, openmetrics);
}

static void stat_print_seconds(struct buf *b, uint64_t ns)
{
    buf_addf(b, "%llu.%09llu\n", (unsigned long long)(ns / 1000000000),
             (unsigned long long)(ns % 1000000000));
}

static void stat_print_name(struct buf *b, const struct stat_family *f, const char *suffix,
                            const char *labels)
{
    buf_addf(b, "%s%s", f->name, suffix);
    if (labels[0] != '\0')
        buf_addf(b, "{%s}", labels);
    buf_addc(b, ' ');
}

static void stat_print_histogram(struct buf *b, const struct stat_family *f,
                                 const struct stat_series *s)
{
    const struct stat_histogram *h = &s->histogram;
    const char *comma = s->labels[0] != '\0' ? "," : "";
    uint64_t sum = __atomic_load_n(&h->sum, __ATOMIC_RELAXED), total = 0;
    for (size_t i = 0; i <= STAT_BOUNDS; i++) {
        const char *le = i == STAT_BOUNDS       ? "+Inf"
                         : f->kind == STAT_LONG ? stat_bounds[i].text_long
                                                : stat_bounds[i].text;
        total += __atomic_load_n(&h->bucket[i], __ATOMIC_RELAXED);
        buf_addf(b, "%s_bucket{%s%sle=\"%s\"} %llu\n", f->name, s->labels, comma, le,
                 (unsigned long long)total);
    }
    stat_print_name(b, f, "_sum", s->labels);
    stat_print_seconds(b, sum);
    stat_print_name(b, f, "_count", s->labels);
    buf_addf(b, "%llu\n", (unsigned long long)total);
}

static void stat_print_series(struct buf *b, const struct stat_family *f,
                              const struct stat_series *s)
{
    switch (f->kind) {
    case STAT_COUNTER:
        stat_print_name(b, f, "", s->labels);
        if (str_ends(f->name, "_seconds_total"))
            stat_print_seconds(b, stat_read(&s->counter));
        else
            buf_addf(b, "%llu\n", (unsigned long long)stat_read(&s->counter));
        break;
    case STAT_GAUGE:
        stat_print_name(b, f, "", s->labels);
        buf_addf(b, "%lld\n", (long long)__atomic_load_n(&s->gauge.v, __ATOMIC_RELAXED));
        break;
    case STAT_HISTOGRAM:
    case STAT_LONG:
        stat_print_histogram(b, f, s);
        break;
    }
}

/* ---- the busiest ---- */

static uint64_t stat_weight(const struct stat_family *f, const struct stat_series *s)
{
    uint64_t total = 0;
    switch (f->kind) {
    case STAT_COUNTER:
        return stat_read(&s->counter);
    case STAT_GAUGE:
        total = (uint64_t)__atomic_load_n(&s->gauge.v, __ATOMIC_RELAXED);
        return (int64_t)total < 0 ? 0 : total;
    case STAT_HISTOGRAM:
    case STAT_LONG:
        for (size_t i = 0; i <= STAT_BOUNDS; i++)
            total += __atomic_load_n(&s->histogram.bucket[i], __ATOMIC_RELAXED);
    }
    return total;
}

static bool stat_is_other(const struct stat_series *s)
{
    return strcmp(s->labels, "other=\"true\"") == 0;
}

static void stat_sum(const struct stat_family *f, const struct stat_series *s,
                     struct stat_series *sum)
{
    switch (f->kind) {
    case STAT_COUNTER:
        sum->counter.v += stat_read(&s->counter);
        break;
    case STAT_GAUGE:
        sum->gauge.v += __atomic_load_n(&s->gauge.v, __ATOMIC_RELAXED);
        break;
    case STAT_HISTOGRAM:
    case STAT_LONG:
        for (size_t i = 0; i <= STAT_BOUNDS; i++)
            sum->histogram.bucket[i] += __atomic_load_n(&s->histogram.bucket[i], __ATOMIC_RELAXED);
        sum->histogram.sum += __atomic_load_n(&s->histogram.sum, __ATOMIC_RELAXED);
        break;
    }
}

static int stat_by_weight(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? 1 : x > y ? -1 : 0;
}

/* Series busier than `above` are shown, and `ties` of those that are as busy as that. */
struct stat_cut {
    bool all;
    uint64_t above;
    size_t ties;
};

static struct stat_cut stat_cut(const struct stat_family *f)
{
    uint64_t weights[STAT_LABELS_MAX + 1];
    size_t n = 0, more = 0;
    bool has_buckets = f->kind == STAT_HISTOGRAM || f->kind == STAT_LONG;
    size_t max = has_buckets ? STAT_HISTOGRAMS_SHOWN_MAX : STAT_SHOWN_MAX;
    if ((size_t)f->count <= max)
        return (struct stat_cut){.all = true};
    for (const struct stat_series *s = f->series; s != NULL && n <= STAT_LABELS_MAX; s = s->next)
        if (!stat_is_other(s))
            weights[n++] = stat_weight(f, s);
    qsort(weights, n, sizeof weights[0], stat_by_weight);
    if (n <= max) /* and what is counted as the rest */
        return (struct stat_cut){.ties = max};
    uint64_t above = weights[max - 1];
    while (weights[more] > above)
        more++;
    return (struct stat_cut){.above = above, .ties = max - more};
}

static bool stat_is_shown(const struct stat_family *f, const struct stat_series *s,
                          struct stat_cut *cut)
{
    if (cut->all)
        return true;
    uint64_t weight = stat_weight(f, s);
    if (stat_is_other(s) || weight < cut->above)
        return false;
    if (weight > cut->above)
        return true;
    bool room = cut->ties > 0; /* it counts while the page is made: some may have come up to it */
    cut->ties -= room;
    return room;
}

static void stat_print_family(struct buf *b, const struct stat_family *f)
{
    struct stat_cut cut = stat_cut(f);
    struct stat_series rest = {.labels = "other=\"true\""};
    bool more = false;
    for (const struct stat_series *s = f->series; s != NULL; s = s->next) {
        if (stat_is_shown(f, s, &cut)) {
            stat_print_series(b, f, s);
        } else {
            stat_sum(f, s, &rest);
            more = true;
        }
    }
    if (more)
        stat_print_series(b, f, &rest);
}

static void stat_print_all(struct buf *b, int openmetrics)
{
    pthread_mutex_lock(&stat_state.lock);
    for (const struct stat_family *f = stat_state.families; f != NULL; f = f->next) {
        stat_print_head(b, f, openmetrics);
        stat_print_family(b, f);
    }
    pthread_mutex_unlock(&stat_state.lock);
}

void stat_print(struct buf *b, int openmetrics)
{
    struct stat_page p = {.out = b, .openmetrics = openmetrics != 0};
    stat_page_own(&p);
    stat_page_end(&p);
}

/* ---- in detail ---- */

static bool stat_has_value(const char *labels, const char *value)
{
    size_t n = strlen(value);
    for (const char *p = labels; (p = strstr(p, "=\"")) != NULL;) {
        p += 2;
        if (strncmp(p, value, n) == 0 && p[n] == '"')
            return true;
    }
    return false;
}

static size_t stat_print_chosen(struct buf *b, const struct stat_family *f, int openmetrics,
                                const char *value)
{
    size_t count = 0;
    for (const struct stat_series *s = f->series; s != NULL; s = s->next) {
        if (value != NULL && !stat_has_value(s->labels, value))
            continue;
        if (count++ == 0)
            stat_print_head(b, f, openmetrics);
        stat_print_series(b, f, s);
    }
    return count;
}

/* ---- pages that others add to ---- */

void stat_page_own(struct stat_page *p)
{
    if (!p->detailed) {
        stat_print_all(p->out, p->openmetrics);
        return;
    }
    pthread_mutex_lock(&stat_state.lock);
    for (const struct stat_family *f = stat_state.families; f != NULL; f = f->next)
        if (p->family == NULL || strcmp(f->name, p->family) == 0)
            p->count += stat_print_chosen(p->out, f, p->openmetrics, p->value);
    pthread_mutex_unlock(&stat_state.lock);
}

bool stat_page_family(struct stat_page *p, const char *name, const char *help)
{
    if (p->family != NULL && strcmp(p->family, name) != 0)
        return false;
    p->name = p->open = name;
    p->help = help;
    return true;
}

void stat_page_series(struct stat_page *p, const char *labels, int64_t v)
{
    if (p->value != NULL && !stat_has_value(labels, p->value))
        return;
    if (p->open != NULL)
        stat_print_lines(p->out, p->name, p->help,
                         str_ends(p->name, "_total") ? STAT_COUNTER : STAT_GAUGE, p->openmetrics);
    p->open = NULL;
    p->count++;
    buf_adds(p->out, p->name);
    if (labels[0] != '\0')
        buf_addf(p->out, "{%s}", labels);
    buf_addf(p->out, " %lld\n", (long long)v);
}

void stat_page_end(struct stat_page *p)
{
    if (p->openmetrics)
        buf_adds(p->out, "# EOF\n");
}

void stat_each_family(void (*each)(void *arg, const char *name), void *arg)
{
    pthread_mutex_lock(&stat_state.lock);
    for (const struct stat_family *f = stat_state.families; f != NULL; f = f->next)
        each(arg, f->name);
    pthread_mutex_unlock(&stat_state.lock);
}

void stat_reset_all(void)
{
    pthread_mutex_lock(&stat_state.lock);
    for (struct stat_family *f = stat_state.families; f != NULL;) {
        struct stat_family *next_family = f->next;
        for (struct stat_series *s = f->series; s != NULL;) {
            struct stat_series *next = s->next;
            mem_free(s->labels);
            mem_free(s);
            s = next;
        }
        mem_free(f->name);
        mem_free(f->help);
        mem_free(f);
        f = next_family;
    }
    stat_state.families = NULL;
    pthread_mutex_unlock(&stat_state.lock);
}
