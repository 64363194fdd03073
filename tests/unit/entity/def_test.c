#include "entity/def.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "base/err.h"

static const char customer[] =
    "{\"name\":\"CustomerOrder\",\"fields\":{"
    "\"name\":{\"kind\":\"text\",\"required\":true,\"max\":200},"
    "\"email\":{\"kind\":\"email\",\"unique\":true},"
    "\"tier\":{\"kind\":\"choice\",\"choices\":[\"free\",\"pro\"],\"default\":\"free\"},"
    "\"credit\":{\"kind\":\"decimal\",\"min\":\"-10.50\",\"index\":true},"
    "\"tags\":{\"kind\":\"list\",\"of\":\"text\"},"
    "\"scores\":{\"kind\":\"map\",\"of\":{\"kind\":\"int\",\"min\":0}}},"
    "\"index\":[[\"tier\",\"-created_at\"],{\"fields\":[\"name\",\"tier\"],\"unique\":true}],"
    "\"hooks\":[\"before_save\"]}";

static void a_definition_keeps_order_options_and_indexes(void **state)
{
    (void)state;
    struct entity_def *d;
    struct err e = ERR_INIT;
    if (entity_def_parse_text(customer, strlen(customer), &d, &e) != 0)
        fail_msg("%s", e.text);
    assert_string_equal(d->path, "customer-order");
    assert_int_equal(d->fields_count, 6);
    assert_string_equal(d->fields[2].name, "tier");
    assert_string_equal(d->fields[2].default_json, "\"free\"");
    assert_int_equal(d->fields[4].of->kind, KIND_TEXT);
    assert_true(d->has_decimal && d->before_save && !d->before_remove && !d->require_version);
    assert_int_equal(d->indexes_count, 4);
    assert_true(d->indexes[0].unique);
    assert_true(d->indexes[2].terms[1].desc);
    assert_int_equal(d->indexes[2].terms[1].field, -1);
    entity_def_unref(d);
}

static void its_text_reads_back_as_itself(void **state)
{
    (void)state;
    struct entity_def *a, *b;
    struct err e = ERR_INIT;
    assert_int_equal(entity_def_parse_text(customer, strlen(customer), &a, &e), 0);
    if (entity_def_parse_text(a->json, strlen(a->json), &b, &e) != 0)
        fail_msg("%s", e.text);
    assert_string_equal(a->json, b->json);
    assert_string_equal(a->indexes[0].name, b->indexes[0].name);
    entity_def_unref(a);
    entity_def_unref(b);
}

