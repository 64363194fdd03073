/* The certificate: is it one, does the key belong to it, how long does it hold. */
#include <time.h>

#include "app/doctor.h"
#include "base/err.h"
#include "base/time.h"
#include "io/tls.h"

enum { DOCTOR_DAY_MS = 86400 * 1000 };

static void doctor_tls_facts(struct doctor_finding *f, const char *cert,
                             const struct tls_facts *facts)
{
    int64_t now = (int64_t)time(NULL) * 1000, left = facts->to_ms - now;
    char until[TIME_TEXT];
    time_format(facts->to_ms, until);
    if (facts->from_ms > now) {
        doctor_say(f, DOCTOR_FAIL, "%s is not valid yet", cert);
        doctor_way(f, "is the clock right? Else wait, or use the certificate before");
    } else if (left <= 0) {
        doctor_say(f, DOCTOR_FAIL, "%s has expired on %.10s: clients refuse it", cert, until);
        doctor_way(f, "renew it; a running server takes the new files with SIGHUP");
    } else if (left < (int64_t)TLS_EXPIRY_DAYS * DOCTOR_DAY_MS) {
        doctor_say(f, DOCTOR_WARN, "%s expires on %.10s, in %lld days", cert, until,
                   (long long)(left / DOCTOR_DAY_MS));
        doctor_way(f, "renew it; a running server takes the new files with SIGHUP");
    } else if (!facts->chain_holds) {
        doctor_say(f, DOCTOR_WARN, "%s: its certificates are no chain", cert);
        doctor_way(f, "the server's own comes first, then each that issued the one before it");
    } else {
        doctor_say(f, DOCTOR_OK, "%s: %d certificate%s for %s, until %.10s%s", cert, facts->count,
                   facts->count == 1 ? "" : "s", facts->subject, until,
                   facts->self_signed ? ", signed by itself" : "");
    }
}

void doctor_certificate(struct doctor *d, struct doctor_finding *f)
{
    const char *cert = config_text(d->config, SET_HTTP_TLS_CERT);
    struct tls_server *server = NULL;
    struct tls_facts facts;
    struct err e = ERR_INIT;
    if (*cert == '\0') {
        doctor_say(f, DOCTOR_OK, "none is set: the port speaks plain HTTP");
        return;
    }
    if (tls_server_new(cert, config_text(d->config, SET_HTTP_TLS_KEY), &server, &e) != 0 ||
        tls_look(cert, &facts, &e) != 0) {
        doctor_say(f, DOCTOR_FAIL, "%s", e.text);
        doctor_way(f, "http.tls_cert and http.tls_key: PEM files that this user may read, and that "
                      "belong together");
        return;
    }
    tls_server_free(server);
    doctor_tls_facts(f, cert, &facts);
}
