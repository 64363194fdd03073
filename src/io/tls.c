#include "io/tls.h"

#include <errno.h>
#include <mbedtls/ctr_drbg.h>
#include <mbedtls/entropy.h>
#include <mbedtls/error.h>
#include <mbedtls/pk.h>
#include <mbedtls/ssl.h>
#include <mbedtls/x509_crt.h>
#include <psa/crypto.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "io/tls_priv.h"

enum { TLS_AGAIN = -1, TLS_BROKEN = -2 };

/* What both sides need. The generator is mbedTLS's own and locks itself. */
struct tls_common {
    mbedtls_ssl_config conf;
    mbedtls_entropy_context entropy;
    mbedtls_ctr_drbg_context random;
    mbedtls_x509_crt certs; /* server: our chain; client: whom to believe */
    mbedtls_pk_context key;
    const char *alpn[2];
};
struct tls_server {
    struct tls_common c;
};
struct tls_client {
    struct tls_common c;
    mbedtls_ssl_config older; /* the same, but TLS 1.2 only: see tls_session_wants_older() */
};

struct tls_session {
    mbedtls_ssl_context ssl;
    int fd;
    bool wants_write, broken, wants_older;
    size_t pending; /* bytes of a write that mbedTLS has encrypted but not sent */
};

static int tls_error(struct err *e, int rc, const char *what, const char *name)
{
    char text[160];
    mbedtls_strerror(rc, text, sizeof text);
    return err_set(e, ERR_INVALID, "%s: %s: %s", name, what, text);
}

static void tls_common_fini(struct tls_common *c)
{
    mbedtls_ssl_config_free(&c->conf);
    mbedtls_x509_crt_free(&c->certs);
    mbedtls_pk_free(&c->key);
    mbedtls_ctr_drbg_free(&c->random);
    mbedtls_entropy_free(&c->entropy);
}

static int tls_config_init(struct tls_common *c, mbedtls_ssl_config *conf, int endpoint,
                           struct err *e)
{
    int rc = mbedtls_ssl_config_defaults(conf, endpoint, MBEDTLS_SSL_TRANSPORT_STREAM,
                                         MBEDTLS_SSL_PRESET_DEFAULT);
    if (rc == 0)
        rc = mbedtls_ssl_conf_alpn_protocols(conf, c->alpn);
    if (rc != 0)
        return tls_error(e, rc, "set up", "tls");
    mbedtls_ssl_conf_rng(conf, mbedtls_ctr_drbg_random, &c->random);
    mbedtls_ssl_conf_min_tls_version(conf, MBEDTLS_SSL_VERSION_TLS1_2);
    return 0;
}

static int tls_common_init(struct tls_common *c, int endpoint, struct err *e)
{
    mbedtls_ssl_config_init(&c->conf);
    mbedtls_entropy_init(&c->entropy);
    mbedtls_ctr_drbg_init(&c->random);
    mbedtls_x509_crt_init(&c->certs);
    mbedtls_pk_init(&c->key);
    c->alpn[0] = "http/1.1";
    if (psa_crypto_init() != PSA_SUCCESS)
        return err_set(e, ERR_IO, "tls: no source of randomness");
    int rc = mbedtls_ctr_drbg_seed(&c->random, mbedtls_entropy_func, &c->entropy, NULL, 0);
    return rc != 0 ? tls_error(e, rc, "set up", "tls") : tls_config_init(c, &c->conf, endpoint, e);
}

/* ---- server ---- */

static int tls_server_load(struct tls_common *c, const char *cert, const char *key, struct err *e)
{
    if (access(cert, R_OK) != 0)
        return err_errno(e, errno, "tls certificate %s", cert);
    if (access(key, R_OK) != 0)
        return err_errno(e, errno, "tls key %s", key);
    int rc = mbedtls_x509_crt_parse_file(&c->certs, cert);
    if (rc != 0) /* above 0: so many of the chain could not be read */
        return rc > 0 ? err_set(e, ERR_INVALID, "%s: %d certificates are unreadable", cert, rc)
                      : tls_error(e, rc, "not a PEM certificate chain", cert);
    rc = mbedtls_pk_parse_keyfile(&c->key, key, NULL, mbedtls_ctr_drbg_random, &c->random);
    if (rc != 0)
        return tls_error(e, rc, "not a PEM private key without password", key);
    if (mbedtls_pk_check_pair(&c->certs.pk, &c->key, mbedtls_ctr_drbg_random, &c->random) != 0)
        return err_set(e, ERR_INVALID, "%s: this key does not belong to the certificate in %s", key,
                       cert);
    rc = mbedtls_ssl_conf_own_cert(&c->conf, &c->certs, &c->key);
    return rc == 0 ? 0 : tls_error(e, rc, "unusable", cert);
}

