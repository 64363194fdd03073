#include "base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/time.h"

enum { LOG_MESSAGE_MAX = 4096, LOG_LINE_MAX = 6 * LOG_MESSAGE_MAX + 256 };

static struct {
    int min; /* atomic: changed by SIGHUP while other threads log */
    bool json;
    int fd;
} log_state = {.min = LOG_INFO, .json = true, .fd = STDERR_FILENO};

static const char *const log_names[] = {"debug", "info", "warn", "error"};

void log_setup(enum log_level min, bool json, int fd)
{
    log_state.json = json;
    log_state.fd = fd;
    log_set_level(min);
}

void log_set_level(enum log_level min)
{
    __atomic_store_n(&log_state.min, (int)min, __ATOMIC_RELAXED);
}

bool log_is_readable(void)
{
    return !log_state.json;
}

bool log_level_parse(const char *s, enum log_level *out)
{
    for (int i = 0; i < 4; i++) {
        if (strcmp(s, log_names[i]) == 0) {
            *out = (enum log_level)i;
            return true;
        }
    }
    return false;
}

/* ---- masking ---- */

static bool log_ends_url(char c)
{
    return c == '\0' || c == ' ' || c == '\n' || c == '\t' || c == '"' || c == '\'' || c == '<' ||
           c == '>';
}

/* Where the user information of the authority at `s` ends (its last '@'), or NULL. A raw '/' in a
 * password is malformed, but a secret all the same: so if what follows the ':' is no port number,
 * any later '@' of the word counts. */
static const char *log_userinfo_end(const char *s)
{
    const char *p = s, *at = NULL, *colon = NULL;
    for (; !log_ends_url(*p) && strchr("/?#", *p) == NULL; p++) {
        if (*p == '@')
            at = p;
        else if (*p == ':' && colon == NULL)
            colon = p;
    }
    if (at != NULL || colon == NULL)
        return at;
    if ((size_t)(p - colon - 1) == strspn(colon + 1, "0123456789"))
        return NULL;
    for (; !log_ends_url(*p); p++)
        if (*p == '@')
            at = p;
    return at;
}

/* "amqp://user:secret@host" keeps its user, of "https://token@host" only scheme and host stay. */
static void log_mask(const char *s, struct buf *out)
{
    const char *scheme;
    while ((scheme = strstr(s, "://")) != NULL) {
        const char *user = scheme + 3;
        const char *end = log_userinfo_end(user);
        buf_add(out, s, (size_t)(user - s));
        s = user;
        if (end == NULL)
            continue;
        const char *colon = memchr(user, ':', (size_t)(end - user));
        if (colon != NULL)
            buf_add(out, user, (size_t)(colon + 1 - user));
        buf_adds(out, "***");
        s = end;
    }
    buf_adds(out, s);
}

/* ---- lines ---- */

static void log_add_json(struct buf *b, const char *now, const char *level, const char *area,
                         const struct buf *msg, const struct buf *fields)
{
    buf_addf(b, "{\"time\":\"%s\",\"level\":\"%s\",\"area\":", now, level);
    json_print_string(b, area, strlen(area));
    buf_adds(b, ",\"msg\":");
    json_print_string(b, msg->data, msg->len);
    if (fields != NULL) {
        buf_adds(b, ",\"fields\":");
        buf_add(b, fields->data, fields->len);
    }
    buf_adds(b, "}\n");
}

/* A message may carry input: it must not drive the terminal. */
static void log_add_plain(struct buf *b, const struct buf *text)
{
    for (size_t i = 0; i < text->len; i++) {
        unsigned char c = (unsigned char)text->data[i];
        buf_addc(b, c < 0x20 || c == 0x7f ? ' ' : (char)c);
    }
}

static void log_add_text(struct buf *b, const char *now, const char *level, const char *area,
                         const struct buf *msg, const struct buf *fields)
{
    buf_addf(b, "%.12s %-5s %-8s ", now + 11, level, area);
    log_add_plain(b, msg);
    if (fields != NULL && fields->len > 0) {
        buf_addc(b, ' ');
        log_add_plain(b, fields);
    }
    buf_addc(b, '\n');
}

/* One write; a line that the other end does not take is lost rather than waited for. */
static void log_write(const char *p, size_t n)
{
    while (n > 0) {
        ssize_t got = write(log_state.fd, p, n);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return;
        p += got;
        n -= (size_t)got;
    }
}

static bool log_wanted(enum log_level level)
{
    return (int)level >= __atomic_load_n(&log_state.min, __ATOMIC_RELAXED);
}

/* `fields` is ready text: JSON, or key=value pairs; or NULL. */
static void log_emit(enum log_level level, const char *area, const char *raw, const char *fields)
{
    /* The wall clock, not the world's: a line is about this process and no state depends on it. */
    struct timespec ts;
    clock_gettime(CLOCK_REALTIME, &ts);
    char now[TIME_TEXT];
    time_format((int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000, now);

    AUTO(buf_fini) struct buf msg = BUF_INIT(LOG_LINE_MAX);
    AUTO(buf_fini) struct buf facts = BUF_INIT(LOG_LINE_MAX);
    AUTO(buf_fini) struct buf line = BUF_INIT(2 * LOG_LINE_MAX + 256);
    buf_add(&msg, "", 0);
    log_mask(raw, &msg);
    if (fields != NULL)
        log_mask(fields, &facts);
    if (buf_failed(&msg) || buf_failed(&facts))
        return;
    struct buf *with = fields != NULL ? &facts : NULL;
    if (log_state.json)
        log_add_json(&line, now, log_names[level], area, &msg, with);
    else
        log_add_text(&line, now, log_names[level], area, &msg, with);
    if (!buf_failed(&line))
        log_write(line.data, line.len);
}

void log_line(enum log_level level, const char *area, const char *fmt, ...)
{
    if (!log_wanted(level))
        return;
    char raw[LOG_MESSAGE_MAX];
    va_list args;
    va_start(args, fmt);
    vsnprintf(raw, sizeof(raw), fmt, args);
    va_end(args);
    str_utf8_repair(raw, strlen(raw)); /* or no JSON parser reads the line */
    log_emit(level, area, raw, NULL);
}

static void log_add_pairs(struct buf *b, const json_t *fields)
{
    const char *key;
    json_t *v;
    json_object_foreach((json_t *)fields, key, v)
    {
        buf_addf(b, "%s%s=", b->len > 0 ? " " : "", key);
        json_print(v, b, NULL);
    }
}

void log_fields(enum log_level level, const char *area, const json_t *fields, const char *message)
{
    if (!log_wanted(level))
        return;
    char raw[LOG_MESSAGE_MAX];
    str_copy(raw, sizeof raw, message);
    str_utf8_repair(raw, strlen(raw));
    AUTO(buf_fini) struct buf text = BUF_INIT(LOG_MESSAGE_MAX);
    if (fields == NULL)
        buf_reset(&text);
    else if (log_state.json)
        json_print(fields, &text, NULL);
    else
        log_add_pairs(&text, fields);
    const char *facts = fields == NULL ? NULL : buf_str(&text);
    if (buf_failed(&text))
        facts = log_state.json ? "{\"cut\":true}" : "cut=true";
    log_emit(level, area, raw, facts);
}
