#include "house.h"

static void refuses(const char *text, const char *words)
{
    struct house h;
    house_open(&h, 1);
    struct err e = ERR_INIT;
    int rc = house_deploy(&h, text, &e);
    house_close(&h);
    assert_refused(rc, ERR_INVALID, words);
}

TEST(fields_keep_the_order_in_which_they_are_written)
{
    struct house h;
    house_open(&h, 1);
    house_deployed_well(&h, "local code = text { max = 3 }\n"
                            "entity \"Thing\" { fields = {\n"
                            "  zebra = text { required = true }, apple = int, middle = list { text "
                            "{ max = 4 }, max = 3 },\n"
                            "  state = choice { 'on', 'off', default = 'on' }, due = date, extra = "
                            "json, at = time, ref_id = uuid {},\n"
                            "} }");
    struct entity_def *d = entities_find(h.entities, "Thing");
    assert_non_null(d);
    static const char *const want[] = {"zebra", "apple", "middle", "state",
                                       "due",   "extra", "at",     "ref_id"};
    assert_int_equal(d->fields_count, ARRAY_LEN(want));
    for (size_t i = 0; i < ARRAY_LEN(want); i++)
        assert_string_equal(d->fields[i].name, want[i]);
    assert_int_equal(d->fields[2].of->kind, KIND_TEXT);
    assert_string_equal(d->fields[3].choices[1], "off");
    entity_def_unref(d);
    house_close(&h);
}

TEST(a_wrong_declaration_names_file_and_line)
{
    refuses("\nentity \"A\" {\n  fields = { x = text { maxx = 3 } } }", "app.lua:2: ");
    refuses("\nentity \"A\" {}", "app.lua:2: entity 'A': fields = { .. } is missing");
    refuses("entity \"A\" { fields = { x = 7 } }", "field 'x' needs a kind");
    refuses("entity \"A\" { fields = { text } }", "write name = text");
    refuses("entity \"A\" { fields = { x = text { 'a' } } }", "takes options by name");
    refuses("entity \"A\" { fields = { x = text } }\nentity \"A\" { fields = { x = text } }",
            "app.lua:2: entity 'A' is declared twice");
    refuses("entity \"A\" { fields = { x = text }, before_save = 3 }",
            "before_save must be a function");
    refuses("entity \"A\" { fields = { x = text }, befor_save = function() end }",
            "'befor_save' is not");
    refuses("entity \"A\" { fields = { x = text }, indx = {} }", "app.lua:1: ");
}

TEST(parts_that_are_not_there_yet_refuse_by_name)
{
    refuses("recipe \"small\" {}",
            "app.lua:1:1: recipe: needs media, which this version of Koan does not have");
    refuses("on \"x/y\" {}", "app.lua:1: on 'x/y': on \"queue/NAME\" works a queue");
    refuses("x = auth.get('a')", "auth: needs users and roles");
    /* Where it would be met some day only. */
    refuses("local function f()\n  return { key = secret.get('a') }\nend\nf = f",
            "app.lua:2:18: secret: needs the vault");
    refuses("if media then media('q', {}) end", "media: needs media");
    refuses("x = _G['auth'].get('a')", "auth: needs users and roles");
    refuses("entity \"X\" { fields = { a = blob } }", "blob: needs blob storage");
}

TEST(names_of_their_own_are_not_taken_for_those_of_parts_that_are_missing)
{
    struct house h;
    house_open(&h, 1);
    house_deployed_well(&h, "local lease, t = { get = function() return 1 end }, {}\n"
                            "function queue(on) return on.send, t.auth end\n"
                            "x = lease.get('a') + #'secret' -- auth\n"
                            "y = queue { send = 2, job = 3 }\n");
    house_close(&h);
}

TEST(a_canon_model_is_read_from_its_declaration)
{
    struct house h;
    house_open(&h, 1);
    house_deployed_well(
        &h,
        "entity \"P\" { fields = { name = text, mail = email, born = date, tags = list, x = int, y "
        "= int } }\n"
        "canon \"P\" {\n"
        "  sources = { erp = { rank = 1 }, crm = { rank = 2 } },\n"
        "  keys = { \"mail:email\", { \"name:name\", \"born\" }, { { \"name\", function(v) return "
        "v end } } },\n"
        "  policy = { name = source_of_truth { 'erp', fallback = 'longest' }, tags = 'union' },\n"
        "  group = { at = { 'x', 'y' } },\n"
        "  stages = { validate = function() end },\n"
        "}");
    struct canon_model *m = canon_find(h.canon, "P");
    assert_non_null(m);
    canon_model_unref(m);
    json_t *s = bind_status(h.bind);
    assert_string_equal(json_string_value(json_array_get(json_object_get(s, "functions"), 0)),
                        "P.validate");
    json_decref(s);
    house_close(&h);
}

TEST(a_wrong_model_names_file_and_line)
{
    static const char entity[] = "entity \"P\" { fields = { name = text } }\n";
    static const struct {
        const char *text, *words;
    } cases[] = {
        {"canon \"P\" { sources = { a = { rank = 1 } }, keys = { \"name\" }, stages = { intak = "
         "function() end } }",
         "app.lua:2: canon 'P': no stage 'intak'"},
        {"canon \"P\" { sources = { a = { rank = 1 } }, keys = { \"name\" }, match = {} }",
         "'match'"},
        {"canon \"P\" { sources = { a = { rank = 1 } }, keys = { \"name:shout\" } }",
         "no normaliser 'shout'"},
        {"canon \"P\" { sources = { a = { rank = 1 } }, keys = { \"nam\" } }", "app.lua:2: "},
        {"canon \"P\" { sources = { a = { rank = 1 } }, keys = { 7 } }", "a key is a field"},
        {"canon \"P\" { sources = { a = { rank = 1 } }, keys = { 'name' }, policy = 'x' }",
         "app.lua:2: policy is a table"},
        {"canon \"P\" { sources = { a = { rank = 1 } }, keys = { 'name' }, stages = 5 }",
         "app.lua:2: stages is a table"},
        {"canon \"P\" { sources = { a = { rank = 1 } }, keys = { { f = 'name' } } }",
         "a key is a field"},
        {"canon \"P\" { sources = { a = { rank = 1 } }, keys = { n = 'name' } }", "keys is a list"},
        {"canon \"P\" { sources = { a = { rank = 1 } }, keys = 'name' }", "keys is a list"},
        {"canon \"Q\" { sources = { a = { rank = 1 } }, keys = { \"name\" } }", "declare it too"},
        {"entity \"R\" { fields = { k = text }, require_version = true } canon \"R\" { sources = { "
         "a "
         "= {} }, keys = { \"k\" } }",
         "app.lua:2: canon 'R': entity 'R' wants a version"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char text[512];
        snprintf(text, sizeof text, "%s%s", entity, cases[i].text);
        refuses(text, cases[i].words);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOUSE_TEST(fields_keep_the_order_in_which_they_are_written),
        HOUSE_TEST(a_wrong_declaration_names_file_and_line),
        HOUSE_TEST(parts_that_are_not_there_yet_refuse_by_name),
        HOUSE_TEST(names_of_their_own_are_not_taken_for_those_of_parts_that_are_missing),
        HOUSE_TEST(a_canon_model_is_read_from_its_declaration),
        HOUSE_TEST(a_wrong_model_names_file_and_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
