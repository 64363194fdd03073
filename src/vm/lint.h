/* Lint - what a compiler of Lua lets pass and a reader would not: names that nobody defined,
 * assignments to globals that will be read-only, locals that nobody reads. Pure: texts in, notes
 * out.
 *
 * It reads Lua's grammar once, keeping the scopes and nothing else, so a file costs what reading it
 * costs. The text must have compiled: what is no Lua ends the reading in silence. */
#ifndef KOAN_VM_LINT_H
#define KOAN_VM_LINT_H

#include <stdbool.h>

struct map;
struct vm_source;

enum { VM_LINT_DEPTH_MAX = 220, VM_LINT_LOCALS_MAX = 4000, VM_LINT_TEXT_MAX = 256 };

struct vm_lint_note {
    const char *file;
    int line, column; /* from 1, the column in bytes */
    bool fatal;       /* it will fail when it runs; else only a smell */
    char text[VM_LINT_TEXT_MAX];
};
typedef void vm_lint_cb(void *arg, const struct vm_lint_note *note);

/* Adds the globals that the file makes at its top level: name -> any value but NULL. */
void vm_lint_collect(const struct vm_source *s, struct map *globals);
/* Tells each place where the file reads one of the `names` as a global; `text` is the name alone.
 */
void vm_lint_reads(const struct vm_source *s, const struct map *names, vm_lint_cb *note, void *arg);
/* `globals`: the library's and those of all files. `late`: the file runs after the set was loaded
 * (a test, a text of `koan run`), so its top level may not make globals either. */
void vm_lint(const struct vm_source *s, const struct map *globals, bool late, vm_lint_cb *note,
             void *arg);

#endif
