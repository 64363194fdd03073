#include "io/tls.h"

#include <errno.h>
#include <mbedtls/error.h>
#include <mbedtls/ssl.h>
#include <string.h>
#include <sys/socket.h>

#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "io/tls_conf.h"
#include "io/tls_priv.h"

enum { TLS_AGAIN = -1, TLS_BROKEN = -2 };

struct tls_session {
    mbedtls_ssl_context ssl;
    struct tls_keys *keys; /* of a server's session: kept as long as it lasts; else NULL */
    int fd;
    bool wants_write, broken, wants_older;
    size_t pending; /* bytes of a write that mbedTLS has encrypted but not sent */
};

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
    struct tls_keys *keys = tls_server_keys(t);
    struct tls_session *s = tls_session_new(tls_keys_conf(keys), fd);
    if (s != NULL)
        s->keys = keys;
    else
        tls_keys_release(keys);
    return s;
}

struct tls_session *tls_session_connect(struct tls_client *t, int fd, const char *name, bool older)
{
    struct tls_session *s = tls_session_new(tls_client_conf(t, older), fd);
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
    tls_keys_release(s->keys);
    mem_free(s);
}
