/* What check says of jobs: one that is named as job("settle") and that the set does not declare can
 * only be refused when it is submitted. */
#include <string.h>

#include "app/check.h"
#include "base/map.h"
#include "base/str.h"
#include "vm/lint.h"
#include "vm/vm.h"

enum { CHECK_JOBS_NEAR = 64 };

struct job_look {
    struct check *check;
    const json_t *declared;
    const struct vm_source *file;
};

static const char *nearest(const json_t *declared, const char *name)
{
    const char *names[CHECK_JOBS_NEAR];
    size_t i, n = 0;
    json_t *v;
    json_array_foreach((json_t *)declared, i, v)
    {
        if (strcmp(json_string_value(v), name) == 0)
            return name;
        if (n < CHECK_JOBS_NEAR)
            names[n++] = json_string_value(v);
    }
    return str_nearest(name, names, n);
}

static void look_at(void *arg, const struct vm_lint_note *n)
{
    struct job_look *look = arg;
    struct str at;
    char name[128], words[320];
    if (!check_literal(look->file, n, &at) || at.n >= sizeof name)
        return;
    snprintf(name, sizeof name, "%.*s", (int)at.n, at.p);
    const char *near = nearest(look->declared, name);
    if (near != NULL && strcmp(near, name) == 0)
        return;
    int used = snprintf(words, sizeof words, "these scripts declare no job '%s'", name);
    if (near != NULL)
        snprintf(words + used, sizeof words - (size_t)used, "; did you mean '%s'?", near);
    check_problem(look->check, look->file->name, n->line, n->column, false, words);
}

void check_jobs(struct check *k, const json_t *declared)
{
    struct job_look look = {.check = k, .declared = declared};
    struct map *names = map_new();
    map_puts(names, "job", k);
    for (size_t i = 0; i < k->scripts.count; i++) {
        look.file = &k->scripts.files[i];
        if (!str_ends(look.file->name, "_test.lua"))
            vm_lint_reads(look.file, names, look_at, &look);
    }
    map_free(names, NULL);
}
