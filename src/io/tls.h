/* TLS - 1.2 and 1.3 by mbedTLS, hidden behind io/tcp.h: whoever has a `struct tcp` need not know.
 *
 * A configuration is made once from PEM files and shared by every connection and thread. A server
 * takes a renewed certificate while it runs: sessions that have begun keep the one they began with,
 * the next ones get the new one. */
#ifndef KOAN_IO_TLS_H
#define KOAN_IO_TLS_H

#include <stdbool.h>
#include <stdint.h>

struct err;
struct tls_server;
struct tls_client;

enum { TLS_EXPIRY_DAYS = 14 /* a certificate that ends sooner is to be renewed */ };

/* Certificate chain and key from files. The message names the file at fault, also when the two do
 * not belong together. */
int tls_server_new(const char *cert_path, const char *key_path, struct tls_server **out,
                   struct err *e);
/* The files again, or others; on any thread. When it fails all stays as it was. */
int tls_server_reload(struct tls_server *t, const char *cert_path, const char *key_path,
                      struct err *e);
void tls_server_free(struct tls_server *t); /* after all that use it; takes NULL */

/* What a file with a certificate chain says. */
struct tls_facts {
    char subject[256];      /* of the first */
    int count;              /* certificates */
    int64_t from_ms, to_ms; /* when all of them are valid */
    bool chain_holds;       /* each is issued by the one behind it */
    bool self_signed;
};
/* Blocks. */
int tls_look(const char *cert_path, struct tls_facts *out, struct err *e);

/* `ca_path` NULL: the system's roots. `verify` false: anybody is believed, for tests and
 * `--insecure`. */
int tls_client_new(const char *ca_path, bool verify, struct tls_client **out, struct err *e);
void tls_client_free(struct tls_client *t);

#endif
