#include "canon/canon_priv.h"

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/str.h"

/* One value that may win: from what a source states now, or from its memory of all it ever stated.
 */
struct candidate {
    const struct canon_said *said;
    json_t *value; /* owned; JSON null: stated as null */
    int64_t time;
    const char *arrival;
};

/* ---- values ---- */

/* The block of a group: what is not null in it. NULL when the record says nothing of it; JSON null
 * when all it says is null. */
static json_t *group_value(const struct canon_group *g, const json_t *fields)
{
    json_t *block = NULL;
    bool stated = false;
    for (size_t i = 0; i < g->fields_count; i++) {
        json_t *v = json_object_get(fields, g->fields[i]);
        if (v == NULL)
            continue;
        stated = true;
        if (json_is_null(v))
            continue;
        if (block == NULL)
            block = json_object();
        json_object_set_nocheck(block, g->fields[i], v);
    }
    return block != NULL ? block : stated ? json_null() : NULL;
}

static json_t *unit_value(const struct canon_unit *u, const json_t *fields)
{
    if (u->group != NULL)
        return group_value(u->group, fields);
    return json_incref(json_object_get(fields, u->name));
}

static bool is_null(const json_t *v)
{
    return v == NULL || json_is_null(v);
}

static size_t filled(const json_t *fields)
{
    size_t n = 0;
    const char *key;
    json_t *v;
    json_object_foreach((json_t *)fields, key, v)
    {
        n += !json_is_null(v);
    }
    return n;
}

static size_t length_of(const json_t *v)
{
    if (json_is_string(v))
        return str_utf8_len(json_string_value(v), json_string_length(v));
    return json_is_array(v) ? json_array_size(v) : json_is_object(v) ? json_object_size(v) : 0;
}

/* ---- memory of what was ever stated ---- */

static json_t *ever_entry(json_t *v, int64_t time, const char *arrival)
{
    return json_pack("[O,I,s]", v, (json_int_t)time, arrival);
}

/* Whether (v, time) is to stand where (old, old_time) stands. `first` wants the earliest, the
 * others the extreme value, the earliest of equals. Whatever the order of statements, the same one
 * stays. */
static bool ever_better(const char *what, const json_t *v, int64_t time, const json_t *old,
                        int64_t old_time)
{
    int by_value = json_compare(v, old);
    int by_time = time < old_time ? -1 : time > old_time;
    if (strcmp(what, "first") == 0)
        return by_time < 0 || (by_time == 0 && by_value < 0);
    if (by_value != 0)
        return (strcmp(what, "min") == 0) == (by_value < 0);
    return by_time < 0;
}

static void ever_note(json_t *slot, const char *what, json_t *v, int64_t time, const char *arrival)
{
    json_t *old = json_object_get(slot, what);
    if (old != NULL && !ever_better(what, v, time, json_array_get(old, 0),
                                    json_integer_value(json_array_get(old, 1))))
        return;
    json_object_set_new(slot, what, ever_entry(v, time, arrival));
}

static void ever_unit(json_t *ever, const struct canon_unit *u, const struct canon_said *s)
{
    static const char *const kinds[] = {"first", "min", "max"};
    AUTO(json_unref) json_t *v = unit_value(u, s->fields);
    if (is_null(v))
        return;
    json_t *slot = json_object_get(ever, u->name);
    if (slot == NULL) {
        slot = json_object();
        json_object_set_new(ever, u->name, slot);
    }
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
        ever_note(slot, kinds[i], v, s->observed_at, s->arrival);
}

json_t *canon_ever_add(const struct canon_model *m, json_t *ever, const struct canon_said *s)
{
    if (ever == NULL)
        ever = json_object();
    const char *field;
    json_t *v;
    json_object_foreach(s->fields, field, v)
    {
        struct canon_unit u = canon_unit_of_field(m, field);
        ever_unit(ever, &u, s);
    }
    return ever;
}

bool canon_replaces(int64_t a_time, const json_t *a, int64_t b_time, const json_t *b)
{
    return b_time > a_time || (b_time == a_time && json_compare(b, a) > 0);
}

/* ---- order ---- */

