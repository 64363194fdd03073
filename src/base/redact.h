/* Redact - what must not be read is taken out of a text before anybody sees it. Pure.
 *
 *     amqp://user:secret@host          the credentials of URLs: user:***@, of a lone token ***@
 *     ?X-Amz-Signature=...&token=...   signed queries, and any NAME=value whose name says secret
 *     {"password": "..."}              the same in JSON, also in JSON inside a text of JSON
 *     Authorization: Bearer ...        and Cookie, to the end of the line; "Bearer ..." alone
 *     the very bytes of a secret       that the caller knows, wherever they stand
 *
 * It errs towards hiding. JSON stays JSON, lines stay lines, UTF-8 stays UTF-8. */
#ifndef KOAN_BASE_REDACT_H
#define KOAN_BASE_REDACT_H

#include <stddef.h>

#include "base/str.h"

struct buf;

enum { REDACT_SECRET_MIN = 6 /* bytes; a shorter one would hide half of every text */ };

/* `s` with every secret as "***", appended to `out`. Secrets shorter than REDACT_SECRET_MIN are
 * passed over; of several at one place the longest counts. */
void redact_secrets(const char *s, const struct str *secrets, size_t count, struct buf *out);
/* `s` without what looks like a credential, appended to `out`. */
void redact_text(const char *s, struct buf *out);

#endif
