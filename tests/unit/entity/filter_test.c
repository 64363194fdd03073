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
        {"{\"j\":{\"$contains\":\"a\"}}", "{\"j\":\"ab\"}", true},
        {"{\"j\":{\"$contains\":\"a\"}}", "{\"j\":[\"ab\"]}", false},
        {"{\"j\":{\"$contains\":\"ab\"}}", "{\"j\":[\"ab\"]}", true},
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
        {"{\"t\":{\"$options\":{\"ignoreCase\":true}}}", "says nothing", ERR_INVALID},
        {"{\"j\":{\"$contains\":null}}", "contains null", ERR_INVALID},
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_language_means_what_its_page_says),
        cmocka_unit_test(what_is_wrong_is_refused_by_name),
        cmocka_unit_test(limits_hold),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