/* Newest first; then the better rank, origin, source id: no two source records are equal. */
static int newest(const struct candidate *a, const struct candidate *b)
{
    if (a->time != b->time)
        return a->time > b->time ? -1 : 1;
    if (a->said->rank != b->said->rank)
        return a->said->rank < b->said->rank ? -1 : 1;
    int c = strcmp(a->said->origin, b->said->origin);
    return c != 0 ? c : strcmp(a->said->source_id, b->said->source_id);
}

static int newest_sort(const void *a, const void *b)
{
    return newest(a, b);
}

/* ---- policies: each picks one of the candidates, sorted newest first, none of them null ---- */

static size_t pick_first(const struct candidate *c, size_t n)
{
    size_t best = 0;
    for (size_t i = 1; i < n; i++)
        if (c[i].time < c[best].time)
            best = i;
    return best;
}

static size_t pick_extreme(const struct candidate *c, size_t n, int sign)
{
    size_t best = 0;
    for (size_t i = 1; i < n; i++)
        if (sign * json_compare(c[i].value, c[best].value) > 0)
            best = i;
    return best;
}

static size_t pick_longest(const struct candidate *c, size_t n)
{
    size_t best = 0;
    for (size_t i = 1; i < n; i++)
        if (length_of(c[i].value) > length_of(c[best].value))
            best = i;
    return best;
}

static size_t pick_most_complete(const struct candidate *c, size_t n)
{
    size_t best = 0;
    for (size_t i = 1; i < n; i++)
        if (filled(c[i].said->fields) > filled(c[best].said->fields))
            best = i;
    return best;
}

static size_t pick_majority(const struct candidate *c, size_t n)
{
    size_t best = 0, best_votes = 0;
    for (size_t i = 0; i < n; i++) {
        size_t votes = 0;
        for (size_t k = 0; k < n; k++)
            votes += json_compare(c[i].value, c[k].value) == 0;
        if (votes > best_votes) {
            best = i;
            best_votes = votes;
        }
    }
    return best;
}

static size_t pick(enum canon_policy p, const struct candidate *c, size_t n)
{
    switch (p) {
    case POLICY_LATEST:
    case POLICY_MANUAL:
    case POLICY_UNION: /* the newest stands for the joined value in the footprint */
        return 0;
    case POLICY_FIRST:
        return pick_first(c, n);
    case POLICY_MIN:
        return pick_extreme(c, n, -1);
    case POLICY_MAX:
        return pick_extreme(c, n, 1);
    case POLICY_LONGEST:
        return pick_longest(c, n);
    case POLICY_MOST_COMPLETE:
        return pick_most_complete(c, n);
    case POLICY_MAJORITY:
        return pick_majority(c, n);
    case POLICY_SOURCE_OF_TRUTH:
    case POLICY_COUNT:
        break;
    }
    PANIC("policy %d does not pick", (int)p);
}

/* The best authority that stated it, null included: index, or n when none did. */
static size_t pick_truth(const struct canon_rule *r, const struct candidate *c, size_t n)
{
    for (size_t rank = 0; rank < r->ranks_count; rank++)
        for (size_t i = 0; i < n; i++)
            if (strcmp(c[i].said->origin, r->ranks[rank]) == 0)
                return i;
    return n;
}

static int by_value(const void *a, const void *b)
{
    return json_compare(*(json_t *const *)a, *(json_t *const *)b);
}

static json_t *join_distinct(const struct candidate *c, size_t n)
{
    AUTO(json_unref) json_t *all = json_array();
    for (size_t i = 0; i < n; i++) {
        if (json_is_array(c[i].value))
            json_array_extend(all, c[i].value);
        else
            json_array_append(all, c[i].value);
    }
    size_t count = json_array_size(all);
    AUTO(mem_freep) json_t **sorted = mem_new_array(count + 1, sizeof *sorted);
    for (size_t i = 0; i < count; i++)
        sorted[i] = json_array_get(all, i);
    qsort(sorted, count, sizeof *sorted, by_value);
    json_t *out = json_array();
    for (size_t i = 0; i < count; i++)
        if (!json_is_null(sorted[i]) && (i == 0 || json_compare(sorted[i - 1], sorted[i]) != 0))
            json_array_append(out, sorted[i]);
    return out;
}

/* ---- candidates ---- */

static bool looks_at_all_ever_stated(enum canon_policy p, const char **what)
{
    *what = p == POLICY_FIRST ? "first" : p == POLICY_MIN ? "min" : p == POLICY_MAX ? "max" : NULL;
    return *what != NULL;
}

