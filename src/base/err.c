#include "base/err.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"

static const struct err_info err_table[ERR_COUNT] = {
#define ROW(code, name, status, retry, title) [-(code)] = {code, name, status, retry, title}
    ROW(ERR_OK, "ok", 200, ERR_RETRY_NEVER, "No error"),
    ROW(ERR_INVALID, "invalid", 400, ERR_RETRY_NEVER, "The request is not valid"),
    ROW(ERR_UNAUTHORIZED, "unauthorized", 401, ERR_RETRY_NEVER, "No valid credential was given"),
    ROW(ERR_FORBIDDEN, "forbidden", 403, ERR_RETRY_NEVER, "The credential lacks the right"),
    ROW(ERR_QUOTA, "quota", 403, ERR_RETRY_NEVER, "A quota is used up"),
    ROW(ERR_NOT_FOUND, "not_found", 404, ERR_RETRY_NEVER, "There is no such thing"),
    ROW(ERR_METHOD, "method", 405, ERR_RETRY_NEVER, "The method is not allowed here"),
    ROW(ERR_CONFLICT, "conflict", 409, ERR_RETRY_REREAD, "The state does not allow it"),
    ROW(ERR_FENCED, "fenced", 409, ERR_RETRY_NEVER, "The lease is over"),
    ROW(ERR_GONE, "gone", 410, ERR_RETRY_NEVER, "It is no longer kept"),
    ROW(ERR_VERSION_MISMATCH, "version_mismatch", 412, ERR_RETRY_REREAD,
        "The version does not match"),
    ROW(ERR_TOO_LARGE, "too_large", 413, ERR_RETRY_NEVER, "A limit is exceeded"),
    ROW(ERR_HEADERS_TOO_LARGE, "too_large", 431, ERR_RETRY_NEVER, "The headers are too large"),
    ROW(ERR_MEDIA_TYPE, "media_type", 415, ERR_RETRY_NEVER, "The content type is not supported"),
    ROW(ERR_RANGE, "range", 416, ERR_RETRY_NEVER, "The range cannot be satisfied"),
    ROW(ERR_REJECTED, "rejected", 422, ERR_RETRY_NEVER, "A rule rejected it"),
    ROW(ERR_UNSUPPORTED, "unsupported", 422, ERR_RETRY_NEVER, "This cannot be done here"),
    ROW(ERR_LOCKED, "locked", 423, ERR_RETRY_AFTER, "It is locked"),
    ROW(ERR_RATE_LIMITED, "rate_limited", 429, ERR_RETRY_AFTER, "A rate limit is exceeded"),
    ROW(ERR_QUEUE_FULL, "queue_full", 429, ERR_RETRY_AFTER, "The queue is full"),
    ROW(ERR_INTERNAL, "internal", 500, ERR_RETRY_SAME, "An error inside Koan"),
    ROW(ERR_OVERLOADED, "overloaded", 503, ERR_RETRY_AFTER, "There is too much to do"),
    ROW(ERR_SEALED, "sealed", 503, ERR_RETRY_AFTER, "The vault is sealed"),
    ROW(ERR_UNAVAILABLE, "unavailable", 503, ERR_RETRY_AFTER, "A provider is unavailable"),
    ROW(ERR_NO_LEADER, "no_leader", 503, ERR_RETRY_SAME, "There is no leader"),
    ROW(ERR_DRAINING, "draining", 503, ERR_RETRY_SAME, "This node is leaving"),
    ROW(ERR_TIMEOUT, "timeout", 504, ERR_RETRY_SAME, "The outcome is unknown"),
    ROW(ERR_DISK_FULL, "disk_full", 507, ERR_RETRY_AFTER, "The disk is full"),
    ROW(ERR_NOMEM, "internal", 500, ERR_RETRY_SAME, "Out of memory"),
    ROW(ERR_IO, "internal", 500, ERR_RETRY_SAME, "An input or output error"),
    ROW(ERR_CORRUPT, "internal", 500, ERR_RETRY_SAME, "Stored data is damaged"),
    ROW(ERR_CANCELED, "internal", 500, ERR_RETRY_SAME, "It was canceled"),
    ROW(ERR_EOF, "internal", 500, ERR_RETRY_SAME, "The input ended"),
#undef ROW
};

