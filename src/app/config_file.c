#include "app/config_file.h"

#include <string.h>
#include <time.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "io/file.h"
#include "vm/vm.h"

/* Behind `return function() ` the file's own lines keep their numbers. */
static const char config_file_before[] = "return function() ";
static const char config_file_after[] = "\nend";

struct config_file {
    struct vm_host host;
    struct vm_run run;
    struct vm_source source;
    json_t *tree;
    json_t *globals; /* here, because loading raises past the frame that pushes it */
    struct err err;
};

static uint64_t config_file_mono(struct vm_host *h)
{
    (void)h;
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static int64_t config_file_wall(struct vm_host *h)
{
    (void)h;
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* The same file gives the same configuration. */
static void config_file_random(struct vm_host *h, void *p, size_t n)
{
    (void)h;
    memset(p, 0, n);
}

static void config_file_wake(struct vm_host *h)
{
    (void)h; /* turned by hand below */
}

/* An empty table is all the globals there are. */
static int config_file_push(struct lua_State *L, struct vm_run *run)
{
    struct config_file *f = LIST_OF(run, struct config_file, run);
    vm_push_json(L, f->globals, VM_PLAIN);
    vm_run_source(L, &f->source, -1);
    return 0;
}

static void config_file_take(struct lua_State *L, struct vm_run *run, int first, int count)
{
    struct config_file *f = LIST_OF(run, struct config_file, run);
    if (count == 0)
        err_set(&f->err, ERR_INVALID, "must end in `return { ... }`");
    else
        vm_to_json(L, first, &f->tree, &f->err);
}

static void config_file_done(struct vm_run *run)
{
    (void)run;
}

static int config_file_lua(const char *path, const char *text, size_t n, json_t **out,
                           struct err *e)
{
    AUTO(buf_fini) struct buf wrapped = BUF_INIT(CONFIG_FILE_MAX + 64);
    buf_adds(&wrapped, config_file_before);
    buf_add(&wrapped, text, n);
    buf_adds(&wrapped, config_file_after);
    const char *base = strrchr(path, '/');
    struct config_file f = {
        .host = {.mono_ns = config_file_mono,
                 .wall_ms = config_file_wall,
                 .random = config_file_random,
                 .wake = config_file_wake},
        .source = {base != NULL ? base + 1 : path, wrapped.data, wrapped.len},
        .run = {.limits = {VM_LOAD_STEPS, (uint64_t)VM_LOAD_MS * 1000000},
                .push = config_file_push,
                .take = config_file_take,
                .done = config_file_done},
        .globals = json_object(),
    };
    struct vm *vm = NULL;
    struct vm_options options = {.host = &f.host};
    if (vm_new(&options, &vm, e) != 0) {
        json_decref(f.globals);
        return e->code;
    }
    int rc = vm_load(vm, NULL, 0, e);
    if (rc == 0 && !vm_start(vm, &f.run))
        while (vm_turn(vm))
            continue;
    if (rc == 0 && f.run.err.code != 0)
        rc = err_set(e, ERR_INVALID, "%s", f.run.err.text);
    else if (rc == 0 && f.err.code != 0)
        rc = err_set(e, ERR_INVALID, "%s: %s", path, f.err.text);
    vm_free(vm);
    json_decref(f.globals);
    *out = f.tree;
    return rc;
}

int config_file_read(const char *path, json_t **out, struct err *e)
{
    AUTO(mem_freep) char *text = NULL;
    size_t n = 0;
    if (file_read(path, CONFIG_FILE_MAX, &text, &n, e) != 0)
        return e->code;
    json_t *tree = NULL;
    if (str_ends(path, ".json")) {
        tree = json_read(text, n, e);
        if (tree == NULL)
            return err_context(e, "%s", path);
    } else if (!str_ends(path, ".lua")) {
        return err_set(e, ERR_INVALID, "%s: the name must end in .lua or .json", path);
    } else if (config_file_lua(path, text, n, &tree, e) != 0) {
        return e->code;
    }
    if (!json_is_object(tree) && json_array_size(tree) == 0 && json_is_array(tree)) {
        json_decref(tree); /* Lua's {} may be either */
        tree = json_object();
    }
    if (!json_is_object(tree)) {
        err_set(e, ERR_INVALID, "%s: an object was expected, not %s", path, json_type_name(tree));
        json_decref(tree);
        return ERR_INVALID;
    }
    *out = tree;
    return 0;
}
