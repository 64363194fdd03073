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

static const char thing[] =
    "{\"name\":\"Thing\",\"fields\":{"
    "\"t\":{\"kind\":\"text\"},\"i\":{\"kind\":\"int\"},\"n\":{\"kind\":\"number\"},"
    "\"d\":{\"kind\":\"decimal\"},\"b\":{\"kind\":\"bool\"},\"w\":{\"kind\":\"time\"},"
    "\"c\":{\"kind\":\"choice\",\"choices\":[\"a\",\"B\",\"cc\"]},\"g\":{\"kind\":\"geo\"},"
    "\"l\":{\"kind\":\"list\",\"of\":\"text\"},\"ll\":{\"kind\":\"list\",\"of\":{\"kind\":\"list\","
    "\"of\":\"int\"}},\"ld\":{\"kind\":\"list\",\"of\":\"decimal\"},"
    "\"m\":{\"kind\":\"map\",\"of\":\"int\"},"
    "\"lm\":{\"kind\":\"list\",\"of\":{\"kind\":\"map\",\"of\":\"text\"}},"
    "\"j\":{\"kind\":\"json\"},\"x\":{\"kind\":\"list\"}},"
    "\"index\":[[\"t\",\"-i\"],[\"d\"],[\"c\",\"w\"]]}";

static struct entity_def *define(void)
{
    struct entity_def *d;
    struct err e = ERR_INIT;
    if (entity_def_parse_text(thing, strlen(thing), &d, &e) != 0)
        fail_msg("%s", e.text);
    return d;
}

static bool matches(const char *filter, const char *record)
{
    struct entity_def *d = define();
    struct filter *f;
    struct err e = ERR_INIT;
    if (filter_parse_text(d, filter, strlen(filter), &f, &e) != 0)
        fail_msg("%s: %s", filter, e.text);
    json_t *r = entity_db_json(record);
    bool yes = filter_match(f, r);
    json_decref(r);
    filter_free(f);
    entity_def_unref(d);
    return yes;
}

