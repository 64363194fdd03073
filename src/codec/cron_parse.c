#include "codec/cron.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/time.h"
#include "codec/days.h"

enum { CRON_FIELDS_MAX = 8, WEEKDAYS = 7, NTH_MAX = 5 };

struct cron_field {
    const char *name;
    int min, max, step_max; /* step_max: where "a/n" ends */
    const char *const *words;
    int word_count, word_first;
};

static const char *const cron_months[] = {"JAN", "FEB", "MAR", "APR", "MAY", "JUN",
                                          "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"};
static const char *const cron_weekdays[] = {"SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"};

enum cron_place { SECOND, MINUTE, HOUR, DAY, MONTH, WEEKDAY, PLACES };

static const struct cron_field cron_fields[PLACES] = {
    [SECOND] = {"second", 0, 59, 59, NULL, 0, 0},
    [MINUTE] = {"minute", 0, 59, 59, NULL, 0, 0},
    [HOUR] = {"hour", 0, 23, 23, NULL, 0, 0},
    [DAY] = {"day", 1, 31, 31, NULL, 0, 0},
    [MONTH] = {"month", 1, 12, 12, cron_months, 12, 1},
    [WEEKDAY] = {"weekday", 0, 7, 6, cron_weekdays, WEEKDAYS, 0},
};

static const struct {
    const char *name, *text;
} cron_macros[] = {
    {"@yearly", "0 0 1 1 *"}, {"@annually", "0 0 1 1 *"}, {"@monthly", "0 0 1 * *"},
    {"@weekly", "0 0 * * 0"}, {"@daily", "0 0 * * *"},    {"@midnight", "0 0 * * *"},
    {"@hourly", "0 * * * *"},
};

/* One item of a list, `text` as it stands there, for messages. */
struct cron_item {
    const struct cron_field *field;
    struct str text;
    const char *p, *end; /* what is not read yet */
};

static int cron_bad(const struct cron_item *it, struct err *e, const char *why)
{
    return err_set(e, ERR_INVALID, "%s '%.*s': %s", it->field->name, (int)it->text.n, it->text.p,
                   why);
}

static bool item_take(struct cron_item *it, char c)
{
    if (it->p == it->end || toupper((unsigned char)*it->p) != c)
        return false;
    it->p++;
    return true;
}

static bool item_digits(struct cron_item *it, int *out)
{
    int value = 0, n = 0;
    for (; it->p < it->end && isdigit((unsigned char)*it->p); it->p++, n++)
        value = value > 999 ? value : value * 10 + (*it->p - '0');
    *out = value;
    return n > 0;
}

/* Letters that are a name of the field; *n of them. */
static bool item_word(struct cron_item *it, int *out, int *n)
{
    *n = 0;
    while (it->p + *n < it->end && isalpha((unsigned char)it->p[*n]))
        ++*n;
    for (int i = 0; i < it->field->word_count && *n >= 3; i++) {
        /* "FRIL" is a name and the L for the last. */
        bool last = *n == 4 && toupper((unsigned char)it->p[3]) == 'L';
        char word[4] = {(char)toupper((unsigned char)it->p[0]),
                        (char)toupper((unsigned char)it->p[1]),
                        (char)toupper((unsigned char)it->p[2]), '\0'};
        if ((*n == 3 || last) && strcmp(word, it->field->words[i]) == 0) {
            *out = i + it->field->word_first;
            it->p += 3;
            return true;
        }
    }
    return false;
}

static int item_no_word(const struct cron_item *it, int letters, struct err *e)
{
    const struct cron_field *f = it->field;
    char word[16];
    snprintf(word, sizeof word, "%.*s", letters, it->p);
    for (char *c = word; *c != '\0'; c++)
        *c = (char)toupper((unsigned char)*c);
    const char *near = NULL;
    for (int i = 0; i < f->word_count; i++) /* "MONDAY", "Sept" */
        if (strncmp(word, f->words[i], 3) == 0)
            near = f->words[i];
    if (near == NULL && f->word_count > 0)
        near = str_nearest(word, f->words, (size_t)f->word_count);
    if (strcmp(word, "H") == 0)
        return cron_bad(it, e,
                        "H is not known here; write a number, and use jitter to spread runs");
    char why[96];
    if (near != NULL)
        snprintf(why, sizeof why, "there is no such name; did you mean %s", near);
    else
        snprintf(why, sizeof why, "write numbers %d-%d%s%s", f->min, f->max,
                 f->word_count > 0 ? " or names as " : "", f->word_count > 0 ? f->words[0] : "");
    return cron_bad(it, e, why);
}

static int item_value(struct cron_item *it, int *out, struct err *e)
{
    int letters = 0;
    if (it->p < it->end && isalpha((unsigned char)*it->p))
        return item_word(it, out, &letters) ? 0 : item_no_word(it, letters, e);
    char why[96];
    if (!item_digits(it, out)) {
        if (it->p < it->end && *it->p == '?')
            return cron_bad(it, e, "? is for the day and the weekday alone; write *");
        snprintf(why, sizeof why, "write *, a number %d-%d, a range or a list", it->field->min,
                 it->field->max);
        return cron_bad(it, e, why);
    }
    if (*out >= it->field->min && *out <= it->field->max)
        return 0;
    snprintf(why, sizeof why, "%d is not within %d-%d", *out, it->field->min, it->field->max);
    return cron_bad(it, e, why);
}

