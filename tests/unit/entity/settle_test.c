/* Definitions that take fields away and bring them back, while records change, time passes and the
 * node starts again, in any order: against a model of what everybody must see. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/err.h"
#include "entity/changes.h"
#include "support/entity_db.h"

enum { IDS = 30, FIELDS = 2, STEPS = 600, SEEDS = 12, KEEP_MS = 50000, EVENTS = 400 };

struct model_record {
    bool is_there;
    int version, a;
    int values[FIELDS]; /* 0: none; of a field that is gone: what is kept */
    struct {
        enum entity_change_verb verb;
        int version;
    } events[EVENTS];
    int events_count;
};

struct model {
    struct model_record records[IDS];
    int mask; /* which fields are declared */
    int64_t until[FIELDS];
    /* a migration */
    struct entity_def *to;
    int to_mask;
    bool back[FIELDS];
    int64_t gen;
    uint32_t random;
    int replaced; /* versions, ever */
};

static struct entity_db *f;

static int roll(struct model *m, int n)
{
    m->random = m->random * 1664525 + 1013904223;
    return (int)((m->random >> 8) % (uint32_t)n);
}

static struct entity_def *parse(int mask)
{
    char text[400];
    snprintf(text, sizeof(text),
             "{\"name\":\"T\",\"history\":{\"versions\":10000},\"fields\":{\"a\":{\"kind\":\"int\"}"
             "%s%s}}",
             mask & 1 ? ",\"f0\":{\"kind\":\"int\",\"index\":true}" : "",
             mask & 2 ? ",\"f1\":{\"kind\":\"int\"}" : "");
    struct entity_def *d = NULL;
    assert_int_equal(entity_def_parse_text(text, strlen(text), &d, NULL), 0);
    return d;
}

static bool declares(const struct model *m, int field)
{
    return (m->mask >> field & 1) != 0;
}

static void note(struct model_record *r, enum entity_change_verb verb)
{
    assert_true(r->events_count < EVENTS);
    r->events[r->events_count].verb = verb;
    r->events[r->events_count++].version = r->version;
}

/* ---- changes ---- */

static void save(struct model *m)
{
    int k = roll(m, IDS), a = roll(m, 5), n;
    struct model_record *r = &m->records[k];
    struct entity_def *d = entities_find(f->entities, "T");
    char id[16], doc[100];
    bool same = r->is_there && r->a == a;
    snprintf(id, sizeof(id), "r%d", k);
    n = snprintf(doc, sizeof(doc), "{\"a\":%d", a);
    for (int i = 0; i < FIELDS; i++) {
        int v = roll(m, 4);
        if (!declares(m, i))
            continue;
        same = same && r->values[i] == v;
        r->values[i] = v;
        if (v != 0)
            n += snprintf(doc + n, sizeof(doc) - (size_t)n, ",\"f%d\":%d", i, v);
    }
    snprintf(doc + n, sizeof(doc) - (size_t)n, "}");
    assert_int_equal(entity_db_save(f, d, id, ENTITY_UPSERT, 0, doc, NULL), 0);
    entity_def_unref(d);
    if (same)
        return;
    m->replaced += r->is_there;
    r->version = r->is_there ? r->version + 1 : 1;
    r->a = a;
    note(r, r->is_there ? ENTITY_CHANGE_UPDATED : ENTITY_CHANGE_CREATED);
    r->is_there = true;
}

static void drop(struct model *m)
{
    int k = roll(m, IDS);
    struct model_record *r = &m->records[k];
    struct entity_def *d = entities_find(f->entities, "T");
    char id[16];
    snprintf(id, sizeof(id), "r%d", k);
    assert_int_equal(entity_db_remove(f, d, id, 0, NULL), r->is_there ? 0 : ERR_NOT_FOUND);
    entity_def_unref(d);
    if (!r->is_there)
        return;
    m->replaced++;
    note(r, ENTITY_CHANGE_REMOVED);
    r->is_there = false;
    memset(r->values, 0, sizeof(r->values));
}

/* ---- definitions ---- */

static void begin(struct model *m)
{
    int mask = roll(m, 1 << FIELDS);
    if (m->to != NULL || mask == m->mask)
        return;
    struct entity_def *to = parse(mask);
    int rc = entity_db_migrate(f, to, KEEP_MS);
    if (rc != 0) { /* the last one is being told */
        assert_int_equal(rc, ERR_UNAVAILABLE);
        entity_def_unref(to);
        return;
    }
    m->to = to;
    m->to_mask = mask;
    for (int i = 0; i < FIELDS; i++)
        m->back[i] = (mask >> i & 1) != 0 && !declares(m, i) && m->until[i] > f->at;
}

static void over(struct model *m)
{
    entity_def_unref(m->to);
    m->to = NULL;
}

static void give_up(struct model *m)
{
    if (m->to == NULL)
        return;
    struct entity_def *d = entities_find(f->entities, "T");
    assert_int_equal(entity_db_define(f, d->json, NULL), 0);
    entity_def_unref(d);
    over(m);
}