static void the_language_means_what_its_page_says(void **state)
{
    (void)state;
    static const struct {
        const char *filter, *record;
        bool yes;
    } cases[] = {
        {"{}", "{}", true},
        {"{\"i\":5}", "{\"i\":5}", true},
        {"{\"i\":5,\"t\":\"x\"}", "{\"i\":5}", false},
        {"{\"i\":null}", "{}", true},
        {"{\"i\":null}", "{\"i\":0}", false},
        {"{\"i\":{\"$ne\":null}}", "{}", false},
        {"{\"i\":{\"$ne\":5}}", "{}", true},
        {"{\"i\":{\"$gt\":5}}", "{}", false},
        {"{\"i\":{\"$lt\":5}}", "{}", false},
        {"{\"i\":{\"$gt\":null}}", "{\"i\":1}", false},
        {"{\"i\":{\"$gt\":2.5}}", "{\"i\":3}", true},
        {"{\"i\":{\"$in\":[1,null]}}", "{}", false},
        {"{\"i\":{\"$nin\":[1]}}", "{}", true},
        {"{\"i\":{\"$nin\":[1,null]}}", "{}", true},
        {"{\"i\":{\"$in\":[]}}", "{\"i\":1}", false},
        {"{\"i\":{\"$between\":[1,3]}}", "{\"i\":3}", true},
        {"{\"i\":{\"$between\":[1,3]}}", "{\"i\":4}", false},
        {"{\"i\":{\"$not\":{\"$gt\":5}}}", "{}", true},
        {"{\"i\":{\"$exists\":false}}", "{}", true},
        {"{\"t\":\"an*\"}", "{\"t\":\"anna\"}", true},
        {"{\"t\":\"an*\"}", "{\"t\":\"joan\"}", false},
        {"{\"t\":\"*an\"}", "{\"t\":\"joan\"}", true},
        {"{\"t\":\"*an*\"}", "{\"t\":\"joanna\"}", true},
        {"{\"t\":\"*\"}", "{\"t\":\"\"}", true},
        {"{\"t\":\"*\"}", "{}", false},
        {"{\"t\":\"a\\\\*\"}", "{\"t\":\"a*\"}", true},
        {"{\"t\":\"a\\\\*\"}", "{\"t\":\"ab\"}", false},
        {"{\"t\":\"a\\\\**\"}", "{\"t\":\"a*b\"}", true},
        {"{\"t\":{\"$eq\":\"a*\"}}", "{\"t\":\"ab\"}", false},
        {"{\"t\":{\"$eq\":\"a*\"}}", "{\"t\":\"a*\"}", true},
        {"{\"t\":\"AN*\",\"$options\":{\"ignoreCase\":true}}", "{\"t\":\"anna\"}", true},
        {"{\"t\":{\"$eq\":\"ANNA\",\"$options\":{\"ignoreCase\":true}}}", "{\"t\":\"Anna\"}", true},
        {"{\"c\":\"b\",\"$options\":{\"ignoreCase\":true}}", "{\"c\":\"B\"}", true},
        {"{\"t\":{\"$contains\":\"*\"}}", "{\"t\":\"ab\"}", false},
        {"{\"d\":\"1.50\"}", "{\"d\":\"1.5\"}", true},
        {"{\"d\":{\"$gt\":\"9\"}}", "{\"d\":\"10\"}", true},
        {"{\"d\":{\"$lt\":-2}}", "{\"d\":\"-10\"}", true},
        {"{\"w\":{\"$gte\":\"2026-01-01\"}}", "{\"w\":\"2026-01-01T00:00:00.000Z\"}", true},
        {"{\"l\":\"a\"}", "{\"l\":[\"b\",\"a\"]}", true},
        {"{\"l\":\"a\"}", "{\"l\":[]}", false},
        {"{\"l\":\"a*\"}", "{\"l\":[\"b\",\"ax\"]}", true},
        {"{\"l\":{\"$ne\":\"a\"}}", "{\"l\":[\"b\",\"a\"]}", false},
        {"{\"l\":{\"$in\":[\"z\",\"a\"]}}", "{\"l\":[\"b\",\"a\"]}", true},
        {"{\"l\":{\"$nin\":[\"z\",\"a\"]}}", "{\"l\":[\"b\",\"a\"]}", false},
        {"{\"l\":{\"$all\":[\"a\",\"b\"]}}", "{\"l\":[\"b\",\"a\",\"c\"]}", true},
        {"{\"l\":{\"$all\":[\"a\",\"d\"]}}", "{\"l\":[\"b\",\"a\",\"c\"]}", false},
        {"{\"l\":{\"$size\":2}}", "{\"l\":[\"b\",\"a\"]}", true},
        {"{\"l\":{\"$size\":0}}", "{}", false},
        {"{\"l\":{\"$exists\":true}}", "{\"l\":[]}", true},
        {"{\"l\":[\"a\",\"b\"]}", "{\"l\":[\"a\",\"b\"]}", true},
        {"{\"l\":[\"b\",\"a\"]}", "{\"l\":[\"a\",\"b\"]}", false},
        {"{\"l\":{\"$contains\":\"a\"}}", "{\"l\":[\"ab\"]}", false},
        {"{\"ll\":3}", "{\"ll\":[[1],[2,3]]}", true},
        {"{\"ll\":[[1],[2]]}", "{\"ll\":[[1],[2]]}", true},
        {"{\"ld\":{\"$gt\":\"9.5\"}}", "{\"ld\":[\"1\",\"10\"]}", true},
        {"{\"g.lat\":{\"$gt\":50}}", "{\"g\":{\"lat\":51,\"lon\":0}}", true},
        {"{\"m.k\":5}", "{\"m\":{\"k\":5}}", true},
        {"{\"lm.city\":\"Oslo\"}", "{\"lm\":[{},{\"city\":\"Oslo\"}]}", true},
        {"{\"lm.city\":{\"$exists\":false}}", "{\"lm\":[{}]}", true},
        {"{\"j.a.b\":1}", "{\"j\":{\"a\":[{\"b\":2},{\"b\":1}]}}", true},
        {"{\"j.a\":\"1\"}", "{\"j\":{\"a\":1}}", false},
        {"{\"j.a\":true}", "{\"j\":{\"a\":1}}", false},
        {"{\"j.a\":{\"$gt\":1}}", "{\"j\":{\"a\":\"2\"}}", false},
        {"{\"j\":{\"$size\":2}}", "{\"j\":[1,2]}", true},
        {"{\"x\":{\"$in\":[\"a\",2]}}", "{\"x\":[{\"q\":1},2]}", true},
        {"{\"$or\":[{\"i\":1},{\"i\":2}]}", "{\"i\":2}", true},
        {"{\"$nor\":[{\"i\":1},{\"i\":2}]}", "{\"i\":2}", false},
        {"{\"$and\":[{\"i\":{\"$gt\":1}},{\"i\":{\"$lt\":3}}]}", "{\"i\":2}", true},
        {"{\"$not\":{\"i\":1}}", "{}", true},
        {"{\"id\":\"q\",\"version\":{\"$gte\":2}}", "{\"id\":\"q\",\"version\":2}", true},
        {"{\"created_at\":{\"$lt\":\"2026-01-01T00:00:00Z\"}}",
         "{\"created_at\":\"2025-12-31T23:59:59.999Z\"}", true},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        if (matches(cases[i].filter, cases[i].record) != cases[i].yes)
            fail_msg("%s on %s", cases[i].filter, cases[i].record);
    }
}

