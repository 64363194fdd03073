/* Random expressions against a model that looks at every second or minute in turn and knows nothing
 * of sets, months or spans: it keeps the latest that the clock on the wall has shown, and asks of
 * each newly shown time whether it fits. */
#include <stdio.h>

#include "base/buf.h"
#include "base/time.h"
#include "codec/cron.h"
#include "codec/zone.h"
#include "support/unit.h"

enum { FIELDS = 6, VALUES = 60, HOUR_MS = 3600 * 1000 };

enum { SECOND, MINUTE, HOUR, DAY, MONTH, WEEKDAY };

struct model {
    bool set[FIELDS][VALUES + 1];
    bool star[FIELDS];
    int before_last, nearest; /* -1: none; nearest 0: LW */
    int nth, nth_weekday;     /* nth -1: none, 0: the last */
    bool seconds;             /* six fields */
    struct buf text;
};

static uint64_t seed = 88172645463325252u;

static int pick(int n)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (int)(seed % (uint64_t)n);
}

static void model_field(struct model *m, int field, int min, int max)
{
    int low = min + pick(max - min + 1), high = low + pick(max - low + 1), step = 1;
    switch (pick(6)) {
    case 0:
    case 1:
        m->star[field] = true;
        low = min;
        high = max;
        buf_adds(&m->text, "*");
        if (pick(3) == 0) {
            step = 1 + pick(max - min);
            buf_addf(&m->text, "/%d", step);
        }
        break;
    case 2:
        buf_addf(&m->text, "%d-%d", low, high);
        if (high > low && pick(2) == 0) {
            step = 1 + pick(high - low);
            buf_addf(&m->text, "/%d", step);
        }
        break;
    case 3:
        if (low < max) {
            high = max;
            step = 1 + pick(max - low);
            buf_addf(&m->text, "%d/%d", low, step);
            break;
        }
        /* fall through */
    default:
        for (int n = pick(3); n >= 0; n--) {
            int one = min + pick(max - min + 1);
            m->set[field][one] = true;
            buf_addf(&m->text, n > 0 ? "%d," : "%d", one);
        }
        step = 0;
    }
    for (int i = low; step > 0 && i <= high; i += step)
        m->set[field][i] = true;
}

static void model_days(struct model *m)
{
    switch (pick(8)) {
    case 0:
        m->before_last = pick(5);
        buf_addf(&m->text, m->before_last > 0 ? "L-%d" : "L", m->before_last);
        break;
    case 1:
        m->nearest = pick(32);
        if (m->nearest > 0)
            buf_addf(&m->text, "%dW", m->nearest);
        else
            buf_adds(&m->text, "LW");
        break;
    default:
        model_field(m, DAY, 1, 31);
    }
}

static void model_weekdays(struct model *m)
{
    if (pick(4) != 0) {
        model_field(m, WEEKDAY, 0, 6);
        return;
    }
    m->nth = pick(6);
    m->nth_weekday = pick(7);
    if (m->nth > 0)
        buf_addf(&m->text, "%d#%d", m->nth_weekday, m->nth);
    else
        buf_addf(&m->text, "%dL", m->nth_weekday);
}

static void model_make(struct model *m, bool seconds)
{
    *m = (struct model){.before_last = -1, .nearest = -1, .nth = -1, .seconds = seconds};
    buf_init(&m->text, 1000);
    m->set[SECOND][0] = !seconds;
    for (int field = seconds ? SECOND : MINUTE; field <= HOUR; field++) {
        model_field(m, field, 0, field == HOUR ? 23 : 59);
        buf_adds(&m->text, " ");
    }
    if (seconds) { /* a few hours are looked at: let every day fit */
        m->star[DAY] = m->star[WEEKDAY] = true;
        for (int field = DAY; field <= WEEKDAY; field++)
            memset(m->set[field], true, sizeof m->set[field]);
        buf_adds(&m->text, "* * ?");
        return;
    }
    model_days(m);
    buf_adds(&m->text, " ");
    model_field(m, MONTH, 1, 12);
    buf_adds(&m->text, " ");
    model_weekdays(m);
}

static int weekday_of(int year, int month, int day)
{
    struct time_parts p = {.year = year, .month = month, .day = day};
    int64_t ms = 0;
    assert_true(time_join(&p, &ms));
    time_split(ms, &p);
    return p.weekday % 7;
}

/* Goes away from the target day by day, both ways, until it meets one from Monday to Friday. */
static bool is_nearest(const struct time_parts *p, int target, int last)
{
    if (target > last)
        return false;
    for (int away = 0; away <= 2; away++)
        for (int sign = -1; sign <= 1; sign += 2) {
            int day = target + sign * away;
            int weekday = day >= 1 && day <= last ? weekday_of(p->year, p->month, day) : 0;
            if (weekday >= 1 && weekday <= 5)
                return day == p->day;
        }
    return false;
}

