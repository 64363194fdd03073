/* Sock - one connection that blocks, plain or TLS, for the command line and for boot. Never on a
 * loop's thread. */
#ifndef KOAN_IO_SOCK_H
#define KOAN_IO_SOCK_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct err;
struct sock;
struct tls_client;

struct sock_options {
    const char *host; /* a name or an address; also what a certificate must say */
    uint16_t port;
    struct tls_client *tls; /* NULL: plain. Not owned */
    uint32_t timeout_ms;    /* of connecting, and of each wait afterwards; 0: 30 s */
};

/* Tries every address of the name. ERR_UNAVAILABLE with host, port and what to look at. */
int sock_connect(const struct sock_options *options, struct sock **out, struct err *e);
/* Bytes read, 0 at the end, or a code; ERR_TIMEOUT when nothing came in time. */
ssize_t sock_read(struct sock *s, void *p, size_t n, struct err *e);
/* All of it. ERR_CANCELED when the other side has closed: it may have said why. */
int sock_write(struct sock *s, const void *p, size_t n, struct err *e);
void sock_close(struct sock *s); /* takes NULL */

#endif
