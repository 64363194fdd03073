/* Scripts - the files of a script folder as one set, and whether they have changed.
 *
 * A set is every "*.lua" below the folder (hidden names left out), named by its path inside, or one
 * single file. Reading is whole or not at all: one unreadable file fails the set, by name. Blocks;
 * main thread. */
#ifndef KOAN_APP_SCRIPTS_H
#define KOAN_APP_SCRIPTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vm/vm.h"

struct err;

struct scripts {
    struct vm_source *files;
    size_t count;
};

/* `path` is a folder or a file; "" gives the empty set. */
int scripts_read(const char *path, struct scripts *out, struct err *e);
void scripts_fini(struct scripts *s); /* also for AUTO */
/* Is there anything but tests? */
bool scripts_have_code(const struct scripts *s);
/* A number that differs when a file was added, removed, renamed or written; cheap enough to ask
 * four times a second. */
uint64_t scripts_signature(const char *path);

#endif
