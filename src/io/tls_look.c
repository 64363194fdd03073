/* What certificate files say, without using them. */
#include <mbedtls/x509_crt.h>
#include <string.h>

#include "base/err.h"
#include "base/time.h"
#include "io/tls.h"

static int64_t look_ms(const mbedtls_x509_time *t)
{
    struct time_parts parts = {.year = t->year,
                               .month = t->mon,
                               .day = t->day,
                               .hour = t->hour,
                               .minute = t->min,
                               .second = t->sec};
    int64_t ms = 0;
    return time_join(&parts, &ms) ? ms : 0;
}

static bool look_is_same(const mbedtls_x509_buf *a, const mbedtls_x509_buf *b)
{
    return a->len == b->len && memcmp(a->p, b->p, a->len) == 0;
}

int tls_look(const char *cert_path, struct tls_facts *out, struct err *e)
{
    mbedtls_x509_crt certs;
    mbedtls_x509_crt_init(&certs);
    *out = (struct tls_facts){.chain_holds = true};
    int rc = mbedtls_x509_crt_parse_file(&certs, cert_path);
    if (rc != 0) {
        mbedtls_x509_crt_free(&certs);
        return err_set(e, ERR_INVALID, "%s: not a PEM certificate chain", cert_path);
    }
    for (const mbedtls_x509_crt *c = &certs; c != NULL; c = c->next) {
        int64_t from = look_ms(&c->valid_from), to = look_ms(&c->valid_to);
        if (out->count == 0 || from > out->from_ms)
            out->from_ms = from;
        if (out->count == 0 || to < out->to_ms)
            out->to_ms = to;
        out->count++;
        if (c->next != NULL && !look_is_same(&c->issuer_raw, &c->next->subject_raw))
            out->chain_holds = false;
    }
    out->self_signed = out->count == 1 && look_is_same(&certs.issuer_raw, &certs.subject_raw);
    if (mbedtls_x509_dn_gets(out->subject, sizeof out->subject, &certs.subject) < 0)
        out->subject[0] = '\0';
    mbedtls_x509_crt_free(&certs);
    return 0;
}
