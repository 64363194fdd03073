/* What a job's declaration says of its schedule. */
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/time.h"
#include "job/schedule.h"

#define CATCHUP_DEFAULT_MS (INT64_C(3600) * 1000)

const char *const schedule_keys[] = {"cron",    "every",   "after",    "tz",
                                     "jitter",  "windows", "blackout", "outside",
                                     "catchup", "missed",  "overlap",  "pause_on_failure"};
const size_t schedule_keys_n = ARRAY_LEN(schedule_keys);

static const char *const overlap_names[] = {
    [SCHEDULE_SKIP] = "skip",
    [SCHEDULE_BUFFER_ONE] = "buffer_one",
    [SCHEDULE_BUFFER_ALL] = "buffer_all",
    [SCHEDULE_CANCEL] = "cancel",
    [SCHEDULE_TERMINATE] = "terminate",
    [SCHEDULE_ALLOW] = "allow",
};

const char *schedule_overlap_name(enum schedule_overlap overlap)
{
    return overlap_names[overlap];
}

/* A text as duration_parse() takes it, or a number of seconds. ERR_NOT_FOUND when absent. */
static int read_duration(const json_t *o, const char *key, int64_t min, int64_t *out, struct err *e)
{
    const json_t *v = json_object_get(o, key);
    int rc = 0;
    if (v == NULL || json_is_null(v))
        return ERR_NOT_FOUND;
    if (json_is_string(v))
        rc = duration_parse(json_string_value(v), out, e);
    else if (json_is_integer(v) && json_integer_value(v) <= SCHEDULE_INTERVAL_MAX_MS / 1000)
        *out = json_integer_value(v) * 1000;
    else if (json_is_real(v) && json_real_value(v) <= SCHEDULE_INTERVAL_MAX_MS / 1000.0 &&
             json_real_value(v) >= 0)
        *out = (int64_t)(json_real_value(v) * 1000);
    else
        return err_field(e, ERR_INVALID, key, "%s: wants a duration like \"10m\", or seconds", key);
    if (rc != 0)
        return err_field(e, ERR_INVALID, key, "%s: wants a duration like \"10m\", or seconds", key);
    if (*out < min || *out > SCHEDULE_INTERVAL_MAX_MS)
        return err_field(e, ERR_INVALID, key, "%s: at least %s and at most 3660d", key,
                         min > 0 ? "1s" : "0");
    return 0;
}

/* The place of a name in a list; ERR_NOT_FOUND when the key is absent. */
static int read_choice(const json_t *o, const char *key, const char *const *names, size_t n,
                       size_t *out, struct err *e)
{
    const char *text = NULL;
    int rc = json_get_string(o, key, &text, e);
    if (rc != 0)
        return rc;
    char all[96] = "";
    size_t len = 0;
    for (size_t i = 0; i < n; i++) {
        if (strcmp(text, names[i]) == 0) {
            *out = i;
            return 0;
        }
        len += (size_t)snprintf(all + len, sizeof all - len, i == 0 ? "%s" : ", %s", names[i]);
    }
    return err_field(e, ERR_INVALID, key, "%s: '%.40s' is none of %s", key, text, all);
}

static int read_cron(struct schedule *s, const json_t *o, struct err *e)
{
    const char *text = NULL;
    int rc = json_get_string(o, "cron", &text, e);
    if (rc != 0)
        return rc;
    struct err why = ERR_INIT;
    if ((rc = cron_parse(text, &s->cron, &why)) != 0)
        return err_field(e, rc, "cron", "cron '%.60s': %s", text, why.text);
    str_copy(s->cron_text, sizeof s->cron_text, text);
    s->kind = SCHEDULE_CRON;
    if (s->cron.every_ms > 0) {
        s->kind = SCHEDULE_EVERY;
        s->interval_ms = s->cron.every_ms;
    }
    return 0;
}

static int read_interval(struct schedule *s, const json_t *o, const char *key,
                         enum schedule_kind kind, struct err *e)
{
    int rc = read_duration(o, key, SCHEDULE_INTERVAL_MIN_MS, &s->interval_ms, e);
    if (rc == 0) {
        s->kind = kind;
        s->cron = (struct cron){.every_ms = s->interval_ms};
    }
    return rc;
}