static bool candidate_fill(const struct canon_unit *u, const struct canon_said *s, const char *what,
                           struct candidate *c)
{
    json_t *slot = what ? json_object_get(json_object_get(s->ever, u->name), what) : NULL;
    *c = (struct candidate){.said = s, .time = s->observed_at, .arrival = s->arrival};
    if (slot != NULL) {
        c->value = json_incref(json_array_get(slot, 0));
        c->time = json_integer_value(json_array_get(slot, 1));
        c->arrival = json_string_value(json_array_get(slot, 2));
    } else {
        c->value = unit_value(u, s->fields);
    }
    return c->value != NULL;
}

/* All that state the unit, newest first as `said` is; with `nulls` also those that state it as
 * null.
 */
static size_t candidates(const struct canon_unit *u, const struct canon_said *const *said,
                         size_t count, const char *what, bool nulls, struct candidate *out)
{
    size_t n = 0;
    for (size_t i = 0; i < count; i++) {
        if (!candidate_fill(u, said[i], what, &out[n]))
            continue;
        if (!nulls && json_is_null(out[n].value))
            continue;
        n++;
    }
    if (what != NULL) /* the times are not those of the records */
        qsort(out, n, sizeof *out, newest_sort);
    return n;
}

static void candidates_fini(struct candidate *c, size_t n)
{
    for (size_t i = 0; i < n; i++)
        json_decref(c[i].value);
}

/* ---- footprint ---- */

static json_t *member_of(const struct canon_unit *u, const char *field, json_t *value)
{
    return u->group != NULL ? json_object_get(value, field) : value;
}

static bool beat_has(const json_t *beat, const json_t *v)
{
    for (size_t i = 0; i < json_array_size(beat); i++)
        if (json_compare(json_object_get(json_array_get(beat, i), "v"), v) == 0)
            return true;
    return false;
}

static json_t *beaten(const struct canon_unit *u, const char *field, const json_t *won,
                      const struct candidate *c, size_t n)
{
    json_t *beat = NULL;
    for (size_t i = 0; i < n && json_array_size(beat) < CANON_BEAT_MAX; i++) {
        json_t *v = member_of(u, field, c[i].value);
        if (is_null(v) || (won != NULL && json_compare(v, won) == 0) || beat_has(beat, v))
            continue;
        if (beat == NULL)
            beat = json_array();
        json_array_append_new(beat,
                              json_pack("{s:O,s:s,s:s,s:I}", "v", v, "o", c[i].said->origin, "s",
                                        c[i].said->source_id, "t", (json_int_t)c[i].time));
    }
    return beat;
}

struct decision {
    const struct canon_unit *unit;
    enum canon_policy policy; /* the one that decided: the fallback when no authority spoke */
    const struct candidate *winner;
    json_t *value; /* owned: the winner's, or the union */
};

static void decide_field(const struct decision *d, const char *field, const struct candidate *c,
                         size_t n, struct canon_survived *out)
{
    json_t *won = member_of(d->unit, field, d->value);
    if (is_null(won))
        won = NULL;
    if (won != NULL)
        json_object_set_nocheck(out->golden, field, won);
    if (out->footprint == NULL)
        return;
    bool joined = d->policy == POLICY_UNION;
    json_t *beat = joined ? NULL : beaten(d->unit, field, won, c, n);
    if (won == NULL && beat == NULL)
        return;
    json_t *print = json_pack("{s:s,s:s,s:s,s:I,s:s}", "o", d->winner->said->origin, "s",
                              d->winner->said->source_id, "a", d->winner->arrival, "t",
                              (json_int_t)d->winner->time, "p", canon_policy_name(d->policy));
    if (d->unit->group != NULL)
        json_object_set_new(print, "g", json_string(d->unit->group->name));
    if (beat != NULL)
        json_object_set_new(print, "beat", beat);
    json_object_set_new(out->footprint, field, print);
}

static void decide_fields(const struct decision *d, const struct candidate *c, size_t n,
                          struct canon_survived *out)
{
    if (d->unit->group == NULL) {
        decide_field(d, d->unit->name, c, n, out);
        return;
    }
    for (size_t i = 0; i < d->unit->group->fields_count; i++)
        decide_field(d, d->unit->group->fields[i], c, n, out);
}

