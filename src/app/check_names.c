/* What check says of names: an entity, a queue or a job that a script mentions and that the set
 * does not declare is more often misspelt than meant. Only texts that stand there as they are can
 * be judged. A queue may be declared over HTTP, so these are warnings. */
#include <string.h>

#include "app/check.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/str.h"
#include "vm/lint.h"
#include "vm/vm.h"

enum { NAMES_NEAR = 64, NAMES_WORDS = 480, NAMES_TEXT = 160 };

struct name_look {
    struct check *check;
    const json_t *declared; /* a list of names */
    const char *what;       /* "entity" */
    const struct vm_source *file;
};

static bool is_declared(const json_t *declared, const char *name)
{
    size_t i;
    json_t *v;
    json_array_foreach((json_t *)(uintptr_t)declared, i, v)
    {
        if (strcmp(json_string_value(v), name) == 0)
            return true;
    }
    return false;
}

static const char *nearest(const json_t *declared, const char *name)
{
    const char *names[NAMES_NEAR];
    size_t i, n = 0;
    json_t *v;
    json_array_foreach((json_t *)(uintptr_t)declared, i, v)
    {
        if (n < NAMES_NEAR)
            names[n++] = json_string_value(v);
    }
    return str_nearest(name, names, n);
}

static void undeclared(const struct name_look *look, const char *name, char words[NAMES_WORDS])
{
    const char *near = nearest(look->declared, name);
    int used = snprintf(words, NAMES_WORDS, "these scripts declare no %s '%s'", look->what, name);
    if (near != NULL)
        snprintf(words + used, NAMES_WORDS - (size_t)used, "; did you mean '%s'?", near);
    else if (strcmp(look->what, "queue") == 0)
        snprintf(words + used, NAMES_WORDS - (size_t)used, ": queue \"%s\" {}", name);
}

/* These are declared by Koan itself, for what has that name. */
static bool is_made(const char *queue)
{
    return str_starts(queue, "job.") || str_starts(queue, "canon.") || str_starts(queue, "group.");
}

/* The name that is written there; false: it is worked out, or none of ours is so long. */
static bool literal_name(const struct vm_source *file, const struct vm_lint_note *n,
                         char name[NAMES_TEXT])
{
    struct str at;
    if (!check_literal(file, n, &at) || at.n >= NAMES_TEXT)
        return false;
    snprintf(name, NAMES_TEXT, "%.*s", (int)at.n, at.p);
    return true;
}

static void look_at(void *arg, const struct vm_lint_note *n)
{
    struct name_look *look = arg;
    char name[NAMES_TEXT], words[NAMES_WORDS];
    if (!literal_name(look->file, n, name))
        return;
    if (strcmp(look->what, "entity") == 0)
        name[strcspn(name, "/")] = '\0'; /* Note/draft is a partition of it */
    if (*name == '\0' || is_declared(look->declared, name) ||
        (strcmp(look->what, "queue") == 0 && is_made(name)))
        return;
    undeclared(look, name, words);
    check_problem(look->check, look->file->name, n->line, n->column, false, words);
}

static void look_at_all(struct name_look *look, const char *function, vm_lint_cb *each)
{
    struct map *names = map_new();
    struct check *k = look->check;
    map_puts(names, function, k);
    for (size_t i = 0; i < k->scripts.count; i++) {
        look->file = &k->scripts.files[i];
        if (!str_ends(look->file->name, "_test.lua"))
            vm_lint_reads(look->file, names, each, look);
    }
    map_free(names, NULL);
}

/* ---- dead_to ---- */

static bool is_quote(char c)
{
    return c == '"' || c == '\'';
}

/* `dead_to = "name"` in this line: its column, from 1; 0: it is not there. */
static int dead_to_at(const char *line, size_t n, const char *name)
{
    static const char key[] = "dead_to";
    const char *end = line + n, *p = line;
    size_t len = strlen(name);
    while ((p = memmem(p, (size_t)(end - p), key, sizeof key - 1)) != NULL) {
        const char *at = p;
        p += sizeof key - 1;
        while (p < end && strchr(" \t=", *p) != NULL)
            p++;
        if ((size_t)(end - p) >= len + 2 && is_quote(*p) && memcmp(p + 1, name, len) == 0 &&
            p[len + 1] == *p)
            return (int)(at - line) + 1;
    }
    return 0;
}

static void tell_dead_to(const struct name_look *look, const char *name)
{
    char words[NAMES_WORDS];
    const struct check *k = look->check;
    undeclared(look, name, words);
    for (size_t i = 0; i < k->scripts.count; i++) {
        const struct vm_source *s = &k->scripts.files[i];
        int line = 1;
        for (const char *p = s->text, *end = p + s->len, *next; p < end; p = next, line++) {
            const char *nl = memchr(p, '\n', (size_t)(end - p));
            next = nl != NULL ? nl + 1 : end;
            int column = dead_to_at(p, (size_t)(next - p), name);
            if (column > 0) {
                check_problem(look->check, s->name, line, column, false, words);
                return;
            }
        }
    }
    check_problem(look->check, "", 0, 0, false, words);
}

/* ---- on "mail" ---- */

static void look_at_on(void *arg, const struct vm_lint_note *n)
{
    struct name_look *look = arg;
    char name[NAMES_TEXT], words[NAMES_WORDS];
    if (!literal_name(look->file, n, name))
        return;
    if (!is_declared(look->declared, name))
        return;
    snprintf(words, sizeof words,
             "this listens to a topic named '%s', and nobody works the queue of that name: on "
             "\"queue/%s\" does",
             name, name);
    check_problem(look->check, look->file->name, n->line, n->column, false, words);
}

static void check_queues(struct check *k, const json_t *queues)
{
    AUTO(json_unref) json_t *all = json_array();
    AUTO(json_unref) json_t *idle = json_array(); /* without a handler */
    size_t i;
    json_t *q;
    json_array_foreach((json_t *)(uintptr_t)queues, i, q)
    {
        json_array_append(all, json_object_get(q, "name"));
        if (!json_is_true(json_object_get(q, "handled")))
            json_array_append(idle, json_object_get(q, "name"));
    }
    struct name_look look = {.check = k, .declared = all, .what = "queue"};
    look_at_all(&look, "send", look_at);
    json_array_foreach((json_t *)(uintptr_t)queues, i, q)
    {
        const char *to = json_string_value(json_object_get(q, "dead_to"));
        if (to != NULL && !is_declared(all, to) && !is_made(to))
            tell_dead_to(&look, to);
    }
    look.declared = idle;
    look_at_all(&look, "on", look_at_on);
}

void check_names(struct check *k, const json_t *status)
{
    struct name_look jobs = {k, json_object_get(status, "jobs"), "job", NULL},
                     entities = {k, json_object_get(status, "entities"), "entity", NULL};
    look_at_all(&jobs, "job", look_at);
    look_at_all(&entities, "entity", look_at);
    check_queues(k, json_object_get(status, "queues"));
}
