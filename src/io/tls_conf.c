#include "io/tls_conf.h"

#include <errno.h>
#include <mbedtls/ctr_drbg.h>
#include <mbedtls/entropy.h>
#include <mbedtls/error.h>
#include <mbedtls/pk.h>
#include <mbedtls/x509_crt.h>
#include <psa/crypto.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "io/tls.h"

/* What both sides need. The generator is mbedTLS's own and locks itself. */
struct tls_common {
    mbedtls_ssl_config conf;
    mbedtls_entropy_context entropy;
    mbedtls_ctr_drbg_context random;
    mbedtls_x509_crt certs; /* server: our chain; client: whom to believe */
    mbedtls_pk_context key;
    const char *alpn[2];
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

/* A certificate and its key, counted by the sessions that use it and by the server while it is the
 * newest. */
struct tls_keys {
    struct tls_common c;
    atomic_uint users;
};

struct tls_server {
    pthread_mutex_t lock; /* of `keys`: who takes it must have counted before it is replaced */
    struct tls_keys *keys;
};

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

void tls_keys_release(struct tls_keys *k)
{
    if (k == NULL || atomic_fetch_sub(&k->users, 1) != 1)
        return;
    tls_common_fini(&k->c);
    mem_free(k);
}

static int tls_keys_new(const char *cert, const char *key, struct tls_keys **out, struct err *e)
{
    struct tls_keys *k = mem_new(sizeof *k);
    atomic_init(&k->users, 1);
    int rc = tls_common_init(&k->c, MBEDTLS_SSL_IS_SERVER, e);
    if (rc == 0)
        rc = tls_server_load(&k->c, cert, key, e);
    if (rc == 0)
        *out = k;
    else
        tls_keys_release(k);
    return rc;
}

const mbedtls_ssl_config *tls_keys_conf(const struct tls_keys *k)
{
    return &k->c.conf;
}

struct tls_keys *tls_server_keys(struct tls_server *t)
{
    pthread_mutex_lock(&t->lock);
    struct tls_keys *k = t->keys;
    atomic_fetch_add(&k->users, 1);
    pthread_mutex_unlock(&t->lock);
    return k;
}

int tls_server_new(const char *cert_path, const char *key_path, struct tls_server **out,
                   struct err *e)
{
    struct tls_keys *keys = NULL;
    int rc = tls_keys_new(cert_path, key_path, &keys, e);
    if (rc != 0)
        return rc;
    struct tls_server *t = mem_new(sizeof *t);
    pthread_mutex_init(&t->lock, NULL);
    t->keys = keys;
    *out = t;
    return 0;
}

int tls_server_reload(struct tls_server *t, const char *cert_path, const char *key_path,
                      struct err *e)
{
    struct tls_keys *fresh = NULL;
    int rc = tls_keys_new(cert_path, key_path, &fresh, e);
    if (rc != 0)
        return rc;
    pthread_mutex_lock(&t->lock);
    struct tls_keys *old = t->keys;
    t->keys = fresh;
    pthread_mutex_unlock(&t->lock);
    tls_keys_release(old);
    return 0;
}

void tls_server_free(struct tls_server *t)
{
    if (t == NULL)
        return;
    tls_keys_release(t->keys);
    pthread_mutex_destroy(&t->lock);
    mem_free(t);
}

/* ---- client ---- */

struct tls_client {
    struct tls_common c;
    mbedtls_ssl_config older; /* the same, but TLS 1.2 only: see tls_session_wants_older() */
};

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

const mbedtls_ssl_config *tls_client_conf(const struct tls_client *t, bool older)
{
    return older ? &t->older : &t->c.conf;
}