static void survive_by(const struct canon_unit *u, enum canon_policy policy,
                       const struct canon_said *const *said, size_t count, struct candidate *c,
                       struct canon_survived *out)
{
    const char *what;
    looks_at_all_ever_stated(policy, &what);
    size_t n = candidates(u, said, count, what, false, c);
    if (n > 0) {
        struct decision d = {.unit = u, .policy = policy, .winner = &c[pick(policy, c, n)]};
        d.value = policy == POLICY_UNION ? join_distinct(c, n) : json_incref(d.winner->value);
        decide_fields(&d, c, n, out);
        json_decref(d.value);
        out->needs_review |= policy == POLICY_MANUAL;
    }
    candidates_fini(c, n);
}

/* Whoever speaks alone wins, whatever the policy; most records have one source. What only looks at
 * what was ever said has said one thing. */
static void survive_alone(const struct canon_unit *u, const struct canon_said *s,
                          struct canon_survived *out)
{
    size_t count = u->group != NULL ? u->group->fields_count : 1;
    for (size_t i = 0; i < count; i++) {
        const char *field = u->group != NULL ? u->group->fields[i] : u->name;
        json_t *v = json_object_get(s->fields, field);
        if (is_null(v))
            continue;
        json_object_set_nocheck(out->golden, field, v);
        out->needs_review |= u->rule != NULL && u->rule->policy == POLICY_MANUAL;
    }
}

static bool is_alone(const struct canon_unit *u, const struct canon_said *said, size_t count)
{
    return count == 1 && said->ever == NULL && canon_unit_lets_alone(u);
}

static void survive_unit(const struct canon_unit *u, const struct canon_said *const *said,
                         size_t count, struct candidate *c, struct canon_survived *out)
{
    enum canon_policy policy = u->rule != NULL ? u->rule->policy : POLICY_LATEST;
    if (policy != POLICY_SOURCE_OF_TRUTH) {
        survive_by(u, policy, said, count, c, out);
        return;
    }
    size_t n = candidates(u, said, count, NULL, true, c);
    size_t at = pick_truth(u->rule, c, n);
    if (at < n) {
        struct decision d = {.unit = u, .policy = policy, .winner = &c[at], .value = c[at].value};
        decide_fields(&d, c, n, out);
    }
    candidates_fini(c, n);
    if (at == n)
        survive_by(u, u->rule->fallback, said, count, c, out);
}

/* ---- all units ---- */

static int said_newest(const void *a, const void *b)
{
    const struct canon_said *const *x = a, *const *y = b;
    struct candidate p = {.said = *x, .time = (*x)->observed_at};
    struct candidate q = {.said = *y, .time = (*y)->observed_at};
    return newest(&p, &q);
}

int canon_survive(const struct canon_model *m, const struct canon_units *units,
                  const struct canon_said *said, size_t count, bool explain,
                  struct canon_survived *out, struct err *e)
{
    *out = (struct canon_survived){.golden = json_object(),
                                   .footprint = explain ? json_object() : NULL};
    struct canon_units stated = {0};
    int rc = units == NULL ? canon_units_stated(m, said, count, &stated, e) : 0;
    units = units == NULL ? &stated : units;
    AUTO(mem_freep) struct candidate *c = mem_try((count + 1) * sizeof *c);
    AUTO(mem_freep) const struct canon_said **sorted = mem_try((count + 1) * sizeof *sorted);
    if (rc == 0 && (c == NULL || sorted == NULL))
        rc = err_set(e, ERR_NOMEM, "survivorship over %zu source records", count);
    for (size_t i = 0; i < count && rc == 0; i++)
        sorted[i] = &said[i];
    if (rc == 0 && count > 1)
        qsort(sorted, count, sizeof *sorted, said_newest);
    for (size_t i = 0; i < units->count && rc == 0; i++)
        if (!explain && is_alone(&units->list[i], said, count))
            survive_alone(&units->list[i], said, out);
        else
            survive_unit(&units->list[i], sorted, count, c, out);
    canon_units_fini(&stated);
    if (rc != 0)
        canon_survived_fini(out);
    return rc;
}

void canon_survived_fini(struct canon_survived *s)
{
    json_decref(s->golden);
    json_decref(s->footprint);
    *s = (struct canon_survived){0};
}
