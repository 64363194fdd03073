#include "http/target.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"

static int target_bad(struct err *e, const char *url, const char *words)
{
    return err_field(e, ERR_INVALID, "url", "url '%.200s': %s", url, words);
}

/* The authority's length is `n`; fills host, port, authority. */
static int target_authority(struct target *t, const char *s, size_t n, const char *url,
                            struct err *e)
{
    const char *host = s, *end = s + n, *host_end, *port = NULL;
    if (memchr(s, '@', n) != NULL)
        return err_field(e, ERR_INVALID, "url",
                         "url: no user or password in it; send an Authorization header");
    bool v6 = n > 0 && *s == '[';
    if (v6) {
        host++;
        host_end = memchr(host, ']', (size_t)(end - host));
        if (host_end == NULL || (host_end + 1 < end && host_end[1] != ':'))
            return target_bad(e, url, "malformed IPv6 address");
        port = host_end + 1 < end ? host_end + 2 : NULL;
    } else {
        const char *colon = memchr(s, ':', n);
        host_end = colon != NULL ? colon : end;
        port = colon != NULL ? colon + 1 : NULL;
    }
    size_t len = (size_t)(host_end - host);
    uint64_t number = t->https ? 443 : 80;
    if (len == 0 || len > TARGET_HOST_MAX)
        return target_bad(e, url, "a host is missing, or too long");
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)host[i];
        if (!isalnum(c) && (v6 ? c != ':' && c != '.' : c != '-' && c != '.' && c != '_'))
            return target_bad(e, url,
                              "the host holds a character that no host has; write names of other "
                              "alphabets as xn--...");
        t->host[i] = (char)tolower(c);
    }
    t->host[len] = '\0';
    if (port != NULL && port < end &&
        (!str_to_u64(port, (size_t)(end - port), &number) || number == 0 || number > UINT16_MAX))
        return target_bad(e, url, "malformed port");
    t->port = (uint16_t)number;
    int used = snprintf(t->authority, sizeof t->authority, v6 ? "[%s]" : "%s", t->host);
    if (t->port != (t->https ? 443 : 80))
        snprintf(t->authority + used, sizeof t->authority - (size_t)used, ":%u", t->port);
    return 0;
}

int target_parse(const char *url, size_t n, struct target *out, struct err *e)
{
    if (n > TARGET_URL_MAX)
        return err_field(e, ERR_TOO_LARGE, "url", "url: longer than %d bytes", TARGET_URL_MAX);
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)url[i] <= ' ' || (unsigned char)url[i] >= 127)
            return target_bad(e, url, "blanks and bytes beyond ASCII must be escaped (%XX)");
    size_t scheme = strncasecmp(url, "http://", 7) == 0    ? 7
                    : strncasecmp(url, "https://", 8) == 0 ? 8
                                                           : 0;
    if (scheme == 0)
        return target_bad(e, url, "must begin with http:// or https://");
    out->https = scheme == 8;
    const char *rest = url + scheme;
    size_t authority = strcspn(rest, "/?#\\");
    if (rest[authority] == '\\')
        return target_bad(e, url, "holds a backslash");
    int rc = target_authority(out, rest, authority, url, e);
    if (rc != 0)
        return rc;
    const char *path = rest + authority;
    size_t len = strcspn(path, "#");
    snprintf(out->path, sizeof out->path, "%s%.*s", *path == '/' ? "" : "/", (int)len, path);
    return 0;
}

/* "/a/b/../c?x" -> "/a/c?x", in place, as RFC 3986 says. */
static void target_remove_dots(char *path)
{
    char *query = path + strcspn(path, "?"), *in = path, *out = path;
    while (in < query) {
        size_t n = 1 + strcspn(in + 1, "/?");
        if (in + n > query)
            n = (size_t)(query - in);
        bool last = in + n == query;
        if (n == 2 && in[1] == '.') {
            if (last)
                *out++ = '/';
        } else if (n == 3 && in[1] == '.' && in[2] == '.') {
            while (out > path && *--out != '/')
                continue;
            if (last)
                *out++ = '/';
        } else {
            memmove(out, in, n);
            out += n;
        }
        in += n;
    }
    if (out == path)
        *out++ = '/';
    memmove(out, query, strlen(query) + 1);
}

static bool target_escape(const char *s, char *out, size_t cap)
{
    size_t at = 0;
    for (; *s != '\0'; s++) {
        unsigned char c = (unsigned char)*s;
        bool plain = c > ' ' && c < 127;
        if (at + 4 > cap)
            return false;
        at += (size_t)(plain ? snprintf(out + at, cap - at, "%c", c)
                             : snprintf(out + at, cap - at, "%%%02X", c));
    }
    out[at] = '\0';
    return true;
}

int target_redirect(const struct target *at, const char *location, struct target *out,
                    struct err *e)
{
    AUTO(mem_freep) char *escaped = mem_new(4 * TARGET_URL_MAX);
    AUTO(mem_freep) char *whole = mem_new(4 * TARGET_URL_MAX);
    if (!target_escape(location, escaped, 2 * TARGET_URL_MAX))
        return err_set(e, ERR_TOO_LARGE, "a redirect to a URL longer than %d bytes",
                       TARGET_URL_MAX);
    const char *scheme = at->https ? "https" : "http";
    size_t word = strspn(escaped, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ+-.");
    size_t room = 4 * TARGET_URL_MAX;
    if (word > 0 && escaped[word] == ':') {
        snprintf(whole, room, "%s", escaped);
    } else if (strncmp(escaped, "//", 2) == 0) {
        snprintf(whole, room, "%s:%s", scheme, escaped);
    } else {
        size_t path = strcspn(at->path, "?"), folder = path;
        while (folder > 0 && at->path[folder - 1] != '/')
            folder--;
        size_t keep = *escaped == '/'                       ? 0
                      : *escaped == '?'                     ? path
                      : *escaped == '\0' || *escaped == '#' ? strlen(at->path)
                                                            : folder;
        snprintf(whole, room, "%s://%s%.*s%s", scheme, at->authority, (int)keep, at->path, escaped);
    }
    int rc = target_parse(whole, strlen(whole), out, e);
    if (rc != 0)
        return err_context(e, "redirect");
    target_remove_dots(out->path);
    return 0;
}

void target_format(const struct target *t, char *out, size_t cap)
{
    snprintf(out, cap, "%s://%s%s", t->https ? "https" : "http", t->authority, t->path);
}

bool target_same_origin(const struct target *a, const struct target *b)
{
    return a->https == b->https && a->port == b->port && strcmp(a->host, b->host) == 0;
}