static void what_is_wrong_is_refused_by_name(void **state)
{
    (void)state;
    static const struct {
        const char *filter, *words;
        int code;
    } cases[] = {
        {"[]", "object", ERR_INVALID},
        {"{\"creatd_at\":1}", "did you mean 'created_at'", ERR_INVALID},
        {"{\"i\":\"5\"}", "wants", ERR_INVALID},
        {"{\"i\":{\"$gte\":\"5\"}}", "field 'i'", ERR_INVALID},
        {"{\"i\":{\"$gtt\":5}}", "did you mean '$gt'", ERR_INVALID},
        {"{\"$orr\":[{}]}", "did you mean '$or'", ERR_INVALID},
        {"{\"$or\":[]}", "at least one", ERR_INVALID},
        {"{\"$or\":{\"i\":1}}", "list", ERR_INVALID},
        {"{\"i\":{\"x\":5}}", "path", ERR_INVALID},
        {"{\"i\":{}}", "$exists", ERR_INVALID},
        {"{\"i.k\":5}", "below", ERR_INVALID},
        {"{\"g\":5}", "parts", ERR_INVALID},
        {"{\"g.alt\":5}", "lat and lon", ERR_INVALID},
        {"{\"b\":{\"$gt\":true}}", "order", ERR_INVALID},
        {"{\"c\":\"ccc\"}", "did you mean 'cc'", ERR_INVALID},
        {"{\"t\":\"a*b\"}", "ends", ERR_INVALID},
        {"{\"i\":{\"$in\":5}}", "list", ERR_INVALID},
        {"{\"i\":{\"$between\":[1]}}", "$between", ERR_INVALID},
        {"{\"i\":{\"$size\":1}}", "lists", ERR_INVALID},
        {"{\"i\":{\"$all\":[1]}}", "lists", ERR_INVALID},
        {"{\"i\":{\"$exists\":1}}", "$exists", ERR_INVALID},
        {"{\"i\":{\"$contains\":1}}", "$contains", ERR_INVALID},
        {"{\"j\":[1]}", "elements", ERR_INVALID},
        {"{\"w\":\"noon\"}", "time", ERR_INVALID},
        {"{\"$options\":{\"ignorecase\":true}}", "ignoreCase", ERR_INVALID},
        {"{\"m.a\\\"b\":1}", "path", ERR_INVALID},
        {"{\"\":1}", "", ERR_INVALID},
        {"{\"i\":", "line", ERR_INVALID},
        {"{\"$not\":{\"$not\":{\"$not\":{\"$not\":{\"$not\":{\"$not\":{\"$not\":{\"$not\":{\"$"
         "not\":"
         "{\"i\":1}}}}}}}}}}",
         "deep", ERR_TOO_LARGE},
    };
    struct entity_def *d = define();
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct filter *f = NULL;
        struct err e = ERR_INIT;
        int rc = filter_parse_text(d, cases[i].filter, strlen(cases[i].filter), &f, &e);
        if (rc != cases[i].code || strstr(e.text, cases[i].words) == NULL)
            fail_msg("%s: %d '%s'", cases[i].filter, rc, e.text);
    }
    entity_def_unref(d);
}

