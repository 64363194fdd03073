#include "base/redact.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "base/buf.h"
#include "base/mem.h"

enum { REDACT_NAME_MAX = 128, REDACT_TOKEN_MIN = 8 };

#define REDACT_HIDDEN "***"

/* ---- known secrets ---- */

void redact_secrets(const char *s, const struct str *secrets, size_t count, struct buf *out)
{
    const char *plain = s;
    while (*s != '\0') {
        size_t found = 0;
        for (size_t i = 0; i < count; i++) {
            size_t n = secrets[i].n;
            if (n >= REDACT_SECRET_MIN && n > found && *s == secrets[i].p[0] &&
                strncmp(s, secrets[i].p, n) == 0)
                found = n;
        }
        if (found == 0) {
            s++;
            continue;
        }
        buf_add(out, plain, (size_t)(s - plain));
        buf_adds(out, REDACT_HIDDEN);
        s += found;
        plain = s;
    }
    buf_add(out, plain, (size_t)(s - plain));
}

/* ---- URLs ---- */

static bool redact_ends_url(char c)
{
    return c == '\0' || c == ' ' || c == '\n' || c == '\t' || c == '"' || c == '\'' || c == '<' ||
           c == '>';
}

/* Where the user information of the authority at `s` ends (its last '@'), or NULL. A raw '/' in a
 * password is malformed, but a secret all the same: so if what follows the ':' is no port number,
 * any later '@' of the word counts. */
static const char *redact_userinfo_end(const char *s)
{
    const char *p = s, *at = NULL, *colon = NULL;
    for (; !redact_ends_url(*p) && strchr("/?#", *p) == NULL; p++) {
        if (*p == '@')
            at = p;
        else if (*p == ':' && colon == NULL)
            colon = p;
    }
    if (at != NULL || colon == NULL)
        return at;
    if ((size_t)(p - colon - 1) == strspn(colon + 1, "0123456789"))
        return NULL;
    for (; !redact_ends_url(*p); p++)
        if (*p == '@')
            at = p;
    return at;
}

/* "://" stands at `s`. "amqp://user:secret@host" keeps its user, of "https://token@host" only
 * scheme and host stay. */
static const char *redact_url(const char *s, struct buf *out)
{
    const char *user = s + 3, *end = redact_userinfo_end(user);
    buf_add(out, s, 3);
    if (end == NULL)
        return user;
    const char *colon = memchr(user, ':', (size_t)(end - user));
    if (colon != NULL)
        buf_add(out, user, (size_t)(colon + 1 - user));
    buf_adds(out, REDACT_HIDDEN);
    return end;
}

/* ---- names that say secret ---- */

enum redact_name { REDACT_OTHER, REDACT_VALUE, REDACT_LINE };

static bool redact_is_name(char c)
{
    return isalnum((unsigned char)c) || c == '_' || c == '-' || c == '.';
}

static enum redact_name redact_name_kind(const char *s, size_t n)
{
    static const char *const ends[] = {"password",  "passwd",    "secret",     "token",
                                       "apikey",    "signature", "passphrase", "privatekey",
                                       "secretkey", "accesskey", "credential", "credentials"};
    static const char *const whole[] = {"pwd", "sig"};
    static const char *const lines[] = {"authorization", "proxyauthorization", "cookie",
                                        "setcookie"};
    char name[REDACT_NAME_MAX];
    size_t length = 0;
    for (size_t i = 0; i < n && length + 1 < sizeof name; i++)
        if (isalnum((unsigned char)s[i]))
            name[length++] = (char)tolower((unsigned char)s[i]);
    name[length] = '\0';
    for (size_t i = 0; i < ARRAY_LEN(ends); i++)
        if (str_ends(name, ends[i]))
            return REDACT_VALUE;
    for (size_t i = 0; i < ARRAY_LEN(whole); i++)
        if (strcmp(name, whole[i]) == 0)
            return REDACT_VALUE;
    for (size_t i = 0; i < ARRAY_LEN(lines); i++)
        if (strcmp(name, lines[i]) == 0)
            return REDACT_LINE;
    return REDACT_OTHER;
}

/* A '"' with the backslashes that are before it at some depth of JSON inside JSON (0, 1, 3, 7): so
 * many bytes; 0: none. */
