/* The parts of the library that are about values, as a script calls them. */
#include "house.h"

static struct house house;

static int open_house(void **state)
{
    (void)state;
    house_open(&house, 1);
    house_deployed_well(&house, "-- nothing");
    return 0;
}

static int close_house(void **state)
{
    (void)state;
    house_close(&house);
    return 0;
}

TEST(json_keeps_nulls_and_lists_where_asked)
{
    house_true(&house, "local t = json.decode('{\"a\":null,\"b\":[1,null],\"c\":{}}')\n"
                       "assert(t.a == nil and t.b[2] == json.null and next(t.c) == nil)\n"
                       "t = json.decode('{\"a\":null}', { nulls = true })\n"
                       "assert(t.a == json.null)\n"
                       "assert(json.encode({ b = 1, a = { 2 } }, { sorted = true }) == "
                       "'{\"a\":[2],\"b\":1}')\n"
                       "assert(json.encode(json.list {}) == '[]' and json.encode {} == '{}')\n"
                       "assert(json.encode({ a = 'x{\"y', b = {} }, { pretty = true }) == "
                       "'{\\n  \"a\": \"x{\\\\\"y\",\\n  \"b\": {}\\n}')\n"
                       "local ok, e = pcall(json.encode, 1, { prety = true })\n"
                       "assert(e.detail:find('prety'), tostring(e))\n"
                       "ok, e = pcall(json.decode, '{\"a\": }')\n"
                       "assert(e.detail:find('line 1'), tostring(e))\n"
                       "return not pcall(json.encode, 0/0)");
}

TEST(time_reckons_with_both_forms_of_a_moment)
{
    house_true(
        &house,
        "assert(time.add('2026-01-31', { months = 1 }) == '2026-02-28')\n"
        "assert(time.add('2024-02-29', { years = 1 }) == '2025-02-28')\n"
        "assert(time.add('2026-03-31', { months = -1, days = 1 }) == '2026-03-01')\n"
        "assert(time.add('2026-11-22T13:57:14.123Z', '1h30m') == '2026-11-22T15:27:14.123Z')\n"
        "assert(time.add('2026-11-22', '-1h') == '2026-11-21T23:00:00.000Z')\n"
        "assert(time.add(0, '7d') == 604800000 and time.add(5, -5) == 0)\n"
        "assert(time.diff('2026-01-03', '2026-01-01', 'days') == 2)\n"
        "assert(time.diff('2026-01-01', '2026-01-01T12:00:00Z', 'days') == -0.5)\n"
        "assert(time.diff(10, 3) == 7 and time.duration '1h' == 3600000)\n"
        "assert(time.format('2026-11-22T08:05:09.007Z', '%a %d %b %Y %H:%M:%S.%L %j %u%%') == "
        "'Sun 22 Nov 2026 08:05:09.007 326 7%')\n"
        "local p = time.parts '1969-12-31T23:59:59.001Z'\n"
        "assert(p.year == 1969 and p.day == 31 and p.weekday == 3 and p.ms == 1 and p.yearday == "
        "365)\n"
        "assert(time.parse 'x' == nil and time.format(0) == '1970-01-01T00:00:00.000Z')\n"
        "return math.abs(time.now() - time.parse(time.format())) < 1000");
    house_true(
        &house,
        "for _, f in ipairs { { 'add', 'x', '1h' }, { 'add', 0, { dys = 1 } }, { 'add', 0, '1x' "
        "},\n"
        "  { 'add', '9999-12-31', { days = 1 } }, { 'add', '0000-01-01', { months = -1 } },\n"
        "  { 'add', 0, math.mininteger }, { 'diff', math.mininteger, math.maxinteger },\n"
        "  { 'diff', 0, 0, 'months' }, { 'format', 0, '%Q' }, { 'format', 0, '%' },\n"
        "  { 'format', 0, ('x'):rep(300) }, { 'parts' }, { 'add', 0, { days = 1e300 } } } do\n"
        "  local ok, e = pcall(time[f[1]], f[2], f[3], f[4])\n"
        "  if ok then return f[1] .. ' ' .. tostring(f[3]) end\n"
        "end\n"
        "return true");
}

TEST(crypto_speaks_as_others_do)
{
    /* FIPS 180-4's "abc"; RFC 4231, test case 2 */
    house_true(
        &house,
        "assert(crypto.sha256 'abc' == "
        "'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad')\n"
        "assert(crypto.hmac('Jefe', 'what do ya want for nothing?') == "
        "'5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843')\n"
        "assert(#crypto.sha256('', 'raw') == 32 and #crypto.random(16) == 32)\n"
        "assert(crypto.sha256('', 'base64') == '47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=')\n"
        "assert(crypto.sha256('', 'base64url') == '47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU')\n"
        "assert(crypto.random(8) ~= crypto.random(8) and #crypto.random(3, 'raw') == 3)\n"
        "assert(crypto.equal('a', 'a') and not crypto.equal('a', 'b') and not crypto.equal('a', "
        "'aa'))\n"
        "assert(not pcall(crypto.random, 0) and not pcall(crypto.random, 65537))\n"
        "assert(not pcall(crypto.hmac, '', 'x') and not pcall(crypto.sha256, 'x', 'octal'))\n"
        "return not pcall(crypto.sha256)");
}