static void limits_hold(void **state)
{
    (void)state;
    struct entity_def *d = define();
    struct filter *f;
    for (int over = 0; over < 2; over++) {
        struct buf b = BUF_INIT(1 << 20);
        buf_adds(&b, "{\"$or\":[");
        for (int i = 0; i < FILTER_CONDITIONS_MAX + over; i++)
            buf_addf(&b, "%s{\"i\":%d}", i ? "," : "", i);
        buf_adds(&b, "]}");
        int rc = filter_parse_text(d, buf_str(&b), b.len, &f, NULL);
        assert_int_equal(rc, over ? ERR_TOO_LARGE : 0);
        if (rc == 0)
            filter_free(f);
        buf_reset(&b);
        buf_adds(&b, "{\"i\":{\"$in\":[");
        for (int i = 0; i < FILTER_IN_MAX + over; i++)
            buf_addf(&b, "%s%d", i ? "," : "", i);
        buf_adds(&b, "]}}");
        rc = filter_parse_text(d, buf_str(&b), b.len, &f, NULL);
        assert_int_equal(rc, over ? ERR_TOO_LARGE : 0);
        if (rc == 0)
            filter_free(f);
        buf_fini(&b);
    }
    json_t *big = json_object();
    char *text = test_malloc(FILTER_BYTES_MAX + 1);
    memset(text, 'x', FILTER_BYTES_MAX);
    text[FILTER_BYTES_MAX] = '\0';
    json_object_set_new(big, "t", json_string(text));
    assert_int_equal(filter_parse(d, big, &f, NULL), ERR_TOO_LARGE);
    test_free(text);
    json_decref(big);
    entity_def_unref(d);
}

/* ---- the property: SQL and memory give the same rows ---- */

static uint64_t seed;

static uint32_t rnd(uint32_t n)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (uint32_t)(seed >> 11) % n;
}

static json_t *any_text(void)
{
    static const char *const texts[] = {"",  "a",        "A",    "ab",  "aB",  "b*",
                                        "*", "\xc3\xa9", "abc",  "z",   "a b", "'",
                                        "%", "1",        "true", "[1]", "{}",  "\\"};
    return json_string(texts[rnd(sizeof(texts) / sizeof(texts[0]))]);
}

static json_t *any_number(void)
{
    static const double reals[] = {0.1, 1.5, -2.25, 1e20, 3.3333333333333335, 1e-7};
    return rnd(2) ? json_integer((json_int_t)rnd(7) - 3) : json_real(reals[rnd(6)]);
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
                                        "99999999999999999999.5"};
    return json_string(texts[rnd(11)]);
}

static json_t *any_time(void)
{
    return json_sprintf("2026-01-0%uT00:00:0%u.000Z", rnd(3) + 1, rnd(2));
}

static json_t *any_json(int depth)
{
    switch (rnd(depth > 0 ? 7 : 4)) {
    case 0:
        return any_text();
    case 1:
        return any_number();
    case 2:
        return json_boolean(rnd(2));
    case 3:
        return json_null();
    case 4: {
        json_t *a = json_array();
        for (uint32_t i = rnd(4); i > 0; i--)
            json_array_append_new(a, any_json(depth - 1));
        return a;
    }
    default: {
        json_t *o = json_object();
        if (rnd(3))
            json_object_set_new(o, "a", any_json(depth - 1));
        if (rnd(2))
            json_object_set_new(o, "b", any_json(depth - 1));
        return o;
    }
    }
}

