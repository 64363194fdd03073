#include "house.h"

static const char app[] =
    "local calls = 0\n"
    "entity \"P\" { fields = { name = text, mail = text, born = date, tags = list, score = int } "
    "}\n"
    "canon \"P\" {\n"
    "  sources = { erp = { rank = 1 }, crm = { rank = 2 }, web = { rank = 3 } },\n"
    "  keys = { \"mail:email\", { { 'name', function(v) return v:lower():gsub('%s', '') end }, "
    "'born' } },\n"
    "  policy = { name = source_of_truth { 'erp', fallback = 'longest' }, score = 'max', tags = "
    "'union' },\n"
    "  stages = {\n"
    "    intake = function(a, ctx)\n"
    "      if ctx.origin == 'web' then ctx:drop('spam') end\n"
    "      a.mail = a.mail or a.email; a.email = nil\n"
    "      if a.whole then a.score = a.whole + 0.0; a.whole = nil end\n"
    "      if a.says then return a.says end\n"
    "    end,\n"
    "    validate = function(a, ctx)\n"
    "      if a.name == 'Nobody' then ctx:park('NO_NAME', { hint = 'who?' }) end\n"
    "      if a.name == 'Form' then assert(a.score == nil or math.type(a.score) == 'integer'); "
    "a.tags = { type(a.born) } end\n"
    "      if a.name == 'Bad' then ctx:reject('BAD', 'is bad') end\n"
    "      if a.name == 'Broken' then error('broken') end\n"
    "      if a.name == 'Memo' then\n"
    "        local v = ctx:memo('n', function() calls = calls + 1; return { n = calls, at = "
    "json.null } end)\n"
    "        v.n = 99\n"
    "        assert(ctx:memo('n', error).n == calls and ctx:memo('nil', function() end) == nil)\n"
    "        ctx:memo('nil', error)\n"
    "        if not a.mail then ctx:park('WHO') end\n"
    "      end\n"
    "      for i = 1, a.name == 'Much' and 65 or 0 do ctx:memo('m' .. i, function() end) end\n"
    "      if a.name == 'Odd' then ctx:memo('m', 7) end\n"
    "      if a.name == 'Big' then ctx:memo('b', function() return ('x'):rep(300000) end) end\n"
    "      if a.name == 'Self' then canon('P'):arrive({ mail = 's@x.org' }, { origin = 'crm' }) "
    "end\n"
    "      local child = a.name and a.name:match('^child of (.+)')\n"
    "      local parent = child and { name = child, born = a.born }\n"
    "      if parent and not canon('P'):find(parent) then ctx:park('PARENT_NOT_FOUND', { model = "
    "'P', key = parent }) end\n"
    "      ctx:tag('seen')\n"
    "    end,\n"
    "    project = function(g, ctx)\n"
    "      ctx:view('card', { title = g.name })\n"
    "      if g.score == 77 then ctx:view('all', { n = entity('P').count() }) end\n"
    "      if g.score == 78 then for i = 1, 2e6 do end end\n"
    "    end,\n"
    "  },\n"
    "}\n";

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

/* ---- the hooks alone, as the engine calls them ---- */

static struct canon_stage_call call_of(enum canon_stage stage, const char *json)
{
    return (struct canon_stage_call){.model = "P",
                                     .origin = "crm",
                                     .source_id = "1",
                                     .tenant = "default",
                                     .stage = stage,
                                     .data = json_loads(json, 0, NULL)};
}

struct alone {
    struct canon_stage_call call;
    struct task task;
    sem_t done;
    int finished;
};

static void alone_run(struct task *t)
{
    struct alone *a = (struct alone *)((char *)t - offsetof(struct alone, task));
    struct canon_hooks *h = &house.bind->threads[0].stages.hooks;
    a->finished = h->run(h, &a->call);
    if (a->finished == 1 || a->call.done == NULL)
        sem_post(&a->done);
}

static void alone_done(struct canon_stage_call *call)
{
    struct alone *a = (struct alone *)call;
    a->finished = 1;
    sem_post(&a->done);
}

