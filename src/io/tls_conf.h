/* What TLS sessions are made from: certificates, keys, and what is offered. */
#ifndef KOAN_IO_TLS_CONF_H
#define KOAN_IO_TLS_CONF_H

#include <mbedtls/ssl.h>
#include <stdbool.h>

struct tls_client;
struct tls_keys;
struct tls_server;

/* The newest of the server, on any thread; the caller releases it after its last session. */
struct tls_keys *tls_server_keys(struct tls_server *t);
void tls_keys_release(struct tls_keys *k); /* takes NULL */
const mbedtls_ssl_config *tls_keys_conf(const struct tls_keys *k);
const mbedtls_ssl_config *tls_client_conf(const struct tls_client *t, bool older);

#endif
