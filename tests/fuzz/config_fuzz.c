/* The configuration file, as JSON or (first byte 'L') as Lua, and one setting from the environment
 * (what follows the last NUL): the tree is taken whole, or every fault is a line of its own. */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "app/settings.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { FAULTS_MAX = 256 << 10, FUZZ_MAX = 8192 };

static void fuzz_load(const char *path, char *variable)
{
    AUTO(buf_fini) struct buf faults = BUF_INIT(FAULTS_MAX);
    AUTO(config_freep) struct config *c = NULL;
    char *environment[] = {variable, NULL};
    struct config_sources s = {.file = path, .environment = environment};
    int rc = config_load(&s, &c, &faults);
    ASSERT((rc == 0) == (c != NULL) && (rc == 0) == (faults.len == 0));
    ASSERT(rc == 0 || buf_str(&faults)[faults.len - 1] == '\n');
    for (int i = 0; rc == 0 && i < SET_COUNT; i++)
        ASSERT(config_shown(c, (enum setting_id)i) != NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1 || size > FUZZ_MAX)
        return 0;
    const uint8_t *value = memrchr(data, '\0', size);
    size_t text = value != NULL ? (size_t)(value - data) : size;
    size_t after = value != NULL ? size - text - 1 : 0;
    AUTO(mem_freep)
    char *variable = mem_printf("KOAN_%.*s", (int)after, (const char *)data + size - after);
    char path[64];
    snprintf(path, sizeof path, "/tmp/koan-fuzz-%d.%s", (int)getpid(),
             data[0] == 'L' ? "lua" : "json");
    FILE *f = fopen(path, "wb");
    if (f == NULL)
        return 0;
    if (text > 1)
        fwrite(data + 1, 1, text - 1, f);
    fclose(f);
    fuzz_load(path, variable);
    unlink(path);
    return 0;
}
