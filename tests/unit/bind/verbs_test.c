#include "house.h"

static const char app[] =
    "entity \"Account\" { fields = { owner = text { required = true, search = true }, balance = "
    "int { default = "
    "0, min = 0 }, tags = list,\n"
    "  note = text { unique = true } }, index = { { 'owner' } } }\n"
    "entity \"Strict\" { fields = { n = int, twice = int, kept = text },\n"
    "  before_save = function(e, prior, ctx)\n"
    "    if e.n == 13 then ctx:reject('unlucky', 'take ' .. 14) end\n"
    "    if e.n == 99 then while true do end end\n"
    "    if e.n == 98 then local x = nil; x = x.y end\n"
    "    ctx:protect('kept')\n"
    "    e.twice = e.n * 2 + (prior and 1 or 0)\n"
    "    assert(ctx.tenant == 'default')\n"
    "  end,\n"
    "  before_remove = function(prior, ctx) if prior.n == 1 then ctx:reject('keep') end end }\n";

static struct house house;

static int open_house(void **state)
{
    (void)state;
    house_open(&house, 2);
    house_deployed_well(&house, app);
    return 0;
}

static int close_house(void **state)
{
    (void)state;
    house_close(&house);
    return 0;
}

TEST(a_record_is_saved_read_changed_and_removed)
{
    house_true(&house, "local A = entity 'Account'\n"
                       "local a = A.new { owner = 'Ana', tags = { 'x' } }\n"
                       "assert(a.balance == 0)\n"
                       "a:save()\n"
                       "assert(a.version == 1 and #a.id == 36 and a.created_at)\n"
                       "local b = A.get(a.id)\n"
                       "assert(b.owner == 'Ana' and b.tags[1] == 'x')\n"
                       "b:patch { balance = 5, tags = json.null }\n"
                       "assert(b.balance == 5 and b.version == 2 and b.tags == nil)\n"
                       "b.owner = 'Bo'; b:save()\n"
                       "assert(A.get(a.id).owner == 'Bo' and A.get(a.id).version == 3)\n"
                       "b:patch { { op = 'replace', path = '/balance', value = 7 } }\n"
                       "assert(b.balance == 7)\n"
                       "b:remove()\n"
                       "return A.get(a.id) == nil");
}

TEST(errors_are_tables_with_code_field_and_place)
{
    house_true(&house,
               "local A = entity 'Account'\n"
               "local ok, e = pcall(function() return A.new {}:save() end)\n"
               "assert(not ok and e.code == 'invalid' and e.where == 'run.lua:2', tostring(e))\n"
               "ok, e = pcall(A.remove, 'nobody')\n"
               "assert(e.code == 'not_found', tostring(e))\n"
               "ok, e = pcall(A.query, { filter = { ownr = 1 } })\n"
               "assert(e.code == 'invalid' and e.detail:find('owner'), tostring(e))\n"
               "ok, e = pcall(A.query, { fliter = {} })\n"
               "assert(e.detail:find('filter'), tostring(e))\n"
               "ok, e = pcall(entity('Acount').get, 'x')\n"
               "return e.code == 'not_found' and e.detail:find('Account') ~= nil");
    house_fails(&house, "\nlocal e = entity 'Account'.new {}\ne:save()", ERR_INVALID,
                "run.lua:3: ");
}

TEST(queries_page_count_and_iterate)
{
    house_true(&house,
               "local A = entity 'Account'\n"
               "local list = {}\n"
               "for i = 1, 450 do list[i] = { owner = 'q' .. i % 3, balance = i } end\n"
               "A.save_all(list)\n"
               "assert(list[450].version == 1 and list[450].id)\n"
               "local rows, page = A.query { filter = { owner = 'q1' }, sort = '-balance', "
               "page_size = 10, count = 'exact' }\n"
               "assert(#rows == 10 and rows[1].balance == 448 and page.total == 150 and page.more "
               "and page.cursor)\n"
               "rows[1]:patch { balance = 1000 }\n"
               "local n, sum = 0, 0\n"
               "for e in A.each { filter = { owner = { ['$in'] = { 'q0', 'q1', 'q2' } } } } do n = "
               "n + 1; sum = sum + e.balance end\n"
               "assert(n == 450, n)\n"
               "assert(A.count { filter = { owner = 'q2' } } == 150)\n"
               "assert(A.count { q = 'Q2' } == 150 and A.count { q = 'q' } == 450)\n"
               "assert(#A.query { q = 'q0', filter = { balance = { ['$lt'] = 10 } } } == 3)\n"
               "n = 0 for e in A.each { q = 'q1', sort = '-balance' } do n = n + 1 end\n"
               "assert(n == 150 and not pcall(A.query, { q = '' }))\n"
               "local long = A.save_all { { owner = ('x'):rep(9000) .. 1 }, { owner = "
               "('x'):rep(9000) } }\n"
               "local ok, err = pcall(function() for e in A.each { sort = '-owner', page_size = 1 "
               "} do end end)\n"
               "assert(not ok and err.code == 'too_large', err.detail)\n"
               "A.remove_all(long)\n"
               "local got = A.get { list[1].id, 'nobody', list[1].id }\n"
               "assert(got[1].id == list[1].id and got[2] == nil and got[3].id == got[1].id)\n"
               "assert(not pcall(A.remove_all, { filter = {} }))\n"
               "assert(A.remove_all { filter = { owner = 'q1' } } == 150)\n"
               "assert(A.remove_all { list[2].id } == 1 and A.get(list[2].id) == nil)\n"
               "return A.count { filter = { owner = 'q1' } } == 0");
}