static int item_range_end(struct cron_item *it, int low, int *high, struct err *e)
{
    const struct cron_field *f = it->field;
    int rc = item_value(it, high, e);
    if (rc != 0)
        return rc;
    if (f->max == WEEKDAYS && *high == 0 && low > 0)
        *high = WEEKDAYS; /* FRI-SUN */
    if (low <= *high)
        return 0;
    char why[96];
    snprintf(why, sizeof why, "the range runs backwards; write it as two: %d-%d,%d-%d", low,
             f->step_max, f->min, *high);
    return cron_bad(it, e, why);
}

static int item_step(struct cron_item *it, int low, int high, int *step, struct err *e)
{
    char why[96];
    if (!item_digits(it, step))
        return cron_bad(it, e, "a step is a number, as in */15");
    if (*step == 0)
        return cron_bad(it, e, "a step is at least 1");
    if (*step <= high - low)
        return 0;
    snprintf(why, sizeof why, "no second one comes after a step of %d within %d-%d; write %d",
             *step, low, high, low);
    return cron_bad(it, e, why);
}

static int item_rest(const struct cron_item *it, struct err *e)
{
    return it->p == it->end ? 0 : cron_bad(it, e, "not understood; write *, a, a-b, a-b/n or a,b");
}

/* L, L-n, LW; nW is met behind its number. */
static int item_last_day(struct cron_item *it, struct cron *c, struct err *e)
{
    int before = 0;
    if (item_take(it, 'W')) {
        c->day_nearest_last = true;
        return item_rest(it, e);
    }
    if (item_take(it, '-') && (!item_digits(it, &before) || before < 1 || before > 30))
        return cron_bad(it, e, "write L-1 to L-30: so many days before the last of the month");
    c->days_from_last |= UINT32_C(1) << before;
    return item_rest(it, e);
}

static int item_nth_weekday(struct cron_item *it, struct cron *c, int weekday, struct err *e)
{
    int nth = 0; /* L: the last */
    if (it->p[-1] == '#' && (!item_digits(it, &nth) || nth < 1 || nth > NTH_MAX))
        return cron_bad(it, e, "write #1 to #5: which one of the month");
    c->weekdays_nth[weekday % WEEKDAYS] |= (uint8_t)(1 << nth);
    return item_rest(it, e);
}

static int cron_item(struct cron_item *it, struct cron *c, uint64_t *set, struct err *e)
{
    const struct cron_field *f = it->field;
    bool is_day = f == &cron_fields[DAY], is_weekday = f == &cron_fields[WEEKDAY];
    int low = f->min, high = f->step_max, step = 1, rc;
    bool whole = item_take(it, '*') || ((is_day || is_weekday) && item_take(it, '?'));
    if (!whole) {
        if (is_day && item_take(it, 'L'))
            return item_last_day(it, c, e);
        if (is_weekday && it->text.n == 1 && item_take(it, 'L'))
            return cron_bad(it, e, "the last of which weekday? write FRIL, or SAT for Saturdays");
        if ((rc = item_value(it, &low, e)) != 0)
            return rc;
        if (is_day && item_take(it, 'W')) {
            c->days_nearest |= UINT32_C(1) << low;
            return item_rest(it, e);
        }
        if (is_weekday && (item_take(it, 'L') || item_take(it, '#')))
            return item_nth_weekday(it, c, low, e);
        if (item_take(it, '-')) {
            if ((rc = item_range_end(it, low, &high, e)) != 0)
                return rc;
        } else if (it->p == it->end || *it->p != '/') {
            high = low;
        }
    }
    if (item_take(it, '/') && (rc = item_step(it, low, high, &step, e)) != 0)
        return rc;
    for (int i = low; i <= high; i += step)
        *set |= UINT64_C(1) << (is_weekday ? i % WEEKDAYS : i);
    return item_rest(it, e);
}

static int cron_field(enum cron_place place, struct str text, struct cron *c, uint64_t *set,
                      struct err *e)
{
    const char *p = text.p, *end = text.p + text.n;
    for (;;) {
        const char *comma = memchr(p, ',', (size_t)(end - p));
        const char *stop = comma != NULL ? comma : end;
        struct cron_item it = {&cron_fields[place], {p, (size_t)(stop - p)}, p, stop};
        int rc = cron_item(&it, c, set, e);
        if (rc != 0 || comma == NULL)
            return rc;
        p = comma + 1;
    }
}

static bool cron_is_space(char c)
{
    return c == ' ' || c == '\t';
}

