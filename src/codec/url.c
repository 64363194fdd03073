#include "codec/url.h"

#include <stdbool.h>

#include "base/buf.h"

static bool url_is_plain(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '.' || c == '_' || c == '~';
}

void url_encode(const char *s, size_t n, struct buf *out)
{
    static const char digits[] = "0123456789ABCDEF";
    size_t from = 0; /* what is plain goes in one piece */
    for (size_t i = 0; i < n; i++) {
        if (url_is_plain(s[i]))
            continue;
        unsigned char c = (unsigned char)s[i];
        char escape[3] = {'%', digits[c >> 4], digits[c & 15]};
        buf_add(out, s + from, i - from);
        buf_add(out, escape, sizeof(escape));
        from = i + 1;
    }
    buf_add(out, s + from, n - from);
}