static json_t *list_of(json_t *(*make)(void))
{
    json_t *a = json_array();
    for (uint32_t i = rnd(4); i > 0; i--)
        json_array_append_new(a, make());
    return a;
}

static json_t *any_int(void)
{
    return json_integer((json_int_t)rnd(7) - 3);
}

static json_t *ints(void)
{
    return list_of(any_int);
}

static json_t *city(void)
{
    json_t *o = json_object();
    if (rnd(3))
        json_object_set_new(o, "a", any_text());
    return o;
}

static json_t *any_choice(void)
{
    return json_string(((const char *[]){"a", "B", "cc"})[rnd(3)]);
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
               {"b", json_boolean(rnd(2))},
               {"w", any_time()},
               {"c", any_choice()},
               {"g", json_pack("{s:i,s:f}", "lat", (int)rnd(3), "lon", 0.5 * rnd(3))},
               {"l", list_of(any_text)},
               {"ll", list_of(ints)},
               {"ld", list_of(any_decimal)},
               {"m", rnd(2) ? json_pack("{s:o}", "a", any_int()) : json_object()},
               {"lm", list_of(city)},
               {"j", any_json(3)},
               {"x", json_array()}};
    for (uint32_t i = rnd(4); i > 0; i--)
        json_array_append_new(all[14].value, any_json(2));
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        if (rnd(5))
            json_object_set(o, all[i].name, all[i].value);
        json_decref(all[i].value);
    }
    return o;
}

static json_t *any_of(uint32_t which)
{
    switch (which) {
    case 0:
        return any_text();
    case 1:
        return any_number();
    case 2:
        return any_decimal();
    case 3:
        return any_time();
    case 4:
        return any_choice();
    case 5:
        return json_boolean(rnd(2));
    default:
        return json_null();
    }
}

static json_t *any_operand(uint32_t kind)
{
    return any_of(rnd(12) == 0 ? rnd(7) : kind);
}

/* Mostly of the kind that suits; what the parser refuses is drawn again. */
static json_t *any_condition(const char **path)
{
    static const struct {
        const char *path;
        uint32_t kind;
    } paths[] = {{"t", 0},     {"i", 1},   {"n", 1},     {"d", 2},       {"b", 5},
                 {"w", 3},     {"c", 4},   {"g.lat", 1}, {"l", 0},       {"ll", 1},
                 {"ld", 2},    {"m.a", 1}, {"lm.a", 0},  {"j", 0},       {"j.a", 1},
                 {"j.a.b", 0}, {"x", 0},   {"x.a", 1},   {"version", 1}, {"created_at", 3},
                 {"id", 0},    {"j", 1},   {"x", 5},     {"g", 1},       {"m", 1}};
    static const char *const ops[] = {"$eq",       "$ne",  "$gt",  "$gte",  "$lt",     "$lte",
                                      "$in",       "$nin", "$all", "$size", "$exists", "$between",
                                      "$contains", "",     "",     "$not"};
    uint32_t p = rnd(sizeof(paths) / sizeof(paths[0]));
    *path = paths[p].path;
    const char *op = ops[rnd(sizeof(ops) / sizeof(ops[0]))];
    if (*op == '\0') {
        if (rnd(6) == 0)
            return rnd(2) ? list_of(any_text) : list_of(any_decimal);
        return rnd(4) == 0 ? json_sprintf("%s%s%s", rnd(2) ? "*" : "", rnd(2) ? "a" : "b",
                                          rnd(2) ? "*" : "")
                           : any_operand(paths[p].kind);
    }
    if (strcmp(op, "$size") == 0)
        return json_pack("{s:i}", op, (int)rnd(4));
    if (strcmp(op, "$exists") == 0)
        return json_pack("{s:b}", op, (int)rnd(2));
    if (strcmp(op, "$not") == 0)
        return json_pack("{s:{s:o}}", op, rnd(2) ? "$lt" : "$eq", any_operand(paths[p].kind));
    if (strcmp(op, "$in") == 0 || strcmp(op, "$nin") == 0 || strcmp(op, "$all") == 0 ||
        strcmp(op, "$between") == 0) {
        json_t *a = json_array();
        for (uint32_t i = strcmp(op, "$between") == 0 ? 2 : rnd(4); i > 0; i--)
            json_array_append_new(a, any_operand(paths[p].kind));
        return json_pack("{s:o}", op, a);
    }
    return json_pack("{s:o}", op, any_operand(paths[p].kind));
}

