/* Guarantee E1: a filter returns what evaluating it over all visible rows in memory returns. Random
 * records and filters; SQL, the evaluator in memory and an oracle that shares no code with either
 * must find the same rows. */
#include "entity/filter.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/err.h"
#include "entity/read.h"
#include "support/entity_db.h"
#include "support/filter_oracle.h"

static const char fields_json[] =
    "{\"t\":{\"kind\":\"text\"},\"i\":{\"kind\":\"int\"},\"n\":{\"kind\":\"number\"},"
    "\"d\":{\"kind\":\"decimal\"},\"b\":{\"kind\":\"bool\"},\"w\":{\"kind\":\"time\"},"
    "\"dt\":{\"kind\":\"date\"},\"u\":{\"kind\":\"uuid\"},\"em\":{\"kind\":\"email\"},"
    "\"by\":{\"kind\":\"bytes\"},"
    "\"r\":{\"kind\":\"ref\",\"to\":\"Thing\",\"check\":false},"
    "\"c\":{\"kind\":\"choice\",\"choices\":[\"a\",\"B\",\"cc\"]},\"g\":{\"kind\":\"geo\"},"
    "\"l\":{\"kind\":\"list\",\"of\":{\"kind\":\"text\"}},"
    "\"ll\":{\"kind\":\"list\",\"of\":{\"kind\":\"list\",\"of\":{\"kind\":\"int\"}}},"
    "\"ld\":{\"kind\":\"list\",\"of\":{\"kind\":\"decimal\"}},"
    "\"lw\":{\"kind\":\"list\",\"of\":{\"kind\":\"time\"}},"
    "\"lb\":{\"kind\":\"list\",\"of\":{\"kind\":\"bool\"}},"
    "\"m\":{\"kind\":\"map\",\"of\":{\"kind\":\"int\"}},"
    "\"md\":{\"kind\":\"map\",\"of\":{\"kind\":\"list\",\"of\":{\"kind\":\"decimal\"}}},"
    "\"lm\":{\"kind\":\"list\",\"of\":{\"kind\":\"map\",\"of\":{\"kind\":\"text\"}}},"
    "\"j\":{\"kind\":\"json\"},\"x\":{\"kind\":\"list\"},\"mo\":{\"kind\":\"map\"}}";

enum { SEEDS = 6, ROWS = 60, FILTERS = 1500 };

static uint64_t state_;

static uint32_t rnd(uint32_t n)
{
    state_ ^= state_ << 13;
    state_ ^= state_ >> 7;
    state_ ^= state_ << 17;
    return (uint32_t)(state_ >> 11) % n;
}

/* ---- values ---- */

static json_t *any_text(void)
{
    static const char *const texts[] = {"",
                                        "a",
                                        "A",
                                        "ab",
                                        "aB",
                                        "b*",
                                        "*",
                                        "\xc3\xa9",
                                        "abc",
                                        "z",
                                        "a b",
                                        "'",
                                        "%",
                                        "1",
                                        "\"",
                                        "\\",
                                        "\xc3\x89",
                                        "a_b",
                                        "true",
                                        "[1]",
                                        "{}",
                                        "null",
                                        "\\*a",
                                        "\t",
                                        "\xf0\x9f\x98\x80q",
                                        "\xed\x9f\xbf",
                                        "ba",
                                        "0",
                                        "1.0",
                                        "\x7f",
                                        "a.b",
                                        "$eq",
                                        "aab",
                                        "\xef\xbf\xbd"};
    return json_string(texts[rnd(sizeof(texts) / sizeof(texts[0]))]);
}

static json_t *any_int(void)
{
    static const json_int_t ints[] = {0,         1,         -1, 2, -3, 9007199254740993,
                                      INT64_MAX, INT64_MIN, 10, 3};
    return json_integer(ints[rnd(10)]);
}

static json_t *any_number(void)
{
    static const double reals[] = {0.1,
                                   1.5,
                                   -2.25,
                                   1e20,
                                   3.3333333333333335,
                                   1e-7,
                                   5e-324,
                                   1e300,
                                   0.3,
                                   0.30000000000000004,
                                   9.5e15,
                                   -0.1,
                                   1e16,
                                   9007199254740992.0,
                                   2.5};
    if (rnd(8) == 0)
        return json_real((double)((int)rnd(2000000) - 1000000) / 977.0);
    return rnd(2) ? any_int() : json_real(reals[rnd(15)]);
}

static json_t *any_decimal(void)
{
    static const char *const texts[] = {"0",
                                        "1",
                                        "1.5",
                                        "-1.5",
                                        "10",
                                        "9.99",
                                        "-10",
                                        "0.05",
                                        "100",
                                        "-1",
                                        "1.50",
                                        "+1",
                                        "0.005",
                                        "-0.05",
                                        "-0",
                                        "99999999999999999999.5",
                                        "-99999999999999999999.25",
                                        "00.1",
                                        "9.990"};
    return rnd(8) == 0 ? json_integer((json_int_t)rnd(12) - 2) : json_string(texts[rnd(19)]);
}

