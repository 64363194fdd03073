#include "bus/webhook.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/time.h"
#include "codec/base64.h"
#include "crypt/crypt.h"

#define MINUTE (INT64_C(60) * 1000)
#define HOUR (60 * MINUTE)

/* Soon for what was a restart, then rarer: 23 h 35 min in all. */
const int64_t webhook_waits_ms[WEBHOOK_TRIES - 1] = {
    5 * 1000, 5 * MINUTE, 30 * MINUTE, 2 * HOUR, 4 * HOUR, 7 * HOUR, 10 * HOUR,
};

enum { WEBHOOK_JITTER = 10 /* a tenth, either way */ };

/* ---- Signing ---- */

void webhook_secret_wipe(struct webhook_secret *s)
{
    crypt_wipe(s, sizeof(*s));
}

int webhook_secret_read(const char *s, struct webhook_secret *out, struct err *e)
{
    struct buf key = BUF_INIT(WEBHOOK_SECRET_MAX);
    if (!str_starts(s, "whsec_"))
        return err_set(e, ERR_INVALID, "a webhook's secret begins with 'whsec_'");
    /* All at once: what a buffer has outgrown is not wiped. */
    if (buf_reserve(&key, WEBHOOK_SECRET_MAX) == NULL)
        return err_set(e, ERR_NOMEM, "no memory for a secret");
    const char *digits = s + strlen("whsec_");
    int rc = base64_decode(BASE64_STD, digits, strlen(digits), &key, NULL);
    if (rc != 0 || key.len < WEBHOOK_SECRET_MIN) {
        rc = err_set(e, ERR_INVALID,
                     "a webhook's secret is 'whsec_' and the Base64 of %d to %d random bytes",
                     WEBHOOK_SECRET_MIN, WEBHOOK_SECRET_MAX);
    } else {
        memcpy(out->key, key.data, key.len);
        out->n = key.len;
    }
    crypt_wipe(key.data, WEBHOOK_SECRET_MAX);
    buf_fini(&key);
    return rc;
}

static int webhook_check_id(const char *id, struct err *e)
{
    size_t n = strlen(id);
    bool good = n >= 1 && n <= WEBHOOK_ID_MAX;
    for (size_t i = 0; good && i < n; i++)
        good = id[i] > ' ' && id[i] < 0x7f && id[i] != '.';
    return good ? 0
                : err_field(e, ERR_INVALID, "id",
                            "a webhook's id is of 1 to %d printable characters of ASCII, without "
                            "space and '.'",
                            WEBHOOK_ID_MAX);
}

int webhook_sign(const struct webhook_secret *secrets, size_t count, const char *id, int64_t at_ms,
                 const void *body, size_t n, struct buf *out, struct err *e)
{
    uint8_t mac[CRYPT_HMAC];
    if (count < 1 || count > WEBHOOK_SECRETS_MAX)
        return err_set(e, ERR_INVALID, "a webhook is signed with 1 to %d secrets, not %zu",
                       WEBHOOK_SECRETS_MAX, count);
    int rc = webhook_check_id(id, e);
    if (rc != 0)
        return rc;
    AUTO(buf_fini) struct buf text = BUF_INIT(n + WEBHOOK_ID_MAX + 32);
    buf_addf(&text, "%s.%" PRId64 ".", id, at_ms / 1000);
    buf_add(&text, body, n);
    rc = buf_check(&text, "what is signed", e);
    if (rc != 0)
        return rc;
    buf_addf(out, "webhook-id: %s\r\nwebhook-timestamp: %" PRId64 "\r\nwebhook-signature:", id,
             at_ms / 1000);
    for (size_t i = 0; i < count; i++) {
        crypt_hmac_sha256(secrets[i].key, secrets[i].n, text.data, text.len, mac);
        buf_adds(out, " v1,");
        base64_encode(BASE64_STD, mac, sizeof(mac), out);
    }
    buf_adds(out, "\r\n");
    return buf_check(out, "a webhook's headers", e);
}

/* ---- Trying again ---- */

int64_t webhook_wait(unsigned tries, uint64_t chance)
{
    ASSERT(tries >= 1);
    if (tries >= WEBHOOK_TRIES)
        return -1;
    int64_t wait = webhook_waits_ms[tries - 1], most = wait / WEBHOOK_JITTER;
    return wait - most + (int64_t)(chance % (uint64_t)(2 * most + 1));
}

/* "Sun, 06 Nov 1994 08:49:37 GMT" */
static bool webhook_date(const char *s, int64_t *ms)
{
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    struct time_parts p = {0};
    char month[4], end[8];
    int used = 0;
    if (strlen(s) != 29 ||
        sscanf(s, "%*3[A-Za-z], %2d %3[A-Za-z] %4d %2d:%2d:%2d %3s%n", &p.day, month, &p.year,
               &p.hour, &p.minute, &p.second, end, &used) != 7 ||
        used != 29 || strcmp(end, "GMT") != 0)
        return false;
    const char *at = strstr(months, month);
    if (at == NULL || (at - months) % 3 != 0 || p.day < 1 || p.day > 31 || p.hour > 23 ||
        p.minute > 59 || p.second > 60)
        return false;
    p.month = (int)(at - months) / 3 + 1;
    return time_join(&p, ms);
}

static int64_t webhook_asked(const char *retry_after, int64_t now_ms)
{
    uint64_t seconds;
    int64_t at;
    if (str_to_u64(retry_after, strlen(retry_after), &seconds))
        return seconds < WEBHOOK_ASKED_MAX_MS / 1000 ? (int64_t)seconds * 1000
                                                     : WEBHOOK_ASKED_MAX_MS;
    if (!webhook_date(retry_after, &at) || at <= now_ms)
        return 0;
    return at - now_ms < WEBHOOK_ASKED_MAX_MS ? at - now_ms : WEBHOOK_ASKED_MAX_MS;
}

struct webhook_verdict webhook_judge(int status, const char *retry_after, int64_t now_ms)
{
    struct webhook_verdict v = {.outcome = WEBHOOK_RETRY};
    if (status >= 200 && status <= 299)
        v.outcome = WEBHOOK_DONE;
    else if (status == 410)
        v.outcome = WEBHOOK_DISABLE;
    else if ((status == 429 || status == 503) && retry_after != NULL)
        v.asked_ms = webhook_asked(retry_after, now_ms);
    v.failed = status == 0 || status == 429 || status >= 500;
    return v;
}
