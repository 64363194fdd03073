#include "bus/group.h"

#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/topic.h"

struct groups {
    struct arena arena; /* the strings */
    struct group *list;
    size_t count;
};

/* ---- Names ---- */

static size_t group_good_bytes(const char *name, size_t n)
{
    size_t i = 0;
    while (i < n && topic_check(name + i, 1, NULL) == 0)
        i++;
    return i;
}

static int group_check(const char *name, size_t n, struct err *e)
{
    size_t good = group_good_bytes(name, n);
    if (n == 0)
        return err_field(e, ERR_INVALID, "group", "a group's name has at least one character");
    if (n > GROUP_NAME_MAX)
        return err_field(e, ERR_INVALID, "group", "a group's name of %zu bytes; it has at most %d",
                         n, GROUP_NAME_MAX);
    if (good < n)
        return err_field(e, ERR_INVALID, "group",
                         "a group's name is of letters without accents, digits, '.', '_' and '-', "
                         "and has something else at offset %zu",
                         good);
    return 0;
}

int group_check_name(const char *name, struct err *e)
{
    return group_check(name, strlen(name), e);
}

static int group_file_name(const char *file, struct str *out, struct err *e)
{
    const char *slash = strrchr(file, '/');
    const char *name = slash != NULL ? slash + 1 : file;
    size_t n = strlen(name);
    struct err why = ERR_INIT;
    if (str_ends(name, ".lua"))
        n -= strlen(".lua");
    *out = (struct str){name, n};
    if (group_check(name, n, &why) == 0)
        return 0;
    return err_field(e, ERR_INVALID, "group",
                     "the file's name gives none for the group (%s); write group = \"...\"",
                     why.text);
}

/* ---- A set ---- */

static int groups_no_room(struct err *e)
{
    return err_set(e, ERR_TOO_LARGE, "the declarations of groups have over %d bytes",
                   GROUPS_BYTES_MAX);
}

static int groups_copy_options(struct groups *g, const json_t *options, struct group *to,
                               struct err *e)
{
    AUTO(buf_fini) struct buf b = BUF_INIT(GROUPS_BYTES_MAX);
    if (options != NULL) {
        int rc = json_print_sorted(options, &b, e);
        if (rc != 0)
            return rc;
    }
    to->options = options != NULL ? arena_strndup(&g->arena, buf_str(&b), b.len) : "{}";
    return to->options != NULL ? 0 : groups_no_room(e);
}

static int groups_copy(struct groups *g, const struct group_declared *d, struct err *e)
{
    struct str name = str_of(d->group);
    struct group *to = &g->list[g->count];
    int rc = topic_check_pattern(d->pattern, strlen(d->pattern), e);
    if (rc == 0)
        rc = d->group != NULL ? group_check_name(d->group, e) : group_file_name(d->file, &name, e);
    if (rc == 0)
        rc = groups_copy_options(g, d->options, to, e);
    if (rc != 0) {
        err_context(e, "%s:%d: on '%.128s'", d->file, d->line, d->pattern);
        return rc;
    }
    to->name = arena_strndup(&g->arena, name.p, name.n);
    to->pattern = arena_strndup(&g->arena, d->pattern, strlen(d->pattern));
    to->file = arena_strndup(&g->arena, d->file, strlen(d->file));
    to->line = d->line;
    if (to->name == NULL || to->pattern == NULL || to->file == NULL)
        return groups_no_room(e);
    g->count++;
    return 0;
}

static int group_compare(const struct group *a, const struct group *b)
{
    int by_name = strcmp(a->name, b->name);
    return by_name != 0 ? by_name : strcmp(a->pattern, b->pattern);
}

/* Of duplicates by their places, so that the message is the same whatever the order of the files.
 */
static int group_sort_cb(const void *x, const void *y)
{
    const struct group *a = x, *b = y;
    int order = group_compare(a, b);
    if (order == 0)
        order = strcmp(a->file, b->file);
    return order != 0 ? order : (a->line > b->line) - (a->line < b->line);
}

static int groups_check_twice(const struct groups *g, struct err *e)
{
    for (size_t i = 1; i < g->count; i++) {
        const struct group *a = &g->list[i - 1], *b = &g->list[i];
        if (group_compare(a, b) == 0)
            return err_field(e, ERR_INVALID, "group",
                             "group '%s' listens to '%s' twice, in %s:%d and in %s:%d; give one of "
                             "them another group",
                             a->name, a->pattern, a->file, a->line, b->file, b->line);
    }
    return 0;
}

int groups_build(const struct group_declared *list, size_t count, struct groups **out,
                 struct err *e)
{
    if (count > GROUPS_MAX)
        return err_set(e, ERR_TOO_LARGE, "%zu declarations of groups; at most %d are taken", count,
                       GROUPS_MAX);
    struct groups *g = mem_new(sizeof(*g));
    arena_init(&g->arena, GROUPS_BYTES_MAX);
    g->list = mem_try((count > 0 ? count : 1) * sizeof(*g->list));
    int rc = g->list != NULL ? 0 : err_set(e, ERR_NOMEM, "no memory for %zu groups", count);
    for (size_t i = 0; i < count && rc == 0; i++)
        rc = groups_copy(g, &list[i], e);
    if (rc == 0) {
        qsort(g->list, g->count, sizeof(*g->list), group_sort_cb);
        rc = groups_check_twice(g, e);
    }
    if (rc == 0)
        *out = g;
    else
        groups_free(g);
    return rc;
}

void groups_free(struct groups *g)
{
    if (g == NULL)
        return;
    arena_fini(&g->arena);
    mem_free(g->list);
    mem_free(g);
}

size_t groups_count(const struct groups *g)
{
    return g != NULL ? g->count : 0;
}

const struct group *groups_at(const struct groups *g, size_t i)
{
    ASSERT(i < groups_count(g));
    return &g->list[i];
}

const struct group *groups_pick(const struct groups *g, const char *name, const char *topic)
{
    for (size_t i = groups_count(g); i-- > 0;) {
        const struct group *d = &g->list[i];
        if (strcmp(d->name, name) == 0 &&
            topic_matches(d->pattern, strlen(d->pattern), topic, strlen(topic)))
            return d;
    }
    return NULL;
}

/* ---- Nobody listens ---- */

int unrouted_read(const char *word, enum unrouted *out, struct err *e)
{
    if (strcmp(word, "keep") == 0)
        *out = UNROUTED_KEEP;
    else if (strcmp(word, "drop") == 0)
        *out = UNROUTED_DROP;
    else
        return err_field(e, ERR_INVALID, "unrouted",
                         "unrouted is \"keep\", for messages that nobody listens to to be found in "
                         "queue '%s', or \"drop\"; not '%.40s'",
                         UNROUTED_QUEUE, word);
    return 0;
}

enum group_route group_route(size_t matched, bool mandatory, enum unrouted unrouted)
{
    if (matched > 0)
        return GROUP_DELIVER;
    if (mandatory)
        return GROUP_REFUSE;
    return unrouted == UNROUTED_DROP ? GROUP_DROP : GROUP_KEEP;
}