/* As run_stage(), but it may give way to others: on a busy machine whatever takes some milliseconds
 * does. */
static void run_stage_patiently(struct alone *a)
{
    sem_init(&a->done, 0, 0);
    a->call.done = alone_done;
    a->task.run = alone_run;
    runner_post(house.bind->threads[0].runner, &a->task);
    sem_wait(&a->done);
    sem_destroy(&a->done);
    assert_int_equal(a->finished, 1);
}

static void run_stage(struct alone *a)
{
    sem_init(&a->done, 0, 0);
    a->task.run = alone_run;
    runner_post(house.bind->threads[0].runner, &a->task);
    sem_wait(&a->done);
    sem_destroy(&a->done);
    assert_int_equal(a->finished, 1);
}

static void free_call(struct alone *a)
{
    json_decref(a->call.data);
    json_decref(a->call.tags);
    json_decref(a->call.views);
    json_decref(a->call.memo);
    json_decref(a->call.evidence);
}

TEST(a_stage_changes_tags_and_answers_at_once)
{
    struct alone a = {.call = call_of(CANON_INTAKE, "{\"name\":\"Ana\",\"email\":\"a@x.org\"}")};
    run_stage(&a);
    assert_int_equal(a.call.verdict, CANON_GO_ON);
    assert_string_equal(json_string_value(json_object_get(a.call.data, "mail")), "a@x.org");
    assert_null(json_object_get(a.call.data, "email"));
    free_call(&a);
    a = (struct alone){.call = call_of(CANON_VALIDATE, "{\"name\":\"Ana\",\"born\":null}")};
    run_stage(&a);
    assert_true(json_is_true(json_object_get(a.call.tags, "seen")));
    assert_true(json_is_null(json_object_get(a.call.data, "born")));
    free_call(&a);
    a = (struct alone){.call = call_of(CANON_PROJECT, "{\"name\":\"Ana\"}")};
    run_stage(&a);
    assert_string_equal(
        json_string_value(json_object_get(json_object_get(a.call.views, "card"), "title")), "Ana");
    free_call(&a);
}

TEST(a_stage_parks_rejects_drops_and_fails)
{
    struct alone a = {.call = call_of(CANON_VALIDATE, "{\"name\":\"Nobody\"}")};
    run_stage(&a);
    assert_int_equal(a.call.verdict, CANON_PARK);
    assert_string_equal(a.call.reason, "NO_NAME");
    assert_string_equal(json_string_value(json_object_get(a.call.evidence, "hint")), "who?");
    free_call(&a);
    a = (struct alone){.call = call_of(CANON_VALIDATE, "{\"name\":\"Bad\"}")};
    run_stage(&a);
    assert_int_equal(a.call.verdict, CANON_REJECT);
    assert_string_equal(a.call.reason, "BAD");
    free_call(&a);
    a = (struct alone){.call = call_of(CANON_INTAKE, "{}")};
    a.call.origin = "web";
    run_stage(&a);
    assert_int_equal(a.call.verdict, CANON_DROP);
    free_call(&a);
    a = (struct alone){.call = call_of(CANON_VALIDATE, "{\"name\":\"Broken\"}")};
    run_stage(&a);
    assert_non_null(strstr(a.call.err.text, "app.lua:18: broken"));
    free_call(&a);
}

/* ---- through the engine ---- */

