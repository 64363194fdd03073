#include "app/check.h"

#include <errno.h>
#include <ftw.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "app/cli.h"
#include "app/node.h"
#include "app/source_view.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/str.h"
#include "bind/bind.h"
#include "io/loop.h"
#include "vm/lint.h"

enum { CHECK_FOLDERS_MAX = 16 };

/* ---- the clock ---- */

static _Atomic int64_t check_now;

static int64_t check_wall_ms(struct world *w)
{
    (void)w;
    return atomic_load(&check_now);
}

static void check_set_clock(int64_t ms)
{
    atomic_store(&check_now, ms);
}

static const struct bind_clock check_clock = {check_wall_ms, check_set_clock};

/* ---- one node for one step ---- */

struct check_step {
    struct check *check;
    enum bind_text_kind kind;
    const struct vm_source *file; /* of a test; NULL for BIND_TEXT_SCRIPT: list the globals */
    int index;
    json_t *args; /* of BIND_TEXT_DRY */
    struct node *node;
    struct bind_deploy deploy;
    struct bind_text text;
    struct buf output;
    struct err loading, err; /* of the set, of the text */
    json_t *result;
    json_t *status, *webhooks; /* of the set, where it was only loaded */
};

static void check_output(struct bind_text *t, const char *line)
{
    struct check_step *s = LIST_OF(t, struct check_step, text);
    buf_adds(&s->output, line);
    buf_addc(&s->output, '\n');
}

static void check_ran(struct bind_text *t)
{
    struct check_step *s = LIST_OF(t, struct check_step, text);
    s->err = t->err;
    s->result = TAKE(t->result);
    node_stop(s->node, 0);
}

static void check_deployed(struct bind_deploy *d)
{
    static const char globals[] = CHECK_GLOBALS;
    struct check_step *s = LIST_OF(d, struct check_step, deploy);
    s->loading = s->err = d->err;
    bind_deploy_fini(d);
    if (s->loading.code == 0 && s->kind == BIND_TEXT_SCRIPT) {
        s->status = bind_status(node_bind(s->node));
        s->webhooks = bind_webhooks_unset(node_bind(s->node));
    }
    if (s->loading.code != 0 && s->kind != BIND_TEXT_SCRIPT) {
        node_stop(s->node, 0);
        return;
    }
    s->text = (struct bind_text){.name = s->file != NULL ? s->file->name : "globals.lua",
                                 .text = s->file != NULL ? s->file->text : globals,
                                 .len = s->file != NULL ? s->file->len : sizeof globals - 1,
                                 .limit_ms = s->check->timeout_ms,
                                 .kind = s->kind,
                                 .args = TAKE(s->args),
                                 .test_index = s->index,
                                 .print = check_output,
                                 .home = loop_runner(node_control(s->node)),
                                 .done = check_ran};
    bind_run_text(node_bind(s->node), &s->text);
}

static void check_work(struct node *n, void *arg)
{
    struct check_step *s = arg;
    s->node = n;
    s->deploy = (struct bind_deploy){.files = s->check->scripts.files,
                                     .count = s->check->scripts.count,
                                     .home = loop_runner(node_control(n)),
                                     .done = check_deployed};
    bind_deploy(node_bind(n), &s->deploy);
}

static int check_remove(const char *path, const struct stat *st, int kind, struct FTW *at)
{
    (void)st;
    (void)kind;
    (void)at;
    return remove(path);
}

static int check_node(struct check_step *s, const char *data, struct err *e)
{
    struct cli *c = s->check->cli;
    struct config *config = NULL;
    struct node *node = NULL;
    const struct config_flag ours[] = {{"data", data},
                                       {"scripts", ""},
                                       {"env", "test"},
                                       {"script.threads", "1"},
                                       {"ledger.segment_bytes", "1MiB"}};
    size_t before = c->settings_count;
    for (size_t i = 0; i < ARRAY_LEN(ours); i++)
        c->settings[c->settings_count++] = ours[i];
    int rc = cli_config(c, false, &config);
    c->settings_count = before;
    if (rc != CLI_OK)
        return err_set(e, ERR_INVALID, "the configuration has faults");
    struct config_sources unused = {.file = NULL};
    struct node_options o = {
        .config = config, .sources = &unused, .clock = &check_clock, .work = check_work, .arg = s};
    check_set_clock(CHECK_BEGINS);
    if (node_open(&o, &node, e) != 0)
        return e->code;
    node_run(node);
    node_close(node);
    return 0;
}

