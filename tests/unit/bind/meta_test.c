/* lua/meta/koan.lua says what scripts see: it is run here as a script of its own, and compared with
 * the globals of a set, both ways. */
#include <lualib.h>

#include "house.h"
#include "vm/vm_priv.h"

/* Lua's own, and names that are there to refuse. */
static const char beside[] =
    " assert error getmetatable ipairs math next os pairs pcall print rawequal rawget rawlen rawset"
    " require select setmetatable string table tonumber tostring type utf8 _G _VERSION"
    " recipe media blob secret"
    " cluster auth levenshtein jaro_winkler jaccard"
    " phonetic exact ";

static lua_State *run_stubs(void)
{
    lua_State *L = luaL_newstate();
    lua_newtable(L); /* the globals that the stubs make */
    if (luaL_loadfile(L, "lua/meta/koan.lua") != LUA_OK)
        fail_msg("%s", lua_tostring(L, -1));
    lua_pushvalue(L, 1);
    lua_setupvalue(L, -2, 1);
    if (lua_pcall(L, 0, 1, 0) != LUA_OK)
        fail_msg("%s", lua_tostring(L, -1));
    return L;
}

/* "name" or "name.part" of all globals and of the parts of those that are tables. */
static json_t *names_in(lua_State *L, int at)
{
    json_t *names = json_object();
    for (lua_pushnil(L); lua_next(L, at); lua_pop(L, 1)) {
        const char *name = lua_tostring(L, -2);
        json_object_set_new(names, name, json_true());
        if (!lua_istable(L, -1))
            continue;
        vm_push_content(L, -1);
        for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) {
            char full[128];
            snprintf(full, sizeof full, "%s.%s", name, lua_tostring(L, -2));
            json_object_set_new(names, full, json_true());
        }
        lua_pop(L, 1);
    }
    return names;
}

static bool is_beside(const char *name)
{
    char word[64];
    snprintf(word, sizeof word, " %.*s ", (int)strcspn(name, "."), name);
    return strstr(beside, word) != NULL;
}

static void assert_covers(json_t *all, json_t *some, const char *where)
{
    const char *name;
    json_t *v;
    json_object_foreach(some, name, v)
    {
        if (!is_beside(name) && json_object_get(all, name) == NULL)
            fail_msg("%s lacks %s", where, name);
    }
}

struct look {
    struct house h;
    struct task task;
    json_t *names;
    sem_t done;
};

static void look_at_globals(struct task *t)
{
    struct look *l = (struct look *)((char *)t - offsetof(struct look, task));
    struct vm *vm = l->h.bind->threads[0].set->vm;
    lua_rawgeti(vm->L, LUA_REGISTRYINDEX, vm->globals);
    l->names = names_in(vm->L, lua_gettop(vm->L));
    lua_pop(vm->L, 1);
    sem_post(&l->done);
}

TEST(the_stubs_and_the_program_have_the_same_globals)
{
    static struct look l;
    house_open(&l.h, 1);
    house_deployed_well(&l.h, "-- nothing");
    sem_init(&l.done, 0, 0);
    l.task.run = look_at_globals;
    runner_post(l.h.bind->threads[0].runner, &l.task);
    sem_wait(&l.done);
    lua_State *L = run_stubs();
    json_t *stubs = names_in(L, 1);
    lua_close(L);
    assert_covers(stubs, l.names, "lua/meta/koan.lua");
    assert_covers(l.names, stubs, "the program");
    json_decref(stubs);
    json_decref(l.names);
    house_close(&l.h);
}

static json_t *class_names(const char *class)
{
    lua_State *L = run_stubs();
    json_t *names = json_array();
    lua_getfield(L, -1, class);
    for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1))
        json_array_append_new(names, json_string(lua_tostring(L, -2)));
    lua_close(L);
    assert_true(json_array_size(names) > 0);
    return names;
}

TEST(methods_of_the_stubs_are_there)
{
    struct house h;
    house_open(&h, 1);
    house_deployed_well(
        &h,
        "entity \"T\" { fields = { n = int, seen = json }, before_save = function(e, prior, ctx)\n"
        "  for _, m in ipairs(e.seen) do if type(ctx[m]) ~= 'function' then ctx:reject('missing', "
        "m) end end\n"
        "end }");
    json_t *classes = json_pack("{s:o, s:o, s:o, s:o, s:o}", "entity", class_names("Entity"),
                                "record", class_names("Record"), "hook", class_names("HookContext"),
                                "model", class_names("Model"), "string", class_names("stringlib"));
    char *text = json_dumps(classes, 0);
    char script[4096];
    snprintf(script, sizeof script,
             "local c = json.decode([[%s]])\n"
             "local E = entity 'T'\n"
             "local r = E.new { n = 1, seen = c.hook }:save()\n"
             "local function all(of, t) for _, m in ipairs(of) do if type(t[m]) ~= 'function' then "
             "return m end end return true end\n"
             "for k, v in pairs(E) do\n"
             "  local known = k == 'name'\n"
             "  for _, m in ipairs(c.entity) do known = known or m == k end\n"
             "  if not known then return k end\n"
             "end\n"
             "assert(all(c.entity, E) == true, all(c.entity, E))\n"
             "assert(all(c.record, r) == true, all(c.record, r))\n"
             "assert(all(c.string, string) == true, all(c.string, string))\n"
             "return all(c.model, canon 'T')",
             text);
    json_decref(classes);
    house_true(&h, script);
    mem_free(text);
    house_close(&h);
}

static void ran(struct bind_text *t)
{
    ((struct running *)t)->done = true;
}

/* What a file of tests is given, in a run of the kind that koan check makes. */
static void run_as_test(struct house *h, const char *text)
{
    struct running r = {.t = {.name = "x_test.lua",
                              .text = text,
                              .len = strlen(text),
                              .kind = BIND_TEXT_TEST,
                              .test_index = 1,
                              .home = loop_runner(h->home),
                              .done = ran}};
    bind_run_text(h->bind, &r.t);
    house_run_wait(h, &r);
    if (r.t.err.code != 0)
        fail_msg("%s", r.t.err.text);
    json_decref(r.t.result);
}

TEST(what_tests_and_answers_can_do_is_in_the_stubs)
{
    struct house h;
    house_open(&h, 1);
    house_deployed_well(&h, "route 'GET /ctx/{name}' { run = function(req, ctx) return "
                            "type(ctx[req.params.name]) end }");
    json_t *methods = class_names("Test"), *context = class_names("RouteContext");
    char *names = json_dumps(methods, 0), *of = json_dumps(context, 0), script[2048];
    snprintf(
        script, sizeof script,
        "test('t', function(t)\n"
        "  local known = {}\n"
        "  for _, m in ipairs(json.decode('%s')) do assert(type(t[m]) == 'function', m); known[m] "
        "= "
        "true end\n"
        "  assert(known.equal and known.ok and known.fails and known.clock and known.advance)\n"
        "  for _, m in ipairs(json.decode('%s')) do t.equal(t.request('GET /ctx/' .. m).body, "
        "'function', m) end\n"
        "end)",
        names, of);
    run_as_test(&h, script);
    mem_free(names);
    mem_free(of);
    json_decref(methods);
    json_decref(context);
    json_t *answer = class_names("HttpAnswer");
    assert_int_equal(json_array_size(answer), 1);
    assert_string_equal(json_string_value(json_array_get(answer, 0)), "json");
    json_decref(answer);
    house_close(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_stubs_and_the_program_have_the_same_globals),
        cmocka_unit_test(methods_of_the_stubs_are_there),
        cmocka_unit_test(what_tests_and_answers_can_do_is_in_the_stubs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
