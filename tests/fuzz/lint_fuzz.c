/* Lua source, valid or not: the reading ends, and every note names a place inside the text. */
#include <stdint.h>
#include <string.h>

#include "base/err.h"
#include "base/map.h"
#include "vm/lint.h"
#include "vm/vm.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void check(void *arg, const struct vm_lint_note *note)
{
    const struct vm_source *s = arg;
    ASSERT(note->line >= 1 && note->column >= 1 && (size_t)note->column <= s->len + 1);
    ASSERT(note->text[0] != '\0');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct vm_source s = {"fuzz.lua", (const char *)data, n};
    struct map *globals = map_new();
    vm_lint_collect(&s, globals);
    vm_lint(&s, globals, n % 2 == 0, check, &s);
    map_free(globals, NULL);
    return 0;
}
