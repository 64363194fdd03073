/* Too little memory at every place where a script can meet it: the same life of a VM again and
 * again, each time with a cap a little higher, until it is enough. Below that nothing but memory is
 * to blame, nothing is left behind (HEAP_TEST), and what comes out is never half. */
#include "base/buf.h"
#include "base/mem.h"
#include "vm_fixture.h"

enum { CAP_STEP = 32, CAP_MOST = 4 << 20 };

static const char script[] =
    "local parts = {}\n"
    "local kept = setmetatable({}, { __index = function(t, k) return k .. k end })\n"
    "for i = 1, 40 do parts[#parts + 1] = ('part %d'):format(i) end\n"
    "local function deep(n) if n == 0 then return { n } end return { below = deep(n - 1), n = n } "
    "end\n"
    "function main(arg)\n"
    "  local seen, all = {}, {}\n"
    "  for i, p in ipairs(parts) do seen[p] = function() return p .. i end end\n"
    "  for p, f in pairs(seen) do all[#all + 1] = f() .. kept[p] end\n"
    "  table.sort(all)\n"
    "  local text = table.concat(all, ','):gsub('%d+', function(d) return '<' .. d .. '>' end)\n"
    "  local ok, err = pcall(error, { code = 'mine', list = deep(20) })\n"
    "  for word in text:gmatch('%a+') do seen[word] = (seen[word] and 1) or 0 end\n"
    "  return { count = #all, text = #text, ok = ok, code = err.code, arg = arg, tree = deep(12) "
    "}\n"
    "end\n";

struct outcome {
    int rc; /* 0: `text` is what came back */
    char *text;
};

static struct outcome refused(struct vm *vm, const struct err *e)
{
    if (e->code != ERR_NOMEM && strstr(e->text, "memory") == NULL)
        fail_msg("with too little memory: %s (%s)", e->text, err_info(e->code)->name);
    vm_free(vm);
    return (struct outcome){.rc = e->code};
}

static struct outcome life(struct host *h, size_t cap)
{
    struct err e = ERR_INIT;
    struct vm *vm = NULL;
    struct vm_options o = {.host = &h->host, .memory_max = cap};
    if (vm_new(&o, &vm, &e) != 0 || load_text(vm, script, &e) != 0)
        return refused(vm, &e);
    static const char arg[] = "{\"a\":[1,2.5,\"x\"],\"b\":{\"c\":null}}";
    struct call c = {.arg = json_read(arg, sizeof arg - 1, &e)};
    call_start(vm, &c);
    while (!c.done)
        vm_turn(vm);
    json_decref(c.arg);
    if (c.run.err.code != 0) {
        assert_null(c.result);
        return refused(vm, &c.run.err);
    }
    struct buf b = BUF_INIT(64 << 10);
    assert_int_equal(json_print_sorted(c.result, &b, &e), 0);
    json_decref(c.result);
    assert_true(vm_memory(vm) <= cap);
    vm_free(vm);
    return (struct outcome){.text = buf_take(&b)};
}

TEST(too_little_memory_anywhere_ends_the_run_and_leaves_nothing)
{
    struct host h = host_new();
    struct outcome whole = life(&h, CAP_MOST);
    assert_int_equal(whole.rc, 0);
    size_t refusals = 0, enough = 0;
    for (size_t cap = CAP_STEP; enough < 50 && cap < CAP_MOST; cap += CAP_STEP) {
        struct outcome o = life(&h, cap);
        refusals += o.rc != 0;
        enough += o.rc == 0;
        if (o.rc == 0)
            assert_string_equal(o.text, whole.text);
        mem_free(o.text);
    }
    mem_free(whole.text);
    assert_int_equal(enough, 50);
    assert_true(refusals > 1000); /* each stopped somewhere else */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HEAP_TEST(too_little_memory_anywhere_ends_the_run_and_leaves_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