static json_t *any_filter(int depth)
{
    json_t *o = json_object();
    for (uint32_t i = 1 + rnd(2); i > 0; i--) {
        if (depth > 0 && rnd(3) == 0) {
            static const char *const names[] = {"$and", "$or", "$nor"};
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

enum { ROWS = 120, FILTERS = 4000 };

static void check_filter(struct entity_db *f, const struct entity_def *d, const struct filter *q,
                         json_t *const *records, const char *text, int *hits)
{
    struct err e = ERR_INIT;
    json_t *ids = NULL;
    if (entity_query_ids(f->reader, d, "default", q, ROWS, &ids, &e) != 0)
        fail_msg("%s: %s", text, e.text);
    size_t at = 0;
    for (size_t i = 0; i < ROWS; i++) {
        const char *id = json_string_value(json_object_get(records[i], "id"));
        const char *got = json_string_value(json_array_get(ids, at));
        bool in_sql = got != NULL && strcmp(got, id) == 0;
        if (in_sql != filter_match(q, records[i])) {
            char *r = json_dumps(records[i], JSON_COMPACT);
            fail_msg("seed %llx: %s: %s gives %s", (unsigned long long)seed, text,
                     in_sql ? "only SQL" : "only memory", r);
        }
        at += in_sql;
        *hits += in_sql;
    }
    assert_int_equal(at, json_array_size(ids));
    json_decref(ids);
}

static void sql_finds_what_memory_finds(void **state)
{
    (void)state;
    const char *given = getenv("FILTER_SEED");
    seed = given != NULL ? strtoull(given, NULL, 16) : 0x9e3779b97f4a7c15;
    struct entity_db *f = entity_db_open();
    struct entity_def *d = entity_db_must_define(f, thing);
    json_t *records[ROWS];
    for (int i = 0; i < ROWS; i++) {
        char id[16];
        snprintf(id, sizeof(id), "%03d", i);
        json_t *r = any_record();
        char *text = json_dumps(r, JSON_COMPACT);
        struct err e = ERR_INIT;
        if (entity_db_save(f, d, id, ENTITY_CREATE, 0, text, &e) != 0)
            fail_msg("%s: %s", text, e.text);
        assert_int_equal(entity_get_json(f->reader, d, "default", id, &records[i], NULL, &e), 0);
        free(text);
        json_decref(r);
    }
    /* Rows of another tenant are never seen. */
    strcpy(f->tenant, "other");
    entity_db_save(f, d, "000", ENTITY_CREATE, 0, "{\"t\":\"a\"}", NULL);
    int taken = 0, hits = 0;
    for (int i = 0; i < FILTERS; i++) {
        struct filter *q;
        json_t *j = any_filter(2);
        if (filter_parse(d, j, &q, NULL) == 0) {
            char *text = json_dumps(j, JSON_COMPACT);
            check_filter(f, d, q, records, text, &hits);
            free(text);
            filter_free(q);
            taken++;
        }
        json_decref(j);
    }
    /* The test would prove little if most were refused, or matched nothing or everything. */
    assert_true(taken > FILTERS / 4);
    assert_true(hits > taken * ROWS / 20 && hits < taken * ROWS * 19 / 20);
    for (int i = 0; i < ROWS; i++)
        json_decref(records[i]);
    entity_def_unref(d);
    entity_db_close(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_language_means_what_its_page_says),
        cmocka_unit_test(what_is_wrong_is_refused_by_name),
        cmocka_unit_test(limits_hold),
        cmocka_unit_test(sql_finds_what_memory_finds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