static json_t *any_time(void)
{
    static const char *const texts[] = {"2026-01-01T00:00:00.000Z",  "2026-01-01T00:00:00Z",
                                        "2026-01-01T01:00:00+01:00", "2025-12-31T22:30:00-01:30",
                                        "2026-01-02T00:00:00.001Z",  "2023-11-14T22:13:20Z",
                                        "1969-12-31T23:59:59.999Z",  "2026-01-01"};
    return json_string(texts[rnd(8)]);
}

static json_t *any_date(void)
{
    return json_sprintf("20%02u-0%u-1%u", 24 + rnd(3), 1 + rnd(2), rnd(3));
}

static json_t *any_uuid(void)
{
    return json_sprintf(rnd(2) ? "0000000%u-0000-7000-8000-00000000000A"
                               : "0000000%u-0000-7000-8000-00000000000a",
                        rnd(4));
}

static json_t *any_email(void)
{
    static const char *const texts[] = {"a@b.de", "A@b.de", "ab@c.org", "z@b.de"};
    return json_string(texts[rnd(4)]);
}

static json_t *any_bytes(void)
{
    return json_string(((const char *[]){"", "YQ==", "YWI=", "YWJj", "yq=="})[rnd(4)]);
}

static json_t *any_id(void)
{
    return json_string(((const char *[]){"001", "a", "A", "b*", "ab"})[rnd(5)]);
}

static json_t *any_choice(void)
{
    return json_string(((const char *[]){"a", "B", "cc"})[rnd(3)]);
}

static json_t *any_bool(void)
{
    return json_boolean(rnd(2));
}

static json_t *list_of(json_t *(*make)(void))
{
    json_t *a = json_array();
    for (uint32_t i = rnd(4); i > 0; i--)
        json_array_append_new(a, make());
    return a;
}

static json_t *ints(void)
{
    return list_of(any_int);
}

static json_t *any_json(int depth)
{
    json_t *v;
    switch (rnd(depth > 0 ? 8 : 4)) {
    case 0:
        return any_text();
    case 1:
        return any_number();
    case 2:
        return any_bool();
    case 3:
        return json_null();
    case 4:
    case 5:
        v = json_array();
        for (uint32_t i = rnd(4); i > 0; i--)
            json_array_append_new(v, any_json(depth - 1));
        return v;
    default:
        v = json_object();
        if (rnd(3))
            json_object_set_new(v, "a", any_json(depth - 1));
        if (rnd(2))
            json_object_set_new(v, "b", any_json(depth - 1));
        return v;
    }
}

static json_t *anything(void)
{
    return any_json(2);
}

static json_t *map_of(json_t *(*make)(void))
{
    json_t *o = json_object();
    if (rnd(3))
        json_object_set_new(o, "a", make());
    if (rnd(3) == 0)
        json_object_set_new(o, "k k", make());
    return o;
}

static json_t *city(void)
{
    return map_of(any_text);
}

static json_t *decimals(void)
{
    return list_of(any_decimal);
}

static json_t *any_record(void)
{
    json_t *o = json_object();
    struct {
        const char *name;
        json_t *value;
    } all[] = {{"t", any_text()},
               {"i", any_int()},
               {"n", any_number()},
               {"d", any_decimal()},
               {"b", any_bool()},
               {"w", any_time()},
               {"dt", any_date()},
               {"u", any_uuid()},
               {"em", any_email()},
               {"by", any_bytes()},
               {"r", any_id()},
               {"c", any_choice()},
               {"g", json_pack("{s:i,s:f}", "lat", (int)rnd(3), "lon", 0.5 * rnd(3))},
               {"l", list_of(any_text)},
               {"ll", list_of(ints)},
               {"ld", list_of(any_decimal)},
               {"lw", list_of(any_time)},
               {"lb", list_of(any_bool)},
               {"m", map_of(any_int)},
               {"md", map_of(decimals)},
               {"lm", list_of(city)},
               {"j", any_json(3)},
               {"x", list_of(anything)},
               {"mo", map_of(anything)}};
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        if (rnd(5))
            json_object_set(o, all[i].name, all[i].value);
        json_decref(all[i].value);
    }
    return o;
}

/* ---- filters ---- */

static json_t *(*const makers[])(void) = {any_text, any_number, any_decimal, any_time,  any_choice,
                                          any_bool, any_date,   any_uuid,    any_email, any_bytes,
                                          any_int,  any_id,     json_null};
enum {
    M_TEXT,
    M_NUMBER,
    M_DECIMAL,
    M_TIME,
    M_CHOICE,
    M_BOOL,
    M_DATE,
    M_UUID,
    M_EMAIL,
    M_BYTES,
    M_INT,
    M_ID,
    M_NULL,
    M_COUNT
};

