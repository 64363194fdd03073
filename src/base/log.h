/* Log - JSON lines on stderr (or readable lines on a terminal), one per event. One of the two
 * places with process-wide state, set once at start. Thread-safe: a line is one write(2).
 * Whatever looks like a credential, and every secret that log_hide() was told of, is masked at this
 * sink: see base/redact.h. */
#ifndef KOAN_BASE_LOG_H
#define KOAN_BASE_LOG_H

#include <stdbool.h>

struct buf;
struct json_t;

enum { LOG_SECRETS_MAX = 256 /* further ones are not known by their value */ };

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };

void log_setup(enum log_level min, bool json, int fd);
void log_set_level(enum log_level min);
bool log_is_readable(void); /* lines for people, not JSON */
bool log_level_parse(const char *s, enum log_level *out);
/* From now on this value appears in no line, wherever it stands. Any thread. */
void log_hide(const char *secret);
void log_forget_hidden(void); /* tests and exit only */
/* For other ways out, like refusals and timelines: `s` without the secrets that are known and,
 * where there is a URL in it, without what looks like a credential, appended to `out`. */
void log_redact(const char *s, struct buf *out);
/* `area` is the module: "ledger". The message is plain words; facts go behind it as key=value in
 * the format. */
void log_line(enum log_level level, const char *area, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* The same with an object of facts (NULL: none): the member "fields" of the line, or key=value
 * behind the message in readable lines. What is longer than a line holds is left out, and the line
 * says so. */
void log_fields(enum log_level level, const char *area, const struct json_t *fields,
                const char *message);
#define log_debug(area, ...) log_line(LOG_DEBUG, area, __VA_ARGS__)
#define log_info(area, ...) log_line(LOG_INFO, area, __VA_ARGS__)
#define log_warn(area, ...) log_line(LOG_WARN, area, __VA_ARGS__)
#define log_error(area, ...) log_line(LOG_ERROR, area, __VA_ARGS__)

#endif