/* Each with words that the message must hold. */
static void what_is_wrong_is_named_with_the_way_out(void **state)
{
    (void)state;
    static const struct {
        const char *json, *words;
        int code;
    } cases[] = {
        {"{\"fields\":{\"a\":{\"kind\":\"text\"}}}", "name", ERR_INVALID},
        {"{\"name\":\"1x\",\"fields\":{\"a\":{\"kind\":\"text\"}}}", "1x", ERR_INVALID},
        {"{\"name\":\"History\",\"fields\":{\"a\":{\"kind\":\"text\"}}}", "choose another",
         ERR_INVALID},
        {"{\"name\":\"X\",\"fields\":{}}", "fields", ERR_INVALID},
        {"{\"name\":\"X\",\"feilds\":{\"a\":{\"kind\":\"text\"}}}", "fields", ERR_INVALID},
        {"{\"name\":\"Queues\",\"fields\":{\"a\":{\"kind\":\"text\"}}}", "path", ERR_INVALID},
        {"{\"name\":\"X\",\"partitions\":true,\"fields\":{\"a\":{\"kind\":\"text\"}}}",
         "'partitions'", ERR_UNSUPPORTED},
        {"{\"name\":\"X\",\"history\":{\"kep\":1},\"fields\":{\"a\":{\"kind\":\"text\"}}}", "keep",
         ERR_INVALID},
        {"{\"name\":\"X\",\"history\":{\"versions\":0},\"fields\":{\"a\":{\"kind\":\"text\"}}}",
         "versions is 1", ERR_INVALID},
        {"{\"name\":\"X\",\"ttl\":\"soon\",\"fields\":{\"a\":{\"kind\":\"text\"}}}", "'ttl'",
         ERR_INVALID},
        {"{\"name\":\"X\",\"soft_remove\":\"9000d\",\"fields\":{\"a\":{\"kind\":\"text\"}}}",
         "3660d", ERR_INVALID},
        {"{\"name\":\"X\",\"fields\":{\"expires_at\":{\"kind\":\"time\"}}}", "ttl = true",
         ERR_INVALID},
        {"{\"name\":\"X\",\"fields\":{\"a\":{\"kind\":\"txet\"}}}", "did you mean 'text'",
         ERR_INVALID},
        {"{\"name\":\"X\",\"fields\":{\"a\":{\"kind\":\"blob\"}}}", "'blob'", ERR_UNSUPPORTED},
        {"{\"name\":\"X\",\"fields\":{\"a\":{}}}", "kind", ERR_INVALID},
        {"{\"name\":\"X\",\"fields\":{\"a\":{\"kind\":\"text\",\"requird\":true}}}",
         "did you mean 'required'", ERR_INVALID},
        {"{\"name\":\"X\",\"fields\":{\"a\":{\"kind\":\"text\",\"sealed\":\"pii\"}}}", "'sealed'",
         ERR_UNSUPPORTED},
        {"{\"name\":\"X\",\"fields\":{\"a\":{\"kind\":\"bool\",\"max\":3}}}", "does not fit",
         ERR_INVALID},
        {"{\"name\":\"X\",\"fields\":{\"id\":{\"kind\":\"text\"}}}", "'id'", ERR_INVALID},
        {"{\"name\":\"X\",\"fields\":{\"a b\":{\"kind\":\"text\"}}}", "a b", ERR_INVALID},
        {"{\"name\":\"X\",\"fields\":{\"a\":{\"kind\":\"int\",\"min\":5,\"max\":4}}}", "min",
         ERR_INVALID},
        {"{\"name\":\"X\",\"fields\":{\"a\":{\"kind\":\"int\",\"max\":\"4\"}}}", "max",
         ERR_INVALID},
        {"{\"name\":\"X\",\"fields\":{\"a\":{\"kind\":\"int\",\"max\":3,\"default\":4}}}",
         "default", ERR_INVALID},
        {"{\"name\":\"X\",\"fields\":{\"a\":{\"kind\":\"choice\"}}}", "choices", ERR_INVALID},
        {"{\"name\":\"X\",\"fields\":{\"a\":{\"kind\":\"text\",\"pattern\":\"(\"}}}", "pattern",
         ERR_INVALID},
        {"{\"name\":\"X\",\"fields\":{\"a\":{\"kind\":\"list\",\"of\":{\"kind\":\"text\","
         "\"unique\":true}}}}",
         "'of'", ERR_INVALID},
        {"{\"name\":\"X\",\"fields\":{\"a\":{\"kind\":\"list\",\"index\":true}}}", "does not fit",
         ERR_INVALID},
        {"{\"name\":\"X\",\"fields\":{\"a\":{\"kind\":\"text\"}},\"access\":{\"write\":\"public | "
         "role:sales\"}}",
         "access.write: 'role:sales' needs users and roles", ERR_UNSUPPORTED},
        {"{\"name\":\"X\",\"fields\":{\"a\":{\"kind\":\"text\"}},\"access\":{\"remove\":\"owner\"}"
         "}",
         "needs users", ERR_UNSUPPORTED},
        {"{\"name\":\"X\",\"fields\":{\"a\":{\"kind\":\"text\"}},\"access\":{\"read\":\"signed_"
         "in\"}}",
         "did you mean 'signed-in'", ERR_INVALID},
        {"{\"name\":\"X\",\"fields\":{\"a\":{\"kind\":\"text\"}},\"access\":{\"reed\":\"public\"}}",
         "did you mean 'read'", ERR_INVALID},
        {"{\"name\":\"X\",\"fields\":{\"a\":{\"kind\":\"text\"}},\"access\":\"public\"}",
         "read = ..", ERR_INVALID},
        {"{\"name\":\"X\",\"fields\":{\"name\":{\"kind\":\"text\"}},\"index\":[[\"nmae\"]]}",
         "did you mean 'name'", ERR_INVALID},
        {"{\"name\":\"X\",\"fields\":{\"a\":{\"kind\":\"json\"}},\"index\":[[\"a\"]]}", "json",
         ERR_INVALID},
        {"{\"name\":\"X\",\"fields\":{\"a\":{\"kind\":\"text\"}},\"hooks\":[\"before_saev\"]}",
         "before_save", ERR_INVALID},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct entity_def *d;
        struct err e = ERR_INIT;
        int rc = entity_def_parse_text(cases[i].json, strlen(cases[i].json), &d, &e);
        if (rc != cases[i].code || strstr(e.text, cases[i].words) == NULL)
            fail_msg("%s: %d '%s'", cases[i].json, rc, e.text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_definition_keeps_order_options_and_indexes),
        cmocka_unit_test(its_text_reads_back_as_itself),
        cmocka_unit_test(what_is_wrong_is_named_with_the_way_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