static const struct {
    const char *path;
    uint32_t maker;
} paths[] = {{"t", M_TEXT},
             {"i", M_NUMBER},
             {"n", M_NUMBER},
             {"d", M_DECIMAL},
             {"b", M_BOOL},
             {"w", M_TIME},
             {"dt", M_DATE},
             {"u", M_UUID},
             {"em", M_EMAIL},
             {"by", M_BYTES},
             {"r", M_ID},
             {"c", M_CHOICE},
             {"g.lat", M_NUMBER},
             {"l", M_TEXT},
             {"ll", M_INT},
             {"ld", M_DECIMAL},
             {"lw", M_TIME},
             {"lb", M_BOOL},
             {"m.a", M_NUMBER},
             {"md.a", M_DECIMAL},
             {"lm.a", M_TEXT},
             {"lm.k k", M_TEXT},
             {"j", M_TEXT},
             {"j", M_NUMBER},
             {"j", M_BOOL},
             {"j.a", M_NUMBER},
             {"j.a.b", M_TEXT},
             {"x", M_TEXT},
             {"x", M_NUMBER},
             {"x.a", M_NUMBER},
             {"x.a.b", M_BOOL},
             {"mo.a", M_TEXT},
             {"mo.a.a", M_NUMBER},
             {"version", M_INT},
             {"created_at", M_TIME},
             {"id", M_TEXT},
             {"created_by", M_TEXT},
             {"g", M_NULL},
             {"m", M_NULL},
             {"mo", M_NULL}};

static json_t *operand(uint32_t maker)
{
    return makers[rnd(14) == 0 ? rnd(M_COUNT) : maker]();
}

static json_t *operands(uint32_t maker, uint32_t n)
{
    json_t *a = json_array();
    while (n-- > 0)
        json_array_append_new(a, operand(maker));
    return a;
}

static json_t *starred(void)
{
    return json_sprintf(
        "%s%s%s",
        rnd(2)   ? "*"
        : rnd(4) ? ""
                 : "\\*",
        ((const char *[]){"a", "b", "", "B", "\xc3\xa9", "a\\*", "\xf0\x9f\x98\x80", "'"})[rnd(8)],
        rnd(2) ? "*" : "");
}

static json_t *whole_list(uint32_t maker)
{
    json_t *a = operands(maker, rnd(3));
    return rnd(3) ? a : json_pack("[o]", a);
}

static json_t *operator_value(const char *op, uint32_t maker)
{
    if (strcmp(op, "$size") == 0)
        return json_integer(rnd(4));
    if (strcmp(op, "$exists") == 0)
        return any_bool();
    if (strcmp(op, "$between") == 0)
        return operands(maker, 2);
    if (strcmp(op, "$in") == 0 || strcmp(op, "$nin") == 0 || strcmp(op, "$all") == 0)
        return operands(maker, rnd(4));
    if (strcmp(op, "$not") == 0)
        return rnd(2) ? json_pack("{s:o}", rnd(2) ? "$lt" : "$eq", operand(maker)) : operand(maker);
    return rnd(8) == 0 ? whole_list(maker) : operand(maker);
}

/* Mostly of the kind that suits; what the parser refuses is drawn again. */
static json_t *any_condition(const char **path)
{
    static const char *const ops[] = {"$eq",  "$ne",     "$gt",      "$gte",     "$lt",
                                      "$lte", "$in",     "$nin",     "$all",     "$size",
                                      "$not", "$exists", "$between", "$contains"};
    uint32_t p = rnd(sizeof(paths) / sizeof(paths[0]));
    *path = paths[p].path;
    switch (rnd(8)) {
    case 0:
        return operand(paths[p].maker);
    case 1:
        return rnd(2) ? starred() : whole_list(paths[p].maker);
    default:
        break;
    }
    json_t *o = json_object();
    for (uint32_t i = 1 + (rnd(4) == 0); i > 0; i--) {
        const char *op = ops[rnd(sizeof(ops) / sizeof(ops[0]))];
        json_object_set_new(o, op, operator_value(op, paths[p].maker));
    }
    if (rnd(8) == 0)
        json_object_set_new(o, "$options", json_pack("{s:b}", "ignoreCase", (int)rnd(2)));
    return o;
}