static void switched(struct model *m)
{
    for (int k = 0; k < IDS; k++) {
        struct model_record *r = &m->records[k];
        bool differs = false;
        for (int i = 0; i < FIELDS; i++) {
            bool was = declares(m, i), is = (m->to_mask >> i & 1) != 0;
            if (!was && is && !m->back[i])
                r->values[i] = 0;
            differs = differs || (was != is && r->values[i] != 0);
        }
        if (!r->is_there || !differs)
            continue;
        r->version++;
        m->replaced++;
        note(r, ENTITY_CHANGE_UPDATED);
    }
    for (int i = 0; i < FIELDS; i++) {
        if (declares(m, i) && (m->to_mask >> i & 1) == 0)
            m->until[i] = f->at + KEEP_MS;
    }
    m->mask = m->to_mask;
    over(m);
}

static void step(struct model *m)
{
    if (m->to == NULL)
        return;
    int made = entity_db_migrated(f, m->to, &m->gen);
    assert_true(made >= 0);
    if (made > 0)
        return;
    assert_int_equal(entity_db_adopt(f, "T", m->gen), 0);
    switched(m);
}

/* ---- what everybody sees ---- */

static int number_of(const json_t *record, const char *name)
{
    return (int)json_integer_value(json_object_get(record, name));
}

static void look(struct model *m)
{
    struct entity_def *d = entities_find(f->entities, "T");
    for (int k = 0; k < IDS; k++) {
        const struct model_record *r = &m->records[k];
        char id[16];
        snprintf(id, sizeof(id), "r%d", k);
        json_t *found = entity_db_get(f, d, id);
        assert_true((found != NULL) == r->is_there);
        if (found == NULL)
            continue;
        assert_int_equal(number_of(found, "version"), r->version);
        assert_int_equal(number_of(found, "a"), r->a);
        assert_int_equal(number_of(found, "f0"), declares(m, 0) ? r->values[0] : 0);
        assert_int_equal(number_of(found, "f1"), declares(m, 1) ? r->values[1] : 0);
        json_decref(found);
    }
    entity_def_unref(d);
}

struct told {
    const struct model *m;
    int next[IDS];
};

static int hear(void *arg, uint64_t seq, const void *p, size_t n)
{
    struct told *t = arg;
    struct cursor c;
    struct entity_change change;
    (void)seq;
    for (cursor_init(&c, p, n); entity_change_next(&c, &change);) {
        char id[16];
        snprintf(id, sizeof(id), "%.*s", (int)change.id_len, change.id);
        int k = atoi(id + 1), at = t->next[k]++;
        const struct model_record *r = &t->m->records[k];
        bool gone = change.verb == ENTITY_CHANGE_REMOVED;
        assert_true(at < r->events_count);
        assert_int_equal(change.verb, r->events[at].verb);
        assert_int_equal(gone ? change.before.version : change.after.version,
                         r->events[at].version);
        if (change.verb == ENTITY_CHANGE_UPDATED)
            assert_int_equal(change.before.version + 1, change.after.version);
    }
    return 0;
}

/* All is told, and of each record what happened to it, in order. */
static void listen(struct model *m)
{
    struct told t = {.m = m};
    uint64_t applied = 0;
    while (entity_db_build(f, 500))
        ;
    assert_int_equal(entity_changes_each(f->reader, 0, hear, &t, &applied, NULL), 0);
    for (int k = 0; k < IDS; k++)
        assert_int_equal(t.next[k], m->records[k].events_count);
    assert_int_equal(entity_db_number(f, "SELECT count(*) FROM entity_history"), m->replaced);
    assert_int_equal(entity_db_number(f, "SELECT count(*) FROM entity_leftovers"), 0);
}

static void act(struct model *m)
{
    switch (roll(m, 20)) {
    case 0:
        begin(m);
        break;
    case 1:
    case 2:
    case 3:
        step(m);
        break;
    case 4:
        if (roll(m, 10) == 0)
            give_up(m);
        break;
    case 5:
        entity_db_build(f, (uint32_t)(1 + roll(m, 20)));
        break;
    case 6:
        entity_db_sweep(f, (uint32_t)(1 + roll(m, 20)));
        break;
    case 7:
        entity_db_restart(f);
        break;
    case 8:
        f->at += roll(m, KEEP_MS / 3);
        break;
    case 9:
    case 10:
        drop(m);
        break;
    default:
        save(m);
    }
}

static void any_order_of_definitions_and_changes_is_told_in_order_and_loses_nothing(void **state)
{
    (void)state;
    for (uint32_t seed = 1; seed <= SEEDS; seed++) {
        static struct model m;
        uint64_t scan;
        m = (struct model){.mask = 3, .random = seed};
        f = entity_db_open();
        struct entity_def *d = parse(m.mask);
        assert_int_equal(entity_db_define(f, d->json, NULL), 0);
        entity_def_unref(d);
        for (int i = 0; i < STEPS; i++) {
            act(&m);
            if (i % 20 == 0)
                look(&m);
        }
        while (m.to != NULL)
            step(&m);
        look(&m);
        listen(&m);
        f->at += KEEP_MS;
        while (entity_db_sweep(f, 50) > 0)
            ;
        look(&m);
        assert_int_equal(entity_db_number(f, "SELECT count(*) FROM kept_values"), 0);
        assert_int_equal(db_hash_scan(f->writer, &scan, NULL), 0);
        assert_true(db_hash(f->writer) == scan);
        entity_db_close(f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(
            any_order_of_definitions_and_changes_is_told_in_order_and_loses_nothing), /* E3 */
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
