/* Errors - one table for C, Lua, HTTP and the command line.
 *
 * A function returns 0 or one negative code of `enum err_code`. The words that explain it travel in
 * a caller-owned `struct err`, passed last and optional: NULL means "the code is enough". The table
 * (err_info) gives each code the name that users see, its HTTP status and whether a caller may
 * repeat, so the faces of Koan cannot disagree.
 *
 * The message says what is wrong and names the way out. On the way up a caller puts context in
 * front with err_context(): "import: line 17: field 'elevation': not a number". It is cut, never
 * overrun, at ERR_TEXT_MAX.
 *
 * Source of the rule: the codes, statuses and retry column are the public contract of the HTTP API.
 */
#ifndef KOAN_BASE_ERR_H
#define KOAN_BASE_ERR_H

#include <stdarg.h>
#include <stddef.h>

enum { ERR_TEXT_MAX = 512, ERR_FIELD_MAX = 96 };

/* Negative so that a function may return a count or a code in one int. The order is that of the
 * table. */
enum err_code {
    ERR_OK = 0,
    ERR_INVALID = -1,
    ERR_UNAUTHORIZED = -2,
    ERR_FORBIDDEN = -3,
    ERR_QUOTA = -4,
    ERR_NOT_FOUND = -5,
    ERR_METHOD = -6,
    ERR_CONFLICT = -7,
    ERR_FENCED = -8,
    ERR_GONE = -9,
    ERR_VERSION_MISMATCH = -10,
    ERR_TOO_LARGE = -11,
    ERR_HEADERS_TOO_LARGE = -12,
    ERR_MEDIA_TYPE = -13,
    ERR_RANGE = -14,
    ERR_REJECTED = -15,
    ERR_UNSUPPORTED = -16,
    ERR_LOCKED = -17,
    ERR_RATE_LIMITED = -18,
    ERR_QUEUE_FULL = -19,
    ERR_INTERNAL = -20,
    ERR_OVERLOADED = -21,
    ERR_SEALED = -22,
    ERR_UNAVAILABLE = -23,
    ERR_NO_LEADER = -24,
    ERR_DRAINING = -25,
    ERR_TIMEOUT = -26,
    ERR_DISK_FULL = -27,
    /* Below: never leave the process as such; they reach users as `internal` or with the text of
       the start-up error. */
    ERR_NOMEM = -28,
    ERR_IO = -29,
    ERR_CORRUPT = -30,
    ERR_CANCELED = -31,
    ERR_EOF = -32,
    ERR_COUNT = 33
};

enum err_retry { ERR_RETRY_NEVER, ERR_RETRY_SAME, ERR_RETRY_REREAD, ERR_RETRY_AFTER };

struct err {
    int code;                  /* 0 or an enum err_code */
    char field[ERR_FIELD_MAX]; /* the field, key or setting at fault; "" when there is none */
    char text[ERR_TEXT_MAX];   /* what is wrong and what to do, without a trailing full stop or
                                  newline */
};

struct err_info {
    int code;
    const char *name; /* what users see: "version_mismatch" */
    int http_status;
    enum err_retry retry;
    const char *title; /* a short fixed phrase: "The version does not match" */
};

#define ERR_INIT                                                                                   \
    {                                                                                              \
        .code = 0                                                                                  \
    }

/* Set code and message (replacing what was there) and return the code, so `return err_set(e, ...)`
 * reads well. */
int err_set(struct err *e, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
int err_vset(struct err *e, int code, const char *fmt, va_list args);
/* The same, naming the field at fault. */
int err_field(struct err *e, int code, const char *field, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
/* Put "context: " in front of the message. Returns the code that is already there; without an `e`,
 * or with none set, ERR_INTERNAL, so a failure never turns into success on its way up. */
int err_context(struct err *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* From errno: ERR_DISK_FULL, ERR_NOT_FOUND, ERR_NOMEM or ERR_IO, with strerror's words behind the
 * context. */
int err_errno(struct err *e, int errnum, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
void err_clear(struct err *e);

/* Never NULL: an unknown code answers the entry of ERR_INTERNAL. */
const struct err_info *err_info(int code);
/* The code with this public name, or 0 when there is none. */
int err_by_name(const char *name);
const char *err_retry_name(enum err_retry retry);

/* Our own bug: print the words with place to stderr and abort. Stays on in release. */
_Noreturn void err_panic(const char *file, int line, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
#define PANIC(...) err_panic(__FILE__, __LINE__, __VA_ARGS__)
#define ASSERT(cond)                                                                               \
    do {                                                                                           \
        if (__builtin_expect(!(cond), 0))                                                          \
            err_panic(__FILE__, __LINE__, "assertion failed: %s", #cond);                          \
    } while (0)

#endif
