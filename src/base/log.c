#include "base/log.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/redact.h"
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

/* ---- what no line may show ---- */

static struct {
    pthread_mutex_t lock;
    struct str secrets[LOG_SECRETS_MAX];
    size_t count;
} log_hidden = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void log_hide_one(const char *secret, size_t n)
{
    for (size_t i = 0; i < log_hidden.count; i++)
        if (log_hidden.secrets[i].n == n && memcmp(log_hidden.secrets[i].p, secret, n) == 0)
            return;
    if (n >= REDACT_SECRET_MIN && log_hidden.count < LOG_SECRETS_MAX)
        log_hidden.secrets[log_hidden.count++] = (struct str){mem_strndup(secret, n), n};
}

/* As it is, and as it stands in JSON where that is something else. */
void log_hide(const char *secret)
{
    AUTO(buf_fini) struct buf json = BUF_INIT(LOG_LINE_MAX);
    json_print_string(&json, secret, strlen(secret));
    pthread_mutex_lock(&log_hidden.lock);
    log_hide_one(secret, strlen(secret));
    if (!buf_failed(&json) && json.len > 2)
        log_hide_one(json.data + 1, json.len - 2);
    pthread_mutex_unlock(&log_hidden.lock);
}

void log_forget_hidden(void)
{
    pthread_mutex_lock(&log_hidden.lock);
    while (log_hidden.count > 0)
        mem_free((char *)log_hidden.secrets[--log_hidden.count].p);
    pthread_mutex_unlock(&log_hidden.lock);
}

/* What stands for the secrets that are known. Rather nothing than one of them. */
static bool log_mask_known(const char *s, struct buf *out)
{
    pthread_mutex_lock(&log_hidden.lock);
    redact_secrets(s, log_hidden.secrets, log_hidden.count, out);
    pthread_mutex_unlock(&log_hidden.lock);
    return !buf_failed(out);
}

static void log_mask(const char *s, struct buf *out)
{
    AUTO(buf_fini) struct buf known = BUF_INIT(LOG_LINE_MAX);
    if (log_mask_known(s, &known))
        redact_text(buf_str(&known), out);
    else
        out->failed = true;
}

void log_redact(const char *s, struct buf *out)
{
    if (strstr(s, "://") != NULL)
        log_mask(s, out);
    else
        log_mask_known(s, out);
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