TEST(csv_comes_and_goes)
{
    house_true(
        &house,
        "local rows, columns = csv.parse 'name,note\\r\\nAna,\"a, \"\"b\"\"\\nc\"\\nBo,\\n'\n"
        "assert(#rows == 2 and rows[1].note == 'a, \"b\"\\nc' and rows[2].note == '' and "
        "columns[2] "
        "== 'note')\n"
        "rows = csv.parse('1;2\\n3;4', { header = false, separator = ';' })\n"
        "assert(#rows == 2 and rows[2][2] == '4')\n"
        "assert(#csv.parse '' == 0)\n"
        "assert(csv.format { { b = 1, a = 'x,y' }, { a = true } } == "
        "'a,b\\r\\n\"x,y\",1\\r\\ntrue,\\r\\n')\n"
        "assert(csv.format({ { 1, json.null, 'q\"' } }, { separator = ';' }) == "
        "'1;;\"q\"\"\"\\r\\n')\n"
        "assert(csv.format({ { a = 1, b = 2 } }, { columns = { 'b' } }) == 'b\\r\\n2\\r\\n')\n"
        "local text = csv.format { { a = ' x', b = 'y\\nz' } }\n"
        "assert(csv.parse(text)[1].a == ' x' and csv.parse(text)[1].b == 'y\\nz')\n"
        "local ok, e = pcall(csv.parse, 'a,b\\n1')\n"
        "assert(not ok and e.detail:find('line 2'), tostring(e))\n"
        "ok, e = pcall(csv.parse, 'a', { seperator = ';' })\n"
        "assert(e.detail:find('seperator'), tostring(e))\n"
        "ok, e = pcall(csv.format, { { 1, 2 } }, { columns = { 'a' } })\n"
        "assert(e.detail:find('row 1'), tostring(e))\n"
        "return not pcall(csv.format, { 5 })");
}

TEST(config_answers_what_the_node_was_told)
{
    json_t *app =
        json_pack("{s:i, s:{s:s}, s:n}", "rate", 5, "mail", "from", "x@example.org", "gone");
    struct bind_settings s = {.app = app};
    bind_set_settings(house.bind, &s);
    house_true(&house,
               "assert(config.rate == 5 and config.mail.from == 'x@example.org')\n"
               "assert(config.get 'mail.from' == 'x@example.org' and config.get('nope', 7) == 7)\n"
               "assert(config.get('gone', 1) == 1)\n"
               "local ok, e = pcall(function() return config.rte end)\n"
               "assert(e.code == 'not_found' and e.detail:find(\"'rate'\"), tostring(e))\n"
               "ok, e = pcall(function() config.rate = 6 end)\n"
               "return not ok");
    json_object_set_new(app, "rate", json_integer(6));
    bind_set_settings(house.bind, &s);
    house_true(&house, "return config.rate == 6");
    json_decref(app);
}

TEST(flags_are_asked_with_a_context_and_unknown_ones_are_off)
{
    json_t *flags = json_pack("{s:b, s:{s:[s]}, s:{s:{s:s}}, s:{s:i}}", "all", 1, "some", "tenants",
                              "acme", "plan", "labels", "plan", "pro", "cent", "percent", 100);
    struct bind_settings s = {.flags = flags};
    bind_set_settings(house.bind, &s);
    house_true(&house,
               "assert(flag 'all' and not flag 'some' and flag('some', { tenant = 'acme' }))\n"
               "assert(flag('plan', { labels = { plan = 'pro' } }) and not flag('plan', {}))\n"
               "assert(flag('cent', 'key') and flag('cent', { key = 7 }) and flag 'cent')\n"
               "assert(flag('unheard', {}) == false)\n"
               "return not pcall(flag, 'all', 5)");
    assert_int_equal(stat_read(stat_counter("koan_flag_unknown_total", "", "")), 1);
    json_decref(flags);
}

TEST(work_in_c_counts_into_the_budget)
{
    struct err e = ERR_INIT;
    assert_int_equal(house_deploy(&house,
                                  "local s = ('x'):rep(1000000)\n"
                                  "for i = 1, 1000 do crypto.sha256(s) end",
                                  &e),
                     ERR_INVALID);
    assert_non_null(strstr(e.text, "instructions"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(json_keeps_nulls_and_lists_where_asked),
        cmocka_unit_test(time_reckons_with_both_forms_of_a_moment),
        cmocka_unit_test(crypto_speaks_as_others_do),
        cmocka_unit_test(csv_comes_and_goes),
        cmocka_unit_test(config_answers_what_the_node_was_told),
        cmocka_unit_test(flags_are_asked_with_a_context_and_unknown_ones_are_off),
        cmocka_unit_test(work_in_c_counts_into_the_budget),
    };
    return cmocka_run_group_tests(tests, open_house, close_house);
}