/* How many fields there are, of which the first CRON_FIELDS_MAX are noted. */
static int cron_split(const char *text, struct str out[CRON_FIELDS_MAX])
{
    int n = 0;
    for (const char *p = text; *p != '\0';) {
        if (cron_is_space(*p)) {
            p++;
            continue;
        }
        const char *start = p;
        while (*p != '\0' && !cron_is_space(*p))
            p++;
        if (n < CRON_FIELDS_MAX)
            out[n] = (struct str){start, (size_t)(p - start)};
        n++;
    }
    return n;
}

static int cron_parse_fields(const char *text, struct cron *out, struct err *e)
{
    struct str fields[CRON_FIELDS_MAX];
    int n = cron_split(text, fields);
    if (n != 5 && n != 6)
        return err_set(e, ERR_INVALID,
                       "%d field%s; write five, minute hour day month weekday, or "
                       "six with the second in front%s",
                       n, n == 1 ? "" : "s", n == 7 ? "; a year is not possible" : "");
    struct cron c = {0};
    uint64_t sets[PLACES] = {[SECOND] = n == 5}; /* without the field: second 0 */
    for (int i = 0; i < n; i++) {
        enum cron_place place = (enum cron_place)(i + PLACES - n);
        int rc = cron_field(place, fields[i], &c, &sets[place], e);
        if (rc != 0)
            return rc;
    }
    c.seconds = sets[SECOND];
    c.minutes = sets[MINUTE];
    c.hours = (uint32_t)sets[HOUR];
    c.days = (uint32_t)sets[DAY];
    c.months = (uint32_t)sets[MONTH];
    c.weekdays = (uint32_t)sets[WEEKDAY];
    c.any_hour = fields[n - 4].p[0] == '*';
    c.any_day = fields[n - 3].p[0] == '*' || fields[n - 3].p[0] == '?';
    c.any_weekday = fields[n - 1].p[0] == '*' || fields[n - 1].p[0] == '?';
    int64_t local;
    if (!cron_next_local(&c, days_of(2000, 1, 1) * 86400, &local))
        return err_set(e, ERR_INVALID,
                       "day '%.*s', month '%.*s', weekday '%.*s': there is never such a day; "
                       "for the end of a month write L as the day",
                       (int)fields[n - 3].n, fields[n - 3].p, (int)fields[n - 2].n, fields[n - 2].p,
                       (int)fields[n - 1].n, fields[n - 1].p);
    *out = c;
    return 0;
}

static int cron_parse_every(const char *text, struct cron *out, struct err *e)
{
    while (cron_is_space(*text))
        text++;
    int64_t ms;
    int rc = duration_parse(text, &ms, e);
    if (rc != 0)
        return err_context(e, "@every");
    if (ms < CRON_EVERY_MIN_MS)
        return err_set(e, ERR_INVALID, "@every '%s': at least 1s", text);
    *out = (struct cron){.every_ms = ms};
    return 0;
}

static int cron_parse_macro(const char *text, struct cron *out, struct err *e)
{
    const char *names[ARRAY_LEN(cron_macros) + 1] = {"@every"};
    char name[24];
    size_t n = strcspn(text, " \t");
    snprintf(name, sizeof name, "%.*s", (int)(n < sizeof name ? n : sizeof name - 1), text);
    for (char *c = name; *c != '\0'; c++)
        *c = (char)tolower((unsigned char)*c);
    if (strcmp(name, "@every") == 0)
        return cron_parse_every(text + n, out, e);
    for (size_t i = 0; i < ARRAY_LEN(cron_macros); i++) {
        names[i + 1] = cron_macros[i].name;
        if (strcmp(name, cron_macros[i].name) == 0 && text[n + strspn(text + n, " \t")] == '\0')
            return cron_parse_fields(cron_macros[i].text, out, e);
    }
    if (strcmp(name, "@reboot") == 0)
        return err_set(e, ERR_INVALID, "@reboot is no time; use on_start instead of cron");
    const char *near = str_nearest(name, names, ARRAY_LEN(names));
    return err_set(e, ERR_INVALID, "there is no macro '%.32s'; %s%s", text,
                   near != NULL ? "did you mean "
                                : "write @hourly, @daily, @weekly, @monthly, "
                                  "@yearly or @every 10s",
                   near != NULL ? near : "");
}

int cron_parse(const char *text, struct cron *out, struct err *e)
{
    while (cron_is_space(*text))
        text++;
    if (strlen(text) > CRON_TEXT_MAX)
        return err_set(e, ERR_INVALID, "longer than %d bytes; write it as several schedules",
                       CRON_TEXT_MAX);
    if (*text == '\0')
        return err_set(e, ERR_INVALID, "empty; write five fields, minute hour day month weekday");
    for (const char *p = text; *p != '\0'; p++)
        if (*p != '\t' && !isprint((unsigned char)*p))
            return err_set(e, ERR_INVALID, "byte %d is not a printable character", (int)(p - text));
    if (str_starts(text, "TZ=") || str_starts(text, "CRON_TZ="))
        return err_set(e, ERR_INVALID, "the time zone does not belong here; set tz beside it");
    return *text == '@' ? cron_parse_macro(text, out, e) : cron_parse_fields(text, out, e);
}