int tls_server_new(const char *cert_path, const char *key_path, struct tls_server **out,
                   struct err *e)
{
    struct tls_server *t = mem_new(sizeof *t);
    int rc = tls_common_init(&t->c, MBEDTLS_SSL_IS_SERVER, e);
    if (rc == 0)
        rc = tls_server_load(&t->c, cert_path, key_path, e);
    if (rc != 0) {
        tls_server_free(t);
        return rc;
    }
    *out = t;
    return 0;
}

void tls_server_free(struct tls_server *t)
{
    if (t == NULL)
        return;
    tls_common_fini(&t->c);
    mem_free(t);
}

/* ---- client ---- */

static const char *tls_system_roots(void)
{
    static const char *const places[] = {
        "/etc/ssl/certs/ca-certificates.crt",
        "/etc/pki/tls/certs/ca-bundle.crt",
        "/etc/ssl/ca-bundle.pem",
        "/etc/ssl/cert.pem",
    };
    const char *told = getenv("SSL_CERT_FILE");
    if (told != NULL && *told != '\0')
        return told;
    for (size_t i = 0; i < ARRAY_LEN(places); i++)
        if (access(places[i], R_OK) == 0)
            return places[i];
    return NULL;
}

/* TLS 1.2 of mbedTLS cannot check the PSS signatures that TLS 1.3 demands, but both are offered in
 * one list, and a server that speaks 1.2 takes the first of it that it can: PKCS #1 stands in
 * front. One that goes by its own order takes PSS all the same: tls_session_wants_older(). */
static const uint16_t tls_client_signatures[] = {
    MBEDTLS_TLS1_3_SIG_ECDSA_SECP256R1_SHA256, MBEDTLS_TLS1_3_SIG_ECDSA_SECP384R1_SHA384,
    MBEDTLS_TLS1_3_SIG_ECDSA_SECP521R1_SHA512, MBEDTLS_TLS1_3_SIG_RSA_PKCS1_SHA512,
    MBEDTLS_TLS1_3_SIG_RSA_PKCS1_SHA384,       MBEDTLS_TLS1_3_SIG_RSA_PKCS1_SHA256,
    MBEDTLS_TLS1_3_SIG_RSA_PSS_RSAE_SHA512,    MBEDTLS_TLS1_3_SIG_RSA_PSS_RSAE_SHA384,
    MBEDTLS_TLS1_3_SIG_RSA_PSS_RSAE_SHA256,    MBEDTLS_TLS1_3_SIG_NONE};

static int tls_client_load(struct tls_common *c, const char *ca, struct err *e)
{
    if (ca == NULL && (ca = tls_system_roots()) == NULL)
        return err_set(e, ERR_NOT_FOUND,
                       "no root certificates found; install ca-certificates or name a CA file");
    if (access(ca, R_OK) != 0)
        return err_errno(e, errno, "CA file %s", ca);
    /* System bundles may hold a root of a kind that mbedTLS does not know: the rest still counts.
     */
    int rc = mbedtls_x509_crt_parse_file(&c->certs, ca);
    if (rc < 0)
        return tls_error(e, rc, "no PEM certificates", ca);
    mbedtls_ssl_conf_ca_chain(&c->conf, &c->certs, NULL);
    return 0;
}