static bool model_fits(const struct model *m, int64_t local_ms)
{
    struct time_parts p;
    time_split(local_ms, &p);
    if (!m->set[SECOND][p.second] || !m->set[MINUTE][p.minute] || !m->set[HOUR][p.hour] ||
        !m->set[MONTH][p.month])
        return false;
    int last = time_month_days(p.year, p.month), weekday = p.weekday % 7;
    bool day = m->set[DAY][p.day] || (m->before_last >= 0 && p.day == last - m->before_last) ||
               (m->nearest >= 0 && is_nearest(&p, m->nearest > 0 ? m->nearest : last, last));
    bool of_week = m->set[WEEKDAY][weekday];
    if (m->nth >= 0 && weekday == m->nth_weekday)
        of_week = m->nth == 0 ? p.day + 7 > last : (p.day - 1) / 7 + 1 == m->nth;
    return m->star[DAY] || m->star[WEEKDAY] ? day && of_week : day || of_week;
}

struct model_run {
    const struct zone *zone;
    const struct model *model;
    const struct cron *cron;
    int64_t shown, next; /* latest local time shown; what cron_next said */
    int found;
};

/* Does anything come at `at`? */
static bool model_step(struct model_run *r, int64_t at, int64_t unit)
{
    int64_t local = zone_local(r->zone, at);
    bool comes = false;
    if (r->model->star[HOUR])
        comes = model_fits(r->model, local);
    else
        for (int64_t l = r->shown + unit; l <= local && !comes; l += unit)
            comes = model_fits(r->model, l);
    if (local > r->shown)
        r->shown = local;
    return comes;
}

static void model_compare(struct model_run *r, int64_t from, int64_t until, int64_t unit)
{
    r->shown = zone_local(r->zone, from - 30 * HOUR_MS);
    for (int64_t at = from - 30 * HOUR_MS; at <= from; at += unit)
        if (zone_local(r->zone, at) > r->shown)
            r->shown = zone_local(r->zone, at);
    bool more = cron_next(r->cron, r->zone, from, &r->next);
    for (int64_t at = from + unit; at <= until; at += unit) {
        bool comes = model_step(r, at, unit), said = more && r->next == at;
        if (comes != said) {
            char text[TIME_TEXT];
            time_format(at, text);
            fail_msg("%s in %s: the model says %d at %s, cron_next %d", buf_str(&r->model->text),
                     r->zone->name, comes, text, said);
        }
        if (comes) {
            more = cron_next(r->cron, r->zone, at, &r->next);
            r->found++;
        }
    }
}

static const struct {
    const char *zone, *change;
} places[] = {
    {"UTC", "2024-02-29T00:00:00Z"},
    {"Europe/Lisbon", "2026-03-29T01:00:00Z"},
    {"Europe/Lisbon", "2026-10-25T01:00:00Z"},
    {"America/New_York", "2026-03-08T07:00:00Z"},
    {"America/New_York", "2026-11-01T06:00:00Z"},
    {"Australia/Lord_Howe", "2026-04-04T15:00:00Z"},
    {"Australia/Lord_Howe", "2026-10-03T15:30:00Z"},
    {"America/Sao_Paulo", "2018-11-04T03:00:00Z"},
    {"America/Sao_Paulo", "2019-02-17T02:00:00Z"},
    {"Pacific/Chatham", "2026-04-04T14:00:00Z"},
    {"Asia/Kathmandu", "1985-12-31T18:30:00Z"},
    {"Pacific/Apia", "2011-12-30T10:00:00Z"},
};

/* How many moments were found, so that a run that compares nothing is seen. */
static int compare_many(int times, bool seconds, int64_t before, int64_t after)
{
    int found = 0;
    for (int i = 0; i < times; i++) {
        struct model m;
        struct cron c;
        struct zone z;
        struct err e = ERR_INIT;
        int64_t change = 0;
        size_t place = (size_t)pick(ARRAY_LEN(places));
        model_make(&m, seconds);
        assert_int_equal(zone_find(places[place].zone, &z, &e), 0);
        assert_true(time_parse(places[place].change, strlen(places[place].change), &change));
        int rc = cron_parse(buf_str(&m.text), &c, &e);
        if (rc != 0 && strstr(e.text, "never such a day") == NULL)
            fail_msg("%s: %s", buf_str(&m.text), e.text);
        struct model_run r = {.zone = &z, .model = &m, .cron = &c};
        if (rc == 0)
            model_compare(&r, change - before, change + after, seconds ? 1000 : 60 * 1000);
        found += r.found;
        buf_fini(&m.text);
    }
    return found;
}

TEST(each_minute_around_a_change_is_as_the_model_says)
{
    assert_true(compare_many(400, false, 30 * HOUR_MS, 40 * HOUR_MS) > 1000);
}

TEST(each_second_around_a_change_is_as_the_model_says)
{
    assert_true(compare_many(40, true, HOUR_MS, 3 * HOUR_MS) > 100);
}

TEST(each_minute_of_two_months_is_as_the_model_says)
{
    assert_true(compare_many(15, false, 0, 60 * (int64_t)24 * HOUR_MS) > 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HEAP_TEST(each_minute_around_a_change_is_as_the_model_says),
        HEAP_TEST(each_second_around_a_change_is_as_the_model_says),
        HEAP_TEST(each_minute_of_two_months_is_as_the_model_says),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
