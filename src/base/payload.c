#include "base/payload.h"

#include <string.h>

#include "base/err.h"

bool cursor_text(struct cursor *c, char *out, size_t least, size_t max)
{
    size_t n = 0;
    const char *p = cursor_bytes(c, &n);
    out[0] = '\0';
    if (p == NULL || n < least || n > max || memchr(p, '\0', n) != NULL) {
        c->bad = true;
        return false;
    }
    memcpy(out, p, n);
    out[n] = '\0';
    return true;
}

void uuid_read(struct cursor *c, struct uuid *out)
{
    const void *p = cursor_raw(c, sizeof out->b);
    memset(out, 0, sizeof *out);
    if (p != NULL)
        memcpy(out->b, p, sizeof out->b);
}

int cursor_whole(const struct cursor *c, const char *op, struct err *e)
{
    return c->bad || cursor_left(c) > 0 ? err_set(e, ERR_INVALID, "%s: malformed payload", op) : 0;
}
