/* Topics and patterns: lines. The last is a topic, the others patterns of a set, every third of
 * which goes again. What is found is what trying every pattern finds, and a node is looked at at
 * most once a word. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/err.h"
#include "base/topic.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { LINES = 64 };

struct line {
    const char *s;
    size_t n;
    bool there;
};

/* Row by row over the words of the topic: may the pattern's first words match its first words? */
static bool matches(const struct line *p, const struct line *t)
{
    bool row[TOPIC_MAX + 2] = {true};
    size_t words = 1;
    for (size_t i = 0; i < t->n; i++)
        words += t->s[i] == '.';
    for (size_t at = 0; at <= p->n;) {
        const char *w = p->s + at, *dot = memchr(w, '.', p->n - at);
        size_t n = dot != NULL ? (size_t)(dot - w) : p->n - at;
        bool hash = n == 1 && *w == '#', star = n == 1 && *w == '*', before = row[0];
        const char *x = t->s;
        row[0] = hash && before;
        for (size_t i = 1; i <= words; i++) {
            const char *end = memchr(x, '.', (size_t)(t->s + t->n - x));
            size_t len = (size_t)((end != NULL ? end : t->s + t->n) - x);
            bool same = star || (len == n && memcmp(x, w, n) == 0), now = row[i];
            row[i] = hash ? now || row[i - 1] : before && same;
            before = now;
            x += len + 1;
        }
        at += n + 1;
    }
    return row[words];
}

static void check(struct topic_set *s, const struct line *lines, size_t count)
{
    const struct line *topic = &lines[count - 1];
    size_t n, at = 0, words = 1;
    if (topic_check(topic->s, topic->n, NULL) != 0)
        return;
    for (size_t i = 0; i < topic->n; i++)
        words += topic->s[i] == '.';
    const uint32_t *ids = topic_set_match(s, topic->s, topic->n, &n);
    for (uint32_t i = 0; i + 1 < count; i++)
        if (lines[i].there && matches(&lines[i], topic))
            ASSERT(at < n && ids[at++] == i);
    ASSERT(at == n && topic_set_looked(s) <= (words + 1) * topic_set_nodes(s));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct line lines[LINES] = {{.s = (const char *)data, .n = size}};
    size_t count = 1, there = 0;
    for (char *nl; count < LINES && lines[count - 1].n > 0 &&
                   (nl = memchr(lines[count - 1].s, '\n', lines[count - 1].n)) != NULL;
         count++) {
        struct line *last = &lines[count - 1];
        lines[count] = (struct line){.s = nl + 1, .n = last->n - (size_t)(nl + 1 - last->s)};
        last->n = (size_t)(nl - last->s);
    }
    struct topic_set *s = topic_set_new();
    for (uint32_t i = 0; i + 1 < count; i++)
        lines[i].there = topic_set_add(s, lines[i].s, lines[i].n, i, NULL) == 0;
    for (uint32_t i = 0; i + 1 < count; i += 3) {
        ASSERT(topic_set_remove(s, lines[i].s, lines[i].n, i) == lines[i].there);
        lines[i].there = false;
    }
    check(s, lines, count);
    for (uint32_t i = 0; i + 1 < count; i++)
        there += lines[i].there;
    ASSERT(topic_set_count(s) == there);
    for (uint32_t i = 0; i + 1 < count; i++)
        ASSERT(topic_set_remove(s, lines[i].s, lines[i].n, i) == lines[i].there);
    ASSERT(topic_set_nodes(s) == 1);
    topic_set_free(s);
    return 0;
}
