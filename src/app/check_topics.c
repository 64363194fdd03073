/* What check says of topics: a text that is published under, or asked for, and that nobody of the
 * set listens to is more often misspelt than meant. Only texts that stand there as they are can be
 * judged; one that is declared with `topic` is meant. */
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

static void look_at(void *arg, const struct vm_lint_note *n)
{
    struct topic_look *look = arg;
    struct str topic;
    size_t count;
    char words[TOPIC_MAX + 160];
    if (!check_literal(look->file, n, &topic) || topic_check(topic.p, topic.n, NULL) != 0)
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