static size_t redact_quote(const char *s)
{
    size_t n = strspn(s, "\\");
    return s[n] == '"' && (n & (n + 1)) == 0 ? n + 1 : 0;
}

/* The end of a text whose quotes are `depth` bytes: a quote that closes it, or what it is part of.
 * Behind n backslashes a '"' is a quote of d bytes (1, 2, 4, 8) where n % 2d is d - 1. */
static const char *redact_quoted_end(const char *s, size_t depth)
{
    while (*s != '\0' && *s != '\n') {
        size_t n = strspn(s, "\\");
        for (size_t d = 1; s[n] == '"' && d <= depth; d *= 2)
            if (n % (2 * d) == d - 1)
                return s + (n - (d - 1));
        s += n + (s[n] != '\0' && s[n] != '\n');
    }
    return s;
}

/* A name has ended at `s`. Where its value begins, or NULL when it has none that is to be hidden.
 * *depth: bytes of its quotes, *quote: of those around the name; 0 without. */
static const char *redact_value_begin(const char *s, enum redact_name kind, size_t *depth,
                                      size_t *quote)
{
    *quote = redact_quote(s);
    s += *quote;
    s += strspn(s, " ");
    bool equals = *s == '=', colon = *s == ':';
    if (!equals && !(colon && (*quote > 0 || kind == REDACT_LINE)))
        return NULL;
    s++;
    s += colon ? strspn(s, " ") : 0;
    *depth = redact_quote(s);
    /* The quote may end a text of JSON instead of beginning a value: "...?sig=",. */
    const char *after = s + *depth + strspn(s + *depth, " \t\r\n");
    if (equals && *depth > 0 && strchr(",}]:", *after) != NULL)
        return NULL;
    if (*quote > 0 && *depth == 0 &&
        (strchr("[{", *s) != NULL || str_starts(s, "null") || str_starts(s, "true") ||
         str_starts(s, "false")))
        return NULL;
    return s;
}

static const char *redact_value_end(const char *s, enum redact_name kind, size_t depth,
                                    size_t quote)
{
    if (depth > 0)
        return redact_quoted_end(s + depth, depth);
    return s + strcspn(s, kind == REDACT_LINE && quote == 0 ? "\r\n\"'\\" : " \t\r\n\"'&,;)]}<>\\");
}

/* A name begins at `s`; what it says is copied, its value hidden if it is a secret's. */
static const char *redact_pair(const char *s, struct buf *out)
{
    size_t n = 0, depth = 0, quote = 0;
    while (redact_is_name(s[n]))
        n++;
    enum redact_name kind = redact_name_kind(s, n);
    const char *value =
        kind == REDACT_OTHER ? NULL : redact_value_begin(s + n, kind, &depth, &quote);
    if (value == NULL) {
        buf_add(out, s, n);
        return s + n;
    }
    const char *end = redact_value_end(value, kind, depth, quote);
    buf_add(out, s, (size_t)(value - s) + depth);
    if (end > value + depth) {
        size_t bare = depth == 0 ? quote : 0; /* a number: a text in its place */
        buf_add(out, s + n, bare);
        buf_adds(out, REDACT_HIDDEN);
        buf_add(out, s + n, bare);
    }
    return end;
}

/* "Bearer abc...": what stands behind the word, or NULL. */
static const char *redact_bearer(const char *s)
{
    const char *token = strncasecmp(s, "Bearer ", 7) == 0  ? s + 7
                        : strncasecmp(s, "Basic ", 6) == 0 ? s + 6
                                                           : NULL;
    static const char letters[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~+/=";
    return token != NULL && strspn(token, letters) >= REDACT_TOKEN_MIN ? token : NULL;
}

void redact_text(const char *s, struct buf *out)
{
    bool in_name = false;
    while (*s != '\0') {
        const char *token;
        if (str_starts(s, "://")) {
            s = redact_url(s, out);
            in_name = false;
        } else if (in_name || !redact_is_name(*s)) {
            in_name = redact_is_name(*s);
            buf_addc(out, *s++);
        } else if ((token = redact_bearer(s)) != NULL) {
            buf_add(out, s, (size_t)(token - s));
            buf_adds(out, REDACT_HIDDEN);
            s = token + strcspn(token, " \t\r\n\"'\\,;)]}<>");
        } else {
            s = redact_pair(s, out);
        }
    }
}
