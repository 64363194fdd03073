/* What check says of topics: a text that is published under, or asked for, and that nobody of the
 * set listens to is more often misspelt than meant. Only texts that stand there as they are can be
 * judged; one that is declared with `topic` is meant. */
#include <ctype.h>
#include <string.h>

#include "app/check.h"
#include "base/map.h"
#include "base/str.h"
#include "base/topic.h"
#include "vm/lint.h"
#include "vm/vm.h"

struct topic_look {
    struct check *check;
    struct topic_set *known;
    const struct vm_source *file;
};

static const char *line_at(const struct vm_source *s, int line)
{
    const char *p = s->text, *end = s->text + s->len;
    for (; line > 1 && p != NULL; line--) {
        p = memchr(p, '\n', (size_t)(end - p));
        p = p != NULL ? p + 1 : NULL;
    }
    return p;
}

static const char *skip_blanks(const char *p, const char *end)
{
    while (p < end && isspace((unsigned char)*p))
        p++;
    return p;
}

/* `publish("order.placed", ..)`: the text behind the name that stands at this place, if it is one
 * by itself. */
static bool literal_behind(const struct vm_source *s, const struct vm_lint_note *n, struct str *out)
{
    const char *end = s->text + s->len, *p = line_at(s, n->line);
    if (p == NULL || (size_t)(end - p) < (size_t)(n->column - 1) + strlen(n->text))
        return false;
    p = skip_blanks(p + n->column - 1 + strlen(n->text), end);
    if (p == end || *p != '(')
        return false;
    p = skip_blanks(p + 1, end);
    if (p == end || (*p != '"' && *p != '\''))
        return false;
    const char *close = memchr(p + 1, *p, (size_t)(end - p - 1));
    if (close == NULL)
        return false;
    *out = (struct str){p + 1, (size_t)(close - p - 1)};
    p = skip_blanks(close + 1, end);
    return p < end && (*p == ',' || *p == ')');
}

static void look_at(void *arg, const struct vm_lint_note *n)
{
    struct topic_look *look = arg;
    struct str topic;
    size_t count;
    char words[TOPIC_MAX + 160];
    if (!literal_behind(look->file, n, &topic) || topic_check(topic.p, topic.n, NULL) != 0)
        return; /* what is no topic is refused when it runs, in better words */
    topic_set_match(look->known, topic.p, topic.n, &count);
    if (count > 0)
        return;
    snprintf(words, sizeof words,
             "nobody of these scripts listens to '%.*s'; if that is meant, declare it: topic "
             "\"%.*s\" {}",
             (int)topic.n, topic.p, (int)topic.n, topic.p);
    check_problem(look->check, look->file->name, n->line, n->column, false, words);
}

void check_topics(struct check *k, const json_t *patterns)
{
    struct topic_look look = {.check = k, .known = topic_set_new()};
    struct map *names = map_new();
    size_t i;
    json_t *v;
    json_array_foreach((json_t *)patterns, i, v)
        topic_set_add(look.known, json_string_value(v), json_string_length(v), (uint32_t)i, NULL);
    map_puts(names, "publish", k);
    map_puts(names, "request", k);
    for (i = 0; i < k->scripts.count; i++) {
        look.file = &k->scripts.files[i];
        if (!str_ends(look.file->name, "_test.lua"))
            vm_lint_reads(look.file, names, look_at, &look);
    }
    map_free(names, NULL);
    topic_set_free(look.known);
}