static int check_step_run(struct check_step *s, struct err *e)
{
    const char *tmp = getenv("TMPDIR");
    AUTO(mem_freep)
    char *data = mem_printf("%s/koan-check-XXXXXX", tmp != NULL && *tmp != '\0' ? tmp : "/tmp");
    buf_init(&s->output, CHECK_OUTPUT_MAX);
    if (mkdtemp(data) == NULL)
        return err_errno(e, errno, "%s", data);
    int rc = check_node(s, data, e);
    nftw(data, check_remove, CHECK_FOLDERS_MAX, FTW_DEPTH | FTW_PHYS);
    return rc;
}

static void check_step_fini(struct check_step *s)
{
    buf_fini(&s->output);
    json_decref(s->result);
    json_decref(s->status);
    json_decref(s->webhooks);
    json_decref(s->args);
}

/* ---- problems ---- */

void check_problem(struct check *k, const char *file, int line, int column, bool fatal,
                   const char *text)
{
    json_array_append_new(k->problems, json_pack("{s:s, s:i, s:i, s:s, s:s}", "file", file, "line",
                                                 line, "column", column, "severity",
                                                 fatal ? "error" : "warning", "text", text));
    if (fatal)
        k->errors++;
    else
        k->warnings++;
}

static void check_note(void *arg, const struct vm_lint_note *n)
{
    check_problem(arg, n->file, n->line, n->column, n->fatal, n->text);
}

static bool check_is_test(const struct vm_source *s)
{
    return str_ends(s->name, "_test.lua");
}

static int check_by_name(const void *a, const void *b)
{
    return strcmp(((const struct vm_source *)a)->name, ((const struct vm_source *)b)->name);
}

int check_open(struct check *k, struct cli *c, const char *path, struct err *e)
{
    *k = (struct check){.cli = c, .problems = json_array(), .tests = json_array()};
    k->timeout_ms = CHECK_TEST_MS;
    int rc = scripts_read(path, &k->scripts, e);
    if (rc == 0 && k->scripts.count > 0)
        qsort(k->scripts.files, k->scripts.count, sizeof k->scripts.files[0], check_by_name);
    return rc;
}

static bool check_is_known(const struct check *k, const struct source_place *p)
{
    size_t i;
    json_t *problem;
    json_array_foreach(k->problems, i, problem)
    {
        if (strcmp(json_string_value(json_object_get(problem, "file")), p->file) == 0 &&
            json_integer_value(json_object_get(problem, "line")) == p->line &&
            strcmp(json_string_value(json_object_get(problem, "severity")), "error") == 0)
            return true;
    }
    return false;
}

/* Why the set does not load, unless the reading of its texts has said so in better words. */
static void check_loading(struct check *k, const struct err *e)
{
    struct source_place p;
    if (!source_place(e->text, &p))
        check_problem(k, "", 0, 0, true, e->text);
    else if (!check_is_known(k, &p))
        check_problem(k, p.file, p.line, p.column, true, p.words);
}

static void check_read(struct check *k, const json_t *library)
{
    struct map *globals = map_new();
    size_t i;
    json_t *name;
    json_array_foreach((json_t *)library, i, name) map_puts(globals, json_string_value(name), k);
    for (i = 0; i < k->scripts.count; i++)
        if (!check_is_test(&k->scripts.files[i]))
            vm_lint_collect(&k->scripts.files[i], globals);
    for (i = 0; i < k->scripts.count; i++)
        vm_lint(&k->scripts.files[i], globals, check_is_test(&k->scripts.files[i]), check_note, k);
    map_free(globals, NULL);
}

void check_judge(struct check *k, const json_t *library, const json_t *status,
                 const json_t *webhooks)
{
    size_t i;
    json_t *one;
    check_read(k, library);
    check_topics(k, json_object_get(status, "topics"));
    check_names(k, status);
    json_array_foreach((json_t *)(uintptr_t)webhooks, i, one)
        check_problem(k, json_string_value(json_object_get(one, "file")),
                      (int)json_integer_value(json_object_get(one, "line")), 0, false,
                      json_string_value(json_object_get(one, "text")));
}