/* A message ends up in JSON, so it must be valid UTF-8, though it may quote bytes that are not and
 * may have been cut: drop a sequence that lost its tail, and blot out what is none. */
static void err_trim(char *text)
{
    size_t n = strlen(text), at = n;
    while (at > 0 && n - at < 4 && ((unsigned char)text[at - 1] & 0xc0) == 0x80)
        at--;
    unsigned char lead = at > 0 ? (unsigned char)text[at - 1] : 0;
    size_t want = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : lead >= 0xc0 ? 2 : 1;
    if (want > 1 && n - (at - 1) < want)
        text[at - 1] = '\0';
    str_utf8_repair(text, strlen(text));
}

int err_vset(struct err *e, int code, const char *fmt, va_list args)
{
    if (e == NULL)
        return code;
    char text[ERR_TEXT_MAX]; /* the arguments may point into e->text */
    vsnprintf(text, sizeof(text), fmt, args);
    err_trim(text);
    memcpy(e->text, text, sizeof(text));
    e->code = code;
    e->field[0] = '\0';
    return code;
}

int err_set(struct err *e, int code, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    err_vset(e, code, fmt, args);
    va_end(args);
    return code;
}

int err_field(struct err *e, int code, const char *field, const char *fmt, ...)
{
    if (e == NULL)
        return code;
    char name[ERR_FIELD_MAX]; /* may point into e->field */
    snprintf(name, sizeof(name), "%s", field);
    err_trim(name);
    va_list args;
    va_start(args, fmt);
    err_vset(e, code, fmt, args);
    va_end(args);
    memcpy(e->field, name, sizeof(name));
    return code;
}

int err_context(struct err *e, const char *fmt, ...)
{
    if (e == NULL)
        return ERR_INTERNAL;
    char text[2 * ERR_TEXT_MAX + 4];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, ERR_TEXT_MAX, fmt, args);
    va_end(args);
    size_t n = strlen(text);
    snprintf(text + n, sizeof(text) - n, ": %s", e->text);
    text[ERR_TEXT_MAX - 1] = '\0';
    err_trim(text);
    memcpy(e->text, text, ERR_TEXT_MAX);
    return e->code != 0 ? e->code : ERR_INTERNAL;
}

static int err_of_errno(int errnum)
{
    switch (errnum) {
    case ENOENT:
        return ERR_NOT_FOUND;
    case ENOSPC:
    case EDQUOT:
        return ERR_DISK_FULL;
    case ENOMEM:
        return ERR_NOMEM;
    default:
        return ERR_IO;
    }
}

int err_errno(struct err *e, int errnum, const char *fmt, ...)
{
    int code = err_of_errno(errnum);
    if (e == NULL)
        return code;
    char why[128];
    char text[ERR_TEXT_MAX];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    return err_set(e, code, "%s: %s", text, strerror_r(errnum, why, sizeof(why)));
}

void err_clear(struct err *e)
{
    if (e == NULL)
        return;
    e->code = 0;
    e->field[0] = '\0';
    e->text[0] = '\0';
}

const struct err_info *err_info(int code)
{
    bool known = code <= 0 && code > -ERR_COUNT;
    return &err_table[known ? -code : -ERR_INTERNAL];
}

int err_by_name(const char *name)
{
    for (int i = 1; i < ERR_COUNT; i++)
        if (strcmp(err_table[i].name, name) == 0)
            return err_table[i].code;
    return 0;
}

const char *err_retry_name(enum err_retry retry)
{
    switch (retry) {
    case ERR_RETRY_NEVER:
        return "never";
    case ERR_RETRY_SAME:
        return "same";
    case ERR_RETRY_REREAD:
        return "reread";
    case ERR_RETRY_AFTER:
        return "after";
    }
    return "never";
}

_Noreturn void err_panic(const char *file, int line, const char *fmt, ...)
{
    char text[ERR_TEXT_MAX];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    fprintf(stderr, "koan: panic at %s:%d: %s\n", file, line, text);
    abort();
}