TEST(arrivals_of_two_sources_become_one_record)
{
    house_true(
        &house,
        "local P = canon 'P'\n"
        "local r = P:arrive({ name = 'Ana B', email = 'ANA@x.org', tags = { 'a' } }, { origin = "
        "'crm', source_id = 'c1' })\n"
        "assert(r.outcome == 'canonized' and r.version == 1, json.encode(r))\n"
        "local s = P:arrive({ name = 'Ana Bea', email = 'ana@x.org', tags = { 'b' }, score = 3 }, "
        "{ origin = 'erp', source_id = 'e1' })\n"
        "assert(s.id == r.id and s.version == 2, json.encode(s))\n"
        "local g = P:get(r.id)\n"
        "assert(g.name == 'Ana Bea' and #g.tags == 2 and g.score == 3, json.encode(g))\n"
        "local again = P:arrive({ name = 'Ana Bea', email = 'ana@x.org', tags = { 'b' }, score = 3 "
        "}, { origin = 'erp', source_id = 'e1' })\n"
        "assert(again.outcome == 'noop', json.encode(again))\n"
        "local why = P:why(r.id)\n"
        "assert(why.fields.name.origin == 'erp', json.encode(why))\n"
        "assert(P:arrive({ name = 'x' }, { origin = 'web', source_id = 'w' }).outcome == 'noop')\n"
        "local parked = P:arrive({ name = 'Nobody', mail = 'n@x.org' }, { origin = 'crm', "
        "source_id = 'c2' })\n"
        "assert(parked.outcome == 'parked' and parked.reason == 'NO_NAME', json.encode(parked))\n"
        "local ok, e = pcall(tx, function() P:arrive({}, { origin = 'crm' }) end)\n"
        "assert(not ok and e.detail:find('not inside tx'))\n"
        "ok, e = pcall(P.arrive, P, {}, { orign = 'crm' })\n"
        "return not ok and e.detail:find('origin') ~= nil");
}

TEST(a_stage_may_wait_and_may_take_more_than_a_slice)
{
    house_true(&house, "local P = canon 'P'\n"
                       "local a = P:arrive({ mail = 'w@x.org', score = 77 }, { origin = 'crm', "
                       "source_id = 'w1' })\n"
                       "assert(a.outcome == 'canonized', json.encode(a))\n"
                       "assert(P:why(a.id).views.all.n >= 0, json.encode(P:why(a.id)))\n"
                       "local b = P:arrive({ mail = 's@x.org', score = 78 }, { origin = 'crm', "
                       "source_id = 's1' })\n"
                       "return b.outcome == 'canonized' or json.encode(b)");
}

/* Whether the table that intake left went on to validate, or another one was made of the document
 * that the schema had changed. */
TEST(validate_sees_what_the_schema_made_of_what_intake_left)
{
    house_true(&house,
               "local P = canon 'P'\n"
               "local function fields(a, id)\n"
               "  local r = P:arrive(a, { origin = 'crm', source_id = id })\n"
               "  assert(r.outcome == 'canonized', json.encode(r))\n"
               "  return P:get(r.id)\n"
               "end\n"
               "local g = fields({ name = 'Form', mail = 'f1@x.org', whole = 5 }, 'f1')\n"
               "assert(g.score == 5 and g.tags[1] == 'nil', json.encode(g))\n"
               "g = fields({ name = 'Form', mail = 'f2@x.org', score = 6 }, 'f2')\n"
               "assert(g.score == 6 and g.tags[1] == 'nil', json.encode(g))\n"
               "g = fields({ name = 'Form', mail = 'f3@x.org', born = json.null }, 'f3')\n"
               "assert(g.tags[1] == 'nil', json.encode(g))\n"
               "g = fields({ says = { name = 'Form', mail = 'f4@x.org' }, name = 'lost' }, 'f4')\n"
               "return g.name == 'Form' and g.tags[1] == 'nil' or json.encode(g)");
}

TEST(own_normalisers_find_what_belongs_together)
{
    house_true(&house, "local P = canon 'P'\n"
                       "local a = P:arrive({ name = 'Al  Ko', born = '1990-01-02' }, { origin = "
                       "'crm', source_id = 'k1' })\n"
                       "local b = P:arrive({ name = 'ALKO', born = '1990-01-02' }, { origin = "
                       "'erp', source_id = 'k2' })\n"
                       "return a.id ~= nil and a.id == b.id or json.encode { a, b }");
}