int tls_client_new(const char *ca_path, bool verify, struct tls_client **out, struct err *e)
{
    struct tls_client *t = mem_new(sizeof *t);
    mbedtls_ssl_config_init(&t->older);
    int rc = tls_common_init(&t->c, MBEDTLS_SSL_IS_CLIENT, e);
    if (rc == 0)
        rc = tls_config_init(&t->c, &t->older, MBEDTLS_SSL_IS_CLIENT, e);
    if (rc == 0 && verify)
        rc = tls_client_load(&t->c, ca_path, e);
    if (rc != 0) {
        tls_client_free(t);
        return rc;
    }
    mbedtls_ssl_conf_sig_algs(&t->c.conf, tls_client_signatures);
    mbedtls_ssl_conf_authmode(&t->c.conf,
                              verify ? MBEDTLS_SSL_VERIFY_REQUIRED : MBEDTLS_SSL_VERIFY_NONE);
    mbedtls_ssl_conf_max_tls_version(&t->older, MBEDTLS_SSL_VERSION_TLS1_2);
    mbedtls_ssl_conf_authmode(&t->older,
                              verify ? MBEDTLS_SSL_VERIFY_REQUIRED : MBEDTLS_SSL_VERIFY_NONE);
    if (verify)
        mbedtls_ssl_conf_ca_chain(&t->older, &t->c.certs, NULL);
    *out = t;
    return 0;
}

void tls_client_free(struct tls_client *t)
{
    if (t == NULL)
        return;
    mbedtls_ssl_config_free(&t->older);
    tls_common_fini(&t->c);
    mem_free(t);
}

/* ---- sessions ---- */

static int tls_send(void *arg, const unsigned char *p, size_t n)
{
    struct tls_session *s = arg;
    for (;;) {
        ssize_t put = send(s->fd, p, n, MSG_NOSIGNAL);
        if (put >= 0)
            return (int)put;
        if (errno == EAGAIN)
            return MBEDTLS_ERR_SSL_WANT_WRITE;
        if (errno != EINTR)
            return MBEDTLS_ERR_SSL_INTERNAL_ERROR;
    }
}

static int tls_recv(void *arg, unsigned char *p, size_t n)
{
    struct tls_session *s = arg;
    for (;;) {
        ssize_t got = recv(s->fd, p, n, 0);
        if (got >= 0)
            return (int)got;
        if (errno == EAGAIN)
            return MBEDTLS_ERR_SSL_WANT_READ;
        if (errno != EINTR)
            return MBEDTLS_ERR_SSL_INTERNAL_ERROR;
    }
}

static struct tls_session *tls_session_new(const mbedtls_ssl_config *conf, int fd)
{
    struct tls_session *s = mem_new(sizeof *s);
    s->fd = fd;
    mbedtls_ssl_init(&s->ssl);
    if (mbedtls_ssl_setup(&s->ssl, conf) != 0) {
        tls_session_free(s);
        return NULL;
    }
    mbedtls_ssl_set_bio(&s->ssl, s, tls_send, tls_recv, NULL);
    return s;
}

struct tls_session *tls_session_accept(struct tls_server *t, int fd)
{
    return tls_session_new(&t->c.conf, fd);
}

struct tls_session *tls_session_connect(struct tls_client *t, int fd, const char *name, bool older)
{
    struct tls_session *s = tls_session_new(older ? &t->older : &t->c.conf, fd);
    if (s != NULL && mbedtls_ssl_set_hostname(&s->ssl, name) != 0) {
        tls_session_free(s);
        return NULL;
    }
    return s;
}

static int tls_handshake_failed(struct tls_session *s, int rc, struct err *e)
{
    s->broken = true;
    s->wants_older = rc == MBEDTLS_ERR_SSL_ILLEGAL_PARAMETER &&
                     mbedtls_ssl_get_version_number(&s->ssl) == MBEDTLS_SSL_VERSION_TLS1_2;
    uint32_t why = mbedtls_ssl_get_verify_result(&s->ssl);
    char text[256];
    if (why != 0 && why != UINT32_MAX &&
        mbedtls_x509_crt_verify_info(text, sizeof text, "", why) > 0) {
        text[strcspn(text, "\n")] = '\0';
        return err_set(e, ERR_UNAVAILABLE,
                       "tls: the server's certificate is not trusted: %s; name its CA file", text);
    }
    mbedtls_strerror(rc, text, sizeof text);
    return err_set(e, ERR_UNAVAILABLE, "tls handshake: %s", text);
}

static int tls_handshake_go(struct tls_session *s)
{
    int rc;
    do
        rc = mbedtls_ssl_handshake(&s->ssl);
    while (rc == MBEDTLS_ERR_SSL_CRYPTO_IN_PROGRESS ||
           rc == MBEDTLS_ERR_SSL_RECEIVED_NEW_SESSION_TICKET);
    return rc;
}