TEST(a_query_works_where_it_cannot_wait)
{
    house_true(&house,
               "local A, seen = entity 'Account', 0\n"
               "table.sort({ 3, 1, 2 }, function(a, b) seen = A.count(); return a < b end)\n"
               "return seen == A.count()");
}

TEST(queries_of_many_runs_take_turns)
{
    struct running r[20];
    for (size_t i = 0; i < ARRAY_LEN(r); i++)
        house_run_start(
            &house, &r[i],
            "local A = entity 'Account'\n"
            "for i = 1, 5 do assert(#A.query { page_size = 3 } <= 3 and A.count() >= 0) end\n"
            "local ok, e = pcall(A.query, { sort = 'nothing' })\n"
            "return not ok and e.code == 'invalid'");
    for (size_t i = 0; i < ARRAY_LEN(r); i++) {
        house_run_wait(&house, &r[i]);
        if (r[i].t.err.code != 0)
            fail_msg("%s", r[i].t.err.text);
        assert_true(json_is_true(r[i].t.result));
    }
}

TEST(a_unit_is_all_or_nothing_and_sees_its_own_writes)
{
    house_true(
        &house,
        "local A = entity 'Account'\n"
        "local a, b = A.new { owner = 'a', balance = 10 }:save(), A.new { owner = 'b' }:save()\n"
        "local made = tx(function()\n"
        "  local from, to = A.get(a.id), A.get(b.id)\n"
        "  from:patch { balance = from.balance - 4 }\n"
        "  to:patch { balance = to.balance + 4 }\n"
        "  assert(A.get(a.id).balance == 6)\n"
        "  return tx(function() return A.new { owner = 'c', balance = A.get(b.id).balance }:save() "
        "end)\n"
        "end)\n"
        "assert(A.get(a.id).balance == 6 and A.get(b.id).balance == 4 and A.get(made.id).balance "
        "== 4)\n"
        "local ok, e = pcall(tx, function()\n"
        "  A.get(a.id):remove()\n"
        "  assert(A.get(a.id) == nil)\n"
        "  reject('insufficient', 'no money')\n"
        "end)\n"
        "assert(not ok and e.code == 'insufficient' and e.detail == 'no money')\n"
        "assert(A.get(a.id).balance == 6)\n"
        "ok, e = pcall(tx, function() A.get(a.id):patch { balance = -1 }; A.get(b.id):patch { "
        "balance = 0 } end)\n"
        "assert(not ok and e.code == 'invalid', tostring(e))\n"
        "return A.get(b.id).balance == 4");
    house_fails(&house, "reject('insufficient', 'no money')", ERR_REJECTED,
                "insufficient: no money");
}

TEST(concurrent_units_on_the_same_record_lose_nothing)
{
    house_true(&house, "entity 'Account'.new { id = 'counter', owner = 'c' }:save() return true");
    struct running r[8];
    for (size_t i = 0; i < ARRAY_LEN(r); i++)
        house_run_start(&house, &r[i],
                        "local A, done = entity 'Account', 0\n"
                        "while done < 10 do\n"
                        "  if pcall(tx, function() local c = A.get 'counter'; c:patch { balance = "
                        "c.balance + 1 } end) then done = done + 1 end\n"
                        "end");
    for (size_t i = 0; i < ARRAY_LEN(r); i++) {
        house_run_wait(&house, &r[i]);
        assert_int_equal(r[i].t.err.code, 0);
    }
    house_true(&house, "local n = entity 'Account'.get('counter').balance return n == 80 or n");
}

TEST(a_unit_that_read_what_was_changed_runs_again)
{
    house_true(&house, "local A = entity 'Account'\n"
                       "local a = A.new { owner = 'r', balance = 1 }:save()\n"
                       "local runs = 0\n"
                       "tx(function()\n"
                       "  runs = runs + 1\n"
                       "  local x = A.get(a.id)\n"
                       "  x:patch { balance = x.balance * 10 }\n"
                       "  return x\n"
                       "end)\n"
                       "return runs == 1 and A.get(a.id).balance == 10");
}