/* One of the three that say when; ERR_NOT_FOUND when it is none. */
static int read_when(struct schedule *s, const json_t *o, struct err *e)
{
    int cron = read_cron(s, o, e);
    if (cron != 0 && cron != ERR_NOT_FOUND)
        return cron;
    int every = read_interval(s, o, "every", SCHEDULE_EVERY, e);
    if (every != 0 && every != ERR_NOT_FOUND)
        return every;
    int after = read_interval(s, o, "after", SCHEDULE_AFTER, e);
    if (after != 0 && after != ERR_NOT_FOUND)
        return after;
    int said = (cron == 0) + (every == 0) + (after == 0);
    if (said > 1)
        return err_field(e, ERR_INVALID, cron == 0 ? "cron" : "every",
                         "a schedule has one of cron, every and after; for several times declare "
                         "several jobs");
    return said == 1 ? 0 : ERR_NOT_FOUND;
}

static int read_spans(const json_t *o, const char *key, struct hours_span *out, uint8_t *count,
                      struct err *e)
{
    const json_t *v = json_object_get(o, key);
    if (v == NULL || json_is_null(v))
        return 0;
    if (!json_is_array(v))
        return err_field(e, ERR_INVALID, key,
                         "%s: wants a list of texts like { \"Mon-Fri 08:00-18:00\" }", key);
    if (json_array_size(v) > HOURS_SPANS_MAX)
        return err_field(e, ERR_INVALID, key, "%s: at most %d", key, HOURS_SPANS_MAX);
    for (size_t i = 0; i < json_array_size(v); i++) {
        const char *text = json_string_value(json_array_get(v, i));
        struct err why = ERR_INIT;
        if (hours_span_parse(text != NULL ? text : "", &out[i], &why) != 0)
            return err_field(e, ERR_INVALID, key, "%s: %s", key, why.text);
        ++*count;
    }
    return 0;
}

/* Weekly hours that leave nothing can never open; those with dates may, depending on the day. */
static int check_hours(const struct schedule *s, struct err *e)
{
    struct hours weekly = {.windows_n = 0};
    struct zone utc;
    for (size_t i = 0; i < s->hours.windows_n; i++) {
        if (s->hours.windows[i].day_from != INT64_MIN)
            return 0;
        weekly.windows[weekly.windows_n++] = s->hours.windows[i];
    }
    for (size_t i = 0; i < s->hours.blackout_n; i++)
        if (s->hours.blackout[i].day_from == INT64_MIN)
            weekly.blackout[weekly.blackout_n++] = s->hours.blackout[i];
    int64_t opening;
    int rc = zone_find("UTC", &utc, e);
    if (rc != 0 || hours_opening(&weekly, &utc, 0, &opening))
        return rc;
    return err_field(e, ERR_INVALID, "blackout",
                     "blackout: leaves nothing of the windows, so it would never run");
}

static int read_hours(struct schedule *s, const json_t *o, struct err *e)
{
    static const char *const names[] = {"skip", "defer"};
    size_t outside = 0;
    int rc = read_spans(o, "windows", s->hours.windows, &s->hours.windows_n, e);
    if (rc == 0)
        rc = read_spans(o, "blackout", s->hours.blackout, &s->hours.blackout_n, e);
    if (rc == 0)
        rc = read_choice(o, "outside", names, ARRAY_LEN(names), &outside, e);
    if (rc != 0 && rc != ERR_NOT_FOUND)
        return rc;
    s->defer = outside == 1;
    if (rc == 0 && s->hours.windows_n + s->hours.blackout_n == 0)
        return err_field(e, ERR_INVALID, "outside", "outside: has no windows or blackout to go by");
    return check_hours(s, e);
}