int tls_session_handshake(struct tls_session *s, struct err *e)
{
    int rc = tls_handshake_go(s);
    if (rc == 0)
        return 0;
    if (rc != MBEDTLS_ERR_SSL_WANT_READ && rc != MBEDTLS_ERR_SSL_WANT_WRITE)
        return tls_handshake_failed(s, rc, e);
    s->broken = true;
    return err_set(e, ERR_TIMEOUT, "tls handshake: no answer in time");
}

int tls_session_step(struct tls_session *s, struct err *e)
{
    int rc = tls_handshake_go(s);
    if (rc == MBEDTLS_ERR_SSL_WANT_READ || rc == MBEDTLS_ERR_SSL_WANT_WRITE) {
        s->wants_write = rc == MBEDTLS_ERR_SSL_WANT_WRITE;
        return TLS_AGAIN;
    }
    return rc == 0 ? 0 : tls_handshake_failed(s, rc, e);
}

/* A result of mbedTLS that is not a count. */
static ssize_t tls_session_result(struct tls_session *s, int rc)
{
    if (rc == MBEDTLS_ERR_SSL_WANT_READ || rc == MBEDTLS_ERR_SSL_WANT_WRITE) {
        s->wants_write = rc == MBEDTLS_ERR_SSL_WANT_WRITE;
        return TLS_AGAIN;
    }
    s->broken = true;
    if (!mbedtls_ssl_is_handshake_over(&s->ssl) && rc != MBEDTLS_ERR_SSL_CONN_EOF) {
        char text[160];
        mbedtls_strerror(rc, text, sizeof text);
        log_debug("io", "tls handshake failed: %s", text);
    }
    return TLS_BROKEN;
}

ssize_t tls_session_read(struct tls_session *s, void *p, size_t n)
{
    if (s->broken)
        return TLS_BROKEN;
    int rc;
    do
        rc = mbedtls_ssl_read(&s->ssl, p, n);
    while (rc == MBEDTLS_ERR_SSL_RECEIVED_NEW_SESSION_TICKET);
    if (rc == MBEDTLS_ERR_SSL_PEER_CLOSE_NOTIFY)
        return 0;
    /* A stream that ends without a goodbye is not trusted: bytes may have been cut off. */
    if (rc == 0 || rc == MBEDTLS_ERR_SSL_CONN_EOF)
        rc = MBEDTLS_ERR_SSL_CONN_EOF;
    return rc > 0 ? rc : tls_session_result(s, rc);
}

ssize_t tls_session_write(struct tls_session *s, const void *p, size_t n)
{
    if (s->broken)
        return TLS_BROKEN;
    if (s->pending > 0) {
        ASSERT(n >= s->pending);
        n = s->pending;
    }
    size_t most = MBEDTLS_SSL_OUT_CONTENT_LEN;
    if (n > most)
        n = most;
    int rc;
    do
        rc = mbedtls_ssl_write(&s->ssl, p, n);
    while (rc == MBEDTLS_ERR_SSL_RECEIVED_NEW_SESSION_TICKET);
    if (rc >= 0) {
        s->pending = 0;
        return rc;
    }
    if (rc == MBEDTLS_ERR_SSL_WANT_WRITE && mbedtls_ssl_is_handshake_over(&s->ssl))
        s->pending = n;
    return tls_session_result(s, rc);
}

bool tls_session_wants_older(const struct tls_session *s)
{
    return s->wants_older;
}

bool tls_session_wants_write(const struct tls_session *s)
{
    return s->wants_write;
}

bool tls_session_has_bytes(const struct tls_session *s)
{
    return !s->broken && mbedtls_ssl_get_bytes_avail(&s->ssl) > 0;
}

void tls_session_end(struct tls_session *s)
{
    if (!s->broken && mbedtls_ssl_is_handshake_over((mbedtls_ssl_context *)&s->ssl))
        mbedtls_ssl_close_notify(&s->ssl);
    s->broken = true;
}

void tls_session_free(struct tls_session *s)
{
    if (s == NULL)
        return;
    mbedtls_ssl_free(&s->ssl);
    mem_free(s);
}