TEST(what_a_stage_may_not_do_fails_the_arrival_with_words)
{
    house_true(&house,
               "local P = canon 'P'\n"
               "local r = P:arrive({ name = 'Big', mail = 'b@x.org' }, { origin = 'crm', "
               "source_id = 'big' })\n"
               "assert(r.outcome == 'failed' and r.detail:find('256 KiB'), json.encode(r))\n"
               "r = P:arrive({ name = 'Self', mail = 'b@x.org' }, { origin = 'crm', source_id "
               "= 'self' })\n"
               "return r.outcome == 'failed' and r.detail:find('cannot wait for another') ~= "
               "nil or json.encode(r)");
}

TEST(what_was_had_from_outside_is_had_once)
{
    struct alone a = {.call = call_of(CANON_VALIDATE, "{\"name\":\"Memo\"}")};
    run_stage_patiently(&a);
    assert_int_equal(a.call.err.code, 0);
    assert_int_equal(a.call.verdict, CANON_PARK);
    json_t *n = json_path(a.call.memo, "n.value.n");
    assert_int_equal(json_integer_value(n), 1);
    assert_int_equal(json_object_size(json_object_get(a.call.memo, "nil")), 0);
    json_object_set_new(a.call.data, "mail", json_string("m@x.org"));
    a.call.evidence = NULL;
    run_stage_patiently(&a);
    assert_int_equal(a.call.err.code, 0);
    assert_int_equal(a.call.verdict, CANON_GO_ON);
    n = json_path(a.call.memo, "n.value.n");
    assert_int_equal(json_integer_value(n), 1);
    free_call(&a);
    a = (struct alone){.call = call_of(CANON_VALIDATE, "{\"name\":\"Much\"}")};
    run_stage_patiently(&a);
    assert_non_null(strstr(a.call.err.text, "256 KiB"));
    free_call(&a);
    a = (struct alone){.call = call_of(CANON_VALIDATE, "{\"name\":\"Odd\"}")};
    run_stage_patiently(&a);
    assert_non_null(strstr(a.call.err.text, "wants a name and a function"));
    free_call(&a);
}

TEST(a_child_goes_on_when_the_parent_that_it_names_has_come)
{
    house_true(&house,
               "local P = canon 'P'\n"
               "local c = P:arrive({ name = 'child of Eve', mail = 'c@x.org', born = '1950-01-02' "
               "}, { origin = 'crm', source_id = 'ch' })\n"
               "assert(c.outcome == 'parked' and c.reason == 'PARENT_NOT_FOUND', json.encode(c))\n"
               "assert(P:find { mail = 'c@x.org' } == nil)\n"
               "local p = P:arrive({ name = ' E ve', born = '1950-01-02' }, { origin = 'crm', "
               "source_id = 'ev' })\n"
               "assert(p.outcome == 'canonized', json.encode(p))\n"
               "assert(P:find({ name = 'EVE', born = '1950-01-02' }).id == p.id)\n"
               "local g\n"
               "for i = 1, 1000 do g = g or P:find { mail = 'C@X.org' } end\n"
               "while not g do entity('P').count(); g = P:find { mail = 'C@X.org' } end\n"
               "local ok, e = pcall(P.find, P, { colour = 'red' })\n"
               "assert(not ok and e.detail:find('mail, name%+born'), tostring(e))\n"
               "return g.name == 'child of Eve'");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_stage_changes_tags_and_answers_at_once),
        cmocka_unit_test(a_stage_parks_rejects_drops_and_fails),
        cmocka_unit_test(arrivals_of_two_sources_become_one_record),
        cmocka_unit_test(a_stage_may_wait_and_may_take_more_than_a_slice),
        cmocka_unit_test(validate_sees_what_the_schema_made_of_what_intake_left),
        cmocka_unit_test(own_normalisers_find_what_belongs_together),
        cmocka_unit_test(what_a_stage_may_not_do_fails_the_arrival_with_words),
        cmocka_unit_test(what_was_had_from_outside_is_had_once),
        cmocka_unit_test(a_child_goes_on_when_the_parent_that_it_names_has_come),
    };
    return cmocka_run_group_tests(tests, open_house, close_house);
}