TEST(hooks_change_and_refuse_what_is_saved)
{
    house_true(&house, "local S = entity 'Strict'\n"
                       "local s = S.new { n = 4, kept = 'first' }:save()\n"
                       "assert(s.twice == 8 and s.kept == 'first')\n"
                       "s:patch { n = 5, kept = 'second' }\n"
                       "assert(s.twice == 11 and s.kept == 'first')\n"
                       "local ok, e = pcall(s.patch, s, { n = 13 })\n"
                       "assert(not ok and e.code == 'rejected' and e.detail:find('unlucky: take "
                       "14'), tostring(e))\n"
                       "ok, e = pcall(s.patch, s, { n = 98 })\n"
                       "assert(e.code == 'rejected' and e.detail:find('before_save of Strict "
                       "failed: app.lua:7', 1, true), tostring(e))\n"
                       "assert(S.get(s.id).n == 5)\n"
                       "s:patch { n = 1 }\n"
                       "ok, e = pcall(s.remove, s)\n"
                       "return not ok and e.code == 'rejected' and S.get(s.id) ~= nil");
}

TEST(a_hook_that_does_not_end_is_cut)
{
    house_true(&house, "local ok, e = pcall(function() entity 'Strict'.new { n = 99 }:save() end)\n"
                       "return not ok and e.code == 'rejected' and e.detail:find('app.lua:6: over "
                       "its budget', 1, true) ~= nil or tostring(e)");
}

TEST(plain_things_work)
{
    house_true(&house, "log.debug('x', { a = 1, b = { 'c' } })\n"
                       "assert(json.encode { a = json.list {}, b = 1 }:find('\"a\":%[%]'))\n"
                       "assert(json.decode('{\"a\":[1,null]}').a[2] == json.null)\n"
                       "assert(not pcall(json.decode, '{'))\n"
                       "assert(base64.decode(base64.encode('\\0hi')) == '\\0hi' and "
                       "base64.encode('\\255\\255', true) == '__8')\n"
                       "local ms = time.parse('2026-11-22T00:00:00Z')\n"
                       "assert(ms == 1795305600000 and time.format(ms) == "
                       "'2026-11-22T00:00:00.000Z' and time.parse('soon') == nil)\n"
                       "assert(time.now() > ms - 1e12 and #uuid() == 36 and uuid() ~= uuid())\n"
                       "assert(not pcall(function() json.encode = nil end) and not "
                       "pcall(function() text { max = 1 } end))\n"
                       "return not pcall(function() entity 'New' { fields = {} } end)");
    house_fails(&house, "x = = 1", ERR_INTERNAL, "run.lua:1:");
}

static uint64_t meter(const char *name)
{
    return stat_read(stat_counter(name, "function=\"Strict.before_save\"", ""));
}

TEST(each_function_is_metered)
{
    uint64_t runs = meter("koan_script_runs_total"), errors = meter("koan_script_errors_total"),
             steps = meter("koan_script_steps_total"),
             bytes = meter("koan_script_allocated_bytes_total");
    house_true(&house, "local S = entity 'Strict'\n"
                       "S.new { n = 1 }:save()\n"
                       "return not pcall(function() S.new { n = 13 }:save() end)");
    assert_int_equal(meter("koan_script_runs_total") - runs, 2);
    assert_int_equal(meter("koan_script_errors_total") - errors, 1);
    assert_true(meter("koan_script_steps_total") > steps);
    assert_true(meter("koan_script_seconds_total") > 0);
    bytes = meter("koan_script_allocated_bytes_total") - bytes;
    assert_in_range(bytes, 500, 100000); /* the hook's own, not the text's around it */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_function_is_metered),
        cmocka_unit_test(a_record_is_saved_read_changed_and_removed),
        cmocka_unit_test(errors_are_tables_with_code_field_and_place),
        cmocka_unit_test(queries_page_count_and_iterate),
        cmocka_unit_test(a_query_works_where_it_cannot_wait),
        cmocka_unit_test(queries_of_many_runs_take_turns),
        cmocka_unit_test(a_unit_is_all_or_nothing_and_sees_its_own_writes),
        cmocka_unit_test(concurrent_units_on_the_same_record_lose_nothing),
        cmocka_unit_test(a_unit_that_read_what_was_changed_runs_again),
        cmocka_unit_test(hooks_change_and_refuse_what_is_saved),
        cmocka_unit_test(a_hook_that_does_not_end_is_cut),
        cmocka_unit_test(plain_things_work),
    };
    return cmocka_run_group_tests(tests, open_house, close_house);
}