static json_t *any_filter(int depth)
{
    static const char *const names[] = {"$and", "$or", "$nor"};
    json_t *o = json_object();
    for (uint32_t i = 1 + (rnd(3) == 0); i > 0; i--) {
        if (depth > 0 && rnd(3) == 0) {
            json_t *a = json_array();
            for (uint32_t k = 1 + rnd(3); k > 0; k--)
                json_array_append_new(a, any_filter(depth - 1));
            json_object_set_new(o, names[rnd(3)], a);
        } else if (depth > 0 && rnd(6) == 0) {
            json_object_set_new(o, "$not", any_filter(depth - 1));
        } else {
            const char *path;
            json_t *c = any_condition(&path);
            json_object_set_new(o, path, c);
        }
    }
    if (rnd(4) == 0)
        json_object_set_new(o, "$options", json_pack("{s:b}", "ignoreCase", 1));
    return o;
}

/* ---- the property ---- */

struct house {
    struct entity_db *f;
    struct entity_def *d;
    json_t *fields, *records[ROWS];
    uint64_t seed;
    int taken, hits;
};

static void house_open(struct house *h, uint64_t seed)
{
    char def[2048];
    *h = (struct house){.seed = seed};
    state_ = seed;
    h->f = entity_db_open();
    h->fields = entity_db_json(fields_json);
    snprintf(def, sizeof(def),
             "{\"name\":\"Thing\",\"fields\":%s,\"index\":[[\"t\",\"-i\"],[\"d\"],"
             "[\"c\",\"w\"],[\"n\"],[\"u\"],[\"b\",\"dt\"]]}",
             fields_json);
    h->d = entity_db_must_define(h->f, def);
    for (int i = 0; i < ROWS; i++) {
        char id[16];
        snprintf(id, sizeof(id), "%03d", i);
        json_t *r = any_record();
        char *text = json_dumps(r, JSON_COMPACT);
        struct err e = ERR_INIT;
        h->f->at += rnd(3);
        if (entity_db_save(h->f, h->d, id, ENTITY_CREATE, 0, text, &e) != 0)
            fail_msg("%s: %s", text, e.text);
        assert_int_equal(
            entity_get_json(h->f->reader, h->d, "default", id, &h->records[i], NULL, &e), 0);
        free(text);
        json_decref(r);
    }
    /* Rows of another tenant are never seen. */
    strcpy(h->f->tenant, "other");
    entity_db_save(h->f, h->d, "000", ENTITY_CREATE, 0, "{\"t\":\"a\"}", NULL);
}

static void house_close(struct house *h)
{
    for (int i = 0; i < ROWS; i++)
        json_decref(h->records[i]);
    json_decref(h->fields);
    entity_def_unref(h->d);
    entity_db_close(h->f);
}

static void differs(const struct house *h, const char *filter, size_t row, const char *how)
{
    char *r = json_dumps(h->records[row], JSON_COMPACT);
    fail_msg("ORACLE_SEED=%llx: %s: %s: %s", (unsigned long long)h->seed, filter, how, r);
}

static void check_filter(struct house *h, const struct filter *q, const json_t *j)
{
    struct err e = ERR_INIT;
    json_t *ids = NULL;
    char *text = json_dumps(j, JSON_COMPACT);
    if (entity_query_ids(h->f->reader, h->d, "default", q, ROWS, &ids, &e) != 0)
        fail_msg("ORACLE_SEED=%llx: %s: %s", (unsigned long long)h->seed, text, e.text);
    size_t at = 0;
    for (size_t i = 0; i < ROWS; i++) {
        const char *id = json_string_value(json_object_get(h->records[i], "id"));
        const char *got = json_string_value(json_array_get(ids, at));
        bool in_sql = got != NULL && strcmp(got, id) == 0;
        bool right = filter_oracle(h->fields, j, h->records[i]);
        if (in_sql != right)
            differs(h, text, i, right ? "SQL misses" : "SQL finds");
        if (filter_match(q, h->records[i]) != right)
            differs(h, text, i, right ? "memory misses" : "memory finds");
        at += in_sql;
        h->hits += in_sql;
    }
    assert_int_equal(at, json_array_size(ids));
    json_decref(ids);
    free(text);
}

static void a_filter_finds_what_the_oracle_finds(void **state) /* E1 */
{
    (void)state;
    const char *given = getenv("ORACLE_SEED");
    uint64_t first = given != NULL ? strtoull(given, NULL, 16) : 0x9e3779b97f4a7c15;
    for (uint64_t s = 0; s < (given != NULL ? 1 : SEEDS); s++) {
        struct house h;
        house_open(&h, first + s * 0x632be59bd9b4e019);
        for (int i = 0; i < FILTERS; i++) {
            struct filter *q;
            json_t *j = any_filter(2);
            if (filter_parse(h.d, j, &q, NULL) == 0) {
                check_filter(&h, q, j);
                filter_free(q);
                h.taken++;
            }
            json_decref(j);
        }
        /* It would prove little if most were refused, or matched nothing or everything. */
        assert_true(h.taken > FILTERS / 4);
        assert_true(h.hits > h.taken * ROWS / 20 && h.hits < h.taken * ROWS * 19 / 20);
        house_close(&h);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_filter_finds_what_the_oracle_finds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
