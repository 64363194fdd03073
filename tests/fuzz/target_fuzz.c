/* A URL and a Location: whatever they hold, what comes out is one line of visible ASCII, and reads
 * back as itself. */
#include <stdint.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "http/address.h"
#include "http/target.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void check(const struct target *t)
{
    static char text[TARGET_URL_MAX + 300];
    static struct target again;
    target_format(t, text, sizeof text);
    for (const char *p = text; *p != '\0'; p++)
        ASSERT(*p > ' ' && *p < 127);
    ASSERT(t->path[0] == '/' && t->port > 0);
    if (strlen(text) <= TARGET_URL_MAX) {
        ASSERT(target_parse(text, strlen(text), &again, NULL) == 0);
        ASSERT(target_same_origin(t, &again) && strcmp(t->path, again.path) == 0);
    }
    address_is_allowed(t->path, t->host, t->host);
    address_is_public(t->host);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static struct target from, to;
    AUTO(mem_freep) char *text = mem_strndup((const char *)data, n);
    char *second = text + strcspn(text, "\n");
    bool has = *second == '\n';
    *second = '\0';
    if (target_parse(text, strlen(text), &from, NULL) != 0)
        return 0;
    check(&from);
    if (has && target_redirect(&from, second + 1, &to, NULL) == 0)
        check(&to);
    return 0;
}