static int read_zone(struct schedule *s, const json_t *o, struct err *e)
{
    const char *name = "UTC";
    int rc = json_get_string(o, "tz", &name, e);
    if (rc != 0 && rc != ERR_NOT_FOUND)
        return rc;
    struct err why = ERR_INIT;
    if (zone_find(name, &s->zone, &why) != 0)
        return err_field(e, ERR_INVALID, "tz", "tz: %s", why.text);
    return 0;
}

static int read_jitter(struct schedule *s, const json_t *o, struct err *e)
{
    int rc = read_duration(o, "jitter", 0, &s->jitter_ms, e);
    if (rc != 0)
        return rc == ERR_NOT_FOUND ? 0 : rc;
    if (s->kind == SCHEDULE_CRON || s->jitter_ms <= s->interval_ms / 2)
        return 0;
    char half[32];
    duration_format(s->interval_ms / 2, half, sizeof half);
    return err_field(e, ERR_INVALID, "jitter", "jitter: at most half the interval, %s", half);
}

static int read_missed(struct schedule *s, const json_t *o, struct err *e)
{
    static const char *const names[] = {"one", "all"};
    size_t missed = 0, overlap = SCHEDULE_SKIP;
    s->catchup_ms = CATCHUP_DEFAULT_MS;
    int rc = read_duration(o, "catchup", 0, &s->catchup_ms, e);
    if (rc == 0 || rc == ERR_NOT_FOUND)
        rc = read_choice(o, "missed", names, ARRAY_LEN(names), &missed, e);
    if (rc == 0 || rc == ERR_NOT_FOUND)
        rc = read_choice(o, "overlap", overlap_names, ARRAY_LEN(overlap_names), &overlap, e);
    if (rc != 0 && rc != ERR_NOT_FOUND)
        return rc;
    s->missed_all = missed == 1;
    s->overlap = (enum schedule_overlap)overlap;
    if (s->missed_all && (s->overlap == SCHEDULE_CANCEL || s->overlap == SCHEDULE_TERMINATE))
        return err_field(
            e, ERR_INVALID, "missed",
            "missed: 'all' does not go with overlap '%s', by which the runs would stop "
            "each other; take buffer_all",
            overlap_names[overlap]);
    return 0;
}

static int read_pause(struct schedule *s, const json_t *o, struct err *e)
{
    int64_t n = 0;
    int rc = json_get_int(o, "pause_on_failure", &n, e);
    if (rc != 0)
        return rc == ERR_NOT_FOUND ? 0 : rc;
    if (n < 1 || n > SCHEDULE_FAILURES_MAX)
        return err_field(e, ERR_INVALID, "pause_on_failure",
                         "pause_on_failure: 1 to %d failures in a row", SCHEDULE_FAILURES_MAX);
    s->pause_on_failure = (uint32_t)n;
    return 0;
}

static int refuse_without_when(const json_t *o, struct err *e)
{
    for (size_t i = 0; i < schedule_keys_n; i++) {
        const json_t *v = json_object_get(o, schedule_keys[i]);
        if (v != NULL && !json_is_null(v))
            return err_field(e, ERR_INVALID, schedule_keys[i],
                             "%s: says how a schedule runs, but nothing says when; add cron, "
                             "every or after",
                             schedule_keys[i]);
    }
    return ERR_NOT_FOUND;
}

int schedule_parse(const char *name, const json_t *declaration, struct schedule *out, struct err *e)
{
    struct schedule s = {.kind = SCHEDULE_CRON};
    if (!str_copy(s.name, sizeof s.name, name))
        return err_set(e, ERR_INVALID, "the name of a schedule is at most %d bytes",
                       SCHEDULE_NAME_MAX);
    int rc = read_when(&s, declaration, e);
    if (rc != 0)
        return rc == ERR_NOT_FOUND ? refuse_without_when(declaration, e) : rc;
    static int (*const readers[])(struct schedule *, const json_t *, struct err *) = {
        read_zone, read_jitter, read_hours, read_missed, read_pause};
    for (size_t i = 0; i < ARRAY_LEN(readers); i++)
        if ((rc = readers[i](&s, declaration, e)) != 0)
            return rc;
    *out = s;
    return 0;
}
