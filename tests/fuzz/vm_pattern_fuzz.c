/* Patterns: pattern and text, divided by the first newline. Whatever they are, the work is bounded
 * and captures lie within the text. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/err.h"
#include "vm/pattern.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { STEPS = 20000 };

static void check_captures(const struct vm_pattern *p, const struct vm_pattern_match *m,
                           const char *from, const char *to)
{
    ASSERT(to >= from && to <= m->end);
    for (int i = 0; i < p->captures; i++) {
        ASSERT(m->capture[i].at >= m->text && m->capture[i].at <= m->end);
        ASSERT(m->capture[i].len >= -1);
        ASSERT(m->capture[i].len <= m->end - m->capture[i].at);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct vm_pattern p;
    const char *pattern = (const char *)data;
    const char *line = size > 0 ? memchr(pattern, '\n', size) : NULL;
    if (line == NULL || vm_pattern_compile(pattern, (size_t)(line - pattern), &p) != NULL)
        return 0;
    struct vm_pattern_match m = {.text = line + 1, .end = pattern + size, .steps_max = STEPS};
    for (const char *at = m.text; at <= m.end && !m.exhausted; at++) {
        at = vm_pattern_skip(&p, &m, at);
        const char *to = vm_pattern_match(&p, &m, at);
        if (to != NULL)
            check_captures(&p, &m, at, to);
        if (p.anchored)
            break;
    }
    ASSERT(m.steps <= 2 * (STEPS + size) * (size + 1));
    return 0;
}
