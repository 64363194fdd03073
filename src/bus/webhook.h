/* Webhook - the rules by which messages leave as HTTP requests to programs of others. Pure: who
 * sends, waits and stores is elsewhere.
 *
 * Signature, by Standard Webhooks 1.0.0: the receiver knows a secret, "whsec_" and Base64 of 24..64
 * bytes, and finds in the request
 *
 *     webhook-id: 0192e4a1-...        the message's id: the same at each try, for its inbox
 *     webhook-timestamp: 1614265330   the second of this try, against replays
 *     webhook-signature: v1,<Base64 of HMAC-SHA-256 over "id.timestamp.body"> v1,<...>
 *
 * with one signature for each secret that is valid now: while a secret is being replaced, a
 * receiver that knows either of them is content.
 *
 * Answers. 2xx: it is done. 410: the receiver wants no more, the webhook is to be disabled. All
 * else, redirects and no answer included, is tried again, WEBHOOK_TRIES times in all over about a
 * day, by the waits of webhook_waits_ms[], each shifted by at most a tenth so that what failed
 * together does not come back together. A 429 or 503 may ask for a longer wait (Retry-After); it is
 * never tried earlier than it asked, nor made to wait longer than WEBHOOK_ASKED_MAX_MS by it.
 *
 * For the target's breaker (bus/breaker.h) an attempt failed when the target could not be reached
 * or said itself that it cannot serve: no answer, 429, 5xx. Other refusals are about this one
 * message, and hold up no other. */
#ifndef KOAN_BUS_WEBHOOK_H
#define KOAN_BUS_WEBHOOK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf;
struct err;

enum {
    WEBHOOK_SECRET_MIN = 24, /* bytes of a secret, decoded */
    WEBHOOK_SECRET_MAX = 64,
    WEBHOOK_SECRETS_MAX = 4, /* valid at a time */
    WEBHOOK_ID_MAX = 128,
    WEBHOOK_TRIES = 8,
    WEBHOOK_ASKED_MAX_MS = 24 * 60 * 60 * 1000
};

/* Wiped by its owner. */
struct webhook_secret {
    uint8_t key[WEBHOOK_SECRET_MAX];
    size_t n;
};

/* "whsec_..."; ERR_INVALID says what is wrong with it and nothing of what it is. */
int webhook_secret_read(const char *s, struct webhook_secret *out, struct err *e);
void webhook_secret_wipe(struct webhook_secret *s); /* also for AUTO */

/* The three header lines, each with "\r\n". `at_ms` is the time of this try; `id` is printable
 * ASCII without spaces and '.', which divides what is signed. ERR_INVALID, ERR_NOMEM; on failure
 * `out` may hold a part. Needs crypt_start(). */
int webhook_sign(const struct webhook_secret *secrets, size_t count, const char *id, int64_t at_ms,
                 const void *body, size_t n, struct buf *out, struct err *e);

/* Before the second try, the third, ... */
extern const int64_t webhook_waits_ms[WEBHOOK_TRIES - 1];
/* How long to wait when so many tries failed, from 1; -1: no more. `chance` is any random number.
 */
int64_t webhook_wait(unsigned tries, uint64_t chance);

enum webhook_outcome { WEBHOOK_DONE, WEBHOOK_RETRY, WEBHOOK_DISABLE };
struct webhook_verdict {
    enum webhook_outcome outcome;
    int64_t asked_ms; /* RETRY: not before; 0 when it did not ask */
    bool failed;      /* for the breaker */
};
/* What an answer means. `status` 0: there was none. `retry_after` is the header's value or NULL:
 * seconds, or a date as HTTP writes them now, which is compared with now_ms. */
struct webhook_verdict webhook_judge(int status, const char *retry_after, int64_t now_ms);

#endif