int check_lint(struct check *k, struct err *e)
{
    struct check_step s = {.check = k};
    int rc = check_step_run(&s, e);
    if (rc == 0 && s.err.code != 0) {
        *e = s.err;
        rc = e->code;
    } else if (rc == 0) {
        if (s.loading.code == 0) {
            check_judge(k, s.result, s.status, s.webhooks);
        } else {
            check_read(k, s.result);
            check_loading(k, &s.loading);
        }
    }
    check_step_fini(&s);
    return rc;
}

/* ---- tests ---- */

static double check_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static json_t *check_result(struct check *k, const struct check_step *s, const char *name,
                            double ms)
{
    bool ok = s->err.code == 0;
    json_t *test = json_pack("{s:s, s:s, s:b, s:i}", "file", s->file->name, "name", name, "ok", ok,
                             "ms", (int)(ms + 0.5));
    if (!ok)
        json_object_set_new(test, "error", json_string(s->err.text));
    if (s->output.len > 0)
        json_object_set_new(test, "output", json_string(buf_str(&s->output)));
    json_array_append_new(k->tests, test);
    if (ok)
        k->passed++;
    else
        k->failed++;
    return test;
}

static int check_one(struct check *k, const struct vm_source *file, int index, const char *name,
                     void (*tested)(struct check *k, const json_t *test), struct err *e)
{
    struct check_step s = {.check = k, .kind = BIND_TEXT_TEST, .file = file, .index = index};
    double began = check_ms();
    int rc = check_step_run(&s, e);
    if (rc == 0) {
        json_t *test = check_result(k, &s, name, check_ms() - began);
        if (tested != NULL)
            tested(k, test);
    }
    check_step_fini(&s);
    return rc;
}

/* Runs the file to learn its tests. One without any, or that fails on the way, is a test itself. */
static int check_file(struct check *k, const struct vm_source *file,
                      void (*tested)(struct check *k, const json_t *test), struct err *e)
{
    struct check_step s = {.check = k, .kind = BIND_TEXT_TEST, .file = file};
    double began = check_ms();
    int rc = check_step_run(&s, e);
    if (rc == 0 && json_array_size(s.result) == 0) {
        json_t *test = check_result(k, &s, "", check_ms() - began);
        if (tested != NULL)
            tested(k, test);
    }
    size_t i;
    json_t *name;
    json_array_foreach(s.result, i, name)
    {
        if (rc == 0)
            rc = check_one(k, file, (int)i + 1, json_string_value(name), tested, e);
    }
    check_step_fini(&s);
    return rc;
}

int check_tests(struct check *k, void (*tested)(struct check *k, const json_t *test), struct err *e)
{
    int rc = 0;
    for (size_t i = 0; i < k->scripts.count && rc == 0; i++)
        if (check_is_test(&k->scripts.files[i]))
            rc = check_file(k, &k->scripts.files[i], tested, e);
    return rc;
}

/* ---- dry runs ---- */

static int check_ask(struct check *k, enum bind_text_kind kind, json_t *args, json_t **out,
                     struct err *e)
{
    struct check_step s = {.check = k, .kind = kind, .args = args};
    int rc = check_step_run(&s, e);
    if (rc == 0 && s.err.code != 0) {
        *e = s.err;
        rc = e->code;
    }
    if (rc == 0)
        *out = TAKE(s.result);
    check_step_fini(&s);
    return rc;
}

int check_hooked(struct check *k, json_t **out, struct err *e)
{
    return check_ask(k, BIND_TEXT_HOOKED, NULL, out, e);
}

int check_dry(struct check *k, const char *entity, const json_t *items, json_t **out, struct err *e)
{
    return check_ask(k, BIND_TEXT_DRY, json_pack("[s, O]", entity, (json_t *)items), out, e);
}

void check_fini(struct check *k)
{
    json_decref(k->problems);
    json_decref(k->tests);
    json_decref(k->recent);
    scripts_fini(&k->scripts);
    k->problems = k->tests = NULL;
}
